"""The back-test: what the house asked for against what positions lost in the day that followed (rulebook §9).

The windows are those of ``windows``; the tests those of ``margin/backtest/exact``. A report of some members is of the
sets in which they have an account, its sums and tests too.

Windows are read once and passed on at once; what is kept is a line for each day and three for each netting set. So the
tables are made in their order, and each of its rows before the next table.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from clearing import chart
from clearing.margin.backtest import exact
from clearing.model.house import House
from clearing.model.values import AccountKind
from clearing.reports import figures, inputs, sources
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.reading import Reading, shows_account
from clearing.reports.windows import MARGINS, Day, Window, days, windows
from ledger.amount import divide_up
from ledger.require import require

NEXT_DAY = "a closed cycle of the house on the following day"
FEW = f"{exact.TESTED} windows or more, without which no promise is tested"
RARE = f"{exact.TESTABLE} exceptions or more, without which independence is not tested"
BY_SET = "independence of pooled windows, which is tested by netting set"
NONE = "a window: a day that has ended, and positions"
OTHERS_HOLD = "what the other accounts of the netting set held, which their members see"
ALL = "all"


def build(reading: Reading) -> Iterator[Table]:
    """Inputs, windows, and what they say by day, of all together, and of each netting set."""
    house, sums = reading.house, _Sums()
    unit = house.settlement
    yield Table(id="inputs", title="What margin is made of", columns=inputs.COLUMNS, rows=set_inputs())
    yield Table(
        id="windows",
        title="Windows: a netting set at the cutoff of a day, and the day after",
        columns=_window_columns(unit),
        rows=_windows(reading, sums),
        note="A window goes from the last closed cycle of a UTC day to that of the next. The result is the variation "
        "margin on the positions that stood at the cutoff; later trades, funding and fees are no part of it. An "
        "exception is a loss larger than a margin: model (what the model asked for), maintenance (with add-ons), "
        "requirement (R).",
    )
    yield Table(
        id="days",
        title="Days: margin against realised losses, and coverage so far",
        columns=_day_columns(unit),
        rows=_days(house, sums),
        note="Lost is the sum over the sets that lost. Coverage is the share of all windows up to the day without an "
        "exception, rounded down. A day whose next one has no closed cycle has no windows.",
        charts=CHARTS,
    )
    yield Table(
        id="pooled",
        title="All windows together, and those of house and client sets",
        columns=_result_columns(unit),
        rows=_pooled(house, sums),
        note=NOTE
        + " Windows of one day are not independent of each other: pooled, the tests reject too often.",
    )
    yield Table(
        id="sets",
        title="Netting sets",
        columns=_result_columns(unit),
        rows=_sets(house, sums),
        note=NOTE,
    )


NOTE = (
    f"The promise is {1 - exact.TAIL:%}. kupiec_p: the probability of so many exceptions or "
    "more if it holds, exact and one-sided. power: the probability that the test finds out a model that covers "
    f"{1 - exact.SUSPECTED_TAIL:%} only. independence_p: Christoffersen's test whether exceptions follow each other. "
    "The largest and the average shortfall are what exceptions lost beyond the margin."
)

# columns ------------------------------------------------------------------------------------------

CHARTS = (
    Chart(Drawing.LOSSES, "Margin of the model against realised losses", "day", ("model", "lost")),
    Chart(Drawing.LOSSES, "Requirement against realised losses", "day", ("requirement", "lost")),
    Chart(
        Drawing.LINES, "Coverage over time, percent", "day", tuple(f"{margin}_coverage" for margin in MARGINS)
    ),
)


def _window_columns(unit: str) -> tuple[Column, ...]:
    return (
        Column("day", "Day of the cutoff"),
        Column("netting_set", "Netting set"),
        Column("kind", "House or client"),
        *(Column(one, TITLES[one], Measure.AMOUNT, unit) for one in MARGINS),
        Column("result", "Realised result", Measure.AMOUNT, unit),
        Column("exceptions", "Margins that the loss exceeded"),
    )


TITLES = {
    "model": "Margin of the model",
    "maintenance": "Maintenance margin, with add-ons",
    "requirement": "Requirement",
}


def _day_columns(unit: str) -> tuple[Column, ...]:
    return (
        Column("day", "Day of the cutoff"),
        Column("cutoff", "Entry that closed its last cycle", Measure.COUNT),
        Column("until", "Entry that closed the last cycle of the next day", Measure.COUNT),
        Column("windows", "Windows", Measure.COUNT),
        *(Column(one, TITLES[one], Measure.AMOUNT, unit) for one in MARGINS),
        Column("lost", "Lost by the sets that lost", Measure.AMOUNT, unit),
        *(Column(f"{one}_exceptions", f"Exceptions: {one}", Measure.COUNT) for one in MARGINS),
        *(Column(f"{one}_coverage", f"Coverage so far: {one}", Measure.PERCENT) for one in MARGINS),
    )


def _result_columns(unit: str) -> tuple[Column, ...]:
    return (
        Column("who", "Whose windows"),
        Column("margin", "Margin"),
        Column("windows", "Windows", Measure.COUNT),
        Column("exceptions", "Exceptions", Measure.COUNT),
        Column("coverage", "Coverage, rounded down", Measure.PERCENT),
        Column("kupiec_p", "Kupiec, one-sided: p"),
        Column("basel_zone", "Basel zone"),
        Column("power", "Power of the test"),
        Column("independence_p", "Christoffersen: p"),
        Column("largest_shortfall", "Largest shortfall", Measure.AMOUNT, unit),
        Column("average_shortfall", "Average shortfall, rounded up", Measure.AMOUNT, unit),
        Column("largest_in", "Window with the largest shortfall"),
    )


# sums ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What windows say of one margin. ``largest_in``: the field of the window with the largest shortfall."""

    windows: int = 0
    exceptions: int = 0
    shortfall_minor: int = 0
    largest_minor: int = 0
    largest_in: str = ""

    def add(self, name: str, margin_minor: int, loss_minor: int) -> bool:
        """One window; whether it is an exception."""
        self.windows += 1
        beyond = loss_minor - margin_minor
        if beyond <= 0:
            return False
        self.exceptions += 1
        self.shortfall_minor += beyond
        if beyond > self.largest_minor:
            self.largest_minor, self.largest_in = beyond, name
        return True

    @property
    def average_minor(self) -> int:
        """The mean shortfall of the exceptions, rounded up; nothing without one."""
        return divide_up(self.shortfall_minor, self.exceptions) if self.exceptions else 0


