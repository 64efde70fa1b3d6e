"""Once a second the served house does what is due, attests what is closed, and publishes it."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from clearing import keys as house_keys
from clearing.attest.opening import open_attestation
from clearing.attest.policy import Policy
from clearing.documents import Documents
from clearing.engine import Engine, HouseStopped
from clearing.main import clock_ms
from clearing.model.commands import FoundHouse, NewTrade, SubmitTrades
from clearing.model.ids import AccountKey, MemberId, SetId
from clearing.publish import Publisher
from clearing.pulse import beat
from clearing.server.identity import parse_spiffe
from clearing.store import migrate
from clearing.store.queries import AttestationIndex
from clearing_client.offline import verify_attestations
from ledger.require import InvariantViolated
from ledger.salt import seeded_salts
from ledger.store.connect import Database, open_store
from ledger.store.public_log import PublicLog
from tests.builders import BTC_PERP
from tests.serving import BTC_TICKS, CLIENTS, HOUSE, SOURCES, founding, publication

ONE, TWO = AccountKey("alpha/one"), AccountKey("alpha/two")


@dataclass
class Running:
    """A house in this process, as ``clearing serve`` puts it together."""

    engine: Engine
    database: Database
    keys: Path
    log: PublicLog
    sequence: int = 0

    @property
    def publisher(self) -> Publisher:
        return Publisher(self.engine, house_keys.read_signing_keys(self.keys), self.log)

    def prices(self, btc_ticks: int) -> None:
        self.sequence += 1
        for source in SOURCES:
            command = publication(self.keys, source, self.sequence, btc_ticks)
            outcome = self.engine.execute(command, request_id=f"{source}/{self.sequence}", actor="test")
            assert outcome.accepted, outcome


@pytest.fixture
def running(tmp_path: Path, url: str) -> Iterator[Running]:
    keys = tmp_path / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    database = open_store(url)
    migrate.upgrade(database)
    with (
        closing(Engine(database, clock=clock_ms, salts=seeded_salts(b"beat"))) as engine,
        closing(PublicLog(database, tmp_path / "tiles", tmp_path / "anchor")) as log,
    ):
        for number, command in enumerate(founding(keys)):
            if isinstance(command, FoundHouse):
                command = replace(command, parameters=replace(command.parameters, call_ms=1))  # noqa: PLW2901
            engine.execute(command, request_id=f"seed/{number}", actor="test")
        house = Running(engine, database, keys, log)
        house.prices(BTC_TICKS)
        yield house
    database.dispose()


def test_an_expired_call_is_acted_on_without_anybody_asking(running: Running) -> None:
    trade = NewTrade(
        trade_id="t1",
        instrument=BTC_PERP,
        buyer=ONE,
        seller=TWO,
        lots=95_000,
        price_ticks=BTC_TICKS,
        executed_ms=clock_ms(),
    )
    batch = SubmitTrades(member=MemberId("alpha"), trades=(trade,))
    assert running.engine.execute(batch, request_id="trade", actor="test").accepted
    running.prices(BTC_TICKS - 2_000)
    state = running.engine.view.state
    assert [call.netting_set for call in state.calls.values()] == [SetId(ONE)]
    while clock_ms() <= max(call.due_ms for call in state.calls.values()):
        pass
    beat(running.engine, running.publisher, None)
    after = running.engine.view.state
    assert not after.calls
    assert SetId(ONE) in after.liquidations or after.defaults, "nobody bids: it may end in default at once"


def test_a_beat_with_nothing_due_and_nothing_to_attest_writes_nothing(running: Running) -> None:
    beat(running.engine, running.publisher, None)
    before = running.engine.view.size
    beat(running.engine, running.publisher, None)
    assert running.engine.view.size == before


def test_each_closed_cycle_is_attested_once_and_what_is_published_verifies(
    running: Running, tmp_path: Path
) -> None:
    policy, signing = house_keys.read_policy(running.keys), house_keys.read_signing_keys(running.keys)
    documents = Documents(tmp_path / "state", policy, signing, AttestationIndex(running.database).all)
    publisher = running.publisher
    for step in range(3):
        beat(running.engine, publisher, documents)
        beat(running.engine, publisher, documents)
        running.prices(BTC_TICKS + step)
    beat(running.engine, publisher, documents)
    files = sorted((tmp_path / "state" / "attestations").iterdir())
    assert [path.name for path in files] == [f"{number:06}.json" for number in range(1, 5)]
    note = (tmp_path / "state" / "checkpoint").read_bytes()
    report = verify_attestations(policy, note, [path.read_bytes() for path in files], clock_ms())
    assert report.ok, report


def test_officers_that_are_replaced_between_two_cycles_end_nothing(running: Running, tmp_path: Path) -> None:
    """Until the next attestation the newest one is of officers whom the policy does not name any more."""
    signing = house_keys.Signing(running.keys)
    publisher = Publisher(running.engine, signing(), running.log, renewed=signing)

    def renewed() -> tuple[Policy, dict[int, bytes]]:
        return signing.published().policy, {}

    directory = tmp_path / "state"
    documents = Documents(
        directory,
        signing.published().policy,
        signing(),
        AttestationIndex(running.database).all,
        renewed=renewed,
    )
    beat(running.engine, publisher, documents)
    note = (directory / "checkpoint").read_bytes()
    for role in ("risk", "operations", "compliance"):
        house_keys.rotate(running.keys, role)
    beat(running.engine, publisher, documents)
    assert (directory / "checkpoint").read_bytes() == note
    running.prices(BTC_TICKS + 1)
    beat(running.engine, publisher, documents)
    newest = (directory / "attestations" / "000002.json").read_bytes()
    open_attestation(signing.published().policy, newest)


def test_a_house_that_stopped_is_not_served_on(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "stopped", InvariantViolated("a law of the book"))
    with pytest.raises(HouseStopped, match="a law of the book"):
        beat(running.engine, running.publisher, None)
