"""A clearing house as a bench builds it: many netting sets in a moment, then real commands, durably.

The deciders, the journal and the database are those of a house. Only the building is the bench's own: accounts,
deposits and positions come as one command, since what is measured begins after them.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from bench.stores import Store
from clearing import chart
from clearing.decide.table import Request, decide
from clearing.main import let_garbage_wait
from clearing.model.codec import from_text
from clearing.model.commands import (
    AdmitMember,
    Command,
    FoundHouse,
    ListInstrument,
    RegisterSource,
)
from clearing.model.draft import Draft, Line
from clearing.model.house import House, Put, fold
from clearing.model.ids import (
    AccountKey,
    FeedId,
    InstrumentId,
    MemberId,
    ParticipantId,
    account_key,
    single_set,
)
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome
from clearing.model.values import AccountKind, ClearingAccount, NettingSet, Parameters, ScanRange
from ledger.decision import Decision
from ledger.entry import Leg, credit, debit, transfer
from ledger.store.connect import Lease, system_salts
from ledger.store.writer import Writer
from tests.builders import SETTLEMENT, SOURCES, START_MS, USDC, perpetual, public_hex, publication, source_key

INSTRUMENTS = 50
HELD = 6
MEMBERS = tuple(MemberId(f"m{number}") for number in range(10))
NAME = "benchhouse"
FEEDS = tuple(FeedId(f"U{number}") for number in range(INSTRUMENTS))
LISTED = tuple(InstrumentId(f"P{number}") for number in range(INSTRUMENTS))
PRICE_TICKS = 80_000
TICK_VALUE_MINOR = 100
RICH_MINOR = 10**12
"""A million of the settlement asset: no set of the bench comes near its requirement by itself."""
PARAMETERS = Parameters(
    margin_model="scan", scan_ranges=tuple(ScanRange(underlying=feed, move_bp=1_300) for feed in FEEDS)
)


@dataclass(frozen=True, slots=True)
class Build:
    """Lines that are recorded as they are, under the id of their request."""

    request_id: str
    lines: tuple[Line, ...]


@dataclass(slots=True)
class BenchHouse:
    """A house behind its writer, with a clock that the bench moves."""

    writer: Writer[House, Request | Build]
    now_ms: int = START_MS
    requests: int = 0
    sequence: int = 0

    @property
    def state(self) -> House:
        """The newest committed state."""
        return self.writer.view.state

    def do(self, command: Command) -> Outcome:
        """Send a command and wait until it is durable; what a bench sends is accepted."""
        self.requests += 1
        request = Request(request_id=f"r{self.requests}", actor="bench", command=command)
        outcome = from_text(Outcome, self._submit(request))
        if not outcome.accepted:
            raise RuntimeError(f"refused: {next(r for r in outcome.results if r.reason)}")
        return outcome

    def build(self, lines: Sequence[Line]) -> None:
        """Record lines, a thousand in an answer."""
        for at in range(0, len(lines), 1_000):
            self.requests += 1
            self._submit(Build(f"r{self.requests}", tuple(lines[at : at + 1_000])))

    def built(self) -> None:
        """From here on it is measured, as a served house goes on from its replay."""
        let_garbage_wait()

    def publish(self, share_bp: int) -> Command:
        """All sources but one publish prices at a share of the first; the last publication, which closes the quorum,
        is given back.
        """
        self.sequence += 1
        self.now_ms += 1_000
        prices = dict.fromkeys(FEEDS, PRICE_TICKS * share_bp // 10_000)
        published = [publication(NAME, source, self.now_ms, self.sequence, prices) for source in SOURCES]
        for one in published[:-1]:
            self.do(one)
        return published[-1]

    def _submit(self, command: Request | Build) -> str:
        name = f"r{self.requests}"
        return self.writer.submit(name, sha256(name.encode()).digest(), command).result().answer


@contextmanager
def bench_house(
    store: Store, parameters: Parameters = PARAMETERS, start_ms: int = START_MS
) -> Iterator[BenchHouse]:
    """A founded house with its instruments, sources and members; its clock begins at ``start_ms``."""
    lease = Lease.acquire(store.database)
    held: list[BenchHouse] = []
    writer: Writer[House, Request | Build] = Writer(
        store.database,
        lease,
        apply=_apply,
        fold=fold,
        empty=House(),
        clock=lambda: held[0].now_ms if held else start_ms,
        salts=system_salts,
    )
    house = BenchHouse(writer, now_ms=start_ms)
    held.append(house)
    try:
        house.do(FoundHouse(house=NAME, settlement=SETTLEMENT, parameters=parameters))
        for instrument, feed in zip(LISTED, FEEDS, strict=True):
            house.do(ListInstrument(instrument=perpetual(instrument, feed, TICK_VALUE_MINOR, 3)))
        for source in SOURCES:
            house.do(RegisterSource(source=source, public_key=public_hex(source_key(source))))
        for member in MEMBERS:
            house.do(AdmitMember(member=member, name=member))
        yield house
    finally:
        writer.close()
        lease.release()
        gc.unfreeze()


def _apply(house: House, command: Request | Build, now_ms: int) -> Decision[House]:
    if isinstance(command, Request):
        return decide(house, command, now_ms)
    draft = Draft(house=house, request_id=command.request_id, actor="bench", now_ms=now_ms)
    draft.record_all(command.lines)
    return Decision(state=draft.house, entries=tuple(draft.entries), answer="")


def clients(
    count: int, cash_minor: int = RICH_MINOR, *, members: Sequence[MemberId] = MEMBERS, prefix: str = "c"
) -> tuple[list[AccountKey], list[Line]]:
    """Client accounts, in turn at each of ``members``, and the lines that open them and pay ``cash_minor`` in."""
    keys: list[AccountKey] = []
    lines: list[Line] = []
    for number in range(count):
        member, name = members[number % len(members)], f"{prefix}{number}"
        key, participant = account_key(member, name), ParticipantId(f"{prefix}{number}")
        account = ClearingAccount(
            key=key,
            member=member,
            kind=AccountKind.CLIENT,
            participant=participant,
            netting_set=single_set(key),
        )
        alone = NettingSet(id=single_set(key), participant=participant, accounts=(key,))
        rows = (Put("accounts", key, account), Put("netting_sets", alone.id, alone))
        lines.append(Line(Kind.ACCOUNT_OPENED, rows, (), ()))
        paid = transfer(chart.custody(USDC), chart.cash(key, USDC), cash_minor)
        lines.append(Line(Kind.DEPOSITED, (), paid, ()))
        keys.append(key)
    return keys, lines


def books(keys: Sequence[AccountKey], held: int, dice: Random) -> list[Line]:
    """Positions in ``held`` of the instruments for each account, long against short."""
    holders: dict[InstrumentId, list[AccountKey]] = {instrument: [] for instrument in LISTED}
    for key in keys:
        for instrument in dice.sample(LISTED, held):
            holders[instrument].append(key)
    lines: list[Line] = []
    for instrument, owners in holders.items():
        dice.shuffle(owners)
        for buyer, seller in zip(owners[::2], owners[1::2], strict=False):
            lines.append(_position(instrument, buyer, seller, dice.randint(1, 200)))
    return lines


def _position(instrument: InstrumentId, buyer: AccountKey, seller: AccountKey, lots: int) -> Line:
    middle = chart.novation(instrument)
    legs: tuple[Leg, ...] = (
        debit(chart.position(seller, instrument), lots),
        credit(middle, lots),
        debit(middle, lots),
        credit(chart.position(buyer, instrument), lots),
    )
    return Line(Kind.TRADE_NOVATED, (), legs, ())
