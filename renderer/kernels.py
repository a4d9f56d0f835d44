"""Compiled loops of the software renderer.

A picture is kept in planes with a border of ``PAD`` pixels on every side and a row stride of ``width + 2 * PAD``, so
that splats and 3x3 neighbourhoods need no bounds test. The z-buffer packs depth (float32 bits, high half) and a colour
word (low half) into one 64-bit number: positive floats sort like integers, so the nearest wins by one comparison.
The depth's 15 highest bits come first, then how far the pixel is from the point's centre (4 bits), then the next 13
bits of the depth: within steps of 1.6 % not the nearest point wins but the one whose centre is. It keeps detail.

A colour word is red, green, blue from the lowest byte on; the top byte is ``class << 6 | freshness``.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from .pages import NUM_LEVELS, PAGE

PAD = 24
"""Border of the planes in pixels; also bounds the size of a splat."""

MAX_SPLAT = PAD - 1
"""Largest side of a splat in pixels."""

FAR = np.float32(1000000512.0)
"""Depth where nothing is drawn; passes through the z-buffer's bits unchanged."""

NEAR_M = np.float32(0.02)
"""Nothing nearer than this is drawn."""

TILE = 16
"""Side of an occlusion tile in pixels."""

LEVEL_PX = 1.0
"""A level is taken when its points lie no farther apart than this."""

COARSEST = 3.0
"""Or than so many times as much, the farthest in a picture that may not take its time."""

LARGE_SPLAT = 4
"""Pixels a side from which splats leave gaps that are too wide for ``gaps.close_wide_gaps``."""

KNOWN_CLASS = 2
"""Class from which a point is known, in a colour word's highest two bits; what is below was invented."""

f4, i4, u4, u8, u1 = np.float32, np.int32, np.uint32, np.uint64, np.uint8
EMPTY = np.uint64(0x4E6E06B3_00000000)
"""Z-buffer word of an empty pixel: depth ``FAR``, no colour."""

OPTIONS = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy", "boundscheck": False}


class Slots(NamedTuple):
    """What is known of each chunk.

    Attributes:
        head: First page. count: Points, 0 in an unused slot.
        ends: (C, NUM_LEVELS) points of each level of detail, finest first.
        origin: (C, 3) metres. step: Metres of a local step. spacing: Metres between neighbouring points.
        prio_low, prio_high: Range of its points' priority.
        mask: And-ed to its colour words.
        base: Level of detail of its finest points: 0, or more where only a coarser level of it is held.
    """

    head: npt.NDArray[np.int32]
    count: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    origin: npt.NDArray[np.float64]
    step: npt.NDArray[np.float64]
    spacing: npt.NDArray[np.float64]
    prio_low: npt.NDArray[np.uint8]
    prio_high: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint32]
    base: npt.NDArray[np.uint8]


class Found(NamedTuple):
    """Chunks in the frustum, front to back; those of invented points after all others.

    Attributes:
        slot: Their slots. near: Depth of the nearest corner. box: (C, 4) tiles covered, as in ``cull_chunks``.
    """

    slot: npt.NDArray[np.int32]
    near: npt.NDArray[np.float64]
    box: npt.NDArray[np.int32]


@njit(**OPTIONS)
def cull_chunks(count, low, high, m, width, height, near, seen, box):
    """Find the chunks whose box meets the frustum.

    Args:
        count: (C,) int32 points of each slot; empty slots are passed over.
        low, high: (C, 3) float64 boxes in the world.
        m: (3, 4) float64, world to homogeneous pixels.
        width, height: Size in pixels.
        near: (C,) float64, out: depth of the nearest corner of each found chunk.
        seen: (C,) int32, out: slots found.
        box: (C, 4) int32, out: tiles covered: first and last column, first and last row.

    Returns:
        Number of chunks found.
    """
    found = 0
    for c in range(count.shape[0]):
        if count[c] == 0:
            continue
        z_low, z_high = 1e30, -1e30
        left, right, above, below = True, True, True, True
        u_low, u_high, v_low, v_high = 1e30, -1e30, 1e30, -1e30
        for corner in range(8):
            x = high[c, 0] if corner & 1 else low[c, 0]
            y = high[c, 1] if corner & 2 else low[c, 1]
            z = high[c, 2] if corner & 4 else low[c, 2]
            d = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
            u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
            v = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
            left = left and u < 0
            right = right and u > width * d
            above = above and v < 0
            below = below and v > height * d
            z_low = min(z_low, d)
            z_high = max(z_high, d)
            if d > NEAR_M:
                u_low = min(u_low, u / d)
                u_high = max(u_high, u / d)
                v_low = min(v_low, v / d)
                v_high = max(v_high, v / d)
        if z_high < NEAR_M or left or right or above or below:
            continue
        if z_low < NEAR_M:
            u_low, u_high, v_low, v_high = 0.0, 1.0 * width, 0.0, 1.0 * height
            z_low = 1.0 * NEAR_M
        seen[found] = c
        near[found] = z_low
        box[found, 0] = int(max(u_low - 1, 0.0)) // TILE
        box[found, 1] = int(min(u_high + 1, width - 1.0)) // TILE
        box[found, 2] = int(max(v_low - 1, 0.0)) // TILE
        box[found, 3] = int(min(v_high + 1, height - 1.0)) // TILE
        found += 1
    return found


