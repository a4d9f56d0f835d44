"""What glossy surfaces mirror: openings to the daylight, and the lamp."""

import math

from numba import njit

from .rays import OPTIONS, F
from .scene import (
    YARD,
)


@njit(**OPTIONS)
def gleam(cells, slot, x, y, z, rx, ry, rz, light):
    """How much daylight a glossy floor mirrors from openings to a yard, by where the mirrored ray leaves the cell."""
    total = F(0.0)
    for o in range(cells.num_openings[slot]):
        q = cells.openings
        side = int(q[slot, o, 0])
        other = cells.neighbours[slot, side]
        if other < 0 or cells.kind[other] != YARD:
            continue
        if side == 0 or side == 2:
            plane = F(0.0) if side == 0 else cells.size[slot, 1]
            t = (plane - y) / ry
            along = x + rx * t
        else:
            plane = F(0.0) if side == 3 else cells.size[slot, 0]
            t = (plane - x) / rx
            along = y + ry * t
        if t <= 0:
            continue
        up = z + rz * t
        blur = F(0.06) + F(0.05) * t
        e = min(
            min(along - q[slot, o, 1], q[slot, o, 2] - along), min(up - q[slot, o, 3], q[slot, o, 4] - up)
        ) / blur + F(0.5)
        total += min(max(e, F(0.0)), F(1.0))
    return min(total, F(1.0))


@njit(**OPTIONS)
def mirrored_lamp(lamps, slot, x, y, z, rx, ry, rz):
    """How bright a cell's first lamp is in a glossy surface."""
    dx, dy, dz = lamps[slot, 0, 0] - x, lamps[slot, 0, 1] - y, lamps[slot, 0, 2] - z
    s = max(F(0.0), dx * rx + dy * ry + dz * rz) / math.sqrt(dx * dx + dy * dy + dz * dz)
    s *= s
    s *= s
    s *= s
    s *= s
    return s * s * lamps[slot, 0, 3]
