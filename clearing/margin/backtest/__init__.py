"""Validation of the margin models: walk forward over real prices, out of sample, and count what they promised."""
