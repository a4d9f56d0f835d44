"""Depth seen from the colour camera that stands beside the depth camera."""

import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.transforms import Transform, apply, as_rigid

SEVEN_SCENES_DEPTH = Pinhole(640, 480, 585.0, 585.0, 320.0, 240.0)
SEVEN_SCENES_COLOR = Pinhole(640, 480, 525.0, 525.0, 320.0, 240.0)
SEVEN_SCENES_COLOR_T_DEPTH: Transform = as_rigid(
    [
        [0.99996518, 0.00267651, -0.00790410, -0.02555894],
        [-0.00274093, 0.99996303, -0.00815045, 0.00010110],
        [0.00788198, 0.00817183, 0.99993554, 0.00203183],
    ]
)
"""The sensor that recorded 7-Scenes: its colour camera stands 2.5 cm beside the depth camera and sees a wider picture.
Published with the localisation benchmarks that use the data set."""


def is_seven_scenes_depth(pinhole: Pinhole) -> bool:
    """Whether a recording's intrinsics are those of the 7-Scenes depth camera, to a pixel."""
    ours, theirs = SEVEN_SCENES_DEPTH, pinhole
    a, b = (ours.fx, ours.fy, ours.cx, ours.cy), (theirs.fx, theirs.fy, theirs.cx, theirs.cy)
    return ours.size == theirs.size and bool(np.abs(np.subtract(a, b)).max() <= 1.0)


def register_depth(
    depth_m: npt.NDArray[np.float32], depth_pinhole: Pinhole, color_T_depth: Transform, color_pinhole: Pinhole
) -> npt.NDArray[np.float32]:
    """Move a depth image into the colour camera.

    Args:
        depth_m: (H, W) float32 metres, 0 unknown.
        depth_pinhole: Its intrinsics.
        color_T_depth: (4, 4) pose of the depth camera in the colour camera.
        color_pinhole: Intrinsics and size of the result.

    Returns:
        (H, W) float32 metres of the nearest surface at each pixel, 0 where none falls. Fresh memory.
    """
    known = depth_m > 0
    points = apply(color_T_depth, (depth_pinhole.rays()[known] * depth_m[known][:, None]).astype(np.float64))
    points = points[points[:, 2] > 0.05]
    u = np.floor(color_pinhole.fx * points[:, 0] / points[:, 2] + color_pinhole.cx).astype(np.int64)
    v = np.floor(color_pinhole.fy * points[:, 1] / points[:, 2] + color_pinhole.cy).astype(np.int64)
    inside = (u >= 0) & (v >= 0) & (u < color_pinhole.width) & (v < color_pinhole.height)
    u, v, z = u[inside], v[inside], points[inside, 2].astype(np.float32)
    far_first = np.argsort(-z, kind="stable")
    out = np.zeros((color_pinhole.height, color_pinhole.width), np.float32)
    out[v[far_first], u[far_first]] = z[far_first]
    return out
