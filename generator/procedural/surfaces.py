"""How a primitive's surface lies where a ray meets it: its normal, and where on its texture that is."""

import math

from numba import njit

from .rays import OPTIONS, SHELL_GAP, F
from .scene import (
    AX,
    AY,
    AZ,
    CAPSULE,
    CO,
    CYLINDER,
    HX,
    HY,
    HZ,
    LEAVES,
    MAT,
    PX,
    PY,
    PZ,
    RA,
    SI,
    SP,
    SU,
    SV,
    TOP,
    TURNED_BOX,
    TYPE,
    UV,
    UV_BOOKS,
    UV_LOCAL,
    UV_PLACE,
    UV_STRETCHED,
)


@njit(**OPTIONS)
def surface_at(floats, ints, k, px, py, pz, dx, dy, dz, east, north, up, inverse_size):
    """How a primitive's surface lies where a ray meets it.

    Args:
        floats, ints: Primitives relative to the camera.
        k: Which of them.
        px, py, pz: Where it is met.
        dx, dy, dz: The ray.
        east, north, up: The same point in the place, for textures that run on.
        inverse_size: Of all materials.

    Returns:
        (face, material, normal in the place's axes (3), texture coordinates in metres (2), direction of the view on the
        texture (2), how much the texture is squeezed).
    """
    kind, uv = ints[k, TYPE], ints[k, UV]
    co, si = floats[k, CO], floats[k, SI]
    wx, wy, lz = px - floats[k, PX], py - floats[k, PY], pz - floats[k, PZ]
    lx, ly = co * wx + si * wy, co * wy - si * wx
    ex, ey, ez = co * dx + si * dy, co * dy - si * dx, dz
    hx, hy, hz = floats[k, HX], floats[k, HY], floats[k, HZ]
    material, face = ints[k, MAT], 0
    nx, ny, nz = F(0.0), F(0.0), F(0.0)
    squeeze = F(1.0)
    du, dv = F(0.0), F(0.0)
    if kind <= TURNED_BOX:
        qx, qy, qz = hx - abs(lx), hy - abs(ly), hz - abs(lz)
        if qz <= qx and qz <= qy:
            face, material = 2, ints[k, TOP]
            nz = F(1.0) if lz > 0 else F(-1.0)
            tu, tv, du, dv, hu, hv = lx, ly, ex, ey, hx, hy
        elif qx <= qy:
            nx = F(1.0) if lx > 0 else F(-1.0)
            tu, tv, du, dv, hu, hv = ly, lz, ey, ez, hy, hz
        else:
            face = 1
            ny = F(1.0) if ly > 0 else F(-1.0)
            tu, tv, du, dv, hu, hv = lx, lz, ex, ez, hx, hz
        if uv == UV_PLACE:
            tu = north if face == 0 else east
            tv = north if face == 2 else up
        elif uv == UV_STRETCHED:
            size = F(0.5) / inverse_size[material]
            su, sv = size * floats[k, SU] / hu, size * floats[k, SV] / hv
            tu, tv, du, dv = (tu + hu) * su, (tv + hv) * sv, du * su, dv * sv
            squeeze = max(su, sv)
        elif uv == UV_BOOKS:
            tv += hv
        elif uv == UV_LOCAL and hv > hu:
            tu, tv, du, dv = tv, tu, dv, du
    elif kind == CYLINDER:
        if hz - abs(lz) < F(1e-3):
            face, material = 2, ints[k, TOP]
            nz = F(1.0) if lz > 0 else F(-1.0)
            tu, tv, du, dv = lx, ly, ex, ey
            if uv == UV_STRETCHED:
                size = F(0.5) / inverse_size[material]
                su, sv = size / hx, size / hy
                tu, tv, du, dv = (tu + hx) * su, (tv + hy) * sv, du * su, dv * sv
                squeeze = max(su, sv)
        else:
            face = 5
            nx, ny = lx / hx, ly / hy
            tu, tv, dv = math.atan2(ny, nx) * hx, lz, ez
    elif kind == CAPSULE:
        face = 6
        ax, ay, az = floats[k, AX], floats[k, AY], floats[k, AZ]
        length2 = ax * ax + ay * ay + az * az
        s = min(max((lx * ax + ly * ay + lz * az) / (length2 + F(1e-9)), F(-1.0)), F(1.0))
        ir = F(1.0) / floats[k, RA]
        nx, ny, nz = (lx - s * ax) * ir, (ly - s * ay) * ir, (lz - s * az) * ir
        tu, tv = math.atan2(ny, nx + nz) * floats[k, RA], s * math.sqrt(length2)
    else:
        face = 6
        ix, iy, iz = lx / hx, ly / hy, lz / hz
        if kind == LEAVES:
            far = math.sqrt(ix * ix + iy * iy + iz * iz)
            face = 6 + min(max(int((F(1.0) - far) * F(1.0 / SHELL_GAP) + F(0.5)), 0), 2)
        nx, ny, nz = ix / hx, iy / hy, iz / hz
        s = F(1.0) / math.sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx * s, ny * s, nz * s
        if floats[k, SP] != 0:
            c1, s1 = math.cos(floats[k, SP]), math.sin(floats[k, SP])
            ix, iz = c1 * ix - s1 * iz, s1 * ix + c1 * iz
        if abs(iz) > abs(ix) and abs(iz) > abs(iy):
            tu, tv = ix * hx, iy * hy
        elif abs(ix) > abs(iy):
            tu, tv = iy * hy, iz * hz
        else:
            tu, tv = ix * hx, iz * hz
    return face, material, co * nx - si * ny, si * nx + co * ny, nz, tu, tv, du, dv, squeeze
