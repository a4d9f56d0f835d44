"""Texture for holes from the known part of the same picture, by multi-scale PatchMatch.

Nearest-neighbour fields as in Barnes et al. 2009, "PatchMatch: A Randomized Correspondence Algorithm for Structural
Image Editing", filled by alternating matching and voting from coarse to fine as in Wexler et al. 2007, "Space-Time
Completion of Video". Distances are integer sums, so that a seed gives the same picture on every machine.
"""

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

PATCH_RADIUS = 3
"""Patches are squares of twice this plus one pixels."""
LEVELS = 3
"""The coarsest level is 2^(LEVELS - 1) times smaller."""
ROUNDS = (2, 3, 6)
"""Rounds of matching and voting a level, finest first."""
SWEEPS = 2
"""Sweeps over the picture in a round."""
GUIDE_RANGE = 48.0
"""The guide's 1st to 99th percentile spans this many of 255 grey levels."""
MIN_SOURCES = 64
"""Fewer whole known patches than this are no texture to copy."""
VOTE_SOFTNESS = 4.0
FINAL_SOFTNESS = 1.2
"""Squared pixels over which a patch's vote falls to 1/e; small votes copy sharply, wide ones average seams away."""


def synthesize(
    start: npt.NDArray[np.float32],
    hole: npt.NDArray[np.bool_],
    source: npt.NDArray[np.bool_],
    guide: npt.NDArray[np.float32],
    *,
    seed: int,
) -> npt.NDArray[np.float32] | None:
    """Replace a hole's colours by patches of the rest.

    Args:
        start: (H, W, 3) float32 in 0..255, known colours and a first guess in the hole.
        hole: (H, W) bool, what to replace.
        source: (H, W) bool, what may be copied; the hole never is.
        guide: (H, W) float32, such as inverse depth: patches are taken from where it is alike.
        seed: Same seed, same picture.

    Returns:
        (H, W, 3) float32, unchanged outside of the hole, or None where too little is known to copy from. Fresh memory.
    """
    if not hole.any():
        return start.copy()
    pictures, holes, sources = _pyramid(start, hole, source & ~hole, _scale_guide(guide, source & ~hole))
    state = np.array([(seed * 2654435761 + 97) % 0xFFFFFFFF | 1], np.uint32)
    match: npt.NDArray[np.int32] | None = None
    for level in reversed(range(len(pictures))):
        picture, level_hole, level_source = pictures[level], holes[level], sources[level]
        if np.count_nonzero(level_source) < MIN_SOURCES or not level_hole.any():
            continue
        unmatched = np.full((*level_hole.shape, 2), -1, np.int32)
        match = unmatched if match is None else _double(match, level_hole.shape)
        _seed_matches(level_hole, level_source, np.flatnonzero(level_source), match, state)
        if level < len(pictures) - 1:
            cost = np.zeros(level_hole.shape, np.int32)
            _vote(picture, level_hole, match, cost, np.int32(1 << 30), VOTE_SOFTNESS)
        for turn in range(ROUNDS[min(level, len(ROUNDS) - 1)]):
            cost = np.full(level_hole.shape, 1 << 30, np.int32)
            reach = max(level_hole.shape) if level == len(pictures) - 1 else 16
            _match(picture, level_hole, level_source, match, cost, SWEEPS, reach, state)
            scale = max(int(np.percentile(cost[level_hole], 75)), 25 * 49)
            last = level == 0 and turn == ROUNDS[0] - 1
            _vote(picture, level_hole, match, cost, np.int32(scale), FINAL_SOFTNESS if last else VOTE_SOFTNESS)
    if match is None:
        return None
    out = start.copy()
    out[hole] = pictures[0][..., :3][hole]
    return out


