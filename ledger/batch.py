"""What callers ask of the ledger, and what comes of it: the one decider of a ledger that stands alone.

A batch gives one result per item, in the order given. Rules kept here, in the order in which they are checked;
those of ``entry`` and ``book`` follow:

a. the batch has at most ``BATCH_MAX`` items and ``BATCH_LEGS_MAX`` legs, and what all items say alike has at
   most ``BATCH_BODIES_MAX`` bytes, counted once for each
b. a chain (items that are linked, each to the next) ends within the batch, and stands or falls as a whole
c. an id that was recorded before, with the same body, is answered what it was answered then, and with
   another body is refused; what was refused left no trace and may be sent again

Holds whose time has come are given back first, by entries of their own: the earliest ``EXPIRED_MAX`` of them,
the others by the commands that follow. None of them can be posted any more.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from itertools import groupby
from typing import TypeAlias

import numpy as np

from ledger.account import Account, AccountId
from ledger.amount import AMOUNT_MAX
from ledger.book import Book, end_hold_legs, hold_legs, holds_account, is_due, post
from ledger.columns import REFUSALS, Codes, post_columns
from ledger.decision import Decision
from ledger.entry import (
    ENTRY_ID_BYTES,
    KIND_MAX,
    LEGS_MAX,
    OWN_ID,
    Entry,
    Leg,
    Refusal,
    Step,
    Verb,
    is_callers_id,
    transfer,
)
from ledger.leaf import Body, RecordMalformed, body_text, is_fact
from ledger.require import InvariantViolated
from ledger.transfers import Keys, Transfers

BATCH_MAX = 10_000
BATCH_LEGS_MAX = LEGS_MAX
BODY_BYTES_MAX = 2**20
BATCH_BODIES_MAX = 2**26
"""Bytes of what all entries of a batch say alike: it comes once and is written with each of them."""
COLUMN_MIN = 4
"""Fewer rows are faster one by one: judging a column costs 0.4 ms, whatever its length."""
EXPIRED_MAX = 1_000
EXPIRED_KIND = 1
"""Kind of the entries that give back a hold whose time has come."""


# ----------------------------------------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """Debit one account and credit another, both named by their ids (a row of ``Transfers``)."""

    entry_id: bytes
    kind: int
    debited: bytes
    credited: bytes
    amount: int
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceHold:
    """Set ``amount`` of ``source`` aside for ``target`` until it is posted or released, or the time
    ``expires_ms`` has come (0: never).
    """

    entry_id: bytes
    kind: int
    source: Account
    target: Account
    amount: int
    expires_ms: int = 0
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostHold:
    """Pay ``amount`` of what ``hold_id`` holds to its target, all of it if None; the rest goes back."""

    entry_id: bytes
    kind: int
    hold_id: bytes
    amount: int | None = None
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseHold:
    """Give back what ``hold_id`` holds."""

    entry_id: bytes
    kind: int
    hold_id: bytes
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reverse:
    """Post the legs of the entry ``reversed_id`` once more, with debits and credits exchanged."""

    entry_id: bytes
    kind: int
    reversed_id: bytes
    references: tuple[str, ...] = ()


Item: TypeAlias = "Entry | Transfer | PlaceHold | PostHold | ReleaseHold | Reverse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Items in order. Those whose places are in ``linked`` stand or fall with the next item.

    ``request_id`` and ``actor`` are recorded with every entry, whatever an item says there.
    """

    items: tuple[Item, ...]
    linked: frozenset[int] = frozenset()
    request_id: str = ""
    actor: str = ""

    def __len__(self) -> int:
        return len(self.items)

    def names(self) -> Iterator[bytes]:
        """The ids of entries that the outcome may depend on."""
        for item in self.items:
            yield item.entry_id
            if isinstance(item, Reverse):
                yield item.reversed_id


Command: TypeAlias = "Batch | Transfers"


