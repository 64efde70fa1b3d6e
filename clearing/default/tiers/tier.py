"""What a tier is: a name, what it has, and how it splits what it is asked for among its payers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clearing.default.resources import Resources
from clearing.model.ids import MemberId


@dataclass(frozen=True, slots=True)
class Offer:
    """What a tier pays towards a loss: parts by payer, and the most it could have paid."""

    available_minor: int
    parts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One tier. ``offer`` takes the resources and the losses that are left, by defaulted member."""

    number: int
    name: str
    offer: Callable[[Resources, Mapping[MemberId, int]], Offer]


def single_payer(payer: str, available_minor: int, losses: Mapping[MemberId, int]) -> Offer:
    """A tier with one purse: it pays what it can and passes on the rest."""
    return Offer(available_minor, {payer: min(available_minor, sum(losses.values()))})
