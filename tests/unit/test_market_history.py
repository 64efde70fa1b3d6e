"""The market's past: days that end by the house's own marks, and days from before it began (rulebook §9.1)."""

from dataclasses import replace
from pathlib import Path
from re import findall

import pytest

from clearing.decide import history
from clearing.margin.factors import MOVE_PPM_MAX
from clearing.margin.snapshot import array_of, last_closes, volatilities_ppm
from clearing.model.commands import (
    HISTORY_DAYS_MAX,
    PRICE_TICKS_MAX,
    ApproveProposal,
    ImportHistory,
    ListInstrument,
)
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import (
    DAY_MS,
    PPM,
    InstrumentKind,
    OptionTerms,
    Right,
    ScanRange,
    UnderlyingMove,
)
from tests.builders import (
    ANNA,
    BERT,
    BTC,
    ETH_FEED,
    PARAMETERS,
    START_MS,
    World,
    empty_house,
    perpetual,
    proposing_change,
)

MIDNIGHT_MS = START_MS // DAY_MS * DAY_MS
FOUNDED_ON = "2020-03-12"
GOLD = FeedId("GOLD")


CALM = replace(PARAMETERS, outage_after_ms=30 * DAY_MS, mark_validity_ms=30 * DAY_MS)
"""A house that hears nothing for days is in an outage otherwise."""


def priced() -> World:
    """BTC at 8,000.0, ETH at 200.0, in the morning of the day."""
    world = empty_house(CALM)
    world.prices(BTC=80_000, ETH=2_000)
    return world


def moves_of(world: World, day: str) -> dict[FeedId, UnderlyingMove]:
    return {one.underlying: one for one in world.state.daily_moves[day].moves}


def at(world: World, days: int, *, before_ms: int = 0) -> World:
    """The world so many midnights after the day on which it was founded, or a little before."""
    world.now_ms = MIDNIGHT_MS + days * DAY_MS - before_ms - 1_000
    return world


def imported(underlying: str = "BTC", first_day: str = "2020-01-01", *moves_ppm: int) -> ImportHistory:
    return ImportHistory(
        underlying=FeedId(underlying), first_day=first_day, moves_ppm=moves_ppm or (-20_000, 15_000)
    )


# ------------------------------------------------------------------------------------------ days that end


def test_the_first_snapshot_of_a_house_is_a_close_without_a_return() -> None:
    world = priced()
    assert list(world.state.daily_moves) == ["2020-03-11"]
    assert moves_of(world, "2020-03-11")[BTC] == UnderlyingMove(
        underlying=BTC, move_ppm=None, feed=BTC, close_ticks=80_000
    )


def test_a_day_ends_with_the_first_snapshot_at_or_after_midnight_and_with_no_other() -> None:
    world = priced()
    at(world, 1, before_ms=1).prices(BTC=81_000, ETH=2_000)
    assert FOUNDED_ON not in world.state.daily_moves
    at(world, 1).prices(BTC=82_000, ETH=1_999)
    assert moves_of(world, FOUNDED_ON)[BTC] == UnderlyingMove(
        underlying=BTC, move_ppm=25_000, feed=BTC, close_ticks=82_000
    )
    known = world.state.daily_moves
    world.prices(BTC=90_000, ETH=2_000)
    at(world, 2, before_ms=1).prices(BTC=90_000, ETH=2_000)
    assert world.state.daily_moves is known
    at(world, 2).prices(BTC=82_000, ETH=1_999)
    assert sorted(world.state.daily_moves) == ["2020-03-11", FOUNDED_ON, "2020-03-13"]


@pytest.mark.parametrize(
    ("ticks", "move_ppm"), [(79_999, -13), (80_001, 12), (80_000, 0), (1, -999_988), (10**13, MOVE_PPM_MAX)]
)
def test_a_return_is_rounded_down_and_bounded(ticks: int, move_ppm: int) -> None:
    world = priced()
    at(world, 1).prices(BTC=ticks, ETH=2_000)
    assert moves_of(world, FOUNDED_ON)[BTC].move_ppm == move_ppm


