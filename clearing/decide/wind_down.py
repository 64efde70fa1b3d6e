"""The end of the house (rulebook §11.9): a loss is left that no tier could pay.

Two administrators decide it, once no loss is being allocated and no assessment is open: tier 9 comes after tier 8.

1. What was held for withdrawal and not sent is given back, or who asked first would not share the loss.
2. Auctions are void. Calls, liquidations, notices to unlink, portings, an outage, and what was still to be put back
into the pool end; waiting halves lapse (``halves``).
3. Every position ends at the last settlement price, options for what they are worth: one entry an instrument.
4. What is uncovered is paid by everybody who has cash (``default/wind_down``), one entry a default; each payment
makes a claim, the first that a recovery repays.

From then on nothing is measured. The house takes in what is owed to it, pays back, records what it loses or recovers,
and can still be halted.
"""

from dataclasses import replace
from typing import Final

from clearing import chart
from clearing.decide.administrators import reason_refusal
from clearing.decide.auctions import void
from clearing.decide.declare import dropped
from clearing.decide.treasury import release_holds
from clearing.default.gate import loss_is_open
from clearing.default.purses import WIND_DOWN, claim_account
from clearing.default.tear_up import tear_up
from clearing.default.wind_down import cash_at_hand, shares
from clearing.model.commands import (
    ApproveProposal,
    Deposit,
    FundHouse,
    GrantRegulator,
    LeaveHouse,
    PayDue,
    ProposeChange,
    PullReport,
    RecordAttestation,
    RecordNonDefaultLoss,
    RecordRecovery,
    RecordReport,
    RejectProposal,
    ReplaceLostAsset,
    RequestWithdrawal,
    RevokeCertificate,
    SendWithdrawal,
    SetBreaker,
    SetJurisdiction,
    SettleWithdrawal,
    Tick,
    WindDown,
)
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered, single
from clearing.model.ids import AccountKey, DefaultId, InstrumentId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Claim, WoundDown
from ledger.entry import transfer

_STILL_TAKEN: Final = frozenset(
    {
        ApproveProposal,
        Deposit,
        FundHouse,
        GrantRegulator,
        LeaveHouse,
        PayDue,
        ProposeChange,
        PullReport,
        RecordAttestation,
        RecordNonDefaultLoss,
        RecordRecovery,
        RecordReport,
        RejectProposal,
        ReplaceLostAsset,
        RequestWithdrawal,
        RevokeCertificate,
        SendWithdrawal,
        SetBreaker,
        SetJurisdiction,
        SettleWithdrawal,
        Tick,
    }
)


def wound_down_refusal(house: House, command: object) -> Rejected | None:
    """Why a house that was wound down does not take a command."""
    if house.wound_down is None or type(command) in _STILL_TAKEN:
        return None
    return Rejected(Reason.HOUSE_WOUND_DOWN, f"at {house.wound_down.at_ms}")


def wind_down(draft: Draft, command: WindDown) -> Rejected | None:
    """End every position, share the loss, and let nothing new in."""
    rejected = reason_refusal(command.reason) or _refusal(draft.house)
    if rejected is not None:
        return rejected
    release_holds(draft, draft.house.accounts)
    for auction in ordered(draft.house.auctions):
        void(draft, auction, "the house is wound down")
    row = WoundDown(at_ms=draft.now_ms, reason=command.reason)
    draft.record(Kind.HOUSE_WOUND_DOWN, single("wound_down", row), *_ended(draft.house))
    draft.tell(Kind.HOUSE_WOUND_DOWN, draft.house.founded.house, sum(_uncovered(draft.house).values()))
    _end_positions(draft)
    _share_losses(draft)
    return None


def _refusal(house: House) -> Rejected | None:
    if loss_is_open(house):
        return Rejected(Reason.DEFAULT_OPEN)
    if house.assessments:
        return Rejected(
            Reason.DEFAULT_OPEN, f"assessments to be paid: {', '.join(sorted(house.assessments))}"
        )
    return None if _uncovered(house) else Rejected(Reason.NOTHING_UNCOVERED)


def _uncovered(house: House) -> dict[DefaultId, int]:
    return {one.id: one.uncovered_minor for one in ordered(house.defaults) if one.uncovered_minor}


def _ended(house: House) -> list[Put | Drop]:
    """What the house had begun and will not go on with."""
    ended = [change for set_id in sorted(house.netting_sets) for change in dropped(house, set_id)]
    ended += [Drop("replenishments", key) for key in sorted(house.replenishments)]
    return [*ended, Drop("outage", "")] if house.outage is not None else ended


def _end_positions(draft: Draft) -> None:
    """All who are long are torn up against all who are short."""
    house = draft.house
    longs: dict[InstrumentId, dict[AccountKey, int]] = {}
    for key in sorted(house.held):
        for instrument, lots in house.positions(key).items():
            if lots > 0:
                longs.setdefault(instrument, {})[key] = lots
    for instrument in sorted(longs):
        legs = tear_up(house, instrument, longs[instrument], instrument)
        draft.record(Kind.POSITIONS_WOUND_DOWN, legs=legs, references=(instrument,))
        draft.tell(Kind.POSITIONS_WOUND_DOWN, instrument, sum(longs[instrument].values()))


def _share_losses(draft: Draft) -> None:
    for default_id, parts in shares(_uncovered(draft.house), cash_at_hand(draft.house)).items():
        if parts:
            _share_loss(draft, default_id, parts)


def _share_loss(draft: Draft, default_id: DefaultId, parts: dict[AccountKey, int]) -> None:
    """One balanced entry: cash fills what is uncovered, and each payer has a claim for it."""
    house, asset = draft.house, draft.house.settlement
    default = house.defaults[default_id]
    claims = [Claim(tier=WIND_DOWN, payer=key, amount_minor=part) for key, part in parts.items()]
    after = replace(
        default,
        uncovered_minor=default.uncovered_minor - sum(parts.values()),
        claims=(*default.claims, *claims),
    )
    legs = [
        leg
        for key, part in parts.items()
        for leg in (
            *transfer(chart.cash(key, asset), chart.uncovered(default_id, asset), part),
            *transfer(chart.claims(default_id, asset), claim_account(house, WIND_DOWN, key), part),
        )
    ]
    draft.record(
        Kind.LOSS_SHARED, Put("defaults", default_id, after), legs=tuple(legs), references=(default_id,)
    )
    draft.tell(Kind.LOSS_SHARED, default_id, sum(parts.values()))
    for key, part in parts.items():
        draft.tell(Kind.LOSS_SHARED, f"{default_id} {key}", part)
