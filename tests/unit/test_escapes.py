"""Ways out that somebody tried: each ended with others paying, and none is open any more."""

from clearing import chart
from clearing.default.gate import gates
from clearing.model.commands import Deposit, RecordRecovery, RegisterProvider
from clearing.model.ids import MemberId, house_account, single_set
from clearing.model.outcomes import Reason
from clearing.model.values import DAY_MS, HOUR_MS, MemberStatus, Stage
from tests.builders import ETH, USD, USDC, fund, two_traders
from tests.unit.test_defaults import D1, LOSS, OIL, house_of_three, key, short_side_wins

X = MemberId("x")


def test_an_answering_member_cannot_trade_its_house_cash_away_before_the_hour_is_over() -> None:
    world = house_of_three({"x": 1_000})
    world.deposit(world.account("x", "stash"), 5_000)
    short_side_wins(world, "x")
    default = world.state.defaults[D1]
    assert [(c.tier, c.payer, c.amount_minor) for c in default.claims] == [(0, "x", 1_000)]
    assert [a.amount_minor for a in default.answers] == [LOSS - 1_000]
    assert world.state.cash(house_account(X)) == 0


def test_what_an_answering_member_deposits_is_taken_at_once() -> None:
    world = short_side_wins(house_of_three(), "x")
    world.ok(Deposit(account=house_account(X), asset=USDC, amount_minor=LOSS))
    assert world.state.defaults[D1].stage is Stage.RECOVERING
    assert world.state.cash(house_account(X)) == 0


def test_what_is_free_in_a_survivors_house_account_pays_its_assessment_at_once() -> None:
    world = house_of_three({"y": 150, "z": 1_000})
    short_side_wins(world, "x")
    world.wait(HOUR_MS)
    assert {a: row.amount_minor for a, row in world.state.assessments.items()} == {"d1/y": 50}
    assert world.state.cash(house_account(MemberId("z"))) == 800


def test_a_winner_cannot_trade_its_gain_away_while_the_loss_is_open() -> None:
    world = house_of_three()
    world.deposit(world.account("x", "friend"), 5_000)
    short_side_wins(world, "x")
    gained = world.state.cash(key("x/short"))
    sold = world.trade(key("x/short"), key("x/friend"), 4, 770, OIL)
    assert sold.results[0].reason == "", "what it had before the window it may use"
    for _ in range(20):
        world.trade(key("x/friend"), key("x/short"), 4, 630, OIL)
        world.trade(key("x/short"), key("x/friend"), 4, 770, OIL)
    last = world.trade(key("x/short"), key("x/friend"), 4, 770, OIL)
    assert last.results[0].reason == Reason.GAIN_WITHHELD.name
    assert world.state.cash(key("x/short")) >= 16 * 300
    assert gained == 2_000 + 16 * 300


def test_a_step_that_leaves_a_set_bankrupt_declares_it_at_once() -> None:
    """Between the step and the next one a winner would have withdrawn its gain."""
    world = house_of_three()
    provider = world.account("z", "backstop")
    world.deposit(provider, 100_000)
    world.ok(RegisterProvider(account=provider, capacity_minor=16 * 876))
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    world.prices(OIL=876)
    assert not world.state.liquidations
    assert world.state.defaults[D1].sets[0].equity_minor < 0
    assert [g.reason for g in gates(world.state, world.now_ms)] == ["DEFAULT_OPEN d1"]


def test_a_reducing_trade_cannot_push_equity_below_zero() -> None:
    world = house_of_three()
    world.deposit(world.account("x", "friend"), 50_000)
    assert world.trade(key("x/long"), key("x/short"), 16, 1_000, OIL).accepted
    world.prices(OIL=877)
    assert single_set(key("x/long")) in world.state.liquidations or world.state.defaults
    before = world.state
    outcome = world.trade(key("x/friend"), key("x/long"), 16, 869, OIL)
    assert not outcome.accepted
    assert world.state.cash(key("x/long")) == before.cash(key("x/long"))


def test_money_paid_away_in_a_trade_counts_in_who_answers() -> None:
    world = house_of_three()
    world.account("x", "a", "pair")
    world.account("y", "b", "pair")
    world.deposit(key("x/a"), 4_000)
    world.deposit(world.account("x", "friend"), 50_000)
    assert world.trade(key("x/a"), key("x/friend"), 10, 1_050, OIL).accepted
    pnl = world.state.pnl[key("x/a")]
    assert (pnl.since_met_minor, pnl.window_minor) == (-500, 0)


def test_an_expired_cash_call_that_no_sale_fills_is_a_default() -> None:
    world = two_traders()
    fund(world, capital=1)
    owing = world.account("dex", "owing")
    world.deposit(owing, 1_310 * USD)
    world.deposit(owing, 10**19, ETH)
    bob = key("dex/bob")
    assert world.trade(owing, bob, 1_000, 80_000).accepted
    world.prices(BTC=66_000, ETH=2_000)
    world.prices(BTC=66_000, ETH=2_000)
    assert "cash/dex/owing" in world.state.calls
    for _ in range(4):
        world.wait(HOUR_MS // 2)
        world.prices(BTC=66_000, ETH=2_000)
    assert "cash/dex/owing" not in world.state.calls
    assert [one.netting_set for d in world.state.defaults.values() for one in d.sets] == ["dex/owing"]


def test_what_is_left_of_an_estate_goes_to_whom_it_belongs_even_when_every_member_answered() -> None:
    world = short_side_wins(house_of_three({"x": 5_000}), "x")
    world.ok(RecordRecovery(default=D1, amount_minor=LOSS + 500))
    assert world.state.defaults[D1].stage is Stage.CLOSED
    assert world.state.balance(chart.recoveries(D1, USDC)) == 0
    assert world.state.cash(key("x/long")) == 500


def test_the_house_account_of_a_member_in_default_leaves_no_call_and_no_liquidation_behind() -> None:
    world = house_of_three({"x": 2_500})
    assert world.trade(house_account(X), key("x/short"), 8, 1_000, OIL).accepted
    assert world.trade(key("x/long"), key("x/short"), 8, 1_000, OIL).accepted
    world.prices(OIL=700)
    world.wait(HOUR_MS)
    world.wait(DAY_MS)
    own = single_set(house_account(X))
    assert world.state.members[X].status is MemberStatus.DEFAULTED
    assert own not in world.state.liquidations
    assert not [call for call in world.state.calls.values() if call.netting_set == own]
