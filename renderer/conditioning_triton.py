"""The conditioning render on a GPU by one kernel: the same picture as the compiled loops make, without candidates.

Discs are sorted by depth as in ``conditioning_torch`` and dealt out, near to far, to the tiles of the picture that
they touch. One program draws one tile: it keeps its pixels in registers, walks along its discs and stops when every
pixel has its layers. Large clouds are dealt out in windows; between two of them discs that nothing more is seen of are
dropped.

Imports Triton; ``conditioning`` imports this module only where that is installed and the device runs CUDA. Where the
kernel cannot be compiled torch draws. Verified by Triton's interpreter; unproven on hardware.
"""

import logging
from typing import Any

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]

from .conditioning_torch import TorchRaster

logger = logging.getLogger(__name__)

TILE = 16
"""Side of a tile in pixels: 256 pixels are a program's."""
STEP = 8
"""Discs between two looks at whether a tile is done."""
WINDOW = 1 << 21
"""Discs dealt out at once, so that what that takes stays below ``conditioning_torch.memory_bound``."""
NOWHERE = tl.constexpr(-1e9)
"""Where a disc touches no pixel."""


@triton.jit
def _lay_tiles(
    discs, starts, light, layers, depth, width, height, columns, square, num_layers,
    TILE: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    """Lay the discs of one tile over what it shows already.

    Args:
        discs: (P, 4) float32, tile by tile, near to far: u, v, depth, and colour as the bits of
            red + 256 green + 65536 blue.
        starts: (T + 1,) int64, where each tile's discs begin.
        light: (H * W, 4) float32 colour so far and what still shines through, changed.
        layers: (H * W,) int32 discs so far, changed.
        depth: (H * W,) float32 of the first disc, 0 where there is none, changed.
        width, height: Of the picture. columns: Tiles in a row.
        square: Radius of a disc, squared. num_layers: Of a pixel.
    """
    tile = tl.program_id(0)
    at = tl.load(starts + tile)
    end = tl.load(starts + tile + 1)
    lane = tl.arange(0, TILE * TILE)
    x = (tile % columns) * TILE + lane % TILE
    y = (tile // columns) * TILE + lane // TILE
    is_inside = (x < width) & (y < height)
    pixel = y * width + x
    count = tl.load(layers + pixel, mask=is_inside, other=num_layers)
    red = tl.load(light + 4 * pixel, mask=is_inside, other=0.0)
    green = tl.load(light + 4 * pixel + 1, mask=is_inside, other=0.0)
    blue = tl.load(light + 4 * pixel + 2, mask=is_inside, other=0.0)
    through = tl.load(light + 4 * pixel + 3, mask=is_inside, other=1.0)
    nearest = tl.load(depth + pixel, mask=is_inside, other=0.0)
    center_x = x.to(tl.float32) + 0.5
    center_y = y.to(tl.float32) + 0.5
    num_open = tl.sum((count < num_layers).to(tl.int32))
    while (at < end) & (num_open > 0):
        for k in tl.static_range(STEP):
            is_there = at + k < end
            disc = discs + 4 * (at + k)
            dx = center_x - tl.load(disc, mask=is_there, other=NOWHERE)
            dy = center_y - tl.load(disc + 1, mask=is_there, other=NOWHERE)
            z = tl.load(disc + 2, mask=is_there, other=0.0)
            color = tl.load(disc + 3, mask=is_there, other=0.0).to(tl.int32, bitcast=True)
            part = square - dy * dy - dx * dx
            is_laid = (part > 0.0) & (count < num_layers)
            weight = tl.where(is_laid, part / square, 0.0)
            share = through * weight
            red += share * (color & 255).to(tl.float32)
            green += share * ((color >> 8) & 255).to(tl.float32)
            blue += share * ((color >> 16) & 255).to(tl.float32)
            through *= 1.0 - weight
            nearest = tl.where(is_laid & (count == 0), z, nearest)
            count += is_laid.to(tl.int32)
        at += STEP
        num_open = tl.sum((count < num_layers).to(tl.int32))
    tl.store(light + 4 * pixel, red, mask=is_inside)
    tl.store(light + 4 * pixel + 1, green, mask=is_inside)
    tl.store(light + 4 * pixel + 2, blue, mask=is_inside)
    tl.store(light + 4 * pixel + 3, through, mask=is_inside)
    tl.store(layers + pixel, count, mask=is_inside)
    tl.store(depth + pixel, nearest, mask=is_inside)


class TritonRaster(TorchRaster):
    """Draws one cloud, one frame after the other; see ``TorchRaster``. Used by one thread.

    Args:
        window: Discs that are dealt out at once.
        options: As ``TorchRaster`` takes them.
    """

    def __init__(
        self, points: Any, colors: Any, size: tuple[int, int], *, window: int = WINDOW, **options: Any
    ) -> None:
        super().__init__(points, colors, size, **options)
        self._window, self._is_usable = window, True
        r, g, b = self._colors.int().unbind(1)
        self._words = (r | (g << 8) | (b << 16)).view(torch.float32)
        self._columns, self._rows = -(-self._width // TILE), -(-self._height // TILE)

    def _composite(
        self, discs: tuple[torch.Tensor, ...], light: torch.Tensor, layers: torch.Tensor, depth: torch.Tensor
    ) -> None:
        if self._is_usable:
            try:
                self._composite_tiles(discs, light, layers, depth)
                return
            except Exception as error:  # no compiler, an unknown card: each back-end of Triton has errors of its own
                if layers.any():
                    raise
                self._is_usable = False
                logger.warning("Triton cannot draw here, torch does from now on: %s", error)
        super()._composite(discs, light, layers, depth)

    def _composite_tiles(
        self, discs: tuple[torch.Tensor, ...], light: torch.Tensor, layers: torch.Tensor, depth: torch.Tensor
    ) -> None:
        kernel: Any = _lay_tiles
        for start in range(0, len(discs[0]), self._window):
            window = tuple(t[start : start + self._window] for t in discs)
            u, v, z, index = window if start == 0 else self._open(window, layers)
            dealt, starts = self._deal(u, v)
            packed = torch.stack([u, v, z, self._words[index]], dim=1)[dealt]
            kernel[(self._columns * self._rows,)](
                packed, starts, light, layers, depth, self._width, self._height, self._columns,
                self._radius * self._radius, self._num_layers, TILE=TILE, STEP=STEP,
            )  # fmt: skip

    def _deal(self, u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(P,) numbers of the discs of each tile, near to far, and (T + 1,) where each tile's begin."""
        reach = torch.arange(int(2 * self._radius) // TILE + 2, device=self._device, dtype=torch.int32)
        column, has_column = self._touched(u, reach, self._width)
        row, has_row = self._touched(v, reach, self._height)
        tile = row[:, :, None] * self._columns + column[:, None, :]
        kept = (has_row[:, :, None] & has_column[:, None, :]).flatten().nonzero()[:, 0]
        sorted_tile, order = torch.sort(tile.flatten()[kept], stable=True)  # those of a tile stay near to far
        every = torch.arange(self._columns * self._rows + 1, device=self._device, dtype=sorted_tile.dtype)
        return kept[order] // len(reach) ** 2, torch.searchsorted(sorted_tile, every)

    def _touched(self, center: torch.Tensor, reach: torch.Tensor, end: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, R) int32 tiles along one axis from the first that a disc touches on, and which of them it does."""
        first = (center - self._radius - 0.5).ceil_().clamp_(min=0).int() // TILE
        last = (center + self._radius - 0.5).floor_().clamp_(min=-1, max=end - 1).int()
        tiles = first[:, None] + reach
        return tiles, tiles * TILE <= last[:, None]
