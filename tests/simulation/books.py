"""The auditor's own books: what the journal says, folded in the plainest way, and nothing else.

A line of the journal is data: the name of its kind, legs as (path, unit, amount) with debit positive,
references, and a fact as rows of JSON whose numbers are decimal strings. This module and all that audits
by it import the standard library and one another, and nothing of the house that they audit.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

BP = 10_000
SETTLING = ("VARIATION_MARGIN", "FUNDING_PAID", "FUTURE_SETTLED")
"""What is won by them counts in the window of a default (rulebook §11.8)."""
PRICING = ("TRADE_NOVATED", "POSITION_ASSIGNED", "BID_AWARDED")
"""What is paid by them, beyond what an option is worth, is a loss of the leg (rulebook §10.5)."""

Place = tuple[str, str]
"""Path and unit of an account of the book."""


class Violation(Exception):
    """A law of the rulebook does not hold. The message says which, and the figures."""


def require(holds: bool, law: str, *figures: object) -> None:
    """Raise :class:`Violation` unless ``holds``."""
    if not holds:
        raise Violation(": ".join((law, " ".join(map(str, figures)))) if figures else law)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry of the journal, and the command that led to it. ``risks``: what the house publishes of options in its
    risk array from here on, if that is something else than before.
    """

    kind: str
    at_ms: int
    legs: tuple[tuple[str, str, int], ...] = ()
    references: tuple[str, ...] = ()
    fact: Any = None
    command: Mapping[str, Any] = field(default_factory=dict)
    risks: Mapping[str, Any] | None = None

    def moved(self) -> Counter[Place]:
        """What each account was debited with on balance."""
        sums: Counter[Place] = Counter()
        for path, unit, amount in self.legs:
            sums[path, unit] += amount
        return Counter({place: amount for place, amount in sums.items() if amount})

    def changes(self, table: str) -> dict[str, Any]:
        """The rows of ``table`` that the fact puts (or drops: None)."""
        return {key: row for name, key, row in self.fact or () if name == table}


@dataclass(frozen=True, kw_only=True)
class Sale:
    """An auction whose window is over: what was on offer, the bids, and who was awarded what of it, in order."""

    auction: Mapping[str, Any]
    bids: Mapping[str, Mapping[str, Any]]
    awards: tuple[tuple[str, Mapping[Place, int]], ...] = ()

    def rank(self, bidder: str) -> tuple[int, bytes]:
        """The smallest discount first, ties by a hash."""
        tie = hashlib.sha256(f"{self.auction['id']}\n{bidder}".encode()).digest()
        return int(self.bids[bidder]["discount_bp"]), tie


