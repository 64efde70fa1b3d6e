"""A long life of a house, in chapters, and the end of another: every command is accepted in them at least once.

What a test does with it: send the same requests to an engine, kill it, replay it, and compare the states.
"""

from dataclasses import replace

from clearing import chart
from clearing.model.commands import (
    AcceptPorting,
    AdmitMember,
    ApplyForMembership,
    ApproveProposal,
    CloseInOutage,
    DeclareDefault,
    GrantRegulator,
    GroupMember,
    ImportHistory,
    LeaveHouse,
    ListInstrument,
    MoveCash,
    NewTrade,
    PayDue,
    PlaceBid,
    ProposeParameters,
    PublishFunding,
    PullReport,
    RecordAttestation,
    RecordNonDefaultLoss,
    RecordRecovery,
    RecordReport,
    RegisterSource,
    ReinstateMember,
    RejectProposal,
    ReplaceLostAsset,
    RequestWithdrawal,
    RetireSource,
    RevokeCertificate,
    SetBreaker,
    SetJurisdiction,
    SettleWithdrawal,
    SubmitTrades,
    SuspendMember,
    UnlinkAccounts,
    WindDown,
    WithdrawBid,
)
from clearing.model.ids import (
    DefaultId,
    FeedId,
    MemberId,
    ParticipantId,
    RegulatorId,
    SourceId,
    account_key,
    house_account,
    single_set,
)
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    BreakerState,
    Form,
    MemberStatus,
    ReportAsked,
    Right,
    SignedReport,
    Stage,
)
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BOB,
    BTC_MAR,
    BTC_PERP,
    DESK,
    ETH,
    ETH_PERP,
    SOURCES,
    START_MS,
    USD,
    USDC,
    World,
    contribute,
    empty_house,
    fund,
    link,
    pay_out,
    public_hex,
    size_pool,
    source_key,
    with_provider,
)
from tests.unit.test_defaults import house_of_three, short_side_wins
from tests.unit.test_options import CALL, OPTION_PARAMETERS, option

D1, D2 = DefaultId("d1"), DefaultId("d2")
DEX, OTHER, GUEST = MemberId("dex"), MemberId("other"), MemberId("guest")
EVE, EVE_THERE = account_key(DEX, "eve"), account_key(OTHER, "eve")
MARKS = {"BTC": 80_000, "ETH": 2_000, "BTCVOL": 6_000}


def a_long_life() -> World:
    """From the charter over two defaults to an outage and out of it again."""
    world = opened()
    clients_trade(world)
    administrators_change(world)
    money_leaves_and_is_lost(world)
    alice_fails(world)
    bob_fails_before_an_outage(world)
    the_desk_is_exploited(world)
    return world


def opened() -> World:
    """Members dex, other and guest, a provider at desk, an option; money in every tier; links and deposits."""
    world = empty_house(
        replace(
            OPTION_PARAMETERS,
            auction_ms=MINUTE_MS // 2,
            close_out_auction_ms=10 * MINUTE_MS,
            pool_floor_minor=100 * USD,
            breaker_move_bp=5_000,
            breaker_liquidation_bp=9_000,
        )
    )
    world.ok(ListInstrument(instrument=option(CALL, Right.CALL)))
    world.ok(ApplyForMembership(member=DEX, name="The Dex"))
    for member in (DEX, OTHER, GUEST):
        world.ok(AdmitMember(member=member, name=member.title()))
    with_provider(world)
    for name, cash in (("alice", 2_000), ("bob", 20_000), ("eve", 3_000)):
        world.deposit(world.account("dex", name), cash * USD)
    world.deposit(world.account("other", "eve"), 3_000 * USD)
    world.deposit(ALICE, 10**18, ETH)
    fund(
        world, capital=500 * USD, skin_in_the_game=50 * USD, second_tranche=20 * USD, insurance_fund=10 * USD
    )
    world.prices(**MARKS)
    size_pool(world)
    contribute(world, dex=100 * USD, other=100 * USD, desk=100 * USD, guest=100 * USD)
    return world


