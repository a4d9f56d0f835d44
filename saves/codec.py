"""The chunk codec: a chunk's integers as bytes, lossless, checked, small.

``docs/save_format.md`` fixes the layout to the byte. In short: occupied voxels are the levels of an octree (a byte of
children for each node); a weighted sum is its mean (a byte) and the remainder, which takes as many bits as the weight
leaves open, and none where a single point left none; colour means are differences to those of neighbouring voxels,
priorities to what the same keyframe had before; everything goes through zstd, plane by plane. Nothing is trusted when
decoding: sizes are checked against the number of voxels before memory is taken, values against what a chunk may hold,
and a checksum covers every byte.

Many chunks at once cost less than one after the other: their planes go through zstd in one call and through the
compiled loops in another, so that a thread seldom needs the interpreter.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from ..world.chunks import CHUNK_BITS, CHUNK_SIDE, MAX_CHUNK_KEY, VOXEL_BYTES, Chunk, ChunkKey, addresses_of, chunk_from
from . import decoding_kernels as decoding
from . import encoding_kernels as encoding
from .codec_kernels import MAX_WEIGHT, NUM_PLANES, fold_octree, walk_octree

CHUNK_MAGIC = b"SPCK"
CHUNK_VERSION = 2
ZSTD_PARAMETERS = zstandard.ZstdCompressionParameters.from_level(
    1, strategy=zstandard.STRATEGY_FAST, min_match=7, hash_log=8, write_checksum=False
)
"""Means and remainders are noise, and what repeats does so at length: looking for short repeats makes planes larger."""
MAX_CHUNK_WEIGHT = MAX_WEIGHT
MAX_REVISION = (1 << 63) - 1
MAX_POINTS_PER_CHUNK = CHUNK_SIDE**3

HEADER = struct.Struct("<4sHHiiiIII")
"""Magic, version, number of planes, key x, y, z, number of voxels, common factor, checksum."""
PLANE = struct.Struct("<BII")
"""Method (0 as it is, 1 zstd, 2 one byte that repeats), bytes when decoded, bytes stored."""
BATCH_POINTS = 1 << 16
"""Voxels that are worth a call; many more at once would leave the cache."""
_MIN_FRAME_BYTES = 10
"""Zstd makes nothing smaller of a plane of fewer bytes."""


class ChunkDecodeError(ValueError):
    """Bytes that are no chunk of this version, or damaged."""


def encode_chunk(chunk: Chunk) -> bytes:
    """A chunk as bytes, without its revision: the same content and key give the same bytes.

    Raises:
        ValueError: The chunk breaks its own rules (weight 0 or too large, a sum beyond its weight, unsorted codes).
    """
    return encode_chunks([chunk])[0]


def encode_chunks(chunks: Sequence[Chunk]) -> list[bytes]:
    """Each chunk as ``encode_chunk`` gives it. Any thread.

    Raises:
        ValueError: A chunk breaks its own rules.
    """
    for chunk in chunks:
        if chunk.num_points > MAX_POINTS_PER_CHUNK:
            raise _codes_error(chunk)
    counts, addresses = addresses_of(chunks)
    num_bytes = int(counts.sum()) * encoding.SCRATCH_BYTES_PER_VOXEL + len(chunks) * encoding.SCRATCH_BYTES
    scratch, table = np.empty(num_bytes, np.uint8), np.zeros((len(chunks), NUM_PLANES, 3), np.int64)
    factors, faults = np.ones(len(chunks), np.uint32), np.zeros(len(chunks), np.uint8)
    encoding.split_chunks(counts, addresses, scratch, table, factors, faults)
    for chunk, fault in zip(chunks, faults.tolist(), strict=True):
        if fault == encoding.BAD_CODES:
            raise _codes_error(chunk)
        if fault:
            raise ValueError(f"chunk {chunk.key}: expected weights 1..{MAX_CHUNK_WEIGHT} and sums within weight * 255")
    planes = _stored_planes(memoryview(scratch), table.reshape(-1, 3).tolist())  # type: ignore[arg-type]
    return [
        _sealed_chunk(chunk, factor, planes[i * NUM_PLANES : (i + 1) * NUM_PLANES])
        for i, (chunk, factor) in enumerate(zip(chunks, factors.tolist(), strict=True))
    ]


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
    found = decode_chunks([data], [revision])[0]
    if isinstance(found, ChunkDecodeError):
        raise found
    return found


def decode_chunks(data: Sequence[bytes], revisions: Sequence[int] | None = None) -> list[Chunk | ChunkDecodeError]:
    """Each chunk as ``decode_chunk`` gives it, or in its place what is wrong with it. Any thread.

    Args:
        data: From ``encode_chunks``, or anything.
        revisions: As many; 0 without.
    """
    given = zip(data, revisions or [0] * len(data), strict=True)
    heads = [_head_or_error(blob, revision) for blob, revision in given]
    whole = [(blob, head) for blob, head in zip(data, heads, strict=True) if isinstance(head, _Head)]
    try:
        found = iter(_decode([blob for blob, _ in whole], [head for _, head in whole]))
    except zstandard.ZstdError:  # tell whose it is
        found = iter([_decode_alone(blob, head) for blob, head in whole])
    return [next(found) if isinstance(head, _Head) else head for head in heads]


def key_of_bytes(data: bytes) -> tuple[ChunkKey, int]:
    """Key and number of voxels of a whole chunk, without decoding it.

    Raises:
        ChunkDecodeError: It is too short.
    """
    if len(data) < HEADER.size:
        raise ChunkDecodeError(f"expected at least {HEADER.size} bytes, got {len(data)}")
    _, _, _, x, y, z, n, _, _ = HEADER.unpack_from(data)
    return (x, y, z), n


def num_points_of(data: bytes) -> int:
    """Number of voxels that a chunk's header says; 0 of something shorter."""
    return HEADER.unpack_from(data)[6] if len(data) >= HEADER.size else 0


