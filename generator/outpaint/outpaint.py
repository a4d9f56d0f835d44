"""The embedded generator: fills what key views lack, without weights."""

import time

import numpy as np

from ..requests import Clip, ClipRequest, Progress, SceneVideo
from .fill import fill_view


class OutpaintGenerator:
    """Fills the holes of key views in colour and depth, deterministic for the request's seed."""

    name = "outpaint"
    rank = 2
    native_speed = None
    wants_key_views = True

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """Fill every requested view; see ``Generator.generate``."""
        started = time.perf_counter()
        views = []
        for i in range(request.num_frames):
            progress.check("fill", i / request.num_frames)
            views.append(
                fill_view(
                    scene.color[i],
                    scene.depth_m[i],
                    scene.coverage[i],
                    request.pinhole,
                    seed=request.seed + i,
                    progress=None,
                )
            )
        progress.check("fill", 1.0)
        return Clip(
            np.stack([v.color for v in views]),
            np.stack([v.depth_m for v in views]),
            np.stack([v.confidence for v in views]),
            new_surface=np.stack([v.new_surface for v in views]),
            seconds={"fill": time.perf_counter() - started},
        )
