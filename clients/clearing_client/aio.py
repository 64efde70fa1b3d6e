"""The client for asyncio; see :mod:`clearing_client.client`, of which it has every method.

    async with AsyncClient.connect("127.0.0.1:7443", Path("keys/clients/member/alpha")) as house:
        results = await asyncio.gather(*(house.submit_trade("members/alpha", trade) for trade in trades))

A client belongs to the event loop in which it was connected.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing_client.calls import async_calls
from clearing_client.coalesce import AsyncCoalescer, Results
from clearing_client.connect import IDENTITY_METADATA, async_channel, insecure_async_channel
from clearing_client.errors import ClearingError
from clearing_client.following import Follower, Pauses
from clearing_client.reports import DOWNLOAD_TRIES_MAX, Download
from clearing_client.requests import page_after, signed_prices
from clearing_client.services import AsyncServices
from clearinghouse.v1 import event_service_pb2 as event_pb
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import price_service_pb2 as price_pb
from clearinghouse.v1 import report_service_pb2 as report_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb

__all__ = ["AsyncClient", "pages"]

Q = TypeVar("Q")
A = TypeVar("A")


class AsyncClient(AsyncServices):
    """A connection to a house. Every call raises :class:`clearing_client.errors.ClearingError`."""

    def __init__(self, opened: Callable[[], grpc.aio.Channel]) -> None:
        """``opened`` opens a channel with the interceptors of :mod:`clearing_client.calls`."""
        self._opened = opened
        self._channel = opened()
        self._coalescer = AsyncCoalescer(self._send)
        super().__init__(self._channel)

    @classmethod
    def connect(cls, address: str, keys: Path) -> Self:
        """A client of the house at ``address`` (host:port) with the certificate in the directory ``keys``.

        Raises :class:`clearing_client.connect.KeysUnreadable`.
        """
        return cls(lambda: async_channel(address, keys, async_calls()))

    @classmethod
    def connect_insecurely(cls, address: str, identity: str) -> Self:
        """A client of a house on this machine that serves ``--insecure-loopback``, as ``identity``."""
        made = ((IDENTITY_METADATA, identity),)
        return cls(lambda: insecure_async_channel(address, async_calls(made)))

    async def reconnect(self) -> None:
        """Connect anew with the keys as they are now on disk; calls that run are cut off (CANCELLED)."""
        before, self._channel = self._channel, self._opened()
        super().__init__(self._channel)
        await before.close()

    async def close(self) -> None:
        """Send what waits in :meth:`submit_trade`, then close the connection."""
        await self._coalescer.close()
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def house(self) -> house_pb.GetHouseResponse:
        """The house: units, instruments, cycle, gates, journal."""
        return await self.houses.GetHouse(house_pb.GetHouseRequest())

    async def submit_trade(self, parent: str, trade: trade_pb.NewTrade) -> trade_pb.TradeResult:
        """Submit one trade of the member ``parent``; calls of other tasks travel in the same request."""
        return await self._coalescer.submit(parent, trade)

    async def submit_trades(
        self, parent: str, trades: Iterable[trade_pb.NewTrade], request_id: str = ""
    ) -> trade_pb.SubmitTradesResponse:
        """Submit trades of the member ``parent`` as one request; each gets its own result."""
        request = trade_pb.SubmitTradesRequest(parent=parent, request_id=request_id, trades=trades)
        return await self.trades.SubmitTrades(request)

    async def publish_prices(
        self,
        source: str,
        prices: Mapping[str, str],
        *,
        key: Ed25519PrivateKey,
        sequence: int,
        observed: datetime | None = None,
    ) -> price_pb.PublishPricesResponse:
        """Sign and publish ``prices`` (by feed, as decimals), observed now unless said otherwise."""
        found = (await self.house()).house
        request = signed_prices(found, source, prices, key=key, sequence=sequence, observed=observed)
        return await self.prices.PublishPrices(request)

    async def follow_events(
        self, after_sequence: int | None = None, kinds: Iterable[str] = ()
    ) -> AsyncIterator[event_pb.Event]:
        """Every event that concerns you behind ``after_sequence``, in order, for ever, each once.

        Without a sequence it begins now. Lost connections are made again; keep ``event.sequence`` to go on
        after a restart of your own program.
        """
        follower = Follower.of(after_sequence, kinds)
        while True:
            ended: ClearingError | None = None
            try:
                async for message in self.events.StreamEvents(follower.request()):
                    event = follower.take(message)
                    if event is not None:
                        yield event
            except ClearingError as error:
                ended = error
            await asyncio.sleep(follower.pauses.after(ended))

    async def download_report(
        self, request: report_pb.PullReportRequest, into: BinaryIO
    ) -> report_pb.ReportHeader:
        """Pull a report into a file, its digest checked; what breaks off goes on from there.

        Raises :class:`clearing_client.reports.ReportBroken` if what comes is not what was promised.
        """
        pulled = await self.reports.PullReport(request)
        download, pauses = Download(pulled.pull, into), Pauses(DOWNLOAD_TRIES_MAX)
        while True:
            try:
                async for part in self.reports.DownloadReport(download.next_request()):
                    download.take(part)
                    pauses.reset()
                return download.checked()
            except ClearingError as error:
                wait_s = pauses.after(error)
            await asyncio.sleep(wait_s)

    async def _send(self, parent: str, trades: Sequence[trade_pb.NewTrade]) -> Results:
        return (await self.submit_trades(parent, trades)).results


async def pages(method: Callable[[Q], Awaitable[A]], request: Q) -> AsyncIterator[A]:
    """Every page of a list, such as ``pages(house.trades.ListTrades, ListTradesRequest(parent=ALL_MEMBERS))``."""
    token: Any = ""
    while True:
        page: Any = await method(page_after(request, token))
        yield page
        token = page.next_page_token
        if not token:
            return
