"""Points unpacked from chunks, and kept in pages of equal size by level of detail: the compiled loops.

A colour word is red, green, blue from the lowest byte on; the top byte is ``class << 6 | freshness``.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

PAGE = 512
"""Points in a page of the pool: projected together, neighbours in space."""

NUM_LEVELS = 4
"""Levels of detail: all points, and one in every block of 2, 4 and 8 voxels."""

f4, i4, u4, u8, u1 = np.float32, np.int32, np.uint32, np.uint64, np.uint8


class Pages(NamedTuple):
    """The points of all chunks in pages of ``PAGE``, structure of arrays.

    Attributes:
        x, y, z: Positions in their chunk, 256 steps a voxel.
        word: Colour words.
        prio: Class and rank.
        next_page: The page after each page in its chunk, -1 at the end.
    """

    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    z: npt.NDArray[np.uint16]
    word: npt.NDArray[np.uint32]
    prio: npt.NDArray[np.uint8]
    next_page: npt.NDArray[np.int32]


@njit(cache=True, nogil=True)
def _compact(v):
    """Every third bit of an 18-bit Morton code, as a number of 6 bits."""
    v &= u4(0x9249249)
    v = (v ^ (v >> u4(2))) & u4(0x30C30C3)
    v = (v ^ (v >> u4(4))) & u4(0x300F00F)
    v = (v ^ (v >> u4(8))) & u4(0x30000FF)
    v = (v ^ (v >> u4(16))) & u4(0x3FF)
    return v


@njit(cache=True, nogil=True)
def unpack_chunk(codes, rows, local, color, bounds):
    """Mean positions and colours of a chunk's voxels, rounded to nearest.

    Args:
        codes: (N,) uint32 Morton codes, rising.
        rows: (N, 8) uint32 sums, as in ``Chunk``.
        local: (N, 3) uint16, out: positions in the chunk, 256 steps a voxel.
        color: (N,) uint32, out: RGBA, red lowest, alpha 255.
        bounds: (2, 3) int64, out: lowest and highest local x, y, z.
    """
    low, high = bounds[0], bounds[1]
    low[:] = 1 << 30
    high[:] = -1
    for i in range(codes.shape[0]):
        code = codes[i]
        w = rows[i, 3]
        wide = u8(w)
        for axis in range(3):
            base = _compact(code >> u4(axis)) << u4(8)
            q = base + u4((u8(rows[i, axis]) * u8(2) + wide) // (wide * u8(2)))
            q = min(q, u4(16383))
            local[i, axis] = q
            low[axis] = min(low[axis], np.int64(q))
            high[axis] = max(high[axis], np.int64(q))
        word = u4(0xFF000000)
        for channel in range(3):
            mean = u4((u8(rows[i, 4 + channel]) * u8(2) + wide) // (wide * u8(2)))
            word |= (mean & u4(255)) << u4(8 * channel)
        color[i] = word


@njit(cache=True, nogil=True)
def _levels_of(local, levels):
    """The coarsest level that each point belongs to: the first point in a block of 2, 4, 8 voxels is in level 1, 2, 3.

    Args:
        local: (N, 3) uint16 positions in rising Morton order.
        levels: (N,) uint8, out.
    """
    last = u4(0xFFFFFFFF)
    for i in range(local.shape[0]):
        code = _voxel_code(local[i, 0], local[i, 1], local[i, 2])
        level = 0
        while level < NUM_LEVELS - 1 and (i == 0 or (code >> u4(3 * level + 3)) != (last >> u4(3 * level + 3))):
            level += 1
        levels[i] = level
        last = code


@njit(cache=True, nogil=True)
def store_chunk(local, color, priority, numbers, pages, ends, finest):
    """Copy a chunk into its pages of the pool: the points of the coarsest level first, each level in Morton order.

    Args:
        local: (N, 3) uint16.
        color: (N,) uint32 RGBA.
        priority: (N,) uint8.
        numbers: (ceil(N / PAGE),) int32 page numbers.
        pages: ``Pages``, changed.
        ends: (NUM_LEVELS,) int32, out: number of points of each level, finest (all) first.
        finest: Level whose points are copied with those of coarser ones; finer ones are left out, and not counted.
    """
    n = color.shape[0]
    levels = np.empty(n, np.uint8)
    _levels_of(local, levels)
    ends[:] = 0
    for i in range(n):
        for level in range(levels[i] + 1):
            ends[level] += 1
    cursor = np.zeros(NUM_LEVELS, np.int64)
    for level in range(NUM_LEVELS - 1):
        cursor[level] = ends[level + 1]
    for level in range(finest):
        ends[level] = ends[finest]
    for i in range(n):
        if levels[i] < finest:
            continue
        k = cursor[levels[i]]
        cursor[levels[i]] += 1
        to = np.int64(numbers[k // PAGE]) * PAGE + k % PAGE
        pages.x[to] = local[i, 0]
        pages.y[to] = local[i, 1]
        pages.z[to] = local[i, 2]
        pages.word[to] = (color[i] & u4(0xFFFFFF)) | (u4(priority[i] >> u1(6)) << u4(30))
        pages.prio[to] = priority[i]


@njit(cache=True, nogil=True)
def _spread(v):
    """The 6 bits of a number on every third bit."""
    v = (v | (v << u4(8))) & u4(0x300F)
    v = (v | (v << u4(4))) & u4(0x30C3)
    return (v | (v << u4(2))) & u4(0x9249)


@njit(cache=True, nogil=True)
def _voxel_code(x, y, z):
    return _spread(u4(x) >> u4(8)) | _spread(u4(y) >> u4(8)) << u4(1) | _spread(u4(z) >> u4(8)) << u4(2)


@njit(cache=True, nogil=True)
def _page_codes(page, count, pages, codes):
    """Morton codes of a chunk's points in storage order."""
    for i in range(count):
        at = np.int64(page) * PAGE + i % PAGE
        codes[i] = _voxel_code(pages.x[at], pages.y[at], pages.z[at])
        if (i + 1) % PAGE == 0:
            page = pages.next_page[page]


