"""``clearctl trade``: trades that were cleared, halves that wait, and trades from a file."""

import csv
import json
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import ParseDict, ParseError
from rich.text import Text

from clearctl import names
from clearctl.amounts import account_name, grouped, own_name, when, word
from clearctl.asked import REFUSED, WRONG_USE, Limit, Mine, OneMember, asked_in, noun, stop
from clearctl.connecting import connected, own_member, send
from clearctl.tables import Column, account, amount, listing, name, text, time
from clearctl.writing import write, write_facts, write_rows
from clearing_client.client import new_id, pages
from clearinghouse.v1 import trade_service_pb2 as pb

app = noun("Trades: submit them from a file, and see what became of them.")

BATCH = 1_000
REQUIRED = ("instrument", "buyer", "seller", "size", "price")
COLUMNS = (*REQUIRED, "trade_id", "execute_time", "trade_ref", "group")
TERMS = (
    name("instrument"),
    account("buyer"),
    account("seller"),
    amount("size"),
    amount("price"),
    time("executed", "execute_time"),
)
TRADES = (account("trade", "name"), *TERMS)
HALVES = (account("trade"), *TERMS, account("waits for", "awaited_member"), time("until", "expire_time"))
_STYLES = {pb.TRADE_STATUS_REFUSED: "red", pb.TRADE_STATUS_WAITING: "yellow"}
RESULTS = (
    name("trade"),
    Column("status", lambda row: Text(word(row, "status"), style=_STYLES.get(row.status, "green"))),
    text("reason"),
    text("message"),
)


@app.command()
def submit(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Trades as .csv or .json.", metavar="FILE", exists=True)],
    member: Mine = None,
) -> None:
    """Submit the trades of a file: each is novated, waits for its other half, or is refused with a reason.

    A CSV file has the columns instrument, buyer, seller, size, price, and if you like trade_id, execute_time,
    trade_ref, group. A JSON file is an array of the same, or of NewTrade. Accounts may be written alpha/one.
    Ends with 1 if any trade was refused. With trade_id and execute_time in the file it can be sent again:
    nothing is cleared twice.

    Example: clearctl trade submit trades.csv
    """
    trades = [_trade(number, row) for number, row in enumerate(_rows(file), start=1)]
    with connected(context) as client:
        results: list[pb.TradeResult] = []
        own = own_member(context, member)
        if len(trades) > BATCH and asked_in(context).request_id:
            stop(f"one request has {BATCH} trades at most: split the file", WRONG_USE)
        for start in range(0, len(trades), BATCH):
            request = pb.SubmitTradesRequest(parent=own, trades=trades[start : start + BATCH])
            results.extend(send(context, client.trades.SubmitTrades, request).results)
        refused = sum(result.status == pb.TRADE_STATUS_REFUSED for result in results)
        told = f"{len(results) - refused:,} taken, {refused:,} refused"
        write(context, results, lambda: [listing("Trades", results, RESULTS), told])
    raise typer.Exit(REFUSED if refused else 0)


@app.command("list")
def list_trades(context: typer.Context, member: OneMember = None, limit: Limit = 100) -> None:
    """List trades that were cleared.

    Example: clearctl trade list --member alpha --limit 20
    """
    with connected(context) as client:
        request = pb.ListTradesRequest(parent=names.parent(member), page_size=limit)
        every = (one for page in pages(client.trades.ListTrades, request) for one in page.trades)
        found = list(islice(every, limit or None))
        write_rows(context, found, "Trades", TRADES, "There is no trade.")


@app.command()
def show(
    context: typer.Context,
    trade: Annotated[str, typer.Argument(help="Such as alpha/t1.", metavar="MEMBER/TRADE")],
) -> None:
    """Show one trade.

    Example: clearctl trade show alpha/t1
    """
    with connected(context) as client:
        found = client.trades.GetTrade(pb.GetTradeRequest(name=names.trade(trade))).trade
        rows = [
            ("Instrument", own_name(found.instrument)),
            ("Buyer", account_name(found.buyer)),
            ("Seller", account_name(found.seller)),
            ("Size", grouped(found.size)),
            ("Price", grouped(found.price)),
            ("Executed", when(found.execute_time)),
            ("Reference", found.trade_ref or "none"),
        ]
        write_facts(context, found, rows)


@app.command()
def halves(context: typer.Context, member: OneMember = None) -> None:
    """List halves of trades that wait for the other member to submit the same.

    Example: clearctl trade halves
    """
    with connected(context) as client:
        request = pb.ListHalvesRequest(parent=names.parent(member))
        found = [one for page in pages(client.trades.ListHalves, request) for one in page.halves]
        write_rows(context, found, "Halves", HALVES, "No half is waiting.")


def _rows(file: Path) -> list[dict[str, Any]]:
    try:
        if file.suffix == ".json":
            rows = json.loads(file.read_text(encoding="utf-8"))
        else:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                rows = [{k: v for k, v in row.items() if v} for row in csv.DictReader(lines)]
    except (OSError, ValueError) as error:
        stop(f"{file} cannot be read: {error}", WRONG_USE)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        stop(f"{file} has no trades: a .csv with a head, or a .json array", WRONG_USE)
    return rows


def _trade(number: int, row: dict[str, Any]) -> pb.NewTrade:
    """A trade of the file; what it leaves out is made."""
    try:
        trade = ParseDict(row, pb.NewTrade())
    except ParseError as error:
        stop(f"trade {number}: {error}; the columns are {', '.join(COLUMNS)}", WRONG_USE)
    missing = [column for column in REQUIRED if not getattr(trade, column)]
    if missing:
        stop(f"trade {number}: {', '.join(missing)} is missing", WRONG_USE)
    trade.trade_id = trade.trade_id or new_id()
    trade.instrument = names.instrument(trade.instrument)
    trade.buyer, trade.seller = names.account(trade.buyer), names.account(trade.seller)
    if not trade.HasField("execute_time"):
        trade.execute_time.FromDatetime(datetime.now(UTC))
    return trade
