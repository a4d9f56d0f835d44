"""Free space: what later views see through, often enough, is removed."""

from collections.abc import Sequence

from .changes import StagedChange
from .snapshot import MemorySnapshot
from .updates import DepthView


def stage_carve(snapshot: MemorySnapshot, views: Sequence[DepthView]) -> StagedChange:
    """Stage evidence and removals."""
    return StagedChange({}, {})
