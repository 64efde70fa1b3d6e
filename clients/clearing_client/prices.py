"""What a price source signs: the text that PriceService documents at PublishPricesRequest."""

from collections.abc import Mapping
from fractions import Fraction


def ticks_of(prices: Mapping[str, str], tick_sizes: Mapping[str, str]) -> dict[str, int]:
    """Each price, by the name of its feed, as a number of ticks.

    Raises ``ValueError`` for a feed that the house does not take, or a price between two ticks.
    """
    ticks: dict[str, int] = {}
    for feed, price in prices.items():
        if feed not in tick_sizes:
            raise ValueError(f"the house takes no price of {feed}; it takes {', '.join(sorted(tick_sizes))}")
        steps = Fraction(price) / Fraction(tick_sizes[feed])
        if steps.denominator != 1:
            raise ValueError(f"{price} of {feed} is not a whole number of ticks of {tick_sizes[feed]}")
        ticks[feed] = steps.numerator
    return ticks


def signed_text(house: str, source: str, observed_ms: int, sequence: int, ticks: Mapping[str, int]) -> bytes:
    """The bytes that the signature covers; ``source`` and feeds are resource names."""
    lines = ["clearinghouse price v1", house, _own(source), str(observed_ms), str(sequence)]
    lines += [f"{_own(feed)} {count}" for feed, count in ticks.items()]
    return "".join(f"{line}\n" for line in lines).encode()


def _own(name: str) -> str:
    return name.rpartition("/")[2]
