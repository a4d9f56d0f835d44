"""Points for other tools: LAS and LAZ, E57, GLB, and PLY of initial Gaussians. Each is written batch by batch.

Axes: LAS and E57 have z up, ``(x, z, -y)``; glTF has y up, ``(x, -y, -z)``; Gaussians keep the world's own (OpenCV, as
COLMAP has them), so that they fit the cameras of a COLMAP export.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.points import PointBatch
from .errors import ExportError, explain
from .ply import Progress

Batches = Iterable[PointBatch]

LAS_WRITER = "spatia: x right, y forward, z up"
"""Software that a LAS file names as its writer, 32 characters at most."""
_LAS_STEPS_PER_VOXEL = 256
_E57_SCAN_POINTS = 1_000_000
_SH_C0 = 0.28209479177387814
"""Zeroth spherical harmonic, 1 / (2 √π): a Gaussian's colour is 0.5 + it times ``f_dc``."""
_NUM_REST = 45
"""Coefficients of degrees 1 to 3 for three channels, zero at the start; the reference trainer reads them all."""
_OPACITY = 0.9
_Y_UP = np.array([1, -1, -1], np.float32)
_GLB_NUMBER_ROOM = 6 * 24
"""Bytes that six numbers may need as text."""
_GLB_MAGIC, _JSON_CHUNK, _BIN_CHUNK = b"glTF", 0x4E4F534A, 0x004E4942
_FLOAT, _UNSIGNED_BYTE, _ARRAY_BUFFER, _POINTS = 5126, 5121, 34962, 0


def write_las(
    path: Path, batches: Batches, *, num_points: int, voxel_size_m: float, progress: Progress | None = None
) -> None:
    """Write LAS 1.4, compressed (LAZ) if the name ends so, exact to 1/256 of a voxel.

    ``classification`` stays 0; the extra bytes ``origin`` (1 invented, 2 estimated, 3 observed) and ``rank`` say where
    points come from.

    Raises:
        ExportError: laspy, or what it needs to compress, is missing.
    """
    laspy = _laspy(path)
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales = np.full(3, voxel_size_m / _LAS_STEPS_PER_VOXEL)
    header.offsets = header.scales / 2  # positions are centres of steps
    header.generating_software = LAS_WRITER
    for name in ("origin", "rank"):
        header.add_extra_dim(laspy.ExtraBytesParams(name, np.uint8))
    done = 0
    is_compressed = path.suffix.lower() == ".laz"
    with (
        path.open("wb") as file,
        laspy.open(file, "w", header=header, closefd=False, do_compress=is_compressed) as writer,
    ):
        for batch in batches:
            record = laspy.ScaleAwarePointRecord.zeros(len(batch), header=header)
            x, y, z = batch.positions_world.astype(np.float64).T
            record.x, record.y, record.z = x, z, -y
            record.red, record.green, record.blue = (batch.colors.astype(np.uint16) * 257).T
            record.origin, record.rank = batch.priority >> 6, batch.priority & 63
            writer.write_points(record)
            done = _tell(progress, done + len(batch), num_points)


def _laspy(path: Path) -> Any:
    try:
        import laspy
    except ImportError as error:
        raise _missing(path, "laspy") from error
    if path.suffix.lower() == ".laz" and not laspy.LazBackend.detect_available():
        raise _missing(path, "lazrs")
    return laspy


def _missing(path: Path, name: str) -> ExportError:
    do = 'install it with: pip install "laspy[lazrs]"'
    return ExportError(explain(path, expected=f"the package {name}", got="none", do=do))


def write_e57(
    path: Path, batches: Batches, *, num_points: int, voxel_size_m: float, progress: Progress | None = None
) -> None:
    """Write E57, z up, one scan for every million points or so.

    Raises:
        ExportError: pye57 is missing.
    """
    del voxel_size_m
    try:
        import pye57
    except ImportError as error:
        do = "install it with: pip install pye57"
        raise ExportError(explain(path, expected="the package pye57", got="none", do=do)) from error
    file = pye57.E57(str(path), mode="w")
    done = 0
    try:
        for batch in _grouped(batches, _E57_SCAN_POINTS):
            x, y, z = batch.positions_world.astype(np.float64).T
            red, green, blue = batch.colors.T
            file.write_scan_raw(
                {"cartesianX": x, "cartesianY": z, "cartesianZ": -y,
                 "colorRed": red.copy(), "colorGreen": green.copy(), "colorBlue": blue.copy()}
            )  # fmt: skip
            done = _tell(progress, done + len(batch), num_points)
    finally:
        file.close()


