"""Equity, requirement and the outflow gate by the rulebook (§8, §9.2), recomputed from the auditor's books.

The ``scan`` requirement is computed from the marks; of the array that the house publishes only the rows of options are
taken, which ``black76`` has held against its own values.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulation.books import BP, Books, collateral, up

MOVES = [(thirds, 100) for thirds in (0, 1, -1, 2, -2, 3, -3) for _ in range(2)] + [(6, 35), (-6, 35)]
FULL_RANGE_UP = 10
SHUT_BY = ("declared", "closed_out", "answering")


@dataclass(frozen=True)
class Measure:
    """A netting set measured."""

    equity: int
    cash: int
    option_value: int
    maintenance: int
    requirement: int

    @property
    def is_sound(self) -> bool:
        """Whether it meets R without owing cash."""
        return self.cash >= 0 and self.equity >= self.requirement


def measured(books: Books, set_id: str) -> Measure:
    """One netting set at the newest marks."""
    return measured_together(books, books.accounts_of(set_id))


def measured_together(books: Books, accounts: Sequence[str]) -> Measure:
    """Accounts as one portfolio."""
    lots: dict[str, int] = {}
    for key in accounts:
        for instrument, quantity in books.positions(key).items():
            lots[instrument] = lots.get(instrument, 0) + quantity
    money = sum(books.cash(key) for key in accounts)
    needed = maintenance(books, lots)
    value = sum(books.worth(instrument, quantity) for instrument, quantity in lots.items())
    return Measure(
        equity=money + collateral_value(books, accounts) + value,
        cash=money,
        option_value=value,
        maintenance=needed,
        requirement=required(books, needed),
    )


def required(books: Books, needed: int) -> int:
    """The requirement of a maintenance amount."""
    return up(needed * books.parameter("requirement_bp"), BP)


def market_value(books: Books, asset: str, amount: int) -> int:
    """Value at the mark, rounded down."""
    row = books.table("assets")[asset]
    ticks = books.prices.get(row["feed"] or "", 0)
    value: int = amount * ticks * int(row["tick_value_minor"]) // 10 ** int(row["decimals"])
    return value


def collateral_value(books: Books, accounts: Sequence[str]) -> int:
    """Collateral of a set after haircut, the higher one on what a participant posts above the limit anywhere; a token
    counts zero in a set with an account at its issuer.
    """
    total = 0
    members = {key.split("/", maxsplit=1)[0] for key in accounts}
    for asset, row in books.table("assets").items():
        for key in accounts:
            held = 0 if asset == books.money else books.credit(collateral(key), asset)
            if held and row["issuer"] not in members:
                above = _above(books, key, asset, held)
                for part, cut in ((held - above, "haircut_bp"), (above, "concentration_haircut_bp")):
                    total += market_value(books, asset, part) * (BP - int(row[cut])) // BP
    return total


def _above(books: Books, key: str, asset: str, held: int) -> int:
    """Its part, rounded up, of what the participant (of a house account: the member) has above the limit."""
    limit = int(books.table("assets")[asset]["concentration_minor"])
    accounts = books.table("accounts")
    who = (accounts[key]["kind"], accounts[key]["participant"])
    own = [one for one, row in accounts.items() if (row["kind"], row["participant"]) == who]
    whole = sum(books.credit(collateral(one), asset) for one in own)
    return up(max(0, whole - limit) * held, whole) if limit else 0


def maintenance(books: Books, lots: Mapping[str, int]) -> int:
    """The scan model: worst of sixteen moves, minimum for short options, credit between underlyings, basis charge,
    floor.
    """
    held = {instrument: quantity for instrument, quantity in lots.items() if quantity}
    if not held:
        return 0
    by_underlying: dict[str, dict[str, int]] = {}
    for instrument, quantity in held.items():
        underlying = books.table("instruments")[instrument]["underlying"]
        by_underlying.setdefault(underlying, {})[instrument] = quantity
    profits = {u: _profits(books, positions) for u, positions in by_underlying.items()}
    worst = {u: _worst(profit) for u, profit in profits.items()}
    scan = sum(max(worst[u], _minimum(books, positions)) for u, positions in by_underlying.items())
    risen = {u: _exposure(books, u, positions) for u, positions in by_underlying.items()}
    credit = _credit(books, {u: max(-worst[u], min(worst[u], amount)) for u, amount in risen.items()})
    basis = sum(_basis(books, u, positions) for u, positions in by_underlying.items())
    alone = sum(_worst(_profits(books, {i: q})) for i, q in held.items())
    return max(scan - credit + basis, up(alone * (BP - books.parameter("offset_cap_bp")), BP))


def _minimum(books: Books, positions: Mapping[str, int]) -> int:
    """What each option that is short requires at least."""
    rate = books.parameter("short_option_bp")
    return sum(
        -quantity * up(notional_of_lot(books, instrument) * rate, BP)
        for instrument, quantity in positions.items()
        if quantity < 0 and is_option(books, instrument)
    )


def _exposure(books: Books, underlying: str, positions: Mapping[str, int]) -> int:
    """P&L if the price rises by the scan range, options by their delta."""
    linear = {i: q for i, q in positions.items() if not is_option(books, i)}
    by_delta = sum(q * int(books.risks[i]["delta_minor"]) for i, q in positions.items() if i not in linear)
    return _profits(books, linear)[FULL_RANGE_UP] + by_delta * _move_bp(books, underlying) // BP


def is_option(books: Books, instrument: str) -> bool:
    """Whether it has a strike."""
    return books.table("instruments")[instrument]["option"] is not None


def notional_of_lot(books: Books, instrument: str) -> int:
    """Value of one lot at the mark of its feed, which is an option's forward."""
    row = books.table("instruments")[instrument]
    return books.prices[row["feed"]] * int(row["tick_value_minor"])


