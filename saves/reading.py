"""Reading a world file part by part; what is damaged is named and skipped."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..world.chunks import CHUNK_SIDE, Chunk, ChunkKey
from ..world.keyframes import Keyframe
from .codec import ChunkDecodeError, decode_chunk
from .errors import DamageError, WorldDamagedError, WorldFileError, explain
from .journal import JournalEntry
from .keyframe_codec import KeyframeBlobs, decode_keyframe
from .ledger import Ledger
from .manifest import Manifest
from .packing import ARRAY_REFERENCE, ValueDecodeError, unpack_array, unpack_value
from .state import Damage, WorldState

MAX_PROBES = 200_000
"""Row numbers that are tried one by one where a table's list is damaged: a second or so."""
_BYTES_PER_ROW = 128  # no row of a world is smaller


class WorldReader:
    """The reading half of an open world file. Any thread may call any method; it sees the last commit.

    Args:
        path: The file.
        reader: A read-only connection, taken over.
        ledger: Told what was read, so that the next save writes only what changed.
        is_damaged: Whether only a part of the file can be read.
    """

    def __init__(self, path: Path, reader: sqlite3.Connection, ledger: Ledger, *, is_damaged: bool) -> None:
        self._path, self._reader, self._ledger = path, reader, ledger
        self._is_damaged = is_damaged
        self._read_lock = threading.Lock()
        self._recovered_rows: dict[ChunkKey, int] = {}

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._path

    @property
    def is_damaged(self) -> bool:
        """True if the file's structure is damaged and only a part of it can be read."""
        return self._is_damaged

    def load(self) -> WorldState:
        """Read everything. What is damaged is left out and listed in ``damage`` of the result.

        Raises:
            WorldDamagedError: Not even the manifest can be read.
            WorldFileError: Nothing was saved yet.
        """
        manifest = self.read_manifest()
        damage: list[Damage] = []
        if self._is_damaged:
            damage.append(Damage("file", "its structure is damaged or it is cut off"))
        chunks: dict[ChunkKey, Chunk] = {}
        for item in self.iter_chunks():
            if isinstance(item, Damage):
                damage.append(item)
            else:
                chunks[item.key] = item
        return WorldState(
            chunks,
            self.read_keyframes(damage),
            manifest,
            self.read_state(damage),
            self.read_journal(damage),
            self.read_path(damage),
            damage=tuple(damage),
        )

    def read_manifest(self) -> Manifest:
        """The manifest.

        Raises:
            WorldDamagedError: It is damaged.
            WorldFileError: Nothing was saved yet.
        """
        try:
            data = self._fact("manifest")
            if data is None:
                raise WorldFileError(explain(self._path, expected="a saved world", got="one without content"))
            manifest = Manifest.from_plain(unpack_value(data, max_bytes=1 << 24))
        except (sqlite3.Error, ValueError) as error:
            got = f"a damaged manifest ({error})"
            raise WorldDamagedError(explain(self._path, expected="a whole world", got=got)) from error
        self._ledger.note_fact("manifest", data)
        return manifest

    def read_state(self, damage: list[Damage] | None = None) -> dict[str, Any]:
        """Where things stand; empty, and noted in ``damage``, if it cannot be read."""
        try:
            data = self._fact("state")
            value = {} if data is None else self._attach(unpack_value(data))
            if not isinstance(value, dict):
                raise ValueDecodeError("no dictionary")
        except (sqlite3.Error, ValueError) as error:
            _note(damage, "state", error)
            return {}
        self._ledger.note_fact("state", data)
        return value

    def read_path(self, damage: list[Damage] | None = None) -> npt.NDArray[np.float64]:
        """(N, 4) float64 ticks and positions of the path walked."""
        try:
            data = self._fact("path")
            path = np.zeros((0, 4)) if data is None else np.asarray(unpack_value(data), dtype=np.float64)
            if path.ndim != 2 or path.shape[1] != 4 or not np.isfinite(path).all():
                raise ValueDecodeError("no path")
        except (sqlite3.Error, ValueError, TypeError) as error:
            _note(damage, "path", error)
            return np.zeros((0, 4))
        self._ledger.note_fact("path", data)
        return path

    def read_journal(self, damage: list[Damage] | None = None) -> tuple[JournalEntry, ...]:
        """All entries, oldest first."""
        entries: list[JournalEntry] = []
        sequence: list[int] = []
        for seq in self._identities("journal", "seq", damage):
            try:
                row = self._row("SELECT data FROM journal WHERE seq = ?", (seq,))
                if row is None:
                    continue
                kind, tick, data = unpack_value(_blob(row[0]))
                entries.append(JournalEntry(str(kind), int(tick), dict(data)))
                sequence.append(seq)
            except (sqlite3.Error, ValueError, TypeError) as error:
                _note(damage, f"journal entry {seq}", error)
        self._ledger.note_journal(tuple(entries), sequence)
        return tuple(entries)

    def read_keyframes(self, damage: list[Damage] | None = None) -> tuple[Keyframe, ...]:
        """All keyframes by rising identity."""
        keyframes: list[Keyframe] = []
        for identity in self.keyframe_ids(damage):
            try:
                keyframe = self.read_keyframe(identity)
            except DamageError as error:
                _note(damage, error.what, error.reason)
            else:
                keyframes += [keyframe] if keyframe is not None else []
        return tuple(keyframes)

    def keyframe_ids(self, damage: list[Damage] | None = None) -> list[int]:
        """Identities of all keyframes, rising."""
        return self._identities("keyframes", "id", damage)

    def read_keyframe(self, identity: int) -> Keyframe | None:
        """One keyframe, or None if there is none of that identity.

        Raises:
            DamageError: It is damaged.
        """
        try:
            row = self._row("SELECT meta, color, depth, moving FROM keyframes WHERE id = ?", (identity,))
            if row is None:
                return None
            meta, color, depth, moving = (None if b is None else _blob(b) for b in row)
            if meta is None or color is None:
                raise ValueDecodeError("a column is empty")
            keyframe = decode_keyframe(KeyframeBlobs(meta, color, depth, moving))
            if keyframe.keyframe_id != identity:
                raise ValueDecodeError(f"it calls itself {keyframe.keyframe_id}")
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise DamageError(f"keyframe {identity}", str(error)) from error
        self._ledger.note_keyframe(keyframe)
        return keyframe

    def chunk_keys(self, near: npt.ArrayLike | None = None, damage: list[Damage] | None = None) -> list[ChunkKey]:
        """Keys of all chunks.

        Args:
            near: (3,) position in the world frame: then the nearest chunk comes first. Otherwise by key.
            damage: Takes what could not be read.
        """
        keys: list[ChunkKey] = []
        try:
            with self._read_lock:
                for x, y, z in self._reader.execute("SELECT x, y, z FROM chunks ORDER BY x, y, z"):
                    keys.append((int(x), int(y), int(z)))
        except (sqlite3.Error, ValueError, TypeError) as error:
            _note(damage, "list of chunks", error)
            keys = sorted({*keys, *self._probe_keys()})
        if near is None or not keys:
            return keys
        side_m = CHUNK_SIDE * self.read_manifest().voxel_size_m
        centres = (np.array(keys, np.float64) + 0.5) * side_m
        distance = np.linalg.norm(centres - np.asarray(near, np.float64), axis=1)
        return [keys[i] for i in np.argsort(distance, kind="stable")]

    def read_chunk(self, key: ChunkKey) -> Chunk | None:
        """One chunk, or None if there is none of that key.

        Raises:
            DamageError: It is damaged.
        """
        what = f"chunk {key[0]} {key[1]} {key[2]}"
        try:
            data = self._chunk_blob(key)
            if data is None:
                return None
            chunk = decode_chunk(data)
            if chunk.key != tuple(key):
                raise ChunkDecodeError(f"it calls itself {chunk.key}")
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise DamageError(what, str(error)) from error
        self._ledger.note_chunk(chunk, data)
        return chunk

    def iter_chunks(self, near: npt.ArrayLike | None = None) -> Iterator[Chunk | Damage]:
        """All chunks one by one, nearest first if ``near`` is given; ``Damage`` in place of what cannot be read."""
        damage: list[Damage] = []
        keys = self.chunk_keys(near, damage)
        yield from damage
        for key in keys:
            try:
                chunk = self.read_chunk(key)
            except DamageError as error:
                yield Damage(error.what, error.reason)
            else:
                if chunk is not None:
                    yield chunk

    @property
    def num_points(self) -> int:
        """Occupied voxels of all chunks, by the table alone."""
        row = self._row("SELECT coalesce(sum(num_points), 0) FROM chunks", ())
        return int(row[0]) if row else 0

    # Rows

    def _row(self, query: str, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
        with self._read_lock:
            return self._reader.execute(query, tuple(arguments)).fetchone()

    def _fact(self, name: str) -> bytes | None:
        row = self._row("SELECT data FROM facts WHERE name = ?", (name,))
        return None if row is None else _blob(row[0])

    def _chunk_blob(self, key: ChunkKey) -> bytes | None:
        row_number = self._recovered_rows.get(key)
        if row_number is not None:
            row = self._row("SELECT data FROM chunks WHERE rowid = ?", (row_number,))
        else:
            row = self._row("SELECT data FROM chunks WHERE x = ? AND y = ? AND z = ?", key)
        return None if row is None else _blob(row[0])

    def _identities(self, table: str, column: str, damage: list[Damage] | None) -> list[int]:
        """The integer keys of a table; tried one by one from where its list is damaged."""
        found: list[int] = []
        try:
            with self._read_lock:
                for (identity,) in self._reader.execute(f"SELECT {column} FROM {table} ORDER BY {column}"):
                    found.append(int(identity))
        except (sqlite3.Error, ValueError, TypeError) as error:
            _note(damage, f"list of {table}", error)
            start = found[-1] + 1 if found else 0
            found += [row[0] for row in self._probe(f"SELECT {column} FROM {table} WHERE {column} = ?", start)]
        return found

    def _probe_keys(self) -> list[ChunkKey]:
        query = "SELECT x, y, z, rowid FROM chunks NOT INDEXED WHERE rowid = ?"
        for x, y, z, row_number in self._probe(query, 1):
            if all(isinstance(v, int) for v in (x, y, z)):
                self._recovered_rows[(x, y, z)] = row_number
        return list(self._recovered_rows)

    def _probe(self, query: str, start: int) -> Iterator[tuple[Any, ...]]:
        limit = min(MAX_PROBES, self._path.stat().st_size // _BYTES_PER_ROW)
        for number in range(start, start + limit):
            try:
                row = self._row(query, (number,))
            except sqlite3.Error:
                continue
            if row is not None:
                yield row

    def _attach(self, value: Any) -> Any:
        """Put the arrays that stand apart back where the state refers to them."""
        if isinstance(value, list):
            return [self._attach(v) for v in value]
        if not isinstance(value, dict):
            return value
        if ARRAY_REFERENCE not in value:
            return {k: self._attach(v) for k, v in value.items()}
        digest = value[ARRAY_REFERENCE]
        row = self._row("SELECT kind, data FROM arrays WHERE digest = ?", (digest,))
        if row is None:
            raise ValueDecodeError("an array is missing")
        array = unpack_array(str(row[0]), _blob(row[1]))
        self._ledger.note_array(array, digest)
        return array


def _blob(value: object) -> bytes:
    """A column that must be bytes: SQLite itself does not hold a hostile file to its column types."""
    if not isinstance(value, bytes):
        raise ValueDecodeError(f"expected bytes, got {type(value).__name__}")
    return value


def _note(damage: list[Damage] | None, what: str, error: Exception | str) -> None:
    if damage is not None:
        damage.append(Damage(what, str(error)))
