"""A few worlds of the simulation, and that they are worth their time; ``make sim`` walks many."""

import ast
import sys
from collections import Counter
from functools import cache
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from clearing.model.commands import Command
from clearing.model.outcomes import Outcome
from tests.simulation import (
    auditor,
    black76,
    books,
    laws_of_auctions,
    laws_of_default,
    laws_of_members,
    laws_of_money,
    laws_of_porting,
    laws_of_settlement,
    laws_of_trades,
    measure,
)
from tests.simulation.__main__ import tell
from tests.simulation.acts import go
from tests.simulation.books import Line, Violation, shares
from tests.simulation.houses import Decided
from tests.simulation.walk import STEPS, Walk
from tests.simulation.worlds import Report, run, run_on
from tests.stores import Stores
from tests.unit.test_liability_accounts import require_tied

pytestmark = pytest.mark.slow

SEEDS = (0, 32, 11, 20, 36, 18, 37)
"""The first runs on a store and crashes; together they contain all that is wanted below."""
AUDITORS = (
    *(auditor, black76, books, measure),
    *(laws_of_auctions, laws_of_default, laws_of_members, laws_of_money, laws_of_porting),
    *(laws_of_settlement, laws_of_trades),
)

walked = cache(run)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_law_breaks_in_a_world(seed: int) -> None:
    assert walked(seed).violation == ""


def test_the_worlds_contain_what_the_auditor_is_there_for() -> None:
    """A world without a default proves nothing about defaults."""
    seen: Counter[str] = sum((walked(seed).seen for seed in SEEDS), Counter())
    wanted = (
        *("DEFAULT_DECLARED", "ANSWER_PAID", "WATERFALL", *(f"tier {number}" for number in range(2, 9))),
        *("WITHDRAWAL_EXCEEDS", "GATE_SHUT", "WITHDRAWAL_SENT", "WITHDRAWAL_PAID", "WITHDRAWAL_RELEASED"),
        *("CALL_ISSUED", "CALL_CHANGED", "CALL_MET", "CALL_EXPIRED"),
        *("LIQUIDATION_STEPPED", "LIQUIDATION_CLOSED", "POSITION_ASSIGNED", "POSITIONS_NETTED"),
        *("POSITIONS_TORN_UP", "COLLATERAL_SOLD", "NETTING_SET_LINKED", "TRADE_DUPLICATE"),
        *("ASSESSMENT_PAID", "ASSESSMENT_DEFAULTED", "RECOVERY_DISTRIBUTED"),
        *("OUTAGE_BEGAN", "OUTAGE_WATCHED", "OUTAGE_ENDED", "OUTAGE_CLOSING_LET", "CALL_MOVED"),
        *("REPLENISHMENT_PAID", "REPLENISHMENT_DEFAULTED", "SKIN_RESTORED", "CASH_MOVED"),
        *("OPTION_SETTLED", "FUTURE_SETTLED", "FUNDING_PAID"),
        *("AUCTION_CLOSED", "AUCTION_VOIDED", "BID_WITHDRAWN", "BID_AWARDED", "COLLATERAL_AWARDED"),
        *("HALF_EXPIRED", "HALF_LAPSED", "HALVES_DIFFER", "GROUP_REFUSED"),
        *("UNLINKING_NOTICED", "NETTING_SET_UNLINKED", "PORTING_OPENED", "PORTING_MOVED", "PORTED"),
        *("CHANGE_APPROVED", "PARAMETERS_CHANGED", "TWO_ADMINISTRATORS_NEEDED", "SAME_ADMINISTRATOR"),
        *("MEMBER_SUSPENDED", "MEMBER_REINSTATED", "MEMBER_LEFT", "MEMBER_BOUND", "MEMBER_RELEASED"),
        *("LOSS_WITHOUT_DEFAULT", "LOSS_BORNE_BY_CAPITAL", "LOST_ASSET_REPLACED"),
        *("crashed", "asked again"),
    )
    assert [kind for kind in wanted if not seen[kind]] == []


class Counting(Decided):
    """A house whose liabilities are counted after every command."""

    def execute(self, command: Command, request_id: str) -> tuple[Outcome, list[Line]]:
        told = super().execute(command, request_id)
        require_tied(self.state)
        return told


@pytest.mark.parametrize("seed", SEEDS[1:3])
def test_what_is_owed_ties_to_the_trial_balance_in_a_world(seed: int) -> None:
    walk = Walk(dice=Random(seed), house=Counting())
    go(walk, STEPS)
    assert walk.auditor.seen["DEFAULT_DECLARED"]


def test_no_law_breaks_in_a_world_on_postgresql(postgresql_stores: Stores) -> None:
    assert run_on(postgresql_stores, SEEDS[0]).violation == ""


def test_the_same_seed_walks_the_same_way() -> None:
    assert run(SEEDS[1]) == walked(SEEDS[1])


def test_the_auditor_imports_nothing_of_the_house_that_it_audits() -> None:
    own = {module.__name__ for module in AUDITORS} | {"tests.simulation"}
    for module in AUDITORS:
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                known = name in own or name.partition(".")[0] in sys.stdlib_module_names
                assert known, f"{module.__name__} imports {name}"
            if isinstance(node, ast.ImportFrom) and node.module == "tests.simulation":
                assert {f"tests.simulation.{alias.name}" for alias in node.names} <= own


def test_parts_sum_to_the_whole_whatever_the_order() -> None:
    weights, caps = {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 50, "c": 50}
    assert sum(shares(100, weights, "event").values()) == 100
    assert shares(10, weights, "event") == shares(10, dict(reversed(weights.items())), "event")
    assert shares(100, weights, "event", caps) == {"a": 1, "b": 50, "c": 49} or shares(
        100, weights, "event", caps
    ) == {"a": 1, "b": 49, "c": 50}
    assert shares(200, weights, "event", caps) == caps


def test_the_last_line_counts_and_a_violation_names_its_seed_and_step() -> None:
    said = StringIO()
    reports = [
        Report(seed=1, steps=10, seen=Counter(CLOSED_OUT=2, WATERFALL=1)),
        Report(seed=7, steps=5, violation=f"{Violation.__name__}: the house is flat"),
    ]
    assert not tell(reports, Console(file=said, width=200))
    first, again, last = said.getvalue().splitlines()
    assert first == "seed 7, step 5: Violation: the house is flat"
    assert again.strip() == "again: make sim SEED=7"
    assert last == "2 worlds, 15 steps, 2 defaults, 1 waterfalls, 0 crashes, 1 violations"
    assert tell(reports[:1], Console(file=said))
