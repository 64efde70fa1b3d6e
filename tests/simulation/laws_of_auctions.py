"""Sealed bids (rulebook §10.2, §10.3, §11.5): what is offered, to whom it goes, and at what price."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.simulation.books import (
    BP,
    Books,
    Legs,
    Line,
    Place,
    Sale,
    cash,
    collateral,
    given_up,
    member_of,
    position,
    require,
    up,
)
from tests.simulation.laws_of_default import unpaid
from tests.simulation.laws_of_money import price_off, sale_price
from tests.simulation.measure import (
    is_halted,
    market_value,
    measured,
    notional_of_lot,
    open_events,
    outage_began_ms,
)


def _keys(books: Books, auction: Mapping[str, Any]) -> list[str]:
    """The accounts whose positions or collateral an auction offers."""
    subject = auction["subject"]
    default = books.table("defaults").get(subject)
    sets = [subject] if default is None else [one["netting_set"] for one in default["sets"]]
    return [key for set_id in sets for key in books.accounts_of(set_id)]


def _offers(auction: Mapping[str, Any]) -> dict[Place, int]:
    return {(one["account"], one["unit"]): int(one["size"]) for one in auction["offered"]}


def opened(before: Books, line: Line, _: Books) -> None:
    """An auction offers a slice that keeps the hedge, all of an event, or collateral, for its whole window."""
    (auction,) = line.changes("auctions").values()
    is_default = auction["subject"] in before.table("defaults")
    window = before.parameter("close_out_auction_ms" if is_default else "auction_ms")
    times = (int(auction["opened_ms"]), int(auction["closes_ms"]))
    require(window > 0 and times == (line.at_ms, line.at_ms + window), "an auction has its window", auction)
    require(outage_began_ms(before, line.at_ms) is None, "in an outage nothing is put up", auction["id"])
    halted = [scope for scope, row in before.table("breakers").items() if is_halted(row)]
    held = {instrument for key in _keys(before, auction) for instrument in before.positions(key)}
    require(held.isdisjoint(halted), "what is halted is not put up", auction["id"], *halted)
    offered = _offers(auction)
    if auction["kind"] == "collateral":
        _collateral(before, auction, offered)
        if not is_default:
            called = before.table("calls").get(f"cash/{auction['subject']}")
            late = called is not None and int(called["due_ms"]) <= line.at_ms
            require(late, "collateral is put up for a cash call that has expired", auction["id"])
        return
    whole = {(k, i): lots for k in _keys(before, auction) for i, lots in before.positions(k).items()}
    share = BP if is_default else _step_share(before, auction["subject"], whole)
    slice_ = {p: up(abs(lots) * share, BP) * (1 if lots > 0 else -1) for p, lots in whole.items()}
    require(offered == slice_, "a slice is the same share of every position", auction["id"], offered, slice_)


def _step_share(books: Books, set_id: str, whole: Mapping[Place, int]) -> int:
    """[20 %], or the whole below half of M, or of what is worth no more than the minimum (rulebook §10.2)."""
    stands = measured(books, set_id)
    worth = sum(abs(lots) * notional_of_lot(books, i) for (_, i), lots in whole.items())
    is_poor = stands.equity * BP < stands.maintenance * books.parameter("liquidation_whole_below_bp")
    is_small = worth <= books.parameter("liquidation_minimum_minor")
    return BP if is_poor or is_small else books.parameter("liquidation_step_bp")


def _collateral(books: Books, auction: Mapping[str, Any], offered: Mapping[Place, int]) -> None:
    there = {
        (key, asset): amount
        for key in _keys(books, auction)
        for asset in books.table("assets")
        if asset != books.money and (amount := books.credit(collateral(key), asset))
    }
    priced = {place: amount for place, amount in there.items() if market_value(books, place[1], amount)}
    is_all = auction["subject"] in books.table("defaults")
    fits = all(0 < amount <= there.get(place, 0) for place, amount in offered.items())
    require(offered == priced if is_all else fits, "what is offered is there", auction["id"], offered, there)


def bid_placed(before: Books, line: Line, _: Books) -> None:
    """A provider that is not being closed itself bids while the window is open."""
    (bid,) = line.changes("bids").values()
    require(bid["auction"] in before.table("auctions"), "a bid is in an open auction", bid)
    auction = before.table("auctions")[bid["auction"]]
    require(line.at_ms < int(auction["closes_ms"]), "a bid comes while the window is open", bid)
    require(bid["account"] in before.table("providers"), "a bidder is a provider", bid)
    set_id = before.set_of(bid["account"])
    declared = {s["netting_set"] for d in open_events(before, "declared") for s in d["sets"]}
    closing = set_id in declared or set_id in before.table("liquidations")
    active = before.table("members")[member_of(bid["account"])]["status"] == "active"
    require(active and not closing, "who is being closed buys nothing", bid)
    require(0 < int(bid["share_bp"]) <= BP and abs(int(bid["discount_bp"])) < BP, "a bid has its range", bid)


def bid_withdrawn(before: Books, line: Line, _: Books) -> None:
    """A bid is taken back while the window is open."""
    (key,) = line.changes("bids")
    auction = before.table("auctions")[before.table("bids")[key]["auction"]]
    require(line.at_ms < int(auction["closes_ms"]), "a bid binds when the window closes", key)


def closed(before: Books, line: Line, after: Books) -> None:
    """A window closes when its time is over; no bid of it is left."""
    auction = before.table("auctions")[line.references[0]]
    require(int(auction["closes_ms"]) <= line.at_ms, "a window lasts its time", auction)
    voided(before, line, after)


def voided(_: Books, line: Line, after: Books) -> None:
    """What is over has no bids."""
    name = line.references[0]
    left = [key for key, bid in after.table("bids").items() if bid["auction"] == name]
    require(name not in after.table("auctions") and not left, "an auction ends with its bids", name, *left)


def awarded(before: Books, line: Line, after: Books) -> None:
    """The best bid first, at its own price, one share of everything on offer, as far as it stands (rulebook §10.2)."""
    name, bidder = line.references
    sale, pieces = before.sales[name], given_up(line)
    require(bidder in sale.bids, "who has not bid is awarded nothing", name, bidder)
    before_it = [sale.rank(one) for one, _ in sale.awards]
    require(all(rank < sale.rank(bidder) for rank in before_it), "the best bid comes first", name, bidder)
    _one_share(before, sale, bidder, pieces)
    _pays_its_bid(before, line, int(sale.bids[bidder]["discount_bp"]), pieces)
    stands = measured(after, after.set_of(bidder))
    require(stands.is_sound, "a bidder meets R and cash ≥ 0 afterwards", bidder, stands)
    _better_bids_could_not(before, sale, bidder, pieces)
    most = before.parameter("assignment_discount_bp")
    if int(sale.bids[bidder]["discount_bp"]) > most:
        _is_borne(before, after, sale)


def _one_share(books: Books, sale: Sale, bidder: str, pieces: Mapping[Place, int]) -> None:
    """A hedge stays one: the same share of each thing, up to the bid's, and no more than is left."""
    offered, most = _offers(sale.auction), int(sale.bids[bidder]["share_bp"])
    for_cash = sale.auction["kind"] == "collateral" and sale.auction["subject"] not in books.table("defaults")
    least = 0
    for place, amount in pieces.items():
        gone = sum(taken.get(place, 0) for _, taken in sale.awards)
        left = abs(offered.get(place, 0)) - abs(gone)
        key, unit = place
        there = books.positions(key).get(unit, 0) if unit in books.table("instruments") else 0
        there = there or books.credit(collateral(key), unit)
        fits = (
            abs(amount) <= min(left, abs(there)) and amount * offered.get(place, 0) > 0 and amount * there > 0
        )
        require(fits, "no more is sold than is on offer and there", place, amount, left, there)
        least = max(least, up(abs(amount) * BP, abs(offered[place])))
        if abs(amount) < min(left, abs(there)) and not for_cash:
            most = min(most, up((abs(amount) + 1) * BP, abs(offered[place])) - 1)
    require(least <= most, "an award is one share of everything", sale.auction["id"], bidder, least, most)


