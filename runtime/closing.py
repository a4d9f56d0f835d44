"""Loop closure in a walk: what was merged is compared with what was known, and drift is taken out of memory.

The work runs on the session's background thread; taking it over swaps references, as a merge does.

A correction is on trial: of the next ``WATCHED_UPDATES`` updates that were asked for after it, ``WORSE_UPDATES`` that
fit memory clearly worse than updates did before take it back, once. Worse is a residual above ``WORSE_FACTOR`` times
the median of the last ``REMEMBERED_RESIDUALS`` and above ``WORSE_RESIDUAL``. Memory and keyframes then are what they
were, by the references kept; the clips that came since are merged again, moved back.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
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
from .director import Director, Tail
from .settled import Settled

if TYPE_CHECKING:
    from .world import World

Moved = TypeVar("Moved", Tail, Settled)

MAX_VIEWS = 160
"""Keyframes that are compared; in a larger world the newest ones and those of the source."""
SAME_POSE = 1e-9
WATCHED_UPDATES, WORSE_UPDATES = 4, 2
MAX_MERGED_SINCE = 8
"""Clips that are kept to be merged again; with more of them the correction stands."""
WORSE_FACTOR, WORSE_RESIDUAL = 2.0, 0.01
"""Of the residuals before, and of the depth: noise of well placed clips stays below."""
REMEMBERED_RESIDUALS = 5
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


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """A clip that was merged, and the first identity of its keyframes."""

    request_id: int
    update: MapUpdate
    first_keyframe_id: int


@dataclass(slots=True, eq=False)
class Trial:
    """A correction that may be taken back.

    Attributes:
        correction: What was done.
        loops: Keyframes of the loops that asked for it, (old, new) each.
        memory: What memory was before it.
        bank: What the keyframes were before it.
        next_request_id: Requests from this one on saw the corrected memory.
        revision: Memory's, as far as clips alone changed it since.
        usual: Residual of updates before it.
        since: Clips merged since, in order.
        residuals: Those of updates that were asked for since.
    """

    correction: Correction
    loops: tuple[tuple[int, int], ...]
    memory: MemorySnapshot
    bank: BankSnapshot
    next_request_id: int
    revision: int
    usual: float
    since: list[Merged] = field(default_factory=list)
    residuals: list[float] = field(default_factory=list)

    @property
    def limit(self) -> float:
        """A residual above it is clearly worse than before."""
        return max(WORSE_FACTOR * self.usual, WORSE_RESIDUAL)

    @property
    def is_refuted(self) -> bool:
        """Whether enough updates fit worse."""
        return sum(r > self.limit for r in self.residuals) >= WORSE_UPDATES

    def as_facts(self) -> dict[str, Any]:
        """Plain figures for the journal."""
        return {
            "loops": [list(pair) for pair in self.loops],
            "residual_usual": self.usual,
            "residual_limit": self.limit,
            "residuals_since": list(self.residuals),
            "clips_merged_again": [m.request_id for m in self.since],
        }


class LoopCloser:
    """Finds loops among a world's keyframes; remembers corners and loops. Used by one thread at a time."""

    def __init__(self) -> None:
        self._views: dict[int, KeyView] = {}
        self._loops: list[Loop] = []

    def distrust(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Forget loops, by their (old, new) keyframes: what they asked for made memory worse."""
        self._loops = [loop for loop in self._loops if (loop.old, loop.new) not in pairs]

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
        self._usual: list[float] = []
        self._trial: Trial | None = None

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
        memory, bank = self._world.memory.snapshot(), self._world.bank.snapshot()
        changed = self._world.memory.apply(staged.memory).changed
        self._world.bank.apply(staged.frames)
        next_id = self._world.walk.next_request_id
        self._applied.append((next_id, staged.correction))
        loops = tuple((int(old), int(new)) for old, new in staged.facts.get("loops", ()))
        usual = float(np.median(self._usual)) if self._usual else 0.0
        revision = self._world.memory.revision
        self._trial = Trial(staged.correction, loops, memory, bank, next_id, revision, usual)
        move_director(director, staged.correction, self._world.bank.snapshot())
        return changed

    def forget(self) -> None:
        """Start anew, where identities of requests and keyframes are given out again."""
        self._closer, self._found, self._applied = LoopCloser(), None, []
        self._usual, self._trial = [], None

    @property
    def trial(self) -> Trial | None:
        """The correction that may be taken back."""
        return self._trial

    def accept(self) -> None:
        """Take nothing back any more, where memory changed by other hands."""
        self._trial = None

    def judge(self, update: MapUpdate, request_id: int) -> bool:
        """Look at the residual of an update that is to be merged; call it once for each.

        Returns:
            Whether the last correction must be taken back.
        """
        trial, residual = self._trial, update.report.residual
        if trial is not None and self._world.memory.revision != trial.revision:
            trial = self._trial = None
        if not np.isfinite(residual):
            return False
        if trial is not None and request_id >= trial.next_request_id:
            trial.residuals.append(float(residual))
            if trial.is_refuted:
                return True
            if len(trial.residuals) >= WATCHED_UPDATES:
                self._trial = None
        self._usual = [*self._usual, float(residual)][-REMEMBERED_RESIDUALS:]
        return False

    def merged(self, clip: Merged) -> None:
        """A clip was merged; memory is as it left it."""
        if self._trial is not None:
            self._trial.since.append(clip)
            self._trial.revision = self._world.memory.revision
            if len(self._trial.since) > MAX_MERGED_SINCE:
                self._trial = None

    def take_back(self, director: Director) -> tuple[tuple[ChunkKey, ...], tuple[Merged, ...]]:
        """Undo the correction on trial: memory and keyframes are those before it, tails and directions move back.

        Returns:
            Keys of the changed chunks, and the clips to merge again, moved back.
        """
        trial, self._trial = self._trial, None
        assert trial is not None, "only a correction on trial is taken back"
        back = trial.correction.inverted()
        move_director(director, back, self._world.bank.snapshot())
        changed = self._world.memory.restore(trial.memory).changed
        self._world.bank.restore(trial.bank)
        self._applied.append((self._world.walk.next_request_id, back))
        self._closer.distrust(trial.loops)
        self._found = None  # what is being looked for now compares with what is gone
        return changed, tuple(replace(m, update=back.of_update(m.update, m.first_keyframe_id)) for m in trial.since)

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
