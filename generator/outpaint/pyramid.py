"""Smooth filling of images with holes by a push-pull pyramid (Gortler et al. 1996, "The Lumigraph", section 3.4.3)."""

import cv2
import numpy as np
import numpy.typing as npt

WEIGHT_GAIN = 2.0
"""How fast the confidence of averaged pixels saturates: a block of which half is known counts as known."""
SMALLEST_SIDE = 2


def push_pull(values: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Fill where nothing is known with ever coarser averages of what is.

    Args:
        values: (H, W, C) float32; ignored where the weight is 0.
        weight: (H, W) float32 in [0, 1], how well each pixel is known.

    Returns:
        (H, W, C) float32: the values where the weight is 1, smooth elsewhere; 0 if nothing is known. Fresh memory.
    """
    levels = [(values * weight[..., None], weight)]
    while min(levels[-1][1].shape) > SMALLEST_SIDE:
        sums, known = (_down(a) for a in levels[-1])
        gain = np.minimum(known * WEIGHT_GAIN, 1.0) / np.maximum(known, 1e-6)
        levels.append(((sums * gain[..., None]).astype(np.float32), (known * gain).astype(np.float32)))
    sums, known = levels[-1]
    total = max(float(known.sum()), 1e-6)
    filled = sums + (1.0 - known)[..., None] * (sums.sum((0, 1)) / total)
    for sums, known in reversed(levels[:-1]):
        height, width = known.shape
        up = cv2.pyrUp(filled, dstsize=(width, height)).reshape(sums.shape)
        filled = sums + (1.0 - known)[..., None] * up
    return filled.astype(np.float32)


def _down(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Half the size, Gaussian-filtered; keeps the channel axis."""
    small = np.asarray(cv2.pyrDown(image), np.float32)
    return small[..., None] if image.ndim == 3 and small.ndim == 2 else small
