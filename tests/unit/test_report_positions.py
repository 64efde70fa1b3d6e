"""Positions, open interest and concentration, against the legs of the journal and the marks of its newest snapshot."""

import json
from decimal import Decimal

import pytest

from clearing.model.house import House
from clearing.model.ids import AccountKey, FeedId, InstrumentId
from clearing.model.kinds import Kind
from clearing.reports.document import Drawing
from tests.builders import ALICE, BOB, BTC_PERP, World, empty_house, two_traders
from tests.followed import (
    WORLDS,
    a_linked_book,
    balances,
    everything,
    part,
    prefixes,
    require_followed,
    steps,
    text_of,
)
from tests.readings import built, reading, rows
from tests.unit.test_options import CALL

REPORT = "positions"


def priced(world: World, as_of: int) -> dict[str, int]:
    """The marks of the newest snapshot, read from the fact of its entry."""
    accepted = [one for one in world.entries[:as_of] if one.kind == Kind.SNAPSHOT_ACCEPTED]
    ((_, _, row),) = json.loads(json.dumps(accepted[-1].fact))
    return {mark["feed"]: int(mark["price_ticks"]) for mark in row["marks"]}


def by_hand(world: World, as_of: int, house: House) -> dict[str, tuple[int, Decimal]]:
    """Lots and notional of each position, from legs, marks and the terms of the instrument."""
    marks = priced(world, as_of)
    found = {}
    for (path, unit), lots in balances(world, as_of).items():
        if path.endswith("/position") and lots:
            _, member, _, account, _ = path.split("/")
            row = house.instruments[InstrumentId(unit)]
            notional = abs(lots) * marks[row.feed] * row.tick_value_minor
            found[f"{member}/{account}:{unit}"] = lots, Decimal(notional).scaleb(-6)
    return found


