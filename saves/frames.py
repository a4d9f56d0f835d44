"""What a source gives: frames with their cameras, read when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.points import PointBatch
from ..world.transforms import Transform


@dataclass(frozen=True, slots=True, eq=False)
class SourceFrame:
    """One picture of a source. Arrays are read-only.

    Attributes:
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres along +Z, 0 unknown, or None where the source has no depth.
        pinhole: Intrinsics in pixels of this picture.
        world_T_camera: (4, 4) float64, OpenCV axes.
        moving: (H, W) bool, True where something moves, or None.
        confidence: (H, W) float32 in [0, 1], how far the depth can be trusted, or None.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32] | None
    pinhole: Pinhole
    world_T_camera: Transform
    moving: npt.NDArray[np.bool_] | None = None
    confidence: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for array in (self.color, self.depth_m, self.world_T_camera, self.moving, self.confidence):
            if array is not None:
                array.flags.writeable = False


class LazyFrames(Sequence[SourceFrame]):
    """Frames that are decoded each time they are asked for, so that a long recording needs no memory.

    Args:
        loaders: One function for each frame; it may raise ``SourceError``.
    """

    def __init__(self, loaders: Sequence[Callable[[], SourceFrame]]) -> None:
        self._loaders = tuple(loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    @overload
    def __getitem__(self, index: int) -> SourceFrame: ...

    @overload
    def __getitem__(self, index: slice) -> "LazyFrames": ...

    def __getitem__(self, index: int | slice) -> "SourceFrame | LazyFrames":
        if isinstance(index, slice):
            return LazyFrames(self._loaders[index])
        return self._loaders[index]()


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Something that a world can start from.

    Attributes:
        name: Short name, from the file's or folder's name.
        kind: "photo", "7scenes", "redwood", "tum", "video", "pictures" or "points".
        frames: The pictures, in order; empty for a point cloud. A recording's are read when they are asked for.
        metric: True if lengths are metres, False if they are only up to scale.
        note: What was assumed, in words for the user; empty if nothing.
        points: A point cloud's points, otherwise None.
        has_poses: False for a recording without them: its frames' poses are the identity and must be found first.
        has_estimated_depth: True where the depth was found from the pictures, not measured.
        place: Name of the procedural place that it pictures, such as "rooms:7:day"; empty for anything else.
    """

    name: str
    kind: str
    frames: Sequence[SourceFrame]
    metric: bool
    note: str = ""
    points: PointBatch | None = field(default=None)
    has_poses: bool = True
    has_estimated_depth: bool = False
    place: str = ""