def clients_trade(world: World) -> None:
    """Trades within a member and between two, of three kinds of instrument; funding; a link, and cash inside it."""
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    assert world.trade(BOB, ALICE, 100, 80_000, BTC_MAR).accepted
    assert world.trade(BOB, ALICE, 10, 5_483, CALL).accepted
    for member in (DEX, OTHER):
        half = NewTrade(
            trade_id="h1",
            instrument=ETH_PERP,
            buyer=EVE_THERE,
            seller=BOB,
            lots=100,
            price_ticks=2_000,
            executed_ms=START_MS,
            trade_ref="r1",
        )
        world.do(SubmitTrades(member=member, trades=(half,)))
    assert world.state.position(EVE_THERE, ETH_PERP) == 100
    link(world, "eve", EVE, EVE_THERE)
    world.ok(MoveCash(member=DEX, source=EVE, target=EVE_THERE, amount_minor=5 * USD))
    world.ok(PublishFunding(instrument=BTC_PERP, rate_ppm=100))
    world.prices(**MARKS)
    world.ok(UnlinkAccounts(member=OTHER, participant=ParticipantId("eve")))
    world.wait(DAY_MS)
    world.prices(**MARKS)
    assert world.state.accounts[EVE].netting_set == single_set(EVE)
    world.ok(
        RecordAttestation(
            sequence=1, cycle=1, tree_size=world.state.size, payload_sha256="00" * 32, envelope="{}"
        )
    )
    asked = ReportAsked(report="journal", as_of=world.state.size, form=Form.JSON)
    world.ok(PullReport(asked=asked), "regulator/rita")
    world.ok(RecordReport(signed=SignedReport(asked=asked, sha256="00" * 32, size=1, envelope="{}")))


def administrators_change(world: World) -> None:
    """Parameters, sources, a breaker, and the standing of members."""
    for name, tighter in (("p1", 12_600), ("p2", 12_700)):
        proposed = replace(world.state.parameters, requirement_bp=tighter)
        world.ok(
            ProposeParameters(proposal=name, parameters=proposed, reason="a reason", immediate=True), ANNA
        )
    world.ok(RejectProposal(proposal="p2", reason="too much"), BERT)
    world.ok(ApproveProposal(proposal="p1"), BERT)
    assert world.state.parameters.requirement_bp == 12_600
    delta = SourceId("delta")
    world.ok(RegisterSource(source=delta, public_key=public_hex(source_key(delta))))
    world.ok(RetireSource(source=delta))
    world.ok(ImportHistory(underlying=FeedId("BTC"), first_day="2020-01-01", moves_ppm=(-20_000, 15_000)))
    world.ok(SetBreaker(scope=ETH_PERP, state=BreakerState.REDUCE_ONLY, reason="a reason"), ANNA)
    for administrator in (ANNA, BERT):
        world.ok(SetBreaker(scope=ETH_PERP, state=BreakerState.OPEN, reason="a reason"), administrator)
    world.ok(SuspendMember(member=OTHER, reason="a reason"), ANNA)
    world.ok(ReinstateMember(member=OTHER, reason="a reason"))
    world.ok(GroupMember(member=OTHER, group="north"))
    world.ok(SetJurisdiction(member=OTHER, jurisdiction="CH"))
    for jurisdictions in (("DE", "CH"), ()):
        world.ok(GrantRegulator(regulator=RegulatorId("rita"), jurisdictions=jurisdictions))
    world.ok(LeaveHouse(member=GUEST))
    world.ok(RevokeCertificate(serial="1f", reason="a laptop was stolen"), ANNA)


def money_leaves_and_is_lost(world: World) -> None:
    """One withdrawal is paid and one is not; ether is stolen and replaced."""
    for name in ("w1", "w2"):
        world.ok(RequestWithdrawal(withdrawal=name, account=EVE, asset=USDC, amount_minor=5 * USD))
    pay_out(world, "w1")
    world.ok(SettleWithdrawal(withdrawal="w2", paid=False))
    world.ok(RecordNonDefaultLoss(asset=ETH, amount_minor=10**17, reason="a key was stolen"))
    world.ok(ReplaceLostAsset(asset=ETH, amount_minor=10**17))


