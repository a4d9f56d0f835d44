"""Chunks of a world on the disk that are held in memory for working on them, the last used first."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .blocks import Block, BlockKey, coarse_block, far_block
from .chunks import Chunk, ChunkKey
from .coarse import COARSE_LEVEL, far_words
from .stored import ChunkSource, StoredChunk


class HeldChunks:
    """Reads chunks when they are looked up and keeps as many as fit. Any thread may call any method.

    A chunk that two threads want at once is read once. No lock is held while reading.

    Args:
        source: Reads chunks.
        limit_bytes: What they may take; the last one read is held in any case.
    """

    def __init__(self, source: ChunkSource, limit_bytes: int) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[bytes, int], Chunk] = OrderedDict()
        self._num_bytes = 0
        self._evicted: list[Chunk] = []
        self._loading: dict[tuple[bytes, int], threading.Event] = {}
        self._damage: dict[ChunkKey, str] = {}
        self._loads = self._evictions = 0

    def chunk(self, stored: StoredChunk) -> Chunk:
        """A chunk in full, read if need be; an empty one, noted in ``damage``, if it cannot be read."""
        name = (stored.address, stored.revision)
        while True:
            with self._lock:
                held = self._held.get(name)
                if held is not None:
                    self._held.move_to_end(name)
                    return held
                waiting = self._loading.get(name)
                if waiting is None:
                    self._loading[name] = threading.Event()
                    break
            waiting.wait()
        try:
            chunk = self._read(stored)
            with self._lock:
                self._put(name, chunk)
                self._loads += 1
            return chunk
        finally:
            with self._lock:
                self._loading.pop(name).set()

    def coarse(self, stored: StoredChunk) -> Chunk:
        """A chunk's coarser level, read now; an empty one, noted in ``damage``, if it cannot be read."""
        try:
            return self._source.load_coarse(stored)
        except ValueError as error:
            return self._damaged(stored, error)

    def get(self, stored: StoredChunk) -> Chunk | None:
        """A chunk if it is held; never reads."""
        with self._lock:
            return self._held.get((stored.address, stored.revision))

    def get_all(self, entries: Mapping[ChunkKey, Chunk | StoredChunk]) -> dict[ChunkKey, Chunk] | None:
        """All of these, if all are held; never reads."""
        found: dict[ChunkKey, Chunk] = {}
        with self._lock:
            for key, entry in entries.items():
                chunk = entry if isinstance(entry, Chunk) else self._held.get((entry.address, entry.revision))
                if chunk is None:
                    return None
                found[key] = chunk
        return found

    def put(self, stored: StoredChunk, chunk: Chunk) -> None:
        """Hold a chunk that need not be read."""
        with self._lock:
            self._put((stored.address, stored.revision), chunk)

    def limit(self, limit_bytes: int) -> None:
        """Hold so many bytes from the next chunk on."""
        with self._lock:
            self._limit_bytes = limit_bytes

    def forget_evicted(self) -> None:
        """Drop the last references to what was evicted, which takes longer than evicting: not where a frame waits."""
        with self._lock:
            evicted, self._evicted = self._evicted, []
        del evicted

    @property
    def damage(self) -> dict[ChunkKey, str]:
        """Why chunks could not be read, by key."""
        with self._lock:
            return dict(self._damage)

    @property
    def num_points(self) -> int:
        """Points held."""
        with self._lock:
            return sum(chunk.num_points for chunk in self._held.values())

    @property
    def counts(self) -> tuple[int, int]:
        """Chunks read, and evicted for others, so far."""
        return self._loads, self._evictions

    def block(self, key: BlockKey, stored: Sequence[StoredChunk], level: int) -> Block:
        """A block of chunks as one, in the coarser or in the far level; what the latter needs is read only if need be.

        Args:
            key: Of the block.
            stored: Its chunks, one or more.
            level: ``COARSE_LEVEL`` or ``FAR_LEVEL``.
        """
        spacing = float(np.average([s.facts.spacing for s in stored], weights=[s.num_points for s in stored]))
        if level == COARSE_LEVEL:
            return coarse_block(key, [self.coarse(s) for s in stored], spacing)
        return far_block(key, [s.key for s in stored], [self._far_words(s) for s in stored], spacing)

    def _far_words(self, stored: StoredChunk) -> npt.NDArray[np.uint32]:
        if stored.facts.far is None:
            return far_words(self.coarse(stored))
        return np.frombuffer(stored.facts.far, "<u4")

    def _put(self, name: tuple[bytes, int], chunk: Chunk) -> None:
        before = self._held.pop(name, None)
        self._num_bytes += chunk.num_bytes - (0 if before is None else before.num_bytes)
        self._held[name] = chunk
        while self._num_bytes > self._limit_bytes and len(self._held) > 1:
            _, evicted = self._held.popitem(last=False)
            self._num_bytes -= evicted.num_bytes
            self._evictions += 1
            self._evicted.append(evicted)

    def _read(self, stored: StoredChunk) -> Chunk:
        try:
            return self._source.load(stored)
        except ValueError as error:
            return self._damaged(stored, error)

    def _damaged(self, stored: StoredChunk, error: ValueError) -> Chunk:
        with self._lock:
            self._damage.setdefault(stored.key, str(error))
        codes, rows = np.zeros(0, np.uint32), np.zeros((0, 8), np.uint32)
        return Chunk(stored.key, stored.revision, codes, rows, np.zeros(0, np.uint8), np.zeros((0, 2), np.uint8))
