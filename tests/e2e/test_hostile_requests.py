"""Drawn requests of every method, sent over mTLS: none ends in INTERNAL, none changes what it was not accepted for.

The house runs in this process, so that its state can be looked at between two calls; its clock stands still, so
that nothing becomes due by itself. It is asked twice: with much begun, and with a member in default besides
(``tests/scenes``).
``make fuzz N=200000`` draws more than the suite does; into the file FUZZ_COUNTS goes how many were accepted.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clearing import keys as house_keys
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.server.identity import parse_spiffe
from clearing.server.interceptors import access_of
from clearing_client.connect import channel
from ledger.salt import seeded_salts
from ledger.store.connect import open_store
from tests import scenes
from tests.calling import METHODS, invoker, only_looks
from tests.hostile import NAMES, requests
from tests.inside import served_inside
from tests.serving import CLIENTS, HOUSE, seed

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "20000"))
EACH = -(-REQUESTS // (2 * len(METHODS)))
BUSY_FIRST = sorted(METHODS, key=lambda method: method.containing_service.name == "AdminService")
"""Administrators last: what they are let do ends much of what the others ask about."""
BATCHES_MAX = 3
BROKEN = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}


def name_of(method: MethodDescriptor) -> str:
    """How a method is called here."""
    return method.full_name.removeprefix("clearinghouse.v1.")


@dataclass(frozen=True)
class Inside:
    """A served house and what it has decided."""

    engine: Engine
    channels: dict[str, grpc.Channel]
    accepted: Counter[str]

    def root(self) -> bytes:
        """The root of its journal."""
        return self.engine.view.frontier.root()


@pytest.fixture(scope="module", params=[False, True], ids=["calm", "in-default"])
def inside(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    directory = tmp_path_factory.mktemp("hostile")
    keys, file = directory / "keys", directory / "house.db"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(directory, keys, parameters=scenes.AUCTIONED)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    stopped: list[int] = []
    with ExitStack() as stack:
        database = open_store(f"sqlite:///{file}")
        stack.callback(database.dispose)
        engine = stack.enter_context(
            closing(
                Engine(
                    database,
                    clock=lambda: stopped[0] if stopped else clock_ms(),
                    salts=seeded_salts(b"hostile"),
                )
            )
        )
        scenes.begin(engine, keys, in_default=request.param)
        stopped.append(clock_ms())
        server = stack.enter_context(served_inside(engine, database, keys, engine.now_ms))
        channels = {
            who: stack.enter_context(channel(f"127.0.0.1:{server.port}", keys / "clients" / who))
            for who in CLIENTS
        }
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for rule, names in scenes.names_of(engine.view.state).items():
            patch.setitem(NAMES, rule, (*names, *NAMES[rule]))
        accepted: Counter[str] = Counter()
        yield Inside(engine=engine, channels=channels, accepted=accepted)
        if "FUZZ_COUNTS" in os.environ:
            with Path(os.environ["FUZZ_COUNTS"]).open("a") as counts:
                counts.writelines(f"{n:6} {name}\n" for name, n in sorted(accepted.items()))


@pytest.mark.slow
@pytest.mark.parametrize("method", BUSY_FIRST, ids=name_of)
def test_whatever_is_asked_is_answered_or_refused_and_a_refusal_changes_nothing(
    inside: Inside, method: MethodDescriptor
) -> None:
    allowed = {role.value for role in access_of(method).allowed}
    callers = [who for who in CLIENTS if who.split("/")[0] in allowed] or list(CLIENTS)
    invoke = {who: invoker(inside.channels[who], method) for who in CLIENTS}
    now_ms = inside.engine.now_ms()

    @settings(
        max_examples=EACH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        who=st.one_of(st.sampled_from(callers), st.sampled_from(callers), st.sampled_from(CLIENTS)),
        asked=st.lists(
            requests(method, now_ms), min_size=1, max_size=BATCHES_MAX if method.client_streaming else 1
        ),
    )
    def ask(who: str, asked: list[Message]) -> None:
        before = inside.root()
        try:
            invoke[who](asked)
        except grpc.RpcError as error:
            _require_sound(error, f"{method.full_name} {who} {asked}")
            if len(asked) == 1:  # of a stream, those before the one that is refused were answered
                assert inside.root() == before, (method.full_name, who, asked)
        else:
            inside.accepted[name_of(method)] += 1
            if only_looks(method, asked):
                assert inside.root() == before, (method.full_name, who, asked)
        assert inside.engine.stopped is None, (method.full_name, who, asked)

    ask()
    totals = inside.engine.view.state.book.trial_balance().values()
    assert all(debits == credits for debits, credits in totals)


def _require_sound(error: grpc.RpcError, asked: str) -> None:
    """An error says what it is, and is none of the house's own."""
    assert error.code() not in BROKEN, (error, asked)
    status = rpc_status.from_call(error)
    assert status is not None, (error, asked)
    info, bad = ErrorInfo(), BadRequest()
    assert any(detail.Unpack(info) for detail in status.details), (error, asked)
    assert (bool(info.reason), info.domain) == (True, "clearinghouse"), (error, asked)
    if info.reason == "REQUEST_INVALID":
        assert any(detail.Unpack(bad) for detail in status.details), (error, asked)
        assert bad.field_violations, (error, asked)
