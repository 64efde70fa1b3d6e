"""Porting: the clients of a member in default move to a member that accepts in time, or are closed out (§10.4)."""

from dataclasses import replace

import pytest

from clearing import chart
from clearing.decide import porting
from clearing.decide.membership import _bonds
from clearing.decide.porting import open_portings
from clearing.default.gate import gates
from clearing.default.resources import resources_of
from clearing.model.commands import (
    AcceptPorting,
    AdmitMember,
    Command,
    LinkAccounts,
    ListInstrument,
    MoveCash,
    RecordRecovery,
    RegisterProvider,
    RequestWithdrawal,
    SendWithdrawal,
    SetBreaker,
    SettleWithdrawal,
    SuspendMember,
    UnlinkAccounts,
)
from clearing.model.draft import Draft
from clearing.model.house import Pnl
from clearing.model.ids import (
    AccountKey,
    DefaultId,
    MemberId,
    ParticipantId,
    SetId,
    account_key,
    house_account,
    member_of,
    single_set,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    AccountKind,
    AccountStatus,
    BreakerState,
    ClearingAccount,
    Draw,
    Gain,
    MemberStatus,
    NettingSet,
    Parameters,
    Porting,
    Right,
    Stage,
    UnlinkingPart,
    WithdrawalState,
)
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BOB,
    BTC_MAR,
    BTC_PERP,
    ETH,
    PARAMETERS,
    USD,
    USDC,
    World,
    empty_house,
    fund,
    kinds_of,
    link,
    with_provider,
)
from tests.unit.test_options import CALL, OPTION_PARAMETERS, mark, option

DEX, OTHER = MemberId("dex"), MemberId("other")
RICH, THERE = account_key(OTHER, "rich"), account_key(OTHER, "alice")
TAKEN = account_key(OTHER, "taken")
EVE = account_key(DEX, "eve")
LINK = SetId("link/alice")
D1, D2 = DefaultId("d1"), DefaultId("d2")
ETHER = 10**18


def lasting(parameters: Parameters = PARAMETERS) -> Parameters:
    """No fees, and marks that serve for a month: a story may take days."""
    month = 30 * DAY_MS
    return replace(
        parameters,
        trade_fee_bp=0,
        mark_validity_ms=month,
        trade_validity_ms=month,
        withdraw_validity_ms=month,
        outage_after_ms=month,
    )


