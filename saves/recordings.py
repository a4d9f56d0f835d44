"""RGB-D recordings, in the folder layouts that people have: 7-Scenes, Open3D/Redwood, TUM RGB-D.

A recording without any pose (no pose file, log or ground truth) is read as well; its poses are to be found by
tracking, as are those of a folder of pictures without depth. Every other recording's world is the camera of its first
usable frame: ``inv(pose0) @ poseK``. Which frames are usable is settled from names, pose files and picture headers;
pixels are decoded when a frame is asked for.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..world.camera import Pinhole
from ..world.transforms import Transform, invert
from .errors import SourceError
from .frames import LazyFrames, Source, SourceFrame
from .intrinsics import Intrinsics, resolve_intrinsics
from .pictures import MILLIMETRES_PER_METRE, fit_to_photo, image_size, read_depth, read_photo
from .registration import (
    SEVEN_SCENES_COLOR,
    SEVEN_SCENES_COLOR_T_DEPTH,
    is_seven_scenes_depth,
    register_depth,
)
from .trajectories import checked_pose, read_text
from .videos import IMAGE_SUFFIXES, images_in, is_picture_folder, load_pictures, show_slice

TUM_STEPS_PER_METRE = 5000.0
MAX_TIME_GAP_S = 0.02
"""Pictures, depth and poses of a TUM recording belong together if they are at most this far apart, as in its tools."""

_LAYOUTS = "frame-*.color.* (7-Scenes), color/ depth/ odometry.log (Redwood) or rgb.txt depth.txt groundtruth.txt (TUM)"


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A frame before its pixels are read: files, pose as recorded, or None in a recording without poses."""

    color: Path
    depth: Path
    pose: Transform | None


@dataclass(frozen=True, slots=True)
class _DefaultCamera:
    """Published intrinsics of a 640x480 sensor; principal point with pixel centres at +0.5."""

    name: str
    fx: float
    fy: float
    cx: float
    cy: float

    def pinhole(self, width: int, height: int) -> Pinhole:
        return resolve_intrinsics(Pinhole(640, 480, self.fx, self.fy, self.cx, self.cy), width, height)


_SEVEN_SCENES = _DefaultCamera("7-Scenes' default", 585.0, 585.0, 320.0, 240.0)
_PRIMESENSE = _DefaultCamera("PrimeSense default", 525.0, 525.0, 320.0, 240.0)
_TUM_CAMERAS = {  # published with pixel centres on whole numbers, hence + 0.5
    "1": _DefaultCamera("freiburg1 as published", 517.306408, 516.469215, 319.143040, 255.813989),
    "2": _DefaultCamera("freiburg2 as published", 520.908620, 521.007327, 325.641442, 250.201764),
    "3": _DefaultCamera("freiburg3 as published", 535.4, 539.2, 320.6, 248.1),
}


def load_recording(
    folder: str | os.PathLike[str], *, intrinsics: Intrinsics | None = None, frames: slice | None = None
) -> Source:
    """Read a recording's folder.

    Args:
        folder: In one of the layouts.
        intrinsics: Instead of the recording's own, for its pictures' size.
        frames: Which frames to take, in Python's sense; the world stays the one of the recording's first frame.

    Returns:
        A source whose frames are decoded when asked for; metric where there is depth.

    Raises:
        SourceError: No such layout, no usable frame, a damaged list or pose, or ``frames`` takes none.
    """
    root = Path(folder)
    if is_picture_folder(root):
        return load_pictures(root, intrinsics=intrinsics, frames=frames)
    kind, read_entries = _layout_of(root)
    entries, camera_file, default, note = read_entries(root)
    if not entries:
        raise SourceError(root, expected=f"a {kind} recording with colour, depth and pose", got="no complete frame")
    chosen = entries[frames] if frames is not None else entries
    if not chosen:
        shown = show_slice(frames)
        raise SourceError(root, expected=f"frames within 0:{len(entries)}", got=shown, do="choose others")
    width, height = image_size(chosen[0].color)
    given = intrinsics if intrinsics is not None else camera_file
    pinhole = default.pinhole(width, height) if given is None else resolve_intrinsics(given, width, height)
    if given is None:
        note = "; ".join(filter(None, [f"intrinsics: {default.name}", note]))
    steps_per_metre = TUM_STEPS_PER_METRE if kind == "tum" else MILLIMETRES_PER_METRE
    first = entries[0].pose
    if first is None:
        loaders = _untracked(chosen, pinhole, steps_per_metre, may_register=kind == "7scenes" and intrinsics is None)
        note = "; ".join(filter(None, [note, "no poses"]))
    else:
        poses = [np.eye(4) if e.pose is None else invert(first) @ e.pose for e in chosen]
        loaders = [
            partial(_read_frame, e, pinhole, pose, steps_per_metre=steps_per_metre)
            for e, pose in zip(chosen, poses, strict=True)
        ]
    name = root.resolve().name
    return Source(name, kind, LazyFrames(loaders), metric=True, note=note, has_poses=first is not None)


