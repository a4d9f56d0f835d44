"""Faults of the model's folder.

GeneratorError
├── UnusableModelError
│   └── CheckpointError      a weight file is wrong, incomplete or damaged; the message names the tensors and the layout
└── MissingExtraError
    └── MissingWeightsError  no weights where they were looked for; the message says which files to put where
"""

from ..errors import MissingExtraError, UnusableModelError


class CheckpointError(UnusableModelError):
    """A weight file is wrong, incomplete or damaged; the message names the first tensors and the expected layout."""


class MissingWeightsError(MissingExtraError):
    """Weights are not where they were looked for; the message says which files to put where."""
