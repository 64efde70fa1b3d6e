"""What an event drew is put back: contributions by the survivors, skin in the game by the house (rulebook §11)."""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.default.gate import gates
from clearing.model.commands import ContributeToPool, PayDue, RecordRecovery, SetBreaker
from clearing.model.ids import DefaultId, MemberId, house_account
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS, HOUR_MS, BreakerState, MemberStatus, Stage
from tests.builders import USDC, World, contribute, fund
from tests.unit.test_defaults import OIL, PARAMETERS, house_of_three, key, short_side_wins

D1, D2 = DefaultId("d1"), DefaultId("d2")
Y, Z = MemberId("y"), MemberId("z")
WEEK_MS = 7 * DAY_MS
"""Five business days from a Thursday."""


def drawn(house_y: int = 1_000, house_z: int = 1_000, **contributions: int) -> World:
    """Member x fails for 2,800 less what it put into the pool; each must contribute 100. Assessments are paid."""
    world = house_of_three({"y": house_y, "z": house_z})
    contribute(world, **(contributions or {"y": 100, "z": 100}))
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    assert world.state.members[MemberId("x")].status is MemberStatus.DEFAULTED
    return world


def owed(world: World) -> dict[str, int]:
    return {name: row.amount_minor for name, row in sorted(world.state.replenishments.items())}


def skin(world: World) -> int:
    return world.state.balance(chart.skin_in_the_game(USDC))


# ---------------------------------------------------------------------------------------------- contributions


def test_whose_contribution_was_drawn_on_owes_it_back_in_five_business_days() -> None:
    world = drawn(y=100, z=70)
    assert owed(world) == {"d1/y": 100, "d1/z": 70}
    assert {row.due_ms - world.now_ms for row in world.state.replenishments.values()} == {WEEK_MS}


def test_what_is_owed_back_has_a_cap_of_its_own() -> None:
    world = drawn(y=100, z=101)
    period = world.state.capped_period
    assert period is not None
    assert owed(world) == {"d1/y": 100, "d1/z": 100}
    assert {p.member: p.amount_minor for p in period.replenished} == {"y": 100, "z": 100}
    assert {p.member: p.amount_minor for p in period.called} == {"y": 200, "z": 200}


def test_one_cap_holds_over_all_events_of_the_capped_period() -> None:
    """The pool of y is drawn on twice, and it owes no more than it must contribute."""
    world = drawn(y=60, z=1)
    world.ok(ContributeToPool(member=Y, amount_minor=150))
    assert owed(world) == {"d1/z": 1}
    world.prices(OIL=1_000)
    short_side_wins(world, "z")
    world.wait(HOUR_MS)
    assert {d.payer: d.amount_minor for d in world.state.defaults[D2].draws if d.tier == 5} == {"y": 150}
    assert owed(world) == {"d2/y": 40}


def test_the_gate_does_not_wait_for_it() -> None:
    world = drawn()
    world.prices(OIL=700)
    assert owed(world)
    assert not gates(world.state, world.now_ms)


def test_a_contribution_pays_it_the_oldest_first() -> None:
    world = drawn()
    size = world.state.balance(chart.pool(Y, USDC))
    contribute(world, y=99)
    assert owed(world) == {"d1/y": 1, "d1/z": 100}
    contribute(world, y=2)
    assert owed(world) == {"d1/z": 100}
    assert world.state.balance(chart.pool(Y, USDC)) == size + 101


def test_a_member_pays_it_from_what_is_free_in_its_house_account() -> None:
    world = drawn()
    before = world.state.cash(house_account(Y))
    world.ok(PayDue(member=Y))
    assert world.state.cash(house_account(Y)) == before - 100
    assert world.state.pool(Y) == 100
    assert owed(world) == {"d1/z": 100}
    assert world.reason(PayDue(member=Y)) == "NOTHING_DUE"


def test_what_a_recovery_puts_back_need_not_be_paid() -> None:
    """Tier 8 and 7 are repaid first: then 60 of the 200 that the pool paid, half to each."""
    world = drawn()
    claims = world.state.defaults[D1].claims
    first = sum(claim.amount_minor for claim in claims if claim.tier > 5)
    world.ok(RecordRecovery(default=D1, amount_minor=first + 60))
    assert owed(world) == {"d1/y": 70, "d1/z": 70}
    world.ok(RecordRecovery(default=D1, amount_minor=140))
    assert owed(world) == {}


@pytest.mark.parametrize(("house_y", "status"), [(299, MemberStatus.DEFAULTED), (300, MemberStatus.ACTIVE)])
def test_when_it_is_due_what_is_free_is_taken_and_what_is_missing_is_a_default(
    house_y: int, status: MemberStatus
) -> None:
    """Of its 300, 200 pay the assessment at once."""
    world = drawn(house_y=house_y)
    world.wait(WEEK_MS - 1)
    assert owed(world) == {"d1/y": 100, "d1/z": 100}
    world.wait(1)
    assert owed(world) == {}
    assert world.state.members[Y].status is status
    assert world.state.members[Z].status is MemberStatus.ACTIVE


