"""Laws of the coalescer, for asyncio drawn by hypothesis and for threads under load.

Each caller gets the result of its own trade; the trades of one caller keep their order; what is refused fails
exactly those who were in it; no batch is too large; of one member one batch is on its way.
"""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing_client import coalesce
from clearing_client.coalesce import BATCH_MAX, AsyncCoalescer, Coalescer, Lane, Place, Results
from clearinghouse.v1 import trade_service_pb2 as trade_pb

MEMBERS = ("members/alpha", "members/beta")


class Refused(Exception):
    """A batch that the house refused, by its number."""


class Sink:
    """A house that remembers its batches, refuses those that it is told to, and looks for what must not be."""

    def __init__(self, refused: frozenset[int] = frozenset()) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.refused = refused
        self.under_way: set[str] = set()

    def begin(self, parent: str, trades: Sequence[trade_pb.NewTrade]) -> int:
        assert 1 <= len(trades) <= coalesce.BATCH_MAX
        assert parent not in self.under_way
        self.under_way.add(parent)
        self.batches.append((parent, [trade.trade_id for trade in trades]))
        return len(self.batches) - 1

    def end(self, number: int, parent: str) -> Results:
        self.under_way.discard(parent)
        if number in self.refused:
            raise Refused(number)
        return [trade_pb.TradeResult(trade=trade_id) for trade_id in self.batches[number][1]]

    async def send(self, parent: str, trades: list[trade_pb.NewTrade]) -> Results:
        number = self.begin(parent, trades)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return self.end(number, parent)


callers = st.lists(st.tuples(st.sampled_from(MEMBERS), st.integers(1, 8), st.integers(0, 3)), max_size=12)


@given(callers, st.frozensets(st.integers(0, 20)), st.integers(1, 5))
def test_each_caller_gets_its_own_result_in_its_own_order(
    drawn: list[tuple[str, int, int]], refused: frozenset[int], batch_max: int
) -> None:
    sink = Sink(refused)

    async def caller(coalescer: AsyncCoalescer, name: str, parent: str, count: int, pause: int) -> list[str]:
        """The trades of the caller that were refused."""
        failed = []
        for number in range(count):
            for _ in range(pause):
                await asyncio.sleep(0)
            trade = trade_pb.NewTrade(trade_id=f"{name}/{number}")
            try:
                result = await coalescer.submit(parent, trade)
            except Refused:
                failed.append(trade.trade_id)
            else:
                assert result.trade == trade.trade_id
        return failed

    async def run() -> list[str]:
        coalescer = AsyncCoalescer(sink.send)
        tasks = [caller(coalescer, f"c{n}", *about) for n, about in enumerate(drawn)]
        failed = await asyncio.gather(*tasks)
        await coalescer.close()
        return [trade_id for one in failed for trade_id in one]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(coalesce, "BATCH_MAX", batch_max)
        failed = asyncio.run(run())
    sent = [trade_id for _, batch in sink.batches for trade_id in batch]
    assert sorted(sent) == sorted(f"c{n}/{k}" for n, (_, count, _) in enumerate(drawn) for k in range(count))
    for n in range(len(drawn)):
        own = [int(trade_id.partition("/")[2]) for trade_id in sent if trade_id.startswith(f"c{n}/")]
        assert own == sorted(own)
    in_refused = {t for number, (_, batch) in enumerate(sink.batches) if number in refused for t in batch}
    assert set(failed) == in_refused


def test_what_comes_while_a_batch_is_on_its_way_is_the_next_batch() -> None:
    sink = Sink()

    async def run() -> None:
        coalescer = AsyncCoalescer(sink.send)
        trades = [trade_pb.NewTrade(trade_id=str(number)) for number in range(2 * BATCH_MAX + 1)]
        first = asyncio.create_task(coalescer.submit("members/alpha", trades[0]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.gather(first, *(coalescer.submit("members/alpha", trade) for trade in trades[1:]))

    asyncio.run(run())
    assert [len(batch) for _, batch in sink.batches] == [1, BATCH_MAX, BATCH_MAX]


def test_a_caller_that_is_cancelled_takes_its_trade_along_unless_it_has_left() -> None:
    sink = Sink()

    async def run() -> None:
        coalescer = AsyncCoalescer(sink.send)
        tasks = [
            asyncio.create_task(coalescer.submit("members/alpha", trade_pb.NewTrade(trade_id=name)))
            for name in ("first", "second", "third")
        ]
        await asyncio.sleep(0)
        tasks[1].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, trade_pb.TradeResult) for one in done] == [True, False, True]

    asyncio.run(run())
    assert [batch for _, batch in sink.batches] == [["first", "third"]]


def test_a_loop_that_ends_leaves_nobody_waiting() -> None:
    async def never(parent: str, trades: list[trade_pb.NewTrade]) -> Results:
        await asyncio.Event().wait()
        return []

    async def run() -> None:
        coalescer = AsyncCoalescer(never)
        waiting = asyncio.create_task(coalescer.submit("members/alpha", trade_pb.NewTrade()))
        await asyncio.sleep(0.01)
        for sender in coalescer._senders:
            sender.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())


def test_threads_share_batches_and_none_gets_anothers_result() -> None:
    sink, lock = Sink(), threading.Lock()

    def send(parent: str, trades: list[trade_pb.NewTrade]) -> Results:
        with lock:
            number = sink.begin(parent, trades)
        threading.Event().wait(0.001)
        with lock:
            return sink.end(number, parent)

    coalescer = Coalescer(send)

    def caller(name: int) -> None:
        for number in range(20):
            trade = trade_pb.NewTrade(trade_id=f"{name}/{number}")
            assert coalescer.submit(MEMBERS[name % 2], trade).trade == trade.trade_id

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(caller, range(32)))
    coalescer.close()
    assert sum(len(batch) for _, batch in sink.batches) == 32 * 20
    assert len(sink.batches) < 32 * 20 / 4


def test_a_batch_that_cannot_be_sent_fails_its_callers_and_the_next_goes_out() -> None:
    sink = Sink(frozenset({0}))
    coalescer = Coalescer(lambda parent, trades: sink.end(sink.begin(parent, trades), parent))
    with pytest.raises(Refused):
        coalescer.submit("members/alpha", trade_pb.NewTrade(trade_id="a"))
    assert coalescer.submit("members/alpha", trade_pb.NewTrade(trade_id="b")).trade == "b"
    coalescer.close()


def test_a_house_that_answers_too_few_results_fails_the_whole_batch() -> None:
    coalescer = Coalescer(lambda parent, trades: [])
    with pytest.raises(ValueError, match="shorter"):
        coalescer.submit("members/alpha", trade_pb.NewTrade(trade_id="a"))
    coalescer.close()


def test_a_trade_of_a_group_does_not_travel_alone() -> None:
    coalescer = Coalescer(lambda parent, trades: [])
    with pytest.raises(ValueError, match="submit_trades"):
        coalescer.submit("members/alpha", trade_pb.NewTrade(trade_id="a", group="g"))
    coalescer.close()


def test_a_lane_that_is_empty_starts_again() -> None:
    lane: Lane[asyncio.Future[trade_pb.TradeResult]] = Lane()
    loop = asyncio.new_event_loop()
    place = Place(trade_pb.NewTrade(), loop.create_future())
    assert lane.join(place)
    assert not lane.join(place)
    assert lane.take() == [place, place]
    assert lane.take() == []
    assert lane.join(place)
    loop.close()
