"""Margin: risk arrays, models, and the health of netting sets. Integers out, whatever is computed inside."""
