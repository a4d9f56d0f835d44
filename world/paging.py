"""Which chunks of a world on the disk are in memory: what is near, ahead and needed, within a budget.

One background thread reads; the session's thread looks up what is held, says where it looks and takes over what is to
be drawn, and never waits. Nothing here is ever changed: a chunk that was changed and is not on the disk yet is held by
memory itself (``SpatialMemory.release`` gives it to the pager once it was saved).

Lock order: none is held while another is taken, nor during reading.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .chunks import Chunk, ChunkKey
from .drawn import DrawChange, DrawQueue
from .held import HeldChunks
from .paging_plan import DRAWN_PAGE_BYTES, DRAWN_PAGE_POINTS, Budget, Step, StepKind, Viewpoint, plan_paging
from .paging_status import PagingStatus, status_of
from .paging_table import ABSENT, PagedTable
from .stored import ChunkSource, StoredChunk

_LOG = logging.getLogger(__name__)

REPLAN_S = 0.25
"""A standing walker is looked after this often."""

REPLAN_DISTANCE_M = 0.25
REPLAN_COS = float(np.cos(np.radians(8.0)))
"""A walker that moved or turned this far gets a new plan at once."""

REPLAN_EVERY_STEPS = 64
"""Steps until it is asked anew whether others are needed more."""

TIDY_EVERY_STEPS = 1000
"""Chunks come and go in all sizes: without tidying, the gaps between them come to as much again."""

MAX_PAUSE_S = 0.008
"""While a frame is drawn a step waits, at most for so long: both take turns with the interpreter, which a frame wants
some hundred times, and each time would wait for what a step does at a stretch."""

JOIN_TIMEOUT_S = 5.0
"""Reading one chunk takes milliseconds; a slow disk seconds."""


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
        self._on_start, self._tidy = on_start, tidy
        self._num_steps = 0
        self._table = PagedTable(voxel_size_m)
        self._budget = Budget(budget_bytes)
        self._held = HeldChunks(source, self._budget.cache_bytes)
        self._condition = threading.Condition()
        self._queue = DrawQueue()
        self._may_work = threading.Event()
        self._may_work.set()
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
                if self._is_drawing:
                    self._show_chunk(row, DrawChange(key, entry, is_new=True))
            self._wake()

    def keep(self, stored: StoredChunk, chunk: Chunk) -> None:
        """A chunk was saved: from now on it may be dropped."""
        with self._condition:
            self._table.put(stored.key, stored, keeps_level=True)
        self._held.put(stored, chunk)

    def look(self, viewpoint: Viewpoint) -> None:
        """Say where the walker is, looks and goes, just before a frame is drawn; costs microseconds."""
        self._may_work.clear()
        with self._condition:
            self._view = viewpoint
            if self._planned is None or viewpoint.differs(self._planned, REPLAN_DISTANCE_M, REPLAN_COS):
                self._wake()

    def held(self, stored: StoredChunk) -> Chunk | None:
        """A chunk if it is in memory; never reads."""
        return self._held.get(stored)

    def all_held(self, entries: Mapping[ChunkKey, Chunk | StoredChunk]) -> Mapping[ChunkKey, Chunk] | None:
        """All chunks, if all are in memory; otherwise None."""
        with self._condition:
            if not (self._fits and self._is_complete):
                return None
        found = self._held.get_all(entries)
        return None if found is None else {key: chunk for key, chunk in found.items() if chunk.num_points}

    def close(self) -> None:
        """End the thread; safe to call twice. Chunks can still be read as long as the source is open."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(JOIN_TIMEOUT_S)
        if self._thread.is_alive():
            _LOG.error("the pager's thread did not end within %s s: the disk does not answer", JOIN_TIMEOUT_S)

    def drawn(self) -> None:
        """The frame that was looked ahead for is drawn: reading goes on."""
        self._may_work.set()

    # On a renderer's thread

    def start_drawing(self, prepare: Callable[[DrawChange], Any]) -> None:
        """A renderer that shows nothing yet will take what is to be drawn; an earlier one takes no more.

        Args:
            prepare: Unpacks what was read, on the pager's thread, so that the renderer has less to do.
        """
        with self._condition:
            self._is_drawing, self._prepare = True, prepare
            self._queue.clear()
            table = self._table
            table.level[:], table.drawn[:] = ABSENT, 0
            table.block_level[:], table.block_drawn[:] = ABSENT, 0
            for row, entry in table.rows():
                if isinstance(entry, Chunk):
                    table.level[row] = 0
                    self._show_chunk(row, DrawChange(entry.key, entry))
            self._wake()

    def take(self) -> DrawChange | None:
        """The next change of what is drawn, or None; never waits."""
        with self._condition:
            change = self._queue.take()
            if change is not None:
                self._condition.notify_all()
            return change

    @property
    def num_ready(self) -> int:
        """Changes that wait to be taken."""
        return len(self._queue)

    @property
    def max_drawn_points(self) -> int:
        """Points that a renderer is given at most, of chunks that are not about to be saved."""
        return self._budget.drawn_bytes // DRAWN_PAGE_BYTES * DRAWN_PAGE_POINTS

    # On any thread

    def chunk(self, stored: StoredChunk) -> Chunk:
        """A chunk in full, read if need be; an empty one, noted in ``damage``, if it cannot be read."""
        return self._held.chunk(stored)

    def coarse(self, stored: StoredChunk) -> Chunk:
        """A chunk's coarser level, read now; an empty one, noted in ``damage``, if it cannot be read."""
        return self._held.coarse(stored)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all that is wanted from the last ``look`` was read, or waits for a renderer to take it.

        Returns:
            False if it took longer.
        """
        self._may_work.set()
        with self._condition:
            return self._condition.wait_for(self._has_caught_up, timeout_s)

    def _has_caught_up(self) -> bool:
        is_over = self._is_closing or self._failure is not None
        return self._is_complete or self._queue.is_full or is_over

    @property
    def damage(self) -> dict[ChunkKey, str]:
        """Why chunks could not be read, by key."""
        return self._held.damage

    def status(self) -> PagingStatus:
        """Counts for the screen and for reports."""
        held_points, counts, num_damaged = self._held.num_points, self._held.counts, len(self.damage)
        with self._condition:
            failure = "" if self._failure is None else f"{type(self._failure).__name__}: {self._failure}"
            return status_of(
                self._table, held_points=held_points, counts=counts, num_damaged=num_damaged, reach_m=self._reach_m,
                is_complete=self._is_complete, failure=failure,
            )  # fmt: skip

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
        self._held.forget_evicted()
        self._may_work.wait(MAX_PAUSE_S)
        plan = plan_paging(columns, view, budget, is_drawing=is_drawing)  # milliseconds: beside the lock
        with self._condition:
            self._reach_m, self._fits = plan.reach_m, plan.fits
            self._budget = budget.with_cache(plan.cache_bytes)
        self._held.limit(plan.cache_bytes)
        steps = plan.steps + (self._not_held() if plan.fits else [])
        for num_done, step in enumerate(steps, start=1):
            if not self._do(step):
                return
            self._held.forget_evicted()
            self._num_steps += step.kind is not StepKind.HOLD
            if self._tidy is not None and self._num_steps >= TIDY_EVERY_STEPS:
                self._num_steps = 0
                self._tidy()
            if num_done % REPLAN_EVERY_STEPS == 0 and self._is_outdated():
                return
        with self._condition:
            self._is_complete = not self._is_wanted
            self._condition.notify_all()

    def _not_held(self) -> list[Step]:
        """What a renderer was given, but is not held any more."""
        with self._condition:
            rows = list(self._table.rows())
        stored = [(row, entry) for row, entry in rows if isinstance(entry, StoredChunk)]
        return [Step(StepKind.HOLD, row) for row, entry in stored if self._held.get(entry) is None]

    def _is_outdated(self) -> bool:
        with self._condition:
            return self._is_wanted

    def _do(self, step: Step) -> bool:
        """One step; False when the pager closes."""
        self._may_work.wait(MAX_PAUSE_S)
        if step.kind is StepKind.HIDE:
            self._hide_block(step.row)
        elif step.kind is StepKind.HOLD:
            self._bring_chunk(step.row, is_drawn=False)
        elif self._has_room():
            if step.kind is StepKind.BLOCK:
                self._draw_block(step.row, step.level)
            else:
                self._bring_chunk(step.row, is_drawn=True)
        return not self._is_closing

    def _has_room(self) -> bool:
        """Wait until a renderer took enough of what was read; False when the pager closes."""
        with self._condition:
            if self._is_drawing and self._queue.is_full:
                self._condition.notify_all()  # who waits for what was read can have it
                self._condition.wait_for(lambda: not self._queue.is_full or self._is_closing)
            return not self._is_closing

    def _bring_chunk(self, row: int, *, is_drawn: bool) -> None:
        with self._condition:
            entry = self._table.entry(row)
            is_drawn = is_drawn and self._is_drawing and self._table.level[row] != 0
        if not isinstance(entry, StoredChunk):
            return
        chunk = self._held.chunk(entry)
        if not is_drawn:
            return
        change = DrawChange(entry.key, chunk if chunk.num_points else None, spacing=entry.facts.spacing)
        change = self._prepared(change)
        with self._condition:
            if self._table.entry(row) is entry and self._is_drawing:
                self._table.level[row] = 0
                self._show_chunk(row, change)

    def _draw_block(self, block: int, level: int) -> None:
        """Draw a block as one, made of what is on the disk now, and its chunks not by themselves."""
        with self._condition:
            stored, key = self._table.stored_in(block), self._table.block_key(block)
            self._table.is_stale[block] = False
        change = DrawChange(key, None)
        if level != ABSENT and stored:
            made = self._held.block(key, stored, level)
            change = self._prepared(DrawChange(key, made if made.num_points else None))
        with self._condition:
            if self._is_drawing and not self._table.is_stale[block]:  # otherwise a chunk changed meanwhile
                self._show_block(block, level if stored else ABSENT, change)

    def _hide_block(self, block: int) -> None:
        """Leave a block's drawing to its chunks, if all of them are there."""
        with self._condition:
            rows = [row for row in self._table.members[block] if self._table.num_points[row]]
            if self._is_drawing and (self._table.level[rows] == 0).all():
                self._set_block(block, ABSENT, DrawChange(self._table.block_key(block), None))

    def _prepared(self, change: DrawChange) -> DrawChange:
        if self._prepare is None or change.shown is None:
            return change
        return replace(change, prepared=self._prepare(change))

    # Under the lock

    def _show_chunk(self, row: int, change: DrawChange) -> None:
        self._table.drawn[row] = change.num_points
        self._queue.push(change)

    def _show_block(self, block: int, level: int, change: DrawChange) -> None:
        self._set_block(block, level, change)
        for row in self._table.members[block]:
            if self._table.drawn[row] and not self._table.is_dirty[row]:
                self._table.level[row] = ABSENT
                self._show_chunk(row, DrawChange(self._table.key(row), None))

    def _set_block(self, block: int, level: int, change: DrawChange) -> None:
        if level != ABSENT or self._table.block_level[block] != ABSENT:
            self._queue.push(change)
        self._table.block_level[block], self._table.block_drawn[block] = level, change.num_points

    def _wake(self) -> None:
        self._is_wanted, self._is_complete = True, False
        self._condition.notify_all()
