"""Keyframes as photos that a picture may sample: how they are kept, and which of them to use for a view."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.keyframes import Keyframe
from ..world.points import PointClass
from ..world.transforms import Transform, invert

MAX_PACKED = 8
"""Photos kept unpacked at once; about 3 MB each at 832x480."""

MAX_CHOSEN = 3
"""Photos sampled for one picture; each costs about 2 ms at 832x480."""

BLOCKED = 1e9
"""Inverse depth of pixels that must not be sampled."""

GRID = (12, 8)
"""Columns and rows of the pixels whose surface decides which photos are near."""

MAX_LIKELY = 24
"""Keyframes that are tried on the whole grid."""

FEW_POINTS = 8
"""Points of the grid that all keyframes are tried on."""

MIN_GAIN = 0.03
"""A photo must be good for at least this share of the grid."""

CLASS_WEIGHT = {PointClass.OBSERVED: 1.0, PointClass.ESTIMATED: 0.8, PointClass.INVENTED: 0.6}

DepthMaker = Callable[[Keyframe], npt.NDArray[np.float32]]
"""Draws memory's depth at a keyframe's pose, (H, W) float32 metres, 0 where nothing is."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A photo that is yet to be made: of which keyframe, shrunk by how much, from which revision of the points."""

    keyframe: Keyframe
    level: int
    revision: int


@dataclass(slots=True, eq=False)
class Photo:
    """A keyframe unpacked for sampling.

    Attributes:
        keyframe: What it was made from.
        level: Quarter octaves that it was shrunk by.
        pinhole: Intrinsics of the pixels below, which may be fewer than the keyframe's.
        words: (h * w,) uint32, red in the lowest byte.
        inverse_depth: (h * w,) float32, 1/m; 0 unknown, ``BLOCKED`` where something moves.
        depth_revision: Revision of the drawn points that unknown depth was completed from; -1 if none was needed.
    """

    keyframe: Keyframe
    level: int
    pinhole: Pinhole
    words: npt.NDArray[np.uint32]
    inverse_depth: npt.NDArray[np.float32]
    depth_revision: int

    def parallax_px(self, world_T_camera: Transform) -> float:
        """Pixels by which a surface at 1 m moves between the photo's place and another."""
        return self.pinhole.fx * float(np.linalg.norm(self.keyframe.world_T_camera[:3, 3] - world_T_camera[:3, 3]))


