"""How often losses were larger than the margin of the model, month by month, shaped as the ISO 20022 message
auth.066.001.01. A window (``windows``) is of the month of its first day. A report of some members is of their sets.
"""

from collections.abc import Iterator

from clearing.model import decimal
from clearing.model.house import House
from clearing.model.ids import SetId
from clearing.reports import figures, inputs, sources
from clearing.reports.backtest import Tally, set_inputs
from clearing.reports.document import Measure, Row, Table
from clearing.reports.iso20022 import (
    Missing,
    Scheme,
    amount,
    block,
    element,
    identification,
    named,
    not_computed,
)
from clearing.reports.reading import Reading
from clearing.reports.windows import MARGINS, days, windows

ROOT = "CCPBckTstgRsltRpt"
MARGIN = MARGINS.index("model")
"""Exceptions are counted against the model's amount, without what add-ons and the requirement factor bring."""
FRACTION_DECIMALS = 10
"""Those of a BaseOneRate."""
MONTH_LETTERS = len("2026-01")
MISSING = (Missing("MnthlyRslt/LrgstXcptnId/Desc", "a full name of a netting set: accounts have none"),)


def build(reading: Reading) -> Iterator[Table]:
    """The months, and what is not filled."""
    house = reading.house
    yield Table(id="inputs", title="What margin is made of", columns=inputs.COLUMNS, rows=set_inputs())
    yield block(
        ROOT,
        "MnthlyRslt",
        (
            element("NbOfObsrvtns", Measure.COUNT),
            element("NbOfXcptns", Measure.COUNT),
            element("Cvrg"),
            amount(house, "LrgstXcptn"),
            amount(house, "AvrgXcptn"),
            *identification("LrgstXcptnId"),
        ),
        _months(reading, house),
        note="The field of a row is its month, of which the message has no element; one without observations has no "
        "row. Cvrg is rounded down, AvrgXcptn up. Where there is no exception, nothing is the largest and the average.",
    )
    yield not_computed(ROOT, MISSING)


def _months(reading: Reading, house: House) -> Iterator[Row]:
    month, tally, closed = "", Tally(), list[int]()
    for day in days(reading):
        of_day = day.start.date[:MONTH_LETTERS]
        if of_day != month:
            yield from _row(house, month, tally, closed)
            month, tally, closed = of_day, Tally(), []
        if day.has_windows:
            closed += [day.start.sequence, day.end.sequence]
        for window in windows(reading, day):
            tally.add(window.netting_set, window.margins_minor[MARGIN], window.loss_minor)
    yield from _row(house, month, tally, closed)


def _row(house: House, month: str, tally: Tally, closed: list[int]) -> Iterator[Row]:
    if not tally.windows:
        return
    covered = (tally.windows - tally.exceptions) * 10**FRACTION_DECIMALS // tally.windows
    worst = named(house, SetId(tally.largest_in), Scheme.MARGIN) if tally.exceptions else ("", "", "")
    cells = (
        str(tally.windows),
        str(tally.exceptions),
        decimal.render(covered, FRACTION_DECIMALS),
        figures.money(house, tally.largest_minor),
        figures.money(house, tally.average_minor),
        *worst,
    )
    yield Row(month, cells, sources.joined(sources.entries(closed), sources.figure("inputs")))