def _move_bp(books: Books, underlying: str) -> int:
    ranges = books.single("charter")["parameters"]["scan_ranges"]
    return next(int(r["move_bp"]) for r in ranges if r["underlying"] == underlying)


def _profits(books: Books, positions: Mapping[str, int]) -> list[int]:
    sums = [0] * len(MOVES)
    for instrument, quantity in positions.items():
        if is_option(books, instrument):
            row = books.risks[instrument]["long_minor" if quantity > 0 else "short_minor"]
            sums = [total + abs(quantity) * int(profit) for total, profit in zip(sums, row, strict=True)]
            continue
        range_bp = _move_bp(books, books.table("instruments")[instrument]["underlying"])
        signed = notional_of_lot(books, instrument) * (1 if quantity > 0 else -1)
        for number, (thirds, percent) in enumerate(MOVES):
            sums[number] += abs(quantity) * (signed * range_bp * thirds * percent // (3 * BP * 100))
    return sums


def _worst(profits: list[int]) -> int:
    return max(0, -min(profits))


def _credit(books: Books, exposures: dict[str, int]) -> int:
    total = 0
    for offset in books.single("charter")["parameters"]["offsets"]:
        first, second = offset["first"], offset["second"]
        one, other = exposures.get(first, 0), exposures.get(second, 0)
        if one * other < 0:
            matched = min(abs(one), abs(other))
            total += 2 * matched * int(offset["rate_bp"]) // BP
            exposures[first] -= matched if one > 0 else -matched
            exposures[second] -= matched if other > 0 else -matched
    return total


def _basis(books: Books, underlying: str, positions: Mapping[str, int]) -> int:
    worth = {
        i: q * (int(books.risks[i]["delta_minor"]) if is_option(books, i) else notional_of_lot(books, i))
        for i, q in positions.items()
    }
    hedged = min(sum(w for w in worth.values() if w > 0), -sum(w for w in worth.values() if w < 0))
    offsets = books.single("charter")["parameters"]["offsets"]
    credited = sum(int(o["rate_bp"]) for o in offsets if underlying in (o["first"], o["second"]))
    most = 2 * _move_bp(books, underlying) * (BP - credited) // BP
    return up(hedged * min(books.parameter("basis_floor_bp"), most), BP)


def outage_began_ms(books: Books, now_ms: int) -> int | None:
    """When the outage began that lasts now (rulebook §6), by the age of the newest snapshot or what is written down."""
    noted, cycle = books.single("outage"), books.single("cycle")
    if noted is not None:
        return int(noted["began_ms"])
    begun = [
        int(row["since_ms"])
        for scope, row in books.table("breakers").items()
        if scope == "*" and is_halted(row)
    ]
    if cycle is not None:
        aged = int(cycle["accepted_ms"]) + books.parameter("outage_after_ms")
        begun += [aged] if now_ms > aged else []
    return min(begun, default=None)


def is_halted(breaker: Mapping[str, str]) -> bool:
    """Whether a breaker lets nothing through."""
    return breaker["state"] == "halted"


def open_events(books: Books, *stages: str) -> Iterator[Mapping[str, Any]]:
    """Events whose loss is not allocated yet, or those at the stages named."""
    return (d for d in books.table("defaults").values() if d["stage"] in (stages or SHUT_BY))


def gate_is_shut(books: Books, now_ms: int) -> Iterator[str]:
    """Every reason for which no outflow may begin now (rulebook §3, §7, §10.3, §11)."""
    cycle = books.single("cycle")
    if cycle is None or not cycle["closed"]:
        yield "no cycle is closed"
        return
    if now_ms - int(cycle["accepted_ms"]) > books.parameter("withdraw_validity_ms"):
        yield "the marks are stale"
    if outage_began_ms(books, now_ms) is not None:
        yield "there is an outage"
    for name, default in books.table("defaults").items():
        if default["stage"] in SHUT_BY or int(default["uncovered_minor"]):
            yield f"{name} is open"
    if books.table("assessments"):
        yield "an assessment is unpaid"
    for asset in books.table("assets"):
        if books.debit("house/non_default_losses", asset):
            yield f"custody lost {asset}"
    sums = [sum(map(books.cash, books.accounts_of(s))) for s in books.table("netting_sets")]
    if -sum(c for c in sums if c < 0) > books.credit("house/capital") + books.parameter(
        "liquidity_line_minor"
    ):
        yield "negative cash exceeds the capital"
