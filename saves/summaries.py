"""What stands beside a chunk's object: facts that are read without it, and its coarser level.

Both follow from the chunk and are named by the digest of its bytes, so that snapshots and branches share them. One that
is damaged or missing costs time alone.
"""

import sqlite3
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from ..world.chunks import Chunk
from ..world.coarse import coarsen
from ..world.stored import DIGEST_BYTES, ChunkFacts
from .coarse_codec import encode_coarse
from .codec import decode_chunk, encode_chunk
from .ledger import digest_of
from .packing import ValueDecodeError

_FACTS = struct.Struct("<I3I3H3Hf16sI")
"""Voxels, voxels by class, lowest and highest local position, spacing, content digest, checksum."""


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


def encode_whole(chunk: Chunk) -> EncodedChunk:
    """A chunk and what stands beside it.

    Raises:
        ValueError: See ``encode_chunk``.
    """
    data = encode_chunk(chunk)
    return EncodedChunk(data, digest_of(data), ChunkFacts.of(chunk), encode_coarse(coarsen(chunk)))


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
        facts.num_points, *facts.class_counts, *facts.low_q8, *facts.high_q8, facts.spacing, facts.content, 0
    )[:-4]
    return head + struct.pack("<I", zlib.crc32(head + digest))


def unpack_facts(data: object, digest: bytes) -> ChunkFacts:
    """The facts that bytes hold.

    Raises:
        ValueDecodeError: Damaged, or of another object.
    """
    if not isinstance(data, bytes) or len(data) != _FACTS.size:
        raise ValueDecodeError(f"expected {_FACTS.size} bytes of facts")
    n, a, b, c, *bounds, spacing, content, checksum = _FACTS.unpack(data)
    if zlib.crc32(data[:-4] + digest) != checksum:
        raise ValueDecodeError("the checksum of its facts does not match")
    low, high = tuple(bounds[:3]), tuple(bounds[3:])
    return ChunkFacts(n, (a, b, c), low, high, spacing, content[:DIGEST_BYTES])


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
