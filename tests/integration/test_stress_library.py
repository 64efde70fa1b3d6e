"""The stress library's figures are what the market data say, and not chosen to suit (rulebook §12)."""

import csv
import gzip
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cache
from math import ceil, floor

import pytest

from clearing.default.scenarios import (
    BTC,
    ETH,
    OTHERS,
    OTHERS_TIMES,
    SCENARIOS,
    VOLATILITY_FALL_BP,
    VOLATILITY_RISE_BP,
)
from clearing.model.ids import FeedId
from clearing.model.values import BP
from tests.market_data import market_file

DAYS = {
    "march-2020": ("2020-03-12", "2020-03-13"),
    "may-2021": ("2021-05-19", "2021-05-19"),
    "luna-2022": ("2022-05-09", "2022-05-12"),
    "june-2022": ("2022-06-13", "2022-06-13"),
    "ftx-2022": ("2022-11-08", "2022-11-09"),
}
FAILED_THEN = {"luna-2022": {"LUNA"}, "ftx-2022": {"FTT"}}
"""The tokens of the protocols that failed."""
NO_COIN = {"USDC", "TUSD"}
NAMED = {one.name: one for one in SCENARIOS}
ORDINARY_BP = 1_100
"""A rally below this is less than the ordinary move of a day."""

Series = list[tuple[str, Fraction]]


@cache
def hourly() -> dict[str, Series]:
    """Hourly closes of BTC and ETH."""
    found: dict[str, Series] = {"BTC": [], "ETH": []}
    with gzip.open(market_file("hourly_ohlcv.csv.gz"), "rt") as lines:
        for row in csv.DictReader(lines):
            if row["asset"] in found:
                found[row["asset"]].append((row["ts_utc"], Fraction(row["close"])))
    return {asset: sorted(rows) for asset, rows in found.items()}


@cache
def coins() -> dict[str, Series]:
    """Hourly closes of other coins, from 2021 on."""
    found: dict[str, Series] = {}
    with gzip.open(market_file("hourly_close.csv.gz"), "rt") as lines:
        for row in csv.DictReader(lines):
            for asset, close in row.items():
                if close and asset not in {"ts_utc", "BTC", "ETH", *NO_COIN}:
                    found.setdefault(asset, []).append((row["ts_utc"], Fraction(close)))
    return found


def within(series: Series, days: tuple[str, str]) -> list[Fraction]:
    """The closes from the last one before the first day to the end of the last day."""
    before = datetime.fromisoformat(days[0]) - timedelta(hours=1)
    first, last = before.isoformat(sep=" "), f"{days[1]} 23:00:00"
    return [price for at, price in series if first <= at <= last]


def fall(prices: list[Fraction]) -> Fraction:
    """The worst move from a price to a later one."""
    peak, worst = prices[0], Fraction(0)
    for price in prices:
        peak = max(peak, price)
        worst = min(worst, price / peak - 1)
    return worst


def rally(prices: list[Fraction]) -> Fraction:
    """The best move from a price to a later one."""
    trough, best = prices[0], Fraction(0)
    for price in prices:
        trough = min(trough, price)
        best = max(best, price / trough - 1)
    return best


@pytest.mark.parametrize("key", DAYS)
@pytest.mark.parametrize("feed", [BTC, ETH])
def test_a_historical_fall_is_the_worst_of_its_days_rounded_away_from_zero(key: str, feed: FeedId) -> None:
    worst = fall(within(hourly()[feed], DAYS[key]))
    assert NAMED[f"{key} fall"].move_of(feed).price_bp == floor(worst * BP)


@pytest.mark.parametrize("key", DAYS)
def test_a_historical_rally_is_the_best_of_its_days_and_left_out_if_it_was_ordinary(key: str) -> None:
    best = {feed: ceil(rally(within(hourly()[feed], DAYS[key])) * BP) for feed in (BTC, ETH)}
    if max(best.values()) < ORDINARY_BP:
        assert f"{key} rally" not in NAMED
    else:
        assert best == {feed: NAMED[f"{key} rally"].move_of(feed).price_bp for feed in best}


