"""Furniture and props that stand along walls. Every piece knows its size and builds itself in a spot."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from . import scene as s
from .builder import Look, Spot, Tint

DARK = Look("paint", (0.05, 0.05, 0.055), "screen")
METAL: Tint = (0.35, 0.36, 0.38)
BRASS: Tint = (0.85, 0.68, 0.34)
CHROME: Tint = (0.8, 0.82, 0.85)
SHADE: Tint = (1.25, 1.05, 0.78)
WOODS: tuple[Tint, ...] = (
    (1.05, 1.0, 0.95),
    (0.62, 0.5, 0.42),
    (1.4, 1.36, 1.3),
    (1.15, 0.95, 0.78),
    (0.85, 0.8, 0.75),
)
PAINTS: tuple[Tint, ...] = (
    (0.9, 0.9, 0.86),
    (0.42, 0.52, 0.48),
    (0.45, 0.53, 0.66),
    (0.25, 0.3, 0.33),
    (0.8, 0.72, 0.6),
)
CLOTHS: tuple[Tint, ...] = (
    (0.42, 0.52, 0.62),
    (0.75, 0.45, 0.32),
    (0.62, 0.6, 0.54),
    (0.42, 0.52, 0.36),
    (0.62, 0.38, 0.4),
    (0.85, 0.7, 0.45),
)
BEDDING: tuple[Tint, ...] = (
    (0.55, 0.66, 0.85),
    (0.9, 0.62, 0.55),
    (0.95, 0.93, 0.88),
    (0.65, 0.78, 0.62),
    (0.85, 0.78, 0.6),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of furniture.

    Attributes:
        name: What it is.
        width, depth: Along the wall and away from it, metres.
        height: Up to where it hides the wall; windows with a lower sill are avoided.
        build: Puts it where u = 0..width, v = 0..depth.
        lift: Height of its lower edge; what hangs on a wall takes no floor.
    """

    name: str
    width: float
    depth: float
    height: float
    build: Callable[[Spot], None]
    lift: float = 0.0


Recipe = Callable[[random.Random], Piece]


def _wood(r: random.Random, surface: str) -> Look:
    return Look("wood", r.choice(WOODS), surface, gloss=0.12)


def _legs(
    spot: Spot, u: tuple[float, float], v: tuple[float, float], top: float, look: Look, thick: float = 0.045
) -> None:
    upright = Look(look.material, look.tint, look.surface, uv=s.UV_LOCAL, flags=s.SMALL)
    for a in (u[0], u[1] - thick):
        for b in (v[0], v[1] - thick):
            spot.box((a, a + thick), (b, b + thick), (0, top), upright)


def _books(spot: Spot, r: random.Random, u: tuple[float, float], v: tuple[float, float], z: float) -> None:
    window = (r.random(), r.randrange(4) * 0.25 + 0.012, 1.0, 1.0)
    spot.box(
        u,
        v,
        (z, z + r.uniform(0.2, 0.26)),
        Look("books", surface="books", top="flat", uv=s.UV_BOOKS, window=window, flags=s.SMALL),
    )


def chair(spot: Spot, r: random.Random, u: float, v: float, angle: float) -> None:
    """A chair whose back lies towards -v before it is turned by ``angle``."""
    wood = _wood(r, "chair")
    small = Look(wood.material, wood.tint, "chair", flags=s.SMALL, gloss=0.1)
    cushion = Look("fabric", r.choice(CLOTHS), "chair")
    c, n = math.cos(angle), math.sin(angle)

    def at(a: float, b: float) -> tuple[float, float]:
        return u + c * a - n * b, v + n * a + c * b

    def part(a: float, b: float, half: tuple[float, float], z: tuple[float, float], look: Look) -> None:
        spot.turned_box(*at(a, b), z, half, angle, look)

    part(0, 0, (0.2, 0.2), (0.42, 0.45), wood)
    part(0, 0.01, (0.185, 0.18), (0.45, 0.49), cushion)
    part(0, -0.185, (0.18, 0.012), (0.7, 0.9), wood)
    for a in (-0.175, 0.175):
        spot.rod((*at(a * 1.05, 0.18), 0.02), (*at(a, 0.17), 0.42), 0.018, small)
        spot.rod((*at(a * 1.05, -0.2), 0.02), (*at(a, -0.185), 0.92), 0.018, small)


