"""The governance report (rulebook §2, §13): who changed what, made again from the journal."""

from collections import Counter
from dataclasses import fields, replace
from functools import cache

from clearing.model.codec import encode
from clearing.model.commands import ApproveProposal, ProposeParameters, RejectProposal
from clearing.model.ids import FeedId
from clearing.model.kinds import Kind
from clearing.model.values import DAY_MS, HOUR_MS, Liquidity, Parameters, ScanRange
from clearing.reports import governance
from clearing.reports.table import REPORTS, Audience
from tests.builders import ANNA, BERT, BTC, ETH_FEED, USD, World, copy_of, two_traders
from tests.readings import WorldReading, built, reading, rows
from tests.stories import a_long_life, the_end_of_a_house
from tests.tracing import assert_sources_hold, entries_of, facts


@cache
def life() -> WorldReading:
    return reading(a_long_life())


@cache
def changed() -> WorldReading:
    """A loosening that waits a day, a tightening at once, one that is withdrawn, and one that expires."""
    world = two_traders()
    now = world.state.parameters
    wanted = replace(
        now,
        pool_floor_minor=250 * USD,
        trade_fee_bp=3,
        scan_ranges=(replace(now.scan_ranges[0], move_bp=1_400), now.scan_ranges[1]),
        liquidity=(Liquidity(underlying=BTC, daily_volume_minor=10**12),),
        offsets=(),
    )
    world.ok(ProposeParameters(proposal="slow", parameters=wanted, reason="busier", immediate=False), ANNA)
    world.now_ms += HOUR_MS
    world.ok(ApproveProposal(proposal="slow"), BERT)
    world.wait(DAY_MS)
    world.prices(BTC=80_000, ETH=2_000)
    tighter = replace(world.state.parameters, requirement_bp=13_000)
    world.ok(ProposeParameters(proposal="fast", parameters=tighter, reason="calmer", immediate=True), BERT)
    world.ok(ApproveProposal(proposal="fast"), ANNA)
    loose = replace(tighter, requirement_bp=12_000)
    world.ok(ProposeParameters(proposal="dropped", parameters=loose, reason="a try", immediate=False), ANNA)
    world.ok(RejectProposal(proposal="dropped", reason="no"), ANNA)
    world.ok(ProposeParameters(proposal="late", parameters=loose, reason="again", immediate=False), ANNA)
    world.wait(8 * DAY_MS)
    return reading(world)


def test_each_version_says_who_wanted_it_who_let_it_be_when_and_how_long_it_waited() -> None:
    found = rows("governance", changed(), "versions")
    assert list(found) == ["1", "2", "3"]
    assert (found["1"]["proposed_by"], found["1"]["proposal"], found["1"]["changed"]) == ("test", "", "0")
    slow, fast = found["2"], found["3"]
    assert (slow["proposal"], slow["proposed_by"], slow["approved_by"]) == ("slow", ANNA, BERT)
    assert (slow["reason"], slow["immediate"], slow["delay"]) == ("busier", "no", str(DAY_MS))
    assert (fast["proposed_by"], fast["approved_by"], fast["immediate"], fast["delay"]) == (
        BERT,
        ANNA,
        "yes",
        "0",
    )
    kinds = [entry.kind for entry in entries_of(changed(), slow["source"])]
    assert kinds == [Kind.PARAMETERS_PROPOSED, Kind.PARAMETERS_APPROVED, Kind.PARAMETERS_CHANGED]
    times = [entry.effective_ms for entry in entries_of(changed(), slow["source"])]
    assert [times[1] - times[0], times[2] - times[1]] == [HOUR_MS, DAY_MS]


def test_every_number_that_changed_is_told_from_what_to_what() -> None:
    found = rows("governance", changed(), "changes")
    told = {field: (row["unit"], row["old"], row["new"]) for field, row in found.items()}
    assert told == {
        "2:liquidity.BTC.daily_volume": ("USDC", "", "1000000.000000"),
        "2:offsets.BTC/ETH.rate_bp": ("bp", "5000", ""),
        "2:pool_floor": ("USDC", "0.000000", "250.000000"),
        "2:scan_ranges.BTC.move_bp": ("bp", "1300", "1400"),
        "2:trade_fee_bp": ("bp", "2", "3"),
        "3:requirement_bp": ("bp", "12500", "13000"),
    }
    assert rows("governance", changed(), "versions")["2"]["changed"] == "5"


def test_the_parameters_in_force_are_all_there_with_the_version_that_set_each() -> None:
    found = rows("governance", changed(), "in_force")
    parameters = changed().world.state.parameters
    for name, text in flat(parameters).items():
        row = found.pop(name.removesuffix("_minor"))
        assert row["value"] == (f"{int(text) / USD:.6f}" if name.endswith("_minor") else text), name
        (entry,) = entries_of(changed(), row["source"])
        charter = next(put for table, _, put in facts(entry) if table == "charter")
        assert charter["parameters_version"] == row["version"]
        assert flat_of(charter["parameters"])[name] == text
    assert found == {}
    assert Counter(row["version"] for row in rows("governance", changed(), "in_force").values())["2"] == 4


