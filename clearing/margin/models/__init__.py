"""Margin models, one file each; the table is in ``table``."""
