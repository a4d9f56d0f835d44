"""What merging, drawing and saving cost here beside what one would use instead, on the same points, in turn.

NumPy is always there; Open3D and laspy are compared with where they are installed. What is written and read is the same
for all: mean positions in steps of 1/256 voxel and mean colours, in memory, none of what else our chunks hold.
"""

import io
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from ..renderer.software import SoftwareRenderer
from ..saves.codec import BATCH_POINTS, ChunkDecodeError, decode_chunks, encode_chunks, num_points_of
from ..saves.parallel import map_batched
from ..world.camera import Pinhole
from ..world.chunks import CHUNK_SIDE, COLUMN_B, COLUMN_KEYFRAME, COLUMN_R, COLUMN_WEIGHT, OFFSET_STEPS, Chunk
from ..world.memory import MemorySnapshot, SpatialMemory
from ..world.merge import stage_insert
from ..world.points import PointBatch
from ..world.transforms import Transform, invert

REPETITIONS = 5
MAX_POINTS = 1_000_000
NUM_THREADS = 2
Run = Callable[[], object]
Store = tuple[Callable[[], bytes], Callable[[bytes], object]]
"""How to write something, and how to read what was written."""


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
    chunks = [bare(chunk) for chunk in snapshot.chunks.values()]
    packed = encode_chunks(chunks)
    stores = _stores(*points_of(chunks), voxel_size_m)
    written = {name: write() for name, (write, _) in stores.items()}
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
            "ours": lambda: _write(chunks),
            **{name: write for name, (write, _) in stores.items()},
        },
        "read": {
            "ours": lambda: _read(packed),
            **{name: partial(read, written[name]) for name, (_, read) in stores.items()},
        },
    }
    found = []
    for what, runs in jobs.items():
        times = _medians_ms(runs)
        found += [Comparison(what, times["ours"], name, ms) for name, ms in times.items() if name != "ours"]
    renderer.close()
    return found


def _write(chunks: list[Chunk]) -> list[bytes]:
    """On all cores, as a full save does."""
    count = len(chunks)
    return list(map_batched(encode_chunks, chunks, count, weigh=lambda c: c.num_points, batch_weight=BATCH_POINTS))


def _read(data: list[bytes]) -> list[Chunk | ChunkDecodeError]:
    """On all cores, as opening a world does."""
    return list(map_batched(decode_chunks, data, len(data), weigh=num_points_of, batch_weight=BATCH_POINTS))


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


def bare(chunk: Chunk) -> Chunk:
    """The chunk with its mean positions and colours alone: one point a voxel, of one keyframe and priority."""
    n = chunk.num_points
    rows = np.ones((n, 8), np.uint32)
    rows[:, :COLUMN_WEIGHT] = chunk.local_q8() % OFFSET_STEPS
    rows[:, COLUMN_R : COLUMN_B + 1] = chunk.colors()
    rows[:, COLUMN_KEYFRAME] = 0
    return Chunk(chunk.key, 0, chunk.codes, rows, np.full(n, 192, np.uint8), np.zeros((n, 2), np.uint8))


def points_of(chunks: Sequence[Chunk]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """(N, 3) positions in steps of 1/256 voxel and (N, 3) colours, in our order. Fresh."""
    side = CHUNK_SIDE * OFFSET_STEPS
    q8 = [c.local_q8().astype(np.int32) + np.array(c.key, np.int32) * side for c in chunks]
    return np.concatenate(q8), np.concatenate([c.colors() for c in chunks])


def zstd_arrays(q8: npt.NDArray[np.int32], colors: npt.NDArray[np.uint8]) -> Store:
    """The arrays of ``points_of`` through zstd, one after the other."""

    def write() -> bytes:
        return zstandard.ZstdCompressor(level=3).compress(q8.tobytes() + colors.tobytes())

    return write, lambda data: np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8)


def laz(q8: npt.NDArray[np.int32], colors: npt.NDArray[np.uint8], voxel_size_m: float) -> Store:
    """LAZ by laspy with lazrs, all cores; the integers of ``points_of`` go in as they are.

    Raises:
        ImportError: It is not installed.
    """
    laspy: Any = __import__("laspy")
    backend = laspy.LazBackend.LazrsParallel
    if not backend.is_available():
        raise ImportError("lazrs")

    def write() -> bytes:
        header = laspy.LasHeader(point_format=2, version="1.2")
        header.scales = np.full(3, voxel_size_m / OFFSET_STEPS)
        points = laspy.LasData(header)
        points.X, points.Y, points.Z = q8.T
        points.red, points.green, points.blue = (colors.astype(np.uint16) << 8).T
        file = io.BytesIO()
        points.write(file, do_compress=True, laz_backend=backend)
        return file.getvalue()

    def read(data: bytes) -> object:
        points = laspy.read(io.BytesIO(data), laz_backend=backend)
        return points.X, points.red

    return write, read


def _stores(q8: npt.NDArray[np.int32], colors: npt.NDArray[np.uint8], voxel_size_m: float) -> dict[str, Store]:
    stores = {"arrays + zstd": zstd_arrays(q8, colors)}
    with suppress(ImportError):
        stores["LAZ"] = laz(q8, colors, voxel_size_m)
    return stores
