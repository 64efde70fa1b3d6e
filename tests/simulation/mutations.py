"""Planted faults: each breaks the house, or what it says, in one way that cost somebody money somewhere.

A fault of the house replaces one of its functions; the house still believes itself, and its entries balance.
A fault of the journal changes the lines on their way to the auditor. ``law`` is part of what it must say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from clearing.decide import close_out, cycle, liquidation, outage, prices, recovery, resolve, trades, treasury
from clearing.default import purses, resources, tear_up, waterfall
from clearing.default.tiers.tier import Tier
from clearing.margin import assess
from clearing.model import apportion
from clearing.model.values import Gain
from tests.simulation.auditor import Auditor
from tests.simulation.books import Line, cash
from tests.simulation.walk import Meddling

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A fault, its name, and the law that it breaks."""

    name: str
    law: str
    patch: Patch | None = None
    meddle: Meddling | None = None


# ------------------------------------------------------------------------------------------ faults of the house


def _set(module: object, name: str, value: object) -> Patch:
    return lambda monkeypatch: monkeypatch.setattr(module, name, value)


def _around(module: Any, name: str, change: Callable[..., Any]) -> Patch:
    """Give ``change`` the original and its arguments."""
    original = getattr(module, name)
    return _set(module, name, lambda *args, **kwargs: change(original, *args, **kwargs))


def _without_first_survivor(tier: Tier) -> Tier:
    return replace(
        tier,
        offer=lambda stock, losses: tier.offer(replace(stock, survivors=stock.survivors[1:]), losses),
    )


def _losers_too(_original: object, house: Any, _default: object) -> tuple[Gain, ...]:
    moved = {
        set_id: sum(house.pnl[key].window_minor for key in row.accounts if key in house.pnl)
        for set_id, row in sorted(house.netting_sets.items())
    }
    return tuple(Gain(netting_set=s, gain_minor=abs(won)) for s, won in moved.items() if won)


