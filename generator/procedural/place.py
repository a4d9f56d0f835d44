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
from .classes import CLASS_INDEX
from .kernels import MISS, gather, smooth_edges, trace, walk_portals
from .light import (
    bake_ambient,
    bake_floor,
    bake_lamp,
    bake_sun,
    coarsen,
    cube_bounds,
    day,
    evening,
    fill_ambient,
    sphere_directions,
)
from .movers import Figure, Route, build_mover, find_route
from .plan import CellPlan, Plan
from .rooms import build_cell
from .shading import shade
from .spec import PlaceSpec
from .textures import load_textures

Progress = Callable[[str, float], None]
LIGHTS = {"day": day, "evening": evening}
REACH_M = 24.0
"""Cells further off are not drawn."""
WINDOW_I, WINDOW_J = 11, 8
"""Columns and rows of cells that are known on each side of the camera's: two more than ``AHEAD_M`` can span."""
RAYS = 40
"""Rays of each ambient cube."""
MAX_SEEN = 16_000
EYE_HEIGHT_M = 1.55
MAX_WALKER_EYE_M = 2.2
"""Who flies higher is in nobody's way."""
START_PITCH_RAD, START_FOV_RAD = -0.12, 1.3
AHEAD_M = REACH_M + 5.0
"""Cells as near as this are made ahead of the walker."""
_FRESH, _BUILT, _SUNNED, _LIT = range(4)
_SCREENS = [CLASS_INDEX[name] for name in ("screen", "appliance")]
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
        self.light = LIGHTS[spec.light]()
        self.textures = load_textures(progress)
        self._directions = sphere_directions(RAYS)
        self._cells = _empty_cells()
        self._corners = np.zeros((s.MAX_SLOTS, 2))
        self._plans: list[CellPlan | None] = [None] * s.MAX_SLOTS
        self._routes: list[Route | None] = [None] * s.MAX_SLOTS
        self._state = np.zeros(s.MAX_SLOTS, np.int64)
        self._layers = np.zeros(s.MAX_SLOTS, np.int64)
        self._slots: dict[tuple[int, int], int] = {}
        self._lamped: set[int] = set()
        self._free = list(range(s.MAX_SLOTS))[::-1]
        self._centre: tuple[int, int] | None = None
        self._window: set[tuple[int, int]] = set()
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
            self._ensure_built(int(slot))
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
            self._ensure_lit(int(slot))
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
        self._enter(i, j)
        end = perf_counter() + budget_s
        for slot in self._nearby(at):
            while self._state[slot] != _LIT:
                if perf_counter() >= end:
                    return False
                self._advance(slot)
        return True

    def is_blocked(self, position_world: tuple[float, float, float], radius_m: float = 0.25) -> bool:
        """True if a walker with this radius would touch a wall or a thing; its height is ignored."""
        x, y = position_world[0], position_world[2]
        for ox, oy in _ring(radius_m):
            i, j = self.plan.locate(x + ox, y + oy)
            slot = self._slots.get((i, j))
            if slot is None:
                self._enter(i, j)
                slot = self._slots[i, j]
            self._ensure_built(slot)
            plan = self.plan.cell(i, j)
            row = int((y + oy - plan.y) / s.FLOOR_TEXEL_M)
            col = int((x + ox - plan.x) / s.FLOOR_TEXEL_M)
            if self._cells.solid[slot, min(row, s.FLOOR_D - 1), min(col, s.FLOOR_W - 1)]:
                return True
        return False

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
        self._enter(0, 0)
        slot = self._slots[0, 0]
        pinhole = Pinhole.from_fov(4, 4, 1.0)
        eye, at = _eye_of(look((2.0, -EYE_HEIGHT_M, 2.0), 0.0, 0.0), pinhole)
        steps: tuple[Callable[[], object], ...] = (
            lambda: self._ensure_built(slot),
            lambda: self._ensure_sunned(slot),
            lambda: bake_lamp(self._cells, slot, self.textures.leaves),
            lambda: self._ensure_lit(slot),
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
        self._enter(i, j)
        self._cells.origin[:, :2] = self._corners - at[:2]
        self._cells.origin[:, 2] = -at[2]
        num = walk_portals(self._cells, self._slots[i, j], eye, REACH_M, self._order, self._rects)
        return self._order[:num]

    def _enter(self, i: int, j: int) -> None:
        """Have a slot for every cell of the window round (i, j)."""
        if self._centre == (i, j):
            return
        self._centre = (i, j)
        columns, rows = range(i - WINDOW_I, i + WINDOW_I + 1), range(j - WINDOW_J, j + WINDOW_J + 1)
        self._window = {(a, b) for a in columns for b in rows}
        for key in self._window - self._slots.keys():
            self._take_slot(key)
        for (a, b), slot in self._slots.items():
            around = ((a, b - 1), (a + 1, b), (a, b + 1), (a - 1, b))
            self._cells.neighbours[slot] = [self._slots.get(k, -1) for k in around]

    def _take_slot(self, key: tuple[int, int]) -> None:
        if not self._free:
            self._drop_outside()
        slot = self._free.pop()
        plan = self.plan.cell(*key)
        self._slots[key], self._plans[slot], self._routes[slot] = slot, plan, None
        self._state[slot], self._layers[slot] = _FRESH, 0
        cells = self._cells
        self._corners[slot] = plan.x, plan.y
        cells.kind[slot], cells.size[slot] = plan.kind, (plan.width, plan.depth)
        cells.phase[slot] = plan.x % 1024.0, plan.y % 1024.0
        cells.num_openings[slot], cells.num_prims[slot], cells.num_lamps[slot] = len(plan.openings), 0, 0
        for k, o in enumerate(plan.openings):
            cells.openings[slot, k] = (o.side, o.low, o.high, o.sill, o.top, o.kind == "open")
        cells.is_sunny[slot] = self._is_sunny(plan)
        cells.cube[slot] = cube_bounds(plan.kind, plan.width, plan.depth, [plan.is_open(k) for k in range(4)])

    def _drop_outside(self) -> None:
        for key in [k for k in self._slots if k not in self._window]:
            slot = self._slots.pop(key)
            self._plans[slot] = None
            self._lamped.discard(slot)
            self._free.append(slot)

    def _is_sunny(self, plan: CellPlan) -> bool:
        if self.light.sun_color[0] <= 0:
            return False
        if plan.kind == s.YARD:
            return True
        sides = (s.EAST if self.light.sun[0] > 0 else s.WEST, s.NORTH if self.light.sun[1] > 0 else s.SOUTH)
        return any(plan.neighbour_kinds[side] == s.YARD and plan.on(side) for side in sides)

    def _ensure_built(self, slot: int) -> None:
        if self._state[slot] != _FRESH:
            return
        plan = self._plans[slot]
        assert plan is not None
        cell = build_cell(self.spec.seed, plan)
        floats, ints = cell.arrays()
        cells, num = self._cells, len(floats)
        cells.floats[slot, :num], cells.ints[slot, :num], cells.num_prims[slot] = floats, ints, num
        for k, lamp in enumerate(cell.lamps[:2]):
            has_map = k == 0
            cells.lamps[slot, k] = (
                lamp.x,
                lamp.y,
                lamp.z,
                lamp.power * self.light.levels[1],
                slot if has_map else -1,
                s.LAMP_REACH_M,
            )
        is_on = self.spec.light != "day" or plan.kind == s.CORRIDOR
        cells.num_lamps[slot] = min(len(cell.lamps), 2) if is_on else 0
        if not is_on:
            is_screen = np.isin(ints[:, s.CLS], _SCREENS)
            cells.floats[slot, :num, s.EM] *= np.where(is_screen, 1.0, 0.12)
        coarsen(cells, slot, self.textures)
        bake_floor(cells, slot)
        self._routes[slot] = find_route(self.spec.seed, plan, cells.solid[slot])
        self._state[slot] = _BUILT

    def _around(self, slot: int, columns: range, rows: range) -> list[int]:
        plan = self._plans[slot]
        assert plan is not None
        return [self._slots[plan.i + a, plan.j + b] for b in rows for a in columns]

    def _ensure_sunned(self, slot: int) -> None:
        """Bake the sun map; needs all nine cells around."""
        if self._state[slot] >= _SUNNED:
            return
        for other in self._around(slot, range(-1, 2), range(-1, 2)):
            self._ensure_built(other)
        if self.light.sun_color[0] > 0 and self._needs_sun_map(slot):
            bake_sun(self._cells, slot, self.light, self.textures.leaves)
        self._state[slot] = max(self._state[slot], _SUNNED)

    def _needs_sun_map(self, slot: int) -> bool:
        """True if the sun shines into a cell, or a yard's walls cast their shade on its ground plan."""
        plan = self._plans[slot]
        assert plan is not None
        to_the_sun = (self.plan.kind(plan.i + a, plan.j + b) for a, b in ((-1, 0), (0, -1), (-1, -1)))
        return bool(self._cells.is_sunny[slot]) or s.YARD in to_the_sun

    def _before_light(self, slot: int) -> list[int]:
        """Cells whose sun maps a cell's own light depends on."""
        if self._cells.kind[slot] != s.YARD or not self._cells.is_sunny[slot]:
            return [slot]
        return self._around(slot, range(-1, 3), range(0, 2))

    def _ensure_lit(self, slot: int) -> None:
        while self._state[slot] != _LIT:
            self._advance(slot)

    def _advance(self, slot: int) -> None:
        """One step of a few milliseconds towards a lit cell."""
        for other in self._before_light(slot):
            if self._state[other] < _SUNNED:
                for near in self._around(other, range(-1, 2), range(-1, 2)):
                    if self._state[near] == _FRESH:
                        self._ensure_built(near)
                        return
                self._ensure_sunned(other)
                return
        for other in self._lamp_owners(slot):
            if other not in self._lamped:
                self._bake_lamp(other)
                return
        layer = int(self._layers[slot])
        if layer == 0:
            self._join_lamps(slot)
        if layer < s.NZ:
            bake_ambient(self._cells, slot, layer, self.light, self.textures, self._directions)
            self._layers[slot] += 1
            return
        fill_ambient(self._cells, slot)
        self._state[slot] = _LIT

    def _lamp_owners(self, slot: int) -> list[int]:
        """A lit cell and those that no wall parts from it: their first lamps shine in."""
        plan = self._plans[slot]
        assert plan is not None
        if self._cells.num_lamps[slot] == 0:
            return []
        return [slot, *(int(self._cells.neighbours[slot, side]) for side in range(4) if plan.is_open(side))]

    def _join_lamps(self, slot: int) -> None:
        """Add the lamps of cells that no wall parts from a cell to its own."""
        cells, plan = self._cells, self._plans[slot]
        assert plan is not None
        num = int(cells.num_lamps[slot])
        if num == 0:
            return
        for side in range(4):
            if not plan.is_open(side):
                continue
            other = int(cells.neighbours[slot, side])
            moved = cells.lamps[other, 0].copy()
            ox = (0.0, cells.size[slot, 0], 0.0, -cells.size[other, 0])[side]
            oy = (-cells.size[other, 1], 0.0, cells.size[slot, 1], 0.0)[side]
            cells.lamps[slot, num] = moved + np.array((ox, oy, 0.0, 0.0, 0.0, 0.0), np.float32)
            num += 1
        cells.num_lamps[slot] = num

    def _bake_lamp(self, slot: int) -> None:
        """Bake the shadow map of a cell's first lamp."""
        plan = self._plans[slot]
        assert plan is not None
        self._ensure_built(slot)
        for side in range(4):
            if plan.is_open(side):
                self._ensure_built(int(self._cells.neighbours[slot, side]))
        bake_lamp(self._cells, slot, self.textures.leaves)
        self._lamped.add(slot)

    def _nearby(self, at: npt.NDArray[np.float64]) -> list[int]:
        """Slots as near as ``AHEAD_M``, nearest first."""
        middle = self._corners + self._cells.size * 0.5
        away = np.maximum(np.abs(middle - at[:2]) - self._cells.size * 0.5, 0.0)
        far = np.hypot(away[:, 0], away[:, 1])
        used = np.array(sorted(self._slots.values()))
        near = used[far[used] < AHEAD_M]
        return [int(v) for v in near[np.argsort(far[near], kind="stable")]]

    # -- movers and drawing -------------------------------------------------------------------------------------------

    def _movers(self, visible: npt.NDArray[np.int64], time_s: float, at: npt.NDArray[np.float64]) -> s.Movers:
        """What moves in the cells in view at a time, clear of a walker whose eye is at ``at``."""
        parts: list[Figure] = []
        first, count = np.zeros(s.MAX_SLOTS, np.int64), np.zeros(s.MAX_SLOTS, np.int64)
        bounds, blobs = np.zeros((s.MAX_SLOTS, 4), np.float32), []
        total = 0
        for slot in sorted(int(v) for v in visible):
            route, plan = self._routes[slot], self._plans[slot]
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
            self._cells, self._order, len(visible), self._rects, movers, eye, out.floats, out.ints, out.rects
        )
        return out._replace(first_mover=first, num=num)

    def _draw(self, seen: s.Seen, eye: s.Eye, movers: s.Movers, pinhole: Pinhole, threads: int) -> PlaceView:
        height, width = pinhole.height, pinhole.width
        depth, index = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        key, color = np.empty((height, width), np.int32), np.empty((height, width, 3), np.uint8)
        out, surface = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.uint8)
        moving = np.empty((height, width), np.bool_)
        leaves, cells, light, tex = self.textures.leaves, self._cells, self.light, self.textures
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


