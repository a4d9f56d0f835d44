"""Recordings, videos and folders of pictures without poses: find these, and depth that is missing, first."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..saves.errors import SourceError
from ..saves.frames import LazyFrames, Source, SourceFrame
from ..world.slam.closure import choose_keyframes, close_trajectory
from ..world.slam.sequence_depth import KeyDepth, estimate_sequence
from ..world.slam.structure import track_pictures
from ..world.slam.tracking import Trajectory, track_recording
from ..world.transforms import Transform
from .errors import UserError

MIN_TRACKED_SHARE = 0.25
"""With fewer frames that hang together, the recording shows no one place."""
MIN_PICTURES = 3
MIN_BASELINE = 0.02
"""Of the scene's depth; nearer cameras give no scale."""
MEDIAN_DEPTH = 2.0
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class KnownDistance:
    """How far apart the cameras of two frames stood.

    Attributes:
        metres: The distance.
        first: Number of one frame, counted from 0 as ``tracked.png`` shows; negative from the end.
        last: Number of the other.
    """

    metres: float
    first: int = 0
    last: int = -1

    @classmethod
    def parse(cls, text: str) -> "KnownDistance":
        """From "0.8" (first to last frame) or "0.8@0:45" (frame 0 to frame 45).

        Raises:
            UserError: Neither, or no positive length.
        """
        length, _, frames = text.partition("@")
        first, _, last = frames.partition(":")
        try:
            known = cls(float(length), int(first), int(last)) if frames else cls(float(length))
        except ValueError:
            known = cls(0.0)
        if not 0 < known.metres < 1e6:
            wanted = "--scale METRES from the first to the last camera, or METRES@FRAME:FRAME"
            raise UserError(wanted, repr(text), "write for example --scale 0.8 or --scale 0.8@0:45")
        return known


@dataclass(frozen=True, slots=True, eq=False)
class TrackedSource:
    """A recording with the poses that were found.

    Attributes:
        source: Its frames that were not lost, with poses; the note says how many were. Of pictures without depth those
            for which it was found.
        trajectory: Of all frames, lost ones with the reason.
    """

    source: Source
    trajectory: Trajectory


def track_source(
    source: Source,
    progress: Progress | None = None,
    *,
    scale: KnownDistance | None = None,
    sheet: Path | None = None,
) -> TrackedSource:
    """Find the poses of a recording that came without, and the depth of pictures that came without.

    Args:
        source: Of RGB-D frames, or of three pictures or more.
        progress: Called with what is going on and the share that is done.
        scale: A distance that makes pictures without depth metric.
        sheet: Where a contact sheet of what was tracked is written (PNG), or None.

    Raises:
        SourceError: Too few frames hang together, or there is neither depth nor a camera that moves.
        UserError: A scale for frames with depth, or of frames that were lost.
    """
    if not source.frames:
        raise SourceError(source.name, expected="frames", got="none")
    report = progress or (lambda what, share: None)
    if source.frames[0].depth_m is None:
        tracked = _track_pictures(source, report, scale)
    elif scale is not None:
        raise UserError("no --scale with depth, which is in metres already", "one", "leave it out")
    else:
        tracked = _track_rgbd(source, report)
    if sheet is not None:
        from .tracking_sheet import write_tracking_sheet

        write_tracking_sheet(sheet, source, tracked, report)
    return tracked


def _track_rgbd(source: Source, report: Progress) -> TrackedSource:
    trajectory = track_recording(source.frames, progress=report)
    kept = _kept(source, trajectory, "record slower, in a textured place")
    found = trajectory.world_T_camera[kept]
    frames = LazyFrames([partial(source.frames.__getitem__, k) for k in kept])
    poses, closure = close_trajectory(frames, found, choose_keyframes(found), progress=report)
    moved = {k: replace(trajectory.poses[k], world_T_camera=pose) for k, pose in zip(kept, poses, strict=True)}
    trajectory = replace(trajectory, poses=tuple(moved.get(k, pose) for k, pose in enumerate(trajectory.poses)))
    loaders = [partial(_with_pose, source.frames, k, trajectory.poses[k].world_T_camera) for k in kept]
    loops = "" if closure is None else f"{len(closure.loops)} loops closed"
    note = _joined(_placed(source), f"poses found by tracking: {len(kept)} of {len(source.frames)} frames", loops)
    return TrackedSource(replace(source, frames=LazyFrames(loaders), note=note, has_poses=True), trajectory)


