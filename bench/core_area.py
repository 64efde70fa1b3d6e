"""The clearing core: every row of ``make bench ONLY=core``. ``ONLY=core.cycle`` limits it to one part."""

from collections.abc import Mapping

from bench import core_crash, core_cycle, core_trades
from bench.run import Part

PARTS: Mapping[str, Part] = {
    "core.trades": core_trades.rows,
    "core.cycle": core_cycle.rows,
    "core.crash": core_crash.rows,
}
