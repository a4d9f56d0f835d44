"""From frames to a ``MapUpdate``: estimate, align, mask, lift, and say what space is free."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..keyframes import Keyframe
from ..memory import MemorySnapshot, SpatialMemory
from ..points import PointBatch, PointClass, priority_of
from ..transforms import invert
from ..updates import DepthView, MapUpdate, UpdateReport
from ..visibility import render_depth
from .alignment import Alignment, align_to_memory
from .completion import complete_depth
from .estimators import FrameStack, GeometryEstimate, GeometryEstimator, make_estimator
from .given import clean_depth
from .lift import (
    choose_frames,
    free_space_view,
    hides_surface,
    lies_on_surface,
    lift_pixels,
    shows_new,
)
from .masks import join_moving

MAX_TRANSLATION_M = 0.15
MAX_ROTATION_RAD = float(np.deg2rad(6.0))
VOXEL_SIZES_M = (0.0025, 0.005, 0.01)
MANY_FRAMES = 8
VOXEL_PER_PIXEL = 1.4
BLANK_DEVIATION = 0.5
MAX_REJECTED_SHARE = 0.5
COMPLETED_CONFIDENCE = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class _Origin:
    """What all points of an update share."""

    point_class: PointClass
    rank: int
    request_id: int
    first_keyframe_id: int
    prompt: str
    tick: int

    @property
    def priority(self) -> int:
        return priority_of(self.point_class, self.rank)


def build_update(
    frames: FrameStack,
    *,
    memory: MemorySnapshot,
    estimator: str | GeometryEstimator = "given",
    point_class: PointClass,
    rank: int,
    request_id: int,
    first_keyframe_id: int,
    prompt: str = "",
    tick: int = 0,
    align: bool = True,
    max_points_per_frame: int = 1_000_000,
    keep_depth: bool = True,
    keep_visible: Sequence[DepthView] = (),
    user_moving: npt.NDArray[np.bool_] | None = None,
) -> MapUpdate:
    """Turn a clip into what memory should take over. Changes nothing; runs in the worker.

    Invented points are only taken where memory shows no surface of their priority or a higher one, so they never hide
    what is known from where the clip saw it.

    Args:
        frames: The clip.
        memory: What memory holds around the clip.
        estimator: Name or instance.
        point_class: Class of the points.
        rank: Rank of the generator that invented them, 0 otherwise.
        request_id: The request that this answers; 0 for a source.
        first_keyframe_id: Frame k gets the identity ``first_keyframe_id + k``.
        prompt: Kept with the keyframes.
        tick: Simulation tick, kept with the keyframes.
        align: Correct each lifted frame's pose by memory.
        max_points_per_frame: More pixels are thinned out evenly.
        keep_depth: Keep the depth with the keyframes.
        keep_visible: Views, such as observed keyframes, whose surface no invented point may hide.
        user_moving: (H, W) or (F, H, W) bool, True where the user says that something moves.

    Returns:
        The update; empty where ``report.rejected`` says why, or where ``new_surface`` marks nothing.

    Raises:
        ValueError: The frames lack what the estimator needs, or a mask has another shape.
    """
    if frames.new_surface is not None and not frames.new_surface.any():
        name = estimator if isinstance(estimator, str) else estimator.name
        return _empty(frames, UpdateReport(name, tests={"lifted": 0.0}))
    origin = _Origin(point_class, rank, request_id, first_keyframe_id, prompt, tick)
    engine = make_estimator(estimator) if isinstance(estimator, str) else estimator
    chosen = choose_frames(frames.world_T_camera, frames.new_surface, every=point_class is not PointClass.INVENTED)
    part = frames if engine.uses_all_frames else _subset(frames, chosen)
    estimate = engine.estimate(part, memory)
    if part is frames and len(chosen) < len(frames):
        estimate = _subset_estimate(estimate, chosen)
    part = _subset(frames, chosen)
    moving = join_moving([part.moving, _rows(user_moving, chosen)], part.color.shape[:3])
    blank = _why_blank(part, estimate, moving)
    if blank:
        return _rejected(frames, engine.name, blank)
    alignments = _align(part, estimate, moving, memory) if align else [Alignment(p) for p in estimate.world_T_camera]
    poses, reason = _settle(alignments, estimate.world_T_camera)
    if reason:
        return _rejected(frames, engine.name, reason, alignments)
    lifter = _Lifter(part, estimate, moving, poses, memory, origin, tuple(keep_visible), max_points_per_frame)
    points = [lifter.lift(k, chosen[k]) for k in range(len(chosen)) if not alignments[k].rejected]
    keyframes = tuple(
        lifter.keyframe(k, chosen[k], keep_depth) for k in range(len(chosen)) if not alignments[k].rejected
    )
    tests = {**estimate.tests, **lifter.tests(), "frames_lifted": float(len(points))}
    report = _report(engine.name, estimate, alignments, float(moving.mean()), tests)
    free = tuple(v for k in range(len(chosen)) if not alignments[k].rejected for v in lifter.free_space(k))
    return MapUpdate(
        PointBatch.concatenate(points), free, keyframes, _spread(frames.world_T_camera, chosen, poses), report
    )


def source_update(
    frames: FrameStack,
    *,
    memory: MemorySnapshot,
    estimator: str | GeometryEstimator | None = None,
    first_keyframe_id: int = 1,
    prompt: str = "",
    tick: int = 0,
    align: bool = False,
    complete: bool | None = None,
    user_moving: npt.NDArray[np.bool_] | None = None,
) -> MapUpdate:
    """Turn a source's own frames into what memory should take over.

    Frames with depth are observed, others estimated by the diorama. A single photo's missing depth is filled from the
    far side with the photo's colours, as estimated points, so that the photo's own view has no holes.

    Args:
        frames: A photo or some frames of a recording.
        memory: What memory holds already.
        estimator: Name or instance; "given" with depth and "diorama" without, unless set.
        first_keyframe_id: Identity of the first frame.
        prompt: Kept with the keyframes.
        tick: Kept with the keyframes.
        align: Correct the poses by memory, for recordings that are merged bit by bit.
        complete: Fill missing depth; by default for a single photo with depth.
        user_moving: Where the user says that something moves.

    Returns:
        The update.

    Raises:
        ValueError: The frames lack what the estimator needs, or a mask has another shape.
    """
    has_depth = frames.depth_m is not None
    name = estimator if estimator is not None else ("given" if has_depth else "diorama")
    point_class = PointClass.OBSERVED if has_depth else PointClass.ESTIMATED
    update = build_update(
        frames,
        memory=memory,
        estimator=name,
        point_class=point_class,
        rank=0,
        request_id=0,
        first_keyframe_id=first_keyframe_id,
        prompt=prompt,
        tick=tick,
        align=align,
        user_moving=user_moving,
    )
    wanted = has_depth and len(frames) == 1 if complete is None else complete
    return _completed(update, frames, first_keyframe_id) if wanted and not update.report.rejected else update


def recommended_voxel_size_m(depth_m: npt.NDArray[np.float32], pinhole: Pinhole) -> float:
    """Voxel side for a source: 2.5, 5 or 10 mm, the smallest that is 1.4 times its pixels' footprint or more.

    A voxel as fine as a pixel keeps every pixel apart: 1.4 dB more where points alone are drawn, 0.3 dB with the photo
    sampled at the drawn depth, but 1.6 times the points, and the place around a photo is many times the photo. Many
    frames average within voxels anyway; they take 10 mm.

    Args:
        depth_m: (H, W) or (F, H, W) float32 metres, 0 unknown.
        pinhole: Its intrinsics.
    """
    known = depth_m[np.isfinite(depth_m) & (depth_m > 0)]
    if len(known) == 0 or (depth_m.ndim == 3 and len(depth_m) > MANY_FRAMES):
        return VOXEL_SIZES_M[-1]
    footprint = float(np.median(known)) / pinhole.fx
    return next((size for size in VOXEL_SIZES_M if size >= VOXEL_PER_PIXEL * footprint), VOXEL_SIZES_M[-1])


def _subset(frames: FrameStack, chosen: list[int]) -> FrameStack:
    if len(chosen) == len(frames):
        return frames
    return FrameStack(
        frames.color[chosen],
        _rows(frames.depth_m, chosen),
        _rows(frames.confidence, chosen),
        _rows(frames.moving, chosen),
        _rows(frames.new_surface, chosen),
        frames.world_T_camera[chosen],
        frames.pinhole,
    )


def _rows(array: npt.NDArray | None, chosen: list[int]) -> npt.NDArray | None:
    """The chosen frames of a stack; a single picture holds for all."""
    return array if array is None or array.ndim == 2 else array[chosen]


def _subset_estimate(estimate: GeometryEstimate, chosen: list[int]) -> GeometryEstimate:
    return replace(
        estimate,
        depth_m=estimate.depth_m[chosen],
        confidence=estimate.confidence[chosen],
        world_T_camera=estimate.world_T_camera[chosen],
        layers=tuple(
            replace(layer, frame_index=chosen.index(layer.frame_index))
            for layer in estimate.layers
            if layer.frame_index in chosen
        ),
    )


def _why_blank(frames: FrameStack, estimate: GeometryEstimate, moving: npt.NDArray[np.bool_]) -> str:
    """Say why there is nothing to lift, if there is nothing."""
    if not (estimate.depth_m > 0).any():
        return "blank depth: no pixel has a depth"
    if float(np.std(frames.color.reshape(-1, 3)[::7], axis=0).max()) < BLANK_DEVIATION:
        return "blank frames: every pixel has the same colour"
    if moving.all():
        return "nothing stands still: the mask covers every pixel"
    return ""


def _align(
    frames: FrameStack, estimate: GeometryEstimate, moving: npt.NDArray[np.bool_], memory: MemorySnapshot
) -> list[Alignment]:
    """Align each frame by what stands still and is not new."""
    result = []
    for k in range(len(frames)):
        trusted = ~moving[k] if frames.new_surface is None else ~moving[k] & ~frames.new_surface[k]
        result.append(
            align_to_memory(
                estimate.depth_m[k],
                np.where(trusted, estimate.confidence[k], np.float32(0)),
                frames.pinhole,
                estimate.world_T_camera[k],
                memory,
                max_translation_m=MAX_TRANSLATION_M,
                max_rotation_rad=MAX_ROTATION_RAD,
            )
        )
    return result


def _settle(alignments: list[Alignment], asked: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], str]:
    """Poses of the lifted frames and, if too many do not fit, why all is rejected.

    A frame that memory says nothing about takes the correction of the nearest frame that has one.
    """
    bad = [a for a in alignments if a.rejected]
    if len(bad) > MAX_REJECTED_SHARE * len(alignments):
        return asked, f"{bad[0].rejected} ({len(bad)} of {len(alignments)} frames)"
    poses = np.stack([a.world_T_camera for a in alignments])
    firm = [k for k, a in enumerate(alignments) if np.isfinite(a.residual) and not a.rejected]
    for k, a in enumerate(alignments):
        if firm and not np.isfinite(a.residual):
            near = min(firm, key=lambda j: abs(j - k))
            poses[k] = poses[near] @ invert(asked[near]) @ asked[k]
    return poses, ""


def _spread(
    asked: npt.NDArray[np.float64], chosen: list[int], poses: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Refined poses of all frames: each takes the correction of the nearest lifted frame."""
    out = np.empty_like(asked)
    for k in range(len(asked)):
        near = min(range(len(chosen)), key=lambda j: abs(chosen[j] - k))
        out[k] = poses[near] @ invert(asked[chosen[near]]) @ asked[k]
    return out