def alice_fails(world: World) -> None:
    """Alice is bankrupt; the desk takes its bid back and gives another; then the hour, the tiers and a recovery."""
    world.prices(**MARKS | {"BTC": 52_000})
    assert world.state.defaults[D1].stage is Stage.DECLARED
    for auction in sorted(world.state.auctions):
        for discount_bp in (50, 500):
            world.ok(PlaceBid(auction=auction, account=DESK, discount_bp=discount_bp, share_bp=5_000))
        world.ok(WithdrawBid(auction=auction, account=DESK))
        world.ok(PlaceBid(auction=auction, account=DESK, discount_bp=20, share_bp=5_000))
    world.wait(10 * MINUTE_MS)
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    world.wait(HOUR_MS)
    assert world.state.defaults[D1].draws
    for member in (OTHER, MemberId("desk")):
        world.deposit(house_account(member), 500 * USD)
        if any(due.member == member for due in world.state.replenishments.values()):
            world.ok(PayDue(member=member))
    world.ok(RecordRecovery(default=D1, amount_minor=100 * USD))
    world.prices(**MARKS | {"BTC": 52_000})
    world.ok(AcceptPorting(member=OTHER, netting_set=single_set(EVE), account="from-dex"))


def bob_fails_before_an_outage(world: World) -> None:
    """Bob is declared, and no source is heard any more: two administrators let the default close."""
    world.prices(**MARKS | {"BTC": 70_000})
    world.prices(**MARKS | {"BTC": 400_000})
    assert world.state.defaults[D2].stage is Stage.DECLARED
    world.ok(SetBreaker(scope="*", state=BreakerState.HALTED, reason="a reason"), ANNA)
    for administrator in (ANNA, BERT):
        world.ok(SetBreaker(scope="*", state=BreakerState.OPEN, reason="a reason"), administrator)
    world.wait(HOUR_MS)
    assert in_outage(world)
    for administrator in (ANNA, BERT):
        world.ok(CloseInOutage(default=D2, reason="a reason"), administrator)
    assert world.state.defaults[D2].stage is not Stage.DECLARED
    world.wait(HOUR_MS)
    world.prices(**MARKS | {"BTC": 400_000})
    world.wait(5 * DAY_MS)
    world.prices(**MARKS | {"BTC": 400_000})
    assert not in_outage(world)
    assert len(world.state.sources) == len(SOURCES) + 1


def the_desk_is_exploited(world: World) -> None:
    """The provider's member cannot pay any more: two administrators declare it, before anything is due."""
    desk = MemberId("desk")
    assert world.state.members[desk].belongs
    world.ok(DeclareDefault(member=desk, reason="its protocol was exploited"))
    assert world.state.members[desk].status is MemberStatus.DEFAULTED


def in_outage(world: World) -> bool:
    """Whether an outage was written down and is not over."""
    return world.state.outage is not None


def the_end_of_a_house() -> World:
    """A loss that no tier could pay: the house is wound down, some is recovered, and everybody goes."""
    world = short_side_wins(house_of_three({"y": 1_000}), "x")
    for milliseconds in (HOUR_MS, DAY_MS):
        world.wait(milliseconds)
    world.prices(OIL=700)
    assert world.state.defaults[D2].uncovered_minor
    world.ok(WindDown(reason="nobody is left to pay"))
    world.ok(RecordRecovery(default=D2, amount_minor=100))
    for number, key in enumerate(sorted(world.state.accounts)):
        if (left := world.state.cash(key)) > 0:
            world.ok(RequestWithdrawal(withdrawal=f"w{number}", account=key, asset=USDC, amount_minor=left))
            pay_out(world, f"w{number}")
    assert world.state.balance(chart.custody(USDC)) == 0
    return world
