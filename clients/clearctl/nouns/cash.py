"""``clearctl cash``: cash between linked accounts."""

import typer

from clearctl import names
from clearctl.amounts import account_name, grouped
from clearctl.asked import AccountName, Amount, noun
from clearctl.connecting import connected, send
from clearctl.writing import write_done
from clearinghouse.v1 import collateral_service_pb2 as pb

app = noun("Cash between linked accounts.")


@app.command()
def move(context: typer.Context, source: AccountName, target: AccountName, amount: Amount) -> None:
    """Move cash from an account of yours to another that is linked to it. The margin of both stays the same.

    Example: clearctl cash move alpha/one beta/one 100
    """
    request = pb.MoveCashRequest(source=names.account(source), target=names.account(target), amount=amount)
    with connected(context) as client:
        done = send(context, client.collateral.MoveCash, request)
        told = (
            f"Moved {grouped(amount)} from {account_name(request.source)} to {account_name(request.target)}."
        )
        write_done(context, done, told)
