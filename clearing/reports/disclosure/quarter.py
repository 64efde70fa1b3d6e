"""What the quantitative disclosure is computed from: the parts of the journal, its days, what happened on them and how
they ended. ``gather.py`` says how it comes about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from clearing.attest.statement import Statement
from clearing.default.scenarios import OTHERS, Move, Scenario
from clearing.market.novation import notional
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, AssetId, DefaultId, InstrumentId, MemberId
from clearing.model.kinds import Kind
from clearing.model.values import (
    DAY_MS,
    AttestationRecord,
    Member,
    Parameters,
)

K = TypeVar("K")

VARIATION = (Kind.VARIATION_MARGIN, Kind.FUTURE_SETTLED)
"""Entries by which losses are paid to the house, and gains by it."""
CALLS = (Kind.CALL_ISSUED, Kind.CALL_CHANGED)
DECLARING = (Kind.DEFAULT_DECLARED, Kind.ASSESSMENT_DEFAULTED, Kind.REPLENISHMENT_DEFAULTED)
"""Entries by which an event begins; the first may also add sets to one."""
CHARTERED = (Kind.HOUSE_FOUNDED, Kind.PARAMETERS_CHANGED)
AS_IT_IS = Scenario(name="as it is", moves=(Move(underlying=OTHERS, price_bp=0),))
"""Nothing moves: what is lost over margin now."""
FEWEST_MEMBERS = 10
"""The standard asks for shares of the largest members of so many; of fewer it would tell who they are."""
KEPT_DAYS = 367
"""So many days of flows are kept while the journal is read: the 12 months are among them, wherever it ends."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the journal: the first moment that belongs to it, its last entry's time, its first and last entry."""

    from_ms: int
    until_ms: int
    first: int
    last: int

    def holds(self, day: int) -> bool:
        """Whether a day, counted from 1970, is one of it."""
        return self.from_ms <= day * DAY_MS <= self.until_ms


@dataclass(slots=True)
class Flow:
    """What was done on a day. ``paid_minor``: what accounts paid to the house that paid on balance, and
    ``most_paid_minor`` what one group of affiliates did. ``called_minor``: new calls for margin, and by how much open
    ones were raised.
    """

    day: int
    first: int
    last: int = 0
    last_ms: int = 0
    paid_minor: int = 0
    most_paid_minor: int = 0
    called_minor: int = 0
    lots: dict[InstrumentId, int] = field(default_factory=dict)
    notional_minor: dict[InstrumentId, int] = field(default_factory=dict)
    by_clients_minor: dict[MemberId, int] = field(default_factory=dict)
    attested: tuple[int, AttestationRecord] | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """An outage: from when to when nothing was cleared; until the last entry if it is not over."""

    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Tested:
    """The back-test of a day, of all sets with positions: what each that lost more than R, or M, lost beyond it."""

    sets: int
    beyond_requirement_minor: tuple[int, ...]
    beyond_maintenance_minor: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DayEnd:
    """A day at its last closed cycle, entry ``sequence``. ``uncovered_minor``: what groups of affiliates would lose
    over margin if they failed then and nothing moved, the largest first. ``open_minor`` and ``margin_minor``: positions
    and margin by member. ``tested`` and ``fallen`` are of what it held until the next day ended, None and empty if that
    has no end: the back-test, and the assets that fell by more than their haircut.
    """

    day: int
    sequence: int
    uncovered_minor: tuple[int, ...]
    open_minor: Mapping[MemberId, int]
    margin_minor: Mapping[MemberId, int]
    tested: Tested | None = None
    fallen: frozenset[AssetId] | None = None


@dataclass(frozen=True, slots=True)
class Stated:
    """What the house attested last on a day."""

    day: int
    sequence: int
    statement: Statement


@dataclass(frozen=True, slots=True)
class Declared:
    """A default as it was declared last: the state, and the margin that its sets needed; None if it had none, or
    nothing was priced yet.
    """

    sequence: int
    house: House
    requirement_minor: int | None


@dataclass(frozen=True, slots=True)
class Shaken:
    """What sets lacked to nothing by groups of members, the largest first, when a default was declared."""

    day: int
    sequence: int
    uncovered_minor: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chartered:
    """Parameters, and since when they were in force."""

    sequence: int
    at_ms: int
    parameters: Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """All that the measures need. ``flows``, ``ends`` and ``shaken`` are of the 12 months, in order; ``charters`` of
    all time.
    """

    house: House
    quarter: Span
    year: Span
    founded_ms: int
    flows: tuple[Flow, ...]
    ends: tuple[DayEnd, ...]
    shaken: tuple[Shaken, ...]
    stated: tuple[Stated, ...]
    stops: tuple[Stop, ...]
    charters: tuple[Chartered, ...]
    failed: Mapping[DefaultId, tuple[MemberId, ...]]
    declared: Mapping[DefaultId, Declared]

    @property
    def days(self) -> int:
        """How many days of the quarter the house has seen, the last one too."""
        begins_ms = max(self.quarter.from_ms, self.founded_ms)
        return self.quarter.until_ms // DAY_MS - begins_ms // DAY_MS + 1

    def flows_in(self, span: Span) -> list[Flow]:
        """The days on which anything was done."""
        return [flow for flow in self.flows if span.holds(flow.day)]

    def ends_in(self, span: Span) -> list[DayEnd]:
        """The days that ended with a closed cycle."""
        return [end for end in self.ends if span.holds(end.day)]


def members_of(house: House) -> list[Member]:
    """The members that are not in default and have not left, in order."""
    return [member for member in ordered(house.members) if member.belongs]


def group_of(house: House, member: MemberId) -> tuple[str, str]:
    """What a member and its affiliates have in common, as in the stress test."""
    group = house.members[member].group
    return ("group", group) if group else ("member", member)


def size_minor(house: House, instrument: InstrumentId, lots: int) -> int:
    """The notional of a position at the mark; of an option at its strike."""
    row = house.instruments[instrument]
    ticks = house.prices.get(row.feed, 0) if row.option is None else row.option.strike_ticks
    return notional(house, instrument, lots, ticks)


def positions_minor(house: House, key: AccountKey) -> int:
    """The notional of all positions of an account, long and short alike."""
    return sum(size_minor(house, instrument, lots) for instrument, lots in house.positions(key).items())


def add(sums: dict[K, int], key: K, amount: int) -> None:
    """Add to one of many sums."""
    sums[key] = sums.get(key, 0) + amount
