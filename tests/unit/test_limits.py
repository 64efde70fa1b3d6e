"""What one caller may take: each limit at n and n + 1, and when it is worth another try."""

from contextlib import ExitStack

import pytest

from clearing.model.commands import OBSERVATIONS_MAX, TRADES_MAX
from clearing.server import limits as limits_module
from clearing.server.errors import Refused
from clearing.server.identity import Identity, Role
from clearing.server.limits import (
    ALLOWANCES,
    CALL_COST,
    ELEMENTS_FREE,
    FURTHER_MAX,
    LONG_AT_ONCE,
    NS,
    Limits,
    RateLimited,
    further_cost,
)

NOW = 7_000 * NS


def caller(name: str = "alpha", role: Role = Role.MEMBER) -> Identity:
    return Identity(house="h", role=role, id=name)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("scale", [1, 4])
def test_a_burst_is_taken_to_the_last_call_and_one_more_is_told_when_to_come_back(
    role: Role, scale: int
) -> None:
    limits, who, allowed = Limits(scale), caller(role=role), ALLOWANCES[role]
    for _ in range(allowed.burst * scale // CALL_COST):
        limits.charge(who, CALL_COST, NOW)
    with pytest.raises(RateLimited) as refused:
        limits.charge(who, CALL_COST, NOW)
    wait_ns = refused.value.wait_ns
    assert wait_ns == CALL_COST * NS // (allowed.per_second * scale)
    assert refused.value.retry_ms * 1_000_000 >= wait_ns
    with pytest.raises(RateLimited):
        limits.charge(who, CALL_COST, NOW + wait_ns - 1)
    limits.charge(who, CALL_COST, NOW + wait_ns)


def test_a_pause_gives_back_a_burst_and_no_more() -> None:
    limits, who, burst = Limits(), caller(), ALLOWANCES[Role.MEMBER].burst
    limits.charge(who, burst, NOW)
    later = NOW + 1_000 * NS
    limits.charge(who, burst, later)
    with pytest.raises(RateLimited):
        limits.charge(who, 1, later)


def test_what_was_refused_takes_nothing() -> None:
    limits, who, burst = Limits(), caller(), ALLOWANCES[Role.MEMBER].burst
    limits.charge(who, burst - 5, NOW)
    for _ in range(3):
        with pytest.raises(RateLimited):
            limits.charge(who, 6, NOW)
    limits.charge(who, 5, NOW)


def test_one_caller_does_not_use_the_allowance_of_another_nor_of_another_role_of_its_name() -> None:
    limits = Limits()
    limits.charge(caller(), ALLOWANCES[Role.MEMBER].burst, NOW)
    limits.charge(caller("beta"), CALL_COST, NOW)
    limits.charge(caller(role=Role.LIQUIDITY_PROVIDER), CALL_COST, NOW)


@pytest.mark.parametrize(
    ("elements", "cost"),
    [
        (0, 0),
        (ELEMENTS_FREE, 0),
        (ELEMENTS_FREE + 1, 1),
        (ELEMENTS_FREE + FURTHER_MAX, FURTHER_MAX),
        (ELEMENTS_FREE + FURTHER_MAX + 1, FURTHER_MAX),
    ],
)
def test_a_batch_costs_what_it_has_beyond_the_free_elements(elements: int, cost: int) -> None:
    assert further_cost(elements) == cost


@pytest.mark.parametrize("role", Role)
def test_the_largest_batch_fits_into_every_burst(role: Role) -> None:
    assert max(TRADES_MAX, OBSERVATIONS_MAX) <= ELEMENTS_FREE + FURTHER_MAX
    assert ALLOWANCES[role].burst >= CALL_COST + FURTHER_MAX


@pytest.mark.parametrize("role", Role)
def test_calls_and_streams_have_so_many_places_which_are_given_back(role: Role) -> None:
    limits, who = Limits(), caller(role=role)
    for place, most, reason in (
        (limits.call, ALLOWANCES[role].calls, "CALLS_TAKEN"),
        (limits.stream, ALLOWANCES[role].streams, "STREAMS_TAKEN"),
        (limits.long, LONG_AT_ONCE, "CALLS_TAKEN"),
    ):
        with ExitStack() as opened:
            for _ in range(most):
                opened.enter_context(place(who))
            with pytest.raises(Refused) as refused, place(who):
                pass
            assert refused.value.reason == reason
            with place(caller("beta", role)):
                pass
        with place(who):
            pass


def test_callers_that_were_not_seen_for_longest_are_forgotten_unless_they_have_something_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits_module, "CALLERS_MAX", 3)
    limits = Limits()
    with limits.call(caller("open")):
        for name in ("a", "b", "a", "c", "d"):
            limits.charge(caller(name), ALLOWANCES[Role.MEMBER].burst // 2, NOW)
        assert limits.callers == 3
        with pytest.raises(RateLimited):
            limits.charge(caller("d"), ALLOWANCES[Role.MEMBER].burst, NOW)
        limits.charge(caller("a"), ALLOWANCES[Role.MEMBER].burst, NOW)
