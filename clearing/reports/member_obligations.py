"""CCPMemberObligationsReport, auth.056.001.01: what the house called from each member and paid to it in the day (§14).

Rules kept here (of the shape: ``iso20022.py``):

1. A settlement account is a member: all its accounts together, in the settlement asset, which is the only one in which
   the house settles. What the member owes is plus, what it receives is minus.
2. Initial margin called is the member's part of the margin calls that are open. What was met is not owed any more.
3. Variation margin is settled in each cycle of the day; with it stands what was paid for positions against their mark
   and for options. A cash call asks for what of it was not paid, so it is not added.
4. Default fund called is what the member owes of assessments and replenishments. Answers for a deficit (rulebook
   §10.5) stand under other, with fees, penalties and funding.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from clearing import chart
from clearing.default.dues import DueKind, Owed, dues
from clearing.model.house import House, ordered
from clearing.model.ids import MemberId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import CallKind
from clearing.reports import sources
from clearing.reports.daily import FLOW_KINDS, KINDS, Why, begins_ms, first_of_day, flows_of_day, paid_source
from clearing.reports.document import Row, Table
from clearing.reports.facts import put_by
from clearing.reports.iso20022 import (
    Scheme,
    amount_and_direction,
    block,
    directed,
    element,
    id_of,
    identification,
    named,
    not_computed,
)
from clearing.reports.reading import Reading, shows

ROOT = "CCPMmbOblgtnsRpt"
INITIAL = "EndOfDayInitlMrgnClld"
VARIATION = "EndOfDayVartnMrgnClld"
DEFAULT_FUND = "EndOfDayDfltFndClld"
SETTLEMENT = "EndOfDaySttlmClld"
OTHER = "EndOfDayOthrClld"
LIQUIDITY = "EndOfDayLqdtyClld"
ELEMENTS = (INITIAL, VARIATION, DEFAULT_FUND, SETTLEMENT, OTHER, LIQUIDITY)
FLOWS: Mapping[str, tuple[Why, ...]] = {
    VARIATION: (Why.VARIATION, Why.PRICE),
    SETTLEMENT: (Why.SETTLEMENT,),
    OTHER: (Why.FUNDING, Why.CHARGE),
}
DUES: Mapping[str, tuple[DueKind, ...]] = {
    DEFAULT_FUND: (DueKind.ASSESSMENT, DueKind.REPLENISHMENT),
    OTHER: (DueKind.ANSWER,),
}
CALL_KINDS = (Kind.CALL_ISSUED, Kind.CALL_CHANGED, Kind.CALL_MOVED)
CALL_ENDS = (Kind.CALL_ISSUED, Kind.CALL_MET, Kind.CALL_EXPIRED)
DUE_BEGINS = (Kind.LOSS_FIXED, Kind.WATERFALL)
DUE_TABLES = {
    DueKind.ANSWER: "defaults",
    DueKind.ASSESSMENT: "assessments",
    DueKind.REPLENISHMENT: "replenishments",
}
DUE_KINDS = (
    Kind.LOSS_FIXED,
    Kind.ANSWER_PAID,
    Kind.WATERFALL,
    Kind.ASSESSMENT_PAID,
    Kind.REPLENISHMENT_PAID,
    Kind.POOL_CONTRIBUTED,
    Kind.RECOVERY_DISTRIBUTED,
)
"""What puts the rows of dues."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the state and the day say, gathered once."""

    house: House
    received: Mapping[MemberId, Mapping[Why, int]]
    owed: tuple[Owed, ...]
    put: Mapping[str, Mapping[str, list[int]]]
    first: int | None
    end: int


def build(reading: Reading) -> Iterator[Table]:
    """The settlement accounts of the members in the report."""
    house = reading.house
    columns = (
        *identification("Id"),
        element("Id/Desc"),
        *(column for element in ELEMENTS for column in amount_and_direction(house, element)),
    )
    yield block(
        ROOT,
        "SttlmAcct",
        columns,
        _accounts(reading, house),
        note="Of the UTC day of the newest cycle up to the last entry. Plus: the member owes the house.",
    )
    yield not_computed(ROOT, ())


