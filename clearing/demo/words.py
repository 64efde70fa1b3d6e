"""How the demonstration writes figures: amounts, shares, tables."""

from collections.abc import Iterable

from rich import box
from rich.table import Table

from clearing.demo.driver import SETTLEMENT
from clearing.model.decimal import render


def whole(amount_minor: int) -> str:
    """An amount of the settlement asset in whole units, exactly."""
    return render(amount_minor, SETTLEMENT.decimals)


def usd(amount_minor: int) -> str:
    """An amount for a reader: thousands separated, cents cut off."""
    units, rest = divmod(abs(amount_minor), 10**SETTLEMENT.decimals)
    return f"{'-' * (amount_minor < 0)}{units:,}.{rest // 10 ** (SETTLEMENT.decimals - 2):02d}"


def ratio(part: int, of: int) -> str:
    """A share with four decimals, rounded down."""
    return render(part * 10_000 // of, 4) if of else "0.0000"


def percent(part: int, of: int) -> str:
    """A share for a reader, in percent with two decimals, rounded down."""
    return f"{render(part * 10_000 // of, 2)} %" if of else "–"


def table_of(title: str, left: Iterable[str], right: Iterable[str]) -> Table:
    """Words to the left, figures to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap="\n" not in name)
    return table
