"""What the books of the opening require at the first close: each account alone, and what it brings when its
participant's accounts are margined as one (rulebook §9).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from clearing.demo.books import Participant
from clearing.demo.desk import Desk
from clearing.margin.attribution import attributed
from clearing.margin.model import Market
from clearing.margin.table import MODELS
from clearing.model.ids import AccountKey, InstrumentId
from clearing.model.values import BP, RiskArray
from ledger.amount import divide_up

Lots = Counter[InstrumentId]


@dataclass(frozen=True, slots=True)
class Need:
    """The requirement of an account alone, and its part of that of its netting set, by Euler."""

    participant: Participant
    account: AccountKey
    alone_minor: int
    brings_minor: int


def needs(desk: Desk) -> tuple[Need, ...]:
    """Of every client account."""
    bar = desk.market.bars[0]
    marks = dict(bar.ticks) | {
        one.option.volatility_feed: bar.volatility_bp[one.underlying]
        for one in desk.listing.instruments
        if one.option is not None
    }
    model, market = MODELS[desk.parameters.margin_model], Market(prices=marks, at_ms=bar.known_ms)
    array = model.risk_array(desk.listing.instruments, market, desk.parameters)
    return tuple(need for one in desk.books.participants for need in _of(desk, one, array))


def _of(desk: Desk, participant: Participant, array: RiskArray) -> Iterator[Need]:
    lots = _opening_lots(desk, participant)
    brings = _brought(desk, lots, array) if participant.linked else {}
    for key, portfolio in lots.items():
        alone = _required(desk, portfolio, array)[0]
        yield Need(participant, key, alone, brings.get(key, alone))


def _opening_lots(desk: Desk, participant: Participant) -> dict[AccountKey, Lots]:
    lots = {key: Lots() for key in participant.accounts}
    for order in participant.orders:
        size = desk.listing.lots(order.instrument, order.notional_minor, desk.market.bars[0])
        lots[order.account][order.instrument] += size if order.notional_minor > 0 else -size
    return lots


def _brought(desk: Desk, lots: dict[AccountKey, Lots], array: RiskArray) -> dict[AccountKey, int]:
    """The requirement of all accounts together, by account."""
    whole = Lots()
    for portfolio in lots.values():
        whole.update(portfolio)
    brings = Counter[AccountKey]()
    for instrument, part in _required(desk, whole, array)[1].items():
        sign = 1 if whole[instrument] > 0 else -1
        held = {key: sign * book[instrument] for key, book in lots.items() if book[instrument]}
        brings.update(attributed(part, held))
    return dict(brings)


def _required(desk: Desk, lots: Lots, array: RiskArray) -> tuple[int, dict[InstrumentId, int]]:
    """A requirement, and what each instrument brings of it."""
    margin = MODELS[desk.parameters.margin_model].margin(lots, array, desk.parameters)
    requirement = divide_up(margin.amount_minor * desk.parameters.requirement_bp, BP)
    return requirement, attributed(requirement, margin.contributions)
