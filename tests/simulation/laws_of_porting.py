"""Clients of a member in default move to another member, whole, or are closed out after a day (rulebook §10.4)."""

from tests.simulation.books import Books, Legs, Line, cash, collateral, member_of, position, require
from tests.simulation.measure import measured, open_events


def opened(before: Books, line: Line, _: Books) -> None:
    """Offered for a day, from the first default of a member in the set on."""
    ((set_id, row),) = line.changes("portings").items()
    standing = before.table("portings").get(set_id)
    due = line.at_ms + before.parameter("porting_ms") if standing is None else int(standing["due_ms"])
    require(int(row["due_ms"]) == due, "a porting has its day", set_id, row["due_ms"], due)
    failed = [before.table("members")[member]["status"] == "defaulted" for member in row["members"]]
    require(all(failed), "only a failed member's clients are offered", set_id, *row["members"])
    own = {member_of(key) for key in before.accounts_of(set_id)}
    require(set(row["members"]) <= own, "a client is offered where it was", set_id, *sorted(own))


def moved(before: Books, line: Line, _: Books) -> None:
    """The clock of a porting stands still in an outage."""
    ((set_id, row),) = line.changes("portings").items()
    porting = before.table("portings")[set_id]
    stood = line.at_ms - max(int(before.single("outage")["began_ms"]), int(porting["opened_ms"]))
    due = int(porting["due_ms"]) + stood
    later = {**porting, "due_ms": str(due)}
    require(row == later, "a porting is moved by the length of the outage", set_id, row, due)


def ported(before: Books, line: Line, after: Books) -> None:
    """All that the set has at the failed members goes to one account of who accepted, and no money besides; the set
    meets R before and after.
    """
    set_id, target = line.references
    porting = before.table("portings").get(set_id)
    require(porting is not None, "only what is offered is ported", set_id)
    accepted = f"{line.command['member']}/{line.command['account']}"
    require(target == accepted, "a client goes to who accepts it", target, accepted)
    status = before.table("members")[member_of(target)]["status"]
    require(status == "active", "only an active member takes a client", target, status)
    require(line.at_ms < int(before.table("portings")[set_id]["due_ms"]), "a porting has its day", set_id)
    leaving = [
        k for k in before.accounts_of(set_id) if member_of(k) in before.table("portings")[set_id]["members"]
    ]
    _goes_whole(before, line, leaving, target)
    staying = [key for key in before.accounts_of(set_id) if key not in leaving]
    taker = {member_of(key) for key in staying} or {member_of(target)}
    require(member_of(target) in taker, "the legs of a link go to who is left in it", set_id, target)
    new = after.accounts_of(after.set_of(target))
    require(new == sorted({*staying, target}), "who moves stays one portfolio", set_id, *new)
    who = {after.table("accounts")[key]["participant"] for key in (*leaving, target)}
    require(len(who) == 1, "a client stays whose it is", set_id, *sorted(who))
    for stands in (measured(before, set_id), measured(after, after.set_of(target))):
        require(stands.equity >= stands.requirement, "only a healthy set is ported", set_id, stands)
    called = any(call["netting_set"] == set_id for call in before.table("calls").values())
    busy = called or set_id in before.table("liquidations") or any(open_events(before))
    require(not busy, "nothing is open of what is ported", set_id)


def _goes_whole(before: Books, line: Line, leaving: list[str], target: str) -> None:
    legs = Legs(before.money)
    for key in leaving:
        for instrument, lots in before.positions(key).items():
            legs.pay(position(key), position(target), lots, instrument)
        legs.pay(cash(key), cash(target), before.cash(key))
        for asset in before.table("assets"):
            if asset != before.money:
                legs.pay(collateral(key), collateral(target), before.credit(collateral(key), asset), asset)
    legs.require_moved(line)
