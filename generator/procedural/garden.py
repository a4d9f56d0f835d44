"""What stands in yards: paths, trees, hedges, beds, benches, lamps, and what grows up their walls."""

import math
import random

from . import scene as s
from .builder import CellBuilder, Lamp, Look, Spot, Tint

STONE: Tint = (0.95, 0.93, 0.9)
IRON = Look("paint", (0.08, 0.09, 0.09), "lamp", flags=s.SMALL)
PATH_M = 0.9
"""Half the width of the path along a yard."""


def furnish_yard(cell: CellBuilder, doors: list[tuple[float, float]]) -> None:
    """Fill a yard.

    Args:
        cell: A yard with its ground and walls.
        doors: Where garden doors lie along x; paths lead to them.
    """
    plan, r = cell.plan, cell.rng
    middle = plan.depth / 2
    paths = Look("paving", (1, 1, 1), "path", uv=s.UV_PLACE, flags=s.NO_SHADOW)
    whole = (0.0, plan.width)
    cell.box(whole, (middle - PATH_M, middle + PATH_M), (-0.1, 0.015), paths)
    for low, high in ((0.0, 0.95), (plan.depth - 0.95, plan.depth)):
        cell.box(whole, (low, high), (-0.1, 0.012), paths)
    for low, high in doors:
        cell.box((low - 0.1, high + 0.1), (0.9, plan.depth - 0.9), (-0.1, 0.01), paths)
    _kerbs(cell, doors, middle)
    for side, y in ((-1, middle - 2.25), (1, middle + 2.25)):
        x = _clear_of(r, plan.width, doors)
        if x is not None:
            r.choice(FEATURES)(cell, r, x, y)
        for _ in range(2):
            other = _clear_of(r, plan.width, [*doors, (x - 1.1, x + 1.1)] if x is not None else doors, 0.4)
            if other is not None:
                r.choice((_bush, _pot, _flower_clump))(cell, r, other, y + side * r.uniform(-0.2, 0.55))
    _lamp_post(cell, r, doors, middle)
    _door_lamps(cell)
    if r.random() < 0.6:
        _wall_pots(cell, r, doors)
    if r.random() < 0.4:
        _climber(cell, r)


def _kerbs(cell: CellBuilder, doors: list[tuple[float, float]], middle: float) -> None:
    """Low stones along the path, but where others cross it."""
    stone = Look("paving", (0.8, 0.79, 0.77), "path", uv=s.UV_PLACE, flags=s.NO_SHADOW | s.SMALL)
    at = 0.0
    for low, high in (*sorted(doors), (cell.plan.width + 0.1, cell.plan.width + 0.1)):
        for y in (middle - PATH_M - 0.07, middle + PATH_M):
            cell.box((at, low - 0.1), (y, y + 0.07), (-0.05, 0.035), stone)
        at = high + 0.1


def _door_lamps(cell: CellBuilder) -> None:
    """A lamp over every door of a house; the first one lights the ground before it."""
    glass = Look("flat", (1.0, 0.88, 0.66), "lamp", emission=1.0, flags=s.NO_SHADOW)
    for o in cell.plan.openings:
        if o.kind != "garden":
            continue
        spot, u = Spot(cell, o.side, 0.0, 0.0), (o.low + o.high) / 2
        spot.box((u - 0.05, u + 0.05), (0.1, 0.13), (2.3, 2.52), IRON)
        spot.box((u - 0.09, u + 0.09), (0.12, 0.3), (2.5, 2.525), IRON)
        spot.cylinder(u, 0.22, (2.36, 2.5), 0.055, glass)
        x, y = spot.point(u, 0.32)
        reach = min(3.2, x, cell.plan.width - x)
        if len(cell.lamps) < 2 and reach > 1.4:
            cell.lamps.append(Lamp(x, y, 2.4, 1.0, reach))


