"""What a caller can learn of others, over every method that reads: nothing, by no answer and by no refusal.

The house is that of ``tests/scenes``, where gamma has secrets that cannot be mistaken. Whoever asks is drawn requests
that name none of them, and what it gets is searched for them. Then it names them: what is gamma's must look like what
is not there.

A regulator that was granted the jurisdiction of alpha alone asks all that a regulator may. It learns of others what
alpha does, and of alpha what alpha does.
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
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, Phase, given, settings

from clearing import keys as house_keys
from clearing.engine import Engine
from clearing.main import clock_ms
from clearing.margin.assess import assess
from clearing.model import units
from clearing.model.commands import GrantRegulator, SetJurisdiction
from clearing.model.ids import MemberId, RegulatorId, member_of
from clearing.server.identity import Role, parse_spiffe
from clearing.server.interceptors import access_of
from clearing_client.connect import channel
from clearing_client.errors import of_call
from clearinghouse.v1 import admin_service_pb2 as admin_pb
from clearinghouse.v1 import options_pb2
from clearinghouse.v1.admin_service_pb2_grpc import AdminServiceStub
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
    and access_of(method).allowed & {Role.MEMBER, Role.REGULATOR}
]
PREVIEWS = [
    method
    for method in METHODS
    if "validate_only" in method.input_type.fields_by_name
    and "member" in {role.value for role in access_of(method).allowed}
]
ALPHA, BETA, DESK = "member/alpha", "member/beta", "liquidity-provider/beta"
ZOE = "regulator/zoe"
"""Was granted CH, where alpha is; gamma is in DE, and of beta it is not stated."""
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
        found = {*WORDS, *OF_GAMMA, *(OF_ALPHA if who not in (ALPHA, ZOE) else OF_BETA)}
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
    house_keys.init(keys, HOUSE, [parse_spiffe(f"spiffe://{HOUSE}/{who}") for who in (*CLIENTS, ZOE)])
    seed(directory, keys, parameters=scenes.AUCTIONED)
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    stopped: list[int] = []
    with ExitStack() as stack:
        database = open_store(f"sqlite:///{directory / 'house.db'}")
        stack.callback(database.dispose)

        def now_ms() -> int:
            return stopped[0] if stopped else clock_ms()

        engine = stack.enter_context(closing(Engine(database, clock=now_ms, salts=seeded_salts(b"privacy"))))
        scene = scenes.begin(engine, keys, in_default=request.param)
        for member, country in (("alpha", "CH"), ("gamma", "DE")):
            scene.change(
                f"in-{country.lower()}", SetJurisdiction(member=MemberId(member), jurisdiction=country)
            )
        scene.change("to-zoe", GrantRegulator(regulator=RegulatorId("zoe"), jurisdictions=("CH",)))
        stopped.append(clock_ms())
        server = stack.enter_context(served_inside(engine, database, keys, engine.now_ms))
        channels = {
            who: stack.enter_context(channel(f"127.0.0.1:{server.port}", keys / "clients" / who))
            for who in (*CLIENTS, ZOE)
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
    [(method, who) for method in READS for who in (ALPHA, DESK, BETA, ZOE) if is_for(method, who)],
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
    [(method, field, who) for method, field in PROBED for who in (ALPHA, DESK, ZOE) if is_for(method, who)],
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


# a regulator with a grant -----------------------------------------------------------------------------------

OF_ALPHA_ALONE = {
    "ListBids",  # sealed before everyone but the bidder
    *("ListEvents", "StreamEvents"),  # zoe is told of its grant besides
    *("ListReports", "DownloadReport"),  # the cuts of reports are of one member, which zoe is not
}
ASKED_BY_BOTH = [
    method
    for method in READS
    if {Role.MEMBER, Role.REGULATOR} <= access_of(method).allowed and method.name not in OF_ALPHA_ALONE
]
WHOLE = [method for method in READS if access_of(method).reach == options_pb2.REACH_HOUSE]
OWN_WORDS = re.compile(
    r"(actor|request_id|next_page_token): \"[^\"]*\"\n|(member/alpha|regulator/zoe)|'incident': '[^']*'"
)
"""What differs because who asks is another: whose requests are its own, whose pages they are."""


@pytest.mark.parametrize("method", ASKED_BY_BOTH, ids=lambda one: one.name)
def test_a_regulator_of_alphas_jurisdiction_gets_what_alpha_gets(
    house: House, method: MethodDescriptor
) -> None:
    @settings(
        max_examples=EACH,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(request=hostile.sober(method, house.engine.now_ms()))
    def ask(request: Message) -> None:
        heard = [OWN_WORDS.sub("", said(house.channels[who], method, request)) for who in (ALPHA, ZOE)]
        assert heard[0] == heard[1], request

    ask()


@pytest.mark.parametrize("method", WHOLE, ids=lambda one: one.name)
def test_what_is_about_all_members_together_is_refused(house: House, method: MethodDescriptor) -> None:
    request = GetMessageClass(method.input_type)()
    assert "GRANT_TOO_NARROW" in said(house.channels[ZOE], method, request)
    assert "GRANT_TOO_NARROW" not in said(house.channels["regulator/rita"], method, request)


def test_proposals_about_others_are_not_there(house: House) -> None:
    request = admin_pb.ListProposalsRequest()
    seen, there = (
        {row.name for row in AdminServiceStub(house.channels[who]).ListProposals(request).proposals}
        for who in (ZOE, "regulator/rita")
    )
    assert {"proposals/in-ch", "proposals/to-zoe"} <= seen
    assert {"proposals/in-de", "proposals/gamma", "proposals/one"} <= there - seen
    method = next(one for one in READS if one.name == "GetProposal")
    heard = [
        said(house.channels[ZOE], method, admin_pb.GetProposalRequest(name=f"proposals/{name}"))
        for name in ("in-de", "is-not")
    ]
    assert heard[0].replace("in-de", "is-not") == heard[1]
    assert "PROPOSAL_UNKNOWN" in heard[1]
