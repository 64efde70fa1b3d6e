"""The journal becomes tiles in a directory, whatever step the process is killed in.

After each kill: readers see the checkpoint before or the one after, with all of its tiles, never one that the
anchor does not have; and the same call again goes on.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.checkpoint import Checkpoint, NoteRefused, checkpoint_body, open_note, sign_note, verifier_key
from ledger.leaf import LEAF_BYTES, split_records
from ledger.merkle import EMPTY_ROOT, leaf_hash, tree_root
from ledger.store import tile_files
from ledger.store.anchor import Anchor, AnchorReason, AnchorRefused, put_file
from ledger.store.queries import read_segments
from ledger.store.tile_files import (
    SEGMENTS_READ,
    PublishReason,
    PublishRefused,
    TileFiles,
    leaves_from,
    publish,
    root_at,
)
from ledger.tiles import Tile, TileRefused, tiles_of
from tests.ledgers import ALICE, MINT, OPENING, behind_its_back, ledger_at, open_database, paid

ROOT = Path(__file__).parents[2]
ORIGIN = "house.example/journal"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG = verifier_key(ORIGIN, KEY)
STEPS = (100, 300, 600)
SIZE = 700
GROUP = 50


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


class Killed(BaseException):
    """The process is gone: nothing catches this."""


def sign(size: int, root: bytes) -> bytes:
    return sign_note(checkpoint_body(Checkpoint(origin=ORIGIN, size=size, root=root)), ORIGIN, KEY)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """700 entries in segments of 50."""
    path = tmp_path_factory.mktemp("journal") / "ledger.db"
    with ledger_at(url_of(path)) as ledger:
        for first in range(0, SIZE, GROUP):
            payments = [paid(number, MINT, ALICE, number) for number in range(max(1, first), first + GROUP)]
            ledger.post(f"payments/{first}", *([] if first else [OPENING]), *payments)
    return path


@pytest.fixture(scope="module")
def leaves(journal: Path) -> list[bytes]:
    database = open_database(url_of(journal))
    with database.connect() as connection:
        found = [leaf for one in read_segments(connection) for leaf in split_records(one.leaves, LEAF_BYTES)]
    database.dispose()
    assert len(found) == SIZE
    return found


class House:
    """What one house has on disk: a journal, a directory of tiles, an anchor."""

    def __init__(self, journal: Path, folder: Path) -> None:
        self.journal, self.folder = journal, folder
        self.directory, self.anchor_path = folder / "log", folder / "ledger.anchor"
        self.files = TileFiles(self.directory)

    def publish(
        self, size: int, *, root: bytes | None = None, sign: Callable[[int, bytes], bytes] = sign
    ) -> bytes:
        database = open_database(url_of(self.journal))
        try:
            with database.connect() as connection:
                root = root_at(connection, size) if root is None else root
                return publish(
                    connection, self.files, Anchor(self.anchor_path), size=size, root=root, sign=sign
                )
        finally:
            database.dispose()

    def paths(self) -> set[str]:
        return {str(file.relative_to(self.directory)) for file in self.directory.rglob("*") if file.is_file()}

    def require_whole(self, leaves: list[bytes]) -> int:
        """What is shown is signed, anchored, and all there. Gives its size."""
        note = self.files.checkpoint()
        tree = self.files.tree()
        if note is not None:
            shown = open_note(note, [LOG]).checkpoint
            assert (shown.size, shown.root) == (tree.size, tree.root)
        assert list(tree.leaves()) == leaves[: tree.size]
        anchor = Anchor(self.anchor_path)
        assert anchor.size >= tree.size
        assert anchor.root == tree_root([leaf_hash(leaf) for leaf in leaves[: anchor.size]])
        return tree.size


@pytest.fixture
def house(journal: Path, tmp_path: Path) -> House:
    return House(journal, tmp_path)


# --------------------------------------------------------------------------------------------- a good day


def test_the_directory_shows_the_journal_step_by_step(house: House, leaves: list[bytes]) -> None:
    for size in (*STEPS, SIZE):
        assert house.publish(size) == house.files.checkpoint() == sign(size, house.files.tree().root)
        assert house.require_whole(leaves) == Anchor(house.anchor_path).size == size
    assert house.paths() >= {tile.path for tile in tiles_of(SIZE)} | {"checkpoint"}


def test_what_grew_in_steps_is_what_was_written_at_once(
    house: House, journal: Path, tmp_path: Path, leaves: list[bytes]
) -> None:
    at_once = House(journal, tmp_path / "other")
    at_once.folder.mkdir()
    at_once.publish(SIZE)
    for size in range(1, SIZE, 37):
        house.publish(size)
    house.publish(SIZE)
    assert at_once.paths() == {tile.path for tile in tiles_of(SIZE)} | {"checkpoint"}
    for path in at_once.paths():
        assert (house.directory / path).read_bytes() == (at_once.directory / path).read_bytes()


def test_a_partial_tile_stays_until_the_full_one_is_there(house: House) -> None:
    house.publish(100)
    house.publish(200)
    assert {"tile/0/000.p/100", "tile/0/000.p/200", "tile/entries/000.p/200"} <= house.paths()
    house.publish(256)
    assert house.paths() == {"checkpoint", "tile/0/000", "tile/entries/000", "tile/1/000.p/1"}
    assert not (house.directory / "tile/0/000.p").exists()


def test_a_copy_of_the_directory_is_enough(house: House, leaves: list[bytes], tmp_path: Path) -> None:
    house.publish(600)
    copy = TileFiles(shutil.copytree(house.directory, tmp_path / "copy"))
    shutil.rmtree(house.directory)
    assert list(copy.tree().leaves()) == leaves[:600]


def test_an_empty_journal_has_a_checkpoint_and_no_tiles(house: House) -> None:
    house.publish(0, root=EMPTY_ROOT)
    assert house.paths() == {"checkpoint"}
    assert house.files.tree().size == 0


def test_publishing_again_changes_nothing(house: House) -> None:
    house.publish(300)
    before = {path: (house.directory / path).stat().st_ino for path in house.paths() - {"checkpoint"}}
    house.publish(300)
    assert before == {path: (house.directory / path).stat().st_ino for path in house.paths() - {"checkpoint"}}


def test_leaves_come_from_any_sequence_on(journal: Path, leaves: list[bytes]) -> None:
    assert SIZE / GROUP < SEGMENTS_READ
    database = open_database(url_of(journal))
    with database.connect() as connection:
        for start in (0, 1, 49, 50, 51, 333, 699, 700, 1_000):
            assert list(leaves_from(connection, start)) == leaves[start:]
        assert root_at(connection, 333) == tree_root([leaf_hash(leaf) for leaf in leaves[:333]])
        with pytest.raises(PublishRefused) as refused:
            root_at(connection, SIZE + 1)
    database.dispose()
    assert refused.value.reason is PublishReason.JOURNAL_SHORTER


def test_leaves_come_from_more_segments_than_are_read_at_a_time(tmp_path: Path) -> None:
    count = 2 * SEGMENTS_READ + 3
    with ledger_at(url_of(tmp_path / "ledger.db")) as ledger:
        ledger.post("opening", OPENING)
        for number in range(1, count):
            ledger.post(f"payment/{number}", paid(number, MINT, ALICE, 1))
        with ledger.database.connect() as connection:
            everything = list(leaves_from(connection, 0))
            assert len(everything) == count
            for start in (1, SEGMENTS_READ - 1, SEGMENTS_READ, SEGMENTS_READ + 1, count - 1):
                assert list(leaves_from(connection, start)) == everything[start:]
        assert tree_root(list(map(leaf_hash, everything))) == ledger.writer.view.frontier.root()


# ------------------------------------------------------------------------------------------- what is refused


def test_the_reader_reads_tiles_and_nothing_else(house: House) -> None:
    house.publish(300)
    assert house.files.read("tile/0/000") == (house.directory / "tile/0/000").read_bytes()
    with pytest.raises(LookupError):
        house.files.read("tile/0/002")
    for path in (
        "checkpoint",
        "../ledger.anchor",
        "tile/0/../../checkpoint",
        "tile/0/000.tmp",
        "/tile/0/000",
    ):
        with pytest.raises(TileRefused):
            house.files.read(path)


def test_a_tile_that_is_there_is_never_changed(house: House) -> None:
    house.publish(300)
    (house.directory / "checkpoint").unlink()
    for path in ("tile/0/000", "tile/0/001.p/44"):
        right = (house.directory / path).read_bytes()
        (house.directory / path).write_bytes(bytes(len(right)))
        with pytest.raises(PublishRefused) as refused:
            house.publish(300)
        assert refused.value.reason is PublishReason.TILE_DIFFERS
        assert path in str(refused.value)
        assert not any((house.directory / path).read_bytes())
        assert house.files.checkpoint() is None
        (house.directory / path).write_bytes(right)
    house.publish(300)


def test_wrong_last_tiles_are_not_built_upon(house: House) -> None:
    house.publish(300)
    shown = house.files.checkpoint()
    (house.directory / "tile/0/001.p/44").write_bytes(bytes(44 * 32))
    with pytest.raises(TileRefused) as refused:
        house.publish(600)
    assert "tile/0/001.p/44" in refused.value.paths
    assert house.files.checkpoint() == shown


def test_what_is_no_checkpoint_is_not_built_upon(house: House) -> None:
    house.publish(300)
    (house.directory / "checkpoint").write_bytes(b"300\n")
    with pytest.raises(NoteRefused):
        house.publish(600)


def test_a_journal_behind_the_directory_is_refused_even_without_an_anchor(house: House) -> None:
    house.publish(300)
    house.anchor_path.unlink()
    with pytest.raises(PublishRefused) as refused:
        house.publish(200)
    assert refused.value.reason is PublishReason.DIRECTORY_AHEAD


def test_a_journal_behind_the_anchor_is_refused_before_anything_is_written(house: House) -> None:
    house.publish(300)
    shutil.rmtree(house.directory)
    with pytest.raises(AnchorRefused) as refused:
        house.publish(200)
    assert refused.value.reason is AnchorReason.BACKWARDS
    assert not house.directory.exists()


def test_another_root_than_the_one_of_the_leaves_is_refused_before_anything_is_written(house: House) -> None:
    house.publish(100)
    before = house.paths()
    with pytest.raises(PublishRefused) as refused:
        house.publish(300, root=leaf_hash(b"another"))
    assert refused.value.reason is PublishReason.JOURNAL_DIFFERS
    with pytest.raises(PublishRefused) as refused:
        house.publish(SIZE + 1, root=leaf_hash(b"another"))
    assert refused.value.reason is PublishReason.JOURNAL_SHORTER
    assert house.paths() == before
    assert Anchor(house.anchor_path).size == 100


def test_a_restored_backup_that_goes_on_is_refused(house: House, journal: Path) -> None:
    house.publish(SIZE)
    restored = House(house.folder / "restored.db", house.folder)
    shutil.copy(journal, restored.journal)
    with behind_its_back(url_of(restored.journal)) as connection:
        connection.exec_driver_sql("DELETE FROM requests")
        connection.exec_driver_sql("DELETE FROM segments WHERE first_sequence >= 600")
    database = open_database(url_of(restored.journal))
    with database.connect() as store, pytest.raises(AnchorRefused) as refused:
        Anchor(house.anchor_path).check(600, lambda size: root_at(store, size))
    assert refused.value.reason is AnchorReason.JOURNAL_SHORTER
    database.dispose()
    with ledger_at(url_of(restored.journal)) as ledger:
        ledger.post("more", *[paid(number, MINT, ALICE, 7) for number in range(10_000, 10_000 + 150)])
        with ledger.database.connect() as store, pytest.raises(AnchorRefused) as refused:
            Anchor(house.anchor_path).check(750, lambda size: root_at(store, size))
    assert refused.value.reason is AnchorReason.JOURNAL_DIFFERS
    with pytest.raises(PublishRefused) as differs:
        restored.publish(750)
    assert differs.value.reason is PublishReason.JOURNAL_DIFFERS


# ------------------------------------------------------------------------------------------------------ kills


@contextmanager
def dying_at(call: int) -> Iterator[list[str]]:
    """Whatever touches the disk is counted; the call of this number and all after it do not happen."""
    calls: list[str] = []
    patched: list[tuple[Any, str, Any]] = [
        (owner, name, getattr(owner, name))
        for owner, name in (
            (os, "fsync"),
            (Path, "replace"),
            (Path, "mkdir"),
            (Path, "open"),
            (Path, "unlink"),
            (Path, "rmdir"),
        )
    ]

    def counting(name: str, real: Any) -> Any:
        def counted(*arguments: Any, **named: Any) -> Any:
            if name == "open" and "w" not in str(arguments[1:]):
                return real(*arguments, **named)
            calls.append(name)
            if len(calls) >= call:
                raise Killed
            return real(*arguments, **named)

        return counted

    for owner, name, real in patched:
        setattr(owner, name, counting(name, real))
    try:
        yield calls
    finally:
        for owner, name, real in patched:
            setattr(owner, name, real)


@pytest.mark.parametrize(("old", "new"), [(0, 300), (100, 300), (300, 600), (250, 256)])
def test_killed_at_any_call_to_the_disk_it_goes_on(
    journal: Path, tmp_path: Path, leaves: list[bytes], old: int, new: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # counted, not done: this process lives on
    start = House(journal, tmp_path / "start")
    start.folder.mkdir()
    if old:
        start.publish(old)
    call, shown = 0, set()
    while True:
        call += 1
        house = House(journal, tmp_path / str(call))
        shutil.copytree(start.folder, house.folder)
        try:
            with dying_at(call):
                house.publish(new)
        except Killed:
            shown.add(house.require_whole(leaves))
            house.publish(new)
            assert house.require_whole(leaves) == new
            full = {tile.path for tile in tiles_of(new) if tile.width == 256}
            assert not [path for path in house.paths() if ".p/" in path and path.partition(".")[0] in full]
        else:
            break
    assert call > 15
    assert shown == {old, new}  # the last call syncs the directory in which the new one is shown already


@pytest.mark.parametrize("old", [0, 100])
def test_nothing_is_signed_before_the_anchor_and_nothing_anchored_before_the_tiles(
    house: House, old: int
) -> None:
    if old:
        house.publish(old)
    seen: list[int] = []

    def watching(size: int, root: bytes) -> bytes:
        assert Anchor(house.anchor_path).size == size
        assert {tile.path for tile in tiles_of(size)} <= house.paths()
        assert house.files.tree().size == old
        seen.append(size)
        return sign(size, root)

    house.publish(300, sign=watching)
    assert seen == [300]


def test_every_file_and_every_name_is_on_disk_before_the_anchor_moves(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, synced = os.fsync, set[Path]()

    def recorded(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").resolve())
        fsync(descriptor)

    def watching(size: int, root: bytes) -> bytes:
        tiles = [house.directory / tile.path for tile in tiles_of(size)]
        assert {tile.with_name(f"{tile.name}.tmp") for tile in tiles} <= synced
        for tile in tiles:
            above = set(tile.relative_to(house.folder).parents) - {Path()}
            assert {house.folder / directory for directory in above} | {house.folder} <= synced
        return sign(size, root)

    monkeypatch.setattr(os, "fsync", recorded)
    house.publish(300, sign=watching)
    assert house.directory / "checkpoint.tmp" in synced


def test_a_disk_that_keeps_other_bytes_is_found_out_before_the_anchor_moves(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.publish(100)

    def lying(path: Path, data: bytes) -> None:
        put_file(path, bytes(len(data)) if path.match("tile/0/001.p/44") else data)

    monkeypatch.setattr(tile_files, "put_file", lying)
    with pytest.raises(TileRefused) as refused:
        house.publish(300)
    assert "tile/0/001.p/44" in refused.value.paths
    assert house.files.tree().size == Anchor(house.anchor_path).size == 100


def test_if_the_signer_fails_the_next_call_goes_on(house: House, leaves: list[bytes]) -> None:
    def absent(size: int, root: bytes) -> bytes:
        raise ConnectionError("the key is away")

    house.publish(100)
    with pytest.raises(ConnectionError):
        house.publish(300, sign=absent)
    assert house.require_whole(leaves) == 100
    assert Anchor(house.anchor_path).size == 300
    with pytest.raises(AnchorRefused):
        house.publish(200)
    house.publish(600)
    assert house.require_whole(leaves) == 600


def kill_before_rename_of(name: str) -> None:
    """From now on this process kills itself in front of the rename that would make ``name``."""
    replace = Path.replace

    def replaced(source: Path, target: Path) -> Path:
        if str(target).endswith(name):
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(source, target)

    setattr(Path, "replace", replaced)  # noqa: B010  # of a class that is not ours


@pytest.mark.parametrize(
    "name", ["tile/entries/000", "tile/0/001", "tile/1/000.p/2", "ledger.anchor", "checkpoint"]
)
def test_killed_between_write_and_rename_the_second_run_continues(
    house: House, leaves: list[bytes], name: str
) -> None:
    house.publish(100)
    command = [
        sys.executable,
        "-m",
        "tests.integration.test_tile_files",
        str(house.journal),
        str(house.folder),
        name,
    ]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert list(house.folder.rglob("*.tmp"))
    assert house.require_whole(leaves) == 100
    house.publish(600)
    assert house.require_whole(leaves) == 600
    assert not list(house.folder.rglob("*.tmp"))


def test_a_temporary_file_is_no_tile(house: House) -> None:
    house.publish(300)
    (house.directory / "tile/0/001.p/44.tmp").write_bytes(b"half")
    with pytest.raises(TileRefused):
        house.files.read("tile/0/001.p/44.tmp")
    house.files.prune([Tile(0, 1)])
    assert not (house.directory / "tile/0/001.p").exists()


if __name__ == "__main__":
    kill_before_rename_of(sys.argv[3])
    House(Path(sys.argv[1]), Path(sys.argv[2])).publish(600)