def test_a_house_that_was_away_for_days_records_one_return_over_all_of_them() -> None:
    world = priced()
    at(world, 4).prices(BTC=88_000, ETH=2_000)
    assert sorted(world.state.daily_moves) == ["2020-03-11", "2020-03-15"]
    assert moves_of(world, "2020-03-15")[BTC].move_ppm == 100_000


def with_gold() -> World:
    """Gold has no mark of its own name: a future, of a day's life, marks it until a perpetual does."""
    gold = ScanRange(underlying=GOLD, move_bp=1_000)
    world = empty_house(replace(CALM, scan_ranges=(*PARAMETERS.scan_ranges, gold)))
    future = replace(
        perpetual(InstrumentId("GOLD-MAR"), GOLD, 100, 1),
        kind=InstrumentKind.FUTURE,
        feed=FeedId("GOLD-MAR"),
        expires_ms=START_MS + 9 * DAY_MS,
    )
    world.ok(ListInstrument(instrument=future))
    world.prices(BTC=80_000, ETH=2_000, **{"GOLD-MAR": 500})
    return world


def test_a_close_stays_with_its_feed_as_long_as_that_is_marked() -> None:
    """Else to list a future whose feed sorts first would erase the day of a crash."""
    world = with_gold()
    first = replace(
        perpetual(InstrumentId("GOLD-A"), GOLD, 100, 1),
        kind=InstrumentKind.FUTURE,
        feed=FeedId("GOLD-A"),
        expires_ms=START_MS + 9 * DAY_MS,
    )
    spot = replace(perpetual(InstrumentId("GOLD-PERP"), GOLD, 100, 1), feed=FeedId("GOLD-PERP"))
    for one in (first, spot):
        world.ok(ListInstrument(instrument=one))
    at(world, 1).prices(BTC=80_000, ETH=2_000, **{"GOLD-MAR": 300, "GOLD-A": 300, "GOLD-PERP": 300})
    assert moves_of(world, FOUNDED_ON)[GOLD] == UnderlyingMove(
        underlying=GOLD, move_ppm=-400_000, feed=FeedId("GOLD-MAR"), close_ticks=300
    )


def test_when_a_feed_is_marked_no_longer_the_best_takes_over_and_that_one_day_has_no_return() -> None:
    world = with_gold()
    spot = replace(perpetual(InstrumentId("GOLD-PERP"), GOLD, 100, 1), feed=FeedId("GOLD-PERP"))
    world.ok(ListInstrument(instrument=spot))
    both = {"GOLD-MAR": 550, "GOLD-PERP": 600}
    at(world, 9).prices(BTC=80_000, ETH=2_000, **both)
    assert moves_of(world, "2020-03-20")[GOLD].move_ppm == 100_000
    at(world, 10).prices(BTC=80_000, ETH=2_000, **both)
    assert moves_of(world, "2020-03-21")[GOLD].feed == "GOLD-MAR", "it expires by this mark"
    at(world, 11).prices(BTC=80_000, ETH=2_000, **{"GOLD-PERP": 600})
    taken_over = moves_of(world, "2020-03-22")[GOLD]
    assert (taken_over.feed, taken_over.move_ppm, taken_over.close_ticks) == ("GOLD-PERP", None, 600)
    at(world, 12).prices(BTC=80_000, ETH=2_000, **{"GOLD-PERP": 630})
    assert moves_of(world, "2020-03-23")[GOLD].move_ppm == 50_000


def test_the_feed_with_the_name_takes_over_at_once_and_the_return_is_still_that_of_the_other() -> None:
    world = with_gold()
    world.ok(ListInstrument(instrument=perpetual(InstrumentId("GOLD-PERP"), GOLD, 100, 1)))
    at(world, 1).prices(BTC=80_000, ETH=2_000, GOLD=900, **{"GOLD-MAR": 300})
    assert moves_of(world, FOUNDED_ON)[GOLD] == UnderlyingMove(
        underlying=GOLD, move_ppm=-400_000, feed=GOLD, close_ticks=900
    )
    at(world, 2).prices(BTC=80_000, ETH=2_000, GOLD=990, **{"GOLD-MAR": 300})
    assert moves_of(world, "2020-03-13")[GOLD].move_ppm == 100_000


