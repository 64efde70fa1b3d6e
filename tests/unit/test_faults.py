"""Bad input and faults: each has a clear reason, the books balance, nothing is lost, and every event adds up.

After each request of a story what custody holds is what the house owes, asset by asset, less what is missing and who
has to bring it; nothing arrived but what was paid in. Of every event draws + uncovered = loss (rulebook §3, §11).
"""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.default.gate import gates
from clearing.model.commands import (
    PRICE_TICKS_MAX,
    AdmitMember,
    ApplyPrices,
    Command,
    ContributeToPool,
    Deposit,
    FundHouse,
    LeaveHouse,
    PriceObservation,
    RecordRecovery,
    RegisterSource,
    RequestWithdrawal,
    SetBreaker,
)
from clearing.model.house import House, rows_of
from clearing.model.ids import AssetId, DefaultId, FeedId, MemberId, SourceId, house_account
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    AccountStatus,
    BreakerState,
    Default,
    MemberStatus,
    Stage,
)
from tests.builders import (
    ANNA,
    SOURCES,
    USDC,
    World,
    contribute,
    fund,
    kinds_of,
    public_hex,
    publication,
    size_pool,
    source_key,
    trade,
)
from tests.unit.test_auctions import declared, oil_house
from tests.unit.test_defaults import LOSS, OIL, PARAMETERS, house_of_three, key, short_side_wins
from tests.unit.test_members import fails, four_members

D1, D2, D3 = DefaultId("d1"), DefaultId("d2"), DefaultId("d3")
X, Y, Z = MemberId("x"), MemberId("y"), MemberId("z")
FEED = FeedId("OIL")
WEEK_MS = 7 * DAY_MS


# ------------------------------------------------------------------------------------------------- what must hold


def owed(house: House, asset: AssetId) -> int:
    """What the house owes in an asset, less what it is still to be paid and what is missing."""
    if asset != house.settlement:
        held = sum(house.balance(chart.collateral(account, asset)) for account in house.accounts)
        return held + _held(house, asset) - house.balance(chart.non_default_losses(asset))
    own = (
        chart.house_capital,
        chart.skin_in_the_game,
        chart.second_tranche,
        chart.insurance_fund,
        chart.fees,
    )
    total = sum(house.cash(account) for account in house.accounts) + _held(house, asset)
    total += sum(house.balance(account(asset)) for account in own)
    total -= house.balance(chart.non_default_losses(asset))
    for member in house.members:
        total += house.pool(member) - house.balance(chart.assessment(member, asset))
    for default in house.defaults:
        total += house.balance(chart.recoveries(default, asset))
        total -= house.balance(chart.uncovered(default, asset))
        total -= sum(house.balance(chart.loss(default, member, asset)) for member in house.members)
    return total


def _held(house: House, asset: AssetId) -> int:
    return sum(house.balance(chart.withdrawal(name, asset)) for name in house.withdrawals)


def adds_up(default: Default) -> bool:
    """Whether draws + uncovered = loss, once the waterfall has run."""
    paid = sum(draw.amount_minor for draw in default.draws)
    return not default.tiers or paid + default.uncovered_minor == sum(
        part.amount_minor for part in default.losses
    )


def require_sound(world: World) -> None:
    """Look at the state after every request of the story."""
    paid_in = 0
    for one in world.asked:
        command = one.request.command
        if isinstance(command, FundHouse | ContributeToPool | RecordRecovery | Deposit):
            paid_in += command.amount_minor if one.outcome.accepted else 0
        assert one.state.balance(chart.custody(USDC)) == paid_in
        assert owed(one.state, USDC) == paid_in
        assert all(adds_up(default) for default in one.state.defaults.values())


def through(world: World, *waits_ms: int) -> World:
    """Let time pass, and look."""
    for milliseconds in waits_ms:
        world.wait(milliseconds)
    require_sound(world)
    return world


def losses(world: World, default: DefaultId) -> dict[str, int]:
    return {part.member: part.amount_minor for part in world.state.defaults[default].losses}


def drawn(world: World, default: DefaultId) -> list[tuple[int, str, int]]:
    return [(d.tier, d.payer, d.amount_minor) for d in world.state.defaults[default].draws]