def _untracked(
    entries: Sequence[_Entry], pinhole: Pinhole, steps_per_metre: float, *, may_register: bool
) -> list[Callable[[], SourceFrame]]:
    """Frames without poses; the depth of the 7-Scenes sensor is moved into its colour camera, which is what is tracked.

    Recordings with poses stay as they are: their poses are the depth camera's.
    """
    read = _read_registered if may_register and is_seven_scenes_depth(pinhole) else _read_frame
    return [partial(read, e, pinhole, np.eye(4), steps_per_metre=steps_per_metre) for e in entries]


_Read = Callable[[Path], tuple[list[_Entry], Path | None, _DefaultCamera, str]]


def _layout_of(root: Path) -> tuple[str, _Read]:
    if not root.is_dir():
        raise SourceError(root, expected="a recording's folder", got="a file" if root.exists() else "no such folder")
    if next(root.glob("frame-*.color.*"), None) is not None:
        return "7scenes", _read_seven_scenes
    if (root / "rgb.txt").exists():
        return "tum", _read_tum
    if _color_folder(root) is not None and (root / "depth").is_dir():
        return "redwood", _read_redwood
    got = "an empty folder" if next(root.iterdir(), None) is None else "none of these"
    raise SourceError(root, expected=_LAYOUTS, got=got)


def _read_frame(entry: _Entry, pinhole: Pinhole, world_T_camera: Transform, *, steps_per_metre: float) -> SourceFrame:
    color = read_photo(entry.color).color
    height, width = color.shape[:2]
    if (width, height) != pinhole.size:
        raise SourceError(
            entry.color, expected=f"{pinhole.width}x{pinhole.height} as the first", got=f"{width}x{height}"
        )
    depth_m = read_depth(entry.depth, steps_per_metre=steps_per_metre)
    return SourceFrame(color, fit_to_photo(depth_m, width, height, entry.depth), pinhole, world_T_camera)


def _read_registered(
    entry: _Entry, pinhole: Pinhole, world_T_camera: Transform, *, steps_per_metre: float
) -> SourceFrame:
    frame = _read_frame(entry, pinhole, world_T_camera, steps_per_metre=steps_per_metre)
    if frame.depth_m is None:
        return frame
    depth_m = register_depth(frame.depth_m, pinhole, SEVEN_SCENES_COLOR_T_DEPTH, SEVEN_SCENES_COLOR)
    return replace(frame, depth_m=depth_m, pinhole=SEVEN_SCENES_COLOR)


def _left_out(count: int, why: str) -> str:
    return f"{count} frame{'s' if count != 1 else ''} left out ({why})" if count else ""


def _existing(root: Path, names: Sequence[str]) -> Path | None:
    return next((root / n for n in names if (root / n).is_file()), None)


# 7-Scenes


