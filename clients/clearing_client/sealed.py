"""Whether a report is the one that a house signed: files in, checks out, nobody is asked (rulebook §14).

The checks, in this order: the envelope (enough of the officers of the time at which it was signed), the statement in
it, the file (its SHA-256 is the one that was signed), and, for a report in JSON or CSV, that the head that people read
says what was signed. XLSX and HTML name the SHA-256 of the JSON that they were made of; the JSON, if it is given too,
has to have it. The tree of the entries that the report speaks of is given on, to be held against the log.
"""

import csv
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path

from clearing.attest.envelope import EnvelopeRefused, JsonRefused, OpenedEnvelope, TrustSet, read_json
from clearing.attest.opening import open_at
from clearing.attest.policy import Policy
from clearing.attest.report import MEMBERS, ReportRefused, ReportStatement, parse
from clearing.attest.statement import format_time
from clearing.reports.canonical import VERSION
from clearing_client.offline import Check, Report

SEAL_SUFFIX = ".dsse.json"
"""Behind the name of a report: the file with what was signed of it."""
BODY_SUFFIX = ".body"
"""Behind the name of a report: the body of the entry of the journal that says what was signed of it."""
READ_BYTES = 1 << 20
HEAD_BYTES_MAX = 65_536
HEAD = frozenset(MEMBERS) - {"form", "json_sha256", "signed_time"}
"""What of that which is signed stands in the head of the file."""
FORMS = {".json": "json", ".csv": "csv", ".xlsx": "xlsx", ".html": "html", ".txt": "file"}


def verify_report(policy: Policy, file: Path, envelope: bytes, source: Path | None = None) -> Report:
    """Check the report in ``file`` against what was signed of it; ``source``: the JSON that it was made of, if it is at
    hand. Raises ``OSError`` for a file that cannot be read.
    """
    try:
        opened, trust = _opened(policy, envelope)
        statement = parse(opened.payload)
    except (EnvelopeRefused, ReportRefused) as refused:
        return Report(checks=(Check(name="report signature", passed=False, detail=str(refused)),))
    said = statement.said
    roles = ", ".join(opened.roles)
    checks = [
        Check(
            name="report signature",
            passed=True,
            detail=f"signed by {roles} ({trust.threshold} are needed) at {format_time(statement.signed_ms)}",
        ),
        Check(
            name="report of the log",
            passed=said["origin"] == policy.origin,
            detail=f"{said['report']} of {said['house']}, after {said['as_of']} entries of {said['origin']}",
        ),
        Check(
            name="report time",
            passed=said["as_of_time"] <= said["signed_time"],
            detail=f"its last entry is of {said['as_of_time']}",
        ),
        _file(file, statement),
    ]
    if said["form"] in ("json", "csv"):
        checks.append(_head(file, said))
    if source is not None:
        found = _sha256(source)
        passed = found == said["json_sha256"]
        checks.append(Check(name="report in JSON", passed=passed, detail=f"{source.name} has {found}"))
    not_checked = (
        "that the report follows from the journal: `clearctl report explain` shows the entries of each figure",
    )
    return Report(checks=tuple(checks), trees=(statement.tree,), not_checked=not_checked)


def signed_at(policy: Policy, envelope: bytes) -> int | None:
    """When officers signed it, None if too few did: what :func:`verify_report` refuses."""
    try:
        return parse(_opened(policy, envelope)[0].payload).signed_ms
    except (EnvelopeRefused, ReportRefused):
        return None


def _opened(policy: Policy, envelope: bytes) -> tuple[OpenedEnvelope, TrustSet]:
    return open_at(policy, envelope, lambda payload: parse(payload).signed_ms)


def _file(file: Path, statement: ReportStatement) -> Check:
    found = _sha256(file)
    passed = found == statement.sha256 and FORMS.get(file.suffix) in (statement.said["form"], None)
    detail = f"{file.name} has {found}" + ("" if passed else f", signed was {statement.sha256}")
    return Check(name="report file", passed=passed, detail=detail)


def _head(file: Path, said: Mapping[str, str]) -> Check:
    """Whether the head of the file says what was signed."""
    try:
        head = _json_head(file) if said["form"] == "json" else _csv_head(file)
    except ValueError as error:
        return Check(name="report head", passed=False, detail=str(error))
    wrong = ", ".join(sorted(key for key in HEAD | head.keys() if head.get(key) != said.get(key)))
    detail = f"it says otherwise: {wrong}" if wrong else "as signed"
    return Check(name="report head", passed=not wrong, detail=detail)


def _json_head(file: Path) -> dict[str, str]:
    with file.open("rb") as opened:
        line = opened.readline(HEAD_BYTES_MAX)
    try:
        value = read_json(line.rstrip() + b"]}")
    except JsonRefused as refused:
        raise ValueError(f"it does not begin as a report does: {refused}") from None
    match value:
        case {"report": {"version": version, **head}, "tables": [], **rest} if (
            version == VERSION and not rest
        ):
            return {str(key): text if isinstance(text, str) else repr(text) for key, text in head.items()}
        case _:
            raise ValueError("it does not begin as a report does")


def _csv_head(file: Path) -> dict[str, str]:
    with file.open("rb") as opened:
        text = opened.read(HEAD_BYTES_MAX).decode("utf-8", "replace")
    head: dict[str, str] = {}
    try:
        for row in csv.reader(io.StringIO(text, newline="")):
            if len(row) != 3 or row[0] != "report":
                break
            if row[1] in head:
                raise ValueError(f"it says {row[1]} twice")
            head[row[1]] = row[2].removeprefix("'")
    except csv.Error as error:
        raise ValueError(f"it does not begin as a report does: {error}") from None
    if head.pop("field", None) != "value":
        raise ValueError("it does not begin as a report does")
    return head


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while data := opened.read(READ_BYTES):
            digest.update(data)
    return digest.hexdigest()
