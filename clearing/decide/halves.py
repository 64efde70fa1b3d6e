"""Halves: a trade between two members, of which each says its own (rulebook §4).

1. A half names both accounts, of which one is its member's, and a ``trade_ref`` that the members agreed on.
2. The first half waits; nothing is novated and nothing is margined for it.
3. The half of the other member under the same reference must say the same. Then the trade goes through all
   checks on the state of that moment; refused, the first half goes on waiting, and the second may come again.
4. A half that nobody met in time expires; one whose member defaults lapses, and all do in a wind-down. Its trade id
is free again.
"""

from dataclasses import replace

from clearing.decide.standing import resigned_refusal
from clearing.model.commands import PRICE_TICKS_MAX
from clearing.model.draft import Draft
from clearing.model.house import Drop, House, Put
from clearing.model.ids import TRADE_ID_PATTERN, MemberId, TradeKey, member_of
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Half, MemberStatus, Trade

AT_ONCE_MAX = 1_000
"""Halves that end in one entry."""
TERMS = {
    "instrument": "instrument",
    "buyer": "buyer",
    "seller": "seller",
    "lots": "lots",
    "price_ticks": "price",
    "executed_ms": "execution time",
}
"""In what two halves must agree, and how it is called."""


def reference_is_sound(trade_ref: str) -> bool:
    """Whether a reference (of a trade or of a group) is absent, or spelled as trade ids are."""
    return not trade_ref or TRADE_ID_PATTERN.fullmatch(trade_ref) is not None


def ownership_refusal(member: MemberId, trade: Trade) -> Rejected | None:
    """A member acts for its own accounts; in a half just one of the two is (rulebook §4)."""
    keys = (trade.buyer, trade.seller)
    foreign = [key for key in keys if member_of(key) != member]
    if foreign and (len(foreign) == len(keys) or not trade.trade_ref):
        return Rejected(Reason.ACCOUNT_NOT_YOURS, foreign[0])
    if trade.trade_ref and not foreign:
        return Rejected(Reason.TRADE_REF_NOT_WANTED, trade.trade_ref)
    return None


def other_half(house: House, member: MemberId, trade: Trade) -> Half | None:
    """The half of the other member that waits under the reference of ``trade``."""
    key = house.half_refs.get(_reference(_other(member, trade), member, trade.trade_ref))
    return None if key is None else house.halves[key]


def difference(half: Half, trade: Trade) -> Rejected | None:
    """In what two halves differ, or None if they are one trade."""
    differing = [name for field, name in TERMS.items() if getattr(half.trade, field) != getattr(trade, field)]
    return Rejected(Reason.HALVES_DIFFER, ", ".join(differing)) if differing else None


def wait(draft: Draft, member: MemberId, trade: Trade) -> Rejected | None:
    """Let a half wait for the other; a member in default makes no new promises. A suspended one may: what it
    reduces it often reduces against others, and whether it does is checked when the halves meet.
    """
    house, reference = draft.house, _reference(member, _other(member, trade), trade.trade_ref)
    if (rejected := resigned_refusal(house, member)) is not None:
        return rejected
    if trade.price_ticks <= 0:
        return Rejected(Reason.PRICE_NOT_POSITIVE, str(trade.key))
    if trade.price_ticks > PRICE_TICKS_MAX:
        return Rejected(Reason.PRICE_TOO_LARGE, f"at most {PRICE_TICKS_MAX} ticks")
    if reference in house.half_refs:
        return Rejected(Reason.TRADE_REF_TAKEN, house.half_refs[reference])
    half = Half(trade=trade, due_ms=draft.now_ms + house.parameters.half_ms)
    draft.record(
        Kind.HALF_WAITS,
        Put("halves", trade.key, half),
        Put("half_refs", reference, trade.key),
        references=(trade.key,),
    )
    draft.tell(Kind.HALF_WAITS, trade.key)
    return None


def joined(trade: Trade, half: Half | None) -> tuple[Put | Drop, ...]:
    """The rows of a novated trade: one, or one for each half, and none of them waits any more."""
    if half is None:
        return (Put("trades", trade.key, trade),)
    other = replace(trade, key=half.trade.key)
    return (Put("trades", trade.key, trade), Put("trades", other.key, other), *_dropped(half))


def ending(house: House, now_ms: int) -> bool:
    """Whether a half is to end: its time is over, or its member is in default."""
    return any(_ended(house, half, now_ms) is not None for half in house.halves.values())


def end_halves(draft: Draft) -> None:
    """Drop the halves that expired or lapsed, the first thousand by key of one kind in one entry."""
    for kind in (Kind.HALF_LAPSED, Kind.HALF_EXPIRED):
        found = {k: h for k, h in draft.house.halves.items() if _ended(draft.house, h, draft.now_ms) is kind}
        keys = sorted(found)[:AT_ONCE_MAX]
        if keys:
            draft.record(kind, *(drop for key in keys for drop in _dropped(found[key])))
        for key in keys:
            draft.tell(kind, key)


def _ended(house: House, half: Half, now_ms: int) -> Kind | None:
    in_default = house.members[submitter(half.trade.key)].status is MemberStatus.DEFAULTED
    if in_default or house.wound_down is not None:
        return Kind.HALF_LAPSED
    return Kind.HALF_EXPIRED if half.due_ms <= now_ms else None


def _dropped(half: Half) -> tuple[Drop, Drop]:
    member, trade = submitter(half.trade.key), half.trade
    reference = _reference(member, _other(member, trade), trade.trade_ref)
    return Drop("halves", trade.key), Drop("half_refs", reference)


def submitter(key: TradeKey) -> MemberId:
    """The member that sent a trade or a half."""
    return MemberId(key.split("/", 1)[0])


def awaited(half: Half) -> MemberId:
    """The member whose half is missing."""
    return _other(submitter(half.trade.key), half.trade)


def _other(member: MemberId, trade: Trade) -> MemberId:
    return next(m for m in (member_of(trade.buyer), member_of(trade.seller)) if m != member)


def _reference(member: MemberId, other: MemberId, trade_ref: str) -> str:
    """The half of ``member`` in what it and ``other`` call ``trade_ref``."""
    return f"{member}/{other}/{trade_ref}"
