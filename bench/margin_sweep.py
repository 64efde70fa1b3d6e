"""Every netting set's requirement, from marks to the unit: in processor time of one thread, then on two workers.

A round moves all marks, so that nothing is found that an earlier one made. A sample of the sets is margined alone in
every run, and the others' integers on every executor are held against each other: where they differ, the row carries
an error.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from statistics import median

import numpy as np
from distributed import Client, LocalCluster
from scipy.sparse import csr_matrix

from bench import margin_house as house
from bench.rows import Baseline, Row, held_against, row, seconds
from bench.run import Run
from clearing.margin import screen
from clearing.margin.model import Market, Positions, States
from clearing.margin.models.expected_shortfall import CHUNK, amounts, margin, risk_array
from clearing.margin.sweep import swept
from clearing.margin.table import MODELS
from clearing.margin.tick import amounts_after, array_after, changed_rows, holders_of
from clearing.model.values import RiskArray

SETS, MANY = 10_000, 100_000
ROUNDS, FEW = 9, 3
SAMPLE = 40
NAIVE = 200
TAILS = ((1_000, 25), (250, 6))
COPIED = 2**24
WORKERS = 2
STEP_TICKS = 6_000
"""A tick moves a tenth of a percent, and a round one more."""
PARAMETERS = house.PARAMETERS


def rows(run: Run) -> Iterator[Row]:
    """``margin.sweep``: the whole of it, its parts, what bounds it, its peers, ten times the sets, and workers."""
    run.tell("a sweep of 10,000 netting sets")
    book, now = house.book(SETS), house.states()
    made, asked, arrays = list[float](), list[float](), list[RiskArray]()
    for number in range(ROUNDS):
        made.append(_taken(lambda n=number: arrays.append(_array(now, n))))  # type: ignore[misc]
        asked.append(_taken(partial(amounts, book, arrays[-1], PARAMETERS)))
    array = arrays[-1]
    whole = [one + other for one, other in zip(made, asked, strict=True)]
    sweep = row("margin.sweep_10k", whole, unit="ms", better="lower", error=_difference(book, array))
    yield sweep
    parts = {"states": [_taken(house.states) for _ in range(ROUNDS)], "array": made, "amounts": asked}
    parts |= _bare(book, array)
    for name, samples in parts.items():
        yield row(
            f"margin.sweep_10k.{name}", samples, unit="ms", better="lower", baseline=held_against(sweep)
        )
    yield from _bounds(book, parts["product"])
    yield from _peers(book, array, now, median(asked))
    yield _growth(run, array, median(asked))
    yield from _workers(run, book, array)


def tick(run: Run) -> Iterator[Row]:
    """``margin.tick``: one underlying of sixteen moves; then the same behind the screen."""
    run.tell("a tick of one underlying")
    book, now, moved = house.book(SETS), house.states(), house.UNDERLYINGS[:1]
    before = _array(now, 0)
    known = amounts(book, before, PARAMETERS)
    limits = [amount * (100 + number % 101) // 100 for number, amount in enumerate(known)]  # up to twice
    parts: dict[str, list[float]] = {name: [] for name in ("array", "amounts", "screen", "everything")}
    after, error = before, None
    for number in range(1, ROUNDS + 1):
        state = house.market(now, number * STEP_TICKS, moved)
        arrays = list[RiskArray]()
        made = partial(array_after, before, moved, house.instruments(), state, PARAMETERS)
        parts["array"].append(_taken(lambda made=made, to=arrays: to.append(made())))  # type: ignore[misc]
        after = arrays[0]
        parts["screen"].append(_taken(partial(screen.above, book, known, before, after, PARAMETERS, limits)))
        parts["amounts"].append(_taken(partial(amounts_after, book, known, before, after, PARAMETERS)))
        parts["everything"].append(
            _taken(lambda state=state: amounts(book, _made(state), PARAMETERS))  # type: ignore[misc]
        )
        if amounts_after(book, known, before, after, PARAMETERS) != amounts(book, after, PARAMETERS):
            error = "a tick gives other integers than a sweep"
    sums = [one + other for one, other in zip(parts["array"], parts["amounts"], strict=True)]
    peer = Baseline(name="a sweep of everything", value=median(parts.pop("everything")))
    yield row("margin.tick", sums, unit="ms", better="lower", baseline=peer, error=error)
    for name, samples in parts.items():
        yield row(f"margin.tick.{name}", samples, unit="ms", better="lower", baseline=peer)
    touched = len(holders_of(book, changed_rows(before, after)))
    yield row("margin.tick.touched", [touched / SETS * 100], unit="% of sets", better="lower")
    yield _doubtful(book, known, before, after, limits)


def _doubtful(
    book: Positions, known: list[int], before: RiskArray, after: RiskArray, limits: list[int]
) -> Row:
    """How many the screen does not clear after the largest tick, and how many of them rightly."""
    rises = screen.rises_at_most(book, before, after, PARAMETERS)
    doubtful = SETS if rises is None else int((np.array(known) + rises > np.array(limits)).sum())
    exact = amounts(book, after, PARAMETERS)
    wrong = sum(amount > limit for amount, limit in zip(exact, limits, strict=True))
    found = screen.above(book, known, before, after, PARAMETERS, limits)
    return row(
        "margin.tick.doubtful",
        [doubtful / SETS * 100],
        unit="% of sets",
        better="lower",
        baseline=Baseline(name="those above their limit", value=wrong / SETS * 100),
        error=None if len(found) == wrong else "the screen cleared somebody wrongly",
    )


def _array(now: States, moved_ticks: int) -> RiskArray:
    return _made(house.market(now, moved_ticks))


def _made(state: Market) -> RiskArray:
    return risk_array(house.instruments(), state, PARAMETERS)


def _taken(work: Callable[[], object]) -> float:
    """Milliseconds of processor time."""
    started = time.thread_time()
    work()
    return (time.thread_time() - started) * 1_000


def _difference(book: Positions, array: RiskArray) -> str | None:
    """Whether some sets alone come to other integers."""
    found = amounts(book, array, PARAMETERS)
    for portfolio in range(0, book.portfolios, book.portfolios // SAMPLE):
        own = book.owners == portfolio
        held = zip(book.rows[own].tolist(), book.lots[own].tolist(), strict=True)
        lots = {array.instruments[row].instrument: count for row, count in held}
        if margin(lots, array, PARAMETERS).amount_minor != found[portfolio]:
            return f"set {portfolio} alone asks for something else"
    return None


# parts and bounds ---------------------------------------------------------------------------------


def _losses(array: RiskArray) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    sides = [one.long_minor for one in array.instruments] + [one.short_minor for one in array.instruments]
    return -np.array(sides, np.float64)


def _matrix(book: Positions, instruments: int) -> csr_matrix:
    rows_of = np.where(book.lots > 0, book.rows, book.rows + instruments)
    sizes = np.abs(book.lots).astype(np.float64)
    return csr_matrix((sizes, (book.owners, rows_of)), (book.portfolios, 2 * instruments))


def _bare(book: Positions, array: RiskArray) -> dict[str, list[float]]:
    """The product and the choice of the tail as scipy and numpy do them, with nothing around."""
    losses, held = _losses(array), _matrix(book, len(array.instruments))
    products, tails = list[float](), list[float]()
    for _ in range(ROUNDS):
        taken = [0.0, 0.0]
        for first in range(0, book.portfolios, CHUNK):
            found = list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]()
            taken[0] += _taken(lambda at=first, to=found: to.append(held[at : at + CHUNK] @ losses))  # type: ignore[misc]
            taken[1] += _taken(lambda of=found[0]: _partition(of))  # type: ignore[misc]
        products.append(taken[0])
        tails.append(taken[1])
    return {"product": products, "tail": tails}


def _partition(losses: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
    first = 0
    for width, count in TAILS:
        losses[:, first : first + width].partition(width - count, axis=1)
        first += width


def _bounds(book: Positions, product: list[float]) -> Iterator[Row]:
    """What the product reads of the table and multiplies, over what the machine copies and multiplies at its best."""
    source, target, scenarios = np.ones(COPIED), np.empty(COPIED), sum(width for width, _ in TAILS)
    copied = [2 * source.nbytes / _taken(partial(np.copyto, target, source)) / 1e6 for _ in range(ROUNDS)]
    yield row("margin.sweep_10k.copy", copied, unit="GB/s", better="higher")
    square = np.ones((1_000, 1_000))
    flops = [2e3 / _taken(lambda: square @ square) for _ in range(ROUNDS)]
    yield row("margin.sweep_10k.gemm", flops, unit="GFLOP/s", better="higher")
    done = len(book.lots) * scenarios
    read = [done * 8 / one / 1e6 for one in product]
    yield row(
        "margin.sweep_10k.product_read",
        read,
        unit="GB/s",
        better="higher",
        baseline=Baseline(name="margin.sweep_10k.copy", value=median(copied)),
    )
    yield row(
        "margin.sweep_10k.product_flops",
        [done * 2 / one / 1e6 for one in product],
        unit="GFLOP/s",
        better="higher",
        baseline=Baseline(name="margin.sweep_10k.gemm", value=median(flops)),
    )


# peers, growth, workers ---------------------------------------------------------------------------


def _peers(book: Positions, array: RiskArray, now: States, mine: float) -> Iterator[Row]:
    """A dense row for each account and a sort; one set alone, with its reasons; and the other model."""
    losses = _losses(array)
    dense = _matrix(book, len(array.instruments))[:NAIVE].toarray()

    def naive() -> None:
        for account in dense:
            lost, first = account @ losses, 0
            for width, count in TAILS:
                np.sort(lost[first : first + width])[-count:].sum()
                first += width

    per_set = mine / SETS * 1_000
    samples = [_taken(naive) / NAIVE * 1_000 for _ in range(FEW)]
    ours = Baseline(name="margin.sweep_10k.amounts", value=per_set)
    yield row("margin.sweep.naive", samples, unit="µs/set", better="lower", baseline=ours)
    lots = {array.instruments[n * 33].instrument: 10 * (-1) ** n for n in range(house.HELD)}
    alone = [_taken(partial(margin, lots, array, PARAMETERS)) * 1_000 for _ in range(ROUNDS * 10)]
    yield row("margin.sweep.alone", alone, unit="µs/set", better="lower", baseline=ours)
    scan = MODELS["scan"]
    scanned = scan.risk_array(house.instruments(), house.market(now, 0), PARAMETERS)
    samples = [_taken(partial(scan.amounts, book, scanned, PARAMETERS)) / SETS * 1_000 for _ in range(FEW)]
    yield row("margin.sweep.scan", samples, unit="µs/set", better="lower", baseline=ours)


def _growth(run: Run, array: RiskArray, mine: float) -> Row:
    run.tell("a sweep of 100,000 netting sets")
    book = house.book(MANY)
    samples = [_taken(partial(amounts, book, array, PARAMETERS)) / mine * SETS / MANY for _ in range(FEW)]
    return row("margin.sweep_growth", samples, unit="× a set", better="lower")


def _workers(run: Run, book: Positions, array: RiskArray) -> Iterator[Row]:
    """Time that passes, and whether the integers are the same."""
    run.tell("a sweep on two workers")
    wanted = amounts(book, array, PARAMETERS)
    single = [seconds(partial(amounts, book, array, PARAMETERS)) * 1_000 for _ in range(ROUNDS)]
    one = row("margin.sweep_10k.one_thread", single, unit="ms", better="lower")
    yield one
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(WORKERS))
        yield _on(threads, "threads_2", book, array, wanted, one)
        cluster = stack.enter_context(
            LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None)  # type: ignore[no-untyped-call]
        )
        client = stack.enter_context(Client(cluster))  # type: ignore[no-untyped-call]
        yield _on(client.get_executor(), "dask_2", book, array, wanted, one)


def _on(
    executor: Executor, name: str, book: Positions, array: RiskArray, wanted: list[int], single: Row
) -> Row:
    samples, error = list[float](), None
    for _ in range(ROUNDS):
        started = time.perf_counter()
        found = swept(book, array, PARAMETERS, executor, WORKERS)
        samples.append((time.perf_counter() - started) * 1_000)
        error = error or (None if found == wanted else "other integers than one thread")
    return row(
        f"margin.sweep_10k.{name}",
        samples,
        unit="ms",
        better="lower",
        baseline=held_against(single),
        error=error,
    )
