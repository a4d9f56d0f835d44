"""Recordings without poses: find them before the world is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..saves.errors import SourceError
from ..saves.frames import LazyFrames, Source, SourceFrame
from ..world.slam.tracking import Trajectory, track_recording
from ..world.transforms import Transform

MIN_TRACKED_SHARE = 0.25
"""With fewer frames that hang together, the recording shows no one place."""


@dataclass(frozen=True, slots=True, eq=False)
class TrackedSource:
    """A recording with the poses that were found.

    Attributes:
        source: Its frames that were not lost, with poses; the note says how many were.
        trajectory: Of all frames, lost ones with the reason.
    """

    source: Source
    trajectory: Trajectory


def track_source(source: Source, progress: Callable[[str, float], None] | None = None) -> TrackedSource:
    """Find the poses of a recording that came without.

    Args:
        source: Of RGB-D frames.
        progress: Called with what is going on and the share that is done.

    Raises:
        SourceError: Frames have no depth, or too few of them hang together.
    """
    if not source.frames or source.frames[0].depth_m is None:
        raise SourceError(source.name, expected="frames with depth or with poses", got="neither")
    trajectory = track_recording(source.frames, progress=progress)
    kept = np.flatnonzero(trajectory.is_tracked)
    if len(kept) < max(1, MIN_TRACKED_SHARE * len(source.frames)):
        lost = [p.lost for p in trajectory.poses if p.lost]
        got = f"{len(kept)} of {len(source.frames)} ({max(set(lost), key=lost.count)})"
        raise SourceError(source.name, expected="frames that overlap", got=got, do="record slower, in a textured place")
    loaders = [partial(_with_pose, source.frames, int(k), trajectory.poses[k].world_T_camera) for k in kept]
    found = f"poses found by tracking: {len(kept)} of {len(source.frames)} frames"
    note = "; ".join(filter(None, [source.note, found]))
    return TrackedSource(replace(source, frames=LazyFrames(loaders), note=note, has_poses=True), trajectory)


def _with_pose(frames: Sequence[SourceFrame], k: int, world_T_camera: Transform) -> SourceFrame:
    return replace(frames[k], world_T_camera=world_T_camera.copy())
