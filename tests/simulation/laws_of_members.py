"""Who takes part and who decides (rulebook §2, §3, §11.7, §13): two administrators, the life of a member, links undone,
and losses that are nobody's default.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.simulation.books import Books, Legs, Line, cash, collateral, member_of, require
from tests.simulation.laws_of_default import bears_losses, business_days
from tests.simulation.measure import measured_together, open_events


def _asked(before: Books, line: Line) -> Any:
    """The command that a line comes of; of an approval, the command that was proposed."""
    if line.command["type"] != "ApproveProposal":
        return line.command
    return json.loads(before.table("change_proposals")[line.command["proposal"]]["body"])


def takes_two(before: Books, line: Line, _: Books) -> None:
    """Once the house works, it is changed by a proposal that another administrator approved."""
    is_setup = before.single("cycle") is None
    require(
        is_setup or line.command["type"] == "ApproveProposal", "a change takes two administrators", line.kind
    )


def grouped(before: Books, line: Line, after: Books) -> None:
    """Whom a member is counted with is decided by two, and changes nothing else of it."""
    takes_two(before, line, after)
    ((member, row),) = line.changes("members").items()
    asked = _asked(before, line)
    wanted = {**before.table("members")[member], "group": asked["group"]}
    require(member == asked["member"] and row == wanted, "a member is grouped as it was asked", member, row)


def approved(before: Books, line: Line, _: Books) -> None:
    """By another administrator, once, in time."""
    rows = [*line.changes("change_proposals").items(), *line.changes("parameter_proposals").items()]
    ((name, row),) = rows
    first = before.table("change_proposals").get(name) or before.table("parameter_proposals")[name]
    two = row["approved_by"] not in ("", first["proposed_by"])
    require(two, "a change takes two administrators", name, first["proposed_by"], row["approved_by"])
    require(first["state"] == "open", "a proposal is approved once", name, first["state"])
    require(line.at_ms < int(first["expires_ms"]), "an approval comes in time", name)


def parameters_changed(before: Books, line: Line, after: Books) -> None:
    """What was approved comes into force, after its delay, and never while a loss is divided."""
    ((name, _row),) = line.changes("parameter_proposals").items()
    proposal, was, now = (
        before.table("parameter_proposals")[name],
        before.single("charter"),
        after.single("charter"),
    )
    require(proposal["state"] == "approved", "what comes into force was approved", name, proposal["state"])
    require(int(proposal["effective_ms"]) <= line.at_ms, "a change has its delay", name, line.at_ms)
    require(now["parameters"] == proposal["parameters"], "what was approved comes into force", name)
    version = int(was["parameters_version"])
    require(int(proposal["base_version"]) == version, "a change is of what is in force", name, version)
    require(int(now["parameters_version"]) == version + 1, "each change is a version", name)
    require(not any(open_events(before)), "nothing changes by which a loss is divided", name)


def left(before: Books, line: Line, _: Books) -> None:
    """Who leaves has nothing open, and no client's money."""
    ((member, _row),) = line.changes("members").items()
    bonds = list(_bonds(before, member))
    require(not bonds, "who leaves has nothing open", member, *bonds)


def _bonds(books: Books, member: str) -> Iterator[str]:
    for key, row in books.table("accounts").items():
        if row["member"] != member:
            continue
        if books.positions(key) or len(books.accounts_of(books.set_of(key))) > 1 or books.cash(key) < 0:
            yield key
        has = [books.cash(key), *(books.credit(collateral(key), a) for a in books.table("assets"))]
        if row["kind"] == "client" and any(has):
            yield f"money of {key}"
        if any(call["netting_set"] == books.set_of(key) for call in books.table("calls").values()):
            yield f"a call on {key}"
    for row in books.table("withdrawals").values():
        if member_of(row["account"]) == member and row["state"] in ("held", "sent"):
            yield f"the withdrawal {row['id']}"
    yield from (key for key in books.table("halves") if member_of(key) == member)
    for table in ("assessments", "replenishments"):
        yield from (key for key, due in books.table(table).items() if due["member"] == member)
    for default in open_events(books):
        weighed = {w["member"] for one in default["sets"] for w in one["weights"]}
        owes = {a["member"] for a in default["answers"]}
        if member in (owes if default["stage"] == "answering" else weighed):
            yield f"an answer to {default['id']}"


