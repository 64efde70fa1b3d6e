"""The demonstration's prices and scan ranges are what the market data say, and not chosen to suit."""

import csv
import gzip
from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from itertools import pairwise

import pytest

from clearing.demo.market import SCAN_RANGES, bars
from clearing.model.values import ScanRange
from tests.market_data import market_file

DAYS = 365
"""Twelve months, the least that EMIR RTS 153/2013 art. 25 takes."""


def closes_before(asset: str, last_day: str) -> list[Fraction]:
    with gzip.open(market_file("daily.csv.gz"), "rt") as lines:
        rows = [r for r in csv.DictReader(lines) if r["asset"] == asset and r["quote"] == "USD"]
    return [
        Fraction(row["close"]) for row in sorted(rows, key=lambda r: r["date"]) if row["date"] <= last_day
    ]


@pytest.mark.parametrize("scan", SCAN_RANGES, ids=lambda scan: str(scan.underlying))
def test_the_scan_range_is_the_99th_percentile_of_daily_moves_in_the_year_before(scan: ScanRange) -> None:
    closes = closes_before(scan.underlying, "2020-03-11")[-DAYS - 1 :]
    moves = sorted(abs(after / before - 1) for before, after in pairwise(closes))
    assert len(moves) == DAYS
    rank = -(-99 * (DAYS - 1) // 100)  # the higher of the two order statistics around the quantile
    percentile = Decimal(moves[rank].numerator) / Decimal(moves[rank].denominator)
    assert scan.move_bp == int((percentile * 10_000).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize(("asset", "field", "places"), [("BTC", "btc_ticks", 0), ("ETH", "eth_ticks", 1)])
def test_the_hourly_closes_are_the_real_ones(asset: str, field: str, places: int) -> None:
    with gzip.open(market_file("hourly_ohlcv.csv.gz"), "rt") as lines:
        real = {r["ts_utc"]: Decimal(r["close"]) for r in csv.DictReader(lines) if r["asset"] == asset}
    for bar in bars():
        close = real[f"2020-03-{bar.label[:2]} {bar.label[3:]}:00:00"]
        printed = Decimal(getattr(bar, field)) / 10
        assert abs(printed - close) < Decimal(10) ** -places, "closes are printed to the nearest or cut off"
