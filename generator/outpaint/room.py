"""A room around what a photo saw: a closed box whose walls, floor and ceiling look like the known ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from ...world.camera import unproject
from ...world.ground import fit_floor
from ...world.memory import MemorySnapshot
from ...world.points import PointClass, class_of
from ...world.transforms import invert
from ..requests import Progress, ReferenceFrame
from .flats import ceiling_surface, floor_surface
from .layout import RoomLayout, find_layout
from .place import PlaceModel
from .quilt import Guide, PatchRule, Source, complete, texture
from .relief import (
    RELIEF_WEIGHT,
    Surface,
    WallFrame,
    WallMap,
    draw_wall,
    nearest_filled,
    supported,
    wall_frames,
    wall_surface,
    without_spikes,
)
from .strips import Exemplar, Stretch, fill_stretch

TEXEL_RANGE_M = (0.0065, 0.010)
"""Walls are made as fine as they were seen, within this."""
FLOOR_TEXEL_M, CEILING_TEXEL_M = 0.008, 0.010
SEAM_M = 0.10
"""Overlap of neighbouring strips."""
COLUMN_SHARE = 0.25
"""A column known to this share of the band's height can be completed; others are replaced."""
STRUCTURE_TOP_M = 2.0
"""Shelves and cupboards seldom reach higher; above them the bare wall goes on."""
FADE_ROWS = 5
"""Rows over which known wall passes into painted wall."""
HIDDEN_BEHIND = 1.012
"""Invented surface stays this factor behind what a photo saw."""
PUSH_MAX_M = 0.12
"""Surface that would have to move back more than this is left out; the backing behind it closes the view."""
MIN_BAND_M, MIN_RUN_M = 0.6, 0.5
"""Least height and width of known wall to work from."""
BACKING_M = 0.04
"""Depth of the plain backing behind the relief."""


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Known surface: points in the world frame with the extent of their pixels."""

    positions_world: npt.NDArray[np.float32]
    colors: npt.NDArray[np.uint8]
    spacing_m: npt.NDArray[np.float32]


def close_room(
    references: Sequence[ReferenceFrame],
    memory: MemorySnapshot,
    *,
    up_world: npt.ArrayLike,
    floor: tuple[float, float, float, float] | None,
    seed: int,
    progress: Progress,
) -> PlaceModel | None:
    """See ``place.model_place``."""
    progress.check("room: known surface", 0.0)
    photos = [r for r in references if r.is_observed and r.depth_m is not None]
    known = _gather(photos, memory)
    if not photos or len(known.positions_world) < 2000:
        return None
    pose = photos[0].world_T_camera
    floor = floor or _floor_of(known, up_world, pose[:3, 3], seed)
    if floor is None:
        return None
    layout = find_layout(known.positions_world, floor=floor, world_T_camera=pose)
    if layout is None:
        return None
    return _Builder(photos, known, layout, seed, progress).build()


def _gather(photos: Sequence[ReferenceFrame], memory: MemorySnapshot) -> _Known:
    """Photos' own pixels, and what memory holds that was observed or estimated."""
    parts = [_lift(p) for p in photos]
    held = memory.points()
    real = class_of(held.priority) >= PointClass.ESTIMATED
    if real.any() and (len(photos) > 1 or not parts):
        count = int(real.sum())
        spacing = np.full(count, memory.voxel_size_m, np.float32)
        parts.append(_Known(held.positions_world[real], held.colors[real], spacing))
    if not parts:
        nothing = np.zeros((0, 3), np.float32)
        return _Known(nothing, nothing.astype(np.uint8), nothing[:, 0])
    return _Known(
        np.concatenate([p.positions_world for p in parts]),
        np.concatenate([p.colors for p in parts]),
        np.concatenate([p.spacing_m for p in parts]),
    )


def _lift(photo: ReferenceFrame) -> _Known:
    """A photo's pixels as points, without those that hang between two surfaces."""
    assert photo.depth_m is not None
    depth = behind_filled(solid_depth(photo.depth_m))
    spacing = depth[depth > 0] / photo.pinhole.fx * 1.15
    return _Known(
        unproject(depth, photo.pinhole, photo.world_T_camera), photo.color[depth > 0], spacing.astype(np.float32)
    )


