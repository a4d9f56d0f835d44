"""A staged change: finished chunks that have not been taken over yet, and edits that make one.

Everything here is pure and may run on any thread. Taking a change over is a swap of references on the thread that owns
memory (``SpatialMemory.apply``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .chunks import COLUMN_B, COLUMN_R, COLUMN_WEIGHT, Chunk, ChunkKey


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What one change did to memory.

    Attributes:
        added: Voxels that were empty before.
        refreshed: Voxels that got more points of their own priority, or another colour.
        replaced: Voxels whose lower points gave way to higher ones.
        outranked: Points that fell on a voxel of higher priority and were left out.
        removed: Voxels removed.
        changed: Keys of the chunks that were replaced or dropped, sorted.
        saturated: Voxels that hold all the weight that their sums can hold, so that new points were left out.
    """

    added: int = 0
    refreshed: int = 0
    replaced: int = 0
    outranked: int = 0
    removed: int = 0
    changed: tuple[ChunkKey, ...] = ()
    saturated: int = 0

    def __add__(self, other: "MergeReport") -> "MergeReport":
        """Two changes, one after the other."""
        return MergeReport(
            self.added + other.added,
            self.refreshed + other.refreshed,
            self.replaced + other.replaced,
            self.outranked + other.outranked,
            self.removed + other.removed,
            tuple(sorted({*self.changed, *other.changed})),
            self.saturated + other.saturated,
        )


@dataclass(frozen=True, slots=True, eq=False)
class StagedChange:
    """New chunks, computed from others; nothing has happened yet.

    Attributes:
        base: The chunk that each touched key had; None where there was none.
        chunks: The chunk that each changed key gets; None where it is dropped. Its keys are among those of ``base``.
        report: What applying it will have done.
    """

    base: Mapping[ChunkKey, Chunk | None]
    chunks: Mapping[ChunkKey, Chunk | None]
    report: MergeReport = field(default_factory=MergeReport)


class Overlaid(Mapping[ChunkKey, Chunk]):
    """Chunks as they are after a staged change, without copying or reading the others.

    Args:
        chunks: Before.
        changed: What changed keys get; None where a chunk is dropped.
    """

    def __init__(self, chunks: Mapping[ChunkKey, Chunk], changed: Mapping[ChunkKey, Chunk | None]) -> None:
        self._chunks, self._changed = chunks, changed

    def __getitem__(self, key: ChunkKey) -> Chunk:
        chunk = self._changed[key] if key in self._changed else self._chunks[key]
        if chunk is None:
            raise KeyError(key)
        return chunk

    def __iter__(self) -> Iterator[ChunkKey]:
        return (key for key in {**dict.fromkeys(self._chunks), **self._changed} if key in self)

    def __contains__(self, key: object) -> bool:
        return self._changed[key] is not None if key in self._changed else key in self._chunks  # type: ignore[index]

    def __len__(self) -> int:
        return sum(1 for _ in self)


def stage_remove(
    chunks: Mapping[ChunkKey, Chunk], masks: Mapping[ChunkKey, npt.NDArray[np.bool_]], *, revision: int
) -> StagedChange:
    """Take voxels out.

    Args:
        chunks: Present chunks by key.
        masks: (N,) bool by key, True where a voxel goes; keys that memory lacks are passed over.
        revision: Revision that new chunks carry.

    Raises:
        ValueError: A mask is not bool or not as long as its chunk.
    """
    out: dict[ChunkKey, Chunk | None] = {}
    removed = 0
    for key, mask in masks.items():
        chunk = _masked(chunks, key, mask)
        if chunk is None or not mask.any():
            continue
        keep = ~mask
        removed += int(mask.sum())
        out[key] = (
            Chunk(key, revision, chunk.codes[keep], chunk.rows[keep], chunk.priority[keep], chunk.evidence[keep])
            if keep.any()
            else None
        )
    return StagedChange({k: chunks[k] for k in out}, out, MergeReport(removed=removed, changed=tuple(sorted(out))))


def stage_recolor(
    chunks: Mapping[ChunkKey, Chunk],
    masks: Mapping[ChunkKey, npt.NDArray[np.bool_]],
    color: tuple[int, int, int],
    *,
    revision: int,
) -> StagedChange:
    """Give voxels one colour; weights stay, so that later points blend in as before.

    Args:
        chunks: Present chunks by key.
        masks: (N,) bool by key, True where a voxel is painted; keys that memory lacks are passed over.
        color: sRGB, 0..255 each.
        revision: Revision that new chunks carry.

    Raises:
        ValueError: A mask is not bool or not as long as its chunk, or the colour is out of range.
    """
    if len(color) != 3 or not all(0 <= int(c) <= 255 for c in color):
        raise ValueError(f"color: expected three numbers in 0..255, got {color}")
    out: dict[ChunkKey, Chunk | None] = {}
    painted = 0
    for key, mask in masks.items():
        chunk = _masked(chunks, key, mask)
        if chunk is None or not mask.any():
            continue
        rows = chunk.rows.copy()
        rows[mask, COLUMN_R : COLUMN_B + 1] = rows[mask, COLUMN_WEIGHT, None] * np.array(color, np.uint32)
        painted += int(mask.sum())
        out[key] = Chunk(key, revision, chunk.codes, rows, chunk.priority, chunk.evidence)
    return StagedChange({k: chunks[k] for k in out}, out, MergeReport(refreshed=painted, changed=tuple(sorted(out))))


def _masked(chunks: Mapping[ChunkKey, Chunk], key: ChunkKey, mask: npt.NDArray[np.bool_]) -> Chunk | None:
    chunk = chunks.get(key)
    if chunk is not None and (mask.dtype != np.bool_ or mask.shape != (chunk.num_points,)):
        raise ValueError(f"mask of chunk {key}: expected ({chunk.num_points},) bool, got {mask.shape} {mask.dtype}")
    return chunk
