"""Cosignatures: the witnesses of the policy are asked to cosign what the log shows (attestation.md §4).

The protocol is C2SP tlog-witness; `ledger/witness.py` has its text.

Rules kept here:

1. Nobody waits for a witness: not a commit, not the beat, not the log. Each has a thread of its own and little time.
2. All are asked for one tree at a time, the newest, so that a quorum has seen the same one; the tree of an attestation
   comes first, because what verifiers are given speaks of it.
3. A checkpoint is shown as cosigned (``checkpoint.cosigned``) when the quorum of the policy has cosigned exactly it,
   and never a smaller one than before. What does not satisfy the policy at the start is shown no longer.
4. No witness is believed: its lines count if they hold for its key. One that is away is named in the log, once for
   each reason, and in a figure, and is asked less often until it answers.
"""

import http.client
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from queue import SimpleQueue
from typing import TypeAlias
from urllib.parse import urlsplit

import structlog

from clearing.attest.policy import Policy, Witness, open_checkpoint, require_quorum
from clearing.settings import SettingsRefused
from ledger.checkpoint import (
    Note,
    NoteRefused,
    NoteSignature,
    VerifierKey,
    format_note,
    parse_checkpoint_body,
    parse_note,
    verify_cosignatures,
)
from ledger.merkle import ProofRefused
from ledger.store.connect import StoreUnreachable
from ledger.store.public_log import PublicLog
from ledger.tiles import TileRefused
from ledger.witness import PATH, SIZE_TYPE, Request, format_request

ASK_S = 3.0
"""How long one answer of a witness is waited for."""
ROUND_S = 5.0
"""How long a quorum for one tree is waited for, before a newer tree is tried."""
GRACE_S = 0.25
"""How long after the quorum others are waited for, so that theirs is shown too."""
AGAIN_S = 5.0
"""After which a tree without its quorum is tried again."""
AWAY_MAX_S = 60.0
"""A witness that is away is asked at least so often."""
ANSWER_BYTES_MAX = 65_536

_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_PLACE = re.compile(
    r"https?://(?:[a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(?::[1-9][0-9]{0,4})?(?:/[a-zA-Z0-9._~%-]+)*"
)

Ask: TypeAlias = Callable[[str, bytes], tuple[int, str, bytes]]
"""``ask(url, body)`` gives status, content type and body of the answer. Raises ``OSError`` and ``ValueError``."""


class WitnessRefused(Exception):
    """A witness answered, but cosigned nothing; the message says why."""


@dataclass(slots=True)
class _Tree:
    """A checkpoint that was shown, and what witnesses have said of it, by the name of the policy."""

    note: bytes
    size: int
    again_s: float = 0.0
    lines: dict[str, NoteSignature] = field(default_factory=dict)

    def cosigned(self, names: Iterable[str]) -> bytes:
        """The note with the cosignatures that came, in the order of ``names``."""
        signed = parse_note(self.note)
        lines = (self.lines[name] for name in names if name in self.lines)
        return format_note(Note(text=signed.text, signatures=(*signed.signatures, *lines)))


@dataclass(slots=True)
class _Asked:
    """A witness as it is asked: where it stands, and whether it answers."""

    witness: Witness
    trees: "SimpleQueue[_Tree | None]" = field(default_factory=SimpleQueue)
    old_size: int = 0
    is_busy: bool = False
    failures: int = 0
    again_s: float = 0.0
    why: str = ""
    answers: bool = False


