"""What the clearing house reads from its database besides the ledger, and its migrations."""
