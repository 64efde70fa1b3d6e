"""Exponential, logarithm and normal distribution that are the same bit for bit on every machine.

A library's own vary in the last digit with the processor, the length of its vectors and the place of an element in
an array. These are made of operations that IEEE 754 rounds correctly (+ − × ÷, comparison, rint) and of integer
operations on the bits of a float64, one element at a time and in a fixed order: chunks, order and threads change
nothing. Nothing is summed here.

- ``exp`` is that of fdlibm (Sun Microsystems, 1993; ``e_exp.c``), which reduces by multiples of ln 2.
- ``log_ratio`` has the polynomial of fdlibm's ``e_log.c`` in s = (x − y) / (x + y). It takes the quotient's logarithm
  without its rounding: near 1 it is as exact as elsewhere.
- ``tail`` is the rational function of degrees 10 and 11 that equals N(−z)·e^{z²/2} at the 22 Chebyshev nodes of
  [0, ∞) under z = 4·(1 + t)/(1 − t). It is nowhere off by more than 2.2e-17 of that. All its coefficients are positive,
  so that nothing cancels.

Arguments are finite. Each function makes a few arrays as large as its argument: ``in_chunks`` keeps them in a cache.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

CHUNK = 8192
"""Elements that are worked on at a time: a handful of such arrays fits the second cache of a core."""

_FRACTION_BITS = 52
_EXPONENT = -1 << _FRACTION_BITS
"""Mask of a float64's sign and exponent."""
_UPPER_HALF = -1 << 27
"""Mask of what has 26 bits of fraction: its square is exact."""
_SIGN_BIT = 63
_SIGN = -1 << _SIGN_BIT
_ONE = int(np.array(1.0).view(np.int64))
_SQRT_HALF = int(np.array(0.5**0.5).view(np.int64))

_EXP_LEAST, _EXP_MOST = -708.0, 709.0
"""Beyond these a result would be no normal number: it stays where it is there."""
_PER_LN2 = 1.44269504088896338700e00
_LN2_HIGH = 6.93147180369123816490e-01
"""Its last 32 bits are zero: a multiple by an exponent is exact."""
_LN2_LOW = 1.90821492927058770002e-10
_EXP = (
    *(1.66666666666666019037e-01, -2.77777777770155933842e-03, 6.61375632143793436117e-05),
    *(-1.65339022054652515390e-06, 4.13813679705723846039e-08),
)
_LOG = (
    *(6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01),
    *(1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01),
)
TAIL_TOP = (
    *(0.5, 0.8608879306762593, 0.7320234267813366, 0.39847762044180396),
    *(0.15255574190361323, 0.04276593666335417, 0.00888536708955921, 0.0013539352612631115),
    *(0.00014553684829116332, 1.0054509410486508e-05, 3.444844248133779e-07),
)
TAIL_BOTTOM = (
    *(1.0, 2.5196604221553853, 2.9744450028664335, 2.176350294818652),
    *(1.0994979979374775, 0.4039518693304244, 0.11054171261622948, 0.022635392167119316),
    *(0.0034190153254793935, 0.000365670273326713, 2.5202917575868965e-05, 8.634943994072101e-07),
)
_FAR = 37.0
"""No bell is taken further out: it is below 1e-297 there and counts as nothing."""
_PER_SQRT_TAU = 0.3989422804014327


