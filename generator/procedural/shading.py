"""The compiled loop that colours what the rays hit: textures, baked light, sun, lamps, and tone."""

import math

import numpy as np
from numba import njit

from .ambient import ambient_at, crease
from .floor import floor_open
from .gloss import gleam, mirrored_lamp
from .lamplight import lamp_reaches
from .rays import MISS, OPTIONS, F, hit
from .sampling import LANES, albedo, bilinear
from .scene import (
    BOX,
    CLS,
    EM,
    GL,
    LEAVES,
    MOV,
    SLOT,
    TB,
    TG,
    TR,
    TYPE,
    U0,
    UV,
    UV_PLACE,
    V0,
    YARD,
)
from .sky import sky
from .sunlight import sun_at
from .surfaces import surface_at
from .textures import MATERIAL_INDEX

_STAIN_LEVEL = np.int64(4)
_CLOUD, _STAINS = MATERIAL_INDEX["cloud"], MATERIAL_INDEX["plaster"]


@njit(**OPTIONS)
def _in_movers_shade(bounds, floats, ints, first, count, slot, x, y, z, nx, ny, nz, dx, dy, dz, limit, leaves):
    """True if something that moves stands between a surface and a light.

    Args:
        bounds, floats, ints, first, count: Of ``Movers``.
        slot: The surface's cell.
        x, y, z: Where on the surface, in the cell.
        nx, ny, nz: The surface's normal.
        dx, dy, dz: Direction to the light.
        limit: How far off the light is, in units of the direction.
        leaves: Mask of foliage.
    """
    ox, oy, oz = bounds[slot, 0] - x, bounds[slot, 1] - y, bounds[slot, 2] - z
    along = (ox * dx + oy * dy + oz * dz) / (dx * dx + dy * dy + dz * dz)
    ox, oy, oz = ox - along * dx, oy - along * dy, oz - along * dz
    if ox * ox + oy * oy + oz * oz >= bounds[slot, 3] * bounds[slot, 3]:
        return False
    x, y, z = x + nx * F(0.02), y + ny * F(0.02), z + nz * F(0.02)
    for m in range(first[slot], first[slot] + count[slot]):
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
    per_material = texels.size // tex.inverse_size.size
    clouds, stains = _CLOUD * per_material + tex.offsets[1], _STAINS * per_material
    is_day, sun, lamps = light.sun_color[0] > 0, light.sun, cells.lamps
    shadow_floats, shadow_ints = movers.shadow_floats, movers.shadow_ints
    bounds, blobs = movers.bounds, movers.blobs
    width, height = eye.width, eye.height
    wall = np.zeros(4, np.float32)
    wall_of = -1
    for by in range(row0, row1, 2):
        for bx in range(0, width, 2):
            last_key, stain = -2, F(1.0)  # of what the four pixels share
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
                kind, slot, is_mover = ints[k, TYPE], np.int64(ints[k, SLOT]), ints[k, MOV] != 0
                surface[y, x], moving[y, x] = ints[k, CLS], is_mover
                is_leaf, is_yard = kind == LEAVES, cells.kind[slot] == YARD
                t = depth[y, x]
                px, py, pz = dx * t, dy * t, dz * t
                cx, cy, cz = px - cells.origin[slot, 0], py - cells.origin[slot, 1], pz - cells.origin[slot, 2]
                east, north = cx + cells.phase[slot, 0], cy + cells.phase[slot, 1]
                face, material, mx, my, mz, tu, tv, du, dv, squeeze = surface_at(
                    floats, ints, k, px, py, pz, dx, dy, dz, east, north, cz, tex.inverse_size
                )
                this_key = k * 16 + face
                key[y, x] = this_key
                # Texture.
                slant = abs(dx * mx + dy * my + dz * mz) * inv_len
                scale = tex.inverse_size[material]
                footprint = t * pixel * scale * F(512.0) * squeeze
                u, v = tu * scale + floats[k, U0], tv * scale + floats[k, V0]
                r, g, bl = albedo(
                    texels, material * per_material, u, v, footprint, F(1.0) / max(slant, F(0.06)), du, dv
                )
                r, g, bl = r * floats[k, TR], g * floats[k, TG], bl * floats[k, TB]
                if is_leaf:
                    # Leaves turn every way: lit from above rather than like a ball.
                    mz = mz * F(0.6) + F(0.45)
                    s = F(1.0) / math.sqrt(mx * mx + my * my + mz * mz)
                    mx, my, mz = mx * s, my * s, mz * s
                    inner = F(1.0) - F(0.28) * (face - 6)
                    r, g, bl = r * inner, g * inner, bl * inner
                # A plant's leaves in the block share the light around it; a ball's normals turn too fast for that.
                shared_key = k * 16 if is_leaf else this_key
                if last_key != shared_key or (face >= 5 and not is_leaf):
                    last_key = shared_key
                    off = F(0.1)
                    stain = F(1.0)
                    if ints[k, UV] == UV_PLACE:
                        e = bilinear(texels, stains, v * F(0.23) + F(0.3), u * F(0.17), _STAIN_LEVEL)
                        stain = F(0.80) + F(0.24 / 65280.0) * F(e & LANES)
                    ar, ag, ab = ambient_at(cells, slot, cx + mx * off, cy + my * off, cz + mz * off, mx, my, mz)
                    if wall_of != slot:
                        wall_of = slot
                        wall[:] = 0
                        for o in range(cells.num_openings[slot]):
                            if cells.openings[slot, o, 5] > 0:
                                wall[int(cells.openings[slot, o, 0])] = 1
                    s = crease(cells, slot, cx, cy, cz, face if kind == BOX else 3, wall)
                    ar, ag, ab = ar * s, ag * s, ab * s
                r, g, bl = r * stain, g * stain, bl * stain
                contact = F(1.0)
                if cz < F(0.05) and mz > F(0.5):
                    contact = floor_open(cells, slot, cx, cy)
                    for i in range(movers.num_blobs):
                        if int(blobs[i, 0]) == slot:
                            ox, oy = cx - blobs[i, 1], cy - blobs[i, 2]
                            s = (ox * ox + oy * oy) / (blobs[i, 3] * blobs[i, 3])
                            contact *= F(1.0) - F(0.6) * math.exp(-s * F(1.2))
                er, eg, eb = ar * contact, ag * contact, ab * contact
                is_shaded = movers.count[slot] > 0 and not (is_mover or is_leaf)
                # Lamps. Leaves get some light from behind.
                for i in range(cells.num_lamps[slot]):
                    ox, oy, oz = lamps[slot, i, 0] - cx, lamps[slot, i, 1] - cy, lamps[slot, i, 2] - cz
                    r2, reach2 = ox * ox + oy * oy + oz * oz, lamps[slot, i, 5] * lamps[slot, i, 5]
                    fade = F(1.0) - r2 * r2 / (reach2 * reach2)
                    facing = ox * mx + oy * my + oz * mz
                    if fade <= 0 or (facing <= 0 and not is_leaf):
                        continue
                    dist = math.sqrt(r2)
                    facing = max(facing / dist, F(0.35) if is_leaf else F(0.0))
                    s = lamps[slot, i, 3] * facing * fade * fade / (r2 + F(0.35))
                    owner = int(lamps[slot, i, 4])
                    if owner >= 0 and s > F(0.004):
                        s *= lamp_reaches(cells, owner, ox - mx * F(0.03), oy - my * F(0.03), oz - mz * F(0.03), dist)
                        if is_shaded and _in_movers_shade(
                            bounds, shadow_floats, shadow_ints, movers.first, movers.count, slot,
                            cx, cy, cz, mx, my, mz, ox, oy, oz, F(1.0), tex.leaves,
                        ):  # fmt: skip
                            s = F(0.0)
                    s *= F(0.4) + F(0.6) * contact
                    er, eg, eb = (
                        er + s * light.lamp_color[0],
                        eg + s * light.lamp_color[1],
                        eb + s * light.lamp_color[2],
                    )
                if is_day and cells.is_sunny[slot]:
                    facing = mx * sun[0] + my * sun[1] + mz * sun[2]
                    if is_leaf:
                        facing = max(facing, F(0.25))
                    if facing > 0:
                        s = sun_at(cells, slot, cx + mx * F(0.03), cy + my * F(0.03), cz + mz * F(0.03), light)
                        if is_shaded and s > 0 and _in_movers_shade(
                            bounds, shadow_floats, shadow_ints, movers.first, movers.count, slot,
                            cx, cy, cz, mx, my, mz, sun[0], sun[1], sun[2], MISS, tex.leaves,
                        ):  # fmt: skip
                            s = F(0.0)
                        s *= facing
                        er, eg, eb = (
                            er + s * light.sun_color[0],
                            eg + s * light.sun_color[1],
                            eb + s * light.sun_color[2],
                        )
                emission = floats[k, EM] * (F(1.15) if is_day else F(2.6))
                r, g, bl = r * (er + emission), g * (eg + emission), bl * (eb + emission)
                # Gloss: windows and lamps mirrored in floors and furniture.
                gloss = floats[k, GL]
                if gloss > 0:
                    s = F(2.0) * (dx * mx + dy * my + dz * mz) * inv_len
                    rx, ry, rz = dx * inv_len - s * mx, dy * inv_len - s * my, dz * inv_len - s * mz
                    fresnel = F(1.0) - min(abs(s) * F(0.5), F(1.0))
                    fresnel = gloss * (F(0.08) + F(0.92) * fresnel * fresnel * fresnel)
                    if not is_yard and mz > F(0.9):
                        s = gleam(cells, slot, cx, cy, cz, rx, ry, rz, light) * fresnel
                        s *= contact * (F(2.2) if is_day else F(0.25))
                        r, g, bl = r + s * light.sky_low[0], g + s * light.sky_low[1], bl + s * light.sky_low[2]
                    if cells.num_lamps[slot] > 0:
                        s = mirrored_lamp(lamps, slot, cx, cy, cz, rx, ry, rz) * fresnel * contact
                        r, g, bl = (
                            r + s * light.lamp_color[0],
                            g + s * light.lamp_color[1],
                            bl + s * light.lamp_color[2],
                        )
                    s = F(0.6) * fresnel
                    r, g, bl = r + s * ar, g + s * ag, bl + s * ab
                if is_yard:
                    s = F(1.0) - math.exp(-haze * t)
                    r, g, bl = (
                        r + (light.sky_low[0] - r) * s,
                        g + (light.sky_low[1] - g) * s,
                        bl + (light.sky_low[2] - bl) * s,
                    )
                color[y, x, 0] = np.uint8(_tone(r, exposure))
                color[y, x, 1] = np.uint8(_tone(g, exposure))
                color[y, x, 2] = np.uint8(_tone(bl, exposure))
