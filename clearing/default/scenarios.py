"""The stress library: what the house is tested against (rulebook §12).

1. A scenario moves the price of each underlying and its volatility at once, as a share of themselves. An underlying
   that it does not name moves with all others: twice as far as the further of BTC and ETH, and at most 90 % down.
2. The historical ones are the days of §12 for which there are hourly prices of BTC and ETH. A fall is the worst from
   an hourly close to a later one, of each by itself, from the last close before the first day to the end of the last
   day; a rally the best. A rally that was less than a day's ordinary move is left out.
   The fall of 5 February 2026 is known from four snapshots a day, and its volatilities with it.
3. The hypothetical ones go further than any four days did: down, up, and BTC and ETH apart, which strikes who was given
   credit for one against the other. And thin tokens alone go as far as one of them did, while BTC and ETH stay, which
   strikes who holds them against BTC or ETH.
4. Where a member has issued a token, it is exploited and its token is worth nothing. All else stays, so that it shows
   what hangs on that token.

Of §12's list 11 March 2023, 5 August 2024 and 10 October 2025 are missing: there are no prices of them. What a scenario
does to the settlement asset itself is nothing: every amount is counted in it.

docs/adr/0022 gives the reasons for each figure.
"""

from dataclasses import dataclass

from clearing.model.house import House, ordered
from clearing.model.ids import FeedId
from clearing.model.values import BP
from ledger.amount import divide_down

BTC, ETH = FeedId("BTC"), FeedId("ETH")
OTHERS = FeedId("*")
"""Stands for every underlying that a scenario does not name."""
OTHERS_TIMES = 2
"""No coin with hourly prices fell further than this many times the further of BTC and ETH in any of the historical
falls, but for the tokens of the protocols that failed.
"""
OTHERS_FALL_MOST_BP = 9_000
VOLATILITY_RISE_BP = 10_307
"""The most that the volatility at the money of an expiry rose in two days, December 2025 to March 2026, with five days
left or more. For the days of §12 there are no volatilities.
"""
VOLATILITY_FALL_BP = -4_302
"""The most that it fell, in the same way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """By what share of themselves the price of an underlying and its volatility move."""

    underlying: FeedId
    price_bp: int
    volatility_bp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Moves that happen at once. The one of ``OTHERS`` is of whatever is not named."""

    name: str
    moves: tuple[Move, ...]

    def move_of(self, underlying: FeedId) -> Move:
        """How an underlying moves, or an asset with the feed of that name."""
        by_name = {move.underlying: move for move in self.moves}
        return by_name.get(underlying, by_name[OTHERS])


def _market(name: str, *, btc_bp: int, eth_bp: int, volatility_bp: int = VOLATILITY_RISE_BP) -> Scenario:
    """The whole market moves; if BTC and ETH move equally far apart, the others go with BTC."""
    others_bp = max(-OTHERS_FALL_MOST_BP, OTHERS_TIMES * max(btc_bp, eth_bp, key=abs))
    prices = {BTC: btc_bp, ETH: eth_bp, OTHERS: others_bp}
    moves = (Move(underlying=u, price_bp=bp, volatility_bp=volatility_bp) for u, bp in prices.items())
    return Scenario(name=name, moves=tuple(moves))


def _thin(name: str, *, price_bp: int) -> Scenario:
    """Every underlying but BTC and ETH moves."""
    still = (Move(underlying=feed, price_bp=0) for feed in (BTC, ETH))
    return Scenario(name=name, moves=(*still, Move(underlying=OTHERS, price_bp=price_bp)))


