"""Answers to the terminal, or to a program as JSON."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from rich.console import Console, RenderableType
from rich.table import Table

WIDTH_WITHOUT_TERMINAL = 200

Answer: TypeAlias = "Any"
"""A message, or a list or mapping of answers, or plain JSON."""


def write(as_json: bool, answer: Answer, tables: Callable[[], Iterable[RenderableType]]) -> None:
    """Write ``answer`` as JSON, or the ``tables`` that show it."""
    if as_json:
        print(json.dumps(_plain(answer), indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    for number, table in enumerate(tables()):
        if number and isinstance(table, Table):
            console.print()
        console.print(table)


def _plain(answer: Answer) -> Any:
    if isinstance(answer, list):
        return [_plain(item) for item in answer]
    if isinstance(answer, Mapping):
        return {name: _plain(item) for name, item in answer.items()}
    if isinstance(answer, str | bool) or answer is None:
        return answer
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415  # `verify` has no messages

    return MessageToDict(answer, always_print_fields_with_no_presence=True)
