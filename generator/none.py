"""The generator that adds nothing: memory only."""

import numpy as np

from .requests import Clip, ClipRequest, Progress, SceneVideo


class NoneGenerator:
    """Gives back the scene video as it is."""

    name = "none"
    rank = 0
    native_speed = None
    wants_key_views = True

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """Return memory's own pictures; nothing is new, so nothing is merged."""
        progress.check("memory", 1.0)
        nothing = np.zeros(scene.coverage.shape, bool)
        return Clip(scene.color, scene.depth_m, new_surface=nothing)
