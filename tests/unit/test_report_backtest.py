"""The back-test report: every window from the entries and accounts that its source names, sums, tests and cuts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest

from clearing import chart
from clearing.margin.assess import measured_sets
from clearing.margin.backtest import exact, statistics
from clearing.margin.snapshot import array_of
from clearing.margin.table import MODELS
from clearing.model.commands import AdmitMember, ListInstrument
from clearing.model.house import House, Put, decode_changes, fold
from clearing.model.ids import InstrumentId, MemberId, SetId
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS, HOUR_MS, AttestationRecord, Cycle, Instrument, Liquidity, Right
from clearing.reports import backtest, inputs, sources
from clearing.reports.backtest import Tally
from clearing.reports.backtest_definition import CODES
from clearing.reports.sources import Origin
from clearing.reports.windows import MARGINS, _attestation, days
from ledger.require import InvariantViolated
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    BTC_MAR,
    ETH_PERP,
    PARAMETERS,
    START_MS,
    USD,
    World,
    empty_house,
    link,
    two_traders,
)
from tests.readings import built, reading, rows
from tests.stories import a_long_life
from tests.unit.test_options import CALL, EXPIRES_MS, OPTION_PARAMETERS, option

pytestmark = pytest.mark.slow

Rows = dict[str, dict[str, str]]
FALL = 68_000


def until(world: World, at_ms: int, **prices: int) -> None:
    """A clearing cycle at a time."""
    world.wait(at_ms - world.now_ms - 1_000)
    world.prices(**prices)


def day_of(world: World, number: int, *prices: int) -> None:
    """Cycles on the day ``number`` after the first, from ten o'clock on an hour apart, at these prices of BTC."""
    midnight = START_MS // DAY_MS * DAY_MS + number * DAY_MS
    for hour, price in enumerate(prices, start=10):
        until(world, midnight + hour * HOUR_MS, BTC=price, ETH=2_000)


def a_fall(cash_minor: int = 20_000 * USD) -> World:
    """Alice holds bitcoin of bob over five days; on the third they fall by 15 %, and she has sold half before."""
    world = two_traders(cash_minor)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    day_of(world, 0, 80_000)
    day_of(world, 1, 79_000, 81_000)
    assert world.trade(ALICE, BOB, 300, 80_500, BTC_MAR).accepted
    day_of(world, 2, 81_500, FALL)
    assert world.trade(BOB, ALICE, 500, FALL).accepted
    day_of(world, 3, 69_000)
    day_of(world, 4, 70_000)
    return world


def state(world: World, sequence: int) -> House:
    house = House()
    for entry in world.entries[: sequence + 1]:
        house = fold(house, entry)
    return house


def minor(text: str) -> int:
    return int(Decimal(text) * USD)


# every window, from its source alone --------------------------------------------------------------


def result_of(world: World, source: str) -> int:
    """What the positions won by the entries and accounts of a window's source, and what instruments are by listing."""
    terms = sources.parse(source)
    (runs,) = [one.said for one in terms if one.origin is Origin.ENTRIES]
    start, end = [number for run in sources.sequences(runs) for number in run]
    before, after = prices_in(world, start), prices_in(world, end)
    final = final_prices(world, end)
    won = 0
    for term in terms:
        if term.origin is Origin.ACCOUNT:
            path, unit = term.said.split(" ")
            lots = -sum(
                leg.amount
                for entry in world.entries[: start + 1]
                for leg in entry.legs
                if (leg.account.path, leg.account.unit) == (path, unit)
            )
            name = InstrumentId(unit)
            feed = world.state.instruments[name].feed
            mark = after.get(name, after.get(feed, 0)) if name not in final else final[name]
            won += (
                lots
                * (mark - before.get(name, before.get(feed, 0)))
                * world.state.instruments[name].tick_value_minor
            )
    return won