def _accounts(reading: Reading, house: House) -> Iterator[Row]:
    found = _found(reading, house)
    for member in ordered(house.members):
        if shows(reading, member.id) and any(member_of(key) == member.id for key in house.accounts):
            yield _account(found, member.id)


def _found(reading: Reading, house: House) -> Found:
    start = begins_ms(house)
    received: dict[MemberId, dict[Why, int]] = {}
    for key, amounts in flows_of_day(reading, start).items():
        of_member = received.setdefault(member_of(key), dict.fromkeys(Why, 0))
        for why, amount in amounts.items():
            of_member[why] += amount
    return Found(
        house=house,
        received=received,
        owed=tuple(dues(house)),
        put={
            "calls": put_by(reading, "calls", *CALL_KINDS),
            **{table: put_by(reading, table, *DUE_KINDS) for table in DUE_TABLES.values()},
        },
        first=first_of_day(reading, start, *FLOW_KINDS),
        end=reading.as_of,
    )


def called(house: House, member: MemberId) -> dict[str, int]:
    """The member's part of the open margin calls, by the key of the call."""
    return {
        key: part.amount_minor
        for key in sorted(house.calls)
        if house.calls[key].kind is CallKind.MARGIN
        for part in house.calls[key].parts
        if part.member == member and part.amount_minor
    }


def _amount(found: Found, member: MemberId, element: str) -> int:
    """What the member owes under ``element``; negative for what it receives."""
    if element == INITIAL:
        return sum(called(found.house, member).values())
    received = found.received.get(member, {})
    due = sum(one.amount_minor for one in _dues(found, member, element))
    return due - sum(received.get(why, 0) for why in FLOWS.get(element, ()))


def _dues(found: Found, member: MemberId, element: str) -> list[Owed]:
    return [one for one in found.owed if one.member == member and one.kind in DUES.get(element, ())]


def _put_last(found: Found, owed: Owed) -> int:
    """The entry that says how much is still owed."""
    key = owed.default if owed.kind is DueKind.ANSWER else f"{owed.default}/{owed.member}"
    return found.put[DUE_TABLES[owed.kind]][key][-1]


def _account(found: Found, member: MemberId) -> Row:
    amounts = [_amount(found, member, element) for element in ELEMENTS[:-1]]
    texts = [cell for amount in (*amounts, sum(amounts)) for cell in directed(found.house, amount)]
    behind = (
        sources.about(id_of(f"{element}/Amt"), term)
        for element in ELEMENTS[:-1]
        for term in _terms(found, member, element)
    )
    who = (*named(found.house, member, Scheme.MEMBER), found.house.members[member].name)
    return Row(member, (*who, *texts), sources.joined(*behind))


def _terms(found: Found, member: MemberId, element: str) -> Iterator[str]:
    """Where the amount under ``element`` comes from; where nothing is called or due, what would have called it."""
    if element == INITIAL:
        calls = called(found.house, member)
        yield from _found_or_all((found.put["calls"][key][-1] for key in calls), CALL_ENDS)
    if element in DUES:
        yield from _found_or_all((_put_last(found, one) for one in _dues(found, member, element)), DUE_BEGINS)
    kinds = tuple(kind for why in FLOWS.get(element, ()) for kind in KINDS[why])
    if kinds:
        path = chart.pattern_of(chart.Line.CASH, member)
        yield from paid_source(found.house, path, kinds, found.first, found.end).split(sources.JOIN)


def _found_or_all(numbers: Iterable[int], kinds: tuple[Kind, ...]) -> Iterator[str]:
    """These entries; if there is none, all of ``kinds``."""
    said = sources.entries(numbers)
    yield from (said,) if said else (sources.kind(kind) for kind in kinds)
