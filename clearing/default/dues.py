"""What members owe for defaults, and by when (rulebook §10.5, §11.7): answers, assessments, replenishments."""

from dataclasses import dataclass
from enum import Enum

from clearing.model.house import House, ordered
from clearing.model.ids import DefaultId, MemberId
from clearing.model.values import Stage


class DueKind(Enum):
    """Why a member owes."""

    ANSWER = "answer"
    ASSESSMENT = "assessment"
    REPLENISHMENT = "replenishment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What a member owes for a default by a time."""

    member: MemberId
    kind: DueKind
    default: DefaultId
    amount_minor: int
    due_ms: int

    @property
    def key(self) -> str:
        """Its place among all dues."""
        return f"{self.member}/{self.kind.value}/{self.default}"


def dues(house: House) -> list[Owed]:
    """All that is owed now."""
    answers = [
        Owed(
            member=part.member,
            kind=DueKind.ANSWER,
            default=default.id,
            amount_minor=part.amount_minor,
            due_ms=default.answers_due_ms,
        )
        for default in ordered(house.defaults)
        if default.stage is Stage.ANSWERING
        for part in default.answers
        if part.amount_minor
    ]
    called = ((DueKind.ASSESSMENT, house.assessments), (DueKind.REPLENISHMENT, house.replenishments))
    return answers + [
        Owed(
            member=due.member,
            kind=kind,
            default=due.default,
            amount_minor=due.amount_minor,
            due_ms=due.due_ms,
        )
        for kind, rows in called
        for due in ordered(rows)
    ]
