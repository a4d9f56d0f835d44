"""Things that move through a place: a rolling ball, a robot vacuum, people.

They follow closed ways clear of walls, and keep clear of the walker: beside the way if there is room, otherwise further
back on it. Where a thing is depends on the time and on where the walker stands, and on nothing before, so that a replay
shows the same.
"""

import math
import random
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from skimage.graph import route_through_array

from . import scene as s
from .builder import CellBuilder, Look, Tint
from .classes import CLASS_INDEX
from .plan import CellPlan, dice

CELL_M = 0.1
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
WALKER_RADIUS_M = 0.35
WAIT_STEP_M, MAX_WAIT_M = 0.1, 4.0
SHIRTS: tuple[Tint, ...] = (
    (0.3, 0.45, 0.75),
    (0.75, 0.3, 0.25),
    (0.85, 0.7, 0.35),
    (0.35, 0.55, 0.4),
    (0.85, 0.85, 0.82),
)
TROUSERS: tuple[Tint, ...] = ((0.16, 0.18, 0.26), (0.3, 0.27, 0.22), (0.35, 0.38, 0.42))
SKINS: tuple[Tint, ...] = ((1.1, 0.78, 0.6), (0.8, 0.5, 0.36), (0.5, 0.31, 0.22))
HAIRS: tuple[Tint, ...] = ((0.3, 0.2, 0.13), (0.08, 0.07, 0.07), (0.8, 0.62, 0.35), (0.6, 0.58, 0.56))


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What moves in a cell and along which closed way.

    Attributes:
        kind: "ball", "robot" or "person".
        points: (N, 2) corners of the way in the cell, the last joins the first.
        lengths: (N + 1,) distance along the way to each corner and back to the first.
        seed: Of its looks.
        free: (rows, columns) bool of ``CELL_M``, where it may be.
    """

    kind: str
    points: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.float64]
    seed: int
    free: npt.NDArray[np.bool_]

    def at(self, time_s: float, walker: tuple[float, float] | None = None) -> tuple[float, float, float]:
        """(x, y, heading) in the cell at a time.

        Args:
            time_s: Simulated seconds.
            walker: (x, y) in the cell that it keeps clear of, or None.
        """
        walked = SPEED_M_S[self.kind] * time_s
        nominal = self._along(walked)
        if walker is None or self._gap(nominal, walker) >= 0.0:
            return nominal
        for side in self._beside(nominal, walker):
            if self._is_free(side):
                return side
        for back in np.arange(WAIT_STEP_M, MAX_WAIT_M, WAIT_STEP_M):
            waiting = self._along(walked - float(back))
            if self._gap(waiting, walker) >= 0.0:
                return waiting
        return nominal

    def _gap(self, at: tuple[float, float, float], walker: tuple[float, float]) -> float:
        """Metres between the bodies, negative if they touch."""
        return math.dist(at[:2], walker) - RADIUS_M[self.kind] - WALKER_RADIUS_M

    def _beside(
        self, at: tuple[float, float, float], walker: tuple[float, float]
    ) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """As far along the way as ``at``, but clear of the walker: on the nearer side, and on the other."""
        x, y, heading = at
        c, n = math.cos(heading), math.sin(heading)
        forward = (x - walker[0]) * c + (y - walker[1]) * n
        left = (y - walker[1]) * c - (x - walker[0]) * n
        reach = RADIUS_M[self.kind] + WALKER_RADIUS_M + 1e-6
        aside = math.copysign(math.sqrt(max(reach**2 - forward**2, 0.0)), left)

        def place(offset: float) -> tuple[float, float, float]:
            return walker[0] + c * forward - n * offset, walker[1] + n * forward + c * offset, heading

        return place(aside), place(-aside)

    def _is_free(self, at: tuple[float, float, float]) -> bool:
        row, col = int(at[1] // CELL_M), int(at[0] // CELL_M)
        return 0 <= row < self.free.shape[0] and 0 <= col < self.free.shape[1] and bool(self.free[row, col])

    def _along(self, walked: float) -> tuple[float, float, float]:
        x, y = self._point(walked)
        ahead, behind = self._point(walked + 0.15), self._point(walked - 0.15)
        return x, y, math.atan2(ahead[1] - behind[1], ahead[0] - behind[0])

    def _point(self, walked: float) -> tuple[float, float]:
        d = walked % self.lengths[-1]
        k = int(np.searchsorted(self.lengths, d, side="right")) - 1
        a, b = self.points[k % len(self.points)], self.points[(k + 1) % len(self.points)]
        t = (d - self.lengths[k]) / max(self.lengths[k + 1] - self.lengths[k], 1e-9)
        return float(a[0] + (b[0] - a[0]) * t), float(a[1] + (b[1] - a[1]) * t)


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
    return Route(kind, points, lengths, rng.getrandbits(60), free) if lengths[-1] > MIN_WAY_M else None


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
    x, y, heading = route.at(time_s, walker)
    if route.kind == "ball":
        _ball(cell, x, y, SPEED_M_S["ball"] * time_s)
    elif route.kind == "robot":
        _robot(cell, x, y, heading)
    else:
        _person(cell, x, y, heading, time_s)
    floats, ints = cell.arrays()
    if route.kind == "ball":
        floats[:, s.SP] = -(SPEED_M_S["ball"] * time_s) / RADIUS_M["ball"]
    ints[:, s.MOV] = 1
    if route.kind != "person":
        return Figure(floats, ints, floats[:1], ints[:1], (x, y, RADIUS_M[route.kind]))
    shadow = CellBuilder(plan, rng)
    _person_shadow(shadow, x, y, heading, time_s)
    return Figure(floats, ints, *shadow.arrays(), (x, y, 0.75 * RADIUS_M["person"]))


def _ball(cell: CellBuilder, x: float, y: float, _walked: float) -> None:
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


def _person(cell: CellBuilder, x: float, y: float, heading: float, time_s: float) -> None:
    """A walking figure of rods and ellipsoids."""
    r = cell.rng
    shirt = Look(r.choice(("knit", "fabric")), r.choice(SHIRTS), "person")
    cloth = Look("fabric", r.choice(TROUSERS), "person")
    skin, hair = Look("paint", r.choice(SKINS), "person"), Look("bark", r.choice(HAIRS), "person")
    shoe = Look("paint", (0.12, 0.09, 0.07), "person")
    c, n = math.cos(heading), math.sin(heading)
    phase = time_s * SPEED_M_S["person"] * math.pi / 0.7
    bob = 0.015 * math.cos(2 * phase)

    def at(forward: float, left: float, z: float) -> tuple[float, float, float]:
        return x + c * forward - n * left, y + n * forward + c * left, z

    for side in (-1, 1):
        swing = 0.42 * math.sin(phase + (math.pi if side > 0 else 0.0))
        lift = max(0.0, -math.cos(phase + (math.pi if side > 0 else 0.0)))
        hip = at(0, 0.09 * side, 0.9 + bob)
        knee_f, knee_z = 0.43 * math.sin(swing + 0.25 * lift), 0.9 + bob - 0.43 * math.cos(swing + 0.25 * lift)
        bend = swing - 0.15 - 0.75 * lift * (1.0 if swing < 0.3 else 0.4)
        foot_f, foot_z = knee_f + 0.42 * math.sin(bend), max(0.06, knee_z - 0.42 * math.cos(bend))
        cell.rod(hip, at(knee_f, 0.095 * side, knee_z), 0.08, cloth)
        cell.rod(at(knee_f, 0.095 * side, knee_z), at(foot_f, 0.1 * side, foot_z + 0.04), 0.06, cloth)
        cell.ellipsoid(at(foot_f + 0.06, 0.1 * side, foot_z - 0.01), (0.14, 0.055, 0.05), shoe, heading)
        arm = -0.75 * swing
        elbow = at(0.27 * math.sin(arm), 0.235 * side, 1.4 + bob - 0.27 * math.cos(arm))
        hand_a = arm + 0.35
        hand = at(0.27 * math.sin(arm) + 0.24 * math.sin(hand_a), 0.24 * side, elbow[2] - 0.24 * math.cos(hand_a))
        cell.rod(at(0, 0.19 * side, 1.4 + bob), elbow, 0.055, shirt)
        cell.rod(elbow, hand, 0.043, shirt)
        cell.ellipsoid(hand, (0.045, 0.035, 0.06), skin, heading)
    cell.ellipsoid(at(0, 0, 0.95 + bob), (0.12, 0.165, 0.14), cloth, heading)
    cell.ellipsoid(at(0, 0, 1.2 + bob), (0.13, 0.19, 0.3), shirt, heading)
    cell.rod(at(0, -0.14, 1.4 + bob), at(0, 0.14, 1.4 + bob), 0.075, shirt)
    cell.rod(at(0, 0, 1.45 + bob), at(0.02, 0, 1.58 + bob), 0.05, skin)
    cell.ellipsoid(at(0.02, 0, 1.66 + bob), (0.095, 0.08, 0.115), skin, heading)
    cell.ellipsoid(at(-0.012, 0, 1.69 + bob), (0.1, 0.088, 0.105), hair, heading)
    cell.ellipsoid(at(0.115, 0, 1.645 + bob), (0.02, 0.015, 0.022), skin, heading)
    for side in (-1, 1):
        cell.ellipsoid(at(0.098, 0.032 * side, 1.675 + bob), (0.014, 0.013, 0.009), shoe, heading)


def _person_shadow(cell: CellBuilder, x: float, y: float, heading: float, time_s: float) -> None:
    """Two legs, a body and a head."""
    look, c, n = Look("flat"), math.cos(heading), math.sin(heading)
    phase = time_s * SPEED_M_S["person"] * math.pi / 0.7
    for side in (-1, 1):
        step = 0.36 * math.sin(0.42 * math.sin(phase + (math.pi if side > 0 else 0.0)) * 2)
        hip, foot = (
            (x - n * 0.09 * side, y + c * 0.09 * side),
            (x + c * step - n * 0.1 * side, y + n * step + c * 0.1 * side),
        )
        cell.rod((*hip, 0.85), (*foot, 0.08), 0.07, look)
    cell.ellipsoid((x, y, 1.16), (0.14, 0.26, 0.36), look, heading)
    cell.ellipsoid((x, y, 1.66), (0.1, 0.09, 0.13), look, heading)


MOVING_CLASSES = frozenset(CLASS_INDEX[name] for name in ("ball", "robot", "person"))
"""Classes of what moves."""
