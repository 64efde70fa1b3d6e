"""Contagion: what liquidations do to the price that made them necessary (rulebook §12, §9's impact).

1. Prices are shocked. Every set whose equity is below its maintenance margin is liquidated as a whole. What it closes
   moves each underlying by Y·σ·√(Q/ADV), and sets that this leaves below maintenance are liquidated too, until none is.
   Y and ADV are those of the parameters, σ today's volatility, as in the liquidity add-on (``margin/addons``); an
   underlying whose volume nobody stated is not moved.
2. Q is what was liquidated of an underlying since the window began, sales less purchases, at the notional before the
   shock, an option by its delta; so a hedge moves nothing, and it does not matter in how many steps it was closed.
3. With pauses, a window is over when the next set would close more of an underlying than the circuit breaker's share
   of what is open of it; a set that is larger alone is closed alone. In the pause liquidity returns: the price is the
   shocked one again, and a set that now stands above maintenance is spared. As built, breakers stop new risk and not
   liquidations (``decide/breakers``), so what pauses save is what a halt, or slower liquidation, would.
4. A loss is what equity is below zero at the last price of the window in which a set is closed. What follows of it,
   members' parts and groups, is as in ``default/stress``.

It ends: every round liquidates a set that was not, or begins a window, and every window liquidates one. Left out: the
impact of collateral that is sold, other markets' liquidations, volatility that rises with the impact, what takers can
bear. Maintenance is that of the newest cycle. Money is in integers; impact is rounded up to a basis point, and prices
against who is closed. Where all who can be closed are on one side of one underlying, with linear positions, neither
pauses nor, without them, a deeper market make the loss larger. With hedges or both sides they can: a price that moves
less far may miss a set that it would have helped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TypeAlias

import numpy as np

from clearing.default.scenarios import Move, Scenario, scenarios_of
from clearing.default.stress import (
    ScenarioLosses,
    answered,
    array_under,
    left_to,
    losses_of,
    scenario_losses,
    stress_of,
    summed,
    unpaid_of,
)
from clearing.margin.addons import IMPACT_ONE, impact
from clearing.margin.assess import living_sets, standings
from clearing.margin.snapshot import array_of
from clearing.model.house import House
from clearing.model.ids import FeedId, InstrumentId, SetId
from clearing.model.values import BP
from ledger.amount import divide_down, divide_up

Flows: TypeAlias = Mapping[FeedId, int]
"""By underlying, in smallest units of notional: what is sold, negative what is bought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Sets that were liquidated at once, in which window, and where the prices stand after it."""

    window: int
    sets: tuple[SetId, ...]
    prices: Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Contagion:
    """How a shock ran on. ``volume_minor``: the notional of all that was closed, hedges of a set taken off.
    ``without`` and ``losses``: what members lose of the shock alone, and with what it led to.
    """

    rounds: tuple[Round, ...]
    volume_minor: int
    without: ScenarioLosses
    losses: ScenarioLosses

    @property
    def liquidated(self) -> int:
        """How many sets were liquidated."""
        return sum(len(one.sets) for one in self.rounds)


def shock_of(house: House, name: str = "") -> Scenario | None:
    """The scenario of that name, None if the library has none; without a name that of cover-2, of equal ones the
    first.
    """
    wanted = name or max(stress_of(house).scenarios, key=lambda one: one.largest(2)).scenario
    return next((one for one in scenarios_of(house) if one.name == wanted), None)


def contagion(house: House, shock: Scenario, *, pauses: bool = False) -> Contagion:
    """What a shock leads to; with ``pauses``, if liquidation waits whenever the circuit breaker's volume is closed."""
    spiral = _Spiral(house, shock, pauses=pauses)
    while short := spiral.short():
        spiral.liquidate(short)
    (without,) = losses_of(house, array_under(house, (shock,)))
    return Contagion(
        rounds=tuple(spiral.rounds),
        volume_minor=sum(sum(map(abs, spiral.flows[one].values())) for one in spiral.closed),
        without=without,
        losses=_losses(house, shock.name, spiral.rounds),
    )


def impact_bp(house: House, underlying: FeedId, net_minor: int) -> int:
    """By how much closing so much moves an underlying, in basis points, rounded up; nothing without a volume."""
    thin = next((one for one in house.parameters.liquidity if one.underlying == underlying), None)
    return 0 if thin is None else divide_up(impact(house, thin, abs(net_minor)) * BP, IMPACT_ONE)


