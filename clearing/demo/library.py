"""The scenarios: the historical ones of the stress library (rulebook §12) for which there are hourly prices.

March 2020 is here, so that the demonstration runs anywhere. The others are read from the folder of market data,
``CLEARING_MARKET_DATA``: the same code, other dates and prices. There are no hourly prices of 2023 and later, so
11 March 2023, 5 August 2024 and 10 October 2025 are left out.
"""

import csv
import gzip
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from math import ceil, isqrt
from pathlib import Path

from clearing.demo.market import BTC, DAY_HOURS, ETH, UNDERLYINGS, Market, bars_of, next_variance
from clearing.model.ids import FeedId
from clearing.model.values import BP, ScanRange

FOLDER = "CLEARING_MARKET_DATA"
HOURS = 56
"""A scenario: a day and some hours of crash, and a day more, until what was assessed is due."""
DAYS = 365
"""Twelve months, the least that EMIR RTS 153/2013 art. 25 takes."""
WARM_UP_HOURS = 90 * DAY_HOURS
TICKS_A_DOLLAR = 10


class DataMissing(Exception):
    """The scenario needs market data that are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A crash by its dates. ``first``: the label of its first bar, UTC."""

    key: str
    title: str
    first: str

    @property
    def first_ms(self) -> int:
        """The label of the first bar."""
        return round(datetime.fromisoformat(self.first).replace(tzinfo=UTC).timestamp()) * 1_000


MARCH_2020 = Scenario(
    key="march-2020", title="12 and 13 March 2020: the pandemic crash", first="2020-03-12 09:00:00"
)
SCENARIOS = (
    MARCH_2020,
    Scenario(
        key="may-2021",
        title="19 May 2021: China's ban and a wave of liquidations",
        first="2021-05-18 22:00:00",
    ),
    Scenario(
        key="luna-2022", title="9 to 12 May 2022: LUNA and TerraUSD collapse", first="2022-05-11 06:00:00"
    ),
    Scenario(key="june-2022", title="13 June 2022: Celsius stops withdrawals", first="2022-06-12 22:00:00"),
    Scenario(key="ftx-2022", title="8 November 2022: FTX collapses", first="2022-11-08 15:00:00"),
)

CLOSES = {
    BTC: (
        *(73633, 73425, 63344, 60309, 60254, 59668, 60817, 61249, 60818, 61126, 59834, 60329, 57151, 57917),
        *(58018, 48417, 46714, 41118, 50498, 53654, 48659, 49800, 52460, 54315, 53500, 58427, 56381, 54542),
        *(56203, 56355, 54231, 52507, 52171, 52179, 50248, 54535, 54440, 55810, 56850, 56227, 54917, 55246),
        *(56044, 56051, 55432, 54639, 54550, 55295, 53809, 52612, 54314, 54923, 54517, 53083, 53809, 53209),
        54029,
    ),
    ETH: (
        *(1690, 1673, 1386, 1360, 1363, 1339, 1397, 1398, 1392, 1419, 1371, 1377, 1286, 1302),
        *(1272, 1094, 1069, 995, 1158, 1291, 1122, 1170, 1268, 1286, 1270, 1342, 1324, 1291),
        *(1319, 1335, 1283, 1256, 1241, 1246, 1201, 1294, 1291, 1306, 1350, 1354, 1340, 1342),
        *(1337, 1341, 1326, 1314, 1313, 1329, 1290, 1264, 1294, 1296, 1291, 1264, 1276, 1275),
        1290,
    ),
}
"""Bitstamp, tenths of a dollar: 12 March 2020 08:00 UTC and the 56 hours after."""
OPENING_VOLATILITY_BP = {BTC: 7_371, ETH: 12_168}
SCAN_RANGES = (
    ScanRange(underlying=BTC, move_bp=1_301, volatility_bp=6_397),
    ScanRange(underlying=ETH, move_bp=1_555, volatility_bp=6_383),
)


def load(key: str) -> Market:
    """The market of a scenario. Raises :class:`DataMissing`."""
    scenario = next(one for one in SCENARIOS if one.key == key)
    if scenario is not MARCH_2020:
        return read(scenario, data_folder())
    return Market(
        key=scenario.key,
        title=scenario.title,
        bars=bars_of(scenario.first_ms, CLOSES, OPENING_VOLATILITY_BP),
        scan_ranges=SCAN_RANGES,
    )