def houses(parameters: Parameters | None = None, skin: int = 10_000 * USD) -> World:
    """Dex, other and desk, which is a provider. At dex alice, bob and eve; at other rich. BTC at 8,000.0."""
    world = with_provider(empty_house(parameters or lasting()))
    fund(world, capital=100_000 * USD)
    if skin:
        fund(world, skin_in_the_game=skin)
    for member in (DEX, OTHER):
        world.ok(AdmitMember(member=member, name=member))
    for name, cash in (("alice", 2_000 * USD), ("bob", 5_000 * USD), ("eve", 1_310 * USD)):
        world.deposit(world.account("dex", name), cash)
    world.deposit(world.account("other", "rich"), 90_000 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    return world


def failing(world: World, btc: int = 60_000) -> Outcome:
    """Eve loses more than she has, dex does not pay what is missing, and an hour later it is in default."""
    assert world.trade(EVE, BOB, 1_000, 80_000).accepted
    world.prices(BTC=btc, ETH=2_000)
    world.wait(world.state.parameters.close_out_auction_ms)
    outcome = world.wait(HOUR_MS)
    assert world.state.members[DEX].status is MemberStatus.DEFAULTED
    assert not gates(world.state, world.now_ms)
    return outcome


def failed(world: World | None = None) -> World:
    """Alice is long 100 perpetuals and short 50 futures, with an ether posted, when dex fails."""
    world = world or houses()
    world.deposit(ALICE, ETHER, ETH)
    assert world.trade(ALICE, BOB, 100, 80_000).accepted
    assert world.trade(BOB, ALICE, 50, 80_000, BTC_MAR).accepted
    failing(world)
    return world


def acceptance(set_id: str = ALICE, member: MemberId = OTHER, account: str = "taken") -> AcceptPorting:
    return AcceptPorting(member=member, netting_set=SetId(set_id), account=account)


def balances(world: World, *keys: AccountKey) -> dict[tuple[str, str], int]:
    """What is booked on the accounts, or without any, on all others of the book; no zero."""
    own = {chart.cash(key, USDC).path.removesuffix("cash") for key in (*keys, ALICE, TAKEN)}
    wanted = {chart.cash(key, USDC).path.removesuffix("cash") for key in keys}
    return {
        (account.path, account.unit): amount
        for account, amount in world.state.book.listed()
        if amount
        and (
            any(map(account.path.startswith, wanted)) or not (keys or any(map(account.path.startswith, own)))
        )
    }


def fails(world: World, member: MemberId) -> None:
    """The member is in default, by whatever event; what follows at its own house is left out."""
    row = replace(world.state.members[member], status=MemberStatus.DEFAULTED)
    house = replace(world.state, members=world.state.members.set(member, row))
    draft = Draft(house=house, request_id="fails", actor="test", now_ms=world.now_ms)
    open_portings(draft, D1, member)
    world.state = draft.house


def opened(world: World) -> dict[str, Porting]:
    return {str(set_id): world.state.portings[set_id] for set_id in sorted(world.state.portings)}


# --------------------------------------------------------------------------------------------------- the offer


def test_with_the_default_of_a_member_its_living_clients_are_offered_one_by_one() -> None:
    world = houses()
    outcome = failing(world)
    told = [(event.kind, event.subject) for event in outcome.events]
    place = told.index((Kind.MEMBER_DEFAULTED.name, f"{D1} {DEX}"))
    assert told[place + 1 : place + 3] == [
        (Kind.PORTING_OPENED.name, ALICE),
        (Kind.PORTING_OPENED.name, BOB),
    ], "neither eve, who was closed out, nor the house account, which tier 1 takes"
    due_ms = world.now_ms + DAY_MS
    assert opened(world) == {
        str(key): Porting(netting_set=single_set(key), members=(DEX,), opened_ms=world.now_ms, due_ms=due_ms)
        for key in (ALICE, BOB)
    }
    assert outcome.next_due_ms == due_ms
    assert world.trade(ALICE, BOB, 1, 60_000).results[0].reason == Reason.MEMBER_NOT_ACTIVE.name


def test_a_set_that_is_in_default_itself_is_not_offered() -> None:
    """Frank falls while dex still has its hour; what he holds is halted, so he is declared and not closed out."""
    world = houses()
    frank = world.account("dex", "frank")
    world.deposit(frank, 3_000 * USD)
    for key in (frank, EVE):
        assert world.trade(key, BOB, 1_000, 80_000).accepted
    world.prices(BTC=60_000, ETH=2_000)
    world.ok(SetBreaker(scope=BTC_PERP, state=BreakerState.HALTED, reason="why"), ANNA)
    world.prices(BTC=45_000, ETH=2_000)
    world.wait(HOUR_MS)
    assert world.state.members[DEX].status is MemberStatus.DEFAULTED
    assert [one.netting_set for one in world.state.defaults[D2].sets] == [single_set(frank)]
    assert list(opened(world)) == [ALICE, BOB]


# ------------------------------------------------------------------------------------------------- acceptance


def test_everything_moves_in_one_entry_and_nobody_else_is_touched() -> None:
    world = failed()
    before, others = world.measured(ALICE), balances(world)
    lost = 100 * 20_000 * 100 - 50 * 20_000 * 100
    assert world.state.cash(ALICE) == 2_000 * USD - lost
    size = len(world.entries)
    outcome = world.ok(acceptance())
    assert [(e.kind, e.subject) for e in outcome.events] == [(Kind.PORTED.name, f"{ALICE} {TAKEN}")]
    assert [entry.kind for entry in world.entries[size:]] == [Kind.PORTED]
    assert balances(world, ALICE) == {}
    path = "members/other/accounts/taken"
    assert balances(world, TAKEN) == {
        (f"{path}/cash", "USDC"): 1_900 * USD,
        (f"{path}/collateral", "ETH"): ETHER,
        (f"{path}/position", "BTC-PERP"): 100,
        (f"{path}/position", "BTC-MAR20"): -50,
    }
    assert balances(world) == others
    after = world.measured(TAKEN)
    assert replace(after, netting_set=before.netting_set, margin=before.margin) == before
    assert list(opened(world)) == [BOB]


def test_the_old_account_points_to_the_new_one_and_keeps_an_empty_set() -> None:
    world = failed()
    old = world.state.accounts[ALICE]
    world.ok(acceptance())
    assert world.state.accounts[ALICE] == replace(old, status=AccountStatus.PORTED, ported_to=TAKEN)
    assert world.state.accounts[TAKEN] == ClearingAccount(
        key=TAKEN,
        member=OTHER,
        kind=AccountKind.CLIENT,
        participant=old.participant,
        netting_set=single_set(TAKEN),
    )
    for key in (ALICE, TAKEN):
        alone = NettingSet(id=single_set(key), participant=old.participant, accounts=(key,))
        assert world.state.netting_sets[single_set(key)] == alone
    assert world.state.holder(ALICE) == TAKEN
    assert world.state.holder(TAKEN) == TAKEN


def test_the_new_account_trades_and_the_old_one_does_nothing_more() -> None:
    world = failed()
    world.ok(acceptance())
    assert world.trade(TAKEN, RICH, 1, 60_000).accepted
    assert world.trade(ALICE, BOB, 1, 60_000).results[0].reason == Reason.ACCOUNT_PORTED.name
    commands: tuple[Command, ...] = (
        RegisterProvider(account=ALICE, capacity_minor=1),
        LinkAccounts(member=DEX, participant=ParticipantId("alice"), accounts=(ALICE, TAKEN)),
        RequestWithdrawal(withdrawal="w1", account=ALICE, asset=USDC, amount_minor=1),
    )
    for command in commands:
        assert world.reason(command) == Reason.ACCOUNT_PORTED.name
    world.ok(RequestWithdrawal(withdrawal="w2", account=TAKEN, asset=USDC, amount_minor=1))
    world.prices(BTC=60_500, ETH=2_000)


def test_who_took_over_is_ported_on_when_it_fails_too() -> None:
    world = failed()
    world.ok(acceptance())
    fails(world, OTHER)
    world.ok(acceptance(TAKEN, MemberId("desk"), "third"))
    third = account_key(MemberId("desk"), "third")
    assert world.state.holder(ALICE) == third
    world.deposit(ALICE, 7)
    assert world.state.cash(third) == 1_900 * USD + 7


# what arrives later -------------------------------------------------------------------------------


SEND = SendWithdrawal(withdrawal="w1")


def held(*, sent: bool = False) -> World:
    """Alice asked for 100.00 before she was ported; custody may have been told by then to pay it."""
    world = failed()
    world.ok(RequestWithdrawal(withdrawal="w1", account=ALICE, asset=USDC, amount_minor=100 * USD))
    if sent:
        world.ok(SEND)
    world.ok(acceptance())
    assert world.state.cash(TAKEN) == 1_800 * USD
    return world


def test_a_deposit_for_the_old_account_reaches_the_new_one() -> None:
    world = failed()
    world.ok(acceptance())
    world.deposit(ALICE, 7)
    world.deposit(ALICE, 8, ETH)
    assert balances(world, ALICE) == {}
    assert world.state.cash(TAKEN) == 1_900 * USD + 7
    assert world.state.balance(chart.collateral(TAKEN, ETH)) == ETHER + 8


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize(("paid", "cash"), [(True, 1_800 * USD), (False, 1_900 * USD)])
def test_a_withdrawal_that_was_held_is_paid_or_comes_back_to_the_new_account(
    sent: bool, paid: bool, cash: int
) -> None:
    world = held(sent=sent)
    if paid and not sent:
        world.ok(SEND)
    world.ok(SettleWithdrawal(withdrawal="w1", paid=paid))
    assert world.state.cash(TAKEN) == cash
    assert balances(world, ALICE) == {}


def test_what_was_held_before_is_sent_only_if_the_new_account_can_spare_it() -> None:
    world = held()
    assert world.trade(TAKEN, RICH, 2_000, 60_000).results[0].reason == Reason.MARGIN_INSUFFICIENT.name
    assert world.trade(TAKEN, RICH, 1_500, 60_000).accepted
    world.prices(BTC=56_500, ETH=2_000)
    assert world.reason(SEND) == Reason.WITHDRAWAL_EXCEEDS.name


def test_what_is_held_binds_the_member_that_took_over_and_comes_back_when_the_set_fails() -> None:
    world = held()
    assert "w1" in "".join(_bonds(world.state, OTHER))
    assert "w1" not in "".join(_bonds(world.state, DEX))
    assert world.trade(TAKEN, RICH, 500, 60_000).accepted
    world.prices(BTC=10_000, ETH=2_000)
    assert world.state.accounts[TAKEN].status is AccountStatus.CLOSED_OUT
    assert world.state.withdrawals["w1"].state is WithdrawalState.RELEASED
    assert balances(world, ALICE) == {}


def test_a_recovery_repays_a_claim_of_the_old_account_to_the_new_one() -> None:
    """Alice won while dex failed, and a part of it was taken: the claim stands where it was made."""
    world = houses(skin=0)
    assert world.trade(BOB, ALICE, 100, 80_000).accepted
    failing(world)
    claim = chart.account_claim(ALICE, USDC)
    claimed = world.state.balance(claim)
    assert 0 < claimed < 200 * USD
    cash = world.state.cash(ALICE)
    world.ok(acceptance())
    assert world.state.balance(claim) == claimed
    world.ok(RecordRecovery(default=D1, amount_minor=10_000 * USD))
    assert world.state.balance(claim) == 0
    assert (world.state.cash(ALICE), world.state.cash(TAKEN)) == (0, cash + claimed)


# profit and loss ----------------------------------------------------------------------------------


def test_the_gain_of_the_window_moves_with_the_positions() -> None:
    world = failed()
    world.prices(BTC=60_500, ETH=2_000)
    gain = (100 - 50) * 500 * 100
    assert world.state.pnl[ALICE] == Pnl(0, gain, gain)
    world.ok(acceptance())
    assert ALICE not in world.state.pnl
    assert world.state.pnl[TAKEN] == Pnl(0, gain, gain)


def test_for_losses_before_the_set_was_taken_over_its_new_member_does_not_answer() -> None:
    world = called()
    assert world.state.pnl[ALICE] == Pnl(-850 * USD, -850 * USD, -850 * USD)
    world.deposit(ALICE, 2_000 * USD)
    world.ok(acceptance())
    assert world.state.pnl[TAKEN] == Pnl(0, -850 * USD, -850 * USD)


def test_a_gain_that_an_event_took_before_the_porting_is_not_taken_again_after_it() -> None:
    world = failed()
    world.ok(acceptance())
    first = replace(world.state.defaults[D1], draws=(Draw(tier=8, payer=ALICE, amount_minor=7),))
    second = replace(first, id=D2, draws=(), gains=(Gain(netting_set=single_set(TAKEN), gain_minor=10),))
    house = replace(world.state, defaults=world.state.defaults.set(D1, first).set(D2, second))
    (winner,) = resources_of(house, second, ()).winners
    assert winner.gain_minor == 3


# links ----------------------------------------------------------------------------------------------


def hedged(*more: AccountKey) -> World:
    """Alice is long 1,000 at dex and short as many at other, linked, and alone on neither side sound."""
    world = houses()
    world.deposit(world.account("other", "alice"), 500 * USD)
    for key in more:
        world.account(member_of(key), key.split("/")[1], "alice")
    world.deposit(ALICE, 1_000 * USD)
    link(world, "alice", *sorted((ALICE, THERE, *more)))
    for _ in range(4):
        assert world.trade(ALICE, BOB, 250, 80_000).accepted
        assert world.trade(RICH, THERE, 250, 80_000).accepted
    return world


def test_the_legs_of_a_link_go_to_a_member_that_is_left_in_it() -> None:
    world = hedged()
    failing(world, btc=67_000)
    assert list(opened(world)) == [BOB, LINK]
    desk = acceptance(LINK, MemberId("desk"))
    assert world.reason(desk) == Reason.PORTING_OF_A_LINK.name
    others = balances(world, THERE)
    world.ok(acceptance(LINK, account="taken"))
    assert world.state.netting_sets[LINK].accounts == (THERE, TAKEN)
    assert {str(world.state.accounts[key].netting_set) for key in (THERE, TAKEN)} == {LINK}
    assert balances(world, THERE) == others
    assert world.state.cash(TAKEN) == 3_000 * USD - 1_300 * USD
    assert world.state.position(TAKEN, BTC_PERP) == 1_000
    assert world.state.accounts[ALICE].netting_set == single_set(ALICE)


def test_a_link_whose_legs_all_meet_in_one_account_is_no_link_any_more() -> None:
    world = hedged()
    failing(world, btc=67_000)
    world.ok(UnlinkAccounts(member=OTHER, participant=ParticipantId("alice")))
    before = world.measured(LINK)
    world.ok(acceptance(LINK, account="alice"))
    assert LINK not in world.state.netting_sets
    assert LINK not in world.state.unlinkings
    assert world.state.accounts[THERE].netting_set == single_set(THERE)
    assert not world.state.positions(THERE)
    after = world.measured(THERE)
    assert (after.equity_minor, after.cash_minor) == (before.equity_minor, before.cash_minor)
    assert after.cash_minor == 2_000 * USD + 1_000 * USD + 500 * USD


def test_a_notice_to_unlink_waits_for_the_porting_and_stands_after_it() -> None:
    world = hedged()
    failing(world, btc=67_000)
    world.ok(UnlinkAccounts(member=OTHER, participant=ParticipantId("alice")))
    lacked = {part.account: part.short_minor for part in world.state.unlinkings[LINK].parts}
    assert lacked[ALICE] == 0 or lacked[THERE] == 0
    world.ok(acceptance(LINK, account="taken"))
    notice = world.state.unlinkings[LINK]
    assert notice.parts == (
        UnlinkingPart(account=THERE, short_minor=lacked[THERE]),
        UnlinkingPart(account=TAKEN, short_minor=lacked[ALICE]),
    )
    world.now_ms = notice.due_ms
    world.wait(0)
    assert LINK not in world.state.netting_sets
    assert world.state.accounts[TAKEN].netting_set == single_set(TAKEN)


def test_a_link_is_not_undone_while_it_waits_to_be_ported() -> None:
    world = hedged()
    world.ok(UnlinkAccounts(member=OTHER, participant=ParticipantId("alice")))
    world.now_ms = world.state.unlinkings[LINK].due_ms - HOUR_MS - 1_000
    failing(world, btc=67_000)
    world.wait(0)
    assert world.now_ms >= world.state.unlinkings[LINK].due_ms
    assert LINK in world.state.netting_sets
    world.ok(acceptance(LINK, account="taken"))
    assert LINK not in world.state.netting_sets


def test_the_other_legs_of_a_link_only_reduce_meanwhile() -> None:
    world = hedged()
    failing(world, btc=67_000)
    world.deposit(THERE, 10_000 * USD)
    assert world.trade(RICH, THERE, 1, 67_000).results[0].reason == Reason.REDUCE_ONLY.name
    moving = MoveCash(member=OTHER, source=THERE, target=ALICE, amount_minor=1)
    world.ok(moving)
    world.ok(acceptance(LINK, account="taken"))
    assert world.trade(RICH, THERE, 1, 67_000).accepted
    assert world.reason(moving) == Reason.ACCOUNTS_NOT_LINKED.name, "what was ported is in the set no more"
    world.ok(replace(moving, target=TAKEN))


def test_when_nobody_is_left_in_a_link_any_member_may_take_it_and_the_first_clock_holds() -> None:
    world = hedged()
    failing(world, btc=67_000)
    first = world.state.portings[LINK]
    world.wait(HOUR_MS)
    fails(world, OTHER)
    assert world.state.portings[LINK] == replace(first, members=(DEX, OTHER))
    assert world.state.portings[single_set(RICH)].due_ms == first.due_ms + HOUR_MS
    desk = MemberId("desk")
    world.ok(acceptance(LINK, desk))
    both = account_key(desk, "taken")
    assert LINK not in world.state.netting_sets
    assert world.state.accounts[both].netting_set == single_set(both)
    assert [world.state.holder(key) for key in (ALICE, THERE)] == [both, both]
    assert not world.state.positions(both)
    assert world.state.cash(both) == 3_500 * USD


def test_linked_accounts_of_one_member_move_together_to_anybody() -> None:
    world = houses()
    second = world.account("dex", "second", "alice")
    world.deposit(second, 300 * USD)
    link(world, "alice", ALICE, second)
    failing(world)
    world.ok(acceptance(LINK, MemberId("desk")))
    assert world.state.cash(account_key(MemberId("desk"), "taken")) == 2_300 * USD
    assert balances(world, ALICE, second) == {}


# options --------------------------------------------------------------------------------------------


def test_an_option_moves_with_what_it_is_worth_and_no_cash() -> None:
    world = with_options()
    before, cash, ticks = world.measured(ALICE), world.state.cash(ALICE), mark(world)
    others = balances(world)
    world.ok(acceptance())
    after = world.measured(TAKEN)
    assert after.option_value_minor == before.option_value_minor == 100 * ticks * 100 > 0
    assert world.state.cash(TAKEN) == cash
    assert world.state.position(TAKEN, CALL) == 100
    assert (after.equity_minor, after.requirement_minor) == (before.equity_minor, before.requirement_minor)
    assert balances(world) == others
    world.prices(BTC=60_000, ETH=2_000, BTCVOL=9_000)
    assert world.state.pnl[TAKEN].window_minor == 100 * (mark(world) - ticks) * 100 > 0


def with_options() -> World:
    """Alice holds a hundred calls that bob wrote."""
    world = with_provider(empty_house(lasting(OPTION_PARAMETERS)))
    world.ok(ListInstrument(instrument=option(CALL, Right.CALL)))
    fund(world, capital=100_000 * USD, skin_in_the_game=10_000 * USD)
    for member in (DEX, OTHER):
        world.ok(AdmitMember(member=member, name=member))
    for name, cash in (("alice", 2_000 * USD), ("bob", 9_000 * USD), ("eve", 1_400 * USD)):
        world.deposit(world.account("dex", name), cash)
    world.deposit(world.account("other", "rich"), 90_000 * USD)
    world.prices(BTC=80_000, ETH=2_000, BTCVOL=6_000)
    assert world.trade(ALICE, BOB, 100, mark(world), CALL).accepted
    assert world.trade(EVE, BOB, 1_000, 80_000).accepted
    world.prices(BTC=60_000, ETH=2_000, BTCVOL=6_000)
    world.wait(HOUR_MS)
    assert world.state.members[DEX].status is MemberStatus.DEFAULTED
    return world


# refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (acceptance(member=MemberId("nobody")), Reason.MEMBER_UNKNOWN),
        (acceptance("dex/nobody"), Reason.PORTING_UNKNOWN),
        (acceptance(EVE), Reason.PORTING_UNKNOWN),
        (acceptance(house_account(DEX)), Reason.PORTING_UNKNOWN),
        (acceptance(RICH), Reason.PORTING_UNKNOWN),
        (acceptance(member=DEX), Reason.MEMBER_NOT_ACTIVE),
        (acceptance(account="Taken"), Reason.NAME_MALFORMED),
        (acceptance(account=""), Reason.NAME_MALFORMED),
        (acceptance(account="a/b"), Reason.NAME_MALFORMED),
        (acceptance(account="rich"), Reason.ALREADY_EXISTS),
        (acceptance(account="house"), Reason.ALREADY_EXISTS),
    ],
    ids=lambda value: (
        value.name if isinstance(value, Reason) else f"{value.netting_set} {value.member} {value.account}"
    ),
)
def test_what_is_not_taken_over(command: AcceptPorting, reason: Reason) -> None:
    assert failed().reason(command) == reason.name


