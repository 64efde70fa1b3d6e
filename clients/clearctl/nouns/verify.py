"""``clearctl verify``: what a house has signed, checked without asking it. Loads no gRPC."""

from pathlib import Path
from typing import Annotated

import typer

from clearctl import verification
from clearctl.asked import REFUSED, stop
from clearctl.writing import write
from clearing_client.sealed import SEAL_SUFFIX

app = typer.Typer(add_completion=False, rich_markup_mode="rich")

Policy = Annotated[Path | None, typer.Option(help="Whom you believe: the policy file.", metavar="FILE")]
Trust = Annotated[
    Path | None,
    typer.Option(
        help="Instead of a policy: the version of the trust root that you pinned. Later ones are looked for "
        "beside it and in DIR/trust.",
        metavar="FILE",
    ),
]
Directory = Annotated[
    Path | None, typer.Option("--dir", help="Holds checkpoint and attestations/NNNNNN.json.", metavar="DIR")
]
Tiles = Annotated[
    Path | None,
    typer.Option(
        help="Holds the log: checkpoint and tile/…", metavar="DIR", show_default="--dir, if it does"
    ),
]
Receipts = Annotated[
    list[Path] | None, typer.Option("--receipt", help="A receipt of an entry or of legs.", metavar="FILE")
]
Account = Annotated[
    str | None,
    typer.Option(help="Whose legs the receipts must show, whose balance the proofs.", metavar="PATH:UNIT"),
]
Attestations = Annotated[
    list[Path] | None,
    typer.Option("--attestation", help="One attestation by itself: its envelope.", metavar="FILE"),
]
Liabilities = Annotated[
    list[Path] | None,
    typer.Option(
        "--liability",
        help="A proof that a balance is counted (`report pull liability-proof`).",
        metavar="FILE",
    ),
]
Bundles = Annotated[
    list[Path] | None,
    typer.Option(
        "--recompute",
        help="Compute the figures again from this bundle (`report pull recompute-bundle`).",
        metavar="BUNDLE",
    ),
]
Seen = Annotated[
    list[Path] | None,
    typer.Option(help="A checkpoint that you kept: the log must go on from it.", metavar="FILE"),
]
At = Annotated[
    str | None,
    typer.Option(help="Also check that the last attestation is in force at this time.", metavar="now|TIME"),
]


@app.callback(invoke_without_command=True)
def verify(  # each is an option that stands alone
    context: typer.Context,
    policy: Policy = None,
    trust: Trust = None,
    directory: Directory = None,
    tiles: Tiles = None,
    receipt: Receipts = None,
    account: Account = None,
    seen: Seen = None,
    at: At = None,
    attestation: Attestations = None,
    liability: Liabilities = None,
    recompute: Bundles = None,
) -> None:
    """Check what a house has signed, without asking it: no server, no database, no network.

    Succeeds only if everything that was asked for was checked and held; what was not is listed. TIME is written
    2026-01-31T12:00:00.000Z. Of a log every leaf is read and hashed.

    Example: clearctl verify --policy policy.txt --dir published --at now

    Example: clearctl verify --trust 1.root.json --dir published --at now

    Example: clearctl verify --policy policy.txt --tiles log --seen checkpoint-of-may

    Example: clearctl verify --policy policy.txt --receipt my.receipt

    Example: clearctl verify --policy policy.txt --dir published --liability my-cash.proof

    Example: clearctl verify --policy policy.txt --dir published --recompute bundle.txt

    Example: clearctl verify report margin-412.json --policy policy.txt
    """
    if context.invoked_subcommand is not None:
        return
    try:
        asked = verification.Asked(
            directory=directory,
            tiles=tiles,
            receipts=tuple(receipt or ()),
            account=None if account is None else verification.account_of(account),
            seen=tuple(seen or ()),
            now_ms=verification.time_ms(at),
            attestations=tuple(attestation or ()),
            liabilities=tuple(liability or ()),
            bundles=tuple(recompute or ()),
            pinned=trust,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        report = verification.verify(policy, asked)
    except verification.CannotVerify as error:
        stop(str(error), REFUSED)
    write(context, verification.as_json(report), lambda: verification.table(report))
    raise typer.Exit(0 if report.ok else REFUSED)


@app.command()
def report(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Reports that were pulled.", metavar="FILE…")],
    signed: Annotated[
        Path | None,
        typer.Option(help="What officers signed of it.", metavar="FILE", show_default="FILE.dsse.json"),
    ] = None,
    policy: Policy = None,
    trust: Trust = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="The JSON that it was made of.",
            metavar="FILE",
            show_default="beside it, if it is there",
        ),
    ] = None,
    tiles: Annotated[
        Path | None,
        typer.Option(
            help="Also whether the log has the tree that it names: checkpoint and tile/…", metavar="DIR"
        ),
    ] = None,
) -> None:
    """Check that reports are those that the house signed, without asking it.

    FILE.dsse.json names its report too, so that reports/*.json takes both.

    Example: clearctl verify report margin-412.json --policy policy.txt

    Example: clearctl verify report reports/*.html --trust 1.root.json --tiles published
    """
    if len(files) > 1 and (signed or source):
        raise typer.BadParameter("--signed and --json speak of one file")
    reports = dict.fromkeys(file.with_name(file.name.removesuffix(SEAL_SUFFIX)) for file in files)
    sealed = [verification.Sealed(file=file, signed=signed, source=source) for file in reports]
    try:
        found = verification.verify_reports(policy, trust, sealed, tiles)
    except verification.CannotVerify as error:
        stop(str(error), REFUSED)
    write(context, verification.as_json(found), lambda: verification.table(found))
    raise typer.Exit(0 if found.ok else REFUSED)
