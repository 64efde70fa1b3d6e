"""What tests ask a served house, one line each."""

from collections.abc import Sequence

from clearing_client.client import ALL_MEMBERS, Client, pages
from clearinghouse.v1 import account_service_pb2 as account_pb
from clearinghouse.v1 import attestation_service_pb2 as attestation_pb
from clearinghouse.v1 import default_service_pb2 as default_pb
from clearinghouse.v1 import ledger_service_pb2 as ledger_pb
from clearinghouse.v1 import margin_service_pb2 as margin_pb
from clearinghouse.v1 import price_service_pb2 as price_pb
from clearinghouse.v1 import trade_service_pb2 as trade_pb


def trade(client: Client, name: str) -> trade_pb.Trade:
    return client.trades.GetTrade(trade_pb.GetTradeRequest(name=name)).trade


def trades(client: Client, parent: str = ALL_MEMBERS) -> list[trade_pb.Trade]:
    request = trade_pb.ListTradesRequest(parent=parent)
    return [found for page in pages(client.trades.ListTrades, request) for found in page.trades]


def marks(client: Client) -> list[price_pb.Mark]:
    request = price_pb.ListMarksRequest()
    return [found for page in pages(client.prices.ListMarks, request) for found in page.marks]


def account(client: Client, name: str) -> account_pb.Account:
    return client.accounts.GetAccount(account_pb.GetAccountRequest(name=name)).account


def accounts(client: Client, parent: str = ALL_MEMBERS) -> list[account_pb.Account]:
    request = account_pb.ListAccountsRequest(parent=parent)
    return [found for page in pages(client.accounts.ListAccounts, request) for found in page.accounts]


def link_accounts(
    client: Client, parent: str, participant: str, linked: Sequence[str]
) -> account_pb.LinkAccountsResponse:
    request = account_pb.LinkAccountsRequest(parent=parent, participant=participant, accounts=linked)
    return client.accounts.LinkAccounts(request)


def margin(client: Client, netting_set: str) -> margin_pb.Margin:
    return client.margins.GetMargin(margin_pb.GetMarginRequest(netting_set=netting_set)).margin


def margins(client: Client) -> list[margin_pb.Margin]:
    request = margin_pb.ListMarginsRequest()
    return [found for page in pages(client.margins.ListMargins, request) for found in page.margins]


def preview_default(client: Client, member: str, move_bp: int) -> margin_pb.PreviewDefaultResponse:
    return client.margins.PreviewDefault(margin_pb.PreviewDefaultRequest(member=member, move_bp=move_bp))


def defaults(client: Client) -> list[default_pb.Default]:
    request = default_pb.ListDefaultsRequest()
    return [found for page in pages(client.defaults.ListDefaults, request) for found in page.defaults]


def attestation(client: Client, name: str = "attestations/latest") -> attestation_pb.Attestation:
    request = attestation_pb.GetAttestationRequest(name=name)
    return client.attestations.GetAttestation(request).attestation


def attestations(client: Client) -> list[attestation_pb.Attestation]:
    method, request = client.attestations.ListAttestations, attestation_pb.ListAttestationsRequest()
    return [found for page in pages(method, request) for found in page.attestations]


def checkpoint(client: Client) -> str:
    return client.ledger.GetCheckpoint(ledger_pb.GetCheckpointRequest()).checkpoint.decode()
