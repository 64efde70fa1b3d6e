"""Moving positions and collateral of a set that is being closed: to providers, or within the set."""

from collections.abc import Iterable
from dataclasses import replace

from clearing import chart
from clearing.default.placement import (
    Taking,
    assignment_price,
    offers,
    sale_value,
    take_collateral,
    take_position,
)
from clearing.margin.assess import market_value, posted, settlement_price, width_price
from clearing.market.novation import novate
from clearing.model.draft import Draft
from clearing.model.house import House, Put, ordered
from clearing.model.ids import AccountKey, InstrumentId, SetId
from clearing.model.kinds import Kind
from clearing.model.values import Asset, Offered
from ledger.amount import divide_up
from ledger.entry import Leg, transfer


def assign_position(
    draft: Draft, key: AccountKey, instrument: InstrumentId, lots: int, excluded: frozenset[SetId]
) -> int:
    """Give up to ``lots`` (signed) of a position to backstop providers; the notional that was placed."""
    mark = settlement_price(draft.house, instrument)
    width, discount_bp = width_price(draft.house, instrument), draft.house.parameters.assignment_discount_bp
    price = assignment_price(mark, width, lots, discount_bp)
    left, placed = lots, 0
    for account, offered in offers(draft.house, lots, f"{key}/{instrument}/{draft.now_ms}", excluded):
        asked = min(offered, left) if lots > 0 else max(offered, left)
        if asked == 0:
            continue
        provider = draft.house.providers[account]
        taking = take_position(draft.house, provider, instrument, asked, price, mark)
        if taking.size:
            _book_assignment(draft, key, instrument, taking, price, mark)
            left -= taking.size
            placed += taking.notional_minor
    return placed


def _book_assignment(
    draft: Draft, key: AccountKey, instrument: InstrumentId, taking: Taking, price: int, mark: int
) -> None:
    seller, buyer = (key, taking.provider) if taking.size > 0 else (taking.provider, key)
    legs = novate(
        draft.house,
        instrument,
        seller=seller,
        buyer=buyer,
        lots=abs(taking.size),
        price_ticks=price,
        carried_ticks=mark,
    )
    draft.record(Kind.POSITION_ASSIGNED, _taken(draft, taking), legs=legs, references=(key, taking.provider))
    draft.tell(Kind.POSITION_ASSIGNED, f"{key} {instrument}", taking.notional_minor)


def _taken(draft: Draft, taking: Taking) -> Put:
    provider = draft.house.providers[taking.provider]
    grown = replace(provider, taken_minor=provider.taken_minor + taking.notional_minor)
    return Put("providers", provider.account, grown)


def sell_collateral(
    draft: Draft, key: AccountKey, excluded: frozenset[SetId], wanted_minor: int | None
) -> int:
    """Sell posted collateral of an account to providers until ``wanted_minor`` is raised (None: all of it).

    Gives the cash raised. What no provider can buy stays posted.
    """
    raised = 0
    for asset in ordered(draft.house.assets):
        while (amount := posted(draft.house, key, asset.id)) and (
            wanted_minor is None or raised < wanted_minor
        ):
            if wanted_minor is not None:
                amount = min(amount, _amount_for(draft.house, asset, wanted_minor - raised))
            proceeds = _sell(draft, key, asset, amount, excluded)
            raised += proceeds
            if proceeds == 0:
                break
    return raised


def collateral_for(house: House, keys: Iterable[AccountKey], wanted_minor: int | None) -> tuple[Offered, ...]:
    """Posted collateral that has a price, in order, as much as brings ``wanted_minor`` at the assignment discount
    (None: all of it).
    """
    offered: list[Offered] = []
    for key in keys:
        for asset in ordered(house.assets):
            amount = posted(house, key, asset.id)
            if wanted_minor is not None:
                amount = min(amount, _amount_for(house, asset, wanted_minor)) if wanted_minor > 0 else 0
                wanted_minor -= sale_value(house, asset, amount, house.parameters.assignment_discount_bp)
            if market_value(house, asset, amount):
                offered.append(Offered(account=key, unit=asset.id, size=amount))
    return tuple(offered)


def _amount_for(house: House, asset: Asset, wanted_minor: int) -> int:
    """How much of an asset brings at least ``wanted_minor``; all that could be held if it has no price."""
    whole = market_value(house, asset, 10**asset.decimals)
    if whole == 0:
        return house.balance(chart.custody(asset.id))
    unit_price = whole * (10_000 - house.parameters.assignment_discount_bp)
    return divide_up((wanted_minor + 1) * 10_000 * 10**asset.decimals, unit_price)


def _sell(draft: Draft, key: AccountKey, asset: Asset, amount: int, excluded: frozenset[SetId]) -> int:
    raised, left = 0, amount
    for account, offered in offers(draft.house, amount, f"{key}/{asset.id}/{draft.now_ms}", excluded):
        provider = draft.house.providers[account]
        taking = take_collateral(draft.house, provider, asset, min(offered, left))
        price = sale_value(draft.house, asset, taking.size, draft.house.parameters.assignment_discount_bp)
        if price == 0:
            continue
        legs: tuple[Leg, ...] = (
            *transfer(chart.collateral(key, asset.id), chart.collateral(account, asset.id), taking.size),
            *transfer(
                chart.cash(account, draft.house.settlement), chart.cash(key, draft.house.settlement), price
            ),
        )
        draft.record(Kind.COLLATERAL_SOLD, _taken(draft, taking), legs=legs, references=(key, account))
        draft.tell(Kind.COLLATERAL_SOLD, f"{key} {asset.id}", price)
        raised += price
        left -= taking.size
    return raised


def net_within(draft: Draft, sets: tuple[SetId, ...]) -> None:
    """Close opposite positions of the same instrument inside ``sets`` against each other, at S."""
    house = draft.house
    keys = sorted(key for set_id in sets for key in house.netting_sets[set_id].accounts)
    for instrument in sorted({i for key in keys for i in house.positions(key)}):
        lots = [(key, house.position(key, instrument)) for key in keys]
        longs = [(key, quantity) for key, quantity in lots if quantity > 0]
        shorts = [(key, -quantity) for key, quantity in lots if quantity < 0]
        legs = _match(draft, instrument, longs, shorts)
        if legs:
            draft.record(Kind.POSITIONS_NETTED, legs=legs, references=(instrument,))


def _match(
    draft: Draft,
    instrument: InstrumentId,
    longs: list[tuple[AccountKey, int]],
    shorts: list[tuple[AccountKey, int]],
) -> tuple[Leg, ...]:
    """Legs that close longs against shorts in their order, until one side is empty."""
    carried = settlement_price(draft.house, instrument)
    legs: list[Leg] = []
    while longs and shorts:
        (seller, sold), (buyer, bought) = longs.pop(0), shorts.pop(0)
        lots = min(sold, bought)
        legs += novate(
            draft.house,
            instrument,
            seller=seller,
            buyer=buyer,
            lots=lots,
            price_ticks=carried,
            carried_ticks=carried,
        )
        if sold > lots:
            longs.insert(0, (seller, sold - lots))
        if bought > lots:
            shorts.insert(0, (buyer, bought - lots))
    return tuple(legs)
