"""A lone photo as a stage set: ground, an upright backdrop along its far edge, and sky. Not metric.

Nothing is recognized. Gravity comes from straight lines where they agree, the ground from colours that go on from the
picture's bottom edge. Ground and backdrop meet without a gap, so that a step aside or two forward holds together.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..ground import Floor, Plane
from ..memory import MemorySnapshot
from .estimators import FrameStack, GeometryEstimate, HiddenLayer
from .layout import find_down
from .regions import find_ground_edge, find_sky

EYE_HEIGHT_M = 1.5
"""The height that photos are taken from by standing people; the only length of the diorama, everything follows."""
LOOK_SIDE = 320
HIGHEST_EDGE = 0.12
NEAREST_M, INDOOR_FARTHEST_M, OUTDOOR_FARTHEST_M = 1.5, 11.0, 16.0
"""Distance of the backdrop: beyond the last, a walk of 2 m shears what is painted on the ground before it."""
UNKNOWN_DISTANCE_M = 4.0
DEEPEST = 2.0
"""Where neither lines nor a sky tell how deep a picture is, nothing stands farther than this times the median."""
SKY_FACTOR = 1.5
SKY_BEHIND = 0.05
"""The sky goes on behind roofs by this share of the picture's width, so that no slit opens beside them."""
ROWS_AT_ONCE = 256
BRIDGE_SHARE = 0.2
"""What stands in front of the ground's far edge is bridged if it is narrower than this share of the picture."""
GROUND_CONFIDENCE, BACKDROP_CONFIDENCE, SKY_CONFIDENCE = 0.5, 0.3, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class DioramaDepth:
    """The geometry guessed for a photo; up to an unknown scale.

    Attributes:
        depth_m: (H, W) float32 along +Z, everywhere positive; metres if the camera was 1.5 m above the ground.
        sky: (H, W) bool.
        ground: (H, W) bool.
        floor: The ground plane in the camera's frame.
        horizon_row: Row of the horizon in the middle column; may lie outside of the picture.
        is_level_known: True if straight lines told which way is down, False if it is a guess.
    """

    depth_m: npt.NDArray[np.float32]
    sky: npt.NDArray[np.bool_]
    ground: npt.NDArray[np.bool_]
    floor: Floor
    horizon_row: float
    is_level_known: bool


class Diorama:
    """The estimator for photos without depth: each frame becomes a stage set of its own."""

    name = "diorama"
    uses_all_frames = False

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def estimate(self, frames: FrameStack, memory: MemorySnapshot) -> GeometryEstimate:
        """Guess depth for each frame; not metric, and no evidence of free space."""
        depth = np.zeros(frames.color.shape[:3], np.float32)
        confidence = np.zeros_like(depth)
        layers: list[HiddenLayer] = []
        for k in range(len(frames)):
            guess = estimate_diorama(frames.color[k], frames.pinhole, self._seed)
            depth[k] = guess.depth_m
            confidence[k] = np.where(guess.ground, GROUND_CONFIDENCE, BACKDROP_CONFIDENCE)
            confidence[k][guess.sky] = SKY_CONFIDENCE
            layers.extend(_sky_behind(k, frames.color[k], guess))
        return GeometryEstimate(
            depth,
            confidence,
            frames.world_T_camera,
            is_metric=False,
            sees_free_space=False,
            layers=tuple(layers),
        )


