"""The capped period of assessments and replenishments (rulebook §11.7, §11).

It starts at T0 of the first default; each further one, also one that its members answered, extends it to [20]
business days after its own T0, [3 months] from the start at most. One cap of assessments and one of replenishments
hold throughout, whatever the number of events.
"""

from collections.abc import Sequence

from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.values import DAY_MS, CappedPeriod, MemberPart

_EPOCH_WEEKDAY = 3
"""1 January 1970 was a Thursday; Monday is 0."""


def running(house: House, at_ms: int) -> CappedPeriod:
    """The period to which an event declared at ``at_ms`` belongs: the one that has not ended, or a new one."""
    period = house.capped_period
    if period is None or at_ms > period.ends_ms:
        return CappedPeriod(begins_ms=at_ms, ends_ms=at_ms)
    return period


def extended(
    house: House, declared_ms: int, called: Sequence[MemberPart] = (), replenished: Sequence[MemberPart] = ()
) -> CappedPeriod:
    """The period after an event was declared at ``declared_ms``, and after its members were called."""
    parameters, period = house.parameters, running(house, declared_ms)
    wished = add_business_days(declared_ms, parameters.capped_period_business_days)
    ends = max(period.ends_ms, min(wished, period.begins_ms + parameters.capped_period_max_ms))
    return CappedPeriod(
        begins_ms=period.begins_ms,
        ends_ms=ends,
        called=_added(period.called, called),
        replenished=_added(period.replenished, replenished),
    )


def _added(before: Sequence[MemberPart], more: Sequence[MemberPart]) -> tuple[MemberPart, ...]:
    sums: dict[MemberId, int] = {}
    for part in (*before, *more):
        sums[part.member] = sums.get(part.member, 0) + part.amount_minor
    return tuple(MemberPart(member=m, amount_minor=a) for m, a in sorted(sums.items()))


def add_business_days(start_ms: int, days: int) -> int:
    """``days`` business days (Monday to Friday, UTC) after ``start_ms``."""
    at = start_ms
    while days:
        at += DAY_MS
        if (at // DAY_MS + _EPOCH_WEEKDAY) % 7 < 5:
            days -= 1
    return at
