"""A room around what a photo saw: a closed box whose walls, floor and ceiling look like the known ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from numba import njit

from ...world.ground import fit_floor
from ...world.memory import MemorySnapshot
from ...world.transforms import invert
from ..requests import Progress, ReferenceFrame
from .flats import ceiling_surface, floor_surface
from .known import KnownSurface, behind_filled, gather_known
from .layout import RoomLayout, find_layout
from .place import PlaceModel
from .quilt import Guide, PatchRule, Source, complete
from .relief import (
    RELIEF_WEIGHT,
    Surface,
    WallFrame,
    WallMap,
    draw_wall,
    supported,
    wall_frames,
    wall_surface,
    without_spikes,
)
from .strips import Exemplar, Stretch, fill_stretch
from .walls import (
    BareWall,
    bare_looks,
    bare_wall,
    complete_band,
    ended_columns,
    known_rows,
    known_runs,
    plain_parts,
    vertical_pitch,
)

TEXEL_RANGE_M = (0.0065, 0.010)
"""Walls are made as fine as they were seen, within this."""
FLOOR_TEXEL_M, CEILING_TEXEL_M = 0.008, 0.012
MAX_WALL_TEXELS, MAX_FLAT_TEXELS = 2.5e6, 1.0e6
"""Larger rooms get coarser texels: the time to make one is bounded."""
RISE_PATCH = 84
"""Side in texels of the patches that carry a wall upwards: a shelf with what stands on it."""
SEAM_M = 0.10
"""Overlap of neighbouring strips."""
STRUCTURE_TOP_M = 2.0
"""Shelves and cupboards seldom reach higher; above them the bare wall goes on."""
FADE_ROWS = 5
"""Rows over which known wall passes into painted wall."""
HIDDEN_BEHIND = 1.012
"""Invented surface stays this factor behind what a photo saw."""
SPILL_PIXELS = 5
"""An invented point is drawn over its neighbours, so it must stay behind what these saw too."""
PUSH_MAX_M = 0.12
"""Surface that would have to move back more than this is left out; the backing behind it closes the view."""
BACKING_M = 0.04
"""Depth of the plain backing behind the relief."""


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
    known = gather_known(photos, memory)
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


def _floor_of(
    known: KnownSurface, up_world: npt.ArrayLike, eye: npt.NDArray[np.float64], seed: int
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
    known: KnownSurface
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
        band = 0 if best_wall is None else known_rows(best_wall)
        if best_wall is None or band == 0:
            return None
        self.progress.check("room: completing a wall", 0.15)
        exemplar, run = self._exemplar(best_wall, band)
        pitch = vertical_pitch(exemplar.band, exemplar.overlap)
        source = Source.mirrored(exemplar.band, np.ones(exemplar.band.shape[:2], bool))
        plain = bare_looks(exemplar.band)
        maps = []
        order = [best, *(k for k in range(4) if k != best)]
        for i in order:
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
            self._flat_texel(FLOOR_TEXEL_M),
            np.random.default_rng([self.seed, 11]),
        )
        self.progress.check("room: ceiling", 0.85)
        ceiling = self._ceiling(exemplar)
        self.progress.check("room: joining", 0.92)
        shaded = _shaded(Surface.concatenate([*surfaces, ceiling]), self.layout)
        inner = [float(np.percentile(maps[k].relief_m[-round(1.8 / texel) :], 95)) for k in np.argsort(order)]
        return self._model(shaded, Surface.concatenate([*backing, floor]), inner)

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
        size = self.layout.high - self.layout.low
        area = 2.0 * (size[0] + size[2]) * size[1]
        return max(float(np.clip(footprint * 1.1, *TEXEL_RANGE_M)), float(np.sqrt(area / MAX_WALL_TEXELS)))

    def _flat_texel(self, usual_m: float) -> float:
        """Texel of the floor or the ceiling."""
        size = self.layout.high - self.layout.low
        return max(usual_m, float(np.sqrt(size[0] * size[2] / MAX_FLAT_TEXELS)))

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
        run = max(known_runs(wall, band), key=lambda r: r.stop - r.start)
        rng = np.random.default_rng([self.seed, 1])
        picture = wall.picture[-band:, run]
        known = wall.known[-band:, run]
        poor = 1.0 - known.mean(0)
        complete_band(picture, known, picture.copy(), known.copy(), wall.texel_m, rng)
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
        plain: BareWall,
    ) -> WallMap:
        """Fill a wall: gaps by strips at the band's height, then everything above."""
        rng = np.random.default_rng([self.seed, 2, index])
        wall = seen or self._blank(frame, exemplar)
        runs = [own_run] if own_run is not None else known_runs(wall, band)
        if seen is not None and own_run is None:
            for run in runs:
                piece, known = wall.picture[-band:, run], wall.known[-band:, run]
                complete_band(piece, known, exemplar.band, np.ones(exemplar.band.shape[:2], bool), wall.texel_m, rng)
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
        self, wall: WallMap, band: int, pitch: int, source: Source, plain: BareWall, rng: np.random.Generator
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
        rule = PatchRule(RISE_PATCH, RISE_PATCH // 5, low_above=top, reuse=0.8, step=3, floor=300.0)
        complete(wall.picture, wall.known, source, rule, rng, guide)
        relief = supported(wall.relief_m, band, round(0.1 / t))
        wall.picture[..., 3] = without_spikes(relief, t) * RELIEF_WEIGHT

    def _bare_above(self, wall: WallMap, band: int, plain: BareWall, rng: np.random.Generator) -> None:
        """Where furniture is seen to end below the top of the known, only bare wall goes on."""
        ended = ended_columns(wall, band)
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
            self._flat_texel(CEILING_TEXEL_M),
            white,
            rng,
        )

    def _model(self, free: Surface, backing: Surface, inner_m: list[float]) -> PlaceModel:
        """World points: what would hide known surface moves behind it or goes."""
        low, high = self.layout.low, self.layout.high
        for wall, depth in zip(self.layout.walls, inner_m, strict=True):
            (high if wall.sign > 0 else low)[wall.axis] -= wall.sign * depth
        parts = []
        r = self.layout.world_T_room
        for surface, most in ((free, PUSH_MAX_M), (backing, np.inf)):
            world = surface.points_room @ r[:3, :3].T.astype(np.float32) + r[:3, 3].astype(np.float32)
            spacing, keep = surface.spacing_m.copy(), np.ones(len(world), bool)
            for photo in self.photos:
                _hide_behind(world, spacing, keep, *_seen_limits(photo), most)
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


def _seen_limits(photo: ReferenceFrame) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]:
    """What ``_hide_behind`` needs of a photo: depth to stay behind with a rim around it, pose, eye and lens."""
    assert photo.depth_m is not None
    depth = np.where(photo.depth_m > 0, photo.depth_m, behind_filled(photo.depth_m))
    rim = SPILL_PIXELS // 2
    framed = cv2.copyMakeBorder(depth, rim, rim, rim, rim, cv2.BORDER_REPLICATE)
    farthest = cv2.dilate(framed, np.ones((SPILL_PIXELS, SPILL_PIXELS), np.uint8)) * HIDDEN_BEHIND
    k, pose = photo.pinhole, photo.world_T_camera
    lens = np.array([k.fx, k.fy, k.cx + rim, k.cy + rim])
    return farthest.astype(np.float32), invert(pose), pose[:3, 3].copy(), lens


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
