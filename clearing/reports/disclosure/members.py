"""Measures of defaults, members, clients, cash, operations and the market (principles 13 to 23)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from clearing.chart import Line
from clearing.model import decimal, units
from clearing.model.house import House, ordered
from clearing.model.ids import AccountKey, DefaultId, InstrumentId, MemberId, member_of
from clearing.model.kinds import Kind
from clearing.model.values import PPM, AccountKind, AccountStatus, Default, Stage
from clearing.reports import figures, sources
from clearing.reports.disclosure.quarter import (
    DECLARING,
    FEWEST_MEMBERS,
    DayEnd,
    Quarter,
    members_of,
    positions_minor,
    size_minor,
)
from clearing.reports.disclosure.values import (
    ACCOUNTS,
    MEMBERSHIP,
    NO_MARKS,
    POSITION_KINDS,
    Measure,
    Value,
    all_of,
    cash_accounts,
    ended,
    holdings,
    money,
    nothing,
    on_line,
    open_positions,
    pool_accounts,
    within,
)
from ledger.amount import divide_down, divide_up

MANY_MEMBERS = 25
LARGEST_FEW, LARGEST_MANY = 5, 10
NO_DEFAULT = "there has been no default"


def _each_default(say: Callable[[Quarter, Default], Iterator[Value]], q: Quarter) -> Iterator[Value]:
    if not q.house.defaults:
        yield nothing(NO_DEFAULT, all_of(Kind.DEFAULT_DECLARED))
    for default in ordered(q.house.defaults):
        yield from say(q, default)


def _event(q: Quarter, default: DefaultId) -> str:
    """The entries of the event, from its declaration on."""
    first = q.declared[default].sequence if default in q.declared else 0
    last = q.quarter.last
    kinds = (*DECLARING, Kind.LOSS_FIXED, Kind.ANSWER_PAID, Kind.WATERFALL)
    return sources.joined(*(sources.kind(one, first, last) for one in kinds))


NOT_FIXED = "no deficit of a netting set has been fixed in it"
NOT_ALLOCATED = "its loss has not been allocated yet"
ANSWERED = "those who answer for the loss paid it"


def _why_no_loss(default: Default) -> str:
    return NOT_ALLOCATED if default.stage in (Stage.DECLARED, Stage.CLOSED_OUT, Stage.ANSWERING) else ANSWERED


def _loss_and_margin(q: Quarter, default: Default) -> Iterator[Value]:
    source = _event(q, default.id)
    yield _deficit(q, default, source)
    yield _loss(q, default, source)
    declared = q.declared.get(default.id)
    if declared is None or declared.requirement_minor is None:
        yield nothing("no netting set was declared in it", source, default.id, "initial-margin")
    else:
        found = sources.entries([declared.sequence])
        yield money(q, declared.requirement_minor, found, default.id, "initial-margin")


def _deficit(q: Quarter, default: Default, source: str) -> Value:
    """What the sets owed when the loss was fixed, before anybody answered for it (rulebook §10.5)."""
    found = [one.deficit_minor for one in default.sets if one.deficit_minor is not None]
    if not found:
        return nothing(NOT_FIXED, source, default.id, "deficit")
    return money(q, sum(found), source, default.id, "deficit")


def _loss(q: Quarter, default: Default, source: str) -> Value:
    """What the waterfall was to pay."""
    if not default.tiers:
        return nothing(_why_no_loss(default), source, default.id, "loss")
    loss = sum(part.amount_minor for part in default.losses)
    return money(q, loss, source, default.id, "loss")


def _tiers(q: Quarter, default: Default) -> Iterator[Value]:
    source = _event(q, default.id)
    if not default.tiers:
        yield nothing(_why_no_loss(default), source, default.id)
        return
    for tier in default.tiers:
        yield money(q, tier.paid_minor, source, default.id, f"tier-{tier.tier}")
    paid = sum(tier.paid_minor for tier in default.tiers)
    loss = sum(part.amount_minor for part in default.losses)
    yield money(q, paid, source, default.id, "all-tiers")
    yield money(q, loss - paid, source, default.id, "uncovered")


def _became(status: AccountStatus, q: Quarter, default: Default) -> Iterator[Value]:
    """Which share of the client positions of the members that failed in the event is in accounts of a status now."""
    source = sources.joined(_event(q, default.id), ACCOUNTS, all_of(*POSITION_KINDS))
    members, declared = q.failed.get(default.id, ()), q.declared.get(default.id)
    if not members or declared is None:
        yield nothing("no member failed in it", source, default.id)
        return
    before = declared.house
    sizes = {
        key: positions_minor(before, key)
        for key, account in before.accounts.items()
        if account.kind is AccountKind.CLIENT and account.member in members
    }
    ended = sum(size for key, size in sizes.items() if q.house.accounts[key].status is status)
    share = figures.percent(ended, sum(sizes.values()))
    yield Value(share, source, (default.id,), "" if share else "there were no client positions")


def _individually(q: Quarter) -> Iterator[Value]:
    """An account of the house is of one participant."""
    yield from _share_of_clients(q, lambda positions_minor: positions_minor)


def _in_no_account(q: Quarter) -> Iterator[Value]:
    """The house keeps no accounts of this kind (rulebook §2)."""
    yield from _share_of_clients(q, lambda _: 0)


def _share_of_clients(q: Quarter, part: Callable[[int], int]) -> Iterator[Value]:
    whole = sum(
        positions_minor(q.house, key)
        for key, account in q.house.accounts.items()
        if account.kind is AccountKind.CLIENT
    )
    share = figures.percent(part(whole), whole)
    source = sources.joined(open_positions(q.house), ACCOUNTS)
    yield Value(share, source, (), "" if share else "no client holds a position")


def _cash_as_margin(q: Quarter) -> Iterator[Value]:
    yield money(q, sum(max(0, q.house.cash(key)) for key in q.house.accounts), cash_accounts(q.house))


def _cash_in_pool(q: Quarter) -> Iterator[Value]:
    yield money(q, sum(q.house.pool(member) for member in q.house.members), pool_accounts(q.house))


def _availability(q: Quarter) -> Iterator[Value]:
    if q.house.cycle is None:
        yield nothing(NO_MARKS, OUTAGES)
        return
    whole_ms = q.year.until_ms - max(q.year.from_ms, q.founded_ms)
    up_ms = whole_ms - sum(stop.until_ms - stop.from_ms for stop in q.stops)
    text = figures.percent(up_ms, whole_ms)
    yield Value(text, OUTAGES, (), "" if text else "no time has passed yet")


OUTAGES = all_of(Kind.OUTAGE_BEGAN, Kind.OUTAGE_ENDED, Kind.HOUSE_FOUNDED, Kind.HOUSE_WOUND_DOWN)


def _failures(q: Quarter) -> Iterator[Value]:
    if q.house.cycle is None:
        yield nothing(NO_MARKS, OUTAGES)
        return
    seconds = divide_up(sum(stop.until_ms - stop.from_ms for stop in q.stops), 1_000)
    minutes, hours = seconds // 60, seconds // 3_600
    yield Value(str(len(q.stops)), OUTAGES, ("number",))
    yield Value(f"{hours:02}:{minutes % 60:02}:{seconds % 60:02}", OUTAGES, ("duration",))


def _client_accounts(house: House) -> list[AccountKey]:
    belong = {member.id for member in members_of(house)}
    return [
        account.key
        for account in ordered(house.accounts)
        if account.kind is AccountKind.CLIENT
        and account.status is AccountStatus.ACTIVE
        and account.member in belong
    ]


def _clearing_for_clients(q: Quarter) -> Iterator[Value]:
    members = {member_of(key) for key in _client_accounts(q.house)}
    yield Value(str(len(members)), sources.joined(MEMBERSHIP, ACCOUNTS))


def _clearing_alone(q: Quarter) -> Iterator[Value]:
    members = {member_of(key) for key in _client_accounts(q.house)}
    alone = sum(member.id not in members for member in members_of(q.house))
    yield Value(str(alone), sources.joined(MEMBERSHIP, ACCOUNTS))


def _other_members(q: Quarter) -> Iterator[Value]:
    """A member clears for clients, or does not."""
    yield Value("0", sources.joined(MEMBERSHIP, ACCOUNTS))


def _clients(q: Quarter) -> Iterator[Value]:
    participants = {q.house.accounts[key].participant for key in _client_accounts(q.house)}
    yield Value(str(len(participants)), sources.joined(MEMBERSHIP, ACCOUNTS))


@dataclass(frozen=True, slots=True)
class _Largest:
    """The share of the ``count`` largest members of a house of so many; ``most`` None: or more."""

    count: int
    least: int
    most: int | None = None

    def reason(self, q: Quarter) -> str:
        """Why the house does not tell, if it does not."""
        members = len(members_of(q.house))
        if self.least <= members <= (self.most or members):
            return ""
        asked = f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"
        return f"asked for of {asked} members, the house has {members}"

    def share_ppm(self, amounts: Iterable[int]) -> int | None:
        """The share in parts per million, towards zero; None of nothing."""
        ordered_amounts = sorted(amounts, reverse=True)
        whole = sum(ordered_amounts)
        return sum(ordered_amounts[: self.count]) * PPM // whole if whole else None


FIVE_OF_SOME = _Largest(LARGEST_FEW, FEWEST_MEMBERS, MANY_MEMBERS - 1)
FIVE_OF_MANY = _Largest(LARGEST_FEW, MANY_MEMBERS)
TEN_OF_MANY = _Largest(LARGEST_MANY, MANY_MEMBERS)
FIVE_OF_TEN = _Largest(LARGEST_FEW, FEWEST_MEMBERS)


def _ppm(share_ppm: int) -> str:
    return decimal.render(share_ppm, 4)


def _share_by_day(
    largest: _Largest, amounts: Callable[[DayEnd], Mapping[MemberId, int]], what: str, q: Quarter
) -> Iterator[Value]:
    ends = q.ends_in(q.quarter)
    source = sources.joined(ended(q, ends, q.quarter, *POSITION_KINDS), holdings(q.house), MEMBERSHIP)
    reason = largest.reason(q)
    shares = [] if reason else [largest.share_ppm(amounts(end).values()) for end in ends]
    yield from _shares(shares, source, reason or what, ("mean", "peak"))


def _shares(found: Sequence[int | None], source: str, reason: str, parts: tuple[str, ...]) -> Iterator[Value]:
    shares = [share for share in found if share is not None]
    for part in parts:
        if not shares:
            yield nothing(reason, source, part)
        else:
            ppm = max(shares) if part == "peak" else divide_down(sum(shares), len(shares))
            yield Value(_ppm(ppm), source, (part,))


def _positions_share(largest: _Largest, q: Quarter) -> Iterator[Value]:
    yield from _share_by_day(largest, lambda end: end.open_minor, "no day ended with a position", q)


def _margin_share(largest: _Largest, q: Quarter) -> Iterator[Value]:
    yield from _share_by_day(largest, lambda end: end.margin_minor, "no day ended with margin", q)


def _pool_share(largest: _Largest, q: Quarter) -> Iterator[Value]:
    source, reason = sources.joined(pool_accounts(q.house), MEMBERSHIP), largest.reason(q)
    share = largest.share_ppm(q.house.pool(one.id) for one in members_of(q.house))
    if reason or share is None:
        yield nothing(reason or "the pool is empty", source)
    else:
        yield Value(_ppm(share), source)


def _client_share(largest: _Largest, part: str, q: Quarter) -> Iterator[Value]:
    source = sources.joined(within(q.quarter, Kind.TRADE_NOVATED), ACCOUNTS)
    reason = largest.reason(q)
    days = [] if reason else q.flows_in(q.quarter)
    shares = [largest.share_ppm(flow.by_clients_minor.values()) for flow in days]
    for value in _shares(shares, source, reason or "no client traded in the quarter", (part,)):
        yield Value(value.text, value.source, (), value.reason)


def _traded(q: Quarter) -> tuple[dict[InstrumentId, int], dict[InstrumentId, int]]:
    lots, worth = dict[InstrumentId, int](), dict[InstrumentId, int]()
    for flow in q.flows_in(q.quarter):
        for instrument, amount in flow.lots.items():
            lots[instrument] = lots.get(instrument, 0) + amount
            worth[instrument] = worth.get(instrument, 0) + flow.notional_minor[instrument]
    return lots, worth


NOT_TRADED = "nothing was traded in the quarter"


def _volume(q: Quarter) -> Iterator[Value]:
    lots, source = _traded(q)[0], within(q.quarter, Kind.TRADE_NOVATED)
    if not lots:
        yield nothing(NOT_TRADED, source)
    for instrument, traded in sorted(lots.items()):
        steps = units.of_size(q.house.instruments[instrument])
        yield Value(steps.render(divide_up(traded, q.days)), source, (instrument,))


def _notional(q: Quarter) -> Iterator[Value]:
    worth, source = _traded(q)[1], within(q.quarter, Kind.TRADE_NOVATED)
    if not worth:
        yield nothing(NOT_TRADED, source)
    for instrument, traded in sorted(worth.items()):
        yield money(q, divide_up(traded, q.days), source, instrument)


def _outstanding(q: Quarter) -> Iterator[Value]:
    house, source = q.house, open_positions(q.house)
    long: dict[InstrumentId, int] = {}
    for positions in house.held.values():
        for instrument, lots in positions.items():
            long[instrument] = long.get(instrument, 0) + max(0, lots)
    held = {instrument: lots for instrument, lots in sorted(long.items()) if lots}
    if not held:
        yield nothing("no position is open", source or all_of(*POSITION_KINDS))
    for instrument, lots in held.items():
        found = sources.joined(on_line(Line.POSITION, instrument), sources.kind(Kind.SNAPSHOT_ACCEPTED))
        yield money(q, size_minor(house, instrument, lots), found, instrument)


MEASURES: Mapping[str, Measure] = {
    "13.1.1": partial(_each_default, _loss_and_margin),
    "13.1.2": partial(_each_default, _tiers),
    "13.1.3.1": partial(_each_default, partial(_became, AccountStatus.CLOSED_OUT)),
    "13.1.3.2": partial(_each_default, partial(_became, AccountStatus.PORTED)),
    "14.1.1": _individually,
    "14.1.2": _in_no_account,
    "14.1.3": _in_no_account,
    "14.1.4": _in_no_account,
    "16.1.1": _cash_as_margin,
    "16.1.2": _cash_in_pool,
    "17.2.1": _availability,
    "17.3.1": _failures,
    "18.1.1.1": _clearing_for_clients,
    "18.1.1.2": _clearing_alone,
    "18.1.1.3": _other_members,
    "18.2.1": partial(_positions_share, FIVE_OF_SOME),
    "18.2.2": partial(_positions_share, FIVE_OF_MANY),
    "18.2.3": partial(_positions_share, TEN_OF_MANY),
    "18.3.1": partial(_margin_share, FIVE_OF_SOME),
    "18.3.2": partial(_margin_share, FIVE_OF_MANY),
    "18.3.3": partial(_margin_share, TEN_OF_MANY),
    "18.4.1": partial(_pool_share, FIVE_OF_SOME),
    "18.4.2": partial(_pool_share, FIVE_OF_MANY),
    "18.4.3": partial(_pool_share, TEN_OF_MANY),
    "19.1.1": _clients,
    "19.1.2": _clearing_for_clients,
    "19.1.3.1": partial(_client_share, FIVE_OF_TEN, "peak"),
    "19.1.3.2": partial(_client_share, FIVE_OF_TEN, "mean"),
    "19.1.4.1": partial(_client_share, TEN_OF_MANY, "peak"),
    "19.1.4.2": partial(_client_share, TEN_OF_MANY, "mean"),
    "23.1.1": _volume,
    "23.1.2": _notional,
    "23.2.1": _outstanding,
}
