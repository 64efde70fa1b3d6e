"""The stress report: what the house would lose in each scenario, what stands ready for it, and who has to put in how
much (rulebook §12). It is at the newest cycle's marks; at the state of an attestation its figures are the same.

Losses are measured as ``default/stress`` says, and the pool is sized as ``default/sizing`` says. Who may see what one
member would lose may see all of it: the report has no part for one member. What the house says to everybody is in its
attestations, and which scenarios there are in ``stress-definition``.
"""

from collections.abc import Iterator, Mapping

from clearing import chart
from clearing.default.exits import survivors_at
from clearing.default.scenarios import Scenario, origin_of, scenarios_of
from clearing.default.sizing import Coverage, coverage, exposures
from clearing.default.stress import ScenarioLosses
from clearing.model.house import House, ordered
from clearing.model.ids import MemberId
from clearing.model.kinds import Kind
from clearing.model.values import BP
from clearing.reports import figures, inputs, sources
from clearing.reports.document import Chart, Column, Drawing, Measure, Row, Table
from clearing.reports.facts import newest, put_by
from clearing.reports.reading import Reading
from ledger.amount import divide_down

LIBRARY = "the library of stress scenarios in the code of the house, which scenario_set_digest identifies"
LOSS = "a loss over margin, of which prefunded would be a share"
MARKING = (Kind.SNAPSHOT_ACCEPTED, Kind.CYCLE_CLOSED)
"""Entries that have the marks of a cycle."""
COVER = ("cover_1", "cover_2")


def build(reading: Reading) -> Iterator[Table]:
    """What losses are made of, the figures, what scenarios do, and what stands ready for it."""
    yield Table(id="inputs", title="What losses are made of", columns=inputs.COLUMNS, rows=made_of(reading))
    found = coverage(reading.house)
    yield from _of_scenarios(reading.house, found)
    yield from _of_pool(reading, reading.house, found)


def _of_scenarios(house: House, found: Coverage) -> Iterator[Table]:
    columns = _loss_columns(house)
    yield Table(
        id="figures", title="Stress figures", columns=_figure_columns(house), rows=_figures(house, found)
    )
    yield Table(
        id="scenarios",
        title="Scenarios",
        columns=_scenario_columns(house),
        rows=_scenarios(house, found),
        note="Cover-1 and cover-2 are the losses over margin of the one and the two groups that would lose the most "
        "in the scenario. Coverage is prefunded as a share of cover-2, rounded down; it is empty where nothing would "
        "be lost.",
        charts=CHARTS,
    )
    yield Table(
        id="moves",
        title="What scenarios move",
        columns=MOVE_COLUMNS,
        rows=_moves(house),
        note="An underlying that a scenario does not name moves as * does.",
    )
    yield Table(id="groups", title="Losses over margin by group", columns=columns, rows=_groups(house, found))
    yield Table(
        id="losses", title="Losses over margin by member", columns=columns, rows=_losses(house, found)
    )


def _of_pool(reading: Reading, house: House, found: Coverage) -> Iterator[Table]:
    yield Table(
        id="resources",
        title="Prefunded resources",
        columns=_resource_columns(house),
        rows=_resources(house, found),
    )
    yield Table(
        id="members",
        title="The pool by member",
        columns=_member_columns(house),
        rows=_members(reading, house, found),
        note="Exposure is the member's part of the requirements of all netting sets; its weight is the share of all. "
        "Needed is what the contribution would be if prefunded were cover-2 exactly, by exposure and with the floor.",
        charts=(POOL_CHART,),
    )


# columns ------------------------------------------------------------------------------------------

CHARTS = (
    Chart(
        Drawing.BARS, "Losses over margin by scenario against prefunded", "scenario", (*COVER, "prefunded")
    ),
)
POOL_CHART = Chart(
    Drawing.BARS, "Contributions: required, held, needed", "member", ("required", "held", "needed")
)
MOVE_COLUMNS = (
    Column("scenario", "Scenario"),
    Column("underlying", "Underlying"),
    Column("price", "Move of the price", Measure.PERCENT),
    Column("volatility", "Move of the volatility, of itself", Measure.PERCENT),
)


