"""Numba kernels of the plane sweep: semi-global matching and the choice of the best plane, one thread."""

import numpy as np
from numba import njit

FAR_AWAY = np.float32(1e9)
PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
"""Divisors are never 0; a check for it would keep loops from becoming vector operations."""
FAST = {**PLAIN, "fastmath": True}


@njit(**FAST)
def _go_on(cost, before, after, aggregated, p1, p2):
    """One step along a path: ``after`` becomes the least cost of reaching each plane; returns its minimum.

    ``before`` and ``after`` hold a plane more at either end, far away, so that the loop has no branches.
    """
    n = len(cost)
    least = FAR_AWAY
    for d in range(n):
        least = min(least, before[d + 1])
    jump = least + p2
    for d in range(n):
        reach = min(min(before[d + 1], jump), min(before[d], before[d + 2]) + p1)
        value = cost[d] + reach - least
        after[d + 1] = value
        aggregated[d] += value


@njit(**PLAIN)
def _begin(cost, after, aggregated):
    """The first step of a path."""
    for d in range(len(cost)):
        after[d + 1] = cost[d]
        aggregated[d] += cost[d]


@njit(**PLAIN)
def _jump_penalty(step, p1, penalty_jump):
    """Of a large change of depth, less across an edge of the picture."""
    return max(np.float32(1.5) * p1, np.float32(penalty_jump / (1.0 + abs(step) / 8.0)))


@njit(**PLAIN)
def aggregate(cost, gray, penalty_step, penalty_jump, aggregated):
    """Sum the costs of paths from eight directions (Hirschmueller, 2008).

    A jump costs less where the picture has an edge.

    Args:
        cost: (H, W, D) float32.
        gray: (H, W) float32 picture in 0-255.
        penalty_step: Of a change by one plane.
        penalty_jump: Of any larger change in an even region.
        aggregated: (H, W, D) float32 zeros, receives the sums.
    """
    height, width, planes = cost.shape
    p1 = np.float32(penalty_step)
    along = np.full((2, planes + 2), FAR_AWAY, np.float32)
    rows = np.full((2, 3, width, planes + 2), FAR_AWAY, np.float32)
    for is_backward in range(2):
        for i in range(height):
            y = height - 1 - i if is_backward else i
            y_before = y + 1 if is_backward else y - 1
            now, then = i % 2, (i + 1) % 2
            for j in range(width):
                x = width - 1 - j if is_backward else j
                x_before = x + 1 if is_backward else x - 1
                if j == 0:
                    _begin(cost[y, x], along[j % 2], aggregated[y, x])
                else:
                    p2 = _jump_penalty(gray[y, x] - gray[y, x_before], p1, penalty_jump)
                    _go_on(cost[y, x], along[(j + 1) % 2], along[j % 2], aggregated[y, x], p1, p2)
                for slant in range(3):
                    x_from = x + slant - 1
                    if i == 0 or x_from < 0 or x_from >= width:
                        _begin(cost[y, x], rows[now, slant, x], aggregated[y, x])
                    else:
                        p2 = _jump_penalty(gray[y, x] - gray[y_before, x_from], p1, penalty_jump)
                        _go_on(cost[y, x], rows[then, slant, x_from], rows[now, slant, x], aggregated[y, x], p1, p2)


@njit(**PLAIN)
def best_planes(cost, aggregated, plane, match, distinct):
    """Choose the plane of each pixel, between planes by a parabola.

    Args:
        cost: (H, W, D) float32 matching cost.
        aggregated: (H, W, D) float32.
        plane: (H, W) float32, receives the position among the planes.
        match: (H, W) float32, receives the matching cost there.
        distinct: (H, W) float32, receives the best aggregated cost over the best of all others but its neighbours.
    """
    height, width, planes = cost.shape
    for y in range(height):
        for x in range(width):
            best = 0
            for d in range(1, planes):
                if aggregated[y, x, d] < aggregated[y, x, best]:
                    best = d
            second = FAR_AWAY
            for d in range(planes):
                if abs(d - best) > 1:
                    second = min(second, aggregated[y, x, d])
            offset = np.float32(0.0)
            if 0 < best < planes - 1:
                a, b, c = aggregated[y, x, best - 1], aggregated[y, x, best], aggregated[y, x, best + 1]
                bend = a + c - np.float32(2.0) * b
                if bend > np.float32(1e-6):
                    offset = max(np.float32(-0.5), min(np.float32(0.5), np.float32(0.5) * (a - c) / bend))
            plane[y, x] = np.float32(best) + offset
            match[y, x] = cost[y, x, best]
            distinct[y, x] = aggregated[y, x, best] / max(second, np.float32(1e-6))


