"""Sends the demonstration's commands in scenario order and steps the house clock.

What it sends depends on the seed and on answers only, never on the state, and each command has a
request id of its own. So a run that was cut off can be started again on the same database: the
commands that were recorded get their first answers, and the run goes on where it stopped.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing.attest.envelope import ed25519_signer
from clearing.attest.signer import SigningKeys
from clearing.demo.books import (
    AURORA,
    BOREALIS,
    BTC_PERP,
    HOUSE_CASH,
    INSTRUMENTS,
    MEMBERS,
    TICK_VALUES,
    USDC,
    Books,
    Order,
    Participant,
)
from clearing.demo.market import BTC, ETH, SCAN_RANGES, Bar
from clearing.engine import Engine
from clearing.market.prices import signed_bytes
from clearing.model.commands import (
    AdmitMember,
    ApplyPrices,
    Command,
    ContributeToPool,
    Deposit,
    FoundHouse,
    FundHouse,
    HouseMoney,
    LinkAccounts,
    ListAsset,
    ListInstrument,
    NewTrade,
    OpenAccount,
    PayDue,
    PriceObservation,
    RegisterProvider,
    RegisterSource,
    RequestWithdrawal,
    SizePool,
    SubmitTrades,
    Tick,
)
from clearing.model.ids import (
    AccountKey,
    AssetId,
    InstrumentId,
    MemberId,
    SourceId,
    account_key,
    linked_set,
    member_of,
    single_set,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Event, Outcome
from clearing.model.values import BP, HOUR_MS, MINUTE_MS, Asset, Offset, Parameters
from clearing.publish import Publisher
from ledger.amount import divide_up
from ledger.require import require

SETTLEMENT = Asset(id=AssetId("USDC"), decimals=6)
ETHER = Asset(id=AssetId("ETH"), decimals=18, feed=ETH, tick_value_minor=100_000, haircut_bp=2_000)
PARAMETERS = Parameters(
    scan_ranges=SCAN_RANGES,
    offsets=(Offset(first=BTC, second=ETH, rate_bp=5_000),),
    auction_ms=0,
    close_out_auction_ms=0,
)
SOURCES = tuple(SourceId(name) for name in ("alpha", "beta", "gamma"))

HOUSE_MONEY = {
    HouseMoney.CAPITAL: 4_000_000,
    HouseMoney.SKIN_IN_THE_GAME: 1_000_000,
    HouseMoney.SECOND_TRANCHE: 400_000,
}
"""Whole USDC. The first tranche is a quarter of the capital (RTS 153/2013 art. 35), the second a tenth."""
PROVIDER_CAPACITY = 25_000_000 * USDC
FUND_LABEL = "13T01"
"""After this close, at the low, the momentum funds sell."""
FUND_LEVERAGE_ON_POOL = 70
"""The funds together sell this many times the required pool: a book that the pool was not sized for."""
FUND_SHARES_BP = (
    (account_key(AURORA, "fund-1"), 3_400),
    (account_key(BOREALIS, "fund-1"), 800),
    (account_key(AURORA, "fund-2"), 3_400),
    (account_key(AURORA, "fund-3"), 2_400),
)


@dataclass(slots=True)
class ScenarioClock:
    """House time in the hand of the driver."""

    now_ms: int = 0

    def __call__(self) -> int:
        """UTC milliseconds."""
        return self.now_ms


def demo_key(seed: int, purpose: str) -> Ed25519PrivateKey:
    """A key that anyone can make again: fit for a demonstration and for nothing else."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"demo {seed} {purpose}".encode()).digest())


def demo_signing_keys(seed: int) -> SigningKeys:
    """The log key and the three officers; two of them sign."""
    officers = tuple(ed25519_signer(demo_key(seed, role)) for role in ("risk", "operations"))
    return SigningKeys(
        origin=f"demo-{seed}.clearing.example/log", log_key=demo_key(seed, "log"), officers=officers
    )


