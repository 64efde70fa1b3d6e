"""Values to JSON and back: nothing is lost, no number is written, and what is malformed is refused."""

import json
from dataclasses import is_dataclass, replace
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearing.model.codec import CodecError, decode, encode, from_text, to_text
from clearing.model.commands import Command, RecordRecovery, SubmitTrades
from clearing.model.house import ROW_TYPES, Drop, Put, decode_changes, encode_changes
from clearing.model.ids import DefaultId
from clearing.model.outcomes import Event, Outcome, Reason, Rejected, Result, Status, accepted, refused
from clearing.model.values import Asset, Member, Parameters, Withdrawal
from ledger.entry import Json
from ledger.require import InvariantViolated
from tests.builders import ETHER, PARAMETERS, SETTLEMENT

KINDS: list[type] = sorted(
    {*ROW_TYPES.values(), *get_args(Command), Outcome, Result, Event}, key=lambda kind: kind.__name__
)


def by_name(kind: type) -> str:
    return kind.__name__


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
@given(data=st.data())
@settings(max_examples=20)
def test_decoding_what_was_encoded_gives_the_same_value(kind: type, data: st.DataObject) -> None:
    value = data.draw(st.from_type(kind))
    assert decode(kind, encode(value)) == value
    assert from_text(kind, to_text(value)) == value


@pytest.mark.parametrize("kind", KINDS, ids=by_name)
@given(data=st.data())
@settings(max_examples=10)
def test_the_text_is_ascii_canonical_and_without_numbers(kind: type, data: st.DataObject) -> None:
    text = to_text(data.draw(st.from_type(kind)))
    assert text.isascii()
    parsed = json.loads(text, parse_int=_no_number, parse_float=_no_number, parse_constant=_no_number)
    assert json.dumps(parsed, sort_keys=True, separators=(",", ":")) == text


def _no_number(text: str) -> None:
    pytest.fail(f"a JSON number: {text}")


def test_every_type_that_a_row_or_command_is_made_of_is_met_by_these_tests() -> None:
    """The closure of the field types: only what the codec can encode stands in it."""
    seen: set[Any] = set()
    waiting: list[Any] = list(KINDS)
    while waiting:
        kind = waiting.pop()
        if kind in seen:
            continue
        seen.add(kind)
        if is_dataclass(kind):
            waiting += get_type_hints(kind).values()
        elif isinstance(kind, UnionType) or get_args(kind):
            waiting += [part for part in get_args(kind) if part is not Ellipsis]
        elif hasattr(kind, "__supertype__"):
            waiting.append(kind.__supertype__)
        else:
            assert kind in (int, str, bool, type(None)) or issubclass(kind, Enum), kind


def test_integers_are_decimal_strings_and_enums_their_values() -> None:
    assert encode(SETTLEMENT) == {
        "id": "USDC",
        "decimals": "6",
        "feed": None,
        "tick_value_minor": "0",
        "haircut_bp": "0",
        "issuer": None,
        "concentration_minor": "0",
        "concentration_haircut_bp": "0",
    }
    assert encode(accepted("t1")) == {"key": "t1", "status": "accepted", "reason": "", "detail": ""}
    assert to_text(refused(Rejected(Reason.GATE_SHUT, "ß"))) == (
        '{"detail":"\\u00df","key":"","reason":"GATE_SHUT","status":"refused"}'
    )


@given(number=st.integers() | st.integers(2**53 - 2, 2**127 - 1).flatmap(lambda n: st.sampled_from([n, -n])))
def test_no_digit_of_an_integer_is_lost(number: int) -> None:
    recovery = RecordRecovery(default=DefaultId("d1"), amount_minor=number)
    assert from_text(RecordRecovery, to_text(recovery)) == recovery
    assert f'"{number}"' in to_text(recovery)


@pytest.mark.parametrize("value", [1.5, b"x", {"a": 1}, [1], object()])
def test_what_is_no_value_of_the_model_has_no_encoding(value: object) -> None:
    with pytest.raises(CodecError):
        encode(value)


