"""Decimal strings in whole units, and the integers that they stand for. Exact, or refused.

A decimal is an optional minus sign, digits without leading zeros, and optionally a point with digits behind
it: ``0``, ``12.50``, ``-0.001``. No exponent, no plus sign, no blanks, no NaN or infinity, ASCII digits only.
An integer counts 10^-``decimals``; digits behind that must be zeros. No float is ever made.
"""

import re

WHOLE_DIGITS_MAX = 39
"""2^127 has 39 digits; more fit nothing that the book holds."""
FRACTION_DIGITS_MAX = 38

_DECIMAL = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)


class DecimalRefused(ValueError):
    """Text that is no decimal, or one that is finer than what it must be a multiple of."""


def parse(text: str, decimals: int, *, step: int = 1, signed: bool = False) -> int:
    """The integer of 10^-``decimals`` that ``text`` stands for, in steps. Raises :class:`DecimalRefused`.

    The value must be a whole multiple of ``step`` × 10^-``decimals``, and the number of steps is returned.
    """
    matched = _DECIMAL.fullmatch(text) if len(text) <= WHOLE_DIGITS_MAX + FRACTION_DIGITS_MAX + 2 else None
    if matched is None:
        raise DecimalRefused("not a decimal number: write digits and at most one point, such as 12.5")
    sign, whole, fraction = matched.groups(default="")
    if len(whole) > WHOLE_DIGITS_MAX or len(fraction) > FRACTION_DIGITS_MAX:
        raise DecimalRefused(
            f"more than {WHOLE_DIGITS_MAX} digits before or {FRACTION_DIGITS_MAX} behind the point"
        )
    if sign and not signed:
        raise DecimalRefused("must not be negative")
    significant = fraction.rstrip("0")
    if len(significant) > decimals:
        raise DecimalRefused(f"must be a whole multiple of {render(step, decimals)}")
    steps, rest = divmod(int(whole + significant.ljust(decimals, "0")), step)
    if rest:
        raise DecimalRefused(f"must be a whole multiple of {render(step, decimals)}")
    return -steps if sign else steps


def render(units: int, decimals: int) -> str:
    """``units`` × 10^-``decimals`` with all its decimals, so that a column of amounts lines up."""
    digits = str(abs(units)).rjust(decimals + 1, "0")
    sign = "-" if units < 0 else ""
    if decimals == 0:
        return f"{sign}{digits}"
    return f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
