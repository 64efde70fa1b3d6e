"""The trust root: which versions are believed, and whose signatures count when."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization.json import CanonicalJSONSerializer
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from clearing.attest.envelope import (
    PAYLOAD_TYPE,
    EnvelopeReason,
    EnvelopeRefused,
    RoleKey,
    Signer,
    TrustSet,
    VerifiedPayload,
    ed25519_signer,
    p256_signer,
    sign,
)
from clearing.attest.opening import open_attestation
from clearing.attest.policy import Policy
from clearing.attest.statement import Statement, build, parse
from clearing.attest.trust import (
    MAX_ROOT_BYTES,
    MAX_VERSIONS,
    TrustReason,
    TrustRefused,
    Version,
    add_signature,
    missing,
    read,
    verify_chain,
    write,
)
from clearing_client.offline import verify_attestations
from ledger.checkpoint import Checkpoint, checkpoint_body, format_vkey, sign_note, verifier_key
from tests.unit.test_offline_verifier import GOLDEN

ORIGIN = "house.example/journal"
NOON_MS, DAY_MS = 1_772_366_400_000, 86_400_000
EXPIRES_MS = NOON_MS + 365 * DAY_MS


def officer(name: str) -> Signer:
    return ed25519_signer(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")))


LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RISK, OPERATIONS, COMPLIANCE = officer("risk"), officer("operations"), officer("compliance")
RISK_2, OPERATIONS_2 = p256_signer(ec.derive_private_key(7, ec.SECP256R1())), officer("operations 2")
ANNA, BEN, CARL, DORA = officer("anna"), officer("ben"), officer("carl"), officer("dora")


def trust_set(threshold: int = 2, **members: Signer) -> TrustSet:
    keys = tuple(RoleKey(role=role, key=signer.public_key) for role, signer in members.items())
    return TrustSet(keys=keys, threshold=threshold)


OFFICERS = trust_set(risk=RISK, operations=OPERATIONS, compliance=COMPLIANCE)
FIRST = Version(
    number=1,
    expires_ms=EXPIRES_MS,
    since_ms=0,
    policy=Policy(origin=ORIGIN, log_keys=(verifier_key(ORIGIN, LOG),), trust=OFFICERS),
    trustees=trust_set(anna=ANNA, ben=BEN, carl=CARL),
)
SECOND = replace(
    FIRST,
    number=2,
    since_ms=NOON_MS,
    policy=replace(
        FIRST.policy, trust=trust_set(risk=RISK_2, operations=OPERATIONS_2, compliance=COMPLIANCE)
    ),
)


def signed(version: Version, before: bytes | None, *signers: Signer) -> bytes:
    data = write(version)
    for signer in signers:
        data = add_signature(data, signer, before)
    return data


ONE = signed(FIRST, None, ANNA, BEN)
TWO = signed(SECOND, ONE, ANNA, CARL)


def refused(reason: TrustReason, roots: Sequence[bytes], now_ms: int | None = NOON_MS) -> str:
    with pytest.raises(TrustRefused) as caught:
        verify_chain(roots, now_ms)
    assert caught.value.reason is reason, caught.value
    return str(caught.value)


def edited(data: bytes, change: Callable[[dict[str, Any]], None], *signers: Ed25519PrivateKey) -> bytes:
    """A version after ``change`` of its JSON, signed anew by those who would go along, as TUF's own code signs."""
    root = json.loads(data)
    change(root)
    if signers:
        signed_bytes = CanonicalJSONSerializer().serialize(
            Metadata[Root].from_dict(json.loads(json.dumps(root))).signed
        )
        own = [CryptoSigner(key) for key in signers]
        root["signatures"] = [one.sign(signed_bytes).to_dict() for one in own]
    return json.dumps(root).encode()


def private(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"."))


# what is believed ---------------------------------------------------------------------------------------


def test_a_version_reads_back_as_it_was_written() -> None:
    assert read(ONE) == FIRST
    assert read(TWO) == SECOND


def test_a_chain_leads_to_its_newest_version_and_remembers_the_officers_before() -> None:
    chain = verify_chain([ONE, TWO], NOON_MS)
    assert chain.newest == SECOND
    policy = chain.policy
    assert policy.trust == SECOND.policy.trust
    assert policy.trust_at(NOON_MS - 1) == OFFICERS
    assert policy.trust_at(NOON_MS) == SECOND.policy.trust
    assert verify_chain([ONE], NOON_MS).policy == FIRST.policy


