"""The offline verifier and its policy files: what passes, what fails, and by which check."""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing.attest.envelope import (
    MAX_TRUSTED_KEYS,
    PAYLOAD_TYPE,
    RoleKey,
    TrustSet,
    VerifiedPayload,
    ed25519_signer,
    p256_signer,
    sign,
)
from clearing.attest.policy import (
    MAX_LOG_KEYS,
    MAX_POLICY_BYTES,
    Policy,
    PolicyReason,
    PolicyRefused,
    format_policy,
    format_public_key,
    parse_policy,
)
from clearing.attest.statement import Statement, build, parse, payload_digest
from clearing_client.offline import (
    ALLOWED_SKEW_MS,
    LEAVES_AT_ONCE,
    Report,
    verify_attestations,
    verify_journal,
)
from ledger.checkpoint import Checkpoint, checkpoint_body, format_vkey, sign_note, verifier_key
from ledger.merkle import consistency_path, leaf_hash, tree_root

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
ORIGIN = "house.example/journal"
LEAVES = [number.to_bytes(4, "big") * 27 for number in range(20)]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
MINUTE_MS = 60_000


def ed25519_key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


LOG_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RISK, COMPLIANCE = ed25519_signer(ed25519_key("risk")), ed25519_signer(ed25519_key("compliance"))
OPERATIONS = p256_signer(ec.derive_private_key(0x6F7065726174696F6E73, ec.SECP256R1()))
POLICY = Policy(
    origin=ORIGIN,
    log_keys=(verifier_key(ORIGIN, LOG_KEY),),
    trust=TrustSet(
        keys=(
            RoleKey(role="risk", key=RISK.public_key),
            RoleKey(role="operations", key=OPERATIONS.public_key),
            RoleKey(role="compliance", key=COMPLIANCE.public_key),
        ),
        threshold=2,
    ),
)
GOLDEN_STATEMENT: Statement = parse(VerifiedPayload((GOLDEN / "attestation.statement.json").read_bytes()))
NOON_MS = GOLDEN_STATEMENT.as_of_ms


def checkpoint_at(size: int, hashes: Sequence[bytes] = HASHES) -> Checkpoint:
    return Checkpoint(origin=ORIGIN, size=size, root=tree_root(hashes[:size]))


def note_at(size: int, hashes: Sequence[bytes] = HASHES) -> bytes:
    return sign_note(checkpoint_body(checkpoint_at(size, hashes)), ORIGIN, LOG_KEY)


def attest(size: int, before: bytes | None = None, hashes: Sequence[bytes] = HASHES, **change: Any) -> bytes:
    """The payload that attests the first ``size`` leaves after the payload ``before``."""
    earlier = parse(VerifiedPayload(before)) if before else None
    old_size = earlier.journal.tree_size if earlier else 0
    journal = replace(
        GOLDEN_STATEMENT.journal,
        tree_size=size,
        root_hash=tree_root(hashes[:size]),
        previous_tree_size=old_size,
        consistency=consistency_path(hashes[:size], old_size) if earlier else (),
    )
    statement = replace(
        GOLDEN_STATEMENT,
        sequence=earlier.sequence + 1 if earlier else 1,
        previous=payload_digest(before) if before else bytes(32),
        as_of_ms=earlier.as_of_ms + MINUTE_MS if earlier else NOON_MS,
        journal=journal,
    )
    return build(replace(statement, **change))


def sealed(*payloads: bytes) -> list[bytes]:
    return [sign(payload, PAYLOAD_TYPE, [RISK, OPERATIONS]) for payload in payloads]


FIRST = attest(5)
SECOND = attest(5, FIRST)
THIRD = attest(12, SECOND)
CHAIN = sealed(FIRST, SECOND, THIRD)


def failures(report: Report) -> list[str]:
    assert report.ok is not any(not check.passed for check in report.checks)
    return [check.name for check in report.checks if not check.passed]


# --- what passes ---------------------------------------------------------------------------------------


def test_three_attestations_and_their_checkpoint_hold() -> None:
    report = verify_attestations(POLICY, note_at(12), CHAIN, NOON_MS + 3 * MINUTE_MS, leaves=LEAVES[:12])
    assert report.ok
    assert [check.name for check in report.checks] == [
        "checkpoint",
        "attestation 1 signatures",
        "attestation 1 statement",
        "attestation 1 chain",
        "attestation 1 consistency",
        "attestation 2 signatures",
        "attestation 2 statement",
        "attestation 2 chain",
        "attestation 2 consistency",
        "attestation 3 signatures",
        "attestation 3 statement",
        "attestation 3 chain",
        "attestation 3 consistency",
        "extension",
        "freshness",
        "journal at 5",
        "journal at 5",
        "journal at 12",
        "journal at 12",
        "journal end",
    ]


