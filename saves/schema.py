"""The world file as an SQLite database: its tables, its identity, and how it is opened.

A world is one file when closed. While it is open for writing SQLite keeps a write-ahead log beside it, so that readers
see the last commit and a program that is killed leaves the last commit behind.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from .errors import WorldDamagedError, WorldFileError, WorldVersionError, explain
from .sealing import seal_file, unseal_file

APPLICATION_ID = 0x53504154  # "SPAT"
FORMAT_VERSION = 4
READABLE_VERSIONS = (3, FORMAT_VERSION)
"""Format 3 has the same tables; it is made one of the present format when it is opened for writing."""
PAGE_BYTES = 8192
"""A chunk takes 10 to 100 KiB; pages of this size cost 1 % of the file and halve the reads."""
MAX_BLOB_BYTES = 1 << 30
BUSY_TIMEOUT_S = 5.0
"""A reader in another program holds its lock for one statement; five seconds outlast any of ours."""

SCHEMA = {
    "facts": "CREATE TABLE facts (name TEXT PRIMARY KEY, data BLOB NOT NULL)",
    "chunks": "CREATE TABLE chunks (x INTEGER NOT NULL, y INTEGER NOT NULL, z INTEGER NOT NULL, "
    "revision INTEGER NOT NULL, num_points INTEGER NOT NULL, digest BLOB NOT NULL, crc INTEGER NOT NULL, "
    "UNIQUE (x, y, z))",
    "keyframes": "CREATE TABLE keyframes (id INTEGER PRIMARY KEY, meta BLOB NOT NULL, color BLOB NOT NULL, "
    "depth BLOB, moving BLOB)",
    "journal": "CREATE TABLE journal (seq INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    "snapshots": "CREATE TABLE snapshots (id INTEGER PRIMARY KEY, name TEXT NOT NULL, data BLOB NOT NULL)",
    "objects": "CREATE TABLE objects (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, data BLOB NOT NULL)",
    "summaries": "CREATE TABLE summaries (digest BLOB PRIMARY KEY, facts BLOB NOT NULL)",
    "coarse": "CREATE TABLE coarse (digest BLOB PRIMARY KEY, data BLOB NOT NULL)",
}
"""What is present stands in ``facts``, ``chunks``, ``keyframes`` and ``journal``, what was in ``snapshots``; both name
the large things, which stand once in ``objects``, by the digest of their bytes. ``summaries`` and ``coarse`` say what
a chunk's object holds in short; they follow from it."""

_EXPECTED = "a .spatia world"
_DAMAGED_DO = "open it read-only to save what is left as a new world"


def checked_path(path: str | os.PathLike[str]) -> Path:
    """The path of a file that exists and is not empty.

    Raises:
        WorldFileError: It does not, or is a folder or empty.
    """
    p = Path(path)
    try:
        if not p.exists():
            raise WorldFileError(explain(p, expected=_EXPECTED, got="no such file", do="check the path"))
        if not p.is_file():
            raise WorldFileError(explain(p, expected=_EXPECTED, got="a folder"))
        if p.stat().st_size == 0 and not log_of(p).exists():
            raise WorldFileError(explain(p, expected=_EXPECTED, got="an empty file"))
    except OSError as error:
        raise WorldFileError(explain(p, expected=_EXPECTED, got=error.strerror or "no access")) from error
    return p


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """Open a connection with what an untrusted file calls for. Nothing is read yet."""
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
    try:
        db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S)
    except sqlite3.Error as error:
        raise WorldFileError(explain(path, expected=_EXPECTED, got=str(error))) from error
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BLOB_BYTES)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):
        db.execute(f"PRAGMA {pragma}")
    return db