def test_who_pinned_the_second_version_knows_nothing_of_times_before_it() -> None:
    policy = verify_chain([TWO], NOON_MS).policy
    assert policy.trust_at(NOON_MS) == SECOND.policy.trust
    assert policy.trust_at(NOON_MS - 1) is None


def test_tufs_own_client_walks_the_same_chain() -> None:
    trusted = TrustedMetadataSet(ONE, EnvelopeType.METADATA)
    assert trusted.update_root(TWO).version == 2
    with pytest.raises(RepositoryError):
        TrustedMetadataSet(ONE, EnvelopeType.METADATA).update_root(signed(SECOND, ONE, ANNA))


def test_signatures_of_tufs_own_signer_count() -> None:
    metadata = Metadata[Root].from_bytes(write(FIRST))
    for name in ("anna", "ben"):
        metadata.sign(CryptoSigner(private(name)), append=True)
    assert verify_chain([metadata.to_bytes()], NOON_MS).newest == FIRST


def test_it_says_who_has_signed_and_how_many_are_missing() -> None:
    assert missing(write(FIRST), None) == ((), 2)
    assert missing(signed(FIRST, None, BEN), None) == (("ben",), 1)
    assert missing(ONE, None) == (("anna", "ben"), 0)


def test_a_change_of_trustees_is_signed_by_the_old_and_by_the_new_ones() -> None:
    handed_over = replace(SECOND, trustees=trust_set(carl=CARL, dora=DORA))
    new_ones = signed(handed_over, ONE, CARL, DORA)
    assert missing(new_ones, ONE) == (("carl", "dora"), 1)
    refused(TrustReason.NOT_SIGNED_BY_EARLIER, [ONE, new_ones])
    refused(TrustReason.NOT_SIGNED, [ONE, signed(handed_over, ONE, ANNA, CARL)])
    assert verify_chain([ONE, signed(handed_over, ONE, ANNA, CARL, DORA)], NOON_MS).newest == handed_over


# what is refused ----------------------------------------------------------------------------------------


def test_a_first_version_that_too_few_signed_is_refused() -> None:
    refused(TrustReason.NOT_SIGNED, [write(FIRST)])
    refused(TrustReason.NOT_SIGNED, [signed(FIRST, None, ANNA)])


def test_officers_change_no_trust() -> None:
    with pytest.raises(TrustRefused) as caught:
        add_signature(write(FIRST), RISK, None)
    assert caught.value.reason is TrustReason.NO_TRUSTEE


def test_versions_that_are_skipped_repeated_or_go_back_are_refused() -> None:
    third = signed(replace(SECOND, number=3), ONE, ANNA, BEN)
    refused(TrustReason.VERSION, [ONE, third])
    refused(TrustReason.VERSION, [ONE, ONE])
    refused(TrustReason.VERSION, [ONE, TWO, ONE])
    assert verify_chain([ONE, TWO, third], NOON_MS).newest.number == 3


def test_the_newest_must_not_have_expired_but_those_before_it_may() -> None:
    assert verify_chain([ONE], EXPIRES_MS - 1).newest == FIRST
    refused(TrustReason.EXPIRED, [ONE], EXPIRES_MS)
    renewed = signed(replace(SECOND, expires_ms=EXPIRES_MS + DAY_MS), ONE, ANNA, BEN)
    assert verify_chain([ONE, renewed], EXPIRES_MS).newest.number == 2
    assert verify_chain([ONE], None).newest == FIRST, "without a time nobody asks"


def test_a_version_that_was_changed_after_it_was_signed_is_refused() -> None:
    def later(root: dict[str, Any]) -> None:
        root["signed"]["expires"] = "2099-01-01T00:00:00Z"

    def other_officers(root: dict[str, Any]) -> None:
        root["signed"]["roles"]["targets"]["threshold"] = 1

    def other_log(root: dict[str, Any]) -> None:
        stranger = verifier_key(ORIGIN, private("stranger"))
        root["signed"]["x-clearing-policy"] = f"origin {ORIGIN}\nlog {format_vkey(stranger)}\n"

    for change in (later, other_officers, other_log):
        refused(TrustReason.NOT_SIGNED, [edited(ONE, change)])


