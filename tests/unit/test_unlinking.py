"""Undoing a link: notice, a business day to pay up, then each part alone (rulebook §2)."""

from dataclasses import replace

import pytest

from clearing.model.commands import AdmitMember, RequestWithdrawal, SetBreaker, Tick, UnlinkAccounts
from clearing.model.ids import AccountKey, MemberId, ParticipantId, SetId, account_key, single_set
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome, Reason
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    BreakerState,
    MemberStatus,
    NettingSet,
    Unlinking,
    UnlinkingPart,
)
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
RICH = account_key(OTHER, "rich")
LINK = SetId("link/alice")
HEDGED_LOTS = 1_000


def hedged(here: int = 500 * USD, there: int = 3_000 * USD) -> World:
    """Alice is long 1,000 lots at dex and short as many at other, linked: together she needs no margin, alone
    1,300.00 on each side. It is a Thursday.
    """
    lasting = replace(
        PARAMETERS,
        mark_validity_ms=30 * DAY_MS,
        trade_validity_ms=30 * DAY_MS,
        withdraw_validity_ms=30 * DAY_MS,
        outage_after_ms=30 * DAY_MS,
        trade_fee_bp=0,
    )
    world = with_provider(empty_house(lasting))
    for member in (DEX, OTHER):
        world.ok(AdmitMember(member=member, name=member))
    for name, cash in (("alice", here), ("bob", 50_000 * USD)):
        world.deposit(world.account("dex", name), cash)
    for name, cash in (("alice", there), ("rich", 50_000 * USD)):
        world.deposit(world.account("other", name), cash)
    world.prices(BTC=80_000, ETH=2_000)
    link(world, "alice", ALICE, THERE)
    for _ in range(4):
        assert world.trade(ALICE, BOB, HEDGED_LOTS // 4, 80_000).accepted
        assert world.trade(RICH, THERE, HEDGED_LOTS // 4, 80_000).accepted
    return world


def notice(member: MemberId = OTHER) -> UnlinkAccounts:
    return UnlinkAccounts(member=member, participant=ParticipantId("alice"))


def noticed(world: World, member: MemberId = OTHER) -> Outcome:
    return world.ok(notice(member))


def sets_of(world: World, *keys: AccountKey) -> list[str]:
    return [str(world.state.accounts[key].netting_set) for key in keys]


# --------------------------------------------------------------------------------------------------- the notice


@pytest.mark.parametrize("member", [DEX, OTHER])
def test_any_member_concerned_gives_notice_and_each_part_is_called(member: MemberId) -> None:
    world = hedged()
    outcome = noticed(world, member)
    told = [(event.kind, event.subject, event.amount_minor) for event in outcome.events]
    kind = Kind.UNLINKING_NOTICED.name
    assert told == [(kind, ALICE, 800 * USD), (kind, THERE, 0)]
    assert world.state.unlinkings[LINK] == Unlinking(
        netting_set=LINK,
        noticed_by=member,
        noticed_ms=world.now_ms,
        due_ms=world.now_ms + DAY_MS,
        parts=(
            UnlinkingPart(account=ALICE, short_minor=800 * USD),
            UnlinkingPart(account=THERE, short_minor=0),
        ),
    )
    assert outcome.next_due_ms == world.now_ms + DAY_MS


def test_a_weekend_is_no_business_day() -> None:
    world = hedged()
    world.wait(DAY_MS)
    noticed(world)
    assert world.state.unlinkings[LINK].due_ms == world.now_ms + 3 * DAY_MS


def test_only_who_is_concerned_gives_notice_and_once() -> None:
    world = hedged()
    assert world.reason(notice(MemberId("desk"))) == Reason.LINK_UNKNOWN.name, (
        "that others have one is their business"
    )
    nobody = UnlinkAccounts(member=DEX, participant=ParticipantId("bob"))
    assert world.reason(nobody) == Reason.LINK_UNKNOWN.name
    noticed(world)
    assert world.reason(notice(DEX)) == Reason.ALREADY_EXISTS.name


def test_a_member_in_default_gives_no_notice() -> None:
    world = hedged()
    failed = replace(world.state.members[OTHER], status=MemberStatus.DEFAULTED)
    world.state = replace(world.state, members=world.state.members.set(OTHER, failed))
    assert world.reason(notice()) == Reason.MEMBER_NOT_ACTIVE.name


def broken() -> World:
    """The link bought more, and lost all that it had; its members are called for the hole."""
    world = hedged()
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=50_000, ETH=2_000)
    return world


def test_a_link_that_was_closed_out_is_not_undone() -> None:
    assert broken().reason(notice()) == Reason.ACCOUNT_CLOSED_OUT.name


def test_no_notice_is_taken_while_a_loss_is_divided() -> None:
    world = hedged()
    eve = world.account("dex", "eve")
    world.deposit(eve, 1_500 * USD)
    assert world.trade(eve, BOB, 1_000, 80_000).accepted
    world.prices(BTC=60_000, ETH=2_000)
    assert world.reason(notice()) == Reason.DEFAULT_OPEN.name


# ------------------------------------------------------------------------------------------------ in between


def test_the_set_only_reduces_meanwhile() -> None:
    world = hedged(here=3_000 * USD)
    noticed(world)
    assert world.trade(ALICE, BOB, 1, 80_000).results[0].reason == Reason.REDUCE_ONLY.name
    assert sets_of(world, ALICE, THERE) == [LINK, LINK]


def test_a_part_is_not_emptied_meanwhile() -> None:
    def withdrawing(amount: int) -> RequestWithdrawal:
        return RequestWithdrawal(withdrawal=f"w{amount}", account=THERE, asset=USDC, amount_minor=amount)

    world = hedged()
    noticed(world)
    assert world.reason(withdrawing(1_700 * USD + 1)) == Reason.WITHDRAWAL_EXCEEDS.name
    world.ok(withdrawing(1_700 * USD))


def test_a_default_ends_the_notice() -> None:
    world = hedged()
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    noticed(world)
    world.prices(BTC=50_000, ETH=2_000)
    assert not world.state.unlinkings
    assert LINK in world.state.netting_sets
    world.wait(2 * DAY_MS)
    assert LINK in world.state.netting_sets


# ----------------------------------------------------------------------------------------------------- afterwards


def test_parts_that_were_paid_up_stand_alone_in_peace() -> None:
    world = hedged()
    noticed(world)
    world.deposit(ALICE, 800 * USD)
    world.wait(DAY_MS - 1)
    assert sets_of(world, ALICE, THERE) == [LINK, LINK]
    assert kinds_of(world.wait(1)) == [Kind.NETTING_SET_UNLINKED.name]
    assert sets_of(world, ALICE, THERE) == [ALICE, THERE]
    for key in (ALICE, THERE):
        alone = NettingSet(id=single_set(key), participant=ParticipantId("alice"), accounts=(key,))
        assert world.state.netting_sets[single_set(key)] == alone
    assert LINK not in world.state.netting_sets
    assert not world.state.unlinkings
    assert world.trade(THERE, RICH, 1, 80_000).accepted
    assert world.ok(Tick()).next_due_ms is None
    world.prices(BTC=80_000, ETH=2_000)


def test_accounts_that_were_unlinked_may_be_linked_again() -> None:
    world = hedged()
    noticed(world)
    world.deposit(ALICE, 800 * USD)
    world.wait(DAY_MS)
    link(world, "alice", ALICE, THERE)
    assert sets_of(world, ALICE, THERE) == [LINK, LINK]


@pytest.mark.parametrize(
    ("here", "happens"),
    [
        (1_299 * USD, Kind.CALL_ISSUED),
        (1_040 * USD, Kind.CALL_ISSUED),
        (1_039 * USD, Kind.LIQUIDATION_OPENED),
    ],
    ids=str,
)
def test_a_part_that_was_not_paid_up_is_treated_as_it_stands(here: int, happens: Kind) -> None:
    world = hedged(here=here)
    noticed(world)
    assert kinds_of(world.wait(DAY_MS))[:2] == [Kind.NETTING_SET_UNLINKED.name, happens.name]


def test_a_part_that_owes_more_than_it_has_is_in_default() -> None:
    world = hedged()
    world.prices(BTC=74_000, ETH=2_000)
    world.deposit(THERE, 5_000 * USD)
    noticed(world)
    for key in world.state.calls:
        pytest.fail(f"{key} is open")
    outcome = world.wait(DAY_MS)
    assert Kind.DEFAULT_DECLARED.name in kinds_of(outcome)
    assert sets_of(world, THERE) == [THERE]


# ----------------------------------------------------------------------------------------------- what makes it wait


def test_a_link_is_not_undone_under_a_halt() -> None:
    world = hedged()
    noticed(world)
    world.ok(SetBreaker(scope="*", state=BreakerState.HALTED, reason="why"), "administrator/anna")
    world.wait(DAY_MS)
    assert sets_of(world, ALICE) == [LINK]
    for name in ("anna", "bert"):
        world.ok(SetBreaker(scope="*", state=BreakerState.OPEN, reason="why"), f"administrator/{name}")
    assert sets_of(world, ALICE) == [LINK]
    world.prices(BTC=80_000, ETH=2_000)
    assert sets_of(world, ALICE) == [ALICE]


def test_a_link_is_not_undone_while_a_call_or_a_liquidation_is_open() -> None:
    world = hedged(there=2_000 * USD)
    assert world.trade(ALICE, BOB, 900, 80_000).accepted
    noticed(world)
    world.now_ms += DAY_MS - HOUR_MS // 2
    world.prices(BTC=61_000, ETH=2_000)
    assert list(world.state.calls) == [f"margin/{LINK}"]
    world.wait(HOUR_MS // 2)
    assert sets_of(world, ALICE) == [LINK]
    outcome = world.wait(HOUR_MS // 2)
    assert Kind.LIQUIDATION_OPENED.name in kinds_of(outcome)
    while LINK in world.state.liquidations:
        world.wait(60_000)
    world.wait(1)
    assert sets_of(world, ALICE, THERE) == [ALICE, THERE]
    assert world.state.position(THERE, BTC_PERP) <= 0


def test_a_link_is_not_undone_on_stale_marks() -> None:
    world = hedged()
    noticed(world)
    world.wait(31 * DAY_MS)
    assert sets_of(world, ALICE) == [LINK]
    world.prices(BTC=80_000, ETH=2_000)
    assert sets_of(world, ALICE) == [ALICE]