@dataclass(slots=True)
class _OfSet:
    """Of one netting set and margin: also whether exceptions follow each other, by the day of the last window."""

    tally: Tally = field(default_factory=Tally)
    seen: exact.Transitions = field(default_factory=exact.Transitions)
    last: tuple[int, bool] | None = None

    def add(self, name: str, day: int, margin_minor: int, loss_minor: int) -> None:
        hit = self.tally.add(name, margin_minor, loss_minor)
        if self.last is not None and self.last[0] == day - 1:
            self.seen.add(self.last[1], hit)
        self.last = (day, hit)


@dataclass(slots=True)
class _OfDay:
    """One day: its cutoffs and its sums. ``so_far``: the windows of all days up to it, and their exceptions."""

    date: str
    cutoffs: tuple[int, int]
    has_windows: bool
    windows: int = 0
    margins_minor: list[int] = field(default_factory=lambda: [0] * len(MARGINS))
    lost_minor: int = 0
    exceptions: list[int] = field(default_factory=lambda: [0] * len(MARGINS))
    so_far: tuple[int, tuple[int, ...]] = (0, ())


@dataclass
class _Sums:
    """What is kept of windows while they go by."""

    is_complete: bool = False
    days: list[_OfDay] = field(default_factory=list)
    pooled: dict[tuple[str, str], Tally] = field(default_factory=dict)
    sets: dict[tuple[str, str], _OfSet] = field(default_factory=dict)

    def add(self, name: str, number: int, of_day: _OfDay, window: Window) -> None:
        """One window, called ``name``, of the day ``number`` since 1970."""
        of_day.windows += 1
        of_day.lost_minor += max(0, window.loss_minor)
        for place, (margin, amount) in enumerate(zip(MARGINS, window.margins_minor, strict=True)):
            of_day.margins_minor[place] += amount
            of_day.exceptions[place] += window.loss_minor > amount
            for who in (ALL, window.kind.value):
                self.pooled.setdefault((who, margin), Tally()).add(name, amount, window.loss_minor)
            of_set = self.sets.setdefault((window.netting_set, margin), _OfSet())
            of_set.add(name, number, amount, window.loss_minor)

    def end(self, of_day: _OfDay) -> None:
        """All windows of a day were added."""
        tallies = [self.pooled.get((ALL, margin), Tally()) for margin in MARGINS]
        of_day.so_far = (tallies[0].windows, tuple(tally.exceptions for tally in tallies))
        self.days.append(of_day)


# rows ---------------------------------------------------------------------------------------------


def set_inputs() -> Iterator[Row]:
    """What margin is made of besides marks and the set's own positions."""
    return inputs.rows("parameters", "instruments", "history", "sets", "assets", "groups", "sizes")