def warm_up() -> None:
    """Compile (or fetch from the cache) the codec's kernels, so that the first save does not wait for them."""
    rows = np.array([[0, 1, 2, 1, 3, 4, 5, 0]], np.uint32)
    one = np.array([64], np.uint8)
    decode_chunk(encode_chunk(Chunk((0, 0, 0), 0, np.zeros(1, np.uint32), rows, one, np.zeros((1, 2), np.uint8))))


# Writing


def _codes_error(chunk: Chunk) -> ValueError:
    return ValueError(f"chunk {chunk.key}: expected strictly rising codes below {MAX_POINTS_PER_CHUNK}")


def _stored_planes(scratch: memoryview, table: list[list[int]]) -> list[tuple[bytes, Any]]:
    """Head and body of each plane.

    Args:
        scratch: What the table refers to.
        table: Whether a plane repeats one byte, its size, and its place, for all planes of all chunks.
    """
    plain = [scratch[place : place + size] for _, size, place in table]
    worth = [i for i, (method, size, _) in enumerate(table) if method == encoding.PLAIN and size >= _MIN_FRAME_BYTES]
    frames = dict(zip(worth, _compressed([plain[i] for i in worth]), strict=True))
    stored: list[tuple[bytes, Any]] = []
    for i, (method, size, _) in enumerate(table):
        if method == encoding.REPEATED:
            stored.append((PLANE.pack(decoding.REPEAT, size, 1), plain[i][:1]))
        elif i in frames and len(frames[i]) < size:
            stored.append((PLANE.pack(decoding.ZSTD, size, len(frames[i])), frames[i]))
        else:
            stored.append((PLANE.pack(decoding.RAW, size, size), plain[i]))
    return stored


def _compressed(parts: list[memoryview]) -> Sequence[Any]:
    """A zstd frame of each part, as something that ``bytes.join`` takes."""
    if not parts:
        return ()
    compressor = zstandard.ZstdCompressor(compression_params=ZSTD_PARAMETERS)
    if "multi_compress_to_buffer" in zstandard.backend_features:
        return compressor.multi_compress_to_buffer(parts)  # type: ignore[return-value]
    return [compressor.compress(part) for part in parts]


def _sealed_chunk(chunk: Chunk, factor: int, planes: list[tuple[bytes, Any]]) -> bytes:
    head = HEADER.pack(CHUNK_MAGIC, CHUNK_VERSION, NUM_PLANES, *chunk.key, chunk.num_points, factor, 0)
    return sealed(head, b"".join(part for plane in planes for part in plane))


# Reading


class _Head(NamedTuple):
    """What a chunk's header says, and the revision that it shall get."""

    key: ChunkKey
    num_points: int
    factor: int
    revision: int


def _head_or_error(data: bytes, revision: int) -> _Head | ChunkDecodeError:
    try:
        return _head_of(data, revision)
    except ChunkDecodeError as error:
        return error


