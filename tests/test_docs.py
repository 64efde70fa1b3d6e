"""Documents say what is so: files that they name exist, links lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_every_file_that_the_map_of_rules_names_exists() -> None:
    rules = (ROOT / "docs" / "rules.md").read_text()
    named = re.findall(r"`((?:clearing|ledger|tests)/[^`]+)`", rules)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


def test_every_file_that_the_threat_model_names_exists() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    named = re.findall(r"`((?:clearing|ledger|tests)/[^`]+)`", text)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


def test_the_architecture_names_no_file_that_is_gone() -> None:
    text = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
    for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
        assert any((ROOT / base / name).exists() for base in (".", "clearing")), name


def test_every_tier_and_every_module_that_decides_stands_in_the_map_of_rules() -> None:
    rules = (ROOT / "docs" / "rules.md").read_text()
    for path in sorted((ROOT / "clearing" / "default" / "tiers").glob("t*_*.py")):
        assert path.name in rules, f"docs/rules.md does not say where {path.name} belongs"
