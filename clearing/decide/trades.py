"""Trades and novation (rulebook §4).

Checks in their public order; the first that fails is the reason. Each trade of a batch is decided
on the state that the one before left. Trades of one group that stand next to each other stand or fall
together: the first that is refused gives its reason, the others say that it was.

 1. trade id not used (a retry returns its first result)
 2. instrument known · active
 3. accounts the caller's · known · not closed out or ported
 4. buyer is not the seller
 5. lots positive and within the limit
 6. not halted (§13); not reduce-only (member suspended or in default, house account of a member that may have to
    answer, breaker, set in liquidation, being unlinked or waiting to be ported, stale mark, outage), unless the
    trade reduces
 7. price within the band around the mark
 8. margin of both netting sets after the trade: equity ≥ R and cash as §8 allows, or reducing; and
    gains that are withheld while a loss is open (§11.8) stay

A half of a trade with another member goes through 1 to 5 and waits; when the half of the other member comes
and says the same, the trade goes through all of them (``halves``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from clearing import chart
from clearing.decide.calls import cure
from clearing.decide.halves import (
    difference,
    end_halves,
    ending,
    joined,
    other_half,
    ownership_refusal,
    reference_is_sound,
    wait,
)
from clearing.decide.headroom import Headroom
from clearing.decide.standing import ended_refusal, standing_refusal
from clearing.default.gate import declared_sets, may_answer, withheld
from clearing.margin.assess import (
    Assessment,
    assess,
    exposure_price,
    settlement_price,
    width_price,
)
from clearing.market.breakers import blocking
from clearing.market.novation import fee, notional, novate, payment, position_lots_max
from clearing.market.validity import Use, why_not
from clearing.model.commands import TRADES_MAX, NewTrade, SubmitTrades
from clearing.model.draft import Draft, Line
from clearing.model.house import House, ordered
from clearing.model.ids import (
    IMAGINED,
    TRADE_ID_PATTERN,
    AccountKey,
    InstrumentId,
    MemberId,
    SetId,
    TradeKey,
    account_key,
    member_of,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected, Result, Status, accepted, pending, refused
from clearing.model.values import BP, AccountKind, BreakerState, Half, Trade
from ledger.entry import Leg, transfer

ABOUT_A_SET = (
    Reason.REDUCE_ONLY,
    Reason.MARGIN_INSUFFICIENT,
    Reason.CASH_INSUFFICIENT,
    Reason.GAIN_WITHHELD,
)
"""Refusals whose figures are of one netting set, and nobody's business but its members'."""


def submit_trades(draft: Draft, command: SubmitTrades) -> tuple[Result, ...]:
    """Novate each trade that passes; one result a trade, in the order given."""
    if command.member not in draft.house.members:
        return (refused(Rejected(Reason.MEMBER_UNKNOWN, command.member)),)
    if not command.trades:
        return (refused(Rejected(Reason.BATCH_EMPTY)),)
    if len(command.trades) > TRADES_MAX:
        return (refused(Rejected(Reason.BATCH_TOO_LARGE, f"at most {TRADES_MAX} trades")),)
    while ending(draft.house, draft.now_ms):
        end_halves(draft)
    swift = _Swift(draft, command)
    results = tuple(_in_groups(draft, command, swift))
    swift.record()
    return results


def _in_groups(draft: Draft, command: SubmitTrades, swift: "_Swift") -> Iterator[Result]:
    for group, links in groupby(command.trades, key=lambda new: new.group):
        if group:
            swift.record()
            together = tuple(links)
            yield from _together(draft, command.member, together)
            swift.go_on(together)
            continue
        for new in links:
            if swift.takes(new):
                yield accepted(new.trade_id)
                continue
            swift.record()
            yield _submit(draft, command.member, new)
            swift.go_on((new,))


class _Swift:
    """The trades of a batch that surely pass every check (``headroom``): they wait, and are recorded together."""

    def __init__(self, draft: Draft, command: SubmitTrades) -> None:
        self._draft, self._member = draft, command.member
        self._waiting: dict[TradeKey, Line] = {}
        self._blocked: dict[InstrumentId, bool] = {}
        self._reducing: dict[SetId, bool] = {}
        self._headroom = Headroom(draft.house)
        self._headroom.measure(self._sets(command.trades))

    def takes(self, new: NewTrade) -> bool:
        """Whether a trade surely passes; if so it is accepted."""
        trade, house = _trade(self._member, new), self._draft.house
        if new.trade_ref or not TRADE_ID_PATTERN.fullmatch(new.trade_id) or trade.key in self._waiting:
            return False
        if _again(house, trade, new.trade_id) or _terms(house, self._member, trade, self._draft.now_ms):
            return False
        if not self._is_unhindered(trade) or not _within(house, trade, house.parameters.price_band_bp):
            return False
        carried = settlement_price(house, trade.instrument)
        paid = payment(house, trade.instrument, trade.lots, trade.price_ticks, carried)
        if not self._headroom.takes(trade, paid, _fee(house, trade)):
            return False
        self._waiting[trade.key] = Line(
            Kind.TRADE_NOVATED, joined(trade, None), _legs(house, trade), (trade.key,)
        )
        return True

    def _is_unhindered(self, trade: Trade) -> bool:
        """Whether any trade of the two accounts in the instrument is taken. Nothing that waits changes that."""
        house = self._draft.house
        if trade.instrument not in self._blocked:
            self._blocked[trade.instrument] = blocking(house, trade.instrument) is not None
        if self._blocked[trade.instrument]:
            return False
        for key in (trade.buyer, trade.seller):
            set_id = house.accounts[key].netting_set
            if set_id not in self._reducing:
                self._reducing[set_id] = _reduce_only(house, set_id, trade, self._draft.now_ms) is not None
            if self._reducing[set_id]:
                return False
        return True

    def record(self) -> None:
        """Record what waits."""
        if self._waiting:
            self._draft.record_all(tuple(self._waiting.values()))
            self._waiting = {}

    def go_on(self, others: Iterable[NewTrade]) -> None:
        """After other trades of the batch were decided one by one."""
        self._headroom.recorded(self._draft.house, self._sets(others))

    def _sets(self, trades: Iterable[NewTrade]) -> set[SetId]:
        known = self._draft.house.accounts
        keys = {key for new in trades for key in (new.buyer, new.seller)}
        return {known[key].netting_set for key in keys if key in known}


def _together(draft: Draft, member: MemberId, links: tuple[NewTrade, ...]) -> tuple[Result, ...]:
    """The links of a group, decided on a fork that is taken if all of them stand."""
    attempt = draft.fork()
    results: list[Result] = []
    for new in links:
        results.append(_submit(attempt, member, new))
        if results[-1].status is not Status.ACCEPTED:
            return _fallen(draft.house, member, links, results)
    draft.take(attempt)
    return tuple(results)


def _fallen(
    house: House, member: MemberId, links: tuple[NewTrade, ...], results: list[Result]
) -> tuple[Result, ...]:
    """Results of a group whose last decided link did not stand; what had been sent before stays as it was."""
    last = len(results) - 1
    own = results[last]
    if own.status is Status.PENDING:
        own = refused(Rejected(Reason.HALF_IN_GROUP, links[last].group), own.key)
    fallen = Rejected(Reason.GROUP_REFUSED, links[last].trade_id)
    others = (
        _again(house, _trade(member, new), new.trade_id) or refused(fallen, new.trade_id) for new in links
    )
    return tuple(own if place == last else other for place, other in enumerate(others))


def _submit(draft: Draft, member: MemberId, new: NewTrade) -> Result:
    if not TRADE_ID_PATTERN.fullmatch(new.trade_id):
        return refused(Rejected(Reason.NAME_MALFORMED, "trade id"), new.trade_id)
    if not reference_is_sound(new.trade_ref):
        return refused(Rejected(Reason.NAME_MALFORMED, "trade reference"), new.trade_id)
    if not reference_is_sound(new.group):
        return refused(Rejected(Reason.NAME_MALFORMED, "group"), new.trade_id)
    trade = _trade(member, new)
    return _again(draft.house, trade, new.trade_id) or decide_trade(draft, member, trade, new.trade_id)


def _trade(member: MemberId, new: NewTrade) -> Trade:
    return Trade(
        key=TradeKey(f"{member}/{new.trade_id}"),
        instrument=new.instrument,
        buyer=new.buyer,
        seller=new.seller,
        lots=new.lots,
        price_ticks=new.price_ticks,
        executed_ms=new.executed_ms,
        trade_ref=new.trade_ref,
    )


def _again(house: House, trade: Trade, trade_id: str) -> Result | None:
    """Check 1: how a trade stands that was sent before, or None for one that was not."""
    waiting = house.halves.get(trade.key)
    first = house.trades.get(trade.key) if waiting is None else waiting.trade
    if first is None:
        return None
    if first != trade:
        return refused(Rejected(Reason.TRADE_ID_REUSED, first.key), trade_id)
    status = Status.ACCEPTED if waiting is None else Status.PENDING
    return Result(key=trade_id, status=status, reason=Reason.TRADE_DUPLICATE.name)


def decide_trade(draft: Draft, member: MemberId, trade: Trade, trade_id: str) -> Result:
    """Checks 2 to 8, or 2 to 5 for a half that is the first of its trade."""
    rejected = _terms(draft.house, member, trade, draft.now_ms)
    if rejected is not None:
        return refused(rejected, trade_id)
    half = other_half(draft.house, member, trade) if trade.trade_ref else None
    if trade.trade_ref and half is None:
        rejected = wait(draft, member, trade)
        return pending(trade_id) if rejected is None else refused(rejected, trade_id)
    rejected = (half and difference(half, trade)) or _novate(draft, member, trade, half)
    return accepted(trade_id) if rejected is None else refused(rejected, trade_id)


def imagined_account(member: MemberId) -> AccountKey:
    """The other side of a trade that is only imagined: nothing is demanded of it (``what_if``)."""
    return account_key(member, IMAGINED)


def _terms(house: House, member: MemberId, trade: Trade, now_ms: int) -> Rejected | None:
    """Checks 2 to 5: what can be said of the trade by itself."""
    instrument = house.instruments.get(trade.instrument)
    if instrument is None:
        return Rejected(Reason.INSTRUMENT_UNKNOWN, trade.instrument)
    if instrument.expires_ms is not None and now_ms >= instrument.expires_ms:
        return Rejected(Reason.INSTRUMENT_NOT_ACTIVE, "expired")
    if trade.instrument not in house.margined:
        return Rejected(Reason.INSTRUMENT_NOT_ACTIVE, "no mark yet")
    keys = (trade.buyer, trade.seller)
    for key in keys:
        if key not in house.accounts:
            return Rejected(Reason.ACCOUNT_UNKNOWN, key)
    if (rejected := ownership_refusal(member, trade)) is not None:
        return rejected
    for key in keys:
        if (rejected := ended_refusal(house.accounts[key])) is not None:
            return rejected
    if trade.buyer == trade.seller:
        return Rejected(Reason.BUYER_IS_SELLER, trade.buyer)
    return _size_refusal(house, trade)


def _size_refusal(house: House, trade: Trade) -> Rejected | None:
    """Check 5. A position may not grow beyond what the book can hold at any price; it may always shrink."""
    if not 0 < trade.lots <= house.parameters.trade_lots_max:
        return Rejected(
            Reason.LOTS_OUT_OF_RANGE, f"{trade.lots} of at most {house.parameters.trade_lots_max}"
        )
    most = position_lots_max(house.instruments[trade.instrument])
    for key, lots in ((trade.buyer, trade.lots), (trade.seller, -trade.lots)):
        before = house.position(key, trade.instrument)
        if abs(before + lots) > max(most, abs(before)):
            return Rejected(Reason.LOTS_OUT_OF_RANGE, f"{key} may hold {most} lots at most")
    return None


def _novate(draft: Draft, member: MemberId, trade: Trade, half: Half | None) -> Rejected | None:
    """Checks 6 to 8, the last on a fork that carries the trade; the fork is taken if they pass.

    A trade outside the band reduces nothing (§4) and is not even tried: no book may hold its payment.
    """
    house = draft.house
    breaker = blocking(house, trade.instrument)
    if breaker is not None and breaker.state is BreakerState.HALTED:
        return Rejected(Reason.HALTED, f"{breaker.scope}: {breaker.reason}")
    sets = tuple(
        dict.fromkeys(
            house.accounts[key].netting_set
            for key in (trade.buyer, trade.seller)
            if key != imagined_account(member)
        )
    )
    refusals = {set_id: _reduce_only(house, set_id, trade, draft.now_ms) for set_id in sets}
    if not _within(house, trade, house.parameters.price_band_bp):
        mark = settlement_price(house, trade.instrument)
        outside = Rejected(Reason.PRICE_OUTSIDE_BAND, f"{trade.price_ticks} against a mark of {mark}")
        told = (_as_told(house, member, s, reason) for s, reason in refusals.items() if reason is not None)
        return next(told, outside)
    before = {set_id: assess(house, set_id) for set_id in sets}
    attempt = draft.fork()
    references = (trade.key,) if half is None else (trade.key, half.trade.key)
    attempt.record(Kind.TRADE_NOVATED, *joined(trade, half), legs=_legs(house, trade), references=references)
    after = {set_id: assess(attempt.house, set_id) for set_id in sets}
    bearing = [set_id for set_id in sets if not _reducing(house, trade, before[set_id], after[set_id])]
    for set_id, rejected in (
        *((set_id, refusals[set_id]) for set_id in bearing),
        *((set_id, _margin_refusal(before[set_id], after[set_id])) for set_id in bearing),
        *((set_id, _withheld_refusal(house, before[set_id], after[set_id])) for set_id in sets),
    ):
        if rejected is not None:
            return _as_told(house, member, set_id, rejected)
    draft.take(attempt)
    for set_id in sets:
        cure(draft, set_id)
    return None


def _as_told(house: House, member: MemberId, set_id: SetId, rejected: Rejected) -> Rejected:
    """A refusal without the figures of a set in which the caller has no account."""
    own = any(member_of(key) == member for key in house.netting_sets[set_id].accounts)
    return (
        rejected if own or rejected.reason not in ABOUT_A_SET else replace(rejected, detail="the other side")
    )


def _legs(house: House, trade: Trade) -> tuple[Leg, ...]:
    carried = settlement_price(house, trade.instrument)
    charge = _fee(house, trade)
    fees = chart.fees(house.settlement)
    return (
        *novate(
            house,
            trade.instrument,
            seller=trade.seller,
            buyer=trade.buyer,
            lots=trade.lots,
            price_ticks=trade.price_ticks,
            carried_ticks=carried,
        ),
        *transfer(chart.cash(trade.buyer, house.settlement), fees, charge),
        *transfer(chart.cash(trade.seller, house.settlement), fees, charge),
    )


def _fee(house: House, trade: Trade) -> int:
    """A share of the notional; for an option of its forward's, and never more than [12.5 %] of the premium."""
    parameters, price = house.parameters, trade.price_ticks
    if house.instruments[trade.instrument].option is None:
        return fee(notional(house, trade.instrument, trade.lots, price), parameters.trade_fee_bp)
    exposed = notional(house, trade.instrument, trade.lots, exposure_price(house, trade.instrument))
    premium = notional(house, trade.instrument, trade.lots, price)
    return min(fee(exposed, parameters.trade_fee_bp), fee(premium, parameters.option_fee_cap_bp))


