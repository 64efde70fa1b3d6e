"""Planted faults: each breaks the house, or what it says, in one way that cost somebody money somewhere.

A fault of the house replaces one of its functions; the house still believes itself, and its entries balance.
A fault of the journal changes the lines on their way to the auditor. ``law`` is part of what it must say.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from clearing.decide import (
    auctions,
    close_out,
    cycle,
    due,
    funding,
    governance,
    halves,
    liquidation,
    maturity,
    membership,
    outage,
    porting,
    prices,
    proposals,
    recovery,
    resolve,
    table,
    trades,
    treasury,
    unlinking,
)
from clearing.default import exits, purses, resources, tear_up, waterfall
from clearing.default.tiers.tier import Tier
from clearing.margin import assess, cells, pricing
from clearing.model import apportion
from clearing.model import house as model
from clearing.model.ids import member_of
from clearing.model.outcomes import Reason
from clearing.model.values import DAY_MS, MINUTE_MS, Gain
from tests.simulation.auditor import Auditor
from tests.simulation.books import Line, cash
from tests.simulation.walk import Meddling

Patch = Callable[[pytest.MonkeyPatch], None]
SEED = 1
"""A world in which most faults show."""


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A fault, its name, the law that it breaks, and the seed of a world in which it shows."""

    name: str
    law: str
    seed: int = SEED
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


def _as_if_linear(novate: Callable[..., Any], house: Any, instrument: Any, **terms: Any) -> Any:
    row = replace(house.instruments[instrument], option=None)
    return novate(replace(house, instruments=house.instruments.set(instrument, row)), instrument, **terms)


def _counts_options_twice(stands: assess.Assessment) -> bool:
    needed = max(0, stands.requirement_minor - max(0, stands.option_value_minor))
    return stands.cash_minor >= 0 and stands.equity_minor >= needed


def _options_too(variation: Callable[..., Any], before: Any, marks: Any, living: Any) -> Any:
    linear = {name: replace(row, option=None) for name, row in before.instruments.items()}
    return variation(replace(before, instruments=before.instruments.update(linear)), marks, living)


def _bidders_first(tier: Tier) -> Tier:
    def offer(stock: resources.Resources, losses: Any) -> Any:
        others = tuple(member for member in stock.survivors if member not in stock.bidders)
        return tier.offer(replace(stock, bidders=others if stock.bidders else ()), losses)

    return replace(tier, offer=offer)


def _all_bidders(_draft: object, sale: auctions.Sale) -> list[str]:
    return [member_of(bid.account) for bid in sale.bids]


def _with_parameters(house: Any, **changes: Any) -> Any:
    charter = replace(house.charter, parameters=replace(house.parameters, **changes))
    return replace(house, charter=charter)


def _by_anybody(approvable: Callable[..., Any], draft: Any, proposal: str) -> Any:
    found = approvable(draft, proposal)
    is_own = getattr(found, "reason", None) is Reason.SAME_ADMINISTRATOR
    return proposals.proposal_of(draft.house, proposal) if is_own else found


