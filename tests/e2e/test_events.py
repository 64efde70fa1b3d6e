"""Events over a real connection: each one once, in order, and only to whom it concerns."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from clearing.model.kinds import Kind
from clearing_client.client import new_trade
from clearing_client.connect import channel
from clearing_client.errors import ClearingError, of_call
from clearinghouse.v1 import event_service_pb2 as pb
from clearinghouse.v1 import event_service_pb2_grpc as pb_grpc
from tests import asking
from tests.serving import SOURCES, Served, served_house, serving, signing_key, wait_until

pytestmark = pytest.mark.slow

ALPHA, BETA, RITA, VAULT = "member/alpha", "member/beta", "regulator/rita", "custodian/vault"
ONE, TWO = "members/alpha/accounts/one", "members/alpha/accounts/two"
PUBLIC = {
    *("ASSET_LISTED", "INSTRUMENT_LISTED", "SNAPSHOT_ACCEPTED", "CYCLE_CLOSED", "DAY_ENDED", "ATTESTED"),
}


@contextmanager
def events(served: Served, who: str) -> Iterator[pb_grpc.EventServiceStub]:
    with channel(served.address, served.keys / "clients" / who) as connected:
        yield pb_grpc.EventServiceStub(connected)


def trade(served: Served, count: int = 1) -> None:
    """So many novated trades, each an entry."""
    with served.client(ALPHA) as alpha:
        trades = [
            new_trade("BTC-PERP", buyer=ONE, seller=TWO, size="0.001", price="64000.0") for _ in range(count)
        ]
        for start in range(0, count, 100):
            alpha.submit_trades("members/alpha", trades[start : start + 100])


def listed(stub: pb_grpc.EventServiceStub, **asked: Any) -> list[pb.Event]:
    """All that is there, by pages."""
    found: list[pb.Event] = []
    after = asked.pop("after_sequence", 0)
    while True:
        answer = stub.ListEvents(pb.ListEventsRequest(after_sequence=after, **asked))
        found += answer.events
        after = answer.last_sequence
        if after >= answer.journal_size - 1:
            return found


def streamed(stub: pb_grpc.EventServiceStub, count: int, after: int = 0) -> list[pb.Event]:
    """The first ``count`` events of a stream behind ``after``."""
    stream = stub.StreamEvents(pb.StreamEventsRequest(after_sequence=after), timeout=60)
    found: list[pb.Event] = []
    while len(found) < count:
        message = next(stream)
        if message.HasField("event"):
            found.append(message.event)
    stream.cancel()
    return found


def refusal(stub: pb_grpc.EventServiceStub, request: pb.StreamEventsRequest) -> ClearingError:
    with pytest.raises(grpc.RpcError) as error:
        next(stub.StreamEvents(request, timeout=10))
    return of_call(error.value)


# what is told, and to whom ------------------------------------------------------------------------------


def test_two_members_see_disjoint_private_events_and_the_same_public_ones(served: Served) -> None:
    trade(served)
    with events(served, ALPHA) as alpha, events(served, BETA) as beta:
        own, foreign = listed(alpha), listed(beta)
    private = [{e.sequence for e in found if e.kind not in PUBLIC} for found in (own, foreign)]
    assert all(private)
    assert not private[0] & private[1]
    public = [[e for e in found if e.kind in PUBLIC] for found in (own, foreign)]
    assert public[0] == public[1] != []
    assert "beta" not in str(own)
    assert "alpha" not in str(foreign)


def test_a_trade_tells_what_it_moved_and_its_name(served: Served) -> None:
    trade(served)
    with events(served, ALPHA) as alpha:
        event = listed(alpha, kinds=["TRADE_NOVATED"])[-1]
    assert event.names[0].startswith("members/alpha/trades/")
    positions = {c.account: c.amount for c in event.changes if c.unit == "instruments/BTC-PERP"}
    assert positions == {ONE: "0.001", TWO: "-0.001"}
    fees = [c for c in event.changes if c.unit == "assets/USDC"]
    assert all(c.ledger_account == f"{c.account}/cash" and c.amount.startswith("-") for c in fees)


def test_a_regulator_sees_every_entry_but_the_founding(served: Served) -> None:
    with events(served, RITA) as rita:
        found = listed(rita)
    assert [event.sequence for event in found] == list(range(1, len(found) + 1))
    assert {
        leg.ledger_account.split("/")[1] for e in found for leg in e.changes if "members" in leg.account
    } == {
        *("alpha", "beta"),
    }


def test_a_source_is_told_of_its_own_publications_and_a_custodian_of_custody(served: Served) -> None:
    with events(served, "price-source/s1") as s1, events(served, VAULT) as vault:
        own = [e for e in listed(s1) if e.kind not in PUBLIC]
        kept = [e for e in listed(vault) if e.kind not in PUBLIC]
    assert {e.kind for e in own} == {"SOURCE_REGISTERED", "PRICES_PUBLISHED"}
    assert {name for e in own for name in e.names} == {"sources/s1"}
    assert {e.kind for e in kept} == {"HOUSE_FUNDED", "DEPOSITED"}
    assert {c.ledger_account for e in kept for c in e.changes} == {"custody"}


def test_a_provider_is_told_what_its_member_is_told(served: Served) -> None:
    with events(served, BETA) as beta, events(served, "liquidity-provider/beta") as provider:
        assert listed(beta) == listed(provider)


def test_what_becomes_of_a_link_is_told_to_both_members_for_ever(served: Served) -> None:
    pair = [ONE, "members/beta/accounts/one"]
    with served.client(ALPHA) as alpha, served.client(BETA) as beta:
        asking.link_accounts(alpha, "members/alpha", "participants/pat", pair)
        asking.link_accounts(beta, "members/beta", "participants/pat", pair)
    with events(served, ALPHA) as one, events(served, BETA) as two:
        told = [listed(stub, kinds=["LINK_PROPOSED", "NETTING_SET_LINKED"]) for stub in (one, two)]
    assert [e.sequence for e in told[0]] == [e.sequence for e in told[1]]
    assert [e.kind for e in told[0]] == ["LINK_PROPOSED", "LINK_PROPOSED", "NETTING_SET_LINKED"]
    assert all("nettingSets/link~pat" in e.names for e in told[0] + told[1])
    assert "nettingSets/alpha~one" not in str(told[1]), "what stood alone was alpha's"


def test_a_cycle_is_told_with_its_number(served: Served) -> None:
    with events(served, BETA) as beta:
        closed = listed(beta, kinds=["CYCLE_CLOSED"])[-1]
    assert (closed.facts[0].cycle.number, closed.facts[0].cycle.closed) == (1, True)
    assert not closed.changes


# order, pages and resuming ------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [ALPHA, BETA, RITA])
def test_whoever_comes_late_gets_the_same_events_as_who_was_there(served: Served, who: str) -> None:
    with events(served, who) as stub:
        before = len(listed(stub))
        there: list[pb.Event] = []
        stream = stub.StreamEvents(pb.StreamEventsRequest(after_sequence=0), timeout=60)
        reader = threading.Thread(
            target=lambda: there.extend(m.event for m in _until_cancelled(stream) if m.HasField("event"))
        )
        reader.start()
        trade(served, 5)
        expected = before + (0 if who == BETA else 5)
        wait_until(lambda: len(there) >= expected)
        stream.cancel()
        reader.join()
        late = listed(stub)
        assert there[:expected] == late[:expected] == streamed(stub, expected)
        assert listed(stub, page_size=3) == late


def _until_cancelled(stream: Any) -> Iterator[pb.StreamEventsResponse]:
    with contextlib.suppress(grpc.RpcError):
        yield from stream


def test_resuming_behind_any_event_gives_the_rest_once(served: Served) -> None:
    with events(served, ALPHA) as alpha:
        everything = listed(alpha)
        for at in range(0, len(everything) - 1, 4):
            rest = streamed(alpha, len(everything) - at - 1, after=everything[at].sequence)
            assert rest == everything[at + 1 :]


def test_from_now_on_means_what_comes(served: Served) -> None:
    with events(served, ALPHA) as alpha:
        stream = alpha.StreamEvents(pb.StreamEventsRequest(), timeout=30)
        begins = next(stream).heartbeat.sequence
        trade(served)
        event = next(m.event for m in stream if m.HasField("event"))
        stream.cancel()
    assert event.sequence == begins + 1
    assert event.kind == "TRADE_NOVATED"


def test_a_house_that_is_killed_loses_no_event_and_tells_none_twice(tmp_path: Path) -> None:
    with served_house(tmp_path) as first, events(first, ALPHA) as alpha:
        trade(first, 3)
        stream = alpha.StreamEvents(pb.StreamEventsRequest(after_sequence=0), timeout=30)
        seen = [m.event for m in (next(stream) for _ in range(8)) if m.HasField("event")]
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        seen += [m.event for m in _until_cancelled(stream) if m.HasField("event")]
    with serving(tmp_path) as second, events(second, ALPHA) as alpha:
        trade(second, 2)
        everything = listed(alpha)
        rest = len(everything) - len(seen)
        assert seen + streamed(alpha, rest, after=seen[-1].sequence) == everything
        sequences = [event.sequence for event in everything]
        assert sequences == sorted(set(sequences))


# behaviour ----------------------------------------------------------------------------------------------


def test_a_quiet_stream_says_where_it_stands(served: Served) -> None:
    with events(served, BETA) as beta:
        asked = pb.StreamEventsRequest(heartbeat_interval=Duration(seconds=1))
        stream = beta.StreamEvents(asked, timeout=30)
        begins = next(stream).heartbeat.sequence
        trade(served, 3)
        quiet = next(stream).heartbeat.sequence
        stream.cancel()
    assert quiet == begins + 3, "what does not concern beta was looked at"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"after_sequence": -1}, "after_sequence"),
        ({"kinds": ["NO_SUCH_KIND"]}, "kinds[0]"),
        ({"kinds": ["lower"]}, "kinds[0]"),
        ({"kinds": ["CALL_ISSUED"] * 101}, "kinds"),
        ({"heartbeat_interval": Duration(nanos=1)}, "heartbeat_interval"),
        ({"heartbeat_interval": Duration(seconds=61)}, "heartbeat_interval"),
    ],
)
def test_a_field_that_is_wrong_is_named(served: Served, asked: dict[str, Any], field: str) -> None:
    with events(served, ALPHA) as alpha:
        error = refusal(alpha, pb.StreamEventsRequest(**asked))
    assert error.violations[0].field == field


def test_a_client_that_is_ahead_of_the_journal_is_told_so(served: Served) -> None:
    with events(served, ALPHA) as alpha:
        size = served.journal_size()
        error = refusal(alpha, pb.StreamEventsRequest(after_sequence=size))
        assert (error.code, error.reason) == (grpc.StatusCode.OUT_OF_RANGE, "SEQUENCE_AHEAD")
        with pytest.raises(grpc.RpcError) as unary:
            alpha.ListEvents(pb.ListEventsRequest(after_sequence=size))
        assert of_call(unary.value).reason == "SEQUENCE_AHEAD"
        newest = alpha.ListEvents(pb.ListEventsRequest(after_sequence=size - 1))
        assert (list(newest.events), newest.last_sequence) == ([], size - 1)


def test_every_kind_can_be_asked_for(served: Served) -> None:
    with events(served, ALPHA) as alpha:
        kinds = [kind.name for kind in Kind]
        halves = listed(alpha, kinds=kinds[:60]) + listed(alpha, kinds=kinds[60:])
        assert sorted(e.sequence for e in halves) == [e.sequence for e in listed(alpha)]
        assert {e.kind for e in listed(alpha, kinds=["DEPOSITED"])} == {"DEPOSITED"}


def test_a_slow_reader_holds_up_nobody_and_loses_nothing(served: Served) -> None:
    with events(served, ALPHA) as slow, events(served, ALPHA) as quick:
        start = served.journal_size() - 1
        dawdling = slow.StreamEvents(pb.StreamEventsRequest(after_sequence=start), timeout=120)
        next(dawdling)
        trade(served, 500)
        began = time.monotonic()
        assert len(streamed(quick, 500, after=start)) == 500
        assert time.monotonic() - began < 30
        found = [m.event.sequence for m in (next(dawdling) for _ in range(500)) if m.HasField("event")]
        assert found == list(range(start + 1, start + 1 + len(found)))
        assert len(found) >= 499
        dawdling.cancel()


def _cpu_s(served: Served) -> float:
    fields = Path(f"/proc/{served.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_two_hundred_idle_streams_cost_next_to_nothing_and_all_wake_up(served: Served) -> None:
    with events(served, ALPHA) as alpha, events(served, BETA) as beta:
        asked = pb.StreamEventsRequest(kinds=["TRADE_NOVATED"], heartbeat_interval=Duration(seconds=60))
        streams = [stub.StreamEvents(asked, timeout=120) for stub in (alpha, beta) for _ in range(100)]
        for stream in streams:
            assert next(stream).HasField("heartbeat")
        before = _cpu_s(served)
        time.sleep(2)
        assert _cpu_s(served) - before < 0.8
        trade(served)
        assert {next(stream).event.kind for stream in streams[:100]} == {"TRADE_NOVATED"}
        for stream in streams:
            stream.cancel()


def test_a_house_that_is_stopped_ends_its_streams_and_says_why(tmp_path: Path) -> None:
    with served_house(tmp_path) as running, events(running, ALPHA) as alpha:
        stream = alpha.StreamEvents(pb.StreamEventsRequest(), timeout=30)
        next(stream)
        running.process.send_signal(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as error:
            next(stream)
        ended = of_call(error.value)
        assert (ended.code, ended.reason) == (grpc.StatusCode.UNAVAILABLE, "HOUSE_STOPPING")
        assert running.process.wait(timeout=20) == 0


def test_prices_are_told_to_their_source_while_it_listens(served: Served) -> None:
    with events(served, "price-source/s1") as s1, served.client("price-source/s1") as client:
        stream = s1.StreamEvents(pb.StreamEventsRequest(), timeout=30)
        next(stream)
        key = signing_key(served.keys, SOURCES[0])
        client.publish_prices("sources/s1", {"feeds/BTC": "64000.0"}, key=key, sequence=7)
        event = next(m.event for m in stream if m.HasField("event"))
        stream.cancel()
    assert (event.kind, list(event.names)) == ("PRICES_PUBLISHED", ["sources/s1"])
