"""Changes of parameters: two administrators, the impact shown before, the delay, the endings (rulebook §13)."""

from dataclasses import fields, replace
from typing import Any

import pytest

from clearing.decide.administrators import REASON_CHARS_MAX
from clearing.decide.changes import BODY_CHARS_MAX, GOVERNED
from clearing.decide.tightening import SAFE_SIDE, UP, is_tightening
from clearing.margin import impact
from clearing.margin.assess import Health, assess, living_sets
from clearing.margin.impact import impact_of, under
from clearing.model.codec import to_text
from clearing.model.commands import (
    AdmitMember,
    ApproveProposal,
    Command,
    DeclareDefault,
    GrantRegulator,
    GroupMember,
    ImportHistory,
    ListAsset,
    ListInstrument,
    ProposeChange,
    ProposeParameters,
    RecordNonDefaultLoss,
    RegisterSource,
    ReinstateMember,
    RejectProposal,
    RetireSource,
    SetJurisdiction,
    SuspendMember,
    Tick,
    WindDown,
)
from clearing.model.house import rows_of
from clearing.model.ids import AssetId, FeedId, InstrumentId, MemberId, RegulatorId, SourceId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    ChangeProposal,
    Offset,
    Parameters,
    ParametersProposal,
    ProposalState,
    ScanRange,
)
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BOB,
    BTC,
    ETH_FEED,
    ETHER,
    PARAMETERS,
    SOURCES,
    START_MS,
    USD,
    USDC,
    World,
    empty_house,
    kinds_of,
    perpetual,
    proposing_change,
    public_hex,
    source_key,
    two_traders,
)
from tests.unit.test_wind_down import ruined

CARL = "administrator/carl"
TIGHTER = replace(PARAMETERS, requirement_bp=20_000)
LOOSER = replace(PARAMETERS, requirement_bp=11_000)


def proposing(parameters: Parameters, *, immediate: bool = False, proposal: str = "p1") -> ProposeParameters:
    return ProposeParameters(proposal=proposal, parameters=parameters, reason="a reason", immediate=immediate)


def proposed(
    world: World, parameters: Parameters, *, immediate: bool = False, proposal: str = "p1"
) -> Outcome:
    return world.ok(proposing(parameters, immediate=immediate, proposal=proposal), ANNA)


def approved(world: World, proposal: str = "p1", by: str = BERT) -> Outcome:
    return world.ok(ApproveProposal(proposal=proposal), by)


def row(world: World, proposal: str = "p1") -> ParametersProposal:
    return world.state.parameter_proposals[proposal]


def traders() -> World:
    """Alice is long and bob short 1,000 lots at dex: M = 1,040.00, R = 1,300.00, equity about 2,000."""
    world = two_traders()
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    return world


# ------------------------------------------------------------------------------------------------- the usual way


def test_a_change_takes_effect_a_day_after_another_administrator_approved_it() -> None:
    world = two_traders()
    proposed(world, LOOSER)
    world.now_ms += HOUR_MS
    outcome = approved(world)
    assert outcome.next_due_ms == world.now_ms + DAY_MS
    world.wait(DAY_MS - 1)
    assert world.state.parameters == PARAMETERS
    assert kinds_of(world.wait(1)) == [Kind.PARAMETERS_CHANGED.name]
    assert world.state.parameters == LOOSER
    assert world.state.founded.parameters_version == 2
    assert (row(world).state, row(world).proposed_by, row(world).approved_by) == (
        ProposalState.IN_FORCE,
        ANNA,
        BERT,
    )
    assert world.ok(Tick()).next_due_ms is None


def test_the_delay_is_the_one_in_force_at_the_approval() -> None:
    world = empty_house(replace(PARAMETERS, change_delay_ms=MINUTE_MS))
    proposed(world, PARAMETERS)
    approved(world)
    world.wait(MINUTE_MS)
    assert world.state.parameters == PARAMETERS


def test_every_step_is_journaled_with_who_took_it() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    approved(world)
    world.wait(DAY_MS)
    steps = [(Kind(entry.kind), entry.actor) for entry in world.entries[-3:]]
    assert steps == [
        (Kind.PARAMETERS_PROPOSED, ANNA),
        (Kind.PARAMETERS_APPROVED, BERT),
        (Kind.PARAMETERS_CHANGED, "test"),
    ]


