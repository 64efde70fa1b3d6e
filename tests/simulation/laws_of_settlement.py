"""What a snapshot settles before anything else is measured (rulebook §5, §7): funding, variation margin, expiries.

Each is an exact integer for each lot, so what some pay is what others receive.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.simulation.books import Books, Line, Place, cash, position, require

PPM = 1_000_000
Due = tuple[str, str]
"""Kind of entry, instrument."""


def due(before: Books, after: Books, at_ms: int) -> dict[Due, Counter[Place]]:
    """All that must be settled when a snapshot is accepted, one entry an instrument and kind."""
    found = {("FUNDING_PAID", name): _funding(before, row) for name, row in before.table("funding").items()}
    for name, row in before.table("instruments").items():
        if row["final_ticks"] is not None or row["feed"] not in after.prices:
            continue
        if row["expires_ms"] is not None and int(row["expires_ms"]) <= at_ms:
            kind = "FUTURE_SETTLED" if row["option"] is None else "OPTION_SETTLED"
            found[kind, name] = _paid(before, name, _last_ticks(row, before, after))
            found[kind, name].update(_ended(before, name))
        elif row["option"] is None and any(
            before.positions(key).get(name) for key in before.table("accounts")
        ):
            moved = after.prices[row["feed"]] - before.prices.get(row["feed"], after.prices[row["feed"]])
            if moved:
                found["VARIATION_MARGIN", name] = _paid(before, name, moved)
    return found


def _paid(books: Books, name: str, ticks: int) -> Counter[Place]:
    """Debits of who holds an instrument that brings so much a lot."""
    tick_value = int(books.table("instruments")[name]["tick_value_minor"])
    moved: Counter[Place] = Counter()
    for key in books.table("accounts"):
        lots = books.positions(key).get(name, 0)
        if lots * ticks:
            moved[cash(key), books.money] = -lots * ticks * tick_value
    return moved


def _funding(books: Books, row: Mapping[str, Any]) -> Counter[Place]:
    """Lots × an integer, rounded towards zero, of which longs pay what shorts receive."""
    instrument = books.table("instruments")[row["instrument"]]
    rate = min(abs(int(row["rate_ppm"])), books.parameter("funding_cap_ppm"))
    lot = books.prices.get(instrument["feed"], 0) * int(instrument["tick_value_minor"])
    amount = lot * rate // PPM * (1 if int(row["rate_ppm"]) > 0 else -1)
    held = {key: books.positions(key).get(row["instrument"], 0) for key in books.table("accounts")}
    return Counter({(cash(key), books.money): lots * amount for key, lots in held.items() if lots * amount})


def _last_ticks(row: Mapping[str, Any], before: Books, after: Books) -> int:
    """What a lot of an expired instrument is paid: a future's last move, an option's intrinsic value."""
    price = after.prices[row["feed"]]
    if row["option"] is None:
        return price - before.prices.get(row["feed"], price)
    return _intrinsic(row["option"], price)


def _intrinsic(option: Mapping[str, Any], price: int) -> int:
    gain = price - int(option["strike_ticks"])
    return max(0, gain if option["right"] == "call" else -gain)


def _ended(books: Books, name: str) -> Counter[Place]:
    held = {key: books.positions(key).get(name, 0) for key in books.table("accounts")}
    return Counter({(position(key), name): lots for key, lots in held.items() if lots})


def settled(line: Line, unsettled: dict[Due, Counter[Place]]) -> None:
    """One entry an instrument, just what is due, once."""
    (instrument,) = line.references
    expected = unsettled.pop((line.kind, instrument), None)
    once = f"{NAMES[line.kind]} is settled once a cycle"
    require(expected is not None, once, instrument)
    is_due = {place: amount for place, amount in (expected or {}).items() if amount}
    require(
        line.moved() == is_due, f"{NAMES[line.kind]} is {RATES[line.kind]}", instrument, line.moved(), is_due
    )


NAMES = {
    "FUNDING_PAID": "funding",
    "VARIATION_MARGIN": "variation margin",
    "FUTURE_SETTLED": "an expired future",
    "OPTION_SETTLED": "an expired option",
}
RATES = {
    "FUNDING_PAID": "lots × an integer",
    "VARIATION_MARGIN": "lots × Δticks × tick value",
    "FUTURE_SETTLED": "settled at the mark, and ends",
    "OPTION_SETTLED": "settled at its intrinsic value, and ends",
}


def ended(before: Books, line: Line, after: Books) -> None:
    """The final price of what has expired is written down."""
    ((name, row),) = line.changes("instruments").items()
    terms = before.table("instruments")[name]
    price = before.prices[terms["feed"]]
    worth = price if terms["option"] is None else _intrinsic(terms["option"], price)
    require(
        row == {**terms, "final_ticks": str(worth)},
        f"{NAMES[line.kind]} is {RATES[line.kind]}",
        name,
        row,
        worth,
    )
    left = [key for key in after.table("accounts") if after.positions(key).get(name)]
    require(not left, "nobody holds what has expired", name, *left)
