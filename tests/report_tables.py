"""Reports for tests of their forms: hand-made tables with all kinds of cells and charts, and hostile texts."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from clearing.model.values import Form
from clearing.reports import sources
from clearing.reports.canonical import to_json
from clearing.reports.document import Chart, Column, Drawing, Head, Measure, Row, Table
from clearing.reports.render import render
from clearing.reports.table import REPORTS
from tests.readings import HEAD, WorldReading

HOSTILE = (
    "<script>alert('x')</script>",
    '=cmd|"/c calc"!A1',
    "+1+1",
    "-2",
    "@SUM(A1)",
    '"><img src="https://evil.example/x" onerror=alert(1)>',
    "https://evil.example/",
    "</svg></style>{{ 7*7 }}{% raw %}",
    "a;b,c\nd\te",
    "$x_1^2$ ünï—cödé",
)
LONG_DIGITS = "123456789012345678901234.5678901234"


def source_text(number: int) -> str:
    return sources.joined(sources.entries([number, number + 1]), sources.figure("amounts", "row-0"))


def amounts(count: int = 12) -> Table:
    """All kinds of cells."""
    columns = (
        Column("name", "Name"),
        Column("count", "Trades", Measure.COUNT),
        Column("held", "Held", Measure.AMOUNT, "USDC"),
        Column("required", "Required", Measure.AMOUNT, "USDC"),
        Column("share", "Of all", Measure.PERCENT),
        Column("time", "Last trade", Measure.TIME),
        Column("all_time", "Of all time", Measure.AMOUNT, "USDC"),
    )
    rows = (
        Row(
            f"row-{number}",
            (
                HOSTILE[number % len(HOSTILE)] if number < 20 else f"member-{number}",
                str(number * 977),
                f"{(number * 7919) % 100_003 * 12_345}.{number % 100:02}",
                "" if number == 2 else f"-{number}.50" if number == 3 else f"{number * 31_337}.00",
                f"{number % 100}.2500",
                f"2026-03-01T12:{number % 60:02}:00.000Z",
                LONG_DIGITS if number == 1 else f"{number}.00",
            ),
            source_text(number),
        )
        for number in range(count)
    )
    charts = (
        Chart(Drawing.BARS, "Held against required", "field", ("held", "required")),
        Chart(Drawing.BARS, "Share of each", "name", ("share",)),
        Chart(Drawing.LINES, "Held over time", "time", ("held", "required")),
    )
    note = "Amounts of the settlement asset <b>in whole units</b>."
    return Table(
        id="amounts", title="Amounts by member", columns=columns, rows=rows, note=note, charts=charts
    )


def waterfall() -> Table:
    """A default that three tiers did not cover."""
    taken = (
        ("loss", "Loss after the auction", "12500000.00"),
        ("margin", "Margin of alpha-trading", "7250000.25"),
        ("contribution", "Contribution of alpha-trading", "1500000.00"),
        ("capital", "Capital of the house", "2000000.00"),
        ("members", "Contributions of the other members", "1600000.50"),
        ("assessed", "Assessments", ""),
        ("uncovered", "Covered by nobody", "149999.25"),
    )
    columns = (Column("tier", "Tier"), Column("amount", "Amount", Measure.AMOUNT, "USDC"))
    rows = [
        Row(field, (tier, amount), sources.entries([400 + number]))
        for number, (field, tier, amount) in enumerate(taken)
    ]
    chart = Chart(Drawing.WATERFALL, "Who paid", "tier", ("amount",))
    return Table(
        id="waterfall", title="Waterfall of alpha-trading", columns=columns, rows=rows, charts=(chart,)
    )


def losses(days: int = 250) -> Table:
    """What was required each day and what was lost, twice more than that."""
    columns = (
        Column("day", "Day", Measure.TIME),
        Column("required", "Required", Measure.AMOUNT, "USDC"),
        Column("lost", "Lost the next day", Measure.AMOUNT, "USDC"),
    )
    rows = (
        Row(
            f"day-{number}",
            (
                f"20{26 + number // 336:02}-{number // 28 % 12 + 1:02}-{number % 28 + 1:02}T00:00:00.000Z",
                f"{900_000 + number * number % 700 * 400}.00",
                "1650000.00" if number in {60, 171} else f"{max(0, number * 7919 % 1_000 - 400) * 1_000}.00",
            ),
            sources.attestation(number),
        )
        for number in range(days)
    )
    chart = Chart(Drawing.LOSSES, "Margin against losses", "day", ("required", "lost"))
    return Table(id="losses", title="Back-test of the house", columns=columns, rows=rows, charts=(chart,))


def disclosure() -> Table:
    """Items of which some come from outside."""
    columns = (Column("item", "Item"), Column("value", "Value", Measure.AMOUNT), Column("unit", "Unit"))
    rows = [
        Row("4.1.1", ("Own capital before the members’", "2000000.00", "USDC"), sources.entries([17])),
        Row("4.1.9", ("Other commitments", "", "USDC"), sources.outside("agreements of the operator")),
        Row(
            "15.2",
            ("Operating expenses", "", "USDC"),
            sources.about("value", sources.outside("accounts of the operator")),
        ),
    ]
    return Table(id="disclosure", title="Quantitative disclosure", columns=columns, rows=rows)


def without_figures() -> Table:
    """A table whose chart has nothing to draw."""
    columns = (Column("day", "Day", Measure.TIME), Column("value", "Value", Measure.AMOUNT))
    rows = [Row("one", ("", ""), sources.outside("somebody"))]
    chart = Chart(Drawing.LINES, "Coverage", "day", ("value",))
    return Table(id="void", title="Without figures", columns=columns, rows=rows, charts=(chart,))


def all_kinds() -> list[Table]:
    return [amounts(), waterfall(), losses(), disclosure(), without_figures()]


def written(path: Path, tables: Iterable[Table], head: Head = HEAD) -> tuple[Path, str]:
    """The JSON of a report in a file, and its digest."""
    data = b"".join(to_json(head, tables))
    path.write_bytes(data)
    return path, hashlib.sha256(data).hexdigest()


def made(form: Form, folder: Path, tables: Sequence[Table] | Iterable[Table], head: Head = HEAD) -> bytes:
    """A report of these tables in a form, by way of its JSON."""
    return rendered(form, *written(folder / "report.json", tables, head))


def rendered(form: Form, path: Path, sha256: str) -> bytes:
    """The report whose JSON is in a file, in another form."""
    with path.open("rb") as source:
        return b"".join(render(form, source, sha256))


def of_world(report: str, read_from: WorldReading) -> tuple[Head, Iterable[Table]]:
    """A report of the table of reports, with a head that fits."""
    known = REPORTS[report]
    assert known.build is not None
    head = replace(
        HEAD,
        report=report,
        title=known.title,
        rule=known.rule,
        house="clearing-house",
        as_of=read_from.as_of,
        as_of_ms=1_772_366_400_000,
        origin="clearing.example/journal",
        root=hashlib.sha256(b"root").digest(),
        parameters_digest=hashlib.sha256(b"parameters").digest(),
        given=read_from.given,
    )
    return head, known.build(read_from)
