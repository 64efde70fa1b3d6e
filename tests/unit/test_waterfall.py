"""The waterfall by itself: what each tier pays, and what it passes on (rulebook §11, §15)."""

from dataclasses import replace

import pytest

from clearing.default.resources import Resources, Winner
from clearing.default.waterfall import TIERS, absorb
from clearing.model.ids import AccountKey, DefaultId, MemberId, SetId
from clearing.model.values import Draw

X, Y, Z = MemberId("x"), MemberId("y"), MemberId("z")

NOTHING = Resources(
    event=DefaultId("d1"),
    house_cash={X: 0},
    pool={X: 0, Y: 0, Z: 0},
    required={Y: 0, Z: 0},
    survivors=(Y, Z),
    skin_in_the_game=0,
    insurance_fund=0,
    second_tranche=0,
    assessable={Y: 0, Z: 0},
    winners=(),
)


def winner(name: str, gain: int, cash: int | None = None) -> Winner:
    key = AccountKey(name)
    return Winner(netting_set=SetId(name), gain_minor=gain, cash_minor={key: gain if cash is None else cash})


def paid(draws: tuple[Draw, ...], tier: int) -> dict[str, int]:
    return {draw.payer: draw.amount_minor for draw in draws if draw.tier == tier}


def test_the_tiers_are_numbered_in_the_order_in_which_they_pay() -> None:
    assert [tier.number for tier in TIERS] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_loss_that_nobody_can_pay_is_uncovered_to_the_last_unit() -> None:
    absorbed = absorb(NOTHING, {X: 77})
    assert (absorbed.draws, absorbed.uncovered_minor) == ((), 77)
    assert all(tier.passed_on_minor == 77 for tier in absorbed.tiers)


def test_a_tier_that_cannot_pay_all_pays_what_it_has() -> None:
    absorbed = absorb(replace(NOTHING, skin_in_the_game=30, second_tranche=20), {X: 77})
    assert (paid(absorbed.draws, 3), paid(absorbed.draws, 6)) == (
        {"house/skin_in_the_game": 30},
        {"house/second_tranche": 20},
    )
    assert absorbed.uncovered_minor == 27


def test_a_loss_that_an_early_tier_pays_reaches_no_later_one() -> None:
    absorbed = absorb(replace(NOTHING, house_cash={X: 100}, skin_in_the_game=30), {X: 77})
    assert [(d.tier, d.amount_minor) for d in absorbed.draws] == [(1, 77)]


@pytest.mark.parametrize("tier", [1, 2])
def test_a_defaulters_own_money_pays_its_own_loss_only(tier: int) -> None:
    rich = {X: 500, Y: 0}
    resources = replace(
        NOTHING,
        house_cash=rich if tier == 1 else {X: 0, Y: 0},
        pool={X: 500 if tier == 2 else 0, Y: 0, Z: 0},
        survivors=(Z,),
        required={Z: 0},
        assessable={Z: 0},
    )
    absorbed = absorb(resources, {X: 10, Y: 70})
    assert paid(absorbed.draws, tier) == {"x": 10}
    assert absorbed.uncovered_minor == 70


def test_the_pool_pays_pro_rata_to_required_contributions_and_spreads_what_one_cannot_pay() -> None:
    resources = replace(NOTHING, pool={X: 0, Y: 10, Z: 100}, required={Y: 50, Z: 50})
    assert paid(absorb(resources, {X: 60}).draws, 5) == {"y": 10, "z": 50}


def test_a_contribution_that_nobody_required_still_pays() -> None:
    resources = replace(NOTHING, pool={X: 0, Y: 10, Z: 30})
    assert paid(absorb(resources, {X: 20}).draws, 5) == {"y": 5, "z": 15}


def test_assessments_stop_at_what_is_left_of_each_cap() -> None:
    resources = replace(NOTHING, required={Y: 50, Z: 50}, assessable={Y: 5, Z: 20})
    absorbed = absorb(resources, {X: 40})
    assert paid(absorbed.draws, 7) == {"y": 5, "z": 20}
    assert absorbed.uncovered_minor == 15


def test_all_winners_give_up_the_same_share_of_their_gain_and_losers_nothing() -> None:
    resources = replace(NOTHING, winners=(winner("y/a", 600), winner("y/b", 300), winner("z/c", 100)))
    assert paid(absorb(resources, {X: 500}).draws, 8) == {"y/a": 300, "y/b": 150, "z/c": 50}


def test_a_winner_never_gives_more_than_its_gain_even_if_it_is_rich() -> None:
    resources = replace(NOTHING, winners=(winner("y/a", 100, cash=10_000),))
    absorbed = absorb(resources, {X: 500})
    assert (paid(absorbed.draws, 8), absorbed.uncovered_minor) == ({"y/a": 100}, 400)


def test_a_winner_that_lost_its_gain_again_gives_what_it_has_and_the_others_the_rest() -> None:
    resources = replace(NOTHING, winners=(winner("y/a", 300, cash=40), winner("y/b", 300)))
    assert paid(absorb(resources, {X: 200}).draws, 8) == {"y/a": 40, "y/b": 160}


def test_the_haircut_counts_what_the_insurance_fund_paid_before() -> None:
    """A verified waterfall elsewhere forgot the draw: it cut 58.33 % where 41.67 % was right (§15)."""
    resources = replace(NOTHING, insurance_fund=200, winners=(winner("y/a", 1_200),))
    absorbed = absorb(resources, {X: 700})
    assert paid(absorbed.draws, 8) == {"y/a": 500}
    assert round(500 / 1_200, 4) == 0.4167
    assert absorbed.uncovered_minor == 0


def test_rounding_loses_nothing_and_depends_on_no_order() -> None:
    gains = [winner(f"y/{n}", 7) for n in range(3)]
    forward = absorb(replace(NOTHING, winners=tuple(gains)), {X: 10})
    backward = absorb(replace(NOTHING, winners=tuple(reversed(gains))), {X: 10})
    assert paid(forward.draws, 8) == paid(backward.draws, 8)
    assert sorted(paid(forward.draws, 8).values()) == [3, 3, 4]
