"""The anchor guards the journal of either database, and one process at a time moves it."""

from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import event

from ledger.checkpoint import Checkpoint, checkpoint_body, sign_note
from ledger.merkle import leaf_hash, tree_root
from ledger.store import public_log
from ledger.store.anchor import Anchor, AnchorReason, AnchorRefused
from ledger.store.connect import LeaseHeld, StoreUnreachable, beside, open_store
from ledger.store.public_log import PublicLog, require_goes_on
from ledger.store.tile_files import leaves_from
from tests.ledgers import ALICE, MINT, OPENING, connected, ledger_at, open_database, paid

ORIGIN = "house.example/journal"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SIZE = 12


def sign(size: int, root: bytes) -> bytes:
    return sign_note(checkpoint_body(Checkpoint(origin=ORIGIN, size=size, root=root)), ORIGIN, KEY)


@pytest.fixture
def journal(url: str) -> str:
    """Twelve entries in segments of three."""
    with ledger_at(url) as ledger:
        for first in range(0, SIZE, 3):
            payments = [paid(number, MINT, ALICE, number) for number in range(max(1, first), first + 3)]
            ledger.post(f"payments/{first}", *([] if first else [OPENING]), *payments)
    return url


def root_at(url: str, size: int) -> bytes:
    with connected(url) as connection:
        leaves = list(leaves_from(connection, 0))
    return tree_root([leaf_hash(leaf) for leaf in leaves[:size]])


def signed(path: Path, size: int, root: bytes) -> Path:
    Anchor(path).advance(size, root)
    return path


def ask(url: str, anchor: Path) -> list[str]:
    """Ask the anchor about the journal; the statements that this took."""
    database, statements = open_store(url), list[str]()
    event.listen(database, "before_cursor_execute", lambda *args: statements.append(args[2]))
    try:
        require_goes_on(database, anchor)
    finally:
        database.dispose()
    return statements


def reason_of(url: str, anchor: Path) -> AnchorReason:
    with pytest.raises(AnchorRefused) as refused:
        ask(url, anchor)
    assert "Nothing was written" in str(refused.value)
    return refused.value.reason


@pytest.mark.parametrize("size", [0, 1, 3, 8, 9, 12])
def test_a_journal_goes_on_from_what_was_signed_wherever_that_ends(
    journal: str, tmp_path: Path, size: int
) -> None:
    ask(journal, signed(tmp_path / "anchor", size, root_at(journal, size)))


@pytest.mark.parametrize("size", [1, 3, 8, 9, 12])
def test_a_journal_that_went_another_way_is_refused_wherever_that_began(
    journal: str, tmp_path: Path, size: int
) -> None:
    assert reason_of(journal, signed(tmp_path / "anchor", size, bytes(32))) is AnchorReason.JOURNAL_DIFFERS


def test_a_shorter_journal_is_refused(journal: str, tmp_path: Path) -> None:
    anchor = signed(tmp_path / "anchor", SIZE + 1, bytes(32))
    assert reason_of(journal, anchor) is AnchorReason.JOURNAL_SHORTER


def test_a_database_without_tables_is_an_empty_journal(url: str, tmp_path: Path) -> None:
    ask(url, tmp_path / "anchor")
    anchor = signed(tmp_path / "anchor", 1, bytes(32))
    assert reason_of(url, anchor) is AnchorReason.JOURNAL_SHORTER


def test_the_root_that_replay_has_checked_serves_and_no_leaf_is_hashed_again(
    journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[int] = []
    monkeypatch.setattr(public_log, "root_at", lambda _connection, size: hashed.append(size))
    ask(journal, signed(tmp_path / "nine", 9, root_at(journal, 9)))
    assert hashed == []
    assert reason_of(journal, signed(tmp_path / "eight", 8, bytes(32))) is AnchorReason.JOURNAL_DIFFERS
    assert hashed == [8]


def test_asking_the_anchor_reads_a_row_however_long_the_journal_is(journal: str, tmp_path: Path) -> None:
    statements = ask(journal, signed(tmp_path / "anchor", 9, root_at(journal, 9)))
    read = [statement for statement in statements if "FROM segments" in statement]
    assert read
    assert all("LIMIT" in statement and "leaves" not in statement for statement in read)


def test_one_process_moves_an_anchor_until_it_ends(journal: str, tmp_path: Path) -> None:
    database, tiles, anchor = open_database(journal), tmp_path / "tiles", tmp_path / "anchor"
    with closing(PublicLog(database, tiles, anchor)):
        with pytest.raises(LeaseHeld, match="another process moves the anchor"):
            PublicLog(database, tmp_path / "other tiles", anchor)
        PublicLog(database, tiles, tmp_path / "other").close()
    first = PublicLog(database, tiles, anchor)
    first.close()
    first.close()
    database.dispose()


def test_a_refused_log_lets_go_of_its_anchor(journal: str, tmp_path: Path) -> None:
    database, anchor = open_database(journal), signed(tmp_path / "anchor", 3, bytes(32))
    for _ in range(2):
        with pytest.raises(AnchorRefused):
            PublicLog(database, tmp_path / "tiles", anchor)
    database.dispose()


def test_a_disk_that_fails_is_told_and_the_same_call_goes_on_once_it_is_there(
    journal: str, tmp_path: Path
) -> None:
    database, tiles = open_database(journal), tmp_path / "tiles"
    tiles.write_bytes(b"in the way")
    with closing(PublicLog(database, tiles, tmp_path / "anchor")) as log:
        with pytest.raises(StoreUnreachable, match="cannot be read or written"):
            log.show(9, root_at(journal, 9), sign)
        assert log.anchor.size == 0
        tiles.unlink()
        assert log.show(9, root_at(journal, 9), sign) == log.checkpoint()
        assert (log.anchor.size, log.tree().size) == (9, 9)
    database.dispose()


def test_a_store_that_fails_is_told(url: str, tmp_path: Path) -> None:
    database = open_store(url)  # it has no tables
    with (
        closing(PublicLog(database, tmp_path / "tiles", tmp_path / "anchor")) as log,
        pytest.raises(StoreUnreachable, match="cannot be read"),
    ):
        log.show(1, bytes(32), sign)
    assert not (tmp_path / "anchor").exists()
    database.dispose()


def test_only_a_file_has_a_place_beside_it(tmp_path: Path) -> None:
    assert beside(f"sqlite:///{tmp_path / 'house.db'}", ".anchor") == tmp_path / "house.db.anchor"
    (tmp_path / "link.db").symlink_to(tmp_path / "house.db")
    assert beside(f"sqlite:///{tmp_path / 'link.db'}", ".anchor") == tmp_path / "house.db.anchor"
    assert beside("postgresql://u@h/db", ".anchor") is None
