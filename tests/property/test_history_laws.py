"""The projected history is that of a slow model, whatever the journal, the steps, and the interruptions."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from ledger.account import Account, AccountId
from ledger.amount import AMOUNT_MAX
from ledger.book import Book, post
from ledger.entry import Entry, Json, credit, debit
from ledger.store import history
from ledger.store.connect import Database, open_store, transaction
from ledger.store.kinds import KINDS
from ledger.store.projector import HistoryBehind, Projector
from ledger.store.tables import metadata
from ledger.store.verify_history import history_differs
from tests.histories import SlowHistory, require_same, write_segments
from tests.ledgers import entry
from tests.stores import Stores

pytestmark = pytest.mark.slow

NAMES = tuple(Account(path, unit) for unit in ("USD", "ETH") for path in ("a", "b", "c"))
FACTS: tuple[Json, ...] = (None, {"opens": []}, {"opens": [["x"]]}, '"opens":[]', {'"opens': [], "z": ""})
AMOUNTS = st.one_of(
    st.integers(1, 100),
    st.sampled_from([2**62, 2**63 - 1, 2**63, 2**64 + 1, 2**100, AMOUNT_MAX // 2, AMOUNT_MAX]),
)


@pytest.fixture(scope="module")
def database(stores: Stores) -> Iterator[Database]:
    """Without triggers, so that one database serves all examples."""
    url = stores.new()
    opened = open_store(url)
    with transaction(opened) as connection:
        metadata.create_all(connection)
    yield opened
    opened.dispose()
    stores.drop(url)


def movement(draw: st.DrawFn, opened: Sequence[Account]) -> list[Any]:
    """Legs that balance: pairs within a unit, the same account more than once if it comes so."""
    legs = []
    for _ in range(draw(st.integers(0, 3))):
        unit = draw(st.sampled_from(["USD", "ETH"]))
        holders = [one for one in opened if one.unit == unit]
        if holders:
            amount = draw(AMOUNTS)
            legs.append(debit(draw(st.sampled_from(holders)), amount))
            legs.append(credit(draw(st.sampled_from(holders)), amount))
    return draw(st.permutations(legs))


@st.composite
def journals(draw: st.DrawFn) -> list[Entry]:
    """Entries that post one after the other."""
    book, journal, opened = Book(), list[Entry](), list[Account]()
    for number in range(draw(st.integers(0, 9))):
        fresh = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=2))
        fresh = [one for one in fresh if one not in opened]
        legs = movement(draw, [*opened, *fresh])
        one = entry(
            number,
            *legs,
            opens=tuple(fresh),
            kind=draw(st.integers(1, 2)),
            fact=draw(st.sampled_from(FACTS)),
            references=("opens", '"opens":[]'),
        )
        after = post(book, one)
        if isinstance(after, Book):
            book = after
            journal.append(one)
            opened += fresh
    return journal


def grouped(journal: Sequence[Entry], sizes: Sequence[int]) -> Iterator[Sequence[Entry]]:
    at = 0
    for size in [*sizes, len(journal)]:
        if journal[at : at + size]:
            yield journal[at : at + size]
        at += size


class Interrupted(Exception):
    """Somebody pulled the plug."""


def interrupted_step(projector: Projector, legs_max: int, table: int) -> None:
    """A step that ends at the ``table``-th load, if it comes so far."""
    kind = KINDS[projector._database.dialect.name]
    loads = iter(range(3))

    def load(*given: Any) -> None:
        if next(loads) == table:
            raise Interrupted
        type(kind).load(kind, *given)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kind, "load", load)
        try:
            projector.step(legs_max)
        except Interrupted:
            return


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    journal=journals(),
    sizes=st.lists(st.integers(1, 4), max_size=6),
    steps=st.lists(st.tuples(st.integers(1, 5), st.sampled_from(["step", "crash", "restart", "second"]))),
    data=st.data(),
)
def test_the_history_is_that_of_the_slow_model_however_it_came_about(
    database: Database,
    journal: list[Entry],
    sizes: list[int],
    steps: list[tuple[int, str]],
    data: st.DataObject,
) -> None:
    with transaction(database) as connection:
        for table in metadata.sorted_tables:
            connection.execute(delete(table))
    groups = list(grouped(journal, sizes))
    written = data.draw(st.integers(0, len(groups)), label="groups written first")
    write_segments(database, groups[:written])
    projector = Projector(database)
    for legs_max, how in steps:
        match how:
            case "crash":
                interrupted_step(projector, legs_max, legs_max % 3)
            case "restart":
                projector = Projector(database)
            case "second":
                Projector(database).step(legs_max)
            case _:
                projector.step(legs_max)
        require_honest(database, SlowHistory(journal))
    write_segments(database, groups[written:])
    while projector.step(data.draw(st.integers(1, 7), label="legs")):
        require_honest(database, SlowHistory(journal))
    require_same(database, journal)
    with database.connect() as connection:
        assert history.projected(connection) == len(journal)


def require_honest(database: Database, slow: SlowHistory) -> None:
    """At every sequence that is projected, every read says what the slow model says."""
    with database.connect() as connection:
        assert history_differs(connection) is None
        position = history.projected(connection)
        for as_of in range(position + 1):
            assert history.trial_balance(connection, as_of) == slow.trial_balance(as_of)
            listed = history.standings(connection, as_of)
            opened = [one for entry in slow.journal[:as_of] for one in entry.opens]
            assert [one.opened.account for one in listed] == opened
            for one in listed:
                assert one.balance == slow.balance(one.opened.account, as_of)
        for _, key, *_ in slow.accounts:
            require_statement(connection, AccountId(key), position, slow)
        with pytest.raises(HistoryBehind):
            history.trial_balance(connection, position + 1)


def require_statement(connection: Any, key: AccountId, position: int, slow: SlowHistory) -> None:
    number = next(row[0] for row in slow.accounts if row[1] == key)
    try:
        told = history.statement(connection, key, 0, position)
    except history.AccountUnknown:
        assert all(row[6] >= position for row in slow.accounts if row[1] == key)
        return
    wanted = [row[1:] for row in slow.postings if row[0] == number and row[1] < position]
    assert [(*line.key, line.amount, line.balance) for line in told.lines] == wanted
    assert (told.opening, told.after) == (0, None)
    assert told.closing == (wanted[-1][3] if wanted else 0)
    touched = sorted({row[0] for row in wanted})
    found = history.entries_between(connection, 0, position, account=key)
    assert [one.sequence for one in found] == touched
