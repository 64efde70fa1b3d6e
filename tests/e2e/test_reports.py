"""Reports over a real connection: whole, resumed, and only what the caller may pull."""

import csv
import hashlib
import json
import time
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
from clearing.reports.table import REPORTS, Audience
from clearing_client.client import new_id, new_trade
from clearing_client.connect import channel
from clearing_client.errors import ClearingError, of_call
from clearing_client.reports import pull_request
from clearinghouse.v1 import attestation_service_pb2 as att_pb
from clearinghouse.v1 import ledger_service_pb2 as ledger_pb
from clearinghouse.v1 import report_service_pb2 as pb
from clearinghouse.v1 import report_service_pb2_grpc as pb_grpc
from tests.serving import SOURCES, Served, served_house, serving, signing_key, wait_until

pytestmark = pytest.mark.slow

ALPHA, RITA, ANNA = "member/alpha", "regulator/rita", "administrator/anna"
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


def pulled(
    stub: pb_grpc.ReportServiceStub, name: str, offset: int = 0, **asked: Any
) -> tuple[pb.ReportHeader, bytes]:
    """A whole report, its chunks checked."""
    return downloaded(stub, pull(stub, name, **asked), offset)


def pull(stub: pb_grpc.ReportServiceStub, name: str, **asked: Any) -> str:
    return stub.PullReport(
        pull_request(f"reports/{name}", **{"request_id": new_id()} | asked), timeout=60
    ).pull


def downloaded(stub: pb_grpc.ReportServiceStub, name: str, offset: int = 0) -> tuple[pb.ReportHeader, bytes]:
    """What was not there yet is not shown in the log for a moment: it is asked for again."""
    end = time.monotonic() + 20
    while True:
        stream = stub.DownloadReport(pb.DownloadReportRequest(name=name, offset=offset), timeout=60)
        try:
            return taken(stream, offset)
        except grpc.RpcError as error:
            if of_call(error).reason != "ENTRY_NOT_SHOWN_YET" or time.monotonic() > end:
                raise
            time.sleep(0.2)


def taken(stream: Any, offset: int) -> tuple[pb.ReportHeader, bytes]:
    header, data = pb.ReportHeader(), b""
    for message in stream:
        match message.WhichOneof("part"):
            case "header":
                header = message.header
            case "chunk":
                assert message.chunk.offset == offset + len(data)
                assert 0 < len(message.chunk.data) <= 64 * 1024
                data += message.chunk.data
            case _:
                pass
    assert offset + len(data) == header.size
    return header, data


def refused(stub: pb_grpc.ReportServiceStub, **asked: Any) -> ClearingError:
    """Why a report is not pulled, or not downloaded."""
    offset = asked.pop("offset", 0)
    name = asked.pop("name").removeprefix("reports/")
    with pytest.raises(grpc.RpcError) as error:
        pulled(stub, name, offset, **asked)
    return of_call(error.value)


def rows(data: bytes, table: str) -> list[dict[str, str]]:
    """The rows of a table of a report in CSV."""
    lines = [line for line in csv.reader(data.decode().splitlines()) if line[0] == table]
    return [dict(zip(lines[0][1:], line[1:], strict=True)) for line in lines[1:]]


def test_everyone_is_shown_what_it_may_pull(served: Served) -> None:
    with reports(served, ALPHA) as alpha, reports(served, RITA) as rita:
        own = [r.name for r in alpha.ListReports(pb.ListReportsRequest()).reports]
        every = rita.ListReports(pb.ListReportsRequest())
        assert [r.name for r in every.reports] == [f"reports/{key}" for key in sorted(REPORTS)]
        assert own == [
            f"reports/{key}" for key in sorted(REPORTS) if REPORTS[key].audience is not Audience.WHOLE
        ]
        page = rita.ListReports(pb.ListReportsRequest(page_size=3))
        rest = rita.ListReports(pb.ListReportsRequest(page_token=page.next_page_token))
        assert [*page.reports, *rest.reports] == list(every.reports)


def test_the_journal_is_exported_whole_and_with_its_digest(served: Served) -> None:
    trade(served, 100)
    with reports(served, RITA) as rita:
        size = served.journal_size()
        header, data = pulled(rita, "journal", as_of=size)
    assert hashlib.sha256(data).hexdigest() == header.sha256
    assert (header.as_of, header.form) == (size, pb.REPORT_FORM_JSON)
    assert header.file_name == f"journal-{size}.json"
    assert len(data) > 64 * 1024, "more than a chunk"
    (table,) = json.loads(data)["tables"]
    assert [row[0] for row in table["rows"]] == [str(n) for n in range(size)]
    assert table["rows"][-1][2] == "TRADE_NOVATED"


