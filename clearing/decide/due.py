"""What the house owes to its own state (architecture: follow-ups are not stored).

``due`` looks at the state and the time and names the next step. The engine takes it, looks again,
and goes on until nothing is due, so a crash between two steps loses nothing: after replay the same
step is found. The order is fixed:

 1. the cycle whose snapshot was accepted is closed; an outage that has begun is written down (rulebook §6)
 2. proposals, by id: parameters that take effect, proposals whose time is over (rulebook §13)
 3. breakers that what was closed trips; those that a rule reopens, while the marks are valid to liquidate on
    (``market/validity``), by scope
 4. links that are undone, by netting set, and portings that nobody accepted, while the marks are valid
 5. expired calls, by key, while the marks are valid: in an outage call clocks stop (rulebook §6)
 6. liquidation steps, by netting set, while the marks are valid
 7. defaults, by id: close-out while the marks are valid, loss, answers that can be taken, answers that are due
 8. assessments, by key: what can be taken, what is due; contributions that are due back, by key
 9. the house's skin in the game, by the id of the default that drew on it
10. halves of trades that expired, or whose member is in default
11. losses without a default, as far as capital goes (rulebook §3)
12. members that left, by id: those that are not liable any more (rulebook §11.7)

Before 4 auctions are void, by id, that an outage or a halt interrupts, or that a paid cash call has made needless.
What an auction is held for waits for the end of its window, and then the same step awards it.

In an outage, and everything that is halted is in one, 3 to 6 wait, and so does what would close out anybody in 7
and 8 who has more than cash, but for a default that administrators let close; while everything is halted, those with
nothing but cash wait too. While an instrument is halted, what would close out a set that holds it waits.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from clearing.decide.auctions import auction_of, auctions_of, sets_of, void
from clearing.decide.breakers import (
    next_reopening_ms,
    passed_by_volume,
    reopen,
    reopens,
    trip_by_volume,
)
from clearing.decide.calls import call_key
from clearing.decide.close_out import close_out, fix_loss
from clearing.decide.cycle import close_cycle
from clearing.decide.expiry import expire
from clearing.decide.governance import next_governance_ms, proposal_step
from clearing.decide.halves import end_halves, ending
from clearing.decide.liquidation import step
from clearing.decide.losses import bear_loss, bearable_minor
from clearing.decide.membership import release_member
from clearing.decide.outage import begin, begins, can_close_out, cannot_close
from clearing.decide.porting import close_overdue, overdue
from clearing.decide.proposals import proposals_of
from clearing.decide.resolve import (
    answers_to_take,
    end_answers,
    end_assessment,
    end_replenishment,
    free_cash,
    take_answers,
    take_assessment,
)
from clearing.decide.restoration import next_restoration_ms, restore_skin, restores
from clearing.decide.unlinking import can_unlink, unlink
from clearing.default.exits import can_be_released, next_release_ms
from clearing.market.breakers import is_stuck
from clearing.market.validity import Use, usable, why_not
from clearing.model.draft import Draft
from clearing.model.house import House, ordered
from clearing.model.ids import DefaultId, MemberId, SetId, house_account
from clearing.model.values import Auction, AuctionKind, Call, CallKind, Liquidation, Stage
from ledger.require import require

STEPS_MAX = 1_000_000
"""A bound on the follow-ups of one command: beyond it the state does not settle, which is a bug."""

K = TypeVar("K")
Step = Callable[[Draft], None]


def run_due(draft: Draft) -> None:
    """Take the steps that are due until there is none."""
    for _ in range(STEPS_MAX):
        step_due = next(due(draft.house, draft.now_ms), None)
        if step_due is None:
            return
        step_due(draft)
    require(False, f"the state settles within {STEPS_MAX} steps")


def due(house: House, now_ms: int) -> Iterator[Step]:
    """The steps that are due, in their order. Only the first is valid once it has been taken."""
    if house.charter is None:
        return
    if house.cycle is not None and not house.cycle.closed:
        yield close_cycle
    if begins(house, now_ms):
        yield begin
    for proposal in proposals_of(house):
        step_of = proposal_step(house, proposal, now_ms)
        if step_of is not None:
            yield _with_key(step_of, proposal.id)
    for passed in passed_by_volume(house, now_ms):
        yield _with_key(trip_by_volume, passed)
    yield from _void_auctions(house, now_ms)
    if usable(house, Use.LIQUIDATE, now_ms):
        yield from _steps_by_marks(house, now_ms)
    for default in ordered(house.defaults):
        yield from _default_step(house, default.id, now_ms)
    yield from _assessments(house, now_ms)
    yield from _replenishments(house, now_ms)
    if ending(house, now_ms):
        yield end_halves
    if bearable_minor(house):
        yield bear_loss
    for member in ordered(house.members):
        if can_be_released(house, member, now_ms):
            yield _with_key(release_member, member.id)


def _void_auctions(house: House, now_ms: int) -> Iterator[Step]:
    for auction in ordered(house.auctions):
        why = _interrupted(house, auction, now_ms)
        if why:
            yield _voiding(auction, why)


def _interrupted(house: House, auction: Auction, now_ms: int) -> str:
    """Why an auction cannot go on (rulebook §6), or nothing."""
    if (rejected := why_not(house, Use.LIQUIDATE, now_ms)) is not None:
        return f"{rejected.reason.name} {rejected.detail}"
    if _is_for_cash(house, auction):
        is_called = call_key(CallKind.CASH, SetId(auction.subject)) in house.calls
        return "" if is_called else "the cash call was met"
    return "an instrument is halted" if any(is_stuck(house, s) for s in sets_of(house, auction)) else ""


def _is_for_cash(house: House, auction: Auction) -> bool:
    return auction.kind is AuctionKind.COLLATERAL and auction.subject in house.netting_sets


def _voiding(auction: Auction, why: str) -> Step:
    return lambda draft: void(draft, auction, why)


def _assessments(house: House, now_ms: int) -> Iterator[Step]:
    for key in sorted(house.assessments):
        if free_cash(house, house.assessments[key].member):
            yield _with_key(take_assessment, key)
        elif house.assessments[key].due_ms <= now_ms and not _cannot_close(
            house, house.assessments[key].member, now_ms
        ):
            yield _with_key(end_assessment, key)


def _replenishments(house: House, now_ms: int) -> Iterator[Step]:
    for key, owed in sorted(house.replenishments.items()):
        if owed.due_ms <= now_ms and not _cannot_close(house, owed.member, now_ms):
            yield _with_key(end_replenishment, key)
    for default in ordered(house.defaults):
        if restores(house, default, now_ms):
            yield _with_key(restore_skin, default.id)


def _steps_by_marks(house: House, now_ms: int) -> Iterator[Step]:
    """What is due only while the marks are valid."""
    for breaker in ordered(house.breakers):
        if reopens(house, breaker, now_ms):
            yield _with_key(reopen, breaker.scope)
    for unlinking in ordered(house.unlinkings):
        if can_unlink(house, unlinking, now_ms):
            yield _with_key(unlink, unlinking.netting_set)
    if overdue(house, now_ms):
        yield close_overdue
    yield from _expired_calls(house, now_ms)
    yield from _liquidation_steps(house, now_ms)


def _expired_calls(house: House, now_ms: int) -> Iterator[Step]:
    for key in sorted(house.calls):
        if _call_due_ms(house, house.calls[key]) <= now_ms:
            yield _with_key(expire, key)


def _liquidation_steps(house: House, now_ms: int) -> Iterator[Step]:
    for set_id in sorted(house.liquidations):
        if _step_due_ms(house, house.liquidations[set_id]) <= now_ms and not is_stuck(house, set_id):
            yield _with_key(step, set_id)


def _call_due_ms(house: House, call: Call) -> int:
    """When a call expires; one that collateral is on offer for, when the window is over."""
    kind = AuctionKind.COLLATERAL
    auction = auction_of(house, kind, call.netting_set) if call.kind is CallKind.CASH else None
    return call.due_ms if auction is None else auction.closes_ms


def _step_due_ms(house: House, liquidation: Liquidation) -> int:
    """When a step is taken; one whose slice is on offer, when the window is over."""
    auction = auction_of(house, AuctionKind.LIQUIDATION, liquidation.netting_set)
    return liquidation.next_step_ms if auction is None else auction.closes_ms


def _default_step(house: House, default_id: DefaultId, now_ms: int) -> Iterator[Step]:
    default = house.defaults[default_id]
    if default.stage is Stage.DECLARED:
        is_open = any(auction.closes_ms > now_ms for auction in auctions_of(house, default_id))
        if not is_open and can_close_out(house, default, now_ms):
            yield _with_key(close_out, default_id)
    elif default.stage is Stage.CLOSED_OUT:
        yield _with_key(fix_loss, default_id)
    elif default.stage is Stage.ANSWERING and answers_to_take(house, default):
        yield _with_key(take_answers, default_id)
    elif (
        default.stage is Stage.ANSWERING
        and default.answers_due_ms <= now_ms
        and not any(_cannot_close(house, answer.member, now_ms) for answer in default.answers)
    ):
        yield _with_key(end_answers, default_id)


def _cannot_close(house: House, member: MemberId, now_ms: int) -> bool:
    """Whether a member's own account cannot be closed out now."""
    return cannot_close(house, house.accounts[house_account(member)].netting_set, now_ms)


