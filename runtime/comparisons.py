"""What merging, drawing and saving cost here beside what one would use instead, on the same points, in turn.

NumPy is always there; Open3D and laspy are compared with where they are installed.
"""

import io
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import zstandard

from ..renderer.software import SoftwareRenderer
from ..saves.codec import decode_chunk, encode_chunk
from ..saves.parallel import map_ordered
from ..world.camera import Pinhole
from ..world.memory import MemorySnapshot, SpatialMemory
from ..world.merge import stage_insert
from ..world.points import PointBatch
from ..world.transforms import Transform, invert

REPETITIONS = 5
MAX_POINTS = 1_000_000
NUM_THREADS = 2
Run = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One cost beside another's.

    Attributes:
        what: What was done.
        ours_ms: Median.
        other: Its name.
        other_ms: Median.
    """

    what: str
    ours_ms: float
    other: str
    other_ms: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.other_ms / max(self.ours_ms, 1e-6)


def compare(memory: SpatialMemory, world_T_camera: Transform, pinhole: Pinhole) -> list[Comparison]:
    """Merge, draw, write and read a world's points, at most ``MAX_POINTS`` of them.

    Args:
        memory: A walked world's.
        world_T_camera: From where they are drawn.
        pinhole: With which camera.
    """
    snapshot = _some_of(memory.snapshot())
    points, voxel_size_m = snapshot.points(), snapshot.voxel_size_m
    packed = [encode_chunk(c) for c in snapshot.chunks.values()]
    arrays = zstandard.ZstdCompressor(level=3).compress(points.positions_world.tobytes() + points.colors.tobytes())
    renderer = SoftwareRenderer()
    renderer.update(snapshot)
    jobs: dict[str, dict[str, Run]] = {
        "merge": {
            "ours": lambda: stage_insert({}, voxel_size_m, points, revision=1, num_threads=NUM_THREADS),
            "NumPy sort": lambda: _numpy_merge(points, voxel_size_m),
            **_open3d_merge(points, voxel_size_m),
        },
        "draw": {
            "ours": lambda: renderer.render(world_T_camera, pinhole),
            "NumPy z-buffer": lambda: _numpy_draw(points, world_T_camera, pinhole),
            **_open3d_draw(points, world_T_camera, pinhole),
        },
        "write": {
            "ours": lambda: list(map_ordered(encode_chunk, list(snapshot.chunks.values()), len(packed))),
            "arrays + zstd": lambda: zstandard.ZstdCompressor(level=3).compress(
                points.positions_world.tobytes() + points.colors.tobytes()
            ),
            **_laz(points, voxel_size_m, is_reading=False),
        },
        "read": {
            "ours": lambda: list(map_ordered(decode_chunk, packed, len(packed))),
            "arrays + zstd": lambda: zstandard.ZstdDecompressor().decompress(arrays),
            **_laz(points, voxel_size_m, is_reading=True),
        },
    }
    found = []
    for what, runs in jobs.items():
        times = _medians_ms(runs)
        found += [Comparison(what, times["ours"], name, ms) for name, ms in times.items() if name != "ours"]
    renderer.close()
    return found


def _some_of(snapshot: MemorySnapshot) -> MemorySnapshot:
    keys, total = [], 0
    for key, chunk in snapshot.chunks.items():
        total += chunk.num_points
        if total > MAX_POINTS and keys:
            break
        keys.append(key)
    return snapshot.subset(keys)


def _medians_ms(runs: dict[str, Run]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(REPETITIONS + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            kept = run()
            if turn:  # the first compiles and warms up
                times[name].append(time.perf_counter() - begin)
            del kept
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}


def _numpy_merge(points: PointBatch, voxel_size_m: float) -> object:
    voxel = np.floor(points.positions_world.astype(np.float64) / voxel_size_m).astype(np.int64) + (1 << 20)
    packed = voxel[:, 0] << 42 | voxel[:, 1] << 21 | voxel[:, 2]
    order = np.argsort(packed)
    first = np.flatnonzero(np.diff(packed[order], prepend=packed[order[0]] - 1))
    values = np.concatenate([points.positions_world, points.colors], axis=1, dtype=np.float32)[order]
    return np.add.reduceat(values, first, axis=0) / np.diff(first, append=len(order))[:, None]


def _numpy_draw(points: PointBatch, world_T_camera: Transform, pinhole: Pinhole) -> object:
    uv, z = pinhole.project(points.positions_world, world_T_camera)
    inside = (z > 0.01) & (uv >= 0).all(axis=1) & (uv < pinhole.size).all(axis=1)
    column, row = uv[inside].astype(np.int64).T
    order = np.argsort(-z[inside], kind="stable")
    picture = np.zeros((pinhole.height, pinhole.width, 3), np.uint8)
    picture[row[order], column[order]] = points.colors[inside][order]
    return picture


def _open3d_merge(points: PointBatch, voxel_size_m: float) -> dict[str, Run]:
    with suppress(ImportError):
        o3d: Any = __import__("open3d")
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.positions_world.astype(np.float64)))
        cloud.colors = o3d.utility.Vector3dVector(points.colors / 255.0)
        return {"Open3D": lambda: cloud.voxel_down_sample(voxel_size_m)}
    return {}


def _open3d_draw(points: PointBatch, world_T_camera: Transform, pinhole: Pinhole) -> dict[str, Run]:
    with suppress(ImportError):
        o3d: Any = __import__("open3d")
        cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(points.positions_world.copy()))
        cloud.point.colors = o3d.core.Tensor(points.colors.astype(np.float32) / 255)
        intrinsics, extrinsics = o3d.core.Tensor(pinhole.matrix), o3d.core.Tensor(invert(world_T_camera))
        size = pinhole.size
        return {"Open3D": lambda: cloud.project_to_rgbd_image(*size, intrinsics, extrinsics, 1000.0, 200.0)}
    return {}


def _laz(points: PointBatch, voxel_size_m: float, *, is_reading: bool) -> dict[str, Run]:
    with suppress(ImportError):
        laspy: Any = __import__("laspy")
        if not laspy.LazBackend.detect_available():
            return {}

        def write() -> bytes:
            header = laspy.LasHeader(point_format=2, version="1.2")
            header.scales = np.full(3, voxel_size_m / 256)
            las = laspy.LasData(header)
            las.x, las.y, las.z = points.positions_world.astype(np.float64).T
            las.red, las.green, las.blue = (points.colors.astype(np.uint16) << 8).T
            file = io.BytesIO()
            las.write(file, do_compress=True)
            return file.getvalue()

        data = write() if is_reading else b""
        return {"LAZ": (lambda: laspy.read(io.BytesIO(data)).x) if is_reading else write}
    return {}
