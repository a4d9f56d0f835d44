"""Compiled loops that find what is seen: rays against primitives, portals, one ray a pixel, smooth edges."""

import math

import numpy as np
from numba import njit

from .scene import (
    AX,
    AY,
    AZ,
    BOX,
    CAPSULE,
    CO,
    CYLINDER,
    ELLIPSOID,
    HX,
    HY,
    HZ,
    PX,
    PY,
    PZ,
    RA,
    SI,
    SLOT,
    TURNED_BOX,
    TYPE,
)

OPTIONS = {"fastmath": True, "error_model": "numpy", "cache": True, "nogil": True}
F = np.float32
MISS = F(1e9)
NEAR = F(0.01)
MIN_CONTRAST = 7
"""Edges between colours that differ by less, of 255, are left as they are."""
SHELLS = 3
SHELL_GAP = 0.17
"""Nested surfaces of foliage, and how far apart; the outer ones are pierced between leaves."""


@njit(**OPTIONS)
def leaf_at(leaves, nx, ny, nz, scale, phase):
    """True where the point of a unit sphere carries a leaf; the mask is laid on the six sides of a cube."""
    ax, ay, az = abs(nx), abs(ny), abs(nz)
    if az >= ax and az >= ay:
        u, v = nx / az, ny / az
    elif ax >= ay:
        u, v = ny / ax, nz / ax
    else:
        u, v = nx / ay, nz / ay
    size = leaves.shape[0]
    iu = int((u * scale + phase + F(64.0)) * size) & (size - 1)
    iv = int((v * scale - phase + F(64.0)) * size) & (size - 1)
    return leaves[iv, iu] != 0


@njit(**OPTIONS)
def hit_round(floats, k, kind, ox, oy, oz, dx, dy, dz, leaves):
    """Ray against anything but a box that is not turned; returns (distance, face)."""
    ax, ay, az = ox - floats[k, PX], oy - floats[k, PY], oz - floats[k, PZ]
    if kind == CAPSULE:
        return _hit_capsule(floats, k, ax, ay, az, dx, dy, dz)
    c, s = floats[k, CO], floats[k, SI]
    rx, ry = c * ax + s * ay, c * ay - s * ax
    ex, ey = c * dx + s * dy, c * dy - s * dx
    if kind <= TURNED_BOX:
        return hit_slabs(rx, ry, az, ex, ey, dz, floats[k, HX], floats[k, HY], floats[k, HZ])
    if kind == CYLINDER:
        ia, ib = F(1.0) / floats[k, HX], F(1.0) / floats[k, HY]
        rx, ry, ex, ey = rx * ia, ry * ib, ex * ia, ey * ib
        a, b, q = ex * ex + ey * ey, rx * ex + ry * ey, rx * rx + ry * ry - F(1.0)
        d = b * b - a * q
        if d <= 0:
            return MISS, 0
        root, inv = math.sqrt(d), F(1.0) / a
        t0, t1 = (-b - root) * inv, (-b + root) * inv
        iz = F(1.0) / dz
        m, h = -az * iz, abs(floats[k, HZ] * iz)
        face = 5
        if m - h > t0:
            t0, face = m - h, 2
        t1 = min(t1, m + h)
        return (t0, face) if t0 < t1 and t0 > NEAR else (MISS, 0)
    ia, ib, ic = F(1.0) / floats[k, HX], F(1.0) / floats[k, HY], F(1.0) / floats[k, HZ]
    rx, ry, rz = rx * ia, ry * ib, az * ic
    ex, ey, ez = ex * ia, ey * ib, dz * ic
    a = ex * ex + ey * ey + ez * ez
    b = rx * ex + ry * ey + rz * ez
    r2 = rx * rx + ry * ry + rz * rz
    inv = F(1.0) / a
    if kind == ELLIPSOID:
        d = b * b - a * (r2 - F(1.0))
        if d <= 0:
            return MISS, 0
        t = (-b - math.sqrt(d)) * inv
        return (t, 6) if t > NEAR else (MISS, 0)
    scale = floats[k, AX]
    for shell in range(SHELLS):
        radius = F(1.0) - F(SHELL_GAP) * shell
        d = b * b - a * (r2 - radius * radius)
        if d <= 0:
            break
        root = math.sqrt(d)
        inner = radius - F(SHELL_GAP)
        for way in range(2):
            t = (-b + (root if way else -root)) * inv
            if t <= NEAR or (way == 1 and (shell == SHELLS - 1 or b * b - a * (r2 - inner * inner) > 0)):
                continue
            if shell == SHELLS - 1:
                return t, 6 + shell
            px, py, pz = rx + t * ex, ry + t * ey, rz + t * ez
            # The outermost surface carries the fewest leaves, so that the outline is ragged.
            is_leaf = leaf_at(leaves, px, py, pz, scale, floats[k, AY] + F(0.37) * F(shell))
            if is_leaf and (shell > 0 or leaf_at(leaves, px, py, pz, scale * F(0.61), floats[k, AY] + F(0.5))):
                return t, 6 + shell
    return MISS, 0