@dataclass(slots=True)
class Tally:
    """What happened, hour by hour and in all, read off the answers."""

    calls: int = 0
    liquidations: int = 0
    requests: int = 0
    refused: list[str] = field(default_factory=list)
    contributions: dict[MemberId, int] = field(default_factory=dict)
    by_hour: dict[str, list[Event]] = field(default_factory=dict)


@dataclass(slots=True)
class Driver:
    """One run of the scenario."""

    engine: Engine
    publisher: Publisher
    clock: ScenarioClock
    seed: int
    books: Books
    tally: Tally = field(default_factory=Tally)
    hour: str = ""
    next_due_ms: int | None = None
    calls: dict[str, int] = field(default_factory=dict)

    def run(self, hours: tuple[Bar, ...], progress: Callable[[str], None]) -> None:
        """The whole scenario: opening, 28 cycles, and what they lead to; ``progress`` hears of each."""
        self.clock.now_ms = hours[0].known_ms - HOUR_MS
        progress("founding")
        self._found()
        for bar in hours:
            self._cycle(bar)
            if bar is hours[0]:
                self._open_books(bar)
            if bar.label == FUND_LABEL:
                self._sell_the_low(bar)
            self._meet_calls()
            self._pay_what_is_owed()
            self._let_time_pass(bar.known_ms + HOUR_MS - 1)
            progress(bar.label)

    # sending ----------------------------------------------------------------------------------

    def _send(self, name: str, command: Command, actor: str = "administrator/demo") -> Outcome:
        outcome = self.engine.execute(command, request_id=f"demo-{self.seed}/{name}", actor=actor)
        self.tally.requests += 1
        self.next_due_ms = outcome.next_due_ms
        for event in outcome.events:
            self._note(event)
        return outcome

    def _must(self, name: str, command: Command, actor: str = "administrator/demo") -> Outcome:
        outcome = self._send(name, command, actor)
        require(
            outcome.accepted, f"{name} is accepted: {[r.reason + ' ' + r.detail for r in outcome.results]}"
        )
        return outcome

    def _note(self, event: Event) -> None:
        self.tally.by_hour.setdefault(self.hour, []).append(event)
        if event.kind == Kind.CALL_ISSUED.name:
            self.tally.calls += 1
        elif event.kind == Kind.LIQUIDATION_OPENED.name:
            self.tally.liquidations += 1
        if event.kind in (Kind.CALL_ISSUED.name, Kind.CALL_CHANGED.name):
            self.calls[event.subject] = event.amount_minor
        elif event.kind in (Kind.CALL_MET.name, Kind.CALL_EXPIRED.name):
            self.calls.pop(event.subject, None)

    # the opening ------------------------------------------------------------------------------

    def _found(self) -> None:
        self._must(
            "found", FoundHouse(house=f"demo-{self.seed}", settlement=SETTLEMENT, parameters=PARAMETERS)
        )
        self._must("list/ETH", ListAsset(asset=ETHER))
        for instrument in INSTRUMENTS:
            self._must(f"list/{instrument.id}", ListInstrument(instrument=instrument))
        for source in SOURCES:
            key = demo_key(self.seed, source).public_key().public_bytes_raw().hex()
            self._must(f"source/{source}", RegisterSource(source=source, public_key=key))
        for money, amount in HOUSE_MONEY.items():
            self._must(f"fund/{money.value}", FundHouse(into=money, amount_minor=amount * USDC))
        for member, name in MEMBERS.items():
            self._must(f"member/{member}", AdmitMember(member=member, name=name))
        for key, amount in HOUSE_CASH.items():
            self._deposit(f"house-cash/{key}", key, SETTLEMENT, amount)
        for participant in self.books.participants:
            self._welcome(participant)
        for provider in self.books.named("provider"):
            command = RegisterProvider(account=provider.accounts[0], capacity_minor=PROVIDER_CAPACITY)
            self._must(f"provider/{provider.id}", command)

    def _welcome(self, participant: Participant) -> None:
        for key in participant.accounts:
            member, name = member_of(key), key.split("/")[1]
            self._must(f"open/{key}", OpenAccount(member=member, account=name, participant=participant.id))
            self._deposit(f"cash/{key}", key, SETTLEMENT, participant.cash_minor)
        if participant.linked:
            for member in sorted({member_of(key) for key in participant.accounts}):
                link = LinkAccounts(member=member, participant=participant.id, accounts=participant.accounts)
                self._must(f"link/{participant.id}/{member}", link, f"member/{member}")

    def _deposit(self, name: str, key: AccountKey, asset: Asset, amount_minor: int) -> None:
        if amount_minor:
            self._must(name, Deposit(account=key, asset=asset.id, amount_minor=amount_minor))

    def _open_books(self, bar: Bar) -> None:
        """Ether is deposited at the first mark, then every order is traded at it, and the pool is sized."""
        for participant in self.books.participants:
            wei = (
                participant.ether_value_minor * 10**ETHER.decimals // (bar.eth_ticks * ETHER.tick_value_minor)
            )
            for key in participant.accounts:
                self._deposit(f"ether/{key}", key, ETHER, wei)
        for number, order in enumerate(o for p in self.books.participants for o in p.orders):
            self._trade(f"open-{number}", order, bar)
        sized = self._must("size-pool", SizePool())
        for event in sized.events:
            member = MemberId(event.subject)
            self.tally.contributions[member] = event.amount_minor
            command = ContributeToPool(member=member, amount_minor=event.amount_minor)
            self._must(f"pool/{member}", command, f"member/{member}")

    def _trade(self, name: str, order: Order, bar: Bar) -> None:
        member, ticks = member_of(order.account), _price(order.instrument, bar)
        lots = lots_of(order.instrument, order.notional_minor, ticks)
        maker = account_key(member, f"maker-{1 + len(name) % 2}")
        buyer, seller = (order.account, maker) if order.notional_minor > 0 else (maker, order.account)
        trade = NewTrade(
            trade_id=name,
            instrument=order.instrument,
            buyer=buyer,
            seller=seller,
            lots=lots,
            price_ticks=ticks,
            executed_ms=self.clock.now_ms,
        )
        self._must(f"trade/{name}", SubmitTrades(member=member, trades=(trade,)), f"member/{member}")

    # the hours --------------------------------------------------------------------------------

    def _cycle(self, bar: Bar) -> None:
        """Three sources publish what they saw, one tick apart; the third completes the snapshot."""
        self.hour = bar.label
        self.clock.now_ms = bar.known_ms
        for number, source in enumerate(SOURCES):
            skew = number - 1
            command = self._publication(source, bar, skew)
            outcome = self._must(f"prices/{bar.label}/{source}", command, f"price-source/{source}")
            closed = [e.subject for e in outcome.events if e.kind == Kind.CYCLE_CLOSED.name]
            if closed and int(closed[0]) == self.engine.view.state.newest_cycle.number:
                self.publisher.publish_if_due()

    def _publication(self, source: SourceId, bar: Bar, skew_ticks: int) -> ApplyPrices:
        prices = (
            PriceObservation(feed=BTC, price_ticks=bar.btc_ticks + skew_ticks),
            PriceObservation(feed=ETH, price_ticks=bar.eth_ticks + skew_ticks),
        )
        sequence = bar.known_ms // HOUR_MS
        signed = signed_bytes(f"demo-{self.seed}", source, bar.known_ms, sequence, prices)
        return ApplyPrices(
            source=source,
            observed_ms=bar.known_ms,
            sequence=sequence,
            prices=prices,
            signature=demo_key(self.seed, source).sign(signed).hex(),
        )

    def _sell_the_low(self, bar: Bar) -> None:
        """The funds deposit just what their requirement and fees take, and sell."""
        self.clock.now_ms += 5 * MINUTE_MS
        whole = FUND_LEVERAGE_ON_POOL * sum(self.tally.contributions.values())
        for number, (key, share_bp) in enumerate(FUND_SHARES_BP):
            notional = whole * share_bp // BP
            self._deposit(f"fund-cash/{key}", key, SETTLEMENT, self._needed(notional))
            order = Order(account=key, instrument=BTC_PERP, notional_minor=-notional)
            self._trade("low" + "-" * (number % 2) + str(number), order, bar)

    @staticmethod
    def _needed(notional_minor: int) -> int:
        """Requirement and fee of a BTC position of this size, and a thousandth of it to spare."""
        move_bp = next(r.move_bp for r in SCAN_RANGES if r.underlying == BTC)
        requirement = divide_up(notional_minor * move_bp * PARAMETERS.requirement_bp, BP * BP)
        return requirement + divide_up(notional_minor * PARAMETERS.trade_fee_bp, BP) + notional_minor // 1_000

    def _meet_calls(self) -> None:
        """Twenty minutes on, those who pay have paid what they were called for and a twentieth more."""
        self.clock.now_ms += 20 * MINUTE_MS
        payers = {
            linked_set(p.id) if p.linked else single_set(p.accounts[0]): p.accounts[0]
            for p in self.books.participants
            if p.pays_calls
        }
        for call, amount in sorted(self.calls.items()):
            key = payers.get(single_set(AccountKey(call.split("/", 1)[1])))
            if key is not None and call in self.calls:
                self._deposit(f"call/{self.hour}/{call}", key, SETTLEMENT, amount * 21 // 20)

    def _pay_what_is_owed(self) -> None:
        """Members that were called to answer or assessed pay; a client asks for its gains meanwhile."""
        events = self.tally.by_hour.get(self.hour, [])
        owing = {event.subject.split(" ")[-1] for event in events if event.kind == Kind.ANSWER_CALLED.name}
        owing |= {
            e.subject.split(" ")[-1]
            for e in events
            if e.kind == Kind.WATERFALL.name and " tier 7 " in e.subject
        }
        for member in sorted(owing):
            self._send(f"pay/{self.hour}/{member}", PayDue(member=MemberId(member)), f"member/{member}")
        if any(event.kind == Kind.DEFAULT_DECLARED.name for event in events) and not self.tally.refused:
            self._ask_for_gains()

    def _ask_for_gains(self) -> None:
        key = account_key(MemberId("meridian"), "maker-1")
        command = RequestWithdrawal(
            withdrawal=f"w-{self.hour.lower()}",
            account=key,
            asset=SETTLEMENT.id,
            amount_minor=1_000_000 * USDC,
        )
        outcome = self._send(f"withdraw/{self.hour}", command, "member/meridian")
        self.tally.refused += [f"{key}: {r.reason} ({r.detail})" for r in outcome.results if r.reason]

    def _let_time_pass(self, until_ms: int) -> None:
        """Step the clock to each time at which the house owes something, up to ``until_ms``."""
        due_ms = self.next_due_ms
        while due_ms is not None and due_ms <= until_ms:
            self.clock.now_ms = max(due_ms, self.clock.now_ms)
            outcome = self._must(f"tick/{due_ms}/{self.tally.requests}", Tick(), "clock")
            due_ms = outcome.next_due_ms
            if due_ms is not None and due_ms <= self.clock.now_ms:
                return  # it waits for something else than the clock: a fresh mark


def _price(instrument: InstrumentId, bar: Bar) -> int:
    return bar.btc_ticks if instrument.startswith("BTC") else bar.eth_ticks


def lots_of(instrument: InstrumentId, notional_minor: int, price_ticks: int) -> int:
    """Whole lots of a notional at a price, rounded down; at least one."""
    return max(1, abs(notional_minor) // (price_ticks * TICK_VALUES[instrument]))
