"""Taking back surface that turned out to move: what a later clip's masks mark in the frames before it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .carve import MARGIN_M, MARGIN_SHARE
from .changes import Overlaid, StagedChange, stage_remove
from .chunks import ChunkKey
from .points import PointClass, class_of
from .snapshot import MemorySnapshot
from .updates import DepthView


def stage_withdraw(snapshot: MemorySnapshot, views: Sequence[DepthView]) -> StagedChange:
    """Stage the removal of invented surface that lies at the depth of a view, where the view has any.

    Any thread. What is observed or estimated stays, and so does what is of a higher priority than the view.

    Args:
        snapshot: Memory as it is.
        views: Depth of what moves, 0 elsewhere.
    """
    masks: dict[ChunkKey, npt.NDArray[np.bool_]] = {}
    for view in views:
        for key in snapshot.chunks_in_frusta(view.pinhole, view.world_T_camera):
            goes = _lies_at(snapshot, key, view)
            if goes.any():
                masks[key] = goes | masks.get(key, np.zeros(len(goes), bool))
    if not masks:
        return StagedChange({}, {})
    return stage_remove(snapshot.chunks, masks, revision=snapshot.revision + 1)


def without(snapshot: MemorySnapshot, change: StagedChange) -> MemorySnapshot:
    """Memory as a staged removal leaves it."""
    return replace(snapshot, chunks=Overlaid(snapshot.chunks, change.chunks))


def _lies_at(snapshot: MemorySnapshot, key: ChunkKey, view: DepthView) -> npt.NDArray[np.bool_]:
    """(N,) bool, in the chunk's own order."""
    points = snapshot.points([key])
    may_go = (class_of(points.priority) == PointClass.INVENTED) & (points.priority <= view.priority)
    uv, z = view.pinhole.project(points.positions_world, view.world_T_camera)
    inside = may_go & (z > 0) & (uv >= 0).all(1) & (uv < view.pinhole.size).all(1)
    column, row = uv[inside].astype(np.int64).T
    depth = view.depth_m[row, column]
    margin = np.maximum(MARGIN_M, MARGIN_SHARE * depth)
    inside[inside] = (depth > 0) & (np.abs(z[inside] - depth) <= margin)
    return inside