def prices_in(world: World, sequence: int) -> dict[str, int]:
    """The marks that an entry has, by feed and by option."""
    (cycle,) = [
        change.row
        for change in decode_changes(world.entries[sequence].fact)
        if isinstance(change, Put) and isinstance(change.row, Cycle)
    ]
    linear = {str(mark.feed): mark.price_ticks for mark in cycle.marks}
    return linear | {str(mark.instrument): mark.price_ticks for mark in cycle.option_marks}


def final_prices(world: World, sequence: int) -> dict[InstrumentId, int]:
    kinds = sources.parse(rows("backtest", reading(world), "inputs")["instruments"]["source"])
    named = {Kind[one.said] for one in kinds}
    return {
        change.row.id: change.row.final_ticks
        for entry in world.entries[: sequence + 1]
        if entry.kind in named
        for change in decode_changes(entry.fact)
        if isinstance(change, Put)
        and isinstance(change.row, Instrument)
        and change.row.final_ticks is not None
    }


def assert_windows_follow(world: World) -> Rows:
    """Results follow from the sources; requirements are those of the house at the cutoff."""
    found = rows("backtest", reading(world), "windows")
    for one in found.values():
        assert minor(one["result"]) == result_of(world, one["source"]), one
        start = int(one["source"].split(" ")[1].split(",")[0].split("-")[0])
        house = state(world, start)
        measured = {m.netting_set: m for m in measured_sets(house)}[SetId(one["netting_set"])]
        assert minor(one["requirement"]) == measured.requirement_minor
        assert minor(one["maintenance"]) == measured.maintenance_minor
        lots: dict[InstrumentId, int] = {}
        for key in house.netting_sets[SetId(one["netting_set"])].accounts:
            for instrument, quantity in house.positions(key).items():
                lots[instrument] = lots.get(instrument, 0) + quantity
        model = MODELS[house.parameters.margin_model].margin(lots, array_of(house), house.parameters)
        assert minor(one["model"]) == model.amount_minor
        exceeded = [margin for margin in MARGINS if -minor(one["result"]) > minor(one[margin])]
        assert one["exceptions"].split() == exceeded
    return found


def test_a_window_is_what_the_positions_of_the_cutoff_lost_until_the_cutoff_of_the_next_day() -> None:
    world = a_fall()
    found = assert_windows_follow(world)
    assert list(found) == [f"2020-03-{day}:dex/{name}" for day in (12, 13, 14) for name in ("alice", "bob")]
    assert found["2020-03-12:dex/alice"]["result"] == "100.000000", (
        "80,000 to 81,000 ticks, whatever was between"
    )
    assert found["2020-03-13:dex/bob"]["result"] == "1300.000000", "1,000 lots by 13,000 ticks"
    assert found["2020-03-14:dex/alice"]["result"] == "130.000000", (
        "what she sold after the cutoff counts in full"
    )


def test_without_trades_a_result_is_the_variation_margin_that_was_paid() -> None:
    world = a_fall()
    found = rows("backtest", reading(world), "windows")
    for one in found.values():
        start, end = [
            number for run in sources.sequences(one["source"].split(" ")[1].rstrip(";")) for number in run
        ]
        between = world.entries[start + 1 : end + 1]
        if any(entry.kind == Kind.TRADE_NOVATED for entry in between):
            continue
        path = f"members/dex/accounts/{one['netting_set'].split('/')[1]}/cash"
        paid = -sum(
            leg.amount
            for entry in between
            if entry.kind == Kind.VARIATION_MARGIN
            for leg in entry.legs
            if leg.account.path == path
        )
        assert minor(one["result"]) == paid


def test_later_trades_are_no_part_of_a_result() -> None:
    world = a_fall()
    before = rows("backtest", reading(world), "windows")["2020-03-13:dex/alice"]["result"]
    other = two_traders(20_000 * USD)
    assert other.trade(ALICE, BOB, 1_000, 80_000).accepted
    day_of(other, 0, 80_000)
    day_of(other, 1, 79_000, 81_000)
    assert other.trade(ALICE, BOB, 300, 80_500, BTC_MAR).accepted
    day_of(other, 2, 81_500)
    assert other.trade(BOB, ALICE, 1_000, 81_500).accepted
    until(other, other.now_ms + HOUR_MS, BTC=FALL, ETH=2_000)
    day_of(other, 3, 69_000)
    day_of(other, 4, 69_000)
    found = assert_windows_follow(other)
    assert found["2020-03-12:dex/alice"]["result"] == "100.000000"
    assert found["2020-03-13:dex/alice"]["result"] == "-1300.000000"
    assert before == "-1300.000000"