def test_nothing_is_accepted_twice() -> None:
    world = failed()
    world.ok(acceptance())
    assert world.reason(acceptance()) == Reason.PORTING_UNKNOWN.name
    assert world.reason(acceptance(BOB)) == Reason.ALREADY_EXISTS.name


def test_a_suspended_member_takes_nothing_over() -> None:
    world = failed()
    world.ok(SuspendMember(member=OTHER, reason="why"), ANNA)
    assert world.reason(acceptance()) == Reason.MEMBER_SUSPENDED.name


def test_an_own_account_that_is_not_in_the_set_takes_nothing_over() -> None:
    world = failed()
    world.account("other", "alice")
    assert world.reason(acceptance(account="alice")) == Reason.ALREADY_EXISTS.name


def without_room() -> World:
    """Alice has withdrawn all that her 500 perpetuals do not require; an ether is in her equity."""
    world = houses()
    world.deposit(ALICE, ETHER, ETH)
    exposed(world)
    measured = world.measured(ALICE)
    room = measured.equity_minor - measured.requirement_minor
    world.ok(RequestWithdrawal(withdrawal="w1", account=ALICE, asset=USDC, amount_minor=room))
    return world


def test_a_set_that_has_just_what_it_requires_is_taken_over() -> None:
    world = without_room()
    world.ok(acceptance())
    assert world.measured(TAKEN).equity_minor == world.measured(TAKEN).requirement_minor


