"""A camera is followed by its pictures and depth; what does not fit is lost, and found again."""

import numpy as np
import pytest
from spatia.tests.world.slam.corner import BLANK, PINHOLE, POSES, View, noise, view
from spatia.world.slam.tracking import Tracker, track_recording
from spatia.world.transforms import invert, look, rotation_angle_rad


def _errors(found: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    step = invert(invert(POSES[0]) @ truth) @ found
    return float(np.linalg.norm(step[:3, 3])), float(np.degrees(rotation_angle_rad(step)))


def test_a_recording_is_tracked_without_its_poses():
    trajectory = track_recording([view(p) for p in POSES])
    assert trajectory.is_tracked.all()
    errors = np.array([_errors(e, t) for e, t in zip(trajectory.world_T_camera, POSES, strict=True)])
    assert errors[:, 0].max() < 0.03
    assert errors[:, 1].max() < 0.8


def test_the_first_frame_is_the_world():
    trajectory = track_recording([view(p) for p in POSES[:2]])
    np.testing.assert_array_equal(trajectory.world_T_camera[0], np.eye(4))
    assert trajectory.poses[0].is_keyframe


def test_pure_rotation_is_tracked():
    poses = [look((0, 0, 0), 0.1 * k, 0.0) for k in range(5)]
    trajectory = track_recording([view(p) for p in poses])
    assert trajectory.is_tracked.all()
    step = invert(poses[-1]) @ trajectory.world_T_camera[-1]
    assert np.linalg.norm(step[:3, 3]) < 0.03
    assert np.degrees(rotation_angle_rad(step)) < 0.5


def test_blank_frames_are_lost_and_the_camera_is_found_again():
    frames = [view(POSES[0]), view(POSES[1]), BLANK, BLANK, view(POSES[3])]
    trajectory = track_recording(frames)
    assert trajectory.is_tracked.tolist() == [True, True, False, False, True]
    assert "no depth" in trajectory.poses[2].lost
    assert "no keyframe shares enough corners" in trajectory.poses[3].lost
    assert trajectory.poses[4].is_relocalised
    assert _errors(trajectory.world_T_camera[4], POSES[3])[0] < 0.03


def test_lost_frames_repeat_the_pose_before():
    trajectory = track_recording([view(POSES[0]), view(POSES[2]), BLANK])
    np.testing.assert_array_equal(trajectory.world_T_camera[2], trajectory.world_T_camera[1])


def test_a_frame_from_elsewhere_is_lost():
    rng = np.random.default_rng(5)
    color = np.repeat(noise((240, 320), 77)[..., None], 3, axis=2)
    elsewhere = View(color, rng.uniform(1, 4, (240, 320)).astype(np.float32), PINHOLE)
    trajectory = track_recording([view(POSES[0]), view(POSES[1]), elsewhere])
    assert not trajectory.is_tracked[2]


def test_what_is_masked_does_not_draw_the_camera_along():
    def with_mover(pose: np.ndarray, shift: int) -> View:
        plain = view(pose)
        color, depth, mask = plain.color.copy(), plain.depth_m.copy(), np.zeros((240, 320), bool)
        mask[30:210, 60 + shift : 220 + shift] = True
        patch = np.repeat(noise((180, 160), 9)[..., None], 3, axis=2)
        color[mask], depth[mask] = patch.reshape(-1, 3), 0.8
        return View(color, depth, PINHOLE, mask)

    trajectory = track_recording([with_mover(POSES[0], 6 * k) for k in range(5)])
    assert trajectory.is_tracked.all()
    assert np.abs(trajectory.world_T_camera[:, :3, 3]).max() < 0.006


def test_a_recording_that_starts_blank_starts_with_the_first_frame_that_shows_something():
    trajectory = track_recording([BLANK, view(POSES[0]), view(POSES[1])])
    assert trajectory.is_tracked.tolist() == [False, True, True]
    assert "nothing to start from" in trajectory.poses[0].lost


def test_a_world_can_be_continued_from_its_keyframes():
    tracker = Tracker()
    tracker.add_keyframe(view(POSES[0]), POSES[0])
    found = tracker.track(view(POSES[2]))
    assert found.lost == ""
    step = invert(POSES[2]) @ found.world_T_camera
    assert np.linalg.norm(step[:3, 3]) < 0.015


def test_frames_without_depth_are_an_error():
    with pytest.raises(ValueError, match="expected frames with depth"):
        track_recording([View(BLANK.color, None, PINHOLE)])


def test_the_summary_counts_what_was_lost():
    summary = track_recording([view(POSES[0]), view(POSES[1]), BLANK]).summary()
    assert (summary["frames"], summary["lost"]) == (3.0, 1.0)
    assert summary["median_inliers"] > 15


def test_the_kitchen_is_tracked_from_frame_to_frame(kitchen):
    stacks = [kitchen(k) for k in range(0, 4)]
    frames = [View(s.color[0], s.depth_m[0], s.pinhole) for s in stacks]
    trajectory = track_recording(frames)
    assert trajectory.is_tracked.all()
    for k, stack in enumerate(stacks):
        assert np.linalg.norm((invert(stack.world_T_camera[0]) @ trajectory.world_T_camera[k])[:3, 3]) < 0.03
