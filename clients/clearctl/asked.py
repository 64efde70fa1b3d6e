"""What stands before the command, and how a command ends: options, exit codes, refusals.

Nothing here loads gRPC or rich, so that help is fast.
"""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

REFUSED, WRONG_USE, UNREACHABLE = 1, 2, 3

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PERCENTAGE = re.compile(r"([+-]?)([0-9]{1,4})(?:\.([0-9]{1,2}))?%", re.ASCII)


class Output(Enum):
    """How answers are written."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that stand before the command, with what the profile says in place of those left out."""

    house: str
    keys: Path | None
    output: Output
    config: Path
    dry_run: bool
    request_id: str

    @property
    def is_json(self) -> bool:
        """Whether a program reads the answer."""
        return self.output is Output.JSON


def asked_in(context: typer.Context) -> Asked:
    """What was asked for before the command."""
    asked: Asked = context.obj
    return asked


def harmless_text(text: str) -> str:
    """A text without what a terminal would obey, such as clearing the screen: others may have written it."""
    return _CONTROLS.sub("\ufffd", text)


def stop(message: str, code: int) -> NoReturn:
    """End with a message to standard error."""
    typer.echo(f"clearctl: {harmless_text(message)}", err=True)
    raise typer.Exit(code)


def basis_points(text: str) -> int:
    """``-7.5%`` as -750: the parser of percentages."""
    matched = _PERCENTAGE.fullmatch(text)
    if matched is None:
        raise typer.BadParameter("write a percentage such as -25% or +7.5%")
    sign, whole, fraction = matched.groups(default="")
    points = int(whole) * 100 + int(fraction.ljust(2, "0"))
    return -points if sign == "-" else points


def noun(help_text: str) -> typer.Typer:
    """The commands about one thing."""
    made = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich", help=help_text)
    made.callback()(lambda: None)  # one command is still named
    return made


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: for scripts.")]
Reason = Annotated[str, typer.Option(help="Why, in your words: it goes into the journal.", metavar="TEXT")]
Mine = Annotated[
    str | None,
    typer.Option("--member", help="Your member id, if the certificate does not tell.", metavar="ID"),
]
OneMember = Annotated[str | None, typer.Option("--member", help="Only this member's.", metavar="ID")]
Member = Annotated[str, typer.Argument(help="The member's id, such as alpha.", metavar="MEMBER")]
AccountName = Annotated[str, typer.Argument(help="Such as alpha/one.", metavar="MEMBER/ACCOUNT")]
Amount = Annotated[str, typer.Argument(help="In whole units, such as 1000.50.", metavar="AMOUNT")]
Limit = Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.", metavar="N")]
"""How many rows of a list that may be very long."""