ASSET: dict[str, Json] = {
    "id": "ETH",
    "decimals": "18",
    "feed": "ETH",
    "tick_value_minor": "1",
    "haircut_bp": "0",
    "issuer": None,
}


def test_the_sound_asset_decodes() -> None:
    assert decode(Asset, {**ASSET}) == replace(ETHER, tick_value_minor=1, haircut_bp=0)


@pytest.mark.parametrize(
    "change",
    [
        {"decimals": 18},
        {"decimals": 18.0},
        {"decimals": True},
        {"decimals": None},
        {"decimals": ""},
        {"decimals": "1e3"},
        {"decimals": "0x10"},
        {"decimals": "18.0"},
        {"decimals": " 18"},
        {"decimals": "18\n"},
        {"decimals": "+18"},
        {"decimals": "-0"},
        {"decimals": "018"},
        {"decimals": "1_8"},
        {"decimals": "١٨"},
        {"decimals": "9" * 5_000},
        {"id": 5},
        {"id": None},
        {"feed": 5},
        {"feed": ["ETH"]},
        {"unknown": "1"},
    ],
    ids=lambda change: str(change)[:30],
)
def test_a_wrong_field_is_refused(change: dict[str, Json]) -> None:
    with pytest.raises(CodecError, match="Asset"):
        decode(Asset, {**ASSET, **change})


@pytest.mark.parametrize("name", ["id", "decimals"])
def test_a_missing_field_is_refused(name: str) -> None:
    with pytest.raises(CodecError, match="Asset"):
        decode(Asset, {key: value for key, value in ASSET.items() if key != name})


def test_a_field_that_rows_gained_later_reads_as_its_default_in_an_old_journal() -> None:
    old = {key: value for key, value in ASSET.items() if key != "haircut_bp"}
    assert decode(Asset, old).haircut_bp == 0


@pytest.mark.parametrize("data", [None, True, "x", [], [["id", "ETH"]]], ids=str)
def test_what_is_no_record_is_refused(data: Json) -> None:
    with pytest.raises(CodecError, match="Asset"):
        decode(Asset, data)


def test_an_enum_takes_its_values_only() -> None:
    held: Json = {"id": "w", "account": "a/b", "asset": "X", "amount_minor": "1", "state": "HELD"}
    with pytest.raises(CodecError, match="Withdrawal"):
        decode(Withdrawal, held)


def test_a_list_where_a_tuple_belongs_must_be_one() -> None:
    with pytest.raises(CodecError, match="SubmitTrades"):
        decode(SubmitTrades, {"member": "dex", "trades": "none"})
    with pytest.raises(CodecError, match="SubmitTrades"):
        decode(SubmitTrades, {"member": "dex", "trades": {"0": None}})


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "nul", '{"id":"x"}', "NaN", '{"a":1}x', "[" * 100_000], ids=lambda t: t[:12]
)
def test_text_that_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        from_text(Member, text)


def test_a_change_of_state_is_read_back_as_it_was_written() -> None:
    changes = (Put("assets", "ETH", ETHER), Drop("calls", "margin/dex/alice"))
    assert decode_changes(encode_changes(changes)) == changes
    assert encode_changes(()) is None
    assert decode_changes(None) == ()


@pytest.mark.parametrize(
    "fact",
    ["x", {}, [["assets"]], [["assets", "ETH"]], [["nowhere", "k", {}]], [["assets", None, None]], [None]],
    ids=str,
)
def test_a_fact_that_is_no_list_of_changes_stops_the_replay(fact: Json) -> None:
    with pytest.raises((InvariantViolated, CodecError)):
        decode_changes(fact)


def test_the_parameters_survive_with_their_lists() -> None:
    assert from_text(Parameters, to_text(PARAMETERS)) == PARAMETERS


def test_an_outcome_is_accepted_when_every_element_is() -> None:
    good, bad = accepted("a"), Result(key="b", status=Status.REFUSED, reason="GATE_SHUT")
    assert Outcome(results=(good,)).accepted
    assert not Outcome(results=(good, bad)).accepted
