"""An immutable view of memory, and what can be asked of it."""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from .camera import Pinhole
from .chunks import CHUNK_SIDE, Chunk, ChunkKey, addresses_of
from .paging import Pager
from .points import PointBatch, PointClass
from .stored import PagedChunks, bounds_of, class_counts_of, digest_of_entry, entries_of, positions_of_q8

FRUSTUM_CAMERAS_AT_ONCE = 16
"""Cameras tested together, so that the table of chunks by planes stays in cache."""


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """A consistent, immutable view of memory: references, no copies. Any thread may read it.

    Attributes:
        voxel_size_m: Side of a voxel in metres.
        revision: Memory's revision when it was taken.
        chunks: Chunks by key, read-only. Of a memory that is partly on the disk, those there are read when they are
            looked up; counting, hashing and choosing reads nothing.
        scene: Where a renderer gets what it is to draw, if that is not all of the chunks; None otherwise.
    """

    voxel_size_m: float
    revision: int
    chunks: Mapping[ChunkKey, Chunk]
    scene: Pager | None = None

    @property
    def num_points(self) -> int:
        """Occupied voxels."""
        return sum(entry.num_points for entry in entries_of(self.chunks).values())

    @property
    def held_bytes(self) -> int:
        """Memory held by chunks that are not on the disk alone."""
        return sum(e.num_bytes for e in entries_of(self.chunks).values() if isinstance(e, Chunk))

    @property
    def chunk_size_m(self) -> float:
        """Side of a chunk in metres."""
        return CHUNK_SIDE * self.voxel_size_m

    def points(self, keys: Iterable[ChunkKey] | None = None) -> PointBatch:
        """Copy points out: voxel means in metres, world frame.

        Args:
            keys: Chunks to copy, in this order; all, sorted by key, if not given. Unknown keys are passed over.
        """
        wanted = sorted(self.chunks) if keys is None else [k for k in keys if k in self.chunks]
        chunks = [self.chunks[key] for key in wanted]
        if not chunks:
            return PointBatch.empty()
        from . import view_kernels  # imports Numba, which takes most of a second

        counts, addresses = addresses_of(chunks)
        n = int(counts.sum())
        positions, colors = np.empty((n, 3), np.float32), np.empty((n, 3), np.uint8)
        weights, priority, keyframe = np.empty(n, np.uint8), np.empty(n, np.uint8), np.empty(n, np.uint32)
        corners = np.array(wanted, np.float64) * self.chunk_size_m
        view_kernels.copy_points(
            counts, addresses, corners, self.voxel_size_m, positions, colors, weights, priority, keyframe
        )
        return PointBatch(positions, colors, weights, priority, keyframe)

    def content_hash(self) -> str:
        """SHA-256 hex of voxel size, sorted keys and content (codes, rows, priority; not revision, not evidence).

        Independent of the order and split of plain insertion, and of what is on the disk.
        """
        digest = hashlib.sha256(struct.pack("<d", self.voxel_size_m))
        for key, entry in sorted(entries_of(self.chunks).items(), key=lambda item: item[0]):
            digest.update(struct.pack("<4q", *key, entry.num_points) + digest_of_entry(entry))
        return digest.hexdigest()

    def class_counts(self) -> dict[PointClass, int]:
        """Voxels of each class; every class is a key."""
        counts = np.zeros(4, np.int64)
        for entry in entries_of(self.chunks).values():
            counts += class_counts_of(entry)
        return {c: int(counts[c]) for c in PointClass}

    def extent(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """Lowest and highest corner (3,) of the points' positions in metres, or None if there are none."""
        if not self.chunks:
            return None
        keys = np.array(list(self.chunks), np.int64).reshape(-1, 3)
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        border = ((keys == keys.min(0)) | (keys == keys.max(0))).any(1)
        for x, y, z in keys[border].tolist():
            entry = entries_of(self.chunks)[x, y, z]
            if entry.num_points:
                first, last = (
                    positions_of_q8((x, y, z), q8, chunk_size_m=self.chunk_size_m).astype(np.float64)
                    for q8 in bounds_of(entry)
                )
                low, high = np.minimum(low, first), np.maximum(high, last)
        return low, high

    def chunks_in_box(self, low_world: npt.ArrayLike, high_world: npt.ArrayLike) -> list[ChunkKey]:
        """Keys, sorted, of chunks whose cube meets the box [low, high].

        Args:
            low_world: (3,) metres, lowest corner.
            high_world: (3,) metres, highest corner.
        """
        low = np.floor(np.asarray(low_world, np.float64) / self.chunk_size_m)
        high = np.floor(np.asarray(high_world, np.float64) / self.chunk_size_m)
        keys = np.array(list(self.chunks), np.float64).reshape(-1, 3)
        return _as_keys(keys[((keys >= low) & (keys <= high)).all(1)])

    def chunks_in_frusta(
        self, pinhole: Pinhole, world_T_camera: npt.NDArray[np.float64], near_m: float = 0.05, far_m: float = np.inf
    ) -> list[ChunkKey]:
        """Keys, sorted, of chunks whose cube may be seen by any of the cameras.

        Conservative: a cube beside a corner of a frustum may be listed, one inside is never left out.

        Args:
            pinhole: Intrinsics of all cameras.
            world_T_camera: (F, 4, 4) or (4, 4) float64 poses.
            near_m: Nearest depth along +Z.
            far_m: Farthest depth along +Z.
        """
        poses = np.asarray(world_T_camera, np.float64).reshape(-1, 4, 4)
        keys = list(self.chunks)
        centers = chunk_centers(keys, self.chunk_size_m)
        seen = np.zeros(len(keys), np.bool_)
        for first in range(0, len(poses), FRUSTUM_CAMERAS_AT_ONCE):
            some = poses[first : first + FRUSTUM_CAMERAS_AT_ONCE]
            seen |= chunks_by_camera(centers, self.chunk_size_m, pinhole, some, near_m=near_m, far_m=far_m).any(1)
        return sorted(key for key, is_seen in zip(keys, seen.tolist(), strict=True) if is_seen)

    def subset(self, keys: Iterable[ChunkKey]) -> "MemorySnapshot":
        """The same view of some chunks only; unknown keys are passed over."""
        if isinstance(self.chunks, PagedChunks):
            return MemorySnapshot(self.voxel_size_m, self.revision, self.chunks.subset(keys))
        chosen = {key: self.chunks[key] for key in keys if key in self.chunks}
        return MemorySnapshot(self.voxel_size_m, self.revision, MappingProxyType(chosen))


def chunk_centers(keys: Sequence[ChunkKey], chunk_size_m: float) -> npt.NDArray[np.float64]:
    """(C, 3) middles of chunks in metres, world frame."""
    return (np.array(keys, np.float64).reshape(-1, 3) + 0.5) * chunk_size_m


def chunks_by_camera(
    centers: npt.NDArray[np.float64],
    chunk_size_m: float,
    pinhole: Pinhole,
    world_T_camera: npt.NDArray[np.float64],
    *,
    near_m: float,
    far_m: float,
) -> npt.NDArray[np.bool_]:
    """(C, F) bool: which of C chunks' cubes may be seen by which of F cameras; conservative.

    A cube is out if it lies wholly behind one plane of the frustum (positive-vertex test). Centers from
    ``chunk_centers``.
    """
    normals, offsets = frustum_planes(pinhole, world_T_camera, near_m, far_m)
    reach = np.abs(normals).sum(-1) * (chunk_size_m / 2.0)
    seen = np.ones((len(centers), len(world_T_camera)), np.bool_)
    for plane in range(normals.shape[1]):
        seen &= centers @ normals[:, plane].T >= -(offsets + reach)[:, plane]
    return seen


def frustum_planes(
    pinhole: Pinhole, world_T_camera: npt.NDArray[np.float64], near_m: float, far_m: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Planes that bound what cameras see; a point inside has normal·x + offset >= 0 for every plane.

    Args:
        pinhole: Intrinsics.
        world_T_camera: (F, 4, 4) float64 poses.
        near_m: Nearest depth along +Z.
        far_m: Farthest depth; infinite leaves that plane out.

    Returns:
        (F, P, 3) normals, of unit length only for near and far, and (F, P) offsets in metres times their length.
    """
    p = pinhole
    sides = [(p.fx, 0, p.cx), (-p.fx, 0, p.width - p.cx), (0, p.fy, p.cy), (0, -p.fy, p.height - p.cy), (0, 0, 1)]
    shifts = [0.0, 0.0, 0.0, 0.0, -near_m]
    if np.isfinite(far_m):
        sides.append((0, 0, -1))
        shifts.append(far_m)
    normals = np.einsum("fij,pj->fpi", world_T_camera[:, :3, :3], np.array(sides, np.float64))
    offsets = np.array(shifts) - np.einsum("fpi,fi->fp", normals, world_T_camera[:, :3, 3])
    return normals, offsets


def _as_keys(keys: npt.NDArray[np.number]) -> list[ChunkKey]:
    return sorted((int(x), int(y), int(z)) for x, y, z in keys.tolist())
