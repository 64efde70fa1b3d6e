"""The measures of the quantitative disclosure: one for each item that is computed.

1. At the same state the figures are those of the attestation, by the same functions.
2. Means are rounded up to the smallest unit, percentages towards zero. Means of flows are over all days of the quarter
   that the house has seen, means of states over the days that ended with a closed cycle.
3. What has no value says why, and is never zero: shares of the largest members, for one, are told of ten members or
   more alone, as the standard has it, for of fewer they would say who they are.
"""

from collections.abc import Mapping

from clearing.reports.disclosure import margin, members, resources
from clearing.reports.disclosure.values import Measure

MEASURES: Mapping[str, Measure] = {**resources.MEASURES, **margin.MEASURES, **members.MEASURES}
"""The measure of each item that is computed, by its reference number."""
