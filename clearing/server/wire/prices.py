"""Prices on the wire."""

from clearing.model import units
from clearing.model.commands import ApplyPrices, PriceObservation, PublishFunding
from clearing.model.decimal import DecimalRefused
from clearing.model.house import House
from clearing.model.ids import FeedId, InstrumentId, SourceId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Outcome
from clearing.model.units import Unit
from clearing.model.values import Instrument, Mark, OptionMark
from clearing.server.wire import names, times
from clearing.server.wire.violations import Violations, require_valid
from clearinghouse.v1 import price_service_pb2 as pb


def parse(request: pb.PublishPricesRequest, house: House) -> ApplyPrices:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    violations = Violations(request)
    observed_ms = times.to_exact_ms(request.observe_time, "observe_time", violations)
    ticks = units.of_feeds(house)
    prices = tuple(
        _observation(price, ticks, f"prices[{n}]", violations) for n, price in enumerate(request.prices)
    )
    violations.require_none()
    return ApplyPrices(
        source=SourceId(names.own_id(request.source)),
        observed_ms=observed_ms,
        sequence=request.sequence,
        prices=prices,
        signature=request.signature.hex(),
    )


def _observation(
    price: pb.FeedPrice, ticks: dict[FeedId, Unit], field: str, violations: Violations
) -> PriceObservation:
    feed = FeedId(names.own_id(price.feed))
    steps = 0
    if feed in ticks:
        try:
            steps = ticks[feed].parse(price.price, signed=True)
        except DecimalRefused as refused:
            violations.add(f"{field}.price", str(refused))
    else:
        violations.add(f"{field}.feed", "no instrument and no asset is marked by this feed")
    return PriceObservation(feed=feed, price_ticks=steps)


def answer(outcome: Outcome) -> pb.PublishPricesResponse:
    """What the publication led to."""
    ran = any(event.kind == Kind.SNAPSHOT_ACCEPTED.name for event in outcome.events)
    return pb.PublishPricesResponse(cycle_ran=ran)


def parse_funding(request: pb.PublishFundingRequest) -> PublishFunding:
    """The command that ``request`` asks for. Raises ``RequestInvalid`` with every field that is wrong."""
    require_valid(request)
    instrument = InstrumentId(names.own_id(request.instrument))
    return PublishFunding(instrument=instrument, rate_ppm=request.rate_ppm)


def option_mark(mark: OptionMark, instrument: Instrument) -> pb.OptionMark:
    """What an option is worth."""
    tick = units.of_price(instrument)
    return pb.OptionMark(
        instrument=names.instrument(mark.instrument),
        price=tick.render(mark.price_ticks),
        forward_price=tick.render(mark.forward_ticks),
        volatility=units.VOLATILITY.render(mark.volatility_bp),
    )


def message(mark: Mark, unit: Unit) -> pb.Mark:
    """A mark, whose feed counts in ``unit``."""
    return pb.Mark(
        feed=names.feed(mark.feed),
        price=unit.render(mark.price_ticks),
        sources=[names.source(source) for source in mark.sources],
        dropped_sources=[names.source(source) for source in mark.dropped],
    )
