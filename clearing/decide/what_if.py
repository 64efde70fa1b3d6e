"""What trades would do to an account, if it made them now (rulebook §4, §8): nothing is recorded.

Each trade goes through the checks of §4 on the state that the one before left, as far as they concern the account. Its
other side is an imagined account of the same member that has money enough, and of which nothing is demanded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clearing import chart
from clearing.decide.registry import open_new
from clearing.decide.trades import decide_trade, imagined_account
from clearing.decide.treasury import DEPOSIT_MAX
from clearing.decide.wind_down import wound_down_refusal
from clearing.margin.assess import Assessment, assess
from clearing.model.commands import SubmitTrades
from clearing.model.draft import Draft
from clearing.model.house import House
from clearing.model.ids import IMAGINED, AccountKey, InstrumentId, ParticipantId, TradeKey, member_of
from clearing.model.kinds import Kind
from clearing.model.outcomes import Result, refused
from clearing.model.values import AccountKind, Trade
from ledger.entry import transfer


@dataclass(frozen=True, slots=True)
class Imagined:
    """A trade of an account: lots that it buys, negative when it sells."""

    instrument: InstrumentId
    lots: int
    price_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The margin of an account's netting set before and after trades, what became of each, and the state after."""

    before: Assessment
    after: Assessment
    results: tuple[Result, ...]
    house: House


def what_if(house: House, key: AccountKey, trades: Sequence[Imagined], now_ms: int) -> WhatIf:
    """What ``trades`` of the account ``key`` would do at ``now_ms``."""
    member, set_id = member_of(key), house.accounts[key].netting_set
    before = assess(house, set_id)
    over = wound_down_refusal(house, SubmitTrades(member=member, trades=()))
    if over is not None:
        return WhatIf(before=before, after=before, results=tuple(refused(over) for _ in trades), house=house)
    draft = Draft(house=house, request_id="what-if", actor="", now_ms=now_ms)
    other = imagined_account(member)
    open_new(draft, other, AccountKind.CLIENT, ParticipantId(IMAGINED))
    asset = house.settlement
    draft.record(Kind.DEPOSITED, legs=transfer(chart.custody(asset), chart.cash(other, asset), DEPOSIT_MAX))
    results = tuple(decide_trade(draft, member, _trade(key, other, one, now_ms), "") for one in trades)
    return WhatIf(before=before, after=assess(draft.house, set_id), results=results, house=draft.house)


def _trade(key: AccountKey, other: AccountKey, imagined: Imagined, now_ms: int) -> Trade:
    buys = imagined.lots > 0
    return Trade(
        key=TradeKey(f"{member_of(key)}/{IMAGINED}"),
        instrument=imagined.instrument,
        buyer=key if buys else other,
        seller=other if buys else key,
        lots=abs(imagined.lots),
        price_ticks=imagined.price_ticks,
        executed_ms=now_ms,
    )
