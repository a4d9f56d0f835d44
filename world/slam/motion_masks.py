"""What moves in a clip: surface where memory, or other frames, saw free space or another colour."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..transforms import Transform, invert
from ..visibility import DepthBuffer, render_depth
from .evidence import Witness, apart, refuted
from .given import clean_depth
from .photometric import LEAST_DIFFERENCE, color_difference, color_range, match_exposure

WORK_WIDTH = 320
FRONT_M = 0.08
NEARER_M, NEARER_SHARE = 0.05, 0.02
"""Surface that is nearer than memory by more than the larger of these stands where nothing stood."""
COARSE_M, COARSE_SHARE = 0.2, 0.08
"""The same before the poses are corrected: far beyond what a pose that is a little off explains."""
ERODED_PX, OPENED_PX, CLOSED_PX, HOLES_PX = 5, 5, 5, 7
MIN_AREA_SHARE = 0.002
"""Regions smaller than this share of the picture are noise."""
MIN_COLOR_AREA_SHARE = 0.005
"""The same of regions that colour alone tells."""
MIN_VOTES = 2
"""So many other frames must have seen through a surface that memory does not know, or another colour on it."""
NEIGHBOURS, ASKED_STEP = 6, 2
"""So many frames near by are asked about every second pixel."""
GROWN_SHARE, GROWN_M = 0.08, 0.08
"""A mask grows over surface that memory does not know, of the mover's own depth, by this share of the width."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What moves in a clip, by what told so.

    Attributes:
        by_space: (F, H, W) bool, where memory or other frames saw free space.
        by_color: (F, H, W) bool, where memory or other frames saw another colour.
        by_evidence: (F, H, W) bool, where nothing moves but the depth is wrong: well observed surface refutes it.
        refuted_share: (F,) that part of the well observed surface in view.
    """

    by_space: npt.NDArray[np.bool_]
    by_color: npt.NDArray[np.bool_]
    by_evidence: npt.NDArray[np.bool_]
    refuted_share: npt.NDArray[np.float64]

    @property
    def moving(self) -> npt.NDArray[np.bool_]:
        """(F, H, W) bool, all that must stay out of memory. Fresh memory."""
        return self.by_space | self.by_color | self.by_evidence

    def where(self, fits: npt.NDArray[np.bool_]) -> "Motion":
        """The same with nothing in frames, (F,), that do not fit memory."""
        rows = fits[:, None, None]
        share = np.where(fits, self.refuted_share, 0.0)
        return Motion(self.by_space & rows, self.by_color & rows, self.by_evidence & rows, share)


def no_motion(shape: tuple[int, ...]) -> Motion:
    """Nothing moves, in (F, H, W) frames."""
    return Motion(np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape, bool), np.zeros(shape[0]))


@dataclass(frozen=True, slots=True, eq=False)
class _Frames:
    """A clip at the size it is worked on; ``ranges``: lowest and highest colour around each pixel."""

    pinhole: Pinhole
    depths: list[npt.NDArray[np.float32]]
    eroded: list[npt.NDArray[np.float32]]
    colors: list[npt.NDArray[np.float32]]
    ranges: list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]
    poses: npt.NDArray[np.float64]


def find_motion(
    depth_m: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: npt.NDArray[np.float64],
    memory: MemorySnapshot,
    *,
    color: npt.NDArray[np.uint8] | None = None,
    is_coarse: bool = False,
) -> Motion:
    """Find what moves: by free space, nearer than memory's surface or seen through by other frames; and by colour.

    Each alone may raise a region. Colour is compared with memory's where memory shows something, and with that of the
    other frames elsewhere; what lies behind memory's surface is memory's fault, not the clip's, unless that surface is
    well observed and the clip shows its picture (``evidence``).

    Args:
        depth_m: (F, H, W) float32 metres; 0, negative, not finite: unknown, never marked.
        pinhole: Intrinsics.
        world_T_camera: (F, 4, 4) poses.
        memory: What stood there before.
        color: (F, H, W, 3) uint8 sRGB; without it, free space alone tells.
        is_coarse: Only what no pose that is a little off explains, by memory's free space alone.

    Returns:
        Masks. Fresh memory.
    """
    frames = _frames(depth_m, pinhole, world_T_camera, None if is_coarse else color)
    space, other, wrong = (np.zeros(depth_m.shape, bool) for _ in range(3))
    share, witness = np.zeros(len(depth_m)), Witness(memory)
    for k, depth in enumerate(frames.depths):
        if not (depth > 0).any():
            continue
        if is_coarse:
            surface, _ = _surface(memory, frames.pinhole, frames.poses[k])
            space[k] = _enlarged(_cleaned(_is_nearer(depth, surface, (COARSE_M, COARSE_SHARE))), pinhole)
            continue
        by_space, by_color, by_evidence, share[k] = _look(k, frames, memory, witness)
        space[k], other[k] = _enlarged(by_space, pinhole), _enlarged(by_color, pinhole)
        if by_evidence.any():
            wrong[k] = _enlarged(by_evidence, pinhole)
    return Motion(space, other, wrong, share)


def _frames(
    depth_m: npt.NDArray[np.float32],
    pinhole: Pinhole,
    world_T_camera: npt.NDArray[np.float64],
    color: npt.NDArray[np.uint8] | None,
) -> _Frames:
    small = _small(pinhole)
    depths = [clean_depth(_shrunk(d, small)) for d in depth_m]
    kernel = np.ones((ERODED_PX, ERODED_PX), np.uint8)
    eroded = [np.asarray(cv2.erode(d, kernel), np.float32) for d in depths]
    size = (small.width, small.height)
    resized = [] if color is None else [cv2.resize(c, size, interpolation=cv2.INTER_AREA) for c in color]
    colors = [c.astype(np.float32) for c in resized]
    return _Frames(small, depths, eroded, colors, [color_range(c) for c in colors], world_T_camera)


def _look(
    k: int, frames: _Frames, memory: MemorySnapshot, witness: Witness
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_], float]:
    """(h, w) bool each: what moves in the k-th frame by free space and by colour, what is refuted, and its share."""
    depth = frames.depths[k]
    surface, shown = _surface(memory, frames.pinhole, frames.poses[k], with_color=bool(frames.colors))
    through, recolored = _asked_around(k, frames, (depth > 0) & (surface <= 0))
    margin = np.maximum(NEARER_M, NEARER_SHARE * depth)
    known = (depth > 0) & (shown.depth_m > 0) & (depth <= shown.depth_m + margin)
    still = known & (depth >= shown.depth_m - margin)
    by_space = _cleaned(_is_nearer(depth, surface, (NEARER_M, NEARER_SHARE)) | through)
    if by_space.any():
        by_space = _grown(by_space, depth, surface, still)
    if not frames.colors:
        return by_space, np.zeros_like(by_space), np.zeros_like(by_space), 0.0
    differs = color_difference(frames.colors[k], shown.color, known, still) > 1
    by_color = _cleaned(differs | recolored, MIN_COLOR_AREA_SHARE)
    wrong, share = _refuted(k, frames, shown, witness)
    return by_space & ~wrong, by_color & ~wrong, wrong, share


def _refuted(k: int, frames: _Frames, shown: DepthBuffer, witness: Witness) -> tuple[npt.NDArray[np.bool_], float]:
    """(h, w) bool, where well observed surface refutes the k-th frame's depth; and which share of that surface."""
    depth = frames.depths[k]
    candidates = apart(depth, shown.depth_m)
    if not candidates.any():
        return candidates, 0.0
    firm = witness.surface_m(frames.pinhole, frames.poses[k], FRONT_M)
    wrong = refuted(candidates, depth, shown.depth_m, firm, frames.colors[k], shown.color)
    share = float(wrong.sum() / max(((firm > 0) & (depth > 0)).sum(), 1))
    return cv2.dilate(wrong.astype(np.uint8), np.ones((ERODED_PX + 2, ERODED_PX + 2), np.uint8)) > 0, share


