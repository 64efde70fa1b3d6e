"""The style of this repository, as tests: floors, walls, no drawers, no float next to money, nothing dead.

A rule is a function from one source file to what it finds there: a line, and what to do about it. The last
part of this file shows each rule a snippet that breaks it, since a check that cannot fail checks nothing.
"""

import ast
import codecs
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path, PurePosixPath
from typing import TypeAlias

import pytest

from clearctl.app import NOUNS

ROOT = Path(__file__).parents[1]
PYPROJECT = ROOT / "pyproject.toml"

PRODUCT = ("ledger/", "clearing/", "clients/")
WRITTEN_BY_HAND = ("ledger", "clearing", "clients", "proto", "migrations", "bench", "tests")
STORES = ("ledger/store/", "clearing/store/")

# Floors 0 to 2a of docs/ARCHITECTURE.md, with the ledger's core: everything of ledger/ but its store.
PURE_HOUSE = (
    "clearing/model/",
    "clearing/chart.py",
    "clearing/market/",
    "clearing/margin/",
    "clearing/default/",
    "clearing/attest/",
    "clearing/reports/",
    "clearing/decide/",
)
DRAWN = ("clearing/reports/charts.py", "clearing/reports/drawing.py")  # a picture is measured in floats
IMPURE = (
    *("time", "random", "secrets", "uuid", "os", "subprocess", "socket", "threading", "asyncio"),
    *("logging", "structlog", "pydantic_settings"),
    *("sqlalchemy", "alembic", "psycopg", "ledger.store"),
    *("google", "grpc", "clearinghouse", "buf", "protovalidate"),
)
CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time"}

# What the offline verifier, and so a client, may import of the house.
OFFLINE = (
    *(
        "ledger.account",
        "ledger.checkpoint",
        "ledger.evidence",
        "ledger.leaf",
        "ledger.merkle",
        "ledger.receipt",
        "ledger.store.anchor",
        "ledger.tiles",
        "ledger.witness",
    ),
    *(
        "clearing.attest.envelope",
        "clearing.attest.liabilities",
        "clearing.attest.policy",
        "clearing.attest.recompute_bundle",
        "clearing.attest.statement",
    ),
    *("clearing.attest.bundle", "clearing.attest.opening", "clearing.attest.report", "clearing.signing"),
    *("clearing.reports.canonical", "clearing.reports.document", "clearing.reports.sources"),
)
RECOMPUTING = ("clients/clearing_client/recomputing.py", "clearing.attest.recompute")
"""The one module of a client that needs the house's margin, and an extra; and what it imports for that."""
# What needs the extra `trust`, besides.
OFFLINE_WITH_TUF = ("clearing.attest.trust",)

DRAWERS = {"util", "utils", "helper", "helpers", "common", "misc", "manager", "managers"}

LINES_MAX = 40
LONG_FUNCTIONS: Mapping[str, int] = {}  # "path::name" -> its lines today; an entry may only fall

# Spelt in rot13, so that this file keeps its own rule.
TOOLS = [codecs.decode(w, "rot13") for w in ("pynhqr", "naguebcvp", "pungtcg", "bcranv", "pbcvybg", "pbqrk")]
TOOL_NAME = re.compile(rf"\b({'|'.join(TOOLS)})\b", re.IGNORECASE)
MACHINE_FOLDERS = ("work", "root", "home", "tmp")
MACHINE_PATH = re.compile(rf"(?<![\w.])/({'|'.join(MACHINE_FOLDERS)})/")

