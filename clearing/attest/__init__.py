"""What the house signs and anyone can check: statements, envelopes, trust. Pure, and light to import."""
