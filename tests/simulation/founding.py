"""The house of a world: thin tranches, five members, their clients, options, providers, a pool."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from clearing.model.commands import (
    AdmitMember,
    Command,
    ContributeToPool,
    Deposit,
    FoundHouse,
    FundHouse,
    GroupMember,
    HouseMoney,
    ListAsset,
    ListInstrument,
    OpenAccount,
    RegisterProvider,
    RegisterSource,
    SizePool,
)
from clearing.model.ids import AccountKey, InstrumentId, MemberId, ParticipantId, SourceId
from clearing.model.values import (
    DAY_MS,
    MINUTE_MS,
    Instrument,
    InstrumentKind,
    OptionTerms,
    Right,
    ScanRange,
)
from tests.builders import (
    BTC,
    ETH_FEED,
    ETHER,
    INSTRUMENTS,
    PARAMETERS,
    SETTLEMENT,
    START_MS,
    USD,
    USDC,
    public_hex,
    source_key,
)
from tests.simulation.walk import CLIENTS, GUEST, HOUSE, MEMBERS, NAMES, VOLATILITY


def option(dice: Random, name: str, now_ms: int, forward_ticks: int) -> Instrument:
    """A call or a put near the money that expires within weeks."""
    return Instrument(
        id=InstrumentId(name),
        kind=InstrumentKind.OPTION,
        underlying=BTC,
        feed=BTC,
        tick_value_minor=100,
        price_decimals=1,
        lot_decimals=3,
        expires_ms=now_ms + dice.choice([1, 2, 5, 20]) * DAY_MS + dice.randrange(DAY_MS),
        option=OptionTerms(
            right=dice.choice(list(Right)),
            strike_ticks=forward_ticks * dice.choice([70, 90, 100, 100, 110, 150]) // 100,
            volatility_feed=VOLATILITY,
        ),
    )


def founding(dice: Random) -> Iterator[Command]:
    """The commands that set it up."""
    parameters = replace(
        PARAMETERS,
        scan_ranges=(
            ScanRange(underlying=BTC, move_bp=1_300, volatility_bp=2_500),
            ScanRange(underlying=ETH_FEED, move_bp=1_550),
        ),
        pool_floor_minor=dice.choice([0, 20, 200]) * USD,
        fund_event_cap_bp=dice.choice([10_000, 4_000]),
        liquidity_line_minor=dice.choice([0, 500]) * USD,
        auction_ms=dice.choice([0, 1, 1]) * MINUTE_MS // 2,
        close_out_auction_ms=dice.choice([0, 10, 10]) * MINUTE_MS,
    )
    yield FoundHouse(house=HOUSE, settlement=SETTLEMENT, parameters=parameters)
    yield ListAsset(asset=replace(ETHER, concentration_minor=3 * 10**18 + 1, concentration_haircut_bp=5_003))
    for instrument in INSTRUMENTS:
        later = None if instrument.expires_ms is None else START_MS + dice.choice([2, 15, 400]) * DAY_MS
        yield ListInstrument(instrument=replace(instrument, expires_ms=later))
    for name in ("OPTION-1", "OPTION-2"):
        yield ListInstrument(instrument=option(dice, name, START_MS, 80_000))
    for name in NAMES:
        yield RegisterSource(source=SourceId(name), public_key=public_hex(source_key(SourceId(name))))
    for into, most in zip(HouseMoney, (500, 40, 15, 10), strict=True):
        yield FundHouse(into=into, amount_minor=dice.randrange(1, most) * USD)
    for member in map(MemberId, (*MEMBERS, GUEST)):
        yield AdmitMember(member=member, name=member.title())
        cash = dice.randrange(1, 600) * USD
        yield Deposit(account=AccountKey(f"{member}/house"), asset=USDC, amount_minor=cash)
        for name in CLIENTS.get(member, ()):
            yield OpenAccount(member=member, account=name, participant=ParticipantId(name))
            cash = dice.randrange(200, 3_000) * USD
            yield Deposit(account=AccountKey(f"{member}/{name}"), asset=USDC, amount_minor=cash)
    for key in ("desk/pro", "options/house", "lender/fay"):
        capacity = dice.randrange(1, dice.choice([500, 40_000]) if key == "desk/pro" else 400) * USD
        yield RegisterProvider(account=AccountKey(key), capacity_minor=capacity)
    for affiliate in ("lender", "options"):
        yield GroupMember(member=MemberId(affiliate), group="north")
    yield SizePool()
    for member in map(MemberId, (*MEMBERS, GUEST)):
        yield ContributeToPool(member=member, amount_minor=dice.randrange(1, 100) * USD)
