"""The operational report (rulebook §6, §7, §13, §14): what lasted how long, who was refused, who pulled what."""

from collections import Counter
from functools import cache

import pytest

from clearing.model.commands import (
    AdmitMember,
    ApproveProposal,
    PullReport,
    RecordAttestation,
    RecordReport,
    SetBreaker,
    SuspendMember,
)
from clearing.model.ids import MemberId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    BreakerState,
    Form,
    Given,
    ReportAsked,
    SignedReport,
)
from clearing.reports import sources
from clearing.reports.table import REPORTS, Audience
from tests.builders import (
    ALICE,
    ANNA,
    BERT,
    BOB,
    BTC,
    BTC_PERP,
    SOURCES,
    START_MS,
    World,
    copy_of,
    empty_house,
    publication,
    trade,
    two_traders,
)
from tests.readings import WorldReading, built, reading, rows
from tests.stories import a_long_life, the_end_of_a_house
from tests.tracing import assert_sources_hold, entries_of, facts

ASKED = ReportAsked(
    report="statement",
    as_of=5,
    form=Form.CSV,
    given=(Given(key="ledger_account", text="custody"), Given(key="unit", text="USDC")),
    members=(MemberId("dex"),),
)
"""A pull that a member made."""


def attest(world: World, number: int, cycle: int) -> None:
    world.ok(
        RecordAttestation(
            sequence=number, cycle=cycle, tree_size=world.state.size, payload_sha256="00" * 32, envelope="{}"
        )
    )


def busy() -> World:
    """Five cycles a second apart; the second and the fourth are attested, three seconds late and at once."""
    world = two_traders()
    world.prices(BTC=80_000, ETH=2_000)
    world.now_ms += 3_000
    attest(world, 1, 2)
    world.prices(BTC=80_100, ETH=2_000)
    world.prices(BTC=80_200, ETH=2_000)
    attest(world, 2, 4)
    world.prices(BTC=80_300, ETH=2_000)
    return world


@cache
def life() -> WorldReading:
    return reading(a_long_life())


def test_cycles_have_intervals_and_the_attestations_that_speak_of_them() -> None:
    found = rows("operational", reading(busy()), "cycles")
    assert {name: (row["interval"], row["attestation"], row["delay"]) for name, row in found.items()} == {
        "1": ("", "", ""),
        "2": ("1000", "1", "3000"),
        "3": ("4000", "", ""),
        "4": ("1000", "2", "0"),
        "5": ("1000", "", ""),
    }
    kinds = [entry.kind for entry in entries_of(reading(busy()), found["2"]["source"])]
    assert kinds == [Kind.SNAPSHOT_ACCEPTED, Kind.CYCLE_CLOSED, Kind.ATTESTED]
    told = rows("operational", reading(busy()), "summary")
    assert [
        told[name]["value"] for name in ("cycles", "cycles_longest", "unattested", "attestation_longest")
    ] == [
        "5",
        "4000",
        "3",
        "3000",
    ]


def test_each_cycle_of_a_long_life_is_there_once_with_the_number_that_the_journal_gave_it() -> None:
    world, found = life().world, rows("operational", life(), "cycles")
    numbers = [
        put["number"]
        for entry in world.entries
        if entry.kind == Kind.SNAPSHOT_ACCEPTED
        for table, _, put in facts(entry)
        if table == "cycle"
    ]
    assert list(found) == numbers


def test_outages_last_from_when_the_clocks_stopped_to_the_snapshot_that_ended_them() -> None:
    world = two_traders()
    accepted = world.now_ms
    world.wait(3 * HOUR_MS)
    (lasting,) = rows("operational", reading(world), "outages").values()
    assert (lasting["ended"], lasting["duration"], lasting["cause"]) == ("", "", "no quorum of fresh prices")
    world.prices(BTC=80_000, ETH=2_000)
    (over,) = rows("operational", reading(world), "outages").values()
    began = accepted + world.state.parameters.outage_after_ms
    assert over["duration"] == str(world.now_ms - began)
    assert over["began"] == lasting["began"] < over["noted"]
    assert rows("operational", reading(world), "summary")["outages_total"]["value"] == over["duration"]


