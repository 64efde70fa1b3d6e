"""Reports are fixed by what they are made of; a file that was made is found again, or made again alike."""

import csv
import hashlib
import json
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from clearing import spool as spools
from clearing.model.kinds import Kind
from clearing.model.values import Form
from clearing.reports import sources
from clearing.reports.canonical import NotAReport, read, to_json
from clearing.reports.document import Column, Measure, Row, Table
from clearing.reports.render import render
from clearing.reports.sources import Origin
from clearing.reports.table import REPORTS, Audience
from clearing.spool import Download, NotKept, Spool, Spooled
from tests.builders import World
from tests.readings import HEAD, WorldReading, built, reading, rows
from tests.stories import clients_trade, opened


@pytest.fixture(scope="module")
def traded() -> World:
    world = opened()
    clients_trade(world)
    return world


def asking(world: World, given: Mapping[str, str], as_of: int | None = None) -> WorldReading:
    return WorldReading(world, len(world.entries) if as_of is None else as_of, None, given)


def test_a_report_of_one_account_asks_which_one() -> None:
    for report in REPORTS.values():
        asks = "ledger_account" in {one.key for one in report.parameters if one.is_required}
        assert asks is (report.audience is Audience.ACCOUNT)


def test_every_row_of_every_report_says_where_it_came_from(traded: World) -> None:
    given = {"ledger_account": "members/dex/accounts/alice/cash", "unit": "USDC"}
    for report in REPORTS.values():
        if report.build is not None:
            for table in built(report.id, asking(traded, given)):
                for row in table.rows:
                    assert sources.parse(row.source), (report.id, table.id, row)


def test_every_report_of_an_earlier_entry_is_the_one_that_was_made_then(traded: World) -> None:
    """What came later is not in it: known at, and as of."""
    size = len(traded.entries) * 2 // 3
    younger = World(entries=traded.entries[:size], asked=traded.asked)
    given = {"ledger_account": "members/dex/accounts/alice/cash", "unit": "USDC"}
    for report in REPORTS.values():
        if report.build is not None:
            then, now = asking(younger, given, size), asking(traded, given, size)
            assert b"".join(to_json(HEAD, report.build(then))) == b"".join(to_json(HEAD, report.build(now)))


def test_both_sides_of_a_trial_balance_have_the_same_sum(traded: World) -> None:
    units, accounts = (
        rows("trial-balance", reading(traded), "units"),
        rows("trial-balance", reading(traded), "accounts"),
    )
    assert set(units) >= {"USDC", "ETH"}
    for unit, sums in units.items():
        sides = {
            side: sum(
                int((row[side] or "0").replace(".", "")) for row in accounts.values() if row["unit"] == unit
            )
            for side in ("debit", "credit")
        }
        assert sides["debit"] == sides["credit"] == int(sums["debits"].replace(".", ""))
        assert sums["debits"] == sums["credits"]


def test_a_statement_goes_from_opening_to_closing_balance(traded: World) -> None:
    asked = {"ledger_account": "members/dex/accounts/alice/cash", "unit": "USDC"}
    lines = list(rows("statement", asking(traded, asked), "lines").values())
    assert [lines[0]["what"], lines[-1]["what"]] == ["opening balance", "closing balance"]
    balance = 0
    for line in lines[1:-1]:
        balance += int(line["amount"].replace(".", ""))
        assert int(line["balance"].replace(".", "")) == balance
    assert lines[-1]["balance"] == lines[-2]["balance"]
    middle = int(lines[3]["entry"])
    later = list(rows("statement", asking(traded, asked | {"from_sequence": str(middle)}), "lines").values())
    assert later[0]["balance"] == lines[2]["balance"]
    assert later[1:] == lines[3:]


def test_a_statement_of_an_account_that_is_not_used_yet_has_no_lines(traded: World) -> None:
    asked = {"ledger_account": "members/dex/accounts/alice/cash", "unit": "USDC"}
    assert rows("statement", asking(traded, asked, 2), "lines") == {}


