"""What is shown where memory has nothing: a dim fog of the nearest colours over a faint floor grid and horizon.

The fog is a push-pull pyramid: drawn colours are averaged on ever coarser grids until every cell knows one, then the
finer grids take over what they know better. It starts at a quarter of the picture's size.
"""

import numpy as np
import numpy.typing as npt
from numba import njit

from ..world.camera import Pinhole
from ..world.transforms import Transform, level_frame
from .kernels import FAR, OPTIONS, PAD
from .sampling import BLOCK

CELL = 4
"""Pixels of the finest fog cell."""

GRID_M = 1.0
"""Distance of the floor's lines."""

GRID_REACH_M = 14.0
"""The floor's lines fade out towards here."""

f4, i4, u4, u8, u1 = np.float32, np.int32, np.uint32, np.uint64, np.uint8

GRID_LINE, HORIZON = 26.0, 14.0
"""Brightness that the floor's lines and the horizon add, of 255."""

BASE = np.array([40.0, 42.0, 47.0], np.float32)
"""Colour of the fog where nothing at all is known, RGB 0..255."""

FOG_SHARE = 0.75
"""Share of the nearest colours in the fog; the rest is ``BASE``."""

FOG_DIM = 0.5 * FOG_SHARE
"""Factor of the nearest colours in the fog."""


@njit(**OPTIONS)
def _gather(depth, color, width, height, cells):
    """Mean colour of the drawn pixels of each cell, premultiplied, and its weight, (h, w, 4) float32.

    Every second pixel of every second row is looked at.
    """
    stride = width + 2 * PAD
    bits = depth.view(np.uint32)
    empty = np.array([FAR]).view(np.uint32)[0]
    whole = width // CELL
    sums = np.empty((4, cells.shape[1]), np.uint32)
    for cj in range(cells.shape[0]):
        sums[:] = u4(0)
        for j in range(CELL * cj, min(CELL * cj + CELL, height), 2):
            o = (j + PAD) * stride + PAD
            z, v = bits[o : o + CELL * whole], color[o : o + CELL * whole]
            for ci in range(whole):
                a = v[CELL * ci] if z[CELL * ci] < empty else u4(0)
                b = v[CELL * ci + 2] if z[CELL * ci + 2] < empty else u4(0)
                n = u4(z[CELL * ci] < empty) + u4(z[CELL * ci + 2] < empty)
                sums[0, ci] = u4(sums[0, ci] + (a & u4(255)) + (b & u4(255)))
                sums[1, ci] = u4(sums[1, ci] + ((a >> u4(8)) & u4(255)) + ((b >> u4(8)) & u4(255)))
                sums[2, ci] = u4(sums[2, ci] + ((a >> u4(16)) & u4(255)) + ((b >> u4(16)) & u4(255)))
                sums[3, ci] = u4(sums[3, ci] + n)
            for i in range(CELL * whole, width, 2):
                if bits[o + i] < empty:
                    for c in range(3):
                        sums[c, whole] += (color[o + i] >> u4(8 * c)) & u4(255)
                    sums[3, whole] += u4(1)
        for ci in range(cells.shape[1]):
            n = f4(i4(sums[3, ci]))
            w = min(n * f4(0.5), f4(1))
            s = w / max(n, f4(1))
            cells[cj, ci, 0] = f4(i4(sums[0, ci])) * s
            cells[cj, ci, 1] = f4(i4(sums[1, ci])) * s
            cells[cj, ci, 2] = f4(i4(sums[2, ci])) * s
            cells[cj, ci, 3] = w


@njit(**OPTIONS)
def _pull(fine, coarse):
    """Average 2x2 cells; a cell that knows something weighs up to four times as much one level up."""
    for j in range(coarse.shape[0]):
        j2 = min(2 * j + 1, fine.shape[0] - 1)
        for i in range(coarse.shape[1]):
            i2 = min(2 * i + 1, fine.shape[1] - 1)
            total = fine[2 * j, 2 * i, 3] + fine[2 * j, i2, 3] + fine[j2, 2 * i, 3] + fine[j2, i2, 3]
            w = min(total, f4(1))
            s = w / max(total, f4(1e-6))
            for c in range(3):
                coarse[j, i, c] = s * (
                    fine[2 * j, 2 * i, c] + fine[2 * j, i2, c] + fine[j2, 2 * i, c] + fine[j2, i2, c]
                )
            coarse[j, i, 3] = w


