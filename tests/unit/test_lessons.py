"""Lessons that cost others money, one test each (rulebook §15): what happened there does not happen here.

Where the rulebook has figures, the test has them.
"""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.default.gate import gates
from clearing.model.commands import (
    ApproveProposal,
    LeaveHouse,
    ListAsset,
    ProposeParameters,
    RegisterProvider,
    RejectProposal,
    RequestWithdrawal,
)
from clearing.model.ids import AccountKey, AssetId, DefaultId, MemberId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import BP, DAY_MS, HOUR_MS, MINUTE_MS, AuctionKind, MemberStatus, Stage
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BTC_PERP,
    DESK,
    ETHER,
    USDC,
    World,
    contribute,
    fund,
    kinds_of,
    two_traders,
)
from tests.unit.test_auctions import bid, declared, oil_house, on_offer
from tests.unit.test_defaults import LOSS, OIL, PARAMETERS, house_of_three, key, short_side_wins
from tests.unit.test_liquidation import long_alice
from tests.unit.test_members import fails, four_members
from tests.unit.test_options import CALL, holding, mark

D1, D2 = DefaultId("d1"), DefaultId("d2")
X, Y, Z = MemberId("x"), MemberId("y"), MemberId("z")
CARL = "administrator/carl"
GAIN = 16 * 300
"""What the short side of 16 lots wins when oil falls by 300."""


def draws(world: World, default: DefaultId = D1) -> list[tuple[int, str, int]]:
    return [(d.tier, d.payer, d.amount_minor) for d in world.state.defaults[default].draws]


def request_of(world: World, kind: Kind) -> str:
    """The one request that recorded entries of a kind."""
    (request_id,) = {entry.request_id for entry in world.entries if entry.kind == kind}
    return request_id


def withdrawing(account: AccountKey, amount_minor: int) -> RequestWithdrawal:
    return RequestWithdrawal(withdrawal="w", account=account, asset=USDC, amount_minor=amount_minor)


# dYdX, October 2025: halted for eight hours -----------------------------------------------------------------


def test_dydx_draws_transfers_and_claims_of_a_waterfall_are_one_entry_and_a_close_out_is_one_request() -> (
    None
):
    """There the pool's transfer was posted before the insurance had been credited."""
    world = house_of_three()
    fund(world, skin_in_the_game=50, insurance_fund=20, second_tranche=10)
    contribute(world, x=100, y=100, z=100)
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    (waterfall,) = [entry for entry in world.entries if entry.kind == Kind.WATERFALL]
    moved = {leg.account: leg.amount for leg in waterfall.legs}
    assert sum(leg.amount for leg in waterfall.legs) == 0
    assert moved[chart.loss(D1, X, USDC)] == -LOSS
    drawn = {
        chart.pool(X, USDC): 100,
        chart.skin_in_the_game(USDC): 50,
        chart.insurance_fund(USDC): 20,
        chart.pool(Y, USDC): 100,
        chart.pool(Z, USDC): 100,
        chart.second_tranche(USDC): 10,
        chart.assessment(Y, USDC): 200,
        chart.assessment(Z, USDC): 200,
        chart.cash(key("x/short"), USDC): LOSS - 780,
    }
    assert {account: moved[account] for account in drawn} == drawn
    closing = (Kind.DEFAULT_DECLARED, Kind.POSITIONS_TORN_UP, Kind.CLOSED_OUT, Kind.LOSS_FIXED)
    assert len({request_of(world, kind) for kind in closing}) == 1, "one request is one commit"


# percolator: a verified waterfall that destroyed the insurance draw -----------------------------------------


def test_percolator_what_the_insurance_fund_paid_is_not_taken_from_winners_again() -> None:
    """A loss of 2,800 on gains of 4,800, of which the fund pays 800: winners give up 41.67 %, not 58.33 %."""
    world = house_of_three(parameters=replace(PARAMETERS, pool_floor_minor=0))
    fund(world, insurance_fund=800)
    custody = world.state.balance(chart.custody(USDC))
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    assert (LOSS, GAIN) == (2_800, 4_800)
    assert draws(world) == [(4, "house/insurance_fund", 800), (8, "x/short", 2_000)]
    assert [round(part / GAIN, 4) for part in (2_000, LOSS)] == [0.4167, 0.5833]
    assert world.state.cash(key("x/short")) == 2_000 + GAIN - 2_000
    assert world.state.balance(chart.custody(USDC)) == custody, "nothing came or went"


# Mango, October 2022: 116 million ---------------------------------------------------------------------------


