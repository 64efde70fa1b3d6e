"""What options are worth: Black (1976) on the forward, undiscounted (rulebook §5, §6).

The house pays no interest on cash, so the discount factor is one and a value is the expected payout (``black``), with
time in years of 365 days. At expiry, or without volatility, a value is the intrinsic one. Floating point stays in
here: a value leaves as an integer, the same on every machine.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import floor

import numpy as np

from clearing.margin.black import greeks, values
from clearing.margin.reproducible import Floats
from clearing.model.ids import FeedId
from clearing.model.values import BP, DAY_MS, Instrument, OptionMark, OptionTerms, Right
from ledger.require import InvariantViolated

YEAR_MS = 365 * DAY_MS

FINE = 10**6
"""A value in a scenario is taken to a millionth of a tick, down for who is long, up for who is short."""


def terms_of(instrument: Instrument) -> OptionTerms:
    """The terms of an instrument that is an option."""
    if instrument.option is None:
        raise InvariantViolated(f"{instrument.id} is an option")
    return instrument.option


def years_to_expiry(instrument: Instrument, at_ms: int) -> float:
    """The time that an option has left, in years of 365 days; zero once it has expired."""
    return max(0, (instrument.expires_ms or 0) - at_ms) / YEAR_MS


def sign_of(right: Right) -> float:
    """As ``black`` has it: 1 for a call, −1 for a put."""
    return 1.0 if right is Right.CALL else -1.0


def value(right: Right, forward: Floats, strike: int, volatility: Floats, years: float) -> Floats:
    """Values in the unit of ``forward`` and ``strike``, one for each forward and volatility (1 = 100 %)."""
    row: Floats = values([sign_of(right)], forward[None, :], [strike], volatility[None, :], [years])[0]
    return row


def delta(right: Right, forward: int, strike: int, volatility: float, years: float) -> float:
    """By how much a value moves with its forward: N(d₁), or N(d₁) − 1 for a put; at the strike a half."""
    table = np.array([[float(forward)]]), np.array([[volatility]])
    return float(greeks([sign_of(right)], table[0], [strike], table[1], [years]).delta[0, 0])


def option_marks(
    instruments: Iterable[Instrument], marks: Mapping[FeedId, int], at_ms: int
) -> tuple[OptionMark, ...]:
    """The mark of each option among ``instruments`` whose forward and volatility are marked, at expiry the forward
    alone: its value, rounded to the nearest tick, half to even.
    """
    marked = [
        one
        for one in instruments
        if one.option is not None
        and one.feed in marks
        and (one.option.volatility_feed in marks or not years_to_expiry(one, at_ms))
    ]
    forwards = [marks[one.feed] for one in marked]
    volatilities = [marks.get(terms_of(one).volatility_feed, 0) for one in marked]
    return tuple(
        OptionMark(instrument=one.id, price_ticks=ticks, forward_ticks=forward, volatility_bp=volatility)
        for one, ticks, forward, volatility in zip(
            marked, _ticks(marked, forwards, volatilities, at_ms), forwards, volatilities, strict=True
        )
    )


def value_ticks(instrument: Instrument, forward_ticks: int, volatility_bp: int, at_ms: int) -> int:
    """What an option is worth at ``at_ms``, to the nearest tick, half to even."""
    return _ticks([instrument], [forward_ticks], [volatility_bp], at_ms)[0]


def _ticks(
    options: Sequence[Instrument], forwards: Sequence[int], volatilities_bp: Sequence[int], at_ms: int
) -> list[int]:
    terms = [terms_of(one) for one in options]
    worth = values(
        [sign_of(one.right) for one in terms],
        np.array(forwards, np.float64)[:, None],
        [float(one.strike_ticks) for one in terms],
        np.array(volatilities_bp, np.float64)[:, None] / BP,
        [years_to_expiry(one, at_ms) for one in options],
    )
    return [round(one) for one in worth[:, 0].tolist()]


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
    forwards = forward_ticks * np.concatenate([[1.0], moves])
    volatilities = volatility_bp / BP * np.concatenate([[1.0], shocks])
    unmoved, *worth = value(terms.right, forwards, terms.strike_ticks, volatilities, years).tolist()
    mark = round(unmoved) * FINE
    low = [floor(one * FINE) for one in worth]
    tick_value = option.tick_value_minor
    return [((fine - mark) * tick_value, (mark - fine - 1) * tick_value) for fine in low]


def intrinsic_ticks(instrument: Instrument, forward_ticks: int) -> int:
    """What an option pays at expiry, exactly."""
    terms = terms_of(instrument)
    paid = forward_ticks - terms.strike_ticks
    return max(0, paid if terms.right is Right.CALL else -paid)
