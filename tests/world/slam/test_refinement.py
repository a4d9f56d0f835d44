"""Depth made finer by pictures at full size."""

import numpy as np
from spatia.tests.world.slam.corner import PINHOLE, view
from spatia.world.slam.refinement import refine_depth
from spatia.world.slam.sweep import GrayView
from spatia.world.transforms import look

POSES = np.stack([look((0.14 * k - 0.2, 0.02 * k, 0.02 * k), 0.02 * k, 0.0) for k in range(3)])
VIEWS = [view(p) for p in POSES]
GRAY = [GrayView(v.color[..., 0].astype(np.float32), PINHOLE, p) for v, p in zip(VIEWS, POSES, strict=True)]
TRUTH = VIEWS[0].depth_m


def _error(depth_m: np.ndarray) -> float:
    known = (depth_m > 0) & (TRUTH > 0)
    return float(np.median(np.abs(depth_m - TRUTH)[known] / TRUTH[known]))


def test_rippled_depth_comes_closer_to_the_truth():
    ripple = np.sin(np.arange(TRUTH.shape[1]) / 12)
    start = (TRUTH * (1 + 0.006 * ripple)).astype(np.float32)
    assert _error(refine_depth(GRAY[0], GRAY[1:], start)) < 0.85 * _error(start)


def test_what_is_unknown_stays_unknown():
    start = TRUTH.copy()
    start[:40] = 0
    refined = refine_depth(GRAY[0], GRAY[1:], start)
    np.testing.assert_array_equal(refined > 0, start > 0)


def test_pictures_of_one_colour_move_nothing():
    plain = [GrayView(np.full_like(g.gray, 90), g.pinhole, g.world_T_camera) for g in GRAY]
    np.testing.assert_allclose(refine_depth(plain[0], plain[1:], TRUTH), TRUTH, rtol=1e-6)
