"""What a default may cost whom (rulebook §10.3 to §11): declaration, close-out, waterfall, recoveries.

Each entry of an event is worked out again from the books before it: payers, order, limits, rounding.
"""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.simulation.books import (
    BP,
    Books,
    Legs,
    Line,
    Place,
    cash,
    claim,
    holder,
    member_of,
    position,
    purse,
    require,
    shares,
)
from tests.simulation.laws_of_money import nothing_held
from tests.simulation.measure import maintenance, measured, open_events

REPAYMENT = (8, 7, 6, 5, 4, 3, 2, 0)
DAY_MS = 86_400_000
Draws = list[tuple[int, str, int]]


def declared(before: Books, line: Line, after: Books) -> None:
    """T0: equity and weights of each set as measured, the survivors, and a reason to declare it."""
    ((name, default),) = line.changes("defaults").items()
    known = {one["netting_set"] for one in before.table("defaults").get(name, {"sets": []})["sets"]}
    for one in default["sets"]:
        set_id = one["netting_set"]
        if set_id in known:
            continue
        stands = measured(before, set_id)
        require(int(one["equity_minor"]) == stands.equity, "equity at T0", set_id, stands.equity)
        reason = stands.equity < 0 or stands.cash < 0 or set_id in before.table("liquidations")
        reason = reason or _nobody_took_it(before, line, set_id) or is_decreed(before, set_id)
        require(reason, "a default has a reason", set_id, stands)
        nothing_held(before, set_id)
        weights = {w["member"]: int(w["amount_minor"]) for w in one["weights"]}
        require(weights == _weights(before, set_id), "members answer by their losses", set_id, weights)
    if not known:
        alive = [m for m in sorted(before.table("members")) if bears_losses(before, m, line.at_ms)]
        require(default["survivors"] == alive, "the survivors of T0", name, alive)
        _period(before, line, after, default, [])


def _nobody_took_it(books: Books, line: Line, set_id: str) -> bool:
    """Whether a client's set of a failed member was offered and its time is over (rulebook §10.4)."""
    porting = books.table("portings").get(set_id)
    return porting is not None and int(porting["due_ms"]) <= line.at_ms


def is_decreed(books: Books, set_id: str) -> bool:
    """Whether two administrators declared the member whose own account this is."""
    member, account = set_id.split("/")
    decrees = [p for p in books.table("change_proposals").values() if p["command"] == "DeclareDefault"]
    done = [json.loads(p["body"])["member"] for p in decrees if p["state"] == "in_force"]
    return account == "house" and member in done


def bears_losses(books: Books, member: str, at_ms: int) -> bool:
    """Whether a member answers for an event declared now: one that left does so for what was open when it left, and
    through the capped period that ran then or that such an event began (rulebook §10.3, §11.7).
    """
    row, period = books.table("members")[member], books.single("capped_period")
    if row["status"] != "left":
        return row["status"] in ("active", "suspended")
    if period is not None:
        begins, ends = int(period["begins_ms"]), int(period["ends_ms"])
        if begins <= int(row["left_ms"]) <= ends and at_ms <= ends:
            return True
    return any(member in default["survivors"] for default in open_events(books))


def _weights(books: Books, set_id: str) -> dict[str, int]:
    """By losses since R was last met; all zero: by standalone requirement; that too: equally (§10.5)."""
    lost: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for key in books.accounts_of(set_id):
        member = key.split("/")[0]
        lost[member] += max(0, books.lost[key])
        alone[member] += maintenance(books, books.positions(key))
    if any(lost.values()):
        return dict(lost)
    return dict(alone) if any(alone.values()) else dict.fromkeys(alone, 1)


def torn_up(before: Books, line: Line, _: Books) -> None:
    """What nobody took ends at S, pro rata over the opposite positions; who holds options is paid what they are worth
    by who is short of them, and no other money moves (rulebook §11.9).
    """
    event, instrument = line.references
    outage = before.single("outage")
    if outage is not None and before.table("defaults")[event]["stage"] == "declared":
        _was_let_close(before, line, event, outage)
    expected = [_tear_up(before, event, instrument, keys) for keys in _closing(before, event)]
    actual = {place: amount for place, amount in line.moved().items() if place[1] == instrument}
    require(actual in expected, "a tear-up is minimal and pro rata", instrument, actual, expected)
    legs = Legs(before.money)
    for (path, unit), amount in actual.items():
        legs.sums[path, unit] += amount
        legs.sums[cash(str(holder(path, "position"))), before.money] -= before.worth(instrument, amount)
    legs.require_moved(line)