SCENARIOS = (
    _market("march-2020 fall", btc_bp=-4_818, eth_bp=-4_886),
    _market("march-2020 rally", btc_bp=4_210, eth_bp=3_612, volatility_bp=VOLATILITY_FALL_BP),
    _market("may-2021 fall", btc_bp=-2_098, eth_bp=-3_103),
    _market("may-2021 rally", btc_bp=1_746, eth_bp=2_260, volatility_bp=VOLATILITY_FALL_BP),
    _market("luna-2022 fall", btc_bp=-2_059, eth_bp=-2_730),
    _market("june-2022 fall", btc_bp=-1_538, eth_bp=-1_689),
    _market("ftx-2022 fall", btc_bp=-2_365, eth_bp=-2_983),
    Scenario(
        name="february-2026 fall",
        moves=(
            Move(underlying=BTC, price_bp=-1_269, volatility_bp=8_325),
            Move(underlying=ETH, price_bp=-1_253, volatility_bp=4_226),
            Move(underlying=OTHERS, price_bp=-2_538, volatility_bp=8_325),
        ),
    ),
    _market("largest fall", btc_bp=-6_000, eth_bp=-6_500, volatility_bp=15_000),
    _market("largest rise", btc_bp=6_000, eth_bp=7_000, volatility_bp=15_000),
    _market("BTC falls, ETH rises", btc_bp=-2_000, eth_bp=2_000),
    _market("BTC rises, ETH falls", btc_bp=2_000, eth_bp=-2_000),
    _thin("thin tokens collapse", price_bp=-8_991),
    _thin("thin tokens squeezed", price_bp=39_242),
)
"""A thin token collapses as FTT did from 8 to 9 November 2022, and is squeezed as DOGE was on 28 January 2021."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the moves of a scenario come from: whether they were seen, and in which data."""

    is_historical: bool
    data: str


HOURLY = "hourly closes of BTC and ETH, {}: the worst move from a close to a later one, of each by itself"
RALLY = "hourly closes of BTC and ETH, {}: the best move from a close to a later one, of each by itself"
_ORIGINS = {
    "march-2020 fall": Origin(True, HOURLY.format("12 and 13 March 2020")),
    "march-2020 rally": Origin(True, RALLY.format("12 and 13 March 2020")),
    "may-2021 fall": Origin(True, HOURLY.format("19 May 2021")),
    "may-2021 rally": Origin(True, RALLY.format("19 May 2021")),
    "luna-2022 fall": Origin(True, HOURLY.format("9 to 12 May 2022")),
    "june-2022 fall": Origin(True, HOURLY.format("13 June 2022")),
    "ftx-2022 fall": Origin(True, HOURLY.format("8 and 9 November 2022")),
    "february-2026 fall": Origin(
        True, "four snapshots a day of the index and of option volatilities, 5 February 2026, BTC and ETH"
    ),
    "largest fall": Origin(False, "further than any four days since 2018 went"),
    "largest rise": Origin(False, "further than any four days since 2018 went"),
    "BTC falls, ETH rises": Origin(False, "further apart than any four days took them"),
    "BTC rises, ETH falls": Origin(False, "further apart than any four days took them"),
    "thin tokens collapse": Origin(
        False, "the fall of FTT from 8 to 9 November 2022, of all tokens at once, while BTC and ETH stay"
    ),
    "thin tokens squeezed": Origin(
        False, "the rise of DOGE on 28 January 2021, of all tokens at once, while BTC and ETH stay"
    ),
}
_EXPLOIT = Origin(False, "a member is exploited, and the token that it issued is worth nothing")


def origin_of(scenario: Scenario) -> Origin:
    """Where a scenario comes from."""
    return _ORIGINS.get(scenario.name, _EXPLOIT)


def scenarios_of(house: House) -> tuple[Scenario, ...]:
    """Every scenario that the house is tested against now, in order."""
    tokens: dict[str, list[FeedId]] = {}
    for asset in ordered(house.assets):
        if asset.issuer is not None and asset.feed is not None:
            tokens.setdefault(asset.issuer, []).append(asset.feed)
    return (*SCENARIOS, *(_exploited(issuer, feeds) for issuer, feeds in sorted(tokens.items())))


def _exploited(issuer: str, feeds: list[FeedId]) -> Scenario:
    gone = (Move(underlying=feed, price_bp=-BP) for feed in sorted(set(feeds)))
    return Scenario(name=f"exploit of {issuer}", moves=(*gone, Move(underlying=OTHERS, price_bp=0)))


def moved(ticks: int, move: Move) -> int:
    """A price after a move, rounded down."""
    return divide_down(ticks * (BP + move.price_bp), BP)