@njit(**OPTIONS)
def _push(coarse, fine):
    """Give each fine cell what it lacks from the coarse ones around it, bilinearly."""
    for j in range(fine.shape[0]):
        y = min(max(f4(j) * f4(0.5) - f4(0.25), f4(0)), f4(coarse.shape[0] - 1))
        j0 = i4(y)
        j1 = min(j0 + 1, coarse.shape[0] - 1)
        fy = y - f4(j0)
        for i in range(fine.shape[1]):
            lack = f4(1) - fine[j, i, 3]
            if lack <= f4(0):
                continue
            x = min(max(f4(i) * f4(0.5) - f4(0.25), f4(0)), f4(coarse.shape[1] - 1))
            i0 = i4(x)
            i1 = min(i0 + 1, coarse.shape[1] - 1)
            fx = x - f4(i0)
            for c in range(4):
                top = coarse[j0, i0, c] * (f4(1) - fx) + coarse[j0, i1, c] * fx
                low = coarse[j1, i0, c] * (f4(1) - fx) + coarse[j1, i1, c] * fx
                fine[j, i, c] += lack * (top * (f4(1) - fy) + low * fy)


@njit(**OPTIONS)
def _complete(cells, places):
    """Give every cell of the finest grid a colour, and tell whether anything is known at all.

    Args:
        cells: (N,) float32 of all grids one after the other, finest first; changed.
        places: (L, 3) int64: where each grid begins, its height and its width.
    """
    num = places.shape[0]
    for k in range(num - 1):
        _pull(_level(cells, places[k]), _level(cells, places[k + 1]))
    is_known = cells[places[num - 1, 0] + 3] > f4(0)
    for k in range(num - 2, -1, -1):
        _push(_level(cells, places[k + 1]), _level(cells, places[k]))
    return is_known


@njit(**OPTIONS)
def _level(cells, place):
    start, height, width = place
    return cells[start : start + 4 * height * width].reshape((height, width, 4))


@njit(**OPTIONS)
def _paint(depth, color, width, height, cells, dim, base, m, origin, floor_m, focal, buffers):
    """Write the fog into undrawn pixels, and blend what is fading in with it.

    Args:
        depth, color: Planes; the colours are changed.
        cells: (h, w, 4) float32, complete.
        dim: Brightness of the fog's colours.
        base: (3,) float32, added to them.
        m: (9,) float32, a pixel (u, v, 1) to a direction in the level frame (x right, y down, z forward).
        origin: (2,) float32 place of the camera in the grid, metres.
        floor_m: Height of the camera over the floor.
        focal: Pixels.
        buffers: (2, 3, 4 * w + 4) float32 scratch, two rows of cells.
    """
    stride = width + 2 * PAD
    lines = np.empty(4 * BLOCK, np.float32)  # then the fog's red, green and blue with them
    held = np.full(2, -1)
    far, fading = np.array([FAR]).view(np.uint32)[0], u4(63 << 24)
    bits = depth.view(np.uint32)
    for j in range(height):
        o = (j + PAD) * stride + PAD
        z, word = bits[o : o + width], color[o : o + width]
        cy = min(max((f4(j) + f4(0.5)) * f4(1.0 / CELL) - f4(0.5), f4(0)), f4(cells.shape[0] - 1))
        j0 = np.int64(cy)
        j1, fy = min(j0 + 1, cells.shape[0] - 1), cy - f4(j0)
        y = f4(j) + f4(0.5)
        rx0, ry0, rz0 = m[1] * y + m[2], m[4] * y + m[5], m[7] * y + m[8]
        for b in range(0, width, BLOCK):
            n = min(BLOCK, width - b)
            z_block, w_block = z[b : b + n], word[b : b + n]
            farthest, fresh = u4(0), u4(0)
            for i in range(n):
                farthest = max(farthest, z_block[i])
                fresh = max(fresh, u4(w_block[i] & fading))
            if farthest < far and fresh == u4(0):
                continue
            for k in (j0, j1):
                if held[k & 1] != k:
                    held[k & 1] = k
                    _widen_row(cells, k, dim, base, buffers[k & 1])
            x = f4(b) + f4(0.5)
            left, right = m[3] * x + ry0, m[3] * (x + f4(n)) + ry0
            if max(left, right) > floor_m * f4(1.0 / GRID_REACH_M):
                _draw_grid(b, n, m, rx0, ry0, rz0, origin, floor_m, focal, lines)
            elif max(left, right) > f4(-2) / focal and min(left, right) < f4(2) / focal:
                for i in range(n):
                    lines[i] = max(f4(1) - abs(m[3] * (x + f4(i)) + ry0) * focal * f4(0.7), f4(0)) * f4(HORIZON)
            else:
                lines[:n] = f4(0)
            for c in range(3):
                above, below = buffers[j0 & 1, c, b + 2 : b + 2 + n], buffers[j1 & 1, c, b + 2 : b + 2 + n]
                for i in range(n):
                    lines[(c + 1) * BLOCK + i] = above[i] + fy * (below[i] - above[i]) + lines[i]
            for i in range(n):
                old = w_block[i]
                missing = f4(i4((old >> u4(24)) & u4(63))) * f4(1.0 / 63.0)
                missing = missing if z_block[i] < far else f4(1)
                red, green, blue = (
                    f4(i4(old & u4(255))),
                    f4(i4((old >> u4(8)) & u4(255))),
                    f4(i4((old >> u4(16)) & u4(255))),
                )
                red += missing * (lines[BLOCK + i] - red) + f4(0.5)
                green += missing * (lines[2 * BLOCK + i] - green) + f4(0.5)
                blue += missing * (lines[3 * BLOCK + i] - blue) + f4(0.5)
                w_block[i] = (old & u4(0xFF000000)) | u4(i4(red)) | (u4(i4(green)) << u4(8)) | (u4(i4(blue)) << u4(16))


