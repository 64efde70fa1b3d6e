"""Add-ons for size and for tokens of members, and who brings how much of a requirement (rulebook §9)."""

from dataclasses import replace
from math import ceil, sqrt

import pytest

from clearing.margin.addons import add_ons_of
from clearing.margin.assess import required, required_alone
from clearing.margin.attribution import attributed
from clearing.margin.explain import legs, shares
from clearing.margin.snapshot import volatilities_ppm
from clearing.model.commands import (
    AdmitMember,
    ListAsset,
    ListInstrument,
    NewTrade,
    RequestWithdrawal,
    SubmitTrades,
)
from clearing.model.ids import AccountKey, AssetId, FeedId, InstrumentId, MemberId
from clearing.model.values import (
    BP,
    DAY_MS,
    PPM,
    Asset,
    InstrumentKind,
    Liquidity,
    OptionTerms,
    Right,
    ScanRange,
)
from clearing.server.identity import Identity, Role
from clearing.server.wire.margin import explanation
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP,
    ETH_PERP,
    PARAMETERS,
    START_MS,
    USD,
    USDC,
    World,
    empty_house,
    link,
    perpetual,
)

VOLUME = 10_000_000 * USD
THERE = AccountKey("amm/alice")
DEXT_PERP = InstrumentId("DEXT-PERP")
DEXT_CALL, DEXT_PUT = InstrumentId("DEXT-C"), InstrumentId("DEXT-P")
TOKEN = FeedId("DEXT")
THIN = replace(PARAMETERS, liquidity=(Liquidity(underlying=BTC, daily_volume_minor=VOLUME),))
LOT = 80_000 * 100
"""The notional of a lot of the perpetual on BTC at 8,000.0."""
FREE = VOLUME // 10 // LOT
"""Lots that the market takes in a day."""


