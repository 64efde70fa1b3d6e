"""What the documents tell a reader to type works as written."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clearing.model.outcomes import Reason
from clearing.server.errors import Fault
from clearing.store.migrate import upgrade
from ledger.store.connect import open_store
from tests.serving import Served, environment, served_house

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the demonstration left."""
    folder = tmp_path_factory.mktemp("demo")
    start = [sys.executable, "-c", "from clearing.cli import main; main()", "demo", "--out", str(folder)]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    return folder


def indented_block(document: str, containing: str) -> str:
    """The indented commands of a document in which a word stands."""
    text = (DOCS / document).read_text()
    blocks = re.findall(r"(?:^ {4}.*\n|^\n)+", text, flags=re.MULTILINE)
    (block,) = [block for block in blocks if containing in block]
    return re.sub(r"^ {4}", "", block, flags=re.MULTILINE)


def test_openssl_accepts_an_officers_signature_as_check_us_says(published: Path) -> None:
    assert shutil.which("openssl"), "openssl is wanted: it is part of every base system the project runs on"
    script = indented_block("check-us.md", "openssl pkeyutl")
    done = subprocess.run(
        ["bash", "-euc", script], cwd=published, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "Signature Verified Successfully\n"), done.stderr


def test_openssl_refuses_the_signature_once_the_statement_is_changed(published: Path) -> None:
    script = indented_block("check-us.md", "openssl pkeyutl").replace(
        "openssl pkeyutl", "sed -i s/demo/memo/ pae.bin; openssl pkeyutl"
    )
    done = subprocess.run(
        ["bash", "-euc", script], cwd=published, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0


@pytest.fixture
def reader(published: Path, tmp_path: Path) -> Path:
    """A folder in which a reader has put what the documents speak of, and the commands that they name."""
    for name in ("published", "log"):
        (tmp_path / name).symlink_to(published)
    for name in ("policy.txt", "receipts"):
        (tmp_path / name).symlink_to(published / name)
    for name in ("checkpoint-of-april", "checkpoint-of-may"):
        shutil.copy(published / "checkpoint", tmp_path / name)
    (tmp_path / "1.root.json").symlink_to(published / "trust" / "1.root.json")
    (tmp_path / "my-cash.proof").symlink_to(published / "liabilities" / "borealis.proof")
    (whole,) = (published / "bundles").glob("*.whole.txt")
    (tmp_path / "bundle.txt").symlink_to(whole)
    (tmp_path / "my-house.db.tiles").symlink_to(published)
    (tmp_path / "bin").mkdir()
    for name, module in (("clearctl", "clearctl.app"), ("clearing", "clearing.cli")):
        program = f"#!{sys.executable}\nfrom {module} import main\nmain()\n"
        (tmp_path / "bin" / name).write_text(program)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def typed(reader: Path, script: str) -> subprocess.CompletedProcess[str]:
    """What a shell does with ``script`` in the reader's folder."""
    path = f"{reader / 'bin'}{os.pathsep}{os.environ['PATH']}"
    settings = environment() | {"PATH": path}
    return subprocess.run(
        ["bash", "-euc", script], cwd=reader, env=settings, capture_output=True, text=True, check=False
    )


def commands(document: str, beginning: str) -> list[str]:
    """The indented lines of a document that begin so."""
    text = (DOCS / document).read_text()
    return re.findall(rf"^ {{4}}({beginning}.*)$", text, flags=re.MULTILINE)


@pytest.mark.parametrize("document", ["check-us.md", "runbook.md"])
def test_whatever_a_document_verifies_holds(reader: Path, document: str) -> None:
    found = commands(document, "clearctl (?:verify|log compare) ")
    assert len(found) >= 3
    for command in found:
        done = typed(reader, command)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_the_anchor_that_the_runbook_makes_is_the_one_that_was_there(reader: Path) -> None:
    (command,) = commands("runbook.md", "sed ")
    assert typed(reader, command).returncode == 0
    made = (reader / "house.anchor").read_bytes()
    assert made == (reader / "published" / "house.sqlite.anchor").read_bytes()


def test_every_option_of_a_documented_command_exists(reader: Path) -> None:
    for document in ("check-us.md", "runbook.md"):
        taught = "clear(?:ing|ctl) (?:serve|demo|verify|keys init|log|witness)"
        for command in commands(document, taught):
            name = re.match(r"(clear\w+ (?:keys |log |witness )?\w+)", command)
            assert name is not None
            told = typed(reader, f"{name[1]} --help").stdout
            assert all(option in told for option in re.findall(r"--[a-z-]+", command)), command


def test_every_reason_for_a_refusal_stands_in_the_list_of_reasons() -> None:
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", (DOCS / "reasons.md").read_text(), re.MULTILINE))
    wanted = {reason.name: reason.value for reason in Reason} | {f.name: f.sentence for f in Fault}
    assert listed == wanted


@pytest.mark.slow
def test_the_ledger_alone_does_what_its_page_says(reader: Path) -> None:
    blocks = re.findall(
        r"(?:^ {4}clearing ledger.*\n)+", (DOCS / "ledger.md").read_text(), flags=re.MULTILINE
    )
    done = typed(reader, "".join(blocks).replace("    clearing", "clearing"))
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line for line in said if line.startswith("1: ")] == [
        *(f"1: POSTED, entry {number}" for number in range(5)),
        "1: POSTED, entry 4",
        "1: LIMIT_EXCEEDED",
    ]
    assert ("refused" in said, "100 USD" in said, any("entries hold" in line for line in said)) == (True,) * 3
    assert (reader / "alice.receipt").read_text().startswith("ledger/leg-receipt@v1\n")


