"""Options: the premium, what they are worth, what they require, and how they end (rulebook §4, §5, §8, §9.2, §11)."""

from dataclasses import replace
from typing import Any

import pytest

from clearing import chart
from clearing.decide.prices import feeds_of
from clearing.decide.terms import LIFE_MS_MAX
from clearing.default.preview import preview
from clearing.margin.assess import Assessment, Health, mark_ticks, option_mark, width_price
from clearing.margin.pricing import value_ticks
from clearing.margin.snapshot import array_of
from clearing.model.commands import (
    VOLATILITY_BP_MAX,
    VOLATILITY_BP_MIN,
    AdmitMember,
    ApproveProposal,
    ListAsset,
    ListInstrument,
    ProposeParameters,
    PublishFunding,
    RequestWithdrawal,
)
from clearing.model.ids import AccountKey, AssetId, FeedId, InstrumentId, MemberId, SetId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import (
    DAY_MS,
    AccountStatus,
    Asset,
    Instrument,
    InstrumentKind,
    OptionTerms,
    Right,
    ScanRange,
    Stage,
)
from ledger.entry import credit, debit
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP,
    DESK,
    ETH,
    ETH_FEED,
    PARAMETERS,
    SOURCES,
    START_MS,
    USD,
    USDC,
    World,
    empty_house,
    fund,
    kinds_of,
    pay_out,
    perpetual,
    provide,
    publication,
)

VOL = FeedId("BTCVOL")
CALL, PUT = InstrumentId("BTC-APR-8000-C"), InstrumentId("BTC-APR-8000-P")
EXPIRES_MS = START_MS + 30 * DAY_MS
OPTION_PARAMETERS = replace(
    PARAMETERS,
    scan_ranges=(
        ScanRange(underlying=BTC, move_bp=1_300, volatility_bp=2_500),
        ScanRange(underlying=ETH_FEED, move_bp=1_550),
    ),
)
TICK = 100
"""What one lot, a thousandth of a bitcoin, gains by a tick of a tenth of a dollar."""


def option(name: InstrumentId, right: Right, strike_ticks: int = 80_000, **changes: Any) -> Instrument:
    return replace(
        Instrument(
            id=name,
            kind=InstrumentKind.OPTION,
            underlying=BTC,
            feed=BTC,
            tick_value_minor=TICK,
            price_decimals=1,
            lot_decimals=3,
            expires_ms=EXPIRES_MS,
            option=OptionTerms(right=right, strike_ticks=strike_ticks, volatility_feed=VOL),
        ),
        **changes,
    )


def options_house(cash_minor: int = 20_000 * USD) -> World:
    """Alice and bob at ``dex`` with cash; a call and a put at 8,000 for thirty days; BTC at 8,000, volatility 60 %."""
    world = empty_house(OPTION_PARAMETERS)
    world.ok(ListInstrument(instrument=option(CALL, Right.CALL)))
    world.ok(ListInstrument(instrument=option(PUT, Right.PUT)))
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), cash_minor)
    world.prices(BTC=80_000, ETH=2_000, BTCVOL=6_000)
    return world


def mark(world: World, instrument: InstrumentId = CALL) -> int:
    ticks = mark_ticks(world.state, instrument)
    assert ticks is not None
    return ticks


def holding(lots: int = 1_000, instrument: InstrumentId = CALL, **house: int) -> World:
    """Alice has bought options from bob at their mark."""
    world = options_house(**house)
    assert world.trade(ALICE, BOB, lots, mark(world, instrument), instrument).accepted
    return world


def sets(world: World) -> tuple[Assessment, Assessment]:
    return world.measured(ALICE), world.measured(BOB)


