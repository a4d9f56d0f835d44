"""What kitchens and bathrooms have."""

import random

from . import scene as s
from .builder import Look, Spot
from .pieces import BEDDING, CHROME, DARK, PAINTS, Piece, put_legs
from .props import picture_look


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


def stove(r: random.Random) -> Piece:
    """An iron stove with its pipe and a stack of logs."""

    def build(p: Spot) -> None:
        iron = Look("paint", (0.09, 0.09, 0.1), "appliance", gloss=0.15)
        p.box((0.1, 0.6), (0.1, 0.52), (0.15, 0.95), iron)
        put_legs(p, (0.12, 0.58), (0.12, 0.5), 0.15, iron)
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
