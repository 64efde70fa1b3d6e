"""Money in and out: deposits, the house's own money, the pool, withdrawals in three steps (rulebook §3, §8)."""

from dataclasses import replace
from pathlib import Path
from re import findall

import pytest

from clearing import chart
from clearing.attest.balances import liabilities_of, units_of
from clearing.attest.liabilities import AMOUNT_CAP, Context
from clearing.decide import treasury
from clearing.decide.treasury import DEPOSIT_MAX
from clearing.default.gate import gates
from clearing.default.purses import ANSWER
from clearing.model.commands import (
    AdmitMember,
    ContributeToPool,
    Deposit,
    FundHouse,
    HouseMoney,
    ListAsset,
    PayDue,
    RecordRecovery,
    RequestWithdrawal,
    SendWithdrawal,
    SettleWithdrawal,
    SizePool,
    UnlinkAccounts,
)
from clearing.model.ids import (
    AccountKey,
    AssetId,
    DefaultId,
    MemberId,
    ParticipantId,
    account_key,
    house_account,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import (
    HOUR_MS,
    AccountStatus,
    MemberStatus,
    Stage,
    WithdrawalState,
)
from ledger.account import Account
from ledger.checkpoint import Checkpoint
from ledger.entry import credit, debit
from tests.builders import (
    ALICE,
    BOB,
    DESK,
    ETH,
    ETHER,
    PARAMETERS,
    USD,
    USDC,
    World,
    contribute,
    empty_house,
    fund,
    link,
    pay_out,
    size_pool,
    two_traders,
    with_provider,
)

DEX = MemberId("dex")
DEX_HOUSE = house_account(DEX)
TOKEN = AssetId("DEXT")


def withdrawing(
    amount_minor: int, key: AccountKey = ALICE, asset: AssetId = USDC, name: str = "w1"
) -> RequestWithdrawal:
    return RequestWithdrawal(withdrawal=name, account=key, asset=asset, amount_minor=amount_minor)


def shut_by(world: World) -> list[str]:
    return [gate.reason.split(" ")[0] for gate in gates(world.state, world.now_ms)]


# ------------------------------------------------------------------------------------------------- deposits


def test_a_deposit_is_debited_to_custody_and_credited_to_the_account() -> None:
    world = two_traders()
    world.deposit(ALICE, 5)
    assert world.entries[-1].kind == Kind.DEPOSITED
    assert world.entries[-1].legs == (debit(chart.custody(USDC), 5), credit(chart.cash(ALICE, USDC), 5))


def test_another_asset_is_collateral_and_counts_after_its_haircut() -> None:
    """Half an ether at 200.0 is 100; a fifth is cut off."""
    world = two_traders()
    world.deposit(ALICE, 5 * 10**17, ETH)
    assert world.entries[-1].legs[1] == credit(chart.collateral(ALICE, ETH), 5 * 10**17)
    measured = world.measured(ALICE)
    assert (measured.cash_minor, measured.collateral_minor) == (2_000 * USD, 80 * USD)
    assert measured.equity_minor == 2_080 * USD


def test_collateral_is_valued_down_to_the_last_unit() -> None:
    """10^10 wei are 2 minor units, less a fifth 1.6; one wei less is worth 1.99…, that is 1, less a fifth 0."""
    world = two_traders()
    world.deposit(ALICE, 10**10 - 1, ETH)
    assert world.measured(ALICE).collateral_minor == 0
    world.deposit(ALICE, 1, ETH)
    assert world.measured(ALICE).collateral_minor == 1


def test_collateral_that_has_no_mark_yet_counts_nothing() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=DEX, name="Dex"))
    world.deposit(world.account("dex", "alice"), 10**18, ETH)
    assert world.measured(ALICE).collateral_minor == 0
    world.prices(BTC=80_000, ETH=2_000)
    assert world.measured(ALICE).collateral_minor == 160 * USD