def _windows(reading: Reading, sums: _Sums) -> Iterator[Row]:
    for day in days(reading):
        of_day = _OfDay(day.start.date, (day.start.sequence, day.end.sequence), day.has_windows)
        for window in windows(reading, day):
            name = f"{of_day.date}:{window.netting_set}"
            sums.add(name, day.start.day, of_day, window)
            cells = (of_day.date, *_cells(day.start.house, window))
            yield Row(name, cells, _source(reading, day, window))
        sums.end(of_day)
    sums.is_complete = True


def _cells(house: House, window: Window) -> tuple[str, ...]:
    exceeded = [
        margin
        for margin, amount in zip(MARGINS, window.margins_minor, strict=True)
        if window.loss_minor > amount
    ]
    return (
        window.netting_set,
        window.kind.value,
        *(figures.money(house, amount) for amount in window.margins_minor),
        figures.money(house, -window.loss_minor),
        " ".join(exceeded),
    )


def _source(reading: Reading, day: Day, window: Window) -> str:
    """The marks of both cutoffs, the positions, and what else margin is made of. What other members hold of a link is
    not named to those who do not see it.
    """
    house, attested = day.start.house, day.start.attestation
    seen = [key for key in window.accounts if shows_account(reading, key)]
    return sources.joined(
        sources.entries([day.start.sequence, day.end.sequence]),
        *(
            sources.account(chart.position(key, instrument).path, instrument)
            for key in seen
            for instrument in sorted(house.positions(key))
        ),
        "" if len(seen) == len(window.accounts) else sources.outside(OTHERS_HOLD),
        sources.figure("inputs"),
        "" if attested is None else sources.about("requirement", sources.attestation(attested)),
    )


def _days(house: House, sums: _Sums) -> Iterator[Row]:
    require(sums.is_complete, "the windows were read before what they say")
    for one in sums.days:
        yield _day(house, one)


def _day(house: House, one: _OfDay) -> Row:
    seen, exceptions = one.so_far
    amounts = [figures.money(house, amount) for amount in (*one.margins_minor, one.lost_minor)]
    cells = (
        one.date,
        *(str(sequence) for sequence in one.cutoffs),
        str(one.windows),
        *(amounts if one.has_windows else [""] * len(amounts)),
        *(str(count) for count in one.exceptions),
        *(figures.percent(seen - count, seen) for count in exceptions),
    )
    missing = "" if one.has_windows else sources.about("lost", sources.outside(NEXT_DAY))
    return Row(
        one.date, cells, sources.joined(sources.entries(one.cutoffs), sources.figure("windows"), missing)
    )


def _pooled(house: House, sums: _Sums) -> Iterator[Row]:
    require(sums.is_complete, "the windows were read before what they say")
    for who in (ALL, *(kind.value for kind in AccountKind)):
        for margin in MARGINS:
            yield _result(house, who, margin, sums.pooled.get((who, margin), Tally()), None)


def _sets(house: House, sums: _Sums) -> Iterator[Row]:
    require(sums.is_complete, "the windows were read before what they say")
    for (set_id, margin), found in sorted(sums.sets.items(), key=lambda one: one[0][0]):
        yield _result(house, set_id, margin, found.tally, found.seen)


def _result(house: House, who: str, margin: str, tally: Tally, seen: exact.Transitions | None) -> Row:
    is_tested = tally.windows >= exact.TESTED
    follows = None if seen is None or tally.exceptions < exact.TESTABLE else exact.independence(seen)
    kupiec = exact.more_than_promised(tally.exceptions, tally.windows) if is_tested else None
    cells = (
        who,
        margin,
        str(tally.windows),
        str(tally.exceptions),
        figures.percent(tally.windows - tally.exceptions, tally.windows),
        _text(kupiec),
        exact.basel_zone(tally.exceptions, tally.windows) if is_tested else "",
        _text(exact.power(tally.windows) if is_tested else None),
        _text(follows),
        figures.money(house, tally.largest_minor),
        figures.money(house, tally.average_minor),
        tally.largest_in,
    )
    missing = {} if tally.windows else {"coverage": NONE}
    missing |= {} if is_tested else dict.fromkeys(("kupiec_p", "basel_zone", "power"), FEW)
    missing |= {} if follows is not None else {"independence_p": BY_SET if seen is None else RARE}
    outside = (sources.about(column, sources.outside(what)) for column, what in missing.items())
    return Row(f"{who}:{margin}", cells, sources.joined(sources.figure("windows"), *outside))


def _text(probability: Decimal | None) -> str:
    return "" if probability is None else f"{probability:f}"
