"""A bench that cannot fail measures nothing: its rows, its aims, and what it takes for an error."""

import json

import pytest
from sqlalchemy import event

from bench.__main__ import failures, record
from bench.aims import AIMS, Aim
from bench.attest_build import differing, stated
from bench.attest_house import KEYS, POLICY, attested_house, cycles
from bench.attest_proofs import CONTEXT, among_strangers, repeating
from bench.attest_verify import chain, note_over
from bench.ledger_proofs import made_up
from bench.margin_pricing import INSTRUMENTS, JUDGES, difference, options, sample_of
from bench.rows import Baseline, Row, held_against, row
from bench.run import Subject, opened, verdict
from bench.stores import Stores
from bench.traffic import Traffic
from clearing.attest.envelope import VerifiedPayload
from clearing.attest.inputs import bundle_of
from clearing.attest.liabilities import (
    LiabilityReason,
    LiabilityRefused,
    prove,
    verify_proof,
)
from clearing.attest.recompute_bundle import open_bundle
from clearing.attest.statement import Liabilities, VerifiedStatement, build, parse
from clearing_client.offline import verify_attestations
from ledger.merkle import ProofRefused, leaf_hash, tree_root, verify_consistency, verify_inclusion
from ledger.store.connect import Database, open_store

PEER = Baseline(name="peer", value=20.0)


def a_row(name: str = "ledger.a", value: float = 60.0, **changes: object) -> Row:
    return row(name, [value], **{"unit": "entries/s", "better": "higher"} | changes)  # type: ignore[arg-type]


def test_a_row_is_the_median_with_its_quartiles() -> None:
    measured = row("ledger.a", [5.0, 1.0, 3.0, 2.0, 4.0], unit="s", better="lower")
    assert (measured.value, measured.spread, measured.samples) == (3.0, (2.0, 4.0), 5)


def test_a_single_sample_is_its_own_spread() -> None:
    assert a_row(value=7.0).spread == (7.0, 7.0)


def test_a_maximum_stands_in_place_of_the_median() -> None:
    measured = row("ledger.a", [1.0, 2.0, 9.0], value=9.0, unit="ms", better="lower")
    assert (measured.value, measured.spread) == (9.0, (1.5, 5.5))


def test_a_row_is_held_against_another() -> None:
    assert a_row(baseline=held_against(a_row("ledger.b", value=20.0))).ratio == 3.0


@pytest.mark.parametrize(
    ("peer", "ratio"), [(PEER, 3.0), (None, None), (Baseline(name="x", value=0.0), None)]
)
def test_a_ratio_needs_a_baseline(peer: Baseline | None, ratio: float | None) -> None:
    assert a_row(baseline=peer).ratio == ratio


def test_the_record_has_schema_1() -> None:
    rows = [a_row(baseline=PEER), a_row("ledger.b", error="differs at 3: a leg")]
    written = json.loads(json.dumps(record(rows, 3_000.0)))
    assert set(written) == {"schema", "commit", "machine", "seed", "fsync_per_s", "rows"}
    assert written["schema"] == 1
    assert written["rows"] == [
        {
            "name": "ledger.a",
            "value": 60.0,
            "unit": "entries/s",
            "better": "higher",
            "samples": 1,
            "spread": [60.0, 60.0],
            "baseline": {"name": "peer", "value": 20.0},
            "ratio": 3.0,
        },
        {
            "name": "ledger.b",
            "value": 60.0,
            "unit": "entries/s",
            "better": "higher",
            "samples": 1,
            "spread": [60.0, 60.0],
            "baseline": None,
            "ratio": None,
            "error": "differs at 3: a leg",
        },
    ]


@pytest.mark.parametrize(
    ("aim", "measured", "is_met", "text"),
    [
        (Aim(value=60), a_row(), True, "≥ 60"),
        (Aim(value=61), a_row(), False, "≥ 61"),
        (Aim(value=60), a_row(better="lower"), True, "≤ 60"),
        (Aim(value=59), a_row(better="lower"), False, "≤ 59"),
        (Aim(ratio=3), a_row(baseline=PEER), True, "≥ 3×"),
        (Aim(ratio=3.1), a_row(baseline=PEER), False, "≥ 3.1×"),
        (Aim(ratio=1), a_row(), False, "≥ 1×"),
        (Aim(value=10_000, ratio=3), a_row(baseline=PEER), False, "≥ 10,000, ≥ 3×"),
    ],
)
def test_an_aim_is_met_or_missed(aim: Aim, measured: Row, is_met: bool, text: str) -> None:
    assert (aim.is_met(measured), aim.text(measured)) == (is_met, text)


def test_a_run_fails_by_an_error_a_row_too_many_and_a_row_too_few() -> None:
    rows = [a_row(name) for name in AIMS]
    assert failures(rows, AIMS) == []
    first, second, *others = rows
    broken = [a_row(first.name, error="lag"), *others, others[0]]
    assert failures(broken, AIMS) == [
        f"{first.name}: lag",
        f"{others[0].name}: measured twice",
        f"{second.name}: not measured",
    ]


