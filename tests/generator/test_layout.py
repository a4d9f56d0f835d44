"""The room's box from points of which only a part is known."""

import numpy as np
import pytest
from spatia.generator.outpaint.layout import find_layout, wall_yaw
from spatia.world.transforms import rotation_about

EYE_M = 1.5
FLOOR = (0.0, -1.0, 0.0, EYE_M)


def _rectangle(corner, u, v, step=0.02):
    """Points of a flat patch."""
    u, v = np.asarray(u, float), np.asarray(v, float)
    a = np.arange(0, np.linalg.norm(u), step)
    b = np.arange(0, np.linalg.norm(v), step)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
    return np.asarray(corner) + grid[:, :1] * u / np.linalg.norm(u) + grid[:, 1:] * v / np.linalg.norm(v)


def _room(distance=4.0, yaw=0.0):
    """Floor and a wall straight ahead, turned about the camera; y down, floor at +EYE_M."""
    wall = _rectangle((-1.5, EYE_M - 2.0, distance), (3, 0, 0), (0, 2, 0))
    floor = _rectangle((-1.0, EYE_M, 1.0), (2, 0, 0), (0, 0, distance - 1))
    return (np.concatenate([wall, floor]) @ rotation_about((0, 1, 0), yaw).T).astype(np.float32)


def _layout(points, floor=FLOOR):
    return find_layout(points, floor=floor, world_T_camera=np.eye(4))


@pytest.mark.parametrize("degrees", [-30, -7, 0, 12, 40])
def test_axes_line_up_with_the_walls(degrees):
    points = _room(yaw=np.radians(degrees)) - np.array([0, EYE_M, 0], np.float32)
    found = np.degrees(wall_yaw(points[points[:, 1] < -0.2]))
    assert abs((found - degrees + 45) % 90 - 45) < 0.5


def test_the_wall_ahead_is_found_at_its_distance():
    layout = _layout(_room(distance=4.0))
    assert layout.walls[0].seen_m2 > 4
    assert layout.walls[0].offset_m == pytest.approx(4.0, abs=0.06)


def test_the_origin_is_the_floor_below_the_camera():
    layout = _layout(_room())
    np.testing.assert_allclose(layout.world_T_room[:3, 3], [0, EYE_M, 0], atol=1e-6)
    assert layout.eye_m == pytest.approx(EYE_M)


def test_walls_that_nobody_saw_leave_room_to_step_back_and_aside():
    layout = _layout(_room())
    assert layout.walls[2].seen_m2 == 0
    assert layout.walls[2].offset_m <= -2.9
    assert layout.walls[1].offset_m >= 2.4
    assert layout.walls[3].offset_m <= -2.4


def test_unseen_walls_stand_outside_of_everything_known():
    beside = _rectangle((3.3, EYE_M - 1, 2.0), (0, 0, 1), (0, 1, 0))
    layout = _layout(np.concatenate([_room(), beside.astype(np.float32)]))
    assert layout.walls[1].offset_m > 3.25


def test_furniture_at_a_wall_is_relief_and_the_wall_is_behind_it():
    counter = _rectangle((-1.5, EYE_M - 0.9, 3.4), (3, 0, 0), (0, 0.9, 0))
    layout = _layout(np.concatenate([_room(distance=4.0), counter.astype(np.float32)]))
    assert layout.walls[0].offset_m == pytest.approx(4.0, abs=0.08)
    assert layout.walls[0].relief_m > 0.6


def test_a_known_ceiling_gives_the_height():
    ceiling = _rectangle((-1.5, EYE_M - 2.8, 2.0), (3, 0, 0), (0, 0, 2))
    layout = _layout(np.concatenate([_room(), ceiling.astype(np.float32)]))
    assert layout.ceiling_m == pytest.approx(2.8, abs=0.08)


def test_a_backdrop_far_away_is_no_room():
    assert _layout(_room(distance=12.0)) is None


def test_scattered_things_are_no_room():
    rng = np.random.default_rng(0)
    bushes = rng.uniform((-4, -0.5, 2), (4, EYE_M, 9), (20000, 3)).astype(np.float32)
    assert _layout(bushes) is None


def test_a_camera_under_the_floor_gets_no_room():
    assert _layout(_room(), floor=(0.0, -1.0, 0.0, -1.0)) is None


def test_no_points_are_no_room():
    assert _layout(np.zeros((0, 3), np.float32)) is None
