"""Requests become commands, or say everything that is wrong with them at once."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from clearing.model.house import House
from clearing.model.ids import MemberId
from clearing.model.kinds import Kind
from clearing.model.outcomes import (
    Outcome,
    Reason,
    Rejected,
    Result,
    Status,
    accepted,
    event,
    pending,
    refused,
)
from clearing.server.wire import accounts, prices, trades
from clearing.server.wire.violations import RequestInvalid
from clearinghouse.v1 import account_service_pb2, price_service_pb2, trade_service_pb2
from tests.builders import two_traders

TIME = Timestamp(seconds=1_584_000_000, nanos=123_456_789)


@pytest.fixture(scope="module")
def house() -> House:
    return two_traders().state


def new_trade(**changes: object) -> trade_service_pb2.NewTrade:
    good: dict[str, object] = {
        "trade_id": "t-1",
        "instrument": "instruments/BTC-PERP",
        "buyer": "members/dex/accounts/alice",
        "seller": "members/dex/accounts/bob",
        "size": "0.250",
        "price": "8000.5",
        "execute_time": TIME,
    }
    return trade_service_pb2.NewTrade(**(good | changes))  # type: ignore[arg-type]


def batch(*new: trade_service_pb2.NewTrade, **changes: str) -> trade_service_pb2.SubmitTradesRequest:
    good: dict[str, Any] = {"parent": "members/dex", "request_id": "r-1"}
    return trade_service_pb2.SubmitTradesRequest(**(good | changes), trades=new)


def publication(**changes: object) -> price_service_pb2.PublishPricesRequest:
    good: dict[str, object] = {
        "source": "sources/alpha",
        "request_id": "r-1",
        "observe_time": Timestamp(seconds=1_584_000_000),
        "sequence": 7,
        "prices": [price_service_pb2.FeedPrice(feed="feeds/BTC", price="8000.5")],
        "signature": bytes(64),
    }
    return price_service_pb2.PublishPricesRequest(**(good | changes))  # type: ignore[arg-type]


def wrong_fields(error: pytest.ExceptionInfo[RequestInvalid]) -> set[str]:
    return set(error.value.fields)


def test_a_trade_becomes_lots_and_ticks(house: House) -> None:
    command = trades.parse(batch(new_trade()), house)
    (trade,) = command.trades
    assert (command.member, trade.buyer, trade.seller) == ("dex", "dex/alice", "dex/bob")
    assert (trade.instrument, trade.lots, trade.price_ticks) == ("BTC-PERP", 250, 80_005)
    assert trade.executed_ms == 1_584_000_000_123


def test_every_wrong_field_of_a_batch_is_named_at_once(house: House) -> None:
    request = batch(
        new_trade(size="0.0005", price="8000.55"),
        new_trade(buyer="alice", size="1e3"),
        new_trade(trade_id="", instrument="BTC"),
        parent="dex",
        request_id="",
    )
    request.trades[2].ClearField("execute_time")
    with pytest.raises(RequestInvalid) as error:
        trades.parse(request, house)
    assert wrong_fields(error) == {
        *("parent", "request_id", "trades[0].size", "trades[0].price", "trades[1].buyer", "trades[1].size"),
        *("trades[2].trade_id", "trades[2].instrument", "trades[2].execute_time"),
    }


@pytest.mark.parametrize("size", ["0", "0.000", "-1", "NaN", "1e2", "", "1" + "0" * 40, "\uff11"])
def test_a_size_that_is_no_number_above_zero_is_refused(house: House, size: str) -> None:
    with pytest.raises(RequestInvalid) as error:
        trades.parse(batch(new_trade(size=size)), house)
    assert wrong_fields(error) == {"trades[0].size"}


@pytest.mark.parametrize("count", [0, 1_001])
def test_a_batch_has_one_to_a_thousand_trades(house: House, count: int) -> None:
    assert len(trades.parse(batch(*[new_trade()] * 1_000), house).trades) == 1_000
    with pytest.raises(RequestInvalid) as error:
        trades.parse(batch(*[new_trade()] * count), house)
    assert wrong_fields(error) == {"trades"}


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(-1, 0), (253_402_300_800, 0), (2**63 - 1, 0), (-(2**63), 0), (0, -1), (5, -1), (5, 1_000_000_000)],
)
def test_a_time_outside_1970_to_9999_or_malformed_is_refused(house: House, seconds: int, nanos: int) -> None:
    time = Timestamp(seconds=seconds, nanos=nanos)
    with pytest.raises(RequestInvalid) as error:
        trades.parse(batch(new_trade(execute_time=time)), house)
    assert wrong_fields(error) == {"trades[0].execute_time"}


def test_a_trade_in_an_unknown_instrument_is_left_to_the_decider(house: House) -> None:
    command = trades.parse(batch(new_trade(), new_trade(instrument="instruments/DOGE-PERP")), house)
    assert [(trade.lots, trade.price_ticks) for trade in command.trades] == [(250, 80_005), (0, 0)]


def test_results_come_back_by_name_with_reason_and_sentence() -> None:
    rejected = Rejected(Reason.MARGIN_INSUFFICIENT, "equity 1, requirement 2")
    again = Result(key="t-3", status=Status.ACCEPTED, reason=Reason.TRADE_DUPLICATE.name)
    outcome = Outcome(results=(accepted("t-1"), refused(rejected, "t-2"), again, pending("t-4")))
    first, second, third, fourth = trades.answer(MemberId("dex"), outcome).results
    assert (first.trade, first.status) == ("members/dex/trades/t-1", trade_service_pb2.TRADE_STATUS_NOVATED)
    assert (first.reason, first.message) == ("", "")
    assert second.status == trade_service_pb2.TRADE_STATUS_REFUSED
    assert second.reason == "MARGIN_INSUFFICIENT"
    assert second.message.endswith(": equity 1, requirement 2")
    assert (third.status, third.reason) == (trade_service_pb2.TRADE_STATUS_NOVATED, "TRADE_DUPLICATE")
    assert (fourth.status, fourth.reason) == (trade_service_pb2.TRADE_STATUS_WAITING, "")


def test_a_half_carries_the_reference_that_joins_it(house: House) -> None:
    (trade,) = trades.parse(batch(new_trade(trade_ref="deal-1", group="pair")), house).trades
    assert (trade.trade_ref, trade.group) == ("deal-1", "pair")
    with pytest.raises(RequestInvalid) as error:
        trades.parse(batch(new_trade(trade_ref="Deal 1", group="a/b")), house)
    assert wrong_fields(error) == {"trades[0].trade_ref", "trades[0].group"}


def test_prices_become_ticks_of_their_feeds(house: House) -> None:
    command = prices.parse(publication(), house)
    assert (command.source, command.observed_ms, command.sequence) == ("alpha", 1_584_000_000_000, 7)
    assert [(price.feed, price.price_ticks) for price in command.prices] == [("BTC", 80_005)]
    assert command.signature == "00" * 64


def test_every_wrong_field_of_a_publication_is_named_at_once(house: House) -> None:
    request = publication(
        observe_time=TIME,
        sequence=0,
        signature=bytes(63),
        prices=[
            price_service_pb2.FeedPrice(feed="feeds/DOGE", price="1"),
            price_service_pb2.FeedPrice(feed="feeds/BTC", price="8000.55"),
        ],
    )
    with pytest.raises(RequestInvalid) as error:
        prices.parse(request, house)
    assert wrong_fields(error) == {
        *("observe_time", "sequence", "signature", "prices[0].feed", "prices[1].price"),
    }


def test_a_publication_says_whether_a_cycle_ran() -> None:
    ran = Outcome(results=(accepted(),), events=(event(Kind.SNAPSHOT_ACCEPTED, "1"),))
    assert prices.answer(ran).cycle_ran
    assert not prices.answer(Outcome(results=(accepted(),))).cycle_ran


def test_a_link_names_accounts_once_each_and_its_netting_set(house: House) -> None:
    good = account_service_pb2.LinkAccountsRequest(
        parent="members/dex",
        request_id="r",
        participant="participants/pat",
        accounts=["members/dex/accounts/alice", "members/dex/accounts/bob"],
    )
    command = accounts.parse(good)
    assert command.accounts == ("dex/alice", "dex/bob")
    proposed = accounts.answer(command, Outcome(results=(accepted(),)))
    assert proposed.netting_set == "nettingSets/link~pat"
    assert proposed.status == account_service_pb2.LINK_STATUS_PROPOSED
    good.accounts[1] = good.accounts[0]
    with pytest.raises(RequestInvalid) as error:
        accounts.parse(good)
    assert wrong_fields(error) == {"accounts"}
