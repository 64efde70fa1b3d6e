"""What trades would do to an account, and how much could be withdrawn: nothing is recorded, and it comes true."""

from bisect import bisect_left

import pytest

from clearing.decide.treasury import withdrawable
from clearing.decide.what_if import Imagined, WhatIf, what_if
from clearing.model.commands import (
    Deposit,
    MoveCash,
    RequestWithdrawal,
    SendWithdrawal,
    SetBreaker,
    SettleWithdrawal,
    SuspendMember,
)
from clearing.model.house import rows_of
from clearing.model.ids import AccountKey, AssetId, InstrumentId, MemberId
from clearing.model.outcomes import Reason
from clearing.model.values import BreakerState
from tests.builders import (
    ALICE,
    ANNA,
    BOB,
    BTC_PERP,
    ETH,
    USD,
    USDC,
    World,
    copy_of,
    kinds_of,
    link,
    two_traders,
)

DEX = MemberId("dex")
PRICE = 80_000


def asked(world: World, *lots: int, price_ticks: int = PRICE, instrument: InstrumentId = BTC_PERP) -> WhatIf:
    """What alice's trades would do."""
    trades = [Imagined(instrument, one, price_ticks) for one in lots]
    return what_if(world.state, ALICE, trades, world.now_ms)


def reasons(found: WhatIf) -> list[str]:
    return [result.reason for result in found.results]


def test_what_is_imagined_is_what_then_happens() -> None:
    world = two_traders()
    before = rows_of(world.state)
    imagined = asked(world, 500, -200)
    assert rows_of(world.state) == before
    assert imagined.before == world.measured(ALICE)
    assert reasons(imagined) == ["", ""]
    world.trade(ALICE, BOB, 500, PRICE)
    world.trade(BOB, ALICE, 200, PRICE)
    assert imagined.after == world.measured(ALICE)


def test_a_trade_that_is_refused_changes_nothing_and_the_next_is_decided_without_it() -> None:
    world = two_traders()
    found = asked(world, 10**6, 100)
    assert reasons(found) == [Reason.MARGIN_INSUFFICIENT.name, ""]
    assert found.after == asked(world, 100).after
    assert reasons(asked(world, 1, price_ticks=PRICE * 2)) == [Reason.PRICE_OUTSIDE_BAND.name]
    assert reasons(asked(world, 1, instrument=InstrumentId("DOGE"))) == [Reason.INSTRUMENT_UNKNOWN.name]


def test_the_largest_trade_that_is_imagined_is_the_largest_that_is_taken() -> None:
    world = two_traders()
    largest = bisect_left(range(1, 2_500), True, key=lambda lots: reasons(asked(world, lots)) != [""])
    assert copy_of(world).trade(ALICE, BOB, largest, PRICE).accepted
    refused = world.trade(ALICE, BOB, largest + 1, PRICE)
    assert reasons(asked(world, largest + 1)) == [refused.results[0].reason]


@pytest.mark.parametrize("state", [BreakerState.REDUCE_ONLY, BreakerState.HALTED])
def test_what_reduces_is_taken_when_only_that_is_whatever_the_other_side_does(state: BreakerState) -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 500, PRICE)
    world.ok(SetBreaker(scope=BTC_PERP, state=state, reason="test"), ANNA)
    expected = "" if state is BreakerState.REDUCE_ONLY else state.name
    assert reasons(asked(world, -100, 100)) == [expected, state.name]


def test_a_suspended_member_may_imagine_only_what_reduces() -> None:
    world = two_traders()
    world.trade(ALICE, BOB, 500, PRICE)
    world.ok(SuspendMember(member=DEX, reason="test"), ANNA)
    assert reasons(asked(world, -100)) == [""]
    assert reasons(asked(world, 100)) == [Reason.MEMBER_SUSPENDED.name]


# what could be withdrawn ------------------------------------------------------------------------------


def most(world: World, asset: AssetId = USDC) -> int:
    amount, rejected = withdrawable(world.state, ALICE, asset, world.now_ms)
    assert rejected is None
    return amount