def with_a_call() -> World:
    """Alice is long a call and a future; both expire while she holds them."""
    world = empty_house(OPTION_PARAMETERS)
    world.ok(ListInstrument(instrument=option(CALL, Right.CALL)))
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 200_000 * USD)
    world.prices(BTC=80_000, ETH=2_000, BTCVOL=6_000)
    assert world.trade(ALICE, BOB, 100, 5_000, CALL).accepted
    assert world.trade(BOB, ALICE, 50, 80_000, BTC_MAR).accepted
    return world


def test_options_count_by_their_value_and_what_ended_by_its_last_price() -> None:
    world = with_a_call()
    expiries = (world.state.instruments[BTC_MAR].expires_ms, EXPIRES_MS)
    for number, at_ms in enumerate(
        [expires + offset * DAY_MS for expires in expiries if expires is not None for offset in (-1, 0, 1, 2)]
    ):
        until(world, at_ms + HOUR_MS, BTC=80_000 + 500 * number, ETH=2_000, BTCVOL=6_000 + 100 * number)
    assert world.state.instruments[CALL].final_ticks is not None
    found = assert_windows_follow(world)
    ended = {instrument for instrument, row in world.state.instruments.items() if row.final_ticks is not None}
    assert ended == {CALL, BTC_MAR}
    assert any(minor(one["result"]) for one in found.values() if "APR" in one["source"])


