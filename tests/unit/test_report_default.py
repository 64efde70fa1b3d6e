"""The default report (rulebook §10, §11, §14): every figure made again from the legs of the journal."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from clearing.model.commands import AdmitMember, DeclareDefault, PlaceBid, RecordRecovery
from clearing.model.ids import DefaultId, InstrumentId, MemberId
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS, HOUR_MS, MINUTE_MS, Stage
from clearing.reports.document import Drawing
from clearing.reports.table import REPORTS, Audience
from ledger.require import InvariantViolated
from tests.builders import (
    ALICE,
    BOB,
    DESK,
    PARAMETERS,
    USD,
    World,
    copy_of,
    empty_house,
    two_traders,
    with_provider,
)
from tests.readings import WorldReading, built, reading, rows
from tests.stories import a_long_life, the_end_of_a_house
from tests.tracing import assert_sources_hold, entries_of, facts
from tests.unit.test_auctions import on_offer
from tests.unit.test_calls import long_alice
from tests.unit.test_defaults import house_of_three, short_side_wins
from tests.unit.test_worked_example import EVENT, a_set_that_lost_at_two_members

pytestmark = pytest.mark.slow

Cells = dict[str, dict[str, str]]


def worked_example() -> World:
    world = a_set_that_lost_at_two_members()
    world.prices(A=997)
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    world.ok(RecordRecovery(default=EVENT, amount_minor=100))
    return world


def two_at_once() -> World:
    """Two members in one event; both tiers of their own, and a recovery larger than all claims."""
    world = short_side_wins(house_of_three({"z": 1_000}), "x", "y")
    world.wait(HOUR_MS)
    world.ok(RecordRecovery(default=DefaultId("d1"), amount_minor=7_000))
    return world


def liquidated_first() -> World:
    """A slice of alice's is on offer when she is bankrupt; the desk's bids are awarded in the close-out."""
    world = on_offer(close_out_auction_ms=10 * MINUTE_MS)
    world.prices(BTC=60_000, ETH=2_000)
    for auction in sorted(world.state.auctions):
        world.ok(PlaceBid(auction=auction, account=DESK, discount_bp=50, share_bp=10_000))
    world.wait(10 * MINUTE_MS)
    world.prices(BTC=60_000, ETH=2_000)
    world.wait(HOUR_MS)
    return world


WORLDS: dict[str, Callable[[], World]] = {
    "worked example": worked_example,
    "long life": a_long_life,
    "end of a house": the_end_of_a_house,
    "two at once": two_at_once,
    "liquidated first": liquidated_first,
}


@cache
def of(name: str) -> WorldReading:
    return reading(WORLDS[name]())


each_world = pytest.mark.parametrize("name", WORLDS)


def minor(text: str) -> int:
    """Smallest units of USDC."""
    whole, _, fraction = text.partition(".")
    assert len(fraction) == 6
    return int(whole + fraction)


def debits(world: World, path: str, kinds: tuple[Kind, ...] = (), sign: int = 1) -> int:
    """What entries of these kinds debited (credited, if ``sign`` is −1) to an account of the settlement asset."""
    return sum(
        max(0, sign * leg.amount)
        for entry in world.entries
        for leg in entry.legs
        if (not kinds or entry.kind in kinds) and (leg.account.path, leg.account.unit) == (path, "USDC")
    )


def waterfalls(world: World) -> dict[str, int]:
    """The entry of each default's waterfall."""
    return {e.references[0]: n for n, e in enumerate(world.entries) if e.kind == Kind.WATERFALL}


# ------------------------------------------------------------------------------------------- the waterfall


