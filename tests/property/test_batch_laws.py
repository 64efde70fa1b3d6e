"""Laws of a ledger that stands alone, on random programs, against an auditor who knows the rules by heart.

The auditor keeps plain dictionaries and no code of the ledger but its values. The same programs show that a
column of transfers gives what its rows give one after the other, to the last byte.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from ledger import batch, columns
from ledger.account import Account, Limit, Side
from ledger.amount import AMOUNT_MAX
from ledger.batch import (
    Batch,
    Command,
    Item,
    PlaceHold,
    PostHold,
    ReleaseHold,
    Result,
    Reverse,
    Transfer,
    read_results,
)
from ledger.book import Book
from ledger.columns import fold
from ledger.entry import Entry, Leg, Refusal, Step, Verb, credit, debit
from ledger.seal import salts_used
from ledger.store.queries import Directory
from ledger.transfers import Transfers, amount_column, count, entries_of, key_column
from tests.ledgers import (
    ACCOUNTS,
    ALICE,
    BOB,
    KIND,
    MINT,
    NOW_MS,
    TILL,
    Desk,
    entry,
    numbered,
    paid,
    segment_of,
)

pytestmark = pytest.mark.slow

ITEMS_MAX, LEGS_MAX, BODY_MAX = 16, 40, 1_000
"""Limits for these tests, so that random programs meet them."""

DEEP, SHALLOW = Account("deep", "USD"), Account("shallow", "USD", Side.DEBIT)
POOLS = tuple(Account(f"pool/{n}", "USD") for n in range(3))
LATE = tuple(Account(f"late/{n}", "USD", limit=Limit.DEBITS_MUST_NOT_EXCEED_CREDITS) for n in range(2))
STRANGER = Account("stranger", "USD")
HELD = Account("holds", "USD", Side.CREDIT, Limit.DEBITS_MUST_NOT_EXCEED_CREDITS)
KNOWN = (*ACCOUNTS, DEEP, SHALLOW, *POOLS)
IN_USD = (MINT, ALICE, BOB, TILL, DEEP, SHALLOW, *POOLS)
OPENING: tuple[Item, ...] = (
    entry(0, opens=KNOWN),
    paid(1, MINT, ALICE, 100),
    paid(2, TILL, BOB, 100),
    paid(3, DEEP, SHALLOW, AMOUNT_MAX - 50),
)


@pytest.fixture(scope="module", autouse=True)
def _low_limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "BATCH_MAX", ITEMS_MAX)
        patch.setattr(batch, "BATCH_LEGS_MAX", LEGS_MAX)
        patch.setattr(batch, "BODY_BYTES_MAX", BODY_MAX)
        yield


# -------------------------------------------------------------------------------------------- the second opinion

Legs: TypeAlias = tuple[tuple[Account, int], ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """What the auditor keeps of an entry; ``verb`` and ``names`` say what it did to another one."""

    sequence: int
    actor: str
    kind: int
    references: tuple[str, ...]
    legs: Legs
    opens: tuple[Account, ...] = ()
    fact: Any = None
    verb: str = ""
    names: bytes = b""
    expires_ms: int = 0


@dataclass(frozen=True)
class Pledge:
    """An open hold."""

    source: Account
    target: Account
    amount: int
    expires_ms: int


@dataclass(kw_only=True)
class Auditor:
    """The rules of a batch, of entries and of the book, read off their public order."""

    opened: dict[bytes, Account] = field(default_factory=dict)
    balances: dict[bytes, int] = field(default_factory=dict)
    pledges: dict[bytes, Pledge] = field(default_factory=dict)
    reversed: set[bytes] = field(default_factory=set)
    lines: dict[bytes, Line] = field(default_factory=dict)
    size: int = 0
    now_ms: int = 0

    def decide(self, command: Command, now_ms: int) -> list[Result]:
        items = list(items_of(command))
        legs = sum(len(item.legs) for item in items if isinstance(item, Entry))
        if len(items) > ITEMS_MAX or legs > LEGS_MAX:
            return [Result(refusal=Refusal.BATCH_TOO_LONG)] * len(items)
        self.now_ms = now_ms
        self.expire(now_ms)
        results: list[Result] = []
        while len(results) < len(items):
            start = end = len(results)
            while end in command.linked:
                end += 1
            if end >= len(items):
                return results + [Result(refusal=Refusal.CHAIN_OPEN)] * (len(items) - start)
            results += self.decide_chain(items[start : end + 1], command)
        return results

    def decide_chain(self, chain: Sequence[Item], command: Command) -> list[Result]:
        kept = replace(
            self,
            opened=dict(self.opened),
            balances=dict(self.balances),
            pledges=dict(self.pledges),
            reversed=set(self.reversed),
            lines=dict(self.lines),
        )
        results = [self.decide_one(item, command) for item in chain]
        words = {result.word for result in results}
        if len(chain) == 1 or words in ({"POSTED"}, {"EXISTS"}):
            return results
        self.__dict__.update(kept.__dict__)
        fallen = {"POSTED": Refusal.LINKED_REFUSED, "EXISTS": Refusal.ENTRY_ID_REUSED}
        return [Result(refusal=fallen.get(result.word, result.refusal)) for result in results]

    def expire(self, now_ms: int) -> None:
        due = [
            (p.expires_ms, key) for key, p in self.pledges.items() if p.expires_ms and p.expires_ms <= now_ms
        ]
        for _, key in sorted(due):
            pledge = self.pledges.pop(key)
            self.move(((HELD_OF[pledge.source.unit], pledge.amount), (pledge.source, -pledge.amount)))
            own = b"\xff" * 8 + self.size.to_bytes(8, "big")
            self.lines[own] = Line(
                sequence=self.size, actor="", kind=1, references=(), legs=(), verb="expire", names=key
            )
            self.size += 1

    def move(self, legs: Legs) -> None:
        for account, amount in legs:
            self.balances[account.id] += amount

    def decide_one(self, item: Item, command: Command) -> Result:
        if len(item.entry_id) != 16 or item.entry_id[:8] == b"\xff" * 8:
            return Result(refusal=Refusal.ENTRY_MALFORMED)
        line = self.lines.get(item.entry_id)
        if line is not None:
            same = line.actor == command.actor and self.is_same(item, line)
            return Result(line.sequence, existed=True) if same else Result(refusal=Refusal.ENTRY_ID_REUSED)
        wish = self.wish(item, command)
        refusal = wish if isinstance(wish, Refusal) else next(self.objections(item, wish, command), None)
        if isinstance(wish, Refusal) or refusal is not None:
            return Result(refusal=refusal)
        self.record(item.entry_id, wish)
        return Result(wish.sequence)

    def record(self, entry_id: bytes, line: Line) -> None:
        self.size += 1
        self.lines[entry_id] = line
        self.opened |= {account.id: account for account in line.opens}
        self.balances |= dict.fromkeys((account.id for account in line.opens), 0)
        self.move(line.legs)
        if line.verb == "hold":
            source, amount = line.legs[0]
            self.pledges[entry_id] = Pledge(source, self.opened[line.names], amount, line.expires_ms)
        elif line.verb in {"post", "release"}:
            del self.pledges[line.names]
        elif line.verb == "reverse":
            self.reversed.add(line.names)

    def is_same(self, item: Item, line: Line) -> bool:
        if (item.kind, item.references) != (line.kind, line.references):
            return False
        if isinstance(item, Entry):
            legs = tuple((leg.account, leg.amount) for leg in item.legs)
            return not line.verb and (legs, item.opens, item.fact) == (line.legs, line.opens, line.fact)
        if isinstance(item, Transfer):
            moved = [(account.id, amount) for account, amount in line.legs]
            wanted = [(item.debited, item.amount), (item.credited, -item.amount)]
            return moved == wanted and not (line.verb or line.opens) and line.fact is None
        if isinstance(item, PlaceHold):
            said = ("hold", item.target.id, item.expires_ms)
            pays = line.legs[:1] == ((item.source, item.amount),)
            return said == (line.verb, line.names, line.expires_ms) and pays
        if isinstance(item, PostHold):
            held, paid_amount = (line.legs[0][1], -line.legs[1][1]) if line.verb == "post" else (0, 0)
            is_post = (line.verb, line.names) == ("post", item.hold_id)
            return is_post and paid_amount == (held if item.amount is None else item.amount)
        names = item.hold_id if isinstance(item, ReleaseHold) else item.reversed_id
        return (line.verb, line.names) == ("release" if isinstance(item, ReleaseHold) else "reverse", names)

    # what an item wants, or why that cannot even be said ----------------------------------------

    def wish(self, item: Item, command: Command) -> Line | Refusal:
        wanted: dict[str, Any] | Refusal
        match item:
            case Entry():
                wanted = {"legs": tuple((leg.account, leg.amount) for leg in item.legs)}
                wanted |= {"opens": item.opens, "fact": item.fact}
                if item.step is not None:
                    return Refusal.ENTRY_MALFORMED
            case Transfer():
                wanted = self.wish_of_transfer(item)
            case PlaceHold():
                wanted = self.wish_of_hold(item)
            case PostHold():
                wanted = self.wish_of_post(item)
            case ReleaseHold():
                wanted = self.wish_of_release(item)
            case Reverse():
                wanted = self.wish_of_reverse(item)
        if isinstance(wanted, Refusal):
            return wanted
        origin = {"sequence": self.size, "actor": command.actor, "kind": item.kind}
        return Line(**origin, references=item.references, **wanted)  # type: ignore[arg-type]  # fields by name

    def wish_of_transfer(self, item: Transfer) -> dict[str, Any] | Refusal:
        if not 1 <= item.kind <= 65535:
            return Refusal.ENTRY_MALFORMED
        if item.amount <= 0:
            return Refusal.AMOUNT_NEGATIVE if item.amount else Refusal.AMOUNT_ZERO
        if item.amount >= 2**127:
            return Refusal.AMOUNT_OUT_OF_RANGE
        if not {item.debited, item.credited} <= set(self.opened):
            return Refusal.ACCOUNT_UNKNOWN
        debited, credited = self.opened[item.debited], self.opened[item.credited]
        return {"legs": ((debited, item.amount), (credited, -item.amount))}

    def wish_of_hold(self, item: PlaceHold) -> dict[str, Any] | Refusal:
        if item.amount <= 0:
            return Refusal.AMOUNT_NEGATIVE if item.amount else Refusal.AMOUNT_ZERO
        if item.source.unit != item.target.unit:
            return Refusal.ENTRY_UNBALANCED
        if self.opened.get(item.target.id, item.target) != item.target:
            return Refusal.ACCOUNT_DIFFERS
        held = HELD_OF[item.source.unit]
        return {
            "legs": ((item.source, item.amount), (held, -item.amount)),
            "opens": () if held.id in self.opened else (held,),
            "verb": "hold",
            "names": item.target.id,
            "expires_ms": item.expires_ms,
        }

    def wish_of_post(self, item: PostHold) -> dict[str, Any] | Refusal:
        pledge = self.pledges.get(item.hold_id)
        if pledge is None or 0 < pledge.expires_ms <= self.now_ms:
            return Refusal.HOLD_NOT_OPEN
        amount = pledge.amount if item.amount is None else item.amount
        if amount <= 0:
            return Refusal.AMOUNT_NEGATIVE if amount else Refusal.AMOUNT_ZERO
        if amount > pledge.amount:
            return Refusal.HOLD_EXCEEDED
        parts = ((pledge.target, -amount), (pledge.source, amount - pledge.amount))
        legs = ((HELD_OF[pledge.source.unit], pledge.amount), *(part for part in parts if part[1]))
        return {"legs": legs, "verb": "post", "names": item.hold_id}

    def wish_of_release(self, item: ReleaseHold) -> dict[str, Any] | Refusal:
        pledge = self.pledges.get(item.hold_id)
        if pledge is None:
            return Refusal.HOLD_NOT_OPEN
        legs = ((HELD_OF[pledge.source.unit], pledge.amount), (pledge.source, -pledge.amount))
        return {"legs": legs, "verb": "release", "names": item.hold_id}

    def wish_of_reverse(self, item: Reverse) -> dict[str, Any] | Refusal:
        line = self.lines.get(item.reversed_id)
        if line is None:
            return Refusal.REVERSED_UNKNOWN
        if line.verb or not line.legs:
            return Refusal.NOT_REVERSIBLE
        legs = tuple((account, -amount) for account, amount in line.legs)
        return {"legs": legs, "verb": "reverse", "names": item.reversed_id}

    # why it does not post -----------------------------------------------------------------------

    def objections(self, item: Item, line: Line, command: Command) -> Iterator[Refusal]:
        yield from objections_to_body(line, command)
        if not 1 <= line.kind <= 65535 or not 0 <= line.expires_ms < 2**63:
            yield Refusal.ENTRY_MALFORMED
        if not line.legs and not line.opens and line.fact is None:
            yield Refusal.ENTRY_EMPTY
        if len(line.legs) == 1:
            yield Refusal.ENTRY_ONE_LEGGED
        if any(amount == 0 for _, amount in line.legs):
            yield Refusal.AMOUNT_ZERO
        if any(abs(amount) >= 2**127 for _, amount in line.legs):
            yield Refusal.AMOUNT_OUT_OF_RANGE
        if any(sum(n for a, n in line.legs if a.unit == unit) for unit in {a.unit for a, _ in line.legs}):
            yield Refusal.ENTRY_UNBALANCED
        ids = [account.id for account in line.opens]
        if len(set(ids)) < len(ids) or set(ids) & set(self.opened):
            yield Refusal.ACCOUNT_EXISTS
        yield from self.objections_to_accounts(line)
        yield from self.objections_to_balances(line)

    def objections_to_accounts(self, line: Line) -> Iterator[Refusal]:
        opened = self.opened | {account.id: account for account in line.opens}
        for account, _ in line.legs:
            if opened.get(account.id, account) != account:
                yield Refusal.ACCOUNT_DIFFERS
            if account.id not in opened:
                yield Refusal.ACCOUNT_UNKNOWN
        named = {account.path for account in line.opens} | {account.path for account, _ in line.legs}
        if line.verb == "hold":
            if line.names not in opened:
                yield Refusal.ACCOUNT_UNKNOWN
            if "holds" in (line.legs[0][0].path, opened[line.names].path):
                yield Refusal.ACCOUNT_RESERVED
        if line.verb == "reverse" and line.names in self.reversed:
            yield Refusal.ALREADY_REVERSED
        if not line.verb and "holds" in named:
            yield Refusal.ACCOUNT_RESERVED

    def objections_to_balances(self, line: Line) -> Iterator[Refusal]:
        after: dict[Account, tuple[int, int]] = {}
        for account in {account for account, _ in line.legs}:
            balance = self.balances.get(account.id, 0) + sum(n for a, n in line.legs if a == account)
            lent = [p.amount for key, p in self.pledges.items() if p.source == account and key != line.names]
            lent += [line.legs[0][1]] if line.verb == "hold" and line.legs[0][0] == account else []
            after[account] = balance, balance - sum(lent)
        if any(abs(balance) >= 2**127 for both in after.values() for balance in both):
            yield Refusal.BALANCE_OUT_OF_RANGE
        if any(not account.limit.allows(balance) for account, both in after.items() for balance in both):
            yield Refusal.LIMIT_EXCEEDED


HELD_OF = {"USD": HELD, "BTC": replace(HELD, unit="BTC")}


def items_of(command: Command) -> Iterator[Item]:
    if isinstance(command, Batch):
        yield from command.items
        return
    for entry_id, debited, credited, amount in command.rows():
        yield Transfer(
            entry_id=entry_id,
            kind=command.kind,
            debited=debited,
            credited=credited,
            amount=amount,
            references=command.references,
        )


def objections_to_body(line: Line, command: Command) -> Iterator[Refusal]:
    if "number" in repr(line.fact):
        yield Refusal.ENTRY_MALFORMED
    said: dict[str, Any] = {
        "actor": command.actor,
        "fact": line.fact,
        "opens": [[a.path, a.unit, a.side.value, a.limit.value] for a in line.opens],
        "references": line.references,
        "request": command.request_id,
    }
    if line.verb:
        said["step"] = [line.verb, line.names.hex(), str(line.expires_ms)]
    if len(json.dumps(said, separators=(",", ":"))) > BODY_MAX:
        yield Refusal.ENTRY_TOO_LONG


# ------------------------------------------------------------------------------------------- random programs


def column_of(rows: Sequence[tuple[bytes, Account, Account, int]], **said: Any) -> Transfers:
    return Transfers(
        ids=key_column([row[0] for row in rows]),
        debits=key_column([row[1].id for row in rows]),
        credits=key_column([row[2].id for row in rows]),
        amounts=amount_column([row[3] for row in rows]),
        **said,
    )


HOT = (ALICE, BOB, TILL)
ROOMY = (MINT, *POOLS)
ANY = (*HOT, *HOT, *ROOMY, DEEP, SHALLOW)
ODD = (STRANGER, HELD, *LATE, ACCOUNTS[4])
ODD_AMOUNTS = (0, -1, 2**62, 2**64, 2**90, AMOUNT_MAX - 60, AMOUNT_MAX + 1)
ODD_LEGS: tuple[tuple[Leg, ...], ...] = (
    (),
    (debit(MINT, 1),),
    (debit(MINT, 2), credit(ALICE, 1)),
    (debit(Account(ALICE.path, "USD"), 1), credit(BOB, 1)),
    (debit(MINT, 1), credit(POOLS[0], 1)) * 10,
    (debit(ALICE, 90), credit(MINT, 90), debit(MINT, 5), credit(ALICE, 5)),
)
FACTS: tuple[Any, ...] = ("one", {"a": ["b"]}, ["number", 1])
NO_IDS = (bytes(15), b"\xff" * 16)


T = TypeVar("T")


class Caller:
    """Makes up commands from a seed. Some of them are wrong, and some it has sent before."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ms = NOW_MS
        self.program: list[tuple[int, Command]] = [(NOW_MS, Batch(items=OPENING, actor="a"))]
        self.plain_ids = [numbered(number) for number in range(4)]
        self.hold_ids = [numbered(1)]

    def one_of(self, usual: Sequence[T], seldom: Sequence[T], share: float) -> T:
        return self.random.choice(seldom if self.random.random() < share else usual)

    def new_id(self, kept: list[bytes]) -> bytes:
        made: bytes = self.random.randbytes(16) if self.random.random() < 0.9 else self.random.choice(kept)
        kept.append(made)
        return self.one_of((made,), NO_IDS, 0.01)

    def amount(self) -> int:
        return self.one_of((self.random.randint(1, 60),), ODD_AMOUNTS, 0.08)

    def said(self, kept: list[bytes]) -> dict[str, Any]:
        return {
            "entry_id": self.new_id(kept),
            "kind": self.one_of((KIND,), (KIND + 1, 0, 2**16), 0.02),
            "references": self.one_of(((),), (("a",), ("x" * BODY_MAX,)), 0.05),
        }

    def origin(self) -> dict[str, str]:
        actor, request = self.one_of(("a",), ("b",), 0.05), self.one_of(("r",), ("r" * BODY_MAX,), 0.01)
        return {"actor": actor, "request_id": request}

    def links(self) -> frozenset[int]:
        linked = self.random.random() < 0.2
        return frozenset(self.random.sample(range(ITEMS_MAX), self.random.randint(1, 4)) if linked else ())

    # items ---------------------------------------------------------------------------------------

    def plain(self) -> Entry:
        legs: list[Leg] = []
        for _ in range(self.random.randint(1, 3)):
            source, target, amount = self.one_of(ANY, ODD, 0.03), self.one_of(ANY, ODD, 0.03), self.amount()
            legs += (debit(source, amount), credit(target, amount))
        return Entry(
            effective_ms=0,
            legs=self.one_of((tuple(legs),), ODD_LEGS, 0.2),
            opens=self.one_of(((),), (LATE[:1], LATE[1:], (ALICE,), LATE, (HELD,)), 0.1),
            fact=self.one_of((None,), FACTS, 0.2),
            step=self.one_of((None,), (Step(Verb.REVERSE, numbered(1)),), 0.02),
            **self.said(self.plain_ids),
        )

    def transfer(self) -> Transfer:
        debited, credited = self.one_of(ANY, ODD, 0.05).id, self.one_of(ANY, ODD, 0.05).id
        return Transfer(debited=debited, credited=credited, amount=self.amount(), **self.said(self.plain_ids))

    def hold(self) -> PlaceHold:
        return PlaceHold(
            source=self.one_of(HOT, (*ANY, *ODD), 0.3),
            target=self.one_of(ANY, (*ODD, Account(BOB.path, "USD")), 0.1),
            amount=self.one_of((self.random.randint(1, 30),), ODD_AMOUNTS, 0.05),
            expires_ms=self.one_of((0, self.now_ms + self.random.randint(0, 30)), (-1, 2**63), 0.02),
            **self.said(self.hold_ids),
        )

    def post(self) -> PostHold:
        amount = self.one_of((None, self.random.randint(1, 30)), ODD_AMOUNTS, 0.1)
        return PostHold(
            hold_id=self.random.choice(self.hold_ids[-6:]), amount=amount, **self.said(self.plain_ids)
        )

    def release(self) -> ReleaseHold:
        return ReleaseHold(hold_id=self.random.choice(self.hold_ids[-6:]), **self.said(self.plain_ids))

    def reversal(self) -> Reverse:
        about = self.one_of(self.plain_ids[-9:], (numbered(0), numbered(99), *self.hold_ids), 0.2)
        return Reverse(reversed_id=about, **self.said(self.plain_ids))

    def item(self) -> Item:
        makers = (self.plain, self.transfer, self.hold, self.post, self.release, self.reversal)
        (make,) = self.random.choices(makers, (4, 4, 4, 3, 1, 2))
        item: Item = make()
        return item

    # commands ------------------------------------------------------------------------------------

    def column(self) -> Transfers:
        sides = ((ROOMY, (*ROOMY, *HOT)), (HOT, HOT), (ROOMY, (TILL, MINT)), ((*ANY, *ODD), (*ANY, *ODD)))
        debited, credited = self.random.choice(sides)
        said = self.said([numbered(9)])
        del said["entry_id"]
        rows = [
            (
                self.one_of((self.random.randbytes(16),), (*self.plain_ids, NO_IDS[1]), 0.01),
                self.random.choice(debited),
                self.random.choice(credited),
                self.amount() if self.random.random() < 0.3 else self.random.randint(1, 60),
            )
            for _ in range(self.random.randint(0, ITEMS_MAX))
        ]
        self.plain_ids += [row[0] for row in rows if row[0] not in NO_IDS]
        return column_of(rows, linked=self.links(), **said, **self.origin())

    def batch(self) -> Batch:
        items = tuple(self.item() for _ in range(self.random.randint(0, 9)))
        return Batch(items=items, linked=self.links(), **self.origin())

    def again(self) -> Command:
        """Something once more, from some item on; now and then as a batch where it was a column."""
        _, command = self.random.choice(self.program)
        skipped = self.random.choice((0, 0, 1, 2))
        if isinstance(command, Batch):
            return replace(command, items=command.items[skipped:], linked=frozenset()) if skipped else command
        alone = replace(command, linked=frozenset()).take(slice(skipped, None))
        return self.random.choice((command, alone, in_rows(command)))

    def too_long(self) -> Command:
        legs = (debit(MINT, 1), credit(ALICE, 1)) * self.random.choice((LEGS_MAX // 4, LEGS_MAX // 4 + 1))
        long = tuple(entry(0, *legs, entry_id=self.new_id(self.plain_ids)) for _ in range(2))
        many = (self.transfer(),) * self.random.choice((ITEMS_MAX, ITEMS_MAX + 1))
        return Batch(items=self.random.choice((long, many)), actor="a")

    def go_on(self) -> None:
        self.now_ms += self.random.choice((0, 0, 0, 1, 4, 20))
        makers = (self.column, self.batch, self.again, self.too_long)
        (make,) = self.random.choices(makers, (10, 10, 3, 1))
        self.program.append((self.now_ms, make()))


def in_rows(command: Command) -> Batch:
    """The same, with no column in it."""
    origin = {"request_id": command.request_id, "actor": command.actor}
    return Batch(items=tuple(items_of(command)), linked=command.linked, **origin)


@st.composite
def programs(draw: st.DrawFn) -> list[tuple[int, Command]]:
    """Commands, each with the time at which it is decided; fewer of them are the beginning of the same."""
    caller = Caller(draw(st.integers(0, 2**32 - 1), label="seed"))
    for _ in range(draw(st.integers(1, 25), label="commands")):
        caller.go_on()
    return caller.program


law = settings(max_examples=150, deadline=None)


# -------------------------------------------------------------------------------------------------------- laws


@given(programs())
@law
def test_the_auditor_agrees_with_every_result_and_every_balance(program: list[tuple[int, Command]]) -> None:
    desk, auditor = Desk(), Auditor()
    for now_ms, command in program:
        decision = desk.apply(command, now_ms)
        results, expected = read_results(decision.answer), auditor.decide(command, now_ms)
        for result in results:
            event(result.word)
        assert list(results) == expected
        assert decision.refusals == sum(result.refusal is not None for result in results)
        book = desk.book
        assert {one.id: one for one in book.accounts} == auditor.opened
        assert {
            one.id: balance for one, balance in zip(book.accounts, book.balances, strict=True)
        } == auditor.balances
        assert {key: Pledge(h.source, h.target, h.amount, h.expires_ms) for key, h in book.holds.items()} == (
            auditor.pledges
        )
        assert set(book.reversals) == auditor.reversed
        assert book.size == auditor.size == len(desk.journal)


@given(programs())
@law
def test_a_column_gives_what_its_rows_give_to_the_last_byte(program: list[tuple[int, Command]]) -> None:
    desk, plain_desk = Desk(), Desk()
    for now_ms, command in program:
        salts = sum(len(one.legs) + 1 for one in desk.journal)
        first = len(desk.journal)
        decision, rows = desk.apply(command, now_ms), plain_desk.apply(in_rows(command), now_ms)
        assert decision.answer == rows.answer
        assert decision.refusals == rows.refusals
        assert desk.book == plain_desk.book
        assert (desk.book.due_ms, desk.journal) == (plain_desk.book.due_ms, plain_desk.journal)
        if decision.entries:
            sealed = segment_of(*decision.entries, first_sequence=first, first_salt=salts)
            assert sealed == segment_of(*rows.entries, first_sequence=first, first_salt=salts)


@given(programs())
@law
def test_money_is_neither_made_nor_lost_and_no_limit_is_broken(program: list[tuple[int, Command]]) -> None:
    desk = Desk()
    for now_ms, command in program:
        before = desk.book, list(desk.book.balances)
        desk.apply(command, now_ms)
        book = desk.book
        assert all(debits == credits for debits, credits in book.trial_balance().values())
        for account, balance, held in zip(book.accounts, book.balances, book.held, strict=True):
            assert abs(balance) <= AMOUNT_MAX
            assert account.limit.allows(balance)
            assert account.limit.allows(balance - held)
        assert list(before[0].balances) == before[1]


@given(programs())
@law
def test_what_was_held_is_open_or_paid_or_given_back(program: list[tuple[int, Command]]) -> None:
    desk = Desk()
    for now_ms, command in program:
        before = desk.book.holds
        decision = desk.apply(command, now_ms)
        now_open: Counter[str] = Counter()
        for hold in desk.book.holds.values():
            now_open[hold.source.unit] += hold.amount
        if not decision.answer.startswith("BATCH_TOO_LONG"):
            left = [hold for key, hold in before.items() if desk.book.holds.get(key) == hold]
            assert not any(0 < hold.expires_ms <= now_ms for hold in left)
        for unit, account in HELD_OF.items():
            assert desk.book.balance(account) == now_open[unit]
        ended = [
            one
            for one in desk.journal
            if one.step and one.step.verb in {Verb.POST, Verb.RELEASE, Verb.EXPIRE}
        ]
        put = [one for one in desk.journal if one.step and one.step.verb is Verb.HOLD]
        names = [one.step.names for one in ended if one.step]
        assert len(set(names)) == len(names)
        assert {one.entry_id for one in put} - set(names) == set(desk.book.holds)
        for one in ended:
            assert one.step is not None
            amount = next(h.legs[0].amount for h in put if h.entry_id == one.step.names)
            assert amount == one.legs[0].amount == -sum(leg.amount for leg in one.legs[1:])


@given(programs())
@law
def test_the_same_program_once_more_posts_nothing_that_was_recorded(
    program: list[tuple[int, Command]],
) -> None:
    desk = Desk()
    first = [read_results(desk.apply(command, now_ms).answer) for now_ms, command in program]
    last_ms = program[-1][0]
    ids = [one.entry_id for one in desk.journal]
    assert len(set(ids)) == len(ids)
    for (_, command), before in zip(program, first, strict=True):
        alone = replace(in_rows(command), linked=frozenset())
        if len(alone) > ITEMS_MAX or {result.word for result in before} == {"BATCH_TOO_LONG"}:
            continue
        again_results = read_results(desk.apply(alone, last_ms).answer)
        for one, other in zip(before, again_results, strict=True):
            if one.refusal is None:
                assert (other.word, other.sequence) == ("EXISTS", one.sequence)


@given(programs())
@law
def test_replay_of_the_sealed_bytes_gives_the_same_entries_and_the_same_book(
    program: list[tuple[int, Command]],
) -> None:
    desk, book, directory, salts = Desk(), Book(), Directory(), 0
    for now_ms, command in program:
        first = len(desk.journal)
        decision = desk.apply(command, now_ms)
        if not decision.entries:
            continue
        records = list(
            directory.records(segment_of(*decision.entries, first_sequence=first, first_salt=salts))
        )
        salts += salts_used(records)
        assert [one for r in records for one in entries_of(r, directory.known)] == desk.journal[first:]
        assert count(records) == count(decision.entries)
        for record in records:
            book = fold(book, record)
        assert book == desk.book


# ---------------------------------------------------------------------------------- are the programs any good?


def counting(tally: Counter[str], name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any) -> Any:
        tally[name] += 1
        return call(*arguments)

    return counted


def test_the_programs_meet_every_result_and_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    words, paths, calls = Counter[str](), Counter[str](), Counter[str]()
    monkeypatch.setattr(batch, "_in_columns", counting(calls, "column", batch._in_columns))
    monkeypatch.setattr(columns, "_one_by_one", counting(calls, "at risk", columns._one_by_one))

    @settings(max_examples=150, derandomize=True, database=None, deadline=None, phases=[Phase.generate])
    @given(programs())
    def count_all(program: list[tuple[int, Command]]) -> None:
        desk = Desk()
        for now_ms, command in program:
            calls.clear()
            results = read_results(desk.apply(command, now_ms).answer)
            assert desk.book.size >= len(OPENING)
            words.update(result.word for result in results)
            if isinstance(command, Transfers) and len(command):
                paths["at risk" if calls["at risk"] else "at once" if calls["column"] else "sequential"] += 1

    count_all()
    missing = {"POSTED", "EXISTS", *(refusal.value for refusal in Refusal)} - set(words)
    assert not missing, (missing, words)
    assert words["POSTED"] * 4 > words.total(), words
    assert min(paths[path] for path in ("at once", "at risk", "sequential")) * 10 > paths.total(), paths
