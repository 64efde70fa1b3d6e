"""The figures of an attestation, taken from the state that one cycle left (attestation.md §5)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from clearing import chart
from clearing.attest.balances import liabilities_of, units_of
from clearing.attest.code import code_digest
from clearing.attest.inputs import commit, lines_of
from clearing.attest.liabilities import Context
from clearing.attest.statement import (
    FIRST_PREVIOUS,
    Breaches,
    Calls,
    CircuitBreaker,
    Gate,
    Inputs,
    Journal,
    Liabilities,
    Model,
    Netting,
    OpenDefault,
    Resources,
    Statement,
    Stress,
    Totals,
    attested_tree,
)
from clearing.default import stress
from clearing.default.exits import survivors_at
from clearing.default.gate import gates
from clearing.default.resources import assessable
from clearing.default.stress import stress_array, stressed
from clearing.margin.assess import Measured, measured_sets
from clearing.margin.table import MODELS
from clearing.market.validity import Use, age_max_ms
from clearing.model.codec import to_text
from clearing.model.house import House, ordered
from clearing.model.values import BreakerState, Default, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """What takes most of the work, or a secret, and may come from elsewhere when somebody recomputes."""

    measured: Sequence[Measured]
    stress: stress.Stress
    inputs: Inputs
    liabilities: Liabilities


def compute(house: House, journal: Journal, blinding: bytes) -> Computed:
    """All that one attestation needs; ``blinding`` is the house's secret that hides what is not shown."""
    measured, array = measured_sets(house), stress_array(house)
    context = Context(journal=attested_tree(journal), snapshot=next_sequence(house), units=units_of(house))
    owed, _ = liabilities_of(house, context, blinding)
    return Computed(
        measured=measured,
        stress=stressed(house, array),
        inputs=commit(lines_of(house, array, measured), blinding, next_sequence(house)),
        liabilities=owed,
    )


def next_sequence(house: House) -> int:
    """The number of the attestation that comes next."""
    return 1 if house.attestation is None else house.attestation.sequence + 1


def statement_of(house: House, issuer: str, journal: Journal, computed: Computed) -> Statement:
    """What the house states about the cycle that ``house`` has just closed, over the tree in ``journal``."""
    measured, last, cycle = computed.measured, house.attestation, house.newest_cycle
    return Statement(
        issuer=issuer,
        sequence=next_sequence(house),
        previous=FIRST_PREVIOUS if last is None else bytes.fromhex(last.payload_sha256),
        as_of_ms=cycle.accepted_ms,
        valid_until_ms=cycle.accepted_ms + age_max_ms(house.parameters, Use.ATTEST),
        journal=journal,
        trial_balance={
            unit: Totals(debits_minor=debits, credits_minor=credits)
            for unit, (debits, credits) in sorted(house.book.trial_balance().items())
            if debits or credits  # instruments that ended leave their units behind, ever more of them
        },
        resources=stated_resources(house, measured),
        stress=_stress(computed.stress),
        calls=Calls(count=len(house.calls), amount_minor=sum(c.amount_minor for c in ordered(house.calls))),
        breaches=_breaches(measured),
        gates=tuple(
            Gate(scope=gate.scope, reason=gate.reason, since_ms=gate.since_ms)
            for gate in gates(house, cycle.accepted_ms)
        ),
        breakers=tuple(
            CircuitBreaker(
                scope=one.scope, state=one.state.value, trigger=one.trigger.value, since_ms=one.since_ms
            )
            for one in ordered(house.breakers)
            if one.state is not BreakerState.OPEN
        ),
        netting=Netting(
            standalone_minor=sum(one.standalone_minor for one in measured),
            portfolio_minor=sum(one.requirement_minor for one in measured),
        ),
        model=model_of(house),
        inputs=computed.inputs,
        liabilities=computed.liabilities,
        waterfall=tuple(_open_default(d) for d in ordered(house.defaults) if d.stage is not Stage.CLOSED),
    )


def _stress(found: stress.Stress) -> Stress:
    return Stress(
        scenario_set_digest=found.scenario_set_digest,
        cover1_minor=found.cover1_minor,
        cover2_minor=found.cover2_minor,
        prefunded_minor=found.prefunded_minor,
        worst_scenario=found.worst_scenario,
    )


def _breaches(measured: Sequence[Measured]) -> Breaches:
    short = [lacking for one in measured if (lacking := one.requirement_minor - one.equity_minor) > 0]
    return Breaches(count=len(short), amount_minor=sum(short))


def stated_resources(house: House, measured: Sequence[Measured]) -> Resources:
    """What stands behind the positions, by where it would come from."""
    asset = house.settlement
    bearing = [house.members[one] for one in survivors_at(house, house.newest_cycle.accepted_ms)]
    return Resources(
        margin_required_minor=sum(one.requirement_minor for one in measured),
        margin_held_minor=sum(one.equity_minor for one in measured),
        pool_required_minor=sum(member.required_contribution_minor for member in bearing),
        pool_held_minor=sum(house.pool(member.id) for member in bearing),
        skin_in_the_game_minor=house.balance(chart.skin_in_the_game(asset)),
        second_tranche_minor=house.balance(chart.second_tranche(asset)),
        insurance_fund_minor=house.balance(chart.insurance_fund(asset)),
        assessments_available_minor=sum(assessable(house, member.id) for member in bearing),
    )


def model_of(house: House) -> Model:
    """The margin model in force, and by digests what it was used with."""
    model = MODELS[house.parameters.margin_model]
    return Model(
        name=model.name,
        version=model.version,
        parameters_digest=_digest(house.parameters),
        prices_digest=_digest(house.newest_cycle.marks),
        code_digest=code_digest(),
    )


def _digest(value: object) -> bytes:
    """SHA-256 of the canonical text of ``value`` (model/codec)."""
    return hashlib.sha256(to_text(value).encode("ascii")).digest()


def _open_default(default: Default) -> OpenDefault:
    loss = sum(part.amount_minor for part in default.losses)
    return OpenDefault(
        default=default.id,
        stage=default.stage.value,
        loss_minor=loss,
        draws_minor={f"tier {t.tier}": t.paid_minor for t in default.tiers if t.paid_minor},
        uncovered_minor=sum(t.passed_on_minor for t in default.tiers[-1:]),
    )
