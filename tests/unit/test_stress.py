"""What the house would lose under stress, member by member, and what is prefunded (rulebook §12)."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest

from clearing.default import stress
from clearing.default.answering import answer_weights
from clearing.default.scenarios import BTC, OTHERS, SCENARIOS, Move, Scenario, moved, scenarios_of
from clearing.default.stress import (
    NO_SCENARIO,
    ScenarioLosses,
    StressArray,
    losses_of,
    prefunded,
    scenario_losses,
    stress_array,
    stress_of,
    stressed,
)
from clearing.margin.assess import assess, option_value, portfolio_of
from clearing.margin.pricing import FINE, factors, revaluation, value, years_to_expiry
from clearing.margin.snapshot import array_of
from clearing.model.codec import from_text, to_text
from clearing.model.commands import (
    AdmitMember,
    ApplyForMembership,
    GroupMember,
    ListAsset,
    ListInstrument,
)
from clearing.model.house import House
from clearing.model.ids import (
    AssetId,
    FeedId,
    InstrumentId,
    MemberId,
    SetId,
    account_key,
    house_account,
)
from clearing.model.values import BP, HOUR_MS, MemberPart, Right, Stage
from ledger.require import InvariantViolated
from tests.builders import (
    ALICE,
    BOB,
    BTC_PERP,
    ETH,
    ETH_PERP,
    ETHER,
    USD,
    World,
    contribute,
    empty_house,
    fund,
    link,
    perpetual,
    two_traders,
    with_provider,
)
from tests.builders import PARAMETERS as BUILT
from tests.unit.test_defaults import D1, LOSS, OIL, PARAMETERS, house_of_three, key, short_side_wins
from tests.unit.test_options import CALL, EXPIRES_MS, PUT, TICK, holding, option

X, Y, Z = (MemberId(name) for name in "xyz")
OTHER = MemberId("other")
THERE = account_key(OTHER, "alice")
ZTOKEN = AssetId("ZTK")
ZFEED = FeedId("ZTK")


def by_scenario(house: House) -> dict[str, dict[str, int]]:
    """What each member loses, by the name of the scenario."""
    return {
        one.scenario: {part.member: part.amount_minor for part in one.losses}
        for one in stress_of(house).scenarios
    }


def market(name: str, price_bp: int) -> Scenario:
    """Everything moves alike."""
    return Scenario(name=name, moves=(Move(underlying=OTHERS, price_bp=price_bp),))


def under(house: House, monkeypatch: pytest.MonkeyPatch, *scenarios: Scenario) -> tuple[ScenarioLosses, ...]:
    """What members lose in these scenarios alone."""
    monkeypatch.setattr(stress, "scenarios_of", lambda _: scenarios)
    return losses_of(house, stress_array(house))


def parts(found: ScenarioLosses) -> Mapping[str, int]:
    return {part.member: part.amount_minor for part in found.losses}


def trading(*members: str, lots: int = 16) -> World:
    """At each member ``long`` has bought oil of ``short`` at 1,000; both have 2,000."""
    world = house_of_three()
    for member in members:
        assert world.trade(key(f"{member}/long"), key(f"{member}/short"), lots, 1_000, OIL).accepted
    return world


# scenarios ----------------------------------------------------------------------------------------


def test_an_underlying_that_a_scenario_does_not_name_moves_with_all_others() -> None:
    first = SCENARIOS[0]
    assert first.move_of(BTC).price_bp == -4_818
    assert first.move_of(FeedId("OIL")).price_bp == first.move_of(OTHERS).price_bp == -9_000


def test_thin_tokens_move_twice_as_far_as_the_further_of_btc_and_eth_and_fall_by_nine_tenths_at_most() -> (
    None
):
    others = {one.name: one.move_of(OTHERS).price_bp for one in SCENARIOS}
    assert others["may-2021 fall"] == -2 * 3_103
    assert others["march-2020 fall"] == others["largest fall"] == -9_000
    assert others["largest rise"] == 14_000
    assert (others["BTC falls, ETH rises"], others["BTC rises, ETH falls"]) == (-4_000, 4_000)


def test_scenarios_have_names_of_their_own_and_nothing_falls_below_nothing() -> None:
    assert len({one.name for one in SCENARIOS}) == len(SCENARIOS)
    for one in SCENARIOS:
        assert [move.underlying for move in one.moves][-1] == OTHERS
        assert all(move.price_bp >= -BP and move.volatility_bp >= -BP for move in one.moves)


def test_the_hypothetical_moves_are_larger_than_any_historical_one() -> None:
    named = {one.name: one for one in SCENARIOS}
    history = [one for one in SCENARIOS if one.name.endswith((" fall", " rally")) and "20" in one.name]
    for feed in (BTC, FeedId("ETH"), OTHERS):
        prices = [one.move_of(feed).price_bp for one in history]
        assert named["largest fall"].move_of(feed).price_bp <= min(prices)
        assert named["largest rise"].move_of(feed).price_bp > max(prices)
        assert named["largest fall"].move_of(feed).volatility_bp > max(
            one.move_of(feed).volatility_bp for one in history
        )


def test_a_price_is_rounded_down_after_a_move() -> None:
    assert [moved(999, Move(underlying=OTHERS, price_bp=bp)) for bp in (0, 1, -1, -BP)] == [999, 999, 998, 0]


def test_each_member_that_has_issued_a_token_is_exploited() -> None:
    world = empty_house()
    assert scenarios_of(world.state) == SCENARIOS
    for name in ("one", "two"):
        world.ok(AdmitMember(member=MemberId(name), name=name))
    for token, issuer in (("A", "two"), ("B", "one"), ("C", "two")):
        asset = replace(ETHER, id=AssetId(token), feed=FeedId(token), issuer=MemberId(issuer))
        world.ok(ListAsset(asset=asset))
    first, second = scenarios_of(world.state)[len(SCENARIOS) :]
    assert (first.name, second.name) == ("exploit of one", "exploit of two")
    assert first.moves == (Move(underlying=FeedId("B"), price_bp=-BP), Move(underlying=OTHERS, price_bp=0))
    assert [move.underlying for move in second.moves] == ["A", "C", "*"]


def test_the_digest_is_of_all_scenarios_and_changes_with_them() -> None:
    world = empty_house()
    text = to_text(SCENARIOS).encode()
    assert stress_of(world.state).scenario_set_digest == hashlib.sha256(text).digest()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    world.ok(ListAsset(asset=replace(ETHER, id=ZTOKEN, feed=ZFEED, issuer=OTHER)))
    text = to_text(scenarios_of(world.state)).encode()
    assert text.count(b"exploit of other") == 1
    assert stress_of(world.state).scenario_set_digest == hashlib.sha256(text).digest()


# houses in which there is little ------------------------------------------------------------------


def test_an_empty_house_loses_nothing_and_has_nothing() -> None:
    found = stress_of(empty_house().state)
    assert (found.cover1_minor, found.cover2_minor, found.prefunded_minor) == (0, 0, 0)
    assert found.worst_scenario == NO_SCENARIO
    assert [one.scenario for one in found.scenarios] == [one.name for one in SCENARIOS]
    assert not any(one.losses for one in found.scenarios)


def test_before_the_first_cycle_nothing_has_a_price_and_cash_is_not_at_risk() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    world.account("dex", "alice")
    world.deposit(ALICE, USD)
    world.deposit(ALICE, 10**18, ETH)
    contribute(world, dex=7)
    found = stress_of(world.state)
    assert (found.cover1_minor, found.cover2_minor, found.prefunded_minor) == (0, 0, 7)
    assert stress_array(world.state).instruments == ()
    assert set(stress_array(world.state).assets[0].price_ticks) == {0}


# losses over margin -------------------------------------------------------------------------------


def test_the_loss_is_what_cash_does_not_cover_of_the_move() -> None:
    found = by_scenario(trading("x").state)
    assert found["march-2020 fall"] == {"x": 16 * 900 - 2_000}
    assert found["largest rise"] == {"x": 16 * 1_400 - 2_000}
    assert found["june-2022 fall"] == {"x": 16 * 338 - 2_000}, "rounded down a lot"


@pytest.mark.parametrize(("fall_bp", "loss"), [(-1_250, 0), (-1_251, 16 * 126 - 2_000), (-1_260, 16)])
def test_a_set_that_is_left_with_just_nothing_has_no_loss(
    fall_bp: int, loss: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = under(trading("x").state, monkeypatch, market("fall", fall_bp))
    assert parts(found) == ({"x": loss} if loss else {})


def test_gains_of_one_set_do_not_pay_for_another() -> None:
    world = trading("x")
    (rise,) = (one for one in stress_of(world.state).scenarios if one.scenario == "largest rise")
    assert rise.losses == (MemberPart(member=X, amount_minor=16 * 1_400 - 2_000),)


def test_the_house_loses_what_is_lost_when_prices_really_move_so() -> None:
    world = trading("x")
    expected = by_scenario(world.state)["ftx-2022 fall"]["x"]
    world.prices(OIL=1_000 - 2 * 2_983 // 10)
    loss = sum(part.amount_minor for part in world.state.defaults[D1].losses)
    assert 0 <= expected - loss <= 16 * 2, "but for ticks"
    assert loss


def test_collateral_counts_after_haircut_at_the_stressed_price(monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_traders(1_400 * USD)
    world.deposit(ALICE, 10 * 10**18, ETH)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    cash = world.state.cash(ALICE)
    (found,) = under(world.state, monkeypatch, market("fall", -5_000))
    assert parts(found) == {"dex": 4_000 * USD - cash - 10 * 100 * USD * 8 // 10}


def test_collateral_that_rises_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_traders(1_400 * USD)
    world.deposit(BOB, 10 * 10**18, ETH)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    (found,) = under(world.state, monkeypatch, market("rise", 5_000))
    assert parts(found) == {"dex": 4_000 * USD - world.state.cash(BOB) - 10 * 300 * USD * 8 // 10}


def test_the_higher_haircut_of_what_is_above_the_limit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    world = two_traders(1_400 * USD)
    crowded = replace(ETHER, id=ZTOKEN, concentration_minor=10 * 10**18, concentration_haircut_bp=5_000)
    world.ok(ListAsset(asset=crowded))
    world.deposit(ALICE, 12 * 10**18, ZTOKEN)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    (found,) = under(world.state, monkeypatch, market("fall", -5_000))
    counted = (10 * 80 + 2 * 50) * USD
    assert parts(found) == {"dex": 4_000 * USD - world.state.cash(ALICE) - counted}


# tokens of members --------------------------------------------------------------------------------


def house_with_a_token() -> World:
    """The token of ``other`` is posted by alice at ``dex``, who is long bitcoin, and there is a perpetual on it."""
    token = replace(BUILT.scan_ranges[0], underlying=ZFEED)
    world = empty_house(replace(BUILT, scan_ranges=(*BUILT.scan_ranges, token)))
    for member in ("dex", "other"):
        world.ok(AdmitMember(member=MemberId(member), name=member))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 1_400 * USD)
    world.ok(ListInstrument(instrument=perpetual(InstrumentId("ZTK-PERP"), ZFEED, 1_000, 2)))
    world.ok(ListAsset(asset=replace(ETHER, id=ZTOKEN, feed=ZFEED, issuer=OTHER)))
    world.prices(BTC=80_000, ETH=2_000, ZTK=2_000)
    world.deposit(ALICE, 100 * 10**18, ZTOKEN)
    return world


def test_an_exploited_members_token_is_worth_nothing_as_collateral_and_as_an_underlying() -> None:
    world = house_with_a_token()
    assert world.trade(ALICE, BOB, 1_000, 2_000, InstrumentId("ZTK-PERP")).accepted
    lost = 1_000 * 2_000 * 1_000 - world.state.cash(ALICE)
    assert by_scenario(world.state)["exploit of other"] == {"dex": lost}


def test_an_exploit_moves_nothing_else() -> None:
    world = house_with_a_token()
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    assert by_scenario(world.state)["exploit of other"] == {}


def test_a_token_counts_nothing_in_a_set_that_has_an_account_at_its_issuer_whatever_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = house_with_a_token()
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    fall = market("fall", -5_000)
    (apart,) = under(world.state, monkeypatch, fall)
    assert parts(apart) == {}, "a hundred tokens at 100 each, less haircut, cover it"
    world.account("other", "alice")
    link(world, "alice", ALICE, THERE)
    (linked,) = under(world.state, monkeypatch, fall)
    assert parts(linked) == {"dex": 4_000 * USD - world.state.cash(ALICE)}


# options ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [CALL, PUT])
def test_an_option_is_valued_anew_in_every_scenario_and_rounded_against_the_holder(
    name: InstrumentId,
) -> None:
    world = holding()
    array = stress_array(world.state)
    (row,) = (one for one in array.instruments if one.instrument == name)
    terms = option(name, Right.CALL if name == CALL else Right.PUT)
    assert terms.option is not None
    years = years_to_expiry(terms, world.state.newest_cycle.accepted_ms)
    mark = option_value(world.state, name, 1)
    for scenario, long, short in zip(array.scenarios, row.long_minor, row.short_minor, strict=True):
        move = scenario.move_of(BTC)
        forward = np.array([80_000 * (BP + move.price_bp) / BP])
        volatility = np.array([0.6 * (BP + move.volatility_bp) / BP])
        exact = 100 * float(value(terms.option.right, forward, 80_000, volatility, years)[0]) - mark
        assert floor(exact - 1e-3) <= long <= exact + 1e-3
        assert floor(-exact - 1e-3) <= short <= -exact + 1e-3
        assert long + short < 0


def test_who_is_long_an_option_owes_nothing_and_who_is_short_owes_what_it_is_worth_then() -> None:
    world = holding(10_000)
    (rise,) = (one for one in stress_of(world.state).scenarios if one.scenario == "largest rise")
    row = next(one for one in stress_array(world.state).instruments if one.instrument == CALL)
    at = [one.name for one in SCENARIOS].index("largest rise")
    worth = option_value(world.state, CALL, -10_000)
    lost = -(world.state.cash(BOB) + worth + 10_000 * row.short_minor[at])
    assert parts(rise) == {"dex": lost}
    assert lost > 0


def test_moves_become_factors_that_are_never_negative() -> None:
    assert factors([0, -BP, -BP - 1, 2_500, -1]).tolist() == [1.0, 0.0, 0.0, 1.25, 0.9999]


def test_a_forward_may_become_worth_nothing_and_a_volatility_none() -> None:
    found = revaluation(option(PUT, Right.PUT), 80_000, 6_000, 0, np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    assert found[0][0] + found[0][1] == -100
    mark = (80_000 * FINE - found[0][0] // 100) // FINE
    assert found[1][0] == -mark * FINE * 100, "at the strike, without volatility, it is worth nothing"


@pytest.mark.parametrize("forward_ticks", [70_000, 90_000])
def test_an_expired_option_is_not_stressed_any_more(forward_ticks: int) -> None:
    world = holding()
    world.now_ms = EXPIRES_MS
    world.prices(BTC=forward_ticks, ETH=2_000, BTCVOL=6_000)
    assert CALL not in {row.instrument for row in stress_array(world.state).instruments}
    assert stress_of(world.state).cover1_minor == 0


# who answers --------------------------------------------------------------------------------------


def linked_house(there_lots: int) -> World:
    """Alice, linked at dex and at other: 1,000 lots of bitcoin at dex, ether at other."""
    world = two_traders(1_500 * USD)
    world.ok(AdmitMember(member=OTHER, name="Other"))
    world.deposit(world.account("other", "alice"), 1_000 * USD)
    world.deposit(world.account("other", "carl"), 10**6 * USD)
    link(world, "alice", ALICE, THERE)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    carl = account_key(OTHER, "carl")
    buyer, seller = (THERE, carl) if there_lots > 0 else (carl, THERE)
    assert world.trade(buyer, seller, abs(there_lots), 2_000, ETH_PERP).accepted
    return world


def test_members_answer_for_a_linked_set_by_what_their_legs_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    world = linked_house(2_000)
    (found,) = under(world.state, monkeypatch, market("fall", -5_000))
    loss = 4_000 * USD + 2_000 * USD - world.state.cash(ALICE) - world.state.cash(THERE)
    given = parts(found)
    assert sum(given.values()) == loss
    assert given == {"dex": ceil(loss * 2 / 3), "other": floor(loss / 3)} or given == {
        "dex": floor(loss * 2 / 3),
        "other": ceil(loss / 3),
    }


def test_a_member_whose_leg_wins_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = linked_house(-1_000)
    (found,) = under(world.state, monkeypatch, market("fall", -5_000))
    assert parts(found) == {
        "dex": 3_000 * USD - world.state.cash(ALICE) - world.state.cash(THERE),
    }


def test_lots_of_linked_accounts_are_netted_before_they_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = linked_house(1)
    carl = account_key(OTHER, "carl")
    assert world.trade(carl, THERE, 1_000, 80_000, BTC_PERP).accepted
    (found,) = under(world.state, monkeypatch, market("fall", -3))
    (row, *_) = stress_array(world.state).instruments
    assert (found.losses, row.long_minor[0] + row.short_minor[0]) == ((), 0)


def test_where_no_leg_loses_members_answer_by_what_they_need_alone_and_else_equally() -> None:
    world = linked_house(2_000)
    set_id = SetId("link/alice")
    alone = answer_weights(world.state, set_id, {})
    assert alone["dex"] > alone["other"] > 0
    assert answer_weights(world.state, set_id, {ALICE: -1, THERE: 5}) == {"dex": 1, "other": 0}
    world = two_traders()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    world.account("other", "alice")
    link(world, "alice", ALICE, THERE)
    assert answer_weights(world.state, set_id, {}) == {"dex": 1, "other": 1}


# cover-1 and cover-2 ------------------------------------------------------------------------------


def test_cover_one_is_the_largest_loss_and_cover_two_the_two_largest_of_one_scenario() -> None:
    world = trading("x")
    for member, lots in (("y", 10), ("z", 12)):
        assert world.trade(key(f"{member}/long"), key(f"{member}/short"), lots, 1_000, OIL).accepted
    found = stress_of(world.state)
    squeeze = "thin tokens squeezed"
    losses = {m: floor(lots * Fraction("3924.2")) - 2_000 for m, lots in (("x", 16), ("y", 10), ("z", 12))}
    shown = by_scenario(world.state)[squeeze]
    assert all(
        0 <= shown[m] - loss <= lots for (m, loss), lots in zip(losses.items(), (16, 10, 12), strict=True)
    )
    assert (found.cover1_minor, found.cover2_minor) == (shown["x"], shown["x"] + shown["z"])
    assert found.worst_scenario == squeeze


def test_the_worst_of_one_and_the_worst_of_two_may_be_different_scenarios() -> None:
    house = house_of_three().state
    one = scenario_losses(house, "one", {X: 10})
    two = scenario_losses(house, "two", {X: 8, Y: 6, Z: 7})
    assert [one.largest(n) for n in (1, 2)] == [10, 10]
    assert [two.largest(n) for n in (1, 2)] == [8, 15]


def test_affiliates_count_as_one_and_a_group_is_no_member_of_the_same_name() -> None:
    world = trading("x", "y", "z")
    loss = stress_of(world.state).cover1_minor
    assert stress_of(world.state).cover2_minor == 2 * loss
    for member in (X, Y):
        world.ok(GroupMember(member=member, group="z"))
    found = stress_of(world.state)
    assert (found.cover1_minor, found.cover2_minor) == (2 * loss, 3 * loss)
    worst = next(one for one in found.scenarios if one.scenario == found.worst_scenario)
    assert worst.groups_minor == (2 * loss, loss)
    assert [part.amount_minor for part in worst.losses] == [loss] * 3, "who loses what stays by member"
    world.ok(GroupMember(member=Y, group=""))
    assert stress_of(world.state).cover1_minor == loss


def test_a_group_of_one_is_a_member_alone_and_a_group_may_be_the_second() -> None:
    house = house_of_three().state
    alone = scenario_losses(house, "s", {X: 10, Y: 4, Z: 7})
    assert alone.groups_minor == (10, 7, 4)
    members = house.members
    for member in (Y, Z):
        members = members.set(member, replace(members[member], group="north"))
    grouped = scenario_losses(replace(house, members=members), "s", {X: 10, Y: 4, Z: 7})
    assert (grouped.groups_minor, grouped.losses) == ((11, 10), alone.losses)
    one = replace(house, members=house.members.set(X, replace(house.members[X], group="north")))
    assert scenario_losses(one, "s", {X: 10, Y: 4, Z: 7}) == alone


def test_of_equal_scenarios_the_first_is_the_worst() -> None:
    found = by_scenario(trading("x").state)
    assert found["march-2020 fall"] == found["largest fall"]
    world = house_of_three()
    world.deposit(key("x/short"), 10**6)
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    assert stress_of(world.state).worst_scenario == "march-2020 fall"


def test_the_house_account_of_a_member_does_not_pay_for_its_clients_here() -> None:
    world = trading("x")
    before = by_scenario(world.state)
    world.deposit(house_account(X), 10**6)
    assert by_scenario(world.state) == before


# prefunded ----------------------------------------------------------------------------------------


def test_prefunded_is_what_tiers_two_to_six_hold() -> None:
    world = house_of_three()
    contribute(world, x=100, y=20, z=3)
    fund(world, skin_in_the_game=1_000, insurance_fund=20_000, second_tranche=300_000, capital=10**6)
    assert prefunded(world.state) == 321_123


@pytest.mark.parametrize(("cap_bp", "counted"), [(BP, 999), (5_000, 499), (0, 0)])
def test_of_the_insurance_fund_what_it_may_pay_for_one_event_counts(cap_bp: int, counted: int) -> None:
    world = house_of_three(parameters=replace(PARAMETERS, fund_event_cap_bp=cap_bp))
    fund(world, insurance_fund=999)
    assert prefunded(world.state) == counted


def test_contributions_of_members_in_default_do_not_count_any_more() -> None:
    world = short_side_wins(house_of_three(), "x")
    contribute(world, x=100, y=20)
    assert prefunded(world.state) == 120
    world.wait(HOUR_MS)
    assert world.state.defaults[D1].stage is not Stage.ANSWERING
    assert prefunded(world.state) == world.state.pool(Y)


def test_who_has_only_applied_adds_nothing() -> None:
    world = house_of_three()
    world.ok(ApplyForMembership(member=MemberId("new"), name="New"))
    assert prefunded(world.state) == 0


# defaults that are open ---------------------------------------------------------------------------


AUCTIONED = replace(PARAMETERS, close_out_auction_ms=600_000)


def test_a_set_that_was_declared_and_is_not_closed_out_still_loses() -> None:
    world = short_side_wins(with_provider(house_of_three(parameters=AUCTIONED), capacity_minor=1), "x")
    assert world.state.defaults[D1].stage is Stage.DECLARED
    equity = assess(world.state, SetId("x/long")).equity_minor
    assert equity == -LOSS
    fall = by_scenario(world.state)["largest fall"]
    assert fall == {"x": LOSS + 16 * 630}


def test_a_declared_set_is_shared_by_the_weights_that_were_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = with_provider(house_of_three(parameters=AUCTIONED), capacity_minor=1)
    there = world.account("y", "x-long", "x-long")
    world.deposit(there, 2_000)
    link(world, "x-long", key("x/long"), there)
    for buyer, seller, lots in ((key("x/long"), key("x/short"), 24), (there, key("y/short"), 8)):
        world.deposit(seller, 10**6)
        assert world.trade(buyer, seller, lots, 1_000, OIL).accepted
    world.prices(OIL=700)
    weights = world.state.defaults[D1].sets[0].weights
    assert [part.amount_minor for part in weights] == [24 * 300, 8 * 300]
    (found,) = under(world.state, monkeypatch, market("rise", 100))
    loss = 32 * 300 - 4_000 - 32 * 7
    assert parts(found) == {"x": loss * 3 // 4, "y": loss // 4}


def test_a_loss_that_is_fixed_and_not_paid_counts_in_every_scenario_until_it_is() -> None:
    world = short_side_wins(house_of_three(), "x")
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    assert {name: losses["x"] for name, losses in by_scenario(world.state).items()} == {
        one.name: LOSS for one in SCENARIOS
    }
    world.deposit(house_account(X), LOSS)
    assert world.state.defaults[D1].stage is Stage.RECOVERING
    assert stress_of(world.state).cover1_minor == 0


def test_what_the_waterfall_has_paid_is_neither_a_loss_nor_prefunded_any_more() -> None:
    world = short_side_wins(house_of_three(), "x")
    fund(world, skin_in_the_game=LOSS)
    before = stress_of(world.state)
    assert (before.cover1_minor, before.prefunded_minor) == (LOSS, LOSS)
    world.wait(HOUR_MS)
    after = stress_of(world.state)
    assert (after.cover1_minor, after.prefunded_minor) == (0, 0)


# the published array ------------------------------------------------------------------------------


def test_losses_follow_from_the_published_array_alone() -> None:
    world = holding(5_000)
    array = stress_array(world.state)
    published = from_text(StressArray, to_text(array))
    assert published == array
    assert stressed(world.state, published) == stress_of(world.state)
    half = replace(array, instruments=tuple(replace(r, short_minor=r.long_minor) for r in array.instruments))
    assert stressed(world.state, half) != stress_of(world.state)


def test_the_array_has_the_rows_of_the_risk_array() -> None:
    house = holding().state
    rows = [row.instrument for row in array_of(house).instruments]
    assert [row.instrument for row in stress_array(house).instruments] == rows
    assert {len(row.long_minor) for row in stress_array(house).instruments} == {len(SCENARIOS)}


def test_a_linear_row_is_exact_and_rounded_down_on_both_sides() -> None:
    (row,) = stress_array(house_of_three().state).instruments
    at = [one.name for one in SCENARIOS].index("june-2022 fall")
    assert (row.long_minor[at], row.short_minor[at]) == (-338, 337)


def test_a_position_without_a_row_is_a_bug() -> None:
    world = trading("x")
    array = replace(stress_array(world.state), instruments=())
    with pytest.raises(InvariantViolated, match="a row in the stress array"):
        losses_of(world.state, array)


@pytest.mark.parametrize("safe", [0, 1, 1_000, 10**9])
def test_64_bits_and_integers_of_any_size_give_the_same(safe: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for world in (trading("x", "y"), holding(5_000), linked_house(2_000), house_with_a_token()):
        found = stress_of(world.state)
        with monkeypatch.context() as patched:
            patched.setattr(stress, "SAFE", safe)
            assert stress_of(world.state) == found


@pytest.mark.parametrize("lots", [2**59 // 1_400, 2**60 // 1_400, 2**63, 2**64, 2**90])
def test_sums_beyond_64_bits_are_exact(lots: int) -> None:
    array = stress_array(house_of_three().state)
    (row,) = array.instruments
    found = stress._sums([{}, {OIL: lots}, {OIL: -lots}, {}], array, {OIL: 5})
    assert found.tolist() == [
        [0, lots * (long + 5), lots * (short - 5), 0]
        for long, short in zip(row.long_minor, row.short_minor, strict=True)
    ]


def test_the_equity_that_is_stressed_is_that_of_rule_8(monkeypatch: pytest.MonkeyPatch) -> None:
    world = holding(5_000)
    world.deposit(BOB, 10**18 + 1, ETH)
    monkeypatch.setattr(stress, "scenarios_of", lambda _: (market("still", 0),))
    sets = sorted(world.state.netting_sets)
    (left,) = stress.left_to(world.state, sets, stress_array(world.state)).tolist()
    equity = [portfolio_of(world.state, one).equity_minor for one in sets]
    half_a_tick = 5_000 * (TICK // 2 + 1)
    assert all(abs(e - v) <= half_a_tick for e, v in zip(equity, left, strict=True)), "of the mark's rounding"