# ------------------------------------------------------------------------------------------------------- bad input


def said(price: int, *, source: str = "alpha", sequence: int = 9, age_ms: int = 0) -> ApplyPrices:
    """A publication a second after the first snapshot."""
    at_ms = house_of_three().now_ms + 1_000 - age_ms
    return publication("oilhouse", SourceId(source), at_ms, sequence, {FEED: price})


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (said(700, source="nobody"), Reason.SOURCE_UNKNOWN),
        (replace(said(700, source="beta"), source=SOURCES[0]), Reason.SIGNATURE_INVALID),
        (
            replace(said(700), prices=(PriceObservation(feed=FEED, price_ticks=1),)),
            Reason.SIGNATURE_INVALID,
        ),
        (said(700, sequence=1), Reason.SEQUENCE_REPLAYED),
        (said(700, age_ms=MINUTE_MS + 1), Reason.PRICE_STALE),
        (said(700, age_ms=-1), Reason.PRICE_STALE),
    ],
    ids=str,
)
def test_a_publication_that_cannot_be_believed_changes_nothing(command: Command, reason: Reason) -> None:
    world = house_of_three()
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    world.now_ms += 1_000
    assert world.reason(command) == reason.name
    require_sound(world)


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (0, Reason.PRICE_NOT_POSITIVE),
        (-700, Reason.PRICE_NOT_POSITIVE),
        (PRICE_TICKS_MAX + 1, Reason.PRICE_TOO_LARGE),
    ],
)
def test_a_price_that_no_market_has_changes_nothing_but_the_record_of_its_source(
    price: int, reason: Reason
) -> None:
    world = house_of_three()
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    world.now_ms += 1_000
    before = rows_of(world.state)
    assert world.do(said(price)).results[0].reason == reason.name
    after = rows_of(world.state)
    assert {table for table in after if after[table] != before[table]} == {"sources", "data_refusals"}
    require_sound(world)


def test_one_source_that_is_far_off_makes_no_mark_and_ruins_nobody() -> None:
    world = house_of_three()
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    delta = SourceId("delta")
    world.ok(RegisterSource(source=delta, public_key=public_hex(source_key(delta))))
    world.now_ms += 1_000
    for source, price in zip(SOURCES, (1, 1_000, 1_001), strict=True):
        world.ok(publication("oilhouse", source, world.now_ms, 9, {FEED: price}))
    assert world.state.newest_cycle.number == 1, "two that agree are no quorum"
    world.ok(publication("oilhouse", delta, world.now_ms, 9, {FEED: 999}))
    (mark,) = world.state.newest_cycle.marks
    assert (mark.price_ticks, mark.dropped) == (1_000, (SOURCES[0],))
    assert not world.state.defaults
    require_sound(world)


@pytest.mark.parametrize("price", [1, PRICE_TICKS_MAX])
def test_a_price_that_all_sources_agree_on_counts_however_far_off_and_the_event_adds_up(price: int) -> None:
    """One side owes more than anybody has; what no tier pays the winner does not get."""
    world = house_of_three()
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    world.prices(OIL=price)
    through(world, HOUR_MS, DAY_MS, WEEK_MS)
    assert losses(world, D1) == {"x": 16 * abs(price - 1_000) - 2_000}
    assert all(world.state.cash(account) >= 0 for account in world.state.accounts)


def test_a_trade_while_everything_is_halted_is_refused_and_so_is_one_of_a_set_in_default() -> None:
    world = declared(oil_house())
    sold = trade(key("x/long"), key("x/short"), 1, 700, OIL)
    assert world.do(sold).results[0].reason == Reason.REDUCE_ONLY.name
    world.ok(SetBreaker(scope="*", state=BreakerState.HALTED, reason="a reason"), ANNA)
    assert world.do(sold).results[0].reason == Reason.HALTED.name
    require_sound(world)


def test_nothing_is_withdrawn_while_a_default_is_open_not_even_by_who_has_nothing_to_do_with_it() -> None:
    world = house_of_three()
    asked = RequestWithdrawal(withdrawal="w", account=key("z/long"), asset=USDC, amount_minor=1)
    short_side_wins(world, "x")
    assert world.reason(asked) == Reason.GATE_SHUT.name
    for member in "yz":
        world.deposit(house_account(MemberId(member)), 1_000)
    through(world, HOUR_MS)
    world.prices(OIL=700)
    world.ok(asked)


