"""From frames to a ``MapUpdate``: estimate, align, mask, lift, and say what space is free."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..camera import Pinhole
from ..memory import MemorySnapshot
from ..moving_views import MovingView, join_owners
from ..points import PointBatch, PointClass, priority_of
from ..transforms import invert
from ..updates import DepthView, MapUpdate, UpdateReport
from ..visibility import render_depth
from .alignment import Alignment
from .completion import complete_depth
from .estimators import FrameStack, GeometryEstimate, GeometryEstimator, make_estimator
from .evidence import why_refuted
from .fit import settle_motion, settle_poses, why_all_moves
from .given import clean_depth
from .intrinsics import estimate_camera, why_camera
from .lift import choose_frames, lift_pixels
from .lifter import Lifter, Origin
from .masks import join_moving
from .motion_masks import Motion
from .scale import ScaleLock, lock_scale
from .segmenters import MARKED, RESIDUAL, ClipMasks, Prompt, Segmenter, follow

BLANK_DEVIATION = 0.5
"""Standard deviation of 8-bit colour below which a clip shows nothing."""
COMPLETED_CONFIDENCE = 0.02
"""Filled depth gets the least weight."""
VOXEL_SIZES_M, VOXEL_PER_PIXEL = (0.0025, 0.005, 0.01), 1.4
MANY_FRAMES = 8
"""A source of more frames averages them within voxels of 1 cm."""


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
    find_moving: bool | None = None,
    segmenter: Segmenter | None = None,
    clicks: Sequence[Prompt] = (),
    history: npt.NDArray[np.uint8] | None = None,
    history_world_T_camera: npt.NDArray[np.float64] | None = None,
    history_request_id: int = 0,
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
        find_moving: Leave out what stands where memory, or other frames of the clip, saw free space. By default for
            clips that show the whole view (no ``new_surface``), are aligned, and whose depth is more than a guess.
        segmenter: Follows what was found and clicked through the whole clip.
        clicks: Where the user points at something that moves, by frames of the clip.
        history: (T, H, W, 3) uint8, the frames that the clip goes on from, for the segmenter.
        history_world_T_camera: (T, 4, 4) their poses: what is followed into them is taken back from memory.
        history_request_id: The request that made them: what is followed into them joins its keyframes' masks.

    Returns:
        The update; empty where ``report.rejected`` says why, or where ``new_surface`` marks nothing.

    Raises:
        ValueError: The frames lack what the estimator needs, or a mask has another shape.
    """
    if frames.new_surface is not None and not frames.new_surface.any():
        name = estimator if isinstance(estimator, str) else estimator.name
        return _empty(frames, UpdateReport(name, tests={"lifted": 0.0}))
    origin = Origin(point_class, rank, request_id, first_keyframe_id, prompt, tick)
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
    lock = ScaleLock()
    if estimate.is_up_to_scale:
        estimate, lock = lock_scale(part, estimate, moving, memory)
        if lock.rejected:
            return _rejected(frames, engine.name, lock.rejected, tests=_scale_tests(lock))
    looks = (
        align and part.new_surface is None and estimate.sees_free_space and bool(memory.chunks)
        if find_moving is None
        else find_moving
    )
    motion, alignments = settle_motion(part, estimate, moving, memory, align=align, looks=looks)
    if part.new_surface is not None:
        alignments = _unmoved(alignments, estimate.world_T_camera)
    poses, reason = settle_poses(alignments, estimate.world_T_camera)
    masks = motion.moving | moving
    shares = _moving_shares(motion, moving)
    if not reason and looks:
        reason = why_refuted(motion.refuted_share) or why_all_moves(estimate, motion.by_space & ~moving)
    if looks and not estimate.poses_fit_together:
        camera = estimate_camera(estimate, moving, masks & ~moving, part.pinhole, alignments, memory)
        shares |= {"focal_factor": camera.factor_x, "principal_x": camera.shift_x, "principal_y": camera.shift_y}
        reason = why_camera(camera) or reason
    if reason:
        return _rejected(frames, engine.name, reason, alignments, shares)
    marked, moving = moving, masks
    withdrawn: tuple[DepthView, ...] = ()
    moving_before: tuple[MovingView, ...] = ()
    owners = _owners(masks, marked)
    if segmenter is not None:
        followed = follow(frames.color, masks, chosen, segmenter, clicks=clicks, history=history)
        moving = moving | join_moving([followed.moving[chosen]], masks.shape, dilation_px=1)
        owners = [join_owners(name, followed.owners[k]) for name, k in zip(owners, chosen, strict=True)]
        shares["moving_followed"] = float((moving & ~masks).mean())
        shares["tracks_distrusted"] = float(followed.num_distrusted)
        if history_world_T_camera is not None:
            moving_before = _moving_before(followed, history_world_T_camera, history_request_id)
            withdrawn = _withdrawn(followed.history, history_world_T_camera, memory, frames.pinhole, origin.priority)
            shares["history_followed"] = float(followed.history.mean()) if followed.history.size else 0.0
    lifter = Lifter(part, estimate, moving, poses, memory, origin, tuple(keep_visible), max_points_per_frame)
    points = [lifter.lift(k, chosen[k]) for k in range(len(chosen)) if not alignments[k].rejected]
    keyframes = tuple(
        replace(lifter.keyframe(k, chosen[k], keep_depth), moving_by=owners[k])
        for k in range(len(chosen))
        if not alignments[k].rejected
    )
    tests = {**estimate.tests, **lifter.tests(), **shares, "frames_lifted": float(len(points))}
    if estimate.is_up_to_scale:
        tests |= _scale_tests(lock)
    report = _report(engine.name, estimate, alignments, float(moving.mean()), tests)
    free = tuple(v for k in range(len(chosen)) if not alignments[k].rejected for v in lifter.free_space(k))
    return MapUpdate(
        PointBatch.concatenate(points),
        free,
        keyframes,
        _spread(frames.world_T_camera, chosen, poses),
        report,
        withdrawn,
        moving_before,
    )


