"""Close-out of the netting sets of a default, and the loss that it leaves (rulebook §10.3–5).

1. opposite positions inside the event are netted at S; positions and collateral are put up for auction
2. when the window is over, the bids are awarded that are no worse than assignment
3. backstop providers take what they can at mark ∓ 1 %, positions first, then collateral
4. the other bids are awarded at any price: for collateral first, since it only lowers the loss, then for positions
as far as tiers 1 to 8 bear it
5. positions that nobody took are torn up against opposite ones, pro rata, at S
6. the gains of the window are written down (they are what tier 8 may haircut), and whose bids counted
7. cash inside each set is brought together; a set that still owes leaves a hole, for which its
members answer
"""

from collections.abc import Sequence
from dataclasses import replace

from clearing import chart
from clearing.decide.auctions import (
    Sale,
    auctions_of,
    bidding_members,
    close_auction,
    open_auction,
    void_all,
)
from clearing.decide.declare import dropped
from clearing.decide.liquidation import all_positions, positions_of
from clearing.decide.placing import assign_position, collateral_for, net_within, sell_collateral
from clearing.default.gate import declared_sets, won
from clearing.default.resources import resources_of
from clearing.default.tear_up import tear_up
from clearing.default.waterfall import absorb
from clearing.margin.assess import assess, living_sets
from clearing.model.apportion import apportion
from clearing.model.draft import Draft
from clearing.model.house import House, Put
from clearing.model.ids import (
    AccountKey,
    DefaultId,
    InstrumentId,
    MemberId,
    SetId,
    house_account,
    member_of,
)
from clearing.model.kinds import Kind
from clearing.model.values import (
    AccountStatus,
    Auction,
    AuctionKind,
    Default,
    DefaultedSet,
    Gain,
    MemberPart,
    Stage,
)
from ledger.entry import Leg, credit, debit, transfer


def close_out(draft: Draft, default_id: DefaultId) -> None:
    """Steps 1 to 6 for an event that was declared; step 1 alone if an auction is to be held."""
    default = draft.house.defaults[default_id]
    sets = tuple(one.netting_set for one in default.sets)
    auctions = auctions_of(draft.house, default_id)
    if not auctions and _offer(draft, default_id, sets):
        return
    sales = [close_auction(draft, one) for one in sorted(auctions, key=_sold_second)]
    positions = [sale for sale in sales if sale.auction.kind is AuctionKind.CLOSE_OUT]
    bidders = {member for sale in positions for member in bidding_members(draft, sale)}
    empty_positions(draft, sets, default_id, sales)
    bidders |= {member_of(account) for sale in positions for account in sale.winners}
    after = replace(
        default,
        stage=Stage.CLOSED_OUT,
        gains=_gains(draft.house, default),
        bidders=tuple(MemberId(member) for member in sorted(bidders)),
        closed_out_cycle=0 if draft.house.cycle is None else draft.house.cycle.number,
    )
    draft.record(Kind.CLOSED_OUT, Put("defaults", default_id, after))
    draft.tell(Kind.CLOSED_OUT, default_id, sum(gain.gain_minor for gain in after.gains))


def _sold_second(auction: Auction) -> bool:
    return auction.kind is AuctionKind.COLLATERAL


def _offer(draft: Draft, default_id: DefaultId, sets: tuple[SetId, ...]) -> bool:
    """Step 1. Whether an auction was opened, of all positions or of all collateral of the event."""
    net_within(draft, sets)
    keys = [key for set_id in sets for key in draft.house.netting_sets[set_id].accounts]
    collateral = collateral_for(draft.house, keys, None)
    positions = all_positions(draft.house, sets)
    opened = [
        open_auction(draft, AuctionKind.COLLATERAL, default_id, collateral),
        open_auction(draft, AuctionKind.CLOSE_OUT, default_id, positions),
    ]
    return any(opened)


