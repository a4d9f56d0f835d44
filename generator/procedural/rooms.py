"""Builds cells: floors, walls with doors and windows, and what stands in rooms and corridors."""

import math
from dataclasses import dataclass, field, replace

from . import fixtures, pieces, props
from . import furniture as f
from . import scene as s
from .builder import CellBuilder, Lamp, Look, Spot, Tint
from .garden import furnish_yard
from .plan import CellPlan, Opening, dice

WALL_M = 0.1
"""Each cell owns this much of the wall on its side."""
DOOR_CLEAR_M = 0.95
WALL_LOOKS: tuple[tuple[str, Tint], ...] = (
    ("plaster", (0.98, 0.96, 0.9)),
    ("plaster", (0.74, 0.85, 0.86)),
    ("plaster", (0.98, 0.86, 0.68)),
    ("plaster", (0.76, 0.86, 0.7)),
    ("wallpaper", (1.0, 1.0, 1.0)),
    ("wallpaper", (1.05, 0.9, 0.84)),
    ("stripes", (1.0, 0.98, 0.94)),
    ("stripes", (0.86, 0.95, 1.0)),
    ("plaster", (0.92, 0.76, 0.7)),
    ("wallpaper", (0.82, 0.94, 1.05)),
    ("brick", (1.05, 1.02, 1.0)),
)
FLOOR_LOOKS: tuple[tuple[str, Tint, float], ...] = (
    ("planks", (1.1, 1.08, 1.05), 0.3),
    ("planks", (0.8, 0.74, 0.7), 0.35),
    ("planks", (1.4, 1.36, 1.3), 0.25),
    ("parquet", (1.0, 1.0, 1.0), 0.35),
    ("parquet", (1.25, 1.2, 1.15), 0.3),
    ("carpet", (1.0, 1.0, 1.0), 0.0),
)
TILE_LOOKS: tuple[tuple[str, Tint, float], ...] = (
    ("tiles", (1, 1, 1), 0.4),
    ("checker", (1, 1, 1), 0.4),
    ("tiles", (0.9, 0.8, 0.68), 0.35),
)
YARD_WALLS: tuple[tuple[str, Tint], ...] = (
    ("brick", (1.0, 1.0, 1.0)),
    ("plaster", (0.80, 0.62, 0.36)),
    ("brick", (1.15, 1.08, 1.0)),
    ("plaster", (0.60, 0.64, 0.62)),
    ("plaster", (0.75, 0.52, 0.42)),
    ("brick", (0.85, 0.8, 0.82)),
)
WHITE_TRIM: Tint = (1.02, 1.01, 0.97)
NEEDS = {
    "bedroom": (
        (f.bed, f.wardrobe, f.nightstand),
        (f.dresser, props.floor_lamp, f.armchair, props.plant, f.desk, f.bench),
    ),
    "living": (
        (f.sofa, f.television, f.shelf),
        (f.armchair, props.floor_lamp, props.plant, f.console, props.plant, fixtures.stove),
    ),
    "study": (
        (f.desk, f.shelf, f.shelf),
        (f.armchair, props.floor_lamp, props.plant, props.waste_bin, f.dresser, props.mirror_clock),
    ),
    "kitchen": (
        (fixtures.counter, fixtures.fridge, fixtures.counter, f.table),
        (fixtures.counter, fixtures.cupboards, props.waste_bin, props.mirror_clock, props.plant),
    ),
    "library": ((f.shelf, f.shelf, f.armchair, f.shelf), (f.shelf, props.floor_lamp, f.desk, props.plant, f.shelf)),
    "store": ((props.boxes, f.shelf, f.wardrobe), (props.boxes, props.boxes, props.waste_bin, f.dresser, f.bench)),
    "bath": (
        (fixtures.bathtub, fixtures.washbasin, fixtures.toilet),
        (props.plant, props.waste_bin, f.bench, f.dresser),
    ),
    "music": ((f.piano, f.sofa), (f.shelf, props.plant, f.armchair, props.floor_lamp, f.console)),
    "children": ((f.bed, f.desk), (f.bed, props.boxes, f.shelf, f.dresser, props.waste_bin, props.plant)),
    "dining": ((f.dresser, fixtures.stove), (f.console, props.plant, f.shelf, props.mirror_clock, props.floor_lamp)),
    "hall": ((f.bench,), (props.plant, props.coat_rack, f.console, props.plant)),
}
ROOM_USES = (
    "bedroom",
    "living",
    "study",
    "kitchen",
    "library",
    "store",
    "bath",
    "music",
    "children",
    "dining",
    "living",
    "bedroom",
)
Rect = tuple[float, float, float, float]


