"""The charts of a backtest as SVG."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from clearing.margin.backtest.pooled import Pooled
from clearing.margin.backtest.reliability import Reliability
from clearing.margin.backtest.report import Comparison, CrashDay
from clearing.margin.backtest.results import PROMISE, BookResult, Windows
from clearing.reports.drawing import ASKED, CALM, LOST, MISSED, SERIES, drawn, sized


def coverage(books: Sequence[BookResult]) -> str:
    """A point and a 95 % interval for each book, the promise as a line."""
    figure, axes = sized(0.24 * len(books) + 1.0)
    for place, one in enumerate(books):
        colour = ASKED if one.is_tested else CALM
        axes.plot([one.coverage_low, one.coverage_high], [place, place], color=colour, linewidth=2)
        axes.plot(
            [one.coverage], [place], "o", color=MISSED if one.coverage < PROMISE else colour, markersize=5
        )
    axes.axvline(PROMISE, color=MISSED, linewidth=1, linestyle="--")
    axes.set_yticks(range(len(books)), [f"{one.book} ({one.observations})" for one in books])
    axes.invert_yaxis()
    axes.set_xlim(max(0.9, min(0.97, *(one.coverage_low for one in books))), 1.0005)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    axes.set_xlabel("coverage of one day, with 95 % interval (number of windows); dashed: the promise")
    return drawn(figure)


def over_time(seen: Windows, title: str) -> str:
    """Requirement and loss of one book, day by day; exceptions as dots."""
    figure, axes = sized(2.9)
    days = seen.at_ms.astype("datetime64[ms]").astype("datetime64[D]")
    asked, lost = seen.requirement / seen.gross, seen.loss / seen.gross
    axes.vlines(days, 0, np.maximum(lost, 0), color=LOST, linewidth=0.6, label="lost in the next day")
    axes.plot(days, asked, color=ASKED, linewidth=1.2, label="required")
    axes.plot(
        days[seen.hits], lost[seen.hits], "o", color=MISSED, markersize=4, label="loss above requirement"
    )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(bottom=0)
    axes.set_title(title, loc="left")
    axes.set_ylabel("of gross notional")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
    return drawn(figure)


def crashes(days: Sequence[CrashDay]) -> str:
    """How many requirements were lost on the worst days."""
    figure, axes = sized(0.32 * len(days) + 1.0)
    places = np.arange(len(days))
    axes.barh(
        places + 0.2, [one.exceedance for one in days], 0.38, color=ASKED, label="at the end of the day"
    )
    low = [one.low_exceedance or 0.0 for one in days]
    axes.barh(places - 0.2, low, 0.38, color=CALM, label="at the worst traded price")
    axes.axvline(1.0, color=MISSED, linewidth=1, linestyle="--")
    axes.set_yticks(places, [f"{one.day}  {one.book}" for one in days])
    axes.invert_yaxis()
    axes.set_xlabel("loss as a multiple of the requirement; dashed: all of it used up")
    axes.legend(loc="lower right")
    return drawn(figure)


def comparison(found: Sequence[Comparison]) -> str:
    """Average requirements by kind of book at equal coverage of outright books."""
    figure, axes = sized(3.0, 7.5)
    kinds = list(dict.fromkeys(one.portfolio for one in found))
    others = list(dict.fromkeys(one.against for one in found))
    width = 0.8 / (len(others) + 1)
    own = {one.portfolio: one.mean_requirement for one in found}
    places = np.arange(len(kinds))
    axes.bar(places, [own[kind] for kind in kinds], width, color=ASKED, label=found[0].model)
    for number, other in enumerate(others, 1):
        theirs = {one.portfolio: one.against_mean_requirement for one in found if one.against == other}
        shade = ("#9aa1ab", "#c3c8cf", "#dde0e4")[(number - 1) % 3]
        heights = [theirs[kind] for kind in kinds]
        axes.bar(places + number * width, heights, width, color=shade, label=f"{other}, one rate for all")
    axes.set_xticks(places + 0.4 - width / 2, kinds)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("average requirement of gross")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    return drawn(figure)


def swings(books: Iterable[BookResult]) -> str:
    """Peak to trough of the requirement of each book, and its largest rise in a day and in 20 days."""
    known = [one for one in books if one.peak_to_trough is not None]
    figure, axes = sized(3.2)
    places = np.arange(len(known))
    axes.bar(
        places - 0.27, [one.peak_to_trough or 0 for one in known], 0.26, color=ASKED, label="peak ÷ trough"
    )
    rises = [1 + (one.rise_20_days or 0) for one in known]
    axes.bar(places, rises, 0.26, color="#7fa8d6", label="largest rise in 20 days (×)")
    rises = [1 + (one.rise_1_day or 0) for one in known]
    axes.bar(places + 0.27, rises, 0.26, color=CALM, label="largest rise in a day (×)")
    axes.axhline(2.0, color=MISSED, linewidth=1, linestyle="--")
    axes.set_xticks(places, [one.book for one in known], rotation=60, ha="right")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    return drawn(figure)


def pooled(found: Sequence[Pooled]) -> str:
    """Coverage of kinds of books with an interval, and what they cost."""
    figure = Figure(figsize=(9.5, 0.26 * len(found) + 1.1))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, one in enumerate(found):
        left.plot([one.coverage_low, one.coverage_high], [place, place], color=ASKED, linewidth=2)
        colour = MISSED if one.coverage < PROMISE else ASKED
        left.plot([one.coverage], [place], "o", color=colour, markersize=5)
    left.axvline(PROMISE, color=MISSED, linewidth=1, linestyle="--")
    left.set_yticks(range(len(found)), [one.name for one in found])
    left.invert_yaxis()
    left.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    left.set_xlabel("coverage of one day, 95 % interval by days")
    right.barh(range(len(found)), [one.mean_requirement for one in found], 0.6, color=CALM)
    right.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    right.set_xlabel("average requirement of gross notional")
    return drawn(figure)


def reliability(found: Sequence[tuple[str, Reliability]]) -> str:
    """Stated against seen, both on a logarithmic scale; on the line a probability is what it says."""
    figure, axes = sized(4.4, 5.2)
    edges = (1e-4, 1.0)
    axes.plot(edges, edges, color=LOST, linewidth=1, linestyle="--")
    for number, (name, one) in enumerate(found):
        groups = [group for group in one.groups if group.agrees is not None and group.came]
        stated = [group.stated for group in groups]
        seen = np.array([group.seen for group in groups])
        below = seen - np.array([group.seen_low for group in groups])
        above = np.array([group.seen_high for group in groups]) - seen
        below = np.clip(below, 0, seen * 0.999)
        axes.errorbar(
            stated,
            seen,
            yerr=[below, np.maximum(above, 0)],
            color=SERIES[number % len(SERIES)],
            marker="o",
            markersize=4,
            linewidth=1,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*edges)
    axes.set_ylim(*edges)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda share, _place: f"{100 * share:g} %"))
    axes.set_xlabel("stated probability of ruin within a day")
    axes.set_ylabel("seen, 95 % interval by blocks of days")
    axes.legend()
    return drawn(figure)
