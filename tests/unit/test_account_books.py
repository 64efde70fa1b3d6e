"""Accounts rebuilt from their trades, and where those stood that were liquidated."""

from collections.abc import Sequence

import numpy as np
import pytest

from clearing.margin.backtest.account_books import (
    LOTS_PER_COIN,
    MINOR_PER_UNIT,
    TICKS_PER_UNIT,
    Accounts,
    Payment,
    Trade,
)
from clearing.margin.backtest.bridged import walk_bridged, with_ranges
from clearing.margin.backtest.liquidations import Liquidated, Standing, Standings, count
from clearing.margin.table import MODELS
from clearing.model.ids import FeedId
from clearing.model.values import DAY_MS, HOUR_MS, Parameters
from tests.surfaces import history

DAY = 19_000
START = DAY * DAY_MS
BTC = FeedId("BTC")
LOOKING = MODELS["expected_shortfall"]


def trade(hours: float, user: str, coin: str, coins: float, price: float) -> Trade:
    return Trade(
        at_ms=START + int(hours * HOUR_MS),
        user=user,
        coin=coin,
        ticks=round(price * TICKS_PER_UNIT),
        lots=round(coins * LOTS_PER_COIN),
    )


def paid(hours: float, user: str, dollars: int) -> Payment:
    return Payment(at_ms=START + int(hours * HOUR_MS), user=user, minor=dollars * MINOR_PER_UNIT)


TRADES = [
    trade(1, "a", "BTC", 2, 100),
    trade(2, "b", "BTC", -1, 110),
    trade(3, "a", "NEW", 5, 10),
    trade(25, "b", "BTC", 1, 120),
    trade(49, "a", "BTC", -1, 90),
    trade(50, "a", "NEW", -5, 12),
]
PAID = [paid(0, "a", 50), paid(30, "a", -10)]


def accounts(trades: Sequence[Trade] = TRADES, payments: Sequence[Payment] = PAID) -> Accounts:
    return Accounts(trades, payments, underlyings=(BTC,), earlier=history())


def parameters(made: Accounts) -> Parameters:
    return with_ranges(Parameters(), made.path.history.underlyings)


def test_a_position_is_the_sum_of_what_was_bought_and_sold_before() -> None:
    made = accounts()
    assert made.lots(START + HOUR_MS)["a"] == {}
    assert made.lots(START + HOUR_MS + 1)["a"] == {"BTC": 2 * LOTS_PER_COIN}
    assert made.lots(START + 3 * DAY_MS)["a"] == {"BTC": LOTS_PER_COIN, "NEW": 0}
    assert made.lots(START + 3 * DAY_MS)["b"] == {"BTC": 0}


def test_a_book_gains_what_the_last_prices_of_two_days_differ_by() -> None:
    made = accounts()
    scene = made.scene(START + DAY_MS)
    assert [one.id for one in scene.instruments] == ["BTC-PERP"]  # NEW did not trade on the second day
    assert scene.prices == {BTC: 110 * TICKS_PER_UNIT}
    assert scene.lots.tolist() == [[2 * LOTS_PER_COIN], [-LOTS_PER_COIN]]
    assert (scene.end_minor[1] / MINOR_PER_UNIT).tolist() == [20, -10]
    assert (scene.gross_minor / MINOR_PER_UNIT).tolist() == [220, 110]


def test_what_has_no_price_on_both_days_is_left_out_and_counted() -> None:
    found = accounts().left_out()
    assert (found.positions, found.of_positions) == (2, 5)
    assert found.notional_minor == 2 * 50 * MINOR_PER_UNIT
    assert found.of_notional_minor == (220 + 110 + 50 + 240 + 50) * MINOR_PER_UNIT


