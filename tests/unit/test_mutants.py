"""Ten thousand mutated proofs and notes: none is accepted as something else than what was signed.

How many were read as the same, in another spelling that the format allows, is printed (``pytest -rP``).
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from clearing.attest.envelope import (
    PAYLOAD_TYPE,
    EnvelopeRefused,
    OpenedEnvelope,
    VerifiedPayload,
    ed25519_signer,
    open_envelope,
    sign,
)
from clearing.attest.policy import PolicyRefused, format_policy, parse_policy
from clearing.attest.report import ReportRefused
from clearing.attest.report import parse as parse_report
from clearing.attest.statement import StatementRefused, parse
from clearing.attest.trust import TrustRefused, verify_chain
from clearing.model.values import Form
from clearing_client.offline import verify_attestations
from clearing_client.sealed import verify_report
from ledger.checkpoint import (
    KeyRefused,
    NoteRefused,
    OpenedNote,
    checkpoint_body,
    format_note,
    format_vkey,
    open_note,
    parse_checkpoint_body,
    parse_note,
    parse_vkey,
    sign_note,
    sign_text,
    verifier_key,
)
from ledger.leaf import RecordMalformed
from ledger.merkle import (
    ProofRefused,
    consistency_path,
    inclusion_path,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.receipt import (
    ReceiptRefused,
    format_entry,
    format_legs,
    parse_entry,
    parse_legs,
    verify_entry,
    verify_legs,
)
from ledger.tiles import TiledTree, TileRefused, parse_path
from tests.ledgers import ALICE
from tests.mutants import Subject, mutate
from tests.published import (
    ATTESTED,
    ENTRY_RECEIPT,
    ENVELOPES,
    HASHES,
    HONEST,
    NOTE,
    PAYLOADS,
    SIZE,
    SPLIT,
    TREE,
)
from tests.sealed_reports import OFFICERS, made_in, sealed, statement
from tests.unit.test_offline_verifier import (
    OPERATIONS,
    ORIGIN,
    POLICY,
    RISK,
    checkpoint_at,
    ed25519_key,
    note_at,
)
from tests.unit.test_trust import ANNA, BEN, CARL, FIRST, signed
from tests.unit.test_trust import NOON_MS as TRUSTED_MS

pytestmark = pytest.mark.slow

MUTANTS = 600
"""Of each subject: more than 10,000 in all."""
SEED = "2020-03-12"
TRUST_ROOT, OTHER_TRUST_ROOT = signed(FIRST, None, ANNA, BEN, CARL), signed(FIRST, None, BEN, CARL)
REFUSALS = (
    *(EnvelopeRefused, KeyRefused, NoteRefused, PolicyRefused, ProofRefused, ReceiptRefused, RecordMalformed),
    *(ReportRefused, StatementRefused, TileRefused, TrustRefused),
)
ONE_SPELLING: frozenset[str] = frozenset()


class NotRead(ValueError):
    """A report with a check that failed."""


# --- how each is read ---------------------------------------------------------------------------------------

WITNESS_KEY, QUANTUM_KEY = ed25519_key("witness"), MLDSA44PrivateKey.from_seed_bytes(bytes(range(32)))
KNOWN = (
    *POLICY.log_keys,
    verifier_key("witness.example/w1", WITNESS_KEY),
    verifier_key("witness.example/w2", QUANTUM_KEY),
)


def cosigned(size: int) -> bytes:
    """A checkpoint that the log and two witnesses signed, and one whom nobody knows."""
    note = parse_note(note_at(size, HASHES))
    others = (
        sign_text(note.text, "witness.example/w1", WITNESS_KEY),
        sign_text(note.text, "witness.example/w2", QUANTUM_KEY, timestamp_s=1_584_000_000),
        sign_text(note.text, "stranger.example", ed25519_key("stranger")),
    )
    return format_note(replace(note, signatures=(*note.signatures, *others)))


def fewer_signed(honest: OpenedNote, mutant: OpenedNote) -> bool:
    """The same checkpoint, signed by some of the same keys: a line that was spoiled counts for nothing."""
    return honest.checkpoint == mutant.checkpoint and {*mutant.signers} <= {*honest.signers}


def fewer_officers(honest: OpenedEnvelope, mutant: OpenedEnvelope) -> bool:
    return honest.payload == mutant.payload and {*mutant.roles} <= {*honest.roles}


def tree_with(path: str, data: bytes) -> tuple[bytes, ...]:
    """All leaves of the log with one file replaced."""
    files = {**HONEST, path: data}
    return tuple(TiledTree(TREE.size, TREE.root, files.__getitem__).leaves())


def in_the_chain(payload: bytes) -> Any:
    """The second of three statements, signed anew by the officers: the third names it by its digest."""
    chain = [ENVELOPES[0], sign(payload, PAYLOAD_TYPE, [RISK, OPERATIONS]), ENVELOPES[2]]
    report = verify_attestations(POLICY, note_at(ATTESTED[2], HASHES), chain, None)
    if not report.ok:
        raise NotRead(str(report))
    return parse(VerifiedPayload(payload))


MALLORY, MARVIN = ed25519_key("mallory"), ed25519_key("marvin")
FORGED_NOTE = sign_note(checkpoint_body(checkpoint_at(SIZE)), ORIGIN, MALLORY)
FORGED_ENVELOPE = sign(PAYLOADS[0], PAYLOAD_TYPE, [ed25519_signer(MALLORY), ed25519_signer(MARVIN)])


def policy_in_use(text: bytes) -> Any:
    """What a policy makes of honest files, and that it makes nothing of forged ones.

    A policy is not signed: who alters a threshold or a key has another policy, which says so when it is shown. It must
    still have one meaning, and log keys carry digits that check them.
    """
    policy = parse_policy(text)
    assert parse_policy(format_policy(policy)) == policy
    for act in (
        partial(open_note, FORGED_NOTE, policy.log_keys),
        partial(open_envelope, FORGED_ENVELOPE, policy.trust),
    ):
        with pytest.raises((NoteRefused, EnvelopeRefused)):
            act()
    report = verify_attestations(policy, note_at(ATTESTED[0], HASHES), ENVELOPES[:1], None)
    if not report.ok:
        raise NotRead(str(report))
    return policy.origin, policy.log_keys, report.trees


def spelled_once(parse_it: Callable[[Any], Any], format_it: Callable[[Any], Any]) -> Callable[[bytes], bool]:
    """Whatever is parsed is spelled exactly as it would be written: nobody has to have signed it."""
    return lambda data: bool(format_it(parse_it(data)) == data)


def in_text(parse_it: Callable[[str], Any], format_it: Callable[[Any], str]) -> Callable[[bytes], bool]:
    """The same for what is part of a text, and so is text already."""

    def read(data: bytes) -> bool:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise NotRead from None
        return format_it(parse_it(text)) == text

    return read


def proof_of(data: bytes) -> None:
    """An inclusion path as bare hashes."""
    verify_inclusion(
        HASHES[SPLIT], SPLIT, SIZE, [data[at : at + 32] for at in range(0, len(data), 32)], TREE.root
    )


def growth_of(data: bytes) -> None:
    """A consistency path as bare hashes."""
    path = [data[at : at + 32] for at in range(0, len(data), 32)]
    verify_consistency(201, tree_root(HASHES[:201]), SIZE, TREE.root, path)


def proven_entry(data: bytes) -> Any:
    entry = verify_entry(parse_entry(data), origin=ORIGIN, log_keys=POLICY.log_keys)
    return entry.leaf, entry.checkpoint


def proven_legs(data: bytes) -> Any:
    proven = verify_legs(parse_legs(data), account=ALICE.id, origin=ORIGIN, log_keys=POLICY.log_keys)
    return proven.legs, proven.entry.leaf, proven.entry.checkpoint


SEALED = sealed(statement())
REPORT_JSON, REPORT_CSV = made_in(Form.JSON), made_in(Form.CSV)


def report_in(form: Form, data: bytes, envelope: bytes) -> Any:
    """What officers signed of the report in ``data``, without what stands in its file no more than in its head."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"report.{form.value}"
        path.write_bytes(data)
        report = verify_report(POLICY, path, envelope)
    if not report.ok:
        raise NotRead(str(report))
    opened = open_envelope(envelope, POLICY.trust)
    statement = parse_report(VerifiedPayload(opened.payload))
    unseen = ("json_sha256", "signed_time")
    return statement.sha256, {key: text for key, text in statement.said.items() if key not in unseen}


