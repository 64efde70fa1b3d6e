"""Measures of what stands against a default, of stress, of and of collateral (principles 4 and 5)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from clearing import chart
from clearing.default.exits import survivors_at
from clearing.default.resources import assessable, replenishable
from clearing.default.stress import prefunded
from clearing.margin.assess import (
    market_value,
    price_of_asset,
)
from clearing.model.house import House, ordered
from clearing.model.ids import AssetId, MemberId
from clearing.model.kinds import Kind
from clearing.model.values import BP, DAY_MS
from clearing.reports import figures, sources
from clearing.reports.disclosure.items import OTHER_FORMS
from clearing.reports.disclosure.quarter import (
    DayEnd,
    Quarter,
)
from clearing.reports.disclosure.values import (
    MEMBERSHIP,
    NO_CYCLE,
    POSITION_KINDS,
    REQUIRED,
    RULES,
    Measure,
    Value,
    all_of,
    ended,
    holdings,
    house_accounts,
    money,
    nothing,
    pairs_source,
    pool_accounts,
    prefunded_accounts,
    twice,
    within,
)
from ledger.account import Account
from ledger.amount import divide_down, divide_up


def _at_ms(house: House) -> int:
    return 0 if house.cycle is None else house.cycle.accepted_ms


def _bearing(house: House) -> tuple[MemberId, ...]:
    return survivors_at(house, _at_ms(house))


def _tranche(line: chart.Line, account: Callable[[AssetId], Account], q: Quarter) -> Iterator[Value]:
    yield money(q, q.house.balance(account(q.house.settlement)), house_accounts(q.house, line))


_OWN = (
    chart.Line.CAPITAL,
    chart.Line.SKIN_IN_THE_GAME,
    chart.Line.SECOND_TRANCHE,
    chart.Line.INSURANCE_FUND,
    chart.Line.FEES,
)
"""All that is the house's own."""


def _alongside(q: Quarter) -> Iterator[Value]:
    """No tier of the waterfall mixes the house's money with that of members (rulebook §11)."""
    yield money(q, 0, house_accounts(q.house, *_OWN))


def _required_of_members(q: Quarter) -> Iterator[Value]:
    sums = sum(q.house.members[one].required_contribution_minor for one in _bearing(q.house))
    yield money(q, sums, REQUIRED)


def _paid_by_members(q: Quarter) -> Iterator[Value]:
    sums = sum(q.house.pool(one) for one in _bearing(q.house))
    yield money(q, sums, sources.joined(pool_accounts(q.house), MEMBERSHIP))


def _insurance(q: Quarter) -> Iterator[Value]:
    fund = q.house.balance(chart.insurance_fund(q.house.settlement))
    drawable = divide_down(fund * q.house.parameters.fund_event_cap_bp, BP)
    yield money(q, drawable, sources.joined(house_accounts(q.house, chart.Line.INSURANCE_FUND), RULES))


def _assessments(q: Quarter) -> Iterator[Value]:
    sums = sum(assessable(q.house, one) for one in _bearing(q.house))
    yield money(q, sums, sources.joined(REQUIRED, RULES, all_of(Kind.DEFAULT_DECLARED, Kind.WATERFALL)))


def _replenishments(q: Quarter) -> Iterator[Value]:
    sums = sum(replenishable(q.house, one, _at_ms(q.house)) for one in _bearing(q.house))
    yield money(q, sums, sources.joined(REQUIRED, RULES, all_of(Kind.DEFAULT_DECLARED, Kind.WATERFALL)))


_TIERS_2_TO_6 = (
    chart.Line.POOL,
    chart.Line.SKIN_IN_THE_GAME,
    chart.Line.INSURANCE_FUND,
    chart.Line.SECOND_TRANCHE,
)


def _not_cash(q: Quarter) -> Iterator[Value]:
    """What the accounts of tiers 2 to 6 hold of anything but the settlement asset."""
    house, source = q.house, prefunded_accounts(q.house)
    others = [
        market_value(house, house.assets[asset.id], -balance)
        for asset in ordered(house.assets)
        for account, balance in house.book.debit_balances()
        if asset.id != house.settlement
        and account.unit == asset.id
        and chart.line_of(account.path)[0] in _TIERS_2_TO_6
    ]
    if any(others):
        yield nothing("the class of what is held besides the settlement asset is not known", source)
    else:
        yield from twice(q, 0, 0, source)


def _prefunded_in_total(q: Quarter) -> Iterator[Value]:
    total = prefunded(q.house)
    yield from twice(q, total, total, prefunded_accounts(q.house))


NOT_ATTESTED = "no attestation was signed in the window"


def _cover_policy(q: Quarter) -> Iterator[Value]:
    yield Value("cover 2 (rulebook §12)", RULES)


def _peak_and_mean(q: Quarter, amounts: Sequence[int], source: str, without: str) -> Iterator[Value]:
    if not amounts:
        yield nothing(without, source, "peak")
        yield nothing(without, source, "mean")
        return
    yield money(q, max(amounts), source, "peak")
    yield money(q, divide_up(sum(amounts), len(amounts)), source, "mean")


def _losses(members: int, q: Quarter) -> list[tuple[int, int, int, int]]:
    """Day, entry, loss and prefunded resources of each day with an attestation."""
    found = []
    for one in q.stated:
        stress = one.statement.stress
        loss = stress.cover1_minor if members == 1 else stress.cover2_minor
        found.append((one.day, one.sequence, loss, stress.prefunded_minor))
    return found