def test_a_halt_is_an_outage_and_a_breaker_that_people_set() -> None:
    world = two_traders()
    world.ok(SetBreaker(scope="*", state=BreakerState.HALTED, reason="a fire"), ANNA)
    world.now_ms += 10 * MINUTE_MS
    for administrator in (ANNA, BERT):
        world.ok(SetBreaker(scope="*", state=BreakerState.OPEN, reason="it is out"), administrator)
    (halt,) = rows("operational", reading(world), "breakers").values()
    assert (halt["scope"], halt["state"], halt["duration"]) == ("*", "halted", str(10 * MINUTE_MS))
    assert (halt["trigger"], halt["by"], halt["reason"]) == ("administrators", ANNA, "a fire")
    (outage,) = rows("operational", reading(world), "outages").values()
    assert (outage["cause"], outage["began"]) == ("everything was halted", halt["from"])
    told = rows("operational", reading(world), "summary")
    assert (told["halts"]["value"], told["halts_total"]["value"]) == ("1", str(10 * MINUTE_MS))


def test_a_state_that_follows_another_is_a_spell_of_its_own_and_one_that_lasts_has_no_end() -> None:
    world = two_traders()
    for state in (BreakerState.REDUCE_ONLY, BreakerState.HALTED):
        world.ok(SetBreaker(scope=BTC_PERP, state=state, reason="a drill"), ANNA)
        world.now_ms += 5_000
    found = list(rows("operational", reading(world), "breakers").values())
    assert [(row["state"], row["duration"]) for row in found] == [("reduce_only", "5000"), ("halted", "")]


def test_defaults_that_were_let_close_in_an_outage_are_named_with_both_administrators() -> None:
    closings = [row["closings"] for row in rows("operational", life(), "outages").values()]
    assert [one for one in closings if one] == [f"d2 {ANNA} and {BERT}"]
    assert [row["duration"] for row in rows("operational", reading(the_end_of_a_house()), "outages").values()]


def refused() -> World:
    """Two trades without margin by one caller, one of them twice in a batch; a stranger who would admit a member."""
    world = two_traders()
    for number in range(2):
        assert not world.send(
            trade(ALICE, BOB, 10**6, 80_000, trade_id=f"big{number}"), "member/dex"
        ).accepted
    command = SuspendMember(member=MemberId("dex"), reason="a reason")
    assert not world.send(command, "member/dex").accepted
    key = "administrator/anna/0123456789abcdef"
    admitting = AdmitMember(member=MemberId("new"), name="New")
    for actor in (key, "administrator/anna/fedcba9876543210"):
        assert not world.send(admitting, actor).accepted
    world.prices(BTC=80_000, ETH=2_000)
    assert not world.send(ApproveProposal(proposal="none"), key).accepted
    return world


def test_refused_calls_are_counted_by_reason_and_by_caller_and_keys_of_administrators_do_not_count() -> None:
    world = refused()
    found = rows("operational", reading(world), "callers")
    told = {name: (row["calls"], row["times"]) for name, row in found.items()}
    assert told == {
        "administrator/anna:TWO_ADMINISTRATORS_NEEDED": ("2", "2"),
        "member/dex:MARGIN_INSUFFICIENT": ("2", "2"),
        "member/dex:NOT_AN_ADMINISTRATOR": ("1", "1"),
    }
    reasons = rows("operational", reading(world), "reasons")
    assert reasons["MARGIN_INSUFFICIENT"]["meaning"] == Reason.MARGIN_INSUFFICIENT.value
    assert sum(int(row["calls"]) for row in reasons.values()) == 5
    assert rows("operational", reading(world), "summary")["calls_refused"]["value"] == "5"


def test_what_was_refused_after_the_last_entry_is_not_told_yet() -> None:
    """The approval of nothing was refused when the journal was as long as the report: it may be followed by others."""
    world = refused()
    assert not any("PROPOSAL_UNKNOWN" in name for name in rows("operational", reading(world), "callers"))
    size = len(world.entries)
    world.prices(BTC=80_000, ETH=2_000)
    assert built("operational", reading(world, size)) == built("operational", reading(refused()))
    found = rows("operational", reading(world), "callers")["administrator/anna:PROPOSAL_UNKNOWN"]
    assert (found["first"], found["last"], found["source"]) == (
        str(size),
        str(size),
        f"answers from {size} to {size}",
    )


