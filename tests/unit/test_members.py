"""The life of a member: application, suspension, leaving, and what it stays liable for (rulebook §2, §11.7)."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from re import findall

import pytest

from clearing.attest.figures import compute, statement_of
from clearing.attest.statement import Journal, Resources
from clearing.decide import membership, standing
from clearing.decide.administrators import REASON_CHARS_MAX
from clearing.decide.membership import DISPLAY_NAME_MAX, _bonds
from clearing.decide.standing import ended_refusal
from clearing.default.capped_period import add_business_days
from clearing.default.placement import providers_for
from clearing.default.preview import preview
from clearing.market.breakers import pool_short_minor
from clearing.model.commands import (
    AdmitMember,
    ApplyForMembership,
    Command,
    ContributeToPool,
    FoundHouse,
    GroupMember,
    LeaveHouse,
    LinkAccounts,
    ListInstrument,
    NewTrade,
    OpenAccount,
    PayDue,
    RecordRecovery,
    RegisterProvider,
    RegisterSource,
    ReinstateMember,
    RequestWithdrawal,
    SetBreaker,
    SizePool,
    SubmitTrades,
    SuspendMember,
    Tick,
    UnlinkAccounts,
)
from clearing.model.ids import (
    AccountKey,
    DefaultId,
    FeedId,
    InstrumentId,
    MemberId,
    ParticipantId,
    account_key,
    house_account,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason, Status
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    AccountStatus,
    BreakerState,
    Instrument,
    InstrumentKind,
    Member,
    MemberStatus,
    Parameters,
    ScanRange,
    Stage,
)
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BOB,
    BTC_PERP,
    DESK,
    ETH,
    PARAMETERS,
    SETTLEMENT,
    SOURCES,
    START_MS,
    USD,
    USDC,
    World,
    contribute,
    empty_house,
    kinds_of,
    pay_out,
    public_hex,
    size_pool,
    source_key,
    two_traders,
    with_provider,
)

DEX, NEW = MemberId("dex"), MemberId("new")
W, X, Y, Z = (MemberId(name) for name in "wxyz")
OIL = InstrumentId("OIL-PERP")
D1, D2, D3 = (DefaultId(name) for name in ("d1", "d2", "d3"))


def status(world: World, member: MemberId) -> MemberStatus:
    return world.state.members[member].status


def suspended(world: World, member: MemberId = DEX) -> World:
    world.ok(SuspendMember(member=member, reason="no answer to our questions"), ANNA)
    return world


def leave(member: MemberId) -> LeaveHouse:
    return LeaveHouse(member=member)


# -------------------------------------------------------------------------------------------------- application


def applied() -> World:
    world = two_traders()
    outcome = world.ok(ApplyForMembership(member=NEW, name="New Protocol"), "new")
    assert kinds_of(outcome) == [Kind.MEMBER_APPLIED.name]
    return world


def test_an_applicant_is_on_record_and_has_no_account() -> None:
    world = applied()
    assert world.state.members[NEW] == Member(id=NEW, name="New Protocol", status=MemberStatus.APPLIED)
    assert house_account(NEW) not in world.state.accounts


def test_an_admitted_applicant_is_a_member_with_a_house_account() -> None:
    world = applied()
    world.ok(AdmitMember(member=NEW, name="New"))
    assert world.state.members[NEW] == Member(id=NEW, name="New")
    world.deposit(house_account(NEW), 1)
    world.account("new", "a")


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (OpenAccount(member=NEW, account="a", participant=ParticipantId("a")), Reason.MEMBER_NOT_ADMITTED),
        (ContributeToPool(member=NEW, amount_minor=1), Reason.MEMBER_NOT_ADMITTED),
        (leave(NEW), Reason.MEMBER_NOT_ADMITTED),
        (PayDue(member=NEW), Reason.NOTHING_DUE),
        (RegisterProvider(account=house_account(NEW), capacity_minor=1), Reason.ACCOUNT_UNKNOWN),
        (ApplyForMembership(member=NEW, name="Again"), Reason.ALREADY_EXISTS),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else type(value).__name__,
)
def test_an_applicant_does_nothing_yet(command: Command, reason: Reason) -> None:
    assert applied().reason(command) == reason.name


def test_an_applicant_cannot_be_suspended_or_reinstated() -> None:
    world = applied()
    assert world.reason(SuspendMember(member=NEW, reason="why"), ANNA) == Reason.MEMBER_NOT_ADMITTED.name
    assert world.reason(ReinstateMember(member=NEW, reason="why")) == Reason.MEMBER_NOT_ADMITTED.name


def test_nothing_is_required_of_an_applicant_and_it_bears_nothing() -> None:
    world = empty_house(replace(PARAMETERS, pool_floor_minor=50))
    world.ok(AdmitMember(member=DEX, name="Dex"))
    world.ok(ApplyForMembership(member=NEW, name="New"))
    size_pool(world)
    world.prices(BTC=80_000, ETH=2_000)
    assert [one.required_contribution_minor for one in world.state.members.values()].count(0) == 1
    assert preview(world.state, NEW, None).loss_minor == 0


@pytest.mark.parametrize("name", ["", "a" * (DISPLAY_NAME_MAX + 1), "two\nlines"], ids=ascii)
def test_an_applicant_has_a_name_that_people_can_read(name: str) -> None:
    assert two_traders().reason(ApplyForMembership(member=NEW, name=name)) == Reason.NAME_MALFORMED.name


@pytest.mark.parametrize("member", ["", "New", "link", "a/b"])
def test_an_applicant_has_a_name_that_accounts_can_carry(member: str) -> None:
    command = ApplyForMembership(member=MemberId(member), name="x")
    assert two_traders().reason(command) == Reason.NAME_MALFORMED.name


def test_a_known_member_does_not_apply_again() -> None:
    assert two_traders().reason(ApplyForMembership(member=DEX, name="Dex")) == Reason.ALREADY_EXISTS.name


# --------------------------------------------------------------------------------------------------- suspension


def test_one_administrator_suspends_and_two_reinstate() -> None:
    world = suspended(two_traders())
    row = world.state.members[DEX]
    assert (row.status, row.suspended_for) == (MemberStatus.SUSPENDED, "no answer to our questions")
    back = ReinstateMember(member=DEX, reason="answered")
    assert world.send(back, BERT).results[0].reason == Reason.TWO_ADMINISTRATORS_NEEDED.name
    world.ok(back)
    assert (status(world, DEX), world.state.members[DEX].suspended_for) == (MemberStatus.ACTIVE, "")
    assert [entry.actor for entry in world.entries[-3:]] == [ANNA, BERT, BERT]


def test_what_suspends_and_reinstates_is_refused_by_the_status() -> None:
    world = two_traders()
    suspend, back = SuspendMember(member=DEX, reason="why"), ReinstateMember(member=DEX, reason="why")
    assert world.reason(suspend, "member/dex") == Reason.NOT_AN_ADMINISTRATOR.name
    assert world.reason(replace(suspend, member=NEW), ANNA) == Reason.MEMBER_UNKNOWN.name
    assert world.reason(replace(suspend, reason=" "), ANNA) == Reason.REASON_MALFORMED.name
    too_long = "x" * (REASON_CHARS_MAX + 1)
    assert world.reason(replace(suspend, reason=too_long), ANNA) == Reason.REASON_MALFORMED.name
    assert world.reason(replace(back, member=NEW)) == Reason.MEMBER_UNKNOWN.name
    assert world.reason(replace(back, reason="")) == Reason.REASON_MALFORMED.name
    assert world.reason(back) == Reason.MEMBER_NOT_SUSPENDED.name
    suspended(world)
    assert world.reason(suspend, ANNA) == Reason.MEMBER_SUSPENDED.name


def test_a_suspended_member_reduces_but_takes_no_new_risk() -> None:
    world = two_traders()
    assert world.trade(ALICE, BOB, 100, 80_000).accepted
    suspended(world)
    (refused,) = world.trade(ALICE, BOB, 1, 80_000).results
    assert (refused.reason, refused.detail) == (Reason.MEMBER_SUSPENDED.name, "dex")
    assert world.trade(BOB, ALICE, 100, 80_000).accepted


def with_zoe() -> World:
    """Alice is long 100 lots at dex against bob; zoe at other has money and no position."""
    world = two_traders()
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    world.deposit(world.account("other", "zoe"), 2_000 * USD)
    assert world.trade(ALICE, BOB, 100, 80_000).accepted
    return world


def half(buyer: AccountKey, seller: AccountKey, lots: int, name: str) -> NewTrade:
    return NewTrade(
        trade_id=name,
        instrument=BTC_PERP,
        buyer=buyer,
        seller=seller,
        lots=lots,
        price_ticks=80_000,
        executed_ms=START_MS,
        trade_ref=name,
    )


ZOE = account_key(MemberId("other"), "zoe")


@pytest.mark.parametrize("order", [(DEX, MemberId("other")), (MemberId("other"), DEX)])
def test_a_suspended_member_reduces_against_another_which_may_take_the_risk(
    order: tuple[MemberId, MemberId],
) -> None:
    world = suspended(with_zoe())
    out = half(ZOE, ALICE, 100, "out")
    statuses = [world.do(SubmitTrades(member=m, trades=(out,))).results[0].status for m in order]
    assert statuses == [Status.PENDING, Status.ACCEPTED]
    assert (world.state.position(ALICE, BTC_PERP), world.state.position(ZOE, BTC_PERP)) == (0, 100)


def test_a_suspended_member_cannot_be_drawn_into_risk_by_another() -> None:
    world = suspended(with_zoe())
    more = half(ALICE, ZOE, 1, "in")
    world.do(SubmitTrades(member=DEX, trades=(more,)))
    (refused,) = world.do(SubmitTrades(member=MemberId("other"), trades=(more,))).results
    assert refused.reason == Reason.MEMBER_SUSPENDED.name


def test_of_a_member_in_default_only_its_own_side_must_reduce() -> None:
    world = with_zoe()
    failed = replace(world.state.members[DEX], status=MemberStatus.DEFAULTED)
    world.state = replace(world.state, members=world.state.members.set(DEX, failed))
    out, more = half(ZOE, ALICE, 100, "out"), half(BOB, ZOE, 300, "in")
    world.do(SubmitTrades(member=MemberId("other"), trades=(out, more)))
    outcome = world.do(SubmitTrades(member=DEX, trades=(out, more)))
    assert [one.reason for one in outcome.results] == ["", Reason.MEMBER_NOT_ACTIVE.name]
    assert world.state.position(ZOE, BTC_PERP) == 100


@pytest.mark.parametrize(
    "command",
    [
        OpenAccount(member=DEX, account="more", participant=ParticipantId("more")),
        RegisterProvider(account=ALICE, capacity_minor=1),
        LinkAccounts(
            member=DEX,
            participant=ParticipantId("alice"),
            accounts=(ALICE, account_key(DEX, "alice2")),
        ),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_suspended_member_takes_on_nothing_new(command: Command) -> None:
    world = two_traders()
    world.account("dex", "alice2", "alice")
    assert suspended(world).reason(command) == Reason.MEMBER_SUSPENDED.name


def test_a_suspended_member_deposits_pays_in_and_withdraws_what_is_free() -> None:
    world = suspended(two_traders())
    world.deposit(ALICE, 1)
    contribute(world, dex=1)
    world.ok(RequestWithdrawal(withdrawal="w", account=ALICE, asset=USDC, amount_minor=2_000 * USD + 1))


def test_a_suspended_member_may_give_notice_of_a_link() -> None:
    world = two_traders()
    twin = world.account("dex", "alice2", "alice")
    world.ok(LinkAccounts(member=DEX, participant=ParticipantId("alice"), accounts=(ALICE, twin)))
    suspended(world).ok(UnlinkAccounts(member=DEX, participant=ParticipantId("alice")))


def test_a_suspended_provider_is_not_asked() -> None:
    world = with_provider(two_traders())
    assert [one.account for one in providers_for(world.state, frozenset())] == [DESK]
    suspended(world, MemberId("desk"))
    assert providers_for(world.state, frozenset()) == []


# ------------------------------------------------------------------------------------------------------ leaving

PARTS = Parameters(
    margin_model="scan",
    scan_ranges=(ScanRange(underlying=FeedId("OIL"), move_bp=1_000),),
    trade_fee_bp=0,
    pool_rate_bp=0,
    pool_floor_minor=100,
    replenishment_cap_bp=0,
)


def four_members(parameters: Parameters = PARTS) -> World:
    """w and x have a ``long`` and a ``short`` client with 2,000; y and z none. 100 in the pool each; oil at 1,000."""
    world = World()
    world.ok(FoundHouse(house="oilhouse", settlement=SETTLEMENT, parameters=parameters))
    feed = FeedId("OIL")
    oil = Instrument(
        id=OIL,
        kind=InstrumentKind.PERPETUAL,
        underlying=feed,
        feed=feed,
        tick_value_minor=1,
        price_decimals=0,
        lot_decimals=0,
    )
    world.ok(ListInstrument(instrument=oil))
    for source in SOURCES:
        world.ok(RegisterSource(source=source, public_key=public_hex(source_key(source))))
    for member in (W, X, Y, Z):
        world.ok(AdmitMember(member=member, name=member))
    for member in (W, X):
        for side in ("long", "short"):
            world.deposit(world.account(member, side, f"{member}-{side}"), 2_000)
    size_pool(world)
    contribute(world, w=100, x=100, y=100, z=100)
    world.prices(OIL=1_000)
    return world


def fails(world: World, member: MemberId, from_ticks: int, loss_minor: int) -> Outcome:
    """16 lots, R of which is nearly all that ``long`` has; then oil falls until it owes ``loss_minor``."""
    long, short = account_key(member, "long"), account_key(member, "short")
    assert world.trade(long, short, 16, from_ticks, OIL).accepted
    return world.prices(OIL=from_ticks - (2_000 + loss_minor) // 16)


def x_failed() -> World:
    """x owed 80, which its own contribution paid: no survivor was drawn on, but the capped period runs."""
    world = four_members()
    fails(world, X, 1_000, 80)
    world.wait(HOUR_MS)
    assert [(d.tier, d.payer, d.amount_minor) for d in world.state.defaults[D1].draws] == [(2, "x", 80)]
    assert status(world, X) is MemberStatus.DEFAULTED
    return world


def draws(world: World, default: DefaultId) -> list[tuple[int, str, int]]:
    return [(d.tier, d.payer, d.amount_minor) for d in world.state.defaults[default].draws]


def test_a_member_that_nothing_binds_leaves_with_its_contribution_at_once() -> None:
    world = four_members()
    outcome = world.ok(leave(Y))
    assert kinds_of(outcome) == [Kind.MEMBER_LEFT.name, Kind.MEMBER_RELEASED.name]
    assert outcome.events[-1].amount_minor == 100
    assert (world.state.pool(Y), world.state.cash(house_account(Y))) == (0, 100)
    row = world.state.members[Y]
    assert (row.status, row.left_ms, row.required_contribution_minor) == (MemberStatus.LEFT, world.now_ms, 0)
    world.ok(RequestWithdrawal(withdrawal="w", account=house_account(Y), asset=USDC, amount_minor=100))
    pay_out(world, "w")
    fails(world, X, 1_000, 240)
    world.wait(HOUR_MS)
    assert draws(world, D1) == [(2, "x", 100), (5, "w", 70), (5, "z", 70)]


def test_a_member_that_left_in_a_capped_period_is_drawn_on_until_it_ends_and_then_released() -> None:
    """y leaves a day after x failed; five days later w owes 192, of which its contribution pays 100 and y and z 46
    each. That default makes the period longer; when it is over y gets back the 54 that are left.
    """
    world = x_failed()
    world.wait(DAY_MS)
    outcome = world.ok(leave(Y))
    assert kinds_of(outcome) == [Kind.MEMBER_LEFT.name]
    period = world.state.capped_period
    assert period is not None
    assert outcome.next_due_ms == period.ends_ms + 1
    assert world.state.pool(Y) == 100
    world.wait(5 * DAY_MS)
    world.prices(OIL=870)
    declared_ms = world.now_ms + 1_000
    fails(world, W, 870, 192)
    assert world.state.defaults[D2].survivors == (W, Y, Z)
    world.wait(HOUR_MS)
    assert draws(world, D2) == [(2, "w", 100), (5, "y", 46), (5, "z", 46)]
    longer = world.state.capped_period
    assert longer is not None
    assert (longer.begins_ms, longer.ends_ms) == (period.begins_ms, add_business_days(declared_ms, 20))
    assert kinds_of(world.wait(longer.ends_ms - world.now_ms)) == ["OUTAGE_BEGAN"]
    assert world.state.pool(Y) == 54
    released = world.wait(1)
    assert [(event.kind, event.subject, event.amount_minor) for event in released.events] == [
        (Kind.MEMBER_RELEASED.name, "y", 54)
    ]
    assert (world.state.pool(Y), world.state.cash(house_account(Y))) == (0, 54)
    assert released.next_due_ms is None
    world.prices(OIL=733)
    world.ok(RequestWithdrawal(withdrawal="w", account=house_account(Y), asset=USDC, amount_minor=54))


def test_a_member_that_left_is_assessed_and_its_unpaid_assessment_is_a_default() -> None:
    """w owes 400: its own 100, y and z 100 each from the pool, and 50 each that they are called for."""
    world = x_failed()
    world.ok(leave(Y))
    world.prices(OIL=870)
    fails(world, W, 870, 400)
    world.wait(HOUR_MS)
    assert draws(world, D2) == [
        (2, "w", 100),
        (5, "y", 100),
        (5, "z", 100),
        (7, "y", 50),
        (7, "z", 50),
    ]
    for member in (Y, Z):
        world.deposit(house_account(member), 30 if member == Y else 50)
    world.wait(DAY_MS)
    assert status(world, Y) is MemberStatus.DEFAULTED
    assert draws(world, D3) == [(7, "z", 20)]


def test_a_member_that_left_pays_its_assessment_and_stays_what_it_is() -> None:
    world = x_failed()
    world.ok(leave(Y))
    world.prices(OIL=870)
    fails(world, W, 870, 400)
    world.wait(HOUR_MS)
    world.deposit(house_account(Y), 50)
    assert [one.member for one in world.state.assessments.values()] == [Z]
    assert status(world, Y) is MemberStatus.LEFT


def test_a_member_that_leaves_while_a_loss_is_open_bears_it() -> None:
    """x owes 240 and y leaves before the hour is over: 100 of x, and 70 of w, y and z each, rounded."""
    world = four_members()
    fails(world, X, 1_000, 240)
    assert kinds_of(world.ok(leave(Y))) == [Kind.MEMBER_LEFT.name]
    world.wait(HOUR_MS)
    paid = {payer: amount for tier, payer, amount in draws(world, D1) if tier == 5}
    assert sorted(paid.values()) == [46, 47, 47]
    assert world.state.pool(Y) == 100 - paid["y"]
    assert world.state.capped_period is not None
    world.wait(world.state.capped_period.ends_ms + 1 - world.now_ms)
    assert world.state.cash(house_account(Y)) == 100 - paid["y"]


def test_a_loss_that_was_answered_releases_who_left_meanwhile() -> None:
    """No waterfall ran; the capped period began at T0 all the same, and its end is the end of the liability."""
    world = four_members()
    fails(world, X, 1_000, 240)
    world.ok(leave(Y))
    world.deposit(house_account(X), 240)
    assert (world.state.pool(Y), world.state.cash(house_account(Y))) == (100, 0)
    period = world.state.capped_period
    assert period is not None
    world.wait(period.ends_ms - world.now_ms)
    assert world.state.pool(Y) == 100
    world.wait(1)
    assert (world.state.pool(Y), world.state.cash(house_account(Y))) == (0, 100)


def test_after_the_capped_period_a_default_is_none_of_its_business() -> None:
    world = x_failed()
    world.ok(leave(Y))
    assert world.state.capped_period is not None
    world.wait(world.state.capped_period.ends_ms + 1 - world.now_ms)
    world.prices(OIL=870)
    fails(world, W, 870, 192)
    assert world.state.defaults[D2].survivors == (W, Z)


def test_an_unpaid_assessment_holds_the_contribution_back_beyond_the_period() -> None:
    """In a period of a day, y is called for 50 by an event of its last hour."""
    world = four_members(replace(PARTS, capped_period_business_days=1, assessment_ms=3 * DAY_MS))
    fails(world, X, 1_000, 80)
    world.wait(HOUR_MS)
    world.ok(leave(Y))
    world.prices(OIL=870)
    fails(world, W, 870, 400)
    world.wait(HOUR_MS)
    assert world.state.capped_period is not None
    world.wait(world.state.capped_period.ends_ms + 1 - world.now_ms)
    assert world.state.members[Y].required_contribution_minor == 100
    outcome = world.deposit(house_account(Y), 50)
    assert kinds_of(outcome)[-1] == Kind.MEMBER_RELEASED.name


def test_what_is_recovered_for_a_released_member_goes_on_to_its_house_account() -> None:
    world = four_members()
    fails(world, X, 1_000, 240)
    world.ok(leave(Y))
    world.wait(HOUR_MS)
    assert world.state.capped_period is not None
    world.wait(world.state.capped_period.ends_ms + 1 - world.now_ms)
    before = world.state.cash(house_account(Y))
    world.ok(RecordRecovery(default=D1, amount_minor=240))
    assert (world.state.pool(Y), world.state.cash(house_account(Y))) == (0, 100)
    assert before < 100


def test_a_member_that_left_starts_nothing() -> None:
    world = four_members()
    world.ok(leave(Y))
    house = house_account(Y)
    for command, reason in (
        (OpenAccount(member=Y, account="a", participant=ParticipantId("a")), Reason.MEMBER_LEFT),
        (ContributeToPool(member=Y, amount_minor=1), Reason.MEMBER_LEFT),
        (RegisterProvider(account=house, capacity_minor=1), Reason.MEMBER_LEFT),
        (leave(Y), Reason.MEMBER_LEFT),
        (ReinstateMember(member=Y, reason="why"), Reason.MEMBER_LEFT),
        (ApplyForMembership(member=Y, name="y"), Reason.ALREADY_EXISTS),
        (AdmitMember(member=Y, name="y"), Reason.ALREADY_EXISTS),
        (leave(MemberId("nobody")), Reason.MEMBER_UNKNOWN),
    ):
        assert world.reason(command) == reason.name, command
    assert world.reason(SuspendMember(member=Y, reason="why"), ANNA) == Reason.MEMBER_LEFT.name


def test_a_member_that_left_neither_trades_nor_promises_to() -> None:
    world = with_zoe()
    other = MemberId("other")
    world.ok(RequestWithdrawal(withdrawal="w", account=ZOE, asset=USDC, amount_minor=2_000 * USD))
    pay_out(world, "w")
    world.ok(leave(other))
    out = half(ZOE, ALICE, 1, "out")
    (refused,) = world.do(SubmitTrades(member=other, trades=(out,))).results
    assert refused.reason == Reason.MEMBER_LEFT.name
    notice = UnlinkAccounts(member=other, participant=ParticipantId("zoe"))
    assert world.reason(notice) == Reason.LINK_UNKNOWN.name


def test_nothing_is_required_anew_of_who_left_and_the_pool_does_not_lack_it() -> None:
    world = x_failed()
    world.ok(leave(Y))
    parameters = replace(world.state.parameters, pool_floor_minor=300, breaker_drawdown_bp=1)
    charter = replace(world.state.founded, parameters=parameters)
    world.state = replace(world.state, charter=charter)
    world.ok(SizePool())
    required = {one.id: one.required_contribution_minor for one in world.state.members.values()}
    assert (required[Y], required[Z]) == (100, 300)
    assert pool_short_minor(world.state) == 2 * 200


def test_who_left_and_is_liable_counts_in_what_the_house_attests() -> None:
    world = x_failed()
    journal = Journal(
        origin="o", tree_size=world.state.size, root_hash=bytes(32), previous_tree_size=0, consistency=()
    )

    def resources() -> Resources:
        over = replace(journal, tree_size=world.state.size)
        computed = compute(world.state, over, blinding=bytes(32))
        return statement_of(world.state, "issuer", over, computed).resources

    before = resources()
    world.ok(leave(Y))
    after = resources()
    assert (before.pool_held_minor, before.assessments_available_minor) == (300, 600)
    assert after == before


def test_a_suspended_member_bears_losses_like_any_and_may_leave() -> None:
    world = suspended(x_failed(), Z)
    world.prices(OIL=870)
    fails(world, W, 870, 192)
    world.wait(HOUR_MS)
    assert draws(world, D2) == [(2, "w", 100), (5, "y", 46), (5, "z", 46)]
    world.ok(leave(Z))
    assert status(world, Z) is MemberStatus.LEFT


def test_no_way_leads_back_out_of_a_default() -> None:
    world = x_failed()
    for command, reason in (
        (ReinstateMember(member=X, reason="why"), Reason.MEMBER_NOT_ACTIVE),
        (leave(X), Reason.MEMBER_NOT_ACTIVE),
        (ApplyForMembership(member=X, name="x"), Reason.ALREADY_EXISTS),
        (AdmitMember(member=X, name="x"), Reason.ALREADY_EXISTS),
    ):
        assert world.reason(command) == reason.name, command
    assert world.reason(SuspendMember(member=X, reason="why"), ANNA) == Reason.MEMBER_NOT_ACTIVE.name
    world.ok(ApplyForMembership(member=MemberId("x2"), name="x"))
    world.ok(AdmitMember(member=MemberId("x2"), name="x"))


# ------------------------------------------------------------------------------------------- what has to end first


def holding(world: World) -> None:
    assert world.trade(account_key(X, "long"), account_key(X, "short"), 1, 1_000, OIL).accepted


def holding_in_the_house_account(world: World) -> None:
    world.deposit(house_account(X), 2_000)
    withdraw_all(world)
    half_of = NewTrade(
        trade_id="t",
        instrument=OIL,
        buyer=house_account(X),
        seller=account_key(W, "short"),
        lots=1,
        price_ticks=1_000,
        executed_ms=START_MS,
        trade_ref="t",
    )
    for member in (X, W):
        world.do(SubmitTrades(member=member, trades=(half_of,)))


def withdraw_all(world: World) -> None:
    for side in ("long", "short"):
        command = RequestWithdrawal(
            withdrawal=side, account=account_key(X, side), asset=USDC, amount_minor=2_000
        )
        world.ok(command)
        pay_out(world, side)


def linked(world: World) -> None:
    withdraw_all(world)
    twin = world.account("x", "twin", "x-long")
    accounts = (account_key(X, "long"), twin)
    world.ok(LinkAccounts(member=X, participant=ParticipantId("x-long"), accounts=accounts))


def held_withdrawal(world: World) -> None:
    withdraw_all(world)
    world.deposit(house_account(X), 10)
    world.ok(RequestWithdrawal(withdrawal="h", account=house_account(X), asset=USDC, amount_minor=10))


def waiting_half(world: World) -> None:
    withdraw_all(world)
    out = NewTrade(
        trade_id="t",
        instrument=OIL,
        buyer=account_key(X, "long"),
        seller=account_key(W, "short"),
        lots=1,
        price_ticks=1_000,
        executed_ms=START_MS,
        trade_ref="t",
    )
    world.do(SubmitTrades(member=X, trades=(out,)))


@pytest.mark.parametrize(
    ("bound", "detail"),
    [
        (lambda world: None, "the money of x/long"),
        (holding, "positions of x/long"),
        (holding_in_the_house_account, "positions of x/house"),
        (linked, "the link of x/long"),
        (held_withdrawal, "the withdrawal h"),
        (waiting_half, "the half x/t"),
    ],
    ids=["money", "position", "own position", "link", "withdrawal", "half"],
)
def test_a_member_leaves_only_with_nothing_open(bound: Callable[[World], None], detail: str) -> None:
    world = four_members()
    bound(world)
    (result,) = world.do(leave(X)).results
    assert (result.reason, result.detail) == (Reason.MEMBER_BOUND.name, detail)


def test_a_member_without_clients_money_may_leave() -> None:
    world = four_members()
    withdraw_all(world)
    world.ok(leave(X))


def test_a_member_that_answers_leaves_when_it_has_paid() -> None:
    """The other client of x won: its money goes first, then only the answer binds."""
    world = four_members()
    fails(world, X, 1_000, 240)
    winner = account_key(X, "short")
    won = world.state.cash(winner)
    assert world.do(leave(X)).results[0].detail == f"the money of {winner}"
    world.deposit(house_account(X), 240)
    world.ok(RequestWithdrawal(withdrawal="w", account=winner, asset=USDC, amount_minor=won))
    pay_out(world, "w")
    world.ok(leave(X))


def test_an_answer_binds_and_so_does_what_may_become_one() -> None:
    """x has one client left, which trades with a client of w and fails: only the default binds x then."""
    world = four_members()
    short = account_key(X, "short")
    world.ok(RequestWithdrawal(withdrawal="w", account=short, asset=USDC, amount_minor=2_000))
    pay_out(world, "w")
    deal = replace(
        half(account_key(X, "long"), account_key(W, "short"), 16, "deal"), instrument=OIL, price_ticks=1_000
    )
    for member in (X, W):
        world.do(SubmitTrades(member=member, trades=(deal,)))
    world.ok(SetBreaker(scope=OIL, state=BreakerState.HALTED, reason="why"), ANNA)
    world.prices(OIL=860)
    assert world.state.defaults[D1].stage is Stage.DECLARED
    assert list(_bonds(world.state, X))[-1] == "the default d1"
    for by in (ANNA, BERT):
        world.ok(SetBreaker(scope=OIL, state=BreakerState.OPEN, reason="why"), by)
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    assert world.do(leave(X)).results[0].detail == "the default d1"
    world.deposit(house_account(X), 240)
    world.ok(leave(X))


def test_an_unpaid_assessment_binds() -> None:
    world = x_failed()
    world.prices(OIL=870)
    fails(world, W, 870, 400)
    world.wait(HOUR_MS)
    assert world.do(leave(Y)).results[0].detail == "the assessment d2/y"
    world.deposit(house_account(Y), 50)
    world.ok(leave(Y))


def test_an_open_call_and_a_liquidation_bind() -> None:
    """R is 1,970 at 985 ticks and equity 1,760; at 970 M is 1,552 and equity 1,520. A halt holds the steps up."""
    world = four_members()
    long, short = account_key(X, "long"), account_key(X, "short")
    assert world.trade(long, short, 16, 1_000, OIL).accepted
    world.ok(SetBreaker(scope=OIL, state=BreakerState.HALTED, reason="why"), ANNA)
    for ticks, known in ((985, "calls"), (970, "liquidations")):
        world.prices(OIL=ticks)
        assert getattr(world.state, known)
        assert world.do(leave(X)).results[0].detail == f"what is called of {long}"


def test_a_debt_of_the_house_account_binds() -> None:
    """A trade that reduces at one percent below the mark leaves cash negative before any cycle calls for it."""
    world = two_traders()
    other = MemberId("other")
    world.ok(AdmitMember(member=other, name="Other"))
    own = house_account(other)
    world.deposit(own, 10 * 10**18, ETH)
    world.deposit(own, USD)
    for deal in (half(own, BOB, 100, "in"), replace(half(BOB, own, 100, "out"), price_ticks=79_200)):
        for member in (other, DEX):
            world.do(SubmitTrades(member=member, trades=(deal,)))
    assert world.state.cash(own) < 0
    assert world.do(leave(other)).results[0].detail == "what other/house owes"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (AccountStatus.ACTIVE, None),
        (AccountStatus.CLOSED_OUT, Reason.ACCOUNT_CLOSED_OUT),
        (AccountStatus.PORTED, Reason.ACCOUNT_PORTED),
    ],
)
def test_only_an_active_account_holds_anything_new(state: AccountStatus, reason: Reason | None) -> None:
    rejected = ended_refusal(replace(two_traders().state.accounts[ALICE], status=state))
    assert (rejected and rejected.reason) == reason


# affiliates ---------------------------------------------------------------------------------------


OTHER = MemberId("other")


def grouping(group: str, member: str = "other") -> GroupMember:
    return GroupMember(member=MemberId(member), group=group)


def test_two_administrators_group_a_member_and_it_can_stand_alone_again() -> None:
    world = two_traders()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    before = world.state.members[OTHER]
    assert before.group == ""
    assert world.send(grouping("north"), ANNA).results[0].reason == "TWO_ADMINISTRATORS_NEEDED"
    outcome = world.ok(grouping("north"))
    assert [event.kind for event in outcome.events] == ["CHANGE_APPROVED", "MEMBER_GROUPED"]
    assert world.state.members[OTHER] == replace(before, group="north")
    world.ok(SuspendMember(member=OTHER, reason="why"), ANNA)
    world.ok(ReinstateMember(member=OTHER, reason="why"))
    assert world.state.members[OTHER].group == "north"
    world.ok(grouping(""))
    assert world.state.members[OTHER] == before


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (grouping("north", "nobody"), Reason.MEMBER_UNKNOWN),
        (grouping("north", "applicant"), Reason.MEMBER_NOT_ADMITTED),
        *((grouping(name), Reason.NAME_MALFORMED) for name in ("North", "-n", "a" * 33, "a b", "ä", "a\n")),
    ],
)
def test_who_is_no_member_is_not_grouped_and_a_group_has_a_name_like_any(
    command: GroupMember, reason: Reason
) -> None:
    world = two_traders()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    world.ok(ApplyForMembership(member=MemberId("applicant"), name="Applicant"))
    assert world.reason(command) == reason.name
    world.ok(grouping("a" * 32))


def test_who_left_or_failed_can_be_grouped_for_its_loss_may_still_count() -> None:
    world = two_traders()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    world.ok(LeaveHouse(member=OTHER))
    world.ok(grouping("north"))
    assert world.state.members[OTHER].status is MemberStatus.LEFT


def test_every_reason_of_membership_is_tested_here() -> None:
    texts = [Path(module.__file__ or "").read_text(encoding="utf-8") for module in (membership, standing)]
    given = findall(r"Reason\.([A-Z_]+)", " ".join(texts))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given) <= set(tested)


def test_time_alone_changes_nothing_for_who_stays() -> None:
    world = x_failed()
    world.now_ms += 400 * DAY_MS
    assert kinds_of(world.ok(Tick())) == ["OUTAGE_BEGAN"], "nobody published, and that is all"
