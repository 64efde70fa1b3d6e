"""What each kind of entry may move while nobody is in default: money in and out, cycles, calls, liquidations.

A law takes the books before a line, the line, and the books after it.
"""

from collections import Counter
from typing import Any

from tests.simulation.books import (
    BP,
    Books,
    Legs,
    Line,
    cash,
    collateral,
    holder,
    member_of,
    position,
    require,
    shares,
    up,
)
from tests.simulation.measure import (
    Measure,
    gate_is_shut,
    is_halted,
    maintenance,
    market_value,
    measured,
    measured_together,
    notional_of_lot,
    open_events,
    outage_began_ms,
    required,
)


def paid_in(before: Books, line: Line, _: Books) -> None:
    """What arrives is what custody, a member or the administrator reports, credited where they say."""
    command, amount = line.command, int(line.command["amount_minor"])
    asset = command.get("asset", before.money)
    target = {
        "Deposit": lambda: (
            cash(before.holder(command["account"]))
            if asset == before.money
            else collateral(before.holder(command["account"]))
        ),
        "FundHouse": lambda: f"house/{command['into']}",
        "ContributeToPool": lambda: f"members/{command['member']}/pool",
        "RecordRecovery": lambda: f"defaults/{command['default']}/recoveries",
    }[command["type"]]()
    legs = Legs(asset)
    legs.pay("custody", target, amount)
    legs.require_moved(line)


def held(before: Books, line: Line, after: Books) -> None:
    """A withdrawal is held only through an open gate, and leaves cash ≥ 0 and equity ≥ R (rulebook §8)."""
    (row,) = line.changes("withdrawals").values()
    require(row["id"] not in before.table("withdrawals"), "a withdrawal is held once", row["id"])
    require(not list(gate_is_shut(before, line.at_ms)), "no outflow while the gate is shut", row["id"])
    wanted = {name: line.command[name] for name in ("account", "asset", "amount_minor")}
    require(wanted.items() <= row.items(), "what is held is what was asked for", row["id"])
    legs, key, asset = Legs(row["asset"]), row["account"], row["asset"]
    source = cash(key) if asset == before.money else collateral(key)
    legs.pay(source, f"withdrawals/{row['id']}", int(row["amount_minor"]))
    legs.require_moved(line)
    _may_leave(after, key)


def sent(before: Books, line: Line, after: Books) -> None:
    """Custody is told to pay what is held, once, through an open gate, and while §8 still allows it."""
    (row,) = line.changes("withdrawals").values()
    first = before.table("withdrawals")[row["id"]]
    require(row == {**first, "state": "sent"}, "what is sent is what was held", row["id"])
    require(first["state"] == "held", "a withdrawal is sent once", row["id"])
    require(not list(gate_is_shut(before, line.at_ms)), "no outflow while the gate is shut", row["id"])
    _may_leave(after, after.holder(row["account"]))


def _may_leave(books: Books, key: str) -> None:
    """Its set, and while its link is being undone the account alone, stand as §8 demands."""
    set_id = books.set_of(key)
    alone = [measured_together(books, [key])] if set_id in books.table("unlinkings") else []
    for stands in (measured(books, set_id), *alone):
        _bears(stands, key)


def _bears(stands: Measure, key: str) -> None:
    require(stands.cash >= 0, "no withdrawal makes cash negative", key, stands.cash)
    require(stands.equity >= stands.requirement, "no withdrawal below the requirement", key, stands)
    free = stands.equity - max(0, stands.option_value)
    require(free >= 0, "what options are worth is never withdrawn", key, stands)


def settled(before: Books, line: Line, _: Books) -> None:
    """What was sent is paid by custody once; what was not paid goes back to the account that it came from."""
    (row,) = line.changes("withdrawals").values()
    first = before.table("withdrawals")[row["id"]]
    paid, told = line.kind == "WITHDRAWAL_PAID", line.command["type"] == "SettleWithdrawal"
    require(first["state"] in ("held", "sent"), "a withdrawal is settled once", row["id"])
    require(first["state"] == "sent" or not paid, "custody pays what it was told to pay", row["id"])
    require(told or first["state"] == "held", "only custody settles what was sent", row["id"])
    owner = before.holder(first["account"])
    back = cash(owner) if first["asset"] == before.money else collateral(owner)
    legs = Legs(first["asset"])
    legs.pay(f"withdrawals/{row['id']}", "custody" if paid else back, int(first["amount_minor"]))
    legs.require_moved(line)
    require(row["state"] == ("paid" if paid else "released"), "the row says what the money did", row["id"])


