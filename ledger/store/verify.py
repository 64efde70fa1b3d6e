"""Does the journal still say what was hashed? Everything is derived again from the stored bytes.

Checked for each segment: its place, its length, and the root after it. Checked for each entry: its
place in the sequence, its legs against the legs root, its body against the body hash, and that it
posts (balanced, known accounts, limits kept). Checked in the end: every answer has its entries.

The first sequence at which something differs is named: that of the entry, or the first of the segment
where only the root speaks (kind, time and id of an entry). What was rewritten as a whole, hashes
and roots included, agrees with itself; a checkpoint that was signed before does not agree with it.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from ledger.book import Book
from ledger.columns import Refused, post_record
from ledger.leaf import RecordMalformed
from ledger.merkle import Frontier
from ledger.seal import salts_used
from ledger.store.queries import Directory, Segment, answered_size, read_segments
from ledger.transfers import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A journal that holds: its size and root, and the book that it leads to."""

    size: int
    root: bytes
    book: Book


@dataclass(frozen=True, slots=True)
class Differs:
    """The first place at which the journal does not hold, and why."""

    sequence: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reached:
    """How far the journal was followed."""

    frontier: Frontier
    salts: int
    book: Book


def verify(connection: Connection) -> Verified | Differs:
    """Check the whole journal in ``connection``. A writer may go on writing meanwhile."""
    directory = Directory()
    reached = Reached(Frontier(), 0, Book())
    answered = answered_size(connection)  # first: what is committed from now on may only be more
    for segment in read_segments(connection):
        after = _follow(segment, reached, directory)
        if isinstance(after, Differs):
            return after
        reached = after
    size = reached.frontier.size
    if size < answered:
        return Differs(size, f"answers speak of {answered} entries and the journal ends here")
    return Verified(size=size, root=reached.frontier.root(), book=reached.book)


def _follow(segment: Segment, reached: Reached, directory: Directory) -> Reached | Differs:
    start = sequence = reached.frontier.size
    if (segment.first_sequence, segment.first_salt) != (start, reached.salts):
        return Differs(start, f"the next segment claims to start at {segment.first_sequence}")
    book, salts = reached.book, reached.salts
    try:
        for record in directory.records(segment):
            after = post_record(book, record)
            if isinstance(after, Refused):
                return Differs(sequence + after.offset, f"the entry does not post: {after.refusal.value}")
            book, salts, sequence = after, salts + salts_used((record,)), sequence + count((record,))
    except RecordMalformed as error:
        return Differs(sequence, str(error))
    frontier = reached.frontier.extend(segment.leaf_hashes())
    if frontier.root() != segment.root:
        return Differs(start, "the leaves of the segment do not hash to its stored root")
    return Reached(frontier, salts, book)
