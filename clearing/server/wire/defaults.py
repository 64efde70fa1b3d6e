"""Defaults on the wire, cut down to what the caller may see."""

from collections.abc import Iterable, Mapping

from clearing.model import units
from clearing.model.house import House
from clearing.model.ids import MemberId, SetId, member_of
from clearing.model.units import Unit
from clearing.model.values import Claim, Default, DefaultedSet, Draw, MemberPart, Stage
from clearing.server.identity import Identity
from clearing.server.wire import draws, names, times
from clearinghouse.v1 import common_pb2
from clearinghouse.v1 import default_service_pb2 as pb

STAGES: "Mapping[Stage, pb.Stage.ValueType]" = {
    Stage.DECLARED: pb.STAGE_DECLARED,
    Stage.CLOSED_OUT: pb.STAGE_CLOSED_OUT,
    Stage.ANSWERING: pb.STAGE_ANSWERING,
    Stage.ASSESSING: pb.STAGE_ASSESSING,
    Stage.RECOVERING: pb.STAGE_RECOVERING,
    Stage.CLOSED: pb.STAGE_CLOSED,
}


def message(default: Default, house: House, caller: Identity) -> pb.Default:
    """A default as ``caller`` may see it."""
    unit = units.of_settlement(house)
    found = pb.Default(
        name=names.default(default.id),
        stage=STAGES[default.stage],
        declare_time=times.from_ms(default.declared_ms),
        cycle=default.cycle,
        declared_at_size=default.journal_size,
        survivors=[names.member(member) for member in default.survivors],
        netting_sets=[
            _set(row, unit, caller) for row in default.sets if sees_set(house, row.netting_set, caller)
        ],
        answers=_parts(default.answers, unit, caller),
        loss=unit.render(sum(part.amount_minor for part in default.losses)),
        losses=_parts(default.losses, unit, caller),
        draws=[draws.draw(row, unit) for row in default.draws if _sees_payer(row, caller)],
        tiers=[draws.tier(row, unit) for row in default.tiers],
        uncovered=unit.render(default.uncovered_minor),
        claims=[_claim(row, unit) for row in default.claims if _sees_payer(row, caller)],
        recovered=unit.render(default.recovered_minor),
    )
    if default.answers_due_ms:
        found.answers_due_time.CopyFrom(times.from_ms(default.answers_due_ms))
    return found


def sees_set(house: House, set_id: SetId, caller: Identity) -> bool:
    """Whether an account of the netting set is the caller's, or the caller sees all."""
    netting_set = house.netting_sets.get(set_id)
    members = () if netting_set is None else map(member_of, netting_set.accounts)
    return caller.sees_all or any(caller.sees(member) for member in members)


def _set(row: DefaultedSet, unit: Unit, caller: Identity) -> pb.DefaultedSet:
    return pb.DefaultedSet(
        netting_set=names.netting_set(row.netting_set),
        equity=unit.render(row.equity_minor),
        weights=_parts(row.weights, unit, caller),
    )


def _claim(row: Claim, unit: Unit) -> pb.Claim:
    payer = draws.payer_name(row.tier, row.payer)
    return pb.Claim(tier=row.tier, payer=payer, amount=unit.render(row.amount_minor))


def _parts(rows: Iterable[MemberPart], unit: Unit, caller: Identity) -> list[common_pb2.MemberAmount]:
    return draws.parts((row for row in rows if caller.sees(row.member)), unit)


def _sees_payer(row: Draw | Claim, caller: Identity) -> bool:
    """Funds of the house are everybody's business, a member's money is its own."""
    member: MemberId | None = draws.payer_member(row.tier, row.payer)
    return member is None or caller.sees(member)