def cash_moved(before: Books, line: Line, after: Books) -> None:
    """Cash stays in its netting set, whose equity and requirement are as before; none is lent (rulebook §2)."""
    command = line.command
    source, target = command["source"], command["target"]
    legs = Legs(before.money)
    legs.pay(cash(source), cash(target), int(command["amount_minor"]))
    legs.require_moved(line)
    set_id = before.set_of(source)
    require(before.set_of(target) == set_id, "cash moves within a netting set", source, target)
    require(measured(before, set_id) == measured(after, set_id), "a move changes nothing for its set", set_id)
    require(after.cash(source) >= 0, "no move makes cash negative", source, after.cash(source))
    ending = set_id in before.table("liquidations") or set_id in before.table("unlinkings")
    busy = ending or any(open_events(before))
    require(not busy, "no cash moves while a set is closed or a loss is open", set_id)


def is_wanted(books: Books, key: str, now_ms: int) -> bool:
    """Whether an account's holds may be given back unasked: its set falls, or some time is over."""
    set_id, member = books.set_of(key), member_of(key)
    stands = measured(books, set_id)
    dues = [
        *(c for c in books.table("calls").values() if c["netting_set"] == set_id),
        *(a for a in books.table("assessments").values() if key == f"{a['member']}/house"),
        *(r for r in books.table("replenishments").values() if key == f"{r['member']}/house"),
    ]
    answers = any(
        a["member"] == member and int(default["answers_due_ms"]) <= now_ms
        for default in books.table("defaults").values()
        for a in default["answers"]
    )
    dues += [porting for name, porting in books.table("portings").items() if name == set_id]
    is_late = any(int(one["due_ms"]) <= now_ms for one in dues)
    falls = stands.equity < stands.maintenance or set_id in books.table("liquidations")
    return falls or is_late or (answers and key.endswith("/house"))


def nothing_held(books: Books, set_id: str) -> None:
    """Nobody falls while money of its own waits to be sent (rulebook §8)."""
    held = [
        name
        for name, row in books.table("withdrawals").items()
        if row["state"] == "held" and books.holder(row["account"]) in books.accounts_of(set_id)
    ]
    require(not held, "an unsent hold is given back first", set_id, *held)


# ------------------------------------------------------------------------------------------- assignments


