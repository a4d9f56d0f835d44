"""Which chunks of a world on the disk are in memory: what is near, ahead and needed, within a budget.

One background thread reads; the session's thread looks up what is held, says where it looks and takes over what is to
be drawn, and never waits. Nothing here is ever changed: a chunk that was changed and is not on the disk yet is held by
memory itself (``SpatialMemory.release`` gives it to the pager once it was saved).

Lock order: none is held while another is taken, nor during reading.
"""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .chunks import Chunk, ChunkKey
from .coarse import COARSE_LEVEL
from .paging_plan import ABSENT, DRAWN_PAGE_BYTES, DRAWN_PAGE_POINTS, Budget, PagedTable, Viewpoint, plan_paging
from .stored import ChunkSource, StoredChunk

_LOG = logging.getLogger(__name__)

MAX_READY_BYTES = 24 << 20
"""Read chunks that wait for a renderer; a second's worth."""

REPLAN_S = 0.25
"""A standing walker is looked after this often."""

REPLAN_DISTANCE_M = 0.25
REPLAN_COS = float(np.cos(np.radians(8.0)))
"""A walker that moved or turned this far gets a new plan at once."""

REPLAN_EVERY_CHUNKS = 64
"""Chunks read until it is asked anew whether others are needed more."""

TIDY_EVERY_CHUNKS = 200
"""Chunks come and go in all sizes: without tidying, the gaps between them come to as much again."""

