"""The conditioning render on a torch device: the same picture as the compiled loops make, by whole-array operations.

Points are sorted by depth once a frame and taken near to far in blocks. Each point of a block is spread over the pixels
that its disc may touch; a layer of the block is the nearest candidate of every pixel (an ``amin`` over the candidates'
numbers, which rise with depth). Points whose pixels have all their layers are dropped before they are spread, so that
what is drawn follows the picture, not the cloud.

Memory: ``BYTES_PER_POINT`` a point, ``BYTES_PER_CANDIDATE`` for each of at most ``max_candidates`` candidates, and
``BYTES_PER_PIXEL`` a pixel, on the device.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

MAX_CANDIDATES = 1 << 22
"""Pairs of a point and a pixel that are looked at together."""
BLOCKS_BETWEEN_LOOKS = 16
"""Blocks taken from the sorted points at once, without those that nothing more is seen of."""
BYTES_PER_POINT, BYTES_PER_CANDIDATE, BYTES_PER_PIXEL = 120, 80, 80
"""Above what was measured at the peak; see ``memory_bound``."""


def memory_bound(num_points: int, width: int, height: int, max_candidates: int = MAX_CANDIDATES) -> int:
    """Bytes of the device that drawing takes at most, the points' own among them."""
    return BYTES_PER_POINT * num_points + BYTES_PER_CANDIDATE * max_candidates + BYTES_PER_PIXEL * width * height


