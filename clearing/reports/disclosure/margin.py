"""Measures of margin, its model and its back-test, and of what was paid (principles 6 and 7)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from clearing.margin.assess import (
    Measured,
    maintenance_of_all,
    market_value,
    measured_sets,
    portfolio_of,
    posted,
    required,
)
from clearing.margin.factors import FILTERED_DAYS, STRESSED_DAYS_MAX
from clearing.margin.table import MODELS
from clearing.model.house import House, ordered
from clearing.model.ids import SetId
from clearing.model.kinds import Kind
from clearing.model.values import BP, AccountKind, Parameters
from clearing.reports import figures, sources
from clearing.reports.disclosure.quarter import (
    CALLS,
    VARIATION,
    DayEnd,
    Quarter,
)
from clearing.reports.disclosure.values import (
    ACCOUNTS,
    NO_MARKS,
    POSITION_KINDS,
    RULES,
    Measure,
    Value,
    all_of,
    holdings,
    money,
    nothing,
    open_positions,
    pairs_source,
    twice,
    within,
)
from ledger.amount import divide_up


def is_client(house: House, set_id: SetId) -> bool:
    """Whether a netting set is of client accounts; a member's own account is in a set of its own."""
    first = house.netting_sets[set_id].accounts[0]
    return house.accounts[first].kind is AccountKind.CLIENT


def _sides(house: House) -> dict[str, list[Measured]]:
    measured = measured_sets(house)
    return {
        "house": [one for one in measured if not is_client(house, one.netting_set)],
        "client": [one for one in measured if is_client(house, one.netting_set)],
        "total": measured,
    }


def _margin_required(q: Quarter) -> Iterator[Value]:
    source = sources.joined(open_positions(q.house), RULES, ACCOUNTS)
    if q.house.cycle is None:
        yield nothing(NO_MARKS, source)
        return
    names = {"house": "house-net", "client": "client-gross", "total": "total"}
    for side, measured in _sides(q.house).items():
        yield money(q, sum(one.requirement_minor for one in measured), source, names[side])


def _margin_held(q: Quarter) -> Iterator[Value]:
    source = sources.joined(holdings(q.house), ACCOUNTS, all_of(Kind.ASSET_LISTED))
    if q.house.cycle is None:
        yield nothing(NO_MARKS, source)
        return
    for side, measured in _sides(q.house).items():
        before = sum(_before_haircut(q.house, one.netting_set) for one in measured)
        yield from twice(q, before, sum(one.equity_minor for one in measured), source, side)


def _before_haircut(house: House, set_id: SetId) -> int:
    held, accounts = portfolio_of(house, set_id), house.netting_sets[set_id].accounts
    collateral = sum(
        market_value(house, asset, posted(house, key, asset.id))
        for key in accounts
        for asset in ordered(house.assets)
    )
    return held.cash_minor + collateral + held.option_value_minor


def _rates(q: Quarter) -> Iterator[Value]:
    house = q.house
    source = sources.joined(all_of(Kind.SNAPSHOT_ACCEPTED, Kind.INSTRUMENT_LISTED), RULES)
    instruments = sorted(house.margined)
    if not instruments:
        yield nothing(NO_MARKS if house.cycle is None else "no instrument has a price", source)
        return
    lots = [{instrument: side} for instrument in instruments for side in (1, -1)]
    names = [(instrument, side) for instrument in instruments for side in ("long", "short")]
    for name, amount in zip(names, maintenance_of_all(house, lots), strict=True):
        yield money(q, required(house, amount), source, *name)


MODEL_TYPES: Mapping[str, str] = {
    "expected_shortfall": "expected shortfall of a filtered historical simulation and of days of stress",
    "grid": "worst of a grid of moves of price and volatility",
    "scan": "worst of 16 scenarios of price and volatility",
    "static": "share of the notional",
}
NO_STATISTIC = "the model in force does not come from what the market did"


def _model_type(parameters: Parameters) -> str:
    return MODEL_TYPES[parameters.margin_model]


def _model_name(parameters: Parameters) -> str:
    model = MODELS[parameters.margin_model]
    return f"{model.name} {model.version}"


def _only_if_it_looks_back(say: Callable[[Parameters], str], parameters: Parameters) -> str:
    return say(parameters) if MODELS[parameters.margin_model].looks_back else ""


def _confidence(parameters: Parameters) -> str:
    return figures.basis_points(BP - parameters.tail_bp)


def _look_back(_: Parameters) -> str:
    return f"the last {FILTERED_DAYS} days, and up to {STRESSED_DAYS_MAX} days of stress of all time"


def _adjustments(parameters: Parameters) -> str:
    stress = figures.basis_points(parameters.stress_weight_bp)
    return f"recent days are scaled to the volatility of now, days of stress weigh {stress} %"


def _horizon(_: Parameters) -> str:
    return "1 day"


def _feature(say: Callable[[Parameters], str], q: Quarter) -> Iterator[Value]:
    said = say(q.house.parameters)
    yield Value(said, RULES) if said else nothing(NO_STATISTIC, RULES)


def _since(say: Callable[[Parameters], str], q: Quarter) -> Iterator[Value]:
    """Since when it has been as it is now: the first of the last charters that say the same."""
    said = say(q.house.parameters)
    if not said:
        yield nothing(NO_STATISTIC, RULES)
        return
    since = q.charters[-1]
    for one in reversed(q.charters):
        if say(one.parameters) != said:
            break
        since = one
    yield Value(figures.time(since.at_ms), sources.entries([since.sequence]))


