"""How the house tests its margin, shaped as the ISO 20022 message auth.065.001.01: a methodology for each margin model
that was in force.
"""

from collections.abc import Iterator

from clearing.margin.backtest import exact
from clearing.margin.table import MODELS
from clearing.model.house import Put, decode_changes
from clearing.model.values import Charter
from clearing.reports import sources
from clearing.reports.document import Row, Table
from clearing.reports.facts import CHARTER_KINDS
from clearing.reports.iso20022 import block, element, indicator, not_computed
from clearing.reports.reading import Reading

ROOT = "CCPBckTstgDefRpt"
CODES = {"expected_shortfall": "EXPS", "scan": "SPAN", "grid": "SAMO", "static": "OTHR"}
"""ModelType1Code of each margin model."""


def build(reading: Reading) -> Iterator[Table]:
    """The methodologies, and what is not filled."""
    columns = ("RskMdlTp/Cd", "MdlCnfdncLvl", "VartnMrgnCleanInd", "Desc")
    yield block(ROOT, "Mthdlgy", tuple(map(element, columns)), _methodologies(reading))
    yield not_computed(ROOT, ())


def _methodologies(reading: Reading) -> Iterator[Row]:
    """In the order in which the models were first in force."""
    used: dict[str, list[int]] = {}
    for recorded in reading.entries(*CHARTER_KINDS):
        for change in decode_changes(recorded.entry.fact):
            if isinstance(change, Put) and isinstance(change.row, Charter):
                used.setdefault(change.row.parameters.margin_model, []).append(recorded.sequence)
    for name, sequences in used.items():
        confidence = f"{1 - exact.TAIL:f}"
        cells = (CODES[name], confidence, indicator(True), _description(name))
        yield Row(name, cells, sources.entries(sequences))


def _description(name: str) -> str:
    return (
        f"Margin model {name}, version {MODELS[name].version}. Each netting set is observed from the last closed cycle "
        "of each UTC day to that of the next. An exception is a loss of the positions that stood at the first, at the "
        "marks of both, larger than the margin of the model, without add-ons and before the requirement factor. The "
        "report backtest has the same with them."
    )
