"""What the documents tell a reader to type works as written."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearing.model.outcomes import Reason
from clearing.server.errors import Fault

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


def test_every_reason_for_a_refusal_stands_in_the_list_of_reasons() -> None:
    listed = dict(re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", (DOCS / "reasons.md").read_text(), re.MULTILINE))
    wanted = {reason.name: reason.value for reason in Reason} | {f.name: f.sentence for f in Fault}
    assert listed == wanted
