"""Officers who sign two chains of attestations over one log are found by whoever has that log."""

import json
import shutil
from pathlib import Path

import pytest

from clearctl.verification import Asked, verify
from clearing import keys as house_keys
from clearing.attest.envelope import PAYLOAD_TYPE, parse, sign
from clearing.attest.statement import payload_digest
from clearing.documents import Documents
from clearing.model.kinds import Kind
from clearing.pulse import beat
from clearing.store.queries import AttestationIndex
from clearing_client.journaled import ATTESTED
from clearing_client.offline import Report
from tests.integration.test_beat import Running, running
from tests.serving import BTC_TICKS

__all__ = ["running"]
NAME = "attestations in the log"


@pytest.fixture
def public(running: Running, tmp_path: Path) -> Path:
    """Three attestations, as they are shown; the log, which is beside them, has the entries of all."""
    folder, index = tmp_path / "public", AttestationIndex(running.database)
    policy, signing = house_keys.read_policy(running.keys), house_keys.read_signing_keys(running.keys)
    documents = Documents(folder, policy, signing, index.all, bodies=index.bodies)
    for step in range(2):
        beat(running.engine, running.publisher, documents)
        running.prices(BTC_TICKS + step)
    beat(running.engine, running.publisher, documents)
    return folder


def verified(public: Path, log: Path) -> Report:
    asked = Asked(directory=public, tiles=log, receipts=(), account=None, seen=(), now_ms=None)
    return verify(public / "policy.txt", asked)


def failed(report: Report) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks if not check.passed}


def sign_another_chain(public: Path, keys: Path) -> None:
    """The same trees, with more margin held in every attestation."""
    officers, previous = house_keys.read_signing_keys(keys).officers, None
    for path in sorted((public / "attestations").glob("*.json")):
        statement = json.loads(parse(path.read_bytes()).payload)
        resources = statement["predicate"]["resources"]
        resources["marginHeld"] = str(int(resources["marginHeld"]) + 10**9)
        statement["predicate"]["previous"] = previous or statement["predicate"]["previous"]
        payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        previous = payload_digest(payload).hex()
        path.write_bytes(sign(payload, PAYLOAD_TYPE, officers))


def test_the_attestations_of_a_house_are_those_of_its_log(public: Path, tmp_path: Path) -> None:
    report = verified(public, tmp_path / "tiles")
    assert report.ok, failed(report)
    (check,) = [one for one in report.checks if one.name == NAME]
    assert check.detail == "all up to number 3, of 3 that the log has"


def test_a_second_chain_over_the_same_trees_is_not_in_the_log(
    public: Path, tmp_path: Path, running: Running
) -> None:
    sign_another_chain(public, running.keys)
    assert failed(verified(public, tmp_path / "tiles")) == {
        NAME: "the log has another attestation 1 than the one that is shown"
    }


def test_a_body_that_was_made_for_a_second_chain_is_not_in_the_log(
    public: Path, tmp_path: Path, running: Running
) -> None:
    before = {path: path.read_bytes() for path in (public / "attestations").glob("*.json")}
    sign_another_chain(public, running.keys)
    for path, data in before.items():
        body = path.with_suffix(".body")
        old, new = (json.dumps(one.decode()).encode() for one in (data, path.read_bytes()))
        assert old[1:-1] in body.read_bytes()
        body.write_bytes(body.read_bytes().replace(old[1:-1], new[1:-1]))
    assert "number 1 of the log has another body" in failed(verified(public, tmp_path / "tiles"))[NAME]


def test_without_the_bodies_the_report_says_that_this_was_not_checked(public: Path, tmp_path: Path) -> None:
    (public / "attestations/000002.body").unlink()
    report = verified(public, tmp_path / "tiles")
    assert report.ok
    assert any("whether the log has these attestations" in one for one in report.not_checked)


def test_of_a_log_that_cannot_be_read_to_its_end_nothing_is_said(public: Path, tmp_path: Path) -> None:
    for tile in (tmp_path / "tiles" / "tile" / "entries").rglob("000.p/*"):
        tile.write_bytes(b"")
    report = verified(public, tmp_path / "tiles")
    assert not report.ok
    assert NAME not in failed(report)
    assert any("whether the log has these attestations" in one for one in report.not_checked)


def test_what_the_log_has_beyond_those_shown_is_told(public: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "tiles" / "checkpoint"
    for path in (public / "attestations").glob("000003.*"):
        path.unlink()
    shutil.copy(checkpoint, public / "checkpoint")
    report = verified(public, tmp_path / "tiles")
    (check,) = [one for one in report.checks if one.name == NAME]
    assert check.detail == "all up to number 2, of 3 that the log has"


def test_the_kind_is_that_of_the_house() -> None:
    assert Kind.ATTESTED == ATTESTED
