"""What differs between two moments of a world: points added, removed and changed, chunk by chunk."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..world.chunks import Chunk, ChunkKey
from .errors import DamageError
from .history import Tree
from .past import HistoryReader


@dataclass(frozen=True, slots=True, eq=False)
class ChunkDiff:
    """How a chunk differs.

    Attributes:
        key: Of the chunk.
        before: The chunk, or None where there was none.
        after: The chunk, or None where there is none.
        removed: (N before) bool, voxels that are gone.
        added: (N after) bool, new voxels.
        changed: (N after) bool, voxels whose position, colour, class or rank differs.
    """

    key: ChunkKey
    before: Chunk | None
    after: Chunk | None
    removed: npt.NDArray[np.bool_]
    added: npt.NDArray[np.bool_]
    changed: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WorldDiff:
    """How two moments differ, in numbers.

    Attributes:
        added: Points that only the second has.
        removed: Points that only the first has.
        changed: Points whose position, colour, class or rank differs.
        same: Points that both have alike.
        chunks: Points added, removed and changed of each chunk that differs.
        keyframes_added: Identities.
        keyframes_removed: Identities.
        keyframes_changed: Identities of those whose pose or picture differs.
    """

    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0
    chunks: dict[ChunkKey, tuple[int, int, int]] = field(default_factory=dict)
    keyframes_added: tuple[int, ...] = ()
    keyframes_removed: tuple[int, ...] = ()
    keyframes_changed: tuple[int, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if points and keyframes are the same."""
        frames = (*self.keyframes_added, *self.keyframes_removed, *self.keyframes_changed)
        return not (self.added or self.removed or self.changed or frames)


def diff_chunks(key: ChunkKey, before: Chunk | None, after: Chunk | None) -> ChunkDiff:
    """Compare two contents of a chunk; one of them may be missing."""
    old_codes = np.zeros(0, np.uint32) if before is None else before.codes
    new_codes = np.zeros(0, np.uint32) if after is None else after.codes
    _, old_index, new_index = np.intersect1d(old_codes, new_codes, assume_unique=True, return_indices=True)
    removed, added = np.ones(len(old_codes), np.bool_), np.ones(len(new_codes), np.bool_)
    removed[old_index] = added[new_index] = False
    changed = np.zeros(len(new_codes), np.bool_)
    if before is not None and after is not None:
        differs = before.priority[old_index] != after.priority[new_index]
        differs |= (before.local_q8()[old_index] != after.local_q8()[new_index]).any(axis=1)
        differs |= (before.colors()[old_index] != after.colors()[new_index]).any(axis=1)
        changed[new_index] = differs
    return ChunkDiff(key, before, after, removed, added, changed)


def iter_chunk_diffs(
    file: HistoryReader, a: Tree, b: Tree, other: HistoryReader | None = None, *, everything: bool = False
) -> Iterator[ChunkDiff]:
    """Differences of the chunks whose content differs; only those are read.

    Args:
        file: Holds ``a``.
        a: The first moment.
        b: The second.
        other: Holds ``b``, if not the same file.
        everything: Also those that do not differ.

    Raises:
        DamageError: A chunk that differs cannot be read.
    """
    for key in sorted({*a.chunks, *b.chunks}):
        if a.chunks.get(key) != b.chunks.get(key) or everything:
            yield diff_chunks(key, _chunk_of(file, a, key), _chunk_of(other or file, b, key))


def _chunk_of(file: HistoryReader, tree: Tree, key: ChunkKey) -> Chunk | None:
    if key not in tree.chunks:
        return None
    chunk = file.chunks_of(tree, {key}).get(key)
    if chunk is None:
        raise DamageError(f"chunk {key[0]} {key[1]} {key[2]}", "it cannot be read; see `spatia check`")
    return chunk


def diff_trees(file: HistoryReader, a: Tree, b: Tree, other: HistoryReader | None = None) -> WorldDiff:
    """How two moments differ; ``other`` holds ``b``, if not the same file.

    Raises:
        DamageError: A chunk that differs cannot be read.
    """
    chunks: dict[ChunkKey, tuple[int, int, int]] = {}
    for diff in iter_chunk_diffs(file, a, b, other):
        counts = (int(diff.added.sum()), int(diff.removed.sum()), int(diff.changed.sum()))
        if any(counts):
            chunks[diff.key] = counts
    added, removed, changed = (sum(c[i] for c in chunks.values()) for i in range(3))
    both = sorted({*a.keyframes} & {*b.keyframes})
    return WorldDiff(
        added=added,
        removed=removed,
        changed=changed,
        same=b.num_points - added - changed,
        chunks=chunks,
        keyframes_added=tuple(sorted({*b.keyframes} - {*a.keyframes})),
        keyframes_removed=tuple(sorted({*a.keyframes} - {*b.keyframes})),
        keyframes_changed=tuple(i for i in both if a.keyframes[i] != b.keyframes[i]),
    )
