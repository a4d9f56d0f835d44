"""Finding objects in the bare bytes of a damaged world file, whatever became of its lists and indices.

A row of ``objects`` is recognised by its record's header and proven by its digest; where the row is larger than a page
its chain of overflow pages is followed. See https://www.sqlite.org/fileformat2.html, sections 1.6 and 2.1.
"""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .ledger import digest_of
from .schema import PAGE_BYTES

_HEAD = re.compile(rb"[\x04-\x08]\x00\x2c", re.DOTALL)
"""Record header of a row of ``objects``: its size, NULL for the row's number, 16 bytes of digest, then the data's."""
_MAX_VARINT = 9
_DIGEST = 16


@dataclass(frozen=True, slots=True)
class CarvedObject:
    """A whole object: where its row begins, and its row number (0 if that is damaged)."""

    digest: bytes
    number: int
    data: bytes


def carve_objects(path: Path) -> Iterator[CarvedObject]:
    """All objects whose bytes are whole, those of deleted rows too.

    Raises:
        OSError: The file cannot be read.
    """
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages:
        for match in _HEAD.finditer(pages):
            found = _object_at(pages, match.start())
            if found is not None:
                yield found


def _object_at(pages: mmap.mmap, start: int) -> CarvedObject | None:
    """The object whose record begins at an offset, or None if there is none."""
    header_bytes = pages[start]
    serial, length = _varint(pages[start + 3 : start + 3 + _MAX_VARINT])
    if length != header_bytes - 3 or serial < 12 or serial % 2:
        return None
    num_bytes = (serial - 12) // 2
    payload_bytes = header_bytes + _DIGEST + num_bytes
    if payload_bytes > len(pages):
        return None
    payload = _payload(pages, start, payload_bytes)
    if payload is None:
        return None
    digest, data = payload[header_bytes : header_bytes + _DIGEST], payload[header_bytes + _DIGEST :]
    return CarvedObject(digest, _row_number(pages, start, payload_bytes), data) if digest_of(data) == digest else None


def _payload(pages: mmap.mmap, start: int, size: int) -> bytes | None:
    """A record: what stands in its page, then the chain of overflow pages."""
    largest, smallest = PAGE_BYTES - 35, (PAGE_BYTES - 12) * 32 // 255 - 23
    if size <= largest:
        return pages[start : start + size]
    local = smallest + (size - smallest) % (PAGE_BYTES - 4)
    local = local if local <= largest else smallest
    parts = [pages[start : start + local]]
    following, left = int.from_bytes(pages[start + local : start + local + 4], "big"), size - local
    while left > 0:
        at = (following - 1) * PAGE_BYTES
        if following < 2 or at + PAGE_BYTES > len(pages):
            return None
        parts.append(pages[at + 4 : at + 4 + min(left, PAGE_BYTES - 4)])
        following, left = int.from_bytes(pages[at : at + 4], "big"), left - (PAGE_BYTES - 4)
    return b"".join(parts)


def _row_number(pages: mmap.mmap, start: int, payload_bytes: int) -> int:
    """The row's number, which stands between the record's size and the record; 0 if it cannot be told."""
    size = _as_varint(payload_bytes)
    for length in range(1, _MAX_VARINT + 1):
        begin = start - length - len(size)
        if begin >= 0 and pages[begin : begin + len(size)] == size:
            number, used = _varint(pages[start - length : start])
            if used == length:
                return number
    return 0


def _varint(data: bytes) -> tuple[int, int]:
    """A big-endian number of 7 bits a byte, and how many bytes it takes; (0, 0) if it is cut off."""
    value = 0
    for i, byte in enumerate(data[:8]):
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, i + 1
    return 0, 0


def _as_varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
