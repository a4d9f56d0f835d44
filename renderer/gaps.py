"""Compiled loops that close the gaps of a drawn surface: between dots, and between large splats.

They work on the planes of ``kernels``. What is closed is surface from then on: for depth, coverage and photos alike.
"""

import numpy as np
from numba import njit

from .kernels import FAR, KNOWN_CLASS, OPTIONS, PAD, TILE

SAME_SURFACE = 1.04
"""Ratio of the depths of neighbouring dots of one surface, at most."""

CELL_MARGIN = 7
"""Cells of 2x2 pixels that are kept on every side of the picture: gaps at its border close like others."""

MAX_GAP = 3.0
"""Widest gap between large splats that is closed, in distances of their points."""

MOST_CELLS = 20
"""Nor are gaps closed that are wider than so many cells of 2x2 pixels: among sparse points right before the eye looking
farther costs milliseconds and finds little."""

MAX_SLOPE = 1.5
"""Depth over width of the steepest surface whose gaps are closed; what is seen through them lies farther than that."""

BEHIND_BITS = 3 << 17
"""Farther by this in the bits of a depth, 2.3 to 4.7 %, known surface is hidden by invented surface, not part of it."""

CENTRE_AWAY = 12
"""Times the area of a splat: what ``kernels.centre_distances`` gives the pixel that the point itself falls on."""

KNOWN_END, INVENTED_END = 1, 2
"""Kinds of surface beside a gap. Where both are, a known pixel behind is left: it may well be a silhouette."""

OUTSIDE = np.float32(0)
"""Depth of the outermost cells, beyond which nothing is known."""

f4, i4, u4, u8, u1 = np.float32, np.int32, np.uint32, np.uint64, np.uint8


@njit(**OPTIONS)
def close_gaps(depth, color, width, height, flags, found, new_depth, new_color):
    """Fill pixels that are seen through a nearer surface, and gaps of one pixel in it.

    A pixel counts when 5 of its 8 neighbours are nearer by 4 %; an empty one is farther than all.

    Args:
        depth, color: Planes, changed in place.
        flags: (W,) uint8 scratch.
        found: (H * W,) int32 scratch.
        new_depth, new_color: (H * W,) scratch.

    Returns:
        Number of pixels filled.
    """
    stride = width + 2 * PAD
    num = 0
    for j in range(height):
        o = (j + PAD) * stride + PAD
        c = depth[o : o + width]
        up, down = depth[o - stride - 1 : o - stride + width + 1], depth[o + stride - 1 : o + stride + width + 1]
        mid = depth[o - 1 : o + width + 1]
        for i in range(width):
            z = c[i] * f4(0.96)
            n = i4(up[i] < z) + i4(up[i + 1] < z) + i4(up[i + 2] < z) + i4(mid[i] < z) + i4(mid[i + 2] < z)
            n += i4(down[i] < z) + i4(down[i + 1] < z) + i4(down[i + 2] < z)
            flags[i] = u1(n >= 5)
        num = _append_flagged(flags, width, o, found, num)
    _mend(depth, color, stride, found[:num], 1, new_depth, new_color)
    return num


