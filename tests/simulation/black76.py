"""What options are worth by Black (1976), and whether what the house publishes of them agrees (rulebook §6, §9.2).

Marks and the rows of the risk array come from floating point. They are held against this formula within a tolerance,
and on the side that the rulebook rounds to; from then on they are integers, and every other law takes them as such.
"""

import math
from collections.abc import Mapping
from typing import Any

from tests.simulation.books import BP, Books, Line, require

YEAR_MS = 365 * 86_400_000
NEAR = 2e-6
"""Ticks by which a value may differ: the house takes a millionth of a tick, the rest is for floating point."""
SHIFTS = (
    *((thirds, volatility, 100) for thirds in (0, 1, -1, 2, -2, 3, -3) for volatility in (1, -1)),
    (6, 0, 35),
    (-6, 0, 35),
)
"""Price in thirds of the scan range, volatility up or down, percentage that counts."""


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def value(option: Mapping[str, Any], forward: float, volatility: float, years: float) -> float:
    """Undiscounted, in ticks; without time or volatility what exercise would pay."""
    strike, sign = int(option["strike_ticks"]), 1 if option["right"] == "call" else -1
    paid = max(0.0, sign * (forward - strike))
    deviation = volatility * math.sqrt(years)
    if deviation <= 0:
        return paid
    near = math.log(forward / strike) / deviation + deviation / 2
    return max(paid, sign * (forward * _normal(sign * near) - strike * _normal(sign * (near - deviation))))


def _delta(option: Mapping[str, Any], forward: float, volatility: float, years: float) -> float:
    deviation = volatility * math.sqrt(years)
    if deviation > 0:
        called = _normal(math.log(forward / int(option["strike_ticks"])) / deviation + deviation / 2)
    else:
        called = 0.5 + 0.5 * (
            (forward > int(option["strike_ticks"])) - (forward < int(option["strike_ticks"]))
        )
    return called if option["right"] == "call" else called - 1


def years_left(instrument: Mapping[str, Any], at_ms: int) -> float:
    """Time to expiry in years of 365 days."""
    return max(0, int(instrument["expires_ms"]) - at_ms) / YEAR_MS


def priced(_: Books, line: Line, after: Books) -> None:
    """Each option that is not settled for good is marked by Black-76 to the nearest tick, and scanned by it."""
    cycle = after.single("cycle")
    at_ms, marks = int(cycle["accepted_ms"]), after.prices
    published = {mark["instrument"]: mark for mark in cycle["option_marks"]}
    if line.kind == "SNAPSHOT_ACCEPTED":
        _all_marked(after, published, marks, at_ms)
    for name in after.risks:
        row = after.table("instruments")[name]
        _scanned(after, row, after.risks[name], after.values[name], years_left(row, at_ms))


def _all_marked(after: Books, published: Mapping[str, Any], marks: Mapping[str, int], at_ms: int) -> None:
    options = {name: row for name, row in after.table("instruments").items() if row["option"] is not None}
    due = {
        name
        for name, row in options.items()
        if row["final_ticks"] is None
        and row["feed"] in marks
        and (row["option"]["volatility_feed"] in marks or int(row["expires_ms"]) <= at_ms)
    }
    require(due == published.keys(), "every living option is marked", *sorted(published.keys() ^ due))
    alive = {name for name in due if int(options[name]["expires_ms"]) > at_ms}
    require(
        alive == after.risks.keys(), "what has not expired is margined", *sorted(alive ^ after.risks.keys())
    )
    for name in due:
        _marked(options[name], published[name], marks, years_left(options[name], at_ms))


def _marked(row: Any, mark: Any, marks: Mapping[str, int], years: float) -> None:
    forward, volatility = marks[row["feed"]], marks.get(row["option"]["volatility_feed"], 0)
    said = (int(mark["forward_ticks"]), int(mark["volatility_bp"]))
    require(said == (forward, volatility), "an option is marked from its forward and volatility", mark)
    worth = value(row["option"], forward, volatility / BP, years)
    off = abs(int(mark["price_ticks"]) - worth)
    require(off <= 0.5 + NEAR, "an option's mark is its value by Black-76", mark, worth)


def _scanned(books: Books, row: Any, risk: Any, mark: int, years: float) -> None:
    """Each scenario anew, rounded down for who is long and for who is short."""
    forward = books.prices[row["feed"]]
    volatility = books.prices[row["option"]["volatility_feed"]] / BP
    ranges = books.single("charter")["parameters"]["scan_ranges"]
    scanned = next(r for r in ranges if r["underlying"] == row["underlying"])
    tick = int(row["tick_value_minor"])
    for number, (thirds, way, percent) in enumerate(SHIFTS):
        moved = forward * max(0.01, 1 + int(scanned["move_bp"]) * thirds / (3 * BP))
        shaken = volatility * max(0.0, 1 + int(scanned["volatility_bp"]) * way / BP)
        gain = (value(row["option"], moved, shaken, years) - mark) * tick * percent / 100
        for side, sign in (("long_minor", 1), ("short_minor", -1)):
            short_of = sign * gain - int(risk[side][number])
            sound = -NEAR * tick <= short_of <= 1 + NEAR * tick
            require(
                sound, "a scenario is valued by Black-76, rounded down", row["id"], number, side, short_of
            )
    notional = forward * tick
    require(int(risk["notional_minor"]) == notional, "an option's notional is its forward's", row["id"])
    share = _delta(row["option"], forward, volatility, years)
    off_by = abs(int(risk["delta_minor"]) - share * notional)
    require(off_by <= 1 + NEAR * notional, "an option's delta", row["id"], risk["delta_minor"], share)
