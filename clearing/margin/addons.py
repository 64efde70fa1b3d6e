"""What is asked for beyond the model: size that the market does not take in a day, and tokens that fall with their
member (rulebook §9).

1. Liquidity and concentration. What a participant holds of one underlying in one direction, in all its netting sets at
   all members together, is sold at once when it fails. What goes beyond a share of the daily volume ([10 %]) moves the
   price against the seller by ``Y·σ·√(Q/ADV)``, and each set pays that on its own size. To spread a position over
   members or accounts changes nothing. An underlying whose volume nobody stated is not charged.
2. Linear positions of a set net to one size with a direction. Options are closed one by one: each counts as its delta,
   and as a tenth of its forward's notional at least, in either direction, and hedges nothing.
3. Wrong-way risk. In a set that has an account at a member that issued a token, or at an affiliate of it, positions on
   that token are asked for all that they would lose together if it were worth nothing, as it is on the day the member
   fails.

Every charge is rounded up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

from immutables import Map

from clearing.margin.owners import Owner, accounts_by_owner, owner_of
from clearing.margin.pricing import intrinsic_ticks
from clearing.margin.snapshot import array_of, volatilities_ppm
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, AssetId, FeedId, InstrumentId, MemberId, member_of
from clearing.model.values import BP, PPM, Asset, InstrumentRisk, Liquidity, Member, Parameters, RiskArray
from ledger.amount import divide_down, divide_up

Lots = Mapping[InstrumentId, int]
IMPACT_ONE = BP * PPM * PPM
"""The whole price, in the parts in which an impact is counted."""
OPTION_SIZE_LEAST = 10
"""An option counts as one in so many of its forward's notional at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOns:
    """Charges on a netting set in smallest units of the settlement asset, by underlying; none is zero."""

    liquidity: Mapping[FeedId, int]
    wrong_way: Mapping[FeedId, int]

    @property
    def amount_minor(self) -> int:
        """All together."""
        return sum(self.liquidity.values()) + sum(self.wrong_way.values())


NOTHING = AddOns(liquidity={}, wrong_way={})


@dataclass(frozen=True, slots=True)
class Size:
    """What is held of an underlying: linear positions net, long or short of it, and options."""

    linear_minor: int = 0
    options_minor: int = 0

    @property
    def minor(self) -> int:
        """What has to be closed."""
        return abs(self.linear_minor) + self.options_minor


