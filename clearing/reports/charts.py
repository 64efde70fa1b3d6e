"""The charts of a report as SVG, drawn of the points that ``points.py`` gathered.

A picture is measured in floats; what stands beside it as a text is exact.
"""

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import FuncFormatter

from clearing.reports.document import Column, Drawing, Measure
from clearing.reports.drawing import ASKED, LOST, MISSED, SERIES, drawn, sized
from clearing.reports.points import BARS_MAX, NUMBER, Gathered, Point, is_exception

LABEL_MAX = 44
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:]{8}(?:\.[0-9]+)?Z)?", re.ASCII)
_NARROW = "\u202f"


@dataclass(frozen=True, slots=True)
class Picture:
    """A chart: its title, what one has to know to read it, and the SVG; no SVG if there is nothing to draw."""

    title: str
    said: str
    svg: str


def picture(gathered: Gathered, name: str) -> Picture:
    """The chart; ``name`` is another for each chart of a page."""
    chart, points = gathered.chart, gathered.points()
    if not points:
        return Picture(chart.title, "Nothing to draw: no row has a figure for this chart.", "")
    said = _SAID[chart.drawing](gathered, len(points))
    label = html.escape(f"{chart.title}. {said}")
    svg = _DRAWERS[chart.drawing](gathered, points, name)
    return Picture(chart.title, said, svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))


# --- drawings ------------------------------------------------------------------------------------------


def _bars(gathered: Gathered, points: Sequence[Point], name: str) -> str:
    columns = _columns(gathered)
    figure, axes = sized(max(1.2, (0.16 + 0.1 * len(columns)) * len(points) + 0.7))
    places, width = np.arange(len(points)), 0.76 / len(columns)
    for number, column in enumerate(columns):
        shift = (number - (len(columns) - 1) / 2) * width
        lengths = [_float(point, number) for point in points]
        axes.barh(places + shift, lengths, width, color=SERIES[number % len(SERIES)], label=column.title)
    axes.set_yticks(places, [_short(point.label) for point in points])
    axes.set_ylim(len(points) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=LOST, linewidth=0.8)
    axes.xaxis.set_major_formatter(_numbers(columns))
    axes.set_xlabel(_unit(columns))
    _legend(axes, len(columns))
    return drawn(figure, name)


def _lines(gathered: Gathered, points: Sequence[Point], name: str) -> str:
    columns = _columns(gathered)
    figure, axes = sized(2.9)
    over = _over(axes, points)
    marker = "o" if len(points) <= 60 else ""
    for number, column in enumerate(columns):
        heights = [_float(point, number) for point in points]
        colour = SERIES[number % len(SERIES)]
        axes.plot(
            over,
            heights,
            color=colour,
            marker=marker,
            markersize=2.8,
            linewidth=1.3,
            drawstyle="steps-post",
            label=column.title,
        )
    _upright(axes, columns)
    _legend(axes, len(columns))
    return drawn(figure, name)


def _losses(gathered: Gathered, points: Sequence[Point], name: str) -> str:
    columns = _columns(gathered)
    figure, axes = sized(2.9)
    over = _over(axes, points)
    asked, lost = (np.array([_float(point, place) for point in points]) for place in (0, 1))
    axes.vlines(over, 0, lost, color=LOST, linewidth=0.8, label=columns[1].title)
    axes.plot(over, asked, color=ASKED, linewidth=1.3, label=columns[0].title)
    worse = [place for place, point in enumerate(points) if is_exception(point)]
    if worse:
        axes.plot(over[worse], lost[worse], "o", color=MISSED, markersize=4, label="more than required")
    _upright(axes, columns)
    _legend(axes, 3)
    return drawn(figure, name)


def _waterfall(gathered: Gathered, points: Sequence[Point], name: str) -> str:
    columns = _columns(gathered)
    figure, axes = sized(max(1.2, 0.34 * len(points) + 0.7))
    rest, last = _float(points[0], 0), len(points) - 1
    for place, point in enumerate(points):
        amount = _float(point, 0)
        start, colour = (0.0, LOST) if place == 0 else (rest - amount, ASKED)
        if place == last and place:
            start, colour = 0.0, MISSED
        axes.barh([place], [amount], 0.66, left=[start], color=colour)
        if 0 < place < last:
            rest = start
        if place < last:
            axes.plot([rest, rest], [place + 0.33, place + 0.67], color=LOST, linewidth=0.8)
        text = grouped(format(point.value(0), "f"))
        end = (max(start, start + amount), place)
        axes.annotate(text, end, (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(points)), [_short(point.label) for point in points])
    axes.set_ylim(len(points) - 0.4, -0.6)
    axes.margins(x=0.16)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color=LOST, linewidth=0.8)
    axes.xaxis.set_major_formatter(_numbers(columns))
    axes.set_xlabel(_unit(columns))
    return drawn(figure, name)


