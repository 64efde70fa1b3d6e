"""What the house says that it knows of the past of underlyings, and of a source that said what no market does."""

from clearing.margin.factors import HISTORY_DAYS_MIN, WARM_UP_DAYS
from clearing.model.commands import ImportHistory
from clearing.model.ids import FeedId
from clearing.model.kinds import Kind
from clearing.server.identity import parse_spiffe
from clearing.server.tail import happening
from clearing.server.wire import events, underlyings
from clearinghouse.v1 import price_service_pb2 as pb
from tests.builders import BTC, ETH_FEED, SOURCES, World, empty_house, publication, two_traders

SOL = FeedId("SOL")


def past(world: World, feed: FeedId, days: int, ppm: int = 20_000, first_day: str = "2018-01-01") -> World:
    """So many days that go up and down by the same."""
    left, day = days, first_day
    while left:
        count = min(left, 1_000)
        moves = tuple(ppm if number % 2 else -ppm for number in range(count))
        world.ok(ImportHistory(underlying=feed, first_day=day, moves_ppm=moves))
        left -= count
        day = "2020-09-27"
    return world


def of(world: World, feed: FeedId) -> pb.Underlying:
    return underlyings.message(world.state, feed)


def test_a_house_that_begins_knows_its_closes_and_scan_ranges_alone() -> None:
    world = two_traders()
    assert underlyings.known(world.state) == {BTC, ETH_FEED}
    assert of(world, BTC) == pb.Underlying(
        underlying="feeds/BTC",
        feed="feeds/BTC",
        close_price="8000.0",
        moves_by=pb.MOVES_BY_SCAN_RANGE,
        short_history=True,
    )
    assert of(empty_house(), BTC).close_price == ""


def test_days_and_volatility_are_said_and_a_full_history_speaks_for_itself() -> None:
    world = past(two_traders(), BTC, 400)
    assert of(world, BTC) == pb.Underlying(
        underlying="feeds/BTC",
        day_count=400,
        first_day="2018-01-01",
        last_day="2019-02-04",
        feed="feeds/BTC",
        close_price="8000.0",
        volatility="0.3821",
        moves_by=pb.MOVES_BY_HISTORY,
    )


def test_an_underlying_with_fewer_days_has_a_proxy_and_counts_as_new_below_the_least() -> None:
    world = past(past(two_traders(), BTC, 400), ETH_FEED, HISTORY_DAYS_MIN - 1)
    eth = of(world, ETH_FEED)
    assert (eth.day_count, eth.proxy, eth.moves_by, eth.short_history) == (
        HISTORY_DAYS_MIN - 1,
        "feeds/BTC",
        pb.MOVES_BY_PROXY,
        True,
    )
    one_more = past(past(two_traders(), BTC, 400), ETH_FEED, HISTORY_DAYS_MIN)
    assert not of(one_more, ETH_FEED).short_history
    assert of(one_more, ETH_FEED).moves_by == pb.MOVES_BY_PROXY


def test_below_the_least_number_of_days_nothing_is_made_of_history() -> None:
    """Days before any volatility was known do not count."""
    least = WARM_UP_DAYS + HISTORY_DAYS_MIN
    few = past(empty_house(), BTC, least - 1)
    assert of(few, BTC).moves_by == pb.MOVES_BY_SCAN_RANGE
    enough = past(empty_house(), BTC, least)
    assert of(enough, BTC).moves_by == pb.MOVES_BY_HISTORY


def test_what_nobody_clears_is_known_too_once_its_past_was_brought_in() -> None:
    world = past(two_traders(), SOL, 3)
    assert underlyings.known(world.state) == {BTC, ETH_FEED, SOL}
    assert (of(world, SOL).day_count, of(world, SOL).volatility) == (3, "")


def test_everybody_is_told_that_a_source_said_what_no_market_does() -> None:
    world = two_traders()
    absurd = publication("testhouse", SOURCES[0], world.now_ms, 9, {BTC: 80_000, ETH_FEED: -7})
    assert not world.do(absurd).accepted
    told = happening(7, world.entries[-1], lambda _: ())
    member = parse_spiffe("spiffe://testhouse/member/dex")
    assert told.is_for(frozenset({"members/dex"}))
    event = events.message(told, world.state, member)
    assert event.kind == Kind.DATA_REFUSED.name
    (fact,) = event.facts
    assert fact.name == "sources/alpha"
    said = fact.data_refusal
    assert (said.feed, said.price, said.reason) == ("feeds/ETH", "-0.7", "PRICE_NOT_POSITIVE")
