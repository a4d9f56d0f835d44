"""The chunk codec: a chunk's integers as bytes, lossless, checked, small.

``docs/save_format.md`` fixes the layout to the byte. In short: occupied voxels are the levels of an octree (a byte of
children for each node); a weighted sum is its mean (a byte) and the remainder, which takes as many bits as the weight
leaves open, and none where a single point left none; colour means are differences to those of neighbouring voxels,
priorities to what the same keyframe had before; everything goes through zstd, plane by plane. Nothing is trusted when
decoding: sizes are checked against the number of voxels before memory is taken, values against what a chunk may hold,
and a checksum covers every byte.
"""

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import zstandard

from ..world.chunks import CHUNK_BITS, CHUNK_SIDE, COLUMN_KEYFRAME, COLUMN_WEIGHT, MAX_CHUNK_KEY, Chunk, ChunkKey
from .codec_kernels import (
    FAULTS,
    NUM_SUMS,
    code_colors,
    code_priorities,
    fold_octree,
    join_rows,
    move_from_front,
    move_to_front,
    split_sums,
    walk_octree,
)

CHUNK_MAGIC = b"SPCK"
CHUNK_VERSION = 2
ZSTD_LEVEL = 3

MAX_REVISION = (1 << 63) - 1
MAX_POINTS_PER_CHUNK = CHUNK_SIDE**3
MAX_CHUNK_WEIGHT = 0xFFFFFFFF // 255
"""The largest sum of weights whose weighted sums fit 32 bits."""

_HEADER = struct.Struct("<4sHHiiiIII")
"""Magic, version, number of planes, key x, y, z, number of voxels, common factor, checksum."""
_PLANE = struct.Struct("<BII")
"""Method (0 as it is, 1 zstd, 2 one byte that repeats), bytes when decoded, bytes stored."""
_RAW, _ZSTD, _REPEAT = 0, 1, 2
_NUM_PLANES = 17
_BOUND = NUM_SUMS * 4 * MAX_POINTS_PER_CHUNK + 8
"""No plane decodes to more than this: 32 bits of remainder for each sum of each voxel."""


class ChunkDecodeError(ValueError):
    """Bytes that are no chunk of this version, or damaged."""


def encode_chunk(chunk: Chunk) -> bytes:
    """A chunk as bytes, without its revision: the same content and key give the same bytes.

    Raises:
        ValueError: The chunk breaks its own rules (weight 0 or too large, a sum beyond its weight, unsorted codes).
    """
    n = chunk.num_points
    if n > MAX_POINTS_PER_CHUNK or (n and (chunk.codes[-1] >= MAX_POINTS_PER_CHUNK or not _rises(chunk.codes))):
        raise ValueError(f"chunk {chunk.key}: expected strictly rising codes below {MAX_POINTS_PER_CHUNK}")
    means, weights = np.empty((NUM_SUMS, n), np.uint8), np.empty(n, np.uint32)
    remainders = np.empty(NUM_SUMS * 4 * n + 8, np.uint8)
    factor = _common_factor(chunk.rows)
    rows = np.ascontiguousarray(chunk.rows)
    if factor > 1:
        rows = rows.copy()
        rows[:, :COLUMN_KEYFRAME] //= np.uint32(factor)
    rows.flags.writeable = False
    num_bytes = split_sums(rows, means, weights, remainders)
    if num_bytes < 0:
        raise ValueError(f"chunk {chunk.key}: expected weights 1..{MAX_CHUNK_WEIGHT} and sums within weight * 255")
    colors = np.empty((3, n), np.uint8)
    code_colors(chunk.codes, means[3:], _table_of_codes(), colors)
    palette, index = _palette_of(rows[:, COLUMN_KEYFRAME])
    planes = [
        octree_of(chunk.codes).tobytes(),
        *(m.tobytes() for m in means[:3]),
        *(c.tobytes() for c in colors),
        remainders[:num_bytes].tobytes(),
        *_byte_planes(weights, 4),
        palette.astype("<u4").tobytes(),
        _index_plane(index, len(palette)),
        code_priorities(chunk.priority, index, np.zeros(len(palette), np.uint8)).tobytes(),
        *(np.ascontiguousarray(chunk.evidence[:, i]).tobytes() for i in range(2)),
    ]
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False)
    body = b"".join(_store_plane(p, compressor) for p in planes)
    return sealed(_HEADER.pack(CHUNK_MAGIC, CHUNK_VERSION, len(planes), *chunk.key, n, factor, 0), body)


def sealed(head: bytes, body: bytes) -> bytes:
    """A blob: header and body, the header's last four bytes being the checksum of both.

    Args:
        head: The header, whatever its last four bytes are.
        body: What follows it.
    """
    return head[:-4] + struct.pack("<I", checksum_of(head, body)) + body


def checksum_of(head: bytes, body: bytes | memoryview) -> int:
    """CRC-32 of a blob, as if its header ended in four zeros."""
    return zlib.crc32(body, zlib.crc32(head[:-4] + b"\0\0\0\0"))


