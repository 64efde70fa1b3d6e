"""Trades novated a second, in batches of 1,000 that are waited for until they are durable.

Accounts trade what they hold, 6 of 50 instruments, as most trades change a position that is there already.

The baseline decides the same kind of batch trade by trade, each with the margin of both netting sets computed: what
a house does that has no shortcut for trades that surely pass.
"""

from collections.abc import Iterator
from functools import partial
from random import Random
from statistics import median
from unittest.mock import patch

from bench.core_house import HELD, MEMBERS, PRICE_TICKS, BenchHouse, bench_house, books, clients
from bench.rows import Baseline, Row, rate, row
from bench.run import Run, verdict
from bench.stores import KINDS, Store
from clearing.decide.headroom import Headroom
from clearing.model.commands import NewTrade, SubmitTrades
from clearing.model.ids import AccountKey, InstrumentId
from tests.builders import START_MS

SETS = 1_000
BATCH = 1_000
ROUNDS = 9
ROUNDS_ONE_BY_ONE = 2


def rows(run: Run) -> Iterator[Row]:
    """Both kinds of database."""
    for kind in KINDS:
        with run.stores.fresh(kind) as store:
            run.tell(f"batches of {BATCH:,} trades on {kind}")
            yield from _on(store)


def _on(store: Store) -> Iterator[Row]:
    dice = Random(7)
    with bench_house(store) as house:
        keys, lines = clients(SETS)
        house.build(lines)
        house.do(house.publish(10_000))
        house.build(books(keys, HELD, dice))
        house.built()
        ours = [rate(BATCH, partial(house.do, _batch(house, keys, dice))) for _ in range(1 + ROUNDS)]
        with patch.object(Headroom, "takes", lambda *_: False):
            theirs = [
                rate(BATCH, partial(house.do, _batch(house, keys, dice))) for _ in range(ROUNDS_ONE_BY_ONE)
            ]
        size = house.writer.view.size
    peer = Baseline(name=f"core.trades_one_by_one.{store.kind}", value=median(theirs))
    yield row(peer.name, theirs, unit="trades/s", better="higher")
    yield row(
        f"core.trades_{BATCH}.{store.kind}",
        ours[1:],
        unit="trades/s",
        better="higher",
        baseline=peer,
        error=verdict(store, size),
    )


def _batch(house: BenchHouse, keys: list[AccountKey], dice: Random) -> SubmitTrades:
    member = dice.choice(MEMBERS)
    holders: dict[InstrumentId, list[AccountKey]] = {}
    for key in keys:
        if key.startswith(f"{member}/"):
            for instrument in sorted(house.state.positions(key)):
                holders.setdefault(instrument, []).append(key)
    traded = [instrument for instrument in sorted(holders) if len(holders[instrument]) > 1]
    trades: list[NewTrade] = []
    for number in range(BATCH):
        instrument = dice.choice(traded)
        buyer, seller = dice.sample(holders[instrument], 2)
        trades.append(
            NewTrade(
                trade_id=f"t{house.requests}-{number}",
                instrument=instrument,
                buyer=buyer,
                seller=seller,
                lots=dice.randint(1, 20),
                price_ticks=PRICE_TICKS + dice.randint(-50, 50),
                executed_ms=START_MS,
            )
        )
    return SubmitTrades(member=member, trades=tuple(trades))
