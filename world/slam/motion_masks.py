"""What moves in a clip: surface where memory, or other frames of the clip, saw free space."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..transforms import Transform, invert
from ..visibility import render_depth
from .given import clean_depth

WORK_WIDTH = 320
FRONT_M = 0.08
NEARER_M, NEARER_SHARE = 0.05, 0.02
"""Surface that is nearer than memory by more than the larger of these stands where nothing stood."""
COARSE_M, COARSE_SHARE = 0.2, 0.08
"""The same before the poses are corrected: far beyond what a pose that is a little off explains."""
ERODED_PX, OPENED_PX, CLOSED_PX, HOLES_PX = 5, 5, 5, 7
MIN_AREA_SHARE = 0.002
"""Regions smaller than this share of the picture are noise."""
MIN_VOTES = 2
"""So many other frames must have seen through a surface that memory does not know."""
NEIGHBOURS = 6
GROWN_SHARE, GROWN_M = 0.08, 0.08
"""A mask grows over surface that memory does not know, of the mover's own depth, by this share of the width."""


def find_motion(
    depth_m: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: npt.NDArray[np.float64],
    memory: MemorySnapshot,
    *,
    is_coarse: bool = False,
) -> npt.NDArray[np.bool_]:
    """Find what moves, by free space: nearer than memory's surface, or seen through by other frames of the clip.

    Args:
        depth_m: (F, H, W) float32 metres; 0, negative, not finite: unknown, never marked.
        pinhole: Intrinsics.
        world_T_camera: (F, 4, 4) poses.
        memory: What stood there before.
        is_coarse: Only what no pose that is a little off explains, by memory alone.

    Returns:
        (F, H, W) bool. Fresh memory.
    """
    small = _small(pinhole)
    depths = [_shrunk(clean_depth(d), small) for d in depth_m]
    out = np.zeros(depth_m.shape, bool)
    for k, depth in enumerate(depths):
        if not (depth > 0).any():
            continue
        surface = _surface(memory, small, world_T_camera[k])
        margins = (COARSE_M, COARSE_SHARE) if is_coarse else (NEARER_M, NEARER_SHARE)
        moving = _is_nearer(depth, surface, margins)
        if not is_coarse:
            moving |= (surface <= 0) & _seen_through(k, depths, small, world_T_camera)
        moving = _cleaned(moving)
        if not is_coarse and moving.any():
            moving = _grown(moving, depth, surface)
        size = (pinhole.width, pinhole.height)
        out[k] = cv2.resize(moving.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return out


def _small(pinhole: Pinhole) -> Pinhole:
    factor = min(1.0, WORK_WIDTH / pinhole.width)
    return pinhole.resized(max(8, round(pinhole.width * factor)), max(8, round(pinhole.height * factor)))


def _shrunk(depth: npt.NDArray[np.float32], small: Pinhole) -> npt.NDArray[np.float32]:
    size = (small.width, small.height)
    return np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST), np.float32)


def _surface(memory: MemorySnapshot, pinhole: Pinhole, pose: Transform) -> npt.NDArray[np.float32]:
    """(H, W) memory's depth with slits closed, the nearest within 5x5 pixels: rims of what stands are no motion."""
    depth = render_depth(memory, pinhole, pose, front_m=FRONT_M).depth_m
    closed = cv2.morphologyEx(depth, cv2.MORPH_CLOSE, np.ones((HOLES_PX, HOLES_PX), np.uint8))
    depth = np.where(depth > 0, depth, closed)
    far = np.where(depth > 0, depth, np.float32(1e6))
    near = cv2.erode(far, np.ones((ERODED_PX, ERODED_PX), np.uint8))
    return np.where((depth > 0) & (near < 1e5), near, np.float32(0)).astype(np.float32)


def _is_nearer(
    depth: npt.NDArray[np.float32], surface: npt.NDArray[np.float32], margins: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    margin = np.maximum(margins[0], margins[1] * depth)
    return (depth > 0) & (surface > 0) & (surface - depth > margin)


def _seen_through(
    k: int, depths: Sequence[npt.NDArray[np.float32]], pinhole: Pinhole, poses: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """(H, W) bool: surface of the k-th frame that other frames saw through, and more of them than confirm it."""
    depth = depths[k]
    known = depth > 0
    points = (pinhole.rays()[known] * depth[known][:, None]).astype(np.float64)
    through, confirmed = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    near = sorted((j for j in range(len(depths)) if j != k), key=lambda j: abs(j - k))[:NEIGHBOURS]
    for j in near:
        other = depths[j]
        if not (other > 0).any():
            continue
        j_T_k = invert(poses[j]) @ poses[k]
        moved = points @ j_T_k[:3, :3].T + j_T_k[:3, 3]
        z = np.where(moved[:, 2] > 0.05, moved[:, 2], np.nan)
        with np.errstate(invalid="ignore"):
            u = np.floor(pinhole.fx * moved[:, 0] / z + pinhole.cx)
            v = np.floor(pinhole.fy * moved[:, 1] / z + pinhole.cy)
            inside = (u >= 0) & (v >= 0) & (u < pinhole.width) & (v < pinhole.height)
        rows, columns = v[inside].astype(np.intp), u[inside].astype(np.intp)
        eroded = cv2.erode(other, np.ones((ERODED_PX, ERODED_PX), np.uint8))
        margin = np.maximum(NEARER_M, NEARER_SHARE * z[inside])
        through[inside] += eroded[rows, columns] - z[inside] > margin
        seen = other[rows, columns]
        confirmed[inside] += (seen > 0) & (np.abs(seen - z[inside]) <= margin)
    out = np.zeros(depth.shape, bool)
    out[known] = (through >= MIN_VOTES) & (through > confirmed)
    return out


def _cleaned(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Opened, without small regions, closed."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (OPENED_PX, OPENED_PX))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    kept = np.zeros(count, bool)
    kept[1:] = stats[1:, cv2.CC_STAT_AREA] >= MIN_AREA_SHARE * mask.size
    large = kept[np.asarray(labels, np.intp)].astype(np.uint8)
    return cv2.morphologyEx(large, cv2.MORPH_CLOSE, np.ones((CLOSED_PX, CLOSED_PX), np.uint8)) > 0


def _grown(
    mask: npt.NDArray[np.bool_], depth: npt.NDArray[np.float32], surface: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Over neighbouring surface of the mover's depth: what memory does not know, and the rim that erosion took."""
    reach = max(3, round(GROWN_SHARE * mask.shape[1]))
    own = np.where(mask, depth, 0).astype(np.float32)
    weight = cv2.blur(mask.astype(np.float32), (2 * reach + 1, 2 * reach + 1))
    mean = cv2.blur(own, (2 * reach + 1, 2 * reach + 1)) / np.maximum(weight, 1e-6)
    unknown = surface <= 0
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((ERODED_PX, ERODED_PX), np.uint8)) > 0
    similar = (depth > 0) & (weight > 1e-4) & (np.abs(depth - mean) < GROWN_M) & (unknown | rim)
    _, labels = cv2.connectedComponents((mask | similar).astype(np.uint8))
    touched = np.unique(labels[mask])
    return mask | (similar & np.isin(labels, touched[touched > 0]))
