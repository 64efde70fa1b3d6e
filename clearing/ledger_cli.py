"""``clearing ledger``: the ledger alone, on any database, for whoever needs double entry and no house."""

# ruff: noqa: PLC0415  # each command imports what it needs, so that --help and completion are fast

import contextlib
import json
import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from ledger.account import Account, AccountId
    from ledger.batch import Batch, Result
    from ledger.store.connect import Database, Snapshot
    from ledger.store.history import Line, Standing, Statement
    from ledger.store.ledger import Ledger
    from ledger.store.tile_files import Sign

REFUSED = 1

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Keep books: a double-entry ledger for any unit, whose journal anyone can check.

    [bold]clearing ledger open mint USD --side debit[/bold]

    [bold]clearing ledger open clients/alice USD --limit debits_must_not_exceed_credits[/bold]

    [bold]clearing ledger post mint clients/alice 100 USD[/bold]

    [bold]clearing ledger accounts[/bold]

    [bold]clearing ledger verify[/bold]

    Amounts count smallest units. The database is --database, else CLEARING_DATABASE, else
    sqlite:///ledger.db; its tables are made when they are missing.
    """,
)

Url = Annotated[
    str,
    typer.Option(
        "--database",
        help="Where the journal is: sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
        metavar="URL",
        envvar="CLEARING_DATABASE",
    ),
]
Path_ = Annotated[str, typer.Argument(help="Such as clients/alice: a-z 0-9 . _ - between slashes.")]
Unit = Annotated[str, typer.Argument(help="Such as USD or BTC-PERP.")]
Log = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the public log.",
        show_default="beside a SQLite file; with PostgreSQL it must be given",
    ),
]
Anchor = Annotated[
    Path | None,
    typer.Option(
        help="Remembers what was signed, so that nobody goes on from an old backup.",
        show_default="beside a SQLite file; with PostgreSQL it must be given",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, for programs.")]
AsOf = Annotated[
    int | None,
    typer.Option(help="After the first N entries, instead of all of them.", metavar="N", min=0),
]
RequestId = Annotated[
    str | None,
    typer.Option(
        help="Sent again with the same id, the command is answered as before and done once.",
        show_default="a fresh one",
    ),
]
DEFAULT_URL = "sqlite:///ledger.db"


# ------------------------------------------------------------------------------------------------------ writing


@app.command("open")
def open_account(
    path: Path_,
    unit: Unit,
    side: Annotated[str, typer.Option(help="Where its balance normally stands: debit or credit.")] = "credit",
    limit: Annotated[
        str,
        typer.Option(
            help="none, debits_must_not_exceed_credits or credits_must_not_exceed_debits.", metavar="LIMIT"
        ),
    ] = "none",
    request_id: RequestId = None,
    database: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Open an account. It exists from the entry that this command records.

    Example: clearing ledger open clients/alice USD --limit debits_must_not_exceed_credits
    """
    from ledger.account import Account, Limit, Side
    from ledger.entry import Entry

    with _refusing(), _ledger(database) as (ledger, _):
        account = Account(path, unit, Side(side), Limit(limit))
        request = request_id or _fresh_id()
        opening = Entry(entry_id=_entry_id(request), kind=1, effective_ms=0, opens=(account,))
        _report(ledger.post(_batch((opening,), request)), as_json)


