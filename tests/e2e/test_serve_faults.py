"""A served house under faults and signals, as its callers see it: health, refusals, and that nothing is lost."""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clearing import keys as house_keys
from clearing.server.identity import parse_spiffe
from clearing_client.client import new_id, new_trade
from clearing_client.connect import channel
from clearing_client.errors import ClearingError
from clearinghouse.v1.trade_service_pb2 import NewTrade
from ledger.store.verify import Verified
from tests import asking, postgres
from tests.e2e.test_serve import ALPHA
from tests.integration.test_writer import only_on_postgresql
from tests.ledgers import PATIENCE_S, verified
from tests.serving import CLIENTS, HOUSE, Served, seed, serving, wait_until

pytestmark = pytest.mark.slow

SWIFT = """
import pathlib
from clearing import cli, main, publish
main.BEAT_S, publish.UNSHOWN_MAX_MS = 0.05, 300
real, offset = main.clock_ms, pathlib.Path({offset!r})
main.clock_ms = lambda: real() + int(offset.read_text())
cli.main()
"""
"""Twenty beats a second, a log that is soon late, and a clock that the test moves."""
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@contextmanager
def house_at(folder: Path, url: str) -> Iterator[Served]:
    """A house that is seeded in ``folder`` and served until the block is left."""
    keys, offset = folder / "keys", folder / "offset"
    offset.write_text("0")
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(folder, keys, url)
    with again_at(folder, url) as served:
        yield served


@contextmanager
def again_at(folder: Path, url: str) -> Iterator[Served]:
    anchor, tiles = folder / "house.db.anchor", folder / "house.db.tiles"
    options = ("--database", url, "--anchor", str(anchor), "--tiles-dir", str(tiles))
    with serving(folder, *options, program=SWIFT.format(offset=str(folder / "offset"))) as served:
        yield served


def health_of(served: Served) -> int:
    with channel(served.address, served.keys / "clients" / ALPHA) as connected:
        stub: Any = health_pb2_grpc.HealthStub(connected)
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S).status)


def small_trade() -> NewTrade:
    one, two = "members/alpha/accounts/one", "members/alpha/accounts/two"
    return new_trade("BTC-PERP", buyer=one, seller=two, size="0.001", price="64000.0")


def trade(served: Served, wanted: NewTrade | None = None, request_id: str | None = None) -> str:
    """The name of a trade that was done. Raises ``ClearingError``."""
    with served.client(ALPHA) as alpha:
        answer = alpha.submit_trades("members/alpha", [wanted or small_trade()], request_id or new_id())
        return answer.results[0].trade


def refusal(served: Served) -> str:
    with pytest.raises(ClearingError) as refused:
        trade(served)
    return refused.value.reason


def changes(served: Served) -> list[str]:
    lines = map(json.loads, (served.directory / "serve.log").read_text().splitlines())
    return [line["event"] for line in lines if line["event"] in ("not serving", "serving again")]


def require_back(served: Served, url: str, trades: list[str]) -> None:
    """Serving again, in the same process, with all that was answered; each change was logged once."""
    wait_until(lambda: health_of(served) == SERVING, PATIENCE_S)
    trades.append(trade(served))
    with served.client(ALPHA) as alpha:
        assert sorted(one.name for one in asking.trades(alpha, "members/alpha")) == sorted(trades)
    assert served.process.poll() is None
    assert isinstance(verified(url), Verified)


def test_a_log_that_cannot_be_shown_is_said_in_health_until_it_can(tmp_path: Path, url: str) -> None:
    with house_at(tmp_path, url) as served:
        assert health_of(served) == SERVING
        tiles, aside = tmp_path / "house.db.tiles", tmp_path / "aside"
        tiles.rename(aside)
        tiles.write_bytes(b"in the way")
        trades = [trade(served)]
        wait_until(lambda: health_of(served) == NOT_SERVING, PATIENCE_S)
        wait_until(lambda: refusal(served) == "STORE_UNAVAILABLE", PATIENCE_S)
        tiles.unlink()
        aside.rename(tiles)
        require_back(served, url, trades)
        assert changes(served)[0] == "not serving"
        assert changes(served)[-1] == "serving again"