def test_what_was_posted_verifies_and_a_missing_entry_is_an_error() -> None:
    traffic = Traffic(7)
    with Stores() as stores, stores.fresh("sqlite") as store:
        with opened(store) as subject:
            subject.post(traffic.opening())
            subject.post(traffic.transfers(20))
            subject.post(traffic.single())
        assert subject.size == 22
        assert verdict(store, 22) is None
        assert verdict(store, 23) == "has 22 entries and not 23"


def test_what_is_refused_or_was_sent_before_is_not_measured() -> None:
    traffic = Traffic(7)
    with Stores() as stores, stores.fresh("sqlite") as store, opened(store) as subject:
        transfers = traffic.transfers(20)
        _require_refused(subject, transfers)
        subject.post(traffic.opening())
        subject.post(sent := traffic.transfers(20))
        _require_refused(subject, sent)


def _require_refused(subject: Subject, command: object) -> None:
    with pytest.raises(RuntimeError, match="not all of a batch was posted"):
        subject.post(command)  # type: ignore[arg-type]  # a command, whatever it is


def test_a_store_that_forgets_the_disk_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_forgetful(url: str) -> Database:
        engine = open_store(url)
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        return engine

    monkeypatch.setattr("bench.stores.open_store", open_forgetful)
    with Stores() as stores, pytest.raises(RuntimeError, match="nothing is measured"):
        stores.fresh("sqlite").__enter__()


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_536, 70_000])
def test_proofs_of_a_made_up_tree_hold_for_their_leaf_alone(size: int) -> None:
    tree = made_up(size)
    path = tree.inclusion_path(size // 2)
    verify_inclusion(tree.leaf_hash(size // 2), size // 2, size, path, tree.root)
    with pytest.raises(ProofRefused):
        verify_inclusion(bytes(32), size // 2, size, path, tree.root)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_536, 70_000])
def test_a_tree_that_repeats_is_the_tree_of_its_leaves(size: int) -> None:
    tree = repeating(size)
    hashes = [leaf_hash(bytes([number % 256])) for number in range(size)]
    assert tree.root == tree_root(hashes)
    path = tree.inclusion_path(size // 2)
    verify_inclusion(hashes[size // 2], size // 2, size, path, tree.root)
    old = size // 2 + 1
    verify_consistency(old, tree_root(hashes[:old]), size, tree.root, tree.consistency_path(old))


@pytest.mark.parametrize("count", [1, 2, 8, 1_024])
def test_one_among_strangers_is_counted_in_their_sums(count: int) -> None:
    tree = among_strangers(count)
    (account,) = tree.numbers
    attested = Liabilities(root=tree.root, leaf_count=count, totals_minor=tree.totals, receivables_minor={})
    proof = prove(tree, account)
    verify_proof(proof, context=CONTEXT, attested=attested, account=account)
    other = Liabilities(root=bytes(32), leaf_count=count, totals_minor=tree.totals, receivables_minor={})
    with pytest.raises(LiabilityRefused) as refused:
        verify_proof(proof, context=CONTEXT, attested=other, account=account)
    assert refused.value.reason is LiabilityReason.OTHER_ROOT


def test_a_house_that_is_attested_has_all_that_an_attestation_counts() -> None:
    with Stores() as stores, stores.fresh("sqlite") as store, attested_house(store, 100) as house:
        first = house.state
        cycles(house)
        state = house.state
    assert state.newest_cycle.closed
    assert state.newest_cycle.number > first.newest_cycle.number
    assert sorted(len(one.accounts) for one in state.netting_sets.values()) == [1] * 90 + [2] * 10
    statement = VerifiedStatement(parse(VerifiedPayload(build(stated(state)))))
    assert statement.stress.cover2_minor > 0
    assert statement.netting.standalone_minor > statement.netting.portfolio_minor
    assert statement.liabilities.leaf_count == 100 + 50 + 10  # cash, collateral of every other one, the pool
    bundle = bundle_of(state, statement, KEYS.blinding, None)
    assert [*differing(statement, open_bundle(bundle, 1, statement.inputs))] == []


def test_a_chain_holds_and_one_that_lacks_a_link_does_not() -> None:
    with Stores() as stores, stores.fresh("sqlite") as store, attested_house(store, 10) as house:
        statement = stated(house.state)
    envelopes = chain(statement, 4)
    assert verify_attestations(POLICY, note_over(4), envelopes, None).ok
    assert not verify_attestations(POLICY, note_over(4), [*envelopes[:2], envelopes[3]], None).ok


def test_judges_of_prices_that_come_to_other_values_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    table = options(INSTRUMENTS)
    assert difference(table, sample_of(table)) is None
    monkeypatch.setitem(JUDGES, "vollib", lambda *_: 1.0)
    assert "vollib differs" in (difference(table, sample_of(table)) or "")
