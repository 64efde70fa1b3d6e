"""How reports write figures. Amounts in whole units, from the units of the house (``model/units.py``)."""

from clearing.attest.statement import format_time
from clearing.model import decimal, units
from clearing.model.house import House
from clearing.model.ids import AssetId
from clearing.reports.document import Column, Measure
from ledger.account import Account


def in_settlement(house: House, name: str, title: str) -> Column:
    """The column of an amount of the settlement asset."""
    return Column(name, title, Measure.AMOUNT, house.settlement)


def money(house: House, amount_minor: int) -> str:
    """An amount of the settlement asset."""
    return units.of_settlement(house).render(amount_minor)


def asset_amount(house: House, asset: AssetId, amount_minor: int) -> str:
    """An amount of an asset."""
    return units.of_asset(house.assets[asset]).render(amount_minor)


def balance(house: House, account: Account, amount: int) -> str:
    """An amount, or lots, on an account of the ledger."""
    return units.of_account(account.path, account.unit, house).render(amount)


def percent(part: int, whole: int) -> str:
    """``part`` of ``whole`` in percent with four decimals, towards zero; empty if there is no whole."""
    if not whole:
        return ""
    negative = (part < 0) != (whole < 0)
    steps = abs(part) * 1_000_000 // abs(whole)
    return decimal.render(-steps if negative else steps, 4)


def basis_points(steps: int) -> str:
    """Basis points as percent."""
    return decimal.render(steps, 2)


def time(time_ms: int) -> str:
    """A time, RFC 3339 in UTC."""
    return format_time(time_ms)
