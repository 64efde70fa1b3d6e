"""Which changes of parameters tighten (rulebook §13): only those may take effect at once.

A change tightens if every number that it changes moves to the safe side: more is demanded of risk, or less of it
is let in, and nobody answers for more, or sooner for what is open already, than before. What has no direction here
never tightens: the fee, the choice of the model and of its shadow, what decides whether there is a price at all
(quorum, outliers, validity, outages: both ways have their danger), how a liquidation proceeds, and who bears how much
of a loss by when.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from clearing.model.values import Offset, Parameters, ScanRange

UP, DOWN = 1, -1
SAFE_SIDE: Final[Mapping[str, int]] = {
    "basis_floor_bp": UP,
    "short_option_bp": UP,
    "offset_cap_bp": DOWN,
    "tail_bp": DOWN,
    "stress_weight_bp": UP,
    "requirement_bp": UP,
    "price_band_bp": DOWN,
    "reducing_band_bp": DOWN,
    "trade_lots_max": DOWN,
    "fee_share_bp": UP,
    "call_ms": DOWN,
    "pool_rate_bp": UP,
    "pool_floor_minor": UP,
    "liquidity_line_minor": DOWN,
    "change_delay_ms": UP,
    "proposal_validity_ms": DOWN,
    "breaker_move_bp": DOWN,
    "breaker_drawdown_bp": DOWN,
    "breaker_pause_ms": UP,
    "breaker_liquidation_bp": DOWN,
    "trade_validity_ms": DOWN,
    "withdraw_validity_ms": DOWN,
}
"""Where each parameter that is one number may go in a tightening. ``call_ms`` is of calls still to be issued."""
OFF_AT_ZERO: Final = frozenset({"breaker_move_bp", "breaker_drawdown_bp", "breaker_liquidation_bp"})
"""Limits that hold nothing back at zero."""


def is_tightening(before: Parameters, after: Parameters) -> bool:
    """Whether every change moves to the safe side; no change at all is none."""
    changed = [f.name for f in fields(before) if getattr(before, f.name) != getattr(after, f.name)]
    return bool(changed) and all(_is_safer(name, before, after) for name in changed)


def _is_safer(name: str, before: Parameters, after: Parameters) -> bool:
    if name == "scan_ranges":
        return _wider(before.scan_ranges, after.scan_ranges)
    if name == "offsets":
        return _lower(before.offsets, after.offsets)
    if name in OFF_AT_ZERO and 0 in (getattr(before, name), getattr(after, name)):
        return bool(getattr(before, name) == 0)
    side = SAFE_SIDE.get(name)
    if side is None:
        return False
    moved: int = getattr(after, name) - getattr(before, name)
    return moved * side > 0


def _wider(before: tuple[ScanRange, ...], after: tuple[ScanRange, ...]) -> bool:
    """The same underlyings, none with a smaller range of its price or its volatility."""
    known = {one.underlying: one for one in before}
    same = known.keys() == {one.underlying for one in after}
    return same and all(
        one.move_bp >= known[one.underlying].move_bp
        and one.volatility_bp >= known[one.underlying].volatility_bp
        for one in after
    )


def _lower(before: tuple[Offset, ...], after: tuple[Offset, ...]) -> bool:
    """No pair that was not there, and none with a higher rate."""
    rates = {frozenset((one.first, one.second)): one.rate_bp for one in before}
    return all(one.rate_bp <= rates.get(frozenset((one.first, one.second)), -1) for one in after)
