"""Corners of pictures, matched between two of them, and the pose that follows from the depth of one."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..transforms import Transform, invert

MAX_CORNERS = 2500
FAST_THRESHOLD = 7
BINARY_BYTES = 32
OFFERED_CORNERS, CELLS_ACROSS = 5, 24
"""Corners that are spread evenly are chosen from so many times their number, by cells of this share of the width."""
BLOB_CONTRAST = 0.02
RATIO = 0.8
"""A match counts if the second best is this much worse (Lowe's test)."""
PATCH_PX, MAX_SHIFT_PX = 9, 3.0
"""Matches are placed by patches of this size; those that go farther from where they were found are no matches."""
MIN_STEP_PX, MAX_STEPS = 0.01, 20
MAX_REPROJECTION_PX_AT_640 = 3.0
MIN_INLIERS = 15
MAX_STEP_M = 3.0
"""RANSAC can return poses kilometres away with many inliers; two views of one place are nearer than this."""
RANSAC_ROUNDS = 600
RANSAC_CONFIDENCE = 0.999


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """Corners of one picture.

    Attributes:
        pixels: (N, 2) float32 positions, pixel centres at +0.5.
        descriptors: (N, 32) uint8 binary descriptors (ORB), or (N, 128) uint8 histograms of gradients (SIFT).
    """

    pixels: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True, eq=False)
class RelativePose:
    """Where a camera stands relative to another, found by matches.

    Attributes:
        a_T_b: (4, 4) pose of camera b in camera a.
        num_inliers: Matches that agree with it.
        num_matches: Matches with a depth.
        error_px: Median reprojection error of the inliers.
        inliers: (num_inliers,) rows of the matches that agree.
    """

    a_T_b: Transform
    num_inliers: int
    num_matches: int
    error_px: float
    inliers: npt.NDArray[np.intp]


def find_corners(
    color: npt.NDArray[np.uint8], ignore: npt.NDArray[np.bool_] | None = None, max_corners: int = MAX_CORNERS
) -> Corners:
    """Find a picture's corners.

    Args:
        color: (H, W, 3) uint8 sRGB.
        ignore: (H, W) bool, True where none is wanted, as on what moves.
        max_corners: At most so many, the strongest.
    """
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    mask = None if ignore is None else (~ignore).astype(np.uint8)
    detector = cv2.ORB.create(max_corners, fastThreshold=FAST_THRESHOLD)
    keypoints, descriptors = detector.detectAndCompute(gray, mask)
    if descriptors is None or len(keypoints) == 0:
        return Corners(np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8))
    places = np.asarray(cv2.KeyPoint.convert(keypoints), np.float32).reshape(-1, 2) + np.float32(0.5)
    return Corners(places, np.asarray(descriptors, np.uint8))


def find_even_corners(
    color: npt.NDArray[np.uint8], ignore: npt.NDArray[np.bool_] | None = None, max_corners: int = MAX_CORNERS
) -> Corners:
    """Find a picture's corners, the strongest of each part of it: those of all would crowd where contrast is highest.

    Args:
        color: (H, W, 3) uint8 sRGB.
        ignore: (H, W) bool, True where none is wanted.
        max_corners: At most so many.
    """
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    mask = None if ignore is None else (~ignore).astype(np.uint8)
    detector = cv2.ORB.create(OFFERED_CORNERS * max_corners, fastThreshold=FAST_THRESHOLD)
    offered = list(detector.detect(gray, mask))
    if not offered:
        return Corners(np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8))
    places = np.asarray(cv2.KeyPoint.convert(offered), np.float32).reshape(-1, 2)
    strength = np.array([k.response for k in offered])
    chosen = spread_evenly(places, strength, gray.shape[1] / CELLS_ACROSS, max_corners)
    keypoints, descriptors = detector.compute(gray, [offered[i] for i in chosen])
    if descriptors is None or len(keypoints) == 0:
        return Corners(np.empty((0, 2), np.float32), np.empty((0, 32), np.uint8))
    places = np.asarray(cv2.KeyPoint.convert(keypoints), np.float32).reshape(-1, 2) + np.float32(0.5)
    return Corners(places, np.asarray(descriptors, np.uint8))