@njit(**OPTIONS)
def hit_slabs(ax, ay, az, dx, dy, dz, hx, hy, hz):
    """Ray against a box round the origin: (distance, 0, 1 or 2 for the axis that its face is square to)."""
    ix, iy, iz = F(1.0) / dx, F(1.0) / dy, F(1.0) / dz
    m, h = -ax * ix, abs(hx * ix)
    t0, t1 = m - h, m + h
    face = 0
    m, h = -ay * iy, abs(hy * iy)
    if m - h > t0:
        t0, face = m - h, 1
    t1 = min(t1, m + h)
    m, h = -az * iz, abs(hz * iz)
    if m - h > t0:
        t0, face = m - h, 2
    t1 = min(t1, m + h)
    return (t0, face) if t0 < t1 and t0 > NEAR else (MISS, 0)


@njit(**OPTIONS)
def _hit_capsule(floats, k, ax, ay, az, dx, dy, dz):
    """Ray against a segment with a radius: the cylinder's side first, then the nearer cap."""
    bx, by, bz, r = F(2.0) * floats[k, AX], F(2.0) * floats[k, AY], F(2.0) * floats[k, AZ], floats[k, RA]
    ox, oy, oz = ax + floats[k, AX], ay + floats[k, AY], az + floats[k, AZ]
    bb = bx * bx + by * by + bz * bz
    bd = bx * dx + by * dy + bz * dz
    bo = bx * ox + by * oy + bz * oz
    dd = dx * dx + dy * dy + dz * dz
    do = dx * ox + dy * oy + dz * oz
    oo = ox * ox + oy * oy + oz * oz
    a = bb * dd - bd * bd
    b = bb * do - bo * bd
    c = bb * oo - bo * bo - r * r * bb
    h = b * b - a * c
    if h < 0:
        return MISS, 0
    t = (-b - math.sqrt(h)) / max(a, F(1e-12))
    y = bo + t * bd
    if y > 0 and y < bb:
        return (t, 6) if t > NEAR else (MISS, 0)
    if y > 0:
        ox, oy, oz = ox - bx, oy - by, oz - bz
        do = dx * ox + dy * oy + dz * oz
        oo = ox * ox + oy * oy + oz * oz
    h = do * do - dd * (oo - r * r)
    if h <= 0:
        return MISS, 0
    t = (-do - math.sqrt(h)) / dd
    return (t, 6) if t > NEAR else (MISS, 0)


@njit(**OPTIONS)
def hit(floats, k, kind, ox, oy, oz, dx, dy, dz, leaves):
    """Nearest positive hit of a ray with a primitive: (distance in units of the direction, face), ``MISS`` for none."""
    if kind == BOX:
        return hit_slabs(
            ox - floats[k, PX],
            oy - floats[k, PY],
            oz - floats[k, PZ],
            dx,
            dy,
            dz,
            floats[k, HX],
            floats[k, HY],
            floats[k, HZ],
        )
    return hit_round(floats, k, kind, ox, oy, oz, dx, dy, dz, leaves)


@njit(**OPTIONS)
def _clip_rect(corners, eye, out):
    """Pixel rectangle of a convex polygon in camera coordinates, clipped at the near plane; False if behind."""
    u0, u1, v0, v1 = 1e9, -1e9, 1e9, -1e9
    near = 0.02
    num = corners.shape[0]
    for q in range(num):
        ax, ay, az = corners[q, 0], corners[q, 1], corners[q, 2]
        r = q + 1 if q + 1 < num else 0
        bx, by, bz = corners[r, 0], corners[r, 1], corners[r, 2]
        if az < near and bz < near:
            continue
        if az < near:
            t = (near - az) / (bz - az)
            ax, ay, az = ax + (bx - ax) * t, ay + (by - ay) * t, near
        elif bz < near:
            t = (near - az) / (bz - az)
            bx, by, bz = ax + (bx - ax) * t, ay + (by - ay) * t, near
        u, v = ax / az * eye.fx + eye.cx, ay / az * eye.fy + eye.cy
        u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
        u, v = bx / bz * eye.fx + eye.cx, by / bz * eye.fy + eye.cy
        u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
    if u1 < u0:
        return False
    out[0] = math.floor(max(u0, -2.0))
    out[1] = math.ceil(min(u1, 1e5)) + 1
    out[2] = math.floor(max(v0, -2.0))
    out[3] = math.ceil(min(v1, 1e5)) + 1
    return True