@each_world
def test_the_tiers_and_what_is_uncovered_make_up_the_loss_that_the_legs_filled(name: str) -> None:
    world = of(name).world
    found = waterfalls(world)
    assert found
    for default, sequence in found.items():
        legs = world.entries[sequence].legs
        loss = -sum(leg.amount for leg in legs if leg.account.path.endswith("/loss"))
        uncovered = sum(leg.amount for leg in legs if leg.account.path == f"defaults/{default}/uncovered")
        table = rows("default", of(name), f"waterfall-{default}")
        assert list(table) == ["loss", "1", "2", "3", "4", "5", "6", "7", "8", "uncovered"]
        amounts = [minor(row["amount"]) for row in table.values()]
        assert (amounts[0], amounts[-1]) == (loss, uncovered)
        assert sum(amounts[1:]) == loss
        left = loss
        for tier in range(1, 9):
            left -= amounts[tier]
            assert minor(table[str(tier)]["passed_on"]) == left
            assert minor(table[str(tier)]["available"]) >= amounts[tier]
        assert {row["source"] for row in table.values()} == {f"entries {sequence}"}


@each_world
def test_who_paid_is_whom_the_legs_debited(name: str) -> None:
    world = of(name).world
    for default, sequence in waterfalls(world).items():
        drawn = Counter[str]()
        for row in rows("default", of(name), "draws").values():
            if row["default"] == default and row["tier"] != "9":
                drawn[row["account"]] += minor(row["amount"])
                assert entries_of(of(name), row["source"]) == [world.entries[sequence]]
        debited = Counter[str]()
        for leg in world.entries[sequence].legs:
            if leg.amount > 0 and not leg.account.path.startswith("defaults/"):
                debited[leg.account.path] += leg.amount
        assert drawn == debited


def test_the_chart_shows_the_loss_first_and_what_is_uncovered_last() -> None:
    table = next(one for one in built("default", of("worked example")) if one.id == "waterfall-d1")
    (chart,) = table.charts
    assert (chart.drawing, chart.label, chart.values) == (Drawing.WATERFALL, "name", ("amount",))
    assert [row.field for row in table.rows][:: len(list(table.rows)) - 1] == ["loss", "uncovered"]


def test_the_worked_example_comes_out_as_the_rulebook_says() -> None:
    def amounts(table: str, column: str) -> dict[str, int]:
        return {
            field: minor(row[column]) for field, row in rows("default", of("worked example"), table).items()
        }

    tiers = amounts("waterfall-d1", "amount")
    assert list(tiers.values()) == [80, 0, 20, 10, 5, 8, 1, 16, 20, 0]
    assert amounts("answers", "answers_for") == {"d1:x": 200, "d1:y": 100}
    assert amounts("answers", "paid") == {"d1:x": 120, "d1:y": 100}
    paid = [minor(row["amount"]) for row in rows("default", of("worked example"), "repayments").values()]
    assert paid == [15, 5, 8, 8, 1, 4, 4, 5, 10, 20, 11, 9]
    assert amounts("winners", "gain") == {"d1:x/w1": 450, "d1:y/w2": 150}
    assert amounts("winners", "paid") == {"d1:x/w1": 15, "d1:y/w2": 5}
    shares = [row["share"] for row in rows("default", of("worked example"), "winners").values()]
    assert shares == ["3.3333", "3.3333"]
    (event,) = rows("default", of("worked example"), "events").values()
    assert (event["loss"], event["drawn"], event["uncovered"]) == ("0.000080", "0.000080", "0.000000")
    assert (event["answered"], event["recovered"], event["claims"]) == ("0.000220", "0.000100", "0.000200")
    assert (event["stage"], event["members"], event["sets"]) == ("recovering", "x", "link/p")


def test_a_row_that_the_legs_do_not_bear_out_is_no_report() -> None:
    """The journal cannot say this; if it did, nobody would be told a wrong figure."""
    world = worked_example()
    sequence = waterfalls(world)["d1"]
    entry = world.entries[sequence]
    wrong = json.loads(json.dumps(entry.fact))
    (draw,) = [one for one in wrong[0][2]["draws"] if one["payer"] == "house/insurance_fund"]
    assert draw["amount_minor"] == "5"
    draw["amount_minor"] = "6"
    world.entries[sequence] = replace(entry, fact=wrong)
    with pytest.raises(InvariantViolated, match=r"draws \+ uncovered = loss"):
        built("default", reading(world))


