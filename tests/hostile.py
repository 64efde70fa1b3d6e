"""Requests that nobody in his right mind sends, drawn from the descriptors of the interface.

Each field gets, more often than not, something that its rule allows and that the served house knows, so that
requests come past the first checks; else what breaks parsers: empty and endless texts, other scripts, numbers that
are none, the ends of every range.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from buf.validate import validate_pb2
from clearing.model import units
from clearing.server.wire import parameters
from tests.builders import PARAMETERS, SETTLEMENT

DEPTH_MAX = 4
ELEMENTS_MAX = 4
TIMESTAMP = "google.protobuf.Timestamp"

NAMES = {
    "member": ("members/alpha", "members/beta", "members/nobody"),
    "account": (
        "members/alpha/accounts/one",
        "members/alpha/accounts/two",
        "members/alpha/accounts/house",
        "members/beta/accounts/one",
        "members/beta/accounts/none",
    ),
    "trade": ("members/alpha/trades/t1", "members/beta/trades/t1"),
    "participant": ("participants/pat", "participants/quinn", "participants/nobody"),
    "netting_set": ("nettingSets/alpha~one", "nettingSets/beta~one", "nettingSets/link~pat"),
    "instrument": ("instruments/BTC-PERP", "instruments/ETH-PERP", "instruments/NONE"),
    "asset": ("assets/USDC", "assets/ETH", "assets/NONE"),
    "feed": ("feeds/BTC", "feeds/ETH", "feeds/NONE"),
    "source": ("sources/s1", "sources/s2", "sources/nobody"),
    "regulator": ("regulators/zoe", "regulators/nobody"),
    "default_name": ("defaults/d1", "defaults/d2"),
    "attestation": ("attestations/latest", "attestations/1", "attestations/99"),
    "trade_id": ("t1", "t2", "t3"),
    "proposal": tuple(f"proposals/{own}" for own in ("one", "two", "fee", "three", "four", "five")),
    "new_id": ("testhouse", "one", "two", "fee", "w1", "w2", *(f"x{number}" for number in range(1, 25))),
    "auction": ("auctions/a1", "auctions/a99"),
    "porting": (f"portings/{'0' * 32}",),
    "reason": ("a reason that is one", "another"),
    "withdrawal": (
        "members/alpha/accounts/one/withdrawals/w1",
        "members/alpha/accounts/two/withdrawals/w2",
        "members/beta/accounts/one/withdrawals/w1",
        "members/beta/accounts/one/withdrawals/x1",
    ),
    "custody_reference": ("wire-1", "wire-2", "wire-3", "tx:0/1"),
    "entry": ("entries/0", "entries/3", "entries/20", "entries/999999"),
    "report": ("reports/journal", "reports/statement", "reports/trial-balance", "reports/none"),
    "ledger_account": (
        "members/alpha/accounts/one/cash",
        "members/alpha/accounts/two/collateral",
        "members/beta/accounts/one/cash",
        "custody",
        "house/fees",
    ),
    "ledger_unit": ("USDC", "ETH", "BTC-PERP", "NONE"),
    "entry_kind": ("DEPOSITED", "TRADE_NOVATED", "CYCLE_CLOSED", "NONE"),
}
BY_FIELD = {
    "page_token": ("",),
    "trade_ref": ("", "", "deal-1", "deal-2", "deal-3"),
    "group": ("", "", "", "g1"),
    "price": ("64000", "64000", "64100.5", "2000"),
    "size": ("0.001", "0.01", "0.5", "1", "2", "-0.002"),
    "house": ("testhouse",),
    "serial": ("1f", "abc", "dead"),
    "jurisdiction": ("", "CH", "DE"),
    "jurisdictions": ("CH", "DE", "LI"),
    "concentration_limit": ("",),
    "accounts": ("members/alpha/accounts/one", "members/beta/accounts/one"),
    "path": ("tile/0/000", "tile/0/000.p/8", "tile/entries/000"),
}
"""What a sober request has in fields that no rule, or too wide a one, says enough of."""
GOOD_PARAMETERS = parameters.message(PARAMETERS, units.of_asset(SETTLEMENT))
"""Parameters are never drawn whole and sound: half of the time they are these."""
DECIMALS = ("1", "0.001", "2.5", "64000", "64000.5", "2000", "100000", "999999999", "0.000001", "12.50")
HOSTILE_NUMBERS = (
    *(
        "0",
        "-1",
        "-0",
        "+1",
        " 1",
        "1 ",
        "1e5",
        "1E400",
        "NaN",
        "-nan",
        "Infinity",
        "inf",
        "0x10",
        "1_000",
        "1,5",
    ),
    *("\u0661\u0662", "\uff11\uff12", "½", "1" + "0" * 40, "9" * 39, "9" * 400, ".5", "5.", "00"),
    *("0." + "0" * 37 + "1", "0." + "1" * 60),
)
HOSTILE_TEXTS = (
    *("", " ", "\x00", "a\x00b", "\n", "../../etc/passwd", "'; DROP TABLE requests; --", "%s%n", "${jndi:x}"),
    *("members/", "members//accounts/", "members/-", "members/alpha/accounts/one/more", "MEMBERS/ALPHA"),
    *(
        "members/\uff41lpha",
        "\U0001d51e\U0001d529",
        "ß" * 40,
        "\U0001f469\u200d\U0001f467",
        "\u202egnp",
        "\ufeff",
    ),
    *("a" * 33, "a" * 65, "x" * 5_000, "members/" + "m" * 10_000),
)
SPECIAL_INTEGERS = (0, 1, -1, 2, 100, 1_000, 9_999, 10_000, 10_001, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


@dataclass(frozen=True)
class Mood:
    """How requests are drawn: most of them around ``now_ms``, and sober ones from what rules allow alone."""

    now_ms: int
    is_sober: bool


def requests(method: MethodDescriptor, now_ms: int) -> SearchStrategy[Message]:
    """Requests of ``method``, half of them sober, so that they get deep."""
    wild = _messages(method.input_type, Mood(now_ms, is_sober=False), DEPTH_MAX)
    return st.one_of(wild, sober(method, now_ms))


def sober(method: MethodDescriptor, now_ms: int) -> SearchStrategy[Message]:
    """Requests of ``method`` that its rules allow."""
    return _messages(method.input_type, Mood(now_ms, is_sober=True), DEPTH_MAX)


def rule_of(field: FieldDescriptor) -> str:
    """The name of the rule of ours that a string field must keep, empty if there is none."""
    rules = field.GetOptions().Extensions[validate_pb2.field]
    strings = (rules.repeated.items if field.is_repeated else rules).string
    return next(
        (extension.name for extension, on in strings.ListFields() if extension.is_extension and on), ""
    )


@st.composite
def _messages(
    draw: Callable[[SearchStrategy[Any]], Any], described: Descriptor, mood: Mood, depth: int
) -> Message:
    if described.full_name == TIMESTAMP:
        return _timestamp(draw, mood)
    message: Message = GetMessageClass(described)()
    if described is GOOD_PARAMETERS.DESCRIPTOR and draw(st.booleans()):
        message.CopyFrom(GOOD_PARAMETERS)
        return message
    chosen = {oneof.name: draw(st.sampled_from([f.name for f in oneof.fields])) for oneof in described.oneofs}
    for field in described.fields:
        other = field.containing_oneof is not None and chosen[field.containing_oneof.name] != field.name
        if other or (not mood.is_sober and draw(st.integers(0, 15)) == 0):
            continue
        _fill(draw, message, field, mood, depth)
    return message


def _timestamp(draw: Callable[[SearchStrategy[Any]], Any], mood: Mood) -> Message:
    message = Timestamp()
    if mood.is_sober or draw(st.integers(0, 4)):
        at_ms = mood.now_ms + draw(st.sampled_from((0, 0, 0, -1_000, -3_600_000, 1_000, 90_000_000)))
        message.seconds, message.nanos = at_ms // 1_000, at_ms % 1_000 * 1_000_000
    else:
        message.seconds = draw(st.integers(*_INTEGERS[FieldDescriptor.CPPTYPE_INT64]))
        message.nanos = draw(st.integers(*_INTEGERS[FieldDescriptor.CPPTYPE_INT32]))
    return message


def _fill(
    draw: Callable[[SearchStrategy[Any]], Any],
    message: Message,
    field: FieldDescriptor,
    mood: Mood,
    depth: int,
) -> None:
    if field.message_type is not None and not depth:
        return
    values = _values(field, mood, depth)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return
    if field.is_repeated:
        found = draw(st.lists(values, min_size=int(mood.is_sober), max_size=ELEMENTS_MAX))
        getattr(message, field.name).extend(found)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(draw(values))
    else:
        setattr(message, field.name, draw(values))


def _values(field: FieldDescriptor, mood: Mood, depth: int) -> SearchStrategy[Any]:
    if field.message_type is not None:
        return _messages(field.message_type, mood, depth - 1)
    if field.enum_type is not None:
        return _enums(field.enum_type, mood)
    if field.cpp_type in _INTEGERS:
        low, high = _INTEGERS[field.cpp_type]
        if mood.is_sober:
            return st.sampled_from((1,)) if field.name == "base_version" else st.integers(0, 20)
        special = [number for number in SPECIAL_INTEGERS if low <= number <= high]
        return st.one_of(st.integers(max(low, 0), 200), st.sampled_from(special), st.integers(low, high))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.type == FieldDescriptor.TYPE_BYTES:
        length = field.GetOptions().Extensions[validate_pb2.field].bytes.len
        if mood.is_sober and length:
            return st.binary(min_size=length, max_size=length)
        return st.one_of(st.binary(max_size=80), st.just(b"\xff" * 5_000))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _sober_texts(field) if mood.is_sober else _texts(rule_of(field))
    return st.sampled_from((0.0, -0.0, float("nan"), float("inf"), 1e308))


def _enums(described: EnumDescriptor, mood: Mood) -> SearchStrategy[int]:
    known = [value.number for value in described.values]
    return st.sampled_from(known[1:] if mood.is_sober else [*known, 99, -1])


def _sober_texts(field: FieldDescriptor) -> SearchStrategy[str]:
    """What the field's rule allows."""
    rule, allowed = rule_of(field), getattr(field.GetOptions().Extensions[validate_pb2.field].string, "in")
    if rule == "request_id":
        return st.uuids().map(str)
    if field.name in BY_FIELD:
        return st.sampled_from(BY_FIELD[field.name])
    if rule in ("decimal", "positive_decimal", "amount"):
        return st.sampled_from(DECIMALS)
    return st.sampled_from(tuple(allowed) or _known(rule))


def _texts(rule: str) -> SearchStrategy[str]:
    """Mostly what the rule allows."""
    wild = st.one_of(st.sampled_from(HOSTILE_TEXTS), st.text(max_size=40))
    if rule == "request_id":
        return st.one_of(st.uuids().map(str), st.uuids().map(str), st.uuids().map(str), wild)
    if rule in ("decimal", "positive_decimal", "amount"):
        good = st.sampled_from(DECIMALS)
        return st.one_of(
            good, good, st.decimals(0, 10**6, places=3).map(str), st.sampled_from(HOSTILE_NUMBERS), wild
        )
    known = st.sampled_from(_known(rule))
    return st.one_of(
        known, known, known, st.sampled_from(tuple(name for names in NAMES.values() for name in names)), wild
    )


def _known(rule: str) -> tuple[str, ...]:
    if rule.endswith("_or_all"):
        return (*_known(rule.removesuffix("_or_all")), "members/-")
    return NAMES.get(rule) or ("one", "two", "fee", "a reason that is one", "*", "t1")
