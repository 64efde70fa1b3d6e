"""Pure deciders: one for each command, and the follow-ups that the house owes to its own state."""
