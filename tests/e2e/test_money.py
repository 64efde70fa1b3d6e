"""Trades in bulk, money, links, what-if and funding over a real ``clearing serve`` with mTLS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from clearing_client.client import new_id, new_trade
from clearing_client.connect import channel
from clearing_client.errors import of_call
from clearinghouse.v1 import account_service_pb2 as accounts
from clearinghouse.v1 import collateral_service_pb2 as money
from clearinghouse.v1 import margin_service_pb2 as margin
from clearinghouse.v1 import price_service_pb2 as prices
from clearinghouse.v1 import trade_service_pb2 as trades
from clearinghouse.v1.account_service_pb2_grpc import AccountServiceStub
from clearinghouse.v1.collateral_service_pb2_grpc import CollateralServiceStub
from clearinghouse.v1.margin_service_pb2_grpc import MarginServiceStub
from clearinghouse.v1.price_service_pb2_grpc import PriceServiceStub
from clearinghouse.v1.trade_service_pb2_grpc import TradeServiceStub
from tests import asking
from tests.serving import Served, wait_until

pytestmark = pytest.mark.slow

ALPHA, BETA, RITA, ANNA = "member/alpha", "member/beta", "regulator/rita", "administrator/anna"
VAULT = "custodian/vault"
ONE, TWO, BETA_ONE = (
    "members/alpha/accounts/one",
    "members/alpha/accounts/two",
    "members/beta/accounts/one",
)
USDC, ETH = "assets/USDC", "assets/ETH"


@contextmanager
def calling(served: Served, who: str, stub: Callable[[grpc.Channel], Any]) -> Iterator[Any]:
    """A stub that calls as ``who``."""
    with channel(served.address, served.keys / "clients" / who) as connected:
        yield stub(connected)


def reason(call: Callable[..., object], request: Message | Iterator[Message]) -> str:
    """Why ``request`` is refused."""
    with pytest.raises(grpc.RpcError) as error:
        call(request)
    return of_call(error.value).reason


def wrong_fields(call: Callable[..., object], request: Message | Iterator[Message]) -> set[str]:
    """The fields of ``request`` that are wrong."""
    with pytest.raises(grpc.RpcError) as error:
        call(request)
    return {violation.field for violation in of_call(error.value).violations}


def small(**changes: str) -> trades.NewTrade:
    trade = new_trade("BTC-PERP", buyer=ONE, seller=TWO, size="0.001", price="64000.0")
    for name, text in changes.items():
        setattr(trade, name, text)
    return trade


def batch(*new: trades.NewTrade, parent: str = "members/alpha") -> trades.StreamTradesRequest:
    return trades.StreamTradesRequest(parent=parent, request_id=new_id(), trades=new)


# trades -----------------------------------------------------------------------------------------------


def test_a_batch_that_is_only_validated_gets_its_results_and_changes_nothing(served: Served) -> None:
    before = served.journal_size()
    with calling(served, ALPHA, TradeServiceStub) as alpha:
        request = trades.SubmitTradesRequest(
            parent="members/alpha",
            request_id=new_id(),
            trades=[small(), small(price="90000.0")],
            validate_only=True,
        )
        found = [result.reason for result in alpha.SubmitTrades(request).results]
        assert found == ["", "PRICE_OUTSIDE_BAND"]
        assert served.journal_size() == before
        request.validate_only = False
        assert alpha.SubmitTrades(request).results[0].status == trades.TRADE_STATUS_NOVATED


def test_a_stream_of_batches_is_taken_in_order_and_again_without_effect(served: Served) -> None:
    batches = [batch(small(), small()) for _ in range(20)]
    batches[3].trades.append(small(price="90000.0"))
    batches[5].trades.append(batches[4].trades[0])
    before = served.journal_size()
    with calling(served, ALPHA, TradeServiceStub) as alpha:
        answer = alpha.StreamTrades(iter(batches))
        assert answer.batches_taken == 20
        assert [b.request_id for b in answer.batches] == [b.request_id for b in batches]
        assert [b.novated_count for b in answer.batches] == [2] * 5 + [3] + [2] * 14
        assert [r.reason for r in answer.batches[3].results] == ["PRICE_OUTSIDE_BAND"]
        assert (answer.batches[3].refused_count, answer.batches[5].results[0].reason) == (
            1,
            "TRADE_DUPLICATE",
        )
        assert served.journal_size() == before + 40
        assert alpha.StreamTrades(iter(batches)) == answer
        unary = trades.SubmitTradesRequest.FromString(batches[0].SerializeToString())
        assert len(alpha.SubmitTrades(unary).results) == 2, "the same batch, whichever way it comes"
    assert served.journal_size() == before + 40


def test_a_wrong_batch_of_a_stream_is_named_and_those_before_it_stand(served: Served) -> None:
    before = served.journal_size()
    with calling(served, ALPHA, TradeServiceStub) as alpha:
        good, wrong = batch(small()), batch(small(size="x", price="-1"))
        assert wrong_fields(alpha.StreamTrades, iter([good, wrong])) == {
            "batches[1].trades[0].size",
            "batches[1].trades[0].price",
        }
        assert served.journal_size() == before + 1
        foreign = batch(small(), parent="members/beta")
        assert reason(alpha.StreamTrades, iter([batch(small()), foreign])) == "NOT_YOURS"
        reused = batch(small())
        reused.request_id = good.request_id
        assert reason(alpha.StreamTrades, iter([reused])) == "IDEMPOTENCY_KEY_REUSED"
        assert alpha.StreamTrades(iter([])).batches_taken == 0
    assert served.journal_size() == before + 2


def test_a_stream_that_is_cut_off_leaves_what_was_decided_and_is_sent_again(served: Served) -> None:
    batches = [batch(small()) for _ in range(3)]
    before, forever = served.journal_size(), threading.Event()

    def sent() -> Iterator[trades.StreamTradesRequest]:
        yield from batches
        forever.wait()

    with calling(served, ALPHA, TradeServiceStub) as alpha:
        stream = alpha.StreamTrades.future(sent())
        wait_until(lambda: served.journal_size() == before + 3)
        stream.cancel()
        forever.set()
        answer = alpha.StreamTrades(iter(batches))
        assert [found.novated_count for found in answer.batches] == [1, 1, 1]
    assert served.journal_size() == before + 3
    assert "unforeseen" not in (served.directory / "serve.log").read_text()


def test_halves_are_listed_to_both_members_of_the_trade(served: Served) -> None:
    half = small(seller=BETA_ONE, trade_ref="deal-1")
    with (
        calling(served, ALPHA, TradeServiceStub) as alpha,
        calling(served, BETA, TradeServiceStub) as beta,
        calling(served, RITA, TradeServiceStub) as rita,
    ):
        request = trades.SubmitTradesRequest(parent="members/alpha", request_id=new_id(), trades=[half])
        assert alpha.SubmitTrades(request).results[0].status == trades.TRADE_STATUS_WAITING
        for caller, parent in (
            *((alpha, "members/alpha"), (beta, "members/beta")),
            *((alpha, "members/-"), (beta, "members/-"), (rita, "members/-"), (rita, "members/beta")),
        ):
            (found,) = caller.ListHalves(trades.ListHalvesRequest(parent=parent)).halves
            assert (found.trade, found.awaited_member) == (
                f"members/alpha/trades/{half.trade_id}",
                "members/beta",
            )
            assert (found.size, found.price, found.trade_ref) == ("0.001", "64000.0", "deal-1")
        assert reason(alpha.ListHalves, trades.ListHalvesRequest(parent="members/beta")) == "NOT_YOURS"


# money ------------------------------------------------------------------------------------------------


def deposit(**changes: str) -> money.NotifyDepositRequest:
    good: dict[str, Any] = {
        "account": ONE,
        "request_id": new_id(),
        "asset": USDC,
        "amount": "2.5",
        "reference": new_id(),
    }
    return money.NotifyDepositRequest(**(good | changes))


def cash(served: Served, account: str = ONE) -> str:
    with served.client(ANNA) as anna:
        return asking.account(anna, account).cash


def test_custody_reports_a_deposit_once(served: Served) -> None:
    before = cash(served)
    with calling(served, VAULT, CollateralServiceStub) as vault:
        preview = deposit()
        preview.validate_only = True
        assert vault.NotifyDeposit(preview).account == ONE
        assert cash(served) == before
        request = deposit()
        assert vault.NotifyDeposit(request) == vault.NotifyDeposit(request)
        assert float(cash(served)) == float(before) + 2.5
        again = deposit(reference=request.reference)
        assert reason(vault.NotifyDeposit, again) == "ALREADY_EXISTS", "one transfer is credited once"
        assert reason(vault.NotifyDeposit, deposit(asset="assets/DOGE")) == "ASSET_UNKNOWN"
        nobody = deposit(account="members/alpha/accounts/nobody")
        assert reason(vault.NotifyDeposit, nobody) == "ACCOUNT_UNKNOWN"
        wrong = deposit(account="x", asset="y", amount="-1", reference="?", request_id="")
        assert wrong_fields(vault.NotifyDeposit, wrong) == {
            *("account", "asset", "amount", "reference", "request_id"),
        }
        assert wrong_fields(vault.NotifyDeposit, deposit(amount="0.0000001")) == {"amount"}
    with calling(served, ALPHA, CollateralServiceStub) as alpha:
        assert reason(alpha.NotifyDeposit, deposit()) == "ROLE_NOT_ALLOWED"


def withdrawal(own_id: str, account: str = TWO, amount: str = "10", asset: str = USDC) -> Any:
    return money.RequestWithdrawalRequest(
        account=account, request_id=new_id(), withdrawal_id=own_id, asset=asset, amount=amount
    )


def test_a_withdrawal_is_held_sent_and_paid(served: Served) -> None:
    before, name = float(cash(served, TWO)), f"{TWO}/withdrawals/w-1"
    with (
        calling(served, ALPHA, CollateralServiceStub) as alpha,
        calling(served, VAULT, CollateralServiceStub) as vault,
    ):
        request = withdrawal("w-1")
        first = alpha.RequestWithdrawal(request)
        assert (first.withdrawal.name, first.withdrawal.amount) == (name, "10.000000")
        assert first.withdrawal.state == money.WITHDRAWAL_STATE_HELD
        assert float(cash(served, TWO)) == before - 10
        send = money.SendWithdrawalRequest(name=name, request_id=new_id())
        assert vault.SendWithdrawal(send).state == money.WITHDRAWAL_STATE_SENT
        settle = money.SettleWithdrawalRequest(name=name, request_id=new_id(), paid=True)
        assert vault.SettleWithdrawal(settle).state == money.WITHDRAWAL_STATE_PAID
        assert alpha.RequestWithdrawal(request) == first, "the first answer again, whatever happened since"
        assert vault.SendWithdrawal(send).state == money.WITHDRAWAL_STATE_SENT
        found = alpha.GetWithdrawal(money.GetWithdrawalRequest(name=name)).withdrawal
        assert found.state == money.WITHDRAWAL_STATE_PAID
        settle = money.SettleWithdrawalRequest(name=name, request_id=new_id(), paid=False)
        assert reason(vault.SettleWithdrawal, settle) == "WITHDRAWAL_SETTLED"


def test_a_withdrawal_that_was_not_paid_goes_back(served: Served) -> None:
    before, name = cash(served, TWO), f"{TWO}/withdrawals/w-2"
    with (
        calling(served, ALPHA, CollateralServiceStub) as alpha,
        calling(served, VAULT, CollateralServiceStub) as vault,
    ):
        preview = withdrawal("w-2")
        preview.validate_only = True
        assert alpha.RequestWithdrawal(preview).withdrawal.name == name
        assert reason(alpha.GetWithdrawal, money.GetWithdrawalRequest(name=name)) == "WITHDRAWAL_UNKNOWN"
        alpha.RequestWithdrawal(withdrawal("w-2"))
        paid = money.SettleWithdrawalRequest(name=name, request_id=new_id(), paid=True)
        assert reason(vault.SettleWithdrawal, paid) == "WITHDRAWAL_NOT_SENT"
        back = money.SettleWithdrawalRequest(name=name, request_id=new_id(), paid=False)
        assert vault.SettleWithdrawal(back).state == money.WITHDRAWAL_STATE_RELEASED
        assert cash(served, TWO) == before


def test_ids_of_withdrawals_of_two_members_never_meet(served: Served) -> None:
    with (
        calling(served, ALPHA, CollateralServiceStub) as alpha,
        calling(served, BETA, CollateralServiceStub) as beta,
        calling(served, VAULT, CollateralServiceStub) as vault,
        calling(served, RITA, CollateralServiceStub) as rita,
    ):
        alpha.RequestWithdrawal(withdrawal("same"))
        alpha.RequestWithdrawal(withdrawal("same", account=ONE))
        beta.RequestWithdrawal(withdrawal("same", account=BETA_ONE))
        assert reason(beta.RequestWithdrawal, withdrawal("same", account=BETA_ONE)) == "ALREADY_EXISTS"
        own, foreign = f"{BETA_ONE}/withdrawals/same", f"{TWO}/withdrawals/same"
        held = money.WITHDRAWAL_STATE_HELD
        assert reason(beta.GetWithdrawal, money.GetWithdrawalRequest(name=foreign)) == "NOT_YOURS"
        listed = beta.ListWithdrawals(money.ListWithdrawalsRequest(parent="members/-", state=held))
        assert [row.name for row in listed.withdrawals] == [own]
        for caller in (vault, rita):
            everything = caller.ListWithdrawals(
                money.ListWithdrawalsRequest(parent="members/-", state=held)
            ).withdrawals
            assert {own, foreign} <= {row.name for row in everything}
            assert caller.GetWithdrawal(money.GetWithdrawalRequest(name=foreign)).withdrawal.state == held
        assert reason(beta.RequestWithdrawal, withdrawal("mine", account=TWO)) == "NOT_YOURS"
        assert reason(beta.SendWithdrawal, money.SendWithdrawalRequest(name=own)) == "ROLE_NOT_ALLOWED"
        wrong = withdrawal("A!", account="x", amount="0", asset="usdc")
        assert wrong_fields(beta.RequestWithdrawal, wrong) == {"account", "withdrawal_id", "amount", "asset"}
        assert reason(beta.RequestWithdrawal, withdrawal("big", BETA_ONE, "99000000")) == "WITHDRAWAL_EXCEEDS"


def test_what_can_be_withdrawn_can_be_and_no_more(served: Served) -> None:
    with calling(served, ALPHA, CollateralServiceStub) as alpha:
        for asset, step in ((ETH, "0.000000000000000001"), (USDC, "0.000001")):
            asked = money.GetWithdrawableRequest(account=TWO, asset=asset)
            amount = alpha.GetWithdrawable(asked).amount
            more = withdrawal("more", amount=_plus(amount, step), asset=asset)
            assert reason(alpha.RequestWithdrawal, more) == "WITHDRAWAL_EXCEEDS"
            most = withdrawal("most", amount=amount, asset=asset)
            most.validate_only = True
            assert alpha.RequestWithdrawal(most).withdrawal.amount == amount
        foreign = money.GetWithdrawableRequest(account=BETA_ONE, asset=USDC)
        assert reason(alpha.GetWithdrawable, foreign) == "NOT_YOURS"
        unknown = money.GetWithdrawableRequest(account=TWO, asset="assets/DOGE")
        assert reason(alpha.GetWithdrawable, unknown) == "ASSET_UNKNOWN"


def _plus(amount: str, step: str) -> str:
    digits = len(step) - 2
    total = str(int(amount.replace(".", "")) + 1).rjust(digits + 1, "0")
    return f"{total[:-digits]}.{total[-digits:]}"


def test_the_pool_and_dues(served: Served) -> None:
    before = served.journal_size()
    with calling(served, ALPHA, CollateralServiceStub) as alpha:
        paid = money.ContributeToPoolRequest(parent="members/alpha", request_id=new_id(), amount="5")
        alpha.ContributeToPool(paid)
        alpha.ContributeToPool(paid)
        assert served.journal_size() == before + 1
        due = money.PayDuesRequest(parent="members/alpha", request_id=new_id())
        assert reason(alpha.PayDues, due) == "NOTHING_DUE"
        assert list(alpha.ListDues(money.ListDuesRequest(parent="members/-")).dues) == []
        due.parent = "members/beta"
        assert reason(alpha.PayDues, due) == "NOT_YOURS"
        assert reason(alpha.ListDues, money.ListDuesRequest(parent="members/beta")) == "NOT_YOURS"


def test_cash_moves_only_within_a_netting_set_and_says_nothing_of_other_accounts(served: Served) -> None:
    with calling(served, ALPHA, CollateralServiceStub) as alpha:
        for target in (BETA_ONE, "members/beta/accounts/nobody"):
            move = money.MoveCashRequest(source=TWO, request_id=new_id(), target=target, amount="1")
            assert reason(alpha.MoveCash, move) == "ACCOUNTS_NOT_LINKED"
        foreign = money.MoveCashRequest(source=BETA_ONE, request_id=new_id(), target=TWO, amount="1")
        assert reason(alpha.MoveCash, foreign) == "NOT_YOURS"


def test_the_custodian_reports_house_money_recoveries_and_what_is_back(served: Served) -> None:
    before = served.journal_size()
    with calling(served, VAULT, CollateralServiceStub) as vault:
        for fund in ("capital", "skin_in_the_game", "second_tranche", "insurance_fund"):
            request = money.FundHouseRequest(fund=f"house/{fund}", request_id=new_id(), amount="1")
            vault.FundHouse(request)
            vault.FundHouse(request)
        assert served.journal_size() == before + 4
        assert wrong_fields(vault.FundHouse, money.FundHouseRequest(fund="house/fees")) == {
            *("fund", "request_id", "amount"),
        }
        recovery = money.RecordRecoveryRequest(default="defaults/d1", request_id=new_id(), amount="1")
        assert reason(vault.RecordRecovery, recovery) == "DEFAULT_UNKNOWN"
        back = money.ReplaceLostAssetRequest(asset=USDC, request_id=new_id(), amount="1")
        assert reason(vault.ReplaceLostAsset, back) == "LOSS_SMALLER"


# accounts ---------------------------------------------------------------------------------------------


def open_account(served: Served, who: str, own_id: str, participant: str) -> str:
    with calling(served, who, AccountServiceStub) as stub:
        request = accounts.OpenAccountRequest(
            parent=f"members/{who.split('/')[1]}",
            request_id=new_id(),
            account_id=own_id,
            participant=f"participants/{participant}",
        )
        first = stub.OpenAccount(request)
        assert stub.OpenAccount(request) == first
        return str(first.name)


def test_an_account_is_opened_once(served: Served) -> None:
    before = served.journal_size()
    name = open_account(served, ALPHA, "fresh", "zoe")
    assert served.journal_size() == before + 1
    with calling(served, ALPHA, AccountServiceStub) as alpha:
        again = accounts.OpenAccountRequest(
            parent="members/alpha", request_id=new_id(), account_id="fresh", participant="participants/zoe"
        )
        assert reason(alpha.OpenAccount, again) == "ALREADY_EXISTS"
        again.account_id, again.validate_only = "imagined", True
        assert alpha.OpenAccount(again).netting_set == "nettingSets/alpha~imagined"
        found = alpha.GetNettingSet(accounts.GetNettingSetRequest(name="nettingSets/alpha~fresh")).netting_set
        assert (list(found.accounts), found.linked) == ([name], False)
        wrong = accounts.OpenAccountRequest(parent="members/alpha", account_id="A", participant="zoe")
        assert wrong_fields(alpha.OpenAccount, wrong) == {"request_id", "account_id", "participant"}
        foreign = accounts.OpenAccountRequest(parent="members/beta", request_id=new_id(), account_id="x")
        assert reason(alpha.OpenAccount, foreign) == "NOT_YOURS"
    assert served.journal_size() == before + 1


def linking(parent: str, own: str, pair: list[str]) -> accounts.LinkAccountsRequest:
    participant = f"participants/{own}"
    return accounts.LinkAccountsRequest(
        parent=parent, request_id=new_id(), participant=participant, accounts=pair
    )


def test_a_link_is_proposed_and_seen_by_who_is_concerned_until_it_is_made(served: Served) -> None:
    pair = [open_account(served, ALPHA, "mia", "mia"), open_account(served, BETA, "mia", "mia")]
    asking = accounts.ListLinkProposalsRequest()
    with (
        calling(served, ALPHA, AccountServiceStub) as alpha,
        calling(served, BETA, AccountServiceStub) as beta,
    ):
        asked = linking("members/alpha", "mia", pair)
        asked.validate_only = True
        assert alpha.LinkAccounts(asked).status == accounts.LINK_STATUS_PROPOSED
        assert not beta.ListLinkProposals(asking).link_proposals
        asked.validate_only = False
        assert alpha.LinkAccounts(asked).status == accounts.LINK_STATUS_PROPOSED
        (proposal,) = beta.ListLinkProposals(asking).link_proposals
        assert (list(proposal.accounts), proposal.netting_set) == (pair, "nettingSets/link~mia")
        assert list(proposal.awaited_members) == ["members/beta"]
        made = beta.LinkAccounts(linking("members/beta", "mia", pair))
        assert made.status == accounts.LINK_STATUS_LINKED
        assert alpha.LinkAccounts(asked).status == accounts.LINK_STATUS_PROPOSED, "the first answer again"
        assert not beta.ListLinkProposals(asking).link_proposals


def test_cash_moves_in_a_link_and_notice_to_undo_it_shows_each_member_its_own(served: Served) -> None:
    pair = [open_account(served, ALPHA, "lina", "lina"), open_account(served, BETA, "lina", "lina")]
    asking = accounts.GetNettingSetRequest(name="nettingSets/link~lina")
    with (
        calling(served, ALPHA, AccountServiceStub) as alpha,
        calling(served, BETA, AccountServiceStub) as beta,
        calling(served, ALPHA, CollateralServiceStub) as money_of_alpha,
        calling(served, VAULT, CollateralServiceStub) as vault,
    ):
        alpha.LinkAccounts(linking("members/alpha", "lina", pair))
        beta.LinkAccounts(linking("members/beta", "lina", pair))
        vault.NotifyDeposit(deposit(account=pair[0], amount="7"))
        move = money.MoveCashRequest(source=pair[0], request_id=new_id(), target=pair[1], amount="3")
        money_of_alpha.MoveCash(move)
        assert (cash(served, pair[0]), cash(served, pair[1])) == ("4.000000", "3.000000")
        notice = accounts.UnlinkAccountsRequest(
            parent="members/alpha", request_id=new_id(), participant="participants/lina"
        )
        noticed = alpha.UnlinkAccounts(notice)
        assert [row.account for row in noticed.shortfalls] == [pair[0]]
        assert alpha.UnlinkAccounts(notice) == noticed
        for caller, own in ((alpha, pair[0]), (beta, pair[1])):
            found = caller.GetNettingSet(asking).netting_set
            assert (list(found.accounts), found.linked) == (pair, True)
            assert [row.account for row in found.unlinking.shortfalls] == [own], "no amounts of others"
            assert found in caller.ListNettingSets(accounts.ListNettingSetsRequest()).netting_sets
        foreign = accounts.GetNettingSetRequest(name="nettingSets/beta~one")
        assert reason(alpha.GetNettingSet, foreign) == "NOT_YOURS"


# margin -----------------------------------------------------------------------------------------------


def test_what_if_answers_margin_and_refusals_and_records_nothing(served: Served) -> None:
    before = served.journal_size()
    with calling(served, ALPHA, MarginServiceStub) as alpha:
        request = margin.WhatIfRequest(
            account=TWO,
            trades=[
                margin.HypotheticalTrade(instrument="instruments/BTC-PERP", size="-3"),
                margin.HypotheticalTrade(instrument="instruments/BTC-PERP", size="1", price="90000"),
                margin.HypotheticalTrade(instrument="instruments/BTC-PERP", size="5000"),
                margin.HypotheticalTrade(instrument="instruments/DOGE-PERP", size="1"),
            ],
        )
        found = alpha.WhatIf(request)
        assert [result.reason for result in found.results] == [
            *("", "PRICE_OUTSIDE_BAND", "MARGIN_INSUFFICIENT", "INSTRUMENT_UNKNOWN"),
        ]
        assert float(found.after.requirement) > float(found.before.requirement)
        asked = margin.GetMarginRequest(netting_set="nettingSets/alpha~two")
        assert alpha.GetMargin(asked).margin == found.before
        assert served.journal_size() == before
        wrong = margin.WhatIfRequest(
            account=TWO,
            trades=[
                margin.HypotheticalTrade(instrument="BTC", size="0.0001", price="x"),
                margin.HypotheticalTrade(instrument="instruments/BTC-PERP", size="0.0001", price="1.23"),
                margin.HypotheticalTrade(instrument="instruments/BTC-PERP", size="0"),
            ],
        )
        assert wrong_fields(alpha.WhatIf, wrong) == {
            *("trades[0].instrument", "trades[0].price", "trades[1].size", "trades[1].price"),
            "trades[2].size",
        }
        assert reason(alpha.WhatIf, margin.WhatIfRequest(account=BETA_ONE)) == "NOT_YOURS"


def test_a_margin_is_explained_down_to_the_published_risk_array(served: Served) -> None:
    with calling(served, ALPHA, TradeServiceStub) as trader:
        trader.SubmitTrades(
            trades.SubmitTradesRequest(
                parent="members/alpha", request_id=new_id(), trades=[small(size="1.5")]
            )
        )
    with calling(served, ALPHA, MarginServiceStub) as alpha:
        asked = margin.ExplainMarginRequest(netting_set="nettingSets/alpha~one")
        found = alpha.ExplainMargin(asked)
        array = alpha.GetRiskArray(margin.GetRiskArrayRequest())
        (underlying,) = found.underlyings
        (leg,) = underlying.legs
        row = next(row for row in array.rows if row.instrument == leg.instrument)
        lots = int(leg.size.replace(".", ""))
        assert lots > 0
        per_lot = float(row.long_results[underlying.scenario])
        assert float(leg.scenario_result) == pytest.approx(lots * per_lot)
        assert float(underlying.risk) == -float(underlying.scenario_result)
        assert underlying.scenario_title == array.scenarios[underlying.scenario]
        assert float(underlying.other_legs_result) == 0
        assert found.margin.maintenance == found.maintenance
        assert (array.cycle, found.cycle, found.model) == (1, 1, "scan")
        first = alpha.GetRiskArray(margin.GetRiskArrayRequest(page_size=1))
        rest = alpha.GetRiskArray(margin.GetRiskArrayRequest(page_token=first.next_page_token))
        assert [*first.rows, *rest.rows] == list(array.rows)
        foreign = margin.ExplainMarginRequest(netting_set="nettingSets/beta~one")
        assert reason(alpha.ExplainMargin, foreign) == "NOT_YOURS"


# prices -----------------------------------------------------------------------------------------------


def test_an_administrator_publishes_funding_of_perpetuals(served: Served) -> None:
    before = served.journal_size()
    with calling(served, ANNA, PriceServiceStub) as anna:
        request = prices.PublishFundingRequest(
            instrument="instruments/BTC-PERP", request_id=new_id(), rate_ppm=-100, validate_only=True
        )
        anna.PublishFunding(request)
        assert served.journal_size() == before
        request.validate_only = False
        anna.PublishFunding(request)
        anna.PublishFunding(request)
        assert served.journal_size() == before + 1
        wrong = prices.PublishFundingRequest(instrument="BTC", rate_ppm=1_000_001)
        assert wrong_fields(anna.PublishFunding, wrong) == {"instrument", "request_id", "rate_ppm"}
        unknown = prices.PublishFundingRequest(
            instrument="instruments/DOGE-PERP", request_id=new_id(), rate_ppm=1
        )
        assert reason(anna.PublishFunding, unknown) == "INSTRUMENT_UNKNOWN"
        assert not anna.ListOptionMarks(prices.ListOptionMarksRequest()).option_marks
    with calling(served, ALPHA, PriceServiceStub) as alpha:
        assert reason(alpha.PublishFunding, request) == "ROLE_NOT_ALLOWED"
