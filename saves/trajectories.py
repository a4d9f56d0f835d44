"""Camera paths as text: one world-to-camera matrix a line, as the method's authors write them."""

import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..world.transforms import Transform, as_rigid, invert
from .errors import SourceError
from .pictures import existing_file

MAX_TEXT_BYTES = 64 << 20
"""A path of 100,000 rows has 40 MB; a larger text file is a mistake and is not read into memory."""


def read_text(path: str | os.PathLike[str], expected: str) -> str:
    """A text file's content, bounded in size.

    Raises:
        SourceError: Missing, empty, too large or not text.
    """
    p = existing_file(path, expected)
    if p.stat().st_size > MAX_TEXT_BYTES:
        raise SourceError(p, expected=expected, got=f"{p.stat().st_size >> 20} MiB, too large for it")
    try:
        return p.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(p, expected=expected, got="a file that is no text") from error
    except OSError as error:
        raise SourceError(p, expected=expected, got=error.strerror or "an unreadable file") from error


def read_trajectory(path: str | os.PathLike[str]) -> npt.NDArray[np.float64]:
    """Read a camera path.

    Each line holds one world-to-camera matrix, OpenCV axes, metres: a JSON array 3x4 or 4x4 (nested or flat), or 12 or
    16 numbers, row by row, between blanks or commas. Empty lines and lines that start with # are passed over.

    Returns:
        (N, 4, 4) float64 world_T_camera, rotations made exact. Fresh memory.

    Raises:
        SourceError: A line is not such a matrix (the message names it), or there is none.
    """
    text = read_text(path, "a camera path, one world-to-camera matrix a line")
    poses: list[Transform] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            poses.append(invert(_parse_matrix(stripped, f"{os.fspath(path)} line {number}")))
    if not poses:
        raise SourceError(path, expected="a camera path, one world-to-camera matrix a line", got="no line with numbers")
    return np.stack(poses)


def _parse_matrix(line: str, where: str) -> Transform:
    expected = "a 3x4 or 4x4 matrix, world to camera"
    try:
        if line.startswith("["):
            values = np.array(json.loads(line), dtype=np.float64)
        else:
            values = np.array([float(v) for v in line.replace(",", " ").split()], dtype=np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        got = f"{line[:40]!r}"
        raise SourceError(where, expected=expected, got=got, do="write JSON, or 12 or 16 numbers") from error
    if values.ndim == 1 and values.size in (12, 16):
        values = values.reshape(-1, 4)
    if values.shape not in ((3, 4), (4, 4)):
        got = f"{values.size} numbers" if values.ndim < 2 else f"shape {'x'.join(map(str, values.shape))}"
        raise SourceError(where, expected=expected, got=got)
    return checked_pose(values, where, expected)


def checked_pose(values: npt.ArrayLike, where: str | os.PathLike[str], expected: str) -> Transform:
    """``as_rigid`` whose fault names the file.

    Raises:
        SourceError: Not a rigid transform.
    """
    try:
        return as_rigid(values)
    except ValueError as error:
        got = str(error).removeprefix("pose: ")
        raise SourceError(where, expected=expected, got=got) from error


def write_trajectory(path: str | os.PathLike[str], world_T_camera: npt.NDArray[np.float64]) -> None:
    """Write a camera path as one JSON 4x4 world-to-camera matrix a line.

    Args:
        path: The file, overwritten.
        world_T_camera: (N, 4, 4) float64.
    """
    lines = [json.dumps(m.tolist()) for m in invert(np.asarray(world_T_camera, dtype=np.float64))]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
