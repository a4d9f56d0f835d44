"""The procedural generator: pictures an endless place, of which everything is known, at the poses asked for."""

import time
from typing import ClassVar

import numpy as np

from ..requests import Clip, ClipRequest, Progress, SceneVideo
from .place import Place, PlaceSpec

COVERED = 0.5
"""Share of coverage from which memory counts as having a pixel."""
FRAMES_PER_S = 24.0
"""Of a clip."""
SKY_M = 90.0
"""How far off a clip puts the sky, so that memory can hold it; it is seen through, and so removed, from nearer by."""
SKY_CONFIDENCE = 0.1
TOLERANCE = 0.03
"""Memory further off the place's depth than this share shows something else and counts as missing."""


class ProceduralGenerator:
    """Pictures the place that ``request.place`` names, such as ``rooms:7:day``, with its exact depth.

    The place stands still but for its movers, whose pixels are marked. The sky gets a far distance. A request without
    a name gets ``rooms:0:day``.

    Args:
        with_depth: False gives pictures alone, so that depth, what moves and what is new have to be found.
        threads: How many share a picture's work.
    """

    name: ClassVar[str] = "procedural"
    rank: ClassVar[int] = 3
    native_speed: ClassVar[tuple[float, float] | None] = None
    wants_key_views: ClassVar[bool] = True

    def __init__(self, *, with_depth: bool = True, threads: int = 1) -> None:
        self._with_depth = with_depth
        self._threads = threads
        self._place: Place | None = None

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """Picture every requested pose. See ``Generator.generate``."""
        started = time.perf_counter()
        progress.check("place", 0.0)
        place = self._place_of(request, progress)
        ready = time.perf_counter()
        views = []
        for k, pose in enumerate(request.world_T_camera):
            progress.check("picture", 0.5 + 0.5 * k / request.num_frames)
            at_s = request.time_s + k / FRAMES_PER_S
            views.append(place.render(pose, request.pinhole, at_s, self._threads))
        progress.check("picture", 1.0)
        seconds = {"place": ready - started, "picture": time.perf_counter() - ready}
        frames = np.stack([v.color for v in views])
        if not self._with_depth:
            return Clip(frames, seconds=seconds)
        depth_m, moving = np.stack([v.depth_m for v in views]), np.stack([v.moving for v in views])
        is_sky = depth_m == 0
        rays = request.pinhole.rays()
        sky_m = (SKY_M / np.linalg.norm(rays, axis=-1)).astype(np.float32)
        depth_m = np.where(is_sky, sky_m, depth_m)
        differs = np.abs(scene.depth_m - depth_m) > TOLERANCE * depth_m
        is_new = ((scene.coverage < COVERED) | (differs & ~is_sky)) & ~moving
        confidence = np.where(is_sky, SKY_CONFIDENCE, 1.0).astype(np.float32)
        return Clip(frames, depth_m, confidence, moving=moving, new_surface=is_new, is_exact=True, seconds=seconds)

    def _place_of(self, request: ClipRequest, progress: Progress) -> Place:
        spec = PlaceSpec.parse(request.place) if request.place else PlaceSpec()
        if self._place is None or self._place.spec != spec:
            self._place = Place(spec, lambda what, share: progress.check(what, 0.5 * share))
        return self._place