def spread_evenly(
    places: npt.NDArray[np.float32], strength: npt.NDArray[np.floating], cell_px: float, count: int
) -> npt.NDArray[np.intp]:
    """Rows of (N, 2) places, the strongest of each cell first, then the second strongest of each, and so on.

    Args:
        places: (N, 2) pixel positions.
        strength: (N,) larger is better.
        cell_px: Side of a cell.
        count: At most so many rows.
    """
    column, row = np.floor(places / cell_px).astype(np.int64).T
    cell = row * (int(column.max(initial=0)) + 1) + column
    order = np.lexsort((-strength, cell))
    _, starts, sizes = np.unique(cell[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, sizes)
    return order[np.lexsort((-strength[order], rank))][:count]


def find_blobs(
    color: npt.NDArray[np.uint8], ignore: npt.NDArray[np.bool_] | None = None, max_blobs: int = MAX_CORNERS
) -> Corners:
    """Find a picture's blobs (SIFT): placed to a third of a corner's error, in several times its time.

    Args:
        color: (H, W, 3) uint8 sRGB.
        ignore: (H, W) bool, True where none is wanted.
        max_blobs: At most so many, the strongest.
    """
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    mask = None if ignore is None else (~ignore).astype(np.uint8)
    detector = cv2.SIFT.create(max_blobs, contrastThreshold=BLOB_CONTRAST)
    keypoints, descriptors = detector.detectAndCompute(gray, mask)
    if descriptors is None or len(keypoints) == 0:
        return Corners(np.empty((0, 2), np.float32), np.empty((0, 128), np.uint8))
    places = np.asarray(cv2.KeyPoint.convert(keypoints), np.float32).reshape(-1, 2) + np.float32(0.5)
    return Corners(places, np.asarray(descriptors).astype(np.uint8))


def match_corners(a: Corners, b: Corners) -> npt.NDArray[np.intp]:
    """(M, 2) indices into a and b of matches that are distinct and mutual."""
    if len(a) < 2 or len(b) < 2:
        return np.empty((0, 2), np.intp)
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING if a.descriptors.shape[1] == BINARY_BYTES else cv2.NORM_L2)
    pairs = matcher.knnMatch(a.descriptors, b.descriptors, 2)
    distinct = [p[0] for p in pairs if len(p) == 2 and p[0].distance < RATIO * p[1].distance]
    if not distinct:
        return np.empty((0, 2), np.intp)
    there = np.array([(m.queryIdx, m.trainIdx) for m in distinct], np.intp)
    asked = np.unique(there[:, 1])
    back = np.full(len(b), -1)
    back[asked] = [m.trainIdx for m in matcher.match(b.descriptors[asked], a.descriptors)]
    return there[back[there[:, 1]] == there[:, 0]]