def _exceptions(end: DayEnd, which: str) -> tuple[int, ...]:
    if end.tested is None:
        return ()
    return (
        end.tested.beyond_requirement_minor if which == "requirement" else end.tested.beyond_maintenance_minor
    )


MARGINS = ("requirement", "maintenance")
"""What a day's loss is held against: initial margin, and M, the amount that the model promises to suffice."""
NO_OBSERVATION = "no position was held from the end of a day to the end of the next"


def _back_tested(q: Quarter) -> tuple[int, str]:
    """How many observations there are, and where they come from."""
    source = pairs_source(q, Kind.SNAPSHOT_ACCEPTED, *POSITION_KINDS)
    return sum(end.tested.sets for end in q.ends_in(q.year) if end.tested is not None), source


def _back_test(say: Callable[[Quarter, int, Sequence[int]], tuple[str, str]], q: Quarter) -> Iterator[Value]:
    observations, source = _back_tested(q)
    for which in MARGINS:
        beyond = [amount for end in q.ends_in(q.year) for amount in _exceptions(end, which)]
        text, reason = say(q, observations, beyond) if observations else ("", NO_OBSERVATION)
        yield Value(text, source, (which,), reason)


def _exceeded(_: Quarter, __: int, beyond: Sequence[int]) -> tuple[str, str]:
    return str(len(beyond)), ""


def _coverage(_: Quarter, observations: int, beyond: Sequence[int]) -> tuple[str, str]:
    return figures.percent(observations - len(beyond), observations), ""


NEVER_BEYOND = "no loss was beyond it"


def _largest_beyond(q: Quarter, _: int, beyond: Sequence[int]) -> tuple[str, str]:
    return (figures.money(q.house, max(beyond)), "") if beyond else ("", NEVER_BEYOND)


def _mean_beyond(q: Quarter, _: int, beyond: Sequence[int]) -> tuple[str, str]:
    if not beyond:
        return "", NEVER_BEYOND
    return figures.money(q.house, divide_up(sum(beyond), len(beyond))), ""


def _how_often(q: Quarter) -> Iterator[Value]:
    yield Value("once a day", within(q.year, Kind.CYCLE_CLOSED))


def _when(q: Quarter) -> Iterator[Value]:
    yield Value("with the last closed cycle of each UTC day", within(q.year, Kind.CYCLE_CLOSED))


def _observations(q: Quarter) -> Iterator[Value]:
    observations, source = _back_tested(q)
    yield Value(str(observations), source) if observations else nothing(NO_OBSERVATION, source)


def _variation_mean(q: Quarter) -> Iterator[Value]:
    paid = sum(flow.paid_minor for flow in q.flows_in(q.quarter))
    yield from _flow(q, divide_up(paid, q.days), *VARIATION)


def _variation_peak(q: Quarter) -> Iterator[Value]:
    yield from _flow(q, max(flow.paid_minor for flow in q.flows_in(q.quarter)), *VARIATION)


def _called_peak(q: Quarter) -> Iterator[Value]:
    most = max(flow.called_minor for flow in q.flows_in(q.quarter))
    yield from _flow(q, most, *CALLS)


def _flow(q: Quarter, amount_minor: int, *kinds: Kind) -> Iterator[Value]:
    source = within(q.quarter, *kinds)
    yield nothing(NO_MARKS, source) if q.house.cycle is None else money(q, amount_minor, source)


def _payment_peak(q: Quarter) -> Iterator[Value]:
    source = sources.joined(within(q.year, *VARIATION), all_of(Kind.MEMBER_GROUPED))
    if q.house.cycle is None:
        yield nothing(NO_MARKS, source, "same-day")
    else:
        most = max(flow.most_paid_minor for flow in q.flows_in(q.year))
        yield money(q, most, source, "same-day")


_HORIZON = partial(_only_if_it_looks_back, _horizon)
_CONFIDENCE = partial(_only_if_it_looks_back, _confidence)
_LOOK_BACK = partial(_only_if_it_looks_back, _look_back)
_ADJUSTMENTS = partial(_only_if_it_looks_back, _adjustments)

MEASURES: Mapping[str, Measure] = {
    "6.1.1": _margin_required,
    "6.2.15": _margin_held,
    "6.3.1": _rates,
    "6.4.1": partial(_feature, _model_type),
    "6.4.2": partial(_since, _model_type),
    "6.4.3": partial(_feature, _model_name),
    "6.4.4": partial(_feature, _CONFIDENCE),
    "6.4.5": partial(_since, _CONFIDENCE),
    "6.4.6": partial(_feature, _LOOK_BACK),
    "6.4.7": partial(_since, _LOOK_BACK),
    "6.4.8": partial(_feature, _ADJUSTMENTS),
    "6.4.9": partial(_since, _ADJUSTMENTS),
    "6.4.10": partial(_feature, _HORIZON),
    "6.4.11": partial(_since, _HORIZON),
    "6.5.1.1": partial(_back_test, _exceeded),
    "6.5.1.2": _how_often,
    "6.5.1.3": _when,
    "6.5.2": _observations,
    "6.5.3": partial(_back_test, _coverage),
    "6.5.4": partial(_back_test, _largest_beyond),
    "6.5.5": partial(_back_test, _mean_beyond),
    "6.6.1": _variation_mean,
    "6.7.1": _variation_peak,
    "6.8.1": _called_peak,
    "7.3.4": _payment_peak,
}
