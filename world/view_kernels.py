"""Numba kernels that look at voxels: copying their means out, and seeing them from cameras; plain loops, one thread.

Chunks are handed over as addresses of their arrays; the caller keeps the arrays alive during the call.
"""

# Numba gives intrinsics their typing context itself, which a type checker cannot know.
# pyright: reportCallIssue=false, reportPrivateImportUsage=false

import numpy as np
from numba import njit

from .chunks import COLUMN_R, COLUMN_WEIGHT, ROW_BYTES
from .raw_memory import bytes_at


@njit(inline="always")
def _compact(v):
    """Every third bit of a uint64, from bit 0, as 6 low bits."""
    v = v & np.uint64(0x9249)
    v = (v | (v >> np.uint64(2))) & np.uint64(0x30C3)
    v = (v | (v >> np.uint64(4))) & np.uint64(0x300F)
    return (v | (v >> np.uint64(8))) & np.uint64(0x3F)


@njit(inline="always")
def _voxel_position(code, rows, j, origins, c, voxel_size_m):
    """Mean position of a voxel in metres, world frame; rows is (N, 8) uint32."""
    code = np.uint64(code)
    weight = np.float64(rows[j, 3])
    lx = np.float64(_compact(code)) + (np.float64(rows[j, 0]) / weight + 0.5) / 256.0
    ly = np.float64(_compact(code >> np.uint64(1))) + (np.float64(rows[j, 1]) / weight + 0.5) / 256.0
    lz = np.float64(_compact(code >> np.uint64(2))) + (np.float64(rows[j, 2]) / weight + 0.5) / 256.0
    return (
        origins[c, 0] + lx * voxel_size_m,
        origins[c, 1] + ly * voxel_size_m,
        origins[c, 2] + lz * voxel_size_m,
    )


@njit(cache=True, nogil=True)
def copy_points(counts, addresses, corners, voxel_size_m, positions, colors, weights, priority, keyframe):
    """Copy the means of chunks' voxels out, chunk by chunk.

    Args:
        counts: (M,) int64 voxels of each chunk.
        addresses: (M, 4) int64 addresses of its codes, rows, priority and evidence.
        corners: (M, 3) float64 metres, lowest corner of each chunk.
        voxel_size_m: Side of a voxel.
        positions: (N, 3) float32, receives metres, world frame; N is the sum of counts, also below.
        colors: (N, 3) uint8, receives sRGB.
        weights: (N,) uint8, receives weights, at most 255.
        priority: (N,) uint8, receives class and rank.
        keyframe: (N,) uint32, receives identities.
    """
    at = np.int64(0)
    step = voxel_size_m / 256.0
    for c in range(len(counts)):
        n = counts[c]
        codes = bytes_at(addresses[c, 0], n * 4).view(np.uint32)
        rows = bytes_at(addresses[c, 1], n * ROW_BYTES).view(np.uint32).reshape(n, 8)
        top = bytes_at(addresses[c, 2], n)
        for j in range(n):
            code = np.uint64(codes[j])
            weight = np.float64(rows[j, 3])
            for axis in range(3):
                mean = np.floor((2.0 * rows[j, axis] + weight) / (2.0 * weight))
                place = np.float64(_compact(code >> np.uint64(axis))) * 256.0 + mean
                positions[at, axis] = corners[c, axis] + (place + 0.5) * step
                colors[at, axis] = np.uint8(np.floor((2.0 * rows[j, 4 + axis] + weight) / (2.0 * weight)))
            weights[at] = min(rows[j, 3], np.uint32(255))
            priority[at] = top[j]
            keyframe[at] = rows[j, 7]
            at += 1


