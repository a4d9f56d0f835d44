"""Builds cells: floors, walls with doors and windows, and what stands in rooms and corridors."""

import math
import random
from dataclasses import replace

from . import pieces
from . import scene as s
from .builder import CellBuilder, Lamp, Look, Spot, Tint
from .furnishing import ROOM_USES, furnish_corridor, furnish_room
from .garden import furnish_yard
from .plan import CellPlan, Opening, dice
from .room import WALL_M, Room
from .walls import SHUTTERS, WHITE_TRIM, build_walls

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
PANELS: tuple[Tint, ...] = ((1.0, 1.0, 0.97), (0.62, 0.7, 0.62), (0.5, 0.58, 0.64), (0.82, 0.74, 0.6), (0.55, 0.4, 0.3))
ACCENTS: tuple[tuple[str, Tint], ...] = (
    ("plaster", (0.36, 0.5, 0.46)),
    ("plaster", (0.34, 0.42, 0.54)),
    ("plaster", (0.78, 0.5, 0.38)),
    ("plaster", (0.66, 0.56, 0.3)),
    ("wallpaper", (0.7, 0.85, 0.8)),
    ("panel", (0.55, 0.62, 0.55)),
    ("brick", (1.3, 1.3, 1.28)),
)
YARD_WALLS: tuple[tuple[str, Tint], ...] = (
    ("brick", (1.0, 1.0, 1.0)),
    ("plaster", (0.80, 0.62, 0.36)),
    ("brick", (1.15, 1.08, 1.0)),
    ("plaster", (0.60, 0.64, 0.62)),
    ("plaster", (0.75, 0.52, 0.42)),
    ("brick", (0.85, 0.8, 0.82)),
    ("panel", (0.5, 0.56, 0.6)),
    ("plaster", (0.66, 0.6, 0.5)),
    ("panel", (0.62, 0.3, 0.24)),
)


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
    wall = Look(material, tint, "wall", uv=s.UV_PLACE)
    is_wet = use in ("kitchen", "bath") or (plan.kind != s.ROOM and style.random() < 0.6)
    floor, floor_tint, gloss = style.choice(TILE_LOOKS if is_wet else FLOOR_LOOKS)
    trim = Look("paint", style.choice((WHITE_TRIM, WHITE_TRIM, (0.4, 0.3, 0.22))), "wall", flags=s.SMALL | s.NO_SHADOW)
    room = Room(cell, wall, trim, Look("wood", style.choice(pieces.WOODS), "door", gloss=0.15))
    _dress_walls(room, style)
    x, y = (0.0, plan.width), (0.0, plan.depth)
    cell.box(x, y, (-0.2, 0.0), Look(floor, floor_tint, "floor", uv=s.UV_PLACE, gloss=gloss, flags=s.NO_SHADOW))
    cell.box(x, y, (s.CEILING_M, s.ROOF_M), Look("ceiling", (1, 1, 1), "ceiling", uv=s.UV_PLACE))
    build_walls(room, s.CEILING_M)
    shares = (0.28, 0.72) if plan.kind == s.PASSAGE else (0.5,)
    for share in shares:
        _ceiling_lamp(cell, use, plan.depth * share)
    if plan.kind == s.CORRIDOR:
        furnish_corridor(room, style)
    else:
        if plan.kind == s.ROOM and rng.random() < 0.2:
            _beams(cell)
        furnish_room(room, use)


def _dress_walls(room: Room, style: random.Random) -> None:
    """Give a room panelling, a cornice, or one wall of another colour."""
    if style.random() < 0.35 and room.wall.material != "brick":
        room.dado = Look("panel", style.choice(PANELS), "wall", uv=s.UV_PLACE)
    if style.random() < 0.6:
        room.cornice = Look("paint", WHITE_TRIM, "ceiling", flags=s.SMALL | s.NO_SHADOW)
    if room.plan.kind == s.ROOM and style.random() < 0.3:
        material, tint = style.choice(ACCENTS)
        room.accent = (style.randrange(4), Look(material, tint, "wall", uv=s.UV_PLACE))


def _beams(cell: CellBuilder) -> None:
    """Dark beams under the ceiling."""
    wood = Look("wood", cell.rng.choice(((0.45, 0.36, 0.3), (0.62, 0.5, 0.42))), "ceiling")
    for k in range(4):
        y = cell.plan.depth * (k + 0.5) / 4
        cell.box((0.0, cell.plan.width), (y - 0.07, y + 0.07), (s.CEILING_M - 0.15, s.CEILING_M), wood)


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


def _build_yard(seed: int, cell: CellBuilder) -> None:
    plan = cell.plan
    shade = dice(seed, plan.j, 79)
    material, tint = shade.choice(YARD_WALLS)
    wall = Look(material, tint, "wall", uv=s.UV_PLACE)
    shutters = Look("panel", shade.choice(SHUTTERS), "window", flags=s.NO_SHADOW) if shade.random() < 0.7 else None
    room = Room(cell, wall, wall, Look("wood", (0.6, 0.5, 0.42), "door"), shutters=shutters)
    x, y = (0.0, plan.width), (0.0, plan.depth)
    cell.box(x, y, (-0.2, 0.0), Look("grass", (1.0, 1.0, 1.0), "ground", uv=s.UV_PLACE, flags=s.NO_SHADOW))
    build_walls(room, s.ROOF_M)
    plinth, coping = (
        Look("paving", (0.85, 0.85, 0.85), "wall", uv=s.UV_PLACE),
        Look("paving", (1.2, 1.2, 1.2), "wall", uv=s.UV_PLACE),
    )
    gutter = Look("paint", (0.3, 0.3, 0.29), "wall", flags=s.SMALL)
    for side in range(4):
        if plan.is_open(side):
            continue
        spot, at = Spot(cell, side, 0.0, 0.0), 0.0
        spot.box((0, room.length(side)), (0, WALL_M + 0.07), (s.ROOF_M - 0.12, s.ROOF_M), coping)
        spot.box((0, room.length(side)), (WALL_M, WALL_M + 0.11), (s.ROOF_M - 0.21, s.ROOF_M - 0.12), gutter)
        for o in (*plan.on(side), Opening(side, room.length(side), 0, 0, 0, "")):
            if o.is_passable:
                spot.box((at, o.low - (0.07 if o.kind else 0.0)), (0, WALL_M + 0.03), (0, 0.35), plinth)
                at = o.high + 0.07
    furnish_yard(cell, _door_spans(plan))


def _door_spans(plan: CellPlan) -> list[tuple[float, float]]:
    """Where garden doors lie along x."""
    return [(o.low, o.high) for o in plan.openings if o.kind == "garden" and o.side in (s.SOUTH, s.NORTH)]
