"""Witnesses in a policy (C2SP tlog-policy): how they are named, and when a checkpoint has enough of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from clearing.attest.policy import (
    MAX_GROUPS,
    MAX_WITNESSES,
    Group,
    Policy,
    PolicyReason,
    PolicyRefused,
    Witness,
    format_policy,
    open_checkpoint,
    parse_policy,
)
from clearing_client.offline import verify_attestations, verify_checkpoint, verify_log
from ledger.checkpoint import (
    Checkpoint,
    KeyRefused,
    Note,
    NoteReason,
    NoteRefused,
    checkpoint_body,
    cosign,
    cosigner_key,
    format_note,
    format_vkey,
    parse_note,
    sign_note,
    verifier_key,
)
from ledger.merkle import EMPTY_ROOT
from tests.unit import test_offline_verifier as one_house

GOLDEN = Path(__file__).parents[1] / "golden"
ORIGIN, LOG_KEY, PLAIN = one_house.ORIGIN, one_house.LOG_KEY, one_house.POLICY
TIME_S = 1_700_000_000
NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")


def key_of(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(f"witness {name}".encode().ljust(32, b"."))


KEYS = {name: cosigner_key(f"witness.example/{name.lower()}", key_of(name)) for name in NAMES}
VKEYS = {name: format_vkey(key) for name, key in KEYS.items()}
BASE = format_policy(PLAIN).decode()
EXAMPLE = BASE + "".join(
    [
        *(f"witness {name} {VKEYS[name]}\n" for name in ("X1", "X2", "X3")),
        "group X-witnesses 2 X1 X2 X3\n",
        *(
            f"witness {name} {VKEYS[name]} https://{name.lower()}.example/prefix\n"
            for name in ("Y1", "Y2", "Y3")
        ),
        "group Y-witnesses any Y1 Y2 Y3\n",
        "group X-and-Y all X-witnesses Y-witnesses\n",
        "quorum X-and-Y\n",
    ]
)
POLICY = parse_policy(EXAMPLE.encode())
FIRST = BASE.count("\n") + 1
"""The line behind the ones of a policy without witnesses."""


def noted(size: int, *witnesses: str) -> bytes:
    """The checkpoint over the first ``size`` leaves, cosigned by ``witnesses``."""
    signed = parse_note(one_house.note_at(size))
    lines = (cosign(signed.text, KEYS[name].name, key_of(name), timestamp_s=TIME_S) for name in witnesses)
    return format_note(Note(text=signed.text, signatures=(*signed.signatures, *lines)))


def refused(reason: PolicyReason, line: int, *lines: str) -> None:
    with pytest.raises(PolicyRefused) as caught:
        parse_policy((BASE + "\n".join(lines)).encode())
    assert (caught.value.reason, caught.value.line) == (reason, line), caught.value


def witness(name: str, of: str | None = None) -> str:
    return f"witness {name} {VKEYS[of or name]}"


# --- the file ------------------------------------------------------------------------------------------


def test_the_policy_of_the_specification_is_the_golden_one() -> None:
    assert format_policy(POLICY) == (GOLDEN / "policy-witnesses.txt").read_bytes()
    assert parse_policy(format_policy(POLICY)) == POLICY


def test_a_policy_without_witnesses_is_what_it_was() -> None:
    assert (PLAIN.witnesses, PLAIN.asks_for_witnesses) == ((), False)
    assert PLAIN.quorum_met([])
    assert parse_policy(f"{BASE}quorum none\n".encode()) == PLAIN


def test_witnesses_may_be_named_without_being_asked_for() -> None:
    found = parse_policy(f"{BASE}{witness('X1')}\nquorum none\n".encode())
    assert (found.asks_for_witnesses, found.quorum_met([])) == (False, True)
    assert parse_policy(format_policy(found)) == found


def test_a_log_may_have_a_url_and_keeps_it() -> None:
    lines = BASE.replace("\nsigner", " https://log.example/\nsigner", 1)
    found = parse_policy(lines.encode())
    assert found.log_urls == ("https://log.example/",)
    assert format_policy(found).decode() == lines


def test_only_spaces_and_tabs_part_items_and_names_may_be_any_text() -> None:
    name = "zeuge\N{NO-BREAK SPACE}\N{KELVIN SIGN}"
    found = parse_policy(f"{BASE}witness\t {name} \t{VKEYS['X1']}\t\nquorum {name} \n".encode())
    assert (found.witnesses[0].name, found.quorum) == (name, name)
    assert parse_policy(format_policy(found)) == found


@pytest.mark.parametrize("control", ["\x00", "\r", "\x0b", "\x1f", "\x7f"])
def test_control_characters_are_refused_also_in_comments(control: str) -> None:
    refused(PolicyReason.NOT_TEXT, FIRST, f"# comment{control}")


@pytest.mark.parametrize("line", ["witness", "witness X1", f"{witness('X1')} u v"])
def test_a_witness_line_of_another_form_is_refused(line: str) -> None:
    refused(PolicyReason.FORM, FIRST, line)


@pytest.mark.parametrize("line", ["group", "group g", "group g any"])
def test_a_group_line_of_another_form_is_refused(line: str) -> None:
    refused(PolicyReason.FORM, FIRST + 1, witness("X1"), line)


@pytest.mark.parametrize("line", ["quorum", "quorum X1 X1"])
def test_a_quorum_line_of_another_form_is_refused(line: str) -> None:
    refused(PolicyReason.FORM, FIRST + 1, witness("X1"), line)


def test_a_log_line_of_another_form_is_refused() -> None:
    refused(PolicyReason.FORM, FIRST, f"log {VKEYS['X1']} u v")
    refused(PolicyReason.FORM, FIRST, "log")


def test_witnesses_without_a_quorum_line_and_two_of_these_are_refused() -> None:
    refused(PolicyReason.MISSING, 0, witness("X1"))
    refused(PolicyReason.REPEATED, FIRST + 2, witness("X1"), "quorum X1", "quorum X1")


def test_a_witness_key_that_is_not_sound_or_does_not_cosign_is_refused() -> None:
    plain = format_vkey(verifier_key("w", key_of("X1")))
    refused(PolicyReason.WITNESS, FIRST, "witness X1 junk")
    refused(PolicyReason.WITNESS, FIRST, f"witness X1 {plain}")
    refused(PolicyReason.LOG_KEY, FIRST, f"log {VKEYS['X1']}")


def test_one_public_key_is_one_witness_whatever_names_it_goes_by() -> None:
    alias = format_vkey(cosigner_key("else.example/alias", key_of("X1")))
    refused(PolicyReason.WITNESS, FIRST + 1, witness("X1"), f"witness X2 {alias}")
    refused(PolicyReason.WITNESS, FIRST + 1, witness("X1"), witness("X2", of="X1"))


def test_the_logs_own_key_is_no_witness_of_it() -> None:
    own = format_vkey(cosigner_key("w", LOG_KEY))
    refused(PolicyReason.WITNESS, FIRST, f"witness X1 {own}")
    twin = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    as_log, as_witness = format_vkey(verifier_key(ORIGIN, twin)), format_vkey(cosigner_key(ORIGIN, twin))
    refused(PolicyReason.WITNESS, FIRST + 1, f"witness X1 {as_witness}", f"log {as_log}")


def test_a_name_is_given_once_and_is_not_none() -> None:
    refused(PolicyReason.NAME, FIRST + 1, witness("X1"), witness("X1", of="X2"))
    refused(PolicyReason.NAME, FIRST + 1, witness("X1"), "group X1 any X1")
    refused(PolicyReason.NAME, FIRST + 2, witness("X1"), "group X2 any X1", witness("X2"))
    refused(PolicyReason.NAME, FIRST, witness("none", of="X1"))
    refused(PolicyReason.NAME, FIRST + 1, witness("X1"), "group none any X1")


def test_groups_and_the_quorum_name_what_stands_above() -> None:
    refused(PolicyReason.GROUP, FIRST + 1, witness("X1"), "group g any X2", witness("X2"))
    refused(PolicyReason.GROUP, FIRST + 1, witness("X1"), "group g any g")
    refused(PolicyReason.GROUP, FIRST + 1, witness("X1"), "group g any none")
    refused(PolicyReason.QUORUM, FIRST, "quorum X1", witness("X1"))


def test_each_witness_counts_in_one_way() -> None:
    refused(PolicyReason.GROUP, FIRST + 1, witness("X1"), "group g any X1 X1")
    refused(PolicyReason.GROUP, FIRST + 2, witness("X1"), "group g any X1", "group h any X1")
    refused(PolicyReason.GROUP, FIRST + 2, witness("X1"), "group g any X1", "group h all g X1")


@pytest.mark.parametrize("needed", ["0", "2", "-1", "01", "most", "1.0"])
def test_a_group_needs_one_to_all_of_its_members(needed: str) -> None:
    refused(PolicyReason.GROUP, FIRST + 1, witness("X1"), f"group g {needed} X1")


def test_more_witnesses_or_groups_than_the_limit_are_refused() -> None:
    names = [f"w{number}" for number in range(MAX_WITNESSES + 1)]
    lines = [f"witness {name} {format_vkey(cosigner_key(name, key_of(name)))}" for name in names]
    full = parse_policy((BASE + "\n".join([*lines[:-1], "quorum none"])).encode())
    assert len(full.witnesses) == MAX_WITNESSES
    refused(PolicyReason.WITNESS, FIRST + MAX_WITNESSES, *lines)
    groups = [witness("X1"), "group g0 any X1"]
    groups += [f"group g{number} any g{number - 1}" for number in range(1, MAX_GROUPS + 1)]
    full = parse_policy((BASE + "\n".join([*groups[:-1], "quorum none"])).encode())
    assert len(full.groups) == MAX_GROUPS
    refused(PolicyReason.GROUP, FIRST + MAX_GROUPS + 1, *groups)


def test_a_policy_made_in_code_keeps_the_same_rules() -> None:
    x1 = Witness(name="X1", key=KEYS["X1"])
    for reason, change in (
        (PolicyReason.NAME, {"witnesses": (replace(x1, name="two words"),)}),
        (PolicyReason.NAME, {"witnesses": (replace(x1, name="a\nb"),)}),
        (PolicyReason.WITNESS, {"witnesses": (x1, replace(x1, name="X2"))}),
        (PolicyReason.WITNESS, {"witnesses": (replace(x1, url="a b"),)}),
        (PolicyReason.WITNESS, {"witnesses": (replace(x1, key=cosigner_key("w", LOG_KEY)),)}),
        (PolicyReason.GROUP, {"witnesses": (x1,), "groups": (Group(name="g", needed=1, members=()),)}),
        (PolicyReason.QUORUM, {"quorum": "X1"}),
        (PolicyReason.LOG_KEY, {"log_urls": ("a", "b")}),
    ):
        fields: dict[str, Any] = dict(change)
        with pytest.raises(PolicyRefused) as caught:
            replace(PLAIN, **fields)
        assert (caught.value.reason, caught.value.line) == (reason, 0)


# --- the quorum ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cosigned", "missing"),
    [
        ("X1 X3 Y2", ""),
        ("X1 X2 X3 Y1 Y2 Y3", ""),
        (
            "X1 Y1",
            "X-and-Y (1 of 2, missing X-witnesses (1 of 2, missing X2, X3))",
        ),
        ("X1 X2 X3", "X-and-Y (1 of 2, missing Y-witnesses (0 of 1, missing Y1, Y2, Y3))"),
        (
            "",
            (
                "X-and-Y (0 of 2, missing X-witnesses (0 of 2, missing X1, X2, X3), "
                "Y-witnesses (0 of 1, missing Y1, Y2, Y3))"
            ),
        ),
    ],
)
def test_the_quorum_says_who_is_missing(cosigned: str, missing: str) -> None:
    keys = [KEYS[name] for name in cosigned.split()]
    assert POLICY.missing(keys) == missing
    assert POLICY.quorum_met(keys) is (not missing)


def test_a_key_counts_once_under_whatever_name_it_comes() -> None:
    aliases = [replace(KEYS["X1"], name=f"alias{number}") for number in range(3)]
    assert not POLICY.quorum_met([KEYS["X1"], *aliases, KEYS["Y1"]])
    assert POLICY.quorum_met([aliases[0], KEYS["X2"], KEYS["Y1"]])


def test_a_single_witness_may_be_the_quorum() -> None:
    policy = parse_policy(f"{BASE}{witness('X1')}\n{witness('X2')}\nquorum X1\n".encode())
    assert (policy.missing([KEYS["X1"]]), policy.missing([KEYS["X2"]])) == ("", "X1")


def refused_note(reason: NoteReason, note: bytes) -> str:
    with pytest.raises(NoteRefused) as caught:
        open_checkpoint(POLICY, note)
    assert caught.value.reason is reason
    return str(caught.value)


def test_a_checkpoint_opens_with_its_quorum_and_not_without() -> None:
    opened = open_checkpoint(POLICY, noted(12, "X1", "X3", "Y2"))
    assert [one.key for one in opened.cosignatures] == [KEYS["X1"], KEYS["X3"], KEYS["Y2"]]
    assert "missing X2, X3" in refused_note(NoteReason.NO_QUORUM, noted(12, "X1", "Y2"))
    refused_note(NoteReason.NO_QUORUM, noted(12))


def test_one_witness_in_many_lines_is_no_quorum() -> None:
    refused_note(NoteReason.NO_QUORUM, noted(12, "X1", "X1", "X1", "Y1"))


def test_cosignatures_without_the_logs_signature_are_nothing() -> None:
    note = parse_note(noted(12, *NAMES))
    unsigned = format_note(replace(note, signatures=note.signatures[1:]))
    refused_note(NoteReason.NO_TRUSTED_SIGNATURE, unsigned)


def test_a_cosignature_of_another_tree_refuses_the_note() -> None:
    note, other = parse_note(noted(12, "X1", "X2", "Y1")), parse_note(noted(11, "X1"))
    moved = replace(note, signatures=(*note.signatures[:1], other.signatures[1], *note.signatures[2:]))
    refused_note(NoteReason.BAD_SIGNATURE, format_note(moved))


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = checkpoint_body(Checkpoint(origin="other.example/journal", size=0, root=EMPTY_ROOT))
    refused_note(NoteReason.ORIGIN, sign_note(other, ORIGIN, LOG_KEY))


# --- the verifier ----------------------------------------------------------------------------------------


def details(checks: Sequence[Any]) -> dict[str, tuple[bool, str]]:
    return {check.name: (check.passed, check.detail) for check in checks}


def test_the_verifier_names_the_witnesses_and_those_who_are_missing() -> None:
    held = verify_checkpoint(POLICY, "seen may", noted(12, "X1", "X3", "Y2"))
    assert held.ok
    when = "2023-11-14T22:13:20.000Z"
    assert held.checks[0].detail.endswith(f"; cosigned by X1 at {when}, X3 at {when}, Y2 at {when}")
    failed = verify_checkpoint(POLICY, "seen may", noted(12, "X1", "Y2"))
    assert details(failed.checks)["seen may"] == (
        False,
        "too few witnesses have cosigned: X-and-Y (1 of 2, missing X-witnesses (1 of 2, missing X2, X3))",
    )
    assert failed.trees == ()


def test_attestations_and_a_log_need_a_checkpoint_with_its_quorum() -> None:
    note, bare = noted(12, "X1", "X3", "Y2"), noted(12)
    leaves = one_house.LEAVES[:12]
    assert verify_attestations(POLICY, note, one_house.CHAIN, None, leaves=leaves).ok
    assert verify_log(POLICY, note, leaves, []).ok
    for report in (
        verify_attestations(POLICY, bare, one_house.CHAIN, None, leaves=leaves),
        verify_log(POLICY, bare, leaves, []),
    ):
        assert one_house.failures(report) == ["checkpoint"]


def test_a_time_that_no_calendar_has_is_shown_as_a_number() -> None:
    policy: Policy = parse_policy(f"{BASE}{witness('X1')}\nquorum X1\n".encode())
    signed = parse_note(one_house.note_at(12))
    line = cosign(signed.text, KEYS["X1"].name, key_of("X1"), timestamp_s=2**63 - 1)
    note = format_note(replace(signed, signatures=(*signed.signatures, line)))
    assert (
        f"X1 at {(2**63 - 1) * 1_000} ms after 1970" in verify_checkpoint(policy, "c", note).checks[0].detail
    )


def test_a_policy_is_not_built_of_ambiguous_keys() -> None:
    with pytest.raises(KeyRefused):
        replace(KEYS["X1"], name="two words")
