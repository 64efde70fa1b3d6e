"""Equity, requirement and health of a netting set (rulebook §8).

    equity       = cash + Σ collateral × price × (1 − haircut) + net option value
    maintenance  = the margin model's amount (M)
    requirement  = M × the requirement factor (R), rounded up

Collateral value is rounded down, account by account and asset by asset. Its haircut grows with concentration, and
the limit is of a participant, wherever its accounts are: who splits an account gains nothing. Cash held for a
withdrawal has left the account. The net option value is exact: lots × mark × tick value. It offsets requirements and
is never withdrawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from types import MappingProxyType
from typing import Final

import numpy as np
from immutables import Map

from clearing import chart
from clearing.margin.addons import AddOns, AddOnsOf, add_ons_of
from clearing.margin.model import Margin, Positions
from clearing.margin.owners import accounts_by_owner, owner_of
from clearing.margin.snapshot import array_of
from clearing.margin.table import MODELS
from clearing.model.house import House, ordered
from clearing.model.ids import (
    AccountKey,
    AssetId,
    FeedId,
    InstrumentId,
    SetId,
    member_of,
    single_set,
)
from clearing.model.values import (
    BP,
    AccountStatus,
    Asset,
    Instrument,
    NettingSet,
    OptionMark,
    RiskArray,
)
from ledger.amount import divide_down, divide_up
from ledger.require import InvariantViolated, require


class Health(Enum):
    """healthy: equity ≥ R · call: M ≤ equity < R · liquidation: 0 ≤ equity < M · bankrupt: equity < 0."""

    HEALTHY = "healthy"
    CALL = "call"
    LIQUIDATION = "liquidation"
    BANKRUPT = "bankrupt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """What a requirement is computed from: positions in lots, cash, collateral after haircut, and what the
    options among the positions are worth.
    """

    lots: Mapping[InstrumentId, int]
    cash_minor: int
    collateral_minor: int
    option_value_minor: int

    @property
    def equity_minor(self) -> int:
        """Cash, collateral after haircut, and net option value."""
        return self.cash_minor + self.collateral_minor + self.option_value_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A netting set measured. ``standalone_minor`` is the sum of what its accounts would need alone. Maintenance is the
    amount of ``margin``, the model's, and the ``add_ons``.
    """

    netting_set: SetId
    equity_minor: int
    cash_minor: int
    collateral_minor: int
    option_value_minor: int
    maintenance_minor: int
    requirement_minor: int
    standalone_minor: int
    health: Health
    margin: Margin
    add_ons: AddOns

    @property
    def bears_outflow(self) -> bool:
        """Whether a set of which money has just been taken out stands as §8 demands: no cash is lent, and what
        options are worth covers requirements only.
        """
        value = self.option_value_minor
        needed = max(0, self.requirement_minor - max(0, value))
        return self.cash_minor >= 0 and self.cash_minor + self.collateral_minor + min(0, value) >= needed


def assess(house: House, set_id: SetId) -> Assessment:
    """Measure one netting set at the newest cycle's marks and risk array."""
    return measure(house, set_id, portfolio_of(house, set_id))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a netting set stands, without the reasons."""

    netting_set: SetId
    equity_minor: int
    cash_minor: int
    maintenance_minor: int
    requirement_minor: int
    health: Health


def standings(house: House, sets: Sequence[SetId]) -> list[Standing]:
    """What :func:`assess` says of each of ``sets``, all measured at once."""
    portfolios = [portfolio_of(house, set_id) for set_id in sets]
    amounts = maintenance_of_all(house, [portfolio.lots for portfolio in portfolios])
    found, charged = list[Standing](), AddOnsOf(house)
    for set_id, portfolio, modelled in zip(sets, portfolios, amounts, strict=True):
        accounts = house.netting_sets[set_id].accounts
        amount = modelled + charged.set(accounts, portfolio.lots).amount_minor
        equity, requirement = portfolio.equity_minor, required(house, amount)
        health = health_of(equity, amount, requirement)
        found.append(Standing(set_id, equity, portfolio.cash_minor, amount, requirement, health))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What attestations say of a netting set; ``standalone_minor`` as in :class:`Assessment`."""

    netting_set: SetId
    equity_minor: int
    maintenance_minor: int
    requirement_minor: int
    standalone_minor: int


