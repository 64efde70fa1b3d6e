"""Assignment to backstop providers: how much each can take (rulebook §10.2).

A provider takes up to its declared capacity, and only so much that afterwards its netting set meets
R and has cash ≥ 0. A step is first offered pro rata to the capacity that is left, and what that
leaves goes to the providers in the order of their accounts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from clearing.default.gate import declared_sets
from clearing.margin.assess import (
    Health,
    Portfolio,
    asked,
    collateral_value,
    exposure_price,
    health_of,
    market_value,
    option_value,
    portfolio_of,
    required,
)
from clearing.market.novation import notional
from clearing.model.apportion import apportion
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, InstrumentId, SetId, member_of
from clearing.model.values import BP, AccountStatus, Asset, MemberStatus, Provider
from ledger.amount import divide_down, divide_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What one provider takes. ``size``: lots with the sign of the position taken over, or an asset's smallest
    units; ``notional_minor`` counts against its capacity.
    """

    provider: AccountKey
    size: int
    notional_minor: int


def assignment_price(mark_ticks: int, width_ticks: int, lots: int, discount_bp: int) -> int:
    """The price at which a position of ``lots`` is given up: mark ∓ discount, rounded against it. The discount is a
    share of ``width_ticks``; a long option is given away for nothing at worst.
    """
    if lots > 0:
        return max(0, divide_down(mark_ticks * BP - width_ticks * discount_bp, BP))
    return divide_up(mark_ticks * BP + width_ticks * discount_bp, BP)


def sale_value(house: House, asset: Asset, amount_minor: int, discount_bp: int) -> int:
    """What a provider pays for collateral: market value less the discount, rounded up.

    In an outage, where only what administrators let close is sold, the outage haircut comes off too (rulebook §6).
    """
    value = market_value(house, asset, amount_minor)
    haircut_bp = 0 if house.outage is None else house.parameters.outage_haircut_bp
    return divide_up(value * (BP - discount_bp) * (BP - haircut_bp), BP * BP)


def eligible(house: House, excluded: frozenset[SetId]) -> list[Provider]:
    """Providers that may bid: solvent member, set not itself being closed or in default."""
    closing = excluded | set(house.liquidations) | declared_sets(house)
    return [
        provider
        for provider in ordered(house.providers)
        if house.accounts[provider.account].netting_set not in closing
        and house.accounts[provider.account].status is AccountStatus.ACTIVE
        and house.members[member_of(provider.account)].status is MemberStatus.ACTIVE
    ]


def providers_for(house: House, excluded: frozenset[SetId]) -> list[Provider]:
    """Providers that may be asked: those that may bid and have capacity left."""
    return [one for one in eligible(house, excluded) if one.taken_minor < one.capacity_minor]


def stands(house: House, set_id: SetId) -> bool:
    """Whether a taker meets R and has cash ≥ 0."""
    return _sound(house, set_id, portfolio_of(house, set_id))


def take_position(
    house: House,
    provider: Provider,
    instrument: InstrumentId,
    lots: int,
    price_ticks: int,
    carried_ticks: int,
) -> Taking:
    """The most of ``lots`` (signed) that the provider can take at ``price_ticks``."""
    sign = 1 if lots > 0 else -1
    set_id = house.accounts[provider.account].netting_set
    have = portfolio_of(house, set_id)
    room = provider.capacity_minor - provider.taken_minor
    exposed_ticks = exposure_price(house, instrument)

    def fits(size: int) -> bool:
        if notional(house, instrument, size, exposed_ticks) > room:
            return False
        value = option_value(house, instrument, sign * size)
        gain = sign * size * (carried_ticks - price_ticks) * house.instruments[instrument].tick_value_minor
        after = replace(
            have,
            lots={**have.lots, instrument: have.lots.get(instrument, 0) + sign * size},
            cash_minor=have.cash_minor + gain - value,
            option_value_minor=have.option_value_minor + value,
        )
        return _sound(house, set_id, after)

    size = largest(abs(lots), fits)
    return Taking(
        provider=provider.account,
        size=sign * size,
        notional_minor=notional(house, instrument, size, exposed_ticks),
    )


def take_collateral(house: House, provider: Provider, asset: Asset, amount_minor: int) -> Taking:
    """The most of ``amount_minor`` of an asset that the provider can buy."""
    set_id = house.accounts[provider.account].netting_set
    have = portfolio_of(house, set_id)
    room = provider.capacity_minor - provider.taken_minor
    discount_bp = house.parameters.assignment_discount_bp
    accounts = house.netting_sets[set_id].accounts

    def fits(size: int) -> bool:
        price = sale_value(house, asset, size, discount_bp)
        alone = divide_down(market_value(house, asset, size) * (BP - asset.haircut_bp), BP)
        whole = collateral_value(house, accounts, {(provider.account, asset.id): size})
        # Rounded as one amount with what is there, a tiny purchase could cost nothing, and be repeated for ever.
        after = replace(
            have,
            cash_minor=have.cash_minor - price,
            collateral_minor=min(whole, have.collateral_minor + alone),
        )
        return price <= room and _sound(house, set_id, after)

    size = largest(amount_minor, fits)
    return Taking(
        provider=provider.account, size=size, notional_minor=sale_value(house, asset, size, discount_bp)
    )


def offers(
    house: House, size: int, event_id: str, excluded: frozenset[SetId]
) -> Iterator[tuple[AccountKey, int]]:
    """Who is offered how much, in order: pro rata to capacity left, then the whole rest to each."""
    providers = providers_for(house, excluded)
    rooms = {str(p.account): p.capacity_minor - p.taken_minor for p in providers}
    parts = apportion(abs(size), rooms, event_id)
    sign = 1 if size > 0 else -1
    for provider in providers:
        yield provider.account, sign * parts[provider.account]
    for provider in providers:
        yield provider.account, size


def largest(limit: int, fits: Callable[[int], bool]) -> int:
    """The largest size up to ``limit`` that fits, by bisection; zero when nothing does."""
    if limit == 0 or fits(limit):
        return limit
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _sound(house: House, set_id: SetId, after: Portfolio) -> bool:
    amount = asked(house, house.netting_sets[set_id].accounts, after.lots)
    healthy = health_of(after.equity_minor, amount, required(house, amount)) is Health.HEALTHY
    return healthy and after.cash_minor >= 0
