"""What ``clearctl`` makes of numbers, names, tables and profiles."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from clearctl import amounts, names
from clearctl.asked import basis_points
from clearctl.nouns.param import with_settings
from clearctl.profiles import ConfigRefused, Profiles, config_path, read_profiles, write_profiles
from clearctl.tables import Column, amount, listing, listings
from clearinghouse.v1.auction_service_pb2 import AUCTION_KIND_CLOSE_OUT, Auction
from clearinghouse.v1.parameters_pb2 import Parameters, ScanRange

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_amounts_are_grouped_and_never_rounded() -> None:
    assert amounts.grouped("1234567890123456789012.000001") == "1,234,567,890,123,456,789,012.000001"
    assert amounts.grouped("-1000") == "-1,000"
    assert amounts.trimmed("10.500000") == "10.5"
    assert amounts.trimmed("-2000.000") == "-2,000"
    assert amounts.trimmed("100") == "100"


def test_percentages_are_signed_and_read_back() -> None:
    assert [amounts.percent(points) for points in (-2_500, 0, 7)] == ["−25.00%", "+0.00%", "+0.07%"]
    assert [basis_points(text) for text in ("-25%", "+7.5%", "0.01%")] == [-2_500, 750, 1]
    for text in ("25", "1.234%", "%", "1e2%", "−5%"):
        with pytest.raises(typer.BadParameter):
            basis_points(text)


def test_an_enums_value_is_a_word() -> None:
    assert amounts.word(Auction(kind=AUCTION_KIND_CLOSE_OUT), "kind") == "close out"
    assert amounts.word(Auction(kind=99), "kind") == "unknown"  # type: ignore[arg-type]


def test_names_are_short_where_a_member_stands_in_front() -> None:
    assert amounts.account_name("members/alpha/accounts/one") == "alpha/one"
    assert amounts.account_name("members/alpha") == "alpha"
    assert amounts.account_name("members/alpha/accounts/one/withdrawals/w1") == "alpha/one/w1"
    assert amounts.account_name("house/insurance_fund") == "house/insurance_fund"


def test_short_names_become_resource_names() -> None:
    assert names.account("alpha/one") == "members/alpha/accounts/one"
    assert names.account("members/alpha/accounts/one") == "members/alpha/accounts/one"
    assert names.account("nonsense") == "nonsense"
    assert names.withdrawal("alpha/one/w1") == "members/alpha/accounts/one/withdrawals/w1"
    assert names.trade("alpha/t1") == "members/alpha/trades/t1"
    assert names.named("auctions", "auctions/a1") == "auctions/a1"
    assert names.parent(None) == "members/-"
    assert names.instrument("all") == "instruments/-"


def test_the_time_left_ends_at_its_time() -> None:
    due = Timestamp()
    due.FromDatetime(NOW)
    for before_s, shown in ((3_723, "1:02:03"), (59, "0:00:59"), (0, "0:00:00"), (-1, "over")):
        assert amounts.left(due, NOW - timedelta(seconds=before_s)) == shown
    assert amounts.when(due) == "2026-01-31 12:00:00Z"
    assert not amounts.when(Timestamp())


def test_numbers_stand_at_the_right_and_an_empty_list_is_no_table() -> None:
    rows = [SimpleNamespace(name="a", amount="5.0"), SimpleNamespace(name="b", amount="12345.0")]
    console = Console(width=40, record=True, file=io.StringIO())
    console.print(listing("Title", rows, (Column("who", lambda row: row.name), amount("amount"))))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    assert lines == ["Title", "who    amount", "a         5.0", "b    12,345.0"]
    assert listings("Title", [], ()) == []


def test_settings_are_put_into_a_copy_by_name() -> None:
    known = Parameters(requirement_bp=12_500, pool_floor="1.5", scan_ranges=[ScanRange(move_bp=1)])
    ranges = '[{"underlying": "feeds/BTC", "move_bp": 2000}, {"underlying": "feeds/ETH", "move_bp": 3000}]'
    wanted = with_settings(known, ["requirement_bp=13000", "pool_floor=2.50", f"scan_ranges={ranges}"])
    assert (wanted.requirement_bp, wanted.pool_floor) == (13_000, "2.50")
    assert [one.move_bp for one in wanted.scan_ranges] == [2_000, 3_000]
    assert known.requirement_bp == 12_500


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("requirement=13000", "requirement_bp"),
        ("requirement_bp=", "write NAME=VALUE"),
        ("requirement_bp=much", "requirement_bp=much"),
        ("scan_ranges=[", "scan_ranges"),
    ],
)
def test_a_setting_that_is_none_is_refused_with_what_is_near(text: str, complaint: str) -> None:
    with pytest.raises(typer.BadParameter, match=complaint):
        with_settings(Parameters(), [text])


# profiles -------------------------------------------------------------------------------------------------


def test_profiles_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    assert read_profiles(path) == Profiles()
    kept = Profiles().with_profile("alpha", {"house": "h:1", "keys": '/a "b" \\ ü'})
    kept = kept.with_profile("Beta-2", {"house": "h:2", "output": "json"})
    write_profiles(path, kept)
    assert read_profiles(path) == kept
    assert (kept.in_use, kept.settings("")["house"], kept.settings("Beta-2")["house"]) == (
        "alpha",
        "h:1",
        "h:2",
    )
    assert kept.using("Beta-2").settings("")["output"] == "json"
    assert [found.name for found in path.parent.iterdir()] == ["config.toml"]


def test_a_profile_that_is_not_there_is_refused_with_those_that_are() -> None:
    kept = Profiles().with_profile("alpha", {})
    for ask in (lambda: kept.settings("gamma"), lambda: kept.using("gamma")):
        with pytest.raises(ConfigRefused, match="no profile gamma; there is alpha"):
            ask()
    for name in ("", "a b", "ü", "a.b", "x" * 33):
        with pytest.raises(ConfigRefused, match="letters"):
            kept.with_profile(name, {})


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        'user = "a"',
        "use = 1",
        "profiles = 1",
        "[profiles]\na = 1",
        '[profiles.a]\npassword = "x"',
        "[profiles.a]\nhouse = 1",
    ],
)
def test_a_file_that_is_none_of_profiles_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigRefused, match=r"config\.toml"):
        read_profiles(path)


def test_where_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_path({}) == tmp_path / ".config" / "clearctl" / "config.toml"
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/clearctl/config.toml")
    assert config_path({"XDG_CONFIG_HOME": "/x", "CLEARCTL_CONFIG": "/y"}) == Path("/y")
