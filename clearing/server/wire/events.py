"""Events on the wire: an entry of the journal, cut down to what the caller may see.

Rules kept here: what is said of an entry follows from its facts and legs, so that it is the same whenever it is asked
for; figures of others are left out.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from clearing import chart
from clearing.model import units
from clearing.model.house import Change, House, Put
from clearing.model.values import (
    Auction,
    Breaker,
    Call,
    CallKind,
    Charter,
    Cycle,
    DataRefusal,
    Default,
    Due,
    Half,
    Member,
    Outage,
    ParametersProposal,
    Porting,
    Unlinking,
    Withdrawal,
)
from clearing.server.identity import Identity
from clearing.server.tail import Happening
from clearing.server.wire import (
    admin,
    auctions,
    collateral,
    defaults,
    draws,
    ledger,
    members,
    names,
    times,
)
from clearing.server.wire.concerns import Concern, owner_of_account, owners_of
from clearing.server.wire.house import BREAKER_STATES
from clearinghouse.v1 import event_service_pb2 as pb
from clearinghouse.v1 import margin_service_pb2 as margin_pb
from ledger.entry import Leg

CHANGES_MAX = 1_000
_CALL_KINDS: "Mapping[CallKind, margin_pb.CallKind.ValueType]" = {
    CallKind.MARGIN: margin_pb.CALL_KIND_MARGIN,
    CallKind.CASH: margin_pb.CALL_KIND_CASH,
}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads, and the house whose units it reads in."""

    caller: Identity
    house: House


Say: TypeAlias = Callable[[pb.EventFact, Any, Reader], None]


def message(happened: Happening, house: House, caller: Identity) -> pb.Event:
    """What ``caller`` may see of an entry that concerns it."""
    owners, entry = owners_of(caller), happened.entry
    seen = [(c, concern) for c, concern in happened.facts if concern.is_for(owners)]
    legs = [leg for leg in entry.legs if owners is None or owner_of_account(leg.account.path) in owners]
    reader = Reader(caller, house)
    facts = [_fact(change, concern, reader) for change, concern in seen]
    changes = [_change(leg, house) for leg in legs[:CHANGES_MAX]]
    return pb.Event(
        sequence=happened.sequence,
        kind=ledger.kind_name(entry.kind),
        time=times.from_ms(entry.effective_ms),
        names=_named(fact.name for fact in facts) + _more(facts, changes),
        facts=[fact for fact in facts if fact.ended or fact.WhichOneof("said")],
        changes=changes,
        changes_cut=len(legs) > CHANGES_MAX,
    )


def _named(found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for name in found if name))


def _more(facts: list[pb.EventFact], changes: list[pb.BalanceChange]) -> list[str]:
    """The accounts that were moved and are no name of a fact already."""
    told = {fact.name for fact in facts}
    return [name for name in _named(change.account for change in changes) if name not in told]


def _change(leg: Leg, house: House) -> pb.BalanceChange:
    account = leg.account
    holder = chart.holder(account.path)
    unit = units.of_account(account.path, account.unit, house)
    return pb.BalanceChange(
        ledger_account=account.path,
        account="" if holder is None else names.account(holder[0]),
        unit=ledger.unit_name(account),
        amount=unit.render(account.on_normal_side(leg.amount)),
    )


def _fact(change: Change, concern: Concern, reader: Reader) -> pb.EventFact:
    found = pb.EventFact(name=concern.name, ended=not isinstance(change, Put))
    say = SAID.get(change.table)
    if isinstance(change, Put) and say is not None:
        say(found, change.row, reader)
    return found


def _call(fact: pb.EventFact, row: Call, reader: Reader) -> None:
    unit = units.of_settlement(reader.house)
    fact.call.netting_set = names.netting_set(row.netting_set)
    fact.call.kind = _CALL_KINDS[row.kind]
    fact.call.amount = unit.render(row.amount_minor)
    fact.call.due_time.CopyFrom(times.from_ms(row.due_ms))
    fact.call.parts.extend(draws.parts((p for p in row.parts if reader.caller.sees(p.member)), unit))


def _auction(fact: pb.EventFact, row: Auction, reader: Reader) -> None:
    fact.auction.kind = auctions.KINDS[row.kind]
    fact.auction.open_time.CopyFrom(times.from_ms(row.opened_ms))
    fact.auction.close_time.CopyFrom(times.from_ms(row.closes_ms))


def _withdrawal(fact: pb.EventFact, row: Withdrawal, reader: Reader) -> None:
    fact.withdrawal.account = names.account(row.account)
    fact.withdrawal.asset = names.asset(row.asset)
    fact.withdrawal.amount = units.of_asset(reader.house.assets[row.asset]).render(row.amount_minor)
    fact.withdrawal.state = collateral.STATES[row.state]


def _default(fact: pb.EventFact, row: Default, reader: Reader) -> None:
    fact.default.stage = defaults.STAGES[row.stage]
    fact.default.declare_time.CopyFrom(times.from_ms(row.declared_ms))


def _charter(fact: pb.EventFact, row: Charter, reader: Reader) -> None:
    fact.parameters.version = row.parameters_version


def _proposal(fact: pb.EventFact, row: ParametersProposal, reader: Reader) -> None:
    fact.proposal.state = admin.PROPOSAL_STATES[row.state]
    if row.effective_ms:
        fact.proposal.effective_time.CopyFrom(times.from_ms(row.effective_ms))


def _cycle(fact: pb.EventFact, row: Cycle, reader: Reader) -> None:
    fact.cycle.number, fact.cycle.closed = row.number, row.closed


def _breaker(fact: pb.EventFact, row: Breaker, reader: Reader) -> None:
    fact.breaker.instrument = names.breaker(row.scope)
    fact.breaker.state = BREAKER_STATES[row.state]


def _outage(fact: pb.EventFact, row: Outage, reader: Reader) -> None:
    fact.outage.begin_time.CopyFrom(times.from_ms(row.began_ms))


def _due(fact: pb.EventFact, row: "Due | Half | Unlinking | Porting", reader: Reader) -> None:
    if isinstance(row, Due):
        fact.due.amount = units.of_settlement(reader.house).render(row.amount_minor)
    fact.due.due_time.CopyFrom(times.from_ms(row.due_ms))


def _member(fact: pb.EventFact, row: Member, reader: Reader) -> None:
    fact.member.status = members.STATUSES[row.status]


def _data_refusal(fact: pb.EventFact, row: DataRefusal, reader: Reader) -> None:
    fact.data_refusal.feed = names.feed(row.feed)
    fact.data_refusal.price = units.of_feeds(reader.house)[row.feed].render(row.price_ticks)
    fact.data_refusal.reason = row.reason


SAID: Mapping[str, Say] = {
    "charter": _charter,
    "cycle": _cycle,
    "outage": _outage,
    "members": _member,
    "unlinkings": _due,
    "portings": _due,
    "parameter_proposals": _proposal,
    "breakers": _breaker,
    "halves": _due,
    "withdrawals": _withdrawal,
    "calls": _call,
    "defaults": _default,
    "assessments": _due,
    "replenishments": _due,
    "auctions": _auction,
    "data_refusals": _data_refusal,
}
"""What is said of a row besides its name. Of the other tables the name is all."""
