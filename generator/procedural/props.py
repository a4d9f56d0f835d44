"""Small things and what hangs on walls: pictures, clocks, plants, lamps, boxes, radiators."""

import math
import random

from . import scene as s
from .builder import Look, Spot
from .pieces import BRASS, CLOTHS, SHADE, WOODS, Piece, wood_look


def put_shade_rims(p: Spot, u: float, v: float, z: tuple[float, float], radius: float) -> None:
    """Bands that show a lamp's shade before a wall of its own colour."""
    look = Look("paint", BRASS, "lamp", flags=s.NO_SHADOW | s.SMALL, window=(0.0, 0.0, 1.0, 1.0))
    for height in z:
        p.cylinder(u, v, (height - 0.006, height + 0.006), radius, look)


def vase(p: Spot, r: random.Random, u: float, v: float, z: float) -> None:
    """A vase with a bunch of leaves or flowers."""
    tint = r.choice(((0.85, 0.85, 0.8), (0.3, 0.42, 0.5), (0.75, 0.42, 0.3)))
    p.ellipsoid(u, v, z + 0.07, (0.055, 0.055, 0.08), Look("paint", tint, "pot", gloss=0.25, flags=s.SMALL))
    p.cylinder(u, v, (z + 0.12, z + 0.17), 0.028, Look("paint", tint, "pot", flags=s.SMALL))
    p.leaves(u, v, z + 0.27, (0.13, 0.13, 0.13), Look(r.choice(("flowers", "leaf")), (1.2, 1.2, 1.2), "plant"), 0.22)


