"""Figures that come out again: from a bundle, of whole houses of the simulation and of what a member sees of one."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest

from clearing.attest.figures import compute, statement_of
from clearing.attest.inputs import BALANCES, TABLES_USED, Shown, bundle_of, leaf_of
from clearing.attest.recompute import Finding, Recomputed, _read, _requirements, recompute
from clearing.attest.recompute_bundle import (
    BundleReason,
    BundleRefused,
    RecomputeBundle,
    VerifiedBundle,
    format_bundle,
    open_bundle,
    parse_bundle,
)
from clearing.attest.statement import Inputs, Journal, VerifiedStatement
from clearing.default.reverse import reverse_stress
from clearing.default.sizing import coverage
from clearing.margin.assess import measured_sets
from clearing.model.commands import AdmitMember, Command, ListAsset
from clearing.model.house import House, ordered
from clearing.model.ids import AssetId, MemberId, SetId, account_key, member_of
from clearing.model.outcomes import Outcome
from clearing.model.values import DAY_MS, Liquidity
from ledger.merkle import leaf_hash, tree_root
from tests.builders import (
    ALICE,
    BOB,
    BTC,
    ETHER,
    PARAMETERS,
    USD,
    World,
    empty_house,
    link,
    two_traders,
)
from tests.simulation.acts import go
from tests.simulation.books import Line
from tests.simulation.houses import Decided
from tests.simulation.walk import Walk
from tests.unit.test_shadow import SWAPPED, a_past, traders

pytestmark = pytest.mark.slow

BLINDING = bytes(range(32))
SEEDS = (11, 18, 36, 37)
"""Together: options, linked accounts, calls, withdrawals on their way, defaults that are open, breakers, outages."""


class Remembering(Decided):
    """Keeps the state after every so many commands."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[House] = []

    def execute(self, command: Command, request_id: str) -> tuple[Outcome, list[Line]]:
        found = super().execute(command, request_id)
        self.states.append(self.state)
        return found


@cache
def states(seed: int) -> tuple[House, ...]:
    house = Remembering()
    go(Walk(dice=Random(seed), house=house), 120)
    return tuple(state for state in house.states if state.cycle is not None and state.cycle.closed)


def attested(house: House) -> VerifiedStatement:
    journal = Journal(
        origin="h/journal", tree_size=house.size, root_hash=bytes(32), previous_tree_size=0, consistency=()
    )
    return VerifiedStatement(statement_of(house, "h", journal, compute(house, journal, BLINDING)))


def shown(house: House, statement: VerifiedStatement, member: str | None = None) -> VerifiedBundle:
    bundle = bundle_of(house, statement, BLINDING, None if member is None else MemberId(member))
    written = parse_bundle(b"".join(format_bundle(bundle)))
    assert written == bundle
    return open_bundle(written, statement.sequence, statement.inputs)


def failed(found: Recomputed) -> list[Finding]:
    return [one for one in found.findings if not one.agrees]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_figure_of_a_house_comes_out_again_from_its_bundle(seed: int) -> None:
    for house in states(seed)[::7]:
        statement = attested(house)
        found = recompute(statement, shown(house, statement))
        assert failed(found) == []
        assert found.not_recomputed == ()
        assert {one.name for one in found.findings} >= {
            "model",
            "stress array",
            "requirements",
            "figures resources",
            "figures stress",
            "figures trial balance",
            "figures liabilities",
            "figures waterfall",
        }