def _with_key(step_of: Callable[[Draft, K], None], key: K) -> Step:
    return lambda draft: step_of(draft, key)


def _auction_times_ms(house: House) -> list[int]:
    """When windows are over, and when the marks become too old before."""
    if not house.auctions:
        return []
    parameters = house.parameters
    most_ms = min(parameters.mark_validity_ms, parameters.outage_after_ms)
    return [
        house.newest_cycle.accepted_ms + most_ms + 1,
        *(auction.closes_ms for auction in ordered(house.auctions)),
    ]


def next_due_ms(house: House) -> int | None:
    """The next time at which something becomes due by the clock alone, or None. An outage stops calls, portings
    and liquidations, and that one begins makes nothing due.
    """
    times = _auction_times_ms(house)
    if house.outage is None:
        times += [_call_due_ms(house, call) for call in ordered(house.calls)]
        times += [porting.due_ms for porting in ordered(house.portings)]
        times += [_step_due_ms(house, liquidation) for liquidation in ordered(house.liquidations)]
    times += [d.answers_due_ms for d in ordered(house.defaults) if d.stage is Stage.ANSWERING]
    times += [assessment.due_ms for assessment in ordered(house.assessments)]
    times += [owed.due_ms for owed in ordered(house.replenishments)]
    times += next_restoration_ms(house)
    times += [half.due_ms for half in house.halves.values()]
    times += [unlinking.due_ms for unlinking in ordered(house.unlinkings)]
    times += next_governance_ms(house)
    times += next_reopening_ms(house)
    times += next_release_ms(house)
    return min(times, default=None)