def world_of(*members: str) -> World:
    """At each member Alice, and Bob on the other side."""
    world = empty_house(THIN)
    for member in (*members, "dex"):
        world.ok(AdmitMember(member=MemberId(member), name=member))
        for name in ("alice", "bob"):
            world.deposit(world.account(member, name), 10**9 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    return world


def goes(world: World, lots: int, member: str = "dex", instrument: InstrumentId = BTC_PERP) -> None:
    """Alice buys from Bob, or sells if negative, at the mark."""
    alice, bob = AccountKey(f"{member}/alice"), AccountKey(f"{member}/bob")
    buyer, seller = (alice, bob) if lots > 0 else (bob, alice)
    ticks = world.state.prices[world.state.instruments[instrument].feed]
    found = world.trade(buyer, seller, abs(lots), ticks, instrument)
    assert [result.reason for result in found.results] == [""]


def charge(world: World, key: AccountKey = ALICE) -> int:
    return add_ons_of(world.state, (key,), world.state.positions(key)).amount_minor


def test_what_is_sold_in_a_day_without_impact_costs_nothing_and_one_lot_more_does() -> None:
    world = world_of()
    goes(world, FREE)
    assert charge(world) == charge(world, BOB) == 0
    goes(world, 1)
    assert charge(world) == charge(world, BOB) > 0


@pytest.mark.parametrize("lots", [-2 * FREE, 7 * FREE])
def test_beyond_that_it_grows_with_the_root_of_the_size_rounded_up(lots: int) -> None:
    world = world_of()
    goes(world, lots)
    volatility = volatilities_ppm(world.state)[BTC]
    assert volatility == -(-1_300 * PPM // (3 * BP)), "a third of the range, without a history"
    size = abs(lots) * LOT
    near = ceil(size * volatility / PPM * sqrt((size - VOLUME // 10) / VOLUME))
    assert near <= charge(world) <= near + near // 10**5 + 1
    measured = world.measured(ALICE)
    assert measured.maintenance_minor == measured.margin.amount_minor + charge(world)
    assert measured.requirement_minor == required(world.state, measured.maintenance_minor)


def test_to_spread_a_position_over_members_changes_nothing() -> None:
    alone, spread = world_of("amm"), world_of("amm")
    goes(alone, 2 * FREE)
    goes(spread, FREE)
    goes(spread, FREE, "amm")
    assert charge(alone) > 0
    assert 0 <= charge(spread) + charge(spread, THERE) - charge(alone) <= 1


def test_what_is_held_the_other_way_elsewhere_does_not_count() -> None:
    world = world_of("amm")
    goes(world, 2 * FREE)
    before = charge(world)
    goes(world, -2 * FREE, "amm")
    assert charge(world) == before


def test_an_account_alone_counts_those_that_it_is_linked_with() -> None:
    world = world_of("amm")
    goes(world, FREE)
    goes(world, FREE, "amm")
    before = required_alone(world.state, ALICE)
    link(world, "alice", ALICE, THERE)
    assert required_alone(world.state, ALICE) == before
    linked = world.measured("link/alice")
    assert 0 <= linked.standalone_minor - linked.requirement_minor <= 4


def test_an_underlying_without_a_stated_volume_is_not_charged() -> None:
    world = world_of()
    goes(world, 10**6, instrument=ETH_PERP)
    assert charge(world) == 0


def with_token(volatility_bp: int = 0) -> World:
    """Dex has issued a token, on which there is a perpetual."""
    scanned = ScanRange(underlying=TOKEN, move_bp=4_000, volatility_bp=volatility_bp)
    world = empty_house(replace(PARAMETERS, scan_ranges=(*PARAMETERS.scan_ranges, scanned)))
    for member in ("dex", "amm"):
        world.ok(AdmitMember(member=MemberId(member), name=member))
    asset = Asset(id=AssetId("DEXT"), decimals=6, feed=TOKEN, tick_value_minor=1, issuer=MemberId("dex"))
    world.ok(ListAsset(asset=asset))
    world.ok(ListInstrument(instrument=perpetual(DEXT_PERP, TOKEN, 10**4, 0)))
    for member in ("dex", "amm"):
        for name in ("alice", "bob"):
            world.deposit(world.account(member, name), 10**6 * USD)
    world.prices(BTC=80_000, ETH=2_000, DEXT=500)
    return world


def test_who_is_long_a_members_token_with_that_member_is_asked_for_all_of_it() -> None:
    world = with_token()
    goes(world, 100, instrument=DEXT_PERP)
    goes(world, 50, "amm", DEXT_PERP)
    assert charge(world, ALICE) == 100 * 500 * 10**4
    assert charge(world, BOB) == 0, "short"
    assert charge(world, THERE) == 0, "at another member"


def test_parts_of_a_requirement_sum_to_it_and_say_who_saves_what() -> None:
    world = world_of("amm")
    goes(world, 4 * FREE)
    goes(world, -FREE, "amm")
    goes(world, 900, "amm", ETH_PERP)
    link(world, "alice", ALICE, THERE)
    measured = world.measured("link/alice")
    assert measured.add_ons.amount_minor > 0
    found, parts = legs(world.state, measured), shares(world.state, measured)
    assert sum(leg.contribution_minor for leg in found) == measured.requirement_minor
    assert sum(share.contribution_minor for share in parts) == measured.requirement_minor
    assert sum(share.standalone_minor for share in parts) == measured.standalone_minor
    hedge = next(leg for leg in found if leg.account == THERE and leg.instrument == BTC_PERP)
    assert hedge.contribution_minor < 0
    assert sum(one.benefit_minor for one in parts) == measured.standalone_minor - measured.requirement_minor


def test_a_member_is_told_of_its_own_accounts_alone() -> None:
    world = world_of("amm")
    goes(world, 1_000)
    goes(world, -900, "amm", ETH_PERP)
    link(world, "alice", ALICE, THERE)
    measured = world.measured("link/alice")
    told = {
        member: explanation(measured, world.state, Identity(house="testhouse", role=Role.MEMBER, id=member))
        for member in ("dex", "amm")
    }
    for member in ("dex", "amm"):
        assert [one.account for one in told[member].shares] == [f"members/{member}/accounts/alice"]
        assert not told[member].ruin_drivers, "from its parts a member could find what others hold"
    assert told["dex"].margin.ruin_ppm == told["amm"].margin.ruin_ppm > 0


@pytest.mark.parametrize(
    ("amount", "weights", "parts"),
    [
        (10, {"a": 1, "b": 1, "c": 1}, {"a": 4, "b": 3, "c": 3}),
        (7, {"a": 3, "b": -1}, {"a": 11, "b": -4}),
        (-7, {"a": 3, "b": 1}, {"a": -5, "b": -2}),
        (5, {"a": 1, "b": -1}, {"a": 3, "b": 2}),
        (0, {"a": 0}, {"a": 0}),
        (3, {"b": 0, "a": 0}, {"b": 1, "a": 2}),
        (4, {}, {}),
    ],
)
def test_an_amount_is_attributed_to_the_unit(
    amount: int, weights: dict[str, int], parts: dict[str, int]
) -> None:
    assert attributed(amount, weights) == parts


def between(name: str, other: str, lots: int, instrument: InstrumentId = BTC_PERP) -> NewTrade:
    """What an account of dex buys from another at the mark."""
    return NewTrade(
        trade_id=f"{name}-{lots}",
        instrument=instrument,
        buyer=AccountKey(f"dex/{name}"),
        seller=AccountKey(f"dex/{other}"),
        lots=lots,
        price_ticks={BTC_PERP: 80_000, ETH_PERP: 2_000}[instrument],
        executed_ms=START_MS,
    )


def submitted(world: World, *trades: NewTrade) -> list[str]:
    return [one.reason for one in world.do(SubmitTrades(member=MemberId("dex"), trades=trades)).results]


def two_accounts_of_ann() -> World:
    """One with a position and just what it requires, the other rich; Carl is on the other side."""
    world = empty_house(replace(THIN, trade_fee_bp=0))
    world.ok(AdmitMember(member=MemberId("dex"), name="dex"))
    for name, participant in (("near", "ann"), ("rich", "ann"), ("carl", "carl")):
        world.deposit(world.account("dex", name, participant), 10**10 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    assert submitted(world, between("near", "carl", FREE)) == [""]
    near = AccountKey("dex/near")
    spare = world.state.cash(near) - world.measured(near).requirement_minor - 1_000 * USD
    world.ok(RequestWithdrawal(withdrawal="w", account=near, asset=USDC, amount_minor=spare))
    return world


def test_a_batch_knows_that_the_size_of_one_account_charges_another() -> None:
    """Ann's other account grows by so much that the first no longer has room for anything."""
    big, small = between("rich", "carl", 3 * FREE), between("near", "carl", 1, ETH_PERP)
    assert submitted(two_accounts_of_ann(), small) == [""]
    assert submitted(two_accounts_of_ann(), big, small) == ["", "MARGIN_INSUFFICIENT"]
    world = two_accounts_of_ann()
    assert submitted(world, big) + submitted(world, small) == ["", "MARGIN_INSUFFICIENT"]


@pytest.mark.parametrize(
    ("lots", "lost"),
    [
        ({"PERP": 1_000, "CALL": -1_850}, {"PERP": 1_000, "CALL": -1_850}),
        ({"PUT": -1_000}, {"PUT": -1_000}),
        ({"PERP": -100, "PUT": -1_000}, {"PERP": -100, "PUT": -1_000}),
        ({"CALL": 100}, {"CALL": 100}),
        ({"PERP": -100}, {}),
        ({"PUT": 100}, {}),
    ],
)
def test_wrong_way_risk_is_what_is_lost_when_the_token_is_worth_nothing(
    lots: dict[str, int], lost: dict[str, int]
) -> None:
    """Options that are short of the token, or that hedge it by their delta, do not hide what is lost at zero."""
    world = with_token_options()
    house = world.state
    ids = {"PERP": DEXT_PERP, "CALL": DEXT_CALL, "PUT": DEXT_PUT}
    marks = {"PERP": 500, **{name: house.option_prices[ids[name]] for name in ("CALL", "PUT")}}
    assert all(marks.values())
    at_zero = {"PERP": 0, "CALL": 0, "PUT": 400}
    expected = sum(q * (marks[name] - at_zero[name]) * 10**4 for name, q in lost.items())
    held = {ids[name]: quantity for name, quantity in lots.items()}
    assert add_ons_of(house, (ALICE,), held).wrong_way == ({TOKEN: expected} if lost else {})
    assert add_ons_of(house, (THERE,), held).wrong_way == {}
    assert expected > 0 or not lost


def with_token_options() -> World:
    """The house of the token with a call at 500 and a put at 400 on it."""
    world = with_token(volatility_bp=3_000)
    for name, right, strike in ((DEXT_CALL, Right.CALL, 500), (DEXT_PUT, Right.PUT, 400)):
        terms = OptionTerms(right=right, strike_ticks=strike, volatility_feed=FeedId("DEXTVOL"))
        listed = replace(
            perpetual(name, TOKEN, 10**4, 0),
            kind=InstrumentKind.OPTION,
            expires_ms=START_MS + 30 * DAY_MS,
            option=terms,
        )
        world.ok(ListInstrument(instrument=listed))
    world.prices(BTC=80_000, ETH=2_000, DEXT=500, DEXTVOL=9_000)
    return world
