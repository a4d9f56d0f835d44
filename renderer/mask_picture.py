"""A small picture of a keyframe with what moves marked in it, for the overlay."""

import cv2
import numpy as np
import numpy.typing as npt

MARK = (255, 70, 60)
MARK_SHARE = 0.55
"""How much of a marked pixel's colour is the mark's."""
EDGE = (255, 235, 120)


def draw_mask(color: npt.NDArray[np.uint8], moving: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.uint8]:
    """A keyframe, made small, its mask tinted and outlined.

    Args:
        color: (H, W, 3) uint8 sRGB.
        moving: (H, W) bool, True where something moves.
        width: Pixels across the small picture.

    Returns:
        (h, width, 4) uint8, opaque. Fresh memory.

    Raises:
        ValueError: The mask has another size than the picture.
    """
    if moving.shape != color.shape[:2]:
        raise ValueError(f"mask: expected {color.shape[:2]}, got {moving.shape}")
    size = (width, max(1, round(width * color.shape[0] / color.shape[1])))
    small = np.asarray(cv2.resize(color, size, interpolation=cv2.INTER_AREA), np.float32)
    mask = cv2.resize(moving.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    inside = mask > 0
    small[inside] = (1 - MARK_SHARE) * small[inside] + MARK_SHARE * np.array(MARK, np.float32)
    edge = inside & (cv2.erode(mask, np.ones((3, 3), np.uint8)) == 0)
    small[edge] = EDGE
    out = np.full((*small.shape[:2], 4), 255, np.uint8)
    out[..., :3] = small.round().astype(np.uint8)
    return out
