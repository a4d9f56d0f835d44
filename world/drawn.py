"""What a pager gives to a renderer: changes of what is drawn, in order, and how many may wait."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from .blocks import Block, DrawKey
from .chunks import Chunk

MAX_READY_BYTES = 24 << 20
"""Read chunks that wait for a renderer; a second's worth."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawChange:
    """What a renderer shall show under a key from now on.

    Attributes:
        key: Of a chunk, or of a block of chunks.
        shown: A chunk in full, or a block; None: nothing.
        is_new: Memory changed; False where it was merely read.
        spacing: Of the chunk's points in voxels, where it is known.
        prepared: What the renderer's own ``prepare`` made of it on the pager's thread; None where it was not called.
    """

    key: DrawKey
    shown: Chunk | Block | None
    is_new: bool = False
    spacing: float | None = None
    prepared: Any = None

    @property
    def num_points(self) -> int:
        """Points shown."""
        return 0 if self.shown is None else self.shown.num_points


class DrawQueue:
    """Changes that wait for a renderer. Guarded by its owner's lock."""

    def __init__(self) -> None:
        self._waiting: deque[DrawChange] = deque()
        self._num_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """No more should be read until something was taken."""
        return self._num_bytes >= MAX_READY_BYTES

    def push(self, change: DrawChange) -> None:
        """Add a change."""
        self._waiting.append(change)
        self._num_bytes += 0 if change.shown is None else change.shown.num_bytes

    def take(self) -> DrawChange | None:
        """The oldest change, or None."""
        if not self._waiting:
            return None
        change = self._waiting.popleft()
        self._num_bytes -= 0 if change.shown is None else change.shown.num_bytes
        return change

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
        self._num_bytes = 0
