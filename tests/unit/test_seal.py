"""Columns to bytes and back: the bytes are those of single entries, and no flipped one is overlooked."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import leaf
from ledger.account import Account
from ledger.amount import AMOUNT_MAX
from ledger.entry import KIND_MAX, TIME_MAX_MS, Entry, Leg, credit, debit, transfer
from ledger.leaf import LEAF_BYTES, RecordMalformed
from ledger.require import InvariantViolated
from ledger.seal import LEGS_MIN, RUN_MIN, SALTS_PER_ROW, Piece, pieces_of, salts_used, seal
from ledger.store.queries import Directory, Segment
from ledger.transfers import Record, Transfers, amount_column, count, entries_of, key_column
from tests.ledgers import (
    ACCOUNTS,
    ALICE,
    BOB,
    KIND,
    MINT,
    NOW_MS,
    OPENING,
    SALTS,
    entry,
    numbered,
    paid,
    segment_of,
)

BY_ID = {account.id: account for account in ACCOUNTS}
WIDE = (1, 255, 2**63 - 1, 2**63, 2**64 - 1, 2**64, AMOUNT_MAX)


def column(first: int, amounts: list[int], **fields: Any) -> Transfers:
    """Payments from Alice to Bob and back in turns."""
    ids = [ALICE.id if row % 2 else BOB.id for row in range(len(amounts) + 1)]
    usual = {"kind": KIND, "effective_ms": NOW_MS, "request_id": "r1", "actor": "admin"}
    return Transfers(
        ids=key_column([numbered(first + row) for row in range(len(amounts))]),
        debits=key_column(list(ids[1:])),
        credits=key_column(list(ids[:-1])),
        amounts=amount_column(amounts),
        **{**usual, **fields},
    )


def rows_of(*records: Record) -> list[Entry]:
    return [one for record in records for one in entries_of(record, BY_ID.__getitem__)]


def read_back(segment: Segment) -> list[Record]:
    directory = Directory()
    list(directory.decode(segment_of(OPENING)))
    return list(directory.records(segment))


# -------------------------------------------------------------------------------------------------- to bytes

texts = st.text(max_size=6) | st.sampled_from(['"', "\\", "é😀", "\ud800", "\x00", "CCB1"])
columns = st.builds(
    column,
    st.integers(1, 2**100),
    st.lists(st.sampled_from(WIDE) | st.integers(1, 1_000), min_size=1, max_size=12),
    kind=st.integers(1, KIND_MAX),
    effective_ms=st.integers(0, TIME_MAX_MS),
    request_id=texts,
    actor=texts,
    references=st.lists(texts, max_size=3).map(tuple),
)


@settings(max_examples=100, deadline=None)
@given(columns, st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_column_is_sealed_into_the_bytes_of_its_rows(rows: Transfers, sequence: int, salt: int) -> None:
    at_once = seal([rows], first_sequence=sequence, first_salt=salt, source=SALTS)
    one_by_one = seal(rows_of(rows), first_sequence=sequence, first_salt=salt, source=SALTS)
    assert at_once == one_by_one
    assert salts_used([rows]) == salts_used(rows_of(rows)) == SALTS_PER_ROW * len(rows)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        columns | st.builds(paid, st.integers(1, 99), st.just(MINT), st.just(ALICE), st.just(5)), max_size=4
    )
)
def test_what_was_sealed_is_read_back_in_columns_where_it_can_be(records: list[Record]) -> None:
    if not records:
        return
    read = read_back(segment_of(*records, first_sequence=1))
    assert rows_of(*read) == rows_of(*records)
    long = [record for record in records if isinstance(record, Transfers) and len(record) >= RUN_MIN]
    assert all(any(isinstance(one, Transfers) and len(one) >= len(rows) for one in read) for rows in long)


def balanced(number: int, amounts: list[int], fact: str) -> Entry:
    """An entry with one leg more than there are amounts, which balances them."""
    owners = [ACCOUNTS[(number + place) % 2] for place in range(len(amounts) + 1)]
    legs = [Leg(owner, amount) for owner, amount in zip(owners, [*amounts, -sum(amounts)], strict=True)]
    return Entry(
        entry_id=numbered(number),
        kind=KIND + number % 3,
        effective_ms=NOW_MS + number,
        legs=tuple(legs),
        request_id="r1",
        actor="admin",
        references=("t1",),
        fact=fact or None,
    )


@given(
    sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 30)), max_size=4),
    amounts=st.lists(st.sampled_from([1, 7, 2**63 - 1, 2**64, 10**30]), min_size=9, max_size=9),
    long=st.integers(LEGS_MIN - 3, LEGS_MIN + 3),
)
def test_entries_with_equally_many_legs_are_sealed_into_the_bytes_of_each_alone(
    sizes: list[tuple[int, int]], amounts: list[int], long: int
) -> None:
    entries: list[Record] = [balanced(0, [5] * long, "long")]
    for legs, repeated in sizes:
        entries += [balanced(len(entries) + n, amounts[:legs], "x" * n) for n in range(repeated)]
    sealed = seal(entries, first_sequence=3, first_salt=7, source=SALTS)
    salt, parts = 7, list[leaf.Sealed]()
    for place, one in enumerate(entries):
        assert isinstance(one, Entry)
        drawn = SALTS(16 * salt, 16 * (len(one.legs) + 1))
        parts.append(leaf.seal_entry(one, 3 + place, drawn))
        salt += len(one.legs) + 1
    assert sealed.leaves == b"".join(part.leaves for part in parts)
    assert sealed.legs == b"".join(part.legs for part in parts)
    assert sealed.bodies == b"".join(part.bodies for part in parts)
    assert sealed.leaf_hashes == tuple(digest for part in parts for digest in part.leaf_hashes)


def test_an_unsound_entry_in_a_run_is_never_sealed() -> None:
    entries: list[Record] = [balanced(n, [1], "") for n in range(LEGS_MIN)]
    spoilt = replace(balanced(5, [1], ""), legs=(Leg(ALICE, 1), Leg(BOB, 1)))
    with pytest.raises(InvariantViolated, match="comes to be recorded: ENTRY_UNBALANCED"):
        seal([*entries, spoilt], first_sequence=0, first_salt=0, source=SALTS)


def test_amounts_of_any_size_come_back_as_they_were() -> None:
    narrow, wide = column(1, list(range(1, 20))), column(1, [*WIDE, *WIDE])
    for rows in (narrow, wide):
        (read,) = read_back(segment_of(rows, first_sequence=1))
        assert read == rows
        assert isinstance(read, Transfers)
        assert read.amounts.dtype == rows.amounts.dtype


def test_a_source_that_runs_short_is_told() -> None:
    with pytest.raises(InvariantViolated, match="salt"):
        seal([column(1, [1] * 9)], first_sequence=0, first_salt=0, source=lambda at, size: bytes(size - 1))


# ------------------------------------------------------------------------------------------------ from bytes


def lengths(*records: Record) -> list[int]:
    """How the records are read back: the number of rows of each column, 1 for an entry."""
    segment = segment_of(OPENING, *records)
    read = list(Directory().records(segment))
    assert rows_of(*read) == rows_of(OPENING, *records)
    return [count((record,)) for record in read[1:]]


def test_entries_between_columns_are_read_where_they_stand() -> None:
    one, other = column(10, [5] * 9), column(40, [6] * 8, actor="somebody")
    between = paid(30, MINT, ALICE, 7, request_id="r1", actor="admin", fact="one")
    assert lengths(one, between, other) == [9, 1, 8]
    assert lengths(between, one, other, between) == [1, 9, 8, 1]


def test_two_columns_whose_bodies_are_of_one_length_are_two() -> None:
    assert lengths(column(10, [5] * 9, actor="ab"), column(40, [6] * 9, actor="cd")) == [9, 9]
    assert lengths(column(10, [5] * 9, actor="ab"), column(40, [6] * 2, actor="cd")) == [9, 1, 1]


def test_columns_that_say_the_same_may_be_read_as_one() -> None:
    assert lengths(column(10, [5] * 9), column(40, [6] * 9)) == [18]
    assert lengths(column(10, [5] * 9), column(40, [6] * 9, kind=KIND + 1)) == [9, 9]
    assert lengths(column(10, [5] * 9), column(40, [6] * 9, effective_ms=NOW_MS + 1)) == [9, 9]


def test_few_rows_are_read_as_entries() -> None:
    assert lengths(column(10, [5] * (RUN_MIN - 1))) == [1] * (RUN_MIN - 1)
    assert lengths(column(10, [5] * RUN_MIN)) == [RUN_MIN]


def test_entries_that_look_like_transfers_and_say_more_are_not_taken_for_them() -> None:
    facts = [entry(n, *transfer(MINT, ALICE, 1), fact="one") for n in range(10, 20)]
    turned = [entry(n, *transfer(MINT, ALICE, 1)[::-1]) for n in range(20, 30)]
    assert lengths(*facts, *turned) == [1] * 20
    longer = [entry(n, *transfer(MINT, ALICE, 1), *transfer(MINT, ALICE, 1)) for n in range(30, 40)]
    assert lengths(*longer) == [1] * 10
    opens = [entry(n, *transfer(MINT, ALICE, 1), opens=(Account(f"late-{n}", "USD"),)) for n in range(40, 50)]
    assert lengths(*opens) == [1] * 10


@pytest.mark.parametrize("legs", [(debit(MINT, 5), credit(ALICE, 4)), (debit(MINT, -5), credit(ALICE, -5))])
def test_rows_whose_legs_do_not_match_are_no_column_whatever_their_hashes_say(
    monkeypatch: pytest.MonkeyPatch, legs: tuple[Leg, ...]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(leaf, "check_entry", lambda entry: None)
        forged = [entry(number, *legs) for number in range(10, 20)]
        assert lengths(*forged) == [1] * 10


def test_a_row_whose_account_no_entry_opened_is_named() -> None:
    rows = column(10, [5] * 9)
    changed = rows.debits.copy()
    changed[4] = 7
    stranger = replace(rows, debits=changed)
    assert _refused_at(segment_of(stranger, first_sequence=1), opened=True) == 4


# --------------------------------------------------------------------------------------------- flipped bytes

MIXED: tuple[Record, ...] = (
    OPENING,
    column(10, [5] * RUN_MIN, actor="ab"),
    paid(30, MINT, ALICE, 7, fact="one"),
    column(40, [6, 2**90] * (RUN_MIN // 2), actor="cd"),
)
WHOLE = segment_of(*MIXED)
ROOT_ALONE = {*range(4, 6), *range(20, 28), *range(28, 44)}
"""Kind, time and id in a leaf: nothing but the root over the leaves vouches for them."""


def _refused_at(segment: Segment, *, opened: bool = False) -> int | None:
    """How many entries are read before the first that is no record; None if there is none."""
    directory, read = Directory(), 0
    if opened:
        list(directory.decode(segment_of(OPENING)))
    try:
        for record in directory.records(segment):
            read += count((record,))
    except RecordMalformed:
        return read
    return None


def _refused_one_by_one(segment: Segment) -> int | None:
    read, rows = 0, Piece(0, segment.count, segment.legs, segment.bodies, None)
    try:
        for _ in Directory()._one_by_one(segment, rows):
            read += 1
    except RecordMalformed:
        return read
    return None


def _flipped(where: str, at: int, bit: int) -> Segment:
    column_of = bytearray(getattr(WHOLE, where))
    column_of[at] ^= 1 << bit
    changed: dict[str, Any] = {where: bytes(column_of)}
    return replace(WHOLE, **changed)


def _row_ends(where: str) -> Iterator[int]:
    for end in range(1, WHOLE.count + 1):
        yield len(getattr(segment_of(*rows_of(*MIXED)[:end]), where))


@pytest.mark.parametrize("where", ["leaves", "legs", "bodies"])
def test_any_flipped_byte_is_refused_at_its_entry(where: str) -> None:
    ends = list(_row_ends(where))
    for at in range(len(getattr(WHOLE, where))):
        row = next(row for row, end in enumerate(ends) if at < end)
        is_seen = where != "leaves" or at % LEAF_BYTES not in ROOT_ALONE
        segment = _flipped(where, at, at % 8)
        found = _refused_at(segment)
        assert found == (row if is_seen else None), (at, row, found)
        if at % 9 == 0:
            assert found == _refused_one_by_one(segment), at
        if not is_seen:
            assert segment.leaf_hashes()[row] != WHOLE.leaf_hashes()[row]


@pytest.mark.parametrize("where", ["leaves", "legs", "bodies"])
@pytest.mark.parametrize("cut", [1, LEAF_BYTES, 500])
def test_a_column_that_is_cut_or_grows_is_refused(where: str, cut: int) -> None:
    whole = getattr(WHOLE, where)
    for bytes_now in (whole[:-cut], whole + bytes(cut), whole[cut:], b""):
        changed: dict[str, Any] = {where: bytes_now}
        segment = replace(WHOLE, **changed)
        assert _refused_at(segment) is not None
        if where != "leaves":
            assert _refused_at(segment) == _refused_one_by_one(segment)


def test_rows_that_change_places_are_refused_at_the_first() -> None:
    leaves = [WHOLE.leaves[at : at + LEAF_BYTES] for at in range(0, len(WHOLE.leaves), LEAF_BYTES)]
    leaves[3], leaves[5] = leaves[5], leaves[3]
    assert _refused_at(replace(WHOLE, leaves=b"".join(leaves))) == 3


def test_pieces_cover_a_segment_without_gap_whatever_stands_in_it() -> None:
    pieces = list(pieces_of(WHOLE.leaves, WHOLE.legs, WHOLE.bodies, 0))
    assert [piece.columns is not None for piece in pieces].count(True) == 2
    assert [pieces[0].start, *(piece.end for piece in pieces)] == [piece.start for piece in pieces] + [
        WHOLE.count
    ]
    assert b"".join(piece.legs for piece in pieces) == WHOLE.legs
    assert b"".join(piece.bodies for piece in pieces) == WHOLE.bodies
