"""How tables look: one look for all of them."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from clearctl.amounts import account_name, grouped, is_zero, own_name, when, word
from clearctl.asked import harmless_text


def harmless(shown: RenderableType) -> RenderableType:
    """What is shown, text without what a terminal would obey."""
    return harmless_text(shown) if isinstance(shown, str) else shown


class Column(NamedTuple):
    """A column: its head, and what a row shows in it. Numbers stand at the right."""

    head: str
    cell: Callable[[Any], str | Text]
    is_number: bool = False

    def of(self, part: Callable[[Any], Any]) -> "Column":
        """The same column of rows that hold what it shows as a ``part``."""
        cell = self.cell
        return self._replace(cell=lambda row: cell(part(row)))


def text(head: str, field: str = "") -> Column:
    """A text field as it is."""
    return Column(head, lambda row: str(getattr(row, field or head)))


def name(head: str, field: str = "") -> Column:
    """The last part of the resource name in a field."""
    return Column(head, lambda row: own_name(getattr(row, field or head)))


def account(head: str, field: str = "") -> Column:
    """The account or member in a field, short."""
    return Column(head, lambda row: account_name(getattr(row, field or head)))


def amount(head: str, field: str = "") -> Column:
    """A decimal number, its thousands separated."""
    return Column(head, lambda row: _amount(getattr(row, field or head)), is_number=True)


def number(head: str, field: str = "") -> Column:
    """A whole number."""
    return Column(head, lambda row: f"{getattr(row, field or head):,}", is_number=True)


def time(head: str, field: str = "") -> Column:
    """A time, or nothing."""
    return Column(head, lambda row: when(getattr(row, field or f"{head}_time")))


def enum(head: str, field: str = "") -> Column:
    """An enum's value as a word."""
    return Column(head, lambda row: word(row, field or head))


def listing(title: str, rows: Iterable[Any], columns: Iterable[Column]) -> Table:
    """A table of ``rows``."""
    shown = tuple(columns)
    table = Table(
        title=harmless_text(title), title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for place, column in enumerate(shown):
        table.add_column(
            column.head,
            header_style="dim",
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number or place == 0,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(harmless(column.cell(row)) for column in shown))
    return table


def listings(title: str, rows: Iterable[Any], columns: Iterable[Column]) -> Iterable[Table]:
    """The table, if there are rows."""
    table = listing(title, rows, columns)
    return [table] if table.row_count else []


def facts(rows: Iterable[tuple[str, RenderableType]]) -> Table:
    """What is to be said of one thing, a line each."""
    about = Table.grid(padding=(0, 2))
    about.add_column(no_wrap=True, style="dim")
    about.add_column(overflow="fold")
    for label, value in rows:
        about.add_row(harmless(label), harmless(value))
    return about


def tiers_and_payers(found: Any, unit: str) -> list[Table]:
    """Who pays, of a default or a preview of one."""
    tiers = listings(f"Tiers, in {unit}", found.tiers, map(_dim_if_unpaid, _TIERS))
    payers = (Column("tier", lambda row: str(row.tier)), account("payer"), amount("amount"))
    return [*tiers, *listings(f"Payers, in {unit}", found.draws, payers)]


_TIERS = (
    Column("", lambda row: str(row.tier)),
    text("tier", "title"),
    amount("could pay", "available"),
    amount("pays", "paid"),
    amount("passes on", "passed_on"),
)


def _dim_if_unpaid(column: Column) -> Column:
    def cell(row: Any) -> Text:
        return Text(str(column.cell(row)), style="dim" if is_zero(row.paid) else "")

    return column._replace(cell=cell)


def _amount(value: str) -> str:
    return grouped(value) if value else ""
