"""Closing the gaps of a drawn surface, against slow NumPy oracles and through the renderer."""

import numpy as np
import pytest
from spatia.renderer import gaps, kernels
from spatia.renderer.software import SoftwareRenderer
from spatia.tests.contracts.renderer_contract import IDENTITY, batch_of, memory_of, wall
from spatia.world.camera import Pinhole

PAD, MARGIN, TILE = kernels.PAD, gaps.CELL_MARGIN, kernels.TILE
NEAR_M, BEHIND_M = 0.5, 1.0
CLOSE = Pinhole.from_fov(320, 240, 0.9)
"""At half a metre a voxel of 1 cm is 5 pixels wide."""


def plane(inner: np.ndarray, outside) -> np.ndarray:
    """A plane with its border, flat."""
    return np.pad(inner, PAD, constant_values=outside).ravel()


def mended(depth: np.ndarray, color: np.ndarray, row: int, column: int) -> tuple[float, np.ndarray]:
    """Depth and colour of the nearest surface around a pixel, weighted by 1 / (squared distance + 1)."""
    part = np.s_[row - 1 : row + 2, column - 1 : column + 2]
    y, x = np.mgrid[-1:2, -1:2]
    weight = np.where(depth[part] < 1.04 * depth[part].min(), 1.0 / (x * x + y * y + 1), 0.0)
    channels = np.stack([(color[part] >> (8 * c)) & 255 for c in range(3)], axis=-1)
    total = weight.sum()
    return (weight * depth[part]).sum() / total, (weight[..., None] * channels).sum((0, 1)) / total


def test_holes_of_a_pixel_take_the_weighted_mean_of_the_surface_around():
    rng = np.random.default_rng(2)
    width, height = 44, 12
    depth = (2.0 + 0.01 * rng.random((height, width))).astype(np.float32)
    color = rng.integers(0, 1 << 24, (height, width), dtype=np.uint32) | np.uint32(3 << 30)
    holes = [(5, 6), (5, 41), (8, 17), (0, 30)]
    for hole in holes:
        depth[hole] = 3.0
    flat_depth, flat_color = plane(depth, kernels.FAR), plane(color, 0)
    found, new_depth = np.empty(width * height + 1, np.int32), np.empty(width * height, np.float32)
    num = gaps.close_gaps(
        flat_depth, flat_color, width, height, np.empty(width, np.uint8), found, new_depth, np.empty_like(found, "u4")
    )
    got_depth, got_color = (p.reshape(height + 2 * PAD, -1)[PAD:-PAD, PAD:-PAD] for p in (flat_depth, flat_color))
    assert num == len(holes)
    for row, column in holes[:3]:
        expected_depth, expected = mended(depth, color, row, column)
        got = [int(got_color[row, column] >> (8 * c)) & 255 for c in range(4)]
        assert abs(got_depth[row, column] - expected_depth) < 1e-4
        assert np.abs(got[:3] - expected).max() < 0.6
        assert got[3] == 192
    depth[0, 30] = got_depth[0, 30]
    np.testing.assert_array_equal(np.delete(got_depth.ravel(), 0)[100:200], got_depth.ravel()[101:201])


