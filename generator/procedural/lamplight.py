"""What lamps reach: the shadow map of a cell's first lamp, baked and looked up."""

import math

import numpy as np
from numba import njit

from .adjacency import joined, shift
from .classes import CLASS_INDEX
from .rays import OPTIONS, F, hit_round, hit_slabs
from .scene import (
    BOX,
    CLS,
    EM,
    FLAGS,
    HX,
    HY,
    HZ,
    LAMP_SPAN,
    LAMP_TEXELS,
    LAMP_UNITS,
    NO_SHADOW,
    PX,
    PY,
    PZ,
    TYPE,
)

_LAMP_CLASS = CLASS_INDEX["lamp"]


@njit(**OPTIONS)
def bake_lamp(cells, slot, leaves):
    """Fill the shadow map of a cell's first lamp from the cell and from cells that no wall parts from it."""
    lx, ly, lz = cells.lamps[slot, 0, 0], cells.lamps[slot, 0, 1], cells.lamps[slot, 0, 2]
    out = cells.lamp_map[slot]
    dist = np.full(out.shape, F(16.0), np.float32)
    n, inv = LAMP_TEXELS, F(2.0 * LAMP_SPAN / LAMP_TEXELS)
    for side in range(-1, 4):
        other, ox, oy = slot, F(0.0), F(0.0)
        if side >= 0:
            other = joined(cells, slot, side)
            if other < 0:
                continue
            ox, oy = shift(cells, slot, other, side)
        floats = cells.floats[other]
        for k in range(cells.num_prims[other]):
            f, kind = floats[k], cells.ints[other, k, TYPE]
            if cells.ints[other, k, FLAGS] & NO_SHADOW or f[EM] > 0 or cells.ints[other, k, CLS] == _LAMP_CLASS:
                continue
            # Rows and columns that the bounding sphere can reach on the paraboloid: |dp| <= 2 tan(angle) roughly.
            cx, cy, cz = f[PX] + ox - lx, f[PY] + oy - ly, f[PZ] - lz
            radius = math.sqrt(f[HX] * f[HX] + f[HY] * f[HY] + f[HZ] * f[HZ])
            away = math.sqrt(cx * cx + cy * cy + cz * cz)
            x0, x1, y0, y1 = 0, n, 0, n
            if away > radius * F(1.05):
                sine = radius / away
                den = F(1.0) - cz / away
                if den > F(0.15):
                    px, py = cx / away / den, cy / away / den
                    reach = F(2.3) * sine / max(den - sine, F(0.12))
                    x0 = max(0, int((px - reach + F(LAMP_SPAN)) / inv))
                    x1 = min(n, int((px + reach + F(LAMP_SPAN)) / inv) + 2)
                    y0 = max(0, int((py - reach + F(LAMP_SPAN)) / inv))
                    y1 = min(n, int((py + reach + F(LAMP_SPAN)) / inv) + 2)
            ax, ay, az = -cx, -cy, -cz
            hx, hy, hz = f[HX], f[HY], f[HZ]
            for iy in range(y0, y1):
                py = (F(iy) + F(0.5)) * inv - F(LAMP_SPAN)
                for ix in range(x0, x1):
                    px = (F(ix) + F(0.5)) * inv - F(LAMP_SPAN)
                    q = px * px + py * py
                    s = F(2.0) / (F(1.0) + q)
                    dx, dy, dz = px * s, py * s, (q - F(1.0)) / (F(1.0) + q) + F(1e-6)
                    if kind == BOX:
                        t, _ = hit_slabs(ax, ay, az, dx, dy, dz, hx, hy, hz)
                    else:
                        t, _ = hit_round(floats, k, kind, lx - ox, ly - oy, lz, dx, dy, dz, leaves)
                    if t < dist[iy, ix]:
                        dist[iy, ix] = t
    for iy in range(n):
        for ix in range(n):
            out[iy, ix] = np.uint16(dist[iy, ix] * F(LAMP_UNITS))


@njit(**OPTIONS)
def lamp_reaches(cells, owner, dx, dy, dz, r):
    """Share of a lamp's light that arrives from direction (dx, dy, dz) to it at distance r, from its shadow map."""
    up = -dz / r
    if up > F(0.2):
        return F(1.0)
    s = F(-1.0) / (r * (F(1.0) - up))
    n, inv = LAMP_TEXELS, F(LAMP_TEXELS / (2.0 * LAMP_SPAN))
    fx, fy = (dx * s + F(LAMP_SPAN)) * inv - F(0.5), (dy * s + F(LAMP_SPAN)) * inv - F(0.5)
    ix, iy = int(min(max(fx, F(0.0)), F(n - 2))), int(min(max(fy, F(0.0)), F(n - 2)))
    a, b = min(max(F(fx - ix), F(0.0)), F(1.0)), min(max(F(fy - iy), F(0.0)), F(1.0))
    m, limit = cells.lamp_map, int((r * F(0.985) - F(0.04)) * F(LAMP_UNITS))
    s0 = F(1.0) if m[owner, iy, ix] >= limit else F(0.0)
    s1 = F(1.0) if m[owner, iy, ix + 1] >= limit else F(0.0)
    s2 = F(1.0) if m[owner, iy + 1, ix] >= limit else F(0.0)
    s3 = F(1.0) if m[owner, iy + 1, ix + 1] >= limit else F(0.0)
    top, low = s0 + (s1 - s0) * a, s2 + (s3 - s2) * a
    return top + (low - top) * b
