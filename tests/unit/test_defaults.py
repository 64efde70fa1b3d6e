"""Defaults from the first unpaid price move to the last recovery, through the house itself."""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.default.gate import gates
from clearing.default.preview import preview
from clearing.model.commands import (
    AdmitMember,
    FoundHouse,
    ListInstrument,
    PayDue,
    RecordRecovery,
    RegisterProvider,
    RegisterSource,
    RequestWithdrawal,
)
from clearing.model.house import rows_of
from clearing.model.ids import AccountKey, DefaultId, FeedId, InstrumentId, MemberId, house_account
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    AccountStatus,
    CappedPeriod,
    Instrument,
    InstrumentKind,
    MemberStatus,
    Parameters,
    ScanRange,
    Stage,
)
from tests.builders import (
    SETTLEMENT,
    SOURCES,
    USDC,
    World,
    contribute,
    fund,
    public_hex,
    size_pool,
    source_key,
    with_provider,
)

OIL = InstrumentId("OIL-PERP")
D1, D2 = DefaultId("d1"), DefaultId("d2")
PARAMETERS = Parameters(
    margin_model="scan",
    scan_ranges=(ScanRange(underlying=FeedId("OIL"), move_bp=1_000),),
    trade_fee_bp=0,
    pool_rate_bp=0,
    pool_floor_minor=100,
    auction_ms=0,
    close_out_auction_ms=0,
)
MEMBERS = tuple(MemberId(name) for name in "xyz")


def key(name: str) -> AccountKey:
    return AccountKey(name)


def house_of_three(house_cash: dict[str, int] | None = None, parameters: Parameters = PARAMETERS) -> World:
    """Members x, y and z; at each a ``long`` and a ``short`` client with 2,000; oil at 1,000."""
    world = World()
    world.ok(FoundHouse(house="oilhouse", settlement=SETTLEMENT, parameters=parameters))
    feed = FeedId("OIL")
    instrument = Instrument(
        id=OIL,
        kind=InstrumentKind.PERPETUAL,
        underlying=feed,
        feed=feed,
        tick_value_minor=1,
        price_decimals=0,
        lot_decimals=0,
    )
    world.ok(ListInstrument(instrument=instrument))
    for source in SOURCES:
        world.ok(RegisterSource(source=source, public_key=public_hex(source_key(source))))
    for member in MEMBERS:
        world.ok(AdmitMember(member=member, name=member))
        for side in ("long", "short"):
            world.deposit(world.account(member, side, f"{member}-{side}"), 2_000)
    for name, amount in (house_cash or {}).items():
        world.deposit(house_account(MemberId(name)), amount)
    size_pool(world)
    world.prices(OIL=1_000)
    return world


def short_side_wins(world: World, *members: str, lots: int = 16) -> World:
    """At each member ``long`` buys ``lots`` of ``short``: R is all that they have. Then oil falls to 700."""
    for member in members:
        assert world.trade(key(f"{member}/long"), key(f"{member}/short"), lots, 1_000, OIL).accepted
    world.prices(OIL=700)
    return world


LOSS = 16 * 300 - 2_000
"""What a long of 16 lots cannot pay after oil fell by 300."""


def test_a_member_that_answers_in_time_stays_a_member() -> None:
    world = short_side_wins(house_of_three(), "x")
    assert [(a.member, a.amount_minor) for a in world.state.defaults[D1].answers] == [("x", LOSS)]
    world.deposit(house_account(MemberId("x")), 5_000)
    assert world.state.defaults[D1].stage is Stage.RECOVERING
    assert world.state.members[MemberId("x")].status is MemberStatus.ACTIVE
    assert world.state.cash(house_account(MemberId("x"))) == 5_000 - LOSS
    assert not gates(world.state, world.now_ms)


def test_what_the_house_account_holds_is_taken_at_once_without_asking() -> None:
    world = short_side_wins(house_of_three({"x": 5_000}), "x")
    assert world.state.defaults[D1].stage is Stage.RECOVERING


