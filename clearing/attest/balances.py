"""What the house owes its members: the accounts that the liabilities of an attestation count (attestation.md §6).

Rules kept here (rulebook §3; docs/adr/0023): one table says of each line of the chart whether it is owed to a member,
and to which. All accounts of the book are gone through, so what is counted is the trial balance's. An account counts
with what it is owed, never less than nothing, and has a leaf if that is something. What is overdrawn lowers nobody's
leaf: it is stated beside the totals, as receivables.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from clearing.attest.liabilities import Context, Owed, Sums, SumTree, grow, member_secret
from clearing.attest.statement import Liabilities
from clearing.chart import Line, line_of
from clearing.model.house import House
from clearing.model.ids import AccountKey, MemberId, member_of
from ledger.account import Account
from ledger.require import require

Owner = Callable[[House, str], MemberId]


def _of_account(_house: House, key: str) -> MemberId:
    return member_of(AccountKey(key))


def _of_member(_house: House, member: str) -> MemberId:
    return MemberId(member)


def _of_withdrawal(house: House, withdrawal: str) -> MemberId:
    """The member to whose account it goes back if it is not paid."""
    return member_of(house.holder(house.withdrawals[withdrawal].account))


OWED_TO: Mapping[Line, Owner | None] = {
    Line.CASH: _of_account,
    Line.COLLATERAL: _of_account,
    Line.POOL: _of_member,
    Line.WITHDRAWAL: _of_withdrawal,
    # Claims are repaid only from what is recovered, if anything is (rulebook §3).
    Line.ACCOUNT_CLAIM: None,
    Line.MEMBER_CLAIM: None,
    Line.HOUSE_CLAIM: None,
    Line.CLAIMS: None,
    Line.RECOVERIES: None,
    # Lots are no money: what they are worth is settled into cash each cycle, or is the net value of options.
    Line.POSITION: None,
    Line.NOVATION: None,
    # What members owe, and what nobody pays.
    Line.ASSESSMENT: None,
    Line.LOSS: None,
    Line.UNCOVERED: None,
    # What the house has, and its own money.
    Line.CUSTODY: None,
    Line.CAPITAL: None,
    Line.SKIN_IN_THE_GAME: None,
    Line.SECOND_TRANCHE: None,
    Line.INSURANCE_FUND: None,
    Line.FEES: None,
    Line.NON_DEFAULT_LOSSES: None,
}
"""Whose each line of the chart is, if the house owes it; None if it is no liability."""


def units_of(house: House) -> tuple[str, ...]:
    """The units that liabilities are counted in: every asset, ascending."""
    return tuple(sorted(house.assets))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What members are owed: amounts by path and unit, whose each path is, and by unit what is overdrawn."""

    owed: Mapping[str, Mapping[str, int]]
    owners: Mapping[str, MemberId]
    receivables: Mapping[str, int]


def counted(house: House) -> Counted:
    """What the house owes its members, in smallest units."""
    owed: dict[str, dict[str, int]] = {}
    owners: dict[str, MemberId] = {}
    receivables = dict.fromkeys(units_of(house), 0)
    for account, balance, owner in _balances(house):
        if balance > 0:
            owed.setdefault(account.path, {})[account.unit] = balance
            owners[account.path] = owner
        else:
            receivables[account.unit] -= balance
    return Counted(owed=owed, owners=owners, receivables=receivables)


def stated(tree: Sums, receivables: Mapping[str, int]) -> Liabilities:
    """What an attestation says of a tree."""
    return Liabilities(
        root=tree.root, leaf_count=tree.count, totals_minor=tree.totals, receivables_minor=receivables
    )


def liabilities_of(house: House, context: Context, blinding: bytes) -> tuple[Liabilities, SumTree]:
    """What the house, as the journal of ``context`` leaves it, owes its members, and the tree that proves it.

    ``blinding`` is the house's secret of 32 bytes. Raises ``LiabilityRefused`` for all reasons of
    :func:`clearing.attest.liabilities.grow`, and ``SECRET``.
    """
    require(house.size == context.journal.size, "what is counted is the state that is attested")
    require(context.units == units_of(house), "what is counted is every asset")
    found = counted(house)
    secrets = {member: member_secret(blinding, member) for member in sorted(set(found.owners.values()))}
    tree = grow(
        context,
        (
            Owed(account=path, secret=secrets[found.owners[path]], amounts=found.owed[path])
            for path in sorted(found.owed)
        ),
    )
    return stated(tree, found.receivables), tree


def _balances(house: House) -> Iterator[tuple[Account, int, MemberId]]:
    """The accounts of the book that are owed to a member, with credits − debits."""
    book = house.book
    for account, debit_balance in zip(book.accounts, book.balances, strict=True):
        line, name = line_of(account.path)
        owner = OWED_TO[line]
        if owner is not None and debit_balance:
            yield account, -debit_balance, owner(house, name)
