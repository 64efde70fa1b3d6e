"""CCPMemberRequirementsReport, auth.055.001.01: what members have to post (rulebook §8, §10.1, §12, §14).

Rules kept here (of the shape: ``iso20022.py``):

1. A margin account is a netting set. The end of the day is the state of the report; what happened in the day is of the
   UTC day of the newest cycle, cycle by cycle.
2. Initial margin stands by component: the model (MARM), the liquidity and concentration charge (LIRM), wrong-way risk
   (WWRM), and what R asks for beyond maintenance (OTHR). They sum exactly to R. Only the model is back-tested, so it
   alone is core.
3. The credit is net option value above zero, which offsets the requirement (§8). Options are never settled daily: what
   they gained is in the credit, not in variation margin.
4. A peak is over the cycles of the day: of R above R at the end of the day before; of cash below zero, which is
   variation margin that cash did not cover; and of the first with the variation margin that was paid since.
5. An intraday call is a margin call that was issued, or raised by so much. What is asked for in cash alone is not
   called again here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from clearing import chart
from clearing.default.exits import survivors_at
from clearing.margin.addons import AddOnsOf
from clearing.margin.assess import (
    Measured,
    maintenance_of_all,
    measured_sets,
    portfolio_of,
)
from clearing.model.house import House, Put, decode_changes
from clearing.model.ids import AccountKey, SetId
from clearing.model.kinds import Kind
from clearing.model.values import Call, CallKind
from clearing.reports import figures, sources
from clearing.reports.daily import KINDS, Why, begins_ms, flows
from clearing.reports.document import Measure, Row, Table
from clearing.reports.facts import CHARTER_KINDS, newest, put_by
from clearing.reports.iso20022 import (
    Missing,
    Scheme,
    amount,
    amount_and_direction,
    block,
    directed,
    element,
    id_of,
    identification,
    indicator,
    named,
    not_computed,
)
from clearing.reports.reading import Reading, Recorded, shows, shows_account, shows_set

ROOT = "CCPMmbRqrmntsRpt"
EXPOSURE = "InitlMrgnRqrmnts/InitlMrgnXpsr"
CALL_KINDS = (Kind.CALL_ISSUED, Kind.CALL_CHANGED, Kind.CALL_MET, Kind.CALL_EXPIRED)
MEMBER_KINDS = (Kind.POOL_SIZED, Kind.MEMBER_ADMITTED, Kind.MEMBER_RELEASED)
MARKET, LIQUIDITY, WRONG_WAY, OTHER = "MARM", "LIRM", "WWRM", "OTHR"

_HOLDER = "the full name of the participant who holds the netting set"
NOT_COMPUTED = (
    Missing("IntraDayRqrmntAmt/MrgnAcctId/Desc", _HOLDER),
    Missing("IntraDayMrgnCall/MrgnAcctId/Desc", _HOLDER),
    Missing("EndOfDayRqrmnt/MrgnAcctId/Desc", _HOLDER),
    Missing(
        f"EndOfDayRqrmnt/{EXPOSURE}/Amt/OrgnlAmt", "an amount in another currency: the house settles in one"
    ),
    Missing("DfltFndRqrmnt/SvcId", "the authority's code of the service, of which the house has one"),
)


@dataclass(slots=True)
class Peaks:
    """The peaks of a netting set in the day so far."""

    initial_minor: int = 0
    variation_minor: int = 0
    aggregate_minor: int = 0


@dataclass(slots=True)
class Day:
    """What the day did: peaks by netting set, variation margin paid by account, and the first entry that counts."""

    peaks: dict[SetId, Peaks] = field(default_factory=dict)
    variation: dict[AccountKey, int] = field(default_factory=dict)
    first: int | None = None

    def variation_of(self, house: House, set_id: SetId) -> int:
        """The variation margin that was paid to the accounts of a netting set, less what they paid."""
        return sum(self.variation.get(key, 0) for key in house.netting_sets[set_id].accounts)

    def source(self, end: int, *kinds: Kind) -> str:
        """The entries of ``kinds`` of the day."""
        return (
            ""
            if self.first is None
            else sources.joined(*(sources.kind(k, self.first, end - 1) for k in kinds))
        )


@dataclass(frozen=True, slots=True)
class Called:
    """A margin call of the day, or by how much one was raised."""

    recorded: Recorded
    call: Call
    amount_minor: int


def build(reading: Reading) -> Iterator[Table]:
    """Intraday requirements and calls, requirements at the end of the day, and contributions to the pool."""
    house = reading.house
    measured = [one for one in measured_sets(house) if shows_set(reading, one.netting_set)]
    start = begins_ms(house)
    day, calls = day_of(reading, start), list(calls_of_day(reading, start))
    yield _intraday(reading, house, measured, day, calls)
    yield _calls(house, calls)
    yield _end_of_day(reading, house, measured, day)
    yield _exposures(reading, house, measured)
    yield _contributions(reading, house)
    yield not_computed(ROOT, NOT_COMPUTED)


# --- the day -------------------------------------------------------------------------------------------


def day_of(reading: Reading, start_ms: int) -> Day:
    """What the cycles from ``start_ms`` on did to each netting set."""
    day, before, closing = Day(), dict[SetId, int](), House()
    for recorded, house in reading.states(Kind.CYCLE_CLOSED, *KINDS[Why.VARIATION]):
        is_cycle = recorded.entry.kind == Kind.CYCLE_CLOSED
        if recorded.entry.effective_ms < start_ms:
            closing = house if is_cycle else closing
            continue
        if day.first is None:
            day.first = recorded.sequence
            if closing.cycle is not None:
                before = {one.netting_set: one.requirement_minor for one in measured_sets(closing)}
        if is_cycle:
            _rise(house, day, before)
        else:
            for key, _, received in flows(recorded.entry):
                day.variation[key] = day.variation.get(key, 0) + received
    return day


def _rise(house: House, day: Day, before: Mapping[SetId, int]) -> None:
    """Raise the peaks to what a cycle left."""
    for one in measured_sets(house):
        peaks = day.peaks.setdefault(one.netting_set, Peaks())
        rise = one.requirement_minor - before.get(one.netting_set, 0)
        cash = sum(house.cash(key) for key in house.netting_sets[one.netting_set].accounts)
        paid = -day.variation_of(house, one.netting_set)
        peaks.initial_minor = max(peaks.initial_minor, rise)
        peaks.variation_minor = max(peaks.variation_minor, -cash)
        peaks.aggregate_minor = max(peaks.aggregate_minor, rise + paid)


def calls_of_day(reading: Reading, start_ms: int) -> Iterator[Called]:
    """The margin calls in the report that were issued or raised from ``start_ms`` on."""
    standing: dict[str, int] = {}
    for recorded in reading.entries(*CALL_KINDS):
        for change in decode_changes(recorded.entry.fact):
            if change.table != "calls":
                continue
            before = standing.pop(change.key, 0)
            if not isinstance(change, Put):
                continue
            standing[change.key] = change.row.amount_minor
            raised = change.row.amount_minor - before
            is_seen = any(shows(reading, part.member) for part in change.row.parts)
            is_margin = change.row.kind is CallKind.MARGIN and recorded.entry.effective_ms >= start_ms
            if raised > 0 and is_seen and is_margin:
                yield Called(recorded, change.row, raised)


def _intraday(
    reading: Reading, house: House, measured: list[Measured], day: Day, calls: list[Called]
) -> Table:
    columns = (
        *identification("MrgnAcctId"),
        amount(house, "IntraDayMrgnCall"),
        amount(house, "PeakInitlMrgnLblty"),
        amount(house, "PeakVartnMrgnLblty"),
        amount(house, "AggtPeakLblty"),
    )
    by_set: dict[SetId, list[Called]] = {}
    for one in calls:
        by_set.setdefault(one.call.netting_set, []).append(one)
    rows = (
        _intraday_row(reading, house, s, day, by_set.get(s, [])) for s in (m.netting_set for m in measured)
    )
    note = "A netting set that did not exist at the end of the day before is counted as if it had required nothing."
    return block(ROOT, "IntraDayRqrmntAmt", columns, rows, note=note)


def _intraday_row(reading: Reading, house: House, set_id: SetId, day: Day, calls: list[Called]) -> Row:
    peaks = day.peaks.get(set_id, Peaks())
    amounts = (
        sum(one.amount_minor for one in calls),
        peaks.initial_minor,
        peaks.variation_minor,
        peaks.aggregate_minor,
    )
    cells = (*named(house, set_id, Scheme.MARGIN), *(figures.money(house, one) for one in amounts))
    raised = sources.entries(one.recorded.sequence for one in calls)
    source = sources.joined(
        sources.about(id_of("IntraDayMrgnCall"), raised),
        day.source(reading.as_of, Kind.CYCLE_CLOSED, *KINDS[Why.VARIATION]),
        *_accounts(reading, house, set_id),
    )
    return Row(set_id, cells, source)


def _accounts(reading: Reading, house: House, set_id: SetId) -> Iterator[str]:
    """The accounts of the ledger behind a netting set, those in the report."""
    accounts = house.netting_sets[set_id].accounts
    own = [key for key in accounts if shows_account(reading, key)]
    for key in own:
        cash = chart.cash(key, house.settlement)
        yield sources.account(cash.path, cash.unit)
        for instrument in sorted(house.positions(key)):
            yield sources.account(chart.position(key, instrument).path, instrument)
    if len(own) < len(accounts):
        yield sources.outside("the accounts of the link at other members")


def _calls(house: House, calls: list[Called]) -> Table:
    columns = (
        *identification("MrgnAcctId"),
        amount(house, "IntraDayCall"),
        element("TmStmp", Measure.TIME),
    )
    rows = (
        Row(
            str(one.recorded.sequence),
            (
                *named(house, one.call.netting_set, Scheme.MARGIN),
                figures.money(house, one.amount_minor),
                figures.time(one.recorded.entry.effective_ms),
            ),
            sources.entries([one.recorded.sequence]),
        )
        for one in calls
    )
    note = "A call that was raised stands again, with what was added. The field is the entry."
    return block(ROOT, "IntraDayMrgnCall", columns, rows, note=note)


# --- the end of the day --------------------------------------------------------------------------------


def _end_of_day(reading: Reading, house: House, measured: list[Measured], day: Day) -> Table:
    columns = (
        *identification("MrgnAcctId"),
        amount(house, "InitlMrgnRqrmnts/Cdt"),
        *amount_and_direction(house, "VartnMrgnRqrmnts"),
    )
    snapshot = sources.entries(newest(reading, Kind.SNAPSHOT_ACCEPTED))
    rows = (_end_of_day_row(reading, house, one.netting_set, day, snapshot) for one in measured)
    note = "The components of initial margin stand in the next table. Plus: variation margin was paid to the member."
    return block(ROOT, "EndOfDayRqrmnt", columns, rows, note=note)


def _end_of_day_row(reading: Reading, house: House, set_id: SetId, day: Day, snapshot: str) -> Row:
    cells = (
        *named(house, set_id, Scheme.MARGIN),
        figures.money(house, max(0, portfolio_of(house, set_id).option_value_minor)),
        *directed(house, day.variation_of(house, set_id)),
    )
    settled = day.source(reading.as_of, *KINDS[Why.VARIATION])
    source = sources.joined(
        sources.about(id_of("InitlMrgnRqrmnts/Cdt"), snapshot),
        *(sources.about(id_of("VartnMrgnRqrmnts/Amt"), one) for one in settled.split(sources.JOIN)),
        *_accounts(reading, house, set_id),
    )
    return Row(set_id, cells, source)


def _exposures(reading: Reading, house: House, measured: list[Measured]) -> Table:
    """The components of each requirement; one that is nothing is not there."""
    columns = (
        *identification("../../MrgnAcctId"),
        amount(house, "Amt/RptgAmt"),
        element("Tp/Cd"),
        element("CoreInd"),
    )
    note = "OTHR is the requirement (R) beyond maintenance. Only what is not zero is here. The field is SET:CODE."
    rows = _components(reading, house, measured)
    return block(ROOT, f"EndOfDayRqrmnt/{EXPOSURE}", columns, rows, note=note)


def _components(reading: Reading, house: House, measured: list[Measured]) -> Iterator[Row]:
    portfolios = [portfolio_of(house, one.netting_set).lots for one in measured]
    charged = AddOnsOf(house)
    made_of = sources.entries(newest(reading, Kind.SNAPSHOT_ACCEPTED) + newest(reading, *CHARTER_KINDS))
    amounts = maintenance_of_all(house, portfolios)
    for one, lots, modelled in zip(measured, portfolios, amounts, strict=True):
        add_ons = charged.set(house.netting_sets[one.netting_set].accounts, lots)
        parts = {
            MARKET: modelled,
            LIQUIDITY: sum(add_ons.liquidity.values()),
            WRONG_WAY: sum(add_ons.wrong_way.values()),
            OTHER: one.requirement_minor - one.maintenance_minor,
        }
        source = sources.joined(made_of, *_accounts(reading, house, one.netting_set))
        for code, part in parts.items():
            if part:
                who = named(house, one.netting_set, Scheme.MARGIN)
                cells = (*who, figures.money(house, part), code, indicator(code == MARKET))
                yield Row(f"{one.netting_set}:{code}", cells, source)


def _contributions(reading: Reading, house: House) -> Table:
    columns = (*identification("ClrMmbId"), element("ClrMmbId/Desc"), amount(house, "Amt"))
    note = "What the pool requires of the members that would bear a loss now."
    return block(ROOT, "DfltFndRqrmnt", columns, _required(reading, house), note=note)


def _required(reading: Reading, house: House) -> Iterator[Row]:
    put = put_by(reading, "members", *MEMBER_KINDS)
    for member in survivors_at(house, 0 if house.cycle is None else house.cycle.accepted_ms):
        if shows(reading, member):
            row = house.members[member]
            required = figures.money(house, row.required_contribution_minor)
            cells = (*named(house, member, Scheme.MEMBER), row.name, required)
            yield Row(member, cells, sources.entries(put.get(member, [])[-1:]))
