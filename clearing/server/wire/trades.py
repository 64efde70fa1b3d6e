"""Trades on the wire."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from clearing.decide.halves import awaited
from clearing.model import units
from clearing.model.commands import NewTrade, SubmitTrades
from clearing.model.decimal import DecimalRefused
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId, MemberId, TradeKey
from clearing.model.outcomes import Outcome, Result, Status
from clearing.model.units import Unit
from clearing.model.values import Half, Trade
from clearing.server.errors import sentence_of
from clearing.server.wire import names, times
from clearing.server.wire.batches import surely_sound
from clearing.server.wire.violations import Violations
from clearinghouse.v1 import trade_service_pb2 as pb

_STATUSES: "Mapping[Status, pb.TradeStatus.ValueType]" = {
    Status.ACCEPTED: pb.TRADE_STATUS_NOVATED,
    Status.PENDING: pb.TRADE_STATUS_WAITING,
    Status.REFUSED: pb.TRADE_STATUS_REFUSED,
}


def parse(request: pb.SubmitTradesRequest, house: House) -> SubmitTrades:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request, surely_sound=surely_sound(request))
    batch = _Batch(house, violations)
    figures = [batch.figures(trade, n) for n, trade in enumerate(request.trades)]
    violations.require_none()
    trades = tuple(batch.trade(trade, found) for trade, found in zip(request.trades, figures, strict=True))
    return SubmitTrades(member=names.member_id(request.parent), trades=trades)


_Figures: TypeAlias = tuple[int, int, int]
"""The numbers of a trade in the house's steps: lots, ticks, and milliseconds of execution."""


class _Batch:
    """The trades of one request. What many of them say, such as an account or a price, is read once."""

    def __init__(self, house: House, violations: Violations) -> None:
        self._house, self._violations = house, violations
        self._instruments: dict[str, _Instrument] = {}
        self._accounts: dict[str, AccountKey] = {}

    def figures(self, trade: pb.NewTrade, number: int) -> _Figures:
        """For an unknown instrument nothing can be counted: the decider refuses it before it looks."""
        executed_ms = times.to_ms(trade.execute_time, f"trades[{number}].execute_time", self._violations)
        known = self._instrument(trade.instrument)
        if known.unit_of_size is None or known.unit_of_price is None:
            return 0, 0, executed_ms
        lots = self._steps(known.unit_of_size, known.sizes, trade.size, f"trades[{number}].size")
        ticks = self._steps(known.unit_of_price, known.prices, trade.price, f"trades[{number}].price")
        return lots, ticks, executed_ms

    def trade(self, trade: pb.NewTrade, figures: _Figures) -> NewTrade:
        """A trade of a request in which no field is wrong."""
        lots, price_ticks, executed_ms = figures
        return NewTrade(
            trade_id=trade.trade_id,
            instrument=self._instrument(trade.instrument).id,
            buyer=self._account(trade.buyer),
            seller=self._account(trade.seller),
            lots=lots,
            price_ticks=price_ticks,
            executed_ms=executed_ms,
            trade_ref=trade.trade_ref,
            group=trade.group,
        )

    def _account(self, name: str) -> AccountKey:
        """A key that the house has already is that very string: trades stay in memory, and share it."""
        key = self._accounts.get(name)
        if key is None:
            own = names.account_key(name)
            account = self._house.accounts.get(own)
            key = self._accounts[name] = own if account is None else account.key
        return key

    def _instrument(self, name: str) -> "_Instrument":
        known = self._instruments.get(name)
        if known is None:
            instrument_id = InstrumentId(names.own_id(name))
            row = self._house.instruments.get(instrument_id)
            known = _Instrument(
                id=instrument_id if row is None else row.id,
                unit_of_size=None if row is None else units.of_size(row),
                unit_of_price=None if row is None else units.of_price(row),
            )
            self._instruments[name] = known
        return known

    def _steps(self, unit: Unit, read: dict[str, int], text: str, place: str) -> int:
        steps = read.get(text)
        if steps is None:
            try:
                steps = read[text] = unit.parse(text)
            except DecimalRefused as refused:
                self._violations.add(place, str(refused))
                return 0
        return steps


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instrument:
    """An instrument that a batch names, in which units it counts if the house clears it, and what was read in them."""

    id: InstrumentId
    unit_of_size: Unit | None
    unit_of_price: Unit | None
    sizes: dict[str, int] = field(default_factory=dict)
    prices: dict[str, int] = field(default_factory=dict)


def answer(member: MemberId, outcome: Outcome) -> pb.SubmitTradesResponse:
    """What became of the trades."""
    return pb.SubmitTradesResponse(results=[_result(member, result) for result in outcome.results])


def _result(member: MemberId, result: Result) -> pb.TradeResult:
    return pb.TradeResult(
        trade=names.trade(TradeKey(f"{member}/{result.key}")),
        status=_STATUSES[result.status],
        reason=result.reason,
        message=sentence_of(result),
    )


def message(trade: Trade, house: House) -> pb.Trade:
    """A novated trade."""
    instrument = house.instruments[trade.instrument]
    return pb.Trade(
        name=names.trade(trade.key),
        instrument=names.instrument(trade.instrument),
        buyer=names.account(trade.buyer),
        seller=names.account(trade.seller),
        size=units.of_size(instrument).render(trade.lots),
        price=units.of_price(instrument).render(trade.price_ticks),
        execute_time=times.from_ms(trade.executed_ms),
        trade_ref=trade.trade_ref,
    )


def batch_result(request_id: str, member: MemberId, outcome: Outcome) -> pb.BatchResult:
    """What became of a batch of a stream; of what was plainly novated only the number."""
    counts = Counter(result.status for result in outcome.results)
    told = (r for r in outcome.results if r.reason or r.status is not Status.ACCEPTED)
    return pb.BatchResult(
        request_id=request_id,
        novated_count=counts[Status.ACCEPTED],
        waiting_count=counts[Status.PENDING],
        refused_count=counts[Status.REFUSED],
        results=[_result(member, result) for result in told],
    )


def half(row: Half, house: House) -> pb.Half:
    """A half that waits."""
    trade = message(row.trade, house)
    return pb.Half(
        trade=trade.name,
        instrument=trade.instrument,
        buyer=trade.buyer,
        seller=trade.seller,
        size=trade.size,
        price=trade.price,
        execute_time=trade.execute_time,
        trade_ref=trade.trade_ref,
        awaited_member=names.member(awaited(row)),
        expire_time=times.from_ms(row.due_ms),
    )
