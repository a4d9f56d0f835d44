"""A place without walls around what a photo saw: ground in all directions, a backdrop all round, and a sky or ceiling.

The photo is unrolled on a cylinder and continued round it by strips of itself (``panorama``). Each pixel then stands on
the ground or at its distance; behind it a plain copy closes what a step aside uncovers.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ...world.memory import MemorySnapshot
from ...world.transforms import apply, invert
from ..requests import Progress, ReferenceFrame
from .panorama import Panorama, Stage, continue_round, level_points, make_stage, unroll
from .place import PlaceModel
from .pyramid import push_pull
from .quilt import PatchRule, Source, complete

GROUND_TEXELS = 720
"""Side of the map of the ground around the feet."""
TILE_TEXELS = 200
"""Side of the quilted detail that is laid over it, mirrored at its edges."""
GROUND_REACH = 1.25
"""The map reaches this factor beyond the nearest ground that the photo saw."""
GROUND_ANGLE_RAD = 0.005
"""Farther ground is sampled at this angle."""
DETAIL_SIGMA_TEXELS = 6.0
PATCH_TEXELS = 22
BACKING_FACTOR = 1.3
"""The plain backing stands this factor behind the farthest backdrop."""
BACKING_BLUR_PX = 3.0
BACKING_STRIDE = 2
SKY_FACTOR = 3.0
"""The sky's radius in distances of the farthest backdrop."""
DOME_STEP_RAD = 0.005
GRID_OVERLAP = 1.2
"""Points are drawn as squares on the screen: a grid that lies turned needs larger ones to close."""
PLAIN_PERCENTILE = 50.0
"""Detail overhead and under the feet is taken from the calmer part of what is seen: things would look like relief."""
CALM_REACH = 0.35
"""Above the picture single columns lose themselves in the general tone over this share of its height."""
MIRROR_SHARES = (0.03, 0.15)
"""Least and greatest share of the band's height that is mirrored upward, growing calmer."""
MIRROR_LIKENESS = 14.0
"""Rows belong to the mirrored part while their calm colour differs less than this from the top row's, in levels."""
OVERHEAD_SHARE = 0.3
"""If this share of the top row is sky, the sky goes on above; otherwise something like a ceiling does."""
HIDDEN_BEHIND = 1.012
"""Invented surface stays this factor behind what a photo saw."""
WALKABLE_SHARE = 0.7

Points = tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], npt.NDArray[np.float64]]
"""Level positions (N, 3), colours (N, 3) and spacings (N,)."""


def model_outdoor(
    references: Sequence[ReferenceFrame],
    memory: MemorySnapshot,
    *,
    up_world: npt.ArrayLike,
    floor: tuple[float, float, float, float] | None,
    seed: int,
    progress: Progress,
) -> PlaceModel | None:
    """Close a place that has no walls, or none that were found.

    Args:
        references: Photos with depth, best first; the first observed one lends its looks, all keep their views free.
        memory: What is known; not needed beyond the photos.
        up_world: (3,) direction away from gravity.
        floor: Plane n·x + d = 0 with n upwards, or None.
        seed: Same seed and input, same model.
        progress: Told about each step; its cancellation passes through.

    Returns:
        The model, or None where no photo has depth, or the first looks straight up or down.
    """
    photos = [r for r in references if r.depth_m is not None and np.count_nonzero(r.depth_m) > 500]
    photos.sort(key=lambda r: not r.is_observed)
    if not photos:
        return None
    progress.check("place: unrolling the photo", 0.0)
    stage = make_stage(photos[0], up_world, floor)
    part = unroll(photos[0], stage, seed)
    if part is None:
        return None
    progress.check("place: going round", 0.2)
    whole = continue_round(part, seed)
    progress.check("place: ground", 0.5)
    surfaces = [*_ground(whole, stage, seed)]
    progress.check("place: backdrop", 0.8)
    surfaces += [_backdrop(whole, stage), _backing(whole, stage), _overhead(whole, stage, seed)]
    positions = apply(stage.world_T_level, np.concatenate([s[0] for s in surfaces]))
    colors = np.clip(np.rint(np.concatenate([s[1] for s in surfaces])), 0, 255).astype(np.uint8)
    spacing = np.concatenate([s[2] for s in surfaces]).astype(np.float32)
    keep = ~_before_photos(positions, photos)
    progress.check("place: done", 1.0)
    low, high = _inside(whole, stage)
    return PlaceModel(
        "outdoor", positions[keep].astype(np.float32), colors[keep], spacing[keep], stage.world_T_level, low, high
    )


