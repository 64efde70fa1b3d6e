"""Laws of the ``scan`` model alone and of splitting an amount, on books that nobody chose (rulebook §1, §9).

Requirements are integers, rounded against the account, so a law that holds exactly for real numbers
holds for them up to a bound that each test states in smallest units.
"""

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clearing.decide.terms import parameters_flaw
from clearing.margin.model import Margin
from clearing.margin.model import Market as Snapshot
from clearing.margin.models.scan import SCAN
from clearing.model.apportion import apportion
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import (
    BP,
    Instrument,
    InstrumentKind,
    Offset,
    Parameters,
    RiskArray,
    ScanRange,
)

pytestmark = pytest.mark.slow

margin, risk_array = SCAN.margin, SCAN.risk_array

GOLD, SILVER, TIN = FeedId("GOLD"), FeedId("SILVER"), FeedId("TIN")
UNDERLYINGS = (GOLD, GOLD, SILVER, SILVER, TIN)
NAMES = tuple(InstrumentId(f"{u}-{n}") for n, u in enumerate(UNDERLYINGS))

Lots = Mapping[InstrumentId, int]
Market = tuple[RiskArray, Parameters]

quantities = st.integers(-50, 50) | st.integers(-(10**9), 10**9)
books = st.fixed_dictionaries({name: st.just(0) | quantities for name in NAMES})


@st.composite
def markets(draw: st.DrawFn, *, credit: bool = True, basis: bool = True) -> Market:
    """Five instruments on three underlyings at any price, under any parameters that a house may have."""
    rates = st.integers(0, BP) if credit else st.just(0)
    parameters = Parameters(
        margin_model="scan",
        scan_ranges=tuple(
            ScanRange(underlying=u, move_bp=draw(st.integers(1, 9_999))) for u in (GOLD, SILVER, TIN)
        ),
        offsets=(Offset(first=GOLD, second=SILVER, rate_bp=draw(rates)),),
        basis_floor_bp=draw(st.integers(0, BP)) if basis else 0,
        offset_cap_bp=draw(st.integers(0, BP)),
    )
    assert parameters_flaw(parameters) == ""
    instruments = [
        Instrument(
            id=name,
            kind=InstrumentKind.PERPETUAL,
            underlying=underlying,
            feed=FeedId(name),
            tick_value_minor=draw(st.sampled_from([1, 3, 100, 10**6])),
            price_decimals=0,
            lot_decimals=0,
        )
        for name, underlying in zip(NAMES, UNDERLYINGS, strict=True)
    ]
    marks = {i.feed: draw(st.integers(1, 10) | st.integers(1, 10**9)) for i in instruments}
    return risk_array(instruments, Snapshot(prices=marks, at_ms=0), parameters), parameters


def measured(book: Lots, market: Market) -> Margin:
    array, parameters = market
    return margin(book, array, parameters)


def amount(book: Lots, market: Market) -> int:
    return measured(book, market).amount_minor


def scaled(book: Lots, factor: int) -> Lots:
    return {name: factor * lots for name, lots in book.items()}


def size(*portfolios: Lots) -> int:
    return sum(abs(lots) for book in portfolios for lots in book.values())


# -------------------------------------------------------------------------------------------- requirements


@given(book=books, market=markets())
def test_a_book_that_can_lose_requires_something(book: Lots, market: Market) -> None:
    result = measured(book, market)
    assert all(risk.risk_minor >= abs(risk.exposure_minor) for risk in result.underlyings)
    if market[1].offset_cap_bp < BP and size(book):
        assert result.amount_minor > 0


@given(book=books, factor=st.integers(2, 100), market=markets())
def test_scan_risk_is_exactly_proportional(book: Lots, factor: int, market: Market) -> None:
    once, more = measured(book, market), measured(scaled(book, factor), market)
    assert [r.risk_minor for r in more.underlyings] == [factor * r.risk_minor for r in once.underlyings]


