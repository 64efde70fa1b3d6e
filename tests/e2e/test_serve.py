"""A real ``clearing serve`` over mTLS: what members, sources and foreign clients get from it."""

import base64
import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clearing import keys as house_keys
from clearing.server.identity import parse_spiffe
from clearing.server.interceptors import STREAMS_MAX
from clearing.server.services import DESCRIBED
from clearing_client.client import Client, new_id, new_trade
from clearing_client.connect import channel
from clearing_client.errors import ClearingError, of_call
from clearinghouse.scenario.v1 import scenario_service_pb2 as scenario
from clearinghouse.scenario.v1.scenario_service_pb2_grpc import ScenarioServiceStub
from clearinghouse.v1 import trade_service_pb2 as trade_pb
from clearinghouse.v1 import trade_service_pb2_grpc as trade_grpc
from tests import asking
from tests.serving import (
    HOUSE,
    SOURCES,
    Served,
    denials,
    environment,
    served_house,
    serving,
    signing_key,
    wait_until,
)

ALPHA, BETA, RITA, ANNA = "member/alpha", "member/beta", "regulator/rita", "administrator/anna"
ONE, TWO = "members/alpha/accounts/one", "members/alpha/accounts/two"
BUF = Path(sys.executable).parent / "buf"
Invoke: TypeAlias = "grpc.UnaryUnaryMultiCallable[Any, Any]"


def small_trade(trade_id: str | None = None, **changes: str) -> trade_pb.NewTrade:
    """A thousandth of a bitcoin from two to one, at the mark."""
    trade = new_trade("BTC-PERP", trade_id=trade_id, buyer=ONE, seller=TWO, size="0.001", price="64000.0")
    for name, text in changes.items():
        setattr(trade, name, text)
    return trade


def size_of(client: Client, account: str = ONE) -> str:
    """The account's bitcoin position."""
    return next((p.size for p in asking.account(client, account).positions), "0.000")


def refusal(client: Client, trade: trade_pb.NewTrade, parent: str = "members/alpha") -> ClearingError:
    """Why the house refuses a batch of this trade."""
    with pytest.raises(ClearingError) as error:
        client.submit_trades(parent, [trade])
    return error.value


# trades -------------------------------------------------------------------------------------------------


def test_a_trade_is_novated_and_can_be_read_back(served: Served) -> None:
    with served.client(ALPHA) as alpha:
        before = served.journal_size()
        trade = small_trade(size="0.5", price="64000.5")
        (result,) = alpha.submit_trades("members/alpha", [trade]).results
        assert result.status == trade_pb.TRADE_STATUS_NOVATED, result
        found = asking.trade(alpha, result.trade)
        assert (found.size, found.price, found.buyer, found.seller) == ("0.500", "64000.5", ONE, TWO)
        assert found.execute_time.ToMilliseconds() == trade.execute_time.ToMilliseconds()
        assert found in asking.trades(alpha, "members/alpha")
        assert (size_of(alpha, ONE), size_of(alpha, TWO)) == ("0.500", "-0.500")
    assert served.journal_size() == before + 1


def test_the_same_request_twice_is_one_trade_and_one_answer(served: Served) -> None:
    with served.client(ALPHA) as alpha:
        trade, request_id = small_trade(), new_id()
        first = alpha.submit_trades("members/alpha", [trade], request_id)
        before = served.journal_size(), size_of(alpha)
        assert alpha.submit_trades("members/alpha", [trade], request_id) == first
        assert (served.journal_size(), size_of(alpha)) == before


def test_the_same_request_id_with_another_body_is_refused_and_changes_nothing(served: Served) -> None:
    with served.client(ALPHA) as alpha:
        request_id = new_id()
        alpha.submit_trades("members/alpha", [small_trade()], request_id)
        before = served.journal_size()
        with pytest.raises(ClearingError) as error:
            alpha.submit_trades("members/alpha", [small_trade(size="0.002")], request_id)
        assert (error.value.code, error.value.reason) == (
            grpc.StatusCode.ALREADY_EXISTS,
            "IDEMPOTENCY_KEY_REUSED",
        )
        assert served.journal_size() == before


