"""Segments as columns: each field as it was posted, exact beyond 64 bits; what contradicts itself is refused."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ledger import leaf
from ledger.account import Account
from ledger.amount import AMOUNT_MAX
from ledger.entry import Entry, Json, credit, debit
from ledger.leaf import Body, RecordMalformed, decode_body
from ledger.seal import salts_used, seal
from ledger.store import columns
from ledger.store.columns import Run, Unfolding
from ledger.store.queries import Segment
from tests.ledgers import ALICE, BOB, MINT, NOW_MS, OPENING, SALTS, entry, paid

LATE = Account("clients/late", "USD")


def sealed(*groups: Sequence[Entry], first: int = 0) -> list[Segment]:
    """Each group as a segment."""
    made: list[Segment] = []
    salts = 0
    for group in groups:
        bytes_ = seal(group, first_sequence=first, first_salt=salts, source=SALTS)
        made.append(
            Segment(
                first_sequence=first,
                count=len(group),
                first_salt=salts,
                epoch=1,
                leaves=bytes_.leaves,
                legs=bytes_.legs,
                bodies=bytes_.bodies,
                root=bytes(32),
            )
        )
        first, salts = first + len(group), salts + salts_used(group)
    return made


def unfolded(*groups: Sequence[Entry]) -> Run:
    run = Unfolding().unfold(sealed(*groups), sequence=0)
    assert run is not None
    return run


def test_every_field_is_there_in_the_order_of_the_journal() -> None:
    split = entry(2, debit(ALICE, 3), credit(BOB, 1), credit(BOB, 2), kind=9, effective_ms=NOW_MS + 1)
    run = unfolded([OPENING, paid(1, MINT, ALICE, 10)], [split, entry(3, opens=(LATE,))])
    assert (run.first, run.end) == (0, 4)
    assert run.kinds == [OPENING.kind, OPENING.kind, 9, OPENING.kind]
    assert run.effective_ms == [NOW_MS, NOW_MS, NOW_MS + 1, NOW_MS]
    assert run.entry_ids == [n.to_bytes(16, "big") for n in range(4)]
    assert run.opened == [*((0, one) for one in OPENING.opens), (3, LATE)]
    assert run.leg_ends.tolist() == [0, 2, 5, 5]
    assert run.account.tolist() == [0, 1, 1, 2, 2]
    assert run.sequence.tolist() == [1, 1, 2, 2, 2]
    assert run.leg.tolist() == [0, 1, 0, 1, 2]
    assert run.amount.tolist() == [10, -10, 3, -1, -2]
    assert run.balance.tolist() == [10, -10, -7, -1, -3]


def test_a_run_goes_on_where_the_one_before_ended() -> None:
    unfolding = Unfolding()
    first, second = sealed([OPENING, paid(1, MINT, ALICE, 10)], [paid(2, ALICE, BOB, 4)])
    assert unfolding.unfold([first], sequence=0) is not None
    run = unfolding.unfold([second], sequence=2)
    assert run is not None
    assert run.balance.tolist() == [-6, -4]
    assert unfolding.unfold([second], sequence=3) is None
    assert unfolding.unfold([], sequence=3) is None


@pytest.mark.parametrize("leg", [0, 1, 2])
def test_a_run_may_begin_within_an_entry_whose_accounts_are_open(leg: int) -> None:
    opening = entry(0, opens=(MINT, ALICE))
    within = entry(1, debit(MINT, 5), credit(ALICE, 2), credit(ALICE, 3), opens=(BOB,))
    opened = {one.id: number for number, one in enumerate((MINT, ALICE, *((BOB,) if leg else ())))}
    balances = [[0, 0], [5, 0, 0], [5, -2, 0]][leg]
    unfolding = Unfolding(numbers=dict(opened), balances=balances)
    run = unfolding.unfold(sealed([opening, within]), sequence=1, leg=leg)
    assert run is not None
    assert run.leg.tolist() == [0, 1, 2][leg:]
    assert run.balance.tolist() == [5, -2, -5][leg:]
    assert run.opened == ([] if leg else [(1, BOB)])
    assert run.first_account == 2 + bool(leg)
    assert run.leg_ends.tolist() == [3 - leg]


@pytest.mark.parametrize(
    ("amount", "is_fast"),
    [(2**40, True), (2**62 - 2**34, True), (2**63 - 1, False), (2**63, False), (AMOUNT_MAX, False)],
)
def test_amounts_are_exact_and_64_bits_are_used_where_they_do(amount: int, is_fast: bool) -> None:
    run = unfolded([OPENING, paid(1, MINT, ALICE, amount)])
    assert run.amount.tolist() == [amount, -amount]
    assert run.balance.tolist() == [amount, -amount]
    assert (run.balance.dtype == np.int64) is is_fast


def test_the_least_of_64_bits_has_no_negation_there_and_does_no_harm() -> None:
    run = unfolded([OPENING, entry(1, debit(MINT, -(2**63)), credit(ALICE, -(2**63) + 1), credit(BOB, -1))])
    assert run.balance.tolist() == [-(2**63), 2**63 - 1, 1]


def test_balances_grow_beyond_64_bits_and_come_back() -> None:
    big = 2**62
    there = [paid(1 + n, MINT, ALICE, big) for n in range(4)]
    back = [paid(5 + n, ALICE, MINT, big) for n in range(4)]
    unfolding = Unfolding()
    found: list[int] = []
    is_fast = []
    for segment in sealed([OPENING], there, back, [paid(9, MINT, ALICE, 1)]):
        run = unfolding.unfold([segment], sequence=segment.first_sequence)
        assert run is not None
        found += run.balance[run.account == 0].tolist()
        is_fast.append(run.balance.dtype == np.int64)
    assert found == [big, 2 * big, 3 * big, 4 * big, 3 * big, 2 * big, big, 0, 1]
    assert is_fast == [True, False, False, True]


# ------------------------------------------------------------------------------------------------ what is opened

LOOK_ALIKES: list[Json] = [
    None,
    {"opens": []},
    {"opens": [["clients/late", "USD", "credit", "none"]]},
    {"a": {"opens": []}},
    '"opens":[]',
    '"opens":[["clients/late","USD","credit","none"]]',
    ['"opens":', "[]"],
    {'"opens': []},
]


@pytest.mark.parametrize("fact", LOOK_ALIKES)
@pytest.mark.parametrize("opens", [(), (LATE,)])
def test_a_text_that_looks_like_an_opening_is_none(fact: Json, opens: tuple[Account, ...]) -> None:
    told = entry(1, debit(MINT, 1), credit(ALICE, 1), fact=fact, opens=opens, references=('"opens":[]',))
    run = unfolded([OPENING, told])
    assert [one for at, one in run.opened if at == 1] == list(opens)
    run = unfolded([OPENING], [told, paid(2, MINT, ALICE, 1)])
    assert [one for at, one in run.opened if at == 1] == list(opens)


def test_a_salt_that_looks_like_an_opening_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for salt in (b'"opens":[]xxxxxx', b'"opens":[[xxxxxx'):
        monkeypatch.setattr("tests.unit.test_columns.SALTS", lambda _, size, s=salt: s * (size // 16))
        run = unfolded([OPENING, paid(1, MINT, ALICE, 1), entry(2, opens=(LATE,))])
        assert [at for at, _ in run.opened] == [0] * len(OPENING.opens) + [2]


def test_bodies_that_open_nothing_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []

    def noted(body: bytes) -> Body:
        parsed.append(body)
        return decode_body(body)

    monkeypatch.setattr(columns, "decode_body", noted)
    unfolded([OPENING, paid(1, MINT, ALICE, 1), entry(2, fact={"x": "y"})], [paid(3, MINT, ALICE, 1)])
    assert len(parsed) == 1


# --------------------------------------------------------------------------------------------------- what is not


def refused(segments: list[Segment], sequence: int = 0) -> str:
    with pytest.raises(RecordMalformed) as refused_:
        Unfolding().unfold(segments, sequence=sequence)
    return str(refused_.value)


def test_what_contradicts_itself_is_refused() -> None:
    first, second = sealed([OPENING, paid(1, MINT, ALICE, 10)], [paid(2, ALICE, BOB, 4)])
    assert "whole number" in refused([replace(first, leaves=first.leaves[1:])])
    assert "whole number" in refused([replace(first, legs=first.legs + b"x")])
    assert "2 legs" in refused([replace(first, legs=b"")])
    assert "count up" in refused([second, first], sequence=2)
    assert "count up" in refused([replace(first, first_sequence=1)], sequence=1)
    assert "entry 0" in refused([second])
    assert "entry 0" in refused([second], sequence=0)
    assert "no entry opened" in refused(sealed([paid(0, MINT, ALICE, 10)]))
    assert "opened twice" in refused(sealed([OPENING, OPENING]))


def test_the_records_are_those_that_the_ledger_hashes() -> None:
    assert columns._LEAF.itemsize == leaf.LEAF_BYTES
    assert columns._LEG.itemsize == leaf.LEG_BYTES
