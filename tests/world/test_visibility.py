"""What cameras see: the release's rule against fixtures and an oracle, and depth drawn from memory."""

import os
from pathlib import Path

import numpy as np
import pytest
from spatia.world.camera import Pinhole, unproject
from spatia.world.memory import SpatialMemory
from spatia.world.points import PointBatch
from spatia.world.transforms import look
from spatia.world.visibility import render_depth, visible_points

PARITY = Path(os.environ.get("SPATIA_PARITY_DIR", "../shared/data/parity"))
FIXTURES = sorted(PARITY.glob("retrieval_*.npz"))
CAMERA = Pinhole.from_fov(64, 48, 1.0)


@pytest.mark.skipif(not FIXTURES, reason=f"no retrieval_*.npz in {PARITY} (set SPATIA_PARITY_DIR)")
@pytest.mark.parametrize("side", ["history", "target"])
def test_visibility_equals_the_release(side):
    for path in FIXTURES:
        with np.load(path) as fixture:
            height, width = (int(v) for v in fixture["image_size"])
            pinhole = Pinhole(width, height, *(float(v) for v in fixture["intrinsics"]))
            poses = np.linalg.inv(fixture[f"{side}_world_to_camera"].astype(np.float64))
            expected = np.unpackbits(fixture[f"{side}_visible"], axis=1)[:, : len(fixture["points"])].astype(bool)
            np.testing.assert_array_equal(visible_points(fixture["points"], pinhole, poses), expected, str(path))


def _oracle(points, pinhole, pose):
    camera_T_world = np.linalg.inv(pose).astype(np.float32)
    camera = points @ camera_T_world[:3, :3].T + camera_T_world[:3, 3]
    front, place = {}, []
    for x, y, z in camera:
        inside = z > 0
        if inside:
            u, v = int(pinhole.fx * (x / z) + pinhole.cx), int(pinhole.fy * (y / z) + pinhole.cy)
            inside = 0 <= u < pinhole.width and 0 <= v < pinhole.height
        place.append((u, v) if inside else None)
        if inside:
            front[u, v] = min(front.get((u, v), np.inf), z)
    return np.array([p is not None and camera[i, 2] <= front[p] + 1e-6 for i, p in enumerate(place)])


def test_visible_points_equal_the_oracle():
    rng = np.random.default_rng(0)
    points = rng.uniform(-2, 2, (4000, 3)).astype(np.float32)
    poses = np.stack([look((0, 0, -1), 0.4, 0.1), look((0.5, 0, 0), -2.0, -0.3)])
    visible = visible_points(points, CAMERA, poses)
    for mine, pose in zip(visible, poses, strict=True):
        np.testing.assert_array_equal(mine, _oracle(points, CAMERA, pose))


def test_a_pixel_just_left_of_the_image_counts_as_its_first():
    pinhole = Pinhole(4, 4, 1.0, 1.0, 0.0, 0.0)
    points = np.array([[-0.5, 0.5, 1], [-1.5, 0.5, 1], [0.5, 0.5, 2]], np.float32)
    assert visible_points(points, pinhole, np.eye(4)).tolist() == [[True, False, False]]


def test_exact_ties_are_all_visible():
    points = np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1.001]], np.float32)
    assert visible_points(points, CAMERA, np.eye(4)).tolist() == [[True, True, False]]


def test_each_lot_of_points_has_its_own_depth_buffer():
    points = np.array([[0, 0, 1], [0, 0, 2], [0, 0, 3]], np.float32)
    assert visible_points(points, CAMERA, np.eye(4), points_per_buffer=2).tolist() == [[True, False, True]]


def test_no_points_are_seen_by_all_views():
    assert visible_points(np.zeros((0, 3), np.float32), CAMERA, np.stack([np.eye(4)] * 2)).shape == (2, 0)


def _wall(depth_m, priority=192, noise_m=0.0):
    pixels = CAMERA.resized(256, 192)
    rng = np.random.default_rng(0)
    depth = np.full((pixels.height, pixels.width), depth_m, np.float32)
    depth += rng.normal(scale=noise_m, size=depth.shape).astype(np.float32)
    points = unproject(depth, pixels, np.eye(4))
    return PointBatch.uniform(points, np.zeros((len(points), 3), np.uint8), priority=priority, keyframe=1)


def test_a_wall_is_drawn_without_holes_at_its_depth():
    memory = SpatialMemory(0.01)
    memory.insert(_wall(2.0))
    seen = render_depth(memory.snapshot(), CAMERA, np.eye(4))
    np.testing.assert_allclose(seen.depth_m, 2.0, atol=0.01)
    assert (seen.priority == 192).all()


def test_near_voxels_do_not_fall_apart():
    memory = SpatialMemory(0.01)
    memory.insert(_wall(2.0))
    near = look((0, 0, 1.5), 0.0, 0.0)
    seen = render_depth(memory.snapshot(), CAMERA.resized(256, 192), near)
    assert (seen.depth_m > 0).mean() > 0.99


def test_noise_of_a_wall_does_not_bias_its_depth():
    memory = SpatialMemory(0.01)
    memory.insert(_wall(2.0, noise_m=0.015))
    seen = render_depth(memory.snapshot(), CAMERA, np.eye(4))
    assert abs(float(np.median(seen.depth_m)) - 2.0) < 0.01


def test_what_is_behind_the_front_does_not_count():
    memory = SpatialMemory(0.01)
    memory.insert(_wall(2.0, priority=64))
    memory.insert(_wall(3.0, priority=192))
    seen = render_depth(memory.snapshot(), CAMERA, np.eye(4))
    np.testing.assert_allclose(seen.depth_m, 2.0, atol=0.01)
    assert (seen.priority == 64).all()


def test_voxels_below_the_least_priority_are_not_seen():
    memory = SpatialMemory(0.01)
    memory.insert(_wall(2.0, priority=64))
    memory.insert(_wall(3.0, priority=192))
    seen = render_depth(memory.snapshot(), CAMERA, np.eye(4), min_priority=65)
    np.testing.assert_allclose(seen.depth_m, 3.0, atol=0.01)


def test_nothing_is_seen_behind_the_camera_or_in_empty_memory():
    memory = SpatialMemory(0.01)
    assert not render_depth(memory.snapshot(), CAMERA, np.eye(4)).depth_m.any()
    memory.insert(_wall(2.0))
    assert not render_depth(memory.snapshot(), CAMERA, look((0, 0, 0), np.pi, 0.0)).depth_m.any()


def test_colour_is_drawn_with_depth():
    memory, depth = SpatialMemory(0.02), np.full((48, 64), 2.0, np.float32)
    colors = np.zeros((48, 64, 3), np.uint8)
    colors[:, :32], colors[:, 32:] = (200, 10, 30), (20, 90, 150)
    points = unproject(depth, CAMERA, np.eye(4))
    memory.insert(PointBatch.uniform(points, colors.reshape(-1, 3), priority=200, keyframe=1))
    view = render_depth(memory.snapshot(), CAMERA, np.eye(4), with_color=True)
    np.testing.assert_allclose(view.color[10, 10], (200, 10, 30), atol=1)
    np.testing.assert_allclose(view.color[40, 50], (20, 90, 150), atol=1)
    np.testing.assert_allclose(view.depth_m[10, 10], 2.0, atol=0.02)


def test_colour_is_left_out_unless_asked_for():
    assert render_depth(SpatialMemory(0.02).snapshot(), CAMERA, np.eye(4)).color.size == 0
