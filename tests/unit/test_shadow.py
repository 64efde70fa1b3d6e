"""A margin model in shadow: what it says, that nothing depends on it, and the way into force (rulebook §9, §13)."""

import re
from dataclasses import replace
from random import Random

import pytest

from clearing.decide.tightening import is_tightening
from clearing.margin import shadow
from clearing.margin.assess import Health, assess, living_sets, measured_sets
from clearing.margin.impact import impact_of, under
from clearing.margin.snapshot import array_of
from clearing.margin.table import MODELS
from clearing.model.commands import AdmitMember, ApproveProposal, FoundHouse, ImportHistory, ProposeParameters
from clearing.model.house import House, Put, decode_changes, rows_of
from clearing.model.ids import MemberId, SetId, account_key, single_set
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import DAY_MS, Parameters, ParametersProposal, ProposalState, Shadow, ShadowSet
from ledger.entry import Entry, Leg
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BOB,
    BTC,
    ETH_FEED,
    ETH_PERP,
    PARAMETERS,
    SETTLEMENT,
    USD,
    World,
    contribute,
    empty_house,
    fund,
    with_provider,
)

SHADOWED = replace(PARAMETERS, shadow_model="expected_shortfall")
SWAPPED = replace(PARAMETERS, margin_model="expected_shortfall", shadow_model="scan")
CAROL = account_key(MemberId("dex"), "carol")
ALICES, BOBS = single_set(ALICE), single_set(BOB)
MARKS = {"BTC": 80_000, "ETH": 2_000}


def traders(parameters: Parameters = SHADOWED, cash_minor: int = 2_000 * USD) -> World:
    """Alice and Bob hold BTC against ETH, which only ``scan`` lets offset without a history; Carol holds BTC alone."""
    world = empty_house(parameters)
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name in ("alice", "bob", "carol"):
        world.deposit(world.account("dex", name), cash_minor)
    world.prices(**MARKS)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    assert world.trade(BOB, ALICE, 3_000, 2_000, ETH_PERP).accepted
    assert world.trade(CAROL, BOB, 100, 80_000).accepted
    world.prices(**MARKS)
    return world


def shadow_in(house: House) -> Shadow:
    assert house.shadow is not None
    return house.shadow


def swapped(house: House) -> House:
    """The house with its shadow in force."""
    return under(
        house, replace(house.parameters, margin_model=house.parameters.shadow_model, shadow_model="")
    )


def requirements(house: House) -> dict[SetId, int]:
    return {set_id: assess(house, set_id).requirement_minor for set_id in living_sets(house)}


# ------------------------------------------------------------------------------------------- what it says


def test_after_each_cycle_the_shadow_is_recorded_beside_the_model_in_force() -> None:
    world = traders()
    assert shadow_in(world.state) == Shadow(
        cycle=2,
        model="expected_shortfall",
        version=MODELS["expected_shortfall"].version,
        live_model="scan",
        live_version=MODELS["scan"].version,
        live_minor=sum(requirements(world.state).values()),
        shadow_minor=sum(requirements(swapped(world.state)).values()),
        called=1,
        liquidated=1,
        risen=2,
        fallen=0,
        risen_most=ShadowSet(
            netting_set=ALICES,
            before="healthy",
            after="call",
            live_minor=requirements(world.state)[ALICES],
            shadow_minor=requirements(swapped(world.state))[ALICES],
        ),
        sets=shadow_in(world.state).sets,
    )
    assert [one.netting_set for one in shadow_in(world.state).sets] == [ALICES, BOBS]
    world.prices(BTC=81_000, ETH=2_000)
    told = [entry for entry in world.entries if entry.kind == Kind.SHADOW_MEASURED]
    assert [row_in(entry).cycle for entry in told] == [1, 2, 3]
    assert all(not entry.legs for entry in told)


def row_in(entry: Entry) -> Shadow:
    (change,) = decode_changes(entry.fact)
    assert isinstance(change, Put)
    assert isinstance(change.row, Shadow)
    return change.row


def test_each_set_is_measured_as_it_would_be_with_the_shadow_in_force() -> None:
    world = traders()
    for ticks in (80_000, 76_000, 84_000):
        world.prices(BTC=ticks, ETH=2_000)
        found, then = shadow_in(world.state), swapped(world.state)
        impact = impact_of(world.state, then.parameters)
        assert (found.live_minor, found.shadow_minor) == (
            impact.requirement_before_minor,
            impact.requirement_after_minor,
        )
        for one in found.sets:
            before, after = assess(world.state, one.netting_set), assess(then, one.netting_set)
            assert (one.before, one.after) == (before.health.value, after.health.value)
            assert (one.live_minor, one.shadow_minor) == (before.requirement_minor, after.requirement_minor)


