"""Which program computed the figures: a digest of its text, so that whoever recomputes knows whether it is the same.

Rules kept here (attestation.md §5, ``codeDigest``): SHA-256 over one line a module, in the order of their paths: the
path below the package's parent, a space, and the hex SHA-256 of its bytes with line ends as newline. What is counted:
``ledger`` but for its store, and of ``clearing`` the chart, the model, the market, the margin, the default and the
attestation; nothing else takes part in a figure.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

FIGURES = ("attest", "default", "margin", "market", "model")


@cache
def code_digest() -> bytes:
    """SHA-256 of the text of the program that computes what is attested."""
    lines = sorted(f"{path} {hashlib.sha256(text).hexdigest()}\n" for path, text in _modules())
    return hashlib.sha256("".join(lines).encode()).digest()


def _modules() -> Iterator[tuple[str, bytes]]:
    ledger, clearing = files("ledger"), files("clearing")
    yield from _modules_in("ledger", ledger, deep=False)
    yield "clearing/chart.py", _text(clearing.joinpath("chart.py"))
    for name in FIGURES:
        yield from _modules_in(f"clearing/{name}", clearing.joinpath(name), deep=True)


def _modules_in(path: str, folder: Traversable, *, deep: bool) -> Iterator[tuple[str, bytes]]:
    for one in folder.iterdir():
        if one.is_file() and one.name.endswith(".py"):
            yield f"{path}/{one.name}", _text(one)
        elif deep and one.is_dir():
            yield from _modules_in(f"{path}/{one.name}", one, deep=True)


def _text(module: Traversable) -> bytes:
    return module.read_bytes().replace(b"\r\n", b"\n")
