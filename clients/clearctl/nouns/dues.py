"""``clearctl dues``: what members have to pay."""

import typer

from clearctl import names
from clearctl.asked import Mine, OneMember, noun
from clearctl.connecting import connected, own_member, send
from clearctl.tables import amount, enum, listings, name, time
from clearctl.writing import write_done, write_rows
from clearing_client.client import pages
from clearinghouse.v1 import collateral_service_pb2 as pb

app = noun("What members have to pay: answers for their clients, assessments, replenishments.")

DUES = (name("member"), enum("kind"), name("default"), amount("amount"), time("due"))
PAYMENTS = (enum("kind"), name("default"), amount("amount"))


@app.command("list")
def list_dues(context: typer.Context, member: OneMember = None) -> None:
    """List what is due and until when. Who does not pay in time is in default.

    Example: clearctl dues list --member alpha
    """
    with connected(context) as client:
        request = pb.ListDuesRequest(parent=names.parent(member))
        found = [one for page in pages(client.collateral.ListDues, request) for one in page.dues]
        write_rows(context, found, "Dues", DUES, "Nothing is due.")


@app.command()
def pay(context: typer.Context, member: Mine = None) -> None:
    """Pay from your house account all that is due.

    Example: clearctl dues pay
    """
    request = pb.PayDuesRequest(parent=own_member(context, member))
    with connected(context) as client:
        done = send(context, client.collateral.PayDues, request)
        write_done(context, done, "Paid.", listings("Payments", done.payments, PAYMENTS))