def _enlarged(mask: npt.NDArray[np.bool_], pinhole: Pinhole) -> npt.NDArray[np.bool_]:
    size = (pinhole.width, pinhole.height)
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


def _small(pinhole: Pinhole) -> Pinhole:
    factor = min(1.0, WORK_WIDTH / pinhole.width)
    return pinhole.resized(max(8, round(pinhole.width * factor)), max(8, round(pinhole.height * factor)))


def _shrunk(depth: npt.NDArray[np.float32], small: Pinhole) -> npt.NDArray[np.float32]:
    size = (small.width, small.height)
    return np.asarray(cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST), np.float32)


def _surface(
    memory: MemorySnapshot, pinhole: Pinhole, pose: Transform, *, with_color: bool = False
) -> tuple[npt.NDArray[np.float32], DepthBuffer]:
    """(H, W) memory's depth with slits closed, the nearest within 5x5 pixels: rims of what stands are no motion.

    Also what memory shows itself.
    """
    shown = render_depth(memory, pinhole, pose, front_m=FRONT_M, with_color=with_color)
    depth = shown.depth_m
    closed = cv2.morphologyEx(depth, cv2.MORPH_CLOSE, np.ones((HOLES_PX, HOLES_PX), np.uint8))
    depth = np.where(depth > 0, depth, closed)
    far = np.where(depth > 0, depth, np.float32(1e6))
    near = cv2.erode(far, np.ones((ERODED_PX, ERODED_PX), np.uint8))
    return np.where((depth > 0) & (near < 1e5), near, np.float32(0)).astype(np.float32), shown