def decode_chunk(data: bytes, revision: int = 0) -> Chunk:
    """The chunk that bytes hold.

    Args:
        data: From ``encode_chunk``, or anything: nothing is trusted.
        revision: The chunk's revision, which stands elsewhere.

    Raises:
        ChunkDecodeError: Damaged, foreign, or of another version.
    """
    if len(data) < _HEADER.size:
        raise ChunkDecodeError(f"expected at least {_HEADER.size} bytes, got {len(data)}")
    magic, version, num_planes, *key, n, factor, checksum = _HEADER.unpack_from(data)
    if magic != CHUNK_MAGIC:
        raise ChunkDecodeError(f"expected a chunk, got bytes that begin with {bytes(magic)!r}")
    if version != CHUNK_VERSION:
        raise ChunkDecodeError(f"expected chunk version {CHUNK_VERSION}, got {version}")
    if checksum != checksum_of(data[: _HEADER.size], memoryview(data)[_HEADER.size :]):
        raise ChunkDecodeError("the checksum does not match: the chunk is damaged")
    if num_planes != _NUM_PLANES or n > MAX_POINTS_PER_CHUNK:
        raise ChunkDecodeError(f"expected {_NUM_PLANES} planes of at most {MAX_POINTS_PER_CHUNK} voxels")
    if not all(-MAX_CHUNK_KEY <= k < MAX_CHUNK_KEY for k in key) or not 0 <= revision <= MAX_REVISION:
        raise ChunkDecodeError(f"a key or revision out of range: {key}, {revision}")
    planes = _Planes(data, _HEADER.size)
    codes = codes_of(planes.take(), n)
    columns = [planes.bytes_of(n) for _ in range(6)]
    remainders = np.frombuffer(planes.take(), np.uint8)
    columns += [planes.bytes_of(n) for _ in range(4)]
    palette, index = _palette_from(planes.take(), planes.take(), n)
    coded = planes.bytes_of(n)
    rows, priority = np.empty((n, 8), np.uint32), np.empty(n, np.uint8)
    arguments: list[Any] = [*columns, coded, remainders, palette, index, np.uint64(factor), codes]
    arguments += [_table_of_codes(), np.zeros(len(palette), np.uint8), rows, priority]
    fault = join_rows(*arguments)
    if fault:
        raise ChunkDecodeError(FAULTS[fault])
    evidence = np.stack([planes.bytes_of(n) for _ in range(2)], axis=1)
    planes.finish()
    if n and priority.min() < 64:
        raise ChunkDecodeError("a priority without class")
    return Chunk((key[0], key[1], key[2]), revision, codes, rows, priority, evidence)


def key_of_bytes(data: bytes) -> tuple[ChunkKey, int]:
    """Key and number of voxels of a whole chunk, without decoding it.

    Raises:
        ChunkDecodeError: It is too short.
    """
    if len(data) < _HEADER.size:
        raise ChunkDecodeError(f"expected at least {_HEADER.size} bytes, got {len(data)}")
    _, _, _, x, y, z, n, _, _ = _HEADER.unpack_from(data)
    return (x, y, z), n


def warm_up() -> None:
    """Compile (or fetch from the cache) the codec's kernels, so that the first save does not wait for them."""
    rows = np.array([[0, 1, 2, 1, 3, 4, 5, 0]], np.uint32)
    one = np.array([64], np.uint8)
    decode_chunk(encode_chunk(Chunk((0, 0, 0), 0, np.zeros(1, np.uint32), rows, one, np.zeros((1, 2), np.uint8))))


def _rises(codes: npt.NDArray[np.uint32]) -> bool:
    return bool((codes[1:] > codes[:-1]).all())


def _common_factor(rows: npt.NDArray[np.uint32]) -> int:
    """What divides all weights and weighted sums; points of one confidence have it in common."""
    factor = int(np.gcd.reduce(rows[:, COLUMN_WEIGHT])) if len(rows) else 1
    return factor if factor > 1 and not (rows[:, :COLUMN_KEYFRAME] % np.uint32(factor)).any() else 1


# Planes


def _store_plane(plane: bytes, compressor: zstandard.ZstdCompressor) -> bytes:
    if len(plane) > 1 and plane[0] == plane[-1] and plane == plane[:1] * len(plane):
        return _PLANE.pack(_REPEAT, len(plane), 1) + plane[:1]
    packed = compressor.compress(plane) if plane else b""
    if len(packed) < len(plane):
        return _PLANE.pack(_ZSTD, len(plane), len(packed)) + packed
    return _PLANE.pack(_RAW, len(plane), len(plane)) + plane


