"""Who pulled which report, and what it was (rulebook §14).

A pull is journaled before a byte of the report is given out. What was made for the first time is journaled with the
signatures of the officers, so that another report of the same name, time and parameters cannot be shown later.
"""

import re

from clearing.model.commands import PullReport, RecordReport
from clearing.model.draft import Draft
from clearing.model.house import House, single
from clearing.model.ids import NAME_PATTERN
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import ReportAsked

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def pull_report(draft: Draft, command: PullReport) -> Rejected | None:
    """Record that the actor pulls a report. The event says of how many entries it is."""
    asked = command.asked
    if (rejected := _refusal(draft.house, asked)) is not None:
        return rejected
    draft.record(Kind.REPORT_PULLED, single("pull", asked))
    draft.tell(Kind.REPORT_PULLED, f"{asked.report}@{asked.as_of}")
    return None


def record_report(draft: Draft, command: RecordReport) -> Rejected | None:
    """Record what a report was."""
    signed = command.signed
    if (rejected := _refusal(draft.house, signed.asked)) is not None:
        return rejected
    if not _DIGEST.fullmatch(signed.sha256):
        return Rejected(Reason.NAME_MALFORMED, "the digest has 64 lower-case hex digits")
    draft.record(Kind.REPORT_SIGNED, single("report", signed))
    draft.tell(Kind.REPORT_SIGNED, f"{signed.asked.report}@{signed.asked.as_of}")
    return None


def _refusal(house: House, asked: ReportAsked) -> Rejected | None:
    if not NAME_PATTERN.fullmatch(asked.report):
        return Rejected(Reason.NAME_MALFORMED, asked.report)
    if not 0 < asked.as_of <= house.size:
        return Rejected(Reason.TERM_OUT_OF_RANGE, f"the journal has {house.size} entries, not {asked.as_of}")
    return None