def test_the_accounts_in_default_are_closed_out_and_hold_nothing() -> None:
    world = short_side_wins(house_of_three(), "x")
    assert world.state.accounts[key("x/long")].status is AccountStatus.CLOSED_OUT
    assert (world.state.position(key("x/long"), OIL), world.state.cash(key("x/long"))) == (0, 0)


def test_without_a_provider_the_position_is_torn_up_against_the_other_side_at_the_settlement_price() -> None:
    world = short_side_wins(house_of_three(), "x")
    assert world.state.position(key("x/short"), OIL) == 0
    assert world.state.cash(key("x/short")) == 2_000 + 16 * 300


def test_a_backstop_provider_takes_what_it_can_at_one_percent_and_the_rest_is_torn_up() -> None:
    world = house_of_three()
    provider = world.account("z", "backstop")
    world.deposit(provider, 10_000)
    world.ok(RegisterProvider(account=provider, capacity_minor=4 * 700))
    short_side_wins(world, "x")
    assert world.state.position(provider, OIL) == 4
    assert world.state.position(key("x/short"), OIL) == -4
    assert world.state.cash(provider) == 10_000 + 4 * 7
    assert world.state.defaults[D1].answers[0].amount_minor == LOSS + 4 * 7


def test_with_winners_and_nothing_else_the_winners_pay() -> None:
    world = short_side_wins(house_of_three(), "x")
    world.wait(HOUR_MS)
    default = world.state.defaults[D1]
    assert [(d.tier, d.payer, d.amount_minor) for d in default.draws] == [
        (7, "y", 200),
        (7, "z", 200),
        (8, "x/short", LOSS - 400),
    ]
    assert world.state.cash(key("x/short")) == 2_000 + 4_800 - (LOSS - 400)


def test_healthy_clients_of_the_member_in_default_count_as_winners_and_keep_their_margin() -> None:
    world = short_side_wins(house_of_three(), "x")
    world.wait(HOUR_MS)
    assert world.state.cash(key("x/short")) >= 2_000


def test_a_set_in_default_is_no_winner_even_if_one_of_its_legs_gained() -> None:
    world = short_side_wins(house_of_three(), "x", "y")
    gains = {gain.netting_set for gain in world.state.defaults[D1].gains}
    assert gains == {"x/short", "y/short"}


def test_without_winners_a_loss_is_uncovered_and_shuts_the_gate_for_good() -> None:
    """The second event comes from an unpaid assessment: no price moved, so nobody gained."""
    world = house_of_three({"y": 1_000})
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    world.prices(OIL=700)
    assert world.state.defaults[D2].uncovered_minor == 200
    assert world.state.balance(chart.uncovered(D2, USDC)) == 200
    assert [g.reason for g in gates(world.state, world.now_ms)] == ["LOSS_UNCOVERED d2"]
    assert withdrawal(world, "y/short", 1) == "GATE_SHUT"


def test_two_members_in_one_event_pay_their_own_loss_from_their_own_contribution() -> None:
    world = house_of_three({"z": 1_000})
    contribute(world, x=100, y=700, z=100)
    fund(world, skin_in_the_game=50)
    short_side_wins(world, "x", "y")
    world.wait(HOUR_MS)
    default = world.state.defaults[D1]
    assert sorted(part.member for part in default.losses) == ["x", "y"]
    own = {d.payer: d.amount_minor for d in default.draws if d.tier == 2}
    assert own == {"x": 100, "y": 700}
    assert sum(d.amount_minor for d in default.draws) == 2 * LOSS
    assert [d.payer for d in default.draws if d.tier in (5, 7)] == ["z", "z"]


def test_when_all_members_but_one_are_in_default_the_last_one_pays_no_more_than_its_cap() -> None:
    world = house_of_three({"z": 1_000})
    contribute(world, z=100)
    short_side_wins(world, "x", "y")
    world.wait(HOUR_MS)
    from_z = {d.tier: d.amount_minor for d in world.state.defaults[D1].draws if d.payer == "z"}
    assert from_z == {5: 100, 7: 200}


def test_when_every_member_is_in_default_the_winners_pay_alone() -> None:
    world = short_side_wins(house_of_three(), "x", "y", "z")
    world.wait(HOUR_MS)
    default = world.state.defaults[D1]
    assert {d.tier for d in default.draws} == {8}
    assert default.stage is Stage.RECOVERING
    assert all(m.status is MemberStatus.DEFAULTED for m in world.state.members.values())