class Cosigning:
    """Collects cosignatures for the log that ``policy`` speaks of, from :meth:`start` to :meth:`close`.

    Raises ``SettingsRefused`` for a url that is neither http nor https.
    """

    def __init__(self, policy: Policy, log: PublicLog, *, ask: "Ask | None" = None) -> None:
        self._policy, self._public, self._ask = policy, log, ask or ask_over_http
        self._asked = (
            [_Asked(one) for one in policy.witnesses if one.url] if policy.asks_for_witnesses else []
        )
        for asked in self._asked:
            _require_place(asked.witness.url)
        self._changed = threading.Condition()
        self._newest: _Tree | None = None
        self._attested: _Tree | None = None
        self._cosigned: bytes | None = None
        self._cosigned_size = 0
        self._ends = False
        self._log = structlog.get_logger()
        self.attested: bytes | None = None
        """The checkpoint of the newest attested tree that the quorum has cosigned."""

    def offer(self, note: bytes, *, attested: bool) -> None:
        """Have ``note``, which is shown, cosigned some time; an :class:`clearing.publish.Offer`."""
        if not self._policy.asks_for_witnesses:
            return
        signed = parse_note(note).text
        tree = _Tree(note, parse_checkpoint_body(signed).size)
        with self._changed:
            if self._newest is not None and self._newest.note == note:
                tree = self._newest
            self._newest = tree
            if attested:
                self._attested = tree
                if self._cosigned is not None and parse_note(self._cosigned).text == signed:
                    self.attested = self._cosigned
            self._changed.notify_all()

    def start(self) -> None:
        """Ask from now on. Raises ``StoreUnreachable``."""
        self._cosigned_size = self._shown_size()
        if self._policy.asks_for_witnesses and not self._policy.quorum_met(
            asked.witness.key for asked in self._asked
        ):
            self._log.error("the quorum cannot be met: too few witnesses have a url in the policy")
        for asked in self._asked:
            threading.Thread(target=self._ask_always, args=(asked,), daemon=True).start()
        if self._asked:
            threading.Thread(target=self._collect, daemon=True).start()

    def close(self) -> None:
        """Ask nobody any more; who is being asked is not waited for."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        for asked in self._asked:
            asked.trees.put(None)

    @property
    def lag_entries(self) -> int:
        """How many entries of the newest checkpoint no quorum has cosigned; 0 if none is asked for."""
        newest = self._newest
        return 0 if newest is None else max(newest.size - self._cosigned_size, 0)

    def answering(self) -> dict[str, Callable[[], float]]:
        """For each witness that is asked, by name, whether it answered when it was asked last."""
        return {asked.witness.name: partial(_answers, asked) for asked in self._asked}

    def _shown_size(self) -> int:
        """What the quorum has cosigned already. What the policy does not accept is not shown any more."""
        shown = self._public.cosigned()
        if shown is None:
            return 0
        try:
            if self._policy.asks_for_witnesses:
                size = open_checkpoint(self._policy, shown).checkpoint.size
                self._cosigned = shown
                return size
        except NoteRefused as refused:
            self._log.warning("what was cosigned is not shown any more", why=str(refused))
        self._public.show_cosigned(None)
        return 0

    # --- one round after the other ----------------------------------------------------------------------------

    def _collect(self) -> None:
        while (tree := self._next()) is not None:
            self._round(tree)

    def _next(self) -> _Tree | None:
        """The tree to have cosigned, an attested one first, and none again so soon; None at the end."""
        with self._changed:
            while not self._ends:
                now_s = time.monotonic()
                for tree in (self._attested, self._newest):
                    if tree is not None and tree.size > self._cosigned_size and tree.again_s <= now_s:
                        tree.again_s = now_s + AGAIN_S
                        return tree
                self._changed.wait(AGAIN_S / 5)
            return None

    def _round(self, tree: _Tree) -> None:
        """Ask all who are free for ``tree``, and show it if the quorum has cosigned it."""
        with self._changed:
            now_s = time.monotonic()
            for asked in self._asked:
                if not asked.is_busy and asked.again_s <= now_s and asked.witness.name not in tree.lines:
                    asked.is_busy = True
                    asked.trees.put(tree)
            self._changed.wait_for(lambda: self._is_over(tree), ROUND_S)
            self._changed.wait_for(self._is_idle, GRACE_S)
            names = [asked.witness.name for asked in self._asked]
            note = tree.cosigned(names) if self._is_met(tree) else None
        if note is not None:
            self._show(tree, note)

    def _is_over(self, tree: _Tree) -> bool:
        return self._ends or self._is_idle() or self._is_met(tree)

    def _is_idle(self) -> bool:
        return not any(asked.is_busy for asked in self._asked)

    def _is_met(self, tree: _Tree) -> bool:
        return self._policy.quorum_met(self._keys(tree))

    def _keys(self, tree: _Tree) -> list[VerifierKey]:
        return [asked.witness.key for asked in self._asked if asked.witness.name in tree.lines]

    def _show(self, tree: _Tree, note: bytes) -> None:
        require_quorum(self._policy, note)
        try:
            self._public.show_cosigned(note)
        except StoreUnreachable as error:
            self._log.warning("a cosigned checkpoint cannot be shown", error=str(error))
            return
        with self._changed:
            self._cosigned, self._cosigned_size = note, tree.size
            if tree is self._attested:
                self.attested = note

    # --- one witness ------------------------------------------------------------------------------------------

    def _ask_always(self, asked: _Asked) -> None:
        while (tree := asked.trees.get()) is not None:
            try:
                line, why = self._cosignature(asked, tree), ""
            except (
                OSError,
                ValueError,
                http.client.HTTPException,
                WitnessRefused,
                StoreUnreachable,
            ) as error:
                line, why = None, str(error) or type(error).__name__
            with self._changed:
                self._note_answer(asked, why)
                if line is not None:
                    tree.lines[asked.witness.name] = line
                asked.is_busy = False
                self._changed.notify_all()

    def _note_answer(self, asked: _Asked, why: str) -> None:
        """Remember, and tell once, whether a witness answers."""
        name = asked.witness.name
        if why:
            if why != asked.why:
                self._log.warning("a witness does not cosign", witness=name, why=why)
            asked.failures += 1
            asked.again_s = time.monotonic() + min(AWAY_MAX_S, 2.0 ** min(asked.failures, 10))
        elif asked.failures or not asked.answers:
            self._log.info("a witness answers", witness=name)
            asked.failures = 0
        asked.why, asked.answers = why, not why

    def _cosignature(self, asked: _Asked, tree: _Tree) -> NoteSignature | None:
        """The line of a witness; None if it has cosigned a later tree of this log by now."""
        if asked.old_size > tree.size:
            return None
        status, kind, body = self._asked_once(asked, tree)
        if status == HTTPStatus.CONFLICT:  # it stands elsewhere than was thought, or this is another history
            known = _known_size(kind, body)
            if known == asked.old_size:
                raise WitnessRefused(
                    f"it has cosigned another root at size {known}: the log has two histories"
                )
            asked.old_size = known
            if known > tree.size:
                self._require_had(known)
                return None
            status, kind, body = self._asked_once(asked, tree)
        if status != HTTPStatus.OK:
            told = body[:200].decode(errors="replace").strip()
            raise WitnessRefused(f"it answered {status}: {told!r}")
        line = _line_of(asked.witness.key, tree, body)
        asked.old_size = tree.size
        return line

    def _require_had(self, known: int) -> None:
        newest = self._newest
        if newest is None or known > newest.size:
            raise WitnessRefused(f"it has cosigned {known} entries of this log, which has fewer")

    def _asked_once(self, asked: _Asked, tree: _Tree) -> tuple[int, str, bytes]:
        proof: tuple[bytes, ...] = ()
        if 0 < asked.old_size < tree.size:
            try:
                proof = self._public.tree_of(tree.note).consistency_path(asked.old_size)
            except (TileRefused, ProofRefused) as refused:
                raise WitnessRefused(f"no proof for it can be made: {refused}") from None
        request = Request(old_size=asked.old_size, proof=proof, note=tree.note)
        return self._ask(f"{asked.witness.url}/{PATH}", format_request(request))


def _answers(asked: _Asked) -> float:
    return float(asked.answers)


def ask_over_http(url: str, body: bytes) -> tuple[int, str, bytes]:
    """An :data:`Ask` that takes no more than ``ASK_S`` for each step, and follows nobody elsewhere."""
    place, until_s = urlsplit(url), time.monotonic() + ASK_S
    host, port = place.hostname or "", place.port
    connection: http.client.HTTPConnection
    if place.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=ASK_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=ASK_S)
    try:
        connection.request("POST", place.path, body, {"Content-Type": "text/plain; charset=utf-8"})
        answer = connection.getresponse()
        found = b""
        while chunk := answer.read1(ANSWER_BYTES_MAX + 1):
            found += chunk
            if len(found) > ANSWER_BYTES_MAX or time.monotonic() > until_s:
                raise ValueError("its answer is too long or too slow")
        return answer.status, answer.headers.get("Content-Type", ""), found
    finally:
        connection.close()


def _known_size(kind: str, body: bytes) -> int:
    found = _SIZE.fullmatch(body)
    if kind.partition(";")[0].strip() != SIZE_TYPE or found is None:
        raise WitnessRefused("it says that it stands elsewhere, and not where")
    return int(found[1])


def _line_of(key: VerifierKey, tree: _Tree, body: bytes) -> NoteSignature:
    """The cosignature of ``key`` in an answer; lines of other keys are ignored."""
    signed = parse_note(tree.note)
    try:
        found = parse_note(signed.text + b"\n" + body)
        own = tuple(line for line in found.signatures if (line.name, line.key_id) == (key.name, key.key_id))
        if (
            own
            and found.text == signed.text
            and verify_cosignatures(Note(text=signed.text, signatures=own), [key])
        ):
            return own[-1]
    except NoteRefused as refused:
        raise WitnessRefused(f"its cosignature does not hold: {refused}") from None
    raise WitnessRefused("it did not cosign with the key that the policy names")


def _require_place(url: str) -> None:
    if not _PLACE.fullmatch(url):
        raise SettingsRefused(f"a witness is asked at http://HOST[:PORT][/PATH] or https://, not at {url}")
