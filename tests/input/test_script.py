"""Action strings and the poses that they lead through."""

import numpy as np
import pytest
from spatia.input.script import action_poses, parse_actions


def pose(position=(0.0, 0.0, 0.0), yaw_deg: float = 0.0, pitch_deg: float = 0.0) -> np.ndarray:
    """An upright camera; positive yaw to the right, positive pitch up."""
    y, p = np.radians([yaw_deg, pitch_deg])
    out = np.eye(4)
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    out[:3, :3] = turn @ nod
    out[:3, 3] = position
    return out


def test_parts_expand_to_frames_in_order():
    names = [a.name for a in parse_actions(" w-2, RIGHT ,stay-3")]
    assert names == ["w", "w", "right", "stay", "stay", "stay"]


@pytest.mark.parametrize(
    ("key", "moved"),
    [
        ("w", (0, 0, 0.5)),
        ("s", (0, 0, -0.5)),
        ("a", (-0.5, 0, 0)),
        ("d", (0.5, 0, 0)),
        ("q", (0, 0.5, 0)),
        ("e", (0, -0.5, 0)),
        ("stay", (0, 0, 0)),
    ],
)
def test_ten_frames_of_a_step_go_half_a_metre(key, moved):
    poses = action_poses(parse_actions(f"{key}-10"), np.eye(4))
    assert poses.shape == (11, 4, 4)
    np.testing.assert_allclose(poses[-1], pose(moved), atol=1e-12)


@pytest.mark.parametrize(
    ("key", "yaw_deg", "pitch_deg"), [("left", -30, 0), ("right", 30, 0), ("up", 0, 30), ("down", 0, -30)]
)
def test_thirty_frames_of_a_turn_are_thirty_degrees(key, yaw_deg, pitch_deg):
    poses = action_poses(parse_actions(f"{key}-30"), np.eye(4))
    np.testing.assert_allclose(poses[-1], pose(yaw_deg=yaw_deg, pitch_deg=pitch_deg), atol=1e-12)


def test_steps_stay_level_whatever_the_pitch():
    poses = action_poses(parse_actions("down-40,right-90,w-10"), np.eye(4))
    np.testing.assert_allclose(poses[-1], pose((0.5, 0, 0), 90, -40), atol=1e-12)


def test_yaw_turns_about_gravity_and_not_about_the_camera():
    poses = action_poses(parse_actions("up-20,left-45"), np.eye(4))
    np.testing.assert_allclose(poses[-1], pose(yaw_deg=-45, pitch_deg=20), atol=1e-12)


def test_another_gravity_changes_what_is_level():
    turn = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])  # level world to one with +Z up
    start = turn @ pose((1, 2, 3), 20, 10)
    poses = action_poses(parse_actions("right-10,w-20,e-4,up-3"), start, up_world=turn[:3, :3] @ (0, -3, 0))
    expected = turn @ pose((1 + np.sin(np.pi / 6), 1.8, 3 + np.cos(np.pi / 6)), 30, 13)
    np.testing.assert_allclose(poses[-1], expected, atol=1e-12)


def test_the_start_pose_is_kept_with_its_roll():
    roll = np.eye(4)
    roll[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    poses = action_poses(parse_actions("stay"), roll)
    np.testing.assert_array_equal(poses[0], roll)
    np.testing.assert_allclose(poses[1], roll, atol=1e-15)


def test_looking_up_stops_short_of_the_zenith():
    poses = action_poses(parse_actions("up-120,w-10"), np.eye(4))
    np.testing.assert_allclose(poses[-1], pose((0, 0, 0.5), 0, 85), atol=1e-9)


def test_poses_stay_rigid_over_many_turns():
    last = action_poses(parse_actions("right-3600"), np.eye(4))[-1]
    np.testing.assert_allclose(last, np.eye(4), atol=1e-10)


def test_an_unknown_action_is_named_with_its_place_and_the_valid_ones():
    with pytest.raises(ValueError, match=r"action 2, 'jump-3': unknown action 'jump'; expected w, a, s, d, q, e, left"):
        parse_actions("w-2,jump-3")


@pytest.mark.parametrize("text", ["w-", "w-0", "w--3", "w-1.5", "w-²", "w-x", "w-99999999999"])
def test_a_number_of_frames_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="expected a number of frames"):
        parse_actions(text)


@pytest.mark.parametrize("text", ["", "w-2,", ",w", " "])
def test_an_empty_part_is_refused(text):
    with pytest.raises(ValueError, match="is empty"):
        parse_actions(text)


def test_an_absurd_number_of_frames_is_refused_before_memory_is_taken():
    with pytest.raises(ValueError, match="at most 100000 frames"):
        parse_actions("w-60000,s-60000")


def test_a_start_that_is_no_pose_is_refused():
    with pytest.raises(ValueError, match="4x4"):
        action_poses(parse_actions("w"), np.eye(3))
