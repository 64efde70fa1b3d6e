"""Losses without a default: the house bears them, from its capital, and nobody else (rulebook §3)."""

from pathlib import Path
from re import findall

import pytest

from clearing import chart
from clearing.decide import losses
from clearing.default.gate import gates
from clearing.model.commands import (
    Command,
    RecordNonDefaultLoss,
    ReplaceLostAsset,
    RequestWithdrawal,
)
from clearing.model.ids import AssetId, member_of
from clearing.model.kinds import Kind
from clearing.model.outcomes import Reason
from clearing.model.values import MINUTE_MS, NonDefaultLoss
from ledger.entry import credit, debit
from tests.builders import ALICE, BERT, ETH, USD, USDC, World, contribute, fund, kinds_of, two_traders

STOLEN, BORNE = Kind.LOSS_WITHOUT_DEFAULT, Kind.LOSS_BORNE_BY_CAPITAL


def lost(amount_minor: int, asset: AssetId = USDC, reason: str = "a key was stolen") -> RecordNonDefaultLoss:
    return RecordNonDefaultLoss(asset=asset, amount_minor=amount_minor, reason=reason)


def replaced(amount_minor: int, asset: AssetId = USDC) -> ReplaceLostAsset:
    return ReplaceLostAsset(asset=asset, amount_minor=amount_minor)


def missing(world: World, asset: AssetId = USDC) -> int:
    return world.state.balance(chart.non_default_losses(asset))


def funded(capital_minor: int = 500 * USD) -> World:
    """Two traders with 2,000 each, an ether of alice's, capital, and money in every tier of the waterfall."""
    world = two_traders()
    world.deposit(ALICE, 10**18, ETH)
    fund(
        world,
        capital=capital_minor,
        skin_in_the_game=30 * USD,
        second_tranche=20 * USD,
        insurance_fund=10 * USD,
    )
    contribute(world, dex=100 * USD)
    return world


def test_capital_bears_a_loss_at_once_and_no_gate_shuts() -> None:
    """DR house/non_default_losses 300 / CR custody 300, then DR house/capital 300 / CR house/non_default_losses 300."""
    world = funded()
    outcome = world.ok(lost(300 * USD))
    assert kinds_of(outcome) == [Kind.CHANGE_APPROVED.name, STOLEN.name, BORNE.name]
    stolen, borne = world.entries[-2:]
    account, capital = chart.non_default_losses(USDC), chart.house_capital(USDC)
    assert (stolen.kind, borne.kind) == (STOLEN, BORNE)
    assert stolen.legs == (debit(account, 300 * USD), credit(chart.custody(USDC), 300 * USD))
    assert borne.legs == (debit(capital, 300 * USD), credit(account, 300 * USD))
    assert (missing(world), world.state.balance(capital)) == (0, 200 * USD)
    assert not world.state.non_default_losses
    assert not gates(world.state, world.now_ms)


def test_no_tier_and_no_client_pays_for_it() -> None:
    world = funded(capital_minor=1)
    before = world.state.book
    world.ok(lost(1_000 * USD))
    touched = {leg.account.path for entry in world.entries[-2:] for leg in entry.legs}
    assert touched == {"custody", "house/non_default_losses", "house/capital"}
    for account in (
        chart.skin_in_the_game(USDC),
        chart.insurance_fund(USDC),
        chart.second_tranche(USDC),
        chart.pool(member_of(ALICE), USDC),
        chart.cash(ALICE, USDC),
    ):
        assert world.state.balance(account) == before.balance(account)


@pytest.mark.parametrize(("amount", "left"), [(500 * USD, 0), (500 * USD + 1, 1)])
def test_what_capital_cannot_bear_stays_and_shuts_the_gate(amount: int, left: int) -> None:
    world = funded()
    world.ok(lost(amount))
    assert missing(world) == left
    shut = [(g.reason, g.since_ms, g.release) for g in gates(world.state, world.now_ms)]
    reason = f"NON_DEFAULT_LOSS {left} USDC"
    assert shut == ([(reason, world.now_ms, "the house has made it good")] if left else [])
    withdrawing = RequestWithdrawal(withdrawal="w", account=ALICE, asset=USDC, amount_minor=1)
    if left:
        assert world.reason(withdrawing) == Reason.GATE_SHUT.name
    else:
        world.ok(withdrawing)


