"""Reverse stress: the smallest move of the market that exhausts what stands against losses (rulebook §12).

1. The directions are the hypothetical scenarios of the library. A direction is scaled by its size, the move of BTC (or
   of thin tokens, where BTC stays): all prices and volatilities in proportion, rounded away from zero. Nothing falls by
   more than 90 %, and volatility moves no further than in the library.
2. Losses at a size are those of ``default/stress``. They go down the waterfall's own tiers as one event in which all
   who lose fail together, and their house accounts pay for nobody else. A tier is exhausted when it passes a loss on.
3. Sizes are tried every hundredth of the price (``STEPS_BP``), below the first that exhausts every tenth of that, and
   then every basis point. What options lose need not grow with the size: what is exhausted only between two sizes that
   are tried is not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clearing.default.resources import imagined_event, resources_of
from clearing.default.scenarios import OTHERS_FALL_MOST_BP, SCENARIOS, Move, Scenario
from clearing.default.sizing import exposures
from clearing.default.stress import ScenarioLosses, array_under, losses_of
from clearing.default.waterfall import TIERS, absorb
from clearing.model.house import House
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
STEPS_BP = (100, 10, 1)
AT_ONCE = 25
"""Sizes that are tried together; most of the work is the same for one and for many. Of a direction in which the last of
them exhausts everything, none is tried beyond.
"""
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
    search = _Search(house)
    search.coarsely()
    for step in STEPS_BP[1:]:
        search.between(step)
    return tuple(
        Rung(
            name=name,
            reached=tuple(
                Reached(direction=direction.name, size_bp=first)
                for direction in DIRECTIONS
                if (first := search.first(direction, number)) is not None
            ),
        )
        for number, name in enumerate(search.rungs)
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


class _Search:
    """What of the rungs is exhausted at each size of each direction that was tried."""

    def __init__(self, house: House) -> None:
        self._house = house
        exposed = {member: amount for member, amount in exposures(house).items() if amount}
        self._largest = max(exposed, key=lambda member: exposed[member], default=None)
        self._known: dict[str, dict[int, list[bool]]] = {direction.name: {} for direction in DIRECTIONS}
        self.rungs = (
            ANY_MARGIN,
            "margin of the largest member" + (f", {self._largest}" if self._largest else ""),
            *(tier.name for tier in TIERS if 1 < tier.number <= LAST_TIER),
        )

    def first(self, direction: Scenario, rung: int) -> int | None:
        """The smallest size tried that exhausts."""
        return min((size for size, found in self._known[direction.name].items() if found[rung]), default=None)

    def coarsely(self) -> None:
        """Try all sizes of the widest step, as far as they are needed."""
        step, still = STEPS_BP[0], list(DIRECTIONS)
        for start in range(0, RISE_MOST_BP + 1, step * AT_ONCE):
            still = [direction for direction in still if not self._is_over(direction, start)]
            self._try(
                [
                    (direction, size)
                    for direction in still
                    for size in range(start, start + step * AT_ONCE, step)
                    if size <= most_bp(direction)
                ]
            )

    def between(self, step: int) -> None:
        """Try the sizes of a narrower step below the first that exhausts each rung."""
        wanted: dict[tuple[Scenario, int], None] = {}
        for direction in DIRECTIONS:
            known = self._known[direction.name]
            found = (self.first(direction, rung) for rung in range(len(self.rungs)))
            for first in sorted({first for first in found if first}):
                below = max(size for size in known if size < first)
                wanted |= {(direction, size): None for size in range(below + step, first, step)}
        self._try([one for one in wanted if one[1] not in self._known[one[0].name]])

    def _is_over(self, direction: Scenario, start: int) -> bool:
        known = self._known[direction.name]
        return start > most_bp(direction) or (bool(known) and all(known[max(known)]))

    def _try(self, wanted: Sequence[tuple[Scenario, int]]) -> None:
        if not wanted:
            return
        scenarios = tuple(scaled(direction, size) for direction, size in wanted)
        losses = losses_of(self._house, array_under(self._house, scenarios))
        for (direction, size), one in zip(wanted, losses, strict=True):
            self._known[direction.name][size] = self._exhausted(one)

    def _exhausted(self, at_size: ScenarioLosses) -> list[bool]:
        losses = {part.member: part.amount_minor for part in at_size.losses}
        resources = resources_of(self._house, imagined_event(self._house, "reverse"), tuple(losses))
        absorbed = absorb(replace(resources, house_cash=dict.fromkeys(losses, 0)), losses)
        tiers = [one.passed_on_minor > 0 for one in absorbed.tiers if 1 < one.tier <= LAST_TIER]
        return [bool(losses), self._largest in losses, *tiers]
