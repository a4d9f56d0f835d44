"""A photo unrolled on a cylinder round its camera, without what stands in front, and continued all the way round."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from ...world.transforms import Transform, invert
from ..requests import ReferenceFrame
from .patchmatch import synthesize
from .pyramid import push_pull
from .strips import Exemplar, Placed, Stretch, fill_stretch

Image = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

MAX_COLUMNS = 3200
"""Columns of the whole round; a photo's own resolution if that is coarser."""
STEEPEST = 2.0
"""Tangent of the steepest elevation that is kept; what is steeper belongs to ground and ceiling."""
ROW_SHARE, COLUMN_SHARE = 0.5, 0.6
"""Rows and columns of the unrolled photo are kept where at least this share is seen."""
GROUND_TOLERANCE = 0.10
"""Points this near to the ground, as a share of the eye's height, belong to it."""
FOREGROUND_SHARE = 0.75
"""What stands upright nearer than this share of the backdrop's distance is in front of it."""
SKY_GAP = 1.2
"""A gap of this factor between the farthest depths and the rest sets the sky apart,"""
SKY_ABOVE_SHARE = 0.9
"""if this share of what lies beyond is above the horizon."""
LEVELS_PER_OCTAVE = 40.0
"""How much a factor of two in distance weighs beside colour, in grey levels, when strips are joined."""
SKY_OCTAVES = 4.0
LAST_STRIP_SHARES = (0.25, 0.4)
"""Widths, in widths of the photo, of the strip before its left edge; each is tried, the rest follows."""
FLAT_SPREAD = 0.006
"""Relative spread of the distances in a column below which they are no measurement: sensors have more noise."""
STRIP_SPAN_M = 2.6
"""The photo's width in the metres that strips are measured in: they then span a sixth to a half of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Level axes below a camera: y down with 0 on the ground, z the way it looks, x to its right.

    Attributes:
        world_T_level: (4, 4) float64.
        eye_m: Height of the camera over the ground.
    """

    world_T_level: Transform
    eye_m: float


@dataclass(frozen=True, slots=True, eq=False)
class Panorama:
    """Colour and horizontal distance by azimuth (columns) and tangent of the elevation (rows, falling).

    Attributes:
        color: (H, W, 3) float32, 0..255.
        distance_m: (H, W) float32, horizontal distance from the eye.
        ground: (H, W) bool.
        sky: (H, W) bool.
        top: Tangent of the elevation of the first row's upper edge.
        first_rad: Azimuth of the first column's left edge.
        step: Radians a column, and tangent a row.
        invented: (W,) float32, share of each column that was invented.
    """

    color: Image
    distance_m: Image
    ground: Mask
    sky: Mask
    top: float
    first_rad: float
    step: float
    invented: Image

    @property
    def tangents(self) -> npt.NDArray[np.float64]:
        """(H,) tangent of the elevation of each row's middle."""
        return self.top - (np.arange(self.color.shape[0]) + 0.5) * self.step

    @property
    def azimuths_rad(self) -> npt.NDArray[np.float64]:
        """(W,) azimuth of each column's middle, clockwise from ahead."""
        return self.first_rad + (np.arange(self.color.shape[1]) + 0.5) * self.step


def make_stage(photo: ReferenceFrame, up_world: npt.ArrayLike, floor: tuple[float, ...] | None) -> Stage:
    """Level axes below a photo's camera; without a floor the lowest points seen stand in for it."""
    pose = photo.world_T_camera
    up = np.asarray(up_world, np.float64)
    up = up / np.linalg.norm(up)
    ahead = pose[:3, 2] if abs(pose[:3, 2] @ up) < 0.98 else -pose[:3, 1]
    ahead = ahead - up * (ahead @ up)
    ahead /= np.linalg.norm(ahead)
    if floor is not None:
        eye_m = float(pose[:3, 3] @ np.asarray(floor[:3]) + floor[3])
    else:
        assert photo.depth_m is not None
        drop = (photo.pinhole.rays() @ (pose[:3, :3].T @ -up)) * photo.depth_m
        eye_m = float(np.percentile(drop[photo.depth_m > 0], 98))
    eye_m = max(eye_m, 0.3)
    out = np.eye(4)
    out[:3, :3] = np.stack([np.cross(-up, ahead), -up, ahead], axis=1)
    out[:3, 3] = pose[:3, 3] - up * eye_m
    return Stage(out, eye_m)


