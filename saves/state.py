"""What a world file holds, as one immutable value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.chunks import Chunk, ChunkKey
from ..world.keyframes import Keyframe
from .journal import JournalEntry
from .manifest import Manifest


def _no_path() -> npt.NDArray[np.float64]:
    return np.zeros((0, 4), np.float64)


@dataclass(frozen=True, slots=True)
class Damage:
    """Something in a file that could not be read and was skipped.

    Attributes:
        what: "chunk 0 -1 2", "keyframe 7", "state", …
        reason: In words.
    """

    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True, slots=True, eq=False)
class WorldState:
    """A consistent moment of a world: references only, any thread may read it.

    Attributes:
        chunks: The memory's chunks by key, such as ``MemorySnapshot.chunks``.
        keyframes: The frames that are kept.
        manifest: Facts that change seldom.
        state: Where things stand, plain values and arrays (see ``packing``): pose, mode, tick, counters, ring, tails.
        journal: Everything that happened, only ever appended to.
        path: (N, 4) float64, the path walked: tick, x, y, z in the world frame.
        damage: What could not be read; empty for a state that was not loaded.
        is_complete: False while a world is still being read in: then saving it removes nothing from the file.
    """

    chunks: Mapping[ChunkKey, Chunk]
    keyframes: tuple[Keyframe, ...]
    manifest: Manifest
    state: Mapping[str, Any]
    journal: tuple[JournalEntry, ...] = ()
    path: npt.NDArray[np.float64] = field(default_factory=_no_path)
    damage: tuple[Damage, ...] = ()
    is_complete: bool = True