@pytest.mark.parametrize(("issuer", "elsewhere"), [(DEX, Reason.SET_NOT_HEALTHY.name), (OTHER, "")])
def test_a_set_meets_its_requirement_where_it_was_and_where_it_goes(issuer: MemberId, elsewhere: str) -> None:
    """Ether is a member's own token: at its issuer it counts zero (rulebook §8)."""
    world = without_room()
    ether = replace(world.state.assets[ETH], issuer=issuer)
    world.state = replace(world.state, assets=world.state.assets.set(ETH, ether))
    assert world.reason(acceptance()) == Reason.SET_NOT_HEALTHY.name
    assert world.do(acceptance(member=MemberId("desk"))).results[0].reason == elsewhere


def test_a_stranger_learns_nothing_of_a_set_that_it_does_not_get() -> None:
    world = without_room()
    ether = replace(world.state.assets[ETH], issuer=OTHER)
    world.state = replace(world.state, assets=world.state.assets.set(ETH, ether))
    assert world.do(acceptance()).results[0].detail == ""
    world = hedged()
    failing(world, btc=67_000)
    assert world.do(acceptance(LINK, MemberId("desk"))).results[0].detail == ""


def test_a_position_beyond_what_the_book_can_hold_is_not_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = failed()
    for most, reason in ((99, Reason.LOTS_OUT_OF_RANGE.name), (100, "")):
        monkeypatch.setattr(porting, "position_lots_max", lambda _, most=most: most)
        assert world.do(acceptance()).results[0].reason == reason


