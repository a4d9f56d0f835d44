"""What the sun reaches: a cell's sun map, baked and looked up."""

import numpy as np
from numba import njit

from .rays import OPTIONS, F, hit_round
from .scene import (
    BOX,
    CEILING_M,
    CO,
    EM,
    FLAGS,
    HX,
    HY,
    HZ,
    NO_SHADOW,
    PX,
    PY,
    PZ,
    SI,
    SUN_TEXEL_M,
    SUN_UNITS,
    TOP_M,
    TYPE,
    YARD,
)


@njit(**OPTIONS)
def sun_at(cells, slot, x, y, z, light):
    """Share of the sun that reaches a point of a cell, between four texels of the sun map."""
    x -= z * light.sun[0] / light.sun[2]
    y -= z * light.sun[1] / light.sun[2]
    for _ in range(4 if cells.kind[slot] == YARD else 0):
        if x < 0:
            other = cells.neighbours[slot, 3]
            if other < 0:
                break
            slot = other
            x += cells.size[slot, 0]
        elif x >= cells.size[slot, 0]:
            other = cells.neighbours[slot, 1]
            if other < 0:
                break
            x -= cells.size[slot, 0]
            slot = other
        elif y < 0:
            other = cells.neighbours[slot, 0]
            if other < 0:
                break
            slot = other
            y += cells.size[slot, 1]
        elif y >= cells.size[slot, 1]:
            other = cells.neighbours[slot, 2]
            if other < 0:
                break
            y -= cells.size[slot, 1]
            slot = other
        else:
            break
    fx, fy = x * F(1.0 / SUN_TEXEL_M) + F(0.5), y * F(1.0 / SUN_TEXEL_M) + F(0.5)
    ix = min(max(int(fx), 0), cells.sun.shape[2] - 2)
    iy = min(max(int(fy), 0), cells.sun.shape[1] - 2)
    a, b = F(fx - ix), F(fy - iy)
    limit = int((z + F(0.03)) * F(SUN_UNITS))
    m = cells.sun
    s0 = F(1.0) if m[slot, iy, ix] <= limit else F(0.0)
    s1 = F(1.0) if m[slot, iy, ix + 1] <= limit else F(0.0)
    s2 = F(1.0) if m[slot, iy + 1, ix] <= limit else F(0.0)
    s3 = F(1.0) if m[slot, iy + 1, ix + 1] <= limit else F(0.0)
    top, low = s0 + (s1 - s0) * a, s2 + (s3 - s2) * a
    return top + (low - top) * b


@njit(**OPTIONS)
def bake_sun(cells, slot, light, leaves):
    """Fill a cell's sun map from what stands in it and around it; all nine cells must be built."""
    kx, ky = light.sun[0] / light.sun[2], light.sun[1] / light.sun[2]
    texel, inv = F(SUN_TEXEL_M), F(1.0 / SUN_TEXEL_M)
    width = int(cells.size[slot, 0] * inv) + 3
    depth = int(cells.size[slot, 1] * inv) + 3
    out = cells.sun[slot]
    if cells.kind[slot] != YARD:
        # Walls inside are looked up where their own shadows would fall, to the north-east.
        width = min(width + int(-kx * F(CEILING_M) * inv) + 1, out.shape[1])
        depth = min(depth + int(-ky * F(CEILING_M) * inv) + 1, out.shape[0])
    out[:depth, :width] = 0
    top = F(TOP_M)
    for row in range(3):
        for col in range(3):
            other, ox, oy = slot, F(0.0), F(0.0)
            if col == 0:
                other = cells.neighbours[other, 3]
                ox = -cells.size[other, 0]
            elif col == 2:
                ox = cells.size[other, 0]
                other = cells.neighbours[other, 1]
            if row == 0:
                other = cells.neighbours[other, 0]
                oy = -cells.size[other, 1]
            elif row == 2:
                oy = cells.size[other, 1]
                other = cells.neighbours[other, 2]
            # Of houses beside the cell only walls and roofs count; what stands in them lies in their shade.
            is_shell = other != slot and cells.kind[other] != YARD
            floats = cells.floats[other]
            for k in range(cells.num_prims[other]):
                f, kind = floats[k], cells.ints[other, k, TYPE]
                if cells.ints[other, k, FLAGS] & NO_SHADOW or f[EM] > 0:
                    continue
                if is_shell and (kind != BOX or f[PZ] + f[HZ] < F(CEILING_M - 0.1)):
                    continue
                ex = abs(f[CO] * f[HX]) + abs(f[SI] * f[HY])
                ey = abs(f[SI] * f[HX]) + abs(f[CO] * f[HY])
                z0, z1 = f[PZ] - f[HZ], f[PZ] + f[HZ]
                cx, cy = f[PX] + ox, f[PY] + oy
                xa, xb = cx - ex - max(kx * z0, kx * z1), cx + ex - min(kx * z0, kx * z1)
                ya, yb = cy - ey - max(ky * z0, ky * z1), cy + ey - min(ky * z0, ky * z1)
                x0, x1 = max(int(xa * inv) - 1, 0), min(int(xb * inv) + 3, width)
                y0, y1 = max(int(ya * inv) - 1, 0), min(int(yb * inv) + 3, depth)
                if kind == BOX:
                    _shadow_of_box(out, f, ox, oy, kx, ky, x0, x1, y0, y1)
                    continue
                for iy in range(y0, y1):
                    gy = (F(iy) - F(0.5)) * texel + ky * top - oy
                    for ix in range(x0, x1):
                        gx = (F(ix) - F(0.5)) * texel + kx * top - ox
                        t, _ = hit_round(floats, k, kind, gx, gy, top, -kx, -ky, F(-1.0), leaves)
                        if t < top:
                            out[iy, ix] = max(out[iy, ix], np.uint16((top - t) * F(SUN_UNITS)))


@njit(**OPTIONS)
def _shadow_of_box(out, f, ox, oy, kx, ky, x0, x1, y0, y1):
    """Raise a sun map to the height at which the sun's rays meet a box."""
    sx, sy = F(1.0) / kx, F(1.0) / ky
    hx, hy = abs(f[HX] * sx), abs(f[HY] * sy)
    low = max(f[PZ] - f[HZ], F(0.0))
    for iy in range(y0, y1):
        # Heights between which the ray of this row and column is within the box's y and x ranges.
        my = (f[PY] + oy - (F(iy) - F(0.5)) * F(SUN_TEXEL_M)) * sy
        a0, a1 = max(my - hy, low), min(my + hy, f[PZ] + f[HZ])
        row = out[iy]
        for ix in range(x0, x1):
            mx = (f[PX] + ox - (F(ix) - F(0.5)) * F(SUN_TEXEL_M)) * sx
            z0, z1 = max(a0, mx - hx), min(a1, mx + hx)
            height = np.uint16(max(z1, F(0.0)) * F(SUN_UNITS))
            row[ix] = height if (z0 < z1) & (height > row[ix]) else row[ix]
