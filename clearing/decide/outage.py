"""The outage procedure (rulebook §6).

1. An outage is written down with the time at which it began (``market/outage`` says when that was).
2. While it lasts no snapshot is accepted, no call expires, no liquidation steps, nothing that needs a price is
closed out; withdrawals and new risk stop.
3. After a while two administrators, one after the other, may let a declared default close at the last good
price: that of the newest snapshot. Collateral is then sold for less by the outage haircut. An instrument that is
halted by itself stays halted.
4. Once every needed feed has had a fresh quorum for a minute, without a break, the next snapshot ends the outage.
The clock of each open call, and of each porting, stood still from the beginning to the end: its due time is moved
by just as long.
"""

from dataclasses import replace

from clearing.decide.administrators import administrator_refusal, reason_refusal, same_administrator_refusal
from clearing.margin.assess import posted
from clearing.market.breakers import everything_halted, holds_halted, is_stuck
from clearing.market.outage import is_let_close, outage_of
from clearing.market.validity import Use, usable
from clearing.model.commands import CloseInOutage
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put, ordered, single
from clearing.model.ids import DefaultId, SetId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Default, Outage, OutageClosing, Stage
from ledger.require import InvariantViolated


def begins(house: House, now_ms: int) -> bool:
    """Whether an outage has begun that is not written down yet."""
    return house.outage is None and outage_of(house, now_ms) is not None


def begin(draft: Draft) -> None:
    """Write down the outage, if there is one, with the time at which it began."""
    outage = outage_of(draft.house, draft.now_ms)
    if outage is None or draft.house.outage is not None:
        return
    draft.record(Kind.OUTAGE_BEGAN, single("outage", outage))
    draft.tell(Kind.OUTAGE_BEGAN, str(outage.began_ms))


def watch(draft: Draft, *, held: bool, fresh: bool) -> None:
    """After a publication: note since when the quorum has been fresh. ``held``: it was until just now."""
    outage = draft.house.outage
    if outage is None:
        return
    kept = outage.fresh_since_ms if held else 0
    since = (kept or draft.now_ms) if fresh else 0
    if since != outage.fresh_since_ms:
        draft.record(Kind.OUTAGE_WATCHED, single("outage", replace(outage, fresh_since_ms=since)))


def may_settle(house: House, now_ms: int) -> bool:
    """Whether a snapshot may be accepted: there is no outage, or it is over with this snapshot."""
    outage = house.outage
    if outage is None:
        return True
    waited = outage.fresh_since_ms and now_ms - outage.fresh_since_ms >= house.parameters.resume_after_ms
    return bool(waited) and everything_halted(house) is None


def end(draft: Draft) -> None:
    """Move the due times of open calls and portings by as long as their clocks stood still, and end the outage."""
    outage = _lasting(draft.house)
    for key in sorted(draft.house.calls):
        call = draft.house.calls[key]
        stood_ms = draft.now_ms - max(outage.began_ms, call.issued_ms)
        draft.record(Kind.CALL_MOVED, Put("calls", key, replace(call, due_ms=call.due_ms + stood_ms)))
        draft.tell(Kind.CALL_MOVED, key, call.amount_minor)
    for porting in ordered(draft.house.portings):
        stood_ms = draft.now_ms - max(outage.began_ms, porting.opened_ms)
        later = replace(porting, due_ms=porting.due_ms + stood_ms)
        draft.record(Kind.PORTING_MOVED, Put("portings", porting.netting_set, later))
        draft.tell(Kind.PORTING_MOVED, porting.netting_set)
    draft.record(Kind.OUTAGE_ENDED, Drop("outage", ""))
    draft.tell(Kind.OUTAGE_ENDED, str(outage.began_ms))


def _lasting(house: House) -> Outage:
    """The outage that was written down; whoever asks has seen that there is one."""
    if house.outage is None:
        raise InvariantViolated("only what lasts is ended, or lets a default close")
    return house.outage


def cannot_close(house: House, set_id: SetId, now_ms: int) -> bool:
    """Whether a set cannot be closed out now: it is halted, or what it has needs a price that is not there."""
    is_without_price = not usable(house, Use.LIQUIDATE, now_ms) and _needs_price(house, set_id)
    return is_stuck(house, set_id) or is_without_price


def can_close_out(house: House, default: Default, now_ms: int) -> bool:
    """Whether all sets of a declared default can be closed out now."""
    sets = [one.netting_set for one in default.sets]
    if is_let_close(house, default.id):
        return not any(holds_halted(house, set_id) for set_id in sets)
    return not any(cannot_close(house, set_id, now_ms) for set_id in sets)


def _needs_price(house: House, set_id: SetId) -> bool:
    """Whether a set has anything but cash."""
    accounts = house.netting_sets[set_id].accounts
    held = any(house.positions(key) for key in accounts)
    return held or any(posted(house, key, asset.id) for key in accounts for asset in ordered(house.assets))


# what administrators may do -------------------------------------------------------------------------------


def close_in_outage(draft: Draft, command: CloseInOutage) -> Rejected | None:
    """Ask for a default to be closed at the last good price, or confirm what another administrator asked for."""
    rejected = (
        administrator_refusal(draft.actor)
        or reason_refusal(command.reason)
        or _closing_refusal(draft, command.default)
    )
    if rejected is not None:
        return rejected
    begin(draft)
    outage, asked = _lasting(draft.house), _asked(draft, command.default)
    if asked is None:
        closing = OutageClosing(
            default=command.default,
            asked_by=draft.actor,
            asked_ms=draft.now_ms,
            asked_reason=command.reason,
        )
    else:
        closing = replace(asked, let_by=draft.actor, let_reason=command.reason)
    others = tuple(one for one in outage.closings if one.default != command.default)
    happened = Kind.OUTAGE_CLOSING_ASKED if asked is None else Kind.OUTAGE_CLOSING_LET
    draft.record(happened, single("outage", replace(outage, closings=(*others, closing))))
    draft.tell(happened, command.default)
    return None


def _closing_refusal(draft: Draft, default_id: DefaultId) -> Rejected | None:
    house = draft.house
    outage, default = outage_of(house, draft.now_ms), house.defaults.get(default_id)
    if outage is None:
        return Rejected(Reason.NO_OUTAGE)
    from_ms = outage.began_ms + house.parameters.outage_close_ms
    if draft.now_ms < from_ms:
        return Rejected(Reason.OUTAGE_TOO_SHORT, f"from {from_ms} on")
    if default is None:
        return Rejected(Reason.DEFAULT_UNKNOWN, default_id)
    if default.stage is not Stage.DECLARED:
        return Rejected(Reason.DEFAULT_NOT_DECLARED, f"{default_id} is {default.stage.value}")
    if is_let_close(house, default_id):
        return Rejected(Reason.ALREADY_EXISTS, default_id)
    asked = _asked(draft, default_id)
    return None if asked is None else same_administrator_refusal(asked.asked_by, draft.actor)


def _asked(draft: Draft, default_id: DefaultId) -> OutageClosing | None:
    """What was asked for this default, not so long ago that a proposal would have expired."""
    closings = () if draft.house.outage is None else draft.house.outage.closings
    validity = draft.house.parameters.proposal_validity_ms
    live = (one for one in closings if one.default == default_id and draft.now_ms < one.asked_ms + validity)
    return next(live, None)
