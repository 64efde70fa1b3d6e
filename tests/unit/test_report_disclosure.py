"""The quantitative disclosure: each figure against one that is made here of entries, legs and attestations by hand."""

import base64
import json
import re
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from clearing import chart
from clearing.attest.envelope import PAYLOAD_TYPE, ed25519_signer, sign
from clearing.attest.figures import compute, statement_of
from clearing.attest.statement import Journal, Statement, build, payload_digest
from clearing.default.stress import prefunded
from clearing.margin.assess import assess
from clearing.margin.table import MODELS
from clearing.model import decimal
from clearing.model.commands import (
    AdmitMember,
    ApproveProposal,
    GroupMember,
    ProposeParameters,
    RecordAttestation,
    RecordRecovery,
    RequestWithdrawal,
)
from clearing.model.house import House, decode_changes, fold
from clearing.model.ids import AccountKey, DefaultId, MemberId, SetId, account_key, house_account
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS, HOUR_MS, AccountKind, Parameters, Stage, Trade
from clearing.reports import sources
from clearing.reports.disclosure.done import span_starts
from clearing.reports.disclosure.items import COVERED, ITEMS, PRINCIPLES
from clearing.reports.disclosure.margin import MODEL_TYPES
from clearing.reports.disclosure.measures import MEASURES
from clearing.reports.disclosure.values import POSITION_KINDS
from clearing.reports.sources import Origin
from clearing.reports.table import REPORTS, Audience
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BTC_MAR,
    BTC_PERP,
    ETH,
    ETH_PERP,
    PARAMETERS,
    START_MS,
    USD,
    USDC,
    World,
    contribute,
    empty_house,
    fund,
    pay_out,
    size_pool,
    two_traders,
    with_provider,
)
from tests.readings import WorldReading, reading, rows
from tests.stories import MARKS, a_long_life, clients_trade, opened, the_end_of_a_house
from tests.unit.test_defaults import D1, house_of_three, short_side_wins
from tests.unit.test_options import CALL

pytestmark = pytest.mark.slow

ZEBRA, QUAGGA = MemberId("zebra-dex"), MemberId("quagga-dex")
ZOE, ZACK = account_key(ZEBRA, "zoe"), account_key(ZEBRA, "zack")
QUINN = account_key(QUAGGA, "quinn")
JANUARY_TO_MARCH = "2020-01-01T00:00:00.000Z"
Items = dict[str, dict[str, str]]


def items(world: World, as_of: int | None = None) -> Items:
    return rows("disclosure", reading(world, as_of), "items")


def usd(text: str) -> int:
    """The smallest units that a value says."""
    return decimal.parse(text, 6, signed=True)


def attest(world: World) -> Statement:
    """The house states what it is, and journals it."""
    last = world.state.attestation
    before = 0 if last is None else last.tree_size
    journal = Journal(
        origin="test/log",
        tree_size=world.state.size,
        root_hash=bytes(32),
        previous_tree_size=before,
        consistency=(),
    )
    computed = compute(world.state, journal, bytes(32))
    statement = statement_of(world.state, "testhouse", journal, computed)
    payload = build(statement)
    key = ed25519_signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    world.ok(
        RecordAttestation(
            sequence=statement.sequence,
            cycle=world.state.newest_cycle.number,
            tree_size=journal.tree_size,
            payload_sha256=payload_digest(payload).hex(),
            envelope=sign(payload, PAYLOAD_TYPE, (key,)).decode(),
        )
    )
    return statement


def until(world: World, day: str, hour: int = 9) -> None:
    """Let time pass until an hour of a day."""
    at = datetime.fromisoformat(f"{day}T{hour:02}:00:00+00:00")
    world.wait(int(at.timestamp()) * 1_000 - world.now_ms)


@cache
def over_the_quarter() -> World:
    """Two members with a house and client accounts, over the end of March 2020; zoe fails in April."""
    world = founded_in_march()
    through_march(world)
    into_april(world)
    return world


def founded_in_march() -> World:
    world = empty_house(replace(PARAMETERS, pool_floor_minor=100 * USD))
    for one, cash in ((ZEBRA, 340), (QUAGGA, 3_000)):
        world.ok(AdmitMember(member=one, name=one.title()))
        world.deposit(house_account(one), cash * USD)
    with_provider(world)
    for key, cash in ((ZOE, 1_600), (ZACK, 9_000), (QUINN, 20_000)):
        member, name = key.split("/")
        world.deposit(world.account(member, name, f"person-{name}"), cash * USD)
    world.deposit(ZACK, 10**18, ETH)
    fund(
        world, capital=900 * USD, skin_in_the_game=70 * USD, second_tranche=30 * USD, insurance_fund=40 * USD
    )
    world.prices(BTC=80_000, ETH=2_000)
    size_pool(world)
    contribute(world, **{ZEBRA: 100 * USD, QUAGGA: 120 * USD, "desk": 100 * USD})
    attest(world)
    return world


def through_march(world: World) -> None:
    assert world.trade(house_account(ZEBRA), ZACK, 100, 80_000).accepted
    assert world.trade(ZOE, ZACK, 900, 80_100).accepted
    until(world, "2020-03-13")
    world.prices(BTC=80_500, ETH=1_500)
    attest(world)
    assert world.trade(ZACK, ZOE, 50, 80_500, BTC_MAR).accepted
    world.prices(BTC=79_000, ETH=1_550)
    until(world, "2020-03-14")
    world.prices(BTC=79_500, ETH=1_600)
    attest(world)
    world.ok(RequestWithdrawal(withdrawal="w1", account=ZACK, asset=USDC, amount_minor=5 * USD))
    pay_out(world, "w1")
    until(world, "2020-03-28")
    world.prices(BTC=79_600, ETH=1_600)
    until(world, "2020-03-31")
    world.prices(BTC=78_800, ETH=1_610)
    attest(world)
    world.ok(
        ProposeParameters(
            proposal="p1",
            parameters=replace(world.state.parameters, requirement_bp=13_000),
            reason="a reason",
            immediate=True,
        ),
        ANNA,
    )
    world.ok(ApproveProposal(proposal="p1"), BERT)