def _climber(cell: CellBuilder, r: random.Random) -> None:
    """Leaves that grow up a house wall between its openings."""
    side = r.choice([k for k in (s.SOUTH, s.NORTH) if not cell.plan.is_open(k)] or [-1])
    if side < 0:
        return
    spot, around = Spot(cell, side, 0.0, 0.0), [(o.low, o.high) for o in cell.plan.on(side)]
    x = _clear_of(r, cell.plan.width, around, 0.3)
    if x is None:
        return
    g = r.uniform(0.8, 1.15)
    look = Look(r.choice(("leaf", "leaf", "flowers")), (g, g, g), "plant")
    stem = Look("bark", (0.8, 0.75, 0.7), "plant", flags=s.SMALL)
    spot.rod((x, 0.13, 0.0), (x + 0.1, 0.12, 1.9), 0.02, stem)
    for k in range(13):
        z = 0.2 + 0.16 * k
        u = min(max(x + r.uniform(-0.13, 0.13) * (1 + 0.12 * k), 0.2), cell.plan.width - 0.2)
        if any(low - 0.15 < u < high + 0.15 for low, high in around):
            continue
        size = r.uniform(0.14, 0.19)
        spot.leaves(u, 0.1, z, (size, size, size), look, 0.3)


def _clear_of(r: random.Random, width: float, spans: list[tuple[float, float]], half: float = 0.9) -> float | None:
    for _ in range(8):
        x = r.uniform(half + 0.15, width - half - 0.15)
        if all(x + half < low - 0.15 or x - half > high + 0.15 for low, high in spans):
            return x
    return None