@njit(**OPTIONS)
def walk_portals(cells, start, eye, reach_m, order, rects):
    """Cells seen through openings from the camera's own cell, with the pixel rectangle of each.

    Args:
        cells: All cells around; origins relative to the camera.
        start: Slot of the camera's cell.
        eye: The camera.
        reach_m: Cells further off are left out.
        order: (N,) slots out, nearest first.
        rects: (slots, 4) pixel rectangles out; empty where not seen.

    Returns:
        How many cells are seen.
    """
    num = 0
    rects[:, 0], rects[:, 1], rects[:, 2], rects[:, 3] = 99999, -1, 99999, -1
    stack = np.empty((600, 6), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3], stack[0, 4] = start, 0, eye.width, 0, eye.height
    stack[0, 5] = 0
    top = 1
    corners, got = np.empty((4, 3)), np.empty(4, np.int64)
    axes = eye.axes
    while top > 0:
        top -= 1
        c = stack[top, 0]
        x0, x1, y0, y1, depth = stack[top, 1], stack[top, 2], stack[top, 3], stack[top, 4], stack[top, 5]
        if rects[c, 1] < 0:
            order[num] = c
            num += 1
        elif rects[c, 0] <= x0 and rects[c, 1] >= x1 and rects[c, 2] <= y0 and rects[c, 3] >= y1:
            continue
        x0, x1 = min(x0, rects[c, 0]), max(x1, rects[c, 1])
        y0, y1 = min(y0, rects[c, 2]), max(y1, rects[c, 3])
        rects[c, 0], rects[c, 1], rects[c, 2], rects[c, 3] = x0, x1, y0, y1
        if depth > 15:
            continue
        ox, oy = cells.origin[c, 0], cells.origin[c, 1]
        for o in range(cells.num_openings[c]):
            side = int(cells.openings[c, o, 0])
            other = cells.neighbours[c, side]
            if other < 0:
                continue
            a0, a1 = cells.openings[c, o, 1], cells.openings[c, o, 2]
            z0, z1 = cells.openings[c, o, 3], cells.openings[c, o, 4]
            if side == 0:
                plane = oy
                away = -plane
            elif side == 1:
                plane = ox + cells.size[c, 0]
                away = plane
            elif side == 2:
                plane = oy + cells.size[c, 1]
                away = plane
            else:
                plane = ox
                away = -plane
            if away < -0.001 or away > reach_m:
                continue
            u0, u1, v0, v1 = x0, x1, y0, y1
            if away >= 0.3:
                for q in range(4):
                    a = a0 if q == 0 or q == 3 else a1
                    wz = (z0 if q < 2 else z1) + cells.origin[c, 2]
                    wx, wy = (ox + a, plane) if side == 0 or side == 2 else (plane, oy + a)
                    for e in range(3):
                        corners[q, e] = axes[e, 0] * wx + axes[e, 1] * wy + axes[e, 2] * wz
                if not _clip_rect(corners, eye, got):
                    continue
                u0, u1, v0, v1 = max(got[0], x0), min(got[1], x1), max(got[2], y0), min(got[3], y1)
            if u0 < u1 and v0 < v1 and top < 599:
                stack[top, 0], stack[top, 1], stack[top, 2] = other, u0, u1
                stack[top, 3], stack[top, 4], stack[top, 5] = v0, v1, depth + 1
                top += 1
    return num


