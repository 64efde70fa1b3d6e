"""What a house signs is committed, in the tiles and under the anchor, whatever step it is killed in."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from structlog.testing import capture_logs

from clearing import keys as house_keys
from clearing import publish
from clearing.attest.envelope import parse as parse_envelope
from clearing.attest.liabilities import LiabilityReason, LiabilityRefused
from clearing.attest.signer import SigningKeys
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.model.values import DAY_MS
from clearing.publish import ForeignLog, Publisher
from clearing.pulse import Pulse, beat
from clearing.server.identity import parse_spiffe
from clearing.settings import ANCHOR_SUFFIX, TILES_SUFFIX
from clearing.store.queries import AttestationIndex
from clearing_client.offline import tiled_leaves, verify_attestations
from ledger.checkpoint import NoteRefused, open_note
from ledger.merkle import leaf_hash, tree_root
from ledger.salt import seeded_salts
from ledger.store.anchor import Anchor, AnchorReason, AnchorRefused
from ledger.store.connect import Database, open_store
from ledger.store.public_log import PublicLog
from ledger.store.tile_files import TileFiles, leaves_from
from ledger.tiles import TileRefused
from tests.integration.test_tile_files import Killed, dying_at
from tests.serving import BTC_TICKS, CLIENTS, HOUSE, SOURCES, publication, seed

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Place:
    """A folder with a house: its journal, anchor, tiles and keys."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "house.db"

    @property
    def anchor(self) -> Path:
        return Path(f"{self.file}{ANCHOR_SUFFIX}")

    @property
    def tiles(self) -> Path:
        return Path(f"{self.file}{TILES_SUFFIX}")

    @property
    def signing(self) -> SigningKeys:
        return house_keys.read_signing_keys(self.folder / "keys")

    def copy(self, to: Path) -> "Place":
        return Place(Path(shutil.copytree(self.folder, to)))

    def leaves(self) -> list[bytes]:
        database = open_store(f"sqlite:///{self.file}")
        with database.connect() as connection:
            found = list(leaves_from(connection, 0))
        database.dispose()
        return found

    def require_honest(self) -> int:
        """What is shown is all there and anchored, and the anchor is of this journal. How much is shown."""
        hashes = [leaf_hash(leaf) for leaf in self.leaves()]
        tree, anchor = TileFiles(self.tiles).tree(), Anchor(self.anchor)
        assert list(map(leaf_hash, tree.leaves())) == hashes[: tree.size]
        assert tree.size <= anchor.size <= len(hashes)
        assert anchor.root == tree_root(hashes[: anchor.size])
        return tree.size


@dataclass(frozen=True)
class Running:
    """A house at work in this process."""

    engine: Engine
    database: Database
    log: PublicLog