def _within(house: House, trade: Trade, band_bp: int) -> bool:
    """Whether the price is a price, and no further from the mark than the band."""
    away = abs(trade.price_ticks - settlement_price(house, trade.instrument))
    return trade.price_ticks > 0 and away * BP <= band_bp * width_price(house, trade.instrument)


def _reducing(house: House, trade: Trade, before: Assessment, after: Assessment) -> bool:
    """R falls, equity − R does not fall nor equity below zero, and the price is near the mark (rulebook §4)."""
    near = _within(house, trade, house.parameters.reducing_band_bp)
    headroom_before = before.equity_minor - before.requirement_minor
    headroom_after = after.equity_minor - after.requirement_minor
    solvent = after.equity_minor >= min(0, before.equity_minor)
    lower = after.requirement_minor < before.requirement_minor
    return near and lower and headroom_after >= headroom_before and solvent


def _reduce_only(house: House, set_id: SetId, trade: Trade, now_ms: int) -> Rejected | None:
    """Why only reducing trades are taken of this set now, or None."""
    own = [key for key in (trade.buyer, trade.seller) if house.accounts[key].netting_set == set_id]
    for key in own:
        rejected = standing_refusal(house, member_of(key)) or _answering_refusal(house, key)
        if rejected is not None:
            return rejected
    breaker = blocking(house, trade.instrument)
    if breaker is not None:
        return Rejected(Reason.REDUCE_ONLY, f"{breaker.scope}: {breaker.reason}")
    if set_id in house.liquidations:
        return Rejected(Reason.REDUCE_ONLY, f"{set_id} is in liquidation")
    if set_id in declared_sets(house):
        return Rejected(Reason.REDUCE_ONLY, f"{set_id} is in default")
    if set_id in house.unlinkings:
        return Rejected(Reason.REDUCE_ONLY, f"{set_id} is being unlinked")
    if set_id in house.portings:
        return Rejected(Reason.REDUCE_ONLY, f"{set_id} waits to be ported")
    return why_not(house, Use.TRADE, now_ms)


