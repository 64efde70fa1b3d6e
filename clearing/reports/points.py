"""What a chart draws, gathered row by row: however long a table is, few points are kept.

Rules kept here:

1. Rows whose values are all empty are left out: what is not known is not drawn as nothing.
2. What is kept follows from the rows alone. BARS keep the largest and the sum of the others, a WATERFALL its beginning,
   its end and the sum between them, lines the extremes of each stretch.
"""

import heapq
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Protocol

from clearing.reports.document import FIELD, Chart, Drawing, Row, Table

BARS_MAX = 30
STEPS_MAX = 40
POINTS_MAX = 2_000
NUMBER = re.compile(r"(-?)([0-9]+)(\.[0-9]+)?", re.ASCII)
_EXACT = Context(prec=100)
Values = tuple[Decimal | None, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A row as a chart has it; ``said`` are the cells of its values."""

    label: str
    values: Values

    def value(self, place: int) -> Decimal:
        """A value; nothing if it is empty."""
        return self.values[place] or Decimal(0)


class _Kept(Protocol):
    def add(self, point: Point) -> None: ...

    def points(self) -> list[Point]: ...


class Gathered:
    """The points of a chart, and how many rows they stand for. In LOSSES also: how often more came than was asked."""

    def __init__(self, chart: Chart, table: Table) -> None:
        names = [FIELD, *(column.id for column in table.columns)]
        self.chart, self.table = chart, table
        self.count = self.exceptions = 0
        self._label, self._values = names.index(chart.label), [names.index(one) for one in chart.values]
        self._kept = _KEEPERS[chart.drawing]()

    def add(self, row: Row) -> None:
        """Take a row in."""
        cells = (row.field, *row.cells)
        point = Point(cells[self._label], tuple(_number(cells[place]) for place in self._values))
        if all(value is None for value in point.values):
            return
        if self.chart.drawing in _OVER and not point.label:
            return  # nowhere on the axis: the total under a list of days
        self.count += 1
        self.exceptions += self.chart.drawing is Drawing.LOSSES and is_exception(point)
        self._kept.add(point)

    def points(self) -> list[Point]:
        """What is drawn."""
        return self._kept.points()


_OVER = (Drawing.LINES, Drawing.LOSSES)


def is_exception(point: Point) -> bool:
    """Whether more was lost than was asked."""
    asked, lost = point.values[:2]
    return asked is not None and lost is not None and lost > asked


def _number(cell: str) -> Decimal | None:
    return Decimal(cell) if NUMBER.fullmatch(cell) else None


def _sum(one: Values, other: Values) -> Values:
    return tuple(_EXACT.add(a or Decimal(0), b or Decimal(0)) for a, b in zip(one, other, strict=True))


class _Summed:
    """The points that are not kept, as one."""

    def __init__(self) -> None:
        self._count = 0
        self._values: Values = ()

    def add(self, point: Point) -> None:
        self._values = _sum(self._values, point.values) if self._count else point.values
        self._count += 1

    def points(self) -> list[Point]:
        if not self._count:
            return []
        return [Point("1 other" if self._count == 1 else f"{self._count:,} others", self._values)]


class _Largest:
    """The largest, as they come if they are all, else by size with the others behind."""

    def __init__(self) -> None:
        self._heap: list[tuple[Decimal, int, Point]] = []
        self._count = 0
        self._others = _Summed()

    def add(self, point: Point) -> None:
        size = max(abs(value) for value in point.values if value is not None)
        self._count += 1
        heapq.heappush(self._heap, (size, -self._count, point))
        if len(self._heap) > BARS_MAX:
            self._others.add(heapq.heappop(self._heap)[2])

    def points(self) -> list[Point]:
        if self._count <= BARS_MAX:
            return [point for _, _, point in sorted(self._heap, key=lambda one: -one[1])]
        ordered = sorted(self._heap, key=lambda one: (-one[0], -one[1]))
        return [*(point for _, _, point in ordered), *self._others.points()]


class _Ends:
    """The first points and the last, and the others between them."""

    def __init__(self) -> None:
        self._first: list[Point] = []
        self._others = _Summed()
        self._last: Point | None = None

    def add(self, point: Point) -> None:
        if self._last is not None:
            if len(self._first) < STEPS_MAX - 1:
                self._first.append(self._last)
            else:
                self._others.add(self._last)
        self._last = point

    def points(self) -> list[Point]:
        last = [] if self._last is None else [self._last]
        return [*self._first, *self._others.points(), *last]


class _Thinned:
    """Of each stretch of rows the points where a series is lowest and highest; stretches grow with the rows."""

    def __init__(self, series: Callable[[Point], Values]) -> None:
        self._series = series
        self._count, self._width, self._size = 0, 1, 0
        self._stretches: list[list[Point]] = []
        self._ends: list[Point] = []

    def add(self, point: Point) -> None:
        self._ends = [*self._ends[:1], point]
        if self._count % self._width == 0:
            self._stretches.append([])
        self._count += 1
        before = self._stretches[-1]
        self._stretches[-1] = after = self._extremes([*before, point])
        self._size += len(after) - len(before)
        while self._size > POINTS_MAX - len(self._ends):
            self._widen()

    def _widen(self) -> None:
        halves = self._stretches
        self._width *= 2
        self._stretches = [
            self._extremes([one for half in halves[place : place + 2] for one in half])
            for place in range(0, len(halves), 2)
        ]
        self._size = sum(map(len, self._stretches))

    def _extremes(self, points: list[Point]) -> list[Point]:
        found: set[int] = set()
        for one in zip(*map(self._series, points), strict=True):
            known = [(value, place) for place, value in enumerate(one) if value is not None]
            if known:
                found |= {min(known)[1], max(known)[1]}
        return [points[place] for place in sorted(found)]

    def points(self) -> list[Point]:
        kept = [point for stretch in self._stretches for point in stretch]
        first = [one for one in self._ends[:1] if kept[0] is not one]
        last = [one for one in self._ends[1:] if kept[-1] is not one]
        return [*first, *kept, *last]


def _all_values(point: Point) -> Values:
    return point.values


def _with_excess(point: Point) -> Values:
    """So that the worst exception of a stretch is kept too."""
    asked, lost = point.values[:2]
    return asked, lost, None if asked is None or lost is None else _EXACT.subtract(lost, asked)


_KEEPERS: Mapping[Drawing, Callable[[], _Kept]] = {
    Drawing.BARS: _Largest,
    Drawing.WATERFALL: _Ends,
    Drawing.LINES: lambda: _Thinned(_all_values),
    Drawing.LOSSES: lambda: _Thinned(_with_excess),
}
