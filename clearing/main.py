"""The composition root: everything a served house is made of, put together, and taken apart in order.

1. The anchor is asked whether this journal is the one that was signed: a restored old backup ends here, and
   nothing was written to it. Migrations run, then the store's lease is taken and the journal replayed: one
   process serves one house. The public log catches up with the journal.
2. The server takes calls; one printed line says where.
3. Once a second: what has become due by the clock is run, a closed cycle is attested, the log shows what was
   committed, and the documents for verifiers are written.
   After each beat health says whether the house is fit to serve (``health.py``); each change is logged once.
4. SIGTERM or SIGINT: health says NOT_SERVING, running calls finish, the log shows the last of them, the writer
   drains, the lease goes back. A second signal ends the process at once: whatever was answered is on disk.

A house that stopped because of a bug, or because another process took the lease, is taken down: serving on would show
a state that nobody vouches for. Any other fault passes by itself: the house takes no commands until it has.
"""

import gc
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Protocol

import structlog

from clearing import keys, logs
from clearing.attest.envelope import EnvelopeRefused, VerifiedPayload, open_envelope
from clearing.attest.envelope import parse as parse_envelope
from clearing.attest.policy import Policy, format_policy
from clearing.attest.signer import SigningKeys, sign_checkpoint
from clearing.attest.statement import attested_checkpoint, parse
from clearing.decide.due import due
from clearing.engine import Engine, HouseStopped
from clearing.health import Facts, Unfit, unfit
from clearing.model.commands import Tick
from clearing.model.values import AttestationRecord
from clearing.publish import Publisher
from clearing.server import app, metrics, traces
from clearing.server.history import Books, History
from clearing.server.services import Sources
from clearing.server.spool import Spool
from clearing.server.tail import Tail
from clearing.settings import Settings, places_of, require_loopback
from clearing.store import migrate
from clearing.store.queries import AttestationIndex
from ledger.store.connect import (
    Database,
    OutcomeUnknown,
    StoreUnreachable,
    open_store,
    require_reachable,
    system_salts,
)
from ledger.store.projector import Projecting
from ledger.store.public_log import PublicLog, require_goes_on
from ledger.store.writer import ClockWentBack, Overloaded, StoreUnavailable

BEAT_S = 1.0
SWITCH_S = 0.0005
"""How long a thread that computes keeps the interpreter from the others; the projector and the writer share it."""
DRAIN_S = 10.0


class WrongHouse(Exception):
    """The keys are of another house than the journal."""