# ---------------------------------------------------------------------------------------------- double declarations


def test_a_set_that_is_still_bankrupt_in_the_next_cycles_is_declared_once() -> None:
    """Its auction takes ten minutes; it is paid up meanwhile, and stays in default."""
    world = declared(oil_house())
    for price in (690, 650, 640):
        assert Kind.DEFAULT_DECLARED.name not in kinds_of(world.prices(OIL=price))
    world.deposit(key("x/long"), 10_000)
    world.prices(OIL=640)
    assert [[one.netting_set for one in d.sets] for d in world.state.defaults.values()] == [["x/long"]]
    through(world, 10 * MINUTE_MS, HOUR_MS)
    assert world.state.defaults[D1].stage is Stage.CLOSED
    assert world.state.cash(key("x/long")) == 2_000 + 10_000 - 16 * 360
    assert world.state.accounts[key("x/long")].status is AccountStatus.CLOSED_OUT


def test_a_set_that_fails_while_another_waits_is_an_event_of_its_own() -> None:
    """y/long had more to lose: it fails in a later cycle, in the window of the first auction."""
    world = oil_house()
    world.deposit(key("y/long"), 3_000)
    assert world.trade(key("y/long"), key("y/short"), 16, 1_000, OIL).accepted
    declared(world)
    world.prices(OIL=680)
    sets = {name: [one.netting_set for one in d.sets] for name, d in world.state.defaults.items()}
    assert sets == {"d1": ["x/long"], "d2": ["y/long"]}
    through(world, 10 * MINUTE_MS, HOUR_MS, DAY_MS, WEEK_MS)
    assert losses(world, D1) == {"x": 16 * 320 - 2_000}
    assert losses(world, D2)["y"] == 16 * 320 - 5_000


@pytest.mark.parametrize("second", ["x", "y"])
def test_two_sets_of_one_participant_are_two_sets_of_one_event(second: str) -> None:
    """They are not linked: each has its own deficit, for which its own member answers."""
    world = house_of_three()
    other = world.account(second, "again", "x-long")
    world.deposit(other, 1_700)
    world.deposit(key(f"{second}/short"), 1_000)
    assert world.trade(other, key(f"{second}/short"), 8, 1_000, OIL).accepted
    short_side_wins(world, "x")
    (event,) = world.state.defaults.values()
    assert {one.netting_set: one.equity_minor for one in event.sets} == {"x/long": -LOSS, other: -700}
    answers = {part.member: part.amount_minor for part in event.answers}
    assert answers == ({"x": LOSS + 700} if second == "x" else {"x": LOSS, "y": 700})
    through(world, HOUR_MS, DAY_MS, WEEK_MS)
    assert losses(world, D1) == answers


# -------------------------------------------------------------------------------------------------- who is in default


@pytest.mark.parametrize("failing", ["x", "xy", "xyz"])
@pytest.mark.parametrize("contribution", [0, 100])
@pytest.mark.parametrize("house_cash", [0, 1_000])
def test_an_event_adds_up_however_many_members_fail_and_however_empty_the_pool_is(
    failing: str, contribution: int, house_cash: int
) -> None:
    """Up to all but one, and up to all; then the assessments and contributions that nobody pays fall due."""
    cash = {member: house_cash for member in "yz" if house_cash and member not in failing}
    world = house_of_three(cash)
    if contribution:
        contribute(world, x=contribution, y=contribution, z=contribution)
    short_side_wins(world, *failing)
    through(world, HOUR_MS)
    assert losses(world, D1) == dict.fromkeys(failing, LOSS)
    own = {payer: amount for tier, payer, amount in drawn(world, D1) if tier == 2}
    assert own == (dict.fromkeys(failing, contribution) if contribution else {})
    others = {payer for tier, payer, _ in drawn(world, D1) if tier in (5, 7)}
    assert others == set("xyz") - set(failing)
    assert sum(amount for tier, _, amount in drawn(world, D1) if tier == 5) == contribution * len(others)
    through(world, DAY_MS, WEEK_MS)
    failed = {name for name, m in world.state.members.items() if m.status is MemberStatus.DEFAULTED}
    assert failed == (set(failing) if house_cash else set("xyz"))