def data_folder() -> Path:
    """The folder of market data. Raises :class:`DataMissing`."""
    folder = os.environ.get(FOLDER, "")
    if not folder:
        raise DataMissing(
            f"this scenario reads market data: set {FOLDER} to their folder ({MARCH_2020.key} needs none)"
        )
    return Path(folder)


def read(scenario: Scenario, folder: Path) -> Market:
    """A scenario from the files of ``folder``. Raises :class:`DataMissing`."""
    hourly, daily = _hourly(folder), _daily(folder)
    closes, known, ranges = {}, {}, []
    for underlying in UNDERLYINGS:
        first = _position(hourly[underlying], scenario, folder)
        prices = [price for _, price in hourly[underlying]]
        closes[underlying] = prices[first - 1 : first + HOURS]
        year = prices[first - DAYS * DAY_HOURS - WARM_UP_HOURS : first]
        known[underlying] = volatility_before(year)[WARM_UP_HOURS:]
        moves = _moves(daily[underlying], scenario.first[:10])
        ranges.append(_scan_range(underlying, moves, known[underlying]))
    opening_bp = {underlying: volatilities[-1] for underlying, volatilities in known.items()}
    bars = bars_of(scenario.first_ms, closes, opening_bp)
    return Market(key=scenario.key, title=scenario.title, bars=bars, scan_ranges=tuple(ranges))


def _position(hours: list[tuple[str, int]], scenario: Scenario, folder: Path) -> int:
    """Where a scenario begins."""
    labels = [at for at, _ in hours]
    if scenario.first not in labels:
        raise DataMissing(f"{folder} has no prices of {scenario.first}")
    return labels.index(scenario.first)


def _scan_range(underlying: FeedId, moves: list[Fraction], volatility_bp: list[int]) -> ScanRange:
    """The ranges of the eve; the volatility is compared with that of a day before, back from the eve."""
    daily = volatility_bp[::-DAY_HOURS][::-1]
    return ScanRange(
        underlying=underlying,
        move_bp=percentile_bp(moves),
        volatility_bp=percentile_bp(Fraction(after, before) - 1 for before, after in pairwise(daily)),
    )


def volatility_before(closes: list[int]) -> list[int]:
    """The modelled volatility after each of ``closes``; it begins with nothing known, and forgets that."""
    variance, found = 0, [0]
    for before, after in pairwise(closes):
        variance = next_variance(variance, before, after)
        found.append(isqrt(variance))
    return found


def percentile_bp(moves: Iterable[Fraction]) -> int:
    """The 99th percentile of absolute moves (of the two order statistics around it the higher), rounded up."""
    ordered = sorted(abs(move) for move in moves)
    return ceil(ordered[-(-99 * (len(ordered) - 1) // 100)] * BP)


def _moves(days: list[tuple[str, str, Fraction]], first_day: str) -> list[Fraction]:
    """Daily moves of the year before; where the series changes its venue there is none."""
    known = [day for day in days if day[0] < first_day][-DAYS - 1 :]
    return [b / a - 1 for (_, one, a), (_, other, b) in pairwise(known) if one == other]


def _hourly(folder: Path) -> dict[FeedId, list[tuple[str, int]]]:
    found: dict[FeedId, list[tuple[str, int]]] = {u: [] for u in UNDERLYINGS}
    for row in _rows(folder / "hourly_ohlcv.csv.gz"):
        if row["asset"] in found:
            ticks = round(Fraction(row["close"]) * TICKS_A_DOLLAR)
            found[FeedId(row["asset"])].append((row["ts_utc"], ticks))
    return found


def _daily(folder: Path) -> dict[FeedId, list[tuple[str, str, Fraction]]]:
    found: dict[FeedId, list[tuple[str, str, Fraction]]] = {u: [] for u in UNDERLYINGS}
    for row in _rows(folder / "daily.csv.gz"):
        if row["asset"] in found:
            found[FeedId(row["asset"])].append((row["date"], row["quote"], Fraction(row["close"])))
    return {u: sorted(days) for u, days in found.items()}


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
            yield from csv.DictReader(lines)
    except FileNotFoundError as error:
        raise DataMissing(f"there is no {path}: set {FOLDER} to the folder of market data") from error
