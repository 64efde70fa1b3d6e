"""Every planted fault is found; so a world without a finding says something."""

from dataclasses import replace
from functools import cache

import pytest
from immutables import Map

from clearing import engine
from clearing.model.house import fold
from tests.simulation.auditor import Auditor
from tests.simulation.books import Books, Line, Violation
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.worlds import run

pytestmark = pytest.mark.slow

SEEDS = tuple(sorted({mutation.seed for mutation in MUTATIONS}))
STORED = 10

walked = cache(run)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_auditor_finds(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutation.patch is not None:
        mutation.patch(monkeypatch)
    found = run(mutation.seed, meddle=mutation.meddle).violation
    assert found.startswith("Violation: "), "an auditor that finds nothing audits nothing"
    assert mutation.law in found


def test_a_replay_that_forgets_gains_is_found_at_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "fold", lambda house, record: replace(fold(house, record), pnl=Map()))
    assert run(STORED).violation.startswith("AssertionError: ")


def test_a_request_that_takes_effect_again_is_found() -> None:
    command = {"type": "FundHouse", "into": "capital", "amount_minor": "1"}
    answer = {"results": [{"key": "", "status": "accepted", "reason": ""}]}
    charter = {"settlement_asset": "USDC"}
    legs = (("custody", "USDC", 1), ("house/capital", "USDC", -1))
    line = Line(kind="HOUSE_FUNDED", at_ms=1, legs=legs, command=command)
    auditor = Auditor(books=Books(rows={"charter": {"": charter}}))
    auditor.step("r1", command, answer, [line])
    auditor.step("r1", command, answer, [])
    with pytest.raises(Violation, match="a request takes effect once"):
        auditor.step("r1", command, answer, [line])
    with pytest.raises(Violation, match="the same answer for ever"):
        auditor.step("r1", command, {"results": []}, [])
    with pytest.raises(Violation, match="what is acknowledged happens once"):
        auditor.step("r2", command, answer, [line, line])


@pytest.mark.parametrize("seed", SEEDS)
def test_it_finds_nothing_where_nothing_was_planted(seed: int) -> None:
    assert walked(seed).violation == ""
