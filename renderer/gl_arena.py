"""All chunks' points in one vertex buffer, each chunk in a range of its own."""

from typing import Any

import numpy as np
import numpy.typing as npt

BYTES_PER_POINT = 12

_INITIAL_POINTS = 1 << 18
_ROUND = 256
"""Ranges are multiples of this many points, with an eighth to spare, so that a chunk that grows keeps its range."""


class PointArena:
    """Ranges of one growing GL buffer. The GL thread uses it.

    Args:
        ctx: ModernGL context.
    """

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._capacity = _INITIAL_POINTS
        self.buffer = ctx.buffer(reserve=_INITIAL_POINTS * BYTES_PER_POINT)
        self._free: list[tuple[int, int]] = [(0, _INITIAL_POINTS)]  # (first, length), by first, never touching
        self._taken: dict[int, tuple[int, int]] = {}

    def put(self, slot: int, vertices: npt.NDArray[np.uint16]) -> tuple[int, bool]:
        """Store a slot's points, in its old range where they fit.

        Args:
            slot: Any number that names the range.
            vertices: (N, 6) uint16, 12 bytes a point.

        Returns:
            First point's index, and whether ``buffer`` is another object than before.
        """
        n = len(vertices)
        moved = False
        first, length = self._taken.get(slot, (0, -1))
        if n > length or length > 4 * n + 4 * _ROUND:
            self.drop(slot)
            wanted = max(_ROUND, -(-(n + n // 8) // _ROUND) * _ROUND)
            moved = self._reserve(wanted)
            first = self._take(slot, wanted)
        self.buffer.write(np.ascontiguousarray(vertices), offset=first * BYTES_PER_POINT)
        return first, moved

    def drop(self, slot: int) -> None:
        """Give a slot's range back; nothing happens if it has none."""
        taken = self._taken.pop(slot, None)
        if taken is None:
            return
        merged: list[tuple[int, int]] = []
        for first, length in sorted([*self._free, taken]):
            if merged and merged[-1][0] + merged[-1][1] == first:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((first, length))
        self._free = merged

    def release(self) -> None:
        """Free the buffer."""
        self.buffer.release()

    def _reserve(self, wanted: int) -> bool:
        """Make sure that a free range of this length exists."""
        if any(length >= wanted for _, length in self._free):
            return False
        grown = max(self._capacity * 3 // 2, self._capacity + wanted)
        buffer = self._ctx.buffer(reserve=grown * BYTES_PER_POINT)
        self._ctx.copy_buffer(buffer, self.buffer, self._capacity * BYTES_PER_POINT)
        self.buffer.release()
        self.buffer = buffer
        old, self._capacity = self._capacity, grown
        self._taken[-1] = (old, grown - old)
        self.drop(-1)  # joins the new end to a free range before it
        return True

    def _take(self, slot: int, wanted: int) -> int:
        fits = [(length, first) for first, length in self._free if length >= wanted]
        length, first = min(fits)  # best fit
        at = self._free.index((first, length))
        self._free[at : at + 1] = [(first + wanted, length - wanted)] if length > wanted else []
        self._taken[slot] = (first, wanted)
        return first
