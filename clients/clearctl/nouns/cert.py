"""``clearctl cert``: certificates that are good for nothing any more."""

from typing import Annotated

import typer

from clearctl.asked import Reason, Yes, noun
from clearctl.confirming import confirm
from clearctl.connecting import connected, send, tried
from clearctl.tables import facts, name, text, time
from clearctl.writing import write_done, write_rows
from clearing_client.client import pages
from clearinghouse.v1 import admin_service_pb2 as pb

app = noun("Certificates that were revoked. `clearing keys list` shows those that were issued.")

REVOCATIONS = (text("serial"), name("by", "revoker"), time("revoked", "revoke_time"), text("reason"))


@app.command("list")
def list_revocations(context: typer.Context) -> None:
    """List certificates that were revoked. For administrators and regulators.

    Example: clearctl cert list
    """
    with connected(context) as client:
        request = pb.ListRevocationsRequest()
        found = [
            one for page in pages(client.administration.ListRevocations, request) for one in page.revocations
        ]
        write_rows(context, found, "Revoked certificates", REVOCATIONS, "No certificate was revoked.")


@app.command()
def revoke(
    context: typer.Context,
    serial: Annotated[
        str, typer.Argument(help="In hex, as `clearing keys list` shows it.", metavar="SERIAL")
    ],
    reason: Reason,
    yes: Yes = False,
) -> None:
    """Revoke a certificate: every call with it is refused from now on, on open connections too.

    One administrator is enough, and nothing takes it back.

    Example: clearctl cert revoke 3fa9c1 --reason "a laptop was stolen"
    """
    request = pb.RevokeCertificateRequest(serial=serial.lower(), reason=reason)
    with connected(context) as client:
        tried(client.administration.RevokeCertificate, request)
        rows = [
            ("Certificate", serial),
            ("From now on", "every call with it is refused, on open connections too"),
            ("Back", "nothing takes it back; clearing keys renew makes a new one"),
        ]
        confirm(context, [facts(rows)], "Revoke it?", yes=yes)
        done = send(context, client.administration.RevokeCertificate, request)
        write_done(context, done, f"{done.serial} is revoked.")
