"""Trades on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass

from clearing.model.commands import NewTrade, SubmitTrades
from clearing.model.house import House
from clearing.model.ids import InstrumentId, MemberId, TradeKey
from clearing.model.outcomes import Outcome, Result, Status
from clearing.model.values import Trade
from clearing.server.errors import sentence_of
from clearing.server.wire import names, times, units
from clearing.server.wire.decimal import DecimalRefused
from clearing.server.wire.units import Unit
from clearing.server.wire.violations import Violations
from clearinghouse.v1 import trade_service_pb2 as pb

_STATUSES: "Mapping[Status, pb.TradeStatus.ValueType]" = {
    Status.ACCEPTED: pb.TRADE_STATUS_NOVATED,
    Status.PENDING: pb.TRADE_STATUS_WAITING,
    Status.REFUSED: pb.TRADE_STATUS_REFUSED,
}


def parse(request: pb.SubmitTradesRequest, house: House) -> SubmitTrades:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    figures = [_figures(trade, house, f"trades[{n}]", violations) for n, trade in enumerate(request.trades)]
    violations.require_none()
    trades = tuple(_new_trade(trade, found) for trade, found in zip(request.trades, figures, strict=True))
    return SubmitTrades(member=names.member_id(request.parent), trades=trades)


@dataclass(frozen=True, slots=True)
class _Figures:
    """The numbers of a trade in the house's steps."""

    lots: int
    price_ticks: int
    executed_ms: int


def _figures(trade: pb.NewTrade, house: House, field: str, violations: Violations) -> _Figures:
    """For an unknown instrument nothing can be counted: the decider refuses it before it looks."""
    executed_ms = times.to_ms(trade.execute_time, f"{field}.execute_time", violations)
    instrument = house.instruments.get(InstrumentId(names.own_id(trade.instrument)))
    if instrument is None:
        return _Figures(0, 0, executed_ms)
    lots = _steps(units.of_size(instrument), trade.size, f"{field}.size", violations)
    ticks = _steps(units.of_price(instrument), trade.price, f"{field}.price", violations)
    return _Figures(lots, ticks, executed_ms)


def _new_trade(trade: pb.NewTrade, figures: _Figures) -> NewTrade:
    return NewTrade(
        trade_id=trade.trade_id,
        instrument=InstrumentId(names.own_id(trade.instrument)),
        buyer=names.account_key(trade.buyer),
        seller=names.account_key(trade.seller),
        lots=figures.lots,
        price_ticks=figures.price_ticks,
        executed_ms=figures.executed_ms,
        trade_ref=trade.trade_ref,
        group=trade.group,
    )


def _steps(unit: Unit, text: str, field: str, violations: Violations) -> int:
    try:
        return unit.parse(text)
    except DecimalRefused as refused:
        violations.add(field, str(refused))
        return 0


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
