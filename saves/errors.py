"""Faults of the saves folder.

SaveError
├── WorldFileError        a file is not a world that this version can read: missing, empty, foreign, damaged
│   ├── WorldVersionError     written by another version of the format
│   └── WorldLockedError      another program has the world open
└── WorldWriteError       the disk refused; what was saved before is still there

SourceError (ValueError)  a photo, recording, point cloud, path or intrinsics file that the user gave cannot be used
ExportError (ValueError)  an export was asked for that cannot be written
"""

import os


class SaveError(Exception):
    """Base of the folder's faults with world files."""


class WorldFileError(SaveError):
    """The file is not a world that can be opened."""


class WorldVersionError(WorldFileError):
    """The world was written by a newer (or unknown) version of the format."""


class WorldLockedError(WorldFileError):
    """Another program has the world open for writing."""


class WorldWriteError(SaveError):
    """Writing failed (disk full, read-only, I/O error); nothing that was reported saved is lost."""


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
        lines = [f"{_short(os.fspath(where))}: expected {expected}", f"got {got}"]
        super().__init__("\n".join(_one_line(line) for line in [*lines, *([do] if do else [])]))


def _short(where: str) -> str:
    return where if len(where) <= 120 else f"…{where[-119:]}"


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 240 else f"{flat[:239]}…"
