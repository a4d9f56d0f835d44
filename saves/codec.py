"""The chunk codec: a chunk's integers as bytes, lossless, checked, small.

``docs/save_format.md`` fixes the layout to the byte. In short: occupied voxels are the levels of an octree (a byte of
children for each node); a weighted sum is its mean (a byte) and the remainder, which takes as many bits as the weight
leaves open; colour means are differences to the voxel before in Morton order; everything goes through zstd, plane by
plane. Nothing is trusted when decoding: sizes are checked against the number of voxels before memory is taken, values
against what a chunk may hold, and a checksum covers every byte.
"""

import struct
import zlib

import numpy as np
import numpy.typing as npt
import zstandard
from numba import njit

from ..world.chunks import CHUNK_BITS, CHUNK_SIDE, COLUMN_KEYFRAME, COLUMN_WEIGHT, MAX_CHUNK_KEY, Chunk, ChunkKey

CHUNK_MAGIC = b"SPCK"
CHUNK_VERSION = 1
ZSTD_LEVEL = 3

MAX_REVISION = (1 << 63) - 1
MAX_POINTS_PER_CHUNK = CHUNK_SIDE**3
MAX_CHUNK_WEIGHT = 0xFFFFFFFF // 255
"""The largest sum of weights whose weighted sums fit 32 bits."""

_HEADER = struct.Struct("<4sHHiiiIII")
"""Magic, version, number of planes, key x, y, z, number of voxels, common factor, checksum."""
_PLANE = struct.Struct("<BII")
"""Method (0 as it is, 1 zstd), bytes when decoded, bytes stored."""
_RAW, _ZSTD = 0, 1
_BIT = np.array([1 << i for i in range(8)], np.uint8)
_SUM_COLUMNS = (0, 1, 2, 4, 5, 6)
_NUM_SUMS = len(_SUM_COLUMNS)
_NUM_PLANES = 17
_MAX_RADIX = 1625
"""Largest weight whose sixth power fits 64 bits: then the six remainders are the digits of one number."""
_RADIX_BITS = np.array([max(0, (w**6 - 1).bit_length()) if w else 0 for w in range(_MAX_RADIX + 1)], np.uint64)
"""Bits of that number by weight."""
_BOUND = _NUM_SUMS * 4 * MAX_POINTS_PER_CHUNK + 8
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
    means = np.empty((_NUM_SUMS, n), np.uint8)
    remainders = np.empty(_NUM_SUMS * 4 * n + 8, np.uint8)
    factor = _common_factor(chunk.rows)
    rows = np.ascontiguousarray(chunk.rows)
    if factor > 1:
        rows = rows.copy()
        rows[:, :COLUMN_KEYFRAME] //= np.uint32(factor)
    rows.flags.writeable = False
    num_bytes = _split_sums(rows, means, remainders)
    if num_bytes < 0:
        raise ValueError(f"chunk {chunk.key}: expected weights 1..{MAX_CHUNK_WEIGHT} and sums within weight * 255")
    red, green, blue = means[3:]
    planes = [
        _octree_of(chunk.codes).tobytes(),
        *(m.tobytes() for m in means[:3]),
        *(_differences(c).tobytes() for c in (green, red - green, blue - green)),
        remainders[:num_bytes].tobytes(),
        *_byte_planes(rows[:, COLUMN_WEIGHT]),
        *_palette_of(rows[:, COLUMN_KEYFRAME]),
        chunk.priority.tobytes(),
        *(np.ascontiguousarray(chunk.evidence[:, i]).tobytes() for i in range(2)),
    ]
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False)
    body = b"".join(_store_plane(p, compressor) for p in planes)
    head = _HEADER.pack(CHUNK_MAGIC, CHUNK_VERSION, len(planes), *chunk.key, n, factor, 0)
    return head[:-4] + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


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
    head = data[: _HEADER.size - 4] + b"\0\0\0\0"
    if zlib.crc32(memoryview(data)[_HEADER.size :], zlib.crc32(head)) != checksum:
        raise ChunkDecodeError("the checksum does not match: the chunk is damaged")
    if num_planes != _NUM_PLANES or n > MAX_POINTS_PER_CHUNK:
        raise ChunkDecodeError(f"expected {_NUM_PLANES} planes of at most {MAX_POINTS_PER_CHUNK} voxels")
    if max(map(abs, key)) > MAX_CHUNK_KEY or not 0 <= revision <= MAX_REVISION:
        raise ChunkDecodeError(f"a key or revision out of range: {key}, {revision}")
    planes = _Planes(data, _HEADER.size)
    codes = _codes_of(planes.take(), n)
    means = np.empty((_NUM_SUMS, n), np.uint8)
    for row in range(3):
        means[row] = planes.bytes_of(n)
    green, red_green, blue_green = (np.cumsum(planes.bytes_of(n), dtype=np.uint8) for _ in range(3))
    means[3:] = red_green + green, green, blue_green + green
    remainders = planes.take()
    rows = np.empty((n, 8), np.uint32)
    rows[:, COLUMN_WEIGHT] = _from_byte_planes([planes.bytes_of(n) for _ in range(4)])
    if not _join_sums(means, np.frombuffer(remainders, np.uint8), rows):
        raise ChunkDecodeError("a weight or a weighted sum is out of range")
    if factor != 1:
        if factor == 0 or (n and int(rows[:, COLUMN_WEIGHT].max()) * factor > MAX_CHUNK_WEIGHT):
            raise ChunkDecodeError("the common factor is out of range")
        rows[:, :COLUMN_KEYFRAME] *= np.uint32(factor)
    rows[:, COLUMN_KEYFRAME] = _keyframes_of(planes.take(), planes.take(), n)
    priority = planes.bytes_of(n).copy()
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