def check_identity(db: sqlite3.Connection, path: Path) -> None:
    """Check that a database is a world of this version, with exactly the tables that it should have.

    Raises:
        WorldFileError: It is something else.
        WorldVersionError: It is of another version.
        WorldDamagedError: It cannot be read.
    """
    try:
        application_id = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        objects = db.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    except sqlite3.Error as error:
        if _name_of(error) == "SQLITE_NOTADB":
            raise WorldFileError(explain(path, expected=_EXPECTED, got="a file of another kind")) from error
        raise _damaged(path, error) from error
    except UnicodeDecodeError as error:  # SQLite complains of a table by its spoilt name
        raise _damaged(path) from error
    if application_id != APPLICATION_ID:
        raise WorldFileError(explain(path, expected=_EXPECTED, got="another program's database"))
    if version not in READABLE_VERSIONS:
        got = f"format {version}"
        do = "update spatia" if version > FORMAT_VERSION else ""
        raise WorldVersionError(explain(path, expected=f"a world of format {FORMAT_VERSION}", got=got, do=do))
    if dict(objects) != SCHEMA:
        raise WorldFileError(explain(path, expected=_EXPECTED, got="a database with other tables"))


def _damaged(path: Path, error: sqlite3.Error | None = None) -> WorldFileError:
    if error is None or _name_of(error).startswith("SQLITE_CORRUPT"):
        return WorldDamagedError(
            explain(path, expected="a whole world", got="a damaged or cut-off one", do=_DAMAGED_DO)
        )
    return WorldFileError(explain(path, expected=_EXPECTED, got=str(error)))


def _name_of(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "")


def make_tolerant(db: sqlite3.Connection) -> None:
    """Let a read-only connection read what is left of a file that is shorter than it should be.

    SQLite refuses such a file as a whole unless this flag is set; every page that is there is still checked.
    """
    db.execute("PRAGMA writable_schema=ON")


def begin_writing(db: sqlite3.Connection, path: Path) -> None:
    """Switch a connection to the write-ahead log, every commit on the disk before it returns.

    Raises:
        WorldFileError: The file or its folder cannot be written.
        WorldDamagedError: It cannot be read.
    """
    try:
        unseal_file(path)
        mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        db.execute("PRAGMA synchronous=FULL")
        if mode == "wal" and db.execute("PRAGMA user_version").fetchone()[0] in READABLE_VERSIONS[:-1]:
            db.execute(f"PRAGMA user_version={FORMAT_VERSION}")
    except sqlite3.Error as error:
        raise _damaged(path, error) from error
    except OSError as error:
        got = error.strerror or "no access"
        raise WorldFileError(explain(path, expected="a file that can be written", got=got)) from error
    if mode != "wal":
        raise WorldFileError(explain(path, expected="a file and folder that can be written", got=f"mode {mode}"))


def end_writing(db: sqlite3.Connection, path: Path) -> None:
    """Bring everything into the one file, remove the log and seal the file.

    If the disk refuses, the log stays and nothing is lost.
    """
    mode = ""
    with suppress(sqlite3.Error):
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        mode = db.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    db.close()
    if mode == "delete":
        seal_file(path)


def create_tables(path: Path) -> None:
    """Make a new, empty world file; it must not exist."""
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute(f"PRAGMA page_size={PAGE_BYTES}")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("BEGIN")
        for statement in SCHEMA.values():
            db.execute(statement)
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={FORMAT_VERSION}")
        db.execute("COMMIT")
    finally:
        db.close()


def remove_logs(path: Path) -> None:
    """Remove the logs beside a path at which there is no world any more; SQLite would take them for a new one's."""
    for log in (log_of(path), path.with_name(path.name + "-shm"), journal_of(path)):
        log.unlink(missing_ok=True)


def log_of(path: Path) -> Path:
    """The write-ahead log beside a file that is open, or whose program was killed."""
    return path.with_name(path.name + "-wal")


def journal_of(path: Path) -> Path:
    """The rollback journal beside a file whose program was killed just while it was being opened or closed."""
    return path.with_name(path.name + "-journal")


def roll_back(path: Path) -> None:
    """Undo the half of a write that a killed program left behind, where the disk allows it.

    Only the switch to and from the write-ahead log writes that way; no commit is ever in it.
    """
    with suppress(sqlite3.Error, WorldFileError):
        db = connect(path, read_only=False)
        try:
            db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            db.close()
