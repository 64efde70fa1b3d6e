"""Trades of the demonstration, at the mark."""

from clearing.demo.books import Order
from clearing.demo.desk import Desk
from clearing.demo.market import Bar
from clearing.model.commands import NewTrade, SubmitTrades
from clearing.model.ids import AccountKey, MemberId, account_key, member_of
from clearing.model.outcomes import Result


def trade(desk: Desk, name: str, order: Order, bar: Bar) -> None:
    """An order against the market maker at the same member."""
    member = member_of(order.account)
    maker = account_key(member, f"maker-{1 + len(name) % 2}")
    new = new_trade(desk, name, order, maker, bar)
    desk.must(f"trade/{name}", SubmitTrades(member=member, trades=(new,)))


def half(desk: Desk, ref: str, member: MemberId, trade_of_both: NewTrade) -> Result:
    """One member's half of a trade with another."""
    command = SubmitTrades(member=member, trades=(trade_of_both,))
    return desk.must(f"half/{ref}/{member}", command).results[0]


def new_trade(
    desk: Desk, name: str, order: Order, counterparty: AccountKey, bar: Bar, trade_ref: str = ""
) -> NewTrade:
    """An order against a counterparty at the mark, now."""
    is_bought = order.notional_minor > 0
    return NewTrade(
        trade_id=name,
        instrument=order.instrument,
        buyer=order.account if is_bought else counterparty,
        seller=counterparty if is_bought else order.account,
        lots=desk.listing.lots(order.instrument, order.notional_minor, bar),
        price_ticks=desk.listing.price(order.instrument, bar),
        executed_ms=desk.now_ms,
        trade_ref=trade_ref,
    )
