"""Collateral, its limits, and that custody holds all of it, against the legs of the journal."""

from decimal import Decimal

import pytest

from clearing.chart import Line
from clearing.model.commands import RecordNonDefaultLoss
from clearing.model.house import ordered
from clearing.model.ids import AccountKey, AssetId
from clearing.reports.collateral import SIDES
from tests.builders import ALICE, ETH, USD, empty_house, two_traders
from tests.followed import (
    ALICE_THERE,
    CROWDED,
    WORLDS,
    a_linked_book,
    balances,
    everything,
    part,
    prefixes,
    require_followed,
    steps,
    summed,
    text_of,
    total,
)
from tests.readings import built, rows
from tests.unit.test_report_positions import priced

REPORT = "collateral"
WHOLE_ONLY = {"limits", "reconciliation", "investments"}


def test_every_line_of_the_chart_is_on_one_side() -> None:
    assert SIDES.keys() == set(Line)


@pytest.mark.parametrize("name", WORLDS)
def test_what_is_held_for_members_is_the_sum_of_the_legs(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        legs, house = balances(world, as_of), everything(world, as_of).house
        for asset, row in rows(REPORT, everything(world, as_of), "assets").items():
            decimals = house.assets[AssetId(asset)].decimals
            last = "cash" if asset == house.settlement else "collateral"
            held = steps(row["house"], decimals) + steps(row["client"], decimals)
            assert held == summed(legs, f"members/*/accounts/*/{last}", asset)
            assert steps(row["house"], decimals) == summed(legs, f"members/*/accounts/house/{last}", asset)
            waiting = sum(
                a for (path, unit), a in legs.items() if path[:12] == "withdrawals/" and unit == asset
            )
            assert steps(row["withdrawals"], decimals) == waiting


@pytest.mark.parametrize("name", WORLDS)
def test_every_account_has_its_balance_value_and_haircut(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        legs, house = balances(world, as_of), everything(world, as_of).house
        marks, found = priced(world, as_of), rows(REPORT, everything(world, as_of), "accounts")
        for row in found.values():
            member, _, account = row["account"].partition("/")
            asset = house.assets[AssetId(row["asset"])]
            last = "cash" if asset.id == house.settlement else "collateral"
            amount = legs[f"members/{member}/accounts/{account}/{last}", asset.id]
            assert steps(row["amount"], asset.decimals) == amount
            if asset.feed is not None:
                worth = amount * marks[asset.feed] * asset.tick_value_minor // 10**asset.decimals
                assert steps(row["market_value"]) == worth
            assert total([row], "haircut_value") == steps(row["market_value"]) - steps(row["counted"])
        held = [
            place for place, amount in legs.items() if amount and place[0].endswith(("/cash", "/collateral"))
        ]
        assert len(found) == len(held)


def test_a_participant_uses_the_limit_with_all_its_accounts() -> None:
    row = rows(REPORT, everything(a_linked_book()), "limits")["client:alice:CRWD"]
    assert (row["posted"][:5], row["limit"][:5], row["beyond"][:4]) == ("12.00", "10.00", "2.00")
    assert Decimal(row["use"]) == 120


def test_terms_say_price_haircuts_limit_and_issuer() -> None:
    world = a_linked_book()
    found = rows(REPORT, everything(world), "terms")
    row = found[CROWDED]
    price = priced(world, len(world.entries))["ETH"] * 100_000
    assert steps(row["price"]) == price
    assert (row["haircut"], row["haircut_beyond"], row["issuer"]) == ("20.00", "50.00", "desk")
    assert (found[ETH]["limit"], found[ETH]["haircut_beyond"], found["USDC"]["price"]) == ("", "", "")


@pytest.mark.parametrize("name", WORLDS)
def test_every_line_that_custody_has_to_hold_is_the_sum_of_its_accounts(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        legs, house = balances(world, as_of), everything(world, as_of).house
        found = rows(REPORT, everything(world, as_of), "reconciliation")
        for row in found.values():
            decimals = house.assets[AssetId(row["asset"])].decimals
            patterns = [term.removeprefix("account ").rsplit(" ", 1) for term in row["source"].split("; ")]
            of_line = sum(summed(legs, path, unit) for path, unit in patterns)
            assert steps(row["net"], decimals) == of_line
            assert steps(row["credits"], decimals) - steps(row["debits"], decimals) == of_line
        for asset in ordered(house.assets):
            own = [row for row in found.values() if row["asset"] == asset.id]
            assert total(own, "net", asset.decimals) == 0, "custody is the sum of all others"


def test_what_custody_lost_lowers_what_the_house_has_and_nothing_is_invested() -> None:
    world = two_traders()
    world.deposit(ALICE, 10**18, ETH)
    world.ok(RecordNonDefaultLoss(asset=ETH, amount_minor=10**17, reason="a key was lost"))
    row = rows(REPORT, everything(world), "investments")[ETH]
    amounts = [Decimal(row[column]) for column in ("members", "own", "to_be_held", "in_custody", "invested")]
    assert amounts == [Decimal(1), Decimal("-0.1"), Decimal("0.9"), Decimal("0.9"), 0]
    assert row["custodians"] == ""
    assert "custodians=outside" in row["source"]


def test_a_member_sees_what_it_has_and_nothing_of_the_house() -> None:
    world = a_linked_book()
    tables = {table.id: table for table in built(REPORT, part(world, "other"))}
    assert not WHOLE_ONLY & tables.keys()
    assert {row.cells[0].split("/")[0] for row in tables["accounts"].rows} == {"other"}
    said = text_of(tables[name] for name in ("assets", "accounts"))
    assert not [key for key in world.state.accounts if key in said and not key.startswith("other/")]
    found = rows(REPORT, part(world, "other"), "assets")
    assert Decimal(found["USDC"]["withdrawals"]) == 5
    assert Decimal(rows(REPORT, part(world, "dex"), "assets")["USDC"]["withdrawals"]) == 0
    assert Decimal(found["CRWD"]["client"]) == 12
    row = rows(REPORT, part(world, "other"), "accounts")[f"{ALICE_THERE}:CRWD"]
    assert steps(row["counted"]) < steps(row["market_value"]) * 8 // 10


@pytest.mark.parametrize("name", WORLDS)
def test_every_source_can_be_followed(name: str) -> None:
    world = WORLDS[name]()
    for as_of in (1, *prefixes(world)):
        require_followed(REPORT, everything(world, as_of))
        for member in world.state.members:
            require_followed(REPORT, part(world, member, as_of))


def test_an_empty_house_holds_nothing() -> None:
    found = rows(REPORT, everything(empty_house()), "investments")
    assert found == {} or {Decimal(row["in_custody"]) for row in found.values()} == {0}
    assert rows(REPORT, everything(empty_house()), "accounts") == {}


def test_negative_cash_lowers_what_is_held() -> None:
    world = a_linked_book()
    key = AccountKey("dex/alice")
    assert world.state.cash(key) < 0
    row = rows(REPORT, everything(world), "accounts")[f"{key}:USDC"]
    assert steps(row["amount"]) == steps(row["counted"]) == world.state.cash(key)
    assert steps(row["amount"]) > -(10**4) * USD