def test_the_default_of_the_largest_member_is_paid_by_the_small_ones_no_further_than_their_caps() -> None:
    """x has nine tenths of all risk and contributes so; its own contribution goes first."""
    world = house_of_three({"y": 1_000, "z": 1_000}, replace(PARAMETERS, pool_rate_bp=500))
    whale, rich = world.account("x", "whale"), world.account("x", "rich")
    world.deposit(whale, 40_000)
    world.deposit(rich, 1_000_000)
    assert world.trade(whale, key("x/short"), 16, 1_000, OIL).accepted
    assert world.trade(whale, rich, 304, 1_000, OIL).accepted
    size_pool(world)
    required = {str(name): m.required_contribution_minor for name, m in world.state.members.items()}
    assert required["x"] > 9 * (required["y"] + required["z"])
    contribute(world, **required)
    world.prices(OIL=700)
    through(world, HOUR_MS)
    loss = 320 * 300 - 40_000
    assert losses(world, D1) == {"x": loss}
    paid: dict[str, int] = {}
    for tier, payer, amount in drawn(world, D1):
        paid[payer] = paid.get(payer, 0) + amount
        assert tier != 2 or (payer, amount) == ("x", required["x"])
    for member in "yz":
        assert paid[member] == required[member] * 3, "its contribution, and assessments of twice as much"
    assert world.state.defaults[D1].uncovered_minor == 0


def test_without_winners_the_rest_has_a_holder_and_nothing_flows_out() -> None:
    world = short_side_wins(house_of_three({"y": 1_000}), "x")
    through(world, HOUR_MS, DAY_MS)
    assert losses(world, D2) == {"z": 200}
    assert (drawn(world, D2), world.state.defaults[D2].uncovered_minor) == ([], 200)
    assert "LOSS_UNCOVERED d2" in [gate.reason for gate in gates(world.state, world.now_ms)]


def test_a_member_that_fails_while_its_assessment_is_unpaid_answers_for_both() -> None:
    """y is called for 200 after x failed. In the same day its own client is ruined; then the 200 are due."""
    world = house_of_three({"z": 1_000})
    fund(world, skin_in_the_game=50)
    short_side_wins(world, "x")
    through(world, HOUR_MS)
    assert {name: due.amount_minor for name, due in world.state.assessments.items()} == {"d1/y": 200}
    world.prices(OIL=700)
    assert world.trade(key("y/long"), key("y/short"), 20, 700, OIL).accepted
    world.prices(OIL=550)
    through(world, HOUR_MS)
    assert losses(world, D2) == {"y": 1_000}
    assert world.state.members[Y].status is MemberStatus.DEFAULTED
    assert "d1/y" in world.state.assessments
    through(world, DAY_MS, WEEK_MS)
    assert not world.state.assessments
    assert world.state.balance(chart.assessment(Y, USDC)) == 0
    assert losses(world, D3) == {"y": 200}


def test_a_member_that_leaves_in_the_capped_period_bears_the_next_event_and_nothing_is_lost() -> None:
    """x failed for 80; y leaves; w fails for 192. What is left of y's contribution comes back when the period ends."""
    world = four_members()
    fails(world, X, 1_000, 80)
    through(world, HOUR_MS)
    world.ok(LeaveHouse(member=Y))
    world.prices(OIL=870)
    fails(world, MemberId("w"), 870, 192)
    through(world, HOUR_MS, DAY_MS, WEEK_MS)
    assert drawn(world, D2) == [(2, "w", 100), (5, "y", 46), (5, "z", 46)]
    through(world, 92 * DAY_MS)
    assert (world.state.pool(Y), world.state.cash(house_account(Y))) == (0, 54)


def test_a_new_member_bears_nothing_of_an_event_that_was_declared_before_it_came() -> None:
    world = short_side_wins(house_of_three(), "x")
    world.ok(AdmitMember(member=MemberId("late"), name="Late"))
    contribute(world, late=10_000)
    through(world, HOUR_MS)
    assert "late" not in {payer for _, payer, _ in drawn(world, D1)}
    assert world.state.pool(MemberId("late")) == 10_000