class _Spiral:
    """Where prices stand, what was closed, and what of it in this window."""

    def __init__(self, house: House, shock: Scenario, *, pauses: bool) -> None:
        self._house, self._shock, self._sets = house, shock, living_sets(house)
        self._needs = [one.maintenance_minor for one in standings(house, self._sets)]
        self.flows = _flows(house, self._sets)
        self._most = _window_most(house) if pauses else None
        self.closed: set[SetId] = set()
        self.rounds: list[Round] = []
        self._begin(0)

    def _begin(self, window: int) -> None:
        self._window, self._is_new, self._prices = window, True, self._shock
        self._net: dict[FeedId, int] = {}
        self._volume: dict[FeedId, int] = {}

    def short(self) -> list[SetId]:
        """Sets below maintenance that are not closed yet, by what they lack."""
        (left,) = left_to(self._house, self._sets, array_under(self._house, (self._prices,))).tolist()
        lacking = {
            set_id: need - equity
            for set_id, need, equity in zip(self._sets, self._needs, left, strict=True)
            if equity < need and set_id not in self.closed
        }
        return sorted(lacking, key=lambda set_id: (-lacking[set_id], set_id))

    def liquidate(self, short: Sequence[SetId]) -> None:
        """Close as many of ``short``, in order, as this window takes; if it takes none, begin the next."""
        batch = tuple(takewhile(self._close, short))
        if not batch:
            self._begin(self._window + 1)
            return
        moved = {u: self._moved(u, sold) for u, sold in sorted(self._net.items())}
        rest = (move for move in self._shock.moves if move.underlying not in moved)
        self._prices = Scenario(name=self._shock.name, moves=(*moved.values(), *rest))
        self.rounds.append(Round(window=self._window, sets=batch, prices=self._prices))

    def _close(self, set_id: SetId) -> bool:
        """Close a set, unless the window is over before it."""
        flow, most = self.flows[set_id], self._most
        volume = _plus(self._volume, {underlying: abs(sold) for underlying, sold in flow.items()})
        if most is not None and not self._is_new and any(volume[u] > most[u] for u in flow):
            return False
        self._volume, self._net, self._is_new = volume, _plus(self._net, flow), False
        self.closed.add(set_id)
        return True

    def _moved(self, underlying: FeedId, sold_minor: int) -> Move:
        """Down where more is sold, up where more is bought, on top of the shock."""
        shocked = self._shock.move_of(underlying)
        pushed = impact_bp(self._house, underlying, sold_minor)
        if sold_minor > 0:
            price = divide_down((BP + shocked.price_bp) * max(0, BP - pushed), BP)
        else:
            price = divide_up((BP + shocked.price_bp) * (BP + pushed), BP)
        return Move(underlying=underlying, price_bp=price - BP, volatility_bp=shocked.volatility_bp)


def _plus(one: Flows, other: Flows) -> dict[FeedId, int]:
    return {**one, **{underlying: one.get(underlying, 0) + amount for underlying, amount in other.items()}}


def _exposures(house: House) -> dict[InstrumentId, tuple[FeedId, int]]:
    """By instrument its underlying, and the notional of it that one lot is equivalent to."""
    return {
        row.instrument: (row.underlying, row.notional_minor if row.delta_minor is None else row.delta_minor)
        for row in array_of(house).instruments
    }


def _flows(house: House, sets: Sequence[SetId]) -> dict[SetId, dict[FeedId, int]]:
    """What closing each set sells."""
    exposed = _exposures(house)
    flows: dict[SetId, dict[FeedId, int]] = {}
    for set_id in sets:
        flow: dict[FeedId, int] = {}
        for key in house.netting_sets[set_id].accounts:
            for instrument, lots in house.positions(key).items():
                underlying, notional = exposed[instrument]
                flow[underlying] = flow.get(underlying, 0) + lots * notional
        flows[set_id] = {underlying: sold for underlying, sold in sorted(flow.items()) if sold}
    return flows


def _window_most(house: House) -> dict[FeedId, int] | None:
    """What a window closes at most: the circuit breaker's share of the open interest; None without a limit."""
    limit_bp = house.parameters.breaker_liquidation_bp
    if not limit_bp:
        return None
    opened: dict[FeedId, int] = {}
    for instrument, (underlying, notional) in _exposures(house).items():
        lots = sum(max(0, house.position(key, instrument)) for key in house.held)
        opened[underlying] = opened.get(underlying, 0) + lots * abs(notional)
    return {underlying: divide_down(amount * limit_bp, BP) for underlying, amount in opened.items()}


def _losses(house: House, name: str, rounds: Sequence[Round]) -> ScenarioLosses:
    """What members lose of the sets of each window, at its last prices."""
    last = {one.window: one.prices for one in rounds}
    window_of = {set_id: one.window for one in rounds for set_id in one.sets}
    sets = sorted(window_of)
    array = array_under(house, tuple(replace(prices, name=f"{name} {n}") for n, prices in last.items()))
    losses = np.maximum(0, -left_to(house, sets, array))
    elsewhere = np.array([[window_of[set_id] != window for set_id in sets] for window in last], bool)
    losses[elsewhere.reshape(losses.shape)] = 0
    return scenario_losses(house, name, summed(unpaid_of(house), *answered(house, sets, array, losses)))
