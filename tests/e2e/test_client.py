"""The Python client, sync and asyncio, over mutual TLS against a served house."""

import asyncio
import io
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from clearing import keys as house_keys
from clearing.server.identity import parse_spiffe
from clearing_client.aio import AsyncClient, pages
from clearing_client.client import Client, new_trade
from clearing_client.connect import KeysUnreadable
from clearing_client.errors import ClearingError
from clearing_client.reports import pull_request
from clearinghouse.v1 import trade_service_pb2 as trade_pb
from tests import asking
from tests.serving import HOUSE, Served, served_house, serving

pytestmark = pytest.mark.slow

ALPHA = "member/alpha"
ONE, TWO = "members/alpha/accounts/one", "members/alpha/accounts/two"


def small_trade(size: str = "0.001") -> trade_pb.NewTrade:
    return new_trade("BTC-PERP", buyer=ONE, seller=TWO, size=size, price="64000.0")


def test_threads_that_submit_one_trade_each_get_each_their_own_result(served: Served) -> None:
    trades = [small_trade() for _ in range(64)]
    with served.client(ALPHA) as alpha, ThreadPoolExecutor(64) as pool:
        results = list(pool.map(lambda trade: alpha.submit_trade("members/alpha", trade), trades))
        assert {result.status for result in results} == {trade_pb.TRADE_STATUS_NOVATED}
        assert [result.trade.rpartition("/")[2] for result in results] == [t.trade_id for t in trades]
        assert {result.trade for result in results} <= {trade.name for trade in asking.trades(alpha)}


def test_asyncio_does_all_that_threads_do(served: Served) -> None:
    async def run() -> None:
        async with AsyncClient.connect(served.address, served.keys / "clients" / ALPHA) as alpha:
            tasks = [alpha.submit_trade("members/alpha", small_trade()) for _ in range(50)]
            results = await asyncio.gather(*tasks)
            assert {result.status for result in results} == {trade_pb.TRADE_STATUS_NOVATED}
            answer = await alpha.submit_trades("members/alpha", [small_trade()])
            request = trade_pb.ListTradesRequest(parent="members/alpha", page_size=20)
            names = {t.name async for page in pages(alpha.trades.ListTrades, request) for t in page.trades}
            assert {result.trade for result in (*results, *answer.results)} <= names
            with pytest.raises(ClearingError) as error:
                await alpha.submit_trades("members/beta", [small_trade()])
            assert (error.value.code, error.value.reason) == (grpc.StatusCode.PERMISSION_DENIED, "NOT_YOURS")
            with pytest.raises(ClearingError) as wrong:
                await alpha.submit_trade("members/alpha", small_trade("-1"))
            assert [v.field for v in wrong.value.violations] == ["trades[0].size"]
            assert wrong.value.request_id

    asyncio.run(run())


def test_events_are_followed_and_a_report_is_downloaded(served: Served) -> None:
    async def follow(after: int) -> int:
        async with AsyncClient.connect(served.address, served.keys / "clients" / ALPHA) as alpha:
            async for event in alpha.follow_events(after):
                return event.sequence
        raise AssertionError("events never end")

    with served.client(ALPHA) as alpha:
        before = alpha.house().journal_size
        alpha.submit_trade("members/alpha", small_trade())
        event = next(alpha.follow_events(before - 1))
        assert event.sequence >= before
        assert asyncio.run(follow(before - 1)) == event.sequence
    with served.client("regulator/rita") as rita:
        first, second = io.BytesIO(), io.BytesIO()
        header = rita.download_report(pull_request("reports/trial-balance"), first)
        again = pull_request("reports/trial-balance", as_of=header.as_of)
        assert rita.download_report(again, second) == header
        assert second.getvalue() == first.getvalue()
        assert len(first.getvalue()) == header.size > 0


def test_a_client_goes_on_over_a_restart_of_the_house(tmp_path: Path) -> None:
    with served_house(tmp_path) as first:
        alpha = first.client(ALPHA)
        size = alpha.house().journal_size
        stream = alpha.follow_events(size - 1)
        alpha.submit_trade("members/alpha", small_trade())
        seen = [next(stream).sequence]
        port = first.address.rpartition(":")[2]
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    with serving(tmp_path, "--listen", f"127.0.0.1:{port}"):
        result = alpha.submit_trade("members/alpha", small_trade())
        assert result.status == trade_pb.TRADE_STATUS_NOVATED
        while seen[-1] < alpha.house().journal_size - 1:
            seen.append(next(stream).sequence)
        assert seen == sorted(set(seen)), "no event twice"
    alpha.close()


def test_renewed_keys_are_used_from_the_next_connection_on(served: Served, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    shutil.copytree(served.keys / "clients" / "member" / "beta", keys)
    with Client.connect(served.address, keys) as client:
        assert {account.name.split("/")[1] for account in asking.accounts(client)} == {"beta"}
        shutil.copytree(served.keys / "clients" / ALPHA, keys, dirs_exist_ok=True)
        assert {account.name.split("/")[1] for account in asking.accounts(client)} == {"beta"}
        client.reconnect()
        assert {account.name.split("/")[1] for account in asking.accounts(client)} == {"alpha"}
        (keys / "client.key").unlink()
        with pytest.raises(KeysUnreadable, match=r"client\.key cannot be read"):
            client.reconnect()
        assert client.house().house.house == HOUSE, "the old connection is kept"


def test_an_async_client_reconnects_too(served: Served) -> None:
    async def run() -> None:
        async with AsyncClient.connect(served.address, served.keys / "clients" / ALPHA) as alpha:
            await alpha.house()
            await alpha.reconnect()
            assert (await alpha.house()).house.house == HOUSE

    asyncio.run(run())


def test_a_house_with_a_foreign_authority_is_not_spoken_to(served: Served, tmp_path: Path) -> None:
    house_keys.init(tmp_path / "other", HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{ALPHA}")])

    async def ask() -> None:
        async with AsyncClient.connect(served.address, tmp_path / "other" / "clients" / ALPHA) as deceived:
            await deceived.house()

    with pytest.raises(ClearingError) as error:
        asyncio.run(ask())
    assert error.value.unreachable
