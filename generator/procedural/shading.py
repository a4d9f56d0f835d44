"""The compiled loop that colours what the rays hit: textures, baked light, sun, lamps, and tone."""

import math

import numpy as np
from numba import njit

from .kernels import MISS, OPTIONS, SHELL_GAP, F, hit
from .light import sky, sun_at
from .scene import (
    AX,
    AY,
    AZ,
    BOX,
    CAPSULE,
    CEILING_M,
    CLS,
    CO,
    CYLINDER,
    EM,
    FLOOR_TEXEL_M,
    GL,
    HX,
    HY,
    HZ,
    LAMP_SPAN,
    LAMP_TEXELS,
    LAMP_UNITS,
    LEAVES,
    MAT,
    MOV,
    NX,
    NY,
    NZ,
    PX,
    PY,
    PZ,
    RA,
    SI,
    SLOT,
    SP,
    SU,
    SV,
    TB,
    TG,
    TOP,
    TR,
    TURNED_BOX,
    TYPE,
    U0,
    UV,
    UV_BOOKS,
    UV_LOCAL,
    UV_PLACE,
    UV_STRETCHED,
    V0,
    YARD,
)
from .textures import MATERIAL_INDEX, TEXELS

U = np.uint64
_LOW, _LANES = U(0xFF), U(0x1FFFFF)
_STAIN_LEVEL = np.int64(4)
_CLOUD, _STAINS = MATERIAL_INDEX["cloud"], MATERIAL_INDEX["plaster"]


@njit(inline="always", **OPTIONS)
def _lanes(texel):
    """A packed texel as three lanes of 21 bits."""
    t = U(texel)
    return (t & _LOW) | ((t & U(0xFF00)) << U(13)) | ((t & U(0xFF0000)) << U(26))


@njit(**OPTIONS)
def _bilinear(texels, base, u, v, level):
    """Three lanes, each 256 times the texels' mean, at texture coordinates of one level."""
    side = TEXELS >> level
    fixed_u = math.floor(u * F(side * 16) - F(8.0))
    fixed_v = math.floor(v * F(side * 16) - F(8.0))
    a, b = U(fixed_u & 15), U(fixed_v & 15)
    mask = side - 1
    x0, y0 = (fixed_u >> 4) & mask, (fixed_v >> 4) & mask
    x1, y1 = (x0 + 1) & mask, (y0 + 1) & mask
    start = base + (TEXELS * TEXELS - side * side) // 3 * 4
    top, low = U(start + y0 * side), U(start + y1 * side)
    na, nb = U(16) - a, U(16) - b
    upper = _lanes(texels[top + U(x0)]) * na + _lanes(texels[top + U(x1)]) * a
    lower = _lanes(texels[low + U(x0)]) * na + _lanes(texels[low + U(x1)]) * a
    return upper * nb + lower * b


@njit(inline="always", **OPTIONS)
def _log2(x):
    """Logarithm to base 2 of a positive number, within 0.01: the exponent, and a parabola for the mantissa."""
    bits = np.float32(x).view(np.int32)
    m = np.int32((bits & 0x7FFFFF) | 0x3F800000).view(np.float32)
    return F((bits >> 23) - 128) + (F(-0.33582878) * m + F(2.0)) * m - F(0.65871759)


@njit(**OPTIONS)
def _trilinear(texels, base, u, v, lod):
    """Three lanes, each 4096 times the texels' mean, between two levels."""
    lod = min(max(lod, F(0.0)), F(7.9))
    level = int(lod)
    w = U(int((lod - F(level)) * F(16.0)))
    if w < U(2):
        return _bilinear(texels, base, u, v, level) << U(4)
    far = _bilinear(texels, base, u, v, level + 1)
    if w > U(13):
        return far << U(4)
    return _bilinear(texels, base, u, v, level) * (U(16) - w) + far * w


