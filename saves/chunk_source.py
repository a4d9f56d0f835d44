"""A world file as the source of a pager: its chunks by reference."""

import threading
from collections.abc import Callable

from ..world.chunks import Chunk
from ..world.stored import StoredChunk
from .errors import DamageError
from .reading import WorldReader


class FileChunks:
    """Reads chunks of an open world file for a ``Pager``. Any thread may call any method.

    Args:
        file: Stays open as long as this is used.
    """

    def __init__(self, file: WorldReader) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._num_points = 0

    @property
    def points_read(self) -> int:
        """Points of all chunks that were read so far, in full or coarser."""
        with self._lock:
            return self._num_points

    def load(self, stored: StoredChunk) -> Chunk:
        """The chunk in full.

        Raises:
            ValueError: It is damaged or missing, or the file is closed.
        """
        return self._counted(self._file.load_stored, stored)

    def load_coarse(self, stored: StoredChunk) -> Chunk:
        """Its coarser level.

        Raises:
            ValueError: The chunk is damaged or missing, or the file is closed.
        """
        return self._counted(self._file.load_coarse, stored)

    def _counted(self, read: Callable[[StoredChunk], Chunk], stored: StoredChunk) -> Chunk:
        try:
            chunk = read(stored)
        except DamageError as error:
            raise ValueError(str(error)) from error
        with self._lock:
            self._num_points += chunk.num_points
        return chunk