def test_juniorisation_says_whose_bids_counted_and_what_they_paid() -> None:
    found = rows("default", of("long life"), "juniorisation")
    assert (found["d1:desk"]["bid_counted"], found["d1:other"]["bid_counted"]) == ("yes", "no")
    world = of("long life").world
    sequence = waterfalls(world)["d1"]
    pool = {leg.account.path: leg.amount for leg in world.entries[sequence].legs}
    assert minor(found["d1:desk"]["paid"]) == pool["members/desk/pool"]
    assert minor(found["d1:other"]["paid"]) == pool["members/other/pool"] == 100 * USD


# ------------------------------------------------------------------------------------------- claims and dues


@each_world
def test_claims_that_are_left_are_what_the_ledger_has(name: str) -> None:
    world = of(name).world
    for default in world.state.defaults:
        path = f"defaults/{default}/claims"
        mine = [row for row in rows("default", of(name), "claims").values() if row["default"] == default]
        assert sum(minor(row["made"]) for row in mine) == debits(world, path)
        assert sum(minor(r["repaid"]) + minor(r["cancelled"]) for r in mine) == debits(world, path, sign=-1)
        assert sum(minor(row["left"]) for row in mine) == debits(world, path) - debits(world, path, sign=-1)


@each_world
def test_recoveries_are_what_custody_received_and_went_where_the_legs_say(name: str) -> None:
    world = of(name).world
    found = rows("default", of(name), "recoveries")
    received = debits(world, "custody", (Kind.RECOVERY_RECEIVED,))
    assert sum(minor(row["received"]) for row in found.values()) == received
    for field, row in found.items():
        parts = [minor(row[column]) for column in ("uncovered", "claims", "estate")]
        assert sum(parts) == minor(row["received"])
        entry = world.entries[int(field)]
        got = Counter[str]()
        for leg in entry.legs:
            is_claim = leg.account.path.startswith("defaults/") and not leg.account.path.endswith("uncovered")
            if leg.amount < 0 and not is_claim:
                got[leg.account.path] -= leg.amount
        told = Counter[str]()
        for one in rows("default", of(name), "repayments").values():
            if one["entry"] == field:
                told[one["account"]] += minor(one["amount"])
        assert told == got


def test_a_recovery_beyond_all_claims_goes_to_the_estate() -> None:
    (recovery,) = rows("default", of("two at once"), "recoveries").values()
    assert minor(recovery["received"]) == 7_000
    assert minor(recovery["estate"]) == 7_000 - minor(recovery["claims"]) > 0
    estate = [
        row for row in rows("default", of("two at once"), "repayments").values() if row["what"] == "estate"
    ]
    assert {row["account"] for row in estate} == {
        "members/x/accounts/long/cash",
        "members/y/accounts/long/cash",
    }
    assert sum(minor(row["amount"]) for row in estate) == minor(recovery["estate"])
    assert rows("default", of("two at once"), "events")["d1"]["stage"] == "closed"


@each_world
def test_assessments_and_contributions_are_called_paid_and_left_as_the_ledger_and_the_state_say(
    name: str,
) -> None:
    world = of(name).world
    found = rows("default", of(name), "dues")
    for row in found.values():
        called, left = minor(row["called"]), minor(row["left"])
        assert called - minor(row["paid"]) - minor(row["recovered"]) - minor(row["ended"]) == left
    for member in world.state.members:
        path = f"members/{member}/assessment"
        mine = [r for r in found.values() if (r["kind"], r["member"]) == ("assessment", member)]
        assert sum(minor(row["called"]) for row in mine) == debits(world, path)
        assert sum(minor(row["left"]) for row in mine) == debits(world, path) - debits(world, path, sign=-1)
    owing = {
        f"{r['default']}/{r['member']}": minor(r["left"])
        for r in found.values()
        if r["kind"] == "replenishment"
    }
    owed = {key: due.amount_minor for key, due in world.state.replenishments.items()}
    assert {key: amount for key, amount in owing.items() if amount} == owed