@dataclass(frozen=True, kw_only=True)
class Books:
    """Balances (debit positive), rows, the newest marks by feed, what options are worth by them (in ticks) and their
    rows of the risk array, what each account has lost since its set met R and won since ever, the latter
    also as it was when the newest cycle began and at each T0's, the notional that was placed of each netting set
    since its liquidation began, the auctions whose window is over, when an outage moved each call, and when the last
    outage ended, after some line.
    """

    balances: Counter[Place] = field(default_factory=Counter)
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prices: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)
    risks: Mapping[str, Any] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    won: Counter[str] = field(default_factory=Counter)
    cycle_won: Counter[str] = field(default_factory=Counter)
    event_won: Mapping[str, Counter[str]] = field(default_factory=dict)
    placed: Counter[str] = field(default_factory=Counter)
    sales: Mapping[str, Sale] = field(default_factory=dict)
    moved_ms: Counter[str] = field(default_factory=Counter)
    resumed_ms: int | None = None

    def after(self, line: Line) -> "Books":
        """The books once ``line`` is posted; these stay as they are."""
        balances = self.balances.copy()
        for path, unit, amount in line.legs:
            balances[path, unit] += amount
        rows = dict(self.rows)
        for table, key, row in line.fact or ():
            changed = dict(rows.get(table, {}))
            if row is None:
                changed.pop(key, None)
            else:
                changed[key] = row
            rows[table] = changed
        moved_ms, resumed_ms = self.moved_ms, self.resumed_ms
        if line.kind in ("CALL_MOVED", "PORTING_MOVED"):
            moved = {**line.changes("calls"), **line.changes("portings")}
            moved_ms = moved_ms | Counter(dict.fromkeys(moved, line.at_ms))
        elif line.kind == "OUTAGE_ENDED":
            resumed_ms = line.at_ms
        event_won = dict(self.event_won)
        for event in line.changes("defaults"):
            event_won.setdefault(event, self.cycle_won)
        after = replace(
            self,
            balances=balances,
            rows=rows,
            **_quotes(line),
            risks=self.risks if line.risks is None else line.risks,
            placed=self._placed(line),
            sales=self._sales(line),
            event_won=event_won,
            moved_ms=moved_ms,
            resumed_ms=resumed_ms,
        )
        lost, won = self._profit(line, after)
        cycle_won = self.won if line.kind == "SNAPSHOT_ACCEPTED" else self.cycle_won
        after = replace(after, lost=lost, won=won, cycle_won=cycle_won)
        return after._ported(line) if line.kind == "PORTED" else after

    def _ported(self, line: Line) -> "Books":
        """What was won goes with the positions; what was lost is answered where it was lost (rulebook §10.4, §10.5)."""
        old = [key for key, row in line.changes("accounts").items() if row["ported_to"] == line.references[1]]
        return replace(
            self,
            lost=Counter({key: amount for key, amount in self.lost.items() if key not in old}),
            won=_handed_on(self.won, old, line.references[1]),
            cycle_won=_handed_on(self.cycle_won, old, line.references[1]),
            event_won={e: _handed_on(won, old, line.references[1]) for e, won in self.event_won.items()},
        )

    def _placed(self, line: Line) -> Counter[str]:
        """Notional of what providers took, at the mark; of an option at its forward's (rulebook §10.2)."""
        if line.kind not in ("LIQUIDATION_OPENED", "POSITION_ASSIGNED", "BID_AWARDED"):
            return self.placed
        placed = self.placed.copy()
        for set_id in line.changes("liquidations"):
            placed[set_id] = 0
        for (path, instrument), lots in line.moved().items():
            key = holder(path, "position")
            if key is not None and key != line.references[1]:
                row = self.table("instruments")[instrument]
                notional = abs(lots) * self.prices[row["feed"]] * int(row["tick_value_minor"])
                placed[self.set_of(key)] += notional
        return placed

    def _sales(self, line: Line) -> Mapping[str, Sale]:
        if line.kind == "AUCTION_CLOSED":
            name = line.references[0]
            bids = {bid["account"]: bid for bid in self.table("bids").values() if bid["auction"] == name}
            return {**self.sales, name: Sale(auction=self.table("auctions")[name], bids=bids)}
        if line.kind in ("BID_AWARDED", "COLLATERAL_AWARDED"):
            name, bidder = line.references
            sale = self.sales[name]
            return {**self.sales, name: replace(sale, awards=(*sale.awards, (bidder, given_up(line))))}
        return self.sales

    def _profit(self, line: Line, after: "Books") -> tuple[Counter[str], Counter[str]]:
        """Losses since a set last met R, and all that was ever won by settlement (rulebook §10.5, §11.8)."""
        lost, won = self.lost, self.won
        if line.kind in SETTLING + PRICING:
            lost, won = lost.copy(), won.copy()
            for path, unit, amount in line.legs:
                key = holder(path, "cash") or holder(path, "position")
                if key is not None:
                    worth = 1 if unit == self.money else self.worth(unit, 1)
                    lost[key] += amount * worth
                    won[key] -= amount * worth if line.kind in SETTLING else 0
        elif line.kind == "SNAPSHOT_ACCEPTED":
            lost, won = lost.copy(), won.copy()
            for key in self.table("accounts"):
                for instrument, lots in self.positions(key).items():
                    if instrument in self.values:
                        gain = after.worth(instrument, lots) - self.worth(instrument, lots)
                        lost[key] -= gain
                        won[key] += gain
        elif line.kind == "CYCLE_CLOSED":
            short = after.single("cycle")["short"]
            carried = {k for s in short for k in after.table("netting_sets")[s]["accounts"]}
            lost = Counter({key: amount for key, amount in lost.items() if key in carried})
        return lost, won

    # what they say ----------------------------------------------------------------------------------

    def table(self, name: str) -> Mapping[str, Any]:
        """The rows of a table."""
        return self.rows.get(name, {})

    def single(self, name: str) -> Any:
        """The one row of a table that has just one, or None."""
        return self.table(name).get("")

    def parameter(self, name: str) -> int:
        """A number of the parameters in force."""
        return int(self.single("charter")["parameters"][name])

    @property
    def money(self) -> str:
        """The settlement asset."""
        return str(self.single("charter")["settlement_asset"])

    def credit(self, path: str, unit: str | None = None) -> int:
        """The balance of an account whose normal side is credit."""
        return -self.balances[path, unit or self.money]

    def debit(self, path: str, unit: str | None = None) -> int:
        """The balance of an account whose normal side is debit."""
        return self.balances[path, unit or self.money]

    def cash(self, key: str) -> int:
        """Cash of an account."""
        return self.credit(cash(key))

    def positions(self, key: str) -> dict[str, int]:
        """Lots of an account by instrument, long positive, none zero."""
        lots = {i: self.credit(position(key), i) for i in self.table("instruments")}
        return {instrument: quantity for instrument, quantity in lots.items() if quantity}

    def mark(self, instrument: str) -> int:
        """The mark of an instrument: its feed's, or what it is worth if it is an option."""
        row = self.table("instruments")[instrument]
        return self.prices[row["feed"]] if row["option"] is None else self.values[instrument]

    def worth(self, instrument: str, lots: int) -> int:
        """What a position in an option is worth; a linear one is settled, and worth nothing."""
        row = self.table("instruments")[instrument]
        if row["option"] is None:
            return 0
        return lots * self.values.get(instrument, 0) * int(row["tick_value_minor"])

    def price_of(self, instrument: str, lots: int, price: int) -> int:
        """What ``lots`` cost at a price: of an option all of it, else what it is off the mark."""
        row = self.table("instruments")[instrument]
        carried = 0 if row["option"] is not None else self.mark(instrument)
        return lots * (price - carried) * int(row["tick_value_minor"])

    def width(self, instrument: str) -> int:
        """The price of which bands and discounts are a share; for an option at least [10 %] of its forward's."""
        row = self.table("instruments")[instrument]
        least = up(self.prices[row["feed"]] * self.parameter("option_price_floor_bp"), BP)
        return self.mark(instrument) if row["option"] is None else max(self.mark(instrument), least)

    def holder(self, key: str) -> str:
        """Who has what an account had: itself, or the account to which it was ported, and so on."""
        while self.table("accounts")[key]["ported_to"] is not None:
            key = str(self.table("accounts")[key]["ported_to"])
        return key

    def set_of(self, key: str) -> str:
        """The netting set of an account."""
        return str(self.table("accounts")[key]["netting_set"])

    def accounts_of(self, set_id: str) -> list[str]:
        """The accounts of a netting set."""
        return list(self.table("netting_sets")[set_id]["accounts"])

    def living_sets(self) -> Iterator[str]:
        """Netting sets none of whose accounts was closed out, in order."""
        for set_id in sorted(self.table("netting_sets")):
            if all(self.table("accounts")[k]["status"] == "active" for k in self.accounts_of(set_id)):
                yield set_id


