"""A small report, sealed by the officers of ``unit/test_offline_verifier.py``: what outsiders get to parse and check.

The golden files ``report.json``, ``report.csv`` and ``report.dsse.json`` are made here. The tree over the entries is
the one of ``test_offline_verifier.py``, so that the golden files stay as they are when the house comes to journal more.
"""

import hashlib
import io
from collections.abc import Mapping
from functools import cache

from clearing.attest.envelope import PAYLOAD_TYPE, Signer, sign
from clearing.attest.report import ReportStatement, build
from clearing.model.commands import AdmitMember
from clearing.model.ids import MemberId, account_key
from clearing.model.values import Form
from clearing.reports.canonical import to_json
from clearing.reports.document import Head
from clearing.reports.render import SUFFIXES, render
from clearing.reports.table import REPORTS
from tests.builders import ETH, START_MS, USD, empty_house
from tests.readings import reading
from tests.unit.test_offline_verifier import OPERATIONS, ORIGIN, RISK, checkpoint_at

REPORT = "trial-balance"
SIGNED_TIME = "2020-03-12T08:00:05.000Z"
OFFICERS = (RISK, OPERATIONS)


@cache
def made() -> tuple[Head, bytes]:
    """The head and the JSON of the report."""
    world = empty_house()
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    world.deposit(account_key(MemberId("dex"), "house"), 1_000 * USD)
    world.deposit(account_key(MemberId("dex"), "house"), 25 * 10**17, ETH)
    read = reading(world)
    row, build_it = REPORTS[REPORT], REPORTS[REPORT].build
    assert build_it is not None
    head = Head(
        report=REPORT,
        title=row.title,
        rule=row.rule,
        house="house",
        as_of=read.as_of,
        as_of_ms=START_MS,
        origin=ORIGIN,
        root=checkpoint_at(read.as_of).root,
        parameters_version=1,
        parameters_digest=hashlib.sha256(b"parameters").digest(),
        model="scan",
        model_version="3",
    )
    return head, b"".join(to_json(head, build_it(read)))


@cache
def made_in(form: Form) -> bytes:
    """The report in a form."""
    _, data = made()
    if form is Form.JSON:
        return data
    return b"".join(render(form, io.BytesIO(data), hashlib.sha256(data).hexdigest()))


def said(form: Form = Form.JSON, **changed: str) -> Mapping[str, str]:
    """What the predicate says of the report, with some of it changed."""
    head, data = made()
    more = {"form": form.value, "json_sha256": hashlib.sha256(data).hexdigest(), "signed_time": SIGNED_TIME}
    return head.lines() | more | changed


def statement(form: Form = Form.JSON, file: bytes | None = None, **changed: str) -> ReportStatement:
    """What officers sign of the report, or of another ``file``."""
    data = made_in(form) if file is None else file
    name = f"{REPORT}-{made()[0].as_of}{SUFFIXES[form]}"
    return ReportStatement(
        file_name=name, sha256=hashlib.sha256(data).hexdigest(), said=said(form, **changed)
    )


def sealed(one: ReportStatement, signers: tuple[Signer, ...] = OFFICERS) -> bytes:
    """The envelope over a statement."""
    return sign(build(one), PAYLOAD_TYPE, signers)
