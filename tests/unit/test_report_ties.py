"""The same figures wherever they stand: journal = trial balance = statements = margin report = attestation (§14)."""

import json
from functools import cache

import pytest

from clearing.attest.statement import Statement
from clearing.model.house import House
from tests.followed import WORLDS, balances, everything, prefixes, stated, steps, total
from tests.readings import reading, rows

pytestmark = pytest.mark.slow

Cells = dict[str, dict[str, str]]
AT = [(name, number) for name in WORLDS for number in range(5)]


@cache
def states(name: str) -> list[int]:
    return prefixes(WORLDS[name]())


@cache
def figures(name: str, as_of: int) -> Statement:
    return stated(house_at(name, as_of))


@cache
def house_at(name: str, as_of: int) -> House:
    return everything(WORLDS[name](), as_of).house


@cache
def table(name: str, as_of: int, report: str, of: str) -> Cells:
    return rows(report, everything(WORLDS[name](), as_of), of)


@pytest.fixture(params=AT, ids=lambda one: f"{one[0]} {one[1]}")
def at(request: pytest.FixtureRequest) -> tuple[str, int]:
    name, number = request.param
    return name, states(name)[number]


def whole(name: str, unit: str) -> int:
    """The decimals of a unit, as the legs count it."""
    house = house_at(name, len(WORLDS[name]().entries))
    for asset in house.assets.values():
        if asset.id == unit:
            return asset.decimals
    return next(one.lot_decimals for one in house.instruments.values() if one.id == unit)


def test_the_trial_balance_is_the_sum_of_the_legs_in_the_journal(at: tuple[str, int]) -> None:
    name, as_of = at
    summed: dict[str, int] = {}
    for row in table(name, as_of, "journal", "entries").values():
        for path, unit, amount in json.loads(row["legs"]):
            summed[f"{path}:{unit}"] = summed.get(f"{path}:{unit}", 0) + int(amount)
    found = {
        field: steps(row["debit"], whole(name, row["unit"])) - steps(row["credit"], whole(name, row["unit"]))
        for field, row in table(name, as_of, "trial-balance", "accounts").items()
    }
    assert {field: amount for field, amount in found.items() if amount} == {
        field: amount for field, amount in summed.items() if amount
    }
    assert sum(map(abs, summed.values())) > 0


def test_every_statement_closes_with_the_balance_of_the_trial_balance(at: tuple[str, int]) -> None:
    name, as_of = at
    for row in table(name, as_of, "trial-balance", "accounts").values():
        asked = reading(WORLDS[name](), as_of, ledger_account=row["account"], unit=row["unit"])
        lines = rows("statement", asked, "lines")
        decimals = whole(name, row["unit"])
        closing = steps(lines["closing"]["balance"], decimals)
        assert abs(closing) == steps(row["debit"] or row["credit"], decimals)
        moved = total((line for line in lines.values() if line["entry"]), "amount", decimals)
        assert steps(lines["opening"]["balance"], decimals) + moved == closing


def test_the_totals_of_the_trial_balance_are_attested(at: tuple[str, int]) -> None:
    found = {
        unit: (steps(row["debits"], whole(at[0], unit)), steps(row["credits"], whole(at[0], unit)))
        for unit, row in table(*at, "trial-balance", "units").items()
    }
    assert {unit: sums for unit, sums in found.items() if any(sums)} == {
        unit: (one.debits_minor, one.credits_minor) for unit, one in figures(*at).trial_balance.items()
    }


def test_the_totals_of_the_margin_report_are_attested(at: tuple[str, int]) -> None:
    totals, attested = table(*at, "margin", "totals"), figures(*at)
    said = {name: steps(row["amount"]) for name, row in totals.items()}
    assert said == {
        "margin_required": attested.resources.margin_required_minor,
        "margin_held": attested.resources.margin_held_minor,
        "shortfall": attested.breaches.amount_minor,
        "standalone": attested.netting.standalone_minor,
        "netting_benefit": attested.netting.standalone_minor - attested.netting.portfolio_minor,
    }


