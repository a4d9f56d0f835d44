"""Saving a state into an open database: what changed, in one transaction."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.chunks import Chunk, ChunkKey
from ..world.keyframes import Keyframe
from ..world.stored import StoredChunk, entries_of
from .codec import BATCH_POINTS
from .errors import WorldWriteError, explain
from .journal import common_length
from .keyframe_codec import encode_keyframe, encode_keyframe_meta
from .ledger import Changes, KnownChunk, Ledger, digest_of, known_chunk
from .packing import ARRAY_REFERENCE, ValueDecodeError, array_kind, pack_array, pack_value, unpack_value
from .parallel import map_batched
from .rows import ChunkRow
from .state import WorldState
from .summaries import EncodedChunk, delete_beside, encode_whole, put_beside

ARRAY_APART_BYTES = 4096
"""Larger arrays of a state are objects of their own, so that an unchanged tail is not written again."""


@dataclass(frozen=True, slots=True)
class SaveReport:
    """What a save wrote.

    Attributes:
        chunks: Chunks written.
        removed_chunks: Chunks removed.
        keyframes: Keyframes written (their pictures, or only their poses).
        journal: Journal entries appended.
        num_bytes: Bytes of content written.
        stored: The chunks that were written, by reference, for ``SpatialMemory.release``.
    """

    chunks: int = 0
    removed_chunks: int = 0
    keyframes: int = 0
    journal: int = 0
    num_bytes: int = 0
    stored: Mapping[ChunkKey, StoredChunk] = field(default_factory=dict)


def write_state(db: sqlite3.Connection, path: Path, state: WorldState, ledger: Ledger) -> SaveReport:
    """Write what changed and commit; on any fault roll back.

    Args:
        db: A connection in autocommit mode, used by this thread alone.
        path: For messages.
        state: What the file shall hold.
        ledger: What it holds; brought up to date after the commit.

    Raises:
        WorldWriteError: The disk refused; the file holds what it held.
        ValueError: A chunk or value breaks its own rules; the file holds what it held.
        TypeError: The state holds something that is no plain value; the file holds what it held.
    """
    with transaction(db, path):
        job = _Transaction(db, ledger)
        report = job.write(state)
    ledger.commit(job.changes)
    return report


@contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Commit what happens inside, or on any fault roll it back.

    Raises:
        WorldWriteError: The disk refused; the file holds what it held.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException as error:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error | OSError):
            got, do = str(error), "free some space or save elsewhere; nothing that was saved is lost"
            raise WorldWriteError(explain(path, expected="the disk to take the save", got=got, do=do)) from error
        raise


class _Transaction:
    """One save: what it writes, and what the ledger learns from it."""

    def __init__(self, db: sqlite3.Connection, ledger: Ledger) -> None:
        self._db, self._ledger = db, ledger
        self.changes = Changes()
        self._report = SaveReport()
        self._dropped: set[bytes] = set()
        self._used_arrays: set[bytes] = set()
        self._manifest = b""

    def write(self, state: WorldState) -> SaveReport:
        """Write all parts."""
        self._write_chunks(state)
        self._write_keyframes(state)
        self._write_journal(state)
        self._write_state(state)
        self._write_manifest(pack_value(state.manifest.to_plain()))
        self._write_fact("path", pack_value(np.asarray(state.path, dtype=np.float64)))
        self._delete_dropped()
        return self._report

    def _count(self, *blobs: bytes | None, **counts: int) -> None:
        num_bytes = self._report.num_bytes + sum(len(b) for b in blobs if b is not None)
        added = {name: getattr(self._report, name) + n for name, n in counts.items()}
        self._report = replace(self._report, num_bytes=num_bytes, **added)

    def _write_chunks(self, state: WorldState) -> None:
        known, entries = self._ledger.chunks(), entries_of(state.chunks)
        changed = [key for key, entry in entries.items() if key not in known or not known[key].is_of(entry)]
        moved = {key for key in changed if self._move_chunk(entries[key])}
        fresh = [key for key in changed if key not in moved]
        chunks = (state.chunks[key] for key in fresh)  # one at a time: what is elsewhere on a disk is read here
        for chunk, encoded in map_batched(_encoded, chunks, len(fresh), weigh=_points_of, batch_weight=BATCH_POINTS):
            key, before = chunk.key, known.get(chunk.key)
            self.changes.chunks[key] = known_chunk(chunk, encoded.digest)
            self.changes.stored[key] = self._ledger.stored(chunk, encoded.digest, encoded.facts)
            if before is None or before.digest != encoded.digest:
                self._drop_chunk(key, encoded.digest)
                put_object(self._db, encoded.digest, encoded.data)
                put_beside(self._db, encoded)
                self._count(encoded.data, encoded.coarse, chunks=1)
            put_chunk_row(self._db, ChunkRow(key, chunk.revision, chunk.num_points, encoded.digest))
        gone = [key for key in known if key not in entries] if state.is_complete else []
        for key in gone:
            self._drop_chunk(key)
        self._db.executemany("DELETE FROM chunks WHERE x = ? AND y = ? AND z = ?", gone)
        self.changes.removed_chunks = gone
        self._count(removed_chunks=len(gone))
        self._report = replace(self._report, stored=self.changes.stored)

    def _move_chunk(self, entry: Chunk | StoredChunk) -> bool:
        """Make a chunk present whose object this file has already; False if it has to be written."""
        if not isinstance(entry, StoredChunk):
            return False
        if self._db.execute("SELECT 1 FROM objects WHERE digest = ?", (entry.address,)).fetchone() is None:
            return False
        self._drop_chunk(entry.key, entry.address)
        put_chunk_row(self._db, ChunkRow(entry.key, entry.revision, entry.num_points, entry.address))
        self.changes.chunks[entry.key] = KnownChunk(entry.revision, None, entry.address)
        return True

    def _drop_chunk(self, key: ChunkKey, digest: bytes | None = None) -> None:
        """Note that the content of a chunk's row is not present any more, unless it is that of ``digest``."""
        row = self._db.execute("SELECT digest FROM chunks WHERE x = ? AND y = ? AND z = ?", key).fetchone()
        if row is not None and row[0] != digest:
            self._dropped.add(row[0])

    def _write_keyframes(self, state: WorldState) -> None:
        known = self._ledger.keyframes()
        for keyframe in state.keyframes:
            before = known.get(keyframe.keyframe_id)
            if before is not keyframe:
                self._write_keyframe(keyframe, before)
                self.changes.keyframes[keyframe.keyframe_id] = keyframe
        if state.is_complete:
            present = {k.keyframe_id for k in state.keyframes}
            gone = [identity for identity in known if identity not in present]
            for identity in gone:
                self._drop_pictures(identity)
            self._db.executemany("DELETE FROM keyframes WHERE id = ?", [(i,) for i in gone])
            self.changes.removed_keyframes = gone

    def _write_keyframe(self, keyframe: Keyframe, before: Keyframe | None) -> None:
        if before is not None and _same_pictures(before, keyframe):
            meta = encode_keyframe_meta(keyframe)
            self._db.execute("UPDATE keyframes SET meta = ? WHERE id = ?", (meta, keyframe.keyframe_id))
            self._count(meta, keyframes=1)
            return
        blobs = encode_keyframe(keyframe)
        self._drop_pictures(keyframe.keyframe_id)
        pictures = [None if data is None else self._put(data) for data in (blobs.color, blobs.depth, blobs.moving)]
        row = (keyframe.keyframe_id, blobs.meta, *pictures)
        self._db.execute("INSERT OR REPLACE INTO keyframes VALUES (?, ?, ?, ?, ?)", row)
        self._count(blobs.meta, keyframes=1)

    def _drop_pictures(self, identity: int) -> None:
        row = self._db.execute("SELECT color, depth, moving FROM keyframes WHERE id = ?", (identity,)).fetchone()
        self._dropped.update(digest for digest in row or () if digest is not None)

    def _write_journal(self, state: WorldState) -> None:
        known, sequence = self._ledger.journal()
        shared = common_length(known, state.journal)
        self._db.executemany("DELETE FROM journal WHERE seq = ?", [(s,) for s in sequence[shared:]])
        sequence = sequence[:shared]
        last = self._db.execute("SELECT coalesce(max(seq), 0) FROM journal").fetchone()[0]
        for number, entry in enumerate(state.journal[shared:], start=int(last) + 1):
            data = pack_value([entry.kind, entry.tick, dict(entry.data)])
            self._db.execute("INSERT INTO journal VALUES (?, ?)", (number, data))
            sequence.append(number)
            self._count(data, journal=1)
        self.changes.journal, self.changes.sequence = state.journal, sequence

    def _write_manifest(self, data: bytes) -> None:
        """Write the manifest twice, as a fact and as an object: without it no point has a place."""
        self._manifest = digest_of(data)
        if self._manifest != self._ledger.fact_digest("manifest"):
            before = self._db.execute("SELECT data FROM facts WHERE name = 'manifest'").fetchone()
            self._dropped |= set() if before is None else {digest_of(before[0])}
            self._put(data)
            self._write_fact("manifest", data)

    def _write_state(self, state: WorldState) -> None:
        used: set[bytes] = set()
        data = pack_value(self._detach(dict(state.state), used))
        if digest_of(data) != self._ledger.fact_digest("state"):
            before = self._db.execute("SELECT data FROM facts WHERE name = 'state'").fetchone()
            self._dropped |= set() if before is None else array_digests(before[0])
            self._write_fact("state", data)
        self._used_arrays = used

    def _detach(self, value: Any, used: set[bytes]) -> Any:
        """The state with its larger arrays replaced by references to objects."""
        if isinstance(value, np.ndarray) and value.nbytes >= ARRAY_APART_BYTES:
            kind, digest = self._write_array(value)
            used.add(digest)
            return {ARRAY_REFERENCE: digest, "kind": kind}
        if isinstance(value, Mapping):
            return {k: self._detach(v, used) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._detach(v, used) for v in value]
        return value

    def _write_array(self, array: npt.NDArray) -> tuple[str, bytes]:
        kind, digest = array_kind(array), self._ledger.array_digest(array)
        known = "SELECT 1 FROM objects WHERE digest = ?"
        if digest is None or self._db.execute(known, (digest,)).fetchone() is None:
            digest = self._put(pack_array(array)[1])
            self._ledger.note_array(array, digest)
        return kind, digest

    def _put(self, data: bytes) -> bytes:
        """Store an object unless it is there; its digest."""
        digest = digest_of(data)
        if put_object(self._db, digest, data):
            self._count(data)
        return digest

    def _delete_dropped(self) -> None:
        """Delete objects that were present before this save and that nothing names any more."""
        if not self._dropped or self._ledger.pinned is None:  # never without knowing what snapshots hold
            return
        pictures = self._db.execute("SELECT color, depth, moving FROM keyframes").fetchall()
        used = self._used_arrays.union(*pictures) | {known.digest for known in self.changes.chunks.values()}
        gone = self._dropped - used - self._ledger.pinned - self._ledger.live - {self._manifest}
        self._db.executemany("DELETE FROM objects WHERE digest = ?", [(digest,) for digest in gone])
        delete_beside(self._db, gone)

    def _write_fact(self, name: str, data: bytes) -> None:
        digest = digest_of(data)
        if digest != self._ledger.fact_digest(name):
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, data))
            self.changes.facts[name] = digest
            self._count(data)