def test_one_key_under_two_ids_counts_once_which_means_that_it_is_refused() -> None:
    def alias(root: dict[str, Any]) -> None:
        keys, role = root["signed"]["keys"], root["signed"]["roles"]["root"]
        original = SSlibKey.from_crypto(private("anna").public_key()).keyid
        keys["ab" * 32] = keys[original] | {"x-clearing-name": "another"}
        role["keyids"].append("ab" * 32)

    refused(TrustReason.KEY_REPEATED, [edited(ONE, alias, private("anna"))])


def test_a_key_of_low_order_is_refused() -> None:
    def low(root: dict[str, Any]) -> None:
        keys = root["signed"]["keys"]
        risk = SSlibKey.from_crypto(private("risk").public_key()).keyid
        keys[risk]["keyval"]["public"] = "01" + "00" * 31

    refused(TrustReason.KEY, [edited(ONE, low, private("anna"), private("ben"))])


def test_a_key_of_another_kind_is_refused() -> None:
    def rsa(root: dict[str, Any]) -> None:
        risk = SSlibKey.from_crypto(private("risk").public_key()).keyid
        other = SSlibKey.from_crypto(ec.derive_private_key(7, ec.SECP384R1()).public_key())
        root["signed"]["keys"][risk] = other.to_dict() | {"x-clearing-name": "risk"}

    refused(TrustReason.KEY, [edited(ONE, rsa)])


def threshold_of(role: str, number: Any) -> Callable[[dict[str, Any]], None]:
    def change(root: dict[str, Any]) -> None:
        root["signed"]["roles"][role]["threshold"] = number

    return change


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (4, TrustReason.THRESHOLD),
        (0, TrustReason.FORM),
        (1.0, TrustReason.FORM),
        (True, TrustReason.FORM),
        ("2", TrustReason.FORM),
    ],
)
@pytest.mark.parametrize("role", ["root", "targets"])
def test_a_threshold_that_cannot_be_is_refused(role: str, number: Any, reason: TrustReason) -> None:
    refused(reason, [edited(ONE, threshold_of(role, number))])


def test_a_threshold_of_all_is_none_too_many() -> None:
    assert read(edited(ONE, threshold_of("targets", 3))).policy.trust.threshold == 3


def test_another_log_is_another_house() -> None:
    other = replace(
        SECOND,
        policy=replace(SECOND.policy, origin="other/journal", log_keys=(verifier_key("other/journal", LOG),)),
    )
    refused(TrustReason.ORIGIN, [ONE, signed(other, ONE, ANNA, BEN)])


def test_a_version_in_force_before_the_one_before_is_refused_and_at_the_same_time_is_not() -> None:
    at_once = replace(SECOND, number=3)
    assert verify_chain([ONE, TWO, signed(at_once, TWO, ANNA, BEN)], NOON_MS).newest == at_once
    early = replace(at_once, since_ms=NOON_MS - 1)
    refused(TrustReason.SINCE, [ONE, TWO, signed(early, TWO, ANNA, BEN)])


def test_the_policy_of_a_version_names_no_officers_of_its_own() -> None:
    def more(root: dict[str, Any]) -> None:
        root["signed"]["x-clearing-policy"] += "signer extra ed25519:AAAA\n"

    def nonsense(root: dict[str, Any]) -> None:
        root["signed"]["x-clearing-policy"] = "nonsense\n"

    def nothing(root: dict[str, Any]) -> None:
        del root["signed"]["x-clearing-policy"]

    refused(TrustReason.POLICY, [edited(ONE, more)])
    refused(TrustReason.POLICY, [edited(ONE, nonsense)])
    refused(TrustReason.FORM, [edited(ONE, nothing)])


def test_a_time_that_is_none_is_refused() -> None:
    def soon(root: dict[str, Any]) -> None:
        root["signed"]["x-clearing-since"] = "soon"

    refused(TrustReason.SINCE, [edited(ONE, soon)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{}", TrustReason.FORM),
        (b"not json", TrustReason.NOT_JSON),
        (ONE + b"{}", TrustReason.NOT_JSON),
        (ONE.replace(b'"version": 1', b'"version": 1, "version": 1'), TrustReason.NOT_JSON),
        (ONE.replace(b'"_type": "root"', b'"_type": "targets"'), TrustReason.FORM),
        (ONE.ljust(MAX_ROOT_BYTES + 1), TrustReason.TOO_LONG),
    ],
    ids=["empty", "text", "bytes behind", "twice", "another role", "too long"],
)
def test_what_is_no_root_is_refused(data: bytes, reason: TrustReason) -> None:
    refused(reason, [data])


