"""Answers to the terminal, or to a program as JSON."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import typer
from rich.console import Console, RenderableType
from rich.table import Table

from clearctl.asked import asked_in
from clearctl.tables import Column, facts, harmless, listing

WIDTH_WITHOUT_TERMINAL = 200

Answer: TypeAlias = "Any"
"""A message, or a list or mapping of answers, or plain JSON."""


def write(context: typer.Context, answer: Answer, tables: Callable[[], Iterable[RenderableType]]) -> None:
    """Write ``answer`` as JSON, or the ``tables`` that show it."""
    if asked_in(context).is_json:
        typer.echo(json.dumps(plain(answer), indent=2, ensure_ascii=False))
    else:
        show(tables())


def write_rows(
    context: typer.Context, rows: list[Any], title: str, columns: tuple[Column, ...], nothing: str
) -> None:
    """Write a list: an array as JSON, a table for people, and a sentence if there is nothing."""
    write(context, rows, lambda: [listing(title, rows, columns) if rows else nothing])


def write_facts(context: typer.Context, answer: Answer, rows: Iterable[tuple[str, RenderableType]]) -> None:
    """Write one thing."""
    write(context, answer, lambda: [facts(rows)])


def write_done(
    context: typer.Context, answer: Answer, sentence: str, tables: Iterable[RenderableType] = ()
) -> None:
    """Write what a change was answered with: a sentence for people, or what it would have been."""
    told = f"Dry run, nothing was changed. {sentence}" if asked_in(context).dry_run else sentence
    write(context, answer, lambda: [told, *tables])


def show(tables: Iterable[RenderableType], *, to_errors: bool = False) -> None:
    """Show tables on the terminal."""
    console = Console(highlight=False, stderr=to_errors)
    if not console.is_terminal:
        console = Console(highlight=False, stderr=to_errors, width=WIDTH_WITHOUT_TERMINAL)
    for number, table in enumerate(tables):
        if number and isinstance(table, Table):
            console.print()
        console.print(harmless(table), markup=False, soft_wrap=isinstance(table, str))


def plain(answer: Answer) -> Any:
    """The answer in JSON's own types."""
    if isinstance(answer, list):
        return [plain(item) for item in answer]
    if isinstance(answer, Mapping):
        return {name: plain(item) for name, item in answer.items()}
    if isinstance(answer, str | bool | int) or answer is None:
        return answer
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415  # `verify` has no messages

    return MessageToDict(answer, always_print_fields_with_no_presence=True)
