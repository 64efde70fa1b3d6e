"""The scenario in its order: the house is founded, books are opened, and then hour follows hour."""

from collections.abc import Callable

from clearing.demo.acts import ACTS
from clearing.demo.books import MEMBERS, Order, Participant
from clearing.demo.desk import Desk
from clearing.demo.listing import USDC, underlying_of
from clearing.demo.market import BTC, ETH, UNDERLYINGS, Bar, Market
from clearing.demo.trading import trade
from clearing.market.prices import signed_bytes
from clearing.model.commands import (
    AdmitMember,
    ApplyPrices,
    ContributeToPool,
    FoundHouse,
    FundHouse,
    HouseMoney,
    LinkAccounts,
    ListAsset,
    ListInstrument,
    OpenAccount,
    PriceObservation,
    RegisterProvider,
    RegisterSource,
    SizePool,
)
from clearing.model.ids import AssetId, MemberId, SourceId, house_account, member_of
from clearing.model.kinds import Kind
from clearing.model.values import BP, HOUR_MS, Asset, Offset, Parameters

SETTLEMENT = Asset(id=AssetId("USDC"), decimals=6)
ETHER = Asset(id=AssetId("ETH"), decimals=18, feed=ETH, tick_value_minor=100_000, haircut_bp=2_000)
SOURCES = tuple(SourceId(name) for name in ("alpha", "beta", "gamma"))
HOUSE_MONEY = {
    HouseMoney.CAPITAL: 4_000_000,
    HouseMoney.SKIN_IN_THE_GAME: 1_000_000,
    HouseMoney.SECOND_TRANCHE: 400_000,
}
"""Whole USDC. The first tranche is a quarter of the capital (RTS 153/2013 art. 35), the second a tenth."""
HOUSE_CASH_BP = {MemberId("aurora"): 10_000, MemberId("borealis"): 20_000, MemberId("meridian"): 12_000}
"""What each member keeps in its own account, as a share of its pool contribution."""
PROVIDER_CAPACITY = 25_000_000 * USDC


def parameters_for(market: Market) -> Parameters:
    """The rulebook's numbers, with the scan ranges of the eve."""
    offsets = (Offset(first=BTC, second=ETH, rate_bp=5_000),)
    return Parameters(margin_model="scan", scan_ranges=market.scan_ranges, offsets=offsets)


def run(desk: Desk, progress: Callable[[str], None]) -> None:
    """The whole scenario: opening, a cycle an hour, and what they lead to; ``progress`` hears of each."""
    bars = desk.market.bars
    desk.step(bars[0].known_ms - HOUR_MS)
    progress("founding")
    _found(desk)
    for bar in bars:
        _cycle(desk, bar)
        if bar is bars[0]:
            _open_books(desk, bar)
        for after_ms, act in ACTS:
            desk.wait_until(bar.known_ms + after_ms)
            act(desk, bar)
        desk.wait_until(bar.known_ms + HOUR_MS - 1)
        progress(bar.label)


# the opening --------------------------------------------------------------------------------------


def _found(desk: Desk) -> None:
    parameters = parameters_for(desk.market)
    desk.must("found", FoundHouse(house=desk.house, settlement=SETTLEMENT, parameters=parameters))
    desk.must("list/ETH", ListAsset(asset=ETHER))
    for instrument in desk.listing.instruments:
        desk.must(f"list/{instrument.id}", ListInstrument(instrument=instrument))
    for source in SOURCES:
        key = desk.price_keys[source].public_key().public_bytes_raw().hex()
        desk.must(f"source/{source}", RegisterSource(source=source, public_key=key))
    for money, amount in HOUSE_MONEY.items():
        desk.must(f"fund/{money.value}", FundHouse(into=money, amount_minor=amount * USDC))
    for member, name in MEMBERS.items():
        desk.must(f"member/{member}", AdmitMember(member=member, name=name))
    for participant in desk.books.participants:
        _welcome(desk, participant)
    for provider in desk.books.named("provider"):
        command = RegisterProvider(account=provider.accounts[0], capacity_minor=PROVIDER_CAPACITY)
        desk.must(f"provider/{provider.id}", command)


def _welcome(desk: Desk, participant: Participant) -> None:
    for key in participant.accounts:
        member, name = member_of(key), key.split("/")[1]
        desk.must(f"open/{key}", OpenAccount(member=member, account=name, participant=participant.id))
        desk.deposit(f"cash/{key}", key, SETTLEMENT, participant.cash_minor)
    if participant.linked:
        for member in sorted({member_of(key) for key in participant.accounts}):
            link = LinkAccounts(member=member, participant=participant.id, accounts=participant.accounts)
            desk.must(f"link/{participant.id}/{member}", link)


def _open_books(desk: Desk, bar: Bar) -> None:
    """Ether is deposited at the first mark, then every order is traded at it, and the pool is sized."""
    for participant in desk.books.participants:
        wei = participant.ether_value_minor * 10**ETHER.decimals // (bar.ticks[ETH] * ETHER.tick_value_minor)
        for key in participant.accounts:
            desk.deposit(f"ether/{key}", key, ETHER, wei)
    orders: list[Order] = [order for p in desk.books.participants for order in p.orders]
    for number, order in enumerate(orders):
        trade(desk, f"open-{number}", order, bar)
    for event in desk.must("size-pool", SizePool()).events:
        member = MemberId(event.subject)
        desk.tally.contributions[member] = event.amount_minor
        command = ContributeToPool(member=member, amount_minor=event.amount_minor)
        desk.must(f"pool/{member}", command)
        cash = event.amount_minor * HOUSE_CASH_BP[member] // BP
        desk.deposit(f"house-cash/{member}", house_account(member), SETTLEMENT, cash)


# the hours ----------------------------------------------------------------------------------------


def _cycle(desk: Desk, bar: Bar) -> None:
    """Three sources publish what they saw, one tick apart; the third completes the snapshot."""
    desk.hour = bar.label
    desk.step(bar.known_ms)
    for number, source in enumerate(SOURCES):
        command = _publication(desk, source, bar, number - 1)
        outcome = desk.must(f"prices/{bar.label}/{source}", command)
        closed = [e.subject for e in outcome.events if e.kind == Kind.CYCLE_CLOSED.name]
        if closed:
            desk.door.publish(int(closed[0]))


def _publication(desk: Desk, source: SourceId, bar: Bar, skew: int) -> ApplyPrices:
    prices = (
        *(PriceObservation(feed=u, price_ticks=bar.ticks[u] + skew) for u in UNDERLYINGS),
        *(
            PriceObservation(feed=feed, price_ticks=bar.volatility_bp[underlying_of(feed)] + skew)
            for feed in desk.listing.volatility_feeds
        ),
    )
    sequence = bar.known_ms // HOUR_MS
    signed = signed_bytes(desk.house, source, bar.known_ms, sequence, prices)
    return ApplyPrices(
        source=source,
        observed_ms=bar.known_ms,
        sequence=sequence,
        prices=prices,
        signature=desk.price_keys[source].sign(signed).hex(),
    )
