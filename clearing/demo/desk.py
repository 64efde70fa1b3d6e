"""Sends the demonstration's commands, steps the house clock, bids in auctions, and notes what the answers say.

What is sent depends on the seed, the scenario and on answers only, never on the state, and each command has a
request id of its own. So a run that was cut off can be started again on the same database: the
commands that were recorded get their first answers, and the run goes on where it stopped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing.demo.books import Books
from clearing.demo.door import Door
from clearing.demo.listing import Listing
from clearing.demo.market import Bar, Market
from clearing.model.commands import Command, Deposit, PlaceBid, Tick
from clearing.model.ids import AccountKey, DefaultId, MemberId, SetId, SourceId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Event, Outcome, Status
from clearing.model.values import Asset, AuctionKind, Parameters
from ledger.require import require

ASSESSMENTS = 7

BIDS = {
    AuctionKind.LIQUIDATION.value: ((40, 2_000), (70, 1_500)),
    AuctionKind.CLOSE_OUT.value: ((90, 1_500), (250, 1_000)),
    AuctionKind.COLLATERAL.value: ((60, 5_000), (150, 2_500)),
}
"""What the two liquidity providers bid: a discount to the mark, and up to which share of what is on offer."""


@dataclass(slots=True, kw_only=True)
class AuctionStory:
    """An auction: what for, who bid (discount, share), who was awarded how much."""

    kind: str
    subject: str
    bids: dict[AccountKey, tuple[int, int]] = field(default_factory=dict)
    awards: list[tuple[AccountKey, int]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class PortingStory:
    """A netting set of a member in default: when it was offered, when that ended, and which account took it."""

    netting_set: SetId
    offered: str
    ended: str = ""
    taker: AccountKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A client asks for its money: when, and what it is told (nothing: it was paid)."""

    hour: str
    account: AccountKey
    amount_minor: int
    refusal: str


@dataclass(slots=True)
class Tally:
    """What happened, hour by hour and in all, read off the answers."""

    calls: int = 0
    liquidations: int = 0
    requests: int = 0
    contributions: dict[MemberId, int] = field(default_factory=dict)
    by_hour: dict[str, list[Event]] = field(default_factory=dict)
    auctions: dict[str, AuctionStory] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    put_back: dict[DefaultId, str] = field(default_factory=dict)
    halves: dict[str, list[str]] = field(default_factory=dict)
    sold_minor: int = 0

    def events(self, kind: Kind) -> list[tuple[str, Event]]:
        """All events of a kind with their hours, in order."""
        name = kind.name
        return [(hour, e) for hour, events in self.by_hour.items() for e in events if e.kind == name]

    def half_expired(self, ref: str) -> bool:
        """Whether the half that waited under a reference was never met."""
        return any(event.subject.endswith(f"/{ref}") for _, event in self.events(Kind.HALF_EXPIRED))

    def told(self) -> list[tuple[str, str, str]]:
        """What the client that asked was told, equal answers together: first hour, last hour, refusal."""
        answers: list[tuple[str, str, str]] = []
        for one in self.asked:
            if answers and answers[-1][2] == one.refusal:
                answers[-1] = (answers[-1][0], one.hour, one.refusal)
            else:
                answers.append((one.hour, one.hour, one.refusal))
        return answers

    def failed(self) -> dict[str, str]:
        """The members in default, each with its hour."""
        return {event.subject.split(" ")[1]: hour for hour, event in self.events(Kind.MEMBER_DEFAULTED)}

    def portings(self) -> list[PortingStory]:
        """The netting sets that were offered to other members, in order."""
        stories: list[PortingStory] = []
        waiting: dict[str, PortingStory] = {}
        for hour, events in self.by_hour.items():
            for event in events:
                if event.kind == Kind.PORTING_OPENED.name and event.subject not in waiting:
                    waiting[event.subject] = PortingStory(netting_set=SetId(event.subject), offered=hour)
                    stories.append(waiting[event.subject])
                elif event.kind in (Kind.PORTED.name, Kind.PORTING_EXPIRED.name):
                    set_id, _, taker = event.subject.partition(" ")
                    story = waiting.pop(set_id)
                    story.ended, story.taker = hour, AccountKey(taker) if taker else None
        return stories

    def void(self) -> set[str]:
        """The auctions that ended without an award: what they were for was gone, or more was to be sold."""
        return {event.subject.split(" ")[0] for _, event in self.events(Kind.AUCTION_VOIDED)}

    def auctions_of(self, default: DefaultId) -> dict[str, AuctionStory]:
        """The auctions of an event that were held to their end."""
        void = self.void()
        return {n: story for n, story in self.auctions.items() if story.subject == default and n not in void}

    def dues(self, member: MemberId) -> int:
        """What a member was called for, to answer or by assessments, and has not paid."""
        owed = 0
        for kind, sign in ((Kind.ANSWER_CALLED, 1), (Kind.ANSWER_PAID, -1)):
            owed += sign * sum(
                e.amount_minor for _, e in self.events(kind) if e.subject.endswith(f" {member}")
            )
        owed += sum(e.amount_minor for e in self.assessed(member))
        paid = (e for _, e in self.events(Kind.ASSESSMENT_PAID) if e.subject.endswith(f"/{member}"))
        return owed - sum(e.amount_minor for e in paid)

    def drawn(self, default: DefaultId, tier: int, payer: str) -> int:
        """What a tier of an event took from a payer."""
        subject = f"{default} tier {tier} {payer}"
        return sum(e.amount_minor for _, e in self.events(Kind.WATERFALL) if e.subject == subject)

    def assessed(self, member: MemberId) -> list[Event]:
        """The assessments that a member was called for."""
        end = f" tier {ASSESSMENTS} {member}"
        return [e for _, e in self.events(Kind.WATERFALL) if e.subject.endswith(end)]

    def waterfalls(self) -> dict[DefaultId, tuple[str, int]]:
        """Each event whose waterfall ran: in which hour, and for what loss."""
        return {
            DefaultId(e.subject): (hour, e.amount_minor)
            for hour, e in self.events(Kind.WATERFALL)
            if " " not in e.subject
        }