def test_what_is_called_is_met_first() -> None:
    world = called()
    assert world.reason(acceptance()) == Reason.CALL_OPEN.name
    world.deposit(ALICE, 2_000 * USD)
    world.ok(acceptance())


def exposed(world: World | None = None) -> World:
    """Alice is long 500 and healthy when dex fails."""
    world = world or houses()
    assert world.trade(ALICE, BOB, 500, 80_000).accepted
    failing(world, btc=64_000)
    assert not world.state.calls
    return world


def called() -> World:
    """After dex has failed she falls below R, but not below M."""
    world = exposed()
    world.prices(BTC=47_000, ETH=2_000)
    assert list(world.state.calls) == [f"margin/{ALICE}"]
    return world


def test_a_set_in_liquidation_is_not_taken_over_but_called_and_liquidated_as_any() -> None:
    world = exposed()
    assert Kind.LIQUIDATION_OPENED.name in kinds_of(world.prices(BTC=45_500, ETH=2_000))
    assert single_set(ALICE) in world.state.liquidations
    assert world.reason(acceptance()) == Reason.REDUCE_ONLY.name
    while single_set(ALICE) in world.state.liquidations:
        world.wait(MINUTE_MS)
    world.deposit(ALICE, 2_000 * USD)
    world.ok(acceptance())


