"""Laws that every margin model keeps, in markets and on books that nobody chose (rulebook §1, §9).

Requirements are integers, rounded against the account. Where a law that holds for real numbers holds for them up to a
bound only, the test states it in smallest units; ``ROUNDED`` says which models that concerns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clearing.decide.terms import MOVE_BP_MAX, parameters_flaw
from clearing.margin.factors import HISTORY_DAYS_MIN, MISSING, WARM_UP_DAYS, History, path_of, states_of
from clearing.margin.model import Margin, Market, Positions, States
from clearing.margin.pricing import YEAR_MS, value_ticks
from clearing.margin.table import MODELS
from clearing.model.ids import FeedId, InstrumentId
from clearing.model.values import (
    BP,
    PPM,
    Instrument,
    InstrumentKind,
    Offset,
    OptionTerms,
    Parameters,
    Right,
    RiskArray,
    ScanRange,
)

pytestmark = pytest.mark.slow

GOLD, SILVER, TIN, VOL = FeedId("GOLD"), FeedId("SILVER"), FeedId("TIN"), FeedId("VOL")
NEAR, FAR = InstrumentId("GOLD-NEAR"), InstrumentId("GOLD-FAR")
LINEAR = (NEAR, FAR, InstrumentId("SILVER-NEAR"), InstrumentId("TIN-NEAR"))
OPTIONS = (InstrumentId("GOLD-CALL"), InstrumentId("GOLD-FAR-PUT"), InstrumentId("TIN-CALL"))
FEEDS = {NEAR: GOLD, FAR: FeedId("GOLD-FAR"), LINEAR[2]: SILVER, LINEAR[3]: TIN}
FORWARDS = {OPTIONS[0]: GOLD, OPTIONS[1]: FeedId("GOLD-FAR"), OPTIONS[2]: TIN}
NAMES = LINEAR + OPTIONS
EXACT = ("expected_shortfall", "static")
"""Whose netting loses no law to rounding. The other two round credit and basis charge."""

Lots = Mapping[InstrumentId, int]
quantities = st.integers(-50, 50) | st.integers(-(10**9), 10**9)
linear_books = st.fixed_dictionaries({name: st.just(0) | quantities for name in LINEAR})
books = st.fixed_dictionaries({name: st.just(0) | quantities for name in NAMES})
every_model = pytest.mark.parametrize("model", sorted(MODELS))


@dataclass(frozen=True)
class Drawn:
    """A market as a model sees it."""

    model: str
    array: RiskArray
    parameters: Parameters
    worth: Mapping[InstrumentId, int]
    """What a lot of each option is worth at its mark."""

    def margin(self, book: Lots) -> Margin:
        return MODELS[self.model].margin(book, self.array, self.parameters)

    def amount(self, book: Lots) -> int:
        return self.margin(book).amount_minor

    def amounts(self, positions: Positions) -> list[int]:
        return MODELS[self.model].amounts(positions, self.array, self.parameters)


# ------------------------------------------------------------------------------------------------- markets


def _instrument(name: InstrumentId, tick_value: int) -> Instrument:
    return Instrument(
        id=name,
        kind=InstrumentKind.PERPETUAL,
        underlying=FeedId(name.split("-")[0]),
        feed=FEEDS.get(name) or FORWARDS[name],
        tick_value_minor=tick_value,
        price_decimals=0,
        lot_decimals=0,
    )


@st.composite
def listings(draw: st.DrawFn, marks: Mapping[FeedId, int]) -> list[Instrument]:
    """Four linear instruments and three options, of any tick value, right, strike and time; some have expired."""
    tick_values = st.sampled_from([1, 3, 100, 10**6])
    found = [_instrument(name, draw(tick_values)) for name in LINEAR]
    for name in OPTIONS:
        terms = OptionTerms(
            right=draw(st.sampled_from(Right)),
            strike_ticks=draw(st.integers(1, 3 * marks[FORWARDS[name]])),
            volatility_feed=VOL,
        )
        expires_ms = draw(st.sampled_from([1, 60_000]) | st.integers(1, 2 * YEAR_MS))
        made = _instrument(name, draw(tick_values))
        found.append(replace(made, kind=InstrumentKind.OPTION, expires_ms=expires_ms, option=terms))
    return found


@st.composite
def parameter_sets(draw: st.DrawFn, *, plain: bool) -> Parameters:
    """Parameters that a house may have; ``plain`` without basis charge and credit."""
    lower = draw(st.just(0) | st.integers(0, 10**12))
    upper = draw(st.just(0) | st.integers(lower + 1, 10**13)) if lower else 0
    parameters = Parameters(
        scan_ranges=tuple(
            ScanRange(
                underlying=underlying,
                move_bp=draw(st.integers(1, 9_999) | st.integers(1, MOVE_BP_MAX)),
                volatility_bp=draw(st.integers(1, BP - 1)),
                open_notional_lower_minor=lower if upper else 0,
                open_notional_upper_minor=upper,
            )
            for underlying in (GOLD, SILVER, TIN)
        ),
        offsets=() if plain else (Offset(first=GOLD, second=SILVER, rate_bp=draw(st.integers(0, BP))),),
        basis_floor_bp=0 if plain else draw(st.integers(0, BP)),
        short_option_bp=draw(st.integers(0, 1_000)),
        tail_bp=draw(st.integers(50, 1_000)),
        stress_weight_bp=draw(st.sampled_from([0, 2_500, BP]) | st.integers(0, BP)),
        offset_cap_bp=draw(st.integers(0, BP)),
    )
    assert parameters_flaw(parameters) == ""
    return parameters


@st.composite
def imagined(draw: st.DrawFn) -> States:
    """Scenario moves out of thin air: few or many, wild or none at all."""
    filtered, stress = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([0, 100, 20_000, 300_000]))
    moves = np.rint(dice.standard_t(3, (filtered + stress, 3)) * scale).astype(np.int64)
    return States(
        underlyings=(GOLD, SILVER, TIN), moves_ppm=np.clip(moves, -990_000, 100 * PPM), filtered=filtered
    )


@st.composite
def remembered(draw: st.DrawFn) -> States:
    """Scenario moves of a history in which tin is new, unknown, or there is nothing at all."""
    least = WARM_UP_DAYS + HISTORY_DAYS_MIN
    days = draw(st.sampled_from([10, least - 1, least, least + 40]))
    dice = np.random.default_rng(draw(st.integers(0, 2**32)))
    moves = np.rint(dice.standard_t(3, (days, 3)) * 20_000).astype(np.int64)
    moves[: days - draw(st.integers(0, days)), 2] = MISSING
    return states_of(
        path_of(History((GOLD, SILVER, TIN), moves)),
        day=days,
        today_ppm={GOLD: draw(st.integers(-500_000, 500_000))},
        ranges_bp={GOLD: 1_000, SILVER: 1_000, TIN: draw(st.integers(1, MOVE_BP_MAX))},
    )


@st.composite
def markets(draw: st.DrawFn, model: str, *, plain: bool = False) -> Drawn:
    """Three underlyings at any price, under any parameters that a house may have."""
    prices = st.integers(1, 10) | st.integers(1, 10**9)
    marks = {feed: draw(prices) for feed in sorted(set(FEEDS.values()))}
    marks[VOL] = draw(st.integers(100, 100_000))
    parameters = draw(parameter_sets(plain=plain))
    instruments = draw(listings(marks))
    market = Market(
        prices=marks,
        at_ms=draw(st.sampled_from([0, 30_000, YEAR_MS])),
        states=draw(imagined() | remembered()) if MODELS[model].looks_back else States(),
        open_lots={name: draw(st.integers(0, 10**6)) for name in NAMES},
    )
    worth = {
        one.id: one.tick_value_minor * value_ticks(one, marks[one.feed], marks[VOL], market.at_ms)
        for one in instruments
        if one.option is not None
    }
    return Drawn(model, MODELS[model].risk_array(instruments, market, parameters), parameters, worth)


def scaled(book: Lots, factor: int) -> Lots:
    return {name: factor * lots for name, lots in book.items()}


def together(one: Lots, other: Lots) -> Lots:
    return {name: one.get(name, 0) + other.get(name, 0) for name in NAMES}


def size(*portfolios: Lots) -> int:
    return sum(abs(lots) for book in portfolios for lots in book.values())


def netted(data: st.DataObject, model: str, count: int) -> tuple[Drawn, list[Lots]]:
    """A market and books in which the model promises that netting never costs: where options may meet a basis charge
    or credit, ``cells`` promise it for linear books only.
    """
    plain = data.draw(st.booleans())
    drawn = books if plain or model in EXACT else linear_books
    return data.draw(markets(model, plain=plain)), [data.draw(drawn) for _ in range(count)]


def rounding(market: Drawn, *portfolios: Lots) -> int:
    """What netting may cost for rounding: a row is rounded to a unit a lot, so credit and charge are off by no more."""
    has_terms = market.parameters.basis_floor_bp or market.parameters.offsets
    return 0 if market.model in EXACT or not has_terms else size(*portfolios)


# -------------------------------------------------------------------------------------------- requirements


@every_model
@given(data=st.data())
def test_a_requirement_is_never_negative_and_its_contributions_sum_to_it(
    model: str, data: st.DataObject
) -> None:
    market, book = data.draw(markets(model)), data.draw(books)
    result = market.margin(book)
    assert result.amount_minor >= 0
    assert sum(result.contributions.values()) == result.amount_minor
    assert result.contributions.keys() == {name for name, lots in book.items() if lots}


ROUNDED: Mapping[str, Callable[[Margin], int]] = {
    "expected_shortfall": lambda _: 1,
    "grid": lambda margin: max(1, len(margin.underlyings)),
    "scan": lambda margin: 1 + len(margin.underlyings),
    "static": lambda _: 0,
}
"""How many rounded terms an amount has: the credit and each underlying's basis charge, or the floor; one fraction."""