def test_a_report_says_what_was_found() -> None:
    report = verify_attestations(POLICY, note_at(12), CHAIN, None)
    details = {check.name: check.detail for check in report.checks}
    signed = f"12 leaves of {ORIGIN}, signed by {ORIGIN}; no witness is asked for"
    assert details["checkpoint"] == signed
    assert details["attestation 1 signatures"] == "signed by risk, operations; 2 of 3 needed"
    assert details["attestation 1 chain"] == "the first of all"
    assert details["attestation 3 chain"] == "follows number 2"
    assert details["attestation 3 consistency"] == "12 leaves extend 5"


def test_trust_may_start_at_a_later_attestation_and_the_report_says_so() -> None:
    report = verify_attestations(POLICY, note_at(12), CHAIN[2:], None)
    assert report.ok
    assert report.checks[3].detail == "trust starts at number 3; what came before was not given"


def test_a_larger_checkpoint_extends_the_last_attestation_by_a_proof() -> None:
    path = consistency_path(HASHES, 12)
    assert verify_attestations(POLICY, note_at(20), CHAIN, None, extension=path).ok


def test_a_larger_checkpoint_extends_the_last_attestation_by_the_leaves() -> None:
    assert verify_attestations(POLICY, note_at(20), CHAIN, None, leaves=iter(LEAVES)).ok


def test_an_empty_report_is_not_good() -> None:
    assert not Report(checks=()).ok


# --- the checkpoint ------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_key_or_origin_fails() -> None:
    stranger = sign_note(checkpoint_body(checkpoint_at(12)), ORIGIN, ed25519_key("stranger"))
    assert failures(verify_attestations(POLICY, stranger, CHAIN, None)) == ["checkpoint"]
    other = replace(checkpoint_at(12), origin="other.example/journal")
    elsewhere = sign_note(checkpoint_body(other), ORIGIN, LOG_KEY)
    assert failures(verify_attestations(POLICY, elsewhere, CHAIN, None)) == ["checkpoint"]
    assert failures(verify_attestations(POLICY, b"", CHAIN, None)) == ["checkpoint"]


def test_a_checkpoint_of_the_same_size_with_another_root_fails() -> None:
    forked = [*HASHES[:11], leaf_hash(b"fork")]
    assert failures(verify_attestations(POLICY, note_at(12, forked), CHAIN, None)) == ["extension"]


def test_a_checkpoint_older_than_the_last_attestation_fails() -> None:
    report = verify_attestations(POLICY, note_at(8), CHAIN, None)
    assert failures(report) == ["extension"]
    assert "fewer than the 12 attested" in report.checks[-1].detail


def test_a_larger_checkpoint_without_a_proof_fails() -> None:
    report = verify_attestations(POLICY, note_at(20), CHAIN, None)
    assert failures(report) == ["extension"]
    assert "no proof was given" in report.checks[-1].detail


def test_a_larger_checkpoint_of_a_rewritten_journal_fails() -> None:
    forked = [leaf_hash(b"fork"), *HASHES[1:]]
    path = consistency_path(forked, 12)
    note = note_at(20, forked)
    assert failures(verify_attestations(POLICY, note, CHAIN, None, extension=path)) == ["extension"]
    assert failures(verify_attestations(POLICY, note, CHAIN, None, extension=())) == ["extension"]


# --- the attestations ----------------------------------------------------------------------------------


def test_no_attestation_at_all_fails() -> None:
    report = verify_attestations(POLICY, note_at(12), [], NOON_MS)
    assert failures(report) == ["attestations"]
    assert report.checks[-1].detail == "none was given"


def test_an_attestation_below_the_threshold_fails_and_those_behind_it_are_not_checked() -> None:
    alone = sign(SECOND, PAYLOAD_TYPE, [RISK])
    report = verify_attestations(POLICY, note_at(12), [CHAIN[0], alone, CHAIN[2]], None)
    assert failures(report) == ["attestation 2 signatures", "attestations"]
    assert report.checks[-1].detail == "1 of 3 could be opened; those behind were not checked"


