"""The margin report, against legs, marks and each netting set measured by itself."""

import json
from decimal import Decimal

import pytest

from clearing.margin.assess import Health, assess, assess_alone, living_sets
from clearing.model.house import House
from clearing.model.ids import AccountKey, AssetId, SetId, member_of
from clearing.model.kinds import Kind
from clearing.reports.document import Drawing
from tests.builders import ALICE, USD, World, empty_house
from tests.followed import (
    ALICE_THERE,
    CAROL,
    WORLDS,
    a_linked_book,
    balances,
    everything,
    part,
    prefixes,
    require_followed,
    steps,
    text_of,
    total,
)
from tests.readings import built, rows
from tests.unit.test_add_ons import with_token
from tests.unit.test_report_positions import priced

REPORT, LINK = "margin", "link/alice"


def cash_of(world: World, as_of: int, key: AccountKey) -> int:
    member, _, account = key.partition("/")
    return balances(world, as_of).get((f"members/{member}/accounts/{account}/cash", "USDC"), 0)


@pytest.mark.parametrize("name", WORLDS)
def test_every_living_set_is_measured_as_it_is_by_itself(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        house = everything(world, as_of).house
        found = rows(REPORT, everything(world, as_of), "netting_sets")
        assert list(found) == living_sets(house)
        for field, row in found.items():
            one = assess(house, SetId(field))
            said = {name: steps(row[name]) for name in row if name in _AMOUNTS}
            excess = one.equity_minor - one.requirement_minor
            assert said == {
                "cash": sum(cash_of(world, as_of, key) for key in house.netting_sets[SetId(field)].accounts),
                "collateral": one.collateral_minor,
                "option_value": one.option_value_minor,
                "equity": one.equity_minor,
                "maintenance": one.maintenance_minor,
                "requirement": one.requirement_minor,
                "excess": max(0, excess),
                "shortfall": max(0, -excess),
                "standalone": one.standalone_minor,
                "benefit": one.standalone_minor - one.requirement_minor,
            }
            assert row["health"] == one.health.value
            assert said["equity"] == said["cash"] + said["collateral"] + said["option_value"]


_AMOUNTS = {"cash", "collateral", "option_value", "equity", "maintenance", "requirement"} | {
    "excess",
    "shortfall",
    "standalone",
    "benefit",
}


@pytest.mark.parametrize("name", WORLDS)
def test_the_accounts_of_a_set_sum_to_it_and_each_has_what_it_would_need_alone(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        house = everything(world, as_of).house
        sets = rows(REPORT, everything(world, as_of), "netting_sets")
        accounts = rows(REPORT, everything(world, as_of), "accounts")
        for set_id, row in sets.items():
            own = [one for one in accounts.values() if one["netting_set"] == set_id]
            for column in ("requirement", "cash", "collateral", "option_value", "equity", "standalone"):
                assert total(own, column) == steps(row[column]), column
        for key, row in accounts.items():
            assert steps(row["cash"]) == cash_of(world, as_of, AccountKey(key))
            assert steps(row["standalone"]) == assess_alone(house, AccountKey(key)).requirement_minor
            assert (row["member"], row["kind"]) == (key.split("/")[0], _kind(house, key))


def _kind(house: House, key: str) -> str:
    return house.accounts[AccountKey(key)].kind.value


def test_collateral_counts_after_haircut_and_above_the_limit_less() -> None:
    """Two ether at 20 % off; twelve pieces of which ten are within the limit, two have 50 % off."""
    world = a_linked_book()
    price = priced(world, len(world.entries))["ETH"] * 100_000
    found = rows(REPORT, everything(world), "collateral")
    ether, crowded = found[f"{ALICE}:ETH"], found[f"{ALICE_THERE}:CRWD"]
    assert (steps(ether["market_value"]), steps(ether["counted"])) == (2 * price, 2 * price * 8 // 10)
    assert steps(crowded["market_value"]) == 12 * price
    assert steps(crowded["counted"]) == 10 * price * 8 // 10 + 2 * price * 5 // 10
    assert (ether["amount"], crowded["amount"]) == ("2.000000000000000000", "12.000000000000000000")


def test_the_token_of_a_member_counts_nothing_in_its_set() -> None:
    row = rows(REPORT, everything(a_linked_book()), "collateral")["desk/provider:CRWD"]
    assert steps(row["market_value"]) > 0
    assert steps(row["counted"]) == 0


def test_the_benefit_of_netting_is_what_the_accounts_would_need_alone_beyond_the_set() -> None:
    world = a_linked_book()
    row = rows(REPORT, everything(world), "netting_sets")[LINK]
    alone = [assess_alone(world.state, key).requirement_minor for key in (ALICE, ALICE_THERE)]
    benefit = sum(alone) - steps(row["requirement"])
    assert steps(row["benefit"]) == benefit > 0
    assert Decimal(row["benefit_share"]) == Decimal(benefit * 10**6 // sum(alone)).scaleb(-4)
    totals = rows(REPORT, everything(world), "totals")
    assert steps(totals["netting_benefit"]["amount"]) == benefit
    standalone = steps(totals["standalone"]["amount"])
    assert Decimal(totals["netting_benefit"]["share"]) == Decimal(benefit * 10**6 // standalone).scaleb(-4)


def test_who_does_not_meet_the_requirement_is_short_and_what_others_have_does_not_help() -> None:
    world = a_linked_book()
    row = rows(REPORT, everything(world), "netting_sets")[LINK]
    assert row["health"] == Health.CALL.value
    assert steps(row["shortfall"]) == world.state.calls[f"margin/{LINK}"].amount_minor
    totals = rows(REPORT, everything(world), "totals")
    assert totals["shortfall"]["amount"] == row["shortfall"]
    assert steps(totals["margin_held"]["amount"]) > steps(totals["margin_required"]["amount"])


def test_assets_kinds_and_members_are_sums_of_the_accounts() -> None:
    world = a_linked_book()
    read_from = everything(world)
    accounts = rows(REPORT, read_from, "accounts")
    for of, group in (("house_and_client", _kind), ("members", lambda _, key: member_of(AccountKey(key)))):
        for field, row in rows(REPORT, read_from, of).items():
            own = [one for key, one in accounts.items() if group(world.state, key) == field]
            assert row["accounts"] == str(len(own))
            assert steps(row["requirement"]) == total(own, "requirement")
            assert steps(row["equity"]) == total(own, "equity")
    assets = rows(REPORT, read_from, "assets")
    legs = balances(world, len(world.entries))
    for asset in ("ETH", "CRWD"):
        posted = sum(a for (path, unit), a in legs.items() if path.endswith("/collateral") and unit == asset)
        assert steps(assets[asset]["amount"], world.state.assets[AssetId(asset)].decimals) == posted
    assert steps(assets["net_option_value"]["counted"]) == total(accounts.values(), "option_value")


def test_the_model_is_named_with_its_version_parameters_and_snapshot() -> None:
    world = a_linked_book()
    found = rows(REPORT, everything(world), "model")
    parameters = world.state.parameters
    assert found["name"]["value"] == parameters.margin_model
    assert found["requirement_bp"]["value"] == str(parameters.requirement_bp)
    ranges = json.loads(found["scan_ranges"]["value"])
    assert [(one["underlying"], one["move_bp"]) for one in ranges] == [
        (one.underlying, str(one.move_bp)) for one in parameters.scan_ranges
    ]
    (said,) = {row["source"] for field, row in found.items() if field in ("cycle", "marks_of")}
    snapshot = world.entries[int(said.removeprefix("entries "))]
    assert snapshot.kind == Kind.SNAPSHOT_ACCEPTED
    assert found["name"]["source"] == "entries 0"
    assert "days_of_history" not in found, "scan does not look back"


def test_the_parameters_are_those_of_the_entry_that_changed_them_last() -> None:
    world = WORLDS["a long life"]()
    found = rows(REPORT, everything(world), "model")
    changed = [n for n, one in enumerate(world.entries) if one.kind == Kind.PARAMETERS_CHANGED]
    assert found["requirement_bp"]["source"] == f"entries {changed[-1]}"
    assert found["requirement_bp"]["value"] == "12600"


def test_a_member_sees_its_sets_and_of_a_link_its_own_account() -> None:
    world = a_linked_book()
    tables = {table.id: table for table in built(REPORT, part(world, "other"))}
    assert [row.field for row in tables["netting_sets"].rows] == [LINK, CAROL, "other/house"]
    assert {row.field for row in tables["accounts"].rows} == {ALICE_THERE, CAROL, "other/house"}
    assert {row.field for row in tables["members"].rows} == {"other"}
    said = text_of(tables.values())
    assert not [key for key in world.state.accounts if key in said and member_of(key) != "other"]
    link = next(row for row in tables["netting_sets"].rows if row.field == LINK)
    assert link.source.endswith("outside the accounts of the link at other members")


@pytest.mark.parametrize("name", WORLDS)
def test_every_source_can_be_followed(name: str) -> None:
    world = WORLDS[name]()
    for as_of in (1, *prefixes(world)):
        require_followed(REPORT, everything(world, as_of))
        for member in world.state.members:
            require_followed(REPORT, part(world, member, as_of))


def test_a_charge_for_wrong_way_risk_is_part_of_the_requirement() -> None:
    world = with_token()
    assert world.trade(ALICE, AccountKey("dex/bob"), 100, 500, "DEXT-PERP").accepted  # type: ignore[arg-type]
    row = rows(REPORT, everything(world), "netting_sets")[ALICE]
    assert steps(row["maintenance"]) >= 100 * 500 * 10**4 // USD * USD


def test_an_empty_house_requires_nothing_and_holds_nothing() -> None:
    totals = rows(REPORT, everything(empty_house()), "totals")
    assert {row["amount"] for row in totals.values()} == {"0.000000"}
    assert totals["netting_benefit"]["share"] == ""
    assert rows(REPORT, everything(empty_house()), "netting_sets") == {}


def test_requirements_are_drawn_beside_what_they_were_without_netting() -> None:
    (table,) = (one for one in built(REPORT, everything(a_linked_book())) if one.charts)
    assert table.id == "netting_sets"
    assert (table.charts[0].drawing, table.charts[0].values) == (Drawing.BARS, ("standalone", "requirement"))
