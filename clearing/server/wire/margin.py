"""Margin, calls and previews on the wire."""

from collections.abc import Iterable, Mapping, Sequence

from clearing.decide.what_if import Imagined, WhatIf
from clearing.default.contagion import Contagion
from clearing.default.preview import Preview
from clearing.default.reverse import Rung
from clearing.default.scenarios import Scenario
from clearing.default.sizing import Coverage
from clearing.margin.assess import Assessment, Health, mark_ticks, portfolio_of
from clearing.margin.explain import Leg, Share, legs, shares
from clearing.margin.model import UnderlyingRisk
from clearing.margin.ruin import Ruin, ruin_of
from clearing.margin.snapshot import array_of
from clearing.margin.table import MODELS
from clearing.model import units
from clearing.model.decimal import DecimalRefused
from clearing.model.house import House
from clearing.model.ids import AccountKey, FeedId, InstrumentId, member_of
from clearing.model.outcomes import Status
from clearing.model.units import Unit
from clearing.model.values import Call, CallKind, InstrumentRisk, ShadowSet
from clearing.server.errors import sentence_of
from clearing.server.identity import Identity
from clearing.server.wire import draws, names, times
from clearing.server.wire.violations import Violations
from clearinghouse.v1 import margin_service_pb2 as pb
from clearinghouse.v1.common_pb2 import MemberAmount

INT32_MOST = 2**31 - 1
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
    found = _ruin(measured, house)
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
        ruin_ppm=None if found is None else found.probability_ppm,
    )


def _ruin(measured: Assessment, house: House) -> Ruin | None:
    if house.cycle is None:
        return None
    return ruin_of(house, portfolio_of(house, measured.netting_set).lots, measured.equity_minor)


def explanation(measured: Assessment, house: House, caller: Identity) -> pb.ExplainMarginResponse:
    """Why the margin of a netting set is what it is, with the legs that ``caller`` may see."""
    unit, parameters = units.of_settlement(house), house.parameters
    found = _ruin(measured, house)
    model, margin = MODELS[parameters.margin_model], measured.margin
    by_underlying: dict[FeedId, list[Leg]] = {}
    for leg in legs(house, measured):
        by_underlying.setdefault(leg.underlying, []).append(leg)
    return pb.ExplainMarginResponse(
        margin=message(measured, house),
        model=model.name,
        model_version=model.version,
        underlyings=[
            _underlying(risk, by_underlying[risk.underlying], model.scenarios(array_of(house)), house, caller)
            for risk in margin.underlyings
        ],
        risk=unit.render(margin.risk_minor),
        offset_credit=unit.render(margin.credit_minor),
        basis_charge=unit.render(margin.basis_minor),
        floor=unit.render(margin.floor_minor),
        liquidity_charge=unit.render(sum(measured.add_ons.liquidity.values())),
        wrong_way_charge=unit.render(sum(measured.add_ons.wrong_way.values())),
        maintenance=unit.render(measured.maintenance_minor),
        requirement_bp=parameters.requirement_bp,
        cycle=0 if house.cycle is None else house.cycle.number,
        shares=[
            _share(share, unit) for share in shares(house, measured) if caller.sees(member_of(share.account))
        ],
        tails=[
            pb.TailLoss(
                title=tail.title,
                scenario_count=tail.scenarios,
                mean_loss=unit.render(tail.mean_minor),
                weight_bp=tail.weight_bp,
            )
            for tail in margin.tails
        ],
        ruin_drivers=_drivers(found, house.netting_sets[measured.netting_set].accounts, caller),
    )


def _drivers(found: Ruin | None, accounts: Iterable[AccountKey], caller: Identity) -> list[pb.RuinDriver]:
    """None if the caller does not see all accounts: from their parts it could find what the others hold."""
    if found is None or not all(caller.sees(member_of(key)) for key in accounts):
        return []
    return [
        pb.RuinDriver(
            instrument=names.instrument(one.instrument),
            share_ppm=min(max(one.share_ppm, -INT32_MOST), INT32_MOST),
        )
        for one in found.drivers
    ]


def _share(share: Share, unit: Unit) -> pb.MarginShare:
    return pb.MarginShare(
        account=names.account(share.account),
        contribution=unit.render(share.contribution_minor),
        standalone_requirement=unit.render(share.standalone_minor),
        netting_benefit=unit.render(share.benefit_minor),
    )


