"""The software renderer: memory drawn by compiled loops on one thread, without GL."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ..world.camera import Pinhole
from ..world.keyframes import Keyframe
from ..world.memory import MemorySnapshot
from ..world.points import priority_of
from ..world.transforms import Transform, apply, invert
from . import gaps, kernels, sampling
from .extract import KNOWN, ChunkExtractor
from .interface import DrawOptions, DrawStatistics, View
from .pages import find_candidates
from .photos import GRID, Photo, PhotoShelf, Wanted, pixel_map, unpack_photo
from .planes import Planes, PlaneStore
from .pool import PointPool

FADE_S = 0.2
"""New surface is blended in over this time."""

TICK_S = 1.0 / 60.0
"""Length of a tick of ``DrawOptions.fade_tick``."""

LONG_AGO_S = -1e9
"""When what is not new came."""

GAP_PASSES = 2
"""Times that gaps are closed, each by a pixel from all sides."""

MANY_GAPS = 0.003
"""Share of the picture's pixels that were gaps, from which another pass is worth its half millisecond."""

DEPTH_TOLERANCE = 0.04
"""A photo is sampled where its depth and the drawn one differ by less than this share. 2 % leaves patches of point
colours where sensors are noisy, 6 % draws halos along edges."""

PARALLAX_PX = 0.75
"""Or by so little that it moves the photo's pixel by less than this."""

BEYOND_PX = 4.0
"""A photo shows where memory has nothing until its surface moved by this much."""

ANY_DEPTH = 1e12
"""Slack that lets every depth pass."""

REFRESH_PICTURES = 20
"""In a live loop, drawing memory at a photo's pose (several milliseconds) waits for this many pictures."""

CLASS_TINTS = np.array([[0, 0, 0], [255, 140, 30], [70, 130, 255], [60, 210, 90]], np.float32)
"""RGB of nothing, invented, estimated, observed."""

TINT_SHARE = 0.2
"""Share of a class's colour when tinting."""


def _round_splats() -> npt.NDArray[np.int32]:
    """First column of each row of a rounded splat, for every size: discs a little wider than their square."""
    out = np.zeros((kernels.MAX_SPLAT + 1, kernels.MAX_SPLAT + 1), np.int32)
    for side in range(4, kernels.MAX_SPLAT + 1):
        offset = np.arange(side) - (side - 1) / 2
        half = np.sqrt((0.62 * side) ** 2 - offset**2)
        out[side, :side] = np.maximum(np.ceil((side - 1) / 2 - half), 0)
    return out


def _median_depth(planes: Planes) -> float:
    """Of the drawn pixels; some metres where nothing is drawn."""
    depth = planes.inner(planes.depth)[::8, ::8]
    drawn = depth[depth < kernels.FAR]
    return float(np.median(drawn)) if len(drawn) else 4.0


def _grid_surface(planes: Planes, world_T_camera: Transform, pinhole: Pinhole) -> npt.NDArray[np.float64]:
    """(N, 3) world points of a coarse grid of the drawn pixels."""
    columns = ((np.arange(GRID[0]) + 0.5) * pinhole.width / GRID[0]).astype(int)
    rows = ((np.arange(GRID[1]) + 0.5) * pinhole.height / GRID[1]).astype(int)
    z = planes.inner(planes.depth)[rows[:, None], columns[None, :]].astype(np.float64)
    x = (columns + 0.5 - pinhole.cx) / pinhole.fx * z
    y = ((rows + 0.5 - pinhole.cy) / pinhole.fy)[:, None] * z
    drawn = z < kernels.FAR
    return apply(world_T_camera, np.stack([x[drawn], y[drawn], z[drawn]], axis=1))


