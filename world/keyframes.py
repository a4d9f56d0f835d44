"""Keyframes: frames kept with their pose and intrinsics, candidates for references and for drawing."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .camera import Pinhole
from .points import PointClass
from .transforms import Transform


@dataclass(frozen=True, slots=True, eq=False)
class Keyframe:
    """A frame that memory keeps.

    Attributes:
        keyframe_id: Identity, 1 or more; points carry it as their provenance. 0 means none.
        request_id: The clip request that made it; 0 for a source's own frames.
        color: (H, W, 3) uint8 sRGB, read-only.
        pinhole: Intrinsics in pixels of this image.
        world_T_camera: (4, 4) float64 pose, OpenCV axes.
        point_class: Observed, estimated or invented.
        rank: Rank of the generator that invented it, 0 otherwise.
        depth_m: (H, W) float32 metres along +Z, 0 unknown, or None where it is not kept.
        moving: (H, W) bool, True where something moves, or None.
        prompt: The words that it was generated with.
        tick: Simulation tick of its merge.
    """

    keyframe_id: int
    request_id: int
    color: npt.NDArray[np.uint8]
    pinhole: Pinhole
    world_T_camera: Transform
    point_class: PointClass
    rank: int = 0
    depth_m: npt.NDArray[np.float32] | None = None
    moving: npt.NDArray[np.bool_] | None = None
    prompt: str = ""
    tick: int = 0

    def __post_init__(self) -> None:
        expected = (self.pinhole.height, self.pinhole.width, 3)
        if self.color.shape != expected or self.color.dtype != np.uint8:
            raise ValueError(f"keyframe colour: expected {expected} uint8, got {self.color.shape} {self.color.dtype}")
        for name in ("depth_m", "moving"):
            array = getattr(self, name)
            if array is not None and array.shape != expected[:2]:
                raise ValueError(f"keyframe {name}: expected {expected[:2]}, got {array.shape}")
        for array in (self.color, self.depth_m, self.moving, self.world_T_camera):
            if array is not None:
                array.flags.writeable = False