def _same_pictures(a: Keyframe, b: Keyframe) -> bool:
    return a.color is b.color and a.depth_m is b.depth_m and a.moving is b.moving and a.point_class == b.point_class


def put_object(db: sqlite3.Connection, digest: bytes, data: bytes) -> bool:
    """Store an object; one of the same digest is left alone, or mended if it is damaged.

    Returns:
        True if it was written.
    """
    query = (
        "INSERT INTO objects (digest, data) VALUES (?, ?) "
        "ON CONFLICT (digest) DO UPDATE SET data = excluded.data WHERE data <> excluded.data"
    )
    return db.execute(query, (digest, data)).rowcount > 0


def put_chunk_row(db: sqlite3.Connection, row: ChunkRow) -> None:
    """Write which content a present chunk has."""
    query = (
        "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (x, y, z) DO UPDATE SET "
        "revision = excluded.revision, num_points = excluded.num_points, digest = excluded.digest, crc = excluded.crc"
    )
    db.execute(query, row.columns())


def array_digests(state: bytes) -> set[bytes]:
    """Digests of the arrays that a state's bytes refer to; none if they are damaged."""
    found: set[bytes] = set()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if isinstance(value.get(ARRAY_REFERENCE), bytes):
                found.add(value[ARRAY_REFERENCE])
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    with suppress(ValueDecodeError):
        walk(unpack_value(state))
    return found


def _encoded(chunks: list[Chunk]) -> list[tuple[Chunk, EncodedChunk]]:
    return list(zip(chunks, encode_whole(chunks), strict=True))


def _points_of(chunk: Chunk) -> int:
    return chunk.num_points
