"""The house itself on the wire."""

from collections import Counter
from collections.abc import Mapping

from clearing.default.gate import Gate
from clearing.margin.assess import mark_ticks
from clearing.model import units
from clearing.model.house import House, ordered
from clearing.model.ids import FeedId
from clearing.model.units import Unit
from clearing.model.values import (
    Asset,
    Breaker,
    BreakerState,
    Instrument,
    InstrumentKind,
    MemberStatus,
    Outage,
    Right,
)
from clearing.server.wire import names, times
from clearinghouse.v1 import house_service_pb2 as pb

INSTRUMENT_KINDS: "Mapping[InstrumentKind, pb.InstrumentKind.ValueType]" = {
    InstrumentKind.PERPETUAL: pb.INSTRUMENT_KIND_PERPETUAL,
    InstrumentKind.FUTURE: pb.INSTRUMENT_KIND_FUTURE,
    InstrumentKind.OPTION: pb.INSTRUMENT_KIND_OPTION,
}
BREAKER_STATES: "Mapping[BreakerState, pb.BreakerState.ValueType]" = {
    BreakerState.OPEN: pb.BREAKER_STATE_OPEN,
    BreakerState.REDUCE_ONLY: pb.BREAKER_STATE_REDUCE_ONLY,
    BreakerState.HALTED: pb.BREAKER_STATE_HALTED,
}
RIGHTS: "Mapping[Right, pb.OptionRight.ValueType]" = {
    Right.CALL: pb.OPTION_RIGHT_CALL,
    Right.PUT: pb.OPTION_RIGHT_PUT,
}


def message(house: House, shut: tuple[Gate, ...], outage: Outage | None) -> pb.House:
    """The house with the gates that are ``shut``, and the ``outage`` that lasts."""
    charter = house.founded
    statuses = Counter(member.status for member in ordered(house.members))
    outside = statuses[MemberStatus.APPLIED] + statuses[MemberStatus.LEFT]
    found = pb.House(
        house=charter.house,
        settlement_asset=_asset(house.assets[house.settlement]),
        assets=[_asset(asset) for asset in ordered(house.assets)],
        instruments=[_instrument(row, house) for row in ordered(house.instruments)],
        feeds=[_feed(feed, unit) for feed, unit in units.of_feeds(house).items()],
        member_count=statuses.total() - outside,
        defaulted_member_count=statuses[MemberStatus.DEFAULTED],
        suspended_member_count=statuses[MemberStatus.SUSPENDED],
        margin_model=charter.parameters.margin_model,
        parameters_version=charter.parameters_version,
        gates=[gate(row) for row in shut],
        breakers=[_breaker(row) for row in ordered(house.breakers) if row.state is not BreakerState.OPEN],
    )
    if outage is not None:
        found.outage.CopyFrom(_outage(outage))
    if house.wound_down is not None:
        found.wind_down_time.CopyFrom(times.from_ms(house.wound_down.at_ms))
    if house.cycle is not None:
        found.cycle, found.cycle_closed = house.cycle.number, house.cycle.closed
        found.cycle_accept_time.CopyFrom(times.from_ms(house.cycle.accepted_ms))
    return found


def _asset(asset: Asset) -> pb.Asset:
    limit = units.of_asset(asset)
    return pb.Asset(
        name=names.asset(asset.id),
        decimals=asset.decimals,
        feed="" if asset.feed is None else names.feed(asset.feed),
        haircut_bp=asset.haircut_bp,
        concentration_limit=limit.render(asset.concentration_minor) if asset.concentration_minor else "",
        concentration_haircut_bp=asset.concentration_haircut_bp,
    )


def _instrument(row: Instrument, house: House) -> pb.Instrument:
    tick, mark = units.of_price(row), mark_ticks(house, row.id)
    found = pb.Instrument(
        name=names.instrument(row.id),
        kind=INSTRUMENT_KINDS[row.kind],
        underlying=names.feed(row.underlying),
        feed=names.feed(row.feed),
        tick_size=tick.render(1),
        lot_size=units.of_size(row).render(1),
        tick_value=units.of_settlement(house).render(row.tick_value_minor),
        mark_price="" if mark is None else tick.render(mark),
        final_price="" if row.final_ticks is None else tick.render(row.final_ticks),
    )
    if row.expires_ms is not None:
        found.expire_time.CopyFrom(times.from_ms(row.expires_ms))
    if row.option is not None:
        found.option.right = RIGHTS[row.option.right]
        found.option.strike_price = tick.render(row.option.strike_ticks)
        found.option.volatility_feed = names.feed(row.option.volatility_feed)
    return found


def _feed(feed: FeedId, unit: Unit) -> pb.Feed:
    return pb.Feed(name=names.feed(feed), tick_size=unit.render(1))


def gate(row: Gate) -> pb.Gate:
    """A gate that is shut."""
    found = pb.Gate(scope=row.scope, reason=row.reason, release=row.release)
    if row.since_ms:
        found.since_time.CopyFrom(times.from_ms(row.since_ms))
    return found


def _breaker(row: Breaker) -> pb.Breaker:
    found = pb.Breaker(
        instrument=names.breaker(row.scope),
        state=BREAKER_STATES[row.state],
        reason=row.reason,
        since_time=times.from_ms(row.since_ms),
    )
    if row.reopens_ms:
        found.reopen_time.CopyFrom(times.from_ms(row.reopens_ms))
    return found


def _outage(row: Outage) -> pb.Outage:
    found = pb.Outage(begin_time=times.from_ms(row.began_ms))
    if row.fresh_since_ms:
        found.fresh_time.CopyFrom(times.from_ms(row.fresh_since_ms))
    return found
