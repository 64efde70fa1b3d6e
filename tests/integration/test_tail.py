"""Whole stories as they are told to each caller: live, late and from pages, always the same, never a foreign figure."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from clearing.engine import Engine
from clearing.model.commands import AdmitMember, Deposit, GrantRegulator, SetJurisdiction
from clearing.model.ids import MemberId, RegulatorId, SetId
from clearing.server import tail as tails
from clearing.server.calls import scoped
from clearing.server.identity import Identity, parse_spiffe
from clearing.server.tail import Follower, Tail
from clearing.server.wire import events as wire
from clearing.server.wire.concerns import owners_of
from clearing.store import migrate
from clearing.store.links import Links
from clearinghouse.v1 import event_service_pb2 as pb
from ledger.salt import seeded_salts
from ledger.store.connect import Database, open_store
from tests.builders import ALICE, Asked, World, two_traders
from tests.stories import a_long_life, the_end_of_a_house

pytestmark = pytest.mark.slow

WAIT_S = 60


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_store(url)
    migrate.upgrade(opened)
    yield opened
    opened.dispose()


def callers(world: World) -> list[Identity]:
    """Every member, a regulator, the custodian and a source."""
    who = [*(f"member/{member}" for member in sorted(world.state.members)), "regulator/rita"]
    who += ["custodian/vault", *(f"price-source/{source}" for source in sorted(world.state.sources))]
    return [parse_spiffe(f"spiffe://h/{one}") for one in who]


def told(tail: Tail, follower: Follower, caller: Identity, engine: Engine) -> list[pb.Event]:
    """What ``follower`` gets until it has everything."""
    found: list[pb.Event] = []
    end = time.monotonic() + WAIT_S
    while follower.position < engine.view.size:
        assert time.monotonic() < end
        found += [
            wire.message(one, engine.view.state, caller)
            for one in tail.take(follower)
            if one.is_for(follower.owners())
        ]
        follower.wake.wait(0.01)
    return found


def paged(tail: Tail, caller: Identity, engine: Engine) -> list[pb.Event]:
    """The same from pages of the store."""
    found, position = list[pb.Event](), 0
    while position < engine.view.size:
        page = tail.page(position)
        found += [
            wire.message(one, engine.view.state, caller)
            for one in page.happened
            if one.is_for(owners_of(caller))
        ]
        position = page.end
    return found


@pytest.mark.parametrize("ring_entries", [10_000, 3], ids=["ring", "narrow ring"])
@pytest.mark.parametrize("story", [a_long_life, the_end_of_a_house], ids=lambda story: story.__name__)
def test_everybody_is_told_the_same_live_late_and_by_pages(
    database: Database, story: Callable[[], World], ring_entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "RING_ENTRIES", ring_entries)
    world, now = story(), [0]
    everybody = callers(world)
    with (
        closing(Engine(database, clock=lambda: now[0], salts=seeded_salts(b"told"))) as engine,
        Tail(database, lambda: engine.view) as tail,
    ):
        first = tail.following(everybody[0], 0)
        with first as follower:
            for one in world.asked:
                _ask(engine, one, now)
            live = {everybody[0].actor: told(tail, follower, everybody[0], engine)}
            for caller in everybody[1:]:
                with tail.following(caller, 0) as late:
                    live[caller.actor] = told(tail, late, caller, engine)
        for caller in everybody:
            assert live[caller.actor] == paged(tail, caller, engine)
        assert [e.sequence for e in live["regulator/rita"]] == list(range(engine.view.size))
    _require_own_figures(live, everybody)


def _require_own_figures(live: dict[str, list[pb.Event]], everybody: list[Identity]) -> None:
    """Nobody is told of another member's accounts, and every change of a balance was told to its owner."""
    for caller in everybody:
        if not caller.sees_all:
            for event in live[caller.actor]:
                paths = [change.ledger_account for change in event.changes]
                assert all(caller.owns(path) or path == "custody" for path in paths)
                members = [name for name in event.names if name.startswith("members/")]
                assert all(caller.owns(name) or caller.actor == "custodian/vault" for name in members)
    whole = {
        (event.sequence, change.ledger_account, change.amount)
        for event in live["regulator/rita"]
        for change in event.changes
        if change.ledger_account.startswith("members/")
    }
    parts = {
        (event.sequence, change.ledger_account, change.amount)
        for caller in everybody
        if caller.actor.startswith("member/")
        for event in live[caller.actor]
        for change in event.changes
    }
    assert parts == whole