def test_new_parameters_hold_at_once_for_what_is_measured() -> None:
    world = traders()
    wider = replace(
        PARAMETERS, scan_ranges=(ScanRange(underlying=BTC, move_bp=2_600), PARAMETERS.scan_ranges[1])
    )
    needed = world.measured(ALICE).requirement_minor
    proposed(world, wider, immediate=True)
    approved(world)
    assert world.measured(ALICE).requirement_minor == 2 * needed
    assert world.trade(ALICE, BOB, 1, 80_000).results[0].reason == Reason.MARGIN_INSUFFICIENT.name


def test_an_instrument_without_a_mark_gets_none_by_a_change() -> None:
    world = two_traders()
    late = InstrumentId("BTC-LATE")
    world.ok(ListInstrument(instrument=perpetual(late, BTC, 100, 3)))
    proposed(world, TIGHTER, immediate=True)
    approved(world)
    assert world.trade(ALICE, BOB, 1, 80_000, late).results[0].reason == Reason.INSTRUMENT_NOT_ACTIVE.name


def test_the_due_time_of_an_open_call_never_moves() -> None:
    world = traders()
    world.prices(BTC=71_500, ETH=2_000)
    before = world.state.calls[f"margin/{ALICE}"]
    proposed(world, replace(PARAMETERS, call_ms=0), immediate=True)
    approved(world)
    world.prices(BTC=71_400, ETH=2_000)
    after = world.state.calls[f"margin/{ALICE}"]
    assert after.amount_minor > before.amount_minor
    assert after.due_ms == before.due_ms


# ---------------------------------------------------------------------------------------------- the simulation


def test_the_impact_is_shown_with_the_proposal_and_again_with_the_approval() -> None:
    world = traders()
    outcome = proposed(world, TIGHTER)
    short = 2_080 * USD - world.measured(ALICE).equity_minor
    told = [(event.kind, event.subject, event.amount_minor) for event in outcome.events]
    assert told == [
        (Kind.PARAMETERS_PROPOSED.name, "p1", 2 * 780 * USD),
        (Kind.PARAMETERS_PROPOSED.name, f"p1 call {ALICE}", short),
        (Kind.PARAMETERS_PROPOSED.name, f"p1 call {BOB}", short),
    ]
    shown = row(world).impact
    assert (shown.called, shown.called_minor, shown.liquidated, shown.bankrupt) == (2, 2 * short, 0, 0)
    assert [(one.before, one.after) for one in shown.sets] == [("healthy", "call")] * 2
    world.deposit(ALICE, 1_000 * USD)
    told = [(event.kind, event.subject, event.amount_minor) for event in approved(world).events]
    assert told[1:] == [(Kind.PARAMETERS_APPROVED.name, f"p1 call {BOB}", short)]
    assert row(world).impact.called == 1


def test_the_impact_tells_calls_from_liquidations() -> None:
    world = traders()
    wider = replace(
        PARAMETERS, scan_ranges=(ScanRange(underlying=BTC, move_bp=2_600), PARAMETERS.scan_ranges[1])
    )
    found = impact_of(world.state, wider)
    short = 2_080 * USD - world.measured(ALICE).equity_minor
    assert (found.called, found.liquidated, found.liquidated_minor) == (0, 2, 2 * short)
    assert (found.requirement_before_minor, found.requirement_after_minor) == (2_600 * USD, 5_200 * USD)


def test_the_simulation_measures_exactly_what_takes_effect() -> None:
    world = traders()
    before, simulated = world.state, under(world.state, TIGHTER)
    proposed(world, TIGHTER, immediate=True)
    approved(world)
    assert (simulated.charter, simulated.cycle) == (world.state.charter, world.state.cycle)
    assert before.parameters == PARAMETERS
    unhealthy = {s for s in living_sets(world.state) if assess(world.state, s).health is not Health.HEALTHY}
    assert {one.netting_set for one in row(world).impact.sets} == unhealthy


def test_a_long_list_is_cut_to_the_largest_shortfalls_and_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impact, "IMPACT_SETS_MAX", 1)
    world = traders()
    world.deposit(ALICE, 10 * USD)
    found = impact_of(world.state, TIGHTER)
    assert [str(one.netting_set) for one in found.sets] == [BOB]
    assert found.called == 2