def test_the_longest_root_and_the_longest_chain_are_read() -> None:
    assert verify_chain([ONE.ljust(MAX_ROOT_BYTES)], NOON_MS).newest == FIRST
    refused(TrustReason.TOO_MANY, [])
    refused(TrustReason.TOO_MANY, [ONE] * (MAX_VERSIONS + 1))
    refused(TrustReason.VERSION, [ONE] * MAX_VERSIONS)


# what officers sign, and when ---------------------------------------------------------------------------

STATEMENT: Statement = parse(VerifiedPayload((GOLDEN / "attestation.statement.json").read_bytes()))
POLICY = verify_chain([ONE, TWO], NOON_MS).policy


def attestation(as_of_ms: int, *signers: Signer) -> bytes:
    """An attestation as of a time, the first of a log with one leaf, good for a day."""
    journal = replace(
        STATEMENT.journal,
        origin=ORIGIN,
        tree_size=1,
        root_hash=bytes(32),
        previous_tree_size=0,
        consistency=(),
    )
    statement = replace(
        STATEMENT,
        sequence=1,
        previous=bytes(32),
        journal=journal,
        as_of_ms=as_of_ms,
        valid_until_ms=as_of_ms + 365 * DAY_MS,
    )
    return sign(build(statement), PAYLOAD_TYPE, signers)


def test_an_attestation_from_before_the_rotation_stays_good() -> None:
    opened, trust = open_attestation(POLICY, attestation(NOON_MS - 1, RISK, OPERATIONS))
    assert opened.roles == ("risk", "operations")
    assert trust == OFFICERS


def test_keys_that_were_taken_away_sign_nothing_new() -> None:
    with pytest.raises(EnvelopeRefused, match="of the officers at") as caught:
        open_attestation(POLICY, attestation(NOON_MS, RISK, OPERATIONS))
    assert caught.value.reason is EnvelopeReason.THRESHOLD_NOT_MET


def test_the_officer_that_stayed_and_one_that_was_taken_away_are_too_few() -> None:
    with pytest.raises(EnvelopeRefused):
        open_attestation(POLICY, attestation(NOON_MS, RISK, COMPLIANCE))


def test_new_keys_sign_from_their_time_on_and_nothing_from_before() -> None:
    assert open_attestation(POLICY, attestation(NOON_MS, RISK_2, OPERATIONS_2))[1] == SECOND.policy.trust
    with pytest.raises(EnvelopeRefused):
        open_attestation(POLICY, attestation(NOON_MS - 1, RISK_2, OPERATIONS_2))


def test_strangers_sign_nothing() -> None:
    with pytest.raises(EnvelopeRefused):
        open_attestation(POLICY, attestation(NOON_MS, ANNA, BEN))


def test_an_attestation_from_before_the_pinned_version_is_refused_by_name() -> None:
    policy = verify_chain([TWO], NOON_MS).policy
    signers = (RISK_2, OPERATIONS_2)
    with pytest.raises(EnvelopeRefused) as caught:
        open_attestation(policy, attestation(NOON_MS - 1, *signers))
    assert caught.value.reason is EnvelopeReason.BEFORE_TRUST


def freshness(now_ms: int, *signers: Signer) -> tuple[bool, str]:
    """Whether an attestation as of just before the rotation, signed by ``signers``, is in force."""
    note = sign_note(checkpoint_body(Checkpoint(origin=ORIGIN, size=1, root=bytes(32))), ORIGIN, LOG)
    report = verify_attestations(POLICY, note, [attestation(NOON_MS - 1, *signers)], now_ms)
    (check,) = (one for one in report.checks if one.name == "freshness")
    assert all(one.passed for one in report.checks if one.name != "freshness"), report
    return check.passed, check.detail


def test_an_old_date_makes_no_key_that_was_taken_away_fresh() -> None:
    assert freshness(NOON_MS - 1, RISK, OPERATIONS, COMPLIANCE)[0]
    passed, detail = freshness(NOON_MS, RISK, OPERATIONS, COMPLIANCE)
    assert not passed
    assert "1 trusted keys signed" in detail
