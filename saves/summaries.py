"""What stands beside a chunk's object: facts that are read without it, and its coarser level.

Both follow from the chunk and are named by the digest of its bytes, so that snapshots and branches share them. One that
is damaged or missing costs time alone.
"""

import sqlite3
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..world.chunks import Chunk
from ..world.coarse import MAX_FAR_POINTS, coarsen
from ..world.stored import DIGEST_BYTES, ChunkFacts
from .coarse_codec import encode_coarse
from .codec import decode_chunk, encode_chunks
from .ledger import digest_of
from .packing import ValueDecodeError

_FACTS = struct.Struct("<I3I3H3Hf16s")
"""Voxels, voxels by class, lowest and highest local position, spacing, content digest; then the words of the far level,
and a checksum."""
_CHECKSUM = struct.Struct("<I")
_WORD_BYTES = 4


@dataclass(frozen=True, slots=True, eq=False)
class EncodedChunk:
    """A chunk as it is stored.

    Attributes:
        data, digest: Its object.
        facts: What is known of it.
        coarse: Its coarser level, encoded.
    """

    data: bytes
    digest: bytes
    facts: ChunkFacts
    coarse: bytes


def encode_whole(chunks: Sequence[Chunk]) -> list[EncodedChunk]:
    """Chunks and what stands beside them.

    Raises:
        ValueError: See ``encode_chunk``.
    """
    return [
        EncodedChunk(data, digest_of(data), ChunkFacts.of(chunk), encode_coarse(coarsen(chunk)))
        for chunk, data in zip(chunks, encode_chunks(chunks), strict=True)
    ]


def described(data: bytes) -> EncodedChunk:
    """What stands beside a chunk's object.

    Raises:
        ChunkDecodeError: The object is no chunk, or damaged.
    """
    chunk = decode_chunk(data)
    return EncodedChunk(data, digest_of(data), ChunkFacts.of(chunk), encode_coarse(coarsen(chunk)))


def pack_facts(facts: ChunkFacts, digest: bytes) -> bytes:
    """Facts as bytes; the checksum covers the digest of the object too."""
    head = _FACTS.pack(
        facts.num_points, *facts.class_counts, *facts.low_q8, *facts.high_q8, facts.spacing, facts.content
    )
    head += facts.far or b""
    return head + _CHECKSUM.pack(zlib.crc32(head + digest))


def unpack_facts(data: object, digest: bytes) -> ChunkFacts:
    """The facts that bytes hold.

    Raises:
        ValueDecodeError: Damaged, or of another object.
    """
    far_bytes = -1 if not isinstance(data, bytes) else len(data) - _FACTS.size - _CHECKSUM.size
    if not isinstance(data, bytes) or far_bytes not in range(0, _WORD_BYTES * MAX_FAR_POINTS + 1, _WORD_BYTES):
        raise ValueDecodeError(f"expected {_FACTS.size + _CHECKSUM.size} bytes of facts and words of the far level")
    n, a, b, c, *bounds, spacing, content = _FACTS.unpack_from(data)
    if zlib.crc32(data[: -_CHECKSUM.size] + digest) != _CHECKSUM.unpack_from(data, len(data) - _CHECKSUM.size)[0]:
        raise ValueDecodeError("the checksum of its facts does not match")
    low, high = tuple(bounds[:3]), tuple(bounds[3:])
    far = data[_FACTS.size : -_CHECKSUM.size] or None  # format 3 has none
    return ChunkFacts(n, (a, b, c), low, high, spacing, content[:DIGEST_BYTES], far)


def put_beside(db: sqlite3.Connection, encoded: EncodedChunk) -> int:
    """Write what stands beside an object; bytes written."""
    facts = pack_facts(encoded.facts, encoded.digest)
    db.execute("INSERT OR REPLACE INTO summaries VALUES (?, ?)", (encoded.digest, facts))
    db.execute("INSERT OR REPLACE INTO coarse VALUES (?, ?)", (encoded.digest, encoded.coarse))
    return len(facts) + len(encoded.coarse)


def delete_beside(db: sqlite3.Connection, digests: Iterable[bytes]) -> None:
    """Remove what stands beside objects that were removed."""
    gone = [(digest,) for digest in digests]
    db.executemany("DELETE FROM summaries WHERE digest = ?", gone)
    db.executemany("DELETE FROM coarse WHERE digest = ?", gone)
