"""What an option counts as where only linear exposures are compared (rulebook §9.2)."""

from clearing.margin.model import Market
from clearing.margin.pricing import FINE, delta, terms_of, years_to_expiry
from clearing.model.values import BP, Instrument
from ledger.amount import divide_down


def delta_minor(option: Instrument, market: Market) -> int:
    """The notional to which one lot of an option is equivalent, rounded down."""
    terms, forward = terms_of(option), market.prices[option.feed]
    volatility = market.prices[terms.volatility_feed] / BP
    years = years_to_expiry(option, market.at_ms)
    share = delta(terms.right, forward, terms.strike_ticks, volatility, years)
    return divide_down(forward * option.tick_value_minor * round(share * FINE), FINE)
