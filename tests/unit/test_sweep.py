"""All portfolios at once: as alone, on any executor, after a tick, and behind a screen (rulebook §9)."""

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from random import Random

import numpy as np
import pytest
from distributed import Client, LocalCluster

from clearing.margin import screen
from clearing.margin.model import Positions
from clearing.margin.models import expected_shortfall
from clearing.margin.models.expected_shortfall import amounts, margin
from clearing.margin.sweep import part_of, swept
from clearing.margin.tick import amounts_after, array_after, changed_rows, holders_of
from clearing.model.values import RiskArray
from ledger.require import InvariantViolated
from tests.sweeps import UNDERLYINGS, array_in, book, listed, lots_of, market, parameters

GOLD, _, TIN, _ = UNDERLYINGS
PARAMETERS = parameters()


def alone(positions: Positions, array: RiskArray) -> list[int]:
    return [
        margin(lots_of(positions, portfolio, array), array, PARAMETERS).amount_minor
        for portfolio in range(positions.portfolios)
    ]


@pytest.fixture(scope="module")
def array() -> RiskArray:
    return array_in(market())


# at once ------------------------------------------------------------------------------------------


def test_portfolios_at_once_are_margined_as_alone(array: RiskArray) -> None:
    positions = book(1, 40)
    assert amounts(positions, array, PARAMETERS) == alone(positions, array)
    assert sum(amounts(positions, array, PARAMETERS)) > 0


def test_more_portfolios_than_a_chunk_are_margined_as_alone(
    array: RiskArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = book(2, 23)
    monkeypatch.setattr(expected_shortfall, "CHUNK", 4)
    assert amounts(positions, array, PARAMETERS) == alone(positions, array)


@pytest.mark.parametrize("most_lots", [10**6, 10**9, 10**12, 2**61])
def test_what_floating_point_does_not_hold_is_margined_as_alone(array: RiskArray, most_lots: int) -> None:
    positions = book(3, 12, most_lots)
    assert amounts(positions, array, PARAMETERS) == alone(positions, array)


def test_one_large_portfolio_leaves_the_others_exact(array: RiskArray) -> None:
    positions = book(4, 12)
    lots = positions.lots.copy()
    lots[positions.owners == positions.owners[0]] = 2**61
    mixed = replace(positions, lots=lots)
    assert amounts(mixed, array, PARAMETERS) == alone(mixed, array)


@pytest.mark.parametrize("tick_value_minor", [10**9, 10**12, 10**16])
def test_rows_that_floating_point_does_not_hold_are_margined_as_alone(tick_value_minor: int) -> None:
    array, positions = array_in(market(), tick_value_minor), book(5, 8)
    assert amounts(positions, array, PARAMETERS) == alone(positions, array)


def test_twice_the_tick_value_asks_for_twice_as_much() -> None:
    """Rows whose numbers stand in different kinds of columns agree but for the rounding of each lot."""
    positions = book(6, 10, most_lots=50)
    narrow = amounts(positions, array_in(market(), 10**6), PARAMETERS)
    wide = amounts(positions, array_in(market(), 10**6 * 10**9), PARAMETERS)
    for one, other in zip(narrow, wide, strict=True):
        assert abs(one * 10**9 - other) <= 10**9 * 50 * 10


# executors ----------------------------------------------------------------------------------------


def executors() -> Iterator[Executor]:
    yield ThreadPoolExecutor(1)
    yield ThreadPoolExecutor(3)
    yield ProcessPoolExecutor(2, mp_context=get_context("spawn"))


def test_any_executor_and_any_split_give_the_same(array: RiskArray) -> None:
    positions = book(7, 30)
    wanted = amounts(positions, array, PARAMETERS)
    for executor in executors():
        with executor:
            for parts in (1, 2, 7):
                assert swept(positions, array, PARAMETERS, executor, parts) == wanted


def test_more_parts_than_portfolios_are_as_good(array: RiskArray) -> None:
    with ThreadPoolExecutor(2) as executor:
        positions = book(8, 3)
        assert swept(positions, array, PARAMETERS, executor, 9) == amounts(positions, array, PARAMETERS)
        with pytest.raises(InvariantViolated, match="a sweep has a part"):
            swept(positions, array, PARAMETERS, executor, 0)


def test_the_order_of_accounts_and_of_positions_changes_nothing(array: RiskArray) -> None:
    positions, dice = book(9, 25), Random(9)
    wanted = amounts(positions, array, PARAMETERS)
    order = dice.sample(range(25), 25)
    assert amounts(part_of(positions, order), array, PARAMETERS) == [wanted[n] for n in order]
    places = np.array(dice.sample(range(len(positions.lots)), len(positions.lots)))
    shuffled = replace(
        positions, owners=positions.owners[places], rows=positions.rows[places], lots=positions.lots[places]
    )
    assert amounts(shuffled, array, PARAMETERS) == wanted


@pytest.mark.slow
def test_two_workers_of_a_cluster_give_the_same(array: RiskArray) -> None:
    positions = book(10, 30)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,  # type: ignore[no-untyped-call]
        Client(cluster) as client,  # type: ignore[no-untyped-call]
        client.get_executor() as executor,
    ):
        assert swept(positions, array, PARAMETERS, executor, 4) == amounts(positions, array, PARAMETERS)


