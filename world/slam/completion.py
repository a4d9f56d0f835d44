"""Fill the holes in a photo's measured depth, so that the photo shows all of its pixels."""

import cv2
import numpy as np
import numpy.typing as npt

FAR_SIDE = 0.9
"""Surfaces at this share of the far one's depth belong to the far side: holes are shadows of what stands in front."""
REACH_PX = 3
COLOR_SPREAD = 20.0
RIM_PX = 3.0
"""So near an edge, what has no neighbour's colour is a mixture of two surfaces; it stays unknown."""
"""Difference in Lab beyond which a neighbour's colour speaks against a common surface."""


def complete_depth(depth_m: npt.NDArray[np.float32], color: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Fill unknown depth: beside known pixels by the neighbour of the same colour, elsewhere from the far side.

    Along edges the colour tells to which of two surfaces a pixel belongs; a pixel of the near one on the far one would
    leave a ghost of the edge. What a stereo pair or depth camera cannot see otherwise lies mostly in the shadow of
    something nearer, hence on the surface behind.

    Args:
        depth_m: (H, W) float32, 0 unknown.
        color: (H, W, 3) uint8 sRGB.

    Returns:
        (H, W) float32; known pixels as they were, others filled, except mixed ones along edges, which stay 0. All 0 if
        nothing is known. Fresh memory.
    """
    known = depth_m > 0
    if not known.any() or known.all():
        return depth_m.copy()
    filled = np.where(known, depth_m, _same_color_neighbour(depth_m, color))
    inside = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5) > RIM_PX
    return np.where((filled <= 0) & inside, _from_far_side(depth_m), filled).astype(np.float32)


def _same_color_neighbour(depth_m: npt.NDArray[np.float32], color: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(H, W) depth of the near-by known pixel that is most alike, for unknown pixels; 0 where none is alike."""
    lab = cv2.cvtColor(color, cv2.COLOR_RGB2LAB).astype(np.float32)
    padded_depth = np.pad(depth_m, REACH_PX)
    padded_lab = np.pad(lab, ((REACH_PX, REACH_PX), (REACH_PX, REACH_PX), (0, 0)))
    rows, columns = np.nonzero(depth_m <= 0)
    mine = lab[rows, columns]
    best = np.full(len(rows), 1.0, np.float32)
    found = np.zeros(len(rows), np.float32)
    for dy in range(2 * REACH_PX + 1):
        for dx in range(2 * REACH_PX + 1):
            z = padded_depth[rows + dy, columns + dx]
            difference = ((padded_lab[rows + dy, columns + dx] - mine) ** 2).sum(axis=1) / COLOR_SPREAD**2
            away = ((dy - REACH_PX) ** 2 + (dx - REACH_PX) ** 2) / (2 * REACH_PX) ** 2
            better = (z > 0) & (difference + away < best)
            best[better], found[better] = (difference + away)[better], z[better]
    result = np.zeros(depth_m.shape, np.float32)
    result[rows, columns] = found
    return result


def _from_far_side(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W) depth by the known pixels up, down, left and right, the far ones only."""
    known = depth_m > 0
    weight_sum = np.zeros(depth_m.shape, np.float32)
    inverse_sum = np.zeros(depth_m.shape, np.float32)
    ends = [last_known(depth_m, axis, is_backward) for is_backward in (False, True) for axis in (0, 1)]
    far = np.max([depth for depth, _ in ends], axis=0)
    for depth, distance in ends:
        weight = np.where((depth > 0) & (depth >= FAR_SIDE * far), 1.0 / distance**2, 0.0).astype(np.float32)
        weight_sum += weight
        inverse_sum += weight / np.maximum(depth, 1e-6)
    filled = np.where(known, depth_m, np.where(weight_sum > 0, weight_sum / np.maximum(inverse_sum, 1e-12), 0))
    return _smooth_holes(filled.astype(np.float32), known)


def last_known(
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
