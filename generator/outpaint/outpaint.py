"""The embedded generator: fills what key views lack, without weights, and closes the place around what is known."""

import time
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ...world.camera import Pinhole, unproject
from ...world.memory import MemorySnapshot
from ...world.transforms import Transform, apply, invert
from ..requests import Clip, ClipRequest, Progress, ReferenceFrame, SceneVideo
from .fill import FilledView, fill_view, known_pixels
from .outdoor import model_outdoor
from .panorama import is_stage_set, make_stage
from .place import PlaceModel, model_place, render_place

NEAR_PX = 40.0
"""What lacks no further than this from the known is answered without a place model, unless there is one already."""
NEAR_SLACK = 0.002
"""Share of the pixels that may lie further off all the same."""
MIN_SCENE_COVERAGE = 0.3
"""Without photos a rendered view that covers this much stands in for one."""
PLACE_SHARE = 0.6
"""Share of the progress that a place model takes."""
MAX_PLACES = 3
BOX_MARGIN_M = 1.0
CARRIED_CONFIDENCE = 0.4
CARRIED_SPACING = 1.4
"""Side of a carried point in pixels of the view that it comes from."""


@dataclass(frozen=True, slots=True)
class _PartOfProgress:
    """Reports a part of a longer task on the whole's scale."""

    whole: Progress
    first: float
    last: float

    def check(self, phase: str, fraction: float) -> None:
        """See ``Progress.check``."""
        self.whole.check(phase, self.first + (self.last - self.first) * min(max(fraction, 0.0), 1.0))


@dataclass(frozen=True, slots=True)
class _PlaceKey:
    """What a place model was made from: its first photo, and the seed of a re-rolled one."""

    keyframe_id: int
    photo_crc: int
    reroll_seed: int


class OutpaintGenerator:
    """Fills the holes of key views in colour and depth; the same request gives the same clip.

    It keeps the model of the place between requests. The model depends on the photos among the references alone: those
    with depth, the lowest identity first, so a request should always hold the source's keyframes.
    """

    name = "outpaint"
    rank = 2
    native_speed = None
    wants_key_views = True

    def __init__(self) -> None:
        self._places: dict[_PlaceKey, PlaceModel | None] = {}
        self._modelled: dict[tuple[object, ...], PlaceModel | None] = {}

    def remember(self) -> object:
        """What it keeps between requests: the places in use, by reference."""
        return dict(self._places)

    def recall(self, state: object) -> None:
        """Go back to what ``remember`` gave, None for a new generator; models of places are not made twice."""
        self._places = dict(state) if isinstance(state, dict) else {}

    def prepare(self, request: ClipRequest, progress: Progress) -> None:
        """Model the place of the request's photos, so that no request has to wait for it. See ``Generator``."""
        photos = _referenced(request)
        if photos:
            self._keep_place(photos, request, _place_key(photos, 0), progress)

    def generate(self, request: ClipRequest, scene: SceneVideo, progress: Progress) -> Clip:
        """Fill every requested view; what is new in one is known in the next. See ``Generator.generate``."""
        started = time.perf_counter()
        place, start = self._place_for(request, scene, progress)
        place_done = time.perf_counter()
        views: list[FilledView] = []
        carried: list[PlaceModel] = []
        for i in range(request.num_frames):
            span = (1.0 - start) / request.num_frames
            part = _PartOfProgress(progress, start + span * i, start + span * (i + 1))
            view = _fill_frame(request, scene, i, place, carried, part)
            views.append(view)
            if i + 1 < request.num_frames:
                carried.append(_lift_new(view, request.pinhole, request.world_T_camera[i]))
        progress.check("fill", 1.0)
        return Clip(
            np.stack([v.color for v in views]),
            np.stack([v.depth_m for v in views]),
            np.stack([v.confidence for v in views]),
            new_surface=np.stack([v.new_surface for v in views]),
            seconds={"place": place_done - started, "fill": time.perf_counter() - place_done},
        )

    def _place_for(
        self, request: ClipRequest, scene: SceneVideo, progress: Progress
    ) -> tuple[PlaceModel | None, float]:
        """The place model if it is there or worth waiting for, and the progress that was spent on it."""
        photos = _photos(request, scene)
        if not photos:
            return None, 0.0
        reroll = request.seed if request.purpose == "reroll" else 0
        key = _place_key(photos, reroll)
        if key in self._places:
            return self._places[key], 0.0
        if not reroll:
            for place in self._places.values():
                if place is not None and _holds(place, request.world_T_camera):
                    return place, 0.0
        if not _reaches_far(scene):
            return None, 0.0
        place = self._keep_place(photos, request, key, _PartOfProgress(progress, 0.0, PLACE_SHARE))
        return place, PLACE_SHARE

    def _keep_place(
        self, photos: list[ReferenceFrame], request: ClipRequest, key: _PlaceKey, progress: Progress
    ) -> PlaceModel | None:
        """Model a place and keep it for later requests."""
        place = self._model_once(photos, request, key, progress)
        while len(self._places) >= MAX_PLACES:
            del self._places[next(iter(self._places))]
        self._places[key] = place
        return place

    def _model_once(
        self, photos: list[ReferenceFrame], request: ClipRequest, key: _PlaceKey, progress: Progress
    ) -> PlaceModel | None:
        """The model of a place, from an earlier time if it was made from the same."""
        crcs = tuple((p.keyframe_id, zlib.crc32(p.color.tobytes())) for p in photos)
        made_from = (key, crcs, request.up_world, request.floor, request.memory.voxel_size_m)
        if made_from not in self._modelled:
            while len(self._modelled) >= MAX_PLACES:
                del self._modelled[next(iter(self._modelled))]
            self._modelled[made_from] = _model(photos, request, key, progress)
        return self._modelled[made_from]


