"""Learned help for lifting clips: an estimator and a segmenter, loaded when they are first needed and kept."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..world.keyframes import Keyframe
from ..world.slam.learned.mapanything import is_mapanything_installed
from ..world.slam.learned.sam2 import is_sam2_installed
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
        self.estimator_name = environment.get(ESTIMATOR_VARIABLE) or (
            "mapanything" if is_mapanything_installed() else WEIGHT_FREE_ESTIMATOR
        )
        self.segmenter_name = environment.get(SEGMENTER_VARIABLE) or ("sam2" if is_sam2_installed() else NO_SEGMENTER)
        self._made: dict[str, Any] = {}

    def estimator(self, anchors: Sequence[Keyframe]) -> Any:
        """The geometry estimator for a clip that brings no depth.

        Args:
            anchors: Keyframes that are known, for estimators that hang a clip on some.

        Raises:
            ValueError, MissingLibraryError: The named one cannot be had.
        """
        if self.estimator_name not in self._made:
            self._made[self.estimator_name] = ESTIMATORS.make(self.estimator_name)
        found = self._made[self.estimator_name]
        return found.anchored(anchors) if hasattr(found, "anchored") else found

    def segmenter(self) -> Any | None:
        """What follows moving things through a clip, or None.

        Raises:
            ValueError, MissingLibraryError: The named one cannot be had.
        """
        if self.segmenter_name == NO_SEGMENTER:
            return None
        if self.segmenter_name not in self._made:
            self._made[self.segmenter_name] = SEGMENTERS.make(self.segmenter_name)
        return self._made[self.segmenter_name]
