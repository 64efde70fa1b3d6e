"""Numbers, names and times for people: exact, never computed with."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def grouped(amount: str) -> str:
    """``1234567.50`` as ``1,234,567.50``."""
    sign = "-" if amount.startswith("-") else ""
    whole, point, fraction = amount.removeprefix("-").partition(".")
    return f"{sign}{int(whole or 0):,}{point}{fraction}"


def trimmed(amount: str) -> str:
    """The same number, grouped, without zeros at the end of its fraction."""
    return grouped(amount.rstrip("0").rstrip(".") if "." in amount else amount)


def percent(basis_points: int) -> str:
    """Basis points as a signed percentage."""
    whole, rest = divmod(abs(basis_points), 100)
    sign = "−" if basis_points < 0 else "+"
    return f"{sign}{whole}.{rest:02}%"


def is_zero(amount: str) -> bool:
    """Whether a decimal string is zero."""
    return not amount.strip("-0.")


def word(message: Any, field: str) -> str:
    """The value of an enum field as a word: ``HEALTH_CALL`` as ``call``."""
    kind = message.DESCRIPTOR.fields_by_name[field].enum_type
    value = kind.values_by_number.get(getattr(message, field))
    prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.name).upper()
    return "unknown" if value is None else value.name.removeprefix(f"{prefix}_").lower().replace("_", " ")


def own_name(name: str) -> str:
    """The last part of a resource name."""
    return name.rpartition("/")[2]


def account_name(name: str) -> str:
    """``members/alpha/accounts/house`` as ``alpha/house``: of a member and what is its, without collections.

    Other names are as they are.
    """
    parts = name.split("/")
    return "/".join(parts[1::2]) if parts[0] == "members" and len(parts) % 2 == 0 else name


def when(time: Any) -> str:
    """A timestamp in UTC to the second; empty if there is none."""
    return f"{_moment(time):%Y-%m-%d %H:%M:%S}Z" if time.seconds else ""


def left(time: Any, now: datetime) -> str:
    """How long from ``now`` until a timestamp: ``1:02:03``, or ``over``."""
    seconds = (_moment(time) - now) // timedelta(seconds=1)
    hours, rest = divmod(max(seconds, 0), 3_600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if seconds >= 0 else "over"


def _moment(time: Any) -> datetime:
    return EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1_000)
