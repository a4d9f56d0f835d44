"""Fill the holes in a photo's measured depth from the far side, so that the photo shows all of its pixels."""

import cv2
import numpy as np
import numpy.typing as npt

FAR_SIDE = 0.9
"""Surfaces at this share of the far one's depth belong to the far side: holes are shadows of what stands in front."""


def complete_depth(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fill unknown depth from the known pixels up, down, left and right, the far ones only.

    What a stereo pair or depth camera cannot see lies mostly in the shadow of something nearer, hence on the surface
    behind.

    Args:
        depth_m: (H, W) float32, 0 unknown.

    Returns:
        (H, W) float32; known pixels as they were, all others filled. All 0 if nothing is known.
    """
    known = depth_m > 0
    if not known.any() or known.all():
        return depth_m.copy()
    weight_sum = np.zeros(depth_m.shape, np.float32)
    inverse_sum = np.zeros(depth_m.shape, np.float32)
    ends = [_last_known(depth_m, axis, is_backward) for is_backward in (False, True) for axis in (0, 1)]
    far = np.max([depth for depth, _ in ends], axis=0)
    for depth, distance in ends:
        weight = np.where((depth > 0) & (depth >= FAR_SIDE * far), 1.0 / distance**2, 0.0).astype(np.float32)
        weight_sum += weight
        inverse_sum += weight / np.maximum(depth, 1e-6)
    filled = np.where(known, depth_m, np.where(weight_sum > 0, weight_sum / np.maximum(inverse_sum, 1e-12), 0))
    return _smooth_holes(filled.astype(np.float32), known)


def _last_known(
    depth_m: npt.NDArray[np.float32], axis: int, is_backward: bool
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Depth of the last known pixel before each along an axis (0 where there is none), and how many pixels ago."""
    image = depth_m if axis == 0 else depth_m.T
    image = image[::-1] if is_backward else image
    rows = np.arange(len(image))[:, None]
    last = np.maximum.accumulate(np.where(image > 0, rows, -1), axis=0)
    depth = np.where(last >= 0, np.take_along_axis(image, np.maximum(last, 0), axis=0), 0)
    distance = np.where(last >= 0, np.maximum(rows - last, 1), 1).astype(np.float32)
    if is_backward:
        depth, distance = depth[::-1], distance[::-1]
    return (depth, distance) if axis == 0 else (depth.T, distance.T)


def _smooth_holes(depth_m: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Take the streaks out of what was filled: median, then a small blur inside the holes; nothing else changes."""
    missing = depth_m <= 0  # pixels whose row and column know nothing
    if missing.any():
        depth_m = np.where(missing, np.float32(np.median(depth_m[known])), depth_m)
    smooth = cv2.medianBlur(depth_m, 5)
    smooth = np.where(known, depth_m, smooth)
    hole = (~known).astype(np.float32)
    weight = cv2.blur(hole, (5, 5))
    blurred = cv2.blur(smooth * hole, (5, 5)) / np.maximum(weight, 1e-6)
    return np.where(known, depth_m, blurred).astype(np.float32)
