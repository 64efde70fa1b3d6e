"""The anchor: an old backup does not go on, and the file only moves forward."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.checkpoint import MAX_TREE_SIZE
from ledger.merkle import EMPTY_ROOT, leaf_hash, tree_root
from ledger.require import InvariantViolated
from ledger.store.anchor import Anchor, AnchorReason, AnchorRefused

LEAVES = [leaf_hash(bytes([number])) for number in range(10)]
OTHER_LEAVES = [leaf_hash(b"other"), *LEAVES[1:]]


def root_of(size: int) -> bytes:
    return tree_root(LEAVES[:size])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.anchor"


@pytest.fixture
def anchor(path: Path) -> Anchor:
    """Five entries were signed."""
    anchor = Anchor(path)
    anchor.advance(5, root_of(5))
    return anchor


def reason_of(act: Callable[[], object]) -> AnchorReason:
    with pytest.raises(AnchorRefused) as refused:
        act()
    return refused.value.reason


def test_the_file_is_the_end_of_a_checkpoint(anchor: Anchor, path: Path) -> None:
    assert path.read_bytes() == b"5\n" + base64.b64encode(root_of(5)) + b"\n"
    again = Anchor(path)
    assert (again.size, again.root) == (5, root_of(5))


def test_before_the_first_signature_any_journal_may_start(path: Path) -> None:
    anchor = Anchor(path)
    assert (anchor.size, anchor.root) == (0, EMPTY_ROOT)
    anchor.check(0, root_of)
    anchor.check(7, root_of)
    anchor.advance(0, EMPTY_ROOT)
    assert not path.exists()


@pytest.mark.parametrize("size", [5, 6, 10])
def test_a_journal_that_goes_on_from_what_was_signed_may_start(anchor: Anchor, size: int) -> None:
    anchor.check(size, root_of)


def test_an_old_backup_may_not_start(path: Path, anchor: Anchor) -> None:
    assert reason_of(lambda: Anchor(path).check(4, root_of)) is AnchorReason.JOURNAL_SHORTER


def test_an_old_backup_that_has_gone_on_may_not_start(anchor: Anchor) -> None:
    other = reason_of(lambda: anchor.check(10, lambda size: tree_root(OTHER_LEAVES[:size])))
    assert other is AnchorReason.JOURNAL_DIFFERS


def test_it_moves_forward_and_stays_where_it_is(path: Path, anchor: Anchor) -> None:
    before = path.stat().st_mtime_ns, path.stat().st_ino
    anchor.advance(5, root_of(5))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before
    anchor.advance(6, root_of(6))
    anchor.advance(MAX_TREE_SIZE, root_of(7))
    assert Anchor(path).size == MAX_TREE_SIZE


def test_it_never_moves_back_or_to_another_root(path: Path, anchor: Anchor) -> None:
    written = path.read_bytes()
    assert reason_of(lambda: anchor.advance(4, root_of(4))) is AnchorReason.BACKWARDS
    assert reason_of(lambda: anchor.advance(0, EMPTY_ROOT)) is AnchorReason.BACKWARDS
    assert reason_of(lambda: anchor.advance(5, root_of(6))) is AnchorReason.OTHER_ROOT
    assert reason_of(lambda: anchor.require_forward(4, root_of(4))) is AnchorReason.BACKWARDS
    anchor.require_forward(6, root_of(6))
    assert path.read_bytes() == written
    assert (anchor.size, anchor.root) == (5, root_of(5))


def test_what_is_no_tree_is_a_bug(anchor: Anchor) -> None:
    for size, root in ((6, b"short"), (MAX_TREE_SIZE + 1, root_of(6))):
        with pytest.raises(InvariantViolated):
            anchor.advance(size, root)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"5\n",
        b"5\n" + base64.b64encode(root_of(5)),
        b"5\n" + base64.b64encode(root_of(5)) + b"\n\n",
        b"05\n" + base64.b64encode(root_of(5)) + b"\n",
        b"-5\n" + base64.b64encode(root_of(5)) + b"\n",
        b"9223372036854775808\n" + base64.b64encode(root_of(5)) + b"\n",
        b"5\n" + base64.b64encode(root_of(5)[:31]) + b"\n",
        b"5\n" + base64.b64encode(root_of(5)).rstrip(b"=") + b"\n",
        b"0\n" + base64.b64encode(root_of(5)) + b"\n",
        b"5\r\n" + base64.b64encode(root_of(5)) + b"\r\n",
        b"\xff\n" + base64.b64encode(root_of(5)) + b"\n",
        bytes(4096),
    ],
)
def test_a_file_that_is_no_anchor_refuses(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert reason_of(lambda: Anchor(path)) is AnchorReason.UNREADABLE


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_if_the_disk_fails_the_old_anchor_stands(
    path: Path, anchor: Anchor, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
        with pytest.raises(OSError, match="disk is gone"):
            anchor.advance(6, root_of(6))
    assert anchor.size == 5
    assert Anchor(path).size == 5
    anchor.advance(6, root_of(6))
    assert Anchor(path).size == 6
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_it_is_on_disk_before_advance_returns(
    path: Path, anchor: Anchor, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor: int) -> None:
        order.append("directory" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        fsync(descriptor)

    def replaced(source: Path, target: Path) -> Path:
        order.append("rename")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    anchor.advance(6, root_of(6))
    assert order == ["file", "rename", "directory"]