def test_mango_a_gain_is_not_paid_out_before_somebody_has_paid_it() -> None:
    """One hand holds both sides. The price is driven up, one side is ruined, and the other asks for its gain."""
    world = house_of_three(parameters=replace(PARAMETERS, pool_floor_minor=0))
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    world.prices(OIL=1_400)
    gained = 16 * 400
    assert world.state.cash(key("x/long")) == 2_000 + gained
    assert world.reason(withdrawing(key("x/long"), 1)) == Reason.GATE_SHUT.name
    world.wait(HOUR_MS)
    world.prices(OIL=1_400)
    assert not gates(world.state, world.now_ms)
    assert world.reason(withdrawing(key("x/long"), 4_001)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdrawing(key("x/long"), 4_000))
    assert 4_000 == 2_000 + 2_000, "its own deposit and what the other side could pay"


def test_mango_what_an_option_gained_offsets_a_requirement_and_is_never_paid_out() -> None:
    world = holding(1_000)
    before, worth = world.state.cash(ALICE), mark(world)
    world.prices(BTC=85_000, ETH=2_000, BTCVOL=6_000)
    assert mark(world) > worth
    measured = world.measured(ALICE)
    assert measured.equity_minor > before, "its options count"
    assert world.state.cash(ALICE) == before
    free = before - max(0, measured.requirement_minor - measured.option_value_minor)
    assert world.reason(withdrawing(ALICE, free + 1)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdrawing(ALICE, free))
    assert world.state.position(ALICE, CALL) == 1_000


# Drift, April 2026: 285 million -----------------------------------------------------------------------------


def test_drift_two_keys_are_not_enough_without_the_delay_in_which_a_third_one_ends_it() -> None:
    """There two signatures of five changed what they wanted in the same minute."""
    world = two_traders()
    before = world.state.parameters
    looser = replace(before, requirement_bp=BP)
    change = ProposeParameters(proposal="p", parameters=looser, reason="trust me")
    assert world.reason(replace(change, immediate=True), ANNA) == Reason.NOT_A_TIGHTENING.name
    assert world.reason(change, "member/dex") == Reason.NOT_AN_ADMINISTRATOR.name
    world.ok(change, ANNA)
    assert world.reason(ApproveProposal(proposal="p"), ANNA) == Reason.SAME_ADMINISTRATOR.name
    world.ok(ApproveProposal(proposal="p"), BERT)
    world.wait(DAY_MS - 1)
    assert world.state.parameters == before
    world.ok(RejectProposal(proposal="p", reason="who asked for this?"), CARL)
    world.wait(DAY_MS)
    assert world.state.parameters == before


def test_drift_nobody_makes_a_token_collateral_alone() -> None:
    world = two_traders()
    listing = ListAsset(asset=replace(ETHER, id=AssetId("FAKE")))
    outcome = world.send(listing, ANNA)
    assert [result.reason for result in outcome.results] == [Reason.TWO_ADMINISTRATORS_NEEDED.name]


# JELLY, March 2025: the vault's shared collateral masked the deficit ----------------------------------------


def test_jelly_a_deficit_is_seen_beside_rich_neighbours_and_takes_nothing_of_theirs() -> None:
    """x/rich has plenty, of the same member; so has the provider, and each tier pays from its own account only."""
    world = house_of_three()
    rich = world.account("x", "rich")
    world.deposit(rich, 1_000_000)
    fund(world, skin_in_the_game=50, insurance_fund=20)
    contribute(world, y=100, z=100)
    purses = {
        "house/skin_in_the_game": chart.skin_in_the_game(USDC),
        "house/insurance_fund": chart.insurance_fund(USDC),
        "y": chart.pool(Y, USDC),
        "z": chart.pool(Z, USDC),
    }
    others = (rich, *(key(f"{member}/{side}") for member in "yz" for side in ("long", "short")))
    before = {account: world.state.balance(account) for account in purses.values()}
    short_side_wins(world, "x")
    assert world.state.defaults[D1].sets[0].equity_minor == -LOSS
    assert [part.amount_minor for part in world.state.defaults[D1].answers] == [LOSS]
    world.wait(HOUR_MS)
    assert [world.state.cash(account) for account in others] == [1_000_000, *[2_000] * 4]
    paid = {payer: amount for tier, payer, amount in draws(world) if tier < 7}
    assert paid == {"house/skin_in_the_game": 50, "house/insurance_fund": 20, "y": 100, "z": 100}
    assert {p: before[a] - world.state.balance(a) for p, a in purses.items()} == paid


def test_jelly_who_takes_a_position_over_must_stand_on_its_own_afterwards() -> None:
    """A provider that its own margin does not carry is given nothing, whatever capacity it declared."""
    world = house_of_three()
    weak = world.account("z", "backstop")
    world.deposit(weak, 1)
    world.ok(RegisterProvider(account=weak, capacity_minor=10**9))
    short_side_wins(world, "x")
    assert world.state.position(weak, OIL) == 0
    assert world.state.cash(weak) == 1


