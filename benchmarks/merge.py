"""Merging points by voxel: this package beside the libraries that one would use instead, in one run on the same data.

    python benchmarks/merge.py [--quick] [--json FILE] [--points 1e6,5e6,20e6]

Ours keeps class, rank, keyframe and weights and can go on merging; the others average positions and colours once.
Every repetition runs all contestants in turn; figures are medians. What is not installed is named as absent.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from spatia.world.camera import Pinhole, unproject
from spatia.world.carve import stage_carve
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_insert
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.transforms import as_rigid, look
from spatia.world.updates import DepthView

VOXEL_SIZE_M = 0.01
KITCHEN = Path(os.environ.get("SPATIA_DATA_DIR", "../shared/data")) / "rgbd" / "kitchen"
RANKS = np.array([priority_of(PointClass.OBSERVED), priority_of(PointClass.ESTIMATED)]
                 + [priority_of(PointClass.INVENTED, rank) for rank in (1, 40)], np.uint8)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """One comparison; ``ratio`` above 1 means that ours is better."""

    name: str
    unit: str
    ours: float
    baseline: float | None
    baseline_name: str
    ratio: float | None
    target: float | None
    machine: str


def describe_machine() -> str:
    """Processor, cores and Python."""
    model = platform.processor()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


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


# ---------------------------------------------------------------------------------------------- contestants


def ours(num_threads: int) -> Callable[[PointBatch], object]:
    """Merge into an empty memory."""

    def run(batch: PointBatch) -> object:
        memory = SpatialMemory(VOXEL_SIZE_M)
        memory.apply(stage_insert({}, VOXEL_SIZE_M, batch, revision=1, num_threads=num_threads))
        return memory

    return run


def open3d_legacy() -> Callable[[PointBatch], object]:
    """Open3D's point cloud, as the authors of the model use it. Making the cloud is not timed."""
    import open3d as o3d

    def prepare(batch: PointBatch) -> object:
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(batch.positions_world.astype(np.float64)))
        cloud.colors = o3d.utility.Vector3dVector(batch.colors / 255.0)
        return cloud

    return _prepared(prepare, lambda cloud: cloud.voxel_down_sample(VOXEL_SIZE_M))