def _read_seven_scenes(root: Path) -> tuple[list[_Entry], Path | None, _DefaultCamera, str]:
    colors = sorted(p for p in root.glob("frame-*.color.*") if p.suffix.lower() in IMAGE_SUFFIXES)
    has_poses = next(root.glob("frame-*.pose.txt"), None) is not None
    entries = []
    for color in colors:
        stem = color.name[: color.name.index(".color.")]
        depth, pose = root / f"{stem}.depth.png", root / f"{stem}.pose.txt"
        if depth.is_file() and (pose.is_file() or not has_poses):
            entries.append(_Entry(color, depth, _read_pose_file(pose) if has_poses else None))
    note = _left_out(len(colors) - len(entries), "no depth or pose" if has_poses else "no depth")
    return entries, _existing(root, ("camera-intrinsics.txt", "intrinsics.txt")), _SEVEN_SCENES, note


def _read_pose_file(path: Path) -> Transform:
    expected = "a 4x4 camera-to-world matrix"
    values = _numbers(read_text(path, expected), path, expected)
    if len(values) != 16:
        raise SourceError(path, expected=expected, got=f"{len(values)} numbers")
    return checked_pose(np.reshape(values, (4, 4)), path, expected)


def _numbers(text: str, where: str | Path, expected: str) -> list[float]:
    try:
        return [float(v) for v in text.split()]
    except ValueError as error:
        raise SourceError(where, expected=expected, got=str(error)) from error


# Open3D, Redwood


def _color_folder(root: Path) -> Path | None:
    return next((root / n for n in ("color", "image", "rgb") if (root / n).is_dir()), None)


def _read_redwood(root: Path) -> tuple[list[_Entry], Path | None, _DefaultCamera, str]:
    names = ("odometry.log", "trajectory.log", "scene/trajectory.log")
    log = _existing(root, names)
    color_folder = _color_folder(root)
    pairs = _pair_by_number(images_in(color_folder or root), images_in(root / "depth"))
    poses: Mapping[int, Transform | None] = dict.fromkeys(range(len(pairs))) if log is None else _read_log(log)
    entries = [_Entry(*pairs[i], pose) for i, pose in sorted(poses.items()) if i < len(pairs)]
    note = _left_out(len(pairs) - len(entries), "no pose")
    camera_names = ("camera_primesense.json", "camera_intrinsic.json", "camera.json", "intrinsic.json")
    camera = _existing(root, (*camera_names, "camera-intrinsics.txt", "intrinsics.txt"))
    return entries, camera, _PRIMESENSE, note


def _pair_by_number(colors: list[Path], depths: list[Path]) -> list[tuple[Path, Path]]:
    """Colour and depth files by the first number in their names; in order if there are equally many."""
    if len(colors) == len(depths):
        return list(zip(colors, depths, strict=True))
    by_number = {_first_number(p): p for p in depths}
    return [(c, by_number[_first_number(c)]) for c in colors if _first_number(c) in by_number]


def _first_number(path: Path) -> int:
    found = re.search(r"\d+", path.stem)
    return int(found.group()) if found else -1