@pytest.mark.parametrize(
    ("hours", "dollars"), [(0, 0), (1, 50), (3, 70), (25, 70), (30, 90), (31, 80), (72, 30)]
)
def test_equity_is_what_was_paid_in_and_what_trades_made(hours: int, dollars: int) -> None:
    assert accounts().equity_minor("a", START + hours * HOUR_MS) == dollars * MINOR_PER_UNIT


def test_returns_need_a_price_on_both_days_and_follow_the_long_history() -> None:
    made = accounts()
    assert made.path.history.underlyings == ("BTC", "NEW")
    own = made.path.history.moves_ppm[600:]
    none = np.iinfo(np.int64).min
    assert own.tolist() == [[none, none], [90_909, none], [-250_000, none]]
    assert made.day(START + DAY_MS) == 601


def test_a_coin_without_history_is_margined_by_proxy_and_for_more() -> None:
    only = [trade(h, user, coin, 1, 100) for h in (1, 25) for user, coin in (("a", "BTC"), ("b", "NEW"))]
    made = accounts(only, [])
    walked = walk_bridged(made, [LOOKING], parameters(made))
    btc, new = walked.requirement["expected_shortfall"][0]
    assert new > btc * 1.2


def test_the_books_of_one_midnight_do_not_know_the_next_day() -> None:
    changed = [*TRADES[:3], trade(25, "b", "BTC", 1, 20), *TRADES[4:]]
    one, other = (accounts(trades) for trades in (TRADES, changed))
    asked = [
        walk_bridged(each, [LOOKING], parameters(each)).requirement["expected_shortfall"]
        for each in (one, other)
    ]
    assert np.array_equal(asked[0][0], asked[1][0])


def standing_with(dollars: int) -> Standing:
    made = accounts([trade(1, "a", "BTC", 1, 100), trade(100, "a", "BTC", 1, 100)], [paid(0, "a", dollars)])
    return Standings(made, LOOKING, parameters(made)).standing("a", START + DAY_MS)


def test_standings_turn_at_maintenance_and_at_the_requirement() -> None:
    # one smallest unit below and at M, and at R = 1.25 M rounded up
    margin = standing_with(0).margin_minor
    asked = -(-margin * 12_500 // 10_000)
    for equity, status in (
        (margin - 1, "short"),
        (margin, "called"),
        (asked - 1, "called"),
        (asked, "healthy"),
    ):
        made = accounts(
            [trade(1, "a", "BTC", 1, 100), trade(100, "a", "BTC", 1, 100)],
            [Payment(at_ms=START, user="a", minor=equity)],
        )
        found = Standings(made, LOOKING, parameters(made)).standing("a", START + DAY_MS)
        assert (found.status, found.margin_minor) == (status, margin)


def test_a_liquidation_is_looked_at_the_midnight_before_and_after_the_last_own_trade() -> None:
    made = accounts(
        [trade(1, "a", "BTC", 1, 100), trade(30, "a", "BTC", 9, 100), trade(40, "a", "BTC", -10, 95)],
        [paid(0, "a", 60)],
    )
    standings = Standings(made, LOOKING, parameters(made))
    at_ms = START + 40 * HOUR_MS
    known = Liquidated(at_ms=at_ms, user="a", notional_minor=950 * MINOR_PER_UNIT)
    stranger = Liquidated(at_ms=at_ms, user="z", notional_minor=1)
    (found,) = standings.before([known, stranger])
    assert (found.at_midnight.at_ms, found.at_midnight.status) == (START + DAY_MS, "healthy")
    assert (found.after_own_trade.at_ms, found.after_own_trade.status) == (START + 30 * HOUR_MS + 1, "short")
    assert found.after_own_trade.notional_minor == 1_000 * MINOR_PER_UNIT


def test_midnights_count_only_accounts_that_hold_something() -> None:
    made = accounts()
    found = Standings(made, LOOKING, parameters(made)).at_midnights()
    assert len(found) == 3  # both after the first day, one after the second
    assert sum(count(found).values()) == 3
    assert count(found)["flat"] == 0