def _closing(books: Books, event: str) -> list[list[str]]:
    """The accounts that may be closed out now: the event's sets, or a failed member's house account."""
    default = books.table("defaults")[event]
    if default["stage"] == "declared":
        return [[key for one in default["sets"] for key in books.accounts_of(one["netting_set"])]]
    failed = [m for m, row in books.table("members").items() if row["status"] == "defaulted"]
    return [books.accounts_of(books.set_of(f"{m}/house")) for m in failed]


def _tear_up(books: Books, event: str, instrument: str, keys: list[str]) -> dict[Place, int]:
    ended = {key: books.positions(key).get(instrument, 0) for key in keys}
    total = sum(ended.values())
    sign = 1 if total > 0 else -1
    lots = {key: -sign * books.positions(key).get(instrument, 0) for key in books.table("accounts")}
    opposite = {key: quantity for key, quantity in lots.items() if quantity > 0}
    parts = shares(abs(total), opposite, event, opposite)
    moved = {(position(key), instrument): quantity for key, quantity in ended.items() if quantity}
    return moved | {(position(key), instrument): -sign * part for key, part in parts.items()}


def closed_out(before: Books, line: Line, _: Books) -> None:
    """Gains of the window by netting set: winners alone, sets in default not (rulebook §11.8)."""
    ((name, default),) = line.changes("defaults").items()
    won = gains(before, name)
    noted = {gain["netting_set"]: int(gain["gain_minor"]) for gain in default["gains"]}
    require(noted == won, "gains are what was won", name, noted, won)
    _bidders(before, name, default)
    sets = {one["netting_set"] for one in default["sets"]}
    left = {key: before.positions(key) for s in sets for key in before.accounts_of(s)}
    require(not any(left.values()), "a closed-out set has no position", name, left)
    outage = before.single("outage")
    if outage is not None and not all(is_decreed(before, set_id) for set_id in sets):
        _was_let_close(before, line, name, outage)


def gains(books: Books, event: str) -> dict[str, int]:
    """What each set won from T0's cycle on; those in default, or closed out, are no winners (rulebook §11.8)."""
    lost = {one["netting_set"] for d in open_events(books, "declared") for one in d["sets"]}
    began = books.event_won[event]
    won = {s: sum(books.won[k] - began[k] for k in books.accounts_of(s)) for s in books.living_sets()}
    return {set_id: gain for set_id, gain in won.items() if gain > 0 and set_id not in lost}


def _bidders(books: Books, event: str, default: Any) -> None:
    """Who was awarded positions of the event has bid; who was not, may have, no worse than assignment (§11.5)."""
    sales = [
        s for s in books.sales.values() if (s.auction["subject"], s.auction["kind"]) == (event, "close_out")
    ]
    awarded = {member_of(bidder) for sale in sales for bidder, _ in sale.awards}
    most = books.parameter("assignment_discount_bp")
    good = {member_of(k) for s in sales for k, bid in s.bids.items() if int(bid["discount_bp"]) <= most}
    bidders = set(default["bidders"])
    require(awarded <= bidders, "who was awarded something has bid", event, *sorted(awarded - bidders))
    require(
        bidders <= awarded | good, "a bid worse than assignment counts for nothing", event, *sorted(bidders)
    )


def unpaid(books: Books, event: str) -> int:
    """What tiers 1 to 8 could not pay if the event's loss were what its sets owe now."""
    default = books.table("defaults")[event]
    won = [{"netting_set": s, "gain_minor": str(gain)} for s, gain in gains(books, event).items()]
    losses: Counter[str] = Counter()
    for number, one in enumerate(default["sets"]):
        deficit = max(0, -sum(map(books.cash, books.accounts_of(one["netting_set"]))))
        weights = _row_weights(books, event, number)
        losses.update(shares(deficit, weights, f"{event}/{one['netting_set']}"))
    return _expected(books, {**default, "gains": won}, losses)[1]


