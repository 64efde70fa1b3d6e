"""Laws of the stress figures, for any positions and any cash (rulebook §12)."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing import chart
from clearing.default import stress
from clearing.default.contagion import contagion
from clearing.default.reverse import DIRECTIONS, reverse_stress, scaled
from clearing.default.scenarios import OTHERS, Move, Scenario
from clearing.default.stress import ScenarioLosses, array_under, losses_of, stress_array, stress_of
from clearing.margin.assess import after_haircut, holdings, portfolio_of
from clearing.model.commands import AdmitMember
from clearing.model.draft import Draft
from clearing.model.house import House
from clearing.model.ids import AccountKey, AssetId, InstrumentId, MemberId
from clearing.model.kinds import Kind
from clearing.model.values import BP, Liquidity
from ledger.entry import Leg, transfer
from tests.builders import ALICE, BOB, BTC, BTC_MAR, BTC_PERP, ETH, ETH_FEED, ETH_PERP, USD, USDC, World, link
from tests.unit.test_options import CALL, PUT, options_house

pytestmark = pytest.mark.slow

INSTRUMENTS = (BTC_PERP, BTC_MAR, ETH_PERP, CALL, PUT)
KEYS = (ALICE, BOB, *(AccountKey(name) for name in ("one/alice", "two/alice", "one/carl", "two/dora")))
SINK = AccountKey("sink/rich")
"""Takes the other side of everything, and never owes."""


def house_of_sets() -> World:
    """Members dex, one and two; alice is linked at all of them; prices and volatilities are known."""
    world = options_house(cash_minor=1)
    for member in ("one", "two", "sink"):
        world.ok(AdmitMember(member=MemberId(member), name=member))
    for key in KEYS[2:]:
        world.account(*key.split("/"))
    link(world, "alice", ALICE, *KEYS[2:4])
    world.deposit(world.account("sink", "rich"), 10**25)
    return world


HOUSE = house_of_sets().state

Lots = Mapping[tuple[AccountKey, InstrumentId], int]
Money = Mapping[AccountKey, int]

lots = st.dictionaries(
    st.tuples(st.sampled_from(KEYS), st.sampled_from(INSTRUMENTS)), st.integers(-(10**6), 10**6), max_size=12
)
money = st.dictionaries(st.sampled_from(KEYS), st.integers(1, 10**6 * USD), max_size=6)
ether = st.dictionaries(st.sampled_from(KEYS), st.integers(1, 10**24), max_size=6)


def house(positions: Lots, cash: Money, posted: Money | None = None, times: int = 1) -> House:
    """The house with these positions, so many times over, and this cash and ether."""
    draft = Draft(house=HOUSE, request_id="built", actor="test", now_ms=0)
    for (key, instrument), quantity in positions.items():
        legs = _novated(key, instrument, times * quantity)
        if legs:
            draft.record(Kind.POSITIONS_TORN_UP, legs=legs)
    for role, amounts in ((USDC, cash), (ETH, posted or {})):
        for key, amount in amounts.items():
            draft.record(Kind.DEPOSITED, legs=_paid(role, key, amount))
    return draft.house


def _paid(asset: AssetId, key: AccountKey, amount: int) -> tuple[Leg, ...]:
    to = chart.cash(key, asset) if asset == USDC else chart.collateral(key, asset)
    return transfer(chart.custody(asset), to, amount)


def _novated(key: AccountKey, instrument: InstrumentId, quantity: int) -> tuple[Leg, ...]:
    buyer, seller = (key, SINK) if quantity > 0 else (SINK, key)
    middle = chart.novation(instrument)
    if not quantity:
        return ()
    return (
        *transfer(chart.position(seller, instrument), middle, abs(quantity)),
        *transfer(middle, chart.position(buyer, instrument), abs(quantity)),
    )


def total(found: ScenarioLosses) -> int:
    return sum(part.amount_minor for part in found.losses)


def one_by_one(state: House) -> list[int]:
    """By scenario what all sets lose, without columns and without members."""
    array = stress_array(state)
    rows = {row.instrument: row for row in array.instruments}
    prices = {one.asset: one.price_ticks for one in array.assets}
    sums = [0] * len(array.scenarios)
    for set_id in state.netting_sets:
        have = portfolio_of(state, set_id)
        for number in range(len(sums)):
            pnl = sum(
                quantity * rows[i].long_minor[number]
                if quantity > 0
                else -quantity * rows[i].short_minor[number]
                for i, quantity in have.lots.items()
            )
            posted = holdings(state, state.netting_sets[set_id].accounts)
            collateral = sum(after_haircut(one, prices[one.asset.id][number]) for one in posted)
            sums[number] += max(0, -(have.cash_minor + have.option_value_minor + collateral + pnl))
    return sums


@given(lots, money, ether)
def test_what_members_lose_is_what_the_sets_lose(positions: Lots, cash: Money, posted: Money) -> None:
    state = house(positions, cash, posted)
    found = losses_of(state, stress_array(state))
    assert [total(one) for one in found] == one_by_one(state)
    assert all(part.amount_minor > 0 for one in found for part in one.losses)


@given(lots, money, ether)
def test_cover_two_lies_between_cover_one_and_twice_that(positions: Lots, cash: Money, posted: Money) -> None:
    found = stress_of(house(positions, cash, posted))
    assert 0 <= found.cover1_minor <= found.cover2_minor <= 2 * found.cover1_minor
    assert found.cover2_minor == max(one.largest(2) for one in found.scenarios)


def affiliated(state: House, groups: Mapping[str, str]) -> House:
    """The house with these members in these groups."""
    members = state.members
    for member, group in groups.items():
        members = members.set(MemberId(member), replace(members[MemberId(member)], group=group))
    return replace(state, members=members)


names = st.dictionaries(st.sampled_from(("dex", "one", "two", "sink")), st.sampled_from(("", "dex", "north")))


@given(lots, money, names)
def test_the_sums_of_groups_are_those_of_their_members(
    positions: Lots, cash: Money, groups: Mapping[str, str]
) -> None:
    alone = stress_of(house(positions, cash))
    found = stress_of(affiliated(house(positions, cash), groups))
    covers = []
    for before, after in zip(alone.scenarios, found.scenarios, strict=True):
        assert after.losses == before.losses, "who loses what is not changed by who belongs with whom"
        sums: dict[object, int] = {}
        for part in before.losses:
            own = groups.get(part.member) or (part.member, "alone")
            sums[own] = sums.get(own, 0) + part.amount_minor
        covers.append(sorted(sums.values(), reverse=True))
    assert found.cover1_minor == max(sum(one[:1]) for one in covers) >= alone.cover1_minor
    assert found.cover2_minor == max(sum(one[:2]) for one in covers) >= alone.cover2_minor


@given(lots, money)
def test_twice_the_positions_lose_at_least_twice_as_much(positions: Lots, cash: Money) -> None:
    once, twice = stress_of(house(positions, cash)), stress_of(house(positions, cash, times=2))
    for before, after in zip(once.scenarios, twice.scenarios, strict=True):
        assert total(after) >= 2 * total(before)
    assert twice.cover2_minor >= once.cover2_minor


@given(lots)
def test_without_cash_twice_the_positions_lose_just_twice_as_much_but_for_the_first_unit(
    positions: Lots,
) -> None:
    once, twice = stress_of(house(positions, {})), stress_of(house(positions, {}, times=2))
    for before, after in zip(once.scenarios, twice.scenarios, strict=True):
        assert 0 <= total(after) - 2 * total(before) <= 2, "alice and bob have one unit each"


@given(lots, money, st.sampled_from(KEYS), st.integers(1, 10**6 * USD))
def test_more_cash_never_makes_anything_worse(
    positions: Lots, cash: Money, key: AccountKey, more: int
) -> None:
    before = stress_of(house(positions, cash))
    after = stress_of(house(positions, {**cash, key: cash.get(key, 0) + more}))
    for poorer, richer in zip(before.scenarios, after.scenarios, strict=True):
        assert total(poorer) - more <= total(richer) <= total(poorer)
    assert after.cover1_minor <= before.cover1_minor
    assert after.cover2_minor <= before.cover2_minor


@given(lots, money, ether)
def test_the_order_in_which_it_came_about_does_not_matter(
    positions: Lots, cash: Money, posted: Money
) -> None:
    backwards = dict(list(positions.items())[::-1])
    assert stress_of(house(backwards, cash, posted)) == stress_of(house(positions, cash, posted))


@given(lots, money, ether)
def test_64_bits_and_integers_of_any_size_give_the_same(positions: Lots, cash: Money, posted: Money) -> None:
    state = house(positions, cash, posted)
    found, safe = stress_of(state), stress.SAFE
    stress.SAFE = 0
    try:
        assert stress_of(state) == found
    finally:
        stress.SAFE = safe


# contagion ----------------------------------------------------------------------------------------

LOT_MINOR = 8 * USD
"""The notional of a lot of the perpetual."""
holders = st.dictionaries(
    st.sampled_from(KEYS), st.tuples(st.integers(1, 10**4), st.integers(1_000, 3_500)), min_size=2, max_size=6
)
"""By account its lots, all on one side, and its cash in basis points of their notional."""
volumes = st.integers(10**9, 10**14)
shocks = st.integers(-4_000, 0)


def of_longs(held: Mapping[AccountKey, tuple[int, int]]) -> House:
    """The house in which these have bought the perpetual."""
    positions = {(key, BTC_PERP): lots for key, (lots, _) in held.items()}
    cash = {key: 1 + lots * LOT_MINOR * cash_bp // BP for key, (lots, cash_bp) in held.items()}
    return house(positions, cash)


def traded(state: House, volume: int, y_bp: int = BP) -> House:
    """The house, in which so much of each underlying is traded a day."""
    markets = tuple(Liquidity(underlying=u, daily_volume_minor=volume) for u in (BTC, ETH_FEED))
    charter = state.founded
    stated = replace(charter.parameters, liquidity=markets, impact_bp=y_bp)
    return replace(state, charter=replace(charter, parameters=stated))


def fall(price_bp: int) -> Scenario:
    return Scenario(name="fall", moves=(Move(underlying=OTHERS, price_bp=price_bp),))


def pausing(state: House, limit_bp: int) -> House:
    """The house with a limit on liquidation volume."""
    charter = state.founded
    limited = replace(charter.parameters, breaker_liquidation_bp=limit_bp)
    return replace(state, charter=replace(charter, parameters=limited))


@given(lots, money, shocks, volumes, st.booleans(), st.integers(0, 10_000))
def test_a_spiral_ends_liquidates_each_set_once_and_loses_what_its_rounds_say(
    positions: Lots, cash: Money, price_bp: int, volume: int, pauses: bool, limit_bp: int
) -> None:
    state = traded(pausing(house(positions, cash), limit_bp), volume)
    found = contagion(state, fall(price_bp), pauses=pauses)
    closed = [set_id for one in found.rounds for set_id in one.sets]
    assert len(closed) == len(set(closed)) == found.liquidated <= len(state.netting_sets)
    assert [one.window for one in found.rounds] == sorted(one.window for one in found.rounds)
    assert all(one.sets for one in found.rounds)
    if not found.rounds:
        assert found.losses == found.without
        assert found.volume_minor == 0
    backwards = house(dict(list(positions.items())[::-1]), dict(list(cash.items())[::-1]))
    again = contagion(traded(pausing(backwards, limit_bp), volume), fall(price_bp), pauses=pauses)
    assert again == found, "the order in which it came about does not matter"


@given(lots, money, shocks)
def test_without_impact_nothing_is_added_to_the_shock(positions: Lots, cash: Money, price_bp: int) -> None:
    found = contagion(traded(house(positions, cash), 1, y_bp=0), fall(price_bp))
    assert found.losses == found.without


@given(holders, shocks, volumes, st.integers(1, 100))
def test_a_deeper_market_never_makes_the_loss_of_those_on_one_side_larger(
    held: Mapping[AccountKey, tuple[int, int]], price_bp: int, volume: int, times: int
) -> None:
    state = of_longs(held)
    thin, deep = (contagion(traded(state, one), fall(price_bp)) for one in (volume, volume * times))
    closed = {set_id for one in thin.rounds for set_id in one.sets}
    assert {set_id for one in deep.rounds for set_id in one.sets} <= closed
    assert total(deep.without) <= total(deep.losses) <= total(thin.losses)
    assert deep.losses.largest(2) <= thin.losses.largest(2)


@given(holders, shocks, volumes, st.integers(0, 10_000))
def test_pauses_never_make_the_loss_of_those_on_one_side_larger(
    held: Mapping[AccountKey, tuple[int, int]], price_bp: int, volume: int, limit_bp: int
) -> None:
    state = traded(pausing(of_longs(held), limit_bp), volume)
    running, paused = (contagion(state, fall(price_bp), pauses=pauses) for pauses in (False, True))
    closed = {set_id for one in running.rounds for set_id in one.sets}
    assert {set_id for one in paused.rounds for set_id in one.sets} <= closed
    assert total(paused.without) <= total(paused.losses) <= total(running.losses)
    assert paused.losses.largest(2) <= running.losses.largest(2)


# reverse stress -----------------------------------------------------------------------------------


@settings(max_examples=15)
@given(lots, money, st.lists(st.integers(0, 10**5 * USD), min_size=4, max_size=4))
def test_each_rung_holds_longer_than_the_one_before_and_just_as_long_as_it_says(
    positions: Lots, cash: Money, funds: list[int]
) -> None:
    state = _funded(house(positions, cash), funds)
    rungs = reverse_stress(state)
    for direction in DIRECTIONS:
        sizes = [
            next((one.size_bp for one in rung.reached if one.direction == direction.name), 10**9)
            for rung in (rungs[0], *rungs[2:])
        ]
        assert sizes == sorted(sizes)
        if 0 < sizes[0] < 10**9:
            before, at = losses_of(
                state, array_under(state, tuple(scaled(direction, sizes[0] - n) for n in (1, 0)))
            )
            assert (total(before) == 0, total(at) > 0) == (True, True)


def _funded(state: House, funds: list[int]) -> House:
    draft = Draft(house=state, request_id="funded", actor="test", now_ms=0)
    paths = (chart.skin_in_the_game, chart.insurance_fund, chart.second_tranche)
    for path, amount in zip(paths, funds, strict=False):
        if amount:
            draft.record(Kind.HOUSE_FUNDED, legs=transfer(chart.custody(USDC), path(USDC), amount))
    if funds[-1]:
        pool = chart.pool(MemberId("one"), USDC)
        draft.record(Kind.POOL_CONTRIBUTED, legs=transfer(chart.custody(USDC), pool, funds[-1]))
    return draft.house