def test_an_option_is_marked_at_what_its_forward_and_its_volatility_say() -> None:
    world = options_house()
    found = option_mark(world.state, CALL)
    assert found is not None
    assert (found.forward_ticks, found.volatility_bp) == (80_000, 6_000)
    assert found.price_ticks == value_ticks(option(CALL, Right.CALL), 80_000, 6_000, world.now_ms)
    assert 5_400 < found.price_ticks < 5_500  # 0.4 · σ · √T · F = 5,507 at the money, to first order
    assert mark(world, PUT) == found.price_ticks


def test_the_buyer_pays_the_premium_in_full_and_both_are_worth_what_they_were_less_the_fee() -> None:
    world = options_house()
    before = sets(world)
    premium = 1_000 * mark(world) * TICK
    assert world.trade(ALICE, BOB, 1_000, mark(world), CALL).accepted
    fee = 1_000 * 80_000 * TICK * 2 // 10_000
    assert world.state.cash(ALICE) == 20_000 * USD - premium - fee
    assert world.state.cash(BOB) == 20_000 * USD + premium - fee
    alice, bob = sets(world)
    assert (alice.option_value_minor, bob.option_value_minor) == (premium, -premium)
    assert (alice.equity_minor, bob.equity_minor) == (
        before[0].equity_minor - fee,
        before[1].equity_minor - fee,
    )


def test_the_legs_of_an_option_trade_are_the_lots_through_the_house_the_premium_and_the_fees() -> None:
    world = holding(10)
    (entry,) = [e for e in world.entries if e.kind == Kind.TRADE_NOVATED]
    premium, middle, fees = 10 * mark(world) * TICK, chart.novation(CALL), chart.fees(USDC)
    alice, bob = chart.cash(ALICE, USDC), chart.cash(BOB, USDC)
    assert entry.legs == (
        debit(chart.position(BOB, CALL), 10),
        credit(middle, 10),
        debit(middle, 10),
        credit(chart.position(ALICE, CALL), 10),
        debit(alice, premium),
        credit(bob, premium),
        debit(alice, 16_000),
        credit(fees, 16_000),
        debit(bob, 16_000),
        credit(fees, 16_000),
    )


