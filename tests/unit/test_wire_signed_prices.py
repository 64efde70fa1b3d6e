"""A source signs with the client what the house checks."""

import pytest

from clearing.market.prices import signed_bytes
from clearing.model.commands import PriceObservation
from clearing.model.ids import FeedId, SourceId
from clearing_client.prices import signed_text, ticks_of

TICKS = {"feeds/BTC": "0.1", "feeds/ETH": "0.05"}


def test_client_and_house_write_the_same_bytes() -> None:
    ticks = ticks_of({"feeds/ETH": "2000.05", "feeds/BTC": "64000.5"}, TICKS)
    observations = tuple(
        PriceObservation(feed=FeedId(feed), price_ticks=count)
        for feed, count in (("ETH", 40_001), ("BTC", 640_005))
    )
    assert signed_text("h", "sources/s1", 1_584_000_000_123, 7, ticks) == signed_bytes(
        "h", SourceId("s1"), 1_584_000_000_123, 7, observations
    )


@pytest.mark.parametrize("prices", [{"feeds/BTC": "0.05"}, {"feeds/DOGE": "1"}, {"feeds/BTC": "a"}])
def test_what_the_house_would_refuse_is_not_signed(prices: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"whole number of ticks|takes no price|Invalid literal"):
        ticks_of(prices, TICKS)
