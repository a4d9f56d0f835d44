"""Which way is down in a photo: the room's three directions from its straight lines, with known intrinsics."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..transforms import rotation_about

LINE_WIDTH = 640
"""Pictures are looked at this wide: finer lines are texture."""
MIN_LENGTH = 0.035
MAX_SEGMENTS = 220
INLIER_RAD = float(np.deg2rad(2.5))
MIN_TOTAL_LENGTH = 4.0
"""Of all lines together, in widths of the picture; a meadow has less, and what it has means nothing."""
MIN_SUPPORT = 0.33
"""Share of the lines' length that must point along the three directions for them to be believed."""


@dataclass(frozen=True, slots=True, eq=False)
class Uprightness:
    """Which way is down, and how sure that is.

    Attributes:
        down: (3,) float64 unit direction of gravity in the camera's frame.
        support: Share of the lines' length that agrees; 0 without lines.
    """

    down: npt.NDArray[np.float64]
    support: float


def find_down(gray: npt.NDArray[np.uint8], pinhole: Pinhole) -> Uprightness | None:
    """Find gravity from lines along three perpendicular directions (Coughlan and Yuille's Manhattan world).

    Args:
        gray: (H, W) uint8 photo.
        pinhole: Its intrinsics; the directions can only be perpendicular if they are right.

    Returns:
        None where the lines do not agree on three directions, as in a meadow.
    """
    ends, weight = _segments(gray, pinhole)
    if weight.sum() < MIN_TOTAL_LENGTH * LINE_WIDTH:
        return None
    normals = _unit(np.cross(_lift(ends[:, 0]), _lift(ends[:, 1])))
    best_score, best = 0.0, None
    for down in _down_candidates():
        headings = _unit(np.cross(normals[: min(40, len(normals))], down))
        score, heading = _best_heading(down, headings, ends, weight)
        score *= _plausibility(down)
        if score > best_score:
            best_score, best = score, (down, heading)
    if best is None:
        return None
    down = _polish(*best, ends, weight)
    support = float((_agreement(down[0], down[1], ends) * weight).sum() / weight.sum())
    return Uprightness(down[0], support) if support >= MIN_SUPPORT else None


def _segments(gray: npt.NDArray[np.uint8], pinhole: Pinhole) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(N, 2, 2) segment ends in normalized image coordinates, longest first, and their lengths."""
    height = max(8, round(LINE_WIDTH * pinhole.height / pinhole.width))
    small = cv2.resize(gray, (LINE_WIDTH, height), interpolation=cv2.INTER_AREA)
    found = cv2.createLineSegmentDetector().detect(small)[0]
    if found is None:
        return np.zeros((0, 2, 2)), np.zeros(0)
    scaled = pinhole.resized(LINE_WIDTH, height)
    pixels = np.asarray(found, np.float64).reshape(-1, 2, 2) + 0.5
    length = np.linalg.norm(pixels[:, 1] - pixels[:, 0], axis=1)
    order = np.argsort(-length, kind="stable")[:MAX_SEGMENTS]
    order = order[length[order] > MIN_LENGTH * LINE_WIDTH]
    ends = (pixels[order] - (scaled.cx, scaled.cy)) / (scaled.fx, scaled.fy)
    return ends, length[order]


def _lift(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.concatenate([points, np.ones((len(points), 1))], axis=1)


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _down_candidates() -> list[npt.NDArray[np.float64]]:
    """Down for cameras pitched 48° down to 20° up, rolled up to 9°."""
    return [_down(np.deg2rad(p), np.deg2rad(r)) for p in np.arange(-20, 49, 2.0) for r in np.arange(-9, 9.1, 1.5)]


def _down(pitch_down_rad: float, roll_rad: float) -> npt.NDArray[np.float64]:
    level = np.array([0.0, np.cos(pitch_down_rad), np.sin(pitch_down_rad)])
    return rotation_about((0, 0, 1), roll_rad) @ level


def _plausibility(down: npt.NDArray[np.float64]) -> float:
    """Most photos are level or look down a little, and are hardly rolled."""
    pitch = np.arctan2(down[2], down[1])
    roll = np.arctan2(-down[0], down[1])
    return float(1.0 - 0.35 * abs(pitch - 0.05) - 0.6 * abs(roll))


def _agreement(
    down: npt.NDArray[np.float64], heading: npt.NDArray[np.float64], ends: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(N,) in [0, 1], how well each segment points to the nearest of the three vanishing points."""
    middle, along = ends.mean(axis=1), ends[:, 1] - ends[:, 0]
    best = np.zeros(len(ends))
    for direction in (down, heading, np.cross(down, heading)):
        toward = direction[:2] - middle * direction[2]
        sine = along[:, 0] * toward[:, 1] - along[:, 1] * toward[:, 0]
        cosine = (along * toward).sum(axis=1)
        angle = np.abs(np.arctan2(sine, np.abs(cosine)))
        best = np.maximum(best, 1.0 - np.minimum(angle / INLIER_RAD, 1.0))
    return best


def _best_heading(
    down: npt.NDArray[np.float64],
    headings: npt.NDArray[np.float64],
    ends: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
) -> tuple[float, npt.NDArray[np.float64]]:
    """The horizontal direction, of (K, 3), that most of the lines agree with, and their share."""
    middle, along = ends.mean(axis=1), ends[:, 1] - ends[:, 0]
    best = np.zeros((len(headings), len(ends)))
    for directions in (np.broadcast_to(down, headings.shape), headings, np.cross(down, headings)):
        toward = directions[:, None, :2] - middle[None] * directions[:, None, 2:]
        sine = along[:, 0] * toward[..., 1] - along[:, 1] * toward[..., 0]
        cosine = np.abs((along * toward).sum(axis=2))
        close = np.abs(sine) < np.tan(INLIER_RAD) * cosine
        error = np.where(close, np.abs(sine) / np.maximum(cosine, 1e-12) / np.tan(INLIER_RAD), 1.0)
        best = np.maximum(best, 1.0 - error)
    scores = best @ weight / weight.sum()
    k = int(np.argmax(scores))
    return float(scores[k]), headings[k]


def _polish(
    down: npt.NDArray[np.float64],
    heading: npt.NDArray[np.float64],
    ends: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Turn the three directions together by small angles as long as more of the lines agree."""
    score = float((_agreement(down, heading, ends) * weight).sum())
    for step in np.deg2rad([1.0, 0.5, 0.25, 0.12]):
        improved = True
        while improved:
            improved = False
            for axis in (*np.eye(3), *-np.eye(3)):
                turn = rotation_about(axis, float(step))
                candidate = float((_agreement(turn @ down, turn @ heading, ends) * weight).sum())
                if candidate > score * (1 + 1e-9):
                    down, heading, score, improved = turn @ down, turn @ heading, candidate, True
    return down, heading