@njit(**FAST)
def compare(gray, mean, variance, inverse_counts, warped, radius, flatness, unseen_cost, first, second):
    """Compare a picture with another that was warped to it, and keep the two least costs of each pixel.

    The cost is 1 minus the zero-mean normalised cross-correlation over a square window, at least 0 and at most 1.
    Sums of columns slide down; each row adds some of them, without branches so that it runs as vector operations.

    Args:
        gray: (H, W) float32, 128 subtracted.
        mean: (H, W) float32, its mean over the window as far as it lies in the picture.
        variance: (H, W) float32, likewise.
        inverse_counts: (H, W) float32, one over the number of pixels in the window.
        warped: (H, W) float32, 128 subtracted; below -500 where the other shows nothing.
        radius: Of the window, 2 or 3 pixels: the sums are unrolled.
        flatness: Added to the product of the variances.
        unseen_cost: Cost where the other shows nothing.
        first: (H, W) float32, least cost so far.
        second: (H, W) float32, second least.
    """
    height, width = gray.shape
    b, bb, ab = (
        np.zeros(width + 2 * radius, np.float32),
        np.zeros(width + 2 * radius, np.float32),
        np.zeros(width + 2 * radius, np.float32),
    )
    sb, sbb, sab, cost = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    black, edge = np.float32(-128.0), np.float32(-500.0)
    zero, one = np.float32(0.0), np.float32(1.0)
    one_row = np.empty(width, np.float32)
    b_in, bb_in, ab_in = b[radius : radius + width], bb[radius : radius + width], ab[radius : radius + width]
    for y in range(-radius, height):
        for is_leaving in range(2):
            row = y - radius - 1 if is_leaving else y + radius
            if row < 0 or row >= height:
                continue
            sign = -one if is_leaving else one
            g_row, w_row = gray[row], warped[row]
            for x in range(width):
                one_row[x] = w_row[x] if w_row[x] > black else black
            for x in range(width):
                b_in[x] += sign * one_row[x]
            for x in range(width):
                bb_in[x] += sign * one_row[x] * one_row[x]
            for x in range(width):
                ab_in[x] += sign * one_row[x] * g_row[x]
        if y < 0:
            continue
        if radius == 3:
            for x in range(width):
                sb[x] = b[x] + b[x + 1] + b[x + 2] + b[x + 3] + b[x + 4] + b[x + 5] + b[x + 6]
            for x in range(width):
                sbb[x] = bb[x] + bb[x + 1] + bb[x + 2] + bb[x + 3] + bb[x + 4] + bb[x + 5] + bb[x + 6]
            for x in range(width):
                sab[x] = ab[x] + ab[x + 1] + ab[x + 2] + ab[x + 3] + ab[x + 4] + ab[x + 5] + ab[x + 6]
        else:
            for x in range(width):
                sb[x] = b[x] + b[x + 1] + b[x + 2] + b[x + 3] + b[x + 4]
            for x in range(width):
                sbb[x] = bb[x] + bb[x + 1] + bb[x + 2] + bb[x + 3] + bb[x + 4]
            for x in range(width):
                sab[x] = ab[x] + ab[x + 1] + ab[x + 2] + ab[x + 3] + ab[x + 4]
        n_row, v_row, m_row, w_row = inverse_counts[y], variance[y], mean[y], warped[y]
        for x in range(width):
            n = n_row[x]
            m = sb[x] * n
            spread = max(sbb[x] * n - m * m, zero) * v_row[x] + flatness
            c = min(one, max(zero, one - (sab[x] * n - m * m_row[x]) / np.sqrt(spread)))
            cost[x] = c if w_row[x] > edge else unseen_cost
        first_row, second_row = first[y], second[y]
        for x in range(width):
            second_row[x] = min(second_row[x], max(first_row[x], cost[x]))
            first_row[x] = min(first_row[x], cost[x])


@njit(**PLAIN)
def mean_of_best(first, second, mean):
    """Write the mean of the two least costs, or the only one.

    Args:
        first: (H, W) float32.
        second: (H, W) float32, ``FAR_AWAY`` where there was one view only.
        mean: (H, W) float32.
    """
    height, width = first.shape
    for y in range(height):
        for x in range(width):
            other = second[y, x] if second[y, x] < FAR_AWAY else first[y, x]
            mean[y, x] = np.float32(0.5) * (first[y, x] + other)


@njit(**PLAIN)
def interleave(planar, volume):
    """Turn costs by plane into costs by pixel, row by row so that it stays in cache.

    Args:
        planar: (D, H, W) float32.
        volume: (H, W, D) float32.
    """
    planes, height, width = planar.shape
    for y in range(height):
        for start in range(0, width, 16):
            for d in range(planes):
                for x in range(start, min(start + 16, width)):
                    volume[y, x, d] = planar[d, y, x]


