"""What each tier of the waterfall can draw on, at the moment of the draw."""

from collections.abc import Mapping
from dataclasses import dataclass

from clearing import chart
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, DefaultId, MemberId, SetId, house_account
from clearing.model.values import BP, Default, MemberStatus
from ledger.amount import divide_down


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A netting set that gained in the window, and the accounts from which it can pay.

    ``cash_minor`` is the positive cash of each of its accounts; a haircut never takes more than the
    gain, nor more than the cash that is there.
    """

    netting_set: SetId
    gain_minor: int
    cash_minor: Mapping[AccountKey, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Money by tier. ``event`` breaks ties in rounding."""

    event: DefaultId
    house_cash: Mapping[MemberId, int]
    pool: Mapping[MemberId, int]
    required: Mapping[MemberId, int]
    survivors: tuple[MemberId, ...]
    skin_in_the_game: int
    insurance_fund: int
    second_tranche: int
    assessable: Mapping[MemberId, int]
    winners: tuple[Winner, ...]


def resources_of(house: House, default: Default, defaulters: tuple[MemberId, ...]) -> Resources:
    """Everything that stands behind ``default`` in the state ``house``.

    Survivors are the members of T0 that are not in default now; those who left meanwhile stay liable.
    """
    asset = house.settlement
    survivors = tuple(m for m in default.survivors if m not in defaulters and not _defaulted(house, m))
    fund = house.balance(chart.insurance_fund(asset))
    return Resources(
        event=default.id,
        house_cash={m: max(0, house.cash(house_account(m))) for m in defaulters},
        pool={m: house.pool(m) for m in (*defaulters, *survivors)},
        required={m: house.members[m].required_contribution_minor for m in survivors},
        survivors=survivors,
        skin_in_the_game=house.balance(chart.skin_in_the_game(asset)),
        insurance_fund=divide_down(fund * house.parameters.fund_event_cap_bp, BP),
        second_tranche=house.balance(chart.second_tranche(asset)),
        assessable={m: assessable(house, m) for m in survivors},
        winners=tuple(_winner(house, gain.netting_set, gain.gain_minor) for gain in default.gains),
    )


def active_members(house: House) -> tuple[MemberId, ...]:
    """Members that are not in default, in order."""
    return tuple(m.id for m in ordered(house.members) if m.status is MemberStatus.ACTIVE)


def _defaulted(house: House, member: MemberId) -> bool:
    return house.members[member].status is MemberStatus.DEFAULTED


def assessable(house: House, member: MemberId) -> int:
    """What is left of the member's cap in the capped period (rulebook §11.7)."""
    cap = divide_down(
        house.members[member].required_contribution_minor * house.parameters.assessment_cap_bp, BP
    )
    period = house.capped_period
    called = 0 if period is None else sum(p.amount_minor for p in period.called if p.member == member)
    return max(0, cap - called)


def _winner(house: House, set_id: SetId, gain_minor: int) -> Winner:
    cash = {key: max(0, house.cash(key)) for key in house.netting_sets[set_id].accounts}
    return Winner(netting_set=set_id, gain_minor=gain_minor, cash_minor=cash)