def test_request_ids_of_two_members_never_meet(served: Served) -> None:
    with served.client(ALPHA) as alpha, served.client(BETA) as beta:
        request_id = new_id()
        alpha.submit_trades("members/alpha", [small_trade()], request_id)
        own = small_trade(buyer="members/beta/accounts/one", seller="members/beta/accounts/house")
        (result,) = beta.submit_trades("members/beta", [own], request_id).results
        assert result.reason == "MARGIN_INSUFFICIENT", "beta's house account has no cash"


def test_each_trade_of_a_batch_gets_its_own_result(served: Served) -> None:
    with served.client(ALPHA) as alpha:
        known = small_trade("batch-1")
        batch = [
            *(known, known, small_trade("batch-1", size="0.002"), small_trade("batch-2", price="70500.0")),
            small_trade("batch-3", buyer="members/alpha/accounts/nobody"),
            small_trade("batch-4", buyer="members/beta/accounts/one"),
            small_trade("batch-5", instrument="instruments/DOGE-PERP"),
        ]
        results = alpha.submit_trades("members/alpha", batch).results
        assert [(r.status == trade_pb.TRADE_STATUS_NOVATED, r.reason) for r in results] == [
            (True, ""),
            (True, "TRADE_DUPLICATE"),
            (False, "TRADE_ID_REUSED"),
            (False, "PRICE_OUTSIDE_BAND"),
            (False, "ACCOUNT_UNKNOWN"),
            (False, "ACCOUNT_NOT_YOURS"),
            (False, "INSTRUMENT_UNKNOWN"),
        ]


def test_every_wrong_field_is_named_at_once_and_nothing_happens(served: Served) -> None:
    before = served.journal_size()
    with served.client(ALPHA) as alpha:
        wrong = small_trade("Not An Id", size="0.0005", price="NaN", buyer="one")
        error = refusal(alpha, wrong)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert {violation.field for violation in error.violations} == {
        *("trades[0].trade_id", "trades[0].size", "trades[0].price", "trades[0].buyer"),
    }
    assert served.journal_size() == before


def test_pages_of_a_list_are_the_whole_list(served: Served) -> None:
    with served.client(ALPHA) as alpha, channel(served.address, served.keys / "clients" / ALPHA) as connected:
        alpha.submit_trades("members/alpha", [small_trade() for _ in range(5)])
        stub, token = trade_grpc.TradeServiceStub(connected), ""
        found: list[trade_pb.Trade] = []
        while True:
            page = stub.ListTrades(
                trade_pb.ListTradesRequest(parent="members/-", page_size=2, page_token=token)
            )
            found += page.trades
            token = page.next_page_token
            if not token:
                break
        assert found == asking.trades(alpha)
        forged = trade_pb.ListTradesRequest(parent="members/-", page_token="bm90IGEgdG9rZW4=")
        with pytest.raises(grpc.RpcError) as error:
            stub.ListTrades(forged)
        assert of_call(error.value).violations[0].field == "page_token"


def test_many_callers_at_once_all_get_their_own_trade_once(served: Served) -> None:
    with served.client(ALPHA) as alpha:
        before = served.journal_size()
        with ThreadPoolExecutor(16) as pool:
            requests = [(new_id(), small_trade()) for _ in range(40)] * 2
            answers = list(pool.map(lambda r: alpha.submit_trades("members/alpha", [r[1]], r[0]), requests))
        assert {a.results[0].status for a in answers} == {trade_pb.TRADE_STATUS_NOVATED}
        assert answers[:40] == answers[40:]
    assert served.journal_size() == before + 40


# authority ----------------------------------------------------------------------------------------------


def test_another_members_things_are_denied_and_nothing_changes(served: Served) -> None:
    before = served.journal_size()
    with served.client(BETA) as beta:
        attempts = (
            lambda: asking.account(beta, ONE),
            lambda: asking.accounts(beta, "members/alpha"),
            lambda: asking.trades(beta, "members/alpha"),
            lambda: asking.margin(beta, "nettingSets/alpha~one"),
            lambda: beta.submit_trades("members/alpha", [small_trade()]),
            lambda: asking.link_accounts(beta, "members/alpha", "participants/pat", [ONE, TWO]),
        )
        for attempt in attempts:
            with pytest.raises(ClearingError) as error:
                attempt()
            assert (error.value.code, error.value.reason) == (
                grpc.StatusCode.PERMISSION_DENIED,
                "NOT_YOURS",
            )
    assert served.journal_size() == before
    assert {
        "method": "/clearinghouse.v1.TradeService/SubmitTrades",
        "caller": BETA,
        "reason": "NOT_YOURS",
    }.items() <= (
        next(
            d for d in denials(served) if d["method"].endswith("SubmitTrades") and d["caller"] == BETA
        ).items()
    )


