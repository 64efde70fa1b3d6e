"""Requests, made: ids, trades, signed prices, pages. Nothing here speaks to a house."""

import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from clearing_client.prices import signed_text, ticks_of
from clearinghouse.v1 import house_service_pb2 as house_pb
from clearinghouse.v1 import price_service_pb2 as price_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb

ALL_MEMBERS = "members/-"
"""The parent of everything that you may see."""
PAGE_SIZE = 1_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Q = TypeVar("Q")


def new_id() -> str:
    """A fresh id whose order is that of time (UUIDv7), 32 hex digits: good for requests and trades."""
    time_ms, chance = time.time_ns() // 1_000_000, secrets.randbits(80)
    value = time_ms << 80 | chance
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return UUID(int=value).hex


def identified(request: Q) -> Q:
    """``request``, or a copy with a fresh request id if it wants one and has none.

    The caller's own message stays as it is: sent again, it is another request.
    """
    if not isinstance(request, Message) or "request_id" not in request.DESCRIPTOR.fields_by_name:
        return request
    changed = _copy(request)
    changed.request_id = changed.request_id or new_id()
    return cast("Q", changed)


def request_id_of(request: object) -> str:
    """The id of a request that changes something; empty for any other."""
    return str(getattr(request, "request_id", ""))


def page_after(request: Q, token: str) -> Q:
    """The request for the page at ``token``, as long as pages may be unless it says how long."""
    changed = _copy(request)
    changed.page_token = token
    changed.page_size = changed.page_size or PAGE_SIZE
    return cast("Q", changed)


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


def signed_prices(
    house: house_pb.House,
    source: str,
    prices: Mapping[str, str],
    *,
    key: Ed25519PrivateKey,
    sequence: int,
    observed: datetime | None = None,
) -> price_pb.PublishPricesRequest:
    """``prices`` (by feed, as decimals), signed for ``house``; observed now unless said otherwise.

    Raises ``ValueError`` for a feed that the house does not take, or a price between two ticks.
    """
    ticks = ticks_of(prices, {feed.name: feed.tick_size for feed in house.feeds})
    observed_ms = ((observed or datetime.now(UTC)) - EPOCH) // timedelta(milliseconds=1)
    return price_pb.PublishPricesRequest(
        source=source,
        observe_time=Timestamp(seconds=observed_ms // 1_000, nanos=observed_ms % 1_000 * 1_000_000),
        sequence=sequence,
        prices=[price_pb.FeedPrice(feed=feed, price=text) for feed, text in prices.items()],
        signature=key.sign(signed_text(house.house, source, observed_ms, sequence, ticks)),
    )


def _copy(request: Any) -> Any:
    copied = type(request)()
    copied.CopyFrom(request)
    return copied
