"""Accounts: a path and a unit, a normal side, and at most one limit.

The id that the journal writes is derived from path and unit alone, so anyone who knows the path
can find its legs in the public log, and nobody else can (attestation.md §2).
"""

import hashlib
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

AccountId = NewType("AccountId", bytes)

PATH_LENGTH_MAX = 200
PATH_PATTERN = re.compile(r"[a-z0-9_][a-z0-9_.-]*(/[a-z0-9_][a-z0-9_.-]*)*", re.ASCII)
UNIT_PATTERN = re.compile(r"[A-Z0-9][A-Z0-9._-]{0,63}", re.ASCII)


class Side(Enum):
    """The side on which the account's balance normally stands, and so is written positive."""

    DEBIT = "debit"
    CREDIT = "credit"


class Limit(Enum):
    """What the balance may never do."""

    NONE = "none"
    DEBITS_MUST_NOT_EXCEED_CREDITS = "debits_must_not_exceed_credits"
    CREDITS_MUST_NOT_EXCEED_DEBITS = "credits_must_not_exceed_debits"

    def allows(self, debit_balance: int) -> bool:
        """Whether a balance of debits − credits = ``debit_balance`` keeps the limit."""
        if self is Limit.DEBITS_MUST_NOT_EXCEED_CREDITS:
            return debit_balance <= 0
        if self is Limit.CREDITS_MUST_NOT_EXCEED_DEBITS:
            return debit_balance >= 0
        return True


def account_id(path: str, unit: str) -> AccountId:
    """First 16 bytes of SHA-256(path ‖ 0A ‖ unit) (attestation.md §2)."""
    return AccountId(hashlib.sha256(f"{path}\n{unit}".encode("ascii")).digest()[:16])


@dataclass(frozen=True, slots=True)
class Account:
    """One account of the book. Equal accounts have equal path, unit, side and limit."""

    path: str
    unit: str
    side: Side = Side.CREDIT
    limit: Limit = Limit.NONE
    id: AccountId = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        well_formed = (
            len(self.path) <= PATH_LENGTH_MAX
            and PATH_PATTERN.fullmatch(self.path) is not None
            and UNIT_PATTERN.fullmatch(self.unit) is not None
        )
        if not well_formed:
            raise ValueError(f"not an account path and unit: {self.path!r} {self.unit!r}")
        object.__setattr__(self, "id", account_id(self.path, self.unit))

    def on_normal_side(self, debit_balance: int) -> int:
        """The balance as a reader expects it: positive on the normal side."""
        return debit_balance if self.side is Side.DEBIT else -debit_balance