@njit(**OPTIONS)
def _append_flagged(flags, width, start, found, num):
    """Append the places of a row's flagged pixels, which begins at ``start``; how many there are then.

    Eight pixels without a flag are passed at once.
    """
    eights = flags[: 8 * (width // 8)].view(np.uint64)
    for i in range(0, 8 * (width // 8), 8):
        if eights[i >> 3] != u8(0):
            for k in range(i, i + 8):
                found[num] = start + k
                num += i4(flags[k])
    for i in range(8 * (width // 8), width):
        found[num] = start + i
        num += i4(flags[i])
    return num


@njit(**OPTIONS)
def find_cells(depth, width, height, low, high):
    """Nearest and farthest depth of each cell of 2x2 pixels.

    Args:
        depth: Plane.
        low, high: (ceil(H / 2) + 2 * CELL_MARGIN, ceil(W / 2) + 2 * CELL_MARGIN) float32, out; the outermost of
            ``low`` are ``OUTSIDE``.
    """
    stride = width + 2 * PAD
    for j in range(low.shape[0]):
        o = (2 * (j - CELL_MARGIN) + PAD) * stride + PAD - 2 * CELL_MARGIN
        top, bottom = depth[o : o + 2 * low.shape[1]], depth[o + stride : o + stride + 2 * low.shape[1]]
        lows, highs = low[j], high[j]
        for i in range(low.shape[1]):
            a, b, c, d = top[2 * i], top[2 * i + 1], bottom[2 * i], bottom[2 * i + 1]
            lows[i] = min(min(a, b), min(c, d))
            highs[i] = max(max(a, b), max(c, d))
        lows[0] = lows[low.shape[1] - 1] = OUTSIDE
    low[0] = low[low.shape[0] - 1] = OUTSIDE


@njit(**OPTIONS)
def close_wide_gaps(depth, color, width, height, low, high, found, new_depth, new_color):
    """Fill what shows between the dots of a sparse surface: gaps of 2 or 3 pixels, found at half the size.

    A cell of 2x2 pixels counts when all 3x3 cells around it hold parts of one surface that is nearer by 4 % than its
    farthest pixel.

    Args:
        depth, color: Planes, changed in place.
        low, high: From ``find_cells``.
        found, new_depth, new_color: (H * W,) scratch.

    Returns:
        Number of pixels filled.
    """
    stride = width + 2 * PAD
    num = 0
    flags = np.empty(low.shape[1], np.uint8)
    for j in range(CELL_MARGIN, low.shape[0] - CELL_MARGIN):
        up, here, down, highs = low[j - 1], low[j], low[j + 1], high[j]
        for i in range(CELL_MARGIN, low.shape[1] - CELL_MARGIN):
            above, below = max(max(up[i - 1], up[i]), up[i + 1]), max(max(down[i - 1], down[i]), down[i + 1])
            farthest = max(max(above, below), max(max(here[i - 1], here[i]), here[i + 1]))
            above, below = min(min(up[i - 1], up[i]), up[i + 1]), min(min(down[i - 1], down[i]), down[i + 1])
            nearest = min(min(above, below), min(min(here[i - 1], here[i]), here[i + 1]))
            flags[i] = u1((farthest < highs[i] * f4(0.96)) & (farthest < nearest * f4(SAME_SURFACE)))
        for i in range(CELL_MARGIN, low.shape[1] - CELL_MARGIN):
            if flags[i] == u1(0):
                continue
            nearest = min(min(up[i], down[i]), min(here[i - 1], min(here[i], here[i + 1])))
            y0, x0 = 2 * (j - CELL_MARGIN), 2 * (i - CELL_MARGIN)
            for y in range(y0, min(y0 + 2, height)):
                for x in range(x0, min(x0 + 2, width)):
                    at = (y + PAD) * stride + PAD + x
                    if depth[at] * f4(0.96) > nearest and num < found.shape[0]:
                        found[num] = at
                        num += 1
    _mend(depth, color, stride, found[:num], 2, new_depth, new_color)
    return num


@njit(**OPTIONS)
def close_large_gaps(depth, color, width, height, focal, large_m, low):
    """Fill gaps between large splats, where voxels that no point fell into let through what is behind.

    A cell of 2x2 pixels is filled when it shows something clearly farther and surface of one depth lies on both sides
    of it in all of four directions, no farther apart than ``MAX_GAP`` times the points are. So outlines stay where they
    are, and so do holes and slots of several voxels. Beyond the picture's border there may be surface.

    Args:
        depth, color: Planes, changed in place.
        focal: Focal length in pixels.
        large_m: From ``kernels.draw_points``: only tiles with large splats are looked at.
        low: From ``find_cells``.

    Returns:
        Number of cells filled.
    """
    num = 0
    first, last = CELL_MARGIN, low.shape[1] - CELL_MARGIN
    wide = low.shape[1]
    cells = low.ravel()
    found = np.zeros((3, wide), np.int32)  # of each column: row that was looked from last, surface above it and below
    found_far = np.zeros(wide, np.float32)
    ends, steps = np.empty(4, np.int64), np.empty(4, np.int64)
    for j in range(CELL_MARGIN, low.shape[0] - CELL_MARGIN):
        tile = 2 * (j - CELL_MARGIN) // TILE
        row, known_m, invented_m = low[j], large_m[0, tile], large_m[1, tile]
        is_large = False
        for t in range(known_m.shape[0]):
            is_large |= max(known_m[t], invented_m[t]) > f4(0)
        i = 2 if is_large else last
        while i < last:
            near = row[i - 1]
            if row[i] <= near * f4(SAME_SURFACE):
                i += 1
                continue
            t = min(max(2 * (i - first) // TILE, 0), known_m.shape[0] - 1)
            gap_m = max(known_m[t], invented_m[t])
            reach = min(int(gap_m * focal * f4(0.5 * MAX_GAP) / near), MOST_CELLS)
            known_reach = int(known_m[t] * focal * f4(0.5 * MAX_GAP) / near)
            ratio = f4(1) + min(max(f4(MAX_SLOPE * MAX_GAP) * gap_m / near, f4(0.04)), f4(0.2))
            far, k, end = near * ratio, i, min(i + reach, wide - 1)
            while k < end and row[k] > far:
                k += 1
            if k == i or row[k] > far or (row[k] * ratio < near and row[k] > OUTSIDE):
                i += 1
                continue
            is_first = True
            for c in range(max(i, first), min(k, last)):
                at = u8(j) * u8(wide) + u8(c)
                is_known = found[0, c] == j - 1 and far <= found_far[c]  # as the cell above saw it
                clear = max(found[2, c] - j - 1, 0) if is_known else 0
                below = clear + _find_end(cells, at + u8(clear * wide), u8(wide), far, reach - clear)
                above = j - found[1, c] if is_known else _find_end(cells, at, u8(-wide), far, reach)
                found[0, c], found[1, c], found[2, c], found_far[c] = j, j - above, j + below, far
                if not _is_enclosed(cells, at, wide, above, below, near / ratio, far, reach):
                    continue
                if is_first:
                    ends[0], ends[1] = (
                        _nearest_pixel(depth, width, low, j, i - 1),
                        _nearest_pixel(depth, width, low, j, k),
                    )
                    is_first = False
                ends[2] = _nearest_pixel(depth, width, low, j - above, c)
                ends[3] = _nearest_pixel(depth, width, low, j + below, c)
                steps[0], steps[1], steps[2], steps[3] = c - i + 1, k - c, above, below
                kinds = _kinds_at(color, ends)
                if kinds == KNOWN_END and max(k - i, above + below - 1) > known_reach:
                    continue
                if kinds == KNOWN_END | INVENTED_END and _is_known(color[_nearest_pixel(depth, width, low, j, c)]):
                    continue
                _fill_cell(depth, color, width, height, j, c, ends, steps)
                num += 1
            i = k
    return num


@njit(**OPTIONS)
def _find_end(cells, at, step, far, reach):
    """Steps to the surface, or one more than the reach."""
    for k in range(1, reach + 1):
        at += step
        if cells[at] <= far:
            return k
    return max(reach, 0) + 1


@njit(**OPTIONS)
def _is_enclosed(cells, at, stride, above, below, nearest, far, reach):
    """Whether surface of one depth lies above and below, and on both sides along both diagonals."""
    if above + below - 1 > reach or _is_other(cells[at - u8(above * stride)], nearest):
        return False
    if _is_other(cells[at + u8(below * stride)], nearest):
        return False
    reach = int(f4(reach) * f4(0.7071)) + 1
    for step in (u8(stride + 1), u8(stride - 1)):
        ahead = _find_end(cells, at, step, far, reach)
        back = _find_end(cells, at, u8(0) - step, far, reach + 1 - ahead)
        if ahead + back - 1 > reach:
            return False
        if _is_other(cells[at + u8(ahead) * step], nearest) or _is_other(cells[at - u8(back) * step], nearest):
            return False
    return True


@njit(**OPTIONS)
def _is_other(z, nearest):
    """Whether something stands there that is nearer than the surface."""
    return (z < nearest) & (z > OUTSIDE)


@njit(**OPTIONS)
def _is_known(word):
    """Whether a colour word is that of a known point."""
    return word >> u4(30) >= u4(KNOWN_CLASS)


@njit(**OPTIONS)
def _kinds_at(color, ends):
    """Which kinds of surface end a gap: ``KNOWN_END``, ``INVENTED_END`` or both."""
    kinds = 0
    for t in range(4):
        if ends[t] >= 0:
            kinds |= KNOWN_END if _is_known(color[ends[t]]) else INVENTED_END
    return kinds


@njit(**OPTIONS)
def _nearest_pixel(depth, width, low, j, i):
    """Place in the planes of a cell's nearest pixel; -1 where nothing is known of it."""
    if low[j, i] <= OUTSIDE:
        return -1
    stride = width + 2 * PAD
    p = (2 * (j - CELL_MARGIN) + PAD) * stride + PAD + 2 * (i - CELL_MARGIN)
    q = p + 1 if depth[p + 1] < depth[p] else p
    r = p + stride + 1 if depth[p + stride + 1] < depth[p + stride] else p + stride
    return r if depth[r] < depth[q] else q


@njit(**OPTIONS)
def _fill_cell(depth, color, width, height, j, i, ends, steps):
    """Give a cell's pixels the mean of the surface at the ends of its gap, near ends counting more.

    Args:
        ends: (4,) int64 places of pixels in the planes; negative where the gap leaves the picture.
        steps: (4,) int64 cells to them.
    """
    sums, z_sum, total, top = u8(0), f4(0), u4(0), u4(0)
    for t in range(4):
        p = max(ends[t], 0)
        w = u4(1024 // (steps[t] * steps[t]) + 1) if ends[t] >= 0 else u4(0)
        v = color[p] if ends[t] >= 0 else u4(0)
        sums += (u8(v & u4(0xFF)) | (u8(v & u4(0xFF00)) << u8(12)) | (u8(v & u4(0xFF0000)) << u8(24))) * u8(w)
        z_sum += f4(i4(w)) * depth[p]
        total += w
        top = max(top, v >> u4(24))
    word, s = _mean_color(sums, total) | (top << u4(24)), f4(1) / f4(i4(total))
    y0, x0 = 2 * (j - CELL_MARGIN), 2 * (i - CELL_MARGIN)
    at = (y0 + PAD) * (width + 2 * PAD) + PAD + x0
    for _ in range(min(2, height - y0)):
        depth[at], color[at] = z_sum * s, word
        if x0 + 1 < width:
            depth[at + 1], color[at + 1] = z_sum * s, word
        at += width + 2 * PAD


@njit(**OPTIONS)
def _mean_color(sums, total):
    """Colour word of weighted sums of red, green and blue, which share one word, 20 bits each."""
    s = f4(1) / f4(i4(total))
    red, green, blue = i4(sums & u8(0xFFFFF)), i4((sums >> u8(20)) & u8(0xFFFFF)), i4(sums >> u8(40))
    packed = u4(i4(f4(red) * s + f4(0.5))) | (u4(i4(f4(green) * s + f4(0.5))) << u4(8))
    return packed | (u4(i4(f4(blue) * s + f4(0.5))) << u4(16))


@njit(**OPTIONS)
def _mend(depth, color, stride, found, reach, new_depth, new_color):
    """Give pixels the mean of the nearest surface within ``reach`` pixels, near ones counting more.

    The sums of red, green and blue share one word, 20 bits each: weights of 5 x 5 pixels add up to 1240.
    """
    num = (2 * reach + 1) ** 2
    places, weights = np.empty(num, np.int64), np.empty(num, np.uint32)
    for k in range(num):
        dy, dx = k // (2 * reach + 1) - reach, k % (2 * reach + 1) - reach
        places[k] = dy * stride + dx
        weights[k] = 180 // (dx * dx + dy * dy + 1)
    for k in range(found.shape[0]):
        p = found[k]
        nearest = FAR
        for t in range(num):
            nearest = min(nearest, depth[p + places[t]])
        if nearest >= FAR:
            new_depth[k], new_color[k] = depth[p], color[p]
            continue
        limit = nearest * f4(1.04)
        sums, z_sum, total, top, kinds = u8(0), f4(0), u4(0), u4(0), 0
        for t in range(num):
            z, v = depth[p + places[t]], color[p + places[t]]
            w = weights[t] if z < limit else u4(0)
            wide = u8(v & u4(0xFF)) | (u8(v & u4(0xFF00)) << u8(12)) | (u8(v & u4(0xFF0000)) << u8(24))
            sums += wide * u8(w)
            z_sum += f4(i4(w)) * z
            total += w
            top = max(top, v >> u4(24) if z < limit else u4(0))
            kinds |= (KNOWN_END if _is_known(v) else INVENTED_END) if z < limit else 0
        if kinds == KNOWN_END | INVENTED_END and _is_known(color[p]) and depth[p] >= limit:
            new_depth[k], new_color[k] = depth[p], color[p]
            continue
        s = f4(1) / f4(i4(total))
        new_depth[k] = z_sum * s
        new_color[k] = _mean_color(sums, total) | (top << u4(24))
    for k in range(found.shape[0]):
        depth[found[k]] = new_depth[k]
        color[found[k]] = new_color[k]


@njit(**OPTIONS)
def uncover_known(depth, color, width, height, zbuffer, behind, beside_px, flags, found):
    """Give back known surface that splats of invented points hide beside its silhouette.

    The outline of invented surface before known one is taken back by half a splat, as far as it is not the pixel of a
    point itself. Where invented surface is whole nothing changes.

    Args:
        depth, color: Planes, changed in place.
        zbuffer, behind, beside_px: From ``kernels.draw_points``.
        flags: (W,) uint8 scratch.
        found: (H * W,) int32 scratch.

    Returns:
        Number of pixels given back.
    """
    stride, bits = width + 2 * PAD, depth.view(np.uint32)
    first, end = 0, _find_outline(color, width, height, beside_px, flags, found)
    total, layer = 0, 0
    while end > first:
        num = first
        for k in range(first, end):
            p = found[k]
            side = int(beside_px[(p // stride - PAD) // TILE, (p % stride - PAD) // TILE])
            if layer < side // 2 and _is_overhang(bits, color, stride, zbuffer, behind, p, side):
                found[num] = p
                num += 1
        for k in range(first, num):
            p = found[k]
            bits[p], color[p] = _depth_bits(behind[p]), u4(behind[p] & u8(0xFFFFFFFF))
        total += num - first
        layer += 1
        end = _find_beside(color, width, height, found, first, num)
        first = num
    return total


@njit(**OPTIONS)
def _find_outline(color, width, height, beside_px, flags, found):
    """Invented pixels that touch known ones, where splats are wide enough to hide something; how many."""
    stride = width + 2 * PAD
    num = 0
    for j in range(height):
        sides, is_wide = beside_px[j // TILE], False
        for t in range(sides.shape[0]):
            is_wide |= sides[t] > u1(1)
        if not is_wide:
            continue
        o = (j + PAD) * stride + PAD
        up, down = color[o - stride - 1 : o - stride + width + 1], color[o + stride - 1 : o + stride + width + 1]
        mid = color[o - 1 : o + width + 1]
        for i in range(width):  # bit 31 is that of known ones, bit 30 alone that of invented ones
            around = up[i] | up[i + 1] | up[i + 2] | mid[i] | mid[i + 2] | down[i] | down[i + 1] | down[i + 2]
            flags[i] = u1(((mid[i + 1] >> u4(30)) == u4(1)) & ((around >> u4(31)) == u4(1)))
        num = _append_flagged(flags, width, o, found, num)
    return num


@njit(**OPTIONS)
def _find_beside(color, width, height, found, first, num):
    """Invented pixels around those from ``first`` to ``num``, appended; where they end."""
    stride = width + 2 * PAD
    end = num
    for k in range(first, num):
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                p = found[k] + dy * stride + dx
                y, x = p // stride - PAD, p % stride - PAD
                is_inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
                if is_inside and color[p] >> u4(30) == u4(1) and end < found.shape[0]:
                    found[end] = p
                    end += 1
    return end


@njit(**OPTIONS)
def _is_overhang(bits, color, stride, zbuffer, behind, p, side):
    """Whether an invented pixel only widens an outline before known surface that shows right beside it."""
    limit = bits[p] + u4(BEHIND_BITS)
    if not _is_known(u4(behind[p] & u8(0xFFFFFFFF))) or _depth_bits(behind[p]) < limit:
        return False
    away = u4(zbuffer[p] >> u8(45)) & u4(15)
    if _depth_bits(zbuffer[p]) == bits[p] and away * u4(side * side) < u4(CENTRE_AWAY):
        return False
    for q in (p - 1, p + 1, p - stride - 1, p - stride, p - stride + 1, p + stride - 1, p + stride, p + stride + 1):
        if _is_known(color[q]) and bits[q] > limit:
            return True
    return False


@njit(**OPTIONS)
def _depth_bits(word):
    """Bits of the depth of a z-buffer word, as ``kernels.split_planes`` unpacks it; they sort like the depth."""
    high = u4(word >> u8(32))
    return (high & u4(0xFFFE0000)) | ((high & u4(0x1FFF)) << u4(4))
