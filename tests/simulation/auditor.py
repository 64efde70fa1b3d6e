"""The auditor: it reads the journal line by line, keeps its own books, and says when the rulebook is broken.

It knows the rulebook and what the house publishes, and nothing of how the house decides.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.simulation import (
    black76,
    laws_of_auctions,
    laws_of_default,
    laws_of_members,
    laws_of_money,
    laws_of_porting,
    laws_of_settlement,
    laws_of_trades,
)
from tests.simulation.books import Books, Line, Place, require
from tests.simulation.laws_of_settlement import NAMES, Due
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
    "TRADE_NOVATED": laws_of_trades.novated,
    "HALF_WAITS": laws_of_trades.half_waits,
    "HALF_EXPIRED": laws_of_trades.half_ended,
    "HALF_LAPSED": laws_of_trades.half_ended,
    "ASSET_LISTED": laws_of_members.takes_two,
    "INSTRUMENT_LISTED": laws_of_members.takes_two,
    "SOURCE_REGISTERED": laws_of_members.takes_two,
    "SOURCE_RETIRED": laws_of_members.takes_two,
    "MEMBER_ADMITTED": laws_of_members.takes_two,
    "MEMBER_REINSTATED": laws_of_members.takes_two,
    "MEMBER_GROUPED": laws_of_members.grouped,
    "JURISDICTION_SET": laws_of_members.takes_two,
    "REGULATOR_GRANTED": laws_of_members.takes_two,
    "CHANGE_APPROVED": laws_of_members.approved,
    "PARAMETERS_APPROVED": laws_of_members.approved,
    "PARAMETERS_CHANGED": laws_of_members.parameters_changed,
    "MEMBER_LEFT": laws_of_members.left,
    "MEMBER_RELEASED": laws_of_members.released,
    "PORTING_OPENED": laws_of_porting.opened,
    "PORTING_MOVED": laws_of_porting.moved,
    "PORTED": laws_of_porting.ported,
    "UNLINKING_NOTICED": laws_of_members.noticed,
    "NETTING_SET_UNLINKED": laws_of_members.unlinked,
    "LOSS_WITHOUT_DEFAULT": laws_of_members.lost,
    "LOSS_BORNE_BY_CAPITAL": laws_of_members.borne,
    "LOST_ASSET_REPLACED": laws_of_members.replaced,
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
    "FUTURE_SETTLED": laws_of_settlement.ended,
    "OPTION_SETTLED": laws_of_settlement.ended,
    "AUCTION_OPENED": laws_of_auctions.opened,
    "AUCTION_CLOSED": laws_of_auctions.closed,
    "AUCTION_VOIDED": laws_of_auctions.voided,
    "BID_PLACED": laws_of_auctions.bid_placed,
    "BID_WITHDRAWN": laws_of_auctions.bid_withdrawn,
    "BID_AWARDED": laws_of_auctions.awarded,
    "COLLATERAL_AWARDED": laws_of_auctions.awarded,
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
"""By kind of entry: what it may move. ``CYCLE_CLOSED`` is below; others move nothing."""
MONEY_IS_MOVED_BY = (
    *("HOUSE_FUNDED", "DEPOSITED", "POOL_CONTRIBUTED", "MEMBER_RELEASED", "CASH_MOVED", "PORTED"),
    *("WITHDRAWAL_HELD", "WITHDRAWAL_PAID", "WITHDRAWAL_RELEASED"),
    *("LOSS_WITHOUT_DEFAULT", "LOSS_BORNE_BY_CAPITAL", "LOST_ASSET_REPLACED"),
    *("TRADE_NOVATED", *NAMES, "FEES_SHARED", "LIQUIDATION_CLOSED"),
    *("POSITION_ASSIGNED", "POSITIONS_NETTED", "COLLATERAL_SOLD", "BID_AWARDED", "COLLATERAL_AWARDED"),
    *(
        "POSITIONS_TORN_UP",
        "LOSS_FIXED",
        "ANSWER_PAID",
        "WATERFALL",
        "ASSESSMENT_PAID",
        "ASSESSMENT_DEFAULTED",
    ),
    *("REPLENISHMENT_PAID", "REPLENISHMENT_DEFAULTED", "SKIN_RESTORED"),
    *("RECOVERY_RECEIVED", "RECOVERY_DISTRIBUTED"),
)
ARRIVALS = {
    "Deposit": "DEPOSITED",
    "FundHouse": "HOUSE_FUNDED",
    "ContributeToPool": "POOL_CONTRIBUTED",
    "RecordRecovery": "RECOVERY_RECEIVED",
    "RequestWithdrawal": "WITHDRAWAL_HELD",
    "SendWithdrawal": "WITHDRAWAL_SENT",
    "MoveCash": "CASH_MOVED",
    "LeaveHouse": "MEMBER_LEFT",
    "ReplaceLostAsset": "LOST_ASSET_REPLACED",
    "PlaceBid": "BID_PLACED",
    "WithdrawBid": "BID_WITHDRAWN",
    "AcceptPorting": "PORTED",
}
CREDIT_ONLY = ("/collateral", "/pool", "/claim", "/recoveries")
CREDIT_ONLY_AT = (
    "house/capital",
    "house/skin_in_the_game",
    "house/second_tranche",
    "house/insurance_fund",
    "house/fees",
)
DEBIT_ONLY = ("/assessment", "/loss", "/claims", "/uncovered", "/non_default_losses")


@dataclass
class Auditor:
    """Its books, what each request was answered, what a snapshot has still to settle, how each
    netting set stood when that was done, and whose holds the house gave back in this request.
    """

    books: Books = field(default_factory=Books)
    answers: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    unsettled: dict[Due, Counter[Place]] = field(default_factory=dict)
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
        require(not self.unsettled, "a snapshot settles what is due", *self.unsettled)
        self._takes_effect_once(command, answer, lines)
        laws_of_default.claims_agree(self.books)
        laws_of_members.losses_agree(self.books)
        self._holds_agree()

    def read(self, line: Line) -> None:
        """Audit one line, and fold it."""
        before, after = self.books, self.books.after(line)
        self._balances(line)
        if line.kind in NAMES:
            laws_of_settlement.settled(line, self.unsettled)
        else:
            require(not self.unsettled, "what is due is settled first", line.kind, *self.unsettled)
            if self.standing is None and before.single("cycle") is not None:
                self.standing = {set_id: measured(before, set_id) for set_id in before.living_sets()}
        if line.legs:
            require(line.kind in MONEY_IS_MOVED_BY, "this kind moves nothing", line.kind)
        if line.kind in LAWS:
            LAWS[line.kind](before, line, after)
        laws_of_default.collateral_is_ring_fenced(before, line, after)
        if line.kind == "SNAPSHOT_ACCEPTED":
            self.unsettled, self.standing = laws_of_settlement.due(before, after, line.at_ms), None
        if "" in line.changes("cycle"):
            black76.priced(before, line, after)
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
        key = after.holder(row["account"])
        set_id = after.set_of(key)
        decreed = laws_of_default.is_decreed(self.books, set_id)
        if line.command["type"] != "SettleWithdrawal" and set_id not in self.recalled and not decreed:
            needed = laws_of_money.is_wanted(self.books, key, line.at_ms)
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
            laws_of_trades.stands_or_falls(command, answer["results"])
        else:
            require(not kinds["TRADE_NOVATED"], "only a trade is novated")

    def _holds_agree(self) -> None:
        for name, row in self.books.table("withdrawals").items():
            held = int(row["amount_minor"]) if row["state"] in ("held", "sent") else 0
            there = self.books.credit(f"withdrawals/{name}", row["asset"])
            require(there == held, "what is held is there", name, there, held)
