"""A room around what a photo saw: a closed box whose walls, floor and ceiling look like the known ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ...world.camera import unproject
from ...world.ground import fit_floor
from ...world.memory import MemorySnapshot
from ...world.points import PointClass, class_of
from ...world.transforms import apply, invert
from ..requests import Progress, ReferenceFrame
from .flats import ceiling_surface, floor_surface
from .layout import RoomLayout, find_layout
from .place import PlaceModel
from .quilt import PatchRule, Source, complete
from .relief import RELIEF_WEIGHT, Surface, WallFrame, WallMap, draw_wall, wall_frames, wall_surface
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
    depth = solid_depth(photo.depth_m)
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
        maps = []
        for i in [best, *(k for k in range(4) if k != best)]:
            self.progress.check("room: walls", 0.3 + 0.1 * len(maps))
            maps.append(self._finish_wall(i, frames[i], seen[i], exemplar, band, run if i == best else None))
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
        self._extend_up(wall, exemplar, rng)
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

    def _extend_up(self, wall: WallMap, exemplar: Exemplar, rng: np.random.Generator) -> None:
        """Quilt what is above the known, low relief from the usual height of furniture on."""
        t = wall.texel_m
        top = wall.known.shape[0] - round(STRUCTURE_TOP_M / t)
        rule = PatchRule(round(0.55 / t), round(0.12 / t), low_above=max(top, 0), reuse=0.5, step=3)
        source = Source.mirrored(exemplar.band, np.ones(exemplar.band.shape[:2], bool))
        complete(wall.picture, wall.known, source, rule, rng)

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
        for surface, most in ((free, PUSH_MAX_M), (backing, np.inf)):
            world = apply(self.layout.world_T_room, surface.points_room.astype(np.float64))
            spacing, keep = surface.spacing_m.copy(), np.ones(len(world), bool)
            for photo in self.photos:
                _hide_behind(world, spacing, keep, photo, most)
            parts.append((world[keep], surface.colors[keep], spacing[keep]))
        return PlaceModel(
            "room",
            np.concatenate([p[0] for p in parts]).astype(np.float32),
            np.clip(np.rint(np.concatenate([p[1] for p in parts])), 0, 255).astype(np.uint8),
            np.concatenate([p[2] for p in parts]).astype(np.float32),
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
    rule = PatchRule(round(0.22 / texel_m), round(0.07 / texel_m), same_row=0.03, reuse=0.3)
    complete(picture, known, Source.mirrored(source, valid), rule, rng)


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
    p = surface.points_room
    low, high = layout.low, layout.high
    gaps = np.stack([p[:, 0] - low[0], high[0] - p[:, 0], p[:, 2] - low[2], high[2] - p[:, 2], p[:, 1] - low[1]], 1)
    gaps = np.sort(np.maximum(gaps, 0.0), axis=1)  # the first is the surface's own wall
    shade = (1.0 - 0.30 * np.exp(-gaps[:, 1] / 0.25)) * (1.0 - 0.20 * np.exp(-gaps[:, 2] / 0.25))
    return Surface(p, (surface.colors * shade[:, None]).astype(np.float32), surface.spacing_m)


def _hide_behind(
    world: npt.NDArray[np.float64],
    spacing: npt.NDArray[np.float32],
    keep: npt.NDArray[np.bool_],
    photo: ReferenceFrame,
    most_m: float,
) -> None:
    """Move points behind what a photo saw, along its rays, or drop those too far in front. In place."""
    assert photo.depth_m is not None
    farthest = cv2.dilate(photo.depth_m, np.ones((3, 3), np.uint8)) * HIDDEN_BEHIND
    camera = apply(invert(photo.world_T_camera), world)
    z = camera[:, 2]
    k = photo.pinhole
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.floor(k.fx * camera[:, 0] / z + k.cx)
        v = np.floor(k.fy * camera[:, 1] / z + k.cy)
    inside = (z > 0.05) & (u >= 0) & (v >= 0) & (u < k.width) & (v < k.height)
    index = np.nonzero(inside)[0]
    limit = farthest[v[index].astype(np.int64), u[index].astype(np.int64)]
    hiding = z[index] < limit
    index, limit = index[hiding], limit[hiding]
    far = limit - z[index] > most_m
    keep[index[far]] = False
    index, factor = index[~far], (limit / z[index])[~far]
    eye = photo.world_T_camera[:3, 3]
    world[index] = eye + (world[index] - eye) * factor[:, None]
    spacing[index] *= factor.astype(np.float32)