@njit(**OPTIONS)
def _draw_grid(b, n, m, rx0, ry0, rz0, origin, floor_m, focal, lines):
    """Brightness of the floor's lines and the horizon for ``n`` pixels from column ``b`` of a row."""
    for i in range(n):
        x = f4(b + i) + f4(0.5)
        rx, ry, rz = m[0] * x + rx0, m[3] * x + ry0, m[6] * x + rz0
        t = floor_m / max(ry, f4(1e-3))
        gx, gz = rx * t + origin[0], rz * t + origin[1]
        gx = abs(gx - np.floor(gx + f4(0.5)))
        gz = abs(gz - np.floor(gz + f4(0.5)))
        reach = max(f4(1) - t * f4(1.0 / GRID_REACH_M), f4(0))
        wx = t / focal + f4(0.006)
        wz = t * t / (focal * floor_m) + f4(0.006)
        line = max(f4(1) - gx / wx, f4(0)) * min(f4(0.02) / wx, f4(1))
        line = max(line, max(f4(1) - gz / wz, f4(0)) * min(f4(0.02) / wz, f4(1)))
        horizon = max(f4(1) - abs(ry) * focal * f4(0.7), f4(0)) * f4(HORIZON)
        lines[i] = line * reach * reach * f4(GRID_LINE) + horizon


@njit(**OPTIONS)
def _widen_row(cells, j, dim, base, out):
    """Interpolate a row of cells to pixels; pixel i is at ``out[:, i + 2]``."""
    last = cells.shape[1] - 1
    for c in range(3):
        left = base[c] + dim * cells[j, 0, c]
        for i in range(last + 2):
            right = base[c] + dim * cells[j, min(i, last), c]
            step = f4(0.25) * (right - left)
            out[c, 4 * i] = left + f4(0.5) * step
            out[c, 4 * i + 1] = left + f4(1.5) * step
            out[c, 4 * i + 2] = left + f4(2.5) * step
            out[c, 4 * i + 3] = left + f4(3.5) * step
            left = right


class Fog:
    """Paints the unknown of pictures of one size; keeps its pyramid.

    Args:
        width: Pixels.
        height: Pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._level_of = (0.0, -1.0, 0.0), level_frame((0.0, -1.0, 0.0)).T  # made anew only for another direction
        shape, start = (-(-height // CELL), -(-width // CELL)), 0
        places = [(start, *shape)]
        while max(shape) > 1:
            start += 4 * shape[0] * shape[1]
            shape = (-(-shape[0] // 2), -(-shape[1] // 2))
            places.append((start, *shape))
        self._cells, self._places = np.zeros(start + 4, np.float32), np.array(places)
        _, rows, columns = places[0]
        self._finest = self._cells[: 4 * rows * columns].reshape(rows, columns, 4)
        self._rows = np.zeros((2, 3, CELL * columns + CELL), np.float32)

    def paint(
        self,
        depth: npt.NDArray[np.float32],
        color: npt.NDArray[np.uint32],
        *,
        world_T_camera: Transform,
        pinhole: Pinhole,
        up_world: tuple[float, float, float],
        floor_height_m: float,
    ) -> None:
        """Paint undrawn pixels, and blend those that are fading in with what they replace.

        Args:
            depth: Plane, ``FAR`` where nothing is drawn.
            color: Plane of colour words, changed in place.
            world_T_camera: Camera pose.
            pinhole: Of the picture.
            up_world: Direction away from gravity.
            floor_height_m: Height of the camera above the floor.
        """
        width, height = self._size
        _gather(depth, color, width, height, self._finest)
        is_known = _complete(self._cells, self._places)
        if up_world != self._level_of[0]:
            self._level_of = up_world, level_frame(up_world).T
        level_R_world = self._level_of[1]
        m = level_R_world @ world_T_camera[:3, :3] @ np.linalg.inv(pinhole.matrix)
        place = level_R_world @ world_T_camera[:3, 3] / GRID_M
        _paint(
            depth,
            color,
            width,
            height,
            self._finest,
            np.float32(FOG_DIM if is_known else 0.0),
            BASE * np.float32(1.0 - FOG_SHARE if is_known else 1.0),
            m.ravel().astype(np.float32),
            (place[[0, 2]] % 1.0).astype(np.float32),
            np.float32(max(floor_height_m, 0.1) / GRID_M),
            np.float32(pinhole.fx),
            self._rows,
        )