def _tree(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    """A trunk that forks, with foliage at the forks' ends."""
    bark, g = Look("bark", (1.0, 1.0, 1.0), "tree"), r.uniform(0.85, 1.2)
    warm = r.choice(((1.0, 1.0, 1.0), (1.15, 1.0, 0.8), (0.9, 1.0, 0.95)))
    green = Look("leaf", (g * warm[0], g * warm[1], g * warm[2]), "tree")
    height = r.uniform(1.5, 1.9)
    lean = (x + r.uniform(-0.12, 0.12), y + r.uniform(-0.12, 0.12), height)
    cell.rod((x, y, -0.05), lean, 0.1, bark)
    cell.ellipsoid((x, y, 0.0), (0.2, 0.2, 0.12), bark)
    count = 7
    for k in range(count):
        angle = k * 2 * math.pi / count + r.uniform(-0.3, 0.3)
        reach, rise = r.uniform(0.4, 0.95), r.uniform(0.2, 1.15)
        tip = (lean[0] + reach * math.cos(angle), lean[1] + reach * math.sin(angle), height + rise)
        cell.rod((lean[0], lean[1], height - 0.08 * (k % 2)), tip, 0.03, bark)
        for _ in range(2):
            size = r.uniform(0.3, 0.48)
            at = tuple(c + r.uniform(-0.22, 0.22) for c in tip)
            cell.leaves((at[0], at[1], at[2]), (size, size, size * r.uniform(0.7, 0.95)), green, 0.62)
    for _ in range(3):
        at = (lean[0] + r.uniform(-0.3, 0.3), lean[1] + r.uniform(-0.3, 0.3), height + r.uniform(0.9, 1.4))
        cell.leaves(at, (0.46, 0.46, 0.4), green, 0.62)


def _birch(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    """A slender white trunk with light foliage."""
    bark, g = Look("bark", (1.9, 2.1, 2.3), "tree"), r.uniform(1.0, 1.3)
    green = Look("leaf", (1.1 * g, 1.05 * g, 0.75 * g), "tree")
    top = (x + r.uniform(-0.15, 0.15), y + r.uniform(-0.15, 0.15), 3.3)
    cell.rod((x, y, -0.05), top, 0.055, bark)
    for k in range(13):
        z = 1.5 + 0.165 * k
        angle, reach, t = k * 2.4 + r.uniform(-0.4, 0.4), 0.34 - 0.018 * k, z / 3.3
        trunk = (x + (top[0] - x) * t, y + (top[1] - y) * t, z - 0.15)
        at = (trunk[0] + reach * math.cos(angle), trunk[1] + reach * math.sin(angle), z)
        cell.rod(trunk, at, 0.014, bark)
        size = r.uniform(0.28, 0.38) - 0.008 * k
        cell.leaves(at, (size, size, 0.75 * size), green, 0.5)


def _cypresses(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    """Two or three narrow dark trees."""
    look = Look("hedge", (0.85, 0.95, 0.85), "tree")
    for k in range(r.choice((2, 3))):
        u, v, height = x - 0.7 + 0.7 * k, y + r.uniform(-0.15, 0.15), r.uniform(1.9, 2.7)
        cell.rod((u, v, -0.05), (u, v, 0.4), 0.05, Look("bark", (0.9, 0.85, 0.8), "tree"))
        for part in range(3):
            size = 0.27 - 0.055 * part
            cell.leaves((u, v, height * (0.3 + 0.25 * part)), (size, size, height * 0.24), look, 0.5)


def _bush(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    g = r.uniform(0.8, 1.25)
    look = Look(r.choice(("leaf", "leaf", "flowers")), (g, g, g), "plant")
    for _ in range(3):
        size = r.uniform(0.22, 0.36)
        cell.leaves((x + r.uniform(-0.25, 0.25), y + r.uniform(-0.2, 0.2), size * 0.75), (size, size, size), look, 0.5)


def _flower_clump(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    for _ in range(4):
        size = r.uniform(0.12, 0.2)
        cell.leaves(
            (x + r.uniform(-0.3, 0.3), y + r.uniform(-0.25, 0.25), size * 0.7),
            (size, size, size),
            Look("flowers", (1.2, 1.2, 1.2), "plant"),
            0.32,
        )


def _pot(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    tint = r.choice(((0.75, 0.42, 0.3), (0.6, 0.6, 0.56)))
    cell.cylinder(x, y, (0, 0.36), 0.19, Look("paint", tint, "pot"))
    cell.cylinder(x, y, (0.32, 0.4), 0.22, Look("paint", tint, "pot", top="soil"))
    cell.leaves((x, y, 0.62), (0.28, 0.28, 0.27), Look(r.choice(("flowers", "leaf")), (1.1, 1.1, 1.1), "plant"), 0.42)


def _hedge(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    """A clipped hedge with a ragged top."""
    height, half = r.uniform(0.6, 0.95), 1.0
    cell.box((x - half, x + half), (y - 0.26, y + 0.26), (0, height), Look("hedge", (1.1, 1.1, 1.1), "hedge"))
    for k in range(5):
        u = x - half + 0.2 + 0.4 * k
        cell.leaves((u, y, height), (0.3, 0.3, 0.14), Look("hedge", (1.2, 1.2, 1.1), "hedge"), 0.5)


def _flower_bed(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    wood = Look("wood", (0.72, 0.66, 0.6), "pot")
    for v in (-0.42, 0.38):
        cell.box((x - 0.85, x + 0.85), (y + v, y + v + 0.05), (0, 0.3), wood)
    for u in (-0.85, 0.8):
        cell.box((x + u, x + u + 0.05), (y - 0.42, y + 0.43), (0, 0.3), wood)
    cell.box((x - 0.8, x + 0.8), (y - 0.38, y + 0.38), (0, 0.24), Look("soil", (1, 1, 1), "pot"))
    for k in range(6):
        u, v = -0.6 + 0.26 * k, r.uniform(-0.18, 0.18)
        size = r.uniform(0.17, 0.24)
        cell.leaves(
            (x + u, y + v, 0.3 + size * 0.4), (size, size, size), Look("flowers", (1.25, 1.25, 1.2), "plant"), 0.36
        )


def _bench(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    wood = Look("wood", (0.75, 0.66, 0.56), "bench")
    turned = 1 if y < cell.plan.depth / 2 else -1
    for k in range(4):
        v = y + turned * (-0.2 + 0.13 * k)
        cell.box((x - 0.8, x + 0.8), (v - 0.05, v + 0.05), (0.41, 0.45), wood)
    for z in (0.58, 0.74, 0.9):
        v = y - turned * (0.26 + (z - 0.5) * 0.12)
        cell.box((x - 0.8, x + 0.8), (v - 0.015, v + 0.015), (z, z + 0.1), wood)
    for u in (-0.68, 0.68):
        iron = Look("paint", (0.1, 0.1, 0.1), "bench", flags=s.SMALL)
        cell.rod((x + u, y + turned * 0.2, 0.0), (x + u, y + turned * 0.2, 0.42), 0.022, iron)
        cell.rod((x + u, y - turned * 0.22, 0.0), (x + u, y - turned * 0.32, 0.98), 0.022, iron)
        cell.rod((x + u, y - turned * 0.28, 0.62), (x + u, y + turned * 0.22, 0.62), 0.02, iron)
        cell.rod((x + u, y + turned * 0.2, 0.42), (x + u, y + turned * 0.22, 0.62), 0.02, iron)


def _parasol(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    """A round table under a parasol, and stools."""
    white = Look("paint", (0.95, 0.95, 0.92), "table")
    cell.cylinder(x, y, (0.68, 0.72), 0.45, white)
    cell.rod((x, y, 0.0), (x, y, 2.15), 0.022, Look("wood", (0.9, 0.8, 0.7), "parasol"))
    cell.cylinder(x, y, (0.0, 0.08), 0.25, Look("paving", STONE, "parasol"))
    cloth = Look("stripes", r.choice(((0.9, 0.45, 0.35), (0.95, 0.85, 0.55), (0.5, 0.65, 0.7))), "parasol")
    for k in range(4):
        cell.cylinder(x, y, (1.92 + 0.07 * k, 2.0 + 0.07 * k), 1.05 - 0.27 * k, cloth)
    for k in range(3):
        angle = k * 2.1 + r.random()
        u, v = x + 0.72 * math.cos(angle), y + 0.72 * math.sin(angle)
        cell.cylinder(u, v, (0.4, 0.45), 0.19, white)
        cell.rod((u, v, 0.0), (u, v, 0.4), 0.04, white)
        cell.cylinder(u, v, (0.0, 0.03), 0.15, white)


def _fountain(cell: CellBuilder, r: random.Random, x: float, y: float) -> None:
    stone = Look("paving", STONE, "fountain")
    cell.cylinder(x, y, (0.0, 0.34), 0.72, stone)
    cell.cylinder(x, y, (0.34, 0.42), 0.78, stone)
    cell.cylinder(x, y, (0.36, 0.425), 0.64, Look("marble", (0.35, 0.55, 0.62), "fountain", gloss=0.6))
    cell.cylinder(x, y, (0.42, 0.95), 0.09, stone)
    cell.ellipsoid((x, y, 1.02), (0.34, 0.34, 0.1), stone)
    cell.cylinder(x, y, (1.06, 1.125), 0.28, Look("marble", (0.4, 0.6, 0.66), "fountain", gloss=0.6))
    cell.ellipsoid((x, y, 1.2), (0.07, 0.07, 0.12), stone)


def _lamp_post(cell: CellBuilder, r: random.Random, doors: list[tuple[float, float]], middle: float) -> None:
    """A lantern beside the path; one in every yard, so that evenings are lit."""
    y = middle + r.choice((-1, 1)) * (PATH_M + 0.3)
    x = _clear_of(r, cell.plan.width, doors, 0.25) or cell.plan.width / 2
    cell.cylinder(x, y, (0.0, 0.3), 0.09, IRON)
    cell.rod((x, y, 0.2), (x, y, 2.2), 0.035, IRON)
    cell.cylinder(x, y, (2.2, 2.26), 0.13, IRON)
    cell.cylinder(x, y, (2.26, 2.5), 0.1, Look("flat", (1.0, 0.9, 0.7), "lamp", emission=1.0, flags=s.NO_SHADOW))
    cell.cylinder(x, y, (2.5, 2.54), 0.15, IRON)
    cell.ellipsoid((x, y, 2.56), (0.06, 0.06, 0.06), IRON)
    cell.lamps.append(Lamp(x, y, 2.36, 2.2))


def _wall_pots(cell: CellBuilder, r: random.Random, doors: list[tuple[float, float]]) -> None:
    """Pots along a house wall."""
    side = s.SOUTH if r.random() < 0.5 else s.NORTH
    if cell.plan.is_open(side):
        return
    spot = Spot(cell, side, 0.0, 0.0)
    for _ in range(2):
        x = _clear_of(r, cell.plan.width, doors, 0.35)
        if x is not None:
            spot.cylinder(x, 0.38, (0, 0.3), 0.17, Look("paint", (0.7, 0.4, 0.3), "pot", top="soil"))
            spot.leaves(
                x, 0.38, 0.48, (0.24, 0.24, 0.24), Look(r.choice(("flowers", "leaf")), (1.1, 1.1, 1.1), "plant"), 0.36
            )


FEATURES = (_tree, _tree, _birch, _cypresses, _bench, _hedge, _flower_bed, _parasol, _fountain, _bush)
"""One of these stands on each side of a yard's path."""
