"""The windows of the back-test: what was asked of a netting set, and what its positions lost until a day later.

1. The cutoff of a UTC day is its last closed cycle, known once a cycle of a later day is closed. A window goes from a
   cutoff to the next, if that is of the following day: one day is the margin period of every model.
2. What is lost is the variation margin on the positions that stood at the cutoff, at the marks of both: an option
   counts by its value, what was settled for good by its last price. Later trades, funding and fees are no part of it.
3. Margin is measured at the cutoff with the model and the parameters that were in force: what the model asked for, with
   the add-ons (M), and the requirement (R). Sets without positions are not counted.

The journal is replayed once, and each day is measured once: time is linear in days, and memory is that of two states.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from clearing.margin.addons import AddOnsOf
from clearing.margin.assess import living_sets, lots_of, maintenance_of_all, required, settlement_price
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId, SetId
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS, AccountKind
from clearing.reports import figures
from clearing.reports.reading import Reading, shows_account

MARGINS = ("model", "maintenance", "requirement")
"""What a loss is held against: the model's amount, M with the add-ons, R."""


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The last closed cycle of a day: the entry that closed it, the state then, and its attestation, if it has one."""

    sequence: int
    house: House
    attestation: int | None = None

    @property
    def day(self) -> int:
        """The UTC day, counted from 1970."""
        return self.house.newest_cycle.accepted_ms // DAY_MS

    @property
    def date(self) -> str:
        """The UTC day, written 2026-01-31."""
        return figures.time(self.house.newest_cycle.accepted_ms)[:10]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A netting set at a cutoff. ``margins_minor`` in the order of ``MARGINS``; ``loss_minor`` negative for a gain."""

    netting_set: SetId
    accounts: tuple[AccountKey, ...]
    kind: AccountKind
    lots: dict[InstrumentId, int]
    margins_minor: tuple[int, int, int]
    loss_minor: int


@dataclass(frozen=True, slots=True)
class Day:
    """From a cutoff to the next one that there is."""

    start: Cutoff
    end: Cutoff

    @property
    def has_windows(self) -> bool:
        """Whether the next cutoff is of the following day."""
        return self.end.day == self.start.day + 1


def days(reading: Reading) -> Iterator[Day]:
    """The days of the journal, in order, without the newest, of which the end is not known."""
    for start, end in pairwise(_cutoffs(reading)):
        yield Day(start, end)


def _cutoffs(reading: Reading) -> Iterator[Cutoff]:
    last: Cutoff | None = None
    for recorded, house in reading.states(Kind.CYCLE_CLOSED):
        found = Cutoff(recorded.sequence, house)
        if last is not None and found.day > last.day:
            yield Cutoff(last.sequence, last.house, _attestation(last.house, house))
        last = found


def _attestation(before: House, after: House) -> int | None:
    """The number of the attestation of the cycle of ``before``, if the next closed cycle found it published."""
    newest = after.attestation
    return newest.sequence if newest is not None and newest.cycle == before.newest_cycle.number else None


def windows(reading: Reading, day: Day) -> Iterator[Window]:
    """Those of the sets that are part of the report, in the order of their ids."""
    if not day.has_windows:
        return
    house = day.start.house
    sets = [(one, house.netting_sets[one].accounts) for one in living_sets(house)]
    held = [
        (set_id, accounts, lots)
        for set_id, accounts in sets
        if any(shows_account(reading, key) for key in accounts) and (lots := lots_of(house, accounts))
    ]
    amounts = maintenance_of_all(house, [lots for _, _, lots in held])
    charged, gains = AddOnsOf(house), dict[InstrumentId, int]()
    for (set_id, accounts, lots), modelled in zip(held, amounts, strict=True):
        for instrument in lots:
            if instrument not in gains:
                gains[instrument] = gain_of_lot(house, day.end.house, instrument)
        asked = modelled + charged.set(accounts, lots).amount_minor
        yield Window(
            netting_set=set_id,
            accounts=accounts,
            kind=kind_of(house, accounts),
            lots=lots,
            margins_minor=(modelled, asked, required(house, asked)),
            loss_minor=-sum(quantity * gains[instrument] for instrument, quantity in lots.items()),
        )


def gain_of_lot(start: House, end: House, instrument: InstrumentId) -> int:
    """What one lot held long gained between two states."""
    final = end.instruments[instrument].final_ticks
    ticks = settlement_price(end, instrument) if final is None else final
    return (ticks - settlement_price(start, instrument)) * end.instruments[instrument].tick_value_minor


def kind_of(house: House, accounts: Sequence[AccountKey]) -> AccountKind:
    """Whose a netting set is: the house's, if no account of it is a client's."""
    kinds = {house.accounts[key].kind for key in accounts}
    return AccountKind.HOUSE if kinds == {AccountKind.HOUSE} else AccountKind.CLIENT