Finding: TypeAlias = tuple[int, str]
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file by its path from the root, with ``/``."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def is_pure(self) -> bool:
        core = self.path.startswith("ledger/") and not self.path.startswith(STORES)
        return core or self.path.startswith(PURE_HOUSE)

    @property
    def module(self) -> str:
        parts = PurePosixPath(self.path.removeprefix("clients/")).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def imports(self) -> Iterator[tuple[int, str]]:
        """Every imported name in full: ``ledger.book.Book``. Ruff refuses relative imports."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


Rule: TypeAlias = Callable[[Source], Iterator[Finding]]


def _is_under(name: str, packages: Collection[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


# ------------------------------------------------------------------------------------------- floors and walls


@dataclass(frozen=True, kw_only=True)
class Wall:
    """Packages that only some folders of the product may import."""

    packages: tuple[str, ...]
    allowed: tuple[str, ...]
    law: str


WALLS = (
    Wall(
        packages=(
            *("google", "clearinghouse", "buf", "protovalidate"),
            *("grpc", "grpc_status", "grpc_health", "grpc_reflection", "grpc_channelz"),
        ),
        # the demonstration plays the clients of its house
        allowed=("clearing/server/", "clearing/demo/wire.py", "clearing/demo/outside.py", "clients/"),
        law="only the server and the clients see protobuf: convert in clearing/server/wire",
    ),
    Wall(
        packages=("sqlalchemy", "psycopg"),
        allowed=STORES,
        law="only stores see SQLAlchemy: ask a query of the store",
    ),
    Wall(
        packages=("clearing", "clearing_client", "clearctl"),
        allowed=("clearing/", "clients/"),
        law="the ledger knows nothing of the house: pass it in as an argument",
    ),
    Wall(
        packages=("tests", "bench", "migrations", "proto", "hatch_build"),
        allowed=(),
        law="these are importable in the checkout only: a wheel has them nowhere",
    ),
)


def impure_imports(source: Source) -> Iterator[Finding]:
    for line, name in source.imports() if source.is_pure else ():
        if _is_under(name, IMPURE):
            yield line, f"{name} on a pure floor: take what it gives as an argument"


def clock_reads(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree) if source.is_pure else ():
        if isinstance(node, ast.Attribute):
            read = ".".join(ast.unparse(node).split(".")[-2:])
            if read in CLOCKS:
                yield node.lineno, f"{read} on a pure floor: take `now` as an argument"


def broken_walls(source: Source) -> Iterator[Finding]:
    if source.path.startswith(PRODUCT):
        for wall in WALLS:
            for line, name in source.imports():
                if _is_under(name, wall.packages) and not source.path.startswith(wall.allowed):
                    yield line, f"imports {name}, but {wall.law}"


def client_imports(source: Source) -> Iterator[Finding]:
    for line, name in source.imports() if source.path.startswith("clients/") else ():
        if (source.path, name.rpartition(".")[0]) == RECOMPUTING or (source.path, name) == RECOMPUTING:
            continue
        if _is_under(name, ("ledger", "clearing")) and not _is_under(name, (*OFFLINE, *OFFLINE_WITH_TUF)):
            yield line, f"imports {name}, but a client has of the house only {', '.join(OFFLINE)}"


@pytest.mark.parametrize("module", OFFLINE)
def test_what_a_client_may_import_of_the_house_loads_no_third_party_but_cryptography(module: str) -> None:
    program = f"import sys; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    loaded = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    packages = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert packages <= {"clearing", "ledger", "cryptography", "_cffi_backend", "_openssl"}


def _check_contracts(root: Path) -> subprocess.CompletedProcess[str]:
    """Hold the tree at ``root`` against the import-linter contracts of its pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'clients'}"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


# ----------------------------------------------------------------------------------- names, floats, leftovers


def drawers(source: Source) -> Iterator[Finding]:
    path = PurePosixPath(source.path)
    words = {word for part in (*path.parts[:-1], path.stem) for word in part.split("_")}
    for word in sorted(words & DRAWERS):
        yield 1, f"{word!r} is a drawer for anything: name the file after what it holds"


def floats(source: Source) -> Iterator[Finding]:
    if not source.is_pure or source.path.startswith(("clearing/margin/", *DRAWN)):
        return
    for node in ast.walk(source.tree):
        match node:
            case ast.Constant(value=float()) | ast.Name(id="float"):
                yield node.lineno, "float next to money: count smallest units in int"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield node.lineno, "true division next to money: use divide_down or divide_up"
            case _:
                pass


def asserts(source: Source) -> Iterator[Finding]:
    for node in ast.walk(source.tree) if not source.path.startswith("tests/") else ():
        if isinstance(node, ast.Assert):
            yield node.lineno, "assert is compiled away by -O: use require"


def prints(source: Source) -> Iterator[Finding]:
    if source.path.startswith(("clients/", "bench/", "tests/", "clearing/cli")):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno, "print outside a command line: return it, or log it in the server"


def promises(source: Source) -> Iterator[Finding]:
    for line, text in enumerate(source.text.splitlines(), 1) if not source.path.startswith("tests/") else ():
        if re.search(r"\b(TODO|FIXME|XXX)\b", text):
            yield line, "do it now, or open an issue"


