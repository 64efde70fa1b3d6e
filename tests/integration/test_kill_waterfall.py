"""A process with an engine is killed with SIGKILL while it closes out a default and runs its waterfall.

After each kill the house is in one of the states between two commands, never within one: the close-out, the waterfall
and what follows them have not begun or are complete, whatever was acknowledged is there, and the house goes on to the
same end.
"""

import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from multiprocessing.connection import Connection

import pytest

from clearing.model.house import House
from clearing.model.ids import DefaultId
from clearing.model.values import DAY_MS, HOUR_MS, MINUTE_MS, Stage
from tests.builders import Asked, World, assert_same, contribute, fund
from tests.integration.test_kill_writer import FORKING, require_over
from tests.integration.test_replay import Clock, ask, engine_at, migrated
from tests.stores import Stores
from tests.unit.test_auctions import declared, oil_house

FORKING.set_forkserver_preload([__name__])
SEED = 20251010
DELAY_MAX_S = 0.01
D1 = DefaultId("d1")


def before_the_default() -> World:
    """Members x, y and z with something in every tier."""
    world = oil_house()
    fund(world, skin_in_the_game=50, insurance_fund=20, second_tranche=10)
    contribute(world, x=100, y=100, z=100)
    return world


@cache
def story() -> tuple[Sequence[Asked], int]:
    """What is asked, and how much of it before x/long buys what ruins it.

    Then come the trade, the prices, the close-out when the auction is over, the waterfall an hour later (its tiers 2
    to 8 pay), the assessments that nobody pays, and the contributions that nobody puts back.
    """
    world = before_the_default()
    begun = len(world.asked)
    declared(world)
    for milliseconds in (10 * MINUTE_MS, HOUR_MS, DAY_MS, 7 * DAY_MS):
        world.wait(milliseconds)
    stages = [one.state.defaults[D1].stage for one in world.asked if D1 in one.state.defaults]
    assert {Stage.DECLARED, Stage.ANSWERING, Stage.ASSESSING} <= set(stages)
    assert {draw.tier for draw in world.state.defaults[D1].draws} == {2, 3, 4, 5, 6, 7, 8}
    return world.asked, begun


# ---------------------------------------------------------------------------- the process that will be killed


def go_on_until_killed(url: str, acknowledgements: Connection) -> None:
    """Ask for what has not been asked yet, and write a line for each answer once it is known."""
    asked, _ = story()
    clock = Clock()
    with engine_at(url, clock) as engine:
        for number in range(committed(asked, engine.view.state), len(asked)):
            clock.now_ms = asked[number].now_ms
            ask(engine, asked[number])
            os.write(acknowledgements.fileno(), f"{number}\n".encode())
        time.sleep(60)


def killed_after(url: str, answers: int, delay_s: float) -> int:
    """Let a process go on, kill it some time after as many answers; gives how many it acknowledged."""
    reader, writer = FORKING.Pipe(duplex=False)
    process = FORKING.Process(target=go_on_until_killed, args=(url, writer))
    process.start()
    writer.close()
    with closing(reader), open(reader.fileno(), closefd=False) as lines:
        first = [lines.readline() for _ in range(answers)]
        time.sleep(delay_s)
        process.kill()
        acknowledged = len([line for line in [*first, *lines] if line])
    process.join()
    assert process.exitcode == -signal.SIGKILL, "it ended before it was killed"
    process.close()
    return acknowledged


# ----------------------------------------------------------------------------------------- what must be there


def committed(asked: Sequence[Asked], state: House) -> int:
    """How many of the requests led to the state; a size at which none ended is half of one."""
    sizes = [one.state.size for one in asked]
    assert state.size in sizes, "a command is there by half"
    return max(number for number, size in enumerate(sizes, 1) if size == state.size)


def complete(url: str, asked: Sequence[Asked], at_least: int) -> int:
    """Look at the house, and go on to the end; gives how many requests were there."""
    clock = Clock()
    with engine_at(url, clock) as engine:
        there = committed(asked, engine.view.state)
        assert there >= at_least, "what was acknowledged is there no more"
        assert_same(engine.view.state, asked[there - 1].state)
        for one in asked[there - 1 :]:
            clock.now_ms = one.now_ms
            assert ask(engine, one) == one.outcome
        assert_same(engine.view.state, asked[-1].state)
    return there


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store_kind", "rounds"), [("sqlite", 40), ("postgresql", 20)], indirect=["store_kind"]
)
def test_a_waterfall_that_is_killed_has_not_begun_or_is_complete(
    stores: Stores, url: str, rounds: int
) -> None:
    (asked, begun), moments = story(), random.Random(SEED + rounds)
    clock = Clock()
    with engine_at(migrated(url), clock) as engine:
        for one in asked[:begun]:
            clock.now_ms = one.now_ms
            ask(engine, one)
    found = []
    for turn in range(rounds):
        copied = stores.copy(url)
        answers = turn % (len(asked) - begun)
        acknowledged = killed_after(copied, answers, moments.uniform(0, DELAY_MAX_S))
        require_over(copied)
        found.append(complete(copied, asked, begun + acknowledged))
        stores.drop(copied)
    assert len(set(found)) > 3, "it was always killed at the same moment"