def in_chunks(function: Callable[..., Floats], *arguments: npt.ArrayLike) -> Floats:
    """``function`` of one or two dimensions, a few thousand elements at a time: the same as at once, and faster."""
    arrays = np.broadcast_arrays(*(np.asarray(one, np.float64) for one in arguments))
    found = np.empty(arrays[0].shape)
    tables, results = [np.atleast_2d(one) for one in arrays], np.atleast_2d(found)
    rows, width = results.shape
    height = max(1, CHUNK // max(1, width))
    for top in range(0, rows, height):
        for left in range(0, width, CHUNK):
            place = np.s_[top : top + height, left : left + CHUNK]
            results[place] = function(*(one[place] for one in tables))
    return found


def exp(x: Floats) -> Floats:
    """The exponential of ``x``, at most 1 ulp off; below −708 and above 709 as there."""
    return _exp_of_sum(np.clip(x, _EXP_LEAST, _EXP_MOST), 0.0)


def log(x: Floats) -> Floats:
    """The natural logarithm of what is positive, at most 2 ulp off."""
    return log_ratio(x, np.ones_like(x))


def log_ratio(x: Floats, y: Floats) -> Floats:
    """ln(x / y) of what is positive, at most 2 ulp off; neither ``x / y`` nor ``y / x`` leaves the normal numbers."""
    power = (x / y).view(np.int64)
    power -= _SQRT_HALF
    power &= _EXPONENT
    near = (x.view(np.int64) - power).view(np.float64)  # x times a power of two: between y·√½ and y·√2
    total = near + y
    near -= y
    near /= total
    squared = near * near
    found = _polynomial(squared, _LOG)
    found *= squared
    found *= near
    twos = power.astype(np.float64)  # the exponent times 2^52
    found += twos * (_LN2_LOW / 2**_FRACTION_BITS)
    near *= 2.0
    found += near
    twos *= _LN2_HIGH / 2**_FRACTION_BITS
    found += twos
    return found


def tail(z: Floats) -> Floats:
    """N(−z) over ``bell`` for what is not negative: half the scaled complementary error function, at z/√2."""
    found = _polynomial(z, TAIL_TOP)
    found /= _polynomial(z, TAIL_BOTTOM)
    return found


def bell(z: Floats) -> Floats:
    """The exponential of −z²/2, for what is not negative; nothing beyond 37 standard deviations."""
    return _bell(z) - _NOTHING


def density(z: Floats) -> Floats:
    """The normal density n(z)."""
    found = bell(np.abs(z))
    found *= _PER_SQRT_TAU
    return found


def ndtr(x: Floats) -> Floats:
    """The normal distribution N(x). The lower tail is as exact, relatively, as the middle."""
    distance = np.minimum(np.abs(x), 2 * _FAR)
    outside = bell(distance)
    outside *= tail(distance)
    reached = 1.0 - is_negative(x)
    reached -= with_sign(outside, x)
    return reached


def with_sign(x: Floats, of: Floats) -> Floats:
    """What is not negative, with the sign of ``of``."""
    bits = of.view(np.int64) & _SIGN
    bits |= x.view(np.int64)
    return bits.view(np.float64)


def is_negative(x: Floats) -> Floats:
    """1 where ``x`` has a minus sign, else 0."""
    bits = x.view(np.int64) >> _SIGN_BIT
    bits &= _ONE
    return bits.view(np.float64)


def _polynomial(x: Floats, coefficients: Sequence[float]) -> Floats:
    """By Horner's rule; ``coefficients`` from the constant on."""
    *others, second, first = coefficients
    found = x * first
    found += second
    for one in reversed(others):
        found *= x
        found += one
    return found


def _exp_of_sum(x: Floats, more: Floats | float) -> Floats:
    """The exponential of ``x + more``, of which the second is small."""
    power = x * _PER_LN2
    np.rint(power, out=power)
    high = x - power * _LN2_HIGH
    low = power * _LN2_LOW
    low -= more
    rest = high - low
    squared = rest * rest
    bent = _polynomial(squared, _EXP)
    bent *= squared
    np.subtract(rest, bent, out=bent)
    rest *= bent
    np.subtract(2.0, bent, out=bent)
    rest /= bent
    low -= rest
    low -= high
    found = 1.0 - low
    bits = power.astype(np.int64)
    bits <<= _FRACTION_BITS
    bits += found.view(np.int64)
    return bits.view(np.float64)


def _bell(z: Floats) -> Floats:
    """The square of what is halved is exact: rounding it would cost 3e-13 of the result far out."""
    distance = np.minimum(z, _FAR)
    half = (distance.view(np.int64) & _UPPER_HALF).view(np.float64)
    rest = distance - half
    distance += half
    rest *= distance
    rest *= -0.5
    half *= half
    half *= -0.5
    return _exp_of_sum(half, rest)


_NOTHING = float(_bell(np.array([_FAR]))[0])
