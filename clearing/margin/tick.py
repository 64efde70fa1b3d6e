"""After a tick: only what it touches is computed again (rulebook §9).

The rows of an underlying depend on its own marks, scenarios and time, and a portfolio's amount on the rows that it
holds. What is put together from old and new is what a sweep of everything gives, to the unit.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from clearing.margin.model import Column, Market, Positions
from clearing.margin.sweep import part_of
from clearing.margin.table import MODELS
from clearing.model.ids import FeedId
from clearing.model.values import Instrument, Parameters, RiskArray
from ledger.require import require


def array_after(
    array: RiskArray,
    moved: Collection[FeedId],
    instruments: Iterable[Instrument],
    market: Market,
    parameters: Parameters,
) -> RiskArray:
    """``array`` in the market as it is now, which differs from the one that it was made in by the ``moved``
    underlyings alone: by their marks, volatilities and scenarios. The time is the same.
    """
    own = [one for one in instruments if one.underlying in moved]
    rows = {
        row.instrument: row for row in MODELS[array.model].risk_array(own, market, parameters).instruments
    }
    before = {row.instrument for row in array.instruments if row.underlying in moved}
    require(rows.keys() == before, "a tick marks what was marked before")
    return replace(array, instruments=tuple(rows.get(row.instrument, row) for row in array.instruments))


def amounts_after(
    book: Positions, amounts: Sequence[int], before: RiskArray, after: RiskArray, parameters: Parameters
) -> list[int]:
    """The amounts under the array ``after``, from those under the one ``before``."""
    found, touched = list(amounts), holders_of(book, changed_rows(before, after))
    again = MODELS[after.model].amounts(part_of(book, touched), after, parameters)
    for portfolio, amount in zip(touched.tolist(), again, strict=True):
        found[portfolio] = amount
    return found


def changed_rows(before: RiskArray, after: RiskArray) -> list[int]:
    """Where two arrays of the same instruments differ."""
    require((before.model, before.filtered) == (after.model, after.filtered), "both arrays are of one sort")
    pairs = list(zip(before.instruments, after.instruments, strict=True))
    require(all(one.instrument == other.instrument for one, other in pairs), "both arrays have the same rows")
    require(
        all(len(one.long_minor) == len(other.long_minor) for one, other in pairs),
        "both arrays have the same scenarios",
    )
    return [row for row, (one, other) in enumerate(pairs) if one is not other and one != other]


def holders_of(book: Positions, rows: Sequence[int]) -> Column:
    """The portfolios that hold any of ``rows``, in order."""
    is_wanted = np.zeros(int(book.rows.max(initial=-1)) + 1, np.bool_)
    is_wanted[[row for row in rows if row < len(is_wanted)]] = True
    holders: Column = np.unique(book.owners[is_wanted[book.rows]])
    return holders