def bed(r: random.Random) -> Piece:
    """A bed with its head against the wall: frame, mattress, quilt, pillows."""
    width = r.choice((0.98, 1.45, 1.65))
    wood, cover, pattern = _wood(r, "bed"), r.choice(BEDDING), r.choice(("quilt", "fabric", "quilt"))

    def build(p: Spot) -> None:
        w, linen = width, Look("fabric", (1.5, 1.5, 1.46), "bed")
        p.box((0, w), (0, 0.05), (0.1, 1.0), wood)
        p.box((0.02, w - 0.02), (0.05, 2.02), (0.14, 0.3), wood)
        p.box((0, w), (2.02, 2.06), (0.06, 0.5), wood)
        p.box((0.03, w - 0.03), (0.06, 2.0), (0.3, 0.47), linen)
        p.box((0.005, w - 0.005), (0.72, 2.015), (0.33, 0.52), Look(pattern, cover, "bed"))
        p.box((0.005, w - 0.005), (0.6, 0.74), (0.34, 0.535), linen)
        for k in range(2 if width > 1.2 else 1):
            middle = w * (0.27 + 0.46 * k) if width > 1.2 else w / 2
            p.ellipsoid(middle, 0.33, 0.52, (min(0.34, w * 0.36), 0.2, 0.1), Look("fabric", (1.6, 1.58, 1.5), "bed"))
        p.rod((w * 0.3, 1.5, 0.53), (w * 0.75, 1.62, 0.53), 0.05, Look("knit", r.choice(CLOTHS), "bed"))
        _legs(p, (0.02, w - 0.02), (0.06, 2.0), 0.14, wood, 0.06)

    return Piece("bed", width, 2.06, 0.75, build)


def _shade_rims(p: Spot, u: float, v: float, z: tuple[float, float], radius: float) -> None:
    """Bands that show a lamp's shade before a wall of its own colour."""
    look = Look("paint", BRASS, "lamp", flags=s.NO_SHADOW | s.SMALL, window=(0.0, 0.0, 1.0, 1.0))
    for height in z:
        p.cylinder(u, v, (height - 0.006, height + 0.006), radius, look)


def nightstand(r: random.Random) -> Piece:
    """A nightstand with a lamp and a book."""
    wood = _wood(r, "cabinet")

    def build(p: Spot) -> None:
        p.box((0, 0.44), (0, 0.38), (0.08, 0.52), wood)
        _legs(p, (0.01, 0.43), (0.01, 0.37), 0.08, wood)
        for z in (0.11, 0.32):
            p.box((0.02, 0.42), (0.38, 0.392), (z, z + 0.18), wood)
            p.ellipsoid(0.22, 0.4, z + 0.09, (0.018, 0.012, 0.018), Look("paint", BRASS, "cabinet", flags=s.SMALL))
        p.cylinder(0.24, 0.17, (0.52, 0.53), 0.07, Look("paint", BRASS, "lamp", flags=s.SMALL))
        p.cylinder(0.24, 0.17, (0.53, 0.68), 0.015, Look("paint", BRASS, "lamp", flags=s.SMALL))
        p.cylinder(0.24, 0.17, (0.66, 0.84), 0.11, Look("fabric", SHADE, "lamp", emission=0.6, flags=s.NO_SHADOW))
        _shade_rims(p, 0.24, 0.17, (0.66, 0.84), 0.112)
        p.box((0.03, 0.15), (0.14, 0.32), (0.52, 0.55), Look("books", surface="books", top="flat", flags=s.SMALL))
        p.lamp(0.24, 0.26, 0.95, 0.22)

    return Piece("nightstand", 0.45, 0.42, 0.86, build)


def wardrobe(r: random.Random) -> Piece:
    """A wardrobe with two doors."""
    wood, width = _wood(r, "cabinet"), r.choice((1.1, 1.5))

    def build(p: Spot) -> None:
        w, half = width, width / 2
        p.box((0, w), (0, 0.55), (0.08, 2.02), wood)
        p.box((0.03, w - 0.03), (0.02, 0.5), (0, 0.08), DARK)
        p.box((-0.02, w + 0.02), (0, 0.6), (2.02, 2.07), wood)
        for k in range(2):
            u = k * half
            p.box((u + 0.012, u + half - 0.012), (0.55, 0.57), (0.12, 1.98), wood)
            p.box((u + 0.1, u + half - 0.1), (0.57, 0.578), (1.15, 1.85), wood)
            p.box((u + 0.1, u + half - 0.1), (0.57, 0.578), (0.25, 1.0), wood)
            x = half - 0.05 + 0.1 * k
            p.rod((x, 0.59, 0.98), (x, 0.59, 1.14), 0.01, Look("paint", BRASS, "cabinet", flags=s.SMALL))

    return Piece("wardrobe", width, 0.6, 2.07, build)


def dresser(r: random.Random) -> Piece:
    """A chest of drawers with a few things on it."""
    wood = _wood(r, "cabinet")

    def build(p: Spot) -> None:
        p.box((0, 1.0), (0, 0.44), (0.08, 0.84), wood)
        p.box((-0.02, 1.02), (0, 0.47), (0.84, 0.87), wood)
        _legs(p, (0.02, 0.98), (0.02, 0.43), 0.08, wood)
        for row in range(3):
            for k in range(2):
                u, z = 0.015 + 0.49 * k, 0.12 + 0.24 * row
                p.box((u, u + 0.475), (0.44, 0.455), (z, z + 0.21), wood)
                p.ellipsoid(
                    u + 0.24, 0.465, z + 0.11, (0.022, 0.014, 0.016), Look("paint", BRASS, "cabinet", flags=s.SMALL)
                )
        vase(p, r, 0.25, 0.2, 0.87)
        p.box((0.6, 0.8), (0.08, 0.1), (0.87, 1.12), picture_look(r))

    return Piece("dresser", 1.02, 0.47, 1.2, build)