@njit(**OPTIONS)
def gather(cells, order, num_cells, rects, movers, eye, floats, ints, boxes):
    """Copy the primitives that can be seen, relative to the camera, with their pixel rectangles.

    Returns:
        (first mover, number of primitives).
    """
    m, first = 0, 0
    corners = np.empty((8, 3))
    flat, got = np.empty((2, 3)), np.empty(4, np.int64)
    for a in range(num_cells + 1):
        if a == num_cells:
            first = m
            count, c = movers.num, 0
        else:
            c = order[a]
            count = cells.num_prims[c]
        for k in range(count):
            if a == num_cells:
                src, isrc = movers.floats[k], movers.ints[k]
                c = isrc[SLOT]
                if rects[c, 1] < 0:
                    continue
            else:
                src, isrc = cells.floats[c, k], cells.ints[c, k]
            ox, oy, oz = cells.origin[c, 0], cells.origin[c, 1], cells.origin[c, 2]
            behind, near = True, False
            u0, u1, v0, v1 = 1e9, -1e9, 1e9, -1e9
            for q in range(8):
                lx = src[HX] if q & 1 else -src[HX]
                ly = src[HY] if q & 2 else -src[HY]
                lz = src[HZ] if q & 4 else -src[HZ]
                wx = src[CO] * lx - src[SI] * ly + src[PX] + ox
                wy = src[SI] * lx + src[CO] * ly + src[PY] + oy
                wz = lz + src[PZ] + oz
                for e in range(3):
                    corners[q, e] = eye.axes[e, 0] * wx + eye.axes[e, 1] * wy + eye.axes[e, 2] * wz
                if corners[q, 2] < 0.02:
                    near = True
                else:
                    behind = False
                    u = corners[q, 0] / corners[q, 2] * eye.fx + eye.cx
                    v = corners[q, 1] / corners[q, 2] * eye.fy + eye.cy
                    u0, u1, v0, v1 = min(u0, u), max(u1, u), min(v0, v), max(v1, v)
            if behind:
                continue
            if near:
                for q in range(8):
                    for bit in range(3):
                        w = q ^ (1 << bit)
                        if corners[q, 2] < 0.02 <= corners[w, 2]:
                            for e in range(3):
                                flat[0, e], flat[1, e] = corners[q, e], corners[w, e]
                            if _clip_rect(flat, eye, got):
                                u0, u1 = min(u0, float(got[0])), max(u1, float(got[1]))
                                v0, v1 = min(v0, float(got[2])), max(v1, float(got[3]))
            x0, x1 = max(int(max(u0, -2.0)), rects[c, 0]), min(int(min(u1, 1e5)) + 2, rects[c, 1])
            y0, y1 = max(int(max(v0, -2.0)), rects[c, 2]), min(int(min(v1, 1e5)) + 2, rects[c, 3])
            if x0 >= x1 or y0 >= y1 or m >= floats.shape[0]:
                continue
            for e in range(src.shape[0]):
                floats[m, e] = src[e]
            floats[m, PX], floats[m, PY], floats[m, PZ] = src[PX] + ox, src[PY] + oy, src[PZ] + oz
            for e in range(isrc.shape[0]):
                ints[m, e] = isrc[e]
            ints[m, SLOT] = c
            boxes[m, 0], boxes[m, 1], boxes[m, 2], boxes[m, 3] = x0, x1, y0, y1
            m += 1
    return first, m


@njit(**OPTIONS)
def trace(seen, eye, leaves, row0, row1, depth, index):
    """One ray a pixel: depth along the camera's z and index of the nearest primitive, -1 for the sky."""
    width, floats, zero = eye.width, seen.floats, F(0.0)
    dxs, dys, dzs = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    ixs, iys, izs = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.float32)
    here = np.empty(seen.num, np.int64)
    num_here = 0
    for k in range(seen.num):
        if seen.rects[k, 2] < row1 and seen.rects[k, 3] > row0:
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
            else:
                for x in range(x0, x1):
                    t, _ = hit_round(floats, k, kind, zero, zero, zero, dxs[x], dys[x], dzs[x], leaves)
                    if t < z[x]:
                        z[x], ids[x] = t, k32


@njit(**OPTIONS)
def smooth_edges(seen, eye, leaves, row0, row1, key, color, out):
    """Blend pixels on edges by how much of them each neighbouring surface covers, from eight rays each.

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
        [-0.4375, -0.0625, -0.3125, 0.3125, -0.1875, -0.3125, -0.0625, 0.1875,
         0.0625, -0.4375, 0.1875, 0.4375, 0.3125, -0.1875, 0.4375, 0.0625], np.float32
    )  # fmt: skip
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
            for q in range(num):
                weights[q] = 0
                p, known = keys[q] >> 4, keys[q] < 0
                for r in range(num_prims):
                    known = known or prims[r] == p
                if not known:
                    prims[num_prims] = p
                    num_prims += 1
            for s in range(8):
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
                        t, face = hit_round(floats, k, kind, zero, zero, zero, dx, dy, dz, leaves)
                        if t < best:
                            best, best_key = t, k * 16 + face
                which = 0
                for q in range(num):
                    if keys[q] == best_key:
                        which = q
                weights[which] += 1
            red, green, blue = 4, 4, 4
            for q in range(num):
                w = weights[q]
                if w:
                    red += w * color[ys[q], xs[q], 0]
                    green += w * color[ys[q], xs[q], 1]
                    blue += w * color[ys[q], xs[q], 2]
            out[y, x, 0], out[y, x, 1], out[y, x, 2] = red >> 3, green >> 3, blue >> 3
