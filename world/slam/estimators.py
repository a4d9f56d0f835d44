"""Geometry estimators: how depth and poses of a clip's frames are found, behind one interface.

An estimator is chosen by name; ``world.slots`` tells how further ones register.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..slots import ESTIMATORS
from ..transforms import as_rigid


@dataclass(frozen=True, slots=True, eq=False)
class FrameStack:
    """Frames of one clip, photo or recording, on their way into the map. Arrays become read-only.

    Attributes:
        color: (F, H, W, 3) uint8 sRGB.
        depth_m: (F, H, W) float32 metres along +Z, or None; 0, negative and not finite mean unknown.
        confidence: (F, H, W) float32 in [0, 1], how far the depth can be trusted, or None.
        moving: (F, H, W) bool, True where something moves, or None.
        new_surface: (F, H, W) bool, True where the frames show what memory lacks, or None.
        world_T_camera: (F, 4, 4) float64 poses that the frames were asked for or recorded at.
        pinhole: Intrinsics of every frame.
        is_exact: Color and depth are those of one place that does not change.

    Raises:
        ValueError: A shape or dtype does not fit the others, or a pose is not rigid.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32] | None
    confidence: npt.NDArray[np.float32] | None
    moving: npt.NDArray[np.bool_] | None
    new_surface: npt.NDArray[np.bool_] | None
    world_T_camera: npt.NDArray[np.float64]
    pinhole: Pinhole
    is_exact: bool = False

    def __post_init__(self) -> None:
        image = (len(self.color), self.pinhole.height, self.pinhole.width)
        if len(self.color) == 0:
            raise ValueError("frames: expected at least one frame, got none")
        _check_array("color", self.color, (*image, 3), np.uint8)
        for name, dtype in (
            ("depth_m", np.float32),
            ("confidence", np.float32),
            ("moving", np.bool_),
            ("new_surface", np.bool_),
        ):
            if getattr(self, name) is not None:
                _check_array(name, getattr(self, name), image, dtype)
        _check_array("world_T_camera", self.world_T_camera, (len(self.color), 4, 4), np.float64)
        for k, pose in enumerate(self.world_T_camera):
            as_rigid(pose, f"frames: pose {k}")
        for name in ("color", "depth_m", "confidence", "moving", "new_surface", "world_T_camera"):
            if getattr(self, name) is not None:
                getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.color)


def _check_array(name: str, array: npt.NDArray, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    if array.shape != shape or array.dtype != dtype:
        wanted = f"{shape} {np.dtype(dtype)}"
        raise ValueError(f"frames: {name}: expected {wanted} for this camera, got {array.shape} {array.dtype}")


@dataclass(frozen=True, slots=True, eq=False)
class HiddenLayer:
    """Surface behind what a frame shows, as far as its estimator knows of any, such as sky behind roofs.

    Attributes:
        frame_index: The frame from which it is seen.
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres along +Z, behind the frame's own; 0 where there is nothing.
    """

    frame_index: int
    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class GeometryEstimate:
    """Depth and poses of a clip's frames.

    Attributes:
        depth_m: (F, H, W) float32 metres along +Z, 0 unknown.
        confidence: (F, H, W) float32 in [0, 1], 0 where the depth is unknown.
        world_T_camera: (F, 4, 4) float64 poses, refined or as they came.
        scale: Factor that was applied to the estimator's own depth.
        tests: Named figures, such as which test rejected what share of the pixels.
        is_metric: False where the scale is a guess.
        sees_free_space: True where the depth is evidence enough that what lies in front of it is free.
        layers: Further surface that the frames hide.
        is_up_to_scale: True if the depth must be brought to memory's scale first, as that of one picture at a time.
        poses_fit_together: True if the poses were found by what the frames share: one motion lays them all on memory.
    """

    depth_m: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    world_T_camera: npt.NDArray[np.float64]
    scale: float = 1.0
    tests: dict[str, float] = field(default_factory=dict)
    is_metric: bool = True
    sees_free_space: bool = True
    layers: tuple[HiddenLayer, ...] = ()
    is_up_to_scale: bool = False
    poses_fit_together: bool = False


class GeometryEstimator(Protocol):
    """Finds depth and poses of frames. Lives where the clip is lifted (worker or loader); used by one thread."""

    name: str
    uses_all_frames: bool
    """False if each frame is estimated alone, so that only those that are lifted need be."""

    def estimate(self, frames: FrameStack, memory: MemorySnapshot) -> GeometryEstimate:
        """Estimate a clip's geometry.

        Args:
            frames: What is known of the frames.
            memory: What the world holds already, for estimators that lean on it.

        Raises:
            ValueError: The frames lack what this estimator needs.
        """
        ...


def make_estimator(name: str) -> GeometryEstimator:
    """Make the estimator of a name.

    Args:
        name: One of ``world.slots.ESTIMATORS.names()``, or ``module:Class``.

    Raises:
        ValueError: No estimator has this name; the message lists those that there are.
        MissingLibraryError: It needs a library that is not installed.
    """
    return ESTIMATORS.make(name)