@njit(cache=True, nogil=True)
def mark_fresh(old_pages, old_counts, page, count, pages):
    """Set the freshness bits of points whose voxel was empty in the chunk's last revision.

    Args:
        old_pages: (K,) int64 first pages of the last revision's slots. old_counts: (K,) int64 their points.
        page, count: First page and points of a slot of the new one.
        pages: ``Pages``, changed.
    """
    old_count = old_counts.sum()
    occupied = np.zeros((1 << 18) // 32 if old_count else 0, np.uint32)
    for k in range(old_pages.shape[0]):
        old_codes = np.empty(old_counts[k], np.uint32)
        _page_codes(old_pages[k], old_counts[k], pages, old_codes)
        for i in range(old_counts[k]):
            occupied[old_codes[i] >> u4(5)] |= u4(1) << (old_codes[i] & u4(31))
    codes = np.empty(count, np.uint32)
    _page_codes(page, count, pages, codes)
    for i in range(count):
        is_old = old_count > 0 and ((occupied[codes[i] >> u4(5)] >> (codes[i] & u4(31))) & u4(1)) == u4(1)
        if not is_old:
            pages.word[np.int64(page) * PAGE + i % PAGE] |= u4(63 << 24)
        if (i + 1) % PAGE == 0:
            page = pages.next_page[page]


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def find_candidates(count, low, high, m, width, height, out):
    """Slots whose bounding sphere may meet the frustum: a cheap first look at worlds of very many chunks.

    Args:
        count: (C,) int32 points of each slot; empty slots are passed over.
        low, high: (C, 3) float64 boxes in the world.
        m: (3, 4) float64, world to homogeneous pixels; its last row is of unit length but for the offset.
        width, height: Size in pixels.
        out: (C,) int64, out: slots found, rising.

    Returns:
        Number of slots found.
    """
    planes = np.empty((5, 4))
    for t in range(4):
        planes[0, t] = m[2, t]
        planes[1, t] = m[0, t]
        planes[2, t] = width * m[2, t] - m[0, t]
        planes[3, t] = m[1, t]
        planes[4, t] = height * m[2, t] - m[1, t]
    for p in range(5):
        planes[p] /= np.sqrt(planes[p, 0] ** 2 + planes[p, 1] ** 2 + planes[p, 2] ** 2)
    found = 0
    for c in range(count.shape[0]):
        if count[c] == 0:
            continue
        x, y, z = 0.5 * (low[c, 0] + high[c, 0]), 0.5 * (low[c, 1] + high[c, 1]), 0.5 * (low[c, 2] + high[c, 2])
        dx, dy, dz = high[c, 0] - x, high[c, 1] - y, high[c, 2] - z
        radius = np.sqrt(dx * dx + dy * dy + dz * dz)
        inside = True
        for p in range(5):
            inside = inside and planes[p, 0] * x + planes[p, 1] * y + planes[p, 2] * z + planes[p, 3] >= -radius
        if inside:
            out[found] = c
            found += 1
    return found
