"""Hourly BTC and ETH closes (USD) of 12 and 13 March 2020, and what the house knew before them.

A bar's close is known one hour after its label. The scan ranges are what an administrator would have
set on the eve: the 99th percentile of absolute daily moves over the twelve months to 11 March 2020
(EMIR RTS 153/2013 art. 24 and 25), rounded up to a hundredth of a percent.
"""

from dataclasses import dataclass

from clearing.model.ids import FeedId
from clearing.model.values import HOUR_MS, ScanRange

BTC = FeedId("BTC")
ETH = FeedId("ETH")

FIRST_LABEL_MS = 1_584_003_600_000
"""2020-03-12 09:00 UTC, the label of the first bar."""

BTC_CLOSES = (
    *(73420, 63340, 60310, 60250, 59670, 60820, 61250, 60820, 61130, 59830, 60330, 57150, 57920, 58020),
    *(48420, 46710, 41120, 50500, 53650, 48660, 49800, 52460, 54310, 53500, 58430, 56380, 54540, 56200),
)
"""Tenths of a dollar."""
ETH_CLOSES = (
    *(1673, 1386, 1360, 1363, 1339, 1397, 1398, 1392, 1419, 1371, 1377, 1286, 1302, 1272),
    *(1094, 1069, 995, 1158, 1291, 1122, 1170, 1268, 1286, 1270, 1342, 1324, 1291, 1319),
)
"""Tenths of a dollar."""

SCAN_RANGES = (ScanRange(underlying=BTC, move_bp=1_301), ScanRange(underlying=ETH, move_bp=1_555))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One hour. ``known_ms`` is when its close was known: one hour after its label."""

    label: str
    known_ms: int
    btc_ticks: int
    eth_ticks: int


def bars() -> tuple[Bar, ...]:
    """The 28 bars in order."""
    closes = zip(BTC_CLOSES, ETH_CLOSES, strict=True)
    return tuple(
        Bar(label=_label(hour), known_ms=FIRST_LABEL_MS + (hour + 1) * HOUR_MS, btc_ticks=btc, eth_ticks=eth)
        for hour, (btc, eth) in enumerate(closes)
    )


def _label(hour: int) -> str:
    day, clock = divmod(9 + hour, 24)
    return f"{12 + day}T{clock:02d}"
