"""What moves must stay out of memory: masks from the user, the generator and, later, residuals."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

DILATION_PX_AT_1000 = 3.0
"""Growth of a mask in a picture 1000 pixels wide: its border is never exact, and a rim of a mover ghosts for good."""


def join_moving(
    masks: Sequence[npt.NDArray[np.bool_] | None], shape: tuple[int, int, int], *, dilation_px: int | None = None
) -> npt.NDArray[np.bool_]:
    """Join masks of what moves and grow them a little.

    Args:
        masks: (F, H, W) or (H, W) bool each, or None; a single picture's mask holds for every frame. The user's, the
            clip's, and whatever else can tell.
        shape: (F, H, W) of the frames.
        dilation_px: Growth in pixels; by the picture's width unless given.

    Returns:
        (F, H, W) bool. Fresh memory.

    Raises:
        ValueError: A mask has another shape.
    """
    joined = np.zeros(shape, bool)
    for mask in masks:
        if mask is None:
            continue
        if mask.shape not in (shape, shape[1:]):
            raise ValueError(f"moving mask: expected {shape} or {shape[1:]}, got {mask.shape}")
        joined |= mask.astype(bool)
    radius = round(DILATION_PX_AT_1000 * shape[2] / 1000) if dilation_px is None else dilation_px
    if radius > 0 and joined.any():
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        for k in range(shape[0]):
            joined[k] = cv2.dilate(joined[k].astype(np.uint8), kernel) > 0
    return joined
