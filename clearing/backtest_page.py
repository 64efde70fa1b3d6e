"""A validation as one page of HTML that needs nothing else: style and charts are in it, and no script.

The same validation gives the same bytes: there is no time in it but that of the data.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from clearing import backtest_charts as charts
from clearing.margin.backtest.account_books import MINOR_PER_UNIT
from clearing.margin.backtest.liquidations import FLAT, HEALTHY, SHORT
from clearing.margin.backtest.markets import Markets
from clearing.margin.backtest.report import OUTRIGHT, PROMISING, Report
from clearing.margin.backtest.results import TESTED, Windows, date_of, windows
from clearing.margin.backtest.walk import Walked

TEMPLATE = "backtest.html.j2"


def _percent(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{100 * value:.{digits}f} %".replace("-", "−")


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} ×"


def _number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}".replace("-", "−")


def _dollars(minor: int) -> str:
    return f"${minor / MINOR_PER_UNIT:,.0f}".replace("$-", "−$")


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M}"


def _grouped(value: int) -> str:
    return f"{value:,}"


FILTERS = {
    "percent": _percent,
    "times": _times,
    "number": _number,
    "dollars": _dollars,
    "moment": _moment,
    "grouped": _grouped,
    "date": date_of,
}


def page(report: Report, walked: Sequence[Walked], markets: Markets | None = None) -> str:
    """The page. ``markets``: what was found of options, the basis, accounts and ruin, if it was looked at."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    drawn = {name: Markup(svg) for name, svg in _charts(report, walked, markets).items()}  # noqa: S704  # ours
    return environment.get_template(TEMPLATE).render(
        report=report,
        markets=markets,
        charts=drawn,
        promising=PROMISING,
        tested=TESTED,
        stable=[one.asset for one in report.series if one.is_stable],
        underlyings=[one for one in report.series if not one.is_stable],
        words={"flat": FLAT, "short": SHORT, "healthy": HEALTHY},
    )


def _charts(report: Report, walked: Sequence[Walked], markets: Markets | None) -> dict[str, str]:
    found: dict[str, str] = {}
    own = [one for one in report.books if one.model == PROMISING and one.horizon_days == 1]
    outright = [one for one in own if one.portfolio == OUTRIGHT]
    if outright:
        found["coverage"] = charts.coverage(outright)
        found["swings"] = charts.swings(outright)
    for name, portfolio in (("outright", OUTRIGHT), ("hedged", "hedged")):
        longest = _longest(walked, portfolio)
        if longest is not None:
            found[name] = charts.over_time(longest[1], longest[0])
    if report.crash_days:
        found["crashes"] = charts.crashes(report.crash_days)
    if report.comparisons:
        found["comparison"] = charts.comparison(report.comparisons)
    if markets is not None:
        found |= _market_charts(markets)
    return found


def _longest(walked: Sequence[Walked], portfolio: str) -> tuple[str, Windows] | None:
    """The book of a kind with most windows, the first of equals, and its windows."""
    known = [
        (book.name, windows(each, PROMISING, number, 1))
        for each in walked
        if PROMISING in each.requirement
        for number, book in enumerate(each.books)
        if book.portfolio == portfolio
    ]
    filled = [one for one in known if len(one[1].loss)]
    return max(filled, key=lambda one: len(one[1].loss)) if filled else None


def _market_charts(markets: Markets) -> dict[str, str]:
    found = {}
    if markets.options is not None:
        found["options"] = charts.pooled([one for one in markets.options.books if one.model == PROMISING])
    if markets.accounts is not None:
        found["accounts"] = charts.pooled([one for one in markets.accounts.sizes if one.model == PROMISING])
    if markets.ruin:
        found["ruin"] = charts.reliability([(one.period, one.reliability) for one in markets.ruin[:1]])
        by_year = [(one.period, one.reliability) for one in markets.ruin[1:]]
        if by_year:
            found["ruin_years"] = charts.reliability(by_year)
    return found
