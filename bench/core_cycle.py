"""One full clearing cycle, from the publication that completes a snapshot to the durable end of the cycle.

Sparse books hold 6 of 50 instruments each, dense ones all 50. All prices move, so every position is settled. The
baseline is the measuring of the same netting sets alone, one after the other, without any settlement.
"""

from collections.abc import Iterator
from random import Random
from statistics import median

from bench.core_house import HELD, INSTRUMENTS, bench_house, books, clients
from bench.rows import Baseline, Row, row, seconds
from bench.run import Run, verdict
from bench.stores import Store
from clearing.margin.assess import assess, living_sets

SIZES = {"1k": 1_000, "10k": 10_000, "50k": 50_000}
DENSE = 2_000
ROUNDS = 5


def rows(run: Run) -> Iterator[Row]:
    """Sparse books of three sizes, and how the cost of a set grows; then dense ones."""
    per_set: dict[str, float] = {}
    for name, sets in SIZES.items():
        run.tell(f"a cycle of {sets:,} netting sets")
        with run.stores.fresh("sqlite") as store:
            measured = list(_on(store, f"core.cycle_{name}", sets, HELD))
        per_set[name] = measured[-1].value / sets
        yield from measured
    growth = [per_set["50k"] / per_set["1k"]]
    yield row("core.cycle_growth", growth, unit="cost per set, 50k / 1k", better="lower")
    run.tell(f"a cycle of {DENSE:,} netting sets with all {INSTRUMENTS} instruments")
    with run.stores.fresh("sqlite") as store:
        yield from _on(store, f"core.cycle_dense_{DENSE}", DENSE, INSTRUMENTS)


def _on(store: Store, name: str, sets: int, held: int) -> Iterator[Row]:
    with bench_house(store) as house:
        keys, lines = clients(sets)
        house.build(lines)
        house.do(house.publish(10_000))
        house.build(books(keys, held, Random(7)))
        house.built()
        taken: list[float] = []
        for turn in range(1 + ROUNDS):
            last = house.publish(10_000 + 10 * (1 - turn % 2))
            taken.append(seconds(lambda last=last: house.do(last)))  # type: ignore[misc]  # bound at once
        state = house.state
        alone = [seconds(lambda: [assess(state, set_id) for set_id in living_sets(state)])]
        size = house.writer.view.size
    peer = Baseline(name=f"{name}.sets_alone", value=median(alone))
    yield row(peer.name, alone, unit="s", better="lower")
    yield row(name, taken[1:], unit="s", better="lower", baseline=peer, error=verdict(store, size))
