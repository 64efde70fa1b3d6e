"""Whoever edits the journal behind the ledger's back is found, and the first sequence that suffers is named.

What the leaf of an entry vouches for (its legs, its body, its place) names that entry. What only the segment
vouches for (count, root, and the kind, time and id of its entries) names the first entry of the segment.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pytest
from sqlalchemy import Connection, select, text, update

from ledger import leaf
from ledger.account import Account
from ledger.book import post
from ledger.entry import Entry, credit, debit
from ledger.leaf import LEAF_BYTES, LEG_BYTES, RecordMalformed, split_bodies
from ledger.merkle import EMPTY_ROOT, Frontier
from ledger.require import InvariantViolated
from ledger.seal import salts_used, seal
from ledger.store import verify as verifying
from ledger.store.differs import Differs
from ledger.store.kinds import KINDS
from ledger.store.queries import read_entries
from ledger.store.tables import segments
from ledger.store.verify import Verified, verify
from tests.ledgers import (
    ALICE,
    BOB,
    BTC_ALICE,
    BTC_MINT,
    MINT,
    OPENING,
    SALTS,
    behind_its_back,
    book_of,
    entry,
    journal_of,
    ledger_at,
    paid,
    verified,
)
from tests.stores import Stores

SEGMENTS: Sequence[Sequence[Entry]] = (
    (OPENING, paid(1, MINT, ALICE, 100, references=("deposit/1",))),
    (
        paid(2, ALICE, BOB, 30, actor="alice"),
        entry(3, fact={"note": "nothing moves", "ticks": "5"}),
        entry(4, debit(BOB, 10), credit(ALICE, 10), debit(BTC_MINT, 2**100), credit(BTC_ALICE, 2**100)),
    ),
    (paid(5, BOB, ALICE, 5), paid(6, ALICE, BOB, 1)),
)
FIRST = (0, 2, 5)
SIZE = 7
ENTRIES = [one for group in SEGMENTS for one in group]
only_on_sqlite = pytest.mark.parametrize("store_kind", ["sqlite"], indirect=True)
pytestmark = pytest.mark.slow


def on_both(values: list[Any], *, on_sqlite: list[Any]) -> list[tuple[str, Any]]:
    """With the kind of store; SQLite also takes what is not of the type of the column."""
    return [(kind, value) for kind in KINDS for value in [*values, *(on_sqlite if kind == "sqlite" else [])]]


@pytest.fixture(scope="module")
def untouched(stores: Stores) -> Iterator[str]:
    url = stores.new()
    with ledger_at(url) as ledger:
        for number, group in enumerate(SEGMENTS):
            assert ledger.post(f"r{number}", *group).refusals == 0
    yield url
    stores.drop(url)


@pytest.fixture
def url(stores: Stores, untouched: str) -> Iterator[str]:
    copied = stores.copy(untouched)
    yield copied
    stores.drop(copied)


def edit(url: str, statement: str, **parameters: Any) -> None:
    with behind_its_back(url) as connection:
        connection.execute(text(statement), parameters)


def edit_column(url: str, name: str, first: int, change: Callable[[bytes], bytes]) -> None:
    with behind_its_back(url) as connection:
        row = segments.c.first_sequence == first
        before = connection.execute(select(segments.c[name]).where(row)).scalar_one()
        connection.execute(update(segments).where(row).values({name: change(before)}))


def differs_at(url: str) -> int:
    found = verified(url)
    assert isinstance(found, Differs), found
    assert found.reason
    return found.sequence


def refuses_to_start(url: str) -> bool:
    try:
        with ledger_at(url):
            return False
    except (RecordMalformed, InvariantViolated):
        return True


def test_an_untouched_journal_is_verified(url: str) -> None:
    found = verified(url)
    assert isinstance(found, Verified)
    assert (found.size, found.book) == (SIZE, book_of(*ENTRIES))
    with ledger_at(url) as ledger:
        assert ledger.writer.view.frontier.root() == found.root


def test_an_empty_journal_is_verified(stores: Stores) -> None:
    url = stores.new()
    found = verified(url)
    stores.drop(url)
    assert isinstance(found, Verified)
    assert (found.size, found.root, list(found.book.balances)) == (0, EMPTY_ROOT, [])


# ------------------------------------------------------------------------------------------ every single byte


@dataclass(frozen=True)
class Tampering:
    """A connection on which an edit lasts until it has been looked at."""

    connection: Connection

    def column(self, name: str, first: int) -> bytes:
        asked = select(segments.c[name]).where(segments.c.first_sequence == first)
        return bytes(self.connection.execute(asked).scalar_one())

    def see(self, name: str, first: int, value: Any) -> Verified | Differs:
        with self.edited(name, first, value):
            return verify(self.connection)

    @contextmanager
    def edited(self, name: str, first: int, value: Any) -> Iterator[None]:
        edited = text(f"UPDATE segments SET {name} = :value WHERE first_sequence = :first")
        self.connection.execute(text("BEGIN"))
        try:
            self.connection.execute(edited, {"value": value, "first": first})
            yield
        finally:
            self.connection.execute(text("ROLLBACK"))


@pytest.fixture
def tampering(url: str) -> Iterator[Tampering]:
    with behind_its_back(url) as connection:
        yield Tampering(connection)


def owners(name: str, group: int, column: bytes, flip: int) -> list[int]:
    """For each byte of a column: the sequence to be named when its bits ``flip`` are turned over."""
    first, entries = FIRST[group], SEGMENTS[group]
    match name:
        case "leaves":
            return [leaf_owner(first, place, flip) for place in range(len(column))]
        case "legs":
            sizes = [len(one.legs) * LEG_BYTES for one in entries]
        case "bodies":
            sizes = [4 + len(body) for body in split_bodies(column)]
        case _:
            return [first] * len(column)
    return [first + number for number, size in enumerate(sizes) for _ in range(size)]


def leaf_owner(first: int, place: int, flip: int) -> int:
    number, field = divmod(place, LEAF_BYTES)
    is_kind_time_or_id = field in range(4, 6) or field in range(20, 44)
    is_beyond_all_time = field == 20 and flip >= 0x80
    return first if is_kind_time_or_id and not is_beyond_all_time else first + number


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("name", ["leaves", "legs", "bodies", "root"])
def test_one_changed_byte_is_found_wherever_it_is(tampering: Tampering, name: str, flip: int) -> None:
    for group, first in enumerate(FIRST):
        column = tampering.column(name, first)
        wanted = owners(name, group, column, flip)
        assert len(wanted) == len(column) > 0
        for place, sequence in enumerate(wanted):
            changed = column[:place] + bytes([column[place] ^ flip]) + column[place + 1 :]
            found = tampering.see(name, first, changed)
            assert isinstance(found, Differs), (name, first, place)
            assert found.sequence == sequence, (name, first, place, found)


@pytest.mark.parametrize("name", ["legs", "bodies"])
def test_reading_the_entries_stops_at_a_changed_byte(tampering: Tampering, name: str) -> None:
    column = tampering.column(name, FIRST[1])
    for place in range(len(column)):
        changed = column[:place] + bytes([column[place] ^ 1]) + column[place + 1 :]
        with tampering.edited(name, FIRST[1], changed), pytest.raises(RecordMalformed):
            list(read_entries(tampering.connection))


@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize(
    ("store_kind", "count"),
    on_both([0, -1, 1, 4], on_sqlite=[2**31, 2**62, "many", 2.5, b"\x03"]),
    indirect=["store_kind"],
)
def test_a_changed_count_is_found(tampering: Tampering, group: int, count: Any) -> None:
    found = tampering.see("count", FIRST[group], count)
    assert isinstance(found, Differs)
    assert found.sequence == FIRST[group]


@pytest.mark.parametrize("group", [0, 1, 2])
@pytest.mark.parametrize(
    ("store_kind", "salt"), on_both([-1, 10**6], on_sqlite=["salt"]), indirect=["store_kind"]
)
def test_a_changed_place_in_the_salts_is_found(tampering: Tampering, group: int, salt: Any) -> None:
    found = tampering.see("first_salt", FIRST[group], salt)
    assert isinstance(found, Differs)
    assert found.sequence == FIRST[group]


@pytest.mark.parametrize(
    ("store_kind", "place"),
    on_both(
        [
            *[(0, 1, 0), (0, 100, 0), (0, -1, 0)],
            *[(2, 1, 2), (2, 3, 2), (2, 6, 2)],
            *[(5, 4, 5), (5, 6, 5), (5, 2**62, 5), (5, -5, 0)],
        ],
        on_sqlite=[(2, "two", 2), (5, 5.5, 5)],
    ),
    indirect=["store_kind"],
)
def test_a_segment_that_claims_another_place_is_found(
    tampering: Tampering, place: tuple[int, Any, int]
) -> None:
    first, claimed, sequence = place
    found = tampering.see("first_sequence", first, claimed)
    assert isinstance(found, Differs)
    assert found.sequence == sequence


# --------------------------------------------------------------------------------------------- whole segments


@pytest.mark.parametrize("first", FIRST)
def test_a_deleted_segment_is_found_even_when_it_was_the_last(url: str, first: int) -> None:
    edit(url, "DELETE FROM segments WHERE first_sequence = :first", first=first)
    assert differs_at(url) == first
    assert refuses_to_start(url)


@pytest.mark.parametrize(("one", "other", "sequence"), [(0, 2, 0), (0, 5, 0), (2, 5, 2)])
def test_swapped_segments_are_found(url: str, one: int, other: int, sequence: int) -> None:
    with behind_its_back(url) as connection:
        move = text("UPDATE segments SET first_sequence = :to WHERE first_sequence = :at")
        for to, at in ((999, one), (one, other), (other, 999)):
            connection.execute(move, {"to": to, "at": at})
    assert differs_at(url) == sequence
    assert refuses_to_start(url)


@pytest.mark.parametrize("first", FIRST)
def test_a_duplicated_segment_is_found(url: str, first: int) -> None:
    edit(
        url,
        "INSERT INTO segments SELECT :at, count, first_salt, epoch, leaves, legs, bodies, root "
        "FROM segments WHERE first_sequence = :first",
        at=SIZE,
        first=first,
    )
    assert differs_at(url) == SIZE
    assert refuses_to_start(url)


def test_a_segment_without_entries_is_found(url: str) -> None:
    edit(
        url,
        "INSERT INTO segments SELECT :at, 0, :salt, epoch, :none, :none, :none, root "
        "FROM segments WHERE first_sequence = 5",
        at=SIZE,
        salt=sum(len(one.legs) + 1 for one in ENTRIES),
        none=b"",
    )
    assert differs_at(url) == SIZE
    assert refuses_to_start(url)


@pytest.mark.parametrize(
    ("column", "kept", "sequence"),
    [
        ("leaves", -1, 4),
        ("leaves", LEAF_BYTES, 2),
        ("leaves", 0, 2),
        ("legs", -1, 4),
        ("legs", -LEG_BYTES, 4),
        ("legs", LEG_BYTES, 2),
        ("legs", 0, 2),
        ("bodies", -1, 4),
        ("bodies", 3, 2),
        ("bodies", 0, 2),
        ("root", -1, 2),
        ("root", 0, 2),
    ],
)
def test_a_truncated_column_is_found(tampering: Tampering, column: str, kept: int, sequence: int) -> None:
    found = tampering.see(column, 2, tampering.column(column, 2)[:kept])
    assert isinstance(found, Differs)
    assert found.sequence == sequence


@pytest.mark.parametrize(
    ("column", "more", "sequence"),
    [
        ("leaves", bytes(1), 2),
        ("leaves", bytes(LEAF_BYTES), 2),
        ("legs", bytes(1), 5),
        ("legs", bytes(LEG_BYTES), 5),
        ("bodies", bytes(1), 5),
        ("bodies", bytes(4), 5),
        ("root", bytes(1), 2),
    ],
)
def test_a_column_with_more_than_its_entries_is_found(
    tampering: Tampering, column: str, more: bytes, sequence: int
) -> None:
    found = tampering.see(column, 2, tampering.column(column, 2) + more)
    assert isinstance(found, Differs)
    assert found.sequence == sequence


@only_on_sqlite
@pytest.mark.parametrize("column", ["leaves", "legs", "bodies", "root"])
@pytest.mark.parametrize("value", ["text", "", 17, 1.5])
def test_a_column_of_another_type_is_found(tampering: Tampering, column: str, value: Any) -> None:
    found = tampering.see(column, 2, value)
    assert isinstance(found, Differs)
    assert found.sequence == 2


@only_on_sqlite
def test_bytes_that_sql_turned_into_text_are_found_where_they_changed(url: str) -> None:
    edit(url, "UPDATE segments SET legs = substr(legs, 1, 95) || x'ff' || substr(legs, 97)")
    assert differs_at(url) == 1


@pytest.fixture(params=[1, 3, 4_096])
def answers_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "ANSWERS_AT_ONCE", request.param)


@pytest.mark.usefixtures("answers_at_once")
@pytest.mark.parametrize("request_number", [0, 1, 2])
def test_an_answer_that_is_gone_is_found_and_one_that_is_there_is_not(url: str, request_number: int) -> None:
    assert isinstance(verified(url), Verified)
    edit(url, "DELETE FROM requests WHERE id = :id", id=f"r{request_number}")
    assert differs_at(url) == FIRST[request_number]


@pytest.mark.usefixtures("answers_at_once")
def test_a_leaf_that_differs_behind_an_answer_that_does_is_not_named_first(url: str) -> None:
    edit(url, "UPDATE requests SET first_sequence = first_sequence + 1, count = count - 1 WHERE id = 'r1'")
    edit_column(url, "leaves", 5, lambda leaves: bytes(len(leaves)))
    assert differs_at(url) == FIRST[1]


def test_an_answer_that_no_entry_stands_behind_is_found(url: str) -> None:
    edit(url, "UPDATE requests SET count = count + 1 WHERE id = 'r2'")
    assert differs_at(url) == FIRST[2], "where the entries of r2 begin"
    assert refuses_to_start(url)


# ----------------------------------------------------------------------------- edited by who can hash as well


def forge(url: str, *groups: Sequence[Entry], until: int = len(FIRST)) -> None:
    """Write ``groups`` in place of the first ``until`` segments, every hash and root of theirs made again."""
    frontier, salts = Frontier(), 0
    with behind_its_back(url) as connection:
        for group in groups[:until]:
            sealed = seal(group, first_sequence=frontier.size, first_salt=salts, source=SALTS)
            after = frontier.extend(sealed.leaf_hashes)
            connection.execute(
                update(segments)
                .where(segments.c.first_sequence == frontier.size)
                .values(
                    count=len(group),
                    first_salt=salts,
                    leaves=sealed.leaves,
                    legs=sealed.legs,
                    bodies=sealed.bodies,
                    root=after.root(),
                )
            )
            frontier = after
            salts += salts_used(group)


def test_forging_what_was_there_changes_nothing(url: str) -> None:
    before = verified(url)
    forge(url, *SEGMENTS)
    assert verified(url) == before
    assert isinstance(before, Verified)


@pytest.fixture
def no_scruples(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forger's own ``seal`` refuses nothing."""
    monkeypatch.setattr(leaf, "check_entry", lambda _: None)


