"""A report is what the journal says: the same bytes on either database, after a restart, and after a migration."""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from alembic import command

from clearing import keys as house_keys
from clearing.attest.signer import sign_checkpoint
from clearing.model.ids import MemberId
from clearing.model.values import Form, Given, ReportAsked
from clearing.reporting import ReportChanged, Reporting, finished, sealed
from clearing.reports.table import REPORTS, Audience
from clearing.spool import Spool
from clearing.store import migrate
from clearing.store.migrate import _config
from clearing.workings import NothingAttested, Workings
from ledger.store.connect import Database, open_store, transaction
from ledger.store.projector import Projecting
from ledger.store.public_log import PublicLog
from tests.builders import World
from tests.integration.test_replay import Clock, ask, engine_at, migrated
from tests.stores import Stores
from tests.stories import a_long_life

pytestmark = pytest.mark.slow

GIVEN = (
    Given(key="ledger_account", text="members/dex/accounts/alice/cash"),
    Given(key="unit", text="USDC"),
)


@pytest.fixture(scope="module")
def told() -> World:
    return a_long_life()


@pytest.fixture(scope="module")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "keys"
    house_keys.init(folder, "testhouse", [], secret=lambda what: hashlib.sha512(what.encode()).digest()[:32])
    return folder


@dataclass
class Desk:
    """A house whose reports are asked for, and the clock that it has."""

    reporting: Reporting
    size: int

    def digest(self, asked: ReportAsked) -> tuple[str, str]:
        """Of the file, and of what was signed of it."""
        made = finished(self.reporting.make(asked))
        made.download.file.close()
        return made.download.spooled.sha256, hashlib.sha256(made.envelope.encode()).hexdigest()


@contextmanager
def desk(url: str, told: World, keys: Path, folder: Path) -> Iterator[Desk]:
    """The house that lived through the story, or goes on after it."""
    folder.mkdir(exist_ok=True)
    clock, signing = Clock(), house_keys.read_signing_keys(keys)
    with engine_at(migrated(url), clock) as engine:
        for one in told.asked if not engine.view.size else ():
            clock.now_ms = one.now_ms
            ask(engine, one)
        clock.now_ms = engine.view.time_ms
        with (
            closing_database(url) as database,
            closing(PublicLog(database, folder / "tiles", folder / "anchor")) as log,
            Projecting(database, lambda: engine.view.size, lambda: 0) as history,
        ):
            view = engine.view
            log.show(view.size, view.frontier.root(), partial(sign_checkpoint, signing))
            size = told.asked[-1].state.size
            history.wait_for(size, 60)
            workings = Workings(database, lambda: None, signing.blinding, clock_s=lambda: 0.0)
            seal = sealed(engine, log, lambda: signing)
            yield Desk(Reporting(database, workings, Spool(folder / "spool"), seal), size)


@contextmanager
def closing_database(url: str) -> Iterator[Database]:
    database = open_store(url)
    try:
        yield database
    finally:
        database.dispose()


def wanted(size: int) -> Iterator[ReportAsked]:
    """Every report, of all and of less, whole and cut, in every form."""
    for report in REPORTS.values():
        if report.build is None:
            continue
        given = GIVEN if report.audience is Audience.ACCOUNT else ()
        for form in (Form.JSON, Form.CSV, Form.XLSX):
            yield ReportAsked(report=report.id, as_of=size, form=form, given=given)
        yield ReportAsked(report=report.id, as_of=size // 2, form=Form.JSON, given=given)
        if report.audience is Audience.CUT:
            yield ReportAsked(report=report.id, as_of=size, form=Form.JSON, members=(MemberId("dex"),))


def undone_and_done_again(url: str) -> None:
    """The newest migration: what it made is made of the journal again."""
    with closing_database(url) as database:
        with transaction(database) as connection:
            command.downgrade(_config(connection), "-1")
        migrate.upgrade(database)


def test_reports_are_the_same_on_both_databases_after_a_restart_and_a_migration(
    sqlite_stores: Stores, postgresql_stores: Stores, told: World, key_folder: Path, tmp_path: Path
) -> None:
    first, second = sqlite_stores.new(), postgresql_stores.new()
    with desk(first, told, key_folder, tmp_path / "sqlite") as one:
        asked = list(wanted(one.size))
        said = [one.digest(each) for each in asked]
    with desk(second, told, key_folder, tmp_path / "postgresql") as other:
        assert [other.digest(each) for each in asked] == said, "on the other database"
    undone_and_done_again(second)
    with desk(second, told, key_folder, tmp_path / "postgresql") as again:
        again.reporting._spool = Spool(tmp_path / "lost")
        assert [again.digest(each) for each in asked] == said, "after a restart and a migration"
    sqlite_stores.drop(first)
    postgresql_stores.drop(second)


def test_a_report_that_comes_out_otherwise_is_not_given_out(
    sqlite_stores: Stores, told: World, key_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = sqlite_stores.new()
    with desk(url, told, key_folder, tmp_path) as house:
        asked = ReportAsked(report="trial-balance", as_of=house.size, form=Form.JSON)
        house.digest(asked)
        for path in (tmp_path / "spool").iterdir():
            path.unlink()
        monkeypatch.setattr("clearing.reports.canonical.VERSION", "2")
        with pytest.raises(ReportChanged, match="trial-balance"):
            house.digest(asked)


def test_a_report_of_an_attestation_wants_one(
    sqlite_stores: Stores, told: World, key_folder: Path, tmp_path: Path
) -> None:
    with desk(sqlite_stores.new(), told, key_folder, tmp_path) as house, pytest.raises(NothingAttested):
        house.digest(ReportAsked(report="recompute-bundle", as_of=1, form=Form.FILE))
