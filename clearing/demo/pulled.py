"""What a regulator and a member pull in the end, and how a stranger checks it.

The house is started once more on the journal that the run left, and asked as it would be over its interface: the pulls
are journaled, the reports signed. The same seed gives the same files.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from clearing import chart, keys
from clearing.demo.books import MEMBERS
from clearing.demo.driver import SETTLEMENT
from clearing.demo.published import CLEARCTL
from clearing.engine import Engine
from clearing.model.commands import PullReport
from clearing.model.ids import MemberId, house_account
from clearing.model.kinds import Kind
from clearing.model.values import Form, Given, ReportAsked
from clearing.publish import Publisher
from clearing.reporting import Reporting, finished, sealed
from clearing.reports.statement import ACCOUNT, UNIT
from clearing.reports.table import REPORTS
from clearing.spool import Spool
from clearing.workings import Workings
from clearing_client.offline import Check
from clearing_client.sealed import BODY_SUFFIX, SEAL_SUFFIX
from ledger.require import require
from ledger.store.connect import Database
from ledger.store.projector import Projecting
from ledger.store.public_log import PublicLog

FOLDER = "reports"
PAGES = ("default", "disclosure", "margin", "stress", "trial-balance")
"""Reports that are pulled as a page and as a spreadsheet too."""
REGULATOR = "regulator/rita"
WAIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """The files of the reports, and whether a stranger found them to be what officers signed."""

    files: tuple[Path, ...]
    ok: bool
    checks: tuple[Check, ...]
    command: tuple[str, ...]


def pull(
    database: Database, engine: Engine, log: PublicLog, folder: Path, key_folder: Path
) -> Iterator[tuple[int, int]]:
    """Pull every report into ``folder``, and what each member pulls of its own; the log shows it in the end.

    Says how many are pulled, of how many.
    """
    signing, house = keys.read_signing_keys(key_folder), engine.view.state
    publisher = Publisher(engine, signing, log)
    workings = Workings(database, lambda: publisher.attested, signing.blinding)
    workings.keep(house)
    with (
        Projecting(database, lambda: engine.view.size, lambda: 0) as history,
        TemporaryDirectory(prefix="clearing-demo-reports-") as spooled,
    ):
        history.wait_for(house.size, WAIT_S)
        reporting = Reporting(database, workings, Spool(Path(spooled)), sealed(engine, log, lambda: signing))
        folder.mkdir(exist_ok=True)
        wanted = list(_wanted(house.size))
        for number, (place, actor, asked) in enumerate(wanted):
            yield number, len(wanted)
            _written(folder / place, reporting, _journaled(engine, actor, asked))
    publisher.show()


def _wanted(as_of: int) -> Iterator[tuple[str, str, ReportAsked]]:
    """In which folder, who pulls, and what."""
    for report in REPORTS.values():
        if not any(one.is_required for one in report.parameters):
            forms = (Form.JSON, Form.HTML, Form.XLSX) if report.id in PAGES else report.forms[:1]
            for form in forms:
                yield "", REGULATOR, ReportAsked(report=report.id, as_of=as_of, form=form)
    for member in MEMBERS:
        account = chart.cash(house_account(member), SETTLEMENT.id)
        given = (Given(key=ACCOUNT, text=account.path), Given(key=UNIT, text=account.unit))
        own = (MemberId(member),)
        for asked in (
            ReportAsked(report="statement", as_of=as_of, form=Form.CSV, given=given),
            ReportAsked(report="margin", as_of=as_of, form=Form.HTML, members=own),
        ):
            yield member, f"member/{member}", asked


def _journaled(engine: Engine, actor: str, asked: ReportAsked) -> ReportAsked:
    """The pull, of as many entries as there were when it was made first: a run may be done again."""
    name = f"{asked.report}/{asked.form.value}"
    outcome = engine.execute(
        PullReport(asked=asked), request_id=f"{actor}:pull/{name}", actor=actor, body=name.encode("ascii")
    )
    require(outcome.accepted, f"{name} is pulled: {outcome.results}")
    (told,) = (event.subject for event in outcome.events if event.kind == Kind.REPORT_PULLED.name)
    return replace(asked, as_of=int(told.partition("@")[2]))


def _written(folder: Path, reporting: Reporting, asked: ReportAsked) -> Path:
    made = finished(reporting.make(asked))
    folder.mkdir(exist_ok=True)
    path = folder / made.file_name
    with made.download.file as file:
        path.write_bytes(file.read())
    path.with_name(path.name + SEAL_SUFFIX).write_text(made.envelope, encoding="utf-8")
    path.with_name(path.name + BODY_SUFFIX).write_bytes(made.body)
    return path


# the stranger -------------------------------------------------------------------------------------


def check(folder: Path) -> Pulled:
    """Have a process check all reports in ``folder / FOLDER`` with the policy and the log beside it."""
    files = sorted(
        path
        for path in (folder / FOLDER).rglob("*")
        if path.is_file() and not path.name.endswith((SEAL_SUFFIX, BODY_SUFFIX))
    )
    options = ("report", "verify", "--policy", "policy.txt", "--tiles", ".")
    named = [str(path.relative_to(folder)) for path in files]
    done = subprocess.run(  # noqa: S603  # this interpreter, and options made here
        [sys.executable, "-c", CLEARCTL, "--output", "json", *options, *named],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    found = json.loads(done.stdout)
    return Pulled(
        files=tuple(files),
        ok=done.returncode == 0 and found["ok"],
        checks=tuple(Check(**one) for one in found["checks"]),
        command=("clearctl", *options, *(f"{FOLDER}/*.{form}" for form in ("json", "html", "xlsx"))),
    )
