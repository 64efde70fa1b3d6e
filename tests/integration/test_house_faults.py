"""A house whose disk, database or clock fails refuses with a reason, says so in health, and comes back by itself."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from clearing import keys as house_keys
from clearing.documents import Documents
from clearing.engine import Engine
from clearing.health import BEATS_MAX, Facts, Unfit, unfit
from clearing.main import clock_ms, steady_ms
from clearing.model.commands import Deposit
from clearing.model.ids import AccountKey
from clearing.publish import UNSHOWN_MAX_MS, Publisher
from clearing.pulse import Pulse, beat, facts
from clearing.server.identity import parse_spiffe
from clearing.store import migrate
from clearing.store.queries import AttestationIndex
from ledger.salt import seeded_salts
from ledger.store import writer
from ledger.store.connect import Database, open_store
from ledger.store.projector import Projecting
from ledger.store.public_log import PublicLog
from ledger.store.verify import Verified
from ledger.store.writer import ClockWentBack, StoreUnavailable
from tests import postgres
from tests.builders import USDC
from tests.integration.test_writer import only_on_postgresql, only_on_sqlite, session
from tests.integration.test_writer_faults import soon
from tests.ledgers import journal_of, verified
from tests.serving import CLIENTS, HOUSE, founding


@dataclass
class Clocks:
    """The clocks of a house, which the test moves."""

    back_ms: int = 0
    steady_ms: int = 0

    def now_ms(self) -> int:
        return clock_ms() - self.back_ms

    def steady(self) -> int:
        return self.steady_ms


@dataclass
class Running:
    """A house in this process, as ``clearing serve`` puts it together, with clocks of its own."""

    url: str
    folder: Path
    database: Database
    engine: Engine
    publisher: Publisher
    clocks: Clocks
    gather: Callable[[], Facts]
    documents: Documents
    deposits: int = 0
    health: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pulse = Pulse(partial(beat, self.engine, self.publisher, self.documents), self.say)

    def say(self, *, serving: bool) -> None:
        self.health.append(serving)

    def deposit(self) -> None:
        """A command that adds to the journal."""
        command = Deposit(account=AccountKey("alpha/one"), asset=USDC, amount_minor=1)
        request_id = f"deposit/{self.deposits}"
        assert self.engine.execute(command, request_id=request_id, actor="test").accepted
        self.deposits += 1

    def deposit_without_end(self) -> None:
        """Fill the disk."""
        while True:
            self.deposit()

    def beat(self, times: int = 1) -> bool:
        """Beat, a second each time; what health says then."""
        for _ in range(times):
            self.clocks.steady_ms += 1_000
            self.pulse.beat()
            self.pulse.judge(self.gather)
        return self.health[-1]

    def why(self) -> set[Unfit]:
        return set(unfit(self.gather()))


@pytest.fixture
def house(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    for name in ("LOOK_S", "RETRY_S"):
        monkeypatch.setattr(writer, name, 0.02)
    keys, clocks = tmp_path / "keys", Clocks()
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    signing, policy = house_keys.read_signing_keys(keys), house_keys.read_policy(keys)
    database = open_store(url)
    migrate.upgrade(database)
    with (
        closing(Engine(database, clock=clocks.now_ms, salts=seeded_salts(b"faults"))) as engine,
        closing(PublicLog(database, tmp_path / "tiles", tmp_path / "anchor")) as log,
        Projecting(database, lambda: engine.view.size, steady_ms) as history,
    ):
        publisher = Publisher(engine, signing, log, clock=clocks.steady)
        engine.hold(publisher.why_not)
        documents = Documents(tmp_path / "state", policy, signing, AttestationIndex(database).all)
        gather = partial(facts, database, engine, publisher, history)
        running = Running(url, tmp_path, database, engine, publisher, clocks, gather, documents)
        for number, command in enumerate(founding(keys)):
            engine.execute(command, request_id=f"seed/{number}", actor="test")
        soon(lambda: history.position == engine.view.size)
        assert running.beat()
        yield running
    database.dispose()


def require_whole(house: Running) -> None:
    """The journal verifies, what is published is what it has, and nothing was done twice."""
    house.publisher.show()
    found = verified(house.url)
    assert isinstance(found, Verified)
    assert (found.size, found.root) == (house.engine.view.size, house.engine.view.frontier.root())
    seen = [one.request_id for one in journal_of(house.url) if one.request_id.startswith("deposit/")]
    assert seen == [f"deposit/{number}" for number in range(house.deposits)]


# ------------------------------------------------------------------------------------------------------ the disk


@contextmanager
def tiles_away(house: Running) -> Iterator[None]:
    tiles, aside = house.folder / "tiles", house.folder / "aside"
    tiles.rename(aside)
    tiles.write_bytes(b"in the way")
    yield
    tiles.unlink()
    aside.rename(tiles)


@contextmanager
def anchor_fixed(house: Running) -> Iterator[None]:
    in_the_way = house.folder / "anchor.tmp"
    in_the_way.mkdir()
    yield
    in_the_way.rmdir()


@pytest.mark.parametrize("fault", [tiles_away, anchor_fixed])
def test_a_log_that_cannot_be_shown_stops_the_house_after_a_while_and_lets_it_go_on(
    house: Running, fault: Callable[[Running], Any]
) -> None:
    with fault(house):
        house.deposit()
        assert house.beat(), "one beat may fail"
        house.deposit()
        assert not house.beat(UNSHOWN_MAX_MS // 1_000)
        assert house.why() >= {Unfit.UNSHOWN}
        size = house.engine.view.size
        with pytest.raises(StoreUnavailable, match="the log shows no new entry for"):
            house.deposit()
        assert (house.engine.view.size, house.engine.stopped) == (size, None)
    assert house.beat(), "the beat shows the log first"
    house.deposit()
    require_whole(house)


def test_documents_that_cannot_be_written_are_said_in_health_and_do_not_stop_the_house(
    house: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = house.folder / "state"
    state.write_bytes(b"in the way")
    monkeypatch.setattr(house.documents, "write_new", lambda _newest: house.documents.write())
    assert house.beat(BEATS_MAX)
    assert not house.beat()
    house.deposit()
    state.unlink()
    assert house.beat()
    require_whole(house)


@only_on_sqlite
def test_a_full_disk_refuses_and_says_so_until_there_is_room(house: Running) -> None:
    with session(house.database, "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"):
        size = house.engine.view.size
        with pytest.raises(StoreUnavailable, match="full"):
            house.deposit_without_end()
        assert house.engine.view.size == size + house.deposits
        assert not house.beat()
        assert house.why() >= {Unfit.STORE}
    soon(lambda: house.engine.fault is None)
    soon(house.beat)
    house.deposit()
    require_whole(house)


# -------------------------------------------------------------------------------------------------- the database


@only_on_postgresql
def test_a_database_that_goes_away_is_waited_for(house: Running) -> None:
    view = house.engine.view
    with postgres.away(house.url):
        assert not house.beat()
        assert house.why() >= {Unfit.STORE}
        with pytest.raises(StoreUnavailable):
            house.deposit()
        assert (house.engine.view, house.engine.stopped) == (view, None)
    soon(lambda: house.engine.fault is None)
    soon(house.beat)
    house.deposit()
    require_whole(house)


def test_a_schema_that_another_program_has_migrated_is_not_served(house: Running) -> None:
    with house.database.connect() as connection:
        head = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert not house.beat()
        assert house.why() == {Unfit.SCHEMA}
        connection.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": head})
    assert house.beat()


# ----------------------------------------------------------------------------------------------------- the clock


def test_a_clock_that_steps_back_stops_the_house_until_it_has_caught_up(house: Running) -> None:
    house.deposit()
    house.clocks.back_ms = 3_600_000
    size = house.engine.view.size
    for _ in range(2):
        with pytest.raises(ClockWentBack):
            house.deposit()
    assert not house.beat(3)
    assert house.why() == {Unfit.CLOCK}
    assert house.engine.view.size == size
    house.clocks.back_ms = 0
    assert house.beat()
    house.deposit()
    require_whole(house)