def test_a_members_own_token_counts_zero_at_that_member_and_something_elsewhere() -> None:
    """It falls when the member does (rulebook §8, wrong-way risk)."""
    world = with_provider(two_traders())
    world.ok(ListAsset(asset=replace(ETHER, id=TOKEN, issuer=DEX)))
    world.deposit(ALICE, 10**18, TOKEN)
    world.deposit(DESK, 10**18, TOKEN)
    assert world.measured(ALICE).collateral_minor == 0
    assert world.measured(DESK).collateral_minor == 160 * USD


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (0, Reason.AMOUNT_NOT_POSITIVE),
        (-1, Reason.AMOUNT_NOT_POSITIVE),
        (DEPOSIT_MAX + 1, Reason.AMOUNT_TOO_LARGE),
        (2**127 - 1, Reason.AMOUNT_TOO_LARGE),
        (10**4_000, Reason.AMOUNT_TOO_LARGE),
    ],
    ids=["zero", "negative", "limit plus one", "all the book can hold", "absurd"],
)
def test_every_incoming_amount_is_positive_and_within_the_limit(amount: int, reason: Reason) -> None:
    world = two_traders()
    for command in (
        Deposit(account=ALICE, asset=USDC, amount_minor=amount),
        Deposit(account=ALICE, asset=ETH, amount_minor=amount),
        FundHouse(into=HouseMoney.CAPITAL, amount_minor=amount),
        ContributeToPool(member=DEX, amount_minor=amount),
        withdrawing(amount),
    ):
        assert world.reason(command) == reason.name


def test_the_largest_deposits_fit_into_the_book_many_times() -> None:
    world = two_traders()
    keys = [world.account(DEX, f"rich{number}") for number in range(50)]
    for key in [*keys, *keys]:
        world.deposit(key, DEPOSIT_MAX)
    world.ok(replace(withdrawing(DEPOSIT_MAX), account=keys[0]))


@pytest.mark.parametrize("asset", [USDC, ETH])
def test_an_account_takes_as_much_as_can_be_attested_and_not_one_more(asset: AssetId) -> None:
    world = two_traders()
    key = world.account(DEX, "rich")
    for amount in (DEPOSIT_MAX, DEPOSIT_MAX, AMOUNT_CAP - 2 * DEPOSIT_MAX):
        world.deposit(key, amount, asset)
    more = Deposit(account=key, asset=asset, amount_minor=1)
    assert world.reason(more) == Reason.AMOUNT_TOO_LARGE.name
    journal = Checkpoint(origin="h/journal", size=world.state.size, root=bytes(32))
    context = Context(journal=journal, snapshot=1, units=units_of(world.state))
    owed, _ = liabilities_of(world.state, context, bytes(32))
    assert owed.totals_minor[asset] >= AMOUNT_CAP


def test_a_contribution_beyond_what_can_be_attested_is_refused() -> None:
    world = two_traders()
    has = world.state.pool(DEX)
    for amount in (DEPOSIT_MAX, DEPOSIT_MAX, AMOUNT_CAP - 2 * DEPOSIT_MAX - has):
        world.ok(ContributeToPool(member=DEX, amount_minor=amount))
    more = ContributeToPool(member=DEX, amount_minor=1)
    assert world.reason(more) == Reason.AMOUNT_TOO_LARGE.name


def test_a_deposit_needs_a_known_account_and_asset() -> None:
    world = two_traders()
    for wrong in ("", "dex", "dex/no", "dex/alice/cash", "dex/\ud800"):
        command = Deposit(account=AccountKey(wrong), asset=USDC, amount_minor=1)
        assert world.reason(command) == Reason.ACCOUNT_UNKNOWN.name
    for unknown in ("", "DOGE", "usdc", "\ud800"):
        command = Deposit(account=ALICE, asset=AssetId(unknown), amount_minor=1)
        assert world.reason(command) == Reason.ASSET_UNKNOWN.name


