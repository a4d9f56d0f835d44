"""Point clouds of laser scanners as sources: LAS, LAZ and E57.

All have z up: ``(x, y, z)`` becomes ``(x, -z, y)`` in world axes (x right, y down, z forward). Coordinates of a map's
grid are far too large for single precision, so a cloud that lies far from its origin is moved to it, which its note
tells.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.points import MAX_RANK, PointBatch, PointClass, priority_of
from .errors import SourceError
from .pictures import existing_file
from .ply import MAX_POINTS, PointCloud

SUFFIXES = (".las", ".laz", ".e57")
MAX_DISTANCE_M = 1000.0
"""A cloud whose middle is farther from its origin is moved: single precision has steps of 0.06 mm there."""

_NO_COLOR = 160
_BLOCK = 1 << 18
_LAS_HEADER = struct.Struct("<4s20xBB68xHIIBHI")
"""Magic, version, size of the header, where points begin, variable records, format, bytes a point, points."""
_MANY_POINTS_AT, _EXTENDED_AT = 247, 235


def read_scan(path: str | os.PathLike[str]) -> PointCloud:
    """Read a LAS, LAZ or E57 file, by its ending.

    Raises:
        SourceError: Not such a file, damaged, or without points; or the package that reads it is missing.
    """
    p = existing_file(path, "a LAS, LAZ or E57 file")
    return _read_e57(p) if p.suffix.lower() == ".e57" else read_las(p)


def read_las(path: str | os.PathLike[str]) -> PointCloud:
    """Read a LAS or LAZ file block by block; ours come back with our classes and ranks, others as observed.

    Raises:
        SourceError: See ``read_scan``.
    """
    p = existing_file(path, "a LAS or LAZ file")
    laspy = _laspy(p)
    _check_sizes(p)
    positions, colors, priority = [np.zeros((0, 3))], [np.zeros((0, 3), np.uint16)], [np.zeros(0, np.uint8)]
    with _faults_of(p, "a LAS or LAZ file"), laspy.open(p, read_evlrs=False) as reader:
        names = set(reader.header.point_format.dimension_names)
        for block in reader.chunk_iterator(_BLOCK):
            positions.append(np.stack([np.asarray(block[name], np.float64) for name in ("x", "y", "z")], axis=1))
            if "red" in names:
                colors.append(np.stack([block.red, block.green, block.blue], axis=1).astype(np.uint16))
            priority.append(_priority_of_las(block, names))
    shades = _bytes_of(np.concatenate(colors)) if len(colors) > 1 else None
    return _cloud_of(p, np.concatenate(positions), shades, np.concatenate(priority))


def _check_sizes(path: Path) -> None:
    """Check what a LAS file's header says of sizes before anything that trusts it reads the file.

    Raises:
        SourceError: They do not fit the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(375)
    if len(head) < _LAS_HEADER.size or head[:4] != b"LASF":
        raise SourceError(path, expected="a LAS or LAZ file", got="another file, or one that is cut off")
    _, major, minor, head_bytes, first, num_records, kind, width, count = _LAS_HEADER.unpack_from(head)
    extended = 0
    if (major, minor) >= (1, 4) and len(head) >= _MANY_POINTS_AT + 8:
        count = int.from_bytes(head[_MANY_POINTS_AT : _MANY_POINTS_AT + 8], "little")
        extended = int.from_bytes(head[_EXTENDED_AT : _EXTENDED_AT + 8], "little")
    is_packed = bool(kind & 0xC0)
    needed = first + (0 if is_packed else count * width)
    fits = head_bytes <= first <= size and needed <= size and extended <= size and num_records * 54 <= size
    if not fits or count > MAX_POINTS or width < 20:
        got = f"a header of {count} points that does not fit {size} bytes"
        raise SourceError(path, expected="a whole LAS or LAZ file", got=got)


def _priority_of_las(block: Any, names: set[str]) -> npt.NDArray[np.uint8]:
    if not {"origin", "rank"} <= names:
        return np.full(len(block), priority_of(PointClass.OBSERVED), np.uint8)
    origin = np.clip(np.asarray(block.origin), 1, 3).astype(np.uint8)
    rank = np.clip(np.asarray(block.rank), 0, MAX_RANK).astype(np.uint8)
    return origin << np.uint8(6) | rank


