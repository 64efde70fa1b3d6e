from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Served, served_house


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One served house for all the tests of a module."""
    directory: Path = tmp_path_factory.mktemp("house")
    with served_house(directory, "--state", str(directory / "state")) as running:
        yield running
