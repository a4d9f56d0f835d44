"""Plane sweep: the depth of one picture from others whose poses are known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..transforms import Transform, invert

OUTSIDE, MIDDLE_GRAY = -1000.0, 128.0
UNSEEN_COST = 0.6
"""Cost of a plane that a view does not see: neither a match nor a contradiction."""


@dataclass(frozen=True, slots=True)
class Matching:
    """How pictures are compared.

    Attributes:
        radius: Of the square window, pixels.
        flatness: Added to the product of the variances, so that noise on even surfaces matches nothing.
        penalty_step: Cost of a change of depth by one plane from pixel to pixel.
        penalty_jump: Cost of a larger one on an even surface.
    """

    radius: int
    flatness: float
    penalty_step: float
    penalty_jump: float


HAND_HELD = Matching(3, 4.0, 0.12, 1.2)
"""For many views with noise and poses that are not exact."""
STEREO = Matching(2, 0.3, 0.25, 0.8)
"""For a lone pair of good pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class GrayView:
    """A picture to sweep with.

    Attributes:
        gray: (H, W) float32 in 0-255.
        pinhole: Its intrinsics.
        world_T_camera: (4, 4) pose.
    """

    gray: npt.NDArray[np.float32]
    pinhole: Pinhole
    world_T_camera: Transform


@dataclass(frozen=True, slots=True, eq=False)
class SweptDepth:
    """Depth of one view.

    Attributes:
        depth_m: (H, W) float32 metres along +Z, known everywhere (not all of it right).
        match: (H, W) float32, how badly the pictures agree there: 0 perfectly, 1 not at all.
        distinct: (H, W) float32 in [0, 1], how close the next best depth is; 1 if as good.
    """

    depth_m: npt.NDArray[np.float32]
    match: npt.NDArray[np.float32]
    distinct: npt.NDArray[np.float32]


def sweep_planes(
    reference: GrayView,
    others: Sequence[GrayView],
    inverse_depths: npt.NDArray[np.float64],
    matching: Matching = HAND_HELD,
) -> SweptDepth:
    """Find the depth at which other views agree with a picture.

    Zero-mean normalised cross-correlation over a window at planes of equal depth, the mean of the two views that
    agree best, smoothed by semi-global matching.

    Args:
        reference: The view whose depth is wanted.
        others: One or more views that see the same surface.
        inverse_depths: (D,) evenly spaced, 1/m, three or more.
        matching: How pictures are compared.

    Raises:
        ValueError: No other view, or too few planes.
    """
    if not others or len(inverse_depths) < 3:
        raise ValueError(f"sweep: expected other views and 3 planes or more, got {len(others)}, {len(inverse_depths)}")
    from . import sweep_kernels as kernels  # imports Numba, which takes most of a second

    cost = _cost_volume(reference, others, inverse_depths, matching)
    aggregated = np.zeros_like(cost)
    kernels.aggregate(cost, reference.gray, matching.penalty_step, matching.penalty_jump, aggregated)
    shape = reference.gray.shape
    plane, match, distinct = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
    kernels.best_planes(cost, aggregated, plane, match, distinct)
    step = inverse_depths[1] - inverse_depths[0]
    depth = 1.0 / np.maximum(inverse_depths[0] + plane * step, 1e-6)
    return SweptDepth(depth.astype(np.float32), match, distinct)


def _cost_volume(
    reference: GrayView, others: Sequence[GrayView], inverse_depths: npt.NDArray[np.float64], matching: Matching
) -> npt.NDArray[np.float32]:
    """(H, W, D) float32 cost of each plane."""
    from . import sweep_kernels as kernels

    gray = np.asarray(reference.gray - np.float32(MIDDLE_GRAY), np.float32)
    counts = window_sum(np.ones_like(gray), matching.radius)
    mean = window_sum(gray, matching.radius) / counts
    variance = np.maximum(window_sum(np.square(gray), matching.radius) / counts - mean * mean, 0)
    per_pixel = (gray, mean, variance, 1 / counts)
    limits = (matching.radius, np.float32(matching.flatness), np.float32(UNSEEN_COST))
    first, second = np.empty_like(gray), np.empty_like(gray)
    planar = np.empty((len(inverse_depths), *gray.shape), np.float32)
    poses = [invert(other.world_T_camera) @ reference.world_T_camera for other in others]
    pictures = [replace(other, gray=other.gray - np.float32(MIDDLE_GRAY)) for other in others]
    for d, inverse in enumerate(inverse_depths):
        first.fill(kernels.FAR_AWAY)
        second.fill(kernels.FAR_AWAY)
        for other, other_T_reference in zip(pictures, poses, strict=True):
            warped = _warp(other, reference, other_T_reference, float(inverse))
            kernels.compare(*per_pixel, warped, *limits, first, second)
        kernels.mean_of_best(first, second, planar[d])
    volume = np.empty((*gray.shape, len(inverse_depths)), np.float32)
    kernels.interleave(planar, volume)
    return volume


def window_sum(image: npt.NDArray[np.float32], radius: int) -> npt.NDArray[np.float32]:
    """(H, W) float32 sum over the window, as far as it lies in the picture."""
    size = (2 * radius + 1, 2 * radius + 1)
    return np.asarray(cv2.boxFilter(image, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT), np.float32)


def _warp(
    other: GrayView, reference: GrayView, other_T_reference: Transform, inverse: float
) -> npt.NDArray[np.float32]:
    """Another view as the reference would see it if all lay on one plane; far below 0 outside of it."""
    plane = other_T_reference[:3, :3] + np.outer(other_T_reference[:3, 3], (0.0, 0.0, inverse))
    homography = _matrix(other.pinhole) @ plane @ np.linalg.inv(_matrix(reference.pinhole))
    size = (reference.pinhole.width, reference.pinhole.height)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(
        other.gray, homography, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=(OUTSIDE,)
    )
    return np.asarray(warped, np.float32)


def _matrix(pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """(3, 3) camera matrix for pixel centres on whole numbers, as OpenCV's warps count."""
    out = pinhole.matrix
    out[:2, 2] -= 0.5
    return out
