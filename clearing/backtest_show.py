"""A validation for who reads it in a terminal: what was read, what was found, and what becomes of the promises."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from clearing.backtest import Stepped
from clearing.margin.backtest.report import OUTRIGHT, PROMISING, Comparison, Report, Verdict
from clearing.margin.backtest.results import TESTED, BookResult, PortfolioResult
from clearing.margin.table import MODELS

SHOWN_FINDINGS = 12
WIDTH = 120
"""Columns that every table fits into."""
MODEL_WIDTH = 18
FIXED = "fixed rate"
NOT_TESTABLE = "not testable"
Row = tuple[str, ...]


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


def show(report: Report, console: Console, *, more: bool = False) -> None:
    """The whole report, the verdicts last: they stand above the prompt. ``more``: other markets were looked at too."""
    _data(report, console, more=more)
    _portfolios(report, console)
    _books(report, console)
    if report.comparisons:
        _comparisons(report, console)
    if report.crash_days:
        _crash_days(report, console)
    _verdicts(report, console)


def _data(report: Report, console: Console, *, more: bool) -> None:
    stable = [one.asset for one in report.series if one.is_stable]
    underlyings = [f"{one.asset} {one.first_day}" for one in report.series if not one.is_stable]
    console.print(f"[bold]{report.folder}[/bold]: windows begin {report.first_day} to {report.last_day}")
    console.print(f"underlyings and their first day: {', '.join(underlyings)}")
    if stable:
        console.print(f"stablecoins, kept apart: {', '.join(stable)}")
    if more and report.missing:
        console.print(f"not there, left out: {', '.join(report.missing)}")
    for one in report.findings[:SHOWN_FINDINGS]:
        console.print(f"{one.file}: {one.subject} {one.kind} × {one.count}, {one.done}")
    if len(report.findings) > SHOWN_FINDINGS:
        console.print(f"and {len(report.findings) - SHOWN_FINDINGS} findings more (--output json has all)")


def _grouped(
    models: Iterable[str], rows_of: Callable[[str], Sequence[Row]]
) -> list[tuple[str, Sequence[Row]]]:
    """Each model with its rows; those with a fixed rate whose rows are the same stand once, together."""
    found: list[tuple[list[str], Sequence[Row]]] = []
    for model in models:
        rows = rows_of(model)
        twin = next((names for names, own in found if own == rows and _is_fixed(*names, model)), None)
        if twin is None:
            found.append(([model], rows))
        else:
            twin.append(model)
    return [(names[0] if len(names) == 1 else f"{FIXED} ({', '.join(names)})", rows) for names, rows in found]


def _is_fixed(*models: str) -> bool:
    return not any(MODELS[model].looks_back for model in models)


def _table(title: str, left: Iterable[str], right: Iterable[str], caption: str | None = None) -> Table:
    """An empty table: columns of words, then columns of numbers."""
    table = Table(
        title=f"\n{title}",
        caption=caption,
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        collapse_padding=True,
        pad_edge=False,
    )
    for column in left:
        is_model = column in ("model", "against")
        width = MODEL_WIDTH if is_model else None
        is_short = column in ("books", "book", "days", "day", "phase")
        table.add_column(column, min_width=width, max_width=width, no_wrap=is_short)
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _add(table: Table, groups: Iterable[tuple[str, Sequence[Row]]]) -> None:
    """The rows of each model, its name in the first of them."""
    for name, rows in groups:
        for number, row in enumerate(rows):
            table.add_row("" if number else name, *row, end_section=number == len(rows) - 1)


def _portfolios(report: Report, console: Console) -> None:
    def of(row: Callable[[PortfolioResult], Row]) -> list[tuple[str, Sequence[Row]]]:
        return _grouped(
            report.models, lambda name: [row(one) for one in report.portfolios if one.model == name]
        )

    covered = _table(
        "Coverage by kind of book",
        ("model", "books", "days"),
        ("windows", "exceptions", "coverage", "worst book", "bootstrap"),
        "worst book: of those seen often enough; bootstrap: moving blocks of 20 days, 95 %",
    )
    _add(covered, of(_covered))
    console.print(covered)
    asked = _table(
        "Tests, requirement and swings by kind of book",
        ("model", "books", "days"),
        ("Kupiec no", "independent", "at lows", "of gross", "peak/trough", "rise in 1/5/20 days"),
        "at lows: coverage at the worst traded price; of gross: the mean requirement of all windows; swings: of the "
        "median book",
    )
    _add(asked, of(_asked))
    console.print(asked)


def _kind(one: PortfolioResult) -> Row:
    return (f"{one.portfolio} {one.books}", str(one.horizon_days))


def _covered(one: PortfolioResult) -> Row:
    worst = ("–", "–")
    if one.worst_book is not None:
        between = f"{_share(one.worst_coverage_low)[:-2]}–{_share(one.worst_coverage_high)}"
        worst = (f"{_share(one.worst_coverage)} {one.worst_book}", between)
    return (
        *_kind(one),
        f"{one.observations:,}",
        f"{one.exceptions:,}",
        _share(one.coverage),
        *worst,
    )


def _asked(one: PortfolioResult) -> Row:
    rises = (one.median_rise_1_day, one.median_rise_5_days, one.median_rise_20_days)
    return (
        *_kind(one),
        f"{len(one.kupiec_rejected)}/{one.kupiec_tested}" if one.kupiec_tested else NOT_TESTABLE,
        f"{one.independence_kept}/{one.independence_testable}" if one.independence_testable else NOT_TESTABLE,
        _share(one.low_coverage),
        _share(one.mean_requirement, 1),
        *_swings(one.median_peak_to_trough, rises),
    )


def _swings(peak_to_trough: float | None, rises: Sequence[float | None]) -> Row:
    if peak_to_trough is None:
        return ("–", "–")
    return (
        f"{peak_to_trough:.2f}",
        "/".join("–" if rise is None else f"{100 * rise:.0f}" for rise in rises) + " %",
    )


def _books(report: Report, console: Console) -> None:
    """Outright books one by one, over one day and by the model that promises; the others are in the JSON."""
    shown, days = PROMISING if PROMISING in report.models else report.models[0], report.horizons_days[0]
    what = f"{shown}, windows of {days} d (--output json has all)"
    phase = ("phase",) if days > 1 else ()
    covered = _table(
        f"Coverage of outright books, {what}",
        ("book", *phase),
        ("windows", "exceptions", "coverage", "interval", "Kupiec", "independent", "zone", "power"),
        f"below {TESTED} windows a book is judged by its interval (Clopper-Pearson, 95 %) alone",
    )
    asked = _table(
        f"Requirement of outright books, {what}",
        ("book", *phase),
        ("of gross", "worst loss", "on", "at lows", "peak/trough", "rise in 1/5/20 days"),
        "worst loss: in requirements, at the end of the window; at lows: at the worst traded price, where it is known",
    )
    for one in report.books:
        if one.portfolio == OUTRIGHT and one.model == shown and one.horizon_days == days:
            name = (one.book, str(one.phase)) if phase else (one.book,)
            style = None if one.is_tested else "dim"
            covered.add_row(*name, *_covered_book(one), style=style)
            asked.add_row(*name, *_asked_book(one), style=style)
    console.print(covered)
    console.print(asked)


def _covered_book(one: BookResult) -> Row:
    return (
        f"{one.observations:,}",
        str(one.exceptions),
        _share(one.coverage),
        f"{_share(one.coverage_low)[:-2]}–{_share(one.coverage_high)}",
        f"{one.kupiec_more_p:.2f}",
        NOT_TESTABLE if one.independence_p is None else f"{one.independence_p:.2f}",
        one.basel_zone,
        f"{one.power:.2f}",
    )


def _asked_book(one: BookResult) -> Row:
    return (
        _share(one.mean_requirement, 1),
        f"×{one.worst_exceedance:.2f}",
        one.worst_day,
        "–" if one.low_worst_exceedance is None else f"×{one.low_worst_exceedance:.2f}",
        *_swings(one.peak_to_trough, (one.rise_1_day, one.rise_5_days, one.rise_20_days)),
    )


def _comparisons(report: Report, console: Console) -> None:
    table = _table(
        f"Mean requirement of {PROMISING} at equal coverage of outright books, one day",
        ("against", "books"),
        ("rate", "coverage", "theirs", "of gross", "theirs", "ratio"),
    )
    against = list(dict.fromkeys(one.against for one in report.comparisons))
    _add(
        table,
        _grouped(against, lambda name: [_compared(one) for one in report.comparisons if one.against == name]),
    )
    console.print(table)


def _compared(one: Comparison) -> Row:
    return (
        one.portfolio,
        f"{one.rate_bp / 100:.2f} %",
        _share(one.coverage),
        _share(one.against_coverage),
        _share(one.mean_requirement, 1),
        _share(one.against_mean_requirement, 1),
        f"{one.ratio:.2f}",
    )


def _crash_days(report: Report, console: Console) -> None:
    table = _table(
        "Days of crash: loss in requirements of outright books, one day",
        ("day", "book"),
        ("asked", "lost", "at its end", "at the low", "with a 25 % buffer", "with a floor"),
    )
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
    table = _table("Promises at 99 %", ("promise", "days", "asked", "found", ""), ())
    for one in report.verdicts:
        table.add_row(one.promise, str(one.horizon_days), one.asked, one.found, _word(one))
    console.print(table)
    judged = [one for one in report.verdicts if one.kept is not None]
    open_ones = len(report.verdicts) - len(judged)
    missed = sum(1 for one in judged if not one.kept)
    before = f"{open_ones} {NOT_TESTABLE}, " if open_ones else ""
    console.print(f"{before}{len(judged)} promises judged, {missed} missed")


def _word(verdict: Verdict) -> str:
    if verdict.kept is None:
        return NOT_TESTABLE
    return "[green]kept[/green]" if verdict.kept else "[red]missed[/red]"


def _share(share: float | None, digits: int = 2) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"