@njit(**OPTIONS)
def _farthest(zbuffer, width, height, row, column):
    """Farthest depth bits drawn in a tile; pinholes of up to 3 pixels are closed first."""
    stride = width + 2 * PAD
    far = u4(0)
    for j in range(TILE * row, min(TILE * (row + 1), height), 4):
        for i in range(TILE * column, min(TILE * (column + 1), width), 4):
            near = u8(0xFFFFFFFF_FFFFFFFF)
            for y in range(j, min(j + 4, height)):
                start = (y + PAD) * stride + PAD
                for k in range(start + i, start + min(i + 4, width)):
                    near = min(near, zbuffer[k])
            far = max(far, u4(near >> u8(32)))
    return far


@njit(**OPTIONS)
def _is_hidden(box, depth_bits, zbuffer, width, height, tiles, is_stale):
    """Whether everything within some tiles is drawn nearer. What a tile had is a bound, so it is looked at again only
    where that does not do."""
    for j in range(box[2], box[3] + 1):
        for i in range(box[0], box[1] + 1):
            if tiles[j, i] >= depth_bits:
                if is_stale[j, i] == u1(0):
                    return False
                is_stale[j, i] = u1(0)
                tiles[j, i] = _farthest(zbuffer, width, height, j, i)
                if tiles[j, i] >= depth_bits:
                    return False
    return True


