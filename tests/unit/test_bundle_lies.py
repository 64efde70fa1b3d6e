"""Bundles that were made to fit: a house that commits to two stories, and rows that no program expects."""

import json
from typing import Any

import pytest

from clearing.attest.recompute_bundle import format_bundle
from clearing_client.offline import DETAIL_MAX, Report
from clearing_client.recomputing import verify_bundle
from tests.unit.test_recompute import (
    attested,
    changed,
    committed,
    content_refused,
    texts_of,
    trading,
)


def text_of(line: list[Any]) -> str:
    return json.dumps(line, sort_keys=True, separators=(",", ":"))


@pytest.mark.parametrize("table", ["balances", "measured", "accounts", "members", "charter"])
def test_a_line_that_stands_twice_is_refused(table: str) -> None:
    """A member would be shown the one, and a regulator would compute with the other."""
    house = trading().state
    statement = attested(house)
    texts = texts_of(house, statement)
    number = next(n for n, text in enumerate(texts) if text.startswith(f'["{table}",'))
    for doubled in ([*texts[: number + 1], *texts[number:]], [*texts, texts[number]]):
        forged, bundle = committed(house, statement, doubled)
        assert "stands in the order" in content_refused(forged, bundle)


def test_a_row_under_another_key_than_its_own_is_refused() -> None:
    house = trading().state
    statement = attested(house)
    texts = texts_of(house, statement)
    for number, text in enumerate(texts):
        table, key, row = json.loads(text)
        if table == "stress_array":
            continue
        twice = [*texts[: number + 1], text_of([table, f"{key}0", row]), *texts[number + 1 :]]
        forged, bundle = committed(house, statement, twice)
        assert content_refused(forged, bundle).startswith(f"line {number + 1}: ")


def test_a_balance_that_stands_twice_in_a_line_or_with_another_owner_is_refused() -> None:
    house = trading().state
    statement = attested(house)
    texts = texts_of(house, statement)
    places = [n for n, text in enumerate(texts) if text.startswith('["balances","members/')]
    rows = {n: json.loads(texts[n]) for n in places}
    one, other = places[:2]
    for line in (
        [*rows[one][:2], [rows[one][2][0], *rows[one][2]]],
        [*rows[one][:2], [*rows[one][2], *rows[other][2]]],
    ):
        forged, bundle = committed(house, statement, [*texts[:one], text_of(line), *texts[one + 1 :]])
        assert content_refused(forged, bundle).startswith(f"line {one}: ")


@pytest.mark.parametrize("accounts", [[], ["dex/alice", "dex/bob"]])
def test_an_account_that_is_left_out_of_its_netting_set_is_found(accounts: list[str]) -> None:
    """Its requirement would be nobody's, and its member would be told that it is linked with others."""
    house = trading().state
    statement = attested(house)
    texts = []
    for text in texts_of(house, statement):
        table, key, row = json.loads(text)
        if (table, key) == ("netting_sets", "dex/alice"):
            row["accounts"] = accounts
        texts.append(text_of([table, key, row]))
    forged, bundle = committed(house, statement, texts)
    assert "in another netting set than it names, or in none" in content_refused(forged, bundle)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (("stress_array", ""), {"instruments": []}),
        (("charter", ""), {"settlement": "house/money"}),
        (("cycle", ""), {"marks": []}),
    ],
)
def test_rows_that_contradict_each_other_are_refused_and_break_nothing(
    line: tuple[str, str], wrong: dict[str, Any]
) -> None:
    """A liar chooses them: whoever verifies is told, and never shown a traceback."""
    house = trading().state
    statement = attested(house)
    texts = changed(texts_of(house, statement), line, lambda row: row.update(wrong))
    forged, bundle = committed(house, statement, texts)
    report = verify_bundle([forged], b"".join(format_bundle(bundle)))
    assert not report.ok


def test_what_was_not_checked_is_printable_too() -> None:
    """An account of a bundle is named there, and a liar chose its name."""
    report = Report(checks=(), not_checked=("accounts \x1b[2Jdex/alice\u202e", "x" * (DETAIL_MAX + 1)))
    assert all(one.isprintable() for one in report.not_checked)
    assert max(map(len, report.not_checked)) < DETAIL_MAX + 50