def test_lists_show_a_member_what_is_its_own_and_a_regulator_everything(served: Served) -> None:
    with served.client(BETA) as beta, served.client(RITA) as rita:
        assert {account.name.split("/")[1] for account in asking.accounts(beta)} == {"beta"}
        assert {margin.netting_set for margin in asking.margins(beta)} == {
            "nettingSets/beta~house",
            "nettingSets/beta~one",
        }
        assert {account.name.split("/")[1] for account in asking.accounts(rita)} == {"alpha", "beta"}
        assert len(asking.margins(rita)) == 5


def test_without_a_certificate_or_with_a_foreign_one_nobody_gets_in(served: Served, tmp_path: Path) -> None:
    own = served.keys / "clients" / ALPHA
    house_keys.init(tmp_path / "other", HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/member/alpha")])
    foreign = tmp_path / "other" / "clients" / ALPHA
    ca = (own / "ca.crt").read_bytes()
    nothing = grpc.ssl_channel_credentials(root_certificates=ca)
    stranger = grpc.ssl_channel_credentials(
        ca, (foreign / "client.key").read_bytes(), (foreign / "client.crt").read_bytes()
    )
    for credentials in (nothing, stranger):
        with (
            grpc.secure_channel(served.address, credentials) as connected,
            pytest.raises(grpc.RpcError) as error,
        ):
            trade_grpc.TradeServiceStub(connected).GetTrade(trade_pb.GetTradeRequest(), timeout=5)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(served.address) as connected, pytest.raises(grpc.RpcError) as error:
        trade_grpc.TradeServiceStub(connected).GetTrade(trade_pb.GetTradeRequest(), timeout=5)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.slow
def test_a_client_that_trusts_another_authority_does_not_talk_to_the_house(
    served: Served, tmp_path: Path
) -> None:
    house_keys.init(tmp_path / "other", HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/member/alpha")])
    with Client.connect(served.address, tmp_path / "other" / "clients" / ALPHA) as deceived:
        with pytest.raises(ClearingError) as error:
            deceived.house()
        assert error.value.unreachable


def test_an_unknown_method_is_unimplemented(served: Served) -> None:
    with channel(served.address, served.keys / "clients" / ALPHA) as connected:
        invoke: Invoke = connected.unary_unary("/clearinghouse.v1.TradeService/DeleteTrades")
        with pytest.raises(grpc.RpcError) as error:
            invoke(b"")
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_and_messages_that_are_too_big_do_no_harm(served: Served) -> None:
    with channel(served.address, served.keys / "clients" / ALPHA) as connected:
        invoke: Invoke = connected.unary_unary("/clearinghouse.v1.TradeService/SubmitTrades")
        for junk, codes in (
            (b"\xff" * 100, {grpc.StatusCode.INVALID_ARGUMENT}),
            (bytes(5_000_000), {grpc.StatusCode.RESOURCE_EXHAUSTED}),
        ):
            with pytest.raises(grpc.RpcError) as error:
                invoke(junk)
            assert error.value.code() in codes
    assert served.journal_size() > 0


# prices, margin, defaults, attestations -----------------------------------------------------------------


def test_signed_prices_of_a_quorum_run_a_cycle_that_is_attested(served: Served) -> None:
    with served.client(ANNA) as anna:
        before = anna.house().house.cycle
        ran = []
        for source in SOURCES:
            with served.client(f"price-source/{source}") as client:
                prices = {"feeds/BTC": "64100.0", "feeds/ETH": "2001.5"}
                key = signing_key(served.keys, source)
                answer = client.publish_prices(f"sources/{source}", prices, key=key, sequence=2)
                ran.append(answer.cycle_ran)
        assert ran == [False, False, True]
        assert anna.house().house.cycle == before + 1
        marks = {mark.feed: (mark.price, list(mark.sources)) for mark in asking.marks(anna)}
        assert marks["feeds/ETH"] == ("2001.5", ["sources/s1", "sources/s2", "sources/s3"])
        wait_until(lambda: len(asking.attestations(anna)) == before + 1)
        latest = asking.attestation(anna)
        assert latest == asking.attestations(anna)[-1]
        assert asking.attestation(anna, "attestations/1").name == "attestations/1"
        wait_until(
            lambda: asking.checkpoint(anna).startswith(f"{HOUSE}/journal\n{anna.house().journal_size}\n")
        )


def test_a_source_publishes_under_its_own_name_and_key_only(served: Served) -> None:
    before = served.journal_size()
    with served.client("price-source/s1") as s1:
        prices, sequence = {"feeds/BTC": "64000.0"}, 9
        for source, signer, reason in (
            ("sources/s2", "s2", "NOT_YOURS"),
            ("sources/s1", "s2", "SIGNATURE_INVALID"),
        ):
            with pytest.raises(ClearingError) as error:
                s1.publish_prices(source, prices, key=signing_key(served.keys, signer), sequence=sequence)
            assert (error.value.code, error.value.reason) == (grpc.StatusCode.PERMISSION_DENIED, reason)
        with pytest.raises(ValueError, match="whole number of ticks"):
            s1.publish_prices(
                "sources/s1", {"feeds/BTC": "0.05"}, key=signing_key(served.keys, "s1"), sequence=9
            )
    assert served.journal_size() == before


def test_accounts_of_two_members_are_linked_once_both_have_asked(served: Served) -> None:
    pair = [ONE, "members/beta/accounts/one"]
    with served.client(ALPHA) as alpha, served.client(BETA) as beta:
        proposed = asking.link_accounts(alpha, "members/alpha", "participants/pat", pair)
        linked = asking.link_accounts(beta, "members/beta", "participants/pat", pair)
        assert (proposed.status, linked.status) == (1, 2)
        assert proposed.netting_set == linked.netting_set == "nettingSets/link~pat"
        for member in (alpha, beta):
            assert list(asking.margin(member, "nettingSets/link~pat").accounts) == pair
        with pytest.raises(ClearingError) as error:
            asking.account(beta, ONE)
        assert error.value.reason == "NOT_YOURS", "a link shows margin, not the other member's account"


def test_who_would_pay_is_answered_and_sums_to_the_loss(served: Served) -> None:
    with served.client(ANNA) as anna:
        before = anna.house().journal_size
        found = asking.preview_default(anna, "members/alpha", -9_000)
        assert {move.move_bp for move in found.moves} == {-9_000}
        assert len(found.tiers) == 8
        assert anna.house().journal_size == before
        with pytest.raises(ClearingError) as error:
            asking.preview_default(anna, "members/alpha", -10_000)
        assert error.value.violations[0].field == "move_bp"
        assert asking.defaults(anna) == []


# foreign clients ----------------------------------------------------------------------------------------


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment())


def buf_curl(served: Served, *options: str, method: str = "") -> subprocess.CompletedProcess[str]:
    """``buf curl`` with alpha's certificate."""
    keys = served.keys / "clients" / ALPHA
    certificates = [f"--cacert={keys}/ca.crt", f"--cert={keys}/client.crt", f"--key={keys}/client.key"]
    return run(
        str(BUF), "curl", "--protocol=grpc", *certificates, *options, f"https://{served.address}/{method}"
    )


def curl(served: Served, method: str, body: dict[str, Any], *options: str) -> tuple[int, dict[str, Any]]:
    """Call ``method``: the exit code and what was printed."""
    done = buf_curl(served, *options, "-d", json.dumps(body), method=method)
    return done.returncode, json.loads(done.stdout or done.stderr)


@pytest.mark.parametrize("schema", [(), ("--schema", "generated/image.binpb")], ids=["reflection", "schema"])
def test_buf_curl_submits_a_trade_and_reads_an_error_with_details(
    served: Served, schema: tuple[str, ...]
) -> None:
    method = "clearinghouse.v1.TradeService/SubmitTrades"
    trade = {
        "tradeId": f"curl-{len(schema)}",
        "instrument": "instruments/BTC-PERP",
        "buyer": ONE,
        "seller": TWO,
        "size": "0.001",
        "price": "64000",
        "executeTime": "2026-01-01T00:00:00Z",
    }
    body: dict[str, Any] = {"parent": "members/alpha", "requestId": new_id(), "trades": [trade]}
    code, answer = curl(served, method, body, *schema)
    assert (code, answer["results"][0]["status"]) == (0, "TRADE_STATUS_NOVATED")
    code, error = curl(served, method, body | {"trades": [trade | {"size": "-1"}]}, *schema)
    assert (code != 0, error["code"]) == (True, "invalid_argument")
    info, bad = (base64.b64decode(detail["value"] + "==") for detail in error["details"])
    assert ErrorInfo.FromString(info).reason == "REQUEST_INVALID"
    assert BadRequest.FromString(bad).field_violations[0].field == "trades[0].size"


def test_reflection_lists_every_service(served: Served) -> None:
    listed = buf_curl(served, "--list-services")
    assert {service.full_name for service in DESCRIBED} <= set(listed.stdout.split())


def test_health_says_serving(served: Served) -> None:
    with channel(served.address, served.keys / "clients" / ALPHA) as connected:
        stub = health_pb2_grpc.HealthStub(connected)
        for service in ("", "clearinghouse.v1.TradeService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_idle_streams_cannot_starve_the_calls(served: Served) -> None:
    """A reflection stream keeps a thread; beyond their places streams are refused, and calls go on."""
    asked_nothing = threading.Event()
    members = (ALPHA, BETA, "custodian/vault")
    with ExitStack() as stack:
        connections = [
            stack.enter_context(channel(served.address, served.keys / "clients" / m)) for m in members
        ]
        idle = [
            open_stream(connected, asked_nothing)
            for connected in connections
            for _ in range(STREAMS_MAX // 3 + 10)
        ]
        with served.client(ANNA) as anna:
            assert anna.house().journal_size > 0
        wait_until(lambda: sum(stream.done() for stream in idle) >= len(idle) - STREAMS_MAX)
        refused = [of_call(stream) for stream in idle if stream.done()]
        assert {(error.code, error.reason) for error in refused} == {
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "STREAMS_TAKEN")
        }
        for stream in idle:
            stream.cancel()
        asked_nothing.set()


def open_stream(connected: grpc.Channel, asked_nothing: threading.Event) -> Any:
    """A stream of requests in which none comes."""
    opened: Any = connected.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    return opened(iter(asked_nothing.wait, True))


# the process --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_house_that_is_killed_keeps_what_it_answered_and_answers_it_again(tmp_path: Path) -> None:
    trade, request_id = small_trade("before"), new_id()
    with served_house(tmp_path) as first, first.client(ALPHA) as alpha:
        answer = alpha.submit_trades("members/alpha", [trade], request_id)
        size = first.journal_size()
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with serving(tmp_path) as second, second.client(ALPHA) as alpha:
        assert second.journal_size() == size
        assert alpha.submit_trades("members/alpha", [trade], request_id) == answer
        assert second.journal_size() == size
        assert size_of(alpha) == "0.001"


def test_a_second_server_on_the_same_journal_is_refused(served: Served) -> None:
    options = ["--database", f"sqlite:///{served.directory / 'house.db'}", "--keys", str(served.keys)]
    serve = "from clearing.cli import main; main()"
    refused = run(sys.executable, "-c", serve, "serve", *options, "--listen", "127.0.0.1:0")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "another process writes to this database" in refused.stderr


@pytest.mark.slow
def test_keys_of_another_house_do_not_serve_this_one(tmp_path: Path) -> None:
    with served_house(tmp_path):
        pass
    house_keys.init(tmp_path / "other", "otherhouse", [])
    options = [f"--database=sqlite:///{tmp_path / 'house.db'}", f"--keys={tmp_path / 'other'}"]
    serve = "from clearing.cli import main; main()"
    refused = run(sys.executable, "-c", serve, "serve", *options, "--listen=127.0.0.1:0")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "the keys are of otherhouse, the journal is of testhouse" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--listen=nonsense", "listen: write HOST:PORT"),
        ("--listen=127.0.0.1:70000", "listen: write HOST:PORT"),
        ("--listen=192.0.2.1:0", "cannot listen on 192.0.2.1:0"),
        ("--database=mysql://x", "database: write sqlite:///FILE"),
        ("--database=sqlite:///:memory:", "database: write sqlite:///FILE"),
        (
            "--database=postgresql://u:p@h/",
            "database: write sqlite:///FILE or postgresql://USER@HOST/DATABASE",
        ),
        (
            "--database=postgresql://u@127.0.0.1:1/db",
            "the database cannot be opened: (psycopg.OperationalError)",
        ),
        (
            "--database=sqlite:////nowhere/house.db",
            "the database cannot be opened: (sqlite3.OperationalError)",
        ),
        ("--keys=nowhere", "nowhere/server.crt cannot be read"),
        ("--anchor=nowhere/anchor", "the anchor nowhere/anchor cannot be kept: No such file or directory"),
        ("--tiles-dir=pyproject.toml", "cannot be read or written: [Errno 20] Not a directory"),
        ("--anchor=docs", "the log or its anchor cannot be read or written: [Errno 21] Is a directory"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, option: str, complaint: str) -> None:
    house_keys.init(tmp_path / "keys", HOUSE, [])
    options = [
        *(f"--database=sqlite:///{tmp_path / 'house.db'}", f"--keys={tmp_path / 'keys'}"),
        *(f"--anchor={tmp_path / 'anchor'}", f"--tiles-dir={tmp_path / 'tiles'}", option),
    ]
    serve = "from clearing.cli import main; main()"
    refused = run(sys.executable, "-c", serve, "serve", *options)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert complaint in refused.stderr


@pytest.mark.slow
def test_a_house_on_a_server_is_told_where_anchor_and_tiles_are(tmp_path: Path) -> None:
    house_keys.init(tmp_path / "keys", HOUSE, [])
    options = ["--database=postgresql://u@127.0.0.1:1/db", f"--keys={tmp_path / 'keys'}"]
    serve = "from clearing.cli import main; main()"
    for given, missing in (
        ([], ("anchor: say --anchor FILE", "tiles_dir: say --tiles-dir DIR")),
        (["--tiles-dir=tiles"], ("anchor: say --anchor FILE",)),
        (["--anchor=anchor"], ("tiles_dir: say --tiles-dir DIR",)),
    ):
        refused = run(sys.executable, "-c", serve, "serve", *options, *given)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.count(": say --") == len(missing)
        assert all(sentence in refused.stderr for sentence in missing)


def test_one_folder_for_everything_public_is_whole_and_a_stop_shows_the_last_of_it(tmp_path: Path) -> None:
    public = tmp_path / "everything"
    seeded = "--state", str(public), "--tiles-dir", str(public)
    with served_house(tmp_path, *seeded) as running, running.client(ALPHA) as alpha:
        alpha.submit_trades("members/alpha", [small_trade()])
        size = running.journal_size()
    verify = ("verify", "--policy", str(public / "policy.txt"), "--dir", str(public))
    done = run(sys.executable, "-c", "from clearctl.app import main; main()", *verify)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"all {size} leaves are covered" in done.stdout


def test_sigterm_stops_the_house_cleanly(tmp_path: Path) -> None:
    with served_house(tmp_path) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=20) == 0
        assert (tmp_path / "serve.log").read_text() == ""


def test_a_house_that_is_no_demonstration_has_no_clock_to_be_stepped(served: Served) -> None:
    """Neither is it started with one, nor does a running house know the service."""
    serve = ["-c", "from clearing.cli import main; main()", "serve", "--keys", str(served.keys)]
    refused = run(sys.executable, *serve, "--scenario-clock", "7", "--listen", "127.0.0.1:0")
    assert refused.returncode == 1
    assert "--scenario-clock is for demonstrations" in refused.stderr
    with channel(served.address, served.keys / "clients" / ANNA) as connected:
        with pytest.raises(grpc.RpcError) as error:
            ScenarioServiceStub(connected).SetClock(scenario.SetClockRequest())
        assert of_call(error.value).code is grpc.StatusCode.UNIMPLEMENTED
