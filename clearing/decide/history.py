"""The market's past, which scenarios are made of (rulebook §9.1): days that end, and days from before the house began.

1. The first snapshot of a UTC day ends the day before: the return of each underlying since it last closed is recorded
   with the mark at which it closes now. A house that was away for days records one return over all of them.
2. An underlying closes at the mark of the feed that has its name; without one by the feed by which it closed before, as
   long as that is marked; else by that of a perpetual on it, of a future, or of an option, in this order. A return is
   between two marks of one feed, the one of the close before: that one day on which it is marked no longer has none.
3. Administrators bring in what was before, by underlying, in runs of consecutive days that have ended, of which no
   return is known: what is known, imported or not, is not imported again, for zeros would loosen margin at once. A day
   of which the house has a close and no return, its first for one, has the imported one, whichever comes first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from clearing.margin.factors import MOVE_PPM_MAX
from clearing.margin.snapshot import last_closes, move_since
from clearing.model.commands import HISTORY_DAYS_MAX, ImportHistory
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import CODE_PATTERN, FeedId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import DAY_MS, PPM, DailyMoves, Instrument, InstrumentKind, UnderlyingMove

DAYS_KEPT_MAX = 5_000
"""Days of history that the house keeps: with one more the oldest is forgotten."""
_CLOSES_BY = (InstrumentKind.PERPETUAL, InstrumentKind.FUTURE, InstrumentKind.OPTION)


def end_day(draft: Draft, living: Iterable[Instrument], prices: Mapping[FeedId, int]) -> None:
    """Record what the market did since the last close, if this snapshot is the first of a day."""
    cycle, closes = draft.house.cycle, last_closes(draft.house.daily_moves)
    if cycle is not None and cycle.accepted_ms // DAY_MS == draft.now_ms // DAY_MS:
        return
    day = day_of(draft.now_ms - DAY_MS)
    moves = []
    for underlying, feed in _reference_feeds(living, prices, closes).items():
        move_ppm = move_since(closes.get(underlying), prices)
        if move_ppm is None:
            move_ppm = _return_of(draft.house, day, underlying)
        moves.append(
            UnderlyingMove(underlying=underlying, move_ppm=move_ppm, feed=feed, close_ticks=prices[feed])
        )
    if moves:
        _record(draft, Kind.DAY_ENDED, {day: moves})


def _reference_feeds(
    living: Iterable[Instrument], prices: Mapping[FeedId, int], closes: Mapping[FeedId, UnderlyingMove]
) -> dict[FeedId, FeedId]:
    """The feed at whose mark each underlying closes. That of the last close comes before those that rank by name:
    to list another one would erase the day of a crash otherwise.
    """
    ranked = sorted(living, key=lambda one: (_CLOSES_BY.index(one.kind), one.feed))
    feeds: dict[FeedId, list[FeedId | None]] = {}
    for one in ranked:
        last = closes.get(one.underlying)
        first = [one.underlying, None if last is None else last.feed]
        feeds.setdefault(one.underlying, first).append(one.feed)
    marked = {u: [feed for feed in feeds[u] if feed is not None and feed in prices] for u in sorted(feeds)}
    return {underlying: found[0] for underlying, found in marked.items() if found}


def import_history(draft: Draft, command: ImportHistory) -> Rejected | None:
    """Record returns of days of which none is known."""
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
    known = [day for day in days if _return_of(draft.house, day, command.underlying) is not None]
    if known:
        return Rejected(Reason.HISTORY_KNOWN, f"{command.underlying} {known[0]}")
    moves = zip(days, command.moves_ppm, strict=True)
    _record(
        draft,
        Kind.HISTORY_IMPORTED,
        {day: [_with_return(draft.house, day, command.underlying, move)] for day, move in moves},
    )
    draft.tell(Kind.HISTORY_IMPORTED, f"{command.underlying} {days[0]} to {days[-1]}")
    return None


def _return_of(house: House, day: str, underlying: FeedId) -> int | None:
    """The return that is known of a day, by the house's own marks or because it was brought in."""
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
