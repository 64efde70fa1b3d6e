"""Does the journal still say what was hashed? Everything is derived again from the stored bytes.

Checked for each segment: its place, its length, and the root after it. Checked for each entry: its
place in the sequence, its legs against the legs root, its body against the body hash, and that it
posts (balanced, known accounts, limits kept), and that it has the answer of the request that it names. Checked
in the end: every answer has its entries, every row of the history is what the journal says, and so is every leaf
in the tiles, if they are given. What an answer says stands in no leaf: it is not checked.

The first sequence at which something differs is named: that of the entry, or the first of the segment
where only the root speaks (kind, time and id of an entry). What was rewritten as a whole, hashes
and roots included, agrees with itself; a checkpoint that was signed before does not agree with it.
"""

from bisect import bisect_right
from dataclasses import dataclass

from sqlalchemy import Connection

from ledger.book import Book
from ledger.checkpoint import NoteRefused
from ledger.columns import Refused, post_record
from ledger.leaf import RecordMalformed
from ledger.merkle import Frontier
from ledger.seal import salts_used
from ledger.store.differs import Differs
from ledger.store.queries import (
    Directory,
    Segment,
    answered_size,
    answers_between,
    next_answer,
    read_segments,
)
from ledger.store.tile_files import TileFiles, leaves_from
from ledger.store.verify_history import history_differs
from ledger.tiles import TileRefused
from ledger.transfers import count

ANSWERS_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A journal that holds: its size and root, and the book that it leads to."""

    size: int
    root: bytes
    book: Book


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the journal was followed."""

    frontier: Frontier
    salts: int
    book: Book
    requests: tuple[tuple[int, str], ...] = ()
    """Of each record of the last segment: where it ends, and the request that it names."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Entries from ``start`` on whose answers are to be looked for: where each record ends, and whose it is."""

    start: int
    named: list[tuple[int, str]]


def verify(connection: Connection, files: TileFiles | None = None) -> Verified | Differs:
    """Check the whole journal in ``connection``, the history, and the tiles in ``files``.

    A writer may go on writing meanwhile.
    """
    found = _verify_journal(connection)
    if isinstance(found, Differs):
        return found
    return history_differs(connection) or (files and _tiles_differ(connection, files)) or found


def _verify_journal(connection: Connection) -> Verified | Differs:
    directory = Directory()
    reached, asked = Reached(Frontier(), 0, Book()), Asked(0, [])
    answered = answered_size(connection)  # first: what is committed from now on may only be more
    for segment in read_segments(connection):
        after = _follow(segment, reached, directory)
        if isinstance(after, Differs):
            return _answers_differ(connection, asked) or after
        reached = after
        asked.named.extend(after.requests)
        if len(asked.named) >= ANSWERS_AT_ONCE:
            unanswered = _answers_differ(connection, asked)
            if unanswered is not None:
                return unanswered
            asked = Asked(after.frontier.size, [])
    unanswered = _answers_differ(connection, asked)
    if unanswered is not None:
        return unanswered
    size = reached.frontier.size
    if size < answered:
        return Differs(size, f"answers speak of {answered} entries and the journal ends here")
    return Verified(size=size, root=reached.frontier.root(), book=reached.book)


def _answers_differ(connection: Connection, asked: Asked) -> Differs | None:
    """The first of these entries that does not have the answer of its own request.

    Every entry came of a request, and a request is decided at once: answers follow each other without a gap, and none
    goes on in another segment.
    """
    start, named = asked.start, asked.named
    if not named:
        return None
    journal_end = named[-1][0]
    answers, sequence, before = answers_between(connection, start, journal_end), start, ""
    for name, first, end in answers:
        if first < sequence:
            both = f"the answers to the requests {before} and {name} both claim it"
            return Differs(first, both if before else _claims(name, first, end))
        if first > sequence:
            return Differs(sequence, "the answer to its request is not there")
        sequence, before = end, name
    if sequence != journal_end:
        other = next_answer(connection, sequence)
        claims = other is not None and other[1] <= sequence
        return Differs(
            sequence, _claims(*other) if other and claims else "the answer to its request is not there"
        )
    ends, sequence = [end for _, _, end in answers], start
    for end, request in named:
        name, first, answered_end = answers[bisect_right(ends, sequence)]
        if request and (request != name or end > answered_end):
            return Differs(sequence, f"it is of request {request}, and {_claims(name, first, answered_end)}")
        sequence = end
    return None


def _claims(request: str, first: int, end: int) -> str:
    return f"the answer to request {request} claims the entries {first} to {end - 1}"


def _tiles_differ(connection: Connection, files: TileFiles) -> Differs | None:
    """The first leaf that the tiles and the journal do not have alike, up to the checkpoint that is shown."""
    sequence = 0
    try:
        tree = files.tree()
        journal = leaves_from(connection, 0)
        for leaf in tree.leaves():
            if leaf != next(journal, None):
                return Differs(sequence, "the tiles have another leaf than the journal")
            sequence += 1
    except (TileRefused, NoteRefused) as error:
        return Differs(sequence, f"the tiles do not hold: {error}")
    return None


def _follow(segment: Segment, reached: Reached, directory: Directory) -> Reached | Differs:
    start = sequence = reached.frontier.size
    if (segment.first_sequence, segment.first_salt) != (start, reached.salts):
        return Differs(start, f"the next segment claims to start at {segment.first_sequence}")
    book, salts, requests = reached.book, reached.salts, list[tuple[int, str]]()
    try:
        for record in directory.records(segment):
            after = post_record(book, record)
            if isinstance(after, Refused):
                return Differs(sequence + after.offset, f"the entry does not post: {after.refusal.value}")
            book, salts, sequence = after, salts + salts_used((record,)), sequence + count((record,))
            requests.append((sequence, record.request_id))
    except RecordMalformed as error:
        return Differs(sequence, str(error))
    frontier = reached.frontier.extend(segment.leaf_hashes())
    if frontier.root() != segment.root:
        return Differs(start, "the leaves of the segment do not hash to its stored root")
    return Reached(frontier, salts, book, tuple(requests))
