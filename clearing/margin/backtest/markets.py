"""What a validation found beyond books of linear instruments: one value that the page and the JSON are made of."""

from dataclasses import dataclass

from clearing.margin.backtest.account_books import LeftOut
from clearing.margin.backtest.liquidations import Before
from clearing.margin.backtest.pooled import Pooled
from clearing.margin.backtest.reliability import Reliability
from clearing.margin.backtest.volatility_fit import Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionFindings:
    """``fits``: of everything, of the first half of the days judged by the second, and the other way round.
    ``history_ends`` and ``begins``: the gap that the history jumps over. ``flat``: all strikes of an expiry marked
    with its volatility at the money, as the house marks them.
    """

    history_ends: str
    begins: str
    steps: int
    currencies: tuple[str, ...]
    books: tuple[Pooled, ...]
    flat: tuple[Pooled, ...]
    fits: tuple[Fit, Fit, Fit]


@dataclass(frozen=True, slots=True, kw_only=True)
class BasisFindings:
    """``by_floor``: with basis floors in basis points, each with and without the offset cap."""

    books: tuple[Pooled, ...]
    by_floor: tuple["FloorFinding", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FloorFinding:
    """All books of the basis under one floor. ``capped``: the offset cap is in force."""

    floor_bp: int
    capped: bool
    found: Pooled


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFindings:
    """``standings``: how many account-days were flat, short, called and healthy at midnight; ``unknown``: accounts
    whose equity is below zero by the data, so that something of it is missing.
    """

    accounts: int
    first_day: str
    last_day: str
    coins: tuple[str, ...]
    by_proxy: tuple[str, ...]
    sizes: tuple[Pooled, ...]
    left_out: LeftOut
    liquidations: tuple[Before, ...]
    standings: dict[str, int]
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RuinFindings:
    """The reliability of forecasts made in a period."""

    period: str
    reliability: Reliability


@dataclass(frozen=True, slots=True, kw_only=True)
class Markets:
    """None: the folder has nothing to find it from."""

    options: OptionFindings | None
    basis: BasisFindings | None
    accounts: AccountFindings | None
    ruin: tuple[RuinFindings, ...]
