"""Amounts of a request in the house's steps, and times that may be absent."""

from google.protobuf.timestamp_pb2 import Timestamp

from clearing.decide.terms import DECIMALS_MAX
from clearing.model.decimal import DecimalRefused
from clearing.model.units import Unit
from clearing.server.wire import times
from clearing.server.wire.violations import Violations


def unit_of(decimals: int) -> Unit:
    """The unit of so many decimals as a request gives. Beyond what there may be nothing is counted: it is a violation
    of its own, and no reason to write out a million digits.
    """
    return Unit(min(max(decimals, 0), DECIMALS_MAX))


def steps(unit: Unit, text: str, field: str, violations: Violations) -> int:
    """The steps that ``text`` says; zero, with a violation of ``field``, for what it cannot say. Empty is zero."""
    if not text:
        return 0
    try:
        return unit.parse(text)
    except DecimalRefused as refused:
        violations.add(field, str(refused))
        return 0


def time(time_ms: int) -> Timestamp | None:
    """The time, or none for zero: it has not come."""
    return times.from_ms(time_ms) if time_ms else None
