"""Compiled loops that find what each pixel shows, and smooth the edges between surfaces."""

import numpy as np
from numba import njit

from .rays import MISS, NEAR, OPTIONS, F, hit_foliage, hit_round
from .scene import (
    AX,
    AY,
    BOX,
    CO,
    HX,
    HY,
    HZ,
    LEAVES,
    PX,
    PY,
    PZ,
    SI,
    TYPE,
)

MIN_CONTRAST = 7
"""Edges between colours that differ by less, of 255, are left as they are."""


@njit(**OPTIONS)
def trace(seen, eye, leaves, row0, row1, depth, index):
    """One ray a pixel: depth along the camera's z and index of the nearest primitive, -1 for the sky."""
    width, floats, zero = eye.width, seen.floats, F(0.0)
    dxs, dys, dzs = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    ixs, iys, izs = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    here = np.empty(seen.num, np.int64)
    num_here = 0
    # Foliage costs most and comes last, so that what stands before it spares it.
    for is_foliage in (False, True):
        for k in range(seen.num):
            if (seen.ints[k, TYPE] == LEAVES) == is_foliage and seen.rects[k, 2] < row1 and seen.rects[k, 3] > row0:
                here[num_here] = k
                num_here += 1
    axes = eye.axes
    for y in range(row0, row1):
        b = F((y + 0.5 - eye.cy) / eye.fy)
        z, ids = depth[y], index[y]
        for x in range(width):
            a = F((x + 0.5 - eye.cx) / eye.fx)
            dx = axes[2, 0] + a * axes[0, 0] + b * axes[1, 0]
            dy = axes[2, 1] + a * axes[0, 1] + b * axes[1, 1]
            dz = axes[2, 2] + a * axes[0, 2] + b * axes[1, 2]
            dxs[x], dys[x], dzs[x] = dx, dy, dz
            ixs[x], iys[x], izs[x] = F(1.0) / dx, F(1.0) / dy, F(1.0) / dz
            z[x], ids[x] = MISS, -1
        for j in range(num_here):
            k = here[j]
            if seen.rects[k, 2] > y or seen.rects[k, 3] <= y:
                continue
            x0, x1 = seen.rects[k, 0], seen.rects[k, 1]
            kind = seen.ints[k, TYPE]
            k32 = np.int32(k)
            if kind == BOX:
                ax, ay, az = floats[k, PX], floats[k, PY], floats[k, PZ]
                hx, hy, hz = floats[k, HX], floats[k, HY], floats[k, HZ]
                for x in range(x0, x1):
                    m, h = ax * ixs[x], abs(hx * ixs[x])
                    t0, t1 = m - h, m + h
                    m, h = ay * iys[x], abs(hy * iys[x])
                    t0, t1 = max(t0, m - h), min(t1, m + h)
                    m, h = az * izs[x], abs(hz * izs[x])
                    t0, t1 = max(t0, m - h), min(t1, m + h)
                    is_hit = (t0 < t1) & (t0 < z[x]) & (t0 > NEAR)
                    z[x] = t0 if is_hit else z[x]
                    ids[x] = k32 if is_hit else ids[x]
            elif kind == LEAVES:
                c, s = floats[k, CO], floats[k, SI]
                ia, ib, ic = F(1.0) / floats[k, HX], F(1.0) / floats[k, HY], F(1.0) / floats[k, HZ]
                rx = -(c * floats[k, PX] + s * floats[k, PY]) * ia
                ry = (s * floats[k, PX] - c * floats[k, PY]) * ib
                rz = -floats[k, PZ] * ic
                for x in range(x0, x1):
                    ex, ey, ez = (c * dxs[x] + s * dys[x]) * ia, (c * dys[x] - s * dxs[x]) * ib, dzs[x] * ic
                    t, _ = hit_foliage(rx, ry, rz, ex, ey, ez, floats[k, AX], floats[k, AY], leaves, z[x])
                    if t < z[x]:
                        z[x], ids[x] = t, k32
            else:
                for x in range(x0, x1):
                    t, _ = hit_round(floats, k, kind, zero, zero, zero, dxs[x], dys[x], dzs[x], leaves)
                    if t < z[x]:
                        z[x], ids[x] = t, k32


@njit(inline="always", **OPTIONS)
def _is_leaf(ints, key):
    """Whether a pixel of this key shows foliage."""
    return key >= 0 and ints[key >> 4, TYPE] == LEAVES


@njit(**OPTIONS)
def _hit_leaves(floats, k, dx, dy, dz, leaves, limit):
    """Ray from the eye against foliage, see ``hit_foliage``."""
    c, s, px, py = floats[k, CO], floats[k, SI], floats[k, PX], floats[k, PY]
    ia, ib, ic = F(1.0) / floats[k, HX], F(1.0) / floats[k, HY], F(1.0) / floats[k, HZ]
    rx, ry, rz = -(c * px + s * py) * ia, (s * px - c * py) * ib, -floats[k, PZ] * ic
    ex, ey, ez = (c * dx + s * dy) * ia, (c * dy - s * dx) * ib, dz * ic
    return hit_foliage(rx, ry, rz, ex, ey, ez, floats[k, AX], floats[k, AY], leaves, limit)


