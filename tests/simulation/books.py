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
SINGLE = ("charter", "cycle", "capped_period", "attestation")
LOSS_MAKING = ("VARIATION_MARGIN", "TRADE_NOVATED", "POSITION_ASSIGNED")

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
    """One entry of the journal, and the command that led to it."""

    kind: str
    at_ms: int
    legs: tuple[tuple[str, str, int], ...] = ()
    references: tuple[str, ...] = ()
    fact: Any = None
    command: Mapping[str, Any] = field(default_factory=dict)

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
class Books:
    """Balances (debit positive), rows, the profit and loss of each account, the notional that was assigned of each
    netting set since its liquidation began, when an outage moved each call, and when the last outage ended, after
    some line.
    """

    balances: Counter[Place] = field(default_factory=Counter)
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    window: Counter[str] = field(default_factory=Counter)
    placed: Counter[str] = field(default_factory=Counter)
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
        lost, window = self._profit(line, rows)
        moved_ms, resumed_ms = self.moved_ms, self.resumed_ms
        if line.kind == "CALL_MOVED":
            moved_ms = moved_ms | Counter(dict.fromkeys(line.changes("calls"), line.at_ms))
        elif line.kind == "OUTAGE_ENDED":
            resumed_ms = line.at_ms
        return replace(
            self,
            balances=balances,
            rows=rows,
            lost=lost,
            window=window,
            placed=self._placed(line),
            moved_ms=moved_ms,
            resumed_ms=resumed_ms,
        )

    def _placed(self, line: Line) -> Counter[str]:
        """Notional of what providers took, at the mark (rulebook §10.2)."""
        if line.kind not in ("LIQUIDATION_OPENED", "POSITION_ASSIGNED"):
            return self.placed
        placed = self.placed.copy()
        for set_id in line.changes("liquidations"):
            placed[set_id] = 0
        for (path, instrument), lots in line.moved().items():
            if line.references and path == position(line.references[0]):
                row = self.table("instruments")[instrument]
                notional = abs(lots) * self.marks()[row["feed"]] * int(row["tick_value_minor"])
                placed[self.set_of(line.references[0])] += notional
        return placed

    def _profit(self, line: Line, rows: Mapping[str, Any]) -> tuple[Counter[str], Counter[str]]:
        """Losses since a set last met R, and gains of the window (rulebook §10.5, §11.8)."""
        lost, window = self.lost, self.window
        if line.kind in LOSS_MAKING:
            lost, window = lost.copy(), window.copy()
            for path, _, amount in line.legs:
                key = holder(path, "cash")
                if key is not None:
                    lost[key] += amount
                    window[key] -= amount if line.kind == "VARIATION_MARGIN" else 0
        elif line.kind == "SNAPSHOT_ACCEPTED" and not any(
            d["stage"] == "declared" for d in self.table("defaults").values()
        ):
            window = Counter()
        elif line.kind == "CYCLE_CLOSED":
            carried = {k for s in rows["cycle"][""]["short"] for k in rows["netting_sets"][s]["accounts"]}
            lost = Counter({key: amount for key, amount in lost.items() if key in carried})
        return lost, window

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

    def marks(self) -> dict[str, int]:
        """The marks of the newest snapshot, by feed."""
        cycle = self.single("cycle")
        return {} if cycle is None else {m["feed"]: int(m["price_ticks"]) for m in cycle["marks"]}

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
