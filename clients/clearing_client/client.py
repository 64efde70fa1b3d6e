"""A typed client of a house: request ids are made for you, calls are tried again, errors say why.

Every method of the interface is there under its service; messages are those of the proto, where every field is
documented. Example::

    with Client.connect("127.0.0.1:7443", Path("keys/clients/member/alpha")) as house:
        trade = new_trade("BTC-PERP", buyer=..., seller=..., size="0.5", price="64000.5")
        result = house.submit_trade("members/alpha", trade)
        print(result.trade, result.reason or "novated")
        for page in pages(house.trades.ListTrades, ListTradesRequest(parent="members/alpha")):
            print(len(page.trades))

A call that changes something takes a ``request_id``; without one a fresh one is made. To be sure that something
happens once even if this program ends, choose the id yourself and send the same call again until it is answered.
A client is for any number of threads. :mod:`clearing_client.aio` is the same for asyncio.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing_client.calls import Calls, Metadata
from clearing_client.coalesce import Coalescer, Results
from clearing_client.connect import IDENTITY_METADATA, channel, insecure_channel
from clearing_client.errors import ClearingError
from clearing_client.following import Follower, Pauses
from clearing_client.reports import DOWNLOAD_TRIES_MAX, Download
from clearing_client.requests import ALL_MEMBERS, new_id, new_trade, page_after, signed_prices
from clearing_client.services import Services
from clearinghouse.v1 import event_service_pb2 as event_pb
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import price_service_pb2 as price_pb
from clearinghouse.v1 import report_service_pb2 as report_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb

__all__ = ["ALL_MEMBERS", "Client", "new_id", "new_trade", "pages"]

Q = TypeVar("Q")
A = TypeVar("A")


class Client(Services):
    """A connection to a house. Every call raises :class:`clearing_client.errors.ClearingError`."""

    def __init__(self, opened: Callable[[], grpc.Channel], metadata: Metadata = ()) -> None:
        """``opened`` opens a channel; every call carries ``metadata``."""
        self._opened, self._calls = opened, Calls(metadata)
        self._channel = opened()
        self._coalescer = Coalescer(self._send)
        super().__init__(grpc.intercept_channel(self._channel, self._calls))

    @classmethod
    def connect(cls, address: str, keys: Path) -> Self:
        """A client of the house at ``address`` (host:port) with the certificate in the directory ``keys``.

        Raises :class:`clearing_client.connect.KeysUnreadable`.
        """
        return cls(lambda: channel(address, keys))

    @classmethod
    def connect_insecurely(cls, address: str, identity: str) -> Self:
        """A client of a house on this machine that serves ``--insecure-loopback``, as ``identity``."""
        return cls(lambda: insecure_channel(address), ((IDENTITY_METADATA, identity),))

    def reconnect(self) -> None:
        """Connect anew with the keys as they are now on disk; calls that run are cut off (CANCELLED)."""
        before, self._channel = self._channel, self._opened()
        super().__init__(grpc.intercept_channel(self._channel, self._calls))
        before.close()

    def close(self) -> None:
        """Send what waits in :meth:`submit_trade`, then close the connection."""
        self._coalescer.close()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def house(self) -> house_pb.GetHouseResponse:
        """The house: units, instruments, cycle, gates, journal."""
        return self.houses.GetHouse(house_pb.GetHouseRequest())

    def submit_trade(self, parent: str, trade: trade_pb.NewTrade) -> trade_pb.TradeResult:
        """Submit one trade of the member ``parent``; calls of other threads travel in the same request."""
        return self._coalescer.submit(parent, trade)

    def submit_trades(
        self, parent: str, trades: Iterable[trade_pb.NewTrade], request_id: str = ""
    ) -> trade_pb.SubmitTradesResponse:
        """Submit trades of the member ``parent`` as one request; each gets its own result."""
        request = trade_pb.SubmitTradesRequest(parent=parent, request_id=request_id, trades=trades)
        return self.trades.SubmitTrades(request)

    def publish_prices(
        self,
        source: str,
        prices: Mapping[str, str],
        *,
        key: Ed25519PrivateKey,
        sequence: int,
        observed: datetime | None = None,
    ) -> price_pb.PublishPricesResponse:
        """Sign and publish ``prices`` (by feed, as decimals), observed now unless said otherwise."""
        request = signed_prices(
            self.house().house, source, prices, key=key, sequence=sequence, observed=observed
        )
        return self.prices.PublishPrices(request)

    def follow_events(
        self, after_sequence: int | None = None, kinds: Iterable[str] = ()
    ) -> Iterator[event_pb.Event]:
        """Every event that concerns you behind ``after_sequence``, in order, for ever, each once.

        Without a sequence it begins now. Lost connections are made again; keep ``event.sequence`` to go on
        after a restart of your own program.
        """
        follower = Follower.of(after_sequence, kinds)
        while True:
            ended: ClearingError | None = None
            try:
                for message in self.events.StreamEvents(follower.request()):
                    event = follower.take(message)
                    if event is not None:
                        yield event
            except ClearingError as error:
                ended = error
            time.sleep(follower.pauses.after(ended))

    def download_report(
        self,
        request: report_pb.PullReportRequest,
        into: BinaryIO,
        progress: Callable[[int, int], None] | None = None,
    ) -> report_pb.ReportHeader:
        """Pull a report into a file, its digest checked; what breaks off goes on from there.

        :func:`clearing_client.reports.pull_request` makes the request. With a ``request_id`` of your own and the same
        file, opened to be read and appended to (``a+b``), a later call goes on where this one ended.
        ``progress`` is told how many bytes have come, of how many; of 0 while the report is made.

        Raises :class:`clearing_client.reports.ReportBroken` if what comes is not what was promised.
        """
        download, pauses = Download(self.reports.PullReport(request).pull, into), Pauses(DOWNLOAD_TRIES_MAX)
        while True:
            try:
                for part in self.reports.DownloadReport(download.next_request()):
                    download.take(part)
                    pauses.reset()
                    if progress is not None:
                        progress(*download.progress)
                return download.checked()
            except ClearingError as error:
                wait_s = pauses.after(error)
            time.sleep(wait_s)

    def _send(self, parent: str, trades: list[trade_pb.NewTrade]) -> Results:
        return self.submit_trades(parent, trades).results


def pages(method: Callable[[Q], A], request: Q) -> Iterator[A]:
    """Every page of a list, such as ``pages(house.trades.ListTrades, ListTradesRequest(parent=ALL_MEMBERS))``."""
    token: Any = ""
    while True:
        page: Any = method(page_after(request, token))
        yield page
        token = page.next_page_token
        if not token:
            return