def test_a_house_without_marks_has_no_impact() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    assert row(world).impact.sets == ()
    approved(world)
    world.wait(DAY_MS)
    assert world.state.parameters == LOOSER


# ------------------------------------------------------------------------------------------------ the refusals


NOT_ADMINISTRATORS = ("test", "member/anna", "administrator/", "house/clock", "administrator", "")


@pytest.mark.parametrize("actor", NOT_ADMINISTRATORS)
def test_only_administrators_govern(actor: str) -> None:
    world = empty_house()
    assert world.reason(proposing(LOOSER), actor) == Reason.NOT_AN_ADMINISTRATOR.name
    proposed(world, LOOSER)
    assert world.reason(ApproveProposal(proposal="p1"), actor) == Reason.NOT_AN_ADMINISTRATOR.name
    ending = RejectProposal(proposal="p1", reason="no")
    assert world.reason(ending, actor) == Reason.NOT_AN_ADMINISTRATOR.name


def test_the_proposer_does_not_approve() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    assert world.reason(ApproveProposal(proposal="p1"), ANNA) == Reason.SAME_ADMINISTRATOR.name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"proposal": "P 1"}, Reason.NAME_MALFORMED),
        ({"proposal": "taken"}, Reason.ALREADY_EXISTS),
        ({"reason": ""}, Reason.REASON_MALFORMED),
        ({"reason": "  "}, Reason.REASON_MALFORMED),
        ({"reason": "a\nb"}, Reason.REASON_MALFORMED),
        ({"reason": "\ud800"}, Reason.REASON_MALFORMED),
        ({"reason": "a" * (REASON_CHARS_MAX + 1)}, Reason.REASON_MALFORMED),
        ({"parameters": PARAMETERS}, Reason.TERM_OUT_OF_RANGE),
        ({"parameters": replace(PARAMETERS, requirement_bp=1)}, Reason.TERM_OUT_OF_RANGE),
        ({"parameters": replace(PARAMETERS, scan_ranges=(), offsets=())}, Reason.TERM_OUT_OF_RANGE),
        ({"immediate": True}, Reason.NOT_A_TIGHTENING),
    ],
    ids=str,
)
def test_a_proposal_is_refused(change: dict[str, Any], reason: Reason) -> None:
    world = empty_house()
    proposed(world, TIGHTER, proposal="taken")
    assert world.reason(replace(proposing(LOOSER), **change), ANNA) == reason.name


@pytest.mark.parametrize(
    ("version", "reason"), [(1, ""), (None, ""), (2, "PROPOSAL_OUTDATED"), (0, "PROPOSAL_OUTDATED")]
)
def test_a_proposal_that_names_another_version_than_the_one_in_force_is_refused(
    version: int | None, reason: str
) -> None:
    outcome = empty_house().do(replace(proposing(LOOSER), base_version=version), ANNA)
    assert outcome.results[0].reason == reason


def test_what_is_not_proposed_is_neither_approved_nor_rejected() -> None:
    world = empty_house()
    assert world.reason(ApproveProposal(proposal="p1"), BERT) == Reason.PROPOSAL_UNKNOWN.name
    assert world.reason(RejectProposal(proposal="p1", reason="no"), BERT) == Reason.PROPOSAL_UNKNOWN.name


def test_a_rejection_needs_a_reason() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    assert world.reason(RejectProposal(proposal="p1", reason=""), BERT) == Reason.REASON_MALFORMED.name


@pytest.mark.parametrize("is_approved", [False, True])
@pytest.mark.parametrize(
    ("by", "state"), [(ANNA, ProposalState.WITHDRAWN), (CARL, ProposalState.REJECTED)], ids=str
)
def test_any_administrator_ends_a_change_that_is_not_in_force(
    by: str, state: ProposalState, is_approved: bool
) -> None:
    world = empty_house()
    proposed(world, LOOSER)
    if is_approved:
        approved(world)
    world.ok(RejectProposal(proposal="p1", reason="second thoughts"), by)
    assert (row(world).state, row(world).ended_by, row(world).ended_reason) == (state, by, "second thoughts")
    world.wait(2 * DAY_MS)
    assert world.state.parameters == PARAMETERS
    assert world.reason(ApproveProposal(proposal="p1"), BERT) == Reason.PROPOSAL_ENDED.name
    assert world.reason(RejectProposal(proposal="p1", reason="no"), BERT) == Reason.PROPOSAL_ENDED.name
    assert world.reason(proposing(LOOSER), ANNA) == Reason.ALREADY_EXISTS.name