# ------------------------------------------------------------------------------- the house's money and the pool


@pytest.mark.parametrize(
    ("into", "account"),
    [
        (HouseMoney.CAPITAL, chart.house_capital(USDC)),
        (HouseMoney.SKIN_IN_THE_GAME, chart.skin_in_the_game(USDC)),
        (HouseMoney.SECOND_TRANCHE, chart.second_tranche(USDC)),
        (HouseMoney.INSURANCE_FUND, chart.insurance_fund(USDC)),
    ],
    ids=lambda value: value.name if isinstance(value, HouseMoney) else "",
)
def test_the_house_pays_its_own_money_in(into: HouseMoney, account: Account) -> None:
    world = two_traders()
    world.ok(FundHouse(into=into, amount_minor=7))
    assert world.entries[-1].legs == (debit(chart.custody(USDC), 7), credit(account, 7))


def test_a_member_contributes_to_the_pool() -> None:
    world = two_traders()
    contribute(world, dex=7)
    assert world.state.pool(DEX) == 7
    command = ContributeToPool(member=MemberId("dex/alice"), amount_minor=1)
    assert world.reason(command) == Reason.MEMBER_UNKNOWN.name


def test_contributions_are_a_share_of_the_requirements_or_the_floor() -> None:
    """100 lots require 130 of each of two clients; 5 % of 260 is 13. The desk has no positions."""
    world = empty_house(replace(PARAMETERS, pool_floor_minor=3 * USD))
    world.ok(AdmitMember(member=DEX, name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 2_000 * USD)
    with_provider(world)
    world.prices(BTC=80_000, ETH=2_000)
    world.trade(ALICE, BOB, 100, 80_000)
    size_pool(world)
    required = {m.id: m.required_contribution_minor for m in world.state.members.values()}
    assert required == {"dex": 13 * USD, "desk": 3 * USD}


def test_the_pool_of_a_house_without_members_is_sized_by_doing_nothing() -> None:
    world = empty_house()
    before = world.state
    world.ok(SizePool())
    assert world.state is before


def test_the_pool_is_sized_before_the_first_price_too() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=DEX, name="Dex"))
    world.ok(SizePool())
    assert world.state.members[DEX].required_contribution_minor == 0


def test_required_contributions_stand_still_while_a_loss_is_allocated() -> None:
    """T0 took the snapshot of who owes how much (rulebook §10.3); nobody shrinks its part by trading."""
    world = in_answering()
    assert world.reason(SizePool()) == Reason.DEFAULT_OPEN.name


# ------------------------------------------------------------------------------- withdrawals in three steps


def state_of_withdrawal(world: World) -> WithdrawalState:
    return world.state.withdrawals["w1"].state


def test_a_withdrawal_is_held_then_sent_then_paid() -> None:
    world = two_traders()
    world.ok(withdrawing(300))
    held = chart.withdrawal("w1", USDC)
    assert world.entries[-1].legs == (debit(chart.cash(ALICE, USDC), 300), credit(held, 300))
    assert state_of_withdrawal(world) is WithdrawalState.HELD
    world.ok(SendWithdrawal(withdrawal="w1"))
    sent = world.entries[-1]
    assert sent.kind == Kind.WITHDRAWAL_SENT
    assert not sent.legs
    assert state_of_withdrawal(world) is WithdrawalState.SENT
    world.ok(SettleWithdrawal(withdrawal="w1", paid=True))
    assert world.entries[-1].legs == (debit(held, 300), credit(chart.custody(USDC), 300))
    assert state_of_withdrawal(world) is WithdrawalState.PAID
    assert world.state.cash(ALICE) == 2_000 * USD - 300