def measured_sets(house: House) -> list[Measured]:
    """Every living netting set, in order, measured at once; the same figures as :func:`assess` gives."""
    found = standings(house, living_sets(house))
    linked = [
        (one.netting_set, key)
        for one in found
        if len(accounts := house.netting_sets[one.netting_set].accounts) > 1
        for key in accounts
    ]
    alone: dict[SetId, int] = {}
    amounts, charged = maintenance_of_all(house, [house.positions(key) for _, key in linked]), AddOnsOf(house)
    for (set_id, key), modelled in zip(linked, amounts, strict=True):
        amount = modelled + charged.set((key,), house.positions(key)).amount_minor
        alone[set_id] = alone.get(set_id, 0) + required(house, amount)
    return [
        Measured(
            netting_set=one.netting_set,
            equity_minor=one.equity_minor,
            maintenance_minor=one.maintenance_minor,
            requirement_minor=one.requirement_minor,
            standalone_minor=alone.get(one.netting_set, one.requirement_minor),
        )
        for one in found
    ]


LOTS_IN_COLUMNS = 2**62
"""From here on a position, the sum of many accounts of a link, is too large for a column."""


def maintenance_of_all(house: House, portfolios: Sequence[Mapping[InstrumentId, int]]) -> list[int]:
    """What the model in force asks for each of ``portfolios``, without add-ons."""
    array = array_of(house)
    row_of = rows_of(array)
    held = [
        (owner, row_of.get(instrument, -1), lots)
        for owner, portfolio in enumerate(portfolios)
        for instrument, lots in portfolio.items()
        if lots
    ]
    owners, rows, lots = zip(*held, strict=True) if held else ((), (), ())
    require(min(rows, default=0) >= 0, "every position has a row in the risk array")
    if max(map(abs, lots), default=0) >= LOTS_IN_COLUMNS:
        return [maintenance(house, portfolio).amount_minor for portfolio in portfolios]
    columns = [np.array(column, np.int64) for column in (owners, rows, lots)]
    book = Positions(portfolios=len(portfolios), owners=columns[0], rows=columns[1], lots=columns[2])
    return MODELS[house.parameters.margin_model].amounts(book, array, house.parameters)


@lru_cache(maxsize=4)
def rows_of(array: RiskArray) -> Mapping[InstrumentId, int]:
    """Where in the array each instrument stands."""
    return {row.instrument: number for number, row in enumerate(array.instruments)}


def assess_alone(house: House, key: AccountKey) -> Assessment:
    """Measure an account as if it were linked with no other."""
    alone = NettingSet(id=single_set(key), participant=house.accounts[key].participant, accounts=(key,))
    return assess(replace(house, netting_sets=house.netting_sets.set(alone.id, alone)), alone.id)


def living_sets(house: House) -> list[SetId]:
    """Netting sets that were not closed out, in order."""
    return [
        set_id
        for set_id in sorted(house.netting_sets)
        if all(
            house.accounts[key].status is AccountStatus.ACTIVE for key in house.netting_sets[set_id].accounts
        )
    ]


def measure(house: House, set_id: SetId, portfolio: Portfolio) -> Assessment:
    """Measure a portfolio that the netting set has or might have."""
    accounts = house.netting_sets[set_id].accounts
    margin, add_ons = maintenance(house, portfolio.lots), add_ons_of(house, accounts, portfolio.lots)
    amount = margin.amount_minor + add_ons.amount_minor
    requirement = required(house, amount)
    alone = sum(required_alone(house, key) for key in accounts) if len(accounts) > 1 else requirement
    return Assessment(
        netting_set=set_id,
        equity_minor=portfolio.equity_minor,
        cash_minor=portfolio.cash_minor,
        collateral_minor=portfolio.collateral_minor,
        option_value_minor=portfolio.option_value_minor,
        maintenance_minor=amount,
        requirement_minor=requirement,
        standalone_minor=alone,
        health=health_of(portfolio.equity_minor, amount, requirement),
        margin=margin,
        add_ons=add_ons,
    )


def required_alone(house: House, key: AccountKey) -> int:
    """What an account would need if it were linked with no other."""
    return required(house, asked(house, (key,), house.positions(key)))


