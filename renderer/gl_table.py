"""Chunks on their way to the vertex shader: packed points, and a table with a slot for each chunk."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.transforms import Transform
from . import shaders
from .extract import ExtractedChunk

NEAR_M = 0.02
"""Nothing nearer than this is drawn."""

FADE_S = 0.2
"""New surface is blended in over this time."""

MAX_SLOTS = 1 << 20
"""Chunks that a vertex can name."""

NEAREST = (0x2600, 0x2600)
"""GL_NEAREST for both filters."""

_SLOT = np.dtype(
    [
        ("count", np.int64),
        ("first", np.int64),
        ("origin", np.float64, 3),
        ("low", np.float64, 3),
        ("high", np.float64, 3),
        ("step", np.float64),
        ("spacing", np.float64),
        ("arrival_s", np.float64),
    ]
)


class ChunkTable:
    """What the vertex shader and culling know of each slot.

    Attributes:
        slots: Structured array, one entry a slot; count 0 where it is empty.
        texture: The same relative to the last camera, two texels a slot.

    Args:
        ctx: ModernGL context.
    """

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self.slots = np.zeros(0, _SLOT)
        self.texture: Any = None
        self._grow(shaders.TABLE_WIDTH)

    def _grow(self, num: int) -> None:
        slots = np.zeros(num, _SLOT)
        slots[: len(self.slots)] = self.slots
        self.slots = slots
        self._texels = np.zeros((num, 8), np.float32)
        if self.texture is not None:
            self.texture.release()
        self.texture = self._ctx.texture((2 * shaders.TABLE_WIDTH, num // shaders.TABLE_WIDTH), 4, dtype="f4")
        self.texture.filter = NEAREST

    def set(self, index: int, chunk: ExtractedChunk, *, first: int, arrival_s: float) -> None:
        """Describe the chunk in a slot, whose points begin at ``first``."""
        while index >= len(self.slots):
            self._grow(2 * len(self.slots))
        self.slots[index] = (
            chunk.num_points,
            first,
            chunk.origin_world,
            chunk.low_world,
            chunk.high_world,
            chunk.step_m,
            chunk.spacing_m * (1 << chunk.level),
            arrival_s,
        )

    def clear(self, index: int) -> None:
        """Empty a slot."""
        self.slots[index]["count"] = 0

    def upload(self, world_T_camera: Transform, now_s: float | None) -> None:
        """Write the slots for a camera: origins relative to it in float64, so that far worlds do not tremble."""
        taken = np.flatnonzero(self.slots["count"])
        used = int(taken[-1]) + 1 if len(taken) else 0
        slots, t = self.slots[:used], self._texels
        t[:used, :3] = (slots["origin"] - world_T_camera[:3, 3]) @ world_T_camera[:3, :3]
        t[:used, 3] = slots["step"]
        t[:used, 4] = slots["spacing"]
        t[:used, 5] = 0.0 if now_s is None else np.clip(1.0 - (now_s - slots["arrival_s"]) / FADE_S, 0.0, 1.0)
        rows = max(1, -(-used // shaders.TABLE_WIDTH))
        block = t[: rows * shaders.TABLE_WIDTH]
        self.texture.write(block, viewport=(0, 0, 2 * shaders.TABLE_WIDTH, rows))

    def visible(self, world_T_camera: Transform, pinhole: Pinhole) -> tuple[npt.NDArray[np.int64], float]:
        """Slots whose box meets the frustum, nearest first, and a depth beyond all of them."""
        used = np.flatnonzero(self.slots["count"])
        low, high = self.slots["low"][used], self.slots["high"][used]
        rotation, position = world_T_camera[:3, :3], world_T_camera[:3, 3]
        centre = ((low + high) / 2.0 - position) @ rotation
        half = (high - low) / 2.0
        depth = centre[:, 2] + half @ np.abs(rotation[:, 2])
        inside = depth > NEAR_M
        for normal in _frustum_normals(pinhole):
            reach = half @ np.abs(rotation @ normal)
            inside &= centre @ normal + reach >= -self.slots["spacing"][used]
        order = np.argsort((centre**2).sum(1)[inside], kind="stable")
        far_m = float(depth[inside].max(initial=1.0))
        return used[inside][order], far_m * 1.01 + 0.01

    def centres(self, world_T_camera: Transform, pinhole: Pinhole, limit: int = 96) -> npt.NDArray[np.float64]:
        """(N, 3) world points that stand for the surface in view: middles of up to ``limit`` chunks in the frustum."""
        order, _ = self.visible(world_T_camera, pinhole)
        order = order[:: max(1, -(-len(order) // limit))]
        middle = (self.slots["low"][order] + self.slots["high"][order]) / 2.0
        pixels, depth = pinhole.project(middle, world_T_camera)
        inside = (depth > NEAR_M) & (pixels >= 0).all(1) & (pixels < pinhole.size).all(1)
        return middle[inside] if inside.any() else middle

    def release(self) -> None:
        """Free the texture."""
        self.texture.release()


def _frustum_normals(pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """(4, 3) inward unit normals of the frustum's sides in the camera's frame."""
    left, right = -pinhole.cx / pinhole.fx, (pinhole.width - pinhole.cx) / pinhole.fx
    top, bottom = -pinhole.cy / pinhole.fy, (pinhole.height - pinhole.cy) / pinhole.fy
    normals = np.array([[1, 0, -left], [-1, 0, right], [0, 1, -top], [0, -1, bottom]], np.float64)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def pack_points(extracted: ExtractedChunk, slot: int) -> npt.NDArray[np.uint16]:
    """A chunk's points as the vertex shader reads them.

    Args:
        extracted: The chunk.
        slot: Its place in the chunk table, below ``MAX_SLOTS``.

    Returns:
        (N, 6) uint16: x, y, z in the chunk with slot bits 16 and up on top of y and z, slot bits below 16, then red,
        green, blue and priority as four bytes. Fresh memory.
    """
    out = np.empty((extracted.num_points, 6), np.uint16)
    out[:, :3] = extracted.local_q8
    out[:, 1] |= np.uint16((slot >> 16 & 3) << 14)
    out[:, 2] |= np.uint16((slot >> 18 & 3) << 14)
    out[:, 3] = slot & 0xFFFF
    word = extracted.color_rgba & np.uint32(0xFFFFFF) | extracted.priority.astype(np.uint32) << np.uint32(24)
    out[:, 4:] = word.astype("<u4").view(np.uint16).reshape(-1, 2)
    return out


def is_fresh(codes: npt.NDArray[np.uint32], known: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Which of the rising codes are not among the known rising ones."""
    if len(known) == 0:
        return np.ones(len(codes), np.bool_)
    at = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return known[at] != codes