def test_add_ons_are_between_the_model_and_the_maintenance() -> None:
    thin = replace(PARAMETERS, liquidity=(Liquidity(underlying=BTC, daily_volume_minor=10_000 * USD),))
    world = empty_house(thin)
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name in ("alice", "bob"):
        world.deposit(world.account("dex", name), 100_000 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    for number in range(3):
        day_of(world, number, 80_000 + number)
    for one in assert_windows_follow(world).values():
        assert minor(one["model"]) < minor(one["maintenance"]) < minor(one["requirement"])


# which days ---------------------------------------------------------------------------------------


def test_the_newest_day_is_no_cutoff_until_a_cycle_of_a_later_day_is_closed() -> None:
    world = a_fall()
    dates = [(day.start.date, day.end.date) for day in days(reading(world))]
    assert dates == [(f"2020-03-{day}", f"2020-03-{day + 1}") for day in (12, 13, 14)]
    day_of(world, 5, 70_000)
    assert [day.end.date for day in days(reading(world))][-1] == "2020-03-16"
    assert [day.start.date for day in days(reading(world))][:3] == [start for start, _ in dates]


def test_a_day_whose_next_one_has_no_cycle_has_no_window_and_says_why() -> None:
    world = two_traders(20_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    for number in (0, 2, 3, 4):
        day_of(world, number, 80_000)
    found = rows("backtest", reading(world), "days")
    assert {date: one["windows"] for date, one in found.items()} == {"2020-03-12": "0", "2020-03-14": "2"}
    lost = found["2020-03-12"]
    assert (lost["lost"], lost["model"], lost["model_coverage"]) == ("", "", "")
    assert f"lost=outside {backtest.NEXT_DAY}" in lost["source"]


def test_sets_without_positions_are_not_counted() -> None:
    world = two_traders(20_000 * USD)
    for number in range(4):
        day_of(world, number, 80_000)
    assert rows("backtest", reading(world), "windows") == {}
    days_found = rows("backtest", reading(world), "days")
    assert {(one["windows"], one["lost"]) for one in days_found.values()} == {("0", "0.000000")}


def test_before_the_first_cycle_there_are_tables_without_windows() -> None:
    for report in ("backtest", "backtest-result"):
        tables = {table.id: list(table.rows) for table in built(report, reading(empty_house()))}
        assert not tables.get("windows")
        assert not tables.get("mnthlyrslt")
    pooled = rows("backtest", reading(empty_house()), "pooled")
    assert len(pooled) == 9
    assert pooled["all:model"]["coverage"] == ""
    assert "coverage=outside" in pooled["all:model"]["source"]


def test_an_earlier_report_is_that_of_the_shorter_journal() -> None:
    world = a_fall()
    early = two_traders(20_000 * USD)
    for as_of in (1, 60, len(world.entries) - 5):
        early.entries = world.entries[:as_of]
        for report in ("backtest", "backtest-result"):
            assert built(report, reading(world, as_of)) == built(report, reading(early))


# sums and tests -----------------------------------------------------------------------------------


def assert_sums_tie(world: World) -> None:
    found = {name: rows("backtest", reading(world), name) for name in ("windows", "days", "pooled", "sets")}
    windows = list(found["windows"].values())
    for one in (*found["pooled"].values(), *found["sets"].values()):
        own = [window for window in windows if one["who"] in ("all", window["kind"], window["netting_set"])]
        short = {
            window["day"] + ":" + window["netting_set"]: -minor(window["result"])
            - minor(window[one["margin"]])
            for window in own
            if one["margin"] in window["exceptions"].split()
        }
        assert (int(one["windows"]), int(one["exceptions"])) == (len(own), len(short))
        assert minor(one["largest_shortfall"]) == max(short.values(), default=0)
        assert one["largest_in"] == (max(short, key=lambda name: short[name]) if short else "")
        average = -(-sum(short.values()) // len(short)) if short else 0
        assert minor(one["average_shortfall"]) == average
        if own:
            covered = (len(own) - len(short)) * 1_000_000 // len(own)
            assert Decimal(one["coverage"]) == Decimal(covered) / 10_000
    seen = 0
    for date, one in found["days"].items():
        own = [window for window in windows if window["day"] == date]
        seen += len(own)
        assert int(one["windows"]) == len(own)
        assert minor(one["lost"]) == sum(max(0, -minor(window["result"])) for window in own)
        for margin in MARGINS:
            assert minor(one[margin]) == sum(minor(window[margin]) for window in own)
            hits = [window for window in own if margin in window["exceptions"].split()]
            assert int(one[f"{margin}_exceptions"]) == len(hits)
    assert seen == len(windows)
    last = list(found["days"].values())[-1]
    assert all(
        last[f"{margin}_coverage"] == found["pooled"][f"all:{margin}"]["coverage"] for margin in MARGINS
    )


@pytest.mark.parametrize("make", [a_fall, with_a_call, a_long_life])
def test_days_pools_and_sets_say_what_the_windows_say(make: Callable[[], World]) -> None:
    world = make()
    if make is with_a_call:
        for number in range(1, 5):
            until(world, START_MS + number * DAY_MS, BTC=80_000 + 9_000 * number, ETH=2_000, BTCVOL=6_000)
    assert_sums_tie(world)


def test_a_loss_as_large_as_the_margin_is_no_exception_and_one_more_is() -> None:
    tally = Tally()
    assert not tally.add("a", 100, 100)
    assert tally.add("b", 100, 101)
    assert tally.add("c", 100, 104)
    assert tally.add("d", 100, 104)
    assert (tally.windows, tally.exceptions, tally.largest_minor, tally.largest_in) == (4, 3, 4, "c")
    assert tally.average_minor == 3, "9 of 3 exceptions"
    tally.add("e", 0, 1)
    assert tally.average_minor == 3, "10 of 4, rounded up"


def test_a_promise_is_tested_where_there_are_enough_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_fall()
    untested = rows("backtest", reading(world), "pooled")["all:model"]
    assert (untested["kupiec_p"], untested["basel_zone"], untested["power"]) == ("", "", "")
    assert {f"{one.column}" for one in sources.parse(untested["source"]) if one.origin is Origin.OUTSIDE} == {
        "kupiec_p",
        "basel_zone",
        "power",
        "independence_p",
    }
    windows = int(untested["windows"])
    monkeypatch.setattr(exact, "TESTED", windows + 1)
    assert rows("backtest", reading(world), "pooled")["all:model"]["kupiec_p"] == ""
    monkeypatch.setattr(exact, "TESTED", windows)
    found = rows("backtest", reading(world), "pooled")["all:model"]
    expected = statistics.more_than_promised(int(found["exceptions"]), windows, 0.01)
    assert int(found["exceptions"]) == 1
    assert float(found["kupiec_p"]) == pytest.approx(expected, abs=5e-5)
    assert found["basel_zone"] == statistics.basel_zone(1, windows, 0.01)


def test_whether_exceptions_follow_each_other_is_tested_by_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "TESTABLE", 1)
    world = a_fall()
    found = rows("backtest", reading(world), "sets")["dex/alice:model"]
    seen = exact.Transitions(calm_hit=1, hit_calm=1)
    assert found["independence_p"] == f"{exact.independence(seen)}"
    assert rows("backtest", reading(world), "sets")["dex/bob:model"]["independence_p"] == ""
    pooled = rows("backtest", reading(world), "pooled")["all:model"]
    assert pooled["independence_p"] == ""
    assert backtest.BY_SET in pooled["source"]


def test_tables_that_need_the_windows_are_not_read_before_them() -> None:
    tables = {table.id: table for table in backtest.build(reading(a_fall()))}
    for name in ("days", "pooled", "sets"):
        with pytest.raises(InvariantViolated):
            list(tables[name].rows)


# whose part ---------------------------------------------------------------------------------------


def two_members() -> World:
    """Eve has linked accounts at dex and other; alice is at dex, carl at other alone."""
    world = two_traders(50_000 * USD)
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    here, there = world.account("dex", "eve"), world.account("other", "eve")
    carl = world.account("other", "carl")
    for key in (here, there, carl):
        world.deposit(key, 50_000 * USD)
    link(world, "eve", here, there)
    assert world.trade(ALICE, BOB, 100, 80_000).accepted
    assert world.trade(here, ALICE, 50, 80_000).accepted
    assert world.trade(there, carl, 70, 80_000).accepted
    for number, price in enumerate((80_000, 81_000, 60_000, 60_500)):
        day_of(world, number, price)
    return world


def test_a_part_is_of_the_sets_in_which_the_members_have_an_account_and_says_nothing_of_others() -> None:
    world = two_members()
    other = frozenset({MemberId("other")})
    whole, part = (rows("backtest", reading(world, members=members), "windows") for members in (None, other))
    assert {one["netting_set"] for one in part.values()} == {"link/eve", "other/carl"}
    theirs = {field: one for field, one in whole.items() if one["netting_set"] in ("link/eve", "other/carl")}
    assert list(part) == list(theirs)
    for field, one in part.items():
        assert one | {"source": ""} == theirs[field] | {"source": ""}
    linked = next(one["source"] for one in part.values() if one["netting_set"] == "link/eve")
    assert "account members/other/accounts/eve/position BTC-PERP" in linked
    assert f"outside {backtest.OTHERS_HOLD}" in linked
    text = str([list(table.rows) for table in built("backtest", reading(world, members=other))])
    assert "alice" not in text
    assert "bob" not in text
    assert "dex" not in text
    nobody = rows("backtest", reading(world, members=frozenset()), "windows")
    assert nobody == {}
    pooled = rows("backtest", reading(world, members=other), "pooled")["all:model"]
    assert int(pooled["windows"]) == len(part)
    result = rows("backtest-result", reading(world, members=other), "mnthlyrslt")["2020-03"]
    assert int(result["nbofobsrvtns"]) == len(part)


def test_house_and_client_sets_are_told_apart() -> None:
    world = two_members()
    own = InstrumentId(ETH_PERP)
    house_key = next(key for key in world.state.accounts if key == "dex/house")
    world.deposit(house_key, 50_000 * USD)
    assert world.trade(house_key, BOB, 10, 2_000, own).accepted
    for number in (4, 5, 6):
        day_of(world, number, 60_500)
    kinds = {one["netting_set"]: one["kind"] for one in rows("backtest", reading(world), "windows").values()}
    assert {name for name, kind in kinds.items() if kind == "house"} == {"dex/house"}
    pooled = rows("backtest", reading(world), "pooled")
    assert int(pooled["house:model"]["windows"]) + int(pooled["client:model"]["windows"]) == int(
        pooled["all:model"]["windows"]
    )


# sources ------------------------------------------------------------------------------------------


def put_tables(world: World) -> Iterator[tuple[Kind, str]]:
    for entry in world.entries:
        for change in decode_changes(entry.fact):
            yield Kind(entry.kind), change.table


def test_the_inputs_name_every_kind_of_entry_that_changes_them() -> None:
    named = {name: set(kinds) for name, (_, kinds) in inputs.TERMS.items()}
    tables = {
        "parameters": "charter",
        "instruments": "instruments",
        "history": "daily_moves",
        "sets": "netting_sets",
        "assets": "assets",
    }
    for world in (a_long_life(), with_a_call()):
        changed = set(put_tables(world))
        for name, table in tables.items():
            assert {kind for kind, one in changed if one == table} <= named[name], name
        moving = {
            Kind(entry.kind)
            for entry in world.entries
            for leg in entry.legs
            if (held := chart.holder(leg.account.path)) is not None and held[1] == "position"
        }
        assert moving <= named["sizes"]


def test_an_attested_cutoff_names_its_attestation() -> None:
    world = two_traders()
    number = world.state.newest_cycle.number
    for cycle, expected in ((number, 7), (number - 1, None)):
        record = AttestationRecord(sequence=7, cycle=cycle, tree_size=1, payload_sha256="", envelope="")
        assert _attestation(world.state, replace(world.state, attestation=record)) == expected
    assert _attestation(world.state, world.state) is None


# the message --------------------------------------------------------------------------------------


def test_the_months_of_the_message_are_those_of_the_windows() -> None:
    world = two_traders(50_000 * USD)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    prices = (80_000, 81_000, 66_000, 66_500)
    for number, price in zip((17, 18, 19, 20, 21, 22), (*prices, 66_000, 66_000), strict=True):
        day_of(world, number, price)
    windows = list(rows("backtest", reading(world), "windows").values())
    found = rows("backtest-result", reading(world), "mnthlyrslt")
    assert sorted(found) == ["2020-03", "2020-04"]
    for month, one in found.items():
        own = [window for window in windows if window["day"].startswith(month)]
        short = [-minor(w["result"]) - minor(w["model"]) for w in own if "model" in w["exceptions"].split()]
        assert (int(one["nbofobsrvtns"]), int(one["nbofxcptns"])) == (len(own), len(short))
        assert minor(one["lrgstxcptn"]) == max(short, default=0)
        assert Decimal(one["cvrg"]) == Decimal((len(own) - len(short)) * 10**10 // len(own)) / 10**10
    hit = found["2020-03"]
    assert (hit["lrgstxcptnid_id"], hit["lrgstxcptnid_schmenm"]) == ("dex/alice", "MARG")
    assert found["2020-04"]["lrgstxcptnid_id"] == ""


def test_the_method_names_each_model_that_was_in_force_and_the_entry_that_put_it_there() -> None:
    found = rows("backtest-definition", reading(a_long_life()), "mthdlgy")
    assert found["scan"]["rskmdltp_cd"] == "SPAN"
    assert (found["scan"]["mdlcnfdnclvl"], found["scan"]["vartnmrgncleanind"]) == ("0.99", "true")
    assert found["scan"]["source"].startswith("entries 0")
    assert CODES.keys() == MODELS.keys()
