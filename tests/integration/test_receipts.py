"""Receipts made of the journal and its tiles prove every account's part of every entry, and no other's."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoint import Checkpoint, checkpoint_body, sign_note, verifier_key
from ledger.entry import Entry, credit, debit
from ledger.merkle import EMPTY_ROOT, tree_root
from ledger.receipt import ReceiptReason, ReceiptRefused, verify_legs
from ledger.store.receipts import newest_entries, receipt_of_legs
from ledger.store.tile_files import leaves_from
from ledger.tiles import TiledTree
from tests.ledgers import ALICE, BOB, BTC_ALICE, MINT, OPENING, TILL, connected, entry, ledger_at, paid

ORIGIN = "house.example/journal"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
GROUPS: tuple[tuple[Entry, ...], ...] = (
    (OPENING, paid(1, MINT, ALICE, 100)),
    (paid(2, MINT, BOB, 50), entry(3, fact={"note": "nothing moves"})),
    (
        entry(4, debit(MINT, 30), credit(ALICE, 10), credit(BOB, 15), credit(ALICE, 8), debit(TILL, 3)),
        paid(5, ALICE, BOB, 5),
        paid(6, MINT, BOB, 1),
    ),
)
ENTRIES = [one for group in GROUPS for one in group]


@pytest.fixture
def journal(url: str) -> str:
    with ledger_at(url) as ledger:
        for number, group in enumerate(GROUPS):
            ledger.post(f"group/{number}", *group)
    return url


def test_every_account_of_every_entry_has_its_receipt(journal: str) -> None:
    files: dict[str, bytes] = {}
    with connected(journal) as connection:
        grown = TiledTree(0, EMPTY_ROOT, files.__getitem__)
        files.update((tile.path, data) for tile, data in grown.grow(leaves_from(connection, 0)))
        root = tree_of(files)
        tree = TiledTree(len(ENTRIES), root, files.__getitem__)
        body = checkpoint_body(Checkpoint(origin=ORIGIN, size=tree.size, root=tree.root))
        note, log_key = sign_note(body, ORIGIN, KEY), verifier_key(ORIGIN, KEY)
        for sequence, one in enumerate(ENTRIES):
            for account in {leg.account for leg in one.legs}:
                receipt = receipt_of_legs(connection, tree, note, sequence, account.id)
                proven = verify_legs(receipt, account=account.id, origin=ORIGIN, log_keys=[log_key])
                own = [(at, leg.amount) for at, leg in enumerate(one.legs) if leg.account == account]
                assert [(at, leg.amount) for at, leg in proven.legs] == own
        with pytest.raises(ReceiptRefused) as refused:
            receipt_of_legs(connection, tree, note, 2, ALICE.id)
    assert refused.value.reason is ReceiptReason.NO_LEGS


def tree_of(files: dict[str, bytes]) -> bytes:
    """The root of so small a log: its one tile has all hashes."""
    tile = files[f"tile/0/000.p/{len(ENTRIES)}"]
    return tree_root([tile[at : at + 32] for at in range(0, len(tile), 32)])


def test_the_newest_entry_of_each_account_is_found(journal: str) -> None:
    with connected(journal) as connection:
        found = newest_entries(connection, [ALICE.id, BOB.id, TILL.id, BTC_ALICE.id])
    assert found == {ALICE.id: 5, BOB.id: 6, TILL.id: 4}
