"""Nothing dangerous happens before its effect was shown and somebody said yes."""

import sys
from collections.abc import Iterable

import typer
from rich.console import RenderableType

from clearctl.asked import REFUSED, WRONG_USE, asked_in, stop
from clearctl.writing import show


def confirm(
    context: typer.Context,
    effect: Iterable[RenderableType],
    question: str,
    *,
    yes: bool,
    typed: str | None = None,
) -> None:
    """Show the ``effect`` on standard error and ask; for the worst the word ``typed`` is the answer.

    A dry run needs no answer. Without a terminal nobody can be asked: then only ``yes`` goes on.
    """
    show(effect, to_errors=True)
    if yes or asked_in(context).dry_run:
        return
    if not sys.stdin.isatty():
        stop("there is no terminal to ask on: nothing was done; --yes does it without asking", WRONG_USE)
    wanted = typed or "yes"
    typer.echo(f"{question} Type {wanted} to go on: ", err=True, nl=False)
    if sys.stdin.readline().strip() != wanted:
        stop("nothing was done", REFUSED)