def test_a_journal_has_everything_of_an_entry(traded: World) -> None:
    found = rows("journal", reading(traded), "entries")
    assert [*found] == [str(number) for number in range(len(traded.entries))]
    for row, entry in zip(found.values(), traded.entries, strict=True):
        assert (row["kind"], row["actor"], row["id"]) == (
            Kind(entry.kind).name,
            entry.actor,
            entry.entry_id.hex(),
        )
        legs = [[leg.account.path, leg.account.unit, str(leg.amount)] for leg in entry.legs]
        assert json.loads(row["legs"]) == legs
        assert (json.loads(row["fact"]) if row["fact"] else None) == entry.fact


# --- sources -------------------------------------------------------------------------------------------


def test_sources_are_read_as_they_are_written() -> None:
    terms = (
        sources.entries([3, 1, 2, 7, 2]),
        sources.kind(Kind.CALL_ISSUED),
        sources.about("held", sources.kind(Kind.CALL_ISSUED, 3, 9)),
        sources.account("members/*/pool", "USDC"),
        sources.attestation(4),
        sources.figure("accounts"),
        sources.figure("accounts", "custody:USDC"),
        sources.outside("audited accounts;\nof the bank"),
    )
    text = sources.joined(*terms, sources.entries([]))
    assert text.startswith(
        "entries 1-3,7; kind CALL_ISSUED; held=kind CALL_ISSUED from 3 to 9; account members/*/pool"
    )
    parsed = sources.parse(text)
    assert [one.origin for one in parsed] == [
        *(Origin.ENTRIES, Origin.KIND, Origin.KIND, Origin.ACCOUNT, Origin.ATTESTATION, Origin.FIGURE),
        *(Origin.FIGURE, Origin.OUTSIDE),
    ]
    assert [one.column for one in parsed] == ["", "", "held", "", "", "", "", ""]
    assert [number for run in sources.sequences(parsed[0].said) for number in run] == [1, 2, 3, 7]
    assert sources.between(parsed[1].said) == (Kind.CALL_ISSUED, 0, None)
    assert sources.between(parsed[2].said) == (Kind.CALL_ISSUED, 3, 9)
    assert sources.parse("") == ()


@pytest.mark.parametrize("text", ["nonsense", "ENTRIES 1", "rumour 4", "entries", "entries 1;entries 2x; "])
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        sources.parse(text)


def test_a_kind_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind"):
        sources.between("RUMOUR from 1 to 2")


# --- JSON and CSV --------------------------------------------------------------------------------------

HOSTILE = (
    '=cmd|"/c calc"!A1',
    "+1",
    "@x",
    "-2",
    "plain, with comma",
    'a "quote"',
    "line\nbreak",
    "Ümlaut 🜚",
    "",
)


def hostile_tables() -> list[Table]:
    columns = (Column("name", "Name"), Column("amount", "Amount", Measure.AMOUNT, "USDC"))
    named = [Row(f"r{n}", (text, f"-{n}.50"), "entries 1") for n, text in enumerate(HOSTILE)]
    return [
        Table(id="names", title="Names", columns=columns, rows=named),
        Table(id="none", title="Nothing", columns=columns, rows=[], note="empty"),
    ]


def as_json(tables: list[Table]) -> bytes:
    return b"".join(to_json(HEAD, tables))


def test_json_is_read_back_as_it_was_written() -> None:
    data = as_json(hostile_tables())
    assert (
        json.loads(data, parse_int=pytest.fail, parse_float=pytest.fail)["tables"][0]["rows"][0][1]
        == HOSTILE[0]
    )
    found = read(data.splitlines(keepends=True))
    assert dict(found.head) == HEAD.lines()
    assert [replace(table, rows=list(table.rows)) for table in found.tables] == hostile_tables()


def test_a_table_whose_rows_nobody_read_is_passed_over() -> None:
    assert [table.id for table in read(as_json(hostile_tables()).splitlines(keepends=True)).tables] == [
        "names",
        "none",
    ]