def test_an_unpaid_assessment_cancels_its_claim_and_ends_in_the_next_event() -> None:
    dues = rows("default", of("end of a house"), "dues")
    assert dues["assessment:d1:z"]["ended"] == "0.000200"
    assert dues["assessment:d1:z"]["why"] == "it was not paid when it was due"
    assert rows("default", of("end of a house"), "claims")["d1:7:z"]["cancelled"] == "0.000200"
    (last,) = [
        row
        for row in rows("default", of("end of a house"), "timeline").values()
        if (row["kind"], row["default"]) == ("ASSESSMENT_DEFAULTED", "d2")
    ]
    assert (last["who"], last["what"], last["amount"]) == ("z", "unpaid", "0.000200")


def test_the_house_restores_its_skin_and_the_report_says_so() -> None:
    world = a_set_that_lost_at_two_members()
    world.prices(A=997)
    world.wait(HOUR_MS)
    before = rows("default", reading(world), "dues")["skin-in-the-game:d1:house"]
    assert (before["called"], before["paid"], before["left"]) == ("0.000010", "0.000000", "0.000010")
    world.wait(31 * DAY_MS)
    assert any(entry.kind == Kind.SKIN_RESTORED for entry in world.entries)
    after = rows("default", reading(world), "dues")["skin-in-the-game:d1:house"]
    assert (after["paid"], after["left"]) == ("0.000010", "0.000000")


# ------------------------------------------------------------------------------------------- the timeline


@each_world
def test_every_entry_that_names_a_default_or_changes_it_is_in_its_timeline(name: str) -> None:
    world = of(name).world
    told = set(rows("default", of(name), "timeline"))
    for sequence, entry in enumerate(world.entries):
        changed = {key for table, key, _ in facts(entry) if table == "defaults"}
        owed = {
            key.split("/")[0] for table, key, _ in facts(entry) if table in ("assessments", "replenishments")
        }
        named = {ref for ref in entry.references if ref in world.state.defaults}
        for default in changed | owed | named:
            assert f"{default}:{sequence}" in told


@each_world
def test_the_timeline_is_in_order_and_its_rows_are_their_entries(name: str) -> None:
    found = list(rows("default", of(name), "timeline").items())
    assert [int(row["entry"]) for _, row in found] == sorted(int(row["entry"]) for _, row in found)
    for field, row in found:
        entry = of(name).world.entries[int(row["entry"])]
        assert field == f"{row['default']}:{row['entry']}"
        assert (row["kind"], row["actor"]) == (Kind(entry.kind).name, entry.actor)


def test_a_default_begins_with_the_liquidation_that_led_to_it() -> None:
    found = list(rows("default", of("liquidated first"), "timeline").values())
    kinds = [row["kind"] for row in found]
    assert kinds[0] == "LIQUIDATION_OPENED"
    assert kinds.index("AUCTION_VOIDED") < kinds.index("DEFAULT_DECLARED") < kinds.index("BID_AWARDED")
    (one,) = rows("default", of("liquidated first"), "sets").values()
    assert one["begun"] == found[0]["time"] < one["declared"]


def test_trouble_that_ended_well_is_no_part_of_it_and_a_call_that_was_open_is() -> None:
    world = long_alice()
    world.prices(BTC=79_000, ETH=2_000)
    world.deposit(ALICE, 100 * USD)
    cured = next(n for n, e in enumerate(world.entries) if e.kind == Kind.CALL_MET)
    world.prices(BTC=78_000, ETH=2_000)
    issued = [n for n, e in enumerate(world.entries) if e.kind == Kind.CALL_ISSUED]
    world.prices(BTC=40_000, ETH=2_000)
    assert world.state.defaults
    first, second = issued
    found = rows("default", reading(world), "timeline")
    entries = [int(row["entry"]) for row in found.values()]
    assert first < cured < second == min(entries)
    assert (found[f"d1:{second}"]["what"], found[f"d1:{second}"]["who"]) == ("margin call", ALICE)


# ------------------------------------------------------------------------------------------- auctions and close-out


@each_world
def test_what_was_closed_is_what_the_accounts_had_at_t0(name: str) -> None:
    world = of(name).world
    closed = Counter[tuple[str, str]]()
    for row in rows("default", of(name), "closed").values():
        if row["phase"] == "close-out" and row["unit"] not in world.state.assets:
            decimals = world.state.instruments[InstrumentId(row["unit"])].lot_decimals
            closed[row["account"], row["unit"]] += round(float(row["size"]) * 10**decimals)
    for default in world.state.defaults.values():
        for one in default.sets:
            for key in world.state.netting_sets[one.netting_set].accounts:
                assert {unit: lots for (k, unit), lots in closed.items() if k == key} == had(
                    world, key, default.id
                )


