"""One writer for a world: a lock that dies with the process that holds it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from .errors import WorldFileError, WorldLockedError, explain

try:
    import fcntl
except ImportError:  # pragma: no cover - no flock there: SQLite's own locks still keep two writers apart
    fcntl = None


class WriterLock:
    """An exclusive lock beside a file, held from ``acquire`` to ``release`` or the end of the process.

    The lock file ``.NAME.lock`` is locked with ``flock``, which the kernel drops when its holder ends however it ends,
    so that a killed program blocks nobody. It is removed on release; who gets the lock of a file that was removed
    meanwhile tries again.
    """

    def __init__(self, lock_path: Path, descriptor: int) -> None:
        self._path, self._descriptor = lock_path, descriptor

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Take the lock of a file.

        Raises:
            WorldLockedError: Somebody holds it.
            WorldFileError: The folder cannot be written.
        """
        lock_path = lock_of(path)
        while True:
            try:
                descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
            except OSError as error:
                got = error.strerror or "no access"
                raise WorldFileError(explain(path, expected="a folder that can be written", got=got)) from error
            if not _lock(descriptor):
                os.close(descriptor)
                do = "close it there, or open it read-only"
                raise WorldLockedError(explain(path, expected="a world that nobody has open", got="one in use", do=do))
            if _is_same(lock_path, descriptor):
                return cls(lock_path, descriptor)
            os.close(descriptor)

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._descriptor >= 0:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def lock_of(path: Path) -> Path:
    """The lock file beside a file that is open for writing, or whose program was killed."""
    return path.with_name(f".{path.name}.lock")


def _lock(descriptor: int) -> bool:
    if fcntl is None:  # pragma: no cover
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False
