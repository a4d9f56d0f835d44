"""Texture copied into holes: true to its surroundings, the same for a seed, declined where nothing can be copied."""

import numpy as np
from spatia.generator.outpaint.patchmatch import PATCH_RADIUS, _distance, synthesize
from spatia.generator.outpaint.pyramid import push_pull

FLAT = np.zeros((72, 96), np.float32)


def stripes(height: int = 72, width: int = 96) -> np.ndarray:
    """Vertical stripes, 8 pixels from one to the next."""
    row = np.where(np.arange(width) // 4 % 2 == 0, 40.0, 210.0)
    return np.broadcast_to(row[None, :, None], (height, width, 3)).astype(np.float32).copy()


def middle_hole() -> np.ndarray:
    hole = np.zeros(FLAT.shape, bool)
    hole[26:46, 36:60] = True
    return hole


def fogged(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return np.where(hole[..., None], push_pull(image, (~hole).astype(np.float32)), image).astype(np.float32)


def test_stripes_go_on_through_a_hole():
    image, hole = stripes(), middle_hole()
    start = fogged(image, hole)
    filled = synthesize(start, hole, ~hole, FLAT, seed=1)
    assert filled is not None
    error = np.abs(filled - image)[hole].mean()
    assert error < 0.35 * np.abs(start - image)[hole].mean()


def test_nothing_outside_of_the_hole_changes():
    image, hole = stripes(), middle_hole()
    filled = synthesize(fogged(image, hole), hole, ~hole, FLAT, seed=1)
    assert filled is not None
    np.testing.assert_array_equal(filled[~hole], image[~hole])


def test_a_seed_gives_the_same_picture_and_another_seed_another():
    rng = np.random.default_rng(0)
    image, hole = rng.uniform(0, 255, (72, 96, 3)).astype(np.float32), middle_hole()
    one, same, other = (synthesize(fogged(image, hole), hole, ~hole, FLAT, seed=s) for s in (5, 5, 6))
    assert one is not None
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_guide_chooses_between_two_textures():
    rng = np.random.default_rng(0)
    roughness = np.where(np.arange(96) < 48, 3.0, 25.0)[None, :, None]
    image = (120.0 + roughness * rng.normal(0, 1, (72, 96, 3))).astype(np.float32)
    guide = FLAT.copy()
    guide[:, 48:] = 1.0
    hole = middle_hole()
    start = np.where(hole[..., None], np.float32(120), image)
    spread = []
    for side in (0.0, 1.0):
        guide[hole] = side
        filled = synthesize(start, hole, ~hole, guide, seed=1)
        assert filled is not None
        spread.append(filled[hole].std())
    assert spread[1] > 1.5 * spread[0]


def test_too_little_to_copy_gives_none():
    hole = np.ones(FLAT.shape, bool)
    hole[:4, :4] = False
    assert synthesize(stripes(), hole, ~hole, FLAT, seed=1) is None


def test_without_a_hole_the_picture_comes_back():
    image = stripes()
    np.testing.assert_array_equal(synthesize(image, FLAT > 0, FLAT == 0, FLAT, seed=1), image)


def test_patch_distance_equals_the_mean_of_squares():
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 255, (20, 24, 4)).astype(np.int16)
    r = PATCH_RADIUS
    for y, x, my, mx in ((8, 9, 12, 15), (0, 0, 7, 7), (19, 23, 5, 6), (2, 20, 9, 12)):
        rows = [d for d in range(-r, r + 1) if 0 <= y + d < 20]
        columns = [d for d in range(-r, r + 1) if 0 <= x + d < 24]
        squares = [
            (picture[y + dy, x + dx].astype(int) - picture[my + dy, mx + dx]) ** 2 for dy in rows for dx in columns
        ]
        expected = int(np.sum(squares)) * 64 // (len(rows) * len(columns))
        assert _distance(picture, y, x, my, mx, np.int32(1 << 30)) == min(expected, (1 << 31) - 1)


def test_push_pull_keeps_the_known_and_a_constant():
    rng = np.random.default_rng(0)
    weight = (rng.random((33, 47)) < 0.1).astype(np.float32)
    values = rng.uniform(0, 9, (33, 47, 2)).astype(np.float32)
    filled = push_pull(values, weight)
    np.testing.assert_allclose(filled[weight > 0], values[weight > 0], rtol=1e-6)
    np.testing.assert_allclose(push_pull(np.full((33, 47, 1), 7.0, np.float32), weight), 7.0, rtol=1e-4)
    assert not push_pull(values, np.zeros_like(weight)).any()
