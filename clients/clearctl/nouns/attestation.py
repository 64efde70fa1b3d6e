"""``clearctl attestation``: what the house has signed about itself."""

import base64
import json
from itertools import islice
from typing import Annotated

import typer

from clearctl import names
from clearctl.amounts import own_name
from clearctl.asked import Limit, noun
from clearctl.connecting import connected
from clearctl.tables import facts, name, number, text
from clearctl.writing import write, write_rows
from clearing_client.client import pages
from clearinghouse.v1 import attestation_service_pb2 as pb

app = noun("Attestations: what the house has signed about its solvency. `clearctl verify` checks them.")

ATTESTATIONS = (name("attestation", "name"), number("entries", "tree_size"), text("sha256", "payload_sha256"))


@app.command("list")
def list_attestations(context: typer.Context, limit: Limit = 100) -> None:
    """List attestations.

    Example: clearctl attestation list
    """
    with connected(context) as client:
        request = pb.ListAttestationsRequest(page_size=limit)
        every = (
            one for page in pages(client.attestations.ListAttestations, request) for one in page.attestations
        )
        found = list(islice(every, limit or None))
        write_rows(context, found, "Attestations", ATTESTATIONS, "Nothing was attested yet.")


@app.command()
def show(
    context: typer.Context,
    attestation: Annotated[str, typer.Argument(help="Its number, or latest.", metavar="NUMBER")] = "latest",
) -> None:
    """Show an attestation: its statement, not checked. Keep the JSON's `envelope` to verify it.

    Example: clearctl attestation show latest
    """
    with connected(context) as client:
        request = pb.GetAttestationRequest(name=names.named("attestations", attestation))
        found = client.attestations.GetAttestation(request).attestation
        rows = [
            ("Attestation", own_name(found.name)),
            ("Tree", f"{found.tree_size:,} entries"),
            ("Statement", found.payload_sha256),
        ]
        statement = json.loads(base64.b64decode(json.loads(found.envelope)["payload"]))
        write(context, found, lambda: [facts(rows), json.dumps(statement, indent=2, ensure_ascii=False)])
