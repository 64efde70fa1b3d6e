"""Whose turn it is to have an old state replayed."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from clearing import workings
from clearing.model.house import House
from clearing.workings import LINE_S, REST_TIMES, Replaying, Workings
from ledger.store.connect import Database

REPLAY_S = 2.0
RITA, ALPHA, BETA = "regulator/rita", "member/alpha", "member/beta"


class Clock:
    """Stands still unless it is moved; a replay takes its time."""

    now_s = 0.0

    def replay(self, database: Database, size: int) -> House:
        self.now_s += REPLAY_S
        return cast(House, SimpleNamespace(size=size))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(workings, "house_at", clock.replay)
    monkeypatch.setattr(workings, "AttestationIndex", lambda database: None)
    return clock


@pytest.fixture
def replays(clock: Clock) -> Workings:
    return Workings(cast(Any, None), lambda: None, b"", clock_s=lambda: clock.now_s)


def gets(replays: Workings, size: int, who: str) -> bool:
    try:
        return replays.house(size, who=who).size == size
    except Replaying:
        return False


def test_who_asks_for_many_old_states_keeps_none_from_others(replays: Workings, clock: Clock) -> None:
    assert gets(replays, 1, ALPHA)
    assert not gets(replays, 2, ALPHA)
    assert not gets(replays, 100, RITA)
    clock.now_s += REST_TIMES * REPLAY_S
    assert gets(replays, 2, ALPHA), "it came first"
    assert not gets(replays, 100, RITA)
    clock.now_s += REST_TIMES * REPLAY_S
    assert not any(gets(replays, size, ALPHA) for size in range(3, 20)), "now it is the turn of another"
    assert not gets(replays, 50, BETA)
    assert gets(replays, 100, RITA)


@pytest.mark.parametrize(("after_s", "found"), [(LINE_S - 0.5, False), (LINE_S, True)])
def test_who_does_not_come_back_loses_its_place(
    replays: Workings, clock: Clock, after_s: float, found: bool
) -> None:
    assert gets(replays, 1, BETA)
    assert not gets(replays, 2, ALPHA)
    clock.now_s += after_s
    assert clock.now_s > REPLAY_S + REST_TIMES * REPLAY_S
    assert gets(replays, 100, RITA) is found
