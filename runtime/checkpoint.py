"""A moment of a session that it can go back to: references to immutable values, no copies of points."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..saves.journal import JournalEntry
from ..world.keyframes import BankSnapshot
from ..world.memory import MemorySnapshot
from ..world.slam.correction import Correction
from .director import DirectorState
from .rig import RigState

if TYPE_CHECKING:
    from .world import WalkState


@dataclass(frozen=True, slots=True, eq=False)
class UndoStep:
    """What memory and keyframes were before a clip was merged, and the corrections made between it and the next."""

    request_id: int
    memory: MemorySnapshot
    bank: BankSnapshot
    corrections: tuple[Correction, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Everything that what comes next depends on. Made by ``Session.checkpoint``; of one world alone.

    Attributes:
        memory: Points.
        bank: Keyframes and the next identity.
        walk: A copy of where the walk stands.
        rig: The walker.
        rig_before: The walker a tick earlier.
        fall_m_s: Speed of a fall that is under way.
        director: What was generated and what waits.
        last_plan_tick: When a clip was last planned.
        undo: What can be taken back.
        journal: What became of the requests so far.
        seed: Of what is generated from here on.
        generator: What the generator keeps between requests, or None.
        merged_clips: Clips merged so far.
        outcomes: Ends of requests so far.
    """

    memory: MemorySnapshot
    bank: BankSnapshot
    walk: "WalkState"
    rig: RigState
    rig_before: RigState
    fall_m_s: float
    director: DirectorState
    last_plan_tick: int
    undo: tuple[UndoStep, ...]
    journal: tuple[JournalEntry, ...]
    seed: int
    generator: object
    merged_clips: int
    outcomes: tuple[tuple[str, int], ...]


def copy_walk(walk: "WalkState") -> "WalkState":
    """A copy that later ticks of the other leave alone."""
    return replace(
        walk,
        world_T_camera=walk.world_T_camera.copy(),
        settled=list(walk.settled),
        held=list(walk.held),
        marks=list(walk.marks),
        path=list(walk.path),
    )