@njit(**OPTIONS)
def _project(x, y, z, m, width, height, scratch, words):
    """Pixels and depths of a page; what is outside gets depth ``3e9``, which never wins.

    Args:
        scratch: (5 * PAGE,) float32, out: columns from 0 on, rows from ``PAGE``, depths from ``2 * PAGE``. One array
            with constant offsets, so that the compiler can prove that nothing overlaps and takes many points at once.
        words: The same memory as uint32.

    Returns:
        Bits of the smallest depth: a minimum of floats would be taken one by one.
    """
    a0, a1, a2, a3 = m[0], m[1], m[2], m[3]
    b0, b1, b2, b3 = m[4], m[5], m[6], m[7]
    c0, c1, c2, c3 = m[8], m[9], m[10], m[11]
    margin = f4(PAD // 2)
    u_end = f4(width) + margin
    v_end = f4(height) + margin
    for i in range(x.shape[0]):
        px, py, pz = f4(x[i]), f4(y[i]), f4(z[i])
        d = c0 * px + c1 * py + c2 * pz + c3
        inverse = f4(1) / max(d, NEAR_M)
        u = (a0 * px + a1 * py + a2 * pz + a3) * inverse
        v = (b0 * px + b1 * py + b2 * pz + b3) * inverse
        inside = (d > NEAR_M) & (u > -margin) & (u < u_end) & (v > -margin) & (v < v_end)
        scratch[i] = u if inside else f4(0)
        scratch[PAGE + i] = v if inside else f4(0)
        scratch[2 * PAGE + i] = d if inside else f4(3e9)
    nearest = u4(0xFFFFFFFF)
    for i in range(x.shape[0]):
        nearest = min(nearest, words[2 * PAGE + i])
    return nearest


@njit(**OPTIONS)
def _split_depth(bits):
    """Depth bits with room for the distance from the centre, see above: the high half of a z-buffer word."""
    return (bits & u4(0xFFFE0000)) | ((bits >> u4(4)) & u4(0x1FFF))


@njit(**OPTIONS)
def _place_1(scratch, words, n, stride):
    """Where a page of single pixels goes: words from ``3 * PAGE`` on the place, from ``2 * PAGE`` the key's high half.

    Args:
        scratch, words: What ``_project`` left, as float32 and as uint32.
    """
    shift = f4(PAD)
    for i in range(n):
        u, v = scratch[i] + shift, scratch[PAGE + i] + shift
        p, q = i4(u), i4(v)
        du, dv = u - f4(p) - f4(0.5), v - f4(q) - f4(0.5)
        away = u4(i4((du * du + dv * dv) * f4(31.98)))
        words[3 * PAGE + i] = u4(q) * u4(stride) + u4(p)
        words[2 * PAGE + i] = _split_depth(words[2 * PAGE + i]) | (away << u4(13))


@njit(**OPTIONS)
def _place(scratch, words, n, stride, shift):
    """The same for wider splats, whose first pixel it is; from ``4 * PAGE`` on the place in it, 8 x 8 of them."""
    for i in range(n):
        u, v = scratch[i] + shift, scratch[PAGE + i] + shift
        p, q = i4(u), i4(v)
        words[3 * PAGE + i] = u4(q) * u4(stride) + u4(p)
        words[4 * PAGE + i] = u4((i4((v - f4(q)) * f4(8)) << 3) | i4((u - f4(p)) * f4(8)))
        words[2 * PAGE + i] = _split_depth(words[2 * PAGE + i])


@njit(**OPTIONS)
def _scatter_1(words, colors, mask, zbuffer):
    """Draw a page as single pixels."""
    for i in range(colors.shape[0]):
        p = words[3 * PAGE + i]
        key = (u8(words[2 * PAGE + i]) << u8(32)) | u8(colors[i] & mask)
        zbuffer[p] = min(zbuffer[p], key)


@njit(**OPTIONS)
def _scatter_2(words, colors, mask, stride, zbuffer, distance):
    """Draw a page as squares of 2 pixels."""
    for i in range(colors.shape[0]):
        p = words[3 * PAGE + i]
        q = p + stride
        taps = distance[2, words[4 * PAGE + i]]
        key = (u8(words[2 * PAGE + i]) << u8(32)) | u8(colors[i] & mask)
        zbuffer[p] = min(zbuffer[p], key | taps[0])
        zbuffer[p + u4(1)] = min(zbuffer[p + u4(1)], key | taps[1])
        zbuffer[q] = min(zbuffer[q], key | taps[2])
        zbuffer[q + u4(1)] = min(zbuffer[q + u4(1)], key | taps[3])


@njit(**OPTIONS)
def _scatter_3(words, colors, mask, stride, zbuffer, distance):
    """Draw a page as squares of 3 pixels; points well behind what their centre shows are left out."""
    for i in range(colors.shape[0]):
        p = words[3 * PAGE + i]
        d = words[2 * PAGE + i]
        if (d >> u4(17)) > u4(zbuffer[p + stride + u4(1)] >> u8(49)) + u4(1):  # 1.6 to 3 % behind
            continue
        taps = distance[3, words[4 * PAGE + i]]
        key = (u8(d) << u8(32)) | u8(colors[i] & mask)
        for j in range(3):
            for k in range(3):
                o = p + u4(j) * stride + u4(k)
                zbuffer[o] = min(zbuffer[o], key | taps[3 * j + k])


@njit(**OPTIONS)
def _scatter_round(scratch, words, colors, mask, stride, zbuffer, side, left):
    """Draw a page as rounded splats of ``side`` pixels; ``left`` is the first column of each of its rows."""
    middle = f4(side - 1) * f4(0.5)
    shift = f4(PAD) - middle
    centre = u4((side // 2) * stride + side // 2)
    steps = f4(31.9) / f4(side * side)
    for i in range(colors.shape[0]):
        p = words[3 * PAGE + i]
        d = words[2 * PAGE + i]
        if (d >> u4(17)) > u4(zbuffer[p + centre] >> u8(49)) + u4(1):
            continue
        u, v = scratch[i] + shift, scratch[PAGE + i] + shift
        x, y = u - f4(i4(u)) + middle - f4(0.5), v - f4(i4(v)) + middle - f4(0.5)
        key = (u8(d) << u8(32)) | u8(colors[i] & mask)
        for j in range(side):
            o = p + u4(j) * stride
            dy = (f4(j) - y) * (f4(j) - y)
            for k in range(left[j], side - left[j]):
                away = i4(min((dy + (f4(k) - x) * (f4(k) - x)) * steps, f4(15)))
                zbuffer[o + u4(k)] = min(zbuffer[o + u4(k)], key | (u8(away) << u8(45)))


@njit(**OPTIONS)
def _splat_side(spacing_px):
    """Side in pixels of the splats of points that lie so far apart."""
    return min(max(int(np.ceil(spacing_px - 0.15)), 1), MAX_SPLAT)


def centre_distances() -> npt.NDArray[np.uint64]:
    """(4, 64, 9) uint64: how far each pixel of a splat of 1, 2, 3 pixels is from the point, for each of 8x8 places.

    On bits 45 to 48 of a z-buffer word, 15 at the splat's corner.
    """
    out = np.zeros((4, 64, 9), np.uint64)
    place = (np.arange(8) + 0.5) / 8
    for side in (1, 2, 3):
        away = (np.arange(side)[None, :] - (side - 1) / 2 + 0.5 - place[:, None]) ** 2  # (place, tap)
        square = away[:, None, :, None] + away[None, :, None, :]  # (place y, place x, tap y, tap x)
        steps = np.minimum(square / (side * side / 2) * 15.99, 15).astype(np.uint64)
        out[side, :, : side * side] = steps.reshape(64, side * side) << np.uint64(45)
    return out


@njit(**OPTIONS)
def draw_points(
    pages, slots, found, m, focal, width, height, min_priority, max_full,
    left_end, distance, zbuffer, tiles, is_stale, large_m, beside_px, behind, statistics,
):  # fmt: skip
    """Draw chunks front to back into the z-buffer.

    Args:
        pages: ``Pages``.
        slots: ``Slots``.
        found: ``Found``.
        m: (3, 4) float64, world to homogeneous pixels.
        focal: Focal length in pixels.
        width, height: Size in pixels.
        min_priority: Points below it are left out.
        max_full: Points after which what lies farther is drawn in ever coarser levels.
        left_end: (MAX_SPLAT + 1, MAX_SPLAT + 1) int32 first column of each row of a round splat of each size.
        distance: ``centre_distances``.
        zbuffer: (planes,) uint64.
        tiles, is_stale: (ceil(H / 16), ceil(W / 16)) uint32 and uint8 scratch: farthest depth drawn in each tile, and
            whether something was drawn there since.
        large_m: (2, rows, columns) float32, out: metres between known and between invented points whose splats have
            ``LARGE_SPLAT`` pixels or more, the largest in each tile; 0 where there are none.
        beside_px: (rows, columns) uint8, out: side of the invented points' splats where known surface may be behind,
            the largest in each tile; 1 where there are none.
        behind: The z-buffer before the first of these was drawn, out; left alone where there are none.
        statistics: (3,) int64, out: points drawn, chunks in the frustum, chunks hidden.
    """
    stride = u4(width + 2 * PAD)
    scratch = np.empty(5 * PAGE, np.float32)
    words = scratch.view(np.uint32)
    local = np.empty(12, np.float32)
    one = np.empty(1, np.float32)
    one_bits = one.view(np.uint32)
    drawn, hidden = 0, 0
    tiles[:] = u4(0xFFFFFFFF)
    is_stale[:] = u1(0)
    beside_px[:] = u1(0)
    is_kept = False
    large_m[:] = f4(0)
    for k in range(found.slot.shape[0]):
        c = found.slot[k]
        if slots.prio_high[c] < min_priority:
            continue
        box = found.box[k]
        one[0] = f4(found.near[k] * 0.98)
        if _is_hidden(box, one_bits[0] & u4(0xFFFE0000), zbuffer, width, height, tiles, is_stale):
            hidden += 1
            continue
        is_stale[box[2] : box[3] + 1, box[0] : box[1] + 1] = u1(1)
        for r in range(3):
            for t in range(3):
                local[4 * r + t] = f4(m[r, t] * slots.step[c])
            half = 0.5 * slots.step[c] * (m[r, 0] + m[r, 1] + m[r, 2])
            local[4 * r + 3] = f4(
                m[r, 0] * slots.origin[c, 0]
                + m[r, 1] * slots.origin[c, 1]
                + m[r, 2] * slots.origin[c, 2]
                + m[r, 3]
                + half
            )
        page = slots.head[c]
        level, gap = np.int64(slots.base[c]), slots.spacing[c] * (1 << np.int64(slots.base[c]))
        level_px = LEVEL_PX * min(max(2.0 * drawn / max_full, 1.0), COARSEST)
        while level < NUM_LEVELS - 1 and 2 * gap * focal <= level_px * found.near[k]:
            level += 1
            gap *= 2
        kind, side = int(slots.prio_high[c] < KNOWN_CLASS << 6), _splat_side(gap * focal / found.near[k])
        for j in range(max(box[2] - 1, 0), min(box[3] + 2, beside_px.shape[0])):  # splats reach beyond their points
            for i in range(max(box[0] - 1, 0), min(box[1] + 2, beside_px.shape[1])):
                if side >= LARGE_SPLAT:
                    large_m[kind, j, i] = max(large_m[kind, j, i], f4(gap))
                if kind == 0:
                    beside_px[j, i] = u1(1)
                elif beside_px[j, i] > u1(0) and side > 1:
                    beside_px[j, i] = max(beside_px[j, i], u1(side))
                    if not is_kept:
                        behind[:] = zbuffer
                        is_kept = True
        left = slots.ends[c, level]
        while left > 0:
            n = min(PAGE, left)
            s = np.int64(page) * PAGE
            x, y, z = pages.x[s : s + n], pages.y[s : s + n], pages.z[s : s + n]
            one_bits[0] = _project(x, y, z, local, width, height, scratch, words)
            nearest = one[0]
            if slots.prio_low[c] < min_priority:
                for i in range(n):
                    if pages.prio[s + i] < min_priority:
                        words[2 * PAGE + i] = u4(0xF0000000)
            if nearest < f4(1e9):
                side = _splat_side(gap * focal / nearest)
                colors, mask = pages.word[s : s + n], slots.mask[c]
                if side == 1:
                    _place_1(scratch, words, n, stride)
                    _scatter_1(words, colors, mask, zbuffer)
                else:
                    _place(scratch, words, n, stride, f4(PAD) - f4(side - 1) * f4(0.5))
                    if side == 2:
                        _scatter_2(words, colors, mask, stride, zbuffer, distance)
                    elif side == 3:
                        _scatter_3(words, colors, mask, stride, zbuffer, distance)
                    else:
                        _scatter_round(scratch, words, colors, mask, stride, zbuffer, side, left_end[side])
            drawn += n
            left -= n
            page = pages.next_page[page]
    statistics[0] = drawn
    statistics[1] = found.slot.shape[0]
    statistics[2] = hidden


@njit(**OPTIONS)
def split_planes(zbuffer, depth, color):
    """Unpack the z-buffer into a depth plane (``FAR`` where empty) and a plane of colour words."""
    bits = depth.view(np.uint32)
    for i in range(zbuffer.shape[0]):
        q = zbuffer[i]
        h = u4(q >> u8(32))
        bits[i] = (h & u4(0xFFFE0000)) | ((h & u4(0x1FFF)) << u4(4))
        color[i] = u4(q & u8(0xFFFFFFFF))


@njit(**OPTIONS)
def finish_view(depth, color, width, height, rgba, depth_out, coverage, rows):
    """Crop the planes to what a view gives out.

    Args:
        depth, color: Planes.
        rgba: (H, W) uint32, out; red in the lowest byte, alpha 255.
        depth_out: (H, W) float32, out; 0 where nothing is.
        coverage: (H, W) float32, out; where drawn, how full the 3x3 pixels around are, 6 of 9 counting as full.
        rows: (3, W + 2) uint8 scratch.
    """
    stride = width + 2 * PAD
    for j in range(height + 1):
        line = rows[j % 3]
        if j < height:
            o = (j + PAD) * stride + PAD
            c, d = color[o : o + width], depth[o : o + width]
            out, out_d = rgba[j], depth_out[j]
            for i in range(width):
                z = d[i]
                line[i + 1] = u1(z < FAR)
                out[i] = c[i] | u4(0xFF000000)
                out_d[i] = z if z < FAR else f4(0)
            line[0] = line[1]
            line[width + 1] = line[width]
        if j > 0:  # rows beyond the picture repeat its edge
            above, here, below = rows[max(j - 2, 0) % 3], rows[(j - 1) % 3], rows[min(j, height - 1) % 3]
            out_c = coverage[j - 1]
            for i in range(width):
                n = u1(above[i] + above[i + 1] + above[i + 2] + below[i] + below[i + 1] + below[i + 2])
                n = u1(n + here[i] + here[i + 1] + here[i + 2])
                full = min(f4(n) * f4(1.0 / 6.0), f4(1))
                out_c[i] = full if here[i + 1] > u1(0) else f4(0)
