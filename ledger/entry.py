"""Entries: what the book records, money or not.

Rules kept here, in the order in which they are checked (the first that fails is the answer):

1. the id has 16 bytes, kind and time fit their fields
2. an entry says something: legs, accounts that it opens, or a fact
3. one leg alone moves nothing: none, or two and more, at most ``LEGS_MAX``
4. no leg is zero, each fits ±(2^127 − 1)
5. per unit, debits equal credits
"""

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ledger.account import Account
from ledger.amount import in_range

Json: TypeAlias = "bool | str | list[Json] | dict[str, Json] | None"
"""What a fact may hold. Numbers are decimal strings: no reader can lose a digit."""

LEGS_MAX = 1_000_000
KIND_MAX = 2**16 - 1
TIME_MAX_MS = 2**63 - 1


class Refusal(Enum):
    """Why an entry was not posted; the value is stable and public."""

    ENTRY_MALFORMED = "ENTRY_MALFORMED"
    ENTRY_EMPTY = "ENTRY_EMPTY"
    ENTRY_ONE_LEGGED = "ENTRY_ONE_LEGGED"
    ENTRY_TOO_LONG = "ENTRY_TOO_LONG"
    AMOUNT_ZERO = "AMOUNT_ZERO"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    ENTRY_UNBALANCED = "ENTRY_UNBALANCED"
    ACCOUNT_EXISTS = "ACCOUNT_EXISTS"
    ACCOUNT_UNKNOWN = "ACCOUNT_UNKNOWN"
    ACCOUNT_DIFFERS = "ACCOUNT_DIFFERS"
    BALANCE_OUT_OF_RANGE = "BALANCE_OUT_OF_RANGE"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of a movement. ``amount`` counts smallest units; debit is positive."""

    account: Account
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal.

    ``kind`` is the caller's code for what happened; ``effective_ms`` is UTC milliseconds;
    ``opens`` lists accounts that exist from this entry on; ``fact`` is what changed besides
    money. Request, actor, references and fact are private metadata: the public leaf carries
    only their hash.
    """

    entry_id: bytes
    kind: int
    effective_ms: int
    legs: tuple[Leg, ...] = ()
    opens: tuple[Account, ...] = ()
    request_id: str = ""
    actor: str = ""
    references: tuple[str, ...] = ()
    fact: Json = None


def debit(account: Account, amount: int) -> Leg:
    """A leg that debits ``amount`` (smallest units)."""
    return Leg(account, amount)


def credit(account: Account, amount: int) -> Leg:
    """A leg that credits ``amount`` (smallest units)."""
    return Leg(account, -amount)


def transfer(source: Account, target: Account, amount: int) -> tuple[Leg, ...]:
    """Legs that debit ``source`` and credit ``target``; none for zero, reversed for a negative amount."""
    return (debit(source, amount), credit(target, amount)) if amount else ()


def check_entry(entry: Entry) -> Refusal | None:
    """The first rule of this module that ``entry`` breaks, or None."""
    if len(entry.entry_id) != 16 or not 0 < entry.kind <= KIND_MAX:
        return Refusal.ENTRY_MALFORMED
    if not 0 <= entry.effective_ms <= TIME_MAX_MS:
        return Refusal.ENTRY_MALFORMED
    if not entry.legs:
        return None if entry.opens or entry.fact is not None else Refusal.ENTRY_EMPTY
    if len(entry.legs) == 1:
        return Refusal.ENTRY_ONE_LEGGED
    if len(entry.legs) > LEGS_MAX:
        return Refusal.ENTRY_TOO_LONG
    return _check_amounts(entry.legs)


def _check_amounts(legs: tuple[Leg, ...]) -> Refusal | None:
    sums: dict[str, int] = {}
    for leg in legs:
        if leg.amount == 0:
            return Refusal.AMOUNT_ZERO
        if not in_range(leg.amount):
            return Refusal.AMOUNT_OUT_OF_RANGE
        sums[leg.account.unit] = sums.get(leg.account.unit, 0) + leg.amount
    return Refusal.ENTRY_UNBALANCED if any(sums.values()) else None
