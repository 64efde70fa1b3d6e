"""The stress report and its messages: figures by hand, sums that tie, and the attestation's figures."""

import hashlib
from collections.abc import Callable
from decimal import Decimal

import pytest

from clearing import chart
from clearing.attest.figures import compute, statement_of
from clearing.attest.statement import Journal
from clearing.default.scenarios import SCENARIOS, Move, Scenario, origin_of, scenarios_of
from clearing.default.sizing import coverage, exposures
from clearing.default.stress import left_to, stress_array, stress_of
from clearing.margin.assess import assess
from clearing.model.codec import to_text
from clearing.model.commands import GroupMember
from clearing.model.ids import FeedId, InstrumentId, MemberId, SetId
from clearing.model.kinds import Kind
from clearing.reports import sources
from clearing.reports.sources import Origin
from clearing.reports.stress import largest_first
from ledger.account import account_id
from tests.builders import ALICE, BOB, USD, World, contribute, empty_house, fund, link, size_pool
from tests.readings import built, reading, rows
from tests.stories import a_long_life, opened
from tests.unit.test_defaults import house_of_three, short_side_wins
from tests.unit.test_stress import X, Y, house_with_a_token, trading

pytestmark = pytest.mark.slow

PORTFOLIOS = "scnrostrsststrslt_prtflstrsststrslt"


def minor(text: str) -> int:
    return int(Decimal(text) * USD)


def three_lose() -> World:
    """Members x, y and z stand to lose; x and y are affiliates; money in every tier."""
    world = trading("x", "y", "z")
    for member in (X, Y):
        world.ok(GroupMember(member=member, group="twins"))
    fund(world, skin_in_the_game=1_000, insurance_fund=31, second_tranche=200)
    size_pool(world)
    contribute(world, x=700, z=900)
    return world


def in_default() -> World:
    """A loss is fixed and not paid yet."""
    world = house_of_three()
    short_side_wins(world, "x")
    return world


def with_a_token() -> World:
    """Alice holds and is long the token of another member; eve is linked over two members and long bitcoin."""
    world = house_with_a_token()
    assert world.trade(ALICE, BOB, 1_000, 2_000, InstrumentId("ZTK-PERP")).accepted
    here, there = world.account("dex", "eve"), world.account("other", "eve")
    carl = world.account("other", "carl")
    for key in (here, there, carl):
        world.deposit(key, 1_000 * USD)
    link(world, "eve", here, there)
    assert world.trade(here, BOB, 100, 80_000).accepted
    assert world.trade(there, carl, 500, 80_000).accepted
    return world


WORLDS = (three_lose, in_default, with_a_token, a_long_life, opened)


@pytest.mark.parametrize("make", WORLDS)
def test_the_figures_are_those_of_an_attestation_of_the_same_state(make: Callable[[], World]) -> None:
    world = make()
    journal = Journal(
        origin="test/log",
        tree_size=world.state.size,
        root_hash=bytes(32),
        previous_tree_size=0,
        consistency=(),
    )
    stated = statement_of(world.state, "test", journal, compute(world.state, journal, bytes(32))).stress
    found = rows("stress", reading(world), "figures")
    assert minor(found["cover_1"]["amount"]) == stated.cover1_minor
    assert minor(found["cover_2"]["amount"]) == stated.cover2_minor
    assert minor(found["prefunded"]["amount"]) == stated.prefunded_minor
    assert found["worst_scenario"]["text"] == stated.worst_scenario
    assert found["scenario_set_digest"]["text"] == stated.scenario_set_digest.hex()


def test_a_loss_is_what_a_fall_takes_beyond_what_is_there() -> None:
    found = rows("stress", reading(trading("x")), "losses")
    assert minor(found["march-2020 fall:x"]["loss"]) == 16 * 900 - 2_000
    assert minor(found["june-2022 fall:x"]["loss"]) == 16 * 338 - 2_000


