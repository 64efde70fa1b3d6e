"""The market's past, which scenarios are made of (rulebook §9.1): days that end, and days from before the house began.

1. The first snapshot of a UTC day ends the day before: the return of each underlying since it last closed is recorded
   with the mark at which it closes now. A house that was away for days records one return over all of them.
2. An underlying closes at the mark of the feed that has its name; without one at that of a perpetual on it, else of any
   future. A return is between two marks of one feed: when another feed takes over, the day has none.
3. Administrators bring in what was before, by underlying, in runs of consecutive days that have ended. What was
   imported can be imported again; a return that stands beside one of the house's own closes stays. A day of which the
   house has a close and no return, its first for one, has the imported one, whichever comes first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from clearing.margin.factors import MOVE_PPM_MAX
from clearing.margin.snapshot import last_closes
from clearing.model.commands import HISTORY_DAYS_MAX, ImportHistory
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import CODE_PATTERN, FeedId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import DAY_MS, PPM, DailyMoves, Instrument, InstrumentKind, UnderlyingMove
from ledger.amount import divide_down

DAYS_KEPT_MAX = 5_000
"""Days of history that the house keeps: with one more the oldest is forgotten."""


def end_day(draft: Draft, living: Iterable[Instrument], prices: Mapping[FeedId, int]) -> None:
    """Record what the market did since the last close, if this snapshot is the first of a day."""
    cycle, closes = draft.house.cycle, last_closes(draft.house.daily_moves)
    if cycle is not None and cycle.accepted_ms // DAY_MS == draft.now_ms // DAY_MS:
        return
    day = day_of(draft.now_ms - DAY_MS)
    moves = []
    for underlying, feed in _reference_feeds(living, prices).items():
        move_ppm = _move(closes.get(underlying), feed, prices[feed])
        if move_ppm is None:
            move_ppm = _imported(draft.house, day, underlying)
        moves.append(
            UnderlyingMove(underlying=underlying, move_ppm=move_ppm, feed=feed, close_ticks=prices[feed])
        )
    if moves:
        _record(draft, Kind.DAY_ENDED, {day: moves})


def _move(close: UnderlyingMove | None, feed: FeedId, ticks: int) -> int | None:
    """Rounded down: a fall looks no smaller than it was."""
    if close is None or close.feed != feed:
        return None
    return min(MOVE_PPM_MAX, divide_down((ticks - close.close_ticks) * PPM, close.close_ticks))


def _reference_feeds(living: Iterable[Instrument], prices: Mapping[FeedId, int]) -> dict[FeedId, FeedId]:
    """The feed at whose mark each underlying closes."""
    candidates: dict[FeedId, list[tuple[bool, bool, FeedId]]] = {}
    for one in living:
        if one.option is None and one.feed in prices:
            rank = (one.feed != one.underlying, one.kind is not InstrumentKind.PERPETUAL, one.feed)
            candidates.setdefault(one.underlying, []).append(rank)
    named = {u: [(False, False, u)] for u in candidates if u in prices}
    return {u: min(named.get(u) or candidates[u])[2] for u in sorted(candidates)}


def import_history(draft: Draft, command: ImportHistory) -> Rejected | None:
    """Record returns of days before the house knew the underlying."""
    first = _date(command.first_day)
    if first is None or not CODE_PATTERN.fullmatch(command.underlying):
        return Rejected(Reason.HISTORY_MALFORMED, "an underlying, and a first day such as 2026-01-31")
    if not 0 < len(command.moves_ppm) <= HISTORY_DAYS_MAX:
        return Rejected(Reason.HISTORY_MALFORMED, f"1 to {HISTORY_DAYS_MAX} days")
    if not all(-PPM < move <= MOVE_PPM_MAX for move in command.moves_ppm):
        return Rejected(Reason.HISTORY_MALFORMED, f"a return lies between {1 - PPM} and {MOVE_PPM_MAX}")
    today = date.fromisoformat(day_of(draft.now_ms))
    if first.toordinal() + len(command.moves_ppm) > today.toordinal():
        return Rejected(Reason.HISTORY_MALFORMED, f"{today} has not ended")
    days = [(first + timedelta(days=n)).isoformat() for n in range(len(command.moves_ppm))]
    if own := _own(draft.house, command.underlying, days):
        return Rejected(Reason.HISTORY_KNOWN, f"{command.underlying} {own}")
    moves = zip(days, command.moves_ppm, strict=True)
    _record(
        draft,
        Kind.HISTORY_IMPORTED,
        {day: [_with_return(draft.house, day, command.underlying, move)] for day, move in moves},
    )
    draft.tell(Kind.HISTORY_IMPORTED, f"{command.underlying} {days[0]} to {days[-1]}")
    return None


def _imported(house: House, day: str, underlying: FeedId) -> int | None:
    """The return that was brought in of a day of which the house has a close alone."""
    known = _known(house, day, underlying)
    return None if known is None else known.move_ppm


def _with_return(house: House, day: str, underlying: FeedId, move_ppm: int) -> UnderlyingMove:
    """The return of a day, beside the close that the house may have seen without knowing where it came from."""
    known = _known(house, day, underlying) or UnderlyingMove(underlying=underlying, move_ppm=None)
    return replace(known, move_ppm=move_ppm)


def _known(house: House, day: str, underlying: FeedId) -> UnderlyingMove | None:
    row = house.daily_moves.get(day)
    moves = () if row is None else row.moves
    return next((one for one in moves if one.underlying == underlying), None)


def _own(house: House, underlying: FeedId, days: Iterable[str]) -> str:
    """The first of ``days`` of which the house knows the return by its own marks."""
    for day in days:
        known = _known(house, day, underlying)
        if known is not None and known.close_ticks and known.move_ppm is not None:
            return day
    return ""


def _record(draft: Draft, kind: Kind, added: Mapping[str, list[UnderlyingMove]]) -> None:
    """Put rows with the moves ``added`` to them, and forget the oldest beyond what is kept."""
    known = draft.house.daily_moves
    rows = [Put("daily_moves", day, _with(known.get(day), day, moves)) for day, moves in added.items()]
    days = sorted({*known, *added})
    forgotten = [Drop("daily_moves", day) for day in days[: max(0, len(days) - DAYS_KEPT_MAX)]]
    draft.record(kind, *rows, *forgotten)


def _with(row: DailyMoves | None, day: str, moves: list[UnderlyingMove]) -> DailyMoves:
    of = {one.underlying: one for one in ([] if row is None else row.moves)} | {
        m.underlying: m for m in moves
    }
    found = DailyMoves(day=day, moves=tuple(of[underlying] for underlying in sorted(of)))
    return found if row is None else replace(row, moves=found.moves)


def day_of(at_ms: int) -> str:
    """The UTC day of a time."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).date().isoformat()


def _date(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if found.isoformat() == text else None
