"""A witness that a member or a regulator runs: it cosigns what goes on from what it cosigned before.

Rules kept here (C2SP tlog-witness): what was cosigned last is compared, replaced on disk and only then cosigned, with
nothing in between; so whatever anybody saw cosigned, the next start knows of. One process at a time has the
folder of a state. A log that signs another root at the size that was cosigned is refused, and the two signed
checkpoints are kept as evidence.

The folder has, by the SHA-256 of a log's origin in hex, ``<hash>.checkpoint``: the checkpoint that was cosigned
last, as its log signed it; ``<hash>-<size>.evidence``, if there is any (``ledger/evidence.py``); and ``lock``.
"""

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ledger.checkpoint import (
    Checkpoint,
    NotePrivateKey,
    NoteRefused,
    cosign,
    format_note,
    format_signature,
    parse_checkpoint_body,
    parse_note,
)
from ledger.evidence import Evidence, format_evidence
from ledger.store.anchor import put_file, sync_directory
from ledger.witness import SIZE_TYPE, Accepted, Logs, Request, RequestRefused, judge, origin_of, parse_request

OK = 200
TEXT = "text/plain; charset=utf-8"


class StateRefused(Exception):
    """The folder of a witness cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an HTTP request is answered with, and what the log of the witness says of it."""

    status: int
    kind: str
    body: bytes
    said: str


class WitnessState:
    """What was cosigned last, in ``directory``, which this process alone has until :meth:`close`.

    Raises :class:`StateRefused` on construction.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateRefused(f"{directory} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise StateRefused(f"another process witnesses in {directory}") from None

    def note(self, origin: str) -> bytes | None:
        """The checkpoint that was cosigned last for ``origin``, as its log signed it. Raises ``OSError``."""
        try:
            return self._path(origin, ".checkpoint").read_bytes()
        except FileNotFoundError:
            return None

    def latest(self, origin: str) -> Checkpoint | None:
        """The tree that was cosigned last for ``origin``. Raises :class:`StateRefused`, ``OSError``."""
        note = self.note(origin)
        if note is None:
            return None
        try:
            found = parse_checkpoint_body(parse_note(note).text)
        except NoteRefused as refused:
            raise StateRefused(f"{self._path(origin, '.checkpoint')} is no checkpoint: {refused}") from None
        if found.origin != origin:
            raise StateRefused(f"{self._path(origin, '.checkpoint')} is of the log {found.origin}")
        return found

    def keep(self, origin: str, note: bytes) -> None:
        """Put what is to be cosigned on disk; it is there when this returns.

        Raises ``OSError``, and :class:`StateRefused` once it was closed.
        """
        if self._descriptor < 0:
            raise StateRefused("the witness has stopped")
        put_file(self._path(origin, ".checkpoint"), note)
        sync_directory(self._directory)

    def accuse(self, origin: str, size: int, evidence: Evidence) -> Path:
        """Keep evidence against the log, the first for each size. Raises ``OSError``."""
        path = self._path(origin, f"-{size}.evidence")
        if not path.exists():
            put_file(path, format_evidence(evidence))
            sync_directory(self._directory)
        return path

    def close(self) -> None:
        """Let another process have the folder; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _path(self, origin: str, suffix: str) -> Path:
        return self._directory / f"{hashlib.sha256(origin.encode()).hexdigest()}{suffix}"


class Witness:
    """Cosigns until :meth:`close`, as ``name`` with ``key`` for ``logs``. Any thread may ask.

    ``clock`` gives seconds since 1970. Raises :class:`StateRefused` on construction if what was cosigned last cannot be
    read.
    """

    def __init__(
        self, name: str, key: NotePrivateKey, logs: Logs, state: WitnessState, clock: Callable[[], int]
    ) -> None:
        self._name, self._key, self._logs, self._state, self._clock = name, key, logs, state, clock
        self._turn = threading.Lock()
        for origin in logs:
            state.latest(origin)

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer the body of an ``add-checkpoint`` request. Raises ``OSError`` if nothing can be kept: it may be asked
        again then, and nothing was cosigned.
        """
        try:
            request = parse_request(body)
            origin = origin_of(request)
            with self._turn:
                return self._cosign(origin, request)
        except RequestRefused as refused:
            return _refusal(refused)

    def close(self) -> None:
        """Cosign nothing more, and let another process have the state."""
        with self._turn:
            self._state.close()

    def _cosign(self, origin: str, request: Request) -> Answer:
        latest = self._state.latest(origin) if origin in self._logs else None
        try:
            accepted = judge(request, self._logs, latest)
        except RequestRefused as refused:
            if not refused.contradicts:
                raise
            return self._accuse(origin, request, refused)
        if accepted.checkpoint != latest:
            self._state.keep(origin, format_note(accepted.note))
        return self._cosigned(accepted)

    def _cosigned(self, accepted: Accepted) -> Answer:
        line = cosign(accepted.note.text, self._name, self._key, timestamp_s=self._clock())
        said = f"cosigned {accepted.checkpoint.size} leaves of {accepted.checkpoint.origin}"
        return Answer(status=OK, kind=TEXT, body=format_signature(line), said=said)

    def _accuse(self, origin: str, request: Request, refused: RequestRefused) -> Answer:
        cosigned, answer = self._state.note(origin), _refusal(refused)
        if cosigned is None or refused.cosigned is None:
            return answer
        evidence = Evidence(smaller=cosigned, larger=request.note)
        path = self._state.accuse(origin, refused.cosigned.size, evidence)
        return Answer(
            status=answer.status,
            kind=answer.kind,
            body=answer.body,
            said=f"{origin} signed two histories: {path}",
        )


def _refusal(refused: RequestRefused) -> Answer:
    status = refused.refusal.value
    if refused.cosigned is not None:
        size = f"{refused.cosigned.size}\n".encode()
        return Answer(status=status, kind=SIZE_TYPE, body=size, said=f"refused: {refused}")
    return Answer(status=status, kind=TEXT, body=f"{refused}\n".encode(), said=f"refused: {refused}")
