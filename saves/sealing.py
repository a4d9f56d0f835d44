"""The seal at the end of a closed world file: a checksum of every page, so that any flipped bit can be found.

SQLite reads only the pages that its header counts, so that what stands behind them does not disturb it. The seal is
taken off before a file is written to and put on when it is closed.
"""

import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_FOOTER = struct.Struct("<4sHHIII")
"""Magic, version, 0, bytes of a page, number of pages, checksum of the list and of this with the checksum 0."""
_MAGIC, _VERSION = b"SPSL", 1
_HEADER_BYTES = 100


@dataclass(frozen=True, slots=True)
class SealReport:
    """What a seal tells.

    Attributes:
        is_sealed: False if there is none: the file is open, was not closed, or its end is cut off or damaged.
        num_pages: Pages that it covers.
        damaged: Numbers of the pages that are not as they were, from 1.
    """

    is_sealed: bool
    num_pages: int = 0
    damaged: tuple[int, ...] = ()


def seal_file(path: Path) -> None:
    """Put the seal on a closed file; if the disk refuses, the file is left without one."""
    with suppress(OSError), path.open("r+b") as file:
        page_bytes, num_pages = _counted(file)
        if num_pages:
            sums = struct.pack(f"<{num_pages}I", *_page_sums(file, page_bytes, num_pages))
            file.truncate(page_bytes * num_pages)
            file.seek(page_bytes * num_pages)
            file.write(sums + _footer(sums, page_bytes, num_pages))
            file.flush()
            os.fsync(file.fileno())


def unseal_file(path: Path) -> None:
    """Take the seal off before the file is written to.

    Raises:
        OSError: It cannot be written.
    """
    with path.open("rb") as file:
        seal = _read_seal(file)
    if seal is not None:
        page_bytes, sums = seal
        os.truncate(path, page_bytes * len(sums))


def check_seal(path: Path) -> SealReport:
    """Compare every page with the seal.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        seal = _read_seal(file)
        if seal is None:
            return SealReport(False)
        page_bytes, sums = seal
        found = _page_sums(file, page_bytes, len(sums))
        damaged = tuple(i for i, (a, b) in enumerate(zip(sums, found, strict=True), start=1) if a != b)
        return SealReport(True, len(sums), damaged)


def _read_seal(file: BinaryIO) -> tuple[int, tuple[int, ...]] | None:
    """Bytes of a page and the checksums, or None if there is no whole seal."""
    size = file.seek(0, os.SEEK_END)
    if size < _FOOTER.size:
        return None
    file.seek(size - _FOOTER.size)
    footer = file.read(_FOOTER.size)
    magic, version, _, page_bytes, num_pages, _ = _FOOTER.unpack(footer)
    if magic != _MAGIC or version != _VERSION or size != page_bytes * num_pages + 4 * num_pages + _FOOTER.size:
        return None
    file.seek(page_bytes * num_pages)
    sums = file.read(4 * num_pages)
    if _footer(sums, page_bytes, num_pages) != footer:
        return None
    return page_bytes, struct.unpack(f"<{num_pages}I", sums)


def _footer(sums: bytes, page_bytes: int, num_pages: int) -> bytes:
    bare = _FOOTER.pack(_MAGIC, _VERSION, 0, page_bytes, num_pages, 0)
    return _FOOTER.pack(_MAGIC, _VERSION, 0, page_bytes, num_pages, zlib.crc32(bare, zlib.crc32(sums)))


def _page_sums(file: BinaryIO, page_bytes: int, num_pages: int) -> list[int]:
    file.seek(0)
    return [zlib.crc32(file.read(page_bytes)) for _ in range(num_pages)]


def _counted(file: BinaryIO) -> tuple[int, int]:
    """Bytes of a page and number of pages by SQLite's header; zeros where it does not say."""
    file.seek(0)
    header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        return 0, 0
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    num_pages = int.from_bytes(header[28:32], "big")
    size = file.seek(0, os.SEEK_END)
    return (page_bytes, num_pages) if 0 < page_bytes * num_pages <= size else (0, 0)
