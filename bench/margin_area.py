"""Margin: every row of ``make bench ONLY=margin``. ``ONLY=margin.pricing`` limits it to one part."""

from collections.abc import Mapping

from bench import margin_pricing
from bench.run import Part

PARTS: Mapping[str, Part] = {
    "margin.pricing": margin_pricing.rows,
}
