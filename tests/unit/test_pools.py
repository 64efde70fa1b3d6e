"""A pool knows how many calls it has."""

from threading import Event

import pytest

from clearing.server.pools import Pool
from tests.serving import wait_until


def test_a_pool_is_full_with_the_last_place_and_has_room_again_when_a_call_ends() -> None:
    pool, done = Pool("p", threads=1, places=3), Event()
    for number in range(3):
        assert (pool.taken, pool.is_full) == (number, False)
        pool.submit(done.wait)
    assert (pool.taken, pool.is_full) == (3, True)
    done.set()
    wait_until(lambda: pool.taken == 0)
    pool.shutdown()


def test_what_fails_or_is_not_taken_gives_its_place_back() -> None:
    pool = Pool("p", threads=1, places=3)
    assert isinstance(pool.submit(int, "x").exception(), ValueError)
    wait_until(lambda: pool.taken == 0)
    pool.shutdown()
    with pytest.raises(RuntimeError):
        pool.submit(int)
    assert pool.taken == 0