def _figure_columns(house: House) -> tuple[Column, ...]:
    return (
        Column("what", "What"),
        Column("amount", "Amount", Measure.AMOUNT, house.settlement),
        Column("share", "Share, rounded down", Measure.PERCENT),
        Column("text", "Name or digest"),
    )


def _scenario_columns(house: House) -> tuple[Column, ...]:
    unit = house.settlement
    return (
        Column("scenario", "Scenario"),
        Column("origin", "Historical or hypothetical"),
        Column("data", "Data"),
        Column("members", "Members that would lose", Measure.COUNT),
        Column("groups", "Groups that would lose", Measure.COUNT),
        Column("loss", "Loss over margin of all", Measure.AMOUNT, unit),
        Column("cover_1", "Cover-1", Measure.AMOUNT, unit),
        Column("cover_2", "Cover-2", Measure.AMOUNT, unit),
        Column("prefunded", "Prefunded", Measure.AMOUNT, unit),
        Column("shortfall", "Shortfall against cover-2", Measure.AMOUNT, unit),
        Column("coverage", "Coverage", Measure.PERCENT),
    )


def _loss_columns(house: House) -> tuple[Column, ...]:
    return (
        Column("scenario", "Scenario"),
        Column("who", "Who"),
        Column("loss", "Loss over margin", Measure.AMOUNT, house.settlement),
    )


def _resource_columns(house: House) -> tuple[Column, ...]:
    return (Column("what", "What"), Column("amount", "Amount", Measure.AMOUNT, house.settlement))


def _member_columns(house: House) -> tuple[Column, ...]:
    unit = house.settlement
    return (
        Column("member", "Member"),
        Column("group", "Group of affiliates"),
        Column("exposure", "Exposure", Measure.AMOUNT, unit),
        Column("weight", "Weight, rounded down", Measure.PERCENT),
        Column("required", "Required contribution", Measure.AMOUNT, unit),
        Column("held", "Held", Measure.AMOUNT, unit),
        Column("short", "Missing of what is required", Measure.AMOUNT, unit),
        Column("needed", "Needed for full coverage", Measure.AMOUNT, unit),
    )


# what it is made of -------------------------------------------------------------------------------


def made_of(reading: Reading) -> Iterator[Row]:
    """The accounts and entries from which every loss follows."""
    house = reading.house
    settlement = house.settlement
    if marks := sources.entries(newest(reading, *MARKING)):
        yield Row("marks", ("Marks of the newest cycle",), marks)
    yield Row("cash", ("Cash of all accounts",), _accounts(chart.Line.CASH, settlement))
    for asset in ordered(house.assets):
        if asset.id != settlement:
            source = _accounts(chart.Line.COLLATERAL, asset.id)
            yield Row(f"collateral {asset.id}", (f"Collateral in {asset.id}",), source)
    held = {instrument for positions in house.held.values() for instrument in positions}
    for instrument in sorted(held):
        source = _accounts(chart.Line.POSITION, instrument)
        yield Row(f"position {instrument}", (f"Positions in {instrument}",), source)
    yield Row("unpaid", ("Losses that are fixed and unpaid",), _accounts(chart.Line.LOSS, settlement))
    yield from inputs.rows(
        "parameters", "instruments", "history", "sets", "assets", "groups", "sizes", "answering"
    )


def _accounts(line: chart.Line, unit: str) -> str:
    """Every account of a line of the chart."""
    parts = ("*" if part.startswith("{") else part for part in line.value.split("/"))
    return sources.account("/".join(parts), unit)


# rows ---------------------------------------------------------------------------------------------


