"""Depth and colour of what is hidden, from the known surface around it.

A pixel that nothing is known about is *enclosed* when most rays from it in the picture meet something known: it was
hidden behind what stands in front of it, and takes after the far side. Otherwise it lies outside of what was seen, and
planes are continued outward: the inverse depth of a plane is an affine function of the pixel.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from .pyramid import push_pull

RAY_STEPS = ((1, 0), (2, 1), (1, 1), (1, 2), (0, 1), (-1, 2), (-1, 1), (-2, 1))
"""Steps (x, y) of eight rays on the pixel grid, 22.5 degrees apart as near as it goes; each also runs backwards."""
ENCLOSED_FROM, ENCLOSED_TO = 0.5, 0.65
"""Share of rays that meet something known: below the first a pixel is outside, above the second enclosed."""
FAR_QUANTILE = 0.65
"""Of the far ends of the eight lines through a pixel this quantile is the far side: not the largest, because single
lines pass a gap in a near thing and end on what lies behind it."""
FAR_RATIO = 0.9
"""Ends at this part of the far side's depth or beyond belong to it."""

FIT_SHRINK = 4
FIT_LEVELS = 6
FIT_SIGMA_PX = 8.0
FIT_RIDGE = 1.0
FIT_MIN_WEIGHT = 0.02
SEAM_REACH_PX = 25.0


@dataclass(frozen=True, slots=True, eq=False)
class FarSide:
    """What the rays from unknown pixels say.

    Attributes:
        enclosed: (H, W) float32, share of 16 rays that meet something known; 1 at known pixels.
        depth_m: (H, W) float32, depth of the far side; 0 where no ray meets anything, and at known pixels.
        color: (H, W, 3) float32, its colour, nearest ends counting most.
        reach_px: (H, W) float32, distance to the nearest end that belongs to the far side.
    """

    enclosed: npt.NDArray[np.float32]
    depth_m: npt.NDArray[np.float32]
    color: npt.NDArray[np.float32]
    reach_px: npt.NDArray[np.float32]


def find_far_side(
    color: npt.NDArray[np.uint8], depth_m: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]
) -> FarSide:
    """Follow 16 rays from every unknown pixel to the first known one and tell the far side.

    Args:
        color: (H, W, 3) uint8.
        depth_m: (H, W) float32 metres, positive where known.
        known: (H, W) bool.
    """
    height, width = known.shape
    ends = np.full((2 * len(RAY_STEPS), height, width), -1, np.int32)
    _follow_rays(known, np.array(RAY_STEPS, np.int64), ends)
    out = FarSide(
        np.ones((height, width), np.float32),
        np.zeros((height, width), np.float32),
        np.zeros((height, width, 3), np.float32),
        np.zeros((height, width), np.float32),
    )
    _gather_far_side(color, depth_m, known, ends, out.enclosed, out.depth_m, out.color, out.reach_px)
    return out


