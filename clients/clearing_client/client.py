"""A typed client of a house: requests are made for you, pages are turned for you, errors say why.

Messages are those of the proto; every field is documented there. Example::

    with Client.connect("127.0.0.1:7443", Path("keys/clients/member/alpha")) as house:
        trade = new_trade("BTC-PERP", buyer=..., seller=..., size="0.5", price="64000.5")
        for result in house.submit_trades("members/alpha", [trade]).results:
            print(result.trade, result.reason or "novated")

A call that changes something takes a ``request_id``; without one a fresh one is made. To be sure that
something happens once, choose the id yourself and send the same call again until it is answered.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

import grpc
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clearing_client.connect import channel
from clearing_client.errors import of_call
from clearing_client.prices import signed_text, ticks_of
from clearinghouse.v1 import account_service_pb2 as account_pb
from clearinghouse.v1 import account_service_pb2_grpc as account_grpc
from clearinghouse.v1 import attestation_service_pb2 as attestation_pb
from clearinghouse.v1 import attestation_service_pb2_grpc as attestation_grpc
from clearinghouse.v1 import default_service_pb2 as default_pb
from clearinghouse.v1 import default_service_pb2_grpc as default_grpc
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import house_service_pb2_grpc as house_grpc
from clearinghouse.v1 import margin_service_pb2 as margin_pb
from clearinghouse.v1 import margin_service_pb2_grpc as margin_grpc
from clearinghouse.v1 import price_service_pb2 as price_pb
from clearinghouse.v1 import price_service_pb2_grpc as price_grpc
from clearinghouse.v1 import trade_service_pb2 as trade_pb
from clearinghouse.v1 import trade_service_pb2_grpc as trade_grpc

ALL_MEMBERS = "members/-"
"""Everything that you may see."""
PAGE_SIZE = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Q = TypeVar("Q", bound=Message)
A = TypeVar("A")
T = TypeVar("T")


def new_id() -> str:
    """A fresh id whose order is that of time (UUIDv7), 32 hex digits: good for requests and trades."""
    time_ms, chance = time.time_ns() // 1_000_000, secrets.randbits(80)
    value = time_ms << 80 | chance
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return UUID(int=value).hex


def new_trade(
    instrument: str,
    *,
    buyer: str,
    seller: str,
    size: str,
    price: str,
    trade_id: str | None = None,
    executed: datetime | None = None,
) -> trade_pb.NewTrade:
    """A trade to submit, executed now unless said otherwise. ``instrument`` may leave out its collection."""
    executed_at = Timestamp()
    executed_at.FromDatetime(executed or datetime.now(UTC))
    name = instrument if "/" in instrument else f"instruments/{instrument}"
    return trade_pb.NewTrade(
        trade_id=trade_id or new_id(),
        instrument=name,
        buyer=buyer,
        seller=seller,
        size=size,
        price=price,
        execute_time=executed_at,
    )


class Client:
    """A connection to a house. Every method raises :class:`clearing_client.errors.ClearingError`."""

    def __init__(self, connected: grpc.Channel) -> None:
        self._channel = connected
        self._trades = trade_grpc.TradeServiceStub(connected)
        self._prices = price_grpc.PriceServiceStub(connected)
        self._accounts = account_grpc.AccountServiceStub(connected)
        self._margins = margin_grpc.MarginServiceStub(connected)
        self._defaults = default_grpc.DefaultServiceStub(connected)
        self._attestations = attestation_grpc.AttestationServiceStub(connected)
        self._houses = house_grpc.HouseServiceStub(connected)

    @classmethod
    def connect(cls, address: str, keys: Path) -> "Client":
        """A client of the house at ``address`` (host:port) with the certificate in the directory ``keys``."""
        return cls(channel(address, keys))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # the house --------------------------------------------------------------------------------------------

    def house(self) -> house_pb.GetHouseResponse:
        """The house: units, instruments, cycle, gates, journal."""
        return _call(self._houses.GetHouse, house_pb.GetHouseRequest())

    # trades -----------------------------------------------------------------------------------------------

    def submit_trades(
        self, parent: str, trades: Iterable[trade_pb.NewTrade], request_id: str | None = None
    ) -> trade_pb.SubmitTradesResponse:
        """Submit trades of the member ``parent``; each gets its own result."""
        request = trade_pb.SubmitTradesRequest(
            parent=parent, request_id=request_id or new_id(), trades=trades
        )
        return _call(self._trades.SubmitTrades, request)

    def trade(self, name: str) -> trade_pb.Trade:
        """One novated trade."""
        return _call(self._trades.GetTrade, trade_pb.GetTradeRequest(name=name)).trade

    def trades(self, parent: str = ALL_MEMBERS) -> Iterator[trade_pb.Trade]:
        """Novated trades, by member and id."""
        request = trade_pb.ListTradesRequest(parent=parent, page_size=PAGE_SIZE)
        return _pages(self._trades.ListTrades, request, lambda page: page.trades)

    # prices -----------------------------------------------------------------------------------------------

    def publish_prices(
        self,
        source: str,
        prices: Mapping[str, str],
        *,
        key: Ed25519PrivateKey,
        sequence: int,
        observed: datetime | None = None,
        request_id: str | None = None,
    ) -> price_pb.PublishPricesResponse:
        """Sign and publish ``prices`` (by feed, as decimals), observed now unless said otherwise."""
        found = self.house().house
        ticks = ticks_of(prices, {feed.name: feed.tick_size for feed in found.feeds})
        observed_ms = _ms(observed or datetime.now(UTC))
        signed = signed_text(found.house, source, observed_ms, sequence, ticks)
        request = price_pb.PublishPricesRequest(
            source=source,
            request_id=request_id or new_id(),
            observe_time=Timestamp(seconds=observed_ms // 1_000, nanos=observed_ms % 1_000 * 1_000_000),
            sequence=sequence,
            prices=[price_pb.FeedPrice(feed=feed, price=text) for feed, text in prices.items()],
            signature=key.sign(signed),
        )
        return _call(self._prices.PublishPrices, request)

    def marks(self) -> Iterator[price_pb.Mark]:
        """The marks of the newest cycle, by feed."""
        request = price_pb.ListMarksRequest(page_size=PAGE_SIZE)
        return _pages(self._prices.ListMarks, request, lambda page: page.marks)

    # accounts ---------------------------------------------------------------------------------------------

    def account(self, name: str) -> account_pb.Account:
        """One account."""
        return _call(self._accounts.GetAccount, account_pb.GetAccountRequest(name=name)).account

    def accounts(self, parent: str = ALL_MEMBERS) -> Iterator[account_pb.Account]:
        """Accounts, by name."""
        request = account_pb.ListAccountsRequest(parent=parent, page_size=PAGE_SIZE)
        return _pages(self._accounts.ListAccounts, request, lambda page: page.accounts)

    def link_accounts(
        self, parent: str, participant: str, accounts: Sequence[str], request_id: str | None = None
    ) -> account_pb.LinkAccountsResponse:
        """Propose that ``accounts`` of ``participant`` be margined as one, or accept the same proposal."""
        request = account_pb.LinkAccountsRequest(
            parent=parent, request_id=request_id or new_id(), participant=participant, accounts=accounts
        )
        return _call(self._accounts.LinkAccounts, request)

    # margin -----------------------------------------------------------------------------------------------

    def margin(self, netting_set: str) -> margin_pb.Margin:
        """The margin of one netting set."""
        request = margin_pb.GetMarginRequest(netting_set=netting_set)
        return _call(self._margins.GetMargin, request).margin

    def margins(self) -> Iterator[margin_pb.Margin]:
        """The margin of every netting set that you may see."""
        request = margin_pb.ListMarginsRequest(page_size=PAGE_SIZE)
        return _pages(self._margins.ListMargins, request, lambda page: page.margins)

    def margin_calls(self) -> Iterator[margin_pb.MarginCall]:
        """Open calls on netting sets that you may see."""
        request = margin_pb.ListMarginCallsRequest(page_size=PAGE_SIZE)
        return _pages(self._margins.ListMarginCalls, request, lambda page: page.margin_calls)

    def preview_default(self, member: str, move_bp: int | None = None) -> margin_pb.PreviewDefaultResponse:
        """Who would pay if ``member`` failed now, after a move of all underlyings in basis points."""
        request = margin_pb.PreviewDefaultRequest(member=member, move_bp=move_bp)
        return _call(self._margins.PreviewDefault, request)

    # defaults ---------------------------------------------------------------------------------------------

    def default(self, name: str) -> default_pb.Default:
        """One default."""
        return _call(self._defaults.GetDefault, default_pb.GetDefaultRequest(name=name)).default

    def defaults(self) -> Iterator[default_pb.Default]:
        """Defaults, by name."""
        request = default_pb.ListDefaultsRequest(page_size=PAGE_SIZE)
        return _pages(self._defaults.ListDefaults, request, lambda page: page.defaults)

    # attestations -----------------------------------------------------------------------------------------

    def attestation(self, name: str = "attestations/latest") -> attestation_pb.Attestation:
        """One attestation."""
        request = attestation_pb.GetAttestationRequest(name=name)
        return _call(self._attestations.GetAttestation, request).attestation

    def attestations(self) -> Iterator[attestation_pb.Attestation]:
        """Attestations, by number."""
        request = attestation_pb.ListAttestationsRequest(page_size=PAGE_SIZE)
        return _pages(self._attestations.ListAttestations, request, lambda page: page.attestations)

    def checkpoint(self) -> str:
        """The newest signed checkpoint of the journal."""
        return _call(self._attestations.GetCheckpoint, attestation_pb.GetCheckpointRequest()).checkpoint


def _call(method: Callable[[Q], A], request: Q) -> A:
    try:
        return method(request)
    except grpc.RpcError as error:
        raise of_call(error) from None


def _pages(method: Callable[[Q], Any], request: Q, elements: Callable[[Any], Iterable[T]]) -> Iterator[T]:
    """Every element of every page."""
    while True:
        page = _call(method, request)
        yield from elements(page)
        if not page.next_page_token:
            return
        request = type(request).FromString(request.SerializeToString())
        request.page_token = page.next_page_token  # type: ignore[attr-defined]  # every List request has one


def _ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)
