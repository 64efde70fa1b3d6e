"""Close-out of the netting sets of a default, and the loss that it leaves (rulebook §10.3–5).

1. opposite positions inside the event are netted at S
2. backstop providers take what they can at mark ∓ 1 %
3. what nobody took is torn up against opposite positions, pro rata, at S
4. collateral is sold to providers
5. the gains of the window are written down (they are what tier 8 may haircut)
6. cash inside each set is brought together; a set that still owes leaves a hole, for which its
members answer
"""

from dataclasses import replace

from clearing import chart
from clearing.decide.declare import dropped
from clearing.decide.liquidation import positions_of
from clearing.decide.placing import assign_position, net_within, sell_collateral
from clearing.default.tear_up import tear_up
from clearing.margin.assess import living_sets
from clearing.model.apportion import apportion
from clearing.model.draft import Draft
from clearing.model.house import House, Put
from clearing.model.ids import AccountKey, DefaultId, InstrumentId, MemberId, SetId, house_account
from clearing.model.kinds import Kind
from clearing.model.values import AccountStatus, Gain, MemberPart, Stage
from ledger.entry import Leg, credit, debit, transfer


def close_out(draft: Draft, default_id: DefaultId) -> None:
    """Steps 1 to 5 for an event that was declared."""
    default = draft.house.defaults[default_id]
    sets = tuple(one.netting_set for one in default.sets)
    empty_positions(draft, sets, default_id)
    after = replace(default, stage=Stage.CLOSED_OUT, gains=_gains(draft.house))
    draft.record(Kind.CLOSED_OUT, Put("defaults", default_id, after))
    draft.tell(Kind.CLOSED_OUT, default_id, sum(gain.gain_minor for gain in after.gains))


def empty_positions(draft: Draft, sets: tuple[SetId, ...], event_id: DefaultId) -> None:
    """Steps 1 to 4; afterwards the accounts are closed out and hold cash and unsold collateral only."""
    net_within(draft, sets)
    excluded = frozenset(sets)
    for key, instrument, lots in positions_of(draft.house, sets):
        assign_position(draft, key, instrument, lots, excluded)
    _tear_up_rest(draft, sets, event_id)
    keys = [key for set_id in sets for key in draft.house.netting_sets[set_id].accounts]
    for key in keys:
        sell_collateral(draft, key, excluded, None)
    closed = [
        Put("accounts", key, replace(draft.house.accounts[key], status=AccountStatus.CLOSED_OUT))
        for key in keys
    ]
    ended = [change for set_id in sets for change in dropped(draft.house, set_id)]
    draft.record(Kind.ACCOUNTS_CLOSED_OUT, *closed, *ended)


def _tear_up_rest(draft: Draft, sets: tuple[SetId, ...], event_id: DefaultId) -> None:
    rest: dict[InstrumentId, dict[AccountKey, int]] = {}
    for key, instrument, lots in positions_of(draft.house, sets):
        rest.setdefault(instrument, {})[key] = lots
    for instrument in sorted(rest):
        legs = tear_up(draft.house, instrument, rest[instrument], event_id)
        draft.record(Kind.POSITIONS_TORN_UP, legs=legs, references=(event_id, instrument))
        draft.tell(Kind.POSITIONS_TORN_UP, f"{event_id} {instrument}", abs(sum(rest[instrument].values())))


def _gains(house: House) -> tuple[Gain, ...]:
    """Sets that won in the window; closed-out sets, and so those in default, do not count."""
    gains: list[Gain] = []
    for set_id in living_sets(house):
        known = (house.pnl.get(key) for key in house.netting_sets[set_id].accounts)
        won = sum(pnl.window_minor for pnl in known if pnl is not None)
        if won > 0:
            gains.append(Gain(netting_set=set_id, gain_minor=won))
    return tuple(gains)


def fix_loss(draft: Draft, default_id: DefaultId) -> None:
    """Step 6. Members answer in proportion to their weights; without a deficit the event is over."""
    default = draft.house.defaults[default_id]
    legs: list[Leg] = []
    owed: dict[MemberId, int] = {}
    for one in default.sets:
        legs += _gather_cash(draft.house, one.netting_set)
        deficit = max(0, -_cash(draft.house, one.netting_set))
        parts = apportion(
            deficit, {w.member: w.amount_minor for w in one.weights}, f"{default_id}/{one.netting_set}"
        )
        for member, part in parts.items():
            legs += (
                [debit(chart.loss(default_id, MemberId(member), draft.house.settlement), part)]
                if part
                else []
            )
            owed[MemberId(member)] = owed.get(MemberId(member), 0) + part
    answers = tuple(MemberPart(member=m, amount_minor=a) for m, a in sorted(owed.items()) if a)
    after = replace(
        default,
        stage=Stage.ANSWERING if answers else Stage.CLOSED,
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
