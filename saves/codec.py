"""The chunk codec: a chunk's integers as bytes, lossless, checked, small.

``docs/save_format.md`` fixes the layout to the byte. In short: occupied voxels are the levels of an octree (a byte of
children for each node); a weighted sum is its mean (a byte) and the remainder, which takes as many bits as the weight
leaves open; colour means are differences to the voxel before in Morton order; everything goes through zstd, plane by
plane. Nothing is trusted when decoding: sizes are checked against the number of voxels before memory is taken, values
against what a chunk may hold, and a checksum covers every byte.
"""

import struct
import zlib
from typing import Any

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
        octree_of(chunk.codes).tobytes(),
        *(m.tobytes() for m in means[:3]),
        *(differences(c).tobytes() for c in (green, red - green, blue - green)),
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
    if not all(-MAX_CHUNK_KEY <= k < MAX_CHUNK_KEY for k in key) or not 0 <= revision <= MAX_REVISION:
        raise ChunkDecodeError(f"a key or revision out of range: {key}, {revision}")
    planes = _Planes(data, _HEADER.size)
    codes = codes_of(planes.take(), n)
    columns = [planes.bytes_of(n) for _ in range(6)]
    remainders = np.frombuffer(planes.take(), np.uint8)
    columns += [planes.bytes_of(n) for _ in range(4)]
    palette, index = _palette_from(planes.take(), planes.take(), n)
    rows = np.empty((n, 8), np.uint32)
    arguments: list[Any] = [*columns, remainders, palette, index, np.uint64(factor), rows]
    fault = _join_rows(*arguments)
    if fault:
        raise ChunkDecodeError(_FAULTS[fault])
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


def differences(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
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


def _palette_from(
    palette_bytes: bytes, index_bytes: bytes, n: int
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint8]]:
    """The distinct keyframes, and each voxel's place among them, byte plane after byte plane."""
    if len(palette_bytes) % 4 or len(palette_bytes) > 4 * n:
        raise ChunkDecodeError("the palette of keyframes has a wrong size")
    palette = np.frombuffer(palette_bytes, "<u4")
    if len(index_bytes) != _index_bytes(len(palette)) * n or not _rises(palette):
        raise ChunkDecodeError("the palette of keyframes is damaged")
    return palette, np.frombuffer(index_bytes, np.uint8)


# Occupied voxels as an octree


def octree_of(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
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


def codes_of(octree: bytes, n: int) -> npt.NDArray[np.uint32]:
    """Strictly rising codes below 2**18, whatever the masks are; their number must be n."""
    masks = np.frombuffer(octree, np.uint8)
    if n == 0 or len(masks) == 0:
        if n or len(masks):
            raise ChunkDecodeError("an octree that does not fit the number of voxels")
        return np.zeros(0, np.uint32)
    codes = np.empty(n, np.uint32)
    if not _walk_octree(masks, codes, np.empty(n, np.uint32)):
        raise ChunkDecodeError("an octree that does not fit the number of voxels")
    return codes


@njit(cache=True, nogil=True)
def _walk_octree(masks, codes, spare):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Write the codes of an octree's leaves; False if a mask is 0 or the leaves or masks are not as many as given."""
    nodes, below = codes, spare
    nodes[0] = 0
    count, position = 1, 0
    for _ in range(6):
        found = 0
        for i in range(count):
            if position >= len(masks) or masks[position] == 0:
                return False
            mask, base = masks[position], nodes[i] << np.uint32(3)
            position += 1
            for child in range(8):
                if mask >> child & 1:
                    if found >= len(codes):
                        return False
                    below[found] = base | np.uint32(child)
                    found += 1
        nodes, below = below, nodes
        count = found
    return position == len(masks) and count == len(codes)  # after an even number of levels they stand in ``codes``


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


_FAULTS = (
    "",
    "a weight or a weighted sum is out of range",
    "the common factor is out of range",
    "a keyframe beyond the palette",
)
"""What ``_join_rows`` may find."""


@njit(cache=True, nogil=True)
def _join_rows(  # type: ignore[no-untyped-def]  # pragma: no cover
    x, y, z, g, rg, bg, w0, w1, w2, w3, stream, palette, index, factor, rows
):
    """The reverse of ``_split_sums``, and the rest of each row.

    Returns:
        A number of ``_FAULTS``; 0 if all numbers are in range, the stream's length is what the weights need, and the
        spare bits of its last byte are 0.
    """
    n = len(rows)
    fill, waiting, position = np.uint64(0), np.uint64(0), 0
    green, red_green, blue_green = np.uint8(0), np.uint8(0), np.uint8(0)
    means = np.empty(6, np.uint64)
    if factor == 0:
        return 2
    for i in range(n):
        green = np.uint8(green + g[i])
        red_green = np.uint8(red_green + rg[i])
        blue_green = np.uint8(blue_green + bg[i])
        means[0], means[1], means[2] = x[i], y[i], z[i]
        means[3], means[4], means[5] = np.uint8(red_green + green), green, np.uint8(blue_green + green)
        weight = np.uint64(w0[i]) | np.uint64(w1[i]) << np.uint64(8)
        weight |= np.uint64(w2[i]) << np.uint64(16) | np.uint64(w3[i]) << np.uint64(24)
        if weight == 0 or weight > 16843009:
            return 1
        if weight * factor > 16843009:
            return 2
        is_radix = weight <= np.uint64(1625)
        bits = _RADIX_BITS[weight] if is_radix else np.uint64(_num_bits(weight))
        number = np.uint64(0)
        for step in range(6):
            c = 5 - step if is_radix else step
            if step == 0 or not is_radix:
                number, got = np.uint64(0), np.uint64(0)
                while got < bits:
                    some = min(bits - got, np.uint64(32))
                    while fill < some:
                        if position >= len(stream):
                            return 1
                        waiting |= np.uint64(stream[position]) << fill
                        position += 1
                        fill += np.uint64(8)
                    number |= (waiting & ((np.uint64(1) << some) - np.uint64(1))) << got
                    waiting >>= some
                    fill -= some
                    got += some
            remainder = number
            if is_radix and c > 0 and number > 0:
                number = remainder // weight
                remainder -= number * weight
            total = means[c] * weight + remainder
            if remainder >= weight or total > weight * np.uint64(255):
                return 1
            rows[i, c if c < 3 else c + 1] = total * factor
        rows[i, 3] = weight * factor
        entry = np.int64(index[i])
        for b in range(1, len(index) // n):
            entry |= np.int64(index[b * n + i]) << (8 * b)
        if entry >= len(palette):
            return 3
        rows[i, 7] = palette[entry]
    return 0 if position == len(stream) and waiting == 0 else 1
