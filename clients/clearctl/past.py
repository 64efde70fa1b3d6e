"""Daily closes in a file, as the returns that a house takes: exact, rounded down, and nothing made up.

A file is CSV with a header that has ``date`` and ``close``; a day's close is known at its end, 24:00 UTC. With a column
``asset`` the rows of one asset are read. Where a column ``quote`` changes, a new run begins: the step from one currency
to another is no return.
"""

import csv
import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from io import StringIO
from itertools import pairwise
from math import floor
from pathlib import Path

PPM = 1_000_000
RETURN_PPM_MIN, RETURN_PPM_MAX = 1 - PPM, 100 * PPM
"""What a house takes for a return."""
DAYS_AT_ONCE_MAX = 1_000
"""Days that one change brings in."""
EXPONENT_MAX = 40
"""Beyond 10^±40 nothing is a price."""


class PastRefused(ValueError):
    """A file that says no run of daily closes; the text names the line."""


@dataclass(frozen=True, slots=True)
class Returns:
    """Returns of consecutive days, in parts per million of the close before."""

    first: date
    moves_ppm: tuple[int, ...]

    @property
    def last(self) -> date:
        """The last of the days."""
        return self.first + timedelta(days=len(self.moves_ppm) - 1)


@dataclass(frozen=True, slots=True)
class _Close:
    line: int
    day: date
    close: Fraction
    quote: str


def returns_in(path: Path, asset: str | None) -> list[Returns]:
    """The returns in a file, in parts that a house takes. Raises :class:`PastRefused`, and ``OSError``."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
        closes = list(_closes(csv.DictReader(StringIO(text, newline="")), asset))
    except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as error:
        raise PastRefused(f"it is no CSV: {error}") from None
    found = [part for run in _runs(closes) for part in _parts(run)]
    if not found:
        raise PastRefused("two days that follow each other are needed for a return")
    return found


def _closes(rows: "csv.DictReader[str]", asset: str | None) -> Iterator[_Close]:
    columns = rows.fieldnames or ()
    missing = [name for name in ("date", "close", *(["asset"] if asset else [])) if name not in columns]
    if missing:
        raise PastRefused(f"line 1: there is no column {missing[0]}")
    if "asset" in columns and not asset:
        raise PastRefused("line 1: there is a column asset: say which with --asset")
    for row in rows:
        if not asset or row["asset"] == asset:
            line = rows.line_num
            day, close = _day(row["date"], line), _price(row["close"], line)
            yield _Close(line, day, close, row.get("quote") or "")


def _day(text: str | None, line: int) -> date:
    try:
        found = date.fromisoformat(text or "")
    except ValueError:
        raise PastRefused(f"line {line}: {text} is no day such as 2026-01-31") from None
    if found.isoformat() != text:
        raise PastRefused(f"line {line}: {text} is no day such as 2026-01-31")
    return found


def _price(text: str | None, line: int) -> Fraction:
    try:
        found = Decimal(text or "")
    except InvalidOperation:
        raise PastRefused(f"line {line}: the close {text!r} is no number") from None
    if not found.is_finite() or found <= 0 or abs(found.adjusted()) > EXPONENT_MAX:
        raise PastRefused(f"line {line}: the close {text} is no price: it has to be above zero")
    return Fraction(found)


def _runs(closes: Iterable[_Close]) -> Iterator[list[_Close]]:
    """Closes of days that follow each other in one currency."""
    run: list[_Close] = []
    for one in closes:
        if run:
            _require_next(run[-1], one)
        if run and one.quote != run[-1].quote:
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _require_next(before: _Close, one: _Close) -> None:
    if one.day == before.day:
        raise PastRefused(f"line {one.line}: {one.day} stands in line {before.line} already")
    if one.day < before.day:
        raise PastRefused(f"line {one.line}: {one.day} comes before {before.day} in line {before.line}")
    if (wanted := before.day + timedelta(days=1)) != one.day:
        raise PastRefused(f"line {one.line}: {wanted} is missing before it")


def _parts(run: list[_Close]) -> Iterator[Returns]:
    moves = [_return(before, one) for before, one in pairwise(run)]
    for place in range(0, len(moves), DAYS_AT_ONCE_MAX):
        yield Returns(run[place + 1].day, tuple(moves[place : place + DAYS_AT_ONCE_MAX]))


def _return(before: _Close, one: _Close) -> int:
    """Rounded down: a fall looks no smaller than it was."""
    move = floor((one.close - before.close) * PPM / before.close)
    if not RETURN_PPM_MIN <= move <= RETURN_PPM_MAX:
        raise PastRefused(
            f"line {one.line}: from {before.day} to {one.day} the price moves beyond what is possible"
        )
    return move