@pytest.mark.parametrize("make", WORLDS)
def test_scenarios_groups_and_members_sum_up(make: Callable[[], World]) -> None:
    world = make()
    found = {
        name: rows("stress", reading(world), name) for name in ("figures", "scenarios", "groups", "losses")
    }
    prefunded = minor(found["figures"]["prefunded"]["amount"])
    for name, one in found["scenarios"].items():
        losses = {
            who["who"]: minor(who["loss"]) for who in found["losses"].values() if who["scenario"] == name
        }
        groups = [minor(who["loss"]) for who in found["groups"].values() if who["scenario"] == name]
        by_group: dict[str, int] = {}
        for member, loss in losses.items():
            group = world.state.members[MemberId(member)].group or f"alone {member}"
            by_group[group] = by_group.get(group, 0) + loss
        assert groups == sorted(by_group.values(), reverse=True)
        assert (int(one["members"]), int(one["groups"])) == (len(losses), len(groups))
        assert minor(one["loss"]) == sum(losses.values())
        assert (minor(one["cover_1"]), minor(one["cover_2"])) == (sum(groups[:1]), sum(groups[:2]))
        assert minor(one["shortfall"]) == max(0, sum(groups[:2]) - prefunded)
        share = prefunded * 1_000_000 // sum(groups[:2]) if groups else None
        assert one["coverage"] == ("" if share is None else f"{Decimal(share) / 10_000:.4f}")
        assert ("coverage=outside" in one["source"]) == (share is None)
    for cover in ("cover_1", "cover_2"):
        most = max(minor(one[cover]) for one in found["scenarios"].values())
        assert minor(found["figures"][cover]["amount"]) == most
    needed = rows("stress", reading(world), "members")
    assert needed["*"]["needed"] == found["figures"]["needed"]["amount"]


def test_affiliates_are_one_group() -> None:
    found = rows("stress", reading(three_lose()), "groups")
    names = [one["who"] for one in found.values() if one["scenario"] == "march-2020 fall"]
    assert names == ["group twins", "member z"]
    source = found["march-2020 fall:group twins"]["source"]
    assert "figure losses march-2020 fall:x" in source
    assert "figure losses march-2020 fall:y" in source
    assert "fall:z" not in source


def test_groups_that_lose_as_much_stand_in_the_order_of_their_names() -> None:
    (lost,) = [
        one for one in stress_of(trading("x", "y").state).scenarios if one.scenario == "march-2020 fall"
    ]
    assert [name for name, _, _ in largest_first(trading("x", "y").state, lost)] == ["member x", "member y"]


def balance(world: World, term: str) -> int:
    """What the entries moved on the account of a term, on its normal side."""
    path, unit = term.split(" ")
    account = world.state.book.find(account_id(path, unit))
    legs = [leg for entry in world.entries for leg in entry.legs]
    moved = sum(leg.amount for leg in legs if (leg.account.path, leg.account.unit) == (path, unit))
    return moved if account is None else account.on_normal_side(moved)


@pytest.mark.parametrize("make", WORLDS)
def test_resources_are_the_balances_of_the_accounts_that_their_sources_name(
    make: Callable[[], World],
) -> None:
    world = make()
    found = rows("stress", reading(world), "resources")
    for field in ("pool", "skin_in_the_game", "second_tranche", "insurance_fund"):
        terms = sources.parse(found[field]["source"])
        held = sum(balance(world, one.said) for one in terms if one.origin is Origin.ACCOUNT)
        if field == "insurance_fund":
            held = held * world.state.parameters.fund_event_cap_bp // 10_000
        assert minor(found[field]["amount"]) == held
    parts = [minor(one["amount"]) for field, one in found.items() if field != "prefunded"]
    assert minor(found["prefunded"]["amount"]) == sum(parts) == stress_of(world.state).prefunded_minor


@pytest.mark.parametrize("make", WORLDS)
def test_the_pool_by_member_is_that_of_the_sizing_and_its_sources_say_why(make: Callable[[], World]) -> None:
    world = make()
    found = rows("stress", reading(world), "members")
    exposed = exposures(world.state)
    members = {one.member: one for one in coverage(world.state).members}
    assert list(found) == [*members, "*"]
    for member, one in members.items():
        row = found[member]
        assert minor(row["exposure"]) == exposed[member]
        assert minor(row["needed"]) == one.needed_minor
        assert minor(row["required"]) == one.required_minor
        assert minor(row["held"]) == balance(world, f"members/{member}/pool {world.state.settlement}")
        assert minor(row["short"]) == max(0, one.required_minor - one.held_minor)
        (sized,) = [term for term in sources.parse(row["source"]) if term.column == "required"]
        entry = world.entries[int(sized.said)]
        assert entry.kind in (Kind.POOL_SIZED, Kind.MEMBER_ADMITTED)
        later = [e for e in world.entries[int(sized.said) + 1 :] if e.kind == Kind.POOL_SIZED]
        assert all(f'"{member}"' not in str(e.fact).replace("'", '"') for e in later)
    whole = sum(exposed.values())
    weights = [Decimal(found[member]["weight"]) for member in members if whole]
    assert (
        not whole
        or Decimal(100) - sum(weights) < Decimal("0.001") * len(weights)
        or len(members) < len(exposed)
    )
    for column in ("exposure", "required", "held", "short", "needed"):
        assert minor(found["*"][column]) == sum(minor(found[member][column]) for member in members)


