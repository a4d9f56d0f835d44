"""The conditioning render's GPU kernel makes the picture of the compiled loops, in Triton's interpreter."""

import importlib
import os
import sys

import numpy as np
import pytest
from spatia.renderer import conditioning
from spatia.renderer.conditioning import NEAR_M, SceneDrawer, render_scene_video
from spatia.tests.renderer.test_conditioning import CAMERA, IDENTITY, cloud, radius_at

pytest.importorskip("torch", reason="torch is not installed")
HAS_TRITON = importlib.util.find_spec("triton") is not None
NEEDS_TRITON = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed: it comes with torch for CUDA")
IS_TAKEN = "triton" in sys.modules
"""Imported without the interpreter already, which is chosen at import."""


@pytest.fixture(scope="module")
def module():
    """The kernel's module with its kernel interpreted."""
    if IS_TAKEN:
        pytest.skip("triton was imported before its interpreter could be chosen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "TRITON_INTERPRET", "1")
        yield importlib.import_module("spatia.renderer.conditioning_triton")


def by_triton(module, points, colors, poses, pinhole, monkeypatch, *, window=1 << 21, **rest):
    """What ``render_scene_video`` makes where the kernel draws, here interpreted on the processor."""

    def raster(device, points, colors, pinhole, radius, points_per_pixel):
        return module.TritonRaster(
            points, colors, pinhole.size, radius=radius, points_per_pixel=points_per_pixel, device=device,
            near_m=NEAR_M, window=window,
        )  # fmt: skip

    with monkeypatch.context() as patch:
        patch.setattr(conditioning, "_raster_on", raster)
        return render_scene_video(points, colors, poses, pinhole, **rest)


@NEEDS_TRITON
@pytest.mark.parametrize(("layers", "radius", "window"), [(5, 2.6, 1 << 21), (5, 3.52, 150), (1, 9.3, 1 << 21)])
def test_the_kernel_draws_what_the_compiled_loops_draw(module, layers, radius, window, monkeypatch):
    points, colors = cloud(400)
    options = {"radius_px": radius_at(32, radius), "points_per_pixel": layers}
    expected = render_scene_video(points, colors, IDENTITY, CAMERA, **options)
    got = by_triton(module, points, colors, IDENTITY, CAMERA, monkeypatch, window=window, **options)
    assert np.abs(got.color.astype(int) - expected.color).max() <= 1
    assert np.abs(got.coverage.astype(int) - expected.coverage).max() <= 1
    np.testing.assert_allclose(got.nearest_depth, expected.nearest_depth, rtol=1e-5)


@NEEDS_TRITON
def test_the_kernel_draws_nothing_without_points(module, monkeypatch):
    nothing = np.zeros((0, 3), np.float32)
    assert not by_triton(module, nothing, nothing.astype(np.uint8), IDENTITY, CAMERA, monkeypatch).coverage.any()


@NEEDS_TRITON
def test_cuda_is_drawn_by_the_kernel(module, monkeypatch):
    made = []
    monkeypatch.setattr(module, "TritonRaster", lambda *rest, **options: made.append(options["device"]))
    SceneDrawer(*cloud(3), CAMERA, device="cuda:1")
    assert made == ["cuda:1"]


@NEEDS_TRITON
def test_where_the_kernel_cannot_be_compiled_torch_draws(module, monkeypatch, caplog):
    points, colors = cloud(100)
    monkeypatch.setattr(module, "_lay_tiles", None)
    got = by_triton(module, points, colors, IDENTITY, CAMERA, monkeypatch, radius_px=radius_at(32, 2.6))
    expected = render_scene_video(points, colors, IDENTITY, CAMERA, radius_px=radius_at(32, 2.6))
    assert np.abs(got.color.astype(int) - expected.color).max() <= 1
    assert "Triton cannot draw here" in caplog.text