@pytest.mark.parametrize(
    ("others", "feed"),
    [
        ((), "A"),
        (("FUTURE",), "B"),
        (("FUTURE", "PERPETUAL"), "C"),
        (("FUTURE", "PERPETUAL", "NAME"), "GOLD"),
    ],
    ids=["options alone", "a future", "a perpetual", "its own name"],
)
def test_an_underlying_closes_by_its_own_name_then_a_perpetual_then_a_future_then_an_option(
    others: tuple[str, ...], feed: str
) -> None:
    gold = ScanRange(underlying=GOLD, move_bp=1_000, volatility_bp=3_000)
    world = empty_house(replace(CALM, scan_ranges=(*PARAMETERS.scan_ranges, gold)))
    perp, expires_ms = perpetual(InstrumentId("GOLD-C"), GOLD, 100, 1), START_MS + 9 * DAY_MS
    terms = OptionTerms(right=Right.CALL, strike_ticks=500, volatility_feed=FeedId("IV"))
    listed = {
        "OPTION": replace(
            perp, kind=InstrumentKind.OPTION, feed=FeedId("A"), option=terms, expires_ms=expires_ms
        ),
        "FUTURE": replace(perp, kind=InstrumentKind.FUTURE, feed=FeedId("B"), expires_ms=expires_ms),
        "PERPETUAL": replace(perp, feed=FeedId("C")),
        "NAME": replace(perp, kind=InstrumentKind.FUTURE, expires_ms=expires_ms),
    }
    prices = {"IV": 8_000}
    for name in ("OPTION", *others):
        world.ok(ListInstrument(instrument=replace(listed[name], id=InstrumentId(f"G-{name}"))))
        prices[listed[name].feed] = 500
    world.prices(BTC=80_000, ETH=2_000, **prices)
    assert moves_of(world, "2020-03-11")[GOLD].feed == feed
    at(world, 1).prices(BTC=80_000, ETH=2_000, **prices | {feed: 400})
    assert moves_of(world, FOUNDED_ON)[GOLD].move_ppm == -200_000


def test_a_leap_from_the_least_price_to_the_greatest_stops_no_cycle() -> None:
    model = replace(CALM, margin_model="expected_shortfall")
    world = empty_house(model)
    world.ok(imported("BTC", "2019-05-01", *(30_000 * (-1) ** day for day in range(300))))
    world.prices(BTC=80_000, ETH=1)
    at(world, 1).prices(BTC=80_000, ETH=1)
    world.prices(BTC=80_000, ETH=PRICE_TICKS_MAX)
    assert world.state.newest_cycle.number == 3
    assert array_of(world.state).instruments
    assert volatilities_ppm(world.state)[BTC] > 0
    at(world, 2).prices(BTC=80_000, ETH=PRICE_TICKS_MAX)
    assert moves_of(world, "2020-03-13")[ETH_FEED].move_ppm == MOVE_PPM_MAX


def test_the_feed_that_has_the_name_of_the_underlying_is_taken_before_any_other() -> None:
    world = priced()
    other = replace(perpetual(InstrumentId("BTC-A"), BTC, 100, 1), feed=FeedId("A"))
    world.ok(ListInstrument(instrument=other))
    at(world, 1).prices(BTC=81_000, ETH=2_000, A=1)
    assert moves_of(world, FOUNDED_ON)[BTC].feed == BTC


def test_beyond_what_is_kept_the_oldest_day_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "DAYS_KEPT_MAX", 4)
    world = priced()
    world.ok(imported("BTC", "2020-01-01", 1, 2, 3))
    assert sorted(world.state.daily_moves) == ["2020-01-01", "2020-01-02", "2020-01-03", "2020-03-11"]
    at(world, 1).prices(BTC=80_000, ETH=2_000)
    assert sorted(world.state.daily_moves) == ["2020-01-02", "2020-01-03", "2020-03-11", FOUNDED_ON]
    world.ok(imported("ETH", "2019-12-31", 7, 8, 9))
    assert sorted(world.state.daily_moves) == ["2020-01-02", "2020-01-03", "2020-03-11", FOUNDED_ON]
    assert ETH_FEED in moves_of(world, "2020-01-02")