_DRAWERS: Mapping[Drawing, Callable[[Gathered, Sequence[Point], str], str]] = {
    Drawing.BARS: _bars,
    Drawing.LINES: _lines,
    Drawing.LOSSES: _losses,
    Drawing.WATERFALL: _waterfall,
}


# --- what is said beside them --------------------------------------------------------------------------


def _said_of_bars(gathered: Gathered, kept: int) -> str:
    if gathered.count <= BARS_MAX:
        return f"{_rows(gathered.count)}."
    return f"The {kept - 1} largest of {_rows(gathered.count)}; the last bar is the sum of the others."


def _said_of_lines(gathered: Gathered, kept: int) -> str:
    if gathered.count == kept:
        return f"{_rows(kept)}; each figure holds until the next."
    return f"{kept:,} of {_rows(gathered.count)}, with the lowest and the highest of each stretch."


def _said_of_losses(gathered: Gathered, kept: int) -> str:
    thinned = "" if gathered.count == kept else f"{kept:,} points of "
    worse = "no loss was" if not gathered.exceptions else f"{gathered.exceptions:,} with a loss"
    return f"{thinned}{_rows(gathered.count)}, {worse} above what was required."


def _said_of_waterfall(gathered: Gathered, kept: int) -> str:
    return "From the loss at the top each row takes its part; the last row is what nobody covered."


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


_SAID: Mapping[Drawing, Callable[[Gathered, int], str]] = {
    Drawing.BARS: _said_of_bars,
    Drawing.LINES: _said_of_lines,
    Drawing.LOSSES: _said_of_losses,
    Drawing.WATERFALL: _said_of_waterfall,
}


# --- axes and texts ------------------------------------------------------------------------------------


def grouped(text: str) -> str:
    """A number with its digits before the point in threes; any other text as it is."""
    matched = NUMBER.fullmatch(text)
    if matched is None:
        return text
    sign, whole, fraction = matched.groups(default="")
    return f"{sign}{f'{int(whole):,}'.replace(',', _NARROW)}{fraction}"


def _columns(gathered: Gathered) -> list[Column]:
    known = {column.id: column for column in gathered.table.columns}
    return [known[name] for name in gathered.chart.values]


def _float(point: Point, place: int) -> float:
    value = point.values[place]
    return float("nan") if value is None else float(value)


def _over(axes: Axes, points: Sequence[Point]) -> np.ndarray:
    """Where the points stand: by time or number, else one after the other."""
    labels = [point.label for point in points]
    if all(_TIME.fullmatch(label) for label in labels):
        locator = AutoDateLocator()  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_formatter(formatter)
        return np.array([label.removesuffix("Z") for label in labels], "datetime64[ms]")
    if all(NUMBER.fullmatch(label) for label in labels):
        axes.xaxis.set_major_formatter(_numbers([]))
        return np.array([float(label) for label in labels])
    shown = range(0, len(labels), max(1, len(labels) // 8))
    axes.set_xticks(shown, [_short(labels[place]) for place in shown], rotation=20, ha="right")
    return np.arange(len(labels))


def _upright(axes: Axes, columns: Sequence[Column]) -> None:
    axes.yaxis.set_major_formatter(_numbers(columns))
    axes.set_ylabel(_unit(columns))
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0) if low > -(high - low) / 8 else low, high)


def _legend(axes: Axes, count: int) -> None:
    if count > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=min(count, 4))


def _unit(columns: Sequence[Column]) -> str:
    units = {column.unit for column in columns}
    said = units.pop() if len(units) == 1 else ""
    if len(columns) == 1:
        return f"{columns[0].title} ({said})" if said else columns[0].title
    return said


def _numbers(columns: Sequence[Column]) -> FuncFormatter:
    behind = " %" if columns and all(column.measure is Measure.PERCENT for column in columns) else ""

    def text(value: float, _place: object) -> str:
        return f"{value:,.12g}".replace(",", _NARROW).replace("-", "−") + behind

    return FuncFormatter(text)


def _short(label: str) -> str:
    """A label that has room beside a chart, without what would break a line."""
    said = "".join(sign if sign.isprintable() else "?" for sign in label)
    return said if len(said) <= LABEL_MAX else f"{said[: LABEL_MAX - 1]}…"
