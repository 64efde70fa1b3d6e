"""A judge of reports that shares no code with the house: their figures, again, by SQL over its database.

It imports nothing of the house. It reads the database of a stopped or running house with plain SQL, and follows what
attestation.md §2 says of leaves, legs and bodies, with which it makes the rows of the house again. Of each report that
it is given it computes what it knows how to, of the entries before the report's ``as_of`` alone, prints every
comparison, and stops with 1 at the first that differs.

    report_figures.py sqlite:///journal.db trial-balance-250.json margin-250.json …

The other database is named as PostgreSQL names it: ``postgresql://…``. What a report's model of margin or stress says
is not computed here; what is held, owed, paid, drawn, called, traded and counted is.
"""

import json
import re
import sqlite3
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from functools import cached_property
from pathlib import Path
from typing import Any

DAY_MS = 86_400_000
LEAF = struct.Struct(">4sHHIQQ16s32s32s")
LEG_BYTES, SALT_BYTES, MAGIC_BYTES = 48, 16, 4
TRADE_NOVATED, VARIATION_MARGIN, FUTURE_SETTLED = 300, 402, 405
CALL_ISSUED, CALL_MET, CALL_EXPIRED = 500, 502, 503
WATERFALL, RECOVERY_RECEIVED, RECOVERY_DISTRIBUTED = 606, 610, 611
SNAPSHOT_ACCEPTED, OUTAGE_BEGAN = 401, 410
REPORT_PULLED, REPORT_SIGNED = 710, 711
MEMBERS_NOW = ("active", "suspended")
SIDES, WHEN = ("house", "client", "total"), ("before-haircut", "after-haircut")

Row = dict[str, str]
Facts = list[list[Any]]
Said = dict[str, dict[str, Row]]
"""The cells of a report: by table, field and column."""


class Differs(Exception):
    """A figure of a report that is another by the database."""


# --- the database -------------------------------------------------------------------------------------------