def into_april(world: World) -> None:
    until(world, "2020-04-01")
    world.prices(BTC=78_000, ETH=1_610)
    attest(world)
    assert world.trade(house_account(QUAGGA), ZACK, 10, 78_000, ETH_PERP).accepted is False
    assert world.trade(house_account(QUAGGA), QUINN, 10, 1_610, ETH_PERP).accepted
    world.prices(BTC=60_000, ETH=1_610)
    assert world.state.defaults[D1].stage is not Stage.CLOSED
    attest(world)
    world.wait(HOUR_MS)
    until(world, "2020-04-02")
    world.prices(BTC=60_500, ETH=1_600)
    attest(world)
    world.ok(RecordRecovery(default=D1, amount_minor=10 * USD))


def ends(world: World, since: str = "2000-01-01") -> dict[str, House]:
    """The state after the last closed cycle of each day, from one on."""
    house, found = House(), {}
    for entry in world.entries:
        house = fold(house, entry)
        if entry.kind == Kind.CYCLE_CLOSED and day_of(entry.effective_ms) >= since:
            found[day_of(entry.effective_ms)] = house
    return found


def day_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1_000, UTC).date().isoformat()


@pytest.fixture(scope="module")
def world() -> World:
    return over_the_quarter()


@pytest.fixture(scope="module")
def found(world: World) -> Items:
    return items(world)


def money(found: Items, field: str) -> int:
    assert found[field]["status"] == "computed", found[field]
    assert found[field]["unit"] == "USDC"
    return usd(found[field]["value"])


# the items --------------------------------------------------------------------------------------------


def test_each_item_has_a_measure_or_names_what_is_missing_and_none_has_both() -> None:
    assert {item.ref for item in ITEMS if not item.missing} == MEASURES.keys()
    assert len({item.ref for item in ITEMS}) == len(ITEMS) == 202
    assert {item.ref.partition(".")[0] for item in ITEMS} == PRINCIPLES.keys()
    assert (len(MEASURES), len(ITEMS)) == COVERED == REPORTS["disclosure"].covers
    assert REPORTS["disclosure"].audience is Audience.PUBLIC


def test_the_items_stand_in_the_order_of_their_numbers(found: Items) -> None:
    refs = list(dict.fromkeys(field.partition("/")[0] for field in found))
    assert refs == [item.ref for item in ITEMS]
    assert refs.index("4.1.10") == refs.index("4.1.9") + 1


def test_what_comes_from_outside_is_empty_and_says_what_is_missing(found: Items) -> None:
    for item in ITEMS:
        if item.missing:
            row = found[item.ref]
            assert (row["value"], row["status"], row["missing"]) == (
                "",
                "not computed by this system",
                item.missing,
            )
            assert row["source"] == sources.outside(item.missing)


def test_each_row_has_a_value_or_a_reason(found: Items) -> None:
    for field, row in found.items():
        assert bool(row["value"]) == (row["status"] == "computed"), field
        assert bool(row["missing"]) != bool(row["value"]), field
        assert all(row[name] for name in ("unit", "window", "frequency", "title"))
        assert row["principle"].split(" ")[0] == field.split(".")[0]


def test_every_model_has_a_type() -> None:
    assert MODEL_TYPES.keys() == MODELS.keys()


# the window -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "quarter", "year"),
    [
        ("2020-03-31T23:59:59", "2020-01-01", "2019-04-01"),
        ("2020-04-01T00:00:00", "2020-04-01", "2019-04-02"),
        ("2020-02-29T12:00:00", "2020-01-01", "2019-03-01"),
        ("2021-12-31T12:00:00", "2021-10-01", "2021-01-01"),
    ],
)
def test_the_quarter_is_the_calendars_and_a_year_ends_with_the_last_entry(
    at: str, quarter: str, year: str
) -> None:
    at_ms = int(datetime.fromisoformat(f"{at}+00:00").timestamp()) * 1_000
    assert [day_of(start) for start in span_starts(at_ms)] == [quarter, year]
    assert all(start % DAY_MS == 0 for start in span_starts(at_ms))


def test_the_window_names_its_entries_and_times(world: World) -> None:
    found = rows("disclosure", reading(world), "window")
    april = next(n for n, one in enumerate(world.entries) if day_of(one.effective_ms) >= "2020-04-01")
    quarter, year = found["quarter"], found["12_months"]
    assert (quarter["from"], quarter["first"]) == ("2020-04-01T00:00:00.000Z", str(april))
    assert (year["from"], year["first"]) == ("2019-04-03T00:00:00.000Z", "0")
    assert quarter["last"] == year["last"] == str(len(world.entries) - 1)
    assert (quarter["days"], year["days"]) == ("2", "7")
    assert (quarter["attested"], year["attested"]) == ("2", "6")


def test_an_earlier_entry_gives_what_the_shorter_journal_gives(world: World) -> None:
    march = next(n for n, one in enumerate(world.entries) if day_of(one.effective_ms) >= "2020-04-01")
    short = World(entries=world.entries[:march])
    assert items(world, march) == items(short)
    window = rows("disclosure", reading(world, march), "window")
    assert window["quarter"]["from"] == JANUARY_TO_MARCH
    assert window["quarter"]["first"] == "0"


def test_every_prefix_of_a_journal_can_be_disclosed() -> None:
    world = short_side_wins(house_of_three(), "x")
    world.wait(HOUR_MS)
    for as_of in range(len(world.entries) + 1):
        items(world, as_of)