@every_model
@given(data=st.data(), factor=st.integers(2, 100))
def test_a_book_of_twice_the_size_requires_at_least_twice_as_much(
    model: str, data: st.DataObject, factor: int
) -> None:
    """Within one unit for each rounded term."""
    market, book = data.draw(markets(model)), data.draw(books)
    once, more = market.margin(book), market.margin(scaled(book, factor))
    assert more.amount_minor >= factor * once.amount_minor - (factor - 1) * ROUNDED[model](once)
    assert more.amount_minor <= factor * (once.amount_minor + ROUNDED[model](once))


@every_model
@given(data=st.data())
def test_splitting_an_account_never_lowers_the_sum(model: str, data: st.DataObject) -> None:
    market, (one, other) = netted(data, model, 2)
    apart = market.amount(one) + market.amount(other)
    assert market.amount(together(one, other)) <= apart + rounding(market, one, other)


@every_model
@given(data=st.data())
def test_netting_never_costs_more_than_what_each_position_asks_for_alone(
    model: str, data: st.DataObject
) -> None:
    market, (book,) = netted(data, model, 1)
    alone = sum(market.amount({name: lots}) for name, lots in book.items())
    assert market.amount(book) <= alone + rounding(market, book)


@every_model
@given(data=st.data())
def test_netting_never_saves_more_than_the_cap(model: str, data: st.DataObject) -> None:
    """M ≥ (1 − cap) × Σ of what each position requires alone, but for the unit to which each of these is rounded up;
    what a lot asks for at least, whatever the scenarios say, is none of it.
    """
    market, book = data.draw(markets(model)), data.draw(linear_books)
    by_scenarios = replace(market, parameters=replace(market.parameters, basis_floor_bp=0))
    alone = sum(by_scenarios.amount({name: lots}) for name, lots in book.items())
    assert market.amount(book) * BP >= (alone - len(book)) * (BP - market.parameters.offset_cap_bp)