def _moving_before(
    followed: ClipMasks, world_T_camera: npt.NDArray[np.float64], request_id: int
) -> tuple[MovingView, ...]:
    """What moves in the frames before the clip, in each that marks something; nothing where nobody knows whose."""
    if request_id == 0:
        return ()
    masks = join_moving([followed.history], followed.history.shape, dilation_px=1)
    return tuple(
        MovingView(request_id, mask, pose, owner)
        for mask, pose, owner in zip(masks, world_T_camera, followed.history_owners, strict=True)
        if mask.any()
    )


def _withdrawn(
    masks: npt.NDArray[np.bool_],
    world_T_camera: npt.NDArray[np.float64],
    memory: MemorySnapshot,
    pinhole: Pinhole,
    priority: int,
) -> tuple[DepthView, ...]:
    """Depth at which memory shows what moves in the frames before the clip, in each that marks something."""
    views = []
    for mask, pose in zip(masks, world_T_camera, strict=True):
        if mask.any():
            shown = render_depth(memory, pinhole, pose).depth_m
            views.append(DepthView(np.where(mask, shown, np.float32(0)), pinhole, pose, priority))
    return tuple(views)


def _moving_shares(motion: Motion, marked: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Shares of the pixels that were marked, and that residuals found beyond, by what told so; both may."""
    return {
        "moving_marked": float(marked.mean()),
        "moving_found": float(((motion.by_space | motion.by_color) & ~marked).mean()),
        "moving_by_space": float((motion.by_space & ~marked).mean()),
        "moving_by_color": float((motion.by_color & ~marked).mean()),
        "refuted_by_evidence": float((motion.by_evidence & ~marked).mean()),
    }


def _unmoved(alignments: list[Alignment], world_T_camera: npt.NDArray[np.float64]) -> list[Alignment]:
    """Measured and judged, but left at their poses: a clip that marks what is new was painted over memory's picture.

    Its poses are exact, and a correction would only follow memory's noise.
    """
    return [
        replace(a, world_T_camera=pose, correction_m=0.0, correction_rad=0.0)
        for a, pose in zip(alignments, world_T_camera, strict=True)
    ]


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
    is_estimated: bool = False,
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
        is_estimated: True if the depth was found from the pictures: the points are then estimated.

    Returns:
        The update.

    Raises:
        ValueError: The frames lack what the estimator needs, or a mask has another shape.
    """
    has_depth = frames.depth_m is not None
    name = estimator if estimator is not None else ("given" if has_depth else "diorama")
    point_class = PointClass.OBSERVED if has_depth and not is_estimated else PointClass.ESTIMATED
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


def _owners(masks: npt.NDArray[np.bool_], marked: npt.NDArray[np.bool_]) -> list[str]:
    """Who marks something in each frame: whoever made the clip or its source, and what residuals found."""
    return [
        join_owners(MARKED if m.any() else "", RESIDUAL if (f & ~m).any() else "")
        for f, m in zip(masks, marked, strict=True)
    ]


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
        frames.is_exact,
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


def _spread(
    asked: npt.NDArray[np.float64], chosen: list[int], poses: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Refined poses of all frames: each takes the correction of the nearest lifted frame."""
    out = np.empty_like(asked)
    for k in range(len(asked)):
        near = min(range(len(chosen)), key=lambda j: abs(chosen[j] - k))
        out[k] = poses[near] @ invert(asked[chosen[near]]) @ asked[k]
    return out


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


def _rejected(
    frames: FrameStack,
    name: str,
    reason: str,
    alignments: Sequence[Alignment] = (),
    tests: Mapping[str, float] | None = None,
) -> MapUpdate:
    """An empty update that says why. ``tests`` names the reason as a figure: ``rejected_by_…`` is 1."""
    residuals = [a.residual for a in alignments if np.isfinite(a.residual)]
    report = UpdateReport(
        name,
        reason,
        pose_correction_m=max((a.correction_m for a in alignments), default=0.0),
        pose_correction_rad=max((a.correction_rad for a in alignments), default=0.0),
        residual=float(np.median(residuals)) if residuals else float("nan"),
        tests={**(tests or {}), "frames_rejected": float(len(frames)), f"rejected_by_{_test_of(reason)}": 1.0},
    )
    return _empty(frames, report)


def _scale_tests(lock: ScaleLock) -> dict[str, float]:
    return {
        "scale_factor": lock.scale,
        "scale_shift_m": lock.shift_m,
        "scale_agreement": lock.agreement,
        "scale_samples": float(lock.num_samples),
    }


def _test_of(reason: str) -> str:
    """The test behind a reason, in one word."""
    words = {
        "blank": "blank",
        "intrinsics": "intrinsics",
        "nothing stands still": "motion",
        "contradicts": "evidence",
        "scale": "scale",
        "median residual": "residual",
        "would move": "translation",
        "would turn": "rotation",
        "have to move": "motion",
    }
    return next((test for text, test in words.items() if text in reason), "other")


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