JOIN_TIMEOUT_S = 5.0
"""Reading one chunk takes milliseconds; a slow disk seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawChange:
    """What a renderer shall show of a chunk from now on.

    Attributes:
        key: Chunk key.
        chunk: Its points; None: nothing.
        level: 0 for all of them, ``COARSE_LEVEL`` for its coarser level.
        is_new: Memory changed; False where it was merely read.
        spacing: Of all the chunk's points in voxels, where it is known.
        prepared: What the renderer's own ``prepare`` made of it on the pager's thread; None where it was not called.
    """

    key: ChunkKey
    chunk: Chunk | None
    level: int = 0
    is_new: bool = False
    spacing: float | None = None
    prepared: Any = None


@dataclass(frozen=True, slots=True)
class PagingStatus:
    """Where paging stands.

    Attributes:
        num_chunks, num_points: Of the world.
        held_points: Held for working on.
        full_chunks, full_points: Given to the renderer in full.
        coarse_chunks, coarse_points: Given to it in their coarser level.
        reach_m: Up to this distance ahead, what is drawn is drawn in full.
        loads, evictions: Chunks read, and dropped for others, so far.
        num_damaged: Chunks that could not be read.
        is_complete: All that the plan asks for is there.
        failure: Why nothing is read ahead any more, or empty.
    """

    num_chunks: int
    num_points: int
    held_points: int
    full_chunks: int
    full_points: int
    coarse_chunks: int
    coarse_points: int
    reach_m: float
    loads: int
    evictions: int
    num_damaged: int
    is_complete: bool
    failure: str = ""


class Pager:
    """Reads chunks ahead of the walker and drops those that are needed least.

    Args:
        source: Reads chunks; any thread calls it.
        voxel_size_m: Side of a voxel in metres.
        budget_bytes: What points may take, those held for work and those in a renderer.
        on_start: Called first on the background thread, such as to bind it to some processors.
        tidy: Called there every now and then, such as to give freed memory back to the system.
    """

    def __init__(
        self,
        source: ChunkSource,
        voxel_size_m: float,
        budget_bytes: int,
        *,
        on_start: Callable[[], object] | None = None,
        tidy: Callable[[], object] | None = None,
    ) -> None:
        self._source, self._on_start, self._tidy = source, on_start, tidy
        self._tidied_at = 0
        self._table = PagedTable(voxel_size_m)
        self._budget = Budget(budget_bytes)
        self._condition = threading.Condition()
        self._cache: OrderedDict[tuple[bytes, int], Chunk] = OrderedDict()
        self._cache_bytes = 0
        self._evicted: list[Chunk] = []
        self._loading: dict[tuple[bytes, int], threading.Event] = {}
        self._ready: deque[DrawChange] = deque()
        self._ready_bytes = 0
        self._damage: dict[ChunkKey, str] = {}
        self._loads = self._evictions = 0
        self._view: Viewpoint | None = None
        self._planned: Viewpoint | None = None
        self._reach_m = 0.0
        self._prepare: Callable[[DrawChange], Any] | None = None
        self._is_wanted = self._is_drawing = self._is_closing = self._is_complete = False
        self._fits = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="spatia-pager", daemon=True)

    # On the thread that owns memory

    def follow(self, entries: Mapping[ChunkKey, Chunk | StoredChunk]) -> None:
        """Take over what memory holds, and start reading."""
        with self._condition:
            for key, entry in entries.items():
                self._table.put(key, entry)
        self._thread.start()

    def changed(self, entries: Mapping[ChunkKey, Chunk | StoredChunk | None]) -> None:
        """Memory changed chunks: what a renderer shows follows."""
        with self._condition:
            for key, entry in entries.items():
                row = self._table.put(key, entry)
                if isinstance(entry, StoredChunk):
                    continue
                self._table.level[row] = ABSENT if entry is None else 0
                self._table.drawn[row] = 0 if entry is None else entry.num_points
                if self._is_drawing:
                    self._push(DrawChange(key, entry, is_new=True))
            self._wake()

    def keep(self, stored: StoredChunk, chunk: Chunk) -> None:
        """A chunk was saved: from now on it may be dropped."""
        with self._condition:
            self._table.put(stored.key, stored, keeps_level=True)
            self._insert(stored, chunk)

    def look(self, viewpoint: Viewpoint) -> None:
        """Say where the walker is, looks and goes; costs microseconds."""
        with self._condition:
            self._view = viewpoint
            if self._planned is None or viewpoint.differs(self._planned, REPLAN_DISTANCE_M, REPLAN_COS):
                self._wake()

    def held(self, stored: StoredChunk) -> Chunk | None:
        """A chunk if it is in memory; never reads."""
        with self._condition:
            return self._cache.get((stored.address, stored.revision))

    def all_held(self, entries: Mapping[ChunkKey, Chunk | StoredChunk]) -> Mapping[ChunkKey, Chunk] | None:
        """All chunks, if all are in memory; otherwise None."""
        with self._condition:
            if not (self._fits and self._is_complete):
                return None
            found = {
                key: entry if isinstance(entry, Chunk) else self._cache.get((entry.address, entry.revision))
                for key, entry in entries.items()
            }
        return None if None in found.values() else {k: c for k, c in found.items() if c is not None and c.num_points}

    def close(self) -> None:
        """End the thread; safe to call twice. Chunks can still be read as long as the source is open."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            _LOG.error("the pager's thread did not end within %s s: the disk does not answer", JOIN_TIMEOUT_S)

    # On a renderer's thread

    def start_drawing(self, prepare: Callable[[DrawChange], Any]) -> None:
        """A renderer that shows nothing yet will take what is to be drawn; an earlier one takes no more.

        Args:
            prepare: Unpacks what was read, on the pager's thread, so that the renderer has less to do.
        """
        with self._condition:
            self._is_drawing, self._prepare = True, prepare
            self._ready.clear()
            self._ready_bytes = 0
            for row, entry in self._table.rows():
                is_dirty = isinstance(entry, Chunk)
                self._table.level[row], self._table.drawn[row] = (0, entry.num_points) if is_dirty else (ABSENT, 0)
                if is_dirty:
                    self._push(DrawChange(entry.key, entry))
            self._wake()

    def take(self) -> DrawChange | None:
        """The next change of what is drawn, or None; never waits."""
        with self._condition:
            if not self._ready:
                return None
            change = self._ready.popleft()
            self._ready_bytes -= 0 if change.chunk is None else change.chunk.num_bytes
            self._condition.notify_all()
            return change

    @property
    def num_ready(self) -> int:
        """Changes that wait to be taken."""
        return len(self._ready)

    @property
    def max_drawn_points(self) -> int:
        """Points that a renderer is given at most, of chunks that are not about to be saved."""
        return self._budget.drawn_bytes // DRAWN_PAGE_BYTES * DRAWN_PAGE_POINTS

    # On any thread

    def chunk(self, stored: StoredChunk) -> Chunk:
        """A chunk in full, read if need be; an empty one, noted in ``damage``, if it cannot be read."""
        name = (stored.address, stored.revision)
        while True:
            with self._condition:
                held = self._cache.get(name)
                if held is not None:
                    self._cache.move_to_end(name)
                    return held
                waiting = self._loading.get(name)
                if waiting is None:
                    self._loading[name] = threading.Event()
                    break
            waiting.wait()
        try:
            chunk = self._read(stored)
            with self._condition:
                self._insert(stored, chunk)
                self._loads += 1
            return chunk
        finally:
            with self._condition:
                self._loading.pop(name).set()

    def coarse(self, stored: StoredChunk) -> Chunk:
        """A chunk's coarser level, read now; an empty one, noted in ``damage``, if it cannot be read."""
        try:
            return self._source.load_coarse(stored)
        except ValueError as error:
            return self._damaged(stored, error)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all that is wanted from the last ``look`` was read, or waits for a renderer to take it.

        Returns:
            False if it took longer.
        """
        with self._condition:
            return self._condition.wait_for(self._has_caught_up, timeout_s)

    def _has_caught_up(self) -> bool:
        is_over = self._is_closing or self._failure is not None
        return self._is_complete or self._ready_bytes >= MAX_READY_BYTES or is_over

    @property
    def damage(self) -> dict[ChunkKey, str]:
        """Why chunks could not be read, by key."""
        with self._condition:
            return dict(self._damage)

    def status(self) -> PagingStatus:
        """Counts for the screen and for reports."""
        with self._condition:
            t, n = self._table, self._table.num_rows
            level, drawn = t.level[:n], t.drawn[:n]
            return PagingStatus(
                num_chunks=int((t.num_points[:n] > 0).sum()),
                num_points=int(t.num_points[:n].sum()),
                held_points=sum(c.num_points for c in self._cache.values()),
                full_chunks=int((level == 0).sum()),
                full_points=int(drawn[level == 0].sum()),
                coarse_chunks=int((level == COARSE_LEVEL).sum()),
                coarse_points=int(drawn[level == COARSE_LEVEL].sum()),
                reach_m=self._reach_m,
                loads=self._loads,
                evictions=self._evictions,
                num_damaged=len(self._damage),
                is_complete=self._is_complete,
                failure="" if self._failure is None else f"{type(self._failure).__name__}: {self._failure}",
            )

    # The background thread

    def _run(self) -> None:
        try:
            if self._on_start is not None:
                self._on_start()
            self._work()
        except Exception as error:  # paging ends; what is held stays, and lookups read by themselves
            _LOG.exception("the pager's thread ended")
            with self._condition:
                self._failure, self._is_drawing = error, False
                self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._is_wanted or self._is_closing, REPLAN_S)
                if self._is_closing:
                    return
                self._is_wanted = False
                view = self._planned = self._view
            if view is not None:
                self._follow_plan(view)

    def _follow_plan(self, view: Viewpoint) -> None:
        with self._condition:
            columns, budget, is_drawing = self._table.copy(), self._budget, self._is_drawing
            self._evicted.clear()
        plan = plan_paging(columns, view, budget, is_drawing=is_drawing)  # milliseconds: beside the lock
        with self._condition:
            self._reach_m, self._fits = plan.reach_m, plan.fits
            self._budget = budget.with_cache(plan.cache_bytes)
            for row in plan.dropped:
                if not self._table.is_dirty[row]:
                    self._show(row, DrawChange(self._table.key(row), None, ABSENT))
        wanted = plan.wanted or (self._not_held() if plan.fits else [])
        for num_done, (row, level) in enumerate(wanted, start=1):
            if not self._fetch(row, level):
                return
            self._evicted.clear()
            if self._tidy is not None and self._loads - self._tidied_at >= TIDY_EVERY_CHUNKS:
                self._tidied_at = self._loads
                self._tidy()
            if num_done % REPLAN_EVERY_CHUNKS == 0 and self._is_outdated():
                return
        with self._condition:
            self._is_complete = not self._is_wanted
            self._condition.notify_all()

    def _not_held(self) -> list[tuple[int, int]]:
        """What a renderer was given, but is not held any more."""
        with self._condition:
            rows, held = list(self._table.rows()), set(self._cache)
        stored = [(row, entry) for row, entry in rows if isinstance(entry, StoredChunk)]
        return [(row, 0) for row, entry in stored if (entry.address, entry.revision) not in held]

    def _is_outdated(self) -> bool:
        with self._condition:
            return self._is_wanted

    def _fetch(self, row: int, level: int) -> bool:
        """Bring a chunk to a level; False when the pager closes."""
        with self._condition:
            entry = self._table.entry(row)
            if not isinstance(entry, StoredChunk):
                return not self._is_closing
            if self._is_drawing and self._table.level[row] != level:
                if self._ready_bytes >= MAX_READY_BYTES:
                    self._condition.notify_all()  # who waits for what was read can have it
                self._condition.wait_for(lambda: self._ready_bytes < MAX_READY_BYTES or self._is_closing)
            if self._is_closing:
                return False
        chunk = self.chunk(entry) if level == 0 else self.coarse(entry)
        change = DrawChange(entry.key, chunk if chunk.num_points else None, level, spacing=entry.facts.spacing)
        if self._is_drawing and self._prepare is not None and self._table.level[row] != level and chunk.num_points:
            change = replace(change, prepared=self._prepare(change))
        with self._condition:
            if self._table.entry(row) is entry and self._is_drawing and self._table.level[row] != level:
                self._show(row, change)
        return True

    def _show(self, row: int, change: DrawChange) -> None:
        self._table.level[row] = change.level
        self._table.drawn[row] = 0 if change.chunk is None else change.chunk.num_points
        self._push(change)

    def _push(self, change: DrawChange) -> None:
        self._ready.append(change)
        self._ready_bytes += 0 if change.chunk is None else change.chunk.num_bytes

    def _wake(self) -> None:
        self._is_wanted, self._is_complete = True, False
        self._condition.notify_all()

    def _insert(self, stored: StoredChunk, chunk: Chunk) -> None:
        name = (stored.address, stored.revision)
        before = self._cache.pop(name, None)
        self._cache_bytes += chunk.num_bytes - (0 if before is None else before.num_bytes)
        self._cache[name] = chunk
        while self._cache_bytes > self._budget.cache_bytes and len(self._cache) > 1:
            _, evicted = self._cache.popitem(last=False)
            self._cache_bytes -= evicted.num_bytes
            self._evictions += 1
            self._evicted.append(evicted)  # the last reference is dropped on the background thread

    def _read(self, stored: StoredChunk) -> Chunk:
        try:
            return self._source.load(stored)
        except ValueError as error:
            return self._damaged(stored, error)

    def _damaged(self, stored: StoredChunk, error: ValueError) -> Chunk:
        with self._condition:
            self._damage.setdefault(stored.key, str(error))
        return empty_chunk(stored)


def empty_chunk(stored: StoredChunk) -> Chunk:
    """What stands for a chunk that cannot be read."""
    codes, rows = np.zeros(0, np.uint32), np.zeros((0, 8), np.uint32)
    return Chunk(stored.key, stored.revision, codes, rows, np.zeros(0, np.uint8), np.zeros((0, 2), np.uint8))
