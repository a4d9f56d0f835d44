"""Light from everywhere: a cell's ambient cubes, baked by tracing one bounce, and looked up."""

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

from .adjacency import joined, shift
from .rays import MISS, OPTIONS, F
from .scene import (
    CEILING_M,
    CO,
    EM,
    FLAGS,
    HX,
    HY,
    HZ,
    MAT,
    MAX_COARSE,
    NUM_COARSE,
    NX,
    NY,
    NZ,
    PX,
    PY,
    PZ,
    ROOF_M,
    SI,
    SMALL,
    TB,
    TG,
    TOP,
    TR,
    TURNED_BOX,
    TYPE,
    YARD,
)
from .sky import NO_CLOUDS, sky
from .sunlight import sun_at

INSET_M = 0.14
YARD_CUBES_M = 3.8
"""Height that a yard's ambient cubes reach."""


def sphere_directions(num: int) -> np.ndarray:
    """(num, 3) float32 directions, evenly spread (Fibonacci sphere), none along an axis."""
    i = np.arange(num) + 0.5
    z = 1 - 2 * i / num
    turn, r = i * 2.39996323, np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn) + 1e-4, r * np.sin(turn) + 1e-4, z + 1e-5], 1).astype(np.float32)


def cube_bounds(kind: int, width: float, depth: float, is_open: Sequence[bool]) -> tuple[float, ...]:
    """Where a cell's grid of ambient cubes lies: (x0, x1, y0, y1, z0, z1).

    It begins on the border where there is no wall (``is_open``: south, east, north, west), inside it otherwise.
    """
    south, east, north, west = (0.0 if is_open_side else INSET_M for is_open_side in is_open)
    top = YARD_CUBES_M if kind == YARD else CEILING_M - 0.06
    return west, width - east, south, depth - north, 0.05, top


@njit(**OPTIONS)
def _escaped(cells, slot, px, py, pz, dx, dy, dz, light, tex):
    """Radiance of a ray that met nothing: the sky, the ground outside, or a room beyond."""
    is_yard = cells.kind[slot] == YARD
    other = np.int64(-1)
    for _ in range(3):
        tx = ((cells.size[slot, 0] if dx > 0 else F(0.0)) - px) / dx
        ty = ((cells.size[slot, 1] if dy > 0 else F(0.0)) - py) / dy
        t = min(tx, ty)
        side = (1 if dx > 0 else 3) if tx < ty else (2 if dy > 0 else 0)
        if is_yard and dz > 0 and pz + dz * t > F(ROOF_M):
            return sky(dx, dy, dz, light, tex, NO_CLOUDS)
        other = cells.neighbours[slot, side]
        if joined(cells, slot, side) < 0:
            break
        ox, oy = shift(cells, slot, other, side)
        px, py, pz, slot = px + dx * t - ox, py + dy * t - oy, pz + dz * t, other
    if other >= 0 and cells.kind[other] != YARD:
        return light.indoor[0], light.indoor[1], light.indoor[2]
    gain = F(1.0) if is_yard else light.levels[0]
    if dz > F(-0.02):
        r, g, b = sky(dx, dy, min(dz + F(0.15), F(1.0)), light, tex, NO_CLOUDS)
        return r * gain, g * gain, b * gain
    return light.ground[0] * gain, light.ground[1] * gain, light.ground[2] * gain


