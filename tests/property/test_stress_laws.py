"""Laws of the stress figures, for any positions and any cash (rulebook §12)."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing import chart
from clearing.default import stress
from clearing.default.stress import ScenarioLosses, losses_of, stress_array, stress_of
from clearing.margin.assess import after_haircut, holdings, portfolio_of
from clearing.model.commands import AdmitMember
from clearing.model.draft import Draft
from clearing.model.house import House
from clearing.model.ids import AccountKey, AssetId, InstrumentId, MemberId
from clearing.model.kinds import Kind
from ledger.entry import Leg, transfer
from tests.builders import ALICE, BOB, BTC_MAR, BTC_PERP, ETH, ETH_PERP, USD, USDC, World, link
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