@njit(cache=True, nogil=True)
def carve_chunks(
    counts,
    addresses,
    origins,
    voxel_size_m,
    bounds,
    view_index,
    cameras,
    view_priority,
    shapes,
    depth,
    rule,
    evidence_out,
    remove_out,
    report,
):
    """Count for every voxel which views confirm it and which see through it, and decide what goes.

    Args:
        counts: (M,) int64 voxels of each chunk.
        addresses: (M, 4) int64 addresses of its codes, rows, priority and evidence.
        origins: (M, 3) float64 metres, lowest corner of each chunk.
        voxel_size_m: Side of a voxel.
        bounds: (M + 1,) int64, the views of chunk c are ``view_index[bounds[c]:bounds[c + 1]]``.
        view_index: (P,) int64.
        cameras: (V, 16) float64: camera_R_world row by row, translation, fx, fy, cx, cy.
        view_priority: (V,) uint8.
        shapes: (V, 3) int64: where the view's pixels begin, height, width.
        depth: (D,) float32 all views' depth, 0 unknown.
        rule: (4,) float64: margin in metres, margin as a share of depth, least times seen through, ratio to confirmed.
        evidence_out: (sum of counts, 2) uint8, receives evidence, chunk by chunk.
        remove_out: (sum of counts,) bool, receives what goes.
        report: (M, 2) int64 zeros, receives voxels whose evidence changed and voxels that go.
    """
    start = np.int64(0)
    position = np.empty((np.max(counts), 3), np.float64)
    for c in range(len(counts)):
        n = counts[c]
        codes = bytes_at(addresses[c, 0], n * 4).view(np.uint32)
        rows = bytes_at(addresses[c, 1], n * ROW_BYTES).view(np.uint32).reshape(n, 8)
        priority = bytes_at(addresses[c, 2], n)
        old = bytes_at(addresses[c, 3], n * 2).reshape(n, 2)
        evidence, goes = evidence_out[start : start + n], remove_out[start : start + n]
        start += n
        for j in range(n):
            x, y, z = _voxel_position(codes[j], rows, j, origins, c, voxel_size_m)
            position[j, 0], position[j, 1], position[j, 2] = x, y, z
            evidence[j, 0], evidence[j, 1], goes[j] = old[j, 0], old[j, 1], False
        for k in range(bounds[c], bounds[c + 1]):
            v = view_index[k]
            m = cameras[v]
            first, height, width, rank = shapes[v, 0], shapes[v, 1], shapes[v, 2], view_priority[v]
            for j in range(n):
                if rank < priority[j]:
                    continue
                x, y, z = position[j, 0], position[j, 1], position[j, 2]
                depth_z = m[6] * x + m[7] * y + m[8] * z + m[11]
                if depth_z <= 1e-6:
                    continue
                scale = 1.0 / depth_z
                u = m[12] * (m[0] * x + m[1] * y + m[2] * z + m[9]) * scale + m[14]
                w = m[13] * (m[3] * x + m[4] * y + m[5] * z + m[10]) * scale + m[15]
                if not (u >= 0.0 and w >= 0.0 and u < width and w < height):
                    continue
                row, column = np.int64(w), np.int64(u)
                d = np.float64(depth[first + row * width + column])
                if d <= 0.0:
                    continue
                if depth_z < d - max(rule[0], rule[1] * d):
                    front = d
                    for r in range(max(0, row - 1), min(height, row + 2)):
                        for q in range(max(0, column - 1), min(width, column + 2)):
                            beside = np.float64(depth[first + r * width + q])
                            if beside > 0.0:
                                front = min(front, beside)
                    if depth_z < front - max(rule[0], rule[1] * front):
                        if evidence[j, 1] < 255:
                            evidence[j, 1] += 1
                        goes[j] |= (rank >> 6) > (priority[j] >> 6)
                elif depth_z <= d + max(rule[0], rule[1] * d) and evidence[j, 0] < 255:
                    evidence[j, 0] += 1
        for j in range(n):
            changed = evidence[j, 0] != old[j, 0] or evidence[j, 1] != old[j, 1]
            goes[j] |= changed and evidence[j, 1] >= rule[2] and evidence[j, 1] > rule[3] * evidence[j, 0]
            report[c, 0] += np.int64(changed)
            report[c, 1] += np.int64(goes[j])