@every_model
@given(data=st.data(), lots=quantities)
def test_a_hedge_of_an_outright_position_raises_its_requirement_by_no_more_than_is_stated(
    model: str, data: st.DataObject, lots: int
) -> None:
    """The hedge: the opposite exposure, or just less, in the other instrument on the same underlying. What it may
    cost is the charge for the basis, or what the cap on netting leaves of both legs; in ``static`` a leg is a leg.
    """
    market = data.draw(markets(model))
    near, far = (row for row in market.array.instruments if row.instrument in {NEAR, FAR})
    hedge = -lots * near.notional_minor // far.notional_minor
    outright, other = {NEAR: lots}, {FAR: hedge}
    apart = market.amount(outright) + market.amount(other)
    hedged = market.margin(together(outright, other))
    floor = -(-apart * (BP - market.parameters.offset_cap_bp) // BP)
    matched = -(-abs(hedge) * far.notional_minor * market.parameters.basis_floor_bp // BP)
    charge = {"static": market.amount(other), "expected_shortfall": matched}.get(model, hedged.basis_minor)
    units = abs(lots) + 2 * abs(hedge) + max(map(abs, far.long_minor)) + 1
    assert hedged.amount_minor <= max(market.amount(outright) + charge, floor) + units
    assert hedged.amount_minor <= apart + rounding(market, outright, other), "no dearer than its legs apart"


@every_model
@given(data=st.data(), lots=st.integers(1, 10**6), name=st.sampled_from(NAMES))
def test_a_larger_outright_position_never_requires_less(
    model: str, data: st.DataObject, lots: int, name: InstrumentId
) -> None:
    market = data.draw(markets(model))
    for sign in (1, -1):
        assert market.amount({name: sign * (lots + 1)}) >= market.amount({name: sign * lots})


@every_model
@given(data=st.data(), worse=st.integers(0, 10**6))
def test_an_instrument_that_loses_more_in_every_scenario_never_lowers_a_requirement(
    model: str, data: st.DataObject, worse: int
) -> None:
    """Where there is no credit: that reads a gain as exposure."""
    market, book = data.draw(markets(model)), data.draw(books)
    first, *others = market.array.instruments
    lossy = replace(
        first,
        long_minor=tuple(one - worse for one in first.long_minor),
        short_minor=tuple(one - worse for one in first.short_minor),
    )
    uncredited = replace(market, parameters=replace(market.parameters, offsets=()))
    changed = replace(uncredited, array=replace(market.array, instruments=(lossy, *others)))
    assert changed.amount(book) >= uncredited.amount(book)


@given(data=st.data(), loss=st.integers(1, 10**6), lots=st.integers(1, 10**3))
def test_a_sure_loss_raises_an_expected_shortfall_by_just_that(
    data: st.DataObject, loss: int, lots: int
) -> None:
    """Translation, where neither floor nor minimum decides."""
    market = data.draw(markets("expected_shortfall"))
    parameters = replace(market.parameters, offset_cap_bp=BP, short_option_bp=0, basis_floor_bp=0)
    row = market.array.instruments[0]
    sure = tuple(-loss for _ in row.long_minor)
    doomed = replace(row, instrument=InstrumentId("DOOMED"), long_minor=sure, short_minor=sure)
    larger = replace(market.array, instruments=(*market.array.instruments, doomed))
    changed, book = replace(market, array=larger, parameters=parameters), data.draw(books)
    before = changed.amount(book)
    assume(before > 0)
    assert changed.amount({**book, InstrumentId("DOOMED"): lots}) == before + lots * loss


@every_model
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_the_order_of_instruments_and_positions_does_not_matter(
    model: str, data: st.DataObject, seed: int
) -> None:
    market, book = data.draw(markets(model)), data.draw(books)
    rows, names = list(market.array.instruments), list(NAMES)
    Random(seed).shuffle(rows)
    Random(seed + 1).shuffle(names)
    shuffled = replace(market, array=replace(market.array, instruments=tuple(rows)))
    assert shuffled.margin({name: book[name] for name in names}) == market.margin(book)


@every_model
@given(data=st.data(), name=st.sampled_from(NAMES), lots=st.integers(-(10**6), 10**6))
def test_no_trade_raises_an_amount_by_more_than_is_said(
    model: str, data: st.DataObject, name: InstrumentId, lots: int
) -> None:
    market, book = data.draw(markets(model)), data.draw(books)
    most = abs(lots) * MODELS[model].rises(market.array, market.parameters)[name]
    assert market.amount(together(book, {name: lots})) <= market.amount(book) + most


# ---------------------------------------------------------------------------------------------- all at once


def in_columns(portfolios: Sequence[Lots], array: RiskArray, seed: int = 0) -> Positions:
    """The positions of all portfolios in an order that the seed decides."""
    row_of = {row.instrument: number for number, row in enumerate(array.instruments)}
    held = [
        (owner, row_of[name], lots)
        for owner, book in enumerate(portfolios)
        for name, lots in book.items()
        if lots
    ]
    Random(seed).shuffle(held)
    owners, rows, lots = np.array(held, np.int64).reshape(-1, 3).T
    return Positions(portfolios=len(portfolios), owners=owners, rows=rows, lots=lots)


@every_model
@given(data=st.data(), portfolios=st.lists(books, max_size=5), seed=st.integers(0, 2**32))
def test_portfolios_are_margined_at_once_as_alone_in_any_order(
    model: str, data: st.DataObject, portfolios: list[Lots], seed: int
) -> None:
    market = data.draw(markets(model))
    alone = [market.amount(book) for book in portfolios]
    assert market.amounts(in_columns(portfolios, market.array, seed)) == alone


giant_books = st.fixed_dictionaries(
    {name: st.sampled_from([0, 1, -(2**61), 2**61, 2**40]) | quantities for name in NAMES}
)


@every_model
@settings(max_examples=30)
@given(data=st.data(), portfolios=st.lists(giant_books, min_size=1, max_size=3))
def test_portfolios_beyond_64_bits_are_margined_at_once_as_alone(
    model: str, data: st.DataObject, portfolios: list[Lots]
) -> None:
    market = data.draw(markets(model))
    one, other = portfolios[0], scaled(portfolios[0], 2)
    alone = [market.amount(book) for book in portfolios]
    assert market.amounts(in_columns(portfolios, market.array)) == alone
    assert market.amount(other) <= 2 * market.amount(one) + 2 * ROUNDED[model](market.margin(one))


@every_model
@pytest.mark.parametrize("factor", [2**40, 2**62, 2**70])
@settings(max_examples=15)
@given(data=st.data(), portfolios=st.lists(books, min_size=1, max_size=3))
def test_notionals_beyond_64_bits_change_nothing_but_the_amount(
    model: str, factor: int, data: st.DataObject, portfolios: list[Lots]
) -> None:
    """One row with numbers ``factor`` times as large: margined alike, whether anybody holds it or nobody."""
    market = data.draw(markets(model))
    first, *others = market.array.instruments
    giant = replace(
        first,
        notional_minor=first.notional_minor * factor,
        long_minor=tuple(one * factor for one in first.long_minor),
        short_minor=tuple(one * factor for one in first.short_minor),
    )
    larger = replace(market, array=replace(market.array, instruments=(giant, *others)))
    alone = [larger.amount(book) for book in portfolios]
    assert larger.amounts(in_columns(portfolios, larger.array)) == alone
    without = [{**book, first.instrument: 0} for book in portfolios]
    expected = [market.amount(book) for book in without]
    assert larger.amounts(in_columns(without, larger.array)) == expected
    assert [larger.amount(book) for book in without] == expected


@every_model
@pytest.mark.parametrize("notional", [2**62, 2**63 + 1, 2**64 - 1, 2**70])
@settings(max_examples=15)
@given(data=st.data(), portfolios=st.lists(books, min_size=1, max_size=3))
def test_what_nobody_holds_changes_nothing_however_large_it_is(
    model: str, notional: int, data: st.DataObject, portfolios: list[Lots]
) -> None:
    """A column that mixes numbers beyond 63 bits with negative ones would become one of floats."""
    market = data.draw(markets(model))
    first = market.array.instruments[0]
    giant = replace(
        first,
        instrument=InstrumentId("GIANT"),
        notional_minor=notional,
        long_minor=tuple(notional if n % 2 else -1 for n in range(len(first.long_minor))),
        short_minor=tuple(-notional for _ in first.short_minor),
    )
    larger = replace(market, array=replace(market.array, instruments=(*market.array.instruments, giant)))
    alone = [market.amount(book) for book in portfolios]
    assert larger.amounts(in_columns(portfolios, larger.array)) == alone


@every_model
def test_nothing_requires_nothing_with_and_without_instruments(model: str) -> None:
    nobody = in_columns([{}, {}], RiskArray(model=model, instruments=()))
    empty = Drawn(model, RiskArray(model=model, instruments=()), Parameters(margin_model=model), {})
    assert empty.margin({}) == Margin(amount_minor=0)
    assert empty.margin({NEAR: 0}) == Margin(amount_minor=0)
    assert empty.amounts(nobody) == [0, 0]
    assert empty.amounts(in_columns([], empty.array)) == []
    assert MODELS[model].rises(empty.array, empty.parameters) == {}
    assert isinstance(MODELS[model].scenarios(empty.array), tuple)


@every_model
def test_no_instrument_and_no_mark_make_an_empty_array(model: str) -> None:
    market = Market(prices={}, at_ms=0)
    unmarked = [_instrument(NEAR, 1)]
    for listed in ([], unmarked):
        assert MODELS[model].risk_array(listed, market, Parameters()).instruments == ()


# ------------------------------------------------------------------------------------------------- options


@every_model
@given(data=st.data())
def test_an_option_is_equivalent_to_no_more_than_what_it_is_written_on(
    model: str, data: st.DataObject
) -> None:
    rows = {row.instrument: row for row in data.draw(markets(model)).array.instruments}
    assert all(rows[name].delta_minor is None for name in LINEAR)
    for name in OPTIONS:
        assert abs(rows[name].delta_minor or 0) <= rows[name].notional_minor


@pytest.mark.parametrize("model", ["expected_shortfall", "grid"])
@given(data=st.data())
def test_no_hedge_lowers_a_requirement_below_the_minimum_for_options_held_short(
    model: str, data: st.DataObject
) -> None:
    market, book = data.draw(markets(model)), data.draw(books)
    rows = {row.instrument: row for row in market.array.instruments}
    least = sum(rows[name].notional_minor * max(0, -book[name]) for name in OPTIONS)
    assert market.amount(book) * BP >= least * market.parameters.short_option_bp


@given(data=st.data())
def test_no_hedge_lowers_an_expected_shortfall_below_the_basis_floor_of_each_linear_position(
    data: st.DataObject,
) -> None:
    market, book = data.draw(markets("expected_shortfall")), data.draw(books)
    rows = {row.instrument: row for row in market.array.instruments}
    least = sum(rows[name].notional_minor * abs(book[name]) for name in LINEAR)
    assert market.amount(book) * BP >= least * market.parameters.basis_floor_bp


@every_model
@given(data=st.data())
def test_who_has_only_bought_options_can_lose_no_more_than_they_are_worth(
    model: str, data: st.DataObject
) -> None:
    """Every scenario is measured against the mark, and no option is ever worth less than nothing."""
    market, book = data.draw(markets(model)), data.draw(books)
    rows = {row.instrument: row for row in market.array.instruments}
    bought = {name: abs(book[name]) for name in OPTIONS}
    worth = sum(bought[name] * market.worth[name] for name in OPTIONS)
    assert 0 <= market.amount(bought) <= worth
    assert all(-min(rows[name].long_minor) <= market.worth[name] for name in OPTIONS)


@every_model
@given(data=st.data())
def test_no_row_gains_for_both_of_its_sides(model: str, data: st.DataObject) -> None:
    """Each is rounded against its holder: on that the laws of netting stand."""
    for row in data.draw(markets(model)).array.instruments:
        assert all(long + short <= 0 for long, short in zip(row.long_minor, row.short_minor, strict=True))
