"""``clearctl account``: accounts of members and how they are linked."""

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Annotated

import typer
from rich.console import RenderableType

from clearctl import names
from clearctl.amounts import account_name, grouped, own_name, trimmed, word
from clearctl.asked import AccountName, Mine, OneMember, noun
from clearctl.connecting import connected, own_member, send
from clearctl.nouns.status import unit_of
from clearctl.tables import Column, account, amount, listing, listings, name
from clearctl.writing import write, write_done, write_rows
from clearing_client.client import pages
from clearinghouse.v1 import account_service_pb2 as pb

app = noun("Accounts: what they hold, opening them, and linking those of one participant.")

Participant = Annotated[
    str, typer.Option(help="Whose account it is, at any number of members.", metavar="ID")
]
SHORTFALLS = (account("account"), amount("missing", "amount"))
SETS = (
    name("netting set", "name"),
    name("participant"),
    Column("accounts", lambda row: ", ".join(map(account_name, row.accounts))),
    Column("linked", lambda row: "yes" if row.linked else ""),
    Column("is undone", lambda row: "yes" if row.HasField("unlinking") else ""),
)


@app.command("list")
def list_accounts(context: typer.Context, member: OneMember = None) -> None:
    """List accounts with cash, collateral and positions: yours, or all that you may see.

    Example: clearctl account list --member alpha
    """
    with connected(context) as client:
        request = pb.ListAccountsRequest(parent=names.parent(member))
        found = [one for page in pages(client.accounts.ListAccounts, request) for one in page.accounts]
        unit = unit_of(client)
        write(context, found, lambda: accounts(found, unit))


@app.command()
def show(context: typer.Context, account: AccountName) -> None:
    """Show one account.

    Example: clearctl account show alpha/one
    """
    with connected(context) as client:
        request = pb.GetAccountRequest(name=names.account(account))
        found = client.accounts.GetAccount(request).account
        unit = unit_of(client)
        write(context, found, lambda: accounts([found], unit))


@app.command("open")
def open_account(context: typer.Context, account: AccountName, participant: Participant) -> None:
    """Open a client account at your member. It is margined alone until it is linked.

    Example: clearctl account open alpha/three --participant pat
    """
    name = names.account(account)
    request = pb.OpenAccountRequest(
        parent="/".join(name.split("/")[:2]),
        account_id=own_name(name),
        participant=names.named("participants", participant),
    )
    with connected(context) as client:
        done = send(context, client.accounts.OpenAccount, request)
        write_done(
            context, done, f"Opened {account_name(done.name)} in netting set {own_name(done.netting_set)}."
        )


@app.command()
def link(
    context: typer.Context,
    accounts: Annotated[list[str], typer.Argument(help="Two or more.", metavar="MEMBER/ACCOUNT...")],
    participant: Participant,
    member: Mine = None,
) -> None:
    """Link accounts of one participant: they are margined together, and each answers for the others.

    Every member that has one of them sends the same; the last makes it hold.

    Example: clearctl account link alpha/one beta/one --participant pat
    """
    request = pb.LinkAccountsRequest(
        parent=own_member(context, member),
        participant=names.named("participants", participant),
        accounts=[names.account(one) for one in accounts],
    )
    with connected(context) as client:
        done = send(context, client.accounts.LinkAccounts, request)
        is_linked = done.status == pb.LINK_STATUS_LINKED
        told = "Linked" if is_linked else "Proposed; it waits for the other members:"
        write_done(context, done, f"{told} {own_name(done.netting_set)}.")


@app.command()
def unlink(context: typer.Context, participant: Participant, member: Mine = None) -> None:
    """Give notice that the participant's accounts are to be margined alone again.

    It holds after the notice, once each account has what it needs alone; what is missing is shown.

    Example: clearctl account unlink --participant pat
    """
    request = pb.UnlinkAccountsRequest(
        parent=own_member(context, member), participant=names.named("participants", participant)
    )
    with connected(context) as client:
        done = send(context, client.accounts.UnlinkAccounts, request)
        missing = listings("Missing to stand alone", done.shortfalls, SHORTFALLS)
        write_done(context, done, f"Notice is given for {own_name(done.netting_set)}.", missing)


@app.command("sets")
def list_sets(context: typer.Context) -> None:
    """List netting sets: which accounts are margined together.

    Example: clearctl account sets
    """
    with connected(context) as client:
        request = pb.ListNettingSetsRequest()
        found = [one for page in pages(client.accounts.ListNettingSets, request) for one in page.netting_sets]
        write_rows(context, found, "Netting sets", SETS, "There is no netting set.")


def accounts(found: Iterable[pb.Account], unit: str) -> Iterator[RenderableType]:
    """One line an account, one more for each further position or collateral asset."""
    heads = ("account", "of", "netting set", f"cash {unit}", "collateral", "position", "size")
    columns = [Column(head, itemgetter(place), is_number=place > 2) for place, head in enumerate(heads)]
    yield listing("Accounts", (line for account in found for line in _lines(account)), columns)


def _lines(account: pb.Account) -> Iterator[tuple[str, ...]]:
    held = [f"{trimmed(row.amount)} {own_name(row.asset)}" for row in account.collateral]
    positions = [(own_name(row.instrument), grouped(row.size)) for row in account.positions]
    name = account_name(account.name)
    if account.status != pb.ACCOUNT_STATUS_ACTIVE:
        name += f" ({word(account, 'status')})"
    first = (name, own_name(account.participant), own_name(account.netting_set), grouped(account.cash))
    for line in range(max(1, len(held), len(positions))):
        yield (
            *(first if line == 0 else ("",) * 4),
            held[line] if line < len(held) else "",
            *(positions[line] if line < len(positions) else ("", "")),
        )
