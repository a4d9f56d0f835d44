"""Cells of 5 cm that say where surface is: compiled loops of ``collision``, in the level frame (y along gravity)."""

import numpy as np
from numba import njit

CELL_M = 0.05
BLOCKING_CELLS = 4
"""Cells in a 3x3 neighbourhood of columns that make 20 cm of surface."""


@njit(cache=True, nogil=True)
def gather_cells(local, origin, turn, min_points):
    """Cells that enough points of a chunk lie in, in rising order of their keys.

    Args:
        local: (N, 3) uint16 positions in the chunk, in steps.
        origin: (3,) float64 metres, level frame, where local (0, 0, 0) begins.
        turn: (3, 3) float64 metres in the level frame for one local step along each axis.
        min_points: Points that a cell must hold.

    Returns:
        (M, 3) int32 keys and (M,) float32 the least y, that is the highest surface, of each, metres.
    """
    n = local.shape[0]
    points = np.empty((n, 3), np.float64)
    low = np.full(3, np.iinfo(np.int64).max, np.int64)
    high = np.full(3, np.iinfo(np.int64).min, np.int64)
    for i in range(n):
        for axis in range(3):
            at = origin[axis]
            for k in range(3):
                at += turn[axis, k] * (np.float64(local[i, k]) + 0.5)
            points[i, axis] = at
            key = np.int64(np.floor(at / CELL_M))
            low[axis] = min(low[axis], key)
            high[axis] = max(high[axis], key)
    if n == 0:
        return np.empty((0, 3), np.int32), np.empty(0, np.float32)
    side = high - low + 1
    count = np.zeros(side[0] * side[1] * side[2], np.int32)
    top = np.full(len(count), np.inf, np.float32)
    for i in range(n):
        at = np.int64(0)
        for axis in range(3):
            at = at * side[axis] + np.int64(np.floor(points[i, axis] / CELL_M)) - low[axis]
        count[at] += 1
        top[at] = min(top[at], np.float32(points[i, 1]))
    num = 0
    for at in range(len(count)):
        num += count[at] >= min_points
    keys, tops = np.empty((num, 3), np.int32), np.empty(num, np.float32)
    num = 0
    for at in range(len(count)):
        if count[at] >= min_points:
            keys[num, 0] = at // (side[1] * side[2]) + low[0]
            keys[num, 1] = at // side[2] % side[1] + low[1]
            keys[num, 2] = at % side[2] + low[2]
            tops[num] = top[at]
            num += 1
    return keys, tops


@njit(cache=True, nogil=True)
def blocking_columns(cells, low_y, high_y):
    """Columns whose 3x3 neighbourhood holds enough cells between two heights.

    Args:
        cells: (N, 3) int32 keys, some perhaps more than once.
        low_y: Metres, y pointing down: cells count above this height.
        high_y: And below this one.

    Returns:
        (C, 2) int64 x and z keys, rising.
    """
    kept = np.empty((len(cells), 3), np.int64)
    num = 0
    for i in range(len(cells)):
        y = (cells[i, 1] + 0.5) * CELL_M
        if high_y < y < low_y:
            kept[num] = cells[i]
            num += 1
    if num == 0:
        return np.empty((0, 2), np.int64)
    x0, y0, z0 = kept[:num, 0].min(), kept[:num, 1].min(), kept[:num, 2].min()
    wide, tall, deep = kept[:num, 0].max() - x0 + 1, kept[:num, 1].max() - y0 + 1, kept[:num, 2].max() - z0 + 1
    seen = np.zeros((wide, tall, deep), np.bool_)
    held = np.zeros((wide + 2, deep + 2), np.int32)
    for i in range(num):
        x, y, z = kept[i, 0] - x0, kept[i, 1] - y0, kept[i, 2] - z0
        if not seen[x, y, z]:
            seen[x, y, z] = True
            held[x + 1, z + 1] += 1
    columns = np.empty((wide * deep, 2), np.int64)
    num = 0
    for x in range(wide):
        for z in range(deep):
            if held[x + 1, z + 1] > 0 and held[x : x + 3, z : z + 3].sum() >= BLOCKING_CELLS:
                columns[num, 0], columns[num, 1] = x + x0, z + z0
                num += 1
    return columns[:num].copy()