def digest(command: Command) -> bytes:
    """SHA-256 over all that ``command`` says: what "the same request" means."""
    if isinstance(command, Transfers):
        said = [command.kind, command.actor, command.references, sorted(command.linked)]
        columns = (command.ids, command.debits, command.credits)
        hasher = hashlib.sha256(json.dumps(said).encode())
        for column in columns:
            hasher.update(column.tobytes())
        hasher.update(",".join(map(str, command.amounts.tolist())).encode())
        return hasher.digest()
    text = json.dumps(
        [
            command.actor,
            sorted(command.linked),
            [[type(item).__name__, *_said(item)] for item in command.items],
        ],
        sort_keys=True,
        default=_said,
    )
    return hashlib.sha256(text.encode()).digest()


def _said(value: object) -> list[object]:
    """The fields of a value that JSON does not know; a fact that is none says no more than that (a number)."""
    if isinstance(value, Entry) and not is_fact(value.fact):
        return [*_said(replace(value, fact=None)), 0]
    if isinstance(value, bytes):
        return [value.hex()]
    if isinstance(value, Enum):
        return [value.value]
    if isinstance(value, Account):
        return [value.path, value.unit, value.side, value.limit]
    return [getattr(value, one.name) for one in fields(value)]  # type: ignore[arg-type]  # all others are dataclasses


# ------------------------------------------------------------------------------------------------------ results


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an item: the sequence of its entry, or why there is none.

    ``existed`` is true if the entry had been recorded before and this is what was answered then.
    """

    sequence: int = -1
    existed: bool = False
    refusal: Refusal | None = None

    @property
    def word(self) -> str:
        """POSTED, EXISTS, or the name of the refusal."""
        if self.refusal is not None:
            return self.refusal.value
        return "EXISTS" if self.existed else "POSTED"


def read_results(answer: str) -> tuple[Result, ...]:
    """The results that :func:`apply` wrote as its answer, one per item.

    The text is made of runs ``WORD[@sequence][*count]``; the sequence is that of the first of the run.
    """
    return tuple(result for run in answer.split() for result in _run(run))


def _run(text: str) -> Iterator[Result]:
    head, _, count = text.partition("*")
    word, _, sequence = head.partition("@")
    for offset in range(int(count or 1)):
        if sequence:
            yield Result(int(sequence) + offset, word == "EXISTS")
        else:
            yield Result(refusal=Refusal(word))


def _write_results(results: Sequence[Result]) -> str:
    def run(place: int) -> tuple[str, int]:
        result = results[place]
        return result.word, result.sequence - place if result.refusal is None else 0

    return " ".join(
        _written(results[places[0]], len(places))
        for places in (list(group) for _, group in groupby(range(len(results)), run))
    )


def _written(first: Result, count: int) -> str:
    sequence = "" if first.refusal is not None else f"@{first.sequence}"
    return f"{first.word}{sequence}" + (f"*{count}" if count > 1 else "")


# ------------------------------------------------------------------------------------------------------ decider


@dataclass(frozen=True, slots=True)
class Recorded:
    """An entry that stands in the journal, and where."""

    sequence: int
    entry: Entry


Known: TypeAlias = Mapping[bytes, Recorded]
"""By id: the recorded entries among those that a command names (``Batch.names``, ``Transfers.ids``)."""


def apply(book: Book, command: Command, now_ms: int, known: Known) -> Decision[Book]:
    """Post what of ``command`` can be posted. ``now_ms`` is the effective time of all its entries."""
    if (refusal := _too_long(command)) is not None:
        answer = _write_results([Result(refusal=refusal)] * len(command))
        return Decision(state=book, entries=(), answer=answer, refusals=len(command))
    given_back = _give_back(book, now_ms)
    book = given_back.book
    if isinstance(command, Transfers):
        rows = command.dated(now_ms)
        is_long = len(rows) >= COLUMN_MIN
        if is_long and not (known or rows.linked or _body_refusal(_alike(rows))) and _all_differ(rows.ids):
            return _in_columns(book, rows, given_back.entries)
        command = _as_batch(rows)
    done = _Posting(book, command, now_ms, known)
    done.run()
    return Decision(
        state=done.book,
        entries=(*given_back.entries, *done.entries),
        answer=_write_results(done.results),
        refusals=sum(result.refusal is not None for result in done.results),
    )


def _too_long(command: Command) -> Refusal | None:
    if len(command) > BATCH_MAX:
        return Refusal.BATCH_TOO_LONG
    can_be_too_much = len(command) * BODY_BYTES_MAX > BATCH_BODIES_MAX  # each alone is refused beyond that
    if can_be_too_much and len(command) * _body_bytes(_alike(command)) > BATCH_BODIES_MAX:
        return Refusal.BATCH_TOO_LONG
    if isinstance(command, Transfers):
        return None
    legs = sum(len(item.legs) for item in command.items if isinstance(item, Entry))
    return Refusal.BATCH_TOO_LONG if legs > BATCH_LEGS_MAX else None


# ------------------------------------------------------------------------------------------- a column at once


def _all_differ(ids: Keys) -> bool:
    """Whether no id stands there twice; false also if just its mixture of 64 bits does."""
    halves = np.ascontiguousarray(ids).view("<u8")
    mixed = halves[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ halves[:, 1]
    return len(np.unique(mixed)) == len(mixed)


def _in_columns(book: Book, rows: Transfers, before: tuple[Entry, ...]) -> Decision[Book]:
    first = book.size
    book, codes = post_columns(book, rows)
    posted = rows.take(np.flatnonzero(codes == 0))
    return Decision(
        state=book,
        entries=(*before, posted) if len(posted) else before,
        answer=_write_codes(codes, first),
        refusals=len(rows) - len(posted),
    )


def _write_codes(codes: Codes, first: int) -> str:
    """The answer that :func:`_write_results` would give, run by run."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    runs, sequence = [], first
    for start, end in zip(starts, [*starts[1:], len(codes)], strict=False):
        code = int(codes[start])
        refusal = REFUSALS[code - 1] if code else None
        runs.append(_written(Result(sequence, refusal=refusal), end - start))
        sequence += 0 if code else end - start
    return " ".join(runs)


