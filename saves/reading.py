"""Reading a world file part by part; what is damaged is named and skipped."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..world.chunks import CHUNK_SIDE, Chunk, ChunkKey
from ..world.coarse import coarsen
from ..world.keyframes import Keyframe
from ..world.stored import StoredChunk
from .coarse_codec import decode_coarse
from .codec import BATCH_POINTS, ChunkDecodeError, decode_chunk, decode_chunks
from .errors import DamageError, WorldDamagedError, WorldFileError, explain
from .journal import JournalEntry
from .keyframe_codec import KeyframeBlobs, decode_keyframe
from .ledger import Ledger
from .manifest import Manifest
from .packing import ARRAY_REFERENCE, ValueDecodeError, unpack_array, unpack_value
from .parallel import map_batched
from .rows import CHUNK_COLUMNS, ChunkRow, RowReader, as_bytes, note
from .state import Damage, WorldState
from .summaries import described, unpack_facts


class StoredBytes(NamedTuple):
    """A chunk's object, and what it shall be.

    Attributes:
        key: Key that its bytes must name too.
        revision: The chunk's.
        num_points: Occupied voxels, as a table says.
        digest: Of the bytes.
        data: The object.
    """

    key: ChunkKey
    revision: int
    num_points: int
    digest: bytes
    data: bytes


class WorldReader(RowReader):
    """The reading half of an open world file. Any thread may call any method; it sees the last commit.

    Args:
        path: The file.
        reader: A read-only connection, taken over.
        ledger: Told what was read, so that the next save writes only what changed.
        is_damaged: Whether only a part of the file can be read.
    """

    def __init__(self, path: Path, reader: sqlite3.Connection, ledger: Ledger, *, is_damaged: bool) -> None:
        super().__init__(path, reader)
        self._ledger = ledger
        self._is_damaged = is_damaged

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
        with self._one_moment():
            return self._load()

    def load_without_chunks(self) -> WorldState:
        """Read everything but chunks; see ``load``. ``read_stored`` lists those."""
        with self._one_moment():
            return self._load(with_chunks=False)

    def _load(self, *, with_chunks: bool = True) -> WorldState:
        manifest = self.read_manifest()
        damage: list[Damage] = []
        if self._is_damaged:
            damage.append(Damage("file", "its structure is damaged or it is cut off"))
        chunks: dict[ChunkKey, Chunk] = {}
        keys = self.chunk_keys(damage=damage) if with_chunks else []
        found = (self._bytes_or_damage(key) for key in keys)
        for item in map_batched(self._decoded, found, len(keys), weigh=points_of, batch_weight=BATCH_POINTS):
            if isinstance(item, Damage):
                damage.append(item)
            elif item is not None:
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

    @contextmanager
    def _one_moment(self) -> Iterator[None]:
        """See one commit, whatever another program saves in the meantime."""
        with self._read_lock:
            is_outermost = not self._reader.in_transaction
            if is_outermost:
                self._reader.execute("BEGIN")
        try:
            yield
        finally:
            if is_outermost:
                with self._read_lock, suppress(sqlite3.Error):  # a damaged file may refuse even that
                    self._reader.execute("ROLLBACK")

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
            note(damage, "state", error)
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
            note(damage, "path", error)
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
                kind, tick, data = unpack_value(as_bytes(row[0]))
                entries.append(JournalEntry(str(kind), int(tick), dict(data)))
                sequence.append(seq)
            except (sqlite3.Error, ValueError, TypeError) as error:
                note(damage, f"journal entry {seq}", error)
        self._ledger.note_journal(tuple(entries), sequence)
        return tuple(entries)

    def read_keyframes(self, damage: list[Damage] | None = None) -> tuple[Keyframe, ...]:
        """All keyframes by rising identity."""
        keyframes: list[Keyframe] = []
        for identity in self.keyframe_ids(damage):
            try:
                keyframe = self.read_keyframe(identity)
            except DamageError as error:
                note(damage, error.what, error.reason)
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
            blobs = self._keyframe_blobs(identity)
            if blobs is None:
                return None
            keyframe = decode_keyframe(blobs)
            if keyframe.keyframe_id != identity:
                raise ValueDecodeError(f"it calls itself {keyframe.keyframe_id}")
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise DamageError(f"keyframe {identity}", str(error)) from error
        self._ledger.note_keyframe(keyframe)
        return keyframe

    def _keyframe_blobs(self, identity: int) -> KeyframeBlobs | None:
        row = self._row("SELECT meta, color, depth, moving FROM keyframes WHERE id = ?", (identity,))
        if row is None:
            return None
        color, depth, moving = (None if digest is None else self.required_object(digest) for digest in row[1:])
        if color is None:
            raise ValueDecodeError("a column is empty")
        return KeyframeBlobs(as_bytes(row[0]), color, depth, moving)

    def chunk_keys(self, near: npt.ArrayLike | None = None, damage: list[Damage] | None = None) -> list[ChunkKey]:
        """Keys of all chunks.

        Args:
            near: (3,) position in the world frame: then the nearest chunk comes first. Otherwise by key.
            damage: Takes what could not be read.
        """
        keys = self._listed_keys(damage)
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
        found = self._decoded([self._bytes_or_damage(key)])[0]
        if isinstance(found, Damage):
            raise DamageError(found.what, found.reason)
        return found

    def _bytes_or_damage(self, key: ChunkKey) -> StoredBytes | Damage | None:
        try:
            found = self._chunk_bytes(key)
        except (sqlite3.Error, ValueError, TypeError) as error:
            return Damage(name_of(key), str(error))
        if found is None:
            return None
        row, data = found
        return StoredBytes(row.key, row.revision, row.num_points, row.digest, data)

    def _decoded(self, items: list[StoredBytes | Damage | None]) -> list[Chunk | Damage | None]:
        chunks = decoded(items)
        for item, chunk in zip(items, chunks, strict=True):
            if isinstance(item, StoredBytes) and isinstance(chunk, Chunk):
                self._ledger.note_chunk(chunk, item.digest)
        return chunks

    def read_stored(self, damage: list[Damage] | None = None) -> dict[ChunkKey, StoredChunk]:
        """All present chunks by reference: what is known of them without reading them.

        While one of them is alive, saving keeps its content in the file.

        Args:
            damage: Takes what could not be read.
        """
        query = f"SELECT {CHUNK_COLUMNS}, facts FROM chunks LEFT JOIN summaries USING (digest)"
        try:
            found = self._rows(query)
        except sqlite3.Error:  # a list is damaged: look for the rows one by one
            keys = self.chunk_keys(damage=damage)
            rows = (self._stored_or_damage(key) for key in keys)
        else:
            rows = (self._stored_of(columns) for columns in found)
        stored: dict[ChunkKey, StoredChunk] = {}
        for item in rows:
            if isinstance(item, StoredChunk):
                stored[item.key] = item
            elif item is not None and damage is not None:
                damage.append(item)
        return stored

    def _stored_or_damage(self, key: ChunkKey) -> StoredChunk | Damage | None:
        try:
            row = self._chunk_row(key)
        except (sqlite3.Error, ValueError) as error:
            return Damage(name_of(key), str(error))
        return None if row is None else self._stored_of((*row.columns(), None))

    def _stored_of(self, columns: tuple[Any, ...]) -> StoredChunk | Damage:
        what = " ".join(map(str, ("chunk", *columns[:3])))
        try:
            row = ChunkRow.of(columns[:-1])
            try:
                facts = unpack_facts(columns[-1], row.digest)
            except ValueDecodeError:  # it follows from the chunk
                facts = described(self.required_object(row.digest)).facts
        except (sqlite3.Error, ValueError) as error:
            return Damage(what, str(error))
        return self._ledger.note_stored(row.key, row.revision, row.digest, facts)

    def load_stored(self, stored: StoredChunk) -> Chunk:
        """A chunk of ``read_stored`` or of a save.

        Raises:
            DamageError: It is damaged.
        """
        what = f"chunk {stored.key[0]} {stored.key[1]} {stored.key[2]}"
        try:
            chunk = decode_chunk(self.required_object(stored.address), stored.revision)
            if chunk.key != stored.key:
                raise ChunkDecodeError(f"it calls itself {chunk.key}")
        except (sqlite3.Error, ValueError) as error:
            raise DamageError(what, str(error)) from error
        return chunk

    def load_coarse(self, stored: StoredChunk) -> Chunk:
        """The coarser level of a chunk, made anew where it is damaged or missing.

        Raises:
            DamageError: The chunk itself is damaged.
        """
        try:
            row = self._row("SELECT data FROM coarse WHERE digest = ?", (stored.address,))
            if row is not None:
                chunk = decode_coarse(as_bytes(row[0]), stored.revision)
                if chunk.key == stored.key:
                    return chunk
        except (sqlite3.Error, ValueError):  # it follows from the chunk
            pass
        return coarsen(self.load_stored(stored))

    def _chunk_bytes(self, key: ChunkKey) -> tuple[ChunkRow, bytes] | None:
        """A chunk's row and bytes, of one commit."""
        if key not in self._recovered_rows:
            query = (
                f"SELECT {CHUNK_COLUMNS}, data FROM chunks JOIN objects USING (digest) WHERE x = ? AND y = ? AND z = ?"
            )
            try:
                columns = self._row(query, key)
            except sqlite3.Error:
                columns = None
            if columns is not None:
                return ChunkRow.of(columns[:-1]), as_bytes(columns[-1])
        row = self._chunk_row(key)
        return None if row is None else (row, self.required_object(row.digest))

    @property
    def num_points(self) -> int:
        """Occupied voxels of all chunks, by the table alone; 0 where it is damaged."""
        try:
            row = self._row("SELECT coalesce(sum(num_points), 0) FROM chunks", ())
            return int(row[0]) if row else 0
        except (sqlite3.Error, ValueError, TypeError):
            return 0

    def _attach(self, value: Any) -> Any:
        """Put the arrays that stand apart back where the state refers to them."""
        if isinstance(value, list):
            return [self._attach(v) for v in value]
        if not isinstance(value, dict):
            return value
        if ARRAY_REFERENCE not in value:
            return {k: self._attach(v) for k, v in value.items()}
        digest, kind = value[ARRAY_REFERENCE], str(value.get("kind"))
        array = unpack_array(kind, self.required_object(digest))
        self._ledger.note_array(array, digest)
        return array


def decoded(items: Sequence[StoredBytes | Damage | None]) -> list[Chunk | Damage | None]:
    """Chunks in place of their bytes, or what is wrong with them; what is damage or nothing stays what it is."""
    found = [item for item in items if isinstance(item, StoredBytes)]
    chunks = iter(decode_chunks([item.data for item in found], [item.revision for item in found]))
    return [_checked(item.key, next(chunks)) if isinstance(item, StoredBytes) else item for item in items]


def _checked(key: ChunkKey, chunk: Chunk | ChunkDecodeError) -> Chunk | Damage:
    if isinstance(chunk, ChunkDecodeError):
        return Damage(name_of(key), str(chunk))
    return chunk if chunk.key == key else Damage(name_of(key), f"it calls itself {chunk.key}")


def name_of(key: ChunkKey) -> str:
    """A chunk in messages."""
    return f"chunk {key[0]} {key[1]} {key[2]}"


def points_of(item: StoredBytes | Damage | None) -> int:
    """How much decoding an item will take."""
    return item.num_points if isinstance(item, StoredBytes) else 0
