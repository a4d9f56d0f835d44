"""Blocks: 4x4x4 chunks drawn as one, in a coarser level, so that few things are drawn however large the world is.

A block's frame is that of a chunk of four times the side: 64 cells a side, of 4 voxels each, 256 steps a cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .chunks import CHUNK_BITS, COLUMN_B, COLUMN_R, COLUMN_WEIGHT, OFFSET_BITS, Chunk, ChunkKey, morton, unmorton
from .coarse import COARSE_LEVEL, FAR_COLOR_BITS, FAR_LEVEL, all_bits

BLOCK_BITS = 2
BLOCK_SIDE = 1 << BLOCK_BITS
"""Chunks a side, 2.6 m at 1 cm voxels."""

BlockKey = tuple[int, int, int, int]
"""The keys of its chunks, each shifted by ``BLOCK_BITS``, and ``BLOCK_SIDE``: no chunk's key."""

DrawKey = ChunkKey | BlockKey
"""What a renderer is given something under."""

_POINT_BYTES = 3 * 2 + 4 + 1
_OPAQUE = np.uint32(0xFF000000)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What is drawn of a block of chunks. Immutable.

    Attributes:
        key: Of the block.
        level: ``COARSE_LEVEL`` or ``FAR_LEVEL``: blocks of 2^level voxels a side have one point each.
        local_q8: (N, 3) uint16 positions in the block's frame, 256 steps a cell, in Morton order of the cells.
        color_rgba: (N,) uint32, red in the lowest byte, alpha 255.
        priority: (N,) uint8; of the far level the class alone.
        spacing: Distance of neighbouring points of its chunks in full, in voxels.
    """

    key: BlockKey
    level: int
    local_q8: npt.NDArray[np.uint16]
    color_rgba: npt.NDArray[np.uint32]
    priority: npt.NDArray[np.uint8]
    spacing: float

    @property
    def num_points(self) -> int:
        """Points drawn."""
        return len(self.color_rgba)

    @property
    def num_bytes(self) -> int:
        """Memory held."""
        return self.num_points * _POINT_BYTES


def block_of(key: ChunkKey) -> BlockKey:
    """The block that a chunk belongs to."""
    x, y, z = key
    return (x >> BLOCK_BITS, y >> BLOCK_BITS, z >> BLOCK_BITS, BLOCK_SIDE)


def places_in_block(keys: Sequence[ChunkKey]) -> npt.NDArray[np.uint32]:
    """(M,) Morton codes, 0..63, of chunks in their block."""
    x, y, z = (np.array(keys, np.int64).reshape(-1, 3) & (BLOCK_SIDE - 1)).T
    return morton(x, y, z)


def coarse_block(key: BlockKey, chunks: Sequence[Chunk], spacing: float) -> Block:
    """A block of the coarser levels of its chunks. Fresh memory.

    Args:
        key: Of the block.
        chunks: From ``coarse.coarsen``, one or more, in any order.
        spacing: See ``Block``.
    """
    places = places_in_block([chunk.key for chunk in chunks])
    order = np.argsort(places)
    chunks = [chunks[i] for i in order]
    rows = np.concatenate([chunk.rows for chunk in chunks])  # weights are 1: sums are means
    voxels = unmorton(np.concatenate([chunk.codes for chunk in chunks]))
    corners = np.repeat(unmorton(places[order]), [chunk.num_points for chunk in chunks], axis=0)
    voxels |= corners << np.uint32(CHUNK_BITS)
    local = (voxels << np.uint32(OFFSET_BITS) | rows[:, :COLUMN_WEIGHT]) >> np.uint32(BLOCK_BITS)
    color = _as_rgba(*rows[:, COLUMN_R : COLUMN_B + 1].T)
    priority = np.concatenate([chunk.priority for chunk in chunks])
    return Block(key, COARSE_LEVEL, local.astype(np.uint16), color, priority, spacing)


def far_block(
    key: BlockKey, keys: Sequence[ChunkKey], words: Sequence[npt.NDArray[np.uint32]], spacing: float
) -> Block:
    """A block of the far levels of its chunks. Fresh memory.

    Args:
        key: Of the block.
        keys: Of its chunks, one or more, in any order.
        words: Of each, from ``coarse.far_words``.
        spacing: See ``Block``.
    """
    places = places_in_block(keys)
    order = np.argsort(places)
    all_words = np.concatenate([words[i] for i in order])
    chunk = np.repeat(places[order], [len(words[i]) for i in order])
    cell_bits = 3 * (CHUNK_BITS - COARSE_LEVEL)
    cells = unmorton(chunk << np.uint32(cell_bits) | all_words >> np.uint32(20))
    local = (cells << np.uint32(OFFSET_BITS)) + np.uint32(1 << OFFSET_BITS >> 1)
    channels = (all_bits(all_words >> np.uint32(s) & np.uint32(63), FAR_COLOR_BITS) for s in (12, 6, 0))
    kind = (all_words >> np.uint32(18) & np.uint32(3)).astype(np.uint8) << np.uint8(6)
    return Block(key, FAR_LEVEL, local.astype(np.uint16), _as_rgba(*channels), kind, spacing)


def _as_rgba(
    red: npt.NDArray[np.uint32], green: npt.NDArray[np.uint32], blue: npt.NDArray[np.uint32]
) -> npt.NDArray[np.uint32]:
    return red | green << np.uint32(8) | blue << np.uint32(16) | _OPAQUE