def _handed_on(won: Counter[str], old: list[str], new: str) -> Counter[str]:
    handed = won.copy()
    for key in old:
        handed[new] += handed.pop(key, 0)
    return handed


def _quotes(line: Line) -> dict[str, Any]:
    """What a new snapshot says of prices."""
    cycle = line.changes("cycle").get("")
    if cycle is None:
        return {}
    return {
        "prices": {m["feed"]: int(m["price_ticks"]) for m in cycle["marks"]},
        "values": {m["instrument"]: int(m["price_ticks"]) for m in cycle["option_marks"]},
    }


# --------------------------------------------------------------------------------------------------- the chart


def _account(key: str) -> str:
    member, name = key.split("/")
    return f"members/{member}/accounts/{name}"


def cash(key: str) -> str:
    """Path of an account's cash."""
    return f"{_account(key)}/cash"


def collateral(key: str) -> str:
    """Path of an account's collateral."""
    return f"{_account(key)}/collateral"


def position(key: str) -> str:
    """Path of an account's positions."""
    return f"{_account(key)}/position"


def purse(tier: int, payer: str) -> str:
    """From which account a tier's payer pays (0: an answering member)."""
    funds = {3: "house/skin_in_the_game", 4: "house/insurance_fund", 6: "house/second_tranche"}
    if tier in funds:
        return funds[tier]
    if tier in (2, 5):
        return f"members/{payer}/pool"
    return cash(payer) if tier == 8 else cash(f"{payer}/house")