def _body_bytes(body: Body) -> int:
    """How much is written with each entry; nothing of what is none, since no entry with it is written."""
    try:
        return len(body_text(body))
    except RecordMalformed:
        return 0


def _body_refusal(entry: Entry | Body) -> Refusal | None:
    try:
        size = len(body_text(entry))
    except RecordMalformed:
        return Refusal.ENTRY_MALFORMED
    return Refusal.ENTRY_TOO_LONG if size > BODY_BYTES_MAX else None


def _alike(command: Command) -> Body:
    """What every entry of ``command`` says."""
    references = command.references if isinstance(command, Transfers) else ()
    return Body(
        actor=command.actor, fact=None, opens=(), references=references, request_id=command.request_id
    )


def _as_batch(rows: Transfers) -> Batch:
    """The same, row by row."""
    items = (
        Transfer(
            entry_id=entry_id,
            kind=rows.kind,
            debited=debited,
            credited=credited,
            amount=amount,
            references=rows.references,
        )
        for entry_id, debited, credited, amount in rows.rows()
    )
    return Batch(items=tuple(items), linked=rows.linked, request_id=rows.request_id, actor=rows.actor)


# ------------------------------------------------------------------------------------------ one after the other


@dataclass(slots=True)
class _Posting:
    """A batch on its way into the book, item by item and chain by chain."""

    book: Book
    batch: Batch
    now_ms: int
    known: Known
    entries: list[Entry] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    recent: dict[bytes, Recorded] = field(default_factory=dict)

    def run(self) -> None:
        """Decide every item."""
        start, items = 0, self.batch.items
        while start < len(items):
            end = start + 1
            while end - 1 in self.batch.linked:
                end += 1
            if end > len(items):
                self.results += [Result(refusal=Refusal.CHAIN_OPEN)] * (len(items) - start)
            else:
                self._chain(items[start:end])
            start = end

    def _chain(self, items: tuple[Item, ...]) -> None:
        before, count = self.book, len(self.entries)
        results = [self._one(item) for item in items]
        if len(items) > 1 and not _stands(results):
            self.book = before
            for entry in self.entries[count:]:
                del self.recent[entry.entry_id]
            del self.entries[count:]
            results = [_fallen(result) for result in results]
        self.results += results

    def _one(self, item: Item) -> Result:
        if not is_callers_id(item.entry_id):
            return Result(refusal=Refusal.ENTRY_MALFORMED)
        first = self._recorded(item.entry_id)
        if first is not None:
            is_same = self.batch.actor == first.entry.actor and _agrees(item, first.entry)
            return Result(first.sequence, True) if is_same else Result(refusal=Refusal.ENTRY_ID_REUSED)
        entry = self._stamped(item)
        after = entry if isinstance(entry, Refusal) else _body_refusal(entry) or post(self.book, entry)
        if isinstance(entry, Refusal) or isinstance(after, Refusal):
            return Result(refusal=after if isinstance(after, Refusal) else Refusal.ENTRY_MALFORMED)
        done = Result(self.book.size)
        self.recent[entry.entry_id] = Recorded(done.sequence, entry)
        self.entries.append(entry)
        self.book = after
        return done

    def _recorded(self, entry_id: bytes) -> Recorded | None:
        return self.recent.get(entry_id) or self.known.get(entry_id)

    def _stamped(self, item: Item) -> Entry | Refusal:
        reversed_id = item.reversed_id if isinstance(item, Reverse) else b""
        entry = _entry_of(self.book, item, self._recorded(reversed_id), self.now_ms)
        if isinstance(entry, Refusal):
            return entry
        batch = self.batch
        return replace(entry, effective_ms=self.now_ms, request_id=batch.request_id, actor=batch.actor)


