"""Price publications, and the snapshot that starts a clearing cycle (rulebook §6, §7).

A snapshot is accepted when every feed that the house needs has a quorum of fresh observations that
are newer than the last snapshot; none is in an outage, until it is over (``outage``). A feed is needed from its
first quorum on: one that is listed and that nobody publishes yet stops nothing. Accepting a snapshot pays funding
(``funding``) and settles variation margin at once, for expired futures the last (``maturity``); options are not
settled but valued anew. What it leads to (calls, liquidations, defaults) is found by ``due``.

A publication that is the source's own and in time, but says what no market does (a price of nothing, say), is refused
as a whole, and that it was is recorded: marks and requirements stay, everybody is told, and its number is used up.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from clearing import chart
from clearing.decide.funding import pay_funding
from clearing.decide.history import end_day
from clearing.decide.maturity import active, expiring, settle_expired
from clearing.decide.outage import begin, end, may_settle, watch
from clearing.decide.terms import volatility_feeds
from clearing.margin.assess import price_of_feed
from clearing.margin.pricing import option_marks
from clearing.market.marks import mark_of
from clearing.market.prices import signature_holds
from clearing.market.validity import Use, age_max_ms
from clearing.model.commands import (
    OBSERVATIONS_MAX,
    PRICE_TICKS_MAX,
    VOLATILITY_BP_MAX,
    VOLATILITY_BP_MIN,
    ApplyPrices,
    PriceObservation,
)
from clearing.model.draft import Draft, Line
from clearing.model.house import House, Put, ordered, single
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason, Rejected
from clearing.model.values import Cycle, DataRefusal, Instrument, Mark, Observation, OpenInterest
from ledger.entry import Leg, credit


def apply_prices(draft: Draft, command: ApplyPrices) -> Rejected | None:
    """Record a publication; accept a snapshot if it completes one."""
    rejected = _refusal(draft, command)
    if rejected is not None:
        return rejected
    if (absurd := _absurdity(draft.house, command.prices)) is not None:
        return _refuse_data(draft, command, *absurd)
    source = draft.house.sources[command.source]
    observations = [
        Observation(
            source=source.id,
            feed=price.feed,
            price_ticks=price.price_ticks,
            observed_ms=command.observed_ms,
            sequence=command.sequence,
        )
        for price in command.prices
    ]
    begin(draft)
    held = draft.house.outage is not None and _marks(draft.house, draft.now_ms) is not None
    draft.record(
        Kind.PRICES_PUBLISHED,
        Put("sources", source.id, replace(source, sequence=command.sequence)),
        *(Put("observations", f"{o.feed}/{o.source}", o) for o in observations),
        references=(command.signature,),
    )
    marks = _marks(draft.house, draft.now_ms)
    watch(draft, held=held, fresh=marks is not None)
    if marks is not None and may_settle(draft.house, draft.now_ms):
        if draft.house.outage is not None:
            end(draft)
        _accept(draft, marks)
    return None


def _refusal(draft: Draft, command: ApplyPrices) -> Rejected | None:
    house, feeds = draft.house, [price.feed for price in command.prices]
    source = house.sources.get(command.source)
    if source is None:
        return Rejected(Reason.SOURCE_UNKNOWN, command.source)
    if source.retired:
        return Rejected(Reason.SOURCE_RETIRED, command.source)
    if not feeds:
        return Rejected(Reason.BATCH_EMPTY)
    if len(feeds) > OBSERVATIONS_MAX:
        return Rejected(Reason.BATCH_TOO_LARGE, f"at most {OBSERVATIONS_MAX} prices")
    if not signature_holds(house.founded.house, command, source.public_key):
        return Rejected(Reason.SIGNATURE_INVALID, command.source)
    if command.sequence <= source.sequence:
        return Rejected(Reason.SEQUENCE_REPLAYED, f"{command.sequence}, the last was {source.sequence}")
    if not 0 <= draft.now_ms - command.observed_ms <= house.parameters.observation_validity_ms:
        return Rejected(Reason.PRICE_STALE, f"observed {command.observed_ms}, now {draft.now_ms}")
    if len(set(feeds)) != len(feeds):
        return Rejected(Reason.FEED_REPEATED)
    known = _known_feeds(house)
    unknown = next((feed for feed in feeds if feed not in known), None)
    return None if unknown is None else Rejected(Reason.FEED_UNKNOWN, unknown)


def _absurdity(house: House, prices: Iterable[PriceObservation]) -> tuple[PriceObservation, Rejected] | None:
    """The first price that no market has, and why."""
    volatilities = volatility_feeds(ordered(house.instruments))
    for price in prices:
        rejected = _out_of_range(price, is_volatility=price.feed in volatilities)
        if rejected is not None:
            return price, rejected
    return None


def _out_of_range(price: PriceObservation, *, is_volatility: bool) -> Rejected | None:
    least, most = (VOLATILITY_BP_MIN, VOLATILITY_BP_MAX) if is_volatility else (1, PRICE_TICKS_MAX)
    if price.price_ticks <= 0:
        return Rejected(Reason.PRICE_NOT_POSITIVE, f"{price.feed} {price.price_ticks}")
    if price.price_ticks > most:
        return Rejected(Reason.PRICE_TOO_LARGE, f"{price.feed}: at most {most}")
    if price.price_ticks < least:
        return Rejected(Reason.PRICE_TOO_SMALL, f"{price.feed}: at least {least}")
    return None


def _refuse_data(draft: Draft, command: ApplyPrices, price: PriceObservation, rejected: Rejected) -> Rejected:
    """Record that a source published what no market says. Its number is used up: there is one entry for each."""
    source = draft.house.sources[command.source]
    refusal = DataRefusal(
        source=source.id,
        feed=price.feed,
        reason=rejected.reason.name,
        price_ticks=price.price_ticks,
        sequence=command.sequence,
        refused_ms=draft.now_ms,
    )
    draft.record(
        Kind.DATA_REFUSED,
        Put("sources", source.id, replace(source, sequence=command.sequence)),
        Put("data_refusals", source.id, refusal),
        references=(command.signature,),
    )
    draft.tell(Kind.DATA_REFUSED, f"{source.id} {price.feed} {rejected.reason.name}")
    return rejected


def feeds_of(house: House, now_ms: int) -> tuple[FeedId, ...]:
    """Every feed without which no snapshot is accepted: those in use that have a mark, in order."""
    return tuple(feed for feed in _feeds_in_use(house, now_ms) if price_of_feed(house, feed))


def _feeds_in_use(house: House, now_ms: int) -> tuple[FeedId, ...]:
    """Every feed that an active instrument or a collateral asset is marked by, in order; where all instruments
    have expired and no asset has a feed, those that were used before, so that cycles go on. An option that expires
    is worth its intrinsic value: its volatility, which nobody may publish any more, is not waited for.
    """
    lasting = set(active(house)) - set(expiring(house, now_ms))
    instruments = {one.feed for one in active(house)} | volatility_feeds(lasting)
    return tuple(sorted(instruments | _asset_feeds(house))) or tuple(sorted(_known_feeds(house)))


def _known_feeds(house: House) -> set[FeedId]:
    """What sources may publish: who goes on to publish an expired future does no harm."""
    listed = ordered(house.instruments)
    return {one.feed for one in listed} | volatility_feeds(listed) | _asset_feeds(house)


def _asset_feeds(house: House) -> set[FeedId]:
    return {asset.feed for asset in ordered(house.assets) if asset.feed is not None}


def _marks(house: House, now_ms: int) -> tuple[Mark, ...] | None:
    """A mark for every feed in use that has a quorum, or None while one that is needed lacks it, or all do."""
    parameters = house.parameters
    since = -1 if house.cycle is None else house.cycle.accepted_ms
    fresh = [
        o
        for o in ordered(house.observations)
        if o.observed_ms > since and now_ms - o.observed_ms <= age_max_ms(parameters, Use.SETTLE)
    ]
    marks: list[Mark] = []
    for feed in _feeds_in_use(house, now_ms):
        mark = mark_of(
            feed,
            [o for o in fresh if o.feed == feed],
            price_of_feed(house, feed) or None,
            quorum=parameters.price_quorum,
            outlier_bp=parameters.outlier_bp,
        )
        if mark is not None:
            marks.append(mark)
        elif price_of_feed(house, feed):
            return None
    return tuple(marks) or None


def _accept(draft: Draft, marks: tuple[Mark, ...]) -> None:
    before = draft.house
    prices = {mark.feed: mark.price_ticks for mark in marks}
    expired = [one for one in expiring(before, draft.now_ms) if one.feed in prices]
    living = [one for one in active(before) if one not in expired]
    end_day(draft, living, prices)
    cycle = Cycle(
        number=1 if before.cycle is None else before.cycle.number + 1,
        accepted_ms=draft.now_ms,
        closed=False,
        marks=marks,
        margined=_margined(before, living, prices),
        fees_kept_minor=0 if before.cycle is None else before.cycle.fees_kept_minor,
        option_marks=option_marks(active(before), prices, draft.now_ms),
    )
    draft.record(Kind.SNAPSHOT_ACCEPTED, single("cycle", cycle))
    draft.tell(Kind.SNAPSHOT_ACCEPTED, str(cycle.number))
    pay_funding(draft, before)
    draft.record_all(
        [
            Line(Kind.VARIATION_MARGIN, (), legs, (instrument,))
            for instrument, legs in _variation(before, prices, {one.id for one in living})
        ]
    )
    for one in expired:
        settle_expired(draft, before, one, prices[one.feed])


def _margined(
    before: House, living: Iterable[Instrument], prices: Mapping[FeedId, int]
) -> tuple[OpenInterest, ...]:
    """The instruments whose feeds are all marked, and how many lots of each are held long."""
    marked = [one for one in living if one.feeds <= prices.keys()]
    held = Counter[InstrumentId]()
    for positions in before.held.values():
        for instrument, lots in positions.items():
            held[instrument] += max(0, lots)
    return tuple(OpenInterest(instrument=one.id, lots=held[one.id]) for one in marked)


def _variation(
    before: House, prices: dict[FeedId, int], living: set[InstrumentId]
) -> list[tuple[InstrumentId, tuple[Leg, ...]]]:
    """Per living linear instrument whose price moved: what each holder gains, lots × Δticks × tick value, exactly."""
    moved = {
        one.id: ticks * one.tick_value_minor
        for one in ordered(before.instruments)
        if one.id in living and one.option is None and one.feed in prices
        if (ticks := prices[one.feed] - price_of_feed(before, one.feed))
    }
    legs: dict[InstrumentId, list[Leg]] = {instrument: [] for instrument in moved}
    for key in sorted(before.held):
        cash = chart.cash(key, before.settlement)
        for instrument, lots in before.held[key].items():
            if instrument in moved:
                legs[instrument].append(credit(cash, lots * moved[instrument]))
    return [(instrument, tuple(legs[instrument])) for instrument in sorted(legs) if legs[instrument]]
