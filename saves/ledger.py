"""What of a world file is known to be in it, so that a save writes only what changed."""

import hashlib
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..world.chunks import Chunk, ChunkKey
from ..world.keyframes import Keyframe
from ..world.stored import ChunkFacts, StoredChunk
from .journal import JournalEntry


@dataclass(frozen=True, slots=True)
class KnownChunk:
    """A chunk that is in the file.

    Attributes:
        revision: Of the chunk.
        rows: Weak reference to its rows: keeps no evicted chunk in memory, and tells two memories' chunks apart; None
            where it was not read.
        digest: Of its bytes in the file.
    """

    revision: int
    rows: "weakref.ref[npt.NDArray[np.uint32]] | None"
    digest: bytes

    def is_of(self, entry: Chunk | StoredChunk) -> bool:
        """True if it is this very content; False if it is not known."""
        if isinstance(entry, StoredChunk):
            return self.digest == entry.address
        return self.revision == entry.revision and self.rows is not None and self.rows() is entry.rows


@dataclass(slots=True)
class Changes:
    """What a transaction put into the file; noted only once it is committed."""

    chunks: dict[ChunkKey, KnownChunk] = field(default_factory=dict)
    stored: dict[ChunkKey, StoredChunk] = field(default_factory=dict)
    removed_chunks: list[ChunkKey] = field(default_factory=list)
    keyframes: dict[int, Keyframe] = field(default_factory=dict)
    removed_keyframes: list[int] = field(default_factory=list)
    facts: dict[str, bytes] = field(default_factory=dict)
    journal: tuple[JournalEntry, ...] | None = None
    sequence: list[int] = field(default_factory=list)


class Ledger:
    """Thread-safe record of what was read from or written to a file."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: dict[ChunkKey, KnownChunk] = {}
        self._keyframes: dict[int, Keyframe] = {}
        self._facts: dict[str, bytes] = {}
        self._arrays: dict[int, tuple[weakref.ref[npt.NDArray], bytes]] = {}
        self._pinned: frozenset[bytes] | None = None
        self._live: weakref.WeakValueDictionary[bytes, ChunkFacts] = weakref.WeakValueDictionary()
        self._journal: tuple[JournalEntry, ...] | None = None
        self._sequence: list[int] = []

    def chunks(self) -> dict[ChunkKey, KnownChunk]:
        """Copy of the known chunks."""
        with self._lock:
            return dict(self._chunks)

    def keyframes(self) -> dict[int, Keyframe]:
        """Copy of the known keyframes."""
        with self._lock:
            return dict(self._keyframes)

    @property
    def knows_journal(self) -> bool:
        """True once the journal was read or written."""
        with self._lock:
            return self._journal is not None

    def journal(self) -> tuple[tuple[JournalEntry, ...], list[int]]:
        """The known entries and their numbers in the file."""
        with self._lock:
            return self._journal or (), list(self._sequence)

    def fact_digest(self, name: str) -> bytes | None:
        """Digest of a fact's bytes in the file."""
        with self._lock:
            return self._facts.get(name)

    def array_digest(self, array: npt.NDArray) -> bytes | None:
        """Digest of a read-only array that was hashed before, by its identity."""
        with self._lock:
            known = self._arrays.get(id(array))
        return known[1] if known is not None and known[0]() is array and not array.flags.writeable else None

    def note_chunk(self, chunk: Chunk, digest: bytes) -> None:
        """A chunk was read."""
        with self._lock:
            self._chunks[chunk.key] = known_chunk(chunk, digest)

    def note_stored(self, key: ChunkKey, revision: int, digest: bytes, facts: ChunkFacts) -> StoredChunk:
        """A chunk's row was read; while the facts of what this returns are alive, its object stays in the file."""
        with self._lock:
            facts = self._live.setdefault(digest, facts)
            if key not in self._chunks or self._chunks[key].digest != digest:
                self._chunks[key] = KnownChunk(revision, None, digest)
        return StoredChunk(key, revision, digest, facts)

    def stored(self, chunk: Chunk, digest: bytes, facts: ChunkFacts) -> StoredChunk:
        """A chunk that is being written, by reference."""
        with self._lock:
            return StoredChunk(chunk.key, chunk.revision, digest, self._live.setdefault(digest, facts))

    @property
    def live(self) -> frozenset[bytes]:
        """Digests of chunks that someone holds by reference, in memory or in a moment to go back to."""
        with self._lock:
            return frozenset(self._live.keys())

    def note_keyframe(self, keyframe: Keyframe) -> None:
        """A keyframe was read."""
        with self._lock:
            self._keyframes[keyframe.keyframe_id] = keyframe

    def note_journal(self, entries: tuple[JournalEntry, ...], sequence: list[int]) -> None:
        """The journal was read."""
        with self._lock:
            self._journal, self._sequence = entries, list(sequence)

    def note_fact(self, name: str, data: bytes | None) -> None:
        """A fact was read."""
        if data is not None:
            with self._lock:
                self._facts[name] = digest_of(data)

    def note_array(self, array: npt.NDArray, digest: bytes) -> None:
        """An array that stands apart was read or hashed."""
        with self._lock:
            self._arrays = {k: v for k, v in self._arrays.items() if v[0]() is not None}
            self._arrays[id(array)] = (weakref.ref(array), digest)

    @property
    def pinned(self) -> frozenset[bytes] | None:
        """Digests that snapshots name, so that a save keeps them; None if it was not looked up yet."""
        with self._lock:
            return self._pinned

    def note_pinned(self, digests: frozenset[bytes] | None) -> None:
        """What snapshots name was read or has changed."""
        with self._lock:
            self._pinned = digests

    def forget(self, chunks: Iterable[ChunkKey]) -> None:
        """Something other than a save changed the file: these chunks, and all but chunks."""
        with self._lock:
            for key in chunks:
                self._chunks.pop(key, None)
            self._keyframes.clear()
            self._facts.clear()
            self._journal, self._sequence = None, []

    def commit(self, changes: Changes) -> None:
        """A transaction was committed."""
        with self._lock:
            self._chunks.update(changes.chunks)
            self._keyframes.update(changes.keyframes)
            self._facts.update(changes.facts)
            for key in changes.removed_chunks:
                self._chunks.pop(key, None)
            for identity in changes.removed_keyframes:
                self._keyframes.pop(identity, None)
            if changes.journal is not None:
                self._journal, self._sequence = changes.journal, changes.sequence


def known_chunk(chunk: Chunk, digest: bytes) -> KnownChunk:
    """The ledger's line for a chunk and the digest of its bytes."""
    return KnownChunk(chunk.revision, weakref.ref(chunk.rows), digest)


def digest_of(data: bytes) -> bytes:
    """16 bytes that tell contents apart."""
    return hashlib.blake2b(data, digest_size=16).digest()