def _is_nearer(
    depth: npt.NDArray[np.float32], surface: npt.NDArray[np.float32], margins: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    margin = np.maximum(margins[0], margins[1] * depth)
    return (depth > 0) & (surface > 0) & (surface - depth > margin)


def _asked_around(
    k: int, frames: _Frames, use: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Ask other frames about some surface of the k-th.

    Returns:
        (H, W) bool: surface that they saw through, and more of them than confirm it; and (H, W) bool: surface of their
        depth on which they saw another colour, and more of them than saw this one.
    """
    pinhole, depth = frames.pinhole, frames.depths[k]
    asked = np.zeros_like(use)
    asked[::ASKED_STEP, ::ASKED_STEP] = use[::ASKED_STEP, ::ASKED_STEP]
    points = (pinhole.rays()[asked] * depth[asked][:, None]).astype(np.float64)
    votes = np.zeros((4, len(points)), np.int32)  # through, confirmed, another colour, this colour
    others = [j for j in range(len(frames.depths)) if j != k and (frames.depths[j] > 0).any()]
    near = sorted(others, key=lambda j: abs(j - k))[:NEIGHBOURS]
    ours = frames.colors[k][asked] if frames.colors else np.empty((0, 3), np.float32)
    for j in near if len(points) else []:
        index, pixels, z = _seen_from(points, pinhole, invert(frames.poses[j]) @ frames.poses[k])
        margin = np.maximum(NEARER_M, NEARER_SHARE * z)
        there = frames.depths[j].ravel()[pixels]
        same = (there > 0) & (np.abs(there - z) <= margin)
        votes[0, index] += frames.eroded[j].ravel()[pixels] - z > margin
        votes[1, index] += same
        if frames.colors:
            differs = _differs(ours[index[same]], frames, j, pixels[same])
            votes[2, index[same]] += differs
            votes[3, index[same]] += ~differs
    through = (votes[0] >= MIN_VOTES) & (votes[0] > votes[1])
    recolored = (votes[2] >= MIN_VOTES) & (votes[2] > votes[3])
    return _spread(through, asked) & use, _spread(recolored, asked) & use


def _spread(answers: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Give the pixels around each that was asked about its answer."""
    grid = np.zeros(asked.shape, bool)
    grid[asked] = answers
    h, w = asked.shape
    return grid[::ASKED_STEP, ::ASKED_STEP].repeat(ASKED_STEP, 0).repeat(ASKED_STEP, 1)[:h, :w]


def _seen_from(
    points: npt.NDArray[np.float64], pinhole: Pinhole, other_T_camera: Transform
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Which points another frame has in view, their flat pixels in it, and their depth there."""
    moved = points @ other_T_camera[:3, :3].T + other_T_camera[:3, 3]
    z = np.where(moved[:, 2] > 0.05, moved[:, 2], np.nan)
    with np.errstate(invalid="ignore"):
        u = np.floor(pinhole.fx * moved[:, 0] / z + pinhole.cx)
        v = np.floor(pinhole.fy * moved[:, 1] / z + pinhole.cy)
        inside = np.flatnonzero((u >= 0) & (v >= 0) & (u < pinhole.width) & (v < pinhole.height))
    return inside, (v[inside] * pinhole.width + u[inside]).astype(np.intp), z[inside]


def _differs(
    ours: npt.NDArray[np.float32], frames: _Frames, j: int, pixels: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """(N,) bool: colours that the j-th frame does not show there, nor within a few pixels, whatever its exposure."""
    exposure = match_exposure(ours, frames.colors[j].reshape(-1, 3)[pixels])
    gain, offset = exposure if exposure is not None else (np.ones(3, np.float32), np.zeros(3, np.float32))
    lowest, highest = frames.ranges[j]
    low, high = lowest.reshape(-1, 3)[pixels] * gain + offset, highest.reshape(-1, 3)[pixels] * gain + offset
    beyond = np.maximum(np.maximum(ours - high, low - ours), 0)
    return (beyond**2).sum(axis=1) > LEAST_DIFFERENCE**2


def _cleaned(mask: npt.NDArray[np.bool_], min_area_share: float = MIN_AREA_SHARE) -> npt.NDArray[np.bool_]:
    """Opened, without small regions, closed."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (OPENED_PX, OPENED_PX))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    kept = np.zeros(count, bool)
    kept[1:] = stats[1:, cv2.CC_STAT_AREA] >= min_area_share * mask.size
    large = kept[np.asarray(labels, np.intp)].astype(np.uint8)
    return cv2.morphologyEx(large, cv2.MORPH_CLOSE, np.ones((CLOSED_PX, CLOSED_PX), np.uint8)) > 0


def _grown(
    mask: npt.NDArray[np.bool_],
    depth: npt.NDArray[np.float32],
    surface: npt.NDArray[np.float32],
    still: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Over neighbouring surface of the mover's depth: what memory does not know, and the rim that erosion took."""
    reach = max(3, round(GROWN_SHARE * mask.shape[1]))
    own = np.where(mask, depth, 0).astype(np.float32)
    weight = cv2.blur(mask.astype(np.float32), (2 * reach + 1, 2 * reach + 1))
    mean = cv2.blur(own, (2 * reach + 1, 2 * reach + 1)) / np.maximum(weight, 1e-6)
    unknown = surface <= 0
    rim = cv2.dilate(mask.astype(np.uint8), np.ones((ERODED_PX, ERODED_PX), np.uint8)) > 0
    similar = (depth > 0) & ~still & (weight > 1e-4) & (np.abs(depth - mean) < GROWN_M) & (unknown | rim)
    _, labels = cv2.connectedComponents((mask | similar).astype(np.uint8))
    touched = np.unique(labels[mask])
    return mask | (similar & np.isin(labels, touched[touched > 0]))
