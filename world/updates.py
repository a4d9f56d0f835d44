"""What a clip proposes to memory, and what came of it."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .camera import Pinhole
from .keyframes import Keyframe
from .moving_views import MovingView
from .points import PointBatch
from .transforms import Transform


@dataclass(frozen=True, slots=True, eq=False)
class DepthView:
    """A depth image with its camera: what it sees, and the free space in front of it.

    Attributes:
        depth_m: (H, W) float32 metres along +Z; 0 unknown (nothing is known about the ray).
        pinhole: Intrinsics of the depth image.
        world_T_camera: (4, 4) float64 pose.
        priority: ``priority_of`` the view; it carves only points of the same or a lower priority.
    """

    depth_m: npt.NDArray[np.float32]
    pinhole: Pinhole
    world_T_camera: Transform
    priority: int


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """Measured facts of one update; stands in the journal and in ``report.json``.

    Attributes:
        estimator: Name of the geometry estimator.
        rejected: Why nothing was merged, empty if it was.
        pose_correction_m: Largest translation that alignment applied, metres.
        pose_correction_rad: Largest rotation that alignment applied.
        scale: Factor applied to the clip's depth.
        residual: Median relative depth error on co-visible surface after alignment; NaN without overlap.
        covisible_share: Share of the clip's surface that memory held already.
        moving_share: Share of pixels masked as moving.
        added, refreshed, replaced, outranked, removed: Voxels, as in ``MergeReport``.
        tests: Further named figures, such as which test rejected how much.
    """

    estimator: str
    rejected: str = ""
    pose_correction_m: float = 0.0
    pose_correction_rad: float = 0.0
    scale: float = 1.0
    residual: float = float("nan")
    covisible_share: float = 0.0
    moving_share: float = 0.0
    added: int = 0
    refreshed: int = 0
    replaced: int = 0
    outranked: int = 0
    removed: int = 0
    tests: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class MapUpdate:
    """Points, free space and keyframes that a clip proposes. Made in the worker, merged by the session's thread.

    Attributes:
        points: New points in the world frame.
        free_space: Depth views whose rays are known to be free up to their surface.
        keyframes: Candidates for the ``FrameBank``.
        world_T_camera: (F, 4, 4) float64 refined poses of the clip's frames.
        report: Facts measured so far; the merge adds its counts.
        withdrawn: Depth of surface in frames before the clip that turned out to move; invented points there go first.
        moving_before: What moves in those frames; keyframes that were kept of them take it into their masks.
    """

    points: PointBatch
    free_space: tuple[DepthView, ...]
    keyframes: tuple[Keyframe, ...]
    world_T_camera: npt.NDArray[np.float64]
    report: UpdateReport
    withdrawn: tuple[DepthView, ...] = ()
    moving_before: tuple[MovingView, ...] = ()
