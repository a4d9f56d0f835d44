"""The world that ``stream.py`` walks through: a room tiled along aisles, the way through it, and pictures of it.

The kitchen recording, levelled and merged at 1 cm; rooms with waves on their walls where it is absent.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from draw import kitchen_points, psnr, room_points
from spatia.renderer.interface import DrawOptions, View
from spatia.renderer.software import SoftwareRenderer
from spatia.saves.manifest import Manifest
from spatia.saves.state import WorldState
from spatia.saves.store import WorldFile
from spatia.world.blocks import block_of, coarse_block, far_block
from spatia.world.camera import Pinhole
from spatia.world.chunks import CHUNK_SIDE, Chunk, ChunkKey
from spatia.world.coarse import COARSE_LEVEL, coarsen, far_words
from spatia.world.drawn import DrawChange
from spatia.world.ground import fit_floor
from spatia.world.memory import MemorySnapshot, SpatialMemory
from spatia.world.paging_plan import COARSE_PX
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.spacing import spacing_voxels
from spatia.world.transforms import Transform, interpolate, look

VOXEL_M = 0.01
AISLE_CHUNKS = 2
SIZE, FOV_RAD = (832, 480), float(np.radians(75.0))
SPEED_M_S, EYE_UP_M = 1.4, 0.1
FACTS_BYTES = 52
"""Of a chunk's facts without its far level."""

JITTER_PX = 1.0 / 16.0
"""By so much a picture is moved to see what of a difference is merely which of many points a pixel shows."""

BLUR_PX = 4
"""Pixels a side that are averaged to see what is left without that."""


# ------------------------------------------------------------------------------------------------ the world