def test_a_signed_payload_that_is_no_statement_fails() -> None:
    numbers = json.loads(FIRST)
    numbers["predicate"]["calls"]["count"] = 1
    report = verify_attestations(POLICY, note_at(5), sealed(json.dumps(numbers).encode()), None)
    assert failures(report) == ["attestation 1 statement", "attestations"]
    assert "$.predicate.calls.count" in report.checks[2].detail


def test_a_subject_that_is_not_the_attested_tree_fails() -> None:
    members = json.loads(FIRST)
    members["subject"][0]["digest"]["sha256"] = "00" * 32
    report = verify_attestations(POLICY, note_at(5), sealed(json.dumps(members).encode()), None)
    assert failures(report) == ["attestation 1 statement", "attestations"]


def test_an_attestation_of_another_log_fails() -> None:
    journal = replace(parse(VerifiedPayload(FIRST)).journal, origin="other.example/journal")
    report = verify_attestations(POLICY, note_at(5), sealed(attest(5, journal=journal)), None)
    assert failures(report) == ["attestation 1 statement", "attestations"]


def test_a_gap_a_repetition_and_another_order_fail() -> None:
    for envelopes in ([CHAIN[0], CHAIN[2]], [CHAIN[0], CHAIN[0]], [CHAIN[1], CHAIN[0]]):
        report = verify_attestations(POLICY, note_at(12), envelopes, None)
        assert "attestation 2 chain" in failures(report)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 3},
        {"previous": payload_digest(b"another first")},
        {"issuer": "other.example"},
        {"as_of_ms": NOON_MS - 1},
    ],
)
def test_an_attestation_that_does_not_follow_the_one_before_fails(change: dict[str, Any]) -> None:
    report = verify_attestations(POLICY, note_at(7), sealed(FIRST, attest(7, FIRST, **change)), None)
    assert failures(report) == ["attestation 2 chain"]


def test_a_tree_that_does_not_extend_the_one_attested_before_fails() -> None:
    honest = parse(VerifiedPayload(attest(7, FIRST))).journal
    forked = replace(honest, root_hash=tree_root([leaf_hash(b"fork"), *HASHES[1:7]]))
    for journal in (forked, replace(honest, consistency=()), replace(honest, previous_tree_size=4)):
        report = verify_attestations(
            POLICY, note_at(7), sealed(FIRST, attest(7, FIRST, journal=journal)), None
        )
        assert "attestation 2 consistency" in failures(report)


# --- freshness -----------------------------------------------------------------------------------------


def test_an_attestation_is_in_force_until_its_validity_ends() -> None:
    until_ms = GOLDEN_STATEMENT.valid_until_ms
    assert verify_attestations(POLICY, note_at(5), CHAIN[:1], until_ms - 1).ok
    assert failures(verify_attestations(POLICY, note_at(5), CHAIN[:1], until_ms)) == ["freshness"]


def test_an_attestation_may_be_a_minute_ahead_of_the_verifiers_clock() -> None:
    early_ms = NOON_MS - ALLOWED_SKEW_MS
    assert verify_attestations(POLICY, note_at(5), CHAIN[:1], early_ms).ok
    assert failures(verify_attestations(POLICY, note_at(5), CHAIN[:1], early_ms - 1)) == ["freshness"]


def test_without_a_time_freshness_is_not_asked_for() -> None:
    report = verify_attestations(POLICY, note_at(5), CHAIN[:1], None)
    assert "freshness" not in [check.name for check in report.checks]


# --- the journal ---------------------------------------------------------------------------------------


def test_a_changed_leaf_fails_at_every_tree_that_holds_it() -> None:
    changed = [*LEAVES[:6], b"changed", *LEAVES[7:]]
    report = verify_journal(changed, [checkpoint_at(12), checkpoint_at(5), checkpoint_at(20)])
    assert failures(report) == ["journal at 12", "journal at 20"]


def test_a_journal_that_ends_too_early_or_too_late_fails() -> None:
    trees = [checkpoint_at(5), checkpoint_at(12)]
    assert verify_journal(LEAVES[:12], trees).ok
    assert failures(verify_journal(LEAVES[:11], trees)) == ["journal at 12"]
    assert failures(verify_journal(LEAVES[:13], trees)) == ["journal end"]