def test_a_link_is_its_members_from_the_entry_that_makes_it_to_the_one_that_ends_it(
    database: Database,
) -> None:
    world, now = a_long_life(), [0]
    linked: dict[int, dict[SetId, frozenset[MemberId]]] = {}
    with closing(Engine(database, clock=lambda: now[0], salts=seeded_salts(b"told"))) as engine:
        for one in world.asked:
            _ask(engine, one, now)
            state = engine.view.state
            linked[state.size - 1] = {
                row.id: frozenset(MemberId(key.partition("/")[0]) for key in row.accounts)
                for row in state.netting_sets.values()
                if row.id.startswith("link/")
            }
        links = Links(database)
        links.read_to(engine.view.size)
    assert any(linked.values()), "the story has a link"
    for sequence, sets in linked.items():
        for set_id, members in sets.items():
            assert frozenset(links.members(set_id, sequence)) == members
    assert links.members(SetId("alpha/one"), 0) == (MemberId("alpha"),)
    assert links.members(SetId("link/nobody"), 10**6) == ()


def test_who_is_idle_is_woken_by_what_concerns_it_alone(database: Database) -> None:
    world, now = a_long_life(), [0]
    paid = next(n for n, one in enumerate(world.asked) if isinstance(one.request.command, Deposit))
    nobody, rita = (parse_spiffe(f"spiffe://h/{who}") for who in ("member/nobody", "regulator/rita"))
    with (
        closing(Engine(database, clock=lambda: now[0], salts=seeded_salts(b"told"))) as engine,
        Tail(database, lambda: engine.view) as tail,
    ):
        for one in world.asked[:paid]:
            _ask(engine, one, now)
        size = engine.view.size
        with tail.following(nobody, size) as idle, tail.following(rita, size) as regulator:
            _ask(engine, world.asked[paid], now)
            assert regulator.wake.wait(WAIT_S)
            assert not idle.wake.is_set()
            assert idle.position == engine.view.size, "it is behind what does not concern it all the same"
            tail.drain()
            assert idle.wake.is_set()
            assert tail.is_draining


def test_a_regulator_is_woken_by_what_its_grant_covers_at_that_time(database: Database) -> None:
    world, now, rita = two_traders(), [0], parse_spiffe("spiffe://h/regulator/rita")
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    carol = world.account("other", "carol")
    world.ok(SetJurisdiction(member=MemberId("dex"), jurisdiction="CH"))
    world.ok(SetJurisdiction(member=MemberId("other"), jurisdiction="LI"))
    world.ok(_granting("CH"))
    begun = len(world.asked)
    world.deposit(carol, 1)
    world.deposit(ALICE, 2)
    world.ok(_granting("LI"))
    world.deposit(ALICE, 3)
    world.deposit(carol, 4)
    world.ok(_granting())
    world.deposit(ALICE, 5)
    world.deposit(carol, 6)
    with (
        closing(Engine(database, clock=lambda: now[0], salts=seeded_salts(b"told"))) as engine,
        Tail(database, lambda: engine.view) as tail,
    ):
        for one in world.asked[:begun]:
            _ask(engine, one, now)
        found: list[pb.Event] = []
        with tail.following(rita, engine.view.size) as follower:
            for one in world.asked[begun:]:
                _ask(engine, one, now)
                found += told(tail, follower, scoped(rita, engine.view.state), engine)
    amounts = {
        change.amount for event in found for change in event.changes if change.ledger_account.startswith("m")
    }
    assert amounts == {f"0.00000{number}" for number in (2, 4, 5, 6)}
    assert [event.kind for event in found if "regulators/rita" in event.names] == ["REGULATOR_GRANTED"] * 2


def _granting(*jurisdictions: str) -> GrantRegulator:
    return GrantRegulator(regulator=RegulatorId("rita"), jurisdictions=jurisdictions)


def _ask(engine: Engine, one: Asked, now: list[int]) -> None:
    now[0] = one.now_ms
    request = one.request
    engine.execute(request.command, request_id=request.request_id, actor=request.actor)