def _answering_refusal(house: House, key: AccountKey) -> Rejected | None:
    """A member may not trade away to its clients what it may have to answer with (rulebook §10.5)."""
    account = house.accounts[key]
    if account.kind is not AccountKind.HOUSE:
        return None
    bound = next((one.id for one in ordered(house.defaults) if may_answer(one, account.member)), None)
    return None if bound is None else Rejected(Reason.REDUCE_ONLY, f"{key} may have to answer in {bound}")


def _withheld_refusal(house: House, before: Assessment, after: Assessment) -> Rejected | None:
    """A winner may not trade its gain away before the loss is allocated (rulebook §11.8)."""
    kept = withheld(house, before.netting_set)
    if kept and after.cash_minor < min(kept, before.cash_minor):
        return Rejected(Reason.GAIN_WITHHELD, f"{before.netting_set}: {kept} until the loss is allocated")
    return None


def _margin_refusal(before: Assessment, after: Assessment) -> Rejected | None:
    if after.equity_minor < after.requirement_minor:
        detail = f"{after.netting_set}: equity {after.equity_minor}, requirement {after.requirement_minor}"
        return Rejected(Reason.MARGIN_INSUFFICIENT, detail)
    if after.cash_minor < 0 and after.cash_minor < before.cash_minor:
        return Rejected(Reason.CASH_INSUFFICIENT, f"{after.netting_set}: cash {after.cash_minor}")
    return None
