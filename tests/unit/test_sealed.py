"""What is signed of a report (attestation.md §10): the golden files, other tools as judges, and every refusal."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key
from securesystemslib.dsse import Envelope as JudgeEnvelope
from securesystemslib.signer._key import SSlibKey
from typer.testing import CliRunner

from clearctl.app import app
from clearing.attest.envelope import PAYLOAD_TYPE, VerifiedPayload, ed25519_signer, sign
from clearing.attest.policy import Earlier, Policy
from clearing.attest.report import (
    MEMBERS,
    PREDICATE_TYPE,
    ReportRefused,
    build,
    parse,
)
from clearing.attest.statement import STATEMENT_TYPE, parse_time
from clearing.model.values import Form
from clearing_client.offline import Report
from clearing_client.sealed import HEAD_BYTES_MAX, verify_report
from tests.sealed_reports import OFFICERS, SIGNED_TIME, made_in, sealed, statement
from tests.unit.test_offline_verifier import POLICY, RISK, checkpoint_at, ed25519_key

GOLDEN = Path(__file__).parents[1] / "golden"
DOCS = Path(__file__).parents[2] / "docs"
STATEMENT = statement()


# --- golden --------------------------------------------------------------------------------------------


def test_the_report_and_what_is_signed_of_it_are_the_golden_ones() -> None:
    assert (GOLDEN / "report.json").read_bytes() == made_in(Form.JSON)
    assert (GOLDEN / "report.csv").read_bytes() == made_in(Form.CSV)
    assert (GOLDEN / "report.dsse.json").read_bytes() == sealed(STATEMENT)


def test_the_golden_report_is_verified_with_the_golden_policy() -> None:
    files = [str(GOLDEN / name) for name in ("report.json", "policy.txt", "report.dsse.json")]
    asked = ["report", "verify", files[0], "--policy", files[1], "--signed", files[2]]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.output
    other = CliRunner().invoke(app, [*asked[:2], str(GOLDEN / "report.csv"), *asked[3:]])
    assert other.exit_code != 0


def test_the_golden_statement_names_the_golden_file() -> None:
    """Read with nothing but a reader of JSON."""
    envelope = json.loads((GOLDEN / "report.dsse.json").read_bytes())
    signed = json.loads(base64.b64decode(envelope["payload"]))
    data = (GOLDEN / "report.json").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    assert signed["subject"] == [{"name": "trial-balance-12.json", "digest": {"sha256": digest}}]
    assert (signed["_type"], signed["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE)
    head = json.loads(data)["report"]
    assert head.pop("version") == "1"
    more = {"form": "json", "json_sha256": digest, "signed_time": SIGNED_TIME}
    assert signed["predicate"] == head | more
    assert set(signed["predicate"]) == set(MEMBERS)


def test_the_golden_statement_is_verified_by_another_implementation_of_dsse() -> None:
    golden = json.loads((GOLDEN / "report.dsse.json").read_bytes())
    keys = [
        SSlibKey.from_crypto(ed25519_key("risk").public_key(), keyid=OFFICERS[0].public_key.key_id),
        SSlibKey.from_crypto(
            load_der_public_key(OFFICERS[1].public_key.raw), keyid=OFFICERS[1].public_key.key_id
        ),
    ]
    assert len(JudgeEnvelope.from_dict(golden).verify(list(keys), 2)) == 2


@pytest.mark.skipif(not all(map(shutil.which, ("openssl", "jq", "sha256sum"))), reason="wants openssl and jq")
def test_the_commands_of_the_documentation_check_the_golden_files(tmp_path: Path) -> None:
    text = (DOCS / "attestation.md").read_text("utf-8")
    (commands,) = re.findall(r"```sh\n(.*?)```", text[text.index("## 10.") :], re.DOTALL)
    for name in ("report.json", "report.dsse.json", "policy.txt"):
        shutil.copy(GOLDEN / name, tmp_path)

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"]},
        )

    found = run()
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines() == ["report.json: OK", "Signature Verified Successfully", "Verified OK"]
    with (tmp_path / "report.json").open("ab") as file:
        file.write(b"\n")
    assert run().returncode != 0


# --- the statement -------------------------------------------------------------------------------------


def members(**changed: object) -> dict[str, Any]:
    """The golden statement as JSON, with other members."""
    found: dict[str, Any] = json.loads(build(STATEMENT))
    return found | changed


def predicate(**changed: object) -> dict[str, Any]:
    """The golden statement with another predicate; None takes a member away."""
    said = {key: text for key, text in (dict(STATEMENT.said) | changed).items() if text is not None}
    return members(predicate=said)


SUBJECT: dict[str, Any] = members()["subject"][0]
REFUSED: dict[str, Any] = {
    "of another type": members(_type="https://in-toto.io/Statement/v0.1"),
    "of another predicate": members(predicateType="https://clearing-house.dev/report/v2"),
    "with another member": members(more=""),
    "without a predicate": {key: value for key, value in members().items() if key != "predicate"},
    "of no subject": members(subject=[]),
    "of two subjects": members(subject=[SUBJECT, SUBJECT]),
    "of a subject with more": members(subject=[SUBJECT | {"uri": ""}]),
    "with another digest": members(subject=[SUBJECT | {"digest": SUBJECT["digest"] | {"md5": ""}}]),
    "without a digest": members(subject=[SUBJECT | {"digest": {}}]),
    "of a subject without a name": members(subject=[{"digest": SUBJECT["digest"]}]),
    "with a predicate that is a text": members(predicate="trial-balance"),
    "with a number": predicate(as_of=12),
    "with a list": predicate(members=["dex"]),
    "with nothing": members(predicate=dict(STATEMENT.said) | {"given": None}),
    "with an unknown member": predicate(currency="USD"),
    **{f"without {key}": predicate(**{key: None}) for key in MEMBERS},
    **{
        f"as of {text!r}": predicate(as_of=text)
        for text in ("", "x", "-1", "+12", "012", "1_2", " 12", "١٢", "1e1")
    },
    "as of more than a log can have": predicate(as_of=str(2**63)),
    "of nothing, with a root": predicate(as_of="0"),
    "with a short root": predicate(root="00"),
    "with a root that is no hex": predicate(root="x" * 64),
    "with a root in capitals": predicate(root=STATEMENT.said["root"].upper()),
    "with a root in parts": predicate(root=" ".join(re.findall("..", STATEMENT.said["root"]))),
    "of no log": predicate(origin=""),
    "of a log of two lines": predicate(origin="a\nb"),
    "signed at no time": predicate(signed_time="today"),
    "signed on no day": predicate(signed_time="2020-02-30T08:00:00.000Z"),
    "a list": [],
    "a text": "statement",
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_a_statement_that_is_not_about_a_report_is_refused(value: Any) -> None:
    with pytest.raises(ReportRefused):
        parse(VerifiedPayload(json.dumps(value).encode()))


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"\xff", b"{}{}", b"nothing", b"[" * 100_000],
    ids=["empty", "cut", "not UTF-8", "two", "a word", "deep"],
)
def test_bytes_that_are_no_json_are_refused(payload: bytes) -> None:
    with pytest.raises(ReportRefused):
        parse(VerifiedPayload(payload))


def test_a_member_that_stands_twice_is_refused() -> None:
    payload = build(STATEMENT).replace(b'"form":"json"', b'"form":"json","form":"csv"')
    with pytest.raises(ReportRefused):
        parse(VerifiedPayload(payload))


def test_a_statement_reads_back_as_it_was_built() -> None:
    read = parse(VerifiedPayload(build(STATEMENT)))
    assert read == STATEMENT
    assert read.tree == checkpoint_at(int(STATEMENT.said["as_of"]))
    assert read.signed_ms == parse_time(SIGNED_TIME)


@pytest.mark.parametrize(
    "changed",
    [{"as_of": "012"}, {"root": ""}, {"signed_time": ""}, {"more": ""}],
    ids=lambda one: next(iter(one)),
)
def test_what_would_not_read_back_is_not_built(changed: dict[str, str]) -> None:
    with pytest.raises(ReportRefused):
        build(replace(STATEMENT, said=dict(STATEMENT.said) | changed))


# --- files ---------------------------------------------------------------------------------------------


def checked(
    folder: Path,
    data: bytes,
    envelope: bytes,
    name: str = "report.json",
    policy: Policy = POLICY,
    source: bytes | None = None,
) -> Report:
    """What the verifier says of a file and what was signed of it."""
    (folder / name).write_bytes(data)
    if source is not None:
        (folder / "source.json").write_bytes(source)
    return verify_report(policy, folder / name, envelope, None if source is None else folder / "source.json")


def failed(report: Report) -> dict[str, str]:
    """The checks that failed, with what they say."""
    return {check.name: check.detail for check in report.checks if not check.passed}


@pytest.mark.parametrize("form", [Form.JSON, Form.CSV])
def test_a_report_is_checked_with_its_head(form: Form, tmp_path: Path) -> None:
    found = checked(
        tmp_path, made_in(form), sealed(statement(form)), f"report.{form.value}", source=made_in(Form.JSON)
    )
    assert found.ok
    assert [check.name for check in found.checks] == [
        *("report signature", "report of the log", "report time"),
        *("report file", "report head", "report in JSON"),
    ]
    assert found.trees == (checkpoint_at(12),)
    assert "signed by risk, operations (2 are needed)" in found.checks[0].detail
    assert found.not_checked


def test_a_page_is_checked_by_its_digest_and_by_that_of_its_json(tmp_path: Path) -> None:
    page = b"<html>a page</html>"
    envelope = sealed(statement(Form.HTML, page))
    found = checked(tmp_path, page, envelope, "report.html", source=made_in(Form.JSON))
    assert found.ok
    assert "report head" not in [check.name for check in found.checks]
    other = checked(tmp_path, page, envelope, "report.html", source=made_in(Form.JSON) + b"\n")
    assert failed(other).keys() == {"report in JSON"}


@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param(lambda: b"", id="empty"),
        pytest.param(lambda: sealed(STATEMENT, (RISK,)), id="one officer"),
        pytest.param(
            lambda: sealed(STATEMENT, (RISK, ed25519_signer(ed25519_key("mallory")))), id="a stranger"
        ),
        pytest.param(
            lambda: sealed(STATEMENT).replace(PAYLOAD_TYPE.encode(), b"text/plain"),
            id="another type of payload",
        ),
        pytest.param((GOLDEN / "attestation.dsse.json").read_bytes, id="an attestation"),
        pytest.param(lambda: sign(b"{}", PAYLOAD_TYPE, OFFICERS), id="nothing"),
    ],
)
def test_what_officers_did_not_sign_of_a_report_is_refused(
    envelope: Callable[[], bytes], tmp_path: Path
) -> None:
    found = checked(tmp_path, made_in(Form.JSON), envelope())
    assert failed(found).keys() == {"report signature"}
    assert not found.trees


def test_officers_of_the_time_of_signing_have_to_have_signed(tmp_path: Path) -> None:
    """Officers changed at eight: who signed a second earlier was one, who signs as late as that is none any more."""
    new = replace(POLICY.trust, keys=POLICY.trust.keys[2:], threshold=1)
    signed_ms = parse_time(SIGNED_TIME)
    for until_ms, ok in ((signed_ms + 1, True), (signed_ms, False)):
        policy = replace(POLICY, trust=new, earlier=(Earlier(trust=POLICY.trust, until_ms=until_ms),))
        assert checked(tmp_path, made_in(Form.JSON), sealed(STATEMENT), policy=policy).ok is ok


def test_a_report_of_another_log_is_refused(tmp_path: Path) -> None:
    envelope = sealed(statement(origin="other.example/journal"))
    assert failed(checked(tmp_path, made_in(Form.JSON), envelope)).keys() == {
        "report of the log",
        "report head",
    }


def test_a_file_that_was_changed_is_refused_and_both_digests_are_named(tmp_path: Path) -> None:
    data = made_in(Form.JSON).replace(b'"1000.000000"', b'"2000.000000"', 1)
    detail = failed(checked(tmp_path, data, sealed(STATEMENT)))["report file"]
    assert STATEMENT.sha256 in detail
    assert hashlib.sha256(data).hexdigest() in detail


def test_a_file_with_the_name_of_another_form_is_refused(tmp_path: Path) -> None:
    assert "report file" in failed(checked(tmp_path, made_in(Form.JSON), sealed(STATEMENT), "report.csv"))


def test_a_file_with_any_other_name_is_the_same_report(tmp_path: Path) -> None:
    assert checked(tmp_path, made_in(Form.JSON), sealed(STATEMENT), "of-may").ok


@pytest.mark.parametrize("form", [Form.JSON, Form.CSV])
@pytest.mark.parametrize("key", [key for key in MEMBERS if key not in ("form", "json_sha256", "signed_time")])
def test_a_seal_that_says_otherwise_than_the_head_is_refused(key: str, form: Form, tmp_path: Path) -> None:
    """Of every member, though the officers signed this very file."""
    other = {"as_of": "11", "root": "00" * 32}.get(key, "another")
    envelope = sealed(statement(form, None, **{key: other}))
    detail = failed(checked(tmp_path, made_in(form), envelope, f"report.{form.value}"))["report head"]
    assert detail == f"it says otherwise: {key}"


def test_no_seal_of_another_report_is_one_of_this(tmp_path: Path) -> None:
    """Another form, another time, another part of it, another report: each has bytes of its own."""
    data = made_in(Form.JSON)
    others = {
        "form": statement(Form.CSV),
        "as_of": statement(
            file=data.replace(b'"as_of":"12"', b'"as_of":"11"'), as_of="11", root=checkpoint_at(11).root.hex()
        ),
        "members": statement(file=data.replace(b'"members":"all"', b'"members":"dex"'), members="dex"),
        "report": statement(
            file=data.replace(b'"report":"trial-balance"', b'"report":"margin"'), report="margin"
        ),
    }
    for other in others.values():
        found = failed(checked(tmp_path, data, sealed(other)))
        assert "report file" in found
        assert other.sha256 != STATEMENT.sha256


HEADS: dict[str, tuple[Form, bytes]] = {
    "no JSON": (Form.JSON, b"hello\n"),
    "an empty file": (Form.JSON, b""),
    "other JSON": (Form.JSON, b'{"journal":{},"tables":[\n]}\n'),
    "another member": (Form.JSON, made_in(Form.JSON).replace(b',"tables"', b',"more":"","tables"', 1)),
    "another version": (Form.JSON, made_in(Form.JSON).replace(b'"version":"1"', b'"version":"2"')),
    "no version": (Form.JSON, made_in(Form.JSON).replace(b'"version":"1",', b"")),
    "a head that says less": (Form.JSON, made_in(Form.JSON).replace(b'"house":"house",', b"")),
    "a head that says more": (Form.JSON, made_in(Form.JSON).replace(b'"house":', b'"home":"x","house":')),
    "a head with a list": (Form.JSON, made_in(Form.JSON).replace(b'"house":"house"', b'"house":["house"]')),
    "a head with a number": (Form.JSON, made_in(Form.JSON).replace(b'"as_of":"12"', b'"as_of":12')),
    "a head that says it twice": (
        Form.JSON,
        made_in(Form.JSON).replace(b'"as_of":"12"', b'"as_of":"11","as_of":"12"'),
    ),
    "a head that is too long": (Form.JSON, b" " * HEAD_BYTES_MAX + made_in(Form.JSON)),
    "deep JSON": (Form.JSON, b'{"report":' + b"[" * 50_000),
    "no CSV of a report": (Form.CSV, b"hello\n"),
    "an empty CSV": (Form.CSV, b""),
    "a CSV without its first line": (Form.CSV, made_in(Form.CSV).partition(b"\n")[2]),
    "a CSV that says less": (Form.CSV, made_in(Form.CSV).replace(b"report,house,house\n", b"")),
    "a CSV that says more": (
        Form.CSV,
        made_in(Form.CSV).replace(b"units,field", b"report,more,x\nunits,field", 1),
    ),
    "a CSV that says it twice": (
        Form.CSV,
        made_in(Form.CSV).replace(b"report,as_of,12\n", b"report,as_of,11\nreport,as_of,12\n"),
    ),
    "a CSV of one field without an end": (Form.CSV, b'"' + b"x" * 1_000_000),
    "a CSV that is no text": (Form.CSV, b"\x00\xff" * 1_000),
}


@pytest.mark.parametrize(("form", "data"), HEADS.values(), ids=HEADS)
def test_a_file_without_the_head_that_was_signed_is_refused(form: Form, data: bytes, tmp_path: Path) -> None:
    """Though officers signed these very bytes: what people read first must be what was signed."""
    found = checked(tmp_path, data, sealed(statement(form, data)), f"report.{form.value}")
    assert failed(found).keys() == {"report head"}


def test_a_text_that_a_spreadsheet_would_run_is_compared_without_its_apostrophe(tmp_path: Path) -> None:
    data = made_in(Form.CSV).replace(b"report,given,\n", b"report,given,'=1\n")
    assert checked(tmp_path, data, sealed(statement(Form.CSV, data, given="=1")), "report.csv").ok


def test_a_file_that_is_not_there_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        verify_report(POLICY, tmp_path / "nowhere.json", sealed(STATEMENT))
    (tmp_path / "report.json").write_bytes(made_in(Form.JSON))
    with pytest.raises(OSError, match="nowhere"):
        verify_report(POLICY, tmp_path / "report.json", sealed(STATEMENT), tmp_path / "nowhere.json")