@dataclass(slots=True)
class _Room:
    """A cell while it is built."""

    cell: CellBuilder
    wall: Look
    trim: Look
    door: Look
    taken: list[Rect] = field(default_factory=list)
    hung: list[tuple[int, float, float, float, float]] = field(default_factory=list)

    @property
    def plan(self) -> CellPlan:
        return self.cell.plan

    def length(self, side: int) -> float:
        return self.plan.width if side in (s.SOUTH, s.NORTH) else self.plan.depth

    def area(self, side: int, a0: float, a1: float, depth: float) -> Rect:
        """(x0, x1, y0, y1) of a strip along a wall."""
        w, d = self.plan.width, self.plan.depth
        return ((a0, a1, 0.0, depth), (w - depth, w, a0, a1), (a0, a1, d - depth, d), (0.0, depth, a0, a1))[side]


def build_cell(seed: int, plan: CellPlan) -> CellBuilder:
    """Everything in one cell; depends on the seed and the cell alone."""
    rng = dice(seed, plan.i, plan.j, 77)
    cell = CellBuilder(plan, rng)
    if plan.kind == s.YARD:
        _build_yard(seed, cell)
    else:
        _build_inside(seed, cell)
    return cell


def _build_inside(seed: int, cell: CellBuilder) -> None:
    plan, rng = cell.plan, cell.rng
    # Corridors look alike over some columns, so that their walls do not change every few metres.
    style = dice(seed, plan.i // 4, plan.j, 78) if plan.kind == s.CORRIDOR else rng
    use = {s.CORRIDOR: "", s.PASSAGE: "hall"}.get(plan.kind) or (rng.choice(ROOM_USES) if plan.kind == s.ROOM else "")
    material, tint = style.choice(WALL_LOOKS)
    is_wet = use in ("kitchen", "bath") or (plan.kind != s.ROOM and style.random() < 0.6)
    floor, floor_tint, gloss = style.choice(TILE_LOOKS if is_wet else FLOOR_LOOKS)
    trim = Look("paint", style.choice((WHITE_TRIM, WHITE_TRIM, (0.4, 0.3, 0.22))), "wall", flags=s.SMALL | s.NO_SHADOW)
    wall = Look(material, tint, "wall", uv=s.UV_PLACE)
    room = _Room(cell, wall, trim, Look("wood", style.choice(pieces.WOODS), "door", gloss=0.15))
    x, y = (0.0, plan.width), (0.0, plan.depth)
    cell.box(x, y, (-0.2, 0.0), Look(floor, floor_tint, "floor", uv=s.UV_PLACE, gloss=gloss, flags=s.NO_SHADOW))
    cell.box(x, y, (s.CEILING_M, s.ROOF_M), Look("ceiling", (1, 1, 1), "ceiling", uv=s.UV_PLACE))
    _walls(room, s.CEILING_M)
    shares = (0.28, 0.72) if plan.kind == s.PASSAGE else (0.5,)
    for share in shares:
        _ceiling_lamp(cell, use, plan.depth * share)
    if plan.kind == s.CORRIDOR:
        _furnish_corridor(room)
    else:
        _furnish_room(room, use)


def _ceiling_lamp(cell: CellBuilder, use: str, cy: float) -> None:
    cx, z = cell.plan.width / 2, s.CEILING_M
    cord = Look("paint", (0.12, 0.12, 0.12), "lamp", flags=s.SMALL | s.NO_SHADOW)
    cell.rod((cx, cy, z - 0.34), (cx, cy, z), 0.008, cord)
    glass = Look("flat", (1.0, 0.93, 0.8), "lamp", emission=1.0, flags=s.NO_SHADOW)
    if use in ("kitchen", "study", "store"):
        cell.cylinder(cx, cy, (z - 0.45, z - 0.3), 0.2, replace(glass, material="fabric", emission=0.8))
    elif use in ("dining", "library"):
        for k in range(3):
            angle = k * 2.094
            p = (cx + 0.22 * math.cos(angle), cy + 0.22 * math.sin(angle), z - 0.42)
            cell.rod((cx, cy, z - 0.3), p, 0.01, cord)
            cell.ellipsoid(p, (0.075, 0.075, 0.075), glass)
    else:
        cell.ellipsoid((cx, cy, z - 0.42), (0.17, 0.17, 0.14), glass)
    cell.lamps.append(Lamp(cx, cy, z - 0.46, 1.0))


def _walls(room: _Room, top: float) -> None:
    for side in range(4):
        if room.plan.is_open(side):
            continue
        spot, length, at = Spot(room.cell, side, 0.0, 0.0), room.length(side), 0.0
        for opening in room.plan.on(side):
            _wall_piece(room, spot, at, opening.low, top)
            spot.box((opening.low, opening.high), (0, WALL_M), (opening.top, top), room.wall)
            if opening.sill > 0:
                spot.box((opening.low, opening.high), (0, WALL_M), (0, opening.sill), room.wall)
                if room.plan.kind != s.YARD:
                    spot.box((opening.low, opening.high), (WALL_M, WALL_M + 0.016), (0, 0.1), room.trim)
            _frame(room, side, opening)
            at = opening.high
        _wall_piece(room, spot, at, length, top)


def _wall_piece(room: _Room, spot: Spot, low: float, high: float, top: float) -> None:
    if high - low > 0.002:
        spot.box((low, high), (0, WALL_M), (0, top), room.wall)
        if room.plan.kind != s.YARD:
            spot.box((low, high), (WALL_M, WALL_M + 0.016), (0, 0.1), room.trim)


def _frame(room: _Room, side: int, o: Opening) -> None:
    """Casing, sill and bars of a window, casing and leaf of a door."""
    spot, is_inside = Spot(room.cell, side, 0.0, 0.0), room.plan.kind != s.YARD
    surface = "window" if o.kind == "window" else "door"
    paint = Look("paint", WHITE_TRIM, surface, flags=s.NO_SHADOW | s.SMALL)
    casing = paint if o.kind in ("window", "garden") else replace(room.door, flags=s.NO_SHADOW | s.SMALL)
    out = WALL_M + 0.022
    if o.kind != "arch":
        spot.box((o.low - 0.065, o.low + 0.012), (0, out), (o.sill, o.top + 0.065), casing)
        spot.box((o.high - 0.012, o.high + 0.065), (0, out), (o.sill, o.top + 0.065), casing)
        spot.box((o.low, o.high), (0, out), (o.top - 0.012, o.top + 0.065), casing)
    if o.kind == "window":
        sill = Look("marble" if not is_inside else "wood", (1.0, 0.97, 0.92), "window", flags=s.SMALL)
        spot.box((o.low - 0.08, o.high + 0.08), (0, out + 0.08), (o.sill - 0.035, o.sill + 0.008), sill)
        if is_inside:
            _window_bars(room, spot, o)
    if o.kind in ("door", "arch", "garden"):
        room.taken.append(room.area(side, o.low - 0.08, o.high + 0.08, DOOR_CLEAR_M))
    if o.kind == "door" and is_inside and room.plan.kind != s.CORRIDOR and room.cell.rng.random() < 0.75:
        _door_leaf(room, spot, o)
    if o.kind == "garden" and is_inside:
        _glazed_leaf(room, spot, o)


def _window_bars(room: _Room, spot: Spot, o: Opening) -> None:
    bar = Look("paint", WHITE_TRIM, "window", flags=s.SMALL)
    count = max(2, round((o.high - o.low) / 0.62))
    for k in range(count + 1):
        u = o.low + (o.high - o.low) * k / count
        spot.box((u - 0.024, u + 0.024), (0.0, 0.05), (o.sill, o.top), bar)
    for z in (o.sill + 0.03, o.sill + (o.top - o.sill) * 0.7, o.top - 0.035):
        spot.box((o.low, o.high), (0.0, 0.045), (z - 0.022, z + 0.022), bar)
    if room.cell.rng.random() < 0.55:
        tint = room.cell.rng.choice(((0.98, 0.9, 0.78), (0.5, 0.6, 0.72), (0.72, 0.45, 0.38), (0.66, 0.72, 0.58)))
        cloth = Look("curtain", tint, "curtain", uv=s.UV_UPRIGHT)
        rail = Look("paint", pieces.BRASS, "curtain", flags=s.SMALL | s.NO_SHADOW)
        spot.rod((o.low - 0.35, WALL_M + 0.07, 2.42), (o.high + 0.35, WALL_M + 0.07, 2.42), 0.012, rail)
        for u in (o.low - 0.3, o.high - 0.02):
            for k in range(4):
                spot.cylinder(u + 0.04 + 0.08 * k, WALL_M + 0.07, (0.22, 2.42), 0.052, cloth)


def _door_leaf(room: _Room, spot: Spot, o: Opening) -> None:
    """A leaf that stands open into the room."""
    r, half = room.cell.rng, 0.43
    is_left = r.random() < 0.5
    hinge, way = (o.low + 0.03, 1) if is_left else (o.high - 0.03, -1)
    angle = r.uniform(1.4, 1.75)
    u, v = hinge + way * half * math.cos(angle), WALL_M + 0.03 + half * math.sin(angle)
    turn = angle if way > 0 else math.pi - angle
    spot.turned_box(u, v, (0.012, 2.03), (half, 0.02), turn, room.door)
    c, n = math.cos(turn), math.sin(turn)
    for z in ((0.2, 0.9), (1.08, 1.85)):
        spot.turned_box(u, v, z, (half - 0.13, 0.025), turn, room.door)
    for across in (-0.05, 0.05):
        at = (u + 0.37 * c - across * n, v + 0.37 * n + across * c, 1.0)
        spot.rod(at, (at[0] - 0.1 * c, at[1] - 0.1 * n, 1.0), 0.011, Look("paint", pieces.BRASS, "door", flags=s.SMALL))


def _glazed_leaf(room: _Room, spot: Spot, o: Opening) -> None:
    """A glazed garden door that stands open along the wall inside."""
    half, turn = (o.high - o.low) / 2 - 0.02, 1.5
    u, v = o.low + 0.03 + half * math.cos(turn), WALL_M + 0.03 + half * math.sin(turn)
    paint = Look("paint", WHITE_TRIM, "door", flags=s.SMALL)
    c, n = math.cos(turn), math.sin(turn)
    for z in ((0.012, 0.35), (1.0, 1.08), (1.94, 2.05)):
        spot.turned_box(u, v, z, (half, 0.02), turn, paint)
    for along in (-half + 0.05, half - 0.05):
        spot.turned_box(u + along * c, v + along * n, (0.012, 2.05), (0.05, 0.02), turn, paint)


# ----------------------------------------------------------------------------------------------- arranging


def _furnish_room(room: _Room, use: str) -> None:
    r = room.cell.rng
    needed, wanted = NEEDS[use]
    if use == "dining":
        _dining_table(room)
    elif use not in ("kitchen", "bath", "store"):
        _rug(room)
    for recipe in needed:
        _place(room, recipe(r))
    for recipe in r.sample(wanted, len(wanted)):
        _place(room, recipe(r))
    for side in range(4):
        if any(o.kind == "window" for o in room.plan.on(side)):
            _place(room, props.radiator(r), only_side=side)
    for _ in range(5):
        _place(room, props.picture(r))


def _furnish_corridor(room: _Room) -> None:
    r = room.cell.rng
    for recipe in r.sample((f.console, props.plant, f.bench, props.radiator, props.plant), 2):
        piece = recipe(r)
        if piece.depth < 0.56:
            _place(room, piece)
    for _ in range(5):
        _place(room, props.picture(r))


def _rug(room: _Room) -> None:
    r, plan = room.cell.rng, room.plan
    w, d = r.uniform(0.8, 1.1), r.uniform(0.6, 0.85)
    cx, cy = plan.width / 2 + r.uniform(-0.2, 0.2), plan.depth / 2 + r.uniform(-0.2, 0.2)
    look = Look(
        r.choice(("rug", "kilim")),
        r.choice(((1, 1, 1), (0.75, 0.95, 1.1), (0.9, 1.0, 0.8))),
        "rug",
        uv=s.UV_STRETCHED,
        flags=s.NO_SHADOW,
    )
    room.cell.box((cx - w, cx + w), (cy - d, cy + d), (0, 0.012), look)


def _dining_table(room: _Room) -> None:
    """A table with four chairs in the middle."""
    r, plan = room.cell.rng, room.plan
    cx, cy = plan.width / 2, plan.depth / 2
    spot = Spot(room.cell, s.SOUTH, cx - 0.75, cy - 0.45)
    wood = Look("wood", r.choice(pieces.WOODS), "table", gloss=0.2)
    spot.box((0, 1.5), (0, 0.9), (0.71, 0.75), wood)
    for u in (0.05, 1.37):
        for v in (0.05, 0.77):
            spot.box((u, u + 0.08), (v, v + 0.08), (0, 0.71), wood)
    spot.box((0.2, 1.3), (0.33, 0.57), (0.75, 0.754), Look("kilim", (1, 1, 1), "table", flags=s.NO_SHADOW))
    props.vase(spot, r, 0.75, 0.45, 0.754)
    for u in (0.4, 1.1):
        spot.cylinder(u, 0.2, (0.75, 0.765), 0.11, Look("paint", (1.2, 1.2, 1.15), "pot"))
        f.chair(spot, r, u, -0.12, r.uniform(-0.2, 0.2))
        f.chair(spot, r, u, 1.02, math.pi + r.uniform(-0.2, 0.2))
    room.taken.append((cx - 0.9, cx + 0.9, cy - 0.95, cy + 0.95))


def _place(room: _Room, piece: pieces.Piece, only_side: int | None = None) -> bool:
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


def _below_window(room: _Room, side: int, piece: pieces.Piece) -> int:
    window = next(o for o in room.plan.on(side) if o.kind == "window")
    return max(0, int(((window.low + window.high - piece.width) / 2 - WALL_M - 0.03) / 0.1))


def _is_free(room: _Room, side: int, a: float, piece: pieces.Piece) -> bool:
    b = a + piece.width
    for o in room.plan.on(side):
        if a < o.high + 0.12 and b > o.low - 0.12 and piece.height > o.sill - 0.02:
            return False
    for s_, a0, a1, z0, z1 in room.hung:
        if s_ == side and a < a1 + 0.06 and b > a0 - 0.06 and piece.lift < z1 + 0.05 and piece.height > z0 - 0.05:
            return False
    if piece.lift > 0:
        return True
    x0, x1, y0, y1 = room.area(side, a, b, WALL_M + 0.03 + piece.depth)
    return not any(x0 < t[1] + 0.02 and x1 > t[0] - 0.02 and y0 < t[3] + 0.02 and y1 > t[2] - 0.02 for t in room.taken)


def _stand(room: _Room, side: int, a: float, piece: pieces.Piece) -> None:
    piece.build(Spot(room.cell, side, a, WALL_M + (0.002 if piece.lift > 0 else 0.03)))
    room.hung.append((side, a, a + piece.width, piece.lift, piece.height))
    if piece.lift == 0:
        room.taken.append(room.area(side, a, a + piece.width, WALL_M + 0.03 + piece.depth))


# -------------------------------------------------------------------------------------------------- outside


def _build_yard(seed: int, cell: CellBuilder) -> None:
    plan = cell.plan
    shade = dice(seed, plan.j, 79)
    material, tint = shade.choice(YARD_WALLS)
    wall = Look(material, tint, "wall", uv=s.UV_PLACE)
    room = _Room(cell, wall, wall, Look("wood", (0.6, 0.5, 0.42), "door"))
    x, y = (0.0, plan.width), (0.0, plan.depth)
    cell.box(x, y, (-0.2, 0.0), Look("grass", (1.0, 1.0, 1.0), "ground", uv=s.UV_PLACE, flags=s.NO_SHADOW))
    _walls(room, s.ROOF_M)
    plinth, coping = (
        Look("paving", (0.85, 0.85, 0.85), "wall", uv=s.UV_PLACE),
        Look("paving", (1.2, 1.2, 1.2), "wall", uv=s.UV_PLACE),
    )
    for side in range(4):
        if plan.is_open(side):
            continue
        spot, at = Spot(cell, side, 0.0, 0.0), 0.0
        spot.box((0, room.length(side)), (0, WALL_M + 0.07), (s.ROOF_M - 0.12, s.ROOF_M), coping)
        for o in (*plan.on(side), Opening(side, room.length(side), 0, 0, 0, "")):
            if o.is_passable:
                spot.box((at, o.low - (0.07 if o.kind else 0.0)), (0, WALL_M + 0.03), (0, 0.35), plinth)
                at = o.high + 0.07
    furnish_yard(cell, _door_spans(plan))


def _door_spans(plan: CellPlan) -> list[tuple[float, float]]:
    """Where garden doors lie along x."""
    return [(o.low, o.high) for o in plan.openings if o.kind == "garden" and o.side in (s.SOUTH, s.NORTH)]
