"""Merging points by voxel: this package beside the libraries that one would use instead, in one run on the same data.

    python benchmarks/merge.py [--quick] [--json FILE] [--points 1e6,5e6,20e6]

Ours keeps class, rank, keyframe and weights and can go on merging; the others average positions and colours once.
Every repetition runs all contestants in turn; figures are medians. Of more points than ``MOST_REPEATED``, of which some
take half a minute, the others merge once and say so. What is not installed is named as absent.
"""

import itertools
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
from comparison import DATA, Result, describe_machine, measure_ms, options_parser, report, within
from spatia.world.camera import Pinhole, unproject
from spatia.world.carve import stage_carve
from spatia.world.chunks import Chunk, ChunkKey
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_insert
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import as_rigid, look
from spatia.world.updates import DepthView

VOXEL_SIZE_M = 0.01
SIZES = (10**6, 5 * 10**6, 20 * 10**6)
QUICK_SIZES = (500_000,)
MOST_REPEATED = 5 * 10**6
CLIP_POINTS = 10**6
KITCHEN = DATA / "rgbd" / "kitchen"
RANKS = np.array([priority_of(PointClass.OBSERVED), priority_of(PointClass.ESTIMATED)]
                 + [priority_of(PointClass.INVENTED, rank) for rank in (1, 40)], np.uint8)  # fmt: skip


# ---------------------------------------------------------------------------------------------------- data


def synthetic(num_points: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy rectangles in space, about three points a voxel, surface after surface."""
    rng = np.random.default_rng(seed)
    side_m = 1.8
    per_surface = int(3 * (side_m / VOXEL_SIZE_M) ** 2)
    parts = []
    for _ in range(-(-num_points // per_surface)):
        basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        local = rng.uniform(0, side_m, (per_surface, 3)) * (1, 1, 0) + rng.normal(0, 0.002, (per_surface, 3)) * (
            0,
            0,
            1,
        )
        local = local[np.argsort(np.floor(local[:, 0] / 0.005))]
        center = rng.uniform(-1, 1, 3) * (num_points / per_surface) ** (1 / 3) * 1.5
        parts.append((local @ basis + center).astype(np.float32))
    positions = np.concatenate(parts)[:num_points]
    return positions, rng.integers(0, 256, (num_points, 3), dtype=np.uint8)


def kitchen(num_points: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Frames of the RGB-D recording one after the other, the whole tiled along x as often as needed; None if absent."""
    import cv2

    frames = sorted(KITCHEN.glob("*.depth.png"))
    if not frames:
        return None
    k = np.loadtxt(KITCHEN / "camera-intrinsics.txt")
    pinhole = Pinhole(640, 480, k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5)
    positions, colors, tile, total = [], [], 0, 0
    while total < num_points:
        for path in frames:
            depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32)
            depth[depth == 65535] = 0
            pose = as_rigid(np.loadtxt(str(path).replace("depth.png", "pose.txt")))
            color = cv2.imread(str(path).replace("depth.png", "color.jpg"))[..., ::-1]
            positions.append(unproject(depth / np.float32(1000), pinhole, pose) + np.float32([7 * tile, 0, 0]))
            colors.append(color[depth > 0])
            total += len(positions[-1])
            if total >= num_points:
                break
        tile += 1
    return np.concatenate(positions)[:num_points], np.ascontiguousarray(np.concatenate(colors)[:num_points])


def as_batch(positions: np.ndarray, colors: np.ndarray, *, is_mixed: bool = True) -> PointBatch:
    """Points with mixed classes and ranks, weights and keyframes in runs as a frame gives them."""
    n, rng = len(positions), np.random.default_rng(1)
    run = np.arange(n) // 20_000
    priority = rng.choice(RANKS, run[-1] + 1)[run] if is_mixed else np.full(n, RANKS[0], np.uint8)
    weights = rng.integers(1, 16, n, dtype=np.uint8)
    return PointBatch(positions, colors, weights, priority, (run + 1).astype(np.uint32))


def batch_of(batch: PointBatch, some: slice) -> PointBatch:
    """Some of its points."""
    names = ("positions_world", "colors", "weights", "priority", "keyframe")
    return PointBatch(*(getattr(batch, name)[some] for name in names))


# ---------------------------------------------------------------------------------------------- contestants