def every_row(lines: list[bytes]) -> Iterator[Row]:
    for table in read(lines).tables:
        yield from table.rows


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"{}",
        lambda data: data.replace(b'"version":"1"', b'"version":"2"'),
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b'"measure":"amount"', b'"measure":"guess"'),
        lambda data: data.replace(b'["r1"', b'{"r1"'),
        lambda data: data.replace(b'{"report":', b'{"rapport":'),
        lambda data: data.replace(b'"as_of":"1"', b'"as_of":1'),
        lambda data: data.replace(b'"title":"Names"', b'"title":["Names"]'),
        lambda data: data.replace(b'"title":"Amount"', b'"title":{}'),
        lambda data: data.replace(b'["r1",', b"["),
        lambda data: data.replace(b'["r1",', b'["r1","more",'),
        lambda data: data.replace(b'["r1",', b"[1,"),
    ],
    ids=[
        *("nothing", "an object", "another version", "half", "another measure", "no list", "no head"),
        *("a number in the head", "a list for a title", "an object for a column"),
        *("a cell too few", "a cell too many", "a number for a text"),
    ],
)
def test_what_is_no_report_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    lines = spoil(as_json(hostile_tables())).splitlines(keepends=True)
    with pytest.raises(NotAReport):
        list(every_row(lines))


def test_a_row_with_a_cell_too_few_is_a_bug() -> None:
    table = replace(hostile_tables()[0], rows=[Row("r", ("only",), "entries 1")])
    with pytest.raises(ValueError, match="1 cells, 2 columns"):
        as_json([table])


def test_csv_says_the_same_and_runs_no_formula(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(as_json(hostile_tables()))
    with path.open("rb") as source:
        data = b"".join(render(Form.CSV, source, "00")).decode()
    lines = list(csv.reader(data.splitlines(keepends=True)))
    assert {line[0] for line in lines} == {"report", "names", "none"}
    assert lines[0] == ["report", "field", "value"]
    assert {line[1]: line[2] for line in lines[1:] if line[0] == "report"} == HEAD.lines()
    named = [line[1:] for line in lines if line[0] == "names"]
    assert named[0] == ["field", "name", "amount", "source"]
    assert [(row[1].removeprefix("'"), row[2]) for row in named[1:]] == [
        (text, f"-{n}.50") for n, text in enumerate(HOSTILE)
    ]
    assert [row[1][:1] for row in named[1:5]] == ["'"] * 4


def test_a_report_of_any_length_takes_the_memory_of_a_row(tmp_path: Path) -> None:
    columns = (Column("name", "Name"),)

    def peak(count: int) -> int:
        rows = (Row(str(number), ("x" * 200,), "entries 1") for number in range(count))
        path = tmp_path / f"{count}.json"
        tracemalloc.start()
        with path.open("wb") as file:
            for part in to_json(HEAD, [Table(id="t", title="T", columns=columns, rows=rows)]):
                file.write(part)
        with path.open("rb") as source:
            assert sum(len(part) for part in render(Form.CSV, source, "00")) > 200 * count
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < 2 * peak(2_000)


# --- files ---------------------------------------------------------------------------------------------


def fetched(
    spool: Spool, asked: str, make: Callable[[], Iterator[bytes]], sha256: str | None = None
) -> Download:
    """The file, however long it takes."""
    fetching = spool.fetch(asked, make, sha256)
    while True:
        try:
            next(fetching)
        except StopIteration as done:
            download: Download = done.value
            return download


def made(times: list[int]) -> Iterator[bytes]:
    times.append(1)
    yield from (b"one", b"two")


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    spool, times = Spool(tmp_path), list[int]()
    for _ in range(2):
        download = fetched(spool, "a", lambda: made(times))
        with download.file as file:
            assert file.read() == b"onetwo"
        assert download.spooled.size == 6
        assert download.spooled.sha256 == hashlib.sha256(b"onetwo").hexdigest()
    assert times == [1]
    fetched(spool, "b", lambda: made(times)).file.close()
    assert times == [1, 1]
    right = hashlib.sha256(b"onetwo").hexdigest()
    fetched(Spool(tmp_path), "a", lambda: made(times), right).file.close()
    assert times == [1, 1], "nor after a restart"


def test_a_file_of_which_nothing_is_known_is_not_believed(tmp_path: Path) -> None:
    """Nobody signed it, and another process left it: another house, or whoever can write there."""
    times = list[int]()
    planted = fetched(Spool(tmp_path / "other"), "a", lambda: iter((b"planted",)))
    planted.file.close()
    path = planted.spooled.path
    (tmp_path / "own").mkdir()
    path.rename(tmp_path / "own" / path.name)
    with fetched(Spool(tmp_path / "own"), "a", lambda: made(times)).file as file:
        assert file.read() == b"onetwo"
    assert times == [1]


def test_a_file_that_is_not_what_it_must_be_is_made_again(tmp_path: Path) -> None:
    times, right = list[int](), hashlib.sha256(b"onetwo").hexdigest()
    first = fetched(Spool(tmp_path), "a", lambda: made(times))
    first.file.close()
    path = first.spooled.path
    path.write_bytes(b"forged")
    with fetched(Spool(tmp_path), "a", lambda: made(times), right).file as file:
        assert file.read() == b"onetwo"
    assert times == [1, 1]


def test_a_disk_that_takes_nothing_is_said_and_passes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    (tmp_path / "spool").rmdir()
    with pytest.raises(NotKept, match="No such file"):
        fetched(spool, "a", lambda: made([]))
    (tmp_path / "spool").mkdir()
    fetched(spool, "a", lambda: made([])).file.close()


def test_what_is_made_says_how_much_there_is(tmp_path: Path) -> None:
    fetching = Spool(tmp_path).fetch("a", lambda: made([]))
    assert [next(fetching), next(fetching)] == [3, 6]


def test_a_report_that_nobody_waits_for_any_more_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    fetching = spool.fetch("a", lambda: made([]))
    next(fetching)
    fetching.close()
    assert list(tmp_path.iterdir()) == []
    fetched(spool, "a", lambda: made([])).file.close()


def test_the_oldest_file_goes_and_is_made_again_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "FILES_MAX", 2)
    spool, times = Spool(tmp_path), list[int]()
    first = fetched(spool, "a", lambda: made(times))
    for name in ("b", "c"):
        fetched(spool, name, lambda: made(times)).file.close()
    assert len(list(tmp_path.iterdir())) == 2
    with first.file as file:
        assert file.read() == b"onetwo", "who reads it reads on"
    with fetched(spool, "a", lambda: made(times)).file as file:
        assert file.read() == b"onetwo"
    assert len(times) == 4