def _photos(request: ClipRequest, scene: SceneVideo) -> list[ReferenceFrame]:
    """Observed references with depth by identity; others with depth if there are none, or a rendered view."""
    photos = _referenced(request)
    if photos:
        return photos
    shares = [float(known_pixels(scene.depth_m[i], scene.coverage[i]).mean()) for i in range(request.num_frames)]
    best = int(np.argmax(shares))
    if shares[best] < MIN_SCENE_COVERAGE:
        return []
    depth = np.where(known_pixels(scene.depth_m[best], scene.coverage[best]), scene.depth_m[best], 0.0)
    pose = request.world_T_camera[best]
    return [ReferenceFrame(scene.color[best], depth.astype(np.float32), request.pinhole, pose, True)]


def _referenced(request: ClipRequest) -> list[ReferenceFrame]:
    """Observed references with depth by identity; others with depth if there are none."""
    usable = [r for r in request.references if r.depth_m is not None and np.count_nonzero(r.depth_m) > 500]
    photos = [r for r in usable if r.is_observed] or usable
    return sorted(photos, key=lambda r: r.keyframe_id)


def _place_key(photos: list[ReferenceFrame], reroll_seed: int) -> _PlaceKey:
    return _PlaceKey(photos[0].keyframe_id, zlib.crc32(photos[0].color.tobytes()), reroll_seed)


def _reaches_far(scene: SceneVideo) -> bool:
    """True if a view lacks more than a rim around the known."""
    for depth_m, coverage in zip(scene.depth_m, scene.coverage, strict=True):
        unknown = (~known_pixels(depth_m, coverage)).astype(np.uint8)
        if unknown.all():
            return True
        distance = cv2.distanceTransform(unknown, cv2.DIST_L2, 3)
        if np.mean(distance > NEAR_PX) > NEAR_SLACK:
            return True
    return False


def _holds(place: PlaceModel, world_T_camera: npt.NDArray[np.float64]) -> bool:
    """True if all cameras stand in the place's walkable box or close to it."""
    at = apply(invert(place.world_T_room), world_T_camera[:, :3, 3])
    flat_low, flat_high = place.inside_low[[0, 2]] - BOX_MARGIN_M, place.inside_high[[0, 2]] + BOX_MARGIN_M
    return bool(np.all((at[:, [0, 2]] >= flat_low) & (at[:, [0, 2]] <= flat_high)))


def _model(photos: list[ReferenceFrame], request: ClipRequest, key: _PlaceKey, progress: Progress) -> PlaceModel | None:
    """A room where walls were measured, otherwise an open place; from photos alone: the frusta must not matter."""
    nothing = MemorySnapshot(request.memory.voxel_size_m, 0, {})
    seed = (key.photo_crc ^ key.reroll_seed) & 0x7FFFFFFF
    is_scenery = is_stage_set(photos[0], make_stage(photos[0], request.up_world, request.floor))
    for build in (model_outdoor,) if is_scenery else (model_place, model_outdoor):
        place = build(photos, nothing, up_world=request.up_world, floor=request.floor, seed=seed, progress=progress)
        if place is not None and len(place):
            return place
    return None


def _fill_frame(
    request: ClipRequest,
    scene: SceneVideo,
    index: int,
    place: PlaceModel | None,
    carried: list[PlaceModel],
    progress: Progress,
) -> FilledView:
    """Fill one view; surface that earlier views of the request added counts as known, but not as new."""
    pose, pinhole = request.world_T_camera[index], request.pinhole
    color, depth_m, coverage = scene.color[index], scene.depth_m[index], scene.coverage[index]
    known = known_pixels(depth_m, coverage)
    before = np.zeros(known.shape, bool)
    progress.check("fill", 0.0)
    if known.all():
        return FilledView(color, depth_m, before, np.ones(known.shape, np.float32))
    for points in carried:
        old_color, old_m = render_place(points, pinhole, pose)
        shown = ~known & (old_m > 0) & ~(before & (depth_m <= old_m))
        color = np.where(shown[..., None], old_color, color)
        depth_m = np.where(shown, old_m, depth_m)
        before |= shown
    coverage = np.where(before, 1.0, coverage).astype(np.float32)
    backdrop = None if place is None else render_place(place, pinhole, pose)
    view = fill_view(color, depth_m, coverage, pinhole, backdrop=backdrop, seed=request.seed + index, progress=progress)
    confidence = np.where(before, CARRIED_CONFIDENCE, view.confidence).astype(np.float32)
    return FilledView(view.color, view.depth_m, view.new_surface, confidence)


def _lift_new(view: FilledView, pinhole: Pinhole, world_T_camera: Transform) -> PlaceModel:
    """The new surface of a view as points that the next views can draw."""
    depth = np.where(view.new_surface, view.depth_m, 0.0).astype(np.float32)
    spacing = (CARRIED_SPACING / pinhole.fx * depth[depth > 0]).astype(np.float32)
    points, colors = unproject(depth, pinhole, world_T_camera), view.color[depth > 0]
    return PlaceModel("view", points, colors, spacing, np.eye(4), np.zeros(3), np.zeros(3))