def rows_of(url: str, statement: str, *given: Any) -> list[tuple[Any, ...]]:
    """What a query gives; ``?`` stands for what is given."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.partition("///")[2])) as connection:
            return connection.execute(statement, given).fetchall()
    import psycopg  # noqa: PLC0415  # whoever has a SQLite file needs none

    address = re.sub(r"^postgresql\+\w+:", "postgresql:", url)
    with psycopg.connect(address) as server:
        return server.execute(statement.replace("?", "%s").encode(), given).fetchall()


class Journal:
    """The first ``as_of`` entries of a house, as its database has them."""

    def __init__(self, url: str, as_of: int) -> None:
        self.url, self.as_of = url, as_of

    @cached_property
    def postings(self) -> list[tuple[int, int, str, str, int, int]]:
        """Every leg: entry, number, path, unit, amount and the balance after it; debits are positive."""
        found = rows_of(
            self.url,
            "SELECT p.sequence, p.leg, a.path, a.unit, CAST(p.amount AS TEXT), CAST(p.balance AS TEXT) "
            "FROM postings p JOIN accounts a ON a.number = p.account "
            "WHERE p.sequence < ? ORDER BY p.sequence, p.leg",
            self.as_of,
        )
        return [
            (entry, leg, path, unit, int(some), int(all_)) for entry, leg, path, unit, some, all_ in found
        ]

    @cached_property
    def accounts(self) -> list[tuple[str, str, str, bytes]]:
        """Every account that was open: path, unit, side and id."""
        found = rows_of(self.url, "SELECT path, unit, side, id FROM accounts WHERE opened_at < ?", self.as_of)
        return [(path, unit, side, bytes(number)) for path, unit, side, number in found]

    @cached_property
    def balances(self) -> dict[tuple[str, str], int]:
        """Debits less credits of each account."""
        sums = {(path, unit): 0 for path, unit, *_ in self.accounts}
        for _, _, path, unit, amount, _ in self.postings:
            sums[path, unit] += amount
        return sums

    @cached_property
    def kinds(self) -> dict[int, int]:
        """How many entries of each kind there are."""
        statement = "SELECT kind, count(*) FROM entries WHERE sequence < ? GROUP BY kind"
        return dict(rows_of(self.url, statement, self.as_of))

    @cached_property
    def times_ms(self) -> dict[int, int]:
        """When each entry was effective."""
        statement = "SELECT sequence, effective_ms FROM entries WHERE sequence < ?"
        return dict(rows_of(self.url, statement, self.as_of))

    @cached_property
    def sealed(self) -> list[tuple[int, int, int, Any, list[tuple[bytes, int]]]]:
        """Every entry as it was hashed: number, kind, time, fact, and the account and amount of each leg."""
        statement = (
            "SELECT first_sequence, count, leaves, legs, bodies FROM segments "
            "WHERE first_sequence < ? ORDER BY first_sequence"
        )
        found: list[tuple[int, int, int, Any, list[tuple[bytes, int]]]] = []
        for first, count, leaves, legs, bodies in rows_of(self.url, statement, self.as_of):
            found += _unsealed(first, count, bytes(leaves), bytes(legs), bytes(bodies))
        return found[: self.as_of]

    @cached_property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The rows of the house by table and key: what the facts put there and did not take away again."""
        tables: dict[str, dict[str, Any]] = {}
        for _, _, fact in self.facts():
            for table, key, row in fact:
                kept = tables.setdefault(table, {})
                kept.pop(key, None) if row is None else kept.__setitem__(key, row)
        return tables

    def of(self, table: str) -> dict[str, Any]:
        """The rows of a table, which has none as long as nothing was put there."""
        return self.rows.get(table, {})

    def facts(self, *kinds: int) -> Iterator[tuple[int, int, Facts]]:
        """Number, kind and facts of the entries of these kinds; without any of all."""
        for sequence, kind, _, fact, _ in self.sealed:
            if not kinds or kind in kinds:
                yield sequence, kind, fact or []

    def legs_of(self, entry: int) -> list[tuple[str, str, int]]:
        """Path, unit and amount of the legs of an entry."""
        return [(path, unit, amount) for found, _, path, unit, amount, _ in self.postings if found == entry]

    def sum(self, pattern: str, unit: str) -> int:
        """Credits less debits of all accounts whose path a pattern fits; ``{x}`` is any part between slashes."""
        fits = re.compile(re.sub(r"\\?\{\w+\\?\}|\*", "[^/]+", pattern))
        return -sum(
            amount for (path, of), amount in self.balances.items() if of == unit and fits.fullmatch(path)
        )


def _unsealed(
    first: int, count: int, leaves: bytes, legs: bytes, bodies: bytes
) -> Iterator[tuple[int, int, int, Any, list[tuple[bytes, int]]]]:
    """The entries of a segment, read as attestation.md §2 describes its columns."""
    leg_at = body_at = 0
    for number in range(count):
        _, kind, _, leg_count, sequence, time_ms, *_ = LEAF.unpack_from(leaves, number * LEAF.size)
        if sequence != first + number:
            raise Differs(f"leaf {sequence} stands where {first + number} is due")
        moved = []
        for at in range(leg_at, leg_at + leg_count * LEG_BYTES, LEG_BYTES):
            account = legs[at + SALT_BYTES : at + 2 * SALT_BYTES]
            moved.append((account, int.from_bytes(legs[at + 32 : at + 48], "big", signed=True)))
        leg_at += leg_count * LEG_BYTES
        (size,) = struct.unpack_from(">I", bodies, body_at)
        body = bodies[body_at + 4 : body_at + 4 + size]
        body_at += 4 + size
        yield sequence, kind, time_ms, json.loads(body[MAGIC_BYTES + SALT_BYTES :])["fact"], moved


# --- a report and what it is held against -------------------------------------------------------------------