def flat(parameters: Parameters) -> dict[str, str]:
    """Every number by its path, by another way than the report's: from the canonical JSON."""
    return flat_of(encode(parameters))


def flat_of(encoded: object) -> dict[str, str]:
    assert isinstance(encoded, dict)
    found: dict[str, str] = {}
    for name, value in encoded.items():
        if isinstance(value, str):
            found[name] = value
        for row in value if isinstance(value, list) else ():
            keys = [row[key] for key in ("underlying", "first", "second") if key in row]
            for inner, text in row.items():
                if inner not in ("underlying", "first", "second"):
                    found[f"{name}.{'/'.join(keys)}.{inner}"] = text
    return found


def test_no_two_parameters_have_one_name() -> None:
    two = Parameters(
        scan_ranges=(ScanRange(underlying=BTC, move_bp=1), ScanRange(underlying=ETH_FEED, move_bp=1)),
        liquidity=(Liquidity(underlying=FeedId("BTC"), daily_volume_minor=1),),
    )
    house = two_traders().state
    assert len(governance.numbers(house, two)) == len(flat(two))
    assert len(flat(two)) == len(fields(Parameters)) - 3 + 2 * 4 + 1


def test_proposals_are_shown_as_they_stand_with_the_entries_that_led_there() -> None:
    found = rows("governance", changed(), "proposals")
    assert {name: row["state"] for name, row in found.items()} == {
        "slow": "in_force",
        "fast": "in_force",
        "dropped": "withdrawn",
        "late": "expired",
    }
    dropped = found["dropped"]
    assert (dropped["what"], dropped["ended_by"], dropped["ended_reason"]) == ("Parameters", ANNA, "no")
    assert dropped["body"] == "requirement_bp 13000 bp → 12000 bp"
    kinds = [entry.kind for entry in entries_of(changed(), dropped["source"])]
    assert kinds == [Kind.PARAMETERS_PROPOSED, Kind.PROPOSAL_ENDED]
    world = life().world
    whole = rows("governance", life(), "proposals")
    assert set(whole) == {*world.state.parameter_proposals, *world.state.change_proposals}
    for name, change in world.state.change_proposals.items():
        assert (whole[name]["what"], whole[name]["body"]) == (change.command, change.body)


def test_every_act_of_government_is_there_and_says_who_and_why() -> None:
    world, found = life().world, rows("governance", life(), "acts")
    governing = (
        *(kind for kind in Kind if 100 < kind < 110 or 150 <= kind < 156 or 140 <= kind < 150),
        Kind.MEMBER_ADMITTED,
        Kind.SOURCE_REGISTERED,
        Kind.SOURCE_RETIRED,
        Kind.HISTORY_IMPORTED,
        Kind.OUTAGE_CLOSING_ASKED,
        Kind.OUTAGE_CLOSING_LET,
        Kind.LOSS_WITHOUT_DEFAULT,
    )
    assert set(found) == {str(n) for n, entry in enumerate(world.entries) if entry.kind in governing}
    for field, row in found.items():
        entry = world.entries[int(field)]
        assert (row["kind"], row["by"]) == (Kind(entry.kind).name, entry.actor)
    told = {row["kind"]: row for row in found.values()}
    assert (told["MEMBER_GROUPED"]["subject"], told["MEMBER_GROUPED"]["what"]) == ("other", "group north")
    assert (told["MEMBER_GROUPED"]["proposed_by"], told["MEMBER_GROUPED"]["by"]) == (ANNA, BERT)
    assert told["CERTIFICATE_REVOKED"]["reason"] == "a laptop was stolen"
    assert told["LOSS_WITHOUT_DEFAULT"]["what"] == "0.100000000000000000 lost"
    assert told["HISTORY_IMPORTED"]["what"] == "2 days from 2020-01-01 to 2020-01-02"
    assert (told["MEMBER_SUSPENDED"]["by"], told["MEMBER_SUSPENDED"]["proposal"]) == (ANNA, "")


def test_the_wind_down_is_an_act() -> None:
    found = rows("governance", reading(the_end_of_a_house()), "acts").values()
    (end,) = [row for row in found if row["kind"] == "HOUSE_WOUND_DOWN"]
    assert (end["reason"], end["proposed_by"], end["by"]) == ("nobody is left to pay", ANNA, BERT)


def test_sources_name_what_is_there() -> None:
    for read_from in (life(), changed()):
        assert_sources_hold("governance", read_from)


def test_as_of_an_earlier_entry_it_is_what_it_was_then() -> None:
    for read_from in (life(), changed()):
        world = read_from.world
        for as_of in range(1, len(world.entries), 19):
            shorter = copy_of(world)
            del shorter.entries[as_of:]
            assert built("governance", reading(world, as_of)) == built("governance", reading(shorter))


def test_before_the_house_is_founded_there_is_nothing() -> None:
    assert not any(table.rows for table in built("governance", reading(World())))
    assert REPORTS["governance"].audience is Audience.WHOLE