def _differences(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Of each value to the one before, the first to 0."""
    out = values.copy()
    out[1:] -= values[:-1]
    return out


def _store_plane(plane: bytes, compressor: zstandard.ZstdCompressor) -> bytes:
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
        if size > _BOUND or stored > size or start + stored > len(self._data) or method not in (_RAW, _ZSTD):
            raise ChunkDecodeError("a plane's size is out of range")
        self._offset = start + stored
        part = self._data[start : self._offset]
        return part if method == _RAW else self._unpack(part, size)

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


def _byte_planes(values: npt.NDArray[np.uint32]) -> list[bytes]:
    """Lowest byte first."""
    return [(values >> np.uint32(8 * i)).astype(np.uint8).tobytes() for i in range(4)]


def _from_byte_planes(planes: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint32]:
    out = planes[0].astype(np.uint32)
    for i in range(1, 4):
        out |= planes[i].astype(np.uint32) << np.uint32(8 * i)
    return out


def _palette_of(keyframes: npt.NDArray[np.uint32]) -> tuple[bytes, bytes]:
    """The distinct keyframes, rising, and each voxel's place among them: a byte, or low and high bytes apart."""
    low, high = (int(keyframes.min()), int(keyframes.max())) if len(keyframes) else (0, 0)
    if high - low < 1 << 16:  # a table is faster than sorting
        offset = keyframes - np.uint32(low)
        is_there = np.zeros(high - low + 1, np.bool_)
        is_there[offset] = True
        palette = np.flatnonzero(is_there).astype(np.uint32)[: len(keyframes)] + np.uint32(low)
        index = (np.cumsum(is_there, dtype=np.uint32) - np.uint32(1))[offset]
    else:
        palette, index = np.unique(keyframes, return_inverse=True)
    planes = [(index >> 8 * i).astype(np.uint8).tobytes() for i in range(_index_bytes(len(palette)))]
    return palette.astype("<u4").tobytes(), b"".join(planes)


def _index_bytes(num_entries: int) -> int:
    return 1 if num_entries <= 1 << 8 else 2 if num_entries <= 1 << 16 else 3


def _keyframes_of(palette_bytes: bytes, index_bytes: bytes, n: int) -> npt.NDArray[np.uint32]:
    if len(palette_bytes) % 4 or len(palette_bytes) > 4 * n:
        raise ChunkDecodeError("the palette of keyframes has a wrong size")
    palette = np.frombuffer(palette_bytes, "<u4")
    width = _index_bytes(len(palette))
    if len(index_bytes) != width * n or not _rises(palette):
        raise ChunkDecodeError("the palette of keyframes is damaged")
    planes = np.frombuffer(index_bytes, np.uint8).reshape(width, n)
    index = np.zeros(n, np.int64)
    for i in range(width):
        index |= planes[i].astype(np.int64) << 8 * i
    if n and index.max() >= len(palette):
        raise ChunkDecodeError("a keyframe beyond the palette")
    return palette[index].astype(np.uint32)


# Occupied voxels as an octree


def _octree_of(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Children masks of all nodes, level by level from the root, in Morton order; empty for no voxel."""
    levels: list[npt.NDArray[np.uint8]] = []
    nodes = codes
    for _ in range(CHUNK_BITS if len(codes) else 0):
        parents = nodes >> np.uint32(3)
        is_first = np.ones(len(parents), np.bool_)
        np.not_equal(parents[1:], parents[:-1], out=is_first[1:])
        starts = np.flatnonzero(is_first)
        bits = _BIT[nodes & np.uint32(7)]
        levels.append(np.bitwise_or.reduceat(bits, starts))
        nodes = parents[starts]
    return np.concatenate(levels[::-1]) if levels else np.zeros(0, np.uint8)


def _codes_of(octree: bytes, n: int) -> npt.NDArray[np.uint32]:
    """Strictly rising codes below 2**18, whatever the masks are; their number must be n."""
    masks = np.frombuffer(octree, np.uint8)
    if n == 0 or len(masks) == 0:
        if n or len(masks):
            raise ChunkDecodeError("an octree that does not fit the number of voxels")
        return np.zeros(0, np.uint32)
    nodes, start = np.zeros(1, np.uint32), 0
    for _ in range(CHUNK_BITS):
        level = masks[start : start + len(nodes)]
        if len(level) < len(nodes) or not level.all():
            raise ChunkDecodeError("the octree is damaged")
        start += len(nodes)
        children = np.flatnonzero(np.unpackbits(level, bitorder="little")).astype(np.uint32)
        nodes = nodes[children >> np.uint32(3)] << np.uint32(3) | (children & np.uint32(7))
    if start != len(masks) or len(nodes) != n:
        raise ChunkDecodeError("an octree that does not fit the number of voxels")
    return nodes


# Sums as mean and remainder


@njit(cache=True, nogil=True)
def _num_bits(weight):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Bits that a remainder below ``weight`` needs."""
    bits = 0
    rest = weight - np.uint64(1)
    while rest:
        bits += 1
        rest >>= np.uint64(1)
    return bits


@njit(cache=True, nogil=True)
def _split_sums(rows, means, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Sums of (N, 8) rows as (6, N) means and a stream of remainder bits, lowest bit first.

    Returns:
        Bytes of the stream, or -1 if a weight or a sum is out of range. ``out`` needs 24 bytes a voxel and 8 more.
    """
    fill = np.uint64(0)  # bits waiting in the accumulator, below 8 between values
    waiting = np.uint64(0)
    num_bytes = 0
    low = np.uint64(0xFFFFFFFF)
    for i in range(len(rows)):
        weight = np.uint64(rows[i, 3])
        if weight == 0 or weight > 16843009:
            return -1
        is_radix = weight <= np.uint64(1625)
        bits = _RADIX_BITS[weight] if is_radix else np.uint64(_num_bits(weight))
        number = np.uint64(0)
        for c in range(6):
            total = np.uint64(rows[i, c if c < 3 else c + 1])
            mean = total // weight
            if total > weight * np.uint64(255):
                return -1
            means[c, i] = mean
            remainder = total - mean * weight
            number = number * weight + remainder if is_radix else remainder
            if is_radix and c < 5:
                continue
            left = bits
            while left > np.uint64(0):
                some = min(left, np.uint64(32))
                waiting |= (number & low) << fill
                number >>= some
                fill += some
                left -= some
                while fill >= np.uint64(8):
                    out[num_bytes] = waiting & np.uint64(255)
                    num_bytes += 1
                    waiting >>= np.uint64(8)
                    fill -= np.uint64(8)
    if fill:
        out[num_bytes] = waiting & np.uint64(255)
        num_bytes += 1
    return num_bytes


@njit(cache=True, nogil=True)
def _join_sums(means, stream, rows):  # type: ignore[no-untyped-def]  # pragma: no cover
    """The reverse of ``_split_sums``; the weights stand in ``rows`` already.

    Returns:
        False if a weight is out of range, a remainder reaches its weight, a sum goes beyond weight * 255, the stream's
        length is not what the weights need, or the spare bits of its last byte are not 0.
    """
    fill = np.uint64(0)
    waiting = np.uint64(0)
    position = 0
    for i in range(len(rows)):
        weight = np.uint64(rows[i, 3])
        if weight == 0 or weight > 16843009:
            return False
        is_radix = weight <= np.uint64(1625)
        bits = _RADIX_BITS[weight] if is_radix else np.uint64(_num_bits(weight))
        number = np.uint64(0)
        for c in range(5, -1, -1) if is_radix else range(0, 6):
            if not is_radix or c == 5:
                number, got = np.uint64(0), np.uint64(0)
                while got < bits:
                    some = min(bits - got, np.uint64(32))
                    while fill < some:
                        if position >= len(stream):
                            return False
                        waiting |= np.uint64(stream[position]) << fill
                        position += 1
                        fill += np.uint64(8)
                    number |= (waiting & ((np.uint64(1) << some) - np.uint64(1))) << got
                    waiting >>= some
                    fill -= some
                    got += some
            remainder = number
            if is_radix and c > 0:
                number = remainder // weight
                remainder -= number * weight
            total = np.uint64(means[c, i]) * weight + remainder
            if remainder >= weight or total > weight * np.uint64(255):
                return False
            rows[i, c if c < 3 else c + 1] = total
    return position == len(stream) and waiting == 0
