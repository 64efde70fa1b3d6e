"""Reports over a real connection: whole, resumed, and only what the caller may pull."""

import csv
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from clearing.attest.envelope import verify
from clearing.attest.liabilities import context_of, parse_proof, verify_proof
from clearing.attest.policy import parse_policy
from clearing.attest.recompute import recompute
from clearing.attest.recompute_bundle import open_bundle, parse_bundle
from clearing.attest.statement import VerifiedStatement, parse
from clearing_client.client import new_trade
from clearing_client.connect import channel
from clearing_client.errors import ClearingError, of_call
from clearinghouse.v1 import attestation_service_pb2 as att_pb
from clearinghouse.v1 import report_service_pb2 as pb
from clearinghouse.v1 import report_service_pb2_grpc as pb_grpc
from tests.serving import SOURCES, Served, served_house, serving, signing_key, wait_until

pytestmark = pytest.mark.slow

ALPHA, RITA = "member/alpha", "regulator/rita"
PRICES = {"feeds/BTC": "64100.0", "feeds/ETH": "2000.0"}
ONE, TWO = "members/alpha/accounts/one", "members/alpha/accounts/two"
STATEMENT = {"ledger_account": f"{ONE}/position", "unit": "BTC-PERP"}


@contextmanager
def reports(served: Served, who: str) -> Iterator[pb_grpc.ReportServiceStub]:
    with channel(served.address, served.keys / "clients" / who) as connected:
        yield pb_grpc.ReportServiceStub(connected)


def trade(served: Served, count: int = 1) -> None:
    with served.client(ALPHA) as alpha:
        trades = [
            new_trade("BTC-PERP", buyer=ONE, seller=TWO, size="0.001", price="64000.0") for _ in range(count)
        ]
        alpha.submit_trades("members/alpha", trades)


def pulled(stub: pb_grpc.ReportServiceStub, name: str, **asked: Any) -> tuple[pb.ReportHeader, bytes]:
    """A whole download, its chunks checked."""
    stream = stub.DownloadReport(pb.DownloadReportRequest(name=f"reports/{name}", **asked), timeout=60)
    header, data, offset = next(stream).header, b"", asked.get("offset", 0)
    for message in stream:
        assert message.chunk.offset == offset + len(data)
        assert 0 < len(message.chunk.data) <= 64 * 1024
        data += message.chunk.data
    assert offset + len(data) == header.size
    return header, data


def refused(stub: pb_grpc.ReportServiceStub, **asked: Any) -> ClearingError:
    with pytest.raises(grpc.RpcError) as error:
        list(stub.DownloadReport(pb.DownloadReportRequest(**asked), timeout=20))
    return of_call(error.value)


def test_everyone_is_shown_what_it_may_pull(served: Served) -> None:
    with reports(served, ALPHA) as alpha, reports(served, RITA) as rita:
        assert [r.name for r in alpha.ListReports(pb.ListReportsRequest()).reports] == [
            *("reports/liability-proof", "reports/recompute-bundle", "reports/statement"),
        ]
        every = rita.ListReports(pb.ListReportsRequest())
        assert [r.name for r in every.reports] == [
            *("reports/journal", "reports/liability-proof", "reports/recompute-bundle", "reports/statement"),
            "reports/trial-balance",
        ]
        page = rita.ListReports(pb.ListReportsRequest(page_size=3))
        last = rita.ListReports(pb.ListReportsRequest(page_size=3, page_token=page.next_page_token))
        assert [*page.reports, *last.reports] == list(every.reports)


def test_the_journal_is_exported_whole_and_with_its_digest(served: Served) -> None:
    trade(served, 100)
    with reports(served, RITA) as rita:
        size = served.journal_size()
        header, data = pulled(rita, "journal", as_of=size)
    assert hashlib.sha256(data).hexdigest() == header.sha256
    assert (header.as_of, header.media_type) == (size, "application/jsonl")
    assert header.file_name == f"journal-{size}.jsonl"
    assert len(data) > 64 * 1024, "more than a chunk"
    lines = [json.loads(line) for line in data.splitlines()]
    assert [line["sequence"] for line in lines] == [str(n) for n in range(size)]
    assert lines[-1]["kind_name"] == "TRADE_NOVATED"


