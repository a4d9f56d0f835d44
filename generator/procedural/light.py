"""Times of day, and the compiled loops that bake a cell's light: sun, lamps, ambient cubes, openness of the floor."""

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

from .classes import CLASS_INDEX
from .kernels import MISS, OPTIONS, F, hit_round, hit_slabs
from .scene import (
    BOX,
    CEILING_M,
    CLS,
    CO,
    CYLINDER,
    EM,
    FLAGS,
    FLOOR_TEXEL_M,
    HX,
    HY,
    HZ,
    LAMP_SPAN,
    LAMP_TEXELS,
    LAMP_UNITS,
    MAT,
    MAX_COARSE,
    NO_SHADOW,
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
    SUN_TEXEL_M,
    SUN_UNITS,
    TB,
    TG,
    TOP,
    TOP_M,
    TR,
    TURNED_BOX,
    TYPE,
    YARD,
    Light,
)

Vector = tuple[float, ...]
INSET_M = 0.14
NO_CLOUDS = np.int64(-1)
YARD_CUBES_M = 3.8
"""Height that a yard's ambient cubes reach."""
_LAMP_CLASS = CLASS_INDEX["lamp"]
_LYING = tuple(CLASS_INDEX[n] for n in ("floor", "rug", "ground", "path"))


def _light(sun: Vector, *rows: Vector) -> Light:
    """Rows as in ``Light``; the sun's direction need not be of unit length."""
    s = np.asarray(sun, np.float64)
    return Light(*(np.asarray(row, np.float32) for row in (s / np.linalg.norm(s), *rows)))


def day() -> Light:
    """A clear day; the sun stands in the south-west at about 40 degrees, so that it looks into windows."""
    return _light(
        (-0.46, -0.62, 0.66), (2.9, 2.5, 1.95), (0.16, 0.34, 0.74), (0.62, 0.75, 0.88), (0.95, 0.95, 0.95),
        (0.80, 0.77, 0.71), (0.36, 0.38, 0.28), (1.0, 0.84, 0.62), (6.2, 1.3, 0.8, 0.004),
    )  # fmt: skip


def evening() -> Light:
    """After sunset: lamps, lit windows, a violet sky."""
    return _light(
        (-0.46, -0.62, 0.66), (0.0, 0.0, 0.0), (0.05, 0.085, 0.22), (0.50, 0.28, 0.24), (0.30, 0.19, 0.23),
        (0.17, 0.125, 0.085), (0.08, 0.07, 0.06), (1.3, 1.0, 0.68), (1.0, 1.75, 1.0, 0.001),
    )  # fmt: skip


def sphere_directions(num: int) -> np.ndarray:
    """(num, 3) float32 directions, evenly spread (Fibonacci sphere), none along an axis."""
    i = np.arange(num) + 0.5
    z = 1 - 2 * i / num
    turn, r = i * 2.39996323, np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn) + 1e-4, r * np.sin(turn) + 1e-4, z + 1e-5], 1).astype(np.float32)


@njit(**OPTIONS)
def sky(dx, dy, dz, light, tex, with_clouds):
    """Colour of the sky in a unit direction."""
    up = max(dz, F(0.0))
    w = (F(1.0) - up) * (F(1.0) - up)
    w *= w
    r = light.sky_top[0] + (light.sky_low[0] - light.sky_top[0]) * w
    g = light.sky_top[1] + (light.sky_low[1] - light.sky_top[1]) * w
    b = light.sky_top[2] + (light.sky_low[2] - light.sky_top[2]) * w
    near = max(F(0.0), dx * light.sun[0] + dy * light.sun[1] + dz * light.sun[2])
    near *= near
    near *= near
    near *= near
    glow = near * F(0.22) + (F(8.0) if near > F(0.9955) else F(0.0))
    r, g, b = r + glow * light.sun_color[0], g + glow * light.sun_color[1], b + glow * light.sun_color[2]
    if with_clouds >= 0 and dz > F(0.01):
        q = F(0.17) / (dz + F(0.12))
        fu, fv = (dx * q + F(8.0)) * F(256.0), (dy * q + F(8.0)) * F(256.0)
        iu, iv = int(fu), int(fv)
        au, av = F(fu - iu), F(fv - iv)
        c = F(0.0)
        for k in range(4):
            u, v = (iu + (k & 1)) & 255, (iv + (k >> 1)) & 255
            wk = (au if k & 1 else F(1.0) - au) * (av if k >> 1 else F(1.0) - av)
            c += wk * F(tex.texels[with_clouds + v * 256 + u] & 255)
        c = min(max(F(0.0), c * F(1.0 / 255.0) - F(0.33)) * F(1.4) * min(F(1.0), up * F(4.0)), F(0.92))
        r, g, b = r + (light.cloud[0] - r) * c, g + (light.cloud[1] - g) * c, b + (light.cloud[2] - b) * c
    return r, g, b


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
