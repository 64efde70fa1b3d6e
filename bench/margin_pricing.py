"""Options valued in scenarios on one thread, in processor time, in turns with the judges that value one at a time.

Each judge gets the same forward, strike, volatility and time, and must come to the same value. They are given a sample
of the table, for they take long; their figures are nanoseconds an option, so nothing is extrapolated but the ratio.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import QuantLib
from scipy import special
from vollib.black import black as vollib_black

from bench.rows import Row, processor_seconds, row, seconds
from bench.run import Run
from clearing.margin.black import values
from clearing.margin.reproducible import CHUNK, Floats

INSTRUMENTS, SCENARIOS = 400, 1_000
GROWN = (100, 400, 1_600)
ROUNDS = 15
SAMPLE = 4_000
DAYS = 274
NEAR = 1e-11
PASSES = 2_000
COPIED = 2**24
"""Elements that are copied to measure the memory: 128 MiB, more than a core's caches."""
OPERATIONS = 175
"""Operations that one value takes, each a pass over a chunk; six of them are divisions, which take longer."""

Table = tuple[Floats, Floats, Floats, Floats, Floats]


def rows(run: Run) -> Iterator[Row]:
    """``margin.pricing``: nanoseconds an option in a scenario, ours and theirs; what it grows by; what bounds it."""
    run.tell("options in scenarios")
    table = options(INSTRUMENTS)
    sample = sample_of(table)
    ours, plain, passes = list[float](), list[float](), list[float]()
    theirs: dict[str, list[float]] = {name: [] for name in JUDGES}
    for _ in range(ROUNDS):
        ours.append(_nanoseconds(partial(values, *table), INSTRUMENTS * SCENARIOS))
        passes.append(_nanoseconds(_passes, PASSES * CHUNK))
        plain.append(_nanoseconds(partial(_plain, *table), INSTRUMENTS * SCENARIOS))
        for name, judge in JUDGES.items():
            theirs[name].append(_nanoseconds(partial(_each, judge, sample), len(sample)))
    measured = row("margin.pricing", ours, unit="ns/option", better="lower", error=difference(table, sample))
    yield measured
    milliseconds = [one * INSTRUMENTS * SCENARIOS / 1e6 for one in ours]
    yield row("margin.pricing.table", milliseconds, unit="ms", better="lower")
    for name, samples in {"numpy": plain, **theirs}.items():
        yield row(f"margin.pricing.{name}", samples, unit="ns/option", better="lower")
        ratios = [one / mine for one, mine in zip(samples, ours, strict=True)]
        yield row(f"margin.pricing.over_{name}", ratios, unit="×", better="higher")
    yield from _growth(run)
    yield row("margin.pricing.operation", passes, unit="ns", better="lower")
    shares = [OPERATIONS * one / mine for one, mine in zip(passes, ours, strict=True)]
    yield row("margin.pricing.operations_share", shares, unit="of the time", better="higher")
    yield from _memory(measured)


def options(instruments: int) -> Table:
    """Calls and puts on one forward each, as the venue lists them, under large and small moves."""
    dice = np.random.default_rng(7)
    forward = 64_000 * np.exp(dice.normal(0, 0.08, (instruments, SCENARIOS)))
    volatility = dice.uniform(0.3, 1.5, (instruments, SCENARIOS))
    sign = np.where(dice.random(instruments) < 0.5, 1.0, -1.0)
    strike = np.round(64_000 * np.exp(dice.normal(0, 0.3, instruments)), -2)
    return sign, forward, strike, volatility, np.full(instruments, DAYS / 365)


def _nanoseconds(work: Callable[[], object], count: int) -> float:
    return processor_seconds(work) * 1e9 / count


# the judges ---------------------------------------------------------------------------------------

One = Callable[[float, float, float, float, float], float]
Sample = list[tuple[float, float, float, float, float]]


@dataclass(frozen=True, slots=True)
class _Listed:
    """An option of QuantLib with quotes of its own: a quote that several share tells all of them of each change."""

    option: QuantLib.VanillaOption
    forward: QuantLib.SimpleQuote
    volatility: QuantLib.SimpleQuote


