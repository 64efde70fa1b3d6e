"""The auditor: it reads the journal line by line, keeps its own books, and says when the rulebook is broken.

It knows the rulebook and what the house publishes, and nothing of how the house decides.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.simulation import laws_of_default, laws_of_money
from tests.simulation.books import Books, Line, Place, require
from tests.simulation.measure import Measure, measured

Law = Callable[[Books, Line, Books], None]

LAWS: Mapping[str, Law] = {
    "HOUSE_FUNDED": laws_of_money.paid_in,
    "DEPOSITED": laws_of_money.paid_in,
    "POOL_CONTRIBUTED": laws_of_money.paid_in,
    "RECOVERY_RECEIVED": laws_of_money.paid_in,
    "WITHDRAWAL_HELD": laws_of_money.held,
    "WITHDRAWAL_SENT": laws_of_money.sent,
    "WITHDRAWAL_PAID": laws_of_money.settled,
    "WITHDRAWAL_RELEASED": laws_of_money.settled,
    "CASH_MOVED": laws_of_money.cash_moved,
    "TRADE_NOVATED": laws_of_money.novated,
    "SNAPSHOT_ACCEPTED": laws_of_money.accepted,
    "FEES_SHARED": laws_of_money.shared,
    "CALL_ISSUED": laws_of_money.called,
    "CALL_CHANGED": laws_of_money.called,
    "CALL_MET": laws_of_money.met,
    "CALL_EXPIRED": laws_of_money.expired,
    "CALL_MOVED": laws_of_money.call_moved,
    "OUTAGE_BEGAN": laws_of_money.outage_began,
    "OUTAGE_WATCHED": laws_of_money.watched,
    "OUTAGE_ENDED": laws_of_money.outage_ended,
    "LIQUIDATION_OPENED": laws_of_money.opened,
    "LIQUIDATION_STEPPED": laws_of_money.stepped,
    "LIQUIDATION_CLOSED": laws_of_money.closed,
    "POSITION_ASSIGNED": laws_of_money.assigned,
    "POSITIONS_NETTED": laws_of_money.netted,
    "COLLATERAL_SOLD": laws_of_money.sold,
    "DEFAULT_DECLARED": laws_of_default.declared,
    "POSITIONS_TORN_UP": laws_of_default.torn_up,
    "CLOSED_OUT": laws_of_default.closed_out,
    "LOSS_FIXED": laws_of_default.loss_fixed,
    "ANSWER_PAID": laws_of_default.answered,
    "MEMBER_DEFAULTED": laws_of_default.member_failed,
    "WATERFALL": laws_of_default.waterfall,
    "ASSESSMENT_PAID": laws_of_default.assessment_paid,
    "ASSESSMENT_DEFAULTED": laws_of_default.assessment_failed,
    "REPLENISHMENT_PAID": laws_of_default.replenishment_paid,
    "REPLENISHMENT_DEFAULTED": laws_of_default.replenishment_failed,
    "SKIN_RESTORED": laws_of_default.skin_restored,
    "RECOVERY_DISTRIBUTED": laws_of_default.distributed,
}
"""By kind of entry: what it may move. ``VARIATION_MARGIN`` and ``CYCLE_CLOSED`` are below; others move nothing."""
MONEY_IS_MOVED_BY = frozenset(LAWS) - {
    *("SNAPSHOT_ACCEPTED", "CALL_ISSUED", "CALL_CHANGED", "CALL_MET", "CALL_EXPIRED", "CALL_MOVED"),
    *("OUTAGE_BEGAN", "OUTAGE_WATCHED", "OUTAGE_ENDED", "WITHDRAWAL_SENT"),
    *("LIQUIDATION_OPENED", "LIQUIDATION_STEPPED", "DEFAULT_DECLARED", "CLOSED_OUT", "MEMBER_DEFAULTED"),
}
ARRIVALS = {
    "Deposit": "DEPOSITED",
    "FundHouse": "HOUSE_FUNDED",
    "ContributeToPool": "POOL_CONTRIBUTED",
    "RecordRecovery": "RECOVERY_RECEIVED",
    "RequestWithdrawal": "WITHDRAWAL_HELD",
    "SendWithdrawal": "WITHDRAWAL_SENT",
    "MoveCash": "CASH_MOVED",
}
CREDIT_ONLY = ("/collateral", "/pool", "/claim", "/recoveries")
CREDIT_ONLY_AT = ("house/skin_in_the_game", "house/second_tranche", "house/insurance_fund", "house/fees")
DEBIT_ONLY = ("/assessment", "/loss", "/claims", "/uncovered")


@dataclass
class Auditor:
    """Its books, what each request was answered, the variation margin that is still to be settled, how each
    netting set stood when that was done, and whose holds the house gave back in this request.
    """

    books: Books = field(default_factory=Books)
    answers: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    unsettled: dict[str, Counter[Place]] = field(default_factory=dict)
    standing: dict[str, Measure] | None = None
    recalled: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)

    def step(
        self, request_id: str, command: Mapping[str, Any], answer: Mapping[str, Any], lines: Sequence[Line]
    ) -> None:
        """Audit what a request led to."""
        if request_id in self.answers:
            require(self.answers[request_id] == (command, answer), "the same answer for ever", request_id)
            require(not lines, "a request takes effect once", request_id)
            return
        self.answers[request_id] = (command, answer)
        self.recalled = set()
        for line in lines:
            self.read(line)
        require(not self.unsettled, "variation margin is settled with its snapshot", *self.unsettled)
        self._takes_effect_once(command, answer, lines)
        laws_of_default.claims_agree(self.books)
        self._holds_agree()

    def read(self, line: Line) -> None:
        """Audit one line, and fold it."""
        before, after = self.books, self.books.after(line)
        self._balances(line)
        if line.kind == "VARIATION_MARGIN":
            self._settle(line)
        else:
            require(not self.unsettled, "variation margin comes first", line.kind, *self.unsettled)
            if self.standing is None and before.single("cycle") is not None:
                self.standing = {set_id: measured(before, set_id) for set_id in before.living_sets()}
        if line.legs and line.kind != "VARIATION_MARGIN":
            require(line.kind in MONEY_IS_MOVED_BY, "this kind moves nothing", line.kind)
        if line.kind in LAWS:
            LAWS[line.kind](before, line, after)
        laws_of_default.collateral_is_ring_fenced(before, line, after)
        if line.kind == "SNAPSHOT_ACCEPTED":
            self.unsettled, self.standing = laws_of_money.variation(before, after), None
        if line.kind == "WITHDRAWAL_RELEASED":
            self._given_back(line, after)
        if line.kind == "CYCLE_CLOSED":
            laws_of_money.cycle_closed(before, after, self.standing or {})
        self._limits(line, after)
        self.books = after
        self.seen[line.kind] += 1

    def _given_back(self, line: Line, after: Books) -> None:
        """All holds of a set that needs them go back together, and count before the set is judged."""
        (row,) = line.changes("withdrawals").values()
        set_id = after.set_of(row["account"])
        if line.command["type"] != "SettleWithdrawal" and set_id not in self.recalled:
            needed = laws_of_money.is_wanted(self.books, row["account"], line.at_ms)
            require(needed, "a hold is given back if needed", row["id"])
            self.recalled.add(set_id)
        if self.standing is not None and set_id in self.standing:
            self.standing[set_id] = measured(after, set_id)

    def _balances(self, line: Line) -> None:
        """Every entry balances in every unit."""
        sums: Counter[str] = Counter()
        for _, unit, amount in line.legs:
            require(amount != 0, "no leg is zero", line.kind)
            sums[unit] += amount
        require(not any(sums.values()), "an entry balances in every unit", line.kind, dict(sums))

    def _settle(self, line: Line) -> None:
        """One entry an instrument: lots × Δticks × tick value for each account, once."""
        (instrument,) = line.references
        due = self.unsettled.pop(instrument, None)
        require(due is not None, "variation margin is settled once a cycle", instrument)
        moved = line.moved()
        require(moved == due, "variation margin is lots × Δticks × tick value", instrument, moved, due)

    def _limits(self, line: Line, after: Books) -> None:
        """Positions sum to zero, the house is flat, and no balance is on its wrong side."""
        for path, unit in {(path, unit) for path, unit, _ in line.legs}:
            balance = after.balances[path, unit]
            if path == "novation":
                require(balance == 0, "the house is flat", unit, balance)
            if path.endswith(CREDIT_ONLY) or path in CREDIT_ONLY_AT or path.startswith("withdrawals/"):
                require(balance <= 0, "this account is never overdrawn", path, balance)
            if path == "custody" or path.endswith(DEBIT_ONLY):
                require(balance >= 0, "this account is never in credit", path, balance)
            if path.endswith("/position"):
                total = sum(after.positions(key).get(unit, 0) for key in after.table("accounts"))
                require(total == 0, "positions sum to zero", unit, total)

    def _takes_effect_once(
        self, command: Mapping[str, Any], answer: Mapping[str, Any], lines: Sequence[Line]
    ) -> None:
        """What was accepted happened once, what was refused did not happen."""
        accepted = [r["key"] for r in answer["results"] if r["status"] == "accepted" and not r["reason"]]
        kinds = Counter(line.kind for line in lines)
        wanted = ARRIVALS.get(command["type"])
        for kind in ARRIVALS.values():
            times = len(accepted) if kind == wanted else 0
            require(kinds[kind] == times, "what is acknowledged happens once", kind, kinds[kind], times)
        if command["type"] == "SubmitTrades":
            done = [line.references[0].split("/", 1)[1] for line in lines if line.kind == "TRADE_NOVATED"]
            require(done == accepted, "each accepted trade is novated once", done, accepted)
            require(len(answer["results"]) == len(command["trades"]), "each trade has its result")
        else:
            require(not kinds["TRADE_NOVATED"], "only a trade is novated")

    def _holds_agree(self) -> None:
        for name, row in self.books.table("withdrawals").items():
            held = int(row["amount_minor"]) if row["state"] in ("held", "sent") else 0
            there = self.books.credit(f"withdrawals/{name}", row["asset"])
            require(there == held, "what is held is there", name, there, held)
