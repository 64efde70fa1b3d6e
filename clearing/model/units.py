"""In which steps amounts, prices and sizes count, and their decimal strings.

A step is ``step`` × 10^-``decimals`` whole units: an asset's smallest unit, an instrument's tick or lot. The
tick of a feed that prices only collateral is what one whole unit of the asset is worth per tick.
"""

from dataclasses import dataclass

from clearing import chart
from clearing.model import decimal
from clearing.model.house import House, ordered
from clearing.model.ids import AssetId, FeedId, InstrumentId
from clearing.model.values import Asset, Instrument


@dataclass(frozen=True, slots=True)
class Unit:
    """One step, as ``step`` × 10^-``decimals`` whole units."""

    decimals: int
    step: int = 1

    def parse(self, text: str, *, signed: bool = False) -> int:
        """The number of steps that ``text`` says, negative only if ``signed``. Raises ``DecimalRefused``."""
        return decimal.parse(text, self.decimals, step=self.step, signed=signed)

    def render(self, steps: int) -> str:
        """``steps`` steps as a decimal string."""
        return decimal.render(steps * self.step, self.decimals)


VOLATILITY = Unit(4)
"""A volatility counts in basis points of one."""


def of_asset(asset: Asset) -> Unit:
    """The smallest unit of an asset."""
    return Unit(asset.decimals)


def of_settlement(house: House) -> Unit:
    """The smallest unit of the settlement asset."""
    return of_asset(house.assets[house.settlement])


def of_price(instrument: Instrument) -> Unit:
    """The tick of an instrument."""
    return Unit(instrument.price_decimals)


def of_size(instrument: Instrument) -> Unit:
    """The lot of an instrument."""
    return Unit(instrument.lot_decimals)


def of_account(path: str, unit: str, house: House) -> Unit:
    """The steps in which an account of the ledger counts."""
    if chart.counts_lots(path):
        return of_size(house.instruments[InstrumentId(unit)])
    return of_asset(house.assets[AssetId(unit)])


def called(unit: str, house: House) -> Unit:
    """The steps of what is called ``unit``: an asset, or an instrument."""
    asset = house.assets.get(AssetId(unit))
    return of_size(house.instruments[InstrumentId(unit)]) if asset is None else of_asset(asset)


def of_feeds(house: House) -> dict[FeedId, Unit]:
    """The tick of every feed that something is marked by, in the order of their names."""
    ticks: dict[FeedId, Unit] = {}
    for asset in ordered(house.assets):
        if asset.feed is not None:
            ticks[asset.feed] = Unit(of_settlement(house).decimals, asset.tick_value_minor)
    for instrument in ordered(house.instruments):
        ticks[instrument.feed] = of_price(instrument)
        if instrument.option is not None:
            ticks[instrument.option.volatility_feed] = VOLATILITY
    return {feed: ticks[feed] for feed in sorted(ticks)}
