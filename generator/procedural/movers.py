"""Things that move through a place: a rolling ball, a robot vacuum, people.

They follow closed ways clear of walls, and keep clear of the walker; see ``route``.
"""

import math
import random
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from skimage.graph import route_through_array

from . import scene as s
from .builder import CellBuilder, Look, Point, Tint
from .classes import CLASS_INDEX
from .plan import CellPlan, dice
from .route import CELL_M, Route, Stance

MARGIN_M = 0.06
"""Room that a way leaves beside a mover's own radius."""
RADIUS_M = {"ball": 0.14, "robot": 0.19, "person": 0.3}
SPEED_M_S = {"ball": 0.9, "robot": 0.35, "person": 1.1}
CHANCES: dict[int, tuple[tuple[str, float], ...]] = {
    s.ROOM: (("robot", 0.22), ("ball", 0.34), ("person", 0.5)),
    s.CORRIDOR: (("robot", 0.12), ("person", 0.3)),
    s.PASSAGE: (("person", 0.4), ("robot", 0.6)),
    s.YARD: (("ball", 0.35), ("person", 0.8)),
}
"""What moves in a kind of cell, with rising shares."""
MIN_WAY_M = 2.0
STRIDE_M = 0.7
SHIRTS: tuple[Tint, ...] = (
    (0.3, 0.45, 0.75),
    (0.75, 0.3, 0.25),
    (0.85, 0.7, 0.35),
    (0.35, 0.55, 0.4),
    (0.85, 0.85, 0.82),
    (0.5, 0.32, 0.5),
    (0.8, 0.6, 0.12),
    (0.2, 0.35, 0.4),
)
TROUSERS: tuple[Tint, ...] = (
    (0.16, 0.18, 0.26),
    (0.3, 0.27, 0.22),
    (0.35, 0.38, 0.42),
    (0.5, 0.42, 0.32),
    (0.22, 0.3, 0.42),
)
SHOES: tuple[Tint, ...] = ((0.12, 0.09, 0.07), (0.7, 0.68, 0.65), (0.4, 0.22, 0.12))
SKINS: tuple[Tint, ...] = ((1.0, 0.7, 0.54), (0.76, 0.48, 0.34), (0.46, 0.28, 0.2), (0.92, 0.62, 0.44))
HAIRS: tuple[Tint, ...] = ((0.3, 0.2, 0.13), (0.08, 0.07, 0.07), (0.8, 0.62, 0.35), (0.6, 0.58, 0.56))


def find_route(seed: int, plan: CellPlan, solid: npt.NDArray[np.uint8]) -> Route | None:
    """What moves in a cell, or None.

    Args:
        seed: Of the place.
        plan: The cell.
        solid: (FLOOR_D, FLOOR_W) 1 where something stands.
    """
    rng = dice(seed, plan.i, plan.j, 91)
    way = rng.random()
    kind = next((name for name, share in CHANCES[plan.kind] if way < share), None)
    if kind is None:
        return None
    free = free_cells(plan, solid, RADIUS_M[kind] + MARGIN_M)
    count, labels = cv2.connectedComponents(free.astype(np.uint8), connectivity=4)
    if count < 2:
        return None
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    spots = np.argwhere(labels == int(sizes.argmax()))
    chosen = [spots[rng.randrange(len(spots))] for _ in range(6)]
    stops = [(int(row), int(col)) for row, col in chosen]
    corners = _join(labels == int(sizes.argmax()), stops)
    points = (np.array(corners, np.float64)[:, ::-1] + 0.5) * CELL_M
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    lengths = np.concatenate([[0.0], np.cumsum(steps)])
    if lengths[-1] <= MIN_WAY_M:
        return None
    return Route(kind, points, lengths, SPEED_M_S[kind], RADIUS_M[kind], rng.getrandbits(60), free)