def withdraw(
    amount_minor: int, asset: AssetId = USDC, own: str = "w", key: AccountKey = ALICE
) -> RequestWithdrawal:
    return RequestWithdrawal(withdrawal=f"{key}/{own}", account=key, asset=asset, amount_minor=amount_minor)


@pytest.mark.parametrize("asset", [USDC, ETH])
def test_the_most_that_can_be_withdrawn_is_held_and_one_more_is_refused(asset: AssetId) -> None:
    world = two_traders()
    world.deposit(ALICE, 10**18, ETH)
    world.trade(ALICE, BOB, 1_000, PRICE)
    amount = most(world, asset)
    assert amount > 0
    assert world.reason(withdraw(amount + 1, asset)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdraw(amount, asset))
    assert most(world, asset) == 0


def test_nothing_can_be_withdrawn_while_a_gate_is_shut_and_the_reason_is_told() -> None:
    world = two_traders()
    assert most(world) == 2_000 * USD
    late_ms = world.now_ms + world.state.parameters.withdraw_validity_ms + 1
    amount, rejected = withdrawable(world.state, ALICE, USDC, late_ms)
    assert amount == 0
    assert rejected is not None
    assert rejected.reason is Reason.GATE_SHUT


def test_an_account_without_cash_can_withdraw_nothing() -> None:
    world = two_traders(cash_minor=200 * USD)
    for key in (ALICE, BOB):
        world.deposit(key, 10 * 10**18, ETH)
    assert world.trade(ALICE, BOB, 1_000, PRICE).accepted
    world.prices(BTC=77_000, ETH=2_000)
    assert world.state.cash(ALICE) < 0
    amount, _ = withdrawable(world.state, ALICE, USDC, world.now_ms)
    assert amount == 0


# names ------------------------------------------------------------------------------------------------


def test_an_id_under_an_account_is_free_whoever_took_it_elsewhere() -> None:
    world = two_traders()
    world.ok(withdraw(1))
    world.ok(withdraw(1, key=BOB))
    world.ok(RequestWithdrawal(withdrawal="w", account=ALICE, asset=USDC, amount_minor=1))
    assert world.reason(withdraw(1)) == Reason.ALREADY_EXISTS.name
    for withdrawal in (f"{BOB}/x", f"{ALICE}/", f"{ALICE}/x/y", f"{ALICE}/_", "dex/x", ""):
        command = RequestWithdrawal(withdrawal=withdrawal, account=ALICE, asset=USDC, amount_minor=1)
        assert world.reason(command) == Reason.NAME_MALFORMED.name
    world.ok(SendWithdrawal(withdrawal=f"{ALICE}/w"))
    world.ok(SettleWithdrawal(withdrawal=f"{ALICE}/w", paid=True))


def test_a_transfer_is_credited_once_by_custodys_reference() -> None:
    world = two_traders()
    arrived = Deposit(account=ALICE, asset=USDC, amount_minor=5, reference="tx:0x1")
    before = world.state.cash(ALICE)
    assert kinds_of(world.ok(arrived)) == []
    assert world.reason(arrived) == Reason.ALREADY_EXISTS.name
    assert (
        world.reason(Deposit(account=BOB, asset=ETH, amount_minor=1, reference="tx:0x1")) == "ALREADY_EXISTS"
    )
    assert world.state.cash(ALICE) == before + 5
    world.deposit(ALICE, 1)
    world.deposit(ALICE, 1)
    assert len(world.state.arrivals) == 1, "without a reference each is a deposit of its own"


def test_a_move_says_nothing_of_an_account_outside_the_set() -> None:
    world = two_traders()
    other = world.account("dex", "carol", "alice")
    link(world, "alice", ALICE, other)
    for target in (BOB, AccountKey("dex/nobody")):
        move = MoveCash(member=DEX, source=ALICE, target=target, amount_minor=1)
        assert world.reason(move) == Reason.ACCOUNTS_NOT_LINKED.name
