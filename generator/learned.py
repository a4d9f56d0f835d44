"""Learned help for lifting clips: an estimator and a segmenter, loaded when they are first needed and kept."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..world.keyframes import Keyframe
from ..world.slots import ESTIMATORS, SEGMENTERS

ESTIMATOR_VARIABLE, SEGMENTER_VARIABLE = "SPATIA_ESTIMATOR", "SPATIA_SEGMENTER"
WEIGHT_FREE_ESTIMATOR = "multiview"
NO_SEGMENTER = "none"


class LearnedTools:
    """What lifts the clips of one worker. Used by one thread.

    Args:
        environment: Names an estimator and a segmenter (``SPATIA_ESTIMATOR``, ``SPATIA_SEGMENTER``; "none" for no
            segmenter); those whose package and weights are installed are taken if it does not.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._made: dict[str, Any] = {}

    @property
    def estimator_name(self) -> str:
        """What is taken for clips without depth."""
        named = self._environment.get(ESTIMATOR_VARIABLE)
        return named or ("mapanything" if is_mapanything_installed() else WEIGHT_FREE_ESTIMATOR)

    @property
    def segmenter_name(self) -> str:
        """What follows moving things, or "none"."""
        return self._environment.get(SEGMENTER_VARIABLE) or ("sam2" if is_sam2_installed() else NO_SEGMENTER)

    def estimator(self, anchors: Sequence[Keyframe]) -> Any:
        """The geometry estimator for a clip that brings no depth.

        Args:
            anchors: Keyframes that are known, for estimators that hang a clip on some.

        Raises:
            ValueError, MissingLibraryError: The named one cannot be had.
        """
        name = self.estimator_name
        found = self._made.get(name) or self._made.setdefault(name, ESTIMATORS.make(name))
        return found.anchored(anchors) if hasattr(found, "anchored") else found

    def segmenter(self) -> Any | None:
        """What follows moving things through a clip, or None.

        Raises:
            ValueError, MissingLibraryError: The named one cannot be had.
        """
        name = self.segmenter_name
        if name == NO_SEGMENTER:
            return None
        return self._made.get(name) or self._made.setdefault(name, SEGMENTERS.make(name))


def is_mapanything_installed() -> bool:
    """Whether package and weights are there; imported late, a worker must start quickly."""
    from ..world.slam.learned.mapanything import is_mapanything_installed as is_installed

    return is_installed()


def is_sam2_installed() -> bool:
    """Whether a package and its weights are there."""
    from ..world.slam.learned.sam2 import is_sam2_installed as is_installed

    return is_installed()
