"""``clearctl report``: reports as files that prove themselves: pulled, explained, verified."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from clearctl import names, verification
from clearctl.amounts import own_name
from clearctl.asked import REFUSED, WRONG_USE, Limit, asked_in, noun, stop
from clearctl.connecting import connected
from clearctl.nouns import verify
from clearctl.nouns.ledger import ENTRIES
from clearctl.tables import Column, facts, listing, name, text
from clearctl.writing import write, write_done
from clearing.attest.policy import Policy
from clearing_client.client import Client, new_id, pages
from clearing_client.offline import verify_receipt
from clearing_client.reports import ReportBroken, pull_request
from clearing_client.sealed import BODY_SUFFIX, SEAL_SUFFIX
from clearing_client.sealed import FORMS as FILE_FORMS
from clearinghouse.v1 import ledger_service_pb2 as ledger_pb
from clearinghouse.v1 import report_service_pb2 as pb
from ledger.receipt import parse_entry

if TYPE_CHECKING:
    from clearctl import explaining

app = noun("Reports as files: pulled, explained figure by figure, and verified without asking.")

FORMS = ("json", "csv", "xlsx", "html")

REPORTS = (
    name("report", "name"),
    text("title"),
    text("follows", "rule"),
    Column("computed", lambda row: f"{row.computed_count}/{row.item_count}" if row.item_count else ""),
    Column("--set", lambda row: ", ".join(p.key if p.required else f"[{p.key}]" for p in row.parameters)),
)
ReportFile = Annotated[Path, typer.Argument(help="A report that was pulled.", metavar="FILE")]


@app.command("list")
def list_reports(context: typer.Context) -> None:
    """List the reports that you may pull, how much of its standard each computes, and what it wants to know.

    Example: clearctl report list
    """
    with connected(context) as client:
        request = pb.ListReportsRequest()
        found = [one for page in pages(client.reports.ListReports, request) for one in page.reports]
        write(context, found, lambda: [listing("Reports", found, REPORTS)])


@app.command()
def pull(
    context: typer.Context,
    report: Annotated[str, typer.Argument(help="As `clearctl report list` shows it.", metavar="REPORT")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="What it wants to know.", metavar="KEY=VALUE")
    ] = None,
    as_of: Annotated[int, typer.Option(min=0, help="After the first N entries; 0 for now.", metavar="N")] = 0,
    form: Annotated[
        str, typer.Option(help="json, csv, xlsx or html; the first that it has.", metavar="FORM")
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="The file, or the folder to put it into; here at first.", metavar="PATH"),
    ] = None,
) -> None:
    """Pull a report into a file, and what officers signed of it into FILE.dsse.json beside it.

    The pull is journaled. A download that breaks off goes on where it was, also later under the same --request-id;
    the digest is checked.

    Example: clearctl report pull trial-balance --form csv

    Example: clearctl report pull statement --set ledger_account=members/alpha/accounts/one/cash --set unit=USDC
    """
    if form and form not in FORMS:
        raise typer.BadParameter(f"write one of {', '.join(FORMS)}", param_hint="--form")
    request = pull_request(
        names.named("reports", report),
        parameters=dict(map(_pair, settings or [])),
        as_of=as_of,
        form=form,
        request_id=asked_in(context).request_id or new_id(),
    )
    began_s = time.monotonic()
    with connected(context) as client:
        if asked_in(context).dry_run:
            request.validate_only = True
            told = client.reports.PullReport(request)
            write_done(context, told, f"{report} after {told.as_of:,} entries would be pulled.")
            return
        path, header = _downloaded(client, request, report, out)
    took_s = time.monotonic() - began_s
    told_of = (
        f"{path}: {header.size:,} bytes, after {header.as_of:,} entries, sha256 {header.sha256}\n"
        f"In {took_s:.1f} s, {header.as_of / took_s:,.0f} entries and {header.size / took_s:,.0f} bytes a second.\n"
        f"clearctl report verify {path} --policy policy.txt checks it without asking."
    )
    write_done(context, header, told_of)


def _downloaded(
    client: Client, request: pb.PullReportRequest, report: str, out: Path | None
) -> tuple[Path, pb.ReportHeader]:
    """Into the file or folder ``out``, which has a suffix or has none; while it comes, into a file beside that."""
    is_folder = out is None or out.is_dir() or not out.suffix
    folder = (out or Path()) if is_folder else (out or Path()).parent
    begun = folder / f".{request.request_id.replace('/', '_')}.part"
    with _writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _writable(begun), begun.open("a+b") as file, _progress() as progress:
        task = progress.add_task(f"{report}: being made", total=None)

        def tell(done: int, size: int) -> None:
            told = report if size else f"{report}: being made"
            progress.update(task, description=told, completed=done, total=size or None)

        header = client.download_report(request, file, tell)
    path = folder / _file_name(header, request) if is_folder or out is None else out
    with _writable(path):
        begun.replace(path)
        path.with_name(path.name + SEAL_SUFFIX).write_text(header.envelope, encoding="utf-8")
        path.with_name(path.name + BODY_SUFFIX).write_bytes(header.body)
    return path, header


def _file_name(header: pb.ReportHeader, request: pb.PullReportRequest) -> str:
    """The name of the file: a house that could choose it could write over your policy.

    Raises :class:`ReportBroken` for another one.
    """
    expected = {f"{own_name(request.name)}-{header.as_of}{suffix}" for suffix in FILE_FORMS}
    if header.file_name not in expected:
        raise ReportBroken(f"the house calls the file {header.file_name!r}, and not as the report")
    return header.file_name


@app.command()
def explain(
    context: typer.Context,
    file: ReportFile,
    figure: Annotated[str, typer.Option("--field", help="The field of the figure.", metavar="FIELD")],
    receipts: Annotated[
        Path | None, typer.Option(help="Write the receipt of each entry here.", metavar="DIR")
    ] = None,
    policy: verify.Policy = None,
    limit: Limit = 20,
) -> None:
    """Show where a figure of a report in JSON came from: entries of the journal, each with its receipt.

    With --policy the receipts are checked here, against keys that you believe.

    Example: clearctl report explain disclosure-412.json --field 4.4.3 --policy policy.txt
    """
    from clearctl import explaining  # noqa: PLC0415  # reads reports; the other commands do without

    try:
        opened = explaining.open_report(file, figure)
        trusted = None if policy is None else verification.read_policy(policy)
        with connected(context) as client:
            shown: list[RenderableType] = []
            answer = []
            for one in opened.found:
                traced = explaining.trace(client, file, opened, one, limit)
                held = {
                    entry.sequence: _receipt(client, entry.sequence, trusted, receipts)
                    for term in traced
                    for entry in term.entries
                }
                answer.append(_as_json(one, traced, held))
                shown += _explained(one, traced, held)
    except (explaining.NotExplained, verification.CannotVerify) as error:
        stop(str(error), WRONG_USE)
    write(context, answer, lambda: shown)
    if any(said.startswith("FAILED") for one in answer for said in one["receipts"].values()):
        raise typer.Exit(REFUSED)


app.command("verify")(verify.report)


def _receipt(client: Client, sequence: int, trusted: Policy | None, folder: Path | None) -> str:
    """The receipt of an entry, written and checked as far as that was asked for; says what became of it."""
    asked = ledger_pb.GetReceiptRequest(name=f"entries/{sequence}")
    data = client.ledger.GetReceipt(asked).receipt
    if folder is not None:
        with _writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{sequence}.receipt").write_bytes(data)
    if trusted is None:
        return "not checked"
    failed = [check.detail for check in verify_receipt(trusted, data, None).checks if not check.passed]
    if not failed and parse_entry(data).index != sequence:
        failed = ["it is of another entry"]
    return f"FAILED: {failed[0]}" if failed else "held"


def _explained(
    figure: "explaining.Figure", traced: "list[explaining.Traced]", held: dict[int, str]
) -> Iterator[RenderableType]:
    yield facts([(f"{figure.table}/{figure.field}", ""), *((k, v) for k, v in figure.cells.items() if v)])
    columns = (*ENTRIES, Column("receipt", lambda row: held.get(row.sequence, "")))
    for term in traced:
        title = f"{term.column}: {term.term}" if term.column else term.term
        if term.said:
            yield f"{title}\n  {term.said}"
        elif term.entries:
            yield listing(title, term.entries, columns)
        elif not term.figures:
            yield f"{title}\n  no entries"
        for one in term.figures:
            yield facts([(f"{one.table}/{one.field}", ""), *((k, v) for k, v in one.cells.items() if v)])
        if term.more:
            yield "  and more: --limit 0 shows all"


def _as_json(
    figure: "explaining.Figure", traced: "list[explaining.Traced]", held: dict[int, str]
) -> dict[str, Any]:
    return {
        "table": figure.table,
        "field": figure.field,
        "cells": figure.cells,
        "source": figure.source,
        "terms": [
            {
                "term": term.term,
                "column": term.column,
                "entries": term.entries,
                "figures": [f"{one.table}/{one.field}" for one in term.figures],
                "said": term.said,
                "more": term.more,
            }
            for term in traced
        ],
        "receipts": {str(sequence): said for sequence, said in held.items()},
    }


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        stop(f"{path} cannot be written: {error.strerror}", WRONG_USE)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text}: write KEY=VALUE", param_hint="--set")
    return key, value


def _progress() -> Progress:
    """On standard error, and only on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