def let_garbage_wait() -> None:
    """Look for garbage seldom, and not in what is there already: it keeps everybody waiting, and a state of immutable
    values has few cycles.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def serve(settings: Settings, announce: Callable[[str], None], *, insecure_loopback: bool = False) -> None:
    """Serve the house of ``settings`` until a signal or a bug stops it; ``announce`` gets the one line.

    ``insecure_loopback`` serves without TLS, and only this machine.
    """
    logs.configure(settings.log_level)
    presented = _presented(settings, insecure_loopback=insecure_loopback)
    stopping = _stop_on_signals()
    places = places_of(settings)
    house, signing = keys.house_of(settings.keys), keys.read_signing_keys(settings.keys)
    with (
        _migrated(settings.database, places.anchor) as database,
        closing(Engine(database, clock=clock_ms, salts=system_salts)) as engine,
        closing(PublicLog(database, places.tiles, places.anchor)) as log,
        Projecting(database, lambda: engine.view.size, steady_ms) as history,
        Tail(database, lambda: engine.view) as tail,
        TemporaryDirectory(prefix="clearing-reports-") as spooled,
        traces.traced(os.environ) as tracing,
    ):
        sys.setswitchinterval(SWITCH_S)
        let_garbage_wait()
        engine.heed(lambda: history.lag_ms)
        _require_house(engine, house)
        if settings.state is not None:
            _require_own_signatures(engine, keys.read_policy(settings.keys))
        publisher = Publisher(engine, signing, log, clock=steady_ms)
        engine.hold(publisher.why_not)
        documents = _documents(settings, database, signing)
        if documents is not None:
            documents.write()
        books = Books(database, log, tail, History(database, history, lambda: engine.view.size))
        sources = _sources(engine, publisher, books, Spool(Path(spooled)))
        ports, shown, scale = _ports(settings), _figures(engine, history), settings.rate_scale
        server = app.start(house, ports, presented, sources, shown, scale=scale, told=tracing)
        try:
            pulse = Pulse(partial(beat, engine, publisher, documents), server.say)
            gather = partial(_facts, database, engine, publisher, history)
            pulse.judge(gather)
            announce(f"serving {house} on {_places(ports, server)}, {engine.view.size} journal entries")
            while not stopping.wait(BEAT_S):
                pulse.beat()
                pulse.judge(gather)
        finally:
            server.stop(DRAIN_S)
        publisher.show()  # not after a bug: what stopped the house is looked at before more is signed


def _presented(settings: Settings, *, insecure_loopback: bool) -> Callable[[], app.Tls] | None:
    """What the server presents at each handshake; None without TLS, where only this machine can connect."""
    if insecure_loopback:
        require_loopback(settings.listen)
        log = structlog.get_logger()
        log.warning("no TLS: whoever is on this machine may be anybody", on=settings.listen)
        return None
    server_keys = keys.Rotating(settings.keys)

    def now() -> app.Tls:
        found = server_keys()
        return app.Tls(certificate=found.certificate, key=found.key, authority=found.authority)

    return now


def _ports(settings: Settings) -> app.Ports:
    return app.Ports(
        callers=settings.listen, operators=settings.admin_listen, figures=settings.metrics_listen
    )


def _places(ports: app.Ports, server: app.Server) -> str:
    """Where the house listens, with the ports that it took."""

    def place(listen: str, port: int | None) -> str:
        return f"{listen.rpartition(':')[0]}:{port}"

    found = place(ports.callers, server.port)
    if ports.operators is not None:
        found += f", for administrators on {place(ports.operators, server.operators_port)}"
    if ports.figures is not None:
        found += f", metrics on {place(ports.figures, server.figures_port)}"
    return found


def _figures(engine: Engine, history: Projecting) -> metrics.Metrics:
    """What Prometheus is shown of the house itself; the server adds what it knows of calls."""
    shown = metrics.Metrics()
    shown.show("up", "1 while the house takes commands, 0 once it has stopped.", lambda: not engine.stopped)
    shown.show("journal_entries", "Entries of the journal.", lambda: engine.view.size)
    shown.show("history_lag_seconds", "How far the history is behind.", lambda: history.lag_ms / 1_000)
    shown.show("writer_waiting", "Commands that wait to be decided.", lambda: engine.waiting)
    shown.show(
        "attestation_age_seconds",
        "Time since what the newest attestation says was so; NaN before the first.",
        lambda: _attestation_age_s(engine.view.state.attestation),
    )
    return shown


def _attestation_age_s(newest: AttestationRecord | None) -> float:
    return math.nan if newest is None else (clock_ms() - _as_of_ms(newest.envelope)) / 1_000


@lru_cache(maxsize=1)
def _as_of_ms(envelope: str) -> int:
    """The time that an attestation of this house speaks of. It came from the journal, so it is not verified again."""
    return parse(VerifiedPayload(parse_envelope(envelope.encode()).payload)).as_of_ms


def run_migrations(url: str) -> None:
    """Bring the database at ``url`` to the newest schema."""
    with _open(url) as database:
        migrate.upgrade(database)


@contextmanager
def _open(url: str) -> Iterator[Database]:
    """The database, with no connection left in the end: a file is whole then, without its log beside it."""
    database = open_store(url)
    try:
        require_reachable(database)
        yield database
    finally:
        database.dispose()


@contextmanager
def _migrated(url: str, anchor: Path) -> Iterator[Database]:
    """The database in its newest schema, unless it is older than what was signed."""
    with _open(url) as database:
        require_goes_on(database, anchor)
        migrate.upgrade(database)
        yield database


def clock_ms() -> int:
    """UTC milliseconds."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Milliseconds that never go back, from some moment on."""
    return time.monotonic_ns() // 1_000_000


def _sources(engine: Engine, publisher: Publisher, books: Books, spool: Spool) -> Sources:
    return Sources(
        engine=engine,
        clock=clock_ms,
        journaled=AttestationIndex(books.database).all,
        checkpoint=publisher.checkpoint,
        books=books,
        spool=spool,
    )


class Pulse:
    """Step 3: beats once, and says in health what the facts are. The main thread does it: it has nothing else to do."""

    def __init__(self, beat_once: Callable[[], None], say: "Say") -> None:
        self._beat_once, self._say, self._log = beat_once, say, structlog.get_logger()
        self._failed_beats, self._failure = 0, ""
        self._unfit: frozenset[Unfit] = frozenset()
        self._serving: bool | None = None

    def beat(self) -> None:
        """Beat once; what passes by itself is counted. Raises ``HouseStopped``, and what is for good."""
        try:
            self._beat_once()
        except (StoreUnavailable, StoreUnreachable, OutcomeUnknown, ClockWentBack, Overloaded) as error:
            if not self._failed_beats:
                self._log.warning("beat skipped", error=str(error))
            self._failed_beats, self._failure = self._failed_beats + 1, str(error)
        else:
            self._failed_beats, self._failure = 0, ""

    def judge(self, gather: Callable[[], Facts]) -> None:
        """Say in health whether the house is fit to serve if that has changed, and log it if the reason has."""
        why = unfit(replace(gather(), failed_beats=self._failed_beats, failure=self._failure))
        if self._serving is not (not why):
            self._serving = not why
            self._say(serving=self._serving)  # whoever watches hears each time
        if self._unfit == why.keys():
            return
        self._unfit = frozenset(why)
        if why:
            self._log.error("not serving", why={reason.value: detail for reason, detail in why.items()})
        else:
            self._log.warning("serving again")


