"""The invented surface of a whole place, and how its views are drawn for a generator's key views."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from ...world.camera import Pinhole
from ...world.memory import MemorySnapshot
from ...world.transforms import Transform, invert
from ..requests import Progress, ReferenceFrame

NEAREST_DRAWN_M = 0.05
"""Points nearer to the camera than this are not drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaceModel:
    """Invented surface of a whole place, in the world frame. Arrays are read-only.

    Attributes:
        kind: "room" (closed box) or "outdoor".
        positions_world: (N, 3) float32 metres.
        colors: (N, 3) uint8 sRGB.
        spacing_m: (N,) float32, distance to neighbouring points of the same surface, for drawing.
        world_T_room: (4, 4) float64, from the place's own level axes (y down along gravity, walls along x and z).
        inside_low: (3,) low corner, in room axes, of the walkable inside: the inner faces of what stands at the walls.
        inside_high: (3,) its high corner; y is the floor.
    """

    kind: str
    positions_world: npt.NDArray[np.float32]
    colors: npt.NDArray[np.uint8]
    spacing_m: npt.NDArray[np.float32]
    world_T_room: Transform
    inside_low: npt.NDArray[np.float64]
    inside_high: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.positions_world)
        expected = {
            "positions_world": ((n, 3), np.float32),
            "colors": ((n, 3), np.uint8),
            "spacing_m": ((n,), np.float32),
            "world_T_room": ((4, 4), np.float64),
            "inside_low": ((3,), np.float64),
            "inside_high": ((3,), np.float64),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"{name}: expected {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}")
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.positions_world)


def model_place(
    references: Sequence[ReferenceFrame],
    memory: MemorySnapshot,
    *,
    up_world: npt.ArrayLike,
    floor: tuple[float, float, float, float] | None,
    seed: int,
    progress: Progress,
) -> PlaceModel | None:
    """Close the place around what is known: a room with relief walls, floor and ceiling.

    Args:
        references: Photos with depth, best first; the widest-known one gives walls and floor their looks.
        memory: What is known; invented points in it are passed over.
        up_world: (3,) direction away from gravity.
        floor: Plane n·x + d = 0 with n upwards, or None to fit one.
        seed: Same seed and input, same model.
        progress: Told about each step; its cancellation passes through.

    Returns:
        The room, or None where no floor or no wall is found.
    """
    from .room import close_room  # late: it pulls in SciPy's image filters

    return close_room(references, memory, up_world=up_world, floor=floor, seed=seed, progress=progress)


def render_place(
    model: PlaceModel, pinhole: Pinhole, world_T_camera: Transform, supersample: int = 2
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Draw the model as squares of the points' spacing.

    Args:
        model: What to draw.
        pinhole: Camera of the picture.
        world_T_camera: (4, 4) pose.
        supersample: Subpixels a side; their mean is the pixel's colour, the nearest is its depth.

    Returns:
        (H, W, 3) uint8 colour and (H, W) float32 depth along +Z in metres, 0 where nothing is. Fresh memory.
    """
    big = pinhole.resized(pinhole.width * supersample, pinhole.height * supersample)
    camera_T_world = invert(world_T_camera)
    z_buffer = np.full((big.height, big.width), np.inf, np.float32)
    picture = np.zeros((big.height, big.width, 3), np.uint8)
    _draw_squares(
        model.positions_world,
        model.colors,
        model.spacing_m,
        camera_T_world,
        np.array([big.fx, big.fy, big.cx, big.cy]),
        z_buffer,
        picture,
    )
    return _shrink(picture, z_buffer, supersample)


def _shrink(
    picture: npt.NDArray[np.uint8], z_buffer: npt.NDArray[np.float32], supersample: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Average the drawn subpixels of every pixel."""
    h, w = z_buffer.shape[0] // supersample, z_buffer.shape[1] // supersample
    blocks = z_buffer.reshape(h, supersample, w, supersample)
    drawn = np.isfinite(blocks).sum((1, 3))
    total = picture.reshape(h, supersample, w, supersample, 3).sum((1, 3), dtype=np.uint32)
    color = (total + drawn[..., None] // 2) // np.maximum(drawn, 1)[..., None]
    nearest = blocks.min((1, 3))
    return color.astype(np.uint8), np.where(np.isfinite(nearest), nearest, 0.0).astype(np.float32)


@njit(cache=True, nogil=True)
def _draw_squares(positions, colors, spacing, camera_T_world, lens, z_buffer, picture):
    """Nearest point wins; a square reaches 0.62 of the spacing and at least 0.75 subpixels from its centre."""
    height, width = z_buffer.shape
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    m = camera_T_world
    for i in range(len(positions)):
        x, y, z = positions[i, 0], positions[i, 1], positions[i, 2]
        depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        if depth < NEAREST_DRAWN_M:
            continue
        u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) * fx / depth + cx - 0.5
        v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) * fy / depth + cy - 0.5
        reach = max(0.75, 0.62 * spacing[i] * fx / depth)
        if u < -reach or v < -reach or u > width - 1 + reach or v > height - 1 + reach:
            continue
        x0, x1 = max(int(np.ceil(u - reach)), 0), min(int(np.floor(u + reach)), width - 1)
        y0, y1 = max(int(np.ceil(v - reach)), 0), min(int(np.floor(v + reach)), height - 1)
        for row in range(y0, y1 + 1):
            for column in range(x0, x1 + 1):
                if depth < z_buffer[row, column]:
                    z_buffer[row, column] = depth
                    picture[row, column, 0] = colors[i, 0]
                    picture[row, column, 1] = colors[i, 1]
                    picture[row, column, 2] = colors[i, 2]