@pytest.mark.parametrize("key", [key for key in DAYS if key != "march-2020"])
def test_no_coin_fell_further_than_others_are_taken_to_but_the_token_of_who_failed(key: str) -> None:
    falls = {
        coin: fall(prices)
        for coin, series in coins().items()
        if len(prices := within(series, DAYS[key])) > 1 and coin not in FAILED_THEN.get(key, set())
    }
    assert len(falls) >= 7
    taken = NAMED[f"{key} fall"].move_of(OTHERS).price_bp
    assert min(falls.values()) * BP >= taken
    assert taken == OTHERS_TIMES * min(NAMED[f"{key} fall"].move_of(feed).price_bp for feed in (BTC, ETH))


def test_once_is_not_enough_for_the_others() -> None:
    worst = min(
        fall(within(coins()["SOL"], DAYS["ftx-2022"])), fall(within(coins()["AVAX"], DAYS["luna-2022"]))
    )
    assert worst * BP < min(NAMED["ftx-2022 fall"].move_of(feed).price_bp for feed in (BTC, ETH)) * 3 // 2


@pytest.mark.parametrize(("key", "token"), [("luna-2022", "LUNA"), ("ftx-2022", "FTT")])
def test_the_token_of_who_failed_lost_nearly_everything(key: str, token: str) -> None:
    assert fall(within(coins()[token], DAYS[key])) < Fraction(-85, 100)


@cache
def snapshots() -> dict[str, dict[str, Series]]:
    """Four times a day, by currency: index prices, as read beside each expiry within seconds, and by expiry, with five
    days left or more, volatilities at the money.
    """
    found: dict[str, dict[str, Series]] = {"BTC": {}, "ETH": {}}
    with gzip.open(market_file("iv_surface_history.csv.gz"), "rt") as lines:
        for row in csv.DictReader(lines):
            series = found[row["currency"]]
            series.setdefault("index", []).append((row["ts_utc"], Fraction(row["index_price"])))
            if row["atm_iv"] and float(row["ttm_years"]) * 365 > 5:
                series.setdefault(row["expiry"], []).append((row["ts_utc"], Fraction(row["atm_iv"])))
    return {currency: {name: sorted(rows) for name, rows in one.items()} for currency, one in found.items()}


def on_the_day(series: Series, day: str) -> list[Fraction]:
    """What the last snapshot before a day says, and those of the day."""
    last = max((at for at, _ in series if at < day), default="")
    return [price for at, price in series if at == last or at.startswith(day)]


@pytest.mark.parametrize("feed", [BTC, ETH])
def test_the_fall_of_february_2026_is_that_of_the_snapshots_and_so_are_its_volatilities(feed: FeedId) -> None:
    series, move = snapshots()[feed], NAMED["february-2026 fall"].move_of(feed)
    assert len({at for at, _ in series["index"] if at.startswith("2026-02-05")}) == 4
    assert move.price_bp == floor(fall(on_the_day(series["index"], "2026-02-05")) * BP)
    days = (on_the_day(one, "2026-02-05") for name, one in series.items() if name != "index")
    rises = [rally(values) for values in days if len(values) > 1]
    assert move.volatility_bp == ceil(max(rises) * BP)


def test_the_others_fall_twice_as_far_in_february_2026_and_their_volatility_as_that_of_btc() -> None:
    scenario = NAMED["february-2026 fall"]
    btc, eth, others = (scenario.move_of(feed) for feed in (BTC, ETH, OTHERS))
    assert others.price_bp == OTHERS_TIMES * min(btc.price_bp, eth.price_bp)
    assert others.volatility_bp == max(btc.volatility_bp, eth.volatility_bp)


def test_the_fall_of_february_2026_ended_before_midnight_and_no_rally_belongs_to_its_day() -> None:
    for feed in (BTC, ETH):
        index = snapshots()[feed]["index"]
        day, night = (on_the_day(index, one) for one in ("2026-02-05", "2026-02-06"))
        assert rally(day) * BP < ORDINARY_BP
        assert min(night) == min(day), "it did not go on after midnight"


