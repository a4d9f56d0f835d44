"""A contact sheet of a tracked recording: corners that agree, the camera's way from above, depth beside colour."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..renderer.capture import contact_sheet, write_png
from ..saves.frames import Source, SourceFrame
from ..world.camera import unproject
from ..world.slam.tracking import TrackedPose, Trajectory
from .tracked import TrackedSource

NUM_FRAMES, NUM_DEPTHS = 7, 4
TILE = (480, 360)
MAP_STRIDE = 6
DARK, LIGHT = (24, 26, 30), (236, 238, 240)
TRACKED, LOST = (90, 220, 120), (240, 90, 80)
Image = npt.NDArray[np.uint8]


def write_tracking_sheet(
    path: Path, source: Source, tracked: TrackedSource, progress: Callable[[str, float], None]
) -> None:
    """Write the sheet as PNG.

    Args:
        path: Of the picture; its folder is made.
        source: The recording as it came.
        tracked: What was found.
        progress: Called with what is going on and the share that is done.
    """
    progress("drawing tracked.png", 0.0)
    write_png(path, tracking_sheet(source, tracked))
    progress("drawing tracked.png", 1.0)


def tracking_sheet(source: Source, tracked: TrackedSource) -> Image:
    """Frames with their tracks, the way from above, and depth beside colour, as one (H, W, 3) picture."""
    trajectory = tracked.trajectory
    tiles: list[tuple[str, Image]] = []
    count = len(trajectory.poses)
    for k in _evenly(count, NUM_FRAMES):
        pose = trajectory.poses[k]
        state = "lost" if pose.lost else f"{len(pose.tracks)} tracks"
        label = f"frame {k}: {state}" if pose.lost or len(pose.tracks) else f"frame {k}"
        tiles.append((label, _with_tracks(source.frames[k].color, pose)))
    shown = [tracked.source.frames[k] for k in _evenly(len(tracked.source.frames), NUM_DEPTHS)]
    unit = "m" if tracked.source.metric else "units"
    tiles.insert(NUM_FRAMES, (f"from above ({unit})", way_from_above(trajectory, shown)))
    for frame in shown:
        tiles += [("colour", _fitted(frame.color)), (f"depth ({unit})", _depth_picture(frame))]
    return contact_sheet([t for _, t in tiles], [n for n, _ in tiles], columns=4, tile_width=400)


def _evenly(count: int, wanted: int) -> list[int]:
    return sorted(set(np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist()))


def _fitted(color: Image) -> Image:
    """A picture in a tile's size, with dark borders where its shape is another."""
    factor = min(TILE[0] / color.shape[1], TILE[1] / color.shape[0])
    size = (round(color.shape[1] * factor), round(color.shape[0] * factor))
    out = np.full((TILE[1], TILE[0], 3), DARK, np.uint8)
    top, left = (TILE[1] - size[1]) // 2, (TILE[0] - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = cv2.resize(color, size, interpolation=cv2.INTER_AREA)
    return out


def _with_tracks(color: Image, pose: TrackedPose) -> Image:
    """Lines from where corners were in the frame that placed this one; dimmed where it is lost."""
    picture = (color // 3 if pose.lost else color).copy()
    width = max(1, round(color.shape[1] / 500))
    for start, end in pose.tracks:
        far = min(1.0, float(np.linalg.norm(end - start)) / (0.06 * color.shape[1]))
        hue = (int(80 + 175 * far), int(230 - 90 * far), 90)
        cv2.line(picture, _point(start), _point(end), hue, width, cv2.LINE_AA)
        cv2.circle(picture, _point(end), 2 * width, hue, -1, cv2.LINE_AA)
    return _fitted(picture)


def _point(xy: npt.NDArray[np.number]) -> tuple[int, int]:
    return int(xy[0]), int(xy[1])


def _depth_picture(frame: SourceFrame) -> Image:
    """Near is warm, far is blue, unknown is dark."""
    depth = frame.depth_m
    if depth is None or not (depth > 0).any():
        return _fitted(np.full_like(frame.color, DARK))
    low, high = np.percentile(1 / depth[depth > 0], [2, 98])
    share = np.clip((1 / np.maximum(depth, 1e-6) - low) / max(high - low, 1e-6), 0, 1)
    picture = cv2.cvtColor(cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    picture[depth <= 0] = DARK
    return _fitted(np.asarray(picture, np.uint8))


def way_from_above(trajectory: Trajectory, frames: list[SourceFrame]) -> Image:
    """The cameras' places from above, first frame's axes, over the points of some frames; (H, W, 3) uint8."""
    places = trajectory.world_T_camera[trajectory.is_tracked]
    cloud = _cloud(frames)
    to_pixel = _map_of(places[:, [0, 2], 3], cloud[:, :2])
    out = np.full((TILE[1], TILE[0], 3), DARK, np.uint8)
    at = to_pixel(cloud[:, :2])
    inside = ((at >= 0) & (at < np.array(TILE))).all(axis=1)
    out[at[inside, 1], at[inside, 0]] = (cloud[inside, 2:] * 0.8).astype(np.uint8)
    bare = (out == np.array(DARK, np.uint8)).all(axis=2, keepdims=True)
    out = np.where(bare, cv2.dilate(out, np.ones((2, 2), np.uint8)), out).astype(np.uint8)
    cv2.polylines(out, [to_pixel(places[:, [0, 2], 3])], False, TRACKED, 1, cv2.LINE_AA)
    for pose in places[:: max(1, len(places) // 40)]:
        start = to_pixel(pose[[0, 2], 3])
        way = pose[[0, 2], 2] / max(float(np.linalg.norm(pose[[0, 2], 2])), 1e-6)
        cv2.line(out, _point(start), _point(start + np.array([14, -14]) * way), LIGHT, 1, cv2.LINE_AA)
    for place, colour in ((places[0], LIGHT), (places[-1], LOST)):
        cv2.circle(out, _point(to_pixel(place[[0, 2], 3])), 4, colour, -1, cv2.LINE_AA)
    return out


def _map_of(
    places: npt.NDArray[np.float64], cloud: npt.NDArray[np.float64]
) -> Callable[[npt.NDArray[np.float64]], npt.NDArray[np.int32]]:
    """A function from (..., 2) x and z to pixels: all places and nearly all points lie in the tile."""
    around = np.concatenate([places, cloud])
    low = np.minimum(np.percentile(around, 1, axis=0), places.min(axis=0))
    high = np.maximum(np.percentile(around, 99, axis=0), places.max(axis=0))
    zoom = 0.88 * float((TILE / np.maximum(high - low, 1e-6)).min())
    middle, centre = (low + high) / 2, np.array(TILE) / 2
    return lambda xz: np.round((xz - middle) * (zoom, -zoom) + centre).astype(np.int32)


def _cloud(frames: list[SourceFrame]) -> npt.NDArray[np.float64]:
    """(N, 5) x, z and colour of some frames' points."""
    parts = [np.empty((0, 5))]
    for frame in frames:
        if frame.depth_m is not None:
            depth = np.ascontiguousarray(frame.depth_m[::MAP_STRIDE, ::MAP_STRIDE])
            small = frame.pinhole.resized(depth.shape[1], depth.shape[0])
            points = unproject(depth, small, frame.world_T_camera)
            row = np.empty((len(points), 5))
            row[:, :2], row[:, 2:] = points[:, [0, 2]], frame.color[::MAP_STRIDE, ::MAP_STRIDE][depth > 0]
            parts.append(row)
    return np.concatenate(parts)
