"""Where a row came from, as a text that people read and ``clearctl report explain`` follows.

A source is terms, joined by ``; ``. Each may begin with the column that it is about: ``held=account …``. The terms::

    entries 17,19,25-31                  these entries of the journal
    kind TRADE_NOVATED                   all entries of this kind among those that the report speaks of
    kind TRADE_NOVATED from 400 to 612   those of them from one entry to another, both included
    account members/alpha/pool USDC      what moved this account of the ledger; * stands for any part between slashes
    attestation 12                       computed from what this attestation commits to: its recompute bundle shows it
    answers from 400 to 612              the answers kept of requests refused when the journal had so many entries
    figure TABLE FIELD                   another row of the same report; without a field all rows of the table
    outside WHAT                         nothing here: somebody outside has to say it
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from clearing.model.kinds import Kind

JOIN = "; "
_TERM = re.compile(r"(?:([a-z_][a-z0-9_]*)=)?([a-z]+) (.+)", re.ASCII)
_SPAN = re.compile(r"from ([0-9]+) to ([0-9]+)", re.ASCII)
_BETWEEN = re.compile(r"([A-Z_]+)(?: from ([0-9]+) to ([0-9]+))?", re.ASCII)


class Origin(Enum):
    """What a term of a source names; the value is its first word."""

    ENTRIES = "entries"
    KIND = "kind"
    ACCOUNT = "account"
    ATTESTATION = "attestation"
    ANSWERS = "answers"
    FIGURE = "figure"
    OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Term:
    """One term: what it names, by which words, and about which column; empty for the whole row."""

    origin: Origin
    said: str
    column: str = ""


def joined(*terms: str) -> str:
    """A source of these terms, without those that are empty."""
    return JOIN.join(term for term in terms if term)


def about(column: str, term: str) -> str:
    """``term`` for one column alone."""
    return f"{column}={term}" if term else ""


def entries(sequences: Iterable[int]) -> str:
    """These entries of the journal; empty for none."""
    runs: list[list[int]] = []
    for number in sorted(set(sequences)):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    said = ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"entries {said}" if said else ""


def kind(found: Kind, start: int | None = None, end: int | None = None) -> str:
    """All entries of a kind, or those from ``start`` to ``end``, both included."""
    return f"kind {found.name}" + ("" if start is None else f" from {start} to {end}")


def account(path: str, unit: str) -> str:
    """What moved an account of the ledger. A part of ``path`` may be ``*``."""
    return f"account {path} {unit}"


def attestation(number: int) -> str:
    """What attestation ``number`` commits to."""
    return f"attestation {number}"


def answers(first: int, last: int) -> str:
    """The answers that the house keeps of requests that were refused when the journal had ``first`` to ``last``
    entries. They stand beside the journal, not in it.
    """
    return f"answers from {first} to {last}"


def figure(table: str, field: str = "") -> str:
    """Another row of the same report, or all rows of a table."""
    return f"figure {table} {field}".rstrip()


def outside(what: str) -> str:
    """What is not in the journal: ``what`` names the input that is missing."""
    return f"outside {' '.join(what.replace(';', ',').split())}"


def parse(source: str) -> tuple[Term, ...]:
    """The terms of a source. Raises ``ValueError`` for one that is not written as this module says."""
    return tuple(_term(text) for text in source.split(JOIN)) if source else ()


def _term(text: str) -> Term:
    matched = _TERM.fullmatch(text)
    if matched is None:
        raise ValueError(f"{text!r} is no term of a source")
    column, word, said = matched.groups(default="")
    if word not in {origin.value for origin in Origin}:
        raise ValueError(f"{word!r} is no origin of a figure")
    return Term(Origin(word), said, column)


def sequences(said: str) -> list[range]:
    """The runs of entries that a term ``entries`` names. Raises ``ValueError``."""
    ends = [[int(number) for number in run.split("-")] for run in said.split(",")]
    return [range(run[0], run[-1] + 1) for run in ends]


def answered(said: str) -> tuple[int, int]:
    """How many entries the journal had, at least and at most, when the requests were refused whose answers a term
    ``answers`` names. Raises ``ValueError``.
    """
    matched = _SPAN.fullmatch(said)
    if matched is None:
        raise ValueError(f"{said!r} names no answers")
    return int(matched[1]), int(matched[2])


def between(said: str) -> tuple[Kind, int, int | None]:
    """The kind that a term ``kind`` names, and the first and last entry, None for the end. Raises ``ValueError``."""
    matched = _BETWEEN.fullmatch(said)
    if matched is None or matched[1] not in Kind.__members__:
        raise ValueError(f"{said!r} names no kind of entry")
    return Kind[matched[1]], int(matched[2] or 0), None if matched[3] is None else int(matched[3])