@given(book=books, market=markets())
def test_long_and_short_require_the_same_but_for_the_rounding_of_the_credit(
    book: Lots, market: Market
) -> None:
    """The mirrored book meets the mirrored scenarios. Only the exposure that earns credit is read in one
    scenario, where a row may be off by one unit a lot: twice the rate of that, and one for the rounding.
    """
    here, there = measured(book, market), measured(scaled(book, -1), market)
    assert [r.risk_minor for r in here.underlyings] == [r.risk_minor for r in there.underlyings]
    assert (here.basis_minor, here.floor_minor) == (there.basis_minor, there.floor_minor)
    (offset,) = market[1].offsets
    bound = -(-2 * size(book) * offset.rate_bp // BP) + 1
    assert abs(here.credit_minor - there.credit_minor) <= bound
    assert abs(here.amount_minor - there.amount_minor) <= bound


@given(book=books, market=markets())
def test_netting_never_saves_more_than_the_cap(book: Lots, market: Market) -> None:
    """Exactly: M × 10,000 ≥ (10,000 − cap) × Σ of what each instrument requires alone."""
    parameters = market[1]
    alone = sum(measured({name: lots}, market).amount_minor for name, lots in book.items())
    assert amount(book, market) * BP >= alone * (BP - parameters.offset_cap_bp)


@given(book=books, market=markets(), lots=st.integers(1, 10**6))
def test_a_larger_outright_position_requires_more(book: Lots, market: Market, lots: int) -> None:
    name = NAMES[0]
    assume(market[0].instruments[0].long_minor[12] < 0)
    assert amount({name: lots + 1}, market) > amount({name: lots}, market)
    assert amount({name: -lots - 1}, market) > amount({name: -lots}, market)


# ---------------------------------------------------------------------------------------------- apportion

amounts = st.integers(0, 100) | st.integers(0, 2**127)
parties = st.text("abcdefgh/-0123456789", min_size=1, max_size=6)
weighted = st.dictionaries(parties, st.just(0) | amounts, max_size=8)
events = st.sampled_from(["d1", "d2", "d1/link/alice"])


@given(total=amounts, weights=weighted, event=events)
def test_parts_sum_to_the_whole_where_anybody_has_a_weight(
    total: int, weights: dict[str, int], event: str
) -> None:
    parts = apportion(total, weights, event)
    assert sum(parts.values()) == (total if any(weights.values()) else 0)
    assert parts.keys() == weights.keys()
    assert all(part >= 0 for part in parts.values())


@given(total=amounts, weights=weighted, event=events)
def test_a_part_is_within_one_unit_of_its_exact_share(
    total: int, weights: dict[str, int], event: str
) -> None:
    whole = sum(weights.values())
    for party, part in apportion(total, weights, event).items():
        assert whole == 0 or abs(part * whole - total * weights[party]) < whole


@given(total=amounts, weights=weighted, event=events)
def test_without_weight_there_is_no_part(total: int, weights: dict[str, int], event: str) -> None:
    parts = apportion(total, weights, event)
    assert not any(parts[party] for party, weight in weights.items() if weight == 0)


@given(total=amounts, weights=weighted, event=events, data=st.data())
def test_no_part_exceeds_its_cap_and_all_that_the_caps_allow_is_paid(
    total: int, weights: dict[str, int], event: str, data: st.DataObject
) -> None:
    caps = {party: data.draw(amounts) for party in weights}
    parts = apportion(total, weights, event, caps)
    assert all(parts[party] <= caps[party] for party in weights)
    assert sum(parts.values()) == min(total, sum(caps[party] for party in weights if weights[party]))


@given(total=amounts, weights=weighted, event=events, data=st.data())
def test_who_is_under_its_cap_pays_no_less_than_its_share_of_the_whole(
    total: int, weights: dict[str, int], event: str, data: st.DataObject
) -> None:
    """What a cap leaves is spread over the others, never taken from them."""
    caps = {party: data.draw(amounts) for party in weights}
    parts = apportion(total, weights, event, caps)
    whole = sum(weights.values())
    for party, part in parts.items():
        if part < caps[party] and weights[party]:
            assert part >= total * weights[party] // whole


@given(total=amounts, weights=weighted, event=events, seed=st.integers(0, 2**32), data=st.data())
def test_the_order_of_the_parties_does_not_matter(
    total: int, weights: dict[str, int], event: str, seed: int, data: st.DataObject
) -> None:
    caps = data.draw(st.none() | st.just(dict.fromkeys(weights, total // 3)))
    names = list(weights)
    Random(seed).shuffle(names)
    shuffled = {name: weights[name] for name in names}
    assert apportion(total, shuffled, event, caps) == apportion(total, weights, event, caps)


@given(total=amounts, weights=weighted, event=events, factor=st.integers(1, 1_000))
def test_only_the_proportion_of_the_weights_counts(
    total: int, weights: dict[str, int], event: str, factor: int
) -> None:
    larger = {party: factor * weight for party, weight in weights.items()}
    assert apportion(total, larger, event) == apportion(total, weights, event)


def test_a_tie_goes_to_the_smaller_hash_which_the_event_decides() -> None:
    """One unit for two equal parties: who gets it is fixed, and not always the same one."""
    winners = {event: apportion(1, {"x": 1, "y": 1}, event) for event in ("d1", "d2", "d3", "d4", "d5")}
    assert {tuple(sorted(parts.items())) for parts in winners.values()} == {
        (("x", 0), ("y", 1)),
        (("x", 1), ("y", 0)),
    }
    assert winners == {event: apportion(1, {"y": 1, "x": 1}, event) for event in winners}
