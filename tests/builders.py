"""Small houses for tests, and the laws that are checked after every entry of every command.

``House`` here is called a ``World``: it decides commands with the pure deciders, keeps the clock in
its hand, and after each entry checks what must always hold: replaying the recorded bytes gives the
same state, every unit balances, positions sum to zero, the house is flat.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing import chart
from clearing.decide.changes import direct_refusal
from clearing.decide.table import Request, decide
from clearing.margin.assess import Assessment, assess
from clearing.market.breakers import everything_halted
from clearing.market.prices import signed_bytes
from clearing.model.codec import from_text, to_text
from clearing.model.commands import (
    AdmitMember,
    ApplyPrices,
    ApproveProposal,
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
    PriceObservation,
    ProposeChange,
    RegisterProvider,
    RegisterSource,
    SendWithdrawal,
    SettleWithdrawal,
    SizePool,
    SubmitTrades,
    Tick,
)
from clearing.model.house import ROW_TYPES, House, fold, rows_of
from clearing.model.ids import (
    AccountKey,
    AssetId,
    FeedId,
    InstrumentId,
    MemberId,
    ParticipantId,
    SetId,
    SourceId,
    account_key,
)
from clearing.model.outcomes import Outcome
from clearing.model.values import Asset, Instrument, InstrumentKind, Offset, Parameters, ScanRange
from ledger.entry import Entry
from ledger.leaf import decode_body, encode_body
from ledger.transfers import entries_of

USDC = AssetId("USDC")
ETH = AssetId("ETH")
BTC_PERP = InstrumentId("BTC-PERP")
BTC_MAR = InstrumentId("BTC-MAR20")
ETH_PERP = InstrumentId("ETH-PERP")
BTC = FeedId("BTC")
ETH_FEED = FeedId("ETH")
SOURCES = (SourceId("alpha"), SourceId("beta"), SourceId("gamma"))
ANNA, BERT = "administrator/anna", "administrator/bert"
START_MS = 1_584_000_000_000
USD = 1_000_000
"""Smallest units in one USDC."""

PARAMETERS = Parameters(
    margin_model="scan",
    scan_ranges=(ScanRange(underlying=BTC, move_bp=1_300), ScanRange(underlying=ETH_FEED, move_bp=1_550)),
    offsets=(Offset(first=BTC, second=ETH_FEED, rate_bp=5_000),),
    auction_ms=0,
    close_out_auction_ms=0,
)
SETTLEMENT = Asset(id=USDC, decimals=6)
ETHER = Asset(id=ETH, decimals=18, feed=ETH_FEED, tick_value_minor=100_000, haircut_bp=2_000)


def perpetual(name: InstrumentId, feed: FeedId, tick_value_minor: int, lot_decimals: int) -> Instrument:
    """A perpetual with a tenth of a dollar as tick."""
    return Instrument(
        id=name,
        kind=InstrumentKind.PERPETUAL,
        underlying=feed,
        feed=feed,
        tick_value_minor=tick_value_minor,
        price_decimals=1,
        lot_decimals=lot_decimals,
    )


INSTRUMENTS = (
    perpetual(BTC_PERP, BTC, 100, 3),
    perpetual(ETH_PERP, ETH_FEED, 1_000, 2),
    Instrument(
        id=BTC_MAR,
        kind=InstrumentKind.FUTURE,
        underlying=BTC,
        feed=BTC,
        tick_value_minor=100,
        price_decimals=1,
        lot_decimals=3,
        expires_ms=START_MS + 15 * 24 * 3_600_000,
    ),
)


def source_key(source: SourceId) -> Ed25519PrivateKey:
    """A test key that depends on the source's name only."""
    return Ed25519PrivateKey.from_private_bytes(source.encode().ljust(32, b"."))


def public_hex(key: Ed25519PrivateKey) -> str:
    """The public key in hex."""
    return key.public_key().public_bytes_raw().hex()


def proposing_change(command: Command, proposal: str) -> ProposeChange:
    """The proposal of a command that takes two administrators."""
    return ProposeChange(
        proposal=proposal, command=type(command).__name__, body=to_text(command), reason="a reason"
    )