def asked(house: House, accounts: Sequence[AccountKey], lots: Mapping[InstrumentId, int]) -> int:
    """Maintenance of a netting set of ``accounts`` that holds ``lots``: the model's amount and the add-ons."""
    return maintenance(house, lots).amount_minor + add_ons_of(house, accounts, lots).amount_minor


def maintenance(house: House, lots: Mapping[InstrumentId, int]) -> Margin:
    """What the model in force asks for positions, without add-ons."""
    return MODELS[house.parameters.margin_model].margin(lots, array_of(house), house.parameters)


def required(house: House, maintenance_minor: int) -> int:
    """The requirement (initial margin), rounded up."""
    return divide_up(maintenance_minor * house.parameters.requirement_bp, BP)


def health_of(equity_minor: int, maintenance_minor: int, requirement_minor: int) -> Health:
    """Which of the four states of rulebook §8."""
    if equity_minor >= requirement_minor:
        return Health.HEALTHY
    if equity_minor < 0:
        return Health.BANKRUPT
    return Health.CALL if equity_minor >= maintenance_minor else Health.LIQUIDATION


def portfolio_of(house: House, set_id: SetId) -> Portfolio:
    """Positions, cash and collateral of a netting set as they are booked."""
    accounts, options = house.netting_sets[set_id].accounts, _options(house.instruments)
    lots = lots_of(house, accounts)
    return Portfolio(
        lots=lots,
        cash_minor=sum(house.cash(key) for key in accounts),
        collateral_minor=collateral_value(house, accounts),
        option_value_minor=sum(
            option_value(house, instrument, quantity)
            for instrument, quantity in lots.items()
            if instrument in options
        ),
    )


def lots_of(house: House, accounts: Sequence[AccountKey]) -> dict[InstrumentId, int]:
    """What accounts hold together; none is zero."""
    lots: dict[InstrumentId, int] = {}
    for key in accounts:
        for instrument, quantity in sorted(house.positions(key).items()):
            lots[instrument] = lots.get(instrument, 0) + quantity
    return {instrument: quantity for instrument, quantity in lots.items() if quantity}


@lru_cache(maxsize=4)
def _options(instruments: Map[InstrumentId, Instrument]) -> frozenset[InstrumentId]:
    """Those among ``instruments`` that are options; kept, for each portfolio asks."""
    return frozenset(one.id for one in ordered(instruments) if one.option is not None)


def option_value(house: House, instrument: InstrumentId, lots: int) -> int:
    """What a position is worth at the mark; nothing if it is linear, for its value was settled."""
    row = house.instruments[instrument]
    return 0 if row.option is None else lots * settlement_price(house, instrument) * row.tick_value_minor


NOTHING: Final[Mapping[tuple[AccountKey, AssetId], int]] = MappingProxyType({})