def _figures(house: House, found: Coverage) -> Iterator[Row]:
    stress, all_scenarios = found.stress, sources.figure("scenarios")
    needed = sum(one.needed_minor for one in found.members)
    both = sources.joined(all_scenarios, sources.figure("resources"))
    library = sources.about("text", sources.outside(LIBRARY))
    yield _amount(house, "cover_1", "Cover-1", stress.cover1_minor, all_scenarios)
    yield _amount(house, "cover_2", "Cover-2", stress.cover2_minor, all_scenarios)
    yield _amount(house, "prefunded", "Prefunded", stress.prefunded_minor, sources.figure("resources"))
    yield _amount(house, "shortfall", "Shortfall of prefunded against cover-2", found.shortfall_minor, both)
    share = figures.percent(stress.prefunded_minor, stress.cover2_minor)
    of_what = "" if share else sources.about("share", sources.outside(LOSS))
    yield Row("coverage", ("Prefunded as a share of cover-2", "", share, ""), sources.joined(both, of_what))
    yield _amount(
        house, "needed", "Contributions needed for full coverage", needed, sources.figure("members")
    )
    worst = ("Worst scenario, of cover-2", "", "", stress.worst_scenario)
    yield Row("worst_scenario", worst, all_scenarios)
    digest = ("SHA-256 of the scenarios", "", "", stress.scenario_set_digest.hex())
    yield Row("scenario_set_digest", digest, sources.joined(sources.figure("moves"), library))


def _amount(house: House, field: str, what: str, amount_minor: int, source: str) -> Row:
    return Row(field, (what, figures.money(house, amount_minor), "", ""), source)


def _scenarios(house: House, found: Coverage) -> Iterator[Row]:
    prefunded = found.stress.prefunded_minor
    for scenario, lost in zip(scenarios_of(house), found.stress.scenarios, strict=True):
        origin, cover2 = origin_of(scenario), lost.largest(2)
        cells = (
            scenario.name,
            "historical" if origin.is_historical else "hypothetical",
            origin.data,
            str(len(lost.losses)),
            str(len(lost.groups_minor)),
            figures.money(house, sum(lost.groups_minor)),
            figures.money(house, lost.largest(1)),
            figures.money(house, cover2),
            figures.money(house, prefunded),
            figures.money(house, max(0, cover2 - prefunded)),
            figures.percent(prefunded, cover2),
        )
        yield Row(scenario.name, cells, _of_scenario(scenario, is_lost=bool(cover2)))


def _of_scenario(scenario: Scenario, *, is_lost: bool) -> str:
    return sources.joined(
        sources.figure("groups"),
        sources.figure("losses"),
        sources.about("prefunded", sources.figure("resources", "prefunded")),
        inputs.scenario(scenario, "data"),
        "" if is_lost else sources.about("coverage", sources.outside(LOSS)),
    )


def _moves(house: House) -> Iterator[Row]:
    for scenario in scenarios_of(house):
        for move in scenario.moves:
            cells = (
                scenario.name,
                move.underlying,
                figures.basis_points(move.price_bp),
                figures.basis_points(move.volatility_bp),
            )
            yield Row(f"{scenario.name}:{move.underlying}", cells, inputs.scenario(scenario, "price"))


def _losses(house: House, found: Coverage) -> Iterator[Row]:
    source = sources.joined(sources.figure("inputs"), sources.figure("moves"))
    for lost in found.stress.scenarios:
        for part in lost.losses:
            cells = (lost.scenario, part.member, figures.money(house, part.amount_minor))
            yield Row(f"{lost.scenario}:{part.member}", cells, source)


def _groups(house: House, found: Coverage) -> Iterator[Row]:
    for lost in found.stress.scenarios:
        for name, members, loss in largest_first(house, lost):
            cells = (lost.scenario, name, figures.money(house, loss))
            parts = (sources.figure("losses", f"{lost.scenario}:{member}") for member in members)
            yield Row(
                f"{lost.scenario}:{name}", cells, sources.joined(*parts, sources.figure("inputs", "groups"))
            )


