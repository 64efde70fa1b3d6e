"""How days ended, and how defaults were declared, as the states have it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from clearing.default.stress import StressArray, array_under, losses_of
from clearing.margin.assess import (
    collateral_value,
    mark_ticks,
    measured_sets,
    price_of_asset,
    standings,
    value_at,
)
from clearing.model.house import House, Put, decode_changes, ordered
from clearing.model.ids import AssetId, DefaultId, InstrumentId, MemberId, SetId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import (
    BP,
    DAY_MS,
    Default,
)
from clearing.reports.disclosure.quarter import (
    AS_IT_IS,
    DECLARING,
    DayEnd,
    Declared,
    Shaken,
    Span,
    Tested,
    add,
    positions_minor,
)
from clearing.reports.reading import Recorded


@dataclass(frozen=True, slots=True)
class _Held:
    """What is kept of a day's end until the next one: who holds what, what it needs, and what assets count for."""

    end: DayEnd
    house: House
    requirement_minor: Mapping[SetId, int]
    maintenance_minor: Mapping[SetId, int]


class Ends:
    """How days ended, and how defaults were declared."""

    def __init__(self, year: Span, *, with_shares: bool) -> None:
        self._year, self._with_shares = year, with_shares
        self._last: tuple[Recorded, House] | None = None
        self._held: _Held | None = None
        self._ends: list[DayEnd] = []
        self.declared: dict[DefaultId, Declared] = {}
        self.shaken: list[Shaken] = []

    def add(self, recorded: Recorded, house: House) -> None:
        """The next state."""
        if recorded.entry.kind in DECLARING:
            self._declare(recorded, house)
            return
        if self._last is not None and _day(self._last[0]) != _day(recorded):
            self._end(*self._last, is_over=True)
        self._last = recorded, house

    def _declare(self, recorded: Recorded, house: House) -> None:
        may_be_known = recorded.entry.kind == Kind.DEFAULT_DECLARED
        if may_be_known and house.cycle is not None and self._year.holds(_day(recorded)):
            self.shaken.append(Shaken(_day(recorded), recorded.sequence, _uncovered_minor(house)))
        for change in decode_changes(recorded.entry.fact):
            if change.table == "defaults" and isinstance(change, Put):
                default = DefaultId(change.key)
                if may_be_known or default not in self.declared:
                    self.declared[default] = _declared(recorded, house, change.row)

    def all(self) -> list[DayEnd]:
        """Every day of the 12 months that had an end."""
        if self._last is not None:
            self._end(*self._last, is_over=False)
        if self._held is not None:
            self._ends.append(self._held.end)
        return self._ends

    def _end(self, recorded: Recorded, house: House, *, is_over: bool) -> None:
        """A day ended with this state, or has come so far. Only a day that is over says what the one before it lost, as
        in the report on the back-test (``windows``).
        """
        if not self._year.holds(_day(recorded)):
            return
        if self._held is not None:
            self._ends.append(_judged(self._held, _day(recorded), house) if is_over else self._held.end)
        self._held = _measured(recorded, house, with_shares=self._with_shares)


def _day(recorded: Recorded) -> int:
    return recorded.entry.effective_ms // DAY_MS


def _declared(recorded: Recorded, house: House, default: Default) -> Declared:
    if house.cycle is None or not default.sets:
        return Declared(recorded.sequence, house, None)
    measured = standings(house, [one.netting_set for one in default.sets])
    return Declared(recorded.sequence, house, sum(one.requirement_minor for one in measured))


def _measured(recorded: Recorded, house: House, *, with_shares: bool) -> _Held:
    measured = measured_sets(house)
    open_minor, margin_minor = dict[MemberId, int](), dict[MemberId, int]()
    for key in sorted(house.accounts) if with_shares else ():
        add(open_minor, member_of(key), positions_minor(house, key))
        held = house.cash(key) + collateral_value(house, (key,))
        add(margin_minor, member_of(key), max(0, held))
    end = DayEnd(
        day=_day(recorded),
        sequence=recorded.sequence,
        uncovered_minor=_uncovered_minor(house),
        open_minor=open_minor,
        margin_minor=margin_minor,
    )
    return _Held(
        end,
        house,
        {one.netting_set: one.requirement_minor for one in measured},
        {one.netting_set: one.maintenance_minor for one in measured},
    )


def _uncovered_minor(house: House) -> tuple[int, ...]:
    """What sets lack to nothing, by groups of members, the largest first."""
    return losses_of(house, _as_it_is(house))[0].groups_minor


def _as_it_is(house: House) -> StressArray:
    """No price moves, and no option is worth anything but its mark, which is rounded to its tick."""
    array = array_under(house, (AS_IT_IS,))
    return replace(
        array, instruments=tuple(replace(row, long_minor=(0,), short_minor=(0,)) for row in array.instruments)
    )


def _judged(held: _Held, day: int, after: House) -> DayEnd:
    """A day's end, with what the next end says about it; nothing if that is not the next day's."""
    end = held.end
    if day != end.day + 1:
        return end
    return replace(end, tested=_tested(held, after), fallen=frozenset(_fallen(held.house, after)))


def _tested(held: _Held, after: House) -> Tested:
    lost: dict[SetId, int] = {}
    moves = _moves_minor(held.house, after)
    for set_id in sorted(held.requirement_minor):
        accounts = held.house.netting_sets[set_id].accounts
        positions = [item for key in accounts for item in held.house.positions(key).items()]
        if positions and all(instrument in moves for instrument, _ in positions):
            lost[set_id] = -sum(lots * moves[instrument] for instrument, lots in positions)
    return Tested(
        len(lost),
        _beyond(lost, held.requirement_minor),
        _beyond(lost, held.maintenance_minor),
    )


def _beyond(lost: Mapping[SetId, int], margin: Mapping[SetId, int]) -> tuple[int, ...]:
    return tuple(loss - margin[set_id] for set_id, loss in lost.items() if loss > margin[set_id])


def _moves_minor(before: House, after: House) -> dict[InstrumentId, int]:
    """What a lot gained of each instrument that has a price at both ends, the last one if it ended between."""
    moves: dict[InstrumentId, int] = {}
    for instrument in sorted(before.margined):
        start, row = mark_ticks(before, instrument), after.instruments[instrument]
        end = mark_ticks(after, instrument) if row.final_ticks is None else row.final_ticks
        if start is not None and end is not None:
            moves[instrument] = (end - start) * row.tick_value_minor
    return moves


def _fallen(before: House, after: House) -> Iterator[AssetId]:
    """The assets of which a whole unit fell by more than its haircut."""
    for asset in ordered(before.assets):
        unit, start, end = 10**asset.decimals, price_of_asset(before, asset), price_of_asset(after, asset)
        if start and end:
            counted = value_at(asset, unit, start) * (BP - asset.haircut_bp)
            if value_at(asset, unit, end) * BP < counted:
                yield asset.id