def _grouped(batches: Batches, num_points: int) -> Iterator[PointBatch]:
    """Batches put together until they have so many points."""
    group: list[PointBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(map(len, group)) >= num_points:
            yield PointBatch.concatenate(group)
            group = []
    if group:
        yield PointBatch.concatenate(group)


def write_glb(
    path: Path, batches: Batches, *, num_points: int, voxel_size_m: float, progress: Progress | None = None
) -> None:
    """Write binary glTF 2.0 with one primitive of points, colours as bytes (sRGB, as point tools take them)."""
    del voxel_size_m
    row = np.dtype([("xyz", "<f4", 3), ("rgba", "u1", 4)])
    low, high = np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32)
    room = len(_gltf_header(num_points, low, high)) + _GLB_NUMBER_ROOM
    room += -room % 4
    done = 0
    with path.open("wb") as file:
        file.write(bytes(12 + 8 + room + 8))
        for batch in batches:
            rows = np.full(len(batch), 255, row)
            rows["xyz"], rows["rgba"][:, :3] = batch.positions_world * _Y_UP, batch.colors
            low, high = np.minimum(low, rows["xyz"].min(axis=0)), np.maximum(high, rows["xyz"].max(axis=0))
            file.write(rows.tobytes())
            done = _tell(progress, done + len(batch), num_points)
        size = row.itemsize * done
        header = _gltf_header(done, low, high).ljust(room)
        file.seek(0)
        file.write(struct.pack("<4sII", _GLB_MAGIC, 2, 12 + 8 + room + 8 + size))
        file.write(struct.pack("<II", room, _JSON_CHUNK) + header + struct.pack("<II", size, _BIN_CHUNK))


def _gltf_header(n: int, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]) -> bytes:
    """The JSON part: points of 16 bytes, position then colour, so that they can be written as they come."""
    views = [{"buffer": 0, "byteOffset": 0, "byteLength": 16 * n, "byteStride": 16, "target": _ARRAY_BUFFER}]
    bounds = {"min": low.tolist(), "max": high.tolist()}
    accessors = [
        {"bufferView": 0, "byteOffset": 0, "componentType": _FLOAT, "count": n, "type": "VEC3", **bounds},
        {"bufferView": 0, "byteOffset": 12, "componentType": _UNSIGNED_BYTE, "normalized": True, "count": n,
         "type": "VEC4"},
    ]  # fmt: skip
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": _POINTS, "material": 0}
    content: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "spatia"},
        "extensionsUsed": ["KHR_materials_unlit"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "world"}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"extensions": {"KHR_materials_unlit": {}}, "pbrMetallicRoughness": {}}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": 16 * n}],
    }
    return json.dumps(content, separators=(",", ":")).encode()


def write_gaussians(
    path: Path, batches: Batches, *, num_points: int, voxel_size_m: float, progress: Progress | None = None
) -> None:
    """Write points as the PLY of Gaussians that 3D Gaussian splatting trainers and viewers read.

    Each is a ball of half a voxel; see Kerbl et al. 2023, and ``save_ply`` of their implementation for the names.
    """
    names = ["x", "y", "z", "nx", "ny", "nz", *(f"f_dc_{i}" for i in range(3))]
    names += [*(f"f_rest_{i}" for i in range(_NUM_REST)), "opacity"]
    names += [*(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    head = ["ply", "format binary_little_endian 1.0", "comment spatia axes: x right, y down, z forward (OpenCV)"]
    head += [f"element vertex {num_points}", *(f"property float {name}" for name in names), "end_header", ""]
    template = np.zeros(len(names), "<f4")
    template[names.index("opacity")] = np.log(_OPACITY / (1 - _OPACITY))
    template[names.index("scale_0") : names.index("scale_0") + 3] = np.log(voxel_size_m / 2)
    template[names.index("rot_0")] = 1.0
    done = 0
    with path.open("wb") as file:
        file.write("\n".join(head).encode())
        for batch in batches:
            rows = np.tile(template, (len(batch), 1))
            rows[:, :3] = batch.positions_world
            rows[:, 6:9] = (batch.colors / np.float32(255) - np.float32(0.5)) / np.float32(_SH_C0)
            file.write(rows.tobytes())
            done = _tell(progress, done + len(batch), num_points)


def _tell(progress: Progress | None, done: int, total: int) -> int:
    if progress is not None:
        progress(done / max(1, total))
    return done
