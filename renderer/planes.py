"""Buffers of the software renderer: planes of one picture size, several sizes in the same memory."""

import math

import numpy as np
import numpy.typing as npt

from . import gaps, kernels, sampling
from .fog import Fog
from .interface import View


class _Arena:
    """Named blocks of memory that arrays of any smaller size share."""

    def __init__(self) -> None:
        self._blocks: dict[str, npt.NDArray[np.uint8]] = {}
        self.has_grown = False

    def take(self, name: str, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray:
        """An array whose content is whatever was there."""
        shape = (shape,) if isinstance(shape, int) else shape
        num = math.prod(shape) * np.dtype(dtype).itemsize
        block = self._blocks.get(name)
        if block is None or len(block) < num:
            self.has_grown = self.has_grown or block is not None
            block = self._blocks[name] = np.empty(num, np.uint8)
        return block[:num].view(dtype).reshape(shape)


class Planes:
    """Buffers of one picture size.

    Args:
        width, height: Of the picture.
        arena: Where the memory comes from; one of its own if not given.
    """

    def __init__(self, width: int, height: int, arena: _Arena | None = None) -> None:
        pad = 2 * kernels.PAD
        num = (width + pad) * (height + pad)
        self.size = (width, height)
        take = (arena or _Arena()).take
        self.zbuffer = take("zbuffer", num, np.uint64)
        self.depth, self.color = take("depth", num, np.float32), take("color", num, np.uint32)
        num_tiles = (-(-height // kernels.TILE), -(-width // kernels.TILE))
        self.tiles, self.is_stale = take("tiles", num_tiles, np.uint32), take("is_stale", num_tiles, np.uint8)
        self.flags = take("flags", width, np.uint8)
        self.found = take("found", width * height + 1, np.int32)
        self.beside_px, self.behind = take("beside_px", num_tiles, np.uint8), take("behind", num, np.uint64)
        self.large_m = take("large_m", (2, *num_tiles), np.float32)
        margin = 2 * gaps.CELL_MARGIN
        half = (-(-height // 2) + margin, -(-width // 2) + margin)
        self.low, self.high = take("low", half, np.float32), take("high", half, np.float32)
        self.new_depth = take("new_depth", width * height, np.float32)
        self.new_color = take("new_color", width * height, np.uint32)
        self.pending = take("pending", (height, width), np.uint8)
        self.fog = Fog(width, height)
        self.scratch = take("scratch", 10 * sampling.BLOCK, np.uint32)
        self.rows = np.zeros((3, width + 2), np.uint8)
        self.rgba = take("rgba", (height, width), np.uint32)
        self.rgba_bytes = self.rgba.view(np.uint8).reshape(height, width, 4)
        depth, coverage = take("depth_m", (height, width), np.float32), take("coverage", (height, width), np.float32)
        self.view = View(self.rgba_bytes[..., :3], depth, coverage)

    def inner(self, plane: npt.NDArray) -> npt.NDArray:
        """(H, W) view of a plane without its border."""
        width, height = self.size
        pad = kernels.PAD
        return plane.reshape(height + 2 * pad, width + 2 * pad)[pad:-pad, pad:-pad]

    def fresh_view(self) -> View:
        """Arrays of a view that belong to nobody else, unset."""
        width, height = self.size
        return View(
            np.empty((height, width, 3), np.uint8),
            np.empty((height, width), np.float32),
            np.empty((height, width), np.float32),
        )


class PlaneStore:
    """Planes by picture size, all in the memory of the largest: dynamic resolution changes to and fro."""

    def __init__(self) -> None:
        self._arena = _Arena()
        self._planes: dict[tuple[int, int], Planes] = {}

    def planes(self, size: tuple[int, int]) -> Planes:
        """Those of a size; what other sizes' hold is lost."""
        found = self._planes.get(size)
        if found is None:
            self._arena.has_grown = False
            found = Planes(*size, self._arena)
            if self._arena.has_grown:
                self._planes.clear()  # they hold smaller blocks than the arena's
            self._planes[size] = found
        return found
