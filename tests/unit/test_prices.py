"""Prices: what is refused, what makes a mark, and the variation margin that a snapshot settles (rulebook §6, §7)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from re import findall
from typing import Any

import pytest

from clearing import chart
from clearing.decide import prices
from clearing.decide.prices import feeds_of
from clearing.margin.assess import assess
from clearing.margin.snapshot import array_of
from clearing.market.marks import mark_of
from clearing.market.prices import signed_bytes
from clearing.model.commands import (
    OBSERVATIONS_MAX,
    PRICE_TICKS_MAX,
    AdmitMember,
    ApplyPrices,
    ListAsset,
    ListInstrument,
    PriceObservation,
    RegisterSource,
    RetireSource,
)
from clearing.model.ids import AccountKey, AssetId, FeedId, InstrumentId, MemberId, SourceId, single_set
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import MINUTE_MS, DataRefusal, InstrumentKind, Mark, Observation
from ledger.entry import credit
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    BTC_MAR,
    BTC_PERP,
    ETH_FEED,
    ETHER,
    PARAMETERS,
    SOURCES,
    START_MS,
    USD,
    USDC,
    World,
    empty_house,
    kinds_of,
    perpetual,
    public_hex,
    publication,
    source_key,
    two_traders,
)

ALPHA, BETA, GAMMA = SOURCES
DELTA = SourceId("delta")
NEW = InstrumentId("NEW")
ALICE_SET = single_set(ALICE)
BOTH = {BTC: 80_000, ETH_FEED: 2_000}


def signed(world: World, *, source: SourceId = ALPHA, sequence: int = 100, **ticks: int) -> ApplyPrices:
    """A publication of now by ``source``, as it should be but for what the test changes."""
    wanted = {FeedId(feed): price for feed, price in ticks.items()}
    return publication("testhouse", source, world.now_ms, sequence, wanted or BOTH)


def publish(world: World, *by_source: int | None) -> None:
    """Alpha, beta, gamma and delta publish these BTC prices (None: nothing), and ETH at 200.0."""
    world.now_ms += 1_000
    world.sequence += 1
    for source, price in zip((*SOURCES, DELTA), by_source, strict=False):
        if price is not None:
            world.ok(signed(world, source=source, sequence=world.sequence, BTC=price, ETH=2_000))


def marks_of(world: World) -> dict[FeedId, Mark]:
    return {mark.feed: mark for mark in world.state.newest_cycle.marks}


# ----------------------------------------------------------------------------------------------- refusals


def test_only_registered_sources_publish() -> None:
    world = two_traders()
    for stranger in ("delta", "alpha/..", "\ud800"):
        command = replace(signed(world), source=SourceId(stranger))
        assert world.reason(command) == Reason.SOURCE_UNKNOWN.name


def test_a_publication_names_one_feed_at_least_and_at_most_a_thousand() -> None:
    world = two_traders()
    nothing = replace(signed(world), prices=())
    assert world.reason(nothing) == Reason.BATCH_EMPTY.name
    one = PriceObservation(feed=BTC, price_ticks=1)
    assert (
        world.reason(replace(nothing, prices=(one,) * (OBSERVATIONS_MAX + 1))) == Reason.BATCH_TOO_LARGE.name
    )
    at_limit = replace(nothing, prices=(one,) * OBSERVATIONS_MAX)
    assert world.reason(at_limit) == Reason.SIGNATURE_INVALID.name


@pytest.mark.parametrize("signature", ["", "00", "zz", "00" * 64, "é", "\ud800"])
def test_a_signature_that_is_none_is_refused(signature: str) -> None:
    world = two_traders()
    assert world.reason(replace(signed(world), signature=signature)) == Reason.SIGNATURE_INVALID.name


def test_every_field_of_a_publication_is_signed() -> None:
    world = two_traders()
    sound = signed(world)
    other_price = (PriceObservation(feed=BTC, price_ticks=80_001), sound.prices[1])
    for forged in (
        replace(sound, source=BETA),
        replace(sound, sequence=sound.sequence + 1),
        replace(sound, observed_ms=sound.observed_ms - 1),
        replace(sound, prices=sound.prices[:1]),
        replace(sound, prices=sound.prices[::-1]),
        replace(sound, prices=other_price),
        publication("otherhouse", ALPHA, world.now_ms, 100, BOTH),
    ):
        assert world.reason(forged) == Reason.SIGNATURE_INVALID.name
    world.ok(sound)


def test_a_feed_that_has_no_bytes_was_signed_by_nobody() -> None:
    world = two_traders()
    odd = (PriceObservation(feed=FeedId("\ud800"), price_ticks=1),)
    assert world.reason(replace(signed(world), prices=odd)) == Reason.SIGNATURE_INVALID.name


def test_the_signed_text_is_what_the_rules_say() -> None:
    observation = PriceObservation(feed=BTC, price_ticks=80_000)
    text = b"clearinghouse price v1\ntesthouse\nalpha\n1584000000000\n7\nBTC 80000\n"
    assert signed_bytes("testhouse", ALPHA, START_MS, 7, (observation,)) == text


def test_a_sequence_number_is_used_once_and_only_upwards() -> None:
    world = two_traders()
    world.ok(signed(world, sequence=100))
    for used in (100, 99, 1, 0, -1):
        assert world.reason(signed(world, sequence=used)) == Reason.SEQUENCE_REPLAYED.name
    world.ok(signed(world, sequence=101))


def test_a_refused_publication_uses_up_no_sequence_number() -> None:
    world = two_traders()
    assert world.reason(signed(world, SOL=1)) == Reason.FEED_UNKNOWN.name
    world.ok(signed(world))


@pytest.mark.parametrize(
    ("age_ms", "is_taken"), [(-1, False), (0, True), (MINUTE_MS, True), (MINUTE_MS + 1, False)]
)
def test_an_observation_is_of_now_or_at_most_a_minute_old(age_ms: int, is_taken: bool) -> None:
    world = two_traders()
    world.now_ms += 2 * MINUTE_MS
    command = publication("testhouse", ALPHA, world.now_ms - age_ms, 100, BOTH)
    outcome = world.do(command)
    assert outcome.results[0].reason == ("" if is_taken else Reason.PRICE_STALE.name)


@pytest.mark.parametrize("observed_ms", [10**30, -(10**30)])
def test_a_time_that_no_clock_shows_is_stale(observed_ms: int) -> None:
    world = two_traders()
    command = publication("testhouse", ALPHA, observed_ms, 100, BOTH)
    assert world.reason(command) == Reason.PRICE_STALE.name


def test_a_publication_names_each_feed_once() -> None:
    world = two_traders()
    twice = (PriceObservation(feed=BTC, price_ticks=1), PriceObservation(feed=BTC, price_ticks=2))
    text = signed_bytes("testhouse", ALPHA, world.now_ms, 100, twice)
    command = replace(signed(world), prices=twice, signature=source_key(ALPHA).sign(text).hex())
    assert world.reason(command) == Reason.FEED_REPEATED.name


@pytest.mark.parametrize("feed", ["SOL", "btc", "", "BTC-PERP", "BTC\n"])
def test_a_feed_by_which_nothing_is_marked_is_refused(feed: str) -> None:
    world = two_traders()
    command = publication("testhouse", ALPHA, world.now_ms, 100, {FeedId(feed): 1})
    assert world.reason(command) == Reason.FEED_UNKNOWN.name


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (0, Reason.PRICE_NOT_POSITIVE),
        (-1, Reason.PRICE_NOT_POSITIVE),
        (-(10**40), Reason.PRICE_NOT_POSITIVE),
        (PRICE_TICKS_MAX + 1, Reason.PRICE_TOO_LARGE),
        (10**40, Reason.PRICE_TOO_LARGE),
    ],
    ids=["zero", "minus one", "huge debt", "one more than the limit", "huge"],
)
def test_a_price_is_positive_and_within_what_the_book_can_hold(price: int, reason: Reason) -> None:
    world = two_traders()
    outcome = world.do(signed(world, BTC=price, ETH=2_000))
    assert outcome.results[0].reason == reason.name
    assert [(one.kind, one.subject) for one in outcome.events] == [
        ("DATA_REFUSED", f"alpha BTC {reason.name}"),
    ]


def test_that_a_source_said_what_no_market_does_is_recorded_and_marks_and_requirements_stay() -> None:
    world = two_traders()
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    before, held = world.state, len(world.entries)
    outcome = world.do(signed(world, sequence=100, ETH=2_100, BTC=0))
    assert outcome.results[0].reason == Reason.PRICE_NOT_POSITIVE.name
    (entry,) = world.entries[held:]
    assert (entry.kind, entry.legs) == (Kind.DATA_REFUSED, ())
    assert entry.references == (signed(world, sequence=100, ETH=2_100, BTC=0).signature,)
    assert world.state.data_refusals[ALPHA] == DataRefusal(
        source=ALPHA,
        feed=BTC,
        reason=Reason.PRICE_NOT_POSITIVE.name,
        price_ticks=0,
        sequence=100,
        refused_ms=world.now_ms,
    )
    assert world.state.observations == before.observations
    assert world.state.cycle == before.cycle
    assert array_of(world.state) is array_of(before)
    assert assess(world.state, ALICE_SET) == assess(before, ALICE_SET)


def test_a_publication_that_was_refused_for_what_it_said_is_recorded_once_and_the_next_one_counts() -> None:
    world = two_traders()
    absurd = signed(world, sequence=100, BTC=0)
    assert world.do(absurd).results[0].reason == Reason.PRICE_NOT_POSITIVE.name
    assert world.reason(absurd) == Reason.SEQUENCE_REPLAYED.name
    world.ok(signed(world, sequence=101))
    assert world.state.data_refusals[ALPHA].sequence == 100
    assert world.do(signed(world, sequence=102, ETH=PRICE_TICKS_MAX + 1)).events
    assert world.state.data_refusals[ALPHA].feed == ETH_FEED


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"signature": "00" * 64}, Reason.SIGNATURE_INVALID),
        ({"source": SourceId("delta")}, Reason.SOURCE_UNKNOWN),
        ({"sequence": 1}, Reason.SIGNATURE_INVALID),
    ],
)
def test_of_what_the_source_did_not_sign_nothing_is_recorded(change: dict[str, Any], reason: Reason) -> None:
    world = two_traders()
    assert world.reason(replace(signed(world, BTC=0), **change)) == reason.name


def test_an_absurd_price_that_is_also_old_or_of_an_unknown_feed_is_no_breach_of_data_quality() -> None:
    world = two_traders()
    late = publication("testhouse", ALPHA, world.now_ms - MINUTE_MS - 1, 100, {BTC: 0})
    assert world.reason(late) == Reason.PRICE_STALE.name
    assert world.reason(signed(world, BTC=0, SOL=1)) == Reason.FEED_UNKNOWN.name


def test_at_the_highest_and_the_lowest_price_a_book_still_settles() -> None:
    world = two_traders(cash_minor=10**28)
    assert world.trade(ALICE, BOB, 10**9, 80_000).accepted
    world.prices(BTC=PRICE_TICKS_MAX, ETH=2_000)
    world.prices(BTC=1, ETH=2_000)
    assert world.state.cash(ALICE) + world.state.cash(BOB) == 2 * 10**28 - world.state.balance(
        chart.fees(USDC)
    ) - world.state.balance(chart.insurance_fund(USDC))


def test_a_retired_source_is_heard_no_more() -> None:
    world = empty_house()
    world.ok(RetireSource(source=SOURCES[0]))
    late = publication("testhouse", SOURCES[0], world.now_ms, 1, {BTC: 80_000})
    assert world.reason(late) == Reason.SOURCE_RETIRED.name


def test_every_reason_that_the_decider_can_give_is_tested_here_or_with_the_options() -> None:
    given = findall(r"Reason\.([A-Z_]+)", Path(prices.__file__).read_text(encoding="utf-8"))
    here = Path(__file__)
    tests = "".join(path.read_text(encoding="utf-8") for path in (here, here.with_name("test_options.py")))
    assert set(given) <= set(findall(r"Reason\.([A-Z_]+)", tests))


# -------------------------------------------------------------------------------------------------- marks


def observed(*ticks: int) -> Sequence[Observation]:
    return [
        Observation(source=SourceId(f"s{n}"), feed=BTC, price_ticks=price, observed_ms=0, sequence=1)
        for n, price in enumerate(ticks)
    ]


def median(*ticks: int, previous: int | None = None, quorum: int = 3) -> int | None:
    mark = mark_of(BTC, observed(*ticks), previous, quorum=quorum, outlier_bp=500)
    return None if mark is None else mark.price_ticks


def test_the_mark_of_an_odd_number_is_the_middle_one_in_any_order() -> None:
    assert median(103, 100, 101) == median(100, 101, 103) == 101
    assert median(100, 101, 102, 103, 104) == 102


@pytest.mark.parametrize(("previous", "mark"), [(None, 101), (90, 101), (101, 101), (102, 102), (110, 102)])
def test_a_half_tick_goes_towards_the_previous_mark(previous: int | None, mark: int) -> None:
    assert median(100, 101, 102, 103, previous=previous) == mark


def test_an_even_number_with_a_whole_mean_needs_no_rounding() -> None:
    assert median(100, 100, 102, 102, previous=90) == median(100, 100, 102, 102, previous=110) == 101


@pytest.mark.parametrize(("count", "is_quorum"), [(0, False), (2, False), (3, True)])
def test_a_mark_needs_its_quorum(count: int, is_quorum: bool) -> None:
    assert (median(*[100] * count) is not None) is is_quorum


@pytest.mark.parametrize(("far", "dropped"), [(950, ()), (949, ("s0",)), (1_050, ()), (1_051, ("s0",))])
def test_what_is_further_than_a_twentieth_from_the_median_is_dropped_and_reported(
    far: int, dropped: tuple[str, ...]
) -> None:
    mark = mark_of(BTC, observed(far, 1_000, 1_000, 1_000), None, quorum=3, outlier_bp=500)
    assert mark is not None
    assert (mark.price_ticks, mark.dropped) == (1_000, dropped)
    assert mark.sources == tuple(sorted({"s0", "s1", "s2", "s3"} - set(dropped)))


def test_what_is_left_after_dropping_must_still_be_a_quorum() -> None:
    assert median(500, 1_000, 1_000) is None
    assert median(1_000, 1_000, 1_000, 500, 2_000) == 1_000


def test_the_distance_is_measured_from_the_median_of_all_and_the_mark_is_that_of_the_rest() -> None:
    """The median of six is 1,010; 1,500 goes, and the middle of the five that are left is 1,000."""
    assert median(990, 1_000, 1_000, 1_020, 1_030, 1_500) == 1_000


# ------------------------------------------------------------------------------------------------ snapshots


def test_the_third_of_three_sources_completes_a_snapshot() -> None:
    world = two_traders()
    publish(world, 80_100, 80_200)
    assert world.state.newest_cycle.number == 1
    outcome = world.ok(signed(world, source=GAMMA, sequence=2, BTC=80_300, ETH=2_000))
    assert kinds_of(outcome) == ["SNAPSHOT_ACCEPTED", "CYCLE_CLOSED"]
    assert world.state.newest_cycle.number == 2
    assert marks_of(world)[BTC] == Mark(feed=BTC, price_ticks=80_200, sources=SOURCES, dropped=())


def test_no_snapshot_is_accepted_while_one_feed_lacks_its_quorum() -> None:
    world = two_traders()
    world.now_ms += 1_000
    for sequence, source in enumerate(SOURCES, 10):
        world.ok(signed(world, source=source, sequence=sequence, BTC=80_100))
    assert world.state.newest_cycle.number == 1
    for sequence, source in enumerate(SOURCES, 20):
        assert world.state.newest_cycle.number == 1
        world.ok(signed(world, source=source, sequence=sequence, ETH=2_001))
    assert world.state.newest_cycle.number == 2
    assert {feed: mark.price_ticks for feed, mark in marks_of(world).items()} == {
        BTC: 80_100,
        ETH_FEED: 2_001,
    }


def new_feed() -> World:
    """An instrument is listed with a feed of its own, which nobody publishes yet."""
    world = two_traders()
    listed = replace(perpetual(NEW, BTC, 1, 1), feed=FeedId("NEW"))
    world.ok(ListInstrument(instrument=listed))
    return world


def test_a_new_feed_that_nobody_publishes_stops_nobody_and_its_instrument_is_not_active() -> None:
    world = new_feed()
    publish(world, 80_100, 80_100, 80_100)
    assert world.state.newest_cycle.number == 2
    assert feeds_of(world.state, world.now_ms) == (BTC, ETH_FEED)
    result = world.trade(ALICE, BOB, 1, 500, NEW).results[0]
    assert (result.reason, result.detail) == (Reason.INSTRUMENT_NOT_ACTIVE.name, "no mark yet")


def test_two_of_three_sources_make_a_new_feed_no_needed_one() -> None:
    world = new_feed()
    world.now_ms += 1_000
    for source in SOURCES[:2]:
        world.ok(signed(world, source=source, sequence=50, NEW=500))
    world.sequence = 50
    publish(world, 80_100, 80_100, 80_100)
    assert feeds_of(world.state, world.now_ms) == (BTC, ETH_FEED)


def test_a_new_feed_is_needed_from_its_first_quorum_on() -> None:
    world = new_feed()
    world.prices(BTC=80_100, ETH=2_000, NEW=500)
    assert feeds_of(world.state, world.now_ms) == (BTC, ETH_FEED, "NEW")
    assert world.trade(ALICE, BOB, 1, 500, NEW).accepted
    publish(world, 80_200, 80_200, 80_200)
    assert world.state.newest_cycle.number == 2, "a quorum that is lost later stops snapshots"
    world.prices(BTC=80_200, ETH=2_000, NEW=501)
    assert world.state.newest_cycle.number == 3


def test_collateral_that_has_no_mark_yet_counts_zero_and_stops_nobody() -> None:
    world = two_traders()
    token = replace(ETHER, id=AssetId("TOKEN"), feed=FeedId("TOKEN"))
    world.ok(ListAsset(asset=token))
    world.deposit(ALICE, 10**18, token.id)
    before = world.measured(ALICE).equity_minor
    publish(world, 80_100, 80_100, 80_100)
    assert (world.state.newest_cycle.number, world.measured(ALICE).equity_minor) == (2, before)
    world.prices(BTC=80_100, ETH=2_000, TOKEN=2_000)
    assert world.measured(ALICE).equity_minor == before + 160 * USD


def test_no_feed_at_all_makes_no_snapshot() -> None:
    world = empty_house()
    world.now_ms += 1_000
    for source in SOURCES[:2]:
        world.ok(signed(world, source=source))
    assert world.state.cycle is None


def test_a_future_that_never_had_a_mark_expires_without_one() -> None:
    world = two_traders()
    listed = replace(
        perpetual(NEW, BTC, 1, 1),
        kind=InstrumentKind.FUTURE,
        feed=FeedId("NEW"),
        expires_ms=world.now_ms + MINUTE_MS,
    )
    world.ok(ListInstrument(instrument=listed))
    world.now_ms += 2 * MINUTE_MS
    publish(world, 80_100, 80_100, 80_100)
    assert world.state.newest_cycle.number == 2
    assert world.state.instruments[NEW].final_ticks is None


def test_an_outlier_of_three_leaves_no_quorum_and_a_fourth_source_restores_it() -> None:
    world = two_traders()
    world.ok(RegisterSource(source=DELTA, public_key=public_hex(source_key(DELTA))))
    publish(world, 60_000, 80_100, 80_200)
    assert world.state.newest_cycle.number == 1
    world.sequence += 1
    world.ok(signed(world, source=DELTA, sequence=world.sequence, BTC=80_300, ETH=2_000))
    mark = marks_of(world)[BTC]
    assert (mark.price_ticks, mark.dropped) == (80_200, (ALPHA,))
    assert mark.sources == (BETA, DELTA, GAMMA)


def test_an_observation_serves_one_snapshot_only() -> None:
    """Else a source that stopped would mark the next cycle with its last price."""
    world = two_traders()
    publish(world, 80_100, 80_100, 80_100)
    publish(world, 80_200, 80_200, None)
    assert world.state.newest_cycle.number == 2
    publish(world, None, None, 80_200)
    assert world.state.newest_cycle.number == 3


def test_observations_older_than_a_minute_count_no_more() -> None:
    world = two_traders()
    publish(world, 80_100, 80_100, None)
    world.now_ms += MINUTE_MS
    publish(world, None, None, 80_100)
    assert world.state.newest_cycle.number == 1


def test_a_source_that_publishes_again_replaces_its_price_and_is_no_second_voice() -> None:
    world = two_traders()
    publish(world, 80_100, 80_100, None)
    publish(world, 80_500, None, None)
    assert world.state.newest_cycle.number == 1
    publish(world, None, None, 80_300)
    assert marks_of(world)[BTC].price_ticks == 80_300


# ----------------------------------------------------------------------------------------- variation margin


def variation(world: World) -> list[tuple[tuple[str, ...], dict[str, int]]]:
    """Per entry of variation margin: the instrument, and what each account gained."""
    return [
        (entry.references, {leg.account.path.split("/")[3]: -leg.amount for leg in entry.legs})
        for entry in world.entries
        if entry.kind == Kind.VARIATION_MARGIN
    ]


@pytest.mark.parametrize("price", [80_001, 79_999, 1, 123_457])
def test_each_holder_gains_lots_times_the_move_times_the_tick_value(price: int) -> None:
    world = two_traders(cash_minor=10**6 * USD)
    carol = world.account("dex", "carol")
    world.deposit(carol, 10**6 * USD)
    assert world.trade(ALICE, BOB, 70, 80_000).accepted
    assert world.trade(carol, BOB, 30, 80_000).accepted
    world.prices(BTC=price, ETH=2_000)
    move = (price - 80_000) * 100
    gained = {"alice": 70 * move, "bob": -100 * move, "carol": 30 * move}
    assert variation(world) == [((BTC_PERP,), gained)]
    assert sum(gained.values()) == 0


def test_there_is_one_entry_an_instrument_whose_price_moved() -> None:
    world = two_traders(cash_minor=10**6 * USD)
    world.trade(ALICE, BOB, 10, 80_000)
    world.trade(BOB, ALICE, 4, 80_000, BTC_MAR)
    world.trade(ALICE, BOB, 10, 2_000, InstrumentId("ETH-PERP"))
    world.prices(BTC=80_100, ETH=2_000)
    assert variation(world) == [
        ((BTC_MAR,), {"alice": -40_000, "bob": 40_000}),
        ((BTC_PERP,), {"alice": 100_000, "bob": -100_000}),
    ]


def test_an_unchanged_price_moves_no_money() -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 10, 80_000)
    world.prices(BTC=80_000, ETH=2_500)
    assert variation(world) == []


def test_who_trades_between_two_cycles_gains_from_its_price_to_the_next_mark() -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 10, 80_050)
    world.prices(BTC=80_200, ETH=2_000)
    fees = 16_010
    assert world.state.cash(ALICE) == 2_000 * USD + 10 * 150 * 100 - fees
    assert world.state.cash(BOB) == 2_000 * USD - 10 * 150 * 100 - fees


def test_the_first_snapshot_settles_nothing_and_opens_the_gate() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    assert world.state.cycle is None
    world.prices(BTC=80_000, ETH=2_000)
    cycle = world.state.newest_cycle
    assert (cycle.number, cycle.closed, variation(world)) == (1, True, [])


def test_a_fifth_of_the_fees_of_each_cycle_goes_to_the_insurance_fund_rounded_down() -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 1, 80_003)  # fees 2 × 1,601
    world.prices(BTC=80_000, ETH=2_000)
    assert world.state.balance(chart.insurance_fund(USDC)) == 640
    world.prices(BTC=80_000, ETH=2_000)
    assert world.state.balance(chart.insurance_fund(USDC)) == 640, "the same fee is shared once"
    world.trade(ALICE, BOB, 1, 80_000)  # fees 2 × 1,600
    world.prices(BTC=80_000, ETH=2_000)
    assert world.state.balance(chart.insurance_fund(USDC)) == 640 + 640
    assert world.state.balance(chart.fees(USDC)) == 3_202 + 3_200 - 1_280


def test_variation_margin_is_credit_for_gain_in_the_journal() -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 1, 80_000)
    world.prices(BTC=80_001, ETH=2_000)
    (entry,) = [e for e in world.entries if e.kind == Kind.VARIATION_MARGIN]
    assert entry.legs == (credit(chart.cash(ALICE, USDC), 100), credit(chart.cash(BOB, USDC), -100))


def test_requirements_follow_the_marks_of_the_newest_cycle() -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 100, 80_000)
    assert world.measured(ALICE).maintenance_minor == 104 * USD
    world.prices(BTC=40_000, ETH=2_000)
    assert world.measured(BOB).maintenance_minor == 52 * USD


def test_the_parameters_of_the_house_say_what_is_fresh() -> None:
    world = empty_house(replace(PARAMETERS, price_quorum=1, observation_validity_ms=10))
    world.now_ms += 1_000
    late = publication("testhouse", ALPHA, world.now_ms - 11, 1, BOTH)
    assert world.reason(late) == Reason.PRICE_STALE.name
    world.ok(publication("testhouse", ALPHA, world.now_ms - 10, 1, BOTH))
    assert world.state.newest_cycle.number == 1


def test_accounts_without_positions_are_not_touched() -> None:
    world = two_traders()
    carol = world.account("dex", "carol")
    world.trade(ALICE, BOB, 10, 80_000)
    world.prices(BTC=81_000, ETH=2_000)
    assert AccountKey(carol) not in world.state.held
    assert "carol" not in variation(world)[0][1]