@njit(**OPTIONS)
def coarsen(cells, slot, tex):
    """Keep a cell's larger primitives as boxes with a colour, for bounced light."""
    n = 0
    out = cells.coarse[slot]
    for k in range(cells.num_prims[slot]):
        f, q = cells.floats[slot, k], cells.ints[slot, k]
        ex, ey = abs(f[CO] * f[HX]) + abs(f[SI] * f[HY]), abs(f[SI] * f[HX]) + abs(f[CO] * f[HY])
        ez = f[HZ]
        if q[FLAGS] & SMALL or ex * ey + ex * ez + ey * ez < F(0.02) or n >= MAX_COARSE:
            continue
        if q[TYPE] > TURNED_BOX:
            ex, ey, ez = ex * F(0.8), ey * F(0.8), ez * F(0.8)
        m = q[TOP] if ez < F(0.03) else q[MAT]
        out[0, n], out[1, n], out[2, n] = f[PX], f[PY], f[PZ]
        out[3, n], out[4, n], out[5, n] = ex, ey, ez
        out[6, n], out[7, n], out[8, n] = tex.mean[m, 0] * f[TR], tex.mean[m, 1] * f[TG], tex.mean[m, 2] * f[TB]
        out[9, n] = f[EM]
        n += 1
    cells.num_coarse[slot] = n


@njit(**OPTIONS)
def _coarse_around(cells, slot):
    """Coarse boxes relative to a cell's corner: of what is joined to its west, its own, of what is joined to its east.

    Returns:
        ((NUM_COARSE, N) boxes, index of the first own one, index after the last own one).
    """
    total = cells.num_coarse[slot]
    for side in (3, 1):
        other = joined(cells, slot, side)
        if other >= 0:
            total += cells.num_coarse[other]
    out = np.empty((NUM_COARSE, total), np.float32)
    at, first, last = 0, 0, 0
    for side in (3, -1, 1):
        other, ox, oy = slot, F(0.0), F(0.0)
        if side < 0:
            first, last = at, at + cells.num_coarse[slot]
        else:
            other = joined(cells, slot, side)
            if other < 0:
                continue
            ox, oy = shift(cells, slot, other, side)
        for k in range(cells.num_coarse[other]):
            for row in range(NUM_COARSE):
                out[row, at] = cells.coarse[other, row, k]
            out[0, at] += ox
            out[1, at] += oy
            at += 1
    return out, first, last


@njit(**OPTIONS)
def _bounced(cells, slot, x, y, z, light):
    """Light that falls on a coarse box at a point of a cell: a guess at the rest of the room, sun and lamps."""
    is_yard = cells.kind[slot] == YARD
    r, g, b = light.indoor[0], light.indoor[1], light.indoor[2]
    if is_yard:
        r, g, b = light.ground[0] * F(1.6), light.ground[1] * F(1.6), light.ground[2] * F(1.8)
    if cells.is_sunny[slot] and light.sun_color[0] > 0:
        v = sun_at(cells, slot, x, y, z, light) * (F(0.55) if is_yard else F(1.3))
        r, g, b = r + v * light.sun_color[0], g + v * light.sun_color[1], b + v * light.sun_color[2]
    for i in range(cells.num_lamps[slot]):
        lamps = cells.lamps
        ax, ay, az = lamps[slot, i, 0] - x, lamps[slot, i, 1] - y, lamps[slot, i, 2] - z
        r2 = ax * ax + ay * ay + az * az
        fade = max(
            F(1.0) - r2 * r2 / (lamps[slot, i, 5] * lamps[slot, i, 5] * lamps[slot, i, 5] * lamps[slot, i, 5]), F(0.0)
        )
        e = lamps[slot, i, 3] * F(0.6) * fade * fade / (r2 + F(0.4))
        r, g, b = r + e * light.lamp_color[0], g + e * light.lamp_color[1], b + e * light.lamp_color[2]
    return r, g, b


