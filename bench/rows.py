"""Rows of the result: what was measured, how often, and against what."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

Better: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The peer or the naive way, measured in the same run."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured figure. ``value`` is the median of the samples (a maximum says so), ``spread`` their quartiles."""

    name: str
    value: float
    unit: str
    better: Better
    samples: int
    spread: tuple[float, float]
    baseline: Baseline | None = None
    error: str | None = None

    @property
    def ratio(self) -> float | None:
        """Value over baseline."""
        return None if self.baseline is None or not self.baseline.value else self.value / self.baseline.value

    def as_json(self) -> dict[str, object]:
        """The row as ``latest.json`` has it; ``error`` only where there is one."""
        record = asdict(self) | {"spread": list(self.spread), "ratio": self.ratio}
        if self.error is None:
            del record["error"]
        return record


def row(
    name: str,
    samples: Sequence[float],
    *,
    unit: str,
    better: Better,
    value: float | None = None,
    baseline: Baseline | None = None,
    error: str | None = None,
) -> Row:
    """A row from raw samples; ``value`` stands in place of their median where another one of them counts."""
    ends = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [samples[0]] * 3
    return Row(
        name=name,
        value=statistics.median(samples) if value is None else value,
        unit=unit,
        better=better,
        samples=len(samples),
        spread=(ends[0], ends[-1]),
        baseline=baseline,
        error=error,
    )


def held_against(measured: Row) -> Baseline:
    """A row as what other rows are held against."""
    return Baseline(name=measured.name, value=measured.value)


def rate(count: int, work: Callable[[], object]) -> float:
    """How many of ``count`` per second ``work`` did."""
    return count / seconds(work)


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def processor_seconds(work: Callable[[], object]) -> float:
    """How long a processor worked on what one thread does: who else uses the machine counts less."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


def microseconds(work: Callable[[], object]) -> float:
    """How long ``work`` took, of what takes microseconds."""
    return seconds(work) * 1_000_000
