"""Entries: what the book records, money or not.

Rules kept here, in the order in which they are checked (the first that fails is the answer):

1. the id has 16 bytes and is not one of the ledger's own (an EXPIRE alone has one of those); kind, time and
   step fit their fields
2. an entry says something: legs, accounts that it opens, or a fact
3. one leg alone moves nothing: none, or two and more, at most ``LEGS_MAX``
4. no leg is zero, each fits ±(2^127 − 1)
5. per unit, debits equal credits

The checks against the book follow in ``book``, those of a batch in ``batch``.
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
ENTRY_ID_BYTES = 16
OWN_ID = b"\xff" * 8
"""Ids of entries that nobody sent begin with this; the entry's sequence follows, in 8 bytes."""


class Refusal(Enum):
    """Why an entry was not posted; the value is stable and public."""

    BATCH_TOO_LONG = "BATCH_TOO_LONG"
    CHAIN_OPEN = "CHAIN_OPEN"
    LINKED_REFUSED = "LINKED_REFUSED"
    ENTRY_ID_REUSED = "ENTRY_ID_REUSED"
    ENTRY_MALFORMED = "ENTRY_MALFORMED"
    ENTRY_EMPTY = "ENTRY_EMPTY"
    ENTRY_ONE_LEGGED = "ENTRY_ONE_LEGGED"
    ENTRY_TOO_LONG = "ENTRY_TOO_LONG"
    AMOUNT_ZERO = "AMOUNT_ZERO"
    AMOUNT_NEGATIVE = "AMOUNT_NEGATIVE"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    ENTRY_UNBALANCED = "ENTRY_UNBALANCED"
    ACCOUNT_EXISTS = "ACCOUNT_EXISTS"
    ACCOUNT_UNKNOWN = "ACCOUNT_UNKNOWN"
    ACCOUNT_DIFFERS = "ACCOUNT_DIFFERS"
    ACCOUNT_RESERVED = "ACCOUNT_RESERVED"
    HOLD_NOT_OPEN = "HOLD_NOT_OPEN"
    HOLD_EXCEEDED = "HOLD_EXCEEDED"
    REVERSED_UNKNOWN = "REVERSED_UNKNOWN"
    NOT_REVERSIBLE = "NOT_REVERSIBLE"
    ALREADY_REVERSED = "ALREADY_REVERSED"
    BALANCE_OUT_OF_RANGE = "BALANCE_OUT_OF_RANGE"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Leg:
    """One side of a movement. ``amount`` counts smallest units; debit is positive."""

    account: Account
    amount: int


class Verb(Enum):
    """What an entry does besides moving its legs."""

    HOLD = "hold"
    POST = "post"
    RELEASE = "release"
    EXPIRE = "expire"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class Step:
    """An entry that stands in relation to another one.

    ``names`` are 16 bytes: the account that a HOLD is to pay, the id of the entry that held what is now posted
    or given back, or the id of the entry that is reversed. ``expires_ms`` is the UTC time from which a HOLD is
    given back by itself, 0 for never.
    """

    verb: Verb
    names: bytes
    expires_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal.

    ``kind`` is the caller's code for what happened; ``effective_ms`` is UTC milliseconds;
    ``opens`` lists accounts that exist from this entry on; ``step`` is what it does to another entry;
    ``fact`` is what changed besides money. Request, actor, references, step and fact are private metadata:
    the public leaf carries only their hash.
    """

    entry_id: bytes
    kind: int
    effective_ms: int
    legs: tuple[Leg, ...] = ()
    opens: tuple[Account, ...] = ()
    step: Step | None = None
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
    if not _has_apt_id(entry) or not 0 < entry.kind <= KIND_MAX:
        return Refusal.ENTRY_MALFORMED
    if not 0 <= entry.effective_ms <= TIME_MAX_MS or not _is_formed(entry.step):
        return Refusal.ENTRY_MALFORMED
    if not entry.legs:
        return None if entry.opens or entry.fact is not None else Refusal.ENTRY_EMPTY
    if len(entry.legs) == 1:
        return Refusal.ENTRY_ONE_LEGGED
    if len(entry.legs) > LEGS_MAX:
        return Refusal.ENTRY_TOO_LONG
    return _check_amounts(entry.legs)


def is_callers_id(entry_id: bytes) -> bool:
    """Whether a caller may give an entry this id."""
    return len(entry_id) == ENTRY_ID_BYTES and not entry_id.startswith(OWN_ID)


def _has_apt_id(entry: Entry) -> bool:
    if entry.step is not None and entry.step.verb is Verb.EXPIRE:
        return len(entry.entry_id) == ENTRY_ID_BYTES and entry.entry_id.startswith(OWN_ID)
    return is_callers_id(entry.entry_id)


def _is_formed(step: Step | None) -> bool:
    if step is None:
        return True
    is_dated = 0 <= step.expires_ms <= TIME_MAX_MS and (step.verb is Verb.HOLD or not step.expires_ms)
    return len(step.names) == ENTRY_ID_BYTES and is_dated


def _check_amounts(legs: tuple[Leg, ...]) -> Refusal | None:
    amounts = [leg.amount for leg in legs]
    if 0 in amounts:
        return Refusal.AMOUNT_ZERO
    if not (in_range(min(amounts)) and in_range(max(amounts))):
        return Refusal.AMOUNT_OUT_OF_RANGE
    sums: dict[str, int] = {}
    for leg in legs:
        unit = leg.account.unit
        sums[unit] = sums.get(unit, 0) + leg.amount
    return Refusal.ENTRY_UNBALANCED if any(sums.values()) else None
