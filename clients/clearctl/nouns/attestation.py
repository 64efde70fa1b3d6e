"""``clearctl attestation``: what the house has signed about itself."""

import base64
import json
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from clearctl import names
from clearctl.amounts import own_name
from clearctl.asked import REFUSED, Limit, noun, stop
from clearctl.connecting import connected
from clearctl.tables import facts, name, number, text
from clearctl.writing import write, write_done, write_rows
from clearing.attest.bundle import to_sigstore
from clearing.attest.envelope import EnvelopeRefused
from clearing.attest.policy import PolicyRefused, parse_policy
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


@app.command()
def bundle(
    context: typer.Context,
    attestation: Annotated[Path, typer.Argument(help="A published attestation.", metavar="FILE")],
    policy: Annotated[Path, typer.Option(help="Names the officers' keys.", metavar="FILE")],
    role: Annotated[str, typer.Option(help="Whose signature.", metavar="risk|operations|compliance")],
    out: Annotated[
        Path | None,
        typer.Option(help="Where the bundle goes.", metavar="FILE", show_default="FILE.ROLE.sigstore.json"),
    ] = None,
) -> None:
    """Write one officer's signature as a sigstore bundle, for cosign and sigstore's other verifiers. Asks no house.

    A bundle has one signature, and those verifiers ask for no more: that two officers signed, `clearctl verify` checks.

    Example: clearctl attestation bundle attestations/000001.json --policy policy.txt --role risk
    """
    target = out or attestation.with_suffix(f".{role}.sigstore.json")
    try:
        officers = {one.role: one.key for one in parse_policy(policy.read_bytes()).trust.keys}
        if role not in officers:
            stop(f"{policy} names no {role}: {', '.join(officers)}", REFUSED)
        target.write_bytes(to_sigstore(attestation.read_bytes(), officers[role]))
    except OSError as error:
        stop(f"{error.filename}: {error.strerror}", REFUSED)
    except (PolicyRefused, EnvelopeRefused) as refused:
        stop(str(refused), REFUSED)
    written = {"bundle": str(target), "role": role, "key": officers[role].key_id}
    write_done(context, written, f"{target} has the signature of {role}, key {officers[role].key_id}")
