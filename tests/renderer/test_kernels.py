"""The compiled loops of the software renderer against slow NumPy oracles."""

import numpy as np
from spatia.renderer import kernels
from spatia.renderer.interface import DrawOptions
from spatia.renderer.software import SoftwareRenderer
from spatia.tests.contracts.renderer_contract import IDENTITY, batch_of, memory_of, wall
from spatia.world.camera import Pinhole

PAD = kernels.PAD


def plane(inner: np.ndarray, outside) -> np.ndarray:
    """A plane with its border, flat."""
    return np.pad(inner, PAD, constant_values=outside).ravel()


def test_every_pixel_shows_the_nearest_point_of_those_that_fall_on_it():
    camera = Pinhole(160, 120, 600.0, 600.0, 80.0, 60.0)  # at 7 m a voxel of 1 cm is a little less than a pixel
    near, far = wall(7.0, half_m=1.2), wall(7.5, half_m=1.2)
    near[:, 2] += 0.2 * near[:, 0]
    snapshot = memory_of(batch_of(near[near[:, 0] > 0]), batch_of(far))
    renderer = SoftwareRenderer()
    renderer.update(snapshot)
    renderer.render(IDENTITY, camera, DrawOptions())
    assert renderer._planes is not None
    depth = renderer._planes.zbuffer.copy() >> np.uint64(49)  # in steps of 1.6 %
    drawn = renderer._planes.inner(depth)
    empty = kernels.EMPTY >> np.uint64(49)
    expected = np.full(drawn.shape, empty)
    pixels, z = camera.project(snapshot.points().positions_world, IDENTITY)
    column, row = np.floor(pixels).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < 160) & (row < 120)
    steps = (z.astype(np.float32).view(np.uint32) >> 17).astype(np.uint64)
    np.minimum.at(expected, (row[inside], column[inside]), steps[inside])
    assert (expected < empty).mean() > 0.7
    assert (drawn == expected).mean() > 0.998  # a few fall on the next pixel by rounding


def test_a_tile_is_as_far_as_its_farthest_block_of_4_pixels():
    rng = np.random.default_rng(1)
    width, height = 40, 27
    zbuffer = rng.integers(1 << 60, 1 << 62, (height, width), dtype=np.uint64)
    flat = plane(zbuffer, kernels.EMPTY)
    for row, column in np.ndindex(2, 3):
        tile = zbuffer[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        blocks = [tile[j : j + 4, i : i + 4].min() for j in range(0, len(tile), 4) for i in range(0, tile.shape[1], 4)]
        assert kernels._farthest(flat, width, height, row, column) == max(blocks) >> np.uint64(32)


def test_a_tile_is_looked_at_again_only_where_its_bound_does_not_do():
    zbuffer = plane(np.full((32, 32), 5 << 32, np.uint64), kernels.EMPTY)
    tiles, stale = np.full((2, 2), 9, np.uint32), np.array([[1, 0], [1, 1]], np.uint8)
    everywhere, left = np.array([0, 1, 0, 1], np.int32), np.array([0, 0, 0, 1], np.int32)
    assert kernels._is_hidden(left, np.uint32(6), zbuffer, 32, 32, tiles, stale)
    assert not kernels._is_hidden(everywhere, np.uint32(6), zbuffer, 32, 32, tiles, stale)
    assert tiles.tolist() == [[5, 9], [5, 9]]
    assert stale.tolist() == [[0, 0], [0, 1]]