def test_the_fee_of_a_cheap_option_is_capped_by_its_premium() -> None:
    world = options_house()
    far = InstrumentId("BTC-APR-16000-C")
    world.ok(ListInstrument(instrument=option(far, Right.CALL, 160_000)))
    world.prices(BTC=80_000, ETH=2_000, BTCVOL=6_000)
    assert mark(world, far) < 10
    price = mark(world, far) + 1
    before = world.state.cash(ALICE)
    assert world.trade(ALICE, BOB, 1_000, price, far).accepted
    premium = 1_000 * price * TICK
    assert before - world.state.cash(ALICE) == premium + -(-premium * 1_250 // 10_000)


def test_options_have_no_variation_margin_and_their_value_moves_equity() -> None:
    world = holding()
    cash = {key: world.state.cash(key) for key in (ALICE, BOB)}
    equity = [one.equity_minor for one in sets(world)]
    before = mark(world)
    outcome = world.prices(BTC=84_000, ETH=2_000, BTCVOL=6_000)
    assert "VARIATION_MARGIN" not in [Kind(e.kind).name for e in world.entries]
    assert "CALL_ISSUED" not in kinds_of(outcome)
    assert {key: world.state.cash(key) for key in (ALICE, BOB)} == cash
    moved = 1_000 * (mark(world) - before) * TICK
    assert moved > 0
    assert [one.equity_minor for one in sets(world)] == [equity[0] + moved, equity[1] - moved]


def test_an_option_and_a_perpetual_on_one_underlying_are_margined_as_one_portfolio() -> None:
    """A covered call: the perpetual gains what the call that was sold loses above its strike."""
    world = holding(1_000)
    naked = sets(world)[1].maintenance_minor
    assert world.trade(BOB, ALICE, 1_000, 80_000, BTC_PERP).accepted
    covered = sets(world)[1]
    outright = 1_000 * 80_000 * TICK * 1_300 // 10_000
    assert covered.maintenance_minor < naked + outright
    assert covered.maintenance_minor < outright


def test_who_is_long_an_option_can_lose_no_more_than_it_is_worth() -> None:
    for instrument in (CALL, PUT):
        world = holding(1_000, instrument)
        alice, bob = sets(world)
        assert 0 < alice.maintenance_minor <= alice.option_value_minor
        assert bob.maintenance_minor > alice.maintenance_minor


def test_every_scenario_of_an_option_is_a_full_revaluation_rounded_against_the_holder() -> None:
    world = options_house()
    (row,) = [r for r in array_of(world.state).instruments if r.instrument == CALL]
    moves = (0, 0, 1, 1, -1, -1, 2, 2, -2, -2, 3, 3, -3, -3, 6, -6)
    vols = (7_500, 4_500) * 7 + (6_000, 6_000)
    shares = (100,) * 14 + (35, 35)
    for n, (thirds, vol, share) in enumerate(zip(moves, vols, shares, strict=True)):
        forward = 80_000 * (30_000 + 1_300 * thirds) // 30_000
        moved = value_ticks(option(CALL, Right.CALL), forward, vol, world.now_ms) - mark(world)
        exact = moved * TICK * share / 100
        assert row.long_minor[n] == pytest.approx(exact, abs=1.5 * TICK)
        assert -2 <= row.long_minor[n] + row.short_minor[n] < 0
    assert row.notional_minor == 80_000 * TICK
    assert row.delta_minor == pytest.approx(0.534 * 80_000 * TICK, rel=1e-3)


def test_an_option_far_from_the_money_that_is_held_short_requires_the_minimum() -> None:
    world = options_house()
    far = InstrumentId("BTC-APR-16000-C")
    world.ok(ListInstrument(instrument=option(far, Right.CALL, 160_000)))
    world.prices(BTC=80_000, ETH=2_000, BTCVOL=6_000)
    assert world.trade(ALICE, BOB, 1_000, mark(world, far) + 1, far).accepted
    alice, bob = sets(world)
    assert bob.maintenance_minor == 1_000 * 80_000 * TICK // 100
    (risk,) = bob.margin.underlyings
    assert risk.risk_minor == risk.minimum_minor == bob.maintenance_minor
    assert alice.margin.underlyings[0].minimum_minor == 0


def test_what_options_are_worth_covers_requirements_and_is_never_withdrawn() -> None:
    world = options_house()
    world.deposit(BOB, 40_000 * USD)
    assert world.trade(ALICE, BOB, 3_000, mark(world), CALL).accepted
    world.prices(BTC=110_000, ETH=2_000, BTCVOL=6_000)
    alice = sets(world)[0]
    assert alice.option_value_minor > alice.requirement_minor
    cash = world.state.cash(ALICE)
    assert world.reason(withdrawal("w1", ALICE, cash + 1)) == "WITHDRAWAL_EXCEEDS"
    world.ok(withdrawal("w2", ALICE, cash))
    assert sets(world)[0].health is Health.HEALTHY


def test_a_requirement_beyond_what_options_are_worth_stays_in_cash() -> None:
    alice = sets(world := holding(1_000))[0]
    assert 0 < alice.option_value_minor < alice.requirement_minor
    free = alice.cash_minor + alice.option_value_minor - alice.requirement_minor
    assert world.reason(withdrawal("w1", ALICE, free + 1)) == "WITHDRAWAL_EXCEEDS"
    world.ok(withdrawal("w2", ALICE, free))


def withdrawal(name: str, key: AccountKey, amount_minor: int) -> RequestWithdrawal:
    return RequestWithdrawal(withdrawal=name, account=key, asset=USDC, amount_minor=amount_minor)


def test_what_options_that_were_sold_are_worth_stays_in_the_house() -> None:
    world = holding(1_000)
    bob = sets(world)[1]
    free = bob.cash_minor + bob.option_value_minor - bob.requirement_minor
    assert world.reason(withdrawal("w1", BOB, free + 1)) == "WITHDRAWAL_EXCEEDS"
    world.ok(withdrawal("w2", BOB, free))


def test_an_option_is_bought_with_cash_only() -> None:
    world = options_house(cash_minor=100 * USD)
    world.deposit(BOB, 10_000 * USD)
    world.deposit(ALICE, 10 * 10**18, ETH)
    price = mark(world)
    most = 100 * USD // (price * TICK + 1_600)
    assert world.trade(ALICE, BOB, most + 1, price, CALL).results[0].reason == "CASH_INSUFFICIENT"
    assert world.trade(ALICE, BOB, most, price, CALL).accepted


@pytest.mark.parametrize("away", [0, 800, 801])
def test_the_band_of_an_option_is_a_share_of_its_mark_or_of_a_tenth_of_its_forward(away: int) -> None:
    world = options_house()
    assert width_price(world.state, CALL) == 8_000
    outcome = world.trade(ALICE, BOB, 10, mark(world) + away, CALL)
    assert outcome.results[0].reason == ("" if away <= 800 else "PRICE_OUTSIDE_BAND")


def test_a_premium_is_positive_however_wide_the_band() -> None:
    world = options_house()
    far = InstrumentId("BTC-APR-16000-C")
    world.ok(ListInstrument(instrument=option(far, Right.CALL, 160_000)))
    world.prices(BTC=80_000, ETH=2_000, BTCVOL=3_000)
    assert mark(world, far) == 0
    for price in (0, -1):
        assert world.trade(ALICE, BOB, 10, price, far).results[0].reason == "PRICE_OUTSIDE_BAND"
    assert world.trade(ALICE, BOB, 10, 1, far).accepted


# expiry -------------------------------------------------------------------------------------------


def expired(world: World, forward_ticks: int) -> World:
    """The first snapshot after the options expired; ether, perpetuals and the volatility go on."""
    world.now_ms = EXPIRES_MS - 1_000
    world.prices(BTC=forward_ticks, ETH=2_000, BTCVOL=6_000)
    return world


def test_at_expiry_the_short_pays_the_long_the_intrinsic_value_and_the_positions_end() -> None:
    world = holding()
    cash = {key: world.state.cash(key) for key in (ALICE, BOB)}
    expired(world, 86_000)
    paid = 1_000 * 6_000 * TICK
    assert world.state.cash(ALICE) == cash[ALICE] + paid
    assert world.state.cash(BOB) == cash[BOB] - paid
    assert not world.state.positions(ALICE)
    assert world.state.instruments[CALL].final_ticks == 6_000
    assert world.state.instruments[PUT].final_ticks == 0
    (entry,) = [e for e in world.entries if e.kind == Kind.OPTION_SETTLED and e.references == (CALL,)]
    middle = chart.novation(CALL)
    assert entry.legs == (
        credit(chart.cash(ALICE, USDC), paid),
        credit(chart.cash(BOB, USDC), -paid),
        debit(chart.position(ALICE, CALL), 1_000),
        credit(middle, 1_000),
        debit(chart.position(BOB, CALL), -1_000),
        credit(middle, -1_000),
    )


def test_an_option_that_ends_out_of_the_money_ends_for_nothing() -> None:
    world = holding()
    cash = {key: world.state.cash(key) for key in (ALICE, BOB)}
    expired(world, 80_000)
    assert {key: world.state.cash(key) for key in (ALICE, BOB)} == cash
    assert not world.state.positions(BOB)


def test_after_expiry_an_option_is_neither_marked_nor_margined_nor_traded() -> None:
    world = expired(holding(), 86_000)
    assert CALL not in {row.instrument for row in array_of(world.state).instruments}
    assert VOL not in feeds_of(world.state, world.now_ms)
    assert world.trade(ALICE, BOB, 1, 6_000, CALL).results[0].reason == "INSTRUMENT_NOT_ACTIVE"
    world.prices(BTC=90_000, ETH=2_000)
    assert all(one.option_value_minor == 0 for one in sets(world))


def test_an_option_expires_although_nobody_publishes_its_volatility_any_more() -> None:
    """Sources stop quoting an expiry when it is over; the house would wait for them for ever."""
    world = holding()
    before, cash = mark(world), world.state.cash(ALICE)
    world.now_ms = EXPIRES_MS - 1_000
    assert "OPTION_SETTLED" in kinds_of(world.prices(BTC=86_000, ETH=2_000))
    assert world.state.instruments[CALL].final_ticks == 6_000
    assert world.state.cash(ALICE) == cash + 1_000 * 6_000 * TICK
    assert world.state.pnl[ALICE].window_minor == 1_000 * (6_000 - before) * TICK


def test_until_an_option_expires_its_volatility_is_needed() -> None:
    world = holding()
    world.now_ms = EXPIRES_MS - 1
    assert VOL in feeds_of(world.state, world.now_ms)
    assert VOL not in feeds_of(world.state, EXPIRES_MS)


# gains and losses ---------------------------------------------------------------------------------


def test_the_change_in_value_is_a_gain_of_the_window_and_a_loss_of_the_leg_and_a_premium_is_neither() -> None:
    world = holding()
    since_trade = world.state.pnl[ALICE].since_met_minor
    assert since_trade == -1_000 * 80_000 * TICK * 2 // 10_000, (
        "the fee alone: what was paid for was received"
    )
    before = mark(world)
    world.prices(BTC=84_000, ETH=2_000, BTCVOL=6_000)
    gain = 1_000 * (mark(world) - before) * TICK
    assert world.state.pnl[ALICE].window_minor == gain
    assert world.state.pnl[BOB].window_minor == -gain
    world.prices(BTC=84_000, ETH=2_000, BTCVOL=6_100)
    assert 0 < world.state.pnl[ALICE].window_minor < gain, "the window began again with the cycle"