def ours(num_threads: int) -> Callable[[PointBatch], object]:
    """Merge into an empty memory."""

    def run(batch: PointBatch) -> object:
        memory = SpatialMemory(VOXEL_SIZE_M)
        memory.apply(stage_insert({}, VOXEL_SIZE_M, batch, revision=1, num_threads=num_threads))
        return memory

    return run


def plain_copy(num_threads: int) -> Callable[[PointBatch], object]:
    """No merge at all: every input array copied, and 16 bytes a point moved once from one place to another."""

    def copy(batch: PointBatch, some: slice) -> object:
        kept = [a[some].copy() for a in (batch.positions_world, batch.colors, batch.weights, batch.keyframe)]
        return kept, np.zeros((len(kept[0]), 2), np.uint64).copy()

    def run(batch: PointBatch) -> object:
        edges = np.linspace(0, len(batch), num_threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(num_threads) as pool:
            return list(pool.map(lambda edge: copy(batch, slice(*edge)), itertools.pairwise(edges)))

    return run


def open3d_legacy() -> Callable[[PointBatch], object]:
    """Open3D's point cloud, as the authors of the model use it. Making the cloud is not timed."""
    import open3d as o3d

    def prepare(batch: PointBatch) -> object:
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(batch.positions_world.astype(np.float64)))
        cloud.colors = o3d.utility.Vector3dVector(batch.colors / 255.0)
        return cloud

    return _Prepared(prepare, lambda cloud: cloud.voxel_down_sample(VOXEL_SIZE_M))


def open3d_tensor() -> Callable[[PointBatch], object]:
    """Open3D's tensor point cloud."""
    import open3d as o3d

    def prepare(batch: PointBatch) -> object:
        cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(batch.positions_world.copy()))
        cloud.point.colors = o3d.core.Tensor(batch.colors.astype(np.float32))
        return cloud

    return _Prepared(prepare, lambda cloud: cloud.voxel_down_sample(VOXEL_SIZE_M))


def numpy_sort() -> Callable[[PointBatch], object]:
    """Sort by voxel, then sum runs."""

    def run(batch: PointBatch) -> object:
        voxel = _packed_voxels(batch.positions_world)
        order = np.argsort(voxel)
        first = np.flatnonzero(np.diff(voxel[order], prepend=voxel[order[0]] - 1))
        count = np.diff(first, append=len(order))[:, None]
        values = np.concatenate([batch.positions_world, batch.colors], axis=1, dtype=np.float32)[order]
        return np.add.reduceat(values, first, axis=0) / count

    return run


def torch_unique() -> Callable[[PointBatch], object]:
    """Unique voxels, then add by index."""
    import torch

    def run(batch: PointBatch) -> object:
        voxel = torch.from_numpy(_packed_voxels(batch.positions_world))
        unique, inverse, count = torch.unique(voxel, return_inverse=True, return_counts=True)
        values = torch.from_numpy(np.concatenate([batch.positions_world, batch.colors], axis=1, dtype=np.float32))
        return torch.zeros(len(unique), 6).index_add_(0, inverse, values) / count[:, None]

    return run


def small_gicp() -> Callable[[PointBatch], object]:
    """small_gicp's voxel grid on all cores; positions only."""
    import small_gicp as library

    threads = len(os.sched_getaffinity(0))
    return _Prepared(
        lambda batch: library.PointCloud(batch.positions_world.astype(np.float64)),
        lambda cloud: library.voxelgrid_sampling(cloud, VOXEL_SIZE_M, num_threads=threads),
    )


def polars_group() -> Callable[[PointBatch], object]:
    """Polars' group-by on all cores."""
    import polars

    def run(batch: PointBatch) -> object:
        columns = {"voxel": _packed_voxels(batch.positions_world)}
        columns |= {f"p{i}": batch.positions_world[:, i].copy() for i in range(3)}
        columns |= {f"c{i}": batch.colors[:, i].copy() for i in range(3)}
        return polars.DataFrame(columns).group_by("voxel").agg(polars.all().mean())

    return run


OPEN3D = "Open3D voxel_down_sample (legacy)"
BASELINES: dict[str, tuple[Callable[[], Callable[[PointBatch], object]], float]] = {
    OPEN3D: (open3d_legacy, 20.0),
    "Open3D voxel_down_sample (tensor)": (open3d_tensor, 20.0),
    "small_gicp voxelgrid_sampling": (small_gicp, 2.0),
    "torch unique + index_add": (torch_unique, 2.0),
    "NumPy sort + reduceat": (numpy_sort, 2.0),
    "polars group_by": (polars_group, 2.0),
}


