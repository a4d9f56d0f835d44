"""The journal: what was asked for and what came of it, one entry after another, only ever appended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .packing import pack_value


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One fact.

    Attributes:
        kind: What happened, such as "request", "update", "undo", "edit".
        tick: Simulation tick.
        data: Plain values (see ``packing``).
    """

    kind: str
    tick: int
    data: Mapping[str, Any]


def common_length(a: tuple[JournalEntry, ...], b: tuple[JournalEntry, ...]) -> int:
    """How many entries two journals share from the start; those that are the same object are not compared."""
    n = min(len(a), len(b))
    if n and a[n - 1] is b[n - 1] and a[0] is b[0]:
        return n  # the journal only grows, so the same object at the same place means the same past
    return next((i for i in range(n) if a[i] is not b[i] and not _same(a[i], b[i])), n)


def _same(a: JournalEntry, b: JournalEntry) -> bool:
    if (a.kind, a.tick) != (b.kind, b.tick):
        return False
    return pack_value(dict(a.data)) == pack_value(dict(b.data))
