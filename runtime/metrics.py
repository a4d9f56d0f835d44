"""Counters and timings of a walk, as they stand in ``report.json`` and ``spatia bench``."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..generator.queue import Ended
from ..world.updates import UpdateReport

MAX_SAMPLES = 20_000
"""Frame times kept: over five minutes at 60 Hz; older ones fall out."""


def percentiles_ms(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p95, p99 and maximum in milliseconds; empty without samples."""
    values = np.fromiter(seconds, np.float64) * 1e3
    if not len(values):
        return {}
    p50, p95, p99 = (round(float(v), 3) for v in np.percentile(values, (50, 95, 99)))
    return {"p50": p50, "p95": p95, "p99": p99, "max": round(float(values.max()), 3)}


@dataclass(slots=True)
class Metrics:
    """Collected by the session and its loops; one thread writes."""

    work_s: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    interval_s: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    event_to_present_s: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_SAMPLES))
    merge_times_s: list[float] = field(default_factory=list)
    clip_latency_s: list[float] = field(default_factory=list)
    clip_phases_s: dict[str, list[float]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    updates: list[UpdateReport] = field(default_factory=list)
    void_seconds: float = 0.0
    frames: int = 0
    closures_m: list[float] = field(default_factory=list)
    dropped_ticks: int = 0
    reduced_resolution_frames: int = 0

    def frame(self, *, work_s: float, interval_s: float | None, void_share: float, dt_s: float) -> None:
        """A frame was presented.

        Args:
            work_s: Time of the frame's own work, without waiting.
            interval_s: Time since the last present, None for the first.
            void_share: Share of the screen without surface.
            dt_s: How long the frame stands.
        """
        self.frames += 1
        self.work_s.append(work_s)
        if interval_s is not None:
            self.interval_s.append(interval_s)
        self.void_seconds += void_share * dt_s

    def clip_ended(self, ended: Ended) -> None:
        """A request ended, however."""
        self.outcomes[ended.outcome.name.lower()] += 1
        self.clip_latency_s.append(ended.latency_s)
        for phase, seconds in ended.seconds.items():
            self.clip_phases_s.setdefault(phase, []).append(seconds)

    def clip_merged(self, now_s: float, report: UpdateReport) -> None:
        """A clip's update was merged."""
        self.merge_times_s.append(now_s)
        self.updates.append(report)

    def loop_closed(self, largest_move_m: float) -> None:
        """Drift was taken out of memory."""
        self.closures_m.append(largest_move_m)

    def summary(self) -> dict[str, Any]:
        """Everything as plain values."""
        totals = {
            name: sum(getattr(u, name) for u in self.updates)
            for name in ("added", "refreshed", "replaced", "outranked", "removed")
        }
        return {
            "frames": self.frames,
            "void_seconds": round(self.void_seconds, 4),
            "work_ms": percentiles_ms(self.work_s),
            "present_interval_ms": percentiles_ms(self.interval_s),
            "event_to_present_ms": percentiles_ms(self.event_to_present_s),
            "dropped_ticks": self.dropped_ticks,
            "reduced_resolution_share": round(self.reduced_resolution_frames / max(self.frames, 1), 4),
            "clips": {
                "outcomes": dict(self.outcomes),
                "latency_ms": percentiles_ms(self.clip_latency_s),
                "phases_ms": {k: percentiles_ms(v) for k, v in sorted(self.clip_phases_s.items())},
                "voxels": totals,
                "rejected": [u.rejected for u in self.updates if u.rejected],
            },
            "closures": {"count": len(self.closures_m), "largest_move_m": round(max(self.closures_m, default=0.0), 4)},
        }