# ------------------------------------------------------------------------------------------ what was before


@pytest.mark.parametrize(
    "command",
    [
        imported("btc"),
        imported(""),
        imported("BTC\n"),
        imported("BTC", "2020-1-1"),
        imported("BTC", "20200101"),
        imported("BTC", "2020-02-30"),
        imported("BTC", ""),
        imported("BTC", "2020-W01-1"),
        replace(imported(), moves_ppm=()),
        replace(imported(), moves_ppm=(1,) * (HISTORY_DAYS_MAX + 1), first_day="2017-01-01"),
        imported("BTC", "2020-01-01", -PPM),
        imported("BTC", "2020-01-01", 1, MOVE_PPM_MAX + 1),
        imported("BTC", FOUNDED_ON, 1),
        imported("BTC", "2020-03-10", 1, 1, 1),
        imported("BTC", "2020-03-13", 1),
        imported("BTC", "9999-12-31", 1, 1),
    ],
    ids=lambda command: f"{command.underlying!r} {command.first_day} {len(command.moves_ppm)}",
)
def test_what_is_no_run_of_days_that_have_ended_is_refused(command: ImportHistory) -> None:
    assert priced().reason(command) == Reason.HISTORY_MALFORMED.name
    assert empty_house().reason(command) == Reason.HISTORY_MALFORMED.name


@pytest.mark.parametrize(
    "command",
    [
        replace(imported(), moves_ppm=(1,) * HISTORY_DAYS_MAX, first_day="2017-01-01"),
        imported("BTC", "2020-01-01", 1 - PPM, MOVE_PPM_MAX),
        imported("BTC", "2020-03-10", 1, 1),
        imported("BTC", "0001-01-01", 1),
        imported("SOL", "2020-03-11", 1),
    ],
    ids=["as many days as there may be", "the ends", "yesterday", "the first day of all", "a stranger"],
)
def test_what_is_just_within_the_bounds_is_taken(command: ImportHistory) -> None:
    world = priced()
    outcome = world.ok(command)
    assert outcome.events[-1].kind == Kind.HISTORY_IMPORTED.name
    first = moves_of(world, command.first_day)[command.underlying]
    assert first.move_ppm == command.moves_ppm[0]


def test_the_days_are_recorded_one_after_the_other_over_the_end_of_a_month() -> None:
    world = priced()
    outcome = world.ok(imported("BTC", "2020-02-28", 1, 2, 3))
    assert {day: moves_of(world, day)[BTC].move_ppm for day in sorted(world.state.daily_moves)[:3]} == {
        "2020-02-28": 1,
        "2020-02-29": 2,
        "2020-03-01": 3,
    }
    assert outcome.events[-1].subject == "BTC 2020-02-28 to 2020-03-01"


def test_a_return_that_the_house_recorded_by_its_own_marks_stays() -> None:
    world = priced()
    at(world, 1).prices(BTC=82_000, ETH=2_000)
    assert world.reason(imported("BTC", FOUNDED_ON, 1)) == Reason.HISTORY_KNOWN.name
    assert world.reason(imported("BTC", "2020-03-01", *range(1, 13))) == Reason.HISTORY_KNOWN.name
    world.ok(imported("BTC", "2020-03-01", *range(1, 12)))
    world.ok(imported("SOL", FOUNDED_ON, 1))
    assert set(moves_of(world, FOUNDED_ON)) == {BTC, ETH_FEED, "SOL"}


def test_a_day_of_which_the_house_has_a_close_and_no_return_is_filled_once() -> None:
    world = priced()
    world.ok(imported("BTC", "2020-03-11", -30_000))
    assert moves_of(world, "2020-03-11")[BTC] == UnderlyingMove(
        underlying=BTC, move_ppm=-30_000, feed=BTC, close_ticks=80_000
    )
    assert last_closes(world.state.daily_moves)[BTC].close_ticks == 80_000
    assert world.reason(imported("BTC", "2020-03-11", -30_001)) == Reason.HISTORY_KNOWN.name