def empty_positions(
    draft: Draft, sets: tuple[SetId, ...], event_id: DefaultId, sales: Sequence[Sale] = ()
) -> None:
    """Steps 1 to 5; afterwards the accounts are closed out and hold cash and unsold collateral only."""
    for set_id in sets:
        void_all(draft, set_id, "the set is closed out")
    net_within(draft, sets)
    excluded, discount_bp = frozenset(sets), draft.house.parameters.assignment_discount_bp
    keys = [key for set_id in sets for key in draft.house.netting_sets[set_id].accounts]
    for sale in sales:
        sale.award(draft, sale.up_to(discount_bp))
    for key, instrument, lots in positions_of(draft.house, sets):
        assign_position(draft, key, instrument, lots, excluded)
    for key in keys:
        sell_collateral(draft, key, excluded, None)
    solvent = _solvent(draft.house, sets)
    for sale in reversed(sales):
        sale.withhold(solvent)
        _award_at_any_price(draft, event_id, sale)
    _tear_up_rest(draft, sets, event_id)
    closed = [
        Put("accounts", key, replace(draft.house.accounts[key], status=AccountStatus.CLOSED_OUT))
        for key in keys
    ]
    ended = [change for set_id in sets for change in dropped(draft.house, set_id)]
    draft.record(Kind.ACCOUNTS_CLOSED_OUT, *closed, *ended)


def _solvent(house: House, sets: tuple[SetId, ...]) -> frozenset[AccountKey]:
    """Accounts of sets that owe nothing: a dear bid would take from their participants what a tear-up leaves them."""
    solvent = [set_id for set_id in sets if assess(house, set_id).equity_minor >= 0]
    return frozenset(key for set_id in solvent for key in house.netting_sets[set_id].accounts)


def _award_at_any_price(draft: Draft, event_id: DefaultId, sale: Sale) -> None:
    """Step 4: an award adds nothing to what no tier could pay."""
    before = _uncovered(draft.house, event_id)
    dear = sale.beyond(draft.house.parameters.assignment_discount_bp)
    sale.award(draft, dear, lambda house: _uncovered(house, event_id) <= before)


def _uncovered(house: House, event_id: DefaultId) -> int:
    """What tiers 1 to 8 could not pay if the event's loss were what its sets owe now (rulebook §10.3)."""
    default = house.defaults[event_id]
    default = replace(default, gains=_gains(house, default))
    losses: dict[MemberId, int] = {}
    for hole in _holes(house, default):
        losses[hole.member] = losses.get(hole.member, 0) + hole.amount_minor
    return absorb(resources_of(house, default, tuple(losses)), losses).uncovered_minor


def _holes(house: House, default: Default) -> list[MemberPart]:
    """What members answer for, set by set: its deficit in proportion to their weights (rulebook §10.5)."""
    holes: list[MemberPart] = []
    for one in default.sets:
        weights = {str(w.member): w.amount_minor for w in one.weights}
        deficit = max(0, -_cash(house, one.netting_set))
        parts = apportion(deficit, weights, f"{default.id}/{one.netting_set}")
        holes += [MemberPart(member=MemberId(m), amount_minor=part) for m, part in parts.items() if part]
    return holes


def _tear_up_rest(draft: Draft, sets: tuple[SetId, ...], event_id: DefaultId) -> None:
    rest: dict[InstrumentId, dict[AccountKey, int]] = {}
    for key, instrument, lots in positions_of(draft.house, sets):
        rest.setdefault(instrument, {})[key] = lots
    for instrument in sorted(rest):
        legs = tear_up(draft.house, instrument, rest[instrument], event_id)
        draft.record(Kind.POSITIONS_TORN_UP, legs=legs, references=(event_id, instrument))
        draft.tell(Kind.POSITIONS_TORN_UP, f"{event_id} {instrument}", abs(sum(rest[instrument].values())))


