"""The chunk: an immutable cube of 64³ voxels, structure of arrays, integer accumulators.

A position is first made an integer: ``q = floor(x / voxel_size_m * 256)`` per axis, in float64. Then ``q >> 8`` is the
voxel key, ``q & 255`` the offset inside the voxel, ``voxel key >> 6`` the chunk key and ``voxel key & 63`` the place in
the chunk. All of it floors, so -0.1 m has key -1. Because every stored number is an integer sum, inserting the same
points in any order or split gives the same bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ChunkKey = tuple[int, int, int]

CHUNK_BITS = 6
CHUNK_SIDE = 1 << CHUNK_BITS
OFFSET_BITS = 8
OFFSET_STEPS = 1 << OFFSET_BITS

MAX_CHUNK_KEY = 1 << 20
MAX_VOXEL_WEIGHT = (2**32 - 1) // 255
"""Largest sum of weights whose sums of offsets and colours surely fit 32 bits."""

ROW_BYTES = 32
VOXEL_BYTES = ROW_BYTES + 4 + 1 + 2
"""A voxel's share of a chunk: row, code, priority, evidence."""

COLUMN_X, COLUMN_Y, COLUMN_Z, COLUMN_WEIGHT, COLUMN_R, COLUMN_G, COLUMN_B, COLUMN_KEYFRAME = range(8)


def spread_bits(v: npt.NDArray[np.integer]) -> npt.NDArray[np.uint32]:
    """Put the 6 low bits of each value on every third bit."""
    x = np.asarray(v).astype(np.uint32) & np.uint32(0x3F)
    x = (x | (x << np.uint32(8))) & np.uint32(0x300F)
    x = (x | (x << np.uint32(4))) & np.uint32(0x30C3)
    return (x | (x << np.uint32(2))) & np.uint32(0x9249)