class _Planes:
    """Reads stored planes one after another."""

    def __init__(self, data: bytes, offset: int) -> None:
        self._data, self._offset = data, offset
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 25)

    def take(self) -> bytes:
        """The next plane."""
        start = self._offset + _PLANE.size
        if start > len(self._data):
            raise ChunkDecodeError("a plane is missing")
        method, size, stored = _PLANE.unpack_from(self._data, self._offset)
        if size > _BOUND or stored > size or start + stored > len(self._data) or method > _REPEAT:
            raise ChunkDecodeError("a plane's size is out of range")
        self._offset = start + stored
        part = self._data[start : self._offset]
        if method == _ZSTD:
            return self._unpack(part, size)
        if len(part) != (size if method == _RAW else 1):
            raise ChunkDecodeError("a plane's size does not match")
        return part * size if method == _REPEAT else part

    def bytes_of(self, n: int) -> npt.NDArray[np.uint8]:
        """The next plane, which must have one byte for each voxel."""
        plane = self.take()
        if len(plane) != n:
            raise ChunkDecodeError(f"expected a plane of {n} bytes, got {len(plane)}")
        return np.frombuffer(plane, np.uint8)

    def finish(self) -> None:
        """Check that nothing is left."""
        if self._offset != len(self._data):
            raise ChunkDecodeError("bytes behind the last plane")

    def _unpack(self, part: bytes, size: int) -> bytes:
        try:
            if zstandard.frame_content_size(part) != size:  # before the decoder takes memory
                raise ChunkDecodeError("a plane's size does not match")
            out = self._decompressor.decompress(part, max_output_size=size)
        except zstandard.ZstdError as error:
            raise ChunkDecodeError(f"a plane is damaged: {error}") from error
        if len(out) != size:
            raise ChunkDecodeError("a plane's size does not match")
        return out


def _byte_planes(values: npt.NDArray[np.uint32], num_bytes: int) -> list[bytes]:
    """Lowest byte first."""
    return [(values >> np.uint32(8 * i)).astype(np.uint8).tobytes() for i in range(num_bytes)]


def _table_of_codes() -> npt.NDArray[np.uint32]:
    """One zero for each code; the system gives its memory page by page, where it is touched."""
    return np.zeros(MAX_POINTS_PER_CHUNK, np.uint32)


def _palette_of(keyframes: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """The distinct keyframes, rising, and each voxel's place among them."""
    low, high = (int(keyframes.min()), int(keyframes.max())) if len(keyframes) else (0, 0)
    if low == high:
        return np.full(min(1, len(keyframes)), low, np.uint32), np.zeros(len(keyframes), np.uint32)
    if high - low >= 1 << 16:
        palette, index = np.unique(keyframes, return_inverse=True)
        return palette, index.astype(np.uint32)
    offset = keyframes - np.uint32(low)  # a table is faster than sorting
    is_there = np.zeros(high - low + 1, np.bool_)
    is_there[offset] = True
    palette = np.flatnonzero(is_there).astype(np.uint32) + np.uint32(low)
    return palette, (np.cumsum(is_there, dtype=np.uint32) - np.uint32(1))[offset]


def _index_plane(index: npt.NDArray[np.uint32], num_entries: int) -> bytes:
    """Places as bytes, moved to front where one byte is enough: a longer list would take too long to search."""
    if _index_bytes(num_entries) == 1:
        return move_to_front(index.astype(np.uint8)).tobytes()
    return b"".join(_byte_planes(index, _index_bytes(num_entries)))


def _index_bytes(num_entries: int) -> int:
    return 1 if num_entries <= 1 << 8 else 2 if num_entries <= 1 << 16 else 3


def _palette_from(
    palette_bytes: bytes, index_bytes: bytes, n: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """The distinct keyframes, and each voxel's place among them, byte plane after byte plane."""
    if len(palette_bytes) % 4 or len(palette_bytes) > 4 * n:
        raise ChunkDecodeError("the palette of keyframes has a wrong size")
    palette = np.frombuffer(palette_bytes, "<u4")
    if len(index_bytes) != _index_bytes(len(palette)) * n or not _rises(palette):
        raise ChunkDecodeError("the palette of keyframes is damaged")
    index = np.frombuffer(index_bytes, np.uint8)
    if len(index) == n:
        index = move_from_front(index)
        index.flags.writeable = False  # one kind of array for the kernel, so that it is compiled once
    return palette, index


# Occupied voxels as an octree


def octree_of(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Children masks of all nodes, level by level from the root, in Morton order; empty for no voxel."""
    if not len(codes):
        return np.zeros(0, np.uint8)
    masks = np.empty(CHUNK_BITS * len(codes), np.uint8)
    return masks[fold_octree(codes, masks, np.empty(len(codes), np.uint32)) :]


def codes_of(octree: bytes, n: int) -> npt.NDArray[np.uint32]:
    """Strictly rising codes below 2**18, whatever the masks are; their number must be n."""
    masks = np.frombuffer(octree, np.uint8)
    if n == 0 or len(masks) == 0:
        if n or len(masks):
            raise ChunkDecodeError("an octree that does not fit the number of voxels")
        return np.zeros(0, np.uint32)
    codes = np.empty(n, np.uint32)
    if not walk_octree(masks, codes, np.empty(n, np.uint32)):
        raise ChunkDecodeError("an octree that does not fit the number of voxels")
    return codes
