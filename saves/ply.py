"""Point clouds as PLY: written for other tools, read from them.

Other tools put y up. A world's axes are OpenCV's (x right, y down, z forward), so points are turned half round the x
axis at this border, ``(x, -y, -z)``, and a header comment says so; a file that carries the comment is turned back when
it is read. Positions of any other file are taken as they are written.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from ..world.points import MAX_RANK, MAX_WEIGHT, PointBatch, PointClass, priority_of
from .errors import SourceError
from .pictures import existing_file

Progress = Callable[[float], None]
"""Called with the share that is done, 0..1, between blocks of points."""

AXES_COMMENT = "spatia axes: x right, y up, z backward (OpenCV axes turned to x, -y, -z)"
METRES_COMMENT = "spatia unit: metre"
NO_UNIT_COMMENT = "spatia unit: unknown, lengths are only up to scale"
CLASS_COMMENT = "spatia class: 1 invented, 2 estimated, 3 observed; rank of the generator that invented it"

MAX_HEADER_BYTES = 1 << 16
MAX_POINTS = 500_000_000

_BLOCK = 1 << 18
_RECORD = np.dtype(
    [(n, "<f4") for n in ("x", "y", "z")] + [(n, "u1") for n in ("red", "green", "blue", "class", "rank", "weight")]
)
_PLY_NAMES = {"<f4": "float", "|u1": "uchar"}
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_COLOR_NAMES = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_SPLAT_NAMES = ("f_dc_0", "f_dc_1", "f_dc_2")
_SH_C0 = 0.28209479177387814
"""Degree-0 spherical harmonic, 1 / (2 sqrt(pi)): files of Gaussians store (colour - 0.5) / SH_C0."""
_NO_COLOR = 180
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_TURN = np.array([1.0, -1.0, -1.0], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class PointCloud:
    """A point cloud file's content.

    Attributes:
        points: World axes, keyframe 0 (none).
        metric: True if the file says that its unit is the metre.
        note: What was assumed, for the user.
    """

    points: PointBatch
    metric: bool
    note: str


def write_ply(
    path: str | os.PathLike[str],
    points: PointBatch | Iterable[PointBatch],
    *,
    num_points: int | None = None,
    metric: bool = True,
    progress: Progress | None = None,
) -> None:
    """Write points as binary little-endian PLY: x y z, red green blue, class, rank and weight.

    The file appears whole or not at all.

    Args:
        path: The file, replaced if it exists.
        points: World axes, metres; batches are taken one by one, so that a world need not be copied whole.
        num_points: Of all batches together; needed unless ``points`` is one batch.
        metric: False if lengths are only up to scale; the header says so.
        progress: Told the share that is written.

    Raises:
        ValueError: The batches do not hold ``num_points``.
        OSError: The disk refused.
    """
    if isinstance(points, PointBatch):
        num_points, points = len(points), (points,)
    if num_points is None:
        raise ValueError("num_points: expected the number of points of all batches, got None")
    target = Path(path)
    partial_file = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with partial_file.open("wb") as file:
            file.write(_header(num_points, metric=metric))
            _write_records(file, points, num_points, progress)
            file.flush()
            os.fsync(file.fileno())
        partial_file.replace(target)
    finally:
        with suppress(OSError):
            partial_file.unlink(missing_ok=True)


def _header(num_points: int, *, metric: bool) -> bytes:
    comments = (AXES_COMMENT, METRES_COMMENT if metric else NO_UNIT_COMMENT, CLASS_COMMENT)
    fields = _RECORD.fields or {}
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {c}" for c in comments),
        f"element vertex {num_points}",
        *(f"property {_PLY_NAMES[dtype.str]} {name}" for name, (dtype, *_) in fields.items()),
        "end_header",
    ]
    return ("\n".join(lines) + "\n").encode("ascii")


def _write_records(file: BinaryIO, batches: Iterable[PointBatch], num_points: int, progress: Progress | None) -> None:
    written = 0
    for batch in batches:
        for start in range(0, len(batch), _BLOCK):
            records = _records(batch, slice(start, start + _BLOCK))
            file.write(records.tobytes())
            written += len(records)
            if progress is not None:
                progress(written / max(num_points, 1))
    if written != num_points:
        raise ValueError(f"num_points: expected {num_points}, got batches of {written} points")


def _records(batch: PointBatch, part: slice) -> npt.NDArray[np.void]:
    positions = batch.positions_world[part] * _TURN
    out = np.zeros(len(positions), _RECORD)
    for axis, name in enumerate(("x", "y", "z")):
        out[name] = positions[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        out[name] = batch.colors[part, channel]
    out["class"] = batch.priority[part] >> 6
    out["rank"] = batch.priority[part] & MAX_RANK
    out["weight"] = batch.weights[part]
    return out


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    count: int
    properties: tuple[tuple[str, str], ...]
    """(name, NumPy type) of each; the type of a list is empty."""


@dataclass(frozen=True, slots=True)
class _Header:
    order: str
    comments: tuple[str, ...]
    elements: tuple[_Element, ...]
    num_bytes: int


def read_ply(path: str | os.PathLike[str]) -> PointCloud:
    """Read the vertices of a PLY file, ascii or binary, whatever the order of its properties.

    Colours may be bytes, 16-bit or floats in 0..1 (``red``, ``r``, ``diffuse_red``, or a Gaussian's ``f_dc_0``);
    without any the points are grey. Points that are not finite are left out.

    Raises:
        SourceError: No PLY, damaged, truncated, without positions or points.
    """
    p = existing_file(path, "a PLY point cloud")
    try:
        with p.open("rb") as file:
            header = _read_header(file, p)
            vertices = _read_vertices(file, header, p)
    except OSError as error:
        raise SourceError(p, expected="a PLY point cloud", got=error.strerror or "an unreadable file") from error
    return _cloud_of(vertices, header, p)


def _read_header(file: BinaryIO, path: Path) -> _Header:
    start = file.read(MAX_HEADER_BYTES)
    if not start.startswith((b"ply\n", b"ply\r")):
        raise SourceError(path, expected="a PLY point cloud", got="a file that does not begin with 'ply'")
    end = start.find(b"end_header")
    line_end = start.find(b"\n", end)
    if end < 0 or line_end < 0:
        raise SourceError(path, expected="a PLY header that ends in end_header", got="none", do="the file is damaged")
    order, comments, elements = "?", [], []
    for line in start[:end].decode("latin-1").splitlines()[1:]:
        words = line.split()
        match words:
            case ["format", name, _] if name in _FORMATS:
                order = _FORMATS[name]
            case ["comment", *_] | ["obj_info", *_]:
                comments.append(line.strip().partition(" ")[2])
            case ["element", name, count] if count.isdecimal() and int(count) <= MAX_POINTS:
                elements.append(_Element(name, int(count), ()))
            case ["property", "list", _, _, name] if elements:
                elements[-1] = _with_property(elements[-1], name, "")
            case ["property", kind, name] if elements and kind in _TYPES:
                elements[-1] = _with_property(elements[-1], name, _TYPES[kind])
            case []:
                pass
            case _:
                raise SourceError(path, expected="a PLY header", got=f"the line {line.strip()[:60]!r}")
    if order == "?":
        raise SourceError(path, expected="a format line in the PLY header", got="none")
    return _Header(order, tuple(comments), tuple(elements), line_end + 1)


def _with_property(element: _Element, name: str, kind: str) -> _Element:
    return _Element(element.name, element.count, (*element.properties, (name, kind)))


def _read_vertices(file: BinaryIO, header: _Header, path: Path) -> npt.NDArray[np.void]:
    names = [e.name for e in header.elements]
    if "vertex" not in names:
        raise SourceError(path, expected="an element vertex", got=", ".join(names) or "no element")
    before = header.elements[: names.index("vertex")]
    vertex = header.elements[names.index("vertex")]
    if vertex.count == 0:
        raise SourceError(path, expected="some points", got="none")
    kinds = (
        [kind for e in (*before, vertex) for _, kind in e.properties]
        if header.order
        else [kind for _, kind in vertex.properties]
    )
    if "" in kinds or not kinds:
        raise SourceError(path, expected="vertices of plain numbers", got="lists among or before them")
    labels = [name for name, _ in vertex.properties]
    if len(set(labels)) != len(labels):
        raise SourceError(path, expected="each property once", got=" ".join(labels))
    file.seek(header.num_bytes)
    if not header.order:
        return _read_ascii(file, vertex, sum(e.count for e in before), path)
    skipped = sum(e.count * _record_of(e, header.order).itemsize for e in before)
    record = _record_of(vertex, header.order)
    needed = header.num_bytes + skipped + vertex.count * record.itemsize
    if path.stat().st_size < needed:  # before any memory is taken
        got = f"{path.stat().st_size} bytes, the file is cut off"
        raise SourceError(path, expected=f"{needed} bytes for {vertex.count} points", got=got)
    return np.fromfile(file, record, vertex.count, offset=skipped)


def _record_of(element: _Element, order: str) -> np.dtype:
    return np.dtype([(name, order + kind) for name, kind in element.properties])


def _read_ascii(file: BinaryIO, vertex: _Element, skipped: int, path: Path) -> npt.NDArray[np.void]:
    width = len(vertex.properties)
    expected = f"{vertex.count} lines of {width} numbers"
    if path.stat().st_size < 2 * width * vertex.count:  # a digit and a separator each
        raise SourceError(path, expected=expected, got=f"{path.stat().st_size} bytes, the file is cut off")
    try:
        table = np.loadtxt(_ascii_lines(file, skipped, vertex.count), dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        raise SourceError(path, expected=expected, got=str(error)) from error
    if table.shape != (vertex.count, width):
        got = f"{table.shape[0]} lines of {table.shape[1]}"
        raise SourceError(path, expected=expected, got=got, do="the file is cut off or damaged")
    out = np.zeros(vertex.count, _record_of(vertex, "<"))
    for column, (name, kind) in enumerate(vertex.properties):
        values = table[:, column]
        if kind[0] != "f":
            limits = np.iinfo(kind)
            if not ((values >= limits.min) & (values <= limits.max)).all():
                raise SourceError(path, expected=f"{name} in {limits.min}..{limits.max}", got="values beyond")
        out[name] = values
    return out


def _ascii_lines(file: BinaryIO, skipped: int, count: int) -> Iterator[str]:
    """Exactly the vertex lines, or fewer where the file ends, so that numpy never sees an empty input."""
    given = 0
    for number, line in enumerate(file):
        if number >= skipped and line.strip():
            yield line.decode("latin-1")
            given += 1
        if given == count:
            return
    if given == 0:
        raise ValueError("no line")


def _cloud_of(vertices: npt.NDArray[np.void], header: _Header, path: Path) -> PointCloud:
    labels = vertices.dtype.names or ()
    if not {"x", "y", "z"} <= set(labels):
        raise SourceError(path, expected="properties x, y and z", got=" ".join(labels))
    notes = []
    positions = np.stack([vertices[n].astype(np.float32) for n in ("x", "y", "z")], axis=1)
    is_ours = AXES_COMMENT in header.comments
    if is_ours:
        positions *= _TURN
    else:
        notes.append("axes taken as x right, y down, z forward")
    metric = METRES_COMMENT in header.comments
    if not metric:
        notes.append("the file states no unit: taken as metres, not metric")
    colors = _colors_of(vertices, labels)
    if colors is None:
        colors = np.full(positions.shape, _NO_COLOR, np.uint8)
        notes.append("no colours: grey")
    finite = np.asarray(np.isfinite(positions).all(axis=1))
    if not finite.any():
        raise SourceError(path, expected="finite positions", got="none")
    if not finite.all():
        notes.append(f"{len(finite) - int(finite.sum())} points left out (not finite)")
    priority, weights = _origin_of(vertices, labels, path, is_ours=is_ours)
    batch = PointBatch(
        positions[finite], colors[finite], weights[finite], priority[finite], np.zeros(int(finite.sum()), np.uint32)
    )
    return PointCloud(batch, metric, "; ".join(notes))


def _colors_of(vertices: npt.NDArray[np.void], labels: tuple[str, ...]) -> npt.NDArray[np.uint8] | None:
    names = next((n for n in _COLOR_NAMES if set(n) <= set(labels)), None)
    if names is None:
        if not set(_SPLAT_NAMES) <= set(labels):
            return None
        unit = np.stack([vertices[n] for n in _SPLAT_NAMES], axis=1) * _SH_C0 + 0.5
    else:
        raw = np.stack([vertices[n] for n in names], axis=1)
        if raw.dtype == np.uint8:
            return raw
        unit = raw / (1.0 if raw.dtype.kind == "f" else float(np.iinfo(raw.dtype).max))
    return np.rint(np.nan_to_num(np.clip(unit, 0.0, 1.0)) * 255.0).astype(np.uint8)


def _origin_of(
    vertices: npt.NDArray[np.void], labels: tuple[str, ...], path: Path, *, is_ours: bool
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Priority and weight: as in the file if it is ours, otherwise observed with weight 1."""
    n = len(vertices)
    if not is_ours or not {"class", "rank", "weight"} <= set(labels):
        return np.full(n, priority_of(PointClass.OBSERVED), np.uint8), np.ones(n, np.uint8)
    point_class, rank, weight = (vertices[name].astype(np.int64) for name in ("class", "rank", "weight"))
    if point_class.min() < 1 or point_class.max() > 3 or rank.min() < 0 or rank.max() > MAX_RANK:
        raise SourceError(path, expected=f"class in 1..3 and rank in 0..{MAX_RANK}", got="others")
    return (point_class << 6 | rank).astype(np.uint8), np.clip(weight, 1, MAX_WEIGHT).astype(np.uint8)
