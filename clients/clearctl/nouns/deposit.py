"""``clearctl deposit``: what custody received."""

from typing import Annotated

import typer

from clearctl import names
from clearctl.amounts import account_name, grouped
from clearctl.asked import AccountName, Amount, noun
from clearctl.connecting import connected, send
from clearctl.writing import write_done
from clearinghouse.v1 import collateral_service_pb2 as pb

app = noun("Deposits: what custody received for an account.")


@app.command()
def notify(
    context: typer.Context,
    account: AccountName,
    amount: Amount,
    asset: Annotated[str, typer.Argument(help="Such as USDC.", metavar="ASSET")],
    reference: Annotated[
        str, typer.Option(help="Custody's own: what has the same counts once.", metavar="TEXT")
    ],
) -> None:
    """Say, as custodian, that an asset arrived for an account: it is credited at once.

    Example: clearctl deposit notify alpha/one 1000 USDC --reference chain/0x51
    """
    request = pb.NotifyDepositRequest(
        account=names.account(account),
        asset=names.named("assets", asset),
        amount=amount,
        reference=reference,
    )
    with connected(context) as client:
        done = send(context, client.collateral.NotifyDeposit, request)
        write_done(context, done, f"Credited {grouped(amount)} {asset} to {account_name(request.account)}.")


@app.command()
def replace(
    context: typer.Context,
    amount: Amount,
    asset: Annotated[str, typer.Argument(help="What is back.", metavar="ASSET")],
) -> None:
    """Say, as custodian, that some of what was lost without a default is back. The outflow gate opens with the last.

    Example: clearctl deposit replace 300 USDC
    """
    request = pb.ReplaceLostAssetRequest(asset=names.named("assets", asset), amount=amount)
    with connected(context) as client:
        done = send(context, client.collateral.ReplaceLostAsset, request)
        write_done(context, done, f"Replaced {grouped(amount)} {asset}.")
