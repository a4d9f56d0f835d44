"""Saving a state into an open database: what changed, in one transaction."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.keyframes import Keyframe
from .codec import encode_chunk
from .errors import WorldWriteError, explain
from .journal import common_length
from .keyframe_codec import encode_keyframe, encode_keyframe_meta
from .ledger import Changes, Ledger, digest_of, known_chunk
from .packing import ARRAY_REFERENCE, pack_array, pack_value
from .state import WorldState

ARRAY_APART_BYTES = 4096
"""Larger arrays of a state stand in a table of their own, so that an unchanged tail is not written again."""


@dataclass(frozen=True, slots=True)
class SaveReport:
    """What a save wrote.

    Attributes:
        chunks: Chunks written.
        removed_chunks: Chunks removed.
        keyframes: Keyframes written (their pictures, or only their poses).
        journal: Journal entries appended.
        num_bytes: Bytes of content written.
    """

    chunks: int = 0
    removed_chunks: int = 0
    keyframes: int = 0
    journal: int = 0
    num_bytes: int = 0


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
    transaction = _Transaction(db, ledger)
    try:
        db.execute("BEGIN IMMEDIATE")
        report = transaction.write(state)
        db.execute("COMMIT")
    except BaseException as error:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error | OSError):
            got, do = str(error), "free some space or save elsewhere; nothing that was saved is lost"
            raise WorldWriteError(explain(path, expected="the disk to take the save", got=got, do=do)) from error
        raise
    ledger.commit(transaction.changes)
    return report


class _Transaction:
    """One save: what it writes, and what the ledger learns from it."""

    def __init__(self, db: sqlite3.Connection, ledger: Ledger) -> None:
        self._db, self._ledger = db, ledger
        self.changes = Changes()
        self._report = SaveReport()

    def write(self, state: WorldState) -> SaveReport:
        """Write all parts."""
        self._write_chunks(state)
        self._write_keyframes(state)
        self._write_journal(state)
        self._write_state(state)
        self._write_fact("manifest", pack_value(state.manifest.to_plain()))
        self._write_fact("path", pack_value(np.asarray(state.path, dtype=np.float64)))
        return self._report

    def _count(self, *blobs: bytes | None, **counts: int) -> None:
        num_bytes = self._report.num_bytes + sum(len(b) for b in blobs if b is not None)
        added = {name: getattr(self._report, name) + n for name, n in counts.items()}
        self._report = replace(self._report, num_bytes=num_bytes, **added)

    def _write_chunks(self, state: WorldState) -> None:
        known = self._ledger.chunks()
        for key, chunk in state.chunks.items():
            before = known.get(key)
            if before is not None and before.is_of(chunk):
                continue
            data = encode_chunk(chunk)
            now = known_chunk(chunk, data)
            self.changes.chunks[key] = now
            if before is not None and before.digest == now.digest:
                continue
            self._db.execute(
                "INSERT INTO chunks (x, y, z, revision, num_points, data) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (x, y, z) DO UPDATE SET revision = excluded.revision, "
                "num_points = excluded.num_points, data = excluded.data",
                (*chunk.key, chunk.revision, chunk.num_points, data),
            )
            self._count(data, chunks=1)
        gone = [key for key in known if key not in state.chunks] if state.is_complete else []
        self._db.executemany("DELETE FROM chunks WHERE x = ? AND y = ? AND z = ?", gone)
        self.changes.removed_chunks = gone
        self._count(removed_chunks=len(gone))

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
            self._db.executemany("DELETE FROM keyframes WHERE id = ?", [(i,) for i in gone])
            self.changes.removed_keyframes = gone

    def _write_keyframe(self, keyframe: Keyframe, before: Keyframe | None) -> None:
        if before is not None and _same_pictures(before, keyframe):
            meta = encode_keyframe_meta(keyframe)
            self._db.execute("UPDATE keyframes SET meta = ? WHERE id = ?", (meta, keyframe.keyframe_id))
            self._count(meta, keyframes=1)
            return
        blobs = encode_keyframe(keyframe)
        columns = (blobs.meta, blobs.color, blobs.depth, blobs.moving)
        self._db.execute("INSERT OR REPLACE INTO keyframes VALUES (?, ?, ?, ?, ?)", (keyframe.keyframe_id, *columns))
        self._count(*columns, keyframes=1)

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

    def _write_state(self, state: WorldState) -> None:
        used: set[bytes] = set()
        self._write_fact("state", pack_value(self._detach(dict(state.state), used)))
        for (digest,) in self._db.execute("SELECT digest FROM arrays").fetchall():
            if digest not in used:
                self._db.execute("DELETE FROM arrays WHERE digest = ?", (digest,))

    def _detach(self, value: Any, used: set[bytes]) -> Any:
        """The state with its larger arrays replaced by references to the table where they stand."""
        if isinstance(value, np.ndarray) and value.nbytes >= ARRAY_APART_BYTES:
            digest = self._write_array(value)
            used.add(digest)
            return {ARRAY_REFERENCE: digest}
        if isinstance(value, Mapping):
            return {k: self._detach(v, used) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self._detach(v, used) for v in value]
        return value

    def _write_array(self, array: npt.NDArray) -> bytes:
        digest = self._ledger.array_digest(array)
        if digest is not None and self._has_array(digest):
            return digest
        kind, data = pack_array(array)
        digest = digest_of(data)
        if not self._has_array(digest):
            self._db.execute("INSERT INTO arrays VALUES (?, ?, ?)", (digest, kind, data))
            self._count(data)
        self._ledger.note_array(array, digest)
        return digest

    def _has_array(self, digest: bytes) -> bool:
        return self._db.execute("SELECT 1 FROM arrays WHERE digest = ?", (digest,)).fetchone() is not None

    def _write_fact(self, name: str, data: bytes) -> None:
        digest = digest_of(data)
        if digest != self._ledger.fact_digest(name):
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, data))
            self.changes.facts[name] = digest
            self._count(data)


def _same_pictures(a: Keyframe, b: Keyframe) -> bool:
    return a.color is b.color and a.depth_m is b.depth_m and a.moving is b.moving and a.point_class == b.point_class
