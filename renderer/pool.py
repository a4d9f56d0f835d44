"""Where the software renderer keeps points: pages of equal size, chained into chunks."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..world.blocks import DrawKey
from .extract import ExtractedChunk, Place, split_classes
from .kernels import Slots
from .pages import NUM_LEVELS, PAGE, Pages, mark_fresh, store_chunk

INITIAL_PAGES = 32768
"""16 M points: growing would copy them in the middle of a walk. Memory is taken only where it is touched."""

INITIAL_SLOTS = 1024

SPARE_PAGES = 8192
"""For points that are stored before others are given back: what waits to be taken over."""


class PointPool:
    """Points of all chunks as structure of arrays. Replacing a chunk moves no other chunk.

    What is known of a chunk and what was invented take a slot each, since they are drawn differently.

    One thread uses it, but ``stage`` may be called by another one beside it.

    Attributes:
        pages, slots: What ``kernels.draw_points`` reads.
        low, high: (C, 3) float64 boxes of the slots in the world.
        arrival_s: (C,) float64, when each slot's content came.
        slots_of: Slots of each chunk, one or two.

    Args:
        finest: Finest level of detail that is kept: 1 keeps one point in a block of 2 voxels' side.
    """

    def __init__(self, finest: int = 0) -> None:
        self._finest = finest
        self.slots_of: dict[DrawKey, list[int]] = {}
        self._free_slots: list[int] = []
        self._free_pages: list[int] = []
        self._returned: deque[list[int]] = deque()
        self._lock = threading.Lock()
        self._num_pages = 0
        self._num_slots = 0
        x, y, z = (np.empty(0, np.uint16) for _ in range(3))
        self.pages = Pages(x, y, z, np.empty(0, np.uint32), np.empty(0, np.uint8), _no_ints())
        self.slots = Slots(
            _no_ints(), _no_ints(), np.empty((0, NUM_LEVELS), np.int32), np.empty((0, 3)), np.empty(0), np.empty(0),
            np.empty(0, np.uint8), np.empty(0, np.uint8), np.empty(0, np.uint32), np.empty(0, np.uint8),
        )  # fmt: skip
        self.low, self.high, self.arrival_s = np.empty((0, 3)), np.empty((0, 3)), np.empty(0)
        self._grow_pages(INITIAL_PAGES)
        self._grow_slots(INITIAL_SLOTS)

    @property
    def num_slots(self) -> int:
        """Chunk slots in use or free again; later ones were never used."""
        return self._num_slots

    @property
    def num_points(self) -> int:
        """Points of all chunks."""
        return int(self.slots.count[: self._num_slots].sum())

    def reserve(self, num_points: int) -> None:
        """Make room for so many points at once, and for what takes their place before they go.

        Growing would copy everything, with twice the memory meanwhile; untouched room costs none.
        """
        num_pages = -(-num_points // PAGE) * 3 // 2 + SPARE_PAGES
        with self._lock:
            if num_pages > len(self.pages.next_page):
                self._grow_pages(num_pages)

    def stage(self, chunk: ExtractedChunk) -> ExtractedChunk:
        """Store a chunk's points where nothing draws them yet; ``put`` then only swaps. Any thread."""
        return chunk if chunk.num_points == 0 else replace(chunk, parts=self._store_parts(chunk))

    def put(self, chunk: ExtractedChunk, arrival_s: float) -> None:
        """Store a chunk in place of its older revision.

        Args:
            chunk: What to draw from now on; an empty one is only removed.
            arrival_s: Time from which its new points fade in.
        """
        if chunk.num_points == 0:
            self.remove(chunk.key)
            return
        parts = chunk.parts or self._store_parts(chunk)
        if chunk.is_new:
            self._mark_fresh(chunk.key, parts)
        self.remove(chunk.key)
        self.slots_of[chunk.key] = [self._fill_slot(part, arrival_s) for part in parts]

    def _store_parts(self, chunk: ExtractedChunk) -> tuple[ExtractedChunk, ...]:
        return tuple(replace(part, place=self._store(part)) for part in split_classes(chunk))

    def _store(self, chunk: ExtractedChunk) -> Place:
        finest = max(0, self._finest - chunk.level)
        ends = np.zeros(NUM_LEVELS, np.int32)
        with self._lock:  # pages must not grow while points are written into them
            numbers = np.array(self._take_pages(-(-chunk.num_points // PAGE)), np.int32)
            store_chunk(chunk.local_q8, chunk.color_rgba, chunk.priority, numbers, self.pages, ends, finest)
            used = -(-int(ends[0]) // PAGE)
            self._free_pages.extend(numbers[used:].tolist())
            numbers = numbers[:used]
            self.pages.next_page[numbers[:-1]] = numbers[1:]
            self.pages.next_page[numbers[-1]] = -1
        return Place(int(numbers[0]), ends)

    def _fill_slot(self, part: ExtractedChunk, arrival_s: float) -> int:
        slot, slots, place = self._take_slot(), self.slots, part.place
        assert place is not None
        slots.head[slot], slots.count[slot], slots.ends[slot] = place.head, int(place.ends[0]), place.ends
        slots.origin[slot], slots.step[slot], slots.spacing[slot] = part.origin_world, part.step_m, part.spacing_m
        slots.prio_low[slot], slots.prio_high[slot] = part.priority.min(), part.priority.max()
        slots.base[slot] = max(part.level, self._finest)
        self.low[slot], self.high[slot] = part.low_world, part.high_world
        self.arrival_s[slot] = arrival_s
        return slot

    def _mark_fresh(self, key: DrawKey, parts: tuple[ExtractedChunk, ...]) -> None:
        old = self.slots_of.get(key, [])
        pages, counts = self.slots.head[old].astype(np.int64), self.slots.count[old].astype(np.int64)
        for part in parts:
            assert part.place is not None
            mark_fresh(pages, counts, part.place.head, int(part.place.ends[0]), self.pages)

    def remove(self, key: DrawKey) -> None:
        """Forget a chunk; unknown keys are passed over."""
        for slot in self.slots_of.pop(key, ()):
            self._returned.append(self._pages(slot))  # without the lock: whoever draws does not wait for who stores
            self.slots.count[slot] = 0
            self._free_slots.append(slot)

    def _pages(self, slot: int) -> list[int]:
        pages, page = [], int(self.slots.head[slot])
        while page >= 0:
            pages.append(page)
            page = int(self.pages.next_page[page])
        return pages

    def _take_slot(self) -> int:
        if self._free_slots:
            return self._free_slots.pop()
        if self._num_slots == len(self.slots.head):
            self._grow_slots(2 * len(self.slots.head))
        self._num_slots += 1
        return self._num_slots - 1

    def _take_pages(self, num: int) -> Sequence[int]:
        while self._returned:
            self._free_pages.extend(self._returned.popleft())
        reused = min(num, len(self._free_pages))
        pages = [self._free_pages.pop() for _ in range(reused)]
        fresh = num - reused
        while self._num_pages + fresh > len(self.pages.next_page):
            self._grow_pages(len(self.pages.next_page) * 5 // 4)
        pages.extend(range(self._num_pages, self._num_pages + fresh))
        self._num_pages += fresh
        return pages

    def _grow_pages(self, num_pages: int) -> None:
        *points, next_page = self.pages
        used = self._num_pages  # what was never used is not copied, so that it stays without memory
        longer = [_longer(a, num_pages * PAGE, used * PAGE) for a in points]
        self.pages = Pages._make([*longer, _longer(next_page, num_pages, used)])

    def _grow_slots(self, num_slots: int) -> None:
        self.slots = Slots._make(_longer(a, num_slots) for a in self.slots)
        self.low, self.high = _longer(self.low, num_slots), _longer(self.high, num_slots)
        self.arrival_s = _longer(self.arrival_s, num_slots)


def _no_ints() -> npt.NDArray[np.int32]:
    return np.empty(0, np.int32)


def _longer(array: npt.NDArray, length: int, used: int | None = None) -> npt.NDArray:
    out = np.empty((length, *array.shape[1:]), array.dtype)
    kept = len(array) if used is None else used
    out[:kept] = array[:kept]
    return out
