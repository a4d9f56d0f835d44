"""The floor: what is found, and what is not taken for one."""

import numpy as np
import pytest
from skimage import data
from spatia.world.camera import Pinhole, unproject
from spatia.world.ground import Plane, fit_floor
from spatia.world.transforms import rotation_about


def _floor_points(rng: np.random.Generator, count: int = 3000, eye_height_m: float = 1.5) -> np.ndarray:
    """Points on y = eye height (down is +y) in front of a camera at the origin."""
    points = rng.uniform((-2, eye_height_m, 1), (2, eye_height_m, 5), (count, 3))
    points[:, 1] += rng.normal(0, 0.003, count)
    return points


def _wall_points(rng: np.random.Generator, count: int = 3000) -> np.ndarray:
    return rng.uniform((-2, -1, 5), (2, 1.5, 5.01), (count, 3))


def test_level_floor_is_found_at_its_height():
    rng = np.random.default_rng(0)
    floor = fit_floor(np.concatenate([_floor_points(rng), _wall_points(rng)]))
    assert floor is not None
    assert floor.eye_height_m == pytest.approx(1.5, abs=0.005)
    assert np.degrees(np.arccos(-floor.plane.normal[1])) < 0.5
    assert 0.4 < floor.inlier_share < 0.6


def test_pitched_camera_finds_its_tilt():
    rng = np.random.default_rng(1)
    tilt = rotation_about((1, 0, 0), np.radians(25.0))
    floor = fit_floor(np.concatenate([_floor_points(rng), _wall_points(rng)]) @ tilt.T)
    assert floor is not None
    expected = tilt @ np.array([0.0, -1.0, 0.0])
    assert np.degrees(np.arccos(expected @ floor.plane.normal)) < 0.5


def test_table_above_a_floor_is_not_the_floor():
    rng = np.random.default_rng(2)
    table = rng.uniform((-1, 0.7, 1.5), (1, 0.702, 2.5), (6000, 3))
    floor = fit_floor(np.concatenate([_floor_points(rng, 1500), table]))
    assert floor is not None
    assert floor.eye_height_m == pytest.approx(1.5, abs=0.01)


def test_wall_alone_is_no_floor():
    assert fit_floor(_wall_points(np.random.default_rng(3))) is None


def test_small_plane_close_under_the_camera_is_a_table_not_the_floor():
    rng = np.random.default_rng(8)
    table = rng.uniform((-0.5, 0.45, 0.6), (0.5, 0.452, 1.2), (300, 3))
    assert fit_floor(np.concatenate([table, _wall_points(rng)])) is None


def test_plane_too_far_below_is_no_floor():
    assert fit_floor(_floor_points(np.random.default_rng(4), eye_height_m=8.0)) is None


def test_height_counts_from_the_camera_that_is_given():
    rng = np.random.default_rng(5)
    points = _floor_points(rng) + np.array([10.0, 4.0, 0.0])
    floor = fit_floor(points, camera_position=(10.0, 4.0, 0.0))
    assert floor is not None
    assert floor.eye_height_m == pytest.approx(1.5, abs=0.005)
    assert floor.plane.height_m(np.array([[10.0, 4.0, 0.0]]))[0] == pytest.approx(floor.eye_height_m)


def test_rows_that_are_not_finite_are_passed_over():
    points = _floor_points(np.random.default_rng(6))
    points[::7] = np.nan
    floor = fit_floor(points)
    assert floor is not None
    assert floor.eye_height_m == pytest.approx(1.5, abs=0.005)


def test_same_seed_gives_the_same_floor():
    points = _floor_points(np.random.default_rng(7), 30_000)
    assert fit_floor(points, seed=3) == fit_floor(points, seed=3)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_points_give_none(count: int):
    assert fit_floor(np.zeros((count, 3))) is None


def test_identical_points_give_none():
    assert fit_floor(np.full((500, 3), 1.0)) is None


def test_wrong_shape_is_an_error_that_says_what_came():
    with pytest.raises(ValueError, match=r"expected \(N, 3\) positions, got shape \(4, 2\)"):
        fit_floor(np.zeros((4, 2)))


def test_hint_without_direction_is_an_error():
    with pytest.raises(ValueError, match="up direction"):
        fit_floor(np.zeros((4, 3)), up_hint=(0.0, 0.0, 0.0))


def test_garage_floor_is_1_08_m_below_a_camera_pitched_15_degrees():
    _, _, disparity = data.stereo_motorcycle()
    known = np.isfinite(disparity) & (disparity > 0)
    depth_m = np.where(known, 994.978 * 0.193001 / (np.where(known, disparity, 0) + 31.086), 0).astype(np.float32)
    points = unproject(depth_m, Pinhole(741, 500, 994.978, 994.978, 311.693, 255.377), np.eye(4))
    for seed in range(4):
        floor = fit_floor(points, seed=seed)
        assert floor is not None
        assert floor.eye_height_m == pytest.approx(1.08, abs=0.02)
        assert np.degrees(np.arccos(-floor.plane.normal[1])) == pytest.approx(15.0, abs=0.5)


def test_signed_height_is_positive_on_the_normals_side():
    plane = Plane((0.0, -1.0, 0.0), 1.5)
    assert plane.height_m(np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])).tolist() == [1.5, -0.5]
