"""The report on calls and liquidations (rulebook §10.1, §10.2): made again from the journal, and cut for members."""

from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest

from clearing.model.commands import AdmitMember
from clearing.model.ids import MemberId, SetId, account_key
from clearing.model.kinds import Kind
from clearing.model.values import HOUR_MS, MINUTE_MS
from clearing.reports.canonical import to_json
from clearing.reports.table import REPORTS, Audience
from tests.builders import ALICE, BOB, ETH, USD, World, copy_of, empty_house, link
from tests.readings import HEAD, WorldReading, built, reading, rows
from tests.tracing import assert_sources_hold, entries_of, facts
from tests.unit.test_auctions import bid, on_offer
from tests.unit.test_calls import long_alice

DEX, OTHER = MemberId("dex"), MemberId("other")


def met() -> World:
    """Alice is called at 79,000, for more at 78,500, and pays."""
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    world.prices(BTC=78_500, ETH=2_000)
    world.deposit(ALICE, 300 * USD)
    return world


def expired() -> World:
    """Nobody pays: the call expires, and she is liquidated in steps until she is healthy again."""
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    world.wait(HOUR_MS - 1_000)
    world.prices(BTC=79_000, ETH=2_000)
    for _ in range(6):
        world.wait(MINUTE_MS)
        world.prices(BTC=79_000, ETH=2_000)
    return world


def bankrupt() -> World:
    """Called at 79,000; bankrupt at 40,000."""
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    world.prices(BTC=40_000, ETH=2_000)
    return world


def awarded() -> World:
    """A slice is on offer, and the desk takes it at half a percent."""
    world = on_offer()
    bid(world, account_key(MemberId("desk"), "provider"), 50)
    world.wait(MINUTE_MS)
    return world


WORLDS: dict[str, Callable[[], World]] = {
    "met": met,
    "expired": expired,
    "bankrupt": bankrupt,
    "awarded": awarded,
}


@cache
def of(name: str) -> WorldReading:
    return reading(WORLDS[name]())


each_world = pytest.mark.parametrize("name", WORLDS)


def kinds(name: str) -> Counter[int]:
    return Counter(entry.kind for entry in of(name).world.entries)


def minor(text: str) -> int:
    return round(int(text.replace(".", "")))


@each_world
def test_the_totals_count_the_entries(name: str) -> None:
    found = rows("calls", of(name), "totals").values()
    assert sum(int(row["issued"]) for row in found) == kinds(name)[Kind.CALL_ISSUED]
    assert sum(int(row["met"]) for row in found) == kinds(name)[Kind.CALL_MET]
    assert sum(int(row["expired"]) for row in found) == kinds(name)[Kind.CALL_EXPIRED]
    assert sum(int(row["open"]) for row in found) == len(of(name).world.state.calls)
    owed = sum(call.amount_minor for call in of(name).world.state.calls.values())
    assert sum(minor(row["open_amount"]) for row in found) == owed


@each_world
def test_each_call_is_shown_with_every_entry_that_changed_it(name: str) -> None:
    world = of(name).world
    told = Counter[int]()
    for field, row in rows("calls", of(name), "calls").items():
        entries = entries_of(of(name), row["source"])
        assert entries[0] == world.entries[int(field)]
        amounts = [
            int(put["amount_minor"])
            for entry in entries
            for table, key, put in facts(entry)
            if table == "calls" and put is not None and key.endswith(row["netting_set"])
        ]
        assert minor(row["first"]) == amounts[0]
        assert minor(row["most"]) == max(amounts)
        assert minor(row["last"]) == amounts[-1]
        told.update(entry.kind for entry in entries)
    for kind in (Kind.CALL_ISSUED, Kind.CALL_CHANGED, Kind.CALL_MET, Kind.CALL_EXPIRED):
        assert told[kind] == kinds(name)[kind]


def test_a_call_that_was_followed_and_met() -> None:
    (call,) = rows("calls", of("met"), "calls").values()
    assert (call["kind"], call["netting_set"], call["outcome"]) == ("margin", ALICE, "met")
    assert call["first"] == "78.025000"
    assert minor(call["most"]) == minor(call["last"]) > minor(call["first"])
    assert call["parts"] == f"dex {call['last']}"
    changes = list(rows("calls", of("met"), "changes").values())
    assert [row["what"] for row in changes] == ["issued", "changed", "met"]
    assert len({row["call"] for row in changes}) == len({row["due"] for row in changes}) == 1
    assert changes[-1]["amount"] == call["last"]


def test_a_call_that_expired_leads_to_a_liquidation() -> None:
    (call,) = rows("calls", of("expired"), "calls").values()
    assert call["outcome"] == "expired"
    assert call["ended"] == call["due"]
    (one,) = rows("calls", of("expired"), "liquidations").values()
    assert (one["netting_set"], one["outcome"], one["opened"]) == (ALICE, "recovered", call["due"])
    assert int(one["steps"]) == kinds("expired")[Kind.LIQUIDATION_STEPPED] > 0
    penalty = sum(
        -leg.amount
        for entry in of("expired").world.entries
        for leg in entry.legs
        if entry.kind == Kind.LIQUIDATION_CLOSED and leg.account.path == "house/insurance_fund"
    )
    assert minor(one["penalty"]) == penalty > 0
    steps = [e for e in of("expired").world.entries if e.kind == Kind.LIQUIDATION_STEPPED]
    last = next(row for table, _, row in facts(steps[-1]) if table == "liquidations")
    assert minor(one["notional"]) == int(last["notional_closed_minor"])