def _was_let_close(before: Books, line: Line, name: str, outage: Any) -> None:
    """In an outage two administrators let a default close, after a while (rulebook §6). One that two declared may have
    nothing but cash, and needs no price then.
    """
    let = [(c["asked_by"], c["let_by"]) for c in outage["closings"] if c["default"] == name]
    two = len(let) == 1 and let[0][1] != "" and let[0][0] != let[0][1]
    require(two, "in an outage two administrators let a default close", name, let)
    lasted = line.at_ms - int(outage["began_ms"])
    require(lasted >= before.parameter("outage_close_ms"), "an outage lasts a while before", name, lasted)


def loss_fixed(before: Books, line: Line, after: Books) -> None:
    """Cash inside each set is brought together; what it still owes is the members' to answer for (§10.5)."""
    event = line.references[0]
    own_house = line.references[1:]
    sets = [before.set_of(f"{m}/house") for m in own_house] or [
        one["netting_set"] for one in before.table("defaults")[event]["sets"]
    ]
    legs, owed = Legs(before.money), Counter[str]()
    for number, set_id in enumerate(sets):
        have = {key: before.cash(key) for key in before.accounts_of(set_id)}
        owing = {key: -amount for key, amount in have.items() if amount < 0}
        limit = {k: a for k, a in have.items() if a > 0}
        given = shares(sum(owing.values()), limit, set_id, limit)
        deficit = max(0, -sum(have.values()))
        weights = {own_house[0]: 1} if own_house else _row_weights(before, event, number)
        for member, part in shares(deficit, weights, f"{event}/{set_id}").items():
            owed[member] += part
        legs.sums.update({(cash(key), before.money): part for key, part in given.items()})
        legs.sums.subtract({(cash(key), before.money): amount for key, amount in owing.items()})
    for member, part in owed.items():
        legs.sums[f"defaults/{event}/members/{member}/loss", before.money] += part
    legs.require_moved(line)
    if not own_house:
        answers = {a["member"]: int(a["amount_minor"]) for a in after.table("defaults")[event]["answers"]}
        require(answers == dict(owed), "members answer for the deficits", event, answers, dict(owed))


def _row_weights(books: Books, event: str, number: int) -> dict[str, int]:
    weights = books.table("defaults")[event]["sets"][number]["weights"]
    return {w["member"]: int(w["amount_minor"]) for w in weights}


def answered(before: Books, line: Line, after: Books) -> None:
    """An answering member pays from its own house account, no more than it owes, and gets a claim for it."""
    event, member = line.references
    hole = f"defaults/{event}/members/{member}/loss"
    paid = min(before.debit(hole), before.cash(f"{member}/house"))
    require(paid > 0, "an answer pays something", event, member)
    legs = Legs(before.money)
    legs.pay(cash(f"{member}/house"), hole, paid)
    legs.pay(f"defaults/{event}/claims", claim(0, member), paid)
    legs.require_moved(line)
    grown = _claims(after, event) - _claims(before, event)
    require(grown == Counter({(0, member): paid}), "an answer makes a claim", event, grown)


def member_failed(before: Books, line: Line, _: Books) -> None:
    """A member is in default for a hole that it did not fill in time (rulebook §10.5), or by two administrators."""
    (event,), (member,) = line.references, line.changes("members")
    default = before.table("defaults")[event]
    if is_decreed(before, f"{member}/house"):
        own = f"{member}/house" in {one["netting_set"] for one in default["sets"]}
        require(own, "its own account is in the event", member)
        return
    require(int(default["answers_due_ms"]) <= line.at_ms, "an answer has its hour", event)
    owes = before.debit(f"defaults/{event}/members/{member}/loss") > 0
    unpaid = [{"member": member, "amount_minor": "0"}]
    require(owes or default["losses"] == unpaid, "who paid has not failed", member)
    nothing_held(before, before.set_of(f"{member}/house"))


