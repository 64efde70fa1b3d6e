"""``clearctl auction``: sealed-bid auctions, bids, and providers."""

from typing import Annotated

import typer

from clearctl import names
from clearctl.amounts import account_name, grouped, own_name, percent, trimmed, when, word
from clearctl.asked import AccountName, OneMember, basis_points, noun
from clearctl.connecting import connected, send
from clearctl.tables import Column, account, amount, enum, name, time
from clearctl.writing import write_done, write_facts, write_rows
from clearing_client.client import Client, pages
from clearinghouse.v1 import auction_service_pb2 as pb

app = noun("Auctions: what is for sale, sealed bids, and providers that are assigned what nobody buys.")

Auction = Annotated[str, typer.Argument(help="As `clearctl auction list` shows it.", metavar="AUCTION")]
Account = Annotated[str, typer.Option(help="The account of yours that bids.", metavar="MEMBER/ACCOUNT")]


def _lots(auction: pb.Auction) -> str:
    return ", ".join(f"{trimmed(lot.size)} {own_name(lot.unit)}" for lot in auction.lots)


AUCTIONS = (
    name("auction", "name"),
    enum("kind"),
    Column("lots", _lots),
    time("opened", "open_time"),
    time("closes", "close_time"),
    name("default", "default_name"),
)
BIDS = (
    name("auction"),
    account("account"),
    Column("discount", lambda row: percent(row.discount_bp), is_number=True),
    Column("share", lambda row: percent(row.share_bp)[1:], is_number=True),
    time("placed", "place_time"),
)
PROVIDERS = (account("account"), amount("capacity"), amount("taken"))


@app.command("list")
def list_auctions(context: typer.Context) -> None:
    """List auctions that are open.

    Example: clearctl auction list
    """
    with connected(context) as client:
        write_rows(context, open_auctions(client), "Auctions", AUCTIONS, "No auction is open.")


@app.command()
def show(context: typer.Context, auction: Auction) -> None:
    """Show one auction.

    Example: clearctl auction show a1
    """
    with connected(context) as client:
        request = pb.GetAuctionRequest(name=names.named("auctions", auction))
        found = client.auctions.GetAuction(request).auction
        rows = [
            ("Auction", own_name(found.name)),
            ("Kind", word(found, "kind")),
            ("Lots", _lots(found)),
            ("Open", f"{when(found.open_time)} to {when(found.close_time)}"),
            ("Default", own_name(found.default) or "none"),
            ("Netting sets", ", ".join(map(own_name, found.netting_sets))),
        ]
        write_facts(context, found, rows)


@app.command()
def bid(
    context: typer.Context,
    auction: Auction,
    account: Account,
    discount: Annotated[
        int,
        typer.Option(help="Off the mark; negative to pay more.", parser=basis_points, metavar="±N%"),
    ],
    share: Annotated[
        int, typer.Option(help="Of what is offered.", parser=basis_points, metavar="N%")
    ] = 10_000,
) -> None:
    """Place a sealed bid, or another in the place of yours. Nobody else sees it before the auction closes.

    Example: clearctl auction bid a1 --account beta/house --discount 1.5% --share 50%
    """
    request = pb.PlaceBidRequest(
        account=names.account(account),
        auction=names.named("auctions", auction),
        discount_bp=discount,
        share_bp=share,
    )
    with connected(context) as client:
        done = send(context, client.auctions.PlaceBid, request)
        told = f"{account_name(request.account)} bids for {percent(share)[1:]} at {percent(discount)}."
        write_done(context, done, told)


@app.command("withdraw-bid")
def withdraw_bid(context: typer.Context, auction: Auction, account: Account) -> None:
    """Take your bid back, while the auction is open.

    Example: clearctl auction withdraw-bid a1 --account beta/house
    """
    request = pb.WithdrawBidRequest(account=names.account(account), auction=names.named("auctions", auction))
    with connected(context) as client:
        done = send(context, client.auctions.WithdrawBid, request)
        write_done(context, done, f"The bid of {account_name(request.account)} is withdrawn.")


@app.command()
def bids(context: typer.Context, member: OneMember = None) -> None:
    """List the bids that you may see.

    Example: clearctl auction bids
    """
    with connected(context) as client:
        request = pb.ListBidsRequest(parent=names.parent(member))
        found = [one for page in pages(client.auctions.ListBids, request) for one in page.bids]
        write_rows(context, found, "Bids", BIDS, "There is no bid.")


@app.command()
def providers(context: typer.Context, member: OneMember = None) -> None:
    """List who is ready to be assigned what no auction sells.

    Example: clearctl auction providers
    """
    with connected(context) as client:
        request = pb.ListProvidersRequest(parent=names.parent(member))
        found = [one for page in pages(client.auctions.ListProviders, request) for one in page.providers]
        write_rows(context, found, "Providers", PROVIDERS, "There is no provider.")


@app.command()
def register(
    context: typer.Context,
    account: AccountName,
    capacity: Annotated[str, typer.Option(help="Notional, in the settlement asset.", metavar="AMOUNT")],
) -> None:
    """Register an account as provider, or renew its capacity: it is assigned what no auction sells, at a discount.

    Example: clearctl auction register beta/house --capacity 1000000
    """
    request = pb.RegisterProviderRequest(account=names.account(account), capacity=capacity)
    with connected(context) as client:
        done = send(context, client.auctions.RegisterProvider, request)
        provider = done.provider
        told = f"{account_name(provider.account)} provides {grouped(provider.capacity)}."
        write_done(context, done, told)


def open_auctions(client: Client) -> list[pb.Auction]:
    """All auctions that are open."""
    request = pb.ListAuctionsRequest()
    return [one for page in pages(client.auctions.ListAuctions, request) for one in page.auctions]
