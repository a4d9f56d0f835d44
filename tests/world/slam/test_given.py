"""Depth that came along: what is dropped and what is trusted."""

import numpy as np
import pytest
from spatia.world.camera import Pinhole
from spatia.world.memory import SpatialMemory
from spatia.world.slam.estimators import FrameStack
from spatia.world.slam.given import GivenDepth, clean_depth, depth_confidence, find_flying

PINHOLE = Pinhole(40, 30, 40.0, 40.0, 20.0, 15.0)


def _step() -> np.ndarray:
    """Two walls, 2 m on the left and 4 m on the right."""
    depth = np.full((30, 40), 2.0, np.float32)
    depth[:, 20:] = 4.0
    return depth


def _flying_by_hand(depth: np.ndarray) -> np.ndarray:
    """Slow count of neighbours within 2 %, without the exception for steep planes."""
    h, w = depth.shape
    result = np.zeros((h, w), bool)
    for y in range(h):
        for x in range(w):
            block = depth[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
            near = (np.abs(block - depth[y, x]) <= 0.02 * depth[y, x]).sum() - 1
            result[y, x] = depth[y, x] > 0 and near * 24 < 10 * (block.size - 1)
    return result


def test_walls_with_a_clean_step_have_no_flying_pixels():
    assert not find_flying(_step()).any()


def test_column_between_two_walls_flies():
    depth = _step()
    depth[:, 20] = 3.0
    flying = find_flying(depth)
    assert flying[:, 20].all()
    assert flying.sum() == 30


def test_speck_flies():
    depth = np.full((30, 40), 2.0, np.float32)
    depth[10, 10] = 1.0
    assert np.argwhere(find_flying(depth)).tolist() == [[10, 10]]


def test_flying_agrees_with_a_slow_count_on_rough_depth():
    rng = np.random.default_rng(0)
    depth = (_step() * rng.choice([1.0, 1.0, 1.0, 1.3, 0.0], (30, 40))).astype(np.float32)
    np.testing.assert_array_equal(find_flying(depth), _flying_by_hand(depth))


def test_steep_floor_does_not_fly():
    rows = np.arange(30)[:, None] + 0.5 - 5.0
    floor = np.where(rows > 2, 40.0 * 1.5 / np.maximum(rows, 1), 0).astype(np.float32)
    floor = np.broadcast_to(floor, (30, 40)).copy()
    assert not find_flying(floor)[12:].any()


def test_depth_that_is_no_number_is_unknown():
    depth = np.array([[1.0, np.nan, np.inf, -np.inf, -1.0, 0.0]])
    np.testing.assert_array_equal(clean_depth(depth), np.array([[1, 0, 0, 0, 0, 0]], np.float32))


def test_confidence_is_zero_exactly_where_depth_is_unknown():
    depth = _step()
    depth[5:9, 5:9] = 0
    np.testing.assert_array_equal(depth_confidence(depth, PINHOLE) == 0, depth == 0)


def test_confidence_falls_with_range_and_beside_edges():
    confidence = depth_confidence(_step(), PINHOLE)
    assert confidence[15, 5] > confidence[15, 35] > confidence[15, 20]


def test_confidence_falls_at_grazing_angles():
    wall = np.full((30, 40), 3.0, np.float32)
    rows = np.maximum(np.arange(30)[:, None] + 0.5, 1)
    grazing = np.broadcast_to(40.0 * 0.3 / rows * 3, (30, 40)).astype(np.float32)
    row = int(np.argmin(np.abs(grazing[:, 20] - 3.0)))
    assert depth_confidence(grazing, PINHOLE)[row, 20] < 0.8 * depth_confidence(wall, PINHOLE)[row, 20]


def _estimate(depth: np.ndarray, confidence: np.ndarray | None = None):
    color = np.zeros((1, 30, 40, 3), np.uint8)
    frames = FrameStack(color, depth, confidence, None, None, np.eye(4)[None], PINHOLE)
    return GivenDepth().estimate(frames, SpatialMemory().snapshot())


def test_estimate_drops_nan_and_flying_pixels_and_counts_them():
    depth = _step()
    depth[3, 3] = np.nan
    depth[10, 10] = 1.0
    estimate = _estimate(depth[None])
    assert estimate.depth_m[0, 3, 3] == 0
    assert estimate.depth_m[0, 10, 10] == 0
    assert estimate.tests == {"unknown_share": 1 / 1200, "flying_share": 1 / 1200}
    assert np.isfinite(estimate.confidence).all()


def test_given_confidence_counts():
    given = np.full((1, 30, 40), 0.5, np.float32)
    given[0, 0, 0] = np.nan
    without, with_it = _estimate(_step()[None]), _estimate(_step()[None], given)
    assert with_it.confidence[0, 0, 0] == 0
    assert with_it.confidence[0, 9, 9] == pytest.approx(0.5 * without.confidence[0, 9, 9])


def test_frames_without_depth_are_an_error_that_names_the_way_out():
    frames = FrameStack(np.zeros((1, 30, 40, 3), np.uint8), None, None, None, None, np.eye(4)[None], PINHOLE)
    with pytest.raises(ValueError, match="use diorama"):
        GivenDepth().estimate(frames, SpatialMemory().snapshot())
