"""Reads a folder of market data: CSV files, plain or gzip, with the columns that docs/backtest.md lists.

No asset, quote or date is known here: they are read off the files. A file may be missing unless the backtest cannot
do without it (``daily``); what is missing is said and what needs it is left out.

*Refused*, since nobody can say what was meant: a file that is no CSV, a column that is not there, a field that is no
number or no time, a time with an offset other than UTC, two rows of one key that differ. The error names file and
row, and what to do. *Mended with a finding*, since what to do is plain: rows out of order are sorted, a row that is
repeated is read once, a row without a price or with one of zero or less is dropped, so is a bar that is not on its
grid, a range that does not hold its close is forgotten, a close more than ten times off both of its neighbours, which
agree, is dropped. *Kept with a finding*: a gap (the step over it is no return) and a jump of more than three times
that stays: prices do that.

A long series of an asset is stitched from its quotes in the order in which they begin, each until the next begins;
the step between two is the difference of two venues, not a return. Series are joined by exact name only.

An asset is a stablecoin if half of its closes are within half a percent of one: it has no outright books, whatever
its name. One that breaks later stays one; one that never held is none.
"""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf, isnan, nan
from pathlib import Path
from typing import TextIO, TypeVar

import numpy as np

from clearing.margin.backtest.series import Finding, Flags, Floats, Series
from clearing.margin.model import Column
from clearing.model.values import DAY_MS

JUMP = 3.0
SPIKE = 10.0
STABLE_WITHIN = 0.005
ENDINGS = (".csv.gz", ".csv")
OPTIONAL = ("iv_surface_history", "hl_trades", "hl_ledger", "hl_liquidations")
"""What the page of options and real accounts is made of."""
T = TypeVar("T")


class DataRefused(Exception):
    """The folder cannot be used as it is: which file, which row, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The text of a file by column."""

    file: str
    columns: Mapping[str, Sequence[str]]
    rows: int

    def text(self, column: str) -> Sequence[str]:
        """A column as it stands."""
        if column not in self.columns:
            raise DataRefused(
                f"{self.file}: there is no column {column!r}, only {', '.join(self.columns)}; "
                "name the columns as docs/backtest.md does"
            )
        return self.columns[column]

    def numbers(self, column: str) -> Floats:
        """A column of numbers; NaN where the field is empty."""
        return np.array(self._each(column, _number, "a number"), np.float64)

    def times_ms(self, column: str) -> Column:
        """A column of times, in milliseconds since 1970."""
        return np.array(self._each(column, _time_ms, "a time of UTC (2020-03-12 09:00:00)"), np.int64)

    def _each(self, column: str, read: Callable[[str], T], what: str) -> list[T]:
        found = []
        for row, field in enumerate(self.text(column)):
            try:
                found.append(read(field))
            except ValueError:
                raise DataRefused(
                    f"{self.file} row {row + 2}: {column} {field!r} is not {what}; correct or remove the row"
                ) from None
        return found


def _number(field: str) -> float:
    return float(field) if field else float("nan")


def _time_ms(field: str) -> int:
    read = datetime.fromisoformat(field)
    if read.utcoffset() not in (None, timedelta(0)):
        raise ValueError(field)
    since = read.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketData:
    """What a folder holds. ``daily``: a long series by asset, stablecoins too. ``missing``: files that are not."""

    folder: str
    daily: Mapping[str, Series]
    missing: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_table(folder: Path, name: str) -> Table | None:
    """A file of the folder, ``name.csv.gz`` or ``name.csv``; None: there is none."""
    for path in (folder / f"{name}{ending}" for ending in ENDINGS):
        if path.is_file():
            return _read(path)
    return None


def _read(path: Path) -> Table:
    try:
        with _opened(path) as lines:
            reader = csv.reader(lines, strict=True)
            header = next(reader, [])
            rows = [_checked(path, number, row, header) for number, row in enumerate(reader, 2)]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataRefused(f"{path.name}: cannot be read as CSV ({error}); get the file anew") from None
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    return Table(file=path.name, columns=dict(zip(header, columns, strict=True)), rows=len(rows))


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _checked(path: Path, number: int, row: list[str], header: list[str]) -> list[str]:
    if len(row) != len(header):
        raise DataRefused(
            f"{path.name} row {number}: {len(row)} fields under {len(header)} columns; correct or remove the row"
        )
    return row


def read_market(folder: Path) -> MarketData:
    """The daily series of every asset, and what is to be said of it."""
    if not folder.is_dir():
        raise DataRefused(f"{folder}: there is no such folder; name one with --data")
    table = read_table(folder, "daily")
    if table is None:
        raise DataRefused(
            f"{folder}: there is no daily.csv.gz and no daily.csv; the backtest needs daily closes, laid out as "
            "docs/backtest.md says"
        )
    findings: list[Finding] = []
    daily = _stitched(_bars(table, findings), table.file, findings)
    missing = tuple(name for name in OPTIONAL if not any((folder / f"{name}{e}").is_file() for e in ENDINGS))
    return MarketData(folder=folder.name, daily=daily, missing=missing, findings=tuple(findings))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    """A daily row that can be used. ``day``: since 1970; ``line``: where it stands in its file."""

    asset: str
    quote: str
    day: int
    low: float
    high: float
    close: float
    volume_quote: float
    line: int


