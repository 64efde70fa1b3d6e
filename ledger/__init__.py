"""Double entry for any unit: exact, append-only, provable. Knows nothing of trades, margin or members."""
