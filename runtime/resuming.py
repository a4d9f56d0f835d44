"""A rollout that was cut off goes on where it was: its folder holds world and video up to a frame, and a note of it.

After a clip was merged, but not too often, the world is saved, the part of the video so far is closed, and the note
says which frame comes next. The same command finds the note and walks on from there, whatever ended it.
"""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..renderer.capture import VideoWriter
from ..renderer.joining import join_videos, read_frames
from ..world.camera import Pinhole
from ..world.transforms import Transform
from . import commands
from .director import ClipPlan
from .json_files import write_json
from .persistence import adopt_file
from .session import ROLLOUT_RATE_HZ, Session
from .world import World

NOTE_FILE = ".rollout.json"
PART_NAME = ".video-{:03d}.mp4"
WORLD_FILE, VIDEO_FILE = "world.spatia", "video.mp4"
SAVE_EVERY_S = 20.0
"""At most so much work is lost beside the clip that was being made; a short rollout is saved once, at its end."""


@dataclass(frozen=True, slots=True, eq=False)
class Unfinished:
    """How far a rollout came.

    Attributes:
        key: Of the command, see ``key_of``.
        next_frame: The first frame that is not in the video's parts.
        tick: The world's at that time.
        last_plan_tick: When clips were last planned.
        num_parts: Parts of the video.
        size: (width, height) of the video.
        world_T_start: (4, 4) where it began.
        unmeasured: Clips that were merged, by request, whose gain the director has not looked at yet.
    """

    key: str
    next_frame: int
    tick: int
    last_plan_tick: int
    num_parts: int
    size: tuple[int, int]
    world_T_start: Transform
    unmeasured: tuple[tuple[int, ClipPlan], ...] = ()

    def recall(self, session: Session) -> None:
        """Have a session of the saved world go on as the one that saved it would have."""
        session.world.walk.tick = self.tick
        session.clips.planner.last_plan_tick = self.last_plan_tick
        session.director.recall(replace(session.director.remember(), unmeasured=self.unmeasured))


def key_of(command: commands.Rollout) -> str:
    """What tells a command from others: its options, its path's poses, and its source's size and time."""
    options: dict[str, Any] = asdict(command) | {"out": "", "path": command.path and command.path.read_text("utf-8")}
    source = Path(command.source)
    facts = [source.stat().st_size, source.stat().st_mtime_ns] if source.is_file() else []
    return hashlib.blake2b(json.dumps([options, facts], default=str).encode(), digest_size=16).hexdigest()


def find_unfinished(out: Path, key: str) -> Unfinished | None:
    """What a rollout of the same command left behind, or None."""
    try:
        note = json.loads((out / NOTE_FILE).read_text("utf-8"))
        frame, tick, planned, parts = (int(note[n]) for n in ("next_frame", "tick", "last_plan_tick", "num_parts"))
        width, height = note["size"]
        start = np.array(note["world_T_start"], np.float64).reshape(4, 4)
        unmeasured = tuple(_unpack(entry) for entry in note["unmeasured"])
        is_whole = note["key"] == key and all((out / PART_NAME.format(k)).is_file() for k in range(parts))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = Unfinished(key, frame, tick, planned, parts, (int(width), int(height)), start, unmeasured)
    return found if is_whole and (out / WORLD_FILE).is_file() else None


class RolloutLog:
    """The video of a rollout, and what is needed to go on from a frame of it. Used by one thread.

    As a context manager: what is left by an exception can be gone on from.

    Args:
        out: The folder.
        key: Of the command; without one nothing is saved on the way.
        world: What is walked.
        size: (width, height) of the video.
        found: What is gone on from, or None.
    """

    def __init__(self, out: Path, key: str, world: World, size: tuple[int, int], found: Unfinished | None) -> None:
        self._out, self._key, self._world, self._size = out, key, world, size
        self._num_parts = 0 if found is None else found.num_parts
        self._start = world.walk.world_T_camera.copy() if found is None else found.world_T_start
        self._merged_clips = 0
        self._saved_at_s = time.perf_counter()
        self.next_frame = 0 if found is None else found.next_frame
        if found is None:
            _forget(out)
        self._video = self._next_part()

    def _next_part(self) -> VideoWriter:
        return VideoWriter(self._out / PART_NAME.format(self._num_parts), self._size, fps=int(ROLLOUT_RATE_HZ))

    def write(self, color: npt.NDArray[np.uint8]) -> None:
        """Append a frame to the video."""
        self._video.write(color)
        self.next_frame += 1

    def save_if_due(self, session: Session) -> None:
        """Save if a clip was merged since the last time, and that is long ago."""
        is_due = time.perf_counter() - self._saved_at_s >= SAVE_EVERY_S
        if is_due and session.status.merged_clips > self._merged_clips:
            self.save(session)

    def save(self, session: Session) -> None:
        """Make this the frame that can be gone on from."""
        if not self._key or self._world.memory.pager is not None:
            return
        if self._video.num_frames:
            self._video.close()
            self._num_parts += 1
            self._video = self._next_part()
        session.keep_director()
        adopt_file(self._world, self._out / WORLD_FILE)
        self._world.save(self._out / WORLD_FILE)
        self._note(session)
        self._merged_clips, self._saved_at_s = session.status.merged_clips, time.perf_counter()

    def _note(self, session: Session) -> None:
        values = {
            "key": self._key,
            "next_frame": self.next_frame,
            "tick": self._world.walk.tick,
            "last_plan_tick": session.clips.planner.last_plan_tick,
            "num_parts": self._num_parts,
            "size": self._size,
            "world_T_start": self._start.ravel().tolist(),
            "unmeasured": [_pack(number, plan) for number, plan in session.director.remember().unmeasured],
        }
        write_json(self._out / NOTE_FILE, values)

    def finish(self) -> None:
        """Put the whole video in its place and forget how it came about."""
        self._video.close()
        parts = [self._out / PART_NAME.format(k) for k in range(self._num_parts + 1)]
        parts = [p for p in parts if p.is_file()]
        if len(parts) == 1:
            os.replace(parts[0], self._out / VIDEO_FILE)
        else:
            join_videos(parts, self._out / VIDEO_FILE)

    def frames(self, indices: Sequence[int]) -> dict[int, npt.NDArray[np.uint8]]:
        """Frames of the finished video."""
        return read_frames(self._out / VIDEO_FILE, indices)

    def forget(self) -> None:
        """Drop note and parts, once everything else is written."""
        _forget(self._out)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.discard()
        if self._world.memory.pager is None and self._world.file is not None:
            self._world.close()


def _pack(request_id: int, plan: ClipPlan) -> dict[str, Any]:
    facts = {"poses": plan.world_T_camera.ravel().tolist(), "pinhole": asdict(plan.pinhole)}
    return facts | {"request": request_id, "purpose": plan.purpose, "missing": plan.missing_share}


def _unpack(facts: dict[str, Any]) -> tuple[int, ClipPlan]:
    poses = np.array(facts["poses"], np.float64).reshape(-1, 4, 4)
    return int(facts["request"]), ClipPlan(poses, Pinhole(**facts["pinhole"]), facts["purpose"], facts["missing"])


def _forget(out: Path) -> None:
    parts = PART_NAME.format(0).replace("000", "*")
    for path in [
        out / NOTE_FILE,
        *out.glob(parts),
        *out.glob(f".{parts}.*.partial"),
    ]:  # a kill leaves a part half-written
        path.unlink(missing_ok=True)
