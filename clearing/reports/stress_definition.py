"""The scenarios of the house's stress tests, shaped as the ISO 20022 message auth.057.001.01.

The message has room for one or two representative products of a scenario: those are risk factors here, the first
underlyings that the scenario names and moves, by price. All moves, and those of volatilities, are in the report
``stress``.
"""

from collections.abc import Iterator

from clearing.default.scenarios import OTHERS, Move, Scenario, origin_of, scenarios_of
from clearing.model import decimal
from clearing.model.house import House
from clearing.reports import inputs
from clearing.reports.document import Row, Table
from clearing.reports.iso20022 import ISSUER_LENGTH_MAX, Missing, block, element, id_of, not_computed
from clearing.reports.reading import Reading

ROOT = "CCPPrtflStrssTstgDefRpt"
SCENARIO, ITEM = "ScnroDef", "ScnroDef/StrssItm"
ITEMS_MAX = 2
FACTOR = "StrssPdct/RskFctr"
FRACTION_DECIMALS = 4
"""Basis points as a decimal fraction."""
MISSING = (
    Missing(
        f"{SCENARIO}/Id/SchmeNm", "a code for scenarios: those of the message are for accounts and members"
    ),
    Missing(f"{SCENARIO}/Id/Desc", "a name besides the identification: a scenario has one name"),
    Missing(f"{ITEM}/StrssPdct/Pdct", "a move of one product: scenarios move risk factors"),
    Missing(f"{ITEM}/StrssPdct/Strtgy", "a move of one strategy: scenarios move risk factors"),
)


def build(reading: Reading) -> Iterator[Table]:
    """The scenarios, what they move, and what is not filled."""
    house = reading.house
    identified = (element("Id/Id"), element("Id/Issr"))
    yield block(
        ROOT,
        SCENARIO,
        (*identified, element("ScnroTp"), element("StrtgyStrssTp"), element("Desc")),
        _scenarios(house),
        note="StrtgyStrssTp is PRLL where all prices move one way, and SPRD where they move apart.",
    )
    yield block(
        ROOT,
        ITEM,
        (element("../Id/Id"), element(f"{FACTOR}/Id"), element(f"{FACTOR}/StrssSz/Rltv")),
        _items(house),
        note="* stands for every underlying that the scenario does not name. At most two items of a scenario fit the "
        "message.",
    )
    yield not_computed(ROOT, MISSING)


def _scenarios(house: House) -> Iterator[Row]:
    for one in scenarios_of(house):
        origin = origin_of(one)
        cells = (
            one.name,
            house.founded.house[:ISSUER_LENGTH_MAX],
            "HIST" if origin.is_historical else "HYPT",
            "PRLL" if _is_parallel(one) else "SPRD",
            origin.data,
        )
        yield Row(one.name, cells, inputs.scenario(one, id_of("Desc")))


def _is_parallel(scenario: Scenario) -> bool:
    return len({(move.price_bp > 0) - (move.price_bp < 0) for move in scenario.moves}) == 1


def _items(house: House) -> Iterator[Row]:
    for one in scenarios_of(house):
        for move in _representative(one):
            cells = (one.name, move.underlying, decimal.render(move.price_bp, FRACTION_DECIMALS))
            yield Row(
                f"{one.name}:{move.underlying}", cells, inputs.scenario(one, id_of(f"{FACTOR}/StrssSz/Rltv"))
            )


def _representative(scenario: Scenario) -> list[Move]:
    """The first that are named and move; where none of them does, all others."""
    moving = [move for move in scenario.moves if move.price_bp]
    return [move for move in moving if move.underlying != OTHERS][:ITEMS_MAX] or moving[:1]
