"""Masks of what moves."""

import numpy as np
import pytest
from spatia.world.slam.masks import join_moving

SHAPE = (2, 20, 30)


def test_no_masks_mean_that_nothing_moves():
    assert not join_moving([None, None], SHAPE).any()


def test_masks_are_joined():
    a, b = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    a[0, 3, 3], b[1, 9, 9] = True, True
    joined = join_moving([a, None, b], SHAPE, dilation_px=0)
    assert np.argwhere(joined).tolist() == [[0, 3, 3], [1, 9, 9]]


def test_single_mask_holds_for_every_frame():
    mask = np.zeros(SHAPE[1:], bool)
    mask[5, 5] = True
    assert join_moving([mask], SHAPE, dilation_px=0).sum() == 2


def test_mask_grows_by_the_radius():
    mask = np.zeros(SHAPE, bool)
    mask[0, 10, 15] = True
    grown = join_moving([mask], SHAPE, dilation_px=2)[0]
    assert grown[10, 13:18].all()
    assert grown[8:13, 15].all()
    assert not grown[10, 12]
    assert not grown[8, 13]


def test_growth_follows_the_width_of_the_picture():
    mask = np.zeros((1, 100, 1000), bool)
    mask[0, 50, 500] = True
    grown = join_moving([mask], (1, 100, 1000))[0]
    assert np.flatnonzero(grown[50]).tolist() == list(range(497, 504))


def test_masks_that_came_are_not_changed():
    mask = np.zeros(SHAPE, bool)
    mask[0, 10, 15] = True
    join_moving([mask], SHAPE, dilation_px=3)
    assert mask.sum() == 1


def test_mask_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match="moving mask: expected"):
        join_moving([np.zeros((2, 20, 31), bool)], SHAPE)
