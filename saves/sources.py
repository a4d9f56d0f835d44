"""What a world can start from, found out from a path: a photo, a video, a folder, a point cloud."""

import os
from dataclasses import replace
from pathlib import Path

from . import scans
from .errors import SourceError
from .frames import LazyFrames, Source, SourceFrame
from .intrinsics import Intrinsics, read_intrinsics, resolve_intrinsics, write_intrinsics
from .photo import DepthInput, MaskInput, load_photo
from .ply import read_ply
from .recordings import load_recording
from .trajectories import read_trajectory, write_trajectory
from .videos import VIDEO_SUFFIXES, load_video

__all__ = [
    "LazyFrames",
    "Source",
    "SourceFrame",
    "load_source",
    "read_intrinsics",
    "read_trajectory",
    "resolve_intrinsics",
    "write_intrinsics",
    "write_trajectory",
]

_EXPECTED = "a photo, a video, a folder of pictures or of a recording, or a point cloud (.ply, .las, .laz, .e57)"
_SQLITE_MAGIC = b"SQLite format 3\0"


def load_source(
    path: str | os.PathLike[str],
    *,
    depth: DepthInput | None = None,
    intrinsics: Intrinsics | None = None,
    mask: MaskInput | None = None,
    frames: slice | None = None,
) -> Source:
    """Read what a world starts from.

    Args:
        path: A photo (JPEG, PNG, WebP, …), the folder of an RGB-D recording (7-Scenes, Open3D/Redwood or TUM RGB-D), a
            video, a folder of pictures from one camera, or a point cloud (``.ply``, ``.las``,
            ``.laz``, ``.e57``).
        depth: A photo's depth: 16-bit PNG in millimetres (0 and 65535 unknown), ``.npy`` or array of float metres.
        intrinsics: A file (normalised fx fy cx cy; a 3x3 matrix in pixels; Open3D's JSON), four normalised numbers, a
            ``Pinhole`` or a 3x3 matrix. Otherwise the recording's own, a photo's EXIF, or a default that is stated.
        mask: A photo's mask, white where something moves.
        frames: Which frames of a recording or video to take; of a video, eight a second if not given.

    Returns:
        The source. A photo's camera is the identity; a recording's world is ``inv(pose0) @ poseK``.

    Raises:
        SourceError: Whatever the user can have got wrong, in at most three lines.
    """
    p = Path(path)
    if not os.fspath(path) or not p.exists():
        raise SourceError(p if os.fspath(path) else "source", expected=_EXPECTED, got="no such file or folder")
    is_cloud, is_video = p.suffix.lower() in (".ply", *scans.SUFFIXES), p.suffix.lower() in VIDEO_SUFFIXES
    if p.is_dir() or is_cloud or is_video:
        what = "a recording" if p.is_dir() else "a video" if is_video else "a point cloud"
        _refuse(p, depth=depth, mask=mask, what=what)
    if p.is_dir():
        return load_recording(p, intrinsics=intrinsics, frames=frames)
    if is_video:
        return load_video(p, intrinsics=intrinsics, frames=frames)
    if is_cloud:
        _refuse(p, intrinsics=intrinsics, frames=frames, what="a point cloud")
        return _load_cloud(p)
    _refuse_world_file(p)
    source = load_photo(p, depth=depth, intrinsics=intrinsics, mask=mask)
    if frames is not None:
        source = replace(source, frames=source.frames[frames])
        if not source.frames:
            raise SourceError(p, expected="frames within 0:1 (a photo is one frame)", got="a selection without frames")
    return source


def _refuse(path: Path, *, what: str, **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise SourceError(path, expected=f"no {' or '.join(given)} for {what}", got="it", do="leave it out")


def _refuse_world_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            is_database = file.read(len(_SQLITE_MAGIC)) == _SQLITE_MAGIC
    except OSError as error:
        raise SourceError(path, expected=_EXPECTED, got=error.strerror or "an unreadable file") from error
    if is_database:
        raise SourceError(path, expected=_EXPECTED, got="a world or database file", do="open a world with spatia.open")


def _load_cloud(path: Path) -> Source:
    cloud = scans.read_scan(path) if path.suffix.lower() in scans.SUFFIXES else read_ply(path)
    return Source(path.stem, "points", (), metric=cloud.metric, note=cloud.note, points=cloud.points)
