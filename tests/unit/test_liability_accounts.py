"""What the house owes its members: which accounts count, whose they are, and that totals tie to the trial balance."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from clearing import chart
from clearing.attest.balances import OWED_TO, liabilities_of, units_of
from clearing.attest.liabilities import (
    AMOUNT_CAP,
    Context,
    LiabilityReason,
    LiabilityRefused,
    SumTree,
    format_proof,
    member_secret,
    parse_proof,
    prove,
    verify_proof,
)
from clearing.attest.statement import Liabilities
from clearing.decide.treasury import DEPOSIT_MAX
from clearing.model.commands import RequestWithdrawal, SendWithdrawal, SettleWithdrawal
from clearing.model.house import House
from clearing.model.ids import AssetId
from clearing.model.values import Asset
from ledger.checkpoint import Checkpoint
from ledger.require import InvariantViolated
from tests.builders import (
    ALICE,
    BOB,
    BTC_PERP,
    ETH,
    USD,
    USDC,
    World,
    contribute,
    empty_house,
    fund,
    two_traders,
)
from tests.stories import a_long_life, the_end_of_a_house
from tests.unit.test_porting import held

BLINDING = bytes(range(32))
ALICE_CASH, BOB_CASH = "members/dex/accounts/alice/cash", "members/dex/accounts/bob/cash"
LIABILITY = re.compile(r"members/[^/]+/(pool|accounts/[^/]+/(cash|collateral))|withdrawals/.+")


def context_of(house: House) -> Context:
    root = bytes([house.size % 256]) * 32
    journal = Checkpoint(origin="house.example/journal", size=house.size, root=root)
    return Context(journal=journal, snapshot=1, units=units_of(house))


def counted(house: House) -> tuple[Liabilities, SumTree]:
    return liabilities_of(house, context_of(house), BLINDING)


def owed(house: House) -> dict[str, dict[str, int]]:
    """What each account is owed, where that is something."""
    _, tree = counted(house)
    return {one.account: dict(one.amounts) for one in tree.leaves}


def require_tied(house: House) -> None:
    """Totals − receivables are the credit balances of what rulebook §3 calls liabilities; no leaf is negative."""
    balances: Counter[str] = Counter()
    for account, balance in house.book.listed():
        if LIABILITY.fullmatch(account.path):
            balances[account.unit] += balance
    stated, tree = counted(house)
    for unit in units_of(house):
        assert stated.totals_minor[unit] - stated.receivables_minor[unit] == balances.pop(unit, 0)
        assert stated.totals_minor[unit] == sum(one.amounts.get(unit, 0) for one in tree.leaves)
        assert min(stated.totals_minor[unit], stated.receivables_minor[unit]) >= 0
    assert not balances, "every unit of a liability is counted"
    assert stated.leaf_count == len(tree.leaves)
    assert all(max(one.amounts.values()) > 0 for one in tree.leaves)


@pytest.mark.parametrize("story", [a_long_life, the_end_of_a_house])
def test_totals_tie_to_the_trial_balance_after_every_command_of_a_long_life(story: object) -> None:
    assert callable(story)
    for asked in story().asked:
        require_tied(asked.state)


def test_a_house_without_members_owes_nothing() -> None:
    stated, _ = counted(empty_house().state)
    assert stated.leaf_count == 0
    assert dict(stated.totals_minor) == dict(stated.receivables_minor) == {"ETH": 0, "USDC": 0}


def test_cash_collateral_pool_and_withdrawals_are_owed_each_on_its_own_account() -> None:
    world = two_traders()
    world.deposit(ALICE, 10**18, ETH)
    contribute(world, dex=7)
    fund(world, capital=100, skin_in_the_game=100, second_tranche=100, insurance_fund=100)
    world.ok(RequestWithdrawal(withdrawal="w1", account=BOB, asset=USDC, amount_minor=300))
    assert owed(world.state) == {
        ALICE_CASH: {"USDC": 2_000 * USD},
        "members/dex/accounts/alice/collateral": {"ETH": 10**18},
        BOB_CASH: {"USDC": 2_000 * USD - 300},
        "members/dex/pool": {"USDC": 7},
        "withdrawals/w1": {"USDC": 300},
    }
    assert dict(counted(world.state)[0].totals_minor) == {"ETH": 10**18, "USDC": 4_000 * USD + 7}


def test_collateral_in_several_assets_is_one_leaf() -> None:
    world = two_traders()
    house, wbtc = world.state, AssetId("WBTC")
    world.state = replace(house, assets=house.assets.set(wbtc, Asset(id=wbtc, decimals=8)))
    for asset, amount in ((ETH, 5), (wbtc, 6)):
        world.deposit(ALICE, amount, asset)
    assert owed(world.state)["members/dex/accounts/alice/collateral"] == {"ETH": 5, "WBTC": 6}


def overdrawn() -> World:
    """Alice is short 5 USDC of cash; her ether keeps her alive."""
    world = two_traders()
    world.deposit(ALICE, 100 * 10**18, ETH)
    assert world.trade(ALICE, BOB, 1_000, 80_000).accepted
    short = world.state.cash(ALICE) + 5 * USD
    world.prices(BTC=80_000 - short // (1_000 * 100), ETH=2_000)
    assert world.state.cash(ALICE) < 0
    return world


def test_what_is_overdrawn_is_a_receivable_and_lowers_no_total() -> None:
    world = overdrawn()
    house = world.state
    stated, tree = counted(house)
    assert stated.receivables_minor["USDC"] == -house.cash(ALICE)
    assert stated.totals_minor["USDC"] == house.cash(BOB)
    assert ALICE_CASH not in tree.numbers, "nothing is owed on it"
    require_tied(house)


def test_positions_and_claims_are_not_owed() -> None:
    """After a default there are claims; they count neither in equity nor here (rulebook §3)."""
    seen: Counter[chart.Line] = Counter()
    for asked in a_long_life().asked:
        paths = {account.path for account, balance in asked.state.book.listed() if balance}
        lines = {path: chart.line_of(path)[0] for path in paths}
        seen.update(lines.values())
        assert all(OWED_TO[lines[path]] is not None for path in owed(asked.state))
    assert seen[chart.Line.ACCOUNT_CLAIM] + seen[chart.Line.MEMBER_CLAIM] > 0
    assert seen[chart.Line.POSITION] > 0


def test_the_table_says_of_every_line_of_the_chart_whether_it_is_owed() -> None:
    assert set(OWED_TO) == set(chart.Line)


def test_a_withdrawal_is_owed_until_it_is_paid() -> None:
    world = two_traders()
    world.ok(RequestWithdrawal(withdrawal="w1", account=ALICE, asset=USDC, amount_minor=300))
    world.ok(SendWithdrawal(withdrawal="w1"))
    assert owed(world.state)["withdrawals/w1"] == {"USDC": 300}
    world.ok(SettleWithdrawal(withdrawal="w1", paid=True))
    assert "withdrawals/w1" not in owed(world.state)
    assert owed(world.state)[ALICE_CASH] == {"USDC": 2_000 * USD - 300}


def secret_of(tree: SumTree, path: str) -> bytes:
    return tree.leaves[tree.numbers[path]].secret


def test_a_withdrawal_belongs_to_the_member_it_would_go_back_to() -> None:
    world = two_traders()
    world.ok(RequestWithdrawal(withdrawal="w1", account=ALICE, asset=USDC, amount_minor=300))
    assert secret_of(counted(world.state)[1], "withdrawals/w1") == member_secret(BLINDING, "dex")
    _, tree = counted(held().state)  # alice was ported to the member other
    assert secret_of(tree, "withdrawals/w1") == member_secret(BLINDING, "other")


def test_every_member_verifies_every_balance_with_its_own_secret() -> None:
    house = a_long_life().state
    stated, tree = counted(house)
    members = set()
    for leaf in tree.leaves:
        proof = parse_proof(format_proof(prove(tree, leaf.account)))
        found = verify_proof(proof, context=context_of(house), attested=stated, account=leaf.account)
        assert {unit: amount for unit, amount in found.amounts.items() if amount} == leaf.amounts
        if leaf.account.startswith("members/"):
            member = leaf.account.split("/")[1]
            members.add(member)
            assert proof.secret == member_secret(BLINDING, member)
    assert len(members) > 2


def test_the_same_house_gives_the_same_tree_and_another_secret_another() -> None:
    house = overdrawn().state
    assert counted(house) == counted(house)
    stated, _ = counted(house)
    other, _ = liabilities_of(house, context_of(house), bytes(32))
    assert stated.root != other.root
    assert stated.totals_minor == other.totals_minor


def test_another_state_than_the_one_attested_is_not_counted() -> None:
    house = two_traders().state
    context = context_of(house)
    later = replace(context, journal=replace(context.journal, size=house.size + 1))
    for wrong in (
        later,
        replace(context, units=("USDC",)),
        replace(context, units=(BTC_PERP, *context.units)),
    ):
        with pytest.raises(InvariantViolated):
            liabilities_of(house, wrong, BLINDING)


def test_an_account_that_is_owed_more_than_the_cap_cannot_be_attested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two of the greatest deposits fit, three do not. They are refused, but what is won is not."""
    monkeypatch.setattr("clearing.decide.treasury.AMOUNT_CAP", 2**120)
    world = two_traders()
    for _ in range(2):
        world.deposit(BOB, DEPOSIT_MAX, ETH)
    assert counted(world.state)[0].totals_minor["ETH"] == 2 * DEPOSIT_MAX <= AMOUNT_CAP
    world.deposit(BOB, DEPOSIT_MAX, ETH)
    with pytest.raises(LiabilityRefused) as caught:
        counted(world.state)
    assert caught.value.reason is LiabilityReason.AMOUNT