def _inside(whole: Panorama, stage: Stage) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The level box that can be walked in: as far as the nearer backdrops, mostly."""
    reach = WALKABLE_SHARE * float(np.percentile(_ring_distance(whole), 10))
    return np.array([-reach, -2.0 * stage.eye_m, -reach]), np.array([reach, 0.0, reach])


def _ring_distance(whole: Panorama) -> npt.NDArray[np.float64]:
    """(W,) distance of the backdrop of each column."""
    upright = ~whole.sky & ~whole.ground
    lowest = np.where(upright, whole.distance_m, np.inf).min(0)
    fallback = float(whole.distance_m[~whole.sky].max()) if (~whole.sky).any() else 10.0
    return np.where(np.isfinite(lowest), lowest, fallback)


def _farthest(whole: Panorama) -> float:
    """Distance of the farthest surface that is no sky."""
    return float(np.percentile(whole.distance_m[~whole.sky], 99.5)) if (~whole.sky).any() else 10.0


def _sample(image: npt.NDArray[np.float32], column: npt.NDArray, row: npt.NDArray) -> npt.NDArray[np.float32]:
    """Interpolated colours of a round image; columns wrap, rows stop at the edges."""
    if column.size == 0:
        return np.zeros((*column.shape, 3), np.float32)
    wrapped = np.concatenate([image[:, -2:], image, image[:, :2]], axis=1)
    limit = image.shape[1]
    flat_column = (np.mod(column, limit) + 2.0).reshape(-1, 1).astype(np.float32)
    flat_row = np.clip(row, 0, image.shape[0] - 1).reshape(-1, 1).astype(np.float32)
    out = [
        cv2.remap(wrapped, flat_column[i : i + 30000], flat_row[i : i + 30000], cv2.INTER_LINEAR)[:, 0]
        for i in range(0, len(flat_column), 30000)  # OpenCV's maps may not be longer than 32767
    ]
    return np.asarray(np.concatenate(out), np.float32).reshape(*column.shape, 3)


def _ground(whole: Panorama, stage: Stage, seed: int) -> list[Points]:
    """The ground: a map around the feet, and rings out to the backing."""
    ground = whole.ground
    rows = np.flatnonzero(ground.any(1))
    tangents = whole.tangents
    low = tangents[rows[-1]] if len(rows) else -0.4
    nearest_m = stage.eye_m / max(-low, 1e-2)
    color = whole.color
    if len(rows):
        color = push_pull(whole.color, ground.astype(np.float32))
    far_m = BACKING_FACTOR * _farthest(whole)

    def look_up(x: npt.NDArray, z: npt.NDArray) -> npt.NDArray[np.float32]:
        distance = np.maximum(np.hypot(x, z), 1e-3)
        row = (whole.top + stage.eye_m / distance) / whole.step - 0.5
        return _sample(color, (np.arctan2(x, z) - whole.first_rad) / whole.step - 0.5, row)

    reach_m = min(GROUND_REACH * nearest_m, far_m)
    texel_m = 2.0 * reach_m / GROUND_TEXELS
    axis = (np.arange(GROUND_TEXELS) + 0.5) * texel_m - reach_m
    x, z = np.meshgrid(axis, axis)
    distance = np.hypot(x, z)
    picture = _under_feet(look_up(x, z), distance > 1.02 * nearest_m, seed)
    inner = distance < reach_m
    near = (_flat(x[inner], z[inner]), picture[inner], np.full(int(inner.sum()), GRID_OVERLAP * texel_m))
    radii = reach_m * np.exp(np.arange(int(np.log(far_m / reach_m) / GROUND_ANGLE_RAD) + 2) * GROUND_ANGLE_RAD)
    angles = np.arange(0.0, 2.0 * np.pi, GROUND_ANGLE_RAD)
    r, a = np.meshgrid(radii, angles, indexing="ij")
    x, z = (r * np.sin(a)).ravel(), (r * np.cos(a)).ravel()
    return [near, (_flat(x, z), look_up(x, z), GRID_OVERLAP * GROUND_ANGLE_RAD * r.ravel())]


def _flat(x: npt.NDArray, z: npt.NDArray) -> npt.NDArray[np.float64]:
    """Points on the ground."""
    return np.stack([x, np.zeros_like(x), z], axis=-1)


def _under_feet(picture: npt.NDArray[np.float32], known: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.float32]:
    """Complete the map of the ground: smooth tones, with detail quilted from what lies around."""
    if not known.any() or known.all():
        return picture
    tones = push_pull(picture, known.astype(np.float32))
    filled = np.where(known[..., None], picture, tones)
    small = cv2.resize(filled, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    detail = (small - cv2.GaussianBlur(small, (0, 0), DETAIL_SIGMA_TEXELS)).mean(2, keepdims=True)
    inside = cv2.resize(known.astype(np.uint8), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    inside = cv2.erode(inside, np.ones((9, 9), np.uint8)).astype(bool)
    tile = _quilt(detail, _plain(detail, inside), seed)
    doubled = np.asarray(cv2.resize(tile, None, fx=2.0, fy=2.0), np.float32)
    coarse = _mirror_tiled(doubled, picture.shape[0], 0)
    fine = _mirror_tiled(tile, picture.shape[0], TILE_TEXELS // 3)
    return np.where(known[..., None], picture, tones + (0.8 * coarse + 0.6 * fine)[..., None]).astype(np.float32)


def _mirror_tiled(tile: npt.NDArray[np.float32], side: int, shift: int) -> npt.NDArray[np.float32]:
    """(side, side) picture covered with a tile and its mirror images."""
    period = np.concatenate([np.arange(len(tile)), np.arange(len(tile))[::-1]])
    index = period[(np.arange(side) + shift) % len(period)]
    return tile[index[:, None], index[None, :]]


def _backdrop(whole: Panorama, stage: Stage) -> Points:
    """What stands upright, each pixel at its distance."""
    rows, columns = np.nonzero(~whole.ground & ~whole.sky)
    distance = whole.distance_m[rows, columns].astype(np.float64)
    positions = level_points(whole.azimuths_rad[columns], whole.tangents[rows], distance, stage.eye_m)
    return positions, whole.color[rows, columns], 1.25 * whole.step * distance


def _backing(whole: Panorama, stage: Stage) -> Points:
    """A calm copy of the backdrop far behind it, from the ground up: what gaps between near and far show."""
    far_m = BACKING_FACTOR * _farthest(whole)
    upright = ~whole.ground & ~whole.sky
    if not upright.any():
        upright = ~whole.ground
    color = push_pull(whole.color, upright.astype(np.float32))
    calm = np.asarray(cv2.GaussianBlur(color, (0, 0), BACKING_BLUR_PX), np.float32)
    tangents = np.arange(whole.top, -stage.eye_m / far_m - whole.step, -BACKING_STRIDE * whole.step)
    azimuths = whole.azimuths_rad[::BACKING_STRIDE]
    topmost = np.where(upright.any(0), upright.argmax(0), upright.shape[0])[::BACKING_STRIDE]
    row = np.repeat(((whole.top - tangents) / whole.step - 0.5)[:, None], len(azimuths), axis=1)
    t, a = np.meshgrid(tangents, azimuths, indexing="ij")
    column = (a - whole.first_rad) / whole.step - 0.5
    below = row >= topmost[None] - 1
    positions = level_points(a[below], t[below], np.full(int(below.sum()), far_m), stage.eye_m)
    spacing = np.full(len(positions), 1.3 * BACKING_STRIDE * whole.step * far_m)
    return positions, _sample(calm, column[below], row[below]), spacing


def _overhead(whole: Panorama, stage: Stage, seed: int) -> Points:
    """What goes on above the picture: the sky as a dome, or the backdrop bent over like a ceiling."""
    is_open = float(whole.sky[0].mean()) > OVERHEAD_SHARE
    far_m = BACKING_FACTOR * _farthest(whole)
    radius_m = SKY_FACTOR * far_m
    horizon = np.arctan(-stage.eye_m / radius_m) if is_open else np.arctan(whole.top)
    elevation, azimuth = _dome_directions(float(horizon))
    color = _dome_color(whole, elevation, azimuth, is_open, seed)
    tangent = np.tan(np.minimum(elevation, 1.565))
    if is_open:
        distance = radius_m * np.cos(elevation)
        spacing = np.full(len(distance), 1.3 * GRID_OVERLAP * DOME_STEP_RAD * radius_m)
        return level_points(azimuth, tangent, distance, stage.eye_m), color, spacing
    ring = np.interp(
        np.mod(azimuth - whole.first_rad, 2.0 * np.pi),
        np.arange(len(_ring_distance(whole))) * whole.step,
        _calm_ring(whole.distance_m[0].astype(np.float64)),
    )
    ceiling_m = np.maximum(ring * whole.top, 0.3 * stage.eye_m)
    distance = np.minimum(ceiling_m / np.maximum(tangent, 1e-3), 1.02 * ring)
    is_wall = distance >= 1.02 * ring - 1e-9
    slant = np.where(is_wall, 1.0 + tangent**2, np.sqrt(1.0 + tangent**2) + 1.0 / np.maximum(tangent, 0.2))
    spacing = 1.3 * GRID_OVERLAP * DOME_STEP_RAD * distance * slant
    return level_points(azimuth, tangent, distance, stage.eye_m), color, spacing


def _calm_ring(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Blur along the round."""
    tripled = np.tile(distance, 3)[None].astype(np.float32)
    blurred = np.asarray(cv2.GaussianBlur(tripled, (0, 0), len(distance) / 60.0), np.float64)
    return blurred[0, len(distance) : 2 * len(distance)]