def collateral_value(
    house: House, accounts: tuple[AccountKey, ...], more: Mapping[tuple[AccountKey, AssetId], int] = NOTHING
) -> int:
    """Value after haircut of what the accounts of a netting set posted, if they posted ``more`` besides.

    A token counts zero in a set that has an account at the member that issued it: it falls when the member does,
    and the whole set with it.
    """
    return sum(
        after_haircut(one, price_of_asset(house, one.asset)) for one in holdings(house, accounts, more)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What an account posted of an asset, apart from its part of what its participant posted above the limit."""

    asset: Asset
    within_minor: int
    beyond_minor: int


def holdings(
    house: House, accounts: tuple[AccountKey, ...], more: Mapping[tuple[AccountKey, AssetId], int] = NOTHING
) -> list[Holding]:
    """The posted collateral that counts in a netting set, account by account and asset by asset."""
    members = {member_of(key) for key in accounts}
    assets = [asset for asset in _not_cash(house.assets, house.settlement) if asset.issuer not in members]
    found = [_holding(house, asset, key, more) for key in accounts for asset in assets]
    return [one for one in found if one is not None]


def in_columns(held: Sequence[Holding]) -> Holding:
    """Holdings of one asset as one whose amounts are columns: what is said of it is said of each."""
    within, beyond = (np.array(column, object) for column in zip(*map(_AMOUNTS, held), strict=True))
    return Holding(asset=held[0].asset, within_minor=within, beyond_minor=beyond)  # type: ignore[arg-type]


_AMOUNTS = attrgetter("within_minor", "beyond_minor")


@lru_cache(maxsize=4)
def _not_cash(assets: Map[AssetId, Asset], settlement: AssetId) -> tuple[Asset, ...]:
    """Every asset that can be posted, in order; kept, for each account is looked at for each of them."""
    return tuple(asset for asset in ordered(assets) if asset.id != settlement)


def after_haircut(held: Holding, price_ticks: int) -> int:
    """What a holding counts at a price, rounded down; what is above the limit has the higher haircut."""
    asset = held.asset
    within = value_at(asset, held.within_minor, price_ticks) * (BP - asset.haircut_bp)
    beyond = value_at(asset, held.beyond_minor, price_ticks) * (BP - asset.concentration_haircut_bp)
    return divide_down(within, BP) + divide_down(beyond, BP)


def _holding(
    house: House, asset: Asset, key: AccountKey, more: Mapping[tuple[AccountKey, AssetId], int]
) -> Holding | None:
    """The account's part of what its participant posted above the limit is rounded up."""
    amount = posted(house, key, asset.id) + more.get((key, asset.id), 0)
    if not amount:
        return None
    excess = 0
    if asset.concentration_minor:
        own = accounts_by_owner(house.accounts)[owner_of(house.accounts[key])]
        total = sum(posted(house, one, asset.id) + more.get((one, asset.id), 0) for one in own)
        excess = divide_up(max(0, total - asset.concentration_minor) * amount, total)
    return Holding(asset=asset, within_minor=amount - excess, beyond_minor=excess)


def posted(house: House, key: AccountKey, asset: AssetId) -> int:
    """Posted amount of a collateral asset; zero for the settlement asset, which is cash."""
    return 0 if asset == house.settlement else house.balance(chart.collateral(key, asset))


def market_value(house: House, asset: Asset, amount_minor: int) -> int:
    """Value at the mark in the settlement asset, before haircut, rounded down; zero without a mark."""
    return value_at(asset, amount_minor, price_of_asset(house, asset))


def value_at(asset: Asset, amount_minor: int, price_ticks: int) -> int:
    """Value at a price in the settlement asset, before haircut, rounded down."""
    return divide_down(amount_minor * price_ticks * asset.tick_value_minor, 10**asset.decimals)


def price_of_asset(house: House, asset: Asset) -> int:
    """The newest mark of an asset in ticks; zero without one."""
    return 0 if asset.feed is None else price_of_feed(house, asset.feed)


def price_of_feed(house: House, feed: str) -> int:
    """The newest mark of a feed in ticks, or zero when it has none yet."""
    return house.prices.get(FeedId(feed), 0)


def option_mark(house: House, instrument: InstrumentId) -> OptionMark | None:
    """What an option is worth by the newest cycle, or None when it has no mark yet."""
    marks = () if house.cycle is None else house.cycle.option_marks
    return next((mark for mark in marks if mark.instrument == instrument), None)


def mark_ticks(house: House, instrument: InstrumentId) -> int | None:
    """The newest mark of an instrument, or None when it has none yet; an option may be worth nothing."""
    row = house.instruments[instrument]
    if row.option is None:
        return house.prices.get(row.feed)
    return house.option_prices.get(instrument)


def settlement_price(house: House, instrument: InstrumentId) -> int:
    """The price at which positions are carried (S): the newest mark. A linear instrument was settled at it in the
    newest cycle, an option is worth it.
    """
    ticks = mark_ticks(house, instrument)
    if ticks is None:
        raise InvariantViolated(f"{instrument} has a settlement price")
    return ticks


def exposure_price(house: House, instrument: InstrumentId) -> int:
    """The price that gives the notional of a position: the mark; of an option its forward's."""
    return price_of_feed(house, house.instruments[instrument].feed)


def width_price(house: House, instrument: InstrumentId) -> int:
    """The price of which bands and discounts are a share: the mark; for an option [10 %] of its forward's at least,
    for a share of next to nothing would be nothing.
    """
    mark = settlement_price(house, instrument)
    if house.instruments[instrument].option is None:
        return mark
    forward = exposure_price(house, instrument)
    return max(mark, divide_up(forward * house.parameters.option_price_floor_bp, BP))