def _underlying(
    risk: UnderlyingRisk, held: list[Leg], scenarios: Sequence[str], house: House, caller: Identity
) -> pb.UnderlyingMargin:
    unit = units.of_settlement(house)
    seen = [leg for leg in held if caller.sees(member_of(leg.account))]
    total = sum(leg.result_minor for leg in held)
    return pb.UnderlyingMargin(
        underlying=names.feed(risk.underlying),
        scenario=risk.scenario,
        scenario_title=scenarios[risk.scenario],
        legs=[
            pb.MarginLeg(
                account=names.account(leg.account),
                instrument=names.instrument(leg.instrument),
                size=units.of_size(house.instruments[leg.instrument]).render(leg.lots),
                scenario_result=unit.render(leg.result_minor),
                contribution=unit.render(leg.contribution_minor),
            )
            for leg in seen
        ],
        other_legs_result=unit.render(total - sum(leg.result_minor for leg in seen)),
        scenario_result=unit.render(total),
        minimum=unit.render(risk.minimum_minor),
        risk=unit.render(risk.risk_minor),
        exposure=unit.render(risk.exposure_minor),
    )


def parse_what_if(request: pb.WhatIfRequest, house: House) -> tuple[AccountKey, tuple[Imagined, ...]]:
    """The account and its trades. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    trades = tuple(_imagined(trade, n, house, violations) for n, trade in enumerate(request.trades))
    violations.require_none()
    return names.account_key(request.account), trades


def _imagined(trade: pb.HypotheticalTrade, number: int, house: House, violations: Violations) -> Imagined:
    """For an unknown instrument nothing can be counted: the decider refuses it before it looks."""
    instrument_id, place = InstrumentId(names.own_id(trade.instrument)), f"trades[{number}]"
    instrument = house.instruments.get(instrument_id)
    if instrument is None:
        return Imagined(instrument_id, 0, 0)
    lots, ticks = 0, mark_ticks(house, instrument_id) or 0
    try:
        lots = units.of_size(instrument).parse(trade.size, signed=True)
    except DecimalRefused as refused:
        violations.add(f"{place}.size", str(refused))
    if lots == 0:
        violations.add(f"{place}.size", "must not be zero")
    if trade.price:
        try:
            ticks = units.of_price(instrument).parse(trade.price)
        except DecimalRefused as refused:
            violations.add(f"{place}.price", str(refused))
    return Imagined(instrument_id, lots, ticks)


def what_if(found: WhatIf, house: House) -> pb.WhatIfResponse:
    """What trades would do."""
    return pb.WhatIfResponse(
        before=message(found.before, house),
        after=message(found.after, found.house),
        results=[
            pb.HypotheticalResult(
                accepted=result.status is Status.ACCEPTED,
                reason=result.reason,
                message=sentence_of(result),
            )
            for result in found.results
        ],
    )


def risk_array(house: House, instruments: Sequence[str]) -> pb.GetRiskArrayResponse:
    """The rows of ``instruments`` in the risk array of the newest cycle."""
    array, unit = array_of(house), units.of_settlement(house)
    model = MODELS[array.model or house.parameters.margin_model]
    rows = {row.instrument: row for row in array.instruments}
    return pb.GetRiskArrayResponse(
        model=model.name,
        model_version=model.version,
        cycle=0 if house.cycle is None else house.cycle.number,
        scenarios=model.scenarios(array),
        rows=[_risk_row(rows[InstrumentId(instrument)], unit) for instrument in instruments],
    )


def _risk_row(row: InstrumentRisk, unit: Unit) -> pb.RiskRow:
    return pb.RiskRow(
        instrument=names.instrument(row.instrument),
        underlying=names.feed(row.underlying),
        notional=unit.render(row.notional_minor),
        long_results=[unit.render(result) for result in row.long_minor],
        short_results=[unit.render(result) for result in row.short_minor],
        delta="" if row.delta_minor is None else unit.render(row.delta_minor),
    )


def shadow(house: House) -> pb.GetShadowResponse:
    """What the model in shadow said last; nothing if none ever was."""
    found, unit = house.shadow, units.of_settlement(house)
    if found is None:
        return pb.GetShadowResponse()
    return pb.GetShadowResponse(
        shadow_model=found.model,
        shadow_model_version=found.version,
        model=found.live_model,
        model_version=found.live_version,
        cycle=found.cycle,
        requirement=unit.render(found.live_minor),
        shadow_requirement=unit.render(found.shadow_minor),
        called_count=found.called,
        liquidated_count=found.liquidated,
        risen_count=found.risen,
        fallen_count=found.fallen,
        risen_most=None if found.risen_most is None else _shadow_margin(found.risen_most, unit),
        margins=[_shadow_margin(one, unit) for one in found.sets],
    )


def _shadow_margin(one: ShadowSet, unit: Unit) -> pb.ShadowMargin:
    return pb.ShadowMargin(
        netting_set=names.netting_set(one.netting_set),
        health=HEALTH[Health(one.before)],
        shadow_health=HEALTH[Health(one.after)],
        requirement=unit.render(one.live_minor),
        shadow_requirement=unit.render(one.shadow_minor),
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


def coverage(found: Coverage, house: House) -> pb.GetPoolCoverageResponse:
    """How the pool stands."""
    unit, stress = units.of_settlement(house), found.stress
    return pb.GetPoolCoverageResponse(
        cover1=unit.render(stress.cover1_minor),
        cover2=unit.render(stress.cover2_minor),
        worst_scenario=stress.worst_scenario,
        prefunded=unit.render(stress.prefunded_minor),
        shortfall=unit.render(found.shortfall_minor),
        coverage_bp=None if found.coverage_bp is None else min(found.coverage_bp, INT32_MOST),
        members=[
            pb.MemberCoverage(
                member=names.member(one.member),
                group=one.group,
                required_contribution=unit.render(one.required_minor),
                held_contribution=unit.render(one.held_minor),
                needed_contribution=unit.render(one.needed_minor),
            )
            for one in found.members
        ],
        scenarios=[
            pb.ScenarioLoss(
                scenario=one.scenario,
                losses=[
                    MemberAmount(member=names.member(part.member), amount=unit.render(part.amount_minor))
                    for part in one.losses
                ],
            )
            for one in stress.scenarios
        ],
    )


def reverse(rungs: Sequence[Rung]) -> pb.GetReverseStressResponse:
    """What exhausts what."""
    return pb.GetReverseStressResponse(
        exhaustions=[
            pb.Exhaustion(
                what=rung.name,
                moves=[
                    pb.ExhaustingMove(direction=one.direction, size_bp=one.size_bp) for one in rung.reached
                ],
            )
            for rung in rungs
        ]
    )


def contagion(
    shock: Scenario, running: Contagion, paused: Contagion, house: House
) -> pb.GetContagionResponse:
    """What a shock leads to."""
    unit = units.of_settlement(house)
    stated = {one.underlying for one in house.parameters.liquidity}
    underlyings = sorted({row.underlying for row in array_of(house).instruments})
    return pb.GetContagionResponse(
        scenario=shock.name,
        moves=[_move(shock, underlying) for underlying in underlyings],
        unmoved_feeds=[names.feed(underlying) for underlying in underlyings if underlying not in stated],
        cover2=unit.render(running.without.largest(2)),
        running=_contagion(running, shock, unit),
        paused=_contagion(paused, shock, unit),
    )


def _contagion(found: Contagion, shock: Scenario, unit: Unit) -> pb.Contagion:
    return pb.Contagion(
        rounds=[
            pb.ContagionRound(
                window=1 + one.window,
                set_count=len(one.sets),
                moves=[
                    _move(one.prices, move.underlying)
                    for move in one.prices.moves
                    if move.price_bp != shock.move_of(move.underlying).price_bp
                ],
            )
            for one in found.rounds
        ],
        set_count=found.liquidated,
        liquidated_volume=unit.render(found.volume_minor),
        cover2=unit.render(found.losses.largest(2)),
    )


def _move(prices: Scenario, underlying: FeedId) -> pb.FeedMove:
    move_bp = min(prices.move_of(underlying).price_bp, INT32_MOST)
    return pb.FeedMove(feed=names.feed(underlying), move_bp=move_bp)
