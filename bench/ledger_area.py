"""The ledger alone, through the entry that a server calls: every row of ``make bench ONLY=ledger``.

``ONLY=ledger.stored`` limits it to one part.
"""

from collections.abc import Mapping

from bench import ledger_bulk, ledger_callers, ledger_indexed, ledger_memory, ledger_proofs, ledger_stored
from bench.run import Part

PARTS: Mapping[str, Part] = {
    "ledger.bulk": ledger_bulk.rows,
    "ledger.callers": ledger_callers.rows,
    "ledger.stored": ledger_stored.rows,
    "ledger.memory": ledger_memory.rows,
    "ledger.proofs": ledger_proofs.rows,
    "ledger.indexed": ledger_indexed.rows,
}
