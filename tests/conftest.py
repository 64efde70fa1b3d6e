"""Stores for tests: a test that asks for ``url`` runs on SQLite and on PostgreSQL."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests import postgres
from tests.stores import SqliteFiles, Stores

settings.register_profile("untimed", deadline=None)  # machines are shared: no test fails for being slow
settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background deaf to Ctrl-C, and so would be the programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def store_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def sqlite_stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return SqliteFiles(tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="session")
def postgresql_stores() -> Iterator[Stores]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def stores(store_kind: str, request: pytest.FixtureRequest) -> Stores:
    """A PostgreSQL server is started when the first test wants one, and kept for all others."""
    found: Stores = request.getfixturevalue(f"{store_kind}_stores")
    return found


@pytest.fixture
def url(stores: Stores) -> Iterator[str]:
    """A database that is not there yet (SQLite) or empty (PostgreSQL)."""
    made = stores.new()
    yield made
    stores.drop(made)