# after a tick -------------------------------------------------------------------------------------


def test_a_tick_gives_what_a_sweep_of_everything_gives(array: RiskArray) -> None:
    positions, moved = book(11, 40), market(moved_bp={GOLD: 130})
    after = array_after(array, {GOLD}, listed(), moved, PARAMETERS)
    assert after == array_in(moved)
    assert all(
        (one is other) == (one.underlying != GOLD)
        for one, other in zip(array.instruments, after.instruments, strict=True)
    )
    before = amounts(positions, array, PARAMETERS)
    again = amounts_after(positions, before, array, after, PARAMETERS)
    assert again == amounts(positions, after, PARAMETERS)
    assert again != before


def test_a_tick_measures_holders_alone(array: RiskArray) -> None:
    positions = book(12, 40)
    after = array_after(array, {TIN}, listed(), market(moved_bp={TIN: -300}), PARAMETERS)
    rows = changed_rows(array, after)
    assert {array.instruments[row].underlying for row in rows} == {TIN}
    holders = set(holders_of(positions, rows).tolist())
    assert 0 < len(holders) < 40
    marked = [-1] * 40
    again = amounts_after(positions, marked, array, after, PARAMETERS)
    assert {n for n, amount in enumerate(again) if amount != -1} == holders


def test_a_tick_that_changes_nothing_measures_nobody(array: RiskArray) -> None:
    positions = book(13, 5)
    assert changed_rows(array, array_in(market())) == []
    assert amounts_after(positions, [1, 2, 3, 4, 5], array, array_in(market()), PARAMETERS) == [1, 2, 3, 4, 5]


def test_arrays_of_another_sort_are_not_compared(array: RiskArray) -> None:
    with pytest.raises(InvariantViolated, match="of one sort"):
        changed_rows(array, replace(array, filtered=array.filtered - 1))
    backwards = replace(array, instruments=array.instruments[::-1])
    with pytest.raises(InvariantViolated, match="the same rows"):
        changed_rows(array, backwards)
    first = array.instruments[0]
    shorter = replace(first, long_minor=first.long_minor[:-1], short_minor=first.short_minor[:-1])
    with pytest.raises(InvariantViolated, match="the same scenarios"):
        changed_rows(array, replace(array, instruments=(shorter, *array.instruments[1:])))


def test_a_tick_marks_what_was_marked_before(array: RiskArray) -> None:
    with pytest.raises(InvariantViolated, match="marked before"):
        array_after(array, {GOLD}, listed()[1:], market(), PARAMETERS)


# the screen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved_bp", [1, -40, 700, -2_500])
def test_the_screen_finds_everybody_whose_amount_is_above_the_limit(array: RiskArray, moved_bp: int) -> None:
    positions, moved = book(14, 60), market(moved_bp={GOLD: moved_bp, TIN: -moved_bp})
    after, before = array_in(moved), amounts(positions, array, PARAMETERS)
    exact = amounts(positions, after, PARAMETERS)
    for limits in (exact, [one - 1 for one in exact], [one * 2 for one in before], before):
        found = screen.above(positions, before, array, after, PARAMETERS, limits)
        assert found == {n: one for n, one in enumerate(exact) if one > limits[n]}


def test_the_screen_spares_most_portfolios_their_measuring(
    array: RiskArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = book(15, 60)
    after, before = array_in(market(moved_bp={GOLD: 20})), amounts(positions, array, PARAMETERS)
    measured: list[int] = []

    def counted(part: Positions, *others: object) -> list[int]:
        measured.append(part.portfolios)
        return amounts(part, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(expected_shortfall, "amounts", counted)
    limits = [amount * 12 // 10 for amount in before]
    assert screen.above(positions, before, array, after, PARAMETERS, limits) == {}
    assert measured == [0]


def test_the_screen_clears_nobody_whom_64_bits_do_not_hold(array: RiskArray) -> None:
    positions, after = book(16, 10, most_lots=2**61), array_in(market(moved_bp={GOLD: 500}))
    before, exact = amounts(positions, array, PARAMETERS), amounts(positions, after, PARAMETERS)
    limits = [one - 1 for one in exact]
    assert screen.above(positions, before, array, after, PARAMETERS, limits) == dict(enumerate(exact))


def test_the_screen_sees_the_minimum_of_an_option_held_short(array: RiskArray) -> None:
    """A minimum that outgrows every loss: what is required rises with the notional alone."""
    steep = replace(PARAMETERS, short_option_bp=9_000)
    count = len(array.instruments)
    short = [n for n in range(count) if array.instruments[n].delta_minor is not None]
    positions = Positions(
        portfolios=len(short),
        owners=np.arange(len(short)),
        rows=np.array(short),
        lots=np.full(len(short), -7),
    )
    after = array_in(market(moved_bp=dict.fromkeys(UNDERLYINGS, 300)))
    before, exact = amounts(positions, array, steep), amounts(positions, after, steep)
    limits = [one - 1 for one in exact]
    assert screen.above(positions, before, array, after, steep, limits) == dict(enumerate(exact))
