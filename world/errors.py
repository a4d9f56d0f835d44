"""Faults of the world folder.

WorldError
├── WeightOverflowError   a voxel got more points than its 32-bit sums hold
└── AlignmentError        a clip does not fit what memory holds; nothing was changed
"""


class WorldError(Exception):
    """Base of the folder's faults."""


class WeightOverflowError(WorldError):
    """A voxel's sums would not fit 32 bits; nothing was changed."""


class AlignmentError(WorldError):
    """A clip does not fit what memory holds; nothing was changed."""
