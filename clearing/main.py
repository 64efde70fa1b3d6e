"""The composition root: everything a served house is made of, put together, and taken apart in order.

1. The anchor is asked whether this journal is the one that was signed: a restored old backup ends here, and
   nothing was written to it. Migrations run, then the store's lease is taken and the journal replayed: one
   process serves one house. The public log catches up with the journal.
2. The server takes calls; one printed line says where.
3. Once a second: what has become due by the clock is run, a closed cycle is attested, the log shows what was
   committed, and the documents for verifiers are written.
   Witnesses are asked to cosign what the log shows, beside all that (``cosigning.py``).
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from types import FrameType

import structlog

from clearing import keys, logs
from clearing.attest.envelope import EnvelopeRefused, VerifiedPayload
from clearing.attest.envelope import parse as parse_envelope
from clearing.attest.opening import open_attestation
from clearing.attest.policy import Policy
from clearing.attest.statement import parse
from clearing.cosigning import Cosigning
from clearing.documents import Documents
from clearing.engine import Engine
from clearing.health import Facts
from clearing.model.values import AttestationRecord
from clearing.publish import Publisher
from clearing.pulse import Pulse, beat, facts
from clearing.reporting import Reporting, sealed
from clearing.server import app, metrics, traces
from clearing.server.history import Books, History
from clearing.server.scenario import ScenarioClock, Steps, scenario_salts
from clearing.server.services import Sources
from clearing.server.tail import Tail
from clearing.settings import Settings, places_of, require_demonstration, require_loopback
from clearing.signing import Passphrase, given_passphrase
from clearing.spool import Spool
from clearing.store import migrate
from clearing.store.queries import AttestationIndex, recorded_answer
from clearing.workings import Workings
from ledger.store.connect import Database, open_store, require_reachable, system_salts
from ledger.store.projector import Projecting
from ledger.store.public_log import PublicLog, require_goes_on

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """A house that is ready to be served."""

    database: Database
    engine: Engine
    history: Projecting
    publisher: Publisher
    cosigning: Cosigning
    documents: Documents | None
    sources: Sources
    signing: keys.Signing


def serve(
    settings: Settings,
    announce: Callable[[str], None],
    *,
    insecure_loopback: bool = False,
    scenario: int | None = None,
    passphrase: Passphrase = given_passphrase,
) -> None:
    """Serve the house of ``settings`` until a signal or a bug stops it; ``announce`` gets the one line.

    ``insecure_loopback`` serves without TLS, and only this machine. ``scenario`` is the seed of a demonstration, whose
    clock stands until it is stepped over the interface.
    """
    logs.configure(settings.log_level)
    presented = _presented(settings, insecure_loopback=insecure_loopback)
    stopping = _stop_on_signals()
    house = keys.house_of(settings.keys)
    if scenario is not None:
        require_demonstration(house, settings.listen)
        threading.Thread(target=_stop_at_the_end_of_input, args=(stopping,), daemon=True).start()
    with _opened(settings, house, scenario, passphrase) as opened, traces.traced(os.environ) as tracing:
        sys.setswitchinterval(SWITCH_S)
        let_garbage_wait()
        ports, shown = _ports(settings), _figures(opened)
        server = app.start(
            house, ports, presented, opened.sources, shown, scale=settings.rate_scale, told=tracing
        )
        try:
            beat_once = opened.publisher.show if scenario is not None else _beat(opened)
            pulse, gather = Pulse(beat_once, server.say), _gather(opened)
            pulse.judge(gather)
            size = opened.engine.view.size
            announce(f"serving {house} on {_places(ports, server)}, {size} journal entries")
            while not stopping.wait(BEAT_S):
                pulse.beat()
                pulse.judge(gather)
        finally:
            server.stop(DRAIN_S)
        opened.publisher.show()  # not after a bug: what stopped the house is looked at before more is signed


def _beat(opened: _Open) -> Callable[[], None]:
    return partial(beat, opened.engine, opened.publisher, opened.documents, opened.cosigning)


def _gather(opened: _Open) -> Callable[[], Facts]:
    return partial(facts, opened.database, opened.engine, opened.publisher, opened.history)


@contextmanager
def _opened(settings: Settings, house: str, scenario: int | None, passphrase: Passphrase) -> Iterator[_Open]:
    """Steps 1 and 4: the house, replayed and fit to be served, closed in order afterwards."""
    places, signing = places_of(settings), keys.Signing(settings.keys, passphrase)
    stepped = None if scenario is None else ScenarioClock()
    salts = system_salts if scenario is None else scenario_salts(scenario)
    with (
        _migrated(settings.database, places.anchor) as database,
        closing(Engine(database, clock=stepped or clock_ms, salts=salts)) as engine,
        closing(PublicLog(database, places.tiles, places.anchor)) as log,
        Projecting(database, lambda: engine.view.size, steady_ms) as history,
        Tail(database, lambda: engine.view) as tail,
        closing(Cosigning(signing.published().policy, log)) as cosigning,
    ):
        engine.heed(lambda: history.lag_ms)
        _require_house(engine, house)
        _warn_of_other_officers(engine, signing.published().policy)
        publisher = Publisher(engine, signing(), log, clock=steady_ms, renewed=signing, offer=cosigning.offer)
        cosigning.start()
        engine.hold(publisher.why_not)
        documents = _documents(settings, database, signing)
        workings = Workings(database, lambda: publisher.attested, signing().blinding)
        sources = Sources(
            engine=engine,
            clock=engine.now_ms,
            workings=workings,
            books=Books(database, log, tail, History(database, history, lambda: engine.view.size)),
            reporting=Reporting(database, workings, Spool(places.reports), sealed(engine, log, signing)),
            steps=None if stepped is None else _steps(database, engine, publisher, stepped),
        )
        yield _Open(
            database=database,
            engine=engine,
            history=history,
            publisher=publisher,
            cosigning=cosigning,
            documents=documents,
            sources=sources,
            signing=signing,
        )


def _steps(database: Database, engine: Engine, publisher: Publisher, clock: ScenarioClock) -> Steps:
    return Steps(
        engine=engine,
        clock=clock,
        publish=publisher.publish_if_due,
        recorded=partial(recorded_answer, database),
    )


def _presented(settings: Settings, *, insecure_loopback: bool) -> Callable[[], app.Tls] | None:
    """What the server presents at each handshake; None without TLS, where only this machine can connect."""
    if insecure_loopback:
        require_loopback(settings.listen, "--insecure-loopback")
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


def _figures(opened: _Open) -> metrics.Metrics:
    """What Prometheus is shown of the house itself; the server adds what it knows of calls."""
    engine, history, cosigning = opened.engine, opened.history, opened.cosigning
    shown = metrics.Metrics()
    shown.show("up", "1 while the house takes commands, 0 once it has stopped.", lambda: not engine.stopped)
    shown.show("journal_entries", "Entries of the journal.", lambda: engine.view.size)
    shown.show("history_lag_seconds", "How far the history is behind.", lambda: history.lag_ms / 1_000)
    shown.show("writer_waiting", "Commands that wait to be decided.", lambda: engine.waiting)
    shown.show(
        "officers_away",
        "Officers whose key is not there, or could not sign when it was last asked to.",
        lambda: opened.signing.away,
    )
    shown.show(
        "attestation_age_seconds",
        "Time since what the newest attestation says was so; NaN before the first.",
        lambda: _attestation_age_s(engine.view.state.attestation),
    )
    shown.show(
        "cosigned_lag_entries",
        "Entries that no quorum of witnesses has cosigned.",
        lambda: cosigning.lag_entries,
    )
    shown.show_each(
        "witness_answers",
        "1 if the witness answered when it was asked last.",
        "witness",
        cosigning.answering(),
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


def _documents(settings: Settings, database: Database, signing: keys.Signing) -> Documents | None:
    """The documents for verifiers, written as they are now; None if nobody wants them."""
    if settings.state is None:
        return None
    shared = settings.state.resolve() == places_of(settings).tiles.resolve()

    def renewed() -> tuple[Policy, Mapping[int, bytes]]:
        published = signing.published()
        return published.policy, published.roots

    policy, _ = renewed()
    signs = None if shared else signing()
    index = AttestationIndex(database)
    documents = Documents(settings.state, policy, signs, index.all, renewed=renewed, bodies=index.bodies)
    documents.write()
    return documents


def _warn_of_other_officers(engine: Engine, policy: Policy) -> None:
    """Officers may have been replaced since the newest attestation; whoever believes in these cannot read it."""
    newest = engine.view.state.attestation
    if newest is None:
        return
    try:
        open_attestation(policy, newest.envelope.encode())
    except EnvelopeRefused as refused:
        log = structlog.get_logger()
        log.warning("other officers signed the newest attestation", number=newest.sequence, why=str(refused))


def _require_house(engine: Engine, house: str) -> None:
    charter = engine.view.state.charter
    if charter is not None and charter.house != house:
        raise WrongHouse(f"the keys are of {house}, the journal is of {charter.house}")


def _stop_at_the_end_of_input(stopping: threading.Event) -> None:
    """A house whose clock somebody steps ends with him."""
    while sys.stdin.read(1):
        pass
    stopping.set()


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # the next one ends the process at once

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping
