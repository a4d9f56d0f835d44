"""A chunk's coarser levels, for drawing what is far away: one voxel of every block, and one of every larger block."""

import numpy as np
import numpy.typing as npt

from .chunks import COLUMN_B, COLUMN_R, COLUMN_WEIGHT, OFFSET_BITS, OFFSET_STEPS, Chunk
from .points import class_of

COARSE_LEVEL = 2
"""Blocks have 2^this voxels a side, 4 cm at 1 cm voxels."""

FAR_LEVEL = 3
"""Of the level that stands with the facts of a chunk, so that it is there without reading anything: 8 cm."""

OFFSET_BITS_KEPT = 1
"""Of the place inside the voxel; a quarter of a voxel is a sixteenth of a pixel where this level is drawn."""

COLOR_BITS_KEPT = 7
"""Of each channel of the coarser level, an error of 1 of 255 at most."""

FAR_COLOR_BITS = 6
"""Of each channel of the far level, an error of 2 of 255 at most."""

MAX_FAR_POINTS = 1 << 3 * (6 - FAR_LEVEL)


def coarsen(chunk: Chunk) -> Chunk:
    """The first voxel of every block, in Morton order, with its mean colour and place.

    These are the points that a renderer's level of detail draws from far away, so that nothing moves or changes its
    colour by what could be seen when one takes the place of the other. Weights are 1, keyframes and evidence 0. Fresh
    memory.
    """
    first = _first_of_blocks(chunk.codes, COARSE_LEVEL)
    source = chunk.rows[first]
    rows = np.zeros_like(source)
    rows[:, COLUMN_WEIGHT] = 1
    dropped = np.uint32(OFFSET_BITS - OFFSET_BITS_KEPT)
    middle = np.uint32(OFFSET_STEPS >> OFFSET_BITS_KEPT >> 1)
    rows[:, :COLUMN_WEIGHT] = (np.minimum(_means(source, 0), OFFSET_STEPS - 1) >> dropped << dropped) | middle
    few = fewer_bits(_means(source, COLUMN_R), COLOR_BITS_KEPT)
    rows[:, COLUMN_R : COLUMN_B + 1] = all_bits(few, COLOR_BITS_KEPT)
    n = len(rows)
    return Chunk(chunk.key, chunk.revision, chunk.codes[first], rows, chunk.priority[first], np.zeros((n, 2), np.uint8))


def far_words(chunk: Chunk) -> npt.NDArray[np.uint32]:
    """The first voxel of every larger block, a word each, in Morton order. Of a chunk or of its coarser level.

    A word is, from the highest bit on: 12 bits Morton code of the block of 4 voxels a side that holds the voxel, 2 bits
    class, 6 bits each of red, green and blue. Fresh memory.
    """
    first = _first_of_blocks(chunk.codes, FAR_LEVEL)
    red, green, blue = fewer_bits(_means(chunk.rows[first], COLUMN_R), FAR_COLOR_BITS).T
    place = chunk.codes[first] >> np.uint32(3 * COARSE_LEVEL)
    kind = class_of(chunk.priority[first]).astype(np.uint32)
    return place << np.uint32(20) | kind << np.uint32(18) | red << np.uint32(12) | green << np.uint32(6) | blue


def fewer_bits(values: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.uint32]:
    """Of 0..255, rounded to nearest, as 0..2^bits - 1."""
    top = np.uint32((1 << bits) - 1)
    return (values * top + np.uint32(127)) // np.uint32(255)


def all_bits(values: npt.NDArray[np.uint32], bits: int) -> npt.NDArray[np.uint32]:
    """Back to 0..255."""
    top = (1 << bits) - 1
    table = (np.arange(top + 1, dtype=np.uint32) * np.uint32(255) + np.uint32(top // 2)) // np.uint32(top)
    return table[values]


def _first_of_blocks(codes: npt.NDArray[np.uint32], level: int) -> npt.NDArray[np.bool_]:
    blocks = codes >> np.uint32(3 * level)
    first = np.ones(len(blocks), np.bool_)
    np.not_equal(blocks[1:], blocks[:-1], out=first[1:])
    return first


def _means(rows: npt.NDArray[np.uint32], column: int) -> npt.NDArray[np.uint32]:
    """(N, 3) means of three columns of sums, rounded to nearest, halves up."""
    weight = rows[:, COLUMN_WEIGHT].astype(np.float64)[:, None]
    return np.floor((2.0 * rows[:, column : column + 3] + weight) / (2.0 * weight)).astype(np.uint32)