def _empty_cells() -> s.Cells:
    n = s.MAX_SLOTS
    return s.Cells(
        kind=np.zeros(n, np.int64),
        size=np.ones((n, 2), np.float32),
        origin=np.zeros((n, 3), np.float32),
        phase=np.zeros((n, 2), np.float32),
        cube=np.zeros((n, 6), np.float32),
        neighbours=np.full((n, 4), -1, np.int64),
        openings=np.zeros((n, s.MAX_OPENINGS, 6), np.float32),
        num_openings=np.zeros(n, np.int64),
        floats=np.zeros((n, s.MAX_PRIMS, s.NUM_FLOATS), np.float32),
        ints=np.zeros((n, s.MAX_PRIMS, s.NUM_INTS), np.int32),
        num_prims=np.zeros(n, np.int64),
        coarse=np.zeros((n, s.NUM_COARSE, s.MAX_COARSE), np.float32),
        num_coarse=np.zeros(n, np.int64),
        lamps=np.zeros((n, s.MAX_LAMPS, 6), np.float32),
        num_lamps=np.zeros(n, np.int64),
        is_sunny=np.zeros(n, np.int64),
        ambient=np.zeros((n, s.NX * s.NY * s.NZ, 18), np.float32),
        sun=np.zeros((n, s.SUN_D, s.SUN_W), np.uint16),
        lamp_map=np.zeros((n, s.LAMP_TEXELS, s.LAMP_TEXELS), np.uint16),
        floor=np.zeros((n, s.FLOOR_D, s.FLOOR_W), np.uint8),
        solid=np.zeros((n, s.FLOOR_D, s.FLOOR_W), np.uint8),
    )