def report_signed_anew(payload: bytes) -> Any:
    """A statement that officers signed, about a report that they did not mean."""
    return report_in(Form.JSON, REPORT_JSON, sign(payload, PAYLOAD_TYPE, OFFICERS))


def report_sealed_anew(form: Form, data: bytes) -> Any:
    """A file that says something else than what officers signed of it: what its head says to whoever reads it."""
    report_in(form, data, sealed(statement(form, data)))
    if form is Form.JSON:
        return json.loads(data.partition(b"\n")[0] + b"]}")
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline="")))
    return {row[1]: row for row in reversed(rows) if row[:1] == ["report"]}


def report_headed_anew(form: Form, tables: bytes, head: bytes) -> Any:
    return report_sealed_anew(form, head + tables)


def head_of(data: bytes) -> bytes:
    """The lines that say of what a report speaks."""
    end = data.index(b"\n") if data.startswith(b"{") else data.index(b"\nunits")
    return data[: end + 1]


subject = partial(Subject, refusals=(*REFUSALS, NotRead))
LINES_AGAIN = frozenset({"a line duplicated", "bytes duplicated", "a line of another"})
"""A signature line may stand twice, and lines of strangers may stand beside it (C2SP signed-note)."""
OTHER_NOTE, OTHER_PROOF = note_at(290, HASHES), HONEST["entry.receipt"].replace(NOTE, b"")
SUBJECTS = (
    subject(
        name="checkpoint",
        data=NOTE,
        read=lambda data: open_note(data, POLICY.log_keys),
        spellings=LINES_AGAIN,
        donors=(OTHER_NOTE, FORGED_NOTE),
    ),
    subject(
        name="cosigned checkpoint",
        data=cosigned(SIZE),
        read=lambda data: open_note(data, KNOWN),
        agrees=fewer_signed,
        spellings=None,
        donors=(cosigned(290), FORGED_NOTE),
    ),
    subject(
        name="entry receipt",
        data=HONEST["entry.receipt"],
        read=proven_entry,
        spellings=LINES_AGAIN,
        donors=(OTHER_NOTE,),
    ),
    subject(
        name="leg receipt",
        data=HONEST["alice.receipt"],
        read=proven_legs,
        spellings=LINES_AGAIN,
        donors=(HONEST["entry.receipt"],),
    ),
    subject(
        name="envelope",
        data=ENVELOPES[1],
        read=lambda data: open_envelope(data, POLICY.trust),
        agrees=fewer_officers,
        spellings=None,
        donors=(ENVELOPES[0], ENVELOPES[2]),
    ),
    subject(
        name="statement in a chain", data=PAYLOADS[1], read=in_the_chain, donors=(PAYLOADS[0], PAYLOADS[2])
    ),
    subject(name="policy", data=HONEST["policy.txt"], read=policy_in_use, spellings=None),
    # Spaces between the members of the JSON are not signed, nor is a signature that the threshold does not need: a
    # byte of them may change unseen, and nothing that the version says.
    subject(
        name="trust root",
        data=TRUST_ROOT,
        read=lambda data: verify_chain([data], TRUSTED_MS),
        spellings=None,
        donors=(OTHER_TRUST_ROOT,),
    ),
    subject(name="inclusion path", data=b"".join(ENTRY_RECEIPT.path), read=proof_of),
    subject(name="consistency path", data=b"".join(TREE.consistency_path(201)), read=growth_of),
    *(
        subject(name=path, data=HONEST[path], read=partial(tree_with, path))
        for path in (
            "tile/0/000",
            "tile/0/001.p/44",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/entries/001.p/44",
        )
    ),
    subject(
        name="what is signed of a report",
        data=SEALED,
        read=partial(report_in, Form.JSON, REPORT_JSON),
        spellings=None,
        donors=(sealed(statement(Form.CSV)), sealed(statement(as_of="11"))),
    ),
    subject(
        name="statement about a report",
        data=open_envelope(SEALED, POLICY.trust).payload,
        read=report_signed_anew,
        spellings=None,
    ),
    subject(
        name="report in JSON",
        data=REPORT_JSON,
        read=lambda data: report_in(Form.JSON, data, SEALED),
        donors=(REPORT_CSV,),
    ),
    subject(
        name="report in CSV",
        data=REPORT_CSV,
        read=lambda data: report_in(Form.CSV, data, sealed(statement(Form.CSV))),
        donors=(REPORT_JSON,),
    ),
    *(
        subject(
            name=f"head of a report in {form.value}",
            data=head_of(data),
            read=partial(report_headed_anew, form, data[len(head_of(data)) :]),
            spellings=None,
        )
        for form, data in ((Form.JSON, REPORT_JSON), (Form.CSV, REPORT_CSV))
    ),
    subject(
        name="checkpoint that a log would sign",
        data=checkpoint_body(checkpoint_at(SIZE, HASHES)),
        read=spelled_once(parse_checkpoint_body, checkpoint_body),
        spellings=None,
    ),
    subject(
        name="front of an entry receipt",
        data=HONEST["entry.receipt"],
        read=spelled_once(parse_entry, format_entry),
        spellings=None,
    ),
    subject(
        name="front of a leg receipt",
        data=HONEST["alice.receipt"],
        read=spelled_once(parse_legs, format_legs),
        spellings=None,
    ),
    subject(name="note", data=cosigned(SIZE), read=spelled_once(parse_note, format_note), spellings=None),
    subject(
        name="verifier key",
        data=format_vkey(POLICY.log_keys[0]).encode(),
        read=in_text(parse_vkey, format_vkey),
    ),
    subject(
        name="path of a tile",
        data=b"tile/0/x001/x234/067.p/8",
        read=in_text(parse_path, lambda tile: str(tile.path)),
        spellings=None,
    ),
)


