"""What options are worth: Black (1976) on the forward, undiscounted (rulebook §5, §6).

The house pays no interest on cash, so the discount factor is one and a value is the expected payout:

    call = F·N(d₁) − K·N(d₂)      put = K·N(−d₂) − F·N(−d₁)      d₁,₂ = ln(F/K) / (σ√T) ± σ√T / 2

with T in years of 365 days. At expiry, or without volatility, a value is the intrinsic one. Floating point stays in
here: a value leaves as an integer, and the journal keeps it, so that no replay computes it again.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from clearing.model.ids import FeedId
from clearing.model.values import BP, DAY_MS, Instrument, OptionMark, OptionTerms, Right
from ledger.require import InvariantViolated

YEAR_MS = 365 * DAY_MS

FINE = 10**6
"""A value in a scenario is taken to a millionth of a tick, down for who is long, up for who is short."""

Floats: TypeAlias = npt.NDArray[np.float64]


def terms_of(instrument: Instrument) -> OptionTerms:
    """The terms of an instrument that is an option."""
    if instrument.option is None:
        raise InvariantViolated(f"{instrument.id} is an option")
    return instrument.option


def years_to_expiry(instrument: Instrument, at_ms: int) -> float:
    """The time that an option has left, in years of 365 days; zero once it has expired."""
    return max(0, (instrument.expires_ms or 0) - at_ms) / YEAR_MS


def value(right: Right, forward: Floats, strike: int, volatility: Floats, years: float) -> Floats:
    """Black-76 values in the unit of ``forward`` and ``strike``, one for each forward and volatility (1 = 100 %)."""
    sign = 1.0 if right is Right.CALL else -1.0
    deviation = volatility * np.sqrt(years)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.log(forward / strike) / deviation + deviation / 2
        priced = sign * (forward * ndtr(sign * near) - strike * ndtr(sign * (near - deviation)))
    intrinsic = np.maximum(sign * (forward - strike), 0.0)
    return np.where(deviation > 0, np.maximum(priced, intrinsic), intrinsic)


def delta(right: Right, forward: int, strike: int, volatility: float, years: float) -> float:
    """By how much a value moves with its forward: N(d₁), or N(d₁) − 1 for a put; at the strike a half."""
    deviation = volatility * np.sqrt(years)
    if deviation > 0:
        called = float(ndtr(np.log(forward / strike) / deviation + deviation / 2))
    else:
        called = 0.5 * (1 + np.sign(forward - strike))
    return called if right is Right.CALL else called - 1


def option_marks(
    instruments: Iterable[Instrument], marks: Mapping[FeedId, int], at_ms: int
) -> tuple[OptionMark, ...]:
    """The mark of each option among ``instruments`` whose forward and volatility are marked, at expiry the forward
    alone: its value, rounded to the nearest tick, half to even.
    """
    return tuple(
        _mark(one, marks[one.feed], marks.get(one.option.volatility_feed, 0), at_ms)
        for one in instruments
        if one.option is not None
        and one.feed in marks
        and (one.option.volatility_feed in marks or not years_to_expiry(one, at_ms))
    )


def _mark(instrument: Instrument, forward_ticks: int, volatility_bp: int, at_ms: int) -> OptionMark:
    return OptionMark(
        instrument=instrument.id,
        price_ticks=value_ticks(instrument, forward_ticks, volatility_bp, at_ms),
        forward_ticks=forward_ticks,
        volatility_bp=volatility_bp,
    )


def value_ticks(instrument: Instrument, forward_ticks: int, volatility_bp: int, at_ms: int) -> int:
    """What an option is worth at ``at_ms``, to the nearest tick, half to even."""
    terms = terms_of(instrument)
    forward, volatility = np.array([float(forward_ticks)]), np.array([volatility_bp / BP])
    years = years_to_expiry(instrument, at_ms)
    return round(float(value(terms.right, forward, terms.strike_ticks, volatility, years)[0]))


def factors(moves_bp: Iterable[int]) -> Floats:
    """What moves by basis points multiply by; nothing moves below zero."""
    return np.array([max(0, BP + move_bp) / BP for move_bp in moves_bp])


def revaluation(
    option: Instrument, forward_ticks: int, volatility_bp: int, at_ms: int, moves: Floats, shocks: Floats
) -> list[tuple[int, int]]:
    """P&L against the mark of one lot held long, and of one held short, for each pair of a factor of the forward and
    one of the volatility: in millionths (``FINE``) of a smallest unit, against the holder.
    """
    terms, years = terms_of(option), years_to_expiry(option, at_ms)
    values = value(terms.right, forward_ticks * moves, terms.strike_ticks, volatility_bp / BP * shocks, years)
    mark = value_ticks(option, forward_ticks, volatility_bp, at_ms) * FINE
    low = [int(fine) for fine in np.floor(values * FINE)]
    tick_value = option.tick_value_minor
    return [((fine - mark) * tick_value, (mark - fine - 1) * tick_value) for fine in low]


def intrinsic_ticks(instrument: Instrument, forward_ticks: int) -> int:
    """What an option pays at expiry, exactly."""
    terms = terms_of(instrument)
    paid = forward_ticks - terms.strike_ticks
    return max(0, paid if terms.right is Right.CALL else -paid)
