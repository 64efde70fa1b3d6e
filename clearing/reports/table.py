"""Which reports there are. One line for each, here and nowhere else."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from clearing.model.values import Form
from clearing.reports import journal, statement, trial_balance
from clearing.reports.disclosure import items as disclosure_items
from clearing.reports.disclosure import report as disclosure
from clearing.reports.document import Table
from clearing.reports.reading import Reading
from ledger.account import PATH_PATTERN, UNIT_PATTERN

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII)
FORMS = (Form.JSON, Form.CSV, Form.XLSX, Form.HTML)


class Audience(Enum):
    """Who may pull a report, and what of it.

    WHOLE: those who see everything. CUT: everybody, the part about the members that they see. ACCOUNT: everybody, of
    an account that they see. PUBLIC: everybody the same, since it says nothing of one member.
    """

    WHOLE = "whole"
    CUT = "cut"
    ACCOUNT = "account"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a report is asked for with."""

    key: str
    description: str
    pattern: re.Pattern[str]
    is_required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report. ``rule``: the paragraph, standard or message that it follows. ``build`` makes its tables; one without
    has a form of its own. ``covers``: of how many items of its standard how many are computed, if it has a standard.
    """

    id: str
    title: str
    rule: str
    audience: Audience
    build: Callable[[Reading], Iterable[Table]] | None
    parameters: tuple[Parameter, ...] = ()
    covers: tuple[int, int] | None = None

    @property
    def forms(self) -> tuple[Form, ...]:
        """The forms in which it can be pulled, the first if none is asked for."""
        return (Form.FILE,) if self.build is None else FORMS


ACCOUNT = Parameter(
    statement.ACCOUNT, "the path of the account in the ledger, as in its receipts", PATH_PATTERN
)

_REPORTS: tuple[Report, ...] = (
    Report(
        id="disclosure",
        title="The public quantitative disclosure",
        rule="CPMI-IOSCO, public quantitative disclosure standards for central counterparties",
        audience=Audience.PUBLIC,
        build=disclosure.build,
        covers=disclosure_items.COVERED,
    ),
    Report(
        id="journal",
        title="The whole journal: every entry with its legs and metadata",
        rule="rulebook §14",
        audience=Audience.WHOLE,
        build=journal.build,
    ),
    Report(
        id="liability-proof",
        title="That what an account of the ledger is owed is counted in the newest attestation",
        rule="attestation §6",
        audience=Audience.ACCOUNT,
        build=None,
        parameters=(ACCOUNT,),
    ),
    Report(
        id="recompute-bundle",
        title="What the newest attestation was computed from, as far as the caller may see it",
        rule="attestation §9",
        audience=Audience.CUT,
        build=None,
    ),
    Report(
        id="statement",
        title="What moved one account of the ledger",
        rule="rulebook §14",
        audience=Audience.ACCOUNT,
        build=statement.build,
        parameters=(
            ACCOUNT,
            Parameter(statement.UNIT, "what it counts, such as USDC or BTC-PERP", UNIT_PATTERN),
            Parameter(
                statement.FROM,
                "from this entry on; from the first if it is missing",
                _NUMBER,
                is_required=False,
            ),
        ),
    ),
    Report(
        id="trial-balance",
        title="Every account of the ledger with its balance",
        rule="rulebook §14",
        audience=Audience.WHOLE,
        build=trial_balance.build,
    ),
)
REPORTS: Mapping[str, Report] = {report.id: report for report in _REPORTS}