def _packed_voxels(positions: np.ndarray) -> np.ndarray:
    voxel = np.floor(positions.astype(np.float64) / VOXEL_SIZE_M).astype(np.int64) + (1 << 20)
    return voxel[:, 0] << 42 | voxel[:, 1] << 21 | voxel[:, 2]


class _Prepared:
    """A contestant whose conversion of the input is kept out of the time."""

    def __init__(self, convert: Callable[[PointBatch], Any], merge: Callable[[Any], object]) -> None:
        self._convert, self._merge = convert, merge
        self._kept: tuple[PointBatch, Any] | None = None

    def prepare(self, batch: PointBatch) -> None:
        """Convert a batch, and let go of the one before."""
        self._kept = None
        self._kept = batch, self._convert(batch)

    def __call__(self, batch: PointBatch) -> object:
        if self._kept is None or self._kept[0] is not batch:
            self.prepare(batch)
        return self._merge(self._kept[1])


# ---------------------------------------------------------------------------------------------- measuring


def contestants() -> tuple[dict[str, Callable[[PointBatch], object]], list[str]]:
    """The libraries that are there, by name, and the names of those that are not."""
    runs, absent = {}, []
    for name, (make, _) in BASELINES.items():
        try:
            runs[name] = make()
        except ImportError:
            absent.append(name)
    return runs, absent


def once_ms(run: Callable[[PointBatch], object], batch: PointBatch) -> float:
    """Milliseconds of one call, after one on some points that is not timed. What is converted for it is let go."""
    run(batch_of(batch, slice(1000)))
    if isinstance(run, _Prepared):
        run.prepare(batch)
    start = time.perf_counter()
    run(batch)
    ms = 1e3 * (time.perf_counter() - start)
    run(batch_of(batch, slice(1000)))
    return ms


def compare_merging(results: list[Result], label: str, batch: PointBatch, *, repetitions: int) -> list[str]:
    """Ours with one and two threads against every library that is there; returns the names of those that are not."""
    own = {"1 thread": ours(1), "2 threads": ours(2), "plain copy": plain_copy(2)}
    others, absent = contestants()
    is_repeated = len(batch) <= MOST_REPEATED
    repeated = own | others if is_repeated else own
    times = measure_ms({name: (lambda run=run: run(batch)) for name, run in repeated.items()}, repetitions)
    if not is_repeated:
        times |= {name: once_ms(run, batch) for name, run in others.items()}
    rate = {name: len(batch) / ms / 1e3 for name, ms in times.items()}
    machine = describe_machine()
    for threads in ("1 thread", "2 threads"):
        for name in others:
            ratio, target = rate[threads] / rate[name], BASELINES[name][1] if threads == "2 threads" else None
            shown = name if is_repeated else f"{name}, one call"
            results.append(Result(f"merge {label}, {threads}", "million points/s", rate[threads], rate[name], shown,
                                  ratio, target, machine))  # fmt: skip
    if OPEN3D in rate:
        bound = rate["plain copy"] / rate[OPEN3D]
        results.append(Result(f"bound: copying {label}, 2 threads", "million points/s", rate["plain copy"],
                              rate[OPEN3D], OPEN3D, bound, None, machine))  # fmt: skip
    return absent


def world_of(clip_points: int, num_voxels: int) -> SpatialMemory:
    """A world that holds the place of the clip that is merged, and copies of another one beside it."""
    memory, other = SpatialMemory(VOXEL_SIZE_M), SpatialMemory(VOXEL_SIZE_M)
    memory.insert(as_batch(*synthetic(clip_points, seed=5), is_mixed=False))
    other.insert(as_batch(*synthetic(2_000_000, seed=6), is_mixed=False))
    place = 0
    while memory.num_points < num_voxels:
        place += 1
        memory.load(moved(chunk, (64 * place, 0, 0)) for chunk in other.chunks.values())  # 41 m further on
    return memory


def moved(chunk: Chunk, offset: ChunkKey) -> Chunk:
    """A copy some chunks further on."""
    key = tuple(k + o for k, o in zip(chunk.key, offset, strict=True))
    arrays = (chunk.codes.copy(), chunk.rows.copy(), chunk.priority.copy(), chunk.evidence.copy())
    return Chunk(cast(ChunkKey, key), chunk.revision, *arrays)


