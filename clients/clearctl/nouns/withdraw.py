"""``clearctl withdraw``: what leaves the house, held, sent, then paid."""

from typing import Annotated

import typer

from clearctl import names
from clearctl.amounts import account_name, grouped, own_name, word
from clearctl.asked import AccountName, Amount, OneMember, noun
from clearctl.connecting import connected, send
from clearctl.tables import account, amount, enum, name
from clearctl.writing import write_done, write_facts, write_rows
from clearing_client.client import new_id, pages
from clearinghouse.v1 import collateral_service_pb2 as pb

app = noun("Withdrawals: a member asks and it is held, custody is told to pay, custody has paid.")

Asset = Annotated[str, typer.Argument(help="Such as USDC.", metavar="ASSET")]
Name = Annotated[str, typer.Argument(help="Such as alpha/one/w1.", metavar="MEMBER/ACCOUNT/ID")]
WITHDRAWALS = (
    account("withdrawal", "name"),
    amount("amount"),
    name("asset"),
    enum("state"),
)


@app.command()
def request(
    context: typer.Context,
    account: AccountName,
    amount: Amount,
    asset: Asset,
    withdrawal_id: Annotated[
        str | None, typer.Option("--id", help="Your id of it; one is made if you give none.", metavar="ID")
    ] = None,
) -> None:
    """Ask for money or collateral: it is held at once, if the gates are open and the margin allows.

    Example: clearctl withdraw request alpha/one 250.50 USDC --id w1
    """
    asked = pb.RequestWithdrawalRequest(
        account=names.account(account),
        withdrawal_id=withdrawal_id or new_id(),
        asset=names.named("assets", asset),
        amount=amount,
    )
    with connected(context) as client:
        done = send(context, client.collateral.RequestWithdrawal, asked)
        held = done.withdrawal
        shown = account_name(held.name)
        write_done(context, done, f"Held {grouped(held.amount)} {own_name(held.asset)} as {shown}.")


@app.command("send")
def send_withdrawal(context: typer.Context, withdrawal: Name) -> None:
    """Say, as custodian, that the payment was instructed: from now on only custody's word ends it.

    Example: clearctl withdraw send alpha/one/w1
    """
    asked = pb.SendWithdrawalRequest(name=names.withdrawal(withdrawal))
    with connected(context) as client:
        done = send(context, client.collateral.SendWithdrawal, asked)
        write_done(context, done, f"{withdrawal} is {word(done, 'state')}.")


@app.command()
def settle(
    context: typer.Context,
    withdrawal: Name,
    paid: Annotated[bool, typer.Option("--paid/--unpaid", help="Whether it was paid.")],
) -> None:
    """Say, as custodian, how it ended: paid, or proved unpaid and credited back.

    Example: clearctl withdraw settle alpha/one/w1 --paid
    """
    asked = pb.SettleWithdrawalRequest(name=names.withdrawal(withdrawal), paid=paid)
    with connected(context) as client:
        done = send(context, client.collateral.SettleWithdrawal, asked)
        write_done(context, done, f"{withdrawal} is {word(done, 'state')}.")


@app.command("list")
def list_withdrawals(context: typer.Context, member: OneMember = None) -> None:
    """List withdrawals and where each stands.

    Example: clearctl withdraw list --member alpha
    """
    with connected(context) as client:
        asked = pb.ListWithdrawalsRequest(parent=names.parent(member))
        found = [one for page in pages(client.collateral.ListWithdrawals, asked) for one in page.withdrawals]
        write_rows(context, found, "Withdrawals", WITHDRAWALS, "There is no withdrawal.")


@app.command()
def available(context: typer.Context, account: AccountName, asset: Asset) -> None:
    """Show how much could be withdrawn now, and why not more.

    Example: clearctl withdraw available alpha/one USDC
    """
    with connected(context) as client:
        asked = pb.GetWithdrawableRequest(account=names.account(account), asset=names.named("assets", asset))
        found = client.collateral.GetWithdrawable(asked)
        limit = [("Because", found.reason)] if found.reason else []
        write_facts(context, found, [("Can leave", f"{grouped(found.amount)} {asset}"), *limit])
