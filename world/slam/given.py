"""Depth that came along: recordings, photos with depth, generators that know their geometry."""

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from .estimators import FrameStack, GeometryEstimate

SAME_SURFACE = 0.02
"""Relative depth difference up to which neighbouring pixels lie on one surface."""
MIN_NEIGHBOURS, NUM_NEIGHBOURS = 10, 24
"""A pixel with fewer of its 5x5 neighbours on its surface flies between two surfaces."""
MAX_STEEPNESS = 0.2
"""Relative change of inverse depth from pixel to pixel up to which a steep plane is still a surface."""
EDGE_STEP = 0.05
TRUSTED_RANGE_M = 4.0
"""Range at which confidence falls to a half: the noise of depth cameras and stereo grows with the square of range."""


class GivenDepth:
    """The estimator for frames whose depth came along: cleans it and says how far each pixel can be trusted."""

    name = "given"
    uses_all_frames = False

    def estimate(self, frames: FrameStack, memory: MemorySnapshot) -> GeometryEstimate:
        """Drop unknown and flying pixels, derive confidence.

        Raises:
            ValueError: The frames have no depth.
        """
        if frames.depth_m is None:
            raise ValueError("estimator given: expected frames with depth, got none; use diorama for a lone photo")
        depth = np.zeros(frames.depth_m.shape, np.float32)
        confidence = np.zeros_like(depth)
        unknown = flying = 0
        for k in range(len(frames)):
            known = clean_depth(frames.depth_m[k])
            depth[k] = np.where(find_flying(known), np.float32(0), known)
            unknown += int((known == 0).sum())
            flying += int(((known > 0) & (depth[k] == 0)).sum())
            confidence[k] = depth_confidence(depth[k], frames.pinhole)
            if frames.confidence is not None:
                confidence[k] *= np.clip(np.nan_to_num(frames.confidence[k]), 0.0, 1.0)
        tests = {"unknown_share": unknown / depth.size, "flying_share": flying / depth.size}
        return GeometryEstimate(depth, confidence, frames.world_T_camera, 1.0, tests)


def clean_depth(depth_m: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """(H, W) float32 with 0 for everything that is not a finite positive depth. Fresh memory."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, 0).astype(np.float32)


def find_flying(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Find pixels that lie between two surfaces, as lenses, filters and resampling leave them along edges.

    A pixel flies if fewer than 10 of its 24 neighbours (in proportion at the picture's border) have its depth within
    2 %, unless it continues a steep plane: planes are linear in inverse depth.

    Args:
        depth_m: (H, W) float32, 0 unknown.

    Returns:
        (H, W) bool, False where depth is unknown.
    """
    h, w = depth_m.shape
    padded = np.pad(depth_m, 2)
    inside = np.pad(np.ones((h, w), np.uint8), 2)
    near, neighbours = np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8)
    tolerance = SAME_SURFACE * depth_m
    for dy in range(5):
        for dx in range(5):
            if (dy, dx) != (2, 2):
                near += np.abs(padded[dy : dy + h, dx : dx + w] - depth_m) <= tolerance
                neighbours += inside[dy : dy + h, dx : dx + w]
    few = near.astype(np.uint16) * NUM_NEIGHBOURS < MIN_NEIGHBOURS * neighbours.astype(np.uint16)
    return (depth_m > 0) & few & ~_on_steep_plane(depth_m)


def _on_steep_plane(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """True where inverse depth goes on linearly over 5 pixels down and across; a step between surfaces does not."""
    inverse = np.where(depth_m > 0, 1.0 / np.maximum(depth_m, 1e-6), np.nan)
    return (depth_m > 0) & _is_straight_down(inverse) & _is_straight_down(inverse.T).T


def _is_straight_down(inverse: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """The same down the columns; the outermost two rows are judged by the third."""
    if len(inverse) < 5:
        return np.zeros(inverse.shape, bool)
    centre = inverse[2:-2]
    one, two = inverse[3:-1] - inverse[1:-3], inverse[4:] - inverse[:-4]
    bend = np.abs(inverse[3:-1] + inverse[1:-3] - 2 * centre)
    with np.errstate(invalid="ignore"):
        straight = np.abs(two - 2 * one) <= 0.25 * np.abs(two) + 0.01 * centre
        straight &= bend <= 0.1 * np.abs(one) + 0.005 * centre
        straight &= np.abs(one) <= 2 * MAX_STEEPNESS * centre
    return np.pad(straight, ((2, 2), (0, 0)), mode="edge")


def depth_confidence(depth_m: npt.NDArray[np.float32], pinhole: Pinhole) -> npt.NDArray[np.float32]:
    """How far each depth can be trusted: less at grazing angles, beside depth edges, and far away.

    Args:
        depth_m: (H, W) float32, 0 unknown.
        pinhole: Its intrinsics.

    Returns:
        (H, W) float32 in [0, 1], 0 where depth is unknown.
    """
    known = depth_m > 0
    points = pinhole.rays() * depth_m[..., None]
    normal, smooth = surface_normals(points, known)
    distance = np.maximum(np.linalg.norm(points, axis=2), 1e-6)
    cosine = np.abs(np.einsum("hwc,hwc->hw", normal, points)) / distance
    grazing = np.where(smooth, np.clip(cosine / 0.5, 0.15, 1.0), 0.4)
    far = 1.0 / (1.0 + (depth_m / TRUSTED_RANGE_M) ** 2)
    return np.where(known, np.maximum(grazing * far, 0.02), 0.0).astype(np.float32)


def surface_normals(
    points: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Normals of an image of points by central differences.

    Args:
        points: (H, W, 3) camera-frame points.
        known: (H, W) bool, where they are known.

    Returns:
        (H, W, 3) float32 unit normals (zero where there is none), and (H, W) bool where all four neighbours are known
        and on the same surface.
    """
    h, w = known.shape
    normal, smooth = np.zeros((h, w, 3), np.float32), np.zeros((h, w), bool)
    if h < 3 or w < 3:
        return normal, smooth
    across = points[1:-1, 2:] - points[1:-1, :-2]
    down = points[2:, 1:-1] - points[:-2, 1:-1]
    cross = np.cross(down, across)
    length = np.linalg.norm(cross, axis=2)
    z = points[..., 2]
    limit = EDGE_STEP * 2 * z[1:-1, 1:-1]
    ok = known[1:-1, 2:] & known[1:-1, :-2] & known[2:, 1:-1] & known[:-2, 1:-1] & known[1:-1, 1:-1]
    ok &= (np.abs(across[..., 2]) < limit) & (np.abs(down[..., 2]) < limit) & (length > 0)
    normal[1:-1, 1:-1] = np.where(ok[..., None], cross / np.maximum(length, 1e-20)[..., None], 0)
    smooth[1:-1, 1:-1] = ok
    return normal, smooth