class SoftwareRenderer:
    """Draws memory on one thread of the processor.

    Nearest point wins in a packed z-buffer; chunks are culled, drawn front to back, and passed over when what is drawn
    already hides them. Splats follow the measured distance of a chunk's points.

    Args:
        threads: Only 1 is supported: a second core belongs to the generator.
        finest_level: Level of detail that is kept of chunks: 1 leaves one point in a block of 2 voxels' side, for small
            pictures.
    """

    name = "software"

    def __init__(self, threads: int = 1, finest_level: int = 0) -> None:
        if threads != 1:
            raise ValueError(f"threads: the software renderer draws on 1 thread, got {threads}")
        self._finest_level = finest_level
        self._pool = PointPool(finest_level)
        self._extractor = ChunkExtractor(stage=lambda chunk: self._pool.stage(chunk))
        self._left_end = _round_splats()
        self._distance = kernels.centre_distances()
        self._planes: Planes | None = None
        self._store = PlaneStore()
        self._shelf = PhotoShelf()
        self._points_revision = 0
        self._is_budgeted = False
        self._pictures = 0
        self._focus = np.zeros(3)
        self._statistics = DrawStatistics()
        self._uploaded = 0

    def update(
        self,
        snapshot: MemorySnapshot,
        keyframes: Sequence[Keyframe] = (),
        *,
        budget_s: float | None = None,
        now_s: float = LONG_AGO_S,
    ) -> bool:
        """Take over changed chunks and keyframes, nearest to the last camera first.

        Args:
            snapshot: What memory holds now.
            keyframes: Photos that may be sampled, in order of preference.
            budget_s: Stop after about this time and go on at the next call; None takes all.
            now_s: Time of ``DrawOptions.fade_tick`` in seconds; new surface fades in from here. Long ago unless given.

        Returns:
            True when everything was taken over.
        """
        self._is_budgeted = budget_s is not None
        self._shelf.update(keyframes)
        if snapshot.scene is not None:
            self._pool.reserve(snapshot.scene.max_drawn_points)
        for key in self._extractor.begin(snapshot, self._focus):
            self._pool.remove(key)
            self._points_revision += 1
        for chunk in self._extractor.take(budget_s):
            self._pool.put(chunk, now_s if chunk.is_new else LONG_AGO_S)
            self._points_revision += 1
            self._uploaded += chunk.local_q8.nbytes + chunk.color_rgba.nbytes
        return self._extractor.num_pending == 0

    def render(
        self,
        world_T_camera: Transform,
        pinhole: Pinhole,
        options: DrawOptions = DrawOptions(),  # noqa: B008 - frozen
        *,
        reuse: bool = False,
    ) -> View:
        """Draw one view.

        Args:
            world_T_camera: Camera pose.
            pinhole: Size and intrinsics of the picture.
            options: What to draw.
            reuse: Give out the renderer's own arrays, valid until the next picture, the colours with a fourth byte
                between pixels (see ``rgba``); otherwise they are fresh and contiguous.
        """
        self._focus = world_T_camera[:3, 3].copy()
        self._pictures += 1
        planes = self._planes = self._store.planes(pinhole.size)
        self._draw_surface(planes, world_T_camera, pinhole, options)
        chosen = self._choose_photos(planes, world_T_camera, pinhole, options)
        if chosen:
            self._sample_photos(planes, world_T_camera, pinhole, chosen)
        if options.fill:
            planes.fog.paint(
                planes.depth, planes.color, world_T_camera=world_T_camera, pinhole=pinhole,
                up_world=options.up_world, floor_height_m=options.floor_height_m,
            )  # fmt: skip
            self._show_photo_beyond(planes, world_T_camera, pinhole, chosen)
        if options.tint:
            sampling.tint_classes(
                planes.depth, planes.color, pinhole.width, pinhole.height, CLASS_TINTS, np.float32(TINT_SHARE)
            )
        view = planes.view if reuse else planes.fresh_view()
        kernels.finish_view(
            planes.depth, planes.color, pinhole.width, pinhole.height,
            planes.rgba, view.depth_m, view.coverage, planes.rows,
        )  # fmt: skip
        if not reuse:
            cv2.cvtColor(planes.rgba_bytes, cv2.COLOR_RGBA2RGB, dst=view.color)
        return view

    @property
    def rgba(self) -> npt.NDArray[np.uint32]:
        """(H, W) uint32 words of the last picture, red in the lowest byte, alpha 255; valid until the next picture."""
        return np.zeros((1, 1), np.uint32) if self._planes is None else self._planes.rgba

    @property
    def statistics(self) -> DrawStatistics:
        """Counts of the last picture."""
        return self._statistics

    def close(self) -> None:
        """Release the points; safe to call twice."""
        self._pool = PointPool()
        self._extractor = ChunkExtractor(stage=lambda chunk: self._pool.stage(chunk))
        self._shelf = PhotoShelf()
        self._planes = None
        self._store = PlaneStore()

    def _draw_surface(self, planes: Planes, world_T_camera: Transform, pinhole: Pinhole, options: DrawOptions) -> None:
        """Points with their small gaps closed, in ``planes.depth`` and ``planes.color``."""
        self._draw_points(planes, world_T_camera, pinhole, options)
        kernels.split_planes(planes.zbuffer, planes.depth, planes.color)
        width, height = pinhole.size
        gaps.find_cells(planes.depth, width, height, planes.low, planes.high)
        gaps.close_wide_gaps(
            planes.depth, planes.color, width, height,
            planes.low, planes.high, planes.found, planes.new_depth, planes.new_color,
        )  # fmt: skip
        gaps.close_large_gaps(
            planes.depth, planes.color, width, height, np.float32(max(pinhole.fx, pinhole.fy)), planes.large_m,
            planes.low,
        )  # fmt: skip
        for _ in range(GAP_PASSES):
            closed = gaps.close_gaps(
                planes.depth, planes.color, width, height,
                planes.flags, planes.found, planes.new_depth, planes.new_color,
            )  # fmt: skip
            if closed < MANY_GAPS * width * height:
                break
        gaps.uncover_known(
            planes.depth, planes.color, width, height, planes.zbuffer, planes.behind, planes.beside_px,
            planes.flags, planes.found,
        )  # fmt: skip

    def _choose_photos(
        self, planes: Planes, world_T_camera: Transform, pinhole: Pinhole, options: DrawOptions
    ) -> list[Photo]:
        if not options.use_keyframes or not self._shelf.num_keyframes:
            return []
        surface = _grid_surface(planes, world_T_camera, pinhole)
        photos = []
        for keyframe in self._shelf.choose(surface, world_T_camera[:3, 3], pinhole.fx):
            if priority_of(keyframe.point_class, keyframe.rank) < options.min_priority:
                continue
            make_depth = None if self._is_budgeted else self.draw_depth
            photo = self._shelf.photo(
                keyframe, pinhole.fx, self._points_revision, make_depth=make_depth, refresh=self._may_refresh()
            )
            if photo is not None:
                photos.append(photo)
        return photos

    def _sample_photos(self, planes: Planes, world_T_camera: Transform, pinhole: Pinhole, photos: list[Photo]) -> None:
        sampling.mark_pixels(planes.depth, pinhole.width, pinhole.height, 1, planes.pending)
        for photo in photos:
            shift_px = photo.parallax_px(world_T_camera)
            slack = PARALLAX_PX / max(shift_px, 1e-6)
            self._sample(planes, world_T_camera, pinhole, photo, slack, 256, float(kernels.FAR))

    def _show_photo_beyond(
        self, planes: Planes, world_T_camera: Transform, pinhole: Pinhole, photos: list[Photo]
    ) -> None:
        """Right at a photo's own place, show it where memory has nothing, too; it gives way within a few pixels."""
        if not photos:
            return
        photo = min(photos, key=lambda p: p.parallax_px(world_T_camera))
        depth = _median_depth(planes)
        strength = round(256 * (1.0 - photo.parallax_px(world_T_camera) / depth / BEYOND_PX))
        if strength > 0:
            sampling.mark_pixels(planes.depth, pinhole.width, pinhole.height, 0, planes.pending)
            self._sample(planes, world_T_camera, pinhole, photo, ANY_DEPTH, strength, depth)

    def _sample(
        self,
        planes: Planes,
        world_T_camera: Transform,
        pinhole: Pinhole,
        photo: Photo,
        slack: float,
        strength: int,
        missing_depth: float,
    ) -> None:
        sampling.sample_photo(
            planes.depth, planes.color, planes.pending, pinhole.width, pinhole.height,
            pixel_map(pinhole, world_T_camera, photo), photo.words, photo.inverse_depth,
            photo.pinhole.width, photo.pinhole.height, int(photo.keyframe.point_class),
            np.float32(DEPTH_TOLERANCE), np.float32(slack), strength, np.float32(missing_depth), planes.scratch,
        )  # fmt: skip

    def _may_refresh(self) -> bool:
        """Whether a photo's completed depth may follow memory now: always offline, now and then in a live loop."""
        is_due = self._pictures % REFRESH_PICTURES == 0 and self._extractor.num_pending == 0
        return is_due or not self._is_budgeted

    @property
    def wanted_photos(self) -> tuple[Wanted, ...]:
        """Photos that the last pictures lacked, or whose depth is older than memory, in a live loop."""
        return self._shelf.wanted

    def take_photos(self, photos: Sequence[Photo]) -> None:
        """Sample these from now on; made by ``make_photos`` of another renderer from ``wanted_photos``."""
        self._shelf.take(photos)

    def make_photos(self, wanted: Sequence[Wanted]) -> list[Photo]:
        """Unpack photos for another renderer of the same memory, which goes on drawing meanwhile."""
        return [unpack_photo(w, self.draw_depth) for w in wanted]

    def draw_depth(self, keyframe: Keyframe) -> npt.NDArray[np.float32]:
        """Memory's depth at a keyframe's pose, (H, W) float32 metres, 0 where nothing is."""
        pinhole = keyframe.pinhole
        planes, kept = Planes(pinhole.width, pinhole.height), self._statistics
        self._draw_surface(planes, keyframe.world_T_camera, pinhole, DrawOptions())
        self._statistics = kept
        depth = planes.inner(planes.depth)
        return np.where(depth < kernels.FAR, depth, np.float32(0))

    def _draw_points(self, planes: Planes, world_T_camera: Transform, pinhole: Pinhole, options: DrawOptions) -> None:
        pool, n = self._pool, self._pool.num_slots
        matrix = pinhole.matrix @ invert(world_T_camera)[:3]
        candidates = np.empty(n, np.int64)
        num = find_candidates(
            pool.slots.count[:n], pool.low, pool.high, matrix, pinhole.width, pinhole.height, candidates
        )
        some = candidates[:num]
        near, seen, box = np.empty(num), np.empty(num, np.int32), np.empty((num, 4), np.int32)
        num = kernels.cull_chunks(
            pool.slots.count[some], pool.low[some], pool.high[some], matrix, pinhole.width, pinhole.height,
            near, seen, box,
        )  # fmt: skip
        seen = some[seen[:num]].astype(np.int32)
        is_invented = pool.slots.prio_high[seen] < KNOWN
        order = np.lexsort((near[:num], is_invented))
        pool.slots.mask[seen] = self._fade_masks(seen, options)
        planes.zbuffer.fill(kernels.EMPTY)
        counts = np.zeros(3, np.int64)
        kernels.draw_points(
            pool.pages, pool.slots, kernels.Found(seen[order], near[order], box[order]),
            matrix, max(pinhole.fx, pinhole.fy), pinhole.width, pinhole.height, options.min_priority,
            float(options.max_full_points or np.inf),
            self._left_end, self._distance, planes.zbuffer, planes.tiles, planes.is_stale, planes.large_m,
            planes.beside_px, planes.behind, counts,
        )  # fmt: skip
        self._statistics = DrawStatistics(
            int(counts[0]), int(counts[1]), int(counts[2]), self._uploaded, self._extractor.num_pending
        )
        self._uploaded = 0

    def _fade_masks(self, slots: npt.NDArray[np.int32], options: DrawOptions) -> npt.NDArray[np.uint32]:
        """(S,) uint32: and-ed to the colour words; leaves how much of a fresh point is still missing, 0..63."""
        missing = np.zeros(len(slots))
        if options.fade_tick is not None:
            age_s = options.fade_tick * TICK_S - self._pool.arrival_s[slots]
            missing = np.clip(1.0 - age_s / FADE_S, 0.0, 1.0) * 63.0
        return np.uint32(0xC0FFFFFF) | missing.astype(np.uint32) << np.uint32(24)