def open3d_tensor() -> Callable[[PointBatch], object]:
    """Open3D's tensor point cloud."""
    import open3d as o3d

    def prepare(batch: PointBatch) -> object:
        cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(batch.positions_world.copy()))
        cloud.point.colors = o3d.core.Tensor(batch.colors.astype(np.float32))
        return cloud

    return _prepared(prepare, lambda cloud: cloud.voxel_down_sample(VOXEL_SIZE_M))


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
    return _prepared(
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


BASELINES: dict[str, tuple[Callable[[], Callable[[PointBatch], object]], float]] = {
    "Open3D voxel_down_sample (legacy)": (open3d_legacy, 20.0),
    "Open3D voxel_down_sample (tensor)": (open3d_tensor, 20.0),
    "small_gicp voxelgrid_sampling": (small_gicp, 2.0),
    "torch unique + index_add": (torch_unique, 2.0),
    "NumPy sort + reduceat": (numpy_sort, 2.0),
    "polars group_by": (polars_group, 2.0),
}


def _packed_voxels(positions: np.ndarray) -> np.ndarray:
    voxel = np.floor(positions.astype(np.float64) / VOXEL_SIZE_M).astype(np.int64) + (1 << 20)
    return voxel[:, 0] << 42 | voxel[:, 1] << 21 | voxel[:, 2]


def _prepared(prepare: Callable, run: Callable) -> Callable[[PointBatch], object]:
    """A contestant whose conversion of the input is kept out of the time."""
    kept: dict[int, object] = {}

    def call(batch: PointBatch) -> object:
        if id(batch) not in kept:
            kept.clear()
            kept[id(batch)] = prepare(batch)
        return run(kept[id(batch)])

    return call


# ---------------------------------------------------------------------------------------------- measuring


def median_times(runs: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Median seconds of each, taking turns after one unmeasured turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repetitions + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            kept = run()
            if turn:
                times[name].append(time.perf_counter() - start)
            del kept
    return {name: float(np.median(values)) for name, values in times.items()}


def compare_merging(results: list[Result], label: str, batch: PointBatch, *, repetitions: int) -> list[str]:
    """Ours with one and two threads against every library that is there; returns the names of those that are not."""
    runs = {"1 thread": ours(1), "2 threads": ours(2)}
    absent = []
    for name, (make, _) in BASELINES.items():
        try:
            runs[name] = make()
        except ImportError:
            absent.append(name)
    seconds = median_times({name: (lambda run=run: run(batch)) for name, run in runs.items()}, repetitions)
    rate = {name: len(batch) / s / 1e6 for name, s in seconds.items()}
    machine = describe_machine()
    for threads in ("1 thread", "2 threads"):
        for name, (_, target) in BASELINES.items():
            if name in rate:
                ratio = rate[threads] / rate[name]
                result = Result(f"merge {label}, {threads}", "million points/s", rate[threads], rate[name], name, ratio,
                                target if threads == "2 threads" else None, machine)  # fmt: skip
                results.append(result)
    return absent


def compare_world_sizes(results: list[Result], *, clip_points: int, small: int, large: int, repetitions: int) -> None:
    """Merging one clip into a small and into a large world; staging and the swap on the session's thread."""
    clip = as_batch(*synthetic(clip_points, seed=5))
    worlds = {}
    for name, size in (("small", small), ("large", large)):
        memory = SpatialMemory(VOXEL_SIZE_M)
        memory.insert(as_batch(*synthetic(clip_points, seed=5), is_mixed=False))
        offset = 0
        while memory.num_points < size:
            positions, colors = synthetic(2_000_000, seed=6 + offset)
            offset += 1
            memory.insert(as_batch(positions + np.float32([40 * offset, 0, 0]), colors, is_mixed=False))
        worlds[name] = memory
    staged = {}

    def stage(name: str) -> None:
        memory = worlds[name]
        staged[name] = stage_insert(memory.chunks, VOXEL_SIZE_M, clip, revision=memory.revision + 1)

    seconds = median_times({name: (lambda name=name: stage(name)) for name in worlds}, repetitions)
    machine = describe_machine()
    sizes = f"{worlds['large'].num_points / 1e6:.1f} M against {worlds['small'].num_points / 1e6:.1f} M voxels"
    results.append(Result(f"merge a clip of {clip_points / 1e6:g} M points, {sizes}", "ms", seconds["large"] * 1e3,
                          seconds["small"] * 1e3, "the same clip into the small world",
                          seconds["small"] / seconds["large"], 1 / 1.15, machine))  # fmt: skip
    pauses = []
    for _ in range(repetitions):
        stage("large")
        start = time.perf_counter()
        worlds["large"].apply(staged["large"])
        pauses.append(time.perf_counter() - start)
        worlds["large"].snapshot()
    pause = float(np.median(pauses)) * 1e3
    results.append(Result("pause of the session's thread when a clip is taken over", "ms", pause, 4.0, "the limit",
                          4.0 / pause, 1.0, machine))  # fmt: skip


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
    seconds = median_times({"carve": lambda: stage_carve(snapshot, views)}, repetitions)["carve"]
    results.append(Result("carve against 4 views", "ms per million voxels in sight", seconds * 1e9 / max(touched, 1),
                          None, f"{touched / 1e6:.2f} M voxels", None, None, describe_machine()))  # fmt: skip


def show(results: list[Result]) -> None:
    """Print a table."""
    table = Table("what", "unit", "ours", "baseline", "of", "ratio", "target")
    for r in results:
        missed = r.ratio is not None and r.target is not None and r.ratio < r.target
        table.add_row(
            r.name,
            r.unit,
            f"{r.ours:.3g}" if r.ours else "",
            "" if r.baseline is None else f"{r.baseline:.3g}",
            r.baseline_name,
            "" if r.ratio is None else f"{r.ratio:.2f}" + (" missed" if missed else ""),
            "" if r.target is None else f"{r.target:.3g}",
        )
    console = Console(width=None if Console().is_terminal else 180)
    console.print(table)


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one size, three repetitions, under 45 s")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--points", default="", help="sizes, such as 1e6,5e6,20e6")
    options = parser.parse_args()
    sizes = [int(float(n)) for n in options.points.split(",") if n] or (
        [500_000] if options.quick else [10**6, 5 * 10**6]
    )
    repetitions = 3 if options.quick else 5
    results: list[Result] = []
    absent: list[str] = []
    for size in sizes:
        sources = {"synthetic": synthetic(size)}
        if (recorded := kitchen(size)) is not None:
            sources["kitchen"] = recorded
        for source, (positions, colors) in sources.items():
            orders = {"in frame order": slice(None), "shuffled": np.random.default_rng(2).permutation(size)}
            for order, index in orders.items():
                batch = as_batch(np.ascontiguousarray(positions[index]), np.ascontiguousarray(colors[index]))
                label = f"{size / 1e6:g} M {source}, {order}"
                absent = compare_merging(results, label, batch, repetitions=repetitions)
    results += [
        Result("merge", "million points/s", 0.0, None, f"{name}: not installed", None, None, describe_machine())
        for name in absent
    ]
    large = 3_000_000 if options.quick else 50_000_000
    compare_world_sizes(results, clip_points=sizes[0], small=1_000_000, large=large, repetitions=2 * repetitions)
    measure_edits(results, num_points=sizes[0], repetitions=repetitions)
    show(results)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")


if __name__ == "__main__":
    main()
