"""Laws of the sum tree, against a second tree written as attestation.md §6 words it."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clearing.attest.liabilities import (
    AMOUNT_CAP,
    Context,
    LiabilityRefused,
    Node,
    Owed,
    Proof,
    SumTree,
    format_proof,
    grow,
    parse_proof,
    prove,
    verify_proof,
)
from clearing.attest.statement import Liabilities
from ledger.checkpoint import Checkpoint

pytestmark = pytest.mark.slow

UNITS = ("BTC", "USDC")
CONTEXT = Context(
    journal=Checkpoint(origin="house.example/journal", size=9, root=bytes(range(32))), snapshot=3, units=UNITS
)
amounts = st.integers(0, 20) | st.integers(0, AMOUNT_CAP)
owed = st.dictionaries(
    st.from_regex(r"[a-z]{1,3}/[a-z]{1,3}", fullmatch=True),
    st.dictionaries(st.sampled_from(UNITS), amounts),
    min_size=1,
    max_size=70,
)


def leaves_of(balances: dict[str, dict[str, int]]) -> list[Owed]:
    return [
        Owed(account=path, secret=hashlib.sha256(path[:1].encode()).digest(), amounts=held)
        for path, held in balances.items()
    ]


def stated(tree: SumTree) -> Liabilities:
    return Liabilities(
        root=tree.root, leaf_count=len(tree.leaves), totals_minor=tree.totals, receivables_minor={}
    )


def u128(sums: tuple[int, ...]) -> bytes:
    return b"".join(one.to_bytes(16, "big") for one in sums)


def slow_top(ctx: bytes, nodes: list[tuple[tuple[int, ...], bytes]]) -> tuple[tuple[int, ...], bytes]:
    """The recursion of RFC 6962 §2.1, with the sums of both children."""
    if len(nodes) == 1:
        return nodes[0]
    split = 1
    while split * 2 < len(nodes):
        split *= 2
    left, right = slow_top(ctx, nodes[:split]), slow_top(ctx, nodes[split:])
    data = b"\x11" + ctx + u128(left[0]) + left[1] + u128(right[0]) + right[1]
    return tuple(a + b for a, b in zip(left[0], right[0], strict=True)), hashlib.sha256(data).digest()


@given(owed)
def test_the_root_and_the_totals_are_those_of_the_definition(balances: dict[str, dict[str, int]]) -> None:
    ctx, named = CONTEXT.digest(), []
    for one in leaves_of(balances):
        name = hmac.new(one.secret, (3).to_bytes(8, "big") + one.account.encode(), "sha256").digest()
        held = tuple(one.amounts.get(unit, 0) for unit in UNITS)
        named.append((name, (held, hashlib.sha256(b"\x10" + ctx + name + u128(held)).digest())))
    sums, top = slow_top(ctx, [node for _, node in sorted(named)])
    root = hashlib.sha256(b"\x12" + ctx + len(named).to_bytes(8, "big") + u128(sums) + top).digest()
    tree = grow(CONTEXT, leaves_of(balances))
    assert tree.root == root
    assert tree.totals == {unit: sum(held.get(unit, 0) for held in balances.values()) for unit in UNITS}


@given(owed, st.randoms(use_true_random=False))
def test_the_order_of_the_accounts_does_not_matter(balances: dict[str, dict[str, int]], dice: Random) -> None:
    leaves = leaves_of(balances)
    dice.shuffle(leaves)
    assert grow(CONTEXT, leaves) == grow(CONTEXT, leaves_of(balances))


@given(owed)
def test_the_proof_of_every_leaf_verifies_and_has_one_spelling(balances: dict[str, dict[str, int]]) -> None:
    tree = grow(CONTEXT, leaves_of(balances))
    for path, held in balances.items():
        data = format_proof(prove(tree, path))
        proof = parse_proof(data)
        assert format_proof(proof) == data
        found = verify_proof(proof, context=CONTEXT, attested=stated(tree), account=path)
        assert found.amounts == dict.fromkeys(UNITS, 0) | held


@given(owed, st.data())
def test_no_changed_byte_is_accepted(balances: dict[str, dict[str, int]], data: st.DataObject) -> None:
    tree = grow(CONTEXT, leaves_of(balances))
    path = data.draw(st.sampled_from(sorted(balances)))
    text = format_proof(prove(tree, path))
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.binary(max_size=3))
    changed = text[:place] + other + text[place + 1 :]
    assume(changed != text)
    with pytest.raises(LiabilityRefused):
        verify_proof(parse_proof(changed), context=CONTEXT, attested=stated(tree), account=path)


@given(owed, st.data())
def test_no_other_number_is_accepted(balances: dict[str, dict[str, int]], data: st.DataObject) -> None:
    """Also not one that keeps the totals: what an amount loses, a sum beside it gains."""
    tree = grow(CONTEXT, leaves_of(balances))
    path = data.draw(st.sampled_from(sorted(balances)))
    proof = prove(tree, path)
    change = data.draw(st.integers(-30, 30).filter(bool))
    unit = data.draw(st.integers(0, len(UNITS) - 1))
    forgeries: list[Callable[[], Proof]] = [
        lambda: replace(proof, amounts=_changed(proof.amounts, unit, change)),
        lambda: replace(proof, index=proof.index + change),
        lambda: replace(proof, count=proof.count + change),
    ]
    if proof.path:
        level = data.draw(st.integers(0, len(proof.path) - 1))
        forgeries.append(lambda: _shifted(proof, level, unit, change))
    for forge in forgeries:
        with pytest.raises(LiabilityRefused):
            verify_proof(forge(), context=CONTEXT, attested=stated(tree), account=path)


def _changed(sums: tuple[int, ...], unit: int, change: int) -> tuple[int, ...]:
    return tuple(one + change if number == unit else one for number, one in enumerate(sums))


def _shifted(proof: Proof, level: int, unit: int, change: int) -> Proof:
    beside = proof.path[level]
    path = [*proof.path]
    path[level] = Node(_changed(beside.sums, unit, -change), beside.hash)
    return replace(proof, amounts=_changed(proof.amounts, unit, change), path=tuple(path))


@given(owed, st.data())
def test_a_proof_of_another_account_is_not_accepted(
    balances: dict[str, dict[str, int]], data: st.DataObject
) -> None:
    assume(len(balances) > 1)
    tree = grow(CONTEXT, leaves_of(balances))
    mine, other = data.draw(st.permutations(sorted(balances)))[:2]
    for proof in (prove(tree, other), replace(prove(tree, other), account=mine)):
        with pytest.raises(LiabilityRefused):
            verify_proof(proof, context=CONTEXT, attested=stated(tree), account=mine)