def unroll(photo: ReferenceFrame, stage: Stage, seed: int) -> Panorama | None:
    """Unroll a photo, take away what stands in front and complete what that hid.

    Args:
        photo: With depth.
        stage: Its level axes.
        seed: Of the completion.

    Returns:
        The part of the round that the photo sees; every pixel has a colour and a distance. None for a photo that
        looks straight up or down.
    """
    sampled = _resample(photo, stage)
    if sampled is None:
        return None
    color, distance, seen, known, top, first, step = sampled
    tangents = top - (np.arange(color.shape[0]) + 0.5) * step
    ground_m = np.where(tangents < -1e-3, stage.eye_m / np.maximum(-tangents, 1e-3), np.inf)[:, None]
    height = stage.eye_m + distance * tangents[:, None]
    ground = known & (np.abs(height) < GROUND_TOLERANCE * stage.eye_m + 0.02 * distance)
    sky = known & _beyond_gap(distance, known & ~ground, tangents > 0.0)
    upright = known & ~ground & ~sky
    backdrop = _backdrop_distance(distance, upright, 8.0 * stage.eye_m)
    front = upright & (distance < FOREGROUND_SHARE * backdrop[None])
    front = cv2.dilate(front.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    sky = np.where(known & ~front, sky, _nearest_flag(sky, known & ~front))
    modelled = np.minimum(np.broadcast_to(backdrop[None], distance.shape), ground_m)
    keep = known & ~front
    distance = np.where(keep, np.where(ground, ground_m, distance), modelled)
    ground = np.where(keep, ground, ~sky & (ground_m < backdrop[None]))
    distance = np.where(sky, float(backdrop.max()) * 2.0**SKY_OCTAVES, distance).astype(np.float32)
    hole = ~seen | (front & known)
    color = _complete(color, hole, 1.0 / distance, seed)
    return Panorama(color, distance, ground, sky, top, first, step, hole.mean(0).astype(np.float32))


def is_stage_set(photo: ReferenceFrame, stage: Stage) -> bool:
    """True if what stands upright in a photo has no relief at all: its depth was guessed as painted scenery.

    Walls made from it would only repeat the paint; it is better continued as scenery.
    """
    sampled = _resample(photo, stage)
    if sampled is None:
        return False
    _, distance, _, known, top, _, step = sampled
    tangents = top - (np.arange(distance.shape[0]) + 0.5) * step
    height = stage.eye_m + distance * tangents[:, None]
    upright = known & (height > GROUND_TOLERANCE * stage.eye_m + 0.02 * distance)
    upright &= ~_beyond_gap(distance, upright, tangents > 0.0)
    spread = [
        np.ptp(np.percentile(distance[upright[:, k], k], (10, 90))) / np.median(distance[upright[:, k], k])
        for k in np.flatnonzero(upright.mean(0) > 0.1)[::4]
    ]
    return bool(spread) and float(np.median(spread)) < FLAT_SPREAD


def _resample(photo: ReferenceFrame, stage: Stage):
    """Colour, horizontal distance, what is seen and what has depth on the cylinder; its top, first azimuth and step.

    None for a photo that looks so steeply that the cylinder has nothing of it.
    """
    assert photo.depth_m is not None
    pinhole = photo.pinhole
    camera_R_level = photo.world_T_camera[:3, :3].T @ stage.world_T_level[:3, :3]
    rays = pinhole.rays().reshape(-1, 3) @ camera_R_level
    flat = np.hypot(rays[:, 0], rays[:, 2])
    azimuth, tangent = np.arctan2(rays[:, 0], rays[:, 2]), -rays[:, 1] / np.maximum(flat, 1e-6)
    step = max(2.0 * np.pi / MAX_COLUMNS, 1.0 / pinhole.fx)
    top, low = min(float(tangent.max()), STEEPEST), max(float(tangent.min()), -STEEPEST)
    first, last = max(float(azimuth.min()), -1.3), min(float(azimuth.max()), 1.3)
    tangents = top - (np.arange(max(16, int((top - low) / step))) + 0.5) * step
    azimuths = first + (np.arange(max(16, int((last - first) / step))) + 0.5) * step
    t, a = np.meshgrid(tangents, azimuths, indexing="ij")
    ahead = np.stack([np.sin(a), -t, np.cos(a)], axis=-1) @ camera_R_level.T
    z = np.maximum(ahead[..., 2], 1e-6)
    u = (pinhole.fx * ahead[..., 0] / z + pinhole.cx).astype(np.float32)
    v = (pinhole.fy * ahead[..., 1] / z + pinhole.cy).astype(np.float32)
    seen = (ahead[..., 2] > 1e-3) & (u >= 0) & (v >= 0) & (u < pinhole.width) & (v < pinhole.height)
    columns, rows = np.where(seen, u, 0).astype(int), np.where(seen, v, 0).astype(int)
    depth = np.where(seen, photo.depth_m[rows, columns], 0.0)
    color = cv2.remap(photo.color, u - 0.5, v - 0.5, cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    if not seen.any():
        return None
    row_share = seen.mean(1)
    fine_rows = np.flatnonzero(row_share >= ROW_SHARE * min(1.0, 1.5 * row_share.max()))
    column_share = seen[fine_rows[0] : fine_rows[-1] + 1].mean(0)
    fine_columns = np.flatnonzero(column_share >= COLUMN_SHARE * column_share.max())
    part = np.s_[fine_rows[0] : fine_rows[-1] + 1, fine_columns[0] : fine_columns[-1] + 1]
    return (
        color[part].astype(np.float32),
        (depth / z)[part].astype(np.float32),
        seen[part],
        (depth > 0)[part],
        top - fine_rows[0] * step,
        first + fine_columns[0] * step,
        step,
    )


def _beyond_gap(distance: Image, candidates: Mask, above_horizon: npt.NDArray[np.bool_]) -> Mask:
    """Pixels beyond the widest gap in the distances, if it is wide enough to be the sky's and they are up there."""
    nothing = np.zeros(distance.shape, bool)
    values = np.sort(distance[candidates])[:: max(1, int(candidates.sum()) // 20000)]
    low = int(0.02 * len(values))
    if len(values) - low < 50:
        return nothing
    ratio = values[low + 1 :] / np.maximum(values[low:-1], 1e-6)
    at = int(np.argmax(ratio))
    if ratio[at] < SKY_GAP or len(ratio) - at < 0.01 * len(values):
        return nothing
    beyond = candidates & (distance > 0.5 * (values[low + at] + values[low + at + 1]))
    return beyond if beyond[above_horizon].sum() >= SKY_ABOVE_SHARE * beyond.sum() else nothing


def _backdrop_distance(distance: Image, upright: Mask, default_m: float) -> npt.NDArray[np.float64]:
    """(W,) distance of what stands farthest in each column, calmed along the columns."""
    width = distance.shape[1]
    far = np.full(width, np.nan)
    for column in np.flatnonzero(upright.mean(0) > 0.04):
        far[column] = np.percentile(distance[upright[:, column], column], 75)
    good = np.isfinite(far)
    if not good.any():
        return np.full(width, default_m)
    far = np.interp(np.arange(width), np.flatnonzero(good), far[good])
    reach = max(1, width // 40)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(far, reach, mode="edge"), 2 * reach + 1)
    return np.median(windows, axis=1)


def _nearest_flag(flag: Mask, known: Mask) -> Mask:
    """The flag of the nearest known pixel."""
    if not known.any():
        return np.zeros(flag.shape, bool)
    unknown = (~known).astype(np.uint8)
    found = cv2.distanceTransformWithLabels(unknown, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    labels = np.asarray(found[1], np.int64)
    of_label = np.zeros(int(labels.max()) + 1, bool)
    of_label[labels[known]] = flag[known]
    return of_label[labels]


def _complete(color: Image, hole: Mask, guide: Image, seed: int) -> Image:
    """Colour for what is not seen."""
    if not hole.any():
        return color
    start = push_pull(color, (~hole).astype(np.float32))
    filled = synthesize(start, hole, ~hole, guide.astype(np.float32), seed=seed)
    return start if filled is None else filled


def continue_round(part: Panorama, seed: int) -> Panorama:
    """Continue a part of the round by strips of itself until it closes.

    Args:
        part: From ``unroll``.
        seed: Breaks ties.

    Returns:
        The whole round; its first columns are the part.
    """
    height, width = part.distance_m.shape
    columns = round(2.0 * np.pi / part.step)
    step = 2.0 * np.pi / columns
    upright = ~part.sky & ~part.ground
    judged = next(m for m in (upright, ~part.sky, np.ones_like(upright)) if m.any())
    reference_m = float(np.median(part.distance_m[judged]))
    octaves = np.where(part.sky, SKY_OCTAVES, np.log2(part.distance_m / reference_m))
    band = np.dstack([part.color, np.clip(octaves, -4.0, SKY_OCTAVES) * LEVELS_PER_OCTAVE]).astype(np.float32)
    rest = _best_rest(band, part.invented, columns - width, seed)
    whole = np.concatenate([band, rest], axis=1)
    distance = (reference_m * np.exp2(whole[..., 3] / LEVELS_PER_OCTAVE)).astype(np.float32)
    sky = whole[..., 3] > (SKY_OCTAVES - 0.2) * LEVELS_PER_OCTAVE
    tangents = part.top - (np.arange(height) + 0.5) * part.step
    ground = _ground_again(part, distance, tangents, sky)
    return Panorama(
        np.clip(whole[..., :3], 0, 255),
        distance,
        ground,
        sky,
        part.top,
        part.first_rad,
        step,
        np.concatenate([part.invented, np.ones(columns - width, np.float32)]),
    )


def _best_rest(band: Image, invented: Image, length: int, seed: int) -> Image:
    """(H, length, 4) strips that continue a band from its right edge round to its left one; the best of a few tries."""
    width = band.shape[1]
    overlap = max(8, width // 20)
    texel_m = STRIP_SPAN_M / width
    exemplar = Exemplar(band, overlap, texel_m, invented)
    exemplar.poor = np.clip(invented + _rarity(exemplar), 0.0, 1.5).astype(np.float32)
    mirrored = Exemplar(np.ascontiguousarray(band[:, ::-1]), overlap, texel_m, exemplar.poor[::-1])
    rng = np.random.default_rng(seed)
    best, least = None, np.inf
    for share in LAST_STRIP_SHARES:
        last = round(share * width)
        exemplar.placed = _known_stretches(width, length + width, texel_m)
        mirrored.placed = []
        side = fill_stretch(mirrored, _straight(last, texel_m), mirrored.band[:, -overlap:], None, rng)[:, ::-1]
        middle = fill_stretch(exemplar, _straight(length - last, texel_m), band[:, -overlap:], side[:, :overlap], rng)
        rest = np.concatenate([middle, side], axis=1)
        error = _worst_step(np.concatenate([band[:, -2:], rest, band[:, :2]], axis=1))
        if error < least:
            best, least = rest, error
    assert best is not None
    return best


def _straight(length: int, texel_m: float) -> Stretch:
    """A stretch of the round as if it were straight."""
    return Stretch(length, (0.0, 0.0), (texel_m, 0.0), texel_m, False, False)


def _worst_step(band: Image) -> float:
    """The greatest mean difference of two neighbouring columns: a seam that does not fit."""
    return float(np.abs(np.diff(band, axis=1)).mean((0, 2)).max())


def _rarity(exemplar: Exemplar) -> Image:
    """(W,) how much a column stands out: what has its like nowhere else in the band should not be seen again and again.

    Distance of each window to its most similar fifth of windows elsewhere, over the median of all.
    """
    windows = exemplar.width - exemplar.overlap + 1
    seams = exemplar.seams[:windows, :windows].copy()
    index = np.arange(windows)
    seams[np.abs(index[:, None] - index[None]) < 2 * exemplar.overlap] = np.inf
    likeness = np.partition(seams, windows // 5, axis=1)[:, windows // 5]
    finite = np.where(np.isfinite(likeness), likeness, np.median(likeness))
    rare = np.clip(finite / max(float(np.median(finite)), 1.0) - 1.0, 0.0, 1.0)
    return np.interp(np.arange(exemplar.width), index + 0.5 * exemplar.overlap, rare).astype(np.float32)


def _known_stretches(width: int, columns: int, texel_m: float) -> list[Placed]:
    """The part itself, in eighths, as it stands before and after the stretch that is to be made."""
    bounds = np.linspace(0, width, 9).astype(int)
    out = []
    for first, last in pairwise(bounds):
        middle = 0.5 * (first + last)
        out += [Placed(int(first), int(last), (texel_m * (middle + at), 0.0)) for at in (-width, columns - width)]
    return out


def _ground_again(part: Panorama, distance: Image, tangents: npt.NDArray[np.float64], sky: Mask) -> Mask:
    """Ground pixels of the whole round: those whose distance is the ground plane's at their row."""
    rows = part.ground.any(1)
    plane = np.zeros(len(tangents))
    for row in np.flatnonzero(rows):
        plane[row] = np.median(part.distance_m[row, part.ground[row]])
    on_plane = np.abs(distance - plane[:, None]) < 0.02 * plane[:, None]
    return np.asarray(rows)[:, None] & ~sky & on_plane


def level_points(azimuth_rad: npt.NDArray, tangent: npt.NDArray, distance_m: npt.NDArray, eye_m: float) -> npt.NDArray:
    """(N, 3) float64 points in level axes of directions from the eye."""
    return np.stack(
        [np.sin(azimuth_rad) * distance_m, -eye_m - tangent * distance_m, np.cos(azimuth_rad) * distance_m], axis=-1
    )


def camera_T_level(photo: ReferenceFrame, stage: Stage) -> Transform:
    """From level axes to a photo's camera."""
    return invert(photo.world_T_camera) @ stage.world_T_level
