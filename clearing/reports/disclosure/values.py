"""What a measure gives, and where figures come from."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from clearing.chart import Line
from clearing.model.house import House, ordered
from clearing.model.kinds import Kind
from clearing.reports import figures, sources
from clearing.reports.disclosure.quarter import (
    CHARTERED,
    DayEnd,
    Quarter,
    Span,
)

POSITION_KINDS = (
    Kind.TRADE_NOVATED,
    Kind.POSITION_ASSIGNED,
    Kind.POSITIONS_NETTED,
    Kind.BID_AWARDED,
    Kind.PORTED,
    Kind.POSITIONS_TORN_UP,
    Kind.FUTURE_SETTLED,
    Kind.OPTION_SETTLED,
    Kind.POSITIONS_WOUND_DOWN,
)
"""Entries that change positions."""
_NAMES = re.compile(r"\{[a-z]+\}")
"""What stands for names in the lines of the chart."""
NO_CYCLE = "no clearing cycle has been closed in the window"
NO_MARKS = "there has been no price snapshot"


@dataclass(frozen=True, slots=True)
class Value:
    """A value of an item: of which part of it, as what, and where it came from. Without a text it has a ``reason``."""

    text: str
    source: str
    parts: tuple[str, ...] = ()
    reason: str = ""


Measure: TypeAlias = Callable[[Quarter], Iterable[Value]]


def nothing(reason: str, source: str, *parts: str) -> Value:
    """No value of an item, or of a part of it, and why."""
    return Value("", source, parts, reason)


def money(q: Quarter, amount_minor: int, source: str, *parts: str) -> Value:
    """An amount of the settlement asset."""
    return Value(figures.money(q.house, amount_minor), source, parts)


def all_of(*kinds: Kind) -> str:
    """All entries of these kinds."""
    return sources.joined(*(sources.kind(one) for one in kinds))


def within(span: Span, *kinds: Kind) -> str:
    """The entries of these kinds in a part of the journal."""
    return sources.joined(*(sources.kind(one, span.first, span.last) for one in kinds))


RULES = all_of(*CHARTERED)
"""The charter, and every change of the parameters."""
MEMBERSHIP = all_of(
    Kind.MEMBER_ADMITTED,
    Kind.MEMBER_SUSPENDED,
    Kind.MEMBER_REINSTATED,
    Kind.MEMBER_LEFT,
    Kind.MEMBER_DEFAULTED,
    Kind.MEMBER_RELEASED,
)
REQUIRED = sources.joined(MEMBERSHIP, all_of(Kind.POOL_SIZED))
ACCOUNTS = all_of(Kind.ACCOUNT_OPENED, Kind.MEMBER_ADMITTED, Kind.ACCOUNTS_CLOSED_OUT, Kind.PORTED)


def on_line(line: Line, unit: str) -> str:
    """Every account on a line of the chart."""
    return sources.account(_NAMES.sub("*", line.value), unit)


def cash_accounts(house: House) -> str:
    """The cash of members."""
    return on_line(Line.CASH, house.settlement)


def pool_accounts(house: House) -> str:
    """Their contributions to the pool."""
    return on_line(Line.POOL, house.settlement)


def house_accounts(house: House, *lines: Line) -> str:
    """Accounts of the house."""
    return sources.joined(*(on_line(line, house.settlement) for line in lines))


def holdings(house: House) -> str:
    """What members hold: cash, collateral, positions, and the marks."""
    assets = (asset.id for asset in ordered(house.assets) if asset.id != house.settlement)
    return sources.joined(
        cash_accounts(house),
        *(on_line(Line.COLLATERAL, asset) for asset in assets),
        open_positions(house),
    )


def open_positions(house: House) -> str:
    """Positions, and the marks."""
    held = sorted({instrument for positions in house.held.values() for instrument in positions})
    marks = sources.entries([]) if house.cycle is None else sources.kind(Kind.SNAPSHOT_ACCEPTED)
    return sources.joined(*(on_line(Line.POSITION, instrument) for instrument in held), marks)


def prefunded_accounts(house: House) -> str:
    """What tiers 2 to 6 hold, and who bears losses."""
    tranches = house_accounts(house, Line.SKIN_IN_THE_GAME, Line.INSURANCE_FUND, Line.SECOND_TRANCHE)
    return sources.joined(pool_accounts(house), tranches, MEMBERSHIP, RULES)


def twice(q: Quarter, before_minor: int, after_minor: int, source: str, *parts: str) -> Iterator[Value]:
    """An amount before and after haircut."""
    yield money(q, before_minor, source, *parts, "before-haircut")
    yield money(q, after_minor, source, *parts, "after-haircut")


def ended(q: Quarter, ends: Sequence[DayEnd], span: Span, *kinds: Kind) -> str:
    """The cycles with which days ended, and the entries of ``kinds`` that led to what they closed."""
    closed = sources.entries(end.sequence for end in ends) or within(span, Kind.CYCLE_CLOSED)
    return sources.joined(closed, all_of(*kinds))


def pairs_source(q: Quarter, *kinds: Kind) -> str:
    """The ends of days, and the entries of ``kinds``."""
    return ended(q, q.ends_in(q.year), q.year, *kinds)
