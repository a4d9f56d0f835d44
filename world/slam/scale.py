"""The scale of a clip's depth, found on the surface that memory shows to the same cameras."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..points import PointClass, priority_of
from ..visibility import render_depth
from .estimators import FrameStack, GeometryEstimate

VIEW_WIDTH = 160
FRONT_M = 0.1
MIN_SAMPLES = 200
MIN_OBSERVED = 0.05
"""Share of the pixels that observed points must cover to be the only ones that count."""
MAX_SAMPLES = 4000
ROUNDS = 200
RATIO_TOLERANCE = 0.05
"""Log ratio up to which a sample agrees with a candidate."""
IRLS_STEPS = 10
MIN_AGREEMENT = 0.3
"""Share of the samples that must agree with a scale for it to be believed."""
MIN_SPREAD = 0.25
"""Relative spread of depth below which scale and shift cannot be told apart."""
SHIFT_GAIN, SHIFT_SIZE = 0.75, 0.03
"""A shift is evident if it leaves at most this share of the residual and is at least this share of the depth."""
MIN_SCALE, MAX_SCALE = 0.05, 20.0
LOCKED = 0.005
"""A factor this near 1 is noise; the depth is left as it is."""


@dataclass(frozen=True, slots=True)
class ScaleLock:
    """How a clip's depth becomes memory's: ``scale * depth + shift``.

    Attributes:
        scale: Factor.
        shift_m: Added afterwards; 0 unless it is evident.
        agreement: Share of the samples that agree.
        residual: Median relative residual of those.
        num_samples: Co-visible pixels.
        rejected: Why no scale was found, empty if one was.
    """

    scale: float = 1.0
    shift_m: float = 0.0
    agreement: float = 0.0
    residual: float = float("nan")
    num_samples: int = 0
    rejected: str = ""


def fit_scale(
    depth: npt.NDArray[np.floating], memory_m: npt.NDArray[np.floating], *, seed: int = 0, may_shift: bool = True
) -> ScaleLock:
    """Fit a factor, and a shift only where it is evident, to pairs of depths.

    Candidates from single pairs are scored by how many others agree within 5 % (RANSAC); the best one is refined by
    iteratively re-weighted least squares on log ratios.

    Args:
        depth: (N,) the clip's depth, any scale, above 0.
        memory_m: (N,) memory's depth of the same pixels, metres, above 0.
        seed: Of the choice of candidates.
        may_shift: Look for a shift at all; what is consistent over many views has none.
    """
    if len(depth) < MIN_SAMPLES:
        return ScaleLock(num_samples=len(depth), rejected=f"{len(depth)} co-visible samples, needs {MIN_SAMPLES}")
    rng = np.random.default_rng(seed)
    x, y = depth.astype(np.float64), memory_m.astype(np.float64)
    log_scale = _vote_and_refine(np.log(y) - np.log(x), rng)
    plain = _judged(np.exp(log_scale), 0.0, x, y)
    shifted = _with_shift(x, y, rng) if may_shift and _spread(x) > MIN_SPREAD else None
    best = plain if shifted is None or not _is_evident(shifted, plain, y) else shifted
    if best.agreement < MIN_AGREEMENT:
        reason = f"scale: {best.agreement:.0%} of the co-visible surface agrees, needs {MIN_AGREEMENT:.0%}"
        return ScaleLock(best.scale, best.shift_m, best.agreement, best.residual, best.num_samples, reason)
    return best


def _vote_and_refine(log_ratio: npt.NDArray[np.float64], rng: np.random.Generator) -> float:
    candidates = log_ratio[rng.integers(0, len(log_ratio), ROUNDS)]
    judges = log_ratio[rng.permutation(len(log_ratio))[:MAX_SAMPLES]]
    cost = np.minimum(np.abs(judges[None, :] - candidates[:, None]), RATIO_TOLERANCE).sum(axis=1)
    best = float(candidates[np.argmin(cost)])
    for _ in range(IRLS_STEPS):
        off = log_ratio - best
        weight = np.where(np.abs(off) < 3 * RATIO_TOLERANCE, 1 / (1 + (off / RATIO_TOLERANCE) ** 2) ** 2, 0)
        best += float((weight * off).sum() / max(weight.sum(), 1e-12))
    return best


def _with_shift(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], rng: np.random.Generator) -> ScaleLock | None:
    """The same for scale and shift, from pairs of samples at different depth; None if there are no such pairs."""
    i = rng.integers(0, len(x), (4 * ROUNDS, 2))
    x0, x1, y0, y1 = x[i[:, 0]], x[i[:, 1]], y[i[:, 0]], y[i[:, 1]]
    apart = np.abs(x1 - x0) > 0.15 * np.median(x)
    scale = (y1 - y0)[apart] / (x1 - x0)[apart]
    shift = y0[apart] - scale * x0[apart]
    usable = (scale > MIN_SCALE) & (scale < MAX_SCALE)
    if not usable.any():
        return None
    scale, shift = scale[usable], shift[usable]
    judges = rng.permutation(len(x))[: MAX_SAMPLES // 2]
    off = np.abs(scale[:, None] * x[judges] + shift[:, None] - y[judges]) / y[judges]
    best = int(np.argmin(np.minimum(off, RATIO_TOLERANCE).sum(axis=1)))
    a, b = float(scale[best]), float(shift[best])
    for _ in range(IRLS_STEPS):
        r = (a * x + b - y) / y
        weight = np.where(np.abs(r) < 3 * RATIO_TOLERANCE, 1 / (1 + (r / (RATIO_TOLERANCE / 2)) ** 2) ** 2, 0) / y**2
        design = np.stack([x, np.ones_like(x)], axis=1)
        normal = (design * weight[:, None]).T @ design
        if abs(np.linalg.det(normal)) < 1e-12:
            return None
        a, b = (float(v) for v in np.linalg.solve(normal, (design * weight[:, None]).T @ y))
    return _judged(a, b, x, y) if MIN_SCALE < a < MAX_SCALE else None


def _judged(scale: float, shift: float, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> ScaleLock:
    off = np.abs(scale * x + shift - y) / y
    agrees = off < RATIO_TOLERANCE
    residual = float(np.median(off[agrees])) if agrees.any() else float("nan")
    return ScaleLock(float(scale), float(shift), float(agrees.mean()), residual, len(x))


def _spread(x: npt.NDArray[np.float64]) -> float:
    low, high = np.percentile(x, [10, 90])
    return float((high - low) / np.median(x))


def _is_evident(shifted: ScaleLock, plain: ScaleLock, y: npt.NDArray[np.float64]) -> bool:
    """A shift must be worth its freedom: warps and outliers fit a little better with one, too."""
    if abs(shifted.shift_m) < SHIFT_SIZE * float(np.median(y)):
        return False
    gained = shifted.agreement > plain.agreement + 0.1
    return bool(gained or (shifted.agreement >= plain.agreement and shifted.residual < SHIFT_GAIN * plain.residual))


def covisible_depths(
    frames: FrameStack, estimate: GeometryEstimate, moving: npt.NDArray[np.bool_], memory: MemorySnapshot
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(N,) depths of the clip and (N,) of memory at the same pixels of all frames that have depth.

    Observed points are preferred: where they cover enough, only they count. What moves or is new does not count.
    """
    ours, theirs = [], []
    for k in range(len(frames)):
        if not (estimate.depth_m[k] > 0).any():
            continue
        trusted = (estimate.confidence[k] > 0) & ~moving[k]
        if frames.new_surface is not None:
            trusted &= ~frames.new_surface[k]
        small = _small_pinhole(frames.pinhole)
        rows, columns = _sample_grid(frames.pinhole, small)
        depth = np.where(trusted, estimate.depth_m[k], 0)[np.ix_(rows, columns)]
        surface = memory_depth(memory, small, estimate.world_T_camera[k])
        both = (depth > 0) & (surface > 0)
        ours.append(depth[both].astype(np.float64))
        theirs.append(surface[both].astype(np.float64))
    return (np.concatenate(ours), np.concatenate(theirs)) if ours else (np.empty(0), np.empty(0))


