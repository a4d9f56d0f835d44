"""What all furniture shares: sizes, colours, woods, legs and books."""

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


def wood_look(r: random.Random, surface: str) -> Look:
    return Look("wood", r.choice(WOODS), surface, gloss=0.12)


def put_legs(
    spot: Spot, u: tuple[float, float], v: tuple[float, float], top: float, look: Look, thick: float = 0.045
) -> None:
    upright = Look(look.material, look.tint, look.surface, uv=s.UV_LOCAL, flags=s.SMALL)
    for a in (u[0], u[1] - thick):
        for b in (v[0], v[1] - thick):
            spot.box((a, a + thick), (b, b + thick), (0, top), upright)


def put_books(spot: Spot, r: random.Random, u: tuple[float, float], v: tuple[float, float], z: float) -> None:
    window = (r.random(), r.randrange(4) * 0.25 + 0.012, 1.0, 1.0)
    spot.box(
        u,
        v,
        (z, z + r.uniform(0.2, 0.26)),
        Look("books", surface="books", top="flat", uv=s.UV_BOOKS, window=window, flags=s.SMALL),
    )