def _read_log(path: Path) -> dict[int, Transform]:
    """Poses of a ``.log`` by frame index: a line of three numbers, then a camera-to-world matrix of four lines.

    The first of the three numbers is the frame's index.
    """
    expected = "a line of three numbers, then four lines of a camera-to-world matrix"
    text = read_text(path, expected)
    lines = [(n, line.split()) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    poses: dict[int, Transform] = {}
    for start in range(0, len(lines), 5):
        number, head = lines[start]
        where = f"{path} line {number}"
        rows = [row for _, row in lines[start + 1 : start + 5]]
        if len(head) != 3 or [len(r) for r in rows] != [4, 4, 4, 4]:
            got = f"{len(head)} numbers, then {len(rows)} lines of {' '.join(str(len(r)) for r in rows)}"
            raise SourceError(where, expected=expected, got=got)
        index = int(_numbers(head[0], where, expected)[0])
        if index < 0 or index in poses:
            raise SourceError(where, expected="a frame index that was not used before", got=head[0])
        matrix = [_numbers(" ".join(r), where, expected) for r in rows]
        poses[index] = checked_pose(matrix, where, "a camera-to-world matrix")
    return poses


# TUM RGB-D


def _read_tum(root: Path) -> tuple[list[_Entry], Path | None, _DefaultCamera, str]:
    color_times, colors = _read_list(root / "rgb.txt")
    depth_times, depths = _read_list(root / "depth.txt")
    has_poses = (root / "groundtruth.txt").exists()
    depth_index = _nearest_once(color_times, depth_times)
    poses: list[Transform | None] = [None] * len(colors)
    if has_poses:
        pose_times, recorded = _read_groundtruth(root / "groundtruth.txt")
        poses = [recorded[k] if k >= 0 else None for k in _nearest(color_times, pose_times)]
    entries = []
    for color, k, pose in zip(colors, depth_index, poses, strict=True):
        if k >= 0 and (pose is not None or not has_poses):
            entries.append(_Entry(root / color, root / depths[k], pose))
    what = "depth or pose" if has_poses else "depth"
    note = _left_out(len(colors) - len(entries), f"no {what} within {MAX_TIME_GAP_S:g} s")
    camera = _existing(root, ("camera-intrinsics.txt", "intrinsics.txt", "camera.json"))
    found = re.search(r"(?:freiburg|fr)([123])", root.resolve().name.lower())
    return entries, camera, _TUM_CAMERAS[found.group(1)] if found else _PRIMESENSE, note


def _rows(path: Path, expected: str) -> list[tuple[str, list[str]]]:
    """The words of each line that is neither empty nor a comment, with where it stands."""
    lines = enumerate(read_text(path, expected).splitlines(), start=1)
    return [(f"{path} line {n}", s.split()) for n, line in lines if (s := line.strip()) and not s.startswith("#")]


def _read_list(path: Path) -> tuple[np.ndarray, list[str]]:
    expected = "lines of a time in seconds and a file"
    times, names = [], []
    for where, words in _rows(path, expected):
        if len(words) != 2:
            raise SourceError(where, expected=expected, got=f"{len(words)} words")
        times.append(_numbers(words[0], where, expected)[0])
        names.append(words[1])
    return _rising(times, path), names


def _rising(times: list[float], path: Path) -> np.ndarray:
    out = np.array(times, dtype=np.float64)
    if not np.isfinite(out).all() or (np.diff(out) < 0).any():
        raise SourceError(path, expected="times in seconds that rise", got="times that do not")
    return out


def _read_groundtruth(path: Path) -> tuple[np.ndarray, list[Transform]]:
    expected = "lines of time tx ty tz qx qy qz qw"
    times, poses = [], []
    for where, words in _rows(path, expected):
        values = _numbers(" ".join(words), where, expected)
        if len(values) != 8:
            raise SourceError(where, expected=expected, got=f"{len(values)} numbers")
        times.append(values[0])
        poses.append(_pose_of_quaternion(values[1:4], values[4:], where))
    return _rising(times, path), poses


def _pose_of_quaternion(translation: list[float], xyzw: list[float], where: str) -> Transform:
    """Camera-to-world pose; the quaternion is normalised (files round it to four digits)."""
    x, y, z, w = xyzw
    norm = float(np.linalg.norm(xyzw))
    if not abs(norm - 1.0) < 0.05:  # NaN fails too
        raise SourceError(where, expected="a unit quaternion qx qy qz qw", got=f"norm {norm:.4g}")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    pose = np.eye(4)
    pose[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    pose[:3, 3] = translation
    return checked_pose(pose, where, "a pose")


def _nearest(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Index of the nearest other time for each time, -1 if none is within ``MAX_TIME_GAP_S``."""
    if len(others) == 0:
        return np.full(len(times), -1)
    right = np.clip(np.searchsorted(others, times), 0, len(others) - 1)
    left = np.maximum(right - 1, 0)
    best = np.where(np.abs(others[left] - times) <= np.abs(others[right] - times), left, right)
    return np.where(np.abs(others[best] - times) <= MAX_TIME_GAP_S, best, -1)


def _nearest_once(times: np.ndarray, others: np.ndarray) -> np.ndarray:
    """As ``_nearest``, but each other time serves only the time that is nearest to it."""
    index = _nearest(times, others)
    for other in np.unique(index[index >= 0]):
        rivals = np.flatnonzero(index == other)
        keep = rivals[np.argmin(np.abs(times[rivals] - others[other]))]
        index[rivals[rivals != keep]] = -1
    return index
