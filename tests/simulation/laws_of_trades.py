"""Trades (rulebook §4): what they may move, whom they need, what two members said, and what stands or falls together.

A law takes the books before a line, the line, and the books after it.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from tests.simulation.books import BP, Books, Legs, Line, cash, member_of, position, require, up
from tests.simulation.measure import (
    Measure,
    is_halted,
    is_option,
    measured,
    notional_of_lot,
    open_events,
    outage_began_ms,
)


def novated(before: Books, line: Line, after: Books) -> None:
    """Lots to the buyer, lots × (P − S) to the seller, of an option the premium in full, both pay the fee; margin
    holds or the trade reduces, and it has to where new risk is stopped.
    """
    trade, *others = line.changes("trades").values()
    for key in line.changes("trades"):
        require(key not in before.table("trades"), "a trade is novated once", key)
    _both_said_so(before, trade, others)
    name, lots, price = trade["instrument"], int(trade["lots"]), int(trade["price_ticks"])
    stopped = [before.table("breakers").get(scope, {"state": "open"}) for scope in ("*", name)]
    require(not any(map(is_halted, stopped)), "no trade while it is halted", trade["key"])
    row = before.table("instruments")[name]
    is_alive = row["expires_ms"] is None or line.at_ms < int(row["expires_ms"])
    require(is_alive, "no trade after expiry", trade["key"])
    legs = Legs(before.money)
    legs.pay(position(trade["seller"]), position(trade["buyer"]), lots, name)
    legs.pay(cash(trade["buyer"]), cash(trade["seller"]), before.price_of(name, lots, price))
    for key in (trade["buyer"], trade["seller"]):
        legs.pay(cash(key), "house/fees", _fee(before, name, lots, price))
    legs.require_moved(line)
    off = abs(price - before.mark(name)) * BP
    require(off <= before.parameter("price_band_bp") * before.width(name), "a price is near the mark", trade)
    near = off <= before.parameter("reducing_band_bp") * before.width(name)
    for set_id in {before.set_of(trade["buyer"]), before.set_of(trade["seller"])}:
        was, now = measured(before, set_id), measured(after, set_id)
        bears = now.equity >= now.requirement and (now.cash >= 0 or now.cash >= was.cash)
        reduces = near and _reduces(was, now)
        require(bears or reduces, "margin after the trade, or it reduces", set_id, now)
        own = [k for k in (trade["buyer"], trade["seller"]) if before.set_of(k) == set_id]
        why = list(_only_reduces(before, line.at_ms, set_id, own, stopped))
        require(reduces or not why, "who may only reduce takes no new risk", set_id, *why)


def _fee(books: Books, name: str, lots: int, price: int) -> int:
    """A share of the notional, rounded up; for an option of its forward's, and at most a share of the premium."""
    tick, rate = int(books.table("instruments")[name]["tick_value_minor"]), books.parameter("trade_fee_bp")
    if not is_option(books, name):
        return up(lots * price * tick * rate, BP)
    most = up(lots * price * tick * books.parameter("option_fee_cap_bp"), BP)
    return min(most, up(lots * notional_of_lot(books, name) * rate, BP))


def _both_said_so(before: Books, trade: Any, others: list[Any]) -> None:
    """A trade between two members is what each of them said, under one reference (rulebook §4)."""
    members = {member_of(trade["buyer"]), member_of(trade["seller"])}
    said = {member_of(one["key"]) for one in (trade, *others)}
    require(said == members, "each member says its half", trade["key"], *sorted(said))
    for other in others:
        require(other["key"] in before.table("halves"), "a half waits for the other", other["key"])
        waited = before.table("halves")[other["key"]]
        terms = {**trade, "key": other["key"]}
        require(waited["trade"] == terms == other, "both halves say the same", waited["trade"], terms)


def _only_reduces(
    books: Books, now_ms: int, set_id: str, own: list[str], stopped: list[Any]
) -> Iterator[str]:
    """Why a set takes no new risk now (rulebook §4, §6, §10.2, §13)."""
    for key in own:
        if books.table("members")[member_of(key)]["status"] != "active":
            yield f"the member of {key} is not active"
    if any(one["state"] != "open" for one in stopped):
        yield "a breaker"
    if set_id in books.table("liquidations") or set_id in books.table("unlinkings"):
        yield "it is being closed or unlinked"
    if set_id in books.table("portings"):
        yield "it waits to be ported"
    if any(set_id == s["netting_set"] for d in open_events(books, "declared") for s in d["sets"]):
        yield "it is in default"
    if outage_began_ms(books, now_ms) is not None:
        yield "there is an outage"
    if now_ms - int(books.single("cycle")["accepted_ms"]) > books.parameter("trade_validity_ms"):
        yield "the marks are stale"


def half_waits(before: Books, line: Line, _: Books) -> None:
    """A half waits an hour, and nothing is booked for it."""
    ((key, half),) = line.changes("halves").items()
    said = [t for t in line.command["trades"] if f"{line.command['member']}/{t['trade_id']}" == key]
    terms = {name: half["trade"][name] for name in ("instrument", "buyer", "seller", "lots", "price_ticks")}
    require(any(terms.items() <= one.items() for one in said), "a half is what was sent", key, terms)
    due = line.at_ms + before.parameter("half_ms")
    require(int(half["due_ms"]) == due, "a half has its hour", key, half["due_ms"])


def half_ended(before: Books, line: Line, _: Books) -> None:
    """A half expires when its time is over, and lapses with the default of its member."""
    for key in line.changes("halves"):
        half, member = before.table("halves")[key], member_of(key)
        failed = before.table("members")[member]["status"] == "defaulted"
        ended = failed if line.kind == "HALF_LAPSED" else int(half["due_ms"]) <= line.at_ms
        require(ended, "a half waits for the other until its time is over", key)


def stands_or_falls(command: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """Trades of one group that stand next to each other: all, or none (rulebook §4)."""
    for group, links in groupby(zip(command["trades"], results, strict=True), lambda one: one[0]["group"]):
        fresh = [result for _, result in links if result["reason"] != "TRADE_DUPLICATE"]
        taken = {result["status"] == "accepted" for result in fresh}
        require(not group or len(taken) < 2, "a group stands or falls together", group)


def _reduces(was: Measure, now: Measure) -> bool:
    headroom = now.equity - now.requirement >= was.equity - was.requirement
    return now.requirement < was.requirement and headroom and now.equity >= min(0, was.equity)
