"""Checkpoints: what the log signs about its size and root.

Formats: C2SP tlog-checkpoint, signed-note and tlog-cosignature.

Rules kept here (attestation.md §3): a note is text, a blank line and 1 to 100 signature lines, split at the
last blank line; a known (name, key id) with a bad signature refuses the whole note, an unknown one is
ignored; at least one trusted signature must hold. A checkpoint has exactly three lines: sizes have no
leading zeros, the root is 32 bytes in canonical base64, extension lines are refused. A trusted list holds
each **public key** once, whatever names it goes by. An Ed25519 key that is no point, not written in its one
canonical way, or of low order (such a key accepts signatures that nobody made) is refused where it enters.
What was verified has a type of its own: :data:`VerifiedCheckpoint`.

Signature types: 0x01 is Ed25519 over the note's text; 0x04 is Ed25519 over ``cosignature/v1``, the time and
the text; 0x06 is ML-DSA-44 over the ``subtree/v1`` ``cosigned_message``. The last two are of tlog-cosignature
and carry their time in front of the signature. A log signs with 0x01 or 0x06, a witness **cosigns** with 0x04
or 0x06: that it has seen this tree extend all that it saw of the log before. Who cosigned is found by
:func:`verify_cosignatures`, apart from who signed.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NewType, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from ledger.merkle import EMPTY_ROOT, HASH_BYTES

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100
MAX_NAME_BYTES = 255
MAX_ORIGIN_BYTES = 255
MAX_TREE_SIZE = 2**63 - 1
MAX_TIMESTAMP_S = 2**63 - 1
KEY_ID_BYTES = 4
ED25519_KEY_BYTES = 32
ML_DSA_44_KEY_BYTES = 1312
TIMESTAMP_BYTES = 8
CHECKPOINT_LINES = 3

_SIGNATURE_MARK = "\N{EM DASH} "
_COSIGNATURE_LINE = b"cosignature/v1\n"
_COSIGNED_LABEL = b"subtree/v1\n\x00"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_ID_HEX = re.compile(r"[0-9a-f]{8}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")

_FIELD = 2**255 - 19
_CURVE_D = -121665 * pow(121666, -1, _FIELD) % _FIELD
_SIGN_BIT = 1 << 255
_LOW_ORDER_Y = frozenset(
    {
        0,  # order 4
        1,  # the neutral element
        _FIELD - 1,  # order 2
        int.from_bytes(
            bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
        ),  # order 8
        int.from_bytes(
            bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"
        ),  # order 8
        _FIELD,  # 0 again, not canonical
        _FIELD + 1,  # 1 again, not canonical
    }
)


class KeyReason(Enum):
    """Why a key was refused; the values are stable."""

    LENGTH = "key_length"
    LOW_ORDER = "key_of_low_order"
    NOT_CANONICAL = "key_not_canonical"
    NOT_A_POINT = "key_not_a_point"
    NAME = "key_name"
    TYPE = "key_type"
    VKEY_FORM = "vkey_form"
    KEY_ID = "key_id"
    REPEATED = "key_repeated"
    AMBIGUOUS = "key_ambiguous"


class KeyRefused(ValueError):
    """A public key, or a list of them, that must not be trusted; ``reason`` says why."""

    def __init__(self, reason: KeyReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class NoteReason(Enum):
    """Why a note or a checkpoint was refused; the values are stable."""

    TOO_LONG = "note_too_long"
    NOT_TEXT = "note_not_text"
    NO_SIGNATURES = "note_without_signatures"
    TOO_MANY_SIGNATURES = "note_with_too_many_signatures"
    SIGNATURE_LINE = "signature_line"
    TIMESTAMP = "timestamp"
    BAD_SIGNATURE = "bad_signature"
    NO_TRUSTED_SIGNATURE = "no_trusted_signature"
    NO_QUORUM = "no_quorum"
    CHECKPOINT_LINES = "checkpoint_lines"
    EXTENSION_LINE = "extension_line"
    ORIGIN = "origin"
    SIZE = "size"
    ROOT = "root"


class NoteRefused(ValueError):
    """A note or checkpoint that cannot be accepted; ``reason`` says why."""

    def __init__(self, reason: NoteReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


# --- keys ----------------------------------------------------------------------------------------------


class SignatureType(Enum):
    """Signature type byte of a verifier key (C2SP signed-note, signature types)."""

    ED25519 = 0x01
    ED25519_COSIGNATURE = 0x04
    ML_DSA_44 = 0x06


LOG_TYPES = frozenset({SignatureType.ED25519, SignatureType.ML_DSA_44})
COSIGNER_TYPES = frozenset({SignatureType.ED25519_COSIGNATURE, SignatureType.ML_DSA_44})

NotePrivateKey: TypeAlias = Ed25519PrivateKey | MLDSA44PrivateKey


def require_sound_ed25519(raw: bytes) -> None:
    """Return if the 32 bytes ``raw`` are an Ed25519 public key that one may trust (RFC 8032 §5.1.3).

    Raises :class:`KeyRefused`: ``LENGTH``; ``LOW_ORDER`` for all spellings of the eight points of small
    order; ``NOT_CANONICAL`` if y ≥ 2^255 - 19; ``NOT_A_POINT`` if no curve point has this y.
    """
    if len(raw) != ED25519_KEY_BYTES:
        raise KeyRefused(KeyReason.LENGTH, f"an Ed25519 key has {ED25519_KEY_BYTES} bytes, not {len(raw)}")
    y = int.from_bytes(raw, "little") % _SIGN_BIT
    if y in _LOW_ORDER_Y:
        raise KeyRefused(KeyReason.LOW_ORDER, "this Ed25519 key is a point of low order")
    if y >= _FIELD:
        raise KeyRefused(KeyReason.NOT_CANONICAL, "this Ed25519 key is not written in its canonical way")
    # x² = (y² - 1) / (d·y² + 1) needs a root: Euler's criterion on numerator times denominator
    if pow((y * y - 1) * (_CURVE_D * y * y + 1), (_FIELD - 1) // 2, _FIELD) != 1:
        raise KeyRefused(KeyReason.NOT_A_POINT, "this Ed25519 key is no point of the curve")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key with the name it signs under (C2SP signed-note). ``raw`` is the bare key.

    Raises :class:`KeyRefused` on construction: ``NAME`` (empty, over 255 bytes, or holding a space, a plus
    or a control character), ``LENGTH``, ``LOW_ORDER``, ``NOT_CANONICAL``, ``NOT_A_POINT``.
    """

    name: str
    type: SignatureType
    raw: bytes

    def __post_init__(self) -> None:
        _require_name(self.name)
        match self.type:
            case SignatureType.ED25519 | SignatureType.ED25519_COSIGNATURE:
                require_sound_ed25519(self.raw)
            case SignatureType.ML_DSA_44:
                _require_ml_dsa_44(self.raw)

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name‖0A‖type‖key): a hint which key it is, no proof of it."""
        typed_key = bytes((self.type.value,)) + self.raw
        return hashlib.sha256(self.name.encode() + b"\n" + typed_key).digest()[:KEY_ID_BYTES]


def parse_vkey(text: str) -> VerifierKey:
    """The key written ``name+hex(key id)+base64(type‖key)`` (C2SP signed-note, verifier keys).

    Raises :class:`KeyRefused`: ``VKEY_FORM``, ``TYPE`` for a type other than 0x01, 0x04 and 0x06, ``KEY_ID`` if
    the id is not the key's, and all reasons of :class:`VerifierKey`.
    """
    name, _, rest = text.partition("+")
    key_id, _, typed_key = rest.partition("+")
    if not _KEY_ID_HEX.fullmatch(key_id) or not typed_key:
        raise KeyRefused(KeyReason.VKEY_FORM, "a verifier key is written name+hex+base64")
    try:
        material = decode_base64(typed_key)
    except ValueError:
        raise KeyRefused(KeyReason.VKEY_FORM, "the key's base64 is not canonical") from None
    key = VerifierKey(name=name, type=_signature_type(material), raw=material[1:])
    if key.key_id.hex() != key_id:
        raise KeyRefused(KeyReason.KEY_ID, f"the key id of {name} is {key.key_id.hex()}, not {key_id}")
    return key


def format_vkey(key: VerifierKey) -> str:
    """The one spelling of ``key`` that :func:`parse_vkey` reads."""
    typed_key = bytes((key.type.value,)) + key.raw
    return f"{key.name}+{key.key_id.hex()}+{base64.b64encode(typed_key).decode()}"


def verifier_key(name: str, private_key: NotePrivateKey) -> VerifierKey:
    """What a verifier needs to check the signatures of ``private_key`` under ``name``.

    Raises :class:`KeyRefused` (``NAME``).
    """
    kind = SignatureType.ED25519 if isinstance(private_key, Ed25519PrivateKey) else SignatureType.ML_DSA_44
    return VerifierKey(name=name, type=kind, raw=private_key.public_key().public_bytes_raw())


def cosigner_key(name: str, private_key: NotePrivateKey) -> VerifierKey:
    """What a verifier needs to check the cosignatures of ``private_key`` under ``name``.

    Raises :class:`KeyRefused` (``NAME``).
    """
    key = verifier_key(name, private_key)
    return replace(key, type=SignatureType.ED25519_COSIGNATURE) if key.type is SignatureType.ED25519 else key


def require_distinct_keys(keys: Sequence[VerifierKey]) -> None:
    """Return if every public key stands in ``keys`` once and no two share name and key id.

    Raises :class:`KeyRefused`: ``REPEATED``, ``AMBIGUOUS``.
    """
    if len({key.raw for key in keys}) != len(keys):
        raise KeyRefused(KeyReason.REPEATED, "one public key stands twice among the trusted keys")
    if len({(key.name, key.key_id) for key in keys}) != len(keys):
        raise KeyRefused(KeyReason.AMBIGUOUS, "two trusted keys share a name and a key id")


def decode_base64(text: str) -> bytes:
    """Bytes of canonical standard base64 (RFC 4648 §4): padded, no stray bits, nothing skipped.

    Raises ``ValueError`` for any other spelling.
    """
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("base64 is not canonical")
    return data


# --- checkpoints ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A tree of the log ``origin``: ``size`` leaves (0 to 2^63 - 1) under the 32-byte ``root``.

    Raises :class:`NoteRefused` on construction: ``ORIGIN`` (empty, over 255 bytes, control characters),
    ``SIZE``, ``ROOT`` (also when an empty tree has another root than the empty one).
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or not _is_line(self.origin, MAX_ORIGIN_BYTES):
            raise NoteRefused(
                NoteReason.ORIGIN, f"an origin is one line of text of 1 to {MAX_ORIGIN_BYTES} bytes"
            )
        if not 0 <= self.size <= MAX_TREE_SIZE:
            raise NoteRefused(NoteReason.SIZE, f"a tree size lies between 0 and {MAX_TREE_SIZE}")
        if len(self.root) != HASH_BYTES or (self.size == 0 and self.root != EMPTY_ROOT):
            raise NoteRefused(NoteReason.ROOT, f"a root has {HASH_BYTES} bytes, the empty tree its own root")


VerifiedCheckpoint = NewType("VerifiedCheckpoint", Checkpoint)
"""A checkpoint that a trusted key signed. Only :func:`open_note` makes one."""


def checkpoint_body(checkpoint: Checkpoint) -> bytes:
    """The text that is signed: three lines, origin, size and base64 root (C2SP tlog-checkpoint)."""
    root = base64.b64encode(checkpoint.root).decode()
    return f"{checkpoint.origin}\n{checkpoint.size}\n{root}\n".encode()


def parse_checkpoint_body(body: bytes) -> Checkpoint:
    """The checkpoint that ``body`` spells (C2SP tlog-checkpoint). Says nothing about who signed it.

    Raises :class:`NoteRefused`: ``NOT_TEXT``, ``CHECKPOINT_LINES``, ``EXTENSION_LINE``, ``ORIGIN``,
    ``SIZE``, ``ROOT``.
    """
    lines = _text(body).split("\n")
    if len(lines) <= CHECKPOINT_LINES or lines[-1]:
        raise NoteRefused(NoteReason.CHECKPOINT_LINES, "a checkpoint has three lines, each ended by newline")
    origin, size, root, *extension = lines[:-1]
    if extension:
        raise NoteRefused(NoteReason.EXTENSION_LINE, "this log's checkpoints have no extension lines")
    if not _SIZE.fullmatch(size):
        raise NoteRefused(NoteReason.SIZE, "the tree size is not a decimal number without leading zeros")
    try:
        root_bytes = decode_base64(root)
    except ValueError:
        raise NoteRefused(NoteReason.ROOT, "the root's base64 is not canonical") from None
    return Checkpoint(origin=origin, size=int(size), root=root_bytes)


# --- notes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """One signature line: who claims to have signed (``name``, 4-byte ``key_id``), and the signature.

    Raises :class:`NoteRefused` (``SIGNATURE_LINE``) on construction.
    """

    name: str
    key_id: bytes
    signature: bytes

    def __post_init__(self) -> None:
        try:
            _require_name(self.name)
        except KeyRefused as refused:
            raise NoteRefused(NoteReason.SIGNATURE_LINE, str(refused)) from None
        if len(self.key_id) != KEY_ID_BYTES or not self.signature:
            raise NoteRefused(NoteReason.SIGNATURE_LINE, "a signature line needs a key id and a signature")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A signed text (C2SP signed-note). ``text`` ends in newline; nothing in it is verified yet.

    Raises :class:`NoteRefused` on construction: ``NOT_TEXT``, ``NO_SIGNATURES``, ``TOO_MANY_SIGNATURES``.
    """

    text: bytes
    signatures: tuple[NoteSignature, ...]

    def __post_init__(self) -> None:
        if not _text(self.text).endswith("\n"):
            raise NoteRefused(NoteReason.NOT_TEXT, "a note's text ends in newline")
        if not self.signatures:
            raise NoteRefused(NoteReason.NO_SIGNATURES, "a note needs a signature")
        if len(self.signatures) > MAX_SIGNATURES:
            raise NoteRefused(
                NoteReason.TOO_MANY_SIGNATURES, f"a note has at most {MAX_SIGNATURES} signatures"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """At ``time_s`` (seconds since 1970, 0 says no time) the witness with ``key`` had seen no larger tree."""

    key: VerifierKey
    time_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedNote:
    """A verified checkpoint and the trusted keys that signed it, each once, in the order of their lines."""

    checkpoint: VerifiedCheckpoint
    signers: tuple[VerifierKey, ...]


def parse_note(data: bytes) -> Note:
    """Text and signature lines of a note of at most 1,000,000 bytes, split at the last blank line.

    Raises :class:`NoteRefused`: ``TOO_LONG``, ``NOT_TEXT``, ``NO_SIGNATURES``, ``TOO_MANY_SIGNATURES``,
    ``SIGNATURE_LINE``.
    """
    if len(data) > MAX_NOTE_BYTES:
        raise NoteRefused(NoteReason.TOO_LONG, f"a note has at most {MAX_NOTE_BYTES} bytes")
    text, blank, tail = _text(data).rpartition("\n\n")
    if not blank or not tail:
        raise NoteRefused(NoteReason.NO_SIGNATURES, "no signature lines stand after a blank line")
    if not tail.endswith("\n"):
        raise NoteRefused(NoteReason.SIGNATURE_LINE, "the last signature line has no end")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteRefused(NoteReason.TOO_MANY_SIGNATURES, f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text=f"{text}\n".encode(), signatures=tuple(map(_parse_signature, lines)))


def format_note(note: Note) -> bytes:
    """The bytes of ``note``: its text, a blank line, its signature lines (C2SP signed-note)."""
    return note.text + b"\n" + b"".join(map(format_signature, note.signatures))


def format_signature(line: NoteSignature) -> bytes:
    """The bytes of one signature line, with the newline that ends it."""
    encoded = base64.b64encode(line.key_id + line.signature).decode()
    return f"{_SIGNATURE_MARK}{line.name} {encoded}\n".encode()


def sign_text(body: bytes, name: str, private_key: NotePrivateKey, *, timestamp_s: int = 0) -> NoteSignature:
    """One signature line of ``name`` over ``body``; several of them make one :class:`Note`.

    ``timestamp_s`` (seconds since 1970) belongs to ML-DSA-44 alone, 0 states no time. An ML-DSA-44
    signature has fresh randomness inside, an Ed25519 one is always the same.
    Raises :class:`KeyRefused` (``NAME``); :class:`NoteRefused`: ``TIMESTAMP``, and for ML-DSA-44 all reasons
    of :func:`parse_checkpoint_body`, because it signs what the checkpoint means.
    """
    return _sign(body, verifier_key(name, private_key), private_key, timestamp_s)


def cosign(body: bytes, name: str, private_key: NotePrivateKey, *, timestamp_s: int) -> NoteSignature:
    """The cosignature line of the witness ``name`` over the checkpoint ``body``: at ``timestamp_s`` (seconds since
    1970) it is the largest tree that the witness has seen of this log.

    Raises as :func:`sign_text`, and all reasons of :func:`parse_checkpoint_body` for either kind of key.
    """
    parse_checkpoint_body(body)
    return _sign(body, cosigner_key(name, private_key), private_key, timestamp_s)


def _sign(body: bytes, key: VerifierKey, private_key: NotePrivateKey, timestamp_s: int) -> NoteSignature:
    time_bytes = b"" if key.type is SignatureType.ED25519 else _timestamp(timestamp_s)
    signature = time_bytes + private_key.sign(_message(key, time_bytes, body))
    return NoteSignature(name=key.name, key_id=key.key_id, signature=signature)


def sign_note(body: bytes, name: str, private_key: NotePrivateKey, *, timestamp_s: int = 0) -> bytes:
    """The note over ``body`` with one signature line of ``name``; arguments and errors as in
    :func:`sign_text`, and :class:`NoteRefused` (``NOT_TEXT``) if ``body`` is no text ending in newline.
    """
    line = sign_text(body, name, private_key, timestamp_s=timestamp_s)
    return format_note(Note(text=body, signatures=(line,)))


def verify_note(note: Note, trusted: Sequence[VerifierKey]) -> tuple[VerifierKey, ...]:
    """The trusted keys that signed ``note``, at least one, each once, in the order of their lines.

    Raises :class:`KeyRefused`: ``REPEATED``, ``AMBIGUOUS``; :class:`NoteRefused`: ``BAD_SIGNATURE`` if a
    line of a known (name, key id) does not hold, ``NO_TRUSTED_SIGNATURE`` if no line is of a known key.
    """
    signers = dict.fromkeys(key for key, _ in _lines_of(note, trusted))
    if not signers:
        raise NoteRefused(NoteReason.NO_TRUSTED_SIGNATURE, "no trusted key has signed this note")
    return tuple(signers)


def verify_cosignatures(note: Note, cosigners: Sequence[VerifierKey]) -> tuple[Cosignature, ...]:
    """What those of ``cosigners`` who cosigned ``note`` say, each once and with its last time; perhaps nothing.

    The order is that of their first lines. Raises :class:`KeyRefused`: ``REPEATED``, ``AMBIGUOUS``, ``TYPE`` for
    a key that does not cosign; :class:`NoteRefused`: ``BAD_SIGNATURE``.
    """
    if not {key.type for key in cosigners} <= COSIGNER_TYPES:
        raise KeyRefused(KeyReason.TYPE, "a cosigner has a key of type 0x04 or 0x06")
    times_s: dict[VerifierKey, int] = {}
    for key, signature in _lines_of(note, cosigners):
        time_s = int.from_bytes(signature[:TIMESTAMP_BYTES], "big")
        times_s[key] = max(time_s, times_s.get(key, 0))
    return tuple(Cosignature(key=key, time_s=time_s) for key, time_s in times_s.items())


def _lines_of(note: Note, keys: Sequence[VerifierKey]) -> Iterator[tuple[VerifierKey, bytes]]:
    """The signatures of ``keys`` under ``note``, each of which holds."""
    require_distinct_keys(keys)
    known = {(key.name, key.key_id): key for key in keys}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        if not _holds(key, note.text, line.signature):
            raise NoteRefused(NoteReason.BAD_SIGNATURE, f"the signature of {key.name} does not hold")
        yield key, line.signature


def open_note(data: bytes, trusted: Sequence[VerifierKey]) -> OpenedNote:
    """The checkpoint of a note that a ``trusted`` key signed, and who signed it.

    Verifies the bytes first, then parses them. Raises :class:`NoteRefused` and :class:`KeyRefused` for all
    reasons of :func:`parse_note`, :func:`verify_note` and :func:`parse_checkpoint_body`.
    """
    note = parse_note(data)
    signers = verify_note(note, trusted)
    return OpenedNote(checkpoint=VerifiedCheckpoint(parse_checkpoint_body(note.text)), signers=signers)


def _holds(key: VerifierKey, text: bytes, signature: bytes) -> bool:
    length = 0 if key.type is SignatureType.ED25519 else TIMESTAMP_BYTES
    time_bytes, bare = signature[:length], signature[length:]
    try:
        _timestamp(int.from_bytes(time_bytes, "big"))
        _public_key(key).verify(bare, _message(key, time_bytes, text))
    except (InvalidSignature, NoteRefused):
        return False
    return True


def _public_key(key: VerifierKey) -> Ed25519PublicKey | MLDSA44PublicKey:
    if key.type is SignatureType.ML_DSA_44:
        return MLDSA44PublicKey.from_public_bytes(key.raw)
    return Ed25519PublicKey.from_public_bytes(key.raw)


def _message(key: VerifierKey, time_bytes: bytes, text: bytes) -> bytes:
    """What ``key`` signs of ``text``, at the time that stands in front of the signature."""
    match key.type:
        case SignatureType.ED25519:
            return text
        case SignatureType.ED25519_COSIGNATURE:
            return _COSIGNATURE_LINE + f"time {int.from_bytes(time_bytes, 'big')}\n".encode() + text
        case SignatureType.ML_DSA_44:
            return _cosigned_message(key.name, time_bytes, text)


def _cosigned_message(name: str, time_bytes: bytes, body: bytes) -> bytes:
    """``cosigned_message`` over the whole tree of a checkpoint (C2SP tlog-cosignature, ML-DSA-44)."""
    checkpoint = parse_checkpoint_body(body)
    cosigner, origin = name.encode(), checkpoint.origin.encode()
    return b"".join(
        (
            _COSIGNED_LABEL,
            bytes((len(cosigner),)),
            cosigner,
            time_bytes,
            bytes((len(origin),)),
            origin,
            bytes(8),  # the subtree starts at leaf 0
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _timestamp(timestamp_s: int) -> bytes:
    if not 0 <= timestamp_s <= MAX_TIMESTAMP_S:
        raise NoteRefused(NoteReason.TIMESTAMP, f"a timestamp lies between 0 and {MAX_TIMESTAMP_S} seconds")
    return timestamp_s.to_bytes(TIMESTAMP_BYTES, "big")


def _parse_signature(line: str) -> NoteSignature:
    if not line.startswith(_SIGNATURE_MARK):
        raise NoteRefused(NoteReason.SIGNATURE_LINE, "a signature line starts with an em dash and a space")
    name, _, encoded = line.removeprefix(_SIGNATURE_MARK).partition(" ")
    try:
        data = decode_base64(encoded)
    except ValueError:
        raise NoteRefused(NoteReason.SIGNATURE_LINE, "a signature's base64 is not canonical") from None
    return NoteSignature(name=name, key_id=data[:KEY_ID_BYTES], signature=data[KEY_ID_BYTES:])


def _text(data: bytes) -> str:
    """``data`` as text: UTF-8 without control characters except newline."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NoteRefused(NoteReason.NOT_TEXT, "a note is UTF-8 text") from None
    if _CONTROL.search(text):
        raise NoteRefused(NoteReason.NOT_TEXT, "a note has no control characters except newline")
    return text


def _is_line(text: str, max_bytes: int) -> bool:
    """Whether ``text`` is one line of encodable text within ``max_bytes``."""
    if "\n" in text or _CONTROL.search(text):
        return False
    try:
        return len(text.encode()) <= max_bytes
    except UnicodeEncodeError:
        return False


def _require_name(name: str) -> None:
    spaced = any(character.isspace() for character in name)
    if not name or spaced or "+" in name or not _is_line(name, MAX_NAME_BYTES):
        raise KeyRefused(
            KeyReason.NAME, f"a key name has 1 to {MAX_NAME_BYTES} bytes and neither spaces nor plus"
        )


def _require_ml_dsa_44(raw: bytes) -> None:
    if len(raw) != ML_DSA_44_KEY_BYTES:
        raise KeyRefused(
            KeyReason.LENGTH, f"an ML-DSA-44 key has {ML_DSA_44_KEY_BYTES} bytes, not {len(raw)}"
        )


def _signature_type(material: bytes) -> SignatureType:
    try:
        return SignatureType(material[0])
    except (IndexError, ValueError):
        raise KeyRefused(KeyReason.TYPE, "a verifier key is of type 0x01, 0x04 or 0x06") from None