def _dome_directions(lowest_rad: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Elevations and azimuths evenly spread over the sphere above an elevation."""
    elevations, azimuths = [], []
    for elevation in np.arange(lowest_rad, np.pi / 2, DOME_STEP_RAD):
        count = max(1, int(2.0 * np.pi * np.cos(elevation) / DOME_STEP_RAD))
        azimuths.append(np.arange(count) * (2.0 * np.pi / count))
        elevations.append(np.full(count, elevation))
    return np.concatenate(elevations), np.concatenate(azimuths)


def _dome_color(
    whole: Panorama, elevation: npt.NDArray[np.float64], azimuth: npt.NDArray[np.float64], is_open: bool, seed: int
) -> npt.NDArray[np.float32]:
    """Below the picture's upper edge the sky itself; above it, its mirror image that grows calm towards the zenith."""
    height = whole.color.shape[0]
    source = whole.color
    if is_open:
        clear = cv2.erode(whole.sky.astype(np.uint8), np.ones((9, 9), np.uint8), borderValue=1)
        source = push_pull(whole.color, clear.astype(np.float32))
    span = _mirror_span(source)
    top_rad = np.arctan(whole.top)
    beyond = np.maximum(elevation - top_rad, 0.0) / whole.step
    folded = span - np.abs(np.mod(beyond, 2.0 * span) - span)
    row = np.where(elevation > top_rad, folded, (whole.top - np.tan(elevation)) / whole.step - 0.5)
    column = (azimuth - whole.first_rad) / whole.step - 0.5
    share = np.clip((elevation - top_rad) / max(np.pi / 2 - top_rad, 1e-3), 0.0, 1.0)[:, None]
    away = np.clip(beyond / (CALM_REACH * height), 0.0, 1.0)[:, None]
    near, wide = _calm_round(source, 0.12), _calm_round(source, 0.8)
    soft = _sample(near, column, np.minimum(row, span / 2)) * (1.0 - away) + _sample(wide, column, 0.0 * row) * away
    zenith = source[: max(1, int(0.1 * height))].mean((0, 1))
    mirrored = _sample(source, column, row) - _sample(near, column, row)
    fade = np.exp(-beyond / (1.5 * span))[:, None]
    tile = _detail_tile(source, whole.sky if is_open else ~whole.ground & ~whole.sky, seed)
    far_column = np.mod(azimuth - whole.first_rad, 2.0 * np.pi) * np.maximum(np.cos(elevation), 0.2) / whole.step
    quilted = _mirror_sample(tile, far_column, beyond) * np.exp(-beyond / (1.5 * height))[:, None]
    grown = soft * (1.0 - share) + zenith * share + mirrored * fade + quilted * (1.0 - fade)
    blend = np.clip(beyond / (0.05 * height), 0.0, 1.0)[:, None]
    return (_sample(source, column, row) * (1.0 - blend) + grown * blend).astype(np.float32)


def _calm_round(source: npt.NDArray[np.float32], share: float) -> npt.NDArray[np.float32]:
    """Blur over a share of the height; the round closes."""
    side = 2 * int(share * source.shape[0]) + 1
    tripled = np.concatenate([source, source, source], axis=1)
    rows = min(side, 2 * int(0.12 * source.shape[0]) + 1)
    blurred = np.asarray(cv2.blur(tripled, (side, rows)), np.float32)
    return blurred[:, source.shape[1] : -source.shape[1]]


def _detail_tile(source: npt.NDArray[np.float32], wanted: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.float32]:
    """Brightness detail quilted from the plain parts of the upper half of what goes on above."""
    rows = np.flatnonzero(wanted.any(1))
    half = np.s_[rows[0] : max(rows[0] + 2, (rows[0] + rows[-1]) // 2)] if len(rows) else np.s_[:]
    detail = (source - cv2.GaussianBlur(source, (0, 0), DETAIL_SIGMA_TEXELS)).mean(2, keepdims=True)[half]
    return _quilt(detail, _plain(detail, wanted[half]), seed)


def _plain(detail: npt.NDArray[np.float32], wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The calmer part of what is wanted."""
    if not wanted.any():
        return wanted
    energy = cv2.blur(np.abs(detail[..., 0]), (PATCH_TEXELS, PATCH_TEXELS))
    return np.ascontiguousarray(wanted & (energy <= np.percentile(energy[wanted], PLAIN_PERCENTILE)))


def _quilt(detail: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.float32]:
    """(T, T) tile of an (H, W, 1) detail; flat if there is too little of it."""
    tile = np.zeros((TILE_TEXELS, TILE_TEXELS, 1), np.float32)
    rule = PatchRule(PATCH_TEXELS, PATCH_TEXELS // 3, reuse=1.0)
    try:
        complete(tile, np.zeros(tile.shape[:2], bool), Source.turned(detail, valid), rule, np.random.default_rng(seed))
    except ValueError:  # no patch of the least size is known
        tile[:] = 0.0
    return tile[..., 0]


def _mirror_sample(tile: npt.NDArray[np.float32], column: npt.NDArray, row: npt.NDArray) -> npt.NDArray[np.float32]:
    """(N, 1) values of a tile that is continued by its mirror images."""
    side = len(tile)
    fold = [np.abs(np.mod(v, 2.0 * side) - side).astype(int).clip(0, side - 1) for v in (row, column)]
    return tile[fold[0], fold[1]][:, None]


def _mirror_span(source: npt.NDArray[np.float32]) -> float:
    """Rows from the top that look alike, all round."""
    height = source.shape[0]
    calm = cv2.blur(source, (2 * int(0.05 * height) + 1, 5))
    change = np.abs(calm - calm[:1]).mean(2)
    alike = np.percentile(change, 80, axis=1) < MIRROR_LIKENESS
    rows = height if alike.all() else int(np.argmin(alike))
    return float(np.clip(rows, MIRROR_SHARES[0] * height + 1, MIRROR_SHARES[1] * height + 1))


def _before_photos(positions: npt.NDArray[np.float64], photos: Sequence[ReferenceFrame]) -> npt.NDArray[np.bool_]:
    """(N,) bool: points in front of what a photo saw, or on it."""
    out = np.zeros(len(positions), bool)
    for photo in photos:
        assert photo.depth_m is not None
        farthest = cv2.dilate(photo.depth_m, np.ones((3, 3), np.uint8))
        camera = apply(invert(photo.world_T_camera), positions)
        z = np.maximum(camera[:, 2], 1e-9)
        u, v = photo.pinhole.fx * camera[:, 0] / z, photo.pinhole.fy * camera[:, 1] / z
        u, v = np.floor(u + photo.pinhole.cx), np.floor(v + photo.pinhole.cy)
        seen = (camera[:, 2] > 0.05) & (u >= 0) & (v >= 0) & (u < photo.pinhole.width) & (v < photo.pinhole.height)
        index = np.flatnonzero(seen)
        depth = farthest[v[index].astype(int), u[index].astype(int)]
        out[index] |= camera[index, 2] < HIDDEN_BEHIND * depth
    return out