def price_off(books: Books, instrument: str, lots: int, discount_bp: int) -> int:
    """The mark less a discount for a long position, plus it for a short one, rounded against who gives it up; a long
    option is given away for nothing at worst.
    """
    mark, off = books.mark(instrument) * BP, books.width(instrument) * discount_bp
    return max(0, (mark - off) // BP) if lots > 0 else up(mark + off, BP)


def assigned(before: Books, line: Line, after: Books) -> None:
    """A provider takes lots at mark ∓ 1 %, within its capacity, and meets R with cash ≥ 0 afterwards."""
    key, provider = line.references
    ((_, instrument), amount) = next(
        (place, amount) for place, amount in line.moved().items() if place[0] == position(key)
    )
    price = price_off(before, instrument, amount, before.parameter("assignment_discount_bp"))
    legs = Legs(before.money)
    legs.pay(position(key), position(provider), amount, instrument)
    legs.pay(cash(provider), cash(key), before.price_of(instrument, amount, price))
    legs.require_moved(line)
    there = before.positions(key).get(instrument, 0)
    require(0 < amount <= there or 0 > amount >= there, "an assignment only closes", key, there, amount)
    _taker_stands(before, after, provider, abs(amount) * notional_of_lot(before, instrument))
    require(_is_closing(before, key), "only who is liquidated or in default is assigned", key)


def sold(before: Books, line: Line, after: Books) -> None:
    """Collateral goes to a provider for its market value less the discount, in an outage less its haircut too,
    rounded up.
    """
    key, provider = line.references
    ((_, asset), amount) = next(
        (place, amount) for place, amount in line.moved().items() if place[0] == collateral(key)
    )
    price = sale_price(before, asset, amount, before.parameter("assignment_discount_bp"))
    legs = Legs(before.money)
    legs.pay(collateral(key), collateral(provider), amount, asset)
    legs.pay(cash(provider), cash(key), price)
    legs.require_moved(line)
    _taker_stands(before, after, provider, price)
    owes = measured(before, before.set_of(key)).cash < 0 or key.endswith("/house")
    require(owes or _is_closing(before, key), "only who owes has collateral sold", key)


def sale_price(books: Books, asset: str, amount: int, discount_bp: int) -> int:
    """What collateral brings at a discount, in an outage less its haircut too, rounded up."""
    off = books.parameter("outage_haircut_bp") if books.single("outage") is not None else 0
    return up(market_value(books, asset, amount) * (BP - discount_bp) * (BP - off), BP * BP)


def _taker_stands(before: Books, after: Books, provider: str, taken: int) -> None:
    was, now = before.table("providers")[provider], after.table("providers")[provider]
    require(int(now["taken_minor"]) - int(was["taken_minor"]) == taken, "capacity is used", provider, taken)
    require(int(now["taken_minor"]) <= int(now["capacity_minor"]), "no more than the capacity", provider)
    stands = measured(after, after.set_of(provider))
    require(stands.is_sound, "a taker meets R and cash ≥ 0 afterwards", provider, stands)


def _is_closing(books: Books, key: str) -> bool:
    set_id, member = books.set_of(key), member_of(key)
    declared = {
        one["netting_set"]
        for default in books.table("defaults").values()
        if default["stage"] == "declared"
        for one in default["sets"]
    }
    failed = books.table("members")[member]["status"] == "defaulted" and key.endswith("/house")
    return set_id in books.table("liquidations") or set_id in declared or failed


def netted(before: Books, line: Line, after: Books) -> None:
    """Opposite positions of those that are being closed meet at S: who holds options of them is paid what they are
    worth, no other money moves, and nobody's position grows.
    """
    legs = Legs(before.money)
    for (path, instrument), amount in line.moved().items():
        key = holder(path, "position")
        if key is None:
            continue
        legs.sums[path, instrument] += amount
        legs.sums[cash(key), before.money] -= before.worth(instrument, amount)
        was, now = before.credit(path, instrument), after.credit(path, instrument)
        require(0 <= now < was or 0 >= now > was, "netting only closes", path, was, amount)
        require(_is_closing(before, key), "only who is liquidated or in default is netted", key)
    legs.require_moved(line)


# ----------------------------------------------------------------------------------------------- cycles


def accepted(before: Books, line: Line, after: Books) -> None:
    """Each mark is the median of the fresh observations near it, with a quorum left (rulebook §6)."""
    was, marks = before.prices, after.prices
    last = -1 if before.single("cycle") is None else int(before.single("cycle")["accepted_ms"])
    for feed, mark in marks.items():
        seen = [o for o in before.table("observations").values() if o["feed"] == feed]
        fresh = [
            int(o["price_ticks"])
            for o in seen
            if int(o["observed_ms"]) > last
            and line.at_ms - int(o["observed_ms"]) <= before.parameter("observation_validity_ms")
        ]
        twice = _median_twice(fresh)
        near = [p for p in fresh if abs(2 * p - twice) * BP <= before.parameter("outlier_bp") * twice]
        require(len(near) >= before.parameter("price_quorum"), "a mark needs its quorum", feed, near)
        low, odd = divmod(_median_twice(near), 2)
        median = low + 1 if odd and was.get(feed, 0) > low else low
        require(mark == median, "a mark is the median", feed, mark, median)
    require(not line.legs, "a snapshot moves nothing")
    resumed = outage_began_ms(before, line.at_ms) is None or before.resumed_ms == line.at_ms
    require(resumed and before.single("outage") is None, "no snapshot in an outage")
    needed = set(was) & _feeds_in_use(before, line.at_ms)
    require(needed <= set(marks), "a feed that has a mark keeps one", *sorted(needed - set(marks)))


def _feeds_in_use(books: Books, at_ms: int) -> set[str]:
    """An option that expires is worth its intrinsic value, which needs no volatility."""
    living = [row for row in books.table("instruments").values() if row["final_ticks"] is None]
    lasting = [row for row in living if row["option"] is not None and int(row["expires_ms"]) > at_ms]
    options = {row["option"]["volatility_feed"] for row in lasting}
    feeds = {row["feed"] for row in (*living, *books.table("assets").values()) if row["feed"] is not None}
    return feeds | options


def outage_began(before: Books, line: Line, after: Books) -> None:
    """An outage begins when the newest snapshot is too old, at that moment (rulebook §6)."""
    began = int(after.single("outage")["began_ms"])
    require(before.single("outage") is None, "there is one outage at a time", began)
    due = outage_began_ms(before, line.at_ms)
    require(began == due, "an outage begins when the marks are too old", began, due)


def watched(before: Books, line: Line, after: Books) -> None:
    """The quorum is fresh from the publication on that completes it."""
    was, now = before.single("outage"), after.single("outage")
    require(was["began_ms"] == now["began_ms"], "an outage keeps its beginning", was, now)
    since = int(now["fresh_since_ms"])
    require(since in (0, line.at_ms), "a quorum is fresh from now on, or not at all", since, line.at_ms)


def outage_ended(before: Books, line: Line, _: Books) -> None:
    """Normal work resumes when the quorum has been fresh for a minute."""
    since = int(before.single("outage")["fresh_since_ms"])
    fresh_ms = line.at_ms - since if since else 0
    require(fresh_ms >= before.parameter("resume_after_ms"), "the quorum was fresh for a minute", fresh_ms)
    everything = before.table("breakers").get("*")
    require(everything is None or not is_halted(everything), "nothing resumes under a halt")
    for key in (*before.table("calls"), *before.table("portings")):
        require(before.moved_ms[key] == line.at_ms, "an outage moves each open call", key)


def call_moved(before: Books, line: Line, _: Books) -> None:
    """The clock of a call stands still in an outage: its due time is moved by just as long (rulebook §6)."""
    ((key, row),) = line.changes("calls").items()
    call = before.table("calls")[key]
    stood = line.at_ms - max(int(before.single("outage")["began_ms"]), int(call["issued_ms"]))
    due = int(call["due_ms"]) + stood
    require(row == {**call, "due_ms": str(due)}, "a call is moved by the length of the outage", key, row, due)


def _median_twice(prices: list[int]) -> int:
    ordered = sorted(prices)
    return ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]


