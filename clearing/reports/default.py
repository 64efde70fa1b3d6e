"""The default report: what happened in each default, who bore its loss, and what became of the claims.

Rules kept here (rulebook §10, §11):

1. What the house wrote down of a default is held against the legs of its waterfall before it is shown: per tier and in
   sum, draws + uncovered = loss. A report that would say anything else is not made.
2. The tables are of all defaults, or of the one that is asked for; each waterfall has a table of its own.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from clearing import chart
from clearing.chart import Line
from clearing.default.purses import GAINS, POOL, WIND_DOWN, claim_account, drawn_from
from clearing.default.waterfall import TIERS
from clearing.model.house import House, decode_changes, ordered
from clearing.model.ids import AccountKey, DefaultId
from clearing.model.kinds import Kind
from clearing.model.values import Default, Draw, Member
from clearing.reports import default_closing, default_money, default_timeline, figures, sources
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.events import Turn, beginnings, turns
from clearing.reports.facts import moved, rows_put
from clearing.reports.reading import Reading, Recorded
from ledger.require import require

DEFAULT = "default"
DEFAULT_PATTERN = re.compile(r"d[1-9][0-9]{0,17}", re.ASCII)
_EVENTS = (
    Column("stage", "Stage"),
    Column("declared", "Declared (T0)", Measure.TIME),
    Column("cycle", "In cycle", Measure.COUNT),
    Column("at", "Entries at T0", Measure.COUNT),
    Column("sets", "Netting sets in default"),
    Column("members", "Members in default"),
    Column("survivors", "Survivors at T0"),
    Column("equity", "Equity of the sets at T0", Measure.AMOUNT),
    Column("answered", "Paid by members that answer", Measure.AMOUNT),
    Column("loss", "Loss in the waterfall", Measure.AMOUNT),
    Column("drawn", "Paid by the tiers", Measure.AMOUNT),
    Column("uncovered", "Paid by no tier", Measure.AMOUNT),
    Column("recovered", "Recovered", Measure.AMOUNT),
    Column("still_uncovered", "Still uncovered", Measure.AMOUNT),
    Column("claims", "Claims left", Measure.AMOUNT),
)
_SETS = (
    Column("default", "Default"),
    Column("netting_set", "Netting set"),
    Column("accounts", "Accounts"),
    Column("begun", "First call or liquidation", Measure.TIME),
    Column("declared", "Declared", Measure.TIME),
    Column("equity", "Equity at T0", Measure.AMOUNT),
    Column("answering", "Members answer in proportion to"),
    Column("deficit", "Deficit after the close-out", Measure.AMOUNT),
)
_TIERS = (
    Column("tier", "Tier", Measure.COUNT),
    Column("name", "What"),
    Column("available", "Available", Measure.AMOUNT),
    Column("amount", "Loss, or what the tier took of it", Measure.AMOUNT),
    Column("passed_on", "Passed on", Measure.AMOUNT),
)
_DRAWS = (
    Column("default", "Default"),
    Column("tier", "Tier", Measure.COUNT),
    Column("name", "What"),
    Column("payer", "Payer"),
    Column("amount", "Paid", Measure.AMOUNT),
    Column("account", "From"),
    Column("claim", "Claim stands in"),
)
_JUNIORS = (
    Column("default", "Default"),
    Column("member", "Survivor"),
    Column("bid_counted", "Its bid counted"),
    Column("paid", "Paid of its contribution", Measure.AMOUNT),
)
_WINNERS = (
    Column("default", "Default"),
    Column("netting_set", "Netting set"),
    Column("gain", "Gain of the window", Measure.AMOUNT),
    Column("paid", "Given up in tier 8", Measure.AMOUNT),
    Column("share", "Share of the gain", Measure.PERCENT),
)
_NAMES = {tier.number: tier.name for tier in TIERS} | {WIND_DOWN: "wind-down"}


def build(reading: Reading) -> Iterator[Table]:
    """The field of an event is its id; an unknown id gives tables without rows."""
    given = reading.given.get(DEFAULT)
    wanted = None if given is None else DefaultId(given)
    known = [one for one in ordered(reading.house.defaults) if wanted in (None, one.id)]
    yield Table(id="events", title="Defaults", columns=_EVENTS, rows=_events(reading, wanted))
    yield Table(id="sets", title="Netting sets in default", columns=_SETS, rows=_sets(reading, wanted))
    yield default_timeline.table(reading, wanted)
    yield from default_closing.tables(reading, wanted)
    yield Table(
        id="juniorisation",
        title="Whose bids counted, and who paid first",
        columns=_JUNIORS,
        rows=_juniors(reading, wanted),
        note="In tier 5 survivors whose bids did not count in the close-out auction pay before the others.",
    )
    yield Table(id="winners", title="Gains of the window", columns=_WINNERS, rows=_winners(reading, wanted))
    for one in known:
        if one.tiers:
            yield _waterfall(reading, one.id)
    yield Table(id="draws", title="Who paid", columns=_DRAWS, rows=_draws(reading, wanted))
    yield from default_money.tables(reading, wanted)


# events ------------------------------------------------------------------------------------------------


def _events(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house = reading.house
    entries: dict[DefaultId, list[int]] = {}
    for turn in turns(reading, wanted):
        entries.setdefault(turn.after.id, []).append(turn.recorded.sequence)
    answered, failed = _answered(reading, wanted), dict[str, list[str]]()
    for recorded in reading.entries(Kind.MEMBER_DEFAULTED):
        default_id = DefaultId(recorded.entry.references[0])
        if wanted in (None, default_id):
            failed.setdefault(default_id, []).extend(m.id for m in _members(recorded))
            entries[default_id].append(recorded.sequence)
    for default_id, found in entries.items():
        one = house.defaults[default_id]
        yield _event(house, one, failed.get(default_id, []), answered.get(default_id, 0), found)


def _members(recorded: Recorded) -> Iterator[Member]:
    return rows_put(decode_changes(recorded.entry.fact), Member)


def _event(house: House, one: Default, failed: list[str], answered: int, entries: list[int]) -> Row:
    is_allocated = bool(one.tiers)
    loss = sum(part.amount_minor for part in one.losses)
    amounts = (
        loss,
        sum(draw.amount_minor for draw in one.draws),
        one.tiers[-1].passed_on_minor if one.tiers else 0,
    )
    cells = (
        one.stage.value,
        figures.time(one.declared_ms),
        str(one.cycle),
        str(one.journal_size),
        " ".join(row.netting_set for row in one.sets),
        " ".join(failed),
        " ".join(one.survivors),
        figures.money(house, sum(row.equity_minor for row in one.sets)),
        figures.money(house, answered),
        *(figures.money(house, amount) if is_allocated else "" for amount in amounts),
        figures.money(house, one.recovered_minor),
        figures.money(house, one.uncovered_minor),
        figures.money(house, sum(claim.amount_minor for claim in one.claims)),
    )
    return Row(one.id, cells, sources.entries(entries))


def _answered(reading: Reading, wanted: DefaultId | None) -> dict[DefaultId, int]:
    found: dict[DefaultId, int] = {}
    for turn in turns(reading, wanted):
        if turn.recorded.entry.kind == Kind.ANSWER_PAID:
            paid = moved(turn.recorded.entry, Line.LOSS, -1)
            found[turn.after.id] = found.get(turn.after.id, 0) + paid
    return found


def _sets(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house, begun = reading.house, beginnings(reading)
    declared: dict[str, Recorded] = {}
    fixed: dict[DefaultId, int] = {}
    for turn in turns(reading, wanted):
        if turn.recorded.entry.kind == Kind.LOSS_FIXED:
            fixed[turn.after.id] = turn.recorded.sequence
        for row in turn.after.sets:
            declared.setdefault(row.netting_set, turn.recorded)
    for default in ordered(house.defaults):
        for row in default.sets if wanted in (None, default.id) else ():
            start, at = begun.sets[row.netting_set], declared[row.netting_set]
            weights = (f"{part.member} {figures.money(house, part.amount_minor)}" for part in row.weights)
            cells = (
                default.id,
                row.netting_set,
                " ".join(default_closing.accounts_of(house, row.netting_set)),
                figures.time(start.time_ms) if start.sequence < at.sequence else "",
                figures.time(at.entry.effective_ms),
                figures.money(house, row.equity_minor),
                ", ".join(weights),
                "" if row.deficit_minor is None else figures.money(house, row.deficit_minor),
            )
            entries = [start.sequence, at.sequence, *([fixed[default.id]] if default.id in fixed else [])]
            yield Row(f"{default.id}:{row.netting_set}", cells, sources.entries(entries))


# the waterfall -----------------------------------------------------------------------------------------


def _waterfalls(reading: Reading, wanted: DefaultId | None) -> Iterator[Turn]:
    for turn in turns(reading, wanted):
        if turn.recorded.entry.kind == Kind.WATERFALL:
            _check(reading.house, turn)
            yield turn


def _check(house: House, turn: Turn) -> None:
    """The rows of the default say what the legs of the waterfall did."""
    one, entry = turn.after, turn.recorded.entry
    loss = sum(part.amount_minor for part in one.losses)
    uncovered = one.tiers[-1].passed_on_minor
    require(moved(entry, Line.LOSS, -1) == loss, "the waterfall fills the loss")
    require(moved(entry, Line.UNCOVERED, 1) == uncovered, "what no tier paid is uncovered")
    require(sum(draw.amount_minor for draw in one.draws) + uncovered == loss, "draws + uncovered = loss")
    drawn, debited = Counter[str](), Counter[str]()
    for draw in one.draws:
        drawn[_from(house, draw)] += draw.amount_minor
    for leg in entry.legs:
        if leg.amount > 0 and chart.line_of(leg.account.path)[0] not in (Line.CLAIMS, Line.UNCOVERED):
            debited[leg.account.path] += leg.amount
    require(drawn == debited, "each draw is a leg, and each leg a draw")
    passed = loss
    for tier in one.tiers:
        paid = sum(draw.amount_minor for draw in one.draws if draw.tier == tier.tier)
        passed -= paid
        require((paid, passed) == (tier.paid_minor, tier.passed_on_minor), f"tier {tier.tier} adds up")


def _from(house: House, draw: Draw) -> str:
    """The account that a draw debited. What a winner had may have been ported since; then it still had it."""
    if draw.tier in (GAINS, WIND_DOWN):
        return chart.cash(AccountKey(draw.payer), house.settlement).path
    return drawn_from(house, draw).path


def _waterfall(reading: Reading, default_id: DefaultId) -> Table:
    return Table(
        id=f"waterfall-{default_id}",
        title=f"Waterfall of {default_id}",
        columns=_TIERS,
        rows=_tiers(reading, default_id),
        note="The loss, what each tier had, took and passed on, and what no tier could pay. What was paid and what is"
        " uncovered make up the loss, and the legs of the entry say the same: else there would be no report.",
        charts=(Chart(Drawing.WATERFALL, f"Who bore the loss of {default_id}", "name", ("amount",)),),
    )


def _tiers(reading: Reading, default_id: DefaultId) -> Iterator[Row]:
    house = reading.house
    for turn in _waterfalls(reading, default_id):
        source, one = sources.entries([turn.recorded.sequence]), turn.after
        loss = figures.money(house, sum(part.amount_minor for part in one.losses))
        yield Row("loss", ("", "loss", "", loss, loss), source)
        for tier in one.tiers:
            amounts = (tier.available_minor, tier.paid_minor, tier.passed_on_minor)
            cells = (str(tier.tier), tier.name, *(figures.money(house, amount) for amount in amounts))
            yield Row(str(tier.tier), cells, source)
        uncovered = figures.money(house, one.tiers[-1].passed_on_minor)
        yield Row("uncovered", ("", "uncovered", "", uncovered, ""), source)


def _draws(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    house = reading.house
    for turn in turns(reading, wanted):
        for draw in _paid(turn):
            claim = claim_account(house, draw.tier, draw.payer).path if draw.tier > 1 else ""
            amount = figures.money(house, draw.amount_minor)
            cells = (
                turn.after.id,
                str(draw.tier),
                _NAMES[draw.tier],
                draw.payer,
                amount,
                _from(house, draw),
                claim,
            )
            source = sources.entries([turn.recorded.sequence])
            yield Row(f"{turn.after.id}:{draw.tier}:{draw.payer}", cells, source)


def _paid(turn: Turn) -> tuple[Draw, ...]:
    """What an entry drew: the tiers in the waterfall, or everybody who has cash in the wind-down."""
    if turn.recorded.entry.kind == Kind.WATERFALL:
        return turn.after.draws
    if turn.recorded.entry.kind != Kind.LOSS_SHARED:
        return ()
    shared = [claim for claim in turn.after.claims if claim.tier == WIND_DOWN]
    return tuple(Draw(tier=WIND_DOWN, payer=one.payer, amount_minor=one.amount_minor) for one in shared)


def _juniors(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    """Of defaults whose waterfall has run."""
    house, closed = reading.house, dict[DefaultId, list[int]]()
    for turn in turns(reading, wanted):
        one, kind = turn.after, turn.recorded.entry.kind
        if kind in (Kind.DEFAULT_DECLARED, Kind.CLOSED_OUT):
            closed.setdefault(one.id, []).append(turn.recorded.sequence)
        if kind != Kind.WATERFALL:
            continue
        paid = {draw.payer: draw.amount_minor for draw in one.draws if draw.tier == POOL}
        failed = {part.member for part in one.losses}
        for member in (each for each in one.survivors if each not in failed):
            counted = "yes" if member in one.bidders else "no"
            cells = (one.id, member, counted, figures.money(house, paid.get(member, 0)))
            source = sources.entries([*closed.get(one.id, []), turn.recorded.sequence])
            yield Row(f"{one.id}:{member}", cells, source)


def _winners(reading: Reading, wanted: DefaultId | None) -> Iterator[Row]:
    """Of defaults that were closed out; what was given up is known once the waterfall has run."""
    house, closed, drawn = reading.house, dict[DefaultId, int](), dict[DefaultId, int]()
    for turn in turns(reading, wanted):
        if turn.recorded.entry.kind == Kind.CLOSED_OUT:
            closed[turn.after.id] = turn.recorded.sequence
        elif turn.recorded.entry.kind == Kind.WATERFALL:
            drawn[turn.after.id] = turn.recorded.sequence
    given = _given_up(reading, drawn)
    for default_id in closed:
        default, is_allocated = house.defaults[default_id], default_id in drawn
        entries = [closed[default_id], *([drawn[default_id]] if is_allocated else [])]
        for gain in default.gains:
            paid = given[default_id, gain.netting_set]
            cells = (
                default_id,
                gain.netting_set,
                figures.money(house, gain.gain_minor),
                figures.money(house, paid) if is_allocated else "",
                figures.percent(paid, gain.gain_minor) if is_allocated else "",
            )
            yield Row(f"{default_id}:{gain.netting_set}", cells, sources.entries(entries))


def _given_up(reading: Reading, drawn: Mapping[DefaultId, int]) -> Counter[tuple[DefaultId, str]]:
    """What tier 8 took, by the netting set in which the account that paid was then."""
    found = Counter[tuple[DefaultId, str]]()
    rows = {drawn[one]: reading.house.defaults[one] for one in drawn}
    if not any(draw.tier == GAINS for row in rows.values() for draw in row.draws):
        return found
    for recorded, house in reading.states(Kind.WATERFALL):
        row = rows.get(recorded.sequence)
        for draw in () if row is None else row.draws:
            if row is not None and draw.tier == GAINS:
                found[row.id, house.accounts[AccountKey(draw.payer)].netting_set] += draw.amount_minor
    return found