# ----------------------------------------------------------------------------------------------- the waterfall


def waterfall(before: Books, line: Line, after: Books) -> None:
    """One balanced entry: the tiers in their order, each up to its limit; claims equal the draws of 2 to 8."""
    event = line.references[0]
    default, row = before.table("defaults")[event], after.table("defaults")[event]
    holes = {m: before.debit(f"defaults/{event}/members/{m}/loss") for m in before.table("members")}
    losses = {member: hole for member, hole in holes.items() if hole}
    draws, uncovered = _expected(before, default, losses)
    drawn = [(int(d["tier"]), d["payer"], int(d["amount_minor"])) for d in row["draws"]]
    require(drawn == draws, "the tiers pay in their order, up to their limits", event, drawn, draws)
    fills = sum(amount for *_, amount in drawn) + int(row["uncovered_minor"])
    require(fills == sum(losses.values()), "Σ draws + uncovered = loss", event, fills, losses)
    legs = Legs(before.money)
    for tier, payer, amount in draws:
        source = f"members/{payer}/assessment" if tier == 7 else purse(tier, payer)
        legs.sums[source, before.money] += amount
        if tier >= 2:
            legs.pay(f"defaults/{event}/claims", claim(tier, payer), amount)
    legs.sums[f"defaults/{event}/uncovered", before.money] += uncovered
    for member, loss in losses.items():
        legs.sums[f"defaults/{event}/members/{member}/loss", before.money] -= loss
    legs.require_moved(line)
    claims = _claims(after, event) - _claims(before, event)
    due = Counter({(tier, payer): amount for tier, payer, amount in draws if tier >= 2})
    require(claims == due, "claims are the draws of tiers 2 to 8", event, claims, due)
    _period(before, line, after, default, draws)
    _put_back(before, line, after, default, draws)


def _expected(books: Books, default: Any, losses: Mapping[str, int]) -> tuple[Draws, int]:
    event = default["id"]
    failed = {m for m, row in books.table("members").items() if row["status"] == "defaulted"} | set(losses)
    alive = [m for m in default["survivors"] if m not in failed]
    needed = {m: int(books.table("members")[m]["required_contribution_minor"]) for m in alive}
    pool = {m: books.credit(f"members/{m}/pool") for m in (*alive, *losses)}
    left, draws = dict(losses), Draws()
    for tier, own in ((1, {m: max(0, books.cash(f"{m}/house")) for m in losses}), (2, pool)):
        parts = {m: min(own[m], left[m]) for m in left}
        draws += [(tier, m, part) for m, part in sorted(parts.items()) if part]
        left = {m: loss - parts[m] for m, loss in left.items()}
    rest = sum(left.values())
    fund = books.credit("house/insurance_fund") * books.parameter("fund_event_cap_bp") // BP
    paid_in = {m: pool[m] for m in alive}
    weights = {m: needed[m] or pool[m] for m in alive}
    for tier in range(3, 9):
        if tier in (3, 4, 6):
            payer = purse(tier, "")
            parts = {payer: min(rest, fund if tier == 4 else books.credit(payer))}
        elif tier == 5:
            juniors = {m: weight for m, weight in weights.items() if m not in default["bidders"]}
            parts = shares(rest, juniors, event, paid_in)
            seniors = {m: weight for m, weight in weights.items() if m not in juniors}
            parts |= shares(rest - sum(parts.values()), seniors, event, paid_in)
        elif tier == 7:
            parts = shares(rest, needed, event, _assessable(books, default, needed))
        else:
            parts = _haircuts(books, default, rest)
        draws += [(tier, payer, part) for payer, part in sorted(parts.items()) if part]
        rest -= sum(parts.values())
    return draws, rest


