"""``clearctl ledger``: the journal: entries, statements, receipts, checkpoints, proofs."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from clearctl.amounts import grouped, own_name, when
from clearctl.asked import WRONG_USE, Limit, noun, stop
from clearctl.connecting import connected
from clearctl.tables import Column, amount, facts, listing, number, text, time
from clearctl.writing import write, write_done, write_rows
from clearing_client.client import Client, pages
from clearinghouse.v1 import ledger_service_pb2 as pb

app = noun("The ledger: what was recorded, statements of accounts, and proofs that `clearctl verify` checks.")

Entry = Annotated[str, typer.Argument(help="Its number, such as 17.", metavar="ENTRY")]
Path_ = Annotated[
    str, typer.Argument(help="Such as members/alpha/accounts/one/cash.", metavar="LEDGER_ACCOUNT")
]
Unit = Annotated[str, typer.Argument(help="What it counts, such as USDC or BTC-PERP.", metavar="UNIT")]
AsOf = Annotated[int, typer.Option(min=0, help="After the first N entries; 0 for now.", metavar="N")]
From = Annotated[int, typer.Option("--from", min=0, help="From this entry on.", metavar="N")]
Size = Annotated[int, typer.Option(min=0, help="In the tree of N entries; 0 for the newest.", metavar="N")]
Out = Annotated[Path | None, typer.Option(help="Write it here, not to the terminal.", metavar="FILE")]

REFERENCE_SHOWN = 24


def _short(reference: str) -> str:
    return reference if len(reference) <= REFERENCE_SHOWN else f"{reference[:REFERENCE_SHOWN]}…"


ENTRIES = (
    number("entry", "sequence"),
    time("time", "time"),
    text("kind"),
    number("legs", "leg_count"),
    text("actor"),
    Column("of", lambda row: ", ".join(map(_short, row.references))),
)
LEGS = (text("account", "ledger_account"), text("unit"), amount("amount"))
LINES = (
    number("entry", "sequence"),
    time("time", "time"),
    text("kind"),
    amount("amount"),
    amount("balance"),
)
BALANCE = (text("unit"), amount("debits"), amount("credits"))


@app.command()
def entry(context: typer.Context, entry: Entry) -> None:
    """Show one entry with its legs, as far as you may see them.

    Example: clearctl ledger entry 17
    """
    with connected(context) as client:
        found = client.ledger.GetEntry(pb.GetEntryRequest(name=_entry(entry))).entry
        rows = [
            ("Entry", f"{found.sequence}, {found.kind}"),
            ("Recorded", when(found.time)),
            ("Actor", found.actor),
            ("Id", found.entry_id.hex()),
            ("Of", ", ".join(found.references)),
        ]
        title = f"Legs, {len(found.legs)} of {found.leg_count}"
        write(context, found, lambda: [facts(rows), listing(title, found.legs, LEGS)])


@app.command()
def entries(
    context: typer.Context,
    from_sequence: From = 0,
    kind: Annotated[list[str] | None, typer.Option(help="Only of this kind.", metavar="KIND")] = None,
    limit: Limit = 100,
) -> None:
    """List entries in order.

    Example: clearctl ledger entries --from 100 --kind TRADE_NOVATED
    """
    with connected(context) as client:
        request = pb.ListEntriesRequest(from_sequence=from_sequence, kinds=kind or [], page_size=limit)
        every = (one for page in pages(client.ledger.ListEntries, request) for one in page.entries)
        write_rows(context, list(islice(every, limit or None)), "Entries", ENTRIES, "There is no entry.")


@app.command()
def statement(
    context: typer.Context, account: Path_, unit: Unit, from_sequence: From = 0, as_of: AsOf = 0
) -> None:
    """Show what moved on one account of the ledger, with the balance after each line.

    Example: clearctl ledger statement members/alpha/accounts/one/cash USDC
    """
    request = pb.GetStatementRequest(
        ledger_account=account, unit=unit, from_sequence=from_sequence, as_of=as_of
    )
    with connected(context) as client:
        found = list(pages(client.ledger.GetStatement, request))
        lines = [line for page in found for line in page.lines]
        first, last = found[0], found[-1]
        answer = {
            "openingBalance": first.opening_balance,
            "lines": lines,
            "closingBalance": last.closing_balance,
            "asOf": str(last.as_of),
        }
        title = f"{account} {unit}, after {last.as_of:,} entries"
        ends = facts(
            [("Opening", grouped(first.opening_balance)), ("Closing", grouped(last.closing_balance))]
        )
        write(context, answer, lambda: [listing(title, lines, LINES), ends])


@app.command("trial-balance")
def trial_balance(context: typer.Context, as_of: AsOf = 0) -> None:
    """Show that debits and credits of every unit are the same. For administrators and regulators.

    Example: clearctl ledger trial-balance
    """
    with connected(context) as client:
        found = client.ledger.GetTrialBalance(pb.GetTrialBalanceRequest(as_of=as_of))
        title = f"Trial balance after {found.as_of:,} entries"
        write(context, found, lambda: [listing(title, found.lines, BALANCE)])


@app.command()
def receipt(
    context: typer.Context,
    entry: Entry,
    account: Annotated[
        str, typer.Option(help="Also the legs of this account, which must be yours.", metavar="PATH:UNIT")
    ] = "",
    out: Out = None,
) -> None:
    """Get the receipt of an entry: with it you prove later, without the house, that it was recorded.

    Example: clearctl ledger receipt 17 --account members/alpha/accounts/one/cash:USDC --out my.receipt
    """
    path, colon, unit = account.rpartition(":")
    if account and not colon:
        raise typer.BadParameter("write PATH:UNIT", param_hint="--account")
    with connected(context) as client:
        request = pb.GetReceiptRequest(name=_entry(entry), ledger_account=path, unit=unit)
        _kept(context, "receipt", client.ledger.GetReceipt(request).receipt.decode(), out)


@app.command()
def checkpoint(context: typer.Context, out: Out = None) -> None:
    """Get the newest signed checkpoint. Keep some: with them `clearctl verify --seen` finds a changed history.

    Example: clearctl ledger checkpoint --out checkpoint-of-may
    """
    with connected(context) as client:
        found = client.ledger.GetCheckpoint(pb.GetCheckpointRequest())
        _kept(context, "checkpoint", found.checkpoint.decode(), out)


@app.command()
def proof(
    context: typer.Context,
    entry: Annotated[
        int | None, typer.Argument(min=0, help="That this entry is in it.", metavar="ENTRY")
    ] = None,
    old_size: Annotated[
        int, typer.Option("--since", min=0, help="That it goes on from the tree of N entries.", metavar="N")
    ] = 0,
    size: Size = 0,
) -> None:
    """Get the path of hashes that proves an entry to be in the log, or the log to go on from an older one.

    Example: clearctl ledger proof 17

    Example: clearctl ledger proof --since 100
    """
    if (entry is None) == (old_size == 0):
        stop("say which: an ENTRY, or --since N", WRONG_USE)
    with connected(context) as client:
        found, rows = (
            _inclusion(client, entry, size) if entry is not None else _consistency(client, old_size, size)
        )
        path = [("Path", digest.hex()) for digest in found.path]
        write(context, found, lambda: [facts([*rows, *path])])


def _inclusion(client: Client, index: int, size: int) -> tuple[Any, Iterable[tuple[str, str]]]:
    found = client.ledger.GetInclusionProof(pb.GetInclusionProofRequest(index=index, size=size))
    return found, [
        ("Entry", f"{found.index} in the tree of {found.size}"),
        ("Leaf", found.leaf.hex()),
        ("Root", found.root.hex()),
    ]


def _consistency(client: Client, old: int, new: int) -> tuple[Any, Iterable[tuple[str, str]]]:
    found = client.ledger.GetConsistencyProof(pb.GetConsistencyProofRequest(old_size=old, new_size=new))
    return found, [
        ("Trees", f"{found.old_size} and {found.new_size} entries"),
        ("Old root", found.old_root.hex()),
        ("New root", found.new_root.hex()),
    ]


def _kept(context: typer.Context, what: str, found: str, out: Path | None) -> None:
    """Written to ``out``, or shown as it is."""
    if out is None:
        write(context, {what: found}, lambda: [found.rstrip("\n")])
        return
    try:
        out.write_text(found, encoding="utf-8")
    except OSError as error:
        stop(f"{out} cannot be written: {error.strerror}", WRONG_USE)
    write_done(context, {what: found}, f"Written to {out}.")


def _entry(text: str) -> str:
    return f"entries/{own_name(text)}"