def solid_depth(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Depth without flying pixels: those with fewer than 10 of 24 neighbours within 2 %.

    Args:
        depth_m: (H, W) metres, 0 unknown.

    Returns:
        (H, W) float32, 0 where unknown or flying. Fresh memory.
    """
    padded = np.pad(depth_m, 2)
    h, w = depth_m.shape
    count = np.zeros((h, w), np.uint8)
    tolerance = 0.02 * depth_m
    for dy in range(5):
        for dx in range(5):
            if dy != 2 or dx != 2:
                count += np.abs(padded[dy : dy + h, dx : dx + w] - depth_m) < tolerance
    return np.where((depth_m > 0) & (count >= 10), depth_m, 0.0).astype(np.float32)


def behind_filled(depth_m: npt.NDArray[np.float32], reach: int = 24) -> npt.NDArray[np.float32]:
    """Depth with its small gaps closed from the far side: mostly they are what one of a stereo pair could not see.

    Args:
        depth_m: (H, W) metres, 0 unknown.
        reach: Farthest known pixel that is looked at, along rows and columns.

    Returns:
        (H, W) float32; the farthest of the nearest known depths in four directions, 0 where fewer than two are near.
    """
    sides = []
    for turned in (depth_m, depth_m[:, ::-1], depth_m.T, depth_m.T[:, ::-1]):
        columns = np.arange(turned.shape[1])[None]
        last = np.maximum.accumulate(np.where(turned > 0, columns, -reach - 1), axis=1)
        value = np.take_along_axis(turned, np.maximum(last, 0), 1)
        sides.append(np.where(columns - last <= reach, value, 0.0))
    found = np.stack([sides[0], sides[1][:, ::-1], sides[2].T, sides[3][:, ::-1].T])
    filled = np.where((found > 0).sum(0) >= 2, found.max(0), 0.0)
    return np.where(depth_m > 0, depth_m, filled).astype(np.float32)


def _floor_of(
    known: _Known, up_world: npt.ArrayLike, eye: npt.NDArray[np.float64], seed: int
) -> tuple[float, float, float, float] | None:
    """Fit the floor's plane."""
    up = np.asarray(up_world, np.float64)
    found = fit_floor(
        known.positions_world,
        up_hint=(float(up[0]), float(up[1]), float(up[2])),
        camera_position=(float(eye[0]), float(eye[1]), float(eye[2])),
        seed=seed,
    )
    return None if found is None else (*found.plane.normal, found.plane.offset_m)


@dataclass(slots=True, eq=False)
class _Builder:
    """One room in the making."""

    photos: list[ReferenceFrame]
    known: _Known
    layout: RoomLayout
    seed: int
    progress: Progress

    def build(self) -> PlaceModel | None:
        """All surfaces, joined and cut where the photos know better."""
        room = self._room_points()
        self.progress.check("room: walls seen", 0.05)
        texel = self._texel(room)
        frames = wall_frames(self.layout)
        seen = self._seen_walls(frames, texel, room)
        best = self.layout.best_wall
        best_wall = seen[best]
        band = 0 if best_wall is None else _band_of(best_wall)
        if best_wall is None or band == 0:
            return None
        self.progress.check("room: completing a wall", 0.15)
        exemplar, run = self._exemplar(best_wall, band)
        pitch = vertical_pitch(exemplar.band, exemplar.overlap)
        source = Source.mirrored(exemplar.band, np.ones(exemplar.band.shape[:2], bool))
        plain = Source.mirrored(_flattened(exemplar.band), plain_parts(exemplar.band))
        maps = []
        for i in [best, *(k for k in range(4) if k != best)]:
            self.progress.check("room: walls", 0.3 + 0.1 * len(maps))
            own_run = run if i == best else None
            maps.append(self._finish_wall(i, frames[i], seen[i], exemplar, band, own_run, pitch, source, plain))
        self.progress.check("room: floor", 0.7)
        surfaces = [wall_surface(m) for m in maps]
        backing = [_backing(m) for m in maps]
        floor = floor_surface(
            room,
            Surface.concatenate(surfaces).points_room,
            self.known.colors,
            self._footprint(room),
            self.layout.low,
            self.layout.high,
            FLOOR_TEXEL_M,
            np.random.default_rng([self.seed, 11]),
        )
        self.progress.check("room: ceiling", 0.85)
        ceiling = self._ceiling(exemplar)
        self.progress.check("room: joining", 0.92)
        shaded = _shaded(Surface.concatenate([*surfaces, ceiling]), self.layout)
        return self._model(shaded, Surface.concatenate([*backing, floor]))

    def _room_points(self) -> npt.NDArray[np.float32]:
        """Known points in room axes."""
        r = self.layout.world_T_room
        return ((self.known.positions_world - r[:3, 3].astype(np.float32)) @ r[:3, :3].astype(np.float32)).astype(
            np.float32
        )

    def _footprint(self, room: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Extent of a pixel on level ground."""
        distance = np.hypot(room[:, 0], room[:, 2])
        return (self.known.spacing_m * np.maximum(1.0, distance / self.layout.eye_m)).astype(np.float32)

    def _texel(self, room: npt.NDArray[np.float32]) -> float:
        """About the pixels' footprint on the best-known wall."""
        wall = self.layout.walls[self.layout.best_wall]
        near = np.abs(room[:, wall.axis] - wall.offset_m) < 0.6
        footprint = float(np.median(self.known.spacing_m[near])) if near.any() else TEXEL_RANGE_M[1]
        return float(np.clip(footprint * 1.1, *TEXEL_RANGE_M))

    def _seen_walls(
        self, frames: tuple[WallFrame, ...], texel: float, room: npt.NDArray[np.float32]
    ) -> list[WallMap | None]:
        """Maps of the walls of which something is known; a point belongs to the wall it stands nearest to."""
        relief = np.stack([np.abs(f.to_wall(room)[:, 2]) for f in frames])
        unseen = [i for i, w in enumerate(self.layout.walls) if w.seen_m2 == 0]
        relief[unseen] = np.inf
        owner = relief.argmin(0)
        out: list[WallMap | None] = []
        for i, frame in enumerate(frames):
            mine = owner == i
            if i in unseen:
                out.append(None)
                continue
            out.append(draw_wall(frame, texel, room[mine], self.known.colors[mine], self.known.spacing_m[mine]))
        return out

    def _exemplar(self, wall: WallMap, band: int) -> tuple[Exemplar, slice]:
        """The best-known stretch of the best-known wall, its holes filled from itself."""
        run = max(_runs(wall, band), key=lambda r: r.stop - r.start)
        rng = np.random.default_rng([self.seed, 1])
        picture = wall.picture[-band:, run]
        known = wall.known[-band:, run]
        poor = 1.0 - known.mean(0)
        _complete_band(picture, known, picture.copy(), known.copy(), wall.texel_m, rng)
        overlap = max(6, round(SEAM_M / wall.texel_m))
        return Exemplar(picture.copy(), overlap, wall.texel_m, poor.astype(np.float32)), run

    def _finish_wall(
        self,
        index: int,
        frame: WallFrame,
        seen: WallMap | None,
        exemplar: Exemplar,
        band: int,
        own_run: slice | None,
        pitch: int,
        source: Source,
        plain: Source,
    ) -> WallMap:
        """Fill a wall: gaps by strips at the band's height, then everything above."""
        rng = np.random.default_rng([self.seed, 2, index])
        wall = seen or self._blank(frame, exemplar)
        runs = [own_run] if own_run is not None else _runs(wall, band)
        if seen is not None and own_run is None:
            for run in runs:
                piece, known = wall.picture[-band:, run], wall.known[-band:, run]
                _complete_band(piece, known, exemplar.band, np.ones(exemplar.band.shape[:2], bool), wall.texel_m, rng)
        self._fill_gaps(wall, exemplar, band, runs, rng)
        wall.known[-band:] = True
        self._extend_up(wall, band, pitch, source, plain, rng)
        return wall

    def _blank(self, frame: WallFrame, exemplar: Exemplar) -> WallMap:
        """A wall of which nothing is known."""
        texel = exemplar.texel_m
        shape = (max(1, round(frame.height_m / texel)), max(1, round(frame.length_m / texel)))
        return WallMap(frame, texel, np.zeros((*shape, 4), np.float32), np.zeros(shape, bool))

    def _fill_gaps(
        self, wall: WallMap, exemplar: Exemplar, band: int, runs: list[slice], rng: np.random.Generator
    ) -> None:
        """Strips between the known stretches of a wall."""
        width, overlap = wall.known.shape[1], exemplar.overlap
        edges = [0, *(e for r in runs for e in (r.start, r.stop)), width]
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if stop <= start:
                continue
            left = wall.picture[-band:, start - overlap : start] if start >= overlap else None
            right = wall.picture[-band:, stop : stop + overlap] if stop + overlap <= width else None
            f, t = wall.frame, wall.texel_m
            place = (f.corner[0] + f.along[0] * t * start, f.corner[1] + f.along[1] * t * start)
            stretch = Stretch(
                stop - start, place, (f.along[0] * t, f.along[1] * t), t, start < overlap, stop + overlap > width
            )
            wall.picture[-band:, start:stop] = fill_stretch(exemplar, stretch, left, right, rng)

    def _extend_up(
        self, wall: WallMap, band: int, pitch: int, source: Source, plain: Source, rng: np.random.Generator
    ) -> None:
        """Quilt what is above the known after its own pitch, bare wall from the usual height of furniture on."""
        t = wall.texel_m
        height = wall.known.shape[0]
        top = max(height - round(STRUCTURE_TOP_M / t), 0)
        self._bare_above(wall, band, plain, rng)
        rough = wall.picture.copy()
        for row in range(height - band - 1, -1, -1):
            rough[row] = np.where(wall.known[row, :, None], rough[row], rough[row + pitch])
        where = ~wall.known
        where[:top] = False
        guide = Guide(rough, np.array([0.3, 0.3, 0.3, 2.5], np.float32), where)
        rule = PatchRule(round(0.55 / t), round(0.12 / t), low_above=top, reuse=0.8, step=3, floor=300.0)
        complete(wall.picture, wall.known, source, rule, rng, guide)
        relief = supported(wall.relief_m, band, round(0.1 / t))
        wall.picture[..., 3] = without_spikes(relief, t) * RELIEF_WEIGHT

    def _bare_above(self, wall: WallMap, band: int, plain: Source, rng: np.random.Generator) -> None:
        """Where furniture is seen to end below the top of the known, only bare wall goes on."""
        ended = _ended_columns(wall, band)
        rows = wall.known.shape[0] - band
        if not ended.any() or rows < 10:
            return
        columns = np.nonzero(ended)[0]
        first, last = int(columns[0]), int(columns[-1]) + 1
        cover = bare_wall(plain, rows, last - first, wall.texel_m, rng)
        inside = ended[first:last]
        new = inside & ~wall.known[:rows, first:last]
        wall.picture[:rows, first:last][new] = cover[new]
        wall.known[:rows, first:last] |= new
        for k in range(FADE_ROWS):  # soften the line where paint begins
            share = (k + 0.5) / FADE_ROWS
            row = wall.picture[rows + k, first:last, :3]
            row[inside] = share * row[inside] + (1.0 - share) * cover[-1 - k, inside, :3]

    def _ceiling(self, exemplar: Exemplar) -> Surface:
        """Ceiling from the plain parts of the exemplar."""
        flat = plain_parts(exemplar.band)
        white = float(np.percentile(self.known.colors.max(1), 98))
        rng = np.random.default_rng([self.seed, 12])
        return ceiling_surface(
            np.ascontiguousarray(exemplar.band[..., :3]),
            flat,
            self.layout.low,
            self.layout.high,
            CEILING_TEXEL_M,
            white,
            rng,
        )

    def _model(self, free: Surface, backing: Surface) -> PlaceModel:
        """World points: what would hide known surface moves behind it or goes."""
        low, high = self.layout.low.copy(), self.layout.high.copy()
        parts = []
        r = self.layout.world_T_room
        for surface, most in ((free, PUSH_MAX_M), (backing, np.inf)):
            world = surface.points_room @ r[:3, :3].T.astype(np.float32) + r[:3, 3].astype(np.float32)
            spacing, keep = surface.spacing_m.copy(), np.ones(len(world), bool)
            for photo in self.photos:
                assert photo.depth_m is not None
                farthest = cv2.dilate(photo.depth_m, np.ones((3, 3), np.uint8)) * np.float32(HIDDEN_BEHIND)
                k = photo.pinhole
                lens = np.array([k.fx, k.fy, k.cx, k.cy])
                pose = photo.world_T_camera
                _hide_behind(world, spacing, keep, farthest, invert(pose), pose[:3, 3].copy(), lens, most)
            parts.append((world[keep], surface.colors[keep], spacing[keep]))
        return PlaceModel(
            "room",
            np.concatenate([p[0] for p in parts]),
            np.concatenate([np.clip(p[1] + 0.5, 0, 255).astype(np.uint8) for p in parts]),
            np.concatenate([p[2] for p in parts]),
            self.layout.world_T_room.copy(),
            low,
            high,
        )


def _band_of(wall: WallMap) -> int:
    """Rows from the floor up to the height that enough of the known columns reach; 0 if that is too little."""
    columns = wall.known.any(0)
    share = wall.known[:, columns].mean(1) if columns.any() else np.zeros(1)
    rows = np.nonzero(share > 0.3)[0]
    band = wall.known.shape[0] - int(rows[0]) if len(rows) else 0
    enough = band * wall.texel_m > MIN_BAND_M and len(_runs(wall, band)) > 0
    return band if enough else 0


def _runs(wall: WallMap, band: int) -> list[slice]:
    """Stretches of columns that are known well enough to be completed."""
    share = wall.known[-band:].mean(0) > COLUMN_SHARE
    gap = np.ones((1, round(0.4 / wall.texel_m) | 1), np.uint8)
    joined = cv2.morphologyEx(np.pad(share, gap.shape[1])[None].astype(np.uint8), cv2.MORPH_CLOSE, gap)[0]
    flags = np.diff(np.pad(joined[gap.shape[1] : -gap.shape[1]].astype(np.int8), 1))
    runs = zip(np.nonzero(flags == 1)[0], np.nonzero(flags == -1)[0], strict=True)
    return [slice(int(a), int(b)) for a, b in runs if (b - a) * wall.texel_m > MIN_RUN_M]


def _complete_band(
    picture: npt.NDArray[np.float32],
    known: npt.NDArray[np.bool_],
    source: npt.NDArray[np.float32],
    valid: npt.NDArray[np.bool_],
    texel_m: float,
    rng: np.random.Generator,
) -> None:
    """Fill the holes of a stretch from an exemplar, at like heights. In place."""
    rule = PatchRule(round(0.24 / texel_m), round(0.07 / texel_m), same_row=0.004, reuse=0.04)
    rough = nearest_filled(picture, known, upright=0.35)
    rough[..., 3] = cv2.medianBlur(np.ascontiguousarray(rough[..., 3]), 5)
    guide = Guide(rough, np.array([0.15, 0.15, 0.15, 3.0], np.float32), ~known)
    complete(picture, known, Source.mirrored(source, valid), rule, rng, guide)


def bare_wall(
    plain: Source, height: int, width: int, texel_m: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Wall without anything at it: quilted where a fair piece of it is known, painted in its colour otherwise.

    Args:
        plain: Exemplar and its plain parts.
        height: Rows.
        width: Columns.
        texel_m: Side of a texel.
        rng: Chooses patches and grain.

    Returns:
        (height, width, 4) float32, relief 0.
    """
    picture, valid = plain.pictures[0], plain.valid[0]
    least = np.ones((round(0.18 / texel_m),) * 2, np.uint8)
    if cv2.erode(valid.astype(np.uint8), least, borderValue=0).any():
        rule = PatchRule(round(0.3 / texel_m), round(0.06 / texel_m), reuse=0.3, step=3)
        return texture(plain, max(height, rule.patch), max(width, rule.patch), rule, rng)[:height, :width]
    out = np.zeros((height, width, 4), np.float32)
    out[..., :3] = np.median(picture[valid if valid.any() else ...][..., :3].reshape(-1, 3), axis=0)
    coarse = rng.normal(size=(height // 40 + 2, width // 40 + 2)).astype(np.float32)
    out[..., :3] += 3.0 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    out[..., :3] += rng.normal(scale=2.5, size=(height, width, 1)).astype(np.float32)
    return out


def _ended_columns(wall: WallMap, band: int) -> npt.NDArray[np.bool_]:
    """Columns with furniture below and bare wall at the top of what is known."""
    relief = wall.relief_m[-band:]
    strip = max(3, round(0.15 / wall.texel_m))
    face = np.percentile(relief, 85, axis=0)
    stands = (relief > 0.25).sum(0) * wall.texel_m > 0.25
    bare_top = np.percentile(relief[:strip], 90, axis=0) < face - 0.15
    votes = cv2.blur((stands & bare_top).astype(np.float32)[None], (round(0.4 / wall.texel_m) | 1, 1))[0]
    if stands.any() and votes[stands].mean() > 0.5:  # the room's furniture is low: none goes on
        return np.ones(len(votes), bool)
    width = np.ones((1, round(0.3 / wall.texel_m) | 1), np.uint8)
    return cv2.morphologyEx((votes > 0.5).astype(np.uint8)[None], cv2.MORPH_OPEN, width)[0] > 0


def vertical_pitch(band: npt.NDArray[np.float32], overlap: int) -> int:
    """Rows after which a wall continues best upwards with its own rows: the distance of shelves, of boards.

    Args:
        band: (H, W, 4) complete exemplar.
        overlap: Rows compared.

    Returns:
        A number of rows, at least a third of the band's.
    """
    top = band[:overlap]
    least = max(overlap, round(0.35 * band.shape[0]))
    costs = [float(((top - band[y : y + overlap]) ** 2).mean()) for y in range(least, band.shape[0] - overlap)]
    return least + int(np.argmin(costs)) if costs else band.shape[0]


def plain_parts(band: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where an exemplar is bare wall: the largest kind of shallow, even colour.

    Args:
        band: (H, W, 4) colour and scaled relief.

    Returns:
        (H, W) bool.
    """
    relief = band[..., 3] / RELIEF_WEIGHT
    shallow = relief < max(0.15, float(np.percentile(relief, 20)))
    pixels = np.ascontiguousarray(band[..., :3][shallow][::5])
    if len(pixels) < 50:
        return shallow
    criteria = (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 20, 1.0)
    cv2.setRNGSeed(1)
    _, _, centers = cv2.kmeans(pixels, 4, np.zeros((len(pixels), 1), np.int32), criteria, 2, cv2.KMEANS_PP_CENTERS)
    nearest = ((band[..., None, :3] - centers) ** 2).sum(-1).argmin(-1)
    kernel = np.ones((7, 7), np.uint8)
    masks = [
        cv2.morphologyEx(
            cv2.morphologyEx((shallow & (nearest == k)).astype(np.uint8), cv2.MORPH_CLOSE, kernel),
            cv2.MORPH_OPEN,
            np.ones((9, 9), np.uint8),
        )
        for k in range(len(centers))
    ]
    return max(masks, key=lambda m: int(m.sum())) > 0


def _flattened(band: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The exemplar without its relief."""
    out = band.copy()
    out[..., 3] = 0.0
    return out


def _backing(wall: WallMap) -> Surface:
    """A plain sheet behind a wall's relief, so that no view leaves the room."""
    blurred = cv2.blur(wall.picture[..., :3], (31, 31))[::2, ::2] * 0.55
    rows, columns = np.mgrid[: blurred.shape[0], : blurred.shape[1]].astype(np.float32)
    t = 2.0 * wall.texel_m
    points = np.stack(
        [
            (columns + 0.5) * t,
            wall.frame.height_m - (rows + 0.5) * t,
            np.full_like(rows, -BACKING_M),
        ],
        -1,
    ).reshape(-1, 3)
    spacing = np.full(len(points), 1.3 * t, np.float32)
    return Surface(wall.frame.to_room(points), blurred.reshape(-1, 3), spacing)


def _shaded(surface: Surface, layout: RoomLayout) -> Surface:
    """Darken towards the upright corners and the ceiling's edges, as indirect light does."""
    colors = surface.colors.copy()
    _shade_edges(surface.points_room, layout.low, layout.high, colors)
    return Surface(surface.points_room, colors, surface.spacing_m)


@njit(cache=True, nogil=True)
def _shade_edges(points, low, high, colors):
    """Scale colours by the second and third nearest of walls and ceiling; the nearest is the point's own."""
    for i in range(len(points)):
        a, b, c = 1e9, 1e9, 1e9
        for k in range(5):
            axis = 0 if k < 2 else (2 if k < 4 else 1)
            gap = high[axis] - points[i, axis] if k % 2 == 1 else points[i, axis] - low[axis]
            gap = max(gap, 0.0)
            if gap < a:
                a, b, c = gap, a, b
            elif gap < b:
                b, c = gap, b
            elif gap < c:
                c = gap
        shade = (1.0 - 0.30 * np.exp(-b / 0.25)) * (1.0 - 0.20 * np.exp(-c / 0.25))
        for k in range(3):
            colors[i, k] *= shade


@njit(cache=True, nogil=True)
def _hide_behind(points, spacing, keep, farthest, camera_T_world, eye, lens, most_m):
    """Move world points behind what a photo saw, along its rays, or mark those too far in front to go. In place.

    ``farthest`` is the depth that they must reach, 0 where nothing was seen; ``lens`` is fx, fy, cx, cy.
    """
    height, width = farthest.shape
    m = camera_T_world
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        if depth < 0.05:
            continue
        u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) * lens[0] / depth + lens[2]
        v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) * lens[1] / depth + lens[3]
        if u < 0 or v < 0 or u >= width or v >= height:
            continue
        limit = farthest[int(v), int(u)]
        if depth >= limit:
            continue
        if limit - depth > most_m:
            keep[i] = False
            continue
        factor = limit / depth
        points[i, 0] = eye[0] + (x - eye[0]) * factor
        points[i, 1] = eye[1] + (y - eye[1]) * factor
        points[i, 2] = eye[2] + (z - eye[2]) * factor
        spacing[i] *= factor
