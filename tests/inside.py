"""A house served over mTLS from this very process, so that a test can look at its state and move its clock."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from clearing import keys as house_keys
from clearing.engine import Engine
from clearing.main import steady_ms
from clearing.publish import Publisher
from clearing.reporting import Reporting, sealed
from clearing.server import app, metrics
from clearing.server.history import Books, History
from clearing.server.services import Sources
from clearing.server.tail import Tail
from clearing.spool import Spool
from clearing.workings import Workings
from ledger.store.connect import Database
from ledger.store.projector import Projecting
from ledger.store.public_log import PublicLog

SCALE = 10_000
"""Of the callers' limits: a test asks more in a second than any caller would."""


@contextmanager
def served_inside(
    engine: Engine, database: Database, keys: Path, clock: Callable[[], int]
) -> Iterator[app.Server]:
    """Serve ``engine``, with tiles and anchor where ``clearing serve`` has them for ``house.db`` beside the keys."""
    file, rotating = keys.parent / "house.db", house_keys.Rotating(keys)

    def presented() -> app.Tls:
        found = rotating()
        return app.Tls(certificate=found.certificate, key=found.key, authority=found.authority)

    with ExitStack() as stack:
        log = stack.enter_context(closing(PublicLog(database, Path(f"{file}.tiles"), Path(f"{file}.anchor"))))
        signing = house_keys.read_signing_keys(keys)
        publisher = Publisher(engine, signing, log, clock=steady_ms)  # shows the log
        history = stack.enter_context(Projecting(database, lambda: engine.view.size, steady_ms))
        tail = stack.enter_context(Tail(database, lambda: engine.view))
        workings = Workings(database, lambda: publisher.attested, signing.blinding)
        seal = sealed(engine, log, lambda: signing)
        sources = Sources(
            engine=engine,
            clock=clock,
            workings=workings,
            books=Books(database, log, tail, History(database, history, lambda: engine.view.size)),
            reporting=Reporting(database, workings, Spool(keys.parent / "spool"), seal),
        )
        ports = app.Ports(callers="127.0.0.1:0")
        server = app.start(
            house_keys.house_of(keys), ports, presented, sources, metrics.Metrics(), scale=SCALE
        )
        server.say(serving=True)
        try:
            yield server
        finally:
            server.stop(0)
