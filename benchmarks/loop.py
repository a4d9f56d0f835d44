"""Closed loops of clips through procedural places, with moving things and without given depth, against the truth.

    python benchmarks/loop.py [--quick] [--json FILE]

Each clip is pictures alone, taken a little beside the poses that were asked for (1 cm and 0.3° more with every clip);
the program, given the keyframes that a walk would give, finds depth, poses and what moves, merges what it found into
memory and closes loops. A loop begins with empty memory and ends where it began. The last view is memory drawn there as
the walk draws it ("points": without its keyframes), compared with the first picture and with the place at the loop's
end, over the pixels that memory has; "known" is their share. Drift is how far the last frame's pose is off, "asked"
without any correction. Memory is compared with surface that the clips showed, within 6 m: accuracy is the share of
points within 2 cm of it, completeness the share of it within 2 cm of a point. Leaked is the share of the clips' moving
pixels that memory has a stray point within 3 cm of.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from comparison import Result, describe_machine, parse_options, write_results
from rich.console import Console
from rich.table import Table
from scipy.spatial import cKDTree
from skimage.metrics import structural_similarity
from spatia.generator.learned import ESTIMATOR_VARIABLE, SEGMENTER_VARIABLE, LearnedTools
from spatia.generator.pipeline import run_request
from spatia.generator.procedural.generator import ProceduralGenerator
from spatia.generator.procedural.place import EYE_HEIGHT_M, Place, PlaceSpec, PlaceView
from spatia.generator.requests import Clip, ClipRequest, Progress, ReferenceFrame, SceneVideo
from spatia.renderer.capture import contact_sheet
from spatia.renderer.interface import DrawOptions
from spatia.renderer.software import SoftwareRenderer
from spatia.runtime.closing import LoopCloser, stage_closure
from spatia.world.camera import Pinhole, unproject
from spatia.world.keyframes import FrameBank
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.merge import stage_update
from spatia.world.retrieval import MAX_REFERENCES
from spatia.world.slam.closure import Closure
from spatia.world.transforms import invert, look, rotation_angle_rad
from spatia.world.updates import UpdateReport
from truth import Silent, load_lpips, psnr

SEED = 3
SIZE, FOV_RAD = (480, 320), float(np.radians(75.0))
FRAMES, RATE_HZ = 25, 24.0
"""Of a clip; each begins with the last pose of the one before."""
AROUND_M = 1.0
"""Length of a loop for each of its clips."""
VOXEL_M = 0.01
ASTRAY_M, ASTRAY_RAD = 0.01, float(np.radians(0.3))
"""Standard deviation on each axis of how much further each clip strays from what was asked for."""
REACH_M, NEAR_M = 6.0, 0.02
STRAY_M, LEAK_M = 0.05, 0.03
EVERY = 5
"""Truth is taken from every fifth frame."""
KNOWN = 0.5
WEIGHT_FREE = {ESTIMATOR_VARIABLE: "multiview", SEGMENTER_VARIABLE: "none"}
MOVING_SHARE = 0.05
"""Wanted share of moving pixels: people walk by, and not into the camera."""

Color = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float32]


# ------------------------------------------------------------------------------------------------ loops


def loop_poses(place: Place, num_clips: int) -> npt.NDArray[np.float64]:
    """(num_clips * (FRAMES - 1) + 1, 4, 4) a closed way round a spot where one can walk, and something moves in view.

    Two clips look to one side and back; longer loops turn once around.
    """
    num = num_clips * (FRAMES - 1) + 1
    radius = AROUND_M * num_clips / (2 * math.pi)
    spots = [pose for i in range(6) for pose in _spots(place, i, radius)]
    pinhole = Pinhole.from_fov(64, 40, FOV_RAD)

    def unsuited(spot: tuple[float, float]) -> float:
        some = _around(spot, radius, num, num_clips)[:: max(1, num // 10)]
        shares = [place.render(p, pinhole, k * num / 10 / RATE_HZ).moving.mean() for k, p in enumerate(some)]
        return abs(float(np.mean(shares)) - MOVING_SHARE) + 0.2 * float(np.max(shares))

    return _around(min(spots, key=unsuited), radius, num, num_clips)


def _spots(place: Place, column: int, radius: float) -> list[tuple[float, float]]:
    """Middles of free circles in the start row's cell of a column, at most three."""
    cell = place.plan.cell(column, 3 if place.spec.kind == "yard" else 0)
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    found = []
    for u in np.linspace(0.2, 0.8, 7):
        for v in np.linspace(0.2, 0.8, 7):
            x, y = cell.x + u * cell.width, cell.y + v * cell.depth
            ring = [(x + radius * math.cos(a), 0.0, y + radius * math.sin(a)) for a in angles]
            if not any(place.is_blocked(p, 0.25) for p in ring):
                found.append((x, y))
    return found[:: max(1, len(found) // 3)][:3]


def _around(spot: tuple[float, float], radius: float, num: int, num_clips: int) -> npt.NDArray[np.float64]:
    out = np.empty((num, 4, 4))
    for k, t in enumerate(np.linspace(0.0, 2 * math.pi, num)):
        x, z = spot[0] + radius * math.sin(t), spot[1] - radius * math.cos(t)
        yaw = 0.5 * math.sin(t) if num_clips <= 2 else t
        out[k] = look((x, -EYE_HEIGHT_M - 0.03 * math.sin(2 * t), z), yaw, -0.1)
    return out


def stray(poses: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Poses that leave the asked ones evenly, by another random step in every clip; the first stays."""
    num_clips = (len(poses) - 1) // (FRAMES - 1)
    steps = rng.normal(size=(num_clips, 6)) * ([ASTRAY_M] * 3 + [ASTRAY_RAD] * 3)
    knots = np.concatenate([np.zeros((1, 6)), np.cumsum(steps, axis=0)])
    out = poses.copy()
    for k in range(len(poses)):
        at = k / (FRAMES - 1)
        offset = [np.interp(at, np.arange(num_clips + 1), knots[:, c]) for c in range(6)]
        out[k, :3, :3] = poses[k, :3, :3] @ _turned(np.array(offset[3:]))
        out[k, :3, 3] += offset[:3]
    return out


def _turned(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


# ------------------------------------------------------------------------------------------------ walking


class _Beside(ProceduralGenerator):
    """Pictures a clip at other poses than those asked for, as a video model does."""

    def __init__(self, true_poses: npt.NDArray[np.float64]) -> None:
        super().__init__(with_depth=False, threads=2)
        self.true_poses = true_poses

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """See ``Generator.generate``."""
        return super().generate(replace(request, world_T_camera=self.true_poses), scene, progress)


@dataclass(slots=True, eq=False)
class Loop:
    """What came of a loop.

    Attributes:
        asked, true, found: (N, 4, 4) poses that were asked for, pictured, and found.
        first: The first picture.
        memory, bank: What the clips left.
        reports: Of each clip.
        num_closures: How often drift was taken out.
    """

    asked: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]
    found: npt.NDArray[np.float64]
    first: Color
    memory: SpatialMemory
    bank: FrameBank
    reports: list[UpdateReport] = field(default_factory=list)
    num_closures: int = 0


def walk_loop(place: Place, num_clips: int) -> Loop:
    """Make the clips one after the other and merge each."""
    asked = loop_poses(place, num_clips)
    true = stray(asked, np.random.default_rng([place.spec.seed, num_clips]))
    pinhole = Pinhole.from_fov(*SIZE, FOV_RAD)
    memory, bank = SpatialMemory(VOXEL_M), FrameBank()
    loop = Loop(asked, true, asked.copy(), place.render(true[0], pinhole, 0.0).color, memory, bank)
    generator, closer, first_ids = _Beside(true[:1]), LoopCloser(), []
    for clip in range(num_clips):
        part = slice(clip * (FRAMES - 1), clip * (FRAMES - 1) + FRAMES)
        generator.true_poses = true[part]
        snapshot = memory.snapshot()
        request = ClipRequest(
            request_id=clip + 1,
            epoch=0,
            seed=clip,
            prompt="",
            world_T_camera=asked[part],
            pinhole=pinhole,
            memory=snapshot.subset(snapshot.chunks_in_frusta(pinhole, asked[part])),
            first_keyframe_id=bank.reserve_ids(FRAMES),
            references=references_of(bank, snapshot, pinhole, asked[part]),
            place=str(place.spec),
            time_s=part.start / RATE_HZ,
        )
        update = run_request(request, generator, Silent(), tools=LearnedTools(WEIGHT_FREE)).update
        keyframes = list(update.keyframes)
        if clip == 0 and keyframes:
            keyframes[0] = replace(keyframes[0], request_id=0)  # the first picture stands where it stands
        memory.apply(stage_update(memory.snapshot(), update))
        bank.apply(bank.stage(keyframes))
        loop.found[part] = update.world_T_camera
        loop.reports.append(update.report)
        first_ids.append(request.first_keyframe_id)
        closure = closer.look(bank.snapshot(), replace(update, keyframes=tuple(keyframes)))
        if closure is not None:
            _take_out_drift(loop, closure, first_ids)
    return loop


def references_of(
    bank: FrameBank, memory: MemorySnapshot, pinhole: Pinhole, world_T_camera: npt.NDArray[np.float64]
) -> tuple[ReferenceFrame, ...]:
    """Keyframes that share surface with a path, the first picture before all, as a walk chooses them."""
    first = [k for k in bank.keyframes if k.request_id == 0]
    shared = bank.retrieve(memory, pinhole, world_T_camera, k=MAX_REFERENCES) if first else []
    known = {k.keyframe_id for k in first}
    chosen = (first + [k for k in shared if k.keyframe_id not in known])[:MAX_REFERENCES]
    return tuple(ReferenceFrame(k.color, k.depth_m, k.pinhole, k.world_T_camera, False, k.keyframe_id) for k in chosen)


def _take_out_drift(loop: Loop, closure: Closure, first_ids: list[int]) -> None:
    """Move memory, keyframes and the poses so far as loop closure says."""
    staged = stage_closure(loop.memory.snapshot(), loop.bank, closure)
    loop.memory.apply(staged.memory)
    loop.bank.apply(staged.frames)
    for clip, first_id in enumerate(first_ids):
        for k in range(clip > 0, FRAMES):
            index = clip * (FRAMES - 1) + k
            loop.found[index] = staged.correction.of(first_id + k) @ loop.found[index]
    loop.num_closures += 1


# ------------------------------------------------------------------------------------------------ measures


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """What the clips really showed: points that stand, and that move, within ``REACH_M`` of the camera."""

    standing: Points
    moving: Points


def true_surface(place: Place, loop: Loop) -> Surface:
    """Surface in view of some of the loop's frames, standing points thinned to half a voxel."""
    pinhole = Pinhole.from_fov(*SIZE, FOV_RAD)
    standing, moving = [], []
    for k in range(0, len(loop.true), EVERY):
        view = place.render(loop.true[k], pinhole, k / RATE_HZ, threads=2)
        near = np.where(view.depth_m < REACH_M, view.depth_m, np.float32(0))
        standing.append(unproject(np.where(view.moving, np.float32(0), near), pinhole, loop.true[k]))
        moving.append(unproject(np.where(view.moving, near, np.float32(0)), pinhole, loop.true[k]))
    return Surface(_thinned(np.concatenate(standing), VOXEL_M / 2), np.concatenate(moving))


def _thinned(points: Points, side_m: float) -> Points:
    _, first = np.unique(np.floor(points / side_m).astype(np.int64), axis=0, return_index=True)
    return points[np.sort(first)]


def compare_surface(memory: SpatialMemory, surface: Surface, eye: npt.NDArray[np.float64]) -> dict[str, float]:
    """Accuracy, completeness, and what leaked."""
    points = memory.snapshot().points().positions_world
    points = points[np.linalg.norm(points - eye, axis=1) < REACH_M]
    off_m = cKDTree(surface.standing).query(points, distance_upper_bound=1.0, workers=2)[0]
    some = surface.standing[:: max(1, len(surface.standing) // 300_000)]
    gap_m = cKDTree(points).query(some, distance_upper_bound=1.0, workers=2)[0]
    strays = points[off_m > STRAY_M]
    leaked = float("nan")
    if len(surface.moving):
        some = surface.moving[:: max(1, len(surface.moving) // 100_000)]
        near = cKDTree(strays).query(some, distance_upper_bound=LEAK_M)[0] if len(strays) else np.array([np.inf])
        leaked = float(np.isfinite(near).mean())
    return {
        "accuracy %": 100 * float((off_m < NEAR_M).mean()),
        "accuracy at 5 cm %": 100 * float((off_m < STRAY_M).mean()),
        "off, median mm": 1e3 * float(np.median(off_m)),
        "complete %": 100 * float((gap_m < NEAR_M).mean()),
        "leaked %": 100 * leaked,
    }


@dataclass(frozen=True, slots=True, eq=False)
class Ending:
    """The last view beside the first picture and the truth at the loop's end."""

    first: Color
    last: Color
    truth: PlaceView


def compare_views(place: Place, loop: Loop, lpips: Callable[[Color, Color], float] | None) -> tuple[Ending, dict]:
    """The last view as it is drawn, against first and truth."""
    pinhole, pose = Pinhole.from_fov(*SIZE, FOV_RAD), loop.asked[-1]
    renderer = SoftwareRenderer()
    renderer.update(loop.memory.snapshot(), loop.bank.keyframes)
    view = renderer.render(pose, pinhole, DrawOptions(fill=True, floor_height_m=EYE_HEIGHT_M))
    bare = renderer.render(pose, pinhole, DrawOptions(fill=True, use_keyframes=False, floor_height_m=EYE_HEIGHT_M))
    truth = place.render(pose, pinhole, (len(loop.asked) - 1) / RATE_HZ)
    known = view.coverage >= KNOWN
    figures = {"known %": 100 * float(known.mean())}
    for name, other in (("first", loop.first), ("truth", truth.color)):
        figures[f"{name}: PSNR"] = psnr(view.color, other, known)
        figures[f"{name}: points PSNR"] = psnr(bare.color, other, known)
        _, ssim = structural_similarity(view.color, other, channel_axis=2, full=True)
        figures[f"{name}: SSIM"] = float(ssim[known].mean())
        if lpips is not None:
            figures[f"{name}: LPIPS"] = lpips(np.where(known[..., None], view.color, other), other)
    return Ending(loop.first, view.color, truth), figures


def compare_poses(loop: Loop) -> dict[str, float]:
    """How far the last frame's pose is off, with and without what was found."""
    out = {}
    for name, poses in (("drift", loop.found), ("asked", loop.asked)):
        step = invert(loop.true[-1]) @ poses[-1]
        out[f"{name} cm"] = 100 * float(np.linalg.norm(step[:3, 3]))
        out[f"{name} °"] = float(np.degrees(rotation_angle_rad(step)))
    out["rejected"] = float(sum(bool(r.rejected) for r in loop.reports))
    out["closures"] = float(loop.num_closures)
    return out


def measure(
    spec: PlaceSpec, num_clips: int, lpips: Callable[[Color, Color], float] | None
) -> tuple[Ending, dict[str, float]]:
    """Walk one loop and compare it with the truth."""
    place = Place(spec)
    loop = walk_loop(place, num_clips)
    ending, figures = compare_views(place, loop, lpips)
    surface = true_surface(place, loop)
    eye = loop.asked[:, :3, 3].mean(axis=0)
    figures |= compare_poses(loop) | compare_surface(loop.memory, surface, eye)
    place.close()
    return ending, figures


# ------------------------------------------------------------------------------------------------ report


def side_by_side(endings: dict[str, Ending]) -> Color:
    """A sheet with a row for each loop: first picture, last view, truth at the loop's end."""
    tiles = [view for e in endings.values() for view in (e.first, e.last, e.truth.color)]
    labels = [f"{name}: {what}" for name in endings for what in ("first picture", "last view", "truth")]
    return contact_sheet(tiles, labels, columns=3)


def main() -> None:
    """Measure, print, write."""
    options = parse_options(__doc__ or "")
    machine, lpips = describe_machine(), load_lpips()
    loops = [("rooms", 2)] if options.quick else [(kind, n) for kind in ("rooms", "yard") for n in (2, 4, 6)]
    rows = {f"{kind}, {n} clips": measure(PlaceSpec(kind, SEED), n, lpips)[1] for kind, n in loops}
    columns = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    table = Table("", *rows)
    for column in columns:
        table.add_row(column, *(f"{figures[column]:.3g}" if column in figures else "" for figures in rows.values()))
    Console(width=140).print(table)
    if options.json is not None:
        results = [
            Result(f"{row}: {name}", "", value, None, "", None, None, machine)
            for row, figures in rows.items()
            for name, value in figures.items()
        ]
        write_results(results, options.json)


if __name__ == "__main__":
    main()