def test_a_model_that_asks_for_less_everywhere_raises_nothing() -> None:
    world = traders(SWAPPED, cash_minor=9_000 * USD)
    found = shadow_in(world.state)
    assert (found.risen, found.fallen, found.risen_most) == (0, 2, None)
    assert found.shadow_minor < found.live_minor


@pytest.mark.parametrize("most", [0, 1, 2, 3])
def test_the_largest_differences_are_named_and_all_are_counted(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(shadow, "SHADOW_SETS_MAX", most)
    found = shadow_in(traders().state)
    assert [one.netting_set for one in found.sets] == [ALICES, BOBS][:most]
    assert found.risen == 2


def test_sets_with_the_same_difference_stand_in_the_order_of_their_ids() -> None:
    world = traders(cash_minor=9_000 * USD)
    dave = world.account("dex", "dave")
    world.deposit(dave, 9_000 * USD)
    assert world.trade(dave, BOB, 1_000, 80_000).accepted
    assert world.trade(BOB, dave, 3_000, 2_000, ETH_PERP).accepted
    world.prices(**MARKS)
    assert [one.netting_set for one in shadow_in(world.state).sets] == [BOBS, ALICES, single_set(dave)]


def test_a_house_without_positions_has_nothing_to_compare() -> None:
    world = empty_house(SHADOWED)
    world.prices(**MARKS)
    found = shadow_in(world.state)
    assert (found.live_minor, found.shadow_minor, found.risen_most, found.sets) == (0, 0, None, ())


def test_without_a_shadow_nothing_is_recorded_and_the_last_one_stays_as_it_was() -> None:
    world = traders(PARAMETERS)
    assert world.state.shadow is None
    assert all(entry.kind != Kind.SHADOW_MEASURED for entry in world.entries)
    world = traders()
    change(world, replace(SHADOWED, shadow_model=""))
    world.prices(**MARKS)
    assert world.state.newest_cycle.number > shadow_in(world.state).cycle == 2


# ------------------------------------------------------------------------------ nothing depends on it


def a_crash(parameters: Parameters) -> World:
    """Calls, a liquidation, a default and its loss."""
    world = traders(parameters)
    with_provider(world)
    fund(world, capital=100 * USD, skin_in_the_game=10 * USD, insurance_fund=10 * USD)
    contribute(world, dex=100 * USD, desk=100 * USD)
    for ticks in (70_000, 64_000, 52_000, 90_000):
        world.prices(BTC=ticks, ETH=2_000)
        world.wait(3_600_000)
    return world


def without_shadow(world: World) -> list[tuple[int, tuple[Leg, ...], str]]:
    """What was recorded but for the shadow, and but for how long the journal was, which a default remembers."""
    return [
        (entry.kind, entry.legs, re.sub(r"'journal_size': '\d+'", "", str(entry.fact)))
        for entry in world.entries
        if entry.kind != Kind.SHADOW_MEASURED
    ]


def test_the_journal_is_the_same_but_for_the_shadow() -> None:
    bare, shadowed = a_crash(PARAMETERS), a_crash(SHADOWED)
    kinds = {Kind(entry.kind) for entry in bare.entries}
    assert kinds >= {Kind.CALL_ISSUED, Kind.LIQUIDATION_OPENED, Kind.DEFAULT_DECLARED, Kind.LOSS_FIXED}
    assert len(shadowed.entries) > len(bare.entries)
    assert without_shadow(bare)[1:] == without_shadow(shadowed)[1:], "the charter names the shadow"
    assert [one.outcome.events for one in bare.asked] == [one.outcome.events for one in shadowed.asked]
    ours, theirs = rows_of(bare.state), rows_of(shadowed.state)
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert differing <= {"charter", "shadow", "defaults"}, "a default remembers how long the journal was"


def test_what_is_attested_of_sets_does_not_change_with_a_shadow() -> None:
    assert measured_sets(traders(PARAMETERS).state) == measured_sets(traders().state)


# ------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"shadow_model": "none"}, f"the shadow is one of {' '.join(sorted(MODELS))}, or none"),
        ({"shadow_model": "scan"}, "scan is in force: the shadow is another model, or none"),
        ({"shadow_model": " "}, f"the shadow is one of {' '.join(sorted(MODELS))}, or none"),
        ({"margin_model": "expected_shortfall", "shadow_model": "expected_shortfall"}, "is in force"),
    ],
)
def test_the_shadow_is_another_model_that_there_is(changes: dict[str, str], says: str) -> None:
    wanted = replace(PARAMETERS, **changes)  # type: ignore[arg-type]  # texts
    refused = World().do(FoundHouse(house="testhouse", settlement=SETTLEMENT, parameters=wanted)).results[0]
    assert (refused.reason, says in refused.detail) == (Reason.TERM_OUT_OF_RANGE.name, True)


