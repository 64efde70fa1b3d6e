"""What was released of the interface stays: `buf breaking`, as `make lint` runs it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")
RELEASED = ROOT / "proto" / "released.binpb"
TRADES = "clearinghouse/v1/trade_service.proto"

pytestmark = pytest.mark.skipif(not BUF.exists(), reason="buf is not installed beside this interpreter")


def breaking(image: Path) -> subprocess.CompletedProcess[str]:
    """What buf says of ``image`` against what was released, by the line of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    (line,) = (found.strip() for found in makefile.splitlines() if "buf breaking" in found)
    words = line.replace("$(GENERATED)", str(image)).replace("$(RELEASED)", str(RELEASED)).split()
    return subprocess.run([str(BUF), *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


def changed(folder: Path, change: Callable[[FileDescriptorProto], object]) -> Path:
    """The interface as it is, with ``change`` made to the protos of trades."""
    image = FileDescriptorSet.FromString((ROOT / "generated" / "image.binpb").read_bytes())
    change(next(file for file in image.file if file.name == TRADES))
    path = folder / "image.binpb"
    path.write_bytes(image.SerializeToString())
    return path


def without_a_field(file: FileDescriptorProto) -> None:
    del message(file, "Trade").field[-1]


def renumbered(file: FileDescriptorProto) -> None:
    message(file, "Trade").field[-1].number = 99


def without_a_method(file: FileDescriptorProto) -> None:
    del file.service[0].method[-1]


def with_another_field(file: FileDescriptorProto) -> None:
    new = message(file, "Trade").field.add()
    new.CopyFrom(message(file, "Trade").field[0])
    new.name, new.json_name, new.number = "venue", "venue", 99


def message(file: FileDescriptorProto, name: str) -> DescriptorProto:
    return next(one for one in file.message_type if one.name == name)


def test_the_interface_still_has_what_was_released() -> None:
    said = breaking(ROOT / "generated" / "image.binpb")
    assert said.returncode == 0, f"{said.stdout}{said.stderr}\nmoving the baseline: see CONTRIBUTING.md"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            without_a_field,
            'Previously present field "8" with name "trade_ref" on message "Trade" was deleted.',
        ),
        (renumbered, 'Previously present field "8" with name "trade_ref" on message "Trade" was deleted.'),
        (without_a_method, 'Previously present RPC "ListHalves" on service "TradeService" was deleted.'),
    ],
)
def test_what_breaks_a_caller_is_told(
    tmp_path: Path, change: Callable[[FileDescriptorProto], object], told: str
) -> None:
    said = breaking(changed(tmp_path, change))
    assert said.returncode != 0
    assert told in said.stdout


def test_what_is_added_breaks_nobody(tmp_path: Path) -> None:
    assert breaking(changed(tmp_path, with_another_field)).returncode == 0


def test_the_baseline_has_no_comments_and_no_scenario() -> None:
    released = FileDescriptorSet.FromString(RELEASED.read_bytes())
    assert {file.package for file in released.file if file.name.startswith("clearinghouse")} == {
        "clearinghouse.v1"
    }
    assert not any(file.HasField("source_code_info") for file in released.file)