def test_a_call_ends_with_the_default_of_its_set() -> None:
    (call,) = rows("calls", of("bankrupt"), "calls").values()
    assert call["outcome"] == "default"
    assert rows("calls", of("bankrupt"), "totals")["margin"]["ended"] == "1"
    assert [row["what"] for row in rows("calls", of("bankrupt"), "changes").values()] == ["issued", "default"]


def test_an_open_call_has_no_end() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    (call,) = rows("calls", reading(world), "calls").values()
    assert (call["outcome"], call["ended"]) == ("open", "")
    assert rows("calls", reading(world), "totals")["margin"]["open_amount"] == "78.025000"


@pytest.mark.parametrize("name", ["expired", "awarded"])
def test_what_was_closed_is_what_the_legs_moved(name: str) -> None:
    world = of(name).world
    found = rows("calls", of(name), "closed")
    assert found
    closing = {
        str(n) for n, e in enumerate(world.entries) if e.kind in (Kind.POSITION_ASSIGNED, Kind.BID_AWARDED)
    }
    assert {row["entry"] for row in found.values()} == closing
    for row in found.values():
        entry = world.entries[int(row["entry"])]
        moved = {leg.account.path: leg.amount for leg in entry.legs if leg.account.path != "novation"}
        assert moved["members/dex/accounts/alice/position"] == minor(row["size"])
        assert -moved["members/dex/accounts/alice/cash"] == minor(row["cash"])
    assert {row["how"] for row in found.values()} == {"assigned" if name == "expired" else "awarded"}
    prices = {row["against_mark"] for row in found.values()}
    assert prices == ({"-1.0000"} if name == "expired" else {"-0.5000"})


def test_collateral_sold_for_a_cash_call_is_shown() -> None:
    """Alice owes after a fall; she has ether, which is sold when the hour is over."""
    world = long_alice()
    world.deposit(ALICE, 10**20, ETH)
    world.prices(BTC=60_000, ETH=2_000)
    (call,) = rows("calls", reading(world), "calls").values()
    assert call["kind"] == "cash"
    world.wait(HOUR_MS - 1_000)
    world.prices(BTC=60_000, ETH=2_000)
    world.wait(MINUTE_MS)
    found = rows("calls", reading(world), "closed").values()
    told = {(row["unit"], row["account"], row["against_mark"]) for row in found}
    assert told == {("ETH", ALICE, "-0.9999")}, "what is paid is rounded up"
    assert rows("calls", reading(world), "totals")["cash"]["expired"] == "1"


# ------------------------------------------------------------------------------------------- whose part


def test_members_see_their_own_calls_and_nothing_of_others() -> None:
    for name in WORLDS:
        world = of(name).world
        mine = reading(world, members=frozenset({DEX}))
        assert rows("calls", mine, "calls") == rows("calls", of(name), "calls")
        strangers = reading(world, members=frozenset({MemberId("desk")}))
        tables = {table.id: list(table.rows) for table in built("calls", strangers)}
        assert [len(tables[one]) for one in ("calls", "changes", "liquidations", "closed")] == [0, 0, 0, 0]
        assert {row.cells[0] for row in tables["totals"]} == {"0"}
        assert said(strangers) == said(reading(empty_house_of(world), members=strangers.members))


def empty_house_of(world: World) -> World:
    """The house before anybody was called."""
    before = copy_of(world)
    first = next(
        n for n, e in enumerate(world.entries) if e.kind in (Kind.CALL_ISSUED, Kind.LIQUIDATION_OPENED)
    )
    del before.entries[first:]
    return before


def said(read_from: WorldReading) -> bytes:
    build = REPORTS["calls"].build
    assert build is not None
    return b"".join(to_json(HEAD, build(read_from)))


def test_of_a_linked_set_a_member_sees_its_part_and_what_its_own_accounts_had() -> None:
    world = linked()
    whole = rows("calls", reading(world), "calls")
    (field,) = whole
    assert {part.split(" ")[0] for part in whole[field]["parts"].split(", ")} == {"dex", "other"}
    for member, foreign in ((DEX, OTHER), (OTHER, DEX)):
        cut = reading(world, members=frozenset({member}))
        assert f"{foreign} ".encode() not in said(cut)
        row = rows("calls", cut, "calls")[field]
        assert [part.split(" ")[0] for part in row["parts"].split(", ")] == [member]
        assert row["first"] == whole[field]["first"]


def linked() -> World:
    """Eve is long at dex and at other, linked, and called."""
    world = long_alice()
    world.ok(AdmitMember(member=OTHER, name="Other"))
    for member in ("dex", "other"):
        world.deposit(world.account(member, "eve"), 1_000 * USD)
    here, there = account_key(DEX, "eve"), account_key(OTHER, "eve")
    link(world, "eve", here, there)
    rich = world.account("other", "rich")
    world.deposit(rich, 10_000 * USD)
    for key, seller in ((here, BOB), (there, rich)):
        assert world.trade(key, seller, 700, 80_000).accepted
    world.deposit(ALICE, 5_000 * USD)
    world.prices(BTC=77_000, ETH=2_000)
    assert SetId("link/eve") in {call.netting_set for call in world.state.calls.values()}
    return world


# ------------------------------------------------------------------------------------------- as a report


@each_world
def test_sources_name_what_is_there(name: str) -> None:
    assert_sources_hold("calls", of(name))


@each_world
def test_as_of_an_earlier_entry_it_is_what_it_was_then(name: str) -> None:
    world = of(name).world
    for as_of in range(1, len(world.entries), 7):
        shorter = copy_of(world)
        del shorter.entries[as_of:]
        assert said(reading(world, as_of)) == said(reading(shorter))


def test_an_empty_house_has_called_nobody() -> None:
    assert {row["issued"] for row in rows("calls", reading(empty_house()), "totals").values()} == {"0"}
    assert REPORTS["calls"].audience is Audience.CUT