# Drift and Mango: losses spread over gross open interest ----------------------------------------------------


def test_drift_and_mango_losers_and_bystanders_pay_nothing_of_a_socialised_loss() -> None:
    """y/long holds an open position and has lost on it; y/short has won; z holds nothing."""
    world = house_of_three(parameters=replace(PARAMETERS, pool_floor_minor=0))
    assert world.trade(key("y/long"), key("y/short"), 4, 1_000, OIL).accepted
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    gains = {"x/short": GAIN, "y/short": 1_200}
    assert {gain.netting_set: gain.gain_minor for gain in world.state.defaults[D1].gains} == gains
    assert sum(amount for _, _, amount in draws(world)) == LOSS
    assert {(tier, payer) for tier, payer, _ in draws(world)} == {(8, payer) for payer in gains}
    for _, payer, amount in draws(world):
        assert abs(amount - LOSS * gains[payer] / sum(gains.values())) < 1
    assert world.state.cash(key("y/long")) == 2_000 - 1_200
    assert world.state.cash(key("z/long")) == 2_000


def test_drift_and_mango_without_open_interest_and_winners_the_residual_has_a_holder() -> None:
    """z did not pay its assessment after all positions had ended: there is nobody to divide by, and no error."""
    world = short_side_wins(house_of_three({"y": 1_000}), "x")
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    assert not any(world.state.positions(account) for account in world.state.accounts)
    second = world.state.defaults[D2]
    assert (second.draws, second.uncovered_minor) == ((), 200)
    assert world.state.balance(chart.uncovered(D2, USDC)) == 200
    assert "LOSS_UNCOVERED d2" in [gate.reason for gate in gates(world.state, world.now_ms)]


# Hyperliquid, October 2025: deleveraging overshot by 45 to 52 million ---------------------------------------


def test_hyperliquid_a_tear_up_closes_exactly_the_lots_that_nobody_took_pro_rata_at_the_settlement_price() -> (
    None
):
    """Of 16 lots a provider takes 4. The 12 that are left end against shorts of 12 and 4: 9 and 3."""
    world = house_of_three()
    backstop, small = world.account("z", "backstop"), world.account("x", "small")
    world.deposit(backstop, 10_000)
    world.deposit(small, 2_000)
    world.ok(RegisterProvider(account=backstop, capacity_minor=4 * 700))
    assert world.trade(key("x/long"), key("x/short"), 12, 1_000, OIL).accepted
    assert world.trade(key("x/long"), small, 4, 1_000, OIL).accepted
    outcome = world.prices(OIL=700)
    (torn,) = [event for event in outcome.events if event.kind == Kind.POSITIONS_TORN_UP.name]
    assert (torn.subject, torn.amount_minor) == ("d1 OIL-PERP", 12)
    left = {name: world.state.position(key(name), OIL) for name in ("x/long", "x/short", "x/small")}
    assert left == {"x/long": 0, "x/short": -3, "x/small": -1}
    assert world.state.position(backstop, OIL) == 4
    (entry,) = [one for one in world.entries if one.kind == Kind.POSITIONS_TORN_UP]
    assert {leg.account.unit for leg in entry.legs} == {OIL}, "no money moves: every position is carried at S"


# Exactly and Sentiment: bad debt all or nothing, and exits before it is recognised --------------------------


@pytest.mark.parametrize("skin", [1, 2_799, 2_800, 2_801])
def test_exactly_and_sentiment_a_tier_pays_what_it_has_and_passes_on_the_rest(skin: int) -> None:
    world = house_of_three(parameters=replace(PARAMETERS, pool_floor_minor=0))
    fund(world, skin_in_the_game=skin)
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    paid = {tier: amount for tier, _, amount in draws(world)}
    rest = {8: LOSS - skin} if skin < LOSS else {}
    assert paid == {3: min(skin, LOSS)} | rest
    assert world.state.balance(chart.skin_in_the_game(USDC)) == max(0, skin - LOSS)


def test_exactly_and_sentiment_who_leaves_before_the_loss_is_known_bears_it_all_the_same() -> None:
    """y resigns in the hour in which x may answer for 240, and a winner asks for its gain in the same hour."""
    world = four_members()
    fails(world, X, 1_000, 240)
    world.ok(LeaveHouse(member=Y))
    assert world.state.members[Y].status is MemberStatus.LEFT
    assert world.state.pool(Y) == 100
    assert world.reason(withdrawing(key("x/short"), 1)) == Reason.GATE_SHUT.name
    world.wait(HOUR_MS)
    assert {(tier, payer) for tier, payer, _ in draws(world)} == {(2, "x"), (5, "w"), (5, "y"), (5, "z")}
    assert {amount for tier, _, amount in draws(world) if tier == 5} == {46, 47}