@contextmanager
def running(place: Place, clock: Callable[[], int] = clock_ms) -> Iterator[Running]:
    database = open_store(f"sqlite:///{place.file}")
    with (
        closing(Engine(database, clock=clock, salts=seeded_salts(b"served"))) as engine,
        closing(PublicLog(database, place.tiles, place.anchor)) as log,
    ):
        yield Running(engine, database, log)
    database.dispose()


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A house with a second cycle that is closed and not attested."""
    place = Place(tmp_path_factory.mktemp("publish"))
    keys = place.folder / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(place.folder, keys)
    with running(place) as house:
        for source in SOURCES:
            command = publication(keys, source, 2, BTC_TICKS + 1)
            assert house.engine.execute(command, request_id=f"{source}/2", actor="test").accepted
    return place


@pytest.mark.slow
def test_killed_at_any_call_to_the_disk_a_beat_is_finished_by_the_next_start(
    seeded: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # counted, not done: this process lives on
    before, call, shown = seeded.require_honest(), 0, set[int]()
    while True:
        call += 1
        place = seeded.copy(tmp_path / str(call))
        with running(place) as house:
            try:
                with dying_at(call):
                    beat(house.engine, Publisher(house.engine, place.signing, house.log), None)
            except Killed:
                shown.add(place.require_honest())
            else:
                break
        with running(place) as house:
            beat(house.engine, Publisher(house.engine, place.signing, house.log), None)
            assert place.require_honest() == house.engine.view.size
            require_attested(place, house, 2)
        shutil.rmtree(place.folder)
    assert call > 50
    assert min(shown) == before
    assert len(shown) == 3, "before, with the cycle, and with its attestation"


def require_attested(place: Place, house: Running, count: int) -> None:
    records = AttestationIndex(house.database).all()
    assert [record.sequence for record in records] == list(range(1, count + 1))
    policy = house_keys.read_policy(place.folder / "keys")
    note = house.log.checkpoint()
    assert note is not None
    report = verify_attestations(
        policy,
        note,
        [record.envelope.encode() for record in records],
        None,
        leaves=tiled_leaves(policy, note, TileFiles(place.tiles).read),
    )
    assert report.ok, report


def test_nothing_is_attested_that_is_not_shown_and_anchored(
    seeded: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, attested = seeded.copy(tmp_path / "house"), list[int]()

    def watching(house: object, tree: object, keys: SigningKeys) -> object:
        attested.append(place.require_honest())
        assert attested[-1] == len(place.leaves())
        raise Killed

    monkeypatch.setattr(publish, "sign_attestation", watching)
    with running(place) as house:
        publisher = Publisher(house.engine, place.signing, house.log)
        with pytest.raises(Killed):
            publisher.publish_if_due()
    assert attested


@pytest.mark.parametrize(("late_ms", "is_attested"), [(0, True), (1, False)])
def test_a_cycle_whose_marks_are_too_old_is_not_attested(
    seeded: Place, tmp_path: Path, late_ms: int, is_attested: bool
) -> None:
    place = seeded.copy(tmp_path / "house")
    now_ms = 0
    with running(place, lambda: now_ms) as house:
        cycle = house.engine.view.state.newest_cycle
        now_ms = cycle.accepted_ms + DAY_MS + late_ms
        outcome = Publisher(house.engine, place.signing, house.log).publish_if_due()
        assert (outcome is not None) is is_attested
        attested = house.engine.view.state.attestation
        assert attested is not None
        assert (attested.cycle == cycle.number) is is_attested


def test_what_is_committed_after_the_last_beat_is_shown_by_the_next_and_once(
    seeded: Place, tmp_path: Path
) -> None:
    place = seeded.copy(tmp_path / "house")
    with running(place) as house:
        publisher = Publisher(house.engine, place.signing, house.log)
        beat(house.engine, publisher, None)
        assert house.log.checkpoint() == (place.tiles / "checkpoint").read_bytes()
        inode = (place.tiles / "checkpoint").stat().st_ino
        beat(house.engine, publisher, None)
        assert (place.tiles / "checkpoint").stat().st_ino == inode, "nothing new, nothing signed"
        for source in SOURCES:
            command = publication(place.folder / "keys", source, 3, BTC_TICKS)
            house.engine.execute(command, request_id=f"{source}/3", actor="test")
        publisher.show()
        assert place.require_honest() == house.engine.view.size
        assert (house.log.checkpoint() or b"").splitlines()[1] == str(house.engine.view.size).encode()


def test_an_anchor_that_was_lost_or_is_old_is_refused_once_something_was_attested(
    seeded: Place, tmp_path: Path
) -> None:
    place = seeded.copy(tmp_path / "house")
    kept, leaves = place.anchor.read_bytes(), place.leaves()
    for old in (0, 1):
        place.anchor.unlink()
        Anchor(place.anchor).advance(old, tree_root([leaf_hash(leaf) for leaf in leaves[:old]]))
        before = len(leaves)
        with running(place) as house, pytest.raises(AnchorRefused) as refused:
            Publisher(house.engine, place.signing, house.log)
        assert refused.value.reason is AnchorReason.BEHIND
        assert len(place.leaves()) == before
        place.anchor.write_bytes(kept)
    with running(place) as house:
        Publisher(house.engine, place.signing, house.log)


def test_the_anchor_can_be_made_again_of_the_last_published_checkpoint(seeded: Place, tmp_path: Path) -> None:
    place = seeded.copy(tmp_path / "house")
    kept = place.anchor.read_bytes()
    _, size, root, *_ = (place.tiles / "checkpoint").read_bytes().splitlines()
    assert kept == size + b"\n" + root + b"\n"


def test_a_log_of_other_keys_is_not_written_on(seeded: Place, tmp_path: Path) -> None:
    place = seeded.copy(tmp_path / "house")
    own, shown = place.signing, (place.tiles / "checkpoint").read_bytes()
    stranger = Ed25519PrivateKey.generate()
    others = (
        replace(own, log_key=stranger, retired=()),
        replace(own, origin="other/journal"),
    )
    for keys in others:
        with running(place) as house, pytest.raises(ForeignLog):
            Publisher(house.engine, keys, house.log)
    assert (place.tiles / "checkpoint").read_bytes() == shown


def test_a_new_key_of_the_log_writes_on_what_the_old_one_signed(seeded: Place, tmp_path: Path) -> None:
    place = seeded.copy(tmp_path / "house")
    before = house_keys.read_policy(place.folder / "keys")
    house_keys.rotate(place.folder / "keys", "log")
    with running(place) as house:
        Publisher(house.engine, place.signing, house.log).publish_if_due()
    with running(place) as house:
        Publisher(house.engine, place.signing, house.log)
    note = (place.tiles / "checkpoint").read_bytes()
    now = house_keys.read_policy(place.folder / "keys")
    assert open_note(note, now.log_keys).signers == now.log_keys[1:]
    with pytest.raises(NoteRefused):
        open_note(note, before.log_keys)


def test_with_too_few_officers_a_house_shows_its_log_and_attests_when_they_are_back(
    seeded: Place, tmp_path: Path
) -> None:
    place = seeded.copy(tmp_path / "house")
    signing = place.folder / "keys" / "signing"
    for role in ("risk", "operations"):
        (signing / f"{role}.key").rename(tmp_path / f"{role}.key")
    renewed = house_keys.Signing(place.folder / "keys")
    with running(place) as house, capture_logs() as logged:
        publisher = Publisher(
            house.engine, renewed(), house.log, renewed=renewed, clock=count(0, 2_000).__next__
        )
        for _ in range(2):
            beat(house.engine, publisher, None)
        assert publisher.unattested == "1 keys signed, 2 must: no more keys are known"
        assert place.require_honest() == house.engine.view.size
        before = house.engine.view.state.attestation
        (tmp_path / "risk.key").rename(signing / "risk.key")
        beat(house.engine, publisher, None)
        after = house.engine.view.state.attestation
        assert before is not None
        assert after is not None
        assert after.sequence == before.sequence + 1
        assert len(parse_envelope(after.envelope.encode()).signatures) == 2
        assert not publisher.unattested
    assert [line["event"] for line in logged] == [
        "no attestation: too few officers can sign",
        "new signing keys",
        "enough officers can sign again",
    ]


def test_figures_that_no_attestation_can_state_hold_up_nothing_else(
    seeded: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, asked = seeded.copy(tmp_path / "house"), list[int]()

    def beyond(*_: object) -> None:
        asked.append(1)
        raise LiabilityRefused(LiabilityReason.AMOUNT, "amounts are 1 numbers, one a unit")

    monkeypatch.setattr("clearing.attest.figures.liabilities_of", beyond)
    with running(place) as house, capture_logs() as logged:
        publisher = Publisher(house.engine, place.signing, house.log, clock=count(0, 2_000).__next__)
        before = house.engine.view.state.attestation
        for _ in range(3):
            beat(house.engine, publisher, None)
        assert (house.engine.view.state.attestation, len(asked)) == (before, 1), "asked once for a cycle"
        assert publisher.unattested == "amounts are 1 numbers, one a unit"
        assert place.require_honest() == house.engine.view.size
        monkeypatch.undo()
        for source in SOURCES:
            command = publication(place.folder / "keys", source, 3, BTC_TICKS + 2)
            assert house.engine.execute(command, request_id=f"{source}/3", actor="test").accepted
        for _ in range(3):
            beat(house.engine, publisher, None)
        after = house.engine.view.state.attestation
        assert before is not None
        assert after is not None
        assert (after.sequence, publisher.unattested) == (before.sequence + 1, "")
    assert [line["event"] for line in logged] == [
        "no attestation: figures that it cannot state",
        "figures can be stated again",
    ]


def test_a_tile_that_changed_under_the_house_stops_it(seeded: Place, tmp_path: Path) -> None:
    place = seeded.copy(tmp_path / "house")
    with running(place) as house:
        publisher = Publisher(house.engine, place.signing, house.log)
        size = place.require_honest()
        for tile in (place.tiles / "tile/0").glob("000.p/*"):
            tile.write_bytes(bytes(len(tile.read_bytes())))
        with pytest.raises(TileRefused):
            beat(house.engine, publisher, None)  # it attests the cycle, and would build on the tile
        assert Anchor(place.anchor).size == size


def test_a_beat_that_finds_no_disk_is_skipped_and_the_next_one_goes_on(
    seeded: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, warned = seeded.copy(tmp_path / "house"), list[str]()
    aside = place.folder / "aside"

    def warning(text: str, *, error: str) -> None:
        """The disk comes back."""
        warned.append(f"{text}: {error}")
        place.tiles.unlink()
        aside.rename(place.tiles)

    monkeypatch.setattr(structlog, "get_logger", lambda: SimpleNamespace(warning=warning))
    with running(place) as house:
        publisher = Publisher(house.engine, place.signing, house.log)
        place.tiles.rename(aside)
        place.tiles.write_bytes(b"in the way")
        pulse = Pulse(partial(beat, house.engine, publisher, None), lambda *, serving: None)
        pulse.beat()
        pulse.beat()
        assert [line.partition(" or ")[0] for line in warned] == ["beat skipped: the log"]
        assert place.require_honest() == house.engine.view.size
        require_attested(place, house, 2)


def test_tiles_that_were_lost_are_written_again(seeded: Place, tmp_path: Path) -> None:
    place = seeded.copy(tmp_path / "house")
    shutil.rmtree(place.tiles)
    with running(place) as house:
        Publisher(house.engine, place.signing, house.log)
        assert place.require_honest() == house.engine.view.size
