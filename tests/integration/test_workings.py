"""What older attestations were made from costs a replay: it is bounded, and nothing is given out that does not fit."""

import threading
from collections.abc import Callable

import pytest

from clearing import keys as house_keys
from clearing import workings as module
from clearing.model.house import House
from clearing.pulse import beat
from clearing.store.past import house_at
from clearing.workings import REST_TIMES, NothingAttested, NotReproduced, Replaying, Workings
from ledger.store.connect import Database
from tests.integration.test_beat import Running, running
from tests.serving import BTC_TICKS

__all__ = ["running"]
ACCOUNT = "members/alpha/accounts/one/cash"


class Replays:
    """Counts replays, each of which takes ten seconds of a clock that nothing else moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.now_s = 1_000.0
        self.meanwhile: Callable[[], None] = lambda: None
        monkeypatch.setattr(module, "house_at", self)

    def __call__(self, database: Database, size: int) -> House:
        self.sizes.append(size)
        self.meanwhile()
        self.now_s += 10
        return house_at(database, size)

    def clock_s(self) -> float:
        return self.now_s


def attested(running: Running, count: int) -> list[int]:
    """How many entries there are after each of so many attestations."""
    publisher, sizes = running.publisher, []
    for step in range(count):
        running.prices(BTC_TICKS + step)
        beat(running.engine, publisher, None)
        sizes.append(running.engine.view.size)
    return sizes


def workings(running: Running, replays: Replays, blinding: bytes | None = None) -> Workings:
    secret = house_keys.read_signing_keys(running.keys).blinding
    return Workings(running.database, lambda: None, blinding or secret, clock_s=replays.clock_s)


def test_replays_take_a_small_part_of_the_time_whoever_asks(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, _ = attested(running, 3)
    replays = Replays(monkeypatch)
    found = workings(running, replays)
    found.liability(one, ACCOUNT)
    found.bundle(one, None)
    assert len(replays.sizes) == 1, "the same state is at hand"
    replays.now_s += 10 * REST_TIMES - 1
    with pytest.raises(Replaying):
        found.liability(two, ACCOUNT)
    found.bundle(one, None)
    replays.now_s += 1
    found.liability(two, ACCOUNT)
    assert len(replays.sizes) == 2


def test_who_wants_the_state_that_is_being_replayed_waits_for_it_and_others_come_back(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = attested(running, 2)
    replays, told = Replays(monkeypatch), list[str]()
    found = workings(running, replays)
    also = threading.Thread(target=lambda: told.append(str(found.newest(one).house.size)))

    def meanwhile() -> None:
        also.start()
        with pytest.raises(Replaying):
            found.newest(two)

    replays.meanwhile = meanwhile
    size = found.newest(one).house.size
    also.join()
    assert (told, replays.sizes) == ([str(size)], [size])


def test_a_replay_that_fails_is_nobodys_state(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = attested(running, 1)
    replays = Replays(monkeypatch)
    found = workings(running, replays)

    def fails() -> None:
        raise OSError

    replays.meanwhile = fails
    with pytest.raises(OSError):  # noqa: PT011
        found.newest(one)
    replays.meanwhile = lambda: None
    replays.now_s += 1
    assert found.newest(one).statement.sequence == 1


def test_with_another_blinding_secret_nothing_is_given_out(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof that leads elsewhere would look to a member as if the house had not counted it."""
    (one,) = attested(running, 1)
    found = workings(running, Replays(monkeypatch), bytes(range(32)))
    with pytest.raises(NotReproduced, match="attestation 1"):
        found.liability(one, ACCOUNT)
    for member in (None, next(iter(running.engine.view.state.members))):
        with pytest.raises(NotReproduced, match="attestation 1"):
            found.bundle(one, member)


def test_between_two_attestations_all_sizes_are_of_the_first(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a report of it is made once, however many sizes somebody asks for."""
    one, two = attested(running, 2)
    found = workings(running, Replays(monkeypatch))
    assert len({found.attested_size(size) for size in range(one, two)}) == 1
    assert found.attested_size(one) < one <= found.attested_size(two) < two
    with pytest.raises(NothingAttested):
        found.attested_size(1)
