"""What is done at once gives what is done one by one (rulebook §4, §8, §9).

A batch of trades is decided twice, with the shortcut for trades that surely pass and without it; every netting set
is measured twice, in columns and alone. What each model promises of that is in ``test_model_laws``.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import pytest

from clearing.decide.headroom import Headroom
from clearing.decide.table import Request, decide
from clearing.margin.assess import assess, living_sets, maintenance, maintenance_of_all, standings
from clearing.margin.table import MODELS
from clearing.model.commands import AdmitMember, ListInstrument, NewTrade, SubmitTrades
from clearing.model.house import House
from clearing.model.ids import AccountKey, InstrumentId, MemberId, account_key
from clearing.model.values import Liquidity, Right, Trade
from ledger.entry import Entry
from ledger.leaf import encode_body
from tests.builders import BTC, BTC_MAR, BTC_PERP, ETH_FEED, ETH_PERP, START_MS, USD, World, empty_house, link
from tests.unit.test_options import CALL, OPTION_PARAMETERS, option

pytestmark = pytest.mark.slow

NAMES = ("a", "b", "c", "d", "e")
PRICES = {BTC_PERP: 80_000, BTC_MAR: 80_000, ETH_PERP: 2_000, CALL: 5_483}


def traders(dice: Random) -> World:
    """Five clients of one member, two of them linked, some rich and some poor; perpetuals, a future and a call. Under
    any model, and in some worlds the market is so thin that size is charged.
    """
    thin = tuple(
        Liquidity(underlying=underlying, daily_volume_minor=dice.choice([500, 5_000, 10**6]) * USD)
        for underlying in dice.choice([(), (BTC,), (BTC, ETH_FEED)])
    )
    model = dice.choice(sorted(MODELS))
    world = empty_house(replace(OPTION_PARAMETERS, margin_model=model, liquidity=thin))
    world.ok(ListInstrument(instrument=option(CALL, Right.CALL)))
    world.ok(AdmitMember(member=MemberId("dex"), name="Dex"))
    for name in NAMES:
        participant = "both" if name in "de" else "same" if name in "bc" else name
        key = world.account("dex", name, participant)
        world.deposit(key, dice.choice([100, 1_000, 5_000, 100_000]) * USD)
    link(world, "both", account_key(MemberId("dex"), "d"), account_key(MemberId("dex"), "e"))
    world.prices(BTC=80_000, ETH=2_000, BTCVOL=6_000)
    return world


def batch(dice: Random, size: int) -> SubmitTrades:
    """Trades of all sizes, most at the mark, some far away, twice the same, in groups, or plainly wrong."""
    return SubmitTrades(member=MemberId("dex"), trades=tuple(_trade(dice) for _ in range(size)))


def _trade(dice: Random) -> NewTrade:
    instrument = dice.choice([*PRICES, *PRICES, InstrumentId("NONE")])
    buyer, seller = (dice.choice([*NAMES, *NAMES, "nobody"]) for _ in range(2))
    away = dice.choice([0, 0, 0, 0, 1, -3, 10, -200, 9_000])
    return NewTrade(
        trade_id=f"t{dice.randrange(200)}",
        instrument=instrument,
        buyer=AccountKey(f"dex/{buyer}"),
        seller=AccountKey(f"dex/{seller}"),
        lots=dice.choice([1, 2, 5, 20, 100, 1_000, 10**9, 0]),
        price_ticks=PRICES.get(instrument, 1) + away,
        executed_ms=START_MS,
        group=dice.choice(["", "", "", "", "g"]),
    )


@contextmanager
def one_by_one() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Headroom, "takes", lambda *_: False)
        yield


def decided(house: House, command: SubmitTrades, now_ms: int) -> tuple[House, list[tuple[object, ...]], str]:
    decision = decide(house, Request(request_id="batch", actor="test", command=command), now_ms)
    return decision.state, [_bytes(entry) for entry in decision.entries], decision.answer


def _bytes(entry: object) -> tuple[object, ...]:
    assert isinstance(entry, Entry)
    return entry.entry_id, entry.kind, entry.legs, encode_body(bytes(16), entry)


@pytest.mark.parametrize("seed", range(40))
def test_a_batch_decided_at_once_is_the_batch_decided_one_by_one(seed: int) -> None:
    dice = Random(seed)
    world = traders(dice)
    for at in range(4):
        command = batch(dice, dice.choice([1, 5, 30]))
        with one_by_one():
            alone, entries, answer = decided(world.state, command, world.now_ms)
        state, own, given_answer = decided(world.state, command, world.now_ms)
        assert (own, given_answer) == (entries, answer)
        fields = ("book", "held", "pnl", "trades", "size", "calls")
        assert [getattr(state, name) for name in fields] == [getattr(alone, name) for name in fields]
        world.state = state
        if at == 2:
            world.prices(BTC=80_000 + dice.choice([-9_000, 500, 8_000]), ETH=2_000, BTCVOL=6_000)
            assert_measured_alike(world.state)


def test_most_trades_of_a_quiet_batch_are_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison would say nothing if the shortcut were never taken."""
    world, taken = traders(Random(3)), list[bool]()
    takes = Headroom.takes

    def counted(headroom: Headroom, trade: Trade, payment_minor: int, fee_minor: int) -> bool:
        taken.append(takes(headroom, trade, payment_minor, fee_minor))
        return taken[-1]

    monkeypatch.setattr(Headroom, "takes", counted)
    for name in NAMES:
        world.deposit(AccountKey(f"dex/{name}"), 10**6 * USD)
    dice = Random(4)
    for _ in range(5):
        world.do(batch(dice, 30))
    assert sum(taken) > 20


def assert_measured_alike(house: House) -> None:
    sets = living_sets(house)
    for one, alone in zip(standings(house, sets), (assess(house, set_id) for set_id in sets), strict=True):
        assert (one.netting_set, one.equity_minor, one.cash_minor, one.health) == (
            alone.netting_set,
            alone.equity_minor,
            alone.cash_minor,
            alone.health,
        )
        assert (one.maintenance_minor, one.requirement_minor) == (
            alone.maintenance_minor,
            alone.requirement_minor,
        )


def test_a_link_may_hold_more_lots_than_a_column_can() -> None:
    world = traders(Random(1))
    held = {BTC_PERP: 2**63}
    (amount,) = maintenance_of_all(world.state, [held])
    assert amount == maintenance(world.state, held).amount_minor
