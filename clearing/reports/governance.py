"""Who changed the house: parameters in force and their history, proposals, and every other act of government (§2, §13).

Rules kept here:

1. A version of the parameters is what an entry put in force; what it changed is what differs from the version before,
   number by number. The parameters in force are those of the newest version, each with the version that set it.
2. A proposal is shown as it stands, with the entries by which it got there. What it would do is its canonical text.
3. An act that took two administrators follows its approval under the same request: so it names who proposed it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

from clearing.chart import Line
from clearing.model.house import Change, House, Put, decode_changes
from clearing.model.kinds import Kind
from clearing.model.values import (
    Asset,
    Breaker,
    ChangeProposal,
    Charter,
    DailyMoves,
    Instrument,
    Member,
    NonDefaultLoss,
    Outage,
    Parameters,
    ParametersProposal,
    Revocation,
    Source,
    WoundDown,
)
from clearing.reports import figures, sources
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.facts import moved, put_by, rows_put
from clearing.reports.reading import Reading, Recorded
from ledger.entry import Entry

_UNITS = {"_bp": "bp", "_ppm": "ppm", "_ms": "ms", "_business_days": "business days"}
_MONEY = "_minor"
_VERSIONS = (
    Column("time", "In force from", Measure.TIME),
    Column("proposal", "Proposal"),
    Column("proposed_by", "Proposed by"),
    Column("proposed", "Proposed", Measure.TIME),
    Column("approved_by", "Approved by"),
    Column("approved", "Approved", Measure.TIME),
    Column("reason", "Reason"),
    Column("immediate", "Immediate"),
    Column("delay", "From approval to effect", Measure.COUNT, "ms"),
    Column("changed", "Numbers changed", Measure.COUNT),
)
_CHANGES = (
    Column("version", "Version", Measure.COUNT),
    Column("parameter", "Parameter"),
    Column("unit", "Unit"),
    Column("old", "Before"),
    Column("new", "From then on"),
)
_IN_FORCE = (
    Column("unit", "Unit"),
    Column("value", "Value"),
    Column("version", "Since version", Measure.COUNT),
)
_PROPOSALS = (
    Column("what", "What"),
    Column("state", "State"),
    Column("proposed_by", "Proposed by"),
    Column("proposed", "Proposed", Measure.TIME),
    Column("reason", "Reason"),
    Column("approved_by", "Approved by"),
    Column("ended_by", "Ended by"),
    Column("ended_reason", "Why it ended"),
    Column("body", "What it would do"),
)
_ACTS = (
    Column("time", "Time", Measure.TIME),
    Column("kind", "Kind"),
    Column("subject", "About"),
    Column("what", "What"),
    Column("reason", "Reason"),
    Column("by", "By"),
    Column("proposal", "Proposal"),
    Column("proposed_by", "Proposed by"),
)


def build(reading: Reading) -> Iterator[Table]:
    """The field of a version is its number, of a parameter its name, of a proposal its id, of an act its entry."""
    yield Table(
        id="versions", title="Versions of the parameters", columns=_VERSIONS, rows=_version_rows(reading)
    )
    yield Table(id="changes", title="What each changed", columns=_CHANGES, rows=_change_rows(reading))
    yield Table(id="in_force", title="Parameters in force", columns=_IN_FORCE, rows=_in_force_rows(reading))
    yield Table(id="proposals", title="Proposals", columns=_PROPOSALS, rows=_proposal_rows(reading))
    yield Table(
        id="acts",
        title="Other acts of government",
        columns=_ACTS,
        rows=_act_rows(reading),
        note="Breakers, members, certificates, price sources, listings, histories, losses without a default, outages"
        " and the wind-down. What a rule did is by whoever asked the house for something when it was due.",
    )


# parameters --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the parameters, the entry that put it in force, and the version before, if there was one."""

    recorded: Recorded
    charter: Charter
    before: Charter | None
    proposal: ParametersProposal | None


