"""The codec of a chunk's coarser level: few points, so one frame for all that is known of them."""

import struct

import numpy as np
import numpy.typing as npt
import zstandard

from ..world.chunks import COLUMN_B, COLUMN_R, COLUMN_WEIGHT, MAX_CHUNK_KEY, OFFSET_BITS, OFFSET_STEPS, Chunk
from ..world.coarse import COLOR_BITS_KEPT, OFFSET_BITS_KEPT, all_bits, fewer_bits
from .codec import MAX_POINTS_PER_CHUNK, ChunkDecodeError, checksum_of, codes_of, octree_of, sealed

COARSE_MAGIC = b"SPCC"
COARSE_VERSION = 2
ZSTD_LEVEL = 3

_HEADER = struct.Struct("<4sHHiiiIII")
"""Magic, version, 0, key x, y, z, number of points, bytes of the octree, checksum."""
_PLANES = 7
"""Bytes a point beside the octree: offsets x, y, z; green, red - green, blue - green; priority."""
_MAX_OCTREE_BYTES = MAX_POINTS_PER_CHUNK * 6
_BITS_KEPT = {1: (3, 8), COARSE_VERSION: (OFFSET_BITS_KEPT, COLOR_BITS_KEPT)}
"""Of offsets and of colours, by version."""


def encode_coarse(chunk: Chunk) -> bytes:
    """A chunk of ``coarse.coarsen`` as bytes, without its revision."""
    octree, shift = octree_of(chunk.codes), np.uint32(OFFSET_BITS - OFFSET_BITS_KEPT)
    offsets = (chunk.rows[:, :COLUMN_WEIGHT] >> shift).astype(np.uint8)
    red, green, blue = fewer_bits(chunk.rows[:, COLUMN_R : COLUMN_B + 1], COLOR_BITS_KEPT).astype(np.uint8).T
    planes = [octree, *offsets.T, *(_differences(c) for c in (green, red - green, blue - green)), chunk.priority]
    body = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False).compress(
        b"".join(p.tobytes() for p in planes)
    )
    return sealed(_HEADER.pack(COARSE_MAGIC, COARSE_VERSION, 0, *chunk.key, chunk.num_points, len(octree), 0), body)


def decode_coarse(data: bytes, revision: int = 0) -> Chunk:
    """The coarser level that bytes hold.

    Args:
        data: From ``encode_coarse``, or anything: nothing is trusted.
        revision: The chunk's revision, which stands elsewhere.

    Raises:
        ChunkDecodeError: Damaged, foreign, or of another version.
    """
    if len(data) < _HEADER.size:
        raise ChunkDecodeError(f"expected at least {_HEADER.size} bytes, got {len(data)}")
    magic, version, _, x, y, z, n, octree_bytes, checksum = _HEADER.unpack_from(data)
    if magic != COARSE_MAGIC or version not in _BITS_KEPT:
        raise ChunkDecodeError(f"expected a coarser level of version {COARSE_VERSION}, got other bytes")
    body = data[_HEADER.size :]
    if checksum != checksum_of(data[: _HEADER.size], body):
        raise ChunkDecodeError("the checksum does not match: the coarser level is damaged")
    is_in_range = all(-MAX_CHUNK_KEY <= k < MAX_CHUNK_KEY for k in (x, y, z))
    if n > MAX_POINTS_PER_CHUNK or octree_bytes > _MAX_OCTREE_BYTES or not is_in_range:
        raise ChunkDecodeError("a size or key out of range")
    plain = _unpacked(body, octree_bytes + _PLANES * n)
    columns = np.frombuffer(plain, np.uint8, offset=octree_bytes).reshape(_PLANES, n)
    rows = np.zeros((n, 8), np.uint32)
    rows[:, COLUMN_WEIGHT] = 1
    offset_bits, color_bits = _BITS_KEPT[version]
    shift = np.uint32(OFFSET_BITS - offset_bits)
    middle = np.uint32(1) << shift >> np.uint32(1)
    rows[:, :COLUMN_WEIGHT] = ((columns[:3].T.astype(np.uint32) << shift) | middle) & np.uint32(OFFSET_STEPS - 1)
    green, red_green, blue_green = (np.cumsum(plane, dtype=np.uint8) for plane in columns[3:6])
    colors = np.stack([red_green + green, green, blue_green + green], axis=1) & np.uint8((1 << color_bits) - 1)
    rows[:, COLUMN_R : COLUMN_B + 1] = all_bits(colors.astype(np.uint32), color_bits)
    if n and columns[6].min() < 64:
        raise ChunkDecodeError("a priority without class")
    codes = codes_of(plain[:octree_bytes], n)
    return Chunk((x, y, z), revision, codes, rows, columns[6].copy(), np.zeros((n, 2), np.uint8))


def _differences(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Of each value to the one before, the first to 0."""
    out = values.copy()
    out[1:] -= values[:-1]
    return out


def _unpacked(body: bytes, size: int) -> bytes:
    try:
        if zstandard.frame_content_size(body) != size:  # before the decoder takes memory
            raise ChunkDecodeError("the size does not match")
        return zstandard.ZstdDecompressor(max_window_size=1 << 25).decompress(body, max_output_size=size)
    except zstandard.ZstdError as error:
        raise ChunkDecodeError(f"damaged: {error}") from error
