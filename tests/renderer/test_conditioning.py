"""Memory as a video model sees it."""

import os
from pathlib import Path

import numpy as np
import pytest
from spatia.renderer.conditioning import RADIUS_HEIGHT, render_scene_video
from spatia.world.camera import Pinhole

PARITY = Path(os.environ.get("SPATIA_PARITY_DIR", Path(__file__).parents[2] / ".." / "shared" / "data" / "parity"))
FIXTURES = sorted(PARITY.glob("splat_*.npz"))
CAMERA = Pinhole(40, 32, 30.0, 30.0, 20.0, 16.0)
IDENTITY = np.eye(4)[None]


def radius_at(height: int, radius_px: float) -> float:
    """The argument that gives discs of ``radius_px`` at a height."""
    return radius_px * RADIUS_HEIGHT / height


def oracle(points, colors, camera_T_world, pinhole, radius, layers):
    """All discs of every pixel, sorted by depth, composited one by one: (H, W, 3), (H, W), (H, W)."""
    camera = points.astype(np.float64) @ camera_T_world[:3, :3].T + camera_T_world[:3, 3]
    keep = camera[:, 2] > 1e-3
    camera, colors = camera[keep], colors[keep].astype(np.float64)
    u = pinhole.fx * camera[:, 0] / camera[:, 2] + pinhole.cx
    v = pinhole.fy * camera[:, 1] / camera[:, 2] + pinhole.cy
    color = np.zeros((pinhole.height, pinhole.width, 3))
    through, depth = np.ones(color.shape[:2]), np.zeros(color.shape[:2])
    for j in range(pinhole.height):
        for i in range(pinhole.width):
            weight = 1.0 - ((u - i - 0.5) ** 2 + (v - j - 0.5) ** 2) / radius**2
            touching = np.nonzero(weight > 0)[0]
            for k in touching[np.argsort(camera[touching, 2], kind="stable")][:layers]:
                if depth[j, i] == 0:
                    depth[j, i] = camera[k, 2]
                color[j, i] += through[j, i] * weight[k] * colors[k]
                through[j, i] *= 1.0 - weight[k]
    return np.floor(color + 1e-4), np.floor(255 * (1 - through) + 1e-4), depth


def cloud(num: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    points = rng.uniform((-2, -2, 0.5), (2, 2, 4), (num, 3)).astype(np.float32)
    return points, rng.integers(0, 256, (num, 3), np.uint8)


@pytest.mark.skipif(not FIXTURES, reason=f"no splat_*.npz in {PARITY}; set SPATIA_PARITY_DIR")
@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_pictures_of_the_release_are_reproduced(path):
    data = np.load(path)
    height, width = (int(x) for x in data["image_size"])
    video = render_scene_video(
        data["points"],
        data["colors"],
        np.linalg.inv(data["world_to_camera"].astype(np.float64)),
        Pinhole(width, height, *(float(x) for x in data["intrinsics"])),
        radius_px=radius_at(height, float(data["radius_px"])),
        points_per_pixel=int(data["points_per_pixel"]),
    )
    assert psnr(video.color, data["image"]) >= 40.0
    assert psnr(video.coverage, data["coverage"]) >= 40.0
    expected = data["nearest_depth"].astype(np.float32)
    drawn = expected > 0
    same = (video.nearest_depth > 0) == drawn
    assert same.mean() > 0.999
    relative = np.abs(video.nearest_depth - expected)[drawn] / expected[drawn]
    assert np.quantile(relative, 0.99) < 2e-3


def psnr(a, b) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255.0**2 / max(error, 1e-12)))


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_discs_are_composited_as_the_slow_oracle_does(layers):
    points, colors = cloud(400)
    video = render_scene_video(
        points, colors, IDENTITY, CAMERA, radius_px=radius_at(32, 2.6), points_per_pixel=layers,
        release_projection=False,
    )  # fmt: skip
    color, coverage, depth = oracle(points, colors, np.eye(4), CAMERA, 2.6, layers)
    assert np.abs(video.color[0].astype(float) - color).max() <= 1
    assert np.abs(video.coverage[0].astype(float) - coverage).max() <= 1
    np.testing.assert_allclose(video.nearest_depth[0], depth, rtol=1e-5)