def test_a_set_that_falls_into_default_is_not_offered_any_more() -> None:
    world = called()
    world.prices(BTC=30_000, ETH=2_000)
    assert single_set(ALICE) not in world.state.portings
    assert world.state.accounts[ALICE].status is AccountStatus.CLOSED_OUT


def test_nothing_is_accepted_while_a_loss_is_divided() -> None:
    world = failed()
    frank = world.account("other", "frank")
    world.deposit(frank, 1_000 * USD)
    assert world.trade(frank, RICH, 800, 60_000).accepted
    world.prices(BTC=45_000, ETH=2_000)
    assert world.state.defaults[D2].stage is Stage.ANSWERING
    assert world.reason(acceptance()) == Reason.DEFAULT_OPEN.name
    world.deposit(house_account(OTHER), 1_000 * USD)
    world.ok(acceptance())


def test_old_marks_are_not_good_enough_to_take_over_risk() -> None:
    world = failed(houses(replace(lasting(), trade_validity_ms=2 * HOUR_MS)))
    world.now_ms = world.state.newest_cycle.accepted_ms + 2 * HOUR_MS + 1
    assert world.reason(acceptance()) == Reason.MARK_STALE.name
    world.now_ms -= 1
    world.ok(acceptance())


# the end of the time --------------------------------------------------------------------------------


