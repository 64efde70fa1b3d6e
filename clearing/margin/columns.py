"""Arithmetic on columns of integers, one for each portfolio or position, that gives what Python's integers give."""

from clearing.margin.model import Column
from clearing.model.values import BP


def share(column: Column, basis_points: Column | int) -> Column:
    """Basis points of a column, rounded down; exact although only the rest is multiplied before the division."""
    return column // BP * basis_points + column % BP * basis_points // BP