@pytest.mark.parametrize("name", WORLDS)
def test_every_position_has_its_size_side_mark_and_notional(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        read_from = everything(world, as_of)
        house, expected = read_from.house, by_hand(world, as_of, read_from.house)
        found = rows(REPORT, read_from, "positions")
        assert found.keys() == expected.keys()
        for field, (lots, notional) in expected.items():
            row, instrument = found[field], house.instruments[InstrumentId(field.split(":")[1])]
            assert steps(row["size"], instrument.lot_decimals) == abs(lots)
            assert row["side"] == ("long" if lots > 0 else "short")
            assert Decimal(row["notional"]) == notional
            account = house.accounts[AccountKey(row["account"])]
            assert (row["member"], row["kind"]) == (account.member, account.kind.value)
            assert row["netting_set"] == account.netting_set
            if instrument.option is None:
                mark = house.prices[FeedId(instrument.feed)]
                assert steps(row["mark"], instrument.price_decimals) == mark
                assert row["option_value"] == ""


def test_an_option_is_worth_its_own_mark_and_its_notional_is_of_its_forward() -> None:
    world = a_linked_book()
    found = rows(REPORT, everything(world), "positions")
    house, row = everything(world).house, found[f"dex/bob:{CALL}"]
    worth = 10 * house.option_prices[CALL] * house.instruments[CALL].tick_value_minor
    assert steps(row["option_value"]) == worth
    assert steps(row["mark"], house.instruments[CALL].price_decimals) == house.option_prices[CALL]
    assert found[f"dex/alice:{CALL}"]["option_value"] == (
        f"-{row['option_value']}" if worth else row["option_value"]
    )


def test_as_much_is_long_as_short_and_the_largest_holder_is_a_participant() -> None:
    """Alice sold bob and carol what they hold: of each instrument one holder is on each side."""
    found = rows(REPORT, everything(a_linked_book()), "open_interest")
    row = found[BTC_PERP]
    assert (row["long"], row["short"], row["holders"], row["largest_share"]) == (
        "0.990",
        "0.990",
        "2",
        "100.0000",
    )
    assert row["published"] == "0.990"
    assert found["BTC-MAR20"]["largest_share"] == ""
    assert {row["long"] == row["short"] for row in found.values()} == {True}


def test_what_each_member_holds_is_summed_for_house_and_clients() -> None:
    world = a_linked_book()
    members = rows(REPORT, everything(world), "concentration")
    positions = rows(REPORT, everything(world), "positions")
    for member, row in members.items():
        own = [one for one in positions.values() if one["member"] == member]
        assert Decimal(row["total"]) == sum(Decimal(one["notional"]) for one in own)
        assert Decimal(row["house"]) == sum(Decimal(one["notional"]) for one in own if one["kind"] == "house")
        assert Decimal(row["house"]) + Decimal(row["client"]) == Decimal(row["total"])
    assert sum(Decimal(row["share"]) for row in members.values()) == pytest.approx(100, abs=Decimal("0.001"))


def test_a_member_sees_its_positions_and_no_others_nor_any_share() -> None:
    world = a_linked_book()
    tables = {table.id: table for table in built(REPORT, part(world, "other"))}
    assert tables.keys() == {"positions", "open_interest"}
    assert {row.cells[1] for row in tables["positions"].rows} == {"other"}
    assert "largest_share" not in {column.id for column in tables["open_interest"].columns}
    assert not tables["open_interest"].charts
    said = text_of(tables.values())
    assert "dex" not in said
    found = rows(REPORT, part(world, "other"), "open_interest")
    assert (found[BTC_PERP]["long"], found[BTC_PERP]["short"]) == ("0.000", "0.000")
    assert found[BTC_PERP]["published"] == "0.990"


@pytest.mark.parametrize("name", WORLDS)
def test_every_source_can_be_followed(name: str) -> None:
    world = WORLDS[name]()
    for as_of in (1, *prefixes(world)):
        require_followed(REPORT, everything(world, as_of))
        for member in world.state.members:
            require_followed(REPORT, part(world, member, as_of))


def test_the_accounts_of_a_source_have_what_the_row_says() -> None:
    world = a_linked_book()
    legs = balances(world, len(world.entries))
    for row in rows(REPORT, everything(world), "positions").values():
        path, unit = row["source"].split("; ")[0].removeprefix("account ").rsplit(" ", 1)
        decimals = world.state.instruments[InstrumentId(unit)].lot_decimals
        assert abs(legs[path, unit]) == steps(row["size"], decimals)
        assert world.entries[int(row["source"].split("; ")[1].removeprefix("entries "))].kind == (
            Kind.SNAPSHOT_ACCEPTED
        )


def test_an_empty_house_has_no_positions_and_open_interest_of_nothing() -> None:
    world = empty_house()
    assert rows(REPORT, everything(world), "positions") == {}
    found = rows(REPORT, everything(world), "open_interest")
    assert found.keys() == set(world.state.instruments)
    assert {(row["mark"], row["published"], row["long"], row["holders"]) for row in found.values()} >= {
        ("", "", "0.000", "0")
    }
    assert rows(REPORT, everything(world), "concentration") == {}


def test_a_report_of_an_earlier_entry_is_that_of_the_shorter_journal() -> None:
    world = a_linked_book()
    shorter = two_traders()
    assert built(REPORT, reading(world, 40)) != built(REPORT, reading(world))
    as_of = len(shorter.entries)
    before = built(REPORT, reading(shorter))
    assert shorter.trade(ALICE, BOB, 10, 80_000).accepted
    assert built(REPORT, reading(shorter, as_of)) == before


def test_what_is_concentrated_is_drawn() -> None:
    tables = {table.id: table for table in built(REPORT, everything(a_linked_book()))}
    assert [chart.drawing for chart in tables["concentration"].charts] == [Drawing.BARS]
    assert [chart.values for chart in tables["open_interest"].charts] == [("largest_share",)]
