"""Plane sweep: the depth of one picture from others whose poses are known."""

from collections.abc import Sequence
from dataclasses import dataclass

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


class SweepRoom:
    """Memory that sweeps of one size share, one after the other: asking for fresh pages takes an eighth of a sweep."""

    def __init__(self) -> None:
        self._volumes = np.empty((3, 0), np.float32)
        self._warped = np.empty((0, 0), np.float32)

    def volumes(self, num_planes: int, shape: tuple[int, int]) -> list[npt.NDArray[np.float32]]:
        """(D, H, W) costs by plane, (H, W, D) by pixel and (H, W, D) aggregated, with whatever was there before."""
        size = num_planes * shape[0] * shape[1]
        if self._volumes.shape[1] < size:
            self._volumes = np.empty((3, size), np.float32)
        shapes = [(num_planes, *shape), (*shape, num_planes), (*shape, num_planes)]
        return [flat[:size].reshape(s) for flat, s in zip(self._volumes, shapes, strict=True)]

    def warped(self, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        """(H, W) a picture, with whatever was there before."""
        if self._warped.shape != shape:
            self._warped = np.empty(shape, np.float32)
        return self._warped


def sweep_planes(
    reference: GrayView,
    others: Sequence[GrayView],
    inverse_depths: npt.NDArray[np.float64],
    matching: Matching = HAND_HELD,
    room: SweepRoom | None = None,
) -> SweptDepth:
    """Find the depth at which other views agree with a picture.

    Zero-mean normalised cross-correlation over a window at planes of equal depth, the mean of the two views that
    agree best, smoothed by semi-global matching.

    Args:
        reference: The view whose depth is wanted.
        others: One or more views that see the same surface.
        inverse_depths: (D,) evenly spaced, 1/m, three or more.
        matching: How pictures are compared.
        room: Of one sweep at a time; of its own if not given.

    Raises:
        ValueError: No other view, or too few planes.
    """
    if not others or len(inverse_depths) < 3:
        raise ValueError(f"sweep: expected other views and 3 planes or more, got {len(others)}, {len(inverse_depths)}")
    from . import sweep_kernels as kernels  # imports Numba, which takes most of a second

    room = room or SweepRoom()
    shape = (reference.pinhole.height, reference.pinhole.width)
    planar, cost, aggregated = room.volumes(len(inverse_depths), shape)
    _match_planes(reference, others, inverse_depths, matching, room.warped(shape), planar)
    kernels.interleave(planar, cost)
    aggregated.fill(0)
    kernels.aggregate(cost, reference.gray, matching.penalty_step, matching.penalty_jump, aggregated)
    plane, match, distinct = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
    kernels.best_planes(cost, aggregated, plane, match, distinct)
    step = inverse_depths[1] - inverse_depths[0]
    depth = 1.0 / np.maximum(inverse_depths[0] + plane * step, 1e-6)
    return SweptDepth(depth.astype(np.float32), match, distinct)


def _match_planes(
    reference: GrayView,
    others: Sequence[GrayView],
    inverse_depths: npt.NDArray[np.float64],
    matching: Matching,
    warped: npt.NDArray[np.float32],
    planar: npt.NDArray[np.float32],
) -> None:
    """Write the cost of each plane, (D, H, W); ``warped`` is room for a picture."""
    from . import sweep_kernels as kernels

    gray = np.asarray(reference.gray - np.float32(MIDDLE_GRAY), np.float32)
    counts = window_sum(np.ones_like(gray), matching.radius)
    mean = window_sum(gray, matching.radius) / counts
    variance = np.maximum(window_sum(np.square(gray), matching.radius) / counts - mean * mean, 0)
    per_pixel = (gray, mean, variance, 1 / counts)
    limits = (matching.radius, np.float32(matching.flatness), np.float32(UNSEEN_COST))
    first, second = np.empty_like(gray), np.empty_like(gray)
    pictures = [other.gray - np.float32(MIDDLE_GRAY) for other in others]
    homographies = [_homographies(other, reference, inverse_depths) for other in others]
    for d in range(len(inverse_depths)):
        first.fill(kernels.FAR_AWAY)
        second.fill(kernels.FAR_AWAY)
        for picture, homography in zip(pictures, homographies, strict=True):
            _warp(picture, homography[d], warped)
            kernels.compare(*per_pixel, warped, *limits, first, second)
        kernels.mean_of_best(first, second, planar[d])


def window_sum(image: npt.NDArray[np.float32], radius: int) -> npt.NDArray[np.float32]:
    """(H, W) float32 sum over the window, as far as it lies in the picture."""
    size = (2 * radius + 1, 2 * radius + 1)
    return np.asarray(cv2.boxFilter(image, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT), np.float32)


def _homographies(
    other: GrayView, reference: GrayView, inverse_depths: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(D, 3, 3): pixels of the reference to those of another view, if all lay on one plane, for each plane."""
    other_T_reference = invert(other.world_T_camera) @ reference.world_T_camera
    back = np.linalg.inv(reference.pinhole.warp_matrix)
    far = other.pinhole.warp_matrix @ other_T_reference[:3, :3] @ back
    nearer = np.outer(other.pinhole.warp_matrix @ other_T_reference[:3, 3], back[2])
    return np.asarray(far + inverse_depths[:, None, None] * nearer, np.float64)


def _warp(
    picture: npt.NDArray[np.float32], homography: npt.NDArray[np.float64], warped: npt.NDArray[np.float32]
) -> None:
    """Write a picture as the reference would see it; far below 0 outside of it."""
    cv2.warpPerspective(
        picture,
        homography,
        warped.shape[::-1],
        dst=warped,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(OUTSIDE,),
    )