def test_neither_a_shadow_nor_a_swap_is_a_tightening() -> None:
    assert not is_tightening(PARAMETERS, SHADOWED)
    assert not is_tightening(SHADOWED, PARAMETERS)
    assert not is_tightening(SHADOWED, SWAPPED)


# ---------------------------------------------------------------------------------------------- the swap


def propose(world: World, parameters: Parameters) -> ParametersProposal:
    command = ProposeParameters(
        proposal="swap", parameters=parameters, reason="it nets what belongs together"
    )
    world.ok(command, ANNA)
    return world.state.parameter_proposals["swap"]


def change(world: World, parameters: Parameters) -> None:
    """Propose, approve, and wait until it is in force."""
    propose(world, parameters)
    world.ok(ApproveProposal(proposal="swap"), BERT)
    world.wait(DAY_MS)
    assert world.state.parameter_proposals["swap"].state is ProposalState.IN_FORCE


def a_past(world: World, days: int = 300) -> World:
    """BTC and ETH move together, up and down."""
    dice = Random(7)
    market = [dice.gauss(0, 40_000) for _ in range(days)]
    for feed, beta in ((BTC, 1.0), (ETH_FEED, 1.2)):
        moves = tuple(round(beta * one + dice.gauss(0, 5_000)) for one in market)
        world.ok(ImportHistory(underlying=feed, first_day="2019-05-01", moves_ppm=moves))
    return world


@pytest.mark.parametrize("has_a_past", [False, True], ids=["without a history", "with one"])
def test_a_model_comes_into_force_with_what_its_shadow_and_its_impact_said(has_a_past: bool) -> None:
    world = traders()
    if has_a_past:
        a_past(world)
    world.prices(**MARKS)
    world.prices(**MARKS)
    said, before = shadow_in(world.state), requirements(world.state)
    assert said.cycle == 4

    impact = propose(world, SWAPPED).impact
    assert (impact.requirement_before_minor, impact.requirement_after_minor) == (
        said.live_minor,
        said.shadow_minor,
    )
    assert (impact.called, impact.liquidated) == (said.called, said.liquidated)
    world.ok(ApproveProposal(proposal="swap"), BERT)
    world.wait(DAY_MS - 1)
    assert requirements(world.state) == before

    world.wait(1)
    assert world.state.parameters == SWAPPED
    assert array_of(world.state).model == "expected_shortfall"
    then = requirements(world.state)
    assert sum(then.values()) == said.shadow_minor
    for one in said.sets:
        assert (then[one.netting_set], before[one.netting_set]) == (one.shadow_minor, one.live_minor)


def test_without_a_history_scan_ranges_stand_in_and_hedges_across_underlyings_count_for_nothing() -> None:
    world = traders()
    found = {one.netting_set: one for one in propose(world, SWAPPED).impact.sets}
    assert found.keys() == {ALICES, BOBS}
    assert (found[ALICES].before, found[ALICES].after) == (Health.HEALTHY.value, Health.CALL.value)
    assert found[BOBS].after == Health.LIQUIDATION.value


def test_with_a_history_of_what_moves_together_the_hedge_counts() -> None:
    bare, past = traders(), a_past(traders())
    past.prices(**MARKS)
    assert shadow_in(past.state).shadow_minor < shadow_in(bare.state).shadow_minor


def test_the_first_cycle_after_the_swap_calls_whom_the_shadow_named_and_measures_the_old_model() -> None:
    world = traders()
    change(world, SWAPPED)
    world.prices(**MARKS)
    found = shadow_in(world.state)
    assert (found.live_model, found.model) == ("expected_shortfall", "scan")
    assert set(world.state.newest_cycle.short) == {ALICES, BOBS}
    assert (found.called, found.liquidated) == (0, 0)
