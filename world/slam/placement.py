"""Where frames of unknown poses stand, found by corners that they share with views whose depth and pose are known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..transforms import Transform, interpolate
from .features import Corners, depth_at, find_corners, match_corners, solve_pose

KEY_STEP = 4
"""Every so many frames one is looked for; those between move evenly."""
LEAST_INLIERS = 30
LEAST_SHARE = 0.5
"""Share of the looked-for frames that must be found, or the clip is not believed."""


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """A view that is known.

    Attributes:
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres along +Z, 0 unknown.
        pinhole: Intrinsics of both.
        world_T_camera: (4, 4) float64.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    pinhole: Pinhole
    world_T_camera: Transform


@dataclass(frozen=True, slots=True, eq=False)
class PlacedFrames:
    """Poses of a clip's frames, or why they are not known.

    Attributes:
        world_T_camera: (F, 4, 4) float64; identities where nothing was found.
        reason: Why the clip cannot be placed; empty if it can.
        found_share: Share of the looked-for frames that were found.
    """

    world_T_camera: npt.NDArray[np.float64]
    reason: str
    found_share: float


def place_frames(frames: npt.NDArray[np.uint8], pinhole: Pinhole, anchors: Sequence[Anchor]) -> PlacedFrames:
    """Find where frames were taken, from what they show of known views.

    Args:
        frames: (F, H, W, 3) uint8 sRGB of one continuous shot.
        pinhole: Intrinsics of every frame.
        anchors: Views with known depth.

    Returns:
        Poses; frames between two that were found move evenly, those beyond stand with the nearest.
    """
    keys = sorted({*range(0, len(frames), KEY_STEP), len(frames) - 1})
    known = [(anchor, find_corners(anchor.color)) for anchor in anchors]
    found = {k: pose for k in keys if (pose := _pose_of(find_corners(frames[k]), pinhole, known)) is not None}
    share = len(found) / len(keys)
    if share < LEAST_SHARE:
        reason = f"cannot be placed: {len(found)} of {len(keys)} frames show what memory knows"
        return PlacedFrames(np.repeat(np.eye(4)[None], len(frames), 0), reason, share)
    return PlacedFrames(np.stack([_between(found, k) for k in range(len(frames))]), "", share)


def _pose_of(corners: Corners, pinhole: Pinhole, known: Sequence[tuple[Anchor, Corners]]) -> Transform | None:
    """The pose that most corners agree on, or None with too few."""
    best, most = None, LEAST_INLIERS - 1
    for anchor, theirs in known:
        pairs = match_corners(theirs, corners)
        pixels = theirs.pixels[pairs[:, 0]]
        fit = solve_pose(pixels, depth_at(anchor.depth_m, pixels), anchor.pinhole, corners.pixels[pairs[:, 1]], pinhole)
        if fit is not None and fit.num_inliers > most:
            best, most = anchor.world_T_camera @ fit.a_T_b, fit.num_inliers
    return best


def _between(found: dict[int, Transform], k: int) -> Transform:
    before = max((i for i in found if i <= k), default=min(found))
    after = min((i for i in found if i >= k), default=max(found))
    if before >= after:
        return found[before]
    return interpolate(found[before], found[after], (k - before) / (after - before))