def test_the_house_account_of_a_member_in_default_is_closed_out_and_pays_first() -> None:
    world = house_of_three({"x": 2_700})
    assert world.trade(house_account(MemberId("x")), key("x/short"), 4, 1_000, OIL).accepted
    assert world.trade(key("x/long"), key("x/short"), 4, 1_000, OIL).accepted
    assert world.trade(key("x/long"), key("x/short"), 8, 1_000, OIL).accepted
    world.prices(OIL=700)
    world.wait(HOUR_MS)
    own = house_account(MemberId("x"))
    assert [(p.member, p.amount_minor) for p in world.state.defaults[D1].losses] == [("x", 100)]
    assert world.state.accounts[own].status is AccountStatus.CLOSED_OUT
    assert (world.state.position(own, OIL), world.state.cash(own)) == (0, 0)


# the gate -----------------------------------------------------------------------------------------


def withdrawal(world: World, name: str, amount: int) -> str:
    command = RequestWithdrawal(
        withdrawal=f"w{world.requests}", account=key(name), asset=USDC, amount_minor=amount
    )
    outcome = world.do(command)
    return outcome.results[0].reason


def test_a_winner_cannot_leave_with_its_gain_while_the_loss_is_open() -> None:
    world = house_of_three()
    fund(world, capital=10_000)
    short_side_wins(world, "x")
    assert withdrawal(world, "x/short", 1) == "GATE_SHUT"
    world.deposit(house_account(MemberId("x")), 5_000)
    assert withdrawal(world, "x/short", 1) == ""


def test_the_gate_stays_shut_until_assessments_are_paid() -> None:
    world = house_of_three()
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    world.prices(OIL=700)
    reasons = [g.reason for g in gates(world.state, world.now_ms)]
    assert reasons == ["ASSESSMENT_UNPAID d1 y", "ASSESSMENT_UNPAID d1 z"]
    for member in ("y", "z"):
        world.deposit(house_account(MemberId(member)), 300)
    assert not gates(world.state, world.now_ms)
    assert world.state.defaults[D1].stage is Stage.RECOVERING


# assessments --------------------------------------------------------------------------------------


def test_an_unpaid_assessment_is_the_next_event_with_what_the_caps_have_left() -> None:
    world = house_of_three({"y": 1_000})
    contribute(world, z=60)
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    second = world.state.defaults[D2]
    assert [(p.member, p.amount_minor) for p in second.losses] == [("z", 200)]
    assert world.state.members[MemberId("z")].status is MemberStatus.DEFAULTED
    assert {(d.tier, d.payer): d.amount_minor for d in second.draws} == {}
    assert second.uncovered_minor == 200, (
        "y was called to its cap already, and z's pool went to the first event"
    )
    assert world.state.balance(chart.assessment(MemberId("z"), USDC)) == 0


def test_who_did_not_pay_its_assessment_has_no_claim_for_it() -> None:
    world = house_of_three({"y": 1_000})
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    claims = {(c.tier, c.payer): c.amount_minor for c in world.state.defaults[D1].claims}
    assert claims[7, "y"] == 200
    assert claims.get((7, "z"), 0) == 0


def test_a_part_payment_leaves_the_rest_called() -> None:
    world = house_of_three({"y": 300, "z": 150})
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    assert world.state.assessments["d1/z"].amount_minor == 50


def test_one_cap_holds_over_all_events_of_the_capped_period() -> None:
    world = house_of_three({"y": 1_000, "z": 1_000})
    short_side_wins(world, "x", lots=16)
    world.wait(HOUR_MS)
    period = world.state.capped_period
    assert period is not None
    assert {p.member: p.amount_minor for p in period.called} == {"y": 200, "z": 200}
    assert period.ends_ms > world.now_ms


