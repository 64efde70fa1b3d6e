"""State after replay equals the state before, bit for bit, after whole stories, on both databases.

A story is told to the deciders alone. The same requests, at the same times, then go through an engine, which is
closed and opened again on the way: each time its state must be the one that the deciders had come to.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import get_args

import pytest

from clearing.engine import Engine
from clearing.model.commands import Command, ProposeChange, RecordRecovery
from clearing.model.ids import DefaultId
from clearing.model.outcomes import Outcome
from clearing.model.values import DAY_MS, HOUR_MS, ProposalState
from clearing.store import migrate
from ledger.salt import seeded_salts
from ledger.store.connect import open_store
from ledger.store.verify import Verified
from tests.builders import Asked, World, assert_same
from tests.ledgers import verified
from tests.stories import a_long_life, the_end_of_a_house
from tests.unit.test_auctions import declared, oil_house
from tests.unit.test_breakers import closing as breakers_by_volume
from tests.unit.test_breakers import fallen
from tests.unit.test_defaults import house_of_three, short_side_wins
from tests.unit.test_worked_example import a_set_that_lost_at_two_members

REOPENED = 4
"""How often the engine is closed and opened again within a story."""


def the_worked_example() -> World:
    world = a_set_that_lost_at_two_members()
    world.prices(A=997)
    world.wait(HOUR_MS)
    world.ok(RecordRecovery(default=DefaultId("d1"), amount_minor=100))
    return world


def one_default_after_the_other() -> World:
    world = short_side_wins(house_of_three({"y": 1_000}), "x")
    for milliseconds in (HOUR_MS, DAY_MS, 6 * DAY_MS):
        world.wait(milliseconds)
    world.prices(OIL=700)
    return world


def an_auction_of_a_default() -> World:
    world = declared(oil_house())
    world.wait(HOUR_MS // 6)
    world.wait(HOUR_MS)
    return world


def liquidations_trip_a_breaker() -> World:
    world = breakers_by_volume()
    fallen(world)
    world.wait(HOUR_MS // 60)
    return world


STORIES = (
    a_long_life,
    the_worked_example,
    one_default_after_the_other,
    an_auction_of_a_default,
    liquidations_trip_a_breaker,
    the_end_of_a_house,
)


@dataclass
class Clock:
    """Shows what it is set to."""

    now_ms: int = 0

    def __call__(self) -> int:
        return self.now_ms


@contextmanager
def engine_at(url: str, clock: Callable[[], int]) -> Iterator[Engine]:
    database = open_store(url)
    try:
        with closing(Engine(database, clock=clock, salts=seeded_salts(b"replayed"))) as engine:
            yield engine
    finally:
        database.dispose()


def migrated(url: str) -> str:
    database = open_store(url)
    migrate.upgrade(database)
    database.dispose()
    return url


def ask(engine: Engine, one: Asked) -> Outcome:
    request = one.request
    return engine.execute(request.command, request_id=request.request_id, actor=request.actor)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_an_engine_comes_to_the_same_state_and_replays_it(url: str, story: Callable[[], World]) -> None:
    asked, clock = story().asked, Clock()
    migrated(url)
    length = -(-len(asked) // REOPENED)
    for start in range(0, len(asked), length):
        with engine_at(url, clock) as engine:
            if start:
                assert_same(engine.view.state, asked[start - 1].state)
            for one in asked[start : start + length]:
                clock.now_ms = one.now_ms
                assert ask(engine, one) == one.outcome
                assert engine.view.size == one.state.size
            assert_same(engine.view.state, one.state)
    with engine_at(url, clock) as engine:
        assert_same(engine.view.state, asked[-1].state)
        assert ask(engine, asked[-1]) == asked[-1].outcome, "asked again, it is answered the same"
    assert isinstance(verified(url), Verified)


def test_the_long_life_and_the_end_use_every_command() -> None:
    """Who adds a command adds it to ``tests/stories.py``."""
    used: set[str] = set()
    for world in (a_long_life(), the_end_of_a_house()):
        used |= {type(one.request.command).__name__ for one in world.asked if one.outcome.accepted}
        changes = world.state.change_proposals.values()
        used |= {one.command for one in changes if one.state is ProposalState.IN_FORCE}
    assert ProposeChange.__name__ in used
    assert {command.__name__ for command in get_args(Command)} - used == set()
