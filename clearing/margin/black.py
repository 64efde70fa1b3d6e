"""Black (1976), undiscounted: values, all Greeks and implied volatility of European options, many at once.

    call = F·N(d₁) − K·N(d₂)      put = K·N(−d₂) − F·N(−d₁)      d₁,₂ = ln(F/K) / (σ√T) ± σ√T / 2

What is worked with is a table of instruments × scenarios: forwards and volatilities are tables, strikes, years and
signs (1 a call, −1 a put) columns, one number an instrument. A volatility of 1 is 100 % a year; years are of 365 days.
Black–Scholes is the same on the forward S·e^{(r−q)T}, times e^{−rT}.

1. Only the option that is out of the money is computed; the other side is it and what parity adds. With L the lesser
   and U the greater of F and K, h = ln(U/L) / σ√T and a, b = h ∓ σ√T/2 both are worth L·N(−a) − U·N(−b). As
   L·n(a) = U·n(b), that is L·e^{−a²/2}·(y(a) − y(b)) with y(z) = N(−z)·e^{z²/2}: one exponential, and far out nothing
   is lost.
2. At expiry, or without volatility, a value is the intrinsic one, the delta all or nothing (a half at the strike),
   and every other Greek zero.
3. Everything is made of ``reproducible``: the same bits on every machine.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from clearing.margin.reproducible import (
    Floats,
    bell,
    density,
    in_chunks,
    is_negative,
    log,
    log_ratio,
    ndtr,
    tail,
    with_sign,
)

Column: TypeAlias = npt.ArrayLike

_PRICE_LEAST = 1e-90
"""A lower forward counts as this where its logarithm is taken: the value is zero, or the strike, all the same."""
_DEVIATION_LEAST = 1e-150
_FAR = 1e10
"""No d is greater."""
_NARROW = 0.01
"""Below this deviation a value is taken from derivatives: what they leave out is less than 1e-15 of it."""
_PER_SQRT_TAU = 0.3989422804014327


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeks:
    """Derivatives of values, in the unit of the prices.

    ``delta`` and ``gamma``: once and twice by the forward. ``vega`` and ``volga``: once and twice by the volatility,
    where 1 is 100 %. ``vanna``: by both. ``theta``: by the time that passes, a year of it.
    """

    delta: Floats
    gamma: Floats
    vega: Floats
    theta: Floats
    vanna: Floats
    volga: Floats


def values(signs: Column, forwards: Floats, strikes: Column, volatilities: Floats, years: Column) -> Floats:
    """What options are worth; forwards may be zero."""
    return in_chunks(
        _value, _column(signs), forwards, _column(strikes), volatilities, np.sqrt(_column(years))
    )


def greeks(signs: Column, forwards: Floats, strikes: Column, volatilities: Floats, years: Column) -> Greeks:
    """All Greeks; forwards are positive."""
    sign, strike, root = _column(signs), _column(strikes), np.sqrt(_column(years))
    forwards, volatilities, strike = np.broadcast_arrays(
        np.asarray(forwards, np.float64), np.asarray(volatilities, np.float64), strike
    )
    deviation = volatilities * root
    alive = deviation > 0
    safe = np.where(alive, deviation, 1.0)
    near = np.clip(log_ratio(forwards, strike) / np.maximum(deviation, _DEVIATION_LEAST), -_FAR, _FAR)
    near += deviation * 0.5
    height = np.where(alive, density(near), 0.0)
    vega = forwards * height * root
    return Greeks(
        delta=sign * ndtr(sign * near),
        gamma=height / (forwards * safe),
        vega=vega,
        theta=forwards * height * volatilities / (-2.0 * np.where(root > 0, root, 1.0)),
        vanna=height * (deviation - near) * root / safe,
        volga=vega * near * (near - deviation) * root / safe,
    )


def _column(of: Column) -> Floats:
    """One number an instrument, to stand beside a table."""
    return np.asarray(of, np.float64)[:, None]


def _value(sign: Floats, forward: Floats, strike: Floats, volatility: Floats, root: Floats) -> Floats:
    lower, upper = np.minimum(forward, strike), np.maximum(forward, strike)
    deviation = volatility * root
    distance = log_ratio(upper, np.maximum(lower, _PRICE_LEAST))
    found, _ = _outside(distance, deviation)
    found *= lower
    intrinsic = forward - strike
    intrinsic *= sign
    found += np.maximum(intrinsic, 0.0, out=intrinsic)
    return found


def _outside(distance: Floats, deviation: Floats) -> tuple[Floats, Floats]:
    """What an option out of the money is worth as a share of the most that it can be, L, and what is missing to one,
    exactly where a is below zero. ``distance`` is ln(U/L).
    """
    far = distance / np.maximum(deviation, _DEVIATION_LEAST)
    np.minimum(far, _FAR, out=far)
    half = deviation * 0.5
    near = far - half
    far += half
    distance = np.abs(near)
    missing = tail(far)
    missing -= with_sign(tail(distance), near)
    missing *= bell(distance)
    found = is_negative(near)
    found -= missing
    np.maximum(found, 0.0, out=found)
    is_narrow = deviation < _NARROW
    if is_narrow.any():
        found[is_narrow] = _between(far[is_narrow], deviation[is_narrow])
    return found, missing


def _between(far: Floats, deviation: Floats) -> Floats:
    """The same for a small deviation, where y(a) and y(b) nearly cancel: their difference by the derivatives of y half
    way. y′ = z·y − 1/√(2π), and each derivative follows from the two before it.
    """
    near, z = far - deviation, far - deviation * 0.5
    first = z * tail(z)
    first -= _PER_SQRT_TAU
    second = z * first + tail(z)
    third = 2.0 * first + z * second
    fourth = 3.0 * second + z * third
    fifth = 4.0 * third + z * fourth
    squared = deviation * deviation
    slope = first + squared * (third + squared * fifth / 80.0) / 24.0
    return np.maximum(-deviation * slope * bell(np.abs(near)), 0.0)


# implied volatility -------------------------------------------------------------------------------


def implied_volatility(
    signs: npt.ArrayLike,
    prices: npt.ArrayLike,
    forwards: npt.ArrayLike,
    strikes: npt.ArrayLike,
    years: Column,
) -> Floats:
    """The volatility that gives each price; arguments of one or two dimensions, broadcast against each other. Not a
    number where there is none: the price is not above the intrinsic value, not below its bound (the forward of a
    call, the strike of a put), or no time is left.
    """
    return in_chunks(_implied, signs, prices, forwards, strikes, np.sqrt(np.asarray(years, np.float64)))


_SHARE_LEAST = 1e-290
"""A time value is at least this share of its bound: below it no value is told from zero."""
_STEPS_MAX = 64
_NEAR = 1e-8
"""A step shorter than this share is the last: its cube is left. Rounding may lead out of the bracket by less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """Time values to be met, as shares of their bound: the ``share``, and what is ``missing`` to one; ``goal`` is the
    logarithm of the lesser.
    """

    distance: Floats
    share: Floats
    missing: Floats
    goal: Floats
    is_low: npt.NDArray[np.bool_]
    is_high: npt.NDArray[np.bool_]


