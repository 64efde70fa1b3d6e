"""The house says in which steps everything counts."""

from dataclasses import replace

from immutables import Map

from clearing.model import units
from clearing.model.commands import AdmitMember, ApplyForMembership, LeaveHouse, SuspendMember
from clearing.model.ids import AssetId, FeedId, MemberId
from clearing.model.values import Asset
from clearing.server.wire import house as wire
from tests.builders import ANNA, empty_house, two_traders

WRAPPED = Asset(id=AssetId("WXY"), decimals=8, feed=FeedId("WXY"), tick_value_minor=25_000, haircut_bp=1_000)


def test_instruments_have_ticks_lots_and_the_value_of_a_tick() -> None:
    found = wire.message(two_traders().state, (), None)
    btc = next(row for row in found.instruments if row.name == "instruments/BTC-PERP")
    assert (btc.tick_size, btc.lot_size, btc.tick_value, btc.mark_price) == (
        "0.1",
        "0.001",
        "0.000100",
        "8000.0",
    )
    assert not btc.HasField("expire_time")
    future = next(row for row in found.instruments if row.name == "instruments/BTC-MAR20")
    assert future.HasField("expire_time")


def test_an_asset_names_the_limit_above_which_its_haircut_is_higher() -> None:
    state = empty_house().state
    limited = replace(WRAPPED, concentration_minor=150_000_000, concentration_haircut_bp=2_000)
    found = wire.message(replace(state, assets=state.assets.set(limited.id, limited)), (), None)
    said = {row.name: (row.concentration_limit, row.concentration_haircut_bp) for row in found.assets}
    assert said["assets/WXY"] == ("1.50000000", 2_000)
    assert said["assets/ETH"] == ("", 0)


def test_a_house_without_a_cycle_has_no_marks_yet() -> None:
    found = wire.message(empty_house().state, (), None)
    assert (found.cycle, found.HasField("cycle_accept_time")) == (0, False)
    assert {row.mark_price for row in found.instruments} == {""}


def test_a_feed_that_prices_only_collateral_ticks_in_the_settlement_asset() -> None:
    state = empty_house().state
    state = replace(state, assets=state.assets.set(WRAPPED.id, WRAPPED))
    tick = units.of_feeds(state)[FeedId("WXY")]
    assert (tick.render(1), tick.parse("1.250"), tick.render(50)) == ("0.025000", 50, "1.250000")


def test_an_instruments_tick_is_the_tick_of_its_feed() -> None:
    state = empty_house().state
    assert units.of_feeds(state)[FeedId("ETH")].render(1) == "0.1"
    without = replace(state, instruments=Map())
    assert units.of_feeds(without)[FeedId("ETH")].render(1) == "0.100000"


def test_applicants_and_who_left_are_no_members_and_suspended_ones_are() -> None:
    world = two_traders()
    for name in ("held", "gone"):
        world.ok(AdmitMember(member=MemberId(name), name=name))
    world.ok(ApplyForMembership(member=MemberId("new"), name="New"))
    world.ok(SuspendMember(member=MemberId("held"), reason="why"), ANNA)
    world.ok(LeaveHouse(member=MemberId("gone")))
    found = wire.message(world.state, (), None)
    counts = (found.member_count, found.suspended_member_count, found.defaulted_member_count)
    assert counts == (2, 1, 0)
