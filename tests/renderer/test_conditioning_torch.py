"""The conditioning render by torch makes the picture of the compiled loops."""

from pathlib import Path

import numpy as np
import pytest
from spatia.renderer import conditioning, conditioning_torch
from spatia.renderer.conditioning import NEAR_M, RADIUS_HEIGHT, SceneDrawer, render_scene_video
from spatia.tests.renderer.test_conditioning import CAMERA, FIXTURES, IDENTITY, PARITY, cloud, psnr, radius_at
from spatia.world.camera import Pinhole

torch = pytest.importorskip("torch", reason="torch is not installed")


def by_torch(points, colors, poses, pinhole, monkeypatch, *, max_candidates=conditioning_torch.MAX_CANDIDATES, **rest):
    """What ``render_scene_video`` makes where torch draws, here on the processor."""

    def raster(device, points, colors, pinhole, radius, points_per_pixel):
        return conditioning_torch.TorchRaster(
            points, colors, pinhole.size, radius=radius, points_per_pixel=points_per_pixel, device=device,
            near_m=NEAR_M, max_candidates=max_candidates,
        )  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr(conditioning, "_raster_on", raster)
        return render_scene_video(points, colors, poses, pinhole, **rest)


@pytest.mark.parametrize("max_candidates", [1 << 22, 5000, 1])
@pytest.mark.parametrize("layers", [1, 5])
def test_torch_draws_what_the_compiled_loops_draw_whatever_the_blocks(layers, max_candidates, monkeypatch):
    points, colors = cloud(400)
    poses = np.stack([np.eye(4), np.eye(4)])
    poses[1, :3, 3] = (0.5, 0.1, -0.4)
    options = {"radius_px": radius_at(32, 2.6), "points_per_pixel": layers}
    expected = render_scene_video(points, colors, poses, CAMERA, **options)
    got = by_torch(points, colors, poses, CAMERA, monkeypatch, max_candidates=max_candidates, **options)
    assert np.abs(got.color.astype(int) - expected.color).max() <= 1
    assert np.abs(got.coverage.astype(int) - expected.coverage).max() <= 1
    np.testing.assert_allclose(got.nearest_depth, expected.nearest_depth, rtol=1e-5)


def test_a_pixel_that_has_its_layers_takes_no_more(monkeypatch):
    points = np.tile(np.float32([[0, 0, 1]]), (900, 1))
    points[:, 2] += np.arange(900, dtype=np.float32) / 100
    colors = np.zeros((900, 3), np.uint8)
    colors[5:] = 255
    got = by_torch(points, colors, IDENTITY, CAMERA, monkeypatch, max_candidates=200, radius_px=radius_at(32, 2.6))
    assert not got.color.any()
    assert got.coverage.max() > 250


@pytest.mark.skipif(not FIXTURES, reason=f"no splat_*.npz in {PARITY}; set SPATIA_PARITY_DIR")
@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: p.stem)
def test_torch_reproduces_pictures_of_the_release(path: Path, monkeypatch):
    data = np.load(path)
    height, width = (int(x) for x in data["image_size"])
    poses = np.linalg.inv(data["world_to_camera"].astype(np.float64))
    video = by_torch(
        data["points"],
        data["colors"],
        poses,
        Pinhole(width, height, *(float(x) for x in data["intrinsics"])),
        monkeypatch,
        radius_px=float(data["radius_px"]) * RADIUS_HEIGHT / height,
        points_per_pixel=int(data["points_per_pixel"]),
    )
    assert psnr(video.color, data["image"]) >= 40.0
    assert psnr(video.coverage, data["coverage"]) >= 40.0


def test_torch_draws_nothing_without_points(monkeypatch):
    nothing = np.zeros((0, 3), np.float32)
    video = by_torch(nothing, nothing.astype(np.uint8), IDENTITY, CAMERA, monkeypatch)
    assert not video.coverage.any()


def test_the_device_chooses_who_draws(monkeypatch):
    made = []
    monkeypatch.setattr(conditioning_torch, "TorchRaster", lambda *rest, **options: made.append(options["device"]))
    monkeypatch.setattr(conditioning.importlib.util, "find_spec", lambda name: None)  # as if there were no Triton
    points, colors = cloud(3)
    SceneDrawer(points, colors, CAMERA, device=torch.device("cpu"))
    assert made == []
    SceneDrawer(points, colors, CAMERA, device=torch.device("cuda", 1))
    assert made == [torch.device("cuda", 1)]


def test_no_more_pairs_than_allowed_are_looked_at_together(monkeypatch):
    sizes = []
    spread = conditioning_torch.TorchRaster._spread

    def watched(self, u, v, layers):
        sizes.append(len(u) * self._side**2)
        return spread(self, u, v, layers)

    monkeypatch.setattr(conditioning_torch.TorchRaster, "_spread", watched)
    points, colors = cloud(500)
    by_torch(points, colors, IDENTITY, CAMERA, monkeypatch, max_candidates=1000, radius_px=radius_at(32, 2.6))
    assert len(sizes) > 3
    assert max(sizes) <= 1000