class TorchRaster:
    """Draws one cloud, one frame after the other. Used by one thread.

    Args:
        points: (N, 3) float32 metres, world.
        colors: (N, 3) uint8 sRGB.
        size: (width, height) of the frames.
        radius: Of a disc, pixels.
        points_per_pixel: Layers of a pixel.
        device: Torch device, such as "cuda".
        near_m: Nothing nearer is drawn.
        max_candidates: Pairs of a point and a pixel that are looked at together.
    """

    def __init__(
        self,
        points: npt.NDArray[np.float32],
        colors: npt.NDArray[np.uint8],
        size: tuple[int, int],
        *,
        radius: float,
        points_per_pixel: int,
        device: Any,
        near_m: float,
        max_candidates: int = MAX_CANDIDATES,
    ) -> None:
        import torch

        self._torch, self._device = torch, torch.device(device)
        self._width, self._height = size
        self._radius, self._num_layers, self._near_m = float(np.float32(radius)), points_per_pixel, near_m
        self._side = int(2 * self._radius) + 1  # pixel centres that a disc can touch in a row
        self._block = max(1, max_candidates // self._side**2)
        columns = np.array(points.T, np.float32, order="C")  # a copy: torch wants arrays that may be written
        self._x, self._y, self._z = torch.from_numpy(columns).to(self._device)
        self._colors = torch.from_numpy(np.array(colors)).to(self._device)

    def draw(
        self,
        matrix: npt.NDArray[np.float32],
        color: npt.NDArray[np.uint8],
        coverage: npt.NDArray[np.uint8],
        nearest_depth: npt.NDArray[np.float32],
    ) -> None:
        """Draw one frame.

        Args:
            matrix: (3, 4) float32, world to pixels times depth.
            color: (H, W, 3) uint8, overwritten.
            coverage: (H, W) uint8, overwritten.
            nearest_depth: (H, W) float32 metres, overwritten.
        """
        torch, shape = self._torch, (self._height, self._width)
        with torch.inference_mode():
            light, layers, depth = self._blank()
            self._composite(self._sorted(matrix), light, layers, depth)
            eight_bit = (light[:, :3] + 1e-4).clamp_(max=255.0).to(torch.uint8)
            covered = ((1.0 - light[:, 3]) * 255.0 + 1e-4).clamp_(max=255.0).to(torch.uint8)
            color[:] = eight_bit.cpu().numpy().reshape(*shape, 3)
            coverage[:] = covered.cpu().numpy().reshape(shape)
            nearest_depth[:] = depth.cpu().numpy().reshape(shape)

    def _blank(self) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """(P, 4) colour so far and what still shines through; (P,) layers so far; (P,) depth, 0 where there is none."""
        torch, num = self._torch, self._width * self._height
        light = torch.zeros(num, 4, device=self._device)
        light[:, 3] = 1.0
        layers = torch.zeros(num, dtype=torch.int32, device=self._device)
        return light, layers, torch.zeros(num, device=self._device)

    def _sorted(self, matrix: npt.NDArray[np.float32]) -> "tuple[torch.Tensor, ...]":
        """Discs that touch the picture, near to far: centre u and v, depth, number of the point.

        Depth is compared in its 25 highest bits, equal ones by number, as the compiled loops do.
        """
        torch, m = self._torch, matrix.tolist()
        d = self._row(m[2])
        w = 1.0 / d
        u, v = self._row(m[0]).mul_(w), self._row(m[1]).mul_(w)
        r = self._radius
        is_seen = (d > self._near_m) & (u > -r) & (u < self._width + r) & (v > -r) & (v < self._height + r)
        index = is_seen.nonzero()[:, 0]
        u, v, d = u[index], v[index], d[index]
        order = torch.sort(d.view(torch.int32) >> 7, stable=True).indices
        return u[order], v[order], d[order], index[order]

    def _row(self, m: list[float]) -> "torch.Tensor":
        """(N,) product of the points with a matrix's row; not a matrix product, which may round to fewer bits."""
        return m[0] * self._x + m[1] * self._y + m[2] * self._z + m[3]

    def _composite(
        self, discs: "tuple[torch.Tensor, ...]", light: "torch.Tensor", layers: "torch.Tensor", depth: "torch.Tensor"
    ) -> None:
        """Lay the discs over each other, front to back, until every pixel has its layers."""
        many = BLOCKS_BETWEEN_LOOKS * self._block
        for start in range(0, len(discs[0]), many):
            window = self._open(tuple(t[start : start + many] for t in discs), layers)
            for first in range(0, len(window[0]), self._block):
                block = tuple(t[first : first + self._block] for t in window)
                if first > 0:
                    block = self._open(block, layers)
                if len(block[0]):
                    self._lay(block, light, layers, depth)

    def _corner(self, center: "torch.Tensor") -> "torch.Tensor":
        """First pixel that each disc may touch in a row or column; may lie outside."""
        return (center - self._radius - 0.5).ceil_().long()

    def _open(self, discs: "tuple[torch.Tensor, ...]", layers: "torch.Tensor") -> "tuple[torch.Tensor, ...]":
        """Without discs of which no pixel lacks a layer, judged by tiles as large as a disc."""
        torch, side = self._torch, self._side
        rows, columns = -(-self._height // side) + 2, -(-self._width // side) + 2  # a tile of margin on every side
        is_open = torch.zeros(rows * side, columns * side, dtype=torch.bool, device=self._device)
        inner = is_open[side : side + self._height, side : side + self._width]
        inner[:] = (layers < self._num_layers).view(self._height, self._width)
        tiles = is_open.view(rows, side, columns, side).any(3).any(1)
        near = torch.zeros(rows + 1, columns + 1, dtype=torch.bool, device=self._device)
        near[:rows, :columns] = tiles
        near = near[:-1, :-1] | near[1:, :-1] | near[:-1, 1:] | near[1:, 1:]  # a disc reaches into the next tiles
        column = (self._corner(discs[0]) + side).clamp_(0).div_(side, rounding_mode="floor").clamp_(max=columns - 1)
        row = (self._corner(discs[1]) + side).clamp_(0).div_(side, rounding_mode="floor").clamp_(max=rows - 1)
        kept = near[row, column].nonzero()[:, 0]
        return tuple(t[kept] for t in discs)

    def _spread(
        self, u: "torch.Tensor", v: "torch.Tensor", layers: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """Candidates, near to far: (C,) pixel, (C,) weight, (C,) row of the disc."""
        torch, side, square = self._torch, self._side, self._radius * self._radius
        reach = torch.arange(side, device=self._device)
        columns, rows = self._corner(u)[:, None] + reach, self._corner(v)[:, None] + reach
        dx, dy = (columns + 0.5).sub_(u[:, None]), (rows + 0.5).sub_(v[:, None])
        inside = (square - dy * dy)[:, :, None] - (dx * dx)[:, None, :]
        x_is_in, y_is_in = (columns >= 0) & (columns < self._width), (rows >= 0) & (rows < self._height)
        touches = (inside > 0) & y_is_in[:, :, None] & x_is_in[:, None, :]
        disc, row, column = touches.nonzero(as_tuple=True)
        pixel = rows[disc, row] * self._width + columns[disc, column]
        lacks = (layers[pixel] < self._num_layers).nonzero()[:, 0]
        weight = inside[disc, row, column] * (1.0 / square)
        return pixel[lacks], weight[lacks], disc[lacks]

    def _lay(
        self, block: "tuple[torch.Tensor, ...]", light: "torch.Tensor", layers: "torch.Tensor", depth: "torch.Tensor"
    ) -> None:
        """Composite one block."""
        u, v, z, index = block
        pixel, weight, disc = self._spread(u, v, layers)
        for at, chosen in self._nearest(pixel, layers):
            w, through = weight[chosen], light[at, 3]
            part = through * w
            light[at, :3] += part[:, None] * self._colors[index[disc[chosen]]]
            light[at, 3] = through * (1.0 - w)
            is_first = (layers[at] == 0).nonzero()[:, 0]
            depth[at[is_first]] = z[disc[chosen[is_first]]]
            layers[at] += 1

    def _nearest(self, pixel: "torch.Tensor", layers: "torch.Tensor") -> "Iterator[tuple[torch.Tensor, torch.Tensor]]":
        """Layer by layer the pixels that get one, and the candidate of each; pixels of a layer differ."""
        torch, nobody = self._torch, len(pixel)
        number = torch.arange(nobody, device=self._device)
        for _ in range(self._num_layers):
            first = torch.full_like(layers, nobody, dtype=torch.int64)
            first.scatter_reduce_(0, pixel, number, "amin")
            at = (first < nobody).nonzero()[:, 0]
            if len(at) == 0:
                return
            yield at, first[at]
            later = ((number > first[pixel]) & (layers[pixel] < self._num_layers)).nonzero()[:, 0]
            pixel, number = pixel[later], number[later]