def test_release_projection_scales_by_the_short_side_and_mirrors_the_principal_point():
    camera = Pinhole(40, 32, 30.0, 30.0, 22.0, 17.0)
    points, colors = np.array([[0.2, -0.1, 2.0]], np.float32), np.array([[255, 255, 255]], np.uint8)
    video = render_scene_video(points, colors, IDENTITY, camera, radius_px=radius_at(32, 3.0))
    weight = video.coverage[0].astype(float)
    u = (weight.sum(0) * (np.arange(40) + 0.5)).sum() / weight.sum()
    v = (weight.sum(1) * (np.arange(32) + 0.5)).sum() / weight.sum()
    k = 32 / 31
    assert u == pytest.approx(40 / 2 + k * (30 * 0.1 - (22.0 - 39 / 2)), abs=0.05)
    assert v == pytest.approx(32 / 2 + k * (-30 * 0.05 - (17.0 - 31 / 2)), abs=0.05)


def test_radius_follows_the_height_of_the_picture():
    points, colors = np.array([[0.0, 0.0, 2.0]], np.float32), np.array([[255, 0, 0]], np.uint8)
    small = render_scene_video(points, colors, IDENTITY, Pinhole.from_fov(96, 64, 1.0), radius_px=44.0)
    large = render_scene_video(points, colors, IDENTITY, Pinhole.from_fov(192, 128, 1.0), radius_px=44.0)
    ratio = (large.coverage > 0).sum() / (small.coverage > 0).sum()
    assert 3.0 < ratio < 5.0


def test_radius_does_not_shrink_with_distance():
    colors = np.array([[255, 0, 0]], np.uint8)
    near = render_scene_video(np.array([[0, 0, 1.0]], np.float32), colors, IDENTITY, CAMERA, radius_px=80.0)
    far = render_scene_video(np.array([[0, 0, 9.0]], np.float32), colors, IDENTITY, CAMERA, radius_px=80.0)
    np.testing.assert_array_equal(near.coverage, far.coverage)


def test_without_points_everything_is_black():
    video = render_scene_video(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), IDENTITY, CAMERA)
    assert not video.color.any()
    assert not video.coverage.any()
    assert not video.nearest_depth.any()


def test_points_behind_the_camera_are_left_out():
    points, colors = cloud(50)
    points[:, 2] *= -1
    assert not render_scene_video(points, colors, IDENTITY, CAMERA).coverage.any()


def test_every_frame_is_drawn_from_its_own_pose():
    points, colors = cloud(200)
    poses = np.stack([np.eye(4), np.eye(4)])
    poses[1, :3, 3] = (0.5, 0.1, -0.4)
    both = render_scene_video(points, colors, poses, CAMERA)
    second = render_scene_video(points, colors, poses[1:], CAMERA)
    np.testing.assert_array_equal(both.color[1], second.color[0])
    assert (both.color[0] != both.color[1]).any()


def test_the_same_input_gives_the_same_bits():
    points, colors = cloud(500)
    first = render_scene_video(points, colors, IDENTITY, CAMERA)
    second = render_scene_video(points, colors, IDENTITY, CAMERA)
    np.testing.assert_array_equal(first.color, second.color)
    np.testing.assert_array_equal(first.nearest_depth, second.nearest_depth)


@pytest.mark.parametrize(
    ("points", "colors", "poses"),
    [
        (np.zeros((3, 2), np.float32), np.zeros((3, 2), np.uint8), IDENTITY),
        (np.zeros((3, 3), np.float32), np.zeros((2, 3), np.uint8), IDENTITY),
        (np.zeros((3, 3), np.float32), np.zeros((3, 3), np.float32), IDENTITY),
        (np.zeros((3, 3), np.float32), np.zeros((3, 3), np.uint8), np.eye(4)),
    ],
)
def test_wrong_shapes_are_refused(points, colors, poses):
    with pytest.raises(ValueError, match="expected"):
        render_scene_video(points, colors, poses, CAMERA)
