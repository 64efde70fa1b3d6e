"""``clearctl gate``: why nothing may leave."""

import typer

from clearctl.asked import noun
from clearctl.connecting import connected
from clearctl.nouns.status import GATES
from clearctl.writing import write_rows
from clearing_client.client import pages
from clearinghouse.v1 import admin_service_pb2 as pb

app = noun("Gates: while one is shut, nothing of its scope leaves the house.")


@app.command("list")
def list_gates(context: typer.Context) -> None:
    """List gates that are shut, why, and what opens them. For administrators and regulators.

    Example: clearctl gate list
    """
    with connected(context) as client:
        request = pb.ListGatesRequest()
        found = [one for page in pages(client.administration.ListGates, request) for one in page.gates]
        write_rows(context, found, "Shut gates", GATES, "All gates are open.")