def test_expiry_is_no_gain_beyond_the_last_change_in_value() -> None:
    world = holding()
    before = mark(world)
    expired(world, 86_000)
    assert world.state.pnl[ALICE].window_minor == 1_000 * (6_000 - before) * TICK


# close-out ----------------------------------------------------------------------------------------


def short_calls(lots: int = 3_000, **with_provider: int) -> World:
    """Bob has sold calls to alice and has just the margin for them; then bitcoin rises by a quarter."""
    world = options_house(cash_minor=40_000 * USD)
    if with_provider:
        world.ok(AdmitMember(member=MemberId("desk"), name="Desk"))
        world.deposit(world.account("desk", "provider"), with_provider["cash_minor"])
        provide(world, DESK, with_provider["capacity_minor"])
    fund(world, skin_in_the_game=1_000 * USD)
    assert world.trade(ALICE, BOB, lots, mark(world), CALL).accepted
    measured = sets(world)[1]
    spare = measured.equity_minor - measured.requirement_minor
    world.ok(withdrawal("spare", BOB, spare))
    return world


def test_a_torn_up_option_is_paid_at_its_mark_and_what_the_short_lacks_is_the_loss() -> None:
    world = short_calls()
    cash, owed = world.state.cash(ALICE), 20_000
    pay_out(world, "spare")
    outcome = world.prices(BTC=100_000, ETH=2_000, BTCVOL=6_000)
    assert "DEFAULT_DECLARED" in kinds_of(outcome)
    event = world.state.defaults[next(iter(world.state.defaults))]
    assert world.state.accounts[BOB].status is AccountStatus.CLOSED_OUT
    assert mark(world) > owed
    assert event.stage is Stage.ANSWERING
    paid = 3_000 * mark(world) * TICK
    assert world.state.cash(ALICE) == cash + paid
    assert not world.state.positions(ALICE)
    (gain,) = [g for g in event.gains if g.netting_set == SetId(ALICE)]
    assert gain.gain_minor == paid - 3_000 * first_mark() * TICK