@app.command()
def post(
    debit: Annotated[str | None, typer.Argument(help="Path of the account to debit.")] = None,
    credit: Annotated[str | None, typer.Argument(help="Path of the account to credit.")] = None,
    amount: Annotated[int | None, typer.Argument(help="Smallest units.")] = None,
    unit: Annotated[str | None, typer.Argument(help="Unit of both accounts.")] = None,
    file: Annotated[
        typer.FileText | None,
        typer.Option(help="Post the items of this file, one JSON object a line; - reads them from stdin."),
    ] = None,
    request_id: RequestId = None,
    database: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Post a transfer, or a batch of entries, holds and reversals from a file.

    Prints a result for each item: POSTED or EXISTS with the number of its entry, or why it was refused. Exit
    code 1 if any was refused. The lines of a file are described in docs/ledger.md.

    Example: clearing ledger post mint clients/alice 100 USD
    """
    from clearing.ledger_lines import read_batch

    request = request_id or _fresh_id()
    if file is None:
        named = {"debit": debit, "credit": credit, "amount": amount, "unit": unit}
        missing = [name.upper() for name, value in named.items() if value is None]
        if missing:
            raise typer.BadParameter(f"give {' '.join(missing)}, or --file", param_hint="post")
        line = {**named, "amount": str(amount), "id": _entry_id(request).hex()}
        lines: Iterable[str] = [json.dumps(line)]
    else:
        lines = file
    with _refusing(), _ledger(database) as (ledger, _):
        batch = read_batch(lines, ledger.view.state, request_id=request, actor=_actor())
        _report(ledger.post(batch), as_json)


def _batch(items: tuple[Any, ...], request_id: str) -> "Batch":
    from ledger.batch import Batch

    return Batch(items=items, request_id=request_id, actor=_actor())


def _fresh_id() -> str:
    return str(uuid.uuid4())


def _entry_id(request_id: str) -> bytes:
    """The first 16 bytes of SHA-256 of the request id: sent again, it is the same entry."""
    import hashlib

    return hashlib.sha256(request_id.encode()).digest()[:16]


def _actor() -> str:
    return "clearing ledger"


def _report(results: "tuple[Result, ...]", as_json: bool) -> None:
    """Print what became of each item; exit code 1 if one was refused."""
    rows = [(r.word, None if r.refusal else r.sequence) for r in results]
    if as_json:
        typer.echo(json.dumps([{"result": word, "sequence": place} for word, place in rows]))
    else:
        for number, (word, place) in enumerate(rows, 1):
            typer.echo(f"{number}: {word}" + ("" if place is None else f", entry {place}"))
    if any(result.refusal for result in results):
        raise typer.Exit(REFUSED)


# ------------------------------------------------------------------------------------------------------ reading


@app.command()
def accounts(database: Url = DEFAULT_URL, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """List the accounts and their balances, and the trial balance below.

    Example: clearing ledger accounts --as-of 2
    """
    from ledger.store.history import trial_balance

    with _refusing(), _history(database, as_of) as (connection, size):
        found = list(_standings(connection, size))
        if as_json:
            rows = [{**_named(one.opened.account), "balance": str(_balance(one))} for one in found]
            typer.echo(json.dumps(rows))
            return
        listed = _table("Accounts", ("account", "unit", "side", "limit"), ("balance",))
        for one in found:
            account = one.opened.account
            limit = "" if account.limit.value == "none" else account.limit.value
            listed.add_row(account.path, account.unit, account.side.value, limit, f"{_balance(one):,}")
        trial = _table(f"Trial balance after {size:,} entries", ("unit",), ("debits", "credits"))
        for unit, (debits, credits) in trial_balance(connection, size).items():
            trial.add_row(unit, f"{debits:,}", f"{credits:,}")
        _print(listed, trial)


def _standings(connection: "Snapshot", size: int) -> "Iterator[Standing]":
    from ledger.store.history import standings

    after = -1
    while page := standings(connection, size, after=after):
        yield from page
        after = page[-1].opened.number


def _balance(standing: "Standing") -> int:
    return standing.opened.account.on_normal_side(standing.balance)


def _named(account: "Account") -> dict[str, str]:
    return {
        "path": account.path,
        "unit": account.unit,
        "side": account.side.value,
        "limit": account.limit.value,
    }


@app.command()
def balance(
    path: Path_, unit: Unit, database: Url = DEFAULT_URL, as_of: AsOf = None, as_json: AsJson = False
) -> None:
    """Print the balance of an account, positive on its normal side.

    Example: clearing ledger balance clients/alice USD
    """
    from ledger.account import account_id
    from ledger.store import history

    with _refusing(f"{path} {unit}"), _history(database, as_of) as (connection, size):
        account = history.find_account(connection, account_id(path, unit), size).account
        amount = account.on_normal_side(history.balance(connection, account.id, size))
        said = {**_named(account), "balance": str(amount), "as_of": str(size)}
        typer.echo(json.dumps(said) if as_json else f"{amount:,} {unit}")


@app.command()
def statement(
    path: Path_,
    unit: Unit,
    start: Annotated[int, typer.Option("--from", help="From this entry on.", metavar="N", min=0)] = 0,
    database: Url = DEFAULT_URL,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Print what moved an account: opening balance, every leg with the balance after it, closing balance.

    Example: clearing ledger statement clients/alice USD
    """
    from ledger.account import account_id

    with _refusing(f"{path} {unit}"), _history(database, as_of) as (connection, size):
        pages = list(_pages(connection, account_id(path, unit), start, size))
    account, opening, closing = pages[0].account, pages[0].opening, pages[-1].closing
    lines = [line for page in pages for line in page.lines]
    ends = {"opening": account.on_normal_side(opening), "closing": account.on_normal_side(closing)}
    if as_json:
        said = [_line_json(account, line) for line in lines]
        typer.echo(json.dumps({**_named(account), **{k: str(v) for k, v in ends.items()}, "lines": said}))
        return
    table = _table(f"{path} {unit}", ("entry", "kind", "time"), ("debit", "credit", "balance"))
    table.add_row("", "", "opening", "", "", f"{ends['opening']:,}")
    for line in lines:
        sides = (f"{line.amount:,}", "") if line.amount > 0 else ("", f"{-line.amount:,}")
        entry, after = line.entry, account.on_normal_side(line.balance)
        table.add_row(str(entry.sequence), str(entry.kind), _time(entry.effective_ms), *sides, f"{after:,}")
    table.add_row("", "", "closing", "", "", f"{ends['closing']:,}")
    _print(table)


def _pages(connection: "Snapshot", account: "AccountId", start: int, size: int) -> "Iterator[Statement]":
    from ledger.store import history

    page = history.statement(connection, account, start, size)
    yield page
    while page.after is not None:
        page = history.statement(connection, account, start, size, after=page.after)
        yield page


def _line_json(account: "Account", line: "Line") -> dict[str, str]:
    return {
        "entry": str(line.entry.sequence),
        "id": line.entry.entry_id.hex(),
        "kind": str(line.entry.kind),
        "time": _time(line.entry.effective_ms),
        "amount": str(line.amount),
        "balance": str(account.on_normal_side(line.balance)),
    }


def _time(effective_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(effective_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@app.command()
def entries(
    kind: Annotated[int | None, typer.Option(help="Only entries of this kind.")] = None,
    path: Annotated[str | None, typer.Option(help="Only entries with legs on this account …")] = None,
    unit: Annotated[str | None, typer.Option(help="… in this unit.")] = None,
    start: Annotated[int, typer.Option("--from", help="From this entry on.", metavar="N", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 100,
    database: Url = DEFAULT_URL,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """List entries, the oldest first; the next page begins with --from, behind the last number.

    Example: clearing ledger entries --path clients/alice --unit USD --limit 10
    """
    from ledger.account import account_id
    from ledger.store.history import entries_between

    if (path is None) != (unit is None):
        raise typer.BadParameter("give both or none", param_hint="--path and --unit")
    account = None if path is None or unit is None else account_id(path, unit)
    with _refusing(f"{path} {unit}"), _history(database, as_of) as (connection, size):
        found = entries_between(connection, start, size, kind=kind, account=account, limit=limit)
    rows = [(str(e.sequence), str(e.kind), _time(e.effective_ms), e.entry_id.hex()) for e in found]
    if as_json:
        names = ("entry", "kind", "time", "id")
        typer.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
        return
    table = _table("Entries", ("entry", "kind", "time", "id"), ())
    for row in rows:
        table.add_row(*row)
    _print(table)


# ------------------------------------------------------------------------------------------------------ proving


@app.command()
def verify(
    log: Annotated[Path | None, typer.Option(help="Compare the tiles in this folder as well.")] = None,
    database: Url = DEFAULT_URL,
    as_json: AsJson = False,
) -> None:
    """Derive everything again from the stored bytes, and name the first entry at which something differs.

    Checked are the journal, the history that is made of it, and the tiles of the public log if --log names
    them. A writer may go on writing meanwhile. Exit code 1 if anything does not hold.

    Example: clearing ledger verify
    """
    from ledger.store.connect import reading
    from ledger.store.differs import Differs
    from ledger.store.tile_files import TileFiles
    from ledger.store.verify import verify as verify_journal

    with _refusing(), _opened(database) as opened, reading(opened) as connection, _busy("verifying"):
        found = verify_journal(connection, None if log is None else TileFiles(log))
    if isinstance(found, Differs):
        said: dict[str, Any] = {"holds": False, "entry": str(found.sequence), "reason": found.reason}
        text = f"the journal does not hold at entry {found.sequence}: {found.reason}"
    else:
        said = {"holds": True, "size": str(found.size), "root": found.root.hex()}
        text = f"{found.size:,} entries hold, root {found.root.hex()}"
    typer.echo(json.dumps(said) if as_json else text)
    if isinstance(found, Differs):
        raise typer.Exit(REFUSED)


@app.command()
def rebuild(database: Url = DEFAULT_URL) -> None:
    """Drop the history and make it again from the journal, as after `verify` found an edited row of it.

    The journal itself is not touched. A house may serve meanwhile; its history is behind until this is done.

    Example: clearing ledger rebuild
    """
    from ledger.store.projector import Projector

    with _refusing(), _opened(database) as opened:
        projector = Projector(opened)
        projector.rebuild()
        with _busy("making the history again"):
            while projector.step():
                pass
    typer.echo(f"the history has {projector.position:,} entries")


@app.command()
def prove(
    entry: Annotated[int, typer.Argument(help="Number of the entry.", min=0)],
    origin: Annotated[str, typer.Option(help="The log's name, such as example.org/ledger.")],
    path: Annotated[str | None, typer.Option(help="Show the legs of this account …")] = None,
    unit: Annotated[str | None, typer.Option(help="… in this unit, and no others.")] = None,
    key: Annotated[Path, typer.Option(help="The log's private key; made if it is missing.")] = Path(
        "ledger.key"
    ),
    log: Log = None,
    anchor: Anchor = None,
    out: Annotated[Path | None, typer.Option(help="Write the receipt here.", show_default="stdout")] = None,
    database: Url = DEFAULT_URL,
) -> None:
    """Publish the log, and make a receipt that proves an entry, or one account's legs of it, to anyone.

    The verifier key, which whoever checks the receipt needs, is written beside the key, with .pub behind its
    name. Check a receipt with: clearctl verify receipt FILE --policy POLICY.

    Example: clearing ledger prove 2 --origin example.org/ledger --path clients/alice --unit USD
    """
    if (path is None) != (unit is None):
        raise typer.BadParameter("give both or none", param_hint="--path and --unit")
    with _refusing():
        places = _place(log, database, ".tiles"), _place(anchor, database, ".anchor")
        receipt = _receipt(database, entry, (path, unit), _signer(origin, key), *places)
        if out is None:
            sys.stdout.buffer.write(receipt)
        else:
            out.write_bytes(receipt)
            typer.echo(f"receipt of entry {entry} is in {out}, the verifier key in {key}.pub")


def _place(given: Path | None, url: str, suffix: str) -> Path:
    from ledger.store.connect import beside

    place = given or beside(url, suffix)
    if place is None:
        raise ValueError("say --log and --anchor: only a SQLite file has a place beside it")
    return place


def _receipt(
    url: str,
    entry: int,
    account: tuple[str | None, str | None],
    sign: "Sign",
    log: Path,
    anchor: Path,
) -> bytes:
    from ledger.account import account_id
    from ledger.receipt import format_entry, format_legs, prove_entry
    from ledger.store.public_log import PublicLog
    from ledger.store.receipts import receipt_of_legs

    with _ledger(url) as (ledger, database):
        public = PublicLog(database, log, anchor)
        with contextlib.closing(public):
            view = ledger.view
            if entry >= view.size:
                raise ValueError(f"there are {view.size} entries, numbered from 0")
            note, tree = public.show(view.size, view.frontier.root(), sign), public.tree()
        path, unit = account
        if path is None or unit is None:
            return format_entry(prove_entry(tree, entry, note))
        with database.connect() as connection:
            shown = receipt_of_legs(connection, tree, note, entry, account_id(path, unit))
        return format_legs(shown)


def _signer(origin: str, key: Path) -> "Sign":
    """Signs checkpoints with the key in the file, which is made with its verifier key if it is missing."""
    from clearing.keys import make_log_key, read_signing_key
    from ledger.checkpoint import Checkpoint, checkpoint_body, format_vkey, sign_note, verifier_key

    if not key.exists():
        make_log_key(key)
    private = read_signing_key(key)
    Path(f"{key}.pub").write_text(format_vkey(verifier_key(origin, private)) + "\n", encoding="ascii")

    def sign(size: int, root: bytes) -> bytes:
        body = checkpoint_body(Checkpoint(origin=origin, size=size, root=root))
        return sign_note(body, origin, private)

    return sign


# ------------------------------------------------------------------------------------------------------ opening


@contextlib.contextmanager
def _opened(url: str) -> "Iterator[Database]":
    from ledger.store.connect import open_store, require_reachable

    database = open_store(url)
    require_reachable(database)
    try:
        yield database
    finally:
        database.dispose()


@contextlib.contextmanager
def _ledger(url: str) -> "Iterator[tuple[Ledger, Database]]":
    """The ledger, with the lease: nobody else writes meanwhile, nor goes on from an old backup of a file."""
    from clearing.main import clock_ms
    from clearing.store.migrate import upgrade
    from ledger.store.connect import beside, system_salts
    from ledger.store.ledger import Ledger
    from ledger.store.public_log import require_goes_on

    with _opened(url) as database:
        anchor = beside(url, ".anchor")
        if anchor is not None:
            require_goes_on(database, anchor)
        _require_no_house(database)
        upgrade(database)
        secret = os.urandom(16)
        with Ledger(database, clock=clock_ms, salts=system_salts, secret=secret) as ledger:
            yield ledger, database


def _require_no_house(database: "Database") -> None:
    """The books of a house are kept by its rules alone."""
    from clearing.model.kinds import Kind
    from ledger.store.connect import reading
    from ledger.store.queries import first_kind

    with reading(database) as connection:
        if first_kind(connection) == Kind.HOUSE_FOUNDED:
            raise ValueError("this is the journal of a clearing house: it may be read and verified here")


@contextlib.contextmanager
def _history(url: str, as_of: int | None) -> "Iterator[tuple[Snapshot, int]]":
    """A connection to the history, brought up to the journal first, and how many entries to look at."""
    from clearing.store.migrate import upgrade
    from ledger.store.connect import snapshot
    from ledger.store.projector import Projector
    from ledger.store.queries import journal_size

    with _opened(url) as database:
        upgrade(database)
        projector = Projector(database)
        with _busy("reading the journal"):
            while projector.step():
                pass
        with snapshot(database) as connection:
            size = journal_size(connection)
            if as_of is not None and as_of > size:
                raise ValueError(f"there are {size} entries")
            yield connection, size if as_of is None else as_of


@contextlib.contextmanager
def _busy(doing: str) -> Iterator[None]:
    """A sign of life on a terminal; nothing for a program."""
    from rich.console import Console

    with Console(stderr=True).status(doing) if sys.stderr.isatty() else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _refusing(account: str = "") -> Iterator[None]:
    """Tell what went wrong in a sentence, and end with exit code 1; ``account`` is the one that is asked for."""
    from clearing.signing import KeysRefused
    from clearing.store.migrate import SchemaTooNew
    from ledger.receipt import ReceiptRefused
    from ledger.store.anchor import AnchorRefused
    from ledger.store.connect import LeaseHeld, StoreUnreachable
    from ledger.store.history import AccountUnknown
    from ledger.store.tile_files import PublishRefused
    from ledger.store.writer import ClockWentBack, RequestReused, StoreUnavailable

    try:
        yield
    except AccountUnknown:
        _refuse(f"no entry so far opened {account}")
    except (
        *(LeaseHeld, StoreUnreachable, SchemaTooNew, ValueError, KeysRefused),
        *(AnchorRefused, PublishRefused, ReceiptRefused, ClockWentBack, RequestReused, StoreUnavailable),
    ) as error:
        _refuse(str(error))


def _refuse(sentence: str) -> NoReturn:
    typer.echo(f"clearing ledger: {sentence}", err=True)
    raise typer.Exit(REFUSED)


def _table(title: str, left: tuple[str, ...], right: tuple[str, ...]) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _print(*tables: "Table") -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140)
    for table in tables:
        console.print(table)
        console.print()
