"""A seeded world: who takes part, and what they try, at good moments and at bad ones."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeAlias

from clearing.model.codec import decode
from clearing.model.commands import (
    CloseInOutage,
    Command,
    ContributeToPool,
    Deposit,
    FundHouse,
    HouseMoney,
    LinkAccounts,
    MoveCash,
    NewTrade,
    PayDue,
    RecordRecovery,
    RequestWithdrawal,
    SendWithdrawal,
    SetBreaker,
    SettleWithdrawal,
    SizePool,
    SubmitTrades,
    Tick,
)
from clearing.model.ids import AccountKey, DefaultId, FeedId, InstrumentId, MemberId, ParticipantId, SourceId
from clearing.model.outcomes import Outcome
from clearing.model.values import DAY_MS, HOUR_MS, MINUTE_MS, BreakerState, Parameters
from tests.builders import (
    BTC_MAR,
    BTC_PERP,
    ETH,
    ETH_PERP,
    USD,
    USDC,
    publication,
)
from tests.simulation.auditor import Auditor
from tests.simulation.books import Line
from tests.simulation.houses import Simulated, answer_of, data_of
from tests.simulation.measure import measured

HOUSE = "simhouse"
MEMBERS = ("perps", "options", "lender", "desk")
CLIENTS = {
    "perps": ("ann", "ben", "cid"),
    "options": ("ann", "dot", "eve"),
    "lender": ("cid", "fay"),
    "desk": ("gus", "pro"),
}
"""``ann`` and ``cid`` have accounts at two members and may link them; ``desk/pro`` is a provider."""
VOLATILITY = FeedId("BTCVOL")
GUEST = "guest"
"""A member without clients, which comes and goes."""
NAMES = ("alpha", "beta", "gamma", "delta")
STEPS = 120
Meddling: TypeAlias = Callable[[Line, Auditor], Sequence[Line]]


@dataclass
class Walk:
    """A world on its way: dice, house, auditor, and a count of what happened."""

    dice: Random
    house: Simulated
    meddle: Meddling | None = None
    auditor: Auditor = field(default_factory=Auditor)
    seen: Counter[str] = field(default_factory=Counter)
    sent: list[tuple[str, Command]] = field(default_factory=list)
    ticks: dict[str, int] = field(default_factory=lambda: {"BTC": 80_000, "ETH": 2_000, VOLATILITY: 6_000})
    steps: int = 0
    sequence: int = 0
    names: int = 0

    def send(self, command: Command, request_id: str | None = None, *, administrator: str = "") -> Outcome:
        """Send a command, or one that was sent before again, and audit what it led to."""
        self.steps += 1
        again = request_id is not None
        name = request_id or (f"{administrator}-{self.steps}" if administrator else f"s{self.steps}")
        outcome, lines = self.house.execute(command, name)
        if self.meddle is not None:
            lines = [changed for line in lines for changed in self.meddle(line, self.auditor)]
        self.auditor.step(name, data_of(command), answer_of(outcome), lines)
        if not again:
            self.sent.append((name, command))
            self._note(outcome)
        return outcome

    def _note(self, outcome: Outcome) -> None:
        self.seen.update(r.reason for r in outcome.results if r.reason)
        for event in outcome.events:
            words = event.subject.split()
            if event.kind == "WATERFALL" and len(words) > 1:
                self.seen[f"tier {words[2]}"] += 1

    # what may happen --------------------------------------------------------------------------------

    def trade(self) -> None:
        """A member's accounts trade about what the buyer can carry, now and then closing or outside the band."""
        member = self.dice.choice(MEMBERS)
        new = self.new_trade(*self.dice.sample(self.keys(member), 2))
        twice = self.dice.random() < 0.1
        self.send(SubmitTrades(member=MemberId(member), trades=(new, new) if twice else (new,)))

    def trade_in_a_group(self) -> None:
        """Two or three trades of one member that stand or fall together, one of them bold, maybe."""
        member = self.dice.choice(MEMBERS)
        links = [
            self.new_trade(*self.dice.sample(self.keys(member), 2)) for _ in range(self.dice.choice([2, 3]))
        ]
        bold = replace(links[-1], lots=links[-1].lots * self.dice.choice([1, 1, 50]))
        grouped = tuple(replace(one, group=f"g{one.trade_id}") for one in (*links[:-1], bold))
        grouped = tuple(replace(one, group=grouped[0].group) for one in grouped)
        self.send(SubmitTrades(member=MemberId(member), trades=grouped))

    def trade_in_halves(self) -> None:
        """Two members say what they agreed on, mostly the same, now and then too late or not at all."""
        one, other = self.dice.sample(MEMBERS, 2)
        buyer, seller = self.dice.choice(self.keys(one)), self.dice.choice(self.keys(other))
        first = replace(self.new_trade(buyer, seller), trade_ref=self.name())
        second = replace(first, trade_id=self.name())
        if self.dice.random() < 0.15:
            second = replace(second, lots=second.lots + 1)
        self.send(SubmitTrades(member=MemberId(one), trades=(first,)))
        if self.dice.random() < 0.1:
            self.wait(self.dice.choice([MINUTE_MS, 2 * HOUR_MS]))
        if self.dice.random() < 0.9:
            self.send(SubmitTrades(member=MemberId(other), trades=(second,)))

    def new_trade(self, buyer: str, seller: str) -> NewTrade:
        """What a buyer might carry, at a price near the mark or not so near."""
        books = self.auditor.books
        linear = [BTC_PERP, BTC_PERP, BTC_MAR, ETH_PERP]
        instrument = self.dice.choice([*linear, *linear, *(sorted(books.values) or linear)])
        held = abs(books.positions(buyer).get(instrument, 0))
        stands = measured(books, books.set_of(buyer))
        free = max(0, min(stands.equity, stands.equity - stands.option_value) - stands.requirement)
        lots = (
            held if held and self.dice.random() < 0.3 else 1 + free * self.dice.randrange(2, 10) // 13_000_000
        )
        price = books.values.get(instrument, self.ticks["ETH" if instrument == ETH_PERP else "BTC"])
        return NewTrade(
            trade_id=self.name(),
            instrument=InstrumentId(instrument),
            buyer=AccountKey(buyer),
            seller=AccountKey(seller),
            lots=lots,
            price_ticks=max(1, price * self.dice.choice([100, 100, 100, 101, 99, 104, 120]) // 100),
            executed_ms=self.house.now_ms,
        )

    def prices(self) -> None:
        """Time passes and prices move, sometimes by a jump; then somebody runs for the door."""
        move = self.dice.choice([0, 1, -1, 3, -4, 9, -11, 30, -30])
        for feed, ticks in self.ticks.items():
            jump = abs(move) if feed == VOLATILITY else move
            moved = ticks * (1_000 + 10 * jump + self.dice.randrange(-10, 11)) // 1_000
            if feed == VOLATILITY:
                moved -= (moved - 6_000) // 4
            self.ticks[feed] = min(10**6, max(100, moved))
        self.wait(self.dice.choice([MINUTE_MS, 20 * MINUTE_MS, HOUR_MS]))
        self.publish()
        self.resume()
        if abs(move) > 4:
            self.withdraw()

    def publish(self) -> None:
        """Three sources or four say nearly the same; one of four may be far off."""
        self.house.now_ms += 1_000
        self.sequence += 1
        wrong = self.dice.choice([0, 1, 2, 3, *[None] * 8])
        sources = self.dice.sample(NAMES, 3 if wrong is None else 4)
        for number, source in enumerate(sources):
            said = {
                FeedId(feed): ticks * 2 if number == wrong else ticks + self.dice.randrange(-1, 2)
                for feed, ticks in self.ticks.items()
            }
            self.send(publication(HOUSE, SourceId(source), self.house.now_ms, self.sequence, said))

    def resume(self) -> None:
        """In an outage sources publish again until work resumes, mostly; a publication too few is a flap."""
        for _ in range(4):
            if self.auditor.books.single("outage") is None or self.dice.random() < 0.1:
                return
            self.house.now_ms += MINUTE_MS // 2 - 1_000
            self.publish()

    def calls(self) -> None:
        """Some pay their calls in time, some in part, some never: the last letter of the set says who."""
        for key, call in list(self.auditor.books.table("calls").items()):
            payer = self.auditor.books.accounts_of(call["netting_set"])[0]
            late = payer[-1] in "nt" and self.dice.random() < 0.7
            if not late:
                part = self.dice.choice([100, 100, 40])
                amount = max(1, int(call["amount_minor"]) * part // 100)
                self.send(Deposit(account=AccountKey(payer), asset=USDC, amount_minor=amount))
                self.seen[f"paid {key.split('/')[0]}"] += 1

    def wait(self, milliseconds: int) -> None:
        self.house.now_ms += milliseconds
        self.send(Tick())

    def pass_time(self) -> None:
        self.wait(self.dice.choice([1, MINUTE_MS, MINUTE_MS, HOUR_MS, DAY_MS]))

    def pass_days(self) -> None:
        """A week, so that what was drawn is due back, or a month."""
        self.wait(self.dice.choice([7, 7, 30]) * DAY_MS)

    def deposit(self) -> None:
        asset, unit = self.dice.choice([(USDC, USD), (USDC, USD), (ETH, 10**16)])
        amount = self.dice.randrange(1, 500) * unit
        self.send(Deposit(account=self.account(), asset=asset, amount_minor=amount))

    def withdraw(self) -> None:
        """Up to all that the account has and a little more, or just what its set can spare, and a little more."""
        key, asset = self.account(), self.dice.choice([USDC, USDC, ETH])
        books, what = self.auditor.books, "cash" if asset == USDC else "collateral"
        member, name = key.split("/")
        there = max(1, books.credit(f"members/{member}/accounts/{name}/{what}", asset))
        amount = self.dice.randrange(1, there + 2)
        if asset == USDC and self.dice.random() < 0.5:
            stands = measured(books, books.set_of(key))
            more = self.dice.choice([0, 1, max(0, stands.option_value) // 2])
            amount = max(1, min(there, stands.equity - stands.requirement + more))
        self.send(RequestWithdrawal(withdrawal=self.name(), account=key, asset=asset, amount_minor=amount))

    def settle(self) -> None:
        """The next step of a withdrawal, mostly; now and then a step out of turn."""
        known = self.auditor.books.table("withdrawals")
        if known:
            name, goes_on = self.dice.choice(sorted(known)), self.dice.random() < 0.7
            if goes_on and known[name]["state"] == "held" and self.dice.random() < 0.9:
                self.send(SendWithdrawal(withdrawal=name))
            else:
                self.send(SettleWithdrawal(withdrawal=name, paid=goes_on))

    def pay(self) -> None:
        self.send(PayDue(member=MemberId(self.dice.choice(MEMBERS))))

    def recover(self) -> None:
        for name in sorted(self.auditor.books.table("defaults"))[-2:]:
            amount = self.dice.choice([1, 7, 10 * USD, 333 * USD + 1, 5_000 * USD])
            self.send(RecordRecovery(default=DefaultId(name), amount_minor=amount))

    def link(self) -> None:
        """Accounts of one participant at two members become one portfolio when both members consent."""
        name = self.dice.choice(["ann", "cid"])
        homes = [member for member in MEMBERS if name in CLIENTS[member]]
        keys = tuple(AccountKey(f"{member}/{name}") for member in homes)
        for member in homes:
            self.send(LinkAccounts(member=MemberId(member), participant=ParticipantId(name), accounts=keys))

    def move(self) -> None:
        """Between the two accounts of one participant, linked or not."""
        name = self.dice.choice(["ann", "cid"])
        source, target = self.dice.sample([m for m in MEMBERS if name in CLIENTS[m]], 2)
        key = AccountKey(f"{source}/{name}")
        amount = self.dice.randrange(1, max(1, self.auditor.books.cash(key)) + 2)
        self.send(
            MoveCash(
                member=MemberId(source),
                source=key,
                target=AccountKey(f"{target}/{name}"),
                amount_minor=amount,
            )
        )

    def fund(self) -> None:
        amount = self.dice.randrange(1, 20) * USD
        member = MemberId(self.dice.choice(MEMBERS))
        choices: tuple[Command, ...] = (
            FundHouse(into=self.dice.choice(list(HouseMoney)), amount_minor=amount),
            ContributeToPool(member=member, amount_minor=amount),
            SizePool(),
        )
        self.send(self.dice.choice(choices))

    def halt(self) -> None:
        """An instrument is halted while prices move, then maybe everything; two administrators open it again, and
        before may let close who was declared in default meanwhile.
        """
        instrument = self.dice.choice([BTC_PERP, BTC_MAR, ETH_PERP])
        self.set_breaker(instrument, BreakerState.HALTED, "anna")
        self.prices()
        if self.dice.random() < 0.6:
            self.set_breaker("*", BreakerState.HALTED, "anna")
            self.set_breaker(instrument, BreakerState.OPEN, "anna", "bert")
            self.wait(self.dice.choice([MINUTE_MS, 20 * MINUTE_MS, HOUR_MS]))
            self.close_in_outage()
            self.trade()
            self.set_breaker("*", BreakerState.OPEN, "anna", "bert")
            self.publish()
            self.resume()
        else:
            self.set_breaker(instrument, BreakerState.OPEN, "anna", "bert")

    def set_breaker(self, scope: str, state: BreakerState, *administrators: str) -> None:
        for administrator in administrators:
            self.send(SetBreaker(scope=scope, state=state, reason="sim"), administrator=administrator)

    def close_in_outage(self) -> None:
        for name, default in sorted(self.auditor.books.table("defaults").items()):
            if default["stage"] == "declared":
                for administrator in self.dice.sample(["anna", "bert", "anna"], 2):
                    command = CloseInOutage(default=DefaultId(name), reason="sim")
                    self.send(command, administrator=administrator)

    def parameters(self) -> Parameters:
        """The parameters in force, as the journal has them."""
        return decode(Parameters, self.auditor.books.single("charter")["parameters"])

    def again(self) -> None:
        """A retry under the same request id, which only a store can answer."""
        if self.house.remembers:
            name, command = self.dice.choice(self.sent)
            self.send(command, name)
            self.seen["asked again"] += 1

    def crash(self) -> None:
        if self.house.crash():
            self.seen["crashed"] += 1
            for name, command in self.sent[-3:]:
                self.send(command, name)

    def keys(self, member: str) -> list[str]:
        """The accounts of a member."""
        return [f"{member}/house", *(f"{member}/{name}" for name in CLIENTS[member])]

    def account(self) -> AccountKey:
        """Any account."""
        return AccountKey(self.dice.choice(self.keys(self.dice.choice(MEMBERS))))

    def name(self) -> str:
        """One that was not used yet."""
        self.names += 1
        return f"n{self.names}"
