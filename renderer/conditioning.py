"""The generator's own view of memory: soft discs of constant size, five deep, as the video model was trained on.

Follows the point rasteriser of the Spatia release (PyTorch3D): discs of a radius in pixels that does not shrink with
distance, the nearest few of each pixel composited front to back with weight ``1 - d²/r²``, black behind. Coverage is
the same with colour 1. The release scales and shifts the projection a little; models expect it so.

On the processor compiled loops draw, on CUDA ``conditioning_triton`` where Triton is installed (it comes with torch
there), on any other device ``conditioning_torch``.
"""

import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numba import njit

from ..world.camera import Pinhole
from ..world.transforms import invert
from .kernels import OPTIONS

RADIUS_PX = 3.52
"""Radius of a disc at a height of ``RADIUS_HEIGHT``: 0.01 of half the short side."""

RADIUS_HEIGHT = 704

POINTS_PER_PIXEL = 5

NEAR_M = 1e-3
"""Nothing nearer than this is drawn."""

TILE = 8
"""Pixels of a tile; a disc is passed over when its tiles have all their layers."""

f4, i4, u4, u1 = np.float32, np.int32, np.uint32, np.uint8


@dataclass(frozen=True, slots=True, eq=False)
class ConditioningVideo:
    """Memory rendered along a path.

    Attributes:
        color: (F, H, W, 3) uint8 sRGB on black.
        coverage: (F, H, W) uint8, 255 where memory covers the pixel fully.
        nearest_depth: (F, H, W) float32 metres along +Z of the nearest disc, 0 where there is none.
    """

    color: npt.NDArray[np.uint8]
    coverage: npt.NDArray[np.uint8]
    nearest_depth: npt.NDArray[np.float32]


def render_scene_video(
    points_world: npt.NDArray[np.float32],
    colors: npt.NDArray[np.uint8],
    world_T_camera: npt.NDArray[np.float64],
    pinhole: Pinhole,
    *,
    radius_px: float = RADIUS_PX,
    points_per_pixel: int = POINTS_PER_PIXEL,
    release_projection: bool = True,
    device: Any = "cpu",
) -> ConditioningVideo:
    """Render points along a path as a video model's conditioning.

    Args:
        points_world: (N, 3) float32 metres.
        colors: (N, 3) uint8 sRGB.
        world_T_camera: (F, 4, 4) float64 camera poses.
        pinhole: Intrinsics and size of the frames.
        radius_px: Radius of a disc at a height of 704 pixels; scaled with the height.
        points_per_pixel: How many of the nearest discs make a pixel.
        release_projection: Project as the release does; False projects as a pinhole does.
        device: "cpu" or a torch device; see ``SceneDrawer``.

    Raises:
        ValueError: A shape does not fit.
    """
    drawer = SceneDrawer(
        points_world,
        colors,
        pinhole,
        radius_px=radius_px,
        points_per_pixel=points_per_pixel,
        release_projection=release_projection,
        device=device,
    )
    return drawer.draw(world_T_camera)


class SceneDrawer:
    """Draws one cloud along paths; keeps it on the device that draws. Used by one thread.

    Args:
        points_world: (N, 3) float32 metres.
        colors: (N, 3) uint8 sRGB.
        pinhole: Intrinsics and size of the frames.
        radius_px: Radius of a disc at a height of 704 pixels; scaled with the height.
        points_per_pixel: How many of the nearest discs make a pixel.
        release_projection: Project as the release does; False projects as a pinhole does.
        device: A torch device or its name. "cpu" draws by compiled loops, without torch; others by torch,
            CUDA by Triton where that is installed.

    Raises:
        ValueError: A shape does not fit.
    """

    def __init__(
        self,
        points_world: npt.NDArray[np.float32],
        colors: npt.NDArray[np.uint8],
        pinhole: Pinhole,
        *,
        radius_px: float = RADIUS_PX,
        points_per_pixel: int = POINTS_PER_PIXEL,
        release_projection: bool = True,
        device: Any = "cpu",
    ) -> None:
        points = np.ascontiguousarray(points_world, np.float32)
        if points.ndim != 2 or points.shape[1] != 3 or colors.shape != points.shape or colors.dtype != np.uint8:
            got = f"{points.shape} and {colors.shape} {colors.dtype}"
            raise ValueError(f"points and colours: expected (N, 3) each, colours uint8, got {got}")
        if points_per_pixel < 1 or not radius_px > 0:
            got = f"{points_per_pixel}, {radius_px}"
            raise ValueError(f"expected 1 or more points per pixel and a radius > 0, got {got}")
        self._pinhole = pinhole
        self._matrix = _release_matrix(pinhole) if release_projection else pinhole.matrix
        radius = radius_px * pinhole.height / RADIUS_HEIGHT
        self._raster = _raster_on(device, points, colors, pinhole, radius, points_per_pixel)

    def draw(self, world_T_camera: npt.NDArray[np.float64]) -> ConditioningVideo:
        """Draw a path.

        Args:
            world_T_camera: (F, 4, 4) float64 camera poses.

        Raises:
            ValueError: The shape does not fit.
        """
        poses = np.asarray(world_T_camera, np.float64)
        if poses.ndim != 3 or poses.shape[1:] != (4, 4):
            raise ValueError(f"world_T_camera: expected (F, 4, 4), got {poses.shape}")
        shape = (len(poses), self._pinhole.height, self._pinhole.width)
        color, depth = np.empty((*shape, 3), np.uint8), np.empty(shape, np.float32)
        video = ConditioningVideo(color, np.empty(shape, np.uint8), depth)
        for k, camera_T_world in enumerate(invert(poses)):
            m = (self._matrix @ camera_T_world[:3]).astype(np.float32)
            self._raster.draw(m, video.color[k], video.coverage[k], video.nearest_depth[k])
        return video