class Judge:
    """Compares a report with a journal; ``same`` prints each comparison and raises :class:`Differs`."""

    def __init__(self, journal: Journal, report: Mapping[str, Any]) -> None:
        self.journal, self.name = journal, f"{report['report']['report']} {report['report']['as_of']}"
        self.given = dict(one.partition("=")[::2] for one in report["report"]["given"].split())
        self.at_ms = _ms(report["report"]["as_of_time"])
        self.said: Said = {table["id"]: _cells(table) for table in report["tables"]}
        self.count = 0

    def same(self, figure: str, said: str, computed: str) -> None:
        """A figure that is said and one that was computed."""
        self.count += 1
        print(f"{'same' if said == computed else 'DIFFERS'}  {self.name}: {figure}: {said!r} {computed!r}")
        if said != computed:
            raise Differs(f"{self.name}: {figure} says {said!r}, the database {computed!r}")

    def amount(self, figure: str, said: str, minor: int, unit: str | None = None) -> None:
        """An amount in whole units."""
        self.same(figure, said, self.text(minor, unit or self.money))

    def table(self, table: str, computed: Mapping[str, Mapping[str, str]]) -> None:
        """All rows of a table: the fields are these, and of each the columns that were computed."""
        fields = sorted(self.said[table])
        self.same(f"{table} fields", " ".join(fields), " ".join(sorted(computed)))
        for field in fields:
            for column, value in computed[field].items():
                self.same(f"{table} {field} {column}", self.said[table][field][column], value)

    def each(self, table: str) -> Iterator[tuple[str, Row]]:
        """The rows of a table by field."""
        yield from self.said[table].items()

    @cached_property
    def money(self) -> str:
        """The settlement asset."""
        return str(self.journal.of("charter")[""]["settlement_asset"])

    def text(self, steps: int, unit: str) -> str:
        """An amount of an asset, or lots of an instrument, as a decimal string."""
        asset = self.journal.of("assets").get(unit)
        decimals = int(asset["decimals"] if asset else self.journal.of("instruments")[unit]["lot_decimals"])
        return _text(steps, decimals)

    @cached_property
    def prices(self) -> dict[str, int]:
        """The newest mark of each feed in ticks."""
        marks: dict[str, int] = {}
        for _, _, fact in self.journal.facts():
            for table, _, row in fact:
                if table == "cycle" and row is not None:
                    marks |= {one["feed"]: int(one["price_ticks"]) for one in row["marks"]}
        return marks

    @cached_property
    def option_prices(self) -> dict[str, int]:
        """What each option is worth by the newest cycle, in ticks."""
        cycle = self.journal.of("cycle").get("", {"option_marks": []})
        return {one["instrument"]: int(one["price_ticks"]) for one in cycle["option_marks"]}

    @cached_property
    def positions(self) -> dict[tuple[str, str], int]:
        """The lots of each account and instrument, long positive."""
        found = {}
        for (path, unit), balance in self.journal.balances.items():
            matched = re.fullmatch(r"members/([^/]+)/accounts/([^/]+)/position", path)
            if matched and balance:
                found["/".join(matched.groups()), unit] = -balance
        return found

    def notional(self, instrument: str, lots: int) -> int:
        """Size × price, of an option at the price of what it is on."""
        row = self.journal.of("instruments")[instrument]
        return abs(lots) * self.prices.get(row["feed"], 0) * int(row["tick_value_minor"])

    def option_value(self, instrument: str, lots: int) -> int:
        """What a position in an option is worth; below zero for one that was sold."""
        row = self.journal.of("instruments")[instrument]
        if row["option"] is None:
            return 0
        return lots * self.option_prices.get(instrument, 0) * int(row["tick_value_minor"])


def _cells(table: Mapping[str, Any]) -> dict[str, Row]:
    columns = [column["id"] for column in table["columns"]]
    found = {field: dict(zip(columns, cells, strict=True)) for field, *cells, _ in table["rows"]}
    if len(found) != len(table["rows"]):
        raise Differs(f"a field of {table['id']} stands twice")
    return found


def _text(steps: int, decimals: int) -> str:
    with localcontext(prec=200):
        return f"{Decimal(steps).scaleb(-decimals):f}"


def _ms(text: str) -> int:
    return round(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp() * 1000)


