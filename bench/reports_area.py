"""Reports: every row of ``make bench ONLY=reports``."""

from collections.abc import Mapping

from bench import report_export
from bench.run import Part

PARTS: Mapping[str, Part] = {"reports.export": report_export.rows}