class PhotoShelf:
    """The keyframes that may be sampled, and the photos unpacked from them."""

    def __init__(self) -> None:
        self._keyframes: tuple[Keyframe, ...] = ()
        self._packed: OrderedDict[tuple[int, int], Photo] = OrderedDict()
        self._wanted: dict[tuple[int, int], Wanted] = {}
        self._camera_T_world = np.zeros((0, 4, 4))
        self._intrinsics = np.zeros((0, 6))
        self._weights = np.zeros(0)

    @property
    def num_keyframes(self) -> int:
        """Keyframes that may be sampled."""
        return len(self._keyframes)

    def update(self, keyframes: Sequence[Keyframe]) -> None:
        """Take over the present keyframes (references)."""
        usable = tuple(k for k in keyframes if k.pinhole.width > 1 and k.pinhole.height > 1)
        if len(usable) == len(self._keyframes) and all(a is b for a, b in zip(usable, self._keyframes, strict=True)):
            return
        self._keyframes = usable
        alive = {id(k) for k in usable}
        for key in [k for k, photo in self._packed.items() if id(photo.keyframe) not in alive]:
            del self._packed[key]
        self._wanted = {key: w for key, w in self._wanted.items() if id(w.keyframe) in alive}
        if usable:
            self._camera_T_world = invert(np.stack([k.world_T_camera for k in usable]))
            rows = [(p.width, p.height, p.fx, p.fy, p.cx, p.cy) for p in (k.pinhole for k in usable)]
            self._intrinsics = np.array(rows, np.float64)
            self._weights = np.array([CLASS_WEIGHT[k.point_class] for k in usable])

    def choose(
        self, surface_world: npt.NDArray[np.float64], eye_world: npt.NDArray[np.float64], focal: float
    ) -> list[Keyframe]:
        """Keyframes worth sampling for a view, the first to be used first.

        Greedy: each is the one that serves most of the surface that those before it do not. It serves a point well
        when it looks at it from nearly the same direction and at least as closely.

        Args:
            surface_world: (N, 3) some visible points.
            eye_world: (3,) position of the view.
            focal: Its focal length in pixels.
        """
        if not self._keyframes or len(surface_world) == 0:
            return []
        likely = self._likely(surface_world, eye_world, focal)
        quality = self._quality(likely, surface_world, eye_world, focal)
        open_share = np.full(len(surface_world), 1.0 / len(surface_world))
        chosen: list[int] = []
        while len(chosen) < MAX_CHOSEN:
            gains = quality @ open_share
            gains[chosen] = 0.0
            best = int(np.argmax(gains))
            if gains[best] < MIN_GAIN:
                break
            chosen.append(best)
            open_share *= quality[best] < 0.1
        keyframes = [self._keyframes[likely[k]] for k in chosen]
        return sorted(keyframes, key=lambda k: -int(k.point_class))

    def _likely(
        self, surface_world: npt.NDArray[np.float64], eye_world: npt.NDArray[np.float64], focal: float
    ) -> npt.NDArray[np.intp]:
        """Indices of the keyframes that serve a few of the points best, so that not all are tried on all points."""
        everyone = np.arange(len(self._keyframes))
        if len(everyone) <= MAX_LIKELY:
            return everyone
        few = surface_world[:: max(1, len(surface_world) // FEW_POINTS)]
        served = self._quality(everyone, few, eye_world, focal).sum(1)
        return np.sort(np.argsort(-served, kind="stable")[:MAX_LIKELY])

    def _quality(
        self,
        indices: npt.NDArray[np.intp],
        surface_world: npt.NDArray[np.float64],
        eye_world: npt.NDArray[np.float64],
        focal: float,
    ) -> npt.NDArray[np.float64]:
        """(K, N) in [0, 1]: how well each of K keyframes serves each point."""
        rotation, translation = self._camera_T_world[indices, :3, :3], self._camera_T_world[indices, :3, 3]
        points = np.einsum("kij,nj->kni", rotation, surface_world) + translation[:, None]
        width, height, fx, fy, cx, cy = (self._intrinsics[indices, i, None] for i in range(6))
        z = np.maximum(points[..., 2], 1e-6)
        u, v = fx * points[..., 0] / z + cx, fy * points[..., 1] / z + cy
        inside = (points[..., 2] > 0.05) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
        eye = np.einsum("kij,j->ki", rotation, eye_world) + translation
        to_eye = points - eye[:, None]
        distance, distance_eye = np.linalg.norm(points, axis=-1), np.linalg.norm(to_eye, axis=-1)
        cosine = (points * to_eye).sum(-1) / np.maximum(distance * distance_eye, 1e-9)
        sharpness = np.minimum(fx * distance_eye / np.maximum(focal * distance, 1e-9), 1.0)
        angle = np.clip(2.0 * cosine - 1.0, 0.0, 1.0)
        return inside * angle * np.where(sharpness > 0.15, sharpness, 0.0) * self._weights[indices, None]

    def photo(
        self, keyframe: Keyframe, focal: float, revision: int, *, make_depth: DepthMaker | None, refresh: bool
    ) -> Photo | None:
        """The unpacked photo of a keyframe, or None if it is yet to be made.

        Args:
            keyframe: One of those given to ``update``.
            focal: Focal length of the view; a much finer photo is shrunk towards it.
            revision: Of the points that ``make_depth`` draws.
            make_depth: Draws memory's depth where the keyframe's own is unknown; None where nobody may wait for it:
                the photo is then ``wanted``, and meanwhile the one at hand is given.
            refresh: Complete the depth again if the points changed since.
        """
        level = shrink_level(keyframe.pinhole.fx / focal)
        key = (id(keyframe), level)
        photo = self._packed.get(key)
        if photo is not None:
            self._packed.move_to_end(key)
        is_stale = photo is not None and photo.depth_revision not in (-1, revision)
        if photo is None or (is_stale and refresh):
            wanted = Wanted(keyframe, level, revision)
            if make_depth is None:
                self._wanted[key] = wanted
                photo = photo or self._other_level(keyframe)
            else:
                photo = unpack_photo(wanted, make_depth)
                self.take([photo])
        return photo

    def _other_level(self, keyframe: Keyframe) -> Photo | None:
        """The keyframe's photo as it was last shrunk, while the one for this view is made."""
        return next((p for p in reversed(self._packed.values()) if p.keyframe is keyframe), None)

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """Photos that ``photo`` could not give, or not of the present revision; until they are taken."""
        return tuple(self._wanted.values())

    def take(self, photos: Sequence[Photo]) -> None:
        """Give these out from now on; those of keyframes that are gone are dropped."""
        alive = {id(k) for k in self._keyframes}
        for photo in photos:
            key = (id(photo.keyframe), photo.level)
            self._wanted.pop(key, None)
            if key[0] in alive:
                self._packed[key] = photo
                self._packed.move_to_end(key)
        while len(self._packed) > MAX_PACKED:
            self._packed.popitem(last=False)


def shrink_level(ratio: float) -> int:
    """Quarter octaves that a photo is shrunk by when it has ``ratio`` of its pixels for one of the view's."""
    return max(0, int(np.floor(np.log2(max(ratio, 1e-6)) * 4 + 0.35)))


def unpack_photo(wanted: Wanted, make_depth: DepthMaker) -> Photo:
    """Make a photo; ``make_depth`` is called where the keyframe's own depth is unknown. Any thread."""
    keyframe, level = wanted.keyframe, wanted.level
    inverse, completed = _inverse_depth(keyframe, make_depth)
    color, pinhole = keyframe.color, keyframe.pinhole
    if level > 0:
        scale = 2.0 ** (-level / 4)
        width, height = max(2, round(pinhole.width * scale)), max(2, round(pinhole.height * scale))
        color = cv2.resize(color, (width, height), interpolation=cv2.INTER_AREA)
        inverse = cv2.resize(inverse, (width, height), interpolation=cv2.INTER_NEAREST)
        pinhole = pinhole.resized(width, height)
    words = cv2.cvtColor(np.ascontiguousarray(color), cv2.COLOR_RGB2RGBA).view(np.uint32).reshape(-1)
    depth = np.asarray(inverse, np.float32).reshape(-1)
    return Photo(keyframe, level, pinhole, words, depth, wanted.revision if completed else -1)


def _inverse_depth(keyframe: Keyframe, make_depth: DepthMaker) -> tuple[npt.NDArray[np.float32], bool]:
    """(H, W) float32 inverse depth, and whether memory had to complete it."""
    depth = keyframe.depth_m
    completed = depth is None or bool((depth <= 0).mean() > 0.005)
    if depth is None:
        depth = make_depth(keyframe)
    elif completed:
        depth = np.where(depth > 0, depth, make_depth(keyframe))
    inverse = np.where(depth > 0, 1.0 / np.maximum(depth, 1e-6), 0.0).astype(np.float32)
    if keyframe.moving is not None:
        inverse[keyframe.moving] = BLOCKED
    return inverse, completed


def pixel_map(pinhole: Pinhole, world_T_camera: Transform, photo: Photo) -> npt.NDArray[np.float32]:
    """(12,) float32 of ``kernels.sample_photo``: how a view's pixels with depth land in a photo."""
    photo_T_view = invert(photo.keyframe.world_T_camera) @ world_T_camera
    k = photo.pinhole.matrix
    m = k @ photo_T_view[:3, :3] @ np.linalg.inv(pinhole.matrix)
    return np.concatenate([m.ravel(), k @ photo_T_view[:3, 3]]).astype(np.float32)