class TiledChunks(Mapping[ChunkKey, Chunk]):
    """Copies of some chunks side by side, made when they are looked up: two rows of tiles along each aisle.

    Args:
        tile: The chunks that are repeated.
        columns: Tiles along an aisle.
        rows: Tiles across, two for each aisle.
    """

    def __init__(self, tile: Mapping[ChunkKey, Chunk], columns: int, rows: int) -> None:
        self.tile, self.columns, self.rows = tile, columns, rows
        keys = np.array(list(tile), np.int64)
        self._low = keys.min(0)
        self._extent = keys.max(0) - self._low + 1

    @classmethod
    def of_size(cls, tile: Mapping[ChunkKey, Chunk], num_points: int) -> "TiledChunks":
        """At least so many points, about as long as wide."""
        keys = np.array(list(tile), np.int64)
        extent = keys.max(0) - keys.min(0) + 1
        copies = -(-num_points // sum(chunk.num_points for chunk in tile.values()))
        columns = max(2, round(float(np.sqrt(copies * extent[2] / extent[0]))))
        return cls(tile, columns, 2 * -(-copies // (2 * columns)))

    def _shift(self, column: int, row: int) -> tuple[int, int]:
        """Chunks along x and z from the tile's own place."""
        return column * int(self._extent[0]), row * int(self._extent[2]) + (row + 1) // 2 * AISLE_CHUNKS

    def __iter__(self) -> Iterator[ChunkKey]:
        for row in range(self.rows):
            for column in range(self.columns):
                dx, dz = self._shift(column, row)
                yield from ((x + dx, y, z + dz) for x, y, z in self.tile)

    def __len__(self) -> int:
        return self.rows * self.columns * len(self.tile)

    def __getitem__(self, key: ChunkKey) -> Chunk:
        column = (key[0] - int(self._low[0])) // int(self._extent[0])
        pair = 2 * int(self._extent[2]) + AISLE_CHUNKS
        z = key[2] - int(self._low[2])
        row = 2 * (z // pair) if z % pair < self._extent[2] else 2 * (z // pair) + 1
        dx, dz = self._shift(column, row)
        chunk = self.tile[key[0] - dx, key[1], key[2] - dz]
        return Chunk(key, 1, chunk.codes, chunk.rows, chunk.priority, chunk.evidence)

    @property
    def num_points(self) -> int:
        """Of all copies."""
        return self.rows * self.columns * sum(chunk.num_points for chunk in self.tile.values())

    def waypoints(self) -> list[Transform]:
        """Along each aisle to its end and on to the next one, metres."""
        side = CHUNK_SIDE * VOXEL_M
        left, right = float(self._low[0]) * side + 1.0, (self._low[0] + self.columns * self._extent[0]) * side - 1.0
        poses: list[Transform] = []
        for aisle in range(self.rows // 2):
            z = (self._low[2] + self._shift(0, 2 * aisle)[1] + self._extent[2] + AISLE_CHUNKS / 2) * side
            ends = (left, right) if aisle % 2 == 0 else (right, left)
            yaw = np.pi / 2 if aisle % 2 == 0 else -np.pi / 2
            poses += [look(np.array([x, -EYE_UP_M, z]), yaw, 0.0) for x in ends]
        return poses


def room_batch(cache: Path) -> PointBatch:
    """The points of one room, its floor level; kept in a file for the other processes."""
    if not cache.exists():
        points, colors = kitchen_points(3) or room_points(700_000)
        floor = fit_floor(points, up_hint=(0.0, -1.0, 0.0), camera_position=(0.0, 0.0, 0.0), seed=0)
        if floor is not None:
            points = (points @ _turn_to_up(np.array(floor.plane.normal)).T).astype(np.float32)
        np.savez(cache, points=points, colors=colors)
    with np.load(cache) as arrays:
        priority = priority_of(PointClass.OBSERVED)
        return PointBatch.uniform(arrays["points"], arrays["colors"], priority=priority, keyframe=1)


def _turn_to_up(normal: np.ndarray) -> np.ndarray:
    """(3, 3) rotation that takes a floor's normal to -Y (Rodrigues)."""
    up = np.array([0.0, -1.0, 0.0])
    v = np.cross(normal, up)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + k + k @ k / (1.0 + normal @ up)


def large_world(folder: Path, num_points: int) -> TiledChunks:
    """Room and copies: the same for the same number of points."""
    memory = SpatialMemory(VOXEL_M)
    memory.insert(room_batch(folder / "room.npz"))
    return TiledChunks.of_size(dict(memory.chunks), num_points)


def write_world(path: Path, chunks: TiledChunks) -> float | None:
    """Through the writer, a chunk at a time; seconds, or None if it is there already."""
    if path.exists():
        return None
    start = time.perf_counter()
    manifest = Manifest(path.stem, VOXEL_M, start_pose=tuple(chunks.waypoints()[0].ravel().tolist()))
    WorldFile.create(path, WorldState(chunks, (), manifest, {})).close()
    return time.perf_counter() - start


def pose_at(waypoints: list[Transform], seconds: float) -> tuple[Transform, np.ndarray]:
    """Pose and velocity on the way, to and fro if it is short; corners are turned at while walking."""
    lengths = [float(np.linalg.norm(b[:3, 3] - a[:3, 3])) for a, b in pairwise(waypoints)]
    total = sum(lengths)
    at = (seconds * SPEED_M_S) % (2 * total)
    sign = 1.0 if at < total else -1.0
    at = at if at < total else 2 * total - at
    for (a, b), length in zip(pairwise(waypoints), lengths, strict=True):
        if at <= length:
            pose = interpolate(a, b, at / length)
            sway = 0.5 * np.sin(seconds * 0.9)  # looks left and right while walking
            return pose @ look(np.zeros(3), sway, 0.0), sign * SPEED_M_S * (b[:3, 3] - a[:3, 3]) / length
        at -= length
    return waypoints[-1], np.zeros(3)


# ---------------------------------------------------------------------------------------------- pictures


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like the picture of all points a picture is, in dB.

    Attributes:
        whole: All pixels that either covers.
        near, far: Those that are drawn in full in it, and all others; infinite where there are none.
        far_share: Of the pixels.
        blurred: Averaged over ``BLUR_PX`` pixels a side.
        moved: The picture of all points to itself, moved by ``JITTER_PX``, at the far pixels.
        other_share: Pixels that are visibly other, by more than 24 levels, once averaged.
    """

    whole: float
    near: float
    far: float
    far_share: float
    blurred: float
    moved: float
    other_share: float


class WholePictures:
    """Pictures of a world in which every chunk in view is drawn in full.

    Args:
        chunks: Of the world.
        pinhole: Of all pictures.
        poses: (F, 4, 4) from where it is looked.
    """

    def __init__(self, chunks: TiledChunks, pinhole: Pinhole, poses: np.ndarray) -> None:
        snapshot = MemorySnapshot(VOXEL_M, 1, chunks)
        self._renderer, self._pinhole = SoftwareRenderer(), pinhole
        self._renderer.update(snapshot.subset(snapshot.chunks_in_frusta(pinhole, poses)))

    def likeness(self, pose: Transform, paged: View, reach_m: float) -> Likeness:
        """Compare a picture with the one of all points; what is nearer than ``reach_m`` was drawn in full in it."""
        p, options = self._pinhole, DrawOptions(use_keyframes=False)
        truth = self._renderer.render(pose, p, options)
        aside = replace(p, cx=p.cx + JITTER_PX, cy=p.cy + JITTER_PX)
        moved = self._renderer.render(pose, aside, options)
        known = (truth.depth_m > 0) | (paged.depth_m > 0)
        u, v = np.meshgrid((np.arange(p.width) + 0.5 - p.cx) / p.fx, (np.arange(p.height) + 0.5 - p.cy) / p.fy)
        along = np.sqrt(1.0 + u * u + v * v)  # a pixel's distance over its depth
        far = known & (np.maximum(truth.depth_m, paged.depth_m) * along > reach_m)
        small = (p.width // BLUR_PX, p.height // BLUR_PX)
        a, b = (cv2.resize(v.color, small, interpolation=cv2.INTER_AREA) for v in (truth, paged))
        other = np.abs(a.astype(int) - b).max(2) > 24
        return Likeness(
            psnr(paged.color, truth.color, known), _psnr(paged, truth, known & ~far), _psnr(paged, truth, far),
            float(far.sum() / max(known.sum(), 1)), psnr(b, a), _psnr(moved, truth, far), float(other.mean()),
        )  # fmt: skip

    def close(self) -> None:
        """Release the points."""
        self._renderer.close()


def _psnr(a: View, b: View, where: np.ndarray) -> float:
    return psnr(a.color, b.color, where) if where.any() else float("inf")


class _BlockScene:
    """Gives a renderer every block of some chunks in one level."""

    max_drawn_points, num_ready = 0, 0

    def __init__(self, chunks: Mapping[ChunkKey, Chunk], level: int) -> None:
        self._changes: list[DrawChange] = []
        for key in sorted({block_of(k) for k in chunks}):
            some = [c for c in chunks.values() if block_of(c.key) == key]
            spacing = float(
                np.average([spacing_voxels(c.local_q8()) for c in some], weights=[len(c.codes) for c in some])
            )
            if level == COARSE_LEVEL:
                block = coarse_block(key, [coarsen(c) for c in some], spacing)
            else:
                block = far_block(key, [c.key for c in some], [far_words(c) for c in some], spacing)
            self._changes.append(DrawChange(key, block))

    def start_drawing(self, _: object) -> None:
        """Nothing has to be prepared."""

    def take(self) -> DrawChange | None:
        """The next block."""
        return self._changes.pop() if self._changes else None


def switch_psnr_db(tile: Mapping[ChunkKey, Chunk], level: int) -> float:
    """PSNR of a level to all points where the one takes the place of the other, over the pixels that either covers."""
    memory = SpatialMemory(VOXEL_M)
    memory.load(tile.values())
    pinhole, spacing = Pinhole.from_fov(*SIZE, FOV_RAD), np.mean([spacing_voxels(c.local_q8()) for c in tile.values()])
    low, high = memory.snapshot().extent() or (np.zeros(3), np.zeros(3))
    away = float(spacing) * VOXEL_M * (1 << level) * pinhole.fx / COARSE_PX
    pose = look(np.array([(low[0] + high[0]) / 2, -EYE_UP_M, low[2] - away]), 0.0, 0.0)
    views = []
    for snapshot in (memory.snapshot(), replace(memory.snapshot(), scene=cast(Any, _BlockScene(tile, level)))):
        renderer = SoftwareRenderer()
        renderer.update(snapshot)
        views.append(renderer.render(pose, pinhole))
        renderer.close()
    return psnr(views[1].color, views[0].color, (views[0].depth_m > 0) | (views[1].depth_m > 0))


def level_share(path: Path) -> float:
    """Bytes of the coarser levels over those of the chunks."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        chunks = db.execute("SELECT sum(length(data)) FROM chunks JOIN objects USING (digest)").fetchone()[0]
        coarse = db.execute("SELECT sum(length(data)) FROM coarse").fetchone()[0]
        far = db.execute(f"SELECT sum(length(facts) - {FACTS_BYTES}) FROM summaries").fetchone()[0]
    return (coarse + far) / chunks