def bare_packages(source: Source) -> Iterator[Finding]:
    is_package = source.path.startswith(PRODUCT) and source.path.endswith("__init__.py")
    if is_package and ast.get_docstring(source.tree) is None:
        yield 1, "say in a docstring what the package is for"


def foreign_words(source: Source) -> Iterator[Finding]:
    """Works on any text file."""
    for line, text in enumerate(source.text.splitlines(), 1):
        for found in TOOL_NAME.finditer(text):
            yield line, f"{found[0]!r} is the name of somebody's tool: leave it out"
        for found in MACHINE_PATH.finditer(text):
            yield line, f"{found[0]!r} exists on one machine: take the path as an argument or a setting"


# ---------------------------------------------------------------------------------------- over the whole tree


def dead_modules(all_sources: Collection[Source], entry_points: Collection[str]) -> list[str]:
    """Modules of the product that no other module, test or entry point imports."""
    used = set(entry_points)
    for source in all_sources:
        names = {name for _, name in source.imports()}
        used |= (names | {name.rpartition(".")[0] for name in names}) - {source.module}
    return [
        f"{source.path}:1: imported by nothing: use it or delete it"
        for source in all_sources
        if source.path.startswith(PRODUCT)
        and not source.path.endswith(("__init__.py", "__main__.py"))
        and source.module not in used
    ]


def function_lines(source: Source) -> dict[str, int]:
    """Lines of each function from ``def`` to its end, without its docstring."""
    return {f"{source.path}::{name}": _lines(function) for name, function in _functions(source.tree)}


def _functions(node: ast.AST, outer: tuple[str, ...] = ()) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        inner = (*outer, child.name) if isinstance(child, Function | ast.ClassDef) else outer
        if isinstance(child, Function):
            yield ".".join(inner), child
        yield from _functions(child, inner)


def _lines(function: Function) -> int:
    end = function.end_lineno or function.lineno
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    documented = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return end - function.lineno + 1 - documented


def ratchet(lines: Mapping[str, int], allowed: Mapping[str, int]) -> list[str]:
    """What is longer than allowed, and what is allowed more than it needs."""
    grown = [
        f"{name}: {count} lines, {allowed.get(name, LINES_MAX)} allowed: look for the second idea"
        for name, count in lines.items()
        if count > allowed.get(name, LINES_MAX)
    ]
    shrunk = [
        f"{name}: {lines.get(name, 0)} lines now: lower its entry in LONG_FUNCTIONS, or drop it"
        for name, count in allowed.items()
        if lines.get(name, 0) < count
    ]
    return grown + shrunk


# ----------------------------------------------------------------------------------- the tree keeps the rules


@cache
def sources() -> tuple[Source, ...]:
    paths = [path for folder in WRITTEN_BY_HAND for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(_read(path) for path in (ROOT / "hatch_build.py", *paths))


def _read(path: Path) -> Source:
    return Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))


