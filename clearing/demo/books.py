"""Who stands at which member with what: the books of the demonstration, drawn from a seed.

Nothing here knows what will happen to prices. Forty participants hold sixty-two client accounts:

- 2 market makers, linked across all three members: they take the other side of every trade
- 8 basis traders: long a perpetual at a DEX, short the future at the venue, linked
- 6 cross traders: long one underlying at one DEX, short the other at the other, linked
- 14 directional longs, half of them with ether as collateral; three have a second account
- 5 miners that sell futures against what they own
- 3 momentum funds with no position yet, one of them linked across both DEXs
- 2 liquidity providers
"""

import random
from dataclasses import dataclass

from clearing.model.ids import (
    AccountKey,
    FeedId,
    InstrumentId,
    MemberId,
    ParticipantId,
    account_key,
    house_account,
)
from clearing.model.values import Instrument, InstrumentKind

AURORA = MemberId("aurora")
BOREALIS = MemberId("borealis")
MERIDIAN = MemberId("meridian")
MEMBERS = {
    AURORA: "Aurora, a perpetuals DEX",
    BOREALIS: "Borealis, a perpetuals DEX",
    MERIDIAN: "Meridian, a futures venue",
}

BTC_PERP = InstrumentId("BTC-PERP")
ETH_PERP = InstrumentId("ETH-PERP")
BTC_FUTURE = InstrumentId("BTC-27MAR20")
ETH_FUTURE = InstrumentId("ETH-27MAR20")
EXPIRY_MS = 1_585_296_000_000
"""2020-03-27 08:00 UTC."""
USDC = 1_000_000
"""Smallest units in one USDC."""


def _instrument(name: InstrumentId, kind: InstrumentKind, expires_ms: int | None) -> Instrument:
    underlying = FeedId(name[:3])
    lot_decimals = 3 if underlying == "BTC" else 2
    return Instrument(
        id=name,
        kind=kind,
        underlying=underlying,
        feed=underlying,
        tick_value_minor=10 ** (6 - 1 - lot_decimals),
        price_decimals=1,
        lot_decimals=lot_decimals,
        expires_ms=expires_ms,
    )


INSTRUMENTS = (
    _instrument(BTC_PERP, InstrumentKind.PERPETUAL, None),
    _instrument(ETH_PERP, InstrumentKind.PERPETUAL, None),
    _instrument(BTC_FUTURE, InstrumentKind.FUTURE, EXPIRY_MS),
    _instrument(ETH_FUTURE, InstrumentKind.FUTURE, EXPIRY_MS),
)
TICK_VALUES = {instrument.id: instrument.tick_value_minor for instrument in INSTRUMENTS}


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


def draw_books(seed: int) -> Books:
    """The books of a seed; the same seed gives the same books."""
    dice = random.Random(seed)  # noqa: S311  # a demonstration wants a repeatable stream, not a secret
    groups = (_market_makers, _basis_traders, _cross_traders, _longs, _miners, _funds, _providers)
    return Books(participants=tuple(p for group in groups for p in group(dice)))


def _market_makers(_: random.Random) -> list[Participant]:
    return [_participant(f"maker-{n}", list(MEMBERS), cash=20_000_000, pays=True) for n in (1, 2)]


def _basis_traders(dice: random.Random) -> list[Participant]:
    pairs = ((BTC_PERP, BTC_FUTURE), (ETH_PERP, ETH_FUTURE))
    traders = []
    for n in range(1, 9):
        perpetual, future = pairs[n % 2]
        dex = (AURORA, BOREALIS)[n // 2 % 2]
        size = _between(dice, 2_000_000, 8_000_000)
        traders.append(
            _participant(
                f"basis-{n}",
                [dex, MERIDIAN],
                cash=size // USDC // 5,
                orders=[(perpetual, size), (future, -size)],
                pays=True,
            )
        )
    return traders


def _cross_traders(dice: random.Random) -> list[Participant]:
    traders = []
    for n in range(1, 7):
        size = _between(dice, 1_000_000, 5_000_000)
        bought, sold = (BTC_PERP, ETH_PERP) if n % 2 else (ETH_PERP, BTC_PERP)
        traders.append(
            _participant(
                f"cross-{n}",
                [AURORA, BOREALIS],
                cash=size // USDC // 4,
                orders=[(bought, size), (sold, -size)],
                pays=dice.random() < 0.5,
            )
        )
    return traders


def _longs(dice: random.Random) -> list[Participant]:
    """Equity between 22 % and 60 % of the notional: about 1.7 to 4.5 times leverage."""
    longs = []
    for n in range(1, 15):
        homes = [AURORA, BOREALIS] if n <= 3 else [(AURORA, BOREALIS)[n % 2]]
        instrument = (BTC_PERP, ETH_PERP)[n % 3 == 0]
        size = _between(dice, 500_000, 6_000_000)
        equity = size // USDC * _between(dice, 22, 60) // USDC // 100
        ether = equity // 2 if n % 2 else 0
        longs.append(
            _participant(
                f"long-{n}",
                homes,
                cash=equity - ether,
                ether=ether,
                orders=[(instrument, size)] * len(homes),
                pays=dice.random() < 0.5,
                linked=False,
            )
        )
    return longs


def _miners(dice: random.Random) -> list[Participant]:
    return [
        _participant(
            f"miner-{n}",
            [MERIDIAN],
            cash=_between(dice, 2_000_000, 3_000_000) // USDC,
            orders=[((BTC_FUTURE, ETH_FUTURE)[n % 2], -_between(dice, 1_000_000, 4_000_000))],
            pays=True,
        )
        for n in range(1, 6)
    ]


def _funds(_: random.Random) -> list[Participant]:
    return [
        _participant("fund-1", [AURORA, BOREALIS], cash=0, pays=False),
        _participant("fund-2", [AURORA], cash=0, pays=False),
        _participant("fund-3", [AURORA], cash=0, pays=False),
    ]


def _providers(_: random.Random) -> list[Participant]:
    return [_participant(f"provider-{n}", [MERIDIAN], cash=10_000_000, pays=True) for n in (1, 2)]


def _between(dice: random.Random, low: int, high: int) -> int:
    """A whole amount between ``low`` and ``high`` USDC, in smallest units, in integer arithmetic."""
    return (low + (high - low) * dice.getrandbits(32) // 2**32) * USDC


def _participant(
    name: str,
    members: list[MemberId],
    *,
    cash: int,
    pays: bool,
    ether: int = 0,
    orders: list[tuple[InstrumentId, int]] | None = None,
    linked: bool = True,
) -> Participant:
    """``cash`` and ``ether`` are whole USDC a member; the n-th order stands at the n-th member."""
    keys = tuple(account_key(member, name) for member in members)
    wanted = zip(keys, orders or [], strict=False)
    return Participant(
        id=ParticipantId(name),
        accounts=keys,
        linked=linked and len(keys) > 1,
        cash_minor=cash * USDC,
        ether_value_minor=ether * USDC,
        orders=tuple(Order(account=k, instrument=i, notional_minor=size) for k, (i, size) in wanted),
        pays_calls=pays,
    )


HOUSE_CASH = {
    house_account(AURORA): 600_000 * USDC,
    house_account(BOREALIS): 5_000_000 * USDC,
    house_account(MERIDIAN): 4_000_000 * USDC,
}
"""What each member keeps in its own account."""
