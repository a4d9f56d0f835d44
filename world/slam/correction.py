"""How points and poses move when drift is corrected: a rigid motion for every keyframe."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..changes import MergeReport, StagedChange, stage_remove
from ..keyframes import Keyframe
from ..merge import stage_insert
from ..points import PointBatch
from ..snapshot import MemorySnapshot
from ..transforms import Transform, interpolate, invert, rotation_angle_rad
from ..updates import MapUpdate

STILL_M, STILL_RAD = 2e-4, 5e-5
"""Motions smaller than this leave points where they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """Motions by keyframe. Arrays are read-only.

    Attributes:
        keyframe_ids: (K,) int64, rising.
        moved_T_world: (K, 4, 4) float64, the motion of each keyframe's points and pose.
    """

    keyframe_ids: npt.NDArray[np.int64]
    moved_T_world: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.keyframe_ids)
        if n == 0 or self.moved_T_world.shape != (n, 4, 4) or (np.diff(self.keyframe_ids) <= 0).any():
            got = f"{n} identities and {self.moved_T_world.shape}"
            raise ValueError(f"correction: expected rising identities and a 4x4 motion for each, got {got}")
        self.keyframe_ids.flags.writeable = False
        self.moved_T_world.flags.writeable = False

    @classmethod
    def between(
        cls, keyframe_ids: npt.NDArray[np.integer], before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
    ) -> "Correction":
        """The correction that takes (K, 4, 4) poses from what they were to what they are."""
        order = np.argsort(keyframe_ids)
        return cls(np.asarray(keyframe_ids, np.int64)[order], (after @ invert(before))[order])

    def of(self, keyframe_id: int) -> Transform:
        """(4, 4) motion of what one keyframe saw.

        Between two keyframes it is interpolated by identity, beyond the last it is that of the last: later frames were
        laid on what the last one gave. Identity 0 (no keyframe) and what came before the first stay.
        """
        ids = self.keyframe_ids
        if keyframe_id < ids[0]:
            return np.eye(4)
        right = int(np.searchsorted(ids, keyframe_id))
        if right == len(ids):
            return self.moved_T_world[-1].copy()
        if ids[right] == keyframe_id:
            return self.moved_T_world[right].copy()
        share = (keyframe_id - ids[right - 1]) / (ids[right] - ids[right - 1])
        return interpolate(self.moved_T_world[right - 1], self.moved_T_world[right], float(share))

    def inverted(self) -> "Correction":
        """The way back."""
        return Correction(self.keyframe_ids.copy(), invert(self.moved_T_world))

    def largest_move(self, world_T_camera: npt.NDArray[np.float64]) -> tuple[float, float]:
        """Metres by which the camera that moves most moves, and radians by which the one that turns most turns."""
        moved = self.moved_T_world @ world_T_camera
        far = float(np.linalg.norm(moved[:, :3, 3] - world_T_camera[:, :3, 3], axis=1).max())
        return far, max(rotation_angle_rad(m) for m in self.moved_T_world)

    def of_keyframe(self, keyframe: Keyframe) -> Keyframe:
        """A keyframe with its pose moved."""
        return replace(keyframe, world_T_camera=self.of(keyframe.keyframe_id) @ keyframe.world_T_camera)

    def of_points(self, batch: PointBatch) -> PointBatch:
        """Points moved with the keyframes that they were seen in."""
        positions = batch.positions_world.copy()
        for identity, rows in _by_keyframe(batch.keyframe):
            motion = self.of(identity)
            positions[rows] = positions[rows].astype(np.float64) @ motion[:3, :3].T + motion[:3, 3]
        return replace(batch, positions_world=positions)

    def of_update(self, update: MapUpdate, first_keyframe_id: int) -> MapUpdate:
        """A clip's update, moved as a whole with its keyframes: for clips that were on their way meanwhile."""
        motions = [self.of(first_keyframe_id + k) for k in range(len(update.world_T_camera))]
        free = tuple(replace(v, world_T_camera=motions[0] @ v.world_T_camera) for v in update.free_space)
        return replace(
            update,
            points=self.of_points(update.points),
            free_space=free,
            withdrawn=tuple(replace(v, world_T_camera=motions[0] @ v.world_T_camera) for v in update.withdrawn),
            moving_before=tuple(replace(v, world_T_camera=motions[0] @ v.world_T_camera) for v in update.moving_before),
            keyframes=tuple(self.of_keyframe(k) for k in update.keyframes),
            world_T_camera=np.stack(motions) @ update.world_T_camera,
        )


def stage_correction(snapshot: MemorySnapshot, correction: Correction) -> StagedChange:
    """Compute memory with the points of the corrected keyframes moved. Any thread; changes nothing.

    A voxel moves with the keyframe of its provenance, with its mean, colour, class and weight (at most 255); what
    confirmed it or saw through it before no longer counts. Voxels of keyframes that stay are left as they are.

    Args:
        snapshot: Memory as it is.
        correction: Motions by keyframe.
    """
    masks: dict[tuple[int, int, int], npt.NDArray[np.bool_]] = {}
    parts: list[PointBatch] = []
    moving = _Moving(correction)
    for key, chunk in snapshot.chunks.items():
        mask = moving.mask(chunk.keyframes())
        if mask.any():
            masks[key] = mask
            parts.append(_rows(snapshot.points([key]), mask))
    if not masks:
        return StagedChange({}, {})
    removed = stage_remove(snapshot.chunks, masks, revision=snapshot.revision + 1)
    rest = {k: c for k, c in {**snapshot.chunks, **removed.chunks}.items() if c is not None}
    batch = correction.of_points(PointBatch.concatenate(parts))
    inserted = stage_insert(rest, snapshot.voxel_size_m, batch, revision=snapshot.revision + 1)
    chunks = {**removed.chunks, **inserted.chunks}
    base = {key: snapshot.chunks.get(key) for key in {**chunks, **inserted.base}}
    report = MergeReport(refreshed=len(batch), changed=tuple(sorted(chunks)))
    return StagedChange(base, chunks, report)


class _Moving:
    """Tells which keyframes move; asks each only once."""

    def __init__(self, correction: Correction) -> None:
        self._correction = correction
        self._known: dict[int, bool] = {}

    def mask(self, keyframes: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
        identities, inverse = np.unique(keyframes, return_inverse=True)
        return np.array([self._moves(int(i)) for i in identities], bool)[inverse]

    def _moves(self, identity: int) -> bool:
        if identity not in self._known:
            motion = self._correction.of(identity)
            far = np.linalg.norm(motion[:3, 3]) > STILL_M or rotation_angle_rad(motion) > STILL_RAD
            self._known[identity] = bool(identity > 0 and far)
        return self._known[identity]


def _rows(batch: PointBatch, mask: npt.NDArray[np.bool_]) -> PointBatch:
    return PointBatch(
        batch.positions_world[mask],
        batch.colors[mask],
        batch.weights[mask],
        batch.priority[mask],
        batch.keyframe[mask],
    )


def _by_keyframe(keyframe: npt.NDArray[np.uint32]) -> list[tuple[int, npt.NDArray[np.intp]]]:
    """Rows by keyframe identity."""
    if len(keyframe) == 0:
        return []
    order = np.argsort(keyframe, kind="stable")
    identities, starts = np.unique(keyframe[order], return_index=True)
    return list(zip(identities.tolist(), np.split(order, starts[1:]), strict=True))
