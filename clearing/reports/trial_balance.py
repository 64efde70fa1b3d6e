"""Every account of the ledger with its balance on the side where it stands. Per unit both sides have the same sum."""

from collections.abc import Iterator

from clearing.model import units
from clearing.model.house import House
from clearing.reports import figures, sources
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.reading import Reading

UNITS = (
    Column("debits", "Sum of debit balances", Measure.AMOUNT),
    Column("credits", "Sum of credit balances", Measure.AMOUNT),
)
ACCOUNTS = (
    Column("account", "Account"),
    Column("unit", "Unit"),
    Column("debit", "Debit balance", Measure.AMOUNT),
    Column("credit", "Credit balance", Measure.AMOUNT),
)


def build(reading: Reading) -> Iterator[Table]:
    """The sums of each unit, and the accounts by path; the field of an account is ``PATH:UNIT``."""
    house = reading.house
    yield Table(id="units", title="Totals by unit", columns=UNITS, rows=_units(house))
    yield Table(id="accounts", title="Accounts", columns=ACCOUNTS, rows=_accounts(house))


def _units(house: House) -> Iterator[Row]:
    for unit, (debits, credits) in sorted(house.book.trial_balance().items()):
        steps = units.called(unit, house)
        yield Row(unit, (steps.render(debits), steps.render(credits)), sources.figure("accounts"))


def _accounts(house: House) -> Iterator[Row]:
    known = sorted(house.book.debit_balances(), key=lambda one: (one[0].path, one[0].unit))
    for account, amount in known:
        text = figures.balance(house, account, abs(amount))
        sides = (text, "") if amount >= 0 else ("", text)
        source = sources.account(account.path, account.unit)
        yield Row(f"{account.path}:{account.unit}", (account.path, account.unit, *sides), source)
