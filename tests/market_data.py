"""The folder of real market data: read in place, never copied."""

import os
from pathlib import Path

import pytest

DEFAULT = Path(__file__).parents[2] / "shared" / "data" / "market"


def market_file(name: str) -> Path:
    """A file of the market data. Missing, the test is skipped with one loud line, and fails where CI=true."""
    path = Path(os.environ.get("CLEARING_MARKET_DATA", DEFAULT)) / name
    if path.exists():
        return path
    missing = f"MARKET DATA MISSING: {path} (set CLEARING_MARKET_DATA)"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)
