"""Points with their origin: what a clip adds to memory, and what a query gives back."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

MAX_RANK = 63
MAX_WEIGHT = 15
"""Confidence of a single point is 1..15, so that 32-bit sums hold a million points of one voxel."""


class PointClass(IntEnum):
    """Where a point comes from; a lower class never changes a higher one."""

    INVENTED = 1
    ESTIMATED = 2
    OBSERVED = 3


def priority_of(point_class: PointClass, rank: int = 0) -> int:
    """Class and generator rank as the one byte that decides which point wins.

    Args:
        point_class: Observed by a sensor or photo, estimated, or invented.
        rank: 0..63, of the generator that invented it; placeholders low, trained models high.

    Returns:
        ``class << 6 | rank``, in 64..255; 0 is kept for "nothing".
    """
    if not 0 <= rank <= MAX_RANK:
        raise ValueError(f"rank: expected 0..{MAX_RANK}, got {rank}")
    return int(point_class) << 6 | rank


def class_of(priority: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The class (1 invented, 2 estimated, 3 observed) of each priority byte."""
    return priority >> np.uint8(6)


@dataclass(frozen=True, slots=True)
class PointBatch:
    """Points on their way into memory, or copied out of it. Arrays are read-only.

    Attributes:
        positions_world: (N, 3) float32, metres.
        colors: (N, 3) uint8 sRGB.
        weights: (N,) uint8, confidence 1..15 (a copy out of memory saturates at 255).
        priority: (N,) uint8, ``priority_of`` class and rank.
        keyframe: (N,) uint32, identity of the keyframe that the point was seen in.
    """

    positions_world: npt.NDArray[np.float32]
    colors: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.uint8]
    priority: npt.NDArray[np.uint8]
    keyframe: npt.NDArray[np.uint32]

    def __post_init__(self) -> None:
        n = len(self.positions_world)
        expected = {
            "positions_world": ((n, 3), np.float32),
            "colors": ((n, 3), np.uint8),
            "weights": ((n,), np.uint8),
            "priority": ((n,), np.uint8),
            "keyframe": ((n,), np.uint32),
        }
        for name, (shape, dtype) in expected.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                wanted = f"{shape} {np.dtype(dtype)}"
                raise ValueError(f"{name}: expected {wanted}, got {array.shape} {array.dtype}")
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.positions_world)

    @classmethod
    def uniform(
        cls,
        positions_world: npt.NDArray[np.float32],
        colors: npt.NDArray[np.uint8],
        *,
        priority: int,
        keyframe: int,
        weights: npt.NDArray[np.uint8] | int = 1,
    ) -> "PointBatch":
        """Points that share their origin. Takes over the arrays."""
        n = len(positions_world)
        w = np.full(n, weights, np.uint8) if isinstance(weights, int) else weights
        return cls(positions_world, colors, w, np.full(n, priority, np.uint8), np.full(n, keyframe, np.uint32))

    @classmethod
    def empty(cls) -> "PointBatch":
        """No points."""
        return cls.uniform(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), priority=64, keyframe=0)

    @classmethod
    def concatenate(cls, batches: "list[PointBatch]") -> "PointBatch":
        """All points of several batches, in order. Fresh memory."""
        if not batches:
            return cls.empty()
        names = ("positions_world", "colors", "weights", "priority", "keyframe")
        return cls(*(np.concatenate([getattr(b, n) for b in batches]) for n in names))