class Say(Protocol):
    """Tells whoever asks for health."""

    def __call__(self, *, serving: bool) -> None:
        """From now on."""


def _facts(database: Database, engine: Engine, publisher: Publisher, history: Projecting) -> Facts:
    try:
        is_newest, unreachable = migrate.is_newest(database), ""
    except StoreUnreachable as error:
        is_newest, unreachable = True, str(error)
    journal_ms = engine.view.time_ms  # before the clock is read: what comes between is not in the future
    return Facts(
        stopped=_text(engine.stopped),
        fault=_text(engine.fault) or unreachable,
        schema="" if is_newest else "another program has migrated it",
        journal_ms=journal_ms,
        now_ms=engine.now_ms(),
        unshown=publisher.why_not(),
        lag_ms=history.lag_ms,
        history=_text(history.failed),
    )


def _text(error: Exception | None) -> str:
    return "" if error is None else str(error) or type(error).__name__


def beat(engine: Engine, publisher: Publisher, documents: "Documents | None") -> None:
    """Run what has become due by the clock, attest a closed cycle, show the log, and write the documents.

    Raises ``HouseStopped`` once the house has stopped.
    """
    if engine.stopped is not None:
        raise HouseStopped(str(engine.stopped)) from engine.stopped
    if publisher.why_not():
        publisher.show()  # first: as long as the log is late nothing is taken, not even a tick
    now_ms = clock_ms()
    if next(due(engine.view.state, now_ms), None) is not None:
        engine.execute(Tick(), request_id=f"tick/{now_ms}", actor="house/clock")
    publisher.publish_if_due()
    publisher.show()
    if documents is not None:
        documents.write_new(engine.view.state.attestation)


class Documents:
    """What a verifier takes away: the policy, every attestation, and the checkpoint of the newest one.

    Without ``signing`` no checkpoint is written: the directory is that of the tiles and shows a newer one.
    """

    def __init__(
        self,
        directory: Path,
        policy: Policy,
        signing: SigningKeys | None,
        records: Callable[[], Sequence[AttestationRecord]],
    ) -> None:
        self._directory, self._policy, self._signing, self._records = directory, policy, signing, records
        self._written = 0

    def write_new(self, newest: AttestationRecord | None) -> None:
        """Write what is not there yet, if ``newest`` is not."""
        if newest is not None and newest.sequence > self._written:
            self.write()

    def write(self) -> None:
        """Write what is not there yet. Each file appears whole; an attestation is never written twice.

        Raises ``StoreUnreachable`` if it may be tried again.
        """
        try:
            self._write()
        except OSError as error:
            raise StoreUnreachable(f"the documents for verifiers cannot be written: {error}") from error

    def _write(self) -> None:
        (self._directory / "attestations").mkdir(parents=True, exist_ok=True)
        _replace(self._directory / "policy.txt", format_policy(self._policy))
        records = self._records()
        for record in records:
            path = self._directory / "attestations" / f"{record.sequence:06}.json"
            if not path.exists():
                _replace(path, record.envelope.encode())
        if records and self._signing is not None:
            _replace(self._directory / "checkpoint", self._checkpoint(records[-1], self._signing))
        self._written = len(records)

    def _checkpoint(self, record: AttestationRecord, signing: SigningKeys) -> bytes:
        """The note over the tree that ``record`` speaks of; the anchor had it before it was attested."""
        opened = open_envelope(record.envelope.encode(), self._policy.trust)
        tree = attested_checkpoint(parse(opened.payload))
        return sign_checkpoint(signing, tree.size, tree.root)


def _documents(settings: Settings, database: Database, signing: SigningKeys) -> Documents | None:
    if settings.state is None:
        return None
    shared = settings.state.resolve() == places_of(settings).tiles.resolve()
    policy = keys.read_policy(settings.keys)
    return Documents(settings.state, policy, None if shared else signing, AttestationIndex(database).all)


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(path)


def _require_own_signatures(engine: Engine, policy: Policy) -> None:
    """A verifier that believes in these keys must be able to read the attestations that it is given."""
    newest = engine.view.state.attestation
    if newest is None:
        return
    try:
        open_envelope(newest.envelope.encode(), policy.trust)
    except EnvelopeRefused as refused:
        raise WrongHouse(
            f"attestation {newest.sequence} was signed with other keys than these ({refused}): "
            "publish without --state, or with the keys that signed it"
        ) from refused


def _require_house(engine: Engine, house: str) -> None:
    charter = engine.view.state.charter
    if charter is not None and charter.house != house:
        raise WrongHouse(f"the keys are of {house}, the journal is of {charter.house}")


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # the next one ends the process at once

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping
