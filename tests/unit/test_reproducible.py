"""Exponential, logarithm and normal distribution: exact to the last digits, and the same bits however they are made.

mpmath with 50 digits is the judge of their accuracy.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from mpmath import mp, mpf

from clearing.margin import reproducible
from clearing.margin.reproducible import (
    TAIL_BOTTOM,
    TAIL_TOP,
    Floats,
    bell,
    density,
    exp,
    in_chunks,
    log,
    log_ratio,
    ndtr,
    tail,
)
from tests.bits import digest_without_wide_vectors

DIGEST = "b6f6962215113fc55efa1c4c04f46fadcd714a519a681397823662482ae779b5"
"""Of the bytes of ``every_function``: what these functions say today they say on every machine, and tomorrow."""


@pytest.fixture(autouse=True)
def fifty_digits() -> None:
    mp.dps = 50


def ulps(found: Floats, true: list[mpf]) -> float:
    """How far off the worst is, in units of its last digit."""
    return max(
        float(abs(mpf(float(one)) - judged) / mpf(float(np.spacing(abs(float(judged))))))
        for one, judged in zip(found, true, strict=True)
    )


def spread(least: float, most: float, count: int = 4_000) -> Floats:
    """Numbers whose last digits are all different."""
    part = np.arange(count, dtype=np.float64) * 0.6180339887498949 % 1.0
    return least + (most - least) * part


def upper_tail(z: mpf) -> mpf:
    return mp.erfc(z / mp.sqrt(2)) / 2


def test_exp_is_one_unit_off_at_most() -> None:
    x = np.concatenate([spread(-708, 709), spread(-1, 1), [0.0, -0.0, 1.0]])
    assert ulps(exp(x), [mp.exp(mpf(float(one))) for one in x]) < 1
    assert exp(np.array([-800.0, 800.0])).tolist() == exp(np.array([-708.0, 709.0])).tolist()


def test_log_is_two_units_off_at_most() -> None:
    x = np.concatenate([spread(0.5, 2), 2.0 ** spread(-900, 900), 1 + spread(-1e-6, 1e-6)])
    assert ulps(log(x), [mp.log(mpf(float(one))) for one in x]) < 2
    assert log(np.array([1.0])).tolist() == [0.0]


def test_the_logarithm_of_a_ratio_near_one_is_as_exact_as_elsewhere() -> None:
    x = spread(0.3, 4e6)
    for width in (1e-12, 1e-6, 0.1, 0.9):
        y = x * (1 + width * spread(-1, 1)[::-1])
        judged = [mp.log(mpf(float(one)) / mpf(float(other))) for one, other in zip(x, y, strict=True)]
        assert ulps(log_ratio(x, y), judged) < 3


def test_the_normal_distribution_is_exact_in_the_middle_and_relatively_in_the_lower_tail() -> None:
    x = np.concatenate([spread(-36, 0), spread(-3, 9)])
    judged = [upper_tail(-mpf(float(one))) for one in x]
    found = ndtr(x)
    assert ulps(found, judged) < 12
    assert max(abs(mpf(float(a)) - b) for a, b in zip(found, judged, strict=True)) < 4e-16
    assert ndtr(np.array([0.0, -0.0, -40.0, 40.0, -1e300, 1e300])).tolist() == [0.5, 0.5, 0, 1, 0, 1]


def test_the_density_is_two_units_off_at_most() -> None:
    x = spread(-36, 36)
    assert ulps(density(x), [mp.npdf(mpf(float(one))) for one in x]) < 2
    assert bell(np.array([0.0, 37.0, 1e300])).tolist() == [1, 0, 0]


def test_the_tail_falls_for_ever() -> None:
    z = np.concatenate([[0.0], 2.0 ** spread(-40, 60)])
    judged = [upper_tail(mpf(float(one))) * mp.exp(mpf(float(one)) ** 2 / 2) for one in z if one < 1e6]
    assert ulps(tail(z[z < 1e6]), judged) < 12
    assert tail(np.array([1e10])) * 1e10 == pytest.approx(0.3989422804014327, rel=1e-14)


def test_the_coefficients_of_the_tail_are_those_of_its_interpolation() -> None:
    """Equal to the tail at 22 Chebyshev nodes of [0, ∞): one linear system."""
    mp.dps = 80
    top, bottom = len(TAIL_TOP), len(TAIL_BOTTOM) - 1
    count = top + bottom
    nodes = [-mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    system, right = mp.matrix(count, count), mp.matrix(count, 1)
    for i, z in enumerate(4 * (1 + t) / (1 - t) for t in nodes):
        true = upper_tail(z) * mp.exp(z * z / 2)
        for j in range(top):
            system[i, j] = z**j / true
        for j in range(bottom):
            system[i, top + j] = -(z ** (j + 1))
        right[i] = 1
    solved = [float(one) for one in mp.lu_solve(system, right)]
    assert solved == [*TAIL_TOP, *TAIL_BOTTOM[1:]]


# the same bits ------------------------------------------------------------------------------------


def every_function() -> Floats:
    """All of them on a wide grid made of exact operations."""
    x = (np.arange(40_001) - 20_000) / 541.0
    positive = np.abs(x) + 1 / 1024
    return np.concatenate(
        [
            in_chunks(exp, x * 19.0),
            in_chunks(log, positive * positive * positive),
            in_chunks(log_ratio, positive, positive[::-1]),
            in_chunks(ndtr, x),
            in_chunks(density, x),
            in_chunks(tail, positive * 100),
        ]
    )


def digest() -> str:
    return hashlib.sha256(every_function().astype("<f8").tobytes()).hexdigest()


def test_the_bits_are_those_that_were_written_down() -> None:
    assert digest() == DIGEST


@pytest.mark.parametrize("chunk", [1, 7, 1_000, 10**6])
def test_chunks_change_no_bit(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = spread(-30, 30, 2_000).reshape(40, 50)
    before = in_chunks(ndtr, x)
    monkeypatch.setattr(reproducible, "CHUNK", chunk)
    assert in_chunks(ndtr, x).tobytes() == before.tobytes()


@pytest.mark.parametrize("function", [exp, log, density, ndtr, tail])
def test_order_neighbours_and_places_in_memory_change_no_bit(function: Callable[[Floats], Floats]) -> None:
    x = spread(0.01, 30, 1_001)
    whole = function(x)
    assert function(x[::-1].copy())[::-1].tobytes() == whole.tobytes()
    assert function(x[::3]).tobytes() == whole[::3].tobytes()
    assert function(x[1:]).tobytes() == whole[1:].tobytes()
    assert [float(function(x[i : i + 1])[0]) for i in range(0, 1_001, 50)] == whole[::50].tolist()


@pytest.mark.parametrize("kept", [0, 1])
def test_a_processor_without_wide_vectors_says_the_same(kept: int) -> None:
    """numpy chooses its loops by what the processor can do; here it is told to do without."""
    assert digest_without_wide_vectors("tests.unit.test_reproducible", kept) == DIGEST
