"""The only part of the ledger that knows databases: schema, single writer, reading back, verification."""