def had(world: World, key: str, default: str) -> dict[str, int]:
    """The positions of an account when its default was declared, by hand."""
    lots = Counter[str]()
    for entry in world.entries:
        if entry.kind == Kind.DEFAULT_DECLARED and any(change[1] == default for change in facts(entry)):
            break
        for leg in entry.legs:
            if leg.account.path == "members/{}/accounts/{}/position".format(*key.split("/")):
                lots[leg.account.unit] -= leg.amount
    return {unit: amount for unit, amount in lots.items() if amount}


@each_world
def test_what_accounts_were_paid_is_what_the_legs_paid_them(name: str) -> None:
    world = of(name).world
    told = Counter[tuple[str, str]]()
    for row in rows("default", of(name), "closed").values():
        told[row["entry"], row["account"]] += minor(row["cash"])
    for (sequence, key), amount in told.items():
        path = "members/{}/accounts/{}/cash".format(*key.split("/"))
        entry = world.entries[int(sequence)]
        assert amount == -sum(leg.amount for leg in entry.legs if leg.account.path == path)


def test_prices_are_told_against_the_mark_of_the_newest_snapshot() -> None:
    found = rows("default", of("long life"), "closed").values()
    (perp,) = [
        row for row in found if (row["how"], row["unit"], row["default"]) == ("awarded", "BTC-PERP", "d1")
    ]
    assert (perp["price"], perp["mark"], perp["against_mark"]) == ("5189.6", "5200.0", "-0.2000")
    assert (perp["size"], perp["cash"], perp["taker"]) == ("0.500", "-5.200000", DESK)
    (ether,) = [row for row in found if (row["how"], row["unit"]) == ("awarded", "ETH")]
    assert (ether["price"], ether["mark"], ether["against_mark"], ether["cash"]) == (
        "",
        "200.0",
        "-0.2000",
        "99.800000",
    )
    (option,) = [
        row for row in found if (row["how"], row["default"], row["unit"][:8]) == ("awarded", "d1", "BTC-APR-")
    ]
    assert (option["size"], option["price"], option["mark"]) == ("-0.005", "3.0", "1.9")
    snapshot = entries_of(of("long life"), perp["source"], "mark")[-1]
    assert snapshot.kind in (Kind.SNAPSHOT_ACCEPTED, Kind.BID_AWARDED)


def test_auctions_show_what_was_on_offer_the_bids_and_the_awards() -> None:
    world = of("long life").world
    auctions = rows("default", of("long life"), "auctions")
    opened = [e.references[0] for e in world.entries if e.kind == Kind.AUCTION_OPENED]
    assert set(auctions) == set(opened)
    for name, row in auctions.items():
        awards = [e for e in world.entries if e.kind in (Kind.BID_AWARDED, Kind.COLLATERAL_AWARDED)]
        assert int(row["awards"]) == sum(e.references[0] == name for e in awards)
        withdrawn = [e for e in world.entries if e.kind == Kind.BID_WITHDRAWN]
        assert int(row["withdrawn"]) == sum(str(e.fact).count(f"{name}/") for e in withdrawn)
    assert {row["outcome"] for row in auctions.values()} == {"awarded", "void"}
    bids = rows("default", of("long life"), "bids").values()
    assert [row["standing"] for row in bids] == ["withdrawn", "awarded", "withdrawn", "awarded"]
    assert {(row["discount"], row["share"]) for row in bids} == {("5.00", "50.00"), ("0.20", "50.00")}
    offered = rows("default", of("long life"), "offered")
    one = next(row for row in offered.values() if (row["unit"], row["default"]) == ("BTC-PERP", "d1"))
    assert (one["size"], one["awarded"], one["left"]) == ("1.000", "0.500", "0.500")


# ------------------------------------------------------------------------------------------- as a report


@each_world
def test_sources_name_what_is_there(name: str) -> None:
    assert_sources_hold("default", of(name))