def estimate_diorama(color: npt.NDArray[np.uint8], pinhole: Pinhole, seed: int = 0) -> DioramaDepth:
    """Guess ground, backdrop and sky of a photo from its layout.

    Args:
        color: (H, W, 3) uint8 sRGB.
        pinhole: Its intrinsics.
        seed: Of the clustering of colours; the same photo and seed give the same depth.

    Returns:
        Depth for every pixel.

    Raises:
        ValueError: The photo's shape is not the camera's, or it is not uint8.
    """
    expected = (pinhole.height, pinhole.width, 3)
    if color.shape != expected or color.dtype != np.uint8:
        raise ValueError(f"photo: expected {expected} uint8, got {color.shape} {color.dtype}")
    factor = min(1.0, LOOK_SIDE / max(pinhole.size))
    w, h = max(8, round(pinhole.width * factor)), max(8, round(pinhole.height * factor))
    small = pinhole.resized(w, h)
    view = np.asarray(cv2.resize(color, (w, h), interpolation=cv2.INTER_AREA), np.uint8)
    level = find_down(np.asarray(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), np.uint8), pinhole)
    horizon = np.full(w, -np.inf) if level is None else _horizon_rows(level.down, small)
    sky = find_sky(view, np.where(np.isfinite(horizon), horizon, h))
    edge = find_ground_edge(view, np.maximum(HIGHEST_EDGE * h, horizon + 0.02 * h), seed)
    edge = _bridged(edge)
    down = level.down if level is not None else _guess_down(edge, sky, small)
    farthest = OUTDOOR_FARTHEST_M if sky.any() or level is None else INDOOR_FARTHEST_M
    is_rough = level is None and not sky.any()
    azimuth, distance = _backdrop(edge, down, small, farthest, is_rough)
    return _stage(pinhole, down, azimuth, distance, sky, level is not None)