def _bars(table: Table, findings: list[Finding]) -> list[_Bar]:
    times = table.times_ms("date")
    lows, highs, closes = (table.numbers(name) for name in ("low", "high", "close"))
    volumes, units, kinds = table.numbers("volume"), table.text("volume_unit"), table.text("ohlc")
    assets, quotes = table.text("asset"), table.text("quote")
    seen = Counter[tuple[str, str]]()
    bars = []
    for row, close in enumerate(closes.tolist()):
        if times[row] % DAY_MS:
            seen[assets[row], "off_grid"] += 1
        elif not 0 < close < inf:
            seen[assets[row], "no_price"] += 1
        else:
            low, high = (float(lows[row]), float(highs[row])) if kinds[row] == "traded" else (nan, nan)
            if not isnan(low + high) and not 0 < low <= close <= high:
                seen[assets[row], "range"] += 1
                low = high = nan
            bars.append(
                _Bar(
                    asset=assets[row],
                    quote=quotes[row],
                    day=int(times[row]) // DAY_MS,
                    low=low,
                    high=high,
                    close=close,
                    volume_quote=float(volumes[row]) * (close if units[row] == "base" else 1),
                    line=row + 2,
                )
            )
    _say(findings, table.file, seen)
    return bars


DONE = {
    "off_grid": "dropped: its time is not the start of a bar of UTC",
    "no_price": "dropped: its close is empty, zero or negative",
    "range": "its low and high forgotten, its close kept: low <= close <= high does not hold",
    "duplicate": "read once: the same row again",
    "out_of_order": "sorted by time",
    "spike": "dropped: more than ten times off both neighbours, which agree",
    "gap": "kept as it is: no return over missing bars",
    "jump": "kept: a step of more than three times that stays",
    "overlap": "dropped: another quote has begun",
}
"""What is done about each kind of finding."""


def _say(findings: list[Finding], file: str, seen: Counter[tuple[str, str]]) -> None:
    findings += [
        Finding(file=file, kind=kind, subject=subject, count=count, done=DONE[kind])
        for (subject, kind), count in sorted(seen.items())
    ]


def _stitched(bars: Sequence[_Bar], file: str, findings: list[Finding]) -> Mapping[str, Series]:
    """One long series by asset."""
    by_asset: dict[str, dict[str, list[_Bar]]] = {}
    for bar in bars:
        by_asset.setdefault(bar.asset, {}).setdefault(bar.quote, []).append(bar)
    seen = Counter[tuple[str, str]]()
    found = {}
    for asset, quotes in sorted(by_asset.items()):
        parts = sorted(
            (_in_order(asset, rows, file, seen) for rows in quotes.values()),
            key=lambda part: (part[0].day, -len(part)),
        )
        kept = _without_spikes(asset, list(_one_after_other(asset, parts, seen)), seen)
        found[asset] = _series(asset, kept, seen)
    _say(findings, file, seen)
    return found


def _in_order(asset: str, rows: list[_Bar], file: str, seen: Counter[tuple[str, str]]) -> list[_Bar]:
    """Sorted, each bar once; two that differ are refused."""
    found: dict[int, _Bar] = {}
    last = -1
    for bar in rows:
        if bar.day < last:
            seen[asset, "out_of_order"] += 1
        last = max(last, bar.day)
        twin = found.setdefault(bar.day, bar)
        if twin is bar:
            continue
        if _prices(twin) != _prices(bar):
            raise DataRefused(
                f"{file} row {bar.line}: {asset}/{bar.quote} has other prices than row {twin.line} "
                "of the same time; remove the wrong one"
            )
        seen[asset, "duplicate"] += 1
    return [found[day] for day in sorted(found)]


def _prices(bar: _Bar) -> str:
    """Its prices as text, in which what is not known equals itself."""
    return repr((bar.low, bar.high, bar.close))


def _one_after_other(
    asset: str, parts: Sequence[Sequence[_Bar]], seen: Counter[tuple[str, str]]
) -> Iterator[_Bar]:
    """The quotes of an asset, each until the next begins; a part that begins with another one is left out."""
    for place, part in enumerate(parts):
        begins = min((other[0].day for other in parts[place + 1 :]), default=None)
        for bar in part:
            if begins is None or bar.day < begins:
                yield bar
            else:
                seen[asset, "overlap"] += 1


def _without_spikes(asset: str, bars: list[_Bar], seen: Counter[tuple[str, str]]) -> list[_Bar]:
    kept = bars[:1]
    for bar, after in zip(bars[1:], [*bars[2:], None], strict=False):
        before = kept[-1].close
        if after is not None and _is_spike(before, bar.close, after.close):
            seen[asset, "spike"] += 1
            continue
        kept.append(bar)
    return kept


def _is_spike(before: float, close: float, after: float) -> bool:
    off = min(_apart(before, close), _apart(after, close))
    return off > SPIKE and _apart(before, after) < JUMP


def _apart(one: float, other: float) -> float:
    return max(one / other, other / one)


def _series(asset: str, bars: Sequence[_Bar], seen: Counter[tuple[str, str]]) -> Series:
    days = np.array([bar.day for bar in bars], np.int64)
    close = np.array([bar.close for bar in bars])
    quotes = np.array([bar.quote for bar in bars])
    breaks: Flags = np.ones(len(bars), np.bool_)
    breaks[1:] = (np.diff(days) != 1) | (quotes[1:] != quotes[:-1])
    gaps = int((np.diff(days) != 1).sum())
    jumps = int((np.maximum(close[1:] / close[:-1], close[:-1] / close[1:])[~breaks[1:]] > JUMP).sum())
    seen.update({(asset, kind): count for kind, count in (("gap", gaps), ("jump", jumps)) if count})
    return Series(
        asset=asset,
        days=days,
        close=close,
        low=np.array([bar.low for bar in bars]),
        high=np.array([bar.high for bar in bars]),
        volume_quote=np.array([bar.volume_quote for bar in bars]),
        breaks=breaks,
        is_stable=is_stablecoin(close),
    )


def is_stablecoin(close: Floats) -> bool:
    """Half of its closes are within half a percent of one."""
    return bool(np.median(np.abs(close - 1)) < STABLE_WITHIN)