def _track_pictures(source: Source, report: Progress, scale: KnownDistance | None) -> TrackedSource:
    if len(source.frames) < MIN_PICTURES:
        got = f"{len(source.frames)}; a lone photo is given by its own path"
        raise SourceError(source.name, expected=f"{MIN_PICTURES} pictures or more", got=got)
    if scale is not None:
        _check_frames(scale, len(source.frames))
    trajectory = track_pictures(source.frames, progress=report)
    kept = _kept(source, trajectory, "walk sideways past textured things while filming; check --intrinsics")
    factor = 1.0 if scale is None else _factor(trajectory, scale)
    keys = list(estimate_sequence(source.frames, trajectory.world_T_camera, kept, progress=report))
    if not keys:
        raise SourceError(
            source.name, expected="pictures that show depth", got="none that agree", do="check --intrinsics"
        )
    trajectory = trajectory.scaled(factor)
    loaders = [partial(_with_depth, source.frames, key, trajectory, factor) for key in keys]
    found = (
        f"poses found by tracking: {len(kept)} of {len(source.frames)} pictures; depth of {len(keys)} by plane sweep"
    )
    metric = "not metric: no distance is known" if scale is None else f"metric by a distance of {scale.metres:g} m"
    note = _joined(_placed(source), found, metric)
    made = replace(
        source,
        frames=LazyFrames(loaders),
        metric=scale is not None,
        note=note,
        has_poses=True,
        has_estimated_depth=True,
    )
    return TrackedSource(made, trajectory)


def _kept(source: Source, trajectory: Trajectory, do: str) -> list[int]:
    """Frames that were not lost.

    Raises:
        SourceError: They are too few.
    """
    kept = np.flatnonzero(trajectory.is_tracked)
    if len(kept) < max(1, MIN_TRACKED_SHARE * len(source.frames)):
        reason, _ = Counter(p.lost for p in trajectory.poses if p.lost).most_common(1)[0]
        got = f"{len(kept)} of {len(source.frames)} ({reason})"
        raise SourceError(source.name, expected="frames that overlap", got=got, do=do)
    return [int(k) for k in kept]


def _check_frames(known: KnownDistance, count: int) -> None:
    """Refuse frames that cannot give a scale, before minutes of tracking.

    Raises:
        UserError: They are not there, or one and the same.
    """
    for index in (known.first, known.last):
        if not -count <= index < count:
            raise UserError(f"frames of --scale within 0:{count}", str(index), "see the numbers in tracked.png")
    if known.first % count == known.last % count:
        raise UserError("two frames in --scale", f"frame {known.first % count} twice", "name another")


def _factor(trajectory: Trajectory, known: KnownDistance) -> float:
    """Metres for each unit of the trajectory."""
    count = len(trajectory.poses)
    for index in (known.first, known.last):
        if trajectory.poses[index].lost:
            raise UserError("tracked frames in --scale", f"frame {index % count}, which was lost", "name another")
    first, last = (trajectory.poses[k].world_T_camera[:3, 3] for k in (known.first, known.last))
    distance = float(np.linalg.norm(last - first))
    if distance < MIN_BASELINE * MEDIAN_DEPTH:
        got = f"{distance / MEDIAN_DEPTH:.1%} of the scene's depth between them"
        raise UserError("frames in --scale whose cameras stood apart", got, "name two others, as METRES@FRAME:FRAME")
    return known.metres / distance


def _with_pose(frames: Sequence[SourceFrame], k: int, world_T_camera: Transform) -> SourceFrame:
    return replace(frames[k], world_T_camera=world_T_camera.copy())


def _with_depth(frames: Sequence[SourceFrame], key: KeyDepth, trajectory: Trajectory, factor: float) -> SourceFrame:
    from ..world.slam.multiview import enlarge_depth

    frame = frames[key.index]
    depth, confidence = enlarge_depth(key.depth, key.confidence, frame.pinhole)
    pose = trajectory.poses[key.index].world_T_camera.copy()
    scaled: npt.NDArray[np.float32] = depth * np.float32(factor)
    return replace(frame, depth_m=scaled, confidence=confidence, world_T_camera=pose)


def _placed(source: Source) -> str:
    """The source's note, which no longer says that there are no poses."""
    return "; ".join(part for part in source.note.split("; ") if part != "no poses")


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))