def first_mark() -> int:
    return mark(options_house())


def test_a_provider_takes_short_options_for_their_mark_and_a_hundredth_of_it() -> None:
    world = short_calls(cash_minor=200_000 * USD, capacity_minor=10**6 * USD)
    pay_out(world, "spare")
    cash = world.state.cash(DESK)
    world.prices(BTC=100_000, ETH=2_000, BTCVOL=6_000)
    assert world.state.position(DESK, CALL) == -3_000
    price = -(-mark(world) * 101 // 100)
    assert world.state.cash(DESK) == cash + 3_000 * price * TICK
    assert world.state.position(ALICE, CALL) == 3_000


def test_who_takes_an_option_must_meet_its_requirement_and_have_the_cash() -> None:
    world = short_calls(cash_minor=1_000 * USD, capacity_minor=10**6 * USD)
    pay_out(world, "spare")
    world.prices(BTC=100_000, ETH=2_000, BTCVOL=6_000)
    taken = -world.state.position(DESK, CALL)
    assert 0 < taken < 3_000
    assert world.measured(DESK).health is Health.HEALTHY


def test_the_preview_values_options_anew_and_counts_no_value_as_cash() -> None:
    world = short_calls()
    pay_out(world, "spare")
    found = preview(world.state, MemberId("dex"), 2_500)
    moved = value_ticks(option(CALL, Right.CALL), 100_000, 6_000, world.state.newest_cycle.accepted_ms)
    lost = 3_000 * (moved - mark(world)) * TICK
    assert found.loss_minor == lost - sets(world)[1].equity_minor
    taken = {draw.payer: draw.amount_minor for draw in found.draws if draw.tier == 8}
    assert taken.get(ALICE, 0) <= world.state.cash(ALICE), "a winner pays from cash"


# listing and prices -------------------------------------------------------------------------------


TERMS = OptionTerms(right=Right.PUT, strike_ticks=1, volatility_feed=VOL)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"option": None}, "TERM_OUT_OF_RANGE"),
        ({"kind": InstrumentKind.FUTURE}, "TERM_OUT_OF_RANGE"),
        ({"expires_ms": None}, "TERM_OUT_OF_RANGE"),
        ({"expires_ms": START_MS}, "TERM_OUT_OF_RANGE"),
        ({"expires_ms": START_MS + LIFE_MS_MAX}, ""),
        ({"expires_ms": START_MS + 1_000 + LIFE_MS_MAX + 1}, "TERM_OUT_OF_RANGE"),
        ({"expires_ms": 10**400}, "TERM_OUT_OF_RANGE"),
        ({"option": replace(TERMS, strike_ticks=0)}, "TERM_OUT_OF_RANGE"),
        ({"option": replace(TERMS, strike_ticks=10**15)}, ""),
        ({"option": replace(TERMS, strike_ticks=10**15 + 1)}, "TERM_OUT_OF_RANGE"),
        ({"option": replace(TERMS, volatility_feed=FeedId("b/c"))}, "NAME_MALFORMED"),
        ({"option": replace(TERMS, volatility_feed=BTC)}, "TERM_OUT_OF_RANGE"),
        ({"option": replace(TERMS, volatility_feed=ETH_FEED)}, "TERM_OUT_OF_RANGE"),
        ({"feed": VOL}, "TERM_OUT_OF_RANGE"),
        ({"price_decimals": 2}, "TERM_OUT_OF_RANGE"),
        ({"underlying": ETH_FEED}, "FEED_UNKNOWN"),
    ],
    ids=str,
)
def test_the_terms_of_an_option(change: dict[str, Any], reason: str) -> None:
    world = options_house()
    listed = replace(option(InstrumentId("NEW"), Right.PUT), **change)
    assert world.do(ListInstrument(instrument=listed)).results[0].reason == reason