def shared(before: Books, line: Line, _: Books) -> None:
    """The fund's share of the fees since the last cycle, rounded down (rulebook §3)."""
    received = before.credit("house/fees") - int(before.single("cycle")["fees_kept_minor"])
    legs = Legs(before.money)
    legs.pay("house/fees", "house/insurance_fund", received * before.parameter("fee_share_bp") // BP)
    legs.require_moved(line)


def cycle_closed(before: Books, after: Books, standing: dict[str, Measure]) -> None:
    """Every set is measured once VM is settled: short ones are called, liquidated, or in default (§7, §8)."""
    defaults = before.table("defaults").values()
    in_default = {one["netting_set"] for d in defaults for one in d["sets"]}
    waiting = {one["netting_set"] for d in defaults if d["stage"] == "declared" for one in d["sets"]}
    short = []
    for set_id, stands in standing.items():
        if stands.equity < stands.requirement:
            short.append(set_id)
        if stands.equity < 0:
            require(set_id in in_default, "who is bankrupt is declared", set_id, stands)
        if stands.equity < 0 or set_id in waiting:
            continue
        if stands.equity < stands.maintenance:
            require(set_id in before.table("liquidations"), "below M is liquidated", set_id, stands)
        else:
            _called(before, f"margin/{set_id}", max(0, stands.requirement - stands.equity))
        _called(before, f"cash/{set_id}", max(0, -stands.cash))
    require(after.single("cycle")["short"] == short, "short is who misses R", short)
    kept = int(after.single("cycle")["fees_kept_minor"])
    require(kept == after.credit("house/fees"), "fees are shared from here", kept)


def _called(books: Books, key: str, missing: int) -> None:
    call = books.table("calls").get(key)
    asked = 0 if call is None else int(call["amount_minor"])
    require(asked == missing, "a call asks for what is missing", key, asked, missing)


def called(before: Books, line: Line, after: Books) -> None:
    """A call's amount follows the shortfall, its due time never moves, its parts sum to it (rulebook §10.1)."""
    ((key, call),) = line.changes("calls").items()
    standing = before.table("calls").get(key)
    _called(after, key, _missing(after, key))
    require((standing is None) == (line.kind == "CALL_ISSUED"), "a call is issued once", key)
    issued = line.at_ms if standing is None else int(standing["issued_ms"])
    due = issued + before.parameter("call_ms") if standing is None else int(standing["due_ms"])
    require((int(call["issued_ms"]), int(call["due_ms"])) == (issued, due), "a due time never moves", key)
    weights: Counter[str] = Counter()
    for account in before.accounts_of(call["netting_set"]):
        alone = required(before, maintenance(before, before.positions(account)))
        weights[account.split("/")[0]] += alone
    if not any(weights.values()):
        weights = Counter(dict.fromkeys(weights, 1))
    parts = {p["member"]: int(p["amount_minor"]) for p in call["parts"] if int(p["amount_minor"])}
    split = shares(int(call["amount_minor"]), weights, key)
    require(parts == split, "a call is split by what each would need alone", key, parts, split)


def _missing(books: Books, key: str) -> int:
    kind, _, set_id = key.partition("/")
    stands = measured(books, set_id)
    return max(0, stands.requirement - stands.equity if kind == "margin" else -stands.cash)


def met(before: Books, line: Line, _: Books) -> None:
    """A call is met when nothing is missing."""
    (key,) = line.changes("calls")
    require(_missing(before, key) == 0, "a call is met when nothing is missing", key, _missing(before, key))


def expired(before: Books, line: Line, _: Books) -> None:
    """A call expires at its due time, not before."""
    (key,) = line.changes("calls")
    require(int(before.table("calls")[key]["due_ms"]) <= line.at_ms, "a call has its hour", key)
    require(outage_began_ms(before, line.at_ms) is None, "in an outage no call expires", key)


# ----------------------------------------------------------------------------------------------- liquidation


def opened(before: Books, line: Line, _: Books) -> None:
    """A liquidation opens below M, or when a margin call has expired and R is still missed (rulebook §10.2)."""
    ((set_id, row),) = line.changes("liquidations").items()
    stands = measured(before, set_id)
    require(stands.equity < stands.requirement, "who meets R is not liquidated", set_id, stands)
    noted = int(row["requirement_at_open_minor"])
    require(noted == stands.requirement, "R at the opening is written down", noted, stands.requirement)
    nothing_held(before, set_id)


def stepped(before: Books, line: Line, _: Books) -> None:
    """A step has its minute, and counts what was closed."""
    ((set_id, row),) = line.changes("liquidations").items()
    due = int(before.table("liquidations")[set_id]["next_step_ms"])
    require(due <= line.at_ms, "a step every minute", set_id, due, line.at_ms)
    require(outage_began_ms(before, line.at_ms) is None, "in an outage nothing is liquidated", set_id)
    following = line.at_ms + before.parameter("liquidation_step_ms")
    require(int(row["next_step_ms"]) == following, "the next step is a minute later", set_id)
    counted = int(row["notional_closed_minor"])
    require(counted == before.placed[set_id], "a step counts what was closed", set_id, counted)


def closed(before: Books, line: Line, _: Books) -> None:
    """The penalty: the smallest of the rulebook's three, within the cash, to the insurance fund (§10.2)."""
    (set_id,) = line.changes("liquidations")
    row: Any = before.table("liquidations")[set_id]
    stands = measured(before, set_id)
    enough = stands.equity * BP >= stands.requirement * before.parameter("liquidation_stop_bp")
    require(enough, "a liquidation goes on until equity ≥ 1.02 R", set_id, stands)
    released = max(0, int(row["requirement_at_open_minor"]) - stands.requirement)
    by_notional = int(row["notional_closed_minor"]) * before.parameter("penalty_notional_bp") // BP
    by_release = released * before.parameter("penalty_released_bp") // BP
    left = max(0, min(by_notional, by_release, stands.equity, stands.cash))
    legs = Legs(before.money)
    for key in before.accounts_of(set_id):
        part = min(left, max(0, before.cash(key)))
        legs.pay(cash(key), "house/insurance_fund", part)
        left -= part
    legs.require_moved(line)
