"""What rooms and corridors are filled with, by their use."""

import math
import random

from . import fixtures, pieces, props
from . import furniture as f
from . import scene as s
from .builder import Look, Spot
from .room import Rect, Room, place

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
FILLERS = (props.plant, props.pouf, props.basket, props.side_table, props.plant)
"""What stands in rooms that are left rather empty."""
LEAST_PIECES = 7
WAY_M = 0.62
"""Width of floor that is kept free."""
RUG_TINTS = ((1, 1, 1), (0.75, 0.95, 1.1), (0.9, 1.0, 0.8), (1.1, 0.85, 0.75), (0.7, 0.7, 0.75))


def furnish_room(room: Room, use: str) -> None:
    """Fill a room or passage."""
    r = room.cell.rng
    needed, wanted = NEEDS[use]
    if use == "dining":
        _dining_table(room)
    elif use in CENTRES:
        CENTRES[use](room)
    elif use not in ("kitchen", "bath", "store"):
        _rug(room)
    _keep_ways(room)
    num = sum(place(room, recipe(r)) for recipe in needed)
    num += sum(place(room, recipe(r)) for recipe in r.sample(wanted, len(wanted)))
    for recipe in r.sample(FILLERS, len(FILLERS)):
        if num < LEAST_PIECES and use not in ("kitchen", "bath"):
            num += place(room, recipe(r))
    for side in range(4):
        if any(o.kind == "window" for o in room.plan.on(side)):
            place(room, props.radiator(r), only_side=side)
    for _ in range(5):
        place(room, props.picture(r))


def _keep_ways(room: Room) -> None:
    """Leave floor free from every way in to the middle, so that one gets from each to each."""
    plan = room.plan
    cx, cy, half = plan.width / 2, plan.depth / 2, WAY_M / 2
    for o in plan.openings:
        if not o.is_passable:
            continue
        a = (o.low + o.high) / 2
        if o.side in (s.SOUTH, s.NORTH):
            y = (0.0, cy + half) if o.side == s.SOUTH else (cy - half, plan.depth)
            room.taken.append((a - half, a + half, *y))
            room.taken.append((min(a, cx) - half, max(a, cx) + half, cy - half, cy + half))
        else:
            x = (0.0, cx + half) if o.side == s.WEST else (cx - half, plan.width)
            room.taken.append((*x, a - half, a + half))
            room.taken.append((cx - half, cx + half, min(a, cy) - half, max(a, cy) + half))


def furnish_corridor(room: Room, style: random.Random) -> None:
    """Fill a piece of a corridor; ``style`` is shared by those beside it."""
    r = room.cell.rng
    if style.random() < 0.55:
        _runner(room, style)
    has_sconces = style.random() < 0.6
    for recipe in r.sample((f.console, props.plant, f.bench, props.radiator, props.plant, props.side_table), 2):
        piece = recipe(r)
        if piece.depth < 0.56:
            place(room, piece)
    if has_sconces:
        place(room, props.sconce(r))
    for _ in range(4):
        place(room, props.picture(r))


def _runner(room: Room, style: random.Random) -> None:
    """A long carpet that runs on through the corridor."""
    plan = room.plan
    low, high = (0.0 if plan.is_open(side) else 0.5 for side in (s.WEST, s.EAST))
    middle, half = plan.depth / 2, 0.42
    tint = style.choice(RUG_TINTS)
    look = Look(style.choice(("kilim", "carpet", "quilt")), tint, "rug", uv=s.UV_PLACE, flags=s.NO_SHADOW)
    hem = Look("knit", (0.3 * tint[0], 0.25 * tint[1], 0.22 * tint[2]), "rug", flags=s.NO_SHADOW | s.SMALL)
    x = (low, plan.width - high)
    room.cell.box(x, (middle - half, middle + half), (0, 0.01), look)
    for y in (middle - half, middle + half - 0.06):
        room.cell.box(x, (y, y + 0.06), (0, 0.013), hem)


def _rug(room: Room) -> None:
    r, plan = room.cell.rng, room.plan
    w, d = r.uniform(0.8, 1.1), r.uniform(0.6, 0.85)
    cx, cy = plan.width / 2 + r.uniform(-0.2, 0.2), plan.depth / 2 + r.uniform(-0.2, 0.2)
    if r.random() < 0.25:
        _round_rug(room, cx, cy, d + 0.15)
        return
    material = r.choice(("rug", "kilim", "rug"))
    look = Look(material, r.choice(RUG_TINTS), "rug", uv=s.UV_STRETCHED, flags=s.NO_SHADOW)
    room.cell.box((cx - w, cx + w), (cy - d, cy + d), (0, 0.012), look)


