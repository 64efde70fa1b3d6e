"""Amounts: exact integers with a unit that stands elsewhere, and the roundings that have a name.

Rules kept here: an amount is an integer in ±(2^127 − 1), so that it fits a signed 128-bit record
and its negation always exists (rulebook §1); a division says in its name which way it rounds.
"""

AMOUNT_MAX = 2**127 - 1


def in_range(amount: int) -> bool:
    """Whether ``amount`` fits the signed 128-bit record and has a negation there."""
    return -AMOUNT_MAX <= amount <= AMOUNT_MAX


def divide_down(numerator: int, denominator: int) -> int:
    """Quotient rounded towards minus infinity; ``denominator`` must be positive."""
    return numerator // denominator


def divide_up(numerator: int, denominator: int) -> int:
    """Quotient rounded towards plus infinity; ``denominator`` must be positive."""
    return -(-numerator // denominator)
