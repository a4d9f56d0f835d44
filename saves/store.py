"""The world file: opened by one writer or any number of readers, saved by what changed."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from .errors import WorldDamagedError, WorldFileError, WorldHistoryError, WorldWriteError, explain
from .ledger import Ledger
from .locking import WriterLock
from .schema import (
    begin_writing,
    check_identity,
    checked_path,
    connect,
    create_tables,
    end_writing,
    journal_of,
    log_of,
    make_tolerant,
    remove_logs,
    roll_back,
)
from .sealing import seal_file
from .state import WorldState
from .timeline import Timeline
from .writing import SaveReport, transaction, write_state


class WorldFile(Timeline):
    """An open ``.spatia`` file.

    Any thread may call any method. Reading and saving do not wait for each other: a reader sees the last commit. Make
    one with ``create`` or ``open``; close it, or use it in a ``with`` statement.
    """

    def __init__(
        self,
        path: Path,
        reader: sqlite3.Connection,
        *,
        writer: sqlite3.Connection | None = None,
        lock: WriterLock | None = None,
        ledger: Ledger | None = None,
        is_damaged: bool = False,
    ) -> None:
        super().__init__(path, reader, ledger or Ledger(), is_damaged=is_damaged)
        self._writer, self._lock = writer, lock
        self._write_lock = threading.Lock()
        self._is_closed = False

    # Opening and closing

    @classmethod
    def create(cls, path: str | os.PathLike[str], state: WorldState | None = None, *, replace: bool = False) -> Self:
        """Make a new world file and open it for writing.

        Args:
            path: Where; its folder is made.
            state: What it holds from the start: then the file appears with it or not at all.
            replace: Whether a world that is there already may be replaced.

        Raises:
            WorldFileError: Something is there that may not be replaced, or the folder cannot be written.
            WorldLockedError: It is open elsewhere.
            WorldWriteError: The disk refused.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            got = error.strerror or "no access"
            raise WorldFileError(explain(target, expected="a folder that can be written", got=got)) from error
        lock = WriterLock.acquire(target)
        try:
            _make_room(target, replace=replace)
            draft = target.with_name(
                f".{target.name}.new"
            )  # the lock makes it ours; a killed program may have left one
            ledger = _write_draft(draft, state)
            draft.replace(target)
            _flush_folder(target.parent)
            return cls._open_writer(target, lock, ledger)
        except (OSError, sqlite3.Error) as error:
            lock.release()
            got = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise WorldWriteError(explain(target, expected="room for a new world", got=got)) from error
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False) -> Self:
        """Open a world.

        Args:
            path: The file.
            read_only: Nothing is written, and it may be open elsewhere. A damaged or cut-off file opens only so.

        Raises:
            WorldFileError: Missing, empty, or no world.
            WorldVersionError: Of another version.
            WorldDamagedError: Its structure is damaged.
            WorldLockedError: It is open for writing elsewhere.
        """
        p = checked_path(path)
        if read_only:
            _finish_rollback(p)
            return cls._open_reader(p)
        lock = WriterLock.acquire(p)
        try:
            return cls._open_writer(p, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _open_writer(cls, path: Path, lock: WriterLock, ledger: Ledger | None = None) -> Self:
        writer = connect(path, read_only=False)
        try:
            check_identity(writer, path)
            begin_writing(writer, path)
            return cls(path, connect(path, read_only=True), writer=writer, lock=lock, ledger=ledger)
        except BaseException:
            writer.close()
            raise

    @classmethod
    def _open_reader(cls, path: Path) -> Self:
        reader = connect(path, read_only=True)
        is_damaged = False
        try:
            try:
                check_identity(reader, path)
            except WorldDamagedError:
                is_damaged = True
                make_tolerant(reader)
                check_identity(reader, path)
        except BaseException:
            reader.close()
            raise
        return cls(path, reader, is_damaged=is_damaged)

    def close(self) -> None:
        """Close the file, which then is the only one. Idempotent; waits for a save that runs."""
        with self._write_lock, self._read_lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._reader.close()
            if self._writer is not None:
                end_writing(self._writer, self._path)
            if self._lock is not None:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_read_only(self) -> bool:
        """True if ``save`` is refused."""
        return self._writer is None

    # Writing

    def save(self, state: WorldState) -> SaveReport:
        """Bring the file to a state: write what changed since the last save, in one transaction.

        Chunks and keyframes that this object read or wrote and that ``state`` lacks are removed, unless
        ``state.is_complete`` is False. When it returns, the state is on the disk.

        Raises:
            WorldWriteError: The disk refused, or the file is read-only or closed; the file holds the state before.
        """
        with self._write_lock:
            writer = self._open_writer_or_raise()
            if not self._ledger.knows_journal:
                self.read_journal()  # otherwise its entries would be appended a second time
            with suppress(WorldHistoryError):  # then nothing that a damaged snapshot may hold is deleted
                self.pinned()
            return write_state(writer, self._path, state, self._ledger)

    def _open_writer_or_raise(self) -> sqlite3.Connection:
        if self._writer is None or self._is_closed:
            got = "a closed file" if self._is_closed else "one that was opened read-only"
            raise WorldWriteError(explain(self._path, expected="a world that is open for writing", got=got))
        return self._writer

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._write_lock:
            writer = self._open_writer_or_raise()
            with transaction(writer, self._path):
                yield writer

    def _compact(self) -> None:
        with self._write_lock:
            writer = self._open_writer_or_raise()
            try:
                writer.execute("VACUUM")
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                do = "free some space; nothing is lost"
                raise WorldWriteError(explain(self._path, expected="room to rebuild", got=str(error), do=do)) from error


def _finish_rollback(path: Path) -> None:
    """A reader cannot undo what a killed program half did, and cannot read past it; do it, unless a writer is there."""
    if journal_of(path).exists():
        with suppress(WorldFileError):
            lock = WriterLock.acquire(path)
            try:
                roll_back(path)
                if not log_of(path).exists() and not journal_of(path).exists():
                    seal_file(path)
            finally:
                lock.release()


def _make_room(target: Path, *, replace: bool) -> None:
    """Check that a new world may be written here; bring the logs of one that is replaced out of the way."""
    if not target.exists():
        remove_logs(target)
        return
    if not replace:
        do = "open it, or choose another name"
        raise WorldFileError(explain(target, expected="a name that is free", got="a file that exists", do=do))
    old = connect(checked_path(target), read_only=False)
    try:
        check_identity(old, target)  # only a world of ours is ever replaced
        end_writing(old, target)
    except WorldDamagedError:
        old.close()
        remove_logs(target)
    finally:
        old.close()


def _write_draft(draft: Path, state: WorldState | None) -> Ledger:
    draft.unlink(missing_ok=True)
    remove_logs(draft)
    ledger = Ledger()
    try:
        create_tables(draft)
        if state is not None:
            db = connect(draft, read_only=False)
            try:
                db.execute("PRAGMA synchronous=FULL")
                ledger.note_pinned(frozenset())
                write_state(db, draft, state, ledger)
            finally:
                db.close()
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    return ledger


def _flush_folder(folder: Path) -> None:
    """Make a rename in a folder last through a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
