"""Frames are put where memory says that they belong, or left out with a reason."""

import numpy as np
import pytest
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointClass, priority_of
from spatia.world.slam.alignment import align_to_memory, align_together
from spatia.world.slam.given import depth_confidence, find_flying
from spatia.world.transforms import invert, rotation_about, rotation_angle_rad


def _offset(distance_m: float, angle_deg: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    axis, way = rng.normal(size=3), rng.normal(size=3)
    out = np.eye(4)
    out[:3, :3] = rotation_about(axis, np.radians(angle_deg))
    out[:3, 3] = distance_m * way / np.linalg.norm(way)
    return out


def _align(frames, pose, snapshot, **limits):
    depth = np.where(find_flying(frames.depth_m[0]), 0, frames.depth_m[0]).astype(np.float32)
    confidence = depth_confidence(depth, frames.pinhole)
    return align_to_memory(depth, confidence, frames.pinhole, pose, snapshot, **limits)


def _error(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    step = invert(truth) @ found
    return float(np.linalg.norm(step[:3, 3])), float(np.degrees(rotation_angle_rad(step)))


@pytest.mark.parametrize("seed", range(3))
def test_offset_of_2_cm_and_1_degree_is_taken_back(room, memory_of, seed: int):
    frames = room(np.eye(4)[None])
    aligned = _align(frames, _offset(0.02, 1.0, seed), memory_of(frames))
    distance_m, angle_deg = _error(aligned.world_T_camera, np.eye(4))
    assert aligned.rejected == ""
    assert distance_m < 0.004
    assert angle_deg < 0.15
    assert aligned.correction_m > 0.01
    assert aligned.covisible_share > 0.9


def test_frame_of_a_recording_is_aligned_to_another(room, memory_of, kitchen):
    first, second = kitchen(0), kitchen(1)
    snapshot = memory_of(first)
    truth = second.world_T_camera[0]
    best = _align(second, truth, snapshot).world_T_camera
    aligned = _align(second, truth @ _offset(0.02, 1.0, 0), snapshot)
    distance_m, angle_deg = _error(aligned.world_T_camera, best)
    assert aligned.rejected == ""
    assert distance_m < 0.01
    assert angle_deg < 0.35
    assert aligned.residual < 0.01


def test_frame_that_fits_already_keeps_its_pose_bit_for_bit(room, memory_of):
    frames = room(np.eye(4)[None])
    pose = np.eye(4)
    aligned = _align(frames, pose, memory_of(frames))
    np.testing.assert_array_equal(aligned.world_T_camera, pose)
    assert (aligned.correction_m, aligned.correction_rad, aligned.rejected) == (0.0, 0.0, "")
    assert aligned.residual < 0.005


def test_empty_memory_changes_nothing_and_rejects_nothing(room):
    frames = room(np.eye(4)[None])
    aligned = _align(frames, np.eye(4), SpatialMemory().snapshot())
    assert aligned.rejected == ""
    assert np.isnan(aligned.residual)


def test_no_overlap_is_no_rejection(room, memory_of):
    behind = np.eye(4)
    behind[:3, :3] = rotation_about((0, 1, 0), np.pi)
    frames = room(np.eye(4)[None])
    aligned = _align(frames, behind, memory_of(frames))
    assert aligned.rejected == ""
    np.testing.assert_array_equal(aligned.world_T_camera, behind)


def test_little_overlap_changes_nothing(room, memory_of):
    frames = room(np.eye(4)[None])
    use = np.zeros(frames.depth_m.shape[1:], bool)
    use[:, :6] = True
    pose = _offset(0.02, 1.0, 0)
    aligned = _align(frames, pose, memory_of(frames, use=use))
    np.testing.assert_array_equal(aligned.world_T_camera, pose)


def test_frame_of_another_shape_is_rejected_with_its_residual(room, memory_of):
    frames = room(np.eye(4)[None])
    rng = np.random.default_rng(0)
    other = (frames.depth_m[0] * rng.uniform(0.5, 0.8, frames.depth_m[0].shape)).astype(np.float32)
    ones = np.ones_like(other)
    aligned = align_to_memory(other, ones, frames.pinhole, np.eye(4), memory_of(frames))
    assert aligned.rejected.startswith("does not fit memory: median residual")
    assert "over 0.050" in aligned.rejected


def test_correction_beyond_the_limit_is_rejected(room, memory_of):
    frames = room(np.eye(4)[None])
    snapshot = memory_of(frames)
    far = _align(frames, _offset(0.05, 0.1, 1), snapshot, max_translation_m=0.02)
    assert "it would move by" in far.rejected
    turned = _align(frames, _offset(0.005, 3.0, 1), snapshot, max_rotation_rad=np.radians(1.0))
    assert "it would turn by" in turned.rejected


def test_depth_without_numbers_changes_nothing(room, memory_of):
    frames = room(np.eye(4)[None])
    blank = np.full(frames.depth_m[0].shape, np.nan, np.float32)
    aligned = align_to_memory(blank, np.ones_like(blank), frames.pinhole, np.eye(4), memory_of(frames))
    assert aligned.rejected == ""
    np.testing.assert_array_equal(aligned.world_T_camera, np.eye(4))


def test_pixels_without_confidence_do_not_count(room, memory_of):
    frames = room(np.eye(4)[None])
    depth = frames.depth_m[0].copy()
    confidence = np.ones_like(depth)
    depth[:, :70] *= 0.5
    confidence[:, :70] = 0
    aligned = align_to_memory(depth, confidence, frames.pinhole, np.eye(4), memory_of(frames))
    assert aligned.rejected == ""
    assert aligned.residual < 0.005


def test_observed_points_are_preferred_to_invented_ones(room, memory_of):
    frames = room(np.eye(4)[None])
    moved = room(_offset(0.06, 0.0, 2)[None])
    memory = SpatialMemory(0.02)
    observed = memory_of(frames)
    invented = memory_of(
        type(frames)(moved.color, moved.depth_m, None, None, None, np.eye(4)[None].copy(), moved.pinhole),
        priority=priority_of(PointClass.INVENTED, 5),
    )
    memory.insert(invented.points())
    memory.insert(observed.points())
    aligned = _align(frames, np.eye(4), memory.snapshot())
    assert _error(aligned.world_T_camera, np.eye(4))[0] < 0.004


def test_wall_alone_leaves_what_it_does_not_fix(room, memory_of):
    frames = room(np.eye(4)[None])
    flat = np.full(frames.depth_m.shape, 3.0, np.float32)
    wall = type(frames)(frames.color, flat, None, None, None, np.eye(4)[None].copy(), frames.pinhole)
    pose = np.eye(4)
    pose[:3, 3] = (0.04, 0.0, 0.03)
    found = _align(wall, pose, memory_of(wall)).world_T_camera
    assert found[2, 3] == pytest.approx(0.0, abs=0.005)
    assert found[0, 3] == pytest.approx(0.04, abs=0.005)


def _three_poses() -> np.ndarray:
    poses = np.stack([np.eye(4)] * 3)
    poses[1, 0, 3], poses[2, :3, :3] = 0.25, rotation_about(np.array([0.0, 1.0, 0.0]), 0.2)
    return poses


def test_frames_of_a_clip_are_moved_as_one(room, memory_of):
    poses = _three_poses()
    frames = room(poses)
    motion = _offset(0.03, 0.5, 1)
    confidence = np.stack([depth_confidence(d, frames.pinhole) for d in frames.depth_m])
    found = align_together(frames.depth_m, confidence, frames.pinhole, motion @ poses, memory_of(frames))
    steps = [a.world_T_camera @ invert(motion @ p) for a, p in zip(found, poses, strict=True)]
    for step in steps:
        np.testing.assert_allclose(step, steps[0], atol=1e-9)
    assert max(_error(a.world_T_camera, p)[0] for a, p in zip(found, poses, strict=True)) < 0.01


def test_a_clip_of_another_shape_is_rejected_together(room, memory_of):
    poses = _three_poses()
    frames = room(poses)
    depth, confidence = frames.depth_m * np.float32(1.3), np.ones_like(frames.depth_m)
    found = align_together(depth, confidence, frames.pinhole, poses, memory_of(frames))
    assert all("does not fit memory" in a.rejected for a in found)


def test_a_clip_that_memory_knows_nothing_of_keeps_its_poses(room):
    poses = _three_poses()
    frames = room(poses)
    nothing = SpatialMemory(0.01).snapshot()
    found = align_together(frames.depth_m, np.ones_like(frames.depth_m), frames.pinhole, poses, nothing)
    assert all((a.world_T_camera == p).all() and not a.rejected for a, p in zip(found, poses, strict=True))