def publication(
    house: str, source: SourceId, at_ms: int, sequence: int, prices: dict[FeedId, int]
) -> ApplyPrices:
    """A signed publication."""
    observations = tuple(PriceObservation(feed=f, price_ticks=p) for f, p in sorted(prices.items()))
    signed = signed_bytes(house, source, at_ms, sequence, observations)
    return ApplyPrices(
        source=source,
        observed_ms=at_ms,
        sequence=sequence,
        prices=observations,
        signature=source_key(source).sign(signed).hex(),
    )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a world was asked, when, what it answered, and the state that this left."""

    now_ms: int
    request: Request
    outcome: Outcome
    state: House


@dataclass
class World:
    """A house under the deciders alone, with its journal and a clock that the test moves."""

    state: House = field(default_factory=House)
    now_ms: int = START_MS
    entries: list[Entry] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    requests: int = 0
    sequence: int = 0

    def do(self, command: Command, actor: str = "test") -> Outcome:
        """Decide one command and check the laws; two administrators do what takes two (rulebook §2)."""
        if direct_refusal(self.state, command) is None:
            return self.send(command, actor)
        name = f"c{self.requests}"
        outcome = self.send(proposing_change(command, name), ANNA)
        return self.send(ApproveProposal(proposal=name), BERT) if outcome.accepted else outcome

    def send(self, command: Command, actor: str = "test") -> Outcome:
        """Decide one command, as it is, and check the laws."""
        self.requests += 1
        request = Request(request_id=f"r{self.requests}", actor=actor, command=command)
        decision = decide(self.state, request, self.now_ms)
        replayed = self.state
        entries = [one for record in decision.entries for one in entries_of(record, self.state.book.known)]
        for entry in entries:
            replayed = fold(replayed, as_recorded(entry))
            check_laws(replayed)
        assert_same(replayed, decision.state)
        self.state = decision.state
        self.entries += entries
        outcome = from_text(Outcome, decision.answer)
        self.asked.append(Asked(now_ms=self.now_ms, request=request, outcome=outcome, state=self.state))
        return outcome

    def ok(self, command: Command, actor: str = "test") -> Outcome:
        """Decide a command that must be accepted."""
        outcome = self.do(command, actor)
        assert outcome.accepted, outcome.results
        return outcome

    def reason(self, command: Command, actor: str = "test") -> str:
        """Decide a command that must be refused, without any effect; gives the reason."""
        before = self.state
        outcome = self.do(command, actor)
        assert not outcome.accepted
        assert self.state is before or rows_of(self.state) == rows_of(before)
        return outcome.results[0].reason

    def wait(self, milliseconds: int) -> Outcome:
        """Let time pass and run what has become due."""
        self.now_ms += milliseconds
        return self.ok(Tick())

    def prices(self, **ticks: int) -> Outcome:
        """One second later every source publishes these prices (by feed), which completes a snapshot. In an outage
        they do it again a minute later, by which normal work resumes, unless everything is halted.
        """
        self.now_ms += 1_000
        outcome = self.publish(**ticks)
        if self.state.outage is not None and everything_halted(self.state) is None:
            self.now_ms += self.state.parameters.resume_after_ms
            outcome = self.publish(**ticks)
        return outcome

    def publish(self, **ticks: int) -> Outcome:
        """Every source publishes these prices (by feed) now, once."""
        self.sequence += 1
        prices = {FeedId(feed): price for feed, price in ticks.items()}
        name = self.state.founded.house
        outcomes = [
            self.ok(publication(name, source, self.now_ms, self.sequence, prices)) for source in SOURCES
        ]
        return replace(outcomes[-1], events=tuple(event for one in outcomes for event in one.events))

    def deposit(self, key: AccountKey, amount_minor: int, asset: AssetId = USDC) -> Outcome:
        """Custody reports a deposit."""
        return self.ok(Deposit(account=key, asset=asset, amount_minor=amount_minor))

    def trade(
        self,
        buyer: AccountKey,
        seller: AccountKey,
        lots: int,
        price_ticks: int,
        instrument: InstrumentId = BTC_PERP,
        trade_id: str | None = None,
    ) -> Outcome:
        """Submit one trade by the member at which the buyer stands."""
        return self.do(trade(buyer, seller, lots, price_ticks, instrument, trade_id or f"t{self.requests}"))

    def measured(self, key: str) -> Assessment:
        """Measure the netting set of this id."""
        return assess(self.state, SetId(key))

    def account(self, member: str, name: str, participant: str | None = None) -> AccountKey:
        """Open a client account."""
        self.ok(
            OpenAccount(member=MemberId(member), account=name, participant=ParticipantId(participant or name))
        )
        return account_key(MemberId(member), name)


def trade(
    buyer: AccountKey,
    seller: AccountKey,
    lots: int,
    price_ticks: int,
    instrument: InstrumentId = BTC_PERP,
    trade_id: str = "t1",
) -> SubmitTrades:
    """A batch of one trade."""
    new = NewTrade(
        trade_id=trade_id,
        instrument=instrument,
        buyer=buyer,
        seller=seller,
        lots=lots,
        price_ticks=price_ticks,
        executed_ms=START_MS,
    )
    return SubmitTrades(member=MemberId(buyer.split("/")[0]), trades=(new,))


def as_recorded(entry: Entry) -> Entry:
    """The entry as a reader of the journal gets it: its body encoded and decoded."""
    body = decode_body(encode_body(bytes(16), entry))
    return Entry(
        entry_id=entry.entry_id,
        kind=int(entry.kind),
        effective_ms=entry.effective_ms,
        legs=entry.legs,
        opens=body.opens,
        request_id=body.request_id,
        actor=body.actor,
        references=body.references,
        fact=body.fact,
    )


FOLDED = sorted({one.name for one in fields(House)} - set(ROW_TYPES))
"""What of a state is not in its rows: the book, and what follows from legs and from the cycle."""


def assert_same(one: House, other: House) -> None:
    """Two states agree in every table, balance, position and profit."""
    assert json.dumps(rows_of(one), sort_keys=True) == json.dumps(rows_of(other), sort_keys=True)
    for name in FOLDED:
        assert getattr(one, name) == getattr(other, name), name


def check_laws(house: House) -> None:
    """What must hold after every command."""
    for unit, (debits, credits) in house.book.trial_balance().items():
        assert debits == credits, f"{unit} does not balance"
    for instrument in house.instruments:
        assert sum(house.position(key, instrument) for key in house.held) == 0
        assert house.balance(chart.novation(instrument)) == 0


def empty_house(parameters: Parameters = PARAMETERS, **changes: Any) -> World:
    """A founded house with instruments, sources and an ether haircut asset, but no member."""
    world = World()
    world.ok(FoundHouse(house="testhouse", settlement=SETTLEMENT, parameters=parameters))
    world.ok(ListAsset(asset=ETHER))
    for instrument in INSTRUMENTS:
        world.ok(ListInstrument(instrument=instrument))
    for source in SOURCES:
        world.ok(RegisterSource(source=source, public_key=public_hex(source_key(source))))
    return world


def two_traders(cash_minor: int = 2_000 * USD) -> World:
    """Member ``dex`` with clients alice and bob, who have cash; BTC at 8,000.0, ETH at 200.0."""
    world = empty_house()
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), cash_minor)
    world.prices(BTC=80_000, ETH=2_000)
    return world


ALICE = account_key(MemberId("dex"), "alice")
BOB = account_key(MemberId("dex"), "bob")


def link(world: World, participant: str, *keys: AccountKey) -> None:
    """Link accounts with the consent of every member concerned."""
    for member in sorted({key.split("/")[0] for key in keys}):
        world.ok(
            LinkAccounts(
                member=MemberId(member), participant=ParticipantId(participant), accounts=tuple(keys)
            )
        )


def fund(world: World, **tranches: int) -> None:
    """Fund the house's own accounts: capital, skin_in_the_game, second_tranche, insurance_fund."""
    for tranche, amount in tranches.items():
        world.ok(FundHouse(into=HouseMoney(tranche), amount_minor=amount))