def test_a_pull_is_journaled_before_a_byte_is_given_and_once(served: Served) -> None:
    with reports(served, RITA) as rita, served.client(RITA) as regulator:
        before = served.journal_size()
        own_id = new_id()
        name = pull(rita, "trial-balance", form="csv", request_id=own_id)
        assert name == f"reports/trial-balance/pulls/{own_id}"
        entry = regulator.ledger.GetEntry(ledger_pb.GetEntryRequest(name=f"entries/{before}")).entry
        assert (entry.kind, entry.actor) == ("REPORT_PULLED", RITA)
        ((_, _, asked),) = json.loads(entry.fact)
        assert (asked["report"], asked["as_of"], asked["form"]) == ("trial-balance", str(before), "csv")
        first = downloaded(rita, name)
        entry = regulator.ledger.GetEntry(ledger_pb.GetEntryRequest(name=f"entries/{before + 1}")).entry
        assert (entry.kind, entry.actor) == ("REPORT_SIGNED", "house/testhouse")
        size = served.journal_size()
        assert pull(rita, "trial-balance", form="csv", request_id=own_id) == name
        assert downloaded(rita, name) == first
        assert served.journal_size() == size
        with pytest.raises(grpc.RpcError) as error:
            pull(rita, "journal", request_id=own_id)
        assert of_call(error.value).reason == "IDEMPOTENCY_KEY_REUSED"


def test_a_pull_is_downloaded_by_who_pulls_and_by_nobody_else(served: Served) -> None:
    with reports(served, RITA) as rita, reports(served, ALPHA) as alpha, reports(served, ANNA) as anna:
        name = pull(rita, "trial-balance")
        for other in (alpha, anna):
            with pytest.raises(grpc.RpcError) as error:
                downloaded(other, name)
            assert of_call(error.value).reason == "REPORT_UNKNOWN"
        with pytest.raises(grpc.RpcError) as error:
            downloaded(rita, name.replace("trial-balance", "journal"))
        assert of_call(error.value).reason == "REPORT_UNKNOWN"


def test_what_is_only_tried_is_not_pulled(served: Served) -> None:
    with reports(served, RITA) as rita:
        size = served.journal_size()
        told = rita.PullReport(pull_request("reports/journal", request_id="tried", validate_only=True))
        assert (told.as_of, served.journal_size()) == (size, size)
        with pytest.raises(grpc.RpcError) as error:
            downloaded(rita, "reports/journal/pulls/tried")
        assert of_call(error.value).reason == "REPORT_UNKNOWN"


def test_a_download_that_broke_off_goes_on_with_the_same_bytes(served: Served) -> None:
    trade(served, 100)
    with reports(served, RITA) as rita:
        name = pull(rita, "journal")
        header, whole = downloaded(rita, name)
        stream = rita.DownloadReport(pb.DownloadReportRequest(name=name), timeout=60)
        begun = next(part.chunk.data for part in stream if part.WhichOneof("part") == "chunk")
        stream.cancel()
        trade(served)
        again, rest = downloaded(rita, name, len(begun))
        assert again == header
        assert begun + rest == whole
        assert hashlib.sha256(whole).hexdigest() == header.sha256
        assert downloaded(rita, name, header.size) == (header, b"")


def test_a_house_that_was_started_again_gives_the_same_files_and_signatures(tmp_path: Path) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        (name, {"form": form, "parameters": STATEMENT if name == "statement" else {}})
        for name in ("journal", "trial-balance", "statement")
        for form in ("json", "csv", "xlsx", "html")
    ]
    with served_house(tmp_path) as first, reports(first, RITA) as rita:
        trade(first, 3)
        size = first.journal_size()
        before = [pulled(rita, name, as_of=size, **more) for name, more in asked]
    kept = list((tmp_path / "house.db.reports").iterdir())
    for number, path in enumerate(sorted(kept)):
        if number % 2:
            path.unlink()  # what is lost is made again
        else:
            path.write_bytes(b"forged")
    with serving(tmp_path) as second, reports(second, RITA) as rita:
        trade(second, 2)
        assert [pulled(rita, name, as_of=size, **more) for name, more in asked] == before
        assert pulled(rita, "journal")[0].as_of > size


def test_the_trial_balance_balances(served: Served) -> None:
    trade(served)
    with reports(served, RITA) as rita:
        _, data = pulled(rita, "trial-balance", as_of=served.journal_size(), form="csv")
    sums: dict[str, int] = {}
    for row in rows(data, "accounts"):
        debit, credit = (int((row[side] or "0").replace(".", "")) for side in ("debit", "credit"))
        sums[row["unit"]] = sums.get(row["unit"], 0) + debit - credit
    assert sums == {"BTC-PERP": 0, "ETH": 0, "USDC": 0}


def test_a_member_pulls_the_statement_of_its_own_account(served: Served) -> None:
    trade(served, 2)
    with reports(served, ALPHA) as alpha:
        size = served.journal_size()
        _, data = pulled(alpha, "statement", as_of=size, parameters=STATEMENT, form="csv")
        lines = rows(data, "lines")
        assert [lines[0]["what"], lines[-1]["what"]] == ["opening balance", "closing balance"]
        assert lines[-1]["balance"] == lines[-2]["balance"]
        assert [line["amount"] for line in lines[-3:-1]] == ["0.001", "0.001"]
        later = STATEMENT | {"from_sequence": str(size - 1)}
        _, data = pulled(alpha, "statement", as_of=size, parameters=later, form="csv")
        assert len(rows(data, "lines")) == 3


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
        ({"parameters": STATEMENT, "as_of": 28, "offset": -1}, "REQUEST_INVALID"),
        ({"name": "reports/recompute-bundle", "form": "csv"}, "REQUEST_INVALID"),
        ({"parameters": STATEMENT, "form": "file"}, "REQUEST_INVALID"),
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
