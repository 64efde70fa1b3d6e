"""Each command of the demonstration as the request by which its sender asks for it: the way back of ``server/wire``.

What a request needs to know of the house (how many decimals an asset has, the tick of a feed) the driver knows from
what it listed itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

from google.protobuf.message import Message

from clearing.model import units
from clearing.model.commands import (
    AcceptPorting,
    AdmitMember,
    ApplyPrices,
    Command,
    ContributeToPool,
    Deposit,
    FoundHouse,
    FundHouse,
    LinkAccounts,
    ListAsset,
    ListInstrument,
    NewTrade,
    OpenAccount,
    PayDue,
    PlaceBid,
    RecordRecovery,
    RegisterProvider,
    RegisterSource,
    RequestWithdrawal,
    SendWithdrawal,
    SettleWithdrawal,
    SizePool,
    SubmitTrades,
)
from clearing.model.house import House
from clearing.model.ids import AccountKey, AssetId, MemberId, account_key
from clearing.model.values import Charter, Porting
from clearing.server.wire import changes, names, parameters, times
from clearing.server.wire.portings import porting_name
from clearinghouse.v1 import account_service_pb2 as accounts
from clearinghouse.v1 import admin_service_pb2 as administration
from clearinghouse.v1 import auction_service_pb2 as auctions
from clearinghouse.v1 import collateral_service_pb2 as collateral
from clearinghouse.v1 import default_service_pb2 as defaults
from clearinghouse.v1 import price_service_pb2 as prices
from clearinghouse.v1 import trade_service_pb2 as trades

Call: TypeAlias = tuple[str, str, Message]
"""A service of the client, its method, and the request."""
_Asked: TypeAlias = Callable[["Terms", Any, str], Call]


@dataclass(slots=True)
class Terms:
    """What the driver knows of the house: what it listed, and when a netting set was offered for porting."""

    house: House = field(default_factory=House)
    offered_ms: dict[str, int] = field(default_factory=dict)

    def learn(self, command: Command) -> None:
        """Remember what ``command`` lists."""
        if isinstance(command, FoundHouse):
            asset = command.settlement
            charter = Charter(house=command.house, settlement_asset=asset.id, parameters=command.parameters)
            self.house = replace(self.house, charter=charter, assets=self.house.assets.set(asset.id, asset))
        elif isinstance(command, ListAsset):
            self.house = replace(self.house, assets=self.house.assets.set(command.asset.id, command.asset))
        elif isinstance(command, ListInstrument):
            listed = self.house.instruments.set(command.instrument.id, command.instrument)
            self.house = replace(self.house, instruments=listed)

    def amount(self, asset: AssetId, amount_minor: int) -> str:
        """An amount of an asset in whole units."""
        return units.of_asset(self.house.assets[asset]).render(amount_minor)

    def money(self, amount_minor: int) -> str:
        """An amount of the settlement asset in whole units."""
        return self.amount(self.house.settlement, amount_minor)


def request_of(terms: Terms, command: Command, request_id: str) -> Call:
    """How ``command`` is asked for."""
    return ASKED[type(command)](terms, command, request_id)


def _found(terms: Terms, command: FoundHouse, request_id: str) -> Call:
    terms.learn(command)
    request = administration.FoundHouseRequest(
        house=command.house,
        request_id=request_id,
        settlement_asset=changes.asset_message(command.settlement, terms.house),
        parameters=parameters.message(command.parameters, units.of_settlement(terms.house)),
    )
    return "administration", "FoundHouse", request


def _change(terms: Terms, command: Command, request_id: str) -> Call:
    terms.learn(command)
    request = administration.MakeChangeRequest(
        house=terms.house.founded.house,
        request_id=request_id,
        change=changes.message(command, terms.house),
    )
    return "administration", "MakeChange", request


def _size_pool(terms: Terms, command: SizePool, request_id: str) -> Call:
    request = administration.SizePoolRequest(house=terms.house.founded.house, request_id=request_id)
    return "administration", "SizePool", request


def _open(terms: Terms, command: OpenAccount, request_id: str) -> Call:
    request = accounts.OpenAccountRequest(
        parent=names.member(command.member),
        request_id=request_id,
        account_id=command.account,
        participant=names.participant(command.participant),
    )
    return "accounts", "OpenAccount", request


def _link(terms: Terms, command: LinkAccounts, request_id: str) -> Call:
    request = accounts.LinkAccountsRequest(
        parent=names.member(command.member),
        request_id=request_id,
        participant=names.participant(command.participant),
        accounts=[names.account(key) for key in command.accounts],
    )
    return "accounts", "LinkAccounts", request


def _register(terms: Terms, command: RegisterProvider, request_id: str) -> Call:
    request = auctions.RegisterProviderRequest(
        account=names.account(command.account),
        request_id=request_id,
        capacity=terms.money(command.capacity_minor),
    )
    return "auctions", "RegisterProvider", request


def _bid(terms: Terms, command: PlaceBid, request_id: str) -> Call:
    request = auctions.PlaceBidRequest(
        account=names.account(command.account),
        request_id=request_id,
        auction=names.auction(command.auction),
        discount_bp=command.discount_bp,
        share_bp=command.share_bp,
    )
    return "auctions", "PlaceBid", request


def _fund(terms: Terms, command: FundHouse, request_id: str) -> Call:
    request = collateral.FundHouseRequest(
        fund=names.fund(command.into.value), request_id=request_id, amount=terms.money(command.amount_minor)
    )
    return "collateral", "FundHouse", request


def _deposit(terms: Terms, command: Deposit, request_id: str) -> Call:
    request = collateral.NotifyDepositRequest(
        account=names.account(command.account),
        request_id=request_id,
        asset=names.asset(command.asset),
        amount=terms.amount(command.asset, command.amount_minor),
        reference=command.reference,
    )
    return "collateral", "NotifyDeposit", request


def _withdraw(terms: Terms, command: RequestWithdrawal, request_id: str) -> Call:
    request = collateral.RequestWithdrawalRequest(
        account=names.account(command.account),
        request_id=request_id,
        withdrawal_id=names.own_id(command.withdrawal),
        asset=names.asset(command.asset),
        amount=terms.amount(command.asset, command.amount_minor),
    )
    return "collateral", "RequestWithdrawal", request


def _withdrawal_name(withdrawal: str) -> str:
    key, _, own = withdrawal.rpartition("/")
    return names.withdrawal(AccountKey(key), own)


def _send(terms: Terms, command: SendWithdrawal, request_id: str) -> Call:
    request = collateral.SendWithdrawalRequest(
        name=_withdrawal_name(command.withdrawal), request_id=request_id
    )
    return "collateral", "SendWithdrawal", request


def _settle(terms: Terms, command: SettleWithdrawal, request_id: str) -> Call:
    request = collateral.SettleWithdrawalRequest(
        name=_withdrawal_name(command.withdrawal), request_id=request_id, paid=command.paid
    )
    return "collateral", "SettleWithdrawal", request


def _contribute(terms: Terms, command: ContributeToPool, request_id: str) -> Call:
    request = collateral.ContributeToPoolRequest(
        parent=names.member(command.member), request_id=request_id, amount=terms.money(command.amount_minor)
    )
    return "collateral", "ContributeToPool", request


def _pay(terms: Terms, command: PayDue, request_id: str) -> Call:
    request = collateral.PayDuesRequest(parent=names.member(command.member), request_id=request_id)
    return "collateral", "PayDues", request


def _recover(terms: Terms, command: RecordRecovery, request_id: str) -> Call:
    request = collateral.RecordRecoveryRequest(
        default=names.default(command.default),
        request_id=request_id,
        amount=terms.money(command.amount_minor),
    )
    return "collateral", "RecordRecovery", request


def _publish(terms: Terms, command: ApplyPrices, request_id: str) -> Call:
    ticks = units.of_feeds(terms.house)
    request = prices.PublishPricesRequest(
        source=names.source(command.source),
        request_id=request_id,
        observe_time=times.from_ms(command.observed_ms),
        sequence=command.sequence,
        prices=[
            prices.FeedPrice(feed=names.feed(one.feed), price=ticks[one.feed].render(one.price_ticks))
            for one in command.prices
        ],
        signature=bytes.fromhex(command.signature),
    )
    return "prices", "PublishPrices", request


def _submit(terms: Terms, command: SubmitTrades, request_id: str) -> Call:
    request = trades.SubmitTradesRequest(
        parent=names.member(command.member),
        request_id=request_id,
        trades=[_trade(terms, new) for new in command.trades],
    )
    return "trades", "SubmitTrades", request


def _trade(terms: Terms, new: NewTrade) -> trades.NewTrade:
    instrument = terms.house.instruments[new.instrument]
    return trades.NewTrade(
        trade_id=new.trade_id,
        instrument=names.instrument(new.instrument),
        buyer=names.account(new.buyer),
        seller=names.account(new.seller),
        size=units.of_size(instrument).render(new.lots),
        price=units.of_price(instrument).render(new.price_ticks),
        execute_time=times.from_ms(new.executed_ms),
        trade_ref=new.trade_ref,
        group=new.group,
    )


def _port(terms: Terms, command: AcceptPorting, request_id: str) -> Call:
    """A taker finds the offer in the list; the driver, which heard when it was made, knows what it is called."""
    offered_ms = terms.offered_ms.get(command.netting_set, 0)
    offer = Porting(netting_set=command.netting_set, members=(), opened_ms=offered_ms, due_ms=0)
    request = defaults.AcceptPortingRequest(
        account=names.account(account_key(MemberId(command.member), command.account)),
        request_id=request_id,
        porting=porting_name(offer),
    )
    return "defaults", "AcceptPorting", request


ASKED: Final[Mapping[type, _Asked]] = {
    FoundHouse: _found,
    **dict.fromkeys((ListAsset, ListInstrument, RegisterSource, AdmitMember), _change),
    SizePool: _size_pool,
    OpenAccount: _open,
    LinkAccounts: _link,
    RegisterProvider: _register,
    PlaceBid: _bid,
    FundHouse: _fund,
    Deposit: _deposit,
    RequestWithdrawal: _withdraw,
    SendWithdrawal: _send,
    SettleWithdrawal: _settle,
    ContributeToPool: _contribute,
    PayDue: _pay,
    RecordRecovery: _recover,
    ApplyPrices: _publish,
    SubmitTrades: _submit,
    AcceptPorting: _port,
}