def test_no_volatility_is_published_under_the_name_of_an_underlying() -> None:
    """The underlying would close by it: a crash would look like a calm day."""
    sol = ScanRange(underlying=FeedId("SOL"), move_bp=1_000, volatility_bp=2_500)
    parameters = replace(OPTION_PARAMETERS, scan_ranges=(*OPTION_PARAMETERS.scan_ranges, sol))
    future = replace(perpetual(InstrumentId("SOL-PERP"), sol.underlying, 100, 3), feed=FeedId("SOL-X"))
    terms = replace(TERMS, volatility_feed=sol.underlying)
    on_btc = option(InstrumentId("BTC-C"), Right.CALL, option=terms)
    on_sol = replace(on_btc, id=InstrumentId("SOL-C"), underlying=sol.underlying, feed=future.feed)
    for first, second in ((future, on_btc), (on_btc, future), (None, on_sol)):
        world = empty_house(parameters)
        if first is not None:
            world.ok(ListInstrument(instrument=first))
        refused = world.do(ListInstrument(instrument=second)).results[0]
        assert refused.reason == Reason.TERM_OUT_OF_RANGE.name
        assert refused.detail == "SOL cannot publish both prices and volatilities"


def test_no_asset_is_priced_by_a_volatility() -> None:
    world = options_house()
    asset = Asset(id=AssetId("VOLCOIN"), decimals=6, feed=VOL, tick_value_minor=1)
    assert world.reason(ListAsset(asset=asset)) == "TERM_OUT_OF_RANGE"


