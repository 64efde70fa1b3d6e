"""Decimal strings are exact, or refused."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearing.model import decimal
from clearing.model.decimal import FRACTION_DIGITS_MAX, WHOLE_DIGITS_MAX, DecimalRefused
from clearing.model.units import Unit


@given(st.integers(-(10**40), 10**40), st.integers(0, 18))
def test_what_is_written_is_read_back(units: int, decimals: int) -> None:
    text = decimal.render(units, decimals)
    if abs(units) < 10 ** (WHOLE_DIGITS_MAX + decimals):
        assert decimal.parse(text, decimals, signed=True) == units


@given(st.integers(-(10**38), 10**38), st.integers(0, 18))
def test_a_decimal_says_the_same_as_python_decimals(units: int, decimals: int) -> None:
    with localcontext(prec=80):
        assert Decimal(decimal.render(units, decimals)) == Decimal(units).scaleb(-decimals)


@given(st.text(max_size=50))
def test_any_text_is_read_exactly_or_refused(text: str) -> None:
    try:
        units = decimal.parse(text, 3, signed=True)
    except DecimalRefused:
        return
    with localcontext(prec=80):
        assert Decimal(text) * 1000 == units


@pytest.mark.parametrize(
    ("text", "units"),
    [("0", 0), ("1", 1000), ("1.5", 1500), ("1.500000", 1500), ("0.001", 1), ("12.050", 12050)],
)
def test_whole_multiples_are_taken_however_many_zeros_follow(text: str, units: int) -> None:
    assert decimal.parse(text, 3) == units


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "1 ",
            " 1",
            "+1",
            "1e3",
            "1E3",
            "NaN",
            "nan",
            "Infinity",
            "-inf",
            "0x10",
            "1_000",
            "1,000",
        ),
        *(
            ".5",
            "5.",
            ".",
            "-",
            "--1",
            "1..2",
            "1.2.3",
            "00",
            "01",
            "-01",
            "٣",
            "\uff11",
            "1\n",
            "\x001",
            "½",
        ),
    ],
)
def test_what_is_no_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(DecimalRefused, match="not a decimal"):
        decimal.parse(text, 3, signed=True)


def test_a_sign_is_refused_where_none_is_allowed() -> None:
    assert decimal.parse("-1.5", 1, signed=True) == -15
    with pytest.raises(DecimalRefused, match="negative"):
        decimal.parse("-1.5", 1)
    with pytest.raises(DecimalRefused, match="negative"):
        decimal.parse("-0", 1)


def test_what_is_finer_than_a_step_is_refused_and_the_step_is_named() -> None:
    with pytest.raises(DecimalRefused, match=r"multiple of 0\.1$"):
        decimal.parse("1.55", 1)
    with pytest.raises(DecimalRefused, match=r"multiple of 0\.25$"):
        decimal.parse("1.30", 2, step=25)
    assert decimal.parse("1.5", 2, step=25) == 6


def test_the_limits_on_digits_hold_at_n_and_not_at_n_plus_one() -> None:
    longest = "9" * WHOLE_DIGITS_MAX
    assert decimal.parse(longest, 0) == int(longest)
    with pytest.raises(DecimalRefused):
        decimal.parse(longest + "9", 0)
    finest = "0." + "0" * (FRACTION_DIGITS_MAX - 1)
    assert decimal.parse(finest + "1", FRACTION_DIGITS_MAX) == 1
    with pytest.raises(DecimalRefused):
        decimal.parse(finest + "01", FRACTION_DIGITS_MAX + 1)


def test_ten_to_the_forty_is_refused_and_not_computed() -> None:
    with pytest.raises(DecimalRefused):
        decimal.parse("1" + "0" * 40, 6)
    with pytest.raises(DecimalRefused):
        decimal.parse("9" * 1_000_000, 6)


def test_a_unit_of_several_smallest_units_counts_its_own_steps() -> None:
    tick_of_ether = Unit(6, step=100_000)
    assert tick_of_ether.parse("2000.1") == 20_001
    assert tick_of_ether.render(20_001) == "2000.100000"
