"""Who paid and who is repaid, in the default report: answers, claims, recoveries, and what is owed back.

Claims stand per tier and payer in the row of the default; an entry that makes them larger made a claim, one that
makes them smaller paid it or cancelled it. Payments of a recovery are read off its legs, in their order.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from clearing import chart
from clearing.chart import Line
from clearing.default.purses import REPAYMENT_ORDER, SKIN
from clearing.model.house import House, Put, decode_changes
from clearing.model.ids import DefaultId
from clearing.model.kinds import Kind
from clearing.model.values import Claim, Default, Due
from clearing.reports import figures, sources
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.events import Turn, turns
from clearing.reports.facts import moved
from clearing.reports.reading import Reading, Recorded
from ledger.entry import Entry

_ANSWERS = (
    Column("default", "Default"),
    Column("member", "Member"),
    Column("answers_for", "Answers for", Measure.AMOUNT),
    Column("paid", "Paid", Measure.AMOUNT),
    Column("unpaid", "Not paid", Measure.AMOUNT),
    Column("due", "Due", Measure.TIME),
)
_CLAIMS = (
    Column("default", "Default"),
    Column("tier", "Tier", Measure.COUNT),
    Column("payer", "Payer"),
    Column("made", "Claim", Measure.AMOUNT),
    Column("repaid", "Repaid", Measure.AMOUNT),
    Column("cancelled", "Cancelled: the assessment was not paid", Measure.AMOUNT),
    Column("left", "Left", Measure.AMOUNT),
)
_RECOVERIES = (
    Column("default", "Default"),
    Column("entry", "Entry", Measure.COUNT),
    Column("time", "Time", Measure.TIME),
    Column("received", "Received", Measure.AMOUNT),
    Column("uncovered", "To what no tier could pay", Measure.AMOUNT),
    Column("claims", "To claims", Measure.AMOUNT),
    Column("estate", "To the estate", Measure.AMOUNT),
)
_REPAYMENTS = (
    Column("default", "Default"),
    Column("entry", "Entry", Measure.COUNT),
    Column("time", "Time", Measure.TIME),
    Column("what", "For"),
    Column("tier", "Tier", Measure.COUNT),
    Column("payer", "Payer who is repaid"),
    Column("account", "Account credited"),
    Column("amount", "Amount", Measure.AMOUNT),
)
_DUES = (
    Column("kind", "Kind"),
    Column("default", "Default"),
    Column("member", "Who owes"),
    Column("called", "Called", Measure.AMOUNT),
    Column("due", "Due", Measure.TIME),
    Column("paid", "Paid", Measure.AMOUNT),
    Column("recovered", "Put back by recoveries", Measure.AMOUNT),
    Column("ended", "Ended without payment", Measure.AMOUNT),
    Column("why", "Why"),
    Column("left", "Left", Measure.AMOUNT),
)
UNCOVERED, CLAIM, ESTATE = "uncovered", "claim", "estate"


def tables(reading: Reading, wanted: DefaultId | None) -> Iterator[Table]:
    """Answers, claims, recoveries and to whom they went, assessments and replenishments."""
    yield Table(
        id="answers",
        title="Members that answer for a deficit",
        columns=_ANSWERS,
        rows=_answer_rows(reading, wanted),
    )
    yield Table(
        id="claims",
        title="Claims on recoveries",
        columns=_CLAIMS,
        rows=_claim_rows(reading, wanted),
        note="Tier 0: members that answered. Tier 9: those that shared the loss when the house was wound down.",
    )
    yield Table(
        id="recoveries", title="Recoveries", columns=_RECOVERIES, rows=_recovery_rows(reading, wanted)
    )
    yield Table(
        id="repayments",
        title="To whom recoveries went",
        columns=_REPAYMENTS,
        rows=_paid_rows(reading, wanted),
    )
    yield Table(
        id="dues",
        title="Assessments, contributions to put back, and the house's skin in the game",
        columns=_DUES,
        rows=_due_rows(reading, wanted),
    )


# answers -----------------------------------------------------------------------------------------------


@dataclass
class _Answer:
    owed: int
    due_ms: int
    paid: int = 0
    entries: list[int] = field(default_factory=list)


def _answer_rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house, found = reading.house, dict[tuple[DefaultId, str], _Answer]()
    for turn in turns(reading, wanted):
        sequence, entry, after = turn.recorded.sequence, turn.recorded.entry, turn.after
        if entry.kind == Kind.LOSS_FIXED:
            for part in after.answers:
                answer = _Answer(part.amount_minor, after.answers_due_ms, entries=[sequence])
                found[after.id, part.member] = answer
        elif entry.kind == Kind.ANSWER_PAID:
            answer = found[after.id, entry.references[1]]
            answer.paid += moved(entry, Line.LOSS, -1)
            answer.entries.append(sequence)
    for (default_id, member), answer in found.items():
        amounts = (answer.owed, answer.paid, answer.owed - answer.paid)
        cells = (
            default_id,
            member,
            *(figures.money(house, amount) for amount in amounts),
            figures.time(answer.due_ms),
        )
        yield Row(f"{default_id}:{member}", cells, sources.entries(answer.entries))


# claims ------------------------------------------------------------------------------------------------


@dataclass
class _Standing:
    made: int = 0
    repaid: int = 0
    cancelled: int = 0
    entries: list[int] = field(default_factory=list)


def claims_of(default: Default | None) -> dict[tuple[int, str], int]:
    """What each payer is still to get back, by tier."""
    found: dict[tuple[int, str], int] = {}
    for claim in () if default is None else default.claims:
        found[claim.tier, claim.payer] = found.get((claim.tier, claim.payer), 0) + claim.amount_minor
    return found


def _changed(turn: Turn) -> dict[tuple[int, str], int]:
    """By how much an entry changed each claim."""
    before, after = claims_of(turn.before), claims_of(turn.after)
    moved_by = {key: after.get(key, 0) - before.get(key, 0) for key in before | after}
    return {key: moved_by[key] for key in sorted(moved_by) if moved_by[key]}


def _claim_rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house, found = reading.house, dict[tuple[DefaultId, int, str], _Standing]()
    for turn in turns(reading, wanted):
        for (tier, payer), amount in _changed(turn).items():
            standing = found.setdefault((turn.after.id, tier, payer), _Standing())
            standing.entries.append(turn.recorded.sequence)
            if amount > 0:
                standing.made += amount
            elif turn.recorded.entry.kind == Kind.RECOVERY_DISTRIBUTED:
                standing.repaid -= amount
            else:
                standing.cancelled -= amount
    for default_id, tier, payer in sorted(found):
        one = found[default_id, tier, payer]
        left = one.made - one.repaid - one.cancelled
        amounts = (one.made, one.repaid, one.cancelled, left)
        cells = (default_id, str(tier), payer, *(figures.money(house, amount) for amount in amounts))
        yield Row(f"{default_id}:{tier}:{payer}", cells, sources.entries(one.entries))


# recoveries --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Payment:
    """A part of a recovery: what for, the claim that it paid if it paid one, and the account that has it."""

    what: str
    account: str
    amount_minor: int
    claim: Claim | None = None


def payments(turn: Turn) -> Iterator[Payment]:
    """To whom a recovery went, in the order of its legs: what is uncovered, claims, the estate."""
    repaid = _repaid(turn)
    for target, amount, is_claim in _pairs(turn.recorded.entry):
        if chart.line_of(target)[0] is Line.UNCOVERED:
            yield Payment(UNCOVERED, target, amount)
        elif is_claim:
            yield Payment(CLAIM, target, amount, next(repaid))
        else:
            yield Payment(ESTATE, target, amount)


def _repaid(turn: Turn) -> Iterator[Claim]:
    """The claims that a recovery paid, in the order in which it pays them."""
    changed = _changed(turn)
    for tier in REPAYMENT_ORDER:
        for (of, payer), amount in changed.items():
            if of == tier:
                yield Claim(tier=tier, payer=payer, amount_minor=-amount)


def _pairs(entry: Entry) -> Iterator[tuple[str, int, bool]]:
    """What was taken of a recovery: the account that got it, how much, and whether a claim shrank by it."""
    legs = list(zip(entry.legs[::2], entry.legs[1::2], strict=True))
    for number, (taken, given) in enumerate(legs):
        if chart.line_of(taken.account.path)[0] is Line.RECOVERIES:
            following = legs[number + 1 : number + 2]
            is_claim = any(chart.line_of(one.account.path)[0] is Line.CLAIMS for _, one in following)
            yield given.account.path, taken.amount, is_claim


def _distributed(reading: Reading, wanted: DefaultId | None) -> Iterator[tuple[Turn, list[Payment]]]:
    for turn in turns(reading, wanted):
        if turn.recorded.entry.kind == Kind.RECOVERY_DISTRIBUTED:
            yield turn, list(payments(turn))


def _recovery_rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house = reading.house
    for turn, paid in _distributed(reading, wanted):
        sequence, entry = turn.recorded.sequence, turn.recorded.entry
        parts = [sum(p.amount_minor for p in paid if p.what == what) for what in (UNCOVERED, CLAIM, ESTATE)]
        cells = (
            turn.after.id,
            str(sequence),
            figures.time(entry.effective_ms),
            *(figures.money(house, amount) for amount in (sum(parts), *parts)),
        )
        yield Row(str(sequence), cells, sources.entries([sequence - 1, sequence]))


def _paid_rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house = reading.house
    for turn, paid in _distributed(reading, wanted):
        sequence = turn.recorded.sequence
        for number, one in enumerate(paid):
            cells = (
                turn.after.id,
                str(sequence),
                figures.time(turn.recorded.entry.effective_ms),
                one.what,
                "" if one.claim is None else str(one.claim.tier),
                "" if one.claim is None else one.claim.payer,
                one.account,
                figures.money(house, one.amount_minor),
            )
            yield Row(f"{sequence}:{number}", cells, sources.entries([sequence]))


# dues --------------------------------------------------------------------------------------------------

_KINDS = {"assessments": "assessment", "replenishments": "replenishment"}
_LOWERING = (
    Kind.WATERFALL,
    Kind.ASSESSMENT_PAID,
    Kind.ASSESSMENT_DEFAULTED,
    Kind.REPLENISHMENT_PAID,
    Kind.REPLENISHMENT_DEFAULTED,
    Kind.POOL_CONTRIBUTED,
    Kind.RECOVERY_DISTRIBUTED,
    Kind.MEMBER_DEFAULTED,
    Kind.HOUSE_WOUND_DOWN,
)
_ENDS = {
    Kind.ASSESSMENT_DEFAULTED: "it was not paid when it was due",
    Kind.REPLENISHMENT_DEFAULTED: "it was not paid when it was due",
    Kind.MEMBER_DEFAULTED: "the member was put in default",
    Kind.HOUSE_WOUND_DOWN: "the house was wound down",
}


@dataclass
class _Due:
    due_ms: int
    called: int
    left: int
    paid: int = 0
    recovered: int = 0
    ended: int = 0
    why: str = ""
    entries: list[int] = field(default_factory=list)


def _due_rows(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house = reading.house
    for (table, default_id, member), one in sorted(_dues(reading, wanted).items()):
        yield _due_row(house, _KINDS[table], default_id, member, one)
    for default_id, one in _restorations(reading, wanted).items():
        yield _due_row(house, "skin in the game", default_id, "house", one)


def _due_row(house: House, kind: str, default_id: str, member: str, one: _Due) -> Row:
    cells = (
        kind,
        default_id,
        member,
        figures.money(house, one.called),
        figures.time(one.due_ms),
        *(figures.money(house, amount) for amount in (one.paid, one.recovered, one.ended)),
        one.why,
        figures.money(house, one.left),
    )
    field_of = f"{kind.replace(' ', '-')}:{default_id}:{member}"
    return Row(field_of, cells, sources.entries(one.entries))


def _dues(reading: Reading, wanted: DefaultId | None) -> dict[tuple[str, str, str], _Due]:
    found: dict[tuple[str, str, str], _Due] = {}
    for recorded in reading.entries(*_LOWERING):
        for change in decode_changes(recorded.entry.fact):
            default_id, _, member = change.key.partition("/")
            if change.table not in _KINDS or wanted not in (None, default_id):
                continue
            row = change.row if isinstance(change, Put) else None
            _follow(found, (change.table, default_id, member), recorded, row)
    return found


def _follow(
    found: dict[tuple[str, str, str], _Due], key: tuple[str, str, str], recorded: Recorded, row: Due | None
) -> None:
    kind, left = Kind(recorded.entry.kind), 0 if row is None else row.amount_minor
    if kind is Kind.WATERFALL and row is not None:
        found[key] = _Due(row.due_ms, left, left, entries=[recorded.sequence])
        return
    one = found[key]
    lowered, one.left = one.left - left, left
    one.entries.append(recorded.sequence)
    if kind in _ENDS:
        one.ended, one.why = lowered, _ENDS[kind]
    elif kind is Kind.RECOVERY_DISTRIBUTED:
        one.recovered += lowered
    else:
        one.paid += lowered


def _restorations(reading: Reading, wanted: DefaultId | None) -> dict[DefaultId, _Due]:
    """What each default drew of the house's first tranche, and what recoveries and the house put back."""
    house, found = reading.house, dict[DefaultId, _Due]()
    for turn in turns(reading, wanted):
        changed = sum(amount for (tier, _), amount in _changed(turn).items() if tier == SKIN)
        restored = turn.after.restored_minor - (0 if turn.before is None else turn.before.restored_minor)
        if changed > 0:
            due_ms = turn.after.declared_ms + house.parameters.restoration_ms
            found[turn.after.id] = _Due(due_ms, changed, changed, entries=[turn.recorded.sequence])
        elif changed or restored:
            one = found[turn.after.id]
            one.recovered, one.paid = one.recovered - changed, one.paid + restored
            one.left = max(0, one.called - one.recovered - one.paid)
            one.entries.append(turn.recorded.sequence)
    return found
