"""What the house knows of the past of underlyings, on the wire."""

from math import sqrt
from typing import Final

from clearing.margin.factors import Known, known_of
from clearing.margin.snapshot import last_closes, past_of
from clearing.model import units
from clearing.model.house import House, ordered
from clearing.model.ids import FeedId
from clearing.model.values import BP
from clearing.server.wire import names
from clearinghouse.v1 import price_service_pb2 as pb

DAYS_A_YEAR: Final = 365
"""Crypto trades every day."""


def known(house: House) -> set[FeedId]:
    """Every underlying that an instrument is written on, or that a return was recorded of."""
    return {one.underlying for one in ordered(house.instruments)} | {
        *past_of(house.daily_moves).history.underlyings
    }


def message(house: House, underlying: FeedId) -> pb.Underlying:
    """What is known of one."""
    found = known_of(past_of(house.daily_moves), underlying)
    days = [sorted(house.daily_moves)[number] for number in (*found.days[:1], *found.days[-1:])]
    close = last_closes(house.daily_moves).get(underlying)
    answer = pb.Underlying(
        underlying=names.feed(underlying),
        day_count=len(found.days),
        first_day=days[0] if days else "",
        last_day=days[-1] if days else "",
        volatility="" if found.variance is None else units.VOLATILITY.render(_yearly_bp(found.variance)),
        moves_by=_moves_by(found),
        proxy="" if found.proxy is None else names.feed(found.proxy),
        short_history=found.short,
    )
    if close is not None and close.feed is not None:
        answer.feed = names.feed(close.feed)
        answer.close_price = units.of_feeds(house)[close.feed].render(close.close_ticks)
    return answer


def _moves_by(found: Known) -> "pb.MovesBy.ValueType":
    if found.unseen:
        return pb.MOVES_BY_SCAN_RANGE
    return pb.MOVES_BY_HISTORY if found.proxy is None else pb.MOVES_BY_PROXY


def _yearly_bp(variance: float) -> int:
    """The volatility of a year, in basis points of one, by the variance of a day."""
    return round(sqrt(variance * DAYS_A_YEAR) * BP)
