"""Whether a clip that lies badly on memory would lie well with another focal length: then its intrinsics are wrong."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from .alignment import JUDGED_OVERLAP, Alignment, align_to_memory
from .estimators import GeometryEstimate

FACTORS = (0.7, 0.77, 0.83, 0.91, 1.1, 1.2, 1.3, 1.43)
"""Focal lengths that are tried, over the one that is said."""
SUSPECT_SHARE = 0.88
"""A frame of which a larger share of what memory shows lies within 3 % of it fits, and nothing is tried."""
MAX_FRAMES = 3
LEAST_GAIN = 0.08
"""Another focal length must explain this much more of what memory shows."""
LEAST_FIT = 0.8
"""And this share of it at least: what fits with no focal length shows another place."""
SMALLER_RESIDUAL = 0.6
ANY_M, ANY_RAD = 10.0, float(np.pi)


def estimate_focal(
    estimate: GeometryEstimate,
    moving: npt.NDArray[np.bool_],
    found: npt.NDArray[np.bool_],
    pinhole: Pinhole,
    alignments: list[Alignment],
    memory: MemorySnapshot,
) -> float:
    """Factor on the focal length with which a clip would fit memory; 1 where the one it has is not evidently wrong.

    Only frames that fit badly are tried, each with some other focal lengths: depth is laid on memory anew with each.
    A factor counts if it explains clearly more of the frame, with clearly smaller errors, in all frames tried.

    Args:
        estimate: Depth and poses.
        moving: (F, H, W) bool, what is known to move, to leave out.
        found: (F, H, W) bool, what else was found to move: it may be what does not fit.
        pinhole: Intrinsics as they are said to be.
        alignments: How each frame lies on memory with those.
        memory: Memory.
    """
    shown = [k for k, a in enumerate(alignments) if a.overlap_share >= JUDGED_OVERLAP]
    known = np.maximum((estimate.depth_m > 0).sum(axis=(1, 2)), 1)
    still = 1 - (found & (estimate.depth_m > 0)).sum(axis=(1, 2)) / known
    bad = [k for k in shown if _share(alignments[k]) * still[k] < SUSPECT_SHARE]
    if not bad or 2 * len(bad) < len(shown):
        return 1.0
    tried = bad[:: max(1, len(bad) // MAX_FRAMES)][:MAX_FRAMES]
    factors = [_best_factor(k, estimate, moving, pinhole, memory) for k in tried]
    if 1.0 in factors or max(factors) / min(factors) > FACTORS[-1] / FACTORS[-3]:
        return 1.0
    return float(np.median(factors))


def why_focal(factor: float) -> str:
    """Say why a clip is not believed that fits memory with another focal length only; empty if the factor is 1."""
    if factor == 1.0:
        return ""
    return f"does not fit memory: wrong intrinsics, it fits with a focal length {factor:.2f} times as long"


def _share(alignment: Alignment) -> float:
    """Share of what memory shows of a frame that lies within 3 % of it."""
    return alignment.covisible_share / max(alignment.overlap_share, 1e-6)


def _best_factor(
    k: int,
    estimate: GeometryEstimate,
    moving: npt.NDArray[np.bool_],
    pinhole: Pinhole,
    memory: MemorySnapshot,
) -> float:
    confidence = np.where(moving[k], np.float32(0), estimate.confidence[k])
    fits = {}
    for factor in (1.0, *FACTORS):
        other = replace(pinhole, fx=factor * pinhole.fx, fy=factor * pinhole.fy)
        fits[factor] = align_to_memory(
            estimate.depth_m[k],
            confidence,
            other,
            estimate.world_T_camera[k],
            memory,
            max_translation_m=ANY_M,
            max_rotation_rad=ANY_RAD,
        )
    best = max(FACTORS, key=lambda f: _share(fits[f]))
    own, other = fits[1.0], fits[best]
    is_better = _share(other) > max(LEAST_FIT, _share(own) + LEAST_GAIN)
    is_better &= other.residual < SMALLER_RESIDUAL * own.residual and other.correction_m <= own.correction_m
    return best if is_better else 1.0
