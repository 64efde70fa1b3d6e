"""Milliseconds since 1970 and the Timestamps that stand for them."""

from google.protobuf.timestamp_pb2 import Timestamp

from clearing.server.wire.violations import Violations

_NANOS_IN_MS = 1_000_000
_NANOS_IN_SECOND = 1_000_000_000


def from_ms(time_ms: int) -> Timestamp:
    """The Timestamp of ``time_ms``."""
    seconds, ms = divmod(time_ms, 1_000)
    return Timestamp(seconds=seconds, nanos=ms * _NANOS_IN_MS)


def to_ms(time: Timestamp, field: str, violations: Violations) -> int:
    """Whole milliseconds since 1970; what is finer is dropped. The proto's rules hold its range."""
    if not 0 <= time.nanos < _NANOS_IN_SECOND:
        violations.add(field, "is no time: nanos must be from 0 to 999,999,999")
    return time.seconds * 1_000 + time.nanos // _NANOS_IN_MS


def to_exact_ms(time: Timestamp, field: str, violations: Violations) -> int:
    """As :func:`to_ms`, refusing what is finer than a millisecond."""
    if time.nanos % _NANOS_IN_MS:
        violations.add(field, "must be in whole milliseconds")
    return to_ms(time, field, violations)
