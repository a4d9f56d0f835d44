"""Quilting: seams, joins, texture and guided completion, against slow and obvious references."""

import numpy as np
import pytest
from spatia.generator.outpaint.quilt import (
    Guide,
    PatchRule,
    Source,
    complete,
    join_columns,
    seam_columns,
    texture,
)


def _cheapest_by_trying_all(error):
    """Least cost of any connected top-to-bottom path, by recursion over rows."""
    if len(error) == 1:
        return {x: error[0, x] for x in range(error.shape[1])}
    below = _cheapest_by_trying_all(error[1:])
    width = error.shape[1]
    return {x: error[0, x] + min(below[k] for k in range(max(0, x - 1), min(width, x + 2))) for x in range(width)}


def _stripes(height=60, width=90, period=9, channels=4):
    columns = (np.arange(width) // period) % 2 * 120.0 + 60.0
    return np.broadcast_to(columns[None, :, None], (height, width, channels)).astype(np.float32).copy()


def test_a_seam_is_the_cheapest_connected_path():
    rng = np.random.default_rng(0)
    for _ in range(20):
        error = rng.uniform(0, 1, (6, 5)).astype(np.float32)
        columns = seam_columns(error)
        cost = error[np.arange(6), columns].sum()
        assert np.abs(np.diff(columns)).max() <= 1
        assert cost == pytest.approx(min(_cheapest_by_trying_all(error).values()), rel=1e-6)


def test_joined_strips_keep_both_outer_parts():
    left, right = np.full((8, 20, 4), 10, np.float32), np.full((8, 15, 4), 200, np.float32)
    joined = join_columns(left, right, 6)
    assert joined.shape == (8, 29, 4)
    assert (joined[:, :14] == 10).all()
    assert (joined[:, 20:] == 200).all()


def test_relief_is_cut_hard_where_colour_blends():
    left, right = np.full((8, 20, 4), 10, np.float32), np.full((8, 15, 4), 200, np.float32)
    joined = join_columns(left, right, 6)
    assert set(np.unique(joined[..., 3])) == {10.0, 200.0}
    assert len(np.unique(joined[..., 0])) > 2


def test_strips_that_agree_join_without_a_trace():
    whole = _stripes()
    joined = join_columns(whole[:, :50], whole[:, 40:], 10)
    np.testing.assert_allclose(joined, whole)


def test_texture_keeps_the_period_of_its_source():
    out = texture(Source.mirrored(_stripes(), np.ones((60, 90), bool)), 60, 120, PatchRule(30, 10), _rng())
    runs = np.diff(np.nonzero(np.diff((out[30, :, 0] > 120).astype(int)))[0])
    assert np.median(runs) == 9


def _rng():
    return np.random.default_rng(3)


def test_the_same_seed_gives_the_same_texture():
    noise = np.random.default_rng(1).uniform(0, 255, (50, 50, 3)).astype(np.float32)
    made = [texture(Source.turned(noise, np.ones((50, 50), bool)), 70, 70, PatchRule(20, 6), _rng()) for _ in range(2)]
    np.testing.assert_array_equal(made[0], made[1])


def test_texture_takes_nothing_from_invalid_parts():
    picture = np.full((60, 60, 3), 255, np.float32)
    picture[:, :30] = 50
    valid = np.zeros((60, 60), bool)
    valid[:, :30] = True
    out = texture(Source.mirrored(picture, valid), 50, 50, PatchRule(20, 6), _rng())
    assert out.max() == pytest.approx(50, abs=1e-3)


def test_completion_leaves_what_is_far_from_the_hole():
    whole = _stripes()
    known = np.ones((60, 90), bool)
    known[25:35, 40:50] = False
    canvas = whole.copy()
    canvas[~known] = 0
    complete(canvas, known, Source.mirrored(whole, np.ones((60, 90), bool)), PatchRule(24, 6), _rng())
    assert known.all()
    np.testing.assert_array_equal(canvas[:15], whole[:15])


def test_a_hole_in_stripes_is_filled_with_stripes():
    whole = _stripes()
    known = np.ones((60, 90), bool)
    known[20:40, 30:60] = False
    canvas = whole.copy()
    canvas[~known] = 0
    complete(canvas, known.copy(), Source.mirrored(whole, known), PatchRule(18, 6), _rng())
    wrong = np.abs(canvas - whole)[~known].max(1) > 40
    assert wrong.mean() < 0.1


def test_a_guide_decides_where_nothing_is_known():
    source = np.zeros((40, 80, 4), np.float32)
    source[:, :40, 0], source[:, 40:, 0] = 30, 200
    wanted = np.zeros((40, 60, 4), np.float32)
    wanted[..., 0] = 200
    canvas, known = np.zeros((40, 60, 4), np.float32), np.zeros((40, 60), bool)
    guide = Guide(wanted, np.ones(4, np.float32), ~known)
    complete(canvas, known, Source.mirrored(source, np.ones((40, 80), bool)), PatchRule(20, 6), _rng(), guide)
    assert np.median(canvas[..., 0]) == 200


def test_a_source_without_a_patch_is_refused_with_its_size():
    with pytest.raises(ValueError, match="no valid patch of 10 texels"):
        texture(Source.mirrored(_stripes(), np.zeros((60, 90), bool)), 40, 40, PatchRule(20, 6), _rng())
