"""From intents to motion."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spatia.input.intents import Intent
from spatia.runtime.rig import MAX_PITCH_RAD, WALK_SPEED_M_S, CameraRig
from spatia.world.transforms import look, rotation_about

UP = (0.0, -1.0, 0.0)


def _run(rig: CameraRig, intent: Intent, seconds: float, dt_s: float = 1 / 60) -> None:
    for _ in range(round(seconds / dt_s)):
        rig.state = rig.wish(intent, dt_s)


def test_full_forward_settles_at_walking_speed() -> None:
    rig = CameraRig(np.eye(4), UP)
    _run(rig, Intent(forward=1.0), 2.0)
    assert np.linalg.norm(rig.state.velocity) == pytest.approx(WALK_SPEED_M_S, rel=1e-3)
    assert rig.world_T_camera[2, 3] > 2.0
    assert abs(rig.world_T_camera[0, 3]) < 1e-9


def test_diagonal_is_no_faster_than_straight() -> None:
    rig = CameraRig(np.eye(4), UP)
    _run(rig, Intent(forward=1.0, right=1.0), 2.0)
    assert np.linalg.norm(rig.state.velocity) == pytest.approx(WALK_SPEED_M_S, rel=1e-3)


def test_yaw_turns_right_at_ninety_degrees_a_second() -> None:
    rig = CameraRig(np.eye(4), UP)
    _run(rig, Intent(yaw=1.0), 1.0)
    assert np.allclose(rig.world_T_camera[:3, 2], (1, 0, 0), atol=1e-6)


def test_walking_stays_level_however_the_walker_looks() -> None:
    rig = CameraRig(look((0, 0, 0), 0.3, -0.8), UP)
    _run(rig, Intent(forward=1.0), 1.0)
    assert abs(rig.world_T_camera[1, 3]) < 1e-9


def test_flying_follows_the_view() -> None:
    rig = CameraRig(look((0, 0, 0), 0.0, 0.5), UP)
    rig.state = type(rig.state)(**{**_fields(rig), "is_flying": True})
    _run(rig, Intent(forward=1.0), 1.0)
    assert rig.world_T_camera[1, 3] < -0.4


def test_walking_follows_gravity_where_the_photo_was_pitched() -> None:
    up = tuple(rotation_about((1, 0, 0), 0.26) @ np.array([0.0, -1.0, 0.0]))
    rig = CameraRig(np.eye(4), up)
    _run(rig, Intent(forward=1.0), 1.0)
    moved = rig.world_T_camera[:3, 3]
    assert abs(moved @ np.asarray(up)) < 1e-9
    assert np.linalg.norm(moved) > 1.0


@given(st.floats(-3, 3), st.floats(-1.4, 1.4), st.floats(-0.4, 0.4))
def test_a_pose_survives_being_taken_apart_into_angles(yaw: float, pitch: float, roll: float) -> None:
    c, s = np.cos(roll), np.sin(roll)
    pose = look((1, 2, 3), yaw, pitch)
    pose[:3, :3] = pose[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    assert np.allclose(CameraRig(pose, UP).world_T_camera, pose, atol=1e-7)


def test_mouse_turns_at_once_and_only_once() -> None:
    rig = CameraRig(np.eye(4), UP)
    rig.apply_look(Intent(look_yaw_rad=0.25))
    _run(rig, Intent(), 0.5)
    assert rig.state.yaw_rad == pytest.approx(0.25)


def test_pitch_stops_before_the_zenith() -> None:
    rig = CameraRig(np.eye(4), UP)
    rig.apply_look(Intent(look_pitch_rad=9.0))
    assert rig.state.pitch_rad == pytest.approx(MAX_PITCH_RAD)


def _fields(rig: CameraRig) -> dict[str, object]:
    return {name: getattr(rig.state, name) for name in rig.state.__dataclass_fields__}