@dataclass(slots=True, kw_only=True)
class Desk:
    """One run of a scenario."""

    door: Door
    price_keys: Mapping[SourceId, Ed25519PrivateKey]
    house: str
    seed: int
    market: Market
    listing: Listing
    books: Books
    settlement: Asset
    parameters: Parameters
    tally: Tally = field(default_factory=Tally)
    hour: str = ""
    now_ms: int = 0
    next_due_ms: int | None = None
    calls: dict[str, int] = field(default_factory=dict)
    unbid: list[str] = field(default_factory=list)

    def send(self, name: str, command: Command) -> Outcome:
        """Send a command whose refusal is part of the story."""
        outcome = self.door.execute(name, command)
        self.tally.requests += 1
        self.next_due_ms = outcome.next_due_ms
        for event in outcome.events:
            self._note(event)
        return outcome

    def must(self, name: str, command: Command) -> Outcome:
        """Send a command that is accepted."""
        outcome = self.send(name, command)
        why = [f"{r.reason} {r.detail}" for r in outcome.results if r.status is Status.REFUSED]
        require(not why, f"{name} is accepted: {why}")
        return outcome

    def deposit(self, name: str, key: AccountKey, asset: Asset, amount_minor: int) -> None:
        """Custody reports that money arrived."""
        if amount_minor:
            command = Deposit(account=key, asset=asset.id, amount_minor=amount_minor, reference=name)
            self.must(name, command)

    def hours_since(self, label: str, bar: Bar) -> int:
        """The hours between the one of a label and a bar's."""
        labels = [one.label for one in self.market.bars]
        return labels.index(bar.label) - labels.index(label)

    def wait_until(self, until_ms: int) -> None:
        """Step the clock to each time at which the house owes something, then to ``until_ms``; bid in what opens."""
        self._bid()
        stuck_ms = -1
        while self.next_due_ms is not None and stuck_ms < self.next_due_ms <= until_ms:
            stuck_ms = self.next_due_ms
            self.step(stuck_ms)
            self.must(f"tick/{stuck_ms}/{self.tally.requests}", Tick())
            self._bid()
        self.step(until_ms)

    def step(self, now_ms: int) -> None:
        """Let the house's clock show a time, unless it is past it."""
        if now_ms > self.now_ms:
            self.now_ms = now_ms
            self.door.step(now_ms)

    def _bid(self) -> None:
        """The liquidity providers bid in every auction that has opened."""
        for auction in self.unbid:
            story = self.tally.auctions[auction]
            for provider, (discount_bp, share_bp) in zip(
                self.books.named("provider"), BIDS[story.kind], strict=True
            ):
                key = provider.accounts[0]
                bid = PlaceBid(auction=auction, account=key, discount_bp=discount_bp, share_bp=share_bp)
                if self.send(f"bid/{auction}/{provider.id}", bid).accepted:
                    story.bids[key] = (discount_bp, share_bp)
        self.unbid = []

    def _note(self, event: Event) -> None:
        self.tally.by_hour.setdefault(self.hour, []).append(event)
        words = event.subject.split(" ")
        if event.kind == Kind.CALL_ISSUED.name:
            self.tally.calls += 1
        elif event.kind == Kind.LIQUIDATION_OPENED.name:
            self.tally.liquidations += 1
        elif event.kind == Kind.AUCTION_OPENED.name:
            self.tally.auctions[words[0]] = AuctionStory(kind=words[1], subject=words[2])
            self.unbid.append(words[0])
        elif event.kind in (Kind.BID_AWARDED.name, Kind.COLLATERAL_AWARDED.name):
            self.tally.auctions[words[0]].awards.append((AccountKey(words[1]), event.amount_minor))
        if event.kind in (Kind.CALL_ISSUED.name, Kind.CALL_CHANGED.name):
            self.calls[event.subject] = event.amount_minor
        elif event.kind in (Kind.CALL_MET.name, Kind.CALL_EXPIRED.name):
            self.calls.pop(event.subject, None)
