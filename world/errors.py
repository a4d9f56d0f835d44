"""Faults of the world folder.

WorldError
├── WeightOverflowError   a voxel got more points at once than its 32-bit sums hold
├── StaleChangeError      a staged change was built on chunks that have changed since
├── AlignmentError        a clip does not fit what memory holds; nothing was changed
└── MissingLibraryError   a model needs a library that is not installed; the message names it
"""


class WorldError(Exception):
    """Base of the folder's faults."""


class WeightOverflowError(WorldError):
    """A voxel's sums would not fit 32 bits; nothing was changed."""


class StaleChangeError(WorldError):
    """A chunk that a staged change replaces was changed in the meantime; nothing was changed, stage again."""


class AlignmentError(WorldError):
    """A clip does not fit what memory holds; nothing was changed."""


class MissingLibraryError(WorldError, ImportError):
    """A model needs a library or package that is not installed; the message names it and how to get it."""
