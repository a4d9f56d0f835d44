"""Walls of a cell, with their doors, windows, panelling and shutters."""

import math
import random
from dataclasses import replace

from . import pieces
from . import scene as s
from .builder import Look, Spot, Tint
from .plan import Opening
from .room import WALL_M, Room

DOOR_CLEAR_M = 0.95
DADO_M, DADO_THICK_M = 0.88, 0.011
SHUTTERS: tuple[Tint, ...] = (
    (0.16, 0.34, 0.3),
    (0.2, 0.3, 0.44),
    (0.5, 0.2, 0.15),
    (0.85, 0.84, 0.78),
    (0.36, 0.4, 0.26),
)
WHITE_TRIM = (1.02, 1.01, 0.97)


def build_walls(room: Room, top: float) -> None:
    """Put up the walls of a cell up to a height."""
    for side in range(4):
        if room.plan.is_open(side):
            continue
        spot, length, at = Spot(room.cell, side, 0.0, 0.0), room.length(side), 0.0
        for opening in room.plan.on(side):
            _wall_piece(room, spot, (at, opening.low), top)
            spot.box((opening.low, opening.high), (0, WALL_M), (opening.top, top), room.wall_on(side))
            if opening.sill > 0:
                _wall_piece(room, spot, (opening.low, opening.high), opening.sill)
            _frame(room, side, opening)
            at = opening.high
        _wall_piece(room, spot, (at, length), top)
        if room.cornice is not None:
            spot.box((0, length), (WALL_M, WALL_M + 0.045), (top - 0.055, top), room.cornice)
            spot.box((0, length), (WALL_M, WALL_M + 0.02), (top - 0.1, top - 0.055), room.cornice)


def _wall_piece(room: Room, spot: Spot, span: tuple[float, float], top: float) -> None:
    """A piece of wall with its skirting and panelling."""
    if span[1] - span[0] <= 0.002:
        return
    spot.box(span, (0, WALL_M), (0, top), room.wall_on(spot.side))
    if room.plan.kind == s.YARD:
        return
    spot.box(span, (WALL_M, WALL_M + 0.016), (0, 0.1), room.trim)
    if room.dado is not None:
        height = min(DADO_M, top - 0.07)
        spot.box(span, (WALL_M, WALL_M + DADO_THICK_M), (0.1, height), room.dado)
        spot.box(span, (WALL_M, WALL_M + 0.024), (height, height + 0.03), room.trim)


def _frame(room: Room, side: int, o: Opening) -> None:
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
        else:
            _window_outside(room, spot, o)
    if o.kind in ("door", "arch", "garden"):
        room.taken.append(room.area(side, o.low - 0.08, o.high + 0.08, DOOR_CLEAR_M))
    if o.kind == "door" and is_inside and room.plan.kind != s.CORRIDOR and room.cell.rng.random() < 0.75:
        _door_leaf(room, spot, o)
    if o.kind == "garden" and is_inside:
        _glazed_leaf(room, spot, o)


def _window_bars(room: Room, spot: Spot, o: Opening) -> None:
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


def _window_outside(room: Room, spot: Spot, o: Opening) -> None:
    """Shutters beside a window and flowers under it."""
    r, width = room.cell.rng, min(0.46, (o.high - o.low) / 3)
    if room.shutters is not None:
        for low in (o.low - 0.07 - width, o.high + 0.07):
            others = (other for other in room.plan.on(spot.side) if other is not o)
            if low < 0.15 or low + width > room.length(spot.side) - 0.15:
                continue
            if any(low < other.high + 0.1 and low + width > other.low - 0.1 for other in others):
                continue
            spot.box((low, low + width), (WALL_M, WALL_M + 0.035), (o.sill - 0.02, o.top + 0.02), room.shutters)
            for z in (o.sill + 0.12, o.top - 0.16):
                spot.box((low, low + width), (WALL_M + 0.035, WALL_M + 0.05), (z, z + 0.07), room.shutters)
    if r.random() < 0.45:
        _window_box(spot, r, o)


def _window_box(spot: Spot, r: random.Random, o: Opening) -> None:
    wood = Look("wood", r.choice(pieces.WOODS), "pot", flags=s.SMALL)
    half, middle = min(0.6, (o.high - o.low) / 2 - 0.05), (o.low + o.high) / 2
    out, z = WALL_M + 0.03, o.sill - 0.24
    spot.box((middle - half, middle + half), (out, out + 0.2), (z, z + 0.2), wood)
    look = Look("flowers", r.choice(((1.2, 1.2, 1.15), (1.3, 1.05, 1.1), (1.1, 1.15, 1.3))), "plant")
    count = max(2, round(half / 0.16))
    for k in range(count):
        u = middle - half + (2 * k + 1) * half / count
        spot.leaves(u, out + 0.1, z + 0.24, (half / count + 0.04, 0.13, 0.11), look, 0.3)


def _door_leaf(room: Room, spot: Spot, o: Opening) -> None:
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


def _glazed_leaf(room: Room, spot: Spot, o: Opening) -> None:
    """A glazed garden door that stands open along the wall inside."""
    half, turn = (o.high - o.low) / 2 - 0.02, 1.5
    u, v = o.low + 0.03 + half * math.cos(turn), WALL_M + 0.03 + half * math.sin(turn)
    paint = Look("paint", WHITE_TRIM, "door", flags=s.SMALL)
    c, n = math.cos(turn), math.sin(turn)
    for z in ((0.012, 0.35), (1.0, 1.08), (1.94, 2.05)):
        spot.turned_box(u, v, z, (half, 0.02), turn, paint)
    for along in (-half + 0.05, half - 0.05):
        spot.turned_box(u + along * c, v + along * n, (0.012, 2.05), (0.05, 0.02), turn, paint)
