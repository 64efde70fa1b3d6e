"""A report as one page of HTML that needs nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearing.reports.render import ShownTable


def lines(head: Mapping[str, str], tables: "Sequence[ShownTable]", sha256: str) -> Iterator[str]:
    """The page, in parts."""
    raise NotImplementedError
