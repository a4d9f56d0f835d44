"""Loop closure in a walk: what was merged is compared with what was known, and drift is taken out of memory.

The work runs on the session's background thread; taking it over swaps references, as a merge does.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..generator.requests import ClipRequest
from ..world.changes import StagedChange
from ..world.chunks import ChunkKey
from ..world.keyframes import BankSnapshot, FrameBank, Keyframe, StagedFrames
from ..world.memory import MemorySnapshot
from ..world.slam.closure import Closure, KeyView, Loop, find_closure, key_view
from ..world.slam.correction import Correction, stage_correction
from ..world.transforms import Transform
from ..world.updates import MapUpdate
from .director import Director, Settled, Tail

if TYPE_CHECKING:
    from .world import World

Moved = TypeVar("Moved", Tail, Settled)

MAX_VIEWS = 160
"""Keyframes that are compared; in a larger world the newest ones and those of the source."""
SAME_POSE = 1e-9
VIEWS_PER_CLIP = 3
"""Frames of a clip that are compared beside those that the bank kept: on a return it keeps few."""


@dataclass(frozen=True, slots=True, eq=False)
class StagedClosure:
    """A correction, ready to be taken over.

    Attributes:
        correction: How points and poses move, by keyframe.
        facts: Plain figures for the journal.
        memory: What it changes in memory.
        frames: What it changes in the bank, from ``bank``.
    """

    correction: Correction
    facts: dict[str, Any]
    memory: StagedChange
    frames: StagedFrames

    @property
    def bank(self) -> BankSnapshot:
        """The bank that it was computed from."""
        return self.frames.base


class LoopCloser:
    """Finds loops among a world's keyframes; remembers corners and loops. Used by one thread at a time."""

    def __init__(self) -> None:
        self._views: dict[int, KeyView] = {}
        self._loops: list[Loop] = []

    def look(self, bank: BankSnapshot, update: MapUpdate) -> Closure | None:
        """Compare a clip that was just merged with what was known before. Any one thread.

        Args:
            bank: Keyframes, the clip's among them.
            update: The clip's update.
        """
        new = [k for k in update.keyframes if k.depth_m is not None]
        new = new[:: max(1, -(-len(new) // VIEWS_PER_CLIP))]
        offered = {k.keyframe_id: k for k in (*new, *bank.keyframes) if k.depth_m is not None}
        frames = sorted(offered.values(), key=lambda k: k.keyframe_id)
        sources = [k for k in frames if k.request_id == 0]
        if not sources or not new:
            return None
        frames = sorted({*sources, *frames[-MAX_VIEWS:]}, key=lambda k: k.keyframe_id)
        views = [self._view_of(k) for k in frames]
        self._views = {v.identity: v for v in views}
        fresh = frozenset(k.keyframe_id for k in frames if k.request_id == new[0].request_id)
        return find_closure(views, known=tuple(self._loops), only_new=fresh, on_loop=self._loops.append)

    def _view_of(self, keyframe: Keyframe) -> KeyView:
        known = self._views.get(keyframe.keyframe_id)
        if known is not None:
            return replace(known, world_T_camera=keyframe.world_T_camera)
        assert keyframe.depth_m is not None, "frames without depth were left out"
        return key_view(
            keyframe.keyframe_id,
            keyframe.color,
            keyframe.depth_m,
            keyframe.pinhole,
            keyframe.world_T_camera,
            moving=keyframe.moving,
            is_fixed=keyframe.request_id == 0,
        )


def stage_closure(snapshot: MemorySnapshot, bank: FrameBank, closure: Closure) -> StagedClosure:
    """Work out what a correction changes. Any thread.

    Args:
        snapshot: Memory as it is.
        bank: Keyframes as they are.
        closure: The correction.
    """
    correction = closure.correction
    places = [np.linalg.norm(m[:3, 3]) for m in correction.moved_T_world]
    facts = {
        "loops": [[loop.old, loop.new] for loop in closure.loops],
        "outvoted": closure.num_outvoted,
        "residual_before": closure.residual_before,
        "residual_after": closure.residual_after,
        "largest_move_m": float(max(places)),
        "keyframe_ids": correction.keyframe_ids.tolist(),
        "moved_T_world": [m[:3].ravel().tolist() for m in correction.moved_T_world],
    }
    return stage_facts(snapshot, bank, correction, facts)


def stage_facts(
    snapshot: MemorySnapshot, bank: FrameBank, correction: Correction, facts: Mapping[str, Any]
) -> StagedClosure:
    """The same for a correction that is known already, as from a log."""
    poses = {k.keyframe_id: correction.of(k.keyframe_id) @ k.world_T_camera for k in bank.keyframes}
    moved = {
        k.keyframe_id: poses[k.keyframe_id]
        for k in bank.keyframes
        if np.abs(k.world_T_camera - poses[k.keyframe_id]).max() > SAME_POSE
    }
    memory = stage_correction(snapshot, correction)
    counts = {"keyframes_moved": len(moved), "voxels_moved": memory.report.refreshed}
    return StagedClosure(correction, {**facts, **counts}, memory, bank.stage_poses(moved))


def correction_from(facts: Mapping[str, Any]) -> Correction:
    """The correction that a journal's entry or a log describes."""
    moves = np.tile(np.eye(4), (len(facts["keyframe_ids"]), 1, 1))
    moves[:, :3] = np.asarray(facts["moved_T_world"], np.float64).reshape(-1, 3, 4)
    return Correction(np.asarray(facts["keyframe_ids"], np.int64), moves)


class LoopClosing:
    """Looks for loops after merges, and keeps what is on its way in step with corrections. The session's thread.

    Args:
        world: Whose memory and keyframes are compared.
        background: Where the looking is done; at once, in ``look``, if not given.
    """

    def __init__(self, world: "World", background: Executor | None) -> None:
        self._world, self._background = world, background
        self._closer = LoopCloser()
        self._found: Future[StagedClosure | None] | None = None
        self._applied: list[tuple[int, Correction]] = []

    @property
    def is_busy(self) -> bool:
        """Whether a look is under way, so that a merge should wait."""
        return self._found is not None and not self._found.done()

    def look(self, update: MapUpdate) -> None:
        """Compare a clip that was just merged with what was known before."""
        bank = FrameBank(self._world.bank.max_bytes)
        bank.restore(self._world.bank.snapshot())
        memory = self._world.memory.snapshot()
        if self._background is None:
            self._found = Future()
            self._found.set_result(self._look(update, memory, bank))
        else:
            self._found = self._background.submit(self._look, update, memory, bank)

    def _look(self, update: MapUpdate, memory: MemorySnapshot, bank: FrameBank) -> StagedClosure | None:
        closure = self._closer.look(bank.snapshot(), update)
        return None if closure is None else stage_closure(memory, bank, closure)

    def take(self) -> StagedClosure | None:
        """What was found, once it is; dropped if the world changed meanwhile: the next clip shows the same drift."""
        if self._found is None or not self._found.done():
            return None
        staged, self._found = self._found.result(), None
        if staged is None or self._world.memory.is_stale(staged.memory):
            return None
        if self._world.bank.snapshot().entries is not staged.bank.entries:
            return None
        return staged

    def apply(self, staged: StagedClosure, director: Director) -> tuple[ChunkKey, ...]:
        """Take a correction over: memory, keyframes and what the director remembers; swaps references.

        Returns:
            Keys of the changed chunks.
        """
        changed = self._world.memory.apply(staged.memory).changed
        self._world.bank.apply(staged.frames)
        self._applied.append((self._world.walk.next_request_id, staged.correction))
        move_director(director, staged.correction, self._world.bank.snapshot())
        return changed

    def forget(self) -> None:
        """Start anew, where identities of requests and keyframes are given out again."""
        self._closer, self._found, self._applied = LoopCloser(), None, []

    def recorded(self, facts: Mapping[str, Any]) -> StagedClosure:
        """A correction from a log, against the world as it is."""
        return stage_facts(self._world.memory.snapshot(), self._world.bank, correction_from(facts), facts)

    def followed(self, update: MapUpdate, request: ClipRequest) -> MapUpdate:
        """A clip's update, moved by the corrections that were made since it was asked for."""
        for next_id, correction in self._applied:
            if request.request_id < next_id:
                update = correction.of_update(update, request.first_keyframe_id)
        return update


def move_director(director: Director, correction: Correction, bank: BankSnapshot) -> None:
    """Move tails and settled directions with the last keyframe of the clip that they belong to.

    Args:
        director: Whose lists are replaced.
        correction: Motions by keyframe.
        bank: Tells which keyframes a clip gave; the newest clip may have given none.
    """
    newest = max((k.request_id for k in bank.keyframes), default=0)

    def motion(request_id: int) -> Transform:
        if request_id > newest:
            return correction.of(int(correction.keyframe_ids[-1]))
        return correction.of(max((k.keyframe_id for k in bank.keyframes if k.request_id <= request_id), default=0))

    def moved(items: "Sequence[Moved]") -> "list[Moved]":
        return [replace(i, world_T_camera=motion(i.request_id) @ i.world_T_camera) for i in items]

    director.tails, director.settled, director.held = (
        moved(director.tails),
        moved(director.settled),
        moved(director.held),
    )
