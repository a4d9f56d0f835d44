"""Time: the one way to the wall clock, and a fixed step on top of it."""

import time
from dataclasses import dataclass
from typing import Protocol

MAX_FRAME_TIME_S = 0.25
"""A longer hitch slows the walk instead of making it jump."""
MAX_TICKS_PER_FRAME = 8


class Clock(Protocol):
    """A monotonic clock."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""
        ...

    def wait_until(self, time_s: float) -> None:
        """Sleep until the clock shows the time; returns at once if it has passed."""
        ...


class WallClock:
    """The machine's monotonic clock."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start."""
        return time.perf_counter()

    def wait_until(self, time_s: float) -> None:
        """Sleep, then spin through the last half millisecond that sleeping cannot hit."""
        rest = time_s - time.perf_counter()
        if rest > 0.0007:
            time.sleep(rest - 0.0005)
        while time.perf_counter() < time_s:
            pass


class SimulatedClock:
    """A clock that moves only when it is told to; for rollouts, agents and tests."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """The simulated time."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now_s += seconds

    def wait_until(self, time_s: float) -> None:
        """Jump to the time."""
        self._now_s = max(self._now_s, time_s)


@dataclass(slots=True)
class FixedStep:
    """Accumulates frame time and pays it out in ticks of constant length.

    Attributes:
        dt_s: Length of a tick.
        dropped_ticks: Ticks left out because a frame held more than ``MAX_TICKS_PER_FRAME``.
    """

    dt_s: float
    dropped_ticks: int = 0
    _rest_s: float = 0.0

    def take(self, frame_time_s: float) -> int:
        """Add a frame's time and return how many ticks to run now."""
        self._rest_s += min(max(frame_time_s, 0.0), MAX_FRAME_TIME_S)
        ticks = int(self._rest_s / self.dt_s + 1e-9)
        self._rest_s = max(0.0, self._rest_s - ticks * self.dt_s)
        if ticks > MAX_TICKS_PER_FRAME:
            self.dropped_ticks += ticks - MAX_TICKS_PER_FRAME
            ticks = MAX_TICKS_PER_FRAME
        return ticks

    @property
    def overstep(self) -> float:
        """Fraction of a tick that has passed since the last one, in [0, 1): where to draw between two poses."""
        return min(self._rest_s / self.dt_s, 0.999)
