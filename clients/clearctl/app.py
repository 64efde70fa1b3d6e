"""``clearctl``: what an administrator, a member or a regulator asks of a house, or checks without asking it.

Exit codes: 0 done · 1 refused by the house, or a check failed · 2 used wrongly · 3 the house was not reached.
"""

# ruff: noqa: PLC0415  # a command imports what it needs: help is fast, and `verify` loads no gRPC

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from clearing_client.client import Client

REFUSED, WRONG_USE, UNREACHABLE = 1, 2, 3

_MOVE = re.compile(r"([+-]?)([0-9]{1,4})(?:\.([0-9]{1,2}))?%", re.ASCII)


class Output(Enum):
    """How answers are written."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that stand before the command."""

    house: str
    keys: Path | None
    output: Output


app = typer.Typer(
    name="clearctl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Ask a clearing house, or check it without asking.

    [bold]clearctl --house 127.0.0.1:7443 --keys keys/clients/member/alpha status[/bold]

    [bold]clearctl default preview --member alpha --move -25%[/bold]

    [bold]clearctl verify --policy policy.txt --dir published[/bold]

    Put CLEARCTL_HOUSE and CLEARCTL_KEYS into the environment to leave the first two options out. Exit codes:
    0 done, 1 refused or a check failed, 2 used wrongly, 3 the house was not reached.
    """,
)
Policy = Annotated[Path, typer.Option(help="Whom you believe: the policy file.", metavar="FILE")]
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
Account = Annotated[str | None, typer.Option(help="Whose legs the receipts must show.", metavar="PATH:UNIT")]
Seen = Annotated[
    list[Path] | None,
    typer.Option(help="A checkpoint that you kept: the log must go on from it.", metavar="FILE"),
]
At = Annotated[
    str | None,
    typer.Option(help="Also check that the last attestation is in force at this time.", metavar="now|TIME"),
]
default_app = typer.Typer(no_args_is_help=True, help="What failed, what it cost, and who would pay.")
app.add_typer(default_app, name="default")


def main() -> None:
    """Run the command line."""
    app()


@app.callback()
def options(
    context: typer.Context,
    house: Annotated[
        str, typer.Option(envvar="CLEARCTL_HOUSE", help="Where the house serves.", metavar="HOST:PORT")
    ] = "127.0.0.1:7443",
    keys: Annotated[
        Path | None,
        typer.Option(envvar="CLEARCTL_KEYS", help="Your ca.crt, client.crt and client.key.", metavar="DIR"),
    ] = None,
    output: Annotated[
        Output, typer.Option("--output", "-o", envvar="CLEARCTL_OUTPUT", help="How answers are written.")
    ] = Output.TABLE,
) -> None:
    """Take the options that stand before the command."""
    context.obj = Asked(house, keys, output)


@app.command()
def status(context: typer.Context) -> None:
    """Show the house: its cycle, its journal, its gates, and what it clears.

    Example: clearctl status
    """
    from clearctl import tables, writing

    with _connected(context) as client:
        found = client.house()
        writing.write(_json(context), found, lambda: tables.status(found))


@app.command()
def accounts(
    context: typer.Context,
    member: Annotated[str | None, typer.Option(help="Only this member's accounts.", metavar="ID")] = None,
) -> None:
    """Show accounts: cash, collateral, positions.

    Example: clearctl accounts --member alpha
    """
    from clearctl import tables, writing
    from clearing_client.client import pages
    from clearinghouse.v1.account_service_pb2 import ListAccountsRequest

    with _connected(context) as client:
        unit = tables.unit_of(client.house())
        request = ListAccountsRequest(parent=f"members/{member or '-'}")
        found = [one for page in pages(client.accounts.ListAccounts, request) for one in page.accounts]
        writing.write(_json(context), found, lambda: tables.accounts(found, unit))


@app.command()
def margin(
    context: typer.Context,
    netting_set: Annotated[
        str | None,
        typer.Argument(help="Only this one, such as alpha~house or link~p1.", metavar="NETTING_SET"),
    ] = None,
) -> None:
    """Show what netting sets are worth, what they must hold, and who is called.

    Example: clearctl margin alpha~house
    """
    from clearctl import tables, writing
    from clearing_client.client import pages
    from clearinghouse.v1 import margin_service_pb2 as margin_pb

    with _connected(context) as client:
        unit = tables.unit_of(client.house())
        if netting_set is not None:
            name = f"nettingSets/{netting_set.removeprefix('nettingSets/')}"
            shown = client.margins.GetMargin(margin_pb.GetMarginRequest(netting_set=name)).margin
            writing.write(_json(context), shown, lambda: tables.margins([shown], [], unit))
            return
        of_sets = pages(client.margins.ListMargins, margin_pb.ListMarginsRequest())
        of_calls = pages(client.margins.ListMarginCalls, margin_pb.ListMarginCallsRequest())
        found = [one for page in of_sets for one in page.margins]
        calls = [one for page in of_calls for one in page.margin_calls]
        both = {"margins": found, "marginCalls": calls}
        writing.write(_json(context), both, lambda: tables.margins(found, calls, unit))


@default_app.command("preview")
def default_preview(
    context: typer.Context,
    member: Annotated[str, typer.Option(help="The member that is imagined to fail.", metavar="ID")],
    move: Annotated[
        str | None,
        typer.Option(
            help="Move all prices first. Left out: the worse of the margin model's extremes.", metavar="±N%"
        ),
    ] = None,
) -> None:
    """Show who would pay if a member failed now. Changes nothing.

    Example: clearctl default preview --member alpha --move -25%
    """
    from clearctl import tables, writing
    from clearinghouse.v1.margin_service_pb2 import PreviewDefaultRequest

    move_bp = None if move is None else _basis_points(move)
    request = PreviewDefaultRequest(member=f"members/{member.removeprefix('members/')}", move_bp=move_bp)
    with _connected(context) as client:
        unit = tables.unit_of(client.house())
        found = client.margins.PreviewDefault(request)
        writing.write(_json(context), found, lambda: tables.preview(found, unit))


@default_app.command("list")
def default_list(context: typer.Context) -> None:
    """List defaults, and where each stands.

    Example: clearctl default list
    """
    from clearctl import tables, writing
    from clearing_client.client import pages
    from clearinghouse.v1.default_service_pb2 import ListDefaultsRequest

    with _connected(context) as client:
        unit = tables.unit_of(client.house())
        request = ListDefaultsRequest()
        found = [one for page in pages(client.defaults.ListDefaults, request) for one in page.defaults]
        writing.write(_json(context), found, lambda: tables.defaults(found, unit))


@default_app.command("show")
def default_show(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Its id, as `clearctl default list` shows it.", metavar="DEFAULT")
    ],
) -> None:
    """Show one default: who lost, who paid, tier by tier, and what is still to be repaid.

    Example: clearctl default show d1
    """
    from clearctl import tables, writing
    from clearinghouse.v1.default_service_pb2 import GetDefaultRequest

    request = GetDefaultRequest(name=f"defaults/{name.removeprefix('defaults/')}")
    with _connected(context) as client:
        unit = tables.unit_of(client.house())
        found = client.defaults.GetDefault(request).default
        writing.write(_json(context), found, lambda: tables.default(found, unit))


@app.command()
def verify(  # noqa: PLR0913, PLR0917  # each is an option that stands alone
    context: typer.Context,
    policy: Policy,
    directory: Directory = None,
    tiles: Tiles = None,
    receipt: Receipts = None,
    account: Account = None,
    seen: Seen = None,
    at: At = None,
) -> None:
    """Check what a house has signed, without asking it: no server, no database, no network.

    Succeeds only if everything that was asked for was checked and held. TIME is written
    2026-01-31T12:00:00.000Z. Of a log every leaf is read and hashed.

    Example: clearctl verify --policy policy.txt --dir published --at now

    Example: clearctl verify --policy policy.txt --tiles log --seen checkpoint-of-may

    Example: clearctl verify --policy policy.txt --receipt my.receipt
    """
    from clearctl import verification, writing

    try:
        asked = verification.Asked(
            directory=directory,
            tiles=tiles,
            receipts=tuple(receipt or ()),
            account=None if account is None else verification.account_of(account),
            seen=tuple(seen or ()),
            now_ms=verification.time_ms(at),
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        report = verification.verify(policy, asked)
    except verification.CannotVerify as error:
        _stop(str(error), REFUSED)
    writing.write(_json(context), verification.as_json(report), lambda: verification.table(report))
    raise typer.Exit(0 if report.ok else REFUSED)


@contextmanager
def _connected(context: typer.Context) -> "Iterator[Client]":
    """A client by the options; what it raises becomes a message and an exit code."""
    from clearing_client.client import Client
    from clearing_client.connect import KeysUnreadable
    from clearing_client.errors import ClearingError

    asked: Asked = context.obj
    if asked.keys is None:
        raise typer.BadParameter("say where your keys are, or set CLEARCTL_KEYS", param_hint="--keys")
    try:
        with Client.connect(asked.house, asked.keys) as client:
            yield client
    except KeysUnreadable as error:
        _stop(str(error), WRONG_USE)
    except ClearingError as error:
        if error.unreachable:
            _stop(f"{asked.house} was not reached: {error.message}", UNREACHABLE)
        lines = [str(error), *(f"  {v.field}: {v.description}" for v in error.violations)]
        _stop("\n".join(lines), REFUSED)


def _json(context: typer.Context) -> bool:
    asked: Asked = context.obj
    return asked.output is Output.JSON


def _basis_points(text: str) -> int:
    matched = _MOVE.fullmatch(text)
    if matched is None:
        raise typer.BadParameter("write a percentage such as -25% or +7.5%", param_hint="--move")
    sign, whole, fraction = matched.groups(default="")
    basis_points = int(whole) * 100 + int(fraction.ljust(2, "0"))
    return -basis_points if sign == "-" else basis_points


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"clearctl: {message}", err=True)
    raise typer.Exit(code)
