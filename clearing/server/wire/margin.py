"""Margin, calls and previews on the wire."""

from collections.abc import Mapping

from clearing.default.preview import Preview
from clearing.margin.assess import Assessment, Health
from clearing.model.house import House
from clearing.model.values import Call, CallKind
from clearing.server.identity import Identity
from clearing.server.wire import draws, names, times, units
from clearinghouse.v1 import margin_service_pb2 as pb

HEALTH: "Mapping[Health, pb.Health.ValueType]" = {
    Health.HEALTHY: pb.HEALTH_HEALTHY,
    Health.CALL: pb.HEALTH_CALL,
    Health.LIQUIDATION: pb.HEALTH_LIQUIDATION,
    Health.BANKRUPT: pb.HEALTH_BANKRUPT,
}
_KINDS: "Mapping[CallKind, pb.CallKind.ValueType]" = {
    CallKind.MARGIN: pb.CALL_KIND_MARGIN,
    CallKind.CASH: pb.CALL_KIND_CASH,
}


def message(measured: Assessment, house: House) -> pb.Margin:
    """The margin of a netting set."""
    unit = units.of_settlement(house)
    netting_set = house.netting_sets[measured.netting_set]
    return pb.Margin(
        netting_set=names.netting_set(netting_set.id),
        participant=names.participant(netting_set.participant),
        accounts=[names.account(key) for key in netting_set.accounts],
        health=HEALTH[measured.health],
        equity=unit.render(measured.equity_minor),
        cash=unit.render(measured.cash_minor),
        collateral=unit.render(measured.collateral_minor),
        maintenance=unit.render(measured.maintenance_minor),
        requirement=unit.render(measured.requirement_minor),
        standalone_requirement=unit.render(measured.standalone_minor),
        net_option_value=unit.render(measured.option_value_minor),
    )


def call(row: Call, house: House, caller: Identity) -> pb.MarginCall:
    """An open call, with the parts that ``caller`` may see."""
    unit = units.of_settlement(house)
    return pb.MarginCall(
        netting_set=names.netting_set(row.netting_set),
        kind=_KINDS[row.kind],
        amount=unit.render(row.amount_minor),
        parts=draws.parts((part for part in row.parts if caller.sees(part.member)), unit),
        issue_time=times.from_ms(row.issued_ms),
        due_time=times.from_ms(row.due_ms),
    )


def preview(found: Preview, house: House) -> pb.PreviewDefaultResponse:
    """Who would pay."""
    unit = units.of_settlement(house)
    return pb.PreviewDefaultResponse(
        member=names.member(found.member),
        loss=unit.render(found.loss_minor),
        draws=[draws.draw(row, unit) for row in found.draws],
        tiers=[draws.tier(row, unit) for row in found.tiers],
        uncovered=unit.render(found.uncovered_minor),
        moves=[pb.FeedMove(feed=names.feed(feed), move_bp=move_bp) for feed, move_bp in found.move_bp],
    )