def test_a_download_that_broke_off_goes_on_with_the_same_bytes(served: Served) -> None:
    trade(served, 100)
    with reports(served, RITA) as rita:
        stream = rita.DownloadReport(pb.DownloadReportRequest(name="reports/journal"), timeout=60)
        header, begun = next(stream).header, next(stream).chunk.data
        stream.cancel()
        trade(served)
        again, rest = pulled(rita, "journal", as_of=header.as_of, offset=len(begun))
        assert again == header
        assert hashlib.sha256(begun + rest).hexdigest() == header.sha256
        assert pulled(rita, "journal", as_of=header.as_of, offset=header.size) == (header, b"")


def test_a_house_that_was_started_again_makes_the_same_file(tmp_path: Any) -> None:
    with served_house(tmp_path) as first, reports(first, RITA) as rita:
        trade(first, 3)
        size = first.journal_size()
        before = [pulled(rita, name, as_of=size) for name in ("journal", "trial-balance")]
        before.append(pulled(rita, "statement", as_of=size, parameters=STATEMENT))
    with serving(tmp_path) as second, reports(second, RITA) as rita:
        trade(second, 2)
        after = [pulled(rita, name, as_of=size) for name in ("journal", "trial-balance")]
        after.append(pulled(rita, "statement", as_of=size, parameters=STATEMENT))
        assert after == before
        assert pulled(rita, "journal")[0].as_of > size


def test_the_trial_balance_balances(served: Served) -> None:
    trade(served)
    with reports(served, RITA) as rita:
        _, data = pulled(rita, "trial-balance", as_of=served.journal_size())
    sums: dict[str, int] = {}
    for row in csv.DictReader(data.decode().splitlines()):
        debit, credit = (int((row[side] or "0").replace(".", "")) for side in ("debit", "credit"))
        sums[row["unit"]] = sums.get(row["unit"], 0) + debit - credit
    assert sums == {"BTC-PERP": 0, "ETH": 0, "USDC": 0}


def test_a_member_pulls_the_statement_of_its_own_account(served: Served) -> None:
    trade(served, 2)
    with reports(served, ALPHA) as alpha:
        size = served.journal_size()
        _, data = pulled(alpha, "statement", as_of=size, parameters=STATEMENT)
        rows = list(csv.DictReader(data.decode().splitlines()))
        assert [rows[0]["what"], rows[-1]["what"]] == ["opening balance", "closing balance"]
        assert rows[-1]["balance"] == rows[-2]["balance"]
        assert [row["amount"] for row in rows[-3:-1]] == ["0.001", "0.001"]
        later = STATEMENT | {"from_sequence": str(size - 1)}
        _, data = pulled(alpha, "statement", as_of=size, parameters=later)
        assert len(data.splitlines()) == 4


def attested(served: Served) -> tuple[int, VerifiedStatement]:
    """The size of the journal, and what the newest attestation in it states."""
    with served.client(RITA) as rita:
        latest = att_pb.GetAttestationRequest(name="attestations/latest")
        envelope = rita.attestations.GetAttestation(latest).attestation.envelope.encode()
    trust = parse_policy((served.keys / "policy.txt").read_bytes()).trust
    return served.journal_size(), parse(verify(envelope, trust))


def next_attestation(served: Served) -> None:
    """A cycle more, and the wait for what the house attests of it."""
    before = attested(served)[1].sequence
    for source in SOURCES:
        with served.client(f"price-source/{source}") as client:
            key = signing_key(served.keys, source)
            client.publish_prices(f"sources/{source}", PRICES, key=key, sequence=7)
    wait_until(lambda: attested(served)[1].sequence > before)


def test_a_regulator_recomputes_an_attestation_and_a_member_its_part(served: Served) -> None:
    trade(served)
    size, statement = attested(served)
    with reports(served, RITA) as rita, reports(served, ALPHA) as alpha:
        header, whole = pulled(rita, "recompute-bundle", as_of=size)
        _, part = pulled(alpha, "recompute-bundle", as_of=size)
    assert header.file_name == f"recompute-bundle-{size}.txt"
    for data, is_whole in ((whole, True), (part, False)):
        bundle = open_bundle(parse_bundle(data), statement.sequence, statement.inputs)
        assert bundle.is_whole is is_whole
        assert all(one.agrees for one in recompute(statement, bundle).findings)
    assert b"members/beta" in whole
    assert b"beta" not in part