def _gains(house: House, default: Default) -> tuple[Gain, ...]:
    """Sets that won from T0's cycle to now; those that are closed out or in default do not count."""
    before = {gain.netting_set: gain.gain_minor for gain in default.won_before}
    declared = declared_sets(house)
    sets = [set_id for set_id in living_sets(house) if set_id not in declared]
    gains = {set_id: won(house, set_id) - before.get(set_id, 0) for set_id in sets}
    return tuple(Gain(netting_set=set_id, gain_minor=gain) for set_id, gain in gains.items() if gain > 0)


def fix_loss(draft: Draft, default_id: DefaultId) -> None:
    """Step 7. Members answer in proportion to their weights; without a deficit the event is over."""
    default = draft.house.defaults[default_id]
    legs: list[Leg] = []
    owed: dict[MemberId, int] = {}
    sets: list[DefaultedSet] = []
    for one in default.sets:
        legs += _gather_cash(draft.house, one.netting_set)
        sets.append(replace(one, deficit_minor=max(0, -_cash(draft.house, one.netting_set))))
    for hole in _holes(draft.house, default):
        legs.append(debit(chart.loss(default_id, hole.member, draft.house.settlement), hole.amount_minor))
        owed[hole.member] = owed.get(hole.member, 0) + hole.amount_minor
    answers = tuple(MemberPart(member=m, amount_minor=a) for m, a in sorted(owed.items()))
    after = replace(
        default,
        stage=Stage.ANSWERING if answers else Stage.CLOSED,
        sets=tuple(sets),
        answers=answers,
        losses=answers,
        answers_due_ms=draft.now_ms + draft.house.parameters.answer_ms,
    )
    draft.record(
        Kind.LOSS_FIXED, Put("defaults", default_id, after), legs=tuple(legs), references=(default_id,)
    )
    draft.tell(Kind.LOSS_FIXED, default_id, sum(owed.values()))
    for answer in answers:
        draft.tell(Kind.ANSWER_CALLED, f"{default_id} {answer.member}", answer.amount_minor)


def _cash(house: House, set_id: SetId) -> int:
    return sum(house.cash(key) for key in house.netting_sets[set_id].accounts)


def _gather_cash(house: House, set_id: SetId) -> list[Leg]:
    """Bring cash from the accounts that have some to those that owe, and fill what is missing from the hole.

    The credits of a set exceed its debits by just its deficit, which the loss accounts are debited with.
    """
    asset = house.settlement
    cash = {key: house.cash(key) for key in house.netting_sets[set_id].accounts}
    owing = {str(key): -amount for key, amount in cash.items() if amount < 0}
    having = {str(key): amount for key, amount in cash.items() if amount > 0}
    given = apportion(sum(owing.values()), having, set_id, having)
    return [
        *(debit(chart.cash(AccountKey(key), asset), part) for key, part in given.items() if part),
        *(credit(chart.cash(AccountKey(key), asset), amount) for key, amount in owing.items()),
    ]


def move_to_loss(draft: Draft, default_id: DefaultId, member: MemberId, set_id: SetId) -> int:
    """Turn the negative cash of a defaulted member's own set into a loss of the event; gives the amount."""
    deficit = max(0, -_cash(draft.house, set_id))
    legs = _gather_cash(draft.house, set_id)
    if deficit:
        legs.append(debit(chart.loss(default_id, member, draft.house.settlement), deficit))
    if legs:
        draft.record(Kind.LOSS_FIXED, legs=tuple(legs), references=(default_id, member))
    return deficit


def repay_answer(house: House, default_id: DefaultId, member: MemberId, amount_minor: int) -> tuple[Leg, ...]:
    """Legs by which an answering member pays its part and receives a claim for it."""
    asset = house.settlement
    return (
        *transfer(
            chart.cash(house_account(member), asset),
            chart.loss(default_id, member, asset),
            amount_minor,
        ),
        *transfer(chart.claims(default_id, asset), chart.member_claim(member, asset), amount_minor),
    )
