"""Who owns an account, wherever it is: limits and charges on size are of a participant, not of its accounts."""

from functools import lru_cache

from immutables import Map

from clearing.model.house import ordered
from clearing.model.ids import AccountKey, ParticipantId
from clearing.model.values import AccountKind, ClearingAccount

Owner = tuple[AccountKind, ParticipantId]


def owner_of(account: ClearingAccount) -> Owner:
    """A participant, and for its house account a member."""
    return account.kind, account.participant


@lru_cache(maxsize=4)
def accounts_by_owner(accounts: Map[AccountKey, ClearingAccount]) -> dict[Owner, tuple[AccountKey, ...]]:
    """The accounts of each owner; kept, for accounts are opened far more seldom than they are measured."""
    owned: dict[Owner, list[AccountKey]] = {}
    for account in ordered(accounts):
        owned.setdefault(owner_of(account), []).append(account.key)
    return {owner: tuple(keys) for owner, keys in owned.items()}