def _head_of(data: bytes, revision: int) -> _Head:
    if len(data) < HEADER.size:
        raise ChunkDecodeError(f"expected at least {HEADER.size} bytes, got {len(data)}")
    magic, version, num_planes, x, y, z, n, factor, checksum = HEADER.unpack_from(data)
    if magic != CHUNK_MAGIC:
        raise ChunkDecodeError(f"expected a chunk, got bytes that begin with {bytes(magic)!r}")
    if version != CHUNK_VERSION:
        raise ChunkDecodeError(f"expected chunk version {CHUNK_VERSION}, got {version}")
    if checksum != checksum_of(data[: HEADER.size], memoryview(data)[HEADER.size :]):
        raise ChunkDecodeError("the checksum does not match: the chunk is damaged")
    if num_planes != NUM_PLANES or n > MAX_POINTS_PER_CHUNK:
        raise ChunkDecodeError(f"expected {NUM_PLANES} planes of at most {MAX_POINTS_PER_CHUNK} voxels")
    if not all(-MAX_CHUNK_KEY <= k < MAX_CHUNK_KEY for k in (x, y, z)) or not 0 <= revision <= MAX_REVISION:
        raise ChunkDecodeError(f"a key or revision out of range: {(x, y, z)}, {revision}")
    return _Head((x, y, z), n, factor, revision)


def _decode(data: list[bytes], heads: list[_Head]) -> list[Chunk | ChunkDecodeError]:
    """Chunks whose headers and checksums hold.

    Raises:
        zstandard.ZstdError: A plane of one of them does not unpack.
    """
    if not data:
        return []
    ends = np.cumsum([len(blob) for blob in data])
    starts = np.stack([ends - [len(blob) - HEADER.size for blob in data], ends], axis=1)
    blob = np.frombuffer(b"".join(data), np.uint8)
    counts = np.array([head.num_points for head in heads], np.int64)
    table, faults = np.zeros((len(data), NUM_PLANES, 4), np.int64), np.zeros(len(data), np.uint8)
    decoding.list_planes(blob, starts, counts, table, faults)
    table[faults != 0] = 0
    addresses = table[:, :, decoding.PLACE] + _address(blob)
    unpacked = _unpacked(blob, table, addresses)
    buffers = [np.empty(VOXEL_BYTES * n, np.uint8) for n in np.where(faults == 0, counts, 0).tolist()]
    outputs = np.array([_address(buffer) for buffer in buffers], np.int64)
    factors = np.array([head.factor for head in heads], np.int64)
    decoding.join_chunks(table, addresses, counts, factors, outputs, faults)
    del unpacked  # alive until here
    return [
        ChunkDecodeError(decoding.FAULTS[fault]) if fault else chunk_from(head.key, head.revision, buffer)
        for head, buffer, fault in zip(heads, buffers, faults.tolist(), strict=True)
    ]


def _decode_alone(data: bytes, head: _Head) -> Chunk | ChunkDecodeError:
    try:
        return _decode([data], [head])[0]
    except zstandard.ZstdError as error:
        return ChunkDecodeError(f"a plane is damaged: {error}")


def _unpacked(blob: npt.NDArray[np.uint8], table: npt.NDArray[np.int64], addresses: npt.NDArray[np.int64]) -> object:
    """Unpack all planes that zstd packed, whose sizes are checked already; their addresses are written.

    Returns:
        What holds the memory at those addresses.
    """
    chosen = table[:, :, decoding.METHOD] == decoding.ZSTD
    facts = table[chosen]
    if not len(facts):
        return None
    sizes = facts[:, decoding.SIZE].astype(np.uint64)
    segments = facts[:, [decoding.PLACE, decoding.STORED]].astype(np.uint64)
    decompressor = zstandard.ZstdDecompressor()
    if "multi_decompress_to_buffer" in zstandard.backend_features:
        frames = zstandard.BufferWithSegments(blob, segments.tobytes())  # type: ignore[arg-type]
        parts = decompressor.multi_decompress_to_buffer(frames, decompressed_sizes=sizes.tobytes())  # type: ignore[arg-type]
    else:
        data = memoryview(blob)  # type: ignore[arg-type]
        spans = zip(segments.tolist(), sizes.tolist(), strict=True)
        parts = [decompressor.decompress(data[at : at + n], max_output_size=size) for (at, n), size in spans]
    joined = np.frombuffer(b"".join(parts), np.uint8)  # type: ignore[arg-type]
    if [len(part) for part in parts] != sizes.tolist():
        raise zstandard.ZstdError("a frame of another size than it says")
    addresses[chosen] = _address(joined) + np.cumsum(facts[:, decoding.SIZE]) - facts[:, decoding.SIZE]
    return joined


def _address(array: npt.NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


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
