"""``clearctl``: what people ask of a house and do in it, or check without asking it. Here it is put together.

Exit codes: 0 done · 1 refused by the house, or a check failed · 2 used wrongly · 3 the house was not reached.
A noun's module is loaded when it is used: help is fast, and `verify` loads no gRPC.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from clearctl.asked import WRONG_USE, Asked, Output, stop
from clearctl.profiles import ConfigRefused, config_path, read_profiles

HOUSE = "127.0.0.1:7443"

NOUNS = {
    "The house": {
        "status": "Show the house: its cycle, its journal, its gates, and what it clears.",
        "watch": "Watch it live: calls, auctions, defaults, and what happens.",
        "event": "What happened, one event an entry.",
        "price": "Marks, prices, funding, sources.",
        "gate": "Why nothing may leave.",
        "breaker": "Instruments that are halted or only reduce.",
        "outage": "When prices are missing.",
    },
    "Members": {
        "account": "Accounts, and how they are linked.",
        "trade": "Trades, and halves that wait.",
        "margin": "What must be held, why, and what would be.",
        "deposit": "What custody received.",
        "withdraw": "What leaves the house.",
        "cash": "Cash between linked accounts.",
        "pool": "Contributions to the default pool, and how far it goes.",
        "dues": "What members have to pay.",
        "auction": "Auctions, bids, and who may be assigned.",
        "member": "Who is a member, and how it stands.",
    },
    "When a member fails": {
        "preview": "Who would pay if a member failed now.",
        "default": "Defaults, and what they cost.",
        "porting": "Clients that wait for another member.",
    },
    "Government, by two administrators": {
        "house": "Found the house, and its own money.",
        "param": "The parameters, and proposals of others.",
        "proposal": "What was proposed, and approving it.",
        "change": "Propose a change of the house, or set it up.",
        "cert": "Certificates that are good for nothing.",
    },
    "Proof": {
        "ledger": "Entries, statements, receipts, proofs.",
        "report": "Reports as files.",
        "attestation": "What the house has signed about itself.",
        "verify": "Check what a house has signed, without asking it.",
        "log": "Whether two copies of a log are one history, or evidence.",
        "witness": "Cosign a house's checkpoints, and never two histories.",
        "trust": "Whom verifiers believe, and how that changes.",
    },
    "This program": {"profile": "Houses and keys under a name."},
}


class Nouns(TyperGroup):
    """The nouns in their panels; each is loaded when a command of it is wanted."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # typer's signature
        """All nouns, panel by panel."""
        return [name for panel in NOUNS.values() for name in panel]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  # typer's signature
        """What the help shows of a noun."""
        for panel, nouns in NOUNS.items():
            if cmd_name in nouns:
                return TyperCommand(
                    cmd_name, help=nouns[cmd_name], rich_help_panel=panel, callback=lambda: None
                )
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The noun itself."""
        name, _, rest = super().resolve_command(ctx, args)
        command = typer.main.get_command(import_module(f"clearctl.nouns.{name}").app)
        command.name = name
        return name, command, rest


app = typer.Typer(
    name="clearctl",
    cls=Nouns,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""Ask a clearing house, act in it, or check it without asking.

    [bold]clearctl profile add alpha --house 127.0.0.1:7443 --keys keys/clients/member/alpha[/bold]

    [bold]clearctl status[/bold]

    [bold]clearctl preview alpha --move -25%[/bold]

    [bold]clearctl verify --policy policy.txt --dir published[/bold]

    Options stand before the command. What is left out comes from the environment (CLEARCTL_…), then from the
    profile. Exit codes: 0 done, 1 refused or a check failed, 2 used wrongly, 3 the house was not reached.
    """,
)


def main() -> None:
    """Run the command line."""
    app(prog_name="clearctl")


@app.callback()
def options(
    context: typer.Context,
    house: Annotated[
        str | None,
        typer.Option(
            envvar="CLEARCTL_HOUSE", help=f"Where the house serves; {HOUSE} at first.", metavar="HOST:PORT"
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option(envvar="CLEARCTL_KEYS", help="Your ca.crt, client.crt and client.key.", metavar="DIR"),
    ] = None,
    profile: Annotated[
        str, typer.Option(envvar="CLEARCTL_PROFILE", help="The profile to use.", metavar="NAME")
    ] = "",
    output: Annotated[
        Output | None,
        typer.Option("--output", "-o", envvar="CLEARCTL_OUTPUT", help="How answers are written."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Let the house decide, and change nothing.")
    ] = False,
    request_id: Annotated[
        str, typer.Option(help="Of a change that got no answer: it happens once.", metavar="ID")
    ] = "",
) -> None:
    """Take the options that stand before the command."""
    config = config_path(os.environ)
    found, settled = _settled(config, profile, output)
    place = config.parent / Path(found["keys"]).expanduser() if "keys" in found else None
    context.obj = Asked(
        house=house or found.get("house", HOUSE),
        keys=keys or place,
        output=settled,
        config=config,
        dry_run=dry_run,
        request_id=request_id,
    )


def _settled(config: Path, profile: str, output: Output | None) -> tuple[Mapping[str, str], Output]:
    """What the profile says, and how answers are written."""
    try:
        found = read_profiles(config).settings(profile)
        return found, output or Output(found.get("output", Output.TABLE.value))
    except (ConfigRefused, ValueError) as error:
        stop(str(error), WRONG_USE)
