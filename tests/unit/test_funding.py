"""Funding: holders of a perpetual pay each other, once a publication, and it sums to zero (rulebook §5)."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing import chart
from clearing.decide.funding import amount_per_lot
from clearing.model.commands import AdmitMember, PublishFunding
from clearing.model.ids import AccountKey, InstrumentId, MemberId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason
from clearing.model.values import PPM, Funding
from ledger.entry import Entry, credit
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    BTC_MAR,
    BTC_PERP,
    ETH_PERP,
    PARAMETERS,
    USD,
    USDC,
    World,
    empty_house,
    kinds_of,
    two_traders,
)

RATE = 100
"""One basis point."""


def publish(world: World, rate_ppm: int = RATE, instrument: InstrumentId = BTC_PERP) -> Outcome:
    return world.ok(PublishFunding(instrument=instrument, rate_ppm=rate_ppm))


def holding(lots: int = 10) -> World:
    world = two_traders()
    assert world.trade(ALICE, BOB, lots, 80_000).accepted
    return world


def paid(world: World) -> list[Entry]:
    return [e for e in world.entries if e.kind == Kind.FUNDING_PAID]


@pytest.mark.parametrize(("rate_ppm", "per_lot"), [(RATE, 800), (-RATE, -800), (1, 8)])
def test_longs_pay_shorts_a_share_of_the_notional_per_lot(rate_ppm: int, per_lot: int) -> None:
    """A lot is worth 8 USDC: a basis point of it is 800 smallest units."""
    world = holding()
    publish(world, rate_ppm)
    outcome = world.prices(BTC=80_000, ETH=2_000)
    (entry,) = paid(world)
    assert entry.legs == (
        credit(chart.cash(ALICE, USDC), -10 * per_lot),
        credit(chart.cash(BOB, USDC), 10 * per_lot),
    )
    assert entry.references == (BTC_PERP,)
    assert [e.amount_minor for e in outcome.events if e.kind == "FUNDING_PAID"] == [per_lot]


def test_a_rate_is_paid_once_by_the_next_snapshot() -> None:
    world = holding()
    publish(world)
    assert not paid(world), "publishing moves nothing"
    world.prices(BTC=80_000, ETH=2_000)
    assert not world.state.funding
    world.prices(BTC=80_000, ETH=2_000)
    assert len(paid(world)) == 1


def test_a_rate_that_was_corrected_before_the_snapshot_is_the_one_that_is_paid() -> None:
    world = holding()
    publish(world, 5 * RATE)
    publish(world, RATE)
    world.prices(BTC=80_000, ETH=2_000)
    assert [entry.legs[0].amount for entry in paid(world)] == [8_000]


def test_it_is_paid_at_the_last_settlement_price_before_variation_margin() -> None:
    world = holding()
    publish(world)
    world.prices(BTC=81_000, ETH=2_000)
    kinds = [entry.kind for entry in world.entries]
    start = len(kinds) - kinds[::-1].index(Kind.SNAPSHOT_ACCEPTED)
    assert kinds[start : start + 2] == [Kind.FUNDING_PAID, Kind.VARIATION_MARGIN]
    assert paid(world)[0].legs[0].amount == 8_000


def test_each_instrument_has_its_own_rate_and_other_positions_pay_nothing() -> None:
    world = holding()
    assert world.trade(BOB, ALICE, 10, 80_000, BTC_MAR).accepted
    assert world.trade(BOB, ALICE, 10, 2_000, ETH_PERP).accepted
    publish(world)
    publish(world, -RATE, ETH_PERP)
    cash = world.state.cash(ALICE)
    world.prices(BTC=80_000, ETH=2_000)
    assert [entry.references for entry in paid(world)] == [(BTC_PERP,), (ETH_PERP,)]
    assert world.state.cash(ALICE) == cash - 10 * 800 - 10 * 200


def test_without_holders_or_without_a_mark_nothing_is_paid_and_the_rate_is_used_up() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    publish(world)
    world.prices(BTC=80_000, ETH=2_000)
    assert [entry.legs for entry in paid(world)] == [()]
    assert not world.state.funding


def test_the_rate_counts_up_to_the_cap_in_both_directions() -> None:
    house = two_traders().state
    cap = house.parameters.funding_cap_ppm
    for sign in (1, -1):
        at_cap, beyond = (
            amount_per_lot(house, Funding(instrument=BTC_PERP, rate_ppm=sign * rate))
            for rate in (cap, cap + 1)
        )
        assert at_cap == beyond == sign * 8 * USD * cap // PPM


def test_a_cap_of_zero_switches_funding_off() -> None:
    world = empty_house(replace(PARAMETERS, funding_cap_ppm=0))
    world.prices(BTC=80_000, ETH=2_000)
    assert amount_per_lot(world.state, Funding(instrument=BTC_PERP, rate_ppm=PPM)) == 0


@given(
    rate_ppm=st.integers(-7_500, 7_500),
    price=st.integers(1, 10**9),
    lots=st.lists(st.integers(-1_000, 1_000), min_size=1, max_size=5),
)
def test_an_amount_per_lot_never_exceeds_the_rate_and_sums_to_zero_over_positions_that_do(
    rate_ppm: int, price: int, lots: list[int]
) -> None:
    house = _priced(price)
    per_lot = amount_per_lot(house.state, Funding(instrument=BTC_PERP, rate_ppm=rate_ppm))
    exact = rate_ppm * price * 100
    assert abs(per_lot) * PPM <= abs(exact) < (abs(per_lot) + 1) * PPM
    assert per_lot * rate_ppm >= 0
    assert sum(quantity * per_lot for quantity in (*lots, -sum(lots))) == 0


BASE = two_traders()


def _priced(price: int) -> World:
    return World(state=replace(BASE.state, prices=BASE.state.prices.set(BTC, price)))


# -------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("instrument", "rate_ppm", "reason"),
    [
        (InstrumentId("DOGE"), 1, Reason.INSTRUMENT_UNKNOWN),
        (BTC_MAR, 1, Reason.INSTRUMENT_NOT_PERPETUAL),
        (BTC_PERP, PPM + 1, Reason.TERM_OUT_OF_RANGE),
        (BTC_PERP, -PPM - 1, Reason.TERM_OUT_OF_RANGE),
        (BTC_PERP, 10**4_000, Reason.TERM_OUT_OF_RANGE),
    ],
)
def test_only_perpetuals_have_a_rate_and_it_is_one(
    instrument: InstrumentId, rate_ppm: int, reason: Reason
) -> None:
    assert two_traders().reason(PublishFunding(instrument=instrument, rate_ppm=rate_ppm)) == reason.name


# --------------------------------------------------------------------------------- gains, losses and defaults


def test_funding_counts_in_the_profit_of_the_window_and_in_who_answers() -> None:
    world = holding()
    publish(world)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.state.pnl[BOB].window_minor == 8_000
    assert world.state.pnl[ALICE].window_minor == -8_000
    world.prices(BTC=80_000, ETH=2_000)
    assert BOB not in world.state.pnl, "a new cycle, and both meet their requirement"


def test_what_a_winner_received_as_funding_is_a_gain_that_the_last_tier_may_take() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    long, short = (world.account("dex", name) for name in ("long", "short"))
    world.deposit(long, 1_400 * USD)
    world.deposit(short, 100_000 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(long, short, 1_000, 80_000).accepted
    publish(world, 7_500)
    outcome = world.prices(BTC=60_000, ETH=2_000)
    assert "DEFAULT_DECLARED" in kinds_of(outcome)
    (default,) = world.state.defaults.values()
    assert [(str(g.netting_set), g.gain_minor) for g in default.gains] == [(short, (2_000 + 60) * USD)]


def test_funding_may_call_whom_it_costs_its_margin() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    long, short = (AccountKey(world.account("dex", name)) for name in ("long", "short"))
    world.deposit(long, 1_310 * USD)
    world.deposit(short, 100_000 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(long, short, 1_000, 80_000).accepted
    publish(world, 7_500)
    assert "CALL_ISSUED" in kinds_of(world.prices(BTC=80_000, ETH=2_000))
    assert f"margin/{long}" in world.state.calls