@pytest.mark.parametrize("is_sent", [False, True])
@pytest.mark.parametrize("asset", [USDC, ETH])
def test_what_custody_did_not_pay_goes_back(asset: AssetId, is_sent: bool) -> None:
    world = two_traders()
    world.deposit(ALICE, 10**18, ETH)
    before = world.measured(ALICE)
    world.ok(withdrawing(300, asset=asset))
    if is_sent:
        world.ok(SendWithdrawal(withdrawal="w1"))
    world.ok(SettleWithdrawal(withdrawal="w1", paid=False))
    assert world.state.withdrawals["w1"].state is WithdrawalState.RELEASED
    assert world.measured(ALICE) == before


def test_a_held_amount_is_no_equity_any_more() -> None:
    world = two_traders()
    world.ok(withdrawing(300 * USD))
    assert world.measured(ALICE).equity_minor == 1_700 * USD


def test_what_goes_back_meets_an_open_call() -> None:
    world = two_traders()
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    world.ok(withdrawing(600 * USD))
    world.prices(BTC=78_500, ETH=2_000)
    assert list(world.state.calls) == [f"margin/{ALICE}"]
    world.ok(SettleWithdrawal(withdrawal="w1", paid=False))
    assert not world.state.calls


def test_a_withdrawal_is_settled_once() -> None:
    world = two_traders()
    assert world.reason(SettleWithdrawal(withdrawal="w1", paid=True)) == Reason.WITHDRAWAL_UNKNOWN.name
    world.ok(withdrawing(1))
    world.ok(SettleWithdrawal(withdrawal="w1", paid=False))
    for paid in (True, False):
        assert world.reason(SettleWithdrawal(withdrawal="w1", paid=paid)) == Reason.WITHDRAWAL_SETTLED.name


def test_custody_pays_only_what_it_was_told_to_pay() -> None:
    world = two_traders()
    world.ok(withdrawing(1))
    assert world.reason(SettleWithdrawal(withdrawal="w1", paid=True)) == Reason.WITHDRAWAL_NOT_SENT.name


def test_custody_is_told_once() -> None:
    world = two_traders()
    send = SendWithdrawal(withdrawal="w1")
    assert world.reason(send) == Reason.WITHDRAWAL_UNKNOWN.name
    world.ok(withdrawing(1))
    world.ok(send)
    assert world.reason(send) == Reason.WITHDRAWAL_SENT.name
    world.ok(SettleWithdrawal(withdrawal="w1", paid=True))
    assert world.reason(send) == Reason.WITHDRAWAL_SETTLED.name


def test_a_withdrawal_is_sent_only_while_it_might_be_requested() -> None:
    """Prices moved between the two: one unit of margin more decides."""
    world = two_traders()
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    world.ok(withdrawing(500 * USD))
    world.prices(BTC=77_000, ETH=2_000)
    send = SendWithdrawal(withdrawal="w1")
    missing = world.measured(ALICE).requirement_minor - world.measured(ALICE).equity_minor
    assert missing > 0
    world.deposit(ALICE, missing - 1)
    assert world.reason(send) == Reason.WITHDRAWAL_EXCEEDS.name
    world.deposit(ALICE, 1)
    world.ok(send)


def test_a_withdrawal_is_not_sent_through_a_shut_gate() -> None:
    world = two_traders()
    world.ok(withdrawing(1))
    world.now_ms += PARAMETERS.withdraw_validity_ms + 1
    assert world.reason(SendWithdrawal(withdrawal="w1")) == Reason.GATE_SHUT.name
    world.ok(SettleWithdrawal(withdrawal="w1", paid=False))


def test_a_part_of_a_link_that_is_undone_is_not_emptied_by_what_was_held_before() -> None:
    """Carol's margin at dex stands for her position elsewhere, until notice is given."""
    world = with_provider(two_traders())
    here, there = world.account("dex", "carol"), world.account("desk", "carol")
    world.deposit(here, 2_000 * USD)
    world.deposit(there, 100 * USD)
    world.deposit(BOB, 10_000 * USD)
    link(world, "carol", here, there)
    assert world.trade(here, BOB, 100, 80_000).accepted
    world.ok(withdrawing(1_960 * USD, here))
    world.ok(UnlinkAccounts(member=DEX, participant=ParticipantId("carol")))
    assert world.reason(SendWithdrawal(withdrawal="w1")) == Reason.WITHDRAWAL_EXCEEDS.name
    world.deposit(here, 500 * USD)
    world.ok(SendWithdrawal(withdrawal="w1"))