def _to_the_first(total: int, weights: dict[str, int], event_id: str) -> dict[str, int]:
    """Every unit that does not divide goes to whoever stands first."""
    whole = sum(weights.values())
    parts = {party: total * weight // whole for party, weight in weights.items()} if whole else {}
    if parts:
        parts[min(parts)] += total - sum(parts.values())
    return parts


def _largest_first(total: int, weights: Any, event_id: str, caps: Any = None) -> dict[str, int]:
    parts: dict[str, int] = {}
    for party in sorted(weights, key=lambda p: -weights[p]):
        parts[party] = min(total, caps[party])
        total -= parts[party]
    return parts


TIERS = waterfall.TIERS
HOUSE_FAULTS = (
    Mutation(
        name="the skin in the game is skipped",
        law="the tiers pay in their order",
        patch=_set(waterfall, "TIERS", (*TIERS[:2], *TIERS[3:])),
    ),
    Mutation(
        name="survivors pay before the house",
        law="the tiers pay in their order",
        patch=_set(waterfall, "TIERS", (*TIERS[:2], TIERS[4], TIERS[2], TIERS[3], *TIERS[5:])),
    ),
    Mutation(
        name="one survivor pays nothing into the pool's draw",
        law="the tiers pay in their order",
        patch=_set(waterfall, "TIERS", (*TIERS[:4], _without_first_survivor(TIERS[4]), *TIERS[5:])),
    ),
    Mutation(
        name="the fund's cap is ignored",
        law="the tiers pay in their order",
        patch=_around(
            resources,
            "divide_down",
            lambda f, amount, by: amount // 4_000 if amount % 4_000 == 0 else f(amount, by),
        ),
    ),
    Mutation(
        name="assessments know no cap",
        law="the tiers pay in their order",
        patch=_set(resources, "assessable", lambda *_: 10**30),
    ),
    Mutation(
        name="replenishments know no cap",
        law="one cap of replenishments",
        patch=_set(resolve, "replenishable", lambda *_: 10**30),
    ),
    Mutation(
        name="losers are haircut too",
        law="gains are what was won",
        patch=_around(close_out, "_gains", _losers_too),
    ),
    Mutation(
        name="the first party gets every odd unit",
        law="",
        patch=_set(apportion, "_largest_remainder", _to_the_first),
    ),
    Mutation(
        name="recoveries repay from the top",
        law="RECOVERY_DISTRIBUTED moves",
        patch=_set(recovery, "REPAYMENT_ORDER", purses.REPAYMENT_ORDER[::-1]),
    ),
    Mutation(
        name="a draw makes no claim",
        law="WATERFALL moves",
        patch=_around(resolve, "_new_claims", lambda f, absorbed: f(absorbed)[1:]),
    ),
    Mutation(
        name="the gate is ignored",
        law="no outflow while the gate is shut",
        patch=_set(treasury, "gates", lambda *_: ()),
    ),
    Mutation(
        name="a withdrawal leaves less than the requirement",
        law="no withdrawal below the requirement",
        patch=_set(treasury, "_exceeds", lambda *_: None),
    ),
    Mutation(
        name="a trade needs no margin",
        law="margin after the trade",
        patch=_set(trades, "_margin_refusal", lambda *_: None),
    ),
    Mutation(
        name="fees are rounded down",
        law="TRADE_NOVATED moves",
        patch=_set(trades, "fee", lambda notional, bp: notional * bp // 10_000),
    ),
    Mutation(
        name="the requirement is the maintenance",
        law="",
        patch=_set(assess, "required", lambda _house, amount: amount),
    ),
    Mutation(
        name="outliers count",
        law="a mark needs its quorum",
        patch=_around(
            prices, "mark_of", lambda f, *a, quorum, outlier_bp: f(*a, quorum=quorum, outlier_bp=10**6)
        ),
    ),
    Mutation(
        name="who is bankrupt goes on",
        law="who is bankrupt is declared",
        patch=_set(cycle, "declare", lambda *_: None),
    ),
    Mutation(
        name="who falls has money of its own waiting",
        law="an unsent hold is given back first",
        patch=_set(cycle, "recall_holds", lambda draft, set_id: assess.assess(draft.house, set_id)),
    ),
    Mutation(
        name="a penalty feeds on what is left",
        law="LIQUIDATION_CLOSED moves",
        patch=_around(liquidation, "_penalty", lambda f, house, row, stands: f(house, row, stands) * 2),
    ),
    Mutation(
        name="tear-up takes the largest first",
        law="a tear-up is minimal and pro rata",
        patch=_set(tear_up, "apportion", _largest_first),
    ),
)

# ---------------------------------------------------------------------------------------- faults of the journal


def _when(kind: str, change: Callable[[Line, Auditor], Sequence[Line]]) -> Meddling:
    return lambda line, auditor: change(line, auditor) if line.kind == kind else (line,)


def _negated(line: Line, _: Auditor) -> Sequence[Line]:
    return (replace(line, legs=tuple((path, unit, -amount) for path, unit, amount in line.legs)),)


def _one_negated(line: Line, _: Auditor) -> Sequence[Line]:
    (path, unit, amount), *others = line.legs
    return (replace(line, legs=((path, unit, -amount), *others)),)


def _stranger_pays(line: Line, auditor: Auditor) -> Sequence[Line]:
    """What an answering member owes is taken from the richest client of somebody else."""
    books, member = auditor.books, line.references[1]
    others = [
        k for k in books.table("accounts") if not k.startswith(f"{member}/") and not k.endswith("/house")
    ]
    victim, payer = cash(max(others, key=books.cash)), cash(f"{member}/house")
    legs = tuple((victim if path == payer else path, unit, amount) for path, unit, amount in line.legs)
    return (replace(line, legs=legs),)


def _due_later(line: Line, _: Auditor) -> Sequence[Line]:
    ((table, key, row),) = line.fact
    return (replace(line, fact=[[table, key, {**row, "due_ms": str(int(row["due_ms"]) + 60_000)}]]),)


def _twice(line: Line, _: Auditor) -> Sequence[Line]:
    return (line, line)


def _lost(_line: Line, _: Auditor) -> Sequence[Line]:
    return ()


JOURNAL_FAULTS = (
    Mutation(
        name="winners pay losers",
        law="variation margin is lots",
        meddle=_when("VARIATION_MARGIN", _negated),
    ),
    Mutation(
        name="one account's margin has the wrong sign",
        law="an entry balances",
        meddle=_when("VARIATION_MARGIN", _one_negated),
    ),
    Mutation(name="margin is settled twice", law="settled once", meddle=_when("VARIATION_MARGIN", _twice)),
    Mutation(name="margin is not settled", law="variation margin", meddle=_when("VARIATION_MARGIN", _lost)),
    Mutation(
        name="a pair of legs is dropped",
        law="TRADE_NOVATED moves",
        meddle=_when("TRADE_NOVATED", lambda line, _: (replace(line, legs=line.legs[:-2]),)),
    ),
    Mutation(
        name="the house keeps a position",
        law="",
        meddle=_when(
            "TRADE_NOVATED", lambda line, _: (replace(line, legs=(*line.legs[:1], *line.legs[2:])),)
        ),
    ),
    Mutation(name="a withdrawal is paid twice", law="settled once", meddle=_when("WITHDRAWAL_PAID", _twice)),
    Mutation(name="a deposit is acknowledged and lost", law="happens once", meddle=_when("DEPOSITED", _lost)),
    Mutation(
        name="another member's client pays",
        law="ANSWER_PAID moves",
        meddle=_when("ANSWER_PAID", _stranger_pays),
    ),
    Mutation(
        name="an outage moves a call too far",
        law="moved by the length of the outage",
        meddle=_when("CALL_MOVED", _due_later),
    ),
    Mutation(
        name="an outage moves no call",
        law="an outage moves each open call",
        meddle=_when("CALL_MOVED", _lost),
    ),
    Mutation(
        name="a default is closed in an outage without leave",
        law="two administrators let a default close",
        patch=_set(outage, "is_let_close", lambda *_: True),
    ),
    Mutation(
        name="work resumes at once",
        law="the quorum was fresh for a minute",
        patch=_around(
            prices,
            "may_settle",
            lambda f, house, now_ms: f(
                replace(house, outage=house.outage and replace(house.outage, fresh_since_ms=1)), now_ms
            ),
        ),
    ),
    Mutation(name="a due time moves", law="a due time never moves", meddle=_when("CALL_ISSUED", _due_later)),
)
MUTATIONS = HOUSE_FAULTS + JOURNAL_FAULTS