def test_the_capped_period_starts_at_t0_of_the_first_default_and_is_extended_by_one_that_was_answered() -> (
    None
):
    """Nobody was called for an assessment: the members paid in their hour. 12 March is a Thursday."""
    world = short_side_wins(house_of_three({"x": 5_000, "y": 5_000}), "x")
    first = world.state.defaults[D1].declared_ms
    assert world.state.capped_period == CappedPeriod(begins_ms=first, ends_ms=first + 28 * DAY_MS)
    world.now_ms += DAY_MS
    world.prices(OIL=1_000)
    short_side_wins(world, "y")
    second = world.state.defaults[D2].declared_ms
    assert not world.state.defaults[D2].draws
    assert world.state.capped_period == CappedPeriod(begins_ms=first, ends_ms=second + 28 * DAY_MS)


def test_a_capped_period_is_extended_no_further_than_its_longest() -> None:
    short = replace(PARAMETERS, capped_period_max_ms=28 * DAY_MS + 1)
    world = short_side_wins(house_of_three({"x": 5_000, "y": 5_000}, short), "x")
    world.now_ms += DAY_MS
    world.prices(OIL=1_000)
    short_side_wins(world, "y")
    period = world.state.capped_period
    assert period is not None
    assert period.ends_ms == world.state.defaults[D1].declared_ms + 28 * DAY_MS + 1


# recoveries ---------------------------------------------------------------------------------------


def test_a_recovery_fills_what_was_uncovered_before_it_repays_anyone() -> None:
    world = house_of_three({"y": 1_000})
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    assert world.state.defaults[D2].uncovered_minor == 200
    world.ok(RecordRecovery(default=D2, amount_minor=150))
    assert world.state.defaults[D2].uncovered_minor == 50
    assert world.state.balance(chart.uncovered(D2, USDC)) == 50
    world.ok(RecordRecovery(default=D2, amount_minor=50))
    assert world.state.defaults[D2].stage is Stage.CLOSED


def test_recoveries_before_the_waterfall_are_refused() -> None:
    world = short_side_wins(house_of_three(), "x")
    assert world.reason(RecordRecovery(default=D1, amount_minor=1)) == "DEFAULT_NOT_RECOVERING"
    assert world.reason(RecordRecovery(default=DefaultId("d9"), amount_minor=1)) == "DEFAULT_UNKNOWN"


def test_paying_what_is_not_owed_is_refused() -> None:
    world = house_of_three()
    assert world.reason(PayDue(member=MemberId("x"))) == "NOTHING_DUE"
    assert world.reason(PayDue(member=MemberId("nobody"))) == "MEMBER_UNKNOWN"


# preview ------------------------------------------------------------------------------------------


def test_the_preview_is_what_then_happens() -> None:
    world = house_of_three()
    contribute(world, x=100, y=100, z=100)
    fund(world, skin_in_the_game=50, insurance_fund=20, second_tranche=10)
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    before = rows_of(world.state)
    seen = preview(world.state, MemberId("x"), -3_000)
    assert rows_of(world.state) == before
    world.prices(OIL=700)
    world.wait(HOUR_MS)
    default = world.state.defaults[D1]
    assert (seen.loss_minor, seen.draws, seen.tiers) == (LOSS, default.draws, default.tiers)


@pytest.mark.parametrize("move_bp", [-3_000, 3_000])
def test_a_member_whose_clients_are_covered_loses_nothing_in_the_preview(move_bp: int) -> None:
    world = house_of_three()
    assert world.trade(key("x/long"), key("x/short"), 1, 1_000, OIL).accepted
    assert preview(world.state, MemberId("x"), move_bp).loss_minor == 0


def test_the_preview_without_a_move_takes_the_worse_of_the_models_extremes() -> None:
    world = house_of_three()
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    seen = preview(world.state, MemberId("x"), None)
    assert dict(seen.move_bp)[FeedId("OIL")] in (-2_000, 2_000)
    assert seen.loss_minor == 16 * 200 - 2_000


def test_the_preview_of_a_declared_set_has_a_loss_although_no_leg_of_it_loses() -> None:
    world = house_of_three(parameters=replace(PARAMETERS, close_out_auction_ms=600_000))
    short_side_wins(with_provider(world, capacity_minor=1), "x")
    assert world.state.defaults[D1].stage is Stage.DECLARED
    assert preview(world.state, MemberId("x"), 0).loss_minor == LOSS