class AddOnsOf:
    """The charges on netting sets of a house as it stands; what an owner holds is summed up once."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._thin = {one.underlying: one for one in house.parameters.liquidity}
        self._tokens = tokens_of(house.assets, house.members)
        self._owned: dict[tuple[Owner, FeedId], tuple[int, int]] = {}

    def set(self, accounts: Sequence[AccountKey], lots: Lots) -> AddOns:
        """Of a netting set of ``accounts`` that holds ``lots``, while all others hold what is booked."""
        if not (self._thin or self._tokens):
            return NOTHING
        charges = {
            underlying: self._liquidity(accounts, underlying, size)
            for underlying, size in sizes_of(lots, array_of(self._house), self._thin).items()
        }
        members = {member_of(key) for key in accounts}
        losses: dict[FeedId, int] = {}
        for instrument, quantity in lots.items() if self._tokens else ():
            underlying = self._house.instruments[instrument].underlying
            if not members.isdisjoint(self._tokens.get(underlying, ())):
                lost = quantity * lost_at_zero(self._house, instrument)
                losses[underlying] = losses.get(underlying, 0) + lost
        return AddOns(
            liquidity={underlying: charge for underlying, charge in charges.items() if charge},
            wrong_way={underlying: loss for underlying, loss in losses.items() if loss > 0},
        )

    def _liquidity(self, accounts: Sequence[AccountKey], underlying: FeedId, size: Size) -> int:
        house, thin = self._house, self._thin[underlying]
        whole = size.minor + self._elsewhere(accounts, underlying, is_long=size.linear_minor >= 0)
        beyond = whole - free_minor(house.parameters, thin)
        if beyond <= 0:
            return 0
        return divide_up(size.minor * impact(house, thin, beyond), IMPACT_ONE)

    def _elsewhere(self, accounts: Sequence[AccountKey], underlying: FeedId, *, is_long: bool) -> int:
        """What the owner's other sets hold in that direction; accounts that are linked with one of ``accounts`` count
        by themselves.
        """
        house = self._house
        owner, own = owner_of(house.accounts[accounts[0]]), set(accounts)
        sets = {house.accounts[key].netting_set for key in accounts}
        if (owner, underlying) not in self._owned:
            self._owned[owner, underlying] = self._summed(self._sets(owner), underlying)
        linked = [tuple(house.netting_sets[one].accounts) for one in sorted(sets)]
        apart = [(key,) for group in linked for key in group if key not in own]
        whole, taken = self._owned[owner, underlying], self._summed(linked, underlying)
        added = self._summed(apart, underlying)
        side = 0 if is_long else 1
        return whole[side] - taken[side] + added[side]

    def _sets(self, owner: Owner) -> list[tuple[AccountKey, ...]]:
        house = self._house
        sets = {house.accounts[key].netting_set for key in accounts_by_owner(house.accounts)[owner]}
        return [house.netting_sets[one].accounts for one in sorted(sets)]

    def _summed(self, groups: Iterable[Sequence[AccountKey]], underlying: FeedId) -> tuple[int, int]:
        """What groups of accounts hold long of an underlying, and short; options are in both."""
        array, long, short = array_of(self._house), 0, 0
        for group in groups:
            lots: dict[InstrumentId, int] = {}
            for key in group:
                for instrument, quantity in self._house.positions(key).items():
                    lots[instrument] = lots.get(instrument, 0) + quantity
            size = sizes_of(lots, array, {underlying: None}).get(underlying, Size())
            long += max(0, size.linear_minor) + size.options_minor
            short += max(0, -size.linear_minor) + size.options_minor
        return long, short


def add_ons_of(house: House, accounts: Sequence[AccountKey], lots: Lots) -> AddOns:
    """The charges on one netting set of ``accounts`` that holds ``lots``."""
    return AddOnsOf(house).set(accounts, lots)


def impact(house: House, thin: Liquidity, amount_minor: int) -> int:
    """``Y·σ·√(Q/ADV)``: the share of its price, in parts of ``IMPACT_ONE``, by which so much moves an underlying."""
    square = divide_up(amount_minor * PPM * PPM, thin.daily_volume_minor)
    root_ppm = 1 + isqrt(square - 1) if square else 0
    return house.parameters.impact_bp * volatilities_ppm(house)[thin.underlying] * root_ppm


def free_minor(parameters: Parameters, thin: Liquidity) -> int:
    """What can be sold in a day without a charge; rounded down."""
    return divide_down(thin.daily_volume_minor * parameters.free_volume_bp, BP)


def sizes_of(lots: Lots, array: RiskArray, underlyings: Mapping[FeedId, object]) -> dict[FeedId, Size]:
    """What ``lots`` are of each of ``underlyings``."""
    rows, found = rows_by_name(array), dict[FeedId, Size]()
    for instrument, quantity in lots.items():
        row = rows[instrument]
        if quantity and row.underlying in underlyings:
            before = found.get(row.underlying, Size())
            linear = quantity * row.notional_minor if row.delta_minor is None else 0
            options = 0 if row.delta_minor is None else abs(quantity) * size_of_lot(row)
            found[row.underlying] = Size(before.linear_minor + linear, before.options_minor + options)
    return found


def size_of_lot(row: InstrumentRisk) -> int:
    """What a lot counts when it has to be closed."""
    if row.delta_minor is None:
        return row.notional_minor
    return max(abs(row.delta_minor), divide_up(row.notional_minor, OPTION_SIZE_LEAST))


def lost_at_zero(house: House, instrument: InstrumentId) -> int:
    """What a lot held long loses if its underlying is worth nothing; negative if it gains."""
    row = house.instruments[instrument]
    if row.option is None:
        return house.prices.get(row.feed, 0) * row.tick_value_minor
    mark = house.option_prices.get(instrument, 0)
    return (mark - intrinsic_ticks(row, 0)) * row.tick_value_minor


@lru_cache(maxsize=4)
def rows_by_name(array: RiskArray) -> Mapping[InstrumentId, InstrumentRisk]:
    """The rows of the array by instrument."""
    return {row.instrument: row for row in array.instruments}


@lru_cache(maxsize=4)
def tokens_of(
    assets: Map[AssetId, Asset], members: Map[MemberId, Member]
) -> Mapping[FeedId, frozenset[MemberId]]:
    """Whose failure makes a token worth nothing, by the feed of its price: the issuer and its affiliates."""
    found: dict[FeedId, frozenset[MemberId]] = {}
    for asset in ordered(assets):
        if asset.issuer is not None and asset.feed is not None:
            group = members[asset.issuer].group if asset.issuer in members else ""
            affiliates = {one.id for one in members.values() if group and one.group == group}
            found[asset.feed] = found.get(asset.feed, frozenset()) | {asset.issuer} | affiliates
    return found