@njit(**OPTIONS)
def _albedo(texels, base, u, v, footprint, stretch, du, dv):
    """Linear colour of a material; two samples along (du, dv) where the view is slanted.

    Args:
        texels: Of all materials.
        base: Where the material begins.
        u, v: Coordinates in tiles.
        footprint: Of a pixel across the view, in finest texels.
        stretch: How much longer it is along the view.
        du, dv: Direction of the view on the surface, of any length.
    """
    if stretch > F(2.2) and footprint * stretch > F(1.0):
        wide = footprint * max(F(1.0), min(stretch, F(8.0)) * F(0.5))
        step = footprint * min(stretch, F(16.0)) * F(0.25 / 512.0) / (math.sqrt(du * du + dv * dv) + F(1e-6))
        lod = _log2(wide) - F(0.15)
        e = _trilinear(texels, base, u - du * step, v - dv * step, lod) + _trilinear(
            texels, base, u + du * step, v + dv * step, lod
        )
        scale = F(1.0 / (255.0 * 8192.0))
    else:
        e = _trilinear(texels, base, u, v, _log2(footprint * min(stretch, F(1.6))) - F(0.1))
        scale = F(1.0 / (255.0 * 4096.0))
    r = F(e & _LANES) * scale
    g = F((e >> U(21)) & _LANES) * scale
    b = F((e >> U(42)) & _LANES) * scale
    return r * r, g * g, b * b


@njit(**OPTIONS)
def _ambient(cells, slot, x, y, z, nx, ny, nz):
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
def _crease(cells, slot, x, y, z, axis, wall):
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


@njit(**OPTIONS)
def _floor_open(cells, slot, x, y):
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


@njit(**OPTIONS)
def _lamp_reaches(cells, owner, dx, dy, dz, r):
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


@njit(**OPTIONS)
def _gleam(cells, slot, x, y, z, rx, ry, rz, light):
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


@njit(inline="always", **OPTIONS)
def _near_mover(bounds, slot, x, y, z, dx, dy, dz):
    """True if a ray passes through the sphere around a cell's movers."""
    ox, oy, oz = bounds[slot, 0] - x, bounds[slot, 1] - y, bounds[slot, 2] - z
    along = (ox * dx + oy * dy + oz * dz) / (dx * dx + dy * dy + dz * dz)
    ox, oy, oz = ox - along * dx, oy - along * dy, oz - along * dz
    return ox * ox + oy * oy + oz * oz < bounds[slot, 3] * bounds[slot, 3]


@njit(**OPTIONS)
def _mover_blocks(floats, ints, first, count, x, y, z, dx, dy, dz, limit, leaves):
    """True if one of some primitives stands on the way from a point of a cell to a light."""
    for m in range(first, first + count):
        t, _ = hit(floats, m, ints[m, TYPE], x, y, z, dx, dy, dz, leaves)
        if t < limit:
            return True
    return False


@njit(inline="always", **OPTIONS)
def _tone(value, exposure):
    """Linear light as an 8-bit display value: a filmic curve (Narkowicz' fit of ACES), then a square root."""
    x = max(value * exposure, F(0.0))
    x = x * (F(2.51) * x + F(0.03)) / (x * (F(2.43) * x + F(0.59)) + F(0.14))
    return min(math.sqrt(x), F(1.0)) * F(255.0) + F(0.5)