@njit(**OPTIONS)
def smooth_edges(seen, eye, leaves, row0, row1, key, color, out):
    """Blend pixels on edges by how much of them each neighbouring surface covers, from eight rays each.

    Where there are leaves four do.

    Args:
        seen: Primitives in view.
        eye: The camera.
        leaves: Mask of foliage.
        row0, row1: Rows to do.
        key: (H, W) int32, primitive and face of each pixel, as ``shade`` writes it.
        color: (H, W, 3) uint8, one sample a pixel.
        out: (H, W, 3) uint8.
    """
    width, height = eye.width, eye.height
    floats, ints, zero = seen.floats, seen.ints, F(0.0)
    offsets = np.array(
        [-0.3125, 0.3125, -0.4375, -0.0625, -0.1875, -0.3125, -0.0625, 0.1875,
         0.1875, 0.4375, 0.0625, -0.4375, 0.3125, -0.1875, 0.4375, 0.0625], np.float32
    )  # fmt: skip
    # every other one of them is spread over the pixel as well
    keys, xs, ys = np.empty(9, np.int64), np.empty(9, np.int64), np.empty(9, np.int64)
    prims, weights = np.empty(9, np.int64), np.empty(9, np.int64)
    axes = eye.axes
    for y in range(row0, row1):
        ya, yb = max(y - 1, 0), min(y + 1, height - 1)
        for x in range(width):
            here = key[y, x]
            xa, xb = max(x - 1, 0), min(x + 1, width - 1)
            if (
                key[y, xa] == here and key[y, xb] == here and key[ya, x] == here and key[yb, x] == here
                and key[ya, xa] == here and key[yb, xb] == here and key[ya, xb] == here and key[yb, xa] == here
            ):  # fmt: skip
                out[y, x, 0], out[y, x, 1], out[y, x, 2] = color[y, x, 0], color[y, x, 1], color[y, x, 2]
                continue
            if (
                _is_leaf(ints, here) and _is_leaf(ints, key[y, xa]) and _is_leaf(ints, key[y, xb])
                and _is_leaf(ints, key[ya, x]) and _is_leaf(ints, key[yb, x]) and _is_leaf(ints, key[ya, xa])
                and _is_leaf(ints, key[yb, xb]) and _is_leaf(ints, key[ya, xb]) and _is_leaf(ints, key[yb, xa])
            ):  # fmt: skip
                # Among leaves there is an edge everywhere; a mean of neighbours does for them.
                for c in range(3):
                    total = 8 + 4 * np.int64(color[y, x, c])
                    total += 2 * (np.int64(color[y, xa, c]) + color[y, xb, c] + color[ya, x, c] + color[yb, x, c])
                    total += np.int64(color[ya, xa, c]) + color[ya, xb, c] + color[yb, xa, c] + color[yb, xb, c]
                    out[y, x, c] = total >> 4
                continue
            num, num_prims = 1, 0
            keys[0], xs[0], ys[0] = here, x, y
            for side in range(8):
                nx = x + (1, -1, 0, 0, 1, -1, 1, -1)[side]
                ny = y + (0, 0, 1, -1, 1, -1, -1, 1)[side]
                if nx < 0 or ny < 0 or nx >= width or ny >= height:
                    continue
                other, known = key[ny, nx], False
                for q in range(num):
                    known = known or keys[q] == other
                if not known:
                    keys[num], xs[num], ys[num] = other, nx, ny
                    num += 1
            contrast = 0
            for q in range(1, num):
                for c in range(3):
                    contrast = max(contrast, abs(np.int64(color[y, x, c]) - np.int64(color[ys[q], xs[q], c])))
            if contrast < MIN_CONTRAST:
                out[y, x, 0], out[y, x, 1], out[y, x, 2] = color[y, x, 0], color[y, x, 1], color[y, x, 2]
                continue
            step = 1
            for q in range(num):
                weights[q] = 0
                if _is_leaf(ints, keys[q]):
                    step = 2  # a ragged outline needs fewer rays than a straight one, and each costs more
                p, known = keys[q] >> 4, keys[q] < 0
                for r in range(num_prims):
                    known = known or prims[r] == p
                if not known:
                    prims[num_prims] = p
                    num_prims += 1
            for s in range(0, 8, step):
                a = F((x + 0.5 + offsets[2 * s] - eye.cx) / eye.fx)
                b = F((y + 0.5 + offsets[2 * s + 1] - eye.cy) / eye.fy)
                dx = axes[2, 0] + a * axes[0, 0] + b * axes[1, 0]
                dy = axes[2, 1] + a * axes[0, 1] + b * axes[1, 1]
                dz = axes[2, 2] + a * axes[0, 2] + b * axes[1, 2]
                ix, iy, iz = F(1.0) / dx, F(1.0) / dy, F(1.0) / dz
                best, best_key = MISS, -1
                for r in range(num_prims):
                    k = prims[r]
                    kind = ints[k, TYPE]
                    if kind == BOX:
                        mx, hx = floats[k, PX] * ix, abs(floats[k, HX] * ix)
                        my, hy = floats[k, PY] * iy, abs(floats[k, HY] * iy)
                        mz, hz = floats[k, PZ] * iz, abs(floats[k, HZ] * iz)
                        tx, ty, tz = mx - hx, my - hy, mz - hz
                        t = max(max(tx, ty), tz)
                        if t < best and t > NEAR and t < min(min(mx + hx, my + hy), mz + hz):
                            best, best_key = t, k * 16 + (0 if t == tx else (1 if t == ty else 2))
                    else:
                        if kind == LEAVES:
                            t, face = _hit_leaves(floats, k, dx, dy, dz, leaves, best)
                        else:
                            t, face = hit_round(floats, k, kind, zero, zero, zero, dx, dy, dz, leaves)
                        if t < best:
                            best, best_key = t, k * 16 + face
                which = 0
                for q in range(num):
                    if keys[q] == best_key:
                        which = q
                weights[which] += step
            red, green, blue = 4, 4, 4
            for q in range(num):
                w = weights[q]
                if w:
                    red += w * color[ys[q], xs[q], 0]
                    green += w * color[ys[q], xs[q], 1]
                    blue += w * color[ys[q], xs[q], 2]
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = red >> 3, green >> 3, blue >> 3