# credit risk ------------------------------------------------------------------------------------------


def test_prefunded_resources_are_those_of_the_ledger(world: World, found: Items) -> None:
    house = world.state
    belong = [member.id for member in house.members.values() if member.belongs]
    assert set(belong) < set(house.members)
    assert money(found, "4.1.1") == house.balance(chart.skin_in_the_game(USDC))
    assert money(found, "4.1.3") == house.balance(chart.second_tranche(USDC))
    assert money(found, "4.1.5") == sum(house.balance(chart.pool(one, USDC)) for one in belong)
    assert money(found, "4.1.6") == house.balance(chart.insurance_fund(USDC))
    assert money(found, "4.1.4") == sum(house.members[one].required_contribution_minor for one in belong)
    parts = sum(money(found, f"4.1.{number}") for number in (1, 2, 3, 5, 6))
    assert parts == prefunded(house) == money(found, "4.3.15/after-haircut")
    assert money(found, "4.3.5/before-haircut") == 0


def test_commitments_are_what_the_caps_leave(world: World) -> None:
    before = first_of_april(world)
    found = items(world, before)
    required = money(found, "4.1.4")
    assert required == 300 * USD
    assert money(found, "4.1.8") == 2 * required
    assert money(found, "4.1.9") == required


def first_of_april(world: World) -> int:
    """How many entries there were when April began."""
    return next(n for n, one in enumerate(world.entries) if day_of(one.effective_ms) >= "2020-04-01")


def test_stress_is_that_of_the_last_attestation_of_each_day(world: World, found: Items) -> None:
    stated = last_stated(world)
    assert len(stated) == 6
    for loss, days, excess, of in (
        ("4.4.3", "4.4.4", "4.4.5", "cover1"),
        ("4.4.7", "4.4.8", "4.4.9", "cover2"),
    ):
        losses = [one[of] for one in stated.values()]
        assert money(found, f"{loss}/peak") == max(losses) > 0
        assert money(found, f"{loss}/mean") == -(-sum(losses) // len(losses))
        beyond = {
            day: one[of] - one["prefunded"] for day, one in stated.items() if one[of] > one["prefunded"]
        }
        assert found[days]["value"] == str(len(beyond))
        if beyond:
            assert {day: money(found, f"{excess}/{day}") for day in beyond} == beyond
        else:
            assert found[excess]["missing"] == "there was no such day"


def last_stated(world: World) -> dict[str, dict[str, int]]:
    """The stress figures of each day, read from the JSON in the journal."""
    found: dict[str, dict[str, int]] = {}
    for entry in world.entries:
        if entry.kind == Kind.ATTESTED:
            envelope = json.loads(attested_row(entry.fact)["envelope"])
            predicate = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
            stress = predicate["stress"]
            found[day_of(entry.effective_ms)] = {
                name: int(stress[name]) for name in ("cover1", "cover2", "prefunded")
            }
    return found


def test_the_coverage_of_each_day_is_what_was_attested_last_on_it(world: World) -> None:
    table = rows("disclosure", reading(world), "coverage")
    assert table.keys() == last_stated(world).keys()
    for day, row in table.items():
        (entry,), (attestation,) = (term.said.split(",") for term in sources.parse(row["source"]))
        predicate = predicate_of(world, int(entry))
        assert predicate["sequence"] == attestation
        stress, resources = predicate["stress"], predicate["resources"]
        assert row["day"] == day == day_of(world.entries[int(entry)].effective_ms)
        assert usd(row["cover1"]) == int(stress["cover1"])
        assert usd(row["cover2"]) == int(stress["cover2"])
        assert usd(row["prefunded"]) == int(stress["prefunded"])
        assert usd(row["required"]) == int(resources["marginRequired"])
        assert usd(row["held"]) == int(resources["marginHeld"])


def attested_row(fact: object) -> dict[str, str]:
    assert isinstance(fact, list)
    row: dict[str, str] = fact[0][2]
    return row


def test_actual_exposure_is_what_sets_lack_to_nothing_at_the_end_of_each_day() -> None:
    """Sets that were found bankrupt are closed out after the cycle: at its end they lack what the holes will be."""
    world = two_traders(700 * USD)
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    for name in ("carol", "dave"):
        world.deposit(world.account("other", name), 700 * USD)
    assert world.trade(AccountKey("dex/alice"), AccountKey("dex/bob"), 500, 80_000).accepted
    assert world.trade(AccountKey("other/carol"), AccountKey("other/dave"), 480, 80_000).accepted
    world.prices(BTC=64_000, ETH=2_000)
    lacking, found = fixed(world), items(world)
    assert lacking.keys() == {"dex", "other"}
    assert money(found, "4.4.6/peak") == max(lacking.values()) == money(found, "4.4.6/mean")
    assert money(found, "4.4.10/peak") == sum(lacking.values())
    world.ok(GroupMember(member=MemberId("other"), group="one"))
    world.ok(GroupMember(member=MemberId("dex"), group="one"))
    world.prices(BTC=64_000, ETH=2_000)
    assert money(items(world), "4.4.6/peak") == sum(lacking.values())


def test_a_loss_that_came_and_went_within_a_day_is_an_exposure_all_the_same() -> None:
    """A set is bankrupt in the morning and closed out before the day ends: the peak has what it lacked at T0."""
    world = two_traders(700 * USD)
    assert world.trade(AccountKey("dex/alice"), AccountKey("dex/bob"), 500, 80_000).accepted
    world.prices(BTC=64_000, ETH=2_000)
    lacking = fixed(world)
    world.wait(2 * HOUR_MS)
    world.prices(BTC=64_000, ETH=2_000)
    found = items(world)
    assert money(found, "4.4.6/mean") == 0
    assert money(found, "4.4.6/peak") == max(lacking.values()) > 0


def fixed(world: World) -> dict[str, int]:
    """The holes of defaults, by member, as the ledger has them."""
    return {
        account.path.split("/")[3]: balance
        for account, balance in world.state.book.debit_balances()
        if account.path.endswith("/loss") and balance
    }


# collateral and margin --------------------------------------------------------------------------------


def test_haircuts_are_those_of_the_assets_and_are_tested_from_day_to_day(found: Items) -> None:
    assert (found["5.1.1/ETH"]["value"], found["5.1.1/USDC"]["value"]) == ("20.00", "0.00")
    assert found["5.2.1/USDC"]["value"] == "0.00"
    # 12 to 13 March ether fell from 200 to 155, by more than a fifth; 13 to 14 March it rose; 2 April is not over
    assert found["5.3.3"]["value"] == "3"
    assert found["5.3.4/ETH"]["value"] == "1"
    assert found["5.3.1"]["status"] == "not computed by this system"


def test_margin_required_and_held_is_that_of_the_sets(world: World) -> None:
    before = first_of_april(world)
    found, house = items(world, before), state_at(world, before)
    required, held = defaultdict[str, int](int), defaultdict[str, int](int)
    for set_id, row in house.netting_sets.items():
        measured = assess(house, SetId(set_id))
        side = "house" if house.accounts[row.accounts[0]].kind is AccountKind.HOUSE else "client"
        required[side] += measured.requirement_minor
        held[side] += measured.equity_minor
    assert money(found, "6.1.1/house-net") == required["house"] > 0
    assert money(found, "6.1.1/client-gross") == required["client"] > 0
    assert money(found, "6.1.1/total") == sum(required.values())
    for side in ("house", "client"):
        assert money(found, f"6.2.15/{side}/after-haircut") == held[side]
    ether_haircut = 161 * USD // 5
    assert money(found, "6.2.15/client/before-haircut") == held["client"] + ether_haircut
    assert money(found, "6.2.15/total/after-haircut") == sum(held.values())


def state_at(world: World, as_of: int) -> House:
    house = House()
    for entry in world.entries[:as_of]:
        house = fold(house, entry)
    return house


def test_margin_is_that_of_an_attestation_at_the_same_state() -> None:
    world = over_the_quarter()
    at = max(n for n, one in enumerate(world.entries) if one.kind == Kind.ATTESTED)
    predicate = predicate_of(world, at)
    found = items(world, at)  # the state of which the attestation speaks
    assert money(found, "6.1.1/total") == int(predicate["resources"]["marginRequired"])
    assert money(found, "6.2.15/total/after-haircut") == int(predicate["resources"]["marginHeld"])
    assert money(found, "4.1.5") == int(predicate["resources"]["poolHeld"])
    assert money(found, "4.1.8") == int(predicate["resources"]["assessmentsAvailable"])
    assert money(found, "4.3.15/after-haircut") == int(predicate["stress"]["prefunded"])


def predicate_of(world: World, sequence: int) -> dict[str, Any]:
    envelope = json.loads(attested_row(world.entries[sequence].fact)["envelope"])
    predicate: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))["predicate"]
    return predicate


