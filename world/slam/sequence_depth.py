"""Depth of a long sequence of pictures whose poses are known, a few at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..memory import SpatialMemory
from .estimators import FrameStack
from .lift import choose_frames
from .multiview import WORK_WIDTH, MultiView
from .structure import ColorFrame

WINDOW, MARGIN = 12, 5
"""So many key views are estimated at once, with so many before and after for them to be compared with."""
MIN_KNOWN_SHARE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class KeyDepth:
    """Depth of one key view, at the size that it was found at.

    Attributes:
        index: Of the picture.
        depth: (h, w) float32 along +Z in the poses' unit, 0 unknown.
        confidence: (h, w) float32.
    """

    index: int
    depth: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]


def estimate_sequence(
    frames: Sequence[ColorFrame],
    world_T_camera: npt.NDArray[np.float64],
    indices: Sequence[int],
    *,
    progress: Callable[[str, float], None] | None = None,
) -> Iterator[KeyDepth]:
    """Find depth by plane sweep in overlapping windows of key views.

    Args:
        frames: All pictures; the key views among them are read once, in order.
        world_T_camera: (F, 4, 4) their poses, adjusted together.
        indices: Rising, the pictures whose pose is known.
        progress: Called with what is going on and the share that is done.

    Yields:
        The depth of key views, in order; those for which hardly any was found are left out.
    """
    known = np.asarray(indices)
    keys = [int(known[k]) for k in choose_frames(world_T_camera[known], None, every=False)]
    engine, nothing = MultiView(keep_poses=True), SpatialMemory().snapshot()
    loaded: dict[int, npt.NDArray[np.uint8]] = {}
    for start in range(0, len(keys), WINDOW):
        if progress is not None:
            progress("finding depth", start / len(keys))
        window = keys[max(0, start - MARGIN) : start + WINDOW + MARGIN]
        if len(window) < 2:
            return
        loaded = {k: loaded[k] if k in loaded else frames[k].color for k in window}
        color = np.stack([loaded[k] for k in window])
        stack = FrameStack(color, None, None, None, None, world_T_camera[window].copy(), frames[window[0]].pinhole)
        estimate = engine.estimate(stack, nothing)
        for row, k in enumerate(window):
            if k in keys[start : start + WINDOW] and (estimate.depth_m[row] > 0).mean() > MIN_KNOWN_SHARE:
                yield KeyDepth(k, *(_reduced(x[row]) for x in (estimate.depth_m, estimate.confidence)))


def _reduced(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    height, width = image.shape
    small = (WORK_WIDTH, max(8, round(height * WORK_WIDTH / width)))
    if width <= WORK_WIDTH:
        return image
    return np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_NEAREST), np.float32)
