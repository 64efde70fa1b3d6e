"""Prices: what sources sign, and the mark that a quorum of them supports."""
