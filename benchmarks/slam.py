"""Geometry without weights: tracking, depth from many views, scale, what moves; beside what a recording measured.

    python benchmarks/slam.py [--quick] [--json FILE] [--recording FOLDER]

The recording is a folder in the 7-Scenes layout with poses; its pose files are hidden from what is measured.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from comparison import DATA, Result, describe_machine, within, write_results
from perturbed import MIRROR, VARIANTS, mirrored, perturb
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree
from spatia.renderer.capture import VideoWriter, write_png
from spatia.runtime.tracked import track_source
from spatia.saves.frames import Source, SourceFrame
from spatia.saves.recordings import load_recording
from spatia.saves.registration import SEVEN_SCENES_COLOR_T_DEPTH
from spatia.saves.sources import load_source
from spatia.world.camera import Pinhole, unproject
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.alignment import align_to_memory
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.given import depth_confidence, find_flying
from spatia.world.slam.lift import free_space_view
from spatia.world.slam.motion_masks import find_motion
from spatia.world.slam.multiview import MultiView
from spatia.world.slam.scale import fit_scale
from spatia.world.slam.tracking import track_recording
from spatia.world.slam.update import build_update
from spatia.world.transforms import as_rigid, invert, rotation_about, rotation_angle_rad
from spatia.world.visibility import render_depth

OBSERVED = priority_of(PointClass.OBSERVED)
MAX_DEPTH_M = 5.0
SURFACE_M = 0.02
PERTURBED_FRAMES = 24
NO_TARGET = float("inf")
"""A figure for information."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its target.

    Attributes:
        name: What was measured.
        value: The figure.
        target: To reach.
        stretch: To aim at.
        at_most: Whether less is better.
    """

    name: str
    value: float
    target: float
    stretch: float
    at_most: bool

    @property
    def is_met(self) -> bool:
        """Whether the target is reached."""
        return bool(self.value <= self.target if self.at_most else self.value >= self.target)


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """A recording with the poses that tracking found.

    Attributes:
        frames: Its frames, depth in the colour camera.
        truth: (F, 4, 4) recorded poses of the same camera.
        found: (F, 4, 4) tracked ones.
        is_tracked: (F,) bool.
    """

    frames: list[SourceFrame]
    truth: np.ndarray
    found: np.ndarray
    is_tracked: np.ndarray

    @property
    def pinhole(self) -> Pinhole:
        """Of every frame."""
        return self.frames[0].pinhole

    def depth_m(self, k: int) -> np.ndarray:
        """Measured depth without flying pixels and what is too far to trust."""
        depth = self.frames[k].depth_m
        assert depth is not None, "the recording has depth"
        return np.where(find_flying(depth) | (depth > MAX_DEPTH_M), 0, depth).astype(np.float32)


@contextmanager
def without_poses(recording: Path) -> Iterator[Path]:
    """A folder with links to all of a recording but its poses."""
    with tempfile.TemporaryDirectory() as folder:
        for path in recording.iterdir():
            if not path.name.endswith(".pose.txt"):
                (Path(folder) / path.name).symlink_to(path.resolve())
        yield Path(folder)


def position_error_m(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(F,) distances after the rigid alignment of the positions that is best (Umeyama without scale)."""
    a, b = found[:, :3, 3], truth[:, :3, 3]
    u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
    turn = (u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt).T
    return np.linalg.norm((a - a.mean(0)) @ turn.T + b.mean(0) - b, axis=1)