def contribute(world: World, **amounts: int) -> None:
    """Members pay into the pool."""
    for member, amount in amounts.items():
        world.ok(ContributeToPool(member=MemberId(member), amount_minor=amount))


def size_pool(world: World) -> None:
    """Set the required contributions by the formula."""
    world.ok(SizePool())


def provide(world: World, key: AccountKey, capacity_minor: int) -> None:
    """Register a backstop provider."""
    world.ok(RegisterProvider(account=key, capacity_minor=capacity_minor))


def pay_out(world: World, withdrawal: str) -> None:
    """Send a held withdrawal, and let custody confirm it."""
    world.ok(SendWithdrawal(withdrawal=withdrawal))
    world.ok(SettleWithdrawal(withdrawal=withdrawal, paid=True))


DESK = account_key(MemberId("desk"), "provider")


def with_provider(world: World, cash_minor: int = 100_000 * USD, capacity_minor: int = 10**6 * USD) -> World:
    """Member ``desk`` joins, whose account ``provider`` takes liquidated positions."""
    world.ok(AdmitMember(member=MemberId("desk"), name="Desk"))
    world.deposit(world.account("desk", "provider"), cash_minor)
    provide(world, DESK, capacity_minor)
    return world


def copy_of(world: World) -> World:
    """The same house at the same time, to go on from it in another way."""
    return replace(world, entries=list(world.entries), asked=list(world.asked))


def kinds_of(outcome: Outcome) -> list[str]:
    """What happened, in order, by the names of the events."""
    return [event.kind for event in outcome.events]
