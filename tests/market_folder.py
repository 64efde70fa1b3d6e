"""Folders of market data with the layout of the real one, other assets and other dates: prices drawn by a seed."""

import csv
import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np

DAILY = ("date", "asset", "quote", "open", "high", "low", "close", "volume", "volume_unit", "source", "ohlc")
FIRST = date(2030, 1, 1)

Row = Mapping[str, object]


def write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> Path:
    """A CSV file, gzip if its name says so."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def bar(
    day: date,
    asset: str,
    close: float,
    *,
    quote: str = "EUR",
    low: float = 0,
    high: float = 0,
    ohlc: str = "traded",
) -> dict[str, object]:
    """A daily row that nothing is wrong with."""
    return {
        "date": day.isoformat(),
        "asset": asset,
        "quote": quote,
        "open": close,
        "high": high or close,
        "low": low or close,
        "close": close,
        "volume": 10,
        "volume_unit": "base",
        "source": "somewhere",
        "ohlc": ohlc,
    }


def bars(
    asset: str, closes: Iterable[float], *, first: date = FIRST, quote: str = "EUR"
) -> list[dict[str, object]]:
    """A row a day."""
    return [bar(first + timedelta(days=n), asset, close, quote=quote) for n, close in enumerate(closes)]


def drawn(
    asset: str, days: int, *, seed: int, first: date = FIRST, sigma: float = 0.03
) -> list[dict[str, object]]:
    """A random walk with fat tails, with a range a day."""
    steps = np.random.default_rng(seed).standard_t(4, days) * sigma
    closes = 100 * np.exp(np.cumsum(np.clip(steps, -0.5, 0.5)))
    return [
        bar(first + timedelta(days=n), asset, float(close), low=float(close) * 0.97, high=float(close) * 1.03)
        for n, close in enumerate(closes)
    ]


def folder(path: Path, rows: Iterable[Row], *, name: str = "daily.csv") -> Path:
    """A folder with these daily rows."""
    path.mkdir(exist_ok=True)
    write(path / name, DAILY, rows)
    return path
