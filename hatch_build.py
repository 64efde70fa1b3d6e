"""Compiles ``proto/`` into ``generated/``: on install, wheel or editable, and for ``make proto``.

Rules kept here:

1. proto path = package = Python path, so nothing that protoc wrote is rewritten.
2. Nothing is fetched: ``google/rpc`` and ``google/type`` come from googleapis-common-protos,
   ``google/protobuf`` from grpcio-tools, and ``buf/validate/validate.proto``, which no wheel ships as
   text, from the descriptor inside protovalidate.
3. A proto that does not compile leaves ``generated/`` as it was.

``generated/`` holds the package ``clearinghouse``; the module ``buf.validate.validate_pb2``, which it
imports; and ``image.binpb``, all files with their comments as one descriptor set, with those of errors, which
``buf`` and foreign clients read instead of fetching modules.
"""

import shutil
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from protovalidate import ViolationPb

VALIDATE = "buf/validate/validate.proto"
ERRORS = ("google/rpc/status.proto", "google/rpc/error_details.proto")
"""What every error of the interface carries. No request or answer names them, so the image is given them."""
INIT = '"""Generated from proto/clearinghouse: change it there, then ``make proto``."""\n'


class CompileProtos(BuildHookInterface[BuilderConfig]):
    """Runs before hatchling collects the files of a wheel, or points an editable install at the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's signature
        """Compile into the tree that is being built or installed."""
        compile_protos(Path(self.root))


def compile_protos(root: Path) -> None:
    """Replace ``generated/`` by what ``proto/`` says now."""
    with TemporaryDirectory() as scratch:
        fresh = Path(scratch, "generated")
        fresh.mkdir()
        descriptors = Path(scratch, "validate.binpb")
        descriptors.write_bytes(_validate_descriptors())
        _generate(root / "proto", descriptors, fresh)
        _make_package(fresh / "clearinghouse")
        shutil.rmtree(root / "generated", ignore_errors=True)
        shutil.move(fresh, root / "generated")


def _validate_descriptors() -> bytes:
    """``validate.proto`` as protovalidate carries it; what it imports are well-known types."""
    carried = ViolationPb.desc().file
    return FileDescriptorSet(
        file=[FileDescriptorProto.FromString(carried.proto.to_binary())]
    ).SerializeToString()


def _generate(protos: Path, descriptors: Path, target: Path) -> None:
    own = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    sources = [
        f"--proto_path={protos}",
        f"--proto_path={files('grpc_tools').joinpath('_proto')}",
        f"--proto_path={Path(str(files('google.rpc').joinpath('status.proto'))).parents[2]}",
        f"--descriptor_set_in={descriptors}",
    ]
    messages = [
        f"--python_out={target}",
        f"--plugin=protoc-gen-mypy={_script('protoc-gen-mypy')}",
        f"--mypy_out=quiet:{target}",
    ]
    services = [
        f"--grpc_python_out={target}",
        f"--plugin=protoc-gen-mypy_grpc={_script('protoc-gen-mypy_grpc')}",
        f"--mypy_grpc_out=quiet:{target}",
    ]
    image = [f"--descriptor_set_out={target / 'image.binpb'}", "--include_imports", "--include_source_info"]
    _protoc(*sources, *messages, *own, VALIDATE)
    _protoc(*sources, *services, *own)
    _protoc(*sources, *image, *own, *ERRORS)


def _protoc(*arguments: str) -> None:
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit("protoc refused proto/: see its message above")


def _script(name: str) -> str:
    """The plug-in of the very mypy-protobuf that is importable here, whatever else stands on PATH."""
    scripts = (file for file in distribution("mypy-protobuf").files or () if file.stem == name)
    return str(next(scripts).locate())


def _make_package(package: Path) -> None:
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__init__.py").write_text(INIT, encoding="utf-8")
    (package / "py.typed").touch()


if __name__ == "__main__":
    compile_protos(Path(__file__).parent)