def test_what_is_in_force_is_changed_only_by_another_proposal() -> None:
    world = empty_house()
    proposed(world, TIGHTER, immediate=True)
    approved(world)
    assert world.reason(RejectProposal(proposal="p1", reason="no"), BERT) == Reason.PROPOSAL_ENDED.name
    assert world.reason(ApproveProposal(proposal="p1"), CARL) == Reason.PROPOSAL_ENDED.name


def test_a_proposal_made_for_other_parameters_is_not_approved() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    proposed(world, TIGHTER, immediate=True, proposal="p2")
    approved(world, "p2")
    assert world.reason(ApproveProposal(proposal="p1"), BERT) == Reason.PROPOSAL_OUTDATED.name


def test_of_two_approved_changes_the_second_lapses() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    proposed(world, replace(PARAMETERS, trade_fee_bp=3), proposal="p2")
    approved(world)
    approved(world, "p2")
    world.wait(DAY_MS)
    assert (row(world).state, row(world, "p2").state) == (ProposalState.IN_FORCE, ProposalState.LAPSED)
    assert world.state.parameters == LOOSER
    assert world.state.founded.parameters_version == 2


def with_sol() -> World:
    sol = ScanRange(underlying=FeedId("SOL"), move_bp=2_000)
    return empty_house(replace(PARAMETERS, scan_ranges=(*PARAMETERS.scan_ranges, sol)))


def test_a_change_for_which_an_instrument_came_in_between_is_neither_approved_nor_made() -> None:
    world = with_sol()
    for proposal in ("p1", "p2"):
        proposed(world, PARAMETERS, proposal=proposal)
    approved(world)
    world.ok(ListInstrument(instrument=perpetual(InstrumentId("SOL-PERP"), FeedId("SOL"), 1, 1)))
    assert world.reason(ApproveProposal(proposal="p2"), BERT) == Reason.TERM_OUT_OF_RANGE.name
    world.wait(DAY_MS)
    assert row(world).state is ProposalState.LAPSED
    assert world.state.founded.parameters_version == 1


# ---------------------------------------------------------------------------------------------------- the time


def test_a_proposal_expires_after_a_week() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    assert world.wait(7 * DAY_MS - 1).next_due_ms == START_MS + 7 * DAY_MS
    assert row(world).state is ProposalState.OPEN
    assert kinds_of(world.wait(1)) == [Kind.PROPOSAL_ENDED.name]
    assert row(world).state is ProposalState.EXPIRED


def test_an_approval_that_comes_with_the_expiry_is_too_late() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    world.now_ms += 7 * DAY_MS
    outcome = world.do(ApproveProposal(proposal="p1"), BERT)
    assert outcome.results[0].reason == Reason.PROPOSAL_ENDED.name
    assert row(world).state is ProposalState.EXPIRED


def test_an_approval_expires_too_when_the_house_slept_through_it() -> None:
    world = empty_house()
    proposed(world, LOOSER)
    approved(world)
    world.wait(8 * DAY_MS)
    assert (row(world).state, row(world).ended_reason) == (ProposalState.EXPIRED, "after approved")
    assert world.state.parameters == PARAMETERS


def test_nothing_takes_effect_while_a_loss_is_divided() -> None:
    world = two_traders(1_200 * USD)
    world.deposit(BOB, 20_000 * USD)
    assert world.trade(ALICE, BOB, 900, 80_000).accepted
    world.prices(BTC=60_000, ETH=2_000)
    proposed(world, TIGHTER, immediate=True)
    approved(world)
    assert world.state.parameters == PARAMETERS
    world.wait(HOUR_MS)
    assert world.state.parameters == TIGHTER


# ---------------------------------------------------------------------------------------------------- tightening


def test_only_parameters_that_are_numbers_have_a_direction() -> None:
    numbers = {f.name for f in fields(Parameters) if isinstance(f.default, int)}
    assert set(SAFE_SIDE) < numbers


def with_number(name: str, number: int) -> Parameters:
    change: dict[str, Any] = {name: number}
    return replace(PARAMETERS, **change)


