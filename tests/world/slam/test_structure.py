"""Cameras of pictures without depth are found up to scale; what cannot be placed says why."""

import numpy as np
import pytest
from spatia.tests.world.slam.corner import BLANK, PINHOLE, View, noise
from spatia.tests.world.slam.panels import WAY, panels
from spatia.world.slam.sequence_depth import estimate_sequence
from spatia.world.slam.structure import track_pictures
from spatia.world.slam.tracking import Trajectory
from spatia.world.slam.two_views import unexplained_flow_px
from spatia.world.transforms import invert, look, rotation_angle_rad


@pytest.fixture(scope="module")
def views() -> list[View]:
    return [panels(p) for p in WAY]


@pytest.fixture(scope="module")
def trajectory(views: list[View]) -> Trajectory:
    """Of a blank picture, three of the panels, one from elsewhere, and three more of the panels."""
    elsewhere = View(np.repeat(noise((240, 320), 77)[..., None], 3, axis=2), None, PINHOLE)
    return track_pictures([BLANK, *views[:3], elsewhere, *views[3:]])


SHOWN = [1, 2, 3, 5, 6, 7]


def _scale(found: np.ndarray, truth: np.ndarray) -> float:
    """Of positions relative to the first."""
    a, b = found[:, :3, 3], (invert(truth[0]) @ truth)[:, :3, 3]
    return float((a * b).sum() / (a * a).sum())


def test_pictures_without_depth_are_placed_up_to_scale(trajectory: Trajectory):
    assert trajectory.is_tracked[SHOWN].all()
    truth = np.stack(WAY)
    scale = _scale(trajectory.world_T_camera[SHOWN], truth)
    for found, true in zip(trajectory.scaled(scale).world_T_camera[SHOWN], truth, strict=True):
        step = invert(invert(truth[0]) @ true) @ found
        assert np.linalg.norm(step[:3, 3]) < 0.02
        assert np.degrees(rotation_angle_rad(step)) < 0.5


def test_the_first_placed_picture_is_the_world(trajectory: Trajectory):
    assert not trajectory.is_tracked[0]
    np.testing.assert_allclose(trajectory.world_T_camera[1], np.eye(4), atol=1e-12)


def test_a_camera_that_only_turns_gives_no_baseline():
    trajectory = track_pictures([panels(look((0, 0, 0), 0.05 * k, 0.0)) for k in range(3)])
    assert not trajectory.is_tracked.any()
    assert "no baseline: turning alone explains" in trajectory.poses[0].lost


def test_pictures_without_texture_cannot_be_placed():
    trajectory = track_pictures([BLANK] * 4)
    assert not trajectory.is_tracked.any()
    assert "no texture" in trajectory.poses[0].lost


def test_pictures_of_different_places_do_not_overlap():
    others = [View(np.repeat(noise((240, 320), 50 + k)[..., None], 3, axis=2), None, PINHOLE) for k in range(3)]
    trajectory = track_pictures(others)
    assert "no overlap" in trajectory.poses[0].lost


def test_a_flat_scene_is_refused():
    trajectory = track_pictures([panels(look((-0.15 * k, 0, 0.1 * k), -0.03 * k, 0.0), slice(1, 2)) for k in range(3)])
    assert not trajectory.is_tracked.any()
    assert "a flat scene" in trajectory.poses[0].lost or "no baseline" in trajectory.poses[0].lost


def test_a_picture_from_elsewhere_is_lost_and_the_others_are_not(trajectory: Trajectory):
    assert np.flatnonzero(trajectory.is_tracked).tolist() == SHOWN
    assert "agree with a pose" in trajectory.poses[4].lost


def test_a_camera_that_moves_is_not_explained_by_turning():
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-1, 1, 200), rng.uniform(-1, 1, 200), rng.uniform(2, 4, 200)], axis=1)

    def pixels(pose: np.ndarray) -> np.ndarray:
        return PINHOLE.project(points, pose)[0].astype(np.float64)

    first = pixels(np.eye(4))
    assert unexplained_flow_px(first, pixels(look((0, 0, 0), 0.1, 0.05)), PINHOLE) < 0.05
    assert unexplained_flow_px(first, pixels(look((0.2, 0, 0), 0.1, 0.05)), PINHOLE) > 2


def test_depth_is_found_in_the_unit_of_the_poses(views: list[View]):
    poses = np.stack(WAY)
    keys = list(estimate_sequence(views, poses, range(len(views))))
    assert len(keys) >= 3
    ratios = []
    for key in keys:
        true = views[key.index].depth_m
        both = (key.depth > 0) & (true > 0)
        assert both.mean() > 0.3
        ratios.append(np.median(key.depth[both] / true[both]))
    assert np.abs(np.array(ratios) - 1).max() < 0.03
