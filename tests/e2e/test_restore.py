"""An old backup is put back: the house refuses to start on it, says why, and writes nothing."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from clearing import keys as house_keys
from clearing.server.identity import parse_spiffe
from clearing_client.client import new_trade
from ledger.store.anchor import Anchor
from ledger.store.connect import open_store
from tests import asking
from tests.serving import CLIENTS, HOUSE, Served, environment, seed, serving, wait_until
from tests.stores import Stores, file_of

pytestmark = pytest.mark.slow

SERVE = "from clearing.cli import main; main()"


@pytest.fixture
def house(tmp_path: Path, url: str) -> Path:
    """The folder of a house whose journal is at ``url``."""
    keys = tmp_path / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(tmp_path, keys, url)
    return tmp_path


def places(folder: Path, url: str) -> tuple[str, ...]:
    return (
        "--database",
        url,
        "--anchor",
        f"{folder / 'house.db.anchor'}",
        "--tiles-dir",
        f"{folder / 'tiles'}",
    )


def trade(served: Served, count: int) -> None:
    """Go on, and wait until what was done is signed."""
    with served.client("member/alpha") as alpha:
        for _ in range(count):
            one, two = "members/alpha/accounts/one", "members/alpha/accounts/two"
            small = new_trade("BTC-PERP", buyer=one, seller=two, size="0.001", price="64000.0")
            alpha.submit_trades("members/alpha", [small])
        size = served.journal_size()
        wait_until(lambda: alpha_sees(served) == size)


def alpha_sees(served: Served) -> int:
    with served.client("member/alpha") as alpha:
        return int(asking.checkpoint(alpha).split("\n")[1])


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table: the lease's epoch and the version of the schema too."""
    database = open_store(url)
    with database.connect() as connection:
        tables = sorted(inspect(connection).get_table_names())
        found = {
            t: [tuple(r) for r in connection.execute(text(f"SELECT * FROM {t} ORDER BY 1"))] for t in tables
        }
    database.dispose()
    assert {"alembic_version", "lease", "requests", "segments"} <= set(found)
    return found


def files(folder: Path) -> dict[str, bytes]:
    """What is public, and the anchor."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in [*(folder / "tiles").rglob("*"), folder / "house.db.anchor"]
        if path.is_file()
    }


def refused(folder: Path, url: str) -> str:
    """Why the house does not start."""
    command = ["serve", *places(folder, url), "--keys", str(folder / "keys"), "--listen", "127.0.0.1:0"]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, *command],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stdout) == (1, ""), done
    return done.stderr


def put_back(backup: str, url: str, stores: Stores) -> str:
    """The backup in the place of the journal; for a server, the name of a database is its place."""
    if not url.startswith("sqlite"):
        return stores.copy(backup)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{file_of(url)}{suffix}").unlink(missing_ok=True)
    shutil.copy(file_of(backup), file_of(url))
    return url


def test_a_restored_backup_is_refused_and_nothing_is_written(house: Path, url: str, stores: Stores) -> None:
    with serving(house, *places(house, url)) as served:
        trade(served, 1)
    backup = stores.copy(url)
    with serving(house, *places(house, url)) as served:
        trade(served, 3)
    newest, signed = stores.copy(url), Anchor(house / "house.db.anchor").size
    restored = put_back(backup, url, stores)
    before, shown = contents(restored), files(house)
    complaint = refused(house, restored)
    assert f"has {signed - 3} entries, but {signed} were signed" in complaint
    assert "old copy" in complaint
    assert "docs/runbook.md" in complaint
    assert contents(restored) == before
    assert files(house) == shown
    with serving(house, *places(house, put_back(newest, restored, stores))) as served:
        trade(served, 1)
        assert served.journal_size() == signed + 1
    for made in (backup, newest):
        stores.drop(made)


def test_a_backup_that_went_on_without_its_anchor_is_refused_as_well(
    house: Path, url: str, stores: Stores, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with serving(house, *places(house, url)) as served:
        trade(served, 1)
    elsewhere = Path(shutil.copytree(house, tmp_path_factory.mktemp("elsewhere") / "house"))
    backup = stores.copy(url)
    with serving(house, *places(house, url)) as served:
        trade(served, 2)
    with serving(elsewhere, *places(elsewhere, backup)) as served:
        trade(served, 4)
    before, shown = contents(backup), files(house)
    assert "are not those that were signed" in refused(house, backup)
    assert contents(backup) == before
    assert files(house) == shown
    stores.drop(backup)