def test_parameters_without_a_range_of_volatility_are_refused_where_options_are_listed() -> None:
    world = options_house()
    calm = replace(OPTION_PARAMETERS, scan_ranges=PARAMETERS.scan_ranges)
    proposed = ProposeParameters(proposal="p1", parameters=calm, reason="a test")
    assert world.reason(proposed, "administrator/ann") == "TERM_OUT_OF_RANGE"


def test_a_wider_range_of_volatility_is_a_tightening_and_holds_at_once() -> None:
    world = holding()
    before = sets(world)[1].maintenance_minor
    wider = (replace(OPTION_PARAMETERS.scan_ranges[0], volatility_bp=5_000), OPTION_PARAMETERS.scan_ranges[1])
    changed = replace(OPTION_PARAMETERS, scan_ranges=wider)
    proposed = ProposeParameters(proposal="p1", parameters=changed, reason="a test", immediate=True)
    world.ok(proposed, "administrator/ann")
    world.ok(ApproveProposal(proposal="p1"), "administrator/ben")
    assert sets(world)[1].maintenance_minor > before


@pytest.mark.parametrize(
    ("ticks", "reason"),
    [
        (VOLATILITY_BP_MAX, ""),
        (VOLATILITY_BP_MAX + 1, Reason.PRICE_TOO_LARGE.name),
        (VOLATILITY_BP_MIN, ""),
        (VOLATILITY_BP_MIN - 1, Reason.PRICE_TOO_SMALL.name),
    ],
)
def test_a_volatility_has_limits_of_its_own(ticks: int, reason: str) -> None:
    world = options_house()
    world.now_ms += 1_000
    world.sequence += 1
    published = publication("testhouse", SOURCES[0], world.now_ms, world.sequence, {VOL: ticks})
    assert world.do(published).results[0].reason == reason


def test_a_snapshot_waits_for_the_volatility() -> None:
    world = options_house()
    cycle = world.state.newest_cycle.number
    world.prices(BTC=81_000, ETH=2_000)
    assert world.state.newest_cycle.number == cycle
    world.prices(BTC=81_000, ETH=2_000, BTCVOL=6_100)
    assert world.state.newest_cycle.number == cycle + 1


def test_an_option_pays_no_funding() -> None:
    world = options_house()
    assert world.reason(PublishFunding(instrument=CALL, rate_ppm=1)) == Reason.INSTRUMENT_NOT_PERPETUAL.name