def test_there_are_ten_thousand() -> None:
    assert MUTANTS * len(SUBJECTS) >= 10_000


@pytest.mark.parametrize("one", SUBJECTS, ids=lambda one: one.name)
def test_no_mutant_is_accepted(one: Subject) -> None:
    tally = mutate(one, MUTANTS, SEED)
    print(f"{one.name}: {tally}")  # who asks wants to see it
    assert tally.forged == []
    assert len(tally.made) >= 10, "of every kind that fits"


def test_a_mutant_that_is_accepted_is_found() -> None:
    """The judge can say no: with a door that believes what it is told, most mutants are forgeries."""
    careless = Subject(name="careless", data=NOTE, read=parse_note, refusals=REFUSALS)
    tally = mutate(careless, 200, SEED)
    assert len(tally.forged) > 20
    lenient = replace(careless, read=lambda data: data.replace(b" ", b"").strip(), spellings=ONE_SPELLING)
    assert any(kind == "a byte inserted" for kind, _ in mutate(lenient, 200, SEED).forged), (
        "the same, said otherwise"
    )


def test_mutants_are_the_same_each_time() -> None:
    def made(seed: str) -> list[bytes]:
        seen: list[bytes] = []
        mutate(
            Subject(
                name="x", data=NOTE, read=seen.append, refusals=(), agrees=lambda *_: True, spellings=None
            ),
            50,
            seed,
        )
        return seen

    assert made("1") == made("1") != made("2")