def place_matches(
    gray: npt.NDArray[np.uint8],
    other_gray: npt.NDArray[np.uint8],
    pixels: npt.NDArray[np.float32],
    other_pixels: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Move matches to where the pictures around them agree best (Lucas and Kanade, 1981).

    Args:
        gray, other_gray: (H, W) uint8 pictures.
        pixels: (N, 2) float32 positions in the first.
        other_pixels: (N, 2) float32 where they were found in the other, to a few pixels.

    Returns:
        (N, 2) float32 positions in the other; NaN for matches that do not hold.
    """
    if len(pixels) == 0:
        return other_pixels
    here = np.ascontiguousarray(pixels - np.float32(0.5)).reshape(-1, 1, 2)
    start = np.ascontiguousarray(other_pixels - np.float32(0.5)).reshape(-1, 1, 2)
    there, is_found, _ = cv2.calcOpticalFlowPyrLK(
        gray,
        other_gray,
        here,
        start.copy(),
        winSize=(PATCH_PX, PATCH_PX),
        maxLevel=0,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, MAX_STEPS, MIN_STEP_PX),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    shift = np.linalg.norm(there - start, axis=2)[:, 0]
    holds = (is_found[:, 0] > 0) & (shift < MAX_SHIFT_PX)
    return np.where(holds[:, None], there[:, 0] + np.float32(0.5), np.float32(np.nan)).astype(np.float32)


def depth_at(depth_m: npt.NDArray[np.float32], pixels: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """(N,) depth at (N, 2) pixel positions; 0 where it is unknown."""
    height, width = depth_m.shape
    rows = np.clip(pixels[:, 1].astype(np.intp), 0, height - 1)
    columns = np.clip(pixels[:, 0].astype(np.intp), 0, width - 1)
    return depth_m[rows, columns]


def solve_pose(
    pixels: npt.NDArray[np.floating],
    z: npt.NDArray[np.floating],
    pinhole: Pinhole,
    target_pixels: npt.NDArray[np.floating],
    target_pinhole: Pinhole,
) -> RelativePose | None:
    """Pose of camera b relative to camera a, from points of a (pixel and depth) and where b shows them.

    AP3P within RANSAC, then Levenberg-Marquardt on the inliers.

    Args:
        pixels: (M, 2) positions in a.
        z: (M,) depth in a, metres; 0 is passed over.
        pinhole: Of a.
        target_pixels: (M, 2) positions in b.
        target_pinhole: Of b.

    Returns:
        The pose, or None with fewer than 15 inliers or a camera that is too far away.
    """
    known = np.flatnonzero(z > 0)
    x, y = pixels[known, 0].astype(np.float64), pixels[known, 1].astype(np.float64)
    depth = z[known].astype(np.float64)
    points = np.stack([(x - pinhole.cx) / pinhole.fx * depth, (y - pinhole.cy) / pinhole.fy * depth, depth], axis=1)
    found = solve_pose_of_points(points, target_pixels[known], target_pinhole)
    return None if found is None else replace(found, inliers=known[found.inliers])


def solve_pose_of_points(
    points: npt.NDArray[np.float64], target_pixels: npt.NDArray[np.floating], target_pinhole: Pinhole
) -> RelativePose | None:
    """Pose of camera b in the frame of some points that it shows; otherwise as ``solve_pose``.

    Args:
        points: (M, 3) positions in frame a, which lies within 3 m of the camera.
        target_pixels: (M, 2) positions in b.
        target_pinhole: Of b.
    """
    if len(points) < MIN_INLIERS:
        return None
    seen = target_pixels.astype(np.float64)
    limit = MAX_REPROJECTION_PX_AT_640 * target_pinhole.width / 640
    ok, turn, shift, inliers = cv2.solvePnPRansac(
        points,
        seen,
        target_pinhole.matrix,
        None,
        reprojectionError=limit,
        iterationsCount=RANSAC_ROUNDS,
        confidence=RANSAC_CONFIDENCE,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if not ok or inliers is None or len(inliers) < MIN_INLIERS or not np.linalg.norm(shift) < MAX_STEP_M:
        return None
    index = np.asarray(inliers, np.intp)[:, 0]
    turn, shift = cv2.solvePnPRefineLM(points[index], seen[index], target_pinhole.matrix, None, turn, shift)
    if not (np.isfinite(turn).all() and np.linalg.norm(shift) < MAX_STEP_M):
        return None
    again, _ = cv2.projectPoints(points[index], turn, shift, target_pinhole.matrix, None)
    error = np.linalg.norm(again.reshape(-1, 2) - seen[index], axis=1)
    b_T_a = np.eye(4)
    b_T_a[:3, :3] = cv2.Rodrigues(turn)[0]
    b_T_a[:3, 3] = shift.ravel()
    return RelativePose(invert(b_T_a), len(index), len(points), float(np.median(error)), index)
