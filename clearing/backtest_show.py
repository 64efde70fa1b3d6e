"""A validation for who reads it in a terminal: what was read, what was found, and what becomes of the promises."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clearing.backtest import Stepped
from clearing.margin.backtest.report import OUTRIGHT, PROMISING, Report, Verdict
from clearing.margin.backtest.results import TESTED, BookResult

SHOWN_FINDINGS = 12


@contextmanager
def progress() -> Iterator[Stepped]:
    """A bar on stderr for each walk."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def stepped(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done)

        yield stepped


def show(report: Report, console: Console) -> None:
    """The whole report, the verdicts last: they stand above the prompt."""
    _data(report, console)
    _portfolios(report, console)
    _books(report, console)
    if report.comparisons:
        _comparisons(report, console)
    if report.crash_days:
        _crash_days(report, console)
    _verdicts(report, console)


def _data(report: Report, console: Console) -> None:
    stable = [one.asset for one in report.series if one.is_stable]
    underlyings = [f"{one.asset} {one.first_day}" for one in report.series if not one.is_stable]
    console.print(f"[bold]{report.folder}[/bold]: windows begin {report.first_day} to {report.last_day}")
    console.print(f"underlyings and their first day: {', '.join(underlyings)}")
    if stable:
        console.print(f"stablecoins, kept apart: {', '.join(stable)}")
    if report.missing:
        console.print(f"not there, left out: {', '.join(report.missing)}")
    for one in report.findings[:SHOWN_FINDINGS]:
        console.print(f"{one.file}: {one.subject} {one.kind} × {one.count}, {one.done}")
    if len(report.findings) > SHOWN_FINDINGS:
        console.print(f"and {len(report.findings) - SHOWN_FINDINGS} findings more (--output json has all)")


def _portfolios(report: Report, console: Console) -> None:
    table = Table(title="By kind of book", caption="bootstrap: moving blocks of 20 days, 95 %")
    for column in ("model", "books", "days", "windows", "exceptions", "coverage", "worst book", "bootstrap"):
        table.add_column(column)
    for column in ("Kupiec no", "independent", "of gross", "peak/trough", "rise 1/5/20 d", "at lows"):
        table.add_column(column, justify="right")
    for one in report.portfolios:
        rises = (one.median_rise_1_day, one.median_rise_5_days, one.median_rise_20_days)
        table.add_row(
            one.model,
            f"{one.portfolio} {one.books}",
            str(one.horizon_days),
            f"{one.observations:,}",
            f"{one.exceptions:,}",
            _share(one.coverage),
            "–" if one.worst_book is None else f"{_share(one.worst_coverage)} {one.worst_book}",
            "–"
            if one.worst_book is None
            else f"{_share(one.worst_coverage_low)}–{_share(one.worst_coverage_high)}",
            f"{len(one.kupiec_rejected)}/{one.kupiec_tested}",
            f"{one.independence_kept}/{one.independence_testable}",
            _share(one.mean_requirement, 1),
            "–" if one.median_peak_to_trough is None else f"{one.median_peak_to_trough:.2f}",
            "/".join("–" if rise is None else f"{100 * rise:.0f} %" for rise in rises),
            _share(one.low_coverage),
        )
    console.print(table)


def _books(report: Report, console: Console) -> None:
    """Outright books one by one, over one day and by the model that promises; the others are in the JSON."""
    shown = PROMISING if PROMISING in report.models else report.models[0]
    table = Table(
        title=f"Outright books, {shown}, windows of {report.horizons_days[0]} d (--output json has all)",
        caption=f"below {TESTED} windows a book is judged by its interval (Clopper-Pearson, 95 %) alone",
    )
    for column in ("book", "phase"):
        table.add_column(column)
    for column in ("windows", "exceptions", "coverage", "interval", "Kupiec", "indep.", "zone", "power"):
        table.add_column(column, justify="right")
    for column in ("of gross", "worst loss", "on", "at lows", "peak/trough"):
        table.add_column(column, justify="right")
    for one in report.books:
        if one.portfolio == OUTRIGHT and one.model == shown and one.horizon_days == report.horizons_days[0]:
            table.add_row(*_row(one), style=None if one.is_tested else "dim")
    console.print(table)


def _row(one: BookResult) -> tuple[str, ...]:
    return (
        one.book,
        str(one.phase),
        f"{one.observations:,}",
        str(one.exceptions),
        _share(one.coverage),
        f"{_share(one.coverage_low)}–{_share(one.coverage_high)}",
        f"{one.kupiec_more_p:.2f}",
        "–" if one.independence_p is None else f"{one.independence_p:.2f}",
        one.basel_zone,
        f"{one.power:.2f}",
        _share(one.mean_requirement, 1),
        f"×{one.worst_exceedance:.2f}",
        one.worst_day,
        "–" if one.low_worst_exceedance is None else f"×{one.low_worst_exceedance:.2f}",
        "–" if one.peak_to_trough is None else f"{one.peak_to_trough:.2f}",
    )


def _comparisons(report: Report, console: Console) -> None:
    table = Table(title="Mean requirement at equal coverage of outright books, one day")
    for column in ("model", "against", "rate", "books", "coverage", "of gross", "ratio"):
        table.add_column(column)
    for one in report.comparisons:
        table.add_row(
            one.model,
            one.against,
            f"{one.rate_bp / 100:.2f} %",
            one.portfolio,
            f"{_share(one.coverage)} / {_share(one.against_coverage)}",
            f"{_share(one.mean_requirement, 1)} / {_share(one.against_mean_requirement, 1)}",
            f"{one.ratio:.2f}",
        )
    console.print(table)


def _crash_days(report: Report, console: Console) -> None:
    table = Table(title="Days of crash: loss in requirements of outright books, one day")
    for column in (
        "day",
        "book",
        "asked",
        "lost",
        "at its end",
        "at the low",
        "with a 25 % buffer",
        "with a floor",
    ):
        table.add_column(column, justify="left" if column in ("day", "book") else "right")
    for one in report.crash_days:
        table.add_row(
            one.day,
            one.book,
            _share(one.requirement, 1),
            _share(one.loss, 1),
            f"×{one.exceedance:.2f}",
            "–" if one.low_exceedance is None else f"×{one.low_exceedance:.2f}",
            f"×{one.with_buffer:.2f}",
            "–" if one.with_floor is None else f"×{one.with_floor:.2f}",
        )
    console.print(table)
    for remedy in report.remedies:
        mean, more = _share(remedy.mean_requirement, 1), _share(remedy.costs_more, 1)
        console.print(f"{remedy.name}: {mean} of gross on average, {more} more")


def _verdicts(report: Report, console: Console) -> None:
    table = Table(title="Promises at 99 %")
    for column in ("promise", "days", "asked", "found", ""):
        table.add_column(column)
    for one in report.verdicts:
        table.add_row(one.promise, str(one.horizon_days), one.asked, one.found, _word(one))
    console.print(table)
    missed = sum(1 for one in report.verdicts if one.kept is False)
    console.print(f"{len(report.verdicts)} promises judged, {missed} missed")


def _word(verdict: Verdict) -> str:
    if verdict.kept is None:
        return "not judged"
    return "[green]kept[/green]" if verdict.kept else "[red]missed[/red]"


def _share(share: float | None, digits: int = 2) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"