def compare_world_sizes(results: list[Result], *, clip_points: int, small: int, large: int, repetitions: int) -> None:
    """Merging one clip into a small and into a large world; staging and the swap on the session's thread."""
    clip = as_batch(*synthetic(clip_points, seed=5))
    worlds = {name: world_of(clip_points, size) for name, size in (("small", small), ("large", large))}
    staged = {}

    def stage(name: str) -> None:
        memory = worlds[name]
        staged[name] = stage_insert(memory.chunks, VOXEL_SIZE_M, clip, revision=memory.revision + 1)

    times = measure_ms({name: (lambda name=name: stage(name)) for name in worlds}, repetitions)
    machine = describe_machine()
    sizes = f"{worlds['large'].num_points / 1e6:.1f} M against {worlds['small'].num_points / 1e6:.1f} M voxels"
    results.append(Result(f"merge a clip of {clip_points / 1e6:g} M points, {sizes}", "ms", times["large"],
                          times["small"], "the same clip into the small world", times["small"] / times["large"],
                          1 / 1.15, machine))  # fmt: skip
    pauses = []
    for _ in range(repetitions):
        stage("large")
        start = time.perf_counter()
        worlds["large"].apply(staged["large"])
        pauses.append(time.perf_counter() - start)
        worlds["large"].snapshot()
    pause = float(np.median(pauses)) * 1e3
    results.append(within("pause of the session's thread when a clip is taken over", "ms", pause, 4.0, machine))


def measure_edits(results: list[Result], *, num_points: int, repetitions: int) -> None:
    """Carving and removal, per voxel that they touch."""
    memory = SpatialMemory(VOXEL_SIZE_M)
    memory.insert(as_batch(*synthetic(num_points, seed=9), is_mixed=False))
    pinhole = Pinhole.from_fov(640, 480, 1.2)
    depth = np.full((480, 640), 6.0, np.float32)
    views = [DepthView(depth, pinhole, look((0, 0, -5), yaw, 0.0), int(RANKS[0])) for yaw in (0.0, 0.02, 0.04, 0.06)]
    snapshot = memory.snapshot()
    poses = np.stack([view.world_T_camera for view in views])
    touched = snapshot.subset(snapshot.chunks_in_frusta(pinhole, poses, far_m=6.3)).num_points
    ms = measure_ms({"carve": lambda: stage_carve(snapshot, views)}, repetitions)["carve"]
    results.append(Result("carve against 4 views", "ms per million voxels in sight", ms * 1e6 / max(touched, 1),
                          None, f"{touched / 1e6:.2f} M voxels", None, None, describe_machine()))  # fmt: skip


def main() -> None:
    """Run the comparison."""
    parser = options_parser((__doc__ or "").splitlines()[0])
    parser.add_argument("--points", default="", help="sizes, such as 1e6,5e6,20e6")
    options = parser.parse_args()
    sizes = [int(float(n)) for n in options.points.split(",") if n] or (QUICK_SIZES if options.quick else SIZES)
    repetitions = 3 if options.quick else 5
    results: list[Result] = []
    absent: list[str] = []
    for size in sizes:
        for source, make in {"synthetic": synthetic, "kitchen": kitchen}.items():
            if (points := make(size)) is None:
                continue
            orders = {"in frame order": slice(None), "shuffled": np.random.default_rng(2).permutation(size)}
            for order, index in orders.items():
                label = f"{size / 1e6:g} M {source}, {order}"
                start = time.perf_counter()
                absent = compare_merging(results, label, as_batch(*(part[index] for part in points)),
                                         repetitions=repetitions)  # fmt: skip
                print(f"{label}: {time.perf_counter() - start:.0f} s", flush=True)
    results += [
        Result("merge", "million points/s", 0.0, None, f"{name}: not installed", None, None, describe_machine())
        for name in absent
    ]
    large = 3_000_000 if options.quick else 50_000_000
    clip_points = min(sizes[0], CLIP_POINTS)
    compare_world_sizes(results, clip_points=clip_points, small=1_000_000, large=large, repetitions=2 * repetitions)
    measure_edits(results, num_points=clip_points, repetitions=repetitions)
    report(results, options.json)


if __name__ == "__main__":
    main()
