"""What a witness decides (C2SP tlog-witness, ``add-checkpoint``): whether a checkpoint goes on from the last one.

A request is, each line ended by newline::

    old <size of the checkpoint that the witness cosigned last, 0 if there is none>
    <base64 of a hash>              the consistency proof from there, none to 63 lines; none if old is 0
    an empty line
    the checkpoint as the log signed it

Rules kept here: the checks and their order are those of the specification, each refusal with its HTTP status; a
log is known by its origin, and believed by its keys; nothing is cosigned that was not shown to extend what was
cosigned before. Whoever calls :func:`judge` puts what it accepts on disk before anybody hears of it, and lets
nothing come between what it gave as ``latest`` and that.

Narrower than the specification: a checkpoint with extension lines is refused as malformed.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ledger.checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    Note,
    NoteRefused,
    VerifiedCheckpoint,
    VerifierKey,
    decode_base64,
    parse_checkpoint_body,
    parse_note,
    verify_note,
)
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, ProofRefused, verify_consistency

PATH = "add-checkpoint"
SIZE_TYPE = "text/x.tlog.size"
PROOF_MAX = 63
REQUEST_BYTES_MAX = MAX_NOTE_BYTES + 4_096

_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)

Logs: TypeAlias = Mapping[str, Sequence[VerifierKey]]
"""The keys that a log's checkpoints may be signed with, by its origin."""


class Refusal(Enum):
    """Why a checkpoint is not cosigned; the value is the HTTP status."""

    MALFORMED = 400
    NOT_SIGNED = 403
    UNKNOWN_LOG = 404
    CONFLICT = 409
    NOT_CONSISTENT = 422


class RequestRefused(ValueError):
    """A checkpoint that is not cosigned; ``refusal`` says why. ``cosigned`` is the tree that was cosigned last, if that
    is the reason, and ``contradicts`` whether the refused one has its size and another root.
    """

    def __init__(
        self,
        refusal: Refusal,
        sentence: str,
        cosigned: Checkpoint | None = None,
        *,
        contradicts: bool = False,
    ) -> None:
        super().__init__(sentence)
        self.refusal, self.cosigned, self.contradicts = refusal, cosigned, contradicts


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A checkpoint ``note`` and the proof that it extends the tree of ``old_size``; nothing is verified yet."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A checkpoint to cosign: it goes on from the last one. ``note`` has the signatures of its log and no others."""

    checkpoint: VerifiedCheckpoint
    note: Note


def format_request(request: Request) -> bytes:
    """The body of the HTTP request."""
    lines = [f"old {request.old_size}", *(base64.b64encode(one).decode() for one in request.proof), "", ""]
    return "\n".join(lines).encode() + request.note


def parse_request(data: bytes) -> Request:
    """The request in ``data``. Raises :class:`RequestRefused` (``MALFORMED``)."""
    if len(data) > REQUEST_BYTES_MAX:
        raise _malformed(f"a request has at most {REQUEST_BYTES_MAX} bytes")
    head, _, note = data.partition(b"\n\n")
    try:
        old, *proof = head.decode("ascii").split("\n")
        hashes = tuple(map(decode_base64, proof))
    except ValueError:
        raise _malformed("the lines of the proof are canonical base64") from None
    found = _OLD.fullmatch(old)
    if found is None:
        raise _malformed("the first line says old and a size")
    if len(hashes) > PROOF_MAX or any(len(one) != HASH_BYTES for one in hashes):
        raise _malformed(f"a proof has at most {PROOF_MAX} lines, each a hash of {HASH_BYTES} bytes")
    return Request(old_size=int(found[1]), proof=hashes, note=note)


def origin_of(request: Request) -> str:
    """Of which log the request says that it is. Raises :class:`RequestRefused` (``MALFORMED``)."""
    return _read(request)[1].origin


def judge(request: Request, logs: Logs, latest: Checkpoint | None) -> Accepted:
    """What is to be cosigned, if ``latest`` is what was cosigned last for the log of the request.

    Raises :class:`RequestRefused`.
    """
    note, claimed = _read(request)
    keys = logs.get(claimed.origin)
    if keys is None:
        raise RequestRefused(Refusal.UNKNOWN_LOG, f"the log {claimed.origin} is not witnessed here")
    try:
        signers = {(key.name, key.key_id) for key in verify_note(note, keys)}
    except NoteRefused as refused:
        raise RequestRefused(Refusal.NOT_SIGNED, str(refused)) from None
    checkpoint = VerifiedCheckpoint(claimed)
    signed = tuple(line for line in note.signatures if (line.name, line.key_id) in signers)
    _require_goes_on(request, checkpoint, latest)
    return Accepted(checkpoint=checkpoint, note=Note(text=note.text, signatures=signed))


def _read(request: Request) -> tuple[Note, Checkpoint]:
    try:
        note = parse_note(request.note)
        return note, parse_checkpoint_body(note.text)
    except NoteRefused as refused:
        raise _malformed(str(refused)) from None


def _require_goes_on(request: Request, checkpoint: Checkpoint, latest: Checkpoint | None) -> None:
    last = latest or Checkpoint(origin=checkpoint.origin, size=0, root=EMPTY_ROOT)
    if request.old_size > checkpoint.size:
        raise _malformed(f"the old size {request.old_size} is above the size {checkpoint.size}")
    if request.old_size != last.size:
        raise RequestRefused(
            Refusal.CONFLICT, f"{last.size} is the size that was cosigned last, not {request.old_size}", last
        )
    if checkpoint.size == last.size and checkpoint.root != last.root:
        raise RequestRefused(
            Refusal.CONFLICT, f"another root was cosigned at size {last.size}", last, contradicts=True
        )
    try:
        if last.size:
            verify_consistency(last.size, last.root, checkpoint.size, checkpoint.root, request.proof)
    except ProofRefused as refused:
        raise RequestRefused(Refusal.NOT_CONSISTENT, f"the proof does not hold: {refused}") from None
    if not last.size and request.proof:
        raise RequestRefused(Refusal.NOT_CONSISTENT, "from size 0 there is nothing to prove")


def _malformed(sentence: str) -> RequestRefused:
    return RequestRefused(Refusal.MALFORMED, sentence)
