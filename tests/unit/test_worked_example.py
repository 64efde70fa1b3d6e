"""The worked example of rulebook §11, entry by entry.

A netting set has cash −500 at X and +200 at Y, so the deficit is 300. Since it last met R its legs
lost 400 at X and 200 at Y, so X answers for 200 and Y for 100. Y pays 100; X pays 120 and is in
default for 80. The tiers pay 20, 10, 5, 4 + 4, 1, 8 + 8 and 15 + 5. A recovery of 100 repays 20, 16,
1, 8, 5, 10, 20, and the last 20 go to X : Y = 120 : 100, that is 11 and 9.
"""

import pytest

from clearing import chart
from clearing.model.commands import (
    AdmitMember,
    FoundHouse,
    ListInstrument,
    RecordRecovery,
    RegisterSource,
)
from clearing.model.ids import (
    AccountKey,
    DefaultId,
    FeedId,
    InstrumentId,
    MemberId,
    account_key,
    house_account,
)
from clearing.model.kinds import Kind
from clearing.model.values import HOUR_MS, Instrument, InstrumentKind, Parameters, ScanRange, Stage
from ledger.account import Account
from tests.builders import (
    SETTLEMENT,
    SOURCES,
    USDC,
    World,
    contribute,
    fund,
    link,
    public_hex,
    size_pool,
    source_key,
)

X, Y, Z = MemberId("x"), MemberId("y"), MemberId("z")
EVENT = DefaultId("d1")
BARREL = InstrumentId("A-PERP")
PARAMETERS = Parameters(
    margin_model="scan",
    scan_ranges=(ScanRange(underlying=FeedId("A"), move_bp=1),),
    trade_fee_bp=0,
    pool_rate_bp=0,
    pool_floor_minor=4,
    auction_ms=0,
    close_out_auction_ms=0,
)


def founded() -> World:
    world = World()
    world.ok(FoundHouse(house="example", settlement=SETTLEMENT, parameters=PARAMETERS))
    feed = FeedId("A")
    world.ok(
        ListInstrument(
            instrument=Instrument(
                id=BARREL,
                kind=InstrumentKind.PERPETUAL,
                underlying=feed,
                feed=feed,
                tick_value_minor=25,
                price_decimals=0,
                lot_decimals=0,
            )
        )
    )
    for source in SOURCES:
        world.ok(RegisterSource(source=source, public_key=public_hex(source_key(source))))
    for member in (X, Y, Z):
        world.ok(AdmitMember(member=member, name=member.upper()))
    fund(world, capital=1_000, skin_in_the_game=10, second_tranche=1, insurance_fund=5)
    return world


def a_set_that_lost_at_two_members() -> World:
    """``p`` is long 8 lots at X and 4 at Y; ``w1`` and ``w2`` win three to one; ``e`` has no gain or loss."""
    world = founded()
    cash = {"x/p": 100, "y/p": 500, "x/w1": 1_000, "y/w2": 1_000, "x/e": 500, "y/e": 500}
    cash |= {"x/house": 120, "y/house": 108, "z/house": 8}
    for name, amount in cash.items():
        member, account = name.split("/")
        if account != "house":
            world.account(member, account)
        world.deposit(account_key(MemberId(member), account), amount)
    link(world, "p", key("x/p"), key("y/p"))
    link(world, "e", key("x/e"), key("y/e"))
    size_pool(world)
    contribute(world, x=20, y=4, z=4)
    world.prices(A=1_000)
    for buyer, seller, lots in (
        ("x/p", "x/w1", 8),
        ("x/e", "x/w1", 1),
        ("y/p", "y/w2", 3),
        ("y/p", "y/e", 1),
    ):
        assert world.trade(key(buyer), key(seller), lots, 1_000, BARREL).accepted
    world.prices(A=999)
    return world


def key(name: str) -> AccountKey:
    return AccountKey(name)


@pytest.fixture
def world() -> World:
    """The set fell to −500 at X and +200 at Y, and is closed out."""
    world = a_set_that_lost_at_two_members()
    assert (world.state.cash(key("x/p")), world.state.cash(key("y/p"))) == (-100, 400)
    assert not world.state.calls, "the set met R at this cycle"
    world.prices(A=997)
    return world


@pytest.fixture
def resolved(world: World) -> World:
    """Y paid its 100, X its 120; an hour later X is in default."""
    world.wait(HOUR_MS)
    return world


def last(world: World, kind: Kind) -> list[tuple[Account, int]]:
    """The legs of the newest entry of a kind, debits positive."""
    entry = next(e for e in reversed(world.entries) if e.kind == kind)
    return [(leg.account, leg.amount) for leg in entry.legs]


def test_the_deficit_of_300_is_split_by_what_the_legs_lost(world: World) -> None:
    assert world.state.defaults[EVENT].stage is Stage.ANSWERING
    assert last(world, Kind.LOSS_FIXED) == [
        (chart.cash(key("y/p"), USDC), 200),
        (chart.cash(key("x/p"), USDC), -500),
        (chart.loss(EVENT, X, USDC), 200),
        (chart.loss(EVENT, Y, USDC), 100),
    ]


def test_the_winners_are_the_two_sets_that_gained_since_t0(world: World) -> None:
    gains = {gain.netting_set: gain.gain_minor for gain in world.state.defaults[EVENT].gains}
    assert gains == {"x/w1": 450, "y/w2": 150}


