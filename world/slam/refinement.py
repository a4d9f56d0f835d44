"""Depth made finer than the planes it was swept at: pictures at full size compared a little before and behind it."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..transforms import invert
from .sweep import MIDDLE_GRAY, OUTSIDE, UNSEEN_COST, GrayView, window_sum

RADIUS, FLATNESS = 3, 4.0
COARSE_STEP, FINE_STEP = 0.02, 0.008
"""Depth is compared this share nearer and farther, and moved by at most as much."""
COARSE_LEAST = 0.6
"""The coarse step moves what is off by more than this share of it; the fine one places the rest better."""
SMOOTHED_PX = 7
"""Corrections are averaged over so many pixels, as far as these have one."""
MIN_BEND = 0.01
"""Pixels whose costs bend less from step to step say nothing about their depth."""
MAX_COST = 0.5


def refine_depth(
    reference: GrayView, others: Sequence[GrayView], depth_m: npt.NDArray[np.float32], *, is_coarse: bool = False
) -> npt.NDArray[np.float32]:
    """Move depth to where other views agree best with a picture, each window on the surface that the depth shows.

    Zero-mean normalised cross-correlation as in the sweep, but at full size and along slanted surfaces; a parabola
    through three costs, averaged over a few pixels.

    Args:
        reference: The view whose depth it is.
        others: Views that see the same surface.
        depth_m: (H, W) float32 metres along +Z, 0 unknown, right within a per cent or so.
        is_coarse: Look farther, and move only what is clearly off.

    Returns:
        (H, W) float32, known where it was. Fresh memory.
    """
    known = depth_m > 0
    if not others or not known.any():
        return depth_m.copy()
    step = np.float32(COARSE_STEP if is_coarse else FINE_STEP)
    offset = _offset(reference, others, depth_m, float(step))
    if is_coarse:
        offset = np.where(np.abs(offset) > COARSE_LEAST, offset, np.float32(0))
    return np.where(known, depth_m * (1 + step * offset), 0).astype(np.float32)


def _offset(
    reference: GrayView, others: Sequence[GrayView], depth_m: npt.NDArray[np.float32], step: float
) -> npt.NDArray[np.float32]:
    """(H, W) float32 where between one step nearer (-1) and one farther (1) the pictures agree best."""
    known = depth_m > 0
    nearer, middle, farther = _costs(reference, others, depth_m, step)
    bend = nearer + farther - 2 * middle
    says = known & (bend > MIN_BEND) & (np.minimum(np.minimum(nearer, farther), middle) < MAX_COST)
    offset = np.clip(0.5 * (nearer - farther) / np.maximum(bend, np.float32(MIN_BEND)), -1, 1)
    weight = np.where(says, bend, np.float32(0))
    size = (SMOOTHED_PX, SMOOTHED_PX)
    total = cv2.blur(weight, size)
    return np.where(total > 1e-6, cv2.blur(weight * offset, size) / np.maximum(total, 1e-6), np.float32(0))


def _costs(
    reference: GrayView, others: Sequence[GrayView], depth_m: npt.NDArray[np.float32], step: float
) -> list[npt.NDArray[np.float32]]:
    """(H, W) cost one step nearer, at the depth, and one step farther."""
    from . import sweep_kernels as kernels  # imports Numba, which takes most of a second

    gray = np.asarray(reference.gray - np.float32(MIDDLE_GRAY), np.float32)
    counts = window_sum(np.ones_like(gray), RADIUS)
    mean = window_sum(gray, RADIUS) / counts
    variance = np.maximum(window_sum(np.square(gray), RADIUS) / counts - mean * mean, 0)
    limits = (RADIUS, np.float32(FLATNESS), np.float32(UNSEEN_COST))
    first = [np.full_like(gray, kernels.FAR_AWAY) for _ in range(3)]
    second = [np.full_like(gray, kernels.FAR_AWAY) for _ in range(3)]
    inverse = 1 / np.maximum(depth_m, np.float32(1e-3))
    camera = np.array(
        [reference.pinhole.fx, reference.pinhole.fy, reference.pinhole.cx, reference.pinhole.cy], np.float32
    )
    u, v = np.empty_like(gray), np.empty_like(gray)
    for other in others:
        other_T_reference = (invert(other.world_T_camera) @ reference.world_T_camera).astype(np.float32)
        picture = np.asarray(other.gray - np.float32(MIDDLE_GRAY), np.float32)
        for i, factor in enumerate((1 - step, 1.0, 1 + step)):
            kernels.project(inverse, np.float32(factor), camera, other_T_reference, u, v)
            warped = cv2.remap(picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(OUTSIDE,))
            kernels.compare(gray, mean, variance, 1 / counts, warped, *limits, first[i], second[i])
    out = [np.empty_like(gray) for _ in range(3)]
    for i in range(3):
        kernels.mean_of_best(first[i], second[i], out[i])
    return out
