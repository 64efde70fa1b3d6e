"""One seed, one world: walk it to its end or to the first law that breaks."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from clearing.engine import HouseStopped
from ledger.require import InvariantViolated
from tests.simulation.acts import go
from tests.simulation.books import Violation
from tests.simulation.houses import Decided, Stored
from tests.simulation.walk import STEPS, Meddling, Walk
from tests.stores import SqliteFiles, Stores

BROKEN = (Violation, AssertionError, LookupError, ValueError, InvariantViolated, HouseStopped)
"""A law of the auditor, or one of the house's own."""
STORED_EVERY = 10
"""One seed in so many runs on a store, and crashes."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of a world. ``violation`` is empty when every law held."""

    seed: int
    steps: int
    seen: Counter[str] = field(default_factory=Counter)
    violation: str = ""


def run(seed: int, *, steps: int = STEPS, meddle: Meddling | None = None) -> Report:
    """Walk the world of ``seed``: the same seed walks the same way."""
    if seed % STORED_EVERY:
        return _walk(seed, Walk(dice=Random(seed), house=Decided(), meddle=meddle), steps)
    with TemporaryDirectory() as folder:
        return run_on(SqliteFiles(Path(folder)), seed, steps=steps, meddle=meddle)


def run_on(stores: Stores, seed: int, *, steps: int = STEPS, meddle: Meddling | None = None) -> Report:
    """Walk the world of ``seed`` on a store."""
    return _walk(seed, Walk(dice=Random(seed), house=Stored(stores), meddle=meddle), steps)


def _walk(seed: int, walk: Walk, steps: int) -> Report:
    violation = ""
    try:
        go(walk, steps)
    except BROKEN as error:
        violation = f"{type(error).__name__}: {error}"
    finally:
        walk.house.close()
    return Report(seed=seed, steps=walk.steps, seen=walk.seen + walk.auditor.seen, violation=violation)