def test_a_clock_that_steps_back_is_said_in_health_until_it_has_caught_up(tmp_path: Path, url: str) -> None:
    with house_at(tmp_path, url) as served:
        trades = [trade(served)]
        (tmp_path / "offset").write_text("-60000")
        wait_until(lambda: health_of(served) == NOT_SERVING, PATIENCE_S)
        assert refusal(served) == "CLOCK_WENT_BACK"
        (tmp_path / "offset").write_text("0")
        require_back(served, url, trades)
        assert changes(served) == ["not serving", "serving again"]


@only_on_postgresql
def test_a_database_that_goes_away_is_said_in_health_until_it_is_back(tmp_path: Path, url: str) -> None:
    with house_at(tmp_path, url) as served:
        trades, asked = [trade(served)], (small_trade(), new_id())
        with postgres.away(url):
            wait_until(lambda: health_of(served) == NOT_SERVING, PATIENCE_S)
            for _ in range(2):
                with pytest.raises(ClearingError) as refused:
                    trade(served, *asked)
                assert refused.value.reason in {"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN", "OVERLOADED"}
        wait_until(lambda: health_of(served) == SERVING, PATIENCE_S)
        trades.append(trade(served, *asked))
        assert trade(served, *asked) == trades[-1]
        require_back(served, url, trades)


# ---------------------------------------------------------------------------------------------------- signals


def calling(served: Served, over: threading.Event, told: dict[str, str]) -> None:
    """Trade until the house is gone; ``told`` has each id and its trade, or why there is none."""
    with served.client(ALPHA) as alpha:
        while not over.is_set():
            request_id = new_id()
            try:
                answer = alpha.submit_trades("members/alpha", [small_trade()], request_id)
                told[request_id] = answer.results[0].trade
            except ClearingError as error:
                told[request_id] = f"refused {error.code.name}"
                return


def test_a_house_that_is_told_to_stop_answers_what_runs_and_refuses_what_comes(
    tmp_path: Path, url: str
) -> None:
    over, told, watched = threading.Event(), dict[str, str](), list[int]()
    with house_at(tmp_path, url) as served:
        threads = [threading.Thread(target=calling, args=(served, over, told)) for _ in range(12)]
        with channel(served.address, served.keys / "clients" / ALPHA) as connected:
            stub: Any = health_pb2_grpc.HealthStub(connected)
            watching = threading.Thread(target=watch, args=(stub, watched))
            for thread in (watching, *threads):
                thread.start()
            wait_until(lambda: len(told) > 30, PATIENCE_S)
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(timeout=PATIENCE_S) == 0
            over.set()
            for thread in (watching, *threads):
                thread.join(PATIENCE_S)
    answered = {name for name in told.values() if not name.startswith("refused")}
    assert {name for name in told.values() if name.startswith("refused")} == {"refused UNAVAILABLE"}
    assert watched == [SERVING, NOT_SERVING]
    assert isinstance(verified(url), Verified)
    with again_at(tmp_path, url) as served, served.client(ALPHA) as alpha:
        assert {one.name for one in asking.trades(alpha, "members/alpha")} == answered, (
            "what was refused is not there"
        )


def watch(stub: Any, seen: list[int]) -> None:
    with contextlib.suppress(grpc.RpcError):
        seen.extend(answer.status for answer in stub.Watch(health_pb2.HealthCheckRequest()))


def test_a_second_signal_ends_the_house_at_once_and_what_was_answered_is_kept(
    tmp_path: Path, url: str
) -> None:
    with house_at(tmp_path, url) as served:
        name = trade(served)
        with channel(served.address, served.keys / "clients" / ALPHA) as connected:
            stub: Any = health_pb2_grpc.HealthStub(connected)
            open_stream = stub.Watch(health_pb2.HealthCheckRequest())
            assert next(open_stream).status == SERVING
            served.process.send_signal(signal.SIGTERM)
            assert next(open_stream).status == NOT_SERVING
            began = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(timeout=PATIENCE_S) == -signal.SIGTERM
            assert time.monotonic() - began < 5
    with again_at(tmp_path, url) as served, served.client(ALPHA) as alpha:
        assert [one.name for one in asking.trades(alpha, "members/alpha")] == [name]