STRANGER = Account("stranger", "USD")
CANNOT_STAND = {
    "an account that nobody opened": paid(3, STRANGER, BOB, 1),
    "an overdraft": paid(3, ALICE, BOB, 71),
    "an account opened twice": entry(3, opens=(ALICE,)),
    "one leg": entry(3, debit(ALICE, 1)),
    "a zero": entry(3, debit(ALICE, 0), credit(BOB, 0)),
    "a creation of money": entry(3, debit(ALICE, 1), credit(BOB, 2)),
    "an amount without a negation": entry(3, debit(MINT, -(2**127)), credit(BOB, -(2**127) + 1)),
    "no kind": entry(3, fact="x", kind=0),
    "a time after all time": entry(3, fact="x", effective_ms=2**63),
    "nothing at all": entry(3),
}


@pytest.mark.usefixtures("no_scruples")
@pytest.mark.parametrize("forged", CANNOT_STAND.values(), ids=CANNOT_STAND)
def test_well_hashed_entries_must_still_post(url: str, forged: Entry) -> None:
    first, (before, _, after), last = SEGMENTS
    forge(url, first, (before, forged, after), last)
    assert differs_at(url) == 3
    assert refuses_to_start(url)


@pytest.mark.usefixtures("no_scruples")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_overdraft_is_named_wherever_in_its_segment_it_stands(url: str, place: int) -> None:
    group = [*SEGMENTS[1]]
    group[place] = paid(9, ALICE, BOB, 10**6)
    forge(url, SEGMENTS[0], group, SEGMENTS[2])
    assert differs_at(url) == 2 + place


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    "body", [b"", b"CCB1", b"CCB1" + bytes(16) + b"{}", b"CCB1" + bytes(16) + b"[" * 10**5]
)
def test_a_well_hashed_body_must_still_be_one(
    url: str, place: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, forged = leaf.encode_body, SEGMENTS[1][place]
    with monkeypatch.context() as patched:
        patched.setattr(leaf, "encode_body", lambda salt, one: body if one == forged else honest(salt, one))
        forge(url, *SEGMENTS)
    assert differs_at(url) == 2 + place
    assert refuses_to_start(url)


@pytest.mark.usefixtures("no_scruples")
def test_of_two_faults_in_a_segment_the_first_is_named(url: str) -> None:
    forge(url, SEGMENTS[0], (paid(2, ALICE, BOB, 10**6), *SEGMENTS[1][1:]), SEGMENTS[2])
    edit_column(url, "legs", 2, lambda legs: legs[:240] + bytes(48))
    assert differs_at(url) == 2


@pytest.mark.parametrize("group", [0, 1])
def test_a_replaced_segment_breaks_the_chain_of_roots_at_the_next_one(url: str, group: int) -> None:
    groups = [list(one) for one in SEGMENTS]
    groups[group][-1] = paid(77, MINT, ALICE, 99) if group == 0 else paid(77, BTC_MINT, BTC_ALICE, 1)
    if group == 1:
        groups[1][-1] = entry(77, *SEGMENTS[1][-1].legs)
    forge(url, *groups, until=group + 1)
    assert differs_at(url) == FIRST[group + 1]


def test_only_a_checkpoint_tells_a_journal_that_was_replaced_as_a_whole(url: str) -> None:
    """Nothing inside the database can: whoever can rewrite all of it can make all of it agree.

    Verification gives the root that the file leads to now; a checkpoint signed before gives the other.
    """
    signed = verified(url)
    forge(url, *SEGMENTS[:2], (SEGMENTS[2][0], paid(6, ALICE, BOB, 2)))
    found = verified(url)
    assert isinstance(signed, Verified)
    assert isinstance(found, Verified)
    assert found.size == signed.size
    assert found.root != signed.root
    assert found.book.balance(BOB) == signed.book.balance(BOB) + 1


# --------------------------------------------------------------------------------------- starting and reading


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM segments WHERE first_sequence = 2",
        "UPDATE segments SET count = 1 WHERE first_sequence = 5",
        "UPDATE segments SET first_salt = 0 WHERE first_sequence = 5",
        "UPDATE segments SET first_sequence = -5 WHERE first_sequence = 5",
    ],
)
def test_a_writer_does_not_start_on_a_journal_that_was_edited(url: str, statement: str) -> None:
    edit(url, statement)
    assert isinstance(verified(url), Differs)
    assert refuses_to_start(url)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        pytest.param("root", lambda _: bytes(32), id="root zero"),
        pytest.param("legs", lambda legs: bytes(len(legs)), id="legs zero"),
        pytest.param("legs", lambda _: b"", id="legs gone"),
        pytest.param("legs", lambda legs: legs + bytes(48), id="legs longer"),
        pytest.param("bodies", lambda _: b"", id="bodies gone"),
        pytest.param("leaves", lambda _: bytes(216), id="leaves zero"),
    ],
)
def test_a_writer_does_not_start_on_a_column_that_was_edited(
    url: str, column: str, change: Callable[[bytes], bytes]
) -> None:
    edit_column(url, column, 5, change)
    assert isinstance(verified(url), Differs)
    assert refuses_to_start(url)


def test_two_legs_edited_so_that_they_still_balance_do_not_start_either(url: str) -> None:
    """The dangerous edit: the money moves, every sum holds, only the hash of the legs disagrees."""
    more, less = (4).to_bytes(16, "big", signed=True), (-4).to_bytes(16, "big", signed=True)
    edit_column(url, "legs", 5, lambda legs: legs[:32] + more + legs[48:80] + less + legs[96:])
    assert isinstance(post(book_of(*ENTRIES[:5]), paid(5, BOB, ALICE, 4)), type(book_of()))
    assert differs_at(url) == 5
    assert refuses_to_start(url)


def test_the_entries_read_are_the_entries_posted(url: str) -> None:
    assert journal_of(url) == ENTRIES
    assert list(accumulate((len(group) for group in SEGMENTS), initial=0)) == [*FIRST, SIZE]
