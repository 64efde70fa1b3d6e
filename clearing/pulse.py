"""What a served house does each second, and what health says of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from clearing.cosigning import Cosigning
from clearing.decide.due import due
from clearing.documents import Documents
from clearing.engine import Engine, HouseStopped
from clearing.health import Facts, Unfit, unfit
from clearing.model.commands import Tick
from clearing.publish import Publisher
from clearing.store import migrate
from ledger.store.connect import Database, OutcomeUnknown, StoreUnreachable
from ledger.store.projector import Projecting
from ledger.store.writer import ClockWentBack, Overloaded, StoreUnavailable


class Pulse:
    """Beats once, and says in health what the facts are. The main thread does it: it has nothing else to do."""

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


def facts(database: Database, engine: Engine, publisher: Publisher, history: Projecting) -> Facts:
    """What is known of the house now."""
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


def beat(
    engine: Engine, publisher: Publisher, documents: Documents | None, cosigning: Cosigning | None = None
) -> None:
    """Run what has become due by the clock, attest a closed cycle, show the log, and write the documents.

    Raises ``HouseStopped`` once the house has stopped.
    """
    if engine.stopped is not None:
        raise HouseStopped(str(engine.stopped)) from engine.stopped
    if publisher.why_not():
        publisher.show()  # first: as long as the log is late nothing is taken, not even a tick
    now_ms = engine.now_ms()
    if next(due(engine.view.state, now_ms), None) is not None:
        engine.execute(Tick(), request_id=f"tick/{now_ms}", actor="house/clock")
    publisher.publish_if_due()
    publisher.show()
    if documents is not None:
        documents.write_new(engine.view.state.attestation)
        documents.write_cosigned(None if cosigning is None else cosigning.attested)