def test_the_python_of_the_ledgers_page_runs(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", (DOCS / "ledger.md").read_text(), flags=re.DOTALL)
    database = open_store(f"sqlite:///{tmp_path / 'books.db'}")
    upgrade(database)
    exec(compile(source, "ledger.md", "exec"), {"database": database, "now_ms": 1_700_000_000_000})
    database.dispose()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The served house that the page of clearctl speaks of: alpha, BTC-PERP, prices."""
    with served_house(tmp_path_factory.mktemp("house")) as running:
        yield running


@pytest.mark.parametrize(
    ("heading", "who"),
    [
        ("A member", "member/alpha"),
        ("An administrator", "administrator/anna"),
        ("A custodian", "custodian/vault"),
        ("A regulator", "regulator/rita"),
    ],
)
def test_the_page_of_clearctl_works_as_typed(reader: Path, house: Served, heading: str, who: str) -> None:
    text = (DOCS / "clearctl.md").read_text()
    part = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^ {4}(clearctl .*)$", part, flags=re.MULTILINE)
    assert len(found) >= 3
    row = f"BTC-PERP,alpha/one,alpha/two,0.001,64000.0,{datetime.now(UTC).isoformat()}"
    (reader / "trades.csv").write_text(f"instrument,buyer,seller,size,price,execute_time\n{row}\n")
    begin = f"clearctl profile add me --house {house.address} --keys {house.keys / 'clients' / who}"
    settings = f"export CLEARCTL_CONFIG={reader / 'config.toml'}\n"
    assert typed(reader, f"{settings}{begin}").returncode == 0
    for command in found:
        asked_for = f"{command} --yes" if "propose " in command else command
        done = typed(reader, f"{settings}{asked_for}")
        assert done.returncode == 0, (command, done.stdout, done.stderr)


@pytest.mark.slow
def test_the_page_for_regulators_works_as_typed(reader: Path, house: Served) -> None:
    """Every command, in the order of the page, with a regulator's certificate."""
    found = commands("regulators.md", "clearctl (?!profile)")
    assert {command.split()[2] for command in found if "report" in command} >= {
        "list",
        "pull",
        "verify",
        "explain",
    }
    for name, place in (
        ("policy.txt", house.keys / "policy.txt"),
        ("published", house.directory / "house.db.tiles"),
    ):
        (reader / name).unlink()
        (reader / name).symlink_to(place)
    begin = (
        f"clearctl profile add me --house {house.address} --keys {house.keys / 'clients' / 'regulator/rita'}"
    )
    settings = f"export CLEARCTL_CONFIG={reader / 'config.toml'}\n"
    assert typed(reader, f"{settings}{begin}").returncode == 0
    (reader / "receipts").unlink()
    for command in found[:-1]:  # the last is of the demonstration
        done = typed(reader, f"{settings}{command}")
        assert done.returncode == 0, (command, done.stdout, done.stderr)
