"""Faults of the saves folder.

SaveError
├── DamageError           a part of a world is damaged; the rest can be read
├── WorldFileError        a file is not a world that this version can read: missing, empty, foreign, damaged
│   ├── WorldVersionError     written by another version of the format
│   ├── WorldDamagedError     its structure is damaged; what is left can be read
│   └── WorldLockedError      another program has the world open
├── WorldHistoryError     a snapshot or branch that is not there, or a name that cannot be given
│   └── MergeConflictError    two branches changed the same chunks, or cannot be merged at all
└── WorldWriteError       the disk refused; what was saved before is still there

SourceError (ValueError)  a photo, recording, point cloud, path or intrinsics file that the user gave cannot be used
ExportError (ValueError)  an export was asked for that cannot be written
"""

import os
from dataclasses import dataclass


def explain(where: str | os.PathLike[str], *, expected: str, got: str, do: str = "") -> str:
    """A message of at most three short lines: what was expected of what, what was found, what to do."""
    lines = [f"{_short(os.fspath(where))}: expected {expected}", f"got {got}"]
    return "\n".join(_one_line(line) for line in [*lines, *([do] if do else [])])


class SaveError(Exception):
    """Base of the folder's faults with world files."""


class DamageError(SaveError):
    """A part of a world cannot be read.

    Args:
        what: Which part, such as "chunk 0 -1 2".
        reason: In words.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what}: {reason}")
        self.what, self.reason = what, reason


class WorldFileError(SaveError):
    """The file is not a world that can be opened."""


class WorldVersionError(WorldFileError):
    """The world was written by a newer (or unknown) version of the format."""


class WorldDamagedError(WorldFileError):
    """The file's structure is damaged: it is not opened for writing; opened read-only it gives what is left."""


class WorldLockedError(WorldFileError):
    """Another program has the world open for writing."""


class WorldWriteError(SaveError):
    """Writing failed (disk full, read-only, I/O error); nothing that was reported saved is lost."""


class WorldHistoryError(SaveError):
    """A snapshot or branch that is not there, or a name that cannot be given."""


class MergeConflictError(WorldHistoryError):
    """Two branches cannot be merged; nothing was changed.

    Args:
        message: Expected, got, what to do.
        conflicts: The chunks that both changed, with how many points each side has there; empty if something else
            stands in the way, such as different pose corrections.
    """

    def __init__(self, message: str, conflicts: "tuple[ChunkConflict, ...]" = ()) -> None:
        super().__init__(message)
        self.conflicts = conflicts


@dataclass(frozen=True, slots=True)
class ChunkConflict:
    """A chunk that both branches changed.

    Attributes:
        key: Of the chunk.
        points: How many it had where the branches parted, has in ours, and has in theirs; 0 where it is gone.
    """

    key: tuple[int, int, int]
    points: tuple[int, int, int]

    def __str__(self) -> str:
        base, ours, theirs = self.points
        x, y, z = self.key
        return f"chunk {x} {y} {z}: {base} points, ours {ours}, theirs {theirs}"


class ExportError(ValueError):
    """An export cannot be written: unknown format, or nothing to write."""


class SourceError(ValueError):
    """Something that the user gave cannot be used. At most three short lines: expected, got, what to do.

    Args:
        where: The file (and line) or argument that it is about.
        expected: What would have been right.
        got: What was found.
        do: What to do about it, if that is not plain from the rest.
    """

    def __init__(self, where: str | os.PathLike[str], *, expected: str, got: str, do: str = "") -> None:
        super().__init__(explain(where, expected=expected, got=got, do=do))


def _short(where: str) -> str:
    return where if len(where) <= 120 else f"…{where[-119:]}"


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 240 else f"{flat[:239]}…"
