"""Rows of a world file's tables, read so that a damaged list or index costs only what it lists."""

import sqlite3
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..world.chunks import ChunkKey
from .ledger import digest_of
from .packing import ValueDecodeError
from .state import Damage

MAX_PROBES = 200_000
"""Row numbers that are tried one by one where a table's list is damaged: a second or so."""
_BYTES_PER_ROW = 64  # no row of a world is smaller
_CHUNK_ROW = struct.Struct("<iiiQI")


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A row of the table of present chunks."""

    key: ChunkKey
    revision: int
    num_points: int
    digest: bytes

    def columns(self) -> tuple[int, int, int, int, int, bytes, int]:
        """As the table has them."""
        return (*self.key, self.revision, self.num_points, self.digest, self._crc())

    def _crc(self) -> int:
        return zlib.crc32(_CHUNK_ROW.pack(*self.key, self.revision, self.num_points) + self.digest)

    @classmethod
    def of(cls, columns: Sequence[Any]) -> "ChunkRow":
        """The row of its columns.

        Raises:
            ValueDecodeError: They do not belong together.
        """
        x, y, z, revision, num_points, digest, crc = columns
        try:
            row = cls((x, y, z), revision, num_points, as_bytes(digest))
            if row._crc() != crc:
                raise ValueDecodeError("the checksum of its row does not match")
        except (struct.error, TypeError) as error:
            raise ValueDecodeError(f"its row is damaged: {error}") from error
        return row


CHUNK_COLUMNS = "x, y, z, revision, num_points, digest, crc"


class RowReader:
    """A read-only connection to a world file. Any thread may call any method."""

    def __init__(self, path: Path, reader: sqlite3.Connection) -> None:
        self._path, self._reader = path, reader
        self._read_lock = threading.Lock()
        self._recovered_rows: dict[ChunkKey, int] = {}
        self._recovered_objects: dict[bytes, int] | None = None

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._path

    def object_bytes(self, digest: bytes) -> bytes | None:
        """The object of a digest, or None if the file lacks it.

        Raises:
            sqlite3.Error: It cannot be read.
            ValueDecodeError: It is no bytes.
        """
        try:
            row = self._row("SELECT data FROM objects WHERE digest = ?", (digest,))
        except sqlite3.Error:
            row = None
        if row is None:  # the index may be damaged: look through the table itself
            number = self._objects_by_probing().get(digest)
            if number is None:
                return None
            row = self._row("SELECT data FROM objects WHERE id = ?", (number,))
        return None if row is None else as_bytes(row[0])

    def required_object(self, digest: bytes) -> bytes:
        """The object of a digest.

        Raises:
            sqlite3.Error: It cannot be read.
            ValueDecodeError: It is missing or no bytes.
        """
        data = self.object_bytes(as_bytes(digest))
        if data is None:
            raise ValueDecodeError("its content is missing")
        return data

    def _objects_by_probing(self) -> dict[bytes, int]:
        with self._read_lock:
            known = self._recovered_objects
        if known is None:
            found = self._probe("SELECT digest, id FROM objects NOT INDEXED WHERE id = ?", 1)
            known = {digest: number for digest, number in found if isinstance(digest, bytes)}
            with self._read_lock:
                self._recovered_objects = known
        return known

    def integrity_messages(self, limit: int) -> list[str]:
        """What SQLite finds wrong with the file's structure; "ok" if nothing."""
        return [str(row[0]) for row in self._rows(f"PRAGMA integrity_check({limit})")]

    def fact_bytes(self, name: str) -> bytes | None:
        """A fact as it stands in the file, or None."""
        return self._fact(name)

    def chunk_row(self, key: ChunkKey) -> ChunkRow | None:
        """A chunk's row, or None.

        Raises:
            sqlite3.Error: It cannot be read.
            ValueDecodeError: It is damaged.
        """
        return self._chunk_row(key)

    def _row(self, query: str, arguments: Sequence[Any]) -> tuple[Any, ...] | None:
        with self._read_lock:
            return self._reader.execute(query, tuple(arguments)).fetchone()

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._read_lock:
            return self._reader.execute(query).fetchall()

    def _fact(self, name: str) -> bytes | None:
        row = self._row("SELECT data FROM facts WHERE name = ?", (name,))
        return None if row is None else as_bytes(row[0])

    def _chunk_row(self, key: ChunkKey) -> ChunkRow | None:
        number = self._recovered_rows.get(key)
        if number is not None:
            columns = self._row(f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE rowid = ?", (number,))
        else:
            columns = self._row(f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE x = ? AND y = ? AND z = ?", key)
        return None if columns is None else ChunkRow.of(columns)

    def _listed_keys(self, damage: list[Damage] | None) -> list[ChunkKey]:
        """Keys of the present chunks, tried row by row from where their list is damaged."""
        keys: list[ChunkKey] = []
        try:
            with self._read_lock:
                for x, y, z in self._reader.execute("SELECT x, y, z FROM chunks ORDER BY x, y, z"):
                    keys.append((int(x), int(y), int(z)))
        except (sqlite3.Error, ValueError, TypeError) as error:
            note(damage, "list of chunks", error)
            keys = sorted({*keys, *self._probe_keys()})
        return keys

    def _probe_keys(self) -> list[ChunkKey]:
        query = "SELECT x, y, z, rowid FROM chunks NOT INDEXED WHERE rowid = ?"
        for x, y, z, number in self._probe(query, 1):
            if all(isinstance(v, int) for v in (x, y, z)):
                self._recovered_rows[(x, y, z)] = number
        return list(self._recovered_rows)

    def _identities(self, table: str, column: str, damage: list[Damage] | None) -> list[int]:
        """The integer keys of a table; tried one by one from where its list is damaged."""
        found: list[int] = []
        try:
            with self._read_lock:
                for (identity,) in self._reader.execute(f"SELECT {column} FROM {table} ORDER BY {column}"):
                    found.append(int(identity))
        except (sqlite3.Error, ValueError, TypeError) as error:
            note(damage, f"list of {table}", error)
            start = found[-1] + 1 if found else 0
            found += [row[0] for row in self._probe(f"SELECT {column} FROM {table} WHERE {column} = ?", start)]
        return found

    def _probe(self, query: str, start: int) -> Iterator[tuple[Any, ...]]:
        limit = min(MAX_PROBES, self._path.stat().st_size // _BYTES_PER_ROW)
        for number in range(start, start + limit):
            try:
                row = self._row(query, (number,))
            except sqlite3.Error:
                continue
            if row is not None:
                yield row


def is_whole(digest: bytes, data: bytes) -> bool:
    """True if bytes are those that a digest was made of."""
    return digest_of(data) == digest


def as_bytes(value: object) -> bytes:
    """A column that must be bytes: SQLite itself does not hold a hostile file to its column types."""
    if not isinstance(value, bytes):
        raise ValueDecodeError(f"expected bytes, got {type(value).__name__}")
    return value


def note(damage: list[Damage] | None, what: str, error: Exception | str) -> None:
    """Add to a list of damage, if there is one."""
    if damage is not None:
        damage.append(Damage(what, str(error)))