# GMX: deleveraging ran on an account that was eligible no more ----------------------------------------------


def test_gmx_a_liquidation_step_on_a_set_that_has_recovered_closes_nothing() -> None:
    world = long_alice()
    world.prices(BTC=76_000, ETH=2_000)
    held = world.state.position(ALICE, BTC_PERP)
    assert held < 1_500
    world.prices(BTC=84_000, ETH=2_000)
    outcome = world.wait(MINUTE_MS)
    assert kinds_of(outcome) == [Kind.LIQUIDATION_CLOSED.name]
    assert world.state.position(ALICE, BTC_PERP) == held


def test_gmx_an_award_to_a_bid_on_a_set_that_has_recovered_is_not_made() -> None:
    world = on_offer()
    bid(world, DESK, 0)
    world.prices(BTC=84_000, ETH=2_000)
    outcome = world.wait(MINUTE_MS // 2)
    assert kinds_of(outcome) == [Kind.AUCTION_VOIDED.name, Kind.LIQUIDATION_CLOSED.name]
    assert world.state.position(ALICE, BTC_PERP) == 1_500
    assert world.state.position(DESK, BTC_PERP) == 0


# Perennial: a fee larger than the collateral ----------------------------------------------------------------


@pytest.mark.parametrize("ticks", [67_500, 69_000, 72_000, 76_000])
def test_perennial_a_penalty_of_any_size_leaves_equity_at_zero_at_worst(ticks: int) -> None:
    """The penalty would be all that was closed."""
    world = long_alice(penalty_notional_bp=BP, penalty_released_bp=BP)
    world.prices(BTC=ticks, ETH=2_000)
    while world.state.liquidations:
        world.wait(MINUTE_MS)
    assert world.measured(ALICE).equity_minor >= 0
    assert not world.state.defaults


def test_perennial_where_a_deficit_remains_there_is_no_penalty_at_all() -> None:
    """At 67,000 the close-out costs more than is left."""
    world = long_alice(penalty_notional_bp=BP, penalty_released_bp=BP)
    outcome = world.prices(BTC=67_000, ETH=2_000)
    assert Kind.DEFAULT_DECLARED.name in kinds_of(outcome)
    assert Kind.LIQUIDATION_CLOSED.name not in kinds_of(outcome)
    assert world.state.defaults[D1].answers
    fund_account = chart.insurance_fund(USDC)
    assert {e.kind for e in world.entries for leg in e.legs if leg.account == fund_account} == {
        Kind.FEES_SHARED
    }


# Nasdaq Commodities, September 2018: 114 million ------------------------------------------------------------


def nasdaq() -> World:
    """A loss of 114 over margin; 7 of the house at risk, 166 in the pool, and a second tranche behind it."""
    world = oil_house()
    world.deposit(key("x/long"), GAIN - 2_000 - 114)
    fund(world, skin_in_the_game=7, second_tranche=20)
    contribute(world, y=100, z=66)
    return declared(world)


def pool_left(world: World) -> dict[str, int]:
    return {member: world.state.pool(MemberId(member)) for member in "yz"}


def test_nasdaq_a_failed_auction_costs_7_of_the_house_and_107_of_the_166_of_the_pool() -> None:
    world = nasdaq()
    world.wait(10 * MINUTE_MS)
    assert [(part.member, part.amount_minor) for part in world.state.defaults[D1].losses] == [("x", 114)]
    world.wait(HOUR_MS)
    default = world.state.defaults[D1]
    assert {tier.tier: tier.paid_minor for tier in default.tiers if tier.paid_minor} == {3: 7, 5: 107}
    assert default.uncovered_minor == 0
    assert sum(pool_left(world).values()) == 166 - 107
    assert max(pool_left(world).values()) - min(pool_left(world).values()) in (33, 35), (
        "53 and 54, by required"
    )
    assert world.state.balance(chart.second_tranche(USDC)) == 20
    assert world.state.defaults[D1].stage is Stage.RECOVERING


def test_nasdaq_with_few_bidders_those_who_stayed_away_pay_first() -> None:
    world = nasdaq()
    bid(world, key("y/desk"), 0, 5_000, AuctionKind.CLOSE_OUT)
    world.wait(10 * MINUTE_MS)
    world.wait(HOUR_MS)
    assert draws(world) == [(3, "house/skin_in_the_game", 7), (5, "y", 41), (5, "z", 66)]
    assert pool_left(world) == {"y": 59, "z": 0}
