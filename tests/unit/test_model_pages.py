"""The pages on the margin models say what the models do: the results in their examples are what the models give."""

import re
from pathlib import Path

import pytest

from clearing.margin.models import expected_shortfall, static
from clearing.margin.models.grid import GRID
from clearing.margin.models.scan import SCAN
from clearing.margin.table import MODELS
from tests.unit import test_expected_shortfall, test_grid, test_scan, test_static
from tests.unit.test_scan import lots

PAGES = Path(__file__).parents[2] / "docs" / "models"
SECTIONS = (
    *("Assumptions", "Formula", "Parameters", "What it promises"),
    *("Where it fails", "A tiny example", "Measured"),
)


def section(page: str, title: str) -> str:
    text = (PAGES / f"{page}.md").read_text()
    return re.split(r"^## ", text.split(f"## {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def shown(page: str) -> list[int]:
    """The figures of an example that are results: those in bold."""
    found = re.findall(r"\*\*([\d,]+)\*\*", section(page, "A tiny example"))
    return [int(figure.replace(",", "")) for figure in found]


def test_every_model_has_a_page_with_all_sections_and_nothing_else_has() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == set(MODELS)
    for model in MODELS:
        text = (PAGES / f"{model}.md").read_text()
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(SECTIONS)


def expected_shortfall_example() -> list[int]:
    array, terms = test_expected_shortfall.ARRAY, test_expected_shortfall.TAIL
    books = (lots(GOLD=1), lots(SILVER=-1), lots(GOLD=1, SILVER=-1))
    copper = expected_shortfall.margin(lots(COPPER=-30), test_expected_shortfall.STILL, terms)
    return [
        *(expected_shortfall.margin(book, array, terms).amount_minor for book in books),
        copper.amount_minor,
    ]


def scan_example() -> list[int]:
    terms = test_scan.PARAMETERS
    hedged = SCAN.margin(lots(GOLD_NEAR=10, GOLD_FAR=-10), test_scan.ARRAY, terms)
    return [hedged.underlyings[0].risk_minor + hedged.basis_minor, hedged.amount_minor]


def grid_example() -> list[int]:
    hedged = lots(GOLD_NEAR=11, GOLD_FAR=-10)
    return [GRID.margin(hedged, test_grid.ARRAY, test_grid.PARAMETERS).amount_minor]


def static_example() -> list[int]:
    capped = test_static.capped_array(open_near=150)
    plain, terms = test_static.array(), test_static.PARAMETERS
    books = (
        (lots(GOLD_NEAR=3), plain),
        (lots(GOLD_NEAR=11, GOLD_FAR=-10), plain),
        (lots(GOLD_NEAR=1), capped),
    )
    return [static.margin(book, array, terms).amount_minor for book, array in books]


EXAMPLES = {
    "expected_shortfall": expected_shortfall_example,
    "grid": grid_example,
    "scan": scan_example,
    "static": static_example,
}


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_results_of_its_example_are_those_of_the_model(model: str) -> None:
    assert shown(model) == EXAMPLES[model]()
