"""Which reports there are. One line for each, here and nowhere else."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from clearing.reports import journal, proofs, statement, trial_balance
from ledger.account import PATH_PATTERN, UNIT_PATTERN

CSV, JSON_LINES, TEXT = "text/csv", "application/jsonl", "text/plain"
SUFFIXES: Mapping[str, str] = {CSV: ".csv", JSON_LINES: ".jsonl", TEXT: ".txt"}
ACCOUNT, UNIT, FROM = "ledger_account", "unit", "from_sequence"
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a report is asked for with."""

    key: str
    description: str
    pattern: re.Pattern[str]
    is_required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report, and how its rows become a file. One that is not for members is for those who see everything; one
    that is ``cut`` shows each member what is its own.
    """

    id: str
    title: str
    media_type: str
    render: Callable[[Iterable[Any]], Iterator[bytes]]
    parameters: tuple[Parameter, ...] = ()
    for_members: bool = False
    cut: bool = False


_REPORTS: tuple[Report, ...] = (
    Report(
        id="journal",
        title="The whole journal: every entry with its legs and metadata",
        media_type=JSON_LINES,
        render=journal.render,
    ),
    Report(
        id="liability-proof",
        title="That what an account of the ledger is owed is counted in the newest attestation",
        media_type=TEXT,
        render=proofs.render_liability,
        parameters=(
            Parameter(ACCOUNT, "the path of the account in the ledger, as in its receipts", PATH_PATTERN),
        ),
        for_members=True,
    ),
    Report(
        id="recompute-bundle",
        title="What the newest attestation was computed from, as far as the caller may see it",
        media_type=TEXT,
        render=proofs.render_bundle,
        for_members=True,
        cut=True,
    ),
    Report(
        id="statement",
        title="What moved one account of the ledger",
        media_type=CSV,
        render=statement.render,
        parameters=(
            Parameter(ACCOUNT, "the path of the account in the ledger, as in its receipts", PATH_PATTERN),
            Parameter(UNIT, "what it counts, such as USDC or BTC-PERP", UNIT_PATTERN),
            Parameter(
                FROM, "from this entry on; from the first if it is missing", _NUMBER, is_required=False
            ),
        ),
        for_members=True,
    ),
    Report(
        id="trial-balance",
        title="Every account of the ledger with its balance",
        media_type=CSV,
        render=trial_balance.render,
    ),
)
REPORTS: Mapping[str, Report] = {report.id: report for report in _REPORTS}
