"""What stands on a cell's floor: where one cannot walk, and where less light falls."""

import numpy as np
from numba import njit

from .classes import CLASS_INDEX
from .rays import OPTIONS, F
from .scene import (
    CLS,
    CO,
    CYLINDER,
    FLOOR_TEXEL_M,
    HX,
    HY,
    HZ,
    PX,
    PY,
    PZ,
    SI,
    TYPE,
)

_LYING = tuple(CLASS_INDEX[n] for n in ("floor", "rug", "ground", "path"))


@njit(**OPTIONS)
def bake_floor(cells, slot):
    """Mark where things stand: solid for a walker, and how open the floor is to light."""
    width = int(cells.size[slot, 0] / F(FLOOR_TEXEL_M)) + 1
    depth = int(cells.size[slot, 1] / F(FLOOR_TEXEL_M)) + 1
    low = np.zeros((depth, width), np.float32)
    solid = cells.solid[slot]
    solid[:, :] = 0
    for k in range(cells.num_prims[slot]):
        f, q = cells.floats[slot, k], cells.ints[slot, k]
        is_lying = False
        for c in _LYING:
            is_lying = is_lying or q[CLS] == c
        z0, z1 = f[PZ] - f[HZ], f[PZ] + f[HZ]
        is_solid, is_low = z1 > F(0.2) and z0 < F(1.75), z0 < F(0.3) and z1 > F(0.03)
        if is_lying or not (is_solid or is_low):
            continue
        ex, ey = abs(f[CO] * f[HX]) + abs(f[SI] * f[HY]), abs(f[SI] * f[HX]) + abs(f[CO] * f[HY])
        inv = F(1.0 / FLOOR_TEXEL_M)
        for iy in range(max(int((f[PY] - ey) * inv), 0), min(int((f[PY] + ey) * inv) + 1, depth)):
            for ix in range(max(int((f[PX] - ex) * inv), 0), min(int((f[PX] + ex) * inv) + 1, width)):
                ax, ay = (F(ix) + F(0.5)) * F(FLOOR_TEXEL_M) - f[PX], (F(iy) + F(0.5)) * F(FLOOR_TEXEL_M) - f[PY]
                lx, ly = f[CO] * ax + f[SI] * ay, f[CO] * ay - f[SI] * ax
                half = F(0.5 * FLOOR_TEXEL_M)
                if q[TYPE] >= CYLINDER and f[HX] > F(0.06):
                    is_in = (lx / f[HX]) ** 2 + (ly / f[HY]) ** 2 <= F(1.05)
                else:
                    is_in = abs(lx) <= f[HX] + half and abs(ly) <= f[HY] + half
                if is_in:
                    if is_solid:
                        solid[iy, ix] = 1
                    if is_low:
                        low[iy, ix] = F(1.0)
    spread = np.zeros((depth, width), np.float32)
    for _ in range(2):
        for iy in range(depth):
            for ix in range(width):
                total = F(0.0)
                for d in range(-3, 4):
                    total += low[iy, min(max(ix + d, 0), width - 1)]
                spread[iy, ix] = total / F(7.0)
        for iy in range(depth):
            for ix in range(width):
                total = F(0.0)
                for d in range(-3, 4):
                    total += spread[min(max(iy + d, 0), depth - 1), ix]
                low[iy, ix] = total / F(7.0)
    for iy in range(depth):
        for ix in range(width):
            cells.floor[slot, iy, ix] = np.uint8(F(255.0) - F(185.0) * min(low[iy, ix], F(1.0)))


@njit(**OPTIONS)
def floor_open(cells, slot, x, y):
    """Openness of the floor between four texels."""
    fx, fy = x * F(1.0 / FLOOR_TEXEL_M) - F(0.5), y * F(1.0 / FLOOR_TEXEL_M) - F(0.5)
    fx = min(max(fx, F(0.0)), cells.size[slot, 0] * F(1.0 / FLOOR_TEXEL_M) - F(1.01))
    fy = min(max(fy, F(0.0)), cells.size[slot, 1] * F(1.0 / FLOOR_TEXEL_M) - F(1.01))
    ix, iy = int(fx), int(fy)
    a, b = F(fx - ix), F(fy - iy)
    m = cells.floor
    top = F(m[slot, iy, ix]) * (F(1.0) - a) + F(m[slot, iy, ix + 1]) * a
    low = F(m[slot, iy + 1, ix]) * (F(1.0) - a) + F(m[slot, iy + 1, ix + 1]) * a
    return (top + (low - top) * b) * F(1.0 / 255.0)