# --- every byte of a report --------------------------------------------------------------------------------


def bytes_changed(data: bytes, *ways: int) -> Iterator[tuple[int, bytes]]:
    """Each byte, changed in these ways; without any in three: a bit, the case of a letter, all of it."""
    for at, byte in enumerate(data):
        for other in (byte ^ way for way in ways or (1, 0x20, 0xFF)):
            yield at, data[:at] + bytes([other]) + data[at + 1 :]


@pytest.mark.parametrize("form", [Form.JSON, Form.CSV], ids=lambda form: form.value)
def test_no_byte_of_a_report_can_be_another(form: Form) -> None:
    data, envelope = made_in(form), sealed(statement(form))
    report_in(form, data, envelope)
    for _, changed in bytes_changed(data, 1):
        with pytest.raises(NotRead):
            report_in(form, changed, envelope)


@pytest.mark.parametrize("form", [Form.JSON, Form.CSV], ids=lambda form: form.value)
def test_no_byte_of_the_head_of_a_report_can_be_another_than_was_signed(form: Form) -> None:
    """Also if officers signed the file: they are asked to sign what its head says."""
    data = made_in(form)
    head = head_of(data)
    honest = report_sealed_anew(form, data)
    for at, changed in bytes_changed(head[:-1]):
        try:
            said = report_sealed_anew(form, changed + data[len(head) - 1 :])
        except NotRead:
            continue
        assert said == honest, f"byte {at}"
        assert head[at - 5 : at - 2] == b"\\u0" or head[at - 4 : at - 1] == b"\\u0", (
            "an escape, spelled otherwise"
        )


