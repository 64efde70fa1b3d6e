"""The demonstration's prices, scan ranges and volatilities are what the market data say, and not chosen to suit."""

import csv
import gzip
import math
from dataclasses import replace
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest

from clearing.demo.library import (
    CLOSES,
    HOURS,
    MARCH_2020,
    OPENING_VOLATILITY_BP,
    SCAN_RANGES,
    SCENARIOS,
    Scenario,
    load,
    percentile_bp,
    read,
)
from clearing.demo.listing import Listing, expiries
from clearing.demo.market import BTC, ETH, UNDERLYINGS, bars_of, trailing_volatility
from clearing.model.ids import FeedId
from clearing.model.values import ScanRange
from tests.market_data import market_file

DAYS = 365
"""Twelve months, the least that EMIR RTS 153/2013 art. 25 takes."""
HOURS_A_YEAR = 8_760


def closes_before(asset: str, last_day: str) -> list[Fraction]:
    with gzip.open(market_file("daily.csv.gz"), "rt") as lines:
        rows = [r for r in csv.DictReader(lines) if r["asset"] == asset and r["quote"] == "USD"]
    return [
        Fraction(row["close"]) for row in sorted(rows, key=lambda r: r["date"]) if row["date"] <= last_day
    ]


def hourly(asset: str) -> dict[str, Decimal]:
    with gzip.open(market_file("hourly_ohlcv.csv.gz"), "rt") as lines:
        return {r["ts_utc"]: Decimal(r["close"]) for r in csv.DictReader(lines) if r["asset"] == asset}


@pytest.mark.parametrize("scan", SCAN_RANGES, ids=lambda scan: str(scan.underlying))
def test_the_scan_range_is_the_99th_percentile_of_daily_moves_in_the_year_before(scan: ScanRange) -> None:
    closes = closes_before(scan.underlying, "2020-03-11")[-DAYS - 1 :]
    moves = sorted(abs(after / before - 1) for before, after in pairwise(closes))
    assert len(moves) == DAYS
    rank = -(-99 * (DAYS - 1) // 100)  # the higher of the two order statistics around the quantile
    percentile = Decimal(moves[rank].numerator) / Decimal(moves[rank].denominator)
    assert scan.move_bp == int((percentile * 10_000).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize("asset", UNDERLYINGS)
def test_the_hourly_closes_are_the_real_ones(asset: FeedId) -> None:
    real = hourly(asset)
    for bar in load(MARCH_2020.key).bars:
        close = real[f"2020-03-{bar.label[:2]} {bar.label[3:]}:00:00"]
        assert abs(Decimal(bar.ticks[asset]) / 10 - close) <= Decimal("0.05")


def test_what_is_kept_of_march_2020_is_what_is_read_from_the_data() -> None:
    assert read(MARCH_2020, market_file("daily.csv.gz").parent) == load(MARCH_2020.key)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.key)
def test_every_scenario_has_all_its_hours_and_ranges_that_the_house_takes(scenario: Scenario) -> None:
    market = read(scenario, market_file("daily.csv.gz").parent)
    assert len(market.bars) == HOURS
    assert {after.known_ms - before.known_ms for before, after in pairwise(market.bars)} == {3_600_000}
    for scan in market.scan_ranges:
        assert 0 < scan.move_bp < 5_000
        assert 0 < scan.volatility_bp < 10_000


@pytest.mark.parametrize("asset", UNDERLYINGS)
def test_the_volatility_is_the_ewma_of_the_returns_before_of_closes_in_ticks(asset: FeedId) -> None:
    closes = [float(round(close * 10)) for _, close in sorted(hourly(asset).items())]
    labels = sorted(hourly(asset))
    first = labels.index(MARCH_2020.first)
    variance = 0.0
    for number in range(first - 24 * 100, first + HOURS):
        if number >= first:
            published = load(MARCH_2020.key).bars[number - first].volatility_bp[asset]
            assert published == pytest.approx(10_000 * math.sqrt(variance * HOURS_A_YEAR), rel=2e-3)
        variance = 0.99 * variance + 0.01 * (closes[number] / closes[number - 1] - 1) ** 2


def test_a_volatility_knows_nothing_of_the_close_it_is_published_with() -> None:
    changed = {u: (*closes[:-1], closes[-1] * 2) for u, closes in CLOSES.items()}
    bars = bars_of(MARCH_2020.first_ms, changed, OPENING_VOLATILITY_BP)
    assert [bar.volatility_bp for bar in bars] == [bar.volatility_bp for bar in load(MARCH_2020.key).bars]
    assert bars[-1].ticks != load(MARCH_2020.key).bars[-1].ticks


def test_the_trailing_volatility_counts_the_hour_before_last() -> None:
    assert trailing_volatility([100, 100, 100], 5_000) == [5_000, math.isqrt(5_000**2 * 99 // 100)]
    assert trailing_volatility([100, 110, 100], 5_000)[1] > 5_000


def test_a_percentile_is_rounded_up_and_takes_the_higher_of_two_order_statistics() -> None:
    moves = [Fraction(n, 10_000) for n in range(-99, 1)]
    assert percentile_bp(moves) == 99
    assert percentile_bp([Fraction(1, 30_000)]) == 1


def test_strikes_are_round_and_around_the_first_price_and_expiries_are_fridays() -> None:
    market = load(MARCH_2020.key)
    names = [one.id for one in Listing.of(market).instruments]
    assert names[:2] == ["BTC-PERP", "ETH-PERP"]
    assert "BTC-27MAR20-8100-C" in names
    assert "ETH-24APR20-150-P" in names
    assert len(names) == 2 + 2 * 2 * 2
    friday = 1_585_296_000_000  # 2020-03-27 08:00 UTC
    assert expiries(market.bars[0].known_ms) == (friday, friday + 28 * 86_400_000)


def test_an_option_is_priced_by_the_close_and_the_volatility_published_with_it() -> None:
    market = load(MARCH_2020.key)
    listing, bar = Listing.of(market), market.bars[0]
    call = listing.named(listing.instruments[2].id)
    assert (call.underlying, call.option is not None) == (BTC, True)
    calmer = replace(bar, volatility_bp={BTC: 1, ETH: 1})
    assert 0 <= listing.price(call.id, calmer) < listing.price(call.id, bar) < bar.ticks[BTC]
