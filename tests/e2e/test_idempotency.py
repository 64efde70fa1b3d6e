"""The same request gets the same answer, for ever; the same id with another body is refused: every method that changes.

Requests are drawn for each method in the house of ``tests/scenes``, so that many are accepted. Each is sent twice, once
more when everything else has been asked for, and its id with another body.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import grpc
import pytest
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clearing import keys as house_keys
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.server.identity import parse_spiffe
from clearing.server.interceptors import access_of
from clearing_client.connect import channel
from clearing_client.errors import of_call
from ledger.salt import seeded_salts
from ledger.store.connect import open_store
from tests import scenes
from tests.calling import METHODS, invoker
from tests.hostile import NAMES, sober
from tests.inside import served_inside
from tests.serving import CLIENTS, HOUSE, seed

pytestmark = pytest.mark.slow

EACH = 120
MUTATIONS = sorted(
    (method for method in METHODS if "request_id" in method.input_type.fields_by_name),
    key=lambda method: method.containing_service.name == "AdminService",
)
OF_REPORTS = {"REPORT_UNKNOWN", "SEQUENCE_AHEAD", "ATTESTATION_UNKNOWN"}
"""What is not there, or not the caller's to see, is not pulled: nobody looks for the id either."""
NOT_RECORDED = {"REQUEST_INVALID", "NOT_YOURS", "ROLE_NOT_ALLOWED", "IDEMPOTENCY_KEY_REUSED"} | OF_REPORTS
"""Refusals of the interface itself, under which no id is kept (and of an id that was drawn before)."""
ACCEPTED_FOR_SURE = {
    "SubmitTrades",
    "OpenAccount",
    "NotifyDeposit",
    "PlaceBid",
    "SetBreaker",
    "ProposeChange",
}
"""Of these some are accepted, at least while nobody is in default; else the test would show little."""


@dataclass
class House:
    engine: Engine
    channels: dict[str, grpc.Channel]
    in_default: bool
    sent: dict[str, list[tuple[str, MethodDescriptor, Message, str]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def root(self) -> bytes:
        return self.engine.view.frontier.root()

    def said(self, who: str, method: MethodDescriptor, request: Message) -> str:
        """The answer, or why there is none."""
        heard: list[str] = []
        try:
            invoker(self.channels[who], method, heard)([request])
        except grpc.RpcError as error:
            found = of_call(error)
            return f"refused {found.reason} {found}"
        return "answered " + "\n".join(heard)


@pytest.fixture(scope="module", params=[False, True], ids=["calm", "in-default"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("again")
    keys = directory / "keys"
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in CLIENTS])
    seed(directory, keys, parameters=scenes.AUCTIONED)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    stopped: list[int] = []
    with ExitStack() as stack:
        database = open_store(f"sqlite:///{directory / 'house.db'}")
        stack.callback(database.dispose)

        def now_ms() -> int:
            return stopped[0] if stopped else clock_ms()

        engine = stack.enter_context(closing(Engine(database, clock=now_ms, salts=seeded_salts(b"again"))))
        scenes.begin(engine, keys, in_default=request.param)
        stopped.append(clock_ms())
        server = stack.enter_context(served_inside(engine, database, keys, engine.now_ms))
        channels = {
            who: stack.enter_context(channel(f"127.0.0.1:{server.port}", keys / "clients" / who))
            for who in CLIENTS
        }
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for rule, known in scenes.names_of(engine.view.state).items():
            patch.setitem(NAMES, rule, (*known * 3, *NAMES[rule]))
        yield House(engine, channels, in_default=request.param)


def ask_again(house: House, method: MethodDescriptor, who: str, request: Message, other: Message) -> None:
    """Send ``request`` twice, and ``other`` under its id."""
    fields = method.input_type.fields_by_name
    for one in (request, other):
        if "validate_only" in fields:
            one.validate_only = False  # type: ignore[attr-defined]
        # drawn ids come again with each method
        one.request_id = f"{method.name}/{one.request_id}"  # type: ignore[attr-defined]
    first = house.said(who, method, request)
    if any(first.startswith(f"refused {reason} ") for reason in NOT_RECORDED):
        return
    house.sent[method.name].append((who, method, request, first))
    after = house.root()
    assert house.said(who, method, request) == first
    other.request_id = request.request_id  # type: ignore[attr-defined]
    own = access_of(method).own
    if own:
        setattr(other, own, getattr(request, own))
    if other != request:
        refused = house.said(who, method, other)
        # a body that is wrong is refused before anybody looks for its id
        assert refused.split()[0] == "refused"
        assert refused.split()[1] in {"IDEMPOTENCY_KEY_REUSED", "REQUEST_INVALID", "NOT_YOURS"} | OF_REPORTS
    assert house.root() == after


@pytest.mark.parametrize("method", MUTATIONS, ids=lambda method: method.name)
def test_a_request_is_answered_once_and_its_id_stands_for_no_other(
    house: House, method: MethodDescriptor
) -> None:
    allowed = {role.value for role in access_of(method).allowed}
    callers = [who for who in CLIENTS if who.split("/")[0] in allowed]

    @settings(
        max_examples=EACH,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(who=st.sampled_from(callers), request=sober(method, house.engine.now_ms()), other=sober(method, 0))
    def ask(who: str, request: Message, other: Message) -> None:
        ask_again(house, method, who, request, other)

    ask()
    sent = house.sent[method.name]
    assert sent
    if method.name in ACCEPTED_FOR_SURE and not house.in_default:
        assert any(first.startswith("answered") for *_, first in sent), Counter(
            first[:60] for *_, first in sent
        )


def test_at_the_end_each_gets_its_first_answer_again(house: House) -> None:
    """Runs last, when proposals ended, members were suspended and withdrawals were paid since."""
    after = house.root()
    for requests in house.sent.values():
        for who, method, request, first in requests:
            if "CERTIFICATE_REVOKED" not in first:
                assert house.said(who, method, request) == first, (who, method.name, request)
    assert house.root() == after