class _AnyRaster(Protocol):
    def draw(
        self,
        matrix: npt.NDArray[np.float32],
        color: npt.NDArray[np.uint8],
        coverage: npt.NDArray[np.uint8],
        nearest_depth: npt.NDArray[np.float32],
    ) -> None: ...


def _raster_on(
    device: Any,
    points: npt.NDArray[np.float32],
    colors: npt.NDArray[np.uint8],
    pinhole: Pinhole,
    radius: float,
    points_per_pixel: int,
) -> _AnyRaster:
    """The raster of a device."""
    if str(device) == "cpu":
        return _Raster(points, colors, pinhole, radius, points_per_pixel)
    if str(device).startswith("cuda") and importlib.util.find_spec("triton") is not None:
        from .conditioning_triton import TritonRaster as Raster
    else:
        from .conditioning_torch import TorchRaster as Raster
    return Raster(
        points, colors, pinhole.size, radius=radius, points_per_pixel=points_per_pixel, device=device, near_m=NEAR_M
    )


def _release_matrix(pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """Camera matrix that lands where the release draws.

    The release hands pixel intrinsics to a rasteriser that reads them over ``s - 1``, s the short side, with the
    principal point's sign turned: ``u = W / 2 + s / (s - 1) * (fx X / Z - (cx - (W - 1) / 2))``.
    """
    short = min(pinhole.width, pinhole.height)
    k = short / max(short - 1, 1)
    out = np.eye(3)
    out[0, 0], out[1, 1] = k * pinhole.fx, k * pinhole.fy
    out[0, 2] = pinhole.width / 2 - k * (pinhole.cx - (pinhole.width - 1) / 2)
    out[1, 2] = pinhole.height / 2 - k * (pinhole.cy - (pinhole.height - 1) / 2)
    return out


class _Raster:
    """A cloud, buffers for one picture size, and the steps of drawing one frame by compiled loops."""

    def __init__(
        self,
        points: npt.NDArray[np.float32],
        colors: npt.NDArray[np.uint8],
        pinhole: Pinhole,
        radius: float,
        points_per_pixel: int,
    ) -> None:
        (width, height), num_points = pinhole.size, len(points)
        self._points = points.view()
        self._points.flags.writeable = False  # one compiled version for arrays of either kind
        self._colors = np.ascontiguousarray(colors, np.float32)
        self._radius, self._num_layers = np.float32(radius), points_per_pixel
        self._size = (width, height)
        self._us, self._vs, self._zs = (np.empty(num_points, np.float32) for _ in range(3))
        self._index, self._order, self._spare = (np.empty(num_points, np.uint32) for _ in range(3))
        self._keys, self._spare_keys = np.empty(num_points, np.uint32), np.empty(num_points, np.uint32)
        self._light = np.empty((height, width, 4), np.float32)
        self._layers = np.empty((height, width), np.uint8)
        self._depth = np.empty((height, width), np.float32)
        self._full = np.empty((-(-height // TILE), -(-width // TILE)), np.uint8)

    def draw(
        self,
        matrix: npt.NDArray[np.float32],
        color: npt.NDArray[np.uint8],
        coverage: npt.NDArray[np.uint8],
        nearest_depth: npt.NDArray[np.float32],
    ) -> None:
        """Draw one frame, truncated to 8 bits as the release does; see ``TorchRaster.draw``."""
        self._composite(matrix)
        _truncate(self._light, color, coverage)
        nearest_depth[:] = self._depth

    def _composite(self, matrix: npt.NDArray[np.float32]) -> None:
        """Lay the discs over each other, front to back."""
        width, height = self._size
        num = _project(
            self._points, matrix, width, height, self._radius, self._us, self._vs, self._zs, self._index, self._keys
        )
        _sort(self._keys[:num], self._order[:num], self._spare_keys[:num], self._spare[:num])
        self._light[..., :3], self._light[..., 3] = 0.0, 1.0
        self._layers.fill(0)
        self._depth.fill(0)
        self._full.fill(0)
        _composite(
            self._order[:num], self._us, self._vs, self._zs, self._index, self._colors, self._radius,
            self._num_layers, self._light, self._layers, self._depth, self._full,
        )  # fmt: skip


@njit(**OPTIONS)
def _project(points, m, width, height, radius, us, vs, zs, index, keys):
    """Discs that touch the picture: centre, depth, number of the point, and depth as a 24-bit sort key.

    Returns:
        How many.
    """
    u_end, v_end = f4(width) + radius, f4(height) + radius
    n = 0
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        d = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        if d <= f4(NEAR_M):
            continue
        w = f4(1) / d
        u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) * w
        v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) * w
        if u > -radius and u < u_end and v > -radius and v < v_end:
            us[n], vs[n], zs[n], index[n] = u, v, d, i
            n += 1
    bits = zs.view(np.uint32)
    for i in range(n):
        keys[i] = bits[i] >> u4(7)
    return n


@njit(**OPTIONS)
def _sort(keys, order, spare_keys, spare):
    """Stable radix sort of 25-bit keys in two passes; ``order`` gets the places, near to far."""
    n = keys.shape[0]
    for digit in range(2):
        shift = u4(0) if digit == 0 else u4(12)
        starts = np.zeros(8193, np.int64)
        for i in range(n):
            starts[((keys[i] >> shift) & u4(8191 if digit else 4095)) + u4(1)] += 1
        for k in range(8192):
            starts[k + 1] += starts[k]
        for i in range(n):
            bucket = (keys[i] >> shift) & u4(8191 if digit else 4095)
            to = starts[bucket]
            starts[bucket] += 1
            spare_keys[to] = keys[i]
            spare[to] = u4(i) if digit == 0 else order[i]
        for i in range(n):
            keys[i] = spare_keys[i]
            order[i] = spare[i]


@njit(**OPTIONS)
def _composite(order, us, vs, zs, index, colors, radius, depth_layers, light, layers, depth, full):
    """Lay discs over each other, front to back, until a pixel has its number of layers.

    Args:
        order: Near to far.
        us, vs, zs, index: As ``_project`` gives them.
        colors: (N, 3) float32, 0..255.
        radius: Pixels.
        depth_layers: Layers of a pixel.
        light: (H, W, 4) float32: colour so far, and what still shines through.
        layers: (H, W) uint8 discs so far.
        depth: (H, W) float32, 0 where there is none.
        full: Tiles of ``TILE`` pixels: pixels that have all their layers.
    """
    height, width = layers.shape
    inverse_square = f4(1) / (radius * radius)
    square = radius * radius
    for k in range(order.shape[0]):
        a = order[k]
        u, v = us[a], vs[a]
        top = max(i4(np.ceil(v - radius - f4(0.5))), i4(0))
        bottom = min(i4(np.floor(v + radius - f4(0.5))), i4(height - 1))
        left = max(i4(np.ceil(u - radius - f4(0.5))), i4(0))
        right = min(i4(np.floor(u + radius - f4(0.5))), i4(width - 1))
        if top > bottom or left > right:
            continue
        is_full = True
        for tj in range(top // TILE, bottom // TILE + 1):
            rows = min(TILE, height - tj * TILE)
            for ti in range(left // TILE, right // TILE + 1):
                is_full = is_full and full[tj, ti] == rows * min(TILE, width - ti * TILE)
        if is_full:
            continue
        p = index[a]
        red, green, blue = colors[p, 0], colors[p, 1], colors[p, 2]
        for j in range(top, bottom + 1):
            dy = f4(j) + f4(0.5) - v
            rest = square - dy * dy
            for i in range(left, right + 1):
                dx = f4(i) + f4(0.5) - u
                inside = rest - dx * dx
                if inside <= f4(0) or layers[j, i] >= depth_layers:
                    continue
                w = inside * inverse_square
                t = light[j, i, 3]
                light[j, i, 0] += t * w * red
                light[j, i, 1] += t * w * green
                light[j, i, 2] += t * w * blue
                light[j, i, 3] = t * (f4(1) - w)
                if layers[j, i] == 0:
                    depth[j, i] = zs[a]
                layers[j, i] += u1(1)
                if layers[j, i] == depth_layers:
                    full[j // TILE, i // TILE] += u1(1)


@njit(**OPTIONS)
def _truncate(light, color, coverage):
    for j in range(light.shape[0]):
        for i in range(light.shape[1]):
            for c in range(3):
                color[j, i, c] = u1(min(light[j, i, c] + f4(1e-4), f4(255)))
            coverage[j, i] = u1(min((f4(1) - light[j, i, 3]) * f4(255) + f4(1e-4), f4(255)))
