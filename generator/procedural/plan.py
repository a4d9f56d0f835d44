"""Where rooms, corridors and yards lie and how they open: hashed, so that the order of visits does not matter."""

import random
from dataclasses import dataclass
from functools import lru_cache

from .scene import CORRIDOR, EAST, NORTH, PASSAGE, ROOM, SOUTH, WEST, YARD

COLUMN_M = 4.8
PERIOD_M = 20.48
ROW_STARTS_M = (0.0, 4.7, 6.6, 11.3)
"""A room, a corridor, a room and a yard, over and over, from south to north."""
BLOCK = 5
"""A passage closes every yard after so many columns, and a door every corridor."""
DOOR_TOP_M, ARCH_TOP_M, WINDOW_TOP_M, CEILING_TOP_M, OPEN_TOP_M = 2.06, 2.3, 2.2, 2.7, 30.0

_MASK = (1 << 64) - 1


def mix(*keys: int) -> int:
    """A 64-bit hash of integers, the same on every machine (the finaliser of SplitMix64 over the keys)."""
    x = 0x243F6A8885A308D3
    for key in keys:
        x = (x ^ (key & _MASK)) * 0x9E3779B97F4A7C15 & _MASK
        x ^= x >> 30
        x = x * 0xBF58476D1CE4E5B9 & _MASK
        x ^= x >> 27
    return x


def dice(*keys: int) -> random.Random:
    """A source of random numbers of its own for every key."""
    return random.Random(mix(*keys))


@dataclass(frozen=True, slots=True)
class Opening:
    """A hole in the wall between two cells.

    Attributes:
        side: Which side of the cell.
        low, high: Along the side, from the cell's south-west corner, metres.
        sill, top: Heights, metres.
        kind: "open", "arch", "door", "garden" (a glazed door) or "window".
    """

    side: int
    low: float
    high: float
    sill: float
    top: float
    kind: str

    @property
    def is_passable(self) -> bool:
        """True if one can walk through."""
        return self.sill == 0.0


@dataclass(frozen=True, slots=True)
class CellPlan:
    """One cell: what it is, where it lies, how it opens.

    Attributes:
        i, j: Column and row.
        kind: ``ROOM``, ``CORRIDOR``, ``PASSAGE`` or ``YARD``.
        x, y: South-west corner, metres.
        width, depth: Along x and y, metres.
        openings: Of all sides.
        neighbour_kinds: South, east, north, west.
    """

    i: int
    j: int
    kind: int
    x: float
    y: float
    width: float
    depth: float
    openings: tuple[Opening, ...]
    neighbour_kinds: tuple[int, int, int, int]

    def on(self, side: int) -> tuple[Opening, ...]:
        """Openings of one side, in order."""
        return tuple(o for o in self.openings if o.side == side)

    def is_open(self, side: int) -> bool:
        """True if there is no wall at all."""
        return any(o.side == side and o.kind == "open" for o in self.openings)


