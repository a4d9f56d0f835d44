"""All chunks of a world on the disk, and their blocks, as columns: what a pager decides from."""

from collections.abc import Iterator

import numpy as np

from .blocks import BLOCK_SIDE, BlockKey, block_of
from .chunks import CHUNK_SIDE, Chunk, ChunkKey
from .stored import StoredChunk

ABSENT = -1
"""Level of a chunk or block that is not drawn."""

_COLUMNS = ("center", "num_points", "num_far", "drawn", "level", "is_dirty", "spacing", "block")
_BLOCK_COLUMNS = ("block_center", "block_level", "block_drawn", "is_stale")


class PagedTable:
    """Chunks and blocks. Guarded by its pager's lock.

    Attributes:
        center: (N, 3) float32 metres, middles of the chunks. num_points: (N,) of each; 0 in a row that is empty.
        num_far: (N,) points of its far level; 0 where they are not known. block: (N,) its block's row.
        level: (N,) int8: 0 where a renderer shows it as it is now, in full; otherwise ``ABSENT``.
        drawn: (N,) int64, points that a renderer shows of it by itself.
        is_dirty: (N,) bool: not on the disk yet. spacing: (N,) float32 voxels.
        block_center: (B, 3) float32 metres. block_drawn: (B,) int64, points of it that a renderer shows.
        block_level: (B,) int8, what it shows: ``ABSENT``, ``COARSE_LEVEL`` or ``FAR_LEVEL``.
        is_stale: (B,) bool: a chunk of it changed, or was saved, since it was made.
        members: Rows of each block's chunks.
    """

    def __init__(self, voxel_size_m: float) -> None:
        self.voxel_size_m = voxel_size_m
        self.num_rows = self.num_blocks = 0
        self._row_of: dict[ChunkKey, int] = {}
        self._block_of: dict[BlockKey, int] = {}
        self._entries: list[Chunk | StoredChunk | None] = []
        self._keys: list[ChunkKey] = []
        self._block_keys: list[BlockKey] = []
        self.members: list[list[int]] = []
        self.center, self.block_center = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
        self.num_points, self.drawn = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.num_far, self.block = np.zeros(0, np.int32), np.zeros(0, np.int32)
        self.level, self.is_dirty = np.zeros(0, np.int8), np.zeros(0, np.bool_)
        self.spacing = np.zeros(0, np.float32)
        self.block_level, self.block_drawn = np.zeros(0, np.int8), np.zeros(0, np.int64)
        self.is_stale = np.zeros(0, np.bool_)

    def put(self, key: ChunkKey, entry: Chunk | StoredChunk | None, *, keeps_level: bool = False) -> int:
        """Store what memory has under a key now; its row."""
        row = self._row_of.get(key)
        if row is None:
            row = self._add(key)
        self._entries[row] = entry
        self.num_points[row] = 0 if entry is None else entry.num_points
        self.is_dirty[row] = isinstance(entry, Chunk)
        far = entry.facts.far if isinstance(entry, StoredChunk) else None
        self.num_far[row] = 0 if far is None else len(far) // 4
        self.spacing[row] = entry.facts.spacing if isinstance(entry, StoredChunk) else 1.0
        self.is_stale[self.block[row]] = True
        if not keeps_level:
            self.level[row] = ABSENT
        return row

    def _add(self, key: ChunkKey) -> int:
        if self.num_rows == len(self.level):
            self._grow(_COLUMNS, max(1024, 2 * self.num_rows))
        row, self.num_rows = self.num_rows, self.num_rows + 1
        self._row_of[key] = row
        self._entries.append(None)
        self._keys.append(key)
        self.center[row] = (np.array(key, np.float64) + 0.5) * (CHUNK_SIDE * self.voxel_size_m)
        self.block[row] = self._block_row(block_of(key))
        self.members[self.block[row]].append(row)
        return row

    def _block_row(self, key: BlockKey) -> int:
        block = self._block_of.get(key)
        if block is not None:
            return block
        if self.num_blocks == len(self.block_level):
            self._grow(_BLOCK_COLUMNS, max(256, 2 * self.num_blocks))
        block, self.num_blocks = self.num_blocks, self.num_blocks + 1
        self._block_of[key] = block
        self._block_keys.append(key)
        self.members.append([])
        self.block_center[block] = (np.array(key[:3], np.float64) + 0.5) * self.block_size_m
        self.block_level[block] = ABSENT
        return block

    def _grow(self, names: tuple[str, ...], length: int) -> None:
        for name in names:
            old = getattr(self, name)
            new = np.zeros((length, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def copy(self) -> "PagedTable":
        """Its columns as they are now, without entries, keys and members, for planning beside the lock."""
        other = PagedTable(self.voxel_size_m)
        other.num_rows, other.num_blocks = self.num_rows, self.num_blocks
        for names, length in ((_COLUMNS, self.num_rows), (_BLOCK_COLUMNS, self.num_blocks)):
            for name in names:
                setattr(other, name, getattr(self, name)[:length].copy())
        return other

    @property
    def block_size_m(self) -> float:
        """Side of a block in metres."""
        return BLOCK_SIDE * CHUNK_SIDE * self.voxel_size_m

    def entry(self, row: int) -> Chunk | StoredChunk | None:
        """What memory has in a row."""
        return self._entries[row]

    def key(self, row: int) -> ChunkKey:
        """The key of a row."""
        return self._keys[row]

    def block_key(self, block: int) -> BlockKey:
        """The key of a block's row."""
        return self._block_keys[block]

    def stored_in(self, block: int) -> list[StoredChunk]:
        """The chunks of a block that are on the disk."""
        entries = (self._entries[row] for row in self.members[block])
        return [entry for entry in entries if isinstance(entry, StoredChunk)]

    def rows(self) -> Iterator[tuple[int, Chunk | StoredChunk]]:
        """Rows that hold something."""
        return ((row, entry) for row, entry in enumerate(self._entries) if entry is not None)