def _tracked_texts() -> Iterator[Source]:
    """What git tracks or would track, without the files that are not text."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in (ROOT / name for name in listed.split("\0") if name):
        try:
            yield _read(path)
        except (UnicodeDecodeError, FileNotFoundError):
            continue


def _require_none(findings: Collection[str]) -> None:
    if findings:
        pytest.fail("\n".join(findings), pytrace=False)


@pytest.mark.parametrize(
    "rule",
    [
        impure_imports,
        clock_reads,
        broken_walls,
        client_imports,
        drawers,
        floats,
        asserts,
        prints,
        promises,
        bare_packages,
    ],
)
def test_every_source_file_keeps(rule: Rule) -> None:
    _require_none([f"{s.path}:{line}: {advice}" for s in sources() for line, advice in rule(s)])


def test_each_floor_imports_only_lower_ones() -> None:
    checked = _check_contracts(ROOT)
    _require_none([checked.stdout + checked.stderr] if checked.returncode else [])


def test_no_module_is_dead() -> None:
    scripts: dict[str, str] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["scripts"]
    nouns = (f"clearctl.nouns.{noun}" for panel in NOUNS.values() for noun in panel)  # loaded by name
    entry_points = [*(target.partition(":")[0] for target in scripts.values()), *nouns]
    _require_none(dead_modules(sources(), entry_points))


def test_no_function_is_long_and_no_long_one_grows() -> None:
    # A migration is written once and says one thing, however many columns that takes.
    measured = (function_lines(s) for s in sources() if not s.path.startswith("migrations/"))
    _require_none(ratchet({name: count for part in measured for name, count in part.items()}, LONG_FUNCTIONS))


def test_every_package_is_one_and_says_that_it_is_typed() -> None:
    folders = {(ROOT / s.path).parent for s in sources() if s.path.startswith(PRODUCT)}
    shipped = [
        ROOT / "ledger",
        ROOT / "clearing",
        *(path for path in (ROOT / "clients").iterdir() if any(path.glob("*.py"))),
    ]
    wanted = [
        *(folder / "__init__.py" for folder in sorted(folders)),
        *(folder / "py.typed" for folder in shipped),
    ]
    _require_none([f"{path.relative_to(ROOT)}:1: is missing" for path in wanted if not path.exists()])


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only git knows what is tracked")
def test_no_tracked_file_names_a_tool_or_a_machine() -> None:
    _require_none(
        [f"{s.path}:{line}: {advice}" for s in _tracked_texts() for line, advice in foreign_words(s)]
    )


# ----------------------------------------------------------------------------------------- the rules can fail


@pytest.mark.parametrize(
    ("rule", "path", "code"),
    [
        (impure_imports, "ledger/book.py", "import time"),
        (impure_imports, "ledger/book.py", "from ledger.store import writer"),
        (impure_imports, "clearing/chart.py", "from os import environ"),
        (impure_imports, "clearing/decide/trades.py", "from google.protobuf import message"),
        (impure_imports, "clearing/margin/models/static.py", "def f():\n    import random"),
        (clock_reads, "clearing/market/marks.py", "import datetime\nx = datetime.datetime.now()"),
        (clock_reads, "ledger/entry.py", "x = date.today()"),
        (clock_reads, "ledger/entry.py", "clock = time.time"),
        (broken_walls, "clearing/engine.py", "from clearinghouse.v1 import trades_pb2"),
        (broken_walls, "clearing/main.py", "import grpc"),
        (broken_walls, "clearing/engine.py", "import sqlalchemy as sa"),
        (broken_walls, "clearing/server/app.py", "from sqlalchemy import select"),
        (broken_walls, "ledger/store/writer.py", "from clearing.model import ids"),
        (broken_walls, "clearing/cli.py", "from tests.builders import world"),
        (client_imports, "clients/clearing_client/verify.py", "from ledger.book import Book"),
        (client_imports, "clients/clearctl/app.py", "import clearing.engine"),
        (client_imports, "clients/clearctl/app.py", "from clearing import attest"),
        (drawers, "clearing/utils.py", ""),
        (drawers, "clearing/common/values.py", ""),
        (drawers, "tests/grpc_helpers.py", ""),
        (floats, "ledger/amount.py", "half = 0.5"),
        (floats, "ledger/amount.py", "def f(x: float) -> int: ..."),
        (floats, "clearing/default/waterfall.py", "share = loss / total"),
        (floats, "clearing/reports/fees.py", "share /= 2"),
        (floats, "clearing/decide/trades.py", "x = float('1')"),
        (asserts, "clearing/decide/trades.py", "assert True"),
        (asserts, "hatch_build.py", "assert True"),
        (prints, "clearing/server/app.py", "print('here')"),
        (prints, "ledger/book.py", "def f():\n    print()"),
        (promises, "clearing/engine.py", "x = 1  # TODO: tomorrow"),
        (bare_packages, "clearing/decide/__init__.py", "DECIDERS = ()"),
        (foreign_words, "README.md", f"written with {TOOLS[0].title()}"),
        (foreign_words, "docs/runbook.md", f"see /{MACHINE_FOLDERS[0]}/notes"),
        (foreign_words, "bench/run.py", f"open('/{MACHINE_FOLDERS[-1]}/out')"),
    ],
)
def test_a_rule_finds_what_it_forbids(rule: Rule, path: str, code: str) -> None:
    assert list(rule(Source(path, code)))


@pytest.mark.parametrize(
    ("rule", "path", "code"),
    [
        (impure_imports, "ledger/store/writer.py", "import time, sqlalchemy"),
        (impure_imports, "clearing/margin/pricing.py", "import numpy, timeit"),
        (clock_reads, "clearing/engine.py", "x = datetime.now(UTC)"),
        (clock_reads, "clearing/decide/clock.py", "now = command.now"),
        (broken_walls, "clearing/server/wire/trades.py", "from clearinghouse.v1 import trades_pb2"),
        (broken_walls, "tests/integration/test_store.py", "import sqlalchemy, clearing, grpc"),
        (client_imports, "clients/clearing_client/verify.py", "from ledger.merkle import root"),
        (client_imports, "clients/clearing_client/verify.py", "from clearing.attest import envelope"),
        (drawers, "clearing/decide/commons.py", ""),
        (floats, "clearing/margin/pricing.py", "x: float = 1 / 2"),
        (floats, "ledger/amount.py", "x = 7 // 2"),
        (asserts, "tests/unit/test_book.py", "assert True"),
        (prints, "clearing/cli.py", "print('here')"),
        (promises, "clearing/engine.py", "# what is left to do follows from the state"),
        (bare_packages, "clearing/decide/__init__.py", '"""Deciders."""'),
        (foreign_words, "README.md", "a network/tmp/ folder, a framework/work/ folder, ~/work"),
    ],
)
def test_a_rule_leaves_alone_what_it_allows(rule: Rule, path: str, code: str) -> None:
    assert not list(rule(Source(path, code)))


def test_a_module_is_dead_when_only_itself_imports_it() -> None:
    lonely = Source("clearing/lonely.py", "import clearing.lonely")
    used = Source("clearing/used.py", "")
    entry = Source("clearing/entry.py", "from clearing import used")
    client = Source("clients/clearctl/verify.py", "")
    test = Source("tests/test_it.py", "from clearctl.verify import main")
    everything = [lonely, used, entry, client, test]
    assert dead_modules(everything, ["clearing.entry"]) == [
        "clearing/lonely.py:1: imported by nothing: use it or delete it"
    ]


def test_a_docstring_does_not_count_as_length() -> None:
    code = 'class A:\n    @property\n    def f(self):\n        """One.\n\n        Two."""\n        return 1\n'
    assert function_lines(Source("a.py", code)) == {"a.py::A.f": 2}


@pytest.mark.parametrize(
    ("lines", "allowed", "is_kept"),
    [
        ({"a.py::f": 40}, {}, True),
        ({"a.py::f": 41}, {}, False),
        ({"a.py::f": 50}, {"a.py::f": 50}, True),
        ({"a.py::f": 51}, {"a.py::f": 50}, False),
        ({"a.py::f": 49}, {"a.py::f": 50}, False),
        ({}, {"a.py::f": 50}, False),
    ],
)
def test_the_length_of_a_function_may_only_fall(
    lines: Mapping[str, int], allowed: Mapping[str, int], is_kept: bool
) -> None:
    assert (ratchet(lines, allowed) == []) is is_kept


@pytest.mark.parametrize(
    ("path", "code", "complaint"),
    [
        ("clearing/model/ids.py", "import clearing.engine", "clearing.model.ids -> clearing.engine"),
        (
            "clearing/margin/assess.py",
            "import clearing.default",
            "clearing.margin.assess -> clearing.default",
        ),
        ("clearing/attic.py", "", "clearing.attic"),
        ("ledger/book.py", "import clearing", "ledger.book -> clearing"),
        ("clients/clearctl/app.py", "import numpy", "clearctl.app -> numpy"),
    ],
)
def test_the_contracts_find_an_import_that_climbs(
    tmp_path: Path, path: str, code: str, complaint: str
) -> None:
    floors = [
        path.relative_to(ROOT) for path in (ROOT / "clearing").iterdir() if (path / "__init__.py").exists()
    ]
    packages = [
        Path("ledger"),
        Path("clearing"),
        Path("clients/clearctl"),
        Path("clients/clearing_client"),
        *floors,
    ]
    modules = [module.relative_to(ROOT) for module in (ROOT / "clearing").glob("*.py")]
    files = {str(name): "" for name in [*(package / "__init__.py" for package in packages), *modules]}
    for name, text in {**files, path: code}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "pyproject.toml").write_bytes(PYPROJECT.read_bytes())
    checked = _check_contracts(tmp_path)
    assert checked.returncode != 0
    assert complaint in checked.stdout
