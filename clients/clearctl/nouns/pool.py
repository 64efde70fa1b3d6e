"""``clearctl pool``: contributions to the default pool."""

import typer

from clearctl.amounts import grouped
from clearctl.asked import Amount, Mine, noun
from clearctl.connecting import connected, own_member, send
from clearctl.tables import account, amount, listings
from clearctl.writing import write_done
from clearinghouse.v1 import admin_service_pb2 as admin_pb
from clearinghouse.v1 import collateral_service_pb2 as pb

app = noun("The default pool: what members put in, and how much they must.")


@app.command()
def contribute(context: typer.Context, amount: Amount, member: Mine = None) -> None:
    """Pay into the pool from your house account. It is drawn when a loss reaches the survivors' tier.

    Example: clearctl pool contribute 50000
    """
    request = pb.ContributeToPoolRequest(parent=own_member(context, member), amount=amount)
    with connected(context) as client:
        done = send(context, client.collateral.ContributeToPool, request)
        write_done(context, done, f"Contributed {grouped(amount)}.")


@app.command()
def size(context: typer.Context) -> None:
    """Set, as administrator, what every member must contribute, from the requirements of now.

    Example: clearctl --dry-run pool size
    """
    with connected(context) as client:
        request = admin_pb.SizePoolRequest(house=client.house().house.house)
        done = send(context, client.administration.SizePool, request)
        parts = listings("Required contributions", done.contributions, (account("member"), amount("amount")))
        write_done(context, done, "The pool is sized.", parts)
