"""A house on a disk, with keys for its members, and a server of its own over it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.core_house import HELD, LISTED, MEMBERS, NAME, PRICE_TICKS, bench_house, books, clients
from bench.run import clock_ms
from bench.stores import Store
from clearing import keys as house_keys
from clearing.model import decimal
from clearing.model.commands import NewTrade, SubmitTrades
from clearing.model.ids import AccountKey, InstrumentId, MemberId
from clearing.server.identity import Identity, Role
from clearing.server.wire import names, times
from clearinghouse.v1 import trade_service_pb2 as pb

SETS = 1_000
START_S = 60
RSS = "VmRSS:"


@dataclass(frozen=True, slots=True)
class Books:
    """Who holds what, by member and instrument: accounts trade what they hold."""

    holders: dict[tuple[MemberId, InstrumentId], list[AccountKey]]

    def trades(self, member: MemberId, count: int, name: str, dice: Random) -> SubmitTrades:
        """A batch of ``count`` trades between clients of a member, at the mark."""
        traded = [i for i in LISTED if len(self.holders.get((member, i), ())) > 1]
        new = []
        for number in range(count):
            instrument = dice.choice(traded)
            buyer, seller = dice.sample(self.holders[member, instrument], 2)
            new.append(
                NewTrade(
                    trade_id=f"{name}-{number}",
                    instrument=instrument,
                    buyer=buyer,
                    seller=seller,
                    lots=dice.randint(1, 20),
                    price_ticks=PRICE_TICKS + dice.randint(-50, 50),
                    executed_ms=clock_ms(),
                )
            )
        return SubmitTrades(member=member, trades=tuple(new))


def build(store: Store, keys: Path) -> Books:
    """Found a house in ``store`` with 1,000 clients that hold positions, and issue certificates for its members."""
    callers = [Identity(house=NAME, role=Role.MEMBER, id=member) for member in MEMBERS]
    house_keys.init(keys, NAME, callers)
    dice = Random(7)
    with bench_house(store, start_ms=clock_ms() - 60_000) as house:
        accounts, lines = clients(SETS)
        house.build(lines)
        house.now_ms = (
            clock_ms() - 2_000
        )  # publishing moves it on by a second, and it must not be ahead of a served house
        house.do(house.publish(10_000))
        house.build(books(accounts, HELD, dice))
        holders: dict[tuple[MemberId, InstrumentId], list[AccountKey]] = {}
        for key in accounts:
            for instrument in sorted(house.state.positions(key)):
                holders.setdefault((MemberId(key.split("/")[0]), instrument), []).append(key)
    return Books(holders)


def request_of(command: SubmitTrades, request_id: str) -> pb.SubmitTradesRequest:
    """The same trades as a member sends them."""
    return pb.SubmitTradesRequest(
        parent=names.member(command.member),
        request_id=request_id,
        trades=[
            pb.NewTrade(
                trade_id=trade.trade_id,
                instrument=names.instrument(trade.instrument),
                buyer=names.account(trade.buyer),
                seller=names.account(trade.seller),
                size=decimal.render(trade.lots, 3),
                price=decimal.render(trade.price_ticks, 1),
                execute_time=times.from_ms(trade.executed_ms),
            )
            for trade in command.trades
        ],
    )


@dataclass(frozen=True, slots=True)
class Serving:
    """A server and where it listens."""

    address: str
    process: "subprocess.Popen[str]"

    def rss_bytes(self) -> int:
        """What it has in memory now."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(RSS))


@contextmanager
def serving(what: str, store: Store, keys: Path) -> Iterator[Serving]:
    """``bench.grpc_serve`` in a process of its own, until the block is left."""
    folder = keys.parent
    options = [] if what == "bare" else _options(store, keys)
    with (folder / "serve.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.grpc_serve", what, *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ
            | {"CLEARING_RATE_SCALE": "1000", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
    try:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError((folder / "serve.log").read_text(encoding="utf-8"))
        yield Serving(line.split()[3].rstrip(","), process)
    finally:
        process.terminate()
        process.wait(timeout=START_S)


def _options(store: Store, keys: Path) -> list[str]:
    options = ["serve", "--database", store.url, "--keys", str(keys), "--listen", "127.0.0.1:0"]
    if store.kind == "sqlite":
        return options
    return [*options, "--anchor", str(keys.parent / "anchor"), "--tiles-dir", str(keys.parent / "tiles")]
