"""Depth moved into the camera that stands beside."""

import numpy as np
from spatia.saves.registration import SEVEN_SCENES_DEPTH, is_seven_scenes_depth, register_depth
from spatia.world.camera import Pinhole

PINHOLE = Pinhole(40, 30, 40.0, 40.0, 20.0, 15.0)


def beside(distance_m: float) -> np.ndarray:
    out = np.eye(4)
    out[0, 3] = distance_m
    return out


def test_the_same_camera_sees_the_same_depth() -> None:
    depth = np.linspace(1, 2, 1200, dtype=np.float32).reshape(30, 40)
    np.testing.assert_allclose(register_depth(depth, PINHOLE, np.eye(4), PINHOLE), depth, rtol=1e-6)


def test_a_wall_moves_by_its_disparity() -> None:
    depth = np.zeros((30, 40), np.float32)
    depth[10, 10] = 2.0
    moved = register_depth(depth, PINHOLE, beside(0.25), PINHOLE)
    assert moved[10, 15] == 2.0
    assert (moved > 0).sum() == 1


def test_what_is_nearer_hides_what_is_behind() -> None:
    depth = np.zeros((30, 40), np.float32)
    depth[10, 10], depth[10, 15] = 2.0, 40.0  # 5 pixels and a quarter of one further on: both fall on 15
    moved = register_depth(depth, PINHOLE, beside(0.25), PINHOLE)
    assert moved[10, 15] == 2.0
    assert (moved > 0).sum() == 1


def test_only_the_sensor_itself_is_recognised() -> None:
    assert is_seven_scenes_depth(SEVEN_SCENES_DEPTH)
    assert not is_seven_scenes_depth(Pinhole(640, 480, 525.0, 525.0, 320.0, 240.0))
    assert not is_seven_scenes_depth(SEVEN_SCENES_DEPTH.resized(320, 240))
