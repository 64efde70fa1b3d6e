"""The sum tree of liabilities: the golden proof read with nothing but its documentation, and every refusal."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearing.attest import liabilities
from clearing.attest.liabilities import (
    AMOUNT_CAP,
    DEPTH_MAX,
    LEAVES_MAX,
    PROOF_BYTES_MAX,
    SNAPSHOT_MAX,
    UNITS_MAX,
    Context,
    LiabilityReason,
    LiabilityRefused,
    Node,
    Owed,
    Proof,
    SumTree,
    blinded_id,
    format_proof,
    grow,
    member_secret,
    parse_proof,
    prove,
    verify_proof,
)
from clearing.attest.statement import Liabilities
from ledger.account import PATH_LENGTH_MAX
from ledger.checkpoint import Checkpoint

GOLDEN = Path(__file__).parents[1] / "golden" / "alice.liability-proof"
BLINDING = bytes(range(32))
JOURNAL = Checkpoint(origin="house.example/journal", size=12_345, root=hashlib.sha256(b"a root").digest())
CONTEXT = Context(journal=JOURNAL, snapshot=11, units=("ETH", "USDC"))
ALICE = "members/dex/accounts/alice/cash"
SECRET = member_secret(BLINDING, "dex")


def owed(account: str, secret: bytes = SECRET, **amounts: int) -> Owed:
    return Owed(account=account, secret=secret, amounts=amounts)


ALL_OWED = (
    owed(ALICE, USDC=2_000_000_000),
    owed("members/dex/accounts/alice/collateral", ETH=10**18),
    owed("members/dex/accounts/bob/cash", USDC=5),
    owed("members/dex/pool", USDC=70_000_000),
    owed("withdrawals/w1", ETH=3, USDC=4),
    owed("members/other/accounts/house/cash", member_secret(BLINDING, "other"), USDC=AMOUNT_CAP),
    owed("members/other/accounts/house/collateral", member_secret(BLINDING, "other"), ETH=8),
)
TREE = grow(CONTEXT, ALL_OWED)
PROOF = prove(TREE, ALICE)


def attested(tree: SumTree = TREE) -> Liabilities:
    return Liabilities(
        root=tree.root, leaf_count=len(tree.leaves), totals_minor=tree.totals, receivables_minor={}
    )


def verified(
    proof: Proof, context: Context = CONTEXT, stated: Liabilities | None = None
) -> Mapping[str, int]:
    return verify_proof(proof, context=context, attested=stated or attested(), account=ALICE).amounts


def refusal(act: Callable[[], object]) -> LiabilityReason:
    with pytest.raises(LiabilityRefused) as caught:
        act()
    return caught.value.reason


# --- the formulas, written out again ----------------------------------------------------------------------


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def u128(*amounts: int) -> bytes:
    return b"".join(amount.to_bytes(16, "big") for amount in amounts)


def by_hand_context(context: Context) -> bytes:
    origin = context.journal.origin.encode()
    data = b"clearing/liabilities@v1\n" + len(origin).to_bytes(2, "big") + origin
    data += (
        context.snapshot.to_bytes(8, "big") + context.journal.size.to_bytes(8, "big") + context.journal.root
    )
    data += len(context.units).to_bytes(2, "big")
    for unit in context.units:
        data += bytes([len(unit)]) + unit.encode()
    return sha256(data, (2**96 - 1).to_bytes(16, "big"))


def test_the_golden_proof_follows_from_what_is_written_about_it() -> None:
    """Nothing of the module is used: lines, base64, SHA-256 and HMAC."""
    lines = GOLDEN.read_text().removesuffix("\n").split("\n")
    assert lines[0] == "clearing/liability-proof@v1"
    said = [line.partition(" ")[::2] for line in lines[1:]]
    words = ["origin", "snapshot", "size", "root", "unit", "unit", "account", "secret", "amounts"]
    assert [word for word, _ in said] == [*words, "count", "index", "node", "node", "node"]
    origin, snapshot, size, root, eth, usdc, account, secret, amounts, count, index, *path = (
        what for _, what in said
    )
    ctx = sha256(
        b"clearing/liabilities@v1\n\x00\x15" + origin.encode(),
        int(snapshot).to_bytes(8, "big"),
        int(size).to_bytes(8, "big"),
        base64.b64decode(root),
        b"\x00\x02\x03" + eth.encode() + b"\x04" + usdc.encode(),
        bytes.fromhex("00000000ffffffffffffffffffffffff"),
    )
    key = base64.b64decode(secret)
    assert key == hmac.new(bytes(range(32)), b"dex", hashlib.sha256).digest()
    name = hmac.new(key, int(snapshot).to_bytes(8, "big") + account.encode(), hashlib.sha256).digest()
    sums = [int(amount) for amount in amounts.split(" ")]
    top = sha256(b"\x10", ctx, name, u128(*sums))
    assert (count, index) == ("7", "5")
    for on_the_left, line in zip((True, False, True), path, strict=True):  # 4 and 5, then 6, then 0 to 3
        *others, encoded = line.split(" ")
        beside, other = [int(one) for one in others], base64.b64decode(encoded)
        if on_the_left:
            top = sha256(b"\x11", ctx, u128(*beside), other, u128(*sums), top)
        else:
            top = sha256(b"\x11", ctx, u128(*sums), top, u128(*beside), other)
        sums = [one + another for one, another in zip(sums, beside, strict=True)]
    assert sums == [10**18 + 3 + 8, 2_000_000_000 + 5 + 70_000_000 + 4 + 2**96 - 1]
    assert sha256(b"\x12", ctx, (7).to_bytes(8, "big"), u128(*sums), top) == TREE.root


def test_the_golden_proof_is_what_is_made_and_read() -> None:
    assert format_proof(PROOF) == GOLDEN.read_bytes()
    assert parse_proof(GOLDEN.read_bytes()) == PROOF


def test_a_proof_shows_what_an_account_is_owed() -> None:
    assert verified(PROOF) == {"ETH": 0, "USDC": 2_000_000_000}


def test_the_context_is_hashed_as_documented() -> None:
    assert CONTEXT.digest() == by_hand_context(CONTEXT)


def test_everything_in_the_context_changes_every_hash() -> None:
    others = (
        replace(CONTEXT, snapshot=12),
        replace(CONTEXT, journal=replace(JOURNAL, origin="house.example/journa")),
        replace(CONTEXT, journal=replace(JOURNAL, size=12_346)),
        replace(CONTEXT, journal=replace(JOURNAL, root=bytes(32))),
        replace(CONTEXT, units=("ETH", "USDC", "USDT")),
        replace(CONTEXT, units=("ETHUSDC",)),
    )
    assert len({context.digest() for context in (CONTEXT, *others)}) == 1 + len(others)


def test_no_leaves_have_the_top_of_an_empty_tree() -> None:
    tree = grow(CONTEXT, ())
    nothing = sha256(b"")
    assert tree.root == sha256(b"\x12", CONTEXT.digest(), bytes(8), u128(0, 0), nothing)
    assert tree.totals == {"ETH": 0, "USDC": 0}
    assert refusal(lambda: prove(tree, ALICE)) is LiabilityReason.NOT_COUNTED


def test_one_leaf_is_its_own_top() -> None:
    tree = grow(CONTEXT, [owed(ALICE, USDC=5)])
    leaf = sha256(b"\x10", CONTEXT.digest(), blinded_id(SECRET, 11, ALICE), u128(0, 5))
    assert tree.root == sha256(b"\x12", CONTEXT.digest(), (1).to_bytes(8, "big"), u128(0, 5), leaf)
    proof = prove(tree, ALICE)
    assert proof.path == ()
    assert verified(proof, stated=attested(tree)) == {"ETH": 0, "USDC": 5}


# --- secrets and ids ---------------------------------------------------------------------------------------


def test_a_member_has_a_secret_of_its_own() -> None:
    assert member_secret(BLINDING, "dex") != member_secret(BLINDING, "other")
    assert member_secret(BLINDING, "dex") != member_secret(bytes(32), "dex")


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_is_refused(length: int) -> None:
    assert refusal(lambda: member_secret(bytes(length), "dex")) is LiabilityReason.SECRET
    assert refusal(lambda: owed(ALICE, bytes(length))) is LiabilityReason.SECRET
    assert refusal(lambda: replace(PROOF, secret=bytes(length))) is LiabilityReason.SECRET


def test_an_account_is_called_something_else_in_each_snapshot() -> None:
    names = {blinded_id(SECRET, snapshot, account) for snapshot in (1, 2) for account in (ALICE, "a", "b")}
    assert len(names) == 6


def test_leaves_stand_in_the_order_of_their_ids() -> None:
    names = [blinded_id(one.secret, 11, one.account) for one in TREE.leaves]
    assert names == sorted(names)


# --- Maxwell's attack --------------------------------------------------------------------------------------


def maxwell(mine: int, hashed: bytes, beside: int, other: bytes, *, is_left: bool) -> tuple[int, bytes]:
    """The broken node: H(sum L + sum R, hash L, hash R)."""
    left, right = (other, hashed) if is_left else (hashed, other)
    return mine + beside, sha256(u128(mine + beside), left, right)


def test_with_the_sum_of_both_children_alone_two_debts_of_100_and_90_accept_a_total_of_100() -> None:
    hundred, ninety = sha256(b"alice", u128(100)), sha256(b"bob", u128(90))
    shown_to_alice = maxwell(100, hundred, 0, ninety, is_left=False)
    shown_to_bob = maxwell(90, ninety, 10, hundred, is_left=True)
    assert shown_to_alice == shown_to_bob
    assert shown_to_alice[0] == 100


def test_with_the_sums_of_both_children_no_root_is_accepted_by_both() -> None:
    """The same forgery: each is shown what is left of 100 beside its own debt, under either root."""
    context = replace(CONTEXT, units=("USDC",))
    honest = grow(context, [owed(ALICE, USDC=100), owed("members/dex/accounts/bob/cash", USDC=90)])
    left, right = honest.levels[0]
    forged = (
        replace(prove(honest, honest.leaves[0].account), path=(Node((100 - left.sums[0],), right.hash),)),
        replace(prove(honest, honest.leaves[1].account), path=(Node((100 - right.sums[0],), left.hash),)),
    )
    for sums in ((left.sums[0], 100 - left.sums[0]), (100 - right.sums[0], right.sums[0])):
        hashed = sha256(b"\x11", context.digest(), u128(sums[0]), left.hash, u128(sums[1]), right.hash)
        root = sha256(b"\x12", context.digest(), (2).to_bytes(8, "big"), u128(100), hashed)
        stated = Liabilities(root=root, leaf_count=2, totals_minor={"USDC": 100}, receivables_minor={})
        assert [accepts(proof, context, stated) for proof in forged].count(True) == 1


def accepts(proof: Proof, context: Context, stated: Liabilities) -> bool:
    try:
        verify_proof(proof, context=context, attested=stated, account=proof.account)
    except LiabilityRefused as refused:
        return refused.reason is not LiabilityReason.OTHER_ROOT
    return True


# --- what a tree refuses -----------------------------------------------------------------------------------


def test_an_account_is_counted_once() -> None:
    twice = [*ALL_OWED, owed(ALICE, USDC=1)]
    assert refusal(lambda: grow(CONTEXT, twice)) is LiabilityReason.COUNTED_TWICE
    under_another_secret = [*ALL_OWED, owed(ALICE, bytes(32), USDC=1)]
    assert refusal(lambda: grow(CONTEXT, under_another_secret)) is LiabilityReason.COUNTED_TWICE


def test_an_id_stands_for_one_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liabilities, "blinded_id", lambda *_: bytes(32))
    assert refusal(lambda: grow(CONTEXT, ALL_OWED)) is LiabilityReason.COUNTED_TWICE


@pytest.mark.parametrize("amount", [-1, AMOUNT_CAP + 1, 2**128])
def test_an_amount_below_nothing_or_over_the_cap_is_refused(amount: int) -> None:
    assert refusal(lambda: grow(CONTEXT, [owed(ALICE, USDC=amount)])) is LiabilityReason.AMOUNT
    assert refusal(lambda: replace(PROOF, amounts=(0, amount))) is LiabilityReason.AMOUNT


def test_an_amount_at_the_cap_is_counted() -> None:
    tree = grow(CONTEXT, [owed(ALICE, USDC=AMOUNT_CAP), owed("a", USDC=AMOUNT_CAP)])
    assert tree.totals == {"ETH": 0, "USDC": 2 * AMOUNT_CAP}
    assert verified(prove(tree, ALICE), stated=attested(tree)) == {"ETH": 0, "USDC": AMOUNT_CAP}


def test_a_unit_that_the_context_lacks_is_refused() -> None:
    assert refusal(lambda: grow(CONTEXT, [owed(ALICE, BTC=1)])) is LiabilityReason.UNITS


def test_a_tree_has_so_many_leaves_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liabilities, "LEAVES_MAX", len(ALL_OWED))
    assert grow(CONTEXT, ALL_OWED) == TREE
    monkeypatch.setattr(liabilities, "LEAVES_MAX", len(ALL_OWED) - 1)
    assert refusal(lambda: grow(CONTEXT, ALL_OWED)) is LiabilityReason.COUNT


@pytest.mark.parametrize("snapshot", [0, -1, SNAPSHOT_MAX + 1])
def test_a_snapshot_is_the_sequence_of_an_attestation(snapshot: int) -> None:
    assert replace(CONTEXT, snapshot=SNAPSHOT_MAX).digest()
    assert refusal(lambda: replace(CONTEXT, snapshot=snapshot)) is LiabilityReason.CONTEXT


@pytest.mark.parametrize("units", [(), ("USDC", "ETH"), ("ETH", "ETH"), ("eth",), ("E" * 65,), ("É",)])
def test_units_are_ascending_and_each_stands_once(units: tuple[str, ...]) -> None:
    assert refusal(lambda: replace(CONTEXT, units=units)) is LiabilityReason.UNITS


def test_there_are_so_many_units_and_no_more() -> None:
    units = tuple(f"U{number:04}" for number in range(UNITS_MAX + 1))
    assert replace(CONTEXT, units=units[:-1]).digest() == by_hand_context(replace(CONTEXT, units=units[:-1]))
    assert refusal(lambda: replace(CONTEXT, units=units)) is LiabilityReason.UNITS


@pytest.mark.parametrize(
    "account", ["", "Members/dex", "/a", "a//b", "a" * (PATH_LENGTH_MAX + 1), "a\n", "ä"]
)
def test_an_account_is_a_path_of_the_ledger(account: str) -> None:
    assert owed("a" * PATH_LENGTH_MAX).account
    assert refusal(lambda: owed(account)) is LiabilityReason.ACCOUNT
    assert refusal(lambda: replace(PROOF, account=account)) is LiabilityReason.ACCOUNT


# --- what a proof refuses ----------------------------------------------------------------------------------


def with_sibling(number: int, **changes: Any) -> Callable[[], Proof]:
    path = list(PROOF.path)
    path[number] = replace(path[number], **changes)
    return lambda: replace(PROOF, path=tuple(path))


MALFORMED: dict[str, tuple[LiabilityReason, Callable[[], Proof]]] = {
    "an amount too few": (LiabilityReason.AMOUNT, lambda: replace(PROOF, amounts=(1,))),
    "an amount too many": (LiabilityReason.AMOUNT, lambda: replace(PROOF, amounts=(1, 2, 3))),
    "no leaves": (LiabilityReason.COUNT, lambda: replace(PROOF, count=0, index=0, path=())),
    "too many leaves": (LiabilityReason.COUNT, lambda: replace(PROOF, count=LEAVES_MAX + 1)),
    "an index below the first": (LiabilityReason.INDEX, lambda: replace(PROOF, index=-1)),
    "an index after the last": (LiabilityReason.INDEX, lambda: replace(PROOF, index=7)),
    "a truncated path": (LiabilityReason.PATH_LENGTH, lambda: replace(PROOF, path=PROOF.path[:-1])),
    "a path without its start": (LiabilityReason.PATH_LENGTH, lambda: replace(PROOF, path=PROOF.path[1:])),
    "a long path": (LiabilityReason.PATH_LENGTH, lambda: replace(PROOF, path=(*PROOF.path, PROOF.path[0]))),
    "a path for another index": (LiabilityReason.PATH_LENGTH, lambda: replace(PROOF, index=6)),
    "a negative sum": (LiabilityReason.SUM, with_sibling(0, sums=(-1, 0))),
    "a leaf over the cap beside": (LiabilityReason.SUM, with_sibling(0, sums=(0, AMOUNT_CAP + 1))),
    "a sum over what four leaves hold": (LiabilityReason.SUM, with_sibling(2, sums=(0, 4 * AMOUNT_CAP + 1))),
    "a sum over 128 bits": (LiabilityReason.SUM, with_sibling(2, sums=(0, 2**128))),
    "a sum too few": (LiabilityReason.SUM, with_sibling(1, sums=(0,))),
    "a sum too many": (LiabilityReason.SUM, with_sibling(1, sums=(0, 0, 0))),
    "a short hash": (LiabilityReason.HASH, with_sibling(1, hash=bytes(31))),
    "a long hash": (LiabilityReason.HASH, with_sibling(1, hash=bytes(33))),
}


@pytest.mark.parametrize(("reason", "make"), MALFORMED.values(), ids=[*MALFORMED])
def test_a_malformed_proof_is_refused(reason: LiabilityReason, make: Callable[[], Proof]) -> None:
    assert refusal(make) is reason


def test_the_sums_beside_a_path_are_at_most_what_their_leaves_can_hold() -> None:
    assert with_sibling(0, sums=(0, AMOUNT_CAP))().path[0].sums == (0, AMOUNT_CAP)
    assert with_sibling(2, sums=(0, 4 * AMOUNT_CAP))().path[2].sums == (0, 4 * AMOUNT_CAP)


def deepest(units: tuple[str, ...] = CONTEXT.units) -> Proof:
    """A proof in the greatest tree, with every number as long as it may be."""
    path = tuple(Node((2**level * AMOUNT_CAP,) * len(units), bytes(32)) for level in range(DEPTH_MAX))
    return replace(
        PROOF,
        context=replace(CONTEXT, units=units),
        account="a" * PATH_LENGTH_MAX,
        amounts=(AMOUNT_CAP,) * len(units),
        count=LEAVES_MAX,
        index=LEAVES_MAX - 1,
        path=path,
    )


def test_the_sums_of_the_greatest_tree_fit_128_bits() -> None:
    proof = deepest()
    top = [sum(node.sums[0] for node in proof.path) + proof.amounts[0]]
    assert top == [LEAVES_MAX * AMOUNT_CAP]
    assert LEAVES_MAX * AMOUNT_CAP < 2**128
    stated = Liabilities(
        root=bytes(32),
        leaf_count=LEAVES_MAX,
        totals_minor=dict.fromkeys(CONTEXT.units, LEAVES_MAX * AMOUNT_CAP),
        receivables_minor={},
    )
    found = refusal(lambda: verify_proof(proof, context=CONTEXT, attested=stated, account=proof.account))
    assert found is LiabilityReason.OTHER_ROOT


def test_the_longest_proof_may_be_read() -> None:
    proof = deepest(tuple(f"{number:064}" for number in range(UNITS_MAX)))
    data = format_proof(proof)
    assert len(data) <= PROOF_BYTES_MAX
    assert parse_proof(data) == proof


UNTRUE: dict[str, tuple[LiabilityReason, Callable[[], Proof]]] = {
    "the index before": (LiabilityReason.OTHER_ROOT, lambda: replace(PROOF, index=4)),
    "an index on another side": (LiabilityReason.OTHER_ROOT, lambda: replace(PROOF, index=2)),
    "another count": (LiabilityReason.OTHER_COUNT, lambda: replace(PROOF, count=8)),
    "another member's secret": (
        LiabilityReason.OTHER_ROOT,
        lambda: replace(PROOF, secret=member_secret(BLINDING, "other")),
    ),
    "an amount raised": (LiabilityReason.OTHER_TOTALS, lambda: replace(PROOF, amounts=(0, 2_000_000_001))),
    "amounts swapped": (LiabilityReason.OTHER_TOTALS, lambda: replace(PROOF, amounts=PROOF.amounts[::-1])),
    "sums swapped": (LiabilityReason.OTHER_TOTALS, with_sibling(2, sums=PROOF.path[2].sums[::-1])),
    "another hash": (LiabilityReason.OTHER_ROOT, with_sibling(1, hash=bytes(32))),
    "the sums of two levels swapped": (
        LiabilityReason.OTHER_ROOT,
        lambda: replace(
            PROOF,
            path=(
                replace(PROOF.path[0], sums=PROOF.path[1].sums),
                replace(PROOF.path[1], sums=PROOF.path[0].sums),
                PROOF.path[2],
            ),
        ),
    ),
    "the amounts swapped with those beside": (
        LiabilityReason.OTHER_ROOT,
        lambda: replace(
            PROOF, amounts=PROOF.path[0].sums, path=(Node(PROOF.amounts, PROOF.path[0].hash), *PROOF.path[1:])
        ),
    ),
    "another account's proof": (
        LiabilityReason.OTHER_ACCOUNT,
        lambda: prove(TREE, "members/dex/accounts/alice/collateral"),
    ),
    "another account's leaf": (
        LiabilityReason.OTHER_ROOT,
        lambda: replace(prove(TREE, "members/dex/pool"), account=ALICE),
    ),
    "another house": (
        LiabilityReason.OTHER_LOG,
        lambda: in_context(journal=replace(JOURNAL, origin="other.example/journal")),
    ),
    "another snapshot": (LiabilityReason.OTHER_SNAPSHOT, lambda: in_context(snapshot=10)),
    "another size": (LiabilityReason.OTHER_TREE, lambda: in_context(journal=replace(JOURNAL, size=12_344))),
    "another root": (
        LiabilityReason.OTHER_TREE,
        lambda: in_context(journal=replace(JOURNAL, root=bytes(32))),
    ),
    "other units": (LiabilityReason.OTHER_UNITS, lambda: in_context(units=("ETH", "USDC", "WBTC"))),
}


def in_context(**changes: Any) -> Proof:
    """The proof that another house, snapshot or size would give for the same balances."""
    return prove(grow(replace(CONTEXT, **changes), ALL_OWED), ALICE)


@pytest.mark.parametrize(("reason", "make"), UNTRUE.values(), ids=[*UNTRUE])
def test_a_proof_that_is_not_true_is_refused(reason: LiabilityReason, make: Callable[[], Proof]) -> None:
    proof = make()
    assert parse_proof(format_proof(proof)) == proof
    assert refusal(lambda: verified(proof)) is reason


@pytest.mark.parametrize(
    "context",
    [
        replace(CONTEXT, snapshot=12),
        replace(CONTEXT, journal=replace(JOURNAL, origin="other.example/journal")),
        replace(CONTEXT, journal=replace(JOURNAL, size=1)),
    ],
    ids=["snapshot", "house", "size"],
)
def test_a_proof_that_claims_the_context_it_is_held_against_is_refused_by_its_hashes(
    context: Context,
) -> None:
    assert refusal(lambda: verified(replace(PROOF, context=context), context)) is LiabilityReason.OTHER_ROOT


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        (LiabilityReason.OTHER_ROOT, {"root": bytes(32)}),
        (LiabilityReason.OTHER_COUNT, {"leaf_count": 8}),
        (LiabilityReason.OTHER_COUNT, {"leaf_count": 6}),
        (LiabilityReason.OTHER_TOTALS, {"totals_minor": TREE.totals | {"USDC": TREE.totals["USDC"] - 1}}),
        (LiabilityReason.OTHER_TOTALS, {"totals_minor": {"ETH": TREE.totals["ETH"]}}),
        (LiabilityReason.OTHER_TOTALS, {"totals_minor": TREE.totals | {"WBTC": 0}}),
    ],
    ids=["root", "more leaves", "less leaves", "less in total", "a unit less", "a unit more"],
)
def test_a_proof_is_held_against_all_that_was_attested(
    reason: LiabilityReason, change: dict[str, Any]
) -> None:
    assert refusal(lambda: verified(PROOF, stated=replace(attested(), **change))) is reason


def test_a_last_leaf_that_is_counted_twice_gives_another_root() -> None:
    """Seven leaves, the last one duplicated to fill the tree, as some trees do."""
    ctx, leaves = CONTEXT.digest(), list(TREE.levels[0])
    level = [*leaves, leaves[-1]]
    while len(level) > 1:
        level = [
            Node(
                tuple(a + b for a, b in zip(one.sums, other.sums, strict=True)),
                sha256(b"\x11", ctx, u128(*one.sums), one.hash, u128(*other.sums), other.hash),
            )
            for one, other in zip(level[::2], level[1::2], strict=True)
        ]
    for count in (7, 8):
        assert (
            sha256(b"\x12", ctx, count.to_bytes(8, "big"), u128(*level[0].sums), level[0].hash) != TREE.root
        )


# --- text --------------------------------------------------------------------------------------------------

TEXT = format_proof(PROOF).decode()


def instead(old: str, new: str) -> bytes:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new).encode()


ROOT_LINE = f"root {base64.b64encode(JOURNAL.root).decode()}\n"
NODE_LINE = next(line for line in TEXT.splitlines(keepends=True) if line.startswith("node "))
UNREADABLE: dict[str, tuple[LiabilityReason, bytes]] = {
    "bytes that are no text": (LiabilityReason.NOT_TEXT, TEXT.encode() + b"\xff"),
    "a byte too many": (LiabilityReason.TOO_LONG, TEXT.encode().ljust(PROOF_BYTES_MAX + 1, b"\n")),
    "the most bytes": (LiabilityReason.LINE, TEXT.encode().ljust(PROOF_BYTES_MAX, b"\n")),
    "nothing": (LiabilityReason.KIND, b""),
    "another version": (LiabilityReason.KIND, instead("@v1", "@v2")),
    "a line before": (LiabilityReason.KIND, b"\n" + TEXT.encode()),
    "carriage returns": (LiabilityReason.KIND, TEXT.replace("\n", "\r\n").encode()),
    "no last newline": (LiabilityReason.LINE, TEXT.removesuffix("\n").encode()),
    "an empty line behind": (LiabilityReason.LINE, TEXT.encode() + b"\n"),
    "a line behind": (LiabilityReason.LINE, TEXT.encode() + b"note nothing\n"),
    "another word": (LiabilityReason.LINE, instead("origin ", "Origin ")),
    "a line missing": (LiabilityReason.LINE, instead("snapshot 11\n", "")),
    "a line twice": (LiabilityReason.LINE, instead("snapshot 11\n", "snapshot 11\nsnapshot 11\n")),
    "a leading zero": (LiabilityReason.LINE, instead("snapshot 11\n", "snapshot 011\n")),
    "a sign": (LiabilityReason.LINE, instead("snapshot 11\n", "snapshot +11\n")),
    "a blank behind": (LiabilityReason.LINE, instead("snapshot 11\n", "snapshot 11 \n")),
    "two blanks": (LiabilityReason.LINE, instead("snapshot 11\n", "snapshot  11\n")),
    "other digits": (LiabilityReason.LINE, instead("snapshot 11\n", "snapshot \u0661\u0661\n")),
    "an underscore": (LiabilityReason.LINE, instead("snapshot 11\n", "snapshot 1_1\n")),
    "too many digits": (LiabilityReason.LINE, instead("snapshot 11\n", f"snapshot {10**39}\n")),
    "snapshot 0": (LiabilityReason.CONTEXT, instead("snapshot 11\n", "snapshot 0\n")),
    "a size too large": (LiabilityReason.CONTEXT, instead("size 12345", f"size {2**63}")),
    "no origin": (LiabilityReason.CONTEXT, instead("origin house.example/journal", "origin ")),
    "a short root": (LiabilityReason.CONTEXT, instead(ROOT_LINE, "root AAAA\n")),
    "base64 without padding": (LiabilityReason.LINE, instead(ROOT_LINE, ROOT_LINE.replace("=", ""))),
    "no units": (LiabilityReason.UNITS, instead("unit ETH\nunit USDC\n", "")),
    "units out of order": (LiabilityReason.UNITS, instead("unit ETH\nunit USDC\n", "unit USDC\nunit ETH\n")),
    "an account that is no path": (LiabilityReason.ACCOUNT, instead("account members", "account /members")),
    "a negative amount": (LiabilityReason.LINE, instead("amounts 0 2000000000", "amounts 0 -2000000000")),
    "an empty amount": (LiabilityReason.LINE, instead("amounts 0 2000000000", "amounts 0  2000000000")),
    "an exponent": (LiabilityReason.LINE, instead("amounts 0 2000000000", "amounts 0 2e9")),
    "an amount over the cap": (LiabilityReason.AMOUNT, instead("amounts 0 2000000000", f"amounts 0 {2**96}")),
    "an amount missing": (LiabilityReason.AMOUNT, instead("amounts 0 2000000000", "amounts 2000000000")),
    "a count too large": (LiabilityReason.COUNT, instead("count 7", f"count {2**32 + 1}")),
    "an index too large": (LiabilityReason.INDEX, instead("index 5", "index 7")),
    "a node missing": (LiabilityReason.PATH_LENGTH, instead(NODE_LINE, "")),
    "a node twice": (LiabilityReason.PATH_LENGTH, instead(NODE_LINE, NODE_LINE * 2)),
    "a sum too many": (LiabilityReason.SUM, instead(NODE_LINE, NODE_LINE.replace("node ", "node 0 "))),
    "a short hash": (LiabilityReason.HASH, instead(NODE_LINE, "node 0 0 AAAA\n")),
    "no hash": (LiabilityReason.LINE, instead(NODE_LINE, "node 0 0\n")),
}


@pytest.mark.parametrize(("reason", "data"), UNREADABLE.values(), ids=[*UNREADABLE])
def test_a_proof_has_one_spelling(reason: LiabilityReason, data: bytes) -> None:
    assert refusal(lambda: parse_proof(data)) is reason


def test_no_byte_of_a_proof_may_be_changed_dropped_or_doubled() -> None:
    data = format_proof(PROOF)
    mutations = {data[:place] + data[place + 1 :] for place in range(len(data))}
    mutations |= {data[:place] + data[place - 1 :] for place in range(1, len(data) + 1)}
    mutations |= {
        data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    }
    mutations |= {data[:place] for place in range(len(data))}
    for mutation in mutations - {data}:
        with pytest.raises(LiabilityRefused):
            verified(parse_proof(mutation))


def test_every_reason_is_tested_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [reason.name for reason in LiabilityReason if f"LiabilityReason.{reason.name}" not in text] == []
