"""Reports shaped as ISO 20022 messages: every element of the message, and each figure against the journal by hand."""

from decimal import Decimal

import pytest

from clearing.margin.assess import assess, living_sets
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId, MemberId, SetId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS
from clearing.reports.iso20022 import directed, id_of
from ledger.entry import Entry
from tests.builders import ALICE, BOB, BTC_PERP, ETH_PERP, USD, World, empty_house, two_traders
from tests.followed import (
    ALICE_THERE,
    CAROL,
    WORLDS,
    a_linked_book,
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
from tests.unit.test_options import CALL

pytestmark = pytest.mark.slow

REQUIREMENTS, OBLIGATIONS = "member-requirements", "member-obligations"
RESOURCES, POSITIONS = "available-resources", "account-positions"
NAMED = ("Id", "Desc", "Issr", "SchmeNm")
LINK = "link/alice"
COMPONENTS = "endofdayrqrmnt_initlmrgnrqrmnts_initlmrgnxpsr"


def of(path: str, *names: str) -> set[str]:
    return {f"{path}/{name}" for name in names}


MESSAGES = {
    REQUIREMENTS: (
        "CCPMmbRqrmntsRpt",
        of(
            "IntraDayRqrmntAmt",
            "IntraDayMrgnCall",
            "PeakInitlMrgnLblty",
            "PeakVartnMrgnLblty",
            "AggtPeakLblty",
        )
        | of("IntraDayRqrmntAmt/MrgnAcctId", *NAMED)
        | of("IntraDayMrgnCall", "IntraDayCall", "TmStmp")
        | of("IntraDayMrgnCall/MrgnAcctId", *NAMED)
        | of(
            "EndOfDayRqrmnt/InitlMrgnRqrmnts/InitlMrgnXpsr", "Amt/OrgnlAmt", "Amt/RptgAmt", "Tp/Cd", "CoreInd"
        )
        | of("EndOfDayRqrmnt", "InitlMrgnRqrmnts/Cdt", "VartnMrgnRqrmnts/Amt", "VartnMrgnRqrmnts/Sgn")
        | of("EndOfDayRqrmnt/MrgnAcctId", *NAMED)
        | of("DfltFndRqrmnt/ClrMmbId", *NAMED)
        | of("DfltFndRqrmnt", "SvcId", "Amt"),
    ),
    OBLIGATIONS: (
        "CCPMmbOblgtnsRpt",
        of("SttlmAcct/Id", *NAMED)
        | {
            f"SttlmAcct/EndOfDay{name}Clld/{tag}"
            for name in ("InitlMrgn", "VartnMrgn", "DfltFnd", "Sttlm", "Othr", "Lqdty")
            for tag in ("Amt", "Sgn")
        },
    ),
    RESOURCES: (
        "CCPAvlblFinRsrcsRpt",
        of("AvlblFinRsrcsAmt", "TtlInitlMrgn", "TtlPrfnddDfltFnd", "OthrDfltFndCntrbtn")
        | of("AvlblFinRsrcsAmt", "UfnddMmbCmmtmnt", "UfnddThrdPtyCmmtmnt")
        | of("AvlblFinRsrcsAmt/CCPSkinInTheGame", "RptgAsstTp", "Id", "Amt")
        | of("OthrPrfnddRsrcs", "RptgAsstTp", "Id", "Amt"),
    ),
    POSITIONS: (
        "CCPAcctPosRpt",
        of("Prtfl/Id", *NAMED)
        | of("Prtfl/Pos", "PdctId", "RskRqrmnt/InitlMrgnRqrmnt", "GrssNtnl", "NetNtnl/Amt", "NetNtnl/Sgn")
        | of("Prtfl/Pos/RskRqrmnt/VartnMrgnRqrmnt", "Amt", "Sgn")
        | of(
            "Prtfl/Pos",
            "GrssDltaEqvtVal",
            "NetDltaEqvtVal",
            "GrssDltaEqvtQty",
            "NetDltaEqvtQty",
            "GrssMktVal",
        ),
    ),
}
"""Root and elements of each message of version 001.01, without what stands beside them as a choice."""
EVERYWHERE = {"@Ccy", "SplmtryData"}


def absolute(title: str, column: str) -> str:
    """The path of a column from the root of the message."""
    path = title.split("/")
    while column.startswith("../"):
        column, path = column[3:], path[:-1]
    return "/".join((*path, column))


# --- shape ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", MESSAGES)
def test_every_element_of_the_message_is_filled_or_named_as_not_computed(report: str) -> None:
    root, elements = MESSAGES[report]
    tables = built(report, everything(a_linked_book()))
    filled = [
        absolute(table.title, column.title)
        for table in tables
        if table.id != "not_computed"
        for column in table.columns
    ]
    missing = {row.field for row in tables[-1].rows}
    wanted = {f"{root}/{path}" for path in elements | EVERYWHERE}
    outer = {f"{root}/EndOfDayRqrmnt/MrgnAcctId/{name}" for name in NAMED}
    assert set(filled) | missing == wanted
    assert not set(filled) & missing
    assert {path for path in filled if filled.count(path) > 1} <= outer


@pytest.mark.parametrize("report", MESSAGES)
def test_ids_follow_from_the_tags_and_amounts_have_the_settlement_asset_as_unit(report: str) -> None:
    for table in built(report, everything(a_linked_book())):
        if table.id == "not_computed":
            continue
        assert table.id == id_of(table.title.partition("/")[2])
        for column in table.columns:
            assert column.id == id_of(column.title)
            assert column.unit == (
                "USDC" if column.measure.value == "amount" and "Qty" not in column.title else ""
            )


@pytest.mark.parametrize("report", MESSAGES)
@pytest.mark.parametrize("name", WORLDS)
def test_no_amount_is_negative_and_every_sign_says_true_or_false(report: str, name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        for table in built(report, everything(world, as_of)):
            for row in table.rows:
                cells = dict(zip((column.id for column in table.columns), row.cells, strict=True))
                for column in table.columns:
                    if column.measure.value == "amount" and "netdltaeqvtqty" not in column.id:
                        assert Decimal(cells[column.id]) >= 0, (table.id, row)
                    if column.id.endswith(("_sgn", "coreind")):
                        assert cells[column.id] in ("true", "false")


@pytest.mark.parametrize("report", MESSAGES)
@pytest.mark.parametrize("name", WORLDS)
def test_every_source_can_be_followed(report: str, name: str) -> None:
    world = WORLDS[name]()
    for as_of in (1, *prefixes(world)):
        require_followed(report, everything(world, as_of))
        for member in world.state.members if report != RESOURCES else ():
            require_followed(report, part(world, member, as_of))


@pytest.mark.parametrize("report", [REQUIREMENTS, OBLIGATIONS, POSITIONS])
def test_a_member_sees_nothing_of_the_others(report: str) -> None:
    world = a_linked_book()
    tables = built(report, part(world, "other"))
    said = text_of(tables)
    assert [
        key for key in world.state.accounts if key in said and member_of(key) == "other"
    ] or report == OBLIGATIONS
    assert not [key for key in world.state.accounts if key in said and member_of(key) != "other"]
    assert "The dex" not in said


@pytest.mark.parametrize("report", MESSAGES)
def test_an_empty_house_has_no_rows_but_its_own_money(report: str) -> None:
    *tables, missing = built(report, everything(empty_house()))
    assert list(missing.rows)
    own = ("skin_in_the_game", "second_tranche")
    assert all(row.field.endswith(own) for table in tables for row in table.rows)


def test_nothing_is_plus() -> None:
    house = a_linked_book().state
    assert directed(house, 0) == ("0.000000", "true")
    assert directed(house, -1) == ("0.000001", "false")
    assert directed(house, 1) == ("0.000001", "true")


# --- what the journal says of a day --------------------------------------------------------------------


def day(world: World, as_of: int) -> list[tuple[int, Entry]]:
    """The entries of the UTC day of the newest cycle."""
    accepted = [one for one in world.entries[:as_of] if one.kind == Kind.SNAPSHOT_ACCEPTED][-1].effective_ms
    start = accepted - accepted % DAY_MS
    return [(n, one) for n, one in enumerate(world.entries[:as_of]) if one.effective_ms >= start]


def received(entry: Entry, *keys: AccountKey) -> int:
    """What an entry credited to the cash of these accounts."""
    paths = {"members/{}/accounts/{}/cash".format(*key.split("/")) for key in keys}
    return -sum(leg.amount for leg in entry.legs if leg.account.path in paths)


def accounts_of(house: House, member: str) -> list[AccountKey]:
    return [key for key in house.accounts if member_of(key) == member]


# --- auth.055 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_peaks_are_over_the_cycles_of_the_day(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        of_day = day(world, as_of)
        cycles = [n for n, one in enumerate(world.entries[:as_of]) if one.kind == Kind.CYCLE_CLOSED]
        before = [n for n in cycles if n < of_day[0][0]][-1:]
        opening = [everything(world, n + 1).house for n in before]
        houses = [everything(world, n + 1).house for n in cycles if n >= of_day[0][0]]
        for field, row in rows(REQUIREMENTS, everything(world, as_of), "intradayrqrmntamt").items():
            set_id = SetId(field)
            earlier = sum(
                assess(one, set_id).requirement_minor for one in opening if set_id in living_sets(one)
            )
            there = [one for one in houses if set_id in living_sets(one)]
            rises, cash, both = [0], [0], [0]
            for house in there:
                keys = house.netting_sets[set_id].accounts
                paid = -sum(
                    received(one, *keys)
                    for n, one in of_day
                    if n < house.size and one.kind in (Kind.VARIATION_MARGIN, Kind.FUTURE_SETTLED)
                )
                rises.append(assess(house, set_id).requirement_minor - earlier)
                cash.append(-sum(house.cash(key) for key in keys))
                both.append(rises[-1] + paid)
            assert steps(row["peakinitlmrgnlblty"]) == max(rises)
            assert steps(row["peakvartnmrgnlblty"]) == max(cash)
            assert steps(row["aggtpeaklblty"]) == max(both)


def test_calls_of_the_day_are_listed_with_what_was_added_and_sum_to_what_was_called() -> None:
    world = a_linked_book()
    called = rows(REQUIREMENTS, everything(world), "intradaymrgncall")
    call = world.state.calls[f"margin/{LINK}"]
    assert {world.entries[int(number)].kind for number in called} == {Kind.CALL_ISSUED, Kind.CALL_CHANGED}
    assert total(called.values(), "intradaycall") == call.amount_minor
    assert {row["mrgnacctid_id"] for row in called.values()} == {LINK}
    assert {row["source"] for row in called.values()} == {f"entries {number}" for number in called}
    found = rows(REQUIREMENTS, everything(world), "intradayrqrmntamt")
    assert steps(found[LINK]["intradaymrgncall"]) == call.amount_minor
    assert steps(found[BOB]["intradaymrgncall"]) == 0


def test_a_call_that_fell_is_not_called_again_and_one_of_yesterday_is_not_of_today() -> None:
    world = two_traders(1_500 * USD)
    world.deposit(BOB, 20_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    world.prices(BTC=77_000, ETH=2_000)
    first = world.state.calls[f"margin/{ALICE}"].amount_minor
    world.deposit(ALICE, 10 * USD)
    assert world.state.calls[f"margin/{ALICE}"].amount_minor == first - 10 * USD
    found = rows(REQUIREMENTS, everything(world), "intradaymrgncall")
    assert total(found.values(), "intradaycall") == first
    world.deposit(ALICE, first)
    world.now_ms += DAY_MS
    world.prices(BTC=77_000, ETH=2_000)
    assert rows(REQUIREMENTS, everything(world), "intradaymrgncall") == {}
    assert len(rows(REQUIREMENTS, everything(world), "intradayrqrmntamt")) == len(living_sets(world.state))


@pytest.mark.parametrize("name", WORLDS)
def test_the_end_of_the_day_has_components_credit_and_variation_margin(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        house, of_day = everything(world, as_of).house, day(world, as_of)
        parts = rows(REQUIREMENTS, everything(world, as_of), COMPONENTS)
        for field, row in rows(REQUIREMENTS, everything(world, as_of), "endofdayrqrmnt").items():
            one, keys = assess(house, SetId(field)), house.netting_sets[SetId(field)].accounts
            own = {part["tp_cd"]: steps(part["amt_rptgamt"]) for k, part in parts.items() if k[:-5] == field}
            expected = {
                "MARM": one.margin.amount_minor,
                "LIRM": sum(one.add_ons.liquidity.values()),
                "WWRM": sum(one.add_ons.wrong_way.values()),
                "OTHR": one.requirement_minor - one.maintenance_minor,
            }
            assert own == {code: amount for code, amount in expected.items() if amount}
            assert steps(row["initlmrgnrqrmnts_cdt"]) == max(0, one.option_value_minor)
            paid = sum(
                received(entry, *keys)
                for _, entry in of_day
                if entry.kind in (Kind.VARIATION_MARGIN, Kind.FUTURE_SETTLED)
            )
            assert steps(row["vartnmrgnrqrmnts_amt"]) == abs(paid)
            assert row["vartnmrgnrqrmnts_sgn"] == ("true" if paid >= 0 else "false")


def test_components_name_the_model_as_core_and_have_size_and_wrong_way_risk() -> None:
    found = rows(REQUIREMENTS, everything(a_linked_book()), COMPONENTS)
    assert {row["coreind"] for row in found.values() if row["tp_cd"] == "MARM"} == {"true"}
    assert {row["coreind"] for row in found.values() if row["tp_cd"] != "MARM"} == {"false"}
    assert f"{LINK}:LIRM" in found
    world = with_token()
    assert world.trade(ALICE, BOB, 100, 500, InstrumentId("DEXT-PERP")).accepted
    charged = rows(REQUIREMENTS, everything(world), COMPONENTS)[f"{ALICE}:WWRM"]
    assert steps(charged["amt_rptgamt"]) == world.measured(ALICE).add_ons.amount_minor > 0


def test_contributions_are_those_of_the_entry_that_sized_the_pool() -> None:
    world = a_linked_book()
    found = rows(REQUIREMENTS, everything(world), "dfltfndrqrmnt")
    for member, row in found.items():
        required_of = world.state.members[MemberId(member)]
        assert steps(row["amt"]) == required_of.required_contribution_minor
        assert row["clrmmbid_desc"] == required_of.name
        entry = world.entries[int(row["source"].removeprefix("entries "))]
        assert member in str(entry.fact)


# --- auth.056 ------------------------------------------------------------------------------------------

CALLED = {
    "endofdayvartnmrgnclld": (
        Kind.VARIATION_MARGIN,
        Kind.FUTURE_SETTLED,
        Kind.TRADE_NOVATED,
        Kind.POSITION_ASSIGNED,
        Kind.BID_AWARDED,
    ),
    "endofdaysttlmclld": (Kind.OPTION_SETTLED, Kind.POSITIONS_TORN_UP, Kind.POSITIONS_WOUND_DOWN),
    "endofdayothrclld": (Kind.FUNDING_PAID, Kind.LIQUIDATION_CLOSED),
}


def signed(row: dict[str, str], element: str) -> int:
    return steps(row[f"{element}_amt"]) * (1 if row[f"{element}_sgn"] == "true" else -1)


def fees(of_day: list[tuple[int, Entry]], keys: list[AccountKey]) -> int:
    """Half of the fee of a trade for each of its two accounts."""
    paid = 0
    for _, one in of_day:
        if one.kind == Kind.TRADE_NOVATED:
            fee = -sum(leg.amount for leg in one.legs if leg.account.path == "house/fees")
            sides = {leg.account.path for leg in one.legs if leg.account.path.endswith("/position")}
            paid += (
                fee // 2 * sum("members/{}/accounts/{}/position".format(*k.split("/")) in sides for k in keys)
            )
    return paid


@pytest.mark.parametrize("name", WORLDS)
def test_what_was_called_and_paid_is_in_the_legs_of_the_day(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        house, of_day = everything(world, as_of).house, day(world, as_of)
        for member, row in rows(OBLIGATIONS, everything(world, as_of), "sttlmacct").items():
            keys = accounts_of(house, member)
            flows = {
                element: -sum(received(one, *keys) for _, one in of_day if one.kind in kinds)
                for element, kinds in CALLED.items()
            }
            charged = fees(of_day, keys)
            answers = sum(
                answer.amount_minor
                for default in house.defaults.values()
                for answer in default.answers
                if answer.member == member and default.stage.value == "answering"
            )
            dues = [*house.assessments.values(), *house.replenishments.values()]
            calls = [one for one in house.calls.values() if one.kind.value == "margin"]
            expected = {
                "endofdayinitlmrgnclld": sum(
                    part.amount_minor for one in calls for part in one.parts if part.member == member
                ),
                "endofdayvartnmrgnclld": flows["endofdayvartnmrgnclld"] - charged,
                "endofdaydfltfndclld": sum(one.amount_minor for one in dues if one.member == member),
                "endofdaysttlmclld": flows["endofdaysttlmclld"],
                "endofdayothrclld": flows["endofdayothrclld"] + charged + answers,
            }
            assert {element: signed(row, element) for element in expected} == expected
            assert signed(row, "endofdaylqdtyclld") == sum(expected.values())


def test_the_worlds_have_calls_dues_fees_and_settlements() -> None:
    seen: set[str] = set()
    for make in WORLDS.values():
        world = make()
        ends = {n + 1 for n, one in enumerate(world.entries) if one.kind in (Kind.WATERFALL, Kind.LOSS_FIXED)}
        for as_of in sorted(ends | set(prefixes(world))):
            found = rows(OBLIGATIONS, everything(world, as_of), "sttlmacct").values()
            seen |= {
                column for row in found for column in row if column.endswith("_amt") and steps(row[column])
            }
    assert seen >= {
        "endofdayinitlmrgnclld_amt",
        "endofdayvartnmrgnclld_amt",
        "endofdaydfltfndclld_amt",
        "endofdayothrclld_amt",
        "endofdaylqdtyclld_amt",
    }


# --- auth.068 ------------------------------------------------------------------------------------------


def test_a_position_has_its_requirement_alone_notional_and_market_value() -> None:
    world = a_linked_book()
    found = rows(POSITIONS, everything(world), "prtfl_pos")
    row, marks = found[f"{CAROL}:{ETH_PERP}"], world.state.prices
    assert steps(row["grssntnl"]) == 2_000 * marks[world.state.instruments[ETH_PERP].feed] * 1_000
    assert row["grssntnl"] == row["netntnl_amt"] == row["grssmktval"]
    assert (row["netntnl_sgn"], row["netdltaeqvtqty"]) == ("true", "2000.00000")
    assert steps(row["rskrqrmnt_initlmrgnrqrmnt"]) == world.measured(CAROL).requirement_minor
    short = found[f"{ALICE_THERE}:{ETH_PERP}"]
    assert (short["netntnl_sgn"], short["netdltaeqvtqty"], short["grssdltaeqvtqty"]) == (
        "false",
        "-2000.00000",
        "2000.00000",
    )


def test_an_option_has_the_notional_of_its_delta_and_the_market_value_of_its_premium() -> None:
    world = a_linked_book()
    row = rows(POSITIONS, everything(world), "prtfl_pos")[f"{BOB}:{CALL}"]
    house = world.state
    worth = 10 * house.option_prices[CALL] * house.instruments[CALL].tick_value_minor
    assert steps(row["grssmktval"]) == worth
    whole = 10 * house.prices[house.instruments[CALL].feed] * house.instruments[CALL].tick_value_minor
    assert 0 <= steps(row["grssntnl"]) < whole
    assert Decimal(row["grssdltaeqvtqty"]) == Decimal(steps(row["grssntnl"]) * 10**6 // whole).scaleb(-5)


@pytest.mark.parametrize("name", WORLDS)
def test_variation_margin_of_a_position_is_what_its_instrument_paid_in_the_day(name: str) -> None:
    world = WORLDS[name]()
    for as_of in prefixes(world):
        of_day = day(world, as_of)
        for field, row in rows(POSITIONS, everything(world, as_of), "prtfl_pos").items():
            key, _, instrument = field.partition(":")
            paid = sum(
                received(one, AccountKey(key))
                for _, one in of_day
                if one.kind == Kind.VARIATION_MARGIN and one.references == (instrument,)
            )
            assert signed(row, "rskrqrmnt_vartnmrgnrqrmnt") == paid


def test_positions_that_are_alone_sum_to_no_less_than_the_netting_set_requires() -> None:
    world = a_linked_book()
    found = rows(POSITIONS, everything(world), "prtfl_pos")
    own = [row for row in found.values() if row["id_id"] in (ALICE, ALICE_THERE)]
    assert total(own, "rskrqrmnt_initlmrgnrqrmnt") >= world.measured(LINK).requirement_minor
    assert f"{ALICE}:{BTC_PERP}" in found
