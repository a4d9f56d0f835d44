"""A clip that does not fit leaves memory as it was, and the report says which test said no."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from spatia.tests.world.slam.corner import PINHOLE, POSES, noise, view
from spatia.world.camera import Pinhole, unproject
from spatia.world.memory import SpatialMemory
from spatia.world.merge import stage_update
from spatia.world.points import PointBatch, PointClass, priority_of
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.lift import free_space_view
from spatia.world.slam.update import build_update
from spatia.world.transforms import look
from spatia.world.updates import MapUpdate
from spatia.world.visibility import render_depth

VIEWS = [view(p) for p in POSES[::3]]


def _clip(poses: list[np.ndarray]) -> FrameStack:
    views = [view(p) for p in poses]
    color, depth = np.stack([v.color for v in views]), np.stack([v.depth_m for v in views])
    return FrameStack(color, depth, None, None, None, np.stack(poses), PINHOLE)


def _memory() -> SpatialMemory:
    memory = SpatialMemory(0.01)
    for pose, seen in zip(POSES[::3], VIEWS, strict=True):
        points, colors = unproject(seen.depth_m, PINHOLE, pose), seen.color[seen.depth_m > 0]
        memory.insert(PointBatch.uniform(points, colors, priority=priority_of(PointClass.INVENTED, 30), keyframe=1))
    return memory


def _lift(frames: FrameStack, memory: SpatialMemory, estimator: str = "given") -> MapUpdate:
    return build_update(
        frames,
        memory=memory.snapshot(),
        estimator=estimator,
        point_class=PointClass.INVENTED,
        rank=40,
        request_id=1,
        first_keyframe_id=9,
    )


def _check_unharmed(memory: SpatialMemory, update: MapUpdate) -> None:
    """Merging changes nothing of what memory shows from where it was seen."""
    before = [render_depth(memory.snapshot(), PINHOLE, pose).depth_m for pose in POSES[::3]]
    memory.apply(stage_update(memory.snapshot(), update))
    for pose, depth in zip(POSES[::3], before, strict=True):
        after = render_depth(memory.snapshot(), PINHOLE, pose).depth_m
        known = depth > 0
        assert (np.abs(after[known] - depth[known]) > 0.03 * depth[known]).mean() < 0.01


def _check_rejected(memory: SpatialMemory, update: MapUpdate, test: str) -> None:
    assert update.report.rejected
    assert update.report.tests[f"rejected_by_{test}"] == 1.0
    digest = memory.content_hash()
    memory.apply(stage_update(memory.snapshot(), update))
    assert memory.content_hash() == digest


@pytest.mark.parametrize("estimator", ["given", "multiview"])
def test_blank_frames_are_rejected(estimator: str):
    memory, frames = _memory(), _clip(POSES[:3])
    blank = replace(frames, color=np.full_like(frames.color, 120))
    _check_rejected(memory, _lift(blank, memory, estimator), "blank")


def test_a_camera_that_only_turns_gives_no_depth_to_merge():
    memory = _memory()
    frames = replace(_clip([look((0, 0, 0), 0.1 * k, 0.0) for k in range(4)]), depth_m=None)
    _check_rejected(memory, _lift(frames, memory, "multiview"), "blank")


def test_motion_blur_harms_nothing():
    memory, frames = _memory(), _clip(POSES[:4])
    blurred = np.stack([cv2.blur(c, (41, 1)) for c in frames.color])
    update = _lift(replace(frames, color=blurred, depth_m=None), memory, "multiview")
    _check_unharmed(memory, update)


def test_a_mover_over_half_of_the_picture_is_left_out():
    memory, frames = _memory(), _clip(POSES[:4])
    depth, mask = frames.depth_m.copy(), np.zeros(frames.depth_m.shape, bool)
    for k in range(4):
        mask[k, 20:220, 40 + 20 * k : 220 + 20 * k] = True
    depth[mask] = 0.7
    update = _lift(replace(frames, depth_m=depth), memory)
    assert update.report.rejected == ""
    assert update.report.moving_share > 0.4
    z = [PINHOLE.project(update.points.positions_world, pose)[1] for pose in POSES[:1]]
    assert (np.abs(z[0] - 0.7) < 0.03).mean() < 0.01
    _check_unharmed(memory, update)


def _with_focal(frames: FrameStack, factor: float) -> FrameStack:
    p = frames.pinhole
    return replace(frames, pinhole=Pinhole(p.width, p.height, factor * p.fx, factor * p.fy, p.cx, p.cy))


def test_a_focal_length_that_is_too_short_is_rejected():
    memory = _memory()
    update = _lift(_with_focal(_clip(POSES[:4]), 0.8), memory)
    _check_rejected(memory, update, "translation")


def test_a_focal_length_that_is_too_long_harms_nothing():
    memory = _memory()
    update = _lift(_with_focal(_clip(POSES[:4]), 1.4), memory)
    assert update.report.tests["moving_found"] > 0.05
    _check_unharmed(memory, update)


@pytest.mark.parametrize("size", [60, 150])
def test_a_false_near_surface_stays_out_of_memory(size: int):
    """What an estimator puts where memory saw free space leaves no point, in view or beside it."""
    memory, frames = _memory(), _clip(POSES[:4])
    depth = frames.depth_m.copy()
    depth[:, 40 : 40 + size, 60 : 60 + size] = 0.6
    update = _lift(replace(frames, depth_m=depth), memory)
    points = update.points.positions_world
    if len(points):
        z = PINHOLE.project(points, POSES[0])[1]
        assert not (np.abs(z - 0.6) < 0.05).any()
    assert update.report.rejected or update.report.tests["moving_by_space"] > 0.01
    _check_unharmed(memory, update)


def _well_observed() -> SpatialMemory:
    """The same memory after three looks that confirm it."""
    memory = _memory()
    for pose, seen in zip(POSES[::3], VIEWS, strict=True):
        memory.carve([free_space_view(seen.depth_m, PINHOLE, pose, priority_of(PointClass.INVENTED, 30))] * 2)
    return memory


def _with_false_depth(frames: FrameStack, size: int, factor: float) -> FrameStack:
    """Depth of a square of pixels times a factor; the picture stays as it is."""
    depth = frames.depth_m.copy()
    depth[:, 40 : 40 + size, 60 : 60 + size] *= np.float32(factor)
    return replace(frames, depth_m=depth)


def test_a_moved_centre_harms_nothing_where_depth_is_found_from_motion():
    memory, frames = _memory(), _clip(POSES[:4])
    p = frames.pinhole
    moved = replace(frames, pinhole=replace(p, cx=p.cx + 0.12 * p.width), depth_m=None)
    _check_unharmed(memory, _lift(moved, memory, "multiview"))


NEAR, FAR = 0.6, 1.3


@pytest.mark.parametrize("factor", [NEAR, FAR])
def test_false_depth_on_well_observed_surface_is_refuted_by_it_and_left_out(factor: float):
    memory = _well_observed()
    update = _lift(_with_false_depth(_clip(POSES[:4]), 60, factor), memory)
    assert update.report.rejected == ""
    assert 0.03 < update.report.tests["refuted_by_evidence"] < 0.1
    assert update.report.tests["moving_found"] < 0.02
    _check_unharmed(memory, update)


@pytest.mark.parametrize("factor", [NEAR, FAR])
def test_a_clip_that_well_observed_surface_refutes_widely_is_rejected_by_evidence(factor: float):
    memory = _well_observed()
    update = _lift(_with_false_depth(_clip(POSES[:4]), 170, factor), memory)
    assert "well observed" in update.report.rejected
    _check_rejected(memory, update, "evidence")


def test_surface_that_was_seen_once_refutes_nothing():
    memory = _memory()
    update = _lift(_with_false_depth(_clip(POSES[:4]), 60, FAR), memory)
    assert update.report.tests["refuted_by_evidence"] == 0.0


def test_what_moves_before_well_observed_surface_is_no_false_depth():
    memory, frames = _well_observed(), _with_false_depth(_clip(POSES[:4]), 60, NEAR)
    color = frames.color.copy()
    color[:, 40:100, 60:120] = np.repeat(noise((60, 60), 77)[..., None], 3, axis=2)
    update = _lift(replace(frames, color=color), memory)
    assert update.report.tests["refuted_by_evidence"] == 0.0
    assert update.report.tests["moving_by_space"] > 0.03
    _check_unharmed(memory, update)


def test_a_clip_from_elsewhere_is_rejected():
    memory, frames = _memory(), _clip(POSES[:4])
    color = np.repeat(noise(PINHOLE.size[::-1], 99)[None, ..., None], 3, axis=3).repeat(4, axis=0)
    bumps = 1.2 + 2.5 * (noise(PINHOLE.size[::-1], 98).astype(np.float32) / 255)
    depth = np.repeat(bumps[None], 4, axis=0)
    update = _lift(replace(frames, color=color, depth_m=depth), memory)
    assert update.report.rejected.startswith("does not fit memory")
    assert update.report.tests["frames_rejected"] == 4.0
    _check_unharmed(memory, update)


def test_a_clip_that_stands_all_in_front_of_memory_is_rejected():
    memory, frames = _memory(), _clip(POSES[:4])
    near = np.where(frames.depth_m > 0, np.float32(0.5), np.float32(0))
    _check_rejected(memory, _lift(replace(frames, depth_m=near), memory), "residual")


def test_a_clip_that_is_far_off_its_path_is_rejected():
    memory, frames = _memory(), _clip(POSES[:3])
    shifted = frames.world_T_camera.copy()
    shifted[:, 2, 3] -= 0.4
    update = _lift(replace(frames, world_T_camera=shifted), memory)
    assert update.report.rejected
    _check_unharmed(memory, update)