def claim(tier: int, payer: str) -> str:
    """In which account that payer's claim stands."""
    if tier in (3, 4, 6):
        return f"house/claims/{tier}"
    return f"{_account(payer)}/claim" if tier == 8 else f"members/{payer}/claim"


def holder(path: str, what: str) -> str | None:
    """The account to which a path like ``members/m/accounts/a/what`` belongs."""
    parts = path.split("/")
    is_one = len(parts) == 5 and (parts[0], parts[2], parts[4]) == ("members", "accounts", what)
    return f"{parts[1]}/{parts[3]}" if is_one else None


def given_up(line: Line) -> dict[Place, int]:
    """What an award takes of whom: lots with the sign of the position, collateral; (account, unit)."""
    taken: dict[Place, int] = {}
    for (path, unit), amount in line.moved().items():
        key = holder(path, "position") or holder(path, "collateral")
        if key is not None and key != line.references[1]:
            taken[key, unit] = amount
    return taken


def member_of(key: str) -> str:
    """The member of an account."""
    return key.split("/", maxsplit=1)[0]


# -------------------------------------------------------------------------------------------------- arithmetic


def up(amount: int, divisor: int) -> int:
    """Divide and round up."""
    return -(-amount // divisor)


def shares(
    total: int, weights: Mapping[str, int], event: str, caps: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Largest remainder (rulebook §1); what a cap leaves is spread over the others."""
    limit = dict(caps) if caps is not None else dict.fromkeys(weights, total)
    free = {party for party, weight in weights.items() if weight}
    given: dict[str, int] = {}
    left = min(total, sum(limit[party] for party in free))
    while True:
        whole = sum(weights[party] for party in free)
        full = {party for party in free if left * weights[party] > limit[party] * whole}
        if not full:
            break
        given |= {party: limit[party] for party in full}
        left -= sum(limit[party] for party in full)
        free -= full
    order = sorted(
        free, key=lambda p: (-(left * weights[p] % whole), hashlib.sha256(f"{event}{p}".encode()).hexdigest())
    )
    given |= {party: left * weights[party] // whole for party in free}
    for party in order[: left - sum(given[party] for party in free)]:
        given[party] += 1
    return {party: amount for party, amount in given.items() if amount}


@dataclass
class Legs:
    """What an entry should have moved."""

    unit: str
    sums: Counter[Place] = field(default_factory=Counter)

    def pay(self, source: str, target: str, amount: int, unit: str | None = None) -> None:
        """Debit ``source``, credit ``target``."""
        self.sums[source, unit or self.unit] += amount
        self.sums[target, unit or self.unit] -= amount

    def require_moved(self, line: Line) -> None:
        """The line moved just this."""
        expected = Counter({place: amount for place, amount in self.sums.items() if amount})
        differs = {
            place: (line.moved()[place], expected[place])
            for place in sorted(expected.keys() | line.moved().keys())
            if line.moved()[place] != expected[place]
        }
        require(not differs, f"{line.kind} moves what the rulebook says", f"(is, should be) {differs}")