def vase(p: Spot, r: random.Random, u: float, v: float, z: float) -> None:
    """A vase with a bunch of leaves or flowers."""
    tint = r.choice(((0.85, 0.85, 0.8), (0.3, 0.42, 0.5), (0.75, 0.42, 0.3)))
    p.ellipsoid(u, v, z + 0.07, (0.055, 0.055, 0.08), Look("paint", tint, "pot", gloss=0.25, flags=s.SMALL))
    p.cylinder(u, v, (z + 0.12, z + 0.17), 0.028, Look("paint", tint, "pot", flags=s.SMALL))
    p.leaves(u, v, z + 0.27, (0.13, 0.13, 0.13), Look(r.choice(("flowers", "leaf")), (1.2, 1.2, 1.2), "plant"), 0.22)


def picture_look(r: random.Random) -> Look:
    """One of the sixteen pictures."""
    k = r.randrange(16)
    window = ((k % 4) / 4 + 0.004, (k // 4) / 4 + 0.004, 0.242, 0.242)
    return Look("pictures", surface="picture", uv=s.UV_STRETCHED, window=window)


def picture(r: random.Random) -> Piece:
    """A framed picture."""
    width, height, z = r.uniform(0.4, 0.85), r.uniform(0.45, 0.75), r.uniform(1.2, 1.4)
    frame, look = Look("wood", r.choice(WOODS), "picture"), picture_look(r)

    def build(p: Spot) -> None:
        p.box((0, width), (0, 0.025), (z, z + height), frame)
        p.box((0.025, width - 0.025), (0.015, 0.03), (z + 0.025, z + height - 0.025), look)

    return Piece("picture", width, 0.03, z + height, build, lift=z)


def mirror_clock(r: random.Random) -> Piece:
    """A round wall clock."""
    hour, minute = r.uniform(0, 6.28), r.uniform(0, 6.28)

    def build(p: Spot) -> None:
        p.ellipsoid(0.19, 0.0, 1.75, (0.19, 0.045, 0.19), Look("wood", (0.5, 0.4, 0.34), "clock"))
        p.ellipsoid(0.19, 0.012, 1.75, (0.165, 0.045, 0.165), Look("paint", (1.1, 1.1, 1.05), "clock"))
        hand = Look("flat", (0.03, 0.03, 0.03), "clock", flags=s.SMALL | s.NO_SHADOW)
        for angle, length in ((hour, 0.08), (minute, 0.13)):
            p.rod(
                (0.19, 0.06, 1.75),
                (0.19 + length * math.sin(angle), 0.06, 1.75 + length * math.cos(angle)),
                0.006,
                hand,
            )

    return Piece("clock", 0.38, 0.06, 1.94, build, lift=1.5)


def radiator(r: random.Random) -> Piece:
    """A ribbed radiator, low enough for any window."""

    def build(p: Spot) -> None:
        white = Look("paint", (1.15, 1.15, 1.1), "radiator", flags=s.SMALL)
        for k in range(9):
            p.box((k * 0.1, k * 0.1 + 0.07), (0.03, 0.12), (0.12, 0.66), white)
        p.box((0, 0.87), (0.055, 0.095), (0.16, 0.62), Look("paint", (1.0, 1.0, 0.96), "radiator"))
        p.rod((0.03, 0.08, 0.0), (0.03, 0.08, 0.2), 0.012, Look("paint", (1.1, 1.1, 1.05), "radiator", flags=s.SMALL))

    return Piece("radiator", 0.88, 0.13, 0.7, build)


def plant(r: random.Random) -> Piece:
    """A plant in a pot, one of three habits."""
    habit, tint = r.randrange(3), r.choice(((0.75, 0.42, 0.3), (0.9, 0.9, 0.86), (0.3, 0.34, 0.4)))
    g = r.uniform(0.85, 1.25)
    green = Look("leaf", (g, g, g), "plant")

    def build(p: Spot) -> None:
        p.cylinder(0.26, 0.26, (0.0, 0.28), 0.14, Look("paint", tint, "pot"))
        p.cylinder(0.26, 0.26, (0.24, 0.3), 0.16, Look("paint", tint, "pot", top="soil"))
        stem = Look("bark", (0.8, 0.9, 0.6), "plant", flags=s.SMALL)
        if habit == 0:
            p.rod((0.26, 0.26, 0.28), (0.28, 0.27, 0.8), 0.018, stem)
            p.leaves(0.28, 0.28, 0.95, (0.26, 0.26, 0.26), green, 0.42)
        elif habit == 1:
            for k in range(7):
                angle = k * 0.9 + r.random() * 0.4
                top = (0.26 + 0.15 * math.cos(angle), 0.28 + 0.13 * math.sin(angle), 0.62 + 0.09 * (k % 4))
                p.rod((0.26, 0.26, 0.28), top, 0.008, stem)
                p.leaves(*top, (0.12, 0.12, 0.1), green, 0.2)
        else:
            p.rod((0.26, 0.26, 0.28), (0.24, 0.28, 1.25), 0.022, stem)
            for k in range(5):
                angle = k * 2.4
                p.leaves(
                    0.25 + 0.1 * math.cos(angle),
                    0.28 + 0.08 * math.sin(angle),
                    0.62 + 0.2 * k,
                    (0.2 - 0.012 * k, 0.19, 0.15),
                    green,
                    0.3,
                )

    return Piece("plant", 0.52, 0.52, 1.3, build)


def table(r: random.Random) -> Piece:
    """A table with a bowl, a cup and two chairs."""
    wood = _wood(r, "table")

    def build(p: Spot) -> None:
        p.box((0, 1.2), (0.04, 0.8), (0.71, 0.75), wood)
        _legs(p, (0.04, 1.16), (0.08, 0.76), 0.71, wood, 0.06)
        p.ellipsoid(0.55, 0.4, 0.79, (0.14, 0.14, 0.05), Look("paint", (0.4, 0.55, 0.6), "pot", gloss=0.2))
        for k in range(3):
            angle = k * 2.1
            p.ellipsoid(
                0.55 + 0.06 * math.cos(angle),
                0.4 + 0.06 * math.sin(angle),
                0.84,
                (0.04, 0.04, 0.04),
                Look("paint", (0.85, 0.42, 0.16), "pot", flags=s.SMALL),
            )
        p.cylinder(0.95, 0.3, (0.75, 0.84), 0.04, Look("paint", (0.8, 0.45, 0.38), "pot", flags=s.SMALL))
        chair(p, r, 0.32, 0.98, math.pi + r.uniform(-0.4, 0.4))
        chair(p, r, 0.9, 0.98, math.pi + r.uniform(-0.4, 0.4))

    return Piece("table", 1.2, 1.2, 0.78, build)


def desk(r: random.Random) -> Piece:
    """A desk with a computer, a lamp, books and a chair."""
    wood = _wood(r, "table")

    def build(p: Spot) -> None:
        p.box((0, 1.3), (0, 0.62), (0.71, 0.745), wood)
        _legs(p, (0.02, 1.28), (0.03, 0.6), 0.71, Look("paint", (0.12, 0.12, 0.13), "table"))
        p.box((0.9, 1.27), (0.05, 0.56), (0.3, 0.7), wood)
        p.box((0.36, 0.92), (0.13, 0.155), (0.86, 1.2), DARK)
        p.box(
            (0.375, 0.905),
            (0.15, 0.16),
            (0.875, 1.185),
            Look("screen", surface="screen", uv=s.UV_STRETCHED, emission=0.55, flags=s.NO_SHADOW),
        )
        p.cylinder(0.64, 0.15, (0.745, 0.87), 0.02, Look("paint", METAL, "screen", flags=s.SMALL))
        p.cylinder(0.64, 0.16, (0.745, 0.76), 0.1, Look("paint", METAL, "screen", flags=s.SMALL))
        p.box((0.42, 0.84), (0.34, 0.47), (0.745, 0.762), Look("knit", (0.25, 0.25, 0.27), "screen"))
        p.rod((0.16, 0.14, 0.75), (0.2, 0.14, 1.08), 0.01, Look("paint", METAL, "lamp", flags=s.SMALL))
        p.rod((0.2, 0.14, 1.08), (0.32, 0.24, 1.18), 0.01, Look("paint", METAL, "lamp", flags=s.SMALL))
        p.ellipsoid(0.33, 0.25, 1.15, (0.075, 0.075, 0.055), Look("paint", (0.75, 0.25, 0.2), "lamp"))
        _books(p, r, (1.02, 1.27), (0.05, 0.24), 0.745)
        chair(p, r, 0.62, 0.78, math.pi + r.uniform(-0.7, 0.7))

    return Piece("desk", 1.3, 1.05, 1.2, build)


def shelf(r: random.Random) -> Piece:
    """A bookcase."""
    wood = _wood(r, "shelf")

    def build(p: Spot) -> None:
        upright = Look(wood.material, wood.tint, "shelf", uv=s.UV_LOCAL)
        for u in (0.0, 0.97):
            p.box((u, u + 0.03), (0, 0.32), (0, 2.0), upright)
        p.box((0.03, 0.97), (0, 0.02), (0, 2.0), wood)
        for k in range(7):
            z = 0.06 + k * 0.32
            p.box((0.03, 0.97), (0.02, 0.32), (z - 0.03, z), wood)
            if k == 6:
                break
            end = r.uniform(0.4, 0.93)
            _books(p, r, (0.04, end), (0.04, 0.25 + 0.04 * r.random()), z)
            if end < 0.66:
                _shelf_thing(p, r, (end + 0.95) / 2, z)

    return Piece("shelf", 1.0, 0.33, 2.0, build)


def _shelf_thing(p: Spot, r: random.Random, u: float, z: float) -> None:
    way = r.randrange(4)
    if way == 0:
        p.leaves(u, 0.18, z + 0.16, (0.12, 0.12, 0.1), Look("leaf", surface="plant"), 0.2)
        p.cylinder(u, 0.18, (z, z + 0.09), 0.06, Look("paint", (0.8, 0.5, 0.4), "pot", flags=s.SMALL))
    elif way == 1:
        p.box(
            (u - 0.12, u + 0.12),
            (0.06, 0.28),
            (z, z + r.uniform(0.12, 0.2)),
            Look("cardboard", r.choice(CLOTHS), "box"),
        )
    elif way == 2:
        p.ellipsoid(u, 0.18, z + 0.09, (0.08, 0.08, 0.09), Look("paint", r.choice(PAINTS), "pot", gloss=0.25))
    else:
        p.box((u - 0.09, u + 0.09), (0.1, 0.12), (z, z + 0.22), picture_look(r))


def sofa(r: random.Random) -> Piece:
    """A sofa for two or three, with cushions."""
    width, cloth = r.choice((1.7, 2.1)), Look("fabric", r.choice(CLOTHS), "sofa")

    def build(p: Spot) -> None:
        w, n = width, 2 if width < 2 else 3
        p.box((0.1, w - 0.1), (0.02, 0.24), (0.12, 0.8), cloth)
        p.rod((0.12, 0.14, 0.79), (w - 0.12, 0.14, 0.79), 0.1, cloth)
        p.box((0.1, w - 0.1), (0.2, 0.82), (0.12, 0.3), cloth)
        for u in (0.1, w - 0.1):
            p.box((u - 0.1, u + 0.1), (0.05, 0.84), (0.12, 0.54), cloth)
            p.rod((u, 0.1, 0.55), (u, 0.8, 0.55), 0.1, cloth)
        seat = (w - 0.42) / n
        for k in range(n):
            u = 0.21 + k * seat
            p.box((u + 0.008, u + seat - 0.008), (0.25, 0.86), (0.3, 0.45), cloth)
            p.ellipsoid(u + seat / 2, 0.3, 0.66, (seat * 0.46, 0.11, 0.2), cloth)
        p.ellipsoid(0.42, 0.46, 0.58, (0.2, 0.1, 0.17), Look("kilim", (1.0, 1.0, 1.0), "sofa"))
        _legs(p, (0.05, w - 0.05), (0.08, 0.8), 0.12, _wood(r, "sofa"), 0.05)

    return Piece("sofa", width, 0.88, 0.9, build)


def armchair(r: random.Random) -> Piece:
    """An armchair."""
    cloth = Look("fabric", r.choice(CLOTHS), "sofa")

    def build(p: Spot) -> None:
        p.box((0.12, 0.73), (0.08, 0.26), (0.16, 0.82), cloth)
        p.rod((0.15, 0.18, 0.82), (0.7, 0.18, 0.82), 0.1, cloth)
        p.box((0.1, 0.75), (0.15, 0.76), (0.16, 0.32), cloth)
        p.box((0.17, 0.68), (0.24, 0.78), (0.32, 0.46), cloth)
        for u in (0.1, 0.75):
            p.rod((u, 0.16, 0.56), (u, 0.72, 0.54), 0.075, cloth)
            p.box((u - 0.06, u + 0.06), (0.14, 0.74), (0.18, 0.54), cloth)
        _legs(p, (0.08, 0.77), (0.14, 0.74), 0.16, _wood(r, "sofa"), 0.045)

    return Piece("armchair", 0.85, 0.82, 0.92, build)


def television(r: random.Random) -> Piece:
    """A low cabinet with a television."""
    wood, look = _wood(r, "cabinet"), picture_look(r)
    show = Look("pictures", (1, 1, 1), "screen", uv=s.UV_STRETCHED, window=look.window, emission=0.5, flags=s.NO_SHADOW)

    def build(p: Spot) -> None:
        p.box((0, 1.5), (0, 0.4), (0.1, 0.45), wood)
        _legs(p, (0.03, 1.47), (0.03, 0.38), 0.1, wood)
        for u in (0.02, 0.51, 1.0):
            p.box((u, u + 0.48), (0.4, 0.412), (0.13, 0.42), wood)
        p.box((0.2, 1.3), (0.14, 0.17), (0.52, 1.14), DARK)
        p.box((0.215, 1.285), (0.165, 0.175), (0.535, 1.125), show)
        p.box((0.6, 0.9), (0.1, 0.25), (0.45, 0.47), DARK)
        p.cylinder(0.75, 0.15, (0.46, 0.55), 0.03, DARK)
        vase(p, r, 0.1, 0.2, 0.45)

    return Piece("television", 1.5, 0.42, 1.15, build)


def counter(r: random.Random) -> Piece:
    """A kitchen counter with a sink or hob, and wall cupboards where no window is."""
    front, has_sink = r.choice(PAINTS), r.random() < 0.5

    def build(p: Spot) -> None:
        body = Look("paint", front, "cabinet")
        p.box((0, 1.2), (0, 0.56), (0.1, 0.86), body)
        p.box((0.0, 1.2), (0.02, 0.5), (0, 0.1), DARK)
        p.box((-0.005, 1.205), (0, 0.6), (0.86, 0.9), Look("marble", (0.9, 0.88, 0.86), "cabinet", gloss=0.3))
        for k in range(3):
            u = 0.4 * k
            p.box((u + 0.008, u + 0.392), (0.56, 0.578), (0.12, 0.66), body)
            p.box((u + 0.008, u + 0.392), (0.56, 0.578), (0.68, 0.84), body)
            p.rod(
                (u + 0.14, 0.595, 0.62), (u + 0.26, 0.595, 0.62), 0.008, Look("paint", CHROME, "cabinet", flags=s.SMALL)
            )
            p.rod(
                (u + 0.14, 0.595, 0.77), (u + 0.26, 0.595, 0.77), 0.008, Look("paint", CHROME, "cabinet", flags=s.SMALL)
            )
        if has_sink:
            p.box((0.2, 0.75), (0.1, 0.5), (0.898, 0.906), Look("paint", CHROME, "appliance", gloss=0.3))
            p.box((0.24, 0.71), (0.14, 0.46), (0.9, 0.907), Look("paint", (0.3, 0.31, 0.32), "appliance"))
            p.rod((0.48, 0.07, 0.9), (0.48, 0.07, 1.15), 0.014, Look("paint", CHROME, "appliance", flags=s.SMALL))
            p.rod((0.48, 0.07, 1.15), (0.48, 0.24, 1.12), 0.012, Look("paint", CHROME, "appliance", flags=s.SMALL))
        else:
            p.box((0.1, 0.68), (0.07, 0.53), (0.898, 0.906), Look("paint", (0.05, 0.05, 0.055), "appliance", gloss=0.4))
            p.cylinder(0.26, 0.2, (0.906, 1.03), 0.1, Look("paint", (0.55, 0.2, 0.16), "appliance"))
            p.rod((0.36, 0.2, 1.0), (0.5, 0.24, 1.0), 0.012, DARK)
        p.box((0.84, 1.12), (0.1, 0.36), (0.9, 1.12), Look("paint", (0.3, 0.32, 0.34), "appliance"))
        p.cylinder(0.78, 0.16, (0.9, 1.06), 0.045, Look("wood", (0.9, 0.7, 0.5), "pot", flags=s.SMALL))

    return Piece("counter", 1.2, 0.62, 0.98, build)


def cupboards(r: random.Random) -> Piece:
    """Wall cupboards over a shelf of mugs."""
    front = r.choice(PAINTS)

    def build(p: Spot) -> None:
        for k in range(3):
            u = 0.4 * k
            p.box((u, u + 0.4), (0, 0.32), (1.55, 2.2), Look("paint", front, "cabinet"))
            p.box((u + 0.008, u + 0.392), (0.32, 0.338), (1.56, 2.19), Look("paint", front, "cabinet"))
            p.ellipsoid(u + 0.34, 0.345, 1.65, (0.014, 0.012, 0.014), Look("paint", CHROME, "cabinet", flags=s.SMALL))

    return Piece("cupboards", 1.2, 0.35, 2.2, build, lift=1.5)


def fridge(r: random.Random) -> Piece:
    """A fridge with notes on its door."""
    tint = r.choice(((1.15, 1.15, 1.12), (0.55, 0.68, 0.66), (0.8, 0.78, 0.74)))

    def build(p: Spot) -> None:
        body = Look("paint", tint, "appliance", gloss=0.2)
        p.box((0, 0.66), (0, 0.6), (0.03, 1.84), body)
        p.box((0.005, 0.655), (0.6, 0.64), (0.06, 0.66), body)
        p.box((0.005, 0.655), (0.6, 0.64), (0.69, 1.83), body)
        p.rod((0.58, 0.67, 0.85), (0.58, 0.67, 1.25), 0.012, Look("paint", CHROME, "appliance", flags=s.SMALL))
        p.rod((0.58, 0.67, 0.4), (0.58, 0.67, 0.6), 0.012, Look("paint", CHROME, "appliance", flags=s.SMALL))
        for _ in range(3):
            u, z = r.uniform(0.08, 0.35), r.uniform(1.0, 1.6)
            p.box((u, u + 0.13), (0.638, 0.644), (z, z + 0.17), picture_look(r))

    return Piece("fridge", 0.66, 0.68, 1.84, build)


def floor_lamp(r: random.Random) -> Piece:
    """A standing lamp."""

    def build(p: Spot) -> None:
        dark = Look("paint", (0.12, 0.12, 0.13), "lamp", flags=s.SMALL)
        p.cylinder(0.2, 0.22, (0, 0.03), 0.14, dark)
        p.rod((0.2, 0.22, 0.02), (0.2, 0.22, 1.45), 0.012, dark)
        p.cylinder(0.2, 0.22, (1.38, 1.66), 0.18, Look("fabric", SHADE, "lamp", emission=0.75, flags=s.NO_SHADOW))
        _shade_rims(p, 0.2, 0.22, (1.38, 1.66), 0.183)
        p.lamp(0.2, 0.24, 1.52, 0.55)

    return Piece("floor lamp", 0.4, 0.42, 1.7, build)


def waste_bin(r: random.Random) -> Piece:
    """A waste-paper basket."""
    tint = r.choice(((0.3, 0.42, 0.52), (0.55, 0.25, 0.2), (0.25, 0.25, 0.26)))

    def build(p: Spot) -> None:
        p.cylinder(0.16, 0.17, (0, 0.35), 0.13, Look("knit", tint, "bin", top="soil"))
        p.cylinder(0.16, 0.17, (0.33, 0.36), 0.14, Look("paint", tint, "bin", top="soil", flags=s.SMALL))
        p.ellipsoid(0.14, 0.18, 0.37, (0.05, 0.05, 0.04), Look("paint", (1.1, 1.1, 1.05), "bin", flags=s.SMALL))

    return Piece("bin", 0.32, 0.33, 0.4, build)


def boxes(r: random.Random) -> Piece:
    """Cardboard boxes on top of each other."""

    def build(p: Spot) -> None:
        z = 0.0
        for _ in range(r.randint(2, 4)):
            half, height = r.uniform(0.17, 0.25), r.uniform(0.2, 0.36)
            look = Look("cardboard", surface="box", uv=s.UV_STRETCHED)
            p.turned_box(
                0.35 + r.uniform(-0.03, 0.03), 0.36, (z, z + height), (half, half * 0.85), r.uniform(-0.4, 0.4), look
            )
            z += height

    return Piece("boxes", 0.7, 0.7, 1.3, build)


def bench(r: random.Random) -> Piece:
    """A hall bench with a cushion and shoes under it."""
    wood = _wood(r, "bench")

    def build(p: Spot) -> None:
        p.box((0, 1.1), (0, 0.36), (0.4, 0.44), wood)
        p.box((0.05, 0.62), (0.02, 0.34), (0.44, 0.49), Look("kilim", surface="bench"))
        _legs(p, (0.04, 1.06), (0.03, 0.33), 0.4, wood, 0.05)
        for u in (0.55, 0.68):
            p.ellipsoid(u, 0.2, 0.05, (0.045, 0.13, 0.05), Look("fabric", (0.3, 0.2, 0.15), "bench", flags=s.SMALL))

    return Piece("bench", 1.1, 0.37, 0.5, build)


def console(r: random.Random) -> Piece:
    """A narrow table with books and a vase."""
    wood = _wood(r, "table")

    def build(p: Spot) -> None:
        p.box((0, 0.95), (0, 0.3), (0.78, 0.81), wood)
        p.box((0.04, 0.91), (0.02, 0.28), (0.2, 0.225), wood)
        _legs(p, (0.0, 0.95), (0.0, 0.3), 0.78, wood, 0.04)
        _books(p, r, (0.45, 0.8), (0.05, 0.23), 0.81)
        vase(p, r, 0.2, 0.15, 0.81)
        p.box((0.1, 0.4), (0.04, 0.27), (0.225, 0.4), Look("cardboard", r.choice(CLOTHS), "box"))

    return Piece("console", 0.95, 0.31, 1.05, build)


def bathtub(r: random.Random) -> Piece:
    """A bathtub: a rim round a shallow hollow."""
    white = Look("paint", (1.25, 1.25, 1.22), "bath", gloss=0.35)

    def build(p: Spot) -> None:
        p.box((0, 1.6), (0, 0.72), (0, 0.3), white)
        for u in ((0.0, 0.09), (1.51, 1.6)):
            p.box(u, (0, 0.72), (0.3, 0.58), white)
        for v in ((0.0, 0.08), (0.64, 0.72)):
            p.box((0.09, 1.51), v, (0.3, 0.58), white)
        p.box((0.09, 1.51), (0.08, 0.64), (0.3, 0.42), Look("marble", (0.62, 0.85, 0.92), "bath", gloss=0.5))
        p.rod((0.1, 0.36, 0.58), (0.1, 0.36, 0.72), 0.016, Look("paint", CHROME, "bath", flags=s.SMALL))
        p.rod((0.1, 0.36, 0.72), (0.24, 0.36, 0.7), 0.014, Look("paint", CHROME, "bath", flags=s.SMALL))
        p.rod((1.3, 0.66, 0.57), (1.3, 0.74, 0.32), 0.03, Look("knit", r.choice(BEDDING), "bath"))

    return Piece("bathtub", 1.6, 0.75, 0.74, build)


def washbasin(r: random.Random) -> Piece:
    """A washbasin on a cabinet under a picture-framed mirror."""
    front = r.choice(PAINTS)

    def build(p: Spot) -> None:
        p.box((0.05, 0.65), (0, 0.4), (0.25, 0.78), Look("paint", front, "cabinet"))
        p.box((0, 0.7), (0, 0.46), (0.78, 0.86), Look("paint", (1.25, 1.25, 1.22), "bath", gloss=0.35))
        p.ellipsoid(0.35, 0.25, 0.865, (0.22, 0.15, 0.012), Look("paint", (0.75, 0.78, 0.8), "bath"))
        p.rod((0.35, 0.06, 0.86), (0.35, 0.06, 1.0), 0.014, Look("paint", CHROME, "bath", flags=s.SMALL))
        p.rod((0.35, 0.06, 1.0), (0.35, 0.18, 0.98), 0.012, Look("paint", CHROME, "bath", flags=s.SMALL))
        p.box((0.08, 0.62), (0, 0.02), (1.15, 1.85), Look("wood", (1.2, 1.1, 0.9), "picture"))
        p.box((0.11, 0.59), (0.01, 0.025), (1.18, 1.82), Look("marble", (0.75, 0.82, 0.86), "picture", gloss=0.6))
        p.cylinder(0.58, 0.12, (0.86, 0.97), 0.03, Look("paint", (0.4, 0.55, 0.5), "bath", flags=s.SMALL))

    return Piece("washbasin", 0.7, 0.47, 1.9, build)


def toilet(r: random.Random) -> Piece:
    """A toilet."""

    def build(p: Spot) -> None:
        white = Look("paint", (1.25, 1.25, 1.22), "toilet", gloss=0.35)
        p.box((0.04, 0.44), (0, 0.18), (0.4, 0.8), white)
        p.box((0.02, 0.46), (0, 0.2), (0.8, 0.83), white)
        p.cylinder(0.24, 0.34, (0, 0.38), 0.12, white)
        p.ellipsoid(0.24, 0.42, 0.34, (0.19, 0.25, 0.1), white)
        p.ellipsoid(0.24, 0.42, 0.42, (0.2, 0.26, 0.035), Look("wood", (1.1, 1.0, 0.9), "toilet"))
        p.rod((0.2, 0.09, 0.85), (0.28, 0.09, 0.85), 0.05, Look("paint", (1.2, 1.2, 1.15), "toilet"))

    return Piece("toilet", 0.48, 0.7, 0.85, build)


def piano(r: random.Random) -> Piece:
    """An upright piano with a stool."""
    wood = Look("wood", r.choice(((0.28, 0.2, 0.17), (0.6, 0.42, 0.32))), "piano", gloss=0.35)

    def build(p: Spot) -> None:
        p.box((0, 1.45), (0, 0.36), (0, 1.2), wood)
        p.box((-0.02, 1.47), (0, 0.4), (1.2, 1.23), wood)
        p.box((0, 1.45), (0.36, 0.64), (0.6, 0.68), wood)
        p.box((0.06, 1.39), (0.4, 0.63), (0.68, 0.7), Look("paint", (1.3, 1.28, 1.2), "piano"))
        for k in range(24):
            if k % 7 not in (2, 6):
                u = 0.1 + k * 0.0535
                p.box((u, u + 0.028), (0.4, 0.53), (0.7, 0.712), DARK)
        p.box(
            (0.4, 1.05),
            (0.33, 0.365),
            (0.8, 1.1),
            Look("books", surface="books", uv=s.UV_STRETCHED, window=(0.1, 0.3, 0.3, 0.2)),
        )
        for u in (0.04, 1.37):
            p.box((u, u + 0.05), (0.55, 0.62), (0, 0.6), wood)
        p.cylinder(0.72, 0.95, (0.46, 0.52), 0.18, Look("fabric", (0.5, 0.2, 0.2), "chair"))
        p.cylinder(0.72, 0.95, (0, 0.46), 0.03, wood)
        p.cylinder(0.72, 0.95, (0, 0.03), 0.15, wood)

    return Piece("piano", 1.45, 1.15, 1.25, build)


def coat_rack(r: random.Random) -> Piece:
    """Coats on hooks over the wall."""

    def build(p: Spot) -> None:
        p.box((0, 1.0), (0, 0.025), (1.62, 1.72), _wood(r, "cabinet"))
        for k in range(4):
            u = 0.14 + 0.24 * k
            p.rod((u, 0.03, 1.66), (u, 0.09, 1.68), 0.01, Look("paint", BRASS, "cabinet", flags=s.SMALL))
            if r.random() < 0.7:
                p.ellipsoid(
                    u, 0.1, 1.25, (0.13, 0.075, 0.42), Look(r.choice(("fabric", "knit")), r.choice(CLOTHS), "curtain")
                )

    return Piece("coats", 1.0, 0.2, 1.75, build, lift=0.85)


def stove(r: random.Random) -> Piece:
    """An iron stove with its pipe and a stack of logs."""

    def build(p: Spot) -> None:
        iron = Look("paint", (0.09, 0.09, 0.1), "appliance", gloss=0.15)
        p.box((0.1, 0.6), (0.1, 0.52), (0.15, 0.95), iron)
        _legs(p, (0.12, 0.58), (0.12, 0.5), 0.15, iron)
        p.box(
            (0.17, 0.53),
            (0.52, 0.535),
            (0.45, 0.82),
            Look("screen", (2.4, 0.8, 0.2), "appliance", emission=0.35, flags=s.NO_SHADOW),
        )
        p.cylinder(0.35, 0.25, (0.95, 2.7), 0.065, iron)
        bark = Look("bark", (1.2, 1.1, 1.0), "box")
        for k in range(6):
            u = 0.74 + 0.11 * (k % 3) + (0.05 if k > 2 else 0)
            p.rod((u, 0.12, 0.06 + 0.1 * (k // 3)), (u, 0.45, 0.06 + 0.1 * (k // 3)), 0.05, bark)

    return Piece("stove", 1.1, 0.56, 2.6, build)
