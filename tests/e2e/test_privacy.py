"""What a caller can learn of others, over every method that reads: nothing, by no answer and by no refusal.

The house is that of ``tests/scenes``, where gamma has secrets that cannot be mistaken. Whoever asks is drawn requests
that name none of them, and what it gets is searched for them. Then it names them: what is gamma's must look like what
is not there.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import grpc
import pytest
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message
from hypothesis import HealthCheck, Phase, given, settings

from clearing import keys as house_keys
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.margin.assess import assess
from clearing.model import units
from clearing.model.ids import member_of
from clearing.server.identity import parse_spiffe
from clearing.server.interceptors import access_of
from clearing_client.connect import channel
from clearing_client.errors import of_call
from ledger.salt import seeded_salts
from ledger.store.connect import open_store
from tests import hostile, scenes
from tests.calling import METHODS, invoker
from tests.inside import served_inside
from tests.serving import CLIENTS, HOUSE, seed

pytestmark = pytest.mark.slow

EACH = 60
READS = [
    method
    for method in METHODS
    if method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    and "member" in {role.value for role in access_of(method).allowed}
]
PREVIEWS = [
    method
    for method in METHODS
    if "validate_only" in method.input_type.fields_by_name
    and "member" in {role.value for role in access_of(method).allowed}
]
ALPHA, BETA, DESK = "member/alpha", "member/beta", "liquidity-provider/beta"
WORDS = ("thea", "rose", "gamma/thin", "gamma/rich", "accounts/thin", "accounts/rich", "~thin", "~rich")
"""Of gamma: participants, accounts and netting sets. They are in names that only gamma may see."""
OF_GAMMA = ("7777777.777777", "3333.333333")
OF_BETA = ("half-2", "deal-2", "accounts/open", "share_bp: 7777", "5555555.555555", "2222.222222")
"""Of beta, for alpha: a half with gamma, a bid, what it backs, a withdrawal."""
OF_ALPHA = ("1111.111111", "alpha/two", "accounts/two", "quinn")
FIGURE_CHARS = 11
"""A figure of gamma counts as unmistakable from this length on."""


@dataclass(frozen=True)
class House:
    """A served house, and what alpha may not see of it."""

    engine: Engine
    channels: dict[str, grpc.Channel]
    in_default: bool

    def secrets(self, who: str) -> set[str]:
        """What ``who`` may not read anywhere."""
        found = {*WORDS, *OF_GAMMA, *(OF_ALPHA if who != ALPHA else OF_BETA)}
        return found | (set() if self.in_default else self.figures())

    def figures(self) -> set[str]:
        """What gamma's accounts hold and require, as far as no other account has the same figure."""
        house = self.engine.view.state
        unit = units.of_settlement(house)
        told: dict[bool, set[str]] = {True: set(), False: set()}
        for key, account in house.accounts.items():
            measured = assess(house, account.netting_set)
            amounts = (
                house.cash(key),
                *(measured.equity_minor, measured.maintenance_minor, measured.requirement_minor),
            )
            told[member_of(key) == "gamma"] |= {unit.render(amount) for amount in amounts}
        return {one for one in told[True] - told[False] if len(one) >= FIGURE_CHARS}


@pytest.fixture(scope="module", params=[False, True], ids=["calm", "in-default"])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("privacy")
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

        engine = stack.enter_context(closing(Engine(database, clock=now_ms, salts=seeded_salts(b"privacy"))))
        scenes.begin(engine, keys, in_default=request.param)
        stopped.append(clock_ms())
        server = stack.enter_context(served_inside(engine, database, keys, engine.now_ms))
        channels = {
            who: stack.enter_context(channel(f"127.0.0.1:{server.port}", keys / "clients" / who))
            for who in CLIENTS
        }
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for rule, known in scenes.names_of(engine.view.state).items():
            patch.setitem(hostile.NAMES, rule, known or hostile.NAMES[rule])
        newest = engine.view.size
        patch.setitem(hostile.NAMES, "entry", tuple(f"entries/{n}" for n in range(newest)))
        patch.setitem(
            hostile.NAMES, "entry_kind", ("DEPOSITED", "TRADE_NOVATED", "HALF_WAITS", "CYCLE_CLOSED")
        )
        patch.setitem(hostile.BY_FIELD, "kinds", ("DEPOSITED", "TRADE_NOVATED", "HALF_WAITS", "BID_PLACED"))
        yield House(engine=engine, channels=channels, in_default=request.param)