def test_the_last_moment_to_accept() -> None:
    world = failed()
    world.now_ms += DAY_MS
    assert world.do(acceptance()).results[0].reason == Reason.PORTING_OVER.name
    assert not world.state.portings
    world = failed()
    world.now_ms += DAY_MS - 1
    world.ok(acceptance())


def test_what_nobody_accepted_is_closed_out_as_one_event_and_the_balance_is_the_participants() -> None:
    world = failed()
    world.wait(DAY_MS - 1)
    others = world.state.cash(RICH)
    assert list(opened(world)) == [ALICE, BOB]
    outcome = world.wait(1)
    told = [(event.kind, event.subject) for event in outcome.events]
    assert told[:4] == [
        (Kind.PORTING_EXPIRED.name, ALICE),
        (Kind.PORTING_EXPIRED.name, BOB),
        (Kind.DEFAULT_DECLARED.name, f"{D2} {ALICE}"),
        (Kind.DEFAULT_DECLARED.name, f"{D2} {BOB}"),
    ]
    event = world.state.defaults[D2]
    assert event.stage is Stage.CLOSED
    assert (event.answers, event.losses, event.draws, event.claims) == ((), (), (), ())
    assert [one.deficit_minor for one in event.sets] == [0, 0]
    assert not world.state.portings
    for key in (ALICE, BOB):
        assert world.state.accounts[key].status is AccountStatus.CLOSED_OUT
        assert not world.state.positions(key)
    proceeds = 198 * USD
    assert world.state.cash(ALICE) == 1_900 * USD + proceeds, (
        "alice and bob were opposite; her ether was sold"
    )
    assert world.state.cash(BOB) == 5_000 * USD + 2_000 * USD + 100 * USD - 60 * USD, (
        "desk took what was left"
    )
    assert world.state.cash(RICH) == others


def test_what_is_closed_out_for_the_time_is_offered_in_an_auction_like_any_default() -> None:
    world = failed(houses(replace(lasting(), close_out_auction_ms=10 * MINUTE_MS)))
    outcome = world.wait(DAY_MS)
    assert Kind.AUCTION_OPENED.name in kinds_of(outcome)
    assert world.state.defaults[D2].stage is Stage.DECLARED
    assert not world.state.portings
    world.wait(10 * MINUTE_MS)
    assert world.state.defaults[D2].stage is Stage.CLOSED


def test_what_is_held_and_not_sent_comes_back_before_the_close_out() -> None:
    world = failed()
    world.ok(RequestWithdrawal(withdrawal="w1", account=ALICE, asset=USDC, amount_minor=100 * USD))
    world.wait(DAY_MS)
    assert world.state.withdrawals["w1"].state is WithdrawalState.RELEASED
    assert world.state.cash(ALICE) == 1_900 * USD + 198 * USD


def test_the_balance_of_who_was_closed_out_can_be_withdrawn_whole() -> None:
    world = failed()
    world.wait(DAY_MS)
    cash = world.state.cash(ALICE)
    everything = RequestWithdrawal(withdrawal="w1", account=ALICE, asset=USDC, amount_minor=cash)
    world.ok(everything)
    world.ok(SEND)
    world.ok(SettleWithdrawal(withdrawal="w1", paid=True))
    assert balances(world, ALICE) == {}