def test_absurd_prices_are_listed_with_what_they_said() -> None:
    world = two_traders()
    world.sequence += 1
    world.send(publication("testhouse", SOURCES[0], world.now_ms, world.sequence, {BTC: -(10**40)}))
    (row,) = rows("operational", reading(world), "data").values()
    assert (row["publisher"], row["feed"], row["reason"]) == (SOURCES[0], BTC, "PRICE_NOT_POSITIVE")
    assert row["price"] == f"-{10**39}.0"
    assert rows("operational", reading(world), "summary")["data_refused"]["value"] == "1"


def test_pulls_and_signed_reports_say_who_had_what_as_of_what() -> None:
    world = two_traders()
    world.ok(PullReport(asked=ASKED), "member/dex")
    world.ok(RecordReport(signed=SignedReport(asked=ASKED, sha256="ab" * 32, size=77, envelope="{}")))
    (pull,) = rows("operational", reading(world), "pulls").values()
    assert (pull["actor"], pull["report"], pull["as_of"], pull["form"]) == (
        "member/dex",
        "statement",
        "5",
        "csv",
    )
    assert (pull["given"], pull["members"]) == ("ledger_account=custody unit=USDC", "dex")
    (signed,) = rows("operational", reading(world), "signed").values()
    assert (signed["sha256"], signed["size"], signed["report"]) == ("ab" * 32, "77", "statement")


def test_what_the_journal_cannot_know_is_empty_and_named() -> None:
    told = rows("operational", reading(empty_house()), "summary")
    outside = {name: row for name, row in told.items() if row["source"].startswith("outside ")}
    assert {"uptime", "latency", "denied"} <= set(outside)
    assert {row["value"] for row in outside.values()} == {""}
    assert (
        told["cycles"]["value"],
        told["cycles_longest"]["value"],
        told["attestation_longest"]["value"],
    ) == ("0", "", "")


@pytest.mark.parametrize("world", [busy, refused, a_long_life])
def test_sources_name_what_is_there_and_the_summary_sums_the_tables(world: object) -> None:
    assert callable(world)
    read_from = reading(world())
    tables = {table.id: list(table.rows) for table in assert_sources_hold("operational", read_from)}
    told = {row.field: row.cells[1] for row in tables["summary"]}
    for name, table in (
        ("cycles", "cycles"),
        ("outages", "outages"),
        ("pulls", "pulls"),
        ("signed", "signed"),
    ):
        assert told[name] == str(len(tables[table]))
    states = Counter(row.cells[1] for row in tables["breakers"])
    assert (told["halts"], told["reduce_only"]) == (str(states["halted"]), str(states["reduce_only"]))


@pytest.mark.parametrize("world", [busy, refused, a_long_life])
def test_as_of_an_earlier_entry_it_is_what_it_was_then(world: object) -> None:
    assert callable(world)
    whole = world()
    for as_of in range(1, len(whole.entries), 19):
        shorter = copy_of(whole)
        del shorter.entries[as_of:]
        assert built("operational", reading(whole, as_of)) == built("operational", reading(shorter))


def test_it_is_for_those_who_see_everything_and_an_empty_journal_makes_one() -> None:
    assert REPORTS["operational"].audience is Audience.WHOLE
    tables = {table.id: table for table in built("operational", reading(World()))}
    assert not any(table.rows for name, table in tables.items() if name != "summary")
    assert START_MS % DAY_MS


def test_a_term_of_answers_is_read_as_it_is_written_and_no_other() -> None:
    (term,) = sources.parse(sources.answers(3, 17))
    assert (term.origin, sources.answered(term.said)) == (sources.Origin.ANSWERS, (3, 17))
    for wrong in ("from 3", "3 to 17", "from 3 to 17 ", "from a to b"):
        with pytest.raises(ValueError, match="names no answers"):
            sources.answered(wrong)
