"""Which reports there are. One line for each, here and nowhere else."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from clearing.model.values import Form
from clearing.reports import (
    account_positions,
    available_resources,
    backtest,
    backtest_definition,
    backtest_result,
    calls,
    collateral,
    default,
    governance,
    journal,
    margin,
    member_obligations,
    member_requirements,
    operational,
    positions,
    statement,
    stress,
    stress_definition,
    stress_result,
    trial_balance,
)
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
        id="account-positions",
        title="Positions of each account, as ISO 20022 shapes them",
        rule="ISO 20022 auth.068.001.01",
        audience=Audience.CUT,
        build=account_positions.build,
    ),
    Report(
        id="available-resources",
        title="What can absorb the loss of a member, as ISO 20022 shapes it",
        rule="ISO 20022 auth.064.001.01",
        audience=Audience.WHOLE,
        build=available_resources.build,
    ),
    Report(
        id="backtest",
        title="Margin against what positions lost in the following day",
        rule="rulebook §9",
        audience=Audience.CUT,
        build=backtest.build,
    ),
    Report(
        id="backtest-definition",
        title="How margin is back-tested",
        rule="ISO 20022 auth.065.001.01",
        audience=Audience.PUBLIC,
        build=backtest_definition.build,
    ),
    Report(
        id="backtest-result",
        title="Back-test results by month",
        rule="ISO 20022 auth.066.001.01",
        audience=Audience.CUT,
        build=backtest_result.build,
    ),
    Report(
        id="calls",
        title="Margin calls, cash calls and liquidations",
        rule="rulebook §10.1, §10.2",
        audience=Audience.CUT,
        build=calls.build,
    ),
    Report(
        id="collateral",
        title="Collateral by asset, what it counts, and where it is held",
        rule="rulebook §3, §8, §14",
        audience=Audience.CUT,
        build=collateral.build,
    ),
    Report(
        id="default",
        title="Defaults: timeline, auctions, close-out, waterfall, claims and recoveries",
        rule="rulebook §10, §11",
        audience=Audience.WHOLE,
        build=default.build,
        parameters=(
            Parameter(
                default.DEFAULT,
                "one default, such as d1; all if it is missing",
                default.DEFAULT_PATTERN,
                is_required=False,
            ),
        ),
    ),
    Report(
        id="disclosure",
        title="The public quantitative disclosure",
        rule="CPMI-IOSCO, public quantitative disclosure standards for central counterparties",
        audience=Audience.PUBLIC,
        build=disclosure.build,
        covers=disclosure_items.COVERED,
    ),
    Report(
        id="governance",
        title="Parameters and their history, proposals, and other acts of government",
        rule="rulebook §2, §13",
        audience=Audience.WHOLE,
        build=governance.build,
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
        id="margin",
        title="What netting sets must hold and what they hold",
        rule="rulebook §8, §9, §14",
        audience=Audience.CUT,
        build=margin.build,
    ),
    Report(
        id="member-obligations",
        title="What members were called for and paid, as ISO 20022 shapes it",
        rule="ISO 20022 auth.056.001.01",
        audience=Audience.CUT,
        build=member_obligations.build,
    ),
    Report(
        id="member-requirements",
        title="What members have to post, as ISO 20022 shapes it",
        rule="ISO 20022 auth.055.001.01",
        audience=Audience.CUT,
        build=member_requirements.build,
    ),
    Report(
        id="operational",
        title="Availability: cycles, attestations, outages, halts, refused calls, pulls of reports",
        rule="rulebook §6, §7, §13, §14",
        audience=Audience.WHOLE,
        build=operational.build,
    ),
    Report(
        id="positions",
        title="Positions, open interest and concentration",
        rule="rulebook §14",
        audience=Audience.CUT,
        build=positions.build,
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
        id="stress",
        title="Losses in stress scenarios, cover-1 and cover-2, and the size of the pool",
        rule="rulebook §12",
        audience=Audience.WHOLE,
        build=stress.build,
    ),
    Report(
        id="stress-definition",
        title="Stress scenarios",
        rule="ISO 20022 auth.057.001.01",
        audience=Audience.PUBLIC,
        build=stress_definition.build,
    ),
    Report(
        id="stress-result",
        title="Stress losses of each netting set",
        rule="ISO 20022 auth.058.001.01",
        audience=Audience.WHOLE,
        build=stress_result.build,
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
