"""The rows of options in the risk array, as the house publishes them: what its auditor holds against its own values."""

from collections.abc import Iterable, Mapping
from typing import Any

from immutables import Map

from clearing.margin.snapshot import array_of
from clearing.model.codec import decode
from clearing.model.house import House
from clearing.model.ids import InstrumentId
from clearing.model.values import Charter, Cycle, Instrument


def option_rows(
    charter: object, cycle: object, instruments: Iterable[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """By instrument, in the spelling of a row; of a house that has no more than these rows."""
    listed = [decode(Instrument, dict(row)) for row in instruments]
    house = House(
        charter=decode(Charter, charter),  # type: ignore[arg-type]
        cycle=decode(Cycle, cycle),  # type: ignore[arg-type]
        instruments=Map({InstrumentId(one.id): one for one in listed}),
    )
    return {
        row.instrument: {
            "long_minor": row.long_minor,
            "short_minor": row.short_minor,
            "delta_minor": row.delta_minor,
            "notional_minor": row.notional_minor,
        }
        for row in array_of(house).instruments
        if row.delta_minor is not None
    }
