"""A chunk's coarser level: one voxel of every block, for drawing what is far away."""

import numpy as np

from .chunks import COLUMN_B, COLUMN_R, COLUMN_WEIGHT, OFFSET_BITS, OFFSET_STEPS, Chunk

COARSE_LEVEL = 2
"""Blocks have 2^this voxels a side, 4 cm at 1 cm voxels."""

OFFSET_BITS_KEPT = 3
"""Of the place inside the voxel; an eighth of a voxel is a thirtieth of a pixel where this level is drawn."""


def coarsen(chunk: Chunk) -> Chunk:
    """The first voxel of every block, in Morton order, with its mean colour and place.

    These are the very points that a renderer's level of detail draws from far away, so that nothing moves or changes
    its colour when one takes the place of the other. Weights are 1, keyframes and evidence 0. Fresh memory.
    """
    blocks = chunk.codes >> np.uint32(3 * COARSE_LEVEL)
    first = np.ones(len(blocks), np.bool_)
    np.not_equal(blocks[1:], blocks[:-1], out=first[1:])
    source = chunk.rows[first]
    weight = source[:, COLUMN_WEIGHT].astype(np.float64)[:, None]
    rows = np.zeros_like(source)
    rows[:, COLUMN_WEIGHT] = 1
    offset = np.floor((2.0 * source[:, :COLUMN_WEIGHT] + weight) / (2.0 * weight)).astype(np.uint32)
    dropped = np.uint32(OFFSET_BITS - OFFSET_BITS_KEPT)
    middle = np.uint32(OFFSET_STEPS >> OFFSET_BITS_KEPT >> 1)
    rows[:, :COLUMN_WEIGHT] = (np.minimum(offset, OFFSET_STEPS - 1) >> dropped << dropped) | middle
    colors = slice(COLUMN_R, COLUMN_B + 1)
    rows[:, colors] = np.floor((2.0 * source[:, colors] + weight) / (2.0 * weight))
    n = len(rows)
    return Chunk(chunk.key, chunk.revision, chunk.codes[first], rows, chunk.priority[first], np.zeros((n, 2), np.uint8))
