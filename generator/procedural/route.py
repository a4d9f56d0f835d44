"""Closed ways of things that move, and how they keep clear of a walker: a function of time and of the walker alone.

Where a walker stands in the way and there is room, it is passed on one side, in a bend that begins before it. Where
there is none, what moves waits there, turns, and walks back: so it never jumps while the walker stands, whatever moment
is asked for. Only a walker that steps into a way may find what moves on it elsewhere at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CELL_M = 0.1
WALKER_RADIUS_M = 0.35
STEP_M = 0.05
"""Apart lie the points at which a way is tested."""
SLACK_M = 0.03
"""Added to the clearance at those points, so that it holds between them."""
BEND_M = 0.8
"""Way on which a mover leaves its line to pass a walker, and returns to it."""
HEADING_M = 0.15
"""Way before and behind a mover that its heading is the mean of."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stance:
    """Where a mover is: position in the cell, metres, heading, radians, and how far it has walked, metres."""

    x: float
    y: float
    heading: float
    walked: float


@dataclass(frozen=True, slots=True)
class _Pass:
    """A stretch of a way that runs too near a walker, from ``low`` to ``high`` along it, and the way aside there."""

    low: float
    high: float
    aside: tuple[float, float] | None

    def bend(self, at: Floats, length: float) -> Floats:
        """Share of the way aside at distances along the closed way, 0..1, without a kink."""
        middle, half = (self.low + self.high) / 2, (self.high - self.low) / 2
        away = np.abs((at - middle + length / 2) % length - length / 2)
        t = np.clip(1.0 - (away - half) / BEND_M, 0.0, 1.0)
        return t * t * (3.0 - 2.0 * t)


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """What moves in a cell and along which closed way.

    Attributes:
        kind: "ball", "robot" or "person".
        points: (N, 2) corners of the way in the cell, the last joins the first.
        lengths: (N + 1,) distance along the way to each corner and back to the first.
        speed_m_s: How fast it goes.
        radius_m: Of its body.
        seed: Of its looks.
        free: (rows, columns) bool of ``CELL_M``, where it may be.
    """

    kind: str
    points: Floats
    lengths: Floats
    speed_m_s: float
    radius_m: float
    seed: int
    free: npt.NDArray[np.bool_]

    @property
    def length_m(self) -> float:
        """Of the closed way."""
        return float(self.lengths[-1])

    @property
    def _reach_m(self) -> float:
        return self.radius_m + WALKER_RADIUS_M

    def at(self, time_s: float, walker: tuple[float, float] | None = None) -> Stance:
        """Where it is at a time.

        Args:
            time_s: Simulated seconds.
            walker: (x, y) in the cell that it keeps clear of, or None.
        """
        passes = self._passes(walker) if walker is not None else []
        at, walked, turn = self._held_up(self.speed_m_s * time_s, [p for p in passes if p.aside is None])
        (ax, ay), (x, y), (bx, by) = self._place(at + np.array([-HEADING_M, 0.0, HEADING_M]), passes)
        return Stance(float(x), float(y), math.atan2(by - ay, bx - ax) + turn, walked)

    def _held_up(self, walked: float, barriers: list[_Pass]) -> tuple[float, float, float]:
        """Where it is if some stretches cannot be passed: (place along the way, distance walked, turn, radians).

        It keeps to the longest stretch between two of them: a lap forward, a wait at the end until the lap is over, in
        which it turns, and a lap back.
        """
        if not barriers:
            return walked, walked, 0.0
        length = self.length_m
        ends = [(a.high, (b.low - a.high) % length) for a, b in zip(barriers, barriers[1:] + barriers[:1], strict=True)]
        start, room = max(ends, key=lambda end: end[1])
        laps, into = divmod(walked - start, 2.0 * length)
        is_back, into = into >= length, into % length
        gone = min(into, room)
        turned = _smooth((into - room) / max(length - room, 1e-9)) + is_back
        return start + (room - gone if is_back else gone), room * (2.0 * laps + is_back) + gone, math.pi * turned

    def _place(self, at: Floats, passes: Sequence[_Pass] = ()) -> Floats:
        """(N, 2) places at distances along the way, aside of it where a walker is passed."""
        along, closed = at % self.length_m, np.concatenate([self.points, self.points[:1]])
        out = np.stack([np.interp(along, self.lengths, closed[:, axis]) for axis in range(2)], axis=1)
        for one in passes:
            if one.aside is not None:
                out += one.bend(at, self.length_m)[:, None] * np.array(one.aside)
        return out

    def _passes(self, walker: tuple[float, float]) -> list[_Pass]:
        """Stretches of the way that are too near a walker, in order; where two bends would overlap they are one."""
        reach = self._reach_m + SLACK_M
        is_far = np.any(self.points.min(0) - reach > walker) or np.any(self.points.max(0) + reach < walker)
        if is_far:
            return []
        count = max(8, math.ceil(self.length_m / STEP_M))
        step = self.length_m / count
        away = np.linalg.norm(self._place(np.linspace(0.0, self.length_m, count, endpoint=False)) - walker, axis=1)
        if not (away < reach).any():
            return []
        if (away < reach).all():
            best = float(away.argmax()) * step
            return [_Pass(best, best + self.length_m, None)]
        passes = []
        for first, last, is_one in _runs(away < reach, math.ceil(2.0 * BEND_M / step)):
            low, high = (first - 1) * step, (last + 1) * step
            can_bend = is_one and high - low + 2.0 * BEND_M < self.length_m
            passes.append(_Pass(low, high, self._way_aside(low, high, walker) if can_bend else None))
        return passes

    def _way_aside(self, low: float, high: float, walker: tuple[float, float]) -> tuple[float, float] | None:
        """Offset that takes the stretch from ``low`` to ``high`` clear of a walker, on the nearer side if it can."""
        at = np.arange(low - BEND_M, high + BEND_M, STEP_M)
        places, is_near = self._place(at), (at >= low) & (at <= high)
        chord = self._place(np.array([low, high]))
        along = chord[1] - chord[0]
        if np.linalg.norm(along) < STEP_M:
            return None
        normal = np.array((-along[1], along[0]), np.float64) / float(np.linalg.norm(along))
        if np.dot(chord.mean(0) - walker, normal) < 0:
            normal = -normal
        for side in (normal, -normal):
            beside, before = (places - walker) @ side, (places - walker) @ np.array([side[1], -side[0]])
            reach = self._reach_m + SLACK_M
            needed = np.sqrt(np.maximum(reach**2 - before**2, 0.0)) - beside
            aside = side * float(needed[is_near & (np.abs(before) < reach)].max(initial=0.0))
            bent = self._place(at, [_Pass(low, high, (float(aside[0]), float(aside[1])))])
            is_clear = np.linalg.norm(bent - walker, axis=1).min() >= self._reach_m + 0.5 * SLACK_M
            if is_clear and self._is_free(bent):
                return float(aside[0]), float(aside[1])
        return None

    def _is_free(self, places: Floats) -> bool:
        cells = np.floor(places / CELL_M).astype(int)[:, ::-1]
        if (cells < 0).any() or (cells >= self.free.shape).any():
            return False
        return bool(self.free[cells[:, 0], cells[:, 1]].all())


def _smooth(t: float) -> float:
    t = min(max(t, 0.0), 1.0)
    return t * t * (3.0 - 2.0 * t)


def _runs(mask: npt.NDArray[np.bool_], least_gap: int) -> list[tuple[int, int, bool]]:
    """Runs of True round a closed way: (first, last, False if it was joined from several closer than the gap)."""
    firsts = np.flatnonzero(mask & ~np.roll(mask, 1))
    lasts = np.flatnonzero(mask & ~np.roll(mask, -1))
    if lasts[0] < firsts[0]:
        lasts = np.append(lasts[1:], lasts[0] + len(mask))
    runs = [(int(a), int(b), True) for a, b in zip(firsts, lasts, strict=True)]
    out = runs[:1]
    for run in runs[1:]:
        if run[0] - out[-1][1] < least_gap:
            out[-1] = (out[-1][0], run[1], False)
        else:
            out.append(run)
    if len(out) > 1 and out[0][0] + len(mask) - out[-1][1] < least_gap:
        first, _, _ = out.pop()
        out[0] = (first - len(mask), out[0][1], False)
    return out
