"""Options as a large venue marks them: its chains give its own mark prices back (Black-76 on the future)."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from clearing.margin.black import greeks, implied_volatility, values
from clearing.margin.reproducible import Floats
from tests.market_data import market_file

Row = Mapping[str, str]
Chains = Mapping[tuple[str, str], Sequence[Row]]
"""By time and currency."""


@pytest.fixture(scope="module")
def chains() -> Chains:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    with gzip.open(market_file("options_chain.csv.gz"), "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            found[row["ts_utc"], row["currency"]].append(row)
    return found


def column(rows: Sequence[Row], name: str) -> Floats:
    return np.array([float(row[name]) for row in rows])


def signs_of(rows: Sequence[Row]) -> Floats:
    return np.array([1.0 if row["option_type"] == "call" else -1.0 for row in rows])


def terms(rows: Sequence[Row]) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    forward, volatility = column(rows, "underlying_price"), column(rows, "mark_iv")
    return (
        signs_of(rows),
        forward[:, None],
        column(rows, "strike"),
        volatility[:, None],
        column(rows, "time_to_maturity"),
    )


def test_marks_are_given_back(chains: Chains) -> None:
    """99 % of the rows of a median chain to 0.0003 coin; the worst to 0.003. The rest are seconds and last hours."""
    errors = []
    for rows in chains.values():
        worth = values(*terms(rows))[:, 0] / column(rows, "underlying_price")
        errors.append(np.abs(worth - column(rows, "mark_price")))
    print([f"{np.quantile(one, 0.99):.5f}" for one in errors], max(float(one.max()) for one in errors))
    assert len(errors) == 22
    assert np.median([np.quantile(one, 0.99) for one in errors]) < 0.0003
    assert max(float(one.max()) for one in errors) < 0.003


def test_greeks_are_given_back(chains: Chains) -> None:
    """99 % of the rows of a median chain: a delta to 0.01, a vega to 0.4 dollars a point."""
    off: dict[str, list[float]] = {"delta": [], "vega": []}
    for rows in chains.values():
        found = greeks(*terms(rows))
        for name, one in (("delta", found.delta), ("vega", found.vega / 100)):
            off[name].append(float(np.quantile(np.abs(one[:, 0] - column(rows, name)), 0.99)))
    print({name: float(np.median(errors)) for name, errors in off.items()})
    assert np.median(off["delta"]) < 0.01
    assert np.median(off["vega"]) < 0.4


def test_volatilities_are_given_back_where_the_price_tells_them(
    chains: Chains,
) -> None:
    """From our own values of the marks: each volatility again, unless no time value is left in 64 bits."""
    for rows in chains.values():
        signs, forward, strike, volatility, years = terms(rows)
        worth = values(signs, forward, strike, volatility, years)[:, 0]
        found = implied_volatility(signs, worth, forward[:, 0], strike, years)
        vega = greeks(signs, forward, strike, volatility, years).vega[:, 0]
        told = vega > 1e-3 * forward[:, 0] / 100
        assert told.sum() > 100
        assert np.all(np.abs(found - volatility[:, 0])[told] < 1e-9)