def released(before: Books, line: Line, after: Books) -> None:
    """Its contribution goes back to who left, whole and once, when it is liable no longer."""
    ((member, row),) = line.changes("members").items()
    require(row["status"] == "left", "who is released has left", member, row["status"])
    require(not bears_losses(before, member, line.at_ms), "who leaves stays liable", member)
    owed = [due for due in before.table("assessments").values() if due["member"] == member]
    require(not owed, "who is released has paid", member, *owed)
    legs = Legs(before.money)
    legs.pay(f"members/{member}/pool", cash(f"{member}/house"), before.credit(f"members/{member}/pool"))
    legs.require_moved(line)
    require(int(row["required_contribution_minor"]) == 0, "nothing more is required of it", member)


def noticed(before: Books, line: Line, _: Books) -> None:
    """A notice runs for a business day, and says what each part will lack alone (rulebook §2)."""
    ((set_id, notice),) = line.changes("unlinkings").items()
    due = business_days(line.at_ms, before.parameter("unlink_business_days"))
    require(int(notice["due_ms"]) == due, "a notice has its day", set_id, notice["due_ms"], due)
    alone = {key: measured_together(before, [key]) for key in before.accounts_of(set_id)}
    lacking = {key: max(0, one.requirement - one.equity) for key, one in alone.items()}
    told = {part["account"]: int(part["short_minor"]) for part in notice["parts"]}
    require(told == lacking, "each part is told what it lacks alone", set_id, told, lacking)


def unlinked(before: Books, line: Line, after: Books) -> None:
    """Each account stands alone after a business day's notice, when nothing is open for all of them."""
    gone = [set_id for set_id, row in line.changes("netting_sets").items() if row is None]
    for set_id in gone:
        notice = before.table("unlinkings").get(set_id)
        require(notice is not None and int(notice["due_ms"]) <= line.at_ms, "a notice has its day", set_id)
        called = [k for k, call in before.table("calls").items() if call["netting_set"] == set_id]
        waits = set_id in before.table("portings") or set_id in before.table("liquidations")
        busy = called or waits or any(open_events(before))
        require(not busy, "nothing is open of what is unlinked", set_id)
        alone = [after.accounts_of(after.set_of(key)) for key in before.accounts_of(set_id)]
        require(alone == [[key] for key in before.accounts_of(set_id)], "each stands alone", set_id, alone)


def lost(before: Books, line: Line, after: Books) -> None:
    """What custody lost is missing of its asset, and of nothing else (rulebook §3)."""
    takes_two(before, line, after)
    asked = _asked(before, line)
    legs = Legs(asked["asset"])
    legs.pay("house/non_default_losses", "custody", int(asked["amount_minor"]))
    legs.require_moved(line)


def borne(before: Books, line: Line, _: Books) -> None:
    """Capital bears it, as far as it goes; no tier, and nobody's money but the house's."""
    missing = before.debit("house/non_default_losses")
    legs = Legs(before.money)
    legs.pay("house/capital", "house/non_default_losses", min(missing, before.credit("house/capital")))
    legs.require_moved(line)


def replaced(before: Books, line: Line, _: Books) -> None:
    """What is brought back makes good what is missing, at most."""
    asset, amount = line.command["asset"], int(line.command["amount_minor"])
    require(
        amount <= before.debit("house/non_default_losses", asset), "no more than is missing", asset, amount
    )
    legs = Legs(asset)
    legs.pay("custody", "house/non_default_losses", amount)
    legs.require_moved(line)


def losses_agree(books: Books) -> None:
    """What is missing has a row, and capital has paid what it can."""
    missing = {asset for asset in books.table("assets") if books.debit("house/non_default_losses", asset)}
    known = books.table("non_default_losses").keys()
    require(missing == known, "what is missing is on record", *sorted(missing ^ known))
    unpaid = min(books.debit("house/non_default_losses"), books.credit("house/capital"))
    require(unpaid <= 0, "capital pays at once what it can", unpaid)