def similar(found: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and (F,) distances after the similarity of the positions that is best (Umeyama, 1991)."""
    a, b = found[:, :3, 3] - found[:, :3, 3].mean(0), truth[:, :3, 3] - truth[:, :3, 3].mean(0)
    u, d, vt = np.linalg.svd(a.T @ b)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = float((d * np.diag(sign)).sum() / (a**2).sum())
    return scale, np.linalg.norm(scale * a @ (u @ sign @ vt) - b, axis=1)


def color_only(tracked: Tracked, source: Source, name: str) -> list[Row]:
    """The same recording without depth and poses: cameras after the best similarity, depth after the cameras' scale.

    A second figure takes each view's depth by its own median scale, which leaves the drift of scale out.
    """
    found = track_source(source)
    kept = np.flatnonzero(found.trajectory.is_tracked)
    scale, errors = similar(found.trajectory.world_T_camera[kept], tracked.truth[kept])
    figures, own = [], []
    for frame in found.source.frames:
        pose = frame.world_T_camera
        k = int(np.argmin(np.abs(found.trajectory.world_T_camera - pose).max(axis=(1, 2))))
        assert frame.depth_m is not None, "depth was found"
        truth, depth = tracked.depth_m(k), frame.depth_m * np.float32(scale)
        figures.append(depth_figures(depth, truth))
        both = (truth > 0) & (depth > 0)
        own.append(depth_figures(depth * np.float32(np.median(truth[both] / depth[both])), truth)[0])
    mean, name = np.mean(figures, axis=0), f"colour only, {name}"
    ate = 100 * float(np.sqrt((errors**2).mean()))
    return [
        Row(f"{name}: ATE after Sim(3), cm", ate, NO_TARGET, 5.0, True),
        Row(f"{name}: lost (or over 20 cm off), of {len(tracked.frames)}", _lost(kept, errors, tracked), 0, 0, True),
        Row(f"{name}: AbsRel of {len(figures)} views", float(mean[0]), NO_TARGET, 0.06, True),
        Row(f"{name}: AbsRel, each view's own scale", float(np.mean(own)), NO_TARGET, 0.05, True),
        Row(f"{name}: within 1.25", float(mean[1]), NO_TARGET, 0.95, True),
        Row(f"{name}: complete", float(mean[2]), NO_TARGET, 0.65, True),
    ]


def _lost(kept: np.ndarray, errors: np.ndarray, tracked: Tracked) -> float:
    return float(len(tracked.frames) - len(kept) + (errors > 0.2).sum())


def color_sources(tracked: Tracked) -> Iterator[tuple[str, Source]]:
    """The recording's pictures as a folder, and as a video (H.264, near lossless, 5 frames a second)."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, video = Path(temporary) / "pictures", Path(temporary) / "video.mp4"
        folder.mkdir()
        for k, frame in enumerate(tracked.frames):
            write_png(folder / f"{k:04d}.png", frame.color)
        with VideoWriter(video, tracked.pinhole.size, fps=5) as writer:
            for frame in tracked.frames:
                writer.write(frame.color)
        yield "folder", load_source(folder, intrinsics=tracked.pinhole)
        yield "mp4", load_source(video, intrinsics=tracked.pinhole)


def track(recording: Path, count: int) -> tuple[Tracked, list[Row]]:
    """Track the recording's first frames without their poses."""
    truth = [as_rigid(np.loadtxt(p)) for p in sorted(recording.glob("frame-*.pose.txt"))[:count]]
    with without_poses(recording) as folder:
        source = load_recording(folder, frames=slice(0, count))
        frames = [source.frames[k] for k in range(len(source.frames))]
    is_registered = frames[0].pinhole.fx != 585.0
    depth_T_color = invert(SEVEN_SCENES_COLOR_T_DEPTH) if is_registered else np.eye(4)
    trajectory = track_recording(frames)
    tracked = Tracked(frames, np.stack(truth) @ depth_T_color, trajectory.world_T_camera, trajectory.is_tracked)
    errors = position_error_m(tracked.found, tracked.truth)
    return tracked, [
        Row(f"tracking {len(frames)} frames: ATE, cm", 100 * float(np.sqrt((errors**2).mean())), 6.0, 3.5, True),
        Row("tracking: lost (or over 20 cm off)", float((~tracked.is_tracked | (errors > 0.2)).sum()), 0, 0, True),
    ]


def memory_of(
    tracked: Tracked, poses: np.ndarray, indices: Sequence[int], voxel_size_m: float = 0.01
) -> MemorySnapshot:
    """Memory of some frames."""
    memory = SpatialMemory(voxel_size_m)
    for k in indices:
        depth = tracked.depth_m(k)[::2, ::2]
        small = tracked.pinhole.resized(depth.shape[1], depth.shape[0])
        points = unproject(np.ascontiguousarray(depth), small, poses[k])
        colors = tracked.frames[k].color[::2, ::2][depth > 0]
        memory.insert(PointBatch.uniform(points, colors, priority=OBSERVED, keyframe=k + 1))
    return memory.snapshot()


def converge(tracked: Tracked, repeats: int) -> list[Row]:
    """Held-out frames, 5 cm and 3 degrees off, laid on memory."""
    count = len(tracked.frames)
    memory = memory_of(tracked, tracked.found, range(0, count, 2))
    rng, good = np.random.default_rng(0), []
    for k in range(1, count, 6):
        depth = tracked.depth_m(k)
        confidence = depth_confidence(depth, tracked.pinhole)
        for _ in range(repeats):
            way, off = rng.normal(size=3), np.eye(4)
            off[:3, :3] = rotation_about(rng.normal(size=3), np.radians(3.0))
            off[:3, 3] = 0.05 * way / np.linalg.norm(way)
            start = tracked.found[k] @ off
            found = align_to_memory(depth, confidence, tracked.pinhole, start, memory)
            left = invert(tracked.found[k]) @ found.world_T_camera
            near = np.linalg.norm(left[:3, 3]) < 0.02 and rotation_angle_rad(left) < np.radians(1.0)
            good.append(bool(near and not found.rejected))
    return [Row("from 5 cm, 3° off within 2 cm, 1°: share", float(np.mean(good)), 0.85, 0.95, False)]


def depth_figures(depth_m: np.ndarray, truth_m: np.ndarray) -> tuple[float, float, float]:
    """AbsRel, share within a factor of 1.25, share of the true pixels that have depth."""
    true = truth_m > 0
    both = true & (depth_m > 0)
    ratio = depth_m[both] / truth_m[both]
    within = (np.maximum(ratio, 1 / ratio) < 1.25).mean()
    return float(np.abs(ratio - 1).mean()), float(within), float(both.sum() / true.sum())


def many_views(tracked: Tracked) -> list[Row]:
    """Depth of the colour frames alone, at the tracked poses."""
    color = np.stack([f.color for f in tracked.frames])
    stack = FrameStack(color, None, None, None, None, tracked.found.copy(), tracked.pinhole)
    estimate = MultiView().estimate(stack, SpatialMemory().snapshot())
    keys = [k for k in range(len(stack)) if (estimate.depth_m[k] > 0).any()]
    figures = np.mean([depth_figures(estimate.depth_m[k], tracked.depth_m(k)) for k in keys], axis=0)
    return [
        Row(f"multiview, {len(keys)} key views: AbsRel", float(figures[0]), 0.06, 0.035, True),
        Row("multiview: within 1.25", float(figures[1]), 0.93, 0.96, False),
        Row("multiview: complete", float(figures[2]), 0.60, 0.75, False),
    ]


def garage() -> list[Row]:
    """The two photos of the garage against the measured depth."""
    from skimage.data import stereo_motorcycle

    left, right, disparity = stereo_motorcycle()
    height, width = disparity.shape
    known = np.isfinite(disparity) & (disparity > 0)
    truth = np.where(known, 994.978 * 0.193001 / (np.where(known, disparity, 0) + 31.086), 0).astype(np.float32)
    pad = 32  # the right photo's principal point lies 31.086 further right: room for it on the left
    shift = np.array([[1, 0, pad - 31.086], [0, 1, 0]], np.float32)
    right = cv2.warpAffine(right, shift, (width + pad, height), flags=cv2.INTER_CUBIC)
    left = np.pad(left, ((0, 0), (pad, 0), (0, 0)))
    pinhole = Pinhole(width + pad, height, 994.978, 994.978, 311.193 + 0.5 + pad, 254.877 + 0.5)
    poses = np.stack([np.eye(4)] * 2)
    poses[1, 0, 3] = 0.193001
    stack = FrameStack(np.stack([left, right]), None, None, None, None, poses, pinhole)
    depth = MultiView().estimate(stack, SpatialMemory().snapshot()).depth_m[0][:, pad:]
    error, _, complete = depth_figures(depth, truth)
    return [
        Row("garage pair: AbsRel", error, 0.012, 0.0097, True),
        Row("garage pair: complete", complete, 0.85, 0.89, False),
    ]


def scales(tracked: Tracked, repeats: int) -> list[Row]:
    """A clip's depth at another scale, with noise, warp and outliers, against memory."""
    count = len(tracked.frames)
    memory = memory_of(tracked, tracked.found, range(0, count, 2))
    small, rng, errors = tracked.pinhole.resized(160, 120), np.random.default_rng(0), []
    for k in range(5, count, 12):
        surface = render_depth(memory, small, tracked.found[k], front_m=0.1).depth_m
        depth = cv2.resize(tracked.depth_m(k), (160, 120), interpolation=cv2.INTER_NEAREST)
        for _ in range(repeats):
            factor = rng.uniform(0.6, 1.7)
            warp = cv2.resize(rng.normal(size=(4, 5)).astype(np.float32), (160, 120), interpolation=cv2.INTER_CUBIC)
            clip = depth * (1 + 0.03 * warp / np.abs(warp).max()) * (1 + rng.normal(0, 0.01, depth.shape)) / factor
            start = int(rng.integers(0, 120))
            clip[:, start : start + 40] = np.where(depth[:, start : start + 40] > 0, 0.9 / factor, 0)
            both = (clip > 0) & (surface > 0)
            errors.append(abs(fit_scale(clip[both], surface[both]).scale / factor - 1))
    return [
        Row("scale of a clip: median error, %", 100 * float(np.median(errors)), 2.0, 1.0, True),
        Row("scale of a clip: largest error, %", 100 * float(np.max(errors)), 2.0, 1.0, True),
    ]


CUTOUT_RGB = (150, 60, 50)


def with_cutout(
    tracked: Tracked, k: int, x_m: float, z_m: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Measured depth with something of the size of a person in front, and its mask."""
    depth, rays = tracked.depth_m(k), tracked.pinhole.rays() * z_m
    inside = ((rays[..., 0] - x_m) / 0.225) ** 4 + ((rays[..., 1] - 0.1) / 0.5) ** 4 < 1
    front = z_m - 0.12 * np.cos((rays[..., 0] - x_m) / 0.45 * np.pi) + rng.normal(0, 0.005, depth.shape)
    mask = inside & ((depth == 0) | (depth > front))
    return np.where(mask, front, depth).astype(np.float32), mask


def colored(tracked: Tracked, k: int, mask: np.ndarray) -> np.ndarray:
    """A frame's colour with the cut-out in it."""
    return np.where(mask[..., None], np.array(CUTOUT_RGB, np.uint8), tracked.frames[k].color)


def movers(tracked: Tracked, starts: Sequence[int]) -> list[Row]:
    """A cut-out that moves through ten frames, memory being that of the others."""
    rng, overlap, alarms, clean = np.random.default_rng(1), [], [], []
    for start in starts:
        clip = list(range(start, start + 10))
        memory = memory_of(tracked, tracked.found, [k for k in range(0, len(tracked.frames), 2) if k not in clip])
        for z_m in (0.9, 1.3):
            views = [with_cutout(tracked, k, -0.35 + 0.07 * i, z_m, rng) for i, k in enumerate(clip)]
            truth = np.stack([v[1] for v in views])
            color = np.stack([colored(tracked, k, mask) for k, mask in zip(clip, truth, strict=True)])
            depth, poses = np.stack([v[0] for v in views]), tracked.found[clip]
            found = find_motion(depth, tracked.pinhole, poses, memory, color=color).moving
            overlap += list((found & truth).sum((1, 2)) / np.maximum((found | truth).sum((1, 2)), 1))
            alarms += list((found & ~truth).sum((1, 2)) / (~truth).sum((1, 2)))
        still = np.stack([tracked.depth_m(k) for k in clip])
        color = np.stack([tracked.frames[k].color for k in clip])
        found = find_motion(still, tracked.pinhole, tracked.found[clip], memory, color=color).moving
        clean += list(found.mean((1, 2)))
    return [
        Row("moving cut-out: IoU", float(np.mean(overlap)), 0.65, 0.8, False),
        Row("moving cut-out: false alarms, %", 100 * float(np.mean(alarms)), 1.0, 0.4, True),
        Row("nothing moves: false alarms, %", 100 * float(np.mean(clean)), 1.0, 0.4, True),
    ]


def ghosts(tracked: Tracked, start: int) -> list[Row]:
    """A mover's points in memory, and what the frames after it carve."""
    rng, count = np.random.default_rng(2), len(tracked.frames)
    memory = SpatialMemory(0.01)
    memory.insert(memory_of(tracked, tracked.found, range(0, count, 2)).points())
    fixed = len(memory.snapshot().points())
    ghost = []
    for i, k in enumerate(range(start, start + 4)):
        depth, mask = with_cutout(tracked, k, -0.35 + 0.14 * i, 1.3, rng)
        ghost.append(unproject(np.where(mask, depth, 0).astype(np.float32), tracked.pinhole, tracked.found[k]))
    points = np.concatenate(ghost)
    batch = PointBatch.uniform(points, np.zeros((len(points), 3), np.uint8), priority=OBSERVED, keyframe=9999)
    memory.insert(batch)
    before = memory.points()
    later = [k for k in range(count) if not start <= k < start + 4]
    for k in later:
        memory.carve([free_space_view(tracked.depth_m(k), tracked.pinhole, tracked.found[k], OBSERVED)])
    after = memory.points()
    seen = seen_through(tracked, before.positions_world[before.keyframe == 9999], later)
    left = int((after.keyframe == 9999).sum())
    total = int((before.keyframe == 9999).sum())
    gone = (total - left) / max(int(seen.sum()), 1)
    still, left_over = before.positions_world[before.keyframe != 9999], after.positions_world[after.keyframe != 9999]
    distance, _ = cKDTree(left_over).query(still[::5], distance_upper_bound=SURFACE_M)
    lost, voxels = float(np.isinf(distance).mean()), 1 - len(left_over) / len(still)
    assert fixed > 0, "memory holds the static scene"
    return [
        Row("ghosts that later frames see through, gone", min(gone, 1.0), 0.85, 0.95, False),
        Row("static surface lost (nothing left within 2 cm), %", 100 * lost, 1.0, 0.3, True),
        Row("static voxels lost (for information), %", 100 * voxels, float("inf"), 0.3, True),
    ]


def seen_through(tracked: Tracked, points: np.ndarray, indices: Sequence[int]) -> np.ndarray:
    """(N,) bool: points in front of what a frame measured, with the margin that carving keeps."""
    out = np.zeros(len(points), bool)
    for k in indices:
        pixels, z = tracked.pinhole.project(points, tracked.found[k])
        with np.errstate(invalid="ignore"):
            u, v = np.floor(pixels[:, 0]), np.floor(pixels[:, 1])
            inside = (z > 0.1) & (u >= 0) & (v >= 0) & (u < tracked.pinhole.width) & (v < tracked.pinhole.height)
        near = cv2.erode(tracked.depth_m(k), np.ones((5, 5), np.uint8))
        depth = near[v[inside].astype(int), u[inside].astype(int)]
        out[inside] |= depth - z[inside] > np.maximum(0.08, 0.03 * z[inside])
    return out


def key_view(tracked: Tracked) -> list[Row]:
    """Colour frames into memory, as the worker does it: estimate, align, mask, lift. Processor time of one thread."""
    count = min(16, len(tracked.frames))
    color = np.stack([f.color for f in tracked.frames[:count]])
    memory = memory_of(tracked, tracked.found, range(0, count, 4))
    stack = FrameStack(color, None, None, None, None, tracked.found[:count].copy(), tracked.pinhole)
    times, update = [], None
    for _ in range(3):
        start = time.process_time()
        update = build_update(
            stack,
            memory=memory,
            estimator="multiview",
            point_class=PointClass.INVENTED,
            rank=40,
            request_id=1,
            first_keyframe_id=1000,
        )
        times.append(time.process_time() - start)
    assert update is not None, "it ran"
    keys = update.report.tests.get("key_views", update.report.tests.get("frames_lifted", 1.0))
    return [Row("one key view into memory, processor s", float(np.min(times)) / max(keys, 1.0), 0.5, 0.35, True)]


def perturbed_rows(tracked: Tracked) -> list[Row]:
    """The recording changed in ways that nothing was tuned for: tracking, and depth of its colour at those poses."""
    rows = []
    for name, (_, change) in VARIANTS.items():
        frames, part = perturb(name, tracked.frames, PERTURBED_FRAMES)
        truth = tracked.truth[part]
        if change is mirrored:
            truth = MIRROR @ truth @ MIRROR
        trajectory = track_recording(frames)
        variant = Tracked(frames, truth, trajectory.world_T_camera, trajectory.is_tracked)
        errors = position_error_m(variant.found, truth)
        depth = many_views(variant)
        rows += [
            Row(f"{name}: ATE, cm", 100 * float(np.sqrt((errors**2).mean())), 6.0, 3.5, True),
            Row(f"{name}: lost of {len(frames)}", float((~variant.is_tracked | (errors > 0.2)).sum()), 0, 0, True),
            *(replace(row, name=f"{name}: {row.name}") for row in depth),
        ]
    return rows


def report(rows: list[Row], json_path: Path | None) -> None:
    """Print the table and write the file."""
    table = Table("what", "measured", "target", "stretch", "")
    for row in rows:
        sign = "≤" if row.at_most else "≥"
        verdict = "" if row.is_met else "missed"
        target = "" if np.isinf(row.target) else f"{sign} {row.target:g}"
        table.add_row(row.name, f"{row.value:.3g}", target, f"{row.stretch:g}", verdict)
    Console().print(table)
    if json_path is not None:
        machine = describe_machine()
        results = [
            Result(r.name, "", r.value, None, "", None, None, machine)
            if np.isinf(r.target)
            else within(r.name, "", r.value, r.target, machine, at_most=r.at_most)
            for r in rows
        ]
        write_results(results, json_path)


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the recording's first 24 frames, and no colour alone")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--only", default="", help="one section: color or perturbed")
    parser.add_argument("--recording", type=Path, default=DATA / "rgbd" / "kitchen", help="7-Scenes layout, with poses")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.only == "color":
        tracked, rows = track(options.recording, 24 if options.quick else 10_000)
        for name, source in color_sources(tracked):
            rows += color_only(tracked, source, name)
        report(rows, options.json)
        return
    if options.only == "perturbed":
        tracked, _ = track(options.recording, 3 * PERTURBED_FRAMES)
        report(perturbed_rows(tracked), options.json)
        return
    rows = garage()
    if options.recording.exists():
        tracked, found = track(options.recording, 24 if options.quick else 10_000)
        last = len(tracked.frames) - 12
        starts = [8] if options.quick else [s for s in (20, 44, 64) if s <= last]
        rows = found + converge(tracked, 2) + many_views(tracked) + rows + scales(tracked, 4)
        rows += movers(tracked, starts) + ghosts(tracked, starts[0]) + key_view(tracked)
        if not options.quick:
            for name, source in color_sources(tracked):
                rows += color_only(tracked, source, name)
    report(rows, options.json)


if __name__ == "__main__":
    main()