def continue_depth(depth_m: npt.NDArray[np.float32], known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Continue known depth into the rest by local affine fits of inverse depth, fine near the known, coarse far off.

    Args:
        depth_m: (H, W) float32 metres, positive where known.
        known: (H, W) bool; at least one pixel.

    Returns:
        (H, W) float32 metres: the known depth where known, continued elsewhere.
    """
    height, width = known.shape
    inverse = np.where(known, 1.0 / np.maximum(depth_m, 1e-3), 0.0).astype(np.float32)
    weight = known.astype(np.float32)
    fitted = cv2.resize(_fit_planes(inverse, weight), (width, height), interpolation=cv2.INTER_LINEAR)
    low, high = np.percentile(inverse[known], (1.0, 99.0))
    fitted = np.clip(fitted, low / 1.5, high * 1.15)
    gap = push_pull(np.where(known, inverse - fitted, 0.0).astype(np.float32)[..., None], weight)[..., 0]
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 3)
    seamless = np.clip(fitted + gap * np.exp(-distance / SEAM_REACH_PX), low / 1.5, high * 1.3)
    return np.where(known, depth_m, 1.0 / seamless).astype(np.float32)


def _fit_planes(inverse: npt.NDArray[np.float32], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Affine fits of weighted inverse depth in Gaussian windows of doubling width, the finest with support first."""
    height, width = weight.shape
    small = (max(1, width // FIT_SHRINK), max(1, height // FIT_SHRINK))
    x = (np.arange(width, dtype=np.float32) - width / 2.0)[None, :] / width
    y = (np.arange(height, dtype=np.float32) - height / 2.0)[:, None] / width
    x, y = np.broadcast_to(x, weight.shape), np.broadcast_to(y, weight.shape)
    w, q = weight, inverse
    moments = [
        _shrunk(np.ascontiguousarray(m), small).astype(np.float64)
        for m in (w, w * x, w * y, w * x * x, w * x * y, w * y * y, w * q, w * x * q, w * y * q)
    ]
    x, y = (_shrunk(np.ascontiguousarray(a), small) for a in (x, y))
    total = np.zeros(moments[0].shape)
    share = np.zeros(moments[0].shape)
    sigma = FIT_SIGMA_PX / FIT_SHRINK
    for _ in range(FIT_LEVELS):
        value, support = _fit_level(moments, x, y, sigma=sigma, ridge=FIT_RIDGE * (sigma * FIT_SHRINK / width) ** 2)
        part = np.clip(support / FIT_MIN_WEIGHT, 0.0, 1.0) * (1.0 - share)
        total += part * value
        share += part
        sigma *= 2.0
    mean = moments[6].sum() / max(moments[0].sum(), 1e-9)
    return (total + (1.0 - share) * mean).astype(np.float32)


def _shrunk(image: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Area means at (width, height)."""
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def _fit_level(
    moments: list[npt.NDArray[np.float64]],
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    *,
    sigma: float,
    ridge: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Value of the weighted affine fit in a Gaussian window, and the window's weight."""
    blurred = [_blur(m, sigma) for m in moments]
    w = blurred[0] + 1e-12
    mx, my, xx, xy, yy, mq, xq, yq = (b / w for b in blurred[1:])
    a, b, c = xx - mx * mx + ridge, xy - mx * my, yy - my * my + ridge
    p, r = xq - mx * mq, yq - my * mq
    determinant = a * c - b * b
    slope_x, slope_y = (c * p - b * r) / determinant, (a * r - b * p) / determinant
    return mq + slope_x * (x - mx) + slope_y * (y - my), blurred[0]


def _blur(image: npt.NDArray[np.float64], sigma: float) -> npt.NDArray[np.float64]:
    """Gaussian blur that takes the outside as 0; wide ones at a reduced size."""
    if sigma <= 8.0:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), np.float64)
    height, width = image.shape
    pad = int(2.0 * sigma)
    padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    s = 4.0 / sigma
    size = (max(2, round(padded.shape[1] * s)), max(2, round(padded.shape[0] * s)))
    small = cv2.GaussianBlur(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), (0, 0), 4.0)
    big = cv2.resize(small, (padded.shape[1], padded.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(big[pad : pad + height, pad : pad + width], np.float64)


@njit("void(b1[:,::1], i8[:,::1], i4[:,:,::1])", cache=True, nogil=True)
def _follow_rays(known, steps, ends):
    """Flat index of the first known pixel along +step (slot 2k) and -step (2k + 1) of every unknown pixel, or -1."""
    height, width = known.shape
    for k in range(len(steps)):
        for back in range(2):
            sign = 1 - 2 * back
            dx, dy = sign * steps[k, 0], sign * steps[k, 1]
            slot = 2 * k + back
            # the neighbour looked at must be done before the pixel itself
            y_from, y_to, y_step = (height - 1, -1, -1) if dy > 0 else (0, height, 1)
            x_from, x_to, x_step = (width - 1, -1, -1) if dx > 0 else (0, width, 1)
            hx, hy = dx // 2 if dx > 0 else -((-dx) // 2), dy // 2 if dy > 0 else -((-dy) // 2)
            for y in range(y_from, y_to, y_step):
                for x in range(x_from, x_to, x_step):
                    if known[y, x]:
                        continue
                    xn, yn = x + dx, y + dy
                    if xn < 0 or yn < 0 or xn >= width or yn >= height:
                        continue
                    xh, yh = x + hx, y + hy
                    if (hx != 0 or hy != 0) and known[yh, xh]:
                        ends[slot, y, x] = yh * width + xh
                    elif known[yn, xn]:
                        ends[slot, y, x] = yn * width + xn
                    else:
                        ends[slot, y, x] = ends[slot, yn, xn]


@njit(
    "void(u1[:,:,::1], f4[:,::1], b1[:,::1], i4[:,:,::1], f4[:,::1], f4[:,::1], f4[:,:,::1], f4[:,::1])",
    cache=True,
    nogil=True,
)
def _gather_far_side(color, depth_m, known, ends, enclosed, far_depth, far_color, reach):
    """From the ends of the rays: share that met something, far depth, its colour and distance."""
    height, width = known.shape
    num = ends.shape[0]
    z = np.zeros(num)
    d = np.zeros(num)
    pair_z = np.zeros(num)
    pair_w = np.zeros(num)
    for y in range(height):
        for x in range(width):
            if known[y, x]:
                continue
            hits = 0
            for k in range(num):
                end = ends[k, y, x]
                z[k] = 0.0
                if end >= 0:
                    ye, xe = end // width, end % width
                    z[k] = depth_m[ye, xe]
                    d[k] = np.sqrt(float((ye - y) * (ye - y) + (xe - x) * (xe - x)))
                    hits += 1
            enclosed[y, x] = hits / num
            if hits == 0:
                continue
            pairs = 0
            for k in range(num // 2):
                za, zb = z[2 * k], z[2 * k + 1]
                if za > 0.0 and zb > 0.0:
                    length = d[2 * k] + d[2 * k + 1]
                elif za > 0.0:
                    length = 3.0 * d[2 * k]
                elif zb > 0.0:
                    length = 3.0 * d[2 * k + 1]
                else:
                    continue
                value, weight = max(za, zb), 1.0 / (length * length)
                at = pairs  # insertion sort by depth
                while at > 0 and pair_z[at - 1] > value:
                    pair_z[at], pair_w[at] = pair_z[at - 1], pair_w[at - 1]
                    at -= 1
                pair_z[at], pair_w[at] = value, weight
                pairs += 1
            total = 0.0
            for k in range(pairs):
                total += pair_w[k]
            cumulated, far = 0.0, pair_z[pairs - 1]
            for k in range(pairs):
                cumulated += pair_w[k]
                if cumulated >= FAR_QUANTILE * total:
                    far = pair_z[k]
                    break
            ws, zs, r, g, b, nearest = 0.0, 0.0, 0.0, 0.0, 0.0, 1e9
            for k in range(num):
                if z[k] >= FAR_RATIO * far:
                    w = 1.0 / (d[k] * d[k])
                    end = ends[k, y, x]
                    ye, xe = end // width, end % width
                    ws += w
                    zs += w / z[k]
                    r += w * color[ye, xe, 0]
                    g += w * color[ye, xe, 1]
                    b += w * color[ye, xe, 2]
                    nearest = min(nearest, d[k])
            far_depth[y, x] = ws / zs
            far_color[y, x, 0], far_color[y, x, 1], far_color[y, x, 2] = r / ws, g / ws, b / ws
            reach[y, x] = nearest
