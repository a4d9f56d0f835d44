"""Ground and sky of a photo, by colour and texture alone."""

import cv2
import numpy as np
import numpy.typing as npt

NUM_COLORS = 40
GROUND_START, OTHER_START = 0.86, 0.35
"""Rows below the first are taken for ground at first, rows above the second for something else."""
ROUNDS = 4
MAX_EVIDENCE = 2.0
STEP_COST, JUMP_COST = 4.0, 120.0
"""Cost of each row that the ground's edge moves from column to column, and the most that a jump costs; in nats."""
EDGE_REWARD = 6.0
MAX_SPECK_SHARE = 2e-4
MIN_SKY_WIDTH, MIN_SKY_SHARE, MAX_BELOW_HORIZON = 0.2, 0.02, 0.03


def find_ground_edge(
    color: npt.NDArray[np.uint8], highest_row: npt.NDArray[np.float64], seed: int = 0
) -> npt.NDArray[np.float64]:
    """Find the row in each column where the ground ends and what stands on it begins.

    The colours of the lowest rows and of the upper ones are told apart by how often each occurs in either (clusters of
    colour and local contrast); the best edge over all columns is found by dynamic programming, and the colours are
    counted anew, a few times. What stands on the ground, with ground above it in the picture, does not cut it off.

    Args:
        color: (h, w, 3) uint8 sRGB, a small picture.
        highest_row: (w,) rows that the edge may not pass, such as the horizon's.
        seed: Of the clustering.

    Returns:
        (w,) float64 rows in [0, h]; the ground is below.
    """
    h, w = color.shape[:2]
    labels = _cluster(_features(color), seed)
    rows = np.arange(h)[:, None] / h
    ground = np.broadcast_to(rows > GROUND_START, (h, w))
    other = np.broadcast_to(rows < OTHER_START, (h, w))
    step = _vertical_contrast(color)
    edge = np.full(w, h * GROUND_START)
    for _ in range(ROUNDS):
        evidence = _evidence(labels, ground, other)
        edge = _best_edge(evidence + 0.8 * (rows - 0.6), step, highest_row)
        ground = np.arange(h)[:, None] >= edge[None, :]
        other = ~ground
    return edge.astype(np.float64)


def find_sky(color: npt.NDArray[np.uint8], horizon_row: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Find blue or dusky sky that reaches down from the picture's top; white ones cannot be told from walls.

    Args:
        color: (h, w, 3) uint8 sRGB, a small picture.
        horizon_row: (w,) row of the horizon; what goes on below it is a wall, not the sky.

    Returns:
        (h, w) bool, all False where there is no sky to be sure of.
    """
    h, w = color.shape[:2]
    lab = cv2.cvtColor(color, cv2.COLOR_RGB2LAB).astype(np.float32)
    bluish = lab[..., 2] - 128 < np.minimum(-5.0, -0.2 * np.abs(lab[..., 1] - 128))
    calm = cv2.GaussianBlur(np.abs(cv2.Laplacian(lab[..., 0], cv2.CV_32F)), (0, 0), 2) < 14
    blue = (bluish & calm).astype(np.uint8)
    top_rows = slice(0, max(1, h // 50))
    none = np.zeros((h, w), bool)
    if blue[top_rows].mean() < MIN_SKY_WIDTH:
        return none
    pale = (lab[..., 0] > 200) & (np.abs(lab[..., 1:] - 128).max(axis=2) < 12) & calm
    _, parts = cv2.connectedComponents(blue | pale.astype(np.uint8))
    at_top = np.unique(parts[top_rows][blue[top_rows] > 0])
    sky = np.isin(parts, at_top[at_top > 0])
    opened = cv2.morphologyEx(sky.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    sky = _without_specks(np.asarray(opened, np.uint8))
    below = sky & (np.arange(h)[:, None] > horizon_row[None, :] + 0.06 * h)
    if sky.mean() < MIN_SKY_SHARE or below.sum() > MAX_BELOW_HORIZON * sky.sum():
        return none
    return sky & ~below


def _without_specks(sky: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Fill holes of a few pixels: noise, birds, wires."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(1 - sky, connectivity=4)
    is_speck = statistics[:, cv2.CC_STAT_AREA] <= MAX_SPECK_SHARE * sky.size
    is_speck[0] = False
    return (sky > 0) | is_speck[np.asarray(parts, np.intp)]


def _features(color: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(h, w, 5) smoothed Lab colour and local contrast at two scales."""
    lab = cv2.cvtColor(color, cv2.COLOR_RGB2LAB).astype(np.float32)
    smooth = cv2.bilateralFilter(lab, 7, 20, 5)
    light = lab[..., 0]
    contrast = [
        np.sqrt(np.maximum(cv2.GaussianBlur(light**2, (0, 0), s) - cv2.GaussianBlur(light, (0, 0), s) ** 2, 0))
        for s in (1.5, 4.0)
    ]
    return np.dstack([smooth[..., 0] * 0.6, smooth[..., 1] * 1.5, smooth[..., 2] * 1.5, *contrast]).astype(np.float32)


def _cluster(features: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.intp]:
    """(h, w) labels by k-means; the same for the same seed."""
    rng = np.random.default_rng(seed)
    flat = features.reshape(-1, features.shape[-1])
    sample = flat[rng.choice(len(flat), min(4000, len(flat)), replace=False)]
    centres = sample[rng.choice(len(sample), min(NUM_COLORS, len(sample)), replace=False)]
    for _ in range(8):
        nearest = _nearest(sample, centres)
        counts = np.bincount(nearest, minlength=len(centres))
        sums = np.stack([np.bincount(nearest, sample[:, c], len(centres)) for c in range(sample.shape[1])], axis=1)
        centres = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres).astype(np.float32)
    return _nearest(flat, centres).reshape(features.shape[:2])


