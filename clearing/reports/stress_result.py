"""What each netting set would lose in each scenario, shaped as the ISO 20022 message auth.058.001.01.

A portfolio is a netting set, a margin account. Its stress loss over margin is what would be left of its equity after
the move, below zero (``default/stress``): the margin is all that it holds. A member is flagged with its affiliates, as
cover-1 and cover-2 count them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from clearing.default.scenarios import Scenario
from clearing.default.stress import Integers, ScenarioLosses, left_to, losses_of, stress_array, won_in
from clearing.model.house import House
from clearing.model.ids import MemberId, SetId, member_of
from clearing.reports import inputs, sources
from clearing.reports.document import Row, Table
from clearing.reports.iso20022 import (
    ISSUER_LENGTH_MAX,
    Missing,
    Scheme,
    amount_and_direction,
    block,
    directed,
    element,
    id_of,
    identification,
    indicator,
    named,
    not_computed,
)
from clearing.reports.reading import Reading
from clearing.reports.stress import largest_first, made_of

ROOT = "CCPPrtflStrssTstgRsltRpt"
SCENARIO = "ScnroStrssTstRslt"
PORTFOLIO = f"{SCENARIO}/PrtflStrssTstRslt"
MISSING = (
    Missing(f"{SCENARIO}/Id/Desc", "a name besides the identification: a scenario has one name"),
    Missing(f"{SCENARIO}/Id/SchmeNm", "a scheme of names of scenarios that others use too"),
    Missing(f"{PORTFOLIO}/PrtflId/Desc", "a full name of a netting set: accounts have none"),
)


def build(reading: Reading) -> Iterator[Table]:
    """The scenarios, each portfolio in each of them, and what is not filled."""
    house = reading.house
    found = _measured(house)
    yield Table(id="inputs", title="What losses are made of", columns=inputs.COLUMNS, rows=made_of(reading))
    yield block(ROOT, SCENARIO, (element("Id/Id"), element("Id/Issr")), _scenarios(house, found))
    yield block(
        ROOT,
        PORTFOLIO,
        (
            element("../Id/Id"),
            *identification("PrtflId"),
            *amount_and_direction(house, "StrssLoss"),
            *amount_and_direction(house, "RawStrssLoss"),
            element("Cover1Flg"),
            element("Cover2Flg"),
        ),
        _portfolios(house, found),
        note="Sgn of StrssLoss is true where the loss exceeds the margin, and of RawStrssLoss where there is a loss. "
        "RawStrssLoss is of the positions alone, without margin. A set of several members is flagged where the "
        "largest, or the second largest, group has one of them.",
    )
    yield not_computed(ROOT, MISSING)


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """Sets and scenarios; what each scenario leaves and wins each set, in the shape (scenarios, sets)."""

    scenarios: Sequence[Scenario]
    sets: Sequence[SetId]
    left: Integers
    won: Integers
    losses: tuple[ScenarioLosses, ...]


def _measured(house: House) -> _Measured:
    array, sets = stress_array(house), sorted(house.netting_sets)
    return _Measured(
        array.scenarios,
        sets,
        left_to(house, sets, array),
        won_in(house, sets, array),
        losses_of(house, array),
    )


def _scenarios(house: House, found: _Measured) -> Iterator[Row]:
    for one in found.scenarios:
        cells = (one.name, house.founded.house[:ISSUER_LENGTH_MAX])
        yield Row(one.name, cells, inputs.scenario(one, id_of("Id/Id")))


def _portfolios(house: House, found: _Measured) -> Iterator[Row]:
    members = {
        set_id: {member_of(key) for key in house.netting_sets[set_id].accounts} for set_id in found.sets
    }
    for number, one in enumerate(found.losses):
        ranks = _ranks(house, one)
        source = sources.joined(
            sources.figure("inputs"), inputs.scenario(found.scenarios[number], id_of("../Id/Id"))
        )
        for place, set_id in enumerate(found.sets):
            rank = {ranks.get(member, 0) for member in members[set_id]}
            cells = (
                one.scenario,
                *named(house, set_id, Scheme.MARGIN),
                *_over(house, -int(found.left[number][place])),
                *_over(house, -int(found.won[number][place])),
                indicator(1 in rank),
                indicator(2 in rank),
            )
            yield Row(f"{one.scenario}:{set_id}", cells, source)


def _over(house: House, loss_minor: int) -> tuple[str, str]:
    """An amount, and whether it is a loss: nothing is none."""
    amount, _ = directed(house, loss_minor)
    return amount, indicator(loss_minor > 0)


def _ranks(house: House, lost: ScenarioLosses) -> Mapping[MemberId, int]:
    """By member the place of its group among those that lose, from 1 on."""
    return {
        member: rank
        for rank, (_, members, _) in enumerate(largest_first(house, lost), start=1)
        for member in members
    }
