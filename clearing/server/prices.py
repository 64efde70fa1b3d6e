"""PriceService."""

import grpc

from clearing.engine import Engine
from clearing.model import units
from clearing.server.calls import founded, write
from clearing.server.pages import page_of
from clearing.server.wire import prices as wire
from clearing.server.wire import times, underlyings
from clearing.server.wire.violations import require_valid
from clearinghouse.v1 import price_service_pb2 as pb
from clearinghouse.v1.price_service_pb2_grpc import PriceServiceServicer


class Prices(PriceServiceServicer):
    """Takes signed prices, and shows the marks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def PublishPrices(  # named by the proto
        self, request: pb.PublishPricesRequest, context: grpc.ServicerContext
    ) -> pb.PublishPricesResponse:
        """Record a publication; a clearing cycle follows when it completes a quorum."""
        command = wire.parse(request, founded(self._engine.view))
        outcome = write(self._engine, command, request, context)
        return wire.answer(outcome)

    def ListMarks(self, request: pb.ListMarksRequest, context: grpc.ServicerContext) -> pb.ListMarksResponse:
        """The marks of the newest cycle."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        if house.cycle is None:
            return pb.ListMarksResponse(journal_size=view.size)
        marks, ticks = {mark.feed: mark for mark in house.cycle.marks}, units.of_feeds(house)
        page = page_of(marks, request, "marks")
        return pb.ListMarksResponse(
            marks=[wire.message(marks[feed], ticks[feed]) for feed in page.keys],
            next_page_token=page.next_token,
            cycle=house.cycle.number,
            accept_time=times.from_ms(house.cycle.accepted_ms),
            journal_size=view.size,
        )

    def ListOptionMarks(
        self, request: pb.ListOptionMarksRequest, context: grpc.ServicerContext
    ) -> pb.ListOptionMarksResponse:
        """What options are worth by the newest cycle."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        cycle = house.cycle
        marks = {} if cycle is None else {mark.instrument: mark for mark in cycle.option_marks}
        page = page_of(marks, request, "optionMarks")
        return pb.ListOptionMarksResponse(
            option_marks=[wire.option_mark(marks[key], house.instruments[key]) for key in page.keys],
            next_page_token=page.next_token,
            cycle=0 if cycle is None else cycle.number,
            journal_size=view.size,
        )

    def ListUnderlyings(
        self, request: pb.ListUnderlyingsRequest, context: grpc.ServicerContext
    ) -> pb.ListUnderlyingsResponse:
        """What the house knows of the past of underlyings."""
        require_valid(request)
        view = self._engine.view
        house = founded(view)
        page = page_of(underlyings.known(house), request, "underlyings")
        return pb.ListUnderlyingsResponse(
            underlyings=[underlyings.message(house, underlying) for underlying in page.keys],
            next_page_token=page.next_token,
            journal_size=view.size,
        )

    def PublishFunding(
        self, request: pb.PublishFundingRequest, context: grpc.ServicerContext
    ) -> pb.PublishFundingResponse:
        """Note the rate that the next snapshot pays."""
        write(self._engine, wire.parse_funding(request), request, context)
        return pb.PublishFundingResponse()