def said(connected: grpc.Channel, method: MethodDescriptor, request: Message) -> str:
    """Everything that a call says: its answers, or its status with all details."""
    heard: list[str] = []
    try:
        invoker(connected, method, heard)([request])
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            heard.append(f"{of_call(error)} {error.details()}")
    return "\n".join(heard)


def is_for(method: MethodDescriptor, who: str) -> bool:
    """Whether the caller's role may call the method."""
    return who.partition("/")[0] in {role.value for role in access_of(method).allowed}


@pytest.mark.parametrize(
    ("method", "who"),
    [(method, who) for method in READS for who in (ALPHA, DESK, BETA) if is_for(method, who)],
    ids=lambda one: one if isinstance(one, str) else one.full_name.removeprefix("clearinghouse.v1."),
)
def test_no_answer_has_what_others_may_not_know(house: House, who: str, method: MethodDescriptor) -> None:
    secrets = house.secrets(who)

    @settings(
        max_examples=3 if method.server_streaming else EACH,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(request=hostile.sober(method, house.engine.now_ms()))
    def ask(request: Message) -> None:
        if "after_sequence" in method.input_type.fields_by_name:
            request.after_sequence = 0  # type: ignore[attr-defined]
        heard = said(house.channels[who], method, request)
        found = {one for one in secrets if one in heard}
        assert not found, (found, who, request, heard)

    ask()


TWINS = {
    "members/gamma/accounts/rich": "members/gamma/accounts/none",
    "members/gamma/trades/t1": "members/gamma/trades/t9",
    "nettingSets/gamma~rich": "nettingSets/gamma~none",
    "participants/rose": "participants/none",
    "members/gamma/accounts/rich/withdrawals/w1": "members/gamma/accounts/rich/withdrawals/w9",
    "members/gamma/accounts/rich/cash": "members/gamma/accounts/none/cash",
    "withdrawals/gamma/rich/w1": "withdrawals/gamma/rich/w9",
}
"""What gamma has, and what would be called so if it were there."""
BY_RULE = {
    "account": "members/gamma/accounts/rich",
    "trade": "members/gamma/trades/t1",
    "netting_set": "nettingSets/gamma~rich",
    "participant": "participants/rose",
    "withdrawal": "members/gamma/accounts/rich/withdrawals/w1",
    "ledger_account": "members/gamma/accounts/rich/cash",
}
PROBED = [
    (method, field.name)
    for method in READS + PREVIEWS
    for field in method.input_type.fields
    if hostile.rule_of(field) in BY_RULE
]


OWN_IDS = re.compile(r"\b(rich|rose|none|w1|w9|t1|t9)\b")


def unnamed(heard: str) -> str:
    """The same without what tells the twins apart: errors say again what was named."""
    return OWN_IDS.sub("…", heard)


@pytest.mark.parametrize(
    ("method", "field", "who"),
    [(method, field, who) for method, field in PROBED for who in (ALPHA, DESK) if is_for(method, who)],
    ids=lambda one: one if isinstance(one, str) else one.name,
)
def test_what_is_another_members_looks_like_what_is_not_there(
    house: House, who: str, method: MethodDescriptor, field: str
) -> None:
    described = method.input_type.fields_by_name[field]
    there = BY_RULE[hostile.rule_of(described)]

    @settings(
        max_examples=15,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(request=hostile.sober(method, house.engine.now_ms()))
    def ask(request: Message) -> None:
        if "validate_only" in method.input_type.fields_by_name:
            request.validate_only = True  # type: ignore[attr-defined]
        heard = []
        for name in (there, TWINS[there]):
            if described.is_repeated:
                del getattr(request, field)[:]
                getattr(request, field).append(name)
            else:
                setattr(request, field, name)
            heard.append(unnamed(said(house.channels[who], method, request)))
        assert heard[0] == heard[1], (who, request)

    ask()
