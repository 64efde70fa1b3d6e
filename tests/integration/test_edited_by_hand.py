"""Somebody with the password of the database edits what a house has kept: it is found, and what he edited is named.

He switches the triggers off first, as he can. What he cannot do is to sign: the anchor and the tiles lie elsewhere, and
``clearing ledger verify`` and ``clearctl verify`` look at all of it. The house itself does not start on a journal that
was edited.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update
from typer.testing import CliRunner

from clearing import cli
from clearing import keys as house_keys
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.model.kinds import Kind
from clearing.publish import Publisher
from clearing.server.identity import parse_spiffe
from ledger.leaf import LEAF_BYTES, LEG_BYTES, decode_leaf, split_bodies, split_records
from ledger.merkle import Frontier, leaf_hash
from ledger.salt import seeded_salts
from ledger.store.connect import open_store
from ledger.store.public_log import PublicLog
from ledger.store.tables import segments
from tests import published
from tests.histories import project_all
from tests.ledgers import behind_its_back
from tests.serving import CLEARING, CLIENTS, HOUSE, environment, seed
from tests.stores import Stores

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Kept:
    """What a house has kept: its journal at ``url``, the rest in ``folder``."""

    folder: Path
    url: str

    @property
    def tiles(self) -> Path:
        return self.folder / "house.db.tiles"

    def edit(self, statement: str, **values: Any) -> None:
        """Run one statement that changes something."""
        with behind_its_back(self.url) as connection:
            assert connection.execute(text(statement), values).rowcount > 0

    def segment_of(self, sequence: int) -> dict[str, Any]:
        """The row that has the entry."""
        with behind_its_back(self.url) as connection:
            rows = connection.execute(select(segments).order_by(segments.c.first_sequence)).mappings().all()
        return dict(
            max(
                (row for row in rows if row["first_sequence"] <= sequence),
                key=lambda row: row["first_sequence"],
            )
        )

    def edit_column(self, name: str, sequence: int, change: Callable[[bytes], bytes]) -> None:
        """Change the bytes of the segment that has the entry."""
        row = self.segment_of(sequence)
        before = bytes(row[name])
        assert change(before) != before
        with behind_its_back(self.url) as connection:
            where = segments.c.first_sequence == row["first_sequence"]
            connection.execute(update(segments).where(where).values({name: change(before)}))

    def entry_of(self, kind: Kind) -> int:
        """The number of the first entry of a kind that has legs or a body to edit."""
        with behind_its_back(self.url) as connection:
            columns = connection.execute(
                select(segments.c.leaves).order_by(segments.c.first_sequence)
            ).scalars()
            leaves = [leaf for column in columns for leaf in split_records(bytes(column), LEAF_BYTES)]
        return next(number for number, leaf in enumerate(leaves) if decode_leaf(leaf).kind == kind)

    def ledger_verify(self) -> tuple[int, str]:
        """Which entry ``clearing ledger verify`` names, and what it says."""
        arguments = ["ledger", "verify", "--database", self.url, "--log", str(self.tiles), "--json"]
        done = CliRunner().invoke(cli.app, arguments)
        said = json.loads(done.stdout)
        assert (done.exit_code, said["holds"]) == (1, False), said
        return int(said["entry"]), said["reason"]

    def holds(self) -> bool:
        arguments = ["ledger", "verify", "--database", self.url, "--log", str(self.tiles), "--json"]
        return CliRunner().invoke(cli.app, arguments).exit_code == 0

    def start(self) -> str:
        """Why the house does not start."""
        places = ("--anchor", str(self.folder / "house.db.anchor"), "--tiles-dir", str(self.tiles))
        options = ("--database", self.url, "--keys", str(self.folder / "keys"), "--listen", "127.0.0.1:0")
        command = [sys.executable, "-c", CLEARING, "serve", *options, *places]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment(), timeout=60
        )
        assert (done.returncode, done.stdout) == (1, ""), done
        assert "Traceback" not in done.stderr
        return done.stderr

    def clearctl_verify(self) -> published.Judged:
        """What whoever copied the published files finds, without the house and its database."""
        files = self.folder / "copied"
        shutil.copytree(self.folder / "public", files)
        return published.verify(files, "--dir", str(files), "--tiles", str(self.tiles))


@pytest.fixture(scope="module")
def untouched(stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("house")
    url = stores.new()
    house_keys.init(folder / "keys", HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(folder, folder / "keys", url)
    database = open_store(url)
    project_all(database)
    with (
        closing(Engine(database, clock=clock_ms, salts=seeded_salts(b"served"))) as engine,
        closing(PublicLog(database, folder / "house.db.tiles", folder / "house.db.anchor")) as log,
    ):
        Publisher(
            engine, house_keys.read_signing_keys(folder / "keys"), log
        )  # shows the attestation itself too
    database.dispose()
    yield Kept(folder, url)
    stores.drop(url)


@pytest.fixture
def kept(stores: Stores, untouched: Kept, tmp_path: Path) -> Iterator[Kept]:
    url = stores.copy(untouched.url)
    yield Kept(Path(shutil.copytree(untouched.folder, tmp_path / "house")), url)
    stores.drop(url)


def test_what_nobody_edited_holds(kept: Kept) -> None:
    assert kept.holds()
    judged = kept.clearctl_verify()
    assert judged == published.Judged(0)


# --- the journal --------------------------------------------------------------------------------------------


def more(legs: bytes) -> bytes:
    """A unit more on the first leg and a unit less on the second: every sum still holds."""
    amounts = [int.from_bytes(leg[32:], "big", signed=True) for leg in split_records(legs, LEG_BYTES)[:2]]
    changed = [
        (amount + step).to_bytes(16, "big", signed=True)
        for amount, step in zip(amounts, (1, -1), strict=True)
    ]
    return legs[:32] + changed[0] + legs[48:80] + changed[1] + legs[96:]


def test_a_leg_of_the_journal_is_found_and_its_entry_named(kept: Kept) -> None:
    entry = kept.entry_of(Kind.DEPOSITED)
    kept.edit_column("legs", entry, more)
    says = "the legs do not hash to the legs root of the leaf"
    assert kept.ledger_verify() == (entry, says)
    assert f"the journal does not hold at entry {entry}: {says}. No entry was added." in kept.start()


@pytest.mark.parametrize(
    "place", [4, 12, 20, 28, 44, 76], ids=["kind", "number", "time", "id", "legs", "body"]
)
def test_a_leaf_is_found_and_its_entry_named(kept: Kept, place: int) -> None:
    entry = kept.entry_of(Kind.DEPOSITED)
    kept.edit_column(
        "leaves", entry, lambda leaves: leaves[:place] + bytes([leaves[place] ^ 1]) + leaves[place + 1 :]
    )
    found, reason = kept.ledger_verify()
    assert found == entry, reason
    if place in {20, 44}:  # the others likewise
        assert f"the journal does not hold at entry {entry}: {reason}" in kept.start()


def test_a_segment_that_is_gone_is_found_and_its_first_entry_named(kept: Kept) -> None:
    entry = kept.entry_of(Kind.DEPOSITED)
    kept.edit("DELETE FROM segments WHERE first_sequence = :first", first=entry)
    assert kept.ledger_verify()[0] == entry
    assert f"the journal does not hold at entry {entry}: the next segment claims to start" in kept.start()


def test_an_attestation_in_the_journal_is_found_and_its_entry_named(kept: Kept) -> None:
    """The envelope stands in the body of its entry."""
    entry = kept.entry_of(Kind.ATTESTED)
    kept.edit_column("bodies", entry, lambda bodies: bodies.replace(b"payloadType", b"payloadTypo"))
    says = "the body does not hash to the body hash of the leaf"
    assert kept.ledger_verify() == (entry, says)
    assert f"the journal does not hold at entry {entry}: {says}" in kept.start()


def test_an_attestation_that_was_replaced_with_all_its_hashes_is_found_and_its_entry_named(
    kept: Kept,
) -> None:
    """Inside the database everything agrees again. The tiles and the anchor were written before."""
    entry = kept.entry_of(Kind.ATTESTED)
    row = kept.segment_of(entry)
    assert (row["first_sequence"], row["count"]) == (entry, 1), "the last of all, alone"
    (body,) = split_bodies(bytes(row["bodies"]))
    forged = body.replace(b"payloadType", b"payloadTypo")
    leaf = bytes(row["leaves"])[:76] + hashlib.sha256(forged).digest()
    with behind_its_back(kept.url) as connection:
        columns = (
            connection.execute(select(segments.c.leaves).order_by(segments.c.first_sequence)).scalars().all()
        )
        leaves = [one for column in columns for one in split_records(bytes(column), LEAF_BYTES)]
        root = Frontier().extend([leaf_hash(one) for one in (*leaves[:entry], leaf)]).root()
        changed = {"bodies": len(forged).to_bytes(4, "big") + forged, "leaves": leaf, "root": root}
        connection.execute(update(segments).where(segments.c.first_sequence == entry).values(changed))
    assert kept.ledger_verify() == (entry, "the tiles have another leaf than the journal")
    assert "are not those that were signed" in kept.start()


# --- what is made of the journal ------------------------------------------------------------------------------


def a_posting(kept: Kept) -> tuple[int, int, int]:
    """Account, entry and leg of a posting in the middle of the history."""
    with behind_its_back(kept.url) as connection:
        rows = connection.execute(
            text("SELECT account, sequence, leg FROM postings ORDER BY sequence, leg")
        ).all()
    account, sequence, leg = rows[len(rows) // 2]
    return account, sequence, leg


@pytest.mark.parametrize("column", ["amount", "balance"])
def test_a_posting_and_a_balance_are_found_and_entry_and_account_named(kept: Kept, column: str) -> None:
    account, sequence, leg = a_posting(kept)
    where = "WHERE account = :account AND sequence = :sequence AND leg = :leg"
    kept.edit(f"UPDATE postings SET {column} = '12345' {where}", account=account, sequence=sequence, leg=leg)
    found, reason = kept.ledger_verify()
    assert found == sequence
    assert reason == f"posting of account {account} is not what the journal says, or is not there"


def test_a_tile_is_found_and_named(kept: Kept) -> None:
    (tile,) = (path for path in (kept.tiles / "tile/0/000.p").iterdir() if path.name == _size(kept))
    tile.write_bytes(bytes([tile.read_bytes()[0] ^ 1]) + tile.read_bytes()[1:])
    name = str(tile.relative_to(kept.tiles))
    assert name in kept.ledger_verify()[1]
    assert name in kept.start()
    judged = kept.clearctl_verify()
    assert judged.code == 1
    assert name in judged.failed[0][1]


def test_a_leaf_in_the_tiles_is_found_and_the_file_named(kept: Kept) -> None:
    bundle = kept.tiles / f"tile/entries/000.p/{_size(kept)}"
    bundle.write_bytes(bundle.read_bytes()[:50] + b"\xff" + bundle.read_bytes()[51:])
    name = str(bundle.relative_to(kept.tiles))
    assert name in kept.ledger_verify()[1]
    assert name in kept.clearctl_verify().failed[0][1]


def _size(kept: Kept) -> str:
    return (kept.tiles / "checkpoint").read_text().split("\n")[1]


def test_a_published_attestation_is_found_and_named(kept: Kept) -> None:
    file = kept.folder / "public/attestations/000001.json"
    members = json.loads(file.read_text())
    members["payload"] = members["payload"].replace("A", "B", 1)
    file.write_text(json.dumps(members))
    judged = kept.clearctl_verify()
    assert judged.code == 1
    assert judged.failed[0] == ("attestation 1 signatures", "0 trusted keys signed (none), 2 are needed")


# --- answers --------------------------------------------------------------------------------------------------

ROW = "WHERE id = :id"
GONE = "the answer to its request is not there"
EDITS = {
    "an entry more": (
        *(f"UPDATE requests SET count = count + 1 {ROW}", 7),
        "the answers to the requests seed/6 and seed/7 both claim it",
    ),
    "no entries": (f"UPDATE requests SET count = 0, refusals = 1 {ROW}", 6, GONE),
    "entries of another": (
        *(f"UPDATE requests SET first_sequence = first_sequence - 1 {ROW}", 5),
        "the answers to the requests seed/5 and seed/6 both claim it",
    ),
    "entries to come": (f"UPDATE requests SET first_sequence = first_sequence + 1000 {ROW}", 6, GONE),
    "another id": (
        *(f"UPDATE requests SET id = 'x' {ROW}", 6),
        "it is of request seed/6, and the answer to request x claims the entries 6 to 6",
    ),
    "gone": (f"DELETE FROM requests {ROW}", 6, GONE),
}


@pytest.mark.parametrize(("statement", "entry", "says"), EDITS.values(), ids=EDITS)
def test_an_answer_that_was_edited_is_found_and_its_entry_named(
    kept: Kept, statement: str, entry: int, says: str
) -> None:
    """A request whose answer is gone would be done once more, if it came again."""
    kept.edit(statement, id="seed/6")
    assert kept.ledger_verify() == (entry, says)


def test_an_answer_that_was_added_is_found_and_named(kept: Kept) -> None:
    kept.edit(
        "INSERT INTO requests SELECT 'mallory', body_hash, first_sequence, count, refusals, answer FROM requests "
        "WHERE first_sequence = 6 AND count = 1"
    )
    found, reason = kept.ledger_verify()
    assert found == 6
    assert reason == "the answers to the requests mallory and seed/6 both claim it"


def test_two_answers_that_changed_places_are_found_and_named(kept: Kept) -> None:
    with behind_its_back(kept.url) as connection:
        asked = text("SELECT id FROM requests WHERE count = 1 ORDER BY first_sequence")
        one, other = connection.execute(asked).scalars().all()[5:7]
        rename = text("UPDATE requests SET id = :to WHERE id = :at")
        for at, to in ((one, "aside"), (other, one), ("aside", other)):
            connection.execute(rename, {"at": at, "to": to})
    found, reason = kept.ledger_verify()
    assert found == 5
    assert reason == f"it is of request {one}, and the answer to request {other} claims the entries 5 to 5"
