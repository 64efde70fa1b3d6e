"""A served house for tests: seeded in process through the engine, then a real ``clearing serve`` over mTLS.

Members ``alpha`` and ``beta``; alpha has clients ``one`` and ``two`` (one of participant ``pat``), beta has
client ``one``, also of pat. Each client has a million USDC, alpha/two also ten ether. BTC stands at 64,000,
ETH at 2,000.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing import keys as house_keys
from clearing.documents import Documents
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.market.prices import signed_bytes
from clearing.model.commands import (
    AdmitMember,
    ApplyPrices,
    Command,
    Deposit,
    FoundHouse,
    FundHouse,
    HouseMoney,
    ListAsset,
    ListInstrument,
    OpenAccount,
    PriceObservation,
    RegisterSource,
)
from clearing.model.ids import AccountKey, MemberId, ParticipantId, SourceId
from clearing.model.values import Parameters
from clearing.publish import Publisher
from clearing.server.identity import parse_spiffe
from clearing.settings import ANCHOR_SUFFIX, TILES_SUFFIX
from clearing.store import migrate
from clearing.store.queries import AttestationIndex
from clearing_client.client import Client
from ledger.salt import seeded_salts
from ledger.store.connect import open_store
from ledger.store.public_log import PublicLog
from tests.builders import BTC, ETH, ETH_FEED, ETHER, INSTRUMENTS, PARAMETERS, SETTLEMENT, USD, USDC

CLEARING = "from clearing.cli import main; main()"
HOUSE = "testhouse"
MILLION = 1_000_000 * USD
SOURCES = ("s1", "s2", "s3")
CLIENTS = (
    "member/alpha",
    "member/beta",
    "regulator/rita",
    "administrator/anna",
    "administrator/bert",
    "liquidity-provider/beta",
    "custodian/vault",
    *(f"price-source/{source}" for source in SOURCES),
)
ACCOUNTS = (("alpha", "one", "pat"), ("alpha", "two", "quinn"), ("beta", "one", "pat"))
START_S = 20
AS_ONE_LIKES = "1000"
"""What callers may take is multiplied by this, unless a test of just that says otherwise."""
BTC_TICKS, ETH_TICKS = 640_000, 20_000


@dataclass(frozen=True)
class Served:
    """A running house: where it listens, its keys, and its process."""

    address: str
    keys: Path
    directory: Path
    process: subprocess.Popen[str]
    said: str = ""
    """The line in which the house said where it serves."""

    def client(self, who: str) -> Client:
        """A client with the certificate of ``role/id``."""
        return Client.connect(self.address, self.keys / "clients" / who)

    def journal_size(self) -> int:
        """How many entries the journal has, as an administrator sees it."""
        with self.client("administrator/anna") as anna:
            return anna.house().journal_size


@contextmanager
def served_house(directory: Path, *arguments: str, **settings: str) -> Iterator[Served]:
    """Seed a house in ``directory`` and serve it until the block is left."""
    keys = directory / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(directory, keys)
    with serving(directory, *arguments, **settings) as served:
        yield served


@contextmanager
def serving(
    directory: Path, *arguments: str, program: str = CLEARING, house: str = HOUSE, **settings: str
) -> Iterator[Served]:
    """Serve the ``house`` that was seeded in ``directory``, or an empty one; ``program`` runs the command line.

    ``settings`` are added to its environment.
    """
    options = ("--database", f"sqlite:///{directory / 'house.db'}", "--keys", str(directory / "keys"))
    process = start(
        ["serve", *options, "--listen", "127.0.0.1:0", *arguments],
        directory / "serve.log",
        program,
        {"CLEARING_RATE_SCALE": AS_ONE_LIKES} | settings,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"serving {house} on "), (line, (directory / "serve.log").read_text())
        address = line.split()[3].rstrip(",")
        yield Served(
            address=address, keys=directory / "keys", directory=directory, process=process, said=line
        )
    finally:
        process.terminate()
        process.wait(timeout=START_S)
        assert process.stdout is not None
        process.stdout.close()


def start(
    arguments: list[str], log: Path, program: str = CLEARING, settings: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """``clearing`` with ``arguments`` in a process of its own, on this interpreter's path."""
    with log.open("a") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment() | dict(settings or {}),
        )