def test_the_rate_of_a_contract_is_what_one_lot_alone_needs() -> None:
    world = two_traders()
    move = 80_000 * 100 * 1_300 // 10_000
    long = money(items(world), "6.3.1/BTC-PERP/long")
    assert move <= long <= 2 * move
    assert world.trade(AccountKey("dex/alice"), AccountKey("dex/bob"), 1, 80_000).accepted
    assert long == world.measured("dex/alice").requirement_minor
    assert money(items(world), "6.3.1/BTC-PERP/short") == world.measured("dex/bob").requirement_minor


def test_a_model_that_looks_back_tells_its_confidence_and_since_when(world: World, found: Items) -> None:
    assert found["6.4.3"]["value"] == "scan 3"
    assert found["6.4.2"]["value"] == "2020-03-12T08:00:00.000Z"
    assert (found["6.4.4"]["value"], found["6.4.4"]["status"]) == ("", "no value")
    later = two_traders()
    parameters = replace(later.state.parameters, margin_model="expected_shortfall", tail_bp=200)
    for name, changed in (("p1", parameters), ("p2", replace(parameters, requirement_bp=13_000))):
        proposed = ProposeParameters(proposal=name, parameters=changed, reason="a reason", immediate=False)
        later.ok(proposed, ANNA)
        later.ok(ApproveProposal(proposal=name), BERT)
        later.wait(2 * DAY_MS)
    assert later.state.parameters.requirement_bp == 13_000
    told = items(later)
    assert told["6.4.4"]["value"] == "98.00"
    changes = [n for n, one in enumerate(later.entries) if one.kind == Kind.PARAMETERS_CHANGED]
    assert len(changes) == 2
    for ref in ("6.4.2", "6.4.5", "6.4.7", "6.4.9", "6.4.11"):
        assert told[ref]["source"] == sources.entries(changes[:1])
        assert told[ref]["value"].startswith(day_of(later.entries[changes[0]].effective_ms))


