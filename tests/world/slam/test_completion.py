"""Filling a photo's missing depth."""

import numpy as np
from spatia.world.slam.completion import complete_depth


def _scene() -> tuple[np.ndarray, np.ndarray]:
    """A red post 2 m away before a grey wall 4 m away; its edges' depth is missing."""
    depth = np.full((40, 60), 4.0, np.float32)
    color = np.full((40, 60, 3), 128, np.uint8)
    depth[:, 20:30] = 2.0
    color[:, 20:30] = (200, 30, 30)
    depth[:, 18:22] = 0
    return depth, color


def test_known_depth_stays():
    depth, color = _scene()
    filled = complete_depth(depth, color)
    np.testing.assert_array_equal(filled[depth > 0], depth[depth > 0])


def test_edge_pixels_go_to_the_surface_of_their_colour():
    filled = complete_depth(*_scene())
    np.testing.assert_array_equal(filled[:, 18:20], 4.0)
    np.testing.assert_array_equal(filled[:, 20:22], 2.0)


def test_deep_hole_takes_the_far_side():
    depth, color = _scene()
    rng = np.random.default_rng(0)
    depth[10:30, 30:50] = 0
    color[10:30, 30:50] = rng.integers(0, 256, (20, 20, 3))
    assert np.abs(complete_depth(depth, color)[18:22, 36:44] - 4.0).max() < 0.01


def test_mixed_pixel_at_an_edge_stays_unknown():
    depth, color = _scene()
    color[:, 19] = (0, 255, 0)
    np.testing.assert_array_equal(complete_depth(depth, color)[5:35, 19], 0)


def test_nothing_known_stays_unknown():
    assert not complete_depth(np.zeros((8, 8), np.float32), np.zeros((8, 8, 3), np.uint8)).any()
