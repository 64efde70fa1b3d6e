"""What is asked for beyond the model: size that the market does not take in a day, and tokens that fall with their
member (rulebook §9).

1. Liquidity and concentration. What a participant holds of one underlying in one direction, in all its netting sets at
   all members together, is sold at once when it fails. What goes beyond a share of the daily volume ([10 %]) moves the
   price against the seller by ``Y·σ·√(Q/ADV)``, and each set pays that on its own exposure. To spread a position over
   members or accounts changes nothing. An underlying whose volume nobody stated is not charged.
2. Wrong-way risk. Who holds a member's own token long in a set that has an account at that member is asked for all of
   it: the token is worth nothing on the day the member fails.

An exposure is lots × notional, of an option its delta. Every charge is rounded up.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

from immutables import Map

from clearing.margin.owners import accounts_by_owner, owner_of
from clearing.margin.snapshot import array_of, volatilities_ppm
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, AssetId, FeedId, InstrumentId, MemberId, member_of
from clearing.model.values import BP, PPM, Asset, InstrumentRisk, Liquidity, Parameters, RiskArray
from ledger.amount import divide_down, divide_up

Lots = Mapping[InstrumentId, int]
IMPACT_ONE = BP * PPM * PPM
"""The whole price, in the parts in which an impact is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddOns:
    """Charges on a netting set in smallest units of the settlement asset, by underlying; none is zero."""

    liquidity: Mapping[FeedId, int]
    wrong_way: Mapping[FeedId, int]

    @property
    def amount_minor(self) -> int:
        """All together."""
        return sum(self.liquidity.values()) + sum(self.wrong_way.values())

    def of(self, underlying: FeedId) -> int:
        """What is asked for because of one underlying."""
        return self.liquidity.get(underlying, 0) + self.wrong_way.get(underlying, 0)


NOTHING = AddOns(liquidity={}, wrong_way={})


def add_ons_of(house: House, accounts: Sequence[AccountKey], lots: Lots) -> AddOns:
    """The charges on a netting set of ``accounts`` that holds ``lots``, while all others hold what is booked."""
    thin = {one.underlying: one for one in house.parameters.liquidity}
    tokens = tokens_of(house.assets)
    if not (thin or tokens):
        return NOTHING
    exposures, members = exposures_of(lots, array_of(house)), {member_of(key) for key in accounts}
    charges = {
        underlying: _liquidity_charge(house, accounts, thin[underlying], exposure)
        for underlying, exposure in exposures.items()
        if underlying in thin
    }
    return AddOns(
        liquidity={underlying: charge for underlying, charge in charges.items() if charge},
        wrong_way={
            underlying: exposure
            for underlying, exposure in exposures.items()
            if exposure > 0 and not members.isdisjoint(tokens.get(underlying, ()))
        },
    )


def _liquidity_charge(
    house: House, accounts: Sequence[AccountKey], thin: Liquidity, exposure_minor: int
) -> int:
    sign, array = (1 if exposure_minor > 0 else -1), array_of(house)
    others = [
        sign * exposures_of(_booked(house, group), array).get(thin.underlying, 0)
        for group in _other_sets(house, accounts)
    ]
    beyond = abs(exposure_minor) + sum(max(0, other) for other in others) - free_minor(house.parameters, thin)
    if beyond <= 0:
        return 0
    return divide_up(abs(exposure_minor) * impact(house, thin, beyond), IMPACT_ONE)


def impact(house: House, thin: Liquidity, amount_minor: int) -> int:
    """``Y·σ·√(Q/ADV)``: the share of its price, in parts of ``IMPACT_ONE``, by which so much moves an underlying."""
    square = divide_up(amount_minor * PPM * PPM, thin.daily_volume_minor)
    root_ppm = 1 + isqrt(square - 1) if square else 0
    return house.parameters.impact_bp * volatilities_ppm(house)[thin.underlying] * root_ppm


def _other_sets(house: House, accounts: Sequence[AccountKey]) -> Iterable[list[AccountKey]]:
    """The other accounts of the owner as they are margined; those linked with one of ``accounts`` by themselves."""
    own = house.accounts[accounts[0]]
    groups: dict[str, list[AccountKey]] = {}
    split = {house.accounts[key].netting_set for key in accounts}
    for key in accounts_by_owner(house.accounts)[owner_of(own)]:
        if key not in accounts:
            set_id = house.accounts[key].netting_set
            groups.setdefault(key if set_id in split else set_id, []).append(key)
    return groups.values()


def _booked(house: House, accounts: Iterable[AccountKey]) -> dict[InstrumentId, int]:
    found: dict[InstrumentId, int] = {}
    for key in accounts:
        for instrument, quantity in house.positions(key).items():
            found[instrument] = found.get(instrument, 0) + quantity
    return found


def free_minor(parameters: Parameters, thin: Liquidity) -> int:
    """What can be sold in a day without a charge; rounded down."""
    return divide_down(thin.daily_volume_minor * parameters.free_volume_bp, BP)


def exposures_of(lots: Lots, array: RiskArray) -> dict[FeedId, int]:
    """The net exposure to each underlying: what it is long against the price, and short if negative."""
    rows, found = rows_by_name(array), dict[FeedId, int]()
    for instrument, quantity in lots.items():
        row = rows[instrument]
        found[row.underlying] = found.get(row.underlying, 0) + quantity * row.weight_minor
    return found


@lru_cache(maxsize=4)
def rows_by_name(array: RiskArray) -> Mapping[InstrumentId, InstrumentRisk]:
    """The rows of the array by instrument."""
    return {row.instrument: row for row in array.instruments}


@lru_cache(maxsize=4)
def tokens_of(assets: Map[AssetId, Asset]) -> Mapping[FeedId, frozenset[MemberId]]:
    """The members that have issued a token, by the feed of its price."""
    found: dict[FeedId, frozenset[MemberId]] = {}
    for asset in ordered(assets):
        if asset.issuer is not None and asset.feed is not None:
            found[asset.feed] = found.get(asset.feed, frozenset()) | {asset.issuer}
    return found
