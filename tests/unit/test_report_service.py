"""``ReportService`` beside its house: whose turn it is, and what a caller may still see when it downloads."""

import io
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from clearing.model.ids import MemberId
from clearing.model.values import Form, Given, ReportAsked
from clearing.reporting import Made, Reporting
from clearing.server import reports as service
from clearing.server.errors import Fault, Refused
from clearing.server.identity import Identity, Role
from clearing.server.wire import names
from clearing.spool import Download, Spooled
from clearinghouse.v1 import report_service_pb2 as pb

ALPHA = Identity(house="test", role=Role.MEMBER, id="alpha")
RITA = Identity(house="test", role=Role.REGULATOR, id="rita")
OF_BETA = ReportAsked(
    report="statement",
    as_of=1,
    form=Form.JSON,
    given=(Given(key="ledger_account", text="members/beta/pool"), Given(key="unit", text="USDC")),
    members=None,
)
OF_ALL = ReportAsked(report="backtest-definition", as_of=1, form=Form.JSON, given=(), members=None)


@dataclass
class Slow:
    """Makes reports until it is let go, and says how many it makes."""

    let_go: threading.Event = field(default_factory=threading.Event)
    begun: "threading.Semaphore" = field(default_factory=lambda: threading.Semaphore(0))
    times: int = 0

    def make(self, asked: ReportAsked, who: str) -> Generator[int, None, Made]:
        self.times += 1
        self.begun.release()
        self.let_go.wait(10)
        yield 1
        return Made(Download(Spooled(Path("x"), 1, "00"), io.BytesIO(b"x")), "x", "", b"")


@dataclass
class Desk:
    """The service, and whoever calls it."""

    slow: Slow
    serving: service.Reports

    def download(self, caller: Identity, *, is_active: bool = True) -> list[pb.DownloadReportResponse]:
        context = cast(grpc.ServicerContext, SimpleNamespace(caller=caller, is_active=lambda: is_active))
        return list(
            self.serving.DownloadReport(pb.DownloadReportRequest(name="reports/statement/pulls/one"), context)
        )


@pytest.fixture
def asked() -> list[ReportAsked]:
    return [OF_ALL]


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, asked: list[ReportAsked]) -> Desk:
    books: Any = SimpleNamespace(database=None, past=SimpleNamespace(reached=lambda size, context: None))
    monkeypatch.setattr(service, "require_valid", lambda request: None)
    monkeypatch.setattr(service, "caller_of", lambda context: context.caller)
    monkeypatch.setattr(service, "pulled", lambda database, request_id: asked[0])
    monkeypatch.setattr(names, "of_pull", lambda name: (asked[0].report, "one"))
    slow = Slow()
    return Desk(slow, service.Reports(cast(Any, None), books, cast(Reporting, slow)))


def test_a_caller_who_asks_for_many_keeps_none_from_others(desk: Desk) -> None:
    threads = [threading.Thread(target=desk.download, args=(ALPHA,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert desk.slow.begun.acquire(timeout=10)
    assert not desk.slow.begun.acquire(timeout=0.1), "one of them at a time"
    other = threading.Thread(target=desk.download, args=(RITA,))
    other.start()
    assert desk.slow.begun.acquire(timeout=10), "another caller does not wait for it"
    desk.slow.let_go.set()
    for thread in (*threads, other):
        thread.join(10)
    assert desk.slow.times == 5


def test_nothing_is_made_for_who_is_gone_when_its_turn_comes(desk: Desk) -> None:
    assert desk.download(ALPHA, is_active=False) == []
    assert desk.slow.times == 0


@pytest.mark.parametrize("report", ["statement", "liability-proof"])
def test_an_account_is_not_downloaded_by_who_may_not_see_it_any_more(
    desk: Desk, asked: list[ReportAsked], report: str
) -> None:
    asked[0] = (
        OF_BETA
        if report == "statement"
        else ReportAsked(report=report, as_of=1, form=Form.FILE, given=OF_BETA.given[:1], members=None)
    )
    desk.slow.let_go.set()
    narrowed = Identity(house="test", role=Role.REGULATOR, id="rita", granted=frozenset({MemberId("alpha")}))
    with pytest.raises(Refused) as refused:
        desk.download(narrowed)
    assert refused.value.reason == Fault.NOT_YOURS.name
    assert len(desk.download(RITA)) == 2