class _Lifter:
    """Lifts the chosen frames one after the other; keeps what the clip gave so far."""

    def __init__(
        self,
        frames: FrameStack,
        estimate: GeometryEstimate,
        moving: npt.NDArray[np.bool_],
        poses: npt.NDArray[np.float64],
        memory: MemorySnapshot,
        origin: _Origin,
        keep_visible: tuple[DepthView, ...],
        max_points: int,
    ) -> None:
        self._frames, self._estimate, self._moving, self._poses = frames, estimate, moving, poses
        self._memory, self._origin, self._keep_visible, self._max_points = memory, origin, keep_visible, max_points
        self._given = SpatialMemory(memory.voxel_size_m)
        self._counts = {"known_already": 0, "would_hide": 0, "lifted": 0}

    def lift(self, k: int, frame_index: int) -> PointBatch:
        """Points of the k-th chosen frame."""
        depth = self._estimate.depth_m[k]
        use = (depth > 0) & (self._estimate.confidence[k] > 0) & ~self._moving[k]
        is_invented = self._origin.point_class is PointClass.INVENTED
        if is_invented:
            use = self._only_new(k, use)
        batch = self._points(k, frame_index, self._frames.color[k], depth, use)
        hidden = [x for x in self._estimate.layers if x.frame_index == k]
        further = [self._points(k, frame_index, x.color, x.depth_m, x.depth_m > 0) for x in hidden]
        batch = PointBatch.concatenate([batch, *further])
        if is_invented:
            batch = self._without_hiding(batch)
            self._given.insert(batch)
        self._counts["lifted"] += len(batch)
        return batch

    def _points(
        self,
        k: int,
        frame_index: int,
        color: npt.NDArray[np.uint8],
        depth_m: npt.NDArray[np.float32],
        use: npt.NDArray[np.bool_],
    ) -> PointBatch:
        return lift_pixels(
            color,
            depth_m,
            self._estimate.confidence[k],
            use=use,
            pinhole=self._frames.pinhole,
            world_T_camera=self._poses[k],
            priority=self._origin.priority,
            keyframe_id=self._origin.first_keyframe_id + frame_index,
            max_points=self._max_points,
        )

    def _only_new(self, k: int, use: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Leave out what memory shows already, and what this clip gave already."""
        pinhole, pose, depth = self._frames.pinhole, self._poses[k], self._estimate.depth_m[k]
        surface = render_depth(self._memory, pinhole, pose, self._origin.priority).depth_m
        new_surface = None if self._frames.new_surface is None else self._frames.new_surface[k]
        new = use & shows_new(depth, new_surface, surface)
        if self._given.num_points:
            new &= ~lies_on_surface(depth, pinhole, pose, self._given.snapshot())
        self._counts["known_already"] += int(use.sum() - new.sum())
        return new

    def _without_hiding(self, batch: PointBatch) -> PointBatch:
        hiding = hides_surface(batch.positions_world, self._keep_visible)
        if not hiding.any():
            return batch
        self._counts["would_hide"] += int(hiding.sum())
        kept = ~hiding
        return PointBatch(
            batch.positions_world[kept],
            batch.colors[kept],
            batch.weights[kept],
            batch.priority[kept],
            batch.keyframe[kept],
        )

    def keyframe(self, k: int, frame_index: int, keep_depth: bool) -> Keyframe:
        """The k-th chosen frame as a candidate for the bank."""
        origin = self._origin
        return Keyframe(
            origin.first_keyframe_id + frame_index,
            origin.request_id,
            self._frames.color[k].copy(),
            self._frames.pinhole,
            self._poses[k].copy(),
            origin.point_class,
            origin.rank,
            self._estimate.depth_m[k].copy() if keep_depth else None,
            self._moving[k].copy() if self._moving[k].any() else None,
            origin.prompt,
            origin.tick,
        )

    def free_space(self, k: int) -> tuple[DepthView, ...]:
        """What the k-th frame saw through: nothing if it only added to memory, or if its depth is a guess."""
        if self._frames.new_surface is not None or not self._estimate.sees_free_space:
            return ()
        depth = np.where(self._moving[k], np.float32(0), self._estimate.depth_m[k])
        return (free_space_view(depth, self._frames.pinhole, self._poses[k], self._origin.priority),)

    def tests(self) -> dict[str, float]:
        """Counts of pixels: lifted, left out because known, left out because they would hide something."""
        return {name: float(count) for name, count in self._counts.items()}


def _report(
    name: str, estimate: GeometryEstimate, alignments: list[Alignment], moving_share: float, tests: dict[str, float]
) -> UpdateReport:
    kept = [a for a in alignments if not a.rejected]
    residuals = [a.residual for a in kept if np.isfinite(a.residual)]
    return UpdateReport(
        name,
        pose_correction_m=max(a.correction_m for a in kept),
        pose_correction_rad=max(a.correction_rad for a in kept),
        scale=estimate.scale,
        residual=float(np.median(residuals)) if residuals else float("nan"),
        covisible_share=float(np.mean([a.covisible_share for a in kept])),
        moving_share=moving_share,
        tests={**tests, "is_metric": float(estimate.is_metric), "frames_rejected": float(len(alignments) - len(kept))},
    )


def _rejected(frames: FrameStack, name: str, reason: str, alignments: Sequence[Alignment] = ()) -> MapUpdate:
    residuals = [a.residual for a in alignments if np.isfinite(a.residual)]
    report = UpdateReport(
        name,
        reason,
        pose_correction_m=max((a.correction_m for a in alignments), default=0.0),
        pose_correction_rad=max((a.correction_rad for a in alignments), default=0.0),
        residual=float(np.median(residuals)) if residuals else float("nan"),
    )
    return _empty(frames, report)


def _empty(frames: FrameStack, report: UpdateReport) -> MapUpdate:
    return MapUpdate(PointBatch.empty(), (), (), frames.world_T_camera.copy(), report)


def _completed(update: MapUpdate, frames: FrameStack, first_keyframe_id: int) -> MapUpdate:
    """Add estimated points where no depth was measured; the keyframes get the filled depth."""
    points, keyframes = [update.points], []
    for frame in update.keyframes:
        measured = None if frames.depth_m is None else frames.depth_m[frame.keyframe_id - first_keyframe_id]
        if frame.depth_m is None or measured is None:
            keyframes.append(frame)
            continue
        hole = clean_depth(measured) == 0  # pixels that flew between two surfaces stay out
        filled = np.where(hole, complete_depth(frame.depth_m, frame.color), frame.depth_m)
        points.append(
            lift_pixels(
                frame.color,
                filled,
                np.full(filled.shape, COMPLETED_CONFIDENCE, np.float32),
                use=hole if frame.moving is None else hole & ~frame.moving,
                pinhole=frame.pinhole,
                world_T_camera=frame.world_T_camera,
                priority=priority_of(PointClass.ESTIMATED),
                keyframe_id=frame.keyframe_id,
                max_points=filled.size,
            )
        )
        keyframes.append(replace(frame, depth_m=filled))
    return replace(update, points=PointBatch.concatenate(points), keyframes=tuple(keyframes))