def _round_rug(room: Room, cx: float, cy: float, radius: float) -> None:
    tint = room.cell.rng.choice(RUG_TINTS)
    look = Look("rounds", tint, "rug", uv=s.UV_STRETCHED, flags=s.NO_SHADOW)
    room.cell.cylinder(cx, cy, (0, 0.012), radius, look)


def _centre(room: Room, half_x: float, half_y: float, gap: float = 0.55) -> Spot | None:
    """A place in the middle of a room with so much floor round it, if that is free: u along x, v along y."""
    cx, cy = room.plan.width / 2, room.plan.depth / 2
    area: Rect = (cx - half_x - gap, cx + half_x + gap, cy - half_y - gap, cy + half_y + gap)
    if not room.is_clear(area):
        return None
    room.taken.append(area)
    return Spot(room.cell, s.SOUTH, cx, cy)


def _coffee_table(room: Room) -> None:
    """A low table on a rug, with a few things on it."""
    r = room.cell.rng
    _rug(room)
    spot = _centre(room, 0.5, 0.3)
    if spot is None:
        return
    wood = pieces.wood_look(r, "table")
    spot.box((-0.5, 0.5), (-0.28, 0.28), (0.36, 0.395), wood)
    spot.box((-0.44, 0.44), (-0.23, 0.23), (0.12, 0.14), wood)
    pieces.put_legs(spot, (-0.48, 0.48), (-0.26, 0.26), 0.36, wood, 0.05)
    props.vase(spot, r, 0.28, 0.05, 0.395)
    for k in range(3):
        z, half = 0.395 + 0.028 * k, 0.12 - 0.015 * k
        look = Look("books", r.choice(pieces.CLOTHS), "books", flags=s.SMALL)
        spot.turned_box(-0.2, 0.0, (z, z + 0.026), (half, half * 0.7), r.uniform(-0.3, 0.3), look)
    spot.cylinder(0.05, -0.14, (0.395, 0.48), 0.04, Look("paint", r.choice(pieces.CLOTHS), "pot", flags=s.SMALL))


def _reading_table(room: Room) -> None:
    """A round table with books and two chairs."""
    r = room.cell.rng
    _round_rug(room, room.plan.width / 2, room.plan.depth / 2, 1.05)
    spot = _centre(room, 0.75, 0.45, 0.45)
    if spot is None:
        return
    wood = pieces.wood_look(r, "table")
    spot.cylinder(0.0, 0.0, (0.7, 0.74), 0.45, wood)
    spot.cylinder(0.0, 0.0, (0.03, 0.7), 0.045, wood)
    spot.cylinder(0.0, 0.0, (0.0, 0.035), 0.24, wood)
    pieces.put_books(spot, r, (-0.22, 0.06), (-0.1, 0.08), 0.74)
    spot.cylinder(0.25, 0.12, (0.74, 0.83), 0.04, Look("paint", r.choice(pieces.CLOTHS), "pot", flags=s.SMALL))
    for side in (-1, 1):
        f.chair(spot, r, 0.7 * side, 0.0, side * math.pi / 2 + r.uniform(-0.3, 0.3))


def _play_rug(room: Room) -> None:
    """A round rug with blocks and a bear."""
    r, plan = room.cell.rng, room.plan
    cx, cy = plan.width / 2, plan.depth / 2
    _round_rug(room, cx, cy, 0.9)
    for _ in range(7):
        x, y, half = cx + r.uniform(-0.6, 0.6), cy + r.uniform(-0.6, 0.6), r.uniform(0.035, 0.06)
        tint = r.choice(((0.9, 0.35, 0.25), (0.3, 0.5, 0.8), (0.95, 0.8, 0.3), (0.4, 0.65, 0.4)))
        room.cell.turned_box((x, y, 0.012 + half), (half, half, half), r.uniform(0, 3.1), Look("wood", tint, "box"))
    fur, x, y = Look("knit", (0.75, 0.52, 0.32), "box", flags=s.SMALL), cx + 0.25, cy - 0.2
    for dx, dz, radius in ((0.0, 0.08, 0.075), (0.0, 0.155, 0.05), (-0.04, 0.2, 0.018), (0.04, 0.2, 0.018)):
        room.cell.ellipsoid((x + dx, y, dz), (radius, radius * 0.85, radius), fur)
    for dx in (-0.06, 0.06):
        room.cell.ellipsoid((x + dx, y + 0.06, 0.04), (0.03, 0.05, 0.03), fur)


def _dining_table(room: Room) -> None:
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


CENTRES = {"living": _coffee_table, "library": _reading_table, "children": _play_rug}
"""What stands in the middle."""