def free_cells(plan: CellPlan, solid: npt.NDArray[np.uint8], radius_m: float) -> npt.NDArray[np.bool_]:
    """(rows, columns) bool of ``CELL_M``: where a disc touches neither things nor the cell's border."""
    fine = s.FLOOR_TEXEL_M
    rows, cols = int(plan.depth / fine), int(plan.width / fine)
    clear = np.pad(1 - solid[:rows, :cols], 1).astype(np.uint8)
    reach_m = cv2.distanceTransform(clear, cv2.DIST_L2, 5)[1:-1, 1:-1] * fine
    coarse = reach_m[: rows // 2 * 2, : cols // 2 * 2].reshape(rows // 2, 2, cols // 2, 2).min((1, 3))
    return coarse > radius_m + 0.5 * fine


def _join(free: npt.NDArray[np.bool_], stops: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Corners of a closed way through all stops that stays on free cells."""
    cost = np.where(free, 1.0, 1e6)
    corners: list[tuple[int, int]] = []
    for a, b in zip(stops, stops[1:] + stops[:1], strict=True):
        if a == b:
            continue
        path, _ = route_through_array(cost, a, b, fully_connected=True, geometric=True)
        corners += _pull(free, [(int(p[0]), int(p[1])) for p in path])[:-1]
    return corners or [stops[0]]


def _pull(free: npt.NDArray[np.bool_], path: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out the corners between which one can go straight."""
    out, at = [path[0]], 0
    while at < len(path) - 1:
        end = len(path) - 1
        while end > at + 1 and not _is_straight(free, path[at], path[end]):
            end -= 1
        out.append(path[end])
        at = end
    return out


def _is_straight(free: npt.NDArray[np.bool_], a: tuple[int, int], b: tuple[int, int]) -> bool:
    num = 3 * max(abs(a[0] - b[0]), abs(a[1] - b[1])) + 1
    t = np.linspace(0.0, 1.0, num)
    rows = np.round(a[0] + (b[0] - a[0]) * t).astype(int)
    cols = np.round(a[1] + (b[1] - a[1]) * t).astype(int)
    return bool(free[rows, cols].all())


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A mover at a time, relative to its cell's corner.

    Attributes:
        floats, ints: Its primitives.
        shadow_floats, shadow_ints: The few that stand for it in shadows.
        blob: (x, y, radius) where it darkens the ground.
    """

    floats: s.F32
    ints: s.I32
    shadow_floats: s.F32
    shadow_ints: s.I32
    blob: tuple[float, float, float]


def build_mover(plan: CellPlan, route: Route, time_s: float, walker: tuple[float, float] | None = None) -> Figure:
    """A mover as it stands at a time, clear of a walker at (x, y) in the cell."""
    rng = random.Random(route.seed)
    cell = CellBuilder(plan, rng)
    stance = route.at(time_s, walker)
    x, y, heading = stance.x, stance.y, stance.heading
    if route.kind == "ball":
        _ball(cell, x, y)
    elif route.kind == "robot":
        _robot(cell, x, y, heading)
    else:
        _person(cell, stance)
    floats, ints = cell.arrays()
    if route.kind == "ball":
        floats[:, s.SP] = -stance.walked / RADIUS_M["ball"]
    ints[:, s.MOV] = 1
    if route.kind != "person":
        return Figure(floats, ints, floats[:1], ints[:1], (x, y, RADIUS_M[route.kind]))
    shadow = CellBuilder(plan, rng)
    _person_shadow(shadow, stance)
    return Figure(floats, ints, *shadow.arrays(), (x, y, 0.75 * RADIUS_M["person"]))


def _ball(cell: CellBuilder, x: float, y: float) -> None:
    r = RADIUS_M["ball"]
    tint = cell.rng.choice(((0.9, 0.35, 0.25), (0.3, 0.5, 0.8), (0.95, 0.8, 0.3)))
    cell.ellipsoid((x, y, r), (r, r, r), Look("stripes", tint, "ball", gloss=0.15, uv=s.UV_UPRIGHT))


def _robot(cell: CellBuilder, x: float, y: float, heading: float) -> None:
    r = 0.175
    cell.cylinder(x, y, (0.012, 0.085), r, Look("paint", (0.16, 0.16, 0.17), "robot", gloss=0.2))
    cell.cylinder(x, y, (0.085, 0.09), r * 0.9, Look("tiles", (0.35, 0.36, 0.38), "robot"))
    cell.cylinder(x, y, (0.09, 0.11), 0.055, Look("paint", (0.85, 0.35, 0.2), "robot"))
    eye = (x + 0.13 * math.cos(heading), y + 0.13 * math.sin(heading), 0.09)
    cell.ellipsoid(eye, (0.02, 0.02, 0.015), Look("flat", (0.3, 1.0, 0.6), "robot", emission=0.7))


def _person(cell: CellBuilder, stance: Stance) -> None:
    """A walking figure of rods and ellipsoids: one of several sizes, clothes and heads."""
    r, body = cell.rng, _Body(stance, cell.rng.uniform(0.92, 1.06))
    shirt = Look(r.choice(("knit", "fabric", "fabric")), r.choice(SHIRTS), "person")
    cloth = Look("fabric", r.choice(TROUSERS), "person")
    skin, hair = Look("flat", r.choice(SKINS), "person"), Look("bark", r.choice(HAIRS), "person")
    shoe = Look("paint", r.choice(SHOES), "person")
    way = r.randrange(4)
    if way == 0:
        shirt = Look("fabric", r.choice(TROUSERS), "person")
    for side in (-1, 1):
        _leg(cell, body, side, cloth, shoe)
        _arm(cell, body, side, shirt, skin)
    bob = body.bob
    body.ellipsoid(cell, (0, 0, 0.96 + bob), (0.115, 0.155, 0.14), cloth)
    body.ellipsoid(cell, (0, 0, 1.18 + bob), (0.114, 0.168, 0.3), shirt)
    body.ellipsoid(cell, (0.002, 0, 1.29 + bob), (0.113, 0.18, 0.2), shirt)
    body.rod(cell, (0, -0.13, 1.415 + bob), (0, 0.13, 1.415 + bob), 0.062, shirt)
    body.cylinder(cell, (0, 0, 0.985 + bob), (0.118, 0.162, 0.022), Look("paint", (0.12, 0.08, 0.06), "person"))
    if way == 0:
        body.ellipsoid(cell, (0, 0, 1.0 + bob), (0.13, 0.18, 0.44), shirt)
    elif way == 1:
        pack = Look("fabric", r.choice(SHIRTS), "person")
        body.ellipsoid(cell, (-0.17, 0, 1.24 + bob), (0.09, 0.14, 0.21), pack)
        body.ellipsoid(cell, (-0.23, 0, 1.17 + bob), (0.05, 0.1, 0.1), pack)
    _head(cell, body, skin, hair, shirt)


@dataclass(frozen=True, slots=True)
class _Body:
    """A walking body: its parts are placed by forward, left and height, metres of a body of common size."""

    stance: Stance
    size: float

    @property
    def phase(self) -> float:
        return self.stance.walked * math.pi / (STRIDE_M * self.size)

    @property
    def bob(self) -> float:
        return 0.015 * math.cos(2 * self.phase)

    def at(self, part: Point) -> Point:
        forward, left, z = (self.size * v for v in part)
        c, n = math.cos(self.stance.heading), math.sin(self.stance.heading)
        return self.stance.x + c * forward - n * left, self.stance.y + n * forward + c * left, z

    def rod(self, cell: CellBuilder, a: Point, b: Point, radius: float, look: Look) -> None:
        cell.rod(self.at(a), self.at(b), radius * self.size, look)

    def ellipsoid(self, cell: CellBuilder, centre: Point, half: Point, look: Look) -> None:
        scaled = (half[0] * self.size, half[1] * self.size, half[2] * self.size)
        cell.ellipsoid(self.at(centre), scaled, look, self.stance.heading)

    def cylinder(self, cell: CellBuilder, centre: Point, half: Point, look: Look) -> None:
        scaled = (half[0] * self.size, half[1] * self.size, half[2] * self.size)
        cell.put(s.CYLINDER, self.at(centre), scaled, look, self.stance.heading)

    def swing(self, side: int) -> tuple[float, float]:
        """(swing of the leg on a side, radians; how far its foot is lifted, 0..1)."""
        phase = self.phase + (math.pi if side > 0 else 0.0)
        return 0.42 * math.sin(phase), max(0.0, -math.cos(phase))


def _leg(cell: CellBuilder, body: _Body, side: int, cloth: Look, shoe: Look) -> None:
    swing, lift = body.swing(side)
    hip_z, thigh = 0.9 + body.bob, swing + 0.25 * lift
    knee = (0.43 * math.sin(thigh), 0.095 * side, hip_z - 0.43 * math.cos(thigh))
    bend = swing - 0.15 - 0.75 * lift * (1.0 if swing < 0.3 else 0.4)
    foot_f, foot_z = knee[0] + 0.42 * math.sin(bend), max(0.06, knee[2] - 0.42 * math.cos(bend))
    body.rod(cell, (0, 0.085 * side, hip_z), knee, 0.08, cloth)
    body.rod(cell, knee, (foot_f, 0.1 * side, foot_z + 0.05), 0.06, cloth)
    body.ellipsoid(cell, (foot_f + 0.06, 0.1 * side, foot_z - 0.01), (0.14, 0.052, 0.05), shoe)


def _arm(cell: CellBuilder, body: _Body, side: int, shirt: Look, skin: Look) -> None:
    arm = -0.75 * body.swing(side)[0]
    shoulder = 1.405 + body.bob
    elbow = (0.27 * math.sin(arm), 0.225 * side, shoulder - 0.27 * math.cos(arm))
    hand = (elbow[0] + 0.23 * math.sin(arm + 0.35), 0.225 * side, elbow[2] - 0.23 * math.cos(arm + 0.35))
    body.ellipsoid(cell, (0, 0.17 * side, shoulder), (0.066, 0.07, 0.066), shirt)
    body.rod(cell, (0, 0.19 * side, shoulder - 0.01), elbow, 0.05, shirt)
    body.rod(cell, elbow, hand, 0.04, shirt)
    body.ellipsoid(cell, (hand[0] + 0.01, hand[1], hand[2] - 0.045), (0.04, 0.026, 0.055), skin)


def _head(cell: CellBuilder, body: _Body, skin: Look, hair: Look, cap: Look) -> None:
    bob, way = body.bob, cell.rng.randrange(5)
    dark = Look("flat", (0.05, 0.04, 0.04), "person")
    body.rod(cell, (-0.005, 0, 1.42 + bob), (0.012, 0, 1.57 + bob), 0.047, skin)
    body.ellipsoid(cell, (0.02, 0, 1.665 + bob), (0.094, 0.076, 0.112), skin)
    body.ellipsoid(cell, (0.04, 0, 1.605 + bob), (0.068, 0.056, 0.06), skin)
    body.ellipsoid(cell, (0.112, 0, 1.642 + bob), (0.018, 0.013, 0.022), skin)
    body.ellipsoid(cell, (0.096, 0, 1.6 + bob), (0.012, 0.024, 0.005), Look("flat", (0.5, 0.22, 0.2), "person"))
    body.ellipsoid(cell, (-0.012, 0, 1.695 + bob), (0.1, 0.084, 0.1), cap if way == 3 else hair)
    for side in (-1, 1):
        body.ellipsoid(cell, (0.1, 0.03 * side, 1.675 + bob), (0.012, 0.012, 0.008), dark)
        body.ellipsoid(cell, (0.102, 0.032 * side, 1.697 + bob), (0.01, 0.018, 0.004), hair)
        body.ellipsoid(cell, (0.012, 0.076 * side, 1.65 + bob), (0.02, 0.014, 0.03), skin)
    if way == 1:
        body.ellipsoid(cell, (-0.05, 0, 1.58 + bob), (0.062, 0.086, 0.17), hair)
    elif way == 2:
        body.ellipsoid(cell, (-0.115, 0, 1.73 + bob), (0.048, 0.048, 0.048), hair)
    elif way == 3:
        body.ellipsoid(cell, (0.09, 0, 1.725 + bob), (0.1, 0.065, 0.01), cap)


def _person_shadow(cell: CellBuilder, stance: Stance) -> None:
    """Two legs, a body and a head."""
    look, body = Look("flat"), _Body(stance, 1.0)
    for side in (-1, 1):
        step = 0.36 * math.sin(2 * body.swing(side)[0])
        body.rod(cell, (0, 0.09 * side, 0.85), (step, 0.1 * side, 0.08), 0.07, look)
    body.ellipsoid(cell, (0, 0, 1.16), (0.14, 0.26, 0.36), look)
    body.ellipsoid(cell, (0, 0, 1.66), (0.1, 0.09, 0.13), look)


MOVING_CLASSES = frozenset(CLASS_INDEX[name] for name in ("ball", "robot", "person"))
"""Classes of what moves."""