def test_a_long_journal_is_read_in_batches_and_only_once() -> None:
    size = LEAVES_AT_ONCE + 3

    def leaves() -> Iterator[bytes]:
        yield from (number.to_bytes(4, "big") for number in range(size))

    root = tree_root([leaf_hash(leaf) for leaf in leaves()])
    assert verify_journal(leaves(), [Checkpoint(origin=ORIGIN, size=size, root=root)]).ok


def test_an_empty_journal_is_the_empty_tree() -> None:
    assert verify_journal([], [checkpoint_at(0)]).ok
    assert not verify_journal(LEAVES, [checkpoint_at(0)]).ok


# --- policy files --------------------------------------------------------------------------------------

VKEY = format_vkey(POLICY.log_keys[0])
RISK_LINE = f"signer risk {format_public_key(RISK.public_key)}"


def refused_policy(reason: PolicyReason, line: int, text: str) -> None:
    with pytest.raises(PolicyRefused) as caught:
        parse_policy(text.encode())
    assert (caught.value.reason, caught.value.line) == (reason, line)


def policy_text(**lines: str) -> str:
    """A good policy, with some of its lines replaced; an empty line leaves it out."""
    good = {
        "origin": f"origin {ORIGIN}",
        "log": f"log {VKEY}",
        "signer": RISK_LINE,
        "threshold": "threshold 1",
    }
    return "\n".join({**good, **lines}.values())


def test_the_policy_is_the_golden_one() -> None:
    assert format_policy(POLICY) == (GOLDEN / "policy.txt").read_bytes()
    assert parse_policy((GOLDEN / "policy.txt").read_bytes()) == POLICY


def test_comments_empty_lines_tabs_and_any_order_are_fine() -> None:
    lines = format_policy(POLICY).decode().splitlines()
    text = "# trust\n\n" + "\n".join(
        f"  {line.replace(' ', chr(9), 1)} " for line in lines[::2] + lines[1::2]
    )
    found = parse_policy(text.encode())
    assert (found.origin, found.trust.threshold) == (ORIGIN, 2)
    assert set(found.trust.keys) == set(POLICY.trust.keys)


def test_an_unknown_directive_is_refused_with_its_line() -> None:
    refused_policy(PolicyReason.DIRECTIVE, 2, policy_text(log=f"bystander w {VKEY}"))


@pytest.mark.parametrize("word", ["origin", "log", "signer", "threshold"])
def test_a_policy_without_one_of_its_lines_is_refused(word: str) -> None:
    refused_policy(PolicyReason.MISSING, 0, policy_text(**{word: ""}))


def test_lines_that_stand_twice_are_refused() -> None:
    refused_policy(PolicyReason.REPEATED, 5, policy_text() + f"\norigin {ORIGIN}")
    refused_policy(PolicyReason.REPEATED, 5, policy_text() + "\nthreshold 1")
    refused_policy(PolicyReason.REPEATED, 5, f"{policy_text()}\n{RISK_LINE}")
    refused_policy(PolicyReason.REPEATED, 5, f"{policy_text()}\n{RISK_LINE.replace('risk', 'audit')}")
    other_key = format_public_key(COMPLIANCE.public_key)
    refused_policy(PolicyReason.REPEATED, 5, f"{policy_text()}\nsigner risk {other_key}")
    refused_policy(PolicyReason.LOG_KEY, 5, f"{policy_text()}\nlog {VKEY}")


@pytest.mark.parametrize("line", ["signer", "signer risk", f"{RISK_LINE} more"])
def test_a_signer_line_of_another_form_is_refused(line: str) -> None:
    refused_policy(PolicyReason.FORM, 3, policy_text(signer=line))


@pytest.mark.parametrize(
    "key",
    [
        "junk",
        "rsa:AAAA",
        "ed25519:",
        "ed25519:AAA",
        f"ed25519:{base64.b64encode(bytes(32)).decode()}",
        f"p256:{base64.b64encode(RISK.public_key.raw).decode()}",
    ],
)
def test_a_signer_key_that_is_not_sound_is_refused_with_its_line(key: str) -> None:
    refused_policy(PolicyReason.SIGNER, 3, policy_text(signer=f"signer risk {key}"))


@pytest.mark.parametrize("role", ["Risk", "1st", "ro.le", "é", "r" * 64])
def test_a_role_of_another_form_is_refused(role: str) -> None:
    refused_policy(PolicyReason.ROLE, 3, policy_text(signer=RISK_LINE.replace("risk", role)))


