"""What moved one account: the opening balance, every leg with the balance after it, the closing balance.

An account that was not used yet has no lines.
"""

from collections.abc import Iterator

from clearing.model.kinds import Kind
from clearing.reports import figures, sources
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.reading import Moved, Reading
from ledger.account import Account, account_id

ACCOUNT, UNIT, FROM = "ledger_account", "unit", "from_sequence"
OPENING, CLOSING = "opening balance", "closing balance"
COLUMNS = (
    Column("entry", "Entry", Measure.COUNT),
    Column("time", "Time", Measure.TIME),
    Column("what", "What"),
    Column("amount", "Amount", Measure.AMOUNT),
    Column("balance", "Balance", Measure.AMOUNT),
)
CHARTS = (Chart(Drawing.LINES, "Balance after each leg", "time", ("balance",)),)


def build(reading: Reading) -> Iterator[Table]:
    """The lines, on the normal side of the account; the field of a leg is ``ENTRY.LEG``."""
    path, unit = reading.given[ACCOUNT], reading.given[UNIT]
    yield Table(
        id="lines", title=f"{path} {unit}", columns=COLUMNS, rows=_lines(reading, path, unit), charts=CHARTS
    )


def _lines(reading: Reading, path: str, unit: str) -> Iterator[Row]:
    account = reading.house.book.find(account_id(path, unit))
    if account is None:
        return  # not used yet
    start, source = int(reading.given.get(FROM, "0")), sources.account(path, unit)
    opening, is_open = 0, False
    for moved in reading.moves(account):
        if moved.sequence < start:
            opening = moved.balance
            continue
        if not is_open:
            is_open = True
            yield _total(reading, account, OPENING, opening, source)
        opening = moved.balance
        yield _line(reading, account, moved)
    if not is_open:
        yield _total(reading, account, OPENING, opening, source)
    yield _total(reading, account, CLOSING, opening, source)


def _line(reading: Reading, account: Account, moved: Moved) -> Row:
    cells = (
        str(moved.sequence),
        figures.time(moved.effective_ms),
        Kind(moved.kind).name,
        figures.balance(reading.house, account, account.on_normal_side(moved.amount)),
        figures.balance(reading.house, account, account.on_normal_side(moved.balance)),
    )
    return Row(f"{moved.sequence}.{moved.leg}", cells, sources.entries([moved.sequence]))


def _total(reading: Reading, account: Account, what: str, balance: int, source: str) -> Row:
    text = figures.balance(reading.house, account, account.on_normal_side(balance))
    return Row(what.partition(" ")[0], ("", "", what, "", text), source)