class Plan:
    """The endless plan of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.cell = lru_cache(maxsize=4096)(self._cell)
        self._column = lru_cache(maxsize=4096)(self._find_column)
        self._row = lru_cache(maxsize=4096)(self._find_row)

    def column(self, i: int) -> float:
        """Where column i begins, metres."""
        return self._column(i)

    def row(self, j: int) -> float:
        """Where row j begins, metres."""
        return self._row(j)

    def _find_column(self, i: int) -> float:
        return i * COLUMN_M + (dice(self.seed, i, 11).random() - 0.5) * 0.8

    def _find_row(self, j: int) -> float:
        jitter = (dice(self.seed, j, 12).random() - 0.5) * 0.5 if j % 4 in (0, 3) else 0.0
        return (j // 4) * PERIOD_M + ROW_STARTS_M[j % 4] + jitter

    def kind(self, i: int, j: int) -> int:
        """What cell (i, j) is."""
        place = j % 4
        if place == 1:
            return CORRIDOR
        if place == 3:
            return PASSAGE if (i + mix(self.seed, j, 3) % BLOCK) % BLOCK == 0 else YARD
        return ROOM

    def locate(self, x: float, y: float) -> tuple[int, int]:
        """Column and row of the cell that holds a point."""
        i, j = int(x // COLUMN_M), int(y // PERIOD_M) * 4 - 1
        while self.column(i) > x:
            i -= 1
        while self.column(i + 1) <= x:
            i += 1
        while self.row(j + 1) <= y:
            j += 1
        return i, j

    def _cell(self, i: int, j: int) -> CellPlan:
        x, y = self.column(i), self.row(j)
        sides = ((SOUTH, 1, i, j), (EAST, 0, i + 1, j), (NORTH, 1, i, j + 1), (WEST, 0, i, j))
        openings = tuple(Opening(side, *rest) for side, axis, ei, ej in sides for rest in self._edge(axis, ei, ej))
        around = (self.kind(i, j - 1), self.kind(i + 1, j), self.kind(i, j + 1), self.kind(i - 1, j))
        width, depth = self.column(i + 1) - x, self.row(j + 1) - y
        return CellPlan(i, j, self.kind(i, j), x, y, width, depth, openings, around)

    def _edge(self, axis: int, i: int, j: int) -> list[tuple[float, float, float, float, str]]:
        """Openings of the edge on the low side of cell (i, j): axis 0 to its west, 1 to its south."""
        if axis == 0:
            kinds, length = {self.kind(i - 1, j), self.kind(i, j)}, self.row(j + 1) - self.row(j)
        else:
            kinds, length = {self.kind(i, j - 1), self.kind(i, j)}, self.column(i + 1) - self.column(i)
        r = dice(self.seed, axis, i, j, 5)
        if kinds == {YARD}:
            return [(0.0, length, 0.0, OPEN_TOP_M, "open")]
        if kinds == {CORRIDOR}:
            return self._corridor_edge(i, j, length)
        if kinds == {ROOM}:
            return _room_edge(r, length)
        if kinds == {PASSAGE, YARD}:
            c = length * 0.5
            doors = [(c - 0.55, c + 0.55, 0.0, 2.1, "garden")]
            return [(0.9, 3.2, 0.5, 2.3, "window"), *doors, (length - 3.2, length - 0.9, 0.5, 2.3, "window")]
        if kinds == {ROOM, YARD}:
            return _garden_edge(r, length)
        if kinds in ({ROOM, PASSAGE}, {ROOM, CORRIDOR}):
            c = 0.85 + r.random() * (length - 1.7)
            return [(c - 0.46, c + 0.46, 0.0, DOOR_TOP_M, "door")]
        return []

    def _corridor_edge(self, i: int, j: int, length: float) -> list[tuple[float, float, float, float, str]]:
        if (i + mix(self.seed, j, 4) % BLOCK) % BLOCK:
            return [(0.0, length, 0.0, CEILING_TOP_M, "open")]
        return [(length / 2 - 0.46, length / 2 + 0.46, 0.0, DOOR_TOP_M, "door")]


def _room_edge(r: random.Random, length: float) -> list[tuple[float, float, float, float, str]]:
    way = r.random()
    if way < 0.3:
        half, c = r.uniform(0.7, 1.1), length / 2 + r.uniform(-0.4, 0.4)
        return [(c - half, c + half, 0.0, ARCH_TOP_M, "arch")]
    if way < 0.55:
        c = r.uniform(0.9, length - 0.9)
        return [(c - 0.46, c + 0.46, 0.0, DOOR_TOP_M, "door")]
    return []


def _garden_edge(r: random.Random, length: float) -> list[tuple[float, float, float, float, str]]:
    if r.random() < 0.35:
        is_left = r.random() < 0.5
        door = 0.8 if is_left else length - 0.8
        half = r.uniform(0.65, 0.85)
        middle = (1.6 + length - 0.35) / 2 if is_left else (length - 1.6 + 0.35) / 2
        both = [
            (door - 0.45, door + 0.45, 0.0, 2.08, "garden"),
            (middle - half, middle + half, 0.8, WINDOW_TOP_M, "window"),
        ]
        return sorted(both)
    half, c = r.uniform(0.75, 1.25), length / 2 + r.uniform(-0.4, 0.4)
    return [(c - half, c + half, 0.8, WINDOW_TOP_M, "window")]
