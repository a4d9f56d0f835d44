"""An endless place: rooms, corridors and yards of a seed, pictured from anywhere with depth, classes and what moves."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import numpy.typing as npt

from ...world.camera import Pinhole
from ...world.transforms import Transform, look
from . import scene as s
from .cells import REACH_M, CellStore
from .movers import Figure, build_mover
from .plan import CellPlan, Plan
from .rays import MISS
from .shading import shade
from .sky import day, evening
from .spec import PlaceSpec
from .textures import load_textures
from .tracing import smooth_edges, trace
from .visibility import gather, walk_portals

Progress = Callable[[str, float], None]
LIGHTS = {"day": day, "evening": evening}
MAX_SEEN = 16_000
EYE_HEIGHT_M = 1.55
MAX_WALKER_EYE_M = 2.2
"""Who flies higher is in nobody's way."""
START_PITCH_RAD, START_FOV_RAD = -0.12, 1.3
_PLACE_FROM_WORLD = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
"""OpenCV's x right, y down, z forward as x east, y north, z up."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaceView:
    """What a camera sees.

    Attributes:
        color: (H, W, 3) uint8 sRGB.
        depth_m: (H, W) float32 metres along +Z of the ray through the pixel's centre, 0 for the sky.
        surface_class: (H, W) uint8 index into ``classes.SURFACE_CLASSES``.
        moving: (H, W) bool, True where something moves.
    """

    color: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    surface_class: npt.NDArray[np.uint8]
    moving: npt.NDArray[np.bool_]


class Place:
    """One endless place. One thread at a time uses it; the same spec, pose and time give the same picture always.

    Args:
        spec: Which place.
        progress: Told of textures that are painted and loops that are compiled, on a machine's first start.
    """

    def __init__(self, spec: PlaceSpec, progress: Progress | None = None) -> None:
        self.spec = spec
        self.plan = Plan(spec.seed)
        self.light = LIGHTS[spec.light](spec.seed)
        self.textures = load_textures(progress)
        self._store = CellStore(self.plan, self.light, self.textures, is_evening=spec.light != "day")
        self._order = np.empty(s.MAX_SLOTS, np.int64)
        self._rects = np.empty((s.MAX_SLOTS, 4), np.int64)
        self._seen = s.Seen(
            np.empty((MAX_SEEN, s.NUM_FLOATS), np.float32),
            np.empty((MAX_SEEN, s.NUM_INTS), np.int32),
            np.empty((MAX_SEEN, 4), np.int64),
            0,
            0,
        )
        self._pool: ThreadPoolExecutor | None = None
        self._threads = 1
        self._compile(progress or (lambda what, share: None))

    # -- what callers use ---------------------------------------------------------------------------------------------

    def start_pose(self) -> Transform:
        """Where a walk begins: in a room with a window, or on the path of a yard."""
        wanted, row = (s.YARD, 3) if self.spec.kind == "yard" else (s.ROOM, 0)
        plans = [p for p in (self.plan.cell(i, row) for i in range(16)) if p.kind == wanted][:3]
        poses = [pose for plan in plans for pose in self._start_candidates(plan)]
        if not poses:
            raise RuntimeError("no free start was found")
        return max(poses, key=self._interest)

    def _interest(self, world_T_camera: Transform) -> float:
        """How much there is to see: many kinds of surface, and room in front."""
        pinhole = Pinhole.from_fov(64, 36, START_FOV_RAD)
        eye, at = _eye_of(world_T_camera, pinhole)
        visible = self._look(eye, at)
        for slot in visible:
            self._store.ensure_built(int(slot))
        seen = self._gather(eye, visible, self._movers(visible[:0], 0.0, at))
        depth, index = np.empty((36, 64), np.float32), np.empty((36, 64), np.int32)
        trace(seen, eye, self.textures.leaves, 0, 36, depth, index)
        kinds = np.where(index >= 0, seen.ints[index, s.CLS], 0)
        share = np.bincount(kinds.ravel()) / kinds.size
        variety = -float(np.sum(share[share > 0] * np.log(share[share > 0])))
        return variety + float(np.minimum(depth, 6.0).mean()) / 6.0 + min(float(np.quantile(depth, 0.1)), 1.5)

    def _start_candidates(self, plan: CellPlan) -> list[Transform]:
        """Poses at the sides of a cell that look across it, where one can stand."""
        poses = []
        for u, v in ((0.15, 0.15), (0.85, 0.15), (0.15, 0.85), (0.85, 0.85), (0.5, 0.15), (0.5, 0.85)):
            target = (plan.x + plan.width * (1.0 - u), plan.y + plan.depth * (1.0 - v))
            for x, y in _spiral(plan.x + plan.width * u, plan.y + plan.depth * v):
                inside = plan.x < x < plan.x + plan.width and plan.y < y < plan.y + plan.depth
                if inside and not self.is_blocked((x, 0.0, y), 0.35):
                    yaw = math.atan2(target[0] - x, target[1] - y)
                    poses.append(look((x, -EYE_HEIGHT_M, y), yaw, START_PITCH_RAD))
                    break
        return poses

    def render(self, world_T_camera: Transform, pinhole: Pinhole, time_s: float = 0.0, threads: int = 1) -> PlaceView:
        """Picture the place.

        Args:
            world_T_camera: (4, 4) pose, OpenCV axes; the floor lies at y = 0.
            pinhole: Intrinsics and size.
            time_s: Where things that move are.
            threads: How many share the work.

        Returns:
            The view. Fresh memory.
        """
        eye, at = _eye_of(world_T_camera, pinhole)
        visible = self._look(eye, at)
        for slot in visible:
            self._store.ensure_lit(int(slot))
        movers = self._movers(visible, time_s, at)
        seen = self._gather(eye, visible, movers)
        return self._draw(seen, eye, movers, pinhole, threads)

    def make_ahead(self, world_T_camera: Transform, budget_s: float) -> bool:
        """Build and light cells near a camera before they are seen, nearest first, until the time is spent.

        Returns:
            True if nothing is left to do nearby.
        """
        _, at = _eye_of(world_T_camera, Pinhole(2, 2, 1.0, 1.0, 1.0, 1.0))
        i, j = self.plan.locate(at[0], at[1])
        self._store.enter(i, j)
        end = perf_counter() + budget_s
        for slot in self._store.nearby(at):
            while not self._store.is_lit(slot):
                if perf_counter() >= end:
                    return False
                self._store.advance(slot)
        return True

    def is_blocked(self, position_world: tuple[float, float, float], radius_m: float = 0.25) -> bool:
        """True if a walker with this radius would touch a wall or a thing; its height is ignored."""
        x, y = position_world[0], position_world[2]
        return any(self._store.is_solid(x + ox, y + oy) for ox, oy in _ring(radius_m))

    def walkable_height(self, position_world: tuple[float, float, float], radius_m: float = 0.25) -> float | None:
        """World y of the ground under a walker (0 everywhere), or None where it cannot stand."""
        return None if self.is_blocked(position_world, radius_m) else 0.0

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _compile(self, tell: Progress) -> None:
        """Run every compiled loop once on a cell and a tiny picture; seconds on a machine's first start."""
        self._store.enter(0, 0)
        slot = self._store.slots[0, 0]
        pinhole = Pinhole.from_fov(4, 4, 1.0)
        eye, at = _eye_of(look((2.0, -EYE_HEIGHT_M, 2.0), 0.0, 0.0), pinhole)
        steps: tuple[Callable[[], object], ...] = (
            lambda: self._store.ensure_built(slot),
            lambda: self._store.ensure_sunned(slot),
            lambda: self._store.bake_lamp_of(slot),
            lambda: self._store.ensure_lit(slot),
            lambda: self._look(eye, at),
            lambda: self.render(look((2.0, -EYE_HEIGHT_M, 2.0), 0.0, 0.0), pinhole),
        )
        for k, step in enumerate(steps):
            tell("compiling the place's loops", k / len(steps))
            step()
        tell("compiling the place's loops", 1.0)

    # -- cells --------------------------------------------------------------------------------------------------------

    def _look(self, eye: s.Eye, at: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Slots of the cells in view."""
        i, j = self.plan.locate(float(at[0]), float(at[1]))
        self._store.enter(i, j)
        self._store.arrays.origin[:, :2] = self._store.corners - at[:2]
        self._store.arrays.origin[:, 2] = -at[2]
        num = walk_portals(self._store.arrays, self._store.slots[i, j], eye, REACH_M, self._order, self._rects)
        return self._order[:num]

    # -- movers and drawing -------------------------------------------------------------------------------------------

    def _movers(self, visible: npt.NDArray[np.int64], time_s: float, at: npt.NDArray[np.float64]) -> s.Movers:
        """What moves in the cells in view at a time, clear of a walker whose eye is at ``at``."""
        parts: list[Figure] = []
        first, count = np.zeros(s.MAX_SLOTS, np.int64), np.zeros(s.MAX_SLOTS, np.int64)
        bounds, blobs = np.zeros((s.MAX_SLOTS, 4), np.float32), []
        total = 0
        for slot in sorted(int(v) for v in visible):
            route, plan = self._store.routes[slot], self._store.plans[slot]
            if route is None or plan is None:
                continue
            walker = (float(at[0] - plan.x), float(at[1] - plan.y)) if at[2] < MAX_WALKER_EYE_M else None
            figure = build_mover(plan, route, time_s, walker)
            figure.ints[:, s.SLOT] = slot
            half = figure.floats[:, 3:6].max(1, keepdims=True)
            low, high = (figure.floats[:, :3] - half).min(0), (figure.floats[:, :3] + half).max(0)
            bounds[slot] = (*((low + high) / 2), np.linalg.norm(high - low) / 2)
            first[slot], count[slot] = total, len(figure.shadow_floats)
            total += len(figure.shadow_floats)
            parts.append(figure)
            blobs.append((slot, *figure.blob))
        none = (np.zeros((0, s.NUM_FLOATS), np.float32), np.zeros((0, s.NUM_INTS), np.int32))
        floats = np.concatenate([none[0], *(p.floats for p in parts)])
        ints = np.concatenate([none[1], *(p.ints for p in parts)])
        shadow_floats = np.concatenate([none[0], *(p.shadow_floats for p in parts)])
        shadow_ints = np.concatenate([none[1], *(p.shadow_ints for p in parts)])
        dark = np.array(blobs, np.float32).reshape(-1, 4)
        return s.Movers(floats, ints, len(floats), shadow_floats, shadow_ints, first, count, bounds, dark, len(blobs))

    def _gather(self, eye: s.Eye, visible: npt.NDArray[np.int64], movers: s.Movers) -> s.Seen:
        """The primitives in view of the cells that ``_look`` found."""
        out = self._seen
        first, num = gather(
            self._store.arrays, self._order, len(visible), self._rects, movers, eye, out.floats, out.ints, out.rects
        )
        return out._replace(first_mover=first, num=num)

    def _draw(self, seen: s.Seen, eye: s.Eye, movers: s.Movers, pinhole: Pinhole, threads: int) -> PlaceView:
        height, width = pinhole.height, pinhole.width
        depth, index = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        key, color = np.empty((height, width), np.int32), np.empty((height, width, 3), np.uint8)
        out, surface = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
        moving = np.empty((height, width), np.bool_)
        leaves, cells, light, tex = self.textures.leaves, self._store.arrays, self.light, self.textures
        self._share(threads, height, lambda a, b: trace(seen, eye, leaves, a, b, depth, index))
        self._share(
            threads,
            height,
            lambda a, b: shade(seen, eye, cells, movers, light, tex, a, b, depth, index, color, key, surface, moving),
        )
        self._share(threads, height, lambda a, b: smooth_edges(seen, eye, leaves, a, b, key, color, out))
        depth[depth >= MISS] = 0.0
        return PlaceView(out, depth, surface, moving)

    def _share(self, threads: int, height: int, work: Callable[[int, int], None]) -> None:
        """Do all rows, in bands that threads take in turn."""
        if threads <= 1:
            work(0, height)
            return
        if self._pool is None or self._threads != threads:
            self.close()
            self._pool, self._threads = ThreadPoolExecutor(threads, "spatia-place"), threads
        band = max(2, -(-height // (threads * 4)) // 2 * 2)
        jobs = [self._pool.submit(work, a, min(a + band, height)) for a in range(0, height, band)]
        for job in jobs:
            job.result()


def _spiral(x: float, y: float) -> list[tuple[float, float]]:
    """Points round (x, y), nearest first."""
    return [(x + 0.12 * r * math.cos(a), y + 0.12 * r * math.sin(a)) for r in range(14) for a in np.arange(0, 6.2, 0.5)]


def _ring(radius_m: float) -> list[tuple[float, float]]:
    """Offsets that cover a disc: its middle, and its rim and half of it in texel steps."""
    out = [(0.0, 0.0)]
    for r in np.arange(s.FLOOR_TEXEL_M, radius_m + 1e-9, s.FLOOR_TEXEL_M):
        count = max(8, math.ceil(2 * math.pi * r / s.FLOOR_TEXEL_M))
        out += [(r * math.cos(a), r * math.sin(a)) for a in np.linspace(0, 2 * math.pi, count, endpoint=False)]
    return out


def _eye_of(world_T_camera: Transform, pinhole: Pinhole) -> tuple[s.Eye, npt.NDArray[np.float64]]:
    """The camera in the place's axes, and where it stands."""
    axes = (_PLACE_FROM_WORLD @ world_T_camera[:3, :3]).T
    # Rays exactly along an axis would divide by zero.
    turned = np.ascontiguousarray(axes + 1e-7, dtype=np.float32)
    at = _PLACE_FROM_WORLD @ world_T_camera[:3, 3]
    optics = (float(pinhole.fx), float(pinhole.fy), float(pinhole.cx), float(pinhole.cy))
    return s.Eye(turned, *optics, pinhole.width, pinhole.height), at
