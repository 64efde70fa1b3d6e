"""What each row is held against. The table shows it beside the figure; a row that misses its aim is no error."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.rows import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A figure to reach (or, where lower is better, not to pass), a ratio to the baseline to reach, or both."""

    value: float | None = None
    ratio: float | None = None

    def text(self, measured: Row) -> str:
        """As the table has it."""
        sign = "≥" if measured.better == "higher" else "≤"
        figure = None if self.value is None else f"{sign} {self.value:,.10g}"
        times = None if self.ratio is None else f"≥ {self.ratio:g}×"
        return ", ".join(part for part in (figure, times) if part is not None)

    def is_met(self, measured: Row) -> bool:
        """Whether the row reached all of it. What has no baseline reached no ratio."""
        is_higher = measured.better == "higher"
        if self.value is not None and (
            measured.value < self.value if is_higher else measured.value > self.value
        ):
            return False
        return self.ratio is None or (measured.ratio is not None and measured.ratio >= self.ratio)


AIMS: Mapping[str, Aim] = {
    "ledger.bulk_8000.sqlite": Aim(value=150_000, ratio=12),
    "ledger.bulk_8000.postgresql": Aim(value=120_000, ratio=12),
    "ledger.bulk_1000.sqlite": Aim(value=100_000),
    "ledger.bulk_1000.postgresql": Aim(value=80_000),
    "ledger.callers_64.sqlite": Aim(ratio=10),
    "ledger.callers_64.postgresql": Aim(ratio=10),
    "ledger.latency.sqlite.max": Aim(value=100),
    "ledger.latency.postgresql.max": Aim(value=100),
    "ledger.reopen_1m.sqlite": Aim(value=5),
    "ledger.reopen_1m.postgresql": Aim(value=5),
    "ledger.growth_5m.sqlite": Aim(ratio=0.8),
    "ledger.growth_5m.postgresql": Aim(ratio=0.8),
    "ledger.indexed_60s.sqlite": Aim(value=30_000),
    "ledger.indexed_60s.postgresql": Aim(value=30_000),
    "grpc.unary_64.sqlite": Aim(ratio=0.4),
    "grpc.unary_64.postgresql": Aim(ratio=0.4),
    "grpc.sdk_64.sqlite": Aim(ratio=8),
    "grpc.sdk_64.postgresql": Aim(ratio=8),
    "grpc.bulk_trades.sqlite": Aim(ratio=0.7),
    "grpc.bulk_trades.postgresql": Aim(ratio=0.7),
    "core.trades_1000.sqlite": Aim(value=10_000),
    "core.trades_1000.postgresql": Aim(value=10_000),
    "core.cycle_10k": Aim(value=1),
    "core.cycle_growth": Aim(value=1.25),
    "margin.pricing.over_quantlib_npv": Aim(value=50),
    "margin.pricing.growth": Aim(value=1.25),
    "attest.build_growth": Aim(value=1.25),
    "attest.inclusion_1m.bytes": Aim(value=20 * 32),
    "attest.inclusion_10m.bytes": Aim(value=24 * 32),
}
