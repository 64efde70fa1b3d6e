"""Risk attestation: what the house says about itself after a cycle (in-toto Statement v1).

Rules kept here (attestation.md §5): every number is a decimal string, JSON numbers are refused; a missing, an
unknown or a repeated member is refused, and each refusal names the JSON path. Amounts are whole smallest
units, and since they are totals they may reach 2^64 balances of 2^127. Digests and tree hashes are 64
lower-case hex digits. Times are RFC 3339 in UTC with three decimals and ``Z``; inside they are integer
milliseconds since 1970. The subject is the checkpoint the statement speaks of: ``<origin>@<size>`` with the
SHA-256 of the checkpoint's body.

A statement must also agree with itself: debits equal credits in every unit, the journal never shrinks, time
runs forward, two members lose no less than one and no more than twice that, no more is owed than the trial balance
has, and a waterfall hands out exactly the loss. The first attestation has sequence 1, ``previous``
of 64 zeros, ``previousTreeSize`` 0 and no proof; every later one names a predecessor. ``waterfall`` is absent
unless a default is open.

Reading and writing use one table per object, so they cannot drift apart, and :func:`build` reads back what it
wrote before it returns.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Generic, NewType, TypeVar

from clearing.attest.envelope import (
    JsonRefused,
    JsonValue,
    RefusedNumber,
    VerifiedPayload,
    canonical_json,
    read_json,
)
from ledger.checkpoint import Checkpoint, NoteRefused, checkpoint_body

T = TypeVar("T")

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://clearing-house.dev/attestation/risk/v1"
FIRST_PREVIOUS = bytes(32)
MAX_COUNT = 2**63 - 1
MAX_TOTAL_MINOR = 2**191 - 1
MAX_TEXT_BYTES = 255
MAX_PROOF_HASHES = 64
MAX_UNITS = 10_000
MAX_GATES = 1_000
MAX_DEFAULTS = 1_000
MAX_TIERS = 16
MAX_BREAKERS = 10_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,57}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]+")


class StatementReason(Enum):
    """Why a statement was refused; the values are stable."""

    NOT_JSON = "statement_not_json"
    KIND = "value_of_wrong_kind"
    JSON_NUMBER = "json_number"
    MISSING_MEMBER = "missing_member"
    UNKNOWN_MEMBER = "unknown_member"
    FORM = "value_form"
    RANGE = "value_range"
    LENGTH = "list_length"
    TYPE = "statement_type"
    SUBJECT = "subject"
    UNBALANCED = "trial_balance_unbalanced"
    TREE_SHRINKS = "tree_shrinks"
    TIMES = "times_reversed"
    CHAIN_START = "chain_start"
    PROOF = "needless_proof"
    COVER = "cover_two_without_cover_one"
    UNITS = "units_differ"
    BEYOND_BALANCE = "liabilities_beyond_trial_balance"
    DRAWS = "draws_do_not_sum_to_loss"
    DEFAULT_REPEATED = "default_repeated"
    NOT_AS_BUILT = "statement_not_as_built"


class StatementRefused(ValueError):
    """A statement that cannot be accepted; ``reason`` says why, ``path`` where (JSON path)."""

    def __init__(self, reason: StatementReason, path: str, sentence: str) -> None:
        super().__init__(f"{path}: {sentence}")
        self.reason = reason
        self.path = path


# --- values --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The tree this statement speaks of, and the proof that it extends the tree attested before."""

    origin: str
    tree_size: int
    root_hash: bytes
    previous_tree_size: int
    consistency: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums of all debit and all credit balances of one unit, in its smallest units."""

    debits_minor: int
    credits_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What stands between a default and a loss, in smallest units of the settlement asset.

    Only ``margin_held_minor`` may be negative: members' cash may be (rulebook §3).
    """

    margin_required_minor: int
    margin_held_minor: int
    pool_required_minor: int
    pool_held_minor: int
    skin_in_the_game_minor: int
    second_tranche_minor: int
    insurance_fund_minor: int
    assessments_available_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """The largest losses over margin, in smallest units of the settlement asset, under the scenarios of the stress
    library (rulebook §12): of one member, and of two in the same scenario. ``prefunded_minor`` stands against them.
    ``worst_scenario`` is the one of ``cover2_minor``.
    """

    scenario_set_digest: bytes
    cover1_minor: int
    cover2_minor: int
    prefunded_minor: int
    worst_scenario: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Open margin calls: how many, and their sum in smallest units of the settlement asset."""

    count: int
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaches:
    """Netting sets below their requirement: how many, and what they lack, in smallest units of the settlement asset."""

    count: int
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A gate that is shut: what it stops, why, and since when (ms UTC)."""

    scope: str
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """A circuit breaker that does not let every trade through: of what, how far it is shut, by what, since when."""

    scope: str
    state: str
    trigger: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Netting:
    """Requirement of all accounts alone and of the netting sets: the difference is what netting saves."""

    standalone_minor: int
    portfolio_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The margin model that was live, and the SHA-256 of the parameters and of the prices it used, and of the program
    text that the figures were computed with.
    """

    name: str
    version: str
    parameters_digest: bytes
    prices_digest: bytes
    code_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the figures were computed from: the root of an RFC 6962 tree over the lines of the recompute bundle, and
    how many lines there are.
    """

    root: bytes
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Liabilities:
    """What the house owes its members, as a sum tree (attestation.md §6). Totals and receivables by unit, in its
    smallest units: their difference is what the trial balance says of the same accounts.
    """

    root: bytes
    leaf_count: int
    totals_minor: Mapping[str, int]
    receivables_minor: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDefault:
    """A default that is not closed: its stage, the loss, and what each tier paid, in smallest units.

    Before the waterfall ran, ``draws_minor`` is empty and nothing is uncovered.
    """

    default: str
    stage: str
    loss_minor: int
    draws_minor: Mapping[str, int]
    uncovered_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One risk attestation; fields as in attestation.md §5. Times are ms UTC, ``previous`` a SHA-256."""

    issuer: str
    sequence: int
    previous: bytes
    as_of_ms: int
    valid_until_ms: int
    journal: Journal
    trial_balance: Mapping[str, Totals]
    resources: Resources
    stress: Stress
    calls: Calls
    breaches: Breaches
    gates: tuple[Gate, ...]
    breakers: tuple[CircuitBreaker, ...]
    netting: Netting
    model: Model
    inputs: Inputs
    liabilities: Liabilities
    waterfall: tuple[OpenDefault, ...] = ()


VerifiedStatement = NewType("VerifiedStatement", Statement)
"""A statement read from verified bytes. Only :func:`parse` makes one."""


# --- doors ---------------------------------------------------------------------------------------------


def build(statement: Statement) -> bytes:
    """The payload that states ``statement``: canonical JSON (sorted members, no spaces, UTF-8).

    Raises :class:`StatementRefused` for whatever :func:`parse` would refuse, and ``NOT_AS_BUILT`` if the
    payload would be read as another statement.
    """
    try:
        document = _Document(predicate=statement, subject=(_subject(statement),))
        payload = canonical_json(_DOCUMENT.write(document))
    except (NoteRefused, OverflowError, UnicodeEncodeError) as error:
        raise StatementRefused(StatementReason.FORM, "$", f"cannot be written: {error}") from None
    if _read(payload) != statement:
        raise StatementRefused(StatementReason.NOT_AS_BUILT, "$", "does not read back as it was built")
    return payload


def parse(payload: VerifiedPayload) -> VerifiedStatement:
    """The statement in bytes that were verified before.

    Raises :class:`StatementRefused`, naming the JSON path, for all reasons but ``NOT_AS_BUILT``.
    """
    return VerifiedStatement(_read(payload))


def payload_digest(payload: bytes) -> bytes:
    """SHA-256 of a payload: what the next attestation names as ``previous``."""
    return hashlib.sha256(payload).digest()


def attested_checkpoint(statement: Statement) -> Checkpoint:
    """The checkpoint that ``statement`` speaks of: its subject."""
    return attested_tree(statement.journal)


def attested_tree(journal: Journal) -> Checkpoint:
    """The tree that a statement speaks of."""
    return Checkpoint(origin=journal.origin, size=journal.tree_size, root=journal.root_hash)


def format_time(time_ms: int) -> str:
    """``time_ms`` (ms UTC since 1970) as ``2026-03-01T12:00:00.000Z`` (RFC 3339).

    Raises ``OverflowError`` after the year 9999.
    """
    return (_EPOCH + time_ms * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> int:
    """Milliseconds since 1970 of a time as :func:`format_time` writes it. Raises ``ValueError``."""
    if not _TIME.fullmatch(text):
        raise ValueError("a time is written YYYY-MM-DDThh:mm:ss.mmmZ")
    return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND


# --- agreement with itself -----------------------------------------------------------------------------


def _read(payload: bytes) -> Statement:
    try:
        value = read_json(payload)
    except JsonRefused as refused:
        raise StatementRefused(StatementReason.NOT_JSON, "$", str(refused)) from None
    document = _DOCUMENT.read(value, "$")
    statement = document.predicate
    _require_journal(statement)
    _require_subject(document)
    _require_balance(statement)
    _require_times(statement)
    _require_stress(statement)
    _require_liabilities(statement)
    _require_waterfall(statement)
    return statement


def _require_journal(statement: Statement) -> None:
    journal, path = statement.journal, "$.predicate.journal"
    starts = (
        statement.sequence == 1,
        statement.previous == FIRST_PREVIOUS,
        journal.previous_tree_size == 0,
    )
    if any(starts) and not all(starts):
        raise StatementRefused(
            StatementReason.CHAIN_START,
            "$.predicate.sequence",
            "sequence 1, no previous and a previous tree of size 0 go together",
        )
    if journal.tree_size < journal.previous_tree_size:
        raise StatementRefused(
            StatementReason.TREE_SHRINKS, f"{path}.treeSize", "is below the tree attested before"
        )
    if journal.consistency and journal.previous_tree_size in (0, journal.tree_size):
        raise StatementRefused(StatementReason.PROOF, f"{path}.consistency", "proves nothing here")


def _require_subject(document: "_Document") -> None:
    if document.subject != (_subject(document.predicate),):
        raise StatementRefused(
            StatementReason.SUBJECT, "$.subject", "is not the checkpoint that the predicate speaks of"
        )


def _require_balance(statement: Statement) -> None:
    for unit, totals in statement.trial_balance.items():
        if totals.debits_minor != totals.credits_minor:
            raise StatementRefused(
                StatementReason.UNBALANCED, f"$.predicate.trialBalance.{unit}", "debits and credits differ"
            )


def _require_times(statement: Statement) -> None:
    if statement.as_of_ms >= statement.valid_until_ms:
        raise StatementRefused(StatementReason.TIMES, "$.predicate.validUntil", "is not after asOf")


def _require_stress(statement: Statement) -> None:
    one, two = statement.stress.cover1_minor, statement.stress.cover2_minor
    if not one <= two <= 2 * one:
        raise StatementRefused(
            StatementReason.COVER, "$.predicate.stress.cover2", "lies between cover1 and twice that"
        )


def _require_liabilities(statement: Statement) -> None:
    owed = statement.liabilities
    if owed.totals_minor.keys() != owed.receivables_minor.keys():
        raise StatementRefused(
            StatementReason.UNITS, "$.predicate.liabilities", "totals and receivables are of the same units"
        )
    for unit, owed_minor in owed.totals_minor.items():
        balances = statement.trial_balance.get(unit, Totals(debits_minor=0, credits_minor=0))
        if owed_minor > balances.credits_minor or owed.receivables_minor[unit] > balances.debits_minor:
            raise StatementRefused(
                StatementReason.BEYOND_BALANCE,
                f"$.predicate.liabilities.totals.{unit}",
                "more is owed, or overdrawn, than the trial balance has",
            )


def _require_waterfall(statement: Statement) -> None:
    for index, event in enumerate(statement.waterfall):
        given = sum(event.draws_minor.values()) + event.uncovered_minor
        if given not in (0, event.loss_minor):
            raise StatementRefused(
                StatementReason.DRAWS,
                f"$.predicate.waterfall[{index}]",
                "draws and uncovered are not the loss",
            )
    if len({event.default for event in statement.waterfall}) != len(statement.waterfall):
        raise StatementRefused(
            StatementReason.DEFAULT_REPEATED, "$.predicate.waterfall", "names one default twice"
        )


# --- kinds of values: how each is read and written ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind(Generic[T]):
    """A kind of value: ``read`` checks JSON found at a path, ``write`` makes JSON."""

    read: Callable[[JsonValue, str], T]
    write: Callable[[T], JsonValue]


def _read_string(value: JsonValue, path: str) -> str:
    if isinstance(value, RefusedNumber):
        raise StatementRefused(
            StatementReason.JSON_NUMBER, path, "is a JSON number; every number is a decimal string"
        )
    if not isinstance(value, str):
        raise StatementRefused(StatementReason.KIND, path, "must be a string")
    return value


def _read_text(value: JsonValue, path: str) -> str:
    text = _read_string(value, path)
    if not _TEXT.fullmatch(text) or len(text.encode()) > MAX_TEXT_BYTES:
        raise StatementRefused(
            StatementReason.FORM, path, f"must be 1 to {MAX_TEXT_BYTES} bytes without control characters"
        )
    return text


def _read_digest(value: JsonValue, path: str) -> bytes:
    text = _read_string(value, path)
    if not _DIGEST.fullmatch(text):
        raise StatementRefused(StatementReason.FORM, path, "must be 64 lower-case hex digits")
    return bytes.fromhex(text)


def _read_time(value: JsonValue, path: str) -> int:
    try:
        time_ms = parse_time(_read_string(value, path))
    except StatementRefused:
        raise
    except ValueError:
        raise StatementRefused(
            StatementReason.FORM, path, "must be a UTC time such as 2026-03-01T12:00:00.000Z"
        ) from None
    if time_ms < 0:
        raise StatementRefused(StatementReason.RANGE, path, "lies before 1970")
    return time_ms


def _integer(least: int, most: int) -> _Kind[int]:
    def read(value: JsonValue, path: str) -> int:
        text = _read_string(value, path)
        if not _DECIMAL.fullmatch(text):
            raise StatementRefused(
                StatementReason.FORM, path, "must be a decimal integer in its one spelling"
            )
        if not least <= int(text) <= most:
            raise StatementRefused(StatementReason.RANGE, path, f"must lie between {least} and {most}")
        return int(text)

    return _Kind(read, str)


def _constant(text: str) -> _Kind[str]:
    def read(value: JsonValue, path: str) -> str:
        if _read_string(value, path) != text:
            raise StatementRefused(StatementReason.TYPE, path, f"must be {text}")
        return text

    return _Kind(read, str)


def _list(item: _Kind[T], *, least: int, most: int) -> _Kind[tuple[T, ...]]:
    def read(value: JsonValue, path: str) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise StatementRefused(StatementReason.KIND, path, "must be a list")
        if not least <= len(value) <= most:
            raise StatementRefused(StatementReason.LENGTH, path, f"must have {least} to {most} entries")
        return tuple(item.read(entry, f"{path}[{index}]") for index, entry in enumerate(value))

    return _Kind(read, lambda entries: [item.write(entry) for entry in entries])


def _map(item: _Kind[T], *, most: int) -> _Kind[Mapping[str, T]]:
    def read(value: JsonValue, path: str) -> Mapping[str, T]:
        members = _read_object(value, path)
        if len(members) > most:
            raise StatementRefused(StatementReason.LENGTH, path, f"must have at most {most} members")
        return {_read_text(name, path): item.read(entry, f"{path}.{name}") for name, entry in members.items()}

    return _Kind(read, lambda entries: {name: item.write(entry) for name, entry in entries.items()})


def _record(make: Callable[..., T], members: Mapping[str, tuple[str, _Kind[Any]]]) -> _Kind[T]:
    """An object with exactly these ``members``: JSON name → (field of the dataclass, kind)."""

    def read(value: JsonValue, path: str) -> T:
        found = _read_object(value, path)
        _require_members(found, members, path)
        values = {
            attribute: kind.read(found[name], f"{path}.{name}")
            for name, (attribute, kind) in members.items()
            if name in found
        }
        return make(**values)

    def write(record: T) -> JsonValue:
        return {
            name: kind.write(getattr(record, attribute))
            for name, (attribute, kind) in members.items()
            if getattr(record, attribute) or name not in _ABSENT_WHEN_EMPTY
        }

    return _Kind(read, write)


def _read_object(value: JsonValue, path: str) -> dict[str, JsonValue]:
    if not isinstance(value, dict):
        raise StatementRefused(StatementReason.KIND, path, "must be an object")
    return value


def _require_members(found: Mapping[str, JsonValue], members: Mapping[str, object], path: str) -> None:
    for name in found:
        if name not in members:
            raise StatementRefused(StatementReason.UNKNOWN_MEMBER, f"{path}.{name}", "is not known")
    for name in members:
        if name not in found and name not in _ABSENT_WHEN_EMPTY:
            raise StatementRefused(StatementReason.MISSING_MEMBER, f"{path}.{name}", "is missing")


# --- the tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Subject:
    name: str
    digest: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    predicate: Statement
    subject: tuple[_Subject, ...]
    statement_type: str = STATEMENT_TYPE
    predicate_type: str = PREDICATE_TYPE


def _subject(statement: Statement) -> _Subject:
    checkpoint = attested_checkpoint(statement)
    digest = hashlib.sha256(checkpoint_body(checkpoint)).digest()
    return _Subject(name=f"{checkpoint.origin}@{checkpoint.size}", digest={"sha256": digest})


_ABSENT_WHEN_EMPTY = frozenset({"waterfall"})

_STRING = _Kind(_read_string, str)
_NAME = _Kind(_read_text, str)
_HASH = _Kind(_read_digest, bytes.hex)
_MOMENT = _Kind(_read_time, format_time)
_ORDINAL = _integer(1, MAX_COUNT)
_COUNT = _integer(0, MAX_COUNT)
_AMOUNT = _integer(0, MAX_TOTAL_MINOR)
_SIGNED_AMOUNT = _integer(-MAX_TOTAL_MINOR, MAX_TOTAL_MINOR)

_JOURNAL = _record(
    Journal,
    {
        "origin": ("origin", _NAME),
        "treeSize": ("tree_size", _ORDINAL),
        "rootHash": ("root_hash", _HASH),
        "previousTreeSize": ("previous_tree_size", _COUNT),
        "consistency": ("consistency", _list(_HASH, least=0, most=MAX_PROOF_HASHES)),
    },
)
_TOTALS = _record(Totals, {"debits": ("debits_minor", _AMOUNT), "credits": ("credits_minor", _AMOUNT)})
_RESOURCES = _record(
    Resources,
    {
        "marginRequired": ("margin_required_minor", _AMOUNT),
        "marginHeld": ("margin_held_minor", _SIGNED_AMOUNT),
        "poolRequired": ("pool_required_minor", _AMOUNT),
        "poolHeld": ("pool_held_minor", _AMOUNT),
        "skinInTheGame": ("skin_in_the_game_minor", _AMOUNT),
        "secondTranche": ("second_tranche_minor", _AMOUNT),
        "insuranceFund": ("insurance_fund_minor", _AMOUNT),
        "assessmentsAvailable": ("assessments_available_minor", _AMOUNT),
    },
)
_STRESS = _record(
    Stress,
    {
        "scenarioSetDigest": ("scenario_set_digest", _HASH),
        "cover1": ("cover1_minor", _AMOUNT),
        "cover2": ("cover2_minor", _AMOUNT),
        "prefunded": ("prefunded_minor", _AMOUNT),
        "worstScenario": ("worst_scenario", _NAME),
    },
)
_CALLS = _record(Calls, {"count": ("count", _COUNT), "amount": ("amount_minor", _AMOUNT)})
_BREACHES = _record(Breaches, {"count": ("count", _COUNT), "amount": ("amount_minor", _AMOUNT)})
_GATE = _record(
    Gate, {"scope": ("scope", _NAME), "reason": ("reason", _NAME), "since": ("since_ms", _MOMENT)}
)
_BREAKER = _record(
    CircuitBreaker,
    {
        "scope": ("scope", _NAME),
        "state": ("state", _NAME),
        "trigger": ("trigger", _NAME),
        "since": ("since_ms", _MOMENT),
    },
)
_NETTING = _record(
    Netting, {"standalone": ("standalone_minor", _AMOUNT), "portfolio": ("portfolio_minor", _AMOUNT)}
)
_MODEL = _record(
    Model,
    {
        "name": ("name", _NAME),
        "version": ("version", _NAME),
        "parametersDigest": ("parameters_digest", _HASH),
        "pricesDigest": ("prices_digest", _HASH),
        "codeDigest": ("code_digest", _HASH),
    },
)
_INPUTS = _record(Inputs, {"root": ("root", _HASH), "count": ("count", _COUNT)})
_LIABILITIES = _record(
    Liabilities,
    {
        "root": ("root", _HASH),
        "leafCount": ("leaf_count", _COUNT),
        "totals": ("totals_minor", _map(_AMOUNT, most=MAX_UNITS)),
        "receivables": ("receivables_minor", _map(_AMOUNT, most=MAX_UNITS)),
    },
)
_DEFAULT = _record(
    OpenDefault,
    {
        "default": ("default", _NAME),
        "stage": ("stage", _NAME),
        "loss": ("loss_minor", _AMOUNT),
        "draws": ("draws_minor", _map(_AMOUNT, most=MAX_TIERS)),
        "uncovered": ("uncovered_minor", _AMOUNT),
    },
)
_PREDICATE = _record(
    Statement,
    {
        "issuer": ("issuer", _NAME),
        "sequence": ("sequence", _ORDINAL),
        "previous": ("previous", _HASH),
        "asOf": ("as_of_ms", _MOMENT),
        "validUntil": ("valid_until_ms", _MOMENT),
        "journal": ("journal", _JOURNAL),
        "trialBalance": ("trial_balance", _map(_TOTALS, most=MAX_UNITS)),
        "resources": ("resources", _RESOURCES),
        "stress": ("stress", _STRESS),
        "calls": ("calls", _CALLS),
        "breaches": ("breaches", _BREACHES),
        "gates": ("gates", _list(_GATE, least=0, most=MAX_GATES)),
        "circuitBreakers": ("breakers", _list(_BREAKER, least=0, most=MAX_BREAKERS)),
        "netting": ("netting", _NETTING),
        "model": ("model", _MODEL),
        "inputs": ("inputs", _INPUTS),
        "liabilities": ("liabilities", _LIABILITIES),
        "waterfall": ("waterfall", _list(_DEFAULT, least=1, most=MAX_DEFAULTS)),
    },
)
_SUBJECT = _record(_Subject, {"name": ("name", _STRING), "digest": ("digest", _map(_HASH, most=1))})
_DOCUMENT = _record(
    _Document,
    {
        "_type": ("statement_type", _constant(STATEMENT_TYPE)),
        "subject": ("subject", _list(_SUBJECT, least=1, most=1)),
        "predicateType": ("predicate_type", _constant(PREDICATE_TYPE)),
        "predicate": ("predicate", _PREDICATE),
    },
)