def test_a_withdrawal_needs_a_name_of_its_own() -> None:
    world = two_traders()
    for wrong in ("", "W1", "a/b", "ä", "\ud800", "w" * 33):
        assert world.reason(withdrawing(1, name=wrong)) == Reason.NAME_MALFORMED.name
    world.ok(withdrawing(1))
    assert world.reason(withdrawing(1, BOB)) == Reason.ALREADY_EXISTS.name


def test_a_withdrawal_needs_a_known_account_and_asset() -> None:
    world = two_traders()
    assert world.reason(withdrawing(1, AccountKey("dex/no"))) == Reason.ACCOUNT_UNKNOWN.name
    assert world.reason(withdrawing(1, asset=AssetId("DOGE"))) == Reason.ASSET_UNKNOWN.name


# ------------------------------------------------------------------------------------ cash and requirement


def test_without_positions_all_cash_may_leave_and_not_one_unit_more() -> None:
    world = two_traders()
    assert world.reason(withdrawing(2_000 * USD + 1)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdrawing(2_000 * USD))
    assert world.reason(withdrawing(1, name="w2")) == Reason.WITHDRAWAL_EXCEEDS.name


def test_with_positions_the_requirement_stays_to_the_last_unit() -> None:
    """1,000 lots require 1,300 of the 1,998.40 that are left after the fee."""
    world = two_traders()
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    free = 2_000 * USD - 1_600_000 - 1_300 * USD
    assert world.reason(withdrawing(free + 1)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdrawing(free))
    measured = world.measured(ALICE)
    assert measured.equity_minor == measured.requirement_minor


def test_collateral_carries_the_requirement_after_its_haircut() -> None:
    """10 ether count 1,600, so all cash may leave; of the ether, what counts 300 of the 1,600."""
    world = two_traders()
    world.deposit(ALICE, 10 * 10**18, ETH)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    world.ok(withdrawing(world.state.cash(ALICE)))
    free = 300 * 10**18 // 160
    assert world.reason(withdrawing(free + 1, asset=ETH, name="w2")) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdrawing(free, asset=ETH, name="w2"))


def test_a_token_that_counts_nothing_may_leave_at_any_time() -> None:
    world = two_traders()
    world.ok(ListAsset(asset=replace(ETHER, id=TOKEN, issuer=DEX)))
    world.deposit(ALICE, 10**18, TOKEN)
    world.trade(ALICE, BOB, 1_500, 80_000)
    world.ok(withdrawing(10**18, asset=TOKEN))


def test_a_gain_is_not_withdrawable_as_long_as_the_requirement_needs_it() -> None:
    world = two_traders()
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=81_000, ETH=2_000)
    measured = world.measured(ALICE)
    free = measured.equity_minor - measured.requirement_minor
    assert world.reason(withdrawing(free + 1)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdrawing(free))


def linked_traders() -> World:
    world = two_traders()
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    link(world, "alice", ALICE, world.account("other", "alice"))
    return world