@cache
def _listed(sign: float, strike: float) -> _Listed:
    today, days = QuantLib.Date(1, 1, 2026), QuantLib.Actual365Fixed()
    QuantLib.Settings.instance().evaluationDate = today
    forward, volatility = QuantLib.SimpleQuote(1.0), QuantLib.SimpleQuote(1.0)
    surface = QuantLib.BlackConstantVol(
        today, QuantLib.NullCalendar(), QuantLib.QuoteHandle(volatility), days
    )
    process = QuantLib.BlackProcess(
        QuantLib.QuoteHandle(forward),
        QuantLib.YieldTermStructureHandle(QuantLib.FlatForward(today, 0.0, days)),
        QuantLib.BlackVolTermStructureHandle(surface),
    )
    kind = QuantLib.Option.Call if sign > 0 else QuantLib.Option.Put
    payoff, exercise = QuantLib.PlainVanillaPayoff(kind, strike), QuantLib.EuropeanExercise(today + DAYS)
    option = QuantLib.VanillaOption(payoff, exercise)
    option.setPricingEngine(QuantLib.AnalyticEuropeanEngine(process))
    return _Listed(option, forward, volatility)


def _npv(sign: float, forward: float, strike: float, volatility: float, _years: float) -> float:
    listed = _listed(sign, strike)
    listed.forward.setValue(forward)
    listed.volatility.setValue(volatility)
    found: float = listed.option.NPV()
    return found


def _formula(sign: float, forward: float, strike: float, volatility: float, years: float) -> float:
    kind = QuantLib.Option.Call if sign > 0 else QuantLib.Option.Put
    found: float = QuantLib.blackFormula(kind, strike, forward, volatility * math.sqrt(years))
    return found


def _vollib(sign: float, forward: float, strike: float, volatility: float, years: float) -> float:
    found: float = vollib_black("c" if sign > 0 else "p", forward, strike, years, 0, volatility)
    return found


JUDGES: dict[str, One] = {"quantlib_npv": _npv, "quantlib_formula": _formula, "vollib": _vollib}


def _plain(sign: Floats, forward: Floats, strike: Floats, volatility: Floats, years: Floats) -> Floats:
    """The formula as it stands, by the functions of numpy and scipy: fast, and different on other processors."""
    deviation = volatility * np.sqrt(years)[:, None]
    near = np.log(forward / strike[:, None]) / deviation + deviation / 2
    side = sign[:, None]
    found: Floats = side * (
        forward * special.ndtr(side * near) - strike[:, None] * special.ndtr(side * (near - deviation))
    )
    return found


def sample_of(table: Table) -> Sample:
    """The first scenarios of every instrument, an instrument after the other, as a loop would take them."""
    sign, forward, strike, volatility, years = table
    return [
        (float(sign[i]), float(forward[i, j]), float(strike[i]), float(volatility[i, j]), float(years[i]))
        for i in range(len(sign))
        for j in range(SAMPLE // len(sign))
    ]


def _each(judge: One, sample: Sample) -> list[float]:
    return [judge(*one) for one in sample]


def difference(table: Table, sample: Sample) -> str | None:
    """What is wrong if the judges do not come to our values."""
    ours = values(*table)[:, : SAMPLE // INSTRUMENTS].ravel().tolist()
    for name, judge in JUDGES.items():
        found = zip(_each(judge, sample), ours, sample, strict=True)
        off = max(abs(one - mine) / terms[1] for one, mine, terms in found)
        if not off < NEAR:
            return f"{name} differs by {off:.1e} of the forward"
    return None


# growth and bounds --------------------------------------------------------------------------------


def _growth(run: Run) -> Iterator[Row]:
    """Nanoseconds an option at more instruments, over those at fewer, in turns."""
    run.tell("options in scenarios, fewer and more")
    tables = [options(count) for count in GROWN]
    samples = [
        [_nanoseconds(partial(values, *one), len(one[0]) * SCENARIOS) for one in tables]
        for _ in range(ROUNDS)
    ]
    for place, count in enumerate(GROWN):
        yield row(
            f"margin.pricing.of_{count}", [one[place] for one in samples], unit="ns/option", better="lower"
        )
    ratios = [one[-1] / one[0] for one in samples]
    yield row("margin.pricing.growth", ratios, unit="×", better="lower")


def _passes() -> None:
    """What values are made of: operations on a chunk, in the cache."""
    one, other = np.full(CHUNK, 1.5), np.full(CHUNK, 0.5)
    for _ in range(PASSES // 2):
        np.multiply(one, other, out=one)
        np.add(one, 1e-9, out=one)


def _memory(measured: Row) -> Iterator[Row]:
    """How much of the memory's bandwidth a table needs, which is read twice and written once."""
    source = np.zeros(COPIED)
    target = np.empty_like(source)
    bandwidth = [16 * COPIED / seconds(partial(np.copyto, target, source)) / 1e9 for _ in range(ROUNDS)]
    copied = row("margin.memory", bandwidth, unit="GB/s", better="higher")
    yield copied
    used = 24 / measured.value / copied.value
    yield row(
        "margin.pricing.memory_share",
        [used],
        unit="of the bandwidth",
        better="lower",
    )