def _up(whole: int, parts: int) -> int:
    return -(-whole // parts)


# --- reports ------------------------------------------------------------------------------------------------


def the_journal(judge: Judge) -> None:
    """Legs in the tables of SQL are those that were hashed; entries are counted by kind and by what they moved."""
    journal = judge.journal
    ids = {number: (path, unit) for path, unit, _, number in journal.accounts}
    hashed = [
        (sequence, leg, *ids[account], amount)
        for sequence, _, _, _, moved in journal.sealed
        for leg, (account, amount) in enumerate(moved)
    ]
    judge.same("legs", str(hashed == [one[:5] for one in journal.postings]), "True")
    running: dict[tuple[str, str], int] = {}
    for _, _, path, unit, amount, balance in journal.postings:
        running[path, unit] = running.get((path, unit), 0) + amount
        if running[path, unit] != balance:
            raise Differs(f"the balance of {path} {unit} is not the sum of its legs")
    counts = Counter(kind for _, kind, *_ in journal.sealed)
    judge.same("entries by kind", str(sorted(counts.items())), str(sorted(journal.kinds.items())))
    said: dict[str, int] = Counter(row["kind"] for _, row in judge.each("entries"))
    judge.same("kinds of entries", str(sorted(said.values())), str(sorted(counts.values())))
    named = {row["kind"]: journal.sealed[int(field)][1] for field, row in judge.each("entries")}
    for name, number in sorted(named.items()):
        judge.same(f"entries {name}", str(said[name]), str(counts[number]))
    for field, row in judge.each("entries"):
        computed = [[path, unit, str(amount)] for path, unit, amount in journal.legs_of(int(field))]
        judge.same(f"entries {field} legs", row["legs"], json.dumps(computed, separators=(",", ":")))


def trial_balance(judge: Judge) -> None:
    """Per unit, and per account."""
    accounts: dict[str, Row] = {}
    units: dict[str, tuple[int, int]] = {}
    for (path, unit), balance in judge.journal.balances.items():
        text = judge.text(abs(balance), unit)
        sides = {"debit": text, "credit": ""} if balance >= 0 else {"debit": "", "credit": text}
        accounts[f"{path}:{unit}"] = {"account": path, "unit": unit, **sides}
        debits, credits_ = units.get(unit, (0, 0))
        units[unit] = (debits + max(0, balance), credits_ + max(0, -balance))
    judge.table("accounts", accounts)
    judge.table(
        "units",
        {
            unit: {"debits": judge.text(debits, unit), "credits": judge.text(credits_, unit)}
            for unit, (debits, credits_) in units.items()
        },
    )


def statement(judge: Judge) -> None:
    """The legs of one account, with the balance after each, on the side on which it stands."""
    path, unit = judge.given["ledger_account"], judge.given["unit"]
    start = int(judge.given.get("from_sequence", "0"))
    sides = {(one, of): side for one, of, side, _ in judge.journal.accounts}
    if (path, unit) not in sides:
        judge.table("lines", {})
        return
    sign = 1 if sides[path, unit] == "debit" else -1
    lines, opening, closing_ = {}, 0, 0
    for entry, leg, one, of, amount, balance in judge.journal.postings:
        if (one, of) != (path, unit):
            continue
        closing_ = sign * balance
        if entry < start:
            opening = closing_
            continue
        amounts = {"amount": judge.text(sign * amount, unit), "balance": judge.text(sign * balance, unit)}
        lines[f"{entry}.{leg}"] = {"entry": str(entry), **amounts}
    ends = {
        "opening": {"balance": judge.text(opening, unit)},
        "closing": {"balance": judge.text(closing_, unit)},
    }
    judge.table("lines", lines | ends)


def positions(judge: Judge) -> None:
    """Positions, open interest by instrument, and notional by member."""
    computed, by_member = {}, Counter[str]()
    for (account, instrument), lots in judge.positions.items():
        notional = judge.notional(instrument, lots)
        by_member[account.partition("/")[0]] += notional
        computed[f"{account}:{instrument}"] = {
            "side": "long" if lots > 0 else "short",
            "size": judge.text(abs(lots), instrument),
            "notional": judge.text(notional, judge.money),
        }
    judge.table("positions", computed)
    for instrument, row in judge.each("open_interest"):
        held = [lots for (_, of), lots in judge.positions.items() if of == instrument]
        for side, lots in (
            ("long", sum(max(0, one) for one in held)),
            ("short", -sum(min(0, one) for one in held)),
        ):
            judge.amount(f"open_interest {instrument} {side}", row[side], lots, instrument)
    judge.table(
        "concentration", {one: {"total": judge.text(by_member[one], judge.money)} for one in by_member}
    )


def _living(judge: Judge) -> dict[str, Any]:
    return {key: row for key, row in judge.journal.of("accounts").items() if row["status"] == "active"}


def _path(account: str, line: str) -> str:
    member, _, name = account.partition("/")
    return f"members/{member}/accounts/{name}/{line}"


def _held(judge: Judge, account: str) -> dict[str, int]:
    """What an account holds: cash, collateral at the mark and after the haircut, the value of its options."""
    found = {"cash": judge.journal.sum(_path(account, "cash"), judge.money), "market": 0, "collateral": 0}
    for asset, row in judge.journal.of("assets").items():
        if asset == judge.money:
            continue
        if int(row["concentration_minor"]):
            raise Differs(f"{asset} is limited, and this judge computes no excess")
        amount = judge.journal.sum(_path(account, "collateral"), asset)
        worth = amount * judge.prices.get(row["feed"], 0) * int(row["tick_value_minor"])
        scale = 10 ** int(row["decimals"])
        found["market"] += worth // scale
        found["collateral"] += worth // scale * (10_000 - int(row["haircut_bp"])) // 10_000
    held = [(unit, lots) for (key, unit), lots in judge.positions.items() if key == account]
    found["option_value"] = sum(judge.option_value(unit, lots) for unit, lots in held)
    found["equity"] = found["cash"] + found["collateral"] + found["option_value"]
    return found


def margin(judge: Judge) -> None:
    """What is held as margin: cash, collateral after haircuts and the value of options, by account and in all."""
    held = {account: _held(judge, account) for account in _living(judge)}
    columns = ("cash", "collateral", "option_value", "equity")
    judge.table(
        "accounts",
        {
            key: {one: judge.text(amounts[one], judge.money) for one in columns}
            for key, amounts in held.items()
        },
    )
    total = sum(amounts["equity"] for amounts in held.values())
    judge.amount("totals margin_held", judge.said["totals"]["margin_held"]["amount"], total)
    for kind, row in judge.each("house_and_client"):
        mine = [held[key] for key, account in _living(judge).items() if account["kind"] == kind]
        for column in columns:
            judge.amount(f"house_and_client {kind} {column}", row[column], sum(one[column] for one in mine))


def collateral(judge: Judge) -> None:
    """What custody has to hold, line by line: withdrawals on their way, the pool, the funds of the house."""
    journal = judge.journal
    for field, row in judge.each("reconciliation"):
        pattern = row["line"].replace("withdrawals/{w}", "withdrawals/*")
        fits = re.compile(re.sub(r"\{\w+\}", "[^/]+", pattern).replace("withdrawals/*", "withdrawals/.+"))
        found = [
            balance
            for (path, unit), balance in journal.balances.items()
            if unit == row["asset"] and fits.fullmatch(path)
        ]
        sides = {"credits": -sum(min(0, one) for one in found), "debits": sum(max(0, one) for one in found)}
        for side, amount in (sides | {"net": -sum(found)}).items():
            judge.amount(f"reconciliation {field} {side}", row[side], amount, row["asset"])
    pending = sum(
        int(row["amount_minor"])
        for row in journal.of("withdrawals").values()
        if row["state"] in ("held", "sent") and row["asset"] == judge.money
    )
    line = judge.said["reconciliation"].get(
        f"{judge.money}:withdrawals/{{w}}", {"net": judge.text(0, judge.money)}
    )
    judge.amount("withdrawals on their way, by their rows", line["net"], pending)


def available_resources(judge: Judge) -> None:
    """The funds of the house; without a first cycle there is no report of them."""
    if not judge.journal.of("cycle"):
        judge.table("avlblfinrsrcsamt", {})
        return
    for table, path in (
        ("avlblfinrsrcsamt_ccpskininthegame", "house/skin_in_the_game"),
        ("othrprfnddrsrcs", "house/second_tranche"),
    ):
        judge.amount(f"{table} {path}", judge.said[table][path]["amt"], judge.journal.sum(path, judge.money))
    (sizes,) = judge.said["avlblfinrsrcsamt"].values()
    judge.amount("pool", sizes["ttlprfndddfltfnd"], _pool(judge))
    judge.amount(
        "insurance fund", sizes["othrdfltfndcntrbtn"], judge.journal.sum("house/insurance_fund", judge.money)
    )


def _in_pool(judge: Judge) -> list[str]:
    return [key for key, row in judge.journal.of("members").items() if row["status"] in MEMBERS_NOW]


def _pool(judge: Judge) -> int:
    """What the members hold in the pool that were not put in default and have not left."""
    return sum(judge.journal.sum(f"members/{one}/pool", judge.money) for one in _in_pool(judge))


def default(judge: Judge) -> None:
    """Of each default: who paid, by the legs and by the claims on what is recovered; tiers; recoveries."""
    journal, draws = judge.journal, Counter[tuple[str, str, str]]()
    tiers: Counter[tuple[str, str]] = Counter()
    for sequence, _, fact in journal.facts(WATERFALL):
        (row,) = (row for table, _, row in fact if table == "defaults")
        debited = Counter[str]()
        for path, _, amount in journal.legs_of(sequence):
            if amount > 0 and not path.startswith("defaults/"):
                debited[path] += amount
        for one in row["draws"]:
            draws[row["id"], one["tier"], one["payer"]] += int(one["amount_minor"])
            tiers[row["id"], one["tier"]] += int(one["amount_minor"])
        paid = sum(int(one["amount_minor"]) for one in row["draws"])
        judge.amount(
            f"waterfall {row['id']} legs", judge.said["events"][row["id"]]["drawn"], sum(debited.values())
        )
        lost = sum(int(one["amount_minor"]) for one in row["losses"])
        judge.amount(f"events {row['id']} loss", judge.said["events"][row["id"]]["loss"], lost)
        judge.same(
            f"events {row['id']} loss is what was drawn and what nobody covers",
            str(lost),
            str(paid + int(row["uncovered_minor"])),
        )
        for field, said in judge.each("draws"):
            if said["default"] == row["id"]:
                judge.amount(
                    f"draws {field} by the legs of {said['account']}",
                    said["amount"],
                    debited[said["account"]],
                )
        for field, said in judge.each(f"waterfall-{row['id']}"):
            if field.isdigit():
                judge.amount(f"waterfall-{row['id']} {field}", said["amount"], tiers[row["id"], field])
    judge.table(
        "draws",
        {":".join(one): {"amount": judge.text(amount, judge.money)} for one, amount in draws.items()},
    )
    _claims(judge)
    _recoveries(judge)


def _claims(judge: Judge) -> None:
    for name, row in judge.each("events"):
        left = -judge.journal.sum(f"defaults/{name}/claims", judge.money)
        judge.amount(f"events {name} claims", row["claims"], left)


def _recoveries(judge: Judge) -> None:
    received, repaid = Counter[str](), Counter[str]()
    for sequence, _, _ in judge.journal.facts(RECOVERY_RECEIVED, RECOVERY_DISTRIBUTED):
        for path, _, amount in judge.journal.legs_of(sequence):
            matched = re.fullmatch(r"defaults/([^/]+)/recoveries", path)
            if matched:
                (received if amount < 0 else repaid)[matched[1]] += abs(amount)
    for name, row in judge.each("events"):
        judge.amount(f"events {name} recovered", row["recovered"], received[name])
    for name, amount in repaid.items():
        rows = [row for _, row in judge.each("repayments") if row["default"] == name]
        said = sum((Decimal(row["amount"]) for row in rows), Decimal(0))
        judge.amount(f"repayments of {name}", f"{said:f}", amount)


def calls(judge: Judge) -> None:
    """Calls that were issued, met, expired and are open."""
    counts, amounts = Counter[tuple[str, str]](), Counter[str]()
    kinds: dict[str, str] = {}
    names = {CALL_ISSUED: "issued", CALL_MET: "met", CALL_EXPIRED: "expired"}
    for _, number, fact in judge.journal.facts(*names):
        for table, key, row in fact:
            if table == "calls":
                kinds[key] = kinds[key] if row is None else row["kind"]
                counts[kinds[key], names[number]] += 1
                amounts[kinds[key]] += int(row["amount_minor"]) if number == CALL_ISSUED else 0
    for kind, row in judge.each("totals"):
        for column in names.values():
            judge.same(f"totals {kind} {column}", row[column], str(counts[kind, column]))
        still = [one for one in judge.journal.of("calls").values() if one["kind"] == kind]
        judge.same(f"totals {kind} open", row["open"], str(len(still)))
        judge.amount(
            f"totals {kind} open_amount", row["open_amount"], sum(int(one["amount_minor"]) for one in still)
        )
        judge.amount(f"totals {kind} amount", row["amount"], amounts[kind])


def operational(judge: Judge) -> None:
    """Entries counted by kind."""
    summary = judge.said["summary"]
    for field, kind in (
        ("cycles", SNAPSHOT_ACCEPTED),
        ("outages", OUTAGE_BEGAN),
        ("pulls", REPORT_PULLED),
        ("signed", REPORT_SIGNED),
    ):
        judge.same(f"summary {field}", summary[field]["value"], str(judge.journal.kinds.get(kind, 0)))


def disclosure(judge: Judge) -> None:
    """Items that are sums: prefunded resources, margin held, what defaults cost, members and clients, volumes."""
    for check in (_funds, _margin_held, _defaults, _participants, _volumes, _variation):
        for field, computed in check(judge):
            judge.same(f"item {field}", judge.said["items"][field]["value"], computed)


def _funds(judge: Judge) -> Iterable[tuple[str, str]]:
    def sum_of(*patterns: str) -> str:
        return judge.text(sum(judge.journal.sum(one, judge.money) for one in patterns), judge.money)

    required = sum(
        int(judge.journal.of("members")[one]["required_contribution_minor"]) for one in _in_pool(judge)
    )
    yield "4.1.1", sum_of("house/skin_in_the_game")
    yield "4.1.3", sum_of("house/second_tranche")
    yield "4.1.4", judge.text(required, judge.money)
    yield "4.1.5", judge.text(_pool(judge), judge.money)
    funds = sum(
        judge.journal.sum(f"house/{one}", judge.money) for one in ("skin_in_the_game", "second_tranche")
    )
    insured = judge.journal.sum("house/insurance_fund", judge.money)
    whole = judge.text(_pool(judge) + funds + insured, judge.money)
    yield "4.3.15/before-haircut", whole
    yield "4.3.15/after-haircut", whole
    cash = re.compile("members/[^/]+/accounts/[^/]+/cash")
    held = [max(0, -balance) for (path, _), balance in judge.journal.balances.items() if cash.fullmatch(path)]
    yield "16.1.1", judge.text(sum(held), judge.money)
    yield "16.1.2", sum_of("members/*/pool")


def _margin_held(judge: Judge) -> Iterable[tuple[str, str]]:
    if not judge.journal.of("cycle"):
        return  # nothing has a price yet
    totals = Counter(dict.fromkeys((f"{one}/{when}" for one in SIDES for when in WHEN), 0))
    for key, row in _living(judge).items():
        held = _held(judge, key)
        for side in (row["kind"], "total"):
            totals[f"{side}/before-haircut"] += held["cash"] + held["market"] + held["option_value"]
            totals[f"{side}/after-haircut"] += held["equity"]
    for name, amount in totals.items():
        yield f"6.2.15/{name}", judge.text(amount, judge.money)


def _defaults(judge: Judge) -> Iterable[tuple[str, str]]:
    for name, row in judge.journal.of("defaults").items():
        if not row["draws"]:
            continue
        lost = sum(int(one["amount_minor"]) for one in row["losses"])
        yield f"13.1.1/{name}/loss", judge.text(lost, judge.money)
        for tier in range(1, 9):
            drawn = sum(int(one["amount_minor"]) for one in row["draws"] if one["tier"] == str(tier))
            yield f"13.1.2/{name}/tier-{tier}", judge.text(drawn, judge.money)
        whole = sum(int(one["amount_minor"]) for one in row["draws"])
        yield f"13.1.2/{name}/all-tiers", judge.text(whole, judge.money)


def _participants(judge: Judge) -> Iterable[tuple[str, str]]:
    members = set(_in_pool(judge))
    clients = [one for one in _living(judge).values() if one["kind"] == "client" and one["member"] in members]
    clearing = {one["member"] for one in clients}
    yield "18.1.1.1", str(len(clearing))
    yield "18.1.1.2", str(len(members - clearing))
    yield "19.1.1", str(len({one["participant"] for one in clients}))
    yield "19.1.2", str(len(clearing))


def _days(judge: Judge) -> tuple[int, int]:
    """When the part of the quarter that the journal has begins, and how many days it has."""
    end = datetime.fromtimestamp(judge.at_ms / 1000, UTC)
    quarter = datetime(end.year, (end.month - 1) // 3 * 3 + 1, 1, tzinfo=UTC)
    first = max(round(quarter.timestamp() * 1000), judge.journal.times_ms[0] // DAY_MS * DAY_MS)
    return first, judge.at_ms // DAY_MS - first // DAY_MS + 1


def _volumes(judge: Judge) -> Iterable[tuple[str, str]]:
    start, days = _days(judge)
    lots, notional = Counter[str](), Counter[str]()
    for sequence, _, fact in judge.journal.facts(TRADE_NOVATED):
        if judge.journal.times_ms[sequence] < start:
            continue
        trade = next(row for table, _, row in fact if table == "trades")  # of two halves each has a row
        size = int(trade["lots"])
        lots[trade["instrument"]] += size
        notional[trade["instrument"]] += _outstanding(
            judge, trade["instrument"], size, int(trade["price_ticks"])
        )
    for instrument, size in lots.items():
        row = judge.journal.of("instruments")[instrument]
        yield f"23.1.1/{instrument}", _text(_up(size, days), int(row["lot_decimals"]))
        yield f"23.1.2/{instrument}", judge.text(_up(notional[instrument], days), judge.money)
    for instrument in judge.journal.of("instruments"):
        long = sum(max(0, held) for (_, of), held in judge.positions.items() if of == instrument)
        if long:
            mark = judge.prices[judge.journal.of("instruments")[instrument]["feed"]]
            yield f"23.2.1/{instrument}", judge.text(_outstanding(judge, instrument, long, mark), judge.money)


def _outstanding(judge: Judge, instrument: str, lots: int, price_ticks: int) -> int:
    """Size × price; of an option at its strike."""
    row = judge.journal.of("instruments")[instrument]
    ticks = price_ticks if row["option"] is None else int(row["option"]["strike_ticks"])
    return lots * ticks * int(row["tick_value_minor"])


def _variation(judge: Judge) -> Iterable[tuple[str, str]]:
    """What accounts paid in variation margin that paid on balance of a day: mean and largest of the days."""
    if not judge.journal.of("cycle"):
        yield from (("6.6.1", ""), ("6.7.1", ""))
        return
    start, days = _days(judge)
    paid = Counter[tuple[int, str]]()
    for sequence, _, _ in judge.journal.facts(VARIATION_MARGIN, FUTURE_SETTLED):
        for path, unit, amount in judge.journal.legs_of(sequence):
            if judge.journal.times_ms[sequence] >= start and unit == judge.money and path.endswith("/cash"):
                paid[judge.journal.times_ms[sequence] // DAY_MS, path] += amount
    by_day = Counter[int]()
    for (day, _), amount in paid.items():
        by_day[day] += max(0, amount)
    yield "6.6.1", judge.text(_up(sum(by_day.values()), days), judge.money)
    yield "6.7.1", judge.text(max(by_day.values(), default=0), judge.money)


JUDGED: Mapping[str, Callable[[Judge], None]] = {
    "journal": the_journal,
    "trial-balance": trial_balance,
    "statement": statement,
    "positions": positions,
    "margin": margin,
    "collateral": collateral,
    "available-resources": available_resources,
    "default": default,
    "calls": calls,
    "operational": operational,
    "disclosure": disclosure,
}


def main(url: str, *paths: str) -> int:
    """Judge the reports; how many figures were compared is printed last."""
    count, journals = 0, dict[int, Journal]()
    for path in paths:
        report = json.loads(Path(path).read_bytes())
        as_of = int(report["report"]["as_of"])
        judge = Judge(journals.setdefault(as_of, Journal(url, as_of)), report)
        judged = JUDGED.get(report["report"]["report"])
        if judged is None or report["report"]["members"] != "all":
            raise SystemExit(f"{path}: this judge knows no such report")
        try:
            judged(judge)
        except Differs as differs:
            print(differs, file=sys.stderr)
            return 1
        count += judge.count
    print(f"{count} figures of {len(paths)} reports are what the database says")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