@pytest.mark.parametrize("name", sorted({f.name for f in fields(Parameters) if isinstance(f.default, int)}))
def test_a_number_tightens_to_its_safe_side_only(name: str) -> None:
    base, up, down = (with_number(name, number) for number in (1_000, 1_001, 999))
    assert is_tightening(base, up) is (SAFE_SIDE.get(name) == UP)
    assert is_tightening(base, down) is (SAFE_SIDE.get(name) == -UP)


@pytest.mark.parametrize("name", ["breaker_move_bp", "breaker_drawdown_bp", "breaker_liquidation_bp"])
def test_switching_a_trigger_on_tightens_and_switching_it_off_does_not(name: str) -> None:
    on, off = with_number(name, 1), with_number(name, 0)
    assert is_tightening(off, on)
    assert not is_tightening(on, off)


RANGE, OFFSET = PARAMETERS.scan_ranges, PARAMETERS.offsets[0]


@pytest.mark.parametrize(
    ("before", "after", "tightens"),
    [
        ((0, 0), (0, 5), True),
        ((0, 5), (0, 0), False),
        ((3, 5), (3, 4), True),
        ((3, 5), (2, 5), True),
        ((3, 5), (2, 4), True),
        ((3, 5), (4, 5), False),
        ((3, 5), (3, 6), False),
        ((3, 5), (2, 6), False),
    ],
)
def test_lower_caps_of_open_notional_tighten_and_none_at_all_loosen(
    before: tuple[int, int], after: tuple[int, int], tightens: bool
) -> None:
    old, new = (
        replace(RANGE[0], open_notional_lower_minor=lower, open_notional_upper_minor=upper)
        for lower, upper in (before, after)
    )
    now, then = (replace(PARAMETERS, scan_ranges=(one, RANGE[1])) for one in (old, new))
    assert is_tightening(now, then) is tightens


@pytest.mark.parametrize(
    ("change", "tightens"),
    [
        ({}, False),
        ({"scan_ranges": (replace(RANGE[0], move_bp=1_301), RANGE[1])}, True),
        ({"scan_ranges": (replace(RANGE[0], move_bp=1_299), RANGE[1])}, False),
        ({"scan_ranges": (replace(RANGE[0], move_bp=1_301), replace(RANGE[1], move_bp=1))}, False),
        ({"scan_ranges": RANGE[:1]}, False),
        ({"scan_ranges": (*RANGE, ScanRange(underlying=FeedId("SOL"), move_bp=9_000))}, False),
        ({"offsets": ()}, True),
        ({"offsets": (replace(OFFSET, rate_bp=4_999),)}, True),
        ({"offsets": (Offset(first=ETH_FEED, second=BTC, rate_bp=4_999),)}, True),
        ({"offsets": (replace(OFFSET, rate_bp=5_001),)}, False),
        ({"offsets": (Offset(first=BTC, second=FeedId("SOL"), rate_bp=0),)}, False),
        ({"requirement_bp": 13_000, "pool_rate_bp": 600}, True),
        ({"requirement_bp": 13_000, "pool_rate_bp": 400}, False),
        ({"requirement_bp": 13_000, "trade_fee_bp": 3}, False),
        ({"margin_model": "other"}, False),
    ],
    ids=str,
)
def test_a_change_tightens_if_all_of_it_does(change: dict[str, Any], tightens: bool) -> None:
    assert is_tightening(PARAMETERS, replace(PARAMETERS, **change)) is tightens


# -------------------------------------------------------------------------------- any other change (rulebook §2)

NEW = MemberId("new")
ADMIT = AdmitMember(member=NEW, name="New")
DELTA = SourceId("delta")


def proposed_change(world: World, command: Command = ADMIT, proposal: str = "c1") -> Outcome:
    return world.ok(proposing_change(command, proposal), ANNA)


def change(world: World, proposal: str = "c1") -> ChangeProposal:
    return world.state.change_proposals[proposal]


