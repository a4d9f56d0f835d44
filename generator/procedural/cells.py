"""The cells near a camera: built, lit and dropped again, step by step, whatever the order of visits."""

import numpy as np
import numpy.typing as npt

from . import scene as s
from .ambient import bake_ambient, coarsen, cube_bounds, fill_ambient, sphere_directions
from .classes import CLASS_INDEX
from .floor import bake_floor
from .lamplight import bake_lamp
from .movers import Route, find_route
from .plan import CellPlan, Plan
from .rooms import build_cell
from .sunlight import bake_sun

REACH_M = 24.0
"""Cells further off are not drawn."""
AHEAD_M = REACH_M + 5.0
"""Cells as near as this are made ahead of the walker."""
WINDOW_I, WINDOW_J = 11, 8
"""Columns and rows of cells that are known on each side of the camera's: two more than ``AHEAD_M`` can span."""
RAYS = 40
"""Rays of each ambient cube."""
_FRESH, _BUILT, _SUNNED, _LIT = range(4)
_SCREENS = [CLASS_INDEX[name] for name in ("screen", "appliance")]


class CellStore:
    """Slots for the cells round a camera. One thread at a time uses it.

    Attributes:
        arrays: What the compiled loops read, by slot.
        slots: Slot of every cell (i, j) that has one.
        plans, routes: By slot; a route is known once its cell is built.
        corners: (slots, 2) south-west corners, metres.

    Args:
        plan: Of the place.
        light: Time of day.
        textures: Of all materials.
        is_evening: True if lamps are lit.
    """

    def __init__(self, plan: Plan, light: s.Light, textures: s.Textures, *, is_evening: bool) -> None:
        self.plan = plan
        self.light = light
        self.textures = textures
        self._is_evening = is_evening
        self._directions = sphere_directions(RAYS)
        self.arrays = _empty_cells()
        self.corners = np.zeros((s.MAX_SLOTS, 2))
        self.plans: list[CellPlan | None] = [None] * s.MAX_SLOTS
        self.routes: list[Route | None] = [None] * s.MAX_SLOTS
        self.slots: dict[tuple[int, int], int] = {}
        self._state = np.zeros(s.MAX_SLOTS, np.int64)
        self._layers = np.zeros(s.MAX_SLOTS, np.int64)
        self._lamped: set[int] = set()
        self._free = list(range(s.MAX_SLOTS))[::-1]
        self._centre: tuple[int, int] | None = None
        self._window: set[tuple[int, int]] = set()

    def slot_at(self, x: float, y: float) -> int:
        """Slot of the built cell that holds a point; others move only if it has none."""
        key = self.plan.locate(x, y)
        if key not in self.slots:
            self.enter(*key)
        slot = self.slots[key]
        self.ensure_built(slot)
        return slot

    def is_solid(self, x: float, y: float) -> bool:
        """True if a wall or a thing stands at a point."""
        slot = self.slot_at(x, y)
        row = int((y - self.corners[slot, 1]) / s.FLOOR_TEXEL_M)
        col = int((x - self.corners[slot, 0]) / s.FLOOR_TEXEL_M)
        return bool(self.arrays.solid[slot, min(row, s.FLOOR_D - 1), min(col, s.FLOOR_W - 1)])

    def is_lit(self, slot: int) -> bool:
        """True if nothing is left to do for a cell."""
        return self._state[slot] == _LIT

    def enter(self, i: int, j: int) -> None:
        """Have a slot for every cell of the window round (i, j)."""
        if self._centre == (i, j):
            return
        self._centre = (i, j)
        columns, rows = range(i - WINDOW_I, i + WINDOW_I + 1), range(j - WINDOW_J, j + WINDOW_J + 1)
        self._window = {(a, b) for a in columns for b in rows}
        for key in self._window - self.slots.keys():
            self._take_slot(key)
        for (a, b), slot in self.slots.items():
            around = ((a, b - 1), (a + 1, b), (a, b + 1), (a - 1, b))
            self.arrays.neighbours[slot] = [self.slots.get(k, -1) for k in around]

    def _take_slot(self, key: tuple[int, int]) -> None:
        if not self._free:
            self._drop_outside()
        slot = self._free.pop()
        plan = self.plan.cell(*key)
        self.slots[key], self.plans[slot], self.routes[slot] = slot, plan, None
        self._state[slot], self._layers[slot] = _FRESH, 0
        cells = self.arrays
        self.corners[slot] = plan.x, plan.y
        cells.kind[slot], cells.size[slot] = plan.kind, (plan.width, plan.depth)
        cells.phase[slot] = plan.x % 1024.0, plan.y % 1024.0
        cells.num_openings[slot], cells.num_prims[slot], cells.num_lamps[slot] = len(plan.openings), 0, 0
        for k, o in enumerate(plan.openings):
            cells.openings[slot, k] = (o.side, o.low, o.high, o.sill, o.top, o.kind == "open")
        cells.is_sunny[slot] = self._is_sunny(plan)
        cells.cube[slot] = cube_bounds(plan.kind, plan.width, plan.depth, [plan.is_open(k) for k in range(4)])

    def _drop_outside(self) -> None:
        for key in [k for k in self.slots if k not in self._window]:
            slot = self.slots.pop(key)
            self.plans[slot] = None
            self._lamped.discard(slot)
            self._free.append(slot)

    def _is_sunny(self, plan: CellPlan) -> bool:
        if self.light.sun_color[0] <= 0:
            return False
        if plan.kind == s.YARD:
            return True
        sides = (s.EAST if self.light.sun[0] > 0 else s.WEST, s.NORTH if self.light.sun[1] > 0 else s.SOUTH)
        return any(plan.neighbour_kinds[side] == s.YARD and plan.on(side) for side in sides)

    def ensure_built(self, slot: int) -> None:
        if self._state[slot] != _FRESH:
            return
        plan = self.plans[slot]
        assert plan is not None
        cell = build_cell(self.plan.seed, plan)
        floats, ints = cell.arrays()
        cells, num = self.arrays, len(floats)
        cells.floats[slot, :num], cells.ints[slot, :num], cells.num_prims[slot] = floats, ints, num
        for k, lamp in enumerate(cell.lamps[:2]):
            power, owner = lamp.power * self.light.levels[1], slot if k == 0 else -1
            cells.lamps[slot, k] = (lamp.x, lamp.y, lamp.z, power, owner, lamp.reach_m)
        is_on = self._is_evening or plan.kind == s.CORRIDOR
        cells.num_lamps[slot] = min(len(cell.lamps), 2) if is_on else 0
        if not is_on:
            is_screen = np.isin(ints[:, s.CLS], _SCREENS)
            cells.floats[slot, :num, s.EM] *= np.where(is_screen, 1.0, 0.12)
        coarsen(cells, slot, self.textures)
        bake_floor(cells, slot)
        self.routes[slot] = find_route(self.plan.seed, plan, cells.solid[slot])
        self._state[slot] = _BUILT

    def _around(self, slot: int, columns: range, rows: range) -> list[int]:
        plan = self.plans[slot]
        assert plan is not None
        return [self.slots[plan.i + a, plan.j + b] for b in rows for a in columns]

    def ensure_sunned(self, slot: int) -> None:
        """Bake the sun map; needs all nine cells around."""
        if self._state[slot] >= _SUNNED:
            return
        for other in self._around(slot, range(-1, 2), range(-1, 2)):
            self.ensure_built(other)
        if self.light.sun_color[0] > 0 and self._needs_sun_map(slot):
            bake_sun(self.arrays, slot, self.light, self.textures.leaves)
        self._state[slot] = max(self._state[slot], _SUNNED)

    def _needs_sun_map(self, slot: int) -> bool:
        """True if the sun shines into a cell, or a yard's walls cast their shade on its ground plan."""
        plan = self.plans[slot]
        assert plan is not None
        to_the_sun = (self.plan.kind(plan.i + a, plan.j + b) for a, b in ((-1, 0), (0, -1), (-1, -1)))
        return bool(self.arrays.is_sunny[slot]) or s.YARD in to_the_sun

    def _before_light(self, slot: int) -> list[int]:
        """Cells whose sun maps a cell's own light depends on."""
        if self.arrays.kind[slot] != s.YARD or not self.arrays.is_sunny[slot]:
            return [slot]
        return self._around(slot, range(-1, 3), range(0, 2))

    def ensure_lit(self, slot: int) -> None:
        while not self.is_lit(slot):
            self.advance(slot)

    def advance(self, slot: int) -> None:
        """One step of a few milliseconds towards a lit cell."""
        for other in self._before_light(slot):
            if self._state[other] < _SUNNED:
                for near in self._around(other, range(-1, 2), range(-1, 2)):
                    if self._state[near] == _FRESH:
                        self.ensure_built(near)
                        return
                self.ensure_sunned(other)
                return
        for other in self._lamp_owners(slot):
            if other not in self._lamped:
                self.bake_lamp_of(other)
                return
        layer = int(self._layers[slot])
        if layer == 0:
            self._join_lamps(slot)
        if layer < s.NZ:
            bake_ambient(self.arrays, slot, layer, self.light, self.textures, self._directions)
            self._layers[slot] += 1
            return
        fill_ambient(self.arrays, slot)
        self._state[slot] = _LIT

    def _lamp_owners(self, slot: int) -> list[int]:
        """A lit cell and those that no wall parts from it: their first lamps shine in."""
        plan = self.plans[slot]
        assert plan is not None
        if self.arrays.num_lamps[slot] == 0:
            return []
        return [slot, *(int(self.arrays.neighbours[slot, side]) for side in range(4) if plan.is_open(side))]

    def _join_lamps(self, slot: int) -> None:
        """Add the lamps of cells that no wall parts from a cell to its own."""
        cells, plan = self.arrays, self.plans[slot]
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

    def bake_lamp_of(self, slot: int) -> None:
        """Bake the shadow map of a cell's first lamp."""
        plan = self.plans[slot]
        assert plan is not None
        self.ensure_built(slot)
        for side in range(4):
            if plan.is_open(side):
                self.ensure_built(int(self.arrays.neighbours[slot, side]))
        bake_lamp(self.arrays, slot, self.textures.leaves)
        self._lamped.add(slot)

    def nearby(self, at: npt.NDArray[np.float64]) -> list[int]:
        """Slots as near as ``AHEAD_M``, nearest first."""
        middle = self.corners + self.arrays.size * 0.5
        away = np.maximum(np.abs(middle - at[:2]) - self.arrays.size * 0.5, 0.0)
        far = np.hypot(away[:, 0], away[:, 1])
        used = np.array(sorted(self.slots.values()))
        near = used[far[used] < AHEAD_M]
        return [int(v) for v in near[np.argsort(far[near], kind="stable")]]


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
