"""Puts primitives into one cell: boxes, cylinders, ellipsoids, foliage and rods, free or along a wall."""

import math
import random
from dataclasses import dataclass

import numpy as np

from . import scene as s
from .classes import CLASS_INDEX
from .plan import CellPlan
from .textures import MATERIAL_INDEX

Tint = tuple[float, float, float]
Point = tuple[float, float, float]
WHITE: Tint = (1.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Look:
    """How a primitive looks and what it is.

    Attributes:
        material: Name of a texture.
        tint: Linear factors on its colour.
        surface: Name of its class.
        top: Texture of the faces up and down, the same if empty.
        uv: How the texture is laid on.
        window: Part of the texture (u0, v0, width, height) for ``UV_STRETCHED``; offsets otherwise.
        emission: Light that it gives by itself.
        gloss: How much of its surroundings it mirrors, 0..1.
        flags: ``NO_SHADOW``, ``SMALL``.
    """

    material: str
    tint: Tint = WHITE
    surface: str = "box"
    top: str = ""
    uv: int = s.UV_LOCAL
    window: tuple[float, float, float, float] | None = None
    emission: float = 0.0
    gloss: float = 0.0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Lamp:
    """A light inside a cell: position in the cell, strength, and where its light ends, metres."""

    x: float
    y: float
    z: float
    power: float
    reach_m: float = s.LAMP_REACH_M


class CellBuilder:
    """Collects the primitives and lamps of one cell, relative to its south-west corner."""

    def __init__(self, plan: CellPlan, rng: random.Random) -> None:
        self.plan = plan
        self.rng = rng
        self.lamps: list[Lamp] = []
        self._floats: list[list[float]] = []
        self._ints: list[list[int]] = []

    def arrays(self) -> tuple[s.F32, s.I32]:
        """The primitives: (N, NUM_FLOATS) float32 and (N, NUM_INTS) int32, at most ``MAX_PRIMS``."""
        floats = np.array(self._floats[: s.MAX_PRIMS], np.float32).reshape(-1, s.NUM_FLOATS)
        ints = np.array(self._ints[: s.MAX_PRIMS], np.int32).reshape(-1, s.NUM_INTS)
        return floats, ints

    def box(self, x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], look: Look) -> None:
        """A box from its ranges; thinner than a millimetre is left out."""
        if min(x[1] - x[0], y[1] - y[0], z[1] - z[0]) > 1e-3:
            centre = ((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, (z[0] + z[1]) / 2)
            self.put(s.BOX, centre, ((x[1] - x[0]) / 2, (y[1] - y[0]) / 2, (z[1] - z[0]) / 2), look)

    def turned_box(self, centre: Point, half: Point, yaw_rad: float, look: Look) -> None:
        """A box turned round the upright axis."""
        self.put(s.TURNED_BOX, centre, half, look, yaw_rad)

    def cylinder(self, x: float, y: float, z: tuple[float, float], radius: float, look: Look) -> None:
        """An upright cylinder."""
        self.put(s.CYLINDER, (x, y, (z[0] + z[1]) / 2), (radius, radius, (z[1] - z[0]) / 2), look)

    def ellipsoid(self, centre: Point, half: Point, look: Look, yaw_rad: float = 0.0) -> None:
        """An ellipsoid."""
        self.put(s.ELLIPSOID, centre, half, look, yaw_rad)

    def leaves(self, centre: Point, half: Point, look: Look, scale: float = 0.5) -> None:
        """Foliage: a pierced ellipsoid; ``scale`` is how many tiles of leaves span half of it."""
        extra = (scale, self.rng.random(), 0.0, 0.0)
        self.put(s.LEAVES, centre, half, look, self.rng.random() * 6.28, extra)

    def rod(self, a: Point, b: Point, radius: float, look: Look) -> None:
        """A rod with round ends from a to b."""
        axis = tuple((q - p) / 2 for p, q in zip(a, b, strict=True))
        centre = (a[0] + axis[0], a[1] + axis[1], a[2] + axis[2])
        half = (abs(axis[0]) + radius, abs(axis[1]) + radius, abs(axis[2]) + radius)
        self.put(s.CAPSULE, centre, half, look, 0.0, (axis[0], axis[1], axis[2], radius))

    def put(
        self,
        kind: int,
        centre: Point,
        half: Point,
        look: Look,
        yaw_rad: float = 0.0,
        extra: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    ) -> None:
        """Add one primitive."""
        if look.window is not None:
            u0, v0, su, sv = look.window
        else:
            is_fixed = look.uv in (s.UV_STRETCHED, s.UV_PLACE)
            u0, v0 = (0.0, 0.0) if is_fixed else (self.rng.random(), self.rng.random())
            su = sv = 1.0
        turn = (math.cos(yaw_rad), math.sin(yaw_rad))
        texture = (*look.tint, u0, v0, su, sv, look.emission)
        self._floats.append([*centre, *half, *turn, *texture, *extra, look.gloss, 0.0, 0.0, 0.0])
        material = MATERIAL_INDEX[look.material]
        top = MATERIAL_INDEX[look.top] if look.top else material
        self._ints.append([kind, material, top, CLASS_INDEX[look.surface], 0, look.uv, look.flags, 0])


@dataclass(frozen=True, slots=True)
class Spot:
    """A stretch of wall, seen from the room: u runs along it from ``at``, v away from it, z up.

    Attributes:
        cell: Where things are put.
        side: Side of the cell.
        at: Where u = 0 lies along the side.
        off: Distance of v = 0 from the cell's edge.
    """

    cell: CellBuilder
    side: int
    at: float
    off: float

    def point(self, u: float, v: float) -> tuple[float, float]:
        """(x, y) in the cell."""
        a, o = self.at + u, self.off + v
        plan = self.cell.plan
        return ((a, o), (plan.width - o, a), (a, plan.depth - o), (o, a))[self.side]

    def yaw(self, angle: float) -> float:
        """A turn from u towards v as a turn in the cell."""
        return (angle, math.pi / 2 + angle, -angle, math.pi / 2 - angle)[self.side]

    def box(self, u: tuple[float, float], v: tuple[float, float], z: tuple[float, float], look: Look) -> None:
        """A box along the wall."""
        (xa, ya), (xb, yb) = self.point(u[0], v[0]), self.point(u[1], v[1])
        self.cell.box((min(xa, xb), max(xa, xb)), (min(ya, yb), max(ya, yb)), z, look)

    def turned_box(
        self, u: float, v: float, z: tuple[float, float], half: tuple[float, float], angle: float, look: Look
    ) -> None:
        """A box that stands at an angle to the wall."""
        x, y = self.point(u, v)
        self.cell.turned_box((x, y, (z[0] + z[1]) / 2), (half[0], half[1], (z[1] - z[0]) / 2), self.yaw(angle), look)

    def cylinder(self, u: float, v: float, z: tuple[float, float], radius: float, look: Look) -> None:
        """An upright cylinder."""
        self.cell.cylinder(*self.point(u, v), z, radius, look)

    def ellipsoid(self, u: float, v: float, z: float, half: Point, look: Look) -> None:
        """An ellipsoid; its first half axis lies along the wall."""
        hu, hv, hz = half
        flat = (hu, hv) if self.side in (s.SOUTH, s.NORTH) else (hv, hu)
        self.cell.ellipsoid((*self.point(u, v), z), (*flat, hz), look)

    def turned_ellipsoid(self, u: float, v: float, z: float, half: Point, angle: float, look: Look) -> None:
        """An ellipsoid whose first half axis lies at an angle to the wall."""
        self.cell.ellipsoid((*self.point(u, v), z), half, look, self.yaw(angle))

    def leaves(self, u: float, v: float, z: float, half: Point, look: Look, scale: float = 0.5) -> None:
        """Foliage."""
        self.cell.leaves((*self.point(u, v), z), half, look, scale)

    def rod(self, a: Point, b: Point, radius: float, look: Look) -> None:
        """A rod between two (u, v, z)."""
        self.cell.rod((*self.point(a[0], a[1]), a[2]), (*self.point(b[0], b[1]), b[2]), radius, look)

    def lamp(self, u: float, v: float, z: float, power: float) -> None:
        """A light."""
        self.cell.lamps.append(Lamp(*self.point(u, v), z, power))
