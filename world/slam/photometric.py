"""What moves, told by colour: where a picture differs from what is expected there by more than a pose explains."""

import cv2
import numpy as np
import numpy.typing as npt

SHIFT_PX = 7
"""The expected picture may lie 3 pixels beside, of a picture 320 wide: whatever is found within counts as expected."""
MIN_EXPOSURE_PX = 500
MAX_EXPOSURE_SAMPLES = 3000
EXPOSURE_ROUNDS, EXPOSURE_SCALE = 6, 12.0
MIN_GAIN, MAX_GAIN = 0.4, 2.5
"""Gains beyond are another picture, not another exposure."""
LEAST_DIFFERENCE = 30.0
"""Of 8-bit colour, over all channels: what noise, shading and compression leave."""
USUAL_SHARE, TIMES_USUAL = 90.0, 1.5
"""A difference counts from so many times that of this percentile on: what fits badly everywhere tells nothing."""
MIN_SHADE, MAX_SHADE = 0.3, 1.6
"""A shadow, or light where there was a shadow, changes all channels by one such factor."""
FAR = np.float32(1e4)


def color_difference(
    color: npt.NDArray[np.float32],
    expected: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    still: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """How far a picture differs from the expected one, beyond exposure, noise and a pose that is a little off.

    Exposure (a gain and an offset for each channel) is fitted robustly. Of the expected picture, the range of colours
    within ``SHIFT_PX`` counts as expected, so that edges that lie a little beside make no difference. Light, shade and
    gloss make none either: only another hue does.

    Args:
        color: (H, W, 3) float32 sRGB in 0..255.
        expected: (H, W, 3) float32, the same.
        known: (H, W) bool, where something is expected.
        still: (H, W) bool, where the surface has the depth that is expected; exposure goes by it.

    Returns:
        (H, W) float32, in units of what is worth attention: 1 and more differs. 0 where nothing is known, and
        everywhere if no exposure explains most of it.
    """
    nothing = np.zeros(known.shape, np.float32)
    base = known & still if (known & still).sum() >= MIN_EXPOSURE_PX else known
    exposure = match_exposure(color[base], expected[base])
    if exposure is None:
        return nothing
    matched = expected * exposure[0] + exposure[1]
    low, high = color_range(matched, known)
    seen = _blurred(color)
    mean = _blurred(np.where(known[..., None], matched, np.float32(0)))
    share = np.maximum(_blurred(known.astype(np.float32)), np.float32(0.1))[..., None]
    shade = _shade(seen, np.divide(mean, share, dtype=np.float32))[..., None]
    beyond = np.maximum(np.maximum(seen - shade * high, shade * low - seen), 0)
    difference = np.where(known, np.sqrt((beyond**2).sum(axis=2)), np.float32(0))
    usual = float(np.percentile(difference[base], USUAL_SHARE))
    return (difference / np.float32(max(LEAST_DIFFERENCE, TIMES_USUAL * usual))).astype(np.float32)


def color_range(
    color: npt.NDArray[np.float32], known: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(H, W, 3) lowest and highest colour within ``SHIFT_PX``, each channel for itself; unknown pixels do not count."""
    kernel = np.ones((SHIFT_PX, SHIFT_PX), np.uint8)
    low = color if known is None else np.where(known[..., None], color, FAR)
    high = color if known is None else np.where(known[..., None], color, -FAR)
    return np.asarray(cv2.erode(low, kernel), np.float32), np.asarray(cv2.dilate(high, kernel), np.float32)


def _blurred(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.blur(image, (3, 3)), np.float32)


def _shade(seen: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W) the factor on all channels that brings the expected colour closest to the one seen."""
    factor = (seen * expected).sum(axis=2) / np.maximum((expected**2).sum(axis=2), 1.0)
    return np.clip(factor, MIN_SHADE, MAX_SHADE).astype(np.float32)


def match_exposure(
    ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
    """Gain and offset of each channel that bring the expected colours' exposure to that of the picture.

    Iteratively re-weighted least squares (Cauchy weights) from the medians on, so that what moves does not count.

    Args:
        ours: (N, 3) float32 colours of the picture.
        theirs: (N, 3) float32 colours that are expected there.

    Returns:
        (3,) and (3,) float32; None where there are too few, or no such exposure explains the picture.
    """
    if len(ours) < MIN_EXPOSURE_PX:
        return None
    step = max(1, len(ours) // MAX_EXPOSURE_SAMPLES)
    y, x = ours[::step].astype(np.float64), theirs[::step].astype(np.float64)
    gain, offset = np.ones(3), np.median(y, axis=0) - np.median(x, axis=0)
    for _ in range(EXPOSURE_ROUNDS):
        error = y - x * gain - offset
        weight = 1 / (1 + (error**2).sum(axis=1) / EXPOSURE_SCALE**2)
        total = weight.sum()
        mean_y, mean_x = weight @ y / total, weight @ x / total
        held = 25.0 * total  # a picture of one colour keeps its gain
        gain = (weight @ ((y - mean_y) * (x - mean_x)) + held) / (weight @ (x - mean_x) ** 2 + held)
        offset = mean_y - gain * mean_x
    if (gain < MIN_GAIN).any() or (gain > MAX_GAIN).any():
        return None
    return gain.astype(np.float32), offset.astype(np.float32)