def test_who_does_not_put_it_back_leaves_no_hole_that_others_would_fill() -> None:
    world = drawn(house_y=250)
    pool = world.state.pool(Z)
    world.wait(WEEK_MS)
    event = world.state.defaults[D2]
    assert (event.stage, event.draws, event.uncovered_minor) == (Stage.CLOSED, (), 0)
    assert [(p.member, p.amount_minor) for p in event.losses] == [("y", 0)]
    assert world.state.pool(Y) == 50, "what was free was taken first"
    assert world.state.pool(Z) == pool + 100
    world.prices(OIL=700)
    assert not gates(world.state, world.now_ms)


def test_margin_is_not_taken_for_it() -> None:
    """In its house account y holds 8 lots at 700 on 780 of cash: R is 700."""
    world = drawn(house_y=980)
    own = house_account(Y)
    world.prices(OIL=700)
    assert world.trade(own, key("y/long"), 8, 700, OIL).accepted
    assert (world.state.cash(own), world.measured(own).requirement_minor) == (780, 700)
    world.ok(PayDue(member=Y))
    assert owed(world) == {"d1/y": 20, "d1/z": 100}
    assert world.state.cash(own) == 700


def test_a_member_in_default_owes_nothing_back() -> None:
    """It is short of its assessment first, a day after the waterfall."""
    world = drawn(house_y=1)
    assert "d1/y" in world.state.replenishments
    world.wait(DAY_MS)
    assert world.state.members[Y].status is MemberStatus.DEFAULTED
    assert owed(world) == {"d1/z": 100}


def test_nobody_is_put_in_default_for_it_while_everything_is_halted() -> None:
    world = drawn(house_y=200)
    halt = SetBreaker(scope="*", state=BreakerState.HALTED, reason="incident")
    world.ok(halt, actor="administrator/anna")
    world.wait(WEEK_MS)
    assert world.state.members[Y].status is MemberStatus.ACTIVE
    opening = SetBreaker(scope="*", state=BreakerState.OPEN, reason="over")
    world.ok(opening, actor="administrator/anna")
    world.ok(opening, actor="administrator/bert")
    assert world.state.members[Y].status is MemberStatus.DEFAULTED


# ------------------------------------------------------------------------------------------- skin in the game


def with_skin(capital: int, tranche: int = 50) -> World:
    world = house_of_three({"y": 1_000, "z": 1_000}, replace(PARAMETERS, replenishment_cap_bp=0))
    fund(world, capital=capital, skin_in_the_game=tranche)
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    assert skin(world) == 0
    return world


def restored(world: World) -> list[int]:
    return [
        leg.amount
        for entry in world.entries
        if entry.kind == Kind.SKIN_RESTORED
        for leg in entry.legs
        if leg.account == chart.house_capital(USDC)
    ]


def test_the_house_restores_its_skin_a_month_after_t0() -> None:
    world = with_skin(capital=80)
    t0 = world.state.defaults[D1].declared_ms
    world.wait(t0 + 30 * DAY_MS - world.now_ms - 1)
    assert skin(world) == 0
    world.wait(1)
    assert (skin(world), world.state.balance(chart.house_capital(USDC))) == (50, 30)
    world.wait(30 * DAY_MS)
    assert restored(world) == [50]


def test_the_time_of_the_restoration_is_announced() -> None:
    world = with_skin(capital=80)
    for member in ("y", "z"):
        world.do(PayDue(member=MemberId(member)))
    t0 = world.state.defaults[D1].declared_ms
    assert world.wait(1).next_due_ms == t0 + 30 * DAY_MS
    assert world.wait(30 * DAY_MS).next_due_ms is None


def test_what_the_capital_lacks_is_restored_when_there_is_more() -> None:
    world = with_skin(capital=20)
    outcome = world.wait(30 * DAY_MS)
    assert skin(world) == 20
    assert outcome.next_due_ms is None, "nothing comes by the clock alone"
    fund(world, capital=100)
    assert restored(world) == [20, 30]
    assert world.state.defaults[D1].restored_minor == 50


def test_what_recoveries_repaid_is_not_restored_again() -> None:
    world = with_skin(capital=80)
    claims = world.state.defaults[D1].claims
    first = sum(claim.amount_minor for claim in claims if claim.tier > 3)
    world.ok(RecordRecovery(default=D1, amount_minor=first + 20))
    assert skin(world) == 20
    world.wait(30 * DAY_MS)
    assert (skin(world), restored(world)) == (50, [30])


def test_the_tranche_does_not_grow_while_a_loss_is_allocated() -> None:
    """The second event is declared just before the month is over."""
    world = with_skin(capital=80)
    world.wait(world.state.defaults[D1].declared_ms + 30 * DAY_MS - world.now_ms - 125_000)
    world.prices(OIL=1_000)
    short_side_wins(world, "y")
    world.wait(HOUR_MS // 2)
    assert (world.state.defaults[D2].stage, skin(world)) == (Stage.ANSWERING, 0)
    world.wait(HOUR_MS)
    tier = next(one for one in world.state.defaults[D2].tiers if one.tier == 3)
    assert (tier.available_minor, skin(world)) == (0, 50)