@pytest.mark.parametrize(
    ("deficit", "reason"), [(0, ""), (1, "ACCOUNT_CLOSED_OUT"), (None, "ACCOUNT_CLOSED_OUT")]
)
def test_who_left_no_loss_is_not_held_by_the_losses_of_others_in_the_event(
    deficit: int | None, reason: str
) -> None:
    world = failed()
    world.wait(DAY_MS)
    event = world.state.defaults[D2]
    ours, theirs = event.sets
    sets = (replace(ours, deficit_minor=deficit), replace(theirs, deficit_minor=5))
    event = replace(event, stage=Stage.RECOVERING, sets=sets)
    world.state = replace(world.state, defaults=world.state.defaults.set(D2, event))
    one = RequestWithdrawal(withdrawal="w1", account=ALICE, asset=USDC, amount_minor=1)
    assert world.do(one).results[0].reason == reason


def test_nobody_is_closed_out_for_the_time_while_a_loss_is_divided() -> None:
    world = failed()
    frank = world.account("other", "frank")
    world.deposit(frank, 1_000 * USD)
    assert world.trade(frank, RICH, 800, 60_000).accepted
    world.wait(DAY_MS - MINUTE_MS)
    world.prices(BTC=45_000, ETH=2_000)
    assert world.state.defaults[D2].stage is Stage.ANSWERING
    world.wait(MINUTE_MS)
    assert list(opened(world)) == [ALICE, BOB]
    outcome = world.deposit(house_account(OTHER), 1_000 * USD)
    assert Kind.PORTING_EXPIRED.name in kinds_of(outcome)
    assert not world.state.portings


def test_while_an_instrument_is_halted_who_holds_it_waits_and_may_still_be_taken_over() -> None:
    world = failed()
    world.ok(SetBreaker(scope=BTC_MAR, state=BreakerState.HALTED, reason="why"), ANNA)
    world.wait(MINUTE_MS)
    world.ok(acceptance(BOB))
    world.wait(DAY_MS)
    assert list(opened(world)) == [ALICE]
    for administrator in (ANNA, BERT):
        world.ok(SetBreaker(scope=BTC_MAR, state=BreakerState.OPEN, reason="why"), administrator)
    assert not world.state.portings


def test_in_an_outage_nothing_is_accepted_and_the_clock_stands_still() -> None:
    world = failed()
    due_ms = world.state.portings[single_set(ALICE)].due_ms
    world.wait(MINUTE_MS)
    world.ok(SetBreaker(scope="*", state=BreakerState.HALTED, reason="why"), ANNA)
    began_ms = world.now_ms
    assert world.reason(acceptance()) == Reason.OUTAGE.name
    assert (world.wait(2 * DAY_MS).next_due_ms or 0) > world.now_ms, "nothing is overdue"
    assert list(opened(world)) == [ALICE, BOB]
    for administrator in (ANNA, BERT):
        world.ok(SetBreaker(scope="*", state=BreakerState.OPEN, reason="why"), administrator)
    outcome = world.prices(BTC=60_000, ETH=2_000)
    moved = [event.subject for event in outcome.events if event.kind == Kind.PORTING_MOVED.name]
    assert moved == [ALICE, BOB]
    later = world.state.portings[single_set(ALICE)].due_ms
    assert later == due_ms + world.now_ms - began_ms
    world.ok(acceptance())


def test_a_link_that_nobody_took_over_is_closed_out_as_one_portfolio() -> None:
    world = hedged()
    failing(world, btc=67_000)
    world.ok(acceptance(BOB))
    world.wait(DAY_MS)
    (ours,) = [one for one in world.state.defaults[D2].sets if one.netting_set == LINK]
    assert ours.deficit_minor == 0
    assert {world.state.accounts[key].status for key in (ALICE, THERE)} == {AccountStatus.CLOSED_OUT}
    assert world.state.cash(ALICE) + world.state.cash(THERE) == 3_500 * USD, "its legs met each other at S"


def test_a_deficit_that_the_close_out_leaves_is_paid_by_the_waterfall() -> None:
    """The provider pays half: 1,600 for what alice, who has 1,200, holds. Dex answers, and is in default already."""
    world = exposed(houses(replace(lasting(), assignment_discount_bp=5_000)))
    world.ok(acceptance(BOB))
    portings = world.wait(DAY_MS)
    assert Kind.PORTING_EXPIRED.name in kinds_of(portings)
    event = world.state.defaults[D2]
    assert [(one.member, one.amount_minor) for one in event.answers] == [(DEX, 400 * USD)]
    assert [one.deficit_minor for one in event.sets] == [400 * USD]
    outcome = world.wait(HOUR_MS)
    assert Kind.MEMBER_DEFAULTED.name not in kinds_of(outcome)
    event = world.state.defaults[D2]
    assert [(d.tier, d.amount_minor) for d in event.draws] == [(3, 400 * USD)]
    assert (event.stage, event.uncovered_minor) == (Stage.RECOVERING, 0)
    assert not world.state.portings
    assert world.state.cash(ALICE) == 0
