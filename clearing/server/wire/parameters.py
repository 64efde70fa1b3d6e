"""Parameters on the wire: the fields of ``model/values.Parameters`` by their names, amounts as decimals."""

from typing import Any, Final

from clearing.decide.terms import PARAMETER_RANGES
from clearing.model.ids import FeedId
from clearing.model.units import Unit
from clearing.model.values import Liquidity, Offset, Parameters, ScanRange
from clearing.server.wire import names, terms
from clearing.server.wire.violations import Violations
from clearinghouse.v1 import parameters_pb2 as pb

_MINOR: Final = "_minor"
"""How a name ends whose value is an amount: on the wire it is a decimal, and the ending is left out."""


def message(parameters: Parameters, unit: Unit) -> pb.Parameters:
    """All parameters; ``unit`` is that of the settlement asset."""
    numbers: dict[str, Any] = {}
    for name in PARAMETER_RANGES:
        value: int = getattr(parameters, name)
        numbers[name.removesuffix(_MINOR)] = unit.render(value) if name.endswith(_MINOR) else value
    return pb.Parameters(
        margin_model=parameters.margin_model,
        scan_ranges=[_scan_range(one, unit) for one in parameters.scan_ranges],
        offsets=[_offset(one) for one in parameters.offsets],
        liquidity=[_liquidity(one, unit) for one in parameters.liquidity],
        shadow_model=parameters.shadow_model,
        **numbers,
    )


def parse(request: pb.Parameters, unit: Unit, field: str, violations: Violations) -> Parameters:
    """The parameters in ``field``; every number that lies beyond its range is a violation."""
    numbers: dict[str, Any] = {
        name: _number(request, name, unit, field, violations) for name in PARAMETER_RANGES
    }
    return Parameters(
        margin_model=request.margin_model,
        scan_ranges=tuple(
            _parse_scan_range(one, unit, f"{field}.scan_ranges[{number}]", violations)
            for number, one in enumerate(request.scan_ranges)
        ),
        offsets=tuple(
            Offset(first=_feed(one.first), second=_feed(one.second), rate_bp=one.rate_bp)
            for one in request.offsets
        ),
        liquidity=tuple(
            Liquidity(
                underlying=_feed(one.underlying),
                daily_volume_minor=terms.steps(
                    unit, one.daily_volume, f"{field}.liquidity[{number}].daily_volume", violations
                ),
            )
            for number, one in enumerate(request.liquidity)
        ),
        shadow_model=request.shadow_model,
        **numbers,
    )


def _number(request: pb.Parameters, name: str, unit: Unit, field: str, violations: Violations) -> int:
    on_wire = name.removesuffix(_MINOR)
    low, high = PARAMETER_RANGES[name]
    if name.endswith(_MINOR):
        number = terms.steps(unit, getattr(request, on_wire), f"{field}.{on_wire}", violations)
        least, most = unit.render(low), unit.render(high)
    else:
        number, least, most = getattr(request, on_wire), str(low), str(high)
    if not low <= number <= high:
        violations.add(f"{field}.{on_wire}", f"must lie between {least} and {most}")
    return number


def _feed(name: str) -> FeedId:
    return FeedId(names.own_id(name))


def _scan_range(one: ScanRange, unit: Unit) -> pb.ScanRange:
    return pb.ScanRange(
        underlying=names.feed(one.underlying),
        move_bp=one.move_bp,
        volatility_bp=one.volatility_bp,
        open_notional_lower=unit.render(one.open_notional_lower_minor),
        open_notional_upper=unit.render(one.open_notional_upper_minor),
    )


def _parse_scan_range(one: pb.ScanRange, unit: Unit, field: str, violations: Violations) -> ScanRange:
    lower, upper = (
        terms.steps(unit, getattr(one, name), f"{field}.{name}", violations)
        for name in ("open_notional_lower", "open_notional_upper")
    )
    return ScanRange(
        underlying=_feed(one.underlying),
        move_bp=one.move_bp,
        volatility_bp=one.volatility_bp,
        open_notional_lower_minor=lower,
        open_notional_upper_minor=upper,
    )


def _offset(one: Offset) -> pb.Offset:
    return pb.Offset(first=names.feed(one.first), second=names.feed(one.second), rate_bp=one.rate_bp)


def _liquidity(one: Liquidity, unit: Unit) -> pb.Liquidity:
    return pb.Liquidity(
        underlying=names.feed(one.underlying), daily_volume=unit.render(one.daily_volume_minor)
    )