def _stands(results: Sequence[Result]) -> bool:
    """A chain stands if all of it is new and posts, or all of it was recorded before."""
    return all(r.refusal is None for r in results) and len({r.existed for r in results}) == 1


def _fallen(result: Result) -> Result:
    """The result of a link whose chain fell; one that was recorded before belongs to something else."""
    if result.refusal is not None:
        return result
    return Result(refusal=Refusal.ENTRY_ID_REUSED if result.existed else Refusal.LINKED_REFUSED)


def _entry_of(book: Book, item: Item, reversed_entry: Recorded | None, now_ms: int) -> Entry | Refusal:
    """The entry that ``item`` asks for, complete with its legs."""
    if isinstance(item, Entry):
        return item if item.step is None else Refusal.ENTRY_MALFORMED
    legs = _legs_of(book, item, reversed_entry, now_ms)
    if isinstance(legs, Refusal):
        return legs
    opens: tuple[Account, ...] = ()
    if isinstance(item, PlaceHold) and not book.knows(holds_account(item.source.unit)):
        opens = (holds_account(item.source.unit),)
    return Entry(
        entry_id=item.entry_id,
        kind=item.kind,
        effective_ms=0,
        legs=legs,
        opens=opens,
        step=_step_of(item),
        references=item.references,
    )


def _legs_of(
    book: Book,
    item: Transfer | PlaceHold | PostHold | ReleaseHold | Reverse,
    reversed_entry: Recorded | None,
    now_ms: int,
) -> tuple[Leg, ...] | Refusal:
    match item:
        case Transfer():
            return _transfer_legs(book, item)
        case PlaceHold():
            return _hold_legs(book, item)
        case PostHold() | ReleaseHold():
            return _end_legs(book, item, now_ms)
        case Reverse():
            return _reversed_legs(reversed_entry)


def _step_of(item: Item) -> Step | None:
    match item:
        case PlaceHold():
            return Step(Verb.HOLD, item.target.id, item.expires_ms)
        case PostHold():
            return Step(Verb.POST, item.hold_id)
        case ReleaseHold():
            return Step(Verb.RELEASE, item.hold_id)
        case Reverse():
            return Step(Verb.REVERSE, item.reversed_id)
        case Entry() | Transfer():
            return None


def _amount_refusal(amount: int) -> Refusal | None:
    if amount == 0:
        return Refusal.AMOUNT_ZERO
    return Refusal.AMOUNT_NEGATIVE if amount < 0 else None


def _transfer_legs(book: Book, item: Transfer) -> tuple[Leg, ...] | Refusal:
    if not 0 < item.kind <= KIND_MAX:
        return Refusal.ENTRY_MALFORMED
    if (refusal := _amount_refusal(item.amount)) is not None:
        return refusal
    if item.amount > AMOUNT_MAX:
        return Refusal.AMOUNT_OUT_OF_RANGE
    debited, credited = book.find(AccountId(item.debited)), book.find(AccountId(item.credited))
    if debited is None or credited is None:
        return Refusal.ACCOUNT_UNKNOWN
    return transfer(debited, credited, item.amount)