def picture_look(r: random.Random) -> Look:
    """One of the thirty-two pictures."""
    k, material = r.randrange(16), r.choice(("pictures", "paintings"))
    window = ((k % 4) / 4 + 0.004, (k // 4) / 4 + 0.004, 0.242, 0.242)
    return Look(material, surface="picture", uv=s.UV_STRETCHED, window=window)


def picture(r: random.Random) -> Piece:
    """A framed picture."""
    width, height, z = r.uniform(0.4, 0.85), r.uniform(0.45, 0.75), r.uniform(1.2, 1.4)
    frame = Look("wood", r.choice(WOODS), "picture")
    if r.random() < 0.35:
        frame = Look("paint", r.choice(((0.06, 0.06, 0.06), (1.1, 1.1, 1.06), BRASS)), "picture")
    look = picture_look(r)

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


def _put_rubber_plant(p: Spot, r: random.Random, g: float) -> None:
    """Broad leaves on a stem."""
    stem = Look("bark", (0.8, 0.9, 0.6), "plant", flags=s.SMALL)
    look = Look("paint", (0.16 * g, 0.34 * g, 0.12 * g), "plant", gloss=0.2)
    p.rod((0.26, 0.26, 0.28), (0.27, 0.27, 1.15), 0.014, stem)
    for k in range(11):
        angle, z = k * 2.4 + 0.3 * r.random(), 0.5 + 0.065 * k
        reach = 0.17 - 0.005 * k
        tip = (0.26 + reach * math.cos(angle), 0.28 + 0.9 * reach * math.sin(angle))
        p.rod((0.265, 0.265, z - 0.05), (*tip, z), 0.006, stem)
        p.turned_ellipsoid(*tip, z, (0.12, 0.055, 0.014), angle, look)


def _put_snake_plant(p: Spot, r: random.Random, g: float) -> None:
    """Upright blades."""
    for k in range(10):
        angle, far, height = k * 2.4, 0.03 + 0.008 * k, r.uniform(0.22, 0.36)
        u, v = 0.26 + far * math.cos(angle), 0.26 + far * math.sin(angle)
        look = Look("leaf", (0.8 * g, 1.0 * g, 0.7 * g), "plant")
        p.turned_ellipsoid(u, v, 0.26 + height, (0.034, 0.012, height), r.uniform(0, 3.1), look)


def _put_palm(p: Spot, r: random.Random, g: float) -> None:
    """A trunk with arching leaves."""
    bark, look = Look("bark", (1.0, 0.9, 0.8), "plant"), Look("flat", (0.26 * g, 0.42 * g, 0.16 * g), "plant")
    p.rod((0.26, 0.26, 0.28), (0.26, 0.27, 0.78), 0.03, bark)
    for k in range(13):
        angle, rise = k * 2.4, r.uniform(0.12, 0.4)
        c, n = math.cos(angle), math.sin(angle)
        bend = (0.26 + 0.13 * c, 0.27 + 0.12 * n, 0.8 + rise)
        tip = (0.26 + 0.24 * c, 0.28 + 0.21 * n, 0.74 + rise * 0.7)
        p.rod((0.26, 0.27, 0.78), bend, 0.012, look)
        p.rod(bend, tip, 0.009, look)


def plant(r: random.Random) -> Piece:
    """A plant in a pot, one of three habits."""
    habit, tint = r.randrange(6), r.choice(((0.75, 0.42, 0.3), (0.9, 0.9, 0.86), (0.3, 0.34, 0.4)))
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
        elif habit == 2:
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
        else:
            (_put_rubber_plant, _put_snake_plant, _put_palm)[habit - 3](p, r, g)

    return Piece("plant", 0.52, 0.52, 1.3, build)


def floor_lamp(r: random.Random) -> Piece:
    """A standing lamp."""

    def build(p: Spot) -> None:
        dark = Look("paint", (0.12, 0.12, 0.13), "lamp", flags=s.SMALL)
        p.cylinder(0.2, 0.22, (0, 0.03), 0.14, dark)
        p.rod((0.2, 0.22, 0.02), (0.2, 0.22, 1.45), 0.012, dark)
        p.cylinder(0.2, 0.22, (1.38, 1.66), 0.18, Look("fabric", SHADE, "lamp", emission=0.75, flags=s.NO_SHADOW))
        put_shade_rims(p, 0.2, 0.22, (1.38, 1.66), 0.183)
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


def coat_rack(r: random.Random) -> Piece:
    """Coats on hooks over the wall."""

    def build(p: Spot) -> None:
        p.box((0, 1.0), (0, 0.025), (1.62, 1.72), wood_look(r, "cabinet"))
        for k in range(4):
            u = 0.14 + 0.24 * k
            p.rod((u, 0.03, 1.66), (u, 0.09, 1.68), 0.01, Look("paint", BRASS, "cabinet", flags=s.SMALL))
            if r.random() < 0.7:
                p.ellipsoid(
                    u, 0.1, 1.25, (0.13, 0.075, 0.42), Look(r.choice(("fabric", "knit")), r.choice(CLOTHS), "curtain")
                )

    return Piece("coats", 1.0, 0.2, 1.75, build, lift=0.85)


def pouf(r: random.Random) -> Piece:
    """A round cushion to sit on."""
    cloth = Look(r.choice(("fabric", "knit", "kilim")), r.choice(CLOTHS), "chair")

    def build(p: Spot) -> None:
        p.cylinder(0.26, 0.26, (0.04, 0.34), 0.24, cloth)
        p.ellipsoid(0.26, 0.26, 0.34, (0.24, 0.24, 0.06), cloth)
        p.ellipsoid(0.26, 0.26, 0.06, (0.235, 0.235, 0.06), cloth)

    return Piece("pouf", 0.52, 0.52, 0.4, build)


def basket(r: random.Random) -> Piece:
    """A basket with a blanket in it."""
    cloth = Look("fabric", r.choice(CLOTHS), "box")

    def build(p: Spot) -> None:
        p.cylinder(0.22, 0.22, (0.0, 0.3), 0.2, Look("knit", (0.85, 0.66, 0.42), "box", top="fabric"))
        p.cylinder(0.22, 0.22, (0.28, 0.32), 0.21, Look("knit", (0.7, 0.52, 0.32), "box", top="fabric"))
        p.ellipsoid(0.2, 0.22, 0.33, (0.15, 0.13, 0.07), cloth)
        p.rod((0.3, 0.3, 0.33), (0.42, 0.34, 0.2), 0.04, cloth)

    return Piece("basket", 0.45, 0.45, 0.4, build)


def side_table(r: random.Random) -> Piece:
    """A small round table with a vase."""
    wood = wood_look(r, "table")

    def build(p: Spot) -> None:
        p.cylinder(0.22, 0.22, (0.52, 0.55), 0.22, wood)
        for k in range(3):
            c, n = math.cos(2.1 * k + 0.5), math.sin(2.1 * k + 0.5)
            leg = Look("wood", wood.tint, "table", flags=s.SMALL)
            p.rod((0.22 + 0.17 * c, 0.22 + 0.17 * n, 0.0), (0.22 + 0.08 * c, 0.22 + 0.08 * n, 0.52), 0.016, leg)
        vase(p, r, 0.2, 0.2, 0.55)
        p.box((0.26, 0.38), (0.14, 0.3), (0.55, 0.575), Look("books", r.choice(CLOTHS), "books", flags=s.SMALL))

    return Piece("side table", 0.45, 0.45, 0.95, build)


def sconce(r: random.Random) -> Piece:
    """A wall lamp."""
    shade = Look("fabric", SHADE, "lamp", emission=0.8, flags=s.NO_SHADOW)

    def build(p: Spot) -> None:
        brass = Look("paint", BRASS, "lamp", flags=s.SMALL | s.NO_SHADOW)
        p.box((0.05, 0.15), (0, 0.015), (1.62, 1.8), brass)
        p.rod((0.1, 0.01, 1.66), (0.1, 0.1, 1.7), 0.008, brass)
        p.cylinder(0.1, 0.11, (1.72, 1.88), 0.075, shade)
        put_shade_rims(p, 0.1, 0.11, (1.72, 1.88), 0.077)

    return Piece("sconce", 0.2, 0.2, 1.9, build, lift=1.6)