def test_the_moves_of_the_report_are_the_scenarios_of_the_digest() -> None:
    for world in (three_lose(), with_a_token()):
        read = reading(world)
        scenarios: dict[str, list[Move]] = {}
        for one in rows("stress", read, "moves").values():
            price, volatility = (int(Decimal(one[name]) * 100) for name in ("price", "volatility"))
            move = Move(underlying=FeedId(one["underlying"]), price_bp=price, volatility_bp=volatility)
            scenarios.setdefault(one["scenario"], []).append(move)
        library = tuple(Scenario(name=name, moves=tuple(moves)) for name, moves in scenarios.items())
        digest = hashlib.sha256(to_text(library).encode("ascii")).hexdigest()
        assert digest == rows("stress", read, "figures")["scenario_set_digest"]["text"]


def test_every_scenario_of_the_library_says_from_which_data_it_comes() -> None:
    historical = {one.name for one in SCENARIOS if origin_of(one).is_historical}
    assert historical == {one.name for one in SCENARIOS if "-20" in one.name}
    assert len({origin_of(one).data for one in SCENARIOS}) >= len(SCENARIOS) - 2, (
        "twice two mirror each other"
    )
    assert not any("exploited" in origin_of(one).data for one in SCENARIOS)


def test_before_the_first_cycle_nothing_would_be_lost() -> None:
    read = reading(empty_house())
    assert rows("stress", read, "losses") == {}
    assert rows("stress", read, "figures")["worst_scenario"]["text"] == "none"
    assert list(rows("stress", read, "members")) == ["*"]
    assert rows("stress-result", read, PORTFOLIOS) == {}
    assert len(rows("stress-definition", read, "scnrodef")) == len(SCENARIOS)


@pytest.mark.parametrize("report", ["stress", "stress-result", "stress-definition"])
def test_an_earlier_report_is_that_of_the_shorter_journal(report: str) -> None:
    world, early = three_lose(), empty_house()
    for as_of in (1, 20, len(world.entries) - 3):
        early.entries = world.entries[:as_of]
        assert built(report, reading(world, as_of)) == built(report, reading(early))


# the messages -------------------------------------------------------------------------------------


def test_the_definition_has_a_code_for_each_scenario_and_one_or_two_factors() -> None:
    world = with_a_token()
    found = rows("stress-definition", reading(world), "scnrodef")
    items = list(rows("stress-definition", reading(world), "scnrodef_strssitm").values())
    assert list(found) == [one.name for one in scenarios_of(world.state)]
    assert found["march-2020 fall"]["scnrotp"] == "HIST"
    assert found["largest fall"]["scnrotp"] == "HYPT"
    kinds = {name: one["strtgystrsstp"] for name, one in found.items()}
    assert {name for name, kind in kinds.items() if kind == "SPRD"} == {
        "BTC falls, ETH rises",
        "BTC rises, ETH falls",
        "thin tokens collapse",
        "thin tokens squeezed",
        *(name for name in kinds if name.startswith("exploit of ")),
    }
    factor, size = "strsspdct_rskfctr_id", "strsspdct_rskfctr_strsssz_rltv"
    for name in found:
        own = [(one[factor], one[size]) for one in items if one["id_id"] == name]
        assert 1 <= len(own) <= 2
        if name == "march-2020 fall":
            assert own == [("BTC", "-0.4818"), ("ETH", "-0.4886")]
        if name == "thin tokens collapse":
            assert own == [("*", "-0.8991")]


