"""Does the history say what the journal says? Accounts, entries, postings and balances are derived again.

Everything below the position of the projection is compared, row by row and in both directions: what was edited,
what is missing, and what nobody projected. The first sequence at which something differs is named. Rows beyond
the position differ as well. Whether the journal itself holds is the question of ``verify.py``, to be asked first.

The projector may go on meanwhile: what it has written stays as it is, and the rest is not looked at. Some
``SPAN_LEGS`` legs are in memory at a time, and one run of segments.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    String,
    Table,
    and_,
    cast,
    func,
    or_,
    select,
)

from ledger.leaf import RecordMalformed
from ledger.store.columns import Run, Unfolding
from ledger.store.differs import Differs
from ledger.store.kinds import kind_of
from ledger.store.projector import NAME, VERSION, segments_from
from ledger.store.tables import Exact, accounts, entries, postings, projection

SPAN_LEGS = 65_536

Rows: TypeAlias = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class _Span:
    """Entries ``[start, end)`` of a run, and the legs ``[leg, leg_end)`` that they have there."""

    run: Run
    start: int
    end: int
    leg: int
    leg_end: int


def history_differs(connection: Connection) -> Differs | None:
    """The first place at which the history is not what the journal leads to, or None if it is."""
    where = connection.execute(select(projection).where(projection.c.name == NAME)).first()
    position = where.sequence if where is not None else 0
    if where is not None and where.version != VERSION:
        return Differs(0, f"the history was projected by version {where.version} and this is {VERSION}")
    unfolding, reached, opened = Unfolding(), 0, 0
    try:
        for span in _spans(connection, unfolding, position):
            differs = _compare(connection, span)
            if differs is not None:
                return differs
            reached = span.run.first + span.end
            opened = span.run.first_account + bisect_left(span.run.opened, reached, key=lambda one: one[0])
    except RecordMalformed as error:
        return Differs(reached, f"the journal cannot be projected: {error}")
    if reached < position:
        return Differs(reached, f"the history has {position} entries and the journal ends here")
    return _extra(connection, position, opened)


# ------------------------------------------------------------------------------------------- what there must be


def _spans(connection: Connection, unfolding: Unfolding, position: int) -> Iterator[_Span]:
    """The entries below ``position``, in pieces."""
    sequence = 0
    while sequence < position:
        run = unfolding.unfold(segments_from(connection, sequence), sequence=sequence)
        if run is None:
            return
        start, last = 0, min(run.end, position) - run.first
        while start < last:
            leg = int(run.leg_ends[start - 1]) if start else 0
            end = int(np.searchsorted(run.leg_ends, leg + SPAN_LEGS, side="right"))
            end = min(max(end, start + 1), start + SPAN_LEGS, last)
            yield _Span(run, start, end, leg, int(run.leg_ends[end - 1]))
            start = end
        sequence = run.end


def _derived_accounts(span: _Span) -> Rows:
    first, last = span.run.first + span.start, span.run.first + span.end
    return [
        (number, one.id, one.path, one.unit, one.side.value, one.limit.value, sequence)
        for number, (sequence, one) in enumerate(span.run.opened, span.run.first_account)
        if first <= sequence < last
    ]


def _derived_entries(span: _Span) -> Rows:
    run, taken = span.run, slice(span.start, span.end)
    numbers = range(run.first + span.start, run.first + span.end)
    return list(zip(numbers, run.kinds[taken], run.effective_ms[taken], run.entry_ids[taken], strict=True))


def _derived_postings(span: _Span) -> Rows:
    run, taken = span.run, slice(span.leg, span.leg_end)
    order = np.argsort(run.account[taken], kind="stable")
    columns = (run.account, run.sequence, run.leg, run.amount, run.balance)
    account, sequence, leg, amount, balance = (column[taken][order].tolist() for column in columns)
    return list(zip(account, sequence, leg, map(str, amount), map(str, balance), strict=True))


# -------------------------------------------------------------------------------------------------- what there is


def _compare(connection: Connection, span: _Span) -> Differs | None:
    first = span.run.first + span.start
    last = span.run.first + span.end
    opened = _derived_accounts(span)
    found = [
        *_differing("account", opened, _stored_accounts(connection, opened), lambda row: row[6]),
        *_differing(
            "entry", _derived_entries(span), _stored_entries(connection, first, last), lambda row: row[0]
        ),
        *_differing(
            "posting of account",
            _derived_postings(span),
            _stored_postings(connection, first, last),
            lambda row: row[1],
        ),
    ]
    return min(found, key=lambda one: one.sequence, default=None)


def _differing(name: str, derived: Rows, stored: Rows, sequence: Callable[[Any], Any]) -> Iterator[Differs]:
    """The first derived row that is not stored as it must be, and the first stored one that must not be."""
    if derived == stored:
        return
    missing, extra = set(derived) - set(stored), set(stored) - set(derived)
    if missing:
        row = min(missing, key=sequence)
        yield Differs(sequence(row), f"{name} {row[0]} is not what the journal says, or is not there")
    unknown = [at for row in extra if isinstance(at := sequence(row), int)]
    if unknown:
        yield Differs(max(min(unknown), 0), f"the journal knows no such {name}")


def _stored_accounts(connection: Connection, opened: Rows) -> Rows:
    if not opened:
        return []
    query = _as_stored(connection, accounts).where(accounts.c.number.between(opened[0][0], opened[-1][0]))
    return _rows(connection, query.order_by(accounts.c.number))


def _stored_entries(connection: Connection, first: int, last: int) -> Rows:
    query = _as_stored(connection, entries).where(_between(entries.c.sequence, first, last))
    return _rows(connection, query.order_by(entries.c.sequence))


def _stored_postings(connection: Connection, first: int, last: int) -> Rows:
    """Account by account, as the key of the table has it: a look at each, and not at all that it has."""
    listed = select(accounts.c.number).order_by(accounts.c.number).subquery()
    query = _as_stored(connection, postings).select_from(listed)
    query = query.join(
        postings, and_(postings.c.account == listed.c.number, _between(postings.c.sequence, first, last))
    )
    return _rows(connection, query.order_by(postings.c.account, postings.c.sequence, postings.c.leg))


def _extra(connection: Connection, position: int, opened: int) -> Differs | None:
    """Rows that belong to nothing in the journal, named by the sequence that they claim.

    One statement a table, which knows how far the projection goes just then: the projector may be at work.
    """
    stands, begun = _stands(projection.c.sequence), _stands(projection.c.leg)
    at, leg, opened_at = postings.c.sequence, postings.c.leg, accounts.c.opened_at
    strays = {
        "entry": (entries.c.sequence, or_(entries.c.sequence < 0, entries.c.sequence >= stands)),
        "account": (
            opened_at,
            or_(
                and_(opened_at < position, or_(accounts.c.number < 0, accounts.c.number >= opened)),
                opened_at > stands,
                and_(opened_at == stands, begun == 0),
            ),
        ),
        "posting": (
            at,
            or_(
                and_(at < position, or_(postings.c.account < 0, postings.c.account >= opened)),
                at < 0,
                at > stands,
                and_(at == stands, leg >= begun),
            ),
        ),
    }
    found = []
    for name, (claimed, is_stray) in strays.items():
        first = connection.execute(select(func.min(claimed)).where(is_stray)).scalar()
        if first is not None:
            # SQLite takes a text for a number; it stands behind all of them
            sequence = min(max(first, 0), position) if isinstance(first, int) else position
            found.append(Differs(sequence, f"the journal knows no such {name}"))
    return min(found, key=lambda one: one.sequence, default=None)


def _stands(column: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(select(column).where(projection.c.name == NAME).scalar_subquery(), 0)


def _between(sequence: ColumnElement[int], first: int, last: int) -> ColumnElement[bool]:
    return and_(sequence >= first, sequence < last)


def _as_stored(connection: Connection, table: Table) -> Select[Any]:
    """All columns, each read as the bytes that stand there, whatever somebody wrote."""
    text = kind_of(connection).text_as_stored
    return select(
        *(
            cast(column, text if isinstance(column.type, String | Exact) else column.type)
            if isinstance(column.type, String | Exact | LargeBinary)
            else column
            for column in table.columns
        )
    )


def _rows(connection: Connection, query: Select[Any]) -> Rows:
    return [*map(tuple, connection.execute(query).all())]
