"""Free space: what later views see through, often enough, is removed."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .changes import MergeReport, StagedChange
from .chunks import Chunk, ChunkKey, addresses_of
from .points import PointClass, priority_of
from .snapshot import MemorySnapshot, chunk_centers, chunks_by_camera
from .updates import DepthView
from .visibility import camera_row

MARGIN_M = 0.08
MARGIN_SHARE = 0.03
"""Seen through is what lies nearer than the surface by more than max(``MARGIN_M``, ``MARGIN_SHARE`` of its depth)."""

LEAST_SEEN_THROUGH = 3
RATIO_TO_CONFIRMED = 2.0
"""A voxel goes when seen through at least so often, and more than so many times as often as confirmed."""


def stage_carve(snapshot: MemorySnapshot, views: Sequence[DepthView]) -> StagedChange:
    """Count what views confirm and see through, and stage the removal of what they refute.

    Per view a voxel is *seen through* if it lies clearly nearer than all known depth of the 3x3 pixels around its
    projection, so that silhouettes do not carve; *confirmed* if it lies within the margin of its pixel's depth; behind
    or unknown says nothing. It goes when it was seen through often enough, or at once when the view is of a strictly
    higher class. A view says nothing about voxels of a higher priority than its own.

    Any thread; releases the interpreter's lock while it computes. The cost follows the chunks in the views' frusta.

    Args:
        snapshot: Memory as it is.
        views: Depth images whose rays are free up to their surface.

    Raises:
        ValueError: A view's depth has not the shape or type of its camera's image.
    """
    for view in views:
        _check(view)
    known = [view for view in views if (view.depth_m > 0).any()]
    keys, bounds, view_index = _pairs(snapshot, known)
    if not keys:
        return StagedChange({}, {})
    from . import view_kernels  # imports Numba, which takes most of a second

    chunks = [snapshot.chunks[key] for key in keys]
    counts, addresses = addresses_of(chunks)
    evidence, goes = np.empty((counts.sum(), 2), np.uint8), np.empty(counts.sum(), np.bool_)
    report = np.zeros((len(keys), 2), np.int64)
    shapes = np.array([(0, v.pinhole.height, v.pinhole.width) for v in known], np.int64)
    shapes[1:, 0] = np.cumsum(shapes[:, 1] * shapes[:, 2])[:-1]
    view_kernels.carve_chunks(
        counts,
        addresses,
        np.array(keys, np.float64) * snapshot.chunk_size_m,
        snapshot.voxel_size_m,
        bounds,
        view_index,
        np.array([camera_row(v.pinhole, v.world_T_camera) for v in known]),
        np.array([v.priority for v in known], np.uint8),
        shapes,
        np.concatenate([v.depth_m.reshape(-1) for v in known]),
        np.array([MARGIN_M, MARGIN_SHARE, LEAST_SEEN_THROUGH, RATIO_TO_CONFIRMED]),
        evidence,
        goes,
        report,
    )
    return _staged(chunks, evidence, goes, report, revision=snapshot.revision + 1)


def _check(view: DepthView) -> None:
    expected = (view.pinhole.height, view.pinhole.width)
    if view.depth_m.shape != expected or view.depth_m.dtype != np.float32:
        raise ValueError(f"depth view: expected {expected} float32, got {view.depth_m.shape} {view.depth_m.dtype}")
    if not priority_of(PointClass.INVENTED) <= view.priority <= 255:
        raise ValueError(f"depth view: expected a priority of 64..255 from priority_of, got {view.priority}")


def _pairs(
    snapshot: MemorySnapshot, views: Sequence[DepthView]
) -> tuple[list[ChunkKey], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Chunks that any view may judge, and by chunk which views: bounds into a list of view numbers."""
    keys = sorted(snapshot.chunks)
    if not keys or not views:
        return [], np.zeros(1, np.int64), np.zeros(0, np.int64)
    centers = chunk_centers(keys, snapshot.chunk_size_m)
    table = np.empty((len(keys), len(views)), np.bool_)
    for i, view in enumerate(views):
        far = float(view.depth_m.max()) * (1.0 + MARGIN_SHARE) + MARGIN_M
        table[:, i] = chunks_by_camera(
            centers, snapshot.chunk_size_m, view.pinhole, view.world_T_camera[None], near_m=0.0, far_m=far
        )[:, 0]
    touched = np.asarray(table.any(1))
    bounds = np.concatenate([[0], np.cumsum(table[touched].sum(1))]).astype(np.int64)
    return [k for k, t in zip(keys, touched.tolist(), strict=True) if t], bounds, np.nonzero(table[touched])[1]


def _staged(
    chunks: Sequence[Chunk],
    evidence: npt.NDArray[np.uint8],
    goes: npt.NDArray[np.bool_],
    report: npt.NDArray[np.int64],
    *,
    revision: int,
) -> StagedChange:
    base: dict[ChunkKey, Chunk | None] = {}
    out: dict[ChunkKey, Chunk | None] = {}
    end = 0
    for chunk, (num_changed, num_gone) in zip(chunks, report.tolist(), strict=True):
        start, end = end, end + chunk.num_points
        if not num_changed:
            continue
        base[chunk.key] = chunk
        if num_gone == chunk.num_points:
            out[chunk.key] = None
        elif num_gone:
            keep = ~goes[start:end]
            arrays = (chunk.codes[keep], chunk.rows[keep], chunk.priority[keep], evidence[start:end][keep])
            out[chunk.key] = Chunk(chunk.key, revision, *arrays)
        else:
            new = evidence[start:end].copy()
            out[chunk.key] = Chunk(chunk.key, revision, chunk.codes, chunk.rows, chunk.priority, new)
    removed = int(report[:, 1].sum())
    return StagedChange(base, out, MergeReport(removed=removed, changed=tuple(sorted(out))))
