"""Pixels of colour, depth and masks that follow a camera's change of size."""

import cv2
import numpy as np
import numpy.typing as npt


def cover(image: npt.NDArray, width: int, height: int) -> npt.NDArray:
    """Scale uniformly until width x height is covered, then crop the centre; ``Pinhole.covering`` for pixels.

    Args:
        image: (H, W) or (H, W, 3); uint8 colour is area- or cubic-filtered, depth (float32) and masks (bool) take the
            nearest pixel, so that no depth is invented between two surfaces.

    Returns:
        (height, width[, 3]) of the same dtype. Fresh memory.
    """
    h, w = image.shape[:2]
    if (w, h) == (width, height):
        return image.copy()
    s = max(width / w, height / h)
    dx, dy = (w * s - width) / 2.0, (h * s - height) / 2.0
    u = ((np.arange(width) + 0.5 + dx) / s - 0.5).astype(np.float32)
    v = ((np.arange(height) + 0.5 + dy) / s - 0.5).astype(np.float32)
    if image.dtype != np.uint8:
        rows = np.clip(np.rint(v).astype(int), 0, h - 1)
        columns = np.clip(np.rint(u).astype(int), 0, w - 1)
        return image[rows[:, None], columns[None, :]].copy()
    if s < 1.0:  # shrink by area first so that nothing aliases
        small = cv2.resize(image, (max(1, round(w * s)), max(1, round(h * s))), interpolation=cv2.INTER_AREA)
        u, v = (u + 0.5) * (small.shape[1] / w) - 0.5, (v + 0.5) * (small.shape[0] / h) - 0.5
        image = small
    return cv2.remap(
        image,
        np.broadcast_to(u[None, :], (height, width)).astype(np.float32),
        np.broadcast_to(v[:, None], (height, width)).astype(np.float32),
        cv2.INTER_LINEAR if s < 1.0 else cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