def test_a_log_key_that_is_not_sound_is_refused_with_its_line() -> None:
    refused_policy(PolicyReason.LOG_KEY, 2, policy_text(log="log junk"))


@pytest.mark.parametrize("number", ["0", "-1", "01", "two", "1.0", ""])
def test_a_threshold_that_is_no_whole_number_is_refused(number: str) -> None:
    refused_policy(PolicyReason.THRESHOLD, 4, policy_text(threshold=f"threshold {number}"))


def test_a_threshold_beyond_the_signers_is_refused() -> None:
    refused_policy(PolicyReason.TRUST, 0, policy_text(threshold="threshold 2"))


def test_more_signers_than_a_trust_set_holds_are_refused() -> None:
    keys = [ed25519_signer(ed25519_key(f"key {number}")).public_key for number in range(MAX_TRUSTED_KEYS + 1)]
    lines = [f"signer role{number} {format_public_key(key)}" for number, key in enumerate(keys)]
    full = parse_policy(policy_text(signer="\n".join(lines[:-1])).encode())
    assert len(full.trust.keys) == MAX_TRUSTED_KEYS
    refused_policy(PolicyReason.TRUST, 3 + MAX_TRUSTED_KEYS, policy_text(signer="\n".join(lines)))


def test_more_log_keys_than_the_limit_are_refused() -> None:
    keys = [verifier_key(ORIGIN, ed25519_key(f"log {number}")) for number in range(MAX_LOG_KEYS + 1)]
    lines = [f"log {format_vkey(key)}" for key in keys]
    full = parse_policy(policy_text(log="\n".join(lines[:-1])).encode())
    assert len(full.log_keys) == MAX_LOG_KEYS
    refused_policy(PolicyReason.LOG_KEY, 2 + MAX_LOG_KEYS, policy_text(log="\n".join(lines)))


@pytest.mark.parametrize("origin", ["", "x" * 256])
def test_an_origin_that_no_checkpoint_has_is_refused(origin: str) -> None:
    refused_policy(PolicyReason.ORIGIN, 1, policy_text(origin=f"origin {origin}"))


def test_a_policy_made_in_code_keeps_the_same_rules() -> None:
    role = RoleKey(role="Risk", key=RISK.public_key)
    for reason, change in (
        (PolicyReason.ORIGIN, {"origin": " blanks "}),
        (PolicyReason.LOG_KEY, {"log_keys": ()}),
        (PolicyReason.LOG_KEY, {"log_keys": POLICY.log_keys * 2}),
        (PolicyReason.ROLE, {"trust": TrustSet(keys=(role,), threshold=1)}),
    ):
        fields: dict[str, Any] = dict(change)
        with pytest.raises(PolicyRefused) as caught:
            replace(POLICY, **fields)
        assert (caught.value.reason, caught.value.line) == (reason, 0)


def test_a_policy_that_is_no_text_or_too_long_is_refused() -> None:
    for reason, data in (
        (PolicyReason.NOT_TEXT, b"\xff"),
        (PolicyReason.TOO_LONG, policy_text().encode() + b"\n" * MAX_POLICY_BYTES),
    ):
        with pytest.raises(PolicyRefused) as caught:
            parse_policy(data)
        assert caught.value.reason is reason
    full = policy_text().encode().ljust(MAX_POLICY_BYTES, b"\n")
    assert parse_policy(full) == parse_policy(policy_text().encode())


# --- what it loads -------------------------------------------------------------------------------------


def test_the_offline_verifier_loads_no_third_party_but_cryptography() -> None:
    program = (
        "import sys; before = set(sys.modules); "
        "import clearing_client.offline; print(*set(sys.modules) - before)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'clients'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(found.stdout.split())
    packages = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert packages <= {"clearing", "clearing_client", "ledger", "cryptography", "_cffi_backend", "_openssl"}
    ours = {name for name in loaded if name.partition(".")[0] in {"clearing", "clearing_client", "ledger"}}
    assert ours == {
        "clearing",
        "clearing.attest",
        "clearing.attest.envelope",
        "clearing.attest.liabilities",
        "clearing.attest.opening",
        "clearing.attest.policy",
        "clearing.attest.statement",
        "clearing_client",
        "clearing_client.offline",
        "ledger",
        "ledger.account",
        "ledger.amount",
        "ledger.checkpoint",
        "ledger.entry",
        "ledger.leaf",
        "ledger.merkle",
        "ledger.receipt",
        "ledger.require",
        "ledger.tiles",
    }