def _stressed(members: int, q: Quarter) -> Iterator[Value]:
    losses = _losses(members, q)
    source = sources.entries(sequence for _, sequence, _, _ in losses) or within(q.year, Kind.ATTESTED)
    yield from _peak_and_mean(q, [loss for _, _, loss, _ in losses], source, NOT_ATTESTED)


def _days_uncovered(members: int, q: Quarter) -> Iterator[Value]:
    losses = _losses(members, q)
    source = sources.entries(sequence for _, sequence, _, _ in losses) or within(q.year, Kind.ATTESTED)
    if not losses:
        yield nothing(NOT_ATTESTED, source)
    else:
        yield Value(str(sum(loss > against for _, _, loss, against in losses)), source)


def _amounts_uncovered(members: int, q: Quarter) -> Iterator[Value]:
    losses = _losses(members, q)
    beyond = [one for one in losses if one[2] > one[3]]
    for day, sequence, loss, against in beyond:
        yield money(q, loss - against, sources.entries([sequence]), figures.time(day * DAY_MS)[:10])
    if not beyond:
        source = sources.entries(sequence for _, sequence, _, _ in losses) or within(q.year, Kind.ATTESTED)
        yield nothing("there was no such day" if losses else NOT_ATTESTED, source)


def _uncovered(members: int, q: Quarter) -> Iterator[Value]:
    """The mean is of the ends of days; the peak is also of the moments at which defaults were declared."""
    ends = q.ends_in(q.year)
    source = sources.joined(ended(q, ends, q.year, *POSITION_KINDS), holdings(q.house))
    at_ends = [sum(end.uncovered_minor[:members]) for end in ends]
    if not at_ends:
        yield from _peak_and_mean(q, at_ends, source, NO_CYCLE)
        return
    declared = [sum(one.uncovered_minor[:members]) for one in q.shaken]
    found = sources.joined(source, sources.entries(one.sequence for one in q.shaken))
    yield money(q, max(at_ends + declared), found, "peak")
    yield money(q, divide_up(sum(at_ends), len(at_ends)), source, "mean")


def _haircuts(q: Quarter) -> Iterator[Value]:
    source = all_of(Kind.HOUSE_FOUNDED, Kind.ASSET_LISTED)
    for asset in ordered(q.house.assets):
        yield Value(figures.basis_points(asset.haircut_bp), source, (asset.id,))
        if asset.concentration_minor:
            haircut = figures.basis_points(asset.concentration_haircut_bp)
            yield Value(haircut, source, (asset.id, "beyond-its-limit"))


def _pool_haircut(q: Quarter) -> Iterator[Value]:
    yield Value(figures.basis_points(0), all_of(Kind.HOUSE_FOUNDED), (q.house.settlement,))


def _tested_pairs(q: Quarter) -> list[DayEnd]:
    return [end for end in q.ends_in(q.year) if end.tested is not None]


NO_PAIR = "no two days that follow each other ended with a closed cycle"


def _haircut_holding(q: Quarter) -> Iterator[Value]:
    yield Value("1", within(q.year, Kind.CYCLE_CLOSED))


def _haircut_days(q: Quarter) -> Iterator[Value]:
    days = len(_tested_pairs(q))
    yield Value(str(days) if days else "", pairs_source(q), (), "" if days else NO_PAIR)


def _haircut_exceeded(q: Quarter) -> Iterator[Value]:
    pairs = _tested_pairs(q)
    source = pairs_source(q, Kind.SNAPSHOT_ACCEPTED, Kind.ASSET_LISTED)
    for asset in ordered(q.house.assets):
        if asset.id == q.house.settlement:
            continue
        if not pairs:
            yield nothing(NO_PAIR, source, asset.id)
        elif not price_of_asset(q.house, asset):
            yield nothing("it has no price", source, asset.id)
        else:
            fallen = sum(asset.id in end.fallen for end in pairs if end.fallen is not None)
            yield Value(str(fallen), source, (asset.id,))
    if len(q.house.assets) == 1:
        yield nothing("no asset but the settlement asset is taken", source)


MEASURES: Mapping[str, Measure] = {
    "4.1.1": partial(_tranche, chart.Line.SKIN_IN_THE_GAME, chart.skin_in_the_game),
    "4.1.2": _alongside,
    "4.1.3": partial(_tranche, chart.Line.SECOND_TRANCHE, chart.second_tranche),
    "4.1.4": _required_of_members,
    "4.1.5": _paid_by_members,
    "4.1.6": _insurance,
    "4.1.8": _assessments,
    "4.1.9": _replenishments,
    **{f"4.3.{number}": _not_cash for number, _ in enumerate(OTHER_FORMS, 5)},
    "4.3.15": _prefunded_in_total,
    "4.4.1": _cover_policy,
    "4.4.3": partial(_stressed, 1),
    "4.4.4": partial(_days_uncovered, 1),
    "4.4.5": partial(_amounts_uncovered, 1),
    "4.4.6": partial(_uncovered, 1),
    "4.4.7": partial(_stressed, 2),
    "4.4.8": partial(_days_uncovered, 2),
    "4.4.9": partial(_amounts_uncovered, 2),
    "4.4.10": partial(_uncovered, 2),
    "5.1.1": _haircuts,
    "5.2.1": _pool_haircut,
    "5.3.2": _haircut_holding,
    "5.3.3": _haircut_days,
    "5.3.4": _haircut_exceeded,
}