def environment() -> dict[str, str]:
    """The environment of a child: this interpreter's path, and no settings of whoever runs the tests."""
    foreign = ("CLEARING_", "CLEARCTL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "160", "NO_COLOR": "1"}


def denials(served: Served) -> list[dict[str, str]]:
    """What the server logged of denied calls."""
    lines = (served.directory / "serve.log").read_text().splitlines()
    return [found for found in map(json.loads, lines) if found["event"] == "denied"]


def seed(directory: Path, keys: Path, url: str | None = None, *, parameters: Parameters = PARAMETERS) -> None:
    """Found the house in ``directory`` and bring it through its first cycle, which it attests.

    The journal is at ``url``, its anchor and its tiles are in ``directory``: where ``clearing serve`` has them if
    nobody says where a SQLite journal and they are.
    """
    file = directory / "house.db"
    database = open_store(url or f"sqlite:///{file}")
    migrate.upgrade(database)
    salts = seeded_salts(b"served")
    anchor, tiles = Path(f"{file}{ANCHOR_SUFFIX}"), Path(f"{file}{TILES_SUFFIX}")
    with (
        closing(Engine(database, clock=clock_ms, salts=salts)) as engine,
        closing(PublicLog(database, tiles, anchor)) as log,
    ):
        for number, command in enumerate(founding(keys, parameters)):
            outcome = engine.execute(command, request_id=f"seed/{number}", actor="test")
            assert outcome.accepted, outcome
        for source in SOURCES:
            outcome = engine.execute(
                publication(keys, source, 1, BTC_TICKS), request_id=f"seed/{source}", actor="test"
            )
            assert outcome.accepted, outcome
        signing = house_keys.read_signing_keys(keys)
        assert Publisher(engine, signing, log).publish_if_due() is not None
        policy = house_keys.read_policy(keys)
        Documents(directory / "public", policy, signing, AttestationIndex(database).all).write()
    database.dispose()


def founding(keys: Path, parameters: Parameters = PARAMETERS) -> list[Command]:
    """The commands that make the house of this module, up to its first prices."""
    commands: list[Command] = [
        FoundHouse(house=HOUSE, settlement=SETTLEMENT, parameters=parameters),
        ListAsset(asset=ETHER),
        *(ListInstrument(instrument=instrument) for instrument in INSTRUMENTS[:2]),
        *(FundHouse(into=money, amount_minor=MILLION) for money in HouseMoney),
        *(AdmitMember(member=MemberId(name), name=name.title()) for name in ("alpha", "beta")),
    ]
    for member, name, participant in ACCOUNTS:
        commands.append(
            OpenAccount(member=MemberId(member), account=name, participant=ParticipantId(participant))
        )
        commands.append(Deposit(account=AccountKey(f"{member}/{name}"), asset=USDC, amount_minor=MILLION))
    commands.append(Deposit(account=AccountKey("alpha/two"), asset=ETH, amount_minor=10 * 10**18))
    for source in SOURCES:
        public = (keys / "clients" / "price-source" / source / "signing.pub").read_text().strip()
        commands.append(RegisterSource(source=SourceId(source), public_key=public))
    return commands


def signing_key(keys: Path, source: str) -> Ed25519PrivateKey:
    """The key with which ``source`` signs prices."""
    return house_keys.read_signing_key(keys / "clients" / "price-source" / source / "signing.key")


def publication(keys: Path, source: str, sequence: int, btc_ticks: int) -> ApplyPrices:
    """A signed publication of both feeds, observed now."""
    now_ms = clock_ms()
    prices = (
        PriceObservation(feed=BTC, price_ticks=btc_ticks),
        PriceObservation(feed=ETH_FEED, price_ticks=ETH_TICKS),
    )
    signed = signed_bytes(HOUSE, SourceId(source), now_ms, sequence, prices)
    return ApplyPrices(
        source=SourceId(source),
        observed_ms=now_ms,
        sequence=sequence,
        prices=prices,
        signature=signing_key(keys, source).sign(signed).hex(),
    )


def wait_until(condition: object, seconds: float = 10.0) -> None:
    """Wait until calling ``condition`` gives something true."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
