"""What accounts of members paid and were paid in a day, and why: the part of the journal that messages of a day show.

The day is the UTC day of the newest cycle: it is the last day of which the state of the report says how it ended.
"""

from collections.abc import Iterator
from enum import Enum

from clearing import chart
from clearing.chart import Line, line_of
from clearing.model.house import House
from clearing.model.ids import AccountKey
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS
from clearing.reports import sources
from clearing.reports.reading import Reading, Recorded
from ledger.entry import Entry


class Why(Enum):
    """Why cash came to an account of a member, or went."""

    VARIATION = "variation margin, and the last of a future that ended"
    PRICE = "what was paid for positions against their mark, and for options"
    SETTLEMENT = "what options were worth when they ended, and positions that were torn up"
    FUNDING = "funding"
    CHARGE = "fees and penalties"


KINDS: dict[Why, tuple[Kind, ...]] = {
    Why.VARIATION: (Kind.VARIATION_MARGIN, Kind.FUTURE_SETTLED),
    Why.PRICE: (Kind.TRADE_NOVATED, Kind.POSITION_ASSIGNED, Kind.BID_AWARDED),
    Why.SETTLEMENT: (Kind.OPTION_SETTLED, Kind.POSITIONS_TORN_UP, Kind.POSITIONS_WOUND_DOWN),
    Why.FUNDING: (Kind.FUNDING_PAID,),
    Why.CHARGE: (Kind.TRADE_NOVATED, Kind.LIQUIDATION_CLOSED),
}
FLOW_KINDS = tuple(dict.fromkeys(kind for kinds in KINDS.values() for kind in kinds))
_WHY = {kind: why for why in reversed(KINDS) for kind in KINDS[why]}


def begins_ms(house: House) -> int:
    """When the day of the newest cycle began; before the first cycle no day has."""
    return 0 if house.cycle is None else house.cycle.accepted_ms // DAY_MS * DAY_MS


def entries_of_day(reading: Reading, start_ms: int, *kinds: Kind) -> Iterator[Recorded]:
    """The entries of ``kinds`` from ``start_ms`` on."""
    return (one for one in reading.entries(*kinds) if one.entry.effective_ms >= start_ms)


def flows(entry: Entry) -> Iterator[tuple[AccountKey, Why, int]]:
    """What an entry of ``FLOW_KINDS`` brought to accounts of members; negative for what it took.

    Buyer and seller of a trade pay the same fee (rulebook §4).
    """
    cash: dict[AccountKey, int] = {}
    fees = 0
    for leg in entry.legs:
        line, name = line_of(leg.account.path)
        if line is Line.CASH:
            cash[AccountKey(name)] = cash.get(AccountKey(name), 0) - leg.amount
        elif line is Line.FEES:
            fees -= leg.amount
    fee = fees // len(cash) if cash else 0
    for key, amount in cash.items():
        yield key, _WHY[Kind(entry.kind)], amount + fee
        if fee:
            yield key, Why.CHARGE, -fee


def flows_of_day(reading: Reading, start_ms: int) -> dict[AccountKey, dict[Why, int]]:
    """What each account was paid, less what it paid, from ``start_ms`` on."""
    found: dict[AccountKey, dict[Why, int]] = {}
    for one in entries_of_day(reading, start_ms, *FLOW_KINDS):
        for key, why, amount in flows(one.entry):
            of_account = found.setdefault(key, dict.fromkeys(Why, 0))
            of_account[why] += amount
    return found


def first_of_day(reading: Reading, start_ms: int, *kinds: Kind) -> int | None:
    """The number of the first entry of ``kinds`` of the day; None if there is none."""
    return next((one.sequence for one in entries_of_day(reading, start_ms, *kinds)), None)


def paid_source(house: House, pattern: str, kinds: tuple[Kind, ...], first: int | None, end: int) -> str:
    """Where flows come from: the entries of ``kinds`` of the day, and the cash accounts that they moved."""
    moved = () if first is None else (sources.kind(kind, first, end - 1) for kind in kinds)
    return sources.joined(*moved, sources.account(pattern, house.settlement))


def cash_path(key: AccountKey, house: House) -> str:
    """The path of the cash of an account."""
    return chart.cash(key, house.settlement).path
