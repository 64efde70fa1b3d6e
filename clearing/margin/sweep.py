"""All portfolios on any executor: threads, processes, or a cluster's workers (rulebook §9).

A portfolio's amount is made of its own positions by integers, so no split, order or number of workers changes it.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

import numpy as np

from clearing.margin.model import Column, Positions
from clearing.margin.table import MODELS
from clearing.model.values import Parameters, RiskArray
from ledger.require import require


def swept(
    book: Positions, array: RiskArray, parameters: Parameters, executor: Executor, parts: int
) -> list[int]:
    """The amount of each portfolio under the model that made ``array``, in ``parts`` pieces of work."""
    require(parts > 0, "a sweep has a part")
    pieces = [own for own in np.array_split(np.arange(book.portfolios), parts) if len(own)]
    jobs = [executor.submit(_amounts, part_of(book, own), array, parameters) for own in pieces]
    return [amount for job in jobs for amount in job.result()]


def _amounts(book: Positions, array: RiskArray, parameters: Parameters) -> list[int]:
    return MODELS[array.model].amounts(book, array, parameters)


def part_of(book: Positions, portfolios: Column | Sequence[int]) -> Positions:
    """Some portfolios, numbered in the order in which they are named; none is named twice."""
    numbers = np.full(book.portfolios, -1, np.int64)
    numbers[portfolios] = np.arange(len(portfolios))
    owners = numbers[book.owners]
    own = owners >= 0
    return replace(
        book, portfolios=len(portfolios), owners=owners[own], rows=book.rows[own], lots=book.lots[own]
    )
