"""The deciders: one for each command, and the one function that the writer calls.

``decide`` is pure: the same state, request and time give the same entries and the same answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from clearing.decide.attestation import record_attestation
from clearing.decide.bidding import place_bid, withdraw_bid
from clearing.decide.breakers import set_breaker
from clearing.decide.changes import GOVERNED, direct_refusal, propose_change
from clearing.decide.due import next_due_ms, run_due
from clearing.decide.funding import publish_funding
from clearing.decide.governance import approve_proposal, propose_parameters, reject_proposal
from clearing.decide.history import import_history
from clearing.decide.losses import replace_lost_asset
from clearing.decide.membership import apply_for_membership, leave_house, suspend_member
from clearing.decide.moving import move_cash
from clearing.decide.outage import close_in_outage
from clearing.decide.porting import accept_porting
from clearing.decide.prices import apply_prices
from clearing.decide.recovery import record_recovery
from clearing.decide.registry import (
    found_house,
    link_accounts,
    open_account,
    register_provider,
)
from clearing.decide.reports import pull_report, record_report
from clearing.decide.resolve import pay_due
from clearing.decide.revocation import revoke_certificate
from clearing.decide.trades import submit_trades
from clearing.decide.treasury import (
    contribute_to_pool,
    deposit,
    fund_house,
    request_withdrawal,
    send_withdrawal,
    settle_withdrawal,
    size_pool,
)
from clearing.decide.unlinking import unlink_accounts
from clearing.decide.wind_down import wound_down_refusal
from clearing.model.codec import to_text
from clearing.model.commands import (
    AcceptPorting,
    ApplyForMembership,
    ApplyPrices,
    ApproveProposal,
    CloseInOutage,
    Command,
    ContributeToPool,
    Deposit,
    FoundHouse,
    FundHouse,
    ImportHistory,
    LeaveHouse,
    LinkAccounts,
    MoveCash,
    OpenAccount,
    PayDue,
    PlaceBid,
    ProposeChange,
    ProposeParameters,
    PublishFunding,
    PullReport,
    RecordAttestation,
    RecordRecovery,
    RecordReport,
    RegisterProvider,
    RejectProposal,
    ReplaceLostAsset,
    RequestWithdrawal,
    RevokeCertificate,
    SendWithdrawal,
    SetBreaker,
    SettleWithdrawal,
    SizePool,
    SubmitTrades,
    SuspendMember,
    Tick,
    UnlinkAccounts,
    WithdrawBid,
)
from clearing.model.draft import Draft
from clearing.model.house import House
from clearing.model.outcomes import Outcome, Reason, Rejected, Result, Status, accepted, refused
from ledger.decision import Decision


def _tick(draft: Draft, command: Tick) -> None:
    """Time passed; what is due follows every command anyway."""


Decider = Callable[[Draft, Any], Rejected | tuple[Result, ...] | None]

DECIDERS: dict[type, Decider] = {
    **GOVERNED,
    FoundHouse: found_house,
    ApplyForMembership: apply_for_membership,
    SuspendMember: suspend_member,
    LeaveHouse: leave_house,
    OpenAccount: open_account,
    LinkAccounts: link_accounts,
    UnlinkAccounts: unlink_accounts,
    AcceptPorting: accept_porting,
    ProposeParameters: propose_parameters,
    ProposeChange: propose_change,
    ApproveProposal: approve_proposal,
    RejectProposal: reject_proposal,
    SetBreaker: set_breaker,
    RevokeCertificate: revoke_certificate,
    ImportHistory: import_history,
    CloseInOutage: close_in_outage,
    RegisterProvider: register_provider,
    PlaceBid: place_bid,
    WithdrawBid: withdraw_bid,
    FundHouse: fund_house,
    Deposit: deposit,
    RequestWithdrawal: request_withdrawal,
    SendWithdrawal: send_withdrawal,
    SettleWithdrawal: settle_withdrawal,
    MoveCash: move_cash,
    SizePool: size_pool,
    ContributeToPool: contribute_to_pool,
    ApplyPrices: apply_prices,
    PublishFunding: publish_funding,
    SubmitTrades: submit_trades,
    PayDue: pay_due,
    RecordRecovery: record_recovery,
    ReplaceLostAsset: replace_lost_asset,
    RecordAttestation: record_attestation,
    PullReport: pull_report,
    RecordReport: record_report,
    Tick: _tick,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A command, who asks for it, and the id under which it may be asked again."""

    request_id: str
    actor: str
    command: Command


def decide(house: House, request: Request, now_ms: int) -> Decision[House]:
    """What happens on ``request`` at ``now_ms``, follow-ups included."""
    draft = Draft(house=house, request_id=request.request_id, actor=request.actor, now_ms=now_ms)
    results = _results(draft, request.command)
    run_due(draft)
    outcome = Outcome(results=results, events=tuple(draft.events), next_due_ms=next_due_ms(draft.house))
    return Decision(
        state=draft.house,
        entries=tuple(draft.entries),
        answer=to_text(outcome),
        refusals=sum(1 for result in results if result.status is Status.REFUSED),
    )


def _results(draft: Draft, command: Command) -> tuple[Result, ...]:
    if draft.house.charter is None and not isinstance(command, FoundHouse):
        return (refused(Rejected(Reason.HOUSE_NOT_FOUNDED)),)
    refusal = wound_down_refusal(draft.house, command) or direct_refusal(draft.house, command)
    decided = refusal or DECIDERS[type(command)](draft, command)
    if isinstance(decided, tuple):
        return decided
    return (accepted() if decided is None else refused(decided),)
