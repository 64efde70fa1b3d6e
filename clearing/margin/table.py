"""The margin models that an administrator can choose from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from clearing.margin.cells import Matrix
from clearing.margin.model import Margin, Market, Positions
from clearing.margin.models import expected_shortfall, static
from clearing.margin.models.grid import GRID
from clearing.margin.models.scan import SCAN
from clearing.model.ids import InstrumentId
from clearing.model.values import Instrument, Parameters, RiskArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A margin model: how it makes a risk array, how it margins a portfolio with one and explains it, what it asks
    of all portfolios at once, which is the same, by how much one lot more can raise that at most, and what its
    scenarios are called. ``looks_back``: whether its scenarios come from what the market did.
    """

    name: str
    version: str
    looks_back: bool
    risk_array: Callable[[Iterable[Instrument], Market, Parameters], RiskArray]
    margin: Callable[[Mapping[InstrumentId, int], RiskArray, Parameters], Margin]
    amounts: Callable[[Positions, RiskArray, Parameters], list[int]]
    rises: Callable[[RiskArray, Parameters], Mapping[InstrumentId, int]]
    scenarios: Callable[[RiskArray], tuple[str, ...]]


def _of_cells(matrix: Matrix, version: str) -> Model:
    return Model(
        name=matrix.model,
        version=version,
        looks_back=False,
        risk_array=matrix.risk_array,
        margin=matrix.margin,
        amounts=matrix.amounts,
        rises=matrix.rises,
        scenarios=lambda _: matrix.names,
    )


MODELS = {
    "expected_shortfall": Model(
        name="expected_shortfall",
        version="1",
        looks_back=True,
        risk_array=expected_shortfall.risk_array,
        margin=expected_shortfall.margin,
        amounts=expected_shortfall.amounts,
        rises=expected_shortfall.rises,
        scenarios=expected_shortfall.scenario_names,
    ),
    "grid": _of_cells(GRID, version="1"),
    "scan": _of_cells(SCAN, version="3"),
    "static": Model(
        name="static",
        version="1",
        looks_back=False,
        risk_array=static.risk_array,
        margin=static.margin,
        amounts=static.amounts,
        rises=static.rises,
        scenarios=static.scenario_names,
    ),
}