@pytest.mark.parametrize("of", ["netting_sets", "accounts", "house_and_client", "members"])
def test_every_table_of_the_margin_report_has_the_same_totals(at: tuple[str, int], of: str) -> None:
    attested = figures(*at).resources
    found = table(*at, "margin", of).values()
    assert total(found, "requirement") == attested.margin_required_minor
    assert total(found, "equity") == attested.margin_held_minor


def test_what_is_held_by_asset_is_the_margin_held(at: tuple[str, int]) -> None:
    found = table(*at, "margin", "assets").values()
    assert total(found, "counted") == figures(*at).resources.margin_held_minor
    assert total(found, "house") + total(found, "client") == total(found, "counted")


def test_requirements_by_component_are_the_margin_required(at: tuple[str, int]) -> None:
    of = "endofdayrqrmnt_initlmrgnrqrmnts_initlmrgnxpsr"
    components = table(*at, "member-requirements", of).values()
    attested = figures(*at).resources
    assert total(components, "amt_rptgamt") == attested.margin_required_minor
    pool = table(*at, "member-requirements", "dfltfndrqrmnt").values()
    assert total(pool, "amt") == attested.pool_required_minor


def test_available_resources_are_attested(at: tuple[str, int]) -> None:
    attested = figures(*at).resources
    (sizes,) = table(*at, "available-resources", "avlblfinrsrcsamt").values()
    (skin,) = table(*at, "available-resources", "avlblfinrsrcsamt_ccpskininthegame").values()
    (tranche,) = table(*at, "available-resources", "othrprfnddrsrcs").values()
    assert [steps(sizes[column]) for column in sizes if column != "source"] == [
        attested.margin_required_minor,
        attested.pool_held_minor,
        attested.insurance_fund_minor,
        attested.assessments_available_minor,
    ]
    assert steps(skin["amt"]) == attested.skin_in_the_game_minor
    assert steps(tranche["amt"]) == attested.second_tranche_minor


def test_calls_that_are_open_are_attested(at: tuple[str, int]) -> None:
    """The parts of margin calls by member; cash calls are attested too, and are no margin."""
    obligations = table(*at, "member-obligations", "sttlmacct").values()
    cash = sum(one.amount_minor for key, one in house_at(*at).calls.items() if key.startswith("cash/"))
    assert total(obligations, "endofdayinitlmrgnclld_amt") + cash == figures(*at).calls.amount_minor


def test_custody_is_what_the_legs_left_there_and_what_is_owed(at: tuple[str, int]) -> None:
    name, as_of = at
    legs = balances(WORLDS[name](), as_of)
    attested = figures(*at)
    for asset, row in table(*at, "collateral", "investments").items():
        decimals = whole(name, asset)
        assert steps(row["in_custody"], decimals) == -legs.get(("custody", asset), 0)
        assert steps(row["to_be_held"], decimals) == steps(row["in_custody"], decimals)
        assert not steps(row["invested"], decimals)
        owed = attested.liabilities.totals_minor[asset] - attested.liabilities.receivables_minor[asset]
        assert steps(row["members"], decimals) == owed


def test_positions_of_the_reports_are_those_of_the_ledger(at: tuple[str, int]) -> None:
    name, as_of = at
    held = {
        place: lots
        for place, lots in balances(WORLDS[name](), as_of).items()
        if place[0].endswith("/position")
    }
    found = {}
    for row in table(*at, "positions", "positions").values():
        sign = 1 if row["side"] == "long" else -1
        member, _, account = row["account"].partition("/")
        path = f"members/{member}/accounts/{account}/position"
        found[path, row["instrument"]] = sign * steps(row["size"], whole(name, row["instrument"]))
    assert found == {place: lots for place, lots in held.items() if lots}
    for instrument, row in table(*at, "positions", "open_interest").items():
        assert row["long"] == row["short"], instrument
    shaped = table(*at, "account-positions", "prtfl_pos")
    assert shaped.keys() == table(*at, "positions", "positions").keys()


def test_the_worlds_have_positions_shortfalls_and_netting() -> None:
    found = [figures(name, as_of) for name in WORLDS for as_of in states(name)]
    assert any(one.netting.standalone_minor > one.netting.portfolio_minor for one in found)
    assert any(one.breaches.count for one in found)
    assert any(one.calls.count for one in found)
    assert any(one.liabilities.receivables_minor["USDC"] for one in found)
    assert any(one.waterfall for one in found)