@pytest.mark.parametrize("make", WORLDS)
def test_the_result_has_what_each_scenario_leaves_each_set(make: Callable[[], World]) -> None:
    world = make()
    found = rows("stress-result", reading(world), PORTFOLIOS)
    array, sets = stress_array(world.state), sorted(world.state.netting_sets)
    left = left_to(world.state, sets, array)
    assert len(found) == len(array.scenarios) * len(sets)
    for number, scenario in enumerate(array.scenarios):
        for place, set_id in enumerate(sets):
            one = found[f"{scenario.name}:{set_id}"]
            over = -int(left[number][place])
            assert minor(one["strssloss_amt"]) == abs(over)
            assert one["strssloss_sgn"] == ("true" if over > 0 else "false")


def test_a_raw_loss_is_without_margin_and_a_loss_over_margin_beyond_all_that_is_held() -> None:
    world = trading("x")
    found = rows("stress-result", reading(world), PORTFOLIOS)
    long, short = (found[f"march-2020 fall:x/{side}"] for side in ("long", "short"))
    assert (minor(long["rawstrssloss_amt"]), long["rawstrssloss_sgn"]) == (16 * 900, "true")
    assert (minor(long["strssloss_amt"]), long["strssloss_sgn"]) == (16 * 900 - 2_000, "true")
    assert (minor(short["rawstrssloss_amt"]), short["rawstrssloss_sgn"]) == (16 * 900, "false")
    assert (minor(short["strssloss_amt"]), short["strssloss_sgn"]) == (16 * 900 + 2_000, "false")
    assert assess(world.state, SetId("x/long")).equity_minor == 2_000


def test_the_flags_name_the_groups_of_cover_one_and_two() -> None:
    found = rows("stress-result", reading(three_lose()), PORTFOLIOS)
    flags = {
        name: (
            found[f"march-2020 fall:{name}/long"]["cover1flg"],
            found[f"march-2020 fall:{name}/long"]["cover2flg"],
        )
        for name in "xyz"
    }
    assert flags == {"x": ("true", "false"), "y": ("true", "false"), "z": ("false", "true")}
    nobody = rows("stress-result", reading(house_of_three()), PORTFOLIOS)
    assert {(one["cover1flg"], one["cover2flg"]) for one in nobody.values()} == {("false", "false")}


@pytest.mark.parametrize("make", WORLDS)
def test_the_inputs_name_every_account_from_which_losses_follow(make: Callable[[], World]) -> None:
    world = make()
    found = rows("stress", reading(world), "inputs")
    named = {
        tuple(one.said.split(" "))
        for row in found.values()
        for one in sources.parse(row["source"])
        if one.origin is Origin.ACCOUNT
    }
    for account, amount in world.state.book.debit_balances():
        held = chart.holder(account.path)
        if amount and held is not None and held[1] in ("cash", "collateral", "position"):
            assert (f"members/*/accounts/*/{held[1]}", account.unit) in named
    (marks,) = sources.parse(found["marks"]["source"])
    assert world.entries[int(marks.said)].kind in (Kind.CYCLE_CLOSED, Kind.SNAPSHOT_ACCEPTED)


# sources ------------------------------------------------------------------------------------------

REPORTS_OF_RISK = (
    "backtest",
    "backtest-definition",
    "backtest-result",
    "stress",
    "stress-definition",
    "stress-result",
)


@pytest.mark.parametrize("report", REPORTS_OF_RISK)
@pytest.mark.parametrize("make", WORLDS)
def test_every_source_names_what_there_is(report: str, make: Callable[[], World]) -> None:
    world = make()
    tables = {table.id: table for table in built(report, reading(world))}
    fields = {name: {row.field for row in table.rows} for name, table in tables.items()}
    for name, table in tables.items():
        columns = {column.id for column in table.columns}
        for row in table.rows:
            terms = sources.parse(row.source)
            assert terms, f"{name} {row.field} has no source"
            for term in terms:
                assert not term.column or term.column in columns
                if term.origin is Origin.FIGURE:
                    there, _, field = term.said.partition(" ")
                    assert field in fields[there] if field else there in fields
                elif term.origin is Origin.ENTRIES:
                    assert all(run.stop <= len(world.entries) for run in sources.sequences(term.said))
                elif term.origin is Origin.KIND:
                    sources.between(term.said)