def test_in_a_linked_set_each_account_pays_from_its_own_money_and_the_set_must_stand() -> None:
    world = linked_traders()
    elsewhere = account_key(MemberId("other"), "alice")
    assert world.reason(withdrawing(1, elsewhere)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.deposit(elsewhere, 500 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    free = 2_500 * USD - 2_400_000 - 1_950 * USD
    assert world.reason(withdrawing(free + 1, elsewhere)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdrawing(500 * USD, elsewhere, name="w2"))
    assert world.measured("link/alice").equity_minor == free - 500 * USD + 1_950 * USD


def test_negative_cash_is_no_cash_whatever_collateral_there_is() -> None:
    """Eve's ether is worth more than she needs, but her cash is negative: nothing leaves (rulebook §3)."""
    world = two_traders()
    eve = world.account("dex", "eve")
    world.deposit(eve, 100 * 10**18, ETH)
    world.deposit(eve, 2 * USD)
    world.deposit(BOB, 10_000 * USD)
    fund(world, capital=1_000 * USD)
    assert world.trade(eve, BOB, 1_000, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    assert world.state.cash(eve) < 0
    assert shut_by(world) == []
    assert world.reason(withdrawing(1, eve, ETH)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.deposit(eve, -world.state.cash(eve))
    world.ok(withdrawing(1, eve, ETH))


# -------------------------------------------------------------------------------------------------- the gate


def test_the_gate_is_shut_before_the_first_marks_and_under_stale_ones() -> None:
    world = empty_house()
    world.ok(AdmitMember(member=DEX, name="Dex"))
    world.deposit(world.account("dex", "alice"), 100)
    assert shut_by(world) == ["NO_MARKS"]
    assert world.reason(withdrawing(1)) == Reason.GATE_SHUT.name
    world.prices(BTC=80_000, ETH=2_000)
    world.now_ms += PARAMETERS.withdraw_validity_ms
    world.ok(withdrawing(1))
    world.now_ms += 1
    assert shut_by(world) == ["MARKS_STALE"]
    assert world.reason(withdrawing(1, name="w2")) == Reason.GATE_SHUT.name


def test_the_gate_is_shut_from_a_snapshot_to_the_end_of_its_cycle() -> None:
    world = two_traders()
    cycle = replace(world.state.newest_cycle, closed=False)
    assert [g.reason for g in gates(replace(world.state, cycle=cycle), world.now_ms)] == ["CYCLE_OPEN"]


def test_the_gate_shuts_when_more_is_lent_than_the_house_can_bear() -> None:
    """A winner's gain is not paid out of other clients' money."""
    world = two_traders()
    eve = world.account("dex", "eve")
    world.deposit(eve, 100 * 10**18, ETH)
    world.deposit(eve, 1_600_000)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(eve, BOB, 1_000, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    assert world.state.cash(eve) == -100 * USD
    assert shut_by(world) == ["NEGATIVE_CASH"]
    assert world.reason(withdrawing(1, BOB)) == Reason.GATE_SHUT.name
    fund(world, capital=100 * USD - 1)
    assert shut_by(world) == ["NEGATIVE_CASH"]
    fund(world, capital=1)
    assert shut_by(world) == []
    world.ok(withdrawing(1, BOB))


def in_answering() -> World:
    """Alice lost more than she had; her member is called for the hole and has not paid yet."""
    world = with_provider(two_traders())
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=60_000, ETH=2_000)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.ANSWERING]
    return world


def test_the_gate_is_shut_while_a_loss_is_allocated() -> None:
    world = in_answering()
    assert shut_by(world) == ["DEFAULT_OPEN"]
    assert world.reason(withdrawing(1, BOB)) == Reason.GATE_SHUT.name
    world.deposit(DEX_HOUSE, 10_000 * USD)
    assert shut_by(world) == []
    world.ok(withdrawing(1, BOB))


def test_the_gate_stays_shut_while_an_assessment_is_unpaid() -> None:
    world = failed_member(pool_floor_minor=10**6 * USD)
    world.prices(BTC=60_000, ETH=2_000)
    assert shut_by(world) == ["ASSESSMENT_UNPAID"]
    assert world.reason(withdrawing(1, DESK)) == Reason.GATE_SHUT.name
    world.deposit(house_account(MemberId("desk")), 10**6 * USD)
    assert shut_by(world) == []


def test_the_gate_stays_shut_over_a_loss_that_nobody_could_pay() -> None:
    """Alice withdrew what she gained on the way up; bob, whose cash stood for it, has none on the way down."""
    world = empty_house()
    world.ok(AdmitMember(member=DEX, name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 2_000 * USD if name == "alice" else 2_400_000)
    world.prices(BTC=80_000, ETH=2_000)
    world.deposit(BOB, 100 * 10**18, ETH)
    fund(world, capital=10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=100_000, ETH=2_000)
    world.ok(withdrawing(2_500 * USD))
    pay_out(world, "w1")
    world.prices(BTC=80_000, ETH=2_000)
    world.wait(HOUR_MS)
    (default,) = world.state.defaults.values()
    assert default.uncovered_minor == 502_400_000 - 960_000, "less the insurance fund, a fifth of the fees"
    world.prices(BTC=80_000, ETH=2_000)
    assert shut_by(world) == ["LOSS_UNCOVERED"]
    assert world.reason(withdrawing(1, BOB, ETH, "w2")) == Reason.GATE_SHUT.name
    world.ok(RecordRecovery(default=default.id, amount_minor=default.uncovered_minor))
    assert shut_by(world) == []


def failed_member(pool_floor_minor: int = 0) -> World:
    """As in ``in_answering``, but the member has nothing to answer with, and fails."""
    world = with_provider(empty_house(replace(PARAMETERS, pool_floor_minor=pool_floor_minor)))
    world.ok(AdmitMember(member=DEX, name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 2_000 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    size_pool(world)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=60_000, ETH=2_000)
    world.wait(HOUR_MS)
    assert world.state.members[DEX].status is MemberStatus.DEFAULTED
    return world


# ------------------------------------------------------------------------------------------ after a default


def test_a_default_releases_what_was_held_and_not_sent() -> None:
    """Else the money would leave while others pay for the hole."""
    world = with_provider(two_traders())
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    world.ok(withdrawing(600 * USD))
    world.prices(BTC=60_000, ETH=2_000)
    assert world.state.accounts[ALICE].status is AccountStatus.CLOSED_OUT
    assert world.state.withdrawals["w1"].state is WithdrawalState.RELEASED
    assert world.reason(SettleWithdrawal(withdrawal="w1", paid=True)) == Reason.WITHDRAWAL_SETTLED.name
    assert world.state.balance(chart.withdrawal("w1", USDC)) == 0


@pytest.mark.parametrize("paid", [True, False])
def test_what_was_sent_before_a_default_is_settled_by_custodys_word_alone(paid: bool) -> None:
    """Custody may have paid already: released, the money would be there twice. What comes back waits for claims."""
    world = with_provider(two_traders())
    world.deposit(DEX_HOUSE, 10_000 * USD)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    world.ok(withdrawing(600 * USD))
    world.ok(SendWithdrawal(withdrawal="w1"))
    world.prices(BTC=60_000, ETH=2_000)
    (default,) = world.state.defaults.values()
    assert (default.stage, state_of_withdrawal(world)) == (Stage.RECOVERING, WithdrawalState.SENT)
    assert world.state.cash(ALICE) == 0
    world.ok(SettleWithdrawal(withdrawal="w1", paid=paid))
    assert world.state.cash(ALICE) == (0 if paid else 600 * USD)
    assert world.state.balance(chart.withdrawal("w1", USDC)) == 0
    if not paid:
        assert world.reason(withdrawing(1, name="w2")) == Reason.ACCOUNT_CLOSED_OUT.name
        owed = sum(claim.amount_minor for claim in default.claims)
        world.ok(RecordRecovery(default=default.id, amount_minor=owed))
        world.ok(withdrawing(600 * USD, name="w2"))


def test_what_a_members_house_account_held_pays_its_answer() -> None:
    world = with_provider(two_traders())
    world.deposit(DEX_HOUSE, 500 * USD)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.ok(withdrawing(500 * USD, DEX_HOUSE))
    world.prices(BTC=60_000, ETH=2_000)
    world.wait(HOUR_MS)
    assert world.state.members[DEX].status is MemberStatus.DEFAULTED
    assert world.state.withdrawals["w1"].state is WithdrawalState.RELEASED
    (default,) = world.state.defaults.values()
    assert [c.amount_minor for c in default.claims if c.tier == ANSWER] == [500 * USD]


def closed_out_with_ether() -> World:
    """Carol's ether found no buyer; her member paid 1,691.60 for the hole and has a claim."""
    world = two_traders()
    world.deposit(DEX_HOUSE, 10_000 * USD)
    carol = world.account("dex", "carol")
    world.deposit(carol, 10 * 10**18, ETH)
    world.deposit(carol, 10 * USD)
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(carol, BOB, 1_000, 80_000).accepted
    world.prices(BTC=63_000, ETH=2_000)
    world.do(PayDue(member=DEX))
    assert world.state.accounts[carol].status is AccountStatus.CLOSED_OUT
    return world


def test_what_was_not_sold_stays_with_the_estate_until_every_claim_is_paid() -> None:
    world = closed_out_with_ether()
    carol = account_key(DEX, "carol")
    (default,) = world.state.defaults.values()
    owed = sum(claim.amount_minor for claim in default.claims)
    assert owed > 0
    for asset, amount in ((ETH, 10**18), (USDC, 1)):
        command = withdrawing(amount, carol, asset)
        assert world.reason(command) == Reason.ACCOUNT_CLOSED_OUT.name
    world.ok(RecordRecovery(default=default.id, amount_minor=owed))
    assert world.state.defaults[DefaultId("d1")].stage is Stage.CLOSED
    world.ok(withdrawing(10**18, carol, ETH))


def test_what_is_left_of_a_set_that_owed_nothing_belongs_to_its_participant() -> None:
    """Dan's liquidation found no taker; torn up at the mark he has money left, and may have it."""
    world = two_traders()
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=74_000, ETH=2_000)
    assert world.state.accounts[ALICE].status is AccountStatus.CLOSED_OUT
    assert [d.stage for d in world.state.defaults.values()] == [Stage.CLOSED]
    world.ok(withdrawing(world.state.cash(ALICE)))


def test_the_house_account_of_a_failed_member_pays_claims_before_it_is_emptied() -> None:
    world = failed_member()
    world.deposit(DEX_HOUSE, 10**18, ETH)
    assert world.reason(withdrawing(1, DEX_HOUSE, ETH)) == Reason.ACCOUNT_CLOSED_OUT.name


def test_custody_cannot_have_paid_what_it_does_not_hold() -> None:
    """With a liquidity line a gain may be held for withdrawal before its money is there."""
    world = empty_house(replace(PARAMETERS, liquidity_line_minor=10**6 * USD))
    world.ok(AdmitMember(member=DEX, name="Dex"))
    eve, bob = world.account("dex", "eve"), world.account("dex", "bob")
    world.deposit(eve, 100 * 10**18, ETH)
    world.deposit(eve, 1_600_000)
    world.deposit(bob, 2_000 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(eve, bob, 1_000, 80_000).accepted
    world.prices(BTC=75_000, ETH=2_000)
    assert world.trade(bob, eve, 1_000, 75_000).accepted
    gained = world.state.cash(bob)
    assert gained > world.state.balance(chart.custody(USDC))
    world.ok(withdrawing(gained, bob))
    world.ok(SendWithdrawal(withdrawal="w1"))
    assert world.reason(SettleWithdrawal(withdrawal="w1", paid=True)) == Reason.CUSTODY_INSUFFICIENT.name
    fund(world, capital=500 * USD)
    world.ok(SettleWithdrawal(withdrawal="w1", paid=True))


def test_every_reason_of_the_treasury_is_tested_here() -> None:
    given = findall(r"Reason\.([A-Z_]+)", Path(treasury.__file__).read_text(encoding="utf-8"))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given) <= set(tested)