def largest_first(house: House, lost: ScenarioLosses) -> list[tuple[str, list[MemberId], int]]:
    """Name, members and loss of each group that loses in a scenario: the largest loss first, equal ones by name."""
    members: dict[str, list[MemberId]] = {}
    losses: dict[str, int] = {}
    for part in lost.losses:
        name = group_name(house, part.member)
        members.setdefault(name, []).append(part.member)
        losses[name] = losses.get(name, 0) + part.amount_minor
    return [
        (name, members[name], losses[name]) for name in sorted(losses, key=lambda one: (-losses[one], one))
    ]


def group_name(house: House, member: MemberId) -> str:
    """What a group is called; a member without affiliates is one by itself."""
    group = house.members[member].group
    return f"group {group}" if group else f"member {member}"


def _resources(house: House, found: Coverage) -> Iterator[Row]:
    asset, at_ms = house.settlement, 0 if house.cycle is None else house.cycle.accepted_ms
    fund = house.balance(chart.insurance_fund(asset))
    bearing = survivors_at(house, at_ms)
    pool = sources.joined(*(_account(chart.pool(member, asset).path, asset) for member in bearing))
    rows = (
        ("pool", "Contributions of who bears losses", sum(map(house.pool, bearing)), pool),
        *(
            (field, what, house.balance(account), _account(account.path, asset))
            for field, what, account in (
                ("skin_in_the_game", "Skin in the game", chart.skin_in_the_game(asset)),
                ("second_tranche", "Second tranche", chart.second_tranche(asset)),
            )
        ),
        (
            "insurance_fund",
            "Insurance fund, what it may pay for one event, rounded down",
            divide_down(fund * house.parameters.fund_event_cap_bp, BP),
            sources.joined(
                _account(chart.insurance_fund(asset).path, asset), sources.figure("inputs", "parameters")
            ),
        ),
    )
    for field, what, amount, source in rows:
        yield Row(field, (what, figures.money(house, amount)), source)
    parts = (sources.figure("resources", field) for field, *_ in rows)
    whole = figures.money(house, found.stress.prefunded_minor)
    yield Row("prefunded", ("Prefunded", whole), sources.joined(*parts))


def _account(path: str, unit: str) -> str:
    return sources.account(path, unit)


def _members(reading: Reading, house: House, found: Coverage) -> Iterator[Row]:
    exposed = exposures(house)
    sized, grouped = (
        put_by(reading, "members", Kind.MEMBER_ADMITTED, kind)
        for kind in (Kind.POOL_SIZED, Kind.MEMBER_GROUPED)
    )
    for one in found.members:
        exposure = exposed[one.member]
        cells = (
            one.member,
            one.group,
            figures.money(house, exposure),
            figures.percent(exposure, sum(exposed.values())),
            figures.money(house, one.required_minor),
            figures.money(house, one.held_minor),
            figures.money(house, max(0, one.required_minor - one.held_minor)),
            figures.money(house, one.needed_minor),
        )
        source = sources.joined(
            sources.about("group", _newest(grouped, one.member)),
            sources.about("exposure", sources.figure("inputs")),
            sources.about("required", _newest(sized, one.member)),
            sources.about("held", _account(chart.pool(one.member, house.settlement).path, house.settlement)),
            *(
                sources.about("needed", sources.figure(table))
                for table in ("figures cover_2", "resources", "inputs")
            ),
        )
        yield Row(one.member, cells, source)
    yield _all_members(house, found, sum(exposed[one.member] for one in found.members))


def _all_members(house: House, found: Coverage, exposure: int) -> Row:
    required, held, needed = (
        sum(getattr(one, name) for one in found.members)
        for name in ("required_minor", "held_minor", "needed_minor")
    )
    short = sum(max(0, one.required_minor - one.held_minor) for one in found.members)
    amounts = [figures.money(house, amount) for amount in (required, held, short, needed)]
    cells = ("", "", figures.money(house, exposure), "", *amounts)
    return Row("*", cells, sources.joined(*(sources.figure("members", one.member) for one in found.members)))


def _newest(sequences: Mapping[str, list[int]], member: str) -> str:
    """The entry that put the member's row last; empty if none did."""
    return sources.entries(sequences.get(member, [])[-1:])