def test_no_byte_of_what_is_signed_of_a_report_can_be_another() -> None:
    """Key ids, which need not be there, only help to find keys (DSSE); nothing else may change unseen."""
    honest, free = report_in(Form.JSON, REPORT_JSON, SEALED), set[int]()
    for at, changed in bytes_changed(SEALED):
        try:
            said = report_in(Form.JSON, REPORT_JSON, changed)
        except (*REFUSALS, NotRead):
            continue
        assert said == honest
        free.add(at)
    ids = [SEALED.index(one.public_key.key_id.encode()) for one in OFFICERS]
    assert free <= {at for start in ids for at in range(start - len('"keyid":"'), start + 64)}


# --- proofs of other places, as long as they should be -------------------------------------------------------------

SMALL = 20
TRUE = HASHES[:SMALL]
FALSE = [leaf_hash(b"never happened"), *HASHES[1:SMALL]]


def refuses(look: Callable[[], None]) -> bool:
    try:
        look()
    except ProofRefused:
        return True
    return False


def test_no_path_of_another_index_or_size_shows_a_leaf_where_it_is_not() -> None:
    """Every honest path, also of a forged history, for every place in trees of up to 20 leaves."""
    paths = {
        inclusion_path(history[:size], index)
        for history in (TRUE, FALSE)
        for size in range(1, SMALL + 1)
        for index in range(size)
    }
    claims = 0
    for size in range(1, SMALL + 1):
        root = tree_root(TRUE[:size])
        right = {index: len(inclusion_path(TRUE[:size], index)) for index in range(size)}
        for index, length in right.items():
            for path in (path for path in paths if len(path) == length):
                for leaf in {TRUE[(index + 1) % SMALL], TRUE[index - 1], FALSE[0]} - {TRUE[index]}:
                    claims += 1
                    assert refuses(partial(verify_inclusion, leaf, index, size, path, root))
    assert claims > 20_000


def test_no_path_of_other_sizes_shows_that_a_log_extends_another_history() -> None:
    paths = {
        consistency_path(history[:size], old)
        for history in (TRUE, FALSE)
        for size in range(2, SMALL + 1)
        for old in range(1, size)
    }
    claims = 0
    for size in range(2, SMALL + 1):
        for old in range(1, size):
            length = len(consistency_path(TRUE[:size], old))
            for path in (path for path in paths if len(path) == length):
                forged, honest = tree_root(FALSE[:old]), tree_root(TRUE[:size])
                claims += 2
                assert refuses(partial(verify_consistency, old, forged, size, honest, path))
                assert refuses(
                    partial(
                        verify_consistency, old, tree_root(TRUE[:old]), size, tree_root(FALSE[:size]), path
                    )
                )
    assert claims > 10_000


def test_an_old_tree_is_no_tree_of_another_size() -> None:
    """A proof from n leaves, claimed to start at n - 1 or n + 1, with the root of n."""
    for size in range(3, SMALL + 1):
        root = tree_root(TRUE[:size])
        for old in range(2, size):
            path = consistency_path(TRUE[:size], old)
            for claimed in (old - 1, old + 1):
                assert refuses(partial(verify_consistency, claimed, tree_root(TRUE[:old]), size, root, path))
