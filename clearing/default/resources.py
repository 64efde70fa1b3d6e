"""What each tier of the waterfall can draw on, at the moment of the draw."""

from collections.abc import Mapping
from dataclasses import dataclass

from clearing import chart
from clearing.default.capped_period import running
from clearing.default.exits import survivors_at
from clearing.default.purses import GAINS
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, DefaultId, MemberId, SetId, house_account
from clearing.model.values import BP, Default, Gain, MemberPart, MemberStatus, Stage
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
    """Money by tier. ``event`` breaks ties in rounding; ``bidders``: whose bids counted in its auction."""

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
    bidders: tuple[MemberId, ...] = ()


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
        assessable={m: assessable(house, m, default.declared_ms) for m in survivors},
        winners=tuple(_winner(house, default, gain) for gain in default.gains),
        bidders=default.bidders,
    )


def imagined_event(house: House, name: str) -> Default:
    """An event declared at the newest cycle, of which there is nothing yet but who would bear it."""
    at_ms = 0 if house.cycle is None else house.cycle.accepted_ms
    return Default(
        id=DefaultId(name),
        stage=Stage.ANSWERING,
        declared_ms=at_ms,
        cycle=0,
        journal_size=house.size,
        survivors=survivors_at(house, at_ms),
        sets=(),
    )


def _defaulted(house: House, member: MemberId) -> bool:
    return house.members[member].status is MemberStatus.DEFAULTED


def assessable(house: House, member: MemberId, declared_ms: int | None = None) -> int:
    """What is left of the member's cap for an event declared then (None: at the newest cycle) (§11.7)."""
    if declared_ms is None:
        declared_ms = 0 if house.cycle is None else house.cycle.accepted_ms
    called = running(house, declared_ms).called
    return _cap_left(house, member, house.parameters.assessment_cap_bp, called)


def replenishable(house: House, member: MemberId, declared_ms: int) -> int:
    """What the member may still be asked to put back into the pool for an event declared then (§11)."""
    called = running(house, declared_ms).replenished
    return _cap_left(house, member, house.parameters.replenishment_cap_bp, called)


def _cap_left(house: House, member: MemberId, cap_bp: int, called: tuple[MemberPart, ...]) -> int:
    cap = divide_down(house.members[member].required_contribution_minor * cap_bp, BP)
    return max(0, cap - sum(part.amount_minor for part in called if part.member == member))


def _overlap(one: Default, other: Default) -> bool:
    """Whether two events look at the same gains: each was declared before the other was closed out."""
    ends = [max(event.cycle, event.closed_out_cycle) for event in (one, other)]
    return one.cycle <= ends[1] and other.cycle <= ends[0]


def _winner(house: House, default: Default, gain: Gain) -> Winner:
    """What a set can still be asked for: its gain less what earlier events took of it (§11.8)."""
    accounts = house.netting_sets[gain.netting_set].accounts
    taken = sum(
        draw.amount_minor
        for earlier in ordered(house.defaults)
        if _overlap(earlier, default)
        for draw in earlier.draws
        if draw.tier == GAINS and house.holder(AccountKey(draw.payer)) in accounts
    )
    return Winner(
        netting_set=gain.netting_set,
        gain_minor=max(0, gain.gain_minor - taken),
        cash_minor={key: max(0, house.cash(key)) for key in accounts},
    )
