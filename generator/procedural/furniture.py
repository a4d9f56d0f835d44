"""Furniture that stands along walls. Every piece knows its size and builds itself in a spot."""

import math
import random

from . import scene as s
from .builder import Look, Spot
from .pieces import BEDDING, BRASS, CLOTHS, DARK, METAL, PAINTS, SHADE, Piece, put_books, put_legs, wood_look
from .props import picture_look, put_shade_rims, vase


def chair(spot: Spot, r: random.Random, u: float, v: float, angle: float) -> None:
    """A chair whose back lies towards -v before it is turned by ``angle``."""
    wood = wood_look(r, "chair")
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
    wood, cover, pattern = wood_look(r, "bed"), r.choice(BEDDING), r.choice(("quilt", "fabric", "quilt"))

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
        put_legs(p, (0.02, w - 0.02), (0.06, 2.0), 0.14, wood, 0.06)

    return Piece("bed", width, 2.06, 0.75, build)


def nightstand(r: random.Random) -> Piece:
    """A nightstand with a lamp and a book."""
    wood = wood_look(r, "cabinet")

    def build(p: Spot) -> None:
        p.box((0, 0.44), (0, 0.38), (0.08, 0.52), wood)
        put_legs(p, (0.01, 0.43), (0.01, 0.37), 0.08, wood)
        for z in (0.11, 0.32):
            p.box((0.02, 0.42), (0.38, 0.392), (z, z + 0.18), wood)
            p.ellipsoid(0.22, 0.4, z + 0.09, (0.018, 0.012, 0.018), Look("paint", BRASS, "cabinet", flags=s.SMALL))
        p.cylinder(0.24, 0.17, (0.52, 0.53), 0.07, Look("paint", BRASS, "lamp", flags=s.SMALL))
        p.cylinder(0.24, 0.17, (0.53, 0.68), 0.015, Look("paint", BRASS, "lamp", flags=s.SMALL))
        p.cylinder(0.24, 0.17, (0.66, 0.84), 0.11, Look("fabric", SHADE, "lamp", emission=0.6, flags=s.NO_SHADOW))
        put_shade_rims(p, 0.24, 0.17, (0.66, 0.84), 0.112)
        p.box((0.03, 0.15), (0.14, 0.32), (0.52, 0.55), Look("books", surface="books", top="flat", flags=s.SMALL))
        p.lamp(0.24, 0.26, 0.95, 0.22)

    return Piece("nightstand", 0.45, 0.42, 0.86, build)


def wardrobe(r: random.Random) -> Piece:
    """A wardrobe with two doors."""
    wood, width = wood_look(r, "cabinet"), r.choice((1.1, 1.5))

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
    wood = wood_look(r, "cabinet")

    def build(p: Spot) -> None:
        p.box((0, 1.0), (0, 0.44), (0.08, 0.84), wood)
        p.box((-0.02, 1.02), (0, 0.47), (0.84, 0.87), wood)
        put_legs(p, (0.02, 0.98), (0.02, 0.43), 0.08, wood)
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


def table(r: random.Random) -> Piece:
    """A table with a bowl, a cup and two chairs."""
    wood = wood_look(r, "table")

    def build(p: Spot) -> None:
        p.box((0, 1.2), (0.04, 0.8), (0.71, 0.75), wood)
        put_legs(p, (0.04, 1.16), (0.08, 0.76), 0.71, wood, 0.06)
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
    wood = wood_look(r, "table")

    def build(p: Spot) -> None:
        p.box((0, 1.3), (0, 0.62), (0.71, 0.745), wood)
        put_legs(p, (0.02, 1.28), (0.03, 0.6), 0.71, Look("paint", (0.12, 0.12, 0.13), "table"))
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
        put_books(p, r, (1.02, 1.27), (0.05, 0.24), 0.745)
        chair(p, r, 0.62, 0.78, math.pi + r.uniform(-0.7, 0.7))

    return Piece("desk", 1.3, 1.05, 1.2, build)


def shelf(r: random.Random) -> Piece:
    """A bookcase."""
    wood = wood_look(r, "shelf")

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
            put_books(p, r, (0.04, end), (0.04, 0.25 + 0.04 * r.random()), z)
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
        put_legs(p, (0.05, w - 0.05), (0.08, 0.8), 0.12, wood_look(r, "sofa"), 0.05)

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
        put_legs(p, (0.08, 0.77), (0.14, 0.74), 0.16, wood_look(r, "sofa"), 0.045)

    return Piece("armchair", 0.85, 0.82, 0.92, build)


def television(r: random.Random) -> Piece:
    """A low cabinet with a television."""
    wood, look = wood_look(r, "cabinet"), picture_look(r)
    show = Look("pictures", (1, 1, 1), "screen", uv=s.UV_STRETCHED, window=look.window, emission=0.5, flags=s.NO_SHADOW)

    def build(p: Spot) -> None:
        p.box((0, 1.5), (0, 0.4), (0.1, 0.45), wood)
        put_legs(p, (0.03, 1.47), (0.03, 0.38), 0.1, wood)
        for u in (0.02, 0.51, 1.0):
            p.box((u, u + 0.48), (0.4, 0.412), (0.13, 0.42), wood)
        p.box((0.2, 1.3), (0.14, 0.17), (0.52, 1.14), DARK)
        p.box((0.215, 1.285), (0.165, 0.175), (0.535, 1.125), show)
        p.box((0.6, 0.9), (0.1, 0.25), (0.45, 0.47), DARK)
        p.cylinder(0.75, 0.15, (0.46, 0.55), 0.03, DARK)
        vase(p, r, 0.1, 0.2, 0.45)

    return Piece("television", 1.5, 0.42, 1.15, build)


def bench(r: random.Random) -> Piece:
    """A hall bench with a cushion and shoes under it."""
    wood = wood_look(r, "bench")

    def build(p: Spot) -> None:
        p.box((0, 1.1), (0, 0.36), (0.4, 0.44), wood)
        p.box((0.05, 0.62), (0.02, 0.34), (0.44, 0.49), Look("kilim", surface="bench"))
        put_legs(p, (0.04, 1.06), (0.03, 0.33), 0.4, wood, 0.05)
        for u in (0.55, 0.68):
            p.ellipsoid(u, 0.2, 0.05, (0.045, 0.13, 0.05), Look("fabric", (0.3, 0.2, 0.15), "bench", flags=s.SMALL))

    return Piece("bench", 1.1, 0.37, 0.5, build)


def console(r: random.Random) -> Piece:
    """A narrow table with books and a vase."""
    wood = wood_look(r, "table")

    def build(p: Spot) -> None:
        p.box((0, 0.95), (0, 0.3), (0.78, 0.81), wood)
        p.box((0.04, 0.91), (0.02, 0.28), (0.2, 0.225), wood)
        put_legs(p, (0.0, 0.95), (0.0, 0.3), 0.78, wood, 0.04)
        put_books(p, r, (0.45, 0.8), (0.05, 0.23), 0.81)
        vase(p, r, 0.2, 0.15, 0.81)
        p.box((0.1, 0.4), (0.04, 0.27), (0.225, 0.4), Look("cardboard", r.choice(CLOTHS), "box"))

    return Piece("console", 0.95, 0.31, 1.05, build)


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
