"""A seeded world: who takes part, and what they try, at good moments and at bad ones."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeAlias

from clearing.model.commands import (
    AdmitMember,
    CloseInOutage,
    Command,
    ContributeToPool,
    Deposit,
    FoundHouse,
    FundHouse,
    HouseMoney,
    LinkAccounts,
    ListAsset,
    ListInstrument,
    MoveCash,
    NewTrade,
    OpenAccount,
    PayDue,
    RecordRecovery,
    RegisterProvider,
    RegisterSource,
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
from clearing.model.values import DAY_MS, HOUR_MS, MINUTE_MS, BreakerState
from tests.builders import (
    BTC_MAR,
    BTC_PERP,
    ETH,
    ETH_PERP,
    ETHER,
    INSTRUMENTS,
    PARAMETERS,
    SETTLEMENT,
    USD,
    USDC,
    public_hex,
    publication,
    source_key,
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
    ticks: dict[str, int] = field(default_factory=lambda: {"BTC": 80_000, "ETH": 2_000})
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

    def go(self, steps: int) -> None:
        """Found the house, then do ``steps`` things by chance."""
        for command in founding(self.dice):
            assert self.send(command).accepted, command
        self.publish()
        likely: dict[Callable[[], None], int] = {
            self.trade: 30,
            self.prices: 16,
            self.calls: 12,
            self.pass_time: 8,
            self.pass_days: 1,
            self.deposit: 6,
            self.withdraw: 10,
            self.settle: 6,
            self.pay: 4,
            self.recover: 5,
            self.link: 2,
            self.move: 3,
            self.fund: 2,
            self.halt: 3,
            self.again: 3,
            self.crash: 2,
        }
        for act in self.dice.choices(list(likely), list(likely.values()), k=steps):
            act()

    # what may happen --------------------------------------------------------------------------------

    def trade(self) -> None:
        """A member's accounts trade about what the buyer can carry, now and then closing or outside the band."""
        member = self.dice.choice(MEMBERS)
        buyer, seller = self.dice.sample(self._keys(member), 2)
        instrument = self.dice.choice([BTC_PERP, BTC_PERP, BTC_MAR, ETH_PERP])
        held = abs(self.auditor.books.positions(buyer).get(instrument, 0))
        stands = measured(self.auditor.books, self.auditor.books.set_of(buyer))
        free = max(0, stands.equity - stands.requirement)
        lots = (
            held if held and self.dice.random() < 0.3 else 1 + free * self.dice.randrange(2, 10) // 13_000_000
        )
        price = self.ticks["ETH" if instrument == ETH_PERP else "BTC"]
        new = NewTrade(
            trade_id=self._name(),
            instrument=InstrumentId(instrument),
            buyer=AccountKey(buyer),
            seller=AccountKey(seller),
            lots=lots,
            price_ticks=price * self.dice.choice([100, 100, 100, 101, 99, 104, 120]) // 100,
            executed_ms=self.house.now_ms,
        )
        twice = self.dice.random() < 0.1
        self.send(SubmitTrades(member=MemberId(member), trades=(new, new) if twice else (new,)))

    def prices(self) -> None:
        """Time passes and prices move, sometimes by a jump; then somebody runs for the door."""
        move = self.dice.choice([0, 1, -1, 3, -4, 9, -11, 30, -30])
        for feed, ticks in self.ticks.items():
            moved = ticks * (1_000 + 10 * move + self.dice.randrange(-10, 11)) // 1_000
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
        self.send(Deposit(account=self._account(), asset=asset, amount_minor=amount))

    def withdraw(self) -> None:
        """Up to all that the account has, and a little more."""
        key, asset = self._account(), self.dice.choice([USDC, USDC, ETH])
        what = "cash" if asset == USDC else "collateral"
        member, name = key.split("/")
        there = max(1, self.auditor.books.credit(f"members/{member}/accounts/{name}/{what}", asset))
        amount = self.dice.randrange(1, there + 2)
        self.send(RequestWithdrawal(withdrawal=self._name(), account=key, asset=asset, amount_minor=amount))

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

    def _keys(self, member: str) -> list[str]:
        return [f"{member}/house", *(f"{member}/{name}" for name in CLIENTS[member])]

    def _account(self) -> AccountKey:
        return AccountKey(self.dice.choice(self._keys(self.dice.choice(MEMBERS))))

    def _name(self) -> str:
        self.names += 1
        return f"n{self.names}"


def founding(dice: Random) -> Iterator[Command]:
    """A house with thin tranches, four members, their clients, one provider, a pool."""
    parameters = replace(
        PARAMETERS,
        pool_floor_minor=dice.choice([0, 20, 200]) * USD,
        fund_event_cap_bp=dice.choice([10_000, 4_000]),
        liquidity_line_minor=dice.choice([0, 500]) * USD,
    )
    yield FoundHouse(house=HOUSE, settlement=SETTLEMENT, parameters=parameters)
    yield ListAsset(asset=replace(ETHER, concentration_minor=3 * 10**18 + 1, concentration_haircut_bp=5_003))
    for instrument in INSTRUMENTS:
        later = None if instrument.expires_ms is None else instrument.expires_ms + 10 * 366 * DAY_MS
        yield ListInstrument(instrument=replace(instrument, expires_ms=later))
    for name in NAMES:
        yield RegisterSource(source=SourceId(name), public_key=public_hex(source_key(SourceId(name))))
    for into, most in zip(HouseMoney, (500, 40, 15, 10), strict=True):
        yield FundHouse(into=into, amount_minor=dice.randrange(1, most) * USD)
    for member in map(MemberId, MEMBERS):
        yield AdmitMember(member=member, name=member.title())
        cash = dice.randrange(1, 600) * USD
        yield Deposit(account=AccountKey(f"{member}/house"), asset=USDC, amount_minor=cash)
        for name in CLIENTS[member]:
            yield OpenAccount(member=member, account=name, participant=ParticipantId(name))
            cash = dice.randrange(200, 3_000) * USD
            yield Deposit(account=AccountKey(f"{member}/{name}"), asset=USDC, amount_minor=cash)
    yield RegisterProvider(account=AccountKey("desk/pro"), capacity_minor=dice.randrange(1, 40_000) * USD)
    yield SizePool()
    for member in map(MemberId, MEMBERS):
        yield ContributeToPool(member=member, amount_minor=dice.randrange(1, 100) * USD)
