"""``clearctl report``: reports as files, resumed when cut off, their digest checked."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from clearctl import names
from clearctl.asked import WRONG_USE, noun, stop
from clearctl.connecting import connected
from clearctl.tables import Column, listing, name, text
from clearctl.writing import write, write_done
from clearing_client.client import pages
from clearinghouse.v1 import report_service_pb2 as pb

app = noun("Reports as files: statements, the trial balance, the journal.")

REPORTS = (
    name("report", "name"),
    text("title"),
    text("type", "media_type"),
    Column("--set", lambda row: ", ".join(p.key if p.required else f"[{p.key}]" for p in row.parameters)),
)


@app.command("list")
def list_reports(context: typer.Context) -> None:
    """List the reports that you may pull, and what each wants to know.

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
    out: Annotated[
        Path | None,
        typer.Option(help="The file, or the folder to put it into; here at first.", metavar="PATH"),
    ] = None,
) -> None:
    """Pull a report into a file. A download that breaks off goes on where it was; the digest is checked.

    Example: clearctl report pull statement --set ledger_account=members/alpha/accounts/one/cash --set unit=USDC
    """
    with connected(context) as client, _progress() as progress:
        task = progress.add_task(report, total=None)
        header, data = client.download_report(
            names.named("reports", report),
            dict(map(_pair, settings or [])),
            as_of,
            progress=lambda done, size: progress.update(task, completed=done, total=size),
        )
    path = _place(out, header.file_name)
    try:
        path.write_bytes(data)
    except OSError as error:
        stop(f"{path} cannot be written: {error.strerror}", WRONG_USE)
    told = f"{path}: {header.size:,} bytes, after {header.as_of:,} entries, sha256 {header.sha256}"
    write_done(context, header, told)


def _place(out: Path | None, file_name: str) -> Path:
    """Where to write: the house names a file, never a folder."""
    own = Path(file_name).name
    if out is None:
        return Path(own)
    return out / own if out.is_dir() else out


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text}: write KEY=VALUE", param_hint="--set")
    return key, value


def _progress() -> Progress:
    """On standard error, and only on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