TIERS = waterfall.TIERS
HALF_AN_HOUR_MS = 30 * MINUTE_MS
HOUSE_FAULTS = (
    Mutation(
        name="the skin in the game is skipped",
        law="the tiers pay in their order",
        seed=2,
        patch=_set(waterfall, "TIERS", (*TIERS[:2], *TIERS[3:])),
    ),
    Mutation(
        name="survivors pay before the house",
        law="the tiers pay in their order",
        seed=2,
        patch=_set(waterfall, "TIERS", (*TIERS[:2], TIERS[4], TIERS[2], TIERS[3], *TIERS[5:])),
    ),
    Mutation(
        name="one survivor pays nothing into the pool's draw",
        law="the tiers pay in their order",
        seed=2,
        patch=_set(waterfall, "TIERS", (*TIERS[:4], _without_first_survivor(TIERS[4]), *TIERS[5:])),
    ),
    Mutation(
        name="the fund's cap is ignored",
        law="the tiers pay in their order",
        seed=4,
        patch=_around(
            resolve,
            "resources_of",
            lambda f, house, *a: f(_with_parameters(house, fund_event_cap_bp=10_000), *a),
        ),
    ),
    Mutation(
        name="assessments know no cap",
        law="the tiers pay in their order",
        seed=11,
        patch=_set(resources, "assessable", lambda *_: 10**30),
    ),
    Mutation(
        name="replenishments know no cap",
        law="one cap of replenishments",
        seed=2,
        patch=_set(resolve, "replenishable", lambda *_: 10**30),
    ),
    Mutation(
        name="losers are haircut too",
        law="gains are what was won",
        seed=2,
        patch=_around(close_out, "_gains", _losers_too),
    ),
    Mutation(
        name="the first party gets every odd unit",
        law="",
        seed=2,
        patch=_set(apportion, "_largest_remainder", _to_the_first),
    ),
    Mutation(
        name="recoveries repay from the top",
        law="RECOVERY_DISTRIBUTED moves",
        seed=2,
        patch=_set(recovery, "REPAYMENT_ORDER", purses.REPAYMENT_ORDER[::-1]),
    ),
    Mutation(
        name="a draw makes no claim",
        law="WATERFALL moves",
        seed=2,
        patch=_around(resolve, "_new_claims", lambda f, absorbed: f(absorbed)[1:]),
    ),
    Mutation(
        name="the gate is ignored",
        law="no outflow while the gate is shut",
        patch=_set(treasury, "gates_of", lambda *_: ()),
    ),
    Mutation(
        name="a withdrawal leaves less than the requirement",
        law="no withdrawal below the requirement",
        seed=4,
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
        law="a mark ",
        patch=_around(
            prices, "mark_of", lambda f, *a, quorum, outlier_bp: f(*a, quorum=quorum, outlier_bp=10**6)
        ),
    ),
    Mutation(
        name="who is bankrupt goes on",
        law="who is bankrupt is declared",
        seed=2,
        patch=_set(cycle, "declare", lambda *_: None),
    ),
    Mutation(
        name="who falls has money of its own waiting",
        law="an unsent hold is given back first",
        seed=3,
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
        seed=5,
        patch=_set(tear_up, "apportion", _largest_first),
    ),
)
OPTION_FAULTS = (
    Mutation(
        name="a premium is carried at S",
        law="TRADE_NOVATED moves",
        seed=2,
        patch=_around(trades, "novate", _as_if_linear),
    ),
    Mutation(
        name="an option pays half of what it is worth",
        law="settled at its intrinsic value",
        patch=_around(maturity, "intrinsic_ticks", lambda f, *a: f(*a) // 2),
    ),
    Mutation(
        name="what options are worth is withdrawn",
        law="no withdrawal below the requirement",
        seed=5,
        patch=_set(assess.Assessment, "bears_outflow", property(_counts_options_twice)),
    ),
    Mutation(
        name="an option is torn up for nothing",
        law="POSITIONS_TORN_UP moves",
        seed=19,
        patch=_set(tear_up, "option_value", lambda *_: 0),
    ),
    Mutation(
        name="what an option gains is no gain",
        law="",
        seed=5,
        patch=_set(model, "_revalued", lambda _house, pnl, _cycle: pnl),
    ),
    Mutation(
        name="an option is marked at its intrinsic value",
        law="its value by Black-76",
        patch=_set(
            pricing,
            "values_ticks",
            lambda options, forwards, *_: list(map(pricing.intrinsic_ticks, options, forwards)),
        ),
    ),
    Mutation(
        name="volatility stands still",
        law="a scenario is valued by Black-76",
        patch=_set(
            cells,
            "revaluation",
            lambda o, f, v, at, moves, _: pricing.revaluation(o, f, v, at, moves, moves * 0 + 1),
        ),
    ),
    Mutation(
        name="equity does not count what options are worth",
        law="",
        seed=3,
        patch=_set(assess, "option_value", lambda *_: 0),
    ),
    Mutation(
        name="an option is settled each cycle as a future is",
        law="variation margin",
        seed=3,
        patch=_around(prices, "_variation", _options_too),
    ),
)
AUCTION_FAULTS = (
    Mutation(
        name="the dearest bid comes first",
        law="the best bid comes first",
        seed=3,
        patch=_around(auctions, "_rank", lambda f, bid: (-bid.discount_bp, f(bid)[1])),
    ),
    Mutation(
        name="only the dearest bid counts",
        law="the best bid comes first",
        seed=3,
        patch=_around(auctions.Sale, "up_to", lambda f, sale, most: f(sale, most)[-1:]),
    ),
    Mutation(
        name="a bidder pays the mark",
        law="BID_AWARDED moves",
        seed=3,
        patch=_around(auctions, "assignment_price", lambda _, mark, *__: mark),
    ),
    Mutation(
        name="collateral is awarded at the mark",
        law="COLLATERAL_AWARDED moves",
        seed=3,
        patch=_around(auctions, "sale_value", lambda f, *a: f(*a[:-1], 0)),
    ),
    Mutation(
        name="a bidder takes more than it can carry",
        law="a bidder meets R",
        seed=4,
        patch=_set(auctions, "stands", lambda *_: True),
    ),
    Mutation(
        name="a step has no reserve",
        law="the reserve of a step",
        seed=3,
        patch=_around(auctions.Sale, "up_to", lambda _, sale, __: sale.bids),
    ),
    Mutation(
        name="a dear bid costs whoever is left",
        law="a dear bid is borne",
        seed=54,
        patch=_set(close_out, "_uncovered", lambda *_: 0),
    ),
    Mutation(
        name="bidders pay first",
        law="the tiers pay in their order",
        seed=3,
        patch=_set(waterfall, "TIERS", (*TIERS[:4], _bidders_first(TIERS[4]), *TIERS[5:])),
    ),
    Mutation(
        name="any bid makes senior",
        law="a bid worse than assignment counts for nothing",
        seed=3,
        patch=_set(close_out, "bidding_members", _all_bidders),
    ),
    Mutation(
        name="a window closes as it opens",
        law="a window lasts its time",
        seed=2,
        patch=_set(due, "_step_due_ms", lambda _, liquidation: liquidation.next_step_ms),
    ),
    Mutation(
        name="bids survive their auction",
        law="an auction ends with its bids",
        seed=3,
        patch=_set(auctions, "_bids", lambda *_: []),
    ),
    Mutation(
        name="a slice leaves the hedge behind",
        law="the same share of every position",
        seed=4,
        patch=_around(liquidation, "_share", lambda f, offered, bp: f(offered[:1], bp)),
    ),
)
PORTING_FAULTS = (
    Mutation(
        name="a client leaves its collateral behind",
        law="PORTED moves",
        seed=2,
        patch=_set(porting, "posted", lambda *_: 0),
    ),
    Mutation(
        name="a client is ported while a loss is divided",
        law="nothing is open of what is ported",
        seed=11,
        patch=_set(porting, "_open_refusal", lambda *_: None),
    ),
    Mutation(
        name="anybody takes over the legs of a link",
        law="the legs of a link go to who is left",
        seed=7,
        patch=_set(porting, "_taker_refusal", lambda *_: None),
    ),
    Mutation(
        name="who is offered goes on trading",
        law="who may only reduce",
        seed=12,
        patch=_around(
            trades,
            "_reduce_only",
            lambda f, house, *a: f(replace(house, portings=house.portings.__class__()), *a),
        ),
    ),
)
MEMBER_FAULTS = (
    Mutation(
        name="funding rounds away from zero",
        law="lots × an integer",
        patch=_around(funding, "amount_per_lot", lambda f, *a: f(*a) + 1),
    ),
    Mutation(
        name="funding knows no cap",
        law="lots × an integer",
        patch=_around(
            funding,
            "amount_per_lot",
            lambda f, house, row: f(_with_parameters(house, funding_cap_ppm=10**6), row),
        ),
    ),
    Mutation(
        name="halves need not agree",
        law="both halves say the same",
        seed=2,
        patch=_set(trades, "difference", lambda *_: None),
    ),
    Mutation(
        name="a group falls in part",
        law="a group stands or falls together",
        seed=2,
        patch=_set(
            trades,
            "_together",
            lambda draft, member, links: tuple(trades._submit(draft, member, new) for new in links),
        ),
    ),
    Mutation(
        name="half of the time is enough for a half",
        law="a half waits for the other",
        seed=2,
        patch=_around(
            halves, "_ended", lambda f, house, half, now_ms: f(house, half, now_ms + HALF_AN_HOUR_MS)
        ),
    ),
    Mutation(
        name="a suspended member takes new risk",
        law="who may only reduce",
        seed=2,
        patch=_set(trades, "standing_refusal", lambda *_: None),
    ),
    Mutation(
        name="one administrator approves what it proposed",
        law="a change takes two administrators",
        seed=2,
        patch=_around(governance, "_approvable", _by_anybody),
    ),
    Mutation(
        name="one administrator changes the house",
        law="a change takes two administrators",
        patch=_set(table, "direct_refusal", lambda *_: None),
    ),
    Mutation(
        name="parameters change without a delay",
        law="a change has its delay",
        seed=3,
        patch=_around(due, "proposal_step", lambda f, house, one, now_ms: f(house, one, now_ms + DAY_MS)),
    ),
    Mutation(
        name="who leaves owes nothing any more",
        law="who leaves stays liable",
        seed=4,
        patch=_set(exits, "is_liable", lambda *_: False),
    ),
    Mutation(
        name="a member leaves its clients behind",
        law="who leaves has nothing open",
        patch=_set(membership, "_bonds", lambda *_: iter(())),
    ),
    Mutation(
        name="a link is undone at once",
        law="a notice has its day",
        seed=5,
        patch=_around(unlinking, "add_business_days", lambda _, start_ms, __: start_ms),
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


def _by_the_fund(line: Line, _: Auditor) -> Sequence[Line]:
    swapped = {"house/capital": "house/insurance_fund"}
    return (replace(line, legs=tuple((swapped.get(p, p), unit, amount) for p, unit, amount in line.legs)),)


def _at_the_mark(line: Line, _: Auditor) -> Sequence[Line]:
    return (replace(line, legs=tuple(leg for leg in line.legs if not leg[0].endswith("/cash"))),)


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
    Mutation(
        name="margin is not settled",
        law="what is due is settled first",
        meddle=_when("VARIATION_MARGIN", _lost),
    ),
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
    Mutation(
        name="a withdrawal is paid twice", law="settled once", seed=8, meddle=_when("WITHDRAWAL_PAID", _twice)
    ),
    Mutation(name="a deposit is acknowledged and lost", law="happens once", meddle=_when("DEPOSITED", _lost)),
    Mutation(
        name="another member's client pays",
        law="ANSWER_PAID moves",
        seed=2,
        meddle=_when("ANSWER_PAID", _stranger_pays),
    ),
    Mutation(
        name="an outage moves a call too far",
        law="moved by the length of the outage",
        seed=2,
        meddle=_when("CALL_MOVED", _due_later),
    ),
    Mutation(
        name="an outage moves no call",
        law="an outage moves each open call",
        seed=2,
        meddle=_when("CALL_MOVED", _lost),
    ),
    Mutation(
        name="a default is closed in an outage without leave",
        law="two administrators let a default close",
        seed=4,
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
    Mutation(
        name="a fund pays what custody lost",
        law="LOSS_BORNE_BY_CAPITAL moves",
        meddle=_when("LOSS_BORNE_BY_CAPITAL", _by_the_fund),
    ),
    Mutation(
        name="what custody lost is not borne",
        law="capital pays at once",
        meddle=_when("LOSS_BORNE_BY_CAPITAL", _lost),
    ),
    Mutation(
        name="a contribution goes back twice",
        law="MEMBER_RELEASED moves",
        meddle=_when("MEMBER_RELEASED", _twice),
    ),
    Mutation(
        name="funding is paid twice", law="funding is settled once", meddle=_when("FUNDING_PAID", _twice)
    ),
    Mutation(name="longs receive funding", law="lots × an integer", meddle=_when("FUNDING_PAID", _negated)),
    Mutation(name="an option expires and goes on", law="", meddle=_when("OPTION_SETTLED", _lost)),
    Mutation(name="an award is booked twice", law="", seed=3, meddle=_when("BID_AWARDED", _twice)),
    Mutation(
        name="an assignment costs nobody",
        law="POSITION_ASSIGNED moves",
        meddle=_when("POSITION_ASSIGNED", _at_the_mark),
    ),
    Mutation(
        name="a due time moves", law="a due time never moves", seed=2, meddle=_when("CALL_ISSUED", _due_later)
    ),
)
MUTATIONS = HOUSE_FAULTS + OPTION_FAULTS + AUCTION_FAULTS + MEMBER_FAULTS + PORTING_FAULTS + JOURNAL_FAULTS
