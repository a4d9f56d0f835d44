"""A world as files of other tools, by the file's ending or a format's name."""

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..world.keyframes import Keyframe
from ..world.memory import MemorySnapshot
from ..world.points import PointBatch
from . import camera_exports, point_exports
from .errors import ExportError, explain
from .ply import Progress, write_ply


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be written.

    Attributes:
        snapshot: The memory.
        keyframes: Frames with cameras.
        metric: False if lengths are only up to scale.
        progress: Told the share that is written.
    """

    snapshot: MemorySnapshot
    keyframes: Sequence[Keyframe]
    metric: bool
    progress: Progress | None

    def batches(self) -> Iterable[PointBatch]:
        """The points, chunk by chunk, so that a large world is never copied whole."""
        return (self.snapshot.points([key]) for key in sorted(self.snapshot.chunks))


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that a world can be written in.

    Attributes:
        name: By which it is asked for.
        suffix: Ending of its files, with the dot; empty for folders.
        title: For lists of choices.
        magic: What its files begin with: only such a file is overwritten. A folder must be new or empty.
        needs_keyframes: True if it is about cameras.
        write: Writes to a path that is not there yet.
    """

    name: str
    suffix: str
    title: str
    magic: bytes
    needs_keyframes: bool
    write: Callable[[Path, Job], None]


def _write_ply(path: Path, job: Job) -> None:
    write_ply(path, job.batches(), num_points=job.snapshot.num_points, metric=job.metric, progress=job.progress)


def _points(writer: Callable[..., None]) -> Callable[[Path, Job], None]:
    def write(path: Path, job: Job) -> None:
        snapshot = job.snapshot
        facts = {"num_points": snapshot.num_points, "voxel_size_m": snapshot.voxel_size_m}
        writer(path, job.batches(), **facts, progress=job.progress)

    return write


def _colmap(*, is_binary: bool) -> Callable[[Path, Job], None]:
    def write(path: Path, job: Job) -> None:
        n = job.snapshot.num_points
        camera_exports.write_colmap(
            path, job.keyframes, job.batches(), num_points=n, is_binary=is_binary, progress=job.progress
        )

    return write


def _write_nerfstudio(path: Path, job: Job) -> None:
    n = job.snapshot.num_points
    camera_exports.write_nerfstudio(path, job.keyframes, job.batches(), num_points=n, progress=job.progress)


def _write_path(path: Path, job: Job) -> None:
    camera_exports.write_camera_path(path, job.keyframes)


FORMATS = {
    f.name: f
    for f in (
        ExportFormat("ply", ".ply", "point cloud", b"ply", False, _write_ply),
        ExportFormat("las", ".las", "point cloud", b"LASF", False, _points(point_exports.write_las)),
        ExportFormat("laz", ".laz", "compressed point cloud", b"LASF", False, _points(point_exports.write_las)),
        ExportFormat("e57", ".e57", "laser scan", b"ASTM-E57", False, _points(point_exports.write_e57)),
        ExportFormat("glb", ".glb", "glTF points", b"glTF", False, _points(point_exports.write_glb)),
        ExportFormat("gaussians", ".ply", "3D Gaussians", b"ply", False, _points(point_exports.write_gaussians)),
        ExportFormat("colmap", "", "COLMAP text model", b"", True, _colmap(is_binary=False)),
        ExportFormat("colmap-binary", "", "COLMAP binary model", b"", True, _colmap(is_binary=True)),
        ExportFormat("nerfstudio", "", "transforms.json", b"", True, _write_nerfstudio),
        ExportFormat("cameras", "", "w2c.txt and intrinsics.txt", b"", True, _write_path),
    )
}


def export_world(
    path: str | os.PathLike[str],
    snapshot: MemorySnapshot,
    *,
    keyframes: Sequence[Keyframe] = (),
    format_name: str = "",
    metric: bool = True,
    progress: Progress | None = None,
) -> None:
    """Write a world in the format of the path's ending, or in a named one.

    Points go out chunk by chunk and axes as the format has them. It appears whole or not at all.

    Args:
        path: The file, replaced if it is one of the same format; or the folder, which must be new or empty.
        snapshot: The memory.
        keyframes: For the formats that are about cameras.
        format_name: One of ``FORMATS``, if the ending does not tell.
        metric: False if lengths are only up to scale.
        progress: Told the share that is written.

    Raises:
        ExportError: An unknown ending or format, nothing to write, something else at the path, a package that is
            missing, or the disk refused.
    """
    target = Path(path)
    choice = _choose(target, format_name)
    if choice.needs_keyframes and not keyframes:
        raise ExportError(explain(target, expected="a world with keyframes", got="one without"))
    if not snapshot.num_points:
        raise ExportError(explain(target, expected="a world with points", got="an empty one"))
    job = Job(snapshot, sorted(keyframes, key=lambda k: k.keyframe_id), metric, progress)
    try:
        _check_room(target, choice)
        _write_whole(target, choice, job)
    except OSError as error:
        got = error.strerror or str(error)
        raise ExportError(explain(target, expected="a place to write to", got=got)) from error


def _choose(target: Path, name: str) -> ExportFormat:
    if name:
        choice = FORMATS.get(name)
        if choice is None:
            raise ExportError(explain(target, expected=f"a format of {', '.join(FORMATS)}", got=repr(name)))
        if choice.suffix and target.suffix.lower() != choice.suffix:
            raise ExportError(explain(target, expected=f"the ending {choice.suffix}", got=target.suffix or "none"))
        return choice
    by_suffix = {f.suffix: f for f in reversed(FORMATS.values()) if f.suffix}
    choice = by_suffix.get(target.suffix.lower())
    if choice is None:
        known = ", ".join(f"{f.suffix} ({f.title})" for f in sorted(by_suffix.values(), key=lambda f: f.name))
        got, do = f"{target.suffix!r}" if target.suffix else "none", "or name one with --format"
        raise ExportError(explain(target, expected=f"one of the endings {known}", got=got, do=do))
    return choice


def _check_room(target: Path, choice: ExportFormat) -> None:
    if not target.parent.is_dir():
        raise ExportError(explain(target, expected="a folder that exists", got=f"{target.parent}, which does not"))
    if not choice.suffix:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            got = "one with something in it" if target.is_dir() else "a file"
            raise ExportError(explain(target, expected="a new or empty folder", got=got))
        return
    if target.exists() and not target.is_file():
        raise ExportError(explain(target, expected="a file's name", got="a folder"))
    if target.is_file():
        with target.open("rb") as file:
            if file.read(len(choice.magic)) != choice.magic:
                do = "choose another name"
                raise ExportError(explain(target, expected=f"a {choice.suffix} or nothing", got="another file", do=do))


def _write_whole(target: Path, choice: ExportFormat, job: Job) -> None:
    """Write beside the target, then put it in its place."""
    draft = target.with_name(f".{target.stem}.{os.getpid()}{choice.suffix or '.part'}")
    _remove(draft)
    try:
        if not choice.suffix:
            draft.mkdir()
        choice.write(draft, job)
        if not choice.suffix and target.is_dir():
            target.rmdir()
        draft.replace(target)
    finally:
        _remove(draft)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