def _implied(sign: Floats, price: Floats, forward: Floats, strike: Floats, root: Floats) -> Floats:
    lower, upper = np.minimum(forward, strike), np.maximum(forward, strike)
    share = (price - np.maximum(sign * (forward - strike), 0.0)) / lower
    missing = (np.where(sign > 0, forward, strike) - price) / lower
    exists = (share > _SHARE_LEAST) & (missing > 0) & (root > 0)
    found = np.full(np.shape(exists), np.nan)
    distance = log_ratio(upper[exists], lower[exists])
    found[exists] = _deviation(distance, share[exists], missing[exists]) / root[exists]
    return found


def _deviation(distance: Floats, share: Floats, missing: Floats) -> Floats:
    """Where the value as a function of the deviation bends, at √(2·distance), both ways lead to every share: the
    lower ones are to the left. From there on the asymptotic value, −distance² / (2·deviation²) in its logarithm.
    """
    bend = np.maximum(np.sqrt(2.0 * distance), share / _PER_SQRT_TAU)
    at_bend = np.maximum(_outside(distance, bend)[0], _SHARE_LEAST)
    is_low = (share < at_bend) & (distance > 0)
    is_high = ~is_low & (share > 0.5)
    goal = log(np.where(is_high, missing, share))
    fall = np.where(is_low, log(at_bend) - goal, 0.0)
    start = np.where(is_low, bend * np.sqrt(distance / (distance + 4.0 * fall + _SHARE_LEAST)), bend)
    bounds = np.where(is_low, 0.0, bend * (1 - _NEAR)), np.where(is_low, bend, np.inf)
    wanted = _Wanted(
        distance=distance, share=share, missing=missing, goal=goal, is_low=is_low, is_high=is_high
    )
    return _solved(wanted, start, *bounds)


def _solved(wanted: _Wanted, found: Floats, least: Floats, most: Floats) -> Floats:
    """By Halley's method. A step that leaves the bracket is replaced by its middle. An element that has arrived stays
    as it is, whatever the others still need.
    """
    moving = np.ones(found.shape, np.bool_)
    for _ in range(_STEPS_MAX):
        value, left = _outside(wanted.distance, found)
        left = np.where(value < 0.5, 1.0 - value, left)
        is_less = np.where(wanted.is_high, left > wanted.missing, value < wanted.share)
        least, most = np.where(is_less, found, least), np.where(is_less, most, found)
        step = _step(wanted, found, value, left)
        following = found + step
        is_sound = (following > least * (1 - _NEAR)) & (following < most * (1 + _NEAR)) & (value > 0)
        middle = np.where(np.isinf(most), 2.0 * found, 0.5 * (least + most))
        found = np.where(moving, np.where(is_sound, following, middle), found)
        moving &= ~is_sound | (np.abs(step) > _NEAR * found)
        if not moving.any():
            break
    return found


def _step(wanted: _Wanted, deviation: Floats, value: Floats, left: Floats) -> Floats:
    """One step of Halley's method on what is nearly straight in the deviation: 1 / ln(value) below the bend, above it
    the value, and where that comes near its bound the logarithm of what is missing.
    """
    far = wanted.distance / deviation
    slope = np.maximum(density(far - 0.5 * deviation), _SHARE_LEAST)
    bend = far * far / deviation - 0.25 * deviation  # the second derivative of the value over the first
    held = np.maximum(np.where(wanted.is_high, left, value), _SHARE_LEAST)
    ratio = slope / held
    logarithm, goal = log(held), wanted.goal
    safe = np.where(wanted.is_low, logarithm, -1.0)
    low = (goal - safe) * safe / np.where(wanted.is_low, goal, -1.0) / ratio
    newton = np.where(wanted.is_high, (logarithm - goal) / ratio, (wanted.share - value) / slope)
    newton = np.where(wanted.is_low, low, newton)
    bend += np.where(wanted.is_low, -ratio * (1.0 + 2.0 / safe), np.where(wanted.is_high, ratio, 0.0))
    return newton / np.maximum(1.0 + 0.5 * newton * bend, 0.5)
