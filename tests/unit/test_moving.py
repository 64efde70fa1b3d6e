"""Cash moves between linked accounts (rulebook §2)."""

from dataclasses import replace
from pathlib import Path
from re import findall

import pytest

from clearing import chart
from clearing.decide import moving
from clearing.default.gate import gates
from clearing.model.commands import AdmitMember, MoveCash, SetBreaker, UnlinkAccounts
from clearing.model.ids import AccountKey, MemberId, ParticipantId, SetId, account_key
from clearing.model.outcomes import Reason
from clearing.model.values import HOUR_MS, AccountStatus, BreakerState, MemberStatus, Stage
from ledger.entry import credit, debit
from tests.builders import (
    ALICE,
    BOB,
    BTC_PERP,
    PARAMETERS,
    USD,
    USDC,
    World,
    empty_house,
    kinds_of,
    link,
    with_provider,
)

DEX, OTHER = MemberId("dex"), MemberId("other")
THERE = account_key(OTHER, "alice")
LINK = SetId("link/alice")


def linked() -> World:
    """Alice has 3,000 at dex and 1,000 at other, linked; 1,000 lots long at other. No fees."""
    world = with_provider(empty_house(replace(PARAMETERS, trade_fee_bp=0)))
    for member in (DEX, OTHER):
        world.ok(AdmitMember(member=member, name=member))
    rich = world.account("other", "rich")
    for key, cash in (
        (world.account("dex", "alice"), 3_000),
        (world.account("other", "alice"), 1_000),
        (world.account("dex", "bob"), 20_000),
        (rich, 20_000),
    ):
        world.deposit(key, cash * USD)
    world.prices(BTC=80_000, ETH=2_000)
    link(world, "alice", ALICE, THERE)
    assert world.trade(THERE, rich, 1_000, 80_000).accepted
    return world


def move(
    amount_minor: int, source: AccountKey = ALICE, target: AccountKey = THERE, member: MemberId = DEX
) -> MoveCash:
    return MoveCash(member=member, source=source, target=target, amount_minor=amount_minor)


def test_cash_moves_to_another_member_and_the_set_stands_as_before() -> None:
    world = linked()
    before = world.measured(LINK)
    world.ok(move(2_000 * USD))
    assert world.entries[-1].legs == (
        debit(chart.cash(ALICE, USDC), 2_000 * USD),
        credit(chart.cash(THERE, USDC), 2_000 * USD),
    )
    assert (world.state.cash(ALICE), world.state.cash(THERE)) == (1_000 * USD, 3_000 * USD)
    assert world.measured(LINK) == before


def test_what_is_moved_is_no_gain_and_no_loss() -> None:
    world = linked()
    pnl = world.state.pnl
    world.ok(move(1))
    assert world.state.pnl == pnl


def test_all_that_is_there_may_move_and_not_a_unit_more() -> None:
    world = linked()
    assert world.reason(move(3_000 * USD + 1)) == Reason.MOVE_EXCEEDS.name
    world.ok(move(3_000 * USD))
    assert world.state.cash(ALICE) == 0


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_is_positive(amount: int) -> None:
    assert linked().reason(move(amount)) == Reason.AMOUNT_NOT_POSITIVE.name


def test_cash_stays_in_its_netting_set() -> None:
    world = linked()
    assert world.reason(move(1, target=BOB)) == Reason.ACCOUNTS_NOT_LINKED.name
    assert world.reason(move(1, source=ALICE, target=ALICE)) == Reason.ACCOUNTS_NOT_LINKED.name
    assert world.reason(move(1, target=AccountKey("dex/no"))) == Reason.ACCOUNTS_NOT_LINKED.name
    assert world.reason(move(1, source=AccountKey("dex/no"))) == Reason.ACCOUNT_UNKNOWN.name


def test_only_the_member_that_gives_it_up_moves_it() -> None:
    world = linked()
    assert world.reason(move(1, member=OTHER)) == Reason.ACCOUNT_NOT_YOURS.name
    world.ok(move(1, source=THERE, target=ALICE, member=OTHER))


def test_the_gate_is_not_asked_for_nothing_leaves_the_house() -> None:
    world = linked()
    world.ok(SetBreaker(scope="*", state=BreakerState.HALTED, reason="incident"), actor="administrator/anna")
    assert gates(world.state, world.now_ms)
    world.ok(move(1))


def test_nothing_moves_while_the_link_is_undone() -> None:
    """Each part is called to its own requirement: it keeps what it has."""
    world = linked()
    world.ok(UnlinkAccounts(member=DEX, participant=ParticipantId("alice")))
    assert world.reason(move(1)) == Reason.SET_ENDING.name


def test_nothing_moves_while_the_set_is_liquidated() -> None:
    world = linked()
    world.prices(BTC=45_000, ETH=2_000)
    assert LINK in world.state.liquidations
    world.deposit(ALICE, 1)
    assert world.reason(move(1)) == Reason.SET_ENDING.name


def test_nothing_moves_once_the_set_is_in_default() -> None:
    """Its instrument is halted, so it waits for its close-out."""
    world = linked()
    world.ok(
        SetBreaker(scope=BTC_PERP, state=BreakerState.HALTED, reason="incident"), actor="administrator/anna"
    )
    world.prices(BTC=30_000, ETH=2_000)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.DECLARED]
    assert world.reason(move(1)) == Reason.SET_ENDING.name


def test_nothing_moves_while_a_loss_is_allocated() -> None:
    """Carol falls at dex, and alice has nothing to do with it: but she may be among the winners."""
    world = linked()
    carol = world.account("dex", "carol")
    world.deposit(carol, 1_310 * USD)
    assert world.trade(BOB, carol, 1_000, 80_000).accepted
    outcome = world.prices(BTC=95_000, ETH=2_000)
    assert "DEFAULT_DECLARED" in kinds_of(outcome)
    assert [d.stage for d in world.state.defaults.values()] == [Stage.ANSWERING]
    assert world.reason(move(1)) == Reason.DEFAULT_OPEN.name
    world.wait(HOUR_MS)
    assert world.state.members[DEX].status is MemberStatus.DEFAULTED
    assert world.reason(move(1)) == Reason.MEMBER_NOT_ACTIVE.name
    world.ok(move(1, source=THERE, target=ALICE, member=OTHER))


def test_a_closed_out_account_gives_and_gets_nothing() -> None:
    world = linked()
    world.prices(BTC=30_000, ETH=2_000)
    assert world.state.accounts[ALICE].status is AccountStatus.CLOSED_OUT
    assert world.reason(move(1)) == Reason.ACCOUNT_CLOSED_OUT.name


def test_every_reason_of_a_move_is_tested_here() -> None:
    given = findall(r"Reason\.([A-Z_]+)", Path(moving.__file__).read_text(encoding="utf-8"))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given) <= set(tested)
