"""Margin calls and cash calls (rulebook §3, §10.1).

One open call of each kind per netting set. Its amount follows the shortfall, its due time never
moves in house time (an outage stops the clock: ``outage``), and it is met when nothing is short any more.
A set below M is not called but liquidated; a call that it had stays open, for its payment still ends the
liquidation.
"""

from clearing.margin.assess import Assessment, Health, assess, required_alone
from clearing.model.apportion import apportion
from clearing.model.draft import Draft
from clearing.model.house import Drop, Put
from clearing.model.ids import MemberId, SetId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import Call, CallKind, MemberPart


def call_key(kind: CallKind, set_id: SetId) -> str:
    """The key of a set's call of a kind."""
    return f"{kind.value}/{set_id}"


def review(draft: Draft, measured: Assessment) -> None:
    """Issue, change or meet the calls of a set as its measure demands."""
    for kind, short_minor in _short(measured).items():
        if kind is CallKind.CASH or measured.health is not Health.LIQUIDATION:
            _follow(draft, measured.netting_set, kind, short_minor)


def cure(draft: Draft, set_id: SetId) -> None:
    """After money came in or risk went down: meet or lower the open calls of a set; none is issued."""
    open_kinds = [kind for kind in CallKind if call_key(kind, set_id) in draft.house.calls]
    if open_kinds:
        short = _short(assess(draft.house, set_id))
        for kind in open_kinds:
            _follow(draft, set_id, kind, short[kind])


def _short(measured: Assessment) -> dict[CallKind, int]:
    """What a set lacks, by the kind of call that asks for it."""
    return {
        CallKind.MARGIN: max(0, measured.requirement_minor - measured.equity_minor),
        CallKind.CASH: max(0, -measured.cash_minor),
    }


def _follow(draft: Draft, set_id: SetId, kind: CallKind, short_minor: int) -> None:
    key = call_key(kind, set_id)
    standing = draft.house.calls.get(key)
    if short_minor == 0:
        if standing is not None:
            draft.record(Kind.CALL_MET, Drop("calls", key))
            draft.tell(Kind.CALL_MET, key)
        return
    if standing is not None and standing.amount_minor == short_minor:
        return
    call = Call(
        kind=kind,
        netting_set=set_id,
        amount_minor=short_minor,
        parts=_parts(draft, set_id, short_minor, key),
        issued_ms=draft.now_ms if standing is None else standing.issued_ms,
        due_ms=draft.now_ms + draft.house.parameters.call_ms if standing is None else standing.due_ms,
    )
    happened = Kind.CALL_ISSUED if standing is None else Kind.CALL_CHANGED
    draft.record(happened, Put("calls", key, call))
    draft.tell(happened, key, short_minor)


def _parts(draft: Draft, set_id: SetId, amount_minor: int, event_id: str) -> tuple[MemberPart, ...]:
    """Split among the members by what their accounts would need alone (rulebook §10.1)."""
    house = draft.house
    weights: dict[str, int] = {}
    for key in house.netting_sets[set_id].accounts:
        weights[member_of(key)] = weights.get(member_of(key), 0) + required_alone(house, key)
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1)
    parts = apportion(amount_minor, weights, event_id)
    return tuple(MemberPart(member=MemberId(m), amount_minor=part) for m, part in sorted(parts.items()))
