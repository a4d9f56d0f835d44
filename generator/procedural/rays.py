"""Compiled tests of rays against primitives."""

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
    TURNED_BOX,
)

OPTIONS = {"fastmath": True, "error_model": "numpy", "cache": True, "nogil": True}
F = np.float32
MISS = F(1e9)
NEAR = F(0.01)
SHELLS = 3
SHELL_GAP = 0.17
"""Nested surfaces of foliage, and how far apart; the outer ones are pierced between leaves."""
GRAZING = 0.1
"""Squared cosine below which a ray slips past an outer surface, on which leaves would be drawn out to threads."""


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
def hit_foliage(rx, ry, rz, ex, ey, ez, scale, phase, leaves, limit):
    """Ray against nested, pierced unit spheres: (distance, face), ``MISS`` for none before a limit.

    Args:
        rx, ry, rz: Origin of the ray, where the outermost sphere has radius 1.
        ex, ey, ez: Its direction there.
        scale, phase: How the leaves lie on the spheres.
        leaves: Their mask.
        limit: Distance of what is known to be nearer; foliage that begins behind it is not looked at.
    """
    a = ex * ex + ey * ey + ez * ez
    b = rx * ex + ry * ey + rz * ez
    r2 = rx * rx + ry * ry + rz * rz
    d = b * b - a * (r2 - F(1.0))
    if d <= 0 or (b >= 0 and r2 > F(1.0)):
        return MISS, 0
    inv = F(1.0) / a
    if (-b - math.sqrt(d)) * inv >= limit:
        return MISS, 0
    for shell in range(SHELLS):
        radius = F(1.0) - F(SHELL_GAP) * shell
        d = b * b - a * (r2 - radius * radius)
        if d <= 0:
            break
        if shell < SHELLS - 1 and d < F(GRAZING) * a * radius * radius:
            continue
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
            is_leaf = leaf_at(leaves, px, py, pz, scale, phase + F(0.37) * F(shell))
            if is_leaf and (shell > 0 or leaf_at(leaves, px, py, pz, scale * F(0.61), phase + F(0.5))):
                return t, 6 + shell
    return MISS, 0


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
    if kind == ELLIPSOID:
        a = ex * ex + ey * ey + ez * ez
        b = rx * ex + ry * ey + rz * ez
        d = b * b - a * (rx * rx + ry * ry + rz * rz - F(1.0))
        if d <= 0:
            return MISS, 0
        t = (-b - math.sqrt(d)) / a
        return (t, 6) if t > NEAR else (MISS, 0)
    return hit_foliage(rx, ry, rz, ex, ey, ez, floats[k, AX], floats[k, AY], leaves, MISS)


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