def test_the_first_close_keeps_the_return_that_was_imported_of_its_day_before() -> None:
    world = empty_house(CALM)
    world.ok(imported("BTC", "2020-03-10", 1, -30_000))
    world.prices(BTC=80_000, ETH=2_000)
    assert moves_of(world, "2020-03-11") == {
        BTC: UnderlyingMove(underlying=BTC, move_ppm=-30_000, feed=BTC, close_ticks=80_000),
        ETH_FEED: UnderlyingMove(underlying=ETH_FEED, move_ppm=None, feed=ETH_FEED, close_ticks=2_000),
    }
    at(world, 1).prices(BTC=82_000, ETH=2_000)
    assert moves_of(world, FOUNDED_ON)[BTC].move_ppm == 25_000


def test_what_was_imported_is_not_imported_again() -> None:
    """Not even the same, nor beside days of which nothing is known: zeros would loosen margin at once."""
    world = priced()
    world.ok(imported("BTC", "2020-01-02", 1, 0, 3))
    known = world.state.daily_moves
    for again in (
        imported("BTC", "2020-01-02", 0, 0, 0),
        imported("BTC", "2020-01-02", 1, 0, 3),
        imported("BTC", "2020-01-03", 7),
        imported("BTC", "2020-01-01", 5, 5),
        imported("BTC", "2020-01-04", 5, 5),
    ):
        assert world.reason(again) == Reason.HISTORY_KNOWN.name
    assert world.state.daily_moves is known
    refused = world.do(imported("BTC", "2020-01-01", 5, 5, 5)).results[0]
    assert refused.detail == "BTC 2020-01-02"
    world.ok(imported("BTC", "2020-01-01", 5))
    world.ok(imported("BTC", "2020-01-05", 6))
    world.ok(imported("ETH", "2020-01-02", 9))
    assert [moves_of(world, f"2020-01-0{day}")[BTC].move_ppm for day in range(1, 6)] == [5, 1, 0, 3, 6]
    assert moves_of(world, "2020-01-02")[ETH_FEED].move_ppm == 9


def test_before_the_first_snapshot_one_brings_in_a_history_and_from_then_on_two_do() -> None:
    world = empty_house()
    assert world.send(imported(), ANNA).accepted
    world.prices(BTC=80_000, ETH=2_000)
    late = imported("BTC", "2019-12-30", 5)
    assert world.send(late, ANNA).results[0].reason == Reason.TWO_ADMINISTRATORS_NEEDED.name
    assert world.send(proposing_change(late, "past"), ANNA).accepted
    assert "2019-12-30" not in world.state.daily_moves
    own = world.send(ApproveProposal(proposal="past"), ANNA)
    assert own.results[0].reason == Reason.SAME_ADMINISTRATOR.name
    assert world.send(ApproveProposal(proposal="past"), BERT).accepted
    assert moves_of(world, "2019-12-30")[BTC].move_ppm == 5


def test_what_the_house_has_learnt_since_the_proposal_is_not_written_over() -> None:
    world = at(priced(), 3)
    world.now_ms += 1_000
    assert world.send(proposing_change(imported("BTC", "2020-03-14", 5), "late"), ANNA).accepted
    world.prices(BTC=81_000, ETH=2_000)
    assert moves_of(world, "2020-03-14")[BTC].move_ppm == 12_500
    approved = world.send(ApproveProposal(proposal="late"), BERT)
    assert approved.results[0].reason == Reason.HISTORY_KNOWN.name


def test_the_houses_own_return_takes_the_place_of_an_imported_one() -> None:
    world = at(priced(), 3)
    world.now_ms += 1_000
    world.ok(imported("BTC", "2020-03-14", 5))
    world.prices(BTC=81_000, ETH=2_000)
    assert moves_of(world, "2020-03-14")[BTC].move_ppm == 12_500


def test_every_reason_that_the_decider_can_give_is_tested_here() -> None:
    given = findall(r"Reason\.([A-Z_]+)", Path(history.__file__).read_text(encoding="utf-8"))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given) <= set(tested)