def test_new_capital_goes_to_the_loss_first_and_opens_the_gate() -> None:
    world = funded()
    world.ok(lost(600 * USD))
    fund(world, capital=40 * USD)
    assert (missing(world), world.state.balance(chart.house_capital(USDC))) == (60 * USD, 0)
    fund(world, capital=100 * USD)
    assert (missing(world), world.state.balance(chart.house_capital(USDC))) == (0, 40 * USD)
    assert not gates(world.state, world.now_ms)


def test_another_asset_is_missing_until_it_is_brought_back() -> None:
    """Capital is not ether: it stays, and the house buys what is missing."""
    world = funded()
    world.ok(lost(10**18, ETH))
    assert (missing(world, ETH), world.state.balance(chart.custody(ETH))) == (10**18, 0)
    assert world.state.balance(chart.house_capital(USDC)) == 500 * USD
    assert world.state.balance(chart.collateral(ALICE, ETH)) == 10**18
    world.ok(replaced(10**18 - 1, ETH))
    assert [g.reason for g in gates(world.state, world.now_ms)] == ["NON_DEFAULT_LOSS 1 ETH"]
    assert kinds_of(world.ok(replaced(1, ETH))) == [Kind.LOST_ASSET_REPLACED.name]
    assert not gates(world.state, world.now_ms)
    assert not world.state.non_default_losses


def test_the_gate_is_shut_since_the_first_loss_that_is_not_made_good() -> None:
    world = funded(capital_minor=1)
    world.ok(lost(2))
    first_ms = world.now_ms
    world.now_ms += MINUTE_MS
    world.ok(lost(2, reason="another key"))
    assert world.state.non_default_losses[USDC] == NonDefaultLoss(
        asset=USDC, since_ms=first_ms, reason="another key"
    )
    world.ok(replaced(3))
    world.now_ms += MINUTE_MS
    world.ok(lost(1))
    assert world.state.non_default_losses[USDC].since_ms == world.now_ms


def test_no_more_is_brought_back_than_is_missing() -> None:
    world = funded()
    assert world.reason(replaced(1)) == Reason.LOSS_SMALLER.name
    world.ok(lost(501 * USD))
    assert world.reason(replaced(USD + 1)) == Reason.LOSS_SMALLER.name
    world.ok(replaced(USD))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (lost(1, AssetId("DOGE")), Reason.ASSET_UNKNOWN),
        (lost(0), Reason.AMOUNT_NOT_POSITIVE),
        (lost(2**127), Reason.AMOUNT_TOO_LARGE),
        (lost(1, reason="\n"), Reason.REASON_MALFORMED),
        (lost(10**18 + 1, ETH), Reason.CUSTODY_INSUFFICIENT),
        (replaced(1, AssetId("DOGE")), Reason.ASSET_UNKNOWN),
        (replaced(0), Reason.AMOUNT_NOT_POSITIVE),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else type(value).__name__,
)
def test_a_loss_that_cannot_be_is_refused(command: Command, reason: Reason) -> None:
    assert funded().reason(command) == reason.name


def test_one_administrator_does_not_write_money_off() -> None:
    world = funded()
    (result,) = world.send(lost(1), BERT).results
    assert result.reason == Reason.TWO_ADMINISTRATORS_NEEDED.name
    assert missing(world) == 0


def test_all_that_custody_holds_can_be_lost() -> None:
    world = funded()
    held = world.state.balance(chart.custody(USDC))
    world.ok(lost(held))
    assert world.state.balance(chart.custody(USDC)) == 0


def test_every_reason_of_the_losses_is_tested_here() -> None:
    given = findall(r"Reason\.([A-Z_]+)", Path(losses.__file__).read_text(encoding="utf-8"))
    tested = findall(r"Reason\.([A-Z_]+)", Path(__file__).read_text(encoding="utf-8"))
    assert set(given) <= set(tested)