def _nearest(points: npt.NDArray[np.float32], centres: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    return np.argmin((centres**2).sum(axis=1) - 2 * points @ centres.T, axis=1)


def _evidence(
    labels: npt.NDArray[np.intp], ground: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """(h, w) log likelihood ratio of ground against something else, in [-2, 2]."""
    count = int(labels.max()) + 1
    is_ground = np.bincount(labels[ground], minlength=count) + 3.0
    is_other = np.bincount(labels[other], minlength=count) + 3.0
    ratio = np.log(is_ground / is_ground.sum()) - np.log(is_other / is_other.sum())
    return cv2.GaussianBlur(np.clip(ratio, -MAX_EVIDENCE, MAX_EVIDENCE)[labels], (0, 0), 1.0)


def _vertical_contrast(color: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(h + 1, w) in [0, 1], how strongly the picture changes across each border between rows."""
    lab = cv2.GaussianBlur(cv2.cvtColor(color, cv2.COLOR_RGB2LAB).astype(np.float32), (0, 0), 1.0)
    step = np.abs(np.diff(lab, axis=0)).sum(axis=2)
    step = np.minimum(step / max(float(np.quantile(step, 0.95)), 1e-6), 1.0)
    return np.pad(step, ((1, 1), (0, 0)))


def _best_edge(
    evidence: npt.NDArray[np.float64], contrast: npt.NDArray[np.float64], highest_row: npt.NDArray[np.float64]
) -> npt.NDArray[np.intp]:
    """(w,) rows of the edge by dynamic programming over the columns (Viterbi)."""
    h, w = evidence.shape
    cumulative = np.concatenate([np.zeros((1, w)), np.cumsum(evidence, axis=0)])
    unary = 2.0 * cumulative - EDGE_REWARD * contrast
    rows = np.arange(h + 1)
    unary[rows[:, None] < highest_row[None, :]] = 1e9
    move = np.minimum(STEP_COST * np.abs(rows[:, None] - rows[None, :]), JUMP_COST)
    cost = unary[:, 0]
    back = np.zeros((w, h + 1), np.intp)
    for x in range(1, w):
        total = cost[None, :] + move
        back[x] = np.argmin(total, axis=1)
        cost = total[rows, back[x]] + unary[:, x]
    edge = np.zeros(w, np.intp)
    edge[-1] = int(np.argmin(cost))
    for x in range(w - 1, 0, -1):
        edge[x - 1] = back[x, edge[x]]
    return edge