def versions(reading: Reading) -> Iterator[Version]:
    """Every version of the parameters, in order."""
    before: Charter | None = None
    for recorded in reading.entries(Kind.HOUSE_FOUNDED, Kind.PARAMETERS_CHANGED):
        changes = decode_changes(recorded.entry.fact)
        charter = next(rows_put(changes, Charter))
        yield Version(recorded, charter, before, next(rows_put(changes, ParametersProposal), None))
        before = charter


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter as people read it: in which unit, and how much. Money stands in whole units."""

    unit: str
    text: str


def numbers(house: House, parameters: Parameters) -> dict[str, Number]:
    """Every parameter by its name; those of an underlying, or of two, by their names too."""
    return dict(_numbers(house, "", parameters))


def _numbers(house: House, name: str, value: object) -> Iterator[tuple[str, Number]]:
    if isinstance(value, tuple):
        for one in value:
            yield from _numbers(house, f"{name}.{_key_of(one)}", one)
    elif is_dataclass(value):
        for field in fields(value):
            inner = f"{name}.{field.name}" if name else field.name
            if not (name and field.name in _KEYS):
                yield from _numbers(house, inner, getattr(value, field.name))
    else:
        yield _number(house, name, value)


_KEYS = ("underlying", "first", "second")
"""Fields that say of what a row of the parameters is."""


def _key_of(row: object) -> str:
    return "/".join(str(getattr(row, key)) for key in _KEYS if hasattr(row, key))


def _number(house: House, name: str, value: object) -> tuple[str, Number]:
    if isinstance(value, int) and name.endswith(_MONEY):
        return name.removesuffix(_MONEY), Number(house.settlement, figures.money(house, value))
    suffix = next((one for one in _UNITS if name.endswith(one)), "")
    return name, Number(_UNITS.get(suffix, ""), str(value))


def _changed(house: House, version: Version) -> Iterator[tuple[str, Number | None, Number | None]]:
    """What differs from the version before, by name; the first has no version before."""
    if version.before is None:
        return
    old, new = numbers(house, version.before.parameters), numbers(house, version.charter.parameters)
    for name in sorted(old | new):
        if old.get(name) != new.get(name):
            yield name, old.get(name), new.get(name)


def _version_rows(reading: Reading) -> Iterator[Row]:
    entries = put_by(reading, "parameter_proposals", *_OF_PARAMETERS)
    approvals = {
        row.id: recorded.entry.effective_ms
        for recorded in reading.entries(Kind.PARAMETERS_APPROVED)
        for row in rows_put(decode_changes(recorded.entry.fact), ParametersProposal)
    }
    for version in versions(reading):
        changed = sum(1 for _ in _changed(reading.house, version))
        found = [version.recorded.sequence]
        if version.proposal is None:
            cells: tuple[str, ...] = ("", version.recorded.entry.actor, "", "", "", "", "", "")
        else:
            found += entries.get(version.proposal.id, [])
            cells = _proposed(version, version.proposal, approvals[version.proposal.id])
        time = figures.time(version.recorded.entry.effective_ms)
        field = str(version.charter.parameters_version)
        yield Row(field, (time, *cells, str(changed)), sources.entries(found))


def _proposed(version: Version, row: ParametersProposal, approved_ms: int) -> tuple[str, ...]:
    return (
        row.id,
        row.proposed_by,
        figures.time(row.proposed_ms),
        row.approved_by,
        figures.time(approved_ms),
        row.reason,
        "yes" if row.immediate else "no",
        str(version.recorded.entry.effective_ms - approved_ms),
    )


def _change_rows(reading: Reading) -> Iterator[Row]:
    for version in versions(reading):
        number, source = version.charter.parameters_version, sources.entries([version.recorded.sequence])
        for name, old, new in _changed(reading.house, version):
            unit = next(one.unit for one in (new, old) if one is not None)
            texts = ("" if one is None else one.text for one in (old, new))
            yield Row(f"{number}:{name}", (str(number), name, unit, *texts), source)


def _in_force_rows(reading: Reading) -> Iterator[Row]:
    house = reading.house
    if house.charter is None:
        return
    since: dict[str, Version] = {}
    for version in versions(reading):
        if version.before is None:
            since = dict.fromkeys(numbers(house, version.charter.parameters), version)
        since |= {name: version for name, _, _ in _changed(house, version)}
    for name, number in sorted(numbers(house, house.parameters).items()):
        version = since[name]
        cells = (number.unit, number.text, str(version.charter.parameters_version))
        yield Row(name, cells, sources.entries([version.recorded.sequence]))


# proposals ---------------------------------------------------------------------------------------------

_OF_PARAMETERS = (
    Kind.PARAMETERS_PROPOSED,
    Kind.PARAMETERS_APPROVED,
    Kind.PARAMETERS_CHANGED,
    Kind.PROPOSAL_ENDED,
)
_OF_CHANGES = (Kind.CHANGE_PROPOSED, Kind.CHANGE_APPROVED, Kind.PROPOSAL_ENDED)


def _proposal_rows(reading: Reading) -> Iterator[Row]:
    """By when they were made, then by name."""
    house = reading.house
    entries = put_by(reading, "parameter_proposals", *_OF_PARAMETERS)
    entries |= put_by(reading, "change_proposals", *_OF_CHANGES)
    charters = {one.charter.parameters_version: one.charter for one in versions(reading)}
    known = [*house.parameter_proposals.values(), *house.change_proposals.values()]
    for row in sorted(known, key=lambda one: (one.proposed_ms, one.id)):
        cells = (
            row.command if isinstance(row, ChangeProposal) else "Parameters",
            row.state.value,
            row.proposed_by,
            figures.time(row.proposed_ms),
            row.reason,
            row.approved_by,
            row.ended_by,
            row.ended_reason,
            row.body if isinstance(row, ChangeProposal) else _wanted(house, charters, row),
        )
        yield Row(row.id, cells, sources.entries(entries[row.id]))


def _wanted(house: House, charters: Mapping[int, Charter], row: ParametersProposal) -> str:
    """The numbers that a proposal wants other than they were in the version that it changes."""
    old = numbers(house, charters[row.base_version].parameters)
    new = numbers(house, row.parameters)
    names = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {_text(old.get(name))} → {_text(new.get(name))}" for name in names)


def _text(number: Number | None) -> str:
    return "none" if number is None else f"{number.text} {number.unit}".rstrip()


# acts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Said:
    """What an act is about, what it did, and why."""

    subject: str
    what: str = ""
    reason: str = ""


def _of_breaker(row: Breaker, kind: Kind) -> _Said:
    if kind is Kind.BREAKER_ASKED and row.asked is not None:
        return _Said(row.scope, f"asked for {row.asked.value}", row.asked_reason)
    return _Said(row.scope, f"{row.state.value}, {row.trigger.value}", row.reason)


def _of_member(row: Member, kind: Kind) -> _Said:
    what = f"group {row.group or 'none'}" if kind is Kind.MEMBER_GROUPED else row.status.value
    return _Said(row.id, what, row.suspended_for)


def _of_source(row: Source, kind: Kind) -> _Said:
    return _Said(row.id, "retired" if row.retired else f"key {row.public_key}")


def _of_outage(row: Outage, kind: Kind) -> _Said:
    one = row.closings[-1]
    is_let = kind is Kind.OUTAGE_CLOSING_LET
    return _Said(one.default, "close at the last good price", one.let_reason if is_let else one.asked_reason)


_SAID: Mapping[type, Callable[..., _Said]] = {
    Asset: lambda row, _: _Said(row.id, f"haircut {row.haircut_bp} bp"),
    Instrument: lambda row, _: _Said(row.id, row.kind.value),
    Member: _of_member,
    Source: _of_source,
    Breaker: _of_breaker,
    Revocation: lambda row, _: _Said(row.serial, "revoked", row.reason),
    WoundDown: lambda row, _: _Said("house", "wound down", row.reason),
    Outage: _of_outage,
}
_ACTING = (
    Kind.ASSET_LISTED,
    Kind.INSTRUMENT_LISTED,
    Kind.MEMBER_APPLIED,
    Kind.MEMBER_ADMITTED,
    Kind.MEMBER_SUSPENDED,
    Kind.MEMBER_REINSTATED,
    Kind.MEMBER_LEFT,
    Kind.MEMBER_GROUPED,
    Kind.CERTIFICATE_REVOKED,
    Kind.SOURCE_REGISTERED,
    Kind.SOURCE_RETIRED,
    Kind.HISTORY_IMPORTED,
    Kind.BREAKER_SET,
    Kind.BREAKER_ASKED,
    Kind.BREAKER_TRIPPED,
    Kind.BREAKER_REOPENED,
    Kind.OUTAGE_CLOSING_ASKED,
    Kind.OUTAGE_CLOSING_LET,
    Kind.LOSS_WITHOUT_DEFAULT,
    Kind.HOUSE_WOUND_DOWN,
)


def _act_rows(reading: Reading) -> Iterator[Row]:
    house = reading.house
    approval: Recorded | None = None
    for recorded in reading.entries(*_ACTING, Kind.CHANGE_APPROVED):
        if recorded.entry.kind == Kind.CHANGE_APPROVED:
            approval = recorded
            continue
        entry, changes = recorded.entry, decode_changes(recorded.entry.fact)
        is_approved = approval is not None and approval.entry.request_id == entry.request_id
        proposal = _approved(approval) if approval is not None and is_approved else None
        said = _said(house, entry, changes)
        cells = (
            figures.time(entry.effective_ms),
            Kind(entry.kind).name,
            said.subject,
            said.what,
            said.reason or ("" if proposal is None else proposal.reason),
            entry.actor,
            "" if proposal is None else proposal.id,
            "" if proposal is None else proposal.proposed_by,
        )
        found = [recorded.sequence, *([approval.sequence] if approval is not None and is_approved else [])]
        yield Row(str(recorded.sequence), cells, sources.entries(found))


def _approved(approval: Recorded) -> ChangeProposal:
    return next(rows_put(decode_changes(approval.entry.fact), ChangeProposal))


def _said(house: House, entry: Entry, changes: tuple[Change, ...]) -> _Said:
    kind = Kind(entry.kind)
    if kind is Kind.LOSS_WITHOUT_DEFAULT:
        loss = next(rows_put(changes, NonDefaultLoss))
        lost = moved(entry, Line.NON_DEFAULT_LOSSES, 1)
        return _Said(loss.asset, f"{figures.asset_amount(house, loss.asset, lost)} lost", loss.reason)
    if kind is Kind.HISTORY_IMPORTED:
        days = [row.day for row in rows_put(changes, DailyMoves)]
        return _Said("history", f"{len(days)} days from {min(days)} to {max(days)}")
    rows = [change.row for change in changes if isinstance(change, Put)]
    row = next(row for row in rows if type(row) in _SAID)
    return _SAID[type(row)](row, kind)