def test_cells_enclosed_by_surface_in_all_directions_are_filled_and_no_others():
    rng = np.random.default_rng(3)
    height, width, reach = 40, 56, 6
    is_near = np.ones((height // 2 + 2 * MARGIN, width // 2 + 2 * MARGIN), bool)
    is_near[MARGIN:-MARGIN, MARGIN:-MARGIN] = rng.random((height // 2, width // 2)) < 0.25
    depth = np.full((height + 2 * PAD, width + 2 * PAD), np.float32(NEAR_M))
    edge = PAD - 2 * MARGIN
    depth[edge:-edge, edge:-edge] = np.where(is_near, NEAR_M, BEHIND_M).repeat(2, 0).repeat(2, 1)
    flat, color = depth.ravel(), np.full(depth.size, 0xC0102030, np.uint32)
    low, high = np.empty(is_near.shape, np.float32), np.empty(is_near.shape, np.float32)
    gaps.find_cells(flat, width, height, low, high)
    large_m = np.full((2, -(-height // TILE), -(-width // TILE)), 0.01, np.float32)
    focal = np.float32((reach + 0.5) * NEAR_M * 2 / (gaps.MAX_GAP * 0.01))
    num = gaps.close_large_gaps(flat, color, width, height, focal, large_m, low)
    filled = flat.reshape(depth.shape)[PAD:-PAD:2, PAD:-PAD:2] < 0.75
    expected = [[is_near[j, i] or is_enclosed(is_near, j, i, reach) for i in range(MARGIN, MARGIN + width // 2)]
                for j in range(MARGIN, MARGIN + height // 2)]  # fmt: skip
    np.testing.assert_array_equal(filled, expected)
    assert num == np.count_nonzero(filled) - np.count_nonzero(is_near[MARGIN:-MARGIN, MARGIN:-MARGIN])
    assert 20 < num < 400


def is_enclosed(is_near: np.ndarray, row: int, column: int, reach: int) -> bool:
    """Whether in each of four directions surface lies on both sides of a cell, at most ``reach`` cells apart."""
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        most = int(0.7071 * reach) + 1 if dy and dx else reach
        ends = [
            next((k for k in range(1, most + 1) if is_near[row + s * k * dy, column + s * k * dx]), 99) for s in (1, -1)
        ]
        if sum(ends) - 1 > most:
            return False
    return True


@pytest.fixture
def renderer():
    made = SoftwareRenderer()
    yield made
    made.close()


def without_closing(renderer: SoftwareRenderer, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Depth of the same picture when gaps between large splats are left."""
    with monkeypatch.context() as patch:
        patch.setattr(gaps, "close_large_gaps", lambda *_: 0)
        return renderer.render(IDENTITY, CLOSE).depth_m


def before_another(points: np.ndarray):
    """Points near the eye, scattered within their voxels as scans are, and a wall half a metre behind."""
    rng = np.random.default_rng(1)
    scattered = points + rng.normal(0.0, 0.003, points.shape)
    return memory_of(batch_of(scattered, (0, 255, 0)), batch_of(wall(BEHIND_M, half_m=0.9), (255, 0, 0)))


def test_a_scattered_wall_before_the_eye_is_closed(renderer, monkeypatch):
    renderer.update(before_another(wall(NEAR_M, half_m=0.4)))
    view = renderer.render(IDENTITY, CLOSE)
    assert (without_closing(renderer, monkeypatch) > 0.75).mean() > 0.02
    assert (view.depth_m > 0.75).mean() < 0.001
    assert view.coverage.min() == 1.0
    assert (view.color[..., 0] > view.color[..., 1]).mean() < 0.001


@pytest.mark.parametrize("half_m", [(0.03, 0.03), (0.03, 1.0), (1.0, 0.03)])
def test_a_hole_and_a_slot_of_several_voxels_stay_open(renderer, half_m):
    near = wall(NEAR_M, half_m=0.4)
    renderer.update(before_another(near[(np.abs(near[:, :2]) > half_m).any(1)]))
    pixel = (np.indices((240, 320))[::-1] + 0.5 - np.array([160, 120])[:, None, None]) * NEAR_M / CLOSE.fx
    inside = (np.abs(pixel) < np.array(half_m)[:, None, None] - 0.012).all(0)
    assert (renderer.render(IDENTITY, CLOSE).depth_m[inside] > 0.75).all()


def test_the_outline_of_a_near_surface_does_not_grow(renderer, monkeypatch):
    near = wall(NEAR_M, half_m=0.4)
    ahead = near[np.abs(near[:, 1] - 0.4 * near[:, 0]) < 0.1]  # a slanted plank
    renderer.update(before_another(ahead))
    open_m, closed_m = without_closing(renderer, monkeypatch), renderer.render(IDENTITY, CLOSE).depth_m
    v, u = (np.indices((240, 320)) + 0.5 - np.array([120, 160])[:, None, None]) * NEAR_M / CLOSE.fx
    outside = np.abs(v - 0.4 * u) > 0.1
    assert ((closed_m < 0.75) & (open_m > 0.75) & ~outside).sum() > 100
    assert ((closed_m < 0.75) & (open_m > 0.75) & outside).sum() <= 0.02 * ((open_m < 0.75) & outside).sum()


def test_pictures_without_large_splats_stay_as_they_are(renderer, monkeypatch):
    some = np.random.default_rng(2).random(160_000) > 0.15
    renderer.update(memory_of(batch_of(wall(3.0)[some]), batch_of(wall(6.0), (255, 0, 0))))
    np.testing.assert_array_equal(without_closing(renderer, monkeypatch), renderer.render(IDENTITY, CLOSE).depth_m)
    assert renderer._planes.large_m.max() == 0.0
