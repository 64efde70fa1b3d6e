"""Reverse stress: the smallest move of the market that exhausts what stands against losses (rulebook §12).

1. The directions are the hypothetical scenarios of the library. A direction is scaled by its size, the move of BTC (or
   of thin tokens, where BTC stays): all prices and volatilities in proportion, rounded away from zero. Nothing falls by
   more than 90 %, and volatility moves no further than in the library.
2. Losses at a size are those of ``default/stress``. They go down the waterfall's own tiers as one event in which all
   who lose fail together, and their house accounts pay for nobody else. A tier is exhausted when it passes a loss on.
3. Every ``GRID_BP`` a size is tried. Below the first that exhausts, bisection finds it to a basis point. What options
   lose need not grow with the size: what is exhausted only between two sizes of the grid is not seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from clearing.default.resources import imagined_event, resources_of
from clearing.default.scenarios import OTHERS_FALL_MOST_BP, SCENARIOS, Move, Scenario
from clearing.default.sizing import exposures
from clearing.default.stress import ScenarioLosses, array_under, losses_of
from clearing.default.waterfall import TIERS, absorb
from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.values import BP
from ledger.amount import divide_up

DIRECTIONS = tuple(
    one
    for one in SCENARIOS
    if one.name
    in {
        *("largest fall", "largest rise", "BTC falls, ETH rises", "BTC rises, ETH falls"),
        *("thin tokens collapse", "thin tokens squeezed"),
    }
)
FALL_MOST_BP = OTHERS_FALL_MOST_BP
RISE_MOST_BP = 3 * BP
"""How far sizes go."""
GRID_BP = 100
LAST_TIER = 7
"""Assessments: behind them stand only those who won."""
ANY_MARGIN = "margin of any member"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The smallest size of a direction that was found to exhaust something."""

    direction: str
    size_bp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """Something that stands against losses, and by direction what exhausts it; nothing within the range, if empty."""

    name: str
    reached: tuple[Reached, ...]

    @property
    def smallest(self) -> Reached | None:
        """The smallest of all directions, the first of equal ones."""
        return min(self.reached, key=lambda one: one.size_bp, default=None)


def reverse_stress(house: House) -> tuple[Rung, ...]:
    """What exhausts the margin of any member and of the largest, and each tier as far as assessments, in order."""
    exposed = exposures(house)
    largest = max(exposed, key=lambda member: exposed[member], default=None)
    names = _rungs(largest)
    found = {direction.name: _sizes(house, direction, largest, len(names)) for direction in DIRECTIONS}
    return tuple(
        Rung(
            name=name,
            reached=tuple(
                Reached(direction=direction, size_bp=size)
                for direction, sizes in found.items()
                if (size := sizes[number]) is not None
            ),
        )
        for number, name in enumerate(names)
    )


def most_bp(direction: Scenario) -> int:
    """How far the sizes of a direction go."""
    return FALL_MOST_BP if _lead_bp(direction) < 0 else RISE_MOST_BP


def scaled(direction: Scenario, size_bp: int) -> Scenario:
    """The direction at a size."""
    lead = abs(_lead_bp(direction))

    def at_size(library_bp: int) -> int:
        away = divide_up(abs(library_bp) * size_bp, lead)
        return away if library_bp >= 0 else -away

    moves = (
        Move(
            underlying=move.underlying,
            price_bp=max(-FALL_MOST_BP, at_size(move.price_bp)),
            volatility_bp=min(move.volatility_bp, at_size(move.volatility_bp)),
        )
        for move in direction.moves
    )
    return Scenario(name=f"{direction.name} at {size_bp} bp", moves=tuple(moves))


def _lead_bp(direction: Scenario) -> int:
    return next(move.price_bp for move in direction.moves if move.price_bp)


def _rungs(largest: MemberId | None) -> tuple[str, ...]:
    return (
        ANY_MARGIN,
        f"margin of {largest}, the largest member",
        *(tier.name for tier in TIERS if 1 < tier.number <= LAST_TIER),
    )


def _sizes(house: House, direction: Scenario, largest: MemberId | None, rungs: int) -> list[int | None]:
    """By rung the smallest size that exhausts it."""
    grid = range(0, most_bp(direction) + 1, GRID_BP)
    known = dict(zip(grid, _exhausted(house, direction, largest, grid), strict=True))

    def exhausts(rung: int, size_bp: int) -> bool:
        if size_bp not in known:
            (known[size_bp],) = _exhausted(house, direction, largest, [size_bp])
        return known[size_bp][rung]

    found: list[int | None] = []
    for rung in range(rungs):
        first = next((size for size in grid if exhausts(rung, size)), None)
        found.append(first and _bisected(first - GRID_BP, first, partial(exhausts, rung)))
    return found


def _bisected(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """A number after ``low`` and not after ``high`` from which on it holds: it does not at ``low``, and does at
    ``high``.
    """
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _exhausted(
    house: House, direction: Scenario, largest: MemberId | None, sizes: Sequence[int]
) -> list[list[bool]]:
    """At each size, what of the rungs is exhausted."""
    scenarios = tuple(scaled(direction, size) for size in sizes)
    return [_rungs_at(house, largest, one) for one in losses_of(house, array_under(house, scenarios))]


def _rungs_at(house: House, largest: MemberId | None, at_size: ScenarioLosses) -> list[bool]:
    losses = {part.member: part.amount_minor for part in at_size.losses}
    resources = resources_of(house, imagined_event(house, "reverse"), tuple(losses))
    absorbed = absorb(replace(resources, house_cash=dict.fromkeys(losses, 0)), losses)
    tiers = [one.passed_on_minor > 0 for one in absorbed.tiers if 1 < one.tier <= LAST_TIER]
    return [bool(losses), largest in losses, *tiers]