def test_a_member_proves_that_what_it_is_owed_was_counted(served: Served) -> None:
    size, statement = attested(served)
    asked = {"ledger_account": f"{ONE}/cash"}
    with reports(served, ALPHA) as alpha:
        _, data = pulled(alpha, "liability-proof", as_of=size, parameters=asked)
        other = {"ledger_account": "members/beta/accounts/house/cash"}
        assert refused(alpha, name="reports/liability-proof", parameters=other).reason == "NOT_YOURS"
        none = {"ledger_account": f"{ONE}/claim"}
        error = refused(alpha, name="reports/liability-proof", as_of=size, parameters=none)
        assert error.reason == "LIABILITY_UNKNOWN"
        error = refused(alpha, name="reports/liability-proof", as_of=1, parameters=asked)
        assert error.reason == "ATTESTATION_UNKNOWN"
        assert refused(alpha, name="reports/recompute-bundle", as_of=1).reason == "ATTESTATION_UNKNOWN"
    verified = verify_proof(
        parse_proof(data),
        context=context_of(statement),
        attested=statement.liabilities,
        account=f"{ONE}/cash",
    )
    assert verified.amounts["USDC"] > 0


def test_workings_of_an_attestation_are_the_same_bytes_after_a_restart(tmp_path: Path) -> None:
    """The first are made of the state in memory, the second of the journal."""
    asked = {"ledger_account": f"{ONE}/cash"}
    with served_house(tmp_path) as first, reports(first, RITA) as rita:
        next_attestation(first)
        size, _ = attested(first)
        before = (
            pulled(rita, "recompute-bundle", as_of=size),
            pulled(rita, "liability-proof", as_of=size, parameters=asked),
        )
    with serving(tmp_path) as second, reports(second, RITA) as rita:
        after = (
            pulled(rita, "recompute-bundle", as_of=size),
            pulled(rita, "liability-proof", as_of=size, parameters=asked),
        )
    assert after == before


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"name": "reports/journal"}, "REPORT_UNKNOWN"),
        ({"name": "reports/trial-balance"}, "REPORT_UNKNOWN"),
        ({"name": "reports/nothing"}, "REPORT_UNKNOWN"),
        ({"name": "reports/../journal"}, "REQUEST_INVALID"),
        ({"name": "reports/statement"}, "REQUEST_INVALID"),
        ({"parameters": STATEMENT | {"x": "1"}}, "REQUEST_INVALID"),
        ({"parameters": STATEMENT | {"unit": "ß"}}, "REQUEST_INVALID"),
        ({"parameters": STATEMENT | {"from_sequence": "٣"}}, "REQUEST_INVALID"),
        ({"parameters": STATEMENT | {"from_sequence": "999999999"}}, "REQUEST_INVALID"),
        ({"parameters": STATEMENT | {"ledger_account": "house/capital"}}, "NOT_YOURS"),
        ({"parameters": STATEMENT | {"ledger_account": "members/beta/accounts/one/cash"}}, "NOT_YOURS"),
        ({"parameters": STATEMENT | {"unit": "DOGE"}}, "ACCOUNT_UNKNOWN"),
        ({"parameters": STATEMENT, "as_of": 10**12}, "SEQUENCE_AHEAD"),
        ({"parameters": STATEMENT, "offset": 1}, "REQUEST_INVALID"),
        ({"parameters": STATEMENT, "as_of": 28, "offset": -1}, "REQUEST_INVALID"),
    ],
)
def test_a_report_that_is_not_given_says_why(served: Served, asked: dict[str, Any], reason: str) -> None:
    trade(served)
    with reports(served, ALPHA) as alpha:
        assert refused(alpha, **({"name": "reports/statement"} | asked)).reason == reason


def test_an_offset_beyond_the_end_is_refused(served: Served) -> None:
    with reports(served, RITA) as rita:
        header, _ = pulled(rita, "trial-balance", as_of=20)
        error = refused(rita, name="reports/trial-balance", as_of=20, offset=header.size + 1)
    assert error.violations[0].field == "offset"