def test_a_file_that_has_to_go_while_it_is_found_or_made_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)

    def replaced(self: Path, target: Path) -> Path:
        self.unlink()
        return target

    def read(path: Path, file: BinaryIO) -> Spooled:
        path.unlink()
        return Spooled(path, 6, "00")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replaced)
        with fetched(spool, "a", lambda: made([])).file as file:
            assert file.read() == b"onetwo"
    fetched(spool, "a", lambda: made([])).file.close()
    with monkeypatch.context() as patched:
        patched.setattr(spools, "_read", read)
        with fetched(Spool(tmp_path), "a", lambda: made([])).file as file:
            assert file.read() == b"onetwo"


def test_a_part_of_the_members_is_never_taken_for_all_of_them() -> None:
    said = [replace(HEAD, members=one).lines()["members"] for one in (None, ("all",), (), ("a", "b"))]
    assert said == ["all", "only all", "none", "only a b"]


def test_a_report_that_fails_leaves_nothing_and_may_be_tried_again(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"half"
        raise KeyError

    spool = Spool(tmp_path)
    with pytest.raises(KeyError):
        fetched(spool, "a", failing)
    assert list(tmp_path.iterdir()) == []
    fetched(spool, "a", lambda: made([])).file.close()


def test_many_who_ask_at_once_get_one_file(tmp_path: Path) -> None:
    spool, times = Spool(tmp_path), list[int]()

    def fetch() -> None:
        fetched(spool, "a", lambda: made(times)).file.close()

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(times) == 1
    assert len(list(tmp_path.iterdir())) == 1
