"""Accounts, entries, statements and balances of the ledger on the wire."""

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from clearing import chart
from clearing.model import units
from clearing.model.house import House
from clearing.model.ids import AssetId, InstrumentId
from clearing.model.kinds import Kind
from clearing.server.wire import names, times
from clearing.server.wire.violations import Violations
from clearinghouse.v1 import event_service_pb2 as events_pb
from clearinghouse.v1 import ledger_service_pb2 as pb
from ledger.account import Account
from ledger.entry import Entry
from ledger.store.history import Statement

LEGS_MAX = 1_000
Kinds: TypeAlias = frozenset[int]


def unit_name(account: Account) -> str:
    """The name of what the account counts."""
    if chart.counts_lots(account.path):
        return names.instrument(InstrumentId(account.unit))
    return names.asset(AssetId(account.unit))


def kind_name(kind: int) -> str:
    """The stable word for a kind of entry."""
    return Kind(kind).name


def kinds(
    request: "pb.ListEntriesRequest | events_pb.StreamEventsRequest | events_pb.ListEventsRequest",
) -> Kinds:
    """The kinds that are asked for, none for all. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    for number, word in enumerate(request.kinds):
        if word not in Kind.__members__:
            violations.add(f"kinds[{number}]", "is no kind of entry")
    violations.require_none()
    return frozenset(Kind[word] for word in request.kinds)


def entry(
    sequence: int, row: Entry, shown: Iterable[int], house: House, *, is_whole: bool, actor: str
) -> pb.Entry:
    """An entry with those of its legs whose numbers are ``shown``; its metadata only if it is shown whole, or
    asked for by ``actor``.
    """
    found = pb.Entry(
        name=names.entry(sequence),
        sequence=sequence,
        kind_number=row.kind,
        kind=kind_name(row.kind),
        time=times.from_ms(row.effective_ms),
        entry_id=row.entry_id,
        leg_count=len(row.legs),
        legs=[_leg(index, row, house) for index, _ in zip(shown, range(LEGS_MAX), strict=False)],
    )
    if is_whole or row.actor == actor:
        found.actor, found.request_id = row.actor, row.request_id
    if is_whole:
        found.references.extend(row.references)
        found.fact = "" if row.fact is None else json.dumps(row.fact, sort_keys=True, separators=(",", ":"))
    return found


def _leg(index: int, row: Entry, house: House) -> pb.EntryLeg:
    leg = row.legs[index]
    account = leg.account
    return pb.EntryLeg(
        index=index,
        ledger_account=account.path,
        unit=account.unit,
        amount=units.of_account(account.path, account.unit, house).render(leg.amount),
    )


def statement(page: Statement, house: House) -> pb.GetStatementResponse:
    """A page of a statement, on the account's normal side."""
    account = page.account
    unit, sided = units.of_account(account.path, account.unit, house), account.on_normal_side
    return pb.GetStatementResponse(
        opening_balance=unit.render(sided(page.opening)),
        closing_balance=unit.render(sided(page.closing)),
        lines=[
            pb.StatementLine(
                sequence=line.entry.sequence,
                leg=line.leg,
                kind=kind_name(line.entry.kind),
                time=times.from_ms(line.entry.effective_ms),
                amount=unit.render(sided(line.amount)),
                balance=unit.render(sided(line.balance)),
            )
            for line in page.lines
        ],
    )


def trial_balance(sums: Mapping[str, tuple[int, int]], house: House) -> list[pb.TrialBalanceLine]:
    """The sums of each unit."""
    lines = []
    for unit, (debits, credits) in sums.items():
        steps = units.called(unit, house)
        lines.append(
            pb.TrialBalanceLine(unit=unit, debits=steps.render(debits), credits=steps.render(credits))
        )
    return lines
