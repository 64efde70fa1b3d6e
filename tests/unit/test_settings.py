"""Settings: options first, then the environment; where anchor and tiles are when nobody says so."""

from pathlib import Path

import pytest

from clearing.settings import (
    Places,
    SettingsRefused,
    places_of,
    read_settings,
    require_demonstration,
    require_loopback,
)

POSTGRESQL = "postgresql://clearing@db.example.org/clearing"


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE", "LISTEN", "KEYS", "STATE", "ANCHOR", "TILES_DIR", "REPORTS_DIR"):
        monkeypatch.delenv(f"CLEARING_{name}", raising=False)


def test_a_file_has_its_anchor_its_tiles_and_its_reports_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "house.db"
    places = places_of(read_settings(database=f"sqlite:///{file}"))
    assert places == Places(
        anchor=Path(f"{file}.anchor"), tiles=Path(f"{file}.tiles"), reports=Path(f"{file}.reports")
    )


def test_options_come_before_the_environment_and_that_before_what_is_usual(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CLEARING_ANCHOR", "from-environment.anchor")
    monkeypatch.setenv("CLEARING_TILES_DIR", "from-environment")
    given = read_settings(database=f"sqlite:///{tmp_path / 'house.db'}", anchor=Path("given"))
    assert places_of(given) == Places(
        anchor=Path("given"), tiles=Path("from-environment"), reports=tmp_path / "house.db.reports"
    )


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, {"anchor: say --anchor FILE", "tiles_dir: say --tiles-dir DIR"}),
        ({"tiles_dir": Path("log")}, {"anchor: say --anchor FILE"}),
        ({"anchor": Path("house.anchor")}, {"tiles_dir: say --tiles-dir DIR"}),
    ],
)
def test_a_server_has_no_place_beside_it_and_what_is_missing_is_named(
    given: dict[str, Path], missing: set[str]
) -> None:
    with pytest.raises(SettingsRefused) as refused:
        places_of(read_settings(database=POSTGRESQL, **given))
    assert {part.partition(",")[0] for part in str(refused.value).split("; ")} == missing


def test_with_both_given_a_server_is_as_good_as_a_file() -> None:
    places = Places(anchor=Path("house.anchor"), tiles=Path("log"), reports=Path("log.reports"))
    settings = read_settings(database=POSTGRESQL, anchor=places.anchor, tiles_dir=places.tiles)
    assert places_of(settings) == places
    elsewhere = settings.model_copy(update={"reports_dir": Path("elsewhere")})
    assert places_of(elsewhere).reports == Path("elsewhere")


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.0.0.1:7443", "127.8.9.1:1", "[::1]:7443"])
def test_without_tls_a_house_listens_to_its_own_machine(listen: str) -> None:
    require_loopback(listen, "--insecure-loopback")


@pytest.mark.parametrize(
    "listen",
    [
        "0.0.0.0:7443",
        "[::]:7443",
        "10.0.0.1:7443",
        "localhost:7443",
        "house.example:1",
        "[::ffff:127.0.0.1]:1",
        "128.0.0.1:1",
    ],
)
def test_without_tls_a_house_listens_to_nobody_else(listen: str) -> None:
    with pytest.raises(SettingsRefused, match="--insecure-loopback"):
        require_loopback(listen, "--insecure-loopback")


@pytest.mark.parametrize(
    ("house", "listen"), [("testhouse", "127.0.0.1:0"), ("demo", "127.0.0.1:0"), ("demo-7", "10.0.0.1:7443")]
)
def test_a_clock_that_is_stepped_is_for_a_demonstration_on_this_machine(house: str, listen: str) -> None:
    with pytest.raises(SettingsRefused, match="--scenario-clock"):
        require_demonstration(house, listen)
    require_demonstration("demo-7", "127.0.0.1:0")