def _bytes_of(wide: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Colours of 16 bits, or of 8 in fields of 16, as many programs write them."""
    return (wide >> 8 if wide.size and wide.max() > 255 else wide).astype(np.uint8)


def _read_e57(path: Path) -> PointCloud:
    pye57 = _package(path, "pye57", "pye57")
    positions, colors, notes = [np.zeros((0, 3))], [np.zeros((0, 3), np.uint16)], []
    with _faults_of(path, "an E57 file"):
        file = pye57.E57(str(path))
        try:
            for number in range(file.scan_count):
                count = int(file.get_header(number).point_count)
                if count > MAX_POINTS:
                    raise SourceError(path, expected=f"at most {MAX_POINTS} points", got=str(count))
                scan = file.read_scan(number, colors=True, ignore_missing_fields=True)
                positions.append(np.stack([scan[f"cartesian{axis}"] for axis in "XYZ"], axis=1))
                grey = np.full(len(positions[-1]), _NO_COLOR)
                shades = [scan.get(f"color{channel}", grey) for channel in ("Red", "Green", "Blue")]
                colors.append(np.stack(shades, axis=1).astype(np.uint16))
                if "colorRed" not in scan:
                    notes.append(f"scan {number} has no colours: grey")
        finally:
            file.close()
    return _cloud_of(path, np.concatenate(positions), _bytes_of(np.concatenate(colors)), notes=notes)


def _cloud_of(
    path: Path,
    xyz: npt.NDArray[np.float64],
    colors: npt.NDArray[np.uint8] | None,
    given_priority: npt.NDArray[np.uint8] | None = None,
    *,
    notes: Sequence[str] = (),
) -> PointCloud:
    """Points with z up as points of a world."""
    n = len(xyz)
    if not n:
        raise SourceError(path, expected="points", got="none")
    observed = np.full(n, priority_of(PointClass.OBSERVED), np.uint8)
    priority = observed if given_priority is None else given_priority
    shades = np.full((n, 3), _NO_COLOR, np.uint8) if colors is None else colors
    notes = ["z taken as up, lengths as metres", *notes, *(["no colours: grey"] if colors is None else [])]
    finite = np.isfinite(xyz).all(axis=1)
    if not finite.any():
        raise SourceError(path, expected="finite positions", got="none")
    if not finite.all():
        notes = [*notes, f"{n - int(finite.sum())} points left out (not finite)"]
        xyz, shades, priority = xyz[finite], shades[finite], priority[finite]
    middle = np.rint((xyz.min(axis=0) + xyz.max(axis=0)) / 2)
    if np.abs(middle).max() > MAX_DISTANCE_M:
        notes = [*notes, "moved by " + " ".join(f"{-v:.0f}" for v in middle) + " m (x, y, z up)"]
        xyz = xyz - middle
    if np.abs(xyz).max() > 1e5:
        raise SourceError(path, expected="a cloud of at most 200 km", got=f"{np.ptp(xyz, axis=0).max():.3g} m")
    x, y, z = xyz.T
    world = np.stack([x, -z, y], axis=1).astype(np.float32)
    batch = PointBatch(world, shades, np.ones(len(world), np.uint8), priority, np.zeros(len(world), np.uint32))
    return PointCloud(batch, True, "; ".join(notes))


@contextmanager
def _faults_of(path: Path, expected: str) -> Iterator[None]:
    """What a library finds wrong with a file, in our words."""
    try:
        yield
    except (SourceError, MemoryError):
        raise
    except Exception as error:  # libraries of others raise anything
        got = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(path, expected=expected, got=got) from error


def _laspy(path: Path) -> Any:
    laspy = _package(path, "laspy", "laspy[lazrs]")
    if path.suffix.lower() == ".laz" and not laspy.LazBackend.detect_available():
        raise SourceError(path, expected="the package lazrs", got="none", do='install it: pip install "laspy[lazrs]"')
    return laspy


def _package(path: Path, name: str, what: str) -> Any:
    try:
        return __import__(name)
    except ImportError as error:
        do = f'install it: pip install "{what}"'
        raise SourceError(path, expected=f"the package {name}", got="none", do=do) from error