def _hold_legs(book: Book, item: PlaceHold) -> tuple[Leg, ...] | Refusal:
    if (refusal := _amount_refusal(item.amount)) is not None:
        return refusal
    if item.source.unit != item.target.unit:
        return Refusal.ENTRY_UNBALANCED
    if book.find(item.target.id) not in (None, item.target):  # the step has no more of it than its id
        return Refusal.ACCOUNT_DIFFERS
    return hold_legs(item.source, item.amount)


def _end_legs(book: Book, item: PostHold | ReleaseHold, now_ms: int) -> tuple[Leg, ...] | Refusal:
    hold = book.holds.get(item.hold_id)
    if hold is None:
        return Refusal.HOLD_NOT_OPEN
    if isinstance(item, ReleaseHold):
        return end_hold_legs(hold, 0)
    if is_due(hold, now_ms):
        return Refusal.HOLD_NOT_OPEN
    paid = hold.amount if item.amount is None else item.amount
    if (refusal := _amount_refusal(paid)) is not None:
        return refusal
    return Refusal.HOLD_EXCEEDED if paid > hold.amount else end_hold_legs(hold, paid)


def _reversed_legs(recorded: Recorded | None) -> tuple[Leg, ...] | Refusal:
    if recorded is None:
        return Refusal.REVERSED_UNKNOWN
    if recorded.entry.step is not None or not recorded.entry.legs:
        return Refusal.NOT_REVERSIBLE
    return tuple(replace(leg, amount=-leg.amount) for leg in recorded.entry.legs)


def _agrees(item: Item, entry: Entry) -> bool:
    """Whether ``entry`` is what ``item`` asks for."""
    if (item.kind, item.references) != (entry.kind, entry.references):
        return False
    match item:
        case Entry():
            said = (item.legs, item.opens, item.step, item.fact)
            return said == (entry.legs, entry.opens, entry.step, entry.fact)
        case Transfer():
            moved = tuple((leg.account.id, leg.amount) for leg in entry.legs)
            wanted = ((item.debited, item.amount), (item.credited, -item.amount))
            return moved == wanted and not entry.opens and entry.step is None and entry.fact is None
        case PlaceHold():
            wanted_legs = hold_legs(item.source, item.amount)
            return entry.step == _step_of(item) and entry.legs == wanted_legs
        case PostHold():
            if entry.step != _step_of(item):
                return False
            paid = entry.legs[0].amount if item.amount is None else item.amount
            return -entry.legs[1].amount == paid
        case ReleaseHold() | Reverse():
            return entry.step == _step_of(item)


# --------------------------------------------------------------------------------------------------- expiry


@dataclass(frozen=True, slots=True)
class _GivenBack:
    book: Book
    entries: tuple[Entry, ...]


def _give_back(book: Book, now_ms: int) -> _GivenBack:
    """Expire every hold whose time has come, the earliest first."""
    if book.due_ms is None or now_ms < book.due_ms:
        return _GivenBack(book, ())
    due = sorted((h.expires_ms, key) for key, h in book.holds.items() if is_due(h, now_ms))
    entries = []
    for _, hold_id in due[:EXPIRED_MAX]:
        entry = Entry(
            entry_id=OWN_ID + book.size.to_bytes(ENTRY_ID_BYTES - len(OWN_ID), "big"),
            kind=EXPIRED_KIND,
            effective_ms=now_ms,
            legs=end_hold_legs(book.holds[hold_id], 0),
            step=Step(Verb.EXPIRE, hold_id),
        )
        after = post(book, entry)
        if isinstance(after, Refusal):
            raise InvariantViolated(f"hold {hold_id.hex()} cannot be given back: {after.value}")
        entries.append(entry)
        book = after
    later = min((h.expires_ms for h in book.holds.values() if h.expires_ms), default=None)
    return _GivenBack(replace(book, due_ms=later), tuple(entries))