GOVERNED_COMMANDS: tuple[Command, ...] = (
    ListAsset(asset=replace(ETHER, id=AssetId("WETH"))),
    ListInstrument(instrument=perpetual(InstrumentId("BTC-NEW"), BTC, 100, 3)),
    ADMIT,
    ReinstateMember(member=MemberId("dex"), reason="answered"),
    RegisterSource(source=DELTA, public_key=public_hex(source_key(DELTA))),
    RetireSource(source=SOURCES[0]),
    RecordNonDefaultLoss(asset=USDC, amount_minor=1, reason="theft"),
    WindDown(reason="nobody is left to pay"),
    DeclareDefault(member=MemberId("dex"), reason="its protocol was exploited"),
    ImportHistory(underlying=BTC, first_day="2020-01-01", moves_ppm=(-20_000,)),
    GroupMember(member=MemberId("dex"), group="north"),
    SetJurisdiction(member=MemberId("dex"), jurisdiction="CH"),
    GrantRegulator(regulator=RegulatorId("rita"), jurisdictions=("CH", "DE")),
)


def test_these_are_all_the_commands_that_take_two_administrators() -> None:
    assert {type(command) for command in GOVERNED_COMMANDS} == set(GOVERNED)


@pytest.mark.parametrize("command", GOVERNED_COMMANDS, ids=lambda command: type(command).__name__)
def test_a_governed_command_is_refused_by_itself_and_done_by_two(command: Command) -> None:
    world = ruined() if isinstance(command, WindDown) else two_traders()
    if isinstance(command, ReinstateMember):
        world.ok(SuspendMember(member=command.member, reason="why"), ANNA)
    (result,) = world.send(command, ANNA).results
    assert result.reason == Reason.TWO_ADMINISTRATORS_NEEDED.name
    assert f"ProposeChange of {type(command).__name__}" in result.detail
    before = rows_of(world.state)
    outcome = proposed_change(world, command)
    assert kinds_of(outcome) == [Kind.CHANGE_PROPOSED.name]
    after = rows_of(world.state) | {"change_proposals": before["change_proposals"]}
    assert after == before
    assert kinds_of(approved(world, "c1"))[0] == Kind.CHANGE_APPROVED.name
    assert (change(world).state, change(world).approved_by) == (ProposalState.IN_FORCE, BERT)
    done = [entry for entry in world.entries if entry.request_id == world.entries[-1].request_id]
    assert (done[0].kind, len(done) > 1) == (Kind.CHANGE_APPROVED, True)


def test_a_house_is_set_up_by_one() -> None:
    world = empty_house()
    assert world.state.cycle is None
    world.send(ADMIT, "set-up")
    assert NEW in world.state.members


def test_the_first_snapshot_ends_the_set_up() -> None:
    world = two_traders()
    assert world.state.newest_cycle.number == 1
    assert world.send(ADMIT, "set-up").results[0].reason == Reason.TWO_ADMINISTRATORS_NEEDED.name


def test_a_proposal_says_what_is_to_be_done_in_canonical_text() -> None:
    world = two_traders()
    proposed_change(world)
    row = change(world)
    assert (row.command, row.body, row.reason) == ("AdmitMember", '{"member":"new","name":"New"}', "a reason")
    assert (row.proposed_by, row.proposed_ms, row.expires_ms) == (
        ANNA,
        world.now_ms,
        world.now_ms + 7 * DAY_MS,
    )


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("Tick", "{}"),
        ("SuspendMember", '{"member":"dex","reason":"why"}'),
        ("FundHouse", '{"amount_minor":"1","into":"capital"}'),
        ("AdmitMember", ""),
        ("AdmitMember", '{"member":"new"}'),
        ("AdmitMember", '{"member": "new", "name": "New"}'),
        ("AdmitMember", '{"name":"New","member":"new"}'),
        ("AdmitMember", '{"member":"new","name":"New","status":"active"}'),
        ("AdmitMember", "[" * 9_999),
        ("AdmitMember", " " * (BODY_CHARS_MAX + 1)),
    ],
    ids=lambda value: value[:40],
)
def test_what_is_no_canonical_text_of_a_governed_command_is_refused(name: str, body: str) -> None:
    command = ProposeChange(proposal="c1", command=name, body=body, reason="why")
    assert two_traders().reason(command, ANNA) == Reason.CHANGE_MALFORMED.name


def test_the_longest_body_is_read() -> None:
    body = to_text(replace(ADMIT, name="x" * (BODY_CHARS_MAX - len(to_text(replace(ADMIT, name=""))))))
    assert len(body) == BODY_CHARS_MAX
    command = ProposeChange(proposal="c1", command="AdmitMember", body=body, reason="why")
    assert two_traders().reason(command, ANNA) == Reason.NAME_MALFORMED.name


