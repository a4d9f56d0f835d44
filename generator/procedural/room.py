"""A cell while it is built, and where along its walls things stand."""

from dataclasses import dataclass, field

from . import pieces
from . import scene as s
from .builder import CellBuilder, Look, Spot
from .plan import CellPlan

WALL_M = 0.1
"""Each cell owns this much of the wall on its side."""
Rect = tuple[float, float, float, float]


@dataclass(slots=True)
class Room:
    """A cell while it is built.

    Attributes:
        cell: Where things are put.
        wall, trim, door: Looks of its walls, skirting and doors.
        dado: Look of the panelling along its walls, if any.
        cornice: Look of the moulding under its ceiling, if any.
        accent: A side whose wall looks otherwise, and how.
        shutters: Look of the shutters outside its windows, if any.
        taken: Floor where something stands or must not stand.
        hung: (side, low, high, lower edge, upper edge) of what hides a wall.
    """

    cell: CellBuilder
    wall: Look
    trim: Look
    door: Look
    dado: Look | None = None
    cornice: Look | None = None
    accent: tuple[int, Look] | None = None
    shutters: Look | None = None
    taken: list[Rect] = field(default_factory=list)
    hung: list[tuple[int, float, float, float, float]] = field(default_factory=list)

    @property
    def plan(self) -> CellPlan:
        return self.cell.plan

    def wall_on(self, side: int) -> Look:
        """Look of the wall on a side."""
        return self.accent[1] if self.accent is not None and self.accent[0] == side else self.wall

    def is_clear(self, area: Rect) -> bool:
        """True if nothing stands in an area."""
        x0, x1, y0, y1 = area
        return not any(
            x0 < t[1] + 0.02 and x1 > t[0] - 0.02 and y0 < t[3] + 0.02 and y1 > t[2] - 0.02 for t in self.taken
        )

    def length(self, side: int) -> float:
        return self.plan.width if side in (s.SOUTH, s.NORTH) else self.plan.depth

    def area(self, side: int, a0: float, a1: float, depth: float) -> Rect:
        """(x0, x1, y0, y1) of a strip along a wall."""
        w, d = self.plan.width, self.plan.depth
        return ((a0, a1, 0.0, depth), (w - depth, w, a0, a1), (a0, a1, d - depth, d), (0.0, depth, a0, a1))[side]


def place(room: Room, piece: pieces.Piece, only_side: int | None = None) -> bool:
    """Stand a piece at the first free stretch of wall, from a random start; False if there is none."""
    r = room.cell.rng
    sides = [only_side] if only_side is not None else r.sample(range(4), 4)
    for side in sides:
        if room.plan.is_open(side):
            continue
        span = room.length(side) - 2 * (WALL_M + 0.03) - piece.width
        if span < 0:
            continue
        steps = int(span / 0.1) + 1
        start = r.randrange(steps)
        if only_side is not None:
            start = _below_window(room, side, piece)
        for k in range(steps):
            a = WALL_M + 0.03 + min(((start + k) % steps) * 0.1, span)
            if _is_free(room, side, a, piece):
                _stand(room, side, a, piece)
                return True
    return False


def _below_window(room: Room, side: int, piece: pieces.Piece) -> int:
    window = next(o for o in room.plan.on(side) if o.kind == "window")
    return max(0, int(((window.low + window.high - piece.width) / 2 - WALL_M - 0.03) / 0.1))


def _is_free(room: Room, side: int, a: float, piece: pieces.Piece) -> bool:
    b = a + piece.width
    for o in room.plan.on(side):
        if a < o.high + 0.12 and b > o.low - 0.12 and piece.height > o.sill - 0.02:
            return False
    for s_, a0, a1, z0, z1 in room.hung:
        if s_ == side and a < a1 + 0.06 and b > a0 - 0.06 and piece.lift < z1 + 0.05 and piece.height > z0 - 0.05:
            return False
    if piece.lift > 0:
        return True
    return room.is_clear(room.area(side, a, b, WALL_M + 0.03 + piece.depth))


def _stand(room: Room, side: int, a: float, piece: pieces.Piece) -> None:
    piece.build(Spot(room.cell, side, a, WALL_M + (0.002 if piece.lift > 0 else 0.03)))
    room.hung.append((side, a, a + piece.width, piece.lift, piece.height))
    if piece.lift == 0:
        room.taken.append(room.area(side, a, a + piece.width, WALL_M + 0.03 + piece.depth))