def gather_bits(v: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Put bits 0, 3, 6, … 15 of each value together; undoes ``spread_bits``."""
    x = v & np.uint32(0x9249)
    x = (x | (x >> np.uint32(2))) & np.uint32(0x30C3)
    x = (x | (x >> np.uint32(4))) & np.uint32(0x300F)
    return (x | (x >> np.uint32(8))) & np.uint32(0x3F)


def morton(
    x: npt.NDArray[np.integer], y: npt.NDArray[np.integer], z: npt.NDArray[np.integer]
) -> npt.NDArray[np.uint32]:
    """18-bit Morton code of a voxel in its chunk; x on bits 0, 3, …, y on 1, 4, …, z on 2, 5, …"""
    return spread_bits(x) | spread_bits(y) << np.uint32(1) | spread_bits(z) << np.uint32(2)


def unmorton(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """(N, 3) x, y, z in 0..63 of (N,) codes."""
    out = np.empty((len(codes), 3), np.uint32)
    for axis in range(3):
        out[:, axis] = gather_bits(codes >> np.uint32(axis))
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """What memory holds of one cube of voxels. Immutable: its arrays are read-only, a change makes a new chunk.

    Attributes:
        key: Chunk key (x, y, z).
        revision: Raised whenever the chunk is replaced; unique in its memory.
        codes: (N,) uint32 Morton codes of the occupied voxels, strictly rising.
        rows: (N, 8) uint32: weighted sums of the offset (x, y, z; 256 steps a voxel), sum of weights, weighted sums of
            red, green, blue, and the smallest keyframe identity among the points that count.
        priority: (N,) uint8, class and rank of the points that count (``points.priority_of``).
        evidence: (N, 2) uint8: how often later views confirmed the voxel, and how often they saw through it.
            Saturating; not part of the content hash.
    """

    key: ChunkKey
    revision: int
    codes: npt.NDArray[np.uint32]
    rows: npt.NDArray[np.uint32]
    priority: npt.NDArray[np.uint8]
    evidence: npt.NDArray[np.uint8]

    def __post_init__(self) -> None:
        n = len(self.codes)
        for name, size in (("codes", 4), ("rows", ROW_BYTES), ("priority", 1), ("evidence", 2)):
            array = getattr(self, name)
            if array.nbytes != n * size or not array.flags.c_contiguous:  # kernels read the bare memory
                shape = f"{array.shape} {array.dtype}"
                raise ValueError(f"chunk {self.key} {name}: expected {n} contiguous items of {size} bytes, got {shape}")
            array.flags.writeable = False

    @property
    def num_points(self) -> int:
        """Occupied voxels."""
        return len(self.codes)

    @property
    def num_bytes(self) -> int:
        """Memory held by the content."""
        return self.codes.nbytes + self.rows.nbytes + self.priority.nbytes + self.evidence.nbytes

    def local_q8(self) -> npt.NDArray[np.uint16]:
        """(N, 3) uint16 mean positions inside the chunk, 256 steps a voxel, 0..16383, rounded to nearest. Fresh."""
        out = np.empty((len(self.codes), 3), np.uint16)
        for axis in range(3):
            place = gather_bits(self.codes >> np.uint32(axis)).astype(np.uint16)
            out[:, axis] = place * np.uint16(OFFSET_STEPS) + self._mean(axis).astype(np.uint16)
        return out

    def positions_world(self, voxel_size_m: float) -> npt.NDArray[np.float32]:
        """(N, 3) float32 mean positions in metres, world frame. Fresh."""
        origin = np.array(self.key, np.float64) * (CHUNK_SIDE * voxel_size_m)
        step = voxel_size_m / OFFSET_STEPS
        return (origin + (self.local_q8().astype(np.float64) + 0.5) * step).astype(np.float32)

    def colors(self) -> npt.NDArray[np.uint8]:
        """(N, 3) uint8 sRGB mean colours, rounded to nearest. Fresh."""
        out = np.empty((len(self.codes), 3), np.uint8)
        for channel, column in enumerate((COLUMN_R, COLUMN_G, COLUMN_B)):
            out[:, channel] = self._mean(column)
        return out

    def _mean(self, column: int) -> npt.NDArray[np.float64]:
        """(N,) means of a column of sums, rounded to nearest, halves up.

        Exact: sums are below 2^32, so a quotient that is no whole number lies farther from one than float64 rounds.
        """
        weight = self.rows[:, COLUMN_WEIGHT].astype(np.float64)
        return np.floor((2.0 * self.rows[:, column] + weight) / (2.0 * weight))

    def keyframes(self) -> npt.NDArray[np.uint32]:
        """(N,) uint32 keyframe identities (a view)."""
        return self.rows[:, COLUMN_KEYFRAME]


def check_chunk(chunk: Chunk) -> None:
    """Check what the rest of the code takes for granted, for chunks that come from outside.

    Raises:
        ValueError: Shapes, types, order of the codes or values are not those of a chunk.
    """
    n = len(chunk.codes)
    expected = {
        "codes": ((n,), np.uint32),
        "rows": ((n, 8), np.uint32),
        "priority": ((n,), np.uint8),
        "evidence": ((n, 2), np.uint8),
    }
    for name, (shape, dtype) in expected.items():
        array = getattr(chunk, name)
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            raise ValueError(
                f"chunk {chunk.key} {name}: expected {shape} {np.dtype(dtype)}, got {array.shape} {array.dtype}"
            )
    if len(chunk.key) != 3 or not all(-MAX_CHUNK_KEY <= k < MAX_CHUNK_KEY for k in chunk.key):
        raise ValueError(f"chunk {chunk.key}: expected a key of three numbers within ±2^20")
    if n == 0:
        raise ValueError(f"chunk {chunk.key}: expected at least one voxel; leave empty chunks out")
    if chunk.codes[-1] >= CHUNK_SIDE**3 or (chunk.codes[1:] <= chunk.codes[:-1]).any():
        raise ValueError(f"chunk {chunk.key}: expected codes that rise strictly, below {CHUNK_SIDE**3}")
    weight = chunk.rows[:, COLUMN_WEIGHT]
    sums = chunk.rows[:, [COLUMN_X, COLUMN_Y, COLUMN_Z, COLUMN_R, COLUMN_G, COLUMN_B]]
    if weight.min() == 0 or weight.max() > MAX_VOXEL_WEIGHT or (sums > weight[:, None] * np.uint32(255)).any():
        raise ValueError(f"chunk {chunk.key}: expected weights in 1..{MAX_VOXEL_WEIGHT} and sums of at most 255 times")
    if chunk.priority.min() < 64:
        raise ValueError(f"chunk {chunk.key}: expected priorities in 64..255")


def addresses_of(chunks: Sequence[Chunk | None]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the arrays of chunks lie, for kernels that read many chunks in one call.

    Args:
        chunks: M chunks, or None for one that holds nothing. They must outlive the use of the addresses.

    Returns:
        (M,) voxels of each, and (M, 4) addresses of codes, rows, priority and evidence.
    """
    counts = np.array([0 if c is None else c.num_points for c in chunks], np.int64)
    addresses = np.zeros((len(chunks), 4), np.int64)
    for i, chunk in enumerate(chunks):
        if chunk is not None:
            arrays = (chunk.codes, chunk.rows, chunk.priority, chunk.evidence)
            addresses[i] = [array.__array_interface__["data"][0] for array in arrays]
    return counts, addresses


def chunk_from(key: ChunkKey, revision: int, buffer: npt.NDArray[np.uint8]) -> Chunk:
    """A chunk whose arrays lie behind one another in one buffer, which it takes over: rows, codes, priority, evidence.

    Args:
        key: Chunk key.
        revision: Revision that it carries.
        buffer: ``VOXEL_BYTES`` for each voxel.
    """
    n = len(buffer) // VOXEL_BYTES
    return Chunk(
        key,
        revision,
        buffer[32 * n : 36 * n].view(np.uint32),
        buffer[: 32 * n].view(np.uint32).reshape(n, 8),
        buffer[36 * n : 37 * n],
        buffer[37 * n :].reshape(n, 2),
    )
