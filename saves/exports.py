"""A world's points as files of other tools, by the file's ending."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..world.memory import MemorySnapshot
from .errors import ExportError, explain
from .ply import Progress, write_ply


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format that a world can be written in.

    Attributes:
        suffix: Ending of its files, with the dot.
        title: For lists of choices.
        magic: What its files begin with: only such a file is overwritten.
        write: Writes a snapshot to a path, all or nothing.
    """

    suffix: str
    title: str
    magic: bytes
    write: Callable[[Path, MemorySnapshot, bool, Progress | None], None]


def _write_ply(path: Path, snapshot: MemorySnapshot, metric: bool, progress: Progress | None) -> None:
    batches = (snapshot.points([key]) for key in sorted(snapshot.chunks))
    write_ply(path, batches, num_points=snapshot.num_points, metric=metric, progress=progress)


FORMATS = {f.suffix: f for f in (ExportFormat(".ply", "point cloud", b"ply", _write_ply),)}


def export_world(
    path: str | os.PathLike[str],
    snapshot: MemorySnapshot,
    *,
    metric: bool = True,
    progress: Progress | None = None,
) -> None:
    """Write a world's points in the format of the path's ending.

    Points go out chunk by chunk, so that a large world is never copied whole, and axes as the format has them.

    Args:
        path: The file; replaced if it is one of the same format.
        snapshot: The memory.
        metric: False if lengths are only up to scale.
        progress: Told the share that is written.

    Raises:
        ExportError: An unknown ending, nothing to write, something else at the path, or the disk refused.
    """
    target = Path(path)
    choice = FORMATS.get(target.suffix.lower())
    if choice is None:
        known = ", ".join(f"{f.suffix} ({f.title})" for f in FORMATS.values())
        got = f"{target.suffix!r}" if target.suffix else "none"
        raise ExportError(explain(target, expected=f"one of the endings {known}", got=got))
    if not snapshot.num_points:
        raise ExportError(explain(target, expected="a world with points", got="an empty one"))
    try:
        _check_room(target, choice)
        choice.write(target, snapshot, metric, progress)
    except OSError as error:
        got = error.strerror or str(error)
        raise ExportError(explain(target, expected="a place to write to", got=got)) from error


def _check_room(target: Path, choice: ExportFormat) -> None:
    if not target.parent.is_dir():
        raise ExportError(explain(target, expected="a folder that exists", got=f"{target.parent}, which does not"))
    if target.exists() and not target.is_file():
        raise ExportError(explain(target, expected="a file's name", got="a folder"))
    if target.is_file():
        with target.open("rb") as file:
            if file.read(len(choice.magic)) != choice.magic:
                do = "choose another name"
                raise ExportError(explain(target, expected=f"a {choice.suffix} or nothing", got="another file", do=do))