@pytest.mark.parametrize("seed", SEEDS)
def test_affiliates_coverage_and_reverse_stress_come_out_again_from_the_rows_of_a_bundle(seed: int) -> None:
    house = states(seed)[-1]
    statement = attested(house)
    again = replace(_read(shown(house, statement)).house, size=house.size)
    assert {one.group for one in ordered(again.members)} == {"", "north"}
    assert coverage(again) == coverage(house)
    assert reverse_stress(again) == reverse_stress(house)
    assert (statement.stress.cover2_minor, statement.stress.prefunded_minor) == (
        coverage(again).stress.cover2_minor,
        coverage(again).stress.prefunded_minor,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_every_line_is_canonical_json_in_the_order_of_its_rows(seed: int) -> None:
    house = states(seed)[-1]
    for line in shown(house, attested(house)).lines:
        table, _, row = read = json.loads(line.text)
        assert line.text == json.dumps(read, sort_keys=True, separators=(",", ":"))
        assert table != BALANCES or row == sorted(row)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_member_recomputes_what_it_sees_and_sees_only_its_own(seed: int) -> None:
    house = states(seed)[-1]
    statement = attested(house)
    for member in sorted(house.members):
        bundle = shown(house, statement, member)
        found = recompute(statement, bundle)
        assert failed(found) == []
        assert f"{len(bundle.lines)} of {bundle.count} lines" in found.not_recomputed[0]
        for line in bundle.lines:
            table, key, row = json.loads(line.text)
            others = [one for one in house.members if one != member]
            if table not in {
                "charter",
                "cycle",
                "assets",
                "instruments",
                "breakers",
                "outage",
                "stress_array",
            }:
                assert not any(
                    f"{other}/" in f"{key}/" or f'"{other}"' in json.dumps(row) for other in others
                )


def test_the_worlds_have_what_would_be_hard_to_recompute() -> None:
    everything = [house for seed in SEEDS for house in states(seed)]
    assert any(default.stage.value != "closed" for house in everything for default in house.defaults.values())
    assert any(house.calls for house in everything)
    assert any(house.withdrawals for house in everything)
    assert any(house.assessments for house in everything)
    assert any(house.breakers for house in everything)
    assert any(house.outage is not None for house in everything)
    assert any(len({*map(member_of, s.accounts)}) > 1 for h in everything for s in h.netting_sets.values())
    assert any(one.option is not None for house in everything for one in house.instruments.values())


def priced() -> World:
    return two_traders()


def committed(
    house: House, statement: VerifiedStatement, texts: list[str]
) -> tuple[VerifiedStatement, RecomputeBundle]:
    """What a house would publish that commits to other lines than its state has."""
    leaves = [leaf_of(text, BLINDING, statement.sequence) for text in texts]
    inputs = Inputs(root=tree_root([leaf_hash(leaf) for leaf in leaves]), count=len(leaves))
    forged = VerifiedStatement(replace(statement, inputs=inputs))
    honest = bundle_of(house, statement, BLINDING, None)
    lines = [
        replace(honest.lines[0], index=n, salt=leaf[:16], text=text)
        for n, (leaf, text) in enumerate(zip(leaves, texts, strict=True))
    ]
    return forged, replace(honest, count=len(lines), lines=tuple(lines))


def texts_of(house: House, statement: VerifiedStatement) -> list[str]:
    return [line.text for line in bundle_of(house, statement, BLINDING, None).lines]


def changed(texts: list[str], line: tuple[str, str], change: Callable[[Any], None]) -> list[str]:
    """The texts with the row of one line changed."""
    found = []
    for text in texts:
        table, key, row = json.loads(text)
        if (table, key) == line:
            change(row)
        found.append(json.dumps([table, key, row], sort_keys=True, separators=(",", ":")))
    assert found != texts
    return found


def trading() -> World:
    world = priced()
    assert world.trade(ALICE, BOB, 100, 80_000).accepted
    world.prices(BTC=81_000, ETH=2_000)
    return world


def with_a_past() -> House:
    """``expected_shortfall`` is in force, with 300 imported days and two of the house's own."""
    world = a_past(traders(SWAPPED, cash_minor=9_000 * USD))
    world.now_ms += DAY_MS
    world.prices(BTC=81_000, ETH=2_000)
    return world.state


def test_a_requirement_that_a_history_led_to_comes_out_again_exactly() -> None:
    house = with_a_past()
    statement = attested(house)
    assert (statement.model.name, len(house.daily_moves)) == ("expected_shortfall", 302)
    for member in (None, "dex"):
        found = recompute(statement, shown(house, statement, member))
        assert failed(found) == []
        assert "requirements" in {one.name for one in found.findings}


def test_a_house_that_says_another_day_than_it_margined_by_is_found() -> None:
    house = with_a_past()
    statement = attested(house)
    worst = max(
        house.daily_moves, key=lambda day: max(-(m.move_ppm or 0) for m in house.daily_moves[day].moves)
    )

    def calmer(row: Any) -> None:
        for move in row["moves"]:
            move["move_ppm"] = "0"

    forged, bundle = committed(
        house, statement, changed(texts_of(house, statement), ("daily_moves", worst), calmer)
    )
    assert "requirements" in {
        one.name for one in failed(recompute(forged, open_bundle(bundle, 1, forged.inputs)))
    }


def test_a_figure_that_was_attested_wrong_is_named() -> None:
    house = trading().state
    honest = attested(house)
    bundle = shown(house, honest)
    wrong = {
        "figures resources": replace(
            honest,
            resources=replace(honest.resources, pool_required_minor=honest.resources.pool_required_minor + 1),
        ),
        "figures stress": replace(honest, stress=replace(honest.stress, prefunded_minor=10**12)),
        "figures liabilities": replace(honest, liabilities=replace(honest.liabilities, root=bytes(32))),
        "figures netting": replace(honest, netting=replace(honest.netting, portfolio_minor=1)),
        "figures trial balance": replace(honest, trial_balance={}),
        "figures breaches": replace(honest, breaches=replace(honest.breaches, count=3)),
        "figures calls": replace(honest, calls=replace(honest.calls, count=3)),
        "figures as of": replace(honest, as_of_ms=honest.as_of_ms - 1),
        "figures valid until": replace(honest, valid_until_ms=honest.valid_until_ms + 1),
    }
    for name, statement in wrong.items():
        (found,) = failed(recompute(VerifiedStatement(statement), bundle))
        assert found.name == name
        assert "attested " in found.detail
    parameters = VerifiedStatement(replace(honest, model=replace(honest.model, parameters_digest=bytes(32))))
    assert {one.name for one in failed(recompute(parameters, bundle))} == {"model", "figures model"}


def test_a_house_that_counted_a_set_for_less_than_its_rows_say_is_found() -> None:
    house = trading().state
    statement = attested(house)
    for field in ("requirement_minor", "equity_minor", "standalone_minor", "maintenance_minor"):

        def one_less(row: Any, field: str = field) -> None:
            row[field] = str(int(row[field]) - 1)

        texts = changed(texts_of(house, statement), ("measured", "dex/alice"), one_less)
        forged, bundle = committed(house, statement, texts)
        found = failed(recompute(forged, open_bundle(bundle, 1, forged.inputs)))
        assert [one.name for one in found] == ["requirements"]
        assert found[0].detail.startswith(f"dex/alice: {field.removesuffix('_minor')}: attested ")


def test_a_set_that_was_left_out_is_found() -> None:
    house = trading().state
    statement = attested(house)
    texts = [text for text in texts_of(house, statement) if not text.startswith('["measured","dex/alice"')]
    forged, bundle = committed(house, statement, texts)
    (found,) = failed(recompute(forged, open_bundle(bundle, 1, forged.inputs)))
    assert (found.name, found.detail) == ("requirements", "dex/alice is measured only once")


def test_a_published_array_that_does_not_follow_from_the_marks_is_found_beyond_the_tolerance() -> None:
    house = trading().state
    statement = attested(house)
    notional = 81_000 * 100
    for off, agrees in ((1, True), (2, False), (notional // 2, False)):

        def shift(row: Any, off: int = off) -> None:
            first = row["instruments"][0]["long_minor"]
            first[0] = str(int(first[0]) + off)

        forged, bundle = committed(
            house, statement, changed(texts_of(house, statement), ("stress_array", ""), shift)
        )
        found = {one.name: one for one in recompute(forged, open_bundle(bundle, 1, forged.inputs)).findings}
        assert found["stress array"].agrees is agrees
        if not agrees:
            assert f"differs by {off} smallest units, 1 are tolerated" in found["stress array"].detail


def test_a_bundle_without_what_everything_needs_is_refused() -> None:
    house = trading().state
    statement = attested(house)
    whole = texts_of(house, statement)
    for without in ('["charter"', '["cycle"', '["stress_array"'):
        forged, bundle = committed(house, statement, [text for text in whole if not text.startswith(without)])
        assert content_refused(forged, bundle)
    for more in (
        '["trades","x",{}]',
        "[1]",
        "not json",
        '["balances","x",[["a","b"]]]',
    ):
        forged, bundle = committed(house, statement, [*whole, more])
        assert content_refused(forged, bundle).startswith(f"line {len(whole)}: ")
    nameless = VerifiedBundle(replace(bundle_of(house, statement, BLINDING, None), blinded={}))
    with pytest.raises(BundleRefused) as refused:
        recompute(statement, nameless)
    assert refused.value.reason is BundleReason.CONTENT


def content_refused(statement: VerifiedStatement, bundle: RecomputeBundle) -> str:
    with pytest.raises(BundleRefused) as refused:
        recompute(statement, open_bundle(bundle, 1, statement.inputs))
    assert refused.value.reason is BundleReason.CONTENT
    return str(refused.value)


def test_salts_are_of_the_house_the_attestation_and_the_line() -> None:
    text = '["members","x",{}]'
    salts = {
        leaf_of(text, BLINDING, 1)[:16],
        leaf_of(text, BLINDING, 2)[:16],
        leaf_of(text + " ", BLINDING, 1)[:16],
        leaf_of(text, bytes(32), 1)[:16],
    }
    assert len(salts) == 4
    assert leaf_of(text, BLINDING, 1)[16:] == text.encode()


def test_a_set_of_several_members_is_shown_to_none_of_them() -> None:
    world = priced()
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    key = world.account("other", "alice")
    link(world, "alice", ALICE, key)
    world.prices(BTC=81_000, ETH=2_000)
    statement = attested(world.state)
    for member, own in (("dex", ALICE), ("other", key)):
        found = recompute(statement, shown(world.state, statement, member))
        assert failed(found) == []
        assert found.not_recomputed[1].endswith(f": {own}")


def test_equity_that_depends_on_what_others_hold_is_not_judged_by_a_member() -> None:
    """A participant's limit counts its collateral everywhere; a member sees only what is posted with it."""
    world = priced()
    limited = replace(ETHER, id=AssetId("WETH"), concentration_minor=10**18, concentration_haircut_bp=9_000)
    world.ok(ListAsset(asset=limited))
    world.ok(AdmitMember(member=MemberId("other"), name="Other"))
    elsewhere = world.account("other", "alice2", "alice")
    for key in (ALICE, elsewhere):
        world.deposit(key, 10**18, AssetId("WETH"))
    world.prices(BTC=81_000, ETH=2_000)
    statement = attested(world.state)
    assert failed(recompute(statement, shown(world.state, statement))) == []
    found = recompute(statement, shown(world.state, statement, "dex"))
    assert failed(found) == []
    assert any("dex/alice" in one and "concentration" in one for one in found.not_recomputed)


def test_a_requirement_that_depends_on_what_others_hold_is_judged_by_a_member_for_its_least() -> None:
    """Size is charged on what a participant holds everywhere; a member sees only what is held with it."""
    thin = (Liquidity(underlying=BTC, daily_volume_minor=100 * USD),)
    world = empty_house(replace(PARAMETERS, liquidity=thin))
    for member in ("dex", "other"):
        world.ok(AdmitMember(member=MemberId(member), name=member))
        for name in ("alice", "bob"):
            world.deposit(world.account(member, name), 10**6 * USD)
    world.prices(BTC=80_000, ETH=2_000)
    for member in ("dex", "other"):
        alice, bob = (account_key(MemberId(member), name) for name in ("alice", "bob"))
        assert [one.reason for one in world.trade(alice, bob, 100, 80_000).results] == [""]
    world.prices(BTC=80_000, ETH=2_000)
    statement = attested(world.state)
    assert failed(recompute(statement, shown(world.state, statement))) == []
    found = recompute(statement, shown(world.state, statement, "dex"))
    assert failed(found) == []
    assert any("dex/alice" in one and "holds elsewhere" in one for one in found.not_recomputed)
    known, sized = measured_sets(world.state), frozenset({SetId("dex/alice")})
    hers = next(one for one in known if one.netting_set == "dex/alice")
    for off, agrees in ((-1, False), (0, True), (1, True)):
        said = [
            replace(one, maintenance_minor=one.maintenance_minor + off) if one is hers else one
            for one in known
        ]
        assert _requirements(known, said, unknown_size=sized).agrees is agrees


def test_only_tables_of_the_house_are_used() -> None:
    assert {name for name, shown in TABLES_USED.items() if shown is Shown.EVERYBODY} == {
        *("charter", "cycle", "outage", "wound_down", "assets", "instruments", "breakers", "daily_moves"),
    }


def test_units_in_which_nothing_stands_any_more_are_left_out() -> None:
    """Instruments come and go; what is stated must not grow with those that went."""
    world = trading()
    assert "BTC-PERP" in attested(world.state).trial_balance
    assert world.trade(BOB, ALICE, 100, 81_000).accepted
    statement = attested(world.state)
    assert "BTC-PERP" in world.state.book.trial_balance()
    assert "BTC-PERP" not in statement.trial_balance
    assert failed(recompute(statement, shown(world.state, statement))) == []