def test_the_back_test_holds_what_was_held_against_the_next_days_prices(world: World, found: Items) -> None:
    states = ends(world)
    observations, beyond = 0, {"requirement": list[int](), "maintenance": list[int]()}
    for day, before in states.items():
        after = states.get(
            day_of(int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() + 86_400) * 1_000)
        )
        if after is None or after is list(states.values())[-1]:
            continue  # the newest day is not over: no cycle of a later one is closed
        for key, account in before.accounts.items():
            lots = before.positions(key)
            if not lots or account.status.value != "active":
                continue
            observations += 1
            lost = 0
            for instrument, size in lots.items():
                row = before.instruments[instrument]
                lost -= size * (after.prices[row.feed] - before.prices[row.feed]) * row.tick_value_minor
            measured = assess(before, SetId(key))
            for which, margin in (
                ("requirement", measured.requirement_minor),
                ("maintenance", measured.maintenance_minor),
            ):
                if lost > margin:
                    beyond[which].append(lost - margin)
    assert observations == int(found["6.5.2"]["value"]) > 5
    for which, amounts in beyond.items():
        assert found[f"6.5.1.1/{which}"]["value"] == str(len(amounts))
        covered = 1_000_000 * (observations - len(amounts)) // observations
        assert found[f"6.5.3/{which}"]["value"] == decimal.render(covered, 4)
        assert amounts, "the world has a day on which margin did not suffice"
        assert money(found, f"6.5.4/{which}") == max(amounts)
        assert money(found, f"6.5.5/{which}") == -(-sum(amounts) // len(amounts))


def test_the_back_test_is_that_of_the_report_on_it(world: World, found: Items) -> None:
    pooled = rows("backtest", reading(world, None), "pooled")
    for which in ("requirement", "maintenance"):
        one = pooled[f"all:{which}"]
        assert found["6.5.2"]["value"] == one["windows"]
        assert found[f"6.5.1.1/{which}"]["value"] == one["exceptions"] != "0"
        assert found[f"6.5.3/{which}"]["value"] == one["coverage"]
        assert found[f"6.5.4/{which}"]["value"] == one["largest_shortfall"]


def test_a_day_without_an_end_breaks_the_back_test_off(world: World, found: Items) -> None:
    """From 14 to 28 March, and from there to 31 March, nobody knows what a day was like."""
    assert found["5.3.3"]["value"] == "3"
    assert len(ends(world)) == 7


# what was paid ----------------------------------------------------------------------------------------


def paid_by_day(world: World) -> dict[str, dict[str, int]]:
    """What each account paid as variation margin on each day, from the legs."""
    paid: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in world.entries:
        if entry.kind in (Kind.VARIATION_MARGIN, Kind.FUTURE_SETTLED):
            for leg in entry.legs:
                if leg.account.path.endswith("/cash"):
                    paid[day_of(entry.effective_ms)][leg.account.path] += leg.amount
    return paid


@pytest.mark.parametrize(
    ("before", "first", "days"),
    [("2020-03-14", "2020-01-01", 2), ("2020-04-01", "2020-01-01", 20), ("2020-04-03", "2020-04-01", 2)],
)
def test_variation_margin_is_what_accounts_paid_on_balance_in_a_day(
    world: World, before: str, first: str, days: int
) -> None:
    as_of = sum(day_of(one.effective_ms) < before for one in world.entries)
    found = items(world, as_of)
    sums = {
        day: sum(amount for amount in paid.values() if amount > 0)
        for day, paid in paid_by_day(World(entries=world.entries[:as_of])).items()
        if day >= first
    }
    assert money(found, "6.7.1") == max(sums.values()) > 0
    assert money(found, "6.6.1") == -(-sum(sums.values()) // days)


def test_a_mean_is_rounded_up() -> None:
    world = two_traders()
    assert world.trade(AccountKey("dex/alice"), AccountKey("dex/bob"), 1, 80_000).accepted
    until(world, "2020-03-14")
    world.prices(BTC=80_001, ETH=2_000)
    assert money(items(world), "6.6.1") == 34  # bob paid 100 on one day of three


def test_the_largest_payment_is_of_a_member_with_its_affiliates() -> None:
    world = replace_entries(over_the_quarter())
    alone = largest_payment(world, {})
    assert money(items(world), "7.3.4/same-day") == alone
    for member in (ZEBRA, MemberId("desk")):
        world.ok(GroupMember(member=member, group="herd"))
    together = largest_payment(world, {ZEBRA: "herd", "desk": "herd"})
    assert money(items(world), "7.3.4/same-day") == together != alone


def replace_entries(world: World) -> World:
    """The same world, to go on from it."""
    return replace(world, entries=list(world.entries), asked=list(world.asked))


def largest_payment(world: World, groups: dict[str, str]) -> int:
    most = 0
    for paid in paid_by_day(world).values():
        sums: dict[str, int] = defaultdict(int)
        for path, amount in paid.items():
            member = path.split("/")[1]
            sums[groups.get(member, member)] += amount
        most = max(most, *sums.values())
    return most


def test_calls_count_when_they_are_made_and_by_how_much_they_rise() -> None:
    world = two_traders(2_000 * USD)
    assert world.trade(AccountKey("dex/alice"), AccountKey("dex/bob"), 1_000, 80_000).accepted
    amounts = []
    for ticks in (71_000, 70_500, 70_800):
        world.prices(BTC=ticks, ETH=2_000)
        calls = list(world.state.calls.values())
        amounts.append(sum(call.amount_minor for call in calls))
    assert 0 < amounts[0] < amounts[1] > amounts[2]
    assert money(items(world), "6.8.1") == amounts[1]


# defaults ---------------------------------------------------------------------------------------------


def test_a_default_tells_its_loss_and_margin_and_who_paid_without_names(world: World, found: Items) -> None:
    default = world.state.defaults[D1]
    assert default.draws
    loss = sum(part.amount_minor for part in default.losses)
    assert money(found, "13.1.1/d1/loss") == loss
    filled = [
        -leg.amount
        for entry in world.entries
        if entry.kind == Kind.WATERFALL
        for leg in entry.legs
        if leg.account.path.endswith("/loss")
    ]
    assert sum(filled) == loss
    filled_up = sum(
        -leg.amount
        for entry in world.entries
        if entry.kind == Kind.LOSS_FIXED
        for leg in entry.legs
        if leg.account == chart.cash(ZOE, USDC)
    )
    assert money(found, "13.1.1/d1/deficit") == filled_up > loss
    for tier in range(1, 9):
        drawn = sum(draw.amount_minor for draw in default.draws if draw.tier == tier)
        assert money(found, f"13.1.2/d1/tier-{tier}") == drawn
    assert money(found, "13.1.2/d1/all-tiers") + money(found, "13.1.2/d1/uncovered") == loss
    declared = next(n for n, one in enumerate(world.entries) if one.kind == Kind.DEFAULT_DECLARED)
    at_t0 = state_at(world, declared + 1)
    margin = sum(assess(at_t0, one.netting_set).requirement_minor for one in default.sets)
    assert money(found, "13.1.1/d1/initial-margin") == margin


def test_client_positions_of_a_member_in_default_are_closed_out_or_ported(world: World, found: Items) -> None:
    declared = next(n for n, one in enumerate(world.entries) if one.kind == Kind.DEFAULT_DECLARED)
    at_t0 = state_at(world, declared + 1)
    sizes = {key: notional_of(at_t0, key) for key in (ZOE, ZACK)}
    status = {key: world.state.accounts[key].status.value for key in sizes}
    assert status[ZOE] == "closed_out"
    for ref, ended in (("13.1.3.1", "closed_out"), ("13.1.3.2", "ported")):
        part = sum(size for key, size in sizes.items() if status[key] == ended)
        share = 1_000_000 * part // sum(sizes.values())
        assert found[f"{ref}/d1"]["value"] == decimal.render(share, 4)


def notional_of(house: House, key: AccountKey) -> int:
    sums = 0
    for instrument, lots in house.positions(key).items():
        row = house.instruments[instrument]
        sums += abs(lots) * house.prices[row.feed] * row.tick_value_minor
    return sums


def test_an_event_tells_how_far_it_has_come() -> None:
    world = short_side_wins(house_of_three({"x": 10}), "x")
    found = items(world)
    assert world.state.defaults[D1].stage is Stage.ANSWERING
    assert found["13.1.1/d1/loss"]["missing"] == "its loss has not been allocated yet"
    assert found["13.1.2/d1"]["missing"] == "its loss has not been allocated yet"
    assert found["13.1.3.1/d1"]["missing"] == "no member failed in it"
    assert money(found, "13.1.1/d1/deficit") == 16 * 300 - 2_000
    world.deposit(house_account(MemberId("x")), 5_000)
    found = items(world)
    assert found["13.1.1/d1/loss"]["missing"] == "those who answer for the loss paid it"
    assert money(found, "13.1.1/d1/deficit") == 16 * 300 - 2_000


def test_an_unpaid_assessment_is_an_event_without_a_set() -> None:
    found = items(the_end_of_a_house())
    assert found["13.1.1/d2/initial-margin"]["missing"] == "no netting set was declared in it"
    assert found["13.1.1/d2/deficit"]["missing"].startswith("no deficit")
    assert money(found, "13.1.1/d2/loss") == 200
    assert found["13.1.3.1/d2"]["missing"] == "there were no client positions"


def test_a_house_without_a_default_says_so() -> None:
    found = items(two_traders())
    for ref in ("13.1.1", "13.1.2", "13.1.3.1", "13.1.3.2"):
        assert found[ref]["missing"] == "there has been no default"


# members, clients, operations, the market -------------------------------------------------------------


def test_client_positions_stand_in_accounts_of_one_client_each(found: Items) -> None:
    assert [found[f"14.1.{n}"]["value"] for n in (1, 2, 3, 4)] == ["100.0000", *["0.0000"] * 3]


def test_cash_of_members_is_on_their_accounts_and_in_the_pool(world: World, found: Items) -> None:
    cash, pool = 0, 0
    for account, balance in world.state.book.debit_balances():
        if account.path.startswith("members/"):
            cash += max(0, -balance) if account.path.endswith("/cash") else 0
            pool += -balance if account.path.endswith("/pool") else 0
    assert money(found, "16.1.1") == cash
    assert money(found, "16.1.2") == pool


def test_failures_are_the_outages_in_the_journal(world: World, found: Items) -> None:
    began = [n for n, one in enumerate(world.entries) if one.kind == Kind.OUTAGE_BEGAN]
    ended = [n for n, one in enumerate(world.entries) if one.kind == Kind.OUTAGE_ENDED]
    assert len(began) == len(ended) > 3
    down_ms = 0
    for start, end in zip(began, ended, strict=True):
        fact = world.entries[start].fact
        assert isinstance(fact, list)
        down_ms += world.entries[end].effective_ms - int(fact[0][2]["began_ms"])  # type: ignore[index, call-overload, arg-type]
    assert found["17.3.1/number"]["value"] == str(len(began))
    seconds = -(-down_ms // 1_000)
    assert (
        found["17.3.1/duration"]["value"]
        == f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    )
    whole_ms = world.entries[-1].effective_ms - START_MS
    assert found["17.2.1"]["value"] == decimal.render(1_000_000 * (whole_ms - down_ms) // whole_ms, 4)


def test_an_outage_that_lasts_counts_until_the_last_entry() -> None:
    world = two_traders()
    world.wait(3 * HOUR_MS)
    assert world.state.outage is not None
    found = items(world)
    assert found["17.3.1/duration"]["value"] == "02:00:00"


def test_an_outage_counts_from_the_beginning_of_the_12_months() -> None:
    world = two_traders()
    world.wait(400 * DAY_MS)
    found, window = items(world), rows("disclosure", reading(world), "window")["12_months"]
    since, until = (datetime.fromisoformat(window[name]) for name in ("from", "until"))
    seconds = int((until - since).total_seconds())
    assert (
        found["17.3.1/duration"]["value"]
        == f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    )
    assert found["17.2.1"]["value"] == "0.0000"


def test_an_option_is_no_exposure_beyond_its_mark() -> None:
    """Its mark is rounded to a tick; what that leaves is nobody's loss."""
    world = opened()
    clients_trade(world)
    world.prices(**MARKS | {"BTC": 52_000})
    assert world.state.position(ALICE, CALL)
    house = list(ends(world).values())[-1]
    lacking = -assess(house, SetId(ALICE)).equity_minor
    assert money(items(world), "4.4.6/peak") == lacking > 0


def test_members_are_counted_by_whom_they_clear_for(world: World, found: Items) -> None:
    active = [member.id for member in world.state.members.values() if member.status.value == "active"]
    assert ZEBRA not in active
    with_clients = {
        account.member
        for account in world.state.accounts.values()
        if account.kind is AccountKind.CLIENT and account.member in active
    }
    assert found["18.1.1.1"]["value"] == found["19.1.2"]["value"] == str(len(with_clients))
    assert found["18.1.1.2"]["value"] == str(len(active) - len(with_clients))
    assert found["18.1.1.3"]["value"] == "0"
    clients = {
        row.participant
        for row in world.state.accounts.values()
        if row.member in with_clients and row.kind is AccountKind.CLIENT
    }
    assert found["19.1.1"]["value"] == str(len(clients))


def crowd(members: int) -> World:
    """So many members, each with a client long of another's client; the first trade most."""
    world = empty_house()
    for number in range(members):
        name = f"m{number:02}"
        world.ok(AdmitMember(member=MemberId(name), name=name))
        for side in ("long", "short"):
            world.deposit(world.account(name, side, f"{name}-{side}"), (10_000 + number) * USD)
    world.prices(BTC=80_000, ETH=2_000)
    contribute(world, **{f"m{number:02}": (members - number) * USD for number in range(members)})
    for number in range(members):
        key = f"m{number:02}"
        lots = 2 * (members - number)
        assert world.trade(AccountKey(f"{key}/long"), AccountKey(f"{key}/short"), lots, 80_000).accepted
    world.prices(BTC=80_000, ETH=2_000)
    world.wait(HOUR_MS * 20)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(AccountKey("m00/short"), AccountKey("m00/long"), 2, 80_000).accepted
    world.prices(BTC=80_000, ETH=2_000)
    return world


@pytest.mark.parametrize("members", [9, 10, 24, 25])
def test_shares_of_the_largest_are_told_of_ten_members_or_more(members: int) -> None:
    world = crowd(members)
    found = items(world)
    sizes = sorted((members - number for number in range(members)), reverse=True)
    told = {
        "18.2.1/peak": 5 if 10 <= members <= 24 else 0,
        "18.2.2/peak": 5 if members >= 25 else 0,
        "18.2.3/peak": 10 if members >= 25 else 0,
        "19.1.3.1": 5 if members >= 10 else 0,
        "18.4.1": 5 if 10 <= members <= 24 else 0,
        "18.4.2": 5 if members >= 25 else 0,
        "18.4.3": 10 if members >= 25 else 0,
    }
    for field, count in told.items():
        if not count:
            assert found[field]["value"] == ""
            assert "the house has" in found[field]["missing"]
        elif field == "19.1.3.1":
            assert found[field]["value"] == "100.0000"  # on the second day one member traded alone
        else:
            share = 1_000_000 * sum(sizes[:count]) // sum(sizes)
            assert found[field]["value"] == decimal.render(share, 4), field
    if members == 10:
        first, second = sum(sizes[:5]) / sum(sizes), (sum(sizes[:5]) - 1) / (sum(sizes) - 1)
        mean = (int(1_000_000 * first) + int(1_000_000 * second)) // 2
        assert found["18.2.1/mean"]["value"] == decimal.render(mean, 4)
        mean = (int(1_000_000 * first) + 1_000_000) // 2
        assert found["19.1.3.2"]["value"] == decimal.render(mean, 4)


def test_the_share_of_margin_is_of_what_accounts_hold() -> None:
    world = crowd(10)
    world.deposit(AccountKey("m03/long"), 9 * 10**18, ETH)
    world.prices(BTC=80_000, ETH=2_000)
    shares = []
    for house in ends(world).values():
        held = defaultdict[str, int](int)
        for key in house.accounts:
            ether = house.balance(chart.collateral(key, ETH))
            held[key.split("/")[0]] += max(0, house.cash(key)) + ether * 200 * USD * 4 // 5 // 10**18
        largest = sorted(held.values(), reverse=True)
        shares.append(1_000_000 * sum(largest[:5]) // sum(largest))
    assert len(set(shares)) == 2
    found = items(world)
    assert found["18.3.1/peak"]["value"] == decimal.render(max(shares), 4)
    assert found["18.3.1/mean"]["value"] == decimal.render(sum(shares) // 2, 4)


def test_volumes_are_means_over_the_days_of_the_quarter(world: World) -> None:
    lots, worth = defaultdict[str, int](int), defaultdict[str, int](int)
    as_of = first_of_april(world)
    for entry in world.entries[:as_of]:
        if entry.kind == Kind.TRADE_NOVATED:
            for change in decode_changes(entry.fact):
                row = getattr(change, "row", None)
                if isinstance(row, Trade):
                    lots[row.instrument] += row.lots
                    worth[row.instrument] += row.lots * row.price_ticks * 100
    assert lots.keys() == {BTC_PERP, BTC_MAR}
    found = items(world, as_of)
    days = 20  # 12 to 31 March
    for instrument in lots:
        assert found[f"23.1.1/{instrument}"]["value"] == decimal.render(-(-lots[instrument] // days), 3)
        assert money(found, f"23.1.2/{instrument}") == -(-worth[instrument] // days)
    assert f"23.1.1/{ETH_PERP}" not in found


def test_a_trade_between_two_members_counts_once() -> None:
    found = items(a_long_life())
    assert found["23.1.1/ETH-PERP"]["value"] == decimal.render(-(-100 // 7), 2)


def test_the_notional_outstanding_is_of_the_long_side(world: World, found: Items) -> None:
    house = world.state
    for instrument in (BTC_PERP, ETH_PERP):
        row = house.instruments[instrument]
        long = sum(max(0, house.position(key, instrument)) for key in house.accounts)
        assert (
            money(found, f"23.2.1/{instrument}") == long * house.prices[row.feed] * row.tick_value_minor > 0
        )


# a young house ----------------------------------------------------------------------------------------


def test_a_house_without_a_cycle_says_why_it_has_no_figures() -> None:
    found = items(empty_house())
    for ref in ("6.1.1", "6.2.15", "6.3.1", "6.6.1", "6.7.1", "6.8.1", "7.3.4/same-day", "17.2.1", "17.3.1"):
        assert found[ref]["missing"] == "there has been no price snapshot", ref
    assert found["4.4.3/peak"]["missing"] == "no attestation was signed in the window"
    assert found["4.4.6/peak"]["missing"] == "no clearing cycle has been closed in the window"
    assert found["6.5.2"]["missing"].startswith("no position was held")
    assert found["23.2.1"]["missing"] == "no position is open"
    assert found["23.1.1"]["missing"] == "nothing was traded in the quarter"
    assert found["14.1.1"]["missing"] == "no client holds a position"
    assert money(found, "4.1.5") == 0


def test_before_a_house_is_founded_nothing_has_a_value() -> None:
    world = World()
    assert rows("disclosure", reading(world), "window") == {}
    assert {row["value"] for row in items(world).values()} == {""}


def test_an_attestation_that_nobody_can_read_is_none() -> None:
    found = items(a_long_life())
    assert found["4.4.3/peak"]["missing"] == "no attestation was signed in the window"


# what it must not say, and where it comes from --------------------------------------------------------


def test_nothing_is_said_of_one_member(world: World) -> None:
    names = {str(one) for one in (*world.state.members, "desk")}
    names |= {part for key in world.state.accounts for part in key.split("/")} - {"house", "provider"}
    names |= {str(account.participant) for account in world.state.accounts.values()} - {"provider"}
    names |= {member.name for member in world.state.members.values()}
    for table in ("window", "items", "coverage"):
        for row in rows("disclosure", reading(world), table).values():
            for text in row.values():
                words = set(re.split(r"[^\w-]+", text))
                assert not words & names, text


@pytest.mark.parametrize("make", [over_the_quarter, a_long_life, the_end_of_a_house])
def test_every_source_leads_to_entries_or_accounts(make: object) -> None:
    assert callable(make)
    world: World = make()
    read_from = reading(world)
    for field, row in items(world).items():
        for term in sources.parse(row["source"]):
            follow(read_from, term.origin, term.said, field)
        assert row["source"]


def follow(read_from: WorldReading, origin: Origin, said: str, field: str) -> None:
    if origin is Origin.ENTRIES:
        for run in sources.sequences(said):
            assert 0 <= run.start < run.stop <= read_from.as_of, field
    elif origin is Origin.KIND:
        sources.between(said)
    elif origin is Origin.ACCOUNT:
        path, _, unit = said.partition(" ")
        assert "zebra" not in path
        pattern = re.compile(re.escape(path).replace("\\*", "[^/]+"))
        known = [account for account, _ in read_from.house.book.debit_balances()]
        if field.startswith(("23.2.1/", "16.1.1")):
            assert any(pattern.fullmatch(one.path) and one.unit == unit for one in known), said
    else:
        assert origin is Origin.OUTSIDE, origin


def test_figures_come_out_of_their_sources_again(world: World, found: Items) -> None:
    """Followed by somebody who has the journal alone: the entries of the kinds, the balances of the accounts."""
    read_from = reading(world)
    for field in ("4.1.1", "4.1.3"):
        (term,) = sources.parse(found[field]["source"])
        path, _, unit = term.said.partition(" ")
        assert balance_of(world, path, unit) == money(found, field)
    kinds = {sources.between(term.said)[0] for term in sources.parse(found["6.7.1"]["source"])}
    first = min(sources.between(term.said)[1] for term in sources.parse(found["6.7.1"]["source"]))
    taken = [one.entry for one in read_from.entries(*kinds) if one.sequence >= first]
    most = max(sum(a for a in paid.values() if a > 0) for paid in paid_by_day(World(entries=taken)).values())
    assert money(found, "6.7.1") == most
    named = [
        run for term in sources.parse(found["4.4.3/peak"]["source"]) for run in sources.sequences(term.said)
    ]
    numbers = [number for run in named for number in run]
    assert {world.entries[number].kind for number in numbers} == {Kind.ATTESTED}
    covers = [int(predicate_of(world, number)["stress"]["cover1"]) for number in numbers]
    assert money(found, "4.4.3/peak") == max(covers)


def balance_of(world: World, path: str, unit: str) -> int:
    return -sum(
        leg.amount
        for entry in world.entries
        for leg in entry.legs
        if leg.account.path == path and leg.account.unit == unit
    )


@pytest.mark.parametrize("make", [over_the_quarter, a_long_life, the_end_of_a_house])
def test_the_kinds_that_change_positions_are_all_named(make: object) -> None:
    assert callable(make)
    world: World = make()
    moving = {
        Kind(entry.kind)
        for entry in world.entries
        if any(leg.account.path.endswith("/position") for leg in entry.legs)
    }
    assert moving <= set(POSITION_KINDS)


def test_parameters_of_a_default_house_have_names() -> None:
    assert Parameters().margin_model in MODEL_TYPES
    assert DefaultId("d1") == D1