def _pays_its_bid(books: Books, line: Line, discount_bp: int, pieces: Mapping[Place, int]) -> None:
    bidder, legs = line.references[1], Legs(books.money)
    for (key, unit), amount in pieces.items():
        if unit in books.table("instruments"):
            price = price_off(books, unit, amount, discount_bp)
            legs.pay(position(key), position(bidder), amount, unit)
            legs.pay(cash(bidder), cash(key), books.price_of(unit, amount, price))
        else:
            legs.pay(collateral(key), collateral(bidder), amount, unit)
            legs.pay(cash(bidder), cash(key), sale_price(books, unit, amount, discount_bp))
    legs.require_moved(line)


def _better_bids_could_not(books: Books, sale: Sale, bidder: str, pieces: Mapping[Place, int]) -> None:
    """A better bid that was awarded nothing could not have taken what this one took."""
    served = {one for one, _ in sale.awards}
    for other, bid in sale.bids.items():
        if other in served or sale.rank(other) >= sale.rank(bidder) or not _may_bid(books, other):
            continue
        enough = all(
            abs(amount) <= abs(_offers(sale.auction)[place]) * int(bid["share_bp"]) // BP
            for place, amount in pieces.items()
        )
        if enough:
            stands = measured(_had_it(books, other, int(bid["discount_bp"]), pieces), books.set_of(other))
            require(not stands.is_sound, "the best bid comes first", sale.auction["id"], other, bidder)


def _may_bid(books: Books, key: str) -> bool:
    declared = {s["netting_set"] for d in open_events(books, "declared") for s in d["sets"]}
    is_active = books.table("members")[member_of(key)]["status"] == "active"
    is_whole = books.table("accounts")[key]["status"] == "active"
    closing = books.set_of(key) in declared or books.set_of(key) in books.table("liquidations")
    return is_active and is_whole and not closing


def _had_it(books: Books, bidder: str, discount_bp: int, pieces: Mapping[Place, int]) -> Books:
    """The books if somebody else had taken it."""
    balances = books.balances.copy()
    for (key, unit), amount in pieces.items():
        if unit in books.table("instruments"):
            price = books.price_of(unit, amount, price_off(books, unit, amount, discount_bp))
            moved = ((position(key), unit, amount), (position(bidder), unit, -amount))
        else:
            price = sale_price(books, unit, amount, discount_bp)
            moved = ((collateral(key), unit, amount), (collateral(bidder), unit, -amount))
        for path, what, lots in (
            *moved,
            (cash(bidder), books.money, price),
            (cash(key), books.money, -price),
        ):
            balances[path, what] += lots
    return replace(books, balances=balances)


def _is_borne(before: Books, after: Books, sale: Sale) -> None:
    """A bid worse than assignment is taken for a default alone, and adds nothing to what no tier could pay."""
    event = sale.auction["subject"]
    require(
        event in before.table("defaults"), "the reserve of a step is the assignment price", sale.auction["id"]
    )
    borne, bound = unpaid(after, event), unpaid(before, event)
    require(borne <= bound, "a dear bid is borne by the tiers", event, borne, bound)
