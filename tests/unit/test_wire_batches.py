"""The quick look at a batch agrees with protovalidate, which judges; a batch is read as trade by trade."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from protovalidate import collect_violations

from clearing.server.wire.batches import SECONDS_MAX, TRADES_MAX, surely_sound
from clearinghouse.v1 import trade_service_pb2 as pb

GOOD: dict[str, Any] = {
    "trade_id": "t-1",
    "instrument": "instruments/BTC-PERP",
    "buyer": "members/dex/accounts/alice",
    "seller": "members/dex/accounts/bob",
    "size": "0.250",
    "price": "8000.5",
    "execute_time": Timestamp(seconds=1_584_000_000),
}
TEXTS = ("trade_id", "instrument", "buyer", "seller", "size", "price", "trade_ref", "group")
ODD = (
    *("", "a", "-a", "a-", "A", "a" * 64, "a" * 65, "a\n", "a\nb", "\n", "é", "a b", "٣", "a\x00"),
    *("instruments/A", "instruments/" + "A" * 32, "instruments/" + "A" * 33, "instruments/.", "instruments/"),
    *("members/a/accounts/b", "members/-/accounts/b", "members/a/accounts/" + "b" * 33, "members/a"),
    *("0", "0.0", "1", "00", "01", "1.", ".1", "-1", "+1", "1e3", "0.01", "1,5", "NaN", "1.5\n"),
    *("9" * 39, "9" * 40, "0." + "0" * 37 + "1", "0." + "0" * 38 + "1", "0." + "0" * 38),
)


def batch(*new: pb.NewTrade, **changes: Any) -> pb.SubmitTradesRequest:
    good: dict[str, Any] = {"parent": "members/dex", "request_id": "r-1"}
    return pb.SubmitTradesRequest(**(good | changes), trades=new)


def trade(**changes: Any) -> pb.NewTrade:
    return pb.NewTrade(**(GOOD | changes))


def agree(request: pb.SubmitTradesRequest) -> bool:
    """Whether ``request`` is sound, on which both must agree."""
    judged = not collect_violations(request)
    assert surely_sound(request) is judged, request
    return judged


@pytest.mark.parametrize("field", TEXTS)
def test_every_odd_text_in_every_field_is_judged_alike(field: str) -> None:
    found = {agree(batch(trade(**{field: text}))) for text in ODD}
    assert found == {True, False}


@pytest.mark.parametrize("field", ["parent", "request_id"])
def test_the_fields_of_the_request_are_judged_alike(field: str) -> None:
    odd = (*ODD, "members/dex", "members/" + "a" * 32, "members/" + "a" * 33, "r.1:/_", ".r")
    assert {agree(batch(trade(), **{field: text})) for text in odd} == {True, False}


@given(st.sampled_from(TEXTS), st.text(max_size=50) | st.from_regex("[a-z0-9./-]{0,66}", fullmatch=True))
def test_any_text_in_any_field_is_judged_alike(field: str, text: str) -> None:
    agree(batch(trade(**{field: text})))


@given(st.text(alphabet="0123456789.-", max_size=45))
def test_any_number_is_judged_alike(text: str) -> None:
    agree(batch(trade(size=text)))


@pytest.mark.parametrize("seconds", [-1, 0, SECONDS_MAX, SECONDS_MAX + 1])
def test_the_edges_of_time_are_judged_alike(seconds: int) -> None:
    sound = agree(batch(trade(execute_time=Timestamp(seconds=seconds, nanos=999_999_999))))
    assert sound is (0 <= seconds <= SECONDS_MAX)


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000])
def test_a_time_that_is_none_is_not_surely_sound(nanos: int) -> None:
    """Protovalidate leaves this to the parser, which says what is wrong with it."""
    assert not surely_sound(batch(trade(execute_time=Timestamp(seconds=1, nanos=nanos))))


def test_a_trade_without_its_time_is_judged_alike() -> None:
    assert not agree(batch(trade(execute_time=None)))


@pytest.mark.parametrize(
    ("count", "sound"), [(0, False), (1, True), (TRADES_MAX, True), (TRADES_MAX + 1, False)]
)
def test_the_length_of_a_batch_is_judged_alike(count: int, sound: bool) -> None:
    assert agree(batch(*[trade()] * count)) is sound


def test_one_wrong_trade_among_many_is_found() -> None:
    assert not agree(batch(*[trade()] * 9, trade(size="x"), *[trade()] * 9))
