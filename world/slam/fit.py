"""How a clip's frames lie on memory: poses, and what moves, each found with the help of the other."""

import numpy as np
import numpy.typing as npt

from ..memory import MemorySnapshot
from ..transforms import invert
from .alignment import Alignment, align_to_memory, align_together
from .estimators import FrameStack, GeometryEstimate
from .motion_masks import Motion, find_motion, no_motion

MAX_TRANSLATION_M, MAX_ROTATION_RAD = 0.15, float(np.deg2rad(6.0))
"""Alignment converges from here; a clip that is farther off shows another place."""
MAX_REJECTED_SHARE = 0.5
"""If more of a clip's frames do not fit memory, none is merged."""
MAX_FOUND_SHARE = 0.7
"""If more of a frame stands in front of memory, it is not what moves: the frame shows another place."""


def settle_motion(
    frames: FrameStack,
    estimate: GeometryEstimate,
    moving: npt.NDArray[np.bool_],
    memory: MemorySnapshot,
    *,
    align: bool,
    looks: bool,
) -> tuple[Motion, list[Alignment]]:
    """Find masks of what moves, and poses.

    What stands far in front of memory is left out of the first alignment, unless it is so much that the frame may as
    well show another place; after it, what stands a little in front counts too.

    Args:
        frames: The clip.
        estimate: Its depth and poses.
        moving: (F, H, W) bool, what is known to move.
        memory: What the clip must fit.
        align: Correct the poses.
        looks: Look for what moves.

    Returns:
        What was found to move, and how each frame lies on memory.
    """
    unmoved = [Alignment(pose) for pose in estimate.world_T_camera]
    if not looks:
        return no_motion(moving.shape), align_frames(frames, estimate, moving, memory) if align else unmoved
    pinhole, asked = frames.pinhole, estimate.world_T_camera
    alignments = unmoved
    if align:
        coarse = find_motion(estimate.depth_m, pinhole, asked, memory, is_coarse=True).by_space
        known = np.maximum((estimate.depth_m > 0).mean(axis=(1, 2)), 1e-6)
        is_too_much = (coarse & (estimate.depth_m > 0)).mean(axis=(1, 2)) > MAX_FOUND_SHARE * known
        coarse[is_too_much] = False
        alignments = align_frames(frames, estimate, moving | coarse, memory)
    poses = np.stack([a.world_T_camera for a in alignments])
    found = find_motion(estimate.depth_m, pinhole, poses, memory, color=frames.color)
    return found.where(np.array([not a.rejected for a in alignments])), alignments


def why_all_moves(estimate: GeometryEstimate, found: npt.NDArray[np.bool_]) -> str:
    """Say why a clip is not believed in which nearly everything would have to move; empty if it is."""
    known = estimate.depth_m > 0
    share = float((found & known).sum() / max(known.sum(), 1))
    if share <= MAX_FOUND_SHARE:
        return ""
    return f"does not fit memory: {share:.0%} of it would have to move, more than {MAX_FOUND_SHARE:.0%}"


def align_frames(
    frames: FrameStack, estimate: GeometryEstimate, moving: npt.NDArray[np.bool_], memory: MemorySnapshot
) -> list[Alignment]:
    """Align each frame by what stands still and is not new.

    Frames whose poses were found together are moved together, since noise leads each another way; those that alone
    would not fit stay rejected.
    """
    trusted = ~moving if frames.new_surface is None else ~moving & ~frames.new_surface
    confidence = np.where(trusted, estimate.confidence, np.float32(0))
    if estimate.poses_fit_together:
        return align_together(
            estimate.depth_m,
            confidence,
            frames.pinhole,
            estimate.world_T_camera,
            memory,
            max_translation_m=MAX_TRANSLATION_M,
            max_rotation_rad=MAX_ROTATION_RAD,
        )
    return [
        align_to_memory(
            estimate.depth_m[k],
            confidence[k],
            frames.pinhole,
            estimate.world_T_camera[k],
            memory,
            max_translation_m=MAX_TRANSLATION_M,
            max_rotation_rad=MAX_ROTATION_RAD,
        )
        for k in range(len(frames))
    ]


def settle_poses(alignments: list[Alignment], asked: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], str]:
    """Poses of the lifted frames and, if too many do not fit, why all is rejected.

    A frame that memory says nothing about, or that is left out, takes the correction of the nearest frame that has one.
    """
    bad = [a for a in alignments if a.rejected]
    if len(bad) > MAX_REJECTED_SHARE * len(alignments):
        return asked, f"{bad[0].rejected} ({len(bad)} of {len(alignments)} frames)"
    poses = np.stack([a.world_T_camera for a in alignments])
    firm = [k for k, a in enumerate(alignments) if np.isfinite(a.residual) and not a.rejected]
    for k, a in enumerate(alignments):
        if firm and (a.rejected or not np.isfinite(a.residual)):
            near = min(firm, key=lambda j: abs(j - k))
            poses[k] = poses[near] @ invert(asked[near]) @ asked[k]
    return poses, ""
