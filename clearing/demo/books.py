"""Who stands at which member with what: the books of the demonstration, drawn from a seed.

Nothing here knows what will happen to prices. Cash is a multiple of what the margin model requires of a position, so
the same books fit every scenario. Forty participants hold sixty-two client accounts:

- 2 market makers, linked across all three members: they take the other side of every trade
- 3 covered calls: long a perpetual at a DEX, short a call on it at the options protocol, linked
- 3 protected longs: long a perpetual at a DEX, long a put on it at the options protocol, linked
- 2 strangles: short a call and a put at the options protocol, long a quarter of the perpetual at a DEX, linked
- 6 cross traders: long one underlying at one DEX, short the other at the other, linked
- 14 directional longs, half of them with ether as collateral; three have a second account
- 5 miners that buy puts on what they own
- 3 momentum funds with no position yet, one of them linked across both DEXs
- 2 liquidity providers
"""

import random
from dataclasses import dataclass

from clearing.demo.listing import FAR, NEAR, USDC, Listing
from clearing.demo.market import BTC, ETH, Market
from clearing.model.ids import AccountKey, FeedId, InstrumentId, MemberId, ParticipantId, account_key
from clearing.model.values import BP, Parameters, Right

AURORA = MemberId("aurora")
BOREALIS = MemberId("borealis")
MERIDIAN = MemberId("meridian")
MEMBERS = {
    AURORA: "Aurora, a perpetuals DEX",
    BOREALIS: "Borealis, a perpetuals DEX",
    MERIDIAN: "Meridian, an options protocol",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A position that a client wants; the market maker at the same member takes the other side.

    ``notional_minor`` is positive for a purchase, in the settlement asset.
    """

    account: AccountKey
    instrument: InstrumentId
    notional_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """Somebody with accounts. ``cash_minor`` and ``ether_value_minor`` are deposited per account.

    ``pays_calls``: whether it meets margin calls from its own pocket.
    """

    id: ParticipantId
    accounts: tuple[AccountKey, ...]
    linked: bool
    cash_minor: int
    ether_value_minor: int
    orders: tuple[Order, ...]
    pays_calls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """All participants; the market makers come first."""

    participants: tuple[Participant, ...]

    def named(self, kind: str) -> tuple[Participant, ...]:
        """The participants of one kind, by the first letters of their id."""
        return tuple(p for p in self.participants if p.id.startswith(kind))

    def holding(self, instrument: InstrumentId) -> tuple[Participant, ...]:
        """The participants that ordered an instrument."""
        return tuple(p for p in self.participants if any(o.instrument == instrument for o in p.orders))


def draw_books(seed: int, market: Market, listing: Listing, parameters: Parameters) -> Books:
    """The books of a seed in a scenario; the same seed gives the same books."""
    dice = random.Random(seed)  # noqa: S311  # a demonstration wants a repeatable stream, not a secret
    draw = _Draw(dice=dice, market=market, listing=listing, requirement_bp=parameters.requirement_bp)
    groups = (draw.makers, draw.covered, draw.protected, draw.strangles, draw.cross, draw.longs)
    return Books(
        participants=tuple(p for group in (*groups, draw.miners, _funds, _providers) for p in group())
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draw:
    """Draws the books, group by group."""

    dice: random.Random
    market: Market
    listing: Listing
    requirement_bp: int

    def makers(self) -> list[Participant]:
        return [_participant(f"maker-{n}", list(MEMBERS), cash=20_000_000 * USDC, pays=True) for n in (1, 2)]

    def covered(self) -> list[Participant]:
        return [self._hedged(f"covered-{n}", n, Right.CALL, bought=False, percent=170) for n in (1, 2, 3)]

    def protected(self) -> list[Participant]:
        return [self._hedged(f"protected-{n}", n, Right.PUT, bought=True, percent=160) for n in (1, 2, 3)]

    def _hedged(self, name: str, n: int, right: Right, *, bought: bool, percent: int) -> Participant:
        underlying, dex, size = (
            (ETH, BTC)[n % 2],
            (AURORA, BOREALIS)[n % 2],
            self._between(2_000_000, 8_000_000),
        )
        option = self.listing.option(underlying, right, (NEAR, FAR)[n // 2])
        return _participant(
            name,
            [dex, MERIDIAN],
            cash=self._required(underlying, size) * percent // 200,
            orders=[
                (dex, self.listing.perpetual(underlying), size),
                (MERIDIAN, option, size if bought else -size),
            ],
            pays=True,
        )

    def strangles(self) -> list[Participant]:
        sellers = []
        for n, underlying in enumerate((BTC, ETH), start=1):
            size = self._between(2_000_000, 5_000_000)
            call, put = (self.listing.option(underlying, right, NEAR) for right in Right)
            sellers.append(
                _participant(
                    f"strangle-{n}",
                    [BOREALIS, MERIDIAN],
                    cash=self._required(underlying, size),
                    orders=[
                        (MERIDIAN, call, -size),
                        (MERIDIAN, put, -size),
                        (BOREALIS, self.listing.perpetual(underlying), size // 4),
                    ],
                    pays=n == 1,
                )
            )
        return sellers

    def cross(self) -> list[Participant]:
        traders = []
        for n in range(1, 7):
            size = self._between(1_000_000, 5_000_000)
            bought, sold = (BTC, ETH) if n % 2 else (ETH, BTC)
            orders = [
                (AURORA, self.listing.perpetual(bought), size),
                (BOREALIS, self.listing.perpetual(sold), -size),
            ]
            traders.append(
                _participant(
                    f"cross-{n}",
                    [AURORA, BOREALIS],
                    cash=self._required(ETH, size) * 130 // 100,
                    orders=orders,
                    pays=self.dice.random() < 0.5,
                )
            )
        return traders

    def longs(self) -> list[Participant]:
        """Equity between 1.3 and 3.2 times the requirement: in March 2020 about 1.6 to 4.7 times leverage."""
        longs = []
        for n in range(1, 15):
            homes = [AURORA, BOREALIS] if n <= 3 else [(AURORA, BOREALIS)[n % 2]]
            underlying = (BTC, ETH)[n % 3 == 0]
            size = self._between(500_000, 6_000_000)
            equity = (
                self._required(underlying, size) * (130 + 190 * self.dice.getrandbits(32) // 2**32) // 100
            )
            ether = equity // 2 if n % 2 else 0
            longs.append(
                _participant(
                    f"long-{n}",
                    homes,
                    cash=equity - ether,
                    ether=ether,
                    orders=[(home, self.listing.perpetual(underlying), size) for home in homes],
                    pays=self.dice.random() < 0.5,
                    linked=False,
                )
            )
        return longs

    def miners(self) -> list[Participant]:
        """The cash pays premiums; who is only long options can owe no more."""
        miners = []
        for n in range(1, 6):
            put, size = (
                self.listing.option((BTC, ETH)[n % 2], Right.PUT, FAR),
                self._between(1_000_000, 4_000_000),
            )
            orders = [(MERIDIAN, put, size)]
            miners.append(_participant(f"miner-{n}", [MERIDIAN], cash=size // 2, orders=orders, pays=True))
        return miners

    def _between(self, low: int, high: int) -> int:
        """A whole amount between ``low`` and ``high`` USDC, in smallest units, in integer arithmetic."""
        return (low + (high - low) * self.dice.getrandbits(32) // 2**32) * USDC

    def _required(self, underlying: FeedId, size_minor: int) -> int:
        """What the house requires of a linear position of this size."""
        return size_minor * self.market.scan_range(underlying).move_bp * self.requirement_bp // BP**2


def _funds() -> list[Participant]:
    return [
        _participant("fund-1", [AURORA, BOREALIS], cash=0, pays=False),
        _participant("fund-2", [AURORA], cash=0, pays=False),
        _participant("fund-3", [AURORA], cash=0, pays=False),
    ]


def _providers() -> list[Participant]:
    return [_participant(f"provider-{n}", [BOREALIS], cash=10_000_000 * USDC, pays=True) for n in (1, 2)]


def _participant(
    name: str,
    members: list[MemberId],
    *,
    cash: int,
    pays: bool,
    ether: int = 0,
    orders: list[tuple[MemberId, InstrumentId, int]] | None = None,
    linked: bool = True,
) -> Participant:
    """``cash`` and ``ether`` are smallest units a member."""
    return Participant(
        id=ParticipantId(name),
        accounts=tuple(account_key(member, name) for member in members),
        linked=linked and len(members) > 1,
        cash_minor=cash,
        ether_value_minor=ether,
        orders=tuple(
            Order(account=account_key(member, name), instrument=instrument, notional_minor=size)
            for member, instrument, size in orders or []
        ),
        pays_calls=pays,
    )
