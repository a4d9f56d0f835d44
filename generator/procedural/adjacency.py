"""How cells lie beside each other."""

import numpy as np
from numba import njit

from .rays import OPTIONS, F


@njit(**OPTIONS)
def joined(cells, slot, side):
    """Slot of the neighbour that no wall parts from a cell, or -1."""
    for o in range(cells.num_openings[slot]):
        if int(cells.openings[slot, o, 0]) == side and cells.openings[slot, o, 5] > 0:
            return cells.neighbours[slot, side]
    return np.int64(-1)


@njit(**OPTIONS)
def shift(cells, slot, other, side):
    """Where a neighbour's corner lies in a cell."""
    if side == 0:
        return F(0.0), -cells.size[other, 1]
    if side == 1:
        return cells.size[slot, 0], F(0.0)
    if side == 2:
        return F(0.0), cells.size[slot, 1]
    return -cells.size[other, 0], F(0.0)