@each_world
def test_as_of_an_earlier_entry_it_is_what_it_was_then(name: str) -> None:
    """Whatever the journal says later, and twice the same."""
    world = of(name).world
    for as_of in range(1, len(world.entries), 17):
        shorter = copy_of(world)
        del shorter.entries[as_of:]
        assert built("default", reading(world, as_of)) == built("default", reading(shorter))


@each_world
def test_one_default_is_the_part_of_all_that_is_about_it(name: str) -> None:
    world = of(name).world
    whole = {table.id: list(table.rows) for table in built("default", of(name))}
    for default in world.state.defaults:
        part = {table.id: list(table.rows) for table in built("default", reading(world, default=default))}
        for table, found in part.items():
            assert all(row in whole[table] for row in found)
        assert {row.field for row in part["events"]} == {default}
        mine = {row.field for row in whole["timeline"] if row.cells[0] == default}
        assert {row.field for row in part["timeline"]} == mine


def test_an_empty_house_and_an_unknown_default_give_empty_tables() -> None:
    for empty in (reading(empty_house()), reading(worked_example(), default="d9")):
        tables = built("default", empty)
        assert not any(table.rows for table in tables)
        assert not any(table.id.startswith("waterfall") for table in tables)


def test_it_is_for_those_who_see_everything() -> None:
    assert REPORTS["default"].audience is Audience.WHOLE
    (parameter,) = REPORTS["default"].parameters
    assert not parameter.is_required
    assert [bool(parameter.pattern.fullmatch(text)) for text in ("d1", "d10", "d0", "x", "d1 ")] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_default_that_is_not_over_shows_what_there_is() -> None:
    world = short_side_wins(house_of_three(), "x")
    assert world.state.defaults[DefaultId("d1")].stage is Stage.ANSWERING
    (event,) = rows("default", reading(world), "events").values()
    assert (event["stage"], event["loss"], event["uncovered"]) == ("answering", "", "")
    assert rows("default", reading(world), "draws") == {}
    (winner,) = rows("default", reading(world), "winners").values()
    assert (winner["gain"], winner["paid"], winner["share"]) == ("0.004800", "", "")


def test_a_member_that_is_called_as_a_default_is_takes_nothing_with_it() -> None:
    """The house account of member d1 is closed out in d1: what its client did before is no part of it."""
    world = with_provider(empty_house(PARAMETERS))
    world.ok(AdmitMember(member=MemberId("d1"), name="D"))
    long, short = world.account("d1", "long"), world.account("d1", "short")
    for key, cash in ((long, 1_700), (short, 20_000)):
        world.deposit(key, cash * USD)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(long, short, 1_000, 80_000).accepted
    world.prices(BTC=72_000, ETH=2_000)
    assert any(e.kind == Kind.POSITION_ASSIGNED and e.references[0] == long for e in world.entries)
    world.ok(DeclareDefault(member=MemberId("d1"), reason="it said so"))
    kinds = {row["kind"] for row in rows("default", reading(world), "timeline").values()}
    assert "DEFAULT_DECLARED" in kinds
    assert "POSITION_ASSIGNED" not in kinds


def test_a_call_that_expired_and_the_liquidation_that_failed_are_one_trouble() -> None:
    """Nobody takes a slice, so the step fails, and all of it happens in one request."""
    world = two_traders()
    world.deposit(BOB, 10_000 * USD)
    assert world.trade(ALICE, BOB, 1_500, 80_000).accepted
    world.prices(BTC=79_000, ETH=2_000)
    world.wait(HOUR_MS - 1_000)
    world.prices(BTC=79_000, ETH=2_000)
    world.wait(MINUTE_MS)
    found = [row["kind"] for row in rows("default", reading(world), "timeline").values()]
    wanted = ["CALL_ISSUED", "CALL_EXPIRED", "LIQUIDATION_OPENED", "DEFAULT_DECLARED", "CLOSED_OUT"]
    assert [kind for kind in found if kind in wanted] == wanted
    assert found[:2] == ["SNAPSHOT_ACCEPTED", "CALL_ISSUED"], "at the snapshot at which she was called"
