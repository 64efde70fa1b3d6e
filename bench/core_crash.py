"""A crash: 10,000 netting sets of which one in twenty cannot pay, from the crash price to the last entry of the
waterfall.

Those who fail are clients of two members, long with little margin. Nobody provides liquidity, so all their positions
are torn up. The hour that answering members have is skipped by the clock and not counted; neither member answers.
"""

from collections.abc import Iterator
from random import Random

from bench.core_house import (
    HELD,
    LISTED,
    MEMBERS,
    PRICE_TICKS,
    RICH_MINOR,
    TICK_VALUE_MINOR,
    BenchHouse,
    bench_house,
    books,
    clients,
)
from bench.rows import Row, row, seconds
from bench.run import Run, verdict
from bench.stores import Store
from clearing.model.commands import (
    ContributeToPool,
    FundHouse,
    HouseMoney,
    NewTrade,
    SizePool,
    SubmitTrades,
    Tick,
)
from clearing.model.ids import AccountKey
from tests.builders import START_MS

FAILING = 500
RICH = 10_000 - FAILING
FAILING_MEMBERS = 2
LOTS = 400
LITTLE_MINOR = LOTS * PRICE_TICKS * TICK_VALUE_MINOR * 17 // 100
"""A requirement is 16.25 % of the notional, the fall 30 %."""
CRASH_BP = 7_000
ROUNDS = 3


def rows(run: Run) -> Iterator[Row]:
    """The whole of it, and each of its two commands."""
    samples: list[tuple[float, float]] = []
    errors: list[str] = []
    for turn in range(ROUNDS):
        run.tell(f"a crash with {RICH + FAILING:,} netting sets, {turn + 1} of {ROUNDS}")
        with run.stores.fresh("sqlite") as store:
            samples.append(_on(store, Random(turn), errors))
    error = "; ".join(errors) or None
    both = [first + second for first, second in samples]
    yield row("core.crash_10k", both, unit="s", better="lower", error=error)
    yield row("core.crash_10k.close_out", [first for first, _ in samples], unit="s", better="lower")
    yield row("core.crash_10k.waterfall", [second for _, second in samples], unit="s", better="lower")


def _on(store: Store, dice: Random, errors: list[str]) -> tuple[float, float]:
    with bench_house(store) as house:
        rich, lines = clients(RICH)
        house.build(lines)
        house.do(house.publish(10_000))
        house.build(books(rich, HELD, dice))
        for member in MEMBERS:
            house.do(ContributeToPool(member=member, amount_minor=RICH_MINOR // 100))
        for tranche in (HouseMoney.SKIN_IN_THE_GAME, HouseMoney.SECOND_TRANCHE):
            house.do(FundHouse(into=tranche, amount_minor=RICH_MINOR // 100))
        house.do(SizePool())
        _little_margin(house, rich)
        house.built()
        crash = house.publish(CRASH_BP)
        first = seconds(lambda: house.do(crash))
        (event,) = house.state.defaults.values()
        house.now_ms += house.state.parameters.answer_ms
        second = seconds(lambda: house.do(Tick()))
        if len(event.sets) != FAILING:
            errors.append(f"{len(event.sets)} sets failed and not {FAILING}")
        if not house.state.defaults[event.id].tiers:
            errors.append("no waterfall was run")
        if (wrong := verdict(store, house.writer.view.size)) is not None:
            errors.append(wrong)
    return first, second


def _little_margin(house: BenchHouse, keys: list[AccountKey]) -> None:
    """The failing sets are opened with little more cash than the requirement of what they buy of richer ones."""
    failing, lines = clients(FAILING, LITTLE_MINOR, members=MEMBERS[:FAILING_MEMBERS], prefix="f")
    house.build(lines)
    for member in MEMBERS[:FAILING_MEMBERS]:
        buyers = [key for key in failing if key.startswith(f"{member}/")]
        sellers = [key for key in keys if key.startswith(f"{member}/")]
        trades = tuple(
            NewTrade(
                trade_id=f"f{number}",
                instrument=LISTED[number % len(LISTED)],
                buyer=buyer,
                seller=seller,
                lots=LOTS,
                price_ticks=PRICE_TICKS,
                executed_ms=START_MS,
            )
            for number, (buyer, seller) in enumerate(zip(buyers, sellers, strict=False))
        )
        house.do(SubmitTrades(member=member, trades=trades))
