"""The walk forward: the house's own models, nothing that comes later, windows that do not overlap."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from clearing.margin.backtest import results
from clearing.margin.backtest.books import Linear, hedged, outright
from clearing.margin.backtest.report import _mean_requirement, coverage_of, crash_days, pooled, rate_for
from clearing.margin.backtest.results import book_results, date_of, portfolio_results, windows
from clearing.margin.backtest.series import Series, end_ms
from clearing.margin.backtest.statistics import kupiec_two_sided
from clearing.margin.backtest.walk import Past, Run, Walked, over_days, walk
from clearing.margin.table import MODELS
from clearing.model.ids import FeedId
from clearing.model.values import Parameters, ScanRange
from tests.unit.test_backtest_books import FIRST_DAY, series
from tests.unit.test_backtest_books import walk as drawn

DAYS = 420


def market() -> list[Series]:
    return [series(asset, drawn(n, DAYS)) for n, asset in enumerate(("A", "B", "C"))]


def runs(names: Sequence[str], move_bp: int = 1_000) -> list[Run]:
    ranges = tuple(ScanRange(underlying=FeedId(asset), move_bp=move_bp) for asset in ("A", "B", "C"))
    parameters = Parameters(scan_ranges=ranges)
    return [Run(name=name, model=MODELS[name], parameters=parameters) for name in names]


def walked(every: Sequence[Series], names: Sequence[str] = ("scan",), first: int = 0) -> Walked:
    family = Linear(every, outright(every) + hedged(every, ["A"]), least_days=5)
    (found,) = walk([family], Past(every), runs(names), lambda at_ms: at_ms >= end_ms(FIRST_DAY + first))
    return found


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_requirement_is_what_the_model_asks_of_that_book(name: str) -> None:
    every = market()
    found = walked(every, (name,), first=400)
    family = Linear(every, outright(every) + hedged(every, ["A"]), least_days=5)
    at_ms = end_ms(FIRST_DAY + 410)
    scene, (run,) = family.scene(at_ms), runs((name,))
    held = Past(every).market(run, scene.instruments, scene.prices, at_ms)
    array = run.model.risk_array(scene.instruments, held, run.parameters)
    row = list(found.times).index(at_ms)
    for number, lots in enumerate(scene.lots):
        book = {one.id: int(n) for one, n in zip(scene.instruments, lots, strict=True) if n}
        asked = run.model.margin(book, array, run.parameters).amount_minor
        assert found.requirement[name][row, number] == asked > 0


@pytest.mark.parametrize("name", sorted(MODELS))
def test_no_requirement_knows_what_comes_later(name: str) -> None:
    every = market()
    changed = []
    for one in every:
        close = one.close.copy()
        close[411:] *= np.linspace(1, 3, len(close) - 411)
        changed.append(replace(one, close=close))
    before, after = walked(every, (name,), first=400), walked(changed, (name,), first=400)
    rows = before.times <= end_ms(FIRST_DAY + 410)
    np.testing.assert_array_equal(before.requirement[name][rows], after.requirement[name][rows])
    assert (before.end[1][~rows][:-1] != after.end[1][~rows][:-1]).any()


def test_only_the_windows_that_are_wanted_are_walked() -> None:
    found = walked(market(), first=415)
    assert int((~np.isnan(found.gross)).any(axis=1).sum()) == 4


def test_two_days_ask_for_the_root_of_two_rounded_up() -> None:
    assert over_days(100, 1) == 100
    assert over_days(100, 2) == 142
    assert over_days(10**14, 2) == math.isqrt(2 * 10**28) + 1
    assert over_days(0, 2) == 0


def test_windows_of_two_days_do_not_overlap_within_a_phase() -> None:
    found = book_results(walked(market()), "scan", 2)
    one = [each for each in found if each.book == "A long"]
    assert [each.phase for each in one] == [0, 1]
    assert sum(each.observations for each in one) == len(windows(walked(market()), "scan", 0, 2).loss)
    assert abs(one[0].observations - one[1].observations) <= 1


def test_exceptions_are_counted_where_the_loss_is_larger() -> None:
    every = market()
    found = walked(every)
    of_a = next(one for one in book_results(found, "scan", 1) if one.book == "A long")
    losses = -(every[0].close[1:] / every[0].close[:-1] - 1)[5:]
    assert of_a.observations == len(losses)
    assert of_a.exceptions == int((losses > 0.1).sum()) > 0
    assert of_a.worst_exceedance == pytest.approx(losses.max() / 0.1, rel=1e-6)
    assert of_a.worst_day == date_of(end_ms(FIRST_DAY + 5 + int(losses.argmax())))
    assert of_a.mean_requirement == pytest.approx(0.1, rel=1e-6)
    assert of_a.largest_shortfall == pytest.approx(losses.max() - 0.1, rel=1e-5)


def test_a_fixed_rate_is_fitted_to_the_coverage_that_is_asked_for() -> None:
    found = walked(market())
    rate_bp = rate_for([found], 0.99)
    every = market()
    family = Linear(every, outright(every), least_days=5)
    (fitted,) = walk([family], Past(every), runs(("scan",), rate_bp))
    assert 0.99 <= coverage_of(pooled([fitted], "scan", "outright")) < 0.993
    (tighter,) = walk([family], Past(every), runs(("scan",), rate_bp - 10))
    assert coverage_of(pooled([tighter], "scan", "outright")) < 0.99


def test_a_day_of_crash_is_listed_once_with_the_book_that_lost_most() -> None:
    every = market()
    for one in every[:2]:
        one.close[300:] *= 0.6 if one.asset == "A" else 0.4
        one.low[300:] = one.high[300:] = one.close[300:]
        one.low[300] *= 0.5
    found = crash_days([walked(every)], "scan", None)
    assert (found[0].day, found[0].book) == (date_of(end_ms(FIRST_DAY + 299)), "B long")
    assert len({one.day for one in found}) == len(found)
    assert found[0].low_exceedance is not None
    assert found[0].low_exceedance > found[0].exceedance
    assert found[0].with_buffer == pytest.approx(found[0].exceedance / 1.25)


def test_a_portfolio_sums_up_its_books() -> None:
    found = walked(market())
    books = book_results(found, "scan", 1)
    hedges, alone = portfolio_results(found, books, "scan", 1, seed=1)
    assert (alone.portfolio, alone.books, hedges.books) == ("outright", 6, 8)
    assert alone.observations == sum(one.observations for one in books if one.portfolio == "outright")
    assert alone.tested_books == 0
    assert alone.worst_book is None


def test_a_portfolio_asks_for_the_mean_of_all_windows_and_not_of_the_means_of_its_books() -> None:
    every = [series("A", drawn(1, DAYS)), series("B", drawn(2, 60))]
    ranges = tuple(
        ScanRange(underlying=FeedId(asset), move_bp=bp) for asset, bp in (("A", 1_000), ("B", 4_000))
    )
    run = Run(name="scan", model=MODELS["scan"], parameters=Parameters(scan_ranges=ranges))
    (found,) = walk([Linear(every, outright(every), least_days=5)], Past(every), [run])
    books = book_results(found, "scan", 1)
    (alone,) = portfolio_results(found, books, "scan", 1, seed=1)
    of_all = _mean_requirement(pooled([found], "scan", "outright"))
    assert alone.mean_requirement == pytest.approx(of_all, rel=1e-12)
    assert alone.mean_requirement < 0.2 < np.mean([one.mean_requirement for one in books])


def test_kupiec_is_two_sided_for_an_unfloored_quantile_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = walked(market())
    assert {one.kupiec_two_sided_p for one in book_results(found, "scan", 1)} == {None}
    monkeypatch.setattr(results, "UNFLOORED", frozenset({"scan"}))
    one = book_results(found, "scan", 1)[0]
    assert one.kupiec_two_sided_p == kupiec_two_sided(one.exceptions, one.observations, results.TAIL)


def test_a_day_without_any_return_is_no_day_of_the_history() -> None:
    every = market()
    past = Past(every)
    for one in every:
        one.breaks[50] = True
    assert past.days_by(end_ms(FIRST_DAY + 60)) - Past(every).days_by(end_ms(FIRST_DAY + 60)) == 1
    assert past.days_by(end_ms(FIRST_DAY)) == 0
