"""The figures of an attestation, taken from the state that one cycle left (attestation.md §5)."""

import hashlib

from clearing import chart
from clearing.attest.statement import (
    FIRST_PREVIOUS,
    Calls,
    Gate,
    Journal,
    Model,
    Netting,
    OpenDefault,
    Resources,
    Statement,
    Totals,
)
from clearing.default.exits import survivors_at
from clearing.default.gate import gates
from clearing.default.resources import assessable
from clearing.margin.assess import Assessment, assess, living_sets
from clearing.margin.table import MODELS
from clearing.market.validity import Use, age_max_ms
from clearing.model.codec import to_text
from clearing.model.house import House, ordered
from clearing.model.values import Default, Stage


def statement_of(house: House, issuer: str, journal: Journal) -> Statement:
    """What the house states about the cycle that ``house`` has just closed, over the tree in ``journal``."""
    measured = [assess(house, set_id) for set_id in living_sets(house)]
    last, cycle = house.attestation, house.newest_cycle
    return Statement(
        issuer=issuer,
        sequence=1 if last is None else last.sequence + 1,
        previous=FIRST_PREVIOUS if last is None else bytes.fromhex(last.payload_sha256),
        as_of_ms=cycle.accepted_ms,
        valid_until_ms=cycle.accepted_ms + age_max_ms(house.parameters, Use.ATTEST),
        journal=journal,
        trial_balance={
            unit: Totals(debits_minor=debits, credits_minor=credits)
            for unit, (debits, credits) in sorted(house.book.trial_balance().items())
        },
        resources=_resources(house, measured),
        calls=Calls(count=len(house.calls), amount_minor=sum(c.amount_minor for c in ordered(house.calls))),
        gates=tuple(
            Gate(scope=gate.scope, reason=gate.reason, since_ms=gate.since_ms)
            for gate in gates(house, cycle.accepted_ms)
        ),
        netting=Netting(
            standalone_minor=sum(one.standalone_minor for one in measured),
            portfolio_minor=sum(one.requirement_minor for one in measured),
        ),
        model=_model(house),
        waterfall=tuple(_open_default(d) for d in ordered(house.defaults) if d.stage is not Stage.CLOSED),
    )


def _resources(house: House, measured: list[Assessment]) -> Resources:
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


def _model(house: House) -> Model:
    model = MODELS[house.parameters.margin_model]
    return Model(
        name=model.name,
        version=model.version,
        parameters_digest=_digest(house.parameters),
        prices_digest=_digest(house.newest_cycle.marks),
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
