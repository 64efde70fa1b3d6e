"""64 callers that each wait for an answer, and batches of 1,000 trades, beside an empty handler and the engine alone.

The callers are threads of this process, the server is another one on the same cores. Each caller has a connection of
its own and acts for one of ten members. A call is one trade, which the house decides, commits and answers.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import TypeAlias

import grpc

from bench.core_house import MEMBERS
from bench.grpc_house import Books, Serving, build, request_of, serving
from bench.rows import Baseline, Row, rate, row
from bench.run import Run, clock_ms, verdict
from bench.stores import KINDS, Store
from clearing.engine import Engine
from clearing.model.commands import SubmitTrades
from clearing.model.ids import MemberId
from clearing.server.wire import names
from clearing_client.client import Client
from clearing_client.connect import channel
from clearinghouse.v1.trade_service_pb2 import TRADE_STATUS_NOVATED, StreamTradesRequest, SubmitTradesResponse
from clearinghouse.v1.trade_service_pb2_grpc import TradeServiceStub
from ledger.store.connect import open_store, system_salts
from ledger.store.queries import journal_size

CALLERS = 64
EMPTY_S, UNARY_S, EARLY_S = 10, 60, 10
BATCH, BATCHES, STREAMS = 1_000, 5, 5

Call: TypeAlias = Callable[[SubmitTrades, str], object]
"""Sends a command under a request id and waits for the answer."""


@dataclass(slots=True)
class Load:
    """What callers got: how many calls each second, and how long each took."""

    each_second: list[int] = field(default_factory=list)
    took_ms: list[float] = field(default_factory=list)
    rss_early: int = 0
    rss_late: int = 0

    @property
    def calls_per_s(self) -> list[int]:
        """Full seconds only, without the first, in which connections are made."""
        return self.each_second[1:-1]


def rows(run: Run) -> Iterator[Row]:
    """The bare ceiling, then both kinds of database."""
    for kind in KINDS:
        with run.stores.fresh(kind) as store, TemporaryDirectory() as folder:
            run.tell(f"building a house on {kind}")
            keys = Path(folder, "keys")
            held = build(store, keys)
            if kind == KINDS[0]:
                run.tell("a bare handler")
                with serving("bare", store, keys) as server:
                    yield _rate("grpc.bare_64", _many(server, None, held, EMPTY_S))
            with run.stores.fresh(kind) as other, TemporaryDirectory() as foreign:
                run.tell(f"the engine in process on {kind}")
                inside = _in_process(other, build(other, Path(foreign, "keys")))
            yield from _on(run, store, keys, held, inside)


def _on(run: Run, store: Store, keys: Path, held: Books, inside: tuple[Load, list[float]]) -> Iterator[Row]:
    run.tell(f"an empty handler on {store.kind}")
    with serving("empty", store, keys) as server:
        empty = _many(server, keys, held, EMPTY_S)
    engine_64, engine_bulk = inside
    with serving("house", store, keys) as server:
        run.tell(f"{CALLERS} callers for {UNARY_S} s on {store.kind}")
        unary = _many(server, keys, held, UNARY_S)
        run.tell(f"batches of {BATCH:,} on {store.kind}")
        bulk = _bulk(server, keys, held)
        run.tell(f"{CALLERS} callers of the client library on {store.kind}")
        together = _together(server, keys, held)
    with store.database.connect() as connection:
        size = journal_size(connection)
    error = verdict(store, size)
    name = f"grpc.unary_64.{store.kind}"
    yield _rate(f"grpc.empty_64.{store.kind}", empty)
    yield _rate(f"grpc.engine_64.{store.kind}", engine_64)
    yield _rate(name, unary, Baseline(name="grpc.empty_64", value=median(empty.calls_per_s)), error)
    alone = Baseline(name="grpc.unary_64", value=median(unary.calls_per_s))
    yield _rate(f"grpc.sdk_64.{store.kind}", together, alone, error)
    for percent, at in (("p50", 49), ("p99", 98)):
        found = quantiles(unary.took_ms, n=100)[at]
        yield row(f"{name}.{percent}", unary.took_ms, unit="ms", better="lower", value=found)
    memory = Baseline(name=f"after {EARLY_S} s", value=unary.rss_early / 2**20)
    yield row(f"{name}.rss", [unary.rss_late / 2**20], unit="MiB", better="lower", baseline=memory)
    yield row(f"grpc.engine_bulk.{store.kind}", engine_bulk, unit="trades/s", better="higher")
    peer = Baseline(name="the engine in process", value=median(engine_bulk))
    yield row(
        f"grpc.bulk_trades.{store.kind}", bulk, unit="trades/s", better="higher", baseline=peer, error=error
    )


def _rate(name: str, load: Load, baseline: Baseline | None = None, error: str | None = None) -> Row:
    return row(name, load.calls_per_s, unit="calls/s", better="higher", baseline=baseline, error=error)


def _many(server: Serving, keys: Path | None, held: Books, seconds: int) -> Load:
    with ExitStack() as stack:
        calls = [_caller(stack.enter_context(_connection(server, keys, n))) for n in range(CALLERS)]
        return _loaded(calls, held, seconds, server.rss_bytes)


def _connection(server: Serving, keys: Path | None, number: int) -> grpc.Channel:
    if keys is None:
        return grpc.insecure_channel(server.address, options=(("grpc.use_local_subchannel_pool", 1),))
    return channel(server.address, keys / "clients" / "member" / MEMBERS[number % len(MEMBERS)])


def _caller(connected: grpc.Channel) -> Call:
    stub = TradeServiceStub(connected)

    def call(command: SubmitTrades, request_id: str) -> None:
        _require_novated(stub.SubmitTrades(request_of(command, request_id)))

    return call


def _require_novated(answer: SubmitTradesResponse) -> None:
    """What a bench sends is novated; an empty handler says nothing of any trade."""
    for result in answer.results:
        if result.status != TRADE_STATUS_NOVATED:
            raise RuntimeError(f"a trade was not novated: {result.reason} {result.message}")


def _loaded(
    calls: list[Call],
    held: Books,
    seconds: int,
    rss_bytes: Callable[[], int],
    members: Sequence[MemberId] = MEMBERS,
) -> Load:
    """Let each of ``calls`` be made again and again, all at once."""
    load, over = Load(), threading.Event()
    counts, took = [0] * len(calls), [list[float]() for _ in calls]

    def work(number: int) -> None:
        dice, member = Random(number), members[number % len(members)]
        while not over.is_set():
            name = f"c{number}-{counts[number]}-{clock_ms()}"
            command = held.trades(member, 1, name, dice)
            started = time.perf_counter()
            calls[number](command, name)
            took[number].append((time.perf_counter() - started) * 1_000)
            counts[number] += 1

    with ThreadPoolExecutor(len(calls)) as threads:
        workers = [threads.submit(work, number) for number in range(len(calls))]
        before = 0
        for second in range(seconds + 1):
            time.sleep(1)
            load.each_second.append(sum(counts) - before)
            before += load.each_second[-1]
            if second == EARLY_S - 1:
                load.rss_early = rss_bytes()
            if any(worker.done() for worker in workers):
                break
        load.rss_late = rss_bytes()
        over.set()
        for worker in workers:
            worker.result()
    load.took_ms = [one for mine in took for one in mine]
    return load


def _in_process(store: Store, held: Books) -> tuple[Load, list[float]]:
    """The same callers and the same batches, without anything between them and the engine."""
    database = open_store(store.url)
    with closing(Engine(database, clock=clock_ms, salts=system_salts)) as engine:

        def call(command: SubmitTrades, request_id: str) -> None:
            engine.execute(command, request_id=request_id, actor="bench")

        load = _loaded([call] * CALLERS, held, EMPTY_S, lambda: 0)
        bulk = _rates(call, held, "inside")
    database.dispose()
    return load, bulk


def _together(server: Serving, keys: Path, held: Books) -> Load:
    """The same callers, each waiting for its own trade; the client sends what waits in one batch."""
    with Client.connect(server.address, keys / "clients" / "member" / MEMBERS[0]) as client:

        def call(command: SubmitTrades, request_id: str) -> None:
            (trade,) = request_of(command, request_id).trades
            result = client.submit_trade(names.member(command.member), trade)
            _require_novated(SubmitTradesResponse(results=[result]))

        return _loaded([call] * CALLERS, held, EMPTY_S, server.rss_bytes, members=MEMBERS[:1])


def _bulk(server: Serving, keys: Path, held: Books) -> list[float]:
    """Trades a second in streams of some batches; the first stream is not counted."""
    dice, found = Random(13), list[float]()
    with _connection(server, keys, 0) as connected:
        stub = TradeServiceStub(connected)
        for number in range(1 + STREAMS):
            batches = [
                held.trades(MEMBERS[0], BATCH, f"stream-{number}-{n}-{clock_ms()}", dice)
                for n in range(BATCHES)
            ]
            found.append(
                rate(BATCHES * BATCH, partial(_stream, stub, batches, f"stream-{number}-{clock_ms()}"))
            )
    return found[1:]


def _stream(stub: TradeServiceStub, batches: list[SubmitTrades], name: str) -> None:
    whole = [request_of(batch, f"{name}-{n}") for n, batch in enumerate(batches)]
    sent = (StreamTradesRequest(parent=r.parent, request_id=r.request_id, trades=r.trades) for r in whole)
    answer = stub.StreamTrades(sent)
    if answer.batches_taken != len(batches):
        raise RuntimeError(f"of {len(batches)} batches {answer.batches_taken} were taken")


def _rates(call: Call, held: Books, name: str) -> list[float]:
    """Trades a second in batches; the first is not counted."""
    dice, found = Random(11), list[float]()
    for number in range(1 + 2 * BATCHES):
        request_id = f"{name}-{number}-{clock_ms()}"
        command = held.trades(MEMBERS[0], BATCH, request_id, dice)
        found.append(rate(BATCH, partial(call, command, request_id)))
    return found[1:]
