"""Chunks that lie in a save file: what is known of them without reading them, and a view of memory that reads them.

A memory that is larger than what may be held has ``StoredChunk`` in place of the chunks that are on the disk.
``PagedChunks`` is that mixture seen as a plain mapping of chunks: who looks one up gets it in full, whatever the
thread, so that merging, carving, conditioning and saving see the same with and without paging.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .chunks import OFFSET_STEPS, Chunk, ChunkKey
from .coarse import far_words
from .points import PointClass, class_of

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class ChunkFacts:
    """What is known of a chunk without its content.

    Attributes:
        num_points: Occupied voxels.
        class_counts: Voxels that are invented, estimated, observed.
        low_q8: Smallest local x, y, z of its points, 256 steps a voxel.
        high_q8: Largest local x, y, z.
        spacing: Distance of neighbouring points on their surface, in voxels (``spacing.spacing_voxels``).
        content: ``content_digest``.
        far: ``coarse.far_words`` as bytes; None where a file of before does not say.
    """

    num_points: int
    class_counts: tuple[int, int, int]
    low_q8: tuple[int, int, int]
    high_q8: tuple[int, int, int]
    spacing: float
    content: bytes
    far: bytes | None = None

    @classmethod
    def of(cls, chunk: Chunk) -> "ChunkFacts":
        """The facts of a chunk."""
        from .spacing import spacing_voxels  # imports Numba, which takes most of a second

        local = chunk.local_q8() if chunk.num_points else np.zeros((1, 3), np.uint16)
        counts = np.bincount(class_of(chunk.priority), minlength=4)[1:4].tolist()
        bounds = (tuple(local.min(0).tolist()), tuple(local.max(0).tolist()))
        far = far_words(chunk).astype("<u4").tobytes()
        return cls(chunk.num_points, tuple(counts), *bounds, spacing_voxels(local), content_digest(chunk), far)


@dataclass(frozen=True, slots=True, eq=False)
class StoredChunk:
    """A chunk that is on the disk, by reference. While its facts are alive, its file keeps its content.

    Attributes:
        key: Chunk key.
        revision: The chunk's.
        address: Where its source finds it.
        facts: What is known of it without reading it.
    """

    key: ChunkKey
    revision: int
    address: bytes
    facts: ChunkFacts

    @property
    def num_points(self) -> int:
        """Occupied voxels."""
        return self.facts.num_points


class ChunkSource(Protocol):
    """Where stored chunks are read from, such as an open world file. Any thread may call it."""

    def load(self, stored: StoredChunk) -> Chunk:
        """The chunk in full.

        Raises:
            ValueError: It is damaged or missing.
        """
        ...

    def load_coarse(self, stored: StoredChunk) -> Chunk:
        """Its coarser level (see ``coarse.coarsen``).

        Raises:
            ValueError: It is damaged or missing.
        """
        ...


class ChunkReader(Protocol):
    """Gives stored chunks in full, such as a ``Pager``."""

    def chunk(self, stored: StoredChunk) -> Chunk:
        """The chunk in full; an empty one, which is reported elsewhere, if it is damaged. May read the disk."""
        ...

    def coarse(self, stored: StoredChunk) -> Chunk:
        """Its coarser level; an empty one if it is damaged. Reads the disk."""
        ...


class PagedChunks(Mapping[ChunkKey, Chunk]):
    """Chunks by key, those on the disk read when they are looked up. Any thread may read it.

    Args:
        entries: Chunks and stored chunks by key; not copied.
        reader: Reads what is stored.
    """

    __slots__ = ("entries", "reader")

    def __init__(self, entries: Mapping[ChunkKey, Chunk | StoredChunk], reader: ChunkReader) -> None:
        self.entries, self.reader = entries, reader

    def __getitem__(self, key: ChunkKey) -> Chunk:
        entry = self.entries[key]
        return entry if isinstance(entry, Chunk) else self.reader.chunk(entry)

    def __contains__(self, key: object) -> bool:
        return key in self.entries  # without reading it

    def __iter__(self) -> Iterator[ChunkKey]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def subset(self, keys: Iterable[ChunkKey]) -> "PagedChunks":
        """Some of them; unknown keys are passed over. Reads nothing."""
        return PagedChunks({key: self.entries[key] for key in keys if key in self.entries}, self.reader)

    def frozen(self) -> "PagedChunks":
        """The same at this moment, whatever becomes of ``entries``. Reads nothing."""
        return PagedChunks(dict(self.entries), self.reader)


def entries_of(chunks: Mapping[ChunkKey, Chunk]) -> Mapping[ChunkKey, Chunk | StoredChunk]:
    """What a mapping of chunks holds, without reading what is on the disk."""
    return chunks.entries if isinstance(chunks, PagedChunks) else chunks


def is_same_content(a: Chunk | StoredChunk | None, b: Chunk | StoredChunk | None) -> bool:
    """Whether two entries of one memory are the same chunk, on the disk or not."""
    if a is b or a is None or b is None:
        return a is b
    if isinstance(a, Chunk) and isinstance(b, Chunk):
        return a.rows is b.rows and a.revision == b.revision
    return a.revision == b.revision


def content_digest(chunk: Chunk) -> bytes:
    """16 bytes that tell contents apart: of codes, rows and priority; not of key, revision and evidence."""
    digest = hashlib.sha256(np.ascontiguousarray(chunk.codes, "<u4").data)
    digest.update(np.ascontiguousarray(chunk.rows, "<u4").data)
    digest.update(chunk.priority.data)
    return digest.digest()[:DIGEST_BYTES]


def digest_of_entry(entry: Chunk | StoredChunk) -> bytes:
    """``content_digest`` of a chunk, on the disk or not. Reads nothing."""
    return content_digest(entry) if isinstance(entry, Chunk) else entry.facts.content


def class_counts_of(entry: Chunk | StoredChunk) -> npt.NDArray[np.int64]:
    """(4,) voxels of each class, by ``PointClass``. Reads nothing."""
    if isinstance(entry, StoredChunk):
        return np.array([0, *entry.facts.class_counts], np.int64)
    return np.bincount(class_of(entry.priority), minlength=len(PointClass) + 1)


def bounds_of(entry: Chunk | StoredChunk) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(3,) smallest and largest local positions, 256 steps a voxel, of a chunk with points. Reads nothing."""
    if isinstance(entry, StoredChunk):
        return np.array(entry.facts.low_q8, np.int64), np.array(entry.facts.high_q8, np.int64)
    local = entry.local_q8()
    return local.min(0).astype(np.int64), local.max(0).astype(np.int64)


def positions_of_q8(key: ChunkKey, local_q8: npt.NDArray[np.int64], *, chunk_size_m: float) -> npt.NDArray[np.float32]:
    """World positions in metres of local positions of a chunk, rounded as ``Chunk.positions_world`` does."""
    step = chunk_size_m / (64 * OFFSET_STEPS)
    return (np.array(key, np.float64) * chunk_size_m + (local_q8.astype(np.float64) + 0.5) * step).astype(np.float32)