def _scale_guide(guide: npt.NDArray[np.float32], source: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The guide on the scale of colours."""
    if not source.any():
        return np.zeros_like(guide)
    low, high = np.percentile(guide[source], (1.0, 99.0))
    return np.clip((guide - low) * (GUIDE_RANGE / max(high - low, 1e-6)), -64.0, 255.0).astype(np.float32)


def _pyramid(
    start: npt.NDArray[np.float32],
    hole: npt.NDArray[np.bool_],
    source: npt.NDArray[np.bool_],
    guide: npt.NDArray[np.float32],
) -> tuple[list[npt.NDArray[np.int16]], list[npt.NDArray[np.bool_]], list[npt.NDArray[np.bool_]]]:
    """Colours with guide, holes and centres of whole known patches of each level, finest first."""
    image = np.dstack([start, guide]).astype(np.float32)
    share, usable = hole.astype(np.float32), source.astype(np.float32)
    kernel = np.ones((2 * PATCH_RADIUS - 1,) * 2, np.uint8)
    pictures, holes, sources = [], [], []
    for level in range(LEVELS):
        if level:
            size = (max(1, (image.shape[1] + 1) // 2), max(1, (image.shape[0] + 1) // 2))
            image, share, usable = (cv2.resize(a, size, interpolation=cv2.INTER_AREA) for a in (image, share, usable))
        level_hole = share > 0.5
        whole = cv2.erode(((usable > 0.9) & ~level_hole).astype(np.uint8), kernel, borderValue=0).astype(bool)
        edge = PATCH_RADIUS
        whole[:edge] = whole[-edge:] = False
        whole[:, :edge] = whole[:, -edge:] = False
        pictures.append(np.ascontiguousarray(np.rint(image).astype(np.int16)))
        holes.append(level_hole)
        sources.append(whole)
    return pictures, holes, sources


def _double(match: npt.NDArray[np.int32], shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    """A coarser level's matches on the next finer grid."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.int32)
    coarse = match[np.minimum(y // 2, match.shape[0] - 1), np.minimum(x // 2, match.shape[1] - 1)]
    fine = coarse * 2 + np.stack([y % 2, x % 2], axis=-1).astype(np.int32)
    return np.where(coarse < 0, -1, fine).astype(np.int32)


@njit("u4(u4[::1])", cache=True, nogil=True)
def _random(state):
    """Next 32 random bits (Marsaglia's xorshift)."""
    x = state[0]
    x ^= (x << np.uint32(13)) & np.uint32(0xFFFFFFFF)
    x ^= x >> np.uint32(17)
    x ^= (x << np.uint32(5)) & np.uint32(0xFFFFFFFF)
    state[0] = x
    return state[0]


@njit("void(b1[:,::1], b1[:,::1], i8[::1], i4[:,:,::1], u4[::1])", cache=True, nogil=True)
def _seed_matches(hole, source, sources, match, state):
    """Give every hole pixel without a valid match a random one."""
    height, width = hole.shape
    for y in range(height):
        for x in range(width):
            if not hole[y, x]:
                continue
            my, mx = match[y, x, 0], match[y, x, 1]
            if my < 0 or mx < 0 or my >= height or mx >= width or not source[my, mx]:
                pick = sources[np.int64(_random(state)) % len(sources)]
                match[y, x, 0], match[y, x, 1] = pick // width, pick % width


@njit("i4(i2[:,:,::1], i8, i8, i8, i8, i4)", cache=True, nogil=True)
def _distance(picture, y, x, my, mx, best):
    """Mean squared difference of two patches, times 64; gives up above ``best``."""
    height, width = picture.shape[0], picture.shape[1]
    y0, y1 = max(-PATCH_RADIUS, -y), min(PATCH_RADIUS, height - 1 - y)
    x0, x1 = max(-PATCH_RADIUS, -x), min(PATCH_RADIUS, width - 1 - x)
    count = (y1 - y0 + 1) * (x1 - x0 + 1)
    limit = np.int64(best) * count // 64
    total = np.int64(0)
    for dy in range(y0, y1 + 1):
        a, b = picture[y + dy], picture[my + dy]
        row = np.int32(0)
        for dx in range(x0, x1 + 1):
            d0 = np.int32(a[x + dx, 0]) - np.int32(b[mx + dx, 0])
            d1 = np.int32(a[x + dx, 1]) - np.int32(b[mx + dx, 1])
            d2 = np.int32(a[x + dx, 2]) - np.int32(b[mx + dx, 2])
            d3 = np.int32(a[x + dx, 3]) - np.int32(b[mx + dx, 3])
            row += d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3
        total += row
        if total > limit:
            return np.int32(1 << 30)
    return np.int32(total * 64 // count)


@njit("void(i2[:,:,::1], b1[:,::1], b1[:,::1], i4[:,:,::1], i4[:,::1], i8, i8, u4[::1])", cache=True, nogil=True)
def _match(picture, hole, source, match, cost, sweeps, reach, state):
    """Improve the matches of hole pixels by their neighbours' and by random tries at ever smaller reach."""
    height, width = hole.shape
    for sweep in range(sweeps):
        step = 1 if sweep % 2 == 0 else -1
        for row in range(height):
            y = row if step > 0 else height - 1 - row
            for column in range(width):
                x = column if step > 0 else width - 1 - column
                if not hole[y, x]:
                    continue
                by, bx = np.int64(match[y, x, 0]), np.int64(match[y, x, 1])
                best = cost[y, x]
                if sweep == 0:
                    best = _distance(picture, y, x, by, bx, np.int32(1 << 24))
                for side in range(2):
                    yn, xn = (y, x - step) if side == 0 else (y - step, x)
                    if yn < 0 or xn < 0 or yn >= height or xn >= width or not hole[yn, xn]:
                        continue
                    cy, cx = match[yn, xn, 0] + (y - yn), match[yn, xn, 1] + (x - xn)
                    if (cy == by and cx == bx) or cy < 0 or cx < 0 or cy >= height or cx >= width:
                        continue
                    if source[cy, cx]:
                        d = _distance(picture, y, x, cy, cx, best)
                        if d < best:
                            best, by, bx = d, np.int64(cy), np.int64(cx)
                radius = reach
                while radius >= 1:
                    span = 2 * radius + 1
                    cy = by + np.int64(_random(state)) % span - radius
                    cx = bx + np.int64(_random(state)) % span - radius
                    radius //= 3
                    if cy < 0 or cx < 0 or cy >= height or cx >= width or not source[cy, cx]:
                        continue
                    d = _distance(picture, y, x, cy, cx, best)
                    if d < best:
                        best, by, bx = d, cy, cx
                match[y, x, 0], match[y, x, 1] = by, bx
                cost[y, x] = best


@njit("void(i2[:,:,::1], b1[:,::1], i4[:,:,::1], i4[:,::1], i4, f8)", cache=True, nogil=True)
def _vote(picture, hole, match, cost, scale, softness):
    """Make every hole pixel the weighted mean of what the patches over it say."""
    height, width = hole.shape
    total = np.zeros((height, width, 4), np.float32)
    side = 2 * PATCH_RADIUS + 1
    window = np.zeros((side, side), np.float32)
    for dy in range(side):
        for dx in range(side):
            distance = (dy - PATCH_RADIUS) ** 2 + (dx - PATCH_RADIUS) ** 2
            window[dy, dx] = np.exp(-distance / softness)
    for y in range(height):
        for x in range(width):
            if not hole[y, x]:
                continue
            my, mx = match[y, x, 0], match[y, x, 1]
            trust = np.float32(np.exp(-cost[y, x] / scale) + 1e-4)
            for dy in range(-PATCH_RADIUS, PATCH_RADIUS + 1):
                yt, ys = y + dy, my + dy
                if yt < 0 or yt >= height:
                    continue
                for dx in range(-PATCH_RADIUS, PATCH_RADIUS + 1):
                    xt, xs = x + dx, mx + dx
                    w = window[dy + PATCH_RADIUS, dx + PATCH_RADIUS]
                    if w < 1e-3 or xt < 0 or xt >= width or not hole[yt, xt]:
                        continue
                    w *= trust
                    total[yt, xt, 0] += w * picture[ys, xs, 0]
                    total[yt, xt, 1] += w * picture[ys, xs, 1]
                    total[yt, xt, 2] += w * picture[ys, xs, 2]
                    total[yt, xt, 3] += w
    for y in range(height):
        for x in range(width):
            if hole[y, x] and total[y, x, 3] > 0.0:
                for k in range(3):
                    picture[y, x, k] = np.int16(total[y, x, k] / total[y, x, 3] + 0.5)
