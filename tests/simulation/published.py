"""The rows of options in the risk array, as the house publishes them: what its auditor holds against its own values."""

from typing import Any

from immutables import Map

from clearing.margin.snapshot import array_of
from clearing.model.codec import decode
from clearing.model.house import House
from clearing.model.ids import InstrumentId
from clearing.model.values import Charter, Cycle, Instrument

TABLES = ("charter", "cycle", "instruments")


class Published:
    """Follows the journal, as far as an array is made of it."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {table: {} for table in TABLES}

    def after(self, fact: Any) -> dict[str, dict[str, Any]] | None:
        """The rows by instrument once ``fact`` is recorded, or None if it changes nothing of them."""
        changed = {table for table, _, _ in fact or () if table in TABLES}
        for table, key, row in fact or ():
            if table in TABLES:
                self._rows[table][key] = row
        if not (changed & {"charter", "cycle"} and self._rows["cycle"]):
            return None
        listed = [decode(Instrument, row) for row in self._rows["instruments"].values()]
        house = House(
            charter=decode(Charter, self._rows["charter"][""]),
            cycle=decode(Cycle, self._rows["cycle"][""]),
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