@njit(cache=True, nogil=True)
def splat_depth(
    counts,
    addresses,
    origins,
    voxel_size_m,
    camera,
    width,
    height,
    tolerance,
    min_priority,
    depth_out,
    priority_out,
    color_out,
):
    """Draw voxels as squares of their footprint; depth and colour are the mean of what lies near the front.

    Args:
        counts: (M,) int64 voxels of each chunk.
        addresses: (M, 4) int64 addresses of its codes, rows, priority and evidence.
        origins: (M, 3) float64 metres, lowest corner of each chunk.
        voxel_size_m: Side of a voxel.
        camera: (16,) float64, as a row of ``carve_chunks``' cameras.
        width: Of the image, pixels.
        height: Of the image, pixels.
        tolerance: (2,) float64: metres, and share of the front's depth, that still count as the front.
        min_priority: Voxels below are not drawn.
        depth_out: (H, W) float32 zeros, receives metres along +Z; 0 where nothing is.
        priority_out: (H, W) uint8 zeros, receives the highest priority of what counts.
        color_out: (H, W, 3) float32 zeros, receives sRGB in 0..255; with no rows, colour is left out.
    """
    total = np.int64(0)
    for c in range(len(counts)):
        total += counts[c]
    has_color = len(color_out) > 0
    colors = np.empty((total if has_color else 0, 3), np.float32)
    spans = np.empty((total, 4), np.int16)
    depths = np.empty(total, np.float32)
    ranks = np.empty(total, np.uint8)
    front = np.full((height, width), np.float32(np.inf), np.float32)
    drawn = np.int64(0)
    for c in range(len(counts)):
        n = counts[c]
        codes = bytes_at(addresses[c, 0], n * 4).view(np.uint32)
        rows = bytes_at(addresses[c, 1], n * ROW_BYTES).view(np.uint32).reshape(n, 8)
        priority = bytes_at(addresses[c, 2], n)
        for j in range(n):
            if priority[j] < min_priority:
                continue
            x, y, z = _voxel_position(codes[j], rows, j, origins, c, voxel_size_m)
            depth_z = camera[6] * x + camera[7] * y + camera[8] * z + camera[11]
            if depth_z <= 0.01:
                continue
            u = camera[12] * (camera[0] * x + camera[1] * y + camera[2] * z + camera[9]) / depth_z + camera[14]
            v = camera[13] * (camera[3] * x + camera[4] * y + camera[5] * z + camera[10]) / depth_z + camera[15]
            half_u = min(camera[12] * voxel_size_m / depth_z * 0.5, 12.0)
            half_v = min(camera[13] * voxel_size_m / depth_z * 0.5, 12.0)
            if not (u + half_u >= 0.0 and v + half_v >= 0.0 and u - half_u < width and v - half_v < height):
                continue
            u0, u1 = max(0, np.int64(np.floor(u - half_u))), min(width - 1, np.int64(np.floor(u + half_u)))
            v0, v1 = max(0, np.int64(np.floor(v - half_v))), min(height - 1, np.int64(np.floor(v + half_v)))
            spans[drawn, 0], spans[drawn, 1], spans[drawn, 2], spans[drawn, 3] = u0, u1, v0, v1
            depths[drawn] = depth_z
            ranks[drawn] = priority[j]
            if has_color:
                weight = np.float32(rows[j, COLUMN_WEIGHT])
                for channel in range(3):
                    colors[drawn, channel] = np.float32(rows[j, COLUMN_R + channel]) / weight
            drawn += 1
            for row in range(v0, v1 + 1):
                for column in range(u0, u1 + 1):
                    front[row, column] = min(front[row, column], np.float32(depth_z))
    hits = np.zeros((height, width), np.float32)
    for i in range(drawn):
        for row in range(spans[i, 2], spans[i, 3] + 1):
            for column in range(spans[i, 0], spans[i, 1] + 1):
                near = front[row, column]
                if depths[i] <= near + max(tolerance[0], tolerance[1] * near):
                    hits[row, column] += np.float32(1.0)
                    depth_out[row, column] += depths[i] - near
                    priority_out[row, column] = max(priority_out[row, column], ranks[i])
                    if has_color:
                        for channel in range(3):
                            color_out[row, column, channel] += colors[i, channel]
    for row in range(height):
        for column in range(width):
            if hits[row, column] > 0:
                depth_out[row, column] = front[row, column] + depth_out[row, column] / hits[row, column]
                if has_color:
                    for channel in range(3):
                        color_out[row, column, channel] /= hits[row, column]


@njit(cache=True, nogil=True)
def see_points(points, cameras, width, height, visible):
    """Mark the points that are nearest in their pixel, by the rule of the authors' release.

    A pixel is the truncated projection (toward zero, so (-1, 0) counts as 0); a point is visible if its depth is at
    most 1e-6 behind the pixel's smallest. All in float32.

    Args:
        points: (N, 3) float32, world frame.
        cameras: (V, 16) float32, as a row of ``carve_chunks``' cameras.
        width: Of the image, pixels.
        height: Of the image, pixels.
        visible: (V, N) bool, False; receives the marks.
    """
    pixels = np.empty(len(points), np.int64)
    depths = np.empty(len(points), np.float32)
    front = np.empty(height * width, np.float32)
    for v in range(len(cameras)):
        m = cameras[v]
        front[:] = np.float32(np.inf)
        for i in range(len(points)):
            x, y, z = points[i, 0], points[i, 1], points[i, 2]
            depth_z = m[6] * x + m[7] * y + m[8] * z + m[11]
            pixels[i] = -1
            depths[i] = depth_z
            if depth_z > np.float32(0.0):
                u = m[12] * ((m[0] * x + m[1] * y + m[2] * z + m[9]) / depth_z) + m[14]
                w = m[13] * ((m[3] * x + m[4] * y + m[5] * z + m[10]) / depth_z) + m[15]
                if u > -1.0 and w > -1.0 and u < width and w < height:
                    pixels[i] = np.int64(w) * width + np.int64(u)
                    front[pixels[i]] = min(front[pixels[i]], depth_z)
        for i in range(len(points)):
            if pixels[i] >= 0:
                visible[v, i] = depths[i] <= front[pixels[i]] + np.float32(1e-6)