def _assessable(books: Books, default: Any, needed: Mapping[str, int]) -> dict[str, int]:
    """What is left of each survivor's cap in the capped period (rulebook §11.7)."""
    period = books.single("capped_period")
    runs = period is not None and int(default["declared_ms"]) <= int(period["ends_ms"])
    called = {p["member"]: int(p["amount_minor"]) for p in period["called"]} if runs else {}
    cap = books.parameter("assessment_cap_bp")
    return {m: max(0, amount * cap // BP - called.get(m, 0)) for m, amount in needed.items()}


def _haircuts(books: Books, default: Any, loss: int) -> dict[str, int]:
    """One factor over the gains of the window, less what events whose window overlaps it took; never more than the
    cash.
    """
    event, begins = default["id"], int(default["cycle"])
    ends = int(default["closed_out_cycle"]) or int(books.single("cycle")["number"])
    gains: dict[str, int] = {}
    able: dict[str, dict[str, int]] = {}
    for gain in default["gains"]:
        accounts = books.accounts_of(gain["netting_set"])
        taken = sum(
            int(draw["amount_minor"])
            for earlier in books.table("defaults").values()
            if int(earlier["cycle"]) <= ends
            and begins <= max(int(earlier["cycle"]), int(earlier["closed_out_cycle"]))
            for draw in earlier["draws"]
            if draw["tier"] == "8" and books.holder(draw["payer"]) in accounts
        )
        gains[gain["netting_set"]] = max(0, int(gain["gain_minor"]) - taken)
        able[gain["netting_set"]] = {key: max(0, books.cash(key)) for key in accounts}
    caps = {s: min(gains[s], sum(able[s].values())) for s in gains}
    parts: dict[str, int] = {}
    for set_id, part in shares(loss, gains, event, caps).items():
        parts |= shares(part, able[set_id], event, able[set_id])
    return parts


def _period(before: Books, line: Line, after: Books, default: Any, draws: Draws) -> None:
    """The capped period begins at T0, ends [20] business days after the last T0, and sums what was called."""
    was, now, at = before.single("capped_period"), after.single("capped_period"), int(default["declared_ms"])
    runs = was is not None and at <= int(was["ends_ms"])
    called = Counter({p["member"]: int(p["amount_minor"]) for p in was["called"]} if runs else {})
    called.update({payer: amount for tier, payer, amount in draws if tier == 7})
    summed = Counter({p["member"]: int(p["amount_minor"]) for p in now["called"]})
    require(summed == called, "one cap through the period", line.references, summed, called)
    again = Counter(_replenished(before, default))
    again.update({m: amount for m, amount in _owed_back(before, default, draws).items() if amount})
    noted = Counter({p["member"]: int(p["amount_minor"]) for p in now["replenished"]})
    require(noted == again, "one cap of replenishments through the period", noted, again)
    begins = int(was["begins_ms"]) if runs else at
    day = business_days(at, before.parameter("capped_period_business_days"))
    latest = min(day, begins + before.parameter("capped_period_max_ms"))
    ends = max(int(was["ends_ms"]) if runs else at, latest)
    require((int(now["begins_ms"]), int(now["ends_ms"])) == (begins, ends), "the capped period", begins, ends)


def _replenished(books: Books, default: Any) -> dict[str, int]:
    """What each member was to put back before in the capped period of an event."""
    period = books.single("capped_period")
    runs = period is not None and int(default["declared_ms"]) <= int(period["ends_ms"])
    return {p["member"]: int(p["amount_minor"]) for p in period["replenished"]} if runs else {}


def _owed_back(books: Books, default: Any, draws: Draws) -> dict[str, int]:
    """What was drawn of each contribution, up to [1 ×] the required one in the period (rulebook §11)."""
    before, cap = _replenished(books, default), books.parameter("replenishment_cap_bp")
    needed = {m: int(row["required_contribution_minor"]) for m, row in books.table("members").items()}
    return {
        payer: min(amount, max(0, needed[payer] * cap // BP - before.get(payer, 0)))
        for tier, payer, amount in draws
        if tier == 5 and books.table("members")[payer]["status"] != "left"
    }


def _put_back(before: Books, line: Line, after: Books, default: Any, draws: Draws) -> None:
    rows = line.changes("replenishments").values()
    owed = {row["member"]: int(row["amount_minor"]) for row in rows}
    expected = {m: amount for m, amount in _owed_back(before, default, draws).items() if amount}
    require(owed == expected, "survivors owe back what was drawn", owed, expected)
    due = business_days(line.at_ms, before.parameter("replenishment_business_days"))
    require(all(int(row["due_ms"]) == due for row in rows), "due in business days", due)
    require(all(row["default"] == default["id"] for row in rows), "for this event", default["id"])


def business_days(start_ms: int, days: int) -> int:
    """So many days from Monday to Friday later."""
    day, business = start_ms, 0
    while business < days:
        day += DAY_MS
        business += (day // DAY_MS + 3) % 7 < 5
    return day


# ----------------------------------------------------------------------------------------------- afterwards


def assessment_paid(before: Books, line: Line, _: Books) -> None:
    """A survivor pays its assessment from its own house account, no more than it was called for."""
    called = before.table("assessments")[line.references[0]]
    receivable = f"members/{called['member']}/assessment"
    paid = -line.moved()[receivable, before.money]
    most = min(int(called["amount_minor"]), before.cash(f"{called['member']}/house"))
    require(0 < paid <= most, "an assessment is paid once, from cash that is there", called, paid)
    legs = Legs(before.money)
    legs.pay(cash(f"{called['member']}/house"), receivable, paid)
    legs.require_moved(line)


def replenishment_paid(before: Books, line: Line, _: Books) -> None:
    """A survivor puts its contribution back from its own house account, never from its margin."""
    owed = before.table("replenishments")[line.references[0]]
    member, own = owed["member"], f"{owed['member']}/house"
    stands = measured(before, before.set_of(own))
    free = min(before.cash(own), stands.equity - stands.requirement)
    legs = Legs(before.money)
    legs.pay(cash(own), f"members/{member}/pool", min(int(owed["amount_minor"]), free))
    legs.require_moved(line)


def replenishment_failed(before: Books, line: Line, _: Books) -> None:
    """A contribution that is not put back in time: no hole, and the member is in default."""
    owed = before.table("replenishments")[line.references[0]]
    require(int(owed["due_ms"]) <= line.at_ms, "a replenishment has its days", owed)
    own = f"{owed['member']}/house"
    stands = measured(before, before.set_of(own))
    free = min(before.cash(own), stands.equity - stands.requirement)
    require(free <= 0, "what is free is taken first", own, free)
    legs = Legs(before.money)
    legs.require_moved(line)
    nothing_held(before, before.set_of(own))


def skin_restored(before: Books, line: Line, _: Books) -> None:
    """A month after T0 the house puts back what was drawn and not recovered, as far as its capital goes."""
    default = before.table("defaults")[line.references[0]]
    due = int(default["declared_ms"]) + before.parameter("restoration_ms")
    require(due <= line.at_ms, "the house has its month", default["id"])
    drawn = sum(amount for (tier, _), amount in _claims(before, default["id"]).items() if tier == 3)
    owed = min(drawn - int(default["restored_minor"]), before.credit("house/capital"))
    legs = Legs(before.money)
    legs.pay("house/capital", "house/skin_in_the_game", owed)
    legs.require_moved(line)


def assessment_failed(before: Books, line: Line, after: Books) -> None:
    """What is unpaid when due is a hole of the next event, and who has not paid has no claim for it."""
    called = before.table("assessments")[line.references[0]]
    member, amount = called["member"], int(called["amount_minor"])
    require(int(called["due_ms"]) <= line.at_ms, "an assessment has its day", called)
    (event,) = line.changes("defaults").keys() - before.table("defaults").keys()
    legs = Legs(before.money)
    legs.pay(f"defaults/{event}/members/{member}/loss", f"members/{member}/assessment", amount)
    legs.pay(claim(7, member), f"defaults/{called['default']}/claims", amount)
    legs.require_moved(line)
    gone = _claims(before, called["default"]) - _claims(after, called["default"])
    require(gone == Counter({(7, member): amount}), "who has not paid has no claim", gone)


def distributed(before: Books, line: Line, after: Books) -> None:
    """A recovery fills what is uncovered, then repays 8 → 2 pro rata, who answered, and the estate (§11)."""
    event = line.references[0]
    default, left = before.table("defaults")[event], before.credit(f"defaults/{event}/recoveries")
    source, legs, repaid = f"defaults/{event}/recoveries", Legs(before.money), Counter[tuple[int, str]]()
    filled = min(left, before.debit(f"defaults/{event}/uncovered"))
    legs.pay(source, f"defaults/{event}/uncovered", filled)
    left -= filled
    for tier in REPAYMENT:
        owed = {payer: amount for (t, payer), amount in _claims(before, event).items() if t == tier}
        for payer, part in shares(left, owed, event, owed).items():
            owner = before.holder(payer) if tier == 8 else payer
            legs.pay(source, purse(tier if tier != 7 else 0, owner), part)
            legs.pay(claim(tier, payer), f"defaults/{event}/claims", part)
            repaid[tier, payer] += part
        left -= sum(part for (t, _), part in repaid.items() if t == tier)
    for key, part in shares(left, _estate(before, default), event).items():
        legs.pay(source, cash(key), part)
    legs.require_moved(line)
    shrunk = _claims(before, event) - _claims(after, event)
    require(shrunk == repaid, "claims shrink by what they are repaid", event, shrunk, repaid)
    for key, owed in before.table("replenishments").items():
        refilled = repaid[5, owed["member"]] if owed["default"] == event else 0
        rest = after.table("replenishments").get(key, {"amount_minor": "0"})["amount_minor"]
        asked = max(0, int(owed["amount_minor"]) - refilled)
        require(int(rest) == asked, "what a recovery puts back need not be paid", key, rest, asked)


def _estate(books: Books, default: Any) -> dict[str, int]:
    if not default["sets"]:
        return {f"{p['member']}/house": int(p["amount_minor"]) for p in default["losses"]}
    return {
        books.accounts_of(one["netting_set"])[0]: max(1, -int(one["equity_minor"])) for one in default["sets"]
    }


def _claims(books: Books, event: str) -> Counter[tuple[int, str]]:
    sums: Counter[tuple[int, str]] = Counter()
    for row in books.table("defaults").get(event, {"claims": []})["claims"]:
        sums[int(row["tier"]), row["payer"]] += int(row["amount_minor"])
    return sums


def claims_agree(books: Books) -> None:
    """Rows and balances of claims, holes and what is uncovered say the same; a hole is gone after the waterfall."""
    held: Counter[str] = Counter()
    for event, default in books.table("defaults").items():
        claims = _claims(books, event)
        require(books.debit(f"defaults/{event}/claims") == claims.total(), "claims have a contra", event)
        for (tier, payer), amount in claims.items():
            held[claim(tier, payer)] += amount
        uncovered = int(default["uncovered_minor"])
        require(
            books.debit(f"defaults/{event}/uncovered") == uncovered, "what is uncovered has a holder", event
        )
        filled = default["stage"] in ("assessing", "recovering", "closed")
        holes = sum(books.debit(f"defaults/{event}/members/{m}/loss") for m in books.table("members"))
        owed = 0 if filled else sum(int(p["amount_minor"]) for p in default["losses"])
        require(holes == owed, "holes are filled", event, holes, owed)
    for path, unit in list(books.balances):
        is_claim = path.endswith("/claim") or path.startswith("house/claims/")
        if is_claim:
            require(
                books.credit(path, unit) == held[path], "a claim is a row and a balance", path, held[path]
            )


def collateral_is_ring_fenced(before: Books, line: Line, _: Books) -> None:
    """No client's money or collateral leaves it but by its own acts, its own close-out, or a haircut (§2, §11). What
    a tear-up moves is checked to be what options are worth.
    """
    default = before.table("defaults").get(line.references[0]) if line.references else None
    if line.kind == "POSITIONS_TORN_UP":
        return
    for (path, unit), amount in line.moved().items():
        key = holder(path, "cash") or holder(path, "collateral")
        if key is None or amount < 0 or key.endswith("/house") or default is None:
            continue
        mine = {k for one in default["sets"] for k in before.accounts_of(one["netting_set"])}
        winners = {k for gain in default["gains"] for k in before.accounts_of(gain["netting_set"])}
        haircut = line.kind == "WATERFALL" and key in winners and holder(path, "cash") is not None
        require(key in mine or haircut, "no client pays for another's loss", line.kind, path, unit, amount)
