"""What the terms of an asset or an instrument, and the parameters, may be (rulebook §1, §5, §8, §9).

A value outside these ranges is no policy but a mistake: it would divide by zero, give money away, or let
amounts grow beyond what the book can hold. So it is refused at the door. Each check gives the text of the
first flaw, empty when there is none.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from clearing.decide.treasury import DEPOSIT_MAX
from clearing.margin.table import MODELS
from clearing.model.commands import PRICE_TICKS_MAX
from clearing.model.ids import CODE_PATTERN, FeedId
from clearing.model.values import (
    BP,
    DAY_MS,
    HOUR_MS,
    PPM,
    Asset,
    Instrument,
    InstrumentKind,
    Liquidity,
    Offset,
    Parameters,
    ScanRange,
)

DECIMALS_MAX = 36
TICK_VALUE_MAX = 10**12
VOLUME_MINOR_MAX = 10**24
MOVE_BP_MAX = 10 * BP
OPEN_NOTIONAL_MAX = DEPOSIT_MAX
YEAR_MS = 366 * DAY_MS
LIFE_MS_MAX = 100 * YEAR_MS
"""How long after its listing an instrument may expire: a time to expiry stays a number that models can divide."""

PARAMETER_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "basis_floor_bp": (0, BP),
    "short_option_bp": (0, BP),
    "offset_cap_bp": (0, BP),
    "tail_bp": (50, 1_000),
    "stress_weight_bp": (0, BP),
    "impact_bp": (0, 10 * BP),
    "free_volume_bp": (0, BP),
    "requirement_bp": (BP, 100 * BP),
    "price_quorum": (1, 1_000),
    "outlier_bp": (0, BP),
    "observation_validity_ms": (1, YEAR_MS),
    "mark_validity_ms": (1, YEAR_MS),
    "price_band_bp": (0, BP - 1),
    "reducing_band_bp": (0, BP - 1),
    "option_price_floor_bp": (0, BP),
    "trade_fee_bp": (0, BP),
    "option_fee_cap_bp": (0, BP),
    "trade_lots_max": (1, 10**18),
    "half_ms": (1, YEAR_MS),
    "fee_share_bp": (0, BP),
    "funding_cap_ppm": (0, PPM),
    "call_ms": (0, YEAR_MS),
    "liquidation_step_ms": (1, YEAR_MS),
    "liquidation_step_bp": (1, BP),
    "liquidation_whole_below_bp": (0, BP),
    "liquidation_minimum_minor": (0, DEPOSIT_MAX),
    "liquidation_stop_bp": (BP, 100 * BP),
    "assignment_discount_bp": (0, BP - 1),
    "penalty_notional_bp": (0, BP),
    "penalty_released_bp": (0, BP),
    "answer_ms": (0, YEAR_MS),
    "pool_rate_bp": (0, 100 * BP),
    "pool_floor_minor": (0, DEPOSIT_MAX),
    "fund_event_cap_bp": (0, BP),
    "assessment_cap_bp": (0, 100 * BP),
    "assessment_ms": (0, YEAR_MS),
    "replenishment_cap_bp": (0, 100 * BP),
    "replenishment_business_days": (0, 366),
    "restoration_ms": (0, YEAR_MS),
    "capped_period_business_days": (0, 366),
    "capped_period_max_ms": (0, YEAR_MS),
    "liquidity_line_minor": (0, DEPOSIT_MAX),
    "change_delay_ms": (0, YEAR_MS),
    "proposal_validity_ms": (1, YEAR_MS),
    "breaker_move_bp": (0, 100 * BP),
    "breaker_window_ms": (1, YEAR_MS),
    "breaker_drawdown_bp": (0, BP),
    "breaker_pause_ms": (0, YEAR_MS),
    "breaker_liquidation_bp": (0, BP),
    "unlink_business_days": (0, 366),
    "trade_validity_ms": (1, YEAR_MS),
    "withdraw_validity_ms": (1, YEAR_MS),
    "attest_validity_ms": (1, YEAR_MS),
    "outage_after_ms": (1, YEAR_MS),
    "resume_after_ms": (0, YEAR_MS),
    "outage_close_ms": (0, YEAR_MS),
    "outage_haircut_bp": (0, BP - 1),
    "auction_ms": (0, HOUR_MS),
    "close_out_auction_ms": (0, DAY_MS),
    "porting_ms": (0, YEAR_MS),
}
"""The least and the greatest value of every parameter that is one number."""


def parameters_flaw(parameters: Parameters) -> str:
    """Why no house can work with these parameters."""
    for name, (low, high) in PARAMETER_RANGES.items():
        if not low <= getattr(parameters, name) <= high:
            return f"{name} lies between {low} and {high}"
    if parameters.margin_model not in MODELS:
        return f"the margin models are {' '.join(sorted(MODELS))}"
    if flaw := _shadow_flaw(parameters):
        return flaw
    ranges = [r.underlying for r in parameters.scan_ranges]
    if len(set(ranges)) != len(ranges) or not all(CODE_PATTERN.fullmatch(u) for u in ranges):
        return "each underlying has one scan range"
    if not all(0 < r.move_bp <= MOVE_BP_MAX for r in parameters.scan_ranges):
        return f"a scan range lies between 1 and {MOVE_BP_MAX}"
    if not all(0 <= r.volatility_bp < BP for r in parameters.scan_ranges):
        return f"a scan range of volatility lies between 0 and {BP - 1}"
    if not all(_has_caps_in_order(r) for r in parameters.scan_ranges):
        return (
            f"open notional has two caps, the lower one first and neither above {OPEN_NOTIONAL_MAX}, or none"
        )
    return _liquidity_flaw(parameters.liquidity, ranges) or _offsets_flaw(parameters.offsets, ranges)


def _liquidity_flaw(liquidity: tuple[Liquidity, ...], ranges: list[FeedId]) -> str:
    named = [one.underlying for one in liquidity]
    if len(set(named)) != len(named) or not set(named) <= set(ranges):
        return "a daily volume is of an underlying with a scan range, and each has one at most"
    if not all(0 < one.daily_volume_minor <= VOLUME_MINOR_MAX for one in liquidity):
        return f"a daily volume lies between 1 and {VOLUME_MINOR_MAX} smallest units"
    return ""


def _has_caps_in_order(scanned: ScanRange) -> bool:
    lower, upper = scanned.open_notional_lower_minor, scanned.open_notional_upper_minor
    return lower == upper == 0 or 0 <= lower < upper <= OPEN_NOTIONAL_MAX


def _shadow_flaw(parameters: Parameters) -> str:
    if parameters.shadow_model not in ("", *MODELS):
        return f"the shadow is one of {' '.join(sorted(MODELS))}, or none"
    if parameters.shadow_model == parameters.margin_model:
        return f"{parameters.margin_model} is in force: the shadow is another model, or none"
    return ""


def unscanned(parameters: Parameters, instruments: Iterable[Instrument]) -> str:
    """For which of ``instruments`` the parameters say nothing: each underlying needs its scan range, and one with
    options a range of volatility.
    """
    ranges = {one.underlying: one for one in parameters.scan_ranges}
    for one in instruments:
        if one.underlying not in ranges:
            return f"no scan range for {one.underlying}"
        if one.option is not None and not ranges[one.underlying].volatility_bp:
            return f"no scan range of the volatility of {one.underlying}"
    return ""


def _offsets_flaw(offsets: tuple[Offset, ...], ranges: list[FeedId]) -> str:
    """An underlying with two partners would be worth more apart than together: splitting would pay (§1)."""
    named = [u for offset in offsets for u in (offset.first, offset.second)]
    if len(set(named)) != len(named) or not set(named) <= set(ranges):
        return "an offset is of two underlyings with scan ranges, each in one offset at most"
    if not all(0 <= offset.rate_bp <= BP for offset in offsets):
        return f"the rate of an offset lies between 0 and {BP}"
    return ""


def asset_flaw(asset: Asset) -> str:
    """Why an asset with these terms cannot be valued."""
    if not 0 <= asset.decimals <= DECIMALS_MAX:
        return f"decimals lie between 0 and {DECIMALS_MAX}"
    if not 0 <= asset.haircut_bp <= BP:
        return f"a haircut lies between 0 and {BP}"
    if not 0 <= asset.concentration_minor <= DEPOSIT_MAX:
        return f"a concentration limit lies between 0 and {DEPOSIT_MAX}"
    least, most = (asset.haircut_bp, BP) if asset.concentration_minor else (0, 0)
    if not least <= asset.concentration_haircut_bp <= most:
        return f"above the limit the haircut lies between {least} and {most}"
    if not (
        asset.tick_value_minor == 0 if asset.feed is None else 0 < asset.tick_value_minor <= TICK_VALUE_MAX
    ):
        return f"with a feed the tick value lies between 1 and {TICK_VALUE_MAX}, without one it is 0"
    return ""


def settlement_flaw(asset: Asset) -> str:
    """Why the house cannot settle in this asset: it must be worth itself."""
    cut = asset.haircut_bp or asset.concentration_minor
    worth_itself = asset.feed is None and not cut and asset.issuer is None
    return asset_flaw(asset) if worth_itself else "the settlement asset has no feed, haircut or issuer"


def instrument_flaw(instrument: Instrument, now_ms: int) -> str:
    """Why an instrument with these terms cannot be cleared."""
    if not 0 < instrument.tick_value_minor <= TICK_VALUE_MAX:
        return f"the tick value lies between 1 and {TICK_VALUE_MAX}"
    if not all(0 <= d <= DECIMALS_MAX for d in (instrument.price_decimals, instrument.lot_decimals)):
        return f"decimals lie between 0 and {DECIMALS_MAX}"
    if instrument.final_ticks is not None:
        return "an instrument is listed before it is settled for good"
    if instrument.kind is InstrumentKind.PERPETUAL and instrument.expires_ms is not None:
        return "a perpetual does not expire"
    if instrument.kind is not InstrumentKind.PERPETUAL and (instrument.expires_ms or 0) <= now_ms:
        return "a future or an option expires, and not in the past"
    if (instrument.expires_ms or 0) - now_ms > LIFE_MS_MAX:
        return "an instrument expires within a hundred years"
    return _option_flaw(instrument)


def _option_flaw(instrument: Instrument) -> str:
    if (instrument.kind is InstrumentKind.OPTION) is not (instrument.option is not None):
        return "an option has a right, a strike and a volatility feed, and nothing else has"
    if instrument.option is None:
        return ""
    if not 0 < instrument.option.strike_ticks <= PRICE_TICKS_MAX:
        return f"a strike lies between 1 and {PRICE_TICKS_MAX} ticks"
    return ""


def volatility_feeds(instruments: Iterable[Instrument]) -> set[FeedId]:
    """The feeds by which the volatilities of options are published."""
    return {one.option.volatility_feed for one in instruments if one.option is not None}


def feeds_flaw(instrument: Instrument, listed: Iterable[Instrument], asset_feeds: set[FeedId]) -> str:
    """Why the feeds of an instrument do not go together with those of what is listed: a feed publishes prices in
    one tick, or volatilities (rulebook §5: an option and its underlying share one tick). Under the name of an
    underlying there are prices alone, published or not: it closes by that feed (§9.1).
    """
    everything = [instrument, *listed]
    prices = {one.feed for one in everything} | {one.underlying for one in everything} | asset_feeds
    mixed = sorted(prices & volatility_feeds(everything))
    if mixed:
        return f"{mixed[0]} cannot publish both prices and volatilities"
    ticks = {one.price_decimals for one in everything if one.feed == instrument.feed}
    return "" if len(ticks) == 1 else f"the tick of {instrument.feed} is another one"
