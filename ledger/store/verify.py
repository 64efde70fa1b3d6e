"""Does the journal still say what was hashed? Everything is derived again from the stored bytes.

Checked for each segment: its place, its length, and the root after it. Checked for each entry: its
place in the sequence, its legs against the legs root, its body against the body hash, and that it
posts (balanced, known accounts, limits kept). Checked in the end: every answer has its entries, every row of
the history is what the journal says, and so is every leaf in the tiles, if they are given.

The first sequence at which something differs is named: that of the entry, or the first of the segment
where only the root speaks (kind, time and id of an entry). What was rewritten as a whole, hashes
and roots included, agrees with itself; a checkpoint that was signed before does not agree with it.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from ledger.book import Book
from ledger.checkpoint import NoteRefused
from ledger.columns import Refused, post_record
from ledger.leaf import RecordMalformed
from ledger.merkle import Frontier
from ledger.seal import salts_used
from ledger.store.differs import Differs
from ledger.store.queries import Directory, Segment, answered_size, read_segments
from ledger.store.tile_files import TileFiles, leaves_from
from ledger.store.verify_history import history_differs
from ledger.tiles import TileRefused
from ledger.transfers import count


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