def test_y_pays_its_part_and_gets_a_claim(world: World) -> None:
    assert last(world, Kind.ANSWER_PAID) == [
        (chart.cash(house_account(Y), USDC), 100),
        (chart.loss(EVENT, Y, USDC), -100),
        (chart.claims(EVENT, USDC), 100),
        (chart.member_claim(Y, USDC), -100),
    ]


def test_x_pays_what_it_has_and_still_owes_80(world: World) -> None:
    default = world.state.defaults[EVENT]
    assert [(c.payer, c.amount_minor) for c in default.claims] == [(X, 120), (Y, 100)]
    assert [(a.member, a.amount_minor) for a in default.answers] == [(X, 80)]
    assert world.state.members[X].status.value == "active", "it has its hour"


def test_the_waterfall_of_80_is_one_entry(resolved: World) -> None:
    drawn = [
        (chart.pool(X, USDC), 20),
        (chart.skin_in_the_game(USDC), 10),
        (chart.insurance_fund(USDC), 5),
        (chart.pool(Y, USDC), 4),
        (chart.pool(Z, USDC), 4),
        (chart.second_tranche(USDC), 1),
        (chart.assessment(Y, USDC), 8),
        (chart.assessment(Z, USDC), 8),
        (chart.cash(key("x/w1"), USDC), 15),
        (chart.cash(key("y/w2"), USDC), 5),
    ]
    claims = [
        (chart.member_claim(X, USDC), 20),
        (chart.house_claim(3, USDC), 10),
        (chart.house_claim(4, USDC), 5),
        (chart.member_claim(Y, USDC), 4),
        (chart.member_claim(Z, USDC), 4),
        (chart.house_claim(6, USDC), 1),
        (chart.member_claim(Y, USDC), 8),
        (chart.member_claim(Z, USDC), 8),
        (chart.account_claim(key("x/w1"), USDC), 15),
        (chart.account_claim(key("y/w2"), USDC), 5),
    ]
    made = [
        leg for account, amount in claims for leg in ((chart.claims(EVENT, USDC), amount), (account, -amount))
    ]
    assert last(resolved, Kind.WATERFALL) == [*drawn, (chart.loss(EVENT, X, USDC), -80), *made]


def test_the_draws_sum_to_the_loss_and_every_hole_is_filled(resolved: World) -> None:
    default = resolved.state.defaults[EVENT]
    assert default.stage is Stage.RECOVERING, "what is free in a house account pays assessments at once"
    assert sum(draw.amount_minor for draw in default.draws) == 80
    assert default.uncovered_minor == 0
    for member in (X, Y):
        assert resolved.state.balance(chart.loss(EVENT, member, USDC)) == 0
    assert resolved.state.members[X].status.value == "defaulted"


def test_each_tier_says_what_it_had_and_passed_on(resolved: World) -> None:
    tiers = [
        (t.tier, t.available_minor, t.paid_minor, t.passed_on_minor)
        for t in resolved.state.defaults[EVENT].tiers
    ]
    assert tiers == [
        (1, 0, 0, 80),
        (2, 20, 20, 60),
        (3, 10, 10, 50),
        (4, 5, 5, 45),
        (5, 8, 8, 37),
        (6, 1, 1, 36),
        (7, 16, 16, 20),
        (8, 600, 20, 0),
    ]


def test_a_recovery_of_100_repays_in_reverse_order(resolved: World) -> None:
    assert resolved.state.defaults[EVENT].stage is Stage.RECOVERING
    resolved.ok(RecordRecovery(default=EVENT, amount_minor=100))
    credited = [
        (a, -n)
        for a, n in last(resolved, Kind.RECOVERY_DISTRIBUTED)
        if n < 0 and a != chart.claims(EVENT, USDC)
    ]
    assert credited == [
        (chart.cash(key("x/w1"), USDC), 15),
        (chart.cash(key("y/w2"), USDC), 5),
        (chart.cash(house_account(Y), USDC), 8),
        (chart.cash(house_account(Z), USDC), 8),
        (chart.second_tranche(USDC), 1),
        (chart.pool(Y, USDC), 4),
        (chart.pool(Z, USDC), 4),
        (chart.insurance_fund(USDC), 5),
        (chart.skin_in_the_game(USDC), 10),
        (chart.pool(X, USDC), 20),
        (chart.cash(house_account(X), USDC), 11),
        (chart.cash(house_account(Y), USDC), 9),
    ]


def test_claims_shrink_with_what_was_recovered(resolved: World) -> None:
    resolved.ok(RecordRecovery(default=EVENT, amount_minor=100))
    left = {(c.tier, c.payer): c.amount_minor for c in resolved.state.defaults[EVENT].claims}
    assert left == {(0, "x"): 120 - 11, (0, "y"): 100 - 9}
    assert resolved.state.balance(chart.claims(EVENT, USDC)) == 200


def test_the_rest_of_a_large_recovery_belongs_to_the_estate(resolved: World) -> None:
    resolved.ok(RecordRecovery(default=EVENT, amount_minor=1_000))
    assert resolved.state.defaults[EVENT].stage is Stage.CLOSED
    assert resolved.state.cash(house_account(X)) == 120
    assert resolved.state.cash(key("x/p")) == 1_000 - 300
    assert resolved.state.balance(chart.claims(EVENT, USDC)) == 0