@njit(**OPTIONS)
def shade(seen, eye, cells, movers, light, tex, row0, row1, depth, index, color, key, surface, moving):
    """Colour the pixels of some rows.

    Args:
        seen: Primitives in view.
        eye: The camera.
        cells: All cells around.
        movers: What moves.
        light: Time of day.
        tex: Textures.
        row0, row1: Rows to do; row0 is even.
        depth, index: (H, W) what ``trace`` found.
        color: (H, W, 3) uint8 out.
        key: (H, W) int32 out, primitive · 16 + face, -1 for the sky.
        surface: (H, W) uint8 out, class.
        moving: (H, W) bool out.
    """
    axes = eye.axes
    pixel = F(1.0 / eye.fx)
    exposure, haze = light.levels[2], light.levels[3]
    floats, ints, texels = seen.floats, seen.ints, tex.texels
    shadow_floats, shadow_ints = movers.shadow_floats, movers.shadow_ints
    per_material = texels.size // tex.inverse_size.size
    clouds, stains = _CLOUD * per_material + tex.offsets[1], _STAINS * per_material
    is_day = light.sun_color[0] > 0
    width, height = eye.width, eye.height
    wall = np.zeros(4, np.float32)
    wall_of = -1
    for by in range(row0, row1, 2):
        for bx in range(0, width, 2):
            last_key, stain = -2, F(1.0)
            ar, ag, ab = F(0.0), F(0.0), F(0.0)
            for part in range(4):
                x, y = bx + (part & 1), by + (part >> 1)
                if x >= width or y >= row1 or y >= height:
                    continue
                a, b = F((x + 0.5 - eye.cx) / eye.fx), F((y + 0.5 - eye.cy) / eye.fy)
                dx = axes[2, 0] + a * axes[0, 0] + b * axes[1, 0]
                dy = axes[2, 1] + a * axes[0, 1] + b * axes[1, 1]
                dz = axes[2, 2] + a * axes[0, 2] + b * axes[1, 2]
                inv_len = F(1.0) / math.sqrt(F(1.0) + a * a + b * b)
                k = int(index[y, x])
                if k < 0:
                    r, g, bl = sky(dx * inv_len, dy * inv_len, dz * inv_len, light, tex, clouds)
                    color[y, x, 0] = np.uint8(_tone(r, exposure))
                    color[y, x, 1] = np.uint8(_tone(g, exposure))
                    color[y, x, 2] = np.uint8(_tone(bl, exposure))
                    key[y, x], surface[y, x], moving[y, x] = -1, 0, False
                    continue
                kind, slot, uv = ints[k, TYPE], np.int64(ints[k, SLOT]), ints[k, UV]
                surface[y, x], moving[y, x] = ints[k, CLS], ints[k, MOV] != 0
                t = depth[y, x]
                px, py, pz = dx * t, dy * t, dz * t
                co, si = floats[k, CO], floats[k, SI]
                wx, wy, lz = px - floats[k, PX], py - floats[k, PY], pz - floats[k, PZ]
                lx, ly = co * wx + si * wy, co * wy - si * wx
                ex, ey, ez = co * dx + si * dy, co * dy - si * dx, dz
                hx, hy, hz = floats[k, HX], floats[k, HY], floats[k, HZ]
                # Where in the cell.
                cx, cy, cz = px - cells.origin[slot, 0], py - cells.origin[slot, 1], pz - cells.origin[slot, 2]
                # Normal and texture coordinates in metres, in the primitive's own axes.
                material, face = ints[k, MAT], 0
                nx, ny, nz = F(0.0), F(0.0), F(0.0)
                su, sv = F(1.0), F(1.0)
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
                        if face == 2:
                            tu, tv = cx + cells.phase[slot, 0], cy + cells.phase[slot, 1]
                        elif face == 0:
                            tu, tv = cy + cells.phase[slot, 1], cz
                        else:
                            tu, tv = cx + cells.phase[slot, 0], cz
                    elif uv == UV_STRETCHED:
                        size = F(0.5) / tex.inverse_size[material]
                        su, sv = size * floats[k, SU] / hu, size * floats[k, SV] / hv
                        tu, tv, du, dv = (tu + hu) * su, (tv + hv) * sv, du * su, dv * sv
                    elif uv == UV_BOOKS:
                        tv += hv
                    elif uv == UV_LOCAL and hv > hu:
                        tu, tv, du, dv = tv, tu, dv, du
                elif kind == CYLINDER:
                    if hz - abs(lz) < F(1e-3):
                        face, material = 2, ints[k, TOP]
                        nz = F(1.0) if lz > 0 else F(-1.0)
                        tu, tv, du, dv = lx, ly, ex, ey
                    else:
                        face = 5
                        nx, ny = lx / hx, ly / hy
                        tu, tv, du, dv = math.atan2(ny, nx) * hx, lz, F(0.0), ez
                elif kind == CAPSULE:
                    face = 6
                    s = (lx * floats[k, AX] + ly * floats[k, AY] + lz * floats[k, AZ]) / (
                        floats[k, AX] * floats[k, AX]
                        + floats[k, AY] * floats[k, AY]
                        + floats[k, AZ] * floats[k, AZ]
                        + F(1e-9)
                    )
                    s = min(max(s, F(-1.0)), F(1.0))
                    ir = F(1.0) / floats[k, RA]
                    nx, ny, nz = (
                        (lx - s * floats[k, AX]) * ir,
                        (ly - s * floats[k, AY]) * ir,
                        (lz - s * floats[k, AZ]) * ir,
                    )
                    long = math.sqrt(
                        floats[k, AX] * floats[k, AX] + floats[k, AY] * floats[k, AY] + floats[k, AZ] * floats[k, AZ]
                    )
                    tu, tv, du, dv = math.atan2(ny, nx + nz) * floats[k, RA], s * long, F(0.0), F(0.0)
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
                    du, dv = F(0.0), F(0.0)
                this_key = k * 16 + face
                key[y, x] = this_key
                # Texture.
                slant = abs(nx * ex + ny * ey + nz * ez) * inv_len
                scale = tex.inverse_size[material]
                footprint = t * pixel * scale * F(512.0)
                if uv == UV_STRETCHED and kind <= TURNED_BOX:
                    footprint *= max(su, sv)
                u, v = tu * scale + floats[k, U0], tv * scale + floats[k, V0]
                r, g, bl = _albedo(
                    texels, material * per_material, u, v, footprint, F(1.0) / max(slant, F(0.06)), du, dv
                )
                r, g, bl = r * floats[k, TR], g * floats[k, TG], bl * floats[k, TB]
                # Normal in the place.
                mx, my, mz = co * nx - si * ny, si * nx + co * ny, nz
                if kind == LEAVES:
                    # Leaves turn every way: lit from above rather than like a ball.
                    mz = mz * F(0.6) + F(0.45)
                    s = F(1.0) / math.sqrt(mx * mx + my * my + mz * mz)
                    mx, my, mz = mx * s, my * s, mz * s
                    inner = F(1.0) - F(0.28) * (face - 6)
                    r, g, bl = r * inner, g * inner, bl * inner
                if last_key != this_key or face >= 5:
                    last_key = this_key
                    off = F(0.1)
                    stain = F(1.0)
                    if uv == UV_PLACE:
                        e = _bilinear(texels, stains, v * F(0.23) + F(0.3), u * F(0.17), _STAIN_LEVEL)
                        stain = F(0.80) + F(0.24 / 65280.0) * F(e & _LANES)
                    ar, ag, ab = _ambient(cells, slot, cx + mx * off, cy + my * off, cz + mz * off, mx, my, mz)
                    if wall_of != slot:
                        wall_of = slot
                        wall[:] = 0
                        for o in range(cells.num_openings[slot]):
                            if cells.openings[slot, o, 5] > 0:
                                wall[int(cells.openings[slot, o, 0])] = 1
                    axis = face if kind == BOX else 3
                    s = _crease(cells, slot, cx, cy, cz, axis, wall)
                    ar, ag, ab = ar * s, ag * s, ab * s
                r, g, bl = r * stain, g * stain, bl * stain
                er, eg, eb = ar, ag, ab
                # Contact shadows on the floor.
                if cz < F(0.05) and mz > F(0.5):
                    s = _floor_open(cells, slot, cx, cy)
                    for i in range(movers.num_blobs):
                        blob = movers.blobs
                        if int(blob[i, 0]) == slot:
                            ox, oy = cx - blob[i, 1], cy - blob[i, 2]
                            s *= F(1.0) - F(0.6) * math.exp(-(ox * ox + oy * oy) / (blob[i, 3] * blob[i, 3]) * F(1.2))
                    er, eg, eb = er * s, eg * s, eb * s
                    contact = s
                else:
                    contact = F(1.0)
                # Lamps.
                for i in range(cells.num_lamps[slot]):
                    lamp = cells.lamps
                    ox, oy, oz = lamp[slot, i, 0] - cx, lamp[slot, i, 1] - cy, lamp[slot, i, 2] - cz
                    r2 = ox * ox + oy * oy + oz * oz
                    fade = F(1.0) - r2 * r2 / (
                        lamp[slot, i, 5] * lamp[slot, i, 5] * lamp[slot, i, 5] * lamp[slot, i, 5]
                    )
                    facing = ox * mx + oy * my + oz * mz
                    if fade <= 0 or (facing <= 0 and kind != LEAVES):
                        continue
                    dist = math.sqrt(r2)
                    facing = max(facing / dist, F(0.35) if kind == LEAVES else F(0.0))
                    e = lamp[slot, i, 3] * facing * fade * fade / (r2 + F(0.35))
                    owner = int(lamp[slot, i, 4])
                    if owner >= 0 and e > F(0.004):
                        e *= _lamp_reaches(cells, owner, ox - mx * F(0.03), oy - my * F(0.03), oz - mz * F(0.03), dist)
                        is_near = movers.count[slot] > 0 and ints[k, MOV] == 0
                        is_near = is_near and _near_mover(movers.bounds, slot, cx, cy, cz, ox, oy, oz)
                        sx, sy, sz = cx + mx * F(0.02), cy + my * F(0.02), cz + mz * F(0.02)
                        if is_near and _mover_blocks(
                            shadow_floats,
                            shadow_ints,
                            movers.first[slot],
                            movers.count[slot],
                            sx,
                            sy,
                            sz,
                            ox,
                            oy,
                            oz,
                            F(1.0),
                            tex.leaves,
                        ):
                            e = F(0.0)
                    e *= F(0.4) + F(0.6) * contact
                    er, eg, eb = (
                        er + e * light.lamp_color[0],
                        eg + e * light.lamp_color[1],
                        eb + e * light.lamp_color[2],
                    )
                # Sun.
                if is_day and cells.is_sunny[slot]:
                    facing = mx * light.sun[0] + my * light.sun[1] + mz * light.sun[2]
                    if kind == LEAVES:
                        facing = max(facing, F(0.25))
                    if facing > 0:
                        s = sun_at(cells, slot, cx + mx * F(0.03), cy + my * F(0.03), cz + mz * F(0.03), light)
                        ox, oy, oz = light.sun[0], light.sun[1], light.sun[2]
                        is_near = s > 0 and movers.count[slot] > 0
                        is_near = is_near and _near_mover(movers.bounds, slot, cx, cy, cz, ox, oy, oz)
                        sx, sy, sz = cx + mx * F(0.02), cy + my * F(0.02), cz + mz * F(0.02)
                        if is_near and _mover_blocks(
                            shadow_floats,
                            shadow_ints,
                            movers.first[slot],
                            movers.count[slot],
                            sx,
                            sy,
                            sz,
                            ox,
                            oy,
                            oz,
                            MISS,
                            tex.leaves,
                        ):
                            s = F(0.0)
                        s *= facing
                        er, eg, eb = (
                            er + s * light.sun_color[0],
                            eg + s * light.sun_color[1],
                            eb + s * light.sun_color[2],
                        )
                r0, g0, b0 = r, g, bl
                r, g, bl = r * er, g * eg, bl * eb
                # Gloss: windows and lamps mirrored in floors and furniture.
                gloss = floats[k, GL]
                if gloss > 0:
                    s = F(2.0) * (dx * mx + dy * my + dz * mz) * inv_len
                    rx, ry, rz = dx * inv_len - s * mx, dy * inv_len - s * my, dz * inv_len - s * mz
                    fresnel = F(1.0) - min(abs(s) * F(0.5), F(1.0))
                    fresnel = gloss * (F(0.08) + F(0.92) * fresnel * fresnel * fresnel)
                    if cells.kind[slot] != YARD and mz > F(0.9):
                        s = _gleam(cells, slot, cx, cy, cz, rx, ry, rz, light) * fresnel
                        s *= contact * (F(2.2) if is_day else F(0.25))
                        r, g, bl = r + s * light.sky_low[0], g + s * light.sky_low[1], bl + s * light.sky_low[2]
                    for i in range(min(cells.num_lamps[slot], 1)):
                        ox, oy, oz = (
                            cells.lamps[slot, i, 0] - cx,
                            cells.lamps[slot, i, 1] - cy,
                            cells.lamps[slot, i, 2] - cz,
                        )
                        s = max(F(0.0), (ox * rx + oy * ry + oz * rz)) / math.sqrt(ox * ox + oy * oy + oz * oz)
                        s *= s
                        s *= s
                        s *= s
                        s *= s
                        s = s * s * fresnel * cells.lamps[slot, i, 3] * contact
                        r, g, bl = (
                            r + s * light.lamp_color[0],
                            g + s * light.lamp_color[1],
                            bl + s * light.lamp_color[2],
                        )
                    er, eg, eb = fresnel * ar, fresnel * ag, fresnel * ab
                    r, g, bl = r + er * F(0.6), g + eg * F(0.6), bl + eb * F(0.6)
                if floats[k, EM] > 0:
                    s = floats[k, EM] * (F(1.15) if is_day else F(2.6))
                    r, g, bl = r + s * r0, g + s * g0, bl + s * b0
                if cells.kind[slot] == YARD:
                    s = F(1.0) - math.exp(-haze * t)
                    r, g, bl = (
                        r + (light.sky_low[0] - r) * s,
                        g + (light.sky_low[1] - g) * s,
                        bl + (light.sky_low[2] - bl) * s,
                    )
                color[y, x, 0] = np.uint8(_tone(r, exposure))
                color[y, x, 1] = np.uint8(_tone(g, exposure))
                color[y, x, 2] = np.uint8(_tone(bl, exposure))
