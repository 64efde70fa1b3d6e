"""The one gate for all outflows (rulebook §8): what shuts it, since when, and what opens it again.

The gate is a function of the state, so it cannot be left open or shut by mistake. Once the house is wound down no
price is needed any more, and what is still missing in money keeps nobody's collateral (§11.9).
"""

from dataclasses import dataclass

from clearing import chart
from clearing.market.breakers import everything_halted
from clearing.market.outage import outage_of
from clearing.market.validity import Use, age_max_ms
from clearing.model.house import House, Pnl, ordered
from clearing.model.ids import AssetId, MemberId, SetId
from clearing.model.values import Default, Stage

OUTFLOWS = "outflows"
CASH_OUTFLOWS = "outflows of cash"
OPEN_STAGES = (Stage.DECLARED, Stage.CLOSED_OUT, Stage.ANSWERING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One reason why outflows, or those of cash alone, are refused. ``release`` says what opens the gate."""

    scope: str
    reason: str
    since_ms: int
    release: str


def gates(house: House, now_ms: int) -> tuple[Gate, ...]:
    """Every reason that holds now; the gate is open when there is none."""
    return (
        *_outage_gate(house, now_ms),
        *_cycle_gates(house, now_ms),
        *_default_gates(house),
        *_cash_gate(house, now_ms),
        *_loss_gates(house),
    )


def gates_of(house: House, asset: AssetId, now_ms: int) -> tuple[Gate, ...]:
    """Every reason why an asset may not leave now."""
    is_cash = asset == house.settlement
    return tuple(gate for gate in gates(house, now_ms) if is_cash or gate.scope == OUTFLOWS)


def _outage_gate(house: House, now_ms: int) -> tuple[Gate, ...]:
    halted, outage = everything_halted(house), outage_of(house, now_ms)
    if halted is not None:
        return (_gate("HALTED", halted.since_ms, "two administrators"),)
    if outage is None:
        return ()
    seconds = house.parameters.resume_after_ms // 1_000
    return (_gate("OUTAGE", outage.began_ms, f"a quorum of every feed that is fresh for {seconds} s"),)


def _cycle_gates(house: House, now_ms: int) -> tuple[Gate, ...]:
    cycle = house.cycle
    if house.wound_down is not None:
        return ()
    if cycle is None:
        return (_gate("NO_MARKS", 0, "the first price snapshot"),)
    if not cycle.closed:
        return (_gate("CYCLE_OPEN", cycle.accepted_ms, "the end of the clearing cycle"),)
    stale_since = cycle.accepted_ms + age_max_ms(house.parameters, Use.WITHDRAW)
    if now_ms > stale_since:
        return (_gate("MARKS_STALE", stale_since, "a new price snapshot"),)
    return ()


def _default_gates(house: House) -> tuple[Gate, ...]:
    shut: list[Gate] = []
    scope, release = _scope_of_money(house), "the wind-down" if house.wound_down is None else "recoveries"
    for default in ordered(house.defaults):
        if default.stage in OPEN_STAGES:
            shut.append(_gate(f"DEFAULT_OPEN {default.id}", default.declared_ms, "the loss is allocated"))
        if default.uncovered_minor:
            shut.append(_gate(f"LOSS_UNCOVERED {default.id}", default.declared_ms, release, scope))
    for assessment in ordered(house.assessments):
        reason = f"ASSESSMENT_UNPAID {assessment.default} {assessment.member}"
        since = house.defaults[assessment.default].declared_ms
        shut.append(_gate(reason, since, "payment, or the default of the member"))
    return tuple(shut)


def _cash_gate(house: House, now_ms: int) -> tuple[Gate, ...]:
    """A winner's gain is not paid out of other clients' money (rulebook §3)."""
    lent = owed_cash(house)
    bearable = house.balance(chart.house_capital(house.settlement)) + house.parameters.liquidity_line_minor
    if lent <= bearable:
        return ()
    release = f"negative cash of at most {bearable}"
    return (_gate(f"NEGATIVE_CASH {lent}", now_ms, release, _scope_of_money(house)),)


def _scope_of_money(house: House) -> str:
    """What is shut while money is missing: everything, for what will be sold is not known yet; after the wind-down
    nothing is sold any more.
    """
    return OUTFLOWS if house.wound_down is None else CASH_OUTFLOWS


def _loss_gates(house: House) -> tuple[Gate, ...]:
    """What custody lost without a default is the house's to make good (rulebook §3)."""
    return tuple(
        _gate(
            f"NON_DEFAULT_LOSS {house.balance(chart.non_default_losses(loss.asset))} {loss.asset}",
            loss.since_ms,
            "the house has made it good",
        )
        for loss in ordered(house.non_default_losses)
    )


def withheld(house: House, set_id: SetId) -> int:
    """Gains of a set that tier 8 may still haircut: until the loss is allocated it keeps them (rulebook §11.8).

    While an event is being closed out, its window's gains are those so far.
    """
    so_far = won(house, set_id) if declared_sets(house) else 0
    return max(0, so_far) + sum(
        gain.gain_minor
        for default in ordered(house.defaults)
        if default.stage in OPEN_STAGES
        for gain in default.gains
        if gain.netting_set == set_id
    )


def won(house: House, set_id: SetId) -> int:
    """What a set has won in the running window; negative, what it has lost."""
    return sum(pnl.window_minor for pnl in _pnl_of(house, set_id))


def won_in_cycle(house: House, set_id: SetId) -> int:
    """The part of it that is of this cycle."""
    return sum(pnl.cycle_minor for pnl in _pnl_of(house, set_id))


def _pnl_of(house: House, set_id: SetId) -> list[Pnl]:
    known = (house.pnl.get(key) for key in house.netting_sets[set_id].accounts)
    return [pnl for pnl in known if pnl is not None]


def loss_is_open(house: House) -> bool:
    """Whether a loss is being allocated: until then nothing may change by which it is divided."""
    return any(default.stage in OPEN_STAGES for default in ordered(house.defaults))


def may_answer(default: Default, member: MemberId) -> bool:
    """Whether a member owes an answer, or may still be found to (rulebook §10.5)."""
    if default.stage is Stage.ANSWERING:
        return any(part.member == member for part in default.answers)
    weighed = {part.member for one in default.sets for part in one.weights}
    return default.stage in OPEN_STAGES and member in weighed


def declared_sets(house: House) -> frozenset[SetId]:
    """Sets in default that are not closed out yet, as under a halt: nothing else is begun for them."""
    declared = [default for default in ordered(house.defaults) if default.stage is Stage.DECLARED]
    return frozenset(one.netting_set for default in declared for one in default.sets)


def owed_cash(house: House) -> int:
    """The sum of negative cash over all netting sets, as a positive amount."""
    sums = (
        sum(house.cash(key) for key in house.netting_sets[s].accounts) for s in sorted(house.netting_sets)
    )
    return sum(-cash for cash in sums if cash < 0)


def _gate(reason: str, since_ms: int, release: str, scope: str = OUTFLOWS) -> Gate:
    return Gate(scope=scope, reason=reason, since_ms=since_ms, release=release)