def _horizon_rows(down: npt.NDArray[np.float64], pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """(w,) row of the horizon in each column."""
    x = (np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx
    return pinhole.cy - pinhole.fy * (down[0] * x + down[2]) / down[1]


def _bridged(edge: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Carry the ground's far edge on behind what stands before it, and calm it."""
    reach = max(1, int(BRIDGE_SHARE * len(edge) / 2))
    row = edge.astype(np.float32)[None]
    kernel = np.ones((1, 2 * reach + 1), np.uint8)
    return cv2.morphologyEx(row, cv2.MORPH_OPEN, kernel, borderType=cv2.BORDER_REPLICATE)[0].astype(np.float64)


def _guess_down(edge: npt.NDArray[np.float64], sky: npt.NDArray[np.bool_], pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """A level camera, unless the ground goes on above the middle or, under a sky, ends well below it."""
    far_edge = float(np.quantile(edge, 0.1))
    h = pinhole.height
    row = far_edge - 0.05 * h if sky.any() else min(pinhole.cy, far_edge - 0.1 * h)
    pitch = np.clip(np.arctan((pinhole.cy - row) / pinhole.fy), -0.5, 0.6)
    return np.array([0.0, np.cos(pitch), np.sin(pitch)])


def _level_axes(down: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Horizontal directions right of the camera and ahead of it."""
    ahead = np.array([0.0, 0.0, 1.0]) - down * down[2]
    ahead /= np.linalg.norm(ahead)
    return np.asarray(np.cross(down, ahead), np.float64), ahead


def _backdrop(
    edge: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    pinhole: Pinhole,
    farthest_m: float,
    is_rough: bool,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Rising azimuths and, for each, the horizontal distance at which the backdrop stands on the ground."""
    w, h = pinhole.size
    columns = np.arange(w)
    rays = np.stack([(columns + 0.5 - pinhole.cx) / pinhole.fx, (edge - pinhole.cy) / pinhole.fy, np.ones(w)], axis=1)
    right, ahead = _level_axes(down)
    azimuth = np.asarray(np.arctan2(rays @ right, rays @ ahead), np.float64)
    level = np.hypot(rays @ right, rays @ ahead)
    drop = rays @ down
    distance = np.where(drop > 1e-3, EYE_HEIGHT_M * level / np.maximum(drop, 1e-3), np.inf)
    distance = np.clip(distance, NEAREST_M, farthest_m)
    seen = edge < 0.985 * h
    if not seen.any():
        distance[:] = UNKNOWN_DISTANCE_M
    elif not seen.all():
        distance = np.interp(columns, columns[seen], distance[seen])
    if is_rough:
        distance = np.minimum(distance, DEEPEST * float(np.median(distance)))
    order = np.argsort(azimuth, kind="stable")
    return azimuth[order], 1.0 / _calm(1.0 / distance[order], is_rough)


def _calm(values: npt.NDArray[np.float64], is_rough: bool) -> npt.NDArray[np.float64]:
    """Running median, then a blur: corners of a room stay, notches go; of a rough guess little more than its trend."""
    n = len(values)
    reach, blur = (n // 4, n / 10) if is_rough else (n // 16, n / 60)
    padded = np.pad(values, max(1, reach), mode="edge")
    median = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * max(1, reach) + 1), axis=1)
    calm = cv2.GaussianBlur(median[None], (0, 0), max(1.0, blur), borderType=cv2.BORDER_REPLICATE)[0]
    return np.asarray(calm, np.float64)


def _stage(
    pinhole: Pinhole,
    down: npt.NDArray[np.float64],
    azimuth: npt.NDArray[np.float64],
    distance: npt.NDArray[np.float64],
    small_sky: npt.NDArray[np.bool_],
    is_level_known: bool,
) -> DioramaDepth:
    """Cast every pixel's ray on ground, backdrop and sky."""
    sky = cv2.resize(small_sky.astype(np.float32), pinhole.size, interpolation=cv2.INTER_LINEAR) > 0.5
    depth = np.empty((pinhole.height, pinhole.width), np.float32)
    ground = np.empty_like(sky)
    for top in range(0, pinhole.height, ROWS_AT_ONCE):
        strip = slice(top, min(top + ROWS_AT_ONCE, pinhole.height))
        depth[strip], ground[strip] = _cast(pinhole, strip, down, azimuth, distance)
    ground &= ~sky
    depth[sky] = SKY_FACTOR * float(distance.max())
    share = float(ground.mean())
    plane = Plane((-float(down[0]), -float(down[1]), -float(down[2])), EYE_HEIGHT_M)
    horizon = float(_horizon_rows(down, pinhole)[pinhole.width // 2])
    return DioramaDepth(depth, sky, ground, Floor(plane, EYE_HEIGHT_M, share), horizon, is_level_known)


def _cast(
    pinhole: Pinhole,
    rows: slice,
    down: npt.NDArray[np.float64],
    azimuth: npt.NDArray[np.float64],
    distance: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Depth of some rows on ground or backdrop, whichever is nearer, and where it is ground."""
    x = ((np.arange(pinhole.width) + 0.5 - pinhole.cx) / pinhole.fx)[None, :]
    y = ((np.arange(rows.start, rows.stop) + 0.5 - pinhole.cy) / pinhole.fy)[:, None]
    right, ahead = _level_axes(down)
    across, forward, drop = (x * axis[0] + y * axis[1] + axis[2] for axis in (right, ahead, down))
    level = np.maximum(np.hypot(across, forward), 1e-3)
    wall = np.interp(np.arctan2(across, forward), azimuth, distance) / level
    floor = np.where(drop > 1e-6, EYE_HEIGHT_M / np.maximum(drop, 1e-6), np.inf)
    return np.minimum(floor, wall), floor < wall


def _sky_behind(frame_index: int, color: npt.NDArray[np.uint8], guess: DioramaDepth) -> list[HiddenLayer]:
    """The sky carried on behind what stands before it, in its nearest colours."""
    clear = cv2.erode(guess.sky.astype(np.uint8), np.ones((5, 5), np.uint8))
    if not clear.any():
        return []
    distance, labels = cv2.distanceTransformWithLabels(
        1 - clear, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    labels = np.asarray(labels, np.intp)
    source = np.zeros(int(labels.max()) + 1, np.intp)
    source[labels[clear > 0]] = np.flatnonzero(clear)
    carried = np.asarray(cv2.blur(color.reshape(-1, 3)[source[labels]], (5, 5)), np.uint8)
    behind = ~guess.sky & (distance < SKY_BEHIND * color.shape[1])
    depth = np.where(behind, guess.depth_m[guess.sky].max(), 0).astype(np.float32)
    return [HiddenLayer(frame_index, carried, depth)]