@njit(**PLAIN)
def vote(depth, other_depth, camera, other_t_this, tolerance, votes):
    """Count a vote for each pixel whose depth another view confirms.

    Args:
        depth: (H, W) float32 metres.
        other_depth: (H, W) float32 metres of the other view, same intrinsics.
        camera: (4,) float64: fx, fy, cx, cy.
        other_t_this: (4, 4) float64 transform from this camera to the other.
        tolerance: Relative difference up to which they agree.
        votes: (H, W) uint8, counted up.
    """
    height, width = depth.shape
    for y in range(height):
        for x in range(width):
            z = np.float64(depth[y, x])
            if z <= 0:
                continue
            a = (x + 0.5 - camera[2]) / camera[0] * z
            b = (y + 0.5 - camera[3]) / camera[1] * z
            p = other_t_this[0, 0] * a + other_t_this[0, 1] * b + other_t_this[0, 2] * z + other_t_this[0, 3]
            q = other_t_this[1, 0] * a + other_t_this[1, 1] * b + other_t_this[1, 2] * z + other_t_this[1, 3]
            r = other_t_this[2, 0] * a + other_t_this[2, 1] * b + other_t_this[2, 2] * z + other_t_this[2, 3]
            if r <= 0.01:
                continue
            u, v = camera[0] * p / r + camera[2], camera[1] * q / r + camera[3]
            if not (u >= 0.0 and v >= 0.0 and u < width and v < height):
                continue
            if abs(other_depth[int(v), int(u)] - r) <= tolerance * r:
                votes[y, x] += 1


@njit(**FAST)
def gather(depth, other, camera, other_t_this, tolerance, total, count):
    """Add up what another view says about each pixel's depth, where the two agree.

    Args:
        depth: (H, W) float32 metres, 0 unknown.
        other: (H, W) float32 metres of the other view, same intrinsics; read between four pixels of one surface.
        camera: (4,) float32: fx, fy, cx, cy.
        other_t_this: (4, 4) float32 transform from this camera to the other.
        tolerance: Float32, relative difference up to which they agree.
        total: (H, W) float32, takes the relative differences.
        count: (H, W) float32, counted up.
    """
    height, width = depth.shape
    t, one = other_t_this, np.float32(1.0)
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    right, bottom = np.float32(width - 1), np.float32(height - 1)
    for y in range(height):
        b = (np.float32(y) + np.float32(0.5) - cy) / fy
        for x in range(width):
            z = depth[y, x]
            if z <= 0:
                continue
            a = (np.float32(x) + np.float32(0.5) - cx) / fx
            r = (t[2, 0] * a + t[2, 1] * b + t[2, 2]) * z + t[2, 3]
            if r <= np.float32(0.01):
                continue
            per = one / r
            u = fx * ((t[0, 0] * a + t[0, 1] * b + t[0, 2]) * z + t[0, 3]) * per + cx - np.float32(0.5)
            v = fy * ((t[1, 0] * a + t[1, 1] * b + t[1, 2]) * z + t[1, 3]) * per + cy - np.float32(0.5)
            if not (u >= 0 and v >= 0 and u < right and v < bottom):
                continue
            i, j = int(v), int(u)
            down, along = v - np.float32(i), u - np.float32(j)
            n00, n01, n10, n11 = other[i, j], other[i, j + 1], other[i + 1, j], other[i + 1, j + 1]
            nearest, farthest = min(min(n00, n01), min(n10, n11)), max(max(n00, n01), max(n10, n11))
            if nearest <= 0 or farthest - nearest > np.float32(2.0) * tolerance * r:
                continue
            above, below = n00 + along * (n01 - n00), n10 + along * (n11 - n10)
            off = (above + down * (below - above)) * per - one
            if abs(off) <= tolerance:
                total[y, x] += off
                count[y, x] += one


@njit(**FAST)
def project(inverse, factor, camera, other_t_this, u, v):
    """Where another view shows each pixel's surface, pixel centres on whole numbers.

    Args:
        inverse: (H, W) float32 inverse depth, 1/m.
        factor: Float32, times which the depth is taken.
        camera: (4,) float32: fx, fy, cx, cy of both views.
        other_t_this: (4, 4) float32 transform from this camera to the other.
        u: (H, W) float32, receives the columns; far outside where it lies behind the other camera.
        v: (H, W) float32, receives the rows.
    """
    height, width = inverse.shape
    half, one, t = np.float32(0.5), np.float32(1.0), other_t_this
    for y in range(height):
        b = (np.float32(y) + half - camera[3]) / camera[1]
        for x in range(width):
            a = (np.float32(x) + half - camera[2]) / camera[0]
            w = inverse[y, x] / factor
            r = t[2, 0] * a + t[2, 1] * b + t[2, 2] + t[2, 3] * w
            scale = one / r if r > np.float32(1e-3) else np.float32(-1e4)
            u[y, x] = camera[0] * (t[0, 0] * a + t[0, 1] * b + t[0, 2] + t[0, 3] * w) * scale + camera[2] - half
            v[y, x] = camera[1] * (t[1, 0] * a + t[1, 1] * b + t[1, 2] + t[1, 3] * w) * scale + camera[3] - half
