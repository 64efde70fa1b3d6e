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

from clearing.model.values import Liquidity, Offset, Parameters, ScanRange

UP, DOWN = 1, -1
SAFE_SIDE: Final[Mapping[str, int]] = {
    "basis_floor_bp": UP,
    "short_option_bp": UP,
    "offset_cap_bp": DOWN,
    "tail_bp": DOWN,
    "impact_bp": UP,
    "free_volume_bp": DOWN,
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
    if name == "liquidity":
        return _thinner(before.liquidity, after.liquidity)
    if name in OFF_AT_ZERO and 0 in (getattr(before, name), getattr(after, name)):
        return bool(getattr(before, name) == 0)
    side = SAFE_SIDE.get(name)
    if side is None:
        return False
    moved: int = getattr(after, name) - getattr(before, name)
    return moved * side > 0


def _wider(before: tuple[ScanRange, ...], after: tuple[ScanRange, ...]) -> bool:
    """The same underlyings, none with a smaller range of its price or its volatility or with higher caps."""
    known = {one.underlying: one for one in before}
    same = known.keys() == {one.underlying for one in after}
    return same and all(
        one.move_bp >= known[one.underlying].move_bp
        and one.volatility_bp >= known[one.underlying].volatility_bp
        and _is_capped_lower(known[one.underlying], one)
        for one in after
    )


def _is_capped_lower(before: ScanRange, after: ScanRange) -> bool:
    """Whether open notional raises a rate no later than before; without caps it never does."""
    if not before.open_notional_upper_minor or not after.open_notional_upper_minor:
        return not before.open_notional_upper_minor
    return (
        after.open_notional_lower_minor <= before.open_notional_lower_minor
        and after.open_notional_upper_minor <= before.open_notional_upper_minor
    )


def _lower(before: tuple[Offset, ...], after: tuple[Offset, ...]) -> bool:
    """No pair that was not there, and none with a higher rate."""
    rates = {frozenset((one.first, one.second)): one.rate_bp for one in before}
    return all(one.rate_bp <= rates.get(frozenset((one.first, one.second)), -1) for one in after)


def _thinner(before: tuple[Liquidity, ...], after: tuple[Liquidity, ...]) -> bool:
    """Every underlying that had a volume still has one, and none a larger one."""
    volumes = {one.underlying: one.daily_volume_minor for one in after}
    return all(
        one.underlying in volumes and volumes[one.underlying] <= one.daily_volume_minor for one in before
    )
