"""Receipts of what stands in a journal, for whoever it belongs to (attestation.md §4)."""

from collections.abc import Iterable

from sqlalchemy import Connection, LargeBinary, cast, func, select

from ledger.account import AccountId
from ledger.leaf import LEAF_BYTES, LEG_BYTES, decode_leaf, decode_leg, split_records
from ledger.receipt import LegReceipt, prove_entry, show_legs
from ledger.store.queries import read_segments
from ledger.store.tables import segments
from ledger.tiles import TiledTree


def receipt_of_legs(
    connection: Connection, tree: TiledTree, note: bytes, sequence: int, account: AccountId
) -> LegReceipt:
    """The receipt of all legs of ``account`` in the entry ``sequence``, under ``note``, the checkpoint of ``tree``.

    Raises what ``prove_entry`` and ``show_legs`` raise.
    """
    return show_legs(prove_entry(tree, sequence, note), _legs_of(connection, sequence), account)


def newest_entries(connection: Connection, accounts: Iterable[AccountId]) -> dict[AccountId, int]:
    """The last entry that has a leg of each of ``accounts``, as far as there is one. Reads the whole journal."""
    wanted, newest = frozenset(accounts), dict[AccountId, int]()
    for segment in read_segments(connection):
        at = 0
        for record in split_records(segment.leaves, LEAF_BYTES):
            leaf, start = decode_leaf(record), at
            at += leaf.leg_count * LEG_BYTES
            moved = {decode_leg(leg).account_id for leg in split_records(segment.legs[start:at], LEG_BYTES)}
            newest |= dict.fromkeys(moved & wanted, leaf.sequence)
    return newest


def _legs_of(connection: Connection, sequence: int) -> list[bytes]:
    """The leg records of an entry that the journal has."""
    first, leaves, legs = segments.c.first_sequence, segments.c.leaves, segments.c.legs
    holding = select(func.max(first)).where(first <= sequence).scalar_subquery()
    columns = first, cast(leaves, LargeBinary), cast(legs, LargeBinary)
    start, leaves_of, legs_of = connection.execute(select(*columns).where(first == holding)).one()
    counts = [decode_leaf(record).leg_count for record in split_records(leaves_of, LEAF_BYTES)]
    before = sum(counts[: sequence - start])
    return split_records(legs_of, LEG_BYTES)[before : before + counts[sequence - start]]