def _small_pinhole(pinhole: Pinhole) -> Pinhole:
    factor = min(1.0, VIEW_WIDTH / pinhole.width)
    return pinhole.resized(max(8, round(pinhole.width * factor)), max(8, round(pinhole.height * factor)))


def _sample_grid(pinhole: Pinhole, small: Pinhole) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the full picture under the centres of the small one's pixels."""
    rows = ((np.arange(small.height) + 0.5) * pinhole.height / small.height).astype(np.intp)
    columns = ((np.arange(small.width) + 0.5) * pinhole.width / small.width).astype(np.intp)
    return rows, columns


def memory_depth(
    memory: MemorySnapshot, pinhole: Pinhole, world_T_camera: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """(H, W) depth of memory without its edges, where a pose that is a little off compares two surfaces."""
    observed = priority_of(PointClass.OBSERVED)
    depth = render_depth(memory, pinhole, world_T_camera, observed, front_m=FRONT_M).depth_m
    if (depth > 0).mean() < MIN_OBSERVED:
        depth = render_depth(memory, pinhole, world_T_camera, front_m=FRONT_M).depth_m
    return depth


def lock_scale(
    frames: FrameStack, estimate: GeometryEstimate, moving: npt.NDArray[np.bool_], memory: MemorySnapshot
) -> tuple[GeometryEstimate, ScaleLock]:
    """Bring an estimate that is up to scale to memory's.

    Returns:
        The estimate in metres and how it was found. Where memory holds nothing, it stays as it is, not metric. Where
        ``rejected`` says why no scale was found, it must not be merged.
    """
    if not memory.chunks:
        return replace(estimate, is_metric=False), ScaleLock()
    lock = fit_scale(*covisible_depths(frames, estimate, moving, memory))
    if lock.rejected or (abs(lock.scale - 1) < LOCKED and lock.shift_m == 0):
        return estimate, lock
    depth = np.where(estimate.depth_m > 0, lock.scale * estimate.depth_m + lock.shift_m, 0).astype(np.float32)
    depth = np.maximum(depth, 0)
    confidence = np.where(depth > 0, estimate.confidence, np.float32(0))
    layers = tuple(
        replace(x, depth_m=np.where(x.depth_m > 0, lock.scale * x.depth_m + lock.shift_m, 0).astype(np.float32))
        for x in estimate.layers
    )
    scale = estimate.scale * lock.scale
    return replace(estimate, depth_m=depth, confidence=confidence, layers=layers, scale=scale), lock