@njit(**OPTIONS)
def bake_ambient(cells, slot, layer, light, tex, directions):
    """Fill one layer of a cell's ambient cubes: one traced bounce, lit by sun, lamps and a guess at the rest."""
    cube = cells.cube
    x0, x1, y0 = cube[slot, 0], cube[slot, 1], cube[slot, 2]
    y1, z0, z1 = cube[slot, 3], cube[slot, 4], cube[slot, 5]
    pz = z0 + (z1 - z0) * F(layer) / F(NZ - 1)
    boxes, own0, own1 = _coarse_around(cells, slot)
    bx, by, bz, ex, ey, ez = boxes[0], boxes[1], boxes[2], boxes[3], boxes[4], boxes[5]
    num = boxes.shape[1]
    near = np.empty(num, np.float32)
    weights, acc = np.empty(6, np.float32), np.empty(18, np.float32)
    for iy in range(NY):
        for ix in range(NX):
            px, py = x0 + (x1 - x0) * F(ix) / F(NX - 1), y0 + (y1 - y0) * F(iy) / F(NY - 1)
            out = cells.ambient[slot, (layer * NY + iy) * NX + ix]
            is_inside = False
            for k in range(own0, own1):
                if abs(px - bx[k]) < ex[k] and abs(py - by[k]) < ey[k] and abs(pz - bz[k]) < ez[k]:
                    is_inside = True
            if is_inside:
                out[0] = F(-1.0)
                continue
            # On a border without a wall both cells see the same two cells, so that no seam shows.
            k0 = own0 if ix == NX - 1 and own1 < num else 0
            k1 = own1 if ix == 0 and own0 > 0 else num
            weights[:] = 0
            acc[:] = 0
            for d in range(directions.shape[0]):
                dx, dy, dz = directions[d, 0], directions[d, 1], directions[d, 2]
                vx, vy, vz = F(1.0) / dx, F(1.0) / dy, F(1.0) / dz
                wx, wy, wz = abs(vx), abs(vy), abs(vz)
                best = MISS
                for k in range(k0, k1):
                    mx, my, mz = (bx[k] - px) * vx, (by[k] - py) * vy, (bz[k] - pz) * vz
                    hx, hy, hz = ex[k] * wx, ey[k] * wy, ez[k] * wz
                    t0 = max(max(mx - hx, my - hy), mz - hz)
                    t1 = min(min(mx + hx, my + hy), mz + hz)
                    t = t0 if (t0 < t1) & (t0 > F(0.0)) else MISS
                    near[k] = t
                    best = min(best, t)
                if best >= MISS:
                    r, g, b = _escaped(cells, slot, px, py, pz, dx, dy, dz, light, tex)
                else:
                    k = k0
                    while near[k] != best:
                        k += 1
                    t = best - F(0.03)
                    r, g, b = _bounced(cells, slot, px + dx * t, py + dy * t, pz + dz * t, light)
                    r = boxes[6, k] * (r + F(2.0) * boxes[9, k])
                    g = boxes[7, k] * (g + F(2.0) * boxes[9, k])
                    b = boxes[8, k] * (b + F(2.0) * boxes[9, k])
                for q in range(6):
                    w = (dx, dy, dz)[q >> 1] * (F(1.0) if q & 1 == 0 else F(-1.0))
                    if w > 0:
                        weights[q] += w
                        acc[3 * q] += w * r
                        acc[3 * q + 1] += w * g
                        acc[3 * q + 2] += w * b
            for q in range(18):
                out[q] = acc[q] / weights[q // 3]


@njit(**OPTIONS)
def fill_ambient(cells, slot):
    """Give cubes inside furniture the mean of their neighbours, a little darker."""
    field = cells.ambient[slot]
    total = np.empty(18, np.float32)
    for again in range(4):
        for v in range(NX * NY * NZ):
            if field[v, 0] >= 0:
                continue
            ix, iy, iz = v % NX, (v // NX) % NY, v // (NX * NY)
            count = 0
            total[:] = 0
            for side in range(6):
                x = ix + (1, -1, 0, 0, 0, 0)[side]
                y = iy + (0, 0, 1, -1, 0, 0)[side]
                z = iz + (0, 0, 0, 0, 1, -1)[side]
                if x < 0 or y < 0 or z < 0 or x >= NX or y >= NY or z >= NZ:
                    continue
                u = (z * NY + y) * NX + x
                if field[u, 0] >= 0:
                    count += 1
                    for q in range(18):
                        total[q] += field[u, q]
            if count > 0:
                for q in range(18):
                    field[v, q] = total[q] / count * F(0.85)
            elif again == 3:
                field[v, :] = 0


@njit(**OPTIONS)
def ambient_at(cells, slot, x, y, z, nx, ny, nz):
    """Light from everywhere on a surface with a normal, from the eight ambient cubes around a point of a cell."""
    cube = cells.cube
    x0, x1, y0 = cube[slot, 0], cube[slot, 1], cube[slot, 2]
    y1, z0, z1 = cube[slot, 3], cube[slot, 4], cube[slot, 5]
    gx = min(max((x - x0) / (x1 - x0) * F(NX - 1), F(0.0)), F(NX - 1.001))
    gy = min(max((y - y0) / (y1 - y0) * F(NY - 1), F(0.0)), F(NY - 1.001))
    gz = min(max((z - z0) / (z1 - z0) * F(NZ - 1), F(0.0)), F(NZ - 1.001))
    ix, iy, iz = int(gx), int(gy), int(gz)
    fx, fy, fz = F(gx - ix), F(gy - iy), F(gz - iz)
    qx, qy, qz = (0 if nx > 0 else 3), (6 if ny > 0 else 9), (12 if nz > 0 else 15)
    ax, ay, az = nx * nx, ny * ny, nz * nz
    field = cells.ambient
    r, g, b = F(0.0), F(0.0), F(0.0)
    for k in range(8):
        w = (fx if k & 1 else F(1.0) - fx) * (fy if k & 2 else F(1.0) - fy) * (fz if k & 4 else F(1.0) - fz)
        o = ((iz + (k >> 2)) * NY + iy + ((k >> 1) & 1)) * NX + ix + (k & 1)
        if ax > F(0.01):
            r, g, b = (
                r + w * ax * field[slot, o, qx],
                g + w * ax * field[slot, o, qx + 1],
                b + w * ax * field[slot, o, qx + 2],
            )
        if ay > F(0.01):
            r, g, b = (
                r + w * ay * field[slot, o, qy],
                g + w * ay * field[slot, o, qy + 1],
                b + w * ay * field[slot, o, qy + 2],
            )
        if az > F(0.01):
            r, g, b = (
                r + w * az * field[slot, o, qz],
                g + w * az * field[slot, o, qz + 1],
                b + w * az * field[slot, o, qz + 2],
            )
    return r, g, b


@njit(**OPTIONS)
def crease(cells, slot, x, y, z, axis, wall):
    """Darkening towards the corners of a room, where light has less room to come from."""
    w, d = cells.size[slot, 0], cells.size[slot, 1]
    dim = F(1.0)
    if cells.kind[slot] == YARD:
        return dim if axis == 2 else F(1.0) - F(0.3) * math.exp(-max(z, F(0.0)) * F(6.0))
    if axis != 0:
        if not wall[3] > 0:
            dim *= F(1.0) - F(0.32) * math.exp(-max(x - F(0.1), F(0.0)) * F(7.0))
        if not wall[1] > 0:
            dim *= F(1.0) - F(0.32) * math.exp(-max(w - x - F(0.1), F(0.0)) * F(7.0))
    if axis != 1:
        if not wall[0] > 0:
            dim *= F(1.0) - F(0.32) * math.exp(-max(y - F(0.1), F(0.0)) * F(7.0))
        if not wall[2] > 0:
            dim *= F(1.0) - F(0.32) * math.exp(-max(d - y - F(0.1), F(0.0)) * F(7.0))
    if axis != 2:
        dim *= F(1.0) - F(0.34) * math.exp(-max(z, F(0.0)) * F(7.0))
        dim *= F(1.0) - F(0.26) * math.exp(-max(F(CEILING_M) - z, F(0.0)) * F(6.0))
    return dim