def test_who_proposes_what_under_which_name_is_checked_first() -> None:
    world = two_traders()
    good = proposing_change(ADMIT, "c1")
    assert world.reason(good, "member/dex") == Reason.NOT_AN_ADMINISTRATOR.name
    assert world.reason(replace(good, proposal="C 1"), ANNA) == Reason.NAME_MALFORMED.name
    assert world.reason(replace(good, reason=""), ANNA) == Reason.REASON_MALFORMED.name
    again = AdmitMember(member=MemberId("dex"), name="Dex")
    assert world.reason(proposing_change(again, "c1"), ANNA) == Reason.ALREADY_EXISTS.name


def test_proposals_of_both_kinds_share_their_names() -> None:
    world = two_traders()
    proposed_change(world, proposal="p1")
    assert world.reason(proposing(LOOSER), ANNA) == Reason.ALREADY_EXISTS.name
    proposed(world, LOOSER, proposal="p2")
    assert world.reason(proposing_change(ADMIT, "p2"), ANNA) == Reason.ALREADY_EXISTS.name


def test_a_change_takes_a_second_administrator_and_is_done_once() -> None:
    world = two_traders()
    proposed_change(world)
    assert world.reason(ApproveProposal(proposal="c1"), ANNA) == Reason.SAME_ADMINISTRATOR.name
    assert world.reason(ApproveProposal(proposal="c1"), "member/dex") == Reason.NOT_AN_ADMINISTRATOR.name
    assert world.reason(ApproveProposal(proposal="c2"), BERT) == Reason.PROPOSAL_UNKNOWN.name
    approved(world, "c1")
    assert world.reason(ApproveProposal(proposal="c1"), CARL) == Reason.PROPOSAL_ENDED.name


def test_a_refusal_of_the_command_is_the_answer_and_leaves_the_proposal_open() -> None:
    """Two propose the same; the second approval meets a member that is there already."""
    world = two_traders()
    proposed_change(world, proposal="c1")
    proposed_change(world, proposal="c2")
    approved(world, "c1")
    assert world.reason(ApproveProposal(proposal="c2"), BERT) == Reason.ALREADY_EXISTS.name
    assert change(world, "c2").state is ProposalState.OPEN


def test_a_change_is_withdrawn_or_rejected() -> None:
    world = two_traders()
    for proposal, by, state in (
        ("c1", ANNA, ProposalState.WITHDRAWN),
        ("c2", BERT, ProposalState.REJECTED),
    ):
        proposed_change(world, proposal=proposal)
        world.ok(RejectProposal(proposal=proposal, reason="not now"), by)
        row = change(world, proposal)
        assert (row.state, row.ended_by, row.ended_reason) == (state, by, "not now")
        assert world.reason(ApproveProposal(proposal=proposal), CARL) == Reason.PROPOSAL_ENDED.name
    assert NEW not in world.state.members


def test_a_change_that_nobody_approves_expires() -> None:
    world = two_traders()
    assert proposed_change(world).next_due_ms == world.now_ms + 7 * DAY_MS
    world.wait(7 * DAY_MS - 1)
    assert change(world).state is ProposalState.OPEN
    outcome = world.wait(1)
    assert kinds_of(outcome) == [Kind.PROPOSAL_ENDED.name]
    assert (change(world).state, outcome.next_due_ms) == (ProposalState.EXPIRED, None)


def test_an_approval_at_the_very_end_is_too_late() -> None:
    world = two_traders()
    proposed_change(world)
    world.now_ms += 7 * DAY_MS
    outcome = world.do(ApproveProposal(proposal="c1"), BERT)
    assert outcome.results[0].reason == Reason.PROPOSAL_ENDED.name


def test_both_kinds_expire_in_the_order_of_their_names() -> None:
    world = two_traders()
    proposed_change(world, proposal="b")
    proposed(world, LOOSER, proposal="a")
    proposed(world, LOOSER, proposal="c")
    outcome = world.wait(7 * DAY_MS)
    ended = [event.subject for event in outcome.events if event.kind == "PROPOSAL_ENDED"]
    assert ended == ["a expired", "b expired", "c expired"]
