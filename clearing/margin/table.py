"""The margin models that an administrator can choose from."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from clearing.margin.model import Margin, Positions
from clearing.margin.models import scan
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import Instrument, InstrumentRisk, Parameters, RiskArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A margin model: how it makes a risk array, how it margins a portfolio with one and explains it, what it asks
    of all portfolios at once, which is the same, by how much one lot more can raise that at most, and what its
    scenarios are called.
    """

    name: str
    version: str
    risk_array: Callable[[Iterable[Instrument], Mapping[FeedId, int], Parameters, int], RiskArray]
    margin: Callable[[Mapping[InstrumentId, int], RiskArray, Parameters], Margin]
    amounts: Callable[[Positions, RiskArray, Parameters], list[int]]
    rise: Callable[[InstrumentRisk, Parameters], int]
    scenarios: Callable[[], tuple[str, ...]]


MODELS = {
    "scan": Model(
        name="scan",
        version="2",
        risk_array=scan.risk_array,
        margin=scan.margin,
        amounts=scan.amounts,
        rise=scan.rise,
        scenarios=scan.scenario_names,
    )
}
