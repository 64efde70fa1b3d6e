"""The public quantitative disclosure of CPMI-IOSCO (rulebook §14): every item of the standard, one after another.

What the ledger, the parameters or the engine can say is computed; for anything else the input that is missing is
named. The house has one clearing service, one default fund and one settlement asset, so that no item is divided by
these. Nothing is said of one member.
"""

from collections.abc import Iterator

from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS
from clearing.reports import figures, sources
from clearing.reports.disclosure.gather import gathered
from clearing.reports.disclosure.items import AMOUNT, ITEMS, Item
from clearing.reports.disclosure.measures import MEASURES
from clearing.reports.disclosure.quarter import Quarter, Span
from clearing.reports.disclosure.values import Value
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.reading import Reading

COMPUTED, NO_VALUE, NOT_COMPUTED = "computed", "no value", "not computed by this system"
WINDOWS = (
    Column("from", "From", Measure.TIME),
    Column("until", "Until", Measure.TIME),
    Column("first", "First entry", Measure.COUNT),
    Column("last", "Last entry", Measure.COUNT),
    Column("days", "Days that ended with a closed cycle", Measure.COUNT),
    Column("attested", "Days with an attestation", Measure.COUNT),
)
COLUMNS = (
    Column("principle", "Principle"),
    Column("title", "Item"),
    Column("breakdown", "Of it"),
    Column("value", "Value"),
    Column("unit", "Unit"),
    Column("window", "Window"),
    Column("frequency", "Frequency"),
    Column("status", "Status"),
    Column("missing", "What is missing"),
)
COVERAGE = (
    Column("day", "Day"),
    Column("cover1", "Stress loss of one member", Measure.AMOUNT),
    Column("cover2", "Stress loss of two members", Measure.AMOUNT),
    Column("prefunded", "Prefunded resources", Measure.AMOUNT),
    Column("required", "Initial margin required", Measure.AMOUNT),
    Column("held", "Initial margin held", Measure.AMOUNT),
)
CHARTS = (
    Chart(
        Drawing.LINES,
        "Prefunded resources and stress losses over margin",
        "day",
        ("prefunded", "cover2", "cover1"),
    ),
    Chart(Drawing.LINES, "Initial margin", "day", ("held", "required")),
)
NOTE = (
    "One clearing service, one default fund, one settlement asset. Peaks and means over days are of what stood at the "
    "end of each day: after the last closed cycle of the day (UTC), for stress what was attested last on the day. "
    "Every day is a business day. Means are rounded up, percentages towards zero. 4.1 and 4.3 count the contributions "
    "of members that bear losses, 16.1.2 those of all members; 16.1.1 counts the cash of all accounts, also of "
    "members in default. 4.4.6 and 4.4.10 look at the ends of days and, for the peak, at each moment at which a "
    "default was declared. Variation margin and the payment of 7.3.4 are what accounts, or members with affiliates, "
    "paid on balance in a day. 4.3 counts the settlement asset as cash. 6.1.1: clients are margined gross. 6.2.15 "
    "counts all that accounts hold whose margin is measured, also beyond what is required; those in default are not. "
    "6.5 holds what a portfolio would have lost from the end of a day to that of the next, untouched, against its "
    "initial margin (requirement) and against what the model promises to suffice (maintenance); it and 5.3 count a "
    "day once a cycle of a later day is closed. 13.1.2 has the tiers of rulebook §11. 23.1 counts what members "
    "traded, not what was assigned or auctioned. The notional of an option is at its strike. 17: what counts as a "
    "failure are outages, times without prices or with everything halted, as the journal has them; the journal does "
    "not know of a stop that left prices younger than the rules allow."
)


def build(reading: Reading) -> Iterator[Table]:
    """The window, the items and what was attested; the field of an item is its reference number, and its part after a
    slash.
    """
    quarter = gathered(reading) if reading.as_of and reading.house.charter is not None else None
    yield Table(id="window", title="What is disclosed", columns=WINDOWS, rows=_windows(quarter))
    yield Table(id="items", title="Items", columns=COLUMNS, rows=_rows(quarter), note=NOTE)
    yield Table(
        id="coverage",
        title="What was attested last on each day of the 12 months",
        columns=COVERAGE,
        rows=_coverage(quarter),
        charts=CHARTS,
    )


def _windows(quarter: Quarter | None) -> Iterator[Row]:
    if quarter is not None:
        yield _window(quarter, "quarter", quarter.quarter)
        yield _window(quarter, "12_months", quarter.year)


def _window(quarter: Quarter, name: str, span: Span) -> Row:
    cells = (
        figures.time(span.from_ms),
        figures.time(span.until_ms),
        str(span.first),
        str(span.last),
        str(len(quarter.ends_in(span))),
        str(sum(span.holds(one.day) for one in quarter.stated)),
    )
    counted = (sources.kind(one, span.first, span.last) for one in (Kind.CYCLE_CLOSED, Kind.ATTESTED))
    return Row(name, cells, sources.joined(sources.entries([span.first, span.last]), *counted))


def _coverage(quarter: Quarter | None) -> Iterator[Row]:
    if quarter is None:
        return
    for stated in quarter.stated:
        stress, resources = stated.statement.stress, stated.statement.resources
        amounts = (
            stress.cover1_minor,
            stress.cover2_minor,
            stress.prefunded_minor,
            resources.margin_required_minor,
            resources.margin_held_minor,
        )
        day = figures.time(stated.day * DAY_MS)[:10]
        source = sources.joined(
            sources.entries([stated.sequence]), sources.attestation(stated.statement.sequence)
        )
        yield Row(day, (day, *(figures.money(quarter.house, one) for one in amounts)), source)


def _rows(quarter: Quarter | None) -> Iterator[Row]:
    for item in ITEMS:
        if item.missing:
            outside = Value("", sources.outside(item.missing), reason=item.missing)
            yield _row(item, quarter, outside, NOT_COMPUTED)
        elif quarter is None:
            yield _row(item, quarter, Value("", "", reason="the house has not been founded"), NO_VALUE)
        else:
            for value in MEASURES[item.ref](quarter):
                yield _row(item, quarter, value, COMPUTED if value.text else NO_VALUE)


def _row(item: Item, quarter: Quarter | None, value: Value, status: str) -> Row:
    unit = item.unit if quarter is None or item.unit != AMOUNT else quarter.house.settlement
    cells = (
        item.principle,
        item.title,
        ", ".join(value.parts),
        value.text,
        unit,
        item.window,
        item.frequency,
        status,
        value.reason,
    )
    return Row("/".join((item.ref, *value.parts)), cells, value.source)