@pytest.mark.parametrize(
    ("name", "coin", "days", "move"),
    [
        (
            "thin tokens collapse",
            "FTT",
            ("2022-11-08", "2022-11-09"),
            lambda prices: floor(fall(prices) * BP),
        ),
        (
            "thin tokens squeezed",
            "DOGE",
            ("2021-01-28", "2021-01-28"),
            lambda prices: ceil(rally(prices) * BP),
        ),
    ],
)
def test_thin_tokens_alone_go_as_far_as_one_of_them_did(
    name: str, coin: str, days: tuple[str, str], move: Callable[[list[Fraction]], int]
) -> None:
    scenario = NAMED[name]
    assert scenario.move_of(OTHERS).price_bp == move(within(coins()[coin], days))
    assert {scenario.move_of(feed).price_bp for feed in (BTC, ETH)} == {0}


def test_what_ust_and_luna_lost_lies_on_both_sides_of_the_collapse() -> None:
    taken = Fraction(NAMED["thin tokens collapse"].move_of(OTHERS).price_bp, BP)
    with market_file("ust_depeg_hourly_202205.csv").open() as lines:
        ust = fall([Fraction(row["close"]) for row in csv.DictReader(lines)])
    assert fall(within(coins()["LUNA"], DAYS["luna-2022"])) < taken < ust
    assert round(ust, 3) == Fraction(-741, 1_000)


def test_the_squeeze_went_on_after_midnight_to_eleven_times_the_price() -> None:
    after = within(coins()["DOGE"], ("2021-01-28", "2021-01-29"))
    assert 10 < rally(after) < 11


def widest(prices: list[Fraction], hours: int) -> tuple[Fraction, Fraction]:
    """The worst fall and the best rally from one of the last ``hours`` to now, at any time."""
    found = [
        (price / max(prices[at - hours : at]) - 1, price / min(prices[at - hours : at]) - 1)
        for at, price in enumerate(prices)
        if at >= hours
    ]
    return min(low for low, _ in found), max(high for _, high in found)


@pytest.mark.slow
@pytest.mark.parametrize("feed", [BTC, ETH])
def test_the_hypothetical_moves_go_further_than_any_four_days_did(feed: FeedId) -> None:
    low, high = widest([price for _, price in hourly()[feed]], 96)
    assert NAMED["largest fall"].move_of(feed).price_bp < low * BP
    assert NAMED["largest rise"].move_of(feed).price_bp > high * BP


@pytest.mark.slow
def test_btc_and_eth_part_further_than_in_any_four_days() -> None:
    btc = dict(hourly()["BTC"])
    low, high = widest([price / btc[at] for at, price in hourly()["ETH"] if at in btc], 96)

    def parting(name: str) -> Fraction:
        eth, other = (NAMED[name].move_of(feed).price_bp for feed in (ETH, BTC))
        return Fraction(BP + eth, BP + other) - 1

    assert parting("BTC falls, ETH rises") > high
    assert parting("BTC rises, ETH falls") < low


def two_days_on(series: Iterable[tuple[datetime, Fraction]]) -> list[Fraction]:
    """Every move from a snapshot to another within two days."""
    rows = sorted(series)
    return [
        after / before - 1
        for at, (start, before) in enumerate(rows)
        for end, after in rows[at + 1 :]
        if end - start <= timedelta(days=2)
    ]


def test_volatility_moves_as_far_as_it_did_in_two_days() -> None:
    series: dict[tuple[str, str], list[tuple[datetime, Fraction]]] = {}
    with gzip.open(market_file("iv_surface_history.csv.gz"), "rt") as lines:
        for row in csv.DictReader(lines):
            if row["atm_iv"] and float(row["ttm_years"]) * 365 > 5:
                at = datetime.fromisoformat(row["ts_utc"])
                series.setdefault((row["currency"], row["expiry"]), []).append((at, Fraction(row["atm_iv"])))
    moves = [move for one in series.values() for move in two_days_on(one)]
    assert (floor(min(moves) * BP), ceil(max(moves) * BP)) == (VOLATILITY_FALL_BP, VOLATILITY_RISE_BP)
